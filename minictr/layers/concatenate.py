"""Several vectors side by side, as one."""

import numpy as np

from .base import Layer


class Concatenate(Layer):
    """Put the numbers of several arrays of a row side by side:  out = [x_1; x_2; ...].

    Backward: each part gets its own numbers of dout back, in its own shape.

    Shapes: x_i (B, ...) in, (B, n) out, n the numbers of all parts in a row; from ``backward`` a list of dx_i.

    >>> concatenate = Concatenate()
    >>> concatenate.forward(np.array([[1.0, 2.0]]), np.array([[[3.0], [4.0]]]))
    array([[1., 2., 3., 4.]])
    >>> concatenate.backward(np.array([[10.0, 20.0, 30.0, 40.0]]))
    [array([[10., 20.]]), array([[[30.],
            [40.]]])]
    """

    def forward(self, *parts):
        self.cache = {f"x_{i}": x for i, x in enumerate(parts, 1)}
        return np.concatenate([x.reshape(len(x), -1) for x in parts], axis=1)     # (B, n)     [x_1; x_2; ...]

    def backward(self, dout):
        parts, start = [], 0
        for x in self.cache.values():
            n = x[0].size
            parts.append(dout[:, start:start + n].reshape(x.shape))   # x_i.shape  out = [x_1; x_2; ...]
            start += n
        return parts
