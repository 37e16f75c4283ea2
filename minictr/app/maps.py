"""Tables that are maps: a colour, a number and what it rests on in each cell."""

import numpy as np

from ..plots.shared import number_format, short_names
from .page import breakable, escape, sentence

LEVELS = 9                  # of a colour
FEW = 10                    # rows; of a term on fewer the number is grey
HALF = 20                   # rows; a term on so many has half the colour that it would have on very many


def tone(value, largest, signed=False, weight=1.0):
    """The class of a cell: how strong its colour is, and for signed values which one it is."""
    level = int(np.ceil(LEVELS * min(abs(value) / largest, 1.0) * weight)) if largest > 0 and value == value else 0
    return f"{('up' if value > 0 else 'down') if signed else 'size'} l{level}" if level else ""


def believed(rows):
    """The weight of the colour of a term that rests on so many rows: from 0 to 1, one half at 20 rows."""
    return np.asarray(rows) / (np.asarray(rows) + HALF)


def map_table(row_names, column_names, cell, label, corner="", tabindex=False, kind=""):
    """A table with a name for each row and column and, in it, what ``cell(row, column)`` gives as HTML; "" is empty."""
    heads = "".join(f'<th scope="col"><span>{name}</span></th>' for name in column_names)
    cells = ("".join(cell(row, column) or "<td></td>" for column in range(len(column_names)))
             for row in range(len(row_names)))
    lines = "\n".join(f'<tr><th scope="row">{name}</th>{line}</tr>'
                      for name, line in zip(row_names, cells, strict=True))
    focus = ' tabindex="0"' if tabindex else ""                  # to scroll by keys what holds no links
    return (f'<div class="scroll"{focus} role="region" aria-label="{sentence(label)}">\n<table class="map {kind}">\n'
            f"<thead><tr><td>{corner}</td>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>\n</div>")


def pair_map(found, name, fields, link):
    """The map of one quantity of pairs; on the diagonal, of contributions and effects, the fields by themselves.

    link : of a pair of fields, or of one field, the anchor of its table of values; None if it has none.
    """
    table = found.pair_tables[name]
    values = {frozenset(pair): value for *pair, value in table[["field_i", "field_j", "value"]].itertuples(index=False)}
    if name == next(iter(found.pair_tables)):
        values |= {frozenset([field]): size for field, (size, *_) in found.field_sizes.items()}
    here = {key: value for key, value in values.items() if key <= set(fields)}
    largest = max((value for value in here.values() if value == value), default=0)
    write, names = number_format([largest]), shortened(fields)

    def cell(row, column):
        key = frozenset([fields[row], fields[column]])
        if column > row or key not in here or here[key] != here[key]:
            return ""
        alike = found.alike.typical(*key)
        text = (f"<b>{write(here[key])}</b><small>{alike:,}<span class=unseen> rows alike</span></small>")
        anchor = link(*(field for field in found.fields if field in key))
        inner = f'<a href="#{anchor}">{text}</a>' if anchor else text
        return f'<td class="{tone(here[key], largest)}{" own" * (row == column)}">{inner}</td>'

    return map_table(names, names, cell, f"map of the {name} of pairs of fields", kind="pairs")


def attention_maps(table, fields):
    """One map for each layer and head of a self-attention: a row is a field that asks, a column one that answers."""
    names, parts = shortened(fields), []
    largest = table["value"].max()
    for (layer, head), own in table.groupby(["layer", "head"], sort=False):
        values = {pair[:2]: pair[2] for pair in own[["field_i", "field_j", "value"]].itertuples(index=False, name=None)}

        def cell(row, column, values=values):
            value = values[fields[row], fields[column]]
            return f'<td class="{tone(value, largest)}"><b>{value:.2f}</b></td>'

        title = f"layer {layer}, head {head}"
        parts.append(f"<div><h4>{sentence(title).capitalize()}</h4>"
                     f"{map_table(names, names, cell, f'attention in {title}', tabindex=True)}</div>")
    return f'<div class="maps">{"".join(parts)}</div>'


def value_map(table, largest):
    """What each two values of a pair add together: a term and its rows in each cell, rows at the margins.

    largest : the size of a term that has the strongest colour.
    """
    one, other = (list(dict.fromkeys(table[side])) for side in ("value_i", "value_j"))
    sides = "ij"
    if len(one) < len(other):                                     # the longer list downwards: a page is narrow
        one, other, sides = other, one, "ji"
    columns = [*(f"value_{side}" for side in sides), "term", "rows"]
    cells = {key[:2]: key[2:] for key in table[columns].itertuples(index=False, name=None)}
    write = number_format([largest])
    rows_of = [table.attrs[f"rows_{side}"] for side in sides]

    def cell(row, column):
        if row == column == 0:
            return ""
        if row == 0 or column == 0:                               # first, where a narrow window shows them
            held = rows_of[1][other[column - 1]] if row == 0 else rows_of[0][one[row - 1]]
            return f'<td class="margin">{held:,}</td>'
        term, rows = cells[one[row - 1], other[column - 1]]
        if term != term:
            return '<td class="few"><b>–</b><small>0</small></td>'
        return (f'<td class="{shade(term, largest, rows)}"><b>{"+" * (term > 0)}{write(term)}</b>'
                f"<small>{rows:,}</small></td>")

    i, j = (table.attrs["fields"]["ij".index(side)] for side in sides)
    return map_table(["rows", *shortened(one)], ["rows", *shortened(other)], cell,
                     f"what values of {short(i)} and {short(j)} add together", tabindex=True, kind="values",
                     corner=f"{escape(short(i))} ↓ {escape(short(j))} →")


def shade(term, largest, rows):
    """The class of the cell of a term that rests on so many rows."""
    return " ".join(filter(None, [tone(term, largest, signed=True, weight=believed(rows)), "few" * (rows < FEW)]))


def legend(largest):
    """The colours of all maps of values: how strong one is for the size of a term and for its rows."""
    rows, write = (1, FEW, 100, 1_000), number_format([largest])
    terms = [part * largest for part in (-1, -0.5, -0.1, 0.1, 0.5, 1)]
    names = [f"{'+' * (term > 0)}{write(term)}" for term in terms]
    return map_table([f"{n:,} row{'s' * (n > 1)}" for n in rows], names,
                     lambda row, column: f'<td class="{shade(terms[column], largest, rows[row])}">{names[column]}</td>',
                     "legend of the maps of values", tabindex=True, kind="legend")


def shortened(names):
    """Names as HTML, no two alike, however long they are; a line may break after each underscore."""
    return [breakable(escape(text)) for text in (short_names(names, limit=24)[name] for name in names)]


def short(name):
    """One name or value, not too long to be read in a sentence."""
    return short_names([name], limit=48)[name]
