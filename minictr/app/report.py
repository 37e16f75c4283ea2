"""The page that ``minictr explain`` writes: what a model is, how good it is, what it learned, and what that means.

One file, to explore in a browser and to print: tables that are maps, tables of values behind their cells, predictions
taken apart. Whatever comes from the user is escaped; and the page's own policy lets a browser use its one style and one
script, and load nothing.
"""

import dataclasses
from pathlib import Path

import numpy as np

from ..estimator import Model
from ..explain.contribution_tables import is_sum_of_fields_and_pairs
from ..layers import parameters
from .findings import SIZES, Findings
from .maps import attention_maps, pair_map, short
from .page import Cell, bar, breakable, escape, html_table, number, page, panel, paragraph, picture, sentence, share
from .scores import RESAMPLES, SEED, point_scores
from .single_rows import single_predictions
from .values import anchor, by_strength, panels
from .whole import whole_file

MAX_PAIRS = 300             # in the list
MAX_FIELDS = 24             # in a map of pairs
MAX_ASKING = 16             # in a map of self-attention, of which there can be many
NOT_KNOWN = "The model's file does not say whether the rows of this page are among those it was trained on."

HOW_TO_READ = {     # of each quantity: what its map shows, and what it does not say
    "attention": (
        "Attention is a share of 1: how much weight the model gives a pair of fields, on average over the rows.",
        "It is where the model looks, not what a pair adds to the prediction: a pair with much attention may add "
        "nothing."),
    "self-attention": (
        "Each map is one head of one layer; a row is a field that asks, a column one that answers, and each row sums "
        "to 1, so a strong colour is a field that the other one listens to.",
        "From the second layer on, a field's place already holds a mixture of fields; and attention is where the model "
        "looks, not what comes of it."),
    "contribution": (
        "A contribution is what a pair adds to the model's output or takes from it, here its mean size over the rows: "
        "a strong colour is a pair that moves predictions.",
        "The sum of all terms is exact, but not unique: a pair's term can carry what one of its fields could say "
        "alone, and an equally good model may share the same prediction out differently."),
    "purified contribution": (
        "A contribution is what a pair adds to the model's output or takes from it, here its mean size over the rows: "
        "a strong colour is a pair that moves predictions. It is purified: what a pair's term says of one field alone "
        "is counted with that field, on the diagonal.",
        "The sum of all terms is exact; another model, as good, may still give other terms."),
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
    rows : positions of rows whose predictions are explained first, before the lowest, median and highest prediction,
        the one furthest from the truth, and ten spread over the table.
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
    return write_page(Findings(model, X, y, rows or ()), path, model_name, table_name)


def write_page(found, path, model_name, table_name):
    """Write the page of what was found; returns its path."""
    title = f"{type(found.model).__name__}: {model_name or 'what it learned'}"
    sections = [
        ("short", "In short", in_short(found)),
        ("caveats", "Caveats", caveats(found)),
        ("pairs", "Map of fields and pairs", pairs(found)),
        ("list", "Fields and pairs in one list", the_list(found)),
        ("predictions", "Single predictions", single_predictions(found)),
        ("scores", "How good it is", scores(found)),
        ("card", "Model card", model_card(found, table_name)),
    ]
    path = Path(path)
    with whole_file(path) as part:
        part.write_text(page(title, table_name, sections), encoding="utf-8", newline="\n")
    return path


# ---- the sections ------------------------------------------------------------------------------------------

def in_short(found):
    """A few sentences for a reader who has a minute: how good it is, what moves it most, and links to the tables."""
    model, texts, lines = found.model, [], []
    binary = model.task_ == "binary"
    mean = found.prediction.mean()
    texts.append(f"It predicts {'a probability' if binary else 'a number'} for each row: on average {number(mean)}, "
                 f"from {number(found.prediction.min())} to {number(found.prediction.max())}.")
    if found.y is not None:
        name, (value, low, high) = next(iter(found.scores.items()))
        texts.append(f"How good it is: {name} {number(value)} on {len(found.y):,} rows ({number(low)} to "
                     f"{number(high)}, if other rows had been drawn). The target's mean is {number(found.y.mean())}.")
    if found.pair_tables:
        quantity, pair = next(iter(found.pair_tables)), found.ranked_pairs[0]
        i, j = map(short, pair)
        texts.append((f"The pair of fields with the largest {quantity}: ", anchor(found, *pair), f"{i} and {j}", "."))
    for pair, table in [*found.pair_values.items()][:1]:
        strongest = by_strength(table)
        for line in strongest.groupby(strongest["term"] > 0, sort=False).head(1).itertuples():
            rows = found.rows_with(pair, (line.value_i, line.value_j))
            true = "" if found.y is None else f" and an observed mean of {number(found.y[rows].mean())}"
            texts.append(f"{i} = {short(line.value_i)} with {j} = {short(line.value_j)} {adds(line, table, binary)}, "
                         f"beyond what the two do by themselves; {line.rows:,} of the {len(found.X):,} rows hold both, "
                         f"with a mean prediction of {number(found.prediction[rows].mean())}{true}.")
    sizes = {field: value for field, (value, *_) in found.field_sizes.items()
             if anchor(found, field) and value == value}
    if sizes:
        field = max(sizes, key=sizes.get)
        strongest = by_strength(found.field_values[field])[:1]
        texts += [("The field that does most by itself: ", anchor(found, field), short(field),
                   f"; {short(field)} = {short(line.value)} {adds(line, found.field_values[field], binary)}, on "
                   f"{line.rows:,} rows.") for line in strongest.itertuples()]
    texts.append(("These are the terms of one trained model. How much they change from training to training, the page "
                  "does not know; and none of it says what causes what: see the ", "caveats", "caveats", "."))
    for text in texts:
        before, link, name, after = (text, "", "", "") if isinstance(text, str) else text
        name = f'<a href="#{link}">{sentence(name)}</a>' if link else sentence(name)
        lines.append(f"<li>{sentence(before)}{name}{sentence(after)}</li>")
    return ["<ul>", *lines, "</ul>"]


def adds(line, table, binary):
    """What a line of a table of values adds, in words."""
    odds = f" (the odds times {np.exp(line.term):.3g})" if binary else ""
    return f"{'adds' if line.term > 0 else 'takes away'} {number(abs(line.term))} {table.attrs['unit']}{odds}"


def pairs(found):
    """The maps of the quantities that the model has for pairs of fields, and the tables of values behind them."""
    model = found.model
    parts = []
    if not found.pair_tables:
        if len(found.fields) < 2:
            parts.append(paragraph("There is one field, and so no pair."))
        elif is_sum_of_fields_and_pairs(model):
            parts.append(paragraph(f"{type(model).__name__} has no pairs: its logit is a sum over fields."))
        else:
            parts.append(paragraph("What pairs of fields do can be measured on two rows or more, and there is one."))
    maps = {name: [*read(name, table), pair_map(found, name, fields_shown(found, MAX_FIELDS),
                                                lambda *fields: anchor(found, *fields))]
            for name, table in found.pair_tables.items()}
    if found.attention is not None and "layer" in found.attention:
        maps["self-attention"] = [*read("self-attention", found.attention),
                                  attention_maps(found.attention, fields_shown(found, MAX_ASKING))]
    if len(maps) > 1:
        links = "\n".join(f'<a href="#{map_anchor(name)}">{name.capitalize()}</a>' for name in maps)
        parts.append(f'<nav class="choice" aria-label="Maps">\n{links}\n</nav>')
    if found.pair_tables:
        parts.append(paragraph("Each cell is a pair of fields, and on the diagonal a field by itself: its size, and in "
                               "small on how many rows it rests: so many hold the same values in these fields as a row "
                               "in the middle does (the median)."
                               + " A cell leads to its table of values." * bool(found.pair_values)
                               + " Log-odds are ln(p / (1 - p)): 0.7 more doubles the odds, 0.7 less halves them."
                               * (model.task_ == "binary")))
    if len(found.fields) > MAX_FIELDS:
        parts.append(paragraph(f"There are {len(found.fields)} fields: a map shows the {MAX_FIELDS} of the strongest "
                               f"pairs."))
    parts += [panel("maps", map_anchor(name), name.capitalize(), own) for name, own in maps.items()]
    n_pairs = len(found.ranked_pairs)
    if len(found.X) == 1:
        parts.append(paragraph("What a value adds is told from other rows, and there is one: so there are no tables of "
                               "values."))
    elif len(found.pair_values) < n_pairs or len(found.field_values) < len(found.fields):
        parts.append(paragraph(f"Tables of values are here of the {len(found.pair_values)} strongest of {n_pairs:,} "
                               f"pairs, and of {len(found.field_values)} of {len(found.fields)} fields; "
                               "explain.pair_values and explain.field_values give those of any."))
    return [*parts, *panels(found)]


def map_anchor(name):
    """The anchor of a quantity's map."""
    return f"map-{name.replace(' ', '-')}"


def read(name, table):
    """How to read a quantity, what it does not say, and what its table says of itself."""
    purified = name == "contribution" and table.attrs.get("purified")
    notes = [f"{key.capitalize()}: {table.attrs[key]}." for key in ("note", "background") if table.attrs.get(key)]
    return [paragraph(" ".join([*HOW_TO_READ["purified contribution" if purified else name], *notes]))]


def fields_shown(found, limit):
    """The fields that a map shows, in the model's order: all, or those of the strongest pairs."""
    if len(found.fields) <= limit:
        return found.fields
    strongest = list(dict.fromkeys(field for pair in found.ranked_pairs for field in pair))[:limit]
    return [field for field in found.fields if field in (strongest or found.fields[:limit])]


def the_list(found):
    """Fields and pairs in one table, by their size."""
    tables, first = found.pair_tables, next(iter(found.pair_tables), "contribution")
    sizes = [value for value, *_ in found.field_sizes.values() if value == value]
    if tables:
        sizes.append(tables[first]["value"].max())
    largest = max(sizes, default=0) or 1

    def entry(name, value, link):
        text = breakable(escape(name))
        linked = f'<a href="#{link}">{text}</a>' if link else text
        return Cell(linked + (bar(0, largest, (0, value), signed=False) if value == value else ""))

    shares = bool(found.shares)
    heads = ["field or pair", first, "rows alike", *["share"] * shares, "size from, to"]
    for name in list(tables)[1:]:
        heads += [name, "size from, to"]
    heads.append("kind")

    def line(fields, size, *others):
        shared = [found.shares.get(fields, np.nan)] if shares else []
        name = entry(" × ".join(map(short, fields)), size[0], anchor(found, *fields))
        return [name, size[0], found.alike.typical(*fields), *shared, from_to(*size[1:]),
                *(cell for value, *ends in others for cell in (value, from_to(*ends))), kinds[len(fields)]]

    kinds, nothing = {1: "field", 2: "pair"}, [(np.nan,) * 3] * (len(tables) - 1)
    lines = [line((field,), sizes, *nothing) for field, sizes in found.field_sizes.items()]
    columns = {name: {tuple(pair): ends for *pair, ends in zip(
        table["field_i"], table["field_j"], table[["value", "low", "high"]].to_numpy(np.float64).tolist(), strict=True)}
        for name, table in tables.items()}
    for pair in found.ranked_pairs[:MAX_PAIRS]:
        lines.append(line(pair, *(column[pair] for column in columns.values())))
    lines.sort(key=lambda cells: -cells[1] if cells[1] == cells[1] else np.inf)
    units = "; ".join(f"{name}: {table.attrs['unit']}; from, to: {table.attrs['interval']}"
                      for name, table in tables.items())
    n_pairs = len(found.ranked_pairs)
    which = "All fields and pairs"
    if n_pairs > MAX_PAIRS:
        which = f"All fields, and the first {MAX_PAIRS} of {n_pairs:,} pairs"
    of_shares = ("Share: of the logits' variance, Cov(term, logit) / Var(logit); all add up to 1, and where fields "
                 "depend on each other some are negative. " * shares)
    return [html_table(heads, lines, f"{which}. Of a field: the mean size of what it adds by itself. {units}. A size "
                       f"has no sign. {of_shares}Rows alike: how many rows hold the same values in these fields, the "
                       f"median over the rows.{' Names lead to tables of values.' * bool(found.field_values)}",
                       "fields and pairs",
                       numbers=range(1, len(heads) - 1), sortable=True, sorted_by=1)]


def from_to(low, high):
    """The cell of an interval, sorted by its upper end; empty where it is not known."""
    return Cell(f"{number(low)} to {number(high)}" if high == high else "–", high)


def scores(found):
    """Scores with intervals, the calibration, and what each field is worth; without a target, that there are none."""
    y, prediction, model = found.y, found.prediction, found.model
    if y is None:
        return [paragraph("No target was given, so there is nothing to measure the predictions by. They go from "
                          f"{prediction.min():.4g} to {prediction.max():.4g}, with mean {prediction.mean():.4g}. A "
                          "loss in the model card is of the rows that the model was trained on, and of its validation "
                          f"rows. {NOT_KNOWN}")]
    binary = model.task_ == "binary"
    of_base = point_scores(y, np.full(len(y), y.mean()), binary)
    lines = [[name, number(value), f"{number(low)} to {number(high)}", number(of_base[name])]
             for name, (value, low, high) in found.scores.items()]
    parts = [html_table(["", type(model).__name__, "95 % interval", "mean alone"], lines,
                        f"Scores on {len(y):,} rows; mean alone: always predicting the mean of this table, "
                        f"{y.mean():.4g}. Interval: percentiles of {RESAMPLES} tables of as many rows drawn "
                        f"from this one with replacement (bootstrap, seed {SEED}); it is about drawing rows, not about "
                        f"training again. {NOT_KNOWN} On those they flatter: the training curve in the model card has "
                        "the loss on held-out rows, if there were any.", "scores", numbers=(1, 2, 3))]
    if binary:
        parts += [paragraph(f"Mean prediction {prediction.mean():.4g}, observed rate {y.mean():.4g}."),
                  picture(found.pictures["calibration"], *SIZES["calibration"],
                          "Observed rate against predicted probability, in bins of equally many rows.",
                          "Calibration: points on the dashed diagonal are probabilities that can be taken at their "
                          "word; below it the model promises too much. Whiskers that reach the diagonal may be "
                          "chance.")]
    table, n_rows = found.permutation_importance
    parts += ["<h3>What each field is worth</h3>", html_table(
        ["field", "increase of the loss", "smallest", "largest"],
        [[short(line.field), line.value, line.low, line.high] for line in table.itertuples()],
        f"How much the {model.loss_.name} grows when a field's column is shuffled, on {n_rows:,} rows: "
        "mean, smallest and largest of 5 permutations. Fields that can replace one another all look worthless here.",
        "what each field is worth", numbers=(1, 2, 3), sortable=True, sorted_by=1)]
    return parts


def model_card(found, table_name):
    """What the model is: class, sizes, settings, fields, training."""
    model = found.model
    common = {field.name: field.default for field in dataclasses.fields(Model)}
    settings = {name: value for name, value in model.get_params().items()     # its own, and the common ones if changed
                if name not in common or (value != common[name] and name not in ("name", "fields", "task", "verbose"))}
    facts = {"model": f"{short(model.name)} ({type(model).__name__})" if model.name else type(model).__name__,
             "task": "binary: the probability of a 1" if model.task_ == "binary" else "regression: a number",
             "parameters": f"{sum(array.size for array in parameters(model).values()):,}",
             "settings (all others as by default)":
                 ", ".join(f"{name} = {value!r}" for name, value in settings.items()) or "none",
             "rows looked at": f"{len(found.X):,} of {table_name}"}
    parts = ["<dl>", *(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()), "</dl>"]
    described = model.encoder_.describe()
    parts.append(html_table(
        ["field", "kind", "values", "unknown in training", "missing in training", "unknown here"],
        [[field.field, field.kind, int(field.values), share(field.unknown), share(field.missing),
          share(found.unknown[field.field])] for field in described.itertuples()],
        f"The {len(described)} fields. Values: those with a vector of their own (a number has one for all). Unknown in "
        "training: values too rare to have a vector of their own (the setting min_count); unknown here: values in "
        f"{short(table_name)} that training did not see, for which the model takes an average.", "fields",
        numbers=(2, 3, 4, 5)))
    if "training_curve" in found.pictures:
        parts.append(picture(found.pictures["training_curve"], *SIZES["training_curve"],
                             "Loss on the training data by epoch, and on validation data if there were any.",
                             "How it was trained: the lower the better; validation loss that turns upwards while "
                             "training loss falls is overfitting. The dashed line is the loss of always predicting the "
                             "mean of the training data: a model near it has learned nothing."))
    return parts


def caveats(found):
    """What none of this says."""
    unseen = ", ".join(f"{short(name)} {share(rate)}" for name, rate in found.unknown.items() if rate)
    texts = [
        "Contributions are not unique: they add up exactly, but another model may share the same prediction out "
        "differently. Train with several seeds before believing a ranking.",
        "Rows alike are counted in this table, and a term on few of them is a guess, however large it is.",
        "Nothing here is causal: it says how the model predicts, not what would happen if somebody changed a field.",
        "What-if predictions put values together that may never occur together.",
    ]
    if found.attention is not None:
        texts.insert(0, "Attention is not importance: it is how much the model weighs a pair, not what the pair adds.")
    if unseen:
        texts.append("Values that training did not see are predicted as an average one. Shares in this table: "
                     f"{unseen}.")
    if found.y is not None:
        texts.append("Scores are of this table alone. On rows that the model was trained on, or was stopped by, they "
                     "are better than on new ones.")
    return ["<ul>", *(f"<li>{escape(text)}</li>" for text in texts), "</ul>"]
