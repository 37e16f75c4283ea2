"""Deep Crossing (Shan et al., KDD 2016, https://doi.org/10.1145/2939672.2939704)."""

import dataclasses

from ..checks import COUNT, WIDTHS
from ..estimator import Model, Paper
from ..layers import Embedding, Readout, ResidualUnit
from ..layers.base import glorot_normal


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class DeepCrossing(Model):
    """Deep Crossing sends the fields' vectors, side by side, through residual units.

        x^0 = [e_1; ...; e_M]
        x^{l+1} = relu(x^l + relu(x^l W_1^l + b_1^l) W_2^l + b_2^l)
        s = w . x^L + b

    s is the logit of a click, or the predicted number. Nothing here multiplies fields with each other: the layers have
    to find out.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    deep_layers : hidden units of each residual unit, between its W_1 and W_2 (the AFM paper's has 512, 512, 256, 128,
        64: it counts ten layers, two for each unit).
    reg : L2 on W_1 and W_2.
    All others: see ``Model``.

    Parameters to train: n k + sum_l (2 M k units_l + units_l + M k) + M k + 1, for n ids of all M fields.

    Paper vs. code: the paper sends each field of 256 values and more through a layer with ReLU, and smaller ones in as
    they are, before all are put side by side; here every field has a table of vectors. Neither has dropout.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = DeepCrossing(embedding_dim=4, deep_layers=(16, 8), epochs=2).fit(clicks.X, clicks.y)
    >>> model.units[1].params["W_1"].shape                        # 8 fields of 4 numbers in, and out again
    (32, 8)
    """

    embedding_dim: int = 8
    deep_layers: tuple = (128, 64)

    paper = Paper("Shan et al.", 2016, "KDD", "https://doi.org/10.1145/2939672.2939704")
    equation = "s = w . x^L + b,  x^{l+1} = relu(x^l + relu(x^l W_1 + b_1) W_2 + b_2)"
    checks = {"embedding_dim": COUNT, "deep_layers": WIDTHS}
    tiny = {"embedding_dim": 2, "deep_layers": (2,)}
    variants = {"DeepCrossing": {"embedding_dim": 3, "deep_layers": (4, 2)},
                "DeepCrossing-one-unit": {"embedding_dim": 1, "deep_layers": (3,)}}

    @property
    def regularized(self):
        """The weights that ``reg`` is for: those of the residual units."""
        return tuple(f"units_{i}.{W}" for i in range(1, len(self.deep_layers) + 1) for W in ("W_1", "W_2"))

    def build(self, n, M, rng):
        width = M * self.embedding_dim
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.units = [ResidualUnit(width, units, rng, dtype=self.dtype) for units in self.deep_layers]
        self.readout = Readout(width, glorot_normal(rng, width, 1, self.dtype)[:, 0], dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        x = E.reshape(len(E), -1)                                 # (B, M k)   x^0 = [e_1; ...; e_M]
        for unit in self.units:
            x = unit.forward(x)                       # (B, M k)   x^{l+1} = relu(x^l + relu(x^l W_1 + b_1) W_2 + b_2)
        return self.readout.forward(x)                            # (B,)       w . x^L + b

    def backward(self, ds):
        dx = self.readout.backward(ds)                            # (B, M k)   s = w . x^L + b
        for unit in reversed(self.units):
            dx = unit.backward(dx)                    # (B, M k)   x^{l+1} = relu(x^l + relu(x^l W_1 + b_1) W_2 + b_2)
        self.embedding.backward(dx.reshape(len(dx), -1, self.embedding_dim))      # (B, M, k)  x^0 = [e_1; ...; e_M]

    def bias(self):
        return self.readout.params["b"]
