"""What is made of many mixed differences of a score: a square for each pair of fields, estimated without bias.

``explain.interaction_effects`` forms the differences, chunk by chunk of rows, and has the equations.
"""

import numpy as np


class PartialDependence:
    """The square of the mean over partners c, centred over rows r: Friedman's.

    Parameters
    ----------
    P, n, K : how many pairs of fields, rows, and partners of each row.
    """

    def __init__(self, P, n, K):
        self.n, self.K = n, K
        self.unexplained = 1 / K - 1 / n
        self.departure = np.empty((P, n))                         # mean over partners of the mixed difference
        self.noise = np.empty((P, n))                             # what drawing K partners adds to its square
        self.joint_sums = np.zeros((P, 3))                        # PD_ij: sum, sum of squares, the squares' noise

    def add(self, p, chunk, other, mixed, changed, f_c):
        """Take in pair p's mixed differences of the rows of a chunk.

        Parameters
        ----------
        chunk : numbers of the rows r, (b,).   other : numbers of their partners c, (b K,), row by row.
        mixed, changed, f_c : D, f(u, v, rest of c) - f(c), and f(c), (b K,) each.
        """
        mixed, joint = mixed.reshape(-1, self.K), (changed + f_c).reshape(-1, self.K)
        self.departure[p, chunk] = mixed.mean(axis=1)
        self.noise[p, chunk] = self.unexplained * mixed.var(axis=1, ddof=1)
        means = joint.mean(axis=1)
        self.joint_sums[p] += means.sum(), means @ means, self.unexplained * joint.var(axis=1, ddof=1).sum()

    def squares(self):
        """Each row's part in value^2, (P, n): their mean is value^2."""
        return (self.departure - self.departure.mean(axis=1, keepdims=True)) ** 2 - self.noise

    def deviation(self):
        """How far drawing other rows moves value^2, times the root of their number, (P,)."""
        return self.squares().std(axis=1, ddof=1)

    def joint(self):
        """The square that value^2 is a part of, (P,)."""
        total, squares, noise = self.joint_sums.T / self.n
        return squares - total ** 2 - noise

    @staticmethod
    def named(part):
        """The column of that part: {name: numbers (P,)}."""
        return {"H": np.sqrt(part)}


class MeanSquare:
    """The mean of the squares over rows r and partners c; parameters and methods as ``PartialDependence``'s."""

    def __init__(self, P, n, K):
        self.n, self.K = n, K
        self.as_row = np.zeros((P, n))                            # mean square of row r with its partners
        self.as_partner = np.zeros((P, n))                        # and of row c with those whose partner it is
        self.joint_sums = np.zeros(P)

    def add(self, p, chunk, other, mixed, changed, f_c):
        """Take in pair p's mixed differences of the rows of a chunk."""
        square = mixed ** 2 / 4
        self.as_row[p, chunk] = square.reshape(-1, self.K).mean(axis=1)
        self.as_partner[p] += np.bincount(other, square, minlength=self.n) / self.K
        self.joint_sums[p] += changed @ changed / (2 * self.n * self.K)

    def squares(self):
        """Each row's part in value^2, (P, n): their mean is value^2."""
        return self.as_row

    def deviation(self):
        """How far drawing other rows moves value^2, times the root of their number: a row takes part in two roles."""
        return (self.as_row + self.as_partner).std(axis=1, ddof=1)

    def joint(self):
        """The square that value^2 is a part of, (P,)."""
        return self.joint_sums

    @staticmethod
    def named(part):
        """The column of that part: {name: numbers (P,)}."""
        return {"share": part}


AVERAGES = {"partial dependence": PartialDependence, "mean square": MeanSquare}
