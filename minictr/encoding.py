"""Encoding one column: from values to ids and weights x, one block of rows at a time.

An encoder is one field, fitted to its training column. Every encoder has

    spec                  the field that was asked for (see fields.py)
    n_ids, n_values       its rows of the embedding table, and how many of them are values
    labels()              the text of each id
    unknown, missing      the shares of the training column that became unknown, and were missing
    encode(block, rows)   -> cells, ids, x
    state()               -> JSON-able dict, dict of arrays; from_state(...) is the way back

``encode`` describes a block by its *cells*: row r of the block holds cell number cells[r], and cell
c has the ids ids[c] (counted from 0 within the field) and weights x[c] (x None: all 1). Equal cells
are worked out once, so a long column costs little more than its distinct values.
"""

import itertools

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_list_like, is_scalar

BLOCK = 1_000_000  # rows at a time: temporaries stay small however long the table is
UNKNOWN, MISSING, FIRST_VALUE = 0, 1, 2  # ids within every field but a plain number

# What infer_dtype says -> the kind of the values. Only values of one kind can be equal.
KINDS = {"string": "str", "integer": "int", "floating": "float", "mixed-integer-float": "float",
         "boolean": "bool", "empty": "empty"}
DTYPES = {"str": np.dtype(object), "int": np.dtype(np.int64), "float": np.dtype(np.float64),
          "bool": np.dtype(bool)}


# -------------------------------------------------------------------------------- reading a column

def read_column(name, values):
    """One column of a table as a Series, from a list, array, Series or pandas array."""
    if isinstance(values, pd.DataFrame):
        raise ValueError(f"column {name!r} is in the table {values.shape[1]} times; give every "
                         f"column a name of its own")
    if not is_list_like(values) or isinstance(values, (dict, set, frozenset)):
        raise TypeError(f"column {name!r} must be a list, array or Series with one value a row, "
                        f"got {type(values).__name__}")
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"column {name!r} has shape {values.shape}; a column has one dimension")
    return pd.Series(values)


def row_blocks(column):
    """Yield (row numbers, that part of the column) until the column ends."""
    for first in range(0, len(column), BLOCK):
        block = column.iloc[first:first + BLOCK]
        yield range(first, first + len(block)), block


def plain(value):
    """The value without NumPy types and tuples, to be compared, shown, or stored as JSON."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def shown(value):
    """The value as text for an error message, not too long."""
    return f"{plain(value)!r:.60}"


def value_kind(name, column, rows):
    """What the values are in whatever dtype: "str", "int", "float", "bool", or "empty" if none."""
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    inferred = infer_dtype(values, skipna=True)
    if inferred not in KINDS and column.dtype == object:
        inferred = infer_dtype(column.dropna(), skipna=True)  # a NaT among others misleads it
    if inferred in KINDS:
        return KINDS[inferred]
    present = column.notna().to_numpy()
    examples = {}
    for row, value in zip(np.asarray(rows)[present], column[present], strict=True):
        examples.setdefault(type(value).__name__, f"row {row}: {shown(value)}")
    if "date" in inferred or inferred in ("timedelta64", "timedelta", "period", "time"):
        advice = "derive columns from it, for example .dt.hour and .dt.dayofweek"
    elif examples.keys() & {"list", "tuple", "set", "frozenset", "ndarray"}:
        advice = "a field whose rows hold several values is a MultiValued"
    elif "bytes" in examples:
        advice = "turn them into text with .str.decode('utf-8')"
    else:
        advice = "turn all into one of these, for example with .astype(str) or .astype(float)"
    found = " and ".join(f"{kind} ({where})" for kind, where in list(examples.items())[:2])
    raise TypeError(f"column {name!r} holds {found or inferred}, but a field holds text, whole "
                    f"numbers, floats or True/False; {advice}")


def read_numbers(name, block, rows):
    """The block as float64, NaN where missing; refuses infinities and text that is no number."""
    if isinstance(block.dtype, pd.CategoricalDtype):
        block = block.astype(object)
    if block.dtype != object:
        value_kind(name, block, rows)  # refuses dates, which to_numeric would convert
    try:
        numbers = pd.to_numeric(block, errors="coerce")
        if numbers.dtype.kind == "c":
            raise TypeError("some are complex; make the real and the imaginary part two columns")
        numbers = numbers.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"column {name!r}, rows {rows[0]} to {rows[-1]}, cannot be read as "
                        f"numbers: {error}") from error
    if block.dtype.kind == "O":
        refuse(name, block, rows, np.isnan(numbers) & block.notna().to_numpy(),
               "is not a number; correct it, or make the field a Categorical")
    refuse(name, block, rows, np.isinf(numbers), "is infinite; replace it, or mark it as missing")
    return numbers


def refuse(name, block, rows, bad, problem):
    """Raise a ValueError that names the first bad row, if any row is bad."""
    if bad.any():
        first = int(np.argmax(bad))
        value = shown(block.iloc[first])
        raise ValueError(f"column {name!r}, row {rows[first]}: {value} {problem}")


def distinct_values(name, block, rows, expected=None):
    """Which distinct value each row holds (-1: missing), these values, and their kind.

    The values have the dtype of their kind (DTYPES), so that 3 equals 3 whether it was stored as
    int8, as nullable Int64 or as an object. With `expected`, the kind of the training column,
    values of another kind raise TypeError: silently, all of them would be unknown.
    """
    kind = value_kind(name, block, rows)
    if kind == "float":
        block = read_numbers(name, block, rows)
    codes, values = pd.factorize(block)
    if not len(values):
        return codes, np.empty(0, object), "empty"
    values = np.asarray(values)
    if kind == "int" and not -2**63 <= int(values.min()) <= int(values.max()) < 2**63:
        raise ValueError(f"column {name!r} holds whole numbers beyond 64 bits, {values.min()} to "
                         f"{values.max()}; store them as text: .astype(str)")
    if expected not in (None, kind) and {expected, kind} != {"int", "float"}:
        row = rows[int(np.argmax(codes >= 0))]
        raise TypeError(f"column {name!r} held {expected} values in fit but holds {kind} values "
                        f"here (row {row}: {shown(values[0])}); convert it as it was for fit, for "
                        f"example with .astype({expected})")
    values = values.astype(DTYPES[kind])
    return codes, (values + 0.0 if kind == "float" else values), kind  # -0.0 + 0.0 is 0.0


def common_kind(name, kinds):
    """The kind of a column whose blocks have these kinds."""
    kinds = kinds - {"empty"}
    if not kinds:
        raise ValueError(f"column {name!r} has only missing values: leave it out of the fields")
    if kinds == {"int", "float"}:
        return "float"
    if len(kinds) > 1:
        raise TypeError(f"column {name!r} mixes {' and '.join(sorted(kinds))} values; make them "
                        f"one type, for example with .astype(str)")
    return min(kinds)


# ---------------------------------------------------------------------- values that have ids

class CategoricalEncoder:
    """Every frequent value has an id of its own, or shares one of a fixed number of buckets.

    Parameters
    ----------
    spec : Categorical.
    kind : "str", "int", "float" or "bool".
    values : sorted array of the values with ids, in the dtype of their kind; None if hashed.
    unknown, missing : shares of the training values that were too rare, and of missing rows.
    """

    text = "categorical"

    def __init__(self, spec, kind, values, unknown, missing):
        self.spec, self.kind, self.values = spec, kind, values
        self.unknown, self.missing = unknown, missing
        self.n_values = spec.buckets if values is None else len(values)
        self.n_ids = FIRST_VALUE + self.n_values
        self._index = None if values is None else pd.Index(values, dtype=values.dtype)

    @classmethod
    def fit(cls, spec, column):
        """Count the values of the training column; those that are frequent enough get ids."""
        kinds, values, counts, n_missing = set(), None, None, 0
        for rows, block in row_blocks(column):
            new_values, kind, new_counts, new_missing = cls.count(spec, block, rows)
            n_missing += new_missing
            kinds.add(kind)
            if kind == "empty" or spec.buckets is not None:
                continue
            if values is None:
                values, counts = new_values, new_counts
            else:  # merged block by block: memory is that of the distinct values, not the rows
                codes, values = pd.factorize(np.concatenate([values, new_values]))
                counts = np.bincount(codes, weights=np.concatenate([counts, new_counts]))
        kind, missing = common_kind(spec.name, kinds), n_missing / len(column)
        if spec.buckets is not None:
            return cls(spec, kind, None, 0.0, missing)
        frequent = counts >= spec.min_count
        unknown = float(counts[~frequent].sum() / counts.sum())
        return cls(spec, kind, np.sort(values[frequent]), unknown, missing)

    @staticmethod
    def count(spec, block, rows):
        """The block's distinct values, their kind, how often each occurs, how many are missing."""
        codes, values, kind = distinct_values(spec.name, block, rows)
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        return values, kind, counts, int((codes < 0).sum())

    def encode(self, block, rows):
        """Cells (N,), ids (C, 1), no x. The last cell is the missing one: code -1 picks it."""
        cells, values, kind = distinct_values(self.spec.name, block, rows, self.kind)
        return cells, np.append(self.lookup(values, kind), np.int32(MISSING))[:, None], None

    def lookup(self, values, kind):
        """The id (int32) of each value."""
        if kind == "empty":
            return np.empty(0, np.int32)
        if kind == "float" and self.kind == "int":
            # whole numbers in a float column are ints that had to live beside a NaN
            ids = np.full(len(values), UNKNOWN, np.int32)
            whole = (np.abs(values) < 2.0**63) & (values == np.floor(values))
            ids[whole] = self.lookup(values[whole].astype(np.int64), "int")
            return ids
        values = values.astype(DTYPES[self.kind], copy=False)
        if self.values is None:
            # pandas' hash, because Python's own hash of a text differs from process to process
            hashes = pd.util.hash_array(values, categorize=False)
            return (hashes % np.uint64(self.n_values)).astype(np.int32) + np.int32(FIRST_VALUE)
        found = self._index.get_indexer(pd.Index(values, dtype=values.dtype)).astype(np.int32)
        return np.where(found < 0, np.int32(UNKNOWN), found + np.int32(FIRST_VALUE))

    def labels(self):
        """The text of each id."""
        if self.values is None:
            return ["(unknown)", "(missing)", *(f"bucket {b}" for b in range(self.n_values))]
        return ["(unknown)", "(missing)", *map(str, self.values)]

    def state(self):
        """Everything learned: a JSON-able dict, and arrays without objects."""
        state = {"kind": self.kind, "unknown": self.unknown, "missing": self.missing}
        if self.values is None:
            return state, {}
        if self.kind != "str":
            return state, {"values": self.values}
        # one stretch of UTF-8, for a NumPy text array makes every value as long as the longest
        text = "".join(self.values).encode("utf-8", "surrogatepass")
        lengths = np.array([len(value) for value in self.values], np.int64)
        return state, {"text": np.frombuffer(text, np.uint8), "lengths": lengths}

    @classmethod
    def from_state(cls, spec, state, arrays):
        """Undo `state`, checking all of it."""
        kind, values = state["kind"], None
        check_state(kind in DTYPES, f"column {spec.name!r} has values of unknown kind {kind!r}")
        if spec.buckets is None:
            if kind == "str":
                values = stored_text(arrays)
            else:
                values = stored_array(arrays, "values", DTYPES[kind])
            finite = kind != "float" or np.isfinite(values).all()
            check_state(finite and (values[1:] > values[:-1]).all(),
                        f"the values of column {spec.name!r} must be finite, distinct and sorted")
        unknown, missing = stored_share(state, "unknown"), stored_share(state, "missing")
        return cls(spec, kind, values, unknown, missing)


class MultiValuedEncoder(CategoricalEncoder):
    """A cell holds q values: q ids as a category has them, with the weight 1/q each."""

    text = "multi-valued"

    @staticmethod
    def count(spec, block, rows):
        """The block's distinct values, their kind, how often each occurs, rows without any."""
        cells, lengths, codes, values, kind = split_cells(spec, block, rows)
        rows_of_cell = np.bincount(cells, minlength=len(lengths))
        occurrences = np.repeat(rows_of_cell, lengths)
        counts = np.bincount(codes, weights=occurrences, minlength=len(values))
        return values, kind, counts, int(rows_of_cell[lengths == 0].sum())

    def encode(self, block, rows):
        """Cells (N,), ids and x (C, Q), where Q is the length of the block's longest cell."""
        cells, lengths, codes, values, kind = split_cells(self.spec, block, rows, self.kind)
        filled = np.arange(max(lengths.max(), 1)) < lengths[:, None]
        ids = np.full(filled.shape, MISSING, np.int32)
        ids[filled] = self.lookup(values, kind)[codes]
        x = (filled / np.maximum(lengths, 1)[:, None]).astype(np.float32)
        x[lengths == 0, 0] = 1
        return cells, ids, x


def split_cells(spec, block, rows, expected=None):
    """Split the cells of a multi-valued block.

    Returns each row's cell (N,), each cell's number of values (C,), the codes of all cells' values
    one after the other, the distinct values that the codes number, and their kind.
    """
    if isinstance(block.dtype, pd.CategoricalDtype) or infer_dtype(block, skipna=True) == "string":
        cells, contents = pd.factorize(block)  # each distinct text is split once
    else:
        cells, contents = np.arange(len(block)), block.astype(object)  # lists: each is its own
    lists = [as_list(spec, content) for content in contents]
    lists.append([])  # the cell of the missing rows
    cells = np.where(cells < 0, len(lists) - 1, cells)
    first_row = np.empty(len(lists), np.int64)
    first_row[cells[::-1]] = rows[::-1]  # backwards: the first row of a cell is written last
    owner = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    in_a_row = pd.Series([value for values in lists for value in values], dtype=object)
    codes, values, kind = distinct_values(spec.name, in_a_row, first_row[owner], expected)
    lengths = np.bincount(owner[codes >= 0], minlength=len(lists))
    return cells, lengths, codes[codes >= 0], values, kind


def as_list(spec, content):
    """The values of one multi-valued cell."""
    if isinstance(content, str):
        return [part for part in content.split(spec.sep) if part]
    if isinstance(content, (set, frozenset)):
        return sorted(content, key=str)  # a set's own order differs from process to process
    if isinstance(content, (list, tuple, np.ndarray)):
        return list(content)
    if is_scalar(content) and pd.isna(content):
        return []
    raise TypeError(f"column {spec.name!r} is MultiValued: a row holds text like 'a{spec.sep}b' or "
                    f"a list, but here is {shown(content)} ({type(content).__name__})")


# ---------------------------------------------------------------------------------------- numbers

def training_numbers(name, column):
    """The numbers of a training column that are not missing, and the share that is missing."""
    blocks = [read_numbers(name, block, rows) for rows, block in row_blocks(column)]
    numbers = np.concatenate(blocks)
    present = numbers[~np.isnan(numbers)]
    if not len(present):
        raise ValueError(f"column {name!r} has only missing values: leave it out of the fields")
    return present, 1 - len(present) / len(numbers)


class NumericalEncoder:
    """A number z is the weight x of the field's one vector: x = (t(z) - center) / scale.

    t is AutoInt's logarithm or nothing. Missing has a vector too if training held a missing number.
    """

    text = "numerical"
    n_values = 1
    unknown = 0.0

    def __init__(self, spec, center, scale, missing):
        self.spec, self.center, self.scale, self.missing = spec, center, scale, missing
        self.n_ids = 2 if missing else 1

    @classmethod
    def fit(cls, spec, column):
        """Learn what the transform needs."""
        numbers, missing = training_numbers(spec.name, column)
        low, high = float(numbers.min()), float(numbers.max())
        center, scale = 0.0, 1.0
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if spec.transform in ("standard", "minmax") and low == high:
                center = low  # a constant column: x = 0, and no division by 0
            elif spec.transform == "standard":
                center, scale = float(numbers.mean()), float(numbers.std())
            elif spec.transform == "minmax":
                center, scale = low, high - low
        if not (np.isfinite(center) and np.isfinite(scale) and scale > 0):
            raise ValueError(f"column {spec.name!r} with numbers from {low} to {high} cannot be "
                             f"scaled within the range of float64; change its unit")
        return cls(spec, center, scale, missing)

    def encode(self, block, rows):
        """Each row is a cell: ids (N, 1) and x (N, 1)."""
        numbers = read_numbers(self.spec.name, block, rows)
        x = numbers
        if self.spec.transform in ("log_squared", "log2"):
            x = np.where(x > 2, np.log(np.maximum(x, 2)) ** 2, x)
        with np.errstate(over="ignore"):
            x = (x - self.center) / self.scale
        refuse(self.spec.name, block, rows, np.abs(x) > np.finfo(np.float32).max,
               "is too large for float32; give the field a transform, or change its unit")
        # a missing number is id 1 with x = 1; without that id it is id 0 with x = 0, i.e. nothing
        missing = np.isnan(numbers)
        ids = np.where(missing, self.n_ids - 1, 0).astype(np.int32)
        x = np.where(missing, self.n_ids - 1, x).astype(np.float32)
        return slice(None), ids[:, None], x[:, None]

    def labels(self):
        """The text of each id."""
        return ["(number)", "(missing)"][:self.n_ids]

    def state(self):
        """Everything learned: a JSON-able dict, and no arrays."""
        return {"center": self.center, "scale": self.scale, "missing": self.missing}, {}

    @classmethod
    def from_state(cls, spec, state, arrays):
        """Undo `state`, checking all of it."""
        center, scale = stored_number(state, "center"), stored_number(state, "scale")
        check_state(scale > 0, f"column {spec.name!r} has scale {scale}")
        return cls(spec, center, scale, stored_share(state, "missing"))


class BinnedEncoder:
    """A number has the id of its bin: bin b holds edges[b - 1] <= z < edges[b]."""

    text = "binned"
    unknown = 0.0

    def __init__(self, spec, edges, missing):
        self.spec, self.edges, self.missing = spec, edges, missing
        self.n_values = len(edges) + 1
        self.n_ids = FIRST_VALUE + self.n_values

    @classmethod
    def fit(cls, spec, column):
        """Take the edges from the field, or from the quantiles of the training column."""
        numbers, missing = training_numbers(spec.name, column)
        bins = spec.params()["bins"]
        if isinstance(bins, list):
            return cls(spec, np.array(bins, np.float64), missing)
        edges = np.unique(np.quantile(numbers, np.arange(1, bins) / bins))
        return cls(spec, edges[edges > numbers.min()], missing)  # no bin below the lowest number

    def encode(self, block, rows):
        """Each row is a cell: ids (N, 1), no x."""
        numbers = read_numbers(self.spec.name, block, rows)
        bins = np.searchsorted(self.edges, numbers, side="right") + FIRST_VALUE
        ids = np.where(np.isnan(numbers), MISSING, bins).astype(np.int32)
        return slice(None), ids[:, None], None

    def labels(self):
        """The text of each id."""
        edges = [f"{edge:.6g}" for edge in self.edges]
        if not edges:
            return ["(unknown)", "(missing)", "any number"]
        between = [f"{low} to < {high}" for low, high in itertools.pairwise(edges)]
        return ["(unknown)", "(missing)", f"< {edges[0]}", *between, f">= {edges[-1]}"]

    def state(self):
        """Everything learned: a JSON-able dict, and arrays."""
        return {"missing": self.missing}, {"edges": self.edges}

    @classmethod
    def from_state(cls, spec, state, arrays):
        """Undo `state`, checking all of it."""
        edges = stored_array(arrays, "edges", np.float64)
        check_state(np.isfinite(edges).all() and (edges[1:] > edges[:-1]).all(),
                    f"the bin edges of column {spec.name!r} must be finite and increasing")
        return cls(spec, edges, stored_share(state, "missing"))


# ------------------------------------------------------------------------ checks of a saved state

def check_state(condition, problem):
    """Raise a ValueError unless the condition holds."""
    if not condition:
        raise ValueError(problem)


def stored_array(arrays, name, dtype):
    """A one-dimensional array of a saved state."""
    array = arrays[name]
    check_state(isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype == dtype,
                f"array {name!r} must be one-dimensional {np.dtype(dtype)}, got {array!r:.60}")
    return array


def stored_text(arrays):
    """The object array of texts that was saved as one stretch of UTF-8 and the texts' lengths."""
    text = stored_array(arrays, "text", np.uint8).tobytes().decode("utf-8", "surrogatepass")
    lengths = stored_array(arrays, "lengths", np.int64)
    check_state(((0 <= lengths) & (lengths <= len(text))).all() and lengths.sum() == len(text),
                "the lengths of the stored texts do not add up to the text")
    ends = np.cumsum(lengths)
    values = np.empty(len(lengths), object)
    values[:] = [text[end - length:end] for end, length in zip(ends, lengths, strict=True)]
    return values


def stored_number(state, name):
    """A finite number of a saved state."""
    number = state[name]
    check_state(isinstance(number, (int, float)) and np.isfinite(number),
                f"{name!r} must be a number, got {number!r:.60}")
    return float(number)


def stored_share(state, name):
    """A number from 0 to 1 of a saved state."""
    share = stored_number(state, name)
    check_state(0 <= share <= 1, f"{name!r} must be from 0 to 1, got {share}")
    return share
