"""Shapley values of the fields, and interactions of pairs, of sums of products: exact, in closed form."""

import itertools

import numpy as np
import pandas as pd

from ..checks import as_table, is_whole
from ..layers import field_pairs, field_triples
from .contribution_tables import CHECKED_ROWS, all_terms, names_of_terms, row_by_row, terms_reader
from .purified import BLOCKS, check_purified, sums_by_owner
from .summaries import check_model, forward_chunks, unit_of

# The share of a purified term that each of its fields gets, by order; and each pair of its fields, where pairs get any.
TO_FIELDS = {1: {"fields": 1, "pairs": 1 / 2, "triples": 1 / 3}, 2: {"fields": 1, "pairs": 0, "triples": -1 / 6}}
TO_PAIRS = {"pairs": 1, "triples": 1 / 2}


def shapley(model, X, *, order=1, background=None, wide=False):
    """Return the Shapley values of each row's fields, or those of its fields and pairs: exact, without sampling.

    The logit is a game, and the fields are its players. v(T), what fields T win, is the mean logit where they have the
    row's values and each other field has values of the background, drawn by itself. A field's Shapley value is what it
    adds to v on average, when fields join in an order drawn at random.

    Parameters
    ----------
    model : a fitted model whose logit is made of terms of fields, pairs and triples, each a sum of products of one
        factor a field: LR, FM, FFM, FwFM or HOFM.
    X : table of its fields.
    order : 1 for Shapley values of fields; 2 for pairs too: their Shapley interaction index, and what is left for the
        fields, so that all add up to the logit.
    background : table of rows, such as the training rows; X, of two rows or more, if None.
    wide : as in ``contributions``.

    With the purified terms f of ``contributions``, v(T) is the sum of the f of all sets of fields within T, since the
    mean of f over one of its fields is 0. By symmetry a term of n fields, which counts once all of them have joined, is
    shared out equally:

        S_i = f_i + 1/2 sum_j f_ij + 1/3 sum_{j<l} f_ijl
        I_ij = f_ij + 1/2 sum_l f_ijl
        R_i = S_i - 1/2 sum_j I_ij = f_i - 1/6 sum_{j<l} f_ijl

    S_i is a field's Shapley value (order 1); I_ij and R_i are what a pair and a field have in order 2. Of a model
    without triples the values of order 2 *are* the purified terms. All this costs what a prediction costs for each pair
    of fields, where the definition asks for 2^M means.

    Other programs (``shap``'s interventional values) take the other fields' values from the same row of the background,
    all together. Of a model without triples these are the values of order 1 less their mean over the background:
    ``shapley(model, X, background=b)`` less the means of ``shapley(model, b)``. Where fields are independent in the
    background these means are 0.

    Returns
    -------
    One line for each term of each row, as ``contributions``: row, term ("bias", the mean logit that the values start
    from; "field"; if order is 2 "pair"), field_i, field_j, value. Summing value by row gives the logit. They can be
    drawn with ``plots.waterfall`` and ``plots.beeswarm``.

    Raises: TypeError for a model whose logit has other terms, such as a deep part, or one that depends on the whole
    row; ValueError for an order other than 1 and 2, and a background without rows.

    Sources: L. Shapley, "A value for n-person games", 1953; the interaction index: M. Grabisch and M. Roubens 1999,
    https://doi.org/10.1007/s001820050125; its values of order 2, which add up: S. Lundberg et al. 2018,
    https://arxiv.org/abs/1802.03888, and as n-Shapley values S. Bordt and U. von Luxburg 2023,
    https://arxiv.org/abs/2209.04012.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(epochs=1).fit(clicks.X, clicks.y)
    >>> values = shapley(model, clicks.X[:5], background=clicks.X)
    >>> values["term"].value_counts().to_dict()
    {'field': 40, 'bias': 5}
    >>> bool(np.allclose(values.groupby("row")["value"].sum(), model.decision_function(clicks.X[:5]), atol=1e-5))
    True
    """
    if not is_whole(order) or order not in TO_FIELDS:
        raise ValueError(f"order must be 1, for fields, or 2, for fields and pairs, got {order!r}")
    check_model(model)
    all_terms(model, as_table(X).iloc[:CHECKED_ROWS])             # raises where there are none, or something is missing
    check_purified(True, X, background)
    reader, names = terms_reader(model, X, True, background), list(model.feature_names_in_)
    others = [term for term, *_ in names_of_terms(model, reader) if term not in ("bias", "field", "pair", "triple")]
    if others:
        raise TypeError(f"the logit of {type(model).__name__} has a term {others[0]!r}, which cannot be shared out to "
                        "its fields in closed form. explain.contributions(..., purified=True) has its other terms, "
                        "explain.one_prediction explains single predictions of any model")
    lines = [("bias", None, None), *(("field", name, None) for name in names)]
    lines += [("pair", *pair) for pair in itertools.combinations(names, 2)] if order == 2 else []
    values = np.empty((len(as_table(X)), len(lines)))
    for first, s, plain in forward_chunks(model, X, reader.numbers):
        rows = slice(first, first + len(s))
        values[rows, 0] = plain.bias() + reader.constant
        values[rows, 1:] = _shared_out(reader.terms(plain, rows), reader.pair_of, order)
    values[:, 0] = model.task_.plus_centre(values[:, 0])
    table = row_by_row(pd.DataFrame(lines, columns=["term", "field_i", "field_j"], dtype=object), values, wide)
    table.attrs = {"quantity": "Shapley value" if order == 1 else "Shapley values and interactions",
                   "unit": unit_of(model), "fields": names, "task": model.task_}
    return table


def _shared_out(terms, pair_of, order):
    """What each field gets (B, M), and if order is 2 each pair (B, M + P), of the purified terms of fields and more."""
    M = len(pair_of)
    ends = dict(zip(BLOCKS, ((np.arange(M),), field_pairs(M), field_triples(M)), strict=True))
    fields, pairs = np.zeros((len(terms["fields"]), M)), np.zeros((len(terms["fields"]), M * (M - 1) // 2))
    for block, f in terms.items():
        for i in ends[block] if TO_FIELDS[order][block] else ():
            fields += TO_FIELDS[order][block] * sums_by_owner(f, i, M)
        for i, j in itertools.combinations(ends[block], 2) if order == 2 else ():
            pairs += TO_PAIRS[block] * sums_by_owner(f, pair_of[i, j], pairs.shape[1])
    return np.concatenate([fields, pairs], axis=1) if order == 2 else fields
