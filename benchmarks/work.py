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

from minictr import AFM, FM, AutoInt, DeepFM

BYTES = 4


def of_a_row(model, M):
    """(operations, numbers in the main arrays) of the forward pass of one row of M fields."""
    k = model.embedding_dim
    E = M * k                                                     # the vectors
    if isinstance(model, FM):
        return 0, 2 * E                                           # e_i, e_i^2
    if isinstance(model, AFM):
        P, t = M * (M - 1) // 2, model.attention_dim
        return 2 * P * t * (k + 1) + 2 * P * k, E + P * (k + t)   # pairs W, r h, sum of a pairs; the pairs, r
    if isinstance(model, DeepFM):
        sizes = [E, *model.deep_layers, 1]
        return sum(2 * a * b for a, b in itertools.pairwise(sizes)), 2 * E + sum(sizes[1:])
    if isinstance(model, AutoInt):
        width, operations, numbers = model.num_heads * model.attention_dim, 0, E
        for n_in in [k] + [width] * (model.num_layers - 1):
            operations += 2 * M * n_in * 4 * width + 2 * 2 * M * M * width       # Q, K, V, Res; scores, weighted sum
            numbers += 4 * M * width + 2 * M * width + model.num_heads * M * M   # projections, e and out, attention
        return operations + 2 * M * width, numbers
    raise TypeError(f"no model of the work of a {type(model).__name__}")


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
