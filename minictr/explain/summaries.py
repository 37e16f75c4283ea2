"""The tables have in common that they go over the rows in chunks, and take means and intervals, by groups of rows."""

import numpy as np
import pandas as pd

from ..checks import as_table, is_whole
from ..estimator import Model
from ..estimator.predictions import check_logits
from ..fields.binned import BinnedEncoder
from ..fields.multi_valued import MultiValuedEncoder
from ..fields.numerical import NumericalEncoder
from ..layers import field_pairs, replica
from ..slots import Slots
from ..training import chunk_rows
from ..training.chunk_sizes import CHUNK_NUMBERS
from ..training.threads import one_blas_thread

# Means are over all rows. An interval needs its values all at once, so it is taken over evenly spaced rows: at most
# INTERVAL_ROWS of each group, fewer where their values would be more than INTERVAL_NUMBERS numbers (64 MB as float32).
INTERVAL_ROWS = 20_000
INTERVAL_NUMBERS = 2 ** 24
INTERVAL = "5th to 95th percentile over rows"
MAX_GROUPS = 50


class Groups:
    """Groups say which rows belong to which group; a row can be in several, or in none.

    Parameters
    ----------
    labels : the name of each of the G groups.
    row, group : equally long arrays, one entry for each membership, ascending by row.
    """

    def __init__(self, labels, row, group):
        self.labels, self.row, self.group = labels, row, group
        self.count = np.bincount(group, minlength=len(labels))                # rows of each group

    def evenly_spaced(self, limit):
        """Return for each membership whether it is one of at most ``limit`` evenly spaced ones of its group."""
        order = np.argsort(self.group, kind="stable")
        place = np.empty(len(order), np.int64)                                # 0, 1, 2, ... within the group
        place[order] = np.arange(len(order)) - np.repeat(np.cumsum(self.count) - self.count, self.count)
        stride = np.maximum(-(-self.count // limit), 1)
        return place % stride[self.group] == 0


def groups_of(model, X, by):
    """Return the Groups of the rows of X by a column's value, or by one label a row.

    A multi-valued field puts a row into the group of each of its values; the groups of a binned field are its bins.
    """
    X = as_table(X)
    if isinstance(by, str):
        if by not in X:
            raise ValueError(f"by={by!r} is no column of X, which has {list(X)}; give a column or one label a row")
        name, labels = repr(by), X[by]
        encoder = model.encoder_.encoders.get(by)
    else:
        name, labels, encoder = "by", pd.Series(by), None
        if len(labels) != len(X):
            raise ValueError(f"by has {len(labels)} labels and X has {len(X)} rows: each row needs one")
    if isinstance(encoder, (MultiValuedEncoder, BinnedEncoder)):
        slots = model.encoder_.encode(X, [by])
        row, slot = np.nonzero(np.ones(slots.ids.shape, bool) if slots.x is None else slots.x)
        offset = model.encoder_.offsets[model.encoder_.field_names.index(by)]
        ids, group = np.unique(slots.ids[row, slot] - offset, return_inverse=True)
        names = model.encoder_.feature_names(by)
        found = [names[id_] for id_ in ids]
        row, group = np.unique(np.stack([row, group]), axis=1)                # a value that a cell holds twice
    else:
        group, found = pd.factorize(labels, sort=True, use_na_sentinel=False)
        row, found = np.arange(len(X)), ["(missing)" if pd.isna(label) else label for label in found]
    if len(found) > MAX_GROUPS:
        cut = "pandas.cut(X[...], 4)" if isinstance(encoder, NumericalEncoder) else "pandas.cut, or replace rare values"
        raise ValueError(f"{name} has {len(found):,} different values, at most {MAX_GROUPS} make a table that can be "
                         f"read; give fewer, one label a row: by={cut}")
    return Groups(found, row, group)


def check_model(model):
    """Raise TypeError for what is no model of minictr, NotFittedError before ``fit``."""
    if not isinstance(model, Model):
        raise TypeError(f"expected a fitted model of minictr, got a {type(model).__name__}; for another function of a "
                        "table use explain.interaction_effects")
    model.check_fitted()


def check_drawn_rows(background, least):
    """Raise unless a background is how many rows of X to draw; ``contributions`` and others take a table of rows."""
    if isinstance(background, (pd.DataFrame, dict, list, np.ndarray)):
        raise TypeError(f"background is a number here, of the rows of X to draw, got a {type(background).__name__}; "
                        "pass the rows to draw from as X")
    if not is_whole(background, least=least):
        raise ValueError(f"background must be a whole number of at least {least}, got {background!r}")


def unit_of(model):
    """Return what a logit, or a predicted number, is counted in."""
    return "log-odds" if model.task_ == "binary" else "units of the target"


def pairs_of_fields(fields):
    """Return all pairs of fields by name, as the columns field_i and field_j."""
    i, j = field_pairs(len(fields))
    return pd.DataFrame({"field_i": [fields[a] for a in i], "field_j": [fields[b] for b in j]})


def summary_table(model, X, values_of, lines, by=None, numbers=0):
    """Return a table of mean, 5th and 95th percentile, over rows, of what ``values_of`` reads from a replica's caches.

    Parameters
    ----------
    values_of : function of a replica, and of the slice of X's rows that it has just gone forward over, that returns
        (B, C), a number for each of these B rows and each line.
    lines : DataFrame that says what each of the C columns is.
    by : None, or groups of rows: see ``groups_of``.   numbers : see ``forward_chunks``.

    Returns: ``lines`` with value, low and high, once for each group; ``attrs`` with interval, fields, rows (over
    which the means are) and interval_rows (over which the intervals are: all groups together).
    """
    model.check_fitted()
    N = len(as_table(X))
    if N == 0:
        raise ValueError("X has no rows: there is nothing to average over")
    groups = Groups([None], np.arange(N), np.zeros(N, np.intp)) if by is None else groups_of(model, X, by)
    G = len(groups.labels)
    sampled = groups.evenly_spaced(max(1, min(INTERVAL_ROWS, INTERVAL_NUMBERS // max(1, len(lines) * G))))
    total, sample = np.zeros((G, len(lines))), []
    for first, s, plain in forward_chunks(model, X, numbers):
        values = values_of(plain, slice(first, first + len(s)))               # (B, C)
        here = slice(*np.searchsorted(groups.row, [first, first + len(values)]))
        row, group, chosen = groups.row[here] - first, groups.group[here], sampled[here]
        member = np.zeros((G, len(values)))
        member[group, row] = 1
        total += member @ values.astype(np.float64)
        sample.append(values[row[chosen]])
    sample, owner = np.concatenate(sample), groups.group[sampled]
    low, high = (np.empty((G, len(lines)), sample.dtype) for _ in range(2))
    for g in range(G):
        low[g], high[g] = np.percentile(sample[owner == g] if G > 1 else sample, [5, 95], axis=0)
    table = lines.iloc[np.tile(np.arange(len(lines)), G)].reset_index(drop=True)
    if by is not None:
        table.insert(0, "group", [label for label in groups.labels for _ in range(len(lines))])
        table.insert(1, "rows", np.repeat(groups.count, len(lines)))
    table = table.assign(value=(total / groups.count[:, None]).ravel(), low=low.ravel(), high=high.ravel())
    table.attrs = {"interval": INTERVAL, "fields": list(model.feature_names_in_), "rows": N,
                   "interval_rows": len(sample)}
    if by is not None:
        table.attrs["by"] = by if isinstance(by, str) else getattr(by, "name", None) or "label"
    return table


def after_one_row(model):
    """Return a replica of a fitted model that has gone forward over one row: what it offers can be looked at there."""
    plain, M = replica(model), len(model.feature_names_in_)
    plain.forward(Slots(np.array(model.encoder_.offsets)[None, :M], None, np.arange(M)))
    return plain


def forward_chunks(model, X, numbers=0):
    """Run a replica of the model over X chunk by chunk, so that its caches hold one chunk after the other.

    The model's own caches stay as they are, and are not read: another thread may explain with it at the same time.
    ``numbers``: of a row, that are looked at beside what the model keeps; chunks are smaller where there are many.

    Yields: the number of the chunk's first row, its logits, and the replica.
    """
    yield from forward_slots(model, model.encoder_.encode(model.as_fields(X)), numbers)


def forward_slots(model, slots, numbers=0):
    """Do the same over rows that are encoded."""
    plain, size = replica(model), chunk_rows(model, slots) if len(slots) else 1
    size = min(size, max(1, CHUNK_NUMBERS // numbers)) if numbers else size
    for first in range(0, len(slots), size):
        # BLAS's own threads gain nothing on a chunk, and keep cores busy; what is not finite is reported
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            s = plain.forward(slots[first:first + size])
        check_logits(model, slots[first:first + size], s, first)
        yield first, s, plain
