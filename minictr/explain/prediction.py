"""One prediction is explained: how it adds up, what would change it, and where the model looked."""

import functools

import numpy as np
import pandas as pd

from ..checks import as_table
from ..estimator.registry import offers
from ..fields.binned import BinnedEncoder
from ..fields.multi_valued import MultiValuedEncoder, as_list
from ..fields.numerical import NumericalEncoder
from ..layers import sigmoid
from ..slots import Slots
from ..text import as_text, rows_text, text_table
from .attention_tables import attention, looks_at_pairs
from .contribution_tables import all_terms
from .purified import as_background
from .summaries import unit_of
from .support import Support, with_support

BACKGROUND_ROWS = 10_000    # of the background, evenly spaced, for averages and for the values that occur
REPLACED_ROWS = 1_000       # of them, to replace a field's value by, where terms are not exact
MAX_VALUES = 100            # most common values of a field that are tried
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)       # of a number, that are tried


class OnePrediction:
    """One prediction comes with its reasons; print it, or draw it with ``plots.one_prediction``.

    Attributes
    ----------
    prediction, average : the predicted probability (or number) of the row, and the mean over the background.
    unit : of predictions: "probability", or "units of the target".   task : the model's.
    values : the row's values as text, by field.
    terms : table row, term, field_i, field_j, value, in log-odds (or units of the target), and rows, how many of the
        background hold the values that the term is about (see the ``support`` of ``contributions``). From the term
        "average", the mean logit of the background, each term adds what the row's differs by from its background mean;
        together they make the row's logit. ``terms.attrs["exact"]``: True if these are the model's own terms (see
        ``contributions``). Else a field's term is the mean change of the logit when only this field takes the
        background's values instead, and "together" is what that leaves over: what fields do jointly.
    counterfactuals : table field, now, instead, share, prediction, change, crosses: one line for each other value of
        one field, all others as they are. share: of the background's rows that hold that value (NaN for quantiles of a
        number); crosses: whether the prediction comes to lie on the other side of the threshold.
    attention : of this row (see ``attention``; the rollout of an attention in layers); None for a model without.
    """

    def __init__(self, prediction, average, values, terms, counterfactuals, attention):
        self.prediction, self.average, self.values = prediction, average, values
        self.terms, self.counterfactuals, self.attention = terms, counterfactuals, attention
        self.task, self.unit = terms.attrs["task"], counterfactuals.attrs["unit"]

    def __repr__(self):
        return self.text()

    def text(self, top=8):
        """Return the explanation as a person reads it, with at most ``top`` lines of each kind."""
        what = "probability" if self.task == "binary" else "value, in units of the target,"
        parts = [f"Predicted {what} {self.prediction:.4g}; the mean over the background rows is {self.average:.4g}.",
                 self._terms_text(top), self._counterfactuals_text(top)]
        if self.attention is not None:
            parts.append(self._attention_text(top))
        return "\n\n".join(parts)

    def _terms_text(self, top):
        terms = self.terms.iloc[1:]
        ranked = terms.iloc[np.argsort(-terms["value"].abs().to_numpy(), kind="stable")]
        average, total = self.terms["value"].iloc[0], self.terms["value"].sum()
        lines = [["  average", f"{average:.3f}", ""]]
        lines += [[f"  {self._name(term)}", f"{term.value:+.3f}", rows_text(term.rows)]
                  for term in ranked[:top].itertuples()]
        if len(ranked) > top:
            lines.append([f"  others ({len(ranked) - top})", f"{ranked['value'][top:].sum():+.3f}", ""])
        lines.append(["  logit" if self.task == "binary" else "  prediction", f"{total:.3f}", ""])
        how = ("the model's own terms, less their background averages: an exact sum" if self.terms.attrs["exact"] else
               "a field's term is the mean change if it alone were as in the background; \"together\" is the rest")
        held = f"and how many of the background's {self.terms.attrs['n_rows']:,} rows hold the values"
        return f"How it adds up, in {self.terms.attrs['unit']} ({how}),\n{held}:\n{text_table(lines)}"

    def _name(self, term):
        if term.field_i is None:
            return term.term
        fields = [field for field in (term.field_i, term.field_j, getattr(term, "field_l", None)) if field is not None]
        return " × ".join(f"{field} = {self.values[field]}" for field in fields)

    def _counterfactuals_text(self, top):
        table = self.counterfactuals
        if table.empty:
            return "The background holds no other value of any field to try instead."
        changes = table.loc[table["change"].abs().groupby(table["field"], sort=False).idxmax()]
        changes = changes.iloc[np.argsort(-changes["change"].abs().to_numpy(), kind="stable")][:top]

        def lines(rows):
            return text_table([[f"  with {row.field} = {row.instead} instead of {row.now}", f"{row.prediction:.4g}",
                                f"{row.change:+.3g}", "" if np.isnan(row.share) else f"in {row.share:.1%} of rows"]
                               for row in rows.itertuples()])

        text = f"With one field changed, what changes most:\n{lines(changes)}"
        # the most common value of each field; of a number, the one nearest to the threshold
        crossing = table[table["crosses"]].assign(size=table["change"].abs())
        crossing = crossing.sort_values(["share", "size"], ascending=[False, True]).groupby("field").head(1)
        if len(crossing):
            text += (f"\nTo the other side of {table.attrs['threshold']:g}, by the most common value that does it:\n"
                     f"{lines(crossing[:top])}")
        elif self.task == "binary":
            text += f"\nNo single change tried moves it to the other side of {table.attrs['threshold']:g}."
        return text

    def _attention_text(self, top):
        table = self.attention
        pairs = " looks at " if "layer" in table else " × "
        others = table[table["field_i"] != table["field_j"]].sort_values("value", ascending=False, kind="stable")[:top]
        lines = [[f"  {row.field_i}{pairs}{row.field_j}", f"{row.value:.3f}", f"(uniform {row.uniform:.3f})"]
                 for row in others.itertuples()]
        how = table.attrs.get("aggregation", "over all pairs")
        return f"Where the model looked ({how}; a share of 1, not an effect):\n{text_table(lines)}"


def one_prediction(model, X, *, background, threshold=0.5):
    """Explain one prediction: from the average to this row, what one other value would change, and the attention.

    Parameters
    ----------
    model : a fitted model.   X : table of exactly one row, e.g. X[3:4].
    background : table of rows to compare with, such as the training rows; at most 10,000 evenly spaced ones are used,
        but for counting on how many rows a term rests: there all are. For several predictions, a
        ``minictr.explain.prediction.Background`` of them takes what is common to all once.
        The values tried instead are its 100 most common ones of each field; of a number, quantiles; of a binned number,
        the bins.
    threshold : a probability; counterfactuals say which values move the prediction to its other side.

    Returns: OnePrediction; print it, or draw it with ``plots.one_prediction``.

    A counterfactual is about the model, not the world: it says what the model would predict for a row that may never
    occur, such as a child's programme at midnight.

    Raises: ValueError if X has not one row, or background none.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(epochs=2).fit(clicks.X, clicks.y)
    >>> explanation = one_prediction(model, clicks.X[:1], background=clicks.X)
    >>> logit = explanation.terms["value"].sum()
    >>> bool(np.isclose(1 / (1 + np.exp(-logit)), explanation.prediction))
    True
    """
    model.check_fitted()
    X = as_table(X)
    if len(X) != 1:
        raise ValueError(f"X has {len(X)} rows, and one prediction is explained: pass one, e.g. X[3:4]")
    if not isinstance(background, Background):
        background = Background(model, background)
    elif background.model is not model:
        raise ValueError("background is that of another model; give the table of its rows")
    (prediction,) = _predictions(model, model.decision_function(X))
    values = {name: _text(X[name].iloc[0]) for name in model.feature_names_in_}
    exact = offers(type(model), "terms")
    terms = _own_terms(model, X, background) if exact else _replacement_terms(model, X, background)
    terms.attrs = {"quantity": "contribution", "unit": unit_of(model), "fields": list(values), "task": model.task_,
                   "exact": exact, "values": values}
    terms = with_support(terms, model, X, background.support, terms)
    looks = None
    if offers(type(model), "attention_weights"):
        looks = attention(model, X, per_row=True, layers="all" if looks_at_pairs(model) else "rollout")
        looks = looks.drop(columns="row")
    return OnePrediction(float(prediction), float(background.average), values, terms,
                         _counterfactuals(model, X, background, values, prediction, threshold), looks)


class Background:
    """The rows that predictions are compared with, and what follows from them alone: worked out once for several.

    Pass it as ``background`` to each ``one_prediction`` with the same model.

    Parameters
    ----------
    model : a fitted model.   X : table of at least one row; at most 10,000 evenly spaced ones are used.
    replaced : of these, at most so many evenly spaced ones lend a field's value to the row, where terms are not exact.

    Raises: ValueError if X has no rows.
    """

    def __init__(self, model, X, replaced=None):
        X = as_background(X)
        if not len(X):
            raise ValueError("background has no rows: there is nothing to compare with; pass e.g. the training rows")
        self.model, self.rows = model, X.iloc[::-(-len(X) // BACKGROUND_ROWS)]
        self.support = Support(model, X)                          # of all rows
        self.replaced = replaced or REPLACED_ROWS

    @functools.cached_property
    def _logits(self):
        return self.model.decision_function(self.rows)

    @functools.cached_property
    def average(self):
        """The mean prediction."""
        return _predictions(self.model, self._logits).mean(dtype=np.float64)

    @functools.cached_property
    def mean_logit(self):
        """The mean logit."""
        return float(self._logits.mean(dtype=np.float64))

    @functools.cached_property
    def mean_terms(self):
        """The mean of each of the model's terms, where it has such."""
        return all_terms(self.model, self.rows)[1].mean(axis=0, dtype=np.float64)

    @functools.cached_property
    def candidates(self):
        """For each field the values to try: their texts, the share of rows with each, and their slots."""
        encoder, candidates = self.model.encoder_, {}
        for name in encoder.field_names:
            cells, texts, shares = _candidates(encoder.encoders[name], self.rows[name])
            candidates[name] = texts, shares, encoder.encode({name: cells}, [name])     # of this column alone
        return candidates


def _predictions(model, s):
    return sigmoid(s) if model.task_ == "binary" else s


def _text(value):
    """A cell as text; as ``as_text``, but a cell without values is missing too."""
    return as_text(value) or "(missing)"


def _own_terms(model, X, background):
    """The row's terms less their mean over the background: exact, as both add up to logits."""
    names, values = all_terms(model, X)
    means = background.mean_terms
    names.loc[0, "term"] = "average"
    return _one_row(names, [means.sum(), *(values[0] - means)[1:]])


def _replacement_terms(model, X, background):
    """For each field the mean change of the logit by it, against the background's values; and what that leaves over."""
    encoder = model.encoder_
    others = encoder.encode(background.rows)
    one = encoder.encode(X, widths=np.diff(others.starts, append=others.n_slots))
    if one.n_slots > others.n_slots:                              # more values in a multi-valued field than any other
        others = encoder.encode(background.rows, widths=np.diff(one.starts, append=one.n_slots))
    s = float(model.predict_slots(one)[0])
    average = background.mean_logit
    others = others[::-(-len(others) // background.replaced)]
    bounds = [*one.starts.tolist(), one.n_slots]
    names, rows = [("average", None, None)], []
    for name, start, stop in zip(encoder.field_names, bounds, bounds[1:], strict=False):
        replaced = [np.repeat(mine, len(others), axis=0) if mine is not None else None for mine in (one.ids, one.x)]
        for mine, theirs in zip(replaced, (others.ids, others.x), strict=True):
            if mine is not None:
                mine[:, start:stop] = theirs[:, start:stop]
        rows.append(Slots(*replaced, one.starts))
        names.append(("field", name, None))
    values = [average, *(s - float(changed.mean(dtype=np.float64)) for changed in _logits(model, rows))]
    names.append(("together", None, None))
    values.append(s - sum(values))
    return _one_row(pd.DataFrame(names, columns=["term", "field_i", "field_j"], dtype=object), values)


def _one_row(names, values):
    """The table of terms: row, what they are called, value."""
    table = names.assign(value=values)
    table.insert(0, "row", 0)
    return table


def _counterfactuals(model, X, background, values, prediction, threshold):
    names, one = model.encoder_.field_names, model.encoder_.encode(X)
    ends = [*one.starts[1:].tolist(), one.n_slots]
    texts, shares, tried = zip(*(background.candidates[name] for name in names), strict=True)
    replaced = [_replaced(one, field, stop, own) for field, (stop, own) in enumerate(zip(ends, tried, strict=True))]
    then = _predictions(model, np.concatenate(_logits(model, replaced)))
    times = [len(own) for own in tried]
    table = pd.DataFrame({
        "field": np.repeat(np.array(names, dtype=object), times),
        "now": np.repeat(np.array([values[name] for name in names], dtype=object), times),
        "instead": [text for own in texts for text in own], "share": np.concatenate(shares), "prediction": then,
        "change": then - prediction, "crosses": (then >= threshold) != (prediction >= threshold)})
    other = [_differs(own, one, slice(start, stop)) for own, start, stop in zip(tried, one.starts, ends, strict=True)]
    table = table[np.concatenate(other)].reset_index(drop=True)
    if model.task_ != "binary":
        table["crosses"] = False
    table.attrs = {"quantity": "prediction", "prediction": float(prediction), "fields": list(values),
                   "unit": "probability" if model.task_ == "binary" else "units of the target",
                   "threshold": threshold if model.task_ == "binary" else None}
    return table


def _logits(model, parts):
    """The logits of each of several Slots; those of the same layout go through the model together."""
    layouts, found = {}, [None] * len(parts)
    for number, slots in enumerate(parts):
        layouts.setdefault((slots.n_slots, slots.x is None, slots.starts.tobytes()), []).append(number)
    for numbers in layouts.values():
        alike = [parts[number] for number in numbers]
        x = None if alike[0].x is None else np.concatenate([slots.x for slots in alike])
        s = model.predict_slots(Slots(np.concatenate([slots.ids for slots in alike]), x, alike[0].starts))
        for number, own in zip(numbers, np.split(s, np.cumsum([len(slots) for slots in alike])[:-1]), strict=True):
            found[number] = own
    return found


def _replaced(one, field, stop, tried):
    """The one row, once for each row of ``tried``, whose slots stand in the place of the field's, which end at stop."""
    def beside(mine, theirs):
        before, after = (np.repeat(part, len(tried), axis=0) for part in (mine[:, :one.starts[field]], mine[:, stop:]))
        return np.concatenate([before, theirs, after], axis=1)

    x = None
    if one.x is not None or tried.x is not None:
        x = beside(*(np.ones(slots.ids.shape, np.float32) if slots.x is None else slots.x for slots in (one, tried)))
    grown = tried.n_slots - (stop - one.starts[field])            # a multi-valued field may need more slots, or fewer
    starts = one.starts + grown * (np.arange(one.n_fields) > field)
    return Slots(beside(one.ids, tried.ids), x, starts)


def _differs(tried, one, own):
    """Whether a field's slots are not those of the one row: another value that means the same changes nothing."""
    def held(slots, row, places=slice(None)):
        ids = slots.ids[row, places]
        x = np.ones(len(ids)) if slots.x is None else slots.x[row, places]
        return sorted((int(id_), float(weight)) for id_, weight in zip(ids, x, strict=True) if weight)

    mine = held(one, 0, own)
    return np.array([held(tried, row) != mine for row in range(len(tried))], dtype=bool)


def _candidates(encoder, column):
    """Values to try in a field: a Series of cells, their texts, and the share of rows of the background with each."""
    if isinstance(encoder, (NumericalEncoder, BinnedEncoder)):
        numbers = pd.to_numeric(column, errors="coerce").dropna().to_numpy(np.float64)
        if isinstance(encoder, NumericalEncoder):
            tried = np.unique(np.quantile(numbers, QUANTILES)) if len(numbers) else numbers
            return pd.Series(tried), [f"{number:.4g}" for number in tried], np.full(len(tried), np.nan)
        bins = np.searchsorted(encoder.edges, numbers, side="right")
        medians = pd.Series(numbers).groupby(bins).median()
        names = encoder.labels()[-len(encoder.edges) - 1:]
        return (medians.reset_index(drop=True), [names[bin_] for bin_ in medians.index],
                np.bincount(bins)[medians.index] / len(column))
    if isinstance(encoder, MultiValuedEncoder):
        column = pd.Series([tuple(as_list(encoder.spec, cell)) for cell in column], dtype=object)
    counts = column.value_counts(dropna=False)[:MAX_VALUES]
    cells = pd.Series(list(counts.index), dtype=object if column.dtype == object else column.dtype)
    return cells, [_text(cell) for cell in cells], counts.to_numpy() / len(column)
