"""A column whose cells hold several categories: its values are learned and have ids as in a column of categories."""

import itertools

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_scalar

from .categorical import MISSING, CategoricalEncoder, CategoricalLearner
from .columns import distinct_values, shown


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
