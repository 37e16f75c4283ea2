"""A small table that several test files train on, of all kinds of fields, and tables cut into pieces."""

import itertools

import numpy as np
import pandas as pd

from minictr import MultiValued, Numerical
from minictr.layers import sigmoid

FIELDS = ["user", "hour", Numerical("price", transform="standard"), MultiValued("genres")]


def mixed_table(n_rows, seed=0, price_effect=0.3):
    """(X, y): clicks that depend on the price, and on whether ann is there at hour 1 or neither."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "user": rng.choice(["ann", "bob", "cem", "dan"], n_rows),
        "hour": rng.integers(0, 3, n_rows),
        "price": rng.normal(10, 2, n_rows),
        "genres": rng.choice(["a", "b", "a|b", "c|a", "a|b|c"], n_rows),
    })
    logit = -0.6 + 1.5 * ((X["user"] == "ann") == (X["hour"] == 1)) + price_effect * (X["price"] - 10)
    return X, (rng.random(n_rows) < sigmoid(logit.to_numpy())).astype(int)


def pieces_of(table, sizes):
    """The table cut into pieces of these sizes, the last being what is left."""
    bounds = [0, *np.minimum(np.cumsum(sizes), len(table)).tolist(), len(table)]
    return [table.iloc[start:stop] for start, stop in itertools.pairwise(bounds)]
