"""The values of a field in groups: each frequent value by itself, numbers in bins, and what is left as one group."""

import numpy as np
import pandas as pd

from ..fields.binned import BinnedEncoder
from ..fields.multi_valued import MultiValuedEncoder
from ..fields.numerical import NumericalEncoder
from ..slots import Slots

MISSING_TEXT = "(missing)"


class FieldValues:
    """What the rows of a table hold in one field: entries, each a row with one of its values, and groups of values.

    A row has one entry, of a multi-valued field one for each different value that it holds.

    Attributes
    ----------
    labels : text of the G groups. Numbers, and bins of them, ascend; of other values the most frequent are first.
    at : {label: number} of groups that are a number or a bin (of a bin, the mean of its rows).
    row, value, group, weight : of the E entries, ascending by row: the row, the number of the value, the group, and the
        share that the entry has of its row, 1 unless the row has several, as the model weighs it.
    ids, x : of the V different values: the id within all fields, and its weight. A value of a multi-valued field has
        weight 1, as if it were alone in its cell.
    rows : how many rows have an entry in each group (G,).
    """

    def __init__(self, model, X, field, top, bins):
        encoder = model.encoder_
        self.place, self.n_rows = encoder.field_names.index(field), len(X)
        kind, slots = encoder.encoders[field], encoder.encode(X, [field])
        self.at = {}
        if isinstance(kind, NumericalEncoder):
            self.row, self.weight = np.arange(len(X)), np.ones(len(X))
            held, self.value = np.unique(np.column_stack([slots.ids, slots.x]), axis=0, return_inverse=True)
            self.ids, self.x = held[:, 0].astype(np.int32), held[:, 1].astype(np.float32)
            self._group_numbers(numbers_of(X[field]), bins)
        else:
            self.row, slot = np.nonzero(np.ones(slots.ids.shape, bool) if slots.x is None else slots.x)
            self.weight = np.ones(len(self.row))
            self.ids, self.value = np.unique(slots.ids[self.row, slot], return_inverse=True)
            if isinstance(kind, MultiValuedEncoder):              # a value that a cell holds twice is one entry
                held, entry = np.unique(np.stack([self.row, self.value.ravel()]), axis=1, return_inverse=True)
                self.weight = np.bincount(entry.ravel(), slots.x[self.row, slot])
                self.row, self.value = held
            self.x = np.ones(len(self.ids), np.float32)
            texts, places = kind.labels(), self.ids - encoder.offset_of[field]
            ordered = isinstance(kind, BinnedEncoder) or kind.kind in ("int", "uint", "float")
            # a value that is called like what is no value is in quotation marks
            shown = [repr(texts[place]) if place >= 2 and texts[place] in texts[:2] else texts[place]
                     for place in places]
            self._group_values(shown, places >= 2, ordered, top)
            if isinstance(kind, BinnedEncoder):
                means = pd.Series(numbers_of(X[field])).groupby(self.group).mean()
                self.at = {self.labels[group]: mean for group, mean in means.items() if not np.isnan(mean)}
        self.value = self.value.ravel()                           # NumPy 2.0.0 kept the two dimensions
        self.rows = rows_of_groups(self.group, self.row, self.n_rows, len(self.labels))

    def _group_numbers(self, numbers, bins):
        present = numbers[~np.isnan(numbers)]
        starts = bin_starts(present, bins)
        group = np.where(np.isnan(numbers), len(starts), np.searchsorted(starts, numbers, side="right") - 1)
        ends = pd.Series(numbers).groupby(group).agg(["min", "max", "mean"]).iloc[:len(starts)]
        self.labels = range_texts(ends["min"], ends["max"])
        self.at = dict(zip(self.labels, ends["mean"].tolist(), strict=True))
        self.labels += [MISSING_TEXT] * (len(present) < len(numbers))
        self.group = group

    def _group_values(self, texts, is_value, ordered, top):
        """Most frequent first, or ascending if ``ordered``; those of training come before unknown and missing."""
        count = np.bincount(self.value, minlength=len(texts))
        ranked = np.lexsort((np.arange(len(texts)), -count))
        shown = ranked[:top] if len(texts) > top + 1 else ranked   # "1 other" is better called by its name
        if ordered:
            shown = np.sort(shown)
        shown = np.concatenate([shown[is_value[shown]], shown[~is_value[shown]]])
        group = np.full(len(texts), len(shown))
        group[shown] = np.arange(len(shown))
        self.labels = [texts[place] for place in shown]
        if len(shown) < len(texts):
            others = f"({len(texts) - len(shown):,} others)"
            self.labels = [repr(label) if label == others else label for label in self.labels] + [others]
        self.group = group[self.value]

    def means(self, table):
        """The mean over a group's entries of a table of the values: (V, k) -> (G, k)."""
        sums = [np.bincount(self.group, self.weight * column[self.value]) for column in table.T]
        return np.stack(sums, axis=1) / self.weights()[:, None]

    def mean(self, table):
        """The mean over the rows of a table of the values: (V, k) -> (k,)."""
        return np.bincount(self.value, self.weight, len(self.ids)) @ table / self.n_rows

    def weights(self):
        """What each group weighs: (G,), the rows of the table together."""
        return np.bincount(self.group, self.weight)

    def draw(self, n, rng):
        """n values of each group, (G, n): evenly spaced among those of its entries, put in random order."""
        drawn = np.empty((len(self.labels), n), np.intp)
        for group, own in enumerate(drawn):
            entries = np.flatnonzero(self.group == group)
            entries = entries[np.argsort(self.value[entries], kind="stable")]
            passed = np.cumsum(self.weight[entries])
            places = np.searchsorted(passed, (np.arange(n) + rng.random()) / n * passed[-1], side="right")
            own[:] = rng.permutation(self.value[entries[np.minimum(places, len(entries) - 1)]])
        return drawn

    def put(self, slots, values):
        """Slots in which this field holds the given values, one for each of the B rows, and the others what they held.

        A multi-valued field holds the value alone.
        """
        ids, x = slots.ids.copy(), None if slots.x is None else slots.x.copy()
        bounds = [*slots.starts.tolist(), slots.n_slots]
        start, stop = bounds[self.place:self.place + 2]
        ids[:, start] = self.ids[values]
        if x is not None:
            x[:, start] = self.x[values]
            x[:, start + 1:stop] = 0
        return Slots(ids, x, slots.starts)


def bin_starts(numbers, bins):
    """Where bins of numbers start, ascending: of each different number, or of about equally many if there are more.

    >>> bin_starts(np.array([3.0, 1.0, 3.0]), 5), bin_starts(np.arange(10.0), 2)
    (array([1., 3.]), array([0., 5.]))
    """
    starts = np.unique(numbers)
    if len(starts) <= bins:
        return starts
    return np.unique([starts[0], *np.quantile(numbers, np.arange(1, bins) / bins, method="higher")])


def numbers_of(column):
    """A column of numbers as float64, NaN where missing."""
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def range_texts(low, high):
    """The texts of numbers, or of ranges of them, with as many digits as it takes to tell them apart.

    >>> range_texts([0.5, 1.23456], [0.5, 1.5]), range_texts([10.0, 10.001], [10.0, 10.001])
    (['0.5', '1.235 to 1.5'], ['10', '10.001'])
    """
    for digits in (4, 6, 9, 12, 17):
        texts = [f"{a:.{digits}g}" if a == b else f"{a:.{digits}g} to {b:.{digits}g}"
                 for a, b in zip(low, high, strict=True)]
        if len(set(texts)) == len(texts):
            break
    return texts


def rows_of_groups(group, row, n_rows, n_groups):
    """How many different rows have an entry in each group, from the group and the row of each entry, by row: (G,)."""
    if not (np.diff(row) > 0).all():                              # a row may have several entries in a group
        group = np.unique(group.astype(np.int64) * n_rows + row) // n_rows
    return np.bincount(group, minlength=n_groups)


def entries_of_both(one, other):
    """Which entry of one field goes with which of another in the same row: two equally long arrays, by row.

    A row has each of its entries in the one field with each of those in the other.
    """
    sizes = np.bincount(other.row, minlength=other.n_rows)        # each row's entries in the other field
    starts = np.cumsum(sizes) - sizes
    times = sizes[one.row]
    mine = np.repeat(np.arange(len(one.row)), times)
    within = np.arange(len(mine)) - np.repeat(np.cumsum(times) - times, times)
    return mine, starts[one.row[mine]] + within
