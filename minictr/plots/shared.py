"""What the plots share: they check and read a table, write its names and numbers, and draw bars and cells."""

import textwrap

import numpy as np
import pandas as pd

from ..text import printable

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILLION, SKY, GREEN, GREY = "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#8C8C8C"

PAIR_SOURCE = "explain.pair_importance(model, X) or, for AFM, explain.attention(model, X)"


# ---- checks ------------------------------------------------------------------------------------------------


def check_table(table, columns, source, value="value"):
    """Say what is wrong with a table, and who makes the right one."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"plots draw tables, expected the one made by {source}; got a"
                        f" {type(table).__name__}")
    missing = [column for column in columns if column not in table.columns]
    if missing or table.empty:
        problem = f"lacks the columns {missing}" if missing else "has no rows"
        raise ValueError(f"the table {problem}; it has the columns {list(table.columns)}; make the"
                         f" right one with {source}")
    (values,) = as_numbers(table, [value])
    refuse(table, np.isinf(values), f"a finite {value!r}, or NaN for none")
    if np.isnan(values).all():
        raise ValueError(f"column {value!r} holds nothing but NaN, there is nothing to draw")


def check_pairs(table):
    """Check a table of pairs, and that it has one row for each pair."""
    check_table(table, ["field_i", "field_j", "value"], PAIR_SOURCE)
    for column, plot in (("layer", "attention_grid"), ("term", "waterfall")):
        if column in table.columns:
            raise ValueError(f"a table with a column {column!r} is not a table of pairs; draw it"
                             f" with plots.{plot}, or make a table of pairs with {PAIR_SOURCE}")
    for column, plot in (("group", "pair_groups"), ("epoch", "attention_over_epochs")):
        if column in table.columns and table[column].nunique() > 1:
            raise ValueError(f"the table holds several values of {column!r}; draw all with plots.{plot},"
                             f" or one: table[table[{column!r}] == {table[column].iloc[0]!r}]")
    ends = np.sort(positions(table, field_names(table)), axis=0)
    bad = pd.DataFrame(ends.T).duplicated() | (ends[0] == ends[1])
    refuse(table, bad, f"one row for each pair of two fields, as {PAIR_SOURCE} returns")


def check_count(name, count):
    """Raise ValueError unless the count is a whole number of at least 1."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")


def refuse(table, bad, expected):
    """Raise ValueError with the first ``bad`` entry of the table, if there is one, and with what was expected."""
    bad = np.asarray(bad)
    if bad.any():
        at = bad.argmax()
        raise ValueError(f"entry {at} of the table is {table.iloc[at].to_dict()};"
                         f" expected {expected}")


# ---- reading a table ---------------------------------------------------------------------------------------


def as_numbers(table, columns):
    """Return each column as an array; one that the table lacks is all NaN."""
    table = table.reindex(columns=columns)
    try:
        return table.to_numpy(dtype=float, na_value=np.nan).T
    except (TypeError, ValueError) as error:
        others = [name for name in columns if not pd.api.types.is_numeric_dtype(table[name])]
        raise ValueError(f"columns {others} of the table are to be drawn and must hold numbers: {error}") from None


def field_names(table):
    """Return all field names in order: as the table says, else as they appear."""
    seen = table[["field_i", "field_j"]].to_numpy().ravel()       # a single field has no field_j
    return list(table.attrs.get("fields", dict.fromkeys(name for name in seen if not pd.isna(name))))


def positions(table, fields):
    """Return where in `fields` each field_i and each field_j stands."""
    i, j = (pd.Index(fields).get_indexer(table[column]) for column in ("field_i", "field_j"))
    refuse(table, (i < 0) | (j < 0), f'fields that table.attrs["fields"] lists, {fields}')
    return i, j


def uniform_weight(table):
    """Return the weight that every pair (or key) has under uniform attention, or None."""
    column = table["uniform"].iloc[0] if "uniform" in table.columns else None
    return table.attrs.get("uniform", column)


def quantity_of(table):
    """Return what the table is about, such as attention."""
    return table.attrs.get("quantity", "value")


def unit_of(table):
    """Return what its values are measured in."""
    return table.attrs.get("unit", quantity_of(table))


def relative_to_uniform(table):
    """Return a rollout's table in multiples of its uniform attention, which differs from cell to cell; others as is."""
    if table.attrs.get("uniform") is not None or "uniform" not in table.columns:
        return table
    relative = table.assign(value=table["value"] / table["uniform"])
    relative.attrs = table.attrs | {"uniform": 1.0, "unit": "attention (multiple of the uniform one)"}
    return relative


def fields_of_terms(terms):
    """Return for each line of a table of terms the names of its fields: none for a bias, two for a pair."""
    columns = [column for column in ("field_i", "field_j", "field_l") if column in terms.columns]
    n_fields = {"field": 1, "group": 1, "pair": 2, "triple": 3}
    return [tuple(row[:n_fields.get(term, 0)]) for term, row in
            zip(terms["term"], terms[columns].astype(object).to_numpy(), strict=True)]


# ---- writing text ------------------------------------------------------------------------------------------


def counted(count, noun):
    """Return a count with its noun, in the plural where need be."""
    return f"{count} {noun}{'s' * (count > 1)}"


def short_names(names, limit=18):
    """Map names to labels: long ones lose their middle, but no two come to look the same."""
    full = [printable(" ".join(str(name).split())) for name in names]
    while True:
        head, tail = limit // 2, limit - limit // 2 - 1
        short = [name if len(name) <= limit else f"{name[:head]}…{name[-tail:]}" for name in full]
        if len(set(short)) == len(set(full)):
            return dict(zip(names, short, strict=True))
        limit += 2


def with_value(name, value):
    """Return "field = value" with a value that is not too long."""
    return f"{name} = {next(iter(short_names([value], limit=16).values()))}"


def term_names(terms):
    """Return a label for each line of a table of terms, with the fields' values where the table has them."""
    fields_of = fields_of_terms(terms)
    names = short_names(dict.fromkeys(field for fields in fields_of for field in fields))
    if (held := terms.attrs.get("values")) is not None:
        names = {field: with_value(name, held[field]) for field, name in names.items()}
    return [" × ".join(names[field] for field in fields) if fields else term
            for term, fields in zip(terms["term"], fields_of, strict=True)]


def number_format(values):
    """Return a function that writes numbers with the decimals that the largest value needs."""
    largest = np.nanmax(np.abs(values))
    exponent = int(np.floor(np.log10(largest))) if largest > 0 else 0
    if not -4 <= exponent <= 5:
        return lambda value: f"{value:.1e}"
    decimals = 1 - exponent if exponent < -1 else max(2 - exponent, 0)
    return lambda value: f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: never -0.00


# ---- drawing -----------------------------------------------------------------------------------------------


def as_panels(axes, rows, columns, size):
    """Return a (rows, columns) array of Axes: those given, or a new figure's of `size` inches."""
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1]
    axes = np.asarray(axes, dtype=object)
    if axes.size != rows * columns:
        raise ValueError(f"this plot needs {rows} x {columns} Axes, got {axes.size}")
    return axes.reshape(rows, columns)


def label_inches(labels):
    """Return the width in inches that the longest of the labels needs."""
    return 0.3 + 0.085 * max(map(len, labels))


def bars_size(labels):
    """Return the width and height in inches of a picture with a bar for each label."""
    return 4.6 + label_inches(labels), 1.7 + 0.32 * len(labels)


def name_points(ax, points, names):
    """Write names beside points (n, 2), the first ones first, where they cover neither one another nor leave the Axes.

    A name finds a place to the right or left of its point, a little above or below; if all are taken it is left out.
    """
    ax.figure.draw_without_rendering()                            # settles limits and, with it, where the points lie
    scale = 72 / ax.figure.dpi
    places = ax.transData.transform(points) * scale               # in points (1/72 inch)
    box = ax.get_window_extent()
    edges = np.array([box.x0, box.x1]) * scale
    taken = []                                                    # left, right, bottom, top
    for (x, y), name in zip(places, names, strict=True):
        width = 5.4 * len(name)
        for side, up in ((1, 4), (-1, 4), (1, -15), (-1, -15)):
            left = x + 5 if side == 1 else x - 5 - width
            mine = left, left + width, y + up, y + up + 12
            inside = edges[0] <= mine[0] and mine[1] <= edges[1]
            if inside and not any(mine[0] < r and l < mine[1] and mine[2] < t and b < mine[3] for l, r, b, t in taken):
                taken.append(mine)
                ax.annotate(name, ax.transData.inverted().transform((x / scale, y / scale)), xytext=(5 * side, up),
                            textcoords="offset points", fontsize=8, parse_math=False,
                            ha="left" if side == 1 else "right", va="bottom")
                break


def draw_bars(ax, labels, lengths, starts, colours, text_at, texts):
    """Draw named horizontal bars from top to bottom, with a number beyond the end of each."""
    ax.barh(range(len(lengths)), lengths, left=starts, color=colours, height=0.7)
    for row, (length, x, text) in enumerate(zip(lengths, text_at, texts, strict=True)):
        ax.annotate(text, (x, row), xytext=(5 if length >= 0 else -5, 0), fontsize=8, va="center",
                    textcoords="offset points", ha="left" if length >= 0 else "right")
    # parse_math: a "$" in a field's name is a dollar sign, not the start of a formula.
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.margins(x=0.25)  # room for the numbers
    ax.spines[["right", "top"]].set_visible(False)


def draw_whiskers(ax, low, high):
    """Draw a line from low to high over each bar, from top to bottom."""
    rows = np.arange(len(low))
    ax.hlines(rows, low, high, color="black", linewidth=1.2)
    ax.plot([low, high], [rows, rows], "|", color="black", markersize=7)


def draw_others(ax, row, rest, written):
    """Draw the sum of all that have no bar of their own as a hatched bar, in this row.

    The single bars set the limits: the sum of hundreds of others would squeeze them to nothing.
    """
    left, right = ax.set_xlim(ax.get_xlim())
    if len(rest):
        text = f"sum {written(rest.sum())}, mean {written(rest.mean())}"
        text = f"{text} →" if rest.sum() > right else f"← {text}" if rest.sum() < left else text
        ax.barh(row, rest.sum(), color="white", edgecolor=GREY, hatch="////", height=0.7)
        ax.text(0.98, row, text, transform=ax.get_yaxis_transform(), fontsize=8, ha="right", va="center",
                color="black", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})


def colour_scale(values, cmap, uniform=None):
    """Return the colour map and its ends: signed, from 0 up, or with white at the uniform weight."""
    if uniform is not None and (uniform < 1 or np.nanmax(values) > uniform):    # else trivial: all is 1
        from matplotlib.colors import TwoSlopeNorm

        # white at the uniform weight, and wide enough for weights near it to look alike
        return {"cmap": cmap or "PuOr_r", "norm": TwoSlopeNorm(uniform, 0, max(np.nanmax(values), 1.5 * uniform))}
    largest = np.nanmax(np.abs(values)) or 1.0  # all zero: any scale will do, if it has a length
    signed = np.nanmin(values) < 0
    return {"cmap": cmap or ("RdBu_r" if signed else "cividis"),
            "vmin": -largest if signed else 0.0, "vmax": largest}


def draw_matrix(ax, matrix, missing, fields, scale):
    """Draw coloured cells with the fields' names at two sides, and hatch the `missing` ones."""
    from matplotlib.patches import Rectangle

    image = ax.imshow(matrix, interpolation="nearest", aspect="auto", **scale)
    for row, column in np.argwhere(missing):
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=GREY,
                               hatch="////", linewidth=0))
    labels = list(short_names(fields).values())
    for axis, cell in zip((ax.xaxis, ax.yaxis), cell_points(ax, fields), strict=True):
        step = int(np.ceil(7 / cell))  # name every second or third field where all have no room
        axis.set_ticks(range(0, len(fields), step), labels[::step], parse_math=False,
                       fontsize=min(10, 0.75 * step * cell))
    upright = 7 * max(map(len, labels)) > cell_points(ax, fields)[0]
    ax.tick_params(axis="x", labelrotation=90 if upright else 0)
    ax.tick_params(length=0)
    ax.grid(False)
    return image


def cell_points(ax, fields):
    """Return the width and height of one field's cell in points (1/72 inch)."""
    box = ax.get_window_extent()
    return np.array([box.width, box.height]) * 72 / ax.figure.dpi / len(fields)


def draw_colour_bar(image, ax, place, table, orientation):
    """Draw a colour bar on Axes of its own inside `ax`, so that `ax` keeps its size."""
    bar = ax.figure.colorbar(image, cax=ax.inset_axes(place), orientation=orientation)
    label = "\n(".join(textwrap.fill(part, 26) for part in unit_of(table).split(" ("))
    if (uniform := uniform_weight(table)) is not None:
        label += f"\nline: uniform, {uniform:.3g}"
        mark = bar.ax.axhline if orientation == "vertical" else bar.ax.axvline
        mark(uniform, color=VERMILLION, linewidth=2)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=8)
    if orientation == "horizontal":
        bar.ax.xaxis.set_label_position("top")
