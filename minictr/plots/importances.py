"""Fields, pairs and triples stand in one ranking, by their share of the logits' variance or by their size."""

import numpy as np

from .shared import (
    BLUE,
    GREEN,
    GREY,
    VERMILLION,
    as_numbers,
    as_panels,
    bars_size,
    check_count,
    check_table,
    counted,
    draw_bars,
    draw_others,
    draw_whiskers,
    number_format,
    refuse,
    short_names,
    term_names,
    unit_of,
)

IMPORTANCE_SOURCE = "explain.importance(model, X)"
SHARE_UNIT = "share of the logits' variance"
_COLOURS = {"field": BLUE, "group": BLUE, "pair": VERMILLION, "triple": GREEN}    # of all other terms: GREY


def importance(table, *, show="share", top=15, ax=None):
    """Draw fields, pairs and triples as horizontal bars in one ranking, the largest absolute value on top.

    The terms beyond `top` share one hatched bar at the bottom; where their sum is longer than the axis, an arrow says
    so. Shares can be negative, see ``explain.importance``. Sizes have whiskers from low to high.

    Parameters
    ----------
    table : DataFrame with columns term, field_i, field_j (of triples field_l too), value, share, and perhaps low, high;
        one row a term.
    show : "share" for shares of the logits' variance, "value" for mean sizes.
    top : how many terms get a bar of their own.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds a term twice; or if there are no shares, as all logits
        are the same.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"term": ["field", "pair", "field"], "field_i": ["user", "user", "ad"],
    ...                       "field_j": [None, "ad", None], "value": [0.6, 0.5, 0.1], "share": [0.3, 0.68, 0.02]})
    >>> ax = importance(table, top=2, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['user × ad', 'user', 'others (1 term)']
    """
    check_importance(table, show)
    check_count("top", top)
    values, low, high = as_numbers(table, [show, *(("low", "high") if show == "value" else ("", ""))])
    ranked = np.argsort(-np.abs(values), kind="stable")
    shown, rest = ranked[:top], values[ranked[top:]]
    named, kinds = term_names(table), table["term"].to_numpy()
    named = [name if kinds[k] in _COLOURS else short_names([name], limit=40)[name] for k, name in enumerate(named)]
    labels = [named[k] for k in shown]
    if len(rest):
        labels.append(f"others ({counted(len(rest), 'term')})")
    value, low, high = values[shown], low[shown], high[shown]
    written = share_format(value) if show == "share" else number_format(value)
    notes = [SHARE_UNIT if show == "share" else unit_of(table)]

    ax = as_panels(ax, 1, 1, bars_size(labels))[0, 0]
    whisker_ends = np.where(value >= 0, np.fmax(value, high), np.fmin(value, low))
    colours = [_COLOURS.get(kind, GREY) for kind in kinds[shown]]
    draw_bars(ax, labels, value, 0.0, colours, whisker_ends, map(written, value))
    if not np.isnan([low, high]).all():
        draw_whiskers(ax, low, high)
        notes.append(f"whiskers: {table.attrs.get('interval', 'low to high')}")
    draw_others(ax, len(shown), rest, written)
    if show == "share":
        ax.xaxis.set_major_formatter(lambda number, _: f"{100 * number:.3g} %")
    if value.min() < 0:
        ax.axvline(0, color=GREY, linewidth=0.8)
        notes.append("negative: works against what it occurs with")
    ax.set_xlabel("\n".join(notes))
    _legend(ax, values, kinds, show, written, raw=table.attrs.get("purified") is False)
    return ax


def _legend(ax, values, kinds, show, written, raw):
    """Say above the bars which colour is which kind of term, with the sum of its shares."""
    from matplotlib.patches import Patch

    handles = []
    for kind in sorted(dict.fromkeys(kinds), key=lambda kind: [*_COLOURS, kind].index(kind)):
        name = f"{kind}s" if kind in _COLOURS else kind
        own = written(values[kinds == kind].sum()) if show == "share" else ""
        handles.append(Patch(color=_COLOURS.get(kind, GREY), label=f"{name} {own}"))
    ax.legend(handles=handles, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False,
              title="importance" + ", raw terms" * raw)


def share_format(shares):
    """Return a function that writes shares as percentages, with the decimals that the largest needs."""
    percent = number_format(100 * np.asarray(shares))
    return lambda share: f"{percent(100 * share)} %"


def check_importance(table, show):
    """Check a table of ``explain.importance``, and which of its columns is to be drawn."""
    if show not in ("share", "value"):
        raise ValueError(f"show must be 'share' or 'value', got {show!r}")
    check_table(table, ["term", "field_i", "field_j", "value"], IMPORTANCE_SOURCE)
    if "row" in table.columns:
        raise ValueError("a table with a column 'row' is about single predictions; draw it with plots.waterfall or "
                         f"plots.beeswarm, or rank terms over rows with {IMPORTANCE_SOURCE}")
    if show == "share":
        check_table(table, ["share"], IMPORTANCE_SOURCE)
        if table["share"].isna().all():
            raise ValueError("the logit is the same in every row, so there are no shares of its variance; draw sizes: "
                             "show='value'")
        check_table(table, ["share"], IMPORTANCE_SOURCE, value="share")
    columns = [column for column in ("term", "field_i", "field_j", "field_l") if column in table.columns]
    refuse(table, table[columns].duplicated() | table[show].isna(), f"one row for each term, with a number as its "
           f"{show}, as {IMPORTANCE_SOURCE} returns")
