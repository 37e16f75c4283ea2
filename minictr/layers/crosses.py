"""Crosses of several fields: a weight for each combination of their values."""

import numpy as np

from ..slots import Slots
from .embedding import Linear

MULTIPLIER = 2_654_435_761          # near 2^32 / golden ratio, and odd: spreads ids that follow one another


class Crosses(Linear):
    """One weight for every combination of values of some fields: Wide&Deep's cross-product transformations.

        out = sum_c w_{h(c)} prod_{i in c} x_i       over the crosses c of fields      (Cheng et al. 2016, eq. 1)

    h, a hash of the ids, gives each combination one of the ``buckets`` weights of its cross: there are too many for a
    weight each, and two that fall into one bucket share it. A field of several values has a combination for each of
    them, with the product of their x.

    Backward: as ``Linear``'s, with the crosses as fields.

    Parameters
    ----------
    crosses : tuples of fields' numbers, e.g. ((0, 1), (0, 2)).   buckets : weights of each cross, 2^31 of all at most.

    Shapes: Slots of B rows in, (B,) out. All weights start at 0, and there is no bias.

    >>> from minictr.slots import Slots
    >>> layer = Crosses([(0, 1)], buckets=1_000)
    >>> layer.params["w"][:] = 1
    >>> layer.forward(Slots([[0, 2, 3], [1, 4, 4]], [[1, 0.5, 0.25], [1, 1, 0]], starts=[0, 1]))
    array([0.75, 1.  ], dtype=float32)
    """

    tables = ()                                                   # the rows are not those of the fields' ids

    def __init__(self, crosses, buckets, dtype=np.float32):
        if len(crosses) * buckets > 2 ** 31:
            raise ValueError(f"{len(crosses)} crosses of {buckets} buckets each have more weights than the 2**31 that "
                             f"ids can number; buckets, WideDeep's cross_buckets, is at most {2**31 // len(crosses)}")
        super().__init__(len(crosses) * buckets, bias=False, dtype=dtype)
        self.crosses, self.buckets = crosses, buckets

    def forward(self, slots):
        return super().forward(self.crossed(slots))               # (B,)       sum_c w_{h(c)} prod_{i in c} x_i

    def crossed(self, slots):
        """Slots that have crosses for fields: the weight of each combination of values, and the product of their x."""
        bounds = [*slots.starts.tolist(), slots.n_slots]
        all_ids, all_x, starts = [], [], [0]
        for number, cross in enumerate(self.crosses):
            ids, x = np.zeros((len(slots), 1), np.int64), np.ones((len(slots), 1), self.params["w"].dtype)
            for field in cross:
                of_field = slice(bounds[field], bounds[field + 1])
                ids = every_two(hashed, ids, slots.ids[:, of_field]) % self.buckets       # (B, combinations)
                if slots.x is not None:
                    x = every_two(np.multiply, x, slots.x[:, of_field])
            all_ids.append(ids + number * self.buckets)
            all_x.append(x)
            starts.append(starts[-1] + ids.shape[1])
        ids = np.concatenate(all_ids, axis=1).astype(np.int32)
        x = None if slots.x is None else np.concatenate(all_x, axis=1)
        return Slots.trusted(ids, x, np.array(starts[:-1]), slice(0, starts[-1]))


def every_two(function, a, b):
    """A function of each number of a row of a (B, p) with each of b (B, q): (B, p q)."""
    return function(a[:, :, None], b[:, None, :]).reshape(len(a), -1)


def hashed(bucket, ids):
    """A bucket and an id, mixed into one whole number of 0 to 2^63 - 1, in the same way on every machine."""
    mixed = bucket * MULTIPLIER + ids
    return mixed ^ (mixed >> 29)
