"""Class labels: two texts, True and False, or two whole numbers stand for 0 and 1, which the loss takes."""

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from ..checks import numbers

CLICKS = np.array([0, 1])


def learn_classes(y, task):
    """The two classes that these targets are labels of, sorted; None where they are plain numbers, 0 and 1 included.

    Parameters
    ----------
    y : targets, one a row.   task : the setting "auto", "binary" or "regression". Text is labels, and so are True and
        False; whole numbers are labels only if a binary task is asked for.

    Raises: ValueError where labels are missing, or are not of two classes.

    >>> learn_classes(["no", "yes", "no"], "auto"), learn_classes([-1, 1], "binary"), learn_classes([1, 2], "auto")
    (array(['no', 'yes'], dtype=object), array([-1,  1]), None)
    """
    if task == "regression":
        return None
    # of a list with one text in it NumPy would make text alone
    values = np.asarray(y) if hasattr(y, "dtype") else np.asarray(y, dtype=object)
    if values.ndim != 1 or not len(values):
        return None                                               # what is wrong with it is said where it is read
    kind = infer_dtype(values, skipna=True)
    if kind == "string":
        check_present(values)
        return two_of(np.array([str(label) for label in np.unique(values.astype(object))], dtype=object))
    if kind == "boolean":
        check_present(values)
        return np.array([False, True])
    if task == "auto":
        return None
    values = numbers(y, "y")
    found = np.unique(values)
    if np.isin(found, CLICKS).all():
        return None
    row = int(np.argmin(np.isin(values, CLICKS)))
    where = f"a binary task needs y of 0 and 1, or of two other labels, and row {row} holds {values[row]:g}"
    if (found != np.floor(found)).any():
        raise ValueError(f"{where}. Unknown label type: continuous. Numbers are predicted with task=\"regression\"")
    return two_of(found.astype(np.int64) if kind == "integer" else found, f": {where}")


def two_of(found, what=""):
    """These classes, if there are two; ``what`` goes on with the error where there are more."""
    if len(found) == 1:
        [only] = found.tolist()
        raise ValueError(f"y holds only the class {only!r}: one class alone teaches nothing, there must be two")
    if len(found) > 2:
        some = ", ".join(map(str, found[:3].tolist()))
        raise ValueError(f"y holds {len(found)} different labels ({some}, ...){what}. Only binary classification is "
                         "supported. The type of the target is multiclass")
    return found


def check_present(values):
    """Raise ValueError where a label is missing."""
    missing = pd.isna(values)
    if missing.any():
        raise ValueError(f"y is missing in row {int(np.argmax(missing))}; remove or fill such rows")


def codes(y, classes):
    """0 where y is the first class, 1 where it is the second, as float64; ValueError where it is neither.

    >>> codes(["no", "yes", "no"], np.array(["no", "yes"], dtype=object))
    array([0., 1., 0.])
    """
    if classes.dtype == object:
        values = np.asarray(y, dtype=object)
        if values.ndim != 1:
            raise ValueError(f"y must have one value a row, got an array of shape {values.shape}")
    else:
        values, classes = numbers(y, "y"), classes.astype(np.float64)
    second = values == classes[1]
    odd = ~(second | (values == classes[0]))
    if odd.any():
        row, (no, yes) = int(np.argmax(odd)), classes.tolist()
        if (no, yes) == (0, 1):
            raise ValueError(f"a binary task needs y of 0 and 1, but row {row} holds {values[row]:g}; map the labels, "
                             "or pass task=\"regression\"")
        raise ValueError(f"y holds {values[row]!r} in row {row}, and the model was fitted on the classes {no!r} and "
                         f"{yes!r}")
    return second.astype(np.float64)


def classes_from_json(classes):
    """The two labels of a binary task from a file, where they stand as a list; ValueError for anything else."""
    if not isinstance(classes, list) or len(classes) != 2 or type(classes[0]) is not type(classes[1]) or (
            not isinstance(classes[0], (str, int, float)) or not classes[0] < classes[1]):
        raise ValueError(f"the classes are {classes!s:.60}, expected two labels in order")
    if isinstance(classes[0], str):
        return np.array(classes, dtype=object)
    if max(map(abs, classes)) >= 2 ** 63:
        raise ValueError(f"the classes {classes!s:.60} are beyond 64 bits")
    return np.array(classes)
