"""A number for each pair of fields becomes a map, a ranking, or the truth beside what was learned."""

import numpy as np

from .shared import (
    BLUE,
    GREY,
    PAIR_SOURCE,
    SKY,
    VERMILLION,
    as_numbers,
    as_panels,
    bars_size,
    cell_points,
    check_count,
    check_pairs,
    colour_scale,
    counted,
    draw_bars,
    draw_colour_bar,
    draw_matrix,
    draw_others,
    draw_whiskers,
    field_names,
    label_inches,
    number_format,
    positions,
    quantity_of,
    short_names,
    uniform_weight,
    unit_of,
)


def pair_heatmap(table, *, ax=None, cmap=None, annotate=None):
    """Draw one number per pair of fields as a lower triangle of coloured cells.

    Values that are never negative are coloured from 0 up; as soon as one is negative, the scale
    diverges and its two ends are equally far from 0, so that white means 0. Attention diverges from
    the uniform weight, so that white means no preference. A hatched cell has no value.

    Parameters
    ----------
    table : DataFrame with columns field_i, field_j, value; one row a pair.
    ax : Axes to draw on; None makes a new figure.
    cmap : colour map in place of cividis (values >= 0), RdBu_r (signed) or PuOr_r (attention).
    annotate : print the numbers in the cells; None does so up to 15 fields, if they are legible.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds a pair twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [0.6, 0.3, 0.1],
    ...                       "field_j": ["ad", "hour", "hour"]})
    >>> ax = pair_heatmap(table, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['user', 'ad', 'hour']
    """
    check_pairs(table)
    fields = field_names(table)
    ax = as_panels(ax, 1, 1, _triangle_size(fields))[0, 0]
    _draw_triangle(table, fields, ax, cmap, annotate)
    return ax


def pair_ranking(table, *, top=10, ax=None):
    """Draw the pairs as horizontal bars, the largest absolute value on top.

    Whiskers show low to high where the table has them. The pairs beyond `top` share one hatched bar
    at the bottom; where their sum is longer than the axis, an arrow says so.

    Parameters
    ----------
    table : DataFrame with columns field_i, field_j, value and perhaps low, high; one row a pair.
    top : how many pairs get a bar of their own.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds a pair twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [0.6, 0.1, 0.3],
    ...                       "field_j": ["ad", "hour", "hour"]})
    >>> ax = pair_ranking(table, top=2, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['user × ad', 'ad × hour', 'others (1 pair)']
    """
    check_pairs(table)
    check_count("top", top)
    values, low, high = as_numbers(table, ["value", "low", "high"])
    known = np.flatnonzero(~np.isnan(values))
    ranked = known[np.argsort(-np.abs(values[known]), kind="stable")]
    shown, rest = ranked[:top], values[ranked[top:]]
    value, low, high = values[shown], low[shown], high[shown]
    names, pairs = short_names(field_names(table)), table[["field_i", "field_j"]].to_numpy()
    labels = [" × ".join(names[field] for field in pair) for pair in pairs[shown]]
    if len(rest):
        labels.append(f"others ({counted(len(rest), 'pair')})")
    written = number_format(value)
    signed = values[known].min() < 0
    colours = [(VERMILLION if v > 0 else BLUE) if signed else SKY for v in value]
    notes = [unit_of(table)]

    ax = as_panels(ax, 1, 1, bars_size(labels))[0, 0]
    whisker_ends = np.where(value >= 0, np.fmax(value, high), np.fmin(value, low))
    draw_bars(ax, labels, value, 0.0, colours, whisker_ends, map(written, value))
    if not np.isnan([low, high]).all():
        draw_whiskers(ax, low, high)
        notes.append(f"whiskers: {table.attrs.get('interval', 'low to high')}")
    if (uniform := uniform_weight(table)) is not None:
        ax.axvline(uniform, color=VERMILLION, linestyle="--", linewidth=1.2)
        notes.append(f"dashed line: uniform attention, {uniform:.3g}")
    if len(known) < len(values):
        notes.append(f"left out: {counted(len(values) - len(known), 'pair')} without a value")
    draw_others(ax, len(shown), rest, written)
    if signed:
        ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set(xlabel="\n".join(notes), title=_title(table))
    return ax


def truth_vs_learned(truth, *learned, axes=None):
    """Draw planted pair effects beside what one or more models learned, fields in the same order.

    Each panel has a colour scale of its own: attention (shares of 1) and effects (log-odds) cannot
    be compared by size, only by which pairs stand out.

    Parameters
    ----------
    truth : pair table of the planted effects.
    *learned : one or more pair tables over the same fields.
    axes : 1 + len(learned) Axes to draw on; None makes a new figure.

    Returns
    -------
    ndarray of Axes, shape (1 + len(learned),)

    Raises
    ------
    ValueError : if a table is empty, of another kind or over other fields, or `axes` has another
        size.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> truth = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [1.5, 0.0, 0.4],
    ...                       "field_j": ["ad", "hour", "hour"]})
    >>> learned = truth.assign(value=[0.7, 0.1, 0.2])
    >>> truth_vs_learned(truth, learned, axes=Figure().subplots(1, 2)).shape
    (2,)
    """
    if not learned:
        raise ValueError(f"no learned table to put beside the truth; make one with {PAIR_SOURCE}")
    tables = [truth, *learned]
    for table in tables:
        check_pairs(table)
        if set(field_names(table)) != set(field_names(truth)):
            raise ValueError(f"the truth is about the fields {field_names(truth)}, a learned table"
                             f" about {field_names(table)}; expected the same fields")
    width, height = _triangle_size(field_names(truth))
    axes = as_panels(axes, 1, len(tables), (len(tables) * width, height))[0]
    for table, ax in zip(tables, axes, strict=True):
        _draw_triangle(table, field_names(truth), ax)
    return axes


def _triangle_size(fields):
    """Return the width and height in inches that give cells and names their room."""
    side = np.clip(0.5 * len(fields), 2.6, 9.0)
    names = label_inches(short_names(fields).values())
    return side + names + 0.2, side + names + 0.4


def _draw_triangle(table, fields, ax, cmap=None, annotate=None):
    """Draw a pair table as a lower triangle; the colour bar goes into the empty upper one."""
    (values,), ends = as_numbers(table, ["value"]), np.sort(positions(table, fields), axis=0)
    matrix = np.full((len(fields), len(fields)), np.nan)
    matrix[ends[1], ends[0]] = values
    missing = np.isnan(matrix) & np.tri(len(fields), k=-1, dtype=bool)
    image = draw_matrix(ax, matrix, missing, fields, colour_scale(values, cmap, uniform_weight(table)))
    written, (width, height) = number_format(values), cell_points(ax, fields)
    size = min(9.0, 0.7 * height, width / (0.75 * max(len(written(value)) for value in values)))
    if annotate or (annotate is None and len(fields) <= 15 and size >= 5):
        for row, column in np.argwhere(~np.isnan(matrix)):
            brightness = image.to_rgba(matrix[row, column])[:3] @ np.array([0.3, 0.59, 0.11])
            ax.text(column, row, written(matrix[row, column]), ha="center", va="center",
                    fontsize=size, color="white" if brightness < 0.5 else "black")
    ax.spines[:].set_visible(False)
    draw_colour_bar(image, ax, [0.45, 0.84, 0.53, 0.035], table, "horizontal")
    ax.set_title(_title(table))


def _title(table):
    """Return the title of a picture of pairs."""
    trivial = quantity_of(table) == "attention" and len(table) == 1
    return quantity_of(table) + "\n(over one pair always 1: trivial)" * trivial
