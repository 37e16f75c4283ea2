"""Fast twins of whole models, for scoring alone: no backward pass will ask for what was computed on the way.

``predict_logits`` puts one in the place of a model that is exactly as ``minictr.models`` has it, with all layers as
``minictr.layers`` has them: what somebody changed runs its own code. A test holds each to its plain model.
"""

import itertools

import numpy as np

from ..layers import Dropout, named_layers
from .fast_functions import sum_last
from .twins import is_as_written, remember


class FastFM:
    """Scores with FM from one look-up of vectors and one of numbers.

        sum_{i<j} <e_i, e_j> = 1/2 |sum_i e_i|^2 - 1/2 sum_i |e_i|^2          (Rendle 2010, lemma 3.1)

    For a field of one value with x = 1, |e_i|^2 = |v_i|^2 is a number of that value, the same in each row. It joins
    the value's weight:

        u_i = w_i - 1/2 |v_i|^2,      s = w_0 + sum_i u_i + 1/2 |sum_i e_i|^2

    Fields are added one after the other, in long calls: calls of a few microseconds gain nothing from a second thread,
    as handing on Python's lock takes as long. Measured, it takes half of the time of FM's fast layers on one thread.

    Parameters
    ----------
    model : an FM after ``start``.
    """

    def __init__(self, model):
        self.w, self.w0 = (model.linear.params[name] for name in ("w", "w0"))
        self.V = model.embedding.params["V"]
        self.u = None

    def numbers_of_a_row(self, n_slots):
        """How many numbers of 4 bytes a row keeps in the cache: its ids, of 8 bytes, two vectors, s and u_i."""
        return 2 * n_slots + 2 * self.V.shape[1] + 2

    def suits(self, slots):
        """Whether these rows have no fewer look-ups than there are ids: else u would cost more than it saves."""
        return slots.ids.size >= len(self.V)

    def forward(self, slots):
        slots.check_ids(len(self.V))
        if self.u is None:
            self.u = self.w - 0.5 * sum_last(self.V * self.V)     # (n,)       w_i - 1/2 |v_i|^2
        ids = slots.ids.T.astype(np.intp, order="C")              # (S, B)     as ``take`` wants them
        out = np.full(len(slots), self.w0[0])                     # (B,)       w_0
        total = np.zeros((len(slots), self.V.shape[1]), self.V.dtype)
        for start, stop in itertools.pairwise([*slots.starts.tolist(), slots.n_slots]):
            if stop - start == 1 and not slots.is_weighted(start):
                out += self.u.take(ids[start])                    #            + u_i
                total += self.V.take(ids[start], axis=0)          # (B, k)     + e_i
            else:
                e_i = 0
                for slot in range(start, stop):
                    x = 1 if slots.x is None else slots.x[:, slot]
                    out += self.w.take(ids[slot]) * x             #            + w_i x_i
                    e_i = e_i + self.V.take(ids[slot], axis=0) * np.reshape(x, (-1, 1))
                out -= 0.5 * sum_last(e_i * e_i)                  #            - 1/2 |e_i|^2
                total += e_i
        total *= total
        out += 0.5 * sum_last(total)                              #            + 1/2 |sum_i e_i|^2
        return out


TWINS = {"FM": FastFM}      # by name: models stand above this storey
remember(Dropout)


def twin_for_scoring(model):
    """A model's fast twin, or None: there is none, it is to be plain, or something of the model is not as written."""
    if model.plain or type(model).__name__ not in TWINS:
        return None
    layers = [layer for _, layer in named_layers(model)]
    unchanged = all(map(is_as_written, [model, *layers])) and not any(layer.training for layer in layers)
    return TWINS[type(model).__name__](model) if unchanged else None
