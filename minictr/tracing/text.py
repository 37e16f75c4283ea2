"""Numbers and names become text."""

from pathlib import Path

import numpy as np

from ..optim import Grouped

SETTINGS = ("beta1", "beta2", "eps", "initial", "l1", "l2", "beta")      # of the optimizers, beside the learning rate
SMALL = 64              # arrays of up to this many numbers are printed in full


def norm(array):
    """Return the root of the sum of the squares of all numbers."""
    return float(np.sqrt(np.sum(np.square(array, dtype=np.float64))))


def summary(array):
    """Return the smallest, largest, mean and norm of an array's numbers; NaN if it has none."""
    if array.size == 0:
        return dict.fromkeys(("min", "max", "mean", "norm"), np.nan)
    return {"min": float(array.min()), "max": float(array.max()), "mean": float(array.mean(dtype=np.float64)),
            "norm": norm(array)}


def number_format(array):
    """Return a function that writes the array's numbers with as many decimals as its largest one needs."""
    if array.dtype.kind != "f":
        return lambda number: str(int(number))
    finite = np.abs(array[np.isfinite(array)])
    largest = finite.max(initial=0.0)
    exponent = int(np.floor(np.log10(largest))) if largest > 0 else 0
    if not -4 <= exponent <= 5:
        return lambda number: f"{number:.2e}"
    decimals = max(0, 3 - max(exponent, -3))
    if np.array_equal(finite, np.round(finite)):
        decimals = 0
    return lambda number: f"{round(float(number), decimals) + 0.0:.{decimals}f}"      # + 0.0: never -0.00


def numbers_text(array):
    """Return lines of text: all numbers of a small array, the summary of a large one."""
    if array.size > SMALL or array.size == 0:
        return ["min {min:.4g}, max {max:.4g}, mean {mean:.4g}, norm {norm:.4g}".format(**summary(array))]
    written = number_format(array)
    width = max(len(written(number)) for number in array.ravel())
    text = np.array2string(array, max_line_width=100, separator="  ", threshold=SMALL + 1, formatter={
        "all": lambda number: written(number).rjust(width)})
    return [line for line in text.splitlines() if line.strip()]


def full_name(step):
    """Return the name in the code, and in the paper where that differs."""
    return step.symbol if step.notation == step.symbol else f"{step.symbol} ({step.notation})"


def shape_text(step):
    """Return the shape, with the axes that the comment names."""
    return f"{step.axes} = {step.value.shape}" if step.axes else str(step.value.shape)


def optimizer_text(optimizer):
    """Return the name and the learning rate of an optimizer, or those of all that are in it."""
    return " and ".join(f"{type(each).__name__}, learning rate {each.learning_rate:g}" for each in _all_in(optimizer))


def settings_text(optimizer):
    """Return the same with all other numbers that an optimizer was given.

    >>> from minictr.optim import Adam
    >>> settings_text(Adam(0.01))
    'Adam, learning rate 0.01, beta1 0.9, beta2 0.999, eps 1e-08'
    """
    return " and ".join(", ".join([optimizer_text(each), *(
        f"{name} {value:g}" for name, value in vars(each).items() if name in SETTINGS)]) for each in _all_in(optimizer))


def _all_in(optimizer):
    """The optimizer, or those that are in it."""
    if isinstance(optimizer, Grouped):
        return list(dict.fromkeys((optimizer.rest, *optimizer.groups.values())))
    return [optimizer]


def package_path(file):
    """Return the path of a file of minictr from its package on, "minictr/layers/pairs.py"; of others the name."""
    path, package = Path(file), Path(__file__).parents[1]
    return path.relative_to(package.parent).as_posix() if package in path.parents else path.name


def free_name(name, X):
    """Return the name, with as many lines below it as it takes to differ from all columns."""
    while name in X:
        name += "_"
    return name


def rows_text(X, y):
    """Return the rows and their targets as text, the first and last of many."""
    return X.assign(**{free_name("y", X): y}).to_string(index=False, max_rows=8)
