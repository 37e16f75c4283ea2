"""Points show attention beside contribution, and pairs by group."""

import numpy as np
import pandas as pd

from .shared import (
    BLUE,
    GREEN,
    GREY,
    SKY,
    VERMILLION,
    as_numbers,
    as_panels,
    bars_size,
    check_count,
    check_pairs,
    check_table,
    counted,
    field_names,
    name_points,
    quantity_of,
    short_names,
    uniform_weight,
    unit_of,
)

_GROUP_SOURCE = "explain.attention(model, X, by=...) or explain.pair_importance(model, X, by=...)"
_MARKS = [(BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), ("#E69F00", "D"), (SKY, "v"), ("#CC79A7", "P"),
          ("black", "X"), ("#8C8C8C", "*")]


def attention_vs_contribution(attention, contribution, *, label=5, ax=None):
    """Draw each pair of fields as a point: how much attention it has, and how much it contributes.

    Were attention importance, the points would lie on a rising line. The title has Spearman's rank
    correlation of the two; the pairs that lead in either are named, as far as there is room.

    Parameters
    ----------
    attention : pair table of attention over pairs, such as AFM's.
    contribution : pair table of the same fields, e.g. the mean |contribution| of the same model.
    label : how many pairs of each of the two rankings to name; 0 for none.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if a table is empty, of another kind, or the two are of different pairs.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> attention = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [0.6, 0.3, 0.1],
    ...                           "field_j": ["ad", "hour", "hour"]})
    >>> contribution = attention.assign(value=[0.5, 0.2, 0.3])
    >>> attention_vs_contribution(attention, contribution, ax=Figure().subplots()).get_title()
    'rank correlation 0.50 over 3 pairs'
    """
    tables = []
    for table in (attention, contribution):
        check_pairs(table)
        pairs = [frozenset(pair) for pair in table[["field_i", "field_j"]].to_numpy()]
        tables.append(pd.Series(as_numbers(table, ["value"])[0], index=pd.Index(pairs, tupleize_cols=False)))
    if set(tables[0].index) != set(tables[1].index):
        raise ValueError(f"the attention is about the pairs of {field_names(attention)}, the contribution about those"
                         f" of {field_names(contribution)}; expected the same pairs")
    if label:
        check_count("label", label)
    x = tables[0].to_numpy()
    y = tables[1].loc[list(tables[0].index)].to_numpy()
    known = ~np.isnan(x) & ~np.isnan(y)
    ranks = [pd.Series(values[known]).rank().to_numpy() for values in (x, y)]
    spread = min((np.ptp(rank) if len(rank) else 0) for rank in ranks)
    correlation = f"{np.corrcoef(*ranks)[0, 1]:.2f}" if spread else "undefined (all equal)"

    ax = as_panels(ax, 1, 1, (6.4, 5.0))[0, 0]
    ax.scatter(x, y, s=30, color=BLUE, edgecolor="white", linewidth=0.5, zorder=3)
    notes = [unit_of(attention)]
    if (uniform := uniform_weight(attention)) is not None:
        ax.axvline(uniform, color=VERMILLION, linestyle="--", linewidth=1.2)
        notes.append(f"dashed line: uniform attention, {uniform:.3g}")
    names, pairs = short_names(field_names(attention)), attention[["field_i", "field_j"]].to_numpy()
    leading = dict.fromkeys(int(k) for both in zip(*(
        np.argsort(-np.where(known, values, -np.inf), kind="stable")[:label] for values in (x, np.abs(y))), strict=True)
        for k in both if known[k])
    ax.margins(0.12)
    ax.spines[["right", "top"]].set_visible(False)
    ax.set(xlabel="\n".join(notes), ylabel=unit_of(contribution),
           title=f"rank correlation {correlation} over {counted(int(known.sum()), 'pair')}")
    name_points(ax, np.column_stack([x, y])[list(leading)].reshape(-1, 2),
                 [" × ".join(names[field] for field in pairs[k]) for k in leading])
    return ax


def pair_groups(table, *, top=8, ax=None):
    """Draw the pairs of fields with one mark for each group of rows, such as clicks and no clicks.

    The pairs whose values lie furthest apart between groups are on top. Lines reach from low to
    high, where the table has them.

    Parameters
    ----------
    table : DataFrame with columns group, field_i, field_j, value and perhaps rows, low, high.
    top : how many pairs.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, holds a pair of a group twice, or has more
        than 8 groups.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"group": [0, 0, 0, 1, 1, 1], "value": [0.6, 0.3, 0.1, 0.5, 0.2, 0.3],
    ...                       "field_i": ["user", "user", "ad"] * 2, "field_j": ["ad", "hour", "hour"] * 2})
    >>> ax = pair_groups(table, top=2, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['ad × hour', 'user × ad']
    """
    from matplotlib.ticker import MaxNLocator

    check_table(table, ["group", "field_i", "field_j", "value"], _GROUP_SOURCE)
    check_count("top", top)
    groups = list(dict.fromkeys(table["group"]))
    if len(groups) > len(_MARKS):
        raise ValueError(f"the table has {len(groups)} groups, and at most {len(_MARKS)} can be told apart; keep some:"
                         " table[table['group'].isin([...])]")
    parts = [table[(table["group"] == group).to_numpy()] for group in groups]
    for part in parts:
        check_pairs(part)
    pairs = list(dict.fromkeys(map(tuple, table[["field_i", "field_j"]].to_numpy())))
    numbers = []                                                  # of each group: (3, pairs) value, low, high
    for part in parts:
        index = pd.MultiIndex.from_frame(part[["field_i", "field_j"]])
        frame = pd.DataFrame(as_numbers(part, ["value", "low", "high"]).T, index=index)
        numbers.append(frame.reindex(pd.MultiIndex.from_tuples(pairs)).to_numpy().T)
    numbers = np.array(numbers)                                   # (groups, 3, pairs)
    value = numbers[:, 0]
    seen = ~np.isnan(value)
    highest = np.where(seen, value, -np.inf).max(axis=0)
    lowest = np.where(seen, value, np.inf).min(axis=0)
    shown = np.argsort(-np.where(seen.any(axis=0), highest - lowest, -np.inf), kind="stable")[:top]
    names = short_names(field_names(table))
    labels = [" × ".join(names[field] for field in pairs[k]) for k in shown]

    ax = as_panels(ax, 1, 1, (bars_size(labels)[0], 1.9 + (0.2 + 0.13 * len(groups)) * len(labels)))[0, 0]
    notes, marks = [unit_of(table)], short_names(groups)
    for g, (group, part) in enumerate(zip(groups, parts, strict=True)):
        colour, marker = _MARKS[g]
        y = np.arange(len(shown)) + 0.7 * ((g + 0.5) / len(groups) - 0.5)
        rows = f" ({part['rows'].iloc[0]:,} rows)" if "rows" in part else ""
        ax.plot(numbers[g, 0, shown], y, marker, color=colour, markersize=5, label=f"{marks[group]}{rows}")
        ax.hlines(y, *numbers[g, 1:, shown].T, color=colour, linewidth=1.2)
    if not np.isnan(numbers[:, 1:]).all():
        notes.append(f"lines: {table.attrs.get('interval', 'low to high')}")
    if (uniform := uniform_weight(table)) is not None:
        ax.axvline(uniform, color=GREY, linestyle="--", linewidth=1.2)
        notes.append(f"dashed line: uniform attention, {uniform:.3g}")
    if len(pairs) > top:
        notes.append(f"left out: {counted(len(pairs) - top, 'pair')} that differ less")
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.spines[["right", "top"]].set_visible(False)
    ax.set_xlabel("\n".join(notes))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    (name,) = short_names([table.attrs.get("by", "group")], limit=30).values()
    legend = ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False,
                       title=f"{quantity_of(table)} by {name}")
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)
    return ax
