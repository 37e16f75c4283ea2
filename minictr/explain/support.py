"""How many rows of a background hold the values that a term of one prediction is about."""

import numpy as np
import pandas as pd

from ..fields.numerical import NumericalEncoder
from .value_groups import bin_starts, numbers_of

BINS = 10                       # of about equally many rows, for fields of numbers


class Support:
    """Counts the rows of a background that hold the same values as another row, in some of the fields.

    A value is the same if the model takes it for the same. A number is the same if it lies in the same of 10 bins of
    about equally many rows (if there are at most 10 different numbers: if it is equal), a cell of several values is if
    the other cell holds all of them, perhaps beside others.

    Parameters
    ----------
    model : a fitted model.   background : table of its fields.
    """

    def __init__(self, model, background):
        self.model, self.background = model, model.as_fields(background)
        self.encoder, self._held = model.encoder_, {}

    def count(self, X, names):
        """How many rows hold the values of each row of X, for each term: (N, terms), NaN where it names no field.

        ``names`` : a table with the columns field_i, field_j and perhaps field_l, as ``all_terms`` gives.
        """
        X, fields = self.model.as_fields(X), list(self.encoder.field_names)
        same = [self._same(X, field) for field in fields]         # for each field a function of a row
        columns = [column for column in ("field_i", "field_j", "field_l") if column in names]
        terms = [[fields.index(name) for name in line if name in fields] for line in names[columns].to_numpy()]
        counts = np.full((len(X), len(terms)), np.nan)
        for row in range(len(X)):
            masks = [mask(row) for mask in same]
            for t, of_term in enumerate(terms):
                if of_term:
                    counts[row, t] = np.count_nonzero(np.logical_and.reduce([masks[i] for i in of_term]))
        return counts

    def _same(self, X, field):
        """A function of a row of X that says which rows of the background hold the same in this field, (n,) bool."""
        if isinstance(self.encoder.encoders[field], NumericalEncoder):
            return self._same_number(numbers_of(X[field]), self._background(field, self._numbers))
        mine, theirs = self.encoder.encode(X, [field]), self._background(field, self._encoded)
        held = np.ones(mine.ids.shape, bool) if mine.x is None else mine.x != 0
        theirs_held = True if theirs.x is None else theirs.x != 0
        return lambda row: np.logical_and.reduce([((theirs.ids == id_) & theirs_held).any(axis=1)
                                                  for id_ in np.unique(mine.ids[row][held[row]])])

    def _background(self, field, read):
        """A column of the background as ``read`` gives it: read once, however many rows are asked for."""
        if field not in self._held:
            self._held[field] = read(field)
        return self._held[field]

    def _encoded(self, field):
        return self.encoder.encode(self.background, [field])

    def _numbers(self, field):
        self._encoded(field)                                      # raises where a cell is no number
        return numbers_of(self.background[field])

    @staticmethod
    def _same_number(mine, theirs):
        present = theirs[~np.isnan(theirs)]
        starts = bin_starts(present, BINS)
        few = len(starts) == len(np.unique(present))              # each different number is a bin

        def same(row):
            number = mine[row]
            if np.isnan(number) or few:
                return np.isnan(theirs) if np.isnan(number) else theirs == number
            place = np.searchsorted(starts, number, side="right")
            inside = present.min() <= number <= present.max()
            return (np.searchsorted(starts, theirs, side="right") == place) & ~np.isnan(theirs) & inside

        return same


def with_support(table, model, X, background, names):
    """The table of terms, one line each for each row of X, with a column ``rows``; of a table, or its Support."""
    support = background if isinstance(background, Support) else Support(model, background)
    counts = support.count(X, names)
    table["rows"] = pd.array(counts.ravel(), dtype="Int64")       # NaN becomes missing
    table.attrs["n_rows"] = len(support.background)
    return table
