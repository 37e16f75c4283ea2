"""Attention and contributions: what a model's own forward pass says of its fields and pairs."""

import numpy as np
import pandas as pd

from ..checks import as_table
from ..layers import field_pairs
from ..models import AFM, AutoInt, Model

# Means are over all rows. The interval needs all values at once, so it is taken over evenly spaced rows.
INTERVAL_ROWS = 20_000
INTERVAL = "5th to 95th percentile over rows"


def attention(model, X):
    """Where a fitted AFM or AutoInt looks: the mean attention over all rows of X, by field names.

    Attention says how much a pair is weighed, not what it adds to the prediction: see ``contributions``.

    Parameters
    ----------
    model : a fitted AFM or AutoInt.   X : table of the model's fields, at least one row.

    Returns
    -------
    For AFM one row a pair: field_i, field_j, value (mean a_ij), low, high (5th and 95th percentile over rows), uniform
    (1/P, what a model that prefers no pair would have). Values sum to 1. For AutoInt one row for each layer, head,
    asking field_i and answering field_j; the values of one layer, head and field_i sum to 1. From the second layer on a
    position is called by its field, but already holds a mixture of fields. ``attrs`` names the
    quantity, unit, interval, fields and uniform value.

    Raises: TypeError for a model without attention.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> table = attention(AFM(epochs=1).fit(clicks.X, clicks.y), clicks.X)
    >>> len(table), round(float(table["value"].sum()), 4)
    (28, 1.0)
    """
    if isinstance(model, AFM):
        return _afm_attention(model, X)
    if isinstance(model, AutoInt):
        return _autoint_attention(model, X)
    raise TypeError(f"{type(model).__name__} has no attention; AFM and AutoInt do. For what each pair adds to the "
                    "prediction of an FM, use explain.contributions")


def _afm_attention(model, X):
    summary = _summarise(model, X, lambda: model.attention.cache["aij"])
    table = _pair_table(model, summary)
    uniform = 1 / len(table)
    table["uniform"] = uniform
    table.attrs |= {"quantity": "attention", "unit": "mean attention (share of 1)", "uniform": uniform}
    return table


def _autoint_attention(model, X):
    fields = list(model.feature_names_in_)
    M, layers, heads = len(fields), model.num_layers, model.num_heads
    summary = _summarise(model, X, lambda: np.stack(
        [layer.cache["a"] for layer in model.interacting], axis=1).reshape(-1, layers * heads * M * M))
    index = pd.MultiIndex.from_product(
        [range(1, layers + 1), range(1, heads + 1), fields, fields], names=["layer", "head", "field_i", "field_j"])
    table = index.to_frame(index=False).assign(**summary, uniform=1 / M)
    table.attrs = {"quantity": "attention", "unit": "mean attention (share of 1)", "interval": INTERVAL,
                   "fields": fields, "uniform": 1 / M}
    return table


def contributions(model, X):
    """What the bias, each field and each pair of fields adds to the logit of each row: an exact sum.

        logit = bias + sum of the fields' terms + sum of the pairs' terms

    Parameters
    ----------
    model : a fitted LR, FM or AFM, or a model of your own with ``field_contributions`` and ``pair_contributions``
        (a deep model's logit is no such sum).   X : table of its fields.

    The sum is exact; how it is shared out is not unique: a pair's term can carry what one of its fields could say
    alone, and another model may share the same prediction out differently.

    Returns
    -------
    One line for each term of each row: row (position in X), term ("bias", "field" or "pair"), field_i, field_j (None
    where there is none), value (log-odds; for regression the target's unit). Summing value by row gives
    ``model.decision_function(X)``.

    Raises: TypeError for a model whose logit is no sum over pairs.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(epochs=1).fit(clicks.X, clicks.y)
    >>> table = contributions(model, clicks.X[:5])
    >>> bool(np.allclose(table.groupby("row")["value"].sum(), model.decision_function(clicks.X[:5]), atol=1e-5))
    True
    """
    _check_additive(model)
    fields = list(model.feature_names_in_)
    i, j = field_pairs(len(fields))
    names = [("bias", None, None)] + [("field", name, None) for name in fields]
    values = [_terms(model) for _ in _forward_chunks(model, X)]
    if any(part.shape[1] > len(names) for part in values):
        names += [("pair", fields[a], fields[b]) for a, b in zip(i, j, strict=True)]
    values = np.concatenate(values) if values else np.empty((0, len(names)), model.dtype)
    N = len(values)
    terms = pd.DataFrame(names, columns=["term", "field_i", "field_j"], dtype=object)
    table = pd.DataFrame({"row": np.repeat(np.arange(N), len(names))})
    for column in terms:
        table[column] = pd.Series(np.tile(terms[column].to_numpy(), N), dtype=object)     # None stays None
    table["value"] = values.ravel()
    table.attrs = {"quantity": "contribution", "unit": _unit(model), "fields": fields, "task": model.task_}
    return table


def pair_importance(model, X):
    """How much each pair of fields adds to or takes from the logit: the mean |contribution| over all rows of X.

    A pair whose contribution is large but the same in every row ranks high too. See ``contributions`` for what
    the terms can and cannot say.

    Parameters
    ----------
    model : a fitted FM or AFM.   X : table of its fields, at least one row.

    Returns: one row a pair: field_i, field_j, value, low, high (5th and 95th percentile of |contribution|).
    Raises: TypeError for a model whose logit is no sum over pairs.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> pair_importance(FM(epochs=1).fit(clicks.X, clicks.y), clicks.X).columns.tolist()
    ['field_i', 'field_j', 'value', 'low', 'high']
    """
    _check_additive(model)
    if type(model).pair_contributions is Model.pair_contributions:
        raise TypeError(f"{type(model).__name__} has no pairs: its logit is a sum over fields. FM and AFM have pairs")
    table = _pair_table(model, _summarise(model, X, lambda: np.abs(model.pair_contributions())))
    table.attrs |= {"quantity": "contribution", "unit": f"mean |contribution| ({_unit(model)})"}
    return table


def _check_additive(model):
    model.check_fitted()
    if type(model).field_contributions is Model.field_contributions:
        model.field_contributions()         # raises, and says why


def _terms(model):
    """Bias, fields and pairs of the latest forward pass side by side: (B, 1 + M + P)."""
    fields = model.field_contributions()                          # (B, M)
    return np.concatenate([np.repeat(model.bias(), len(fields))[:, None], fields, model.pair_contributions()], axis=1)


def _unit(model):
    return "log-odds" if model.task_ == "binary" else "units of the target"


def _pair_table(model, summary):
    fields = list(model.feature_names_in_)
    i, j = field_pairs(len(fields))
    table = pd.DataFrame({"field_i": [fields[a] for a in i], "field_j": [fields[b] for b in j], **summary})
    table.attrs = {"interval": INTERVAL, "fields": fields}
    return table


def _summarise(model, X, values_of):
    """Mean, 5th and 95th percentile over rows of what ``values_of`` reads from a model's caches, (B, columns)."""
    model.check_fitted()
    total, sample, N = 0.0, [], len(as_table(X))
    if N == 0:
        raise ValueError("X has no rows: there is nothing to average over")
    stride = -(-N // INTERVAL_ROWS)
    for first in _forward_chunks(model, X):
        values = values_of()
        total = total + values.sum(axis=0, dtype=np.float64)
        sample.append(values[-first % stride::stride].copy())
    low, high = np.percentile(np.concatenate(sample), [5, 95], axis=0)
    return {"value": total / N, "low": low, "high": high}


def _forward_chunks(model, X):
    """Run the model over X chunk by chunk, so that its caches hold one chunk after the other; yields its first row."""
    slots = model.encoder_.encode(as_table(X))
    size = model.chunk_rows(None)
    for first in range(0, len(slots), size):
        model.forward(slots[first:first + size])
        yield first
