"""Self-attention has a panel for each layer and head."""

import numpy as np

from .shared import (
    as_numbers,
    as_panels,
    check_table,
    colour_scale,
    draw_colour_bar,
    draw_matrix,
    field_names,
    label_inches,
    positions,
    refuse,
    relative_to_uniform,
    short_names,
    uniform_weight,
)

_SOURCE = "explain.attention(model, X) of an AutoInt model"


def attention_grid(table, *, axes=None, cmap=None):
    """Draw self-attention such as AutoInt's, one panel for each layer (down) and head (across).

    The row is the field that looks (the query), the column the field looked at (the key); each row
    sums to 1. All panels share one colour scale from 0 to the largest weight. A rollout is drawn in
    multiples of the uniform one, which is larger where a field looks at itself; white is 1 there.

    Parameters
    ----------
    table : DataFrame with columns layer, head, field_i (query), field_j (key), value.
    axes : array of layers * heads Axes to draw on; None makes a new figure.
    cmap : colour map in place of cividis (PuOr_r for a rollout).

    Returns
    -------
    ndarray of Axes, shape (layers, heads)

    Raises
    ------
    ValueError : if the table is empty, of another kind, holds an entry twice, or `axes` has another
        size.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"layer": 1, "head": [1, 1, 1, 1, 2, 2, 2, 2],
    ...                       "field_i": ["user", "user", "ad", "ad"] * 2,
    ...                       "field_j": ["user", "ad"] * 4,
    ...                       "value": [0.9, 0.1, 0.5, 0.5, 0.2, 0.8, 0.3, 0.7]})
    >>> attention_grid(table, axes=Figure().subplots(1, 2)).shape
    (1, 2)
    """
    keys = ["layer", "head", "field_i", "field_j"]
    check_table(table, [*keys, "value"], _SOURCE)
    refuse(table, table.duplicated(keys), f"one row for each of {keys}, as {_SOURCE} returns")
    fields = field_names(table)
    given, table = table, relative_to_uniform(table)
    (values,), query, key = as_numbers(table, ["value"]), *positions(table, fields)
    scale = colour_scale(values, cmap, None if table is given else uniform_weight(table))
    layers, heads = sorted(table["layer"].unique()), sorted(table["head"].unique())
    side, names = np.clip(0.2 * len(fields), 1.9, 6.5), label_inches(short_names(fields).values())
    size = len(heads) * side + names + 1.3, len(layers) * (side + 0.3) + names + 0.2
    axes = as_panels(axes, len(layers), len(heads), size)
    for (row, column), ax in np.ndenumerate(axes):
        here = ((table["layer"] == layers[row]) & (table["head"] == heads[column])).to_numpy()
        matrix = np.full((len(fields), len(fields)), np.nan)
        matrix[query[here], key[here]] = values[here]
        image = draw_matrix(ax, matrix, np.isnan(matrix), fields, scale)
        left, bottom = column == 0, row == len(layers) - 1
        ax.tick_params(labelleft=left, labelbottom=bottom)
        ax.set(ylabel="query (asks)" if left else "", xlabel="key (answers)" if bottom else "")
        ax.set_title(_panel_name(layers[row], heads[column]), fontsize=10)
    draw_colour_bar(image, axes[0, -1], [1.05, 0, 0.06, 1], table, "vertical")
    return axes


def _panel_name(layer, head):
    """Return what a panel of self-attention shows; a layer or head that is a word is a summary of all."""
    return ", ".join(f"{part} of {kind}s" if isinstance(part, str) else f"{kind} {part}"
                     for kind, part in (("layer", layer), ("head", head)))
