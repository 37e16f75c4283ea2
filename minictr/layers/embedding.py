"""From slots to vectors: the embedding e_i = v_i x_i and the first-order term w_0 + sum_i w_i x_i."""

import itertools

import numpy as np

from .base import Layer
from .functions import sum_last, sum_middle


class RowGradient:
    """The gradient of a table of which a batch looked up only some rows.

    One value per looked-up slot, in the order of ``slots.ids``; an id that occurs twice has two values, and
    the gradient of its row is their sum. What ``sum`` costs depends on the batch, not on the table.

    Parameters
    ----------
    slots : the batch's Slots, B rows of S slots.
    parts : the values, (B * S, k) for a table of vectors, (B * S,) for a table of numbers; in one array, or in
        several, of consecutive rows of the batch.

    Examples
    --------
    >>> from minictr.slots import Slots
    >>> gradient = RowGradient(Slots([[7, 2], [7, 5]], None, [0, 1]), np.array([1.0, 10.0, 2.0, 20.0]))
    >>> rows, sums = gradient.sum()
    >>> rows, sums
    (array([2, 5, 7], dtype=int32), array([10., 20.,  3.]))
    """

    def __init__(self, slots, *parts):
        self.slots = slots
        self.parts = parts

    @property
    def values(self):
        """All parts in one array."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)

    def sum(self):
        """The touched rows (U,), each once and ascending, and the summed gradient of each, (U, k) or (U,)."""
        rows, position = self.slots.distinct_ids()
        sums = np.zeros((len(rows), *self.parts[0].shape[1:]), self.parts[0].dtype)
        # np.add.at counts every repetition (sums[position] += values would keep one of them), and is fast on flat
        # arrays only: so each number of each value gets the flat place of its sum. Numbers go in twos, as the real
        # and the imaginary part of a complex one: the sum of each part is the same, in half as many additions.
        flat_sums = in_twos(sums)
        places = np.arange(flat_sums.size).reshape(len(rows), -1)
        start = 0
        for values in self.parts:
            stop = start + len(values)
            np.add.at(flat_sums, places.take(position[start:stop], axis=0).reshape(-1), in_twos(values))
            start = stop
        return rows, sums

    def dense(self, n):
        """The same gradient as an array of all n rows, zeros included."""
        rows, sums = self.sum()
        gradient = np.zeros((n, *sums.shape[1:]), sums.dtype)
        gradient[rows] = sums
        return gradient


def in_twos(array):
    """A flat view of an array, two numbers as one complex number where its rows have an even length.

    >>> in_twos(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1.+2.j, 3.+4.j])
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    even = array.ndim == 2 and array.shape[1] % 2 == 0
    return flat.view(np.result_type(array.dtype, np.complex64)) if even else flat


def sum_within_fields(values, slots):
    """Add up the slots of each field: (B, S, k) -> (B, M, k)."""
    if slots.n_slots == slots.n_fields:
        return values
    B, _, k = values.shape
    sums = np.empty((B, slots.n_fields, k), values.dtype)
    bounds = [*slots.starts.tolist(), slots.n_slots]
    for field, (start, stop) in enumerate(itertools.pairwise(bounds)):
        # np.add.reduceat does it in one line, in six times the time
        sums[:, field] = values[:, start] if stop - start == 1 else sum_middle(values[:, start:stop])
    return sums


def repeat_over_slots(values, slots):
    """The inverse direction, for gradients: each slot gets its field's value, (B, M, ...) -> (B, S, ...)."""
    if slots.n_slots == slots.n_fields:
        return values
    widths = np.diff(slots.starts, append=slots.n_slots)
    return np.repeat(values, widths, axis=1)


class Embedding(Layer):
    """Give every value of every field a vector, and scale it by the slot's weight x.

        e_i = sum over the slots s of field i of  V[id_s] x_s

    which is v_i x_i for a category (x = 1) or a number, and the mean of the values' vectors for a
    multi-valued field (x = 1/q).                        (AutoInt, Song et al. 2019, eq. 2-4; FM: v_i x_i)

    Backward:  dV[id_s] += x_s de_i, row-sparse (see RowGradient).

    Parameters
    ----------
    n : rows of the table: the ids of all fields together.   k : size of a vector.
    rng : numpy Generator for the start, normal with standard deviation ``std``.

    Shapes: Slots of B rows, S slots and M fields in; (B, M, k) out.
    Raises: IndexError if an id is outside 0..n-1 (NumPy alone would take -1 for the last row).

    >>> from minictr.slots import Slots
    >>> embedding = Embedding(5, 3, np.random.default_rng(0))
    >>> embedding.forward(Slots([[0, 2], [1, 4]], None, starts=[0, 1])).shape
    (2, 2, 3)
    """

    tables = ("V",)

    def __init__(self, n, k, rng, std=0.01, dtype=np.float32):
        super().__init__()
        self.params["V"] = (std * rng.standard_normal((n, k), np.float32)).astype(dtype, copy=False)

    def forward(self, slots):
        V = self.params["V"]                                      # (n, k)
        slots.check_ids(len(V))
        E = slots.multiply(V.take(slots.ids, axis=0))             # (B, S, k)  v_s x_s
        self.cache = {"slots": slots}
        return sum_within_fields(E, slots)                        # (B, M, k)

    def backward(self, dE):
        slots = self.cache["slots"]
        dv = repeat_over_slots(dE, slots)                         # (B, S, k)  e_i = sum_s v_s x_s
        if slots.x is not None:
            dv = slots.multiply(dv.copy())                        # (B, S, k)  a copy: dE is not ours to change
        self.grads["V"] = RowGradient(slots, dv.reshape(-1, dv.shape[2]))


class Linear(Layer):
    """The first-order term: a bias and one weight for every value of every field.

        out = w_0 + sum_i w_i x_i                                 (Rendle 2010, eq. 1, without its pairs)

    Backward:  dw_0 = sum_b dout_b,   dw[id_s] += x_s dout, row-sparse.

    Parameters
    ----------
    n : number of weights.   bias : whether there is a w_0 (DeepFM's paper writes none).

    Shapes: Slots of B rows in, (B,) out. All parameters start at 0.

    >>> from minictr.slots import Slots
    >>> Linear(5).forward(Slots([[0, 2], [1, 4]], None, starts=[0, 1]))
    array([0., 0.], dtype=float32)
    """

    tables = ("w",)

    def __init__(self, n, bias=True, dtype=np.float32):
        super().__init__()
        self.params["w"] = np.zeros(n, dtype)
        if bias:
            self.params["w0"] = np.zeros(1, dtype)

    def forward(self, slots):
        w = self.params["w"]
        slots.check_ids(len(w))
        wx = slots.multiply(w.take(slots.ids))                    # (B, S)     w_s x_s
        self.cache = {"slots": slots, "wx": wx}
        out = sum_last(wx)                                        # (B,)
        if "w0" in self.params:
            out += self.params["w0"]
        return out

    def backward(self, dout):
        slots = self.cache["slots"]
        if "w0" in self.params:
            self.grads["w0"] = dout.sum(keepdims=True)            # out = w_0 + ...
        dw = np.repeat(dout, slots.n_slots)                       # (B * S,)   out = sum_s w_s x_s
        slots.multiply(dw.reshape(slots.ids.shape))               #            w_s x_s; in place, on a view of dw
        self.grads["w"] = RowGradient(slots, dw)

    def field_terms(self):
        """What each field added in the latest forward pass: (B, M), the sum of w_s x_s over its slots."""
        return np.add.reduceat(self.cache["wx"], self.cache["slots"].starts, axis=1)
