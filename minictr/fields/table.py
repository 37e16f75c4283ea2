"""Fields: what each column of a table is, and how a table becomes slots (ids and weights x).

A field is one column, of one of three kinds. Each value of a `Categorical` looks up a vector of its
own. A `Numerical` has one vector, multiplied by the number: e = v x; or its numbers are cut into
bins, which are categories. A cell of a `MultiValued` holds several values, whose vectors are
averaged. `TableEncoder` learns the fields of a training table and encodes this and other tables.

Ids are global: each field has its own stretch of one embedding table. Within the stretch,

    Categorical, MultiValued, bins    0 unknown or rare, 1 missing, 2.. the values, sorted
    Numerical                         0 the number's vector, 1 missing (if fit saw a missing number)
"""

import contextlib
import inspect
import itertools
import numbers
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..checks import warn
from ..slots import Slots
from .categorical import (
    MISSING,
    UNKNOWN,
    BinnedEncoder,
    CategoricalEncoder,
    MultiValuedEncoder,
    NumericalEncoder,
    check_state,
    plain,
    read_column,
    row_blocks,
    value_kind,
)

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
    missing items of a list are left out.

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
    0, so that the field adds nothing.

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
        column = read_column(name, column)
    if column.dtype == object:
        present = column.notna().to_numpy()
        first = column.iloc[int(np.argmax(present))] if present.any() else None
        if isinstance(first, (list, tuple, set, frozenset, np.ndarray)):
            return MultiValued(name)
    kind = value_kind(name, column, range(len(column)))
    if kind == "float" and not isinstance(column.dtype, pd.CategoricalDtype):
        present = column.dropna()
        if len(present) < len(column) and (present == np.floor(present)).all():
            warn(f"column {name!r} holds whole numbers and missing values and is taken as a quantity; if the numbers "
                 f"are ids or codes, say so: fields=[..., Categorical({name!r}), ...], or .astype(\"Int64\")")
        return Numerical(name, transform="standard")
    return Categorical(name)


def check_table(table):
    """Raise TypeError unless this is a DataFrame or a dict of columns."""
    if not isinstance(table, (pd.DataFrame, dict)):
        raise TypeError(f"a table is a DataFrame or a dict of columns, got {type(table).__name__}; "
                        f"an array needs names: pd.DataFrame(array, columns=[...])")


def read_columns(table, names):
    """These columns of a DataFrame or dict, by name; all must be there, and equally long."""
    columns, names = {}, list(names)
    for name in names:
        if name not in table:
            raise ValueError(f"column {name!r} was in fit but is missing here; got {list(table)}")
    for name in names:
        column = table[name]    # a DataFrame's column is a Series already, unless its name is there twice
        columns[name] = column if isinstance(column, pd.Series) else read_column(name, column)
    for name, column in columns.items():
        if len(column) != len(columns[names[0]]):
            raise ValueError(f"the columns of a table must be equally long: {names[0]!r} has "
                             f"{len(columns[names[0]])} rows, {name!r} has {len(column)}")
    return columns


def learn_piece(learners, piece, names):
    """Feed these columns of a piece to their learners; returns the number of its rows."""
    columns = read_columns(piece, names)
    for name, blocks in row_blocks(columns).items():
        for block, rows in blocks:
            learners[name].add(block, rows)
    return max(map(len, columns.values()), default=0)


@contextlib.contextmanager
def in_piece(first_row):
    """Let errors say which piece of a table they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"in the piece that begins with row {first_row:,} (its own rows count from 0): {error}") from error


class TableEncoder:
    """Learns the fields of a table, then turns tables into `Slots` with global ids.

    Values are compared by what they are, not by the dtype that holds them: "a" is the same as text
    of any dtype and as a pandas category, 1 the same as int8, as nullable Int64, and as the float
    1.0 of an int column with missing values. Columns are found by name, whatever their order.

    Parameters
    ----------
    fields : list of fields, and of column names whose field is to be inferred (`infer_field`).
        Exactly these columns are used, in this order. None: every column of the training table.

    Attributes
    ----------
    widths : (M,) int array, the slots that each field takes in the training table; None in an
        encoder that was loaded.

    Examples
    --------
    >>> encoder = TableEncoder(["user", MultiValued("genres")])
    >>> encoder.fit({"user": ["ann", "bob"], "genres": ["Action|Drama", "Drama"]}).n_features
    8
    >>> encoder.feature_names("genres")
    ['(unknown)', '(missing)', 'Action', 'Drama']
    >>> slots = encoder.encode({"user": ["bob", "eve"], "genres": ["Action|War", None]})
    >>> slots.ids  # the user's ids are 0 to 3, the genres' 4 to 7
    array([[3, 6, 4],
           [0, 5, 5]], dtype=int32)
    >>> slots.x
    array([[1. , 0.5, 0.5],
           [1. , 1. , 0. ]], dtype=float32)
    """

    def __init__(self, fields=None):
        self.fields = fields
        self.widths = None
        self._encoders = self._offsets = self._n_features = None

    def fit(self, *tables):
        """Learn every field from its column, forgetting what an earlier fit learned.

        Parameters
        ----------
        *tables : DataFrames or dicts of columns; mostly one. With several, which may differ in
            length, each field is learned from the one table that has its column. So users can be
            learned from a table where each counts once, not from a table of all that they did.
            A table may also come in pieces, as an iterator of tables, and need not fit into memory:
            the kinds of fields are inferred from the first piece, all else is learned from all.

        Raises
        ------
        TypeError, ValueError
            For tables, columns and values that cannot be used: which, where, and what to do.
        """
        rests = [table if isinstance(table, Iterator) else iter(()) for table in tables]
        firsts = [next(table, {}) if isinstance(table, Iterator) else table for table in tables]
        for first in firsts:
            check_table(first)
        found = [name for first in firsts for name in first]
        fields = found if self.fields is None else self.fields
        if isinstance(fields, (str, Field)) or not len(fields):
            raise ValueError(f"fields must be a list with at least one field, got {fields!r}")
        names = [field.name if isinstance(field, Field) else field for field in fields]
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"a field is a column name (str), Categorical, Numerical or "
                                f"MultiValued, not {name!r}; names of columns become text with "
                                f"table.columns = table.columns.astype(str)")
            if name not in found:
                raise ValueError(f"column {name!r} is among the fields but not in the table; "
                                 f"got {found}")
            if names.count(name) > 1 or found.count(name) > 1:
                raise ValueError(f"column {name!r} occurs more than once, among the fields or in "
                                 f"the tables; every column needs a name of its own")
        learners = {}
        for first, rest in zip(firsts, rests, strict=True):
            own = {name: field for name, field in zip(names, fields, strict=True) if name in first}
            for name, column in read_columns(first, own).items():
                if not len(column):
                    raise ValueError(f"column {name!r} has no rows; fit needs at least one")
                field = own[name]
                if isinstance(field, Field):
                    field.check()
                else:
                    field = infer_field(name, column)
                learners[name] = field.encoder_class.learner_class(field)   # the field stays as it is
            first_row = learn_piece(learners, first, own)
            for piece in rest:
                with in_piece(first_row):
                    extra = [name for name in piece if name not in first]
                    if extra and self.fields is None:
                        raise ValueError(f"column {extra[0]!r} is not in the first piece of the table; leave it "
                                         f"out, or name the columns to use: fields=[...]")
                    first_row += learn_piece(learners, piece, own)
        self.widths = np.array([learners[name].width for name in names])
        return self._keep({name: learners[name].encoder() for name in names})

    def _keep(self, encoders):
        offsets, n_features = {}, 0
        for name, encoder in encoders.items():
            offsets[name] = n_features
            n_features += encoder.n_ids
        if n_features > np.iinfo(np.int32).max:
            raise ValueError(f"the fields need {n_features} ids, but int32 holds 2**31 - 1; give "
                             f"the largest fields buckets= or a higher min_count=")
        self._encoders, self._offsets, self._n_features = encoders, offsets, n_features
        return self

    def _check_fitted(self):
        if self._encoders is None:
            raise ValueError("this TableEncoder has not learned a table yet: call fit first")

    @property
    def encoders(self):
        """The fitted encoder of each field, by name (see categorical.py)."""
        self._check_fitted()
        return self._encoders

    @property
    def field_names(self):
        """The names of the M fields, in order."""
        return list(self.encoders)

    @property
    def offsets(self):
        """(M,) int array: the first global id of each field."""
        return np.array([self._offsets[name] for name in self.encoders])

    @property
    def n_features(self):
        """n, the number of ids of all fields: the rows of the embedding table."""
        self._check_fitted()
        return self._n_features

    def _chosen(self, fields):
        """The names of these fields, or of all (None); a ValueError if one is no field, or there are none."""
        self._check_fitted()
        names = list(self._encoders if fields is None else fields)
        for name in names:
            if name not in self._encoders:
                raise ValueError(f"{name!r} is not one of the fields {self.field_names}")
        if not names:
            raise ValueError(f"fields is empty; name at least one of {self.field_names}")
        return names

    def encode(self, table, fields=None, widths=None):
        """Turn a table into `Slots`: global ids (N, S) and weights x (N, S).

        A multi-valued field takes as many slots as the fullest cell of this table has values; where
        a cell has fewer, slots have the id of missing and x = 0. x is None if no field is numerical
        or multi-valued, because all weights are 1 then.

        Parameters
        ----------
        table : DataFrame or dict of equally long columns. Columns that are not fields are ignored.
        fields : list of names, to encode only these fields; their ids stay the same.
        widths : at least so many slots for each of these fields, so that pieces of a table fit together.

        Raises
        ------
        TypeError, ValueError
            For columns that are missing or of another type than in fit, and for numbers that are
            infinite or no numbers. A value that fit did not see is no error: it is "unknown".
        """
        check_table(table)
        names = self._chosen(fields)
        columns = read_columns(table, names)
        blocks = row_blocks(columns)
        parts, weighted = [], False
        widths = [1] * len(names) if widths is None else list(widths)
        for number, name in enumerate(names):
            encoder = self._encoders[name]
            cells = itertools.starmap(encoder.encode, blocks[name])     # lazy: one block after the other
            if isinstance(encoder, MultiValuedEncoder):
                cells = list(cells)     # all at once: the fullest cell says how many slots there are
                for _, ids, _ in cells:
                    widths[number] = max(widths[number], ids.shape[1])
            parts.append(cells)
            weighted |= isinstance(encoder, (MultiValuedEncoder, NumericalEncoder))
        ends = np.cumsum(widths)
        ids = np.empty((len(columns[names[0]]), ends[-1]), np.int32)
        x = np.ones(ids.shape, np.float32) if weighted else None
        for name, part, width, end in zip(names, parts, widths, ends, strict=True):
            offset = self._offsets[name]
            for (_, rows), (cells, cell_ids, cell_x) in zip(blocks[name], part, strict=True):
                here = slice(rows.start, rows.stop), slice(end - width, end)
                n_used = cell_ids.shape[1]
                ids[here][:, :n_used] = (cell_ids + offset)[cells]
                ids[here][:, n_used:] = offset + MISSING
                if cell_x is not None:
                    x[here][:, :n_used] = cell_x[cells]
                    x[here][:, n_used:] = 0
        return Slots(ids, x, ends - widths)

    def feature_names(self, field):
        """The label of each id of a field: "(unknown)", "(missing)", then its values as text."""
        [name] = self._chosen([field])
        return self._encoders[name].labels()

    def describe(self):
        """What fit learned: one row a field, with its kind and the number of its values.

        `unknown` is the share of the training values that were rarer than min_count, `missing` the
        share of the training rows without a value. Where it is 0, training never meets that id.
        """
        return pd.DataFrame([{"field": name, "kind": encoder.text, "values": encoder.n_values,
                              "unknown": encoder.unknown, "missing": encoder.missing}
                             for name, encoder in self.encoders.items()])

    def unknown_rate(self, table):
        """Each field's share of unknown values in a table, as a Series by field name.

        In a multi-valued field all rows count the same, however many values they have. Numbers are
        never unknown.
        """
        rates = dict.fromkeys(self.field_names, 0.0)
        for name, offset in zip(self.field_names, self.offsets, strict=True):
            slots = self.encode(table, [name])
            if not isinstance(self.encoders[name], NumericalEncoder):
                unknown = (slots.ids == offset + UNKNOWN) * (1 if slots.x is None else slots.x)
                rates[name] = float(unknown.sum() / max(len(slots), 1))
        return pd.Series(rates)

    def get_state(self):
        """Everything learned: a JSON-able dict, and a dict of arrays without objects."""
        entries, arrays = [], {}
        for number, encoder in enumerate(self.encoders.values()):
            learned, own_arrays = encoder.state()
            entries.append({"type": type(encoder.spec).__name__, "params": encoder.spec.params(),
                            "learned": learned})
            arrays |= {f"{number}.{name}": array for name, array in own_arrays.items()}
        return {"fields": entries}, arrays

    @classmethod
    def from_state(cls, state, arrays):
        """The TableEncoder whose `get_state` gave this.

        Raises
        ------
        ValueError
            If anything in it is not as `get_state` leaves it.
        """
        encoders = {}
        try:
            for number, entry in enumerate(state["fields"]):
                spec = FIELD_CLASSES[entry["type"]](**entry["params"])
                spec.check()
                check_state(spec.name not in encoders, f"field {spec.name!r} is there twice")
                own_arrays = {name.removeprefix(f"{number}."): array
                              for name, array in arrays.items() if name.startswith(f"{number}.")}
                encoder = spec.encoder_class.from_state(spec, entry["learned"], own_arrays)
                encoders[spec.name] = encoder
            check_state(encoders, "there are no fields")
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"the saved fields are damaged: {error!r}") from error
        return cls([encoder.spec for encoder in encoders.values()])._keep(encoders)
