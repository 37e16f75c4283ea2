"""How much work a model is, a row: its matrix products, and the numbers that have to be read and written.

Products are counted with their shapes, forward; training adds two as large for each, for the gradients. What has to be
read and written, whatever a program keeps in its caches: the rows' ids, and what the tables hold for each of them;
training adds as much again for the gradients of what was looked up, and reads and writes every touched parameter and
both of its moments once. Weights x of the slots, exponentials and additions are not counted.

The limit of a figure is the time in which this machine, with all its cores, does these very products (``machine_rates``
measures each shape by itself), plus that in which it copies so many bytes.
"""

import dataclasses
import itertools

import numpy as np

import minictr
from minictr import AFM, FM, AutoInt, DeepFM

from .peers import of_class

BYTES = 4


@dataclasses.dataclass(frozen=True)
class Product:
    """(rows, n_in) @ (n_in, n_out) for each row of data.

    Of a batch of B rows that is, by its kind:  "shared": one product (B rows, n_in) @ (n_in, n_out), its second factor
    being a weight;  "sum": (n_in, B rows) @ (B rows, n_out), the gradient of such a weight;  "own": B products, or
    B ``items``, each with two factors of its own, which may be the same one ``with_itself``.
    """

    rows: int
    n_in: int
    n_out: int
    kind: str = "shared"
    items: int = 1
    with_itself: bool = False

    @property
    def operations(self):
        """Floating point operations for a row of data: 2 for each multiply-add."""
        return 2 * self.items * self.rows * self.n_in * self.n_out

    def backward(self):
        """The products for the gradients of its factors, one for each; not for a "sum", which is such a product."""
        of_first = dataclasses.replace(self, n_in=self.n_out, n_out=self.n_in)
        if self.kind == "shared":
            return of_first, dataclasses.replace(self, kind="sum")
        of_second = dataclasses.replace(self, rows=self.n_in, n_in=self.rows)
        return (of_first,) if self.with_itself else (of_first, of_second)

    def factors(self, B):
        """The shapes of both factors for B rows of data."""
        m, n, p = self.rows, self.n_in, self.n_out
        return {"shared": ((B * m, n), (n, p)), "sum": ((n, B * m), (B * m, p)),
                "own": ((B * self.items, m, n), (B * self.items, n, p))}[self.kind]


def of_an_fm(model, M, E):
    """e_i, e_i^2."""
    return [], 2 * E


def of_an_afm(model, M, E):
    """Pairs W, r h, sum of a pairs, p . f; the pairs, r."""
    k, t, P = model.embedding_dim, model.attention_dim, M * (M - 1) // 2
    return [Product(P, k, t), Product(P, t, 1), Product(1, P, k, "own"), Product(1, k, 1)], E + P * (k + t)


def of_an_mlp(n_in, layers):
    """Its products, and that which reads out; its layers."""
    sizes = [n_in, *layers, 1]
    return [Product(1, a, b) for a, b in itertools.pairwise(sizes)], sum(sizes[1:])


def of_a_deepfm(model, M, E):
    """The MLP's; e_i, e_i^2 beside it."""
    products, numbers = of_an_mlp(E, model.deep_layers)
    return products, 2 * E + numbers


def of_an_autoint(model, M, E):
    """Each layer's products and arrays; the product that reads out."""
    H, d = model.num_heads, model.attention_dim
    width, products, numbers = H * d, [], E
    for n_in in [model.embedding_dim] + [width] * (model.num_layers - 1):
        products += 4 * [Product(M, n_in, width)]                            # Q, K, V, Res
        products += [Product(M, d, M, "own", H), Product(M, M, d, "own", H)]  # scores, weighted sum
        numbers += 4 * M * width + 2 * M * width + H * M * M                 # projections, e and out, attention
    return [*products, Product(1, M * width, 1)], numbers


def of_an_ffm(model, M, E):
    """e_i for each other field, the pairs; their inner products, of short vectors, are no work for a matrix product."""
    return [], M * E + M * (M - 1) // 2


def of_an_fwfm(model, M, E):
    """Inner products of every two fields, and the pairs' sum by r; e_i, the pairs."""
    P = M * (M - 1) // 2
    return [Product(M, model.embedding_dim, M, "own", with_itself=True), Product(1, P, 1)], E + P


def of_an_hofm(model, M, E):
    """e_i, e_i^2; u_i, u_i^2, u_i^3."""
    return [], 5 * E


def of_an_nfm(model, M, E):
    """The MLP's, on one vector; e_i, e_i^2 beside it."""
    products, numbers = of_an_mlp(model.embedding_dim, model.deep_layers)
    return products, 2 * E + numbers


def of_an_fnn(model, M, E):
    """The MLP's; e_i, and what goes into it."""
    n_in = 1 + M + E
    products, numbers = of_an_mlp(n_in, model.deep_layers)
    return products, E + n_in + numbers


def of_a_pnn(model, M, E):
    """The MLP's, and those of every two fields; e_i, and what goes into the MLP. Outer products are broadcast."""
    k, n_in, products = model.embedding_dim, E, []
    if model.product in ("inner", "both"):
        n_in, products = n_in + M * (M - 1) // 2, [*products, Product(M, k, M, "own", with_itself=True)]
    if model.product in ("outer", "both"):
        n_in += k * k
    of_mlp, numbers = of_an_mlp(n_in, model.deep_layers)
    return products + of_mlp, E + n_in + numbers


def of_a_wide_deep(model, M, E):
    """The MLP's; e_i beside it. (Of a step, all weights of the crosses are counted as touched.)"""
    products, numbers = of_an_mlp(E, model.deep_layers)
    return products, E + numbers


def of_a_deep_crossing(model, M, E):
    """Two products for each residual unit, and that which reads out; e_i, what is in the units and behind them."""
    products = [product for units in model.deep_layers for product in (Product(1, E, units), Product(1, units, E))]
    return [*products, Product(1, E, 1)], E + sum(units + E for units in model.deep_layers)


def of_a_dcn(model, M, E):
    """The MLP's, w_l . x_l of each cross layer, and what reads x_L out; e_i, x_l beside it."""
    products, numbers = of_an_mlp(E, model.deep_layers)
    return products + (model.num_layers + 1) * [Product(1, E, 1)], E * (1 + model.num_layers) + numbers


def of_an_xdeepfm(model, M, E):
    """The MLP's, W^l with all products of each layer of the CIN, and what reads that out; e_i and X^l beside it."""
    k, (products, numbers) = model.embedding_dim, of_an_mlp(E, model.deep_layers)
    for before, H in itertools.pairwise([M, *model.cin_layers]):
        products, numbers = [*products, Product(k, before * M, H)], numbers + H * k
    return [*products, Product(1, sum(model.cin_layers), 1)], E + numbers


OF_A_ROW = {FM: of_an_fm, AFM: of_an_afm, DeepFM: of_a_deepfm, AutoInt: of_an_autoint}
if hasattr(minictr, "XDeepFM"):                                   # an earlier minictr, "before", lacks the ten
    OF_A_ROW |= {minictr.FFM: of_an_ffm, minictr.FwFM: of_an_fwfm, minictr.HOFM: of_an_hofm, minictr.NFM: of_an_nfm,
                 minictr.FNN: of_an_fnn, minictr.PNN: of_a_pnn, minictr.WideDeep: of_a_wide_deep,
                 minictr.DeepCrossing: of_a_deep_crossing, minictr.DCN: of_a_dcn, minictr.XDeepFM: of_an_xdeepfm}


def of_a_row(model, M):
    """(products, numbers in the main arrays) of the forward pass of one row of M fields.

    Raises: Unavailable for a class that is not in OF_A_ROW.
    """
    return of_class(OF_A_ROW, model, "count of the work")(model, M, M * model.embedding_dim)


def of_a_step(model, slots, of_an_id, others):
    """(products of a row, bytes of all) of one training step on a batch of Slots.

    Parameters
    ----------
    of_an_id : numbers that the model's tables hold for an id.   others : numbers of parameters that are in no table.
    """
    B, M = slots.ids.shape
    touched = len(np.unique(slots.ids))
    products = [one for product in of_a_row(model, M)[0] for one in (product, *product.backward())]
    return products, BYTES * (B * M * (1 + 2 * of_an_id) + 3 * 2 * (touched * of_an_id + others))


def of_scoring(model, M, N, of_an_id):
    """(products of a row, bytes of all) of the scores of N rows."""
    return of_a_row(model, M)[0], BYTES * N * M * (1 + of_an_id)


def rows_within(model, M, gigaflop, at_most):
    """Rows whose forward pass takes about that many 10^9 operations (10 for each number of an array included)."""
    products, numbers = of_a_row(model, M)
    return int(min(at_most, gigaflop * 1e9 / (sum(product.operations for product in products) + 10 * numbers)))
