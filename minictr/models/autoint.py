"""AutoInt (Song et al., CIKM 2019, https://arxiv.org/abs/1810.11921)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS
from ..estimator import Model, Paper, WithMLP
from ..layers import MLP, Dropout, Embedding, InteractingLayer, Linear, Readout
from ..layers.base import glorot_normal


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class AutoInt(WithMLP, Model):
    """AutoInt lets fields exchange information by self-attention, several times over.

        E^0 = [e_1, ..., e_M],   e_i = v_i x_i                    (eq. 2-4)
        E^l = relu([heads of E^{l-1}] + E^{l-1} W_Res)            (eq. 5-8, see InteractingLayer)
        s   = w . [e^L_1; ...; e^L_M] + b                         (eq. 9, before its sigmoid)

    s is the paper's y. ``deep_layers`` make it AutoInt+: the output of an MLP on E^0 is added to s (section 5.5).

    Parameters
    ----------
    embedding_dim : k (the paper's d), the size of a value's vector.
    attention_dim : d', the size *per head*: a layer's output has num_heads * attention_dim numbers a field. (The
        paper has 32 and 2 heads: only 32 per head, 64 in all, gives the number of parameters that it reports.)
    num_heads, num_layers : H and L.
    dropout : share of attention weights dropped while training.   embedding_dropout : the same for e_i.
    residual : whether there is W_Res.   scale : divide the scores by sqrt(d').   layer_norm : after each ReLU.
    qkv_activation : "relu" gives Q, K, V and the residual a bias and a ReLU.   first_order : add sum_i w_i x_i.
    deep_layers : hidden units of AutoInt+'s MLP, e.g. (400, 400).   deep_dropout, use_bn : of that MLP.
    reg : L2 on the weights of the MLP's hidden layers (the only ones for which the authors' code has it).
    All others: see ``Model``.

    Parameters to train: n k for the vectors; per layer (3 or, with W_Res, 4) * inputs * H d'; M H d' + 1 to read out.

    Paper vs. code: the paper's equations have no bias, no activation and no 1/sqrt(d') in Q, K, V, and no layer norm;
    the authors' program has them all. The default is the paper; ``AutoInt.official_code()`` is the program.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = AutoInt(attention_dim=4, num_layers=2, epochs=1).fit(clicks.X, clicks.y)
    >>> s = model.forward(model.encode(clicks.X, clicks.y)[0])    # fit and predict leave no caches in the layers
    >>> model.interacting[1].cache["a"].shape                     # rows, heads, fields, fields
    (2000, 2, 8, 8)
    """

    embedding_dim: int = 16
    attention_dim: int = 16
    num_heads: int = 2
    num_layers: int = 3
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    residual: bool = True
    scale: bool = False
    layer_norm: bool = False
    qkv_activation: str | None = None
    first_order: bool = False
    deep_layers: tuple = ()
    deep_dropout: float = 0.0
    use_bn: bool = False

    paper = Paper("Song et al.", 2019, "CIKM", "https://arxiv.org/abs/1810.11921")
    equation = "s = w . relu(heads(E) + E W_Res) + b, several layers of it"
    checks = {"embedding_dim": COUNT, "attention_dim": COUNT, "num_heads": COUNT, "num_layers": COUNT,
              "dropout": SHARE_DROPPED, "embedding_dropout": SHARE_DROPPED, "deep_dropout": SHARE_DROPPED,
              "deep_layers": WIDTHS}
    tiny = {"embedding_dim": 2, "attention_dim": 2, "num_heads": 2, "num_layers": 1}
    variants = {
        "AutoInt": {"embedding_dim": 3, "attention_dim": 2, "num_heads": 2, "num_layers": 2},
        "AutoInt-one-head-of-1": {"embedding_dim": 1, "attention_dim": 1, "num_heads": 1, "num_layers": 1},
        "AutoInt-no-residual": {"embedding_dim": 3, "attention_dim": 2, "num_layers": 1, "residual": False},
        "AutoInt-scale": {"embedding_dim": 2, "attention_dim": 3, "num_layers": 1, "scale": True},
        "AutoInt-layer-norm": {"embedding_dim": 2, "attention_dim": 2, "num_layers": 1, "layer_norm": True},
        "AutoInt-relu": {"embedding_dim": 2, "attention_dim": 2, "num_layers": 1, "qkv_activation": "relu"},
        "AutoInt-first-order": {"embedding_dim": 2, "attention_dim": 2, "num_layers": 1, "first_order": True},
        "AutoInt-official": {"embedding_dim": 2, "attention_dim": 2, "num_layers": 2, "scale": True,
                             "layer_norm": True, "qkv_activation": "relu"},
        "AutoInt+": {"embedding_dim": 3, "attention_dim": 2, "num_layers": 1, "deep_layers": (4, 3)},
        "AutoInt+-bn": {"embedding_dim": 2, "attention_dim": 2, "num_layers": 1, "first_order": True,
                        "deep_layers": (4,), "use_bn": True}}

    @classmethod
    def official_code(cls, **params):
        """Return AutoInt as the authors' program computes it, not as their paper writes it; see the class."""
        return cls(**{"scale": True, "layer_norm": True, "qkv_activation": "relu", **params})

    def build(self, n, M, rng):
        k, width = self.embedding_dim, self.num_heads * self.attention_dim
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.vector_dropout = Dropout(self.embedding_dropout, rng)
        self.interacting = [
            InteractingLayer(k if layer == 0 else width, self.num_heads, self.attention_dim, rng,
                             scale=self.scale, residual=self.residual, layer_norm=self.layer_norm,
                             qkv_activation=self.qkv_activation, dropout=self.dropout, dtype=self.dtype)
            for layer in range(self.num_layers)]
        start = glorot_normal(rng, M * width, 1, self.dtype)[:, 0]
        self.readout = Readout(M * width, start, dtype=self.dtype)
        self.linear = Linear(n, bias=False, dtype=self.dtype) if self.first_order else None
        self.mlp = None
        if self.deep_layers:
            self.mlp = MLP(M * k, self.deep_layers, rng, self.deep_dropout, self.use_bn, dtype=self.dtype)

    def forward(self, slots):
        E = self.vector_dropout.forward(self.embedding.forward(slots))        # (B, M, k)     E^0
        B = len(E)
        e = E
        for layer in self.interacting:
            e = layer.forward(e)                                  # (B, M, H d')  E^l
        s = self.readout.forward(e.reshape(B, -1))                # (B,)          w . [e^L_1; ...] + b
        if self.linear:
            s = s + self.linear.forward(slots)                    #               + sum_i w_i x_i
        if self.mlp:
            s = s + self.mlp.forward(E.reshape(B, -1))            #               + MLP([e_1; ...; e_M])
        return s

    def backward(self, ds):
        B, M, k = len(ds), self.interacting[0].cache["E"].shape[1], self.embedding_dim
        de = self.readout.backward(ds).reshape(B, M, -1)          # (B, M, H d')
        for layer in reversed(self.interacting):
            de = layer.backward(de)
        dE = de                                                   # (B, M, k)
        if self.mlp:
            dE = dE + self.mlp.backward(ds).reshape(B, M, k)      # E feeds both: add
        if self.linear:
            self.linear.backward(ds)
        self.embedding.backward(self.vector_dropout.backward(dE))

    def bias(self):
        return self.readout.params["b"]

    def attention_weights(self):
        return {f"layer {number}": layer.cache["a"] for number, layer in enumerate(self.interacting, 1)}  # (B, H, M, M)
