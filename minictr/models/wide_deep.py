"""Wide & Deep (Cheng et al., DLRS 2016, https://arxiv.org/abs/1606.07792)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS, is_real
from ..estimator import Model, Paper, WithMLP
from ..layers import MLP, Crosses, Embedding, Linear
from ..optim import FTRL, Grouped


def are_crosses(value):
    """Whether this is a list of combinations of at least two names, each once.

    >>> are_crosses([("user", "ad")]), are_crosses(["user", "ad"])
    (True, False)
    """
    return isinstance(value, (list, tuple)) and all(
        isinstance(cross, (list, tuple)) and all(isinstance(name, str) for name in cross)
        and len(set(cross)) == len(cross) > 1 for cross in value)


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class WideDeep(WithMLP, Model):
    """Wide & Deep trains a linear model, which knows combinations by heart, with an MLP, which generalises.

        s = w_0 + sum_i w_i x_i + sum_c w_c(x) + w . a^L,   a^0 = [e_1; ...; e_M],   a^{l+1} = relu(a^l W^l + b^l)

    s is the logit of a click, or the predicted number. w_c(x) is the weight of the combination of values that a row has
    in the fields of a cross c. Which fields to cross is for the user to say: the model does not find out.

    Parameters
    ----------
    crosses : combinations of fields' names, e.g. [("user_segment", "ad_category")]; none by default.
    cross_buckets : weights of each cross, to one of which a combination is hashed; for all crosses 2^31 at most.
    embedding_dim : k, the size of a value's vector, of the deep part alone.
    deep_layers : hidden units of each layer.   dropout : share of hidden units dropped while training.
    use_bn : batch norm before each ReLU; not in the paper.
    optimizer, learning_rate : of the deep part and w_0; the paper has AdaGrad there.
    wide_optimizer : "ftrl" for the paper's FTRL with L1 on the weights of fields and crosses; None: as the deep part.
    wide_learning_rate, l1 : of FTRL. l1 is in units of the mean loss: the larger it is, the more weights are exactly 0.
    reg : L2 on the weights of the hidden layers.
    All others: see ``Model``.

    Parameters to train: n (k + 1) + 1 + C buckets + sum_l (inputs_l + 1) units_l + units_L, for n ids of all fields and
    C crosses.

    Paper vs. code: the paper crosses a few chosen values; here all values of the fields named are crossed, and hashed.
    It gives the wide part only some of the fields, and the deep part of numbers the numbers themselves; here both have
    all fields, and a number is x_i v_i as in every model.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = WideDeep(crosses=[("user_segment", "ad_category")], epochs=2).fit(clicks.X, clicks.y)
    >>> type(model.optimizer_.of("crossed.w")).__name__, type(model.optimizer_.of("embedding.V")).__name__
    ('FTRL', 'Adagrad')
    """

    crosses: tuple = ()
    cross_buckets: int = 10_000
    embedding_dim: int = 8
    deep_layers: tuple = (256, 128, 64)
    dropout: float = 0.0
    use_bn: bool = False
    optimizer: str = "adagrad"
    learning_rate: float = 0.05
    wide_optimizer: str | None = "ftrl"
    wide_learning_rate: float = 0.1
    l1: float = 0.0

    paper = Paper("Cheng et al.", 2016, "DLRS", "https://arxiv.org/abs/1606.07792")
    equation = "s = w_0 + sum_i w_i x_i + sum_c w_c(x) + MLP([e_1; ...; e_M])"
    checks = {"crosses": (are_crosses, "a list of combinations of two or more names of fields, such as "
                                       "[(\"user\", \"ad\")]"),
              "cross_buckets": COUNT, "embedding_dim": COUNT, "deep_layers": WIDTHS, "dropout": SHARE_DROPPED,
              "wide_optimizer": ((None, "ftrl").__contains__, "None or 'ftrl'"),
              "wide_learning_rate": (lambda value: is_real(value, above=0), "a number above 0"),
              "l1": (is_real, "a number of at least 0")}
    tiny = {"embedding_dim": 2, "deep_layers": (2,)}
    variants = {"WideDeep": {"embedding_dim": 3, "deep_layers": (4, 3), "cross_buckets": 20, "optimizer": "adam",
                             "wide_optimizer": None, "crosses": (("field_1", "field_2"), ("field_2", "field_1"))},
                "WideDeep-ftrl": {"embedding_dim": 3, "deep_layers": (4, 3), "cross_buckets": 20, "l1": 0.001,
                                  "crosses": (("field_1", "field_2"),)},
                "WideDeep-no-crosses": {"embedding_dim": 2, "deep_layers": (), "optimizer": "adam",
                                        "wide_optimizer": None},
                "WideDeep-bn": {"embedding_dim": 2, "deep_layers": (4,), "use_bn": True, "wide_optimizer": None}}

    def check_fields(self, M):
        named = {name for cross in self.crosses for name in cross}
        if len(named) > M:
            raise ValueError(f"crosses names the {len(named)} fields {', '.join(sorted(named))}, and there are {M}")

    def make_optimizer(self):
        deep = super().make_optimizer()
        if self.wide_optimizer is None:
            return deep
        wide = FTRL(self.wide_learning_rate, self.l1, lr_multipliers=self.lr_multipliers, lazy=self.lazy)
        return Grouped({"linear.w": wide, "crossed": wide}, rest=deep)

    def build(self, n, M, rng):
        k = self.embedding_dim
        self.linear = Linear(n, dtype=self.dtype)
        self.crossed = None
        if self.crosses:
            fields = [[self.number_of(name) for name in cross] for cross in self.crosses]
            self.crossed = Crosses(fields, self.cross_buckets, dtype=self.dtype)
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.mlp = MLP(M * k, self.deep_layers, rng, self.dropout, self.use_bn, dtype=self.dtype, bias=False)

    def undrawn(self):
        return len(self.crosses) * self.cross_buckets

    def number_of(self, name):
        """Return which field has this name, from 0."""
        names = self.encoder_.field_names
        if name not in names:
            raise ValueError(f"crosses names the field {name!r}; there are {', '.join(map(str, names))}")
        return names.index(name)

    def forward(self, slots):
        wide = self.linear.forward(slots)                         # (B,)       w_0 + sum_i w_i x_i
        if self.crossed:
            wide = wide + self.crossed.forward(slots)             # (B,)       ... + sum_c w_c(x)
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        deep = self.mlp.forward(E.reshape(len(E), -1))            # (B,)       w . a^L
        return wide + deep

    def backward(self, ds):
        da0 = self.mlp.backward(ds)                               # (B, M k)   s = wide + deep
        self.embedding.backward(da0.reshape(len(da0), -1, self.embedding_dim))    # (B, M, k)  a^0 = [e_1; ...; e_M]
        if self.crossed:
            self.crossed.backward(ds)                             # wide = w_0 + sum_i w_i x_i + sum_c w_c(x)
        self.linear.backward(ds)                                  # the same, with respect to w_0 and w

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        terms = {"fields": self.linear.field_terms()}             # (B, M)     w_i x_i
        if self.crossed:
            for cross, w_c in zip(self.crosses, self.crossed.field_terms().T, strict=True):
                terms[" x ".join(cross)] = w_c[:, None]           # (B, 1)     w_c(x)
        deep = self.mlp.out.cache["x"] @ self.mlp.out.params["w"]     # (B,)       w . a^L
        return terms | {"deep part": deep[:, None]}               # (B, 1)
