"""The product-based neural network (Qu et al., ICDM 2016, https://arxiv.org/abs/1611.00144)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, WIDTHS
from ..estimator import Model, Paper, WithMLP
from ..layers import MLP, Concatenate, Embedding, InnerProducts, OuterProduct

PRODUCTS = ("inner", "outer", "both")


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class PNN(WithMLP, Model):
    """A product-based neural network is an MLP that is given the fields' vectors and their products.

        z = [e_1; ...; e_M]
        p = <e_i, e_j> for all i < j                              (product="inner": IPNN)
        p = f f^T,   f = sum_i e_i                                (product="outer": OPNN)
        s = w . a^L + b,   a^0 = [z; p],   a^{l+1} = relu(a^l W^l + b^l)

    s is the logit of a click, or the predicted number. product="both" (the paper's PNN*) has both kinds of p.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    product : "inner", "outer" or "both".
    deep_layers : hidden units of each layer.   dropout : share of hidden units dropped while training.
    use_bn : batch norm before each ReLU; not in the paper.
    reg : L2 on the weights of the hidden layers.
    All others: see ``Model``.

    Parameters to train: n k + sum_l (inputs_l + 1) units_l + units_L + 1, for n ids of all fields; the first layer has
    M k inputs, and M (M - 1) / 2 more for the inner products, k^2 more for the outer ones. That is what products cost:
    M^2 k / 2 multiplications a row for the inner, k^2 for the outer, each times the first layer's units for its W.

    Paper vs. code: the paper's first hidden layer, relu(l_z + l_p + b), is a dense layer on [z; p]: l_z and l_p are its
    two parts. To make it cheaper, the paper writes the weights of the inner products as theta theta^T; here they are
    free. The superposition f f^T, where every field meets every field and itself too, is the paper's own for OPNN.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = PNN(embedding_dim=4, deep_layers=(8,), epochs=2).fit(clicks.X, clicks.y)
    >>> model.mlp.dense[0].params["W"].shape                      # 8 * 4 numbers and 28 products in
    (60, 8)
    """

    embedding_dim: int = 8
    product: str = "inner"
    deep_layers: tuple = (256, 128, 64)
    dropout: float = 0.0
    use_bn: bool = False

    paper = Paper("Qu et al.", 2016, "ICDM", "https://arxiv.org/abs/1611.00144")
    equation = "s = MLP([e_1; ...; e_M; <e_i, e_j> for all i < j])"
    checks = {"embedding_dim": COUNT, "product": (PRODUCTS.__contains__, "'inner', 'outer' or 'both'"),
              "deep_layers": WIDTHS, "dropout": SHARE_DROPPED}
    tiny = {"embedding_dim": 2, "deep_layers": (2,)}
    variants = {"PNN": {"embedding_dim": 3, "deep_layers": (8, 4)},
                "PNN-outer": {"embedding_dim": 2, "deep_layers": (4,), "product": "outer"},
                "PNN-both-bn": {"embedding_dim": 2, "deep_layers": (4,), "product": "both", "use_bn": True}}

    def build(self, n, M, rng):
        k, n_in = self.embedding_dim, M * self.embedding_dim
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.inner = self.outer = None
        if self.product in ("inner", "both"):
            self.inner = InnerProducts()
            n_in += M * (M - 1) // 2
        if self.product in ("outer", "both"):
            self.outer = OuterProduct()
            n_in += k * k
        self.inputs = Concatenate()
        self.mlp = MLP(n_in, self.deep_layers, rng, self.dropout, self.use_bn, dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        a0 = [E]
        if self.inner:
            a0.append(self.inner.forward(E))                      # (B, P)     <e_i, e_j>
        if self.outer:
            a0.append(self.outer.forward(E))                      # (B, k, k)  f f^T
        return self.mlp.forward(self.inputs.forward(*a0))         # (B,)       MLP([z; p])

    def backward(self, ds):
        dE, *dproducts = self.inputs.backward(self.mlp.backward(ds))  # (B, M, k)  a^0 = [E; products]
        if self.outer:
            dE = dE + self.outer.backward(dproducts.pop())        # E feeds the MLP and its products: add
        if self.inner:
            dE = dE + self.inner.backward(dproducts.pop())
        self.embedding.backward(dE)

    def bias(self):
        return self.mlp.out.params["b"]
