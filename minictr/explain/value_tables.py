"""Value by value: what each value of a field, and each two values of a pair of fields, add to the logit."""

import itertools

import numpy as np
import pandas as pd

from ..checks import is_whole
from ..estimator.registry import offers
from .contribution_tables import has_pairs, names_of_terms
from .purified import check_factors, factors_of, pair_factors
from .summaries import INTERVAL, after_one_row, check_drawn_rows, forward_slots, unit_of
from .value_groups import entries_of_both, rows_of_groups
from .value_rows import ValueRows

CHUNK_ROWS = 65_536         # rows that are put together and scored at once


def pair_values(model, X, field_i, field_j, *, purified=None, source=None, top=20, bins=10, background=200, seed=0):
    """Return what each two values of a pair of fields add to the logit together, and how many rows hold both.

    Parameters
    ----------
    model : a fitted model.
    X : table of its fields, such as the training rows: values weigh, and rows are counted, as in it. Two rows or more,
        unless the model's own terms are read as they are: one row has nothing to be compared with.
    field_i, field_j : names of two fields.
    source : "terms": the model's own terms of the pair. "scores": centred partial dependence, for any model,

            PD(u, v) = mean over rows c of f(u, v, rest of c),    less its means over u and over v

        f being the logit (or the predicted number). None: the terms of a model whose logit is a sum of fields' and
        pairs' terms (and triples'), such as FM; scores of any other, such as DeepFM, whose deep part has its say too.
    purified : True: a term has mean 0 over the values of each of its two fields, see ``contributions``. False: terms as
        the model has them. None: True where it can be. Partial dependence is centred in any case; for FM, FFM, FwFM
        and HOFM the two are the same on lines of one value each, if all rows of X are drawn. AFM's terms depend on the
        whole row, by its attention: for AFM a term is the mean over the rows that hold both values (NaN where none
        does), never purified.
    top : values of a field with a line of their own, the most frequent; the others are put together as "(n others)".
    bins : groups of about equally many rows that a field's numbers are cut into, unless there are fewer numbers.
    background, seed : for scores, how many rows c of X to draw.

    Returns
    -------
    One line for each two values, those that never meet included: value_i, value_j (text), term (log-odds, or units
    of the target), low, high (5th and 95th percentile), rows (of X that hold both). A line of one value each has the
    same term in every row, and low = high = term; bins of numbers, and the others, hold several values: term is then
    the mean over the rows that hold both (where there are none, that of values drawn independently, and low and high
    are NaN). For scores, the percentiles are over the rows c. A value of a multi-valued field counts as if it were
    alone in its cell, and a row for each of its values. Numbers ascend; other values have the most frequent first.

    ``attrs``: quantity, unit, fields, source (in words), purified, interval, n_rows, rows_i and rows_j ({value: rows}),
    at_i and at_j ({value: number}, for numbers).

    Raises: TypeError for what is no fitted model of minictr, for terms of a model that has none, and for terms that
    cannot be purified; ValueError for unknown fields, the same field twice, an X without rows to compare.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> table = pair_values(model, clicks.X, "user_segment", "ad_category")
    >>> len(table), table.columns.tolist()                        # 8 segments x 10 categories
    (80, ['value_i', 'value_j', 'term', 'low', 'high', 'rows'])
    >>> int(table["rows"].sum())
    5000
    """
    _check(top, bins, background)
    shared = _shared(model, X)
    one, other = (shared.values(field, top, bins) for field in (field_i, field_j))
    if field_i == field_j:
        raise ValueError(f"a pair has two different fields, got {field_i!r} twice; for one field use "
                         "explain.field_values")
    source = source or ("terms" if _is_sum_of_terms(model) and has_pairs(model) else "scores")
    purified = _purified(model, source, purified, offers(type(model), "factors"))
    _check_rows_to_compare(shared, purified)
    if source == "terms" and not has_pairs(model):
        raise TypeError(f"{type(model).__name__} has no terms of pairs; leave source out for partial dependence")
    at_one, at_other = entries_of_both(one, other)
    row, shape = one.row[at_one], (len(one.labels), len(other.labels))
    cell = one.group[at_one] * shape[1] + other.group[at_other]
    rows = rows_of_groups(cell, row, one.n_rows, shape[0] * shape[1])
    if source == "scores":
        term, low, high = _centred_dependence(model, shared.X, [one, other], background, seed)
    elif offers(type(model), "factors"):
        a, b = _pair_factors(shared, one, other, purified)      # (V_i, k), (V_j, k)
        apart = one.means(a) @ other.means(b).T                   # of values drawn independently
        terms = _products(a, one.value[at_one], b, other.value[at_other])
        term, low, high = _summary(terms, cell, apart.ravel())
    else:
        terms = shared.terms_of_pair(one.place, other.place)      # (N,)
        term, low, high = _summary(terms[row], cell, np.full(len(rows), np.nan))
    table = pd.DataFrame([*itertools.product(one.labels, other.labels)], columns=["value_i", "value_j"], dtype=object)
    table = table.assign(term=term.ravel(), low=low.ravel(), high=high.ravel(), rows=rows)
    table.attrs = {"fields": (field_i, field_j),
                   **_attrs(model, source, purified, one.n_rows, averaged=not offers(type(model), "factors"))}
    for side, values in (("i", one), ("j", other)):
        table.attrs |= {f"rows_{side}": dict(zip(values.labels, values.rows.tolist(), strict=True)),
                        f"at_{side}": values.at}
    return table


def field_values(model, X, field, *, purified=None, source=None, top=20, bins=10, background=200, seed=0):
    """Return what each value of a field adds to the logit, and how many rows hold it.

    As ``pair_values``, for one field. The purified term of a field is what it adds on average over the values of all
    other fields, each by itself, less its own mean: its own weight, and all that its pairs say of it alone. The raw one
    is its weight. If ``source`` is None: purified terms where they make up the logit, or else partial dependence, which
    takes the other fields from whole rows (of a model with triples that is not the same where they depend on each
    other).

    Returns: one line a value: value (text), term, low, high, rows. ``attrs`` as there, with ``field`` and ``at``.
    Raises: as ``pair_values``.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> table = field_values(model, clicks.X, "position")
    >>> table["value"].tolist(), table["value"][table["term"].idxmax()]       # the first place gets most clicks
    (['1', '2', '3', '4', '5'], '1')
    """
    _check(top, bins, background)
    shared = _shared(model, X)
    values = shared.values(field, top, bins)
    can = _is_sum_of_terms(model) and (offers(type(model), "factors") or not has_pairs(model))
    source = source or ("terms" if can else "scores")
    purified = _purified(model, source, purified, offers(type(model), "factors") or not has_pairs(model))
    _check_rows_to_compare(shared, purified)
    if source == "scores":
        term, low, high = _centred_dependence(model, shared.X, [values], background, seed)
    else:
        terms = _field_terms(shared, values, purified)          # (V,)
        term, low, high = _summary(terms[values.value], values.group, np.zeros(len(values.labels)))
    table = pd.DataFrame({"value": pd.Series(values.labels, dtype=object), "term": term, "low": low, "high": high,
                          "rows": values.rows})
    table.attrs = {"field": field, **_attrs(model, source, purified, values.n_rows), "at": values.at}
    return table


# ---- the model's own terms --------------------------------------------------------------------------------------


def _pair_factors(shared, one, other, purified):
    """The factors of a pair's term at each value of its two fields, (V_i, k) and (V_j, k), in float64."""
    triples = any(term == "triple" for term, *_ in names_of_terms(shared.model))
    pure = shared.reader(True) if purified and triples else None  # their means are over other fields too
    found = []
    for side, values in enumerate((one, other)):
        factors = np.concatenate([pair_factors(plain, one.place, other.place, pure)[side]
                                  for plain, _ in _forward_values(shared, values)])
        found.append(factors - values.mean(factors) if purified and not triples else factors)
    return found


def _products(a, at_a, b, at_b):
    """<a, b> of each entry, (E,), from the rows of a and b that it has; in chunks, as there may be millions."""
    terms = np.empty(len(at_a))
    for first in range(0, len(terms), CHUNK_ROWS):
        chunk = slice(first, first + CHUNK_ROWS)
        terms[chunk] = (a[at_a[chunk]] * b[at_b[chunk]]).sum(axis=1)
    return terms


def _field_terms(shared, values, purified):
    """The term of a field at each of its values, (V,)."""
    reader, found = shared.reader(purified), np.empty(len(values.ids))
    for plain, rows in _forward_values(shared, values):
        terms = reader.terms(plain, rows)
        if "fields" not in terms:
            raise TypeError(f"this {type(shared.model).__name__} has no terms of single fields; purified=True gives "
                            "what its pairs say of one")
        found[rows] = terms["fields"][:, values.place]
    return found


def _forward_values(shared, values):
    """A replica after going forward over rows that hold the values of a field one by one, and which these are."""
    n = len(values.ids)
    first = shared.first[np.zeros(n, np.intp)]
    numbers = 0                                                   # of a row's factors, where they are looked at
    if offers(type(shared.model), "factors"):
        one = factors_of(after_one_row(shared.model))
        numbers = sum(factor.size for factors in one.values() for factor in factors)
    for start, s, plain in forward_slots(shared.model, values.put(first, np.arange(n)), numbers):
        if numbers and not start:
            check_factors(plain)
        yield plain, slice(start, start + len(s))


def _summary(terms, cell, otherwise):
    """Mean, 5th and 95th percentile of the terms (E,) of each cell; ``otherwise`` (cells,) has means of empty ones."""
    terms = terms[order := np.lexsort((terms, cell))]
    count = np.bincount(cell, minlength=len(otherwise))
    held = count > 0
    start = (np.cumsum(count) - count)[held]
    mean, low, high = otherwise.astype(np.float64), *np.full((2, len(otherwise)), np.nan)
    for ends, share in ((low, 0.05), (high, 0.95)):
        place = share * (count[held] - 1)                         # between two of the cell's terms, in order
        below, part = start + place.astype(np.intp), place % 1
        above = np.minimum(below + 1, start + count[held] - 1)
        ends[held] = terms[below] + part * (terms[above] - terms[below])
    mean[held] = np.bincount(cell[order], terms, len(otherwise))[held] / count[held]
    alike = low == high                                           # one value: not the rounding of its mean
    mean[alike] = low[alike]
    return mean, low, high


# ---- any model --------------------------------------------------------------------------------------------------


def _centred_dependence(model, X, fields, background, seed):
    """Mean, 5th and 95th percentile over background rows of the centred partial dependence: (G,) or (G_i, G_j) each."""
    rng = np.random.default_rng(seed)
    slots = model.encoder_.encode(X.iloc[rng.permutation(len(X))[:background]])
    n, shape = len(slots), [len(values.labels) for values in fields]
    drawn = [values.draw(n, rng) for values in fields]            # (G, n): a group's value that each row c takes
    cells = np.array(list(np.ndindex(*shape)))                    # (cells, fields)
    f, step = np.empty((len(cells), n)), max(1, CHUNK_ROWS // n)
    for first in range(0, len(cells), step):
        chosen = cells[first:first + step]
        rows = slots[np.tile(np.arange(n), len(chosen))]
        for values, draws, groups in zip(fields, drawn, chosen.T, strict=True):
            rows = values.put(rows, draws[groups].ravel())
        f[first:first + step] = model.predict_slots(rows).reshape(-1, n)
    f = f.reshape(*shape, n)
    for axis, values in enumerate(fields):                        # for each row c: 0 on average over either field
        f = f - np.average(f, axis=axis, weights=values.weights(), keepdims=True)
    return f.mean(axis=-1), *np.percentile(f, [5, 95], axis=-1)


# ---- what is asked for ------------------------------------------------------------------------------------------


def _check(top, bins, background):
    check_drawn_rows(background, least=1)
    for name, value, least in (("top", top, 1), ("bins", bins, 2)):
        if not is_whole(value, least=least):
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _shared(model, X):
    """X as ValueRows; it may be that already."""
    if not isinstance(X, ValueRows):
        return ValueRows(model, X)
    if X.model is not model:
        raise ValueError("X is the rows of another model; give the table of its rows")
    return X


def _is_sum_of_terms(model):
    """Whether a logit is the sum of terms of fields, pairs and triples, and of nothing else."""
    if not offers(type(model), "terms"):
        return False
    return {term for term, *_ in names_of_terms(model)} <= {"bias", "field", "pair", "triple"}


def _purified(model, source, purified, can):
    """Whether the terms are to be purified, if ``can`` they be; errors for what cannot be had."""
    if source not in ("terms", "scores"):
        raise ValueError(f'source must be None, "terms" or "scores", got {source!r}')
    if purified is not None and not isinstance(purified, (bool, np.bool_)):
        raise ValueError(f"purified must be None, True or False, got {purified!r}")
    if source == "scores":
        if purified is not None and not purified:
            raise ValueError(f"these values of {type(model).__name__} are partial dependence, which is centred: leave "
                             "purified out" + ', or set source="terms"' * offers(type(model), "terms"))
        return True
    if not offers(type(model), "terms"):
        model.terms()                                             # raises, and says why
    if purified and not can:
        model.factors()                                           # raises, and says why
    return can if purified is None else bool(purified)


def _check_rows_to_compare(shared, purified):
    """Raise ValueError for one row whose values would be compared with themselves alone: all terms would be 0."""
    if purified and len(shared.X) == 1:
        raise ValueError("X has one row, and compared with itself alone no value of it adds anything; pass the rows "
                         "that it is to be compared with, such as the training rows, as X")


def _attrs(model, source, purified, n_rows, averaged=False):
    words = "the model's own terms" + ", purified" * purified
    if source == "scores":
        words = "centred partial dependence"
    elif averaged:
        words += ", averaged over the rows that hold the values"
    rest = [] if source == "scores" else [term for term, *_ in names_of_terms(model)
                                          if term not in ("bias", "field", "pair", "triple")]
    return {"quantity": "contribution", "unit": unit_of(model), "source": words, "purified": purified,
            "interval": "5th to 95th percentile over background rows" if source == "scores" else INTERVAL,
            "n_rows": n_rows, "note": f"without what the {rest[0]} makes of it" if rest else None}
