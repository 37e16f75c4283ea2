"""Softmax, ReLU and sigmoid: more than one layer needs them."""

import numpy as np


def softmax(s, axis):
    """Return exp(s) / sum exp(s) along one axis, which must be named: over a wrong one it still looks like weights.

    Subtracting the same number from all scores changes nothing in the quotient; with the largest subtracted, no exp
    can overflow.

    >>> softmax(np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]]), axis=1)
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    exp_s = np.exp(s - s.max(axis=axis, keepdims=True))
    return exp_s / exp_s.sum(axis=axis, keepdims=True)


def softmax_backward(da, a, axis):
    """Return dL/ds from dL/da and a = softmax(s):  ds = a (da - sum a da).

    >>> softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), axis=1)
    array([[ 0.25, -0.25]])
    """
    return a * (da - (a * da).sum(axis=axis, keepdims=True))


def relu(z):
    """Return max(z, 0), number by number.

    >>> relu(np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    return np.maximum(z, 0)


def relu_backward(dout, z):
    """Return dL/dz from dL/dout and out = relu(z):  dout where z > 0, else 0. (out will do for z: both are > 0 there.)

    >>> relu_backward(np.array([3.0, 3.0]), np.array([-1.0, 2.0]))
    array([0., 3.])
    """
    return dout * (z > 0)


def sum_last(x):
    """Return the sum over the last axis, (..., n) -> (...).

    >>> sum_last(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([3., 7.])
    """
    return x.sum(axis=-1)


def sigmoid(s):
    """Return the probability 1 / (1 + exp(-s)) of a logit s, without overflow for any s.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    # Where exp overflows to inf, 1 / inf = 0 is right. The equal (1 + tanh(s / 2)) / 2 never overflows, but its sum
    # cancels: in float32 it is half off at s = -17 and 0 from about s = -20 on.
    with np.errstate(over="ignore", under="ignore"):
        return 1 / (1 + np.exp(-s))
