"""Check a hand-written backward pass against the numbers that the forward pass gives.

A gradient check proves that ``backward`` belongs to ``forward``; it does not prove that ``forward`` is what the
paper says. Two published attention bugs pass it: compare with the equation, written as loops, as well.
"""

import numpy as np

from .layers.base import all_gradients, check_layers, parameters
from .layers.embedding import RowGradient
from .slots import Slots

ABSOLUTE, RELATIVE = 1e-8, 1e-6


class GradientReport:
    """A report says what a gradient check found: one line for every array, worst first.

    Attributes
    ----------
    passed : whether every entry lies within 1e-8 + 1e-6 |backward|.
    arrays : list of dicts with name, shape, entries checked, and of the worst entry: its index, its ``numeric``
        and its ``analytic`` (backward's) derivative and ``allowance``, |numeric - analytic| as a share of what
        is allowed (above 1 fails).
    redrawn : whether the parameters were drawn anew for the check.
    """

    def __init__(self, arrays, redrawn=False):
        self.redrawn = redrawn
        self.arrays = sorted(arrays, key=lambda line: -line["allowance"])
        self.passed = all(line["allowance"] <= 1 for line in self.arrays)

    def __bool__(self):
        return self.passed

    def __repr__(self):
        verdict = "passed" if self.passed else "FAILED: backward is not the derivative of forward"
        lines = [f"gradient check {verdict} (the worst entry of each array, worst first)"]
        lines.append(f"{'array':<24}{'worst at':<16}{'numeric':>16}{'backward':>16}{'of allowance':>16}")
        for line in self.arrays:
            lines.append(f"{line['name']:<24}{line['index']!s:<16}{line['numeric']:>16.9g}"
                         f"{line['analytic']:>16.9g}{line['allowance']:>16.2g}")
        if not (self.passed or self.redrawn):
            lines.append("If an untrained model has a ReLU, rule out its kink: check_gradients(..., redraw=0.5)")
        return "\n".join(lines)


def check_gradients(layer, x, *, redraw=None, seed=0, eps=1e-6):
    """Compare ``layer.backward`` with central differences of ``layer.forward``, entry by entry.

    The loss is sum(out * dout) with a random dout. (With dout = 1 a softmax's derivative is 0, and a backward
    pass that returns zeros would pass.) Every parameter is checked, and x too unless it is Slots, whose ids
    have no derivative.

    Parameters
    ----------
    layer : a Layer or a model, that is anything with ``forward(x)``, ``backward(dout)`` and float64 parameters.
    x : a float64 array, or Slots for a layer that looks ids up (``model.encoder_.encode(X)`` for a table X).
    redraw : None, or a standard deviation with which all parameters are drawn anew for the check; afterwards they are
        what they were. For models that were not trained: their vectors start so small that many inputs of a ReLU lie
        within eps of its kink, where the numeric value is the mean of both sides and a right backward pass fails.
    seed : of dout and of what is redrawn.   eps : half the width of the difference.

    Returns: GradientReport, true if all is well; print it.
    Raises: TypeError if x is neither an array nor Slots, if layers lie where they would be overlooked, or an array is
    not float64: with float32 the differences are all rounding error. ValueError if x or a parameter is empty.

    >>> from minictr.layers import FMPooling
    >>> check_gradients(FMPooling(), np.random.default_rng(0).standard_normal((4, 3, 2))).passed
    True
    """
    if not isinstance(x, (np.ndarray, Slots)):
        raise TypeError(f"x must be an array, or Slots: encode a table first, model.encoder_.encode(X); got "
                        f"{type(x).__name__}")
    if isinstance(x, Slots) and len(x) == 0:
        raise ValueError("x has no rows, so that every derivative is 0, right or wrong; give at least one")
    check_layers(layer, layer.get_params() if hasattr(layer, "get_params") else ())
    arrays = parameters(layer)
    if redraw is not None:
        before = {name: array.copy() for name, array in arrays.items()}
        rng = np.random.default_rng((seed, 2))
        try:
            for array in arrays.values():
                array[...] = redraw * rng.standard_normal(array.shape)
            return GradientReport(check_gradients(layer, x, seed=seed, eps=eps).arrays, redrawn=True)
        finally:
            for name, array in arrays.items():
                array[...] = before[name]
    if not isinstance(x, Slots):
        x = x if x.flags.writeable else x.copy()                  # its entries are moved by eps and put back
        arrays = {"x": x, **arrays}
    for name, array in arrays.items():
        if array.size == 0:
            raise ValueError(f"{name} has shape {array.shape}, and no entry to differentiate by; give it at least one")
        if array.dtype != np.float64:
            raise TypeError(f"{name} is {array.dtype}: a gradient check needs float64 (build with dtype=\"float64\")")

    # (seed, 1) and not seed: x may well be the first draw of default_rng(seed), and dout must not equal it
    dout = np.random.default_rng((seed, 1)).standard_normal(layer.forward(x).shape)
    dx = layer.backward(dout)
    analytic = {name: _dense(gradient, arrays[name]) for name, gradient in all_gradients(layer).items()}
    if "x" in arrays:
        analytic["x"] = dx

    def loss():
        return float((layer.forward(x) * dout).sum())

    return GradientReport([_compare(name, array, analytic.get(name), loss, eps) for name, array in arrays.items()])


def _dense(gradient, param):
    return gradient.dense(len(param)) if isinstance(gradient, RowGradient) else gradient


def _compare(name, array, analytic, loss, eps):
    if analytic is None or np.shape(analytic) != array.shape:
        got = "none" if analytic is None else f"one of shape {np.shape(analytic)}"
        raise ValueError(f"{name} has shape {array.shape}, but backward left {got} as its gradient")
    numeric = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + eps
        above = loss()
        array[index] = value - eps
        below = loss()
        array[index] = value
        numeric[index] = (above - below) / (2 * eps)
    with np.errstate(invalid="ignore"):                           # inf - inf and inf / inf: nan, which fails below
        allowance = np.abs(numeric - analytic) / (ABSOLUTE + RELATIVE * np.abs(analytic))
    allowance = np.where(np.isnan(allowance), np.inf, allowance)
    worst = np.unravel_index(np.argmax(allowance), array.shape)
    worst = tuple(int(i) for i in worst)
    return {"name": name, "shape": array.shape, "index": worst, "numeric": float(numeric[worst]),
            "analytic": float(np.asarray(analytic)[worst]), "allowance": float(allowance[worst])}
