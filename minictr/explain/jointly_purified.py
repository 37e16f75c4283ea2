"""Terms are purified under the weights that combinations of values have in the data, on tables of their values."""

import math

import numpy as np

from ..checks import as_table, warn
from ..layers import field_pairs, field_triples
from ..slots import Slots
from .purified import BLOCKS, check_background, check_factors, factors_of
from .summaries import after_one_row, forward_slots

MAX_CELLS = 2 ** 24             # of all tables together: 128 MB
ROUNDS, TOLERANCE = 2_000, 1e-10


class JointlyPurified:
    """A model's terms, each with mean 0 over the rows that agree in all but one of its fields, for each of them.

    As ``Purified``, but a combination of values weighs what it weighs in the background: nothing, if it is not there.
    No product comes apart in closed form then. Each term is a table of its fields' values; the weighted means over one
    field after the other are taken from it and given to the term without this field, until none are left (Lengerich et
    al. 2020, algorithm 1): of triples first, then of pairs, then of fields. A mean over rows that are not there, of a
    value or of two values together that the background does not hold, is taken under the fields' marginals.

    Parameters
    ----------
    model, background : as for ``Purified``.   X : the table whose terms are to be read.

    Raises: as ``Purified``; ValueError where the tables would have more than MAX_CELLS cells. Warns where means are
    left after ROUNDS rounds, as where fields nearly determine each other; the sum is exact in any case.
    """

    numbers = 0

    def __init__(self, model, X, background):
        check_background(background)
        names = list(model.feature_names_in_)
        one = factors_of(after_one_row(model))
        self.blocks = BLOCKS[:max([BLOCKS.index(block) + 1 for block in one], default=0)]
        indices = {"fields": (np.arange(len(names)),), "pairs": field_pairs(len(names)),
                   "triples": field_triples(len(names))}
        self.fields_of = {block: list(zip(*(part.tolist() for part in indices[block]), strict=True))
                          for block in self.blocks}
        slots, codes, first_rows = cells_of(model, X, background)
        n = len(as_table(X))
        self.codes, known = codes[:n], codes[n:]
        _check_size([[len(first_rows[i]) for i in fields] for block in one for fields in self.fields_of[block]])
        self.tables = self._raw_tables(model, slots, first_rows, one)
        weights = [np.bincount(known[:, i], minlength=len(rows)) / len(known) for i, rows in enumerate(first_rows)]
        for size in range(len(self.blocks), 0, -1):               # triples, pairs, fields
            for fields in [fields for fields in self.tables if len(fields) == size]:
                shape = self.tables[fields].shape
                held = np.ravel_multi_index(tuple(known[:, i] for i in fields), shape)
                joint = np.bincount(held, minlength=math.prod(shape)).reshape(shape) / len(known)
                pure, means, left = purify(self.tables[fields], joint, [weights[i] for i in fields])
                if left > TOLERANCE:
                    warn(f"after {ROUNDS:,} rounds the term of {' x '.join(names[i] for i in fields)} still has means "
                         f"of up to {left:.1e} of its size: the fields nearly determine each other")
                self.tables[fields] = pure
                for axis, mean in enumerate(means):
                    rest = fields[:axis] + fields[axis + 1:]
                    self.tables[rest] = self.tables.get(rest, 0.0) + mean
        self.constant = float(self.tables.pop((), 0.0))

    def terms(self, plain, rows):
        """The purified terms of these rows of X (a slice), {block: (B, terms)}; the rest is a replica's latest pass."""
        codes = self.codes[rows]
        purified = {block: np.empty((len(codes), len(fields))) for block, fields in self.fields_of.items()}
        for block, all_fields in self.fields_of.items():
            for t, fields in enumerate(all_fields):
                purified[block][:, t] = self.tables[fields][tuple(codes[:, i] for i in fields)]
        return purified | {block: values for block, values in plain.terms().items() if block not in BLOCKS}

    def _raw_tables(self, model, slots, first_rows, one):
        """The model's own terms as tables of their fields' values: {fields: (values of each of them)}."""
        numbers = sum(factor.size for factors in one.values() for factor in factors)
        found = {}                                                # (block, term, field): (values of the field, k)
        for i, rows in enumerate(first_rows):
            for first, _, plain in forward_slots(model, slots[rows], numbers):
                if not first:
                    check_factors(plain)
                for block, factors in factors_of(plain).items():
                    for t, fields in enumerate(self.fields_of[block]):
                        if i in fields:
                            factor = factors[fields.index(i)][:, t].astype(np.float64)
                            found.setdefault((block, t, i), []).append(factor)
        tables = {}
        for block in one:
            for t, fields in enumerate(self.fields_of[block]):
                *first, last = (np.concatenate(found[block, t, i]) for i in fields)
                product = np.ones((1, last.shape[1]))             # (combinations of values, k)
                for factor in first:
                    product = (product[:, None] * factor).reshape(-1, factor.shape[1])
                tables[fields] = (product @ last.T).reshape([len(first_rows[i]) for i in fields])
        return tables


def purify(table, joint, marginals):
    """Take the weighted means over each axis from a table until none are left.

    Parameters
    ----------
    table : of one to three axes.   joint : the weight of each of its cells, at least 0.
    marginals : the weights along each axis, for means over cells that weigh nothing.

    Returns
    -------
    The table without them; what was taken over each axis, arrays without that axis, which with it add up to the table
    as it was; and the largest mean that is left, as a share of the table's largest number.

    >>> even = np.full((2, 2), 0.25)
    >>> pure, (of_columns, of_rows), left = purify(np.array([[1.0, 2.0], [3.0, 8.0]]), even, [[0.5, 0.5]] * 2)
    >>> pure, of_columns, of_rows
    (array([[ 1., -1.],
           [-1.,  1.]]), array([2., 5.]), array([-2.,  2.]))
    """
    pure, weights, taken = table, [], []
    for axis, marginal in enumerate(marginals):
        total = joint.sum(axis=axis, keepdims=True)
        along = np.expand_dims(np.asarray(marginal, float), [other for other in range(table.ndim) if other != axis])
        weights.append(np.where(total > 0, joint / np.where(total > 0, total, 1), along))
        taken.append(np.zeros(np.delete(table.shape, axis)))
    size = np.abs(table).max() or 1.0
    for _ in range(ROUNDS):
        left = 0.0
        for axis, weight in enumerate(weights):
            mean = (weight * pure).sum(axis=axis)
            pure = pure - np.expand_dims(mean, axis)
            taken[axis] = taken[axis] + mean
            left = max(left, np.abs(mean).max() / size)
        if left <= TOLERANCE:
            break
    return pure, taken, left


def cells_of(model, X, background):
    """The rows of X and then of the background: Slots; the number of each field's cell (N, M); first rows of each.

    A cell is all that a row holds in a field; two of the same values in another order are one.
    """
    encode = model.encoder_.encode
    own = encode(model.as_fields(X))
    others = encode(model.as_fields(background), widths=np.diff(own.starts, append=own.n_slots))
    own = encode(model.as_fields(X), widths=np.diff(others.starts, append=others.n_slots))
    ids = np.concatenate([own.ids, others.ids])
    x = None if own.x is None else np.concatenate([own.x, others.x])
    bounds = [*own.starts.tolist(), own.n_slots]
    codes, first_rows = np.empty((len(ids), own.n_fields), np.intp), []
    for i in range(own.n_fields):
        held = ids[:, bounds[i]:bounds[i + 1]]
        if x is not None:
            order = np.argsort(held, axis=1, kind="stable")
            weight = np.take_along_axis(x[:, bounds[i]:bounds[i + 1]], order, axis=1)
            held = np.concatenate([np.take_along_axis(held, order, axis=1), weight], axis=1, dtype=np.float64)
        _, first, code = np.unique(held, axis=0, return_index=True, return_inverse=True)
        codes[:, i] = code.ravel()                                # NumPy 2.0.0 kept the two dimensions
        first_rows.append(first)
    return Slots(ids, x, own.starts), codes, first_rows


def _check_size(shapes):
    """Raise ValueError where tables of these shapes would be too large to hold."""
    if sum(map(math.prod, shapes)) > MAX_CELLS:
        raise ValueError(f"purified=\"joint\" works on tables of the values of each term's fields, which would have "
                         f"{sum(map(math.prod, shapes)):,} cells; at most {MAX_CELLS:,} are held: give numbers bins "
                         "and long vocabularies a min_count, or use purified=True, which needs no tables")
