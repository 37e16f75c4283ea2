"""What values add to the logit, one by one: a map of two fields' values, and a curve or bars of one field's."""

import numpy as np

from .shared import (
    BLUE,
    GREY,
    SKY,
    VERMILLION,
    as_numbers,
    as_panels,
    check_count,
    check_table,
    counted,
    draw_colour_bar,
    label_inches,
    number_format,
    refuse,
    short_names,
    unit_of,
)

PAIR_VALUES, FIELD_VALUES = ("explain.pair_values(model, X, field_i, field_j)",
                             "explain.field_values(model, X, field)")
RIGHT, TOP = 1.0, 1.15  # inches beside the cells for totals, and above them for totals and the colour bar


def pair_values(table, *, ax=None, cmap=None, annotate=None, full=100):
    """Draw what each two values of two fields add together, as a map whose cells shrink where few rows support them.

    A cell's area is the number of rows that hold both values, and is full from ``full`` rows on. Values that never meet
    have no cell: whatever a model says of them is in no data. Grey bars are the rows of each value. White is 0, and
    both ends of the scale are equally far from it.

    Parameters
    ----------
    table : DataFrame with columns value_i, value_j, term, rows, one line for each two values.
    ax : Axes to draw on; None makes a new figure.
    cmap : colour map in place of RdBu_r.
    annotate : print the numbers in the cells; None does so where they are legible, and fit their cell.
    full : how many rows fill a cell, at least 1; fewer where no two values have so many.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds two values twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"value_i": ["ann", "ann", "bob", "bob"], "value_j": ["shoes", "books"] * 2,
    ...                       "term": [0.5, -0.5, -0.25, 0.25], "rows": [100, 25, 40, 0]})
    >>> ax = pair_values(table, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['ann', 'bob']
    """
    check_table(table, ["value_i", "value_j", "term", "rows"], PAIR_VALUES, value="term")
    check_count("full", full)
    refuse(table, table.duplicated(["value_i", "value_j"]), f"one line for each two values, as {PAIR_VALUES} returns")
    sides = [list(dict.fromkeys(table[column])) for column in ("value_i", "value_j")]
    shape = len(sides[0]), len(sides[1])
    place = [[side.index(value) for value in table[column]]
             for side, column in zip(sides, ("value_i", "value_j"), strict=True)]
    term, rows = np.full(shape, np.nan), np.zeros(shape)
    term[tuple(place)], rows[tuple(place)] = as_numbers(table, ["term", "rows"])
    labels = [list(short_names(side).values()) for side in sides]
    supported = np.isfinite(term) & (rows > 0)
    full = min(full, rows.max()) or 1

    ax = as_panels(ax, 1, 1, _map_size(labels))[0, 0]
    x, y, bar = _set_limits(ax, shape)
    side = np.sqrt(np.where(supported, np.clip(rows / full, 0.02, 1), 0))     # of a cell: its area is the rows
    image = _draw_cells(ax, term, side, cmap)
    totals = [table.attrs.get(f"rows_{side}", {}) for side in "ij"]
    _draw_totals(ax, [[total.get(value, held) for value, held in zip(side, sums, strict=True)]
                      for total, side, sums in zip(totals, sides, (rows.sum(axis=1), rows.sum(axis=0)), strict=True)],
                 x, y)
    if supported.any():
        _annotate(ax, term, side, image, annotate, 72 / x, 72 / y)
    _name_values(ax, labels, 72 / x, 72 / y)
    for write, name in zip((ax.set_ylabel, ax.set_xlabel), table.attrs.get("fields", ()), strict=False):
        write(next(iter(short_names([name], 40).values())), parse_math=False)
    draw_colour_bar(image, ax, bar, table, "horizontal")
    more = " or more" * bool((rows > full).any())
    ax.set_title(_title(table, f"a full cell: {counted(int(full), 'row')}{more}; blank: none"), fontsize=9)
    return ax


def _map_size(labels):
    """Return the width and height in inches that give cells and names their room."""
    cells = [np.clip(0.5 * len(side), 1.6, 9.0) for side in labels]
    names = [label_inches(side) for side in labels]
    return max(4.4, names[0] + cells[1] + RIGHT + 0.5), names[1] + cells[0] + TOP + 0.8


def _set_limits(ax, shape):
    """Make room beside and above the cells; return an inch's length along x and y, and the colour bar's place."""
    box = ax.get_window_extent()
    width, height = box.width / ax.figure.dpi, box.height / ax.figure.dpi
    right, top = min(RIGHT, 0.3 * width), min(TOP, 0.4 * height)
    x, y = shape[1] / (width - right), shape[0] / (height - top)
    ax.set_xlim(-0.5, shape[1] - 0.5 + right * x)
    ax.set_ylim(shape[0] - 0.5, -0.5 - top * y)
    return x, y, [0, 1 - 0.4 * top / height, min(1, 2.2 / width), 0.09 * top / height]


def _draw_cells(ax, term, side, cmap):
    """Draw coloured squares of these sides, shares of a full cell's; none where the side is 0."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    shown = side > 0
    squares = [Rectangle((j - side[i, j] / 2, i - side[i, j] / 2), side[i, j], side[i, j])
               for i, j in np.argwhere(shown)]
    largest = np.abs(term[shown]).max(initial=0) or 1.0           # all zero: any scale will do, if it has a length
    image = PatchCollection(squares, cmap=cmap or "RdBu_r", linewidths=0.4, edgecolors="#CCCCCC")
    image.set_array(term[shown])
    image.set_clim(-largest, largest)
    ax.add_collection(image, autolim=False)
    return image


def _draw_totals(ax, totals, x, y):
    """Draw the rows of each value as grey bars, to the right and above; x and y are an inch's length."""
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    (n_i, n_j), longest = map(len, totals), [max(max(total), 1) for total in totals]
    room = right - (n_j - 0.5)
    ax.barh(range(n_i), np.array(totals[0]) / longest[0] * 0.45 * room, left=n_j - 0.5 + 0.08 * x, height=0.7,
            color="#C8C8C8")
    ax.bar(range(n_j), -np.array(totals[1]) / longest[1] * 0.35 * y, bottom=-0.5 - 0.08 * y, width=0.7,
           color="#C8C8C8")
    if 72 / y >= 7:
        for i, total in enumerate(totals[0]):
            ax.text(n_j - 0.5 + 0.12 * x + total / longest[0] * 0.45 * room, i, f"{total:,.0f}", fontsize=7,
                    va="center", color="#555555")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)


def _annotate(ax, term, side, image, annotate, width, height):
    """Print numbers in cells of so many points; if ``annotate`` is None, where they are legible and fit."""
    written = number_format(term[side > 0])
    size = min(8.5, 0.5 * height, 1.5 * width / max(len(written(number)) for number in term[side > 0]))
    if annotate or (annotate is None and size >= 5):
        for i, j in np.argwhere(side > (0 if annotate else 0.6)):
            dark = np.array(image.to_rgba(term[i, j])[:3]) @ [0.3, 0.59, 0.11] < 0.5
            ax.text(j, i, written(term[i, j]), ha="center", va="center", fontsize=size,
                    color="white" if dark and side[i, j] > 0.8 else "black")


def _name_values(ax, labels, width, height):
    """Name the values at the cells' left and bottom, every second or third where all have no room."""
    for axis, names, cell in ((ax.xaxis, labels[1], width), (ax.yaxis, labels[0], height)):
        step = int(np.ceil(7 / cell))
        axis.set_ticks(range(0, len(names), step), names[::step], parse_math=False,
                       fontsize=min(9, 0.75 * step * cell))
    ax.tick_params(axis="x", labelrotation=90 if 6.5 * max(map(len, labels[1])) > width else 0)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


def _title(table, *notes):
    """Return what the terms are, and more about the picture, on lines of their own."""
    about = [table.attrs.get("source"), table.attrs.get("note"), *notes]
    return "\n".join([f"{table.attrs.get('quantity', 'term')}, value by value", *filter(None, about)])


def field_values(table, *, ax=None):
    """Draw what each value of a field adds: a curve of numbers, or bars of other values; below, the rows with each.

    Whiskers (of a curve a band) show low to high.

    Parameters
    ----------
    table : DataFrame with columns value, term, rows and perhaps low, high; one line a value.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds a value twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"value": ["phone", "tv"], "term": [0.2, -0.4], "rows": [100, 50]})
    >>> ax = field_values(table, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['phone', 'tv']
    """
    check_table(table, ["value", "term", "rows"], FIELD_VALUES, value="term")
    refuse(table, table.duplicated(["value"]), f"one line for each value, as {FIELD_VALUES} returns")
    term, low, high, rows = as_numbers(table, ["term", "low", "high", "rows"])
    at = table.attrs.get("at", {})
    numbers = np.array([at.get(value, np.nan) for value in table["value"]])
    curve = np.isfinite(numbers).sum() > 1 and np.isnan(numbers).sum() <= 1   # "(missing)" alone is no number
    labels = list(short_names(table["value"]).values())
    if curve:                                                     # from number to number, "(missing)" at the end
        order = np.argsort(numbers)
        term, low, high, rows, numbers, labels = (np.array(part)[order]
                                                  for part in (term, low, high, rows, numbers, labels))

    ax = as_panels(ax, 1, 1, (max(4.0, min(0.8 + 0.32 * len(table), 12)) if not curve else 5.5, 4.2))[0, 0]
    place = np.arange(len(table), dtype=float)
    if curve:
        place = np.where(np.isnan(numbers), np.nanmax(numbers) + 0.1 * np.ptp(numbers[np.isfinite(numbers)]), numbers)
        known = np.isfinite(numbers)
        ax.fill_between(place[known], low[known], high[known], color=SKY, alpha=0.35, linewidth=0)
        ax.plot(place[known], term[known], "o-", color=BLUE, markersize=4)
        ax.plot(place[~known], term[~known], "s", color=BLUE, markersize=4)
        for x, y, label in zip(place[~known], term[~known], labels[~known], strict=True):
            ax.annotate(label, (x, y), xytext=(-6, 0), textcoords="offset points", ha="right", va="center", fontsize=8)
    else:
        ax.bar(place, term, color=[VERMILLION if number > 0 else BLUE for number in term], width=0.7)
        spread = high > low
        ax.vlines(place[spread], low[spread], high[spread], color="black", linewidth=1.2)
        _name_bars(ax, labels)
    ax.axhline(0, color=GREY, linewidth=0.8)
    _draw_support(ax, place, rows)
    ax.spines[["right", "top"]].set_visible(False)
    ax.set_ylabel(unit_of(table))
    ax.set_xlabel(next(iter(short_names([table.attrs.get("field", "value")], 40).values())), parse_math=False)
    band = f"{'band' if curve else 'whiskers'}: {table.attrs.get('interval', 'low to high')}" * bool((high > low).any())
    ax.set_title(_title(table, band, f"grey: rows, at most {rows.max():,.0f}"), fontsize=9)
    return ax


def _name_bars(ax, labels):
    """Name the bars below them, every second or third where all have no room."""
    cell = ax.get_window_extent().width * 72 / ax.figure.dpi / len(labels)
    step = int(np.ceil(9 / cell))
    ax.set_xlim(-0.6, len(labels) - 0.4)
    ax.set_xticks(range(0, len(labels), step), labels[::step], parse_math=False, fontsize=9,
                  rotation=90 if 6.5 * max(map(len, labels)) > cell else 0)


def _draw_support(ax, place, rows):
    """Draw the rows of each value as grey bars in the lowest fifth of the Axes, which nothing else takes."""
    low, high = ax.get_ylim()
    bottom = low - 0.28 * (high - low)
    ax.set_ylim(bottom, high + 0.03 * (high - low))
    width = 0.7 if len(place) < 2 else 0.7 * np.diff(np.sort(place)).min()
    if len(place) > 1:
        width = max(width, 0.01 * np.ptp(place))                  # numbers that are close together: still to be seen
    ax.bar(place, 0.2 * (high - low) * rows / max(rows.max(), 1), bottom=bottom, width=width, color="#C8C8C8")
    ax.axhline(low - 0.06 * (high - low), color="#E5E5E5", linewidth=0.8)
    ticks = [tick for tick in ax.get_yticks() if low <= tick <= high]
    ax.set_yticks(ticks)
