"""Softmax and sigmoid: the functions that more than one layer needs."""

import numpy as np


def softmax(s, axis):
    """exp(s) / sum exp(s) along one axis, which is always named: a softmax over the wrong one goes unseen.

    The largest score is subtracted first, which changes nothing in the quotient and keeps exp finite.

    >>> softmax(np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]]), axis=1)
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    a = s - np.maximum.reduce(s, axis=axis, keepdims=True)
    np.exp(a, out=a)
    a /= np.add.reduce(a, axis=axis, keepdims=True)
    return a


def softmax_backward(da, a, axis):
    """dL/ds from dL/da and a = softmax(s):  ds = a (da - sum a da).

    >>> softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), axis=1)
    array([[ 0.25, -0.25]])
    """
    ds = a * da
    ds -= a * np.add.reduce(ds, axis=axis, keepdims=True)
    return ds


def sigmoid(s):
    """The probability 1 / (1 + exp(-s)) of a logit s, without overflow for any s.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    # 1 / (1 + exp(-s)) = (1 + tanh(s / 2)) / 2, and tanh cannot overflow
    return 0.5 + 0.5 * np.tanh(0.5 * s)
