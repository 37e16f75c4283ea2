"""The factorization machine (Rendle, "Factorization Machines", ICDM 2010)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED
from ..estimator import Model, Paper
from ..layers import Dropout, Embedding, FactorSum, FMPooling, Linear, field_pairs, inner_products


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class FM(Model):
    """A factorization machine gives every value a weight and a vector; a pair counts as their inner product.

        s = w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j    (Rendle 2010, eq. 1)

    s, the paper's y, is the logit of a click, or the predicted number. Here i and j run over the fields, each with its
    one v_i x_i; the values of a multi-valued field are averaged first, so there are no pairs within a field. With ids
    of a user and an item alone, this is biased matrix factorization.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    dropout : share of the pooled k-vector sum_{i<j} e_i * e_j dropped while training (not in Rendle's paper;
        the authors of AFM train their FM so).
    reg : L2 on w and V, for each row the weights and vectors that it looks up (libFM's rule).
    All others: see ``Model``.

    Parameters to train: n (k + 1) + 1, for n ids of all fields.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(embedding_dim=4, epochs=2).fit(clicks.X, clicks.y)
    >>> model.embedding.params["V"].shape[1]
    4
    """

    embedding_dim: int = 8
    dropout: float = 0.0

    paper = Paper("Rendle", 2010, "ICDM", "https://doi.org/10.1109/ICDM.2010.127")
    equation = "s = w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j"
    checks = {"embedding_dim": COUNT, "dropout": SHARE_DROPPED}
    tiny = {"embedding_dim": 2}
    variants = {"FM": {"embedding_dim": 3}, "FM-k1": {"embedding_dim": 1}}

    regularized = ("linear.w", "embedding.V")

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.pooling = FMPooling()
        self.pooled_dropout = Dropout(self.dropout, rng)
        self.factor_sum = FactorSum()

    def forward(self, slots):
        first_order = self.linear.forward(slots)                  # (B,)       w_0 + sum_i w_i x_i
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        pooled = self.pooling.forward(E)                          # (B, k)     sum_{i<j} e_i * e_j
        pooled = self.pooled_dropout.forward(pooled)
        return first_order + self.factor_sum.forward(pooled)      # (B,)       <v_i, v_j> = sum_f v_if v_jf

    def backward(self, ds):
        dpooled = self.factor_sum.backward(ds)                    # (B, k)     s = ... + sum_f pooled_f
        dpooled = self.pooled_dropout.backward(dpooled)
        dE = self.pooling.backward(dpooled)                       # (B, M, k)
        self.embedding.backward(dE)
        self.linear.backward(ds)                                  # s = first_order + ...

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        return {"fields": self.linear.field_terms(),              # (B, M)     w_i x_i
                "pairs": inner_products(self.pooling.cache["E"])}  # (B, P)     <v_i, v_j> x_i x_j

    def factors(self):
        E = self.pooling.cache["E"]                               # (B, M, k)  e_i = v_i x_i
        i, j = field_pairs(E.shape[1])
        return {"pairs": (E[:, i], E[:, j])}                      # (B, P, k)  <v_i, v_j> x_i x_j
