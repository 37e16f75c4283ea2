"""The cross network: every layer multiplies once more by the input."""

import numpy as np

from .base import Layer, glorot_normal


class CrossNetwork(Layer):
    """L cross layers, each of which raises the degree of the polynomial in x_0 by one.

        x_{l+1} = x_0 (w_l . x_l) + b_l + x_l,   out = x_L        (DCN, Wang et al. 2017, eq. 3)

    w_l . x_l is one number a row: the matrix x_0 x_l^T that the paper writes down first is never made. And so each x_l
    is a multiple of x_0, a different one in each row, plus a vector that is the same in all rows (without the b_l:
    Lian et al. 2018, theorem 2.1).

    Backward, from dx_L = dout down to dx_0, with c_l = w_l . x_l:

        dc_l = x_0 . dx_{l+1}
        dw_l = sum_b dc_l x_l      db_l = sum_b dx_{l+1}      dx_l = dx_{l+1} + dc_l w_l

    x_0 stands in every layer, and is the first one's x_l: its gradient is sum_l c_l dx_{l+1}, plus the dx_l of l = 0.

    Parameters
    ----------
    n_in : size of x_0.   L : layers.   rng : numpy Generator for the start of w.

    Shapes: x_0 (B, n_in) in, (B, n_in) out. Parameters w_0, b_0, w_1, ...: (n_in,) each.

    >>> CrossNetwork(3, 2, np.random.default_rng(0)).forward(np.ones((4, 3), np.float32)).shape
    (4, 3)
    """

    def __init__(self, n_in, L, rng, dtype=np.float32):
        super().__init__()
        self.L = L
        for l in range(L):
            self.params[f"w_{l}"] = glorot_normal(rng, n_in, 1, dtype)[:, 0]
            self.params[f"b_{l}"] = np.zeros(n_in, dtype)

    def forward(self, x0):
        self.cache = {"x_0": x0}
        x = x0
        for l in range(self.L):
            w, b = self.params[f"w_{l}"], self.params[f"b_{l}"]
            c = x @ w                                             # (B,)       c_l = w_l . x_l
            x = x0 * c[:, None] + b + x                           # (B, n_in)  x_{l+1} = x_0 c_l + b_l + x_l
            self.cache |= {f"c_{l}": c, f"x_{l + 1}": x}
        return x

    def backward(self, dout):
        x0 = self.cache["x_0"]
        dx0, dx = np.zeros_like(x0), dout
        for l in reversed(range(self.L)):
            w, x, c = self.params[f"w_{l}"], self.cache[f"x_{l}"], self.cache[f"c_{l}"]
            dc = (dx * x0).sum(axis=1)                            # (B,)       x_{l+1} = x_0 c_l + b_l + x_l
            dx0 = dx0 + dx * c[:, None]                           # (B, n_in)  the same, with respect to x_0
            self.grads[f"b_{l}"] = dx.sum(axis=0)                 # (n_in,)    the same, with respect to b_l
            self.grads[f"w_{l}"] = dc @ x                         # (n_in,)    c_l = w_l . x_l
            dx = dx + dc[:, None] * w                             # (B, n_in)  x_l is in x_{l+1} and in c_l: add
        return dx0 + dx                                           # (B, n_in)  x_0 is the first x_l too
