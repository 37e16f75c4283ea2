"""DeepFM (Guo et al., IJCAI 2017, https://arxiv.org/abs/1703.04247)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS
from ..estimator import Model, Paper, WithMLP
from ..layers import MLP, Embedding, FactorSum, FMPooling, Linear, field_pairs, inner_products


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class DeepFM(WithMLP, Model):
    """DeepFM adds up an FM and a multi-layer perceptron, which share their vectors.

        s_FM  = sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j      (eq. 2)
        s_DNN = w . a^L + b,   a^0 = [e_1; ...; e_M],   a^{l+1} = relu(a^l W^l + b^l)      (eq. 3-4)
        s     = s_FM + s_DNN                                      (eq. 1, before its sigmoid)

    The logit s is the paper's y before its sigmoid. The paper writes no w_0; the MLP's last bias does its work.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    deep_layers : hidden units of each layer (the paper's choice: 400, 400, 400).
    dropout : share of hidden units *dropped* while training; the paper gives the share kept.
    use_bn : batch norm before each ReLU; not in the paper.
    reg : L2 on the weights of the hidden layers.
    All others: see ``Model``.

    Parameters to train: n (k + 1) + sum_l (inputs_l + 1) units_l + units_L + 1, for n ids of all fields.

    Paper vs. code: the paper prints a sigmoid around its y_DNN too; here there is one alone, in the loss. A well-known
    TensorFlow version reads the logit out of both orders and the MLP by a learned map; here it is eq. 1's plain sum.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = DeepFM(deep_layers=(16,), epochs=2).fit(clicks.X, clicks.y)
    >>> model.mlp.dense[0].params["W"].shape                      # 8 fields of 8 numbers in, 16 units
    (64, 16)
    """

    embedding_dim: int = 8
    deep_layers: tuple = (256, 128, 64)
    dropout: float = 0.0
    use_bn: bool = False

    paper = Paper("Guo et al.", 2017, "IJCAI", "https://arxiv.org/abs/1703.04247")
    equation = "s = sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j + MLP([e_1; ...; e_M])"
    checks = {"embedding_dim": COUNT, "deep_layers": WIDTHS, "dropout": SHARE_DROPPED}
    tiny = {"embedding_dim": 2, "deep_layers": (2,)}
    variants = {"DeepFM": {"embedding_dim": 3, "deep_layers": (4, 3)},
                "DeepFM-bn": {"embedding_dim": 2, "deep_layers": (4, 3), "use_bn": True},
                "DeepFM-no-hidden-layer": {"embedding_dim": 2, "deep_layers": ()}}

    def build(self, n, M, rng):
        k = self.embedding_dim
        self.linear = Linear(n, bias=False, dtype=self.dtype)
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.pooling = FMPooling()
        self.mlp = MLP(M * k, self.deep_layers, rng, self.dropout, self.use_bn, dtype=self.dtype)
        self.factor_sum = FactorSum()

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        pooled = self.pooling.forward(E)                          # (B, k)     sum_{i<j} e_i * e_j
        s_FM = self.linear.forward(slots) + self.factor_sum.forward(pooled)   # (B,)  <v_i, v_j> = sum_f v_if v_jf
        s_DNN = self.mlp.forward(E.reshape(len(E), -1))           # (B,)       MLP([e_1; ...; e_M])
        return s_FM + s_DNN

    def backward(self, ds):
        da0 = self.mlp.backward(ds)                               # (B, M k)   s = s_FM + s_DNN
        dpooled = self.factor_sum.backward(ds)                    # (B, k)     s_FM = ... + sum_f pooled_f
        dE_FM = self.pooling.backward(dpooled)                    # (B, M, k)
        self.embedding.backward(dE_FM + da0.reshape(dE_FM.shape))             # E feeds two towers: add
        self.linear.backward(ds)

    def bias(self):
        return self.mlp.out.params["b"]

    def terms(self):
        w_aL = self.mlp.out.cache["x"] @ self.mlp.out.params["w"]  # (B,)       w . a^L, without b
        return {"fields": self.linear.field_terms(),              # (B, M)     w_i x_i
                "pairs": inner_products(self.pooling.cache["E"]),  # (B, P)     <v_i, v_j> x_i x_j
                "deep part": w_aL[:, None]}                       # (B, 1)

    def factors(self):
        E = self.pooling.cache["E"]                               # (B, M, k)  e_i = v_i x_i
        i, j = field_pairs(E.shape[1])
        return {"pairs": (E[:, i], E[:, j])}                      # (B, P, k)  <v_i, v_j> x_i x_j
