"""Slots are the one form in which every kind of field reaches the models.

A *slot* is an id and a weight x. A categorical field is one slot (id of the value, x = 1), a numerical
field is one slot (id of the field's vector, x = the number), a multi-valued field of q values is q slots
(x = 1/q each). The embedding looks up each slot's row, multiplies it by x and sums within the field.
"""

import numpy as np


class Slots:
    """N encoded rows have ids, weights, and a field for each slot.

    Parameters
    ----------
    ids : (N, S) array of whole numbers that fit int32, the row of the embedding table that each slot looks up.
    x : (N, S) float32 array of slot weights, or None when every weight is 1.
    starts : (M,) int array, the first slot of each of the M fields, starting at 0 and increasing.

    The attribute ``weighted`` is the slice of the slots outside which every x is 1.

    Examples
    --------
    Two rows, two fields; the second field holds up to two values:

    >>> import numpy as np
    >>> slots = Slots([[0, 3, 4], [1, 4, 4]], [[1, 0.5, 0.5], [1, 1, 0]], starts=[0, 1])
    >>> len(slots), slots.n_fields, slots.n_slots
    (2, 2, 3)
    >>> slots[:1].ids
    array([[0, 3, 4]], dtype=int32)
    """

    __slots__ = ("ids", "starts", "weighted", "x")

    def __init__(self, ids, x, starts):
        self.ids = np.ascontiguousarray(_int32(ids))
        self.x = None if x is None else np.ascontiguousarray(x, dtype=np.float32)
        self.starts = np.asarray(starts, dtype=np.intp)
        if self.ids.ndim != 2:
            raise ValueError(f"ids must have shape (rows, slots), got {self.ids.shape}")
        if self.x is not None and self.x.shape != self.ids.shape:
            raise ValueError(f"x has shape {self.x.shape}, ids have {self.ids.shape}: they must agree")
        self.weighted = None if self.x is None else _hull((self.x != 1).any(axis=0))
        increasing = len(self.starts) and self.starts[0] == 0 and (np.diff(self.starts) > 0).all()
        if not increasing or self.starts[-1] >= self.n_slots:
            raise ValueError(f"starts {self.starts.tolist()} must begin with 0, increase and stay "
                             f"below the {self.n_slots} slots of a row")

    def __len__(self):
        return len(self.ids)

    @property
    def n_fields(self):
        """Return M, the number of fields."""
        return len(self.starts)

    @property
    def n_slots(self):
        """Return S, the number of slots of a row."""
        return self.ids.shape[1]

    def __getitem__(self, rows):
        """Return rows of the table, by slice, mask or index array, as another Slots."""
        return Slots.trusted(self.ids[rows], None if self.x is None else self.x[rows], self.starts, self.weighted)

    @classmethod
    def trusted(cls, ids, x, starts, weighted):
        """Make Slots from arrays of the right dtypes and shapes, without checking them again."""
        slots = object.__new__(cls)
        slots.ids, slots.x, slots.starts, slots.weighted = ids, x, starts, weighted
        return slots

    def weighted_slots(self):
        """Return the slots whose x is other than 1 in some row: of these rows, not of the table they came from.

        >>> slots = Slots([[0, 3], [1, 4]], [[1, 0.5], [1, 1]], starts=[0, 1])
        >>> slots.weighted_slots(), slots[1:].weighted_slots()
        ([1], [])
        """
        return [] if self.x is None else np.flatnonzero((self.x != 1).any(axis=0)).tolist()

    def without_padding(self):
        """Return the same rows without slots that have the weight 0 in all of them; each field keeps its first slot.

        >>> Slots([[0, 3, 4], [1, 4, 4]], [[1, 1, 0], [1, 1, 0]], starts=[0, 1]).without_padding().ids.tolist()
        [[0, 3], [1, 4]]
        """
        if self.n_slots == self.n_fields or self.x is None:
            return self
        used = (self.x != 0).any(axis=0)
        used[self.starts] = True
        if used.all():
            return self
        return Slots(self.ids[:, used], self.x[:, used], used.cumsum()[self.starts] - 1)

    def check_ids(self, n):
        """Raise IndexError unless every id is in 0..n-1, naming the first that is not.

        >>> Slots([[0, -1]], None, starts=[0, 1]).check_ids(5)
        Traceback (most recent call last):
        ...
        IndexError: field 1, row 0: id -1 is outside 0..4 of a table of 5 rows; encode ...
        """
        # seen as unsigned numbers negative ids are huge, so that one comparison finds both kinds of error
        if self.ids.size and np.maximum.reduce(self.ids.view(np.uint32), axis=None) >= n:
            row, slot = np.argwhere((self.ids < 0) | (self.ids >= n))[0]
            field = np.searchsorted(self.starts, slot, side="right") - 1
            raise IndexError(
                f"field {field}, row {row}: id {self.ids[row, slot]} is outside 0..{n - 1} of a table of "
                f"{n} rows; encode the data with the encoder that the model was fitted with")

    def __repr__(self):
        weights = "all weights 1" if self.x is None else f"x {np.array2string(self.x[:3], precision=4, threshold=12)}"
        return (f"Slots of {len(self)} rows, {self.n_slots} slots in {self.n_fields} fields that start at "
                f"{self.starts.tolist()}: ids {np.array2string(self.ids[:3], threshold=12)}"
                f"{' ...' if len(self) > 3 else ''}, {weights}")


def _hull(marked):
    """The slice from the first marked place to the last; an empty one if none is."""
    places = np.flatnonzero(marked)
    return slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)


def _int32(ids):
    """ids as an int32 array; ValueError if that would change one of them, as 2**32 + 1 to 1, or 1.7 to 1."""
    ids = np.asarray(ids)
    if ids.dtype == np.int32:                                     # what encoders give: nothing to check
        return ids
    if ids.dtype.kind not in "iufb":
        raise ValueError(f"ids must be whole numbers of 0 to 2**31 - 1, got an array of {ids.dtype}; encode the data "
                         "first, with the encoder that the model was fitted with")
    with np.errstate(invalid="ignore"):                           # nan and inf: found by the comparison
        cast = ids.astype(np.int32)
    if not np.array_equal(cast, ids):
        where = tuple(np.argwhere(cast != ids)[0].tolist())
        raise ValueError(f"ids must be whole numbers of 0 to 2**31 - 1, got {ids[where]} at (row, slot) {where}; "
                         "encode the data with the encoder that the model was fitted with")
    return cast
