"""The field-weighted factorization machine (Pan et al., WWW 2018, https://arxiv.org/abs/1806.03514)."""

import dataclasses

from ..checks import COUNT
from ..estimator import Model, Paper
from ..layers import Embedding, InnerProducts, Linear, Readout, field_pairs


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class FwFM(Model):
    """A field-weighted factorization machine is an FM that learns a strength for each pair of fields.

        s = w_0 + sum_i w_i x_i + sum_{i<j} r_ij <v_i, v_j> x_i x_j

    s is the logit of a click, or the predicted number. r_ij belongs to two fields, whatever their values: it is the
    same in every row, and says how much these fields interact at all. With every r_ij = 1 it is the FM.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    reg : L2 on w and V, for each row the weights and vectors that it looks up.
    All others: see ``Model``.

    Parameters to train: n (k + 1) + 1 + M (M - 1) / 2, for n ids of all M fields.

    Paper vs. code: the paper has three forms of the first-order terms; this is the plain one, a weight for each value.
    It does not say where r starts. Here it starts at 1, as the FM.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FwFM(embedding_dim=4, epochs=2).fit(clicks.X, clicks.y)
    >>> model.strength.params["r"].shape                          # 28 pairs of 8 fields
    (28,)
    """

    embedding_dim: int = 8

    paper = Paper("Pan et al.", 2018, "WWW", "https://arxiv.org/abs/1806.03514")
    equation = "s = w_0 + sum_i w_i x_i + sum_{i<j} r_ij <v_i, v_j> x_i x_j"
    checks = {"embedding_dim": COUNT}
    tiny = {"embedding_dim": 2}
    variants = {"FwFM": {"embedding_dim": 3}, "FwFM-k1": {"embedding_dim": 1}}

    regularized = ("linear.w", "embedding.V")

    def build(self, n, M, rng):
        P = M * (M - 1) // 2
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.products = InnerProducts()
        self.strength = Readout(P, start=1, symbol="r", bias=False, dtype=self.dtype)

    def forward(self, slots):
        first_order = self.linear.forward(slots)                  # (B,)       w_0 + sum_i w_i x_i
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        products = self.products.forward(E)                       # (B, P)     <v_i, v_j> x_i x_j
        return first_order + self.strength.forward(products)      # (B,)       ... + sum_{i<j} r_ij <v_i, v_j> x_i x_j

    def backward(self, ds):
        dproducts = self.strength.backward(ds)                    # (B, P)     s = ... + r . products
        dE = self.products.backward(dproducts)                    # (B, M, k)
        self.embedding.backward(dE)
        self.linear.backward(ds)                                  # s = first_order + ...

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        r, products = self.strength.params["r"], self.products.cache["out"]
        return {"fields": self.linear.field_terms(),              # (B, M)     w_i x_i
                "pairs": r * products}                            # (B, P)     r_ij <v_i, v_j> x_i x_j

    def pair_strengths(self):
        """r_ij of every pair of fields, (P,): the same in every row."""
        return self.strength.params["r"]

    def factors(self):
        r, E = self.strength.params["r"], self.products.cache["E"]            # (B, M, k)  e_i = v_i x_i
        i, j = field_pairs(E.shape[1])
        return {"pairs": (r[:, None] * E[:, i], E[:, j])}         # (B, P, k)  r_ij <v_i, v_j> x_i x_j
