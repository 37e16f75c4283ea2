"""The vectors of a field's values are laid on a plane."""

import numpy as np

from ..text import printable
from .shared import BLUE, as_panels, check_table, name_points, short_names

_SOURCE = "explain.embeddings(model, field)"


def embeddings(table, *, label=20, ax=None):
    """Draw the vectors of a field's values on the plane of their first two principal components.

    Values that lie close together are treated alike by the model, as far as this plane shows: the axes say which
    share of the vectors' variance it keeps. The area of a point is that of the value's share of the training rows.

    Parameters
    ----------
    table : DataFrame with columns value, count and v1, v2, ...: one row a value.
    label : how many values to name, the most frequent ones as far as there is room; 0 for none.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or has fewer than two values.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"value": ["Action", "Drama", "War"], "count": [90, 70, 10],
    ...                       "v1": [1.0, -1.0, 0.8], "v2": [0.0, 0.1, 0.1]})
    >>> ax = embeddings(table, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['Action', 'Drama', 'War']
    """
    check_table(table, ["value", "count", "v1"], _SOURCE, value="v1")
    if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or label < 0:
        raise ValueError(f"label must be a whole number of at least 0, got {label!r}")
    if len(table) < 2:
        raise ValueError("one value alone is one point; expected at least two values")
    vectors = [name for name in table.columns if name[0] == "v" and name[1:].isdigit()]
    V = table[vectors].to_numpy(dtype=float)                      # (values, k)
    count = table["count"].to_numpy(dtype=float)
    centred = V - V.mean(axis=0)
    _, size, directions = np.linalg.svd(centred, full_matrices=False)
    share = size ** 2 / max((size ** 2).sum(), np.finfo(float).tiny)
    plane = np.zeros((len(V), 2))
    plane[:, :len(directions[:2])] = centred @ directions[:2].T
    share = np.append(share, [0.0, 0.0])[:2]

    ax = as_panels(ax, 1, 1, (6.8, 5.6))[0, 0]
    ax.scatter(*plane.T, s=12 + 250 * count / max(count.max(), 1), color=BLUE, alpha=0.45, edgecolor="none")
    frequent = np.argsort(-count, kind="stable")[:label]
    names = short_names(table["value"].astype(str))
    ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    ax.margins(0.12)
    ax.spines[["right", "top"]].set_visible(False)
    ax.set(xlabel=f"first principal component ({share[0]:.0%} of the variance)",
           ylabel=f"second principal component ({share[1]:.0%})")
    ax.set_title(f"{printable(table.attrs.get('field', 'field'))}: vectors of {len(table)} values", fontsize=10,
                 parse_math=False)
    name_points(ax, plane[frequent], [names[str(table["value"].iloc[k])] for k in frequent])
    return ax
