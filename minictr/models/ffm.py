"""The field-aware factorization machine (Juan et al., RecSys 2016, https://doi.org/10.1145/2959100.2959134)."""

import dataclasses

import numpy as np

from ..checks import COUNT
from ..estimator import Model, Paper
from ..layers import Embedding, FieldAwareProducts, Linear, field_pairs


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class FFM(Model):
    """A field-aware factorization machine gives every value a vector for each field that it may meet.

        s = w_0 + sum_i w_i x_i + sum_{i<j} <v_{i,f(j)}, v_{j,f(i)}> x_i x_j

    s is the logit of a click, or the predicted number. Value i meets value j by the vector that it keeps for the field
    of j, f(j); value j by the one that it keeps for f(i). With the same vector for all fields it is the FM.

    Parameters
    ----------
    embedding_dim : k, the size of each vector; small, as a value has M of them (4 in the paper).
    first_order : whether there are w_0 and w. Without them it is for clicks alone, and starts at a probability of 1/2.
    reg : L2 on w and V, for each row the weights and vectors that it looks up.
    All others: see ``Model``.

    Parameters to train: n M k, and with first_order n + 1 more, for n ids of all M fields. The vector that a value has
    for its own field is among them, as in libffm, and is never used.

    Paper vs. code: the paper leaves w_0 and w out of its equation, and so does its program, libffm, which also scales
    each row to length 1 and draws its start from 0 to 1/sqrt(k); xLearn and FuxiCTR have w_0 and w. Here they are there
    unless first_order=False, rows are not scaled, and V starts at normal draws of standard deviation 0.1.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FFM(embedding_dim=2, epochs=2).fit(clicks.X, clicks.y)
    >>> model.embedding.params["V"].shape[1]                      # 8 fields, 2 numbers for each
    16
    """

    embedding_dim: int = 4
    first_order: bool = True

    paper = Paper("Juan et al.", 2016, "RecSys", "https://doi.org/10.1145/2959100.2959134")
    equation = "s = w_0 + sum_i w_i x_i + sum_{i<j} <v_{i,f(j)}, v_{j,f(i)}> x_i x_j"
    checks = {"embedding_dim": COUNT}
    tiny = {"embedding_dim": 2}
    variants = {"FFM": {"embedding_dim": 3}, "FFM-k1": {"embedding_dim": 1}}

    @property
    def regularized(self):
        """The parameters that ``reg`` is for."""
        return ("linear.w", "embedding.V") if self.first_order else ("embedding.V",)

    def check_fields(self, M):
        if not self.first_order and self.task_ == "regression":
            raise ValueError("FFM(first_order=False) has no w_0, which would take up the mean of the targets: it is "
                             "for clicks. Set first_order=True")

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype) if self.first_order else None
        # ten times the usual start: without first-order terms the products alone have to get things going
        self.embedding = Embedding(n, M * self.embedding_dim, rng, std=0.1, dtype=self.dtype)
        self.products = FieldAwareProducts()

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, M k)   all vectors of field i, side by side
        B, M, _ = E.shape
        pairs = self.products.forward(E.reshape(B, M, M, -1))     # (B, P)        <v_{i,f(j)}, v_{j,f(i)}> x_i x_j
        s = pairs.sum(axis=1)                                     # (B,)          sum_{i<j} ...
        return s + self.linear.forward(slots) if self.linear else s           # w_0 + sum_i w_i x_i + ...

    def backward(self, ds):
        P = self.products.cache["out"].shape[1]
        dpairs = np.repeat(ds[:, None], P, axis=1)                # (B, P)        s = ... + sum_{i<j} pairs_ij
        dE = self.products.backward(dpairs)                       # (B, M, M, k)
        self.embedding.backward(dE.reshape(*dE.shape[:2], -1))    # (B, M, M k)
        if self.linear:
            self.linear.backward(ds)                              # s = first-order terms + ...

    def bias(self):
        return self.linear.params["w0"] if self.linear else np.zeros(1, self.dtype)

    def terms(self):
        terms = {"fields": self.linear.field_terms()} if self.linear else {}  # (B, M)     w_i x_i
        return terms | {"pairs": self.products.cache["out"]}      # (B, P)

    def factors(self):
        E = self.products.cache["E"]                              # (B, M, M, k)
        i, j = field_pairs(E.shape[1])
        return {"pairs": (E[:, i, j], E[:, j, i])}                # (B, P, k)  <v_{i,f(j)}, v_{j,f(i)}> x_i x_j
