"""A term has a dot for each row: how large it is, how often, and for which values of the field."""

import numpy as np
import pandas as pd

from .shared import (
    BLUE,
    GREY,
    VERMILLION,
    as_panels,
    check_count,
    check_table,
    counted,
    label_inches,
    refuse,
    short_names,
    term_names,
)

_SOURCE = "explain.contributions(model, X, purified=True)"
_BINS = 120         # across the Axes: dots of one bin are laid beside one another


def beeswarm(contributions, *, X=None, top=10, rows=1000, cmap=None, ax=None):
    """Draw one dot a row for each of the largest terms: where dots pile up, many rows have a term of that size.

    Terms are ranked by their mean absolute value over all rows. With ``X``, the dots of a field whose column holds
    numbers are coloured by them, from the 5th to the 95th percentile; others, and those of pairs, have no colour.

    Parameters
    ----------
    contributions : table of ``explain.contributions``, wide or not: of purified terms, if single fields and pairs are
        to be compared.
    X : the table that was explained, for colours.
    top : how many terms.
    rows : at most so many dots a term, of evenly spaced rows.
    cmap : colour map in place of one from blue to vermillion.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds a term of a row twice; or if X has other rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"row": [0, 0, 0, 1, 1, 1], "term": ["bias", "field", "pair"] * 2,
    ...                       "field_i": [None, "age", "age"] * 2, "field_j": [None, None, "ad"] * 2,
    ...                       "value": [-1.0, 0.5, 0.2, -1.0, -0.6, 0.1]})
    >>> ax = beeswarm(table, X=pd.DataFrame({"age": [20, 60], "ad": ["a", "b"]}), ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['age', 'age × ad']
    """
    from matplotlib.colors import LinearSegmentedColormap

    check_count("top", top)
    check_count("rows", rows)
    terms, values, row_numbers = _read(contributions)
    kept = np.flatnonzero((terms["term"] != "bias").to_numpy())
    if not len(kept):
        raise ValueError(f"the table holds nothing but the bias; make one with terms with {_SOURCE}")
    terms, values = terms.iloc[kept], values[:, kept]
    sizes = np.nanmean(np.abs(values), axis=0)
    shown = np.argsort(-sizes, kind="stable")[:top]
    spaced = np.arange(0, len(values), -(-len(values) // rows))
    dots = values[np.ix_(spaced, shown)]                          # (dots, terms shown)
    colours = _colours(terms.iloc[shown], X, row_numbers, spaced, contributions)
    named, kinds = term_names(terms.iloc[shown]), terms["term"].iloc[shown]
    labels = [name if kind in ("field", "pair", "triple") else short_names([name], limit=40)[name]
              for name, kind in zip(named, kinds, strict=True)]

    ax = as_panels(ax, 1, 1, (5.4 + label_inches(labels), 1.9 + 0.42 * len(labels)))[0, 0]
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    low, high = np.nanmin(dots), np.nanmax(dots)
    look = {"s": 7 if len(spaced) > 200 else 16, "linewidth": 0}
    plain = {"color": BLUE if all(colour is None for colour in colours) else GREY, "alpha": 0.7}
    cmap, image = cmap or LinearSegmentedColormap.from_list("numbers", [BLUE, VERMILLION]), None
    for place, (column, colour) in enumerate(zip(dots.T, colours, strict=True)):
        there = ~np.isnan(column)
        y = place + _offsets(column[there], low, high)
        if colour is None:
            ax.scatter(column[there], y, **plain, **look)
        else:
            blank = np.isnan(colour[there])
            ax.scatter(column[there][blank], y[blank], **plain, **look)
            image = ax.scatter(column[there][~blank], y[~blank], c=colour[there][~blank], cmap=cmap, vmin=0, vmax=1,
                               **look)
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.spines[["right", "top"]].set_visible(False)
    notes = [f"{contributions.attrs.get('quantity', 'contribution')} ({contributions.attrs.get('unit', 'log-odds')})",
             f"a dot a row, {len(spaced):,} of {len(values):,} rows" if len(spaced) < len(values) else "a dot a row"]
    if len(terms) > top:
        notes.append(f"left out: {counted(len(terms) - top, 'smaller term')}")
    ax.set(xlabel="\n".join(notes), title="terms, row by row" if contributions.attrs.get("purified") is not False
           else "raw terms, row by row")
    if image is not None:
        bar = ax.figure.colorbar(image, cax=ax.inset_axes([1.02, 0.1, 0.02, 0.8]), ticks=[0, 1])
        bar.ax.set_yticklabels(["low", "high"], fontsize=8)
        bar.set_label("the field's number", fontsize=8, labelpad=-8)
        bar.outline.set_visible(False)
    return ax


def _read(contributions):
    """The terms (a line each), their values (rows, terms), and the number of each row."""
    if isinstance(contributions, pd.DataFrame) and isinstance(contributions.columns, pd.MultiIndex):
        terms = contributions.columns.to_frame(index=False).astype(object)
        if list(terms)[:3] != ["term", "field_i", "field_j"] or contributions.empty:
            raise ValueError(f"the table has no rows, or other columns than {_SOURCE} with wide=True returns")
        values = contributions.to_numpy(float)
        row_numbers = np.arange(len(values))
    else:
        check_table(contributions, ["row", "term", "field_i", "field_j", "value"], _SOURCE)
        columns = [column for column in ("term", "field_i", "field_j", "field_l") if column in contributions.columns]
        keys = pd.MultiIndex.from_frame(contributions[columns].astype(object).where(contributions[columns].notna(), ""))
        number, terms = pd.factorize(keys)
        row, row_numbers = pd.factorize(contributions["row"])
        refuse(contributions, pd.DataFrame({"row": row, "term": number}).duplicated(), f"each term of a row once, as "
               f"{_SOURCE} returns")
        values = np.full((len(row_numbers), len(terms)), np.nan)
        values[row, number] = contributions["value"].to_numpy(float)
        terms = pd.DataFrame(list(terms), columns=columns, dtype=object)
    if not np.isfinite(values).any() or np.isinf(values).any():
        raise ValueError(f"the table holds values that are infinite, or nothing but NaN; make one with {_SOURCE}")
    return terms, values, np.asarray(row_numbers)


def _colours(terms, X, row_numbers, spaced, contributions):
    """For each term None, or a number from 0 to 1 for each dot, NaN where the field's number is missing."""
    if X is None:
        return [None] * len(terms)
    if not isinstance(X, pd.DataFrame):
        raise TypeError(f"X must be the DataFrame that was explained, got a {type(X).__name__}")
    wide = isinstance(contributions.columns, pd.MultiIndex)
    if len(X) != len(row_numbers) if wide else not np.isin(row_numbers, np.arange(len(X))).all():
        raise ValueError(f"X has {len(X)} rows, and the table explains {len(row_numbers)}, up to row "
                         f"{row_numbers.max()}; pass the table that was explained")
    colours = []
    for term, field in terms[["term", "field_i"]].itertuples(index=False):
        column = X[field] if term == "field" and field in X else None
        if column is None or not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            colours.append(None)
            continue
        numbers = column.to_numpy(dtype=float, na_value=np.nan)
        finite = numbers[np.isfinite(numbers)]
        low, high = np.percentile(finite, [5, 95]) if len(finite) else (0.0, 1.0)
        part = (numbers[row_numbers[spaced]] - low) / ((high - low) or 1.0)
        colours.append(np.clip(part, 0, 1))
    return colours


def _offsets(values, low, high):
    """How far up or down each dot lies, at most 0.4: those of nearly the same value side by side, from the middle."""
    bins = np.minimum((_BINS * (values - low) / ((high - low) or 1.0)).astype(int), _BINS - 1)
    order = np.argsort(bins, kind="stable")
    count = np.bincount(bins, minlength=_BINS)
    rank = np.empty(len(values), int)
    rank[order] = np.arange(len(values)) - np.repeat(np.cumsum(count) - count, count)
    out = (rank + 1) // 2 * np.where(rank % 2, 1, -1)             # 0, 1, -1, 2, -2, ...
    return out * min(0.12, 0.8 / max(count.max(initial=1), 1))
