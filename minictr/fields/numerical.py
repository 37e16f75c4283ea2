"""A column of numbers: mean, spread and range are learned; each number is the weight x of the field's one vector."""

import numpy as np

from .columns import read_numbers, refuse
from .saved import check_state, stored_number, stored_share

MOMENTS_BLOCK = 2 ** 17  # numbers summed at once
LARGEST = 1e18  # models multiply two x, and float32 ends at 3e38; no quantity is larger, but marks for "missing" are


class Moments:
    """Mean and standard deviation of numbers that come in pieces, in float64, optionally weighted.

    The numbers are summed in blocks of MOMENTS_BLOCK, whatever the pieces, so that the result depends on their order
    alone. The blocks' sums of squared deviations are merged as in Chan, Golub & LeVeque (1983), eq. 2.1:

        M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / (n_a + n_b)

    >>> moments = Moments()
    >>> moments.add(np.array([1.0, 2.0])), moments.add(np.array([6.0]))
    (None, None)
    >>> mean, std = moments.result()
    >>> float(mean), round(float(std), 4)
    (3.0, 2.1602)
    """

    def __init__(self):
        self.low, self.high = np.inf, -np.inf
        self.n = self.total = self.M2 = 0.0
        self.waiting, self.n_waiting = [], 0

    def add(self, numbers, weights=None):
        """Take in more numbers (N,), with weights (N,) or each with weight 1."""
        if not len(numbers):
            return
        self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
        self.waiting.append((numbers, np.ones(len(numbers)) if weights is None else weights))
        self.n_waiting += len(numbers)
        if self.n_waiting >= MOMENTS_BLOCK:
            numbers, weights = map(np.concatenate, zip(*self.waiting, strict=True))
            for start in range(0, self.n_waiting - MOMENTS_BLOCK + 1, MOMENTS_BLOCK):
                block = slice(start, start + MOMENTS_BLOCK)
                self.merge(numbers[block], weights[block])
            self.n_waiting %= MOMENTS_BLOCK
            rest = slice(len(numbers) - self.n_waiting, None)
            self.waiting = [(numbers[rest].copy(), weights[rest].copy())]

    def merge(self, numbers, weights):
        """Add the sums of one block."""
        n = weights.sum()
        if n == 0:
            return
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):    # the field says which column it is
            total = (weights * numbers).sum()
            self.M2 += (weights * (numbers - total / n) ** 2).sum()
            if self.n:
                self.M2 += (total / n - self.total / self.n) ** 2 * (self.n * n / (self.n + n))
            self.n, self.total = self.n + n, self.total + total

    def result(self):
        """(mean, standard deviation) of all numbers; call it once, after the last ``add``."""
        if self.waiting:
            self.merge(*map(np.concatenate, zip(*self.waiting, strict=True)))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return self.total / self.n, np.sqrt(self.M2 / self.n)


def tamed(spec, numbers):
    """t(z): AutoInt's logarithm of the numbers, or the numbers as they are."""
    if spec.transform in ("log_squared", "log2"):
        return np.where(numbers > 2, np.log(np.maximum(numbers, 2)) ** 2, numbers)
    return numbers


def check_size(spec, block, rows, numbers, what="a number is at most"):
    """Raise a ValueError that names the first number beyond LARGEST, NaN aside."""
    if (bad := np.abs(numbers) > LARGEST).any():
        refuse(spec.name, block, rows, bad,
               f"is too large: {what} {LARGEST:g}. If it stands for a missing number, leave the cell empty (None or "
               "NaN); else change the unit, or give the field bins, or the transform log_squared")


class NumericalLearner:
    """Mean, spread and range of the numbers of a training column."""

    width = 1

    def __init__(self, spec):
        self.spec, self.n_present = spec, 0
        self.moments = Moments()

    def add(self, block, rows):
        """Learn from one more block."""
        numbers = read_numbers(self.spec.name, block, rows)
        if self.spec.bins is None:
            check_size(self.spec, block, rows, tamed(self.spec, numbers))
        present = numbers[~np.isnan(numbers)]
        self.n_present += len(present)
        self.learn(present)

    def learn(self, present):
        """Learn from numbers of which none is missing."""
        self.moments.add(present)

    def missing(self, n_rows):
        """The share of ``n_rows`` rows without a number."""
        if not self.n_present:
            raise ValueError(f"column {self.spec.name!r} has only missing values: leave it out of the fields")
        return 1 - self.n_present / n_rows

    def encoder(self, n_rows):
        """The encoder of all blocks so far, of ``n_rows`` rows."""
        spec, missing = self.spec, self.missing(n_rows)
        low, high = self.moments.low, self.moments.high
        center, scale = 0.0, 1.0
        if spec.transform in ("standard", "minmax") and low == high:
            center = low  # a constant column: x = 0, and no division by 0
        elif spec.transform == "standard":
            center, scale = map(float, self.moments.result())
        elif spec.transform == "minmax":
            center, scale = low, high - low
        if not (np.isfinite(center) and np.isfinite(scale) and scale > 0):
            raise ValueError(f"column {spec.name!r} with numbers from {low} to {high} cannot be "
                             f"scaled within the range of float64; change its unit")
        return NumericalEncoder(spec, center, scale, missing)


class NumericalEncoder:
    """A number z is the weight x of the field's one vector: x = (t(z) - center) / scale.

    t is AutoInt's logarithm or nothing. Missing has a vector too if training held a missing number.
    """

    text = "numerical"
    learner_class = NumericalLearner
    n_values = 1
    unknown = 0.0

    def __init__(self, spec, center, scale, missing):
        self.spec, self.center, self.scale, self.missing = spec, center, scale, missing
        self.n_ids = 2 if missing else 1

    def encode(self, block, rows):
        """Each row is a cell: ids (N, 1) and x (N, 1)."""
        numbers = read_numbers(self.spec.name, block, rows)
        z = tamed(self.spec, numbers)
        check_size(self.spec, block, rows, z)
        with np.errstate(over="ignore"):
            x = (z - self.center) / self.scale
        check_size(self.spec, block, rows, x, f"less {self.center:g} and divided by {self.scale:g}, as fit found it, "
                                              "it is at most")
        # a missing number is id 1 with x = 1; without that id it is id 0 with x = 0, i.e. nothing
        missing = np.isnan(numbers)
        ids = np.where(missing, self.n_ids - 1, 0).astype(np.int32)
        x = np.where(missing, self.n_ids - 1, x).astype(np.float32)
        return slice(None), ids[:, None], x[:, None]

    def labels(self):
        """The text of each id."""
        return ["(number)", "(missing)"][:self.n_ids]

    def state(self):
        """Everything learned: a JSON-able dict, and no arrays."""
        return {"center": self.center, "scale": self.scale, "missing": self.missing}, {}

    @classmethod
    def from_state(cls, spec, state, arrays):
        """Undo `state`, checking all of it."""
        center, scale = stored_number(state, "center"), stored_number(state, "scale")
        check_state(scale > 0, f"column {spec.name!r} has scale {scale}")
        return cls(spec, center, scale, stored_share(state, "missing"))
