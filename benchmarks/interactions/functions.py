"""The ten functions of Neural Interaction Detection, whose interactions are known.

M. Tsang, D. Cheng, Y. Liu, "Detecting Statistical Interactions from Neural Network Weights", ICLR 2018,
https://arxiv.org/abs/1705.04977, table 1.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

N_ROWS = 10_000             # for each of training, validation and test
INPUTS = [f"x{number}" for number in range(1, 11)]
PAIRS = list(itertools.combinations(INPUTS, 2))


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of x1 to x10 and the sets of inputs that interact in it.

    Parameters
    ----------
    name : F1 to F10.   formula : function of the ten columns.   sets : tuples of the inputs' numbers, from 1.
    """

    name: str
    formula: Callable
    sets: tuple

    def __call__(self, X):
        """The values (N,) for the rows of a table of the ten inputs."""
        return np.asarray(self.formula(*(X[name].to_numpy() for name in INPUTS)))

    @property
    def interacting(self):
        """Whether the inputs of each of the 45 pairs stand in one of the sets, (45,)."""
        inside = {pair for numbers in self.sets for pair in itertools.combinations(sorted(numbers), 2)}
        return np.array([pair in inside for pair in itertools.combinations(range(1, 11), 2)])

    def inputs(self, n_rows, rng):
        """A table of ``n_rows`` of the inputs: U(-1, 1) each, but for F1, whose roots and quotients need others."""
        low = np.full(10, -1.0)
        if self.name == "F1":
            low = np.array([0, 0, 0, 0.6, 0.6, 0, 0, 0.6, 0, 0.6])
        return pd.DataFrame(rng.uniform(low, 1, (n_rows, 10)), columns=INPUTS)


def _f1(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return (np.pi ** (x1 * x2) * np.sqrt(2 * x3) - np.arcsin(x4) + np.log(x3 + x5)
            - x9 / x10 * np.sqrt(x7 / x8) - x2 * x7)


def _f2(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return (np.pi ** (x1 * x2) * np.sqrt(2 * abs(x3)) - np.arcsin(0.5 * x4) + np.log(abs(x3 + x5) + 1)
            + x9 / (1 + abs(x10)) * np.sqrt(abs(x7) / (1 + abs(x8))) - x2 * x7)


def _f3(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return (np.exp(abs(x1 - x2)) + abs(x2 * x3) - (x3 ** 2) ** abs(x4) + np.log(x4 ** 2 + x5 ** 2 + x7 ** 2 + x8 ** 2)
            + x9 + 1 / (1 + x10 ** 2))


def _f4(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return _f3(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10) + (x1 * x4) ** 2


def _f5(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return 1 / (1 + x1 ** 2 + x2 ** 2 + x3 ** 2) + np.sqrt(np.exp(x4 + x5)) + abs(x6 + x7) + x8 * x9 * x10


def _f6(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return (np.exp(abs(x1 * x2) + 1) - np.exp(abs(x3 + x4) + 1) + np.cos(x5 + x6 - x8)
            + np.sqrt(x8 ** 2 + x9 ** 2 + x10 ** 2))


def _f7(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return ((np.arctan(x1) + np.arctan(x2)) ** 2 + np.maximum(x3 * x4 + x6, 0)
            - 1 / (1 + (x4 * x5 * x6 * x7 * x8) ** 2) + (abs(x7) / (1 + abs(x9))) ** 5
            + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10)


def _f8(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return (x1 * x2 + 2 ** (x3 + x5 + x6) + 2 ** (x3 + x4 + x5 + x7) + np.sin(x7 * np.sin(x8 + x9))
            + np.arccos(0.9 * x10))


def _f9(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return (np.tanh(x1 * x2 + x3 * x4) * np.sqrt(abs(x5)) + np.exp(x5 + x6) + np.log((x6 * x7 * x8) ** 2 + 1)
            + x9 * x10 + 1 / (1 + abs(x10)))


def _f10(x1, x2, x3, x4, x5, x6, x7, x8, x9, x10):
    return (np.sinh(x1 + x2) + np.arccos(np.tanh(x3 + x5 + x7)) + np.cos(x4 + x5) + 1 / np.cos(x7 * x9))


FUNCTIONS = {function.name: function for function in (
    Function("F1", _f1, ((1, 2, 3), (3, 5), (7, 8, 9, 10), (2, 7))),
    Function("F2", _f2, ((1, 2, 3), (3, 5), (7, 8, 9, 10), (2, 7))),
    Function("F3", _f3, ((1, 2), (2, 3), (3, 4), (4, 5, 7, 8))),
    Function("F4", _f4, ((1, 2), (2, 3), (3, 4), (4, 5, 7, 8), (1, 4))),
    Function("F5", _f5, ((1, 2, 3), (4, 5), (6, 7), (8, 9, 10))),
    Function("F6", _f6, ((1, 2), (3, 4), (5, 6, 8), (8, 9, 10))),
    Function("F7", _f7, ((1, 2), (3, 4, 6), (4, 5, 6, 7, 8), (7, 9))),
    Function("F8", _f8, ((1, 2), (3, 5, 6), (3, 4, 5, 7), (7, 8, 9))),
    Function("F9", _f9, ((1, 2, 3, 4, 5), (5, 6), (6, 7, 8), (9, 10))),
    Function("F10", _f10, ((1, 2), (3, 5, 7), (4, 5), (7, 9))))}


def rows(function, seed, n_rows=N_ROWS):
    """Training, validation and test rows, ``n_rows`` each, as (X, y); standardised by the training rows."""
    rng = np.random.default_rng([seed, *function.name.encode()])
    X = function.inputs(3 * n_rows, rng)
    y = function(X)
    train = slice(0, n_rows)
    X, y = (X - X[train].mean()) / X[train].std(ddof=0), (y - y[train].mean()) / y[train].std()
    return [(X[start:start + n_rows].reset_index(drop=True), y[start:start + n_rows])
            for start in range(0, 3 * n_rows, n_rows)]


def auc_of_pairs(strength, interacting):
    """ROC AUC of a ranking: how often a pair that interacts is stronger than one that does not; ties count half."""
    strength, interacting = np.asarray(strength, np.float64), np.asarray(interacting, bool)
    yes, no = strength[interacting][:, None], strength[~interacting][None]
    return float(((yes > no) + 0.5 * (yes == no)).mean())
