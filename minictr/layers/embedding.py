"""Slots become vectors, by the embedding e_i = v_i x_i, and a number, by the first-order term w_0 + sum_i w_i x_i."""

import numpy as np

from .base import Layer


class RowGradient:
    """Hold the gradient of a table of which a batch looked up only some rows.

    It has one value for each looked-up slot, in the order of ``slots.ids``; an id that occurs twice has two values, and
    the gradient of its row is their sum. What ``sum`` costs depends on the batch, not on the table.

    Parameters
    ----------
    slots : Slots whose ids are the looked-up rows, B rows of S slots: the batch, or ids that a layer made of it.
    values : (B * S, ...), one value for each slot: vectors for a table (n, k), numbers for a table (n,).

    Examples
    --------
    >>> from minictr.slots import Slots
    >>> gradient = RowGradient(Slots([[7, 2], [7, 5]], None, [0, 1]), np.array([1.0, 10.0, 2.0, 20.0]))
    >>> gradient
    RowGradient of 4 values at 3 rows: 2: 10., 5: 20., 7: 3.
    >>> rows, sums = gradient.sum()
    >>> rows, sums
    (array([2, 5, 7], dtype=int32), array([10., 20.,  3.]))
    """

    def __init__(self, slots, values):
        self.slots = slots
        self.values = values

    def sum(self):
        """Return the touched rows (U,), each once and ascending, and the summed gradient of each, (U, ...)."""
        rows, place = np.unique(self.slots.ids, return_inverse=True)
        sums = np.zeros((len(rows), *self.values.shape[1:]), self.values.dtype)
        np.add.at(sums, place.ravel(), self.values)               # sums[place] += values would keep one of each repeat
        return rows, sums

    def dense(self, n):
        """Return the same gradient as an array of all n rows, zeros included."""
        rows, sums = self.sum()
        gradient = np.zeros((n, *sums.shape[1:]), sums.dtype)
        gradient[rows] = sums
        return gradient

    def plus_looked_up(self, table, strength):
        """Return this gradient plus ``strength`` times the looked-up row of its table, for each slot.

        Slots with x = 0, which are padding or a number of 0, get nothing: they learn nothing. L2 is made so (see
        ``training.step.with_l2``).
        """
        looked_up = table[self.slots.ids.ravel()]                 # (B * S, ...)
        if self.slots.x is not None:
            looked_up[self.slots.x.ravel() == 0] = 0
        return RowGradient(self.slots, self.values + strength * looked_up)

    def __repr__(self):
        rows, sums = self.sum()
        shape = f" of shape {sums.shape[1:]}" if sums.ndim > 1 else ""
        first = ", ".join(f"{row}: {np.array2string(np.asarray(value), precision=4, threshold=6)}"
                          for row, value in zip(rows[:3].tolist(), sums, strict=False))
        more = ", ..." if len(rows) > 3 else ""
        return f"RowGradient of {len(self.values)} values{shape} at {len(rows)} rows: {first}{more}"


def sum_within_fields(values, slots):
    """Add up the slots of each field: (B, S, ...) -> (B, M, ...)."""
    return np.add.reduceat(values, slots.starts, axis=1)          # field i's slots: starts[i] up to starts[i + 1]


def repeat_over_slots(values, slots):
    """Go the other way, for gradients: each slot gets its field's value, (B, M, ...) -> (B, S, ...)."""
    return np.repeat(values, np.diff(slots.starts, append=slots.n_slots), axis=1)


class Embedding(Layer):
    """Give every value of every field a vector, and scale it by the slot's weight x.

        e_i = sum_s v_s x_s        over the slots s of field i; v_s is row id_s of V

    This is v_i x_i for a category (x = 1) or a number, and the mean of the values' vectors for a
    multi-valued field (x = 1/q).                        (AutoInt, Song et al. 2019, eq. 2-4; FM: v_i x_i)

    Backward:  dV[id_s] += x_s de_i, row-sparse (see RowGradient).

    Parameters
    ----------
    n : rows of the table: the ids of all fields together.   k : size of a vector.   rng : numpy Generator for the
        start, normal with standard deviation ``std``; float32 draws are cheaper, and the same for both dtypes.

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
        self.cache = {"slots": slots}
        vx = V[slots.ids]                                         # (B, S, k)  v_s
        if slots.x is not None:
            vx = vx * slots.x[:, :, None]                         # (B, S, k)  v_s x_s
        return sum_within_fields(vx, slots)                       # (B, M, k)  e_i = sum_s v_s x_s

    def backward(self, dE):
        slots = self.cache["slots"]
        dv = repeat_over_slots(dE, slots)                         # (B, S, k)  e_i = sum_s v_s x_s
        if slots.x is not None:
            dv = dv * slots.x[:, :, None]                         # (B, S, k)  the same, with respect to v_s
        self.grads["V"] = RowGradient(slots, dv.reshape(-1, dv.shape[2]))     # (B * S, k)  one value a slot


class Linear(Layer):
    """Add up the first-order term: a bias, and one weight for every value of every field.

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
        wx = w[slots.ids]                                         # (B, S)     w_s
        if slots.x is not None:
            wx = wx * slots.x                                     # (B, S)     w_s x_s
        self.cache = {"slots": slots, "wx": wx}
        out = wx.sum(axis=1)                                      # (B,)       sum_i w_i x_i
        if "w0" in self.params:
            out = out + self.params["w0"]                         # (B,)       w_0 + ...
        return out

    def backward(self, dout):
        slots = self.cache["slots"]
        if "w0" in self.params:
            self.grads["w0"] = dout.sum(keepdims=True)            # (1,)       out = w_0 + ...
        dw = np.repeat(dout[:, None], slots.n_slots, axis=1)      # (B, S)     out = sum_s w_s x_s
        if slots.x is not None:
            dw = dw * slots.x                                     # (B, S)     the same, with respect to w_s
        self.grads["w"] = RowGradient(slots, dw.reshape(-1))      # (B * S,)   one value a slot

    def field_terms(self):
        """Return what each field added in the latest forward pass, (B, M): the sum of w_s x_s over its slots."""
        return sum_within_fields(self.cache["wx"], self.cache["slots"])
