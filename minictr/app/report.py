"""The page that ``minictr explain`` writes: what a model is, how good it is, what it learned, and what that means.

One file: pictures are inline PNGs, the style and the few lines of script too. Whatever comes from the user passes
``html.escape``; and the page's own policy lets a browser run that one script and load nothing.
"""

import dataclasses
from pathlib import Path

import numpy as np

from .. import explain, plots
from ..estimator import Model
from ..estimator.registry import offers
from ..explain.attention_tables import looks_at_pairs
from ..explain.contribution_tables import has_pairs, is_sum_of_fields_and_pairs
from ..layers import parameters
from ..text import as_text
from .page import escape, html_table, number, page, paragraph, picture, share
from .pictures import blank_axes, triangle_inches
from .scores import RESAMPLES, SEED, bootstrap, predictions
from .whole import whole_file

BACKGROUND, PARTNERS = 500, 8   # of the interaction effects, at most
SHUFFLED_ROWS = 5_000           # of the permutation importance, at most
SCORES = 400_000                # about so many are computed for either, so that many fields do not take minutes
MAX_PAIRS = 500                 # in the table of pairs

HOW_TO_READ = {     # of each quantity: what its picture shows, and what it does not say
    "attention": (
        "Attention is a share of 1: how much weight the model gives a pair of fields, on average over the rows; white "
        "in the map and the dashed line among the bars are what a model that prefers no pair would have.",
        "It is where the model looks, not what a pair adds to the prediction: a pair with much attention may add "
        "nothing."),
    "self-attention": (
        "Each panel is one head of one layer; a row is a field that asks, a column one that answers, and each row sums "
        "to 1, so a bright cell is a field that the other one listens to.",
        "From the second layer on, a field's place already holds a mixture of fields; and attention is where the model "
        "looks, not what comes of it."),
    "contribution": (
        "A contribution is what a pair adds to the model's output or takes from it, here its mean size over the rows: "
        "a long bar or a strong colour is a pair that moves predictions.",
        "The sum of all terms is exact, but not unique: a pair's term can carry what one of its fields could say "
        "alone, and an equally good model may share the same prediction out differently."),
    "interaction effect": (
        "An interaction effect is how far the prediction departs from the sum of what its two fields do on their own; "
        "0 is a pair whose fields merely add up.",
        "It is estimated by putting fields of different rows together, also in ways that never occur."),
}


def write_report(model, X, y=None, path="index.html", *, rows=None, model_name=None, table_name="the table"):
    """Write a page on a fitted model, as it is on the rows of a table; it opens from disk, without a server.

    Parameters
    ----------
    model : a fitted model.   X : table of its fields.   y : the targets of its rows, for scores; None if unknown.
    path : file to write; an existing one is replaced.
    rows : positions of the rows whose predictions are explained; None takes the lowest, median and highest prediction.
    model_name, table_name : what the page calls them; the model's class if None.

    Returns: the path, as a Path. The same input gives the same bytes, on the same machine with the same versions.

    Raises: ValueError for an empty table, rows that it does not have, and targets that do not fit.

    >>> import tempfile
    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(500, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(FM(epochs=1).fit(clicks.X, clicks.y), clicks.X, clicks.y, f"{folder}/index.html")
    ...     page.read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    model.check_fitted()
    X = model.as_fields(X)
    if not len(X):
        raise ValueError("X has no rows: there is nothing to report on")
    for row in rows or ():
        if not 0 <= row < len(X):
            raise ValueError(f"row {row} is asked for, and X has {len(X):,} rows, counted from 0")
    if y is not None:
        if np.shape(y) != (len(X),):
            raise ValueError(f"y has shape {np.shape(y)} and X has {len(X):,} rows: each row needs one target")
        y = model.task_.targets(y)
    prediction = predictions(model, X)
    unknown = model.encoder_.unknown_rate(X)
    tables = pair_tables(model, X)
    title = f"{type(model).__name__}: {model_name or 'what it learned'}"
    sections = [
        ("card", "Model card", model_card(model, X, unknown, table_name)),
        ("scores", "How good it is", scores(model, X, y, prediction)),
        ("pairs", "Pairs of fields", pairs(model, X, tables)),
        ("predictions", "Single predictions", single_predictions(model, X, y, prediction, rows)),
        ("caveats", "Caveats", caveats(unknown, y)),
    ]
    path = Path(path)
    with whole_file(path) as part:
        part.write_text(page(title, table_name, sections), encoding="utf-8", newline="\n")
    return path


def pair_tables(model, X):
    """The quantities that the model has for pairs of fields: name -> table."""
    tables = {}
    if len(model.feature_names_in_) < 2:
        return tables
    if offers(type(model), "attention_weights"):
        name = "attention" if looks_at_pairs(model) else "self-attention"
        tables[name] = explain.attention(model, X)
    if has_pairs(model):
        tables["contribution"] = explain.pair_importance(model, X)
    if len(X) > 1 and not is_sum_of_fields_and_pairs(model):          # there is more in it than pairs can say
        M = len(model.feature_names_in_)
        background = int(np.clip(SCORES // (PARTNERS * M * (M - 1) // 2), 50, BACKGROUND))
        tables["interaction effect"] = explain.interaction_effects(model, X, background=background, partners=PARTNERS)
    return tables


# ---- the sections ------------------------------------------------------------------------------------------

def model_card(model, X, unknown, table_name):
    """What the model is: class, sizes, settings, fields, training."""
    common = {field.name: field.default for field in dataclasses.fields(Model)}
    settings = {name: value for name, value in model.get_params().items()     # its own, and the common ones if changed
                if name not in common or (value != common[name] and name not in ("name", "fields", "task", "verbose"))}
    facts = {"model": f"{model.name} ({type(model).__name__})" if model.name else type(model).__name__,
             "task": "binary: the probability of a 1" if model.task_ == "binary" else "regression: a number",
             "parameters": f"{sum(array.size for array in parameters(model).values()):,}",
             "settings (all others as by default)":
                 ", ".join(f"{name} = {value!r}" for name, value in settings.items()) or "none",
             "rows looked at": f"{len(X):,} of {table_name}"}
    parts = ["<dl>", *(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()), "</dl>"]
    described = model.encoder_.describe()
    parts.append(html_table(
        ["field", "kind", "values", "unknown in training", "missing in training", "unknown here"],
        [[field.field, field.kind, int(field.values), share(field.unknown), share(field.missing),
          share(unknown[field.field])] for field in described.itertuples()],
        f"The {len(described)} fields. Values: those with a vector of their own (a number has one for all). Unknown in "
        f"training: values rarer than min_count; unknown here: values in "
        f"{table_name} that training did not see, for which the model takes an average.", numbers=(2, 3, 4, 5)))
    history = getattr(model, "history_", None)
    if history is not None and len(history):                      # after partial_fit alone there is none
        axes = blank_axes(1, 1, 6, 4)
        plots.history(history, ax=axes[0, 0])
        parts.append(picture(axes, "Loss on the training data by epoch, and on validation data if there were any.",
                             "How it was trained: the lower the better; validation loss that turns upwards while "
                             "training loss falls is overfitting. It says nothing of other data."))
    return parts


def scores(model, X, y, prediction):
    """Scores with intervals, the calibration, and what each field is worth; without a target, that there are none."""
    if y is None:
        return [paragraph("No target was given, so there is nothing to measure the predictions by. They go from "
                          f"{prediction.min():.4g} to {prediction.max():.4g}, with mean {prediction.mean():.4g}.")]
    binary = model.task_ == "binary"
    of_base = bootstrap(y, np.full(len(y), y.mean()), binary)
    lines = [[name, number(value), f"{number(low)} to {number(high)}", number(of_base[name][0])]
             for name, (value, low, high) in bootstrap(y, prediction, binary).items()]
    parts = [html_table(["", type(model).__name__, "95 % interval", "mean alone"], lines,
                        f"Scores on {len(y):,} rows; mean alone: always predicting the mean of this table, "
                        f"{y.mean():.4g}. Interval: percentiles of {RESAMPLES} tables of as many rows drawn "
                        f"from this one with replacement (bootstrap, seed {SEED}); it is about drawing rows, not about "
                        "training again. Flattering where the model was trained on these rows: the training curve "
                        "above has the loss on held-out rows, if there were any.", numbers=(1, 2, 3))]
    if binary:
        parts.append(paragraph(f"Mean prediction {prediction.mean():.4g}, observed rate {y.mean():.4g}."))
        axes = blank_axes(1, 1, 5, 5)
        plots.calibration(y, prediction, ax=axes[0, 0])
        parts.append(picture(axes, "Observed rate against predicted probability, in bins of equally many rows.",
                             "Calibration: points on the dashed diagonal are probabilities that can be taken at their "
                             "word; below it the model promises too much. Whiskers that reach the diagonal may be "
                             "chance."))
    limit = int(np.clip(SCORES // (5 * len(model.feature_names_in_)), 500, SHUFFLED_ROWS))
    some = slice(None, None, -(-len(X) // limit))                 # evenly spaced
    table = explain.permutation_importance(model, X.iloc[some], model.task_.labels(y[some])).sort_values(
        "value", ascending=False, kind="stable")
    parts += ["<h3>What each field is worth</h3>", html_table(
        ["field", "increase of the loss", "smallest", "largest"],
        [[line.field, line.value, line.low, line.high] for line in table.itertuples()],
        f"How much the {model.loss_.name} grows when a field's column is shuffled, on {len(X.iloc[some]):,} rows: "
        "mean, smallest and largest of 5 permutations. Fields that can replace one another all look worthless here.",
        numbers=(1, 2, 3), sortable=True)]
    return parts


def pairs(model, X, tables):
    """The pictures of the quantities that the model has for pairs of fields, and a table of all pairs."""
    if not tables:
        if len(model.feature_names_in_) < 2:
            return [paragraph("There is one field, and so no pair.")]
        if is_sum_of_fields_and_pairs(model):
            return [paragraph(f"{type(model).__name__} has no pairs: its logit is a sum over fields.")]
        return [paragraph("What pairs of fields do can be measured on two rows or more, and there is one.")]
    parts = []
    for name, table in tables.items():
        reads, caveat = HOW_TO_READ[name]
        parts += [f"<h3>{escape(name.capitalize())}</h3>", paragraph(reads), paragraph(caveat)]
        parts += [paragraph(f"{key.capitalize()}: {table.attrs[key]}.") for key in ("note", "background")
                  if table.attrs.get(key)]
        parts.append(f'<div class="pictures">{"".join(pair_pictures(name, table))}</div>')
    quantities = {name: table for name, table in tables.items() if name != "self-attention"}
    return [*parts, pairs_table(quantities)] if quantities else parts


def pair_pictures(name, table):
    """The pictures of one quantity."""
    side = triangle_inches(table.attrs["fields"])
    highest = table.sort_values("value", ascending=False, kind="stable").head(3)
    most = ", ".join(f"{pair.field_i} and {pair.field_j} {pair.value:.3g}" for pair in highest.itertuples())
    if name == "self-attention":
        grid = blank_axes(table["layer"].nunique(), table["head"].nunique(), side * 0.75, side * 0.65)
        plots.attention_grid(table, axes=grid)
        return [picture(grid, f"Self-attention of each layer and head; highest: {most}.", table.attrs["unit"])]
    heatmap, ranking = blank_axes(1, 1, side, side), blank_axes(1, 1, 6.6, 5)
    plots.pair_heatmap(table, ax=heatmap[0, 0])
    plots.pair_ranking(table, ax=ranking[0, 0])
    return [picture(heatmap, f"Heat map of the {name} of all pairs; highest: {most}.", "All pairs."),
            picture(ranking, f"Bars of the {name} of the top pairs; highest: {most}.", "The top pairs.")]


def pairs_table(quantities):
    """All pairs, by the first of the quantities, with the ends of their intervals."""
    first = next(iter(quantities.values()))
    order = np.argsort(-first["value"].to_numpy(), kind="stable")[:MAX_PAIRS]
    heads = ["field", "other field"]
    columns = [first["field_i"].to_numpy()[order], first["field_j"].to_numpy()[order]]
    for name, table in quantities.items():      # all list the same pairs in the same order
        heads += [name, "low", "high"]
        columns += [table[column].to_numpy()[order] for column in ("value", "low", "high")]
    units = "; ".join(f"{name}: {table.attrs['unit']}, low to high is the {table.attrs['interval']}"
                      for name, table in quantities.items())
    which = "All pairs" if len(order) == len(first) else f"The first {MAX_PAIRS} of {len(first):,} pairs"
    return "<h3>Top pairs</h3>" + html_table(heads, zip(*columns, strict=True), f"{which}. {units}.",
                                             numbers=range(2, len(heads)), sortable=True)


def single_predictions(model, X, y, prediction, rows):
    """A few predictions, each in pictures and words."""
    if rows is None:
        order = np.argsort(prediction, kind="stable")
        chosen = {int(order[place]): name for place, name in ((0, "the lowest prediction"), (-1, "the highest"),
                                                              (len(order) // 2, "the median"))}
        chosen = dict(sorted(chosen.items(), key=lambda item: prediction[item[0]]))
    else:
        chosen = dict.fromkeys(rows, "as asked for")
    parts = [paragraph("How each came about, compared with the average of this table; and what the model would predict "
                       "if a single field were different. That is about the model, not about the world.")]
    for row, name in chosen.items():
        explanation = explain.one_prediction(model, X.iloc[[row]], background=X)
        truth = "" if y is None else f", true {escape(as_text(model.task_.labels(y)[row]))}"
        parts.append(f"<h3>Row {row}, {name}: {prediction[row]:.4g}{truth}</h3>")
        values = ", ".join(f"{field} = {value}" for field, value in explanation.values.items())
        parts.append(paragraph(values))
        height = 1.9 + 0.32 * min(11, len(explanation.terms) + 1)
        axes = blank_axes(1, 1, 6.6, height)
        plots.waterfall(explanation.terms, top=8, ax=axes[0, 0])
        pictures = [picture(axes, f"Waterfall of the terms of row {row}, from the average to {prediction[row]:.4g}.",
                            "How it adds up: each bar starts where the one above ended; orange adds, blue takes away.")]
        if len(explanation.counterfactuals):
            fields = min(8, explanation.counterfactuals["field"].nunique())
            axes = blank_axes(1, 1, 6.6, 1.9 + 0.36 * fields)
            plots.counterfactuals(explanation.counterfactuals, top=8, ax=axes[0, 0])
            pictures.append(picture(axes, f"How far another value of one field would move the prediction of row {row}.",
                                    "What would change it: from the lowest to the highest prediction that another "
                                    "value of one field gives."))
        parts.append(f'<div class="pictures">{"".join(pictures)}</div>')
        parts.append(f'<pre tabindex="0">{escape(explanation.text())}</pre>')
    return parts


def caveats(unknown, y):
    """What none of this says."""
    unseen = ", ".join(f"{name} {share(rate)}" for name, rate in unknown.items() if rate)
    texts = [
        "Attention is not importance: it is how much the model weighs a pair, not what the pair adds.",
        "Contributions are not unique: they add up exactly, but another model may share the same prediction out "
        "differently. Train with several seeds before believing a ranking.",
        "Nothing here is causal: it says how the model predicts, not what would happen if somebody changed a field.",
        "What-if predictions put values together that may never occur together.",
            ]
    if unseen:
        texts.append("Values that training did not see are predicted as an average one. Shares in this table: "
                     f"{unseen}.")
    if y is not None:
        texts.append("Scores are of this table alone. On rows that the model was trained on, or was stopped by, they "
                     "are better than on new ones.")
    return ["<ul>", *(f"<li>{escape(text)}</li>" for text in texts), "</ul>"]
