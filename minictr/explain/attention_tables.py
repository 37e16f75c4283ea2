"""Attention is where a model looks, by field names, beside what a model without preferences would do."""

import numpy as np
import pandas as pd

from ..checks import as_table, is_whole
from ..estimator.registry import offers
from ..layers import named_layers
from .summaries import after_one_row, forward_chunks, pairs_of_fields, summary_table

MAX_LINES = 1_000_000       # of a table of single rows
UNIFORM_WITHIN = 0.01       # attention that differs from the uniform one by less than this share of it prefers nothing
COLLAPSED_ABOVE = 0.99      # attention above it leaves nothing for the others


def attention(model, X, *, by=None, per_row=False, layers="all", heads="all"):
    """Return where a fitted model looks: its attention over the rows of X, by field names.

    Attention says how much a pair is weighed, not what it adds to the prediction: see ``contributions``.

    Parameters
    ----------
    model : a fitted model with attention, such as AFM or AutoInt.   X : table of its fields, at least one row.
    by : None for all rows together; or a column of X, or one label a row such as y, for one group a value ("where
        does it look for clicks from mobile?"). A multi-valued field puts a row into the group of each of its values.
    per_row : True gives every row by itself, in at most 1,000,000 lines.
    layers, heads : for a model that has an attention in each head of each layer. "all" keeps them apart; a number,
        from 1, picks one; "mean" takes their mean. layers="rollout" follows the attention through all layers back to
        the fields that went in: the product over layers of (A + I) / 2, A the mean of the heads (or the head picked)
        and I for what the residual keeps (Abnar & Zuidema, ACL 2020, https://arxiv.org/abs/2005.00928, section 3;
        their rows are rescaled to sum to 1, which these do already). Without residuals it is the product of the A.
        All of these leave out the projections W, so they say where a model looks, not what it makes of it.

    Returns
    -------
    Of attention over pairs (AFM) one row a pair: field_i, field_j, value (mean a_ij), low, high (5th and 95th
    percentile over rows), uniform (1/P, what a model that prefers no pair would have). Values sum to 1. Of fields that
    look at fields (AutoInt) one row for each layer, head, asking field_i and answering field_j; the values of one
    layer, head and field_i sum to 1. From the second layer on a position is called by its field, but already holds a
    mixture of fields (a rollout takes that into account). With ``by`` all this for each group, after the columns group
    and rows (how many rows it has); with ``per_row`` for each row (its position in X), without low and high.

    ``attrs``: quantity, unit, interval, fields; uniform (None for a rollout, where it differs within a row); rows and
    interval_rows (means are over all rows, intervals over so many, evenly spaced); aggregation (what was done with
    layers and heads, if there are any); and note, which says in words where there is nothing to see: attention that is
    uniform, collapsed on one pair or field in nearly all rows, or trivial (one pair always has 1); else None.

    Raises: TypeError for a model without attention. ValueError for a column, layer or head that is not there, labels
    of another length than X, more than 50 groups, or more lines than ``per_row`` gives.

    >>> from minictr import AFM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = AFM(epochs=1).fit(clicks.X, clicks.y)
    >>> table = attention(model, clicks.X)
    >>> len(table), round(float(table["value"].sum()), 4)
    (28, 1.0)
    >>> attention(model, clicks.X, by=clicks.y)["group"].unique().tolist()
    [0, 1]
    """
    if not offers(type(model), "attention_weights"):
        model.attention_weights()                                 # raises, and says why
    model.check_fitted()
    if not looks_at_pairs(model):
        what = _FieldAttention(model, layers, heads)
    elif (layers, heads) == ("all", "all"):
        what = _PairAttention(model)
    else:
        raise ValueError(f"layers= and heads= choose among several; {type(model).__name__} has one attention, over "
                         "pairs")
    if per_row and by is not None:
        raise ValueError("per_row=True gives every row by itself, by= puts rows together: choose one")
    if per_row:
        table = _every_row(model, X, what)
    else:
        table = summary_table(model, X, lambda plain, rows: what.values(plain), what.lines, by)
    table["uniform"] = np.tile(what.uniform, len(table) // len(what.lines))
    same = what.uniform.size and np.ptp(what.uniform) == 0
    table.attrs |= {"quantity": "attention", "uniform": float(what.uniform[0]) if same else None,
                    "unit": ("attention" if per_row else "mean attention") + " (share of 1)", **what.attrs}
    table.attrs["note"] = None if per_row else _note(table, what)
    return table


def looks_at_pairs(model):
    """Return whether the attention of a fitted model is one weight for each pair, and not one of field by field."""
    return "pairs" in after_one_row(model).attention_weights()


class _PairAttention:
    """How to read an attention over pairs: ``values`` are those of a replica's latest forward pass, (B, P)."""

    alone = "there is one pair, and its attention is always 1: it says nothing"
    evenly = "no pair is preferred"

    def __init__(self, model):
        self.attrs = {}
        self.lines = pairs_of_fields(list(model.feature_names_in_))
        self.uniform = np.full(len(self.lines), 1 / len(self.lines))

    def values(self, plain):
        return plain.attention_weights()["pairs"]

    def collapsed(self, lines):
        """What the attention of nearly all rows is on, in words; None if there is no such pair."""
        one = lines[lines["low"] > COLLAPSED_ABOVE]
        return f"on {one['field_i'].iloc[0]} × {one['field_j'].iloc[0]}" if len(one) else None


class _FieldAttention:
    """How to read an attention of fields over fields: (B, layers * heads * M * M), after aggregation."""

    alone = "there is one field, and its attention to itself is always 1: it says nothing"
    evenly = "no field is preferred"

    def __init__(self, model, layers, heads):
        self.layers, self.heads = layers, heads
        weights = list(after_one_row(model).attention_weights().values())     # (1, H, M, M) each
        L, H, fields = len(weights), weights[0].shape[1], list(model.feature_names_in_)
        self.residual = any(getattr(layer, "residual", False) for _, layer in named_layers(model))
        for name, chosen, n, words in (("layers", layers, L, ("all", "mean", "rollout")),
                                       ("heads", heads, H, ("all", "mean"))):
            if not (chosen in words if isinstance(chosen, str) else is_whole(chosen) and chosen <= n):
                raise ValueError(f"{name} must be {', '.join(map(repr, words))} or a whole number from 1 to {n}, got "
                                 f"{chosen!r}")
        if layers == "rollout" and heads == "all":
            self.heads = heads = "mean"
        names = {"layer": range(1, L + 1) if layers == "all" else [layers],
                 "head": range(1, H + 1) if heads == "all" else [heads]}
        self.lines = pd.MultiIndex.from_product(
            [*names.values(), fields, fields], names=[*names, "field_i", "field_j"]).to_frame(index=False)
        M = len(fields)
        self.uniform = self.aggregate([np.full((1, H, M, M), 1 / M)] * L)[0]
        said = {"all": "each {} by itself", "mean": "mean over all {}s", "rollout": "attention rollout through all {}s"}
        if layers == "rollout" and self.residual:
            said["rollout"] += ", residuals counted as half"
        self.attrs = {"aggregation": "; ".join(said.get(chosen, f"{{}} {chosen}").format(name)
                                               for name, chosen in (("layer", layers), ("head", heads)))}

    def values(self, plain):
        return self.aggregate(list(plain.attention_weights().values()))

    def aggregate(self, a):
        """From the (B, H, M, M) of each layer to (B, layers * heads * M * M), with what was asked for."""
        if self.heads == "mean":
            a = [layer.mean(axis=1, keepdims=True) for layer in a]
        elif self.heads != "all":
            a = [layer[:, self.heads - 1:self.heads] for layer in a]
        if self.layers == "mean":
            a = [sum(a) / len(a)]
        elif self.layers == "rollout":
            a = [_rollout(a, self.residual)]
        elif self.layers != "all":
            a = [a[self.layers - 1]]
        return np.stack(a, axis=1).reshape(len(a[0]), -1)

    def collapsed(self, lines):
        """What the attention of nearly all rows is on, in words; None if not every field looks at one alone."""
        found = lines[lines["low"] > COLLAPSED_ABOVE]
        if len(found) < lines["field_i"].nunique():
            return None
        seen = found["field_j"].unique()
        if (found["field_i"] == found["field_j"]).all():
            return "on itself, for every field"
        return f"on {seen[0]}, for every field" if len(seen) == 1 else "on one other field, for every field"


def _rollout(a, residual):
    """How much of each field that went in (last axis) is in each position at the end: (B, heads, M, M)."""
    identity = np.eye(a[0].shape[-1], dtype=a[0].dtype)
    joint = identity
    for layer in a:
        step = (layer + identity) / 2 if residual else layer
        joint = step @ joint
    return joint


def _every_row(model, X, what):
    N, C = len(as_table(X)), len(what.lines)
    if N * C > MAX_LINES:
        raise ValueError(f"per_row=True of {N:,} rows would make {N * C:,} lines, {C:,} a row, and gives at most "
                         f"{MAX_LINES:,}: pass at most {MAX_LINES // C:,} rows, e.g. X[:{MAX_LINES // C}]; or "
                         "summarise with by=")
    values = [what.values(plain).copy() for _, _, plain in forward_chunks(model, X)]
    table = what.lines.iloc[np.tile(np.arange(C), N)].reset_index(drop=True)
    table.insert(0, "row", np.repeat(np.arange(N), C))
    table["value"] = np.concatenate(values).ravel() if values else np.empty(0, model.dtype)
    table.attrs = {"fields": list(model.feature_names_in_), "rows": N}
    return table


def _note(table, what):
    """In words, where attention is trivial, uniform or collapsed; None where it is none of that."""
    keys = [name for name in ("group", "layer", "head") if name in table and table[name].nunique() > 1]
    if not keys:
        return _remark(table, what)
    parts = list(table.groupby(keys, sort=False))
    places = {}                                                   # the same remark holds for many parts, mostly
    for key, lines in parts:
        if (remark := _remark(lines, what)) is not None:
            place = " ".join(f"{name} {part}" for name, part in zip(keys, key, strict=True))
            places.setdefault(remark, []).append(place)
    return "; ".join(f"{remark} (in {_listed(names, len(parts))})" for remark, names in places.items()) or None


def _listed(names, n_parts):
    if len(names) == n_parts:
        return f"all {n_parts} parts"
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _remark(lines, what):
    if len(lines) == 1:
        return f"trivial: {what.alone}"
    ends = lines[["low", "high"]].to_numpy()
    uniform = lines[["uniform"]].to_numpy()
    if (np.abs(ends - uniform) <= UNIFORM_WITHIN * uniform).all():
        return f"uniform in nearly all rows, to within {UNIFORM_WITHIN:.0%}: {what.evenly}"
    if (where := what.collapsed(lines)) is not None:
        return f"collapsed {where}: more than {COLLAPSED_ABOVE} of the attention in nearly all rows"
    return None
