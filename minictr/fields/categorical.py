"""A column of categories: its frequent values are learned, and each of them has an id."""

import functools

import numpy as np
import pandas as pd

from ..checks import warn
from .columns import DTYPES, check_range, convert, distinct_values, value_kind
from .saved import check_state, stored_array, stored_share, stored_text

MAX_CANDIDATES = 1_000_000  # values that a field counts at a time while they are below its min_count
UNKNOWN, MISSING, FIRST_VALUE = 0, 1, 2  # ids within every field but a plain number
# Whole numbers are looked up in a table of all numbers from the lowest to the highest where it is no longer than this
# many times the values: measured, encoding takes two fifths of the time.
NUMBERS_A_VALUE = 4


def common_kind(name, one, other):
    """The kind of a column whose blocks are of two kinds."""
    for kind in ("float", "uint"):
        if {one, other} <= {"int", "uint", "float"} and kind in (one, other):
            return kind
    raise TypeError(f"column {name!r} mixes {' and '.join(sorted((one, other)))} values; make them "
                    f"one type, for example with .astype(str)")


def hash_values(values):
    """A hash of each value, (N,) uint64: pandas', as Python's own hash of a text differs from process to process."""
    try:
        return pd.util.hash_array(values, categorize=False)
    except UnicodeEncodeError:          # half characters (surrogates); bytes have the same hash as their text
        return pd.util.hash_array(np.array([value.encode("utf-8", "surrogatepass") for value in values], object),
                                  categorize=False)


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
        self.n_missing = self.n_occurrences = self.lost = 0

    def add(self, block, rows, times=None):
        """Learn from one more block; returns which of its rows are missing, (N,).

        ``times`` says how often each row counts, where the rows of the block are the items of lists (see
        `MultiValuedLearner`): an item that is missing is not a missing row.
        """
        name, values = self.spec.name, ()
        if self.spec.buckets is None:
            codes, values, kind = distinct_values(name, block, rows)
            missing = codes < 0
            counts = np.bincount(codes + 1, times, len(values) + 1)[1:]     # missing is code -1
        else:       # there is nothing to count
            missing, kind = block.isna().to_numpy(), value_kind(name, block, rows)
            kind = "empty" if missing.all() else kind
        if self.kind == "empty":
            self.kind = kind
        elif kind not in ("empty", self.kind):
            self.kind = common_kind(name, self.kind, kind)
        if times is None:
            self.n_missing += int(missing.sum())
        if len(values):
            self.n_occurrences += counts.sum()
            if self.values is None:
                self.values, self.counts = values, counts
            else:
                self.waiting.append((values, counts))
                self.n_waiting += len(values)
                # not after every block: merging costs as much as there are values in all
                if self.n_waiting > max(self.MERGE_AT, len(self.values)):
                    self.merge()
        return missing

    def merge(self):
        """Add the counts that are waiting; forget rare values if there are too many."""
        values, counts = zip((self.values, self.counts), *self.waiting, strict=True)
        if self.kind == "uint":         # some blocks may have held small numbers alone
            low, high = min(int(part.min()) for part in values), max(int(part.max()) for part in values)
            check_range(self.spec.name, low, high)
            values = [part.astype(np.uint64, copy=False) for part in values]
        values, counts = np.concatenate(values), np.concatenate(counts)
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

    def encoder(self, n_rows):
        """The encoder of all blocks so far, of ``n_rows`` rows."""
        spec, missing = self.spec, self.n_missing / n_rows
        if self.kind == "empty":
            raise ValueError(f"column {spec.name!r} has only missing values: leave it out of the fields")
        if spec.buckets is not None:
            return spec.encoder_class(spec, self.kind, None, 0.0, missing)
        if self.waiting:
            self.merge()
        if self.lost:
            warn(f"column {spec.name!r} has very many rare values: it was counted with at most {MAX_CANDIDATES:,} of "
                 f"them at a time, so that values which occur {spec.min_count} to {spec.min_count + self.lost - 1} "
                 f"times may be unknown as well; with buckets= there is nothing to count")
        frequent = self.counts >= spec.min_count
        unknown = float((self.n_occurrences - self.counts[frequent].sum()) / self.n_occurrences)
        return spec.encoder_class(spec, self.kind, np.sort(self.values[frequent]), unknown, missing)


def is_plain_int(dtype):
    """Whether a column of this dtype holds whole numbers within int64, and none is missing."""
    return isinstance(dtype, np.dtype) and dtype.kind in "iu" and np.can_cast(dtype, np.int64)


def ids_of_numbers(values):
    """The ids (C, 1) of all whole numbers from one below the lowest of these to one above the highest, and of missing.

    Parameters
    ----------
    values : (n,) int64, sorted.

    Returns: None where there are no values, for few of them over a wide range, and at the ends of int64.

    >>> ids_of_numbers(np.array([5, 7]))[:, 0]                    # of 4, 5, 6, 7, 8, and of a missing one
    array([0, 2, 0, 3, 0, 1], dtype=int32)
    """
    if not len(values):
        return None
    low, high = int(values[0]), int(values[-1])
    if high - low >= NUMBERS_A_VALUE * len(values) or low == -2**63 or high == 2**63 - 1:
        return None
    ids = np.full((high - low + 4, 1), UNKNOWN, np.int32)
    ids[values - low + 1, 0] = np.arange(FIRST_VALUE, FIRST_VALUE + len(values))
    ids[-1] = MISSING
    return ids


class CategoricalEncoder:
    """Every frequent value has an id of its own, or shares one of a fixed number of buckets.

    Parameters
    ----------
    spec : Categorical.
    kind : "str", "int", "uint", "float" or "bool".
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

    @functools.cached_property
    def _ids_of_numbers(self):
        """What `ids_of_numbers` gives, made when the first column of whole numbers comes; None for other kinds."""
        return ids_of_numbers(self.values) if self.kind == "int" and self.values is not None else None

    def encode(self, block, rows):
        """Cells (N,), ids (C, 1), no x. The last cell is the missing one: code -1 picks it."""
        if is_plain_int(block.dtype) and self._ids_of_numbers is not None:
            before, after = int(self.values[0]) - 1, int(self.values[-1]) + 1
            cells = np.clip(block.to_numpy().astype(np.int64, copy=False), before, after)
            return cells - before, self._ids_of_numbers, None
        cells, values, kind = distinct_values(self.spec.name, block, rows, self.kind)
        possible = True
        # the hash of whole numbers is one of their bits, with a sign or without
        if kind != self.kind and not (self.values is None and {kind, self.kind} <= {"int", "uint"}):
            values, possible = convert(values, kind, self.kind)
        if self.values is None:
            places = (hash_values(values) % np.uint64(self.n_values)).astype(np.int32)
        else:
            places = self._index.get_indexer(pd.Index(values, dtype=values.dtype)).astype(np.int32)     # -1: not there
        ids = np.where(possible & (places >= 0), places + np.int32(FIRST_VALUE), np.int32(UNKNOWN))
        return cells, np.append(ids, np.int32(MISSING))[:, None], None

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
