"""The rows that values weigh and are counted in, with what several tables of values take from them."""

import functools

import numpy as np

from ..checks import as_table
from ..layers import field_pairs
from .contribution_tables import terms_reader
from .summaries import check_model, forward_chunks
from .value_groups import FieldValues

KEPT_NUMBERS = 2 ** 24      # terms of pairs that are kept, those of all rows


class ValueRows:
    """A table whose rows say what values there are; what follows from it is worked out once for several calls.

    Pass it as X to ``pair_values`` and ``field_values`` of the same model.

    Parameters
    ----------
    model : a fitted model.   X : table of its fields, at least one row.

    Raises: ValueError for a table without rows.
    """

    def __init__(self, model, X):
        check_model(model)
        if not len(as_table(X)):
            raise ValueError("X has no rows, and values are counted and averaged over its rows: pass, for example, the "
                             "training rows")
        self.model, self.X = model, model.as_fields(X)
        self._values, self._readers = {}, {}

    def values(self, field, top, bins):
        """What the rows hold in a field, as FieldValues."""
        if field not in list(self.model.feature_names_in_):
            raise ValueError(f"{field!r} is not one of the fields {list(self.model.feature_names_in_)}")
        if (field, top, bins) not in self._values:
            self._values[field, top, bins] = FieldValues(self.model, self.X, field, top, bins)
        return self._values[field, top, bins]

    @functools.cached_property
    def first(self):
        """The first row, as Slots."""
        return self.model.encoder_.encode(self.X.iloc[:1])

    def reader(self, purified):
        """What reads a replica's terms, purified by means over the rows or as they are."""
        if purified not in self._readers:
            self._readers[purified] = terms_reader(self.model, self.X, purified, None)
        return self._readers[purified]

    @functools.cached_property
    def terms_of_pairs(self):
        """The terms of all pairs in each row, (N, P); None where they would be too many to be kept."""
        M = len(self.model.feature_names_in_)
        if len(self.X) * M * (M - 1) // 2 > KEPT_NUMBERS:
            return None
        return np.concatenate([plain.terms()["pairs"] for _, _, plain in forward_chunks(self.model, self.X)])

    def terms_of_pair(self, i, j):
        """The terms of the pair of the fields number i and j in each row, (N,), in float64."""
        pairs = np.stack(field_pairs(len(self.model.feature_names_in_)))
        (p,) = np.flatnonzero((pairs == np.sort([i, j])[:, None]).all(axis=0))
        if self.terms_of_pairs is not None:
            return self.terms_of_pairs[:, p].astype(np.float64)
        return np.concatenate([plain.terms()["pairs"][:, p].astype(np.float64)
                               for _, _, plain in forward_chunks(self.model, self.X)])
