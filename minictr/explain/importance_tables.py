"""Fields, pairs and triples of fields are ranked in one list, each with its share of the logits' variance."""

import numpy as np
import pandas as pd

from ..checks import as_table
from .contribution_tables import CHECKED_ROWS, all_terms, names_of_terms, terms_reader
from .purified import BLOCKS, as_background, check_purified, sums_by_owner
from .summaries import check_model, forward_chunks, summary_table, unit_of

KINDS = ("field", "pair", "triple")


def importance(model, X, *, groups=None, purified=True, background=None):
    """Rank fields, pairs and triples together by how much they move the logit, each with its share of the variance.

        value = mean |term|        share = Cov(term, logit) / Var(logit), over the rows of X

    Parameters
    ----------
    model : a fitted model with ``terms``, such as FM or DeepFM, whose deep part has a line of its own.
    X : table of its fields, at least one row; two different logits for shares.
    groups : {name: list of fields}, for lines of groups instead of their fields: all terms within a group are added up
        to one, "group", and all those across the same two (three) groups to one pair (triple) of these. A field that
        is in no group stays by itself.
    purified : as in ``contributions`` ("joint" too), and True here, as raw terms of fields and pairs cannot well be
        ranked beside one another: a pair's may carry what its fields could say alone. False ranks them all the same, as
        they are; it is the only way for AFM, whose terms depend on the whole row.
    background : table of rows that purified terms have their mean 0 over, such as the training rows; X, of two rows or
        more, if None.

    A share is the part of the spread of the logits that comes with a term. Shares add up to 1, as the terms add up to
    the logit. They may be negative where fields depend on each other. Say the model raises the logit for evenings and
    lowers it, more strongly, for phones, and evenings are mostly phones: then logits are low in the evening although
    the hour's term is high, and the hour has a negative share: without its term logits would differ more, not less.
    Where fields are independent in X, shares of purified terms are the Sobol indices of the logit, never negative but
    for chance.

    Returns
    -------
    One line a term, largest value first: term ("field", "pair", "triple", "group", or what else the model calls it, as
    "deep part"), field_i, field_j (None where there is none; of a model with triples field_l too), value (log-odds; for
    regression the target's unit), low, high (5th and 95th percentile of |term|), share. The bias, the same in every
    row, is left out. If purified, a deep part, a cross and the like are counted from their mean over the background on,
    as the others are. Where all logits are the same there is no variance to have a share in: share is NaN, and
    ``attrs["note"]`` says so.

    Raises: TypeError for a model without ``terms``, or if purified for one whose terms depend on the whole row;
    ValueError for an X or background without rows, and for groups that name no field, one twice, or none.

    Source: shares are the indices S of G. Li et al., "Global sensitivity analysis for systems with independent and/or
    correlated inputs", J. Phys. Chem. A 114, 2010, https://doi.org/10.1021/jp9096919.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> table = importance(model, clicks.X)
    >>> table.loc[0, ["term", "field_i", "field_j"]].tolist()
    ['pair', 'user_segment', 'ad_category']
    >>> round(float(table["share"].sum()), 6)
    1.0
    >>> user = importance(model, clicks.X, groups={"user": ["user_segment", "device"]})
    >>> len(table), len(user)
    (36, 28)
    """
    check_model(model)
    labels = _labels(list(model.feature_names_in_), groups)
    all_terms(model, as_table(X).iloc[:CHECKED_ROWS])             # raises where there are none, or something is missing
    check_purified(purified, X, background)
    background = background if background is None else as_background(background)
    try:
        reader = terms_reader(model, X, purified, background)
    except TypeError as error:
        raise TypeError(f"{error}; explain.importance(..., purified=False) ranks the terms as they are") from None
    names = names_of_terms(model, reader)[1:]                     # without the bias
    lines, owner = _lines(names, labels, groups or {})
    others = np.array([field is None for _, field, *_ in names])
    centres = np.zeros(len(names))
    if purified and others.any():
        centres[others] = _means_of_others(model, X if background is None else background)
    moments = _Moments(len(lines))

    def sizes(plain, rows):
        terms = np.concatenate(list(reader.terms(plain, rows).values()), axis=1) - centres     # (B, terms)
        values = sums_by_owner(terms, owner, len(lines))          # (B, lines)
        moments.add(values)
        return np.abs(values)

    table = summary_table(model, X, sizes, lines, numbers=reader.numbers)
    table["share"] = moments.shares(np.finfo(model.dtype).eps)
    constant = table["share"].isna().all()
    table = table.iloc[np.argsort(-table["value"].to_numpy(), kind="stable")].reset_index(drop=True)
    table.attrs |= {"quantity": "importance", "unit": f"mean |term| ({unit_of(model)})", "purified": purified,
                    "fields": list(dict.fromkeys(labels.values())),
                    "note": "the logit is the same in every row: there is no variance to have a share in"
                            if constant else None}
    return table


class _Moments:
    """Means of columns, and their covariances with the sum of all columns, over rows that come in chunks.

    Chunks are joined without subtracting large squares from one another, as by T. Chan, G. Golub and R. LeVeque 1979.
    """

    def __init__(self, n):
        self.count, self.size = 0, 0.0
        self.mean, self.with_sum = np.zeros(n), np.zeros(n)       # with_sum: count times the covariance

    def add(self, values):
        B, mean = len(values), values.mean(axis=0)
        departures, gap = values - mean, mean - self.mean
        total = self.count + B
        self.with_sum += departures.sum(axis=1) @ departures + gap * gap.sum() * (self.count * B / total)
        self.mean += gap * (B / total)
        self.size += np.abs(values).sum()
        self.count = total

    def shares(self, eps):
        """Covariances by the variance of the sum; all NaN where that is nothing but rounding."""
        variance = self.with_sum.sum() / self.count
        rounding = 100 * eps * self.size / self.count
        return self.with_sum / self.with_sum.sum() if variance > rounding ** 2 else np.full(len(self.mean), np.nan)


def _means_of_others(model, X):
    """The means of a deep part, crosses and the like, which purifying leaves as they are."""
    return sum(np.concatenate([values.sum(axis=0, dtype=np.float64)
                               for block, values in plain.terms().items() if block not in BLOCKS])
               for _, _, plain in forward_chunks(model, X)) / len(as_table(X))


def _labels(fields, groups):
    """{field: its group, or itself}, after a look at the groups."""
    if groups is None:
        return dict(zip(fields, fields, strict=True))
    if not isinstance(groups, dict):
        raise ValueError(f'groups must be a dict such as {{"user": ["age", "gender"]}}, got {type(groups).__name__}')
    label = {}
    for name, members in groups.items():
        if not isinstance(members, (str, list, tuple, set)):
            raise ValueError(f"group {name!r} must be a list of fields, got {type(members).__name__}")
        members = [members] if isinstance(members, str) else list(members)
        if not members:
            raise ValueError(f"group {name!r} has no fields; leave it out, or name some of {fields}")
        for field in members:
            if field not in fields:
                raise ValueError(f"group {name!r} names {field!r}, which is no field of the model; it has {fields}")
            if field in label:
                raise ValueError(f"{field!r} is in group {label[field]!r} and in group {name!r}, or twice in one; name "
                                 "it once: each term goes to one line")
            label[field] = name
    for name in groups:
        if name in fields and label.get(name) != name:
            raise ValueError(f"{name!r} is a group, and a field that is not in it: call the group something else")
    return {field: label.get(field, field) for field in fields}


def _lines(names, labels, groups):
    """The lines of the table (term, field_i, field_j and, if there is a triple, field_l), and each term's line."""
    order = {label: number for number, label in enumerate(dict.fromkeys(labels.values()))}
    lines, owner = {}, []
    for term, *fields in names:
        own = sorted({labels[field] for field in fields if field is not None}, key=order.get)
        if own:
            term = "group" if len(own) == 1 and own[0] in groups else KINDS[len(own) - 1]
        owner.append(lines.setdefault((term, *own, *[None] * (3 - len(own))), len(lines)))
    table = pd.DataFrame(list(lines), columns=["term", "field_i", "field_j", "field_l"], dtype=object)
    return (table if table["field_l"].notna().any() else table.drop(columns="field_l")), np.array(owner)
