"""What the training loop goes through: encoded rows, in windows, and what it measures itself by."""

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from ..layers import matches, named_layers


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

    >>> from minictr.slots import Slots
    >>> count_rows(Slots([[0, 2], [0, 1]], None, [0, 1]), 4)
    array([2, 1, 1, 0])
    """
    counts = np.zeros(n, np.int64)
    for start in range(0, len(slots), 100_000):                   # np.bincount copies the ids, as larger numbers
        rows = slice(start, start + 100_000)
        ids = slots.ids[rows] if slots.x is None else slots.ids[rows][slots.x[rows] != 0]
        counts += np.bincount(ids.ravel(), minlength=n)
    return counts


def fill_untrained_rows(model):
    """Give values that training never saw their field's mean row, weighted by how often each was seen.

    So an unknown user is scored as an average user: with the mean of the users' weights and vectors.
    """
    bounds = [*model.encoder_.offsets.tolist(), model.encoder_.n_ids]
    counts, untrained = model.row_counts_, model.row_counts_ == 0
    n_untrained = np.add.reduceat(untrained, bounds[:-1], dtype=np.int64).tolist()
    tables = [layer.params[name] for layer_name, layer in named_layers(model) for name in layer.tables
              if not matches(f"{layer_name}.{name}", model.freeze)]
    for (start, stop), n in zip(itertools.pairwise(bounds), n_untrained, strict=True):
        if n in (0, stop - start):
            continue
        share = (counts[start:stop] / counts[start:stop].sum()).astype(model.dtype)
        for table in tables:
            rows = table[start:stop]
            mean = share @ rows.reshape(len(rows), -1)            # whatever a row's shape
            rows[untrained[start:stop]] = mean.reshape(rows.shape[1:])
