"""Pictures show of one prediction how it adds up, what would change it, and where the model looked."""

import numpy as np

from .attention_grids import attention_grid
from .pairs import pair_ranking
from .shared import (
    BLUE,
    GREY,
    VERMILLION,
    as_numbers,
    as_panels,
    bars_size,
    check_count,
    check_table,
    label_inches,
    number_format,
    short_names,
    unit_of,
    with_value,
)
from .waterfalls import waterfall

_SOURCE = "explain.one_prediction(model, X[:1], background=X).counterfactuals"


def counterfactuals(table, *, top=10, ax=None):
    """Draw how far another value of a single field would move one prediction.

    Each bar reaches from the lowest to the highest prediction that a value of the field gives, all
    other fields as they are; the values stand at its ends. The solid line is the prediction as it
    is, the dotted line the threshold. The `top` fields that can move it furthest are drawn.

    Parameters
    ----------
    table : DataFrame with columns field, now, instead, prediction, change; one row a value.
    top : how many fields.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty or of another kind.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"field": ["hour", "hour", "ad"], "now": ["9", "9", "toy"],
    ...                       "instead": ["7", "22", "car"], "prediction": [0.2, 0.5, 0.3],
    ...                       "change": [-0.2, 0.1, -0.1]})
    >>> ax = counterfactuals(table, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['hour = 9', 'ad = toy']
    """
    check_table(table, ["field", "now", "instead", "prediction", "change"], _SOURCE, value="prediction")
    check_count("top", top)
    predictions, changes = as_numbers(table, ["prediction", "change"])
    prediction = table.attrs.get("prediction", predictions[0] - changes[0])
    threshold = table.attrs.get("threshold")
    rows = {}
    for k, field in enumerate(table["field"]):
        rows.setdefault(field, []).append(k)
    fields = sorted(rows, key=lambda field: -np.nanmax(np.abs(changes[rows[field]]), initial=0))[:top]
    now = table["now"].to_numpy()
    names = short_names(fields)
    labels = [with_value(names[field], now[rows[field][0]]) for field in fields]
    written = number_format(predictions)

    ax = as_panels(ax, 1, 1, bars_size(labels))[0, 0]
    texts = {-1: [""], 1: [""]}                                   # at the left and at the right ends
    for y, field in enumerate(fields):
        ends = [rows[field][pick(predictions[rows[field]])] for pick in (np.nanargmin, np.nanargmax)]
        for k, side, colour in zip(ends, (-1, 1), (BLUE, VERMILLION), strict=True):
            if side * (predictions[k] - prediction) <= 0:
                continue                # no value of the field leads there
            ax.barh(y, predictions[k] - prediction, left=prediction, color=colour, height=0.55)
            (value,) = short_names([table["instead"].iloc[k]], limit=14).values()
            texts[side].append(f"{value}: {written(predictions[k])}")
            ax.annotate(texts[side][-1], (predictions[k], y), xytext=(4 * side, 0), textcoords="offset points",
                        fontsize=8, va="center", parse_math=False, ha="left" if side == 1 else "right")
    ax.axvline(prediction, color="black", linewidth=1.2)
    notes = [f"predicted {unit_of(table)}", f"solid line: as it is, {written(prediction)}"]
    if threshold is not None:
        ax.axvline(threshold, color=GREY, linestyle=":", linewidth=1.2)
        notes.append(f"dotted line: threshold {threshold:g}")
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    drawn = [bar.get_x() for bar in ax.patches] + [bar.get_x() + bar.get_width() for bar in ax.patches]
    _leave_room(ax, [*drawn, prediction, *([] if threshold is None else [threshold])], texts, labels)
    if table.attrs.get("unit") == "probability":
        ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= 1])
    ax.spines[["right", "top"]].set_visible(False)
    ax.set(xlabel="\n".join(notes), title="with another value of one field")
    return ax


def _leave_room(ax, drawn, texts, labels):
    """Set the limits so that the texts at both ends of the bars have room, and no tick lies there."""
    low, high = min(drawn), max(drawn)
    span = (high - low) or abs(high) or 1.0
    box = ax.get_window_extent()
    points = box.width * 72 / ax.figure.dpi
    if ax.figure.get_layout_engine() is not None:                 # the names will take their part of the width
        points -= 72 * label_inches(labels)
    room = np.array([8 + 4.8 * max(map(len, texts[side])) for side in (-1, 1)])
    room = room / max(points, room.sum() / 0.7) * span / (1 - room.sum() / max(points, room.sum() / 0.7))
    ax.set_xlim(low - room[0], high + room[1])
    ax.set_xticks([tick for tick in ax.get_xticks() if low - 0.1 * span <= tick <= high + 0.1 * span])
    ax.set_xlim(low - room[0], high + room[1])


def one_prediction(explanation, *, top=8, axes=None):
    """Draw one prediction: how it adds up, what another value would change, and where the model looked.

    Parameters
    ----------
    explanation : what ``explain.one_prediction`` returns.
    top : how many terms, fields and pairs.
    axes : 3 Axes, or 2 for a model without attention; None makes a new figure.

    Returns
    -------
    ndarray of Axes, shape (3,) or (2,)

    Raises
    ------
    TypeError : if it is not such an explanation.
    ValueError : if `axes` has another size.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from minictr import FM, datasets, explain
    >>> clicks = datasets.make_clicks(500, seed=0)
    >>> model = FM(epochs=1).fit(clicks.X, clicks.y)
    >>> explanation = explain.one_prediction(model, clicks.X[:1], background=clicks.X)
    >>> [ax.get_title() for ax in one_prediction(explanation, axes=Figure().subplots(1, 2))][1]
    'with another value of one field'
    """
    missing = [name for name in ("terms", "counterfactuals", "attention") if not hasattr(explanation, name)]
    if missing:
        raise TypeError(f"expected what explain.one_prediction(model, X[:1], background=X) returns; got a"
                        f" {type(explanation).__name__} without {missing}")
    panels = 2 if explanation.attention is None else 3
    new = axes is None
    axes = as_panels(axes, 1, panels, (8.0 * panels, 2.4 + 0.36 * (top + 3)))[0]
    waterfall(explanation.terms, top=top, ax=axes[0])
    if not explanation.terms.attrs.get("exact", True):
        axes[0].set_xlabel(axes[0].get_xlabel() + '\neach field alone changed; "together": the rest')
    if len(explanation.counterfactuals):
        counterfactuals(explanation.counterfactuals, top=top, ax=axes[1])
    else:
        axes[1].text(0.5, 0.5, "no other value to try", ha="center", va="center", transform=axes[1].transAxes)
        axes[1].set_axis_off()
    if panels == 3 and "layer" in explanation.attention:
        attention_grid(explanation.attention, axes=axes[2])
    elif panels == 3:
        pair_ranking(explanation.attention, top=top, ax=axes[2])
    if new:
        labels = [[label.get_text() for label in ax.get_yticklabels()] or [""] for ax in axes]
        width = sum(4.2 + label_inches(of_one) for of_one in labels)
        axes[0].figure.set_size_inches(width, axes[0].figure.get_figheight())
    return axes
