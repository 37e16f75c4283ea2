"""The tables of values on the page: what each value of a field, and each two of a pair, adds to the prediction."""

import numpy as np

from .maps import FEW, HALF, believed, legend, short, shortened, value_map
from .page import Cell, bar, escape, html_table, number, panel, paragraph

PRINTED = 6                 # tables of pairs that are printed, the strongest: all would take dozens of pages
STRONGEST = 5               # combinations of values that are listed by themselves
FIRST_ROWS = 5              # of those that hold one, by number

BACK = '<p class="back"><a href="#pairs">Back to the map</a> <a href="#list">Back to the list</a></p>'


def anchor(found, *fields):
    """The anchor of the table of values of a field or a pair, in the fields' order; None if the page has none."""
    if len(fields) == 1:
        return f"field-{found.fields.index(fields[0])}" if fields[0] in found.field_values else None
    there = fields in found.pair_values
    return f"pair-{found.fields.index(fields[0])}-{found.fields.index(fields[1])}" if there else None


def panels(found):
    """The article of each table of values: of the pairs, strongest first, and of the fields."""
    pairs = largest_term(found.pair_values)
    fields = largest_term(found.field_values)
    how = ['<div id="legend">\n<h3>Legend of the tables of values</h3>', paragraph(
        "One scale for all of them: orange adds, blue takes away, and a strong colour is a large term on many rows. It "
        f"is weighed by rows / (rows + {HALF}): on {HALF} rows it is half as strong as it would be on very many. A "
        f"grey number in italics rests on less than {FEW} rows: take it for a guess."), legend(pairs), "</div>"]
    left = len(found.pair_values) - PRINTED
    if left > 0:
        how.append(f'<p class="paper">Printed are the tables of values of the {PRINTED} strongest pairs; the page on '
                   f"a screen has those of {left} more.</p>")
    titles = {pair: escape(f"{short(pair[0])} × {short(pair[1])}") for pair in found.pair_values}
    return [*how * bool(found.pair_values),
            *(panel("values", anchor(found, *pair), titles[pair], pair_parts(found, table, pairs),
                    printed=place < PRINTED) for place, (pair, table) in enumerate(found.pair_values.items())),
            *(panel("values", anchor(found, field), escape(short(field)), field_parts(table, fields))
              for field, table in found.field_values.items())]


def largest_term(tables):
    """The size of the largest term that any row has, in tables of values; 0 without any."""
    return max((float(np.nanmax(table["term"].abs()[table["rows"] > 0], initial=0)) for table in tables.values()),
               default=0.0)


def pair_parts(found, table, largest):
    """A pair's table of values as a map, with its strongest combinations in words and numbers."""
    i, j = map(short, table.attrs["fields"])
    return [paragraph(f"What each two values of {i} and {j} add to the prediction together, in "
                      f"{table.attrs['unit']}, beyond what each adds by itself; below it, in small, the rows of "
                      "this table that hold both. The colours are those of the legend above. "
                      f"Made of: {table.attrs['source']}."),
            *notes(table), value_map(table, largest),
            strongest_values(found, table), BACK]


def strongest_values(found, table):
    """The strongest two values of a pair, with the rows that hold them: which, what is predicted and what is true."""
    i, j = map(short, table.attrs["fields"])
    heads, lines = ["mean prediction", *["observed mean"] * (found.y is not None), "the first of these rows"], []
    for line in by_strength(table)[:STRONGEST].itertuples():
        rows = found.rows_with(table.attrs["fields"], (line.value_i, line.value_j))
        means = [float(known[rows].mean()) for known in (found.prediction, found.y) if known is not None]
        links = ", ".join(f'<a href="#row-{row}">{row}</a>' if row in found.rows else str(row)
                          for row in rows[:FIRST_ROWS].tolist())
        lines.append([f"{short(line.value_i)}, {short(line.value_j)}", *numbers(line), *means, Cell(links)])
    means = f"Mean prediction{' and observed mean' * (found.y is not None)}"
    return values_table(f"{i}, {j}", lines, table, f"The strongest of them, by size × rows / (rows + {HALF}). {means}: "
                        "over the rows that hold both values, with all else that they hold. Rows are numbered from 0, "
                        "the first below the table's heading; a link leads to how the prediction came about.",
                        f"strongest values of {i} and {j}", heads)


def field_parts(table, largest):
    """A field's table of values: a bar for each, on an axis up to the largest size of a term of any field."""
    lines = [[Cell(f"{name}{bar(-largest, largest, (0, row.term))}"), *numbers(row)]
             for name, row in zip(shortened(table["value"]), table.itertuples(), strict=True)]
    return [paragraph(f"What each value of {short(table.attrs['field'])} adds to the prediction by itself, in "
                      f"{table.attrs['unit']}, beside the average of this table; bars have one scale for all fields. "
                      f"Made of: {table.attrs['source']}."),
            *notes(table),
            values_table("value", lines, table, "Rows: of this table, that hold the value.",
                         f"values of {short(table.attrs['field'])}"), BACK]


def by_strength(table):
    """The lines of a table of values, strongest first, where few rows count less; those of no row are left out."""
    held = table[(table["rows"] > 0) & table["term"].notna()]
    return held.iloc[np.argsort(-(held["term"].abs() * believed(held["rows"])).to_numpy(), kind="stable")]


def numbers(row):
    """The cells of a line of a table of values: term, rows, ends of the term's interval if it has two."""
    ends = "" if row.low == row.high or np.isnan(row.low) else f"{number(row.low)} to {number(row.high)}"
    return Cell(f"{'+' * (row.term > 0)}{number(row.term)}", float(row.term)), int(row.rows), ends


def values_table(head, lines, table, caption, label, more=()):
    """Values with their ``numbers``, and ``more`` columns; that of intervals is there if any line has one."""
    heads = [head, "adds", "rows", "adds from, to", *more]
    if any(line[3] for line in lines):
        caption += f" Adds from, to: {table.attrs['interval']}."
    else:
        heads, lines = [*heads[:3], *heads[4:]], [[*line[:3], *line[4:]] for line in lines]
    return html_table(heads, lines, caption, label, numbers=range(1, len(heads)))


def notes(table):
    """What is to be said of a table besides, if anything."""
    return [paragraph(f"{table.attrs['note'].capitalize()}.")] if table.attrs.get("note") else []
