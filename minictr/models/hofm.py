"""The higher-order factorization machine (Blondel et al., NIPS 2016, https://arxiv.org/abs/1607.07195), of order 3."""

import dataclasses

from ..checks import COUNT
from ..estimator import Model, Paper
from ..layers import Embedding, FactorSum, FMPooling, Linear, TriplePooling, field_pairs, inner_products
from ..layers.triples import field_triples, triple_products


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class HOFM(Model):
    """A higher-order factorization machine is an FM with terms of three fields too, by vectors of their own.

        s = w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j + sum_{i<j<l} <u_i, u_j, u_l> x_i x_j x_l

    s is the logit of a click, or the predicted number; <u_i, u_j, u_l> = sum_f u_if u_jf u_lf. With i < j < l no field
    meets itself. V and U are two tables, so that a value need not mean the same in a pair and in a triple.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector of each order.
    reg : L2 on w, V and U, for each row the weights and vectors that it looks up.
    All others: see ``Model``.

    Parameters to train: n (2 k + 1) + 1, for n ids of all fields.

    Paper vs. code: the paper computes the sum over triples by a recursion over the fields; here a formula of power sums
    gives the same number (see ``TriplePooling``). The paper also has a form with one table for all orders.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = HOFM(embedding_dim=4, epochs=2).fit(clicks.X, clicks.y)
    >>> model.triple_embedding.params["V"].shape[1]               # U
    4
    """

    embedding_dim: int = 8

    paper = Paper("Blondel et al.", 2016, "NIPS", "https://arxiv.org/abs/1607.07195")
    equation = "s = w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j + sum_{i<j<l} <u_i, u_j, u_l> x_i x_j x_l"
    checks = {"embedding_dim": COUNT}
    tiny = {"embedding_dim": 2}
    variants = {"HOFM": {"embedding_dim": 3}, "HOFM-k1": {"embedding_dim": 1}}

    regularized = ("linear.w", "embedding.V", "triple_embedding.V")

    def build(self, n, M, rng):
        k = self.embedding_dim
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.triple_embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.pooling, self.triple_pooling = FMPooling(), TriplePooling()
        self.factor_sum, self.triple_factor_sum = FactorSum(), FactorSum()

    def forward(self, slots):
        first_order = self.linear.forward(slots)                  # (B,)       w_0 + sum_i w_i x_i
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        second_order = self.factor_sum.forward(self.pooling.forward(E))       # (B,)  sum_{i<j} <v_i, v_j> x_i x_j
        U = self.triple_embedding.forward(slots)                  # (B, M, k)  u_i x_i
        third_order = self.triple_factor_sum.forward(self.triple_pooling.forward(U))      # (B,)  sum_{i<j<l} ...
        return first_order + second_order + third_order

    def backward(self, ds):
        dpooled = self.triple_factor_sum.backward(ds)             # (B, k)     s = ... + third_order
        dU = self.triple_pooling.backward(dpooled)                # (B, M, k)  pooled = sum_{i<j<l} u_i * u_j * u_l
        self.triple_embedding.backward(dU)
        dpooled = self.factor_sum.backward(ds)                    # (B, k)     s = ... + second_order + ...
        dE = self.pooling.backward(dpooled)                       # (B, M, k)  pooled = sum_{i<j} e_i * e_j
        self.embedding.backward(dE)
        self.linear.backward(ds)                                  # s = first_order + ...

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        return {"fields": self.linear.field_terms(),              # (B, M)     w_i x_i
                "pairs": inner_products(self.pooling.cache["E"]),             # (B, P)  <v_i, v_j> x_i x_j
                "triples": triple_products(self.triple_pooling.cache["E"])}   # (B, T)  <u_i, u_j, u_l> x_i x_j x_l

    def factors(self):
        E, U = self.pooling.cache["E"], self.triple_pooling.cache["E"]        # (B, M, k)  e_i = v_i x_i, u_i x_i
        i, j = field_pairs(E.shape[1])
        a, b, c = field_triples(E.shape[1])
        return {"pairs": (E[:, i], E[:, j]),                      # (B, P, k)  <v_i, v_j> x_i x_j
                "triples": (U[:, a], U[:, b], U[:, c])}           # (B, T, k)  <u_i, u_j, u_l> x_i x_j x_l
