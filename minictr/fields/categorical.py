"""Encoding one column: from values to ids and weights x, one block of rows at a time.

A learner is fed the blocks of a training column in turn, and keeps what is needed of them, not their rows:

    add(block, rows)      one block, and the numbers of its rows for messages
    width                 how many slots the longest cell so far takes
    encoder()             what has been learned

An encoder is one field, fitted to its training column. Every encoder has

    spec                  the field that was asked for (see table.py)
    n_ids, n_values       its rows of the embedding table, and how many of them are values
    labels()              the text of each id
    unknown, missing      the shares of the training column that became unknown, and were missing
    encode(block, rows)   -> cells, ids, x
    state()               -> JSON-able dict, dict of arrays; from_state(...) is the way back
    learner_class         the learner that makes it

``encode`` describes a block by its *cells*: row r of the block holds cell number cells[r], and cell
c has the ids ids[c] (counted from 0 within the field) and weights x[c] (x None: all 1). Equal cells
are worked out once, so a long column costs little more than its distinct values.
"""

import itertools

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_list_like, is_scalar

from ..checks import warn

BLOCK = 1_000_000  # rows at a time: temporaries stay small however long the table is
MAX_CANDIDATES = 1_000_000  # values that a field counts at a time while they are below its min_count
SAMPLE = 500_000  # numbers of a column that its quantiles are taken from, if it has more
MOMENTS_BLOCK = 2 ** 17  # numbers summed at once
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


def row_blocks(columns):
    """Cut columns, given by name, into blocks: {name: [(block, the numbers of its rows), ...]}."""
    blocks = {}
    for name, column in columns.items():
        blocks[name] = []
        for first in range(0, len(column), BLOCK):
            block = column.iloc[first:first + BLOCK]
            blocks[name].append((block, range(first, first + len(block))))
    return blocks


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
    kind = KINDS.get(infer_dtype(block, skipna=True)) or value_kind(name, block, rows)  # most are plain to see
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


def common_kind(name, one, other):
    """The kind of a column whose blocks are of two kinds."""
    if {one, other} == {"int", "float"}:
        return "float"
    raise TypeError(f"column {name!r} mixes {' and '.join(sorted((one, other)))} values; make them "
                    f"one type, for example with .astype(str)")


# ---------------------------------------------------------------------- values that have ids

class CategoricalLearner:
    """Counts the values of a training column; those that are frequent enough get ids.

    Memory is that of the distinct values, not of the rows. With a ``min_count`` it is bounded further, as the tail of
    rare values may be long: a value that has reached min_count belongs to the vocabulary, and of all others at most
    MAX_CANDIDATES are kept. When there are more, those with the lowest counts are forgotten, until at most half of
    MAX_CANDIDATES are left (as in lossy counting: Manku & Motwani, VLDB 2002). Each time ``lost`` grows by the
    highest count forgotten, so no count is too low by more than ``lost``: a value of the vocabulary occurs at least
    min_count times, and a value that occurs min_count + lost times is in it. As long as only values seen once are
    forgotten, lost is at most 2 N / MAX_CANDIDATES for N rows.
    """

    MERGE_AT = 2 ** 16      # values that may wait at least

    def __init__(self, spec):
        self.spec, self.kind, self.width = spec, "empty", 1
        self.values = self.counts = None
        self.waiting, self.n_waiting = [], 0    # (values, counts) of the blocks that are not in `values` yet
        self.n_rows = self.n_missing = self.n_occurrences = self.lost = 0

    def add(self, block, rows):
        """Learn from one more block."""
        values, kind, counts, n_missing = self.count(block, rows)
        if self.kind == "empty":
            self.kind = kind
        elif kind not in ("empty", self.kind):
            self.kind = common_kind(self.spec.name, self.kind, kind)
        self.n_rows += len(block)
        self.n_missing += n_missing
        if not len(values):
            return
        self.n_occurrences += counts.sum()
        self.waiting.append((values, counts))
        self.n_waiting += len(values)
        # not after every block: merging costs as much as there are values in all
        if self.n_waiting > max(self.MERGE_AT, 0 if self.values is None else len(self.values)):
            self.merge()

    def count(self, block, rows):
        """The block's distinct values, their kind, how often each occurs, how many are missing."""
        if self.spec.buckets is not None:
            kind, n_missing = value_kind(self.spec.name, block, rows), int(block.isna().sum())
            return (), kind if n_missing < len(block) else "empty", None, n_missing
        codes, values, kind = distinct_values(self.spec.name, block, rows)
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        return values, kind, counts, int((codes < 0).sum())

    def merge(self):
        """Add the counts that are waiting; forget rare values if there are too many."""
        if self.values is not None:
            self.waiting.insert(0, (self.values, self.counts))
        values, counts = map(np.concatenate, zip(*self.waiting, strict=True))
        codes, self.values = pd.factorize(values)
        self.counts = np.bincount(codes, weights=counts)
        self.waiting, self.n_waiting = [], 0
        candidates = self.counts[self.counts < self.spec.min_count]
        if len(candidates) > MAX_CANDIDATES:
            place = len(candidates) - MAX_CANDIDATES // 2 - 1
            forgotten = np.partition(candidates, place)[place]      # at most half of MAX_CANDIDATES lie above it
            keep = self.counts > forgotten
            self.values, self.counts = self.values[keep], self.counts[keep]
            self.lost += int(forgotten)

    def encoder(self):
        """The encoder of all blocks so far."""
        spec, missing = self.spec, self.n_missing / self.n_rows
        if self.kind == "empty":
            raise ValueError(f"column {spec.name!r} has only missing values: leave it out of the fields")
        if spec.buckets is not None:
            return spec.encoder_class(spec, self.kind, None, 0.0, missing)
        self.merge()
        if self.lost:
            warn(f"column {spec.name!r} has very many rare values: it was counted with at most {MAX_CANDIDATES:,} of "
                 f"them at a time, so that values which occur {spec.min_count} to {spec.min_count + self.lost - 1} "
                 f"times may be unknown as well; with buckets= there is nothing to count")
        frequent = self.counts >= spec.min_count
        unknown = float((self.n_occurrences - self.counts[frequent].sum()) / self.n_occurrences)
        return spec.encoder_class(spec, self.kind, np.sort(self.values[frequent]), unknown, missing)


class MultiValuedLearner(CategoricalLearner):
    """Counts the values in the cells of a training column."""

    def count(self, block, rows):
        """The block's distinct values, their kind, how often each occurs, rows without any."""
        cells, lengths, codes, values, kind = split_cells(self.spec, block, rows)
        self.width = max(self.width, int(lengths.max()))
        rows_of_cell = np.bincount(cells, minlength=len(lengths))
        n_missing = int(rows_of_cell[lengths == 0].sum())
        if self.spec.buckets is not None:
            return (), kind, None, n_missing
        occurrences = np.repeat(rows_of_cell, lengths)
        return values, kind, np.bincount(codes, weights=occurrences, minlength=len(values)), n_missing


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
    learner_class = CategoricalLearner

    def __init__(self, spec, kind, values, unknown, missing):
        self.spec, self.kind, self.values = spec, kind, values
        self.unknown, self.missing = unknown, missing
        self.n_values = spec.buckets if values is None else len(values)
        self.n_ids = FIRST_VALUE + self.n_values
        self._index = None if values is None else pd.Index(values, dtype=values.dtype)

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
    learner_class = MultiValuedLearner

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
    lists = [content if isinstance(content, (list, tuple)) else as_list(spec, content) for content in contents]
    lists.append([])  # the cell of the missing rows
    cells = np.where(cells < 0, len(lists) - 1, cells)
    first_row = np.empty(len(lists), np.int64)
    first_row[cells[::-1]] = rows[::-1]  # backwards: the first row of a cell is written last
    owner = np.repeat(np.arange(len(lists)), list(map(len, lists)))
    in_a_row = pd.Series(list(itertools.chain.from_iterable(lists)), dtype=object)
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

class Moments:
    """Mean and standard deviation of numbers that come in pieces, in float64, optionally weighted.

    The numbers are summed in blocks of MOMENTS_BLOCK, whatever the pieces, so that the result depends on their order
    alone. The blocks' sums of squared deviations are merged as in Chan, Golub & LeVeque (1983), eq. 2.1:

        M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / (n_a + n_b)

    >>> moments = Moments()
    >>> moments.add(np.array([1.0, 2.0])), moments.add(np.array([6.0]))
    (None, None)
    >>> mean, std = moments.result()
    >>> float(mean), round(float(std), 4)
    (3.0, 2.1602)
    """

    def __init__(self):
        self.low, self.high = np.inf, -np.inf
        self.n = self.total = self.M2 = 0.0
        self.waiting, self.n_waiting = [], 0

    def add(self, numbers, weights=None):
        """Take in more numbers (N,), with weights (N,) or each with weight 1."""
        if not len(numbers):
            return
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        self.waiting.append((numbers, np.ones(len(numbers)) if weights is None else weights))
        self.n_waiting += len(numbers)
        if self.n_waiting >= MOMENTS_BLOCK:
            numbers, weights = map(np.concatenate, zip(*self.waiting, strict=True))
            for start in range(0, self.n_waiting - MOMENTS_BLOCK + 1, MOMENTS_BLOCK):
                block = slice(start, start + MOMENTS_BLOCK)
                self.merge(numbers[block], weights[block])
            self.n_waiting %= MOMENTS_BLOCK
            rest = slice(len(numbers) - self.n_waiting, None)
            self.waiting = [(numbers[rest].copy(), weights[rest].copy())]

    def merge(self, numbers, weights):
        """Add the sums of one block."""
        n = weights.sum()
        if n == 0:
            return
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):    # the field says which column it is
            total = (weights * numbers).sum()
            self.M2 += (weights * (numbers - total / n) ** 2).sum()
            if self.n:
                self.M2 += (total / n - self.total / self.n) ** 2 * (self.n * n / (self.n + n))
            self.n, self.total = self.n + n, self.total + total

    def result(self):
        """(mean, standard deviation) of all numbers; call it once, after the last ``add``."""
        if self.waiting:
            self.merge(*map(np.concatenate, zip(*self.waiting, strict=True)))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return self.total / self.n, np.sqrt(self.M2 / self.n)


class NumericalLearner:
    """Mean, spread and range of the numbers of a training column."""

    width = 1

    def __init__(self, spec):
        self.spec, self.n_rows, self.n_present = spec, 0, 0
        self.moments = Moments()

    def add(self, block, rows):
        """Learn from one more block."""
        numbers = read_numbers(self.spec.name, block, rows)
        present = numbers[~np.isnan(numbers)]
        self.n_rows += len(numbers)
        self.n_present += len(present)
        self.learn(present)

    def learn(self, present):
        """Learn from numbers of which none is missing."""
        self.moments.add(present)

    def missing(self):
        """The share of the rows without a number."""
        if not self.n_present:
            raise ValueError(f"column {self.spec.name!r} has only missing values: leave it out of the fields")
        return 1 - self.n_present / self.n_rows

    def encoder(self):
        """The encoder of all blocks so far."""
        spec, missing = self.spec, self.missing()
        low, high = self.moments.low, self.moments.high
        center, scale = 0.0, 1.0
        if spec.transform in ("standard", "minmax") and low == high:
            center = low  # a constant column: x = 0, and no division by 0
        elif spec.transform == "standard":
            center, scale = map(float, self.moments.result())
        elif spec.transform == "minmax":
            center, scale = low, high - low
        if not (np.isfinite(center) and np.isfinite(scale) and scale > 0):
            raise ValueError(f"column {spec.name!r} with numbers from {low} to {high} cannot be "
                             f"scaled within the range of float64; change its unit")
        return NumericalEncoder(spec, center, scale, missing)


class BinnedLearner(NumericalLearner):
    """The quantiles of the numbers of a training column, or the edges that the field gives.

    The quantiles are those of all numbers, or, if there are more than SAMPLE, of a random sample of that size: each
    number draws a key, those with the lowest keys stay. A bin's share of the rows is then off by 0.07 % of all rows
    (standard error) at most.
    """

    def __init__(self, spec):
        super().__init__(spec)
        self.low = np.inf
        self.rng = np.random.default_rng(0)
        self.numbers, self.keys = np.empty(0), np.empty(0)

    def learn(self, present):
        """Learn from numbers of which none is missing."""
        if isinstance(self.spec.params()["bins"], list) or not len(present):
            return
        self.low = min(self.low, present.min())
        self.numbers = np.append(self.numbers, present)
        self.keys = np.append(self.keys, self.rng.random(len(present)))
        if len(self.keys) > SAMPLE:
            chosen = np.argpartition(self.keys, SAMPLE - 1)[:SAMPLE]
            self.numbers, self.keys = self.numbers[chosen], self.keys[chosen]

    def encoder(self):
        """The encoder of all blocks so far."""
        missing, bins = self.missing(), self.spec.params()["bins"]
        if isinstance(bins, list):
            return BinnedEncoder(self.spec, np.array(bins, np.float64), missing)
        edges = np.unique(np.quantile(self.numbers, np.arange(1, bins) / bins))
        return BinnedEncoder(self.spec, edges[edges > self.low], missing)  # no bin below the lowest number


class NumericalEncoder:
    """A number z is the weight x of the field's one vector: x = (t(z) - center) / scale.

    t is AutoInt's logarithm or nothing. Missing has a vector too if training held a missing number.
    """

    text = "numerical"
    learner_class = NumericalLearner
    n_values = 1
    unknown = 0.0

    def __init__(self, spec, center, scale, missing):
        self.spec, self.center, self.scale, self.missing = spec, center, scale, missing
        self.n_ids = 2 if missing else 1

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
    learner_class = BinnedLearner
    unknown = 0.0

    def __init__(self, spec, edges, missing):
        self.spec, self.edges, self.missing = spec, edges, missing
        self.n_values = len(edges) + 1
        self.n_ids = FIRST_VALUE + self.n_values

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
