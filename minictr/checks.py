"""Checks of what a user passes: each error says what is wrong, where, and what to do."""

import sys
import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd


def all_finite(array):
    """Whether no number of an array is nan or infinite, without an array of the answers: tables may be large.

    >>> all_finite(np.array([1.0, 2.0])), all_finite(np.array([1.0, np.nan])), all_finite(np.array([-np.inf, 0.0]))
    (True, False, False)
    """
    with np.errstate(invalid="ignore"):
        return not array.size or bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def as_table(X):
    """X as a DataFrame, from a DataFrame, a dict of columns, or a 2-D array, whose columns are called x0, x1, ..."""
    if isinstance(X, pd.DataFrame):
        check_levels(X)
        return X if has_names(X) else X.set_axis(numbered_names(X.shape[1]), axis=1)
    if is_sparse(X):                                              # of which one kind is a dict
        raise TypeError("X is a sparse matrix, and sparse input is not supported: pass a table of the categories "
                        "themselves (one column a field, not one a value), or X.toarray()")
    if isinstance(X, dict):
        columns, index = {}, None
        for name, values in X.items():
            if pd.api.types.is_scalar(values):
                raise TypeError(f"column {name!r} is the single value {values!r}, and a list of values was expected, "
                                "one a row. A dict that is one row goes in as a table of one: pandas.DataFrame([row])")
            columns[name] = as_column(name, values)
            if isinstance(values, pd.Series):
                if index is not None and not index.equals(values.index):    # pandas would put the rows in another order
                    raise ValueError(f"column {name!r} has another index than a column before it, so that it is not "
                                     "clear which values make a row; give columns of one index, for example with "
                                     ".reset_index(drop=True)")
                index = values.index
        check_equal_lengths(columns)
        if index is not None:
            columns = {name: column.set_axis(index) for name, column in columns.items()}
        return pd.DataFrame(columns)
    rows = isinstance(X, list) and len(X) and all(isinstance(row, list) and len(row) == len(X[0]) for row in X)
    if not rows and (not hasattr(X, "__array__") or hasattr(X, "columns")):
        raise TypeError("X must be a DataFrame or a dict of columns, one column a field, or a two-dimensional array; "
                        f"got {type(X).__name__}")
    return array_as_table(X if rows or isinstance(X, np.ndarray) else np.asarray(X))


def check_levels(table):
    """Raise TypeError where the columns of a DataFrame have names of several levels."""
    if table.columns.nlevels > 1:
        raise TypeError(f"the columns of the table have names of {table.columns.nlevels} levels, and a column needs "
                        "one name: table.columns = [\"_\".join(map(str, names)) for names in table.columns]")


def is_sparse(X):
    """Whether X is a sparse matrix of SciPy, which is neither a table nor a table in pieces."""
    return hasattr(X, "toarray")


def as_column(name, values):
    """One column of a table as a Series, from a list, array, Series or pandas array."""
    if isinstance(values, pd.DataFrame):
        raise ValueError(f"column {name!r} is in the table {values.shape[1]} times; give every "
                         f"column a name of its own")
    if not pd.api.types.is_list_like(values) or isinstance(values, (dict, set, frozenset, Iterator)):
        raise TypeError(f"column {name!r} must be a list, array or Series with one value a row, "
                        f"got {type(values).__name__}")
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"column {name!r} has shape {values.shape}; a column has one dimension")
    try:
        return pd.Series(values)
    except UnicodeEncodeError:      # pandas' own dtype of text takes no half characters (surrogates); its objects do
        return pd.Series(values, dtype=object)


def check_equal_lengths(columns):
    """Raise ValueError unless these columns, by name, have equally many rows."""
    first = next(iter(columns), None)
    for name, column in columns.items():
        if len(column) != len(columns[first]):
            raise ValueError(f"the columns of a table must be equally long: {first!r} has "
                             f"{len(columns[first])} rows, {name!r} has {len(column)}")


def array_as_table(X):
    """A 2-D array, or a list of equally long rows, as a DataFrame whose columns are called x0, x1, ..."""
    if isinstance(X, np.ndarray) and X.ndim != 2:
        raise ValueError(f"Expected 2D array, one row an example and one column a field; got {X.ndim}D array instead, "
                         f"of shape {X.shape}. Reshape your data: X.reshape(-1, 1) if it is one column, "
                         "X.reshape(1, -1) if it is one row")
    shape = X.shape if isinstance(X, np.ndarray) else (len(X), len(X[0]))
    if not shape[1]:
        raise ValueError(f"X has 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    if isinstance(X, np.ndarray) and X.dtype.kind == "c":
        raise ValueError("Complex data not supported: give the real and the imaginary part a column each")
    return pd.DataFrame(X, columns=numbered_names(shape[1]))


def has_names(X):
    """Whether the columns of a DataFrame are more than numbered."""
    return not isinstance(X.columns, pd.RangeIndex) or not len(X.columns)


def numbered_names(n):
    """The names of n columns that have none: x0, x1, ..."""
    return [f"x{number}" for number in range(n)]


def check_rows(X, y, sample_weight=None, targets=None):
    """X as a table, y and the weights as float arrays of its length; the weights scaled to mean 1, or None.

    ``targets``: what makes numbers of y, such as a task's; None if it must hold numbers.
    """
    X = as_table(X)
    y = targets(y) if targets else numbers(y, "y")
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
        raise ValueError("sample weights must be at least 0, and not all 0: rows of weight zero teach nothing")
    with np.errstate(over="ignore", under="ignore"):
        mean = c.mean()
    if not np.finfo(float).tiny <= mean < np.inf:   # they add up to too much, or too little, for float64
        c = c / c.max()
        mean = c.mean()
    c = c / mean
    c[c < np.finfo(np.float32).tiny] = 0            # what float32 would make of it, for all that is worked out before
    return c


def numbers(values, what):
    """A one-dimensional float64 array without missing or infinite values."""
    try:
        for dtype in (np.asarray(values).dtype, getattr(values, "dtype", np.dtype(float))):
            if dtype.kind in "mMc":     # NumPy would make nanoseconds since 1970 of dates, and drop an imaginary part
                raise TypeError(f"got {dtype}; make one number of each, for example a count of days")
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{what} must hold numbers: {error}") from None
    if array.ndim != 1:
        raise ValueError(f"{what} must have one value a row, got an array of shape {array.shape}")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{what} holds {array[row]} in row {row}; remove or fill such rows")
    return array


def split_rows(n_rows, share, seed):
    """Two sorted index arrays: the rows to train on, and a random share of all rows that is held out."""
    check_share(n_rows, share)
    order = np.random.default_rng(seed).permutation(n_rows)
    n_held_out = round(n_rows * share)
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


def check_share(n_rows, share):
    """Raise ValueError where a share of the rows leaves nothing to train or to validate on."""
    if not 0 < share < 1 or not 0 < round(n_rows * share) < n_rows:
        raise ValueError(f"validation={share} of {n_rows} rows leaves nothing to train or to validate on; "
                         "give a share between 0 and 1, or a pair (X, y)")


def is_share(validation):
    """Whether ``validation`` is a number, i.e. a share of the rows, rather than data of its own."""
    return isinstance(validation, (float, int, np.number)) and not isinstance(validation, bool)


def warn(message):
    """Warn, pointing at the line outside minictr that led here."""
    level = 1
    while sys._getframe(level).f_globals.get("__name__", "").split(".")[0] == __package__:
        level += 1
    warnings.warn(message, stacklevel=level + 1)


def check_validation(validation, names):
    """``validation`` as a tuple of its parts, e.g. ("X", "y"), where it is not a share."""
    if not isinstance(validation, (tuple, list)) or len(validation) != len(names):
        raise TypeError(f"validation must be a share such as 0.1 or ({', '.join(names)}), got "
                        f"{type(validation).__name__}")
    return tuple(validation)


def check_settings(model):
    """Raise ValueError for a constructor argument that cannot be meant: each class says in ``checks`` what is good.

    ``checks`` is {name of a setting: (function that says whether a value is good, what is expected, in words)}.
    """
    for cls in type(model).__mro__:
        for name, (good, expected) in vars(cls).get("checks", {}).items():
            if not good(getattr(model, name)):
                raise ValueError(f"{name} must be {expected}, got {getattr(model, name)!r}")


def is_whole(value, least=1, or_none=False):
    """Whether this is a whole number of at least ``least``; True and False are not numbers here."""
    if value is None:
        return or_none
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least


def is_real(value, least=0, above=-np.inf, below=np.inf):
    """Whether this is a finite number of at least ``least``, above ``above`` and below ``below``."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        return False
    return bool(np.isfinite(value)) and value >= least and above < value < below


def are_layers(value):
    """Whether this is a list of layers' sizes."""
    return isinstance(value, (list, tuple)) and all(map(is_whole, value))


def are_names(value):
    """Whether this is a tuple, list, set or array of names."""
    return isinstance(value, (tuple, list, set, frozenset, np.ndarray)) and all(isinstance(name, str) for name in value)


def in_order(value):
    """Whether this is a list, tuple, array or Index: not a set, whose order differs from process to process."""
    return isinstance(value, (list, tuple, np.ndarray, pd.Index))


def is_list_or_none(value):
    """Whether this is a list, or what can stand for one, or None."""
    return value is None or in_order(value)


def is_text_or_none(value):
    """Whether this is text, or None."""
    return value is None or isinstance(value, str)


def are_factors(value):
    """Whether this is a dict from names to numbers of at least 0, or None."""
    return value is None or (isinstance(value, dict) and all(map(is_real, value.values())))


# What a class of models can put into its ``checks``: whether a value is good, and what is expected.
COUNT = is_whole, "a whole number of at least 1"
COUNT_OR_NONE = partial(is_whole, or_none=True), "None or a whole number of at least 1"
SHARE_DROPPED = partial(is_real, below=1), "a number of at least 0 and below 1 (the share dropped)"
WIDTHS = are_layers, "a list of whole numbers of at least 1"

COMMON = {              # of the settings that all models have
    "name": (is_text_or_none, "None or text"),
    "fields": (is_list_or_none, "None or a list of column names and fields"),
    "epochs": COUNT, "batch_size": COUNT, "patience": COUNT, "n_threads": COUNT_OR_NONE,
    "shuffle_window": COUNT_OR_NONE,
    "seed": (partial(is_whole, least=0, or_none=True), "None or a whole number of at least 0"),
    "learning_rate": (partial(is_real, above=0), "a number above 0"),
    "reg": (is_real, "a number of at least 0"),
    "freeze": (are_names, "a tuple of names, such as (\"embedding\",)"),
    "lr_multipliers": (are_factors, "None or a dict from names to numbers"),
    "dtype": (("float32", "float64").__contains__, "'float32' or 'float64'"),
    "optimizer": (("adam", "adagrad", "sgd", "ftrl").__contains__, "'adam', 'adagrad', 'sgd' or 'ftrl'"),
    "task": (("auto", "binary", "regression").__contains__, "'auto', 'binary' or 'regression'"),
}
