"""Contributions are what the bias, each field and each pair adds to a logit, where logits are such sums."""

import itertools

import numpy as np
import pandas as pd

from ..checks import as_table
from ..estimator.registry import offers
from .jointly_purified import JointlyPurified
from .purified import Purified, check_purified
from .summaries import after_one_row, check_model, forward_chunks, pairs_of_fields, summary_table, unit_of
from .support import with_support

CHECKED_ROWS = 100          # of a table, in which terms are held against logits where not all rows are


def contributions(model, X, *, wide=False, purified=False, background=None, support=None):
    """Return what the bias, each field and each pair of fields adds to the logit of each row: an exact sum.

        s = bias + sum of the fields' terms + sum of the pairs' terms  (+ triples, crosses, a deep part, if there)

    Parameters
    ----------
    model : a fitted model with ``terms``, such as FM, or one of your own.   X : table of its fields.
    wide : one line for each row of X and one column for each term, for many rows: 739,012 rows of 9 fields are 136 MB
        instead of 1.4 GB.
    purified : True for terms of which none carries what a smaller one could: over the values of each of its fields, a
        term has mean 0, and so says nothing of a field alone that is a pair's (functional ANOVA, Lengerich et al. 2020,
        https://arxiv.org/abs/1911.04974). What is taken from a pair goes to its fields and to the bias; the sum is the
        same logit. The fields' values weigh what they weigh in ``background``, each field by itself. "joint": two (or
        three) values together weigh what they weigh there; a term has mean 0 over the rows that agree in all but one
        of its fields. It takes a table of values for each term, and so has its limits.
    background : table of rows that ``purified`` takes its means over, such as the training rows; X if None, which has
        two rows or more then.
    support : table of rows, such as the training rows, in which to count those that hold the values of a term: a column
        ``rows`` says on how much data the term rests. For a few rows of X: it goes over all of the table for each.

    The sum is exact. As the model has its terms, how it is shared out is not unique: a pair's term can carry what one
    of its fields could say alone, and another model may share the same prediction out differently. Purified terms are
    unique, given the logits of all combinations of values and the background. What an MLP adds, as in DeepFM, is one
    term "deep part", as nothing says which field it is due to, and stays as it is. DeepFM's bias is the last one of its
    MLP, which starts at the base rate: the paper has no w_0, and the deep part is counted without it.

    Returns
    -------
    One line for each term of each row: row (position in X), term ("bias", "field", "pair", "triple", "deep part", or
    what else the model calls it), field_i, field_j (None where there is none; of a model with triples field_l too),
    value (log-odds; for regression the target's unit). Summing value by row gives ``model.decision_function(X)``. With
    ``support`` also rows, missing for a term that names no field: a number is the same if it lies in the same tenth of
    the table, a cell of several values if the other holds all of them. If ``wide``, columns (term, field_i, field_j) of
    as many levels, "" where there is no field; ``.sum(axis=1)`` gives the same.

    Raises: TypeError for a model whose logit is no such sum; ValueError where the terms that a model gives do
    not add up to its logit. ``purified``: TypeError where a pair's term depends on more of the row than the values of
    its two fields (AFM, by its attention); ValueError where there are no rows to take means over, or the tables of
    "joint" were too large.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(epochs=1).fit(clicks.X, clicks.y)
    >>> table = contributions(model, clicks.X[:5], purified=True, background=clicks.X)
    >>> bool(np.allclose(table.groupby("row")["value"].sum(), model.decision_function(clicks.X[:5]), atol=1e-5))
    True
    >>> contributions(model, clicks.X[:5], wide=True)["field"].shape
    (5, 8)
    """
    if wide and support is not None:
        raise ValueError("support= makes a column of a table that has one line for each term: leave wide out")
    check_purified(purified, X, background)
    terms, values = all_terms(model, X, purified, background)
    table = row_by_row(terms, values, wide)
    table.attrs = {"quantity": "contribution", "unit": unit_of(model), "fields": list(model.feature_names_in_),
                   "task": model.task_, "purified": purified}
    return table if support is None else with_support(table, model, X, support, terms)


def row_by_row(terms, values, wide):
    """Return a table of terms (a line each) and their values (N, terms), as ``contributions`` does."""
    N = len(values)
    if wide:
        table = pd.DataFrame(values, columns=pd.MultiIndex.from_frame(terms.fillna("")))
    else:
        table = pd.DataFrame({"row": np.repeat(np.arange(N), len(terms))})
        for column in terms:
            table[column] = pd.Series(np.tile(terms[column].to_numpy(), N), dtype=object)     # None stays None
        table["value"] = values.ravel()
    return table


def pair_importance(model, X, *, by=None, purified=False, background=None):
    """Return how much each pair of fields adds to or takes from the logit: the mean |contribution| over the rows of X.

    A pair whose contribution is large but the same in every row ranks high too, unless it is purified. See
    ``contributions`` for what the terms can and cannot say.

    Parameters
    ----------
    model : a fitted model whose ``terms`` have pairs, such as FM (a deep part is none of them).
    X : table of its fields, at least one row.
    by : None, or a column of X or one label a row, for one group a value: see ``attention``.
    purified, background : as in ``contributions``: without what a pair's term says of one of its fields alone.

    Returns: one row a pair: field_i, field_j, value, low, high (5th and 95th percentile of |contribution|); with ``by``
    for each group, after group and rows. ``attrs["note"]`` says that a deep part is left out, if there is one.
    Raises: TypeError for a model whose ``terms`` have no pairs; ``purified``: as ``contributions``.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> table = pair_importance(model, clicks.X, purified=True)
    >>> table.loc[table["value"].idxmax(), ["field_i", "field_j"]].tolist()
    ['user_segment', 'ad_category']
    """
    check_model(model)
    if not offers(type(model), "terms"):
        model.terms()                                             # raises, and says why
    names = names_of_terms(model)
    if not has_pairs(model):
        raise TypeError(f"{type(model).__name__} has no terms of pairs. For what pairs of fields do in any model use "
                        "explain.interaction_effects")
    check_purified(purified, X, background)
    lines = pairs_of_fields(list(model.feature_names_in_))
    terms = terms_reader(model, X, purified, background)
    table = summary_table(model, X, lambda *chunk: np.abs(terms.terms(*chunk)["pairs"]), lines, by, terms.numbers)
    others = [term for term, *_ in names if term not in ("bias", "field", "pair")]
    table.attrs |= {"quantity": "contribution",
                    "unit": f"mean |contribution|{' in the terms of pairs' * bool(others)} ({unit_of(model)})",
                    "purified": purified,
                    "note": f"of the terms of pairs alone: what the {others[0]} makes of a pair is not in it"
                            if others else None}
    return table


def has_pairs(model):
    """Return whether the terms of a fitted model have some for pairs of fields."""
    return any(term == "pair" for term, *_ in names_of_terms(model)) if offers(type(model), "terms") else False


def is_sum_of_fields_and_pairs(model):
    """Return whether a fitted model's logit is the sum of terms of single fields and of pairs, and of nothing else."""
    return offers(type(model), "terms") and {term for term, *_ in names_of_terms(model)} <= {"bias", "field", "pair"}


class Terms:
    """A model's terms as they are, with the attributes and methods of ``Purified``."""

    constant, numbers = 0.0, 0

    def terms(self, plain, rows):
        """The terms of a replica's latest forward pass, {block: (B, terms)}."""
        return plain.terms()


def terms_reader(model, X, purified, background):
    """Return what reads the terms of the rows of X from a replica: ``Terms``, or a kind of ``Purified``."""
    if not purified and background is not None:
        raise ValueError("background= is what purified terms are taken from: set purified=True, or leave it out")
    background = X if background is None else background
    if isinstance(purified, str):
        return JointlyPurified(model, X, background)
    return Purified(model, background) if purified else Terms()


def names_of_terms(model, reader=None):
    """Return (term, field_i, field_j, field_l) of the bias and of each term, in order; None where there is none."""
    fields, names = list(model.feature_names_in_), [("bias", None, None, None)]
    for block, values in (reader or Terms()).terms(after_one_row(model), slice(0, 1)).items():
        if block == "fields":
            names += [("field", name, None, None) for name in fields]
        elif block == "pairs":
            names += [("pair", *pair, None) for pair in itertools.combinations(fields, 2)]
        elif block == "triples":
            names += [("triple", *triple) for triple in itertools.combinations(fields, 3)]
        else:
            n = values.shape[1]
            names += [(block if n == 1 else f"{block} {number}", None, None, None) for number in range(1, n + 1)]
    return names


def all_terms(model, X, purified=False, background=None):
    """Return the terms, one line each: term, field_i, field_j (None where there is none); their values (N, terms).

    A model with triples has a column field_l too. ``purified``, ``background``: as in ``contributions``.
    """
    check_model(model)
    if not offers(type(model), "terms"):
        model.terms()                                             # raises, and says why
    reader = terms_reader(model, X, purified, background)
    names = names_of_terms(model, reader)
    values = np.empty((len(as_table(X)), len(names)), model.task_.plus_centre(model.bias()).dtype)
    for first, s, plain in forward_chunks(model, X, reader.numbers):
        bias, rows = np.repeat(plain.bias(), len(s))[:, None], slice(first, first + len(s))
        _check_sum(model, np.concatenate([bias, *plain.terms().values()], axis=1), s)
        values[rows] = np.concatenate([bias + reader.constant, *reader.terms(plain, rows).values()], axis=1)
    values[:, 0] = model.task_.plus_centre(values[:, 0])
    table = pd.DataFrame(names, columns=["term", "field_i", "field_j", "field_l"], dtype=object)
    return (table if (table["term"] == "triple").any() else table.drop(columns="field_l")), values


def _check_sum(model, terms, s):
    """Raise ValueError unless the bias and all terms add up to the logits, to rounding."""
    size = np.abs(terms).sum(axis=1, dtype=np.float64)
    gap = np.abs(terms.sum(axis=1, dtype=np.float64) - s)
    allowed = 1e-8 + 100 * np.finfo(terms.dtype).eps * size
    if (gap > allowed).any():
        row = int(np.argmax(gap - allowed))
        raise ValueError(f"the bias and the terms of {type(model).__name__} add up to {terms[row].sum():.6g} in a row "
                         f"whose logit is {s[row]:.6g}: its terms() leaves something out or counts it "
                         f"twice, or the row's numbers are too large to be added up in {model.dtype}: scale them")
