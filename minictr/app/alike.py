"""How many rows of a table are typically alike in some fields: what a term of these fields rests on."""

import numpy as np

from ..explain.support import BINS
from ..explain.value_groups import bin_starts
from ..fields.multi_valued import MultiValuedEncoder
from ..fields.numerical import NumericalEncoder

MANY = 2 ** 22              # combinations of two values, from which on they are sorted and not counted in a table


class Alike:
    """The rows of a table, of which some hold the same values in a field, as the model tells values apart.

    Values that the model takes for the same, such as all that are unknown to it, are the same; numbers are alike
    within a tenth of those that are there, as in ``Support``; a cell of several values is like those that hold the same
    ones.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(500, seed=0)
    >>> alike = Alike(FM(epochs=1).fit(clicks.X, clicks.y), clicks.X)
    >>> alike.typical("device") == int(clicks.X.groupby("device")["hour"].transform("size").median())
    True
    """

    def __init__(self, model, X):
        encoder, slots = model.encoder_, model.encoder_.encode(X)
        self._typical, self.codes = {}, {}                        # codes: of each field, a whole number for each row
        for field, (name, start) in enumerate(zip(encoder.field_names, slots.starts, strict=True)):
            stop = slots.starts[field + 1] if field + 1 < slots.n_fields else slots.n_slots
            ids, x = slots.ids[:, start:stop], None if slots.x is None else slots.x[:, start:stop]
            if isinstance(encoder.encoders[name], NumericalEncoder):
                missing = ids[:, 0] - encoder.offsets[field]      # 0 of a number
                starts = bin_starts(x[missing == 0, 0], BINS)
                code = np.searchsorted(starts, x[:, 0], side="right") * 2 + missing
            elif isinstance(encoder.encoders[name], MultiValuedEncoder):
                held = np.sort(np.where(x != 0, ids, -1), axis=1)
                code = np.unique(held, axis=0, return_inverse=True)[1].ravel()
            else:
                code = ids[:, 0] - encoder.offsets[field]
            self.codes[name] = code.astype(np.int64)

    def typical(self, *fields):
        """How many rows are like a row in these fields: the median over the rows."""
        if fields not in self._typical:
            self._typical[fields] = self._median_of_counts(fields)
        return self._typical[fields]

    def _median_of_counts(self, fields):
        code = np.int64(0)
        for field in fields:
            code = code * (self.codes[field].max() + 1) + self.codes[field]
        if code.max() >= MANY:
            code = np.unique(code, return_inverse=True)[1].ravel()
        return int(np.median(np.bincount(code)[code]))
