"""What the training loop goes through: encoded rows, in windows, and what it measures itself by."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from ..slots import Slots


@dataclasses.dataclass
class TrainingData:
    """Encoded rows to train on, and to validate on.

    Parameters
    ----------
    windows : iterable of (Slots, y, weights or None), gone through once an epoch: rows that are shuffled together.
    n_rows : how many rows these are in all.
    targets : (y, weights or None) of all rows, or of some with the same mean and spread.
    validation : (Slots, y, weights or None), or None.
    """

    windows: Iterable
    n_rows: int
    targets: tuple
    validation: tuple | None = None


def count_rows(slots, n):
    """How often each of a table's n rows is looked up, (n,); slots of weight 0 only fill up a multi-valued field.

    >>> count_rows(Slots([[0, 2], [0, 1]], None, [0, 1]), 4)
    array([2, 1, 1, 0])
    """
    counts = np.zeros(n, np.int64)
    for start in range(0, len(slots), 100_000):                   # np.bincount copies the ids, as larger numbers
        rows = slice(start, start + 100_000)
        ids = slots.ids[rows] if slots.x is None else slots.ids[rows][slots.x[rows] != 0]
        counts += np.bincount(ids.ravel(), minlength=n)
    return counts


# ---- windows of encoded rows: tuples (Slots, y, weights or None) ---------------------------------------------

def join(parts):
    """One part from several, their rows in order."""
    if len(parts) == 1:
        return parts[0]
    slots, y, c = zip(*parts, strict=True)
    ids = np.concatenate([part.ids for part in slots])
    x = None if slots[0].x is None else np.concatenate([part.x for part in slots])
    weighted = None
    if x is not None:
        weighted = slice(min(part.weighted.start for part in slots), max(part.weighted.stop for part in slots))
    joined = Slots.trusted(ids, x, slots[0].starts, weighted)
    return joined, np.concatenate(y), None if c[0] is None else np.concatenate(c)


def take(part, rows):
    """These rows of a part, by slice or index array."""
    slots, y, c = part
    return slots[rows], y[rows], None if c is None else c[rows]


def cut_windows(parts, n_rows):
    """Join and cut parts so that each has ``n_rows`` rows, the last what is left.

    >>> slots = Slots([[0], [1], [2]], None, starts=[0])
    >>> parts = [(slots, np.array([0, 1, 2]), None), (slots, np.array([3, 4, 5]), None)]
    >>> [y.tolist() for _, y, _ in cut_windows(parts, 4)]
    [[0, 1, 2, 3], [4, 5]]
    """
    gathered, missing = [], n_rows
    for part in parts:
        start, length = 0, len(part[1])
        while length - start >= missing:
            window = join([*gathered, take(part, slice(start, start + missing))])
            gathered, start, missing = [], start + missing, n_rows
            yield window
        if start < length:
            gathered.append(take(part, slice(start, length)))
            missing -= length - start
    if gathered:
        yield join(gathered)
