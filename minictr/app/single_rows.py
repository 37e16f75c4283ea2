"""Single predictions on the page: how each adds up, what would change it, and where the model looked."""

import numpy as np

from .. import explain
from ..layers import sigmoid
from ..text import as_text
from .maps import short
from .page import Cell, bar, breakable, escape, html_table, number, panel, paragraph, share

TOP = 8                     # terms, fields and pairs of each prediction


def single_predictions(found):
    """A table of the rows to choose from, and an article for each."""
    model, chosen = found.model, found.rows
    heads, truth = ["row", "which", "predicted"], {}
    if found.y is not None:
        heads.append("true")
        labels = model.task_.labels(found.y[list(chosen)])
        truth = {row: as_text(label) for row, label in zip(chosen, labels, strict=True)}
    lines = [[Cell(f'<a href="#row-{row}">row {row}</a>', row), why, float(found.prediction[row]),
              *([truth[row]] if truth else [])] for row, why in chosen.items()]
    parts = [paragraph("How each came about, compared with the average of this table; and what the model would predict "
                       "if a single field were different. That is about the model, not about the world."),
             html_table(heads, lines, "Rows to choose from, numbered from 0, the first below the table's heading; ten "
                        "are spread evenly over the table.", "rows to choose from", numbers=(2, 3), sortable=True)]
    for row, why in chosen.items():
        told = f", true {escape(truth[row])}" if truth else ""
        parts.append(panel("rows", f"row-{row}", f"Row {row}, {why}: {found.prediction[row]:.4g}{told}",
                           one_row(found, row)))
    return parts


def one_row(found, row):
    """The parts of one prediction's article."""
    explanation = explain.one_prediction(found.model, found.X.iloc[[row]], background=found.background)
    parts = [paragraph(", ".join(f"{short(field)} = {short(value)}" for field, value in explanation.values.items())),
             *waterfall(found, row, explanation), *what_if(explanation)]
    if explanation.attention is not None:
        parts += attention(explanation.attention)
    return parts


def waterfall(found, row, explanation):
    """From the average to the prediction, a bar for each of the largest terms and the rows that it rests on."""
    how = "These are the model's own terms, purified as in the tables of values: an exact sum."
    terms = found.contributions.get(row)
    if terms is None:
        terms = explanation.terms
        how = ("These are the model's own terms, less their average: an exact sum." if terms.attrs["exact"] else
               "A field's term is the mean change if it alone were as in other rows; \"together\" is the rest.")
    binary = explanation.task == "binary"
    values = terms["value"].to_numpy(np.float64)
    order = 1 + np.argsort(-np.abs(values[1:]), kind="stable")
    steps = [(*term_of(explanation, terms.iloc[place]), values[place]) for place in order[:TOP]]
    if len(order) > TOP:
        steps.append((f"the other {len(order) - TOP} terms", None, values[order[TOP:]].sum()))
    ends = values[0] + np.cumsum([0.0, *(value for *_, value in steps)])
    low, high = ends.min(), ends.max()

    def reached(s):
        return f"{sigmoid(np.array([s]))[0]:.3g}" if binary else number(float(s))

    average = ", the first for the average of the log-odds, which is not that of the probabilities" * binary
    lines = [["the average", Cell(""), reached(values[0]), ""]]
    for (name, alike, value), start, end in zip(steps, ends, ends[1:], strict=False):
        lines.append([Cell(f"{escape(name)}{bar(low, high, (start, end), mark=ends[0])}"), f"{value:+.3g}",
                      reached(end), "" if alike is None else f"{alike:,}"])
    return [html_table(["term", "adds", "then", "rows alike"], lines,
                       f"How it adds up, in {terms.attrs['unit']}, from the average to this row: each bar begins where "
                       f"the one above ended, orange adds, blue takes away. Then: the "
                       f"{'probability' if binary else 'prediction'} so far{average}. Rows alike: how many rows of "
                       f"this table hold these values, this one included; a term on few rows is a guess. {how}",
                       f"how the prediction of row {row} adds up", numbers=(1, 2, 3))]


def term_of(explanation, term):
    """What a term is called, with the row's values, and how many rows hold them; None without fields."""
    fields = [term[column] for column in ("field_i", "field_j", "field_l") if column in term.index
              and term[column] is not None]
    if not fields:
        return term["term"], None
    return (" × ".join(f"{short(field)} = {short(explanation.values[field])}" for field in fields),
            int(term["rows"]))


def what_if(explanation):
    """How far another value of a single field would move the prediction, a line for each field."""
    table, now = explanation.counterfactuals, explanation.prediction
    if table.empty:
        return [paragraph("This table holds no other value of any field to try instead.")]
    tried = {}                                                    # field -> lines
    for line in table.itertuples(index=False):
        tried.setdefault(line.field, []).append(line)
    fields = sorted(tried, key=lambda field: -max(abs(line.change) for line in tried[field]))[:TOP]
    low, high = min(table["prediction"].min(), now), max(table["prediction"].max(), now)
    lines, threshold = [], table.attrs["threshold"]
    for field in fields:
        lowest, highest = (pick(tried[field], key=lambda line: line.prediction) for pick in (min, max))
        spans = [(now, line.prediction) for line, way in ((lowest, -1), (highest, 1)) if way * line.change > 0]
        name = breakable(f"{escape(short(field))} = {escape(short(lowest.now))}")
        cells = [Cell(f"{name}{bar(low, high, *spans, mark=now)}"), instead(lowest) if lowest.change < 0 else "",
                 instead(highest) if highest.change > 0 else ""]
        if threshold is not None:
            across = [line for line in tried[field] if line.crosses]
            cells.append(instead(max(across, key=lambda line: -1 if np.isnan(line.share) else line.share))
                         if across else "")
        lines.append(cells)
    heads = ["with another value of", "lowest with", "highest with"]
    side = ""
    if threshold is not None:
        heads.append(f"across {threshold:g} with")
        side = f" Across {threshold:g}: the most common value that takes it to the other side."
    return [html_table(heads, lines, f"What would change it: the {explanation.unit} if one field had another value, "
                       f"all others as they are; in brackets the share of rows with that value. It is {now:.4g} now, "
                       f"the line in the bars; blue goes down from there and orange up. Empty: no other value does."
                       f"{side}", "what would change it")]


def instead(line):
    """Another value of a field, what it leads to, and how common it is."""
    return f"{short(line.instead)}: {line.prediction:.4g}{'' if np.isnan(line.share) else f' ({share(line.share)})'}"


def attention(table):
    """Where the model looked in this row."""
    looks = " looks at " if "layer" in table else " × "
    others = table[table["field_i"] != table["field_j"]].sort_values("value", ascending=False, kind="stable")[:TOP]
    lines = [[f"{short(row.field_i)}{looks}{short(row.field_j)}", float(row.value), float(row.uniform)]
             for row in others.itertuples()]
    how = table.attrs.get("aggregation", "over all pairs")
    return [html_table(["pair", "attention", "if all were alike"], lines,
                       f"Where the model looked ({how}): a share of 1, not an effect.", "attention in this row",
                       numbers=(1, 2))]
