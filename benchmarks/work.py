"""How much work a model is: floating point operations of its matrix products, and bytes of its arrays, a row.

A simple model, meant to say what bounds a figure, not to predict it. Operations: 2 for each multiply-add of a matrix
product, forward; training takes 3 times that (the products for the two gradients are as large). Bytes: each main
array of the forward pass is written once and read once; training reads it again, and writes and reads its gradient
and one temporary, so 3 times that; besides, training reads and writes the touched rows of the tables and both of
their moments. Exponentials and additions are not counted.

Arrays that stay in a processor's cache move faster than copies in memory, so a share of the copy rate above 1 is
possible: it says that the chunks fit the cache.
"""

import itertools

import numpy as np

import minictr
from minictr import AFM, FM, AutoInt, DeepFM

from .peers import of_class

BYTES = 4


def of_an_fm(model, M, E):
    """e_i, e_i^2."""
    return 0, 2 * E


def of_an_afm(model, M, E):
    """Pairs W, r h, sum of a pairs; the pairs, r."""
    k, t, P = model.embedding_dim, model.attention_dim, M * (M - 1) // 2
    return 2 * P * t * (k + 1) + 2 * P * k, E + P * (k + t)


def of_an_mlp(n_in, layers):
    """Its products, and that which reads out; its layers."""
    sizes = [n_in, *layers, 1]
    return sum(2 * a * b for a, b in itertools.pairwise(sizes)), sum(sizes[1:])


def of_a_deepfm(model, M, E):
    """The MLP's; e_i, e_i^2 beside it."""
    operations, numbers = of_an_mlp(E, model.deep_layers)
    return operations, 2 * E + numbers


def of_an_autoint(model, M, E):
    """Each layer's products and arrays; the product that reads out."""
    width, operations, numbers = model.num_heads * model.attention_dim, 0, E
    for n_in in [model.embedding_dim] + [width] * (model.num_layers - 1):
        operations += 2 * M * n_in * 4 * width + 2 * 2 * M * M * width       # Q, K, V, Res; scores, weighted sum
        numbers += 4 * M * width + 2 * M * width + model.num_heads * M * M   # projections, e and out, attention
    return operations + 2 * M * width, numbers


def of_an_ffm(model, M, E):
    """Inner products of pairs; e_i for each other field, the pairs."""
    P = M * (M - 1) // 2
    return 2 * P * model.embedding_dim, M * E + P


def of_an_fwfm(model, M, E):
    """Inner products of pairs, and their sum by r; e_i, the pairs."""
    P = M * (M - 1) // 2
    return 2 * P * (model.embedding_dim + 1), E + P


def of_an_hofm(model, M, E):
    """e_i, e_i^2; u_i, u_i^2, u_i^3."""
    return 0, 5 * E


def of_an_nfm(model, M, E):
    """The MLP's, on one vector; e_i, e_i^2 beside it."""
    operations, numbers = of_an_mlp(model.embedding_dim, model.deep_layers)
    return operations, 2 * E + numbers


def of_an_fnn(model, M, E):
    """The MLP's; e_i, and what goes into it."""
    n_in = 1 + M + E
    operations, numbers = of_an_mlp(n_in, model.deep_layers)
    return operations, E + n_in + numbers


def of_a_pnn(model, M, E):
    """The MLP's, and the products of pairs or of the sum with itself; e_i, and what goes into the MLP."""
    k, P, n_in, operations = model.embedding_dim, M * (M - 1) // 2, E, 0
    if model.product in ("inner", "both"):
        n_in, operations = n_in + P, operations + 2 * P * k
    if model.product in ("outer", "both"):
        n_in, operations = n_in + k * k, operations + 2 * k * k
    of_mlp, numbers = of_an_mlp(n_in, model.deep_layers)
    return operations + of_mlp, E + n_in + numbers


def of_a_wide_deep(model, M, E):
    """The MLP's; e_i beside it."""
    operations, numbers = of_an_mlp(E, model.deep_layers)
    return operations, E + numbers


def of_a_deep_crossing(model, M, E):
    """Two products for each residual unit, and that which reads out; e_i, what is in the units and behind them."""
    return (2 * E + sum(2 * 2 * E * units for units in model.deep_layers),
            E + sum(units + E for units in model.deep_layers))


def of_a_dcn(model, M, E):
    """The MLP's, w_l . x_l of each cross layer, and what reads x_L out; e_i, x_l beside it."""
    operations, numbers = of_an_mlp(E, model.deep_layers)
    return operations + 2 * E * (model.num_layers + 1), E * (1 + model.num_layers) + numbers


def of_an_xdeepfm(model, M, E):
    """The MLP's, and W X^{l-1} of each field and layer of the CIN; e_i and X^l beside it."""
    k, (operations, numbers) = model.embedding_dim, of_an_mlp(E, model.deep_layers)
    for before, H in itertools.pairwise([M, *model.cin_layers]):
        operations, numbers = operations + 2 * M * k * H * before, numbers + H * k
    return operations, E + numbers


OF_A_ROW = {FM: of_an_fm, AFM: of_an_afm, DeepFM: of_a_deepfm, AutoInt: of_an_autoint}
if hasattr(minictr, "XDeepFM"):                                   # an earlier minictr, "before", lacks the ten
    OF_A_ROW |= {minictr.FFM: of_an_ffm, minictr.FwFM: of_an_fwfm, minictr.HOFM: of_an_hofm, minictr.NFM: of_an_nfm,
                 minictr.FNN: of_an_fnn, minictr.PNN: of_a_pnn, minictr.WideDeep: of_a_wide_deep,
                 minictr.DeepCrossing: of_a_deep_crossing, minictr.DCN: of_a_dcn, minictr.XDeepFM: of_an_xdeepfm}


def of_a_row(model, M):
    """(operations, numbers in the main arrays) of the forward pass of one row of M fields.

    Raises: Unavailable for a class that is not in OF_A_ROW.
    """
    return of_class(OF_A_ROW, model, "count of the work")(model, M, M * model.embedding_dim)


def of_a_step(model, slots):
    """(operations, bytes) of one training step on a batch of Slots."""
    B, M = slots.ids.shape
    operations, numbers = of_a_row(model, M)
    touched = len(np.unique(slots.ids))
    return 3 * operations * B, BYTES * (3 * 2 * numbers * B + 3 * 2 * touched * (model.embedding_dim + 1))


def of_scoring(model, M, N):
    """(operations, bytes) of the scores of N rows."""
    operations, numbers = of_a_row(model, M)
    return operations * N, BYTES * 2 * numbers * N


def rows_within(model, M, gigaflop, at_most):
    """Rows whose forward pass takes about that many 10^9 operations (10 for each number of an array included)."""
    operations, numbers = of_a_row(model, M)
    return int(min(at_most, gigaflop * 1e9 / (operations + 10 * numbers)))
