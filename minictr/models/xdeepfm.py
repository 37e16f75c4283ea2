"""xDeepFM (Lian et al., KDD 2018, https://arxiv.org/abs/1803.05170)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS, are_layers
from ..estimator import Model, Paper, WithMLP
from ..layers import CIN, MLP, Embedding, Linear, Readout
from ..layers.base import glorot_normal


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class XDeepFM(WithMLP, Model):
    """xDeepFM adds up products of vectors of growing order, an MLP, and the first-order terms.

        X^l_h = sum_i sum_j W^l_hij (X^{l-1}_i * X^0_j),   X^0 = E              (eq. 6, see CIN)
        s = sum_i w_i x_i + w_CIN . [sum_f X^1_f; sum_f X^2_f; ...] + w_DNN . a^L + b
        a^0 = [e_1; ...; e_M],   a^{l+1} = relu(a^l W^l + b^l)

    s is the logit of a click, or the predicted number. With deep_layers=() and first_order=False it is the CIN alone.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    cin_layers : H_1, H_2, ..., the vectors that each layer of the CIN compresses its products to.
    deep_layers : hidden units of each layer of the MLP.   dropout : share of them dropped while training.
    use_bn : batch norm before each ReLU; not in the paper.
    first_order : whether there is sum_i w_i x_i.
    reg : L2 on the weights of the MLP's hidden layers.
    All others: see ``Model``.

    Parameters to train: n (k + 1) + sum_l H_l (H_{l-1} M + 1) + 1 + sum_l (inputs_l + 1) units_l + units_L, for n ids
    of all M fields, H_0 = M.

    Paper vs. code: the authors' program can, by settings, split each layer of the CIN but the last into a half for the
    output and one for the next layer, and put an activation behind it; neither is in the equations, nor here.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = XDeepFM(embedding_dim=4, cin_layers=(6, 3), deep_layers=(16,), epochs=2).fit(clicks.X, clicks.y)
    >>> model.cin.params["W_2"].shape                             # from 6 vectors and 8 fields to 3 vectors
    (3, 6, 8)
    """

    embedding_dim: int = 8
    cin_layers: tuple = (16, 16)
    deep_layers: tuple = (256, 128, 64)
    dropout: float = 0.0
    use_bn: bool = False
    first_order: bool = True

    paper = Paper("Lian et al.", 2018, "KDD", "https://arxiv.org/abs/1803.05170")
    equation = "s = sum_i w_i x_i + CIN([e_1, ..., e_M]) + MLP([e_1; ...; e_M]) + b"
    checks = {"embedding_dim": COUNT, "deep_layers": WIDTHS, "dropout": SHARE_DROPPED,
              "cin_layers": (lambda value: are_layers(value) and len(value), "one or more whole numbers of at least 1")}
    tiny = {"embedding_dim": 2, "cin_layers": (2,), "deep_layers": (2,)}
    variants = {"XDeepFM": {"embedding_dim": 3, "cin_layers": (3, 2), "deep_layers": (4, 3)},
                "CIN": {"embedding_dim": 2, "cin_layers": (2, 3, 2), "deep_layers": (), "first_order": False},
                "XDeepFM-bn": {"embedding_dim": 2, "cin_layers": (3,), "deep_layers": (4,), "use_bn": True}}

    def build(self, n, M, rng):
        k, H = self.embedding_dim, sum(self.cin_layers)
        self.linear = Linear(n, bias=False, dtype=self.dtype) if self.first_order else None
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.cin = CIN(M, self.cin_layers, rng, dtype=self.dtype)
        self.cin_readout = Readout(H, glorot_normal(rng, H, 1, self.dtype)[:, 0], dtype=self.dtype)
        self.mlp = None
        if self.deep_layers:
            self.mlp = MLP(M * k, self.deep_layers, rng, self.dropout, self.use_bn, dtype=self.dtype, bias=False)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        s = self.cin_readout.forward(self.cin.forward(E))         # (B,)       w_CIN . [sum_f X^1_f; ...] + b
        if self.mlp:
            s = s + self.mlp.forward(E.reshape(len(E), -1))       # (B,)       + w_DNN . a^L
        if self.linear:
            s = s + self.linear.forward(slots)                    # (B,)       + sum_i w_i x_i
        return s

    def backward(self, ds):
        dE = self.cin.backward(self.cin_readout.backward(ds))     # (B, M, k)  s = w_CIN . CIN(E) + ...
        if self.mlp:
            dE = dE + self.mlp.backward(ds).reshape(dE.shape)     # E feeds two towers: add
        self.embedding.backward(dE)
        if self.linear:
            self.linear.backward(ds)                              # s = ... + sum_i w_i x_i

    def bias(self):
        return self.cin_readout.params["b"]

    def terms(self):
        products = self.cin_readout.cache["x"] @ self.cin_readout.params["w"]     # (B,)   w_CIN . [...], without b
        terms = {"fields": self.linear.field_terms()} if self.linear else {}  # (B, M)     w_i x_i
        terms["CIN"] = products[:, None]                          # (B, 1)
        if self.mlp:
            deep = self.mlp.out.cache["x"] @ self.mlp.out.params["w"]
            terms["deep part"] = deep[:, None]                    # (B, 1)     w_DNN . a^L
        return terms
