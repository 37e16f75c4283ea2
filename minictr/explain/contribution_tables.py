"""Contributions: what the bias, each field and each pair of fields adds to a logit, where logits are such sums."""

import numpy as np
import pandas as pd

from ..checks import as_table
from ..models import Model
from .summaries import _forward_chunks, _pairs_of_fields, _summary_table, _unit


def contributions(model, X, *, wide=False):
    """What the bias, each field and each pair of fields adds to the logit of each row: an exact sum.

        logit = bias + sum of the fields' terms + sum of the pairs' terms  (+ DeepFM's deep part)

    Parameters
    ----------
    model : a fitted LR, FM, AFM or DeepFM, or a model of your own with ``field_contributions`` and
        ``pair_contributions``.   X : table of its fields.
    wide : one line for each row of X and one column for each term, for many rows: 739,012 rows of 9 fields are 136 MB
        instead of 1.4 GB.

    The sum is exact; how it is shared out is not unique: a pair's term can carry what one of its fields could say
    alone, and another model may share the same prediction out differently. A DeepFM's FM part is shared out in the same
    way; what its MLP adds is one term "deep part", as nothing says which field it is due to. The bias is DeepFM's last
    bias of the MLP, which starts at the base rate: the paper has no w_0, and the deep part is counted without it.

    Returns
    -------
    One line for each term of each row: row (position in X), term ("bias", "field", "pair" or "deep part"), field_i,
    field_j (None where there is none), value (log-odds; for regression the target's unit). Summing value by row gives
    ``model.decision_function(X)``. If ``wide``, columns (term, field_i, field_j) of three levels, "" where there is no
    field; ``.sum(axis=1)`` gives the same.

    Raises: TypeError for a model whose logit is no such sum (AutoInt).

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(epochs=1).fit(clicks.X, clicks.y)
    >>> table = contributions(model, clicks.X[:5])
    >>> bool(np.allclose(table.groupby("row")["value"].sum(), model.decision_function(clicks.X[:5]), atol=1e-5))
    True
    >>> contributions(model, clicks.X[:5], wide=True)["field"].shape
    (5, 8)
    """
    terms, values = _all_terms(model, X)
    N = len(values)
    if wide:
        table = pd.DataFrame(values, columns=pd.MultiIndex.from_frame(terms.fillna("")))
    else:
        table = pd.DataFrame({"row": np.repeat(np.arange(N), len(terms))})
        for column in terms:
            table[column] = pd.Series(np.tile(terms[column].to_numpy(), N), dtype=object)     # None stays None
        table["value"] = values.ravel()
    table.attrs = {"quantity": "contribution", "unit": _unit(model), "fields": list(model.feature_names_in_),
                   "task": model.task_}
    return table


def pair_importance(model, X, *, by=None):
    """How much each pair of fields adds to or takes from the logit: the mean |contribution| over the rows of X.

    A pair whose contribution is large but the same in every row ranks high too. See ``contributions`` for what
    the terms can and cannot say.

    Parameters
    ----------
    model : a fitted FM, AFM or DeepFM (of which it is the FM part: its deep part has no pairs).
    X : table of its fields, at least one row.
    by : None, or a column of X or one label a row, for one group a value: see ``attention``.

    Returns: one row a pair: field_i, field_j, value, low, high (5th and 95th percentile of |contribution|); with ``by``
    for each group, after group and rows. ``attrs["note"]`` says of a DeepFM what is left out, else it is None.
    Raises: TypeError for a model whose logit is no sum over pairs.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> pair_importance(FM(epochs=1).fit(clicks.X, clicks.y), clicks.X).columns.tolist()
    ['field_i', 'field_j', 'value', 'low', 'high']
    """
    _check_additive(model)
    if type(model).pair_contributions is Model.pair_contributions:
        raise TypeError(f"{type(model).__name__} has no pairs: its logit is a sum over fields. FM and AFM have pairs")
    lines = _pairs_of_fields(list(model.feature_names_in_))
    table = _summary_table(model, X, lambda: np.abs(model.pair_contributions()), lines, by)
    partly = type(model).deep_contributions is not Model.deep_contributions
    table.attrs |= {"quantity": "contribution",
                    "unit": f"mean |contribution|{' in the FM part' * partly} ({_unit(model)})",
                    "note": "of the FM part alone: what the deep part makes of a pair is not in it" if partly else None}
    return table


def _check_additive(model):
    model.check_fitted()
    if type(model).field_contributions is Model.field_contributions:
        model.field_contributions()         # raises, and says why


def _all_terms(model, X):
    """The terms, one line each: term, field_i, field_j (None where there is none); their values (N, terms)."""
    _check_additive(model)
    fields = list(model.feature_names_in_)
    names = [("bias", None, None)] + [("field", name, None) for name in fields]
    if type(model).pair_contributions is not Model.pair_contributions:
        names += [("pair", *pair) for pair in _pairs_of_fields(fields).itertuples(index=False)]
    if type(model).deep_contributions is not Model.deep_contributions:
        names.append(("deep part", None, None))
    values = np.empty((len(as_table(X)), len(names)), model.dtype)
    for first in _forward_chunks(model, X):
        terms = _terms(model)
        values[first:first + len(terms)] = terms
    return pd.DataFrame(names, columns=["term", "field_i", "field_j"], dtype=object), values


def _terms(model):
    """The terms of the latest forward pass side by side: bias, fields, pairs, and perhaps a deep part."""
    fields = model.field_contributions()                          # (B, M)
    parts = [np.repeat(model.bias(), len(fields))[:, None], fields, model.pair_contributions()]
    if (deep := model.deep_contributions()) is not None:
        parts.append(deep[:, None])
    return np.concatenate(parts, axis=1)
