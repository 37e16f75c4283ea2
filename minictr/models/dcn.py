"""The deep & cross network (Wang et al., ADKDD 2017, https://arxiv.org/abs/1708.05123)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS
from ..estimator import Model, Paper, WithMLP
from ..layers import MLP, Concatenate, CrossNetwork, Embedding, Readout
from ..layers.base import glorot_normal


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class DCN(WithMLP, Model):
    """A deep & cross network reads out a network of explicit products and an MLP together.

        x_0 = [e_1; ...; e_M]
        x_{l+1} = x_0 (w_l . x_l) + b_l + x_l                     (eq. 3, see CrossNetwork)
        s = w . [x_L; a^L] + b,   a^0 = x_0,   a^{l+1} = relu(a^l W^l + b^l)

    s is the logit of a click, or the predicted number. Without ``deep_layers`` it is CrossNet, the cross network alone:
    x_L is a polynomial in x_0 of degree L + 1.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    num_layers : L, cross layers.
    deep_layers : hidden units of each layer of the MLP.   dropout : share of them dropped while training.
    use_bn : batch norm before each ReLU, as the paper has it.
    reg : L2 on the weights of the MLP's hidden layers.
    All others: see ``Model``.

    Parameters to train: n k + 2 L M k + sum_l (inputs_l + 1) units_l + M k + units_L + 1, for n ids of all M fields.

    Paper vs. code: the paper gives numerical fields to x_0 as they are; here a number is x_i v_i as in every model. It
    trains with batch norm; here it is off unless asked for.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = DCN(embedding_dim=4, num_layers=2, deep_layers=(16,), epochs=2).fit(clicks.X, clicks.y)
    >>> model.cross.params["w_1"].shape, model.readout.params["w"].shape      # 8 fields of 4 numbers; 16 units more
    ((32,), (48,))
    """

    embedding_dim: int = 8
    num_layers: int = 3
    deep_layers: tuple = (256, 128, 64)
    dropout: float = 0.0
    use_bn: bool = False

    paper = Paper("Wang et al.", 2017, "ADKDD", "https://arxiv.org/abs/1708.05123")
    equation = "s = w . [x_L; MLP(x_0)] + b,  x_{l+1} = x_0 (w_l . x_l) + b_l + x_l"
    checks = {"embedding_dim": COUNT, "num_layers": COUNT, "deep_layers": WIDTHS, "dropout": SHARE_DROPPED}
    tiny = {"embedding_dim": 2, "num_layers": 1, "deep_layers": (2,)}
    variants = {"DCN": {"embedding_dim": 3, "num_layers": 2, "deep_layers": (4, 3)},
                "CrossNet": {"embedding_dim": 2, "num_layers": 3, "deep_layers": ()},
                "DCN-bn": {"embedding_dim": 2, "num_layers": 1, "deep_layers": (4,), "use_bn": True}}

    def build(self, n, M, rng):
        width = M * self.embedding_dim
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.cross = CrossNetwork(width, self.num_layers, rng, dtype=self.dtype)
        self.mlp, n_out = None, width
        if self.deep_layers:
            self.mlp = MLP(width, self.deep_layers, rng, self.dropout, self.use_bn, dtype=self.dtype, readout=False)
            n_out = width + self.deep_layers[-1]
        self.towers = Concatenate()
        self.readout = Readout(n_out, glorot_normal(rng, n_out, 1, self.dtype)[:, 0], dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        x0 = E.reshape(len(E), -1)                                # (B, M k)   [e_1; ...; e_M]
        towers = [self.cross.forward(x0)]                         # (B, M k)   x_L
        if self.mlp:
            towers.append(self.mlp.forward(x0))                   # (B, units_L)   a^L
        return self.readout.forward(self.towers.forward(*towers))     # (B,)   w . [x_L; a^L] + b

    def backward(self, ds):
        dxL, *daL = self.towers.backward(self.readout.backward(ds))   # (B, M k)   s = w . [x_L; a^L] + b
        dx0 = self.cross.backward(dxL)                            # (B, M k)   x_{l+1} = x_0 (w_l . x_l) + b_l + x_l
        if self.mlp:
            dx0 = dx0 + self.mlp.backward(*daL)                   # x_0 feeds two towers: add
        self.embedding.backward(dx0.reshape(len(dx0), -1, self.embedding_dim))    # (B, M, k)  x_0 = [e_1; ...; e_M]

    def bias(self):
        return self.readout.params["b"]
