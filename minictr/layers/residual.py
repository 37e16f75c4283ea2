"""Deep Crossing's residual unit."""

import numpy as np

from .base import Layer, glorot_normal
from .functions import relu, relu_backward


class ResidualUnit(Layer):
    """Two dense layers that add something to their input, and a ReLU around the sum.

        z_1 = x W_1 + b_1,   z_2 = x + relu(z_1) W_2 + b_2,   out = relu(z_2)     (Deep Crossing, Shan et al. 2016)

    Backward:

        dz_2 = dout where z_2 > 0, else 0        dW_2 = relu(z_1)^T dz_2      db_2 = sum_b dz_2
        dz_1 = dz_2 W_2^T where z_1 > 0, else 0  dW_1 = x^T dz_1              db_1 = sum_b dz_1
        dx   = dz_2 + dz_1 W_1^T

    Parameters
    ----------
    n : size of x and of the output.   width : hidden units, between W_1 and W_2.   rng : numpy Generator.

    Shapes: x (B, n) in, (B, n) out.

    >>> ResidualUnit(3, 8, np.random.default_rng(0)).forward(np.ones((4, 3), np.float32)).shape
    (4, 3)
    """

    def __init__(self, n, width, rng, dtype=np.float32):
        super().__init__()
        self.params["W_1"] = glorot_normal(rng, n, width, dtype)
        self.params["b_1"] = np.zeros(width, dtype)
        self.params["W_2"] = glorot_normal(rng, width, n, dtype)
        self.params["b_2"] = np.zeros(n, dtype)

    def forward(self, x):
        z1 = x @ self.params["W_1"] + self.params["b_1"]          # (B, width)  z_1 = x W_1 + b_1
        r1 = relu(z1)                                             # (B, width)  relu(z_1)
        z2 = x + r1 @ self.params["W_2"] + self.params["b_2"]     # (B, n)      z_2 = x + relu(z_1) W_2 + b_2
        self.cache = {"x": x, "z1": z1, "r1": r1, "z2": z2}
        return relu(z2)                                           # (B, n)

    def backward(self, dout):
        x, z1, r1, z2 = (self.cache[name] for name in ("x", "z1", "r1", "z2"))
        dz2 = relu_backward(dout, z2)                             # (B, n)      out = relu(z_2)
        self.grads["W_2"] = r1.T @ dz2                            # (width, n)  z_2 = x + relu(z_1) W_2 + b_2
        self.grads["b_2"] = dz2.sum(axis=0)                       # (n,)
        dz1 = relu_backward(dz2 @ self.params["W_2"].T, z1)       # (B, width)  r_1 = relu(z_1)
        self.grads["W_1"] = x.T @ dz1                             # (n, width)  z_1 = x W_1 + b_1
        self.grads["b_1"] = dz1.sum(axis=0)                       # (width,)
        return dz2 + dz1 @ self.params["W_1"].T                   # (B, n)      x feeds both: add
