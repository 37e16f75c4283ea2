"""Encoded rows, taken, joined and cut: each part is a tuple (Slots, y, weights or None).

A *piece* comes from a file, a *window* is shuffled together, a *batch* makes one step, a *chunk* fits the cache.
"""

import numpy as np

from ..slots import Slots


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
