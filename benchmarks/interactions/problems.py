"""The data sets whose interactions are known, in one form: rows in three parts, and which pairs of fields interact."""

import dataclasses

import numpy as np

from minictr import MultiValued, Numerical, datasets

from . import archdetect, functions

GRIDS, CELLS = 6, 10                # of overlapping bins
N_CLICKS = 20_000                   # rows to train on; as many to validate and to test


@dataclasses.dataclass(frozen=True)
class Rows:
    """One drawing of a problem.

    Parameters
    ----------
    train, validation, test : (X, y) each.   interacting : whether each pair interacts, (P,), in field order.
    """

    train: tuple
    validation: tuple
    test: tuple
    interacting: np.ndarray


def function_rows(name, seed, n_rows=None):
    """The rows of one of the functions, inputs and y standardised; ``n_rows`` in each part."""
    function = KNOWN[name]
    return Rows(*functions.rows(function, seed, n_rows or functions.N_ROWS), function.interacting)


def click_rows(name, seed, n_rows=None):
    """A world of ``make_clicks``: five of its 28 pairs of fields are planted."""
    parts = [datasets.make_clicks(n_rows or N_CLICKS, seed=seed, rows_seed=part) for part in range(3)]
    return Rows(*((part.X, part.y) for part in parts), parts[0].planted_pairs["value"].to_numpy() > 0)


TEN, FOUR, CLICKS = tuple(functions.FUNCTIONS), tuple(archdetect.FUNCTIONS), "make_clicks"
KNOWN = {**functions.FUNCTIONS, **archdetect.FUNCTIONS}
PROBLEMS = {**dict.fromkeys(KNOWN, function_rows), CLICKS: click_rows}


# ---- how a model is given numbers ------------------------------------------------------------------------

def as_they_are(X):
    """Each input is one vector times the number."""
    return X, [Numerical(name) for name in X]


def in_bins(X):
    """Each input is cut into 12 bins of equally many training rows."""
    return X, [Numerical(name, bins=12) for name in X]


def in_overlapping_bins(X):
    """Each input falls into one bin of each of six grids, each shifted by a sixth of a bin: the mean of six vectors.

    A bin is a tenth of the range, so that a vector moves in steps of a sixtieth of it, while each is learned from a
    tenth of the rows (tile coding: Sutton & Barto, "Reinforcement Learning", section 9.5.4). It makes no use of y.
    """
    columns = {}
    for name in X:
        place = (X[name].to_numpy() + 1.8) / 3.6 * CELLS          # the inputs are uniform: -1.73 to 1.73, standardised
        cells = np.floor(place[:, None] + np.arange(GRIDS) / GRIDS).astype(int)
        columns[name] = ["|".join(f"{grid}.{cell}" for grid, cell in enumerate(row)) for row in cells.tolist()]
    return X.assign(**columns), [MultiValued(name) for name in X]


NUMBERS = {"as they are": as_they_are, "bins": in_bins, "overlapping bins": in_overlapping_bins}
