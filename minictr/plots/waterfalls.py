"""A waterfall shows how one prediction adds up."""

import numpy as np

from ..text import rows_text
from .shared import (
    BLUE,
    GREY,
    VERMILLION,
    as_numbers,
    as_panels,
    bars_size,
    check_count,
    check_table,
    counted,
    draw_bars,
    fields_of_terms,
    number_format,
    refuse,
    term_names,
    unit_of,
)

_SOURCE = "explain.contributions(model, X)"
_TERM_ORDER = {"field": 0, "pair": 1, "triple": 2}                # any other term comes after them


def waterfall(contributions, *, row=None, top=10, ax=None):
    """Draw how one prediction adds up: bias, then fields, then pairs, and at the bottom the logit.

    Each bar starts where the one above ended. The `top` largest fields and pairs get a bar each,
    the rest are summed as "others". For clicks the upper axis reads as probabilities. Where the table says how many
    rows support a term (see ``explain.contributions(support=)``), its name does.

    Parameters
    ----------
    contributions : DataFrame with columns row, term ("bias", "field", "pair", "triple", or what else it is called),
        field_i, field_j (of triples field_l too) and value; or the terms of ``explain.one_prediction``, from
        "average" on.
    row : which row of the data; may be left out when the table holds only one.
    top : how many fields and pairs get a bar of their own.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty or of another kind, a term is unknown or has no value, or it
        is not clear which row is meant.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"row": 0, "term": ["bias", "field", "pair"],
    ...                       "field_i": ["", "user", "user"], "field_j": ["", "", "ad"],
    ...                       "value": [-1.0, 0.5, 0.25]})
    >>> ax = waterfall(table, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['bias', 'user', 'user × ad', 'logit']
    """
    columns = ["row", "term", "field_i", "field_j", "value"]
    check_table(contributions, columns, _SOURCE)
    check_count("top", top)
    rows = contributions["row"].unique().tolist()
    chosen = rows if row is None else [row]
    if len(chosen) > 1 or chosen[0] not in rows:
        raise ValueError(f"choose with row= one of the {len(rows)} explained rows, {rows[:10]}"
                         f"{' and so on' * (len(rows) > 10)}; got row={row!r}")
    one = contributions[contributions["row"] == chosen[0]]
    bad = ~one["term"].map(lambda term: isinstance(term, str) and term != "") | one["value"].isna()
    refuse(one, bad, f"the name of a term, such as bias, field or pair, and its value, as {_SOURCE} returns")
    (values,), terms = as_numbers(one, ["value"]), one["term"].to_numpy()
    begins = np.isin(terms, ["bias", "average"])
    labels, steps = [terms[begins][0] if begins.any() else "bias"], [values[begins].sum()]
    named = _names_with_rows(one)
    ranked = np.argsort(-np.abs(values), kind="stable")
    ranked = ranked[~begins[ranked]]
    shown = sorted(ranked[:top], key=lambda k: _TERM_ORDER.get(terms[k], 3))  # fields first, else by size
    labels += [named[k] for k in shown]
    steps += [*values[shown]]
    if len(ranked) > top:
        labels.append(f"others ({counted(len(ranked) - top, 'term')})")
        steps.append(values[ranked[top:]].sum())
    binary = contributions.attrs.get("task", "binary") == "binary"
    labels.append("logit" if binary else "prediction")
    ends = np.cumsum(steps)
    starts, ends, steps = [0.0, *ends[:-1], 0.0], [*ends, ends[-1]], [*steps, ends[-1]]
    colours = [GREY, *(VERMILLION if step > 0 else BLUE for step in steps[1:-1]), GREY]
    written = number_format(steps)
    title = f"row {chosen[0]}: " * (labels[0] == "bias") + f"{labels[-1]} {written(steps[-1])}"

    ax = as_panels(ax, 1, 1, bars_size(labels))[0, 0]
    ax.use_sticky_edges = False  # else a bar that starts at the edge leaves a number no room there
    texts = [("+" if step > 0 else "") + written(step) for step in steps]
    draw_bars(ax, labels, steps, starts, colours, ends, texts)
    ax.vlines(ends[:-1], range(len(ends) - 1), range(1, len(ends)), color=GREY, linewidth=0.8)
    ax.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_xlabel("log-odds" if binary else unit_of(contributions))
    if binary:
        probability = ax.secondary_xaxis("top")
        probability.xaxis.set_major_formatter(lambda logit, _: _probability(logit))
        probability.set_xlabel("probability")
        title += f", probability {_probability(steps[-1])}"
    ax.set_title(title)
    return ax


def _names_with_rows(terms):
    """Return a label for each term of one prediction, with the number of rows that it rests on where that is known."""
    (rows,) = as_numbers(terms, ["rows"])
    return [name + f" ({rows_text(count)})" * bool(fields and np.isfinite(count))
            for name, fields, count in zip(term_names(terms), fields_of_terms(terms), rows, strict=True)]


def _probability(logit):
    """Return the probability of a logit as text."""
    p = 1 / (1 + np.exp(-np.clip(logit, -700, 700)))
    return f"{p:.3g}" if p < 0.99 else f"{p:.5f}"
