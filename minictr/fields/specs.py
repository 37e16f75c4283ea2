"""What a user writes: the kind of each field, with its options; and which kind a column is if nobody says."""

import inspect
import numbers

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from ..checks import as_column, warn
from .binned import BinnedEncoder
from .categorical import CategoricalEncoder
from .columns import KINDS, plain, value_kind
from .multi_valued import MultiValuedEncoder
from .numerical import NumericalEncoder

TRANSFORMS = (None, "standard", "minmax", "log_squared", "log2")


class Field:
    """What all fields share: they only store arguments, and print and compare like their call."""

    def params(self):
        """The constructor's arguments as plain Python values."""
        return {name: plain(value) for name, value in vars(self).items()}

    def __repr__(self):
        signature = inspect.signature(type(self)).parameters
        options = [f"{name}={value!r}" for name, value in self.params().items()
                   if name != "name" and value != signature[name].default]
        return f"{type(self).__name__}({', '.join([repr(self.name), *options])})"

    def __eq__(self, other):
        return type(self) is type(other) and self.params() == other.params()

    def check(self):
        """Raise TypeError or ValueError if an argument makes no sense."""
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a field must be a str, got {self.name!r}")


def check_whole(field, name, least):
    """Raise a ValueError unless that argument of the field is a whole number >= least."""
    value = getattr(field, name)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{field}: {name} must be a whole number >= {least}")


class Categorical(Field):
    """A column of categories: text, whole numbers, True/False or a pandas category.

    Values that training never held, or held too rarely, share the id "unknown". Missing values
    (None, NaN, NaT, pd.NA) have an id too, because that a value is missing often says something.
    Types stay apart: 1, "1" and True are three values (but 1 and 1.0 are one, see `TableEncoder`).
    Whole numbers have 64 bits, with a sign or without.

    Parameters
    ----------
    name : the column.
    min_count : values that occur less often than this in training are unknown. (Of values below
        min_count at most 1,000,000 are counted at a time; a column with more of them is counted
        approximately, and fit says so: see `minictr.fields.categorical.CategoricalLearner`.)
    buckets : hash the values into so many ids instead of keeping a vocabulary. The hash is the same
        in every process and for every dtype of the column. Values in one bucket share a vector.

    Examples
    --------
    >>> Categorical("user", min_count=5)
    Categorical('user', min_count=5)
    """

    encoder_class = CategoricalEncoder

    def __init__(self, name, min_count=1, buckets=None):
        self.name = name
        self.min_count = min_count
        self.buckets = buckets

    def check(self):
        """Raise TypeError or ValueError if an argument makes no sense."""
        super().check()
        check_whole(self, "min_count", 1)
        if self.buckets is not None:
            check_whole(self, "buckets", 1)
            if self.min_count != 1:
                raise ValueError(f"{self}: hashing keeps no vocabulary that rare values could be "
                                 f"left out of; give min_count or buckets")


class MultiValued(Categorical):
    """A column whose cells hold several categories: text like "Action|Comedy", lists, tuples, sets.

    A cell of q values is q slots of weight 1/q: the mean of its vectors (AutoInt, arXiv 1810.11921,
    eq. 3). A value that stands in a cell twice counts twice there; an unknown one counts like the
    others, with id 0. Cells that are missing or empty are "missing"; empty parts ("a||b") and
    missing items of a list are left out. Rows take as many slots as the fullest cell: a table that
    would be gigabytes of padding for a few full cells is refused.

    Parameters
    ----------
    name : the column.
    sep : what separates the values of a text. Spaces stay, so write ", " where a space follows.
    min_count, buckets : as in `Categorical`; min_count counts every occurrence of a value.

    Examples
    --------
    >>> MultiValued("genres", sep=";")
    MultiValued('genres', sep=';')
    """

    encoder_class = MultiValuedEncoder

    def __init__(self, name, sep="|", min_count=1, buckets=None):
        super().__init__(name, min_count, buckets)
        self.sep = sep

    def check(self):
        """Raise TypeError or ValueError if an argument makes no sense."""
        super().check()
        if not isinstance(self.sep, str) or not self.sep:
            raise ValueError(f"{self}: sep must be text of at least one character")


class Numerical(Field):
    """A column of numbers z: one vector v for the field and e = v x, or categories by bins.

    A missing number has a vector of its own if training held a missing number. Otherwise its x is
    0, so that the field adds nothing. Numbers beyond 1e18, after a logarithm if there is one, are
    refused: models multiply them, and what is that large mostly stands for "missing". Bins take any.

    Parameters
    ----------
    name : the column: ints, floats, True/False, or text that pandas can read as numbers.
    transform : how z becomes x.
        None: x = z.
        "standard": (z - mean) / (standard deviation), both of the training column.
        "minmax": (z - min) / (max - min) of the training column; other tables may leave [0, 1].
        "log_squared" or "log2": ln(z)^2 if z > 2, else z, from AutoInt; its code also cuts off the
        decimals, here they stay. Note that x falls from 2 to 0.48 just above z = 2.
    bins : cut the numbers into bins, which are then categories. A whole number b: at most b bins
        that hold about equally many training rows (of a random 500,000, if there are more). A list of
        k increasing edges: k + 1 bins, the first below all edges, the last from the highest edge on.
        An edge belongs to the bin above.

    Examples
    --------
    >>> Numerical("age", bins=[18, 30, 65])
    Numerical('age', bins=[18, 30, 65])
    """

    def __init__(self, name, transform=None, bins=None):
        self.name = name
        self.transform = transform
        self.bins = bins

    def check(self):
        """Raise TypeError or ValueError if an argument makes no sense."""
        super().check()
        if self.transform not in TRANSFORMS:
            raise ValueError(f"{self}: transform must be one of {', '.join(map(repr, TRANSFORMS))}")
        if self.transform is not None and self.bins is not None:
            raise ValueError(f"{self}: a transform does not change bins; give one of the two")
        edges = plain(self.bins)
        if isinstance(edges, list):
            real = edges and all(isinstance(edge, numbers.Real) for edge in edges)
            if not real or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
                raise ValueError(f"{self}: the edges of bins must be increasing, finite numbers")
        elif edges is not None:
            check_whole(self, "bins", 2)

    @property
    def encoder_class(self):
        """The class that learns this field."""
        return NumericalEncoder if self.bins is None else BinnedEncoder


FIELD_CLASSES = {cls.__name__: cls for cls in (Categorical, MultiValued, Numerical)}


def infer_field(name, column):
    """Choose the kind of field by what the column holds.

    Text, whole numbers, True/False and pandas categories become `Categorical`, floats
    `Numerical(transform="standard")`, lists, tuples and sets `MultiValued`.

    Raises
    ------
    TypeError
        For dates, complex numbers, mixed types and whatever else no field holds.

    Examples
    --------
    >>> infer_field("hour", [7, 8, 23]), infer_field("price", [0.5, None])
    (Categorical('hour'), Numerical('price', transform='standard'))
    >>> infer_field("genres", [["Action", "Comedy"], []])
    MultiValued('genres')
    """
    if not isinstance(column, pd.Series):
        column = as_column(name, column)
    if column.dtype == object:
        present = column.notna().to_numpy()
        first = column.iloc[int(np.argmax(present))] if present.any() else None
        if isinstance(first, (list, tuple, set, frozenset)) or (isinstance(first, np.ndarray) and first.ndim):
            return MultiValued(name)
    kind = KINDS.get(infer_dtype(column, skipna=True)) or value_kind(name, column, range(len(column)))
    if kind == "float" and not isinstance(column.dtype, pd.CategoricalDtype):
        present = column.dropna()
        if 0 < len(present) < len(column) and (present == np.floor(present)).all():
            warn(f"column {name!r} holds whole numbers and missing values and is taken as a quantity; if the numbers "
                 f"are ids or codes, say so: fields=[..., Categorical({name!r}), ...], or .astype(\"Int64\")")
        return Numerical(name, transform="standard")
    return Categorical(name)
