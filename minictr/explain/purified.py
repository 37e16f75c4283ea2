"""Terms are purified: what a pair's term says of one field alone goes to that field, and the sum stays the logit."""

import functools
import itertools

import numpy as np

from ..checks import as_table
from ..layers import field_pairs, field_triples
from .summaries import after_one_row, forward_chunks

BLOCKS = ("fields", "pairs", "triples")         # of terms with one, two and three fields
CHECKED_ROWS = 100                              # of a forward pass, in which factors are held against terms


class Purified:
    """A model's terms, each with mean 0 over every one of its fields: the functional ANOVA of their sum.

    With a pair's term <a, b>, a made of one field's value and b of the other's, and with their means A and B,

        <a, b> = <a - A, b - B> + <a - A, B> + <A, b - B> + <A, B>

    which are the parts of the pair, of its two fields, and of the bias; a triple's product comes apart into eight parts
    alike, a field's term into two. Means are over a field's values as they occur in the background, each field by
    itself: a combination of values weighs the product of the fields' marginals. What is no term of fields, pairs or
    triples, such as a deep part, stays as it is.

    Parameters
    ----------
    model : a fitted model with ``terms`` and, if these have pairs or triples, ``factors``.
    background : table of at least one row.

    ``constant`` is what the bias gets, ``blocks`` are the names of the purified terms.
    Raises: TypeError for a model whose terms are no such products; ValueError for a background without rows, and where
    the factors that a model gives do not make its terms.

    Source: B. Lengerich et al., "Purifying interaction effects with the functional ANOVA", AISTATS 2020,
    https://arxiv.org/abs/1911.04974, where it is done on tables; of products of factors the means are all it takes.
    """

    def __init__(self, model, background):
        check_background(background)
        M, one = len(model.feature_names_in_), factors_of(after_one_row(model))
        self.fields_of = dict(zip(BLOCKS, ((np.arange(M),), field_pairs(M), field_triples(M)), strict=True))
        self.pair_of = np.zeros((M, M), np.intp)                  # the number of the pair of two fields
        self.pair_of[field_pairs(M)] = np.arange(M * (M - 1) // 2)
        self.blocks = BLOCKS[:max([BLOCKS.index(block) + 1 for block in one], default=0)]
        self.numbers = sum(factor.size for factors in one.values() for factor in factors)      # of a row's factors
        sums = dict.fromkeys(one, 0.0)
        for first, _, plain in forward_chunks(model, background, self.numbers):
            if not first:
                check_factors(plain)
            for block, factors in factors_of(plain).items():
                sums[block] += np.array([factor.sum(axis=0, dtype=np.float64) for factor in factors])
        self.means = {block: total / len(as_table(background)) for block, total in sums.items()}
        self.constant = sum(float(means.prod(axis=0).sum()) for means in self.means.values())

    def terms(self, plain, rows):
        """The purified terms of a replica's latest forward pass, over these rows (a slice), {block: (B, terms)}."""
        raw, B = plain.terms(), rows.stop - rows.start
        purified = {block: np.zeros((B, len(self.fields_of[block][0]))) for block in self.blocks}
        for block, factors in factors_of(plain).items():
            fields, means = self.fields_of[block], self.means[block]
            departures = [factor - mean for factor, mean in zip(factors, means, strict=True)]  # (B, terms, k)  a - A
            orders = range(len(fields))
            for chosen in itertools.chain(*(itertools.combinations(orders, size + 1) for size in orders)):
                part = functools.reduce(np.multiply, [departures[q] if q in chosen else means[q] for q in orders])
                self._add(purified, part.sum(axis=2), [fields[q] for q in chosen])
        return purified | {block: values for block, values in raw.items() if block not in BLOCKS}

    def _add(self, purified, parts, fields):
        """Add parts (B, terms) to the terms of the fields, pairs or triples (M, P or T of them) whose they are."""
        if len(fields) == 1:
            owner = fields[0]                                     # (terms,)
        elif len(fields) == 2:
            owner = self.pair_of[fields[0], fields[1]]
        else:
            owner = np.arange(parts.shape[1])
        block = purified[BLOCKS[len(fields) - 1]]
        block += sums_by_owner(parts, owner, block.shape[1])


def sums_by_owner(parts, owner, n):
    """Add up the columns of parts (B, .) that belong to each of n owners; ``owner`` has the number of each: (B, n)."""
    sums = np.zeros((len(parts), n))
    order = np.argsort(owner, kind="stable")
    own, starts = np.unique(owner[order], return_index=True)
    if len(own):                                                  # two fields have no triples
        sums[:, own] = np.add.reduceat(parts[:, order], starts, axis=1)
    return sums


def factors_of(plain):
    """The factors of a replica's latest forward pass, {block: arrays (B, ., k)}; a field's term is its only factor."""
    terms = plain.terms()
    factors = plain.factors() if any(block in terms for block in BLOCKS[1:]) else {}
    return {"fields": (terms["fields"][:, :, None],)} | factors if "fields" in terms else factors


def pair_factors(plain, i, j, pure=None):
    """What the term of two fields is made of in a replica's latest forward pass: a and b, each (B, k), as <a, b>.

    a depends on the value of field i alone, b on that of j. With ``pure``, a ``Purified``, it is the purified term: of
    triples it has a part too, and k is larger then.
    """
    if j < i:
        return pair_factors(plain, j, i, pure)[::-1]
    found = factors_of(plain)
    M = len(plain.feature_names_in_)
    a, b = [], []
    if "pairs" in found:
        (p,) = np.flatnonzero((field_pairs(M)[0] == i) & (field_pairs(M)[1] == j))
        means = pure.means["pairs"][:, p] if pure else (0, 0)
        a.append(found["pairs"][0][:, p] - means[0])
        b.append(found["pairs"][1][:, p] - means[1])
    if pure and "triples" in found:
        for t, triple in enumerate(zip(*field_triples(M), strict=True)):
            if {i, j} <= set(triple):                             # (u - U) (v - V) W
                of_i, of_j, other = triple.index(i), triple.index(j), triple.index(*set(triple) - {i, j})
                u, v, w = (pure.means["triples"][:, t][q] for q in (of_i, of_j, other))
                a.append(found["triples"][of_i][:, t] - u)
                b.append((found["triples"][of_j][:, t] - v) * w)
    return np.concatenate(a, axis=1, dtype=np.float64), np.concatenate(b, axis=1, dtype=np.float64)


def check_factors(plain):
    """Raise ValueError unless the factors of a replica's latest forward pass make its terms, to rounding.

    A subclass that writes ``terms`` of its own may have inherited ``factors`` that are those of others.
    """
    name, terms, found = type(plain).__name__, plain.terms(), factors_of(plain)
    if found.keys() != {block for block in terms if block in BLOCKS}:
        raise ValueError(f"the terms of {name} have the blocks {list(terms)}, and its factors {list(found)}: write a "
                         "factors() that has the pairs and triples of terms(), and no others")
    for block, factors in found.items():
        products = functools.reduce(np.multiply, [factor[:CHECKED_ROWS].astype(np.float64) for factor in factors])
        gap = np.abs(products.sum(axis=2) - terms[block][:CHECKED_ROWS])
        allowed = 1e-8 + 100 * np.finfo(terms[block].dtype).eps * np.abs(products).sum(axis=2)
        if (gap > allowed).any():
            row, term = np.unravel_index(np.argmax(gap - allowed), gap.shape)
            raise ValueError(f"a term of {block} of {name} is {terms[block][row, term]:.6g} in a row where its factors "
                             f"make {products[row, term].sum():.6g}: its factors() are not what its terms() are made "
                             "of. Write both in the same class")


def as_background(background):
    """A background as a table; TypeError for a number of rows, which is what ``interaction_effects`` takes."""
    if isinstance(background, (int, np.integer)):
        raise TypeError(f"background is a table of rows here, such as a DataFrame of the training rows, got "
                        f"{background}; for so many of them pass X.sample({background})")
    return as_table(background)


def check_background(background):
    """Raise ValueError for a background without rows."""
    if not len(as_background(background)):
        raise ValueError("the background has no rows, and terms are purified by their means over it; pass, for "
                         "example, the training rows as background=")


def check_purified(purified, X, background):
    """Raise ValueError for what is none of the kinds, and for one row compared with itself: its terms would be 0."""
    if not isinstance(purified, (bool, np.bool_)) and not (isinstance(purified, str) and purified == "joint"):
        raise ValueError(f'purified must be True, False or "joint", got {purified!r}')
    if purified and background is None and len(as_table(X)) == 1:
        raise ValueError("X has one row, and compared with itself alone all that it has is a bias; pass the rows that "
                         "it is to be compared with, such as the training rows, as background=")
