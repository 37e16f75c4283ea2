"""A column whose cells hold several categories: its values are learned and have ids as in a column of categories."""

import itertools

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_scalar

from .categorical import MISSING, CategoricalEncoder, CategoricalLearner
from .columns import shown

MAX_PADDED = 2 ** 26    # slots of a column (0.5 GB) of which a tenth at least must hold values


class MultiValuedLearner(CategoricalLearner):
    """Counts the values in the cells of a training column."""

    def add(self, block, rows):
        """Learn from one more block."""
        cells, sizes, values, first_rows = split_cells(self.spec, block, rows)
        rows_of_cell = np.bincount(cells, minlength=len(sizes))
        missing = super().add(values, first_rows, times=np.repeat(rows_of_cell, sizes))
        lengths = without_missing(sizes, missing)
        self.n_missing += int(rows_of_cell[lengths == 0].sum())
        self.width = max(self.width, int(lengths.max()))


class MultiValuedEncoder(CategoricalEncoder):
    """A cell holds q values: q ids as a category has them, with the weight 1/q each."""

    text = "multi-valued"
    learner_class = MultiValuedLearner

    def encode(self, block, rows):
        """Cells (N,), ids and x (C, Q), where Q is the length of the block's longest cell."""
        cells, sizes, values, first_rows = split_cells(self.spec, block, rows)
        codes, ids_of_values, _ = super().encode(values, first_rows)
        lengths = without_missing(sizes, codes < 0)
        check_padding(self.spec.name, lengths[cells], rows, lengths.max())
        filled = np.arange(max(lengths.max(), 1)) < lengths[:, None]
        ids = np.full(filled.shape, MISSING, np.int32)
        ids[filled] = ids_of_values[codes[codes >= 0], 0]
        x = filled * np.float32(1 / np.maximum(lengths, 1))[:, None]
        x[lengths == 0, 0] = 1
        return cells, ids, x


def check_padding(name, lengths, rows, width):
    """Raise ValueError where a column's slots would be nearly all padding, for the sake of few long cells.

    Parameters
    ----------
    lengths : (N,) how many values each of the rows holds.   rows : their numbers.   width : slots that each would take.
    """
    n_slots = len(lengths) * int(width)
    if n_slots > MAX_PADDED and lengths.sum() < n_slots / 10:
        longest = int(np.argmax(lengths))
        raise ValueError(
            f"column {name!r}, row {rows[longest]}: this cell holds {int(lengths[longest]):,} values, and cells of the "
            f"table {lengths.mean():.3g} on average. Each row takes {width:,} slots, as many as the fullest cell: "
            f"{8 * n_slots / 2**30:,.1f} GB for {len(lengths):,} rows. Leave values out of the fullest cells, or give "
            "fewer rows at a time (fit and partial_fit take a table in pieces)")


def split_cells(spec, block, rows):
    """Split the cells of a multi-valued block, and put their values in a row, to be read as a column of categories.

    Returns each row's cell (N,), the number of items of each cell (C,), the items of all cells one after the other, a
    Series (V,), and for each item the number of the first row that holds it (V,). Items can be missing.
    """
    if isinstance(block.dtype, pd.CategoricalDtype) or infer_dtype(block, skipna=True) == "string":
        cells, contents = pd.factorize(block)  # each distinct text is split once
    else:
        cells, contents = np.arange(len(block)), block.astype(object)  # lists: each is its own
    lists = [content if isinstance(content, (list, tuple)) else as_list(spec, content) for content in contents]
    lists.append([])  # the cell of the missing rows
    cells = np.where(cells < 0, len(lists) - 1, cells)
    first_row = np.empty(len(lists), np.int64)
    first_row[cells[::-1]] = np.arange(rows.start, rows.stop)[::-1]  # backwards: a cell's first row is written last
    sizes = np.fromiter(map(len, lists), np.int64, len(lists))
    values = pd.Series(list(itertools.chain.from_iterable(lists)), dtype=object)
    return cells, sizes, values, np.repeat(first_row, sizes)


def without_missing(sizes, missing):
    """How many values each cell holds (C,): the number of its items, without those that are missing."""
    if not missing.any():
        return sizes
    cell_of_item = np.repeat(np.arange(len(sizes)), sizes)
    return sizes - np.bincount(cell_of_item[missing], minlength=len(sizes))


def as_list(spec, content):
    """The values of one multi-valued cell."""
    if isinstance(content, str):
        return [part for part in content.split(spec.sep) if part]
    if isinstance(content, (set, frozenset)):
        return sorted(content, key=str)  # a set's own order differs from process to process
    if isinstance(content, (list, tuple)) or (isinstance(content, np.ndarray) and content.ndim == 1):
        return list(content)
    if is_scalar(content) and pd.isna(content):
        return []
    raise TypeError(f"column {spec.name!r} is MultiValued: a row holds text like 'a{spec.sep}b' or "
                    f"a list, but here is {shown(content)} ({type(content).__name__})")
