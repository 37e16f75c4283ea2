"""The factorization-machine supported neural network (Zhang et al., ECIR 2016, https://arxiv.org/abs/1601.02376)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS, is_whole
from ..estimator import Model, Paper, StartsFromFM, WithMLP
from ..layers import MLP, Concatenate, Embedding, FirstOrderTerms
from ..training import TrainingDiverged
from .fm import FM


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class FNN(WithMLP, StartsFromFM, Model):
    """FNN is an MLP on the weights and vectors of a trained FM, which are then trained on with it.

        z = [w_0; w_1 x_1; ...; w_M x_M; e_1; ...; e_M],   e_i = v_i x_i
        s = w . a^L + b,   a^0 = z,   a^{l+1} = relu(a^l W^l + b^l)

    s is the logit of a click, or the predicted number. The start from an FM is what makes it an FNN: ``fit`` trains one
    on the same rows first, unless it is given a fitted one.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector, of the FM too.
    deep_layers : hidden units of each layer.   dropout : share of hidden units dropped while training.
    use_bn : batch norm before each ReLU; not in the paper.
    fm_epochs : how long ``fit`` trains the FM. 0: no FM, all starts at random, which is another model.
    init_from : a fitted FM of the same embedding_dim, instead; ``FNN.from_fm(fm)`` sets it.
    reg : L2 on the weights of the hidden layers.
    All others: see ``Model``. The FM is trained with the same ones.

    Parameters to train: n (k + 1) + 1 + sum_l (inputs_l + 1) units_l + units_L + 1, for n ids of all fields; the MLP
    has 1 + M (k + 1) inputs.

    Paper vs. code: the paper has tanh, and its authors' program leaves w_0 as it is; here the units are ReLUs as in
    every MLP, and w_0 is trained on. In the paper's z each w_i x_i stands beside its own vector;
    w_0 is what the FM's bias was beyond the base rate (or the targets' mean), at which b starts.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FNN(embedding_dim=4, deep_layers=(8,), epochs=2, fm_epochs=1).fit(clicks.X, clicks.y)
    >>> model.mlp.dense[0].params["W"].shape                      # 1 + 8 (4 + 1) numbers in
    (41, 8)
    """

    embedding_dim: int = 8
    deep_layers: tuple = (256, 128, 64)
    dropout: float = 0.0
    use_bn: bool = False
    fm_epochs: int = 3

    paper = Paper("Zhang et al.", 2016, "ECIR", "https://arxiv.org/abs/1601.02376")
    equation = "s = MLP([w_0; w_1 x_1; ...; w_M x_M; e_1; ...; e_M]), started from a fitted FM"
    checks = {"embedding_dim": COUNT, "deep_layers": WIDTHS, "dropout": SHARE_DROPPED,
              "fm_epochs": (lambda value: is_whole(value, least=0), "a whole number of at least 0")}
    tiny = {"embedding_dim": 2, "deep_layers": (2,), "fm_epochs": 1}
    variants = {"FNN": {"embedding_dim": 3, "deep_layers": (8, 4), "fm_epochs": 0},
                "FNN-after-FM": {"embedding_dim": 3, "deep_layers": (4,), "fm_epochs": 1},
                "FNN-bn": {"embedding_dim": 2, "deep_layers": (4,), "use_bn": True, "fm_epochs": 0}}

    def start(self, source):
        if self.init_from is not None or not self.fm_epochs:
            return super().start(source)
        common = {field.name: getattr(self, field.name) for field in dataclasses.fields(Model)}
        fm = FM(**common | {"embedding_dim": self.embedding_dim, "epochs": self.fm_epochs,
                            "reg": 0.0, "freeze": (), "lr_multipliers": None})
        seeds = fm.start(source)
        try:
            history = source.fit(fm, seeds)
        except TrainingDiverged as error:
            raise TrainingDiverged(f"{error} (FNN was training its FM)") from None
        if history.attrs["interrupted"]:
            raise KeyboardInterrupt                               # no weights of this model to keep yet
        fm.row_counts_[:] = 0                                     # the same rows are counted when this model trains
        try:
            self.init_from = fm
            return super().start(source)
        finally:
            self.init_from = None                                 # a setting is what the user gave

    def initialise(self, mean):
        super().initialise(mean)
        if self.init_from is not None:
            self.linear.params["w0"] -= self.bias()               # b has the base rate already

    def build(self, n, M, rng):
        k = self.embedding_dim
        self.linear = FirstOrderTerms(n, dtype=self.dtype)
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.inputs = Concatenate()
        self.mlp = MLP(1 + M * (k + 1), self.deep_layers, rng, self.dropout, self.use_bn, dtype=self.dtype)

    def forward(self, slots):
        first_order = self.linear.forward(slots)                  # (B, 1 + M) [w_0; w_1 x_1; ...; w_M x_M]
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        z = self.inputs.forward(first_order, E)                   # (B, 1 + M (k + 1))     [w_0; w_1 x_1; ...; e_1; ...]
        return self.mlp.forward(z)                                # (B,)       MLP(z)

    def backward(self, ds):
        dz = self.mlp.backward(ds)                                # (B, 1 + M (k + 1))     s = MLP(z)
        dfirst_order, dE = self.inputs.backward(dz)               # z = [w_0; w_1 x_1; ...; e_1; ...]
        self.embedding.backward(dE)                               # e_i = v_i x_i
        self.linear.backward(dfirst_order)                        # first_order = [w_0; w_1 x_1; ...]

    def bias(self):
        return self.mlp.out.params["b"]
