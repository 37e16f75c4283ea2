"""Logistic (or linear) regression on the values of the fields is what every other model starts from."""

import dataclasses

from ..estimator import Model, Paper
from ..layers import Linear


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class LR(Model):
    """A linear model gives every value of every field one weight; fields do not interact.

        s = w_0 + sum_i w_i x_i                                   (Rendle 2010, eq. 1, without its pairs)

    s, the paper's y, is the logit of a click, or the predicted number.

    Parameters
    ----------
    reg : L2 on w, for each row the weights that it looks up.
    All others: see ``Model``.

    Parameters to train: n + 1, for n ids of all fields.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = LR(epochs=2).fit(clicks.X, clicks.y)
    >>> model.predict_proba(clicks.X).shape
    (2000, 2)
    """

    paper = Paper("Rendle", 2010, "ICDM", "https://doi.org/10.1109/ICDM.2010.127")
    equation = "s = w_0 + sum_i w_i x_i"
    variants = {"LR": {}}

    regularized = ("linear.w",)

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)

    def forward(self, slots):
        return self.linear.forward(slots)                         # (B,)   w_0 + sum_i w_i x_i

    def backward(self, ds):
        self.linear.backward(ds)

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        return {"fields": self.linear.field_terms()}              # (B, M)     w_i x_i
