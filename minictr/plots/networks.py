"""Fields lie on a circle, and lines join those that do most together."""

import textwrap

import numpy as np

from .importances import IMPORTANCE_SOURCE, SHARE_UNIT, check_importance, share_format
from .shared import (
    BLUE,
    GREY,
    PAIR_SOURCE,
    VERMILLION,
    as_numbers,
    as_panels,
    check_count,
    check_pairs,
    check_table,
    counted,
    field_names,
    label_inches,
    number_format,
    positions,
    quantity_of,
    short_names,
    unit_of,
)

_SOURCE = f"{IMPORTANCE_SOURCE} or {PAIR_SOURCE}"
_RADIAL = 14        # from so many fields on names point away from the centre
_WIDTHS = 0.6, 6.0  # points, of the weakest and the strongest line there can be
_DOTS = 5.0, 22.0   # points, across


def network(table, *, show="value", top=20, ax=None):
    """Draw fields as dots on a circle and the strongest pairs as lines between them: wide and dark is strong.

    A negative number is blue and dashed, a positive one vermillion as soon as there is a negative one. The area of a
    dot is that of the field's own term, where the table has one; a dot is hollow where that is negative.

    Parameters
    ----------
    table : DataFrame of ``explain.importance``, or of pairs, with columns field_i, field_j, value; at most 200 fields
        can be told apart.
    show : "value", or "share" for the shares of the logits' variance that ``explain.importance`` has.
    top : how many pairs get a line: those with the largest absolute value.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, has no pairs, or holds a pair twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [0.6, 0.1, 0.3],
    ...                       "field_j": ["ad", "hour", "hour"]})
    >>> ax = network(table, top=2, ax=Figure().subplots())
    >>> len(ax.patches), [text.get_text() for text in ax.texts]
    (2, ['user', 'ad', 'hour'])
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    pairs, own = _pairs_and_fields(table, show)
    check_count("top", top)
    fields, (values,) = field_names(table if len(own) else pairs), as_numbers(pairs, [show])
    ends = np.array(positions(pairs, fields))
    known = np.flatnonzero(~np.isnan(values))
    shown = known[np.argsort(-np.abs(values[known]), kind="stable")][:top][::-1]      # the strongest on top of others
    largest, signed = np.abs(values[shown]).max() or 1.0, values[shown].min() < 0
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(fields)) / len(fields)              # clockwise, from the top
    places = np.column_stack([np.cos(angle), np.sin(angle)])

    ax = as_panels(ax, 1, 1, _size(fields))[0, 0]
    ax.set(xticks=[], yticks=[], title=f"{quantity_of(table)}: pairs of fields")
    ax.spines[:].set_visible(False)
    legend = _legend(ax, table, pairs, shown, values, own, show)
    names, size, radius = _make_room(ax, fields, legend)
    arc = 2 * np.pi * radius / len(fields)                        # points, from one dot to the next
    for k in shown:
        start, stop = places[ends[:, k]]
        ax.add_patch(PathPatch(Path([start, 0.25 * (start + stop), stop], [Path.MOVETO, Path.CURVE3, Path.CURVE3]),
                               **_line(values[k], np.abs(values[k]) / largest, signed), fill=False, capstyle="round"))
    sizes = np.array([own.get(field, 0.0) for field in fields])
    dots = np.minimum(_DOTS[0] + (_DOTS[1] - _DOTS[0]) * np.sqrt(np.abs(sizes) / (np.abs(sizes).max() or 1.0)),
                      np.clip(0.9 * arc, 3, None))
    ax.scatter(*places.T, s=dots ** 2, color=[ax.get_facecolor() if size < 0 else GREY for size in sizes],
               edgecolor=GREY, zorder=3)
    _name_dots(ax, places, dots, names, size, arc, set(ends[:, shown].ravel()))
    return ax


def _pairs_and_fields(table, show):
    """The lines of pairs as a table of pairs, and the fields' own numbers, {field: number}."""
    if show not in ("share", "value"):
        raise ValueError(f"show must be 'share' or 'value', got {show!r}")
    check_table(table, ["field_i", "field_j", "value"], _SOURCE)
    if "term" not in table.columns or "row" in table.columns:
        if show == "share":
            raise ValueError(f"a table of pairs has no shares; make one that has with {IMPORTANCE_SOURCE}")
        check_pairs(table)
        return table, {}
    check_importance(table, show)
    kinds = table["term"]
    pairs = table[kinds == "pair"].drop(columns="term")
    if pairs.empty:
        raise ValueError(f"the table has no pairs, only {', '.join(dict.fromkeys(kinds))}; rank the pairs of any model "
                         "with explain.interaction_effects(model, X)")
    check_pairs(pairs)
    single = table[kinds.isin(["field", "group"])]
    return pairs, dict(zip(single["field_i"], single[show].astype(float), strict=True))


def _line(value, strength, signed):
    """How a line looks: its width and shade are its strength, from 0 to 1."""
    width = _WIDTHS[0] + (_WIDTHS[1] - _WIDTHS[0]) * strength
    return {"linewidth": width, "alpha": 0.25 + 0.7 * strength, "linestyle": (0, (3, 1.5)) if value < 0 else "-",
            "edgecolor": VERMILLION if signed and value > 0 else BLUE}


def _size(fields):
    """Return the width and height in inches that circle and names need."""
    circle, name = 2 * np.clip(0.045 * len(fields), 1.3, 3.8), label_inches(short_names(fields).values())
    return circle + 2 * name + 0.5, circle + (2 * name if len(fields) >= _RADIAL else 0.8) + 1.4


def _legend(ax, table, pairs, shown, values, own, show):
    """Say below the circle what lines and dots are, with the strongest and the weakest line drawn."""
    from matplotlib.lines import Line2D

    share, largest = show == "share", np.abs(values[shown]).max() or 1.0
    written = share_format(values[shown]) if share else number_format(values[shown])
    signed, handles = values[shown].min() < 0, []
    for k in dict.fromkeys([shown[-1], shown[0]]):
        look = _line(values[k], np.abs(values[k]) / largest, signed)
        handles.append(Line2D([], [], color=look.pop("edgecolor"), label=written(values[k]), **look))
    of = f"{counted(len(shown), 'pair')}" + f", the strongest of {len(pairs):,}" * (len(shown) < len(pairs))
    notes = [f"lines, {of}: {SHARE_UNIT if share else unit_of(table)}" + "; dashed: negative" * bool(signed)]
    if own:
        field, size = max(own.items(), key=lambda item: abs(item[1]))
        written = share_format([size]) if share else number_format([size])
        notes.append(f"dots: of the field alone, {short_names([field])[field]} {written(size)}"
                     + "; hollow: negative" * (min(own.values()) < 0))
        left_out = [kind for kind in dict.fromkeys(table["term"]) if kind not in ("field", "group", "pair")]
        notes += [f"not drawn: {', '.join(left_out)}"] if left_out else []
    width = max(20, int(ax.get_window_extent().width * 72 / ax.figure.dpi / 4.3))             # in letters
    title = "\n".join(textwrap.fill(note, width) for note in notes)
    legend = ax.legend(handles=handles, ncols=2, fontsize=8, title=title, title_fontsize=8, frameon=False,
                       loc="lower center", borderpad=0, handlelength=4)
    legend.get_title().set(parse_math=False, multialignment="center")
    return legend


def _make_room(ax, fields, legend):
    """Set limits in which the circle, the names around it and the legend below it have room.

    Returns: short names {field: name}, their size in points, and the radius in points.
    """
    ax.figure.draw_without_rendering()                            # settles how large the Axes and the legend are
    points = 72 / ax.figure.dpi
    box, below = ax.get_window_extent(), legend.get_window_extent().height * points + 4
    width, height = box.width * points, max(box.height * points - below, 0.3 * box.height * points)
    radial, size = len(fields) >= _RADIAL, 9.0
    if radial:
        size = float(np.clip(0.8 * np.pi * 0.65 * min(width, height) / len(fields), 4.5, 9.0))
    long = 0.2 * min(width, height) if radial else 0.25 * width
    names = short_names(fields, limit=int(np.clip(long / (0.6 * size), 6, 18)))
    longest, dot = 0.6 * size * max(map(len, names.values())), 0.5 * _DOTS[1] + 5
    beside, above = longest + dot, (longest if radial else 1.3 * size) + dot
    radius = max(min(0.5 * width - beside, 0.5 * height - above), 0.15 * min(width, height))
    top = 0.5 * height / radius
    ax.set(xlim=(-0.5 * width / radius, 0.5 * width / radius), ylim=(-top - below / radius, top), aspect="equal")
    return names, size, radius


def _name_dots(ax, places, dots, names, size, arc, joined):
    """Write the fields' names around the circle, in grey where no line leads; fewer where there is no room for all."""
    names, named = list(names.values()), np.zeros(len(names), bool)
    near = int(np.ceil(0.9 * size / arc)) if len(names) >= _RADIAL else 1     # a name takes the room of so many dots
    for number in sorted(range(len(names)), key=lambda number: number not in joined):
        if named[np.arange(number - near + 1, number + near) % len(names)].any():
            continue
        named[number] = True
        (x, y), name = places[number], names[number]
        away = (0.5 * dots[number] + 3) * places[number]
        left = x < -1e-9
        look = {"ha": "right" if left else "left", "va": "center"}
        if len(names) >= _RADIAL:
            look |= {"rotation_mode": "anchor", "rotation": np.degrees(np.arctan2(y, x)) + 180 * left}
        elif abs(x) < 0.3:
            look = {"ha": look["ha"] if abs(x) > 1e-9 else "center", "va": "bottom" if y > 0 else "top"}
        text = ax.annotate(name, (x, y), xytext=away, textcoords="offset points", fontsize=size, parse_math=False,
                           **look)
        if number not in joined:
            text.set_color(GREY)
