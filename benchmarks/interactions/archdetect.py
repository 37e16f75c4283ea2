"""ArchDetect's four functions of 40 inputs, each of them 1 or -1, and which pairs interact in them.

M. Tsang, S. Rambhatla, Y. Liu, "How does This Interaction Affect Me? Interpretable Attribution for Feature
Interactions", NeurIPS 2020, https://arxiv.org/abs/2006.10965, table 1a. The given row is 1 everywhere, the baseline -1
everywhere. An AND is 1 where each of its inputs has the value that it asks for, and -1 elsewhere.
"""

import dataclasses
import itertools

import numpy as np
import pandas as pd

P = 40
INPUTS = [f"x{number}" for number in range(1, P + 1)]
ROW, BASELINE = (pd.DataFrame(np.full((1, P), value), columns=INPUTS) for value in (1.0, -1.0))


@dataclasses.dataclass(frozen=True)
class Signs:
    """The sum of all inputs, of products of two, and of ANDs.

    Parameters
    ----------
    name : A1 to A4.
    products : pairs (group, group) of inputs' numbers, from 1: every input of one times every input of the other.
    ands : ANDs, each a dict {input's number: the value it asks for}.
    """

    name: str
    products: tuple = ()
    ands: tuple = ()

    def __call__(self, X):
        """The values (N,) for the rows of a table of the 40 inputs."""
        x = dict(enumerate(X[INPUTS].to_numpy().T, start=1))
        y = sum(x.values())
        for left, right in self.products:
            y = y + sum(x[i] for i in left) * sum(x[j] for j in right)
        for asked in self.ands:
            y = y + np.where(np.all([x[i] == value for i, value in asked.items()], axis=0), 1, -1)
        return y

    @property
    def interacting(self):
        """Whether the inputs of each of the 780 pairs meet in a product or in an AND."""
        inside = {tuple(sorted(pair)) for groups in self.products for pair in itertools.product(*groups)}
        inside |= {pair for asked in self.ands for pair in itertools.combinations(sorted(asked), 2)}
        return np.array([pair in inside for pair in itertools.combinations(range(1, P + 1), 2)])

    def inputs(self, n_rows, rng):
        """A table of ``n_rows`` of random signs."""
        return pd.DataFrame(rng.choice([-1.0, 1.0], (n_rows, P)), columns=INPUTS)


def _asked(first, last, value):
    return dict.fromkeys(range(first, last + 1), value)


_SECOND = _asked(11, 30, 1)
FUNCTIONS = {function.name: function for function in (
    Signs("A1", products=((range(1, 11), range(1, 11)), (range(11, 21), range(21, 31)))),
    Signs("A2", ands=(_asked(1, 20, 1), _SECOND)),
    Signs("A3", ands=(_asked(1, 20, -1), _SECOND)),
    Signs("A4", ands=({1: 1, 2: 1, 3: -1}, _SECOND)))}
