"""The neural factorization machine (He & Chua, SIGIR 2017, https://arxiv.org/abs/1708.05027)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS
from ..estimator import Model, Paper, WithMLP
from ..layers import MLP, BatchNorm, Dropout, Embedding, FMPooling, Linear


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class NFM(WithMLP, Model):
    """A neural factorization machine sends what an FM adds up of all pairs through an MLP.

        f = sum_{i<j} (v_i * v_j) x_i x_j                         (bi-interaction pooling, a vector of size k)
        s = w_0 + sum_i w_i x_i + h . relu(... relu(f W^1 + b^1) ...)

    s is the logit of a click, or the predicted number. Without hidden layers, and with h = (1, ..., 1), it is the FM.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    deep_layers : hidden units of each layer; the paper does best with one.
    dropout : share of the pooled vector f dropped while training.   deep_dropout : the same for hidden units.
    use_bn : batch norm of f and before each ReLU, as the paper has it.
    reg : L2 on the weights of the hidden layers.
    All others: see ``Model``.

    Parameters to train: n (k + 1) + 1 + sum_l (inputs_l + 1) units_l + units_L, for n ids of all fields; with use_bn
    two more for each number that is normalised.

    Paper vs. code: h is the w of the MLP's readout here, which has no b of its own, as w_0 does its work. The paper
    trains with batch norm, which is off here unless asked for, and also starts from a trained FM's vectors.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = NFM(embedding_dim=4, deep_layers=(8,), epochs=2).fit(clicks.X, clicks.y)
    >>> model.mlp.dense[0].params["W"].shape                      # from f, whatever the number of fields
    (4, 8)
    """

    embedding_dim: int = 8
    deep_layers: tuple = (64,)
    dropout: float = 0.0
    deep_dropout: float = 0.0
    use_bn: bool = False

    paper = Paper("He & Chua", 2017, "SIGIR", "https://arxiv.org/abs/1708.05027")
    equation = "s = w_0 + sum_i w_i x_i + MLP(sum_{i<j} e_i * e_j)"
    checks = {"embedding_dim": COUNT, "deep_layers": WIDTHS, "dropout": SHARE_DROPPED, "deep_dropout": SHARE_DROPPED}
    tiny = {"embedding_dim": 2, "deep_layers": (2,)}
    variants = {"NFM": {"embedding_dim": 3, "deep_layers": (4, 3)},
                "NFM-bn": {"embedding_dim": 2, "deep_layers": (4,), "use_bn": True},
                "NFM-no-hidden-layer": {"embedding_dim": 2, "deep_layers": ()}}

    @property
    def whole_batch_only(self):
        """Batch norm needs all rows of a batch at once."""
        return self.use_bn

    def build(self, n, M, rng):
        k = self.embedding_dim
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.pooling = FMPooling()
        self.pooled_norm = BatchNorm(k, dtype=self.dtype) if self.use_bn else None
        self.pooled_dropout = Dropout(self.dropout, rng)
        self.mlp = MLP(k, self.deep_layers, rng, self.deep_dropout, self.use_bn, dtype=self.dtype, bias=False)

    def forward(self, slots):
        first_order = self.linear.forward(slots)                  # (B,)       w_0 + sum_i w_i x_i
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        f = self.pooling.forward(E)                               # (B, k)     sum_{i<j} e_i * e_j
        if self.pooled_norm:
            f = self.pooled_norm.forward(f)
        f = self.pooled_dropout.forward(f)
        return first_order + self.mlp.forward(f)                  # (B,)       ... + h . relu(...)

    def backward(self, ds):
        df = self.mlp.backward(ds)                                # (B, k)     s = ... + MLP(f)
        df = self.pooled_dropout.backward(df)
        if self.pooled_norm:
            df = self.pooled_norm.backward(df)
        dE = self.pooling.backward(df)                            # (B, M, k)
        self.embedding.backward(dE)
        self.linear.backward(ds)                                  # s = first_order + ...

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        deep = self.mlp.out.cache["x"] @ self.mlp.out.params["w"]     # (B,)       h . a^L
        return {"fields": self.linear.field_terms(),              # (B, M)     w_i x_i
                "deep part": deep[:, None]}                       # (B, 1)
