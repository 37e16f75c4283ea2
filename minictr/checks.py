"""Checks of what a user passes to ``fit``: each error says what is wrong, where, and what to do."""

import numpy as np
import pandas as pd


def as_table(X):
    """X as a DataFrame, from a DataFrame or a dict of columns."""
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, dict):
        return pd.DataFrame(X)
    raise TypeError(f"X must be a DataFrame or a dict of columns, one column a field; got {type(X).__name__}. "
                    "For an array: pandas.DataFrame(X, columns=[...])")


def check_rows(X, y, sample_weight=None):
    """X as a table, y and the weights as float arrays of its length; the weights scaled to mean 1, or None."""
    X = as_table(X)
    y = numbers(y, "y")
    if len(y) != len(X):
        raise ValueError(f"X has {len(X)} rows and y has {len(y)}: each row needs one target")
    if len(y) == 0:
        raise ValueError("X and y are empty: there is nothing to learn from")
    return X, y, check_weights(sample_weight, len(y))


def check_weights(sample_weight, n_rows):
    """Weights scaled to mean 1, (n_rows,), or None."""
    if sample_weight is None:
        return None
    c = numbers(sample_weight, "sample_weight")
    if len(c) != n_rows:
        raise ValueError(f"there are {n_rows} rows and {len(c)} sample weights: each row needs one")
    if (c < 0).any() or not c.any():
        raise ValueError("sample weights must be at least 0, and not all 0")
    return c / c.mean()


def numbers(values, what):
    """A one-dimensional float64 array without missing or infinite values."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must hold numbers: {error}") from None
    if array.ndim != 1:
        raise ValueError(f"{what} must have one value a row, got an array of shape {array.shape}")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{what} holds {array[row]} in row {row}; remove or fill such rows")
    return array


def split_rows(n_rows, share, seed):
    """Two sorted index arrays: the rows to train on, and a random share of all rows that is held out."""
    if not 0 < share < 1 or not 0 < round(n_rows * share) < n_rows:
        raise ValueError(f"validation={share} of {n_rows} rows leaves nothing to train or to validate on; "
                         "give a share between 0 and 1, or a pair (X, y)")
    order = np.random.default_rng(seed).permutation(n_rows)
    n_held_out = round(n_rows * share)
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


def is_share(validation):
    """Whether ``validation`` is a number, i.e. a share of the rows, rather than data of its own."""
    return isinstance(validation, (float, int, np.number)) and not isinstance(validation, bool)


def check_settings(model):
    """Raise ValueError for a constructor argument that cannot be meant."""
    whole_numbers = ("epochs", "batch_size", "patience", "embedding_dim", "attention_dim", "num_heads", "num_layers")
    for name in whole_numbers:
        value = getattr(model, name, 1)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    for width in getattr(model, "deep_layers", None) or ():
        if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1:
            raise ValueError(f"deep_layers must be whole numbers of at least 1, got {model.deep_layers!r}")
    if not model.learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0, got {model.learning_rate!r}")
    if not model.reg >= 0:
        raise ValueError(f"reg must be at least 0, got {model.reg!r}")
    if model.dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {model.dtype!r}")
