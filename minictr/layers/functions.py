"""Softmax and sigmoid: the functions that more than one layer needs."""

import numpy as np

# Scores within +-60 need no care: exp lies between 1e-26 and 1e26, far from float32's limits.
SAFE_SCORE = 60
LONG_ROW = 4096         # numbers; long enough that what each row costs extra does not matter


def softmax(s, axis):
    """exp(s) / sum exp(s) along one axis, which must be named: over the wrong axis the result still looks like weights.

    Subtracting the same number from all scores changes nothing in the quotient. So where exp of some score could
    overflow, the largest of each softmax is subtracted first; where none can, that pass over the data is saved.

    >>> softmax(np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]]), axis=1)
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    if np.minimum.reduce(s, axis=None) > -SAFE_SCORE and np.maximum.reduce(s, axis=None) < SAFE_SCORE:
        a = np.exp(s)
    else:
        a = s - np.maximum.reduce(s, axis=axis, keepdims=True)
        np.exp(a, out=a)
    a /= sum_along(a, axis)
    return a


def softmax_backward(da, a, axis):
    """dL/ds from dL/da and a = softmax(s):  ds = a (da - sum a da).

    >>> softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), axis=1)
    array([[ 0.25, -0.25]])
    """
    ds = da - sum_along(a * da, axis)
    ds *= a
    return ds


def sum_last(x):
    """The sum over the last axis, (..., n) -> (...), as a product with a vector of ones.

    Along a short last axis NumPy's own sum pays for each of its many short rows; the product is the same sum at a
    fraction of the time.

    >>> sum_last(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([3., 7.])
    """
    n = x.shape[-1]
    return (x.reshape(-1, n) @ np.ones(n, x.dtype)).reshape(x.shape[:-1])


def sum_along(x, axis):
    """The sum along one axis, which stays as an axis of length 1.

    >>> sum_along(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    array([[3.],
           [7.]])
    """
    if axis in (-1, x.ndim - 1):
        return sum_last(x)[..., None]
    return np.add.reduce(x, axis=axis, keepdims=True)


def sum_middle(x):
    """The sum over the middle axis, (B, M, k) -> (B, k), as a product with ones, for the same reason.

    >>> sum_middle(np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    array([[4., 6.]])
    """
    return np.ones(x.shape[1], x.dtype) @ x


def repeat_middle(x, M):
    """The way back, for gradients: (B, k) -> (B, M, k), M copies of each row.

    Whole rows are copied at once; broadcasting x[:, None] in an expression goes over every short row on its own.

    >>> repeat_middle(np.array([[1.0, 2.0]]), 2)
    array([[[1., 2.],
            [1., 2.]]])
    """
    B, k = x.shape
    return np.repeat(x, M, axis=0).reshape(B, M, k)


def relu(x):
    """max(x, 0), in place.

    A row of zeros instead of the number 0, because NumPy's fast loop is the one that takes two arrays; and x seen as
    long rows, because each row costs extra.

    >>> relu(np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    if x.flags.c_contiguous:
        flat, cut = x.reshape(-1), x.size - x.size % LONG_ROW     # flat is a view of x
        for rows in (flat[:cut].reshape(-1, LONG_ROW), flat[cut:]):
            np.maximum(rows, np.zeros(rows.shape[-1], x.dtype), out=rows)
        return x
    return np.maximum(x, np.zeros(x.shape[-1], x.dtype), out=x)


def relu_backward(dout, out):
    """dL/dx from dL/dout and out = relu(x): dout where the relu is open, else 0.

    >>> relu_backward(np.array([3.0, 3.0]), np.array([0.0, 2.0]))
    array([0., 3.])
    """
    dx = (out > 0).astype(dout.dtype)
    dx *= dout
    return dx


def sigmoid(s):
    """The probability 1 / (1 + exp(-s)) of a logit s, without overflow for any s.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    # Where exp overflows to inf, 1 / inf = 0 is right. The equal (1 + tanh(s / 2)) / 2 never overflows, but its sum
    # cancels: in float32 it is half off at s = -17 and 0 from s = -18 on.
    with np.errstate(over="ignore", under="ignore"):
        return 1 / (1 + np.exp(-s))
