"""The picture of ``explain.truthfulness`` shows which of the things said of a model agree with each other."""

import textwrap

import numpy as np

from .shared import GREY, as_numbers, as_panels, check_table, draw_colour_bar, draw_matrix, field_names, positions

_SOURCE = "explain.truthfulness(model, train, test)"


def truthfulness(table, *, ax=None, cmap=None):
    """Draw how far the quantities agree: a lower triangle of rank correlations, each over its noise floor.

    In each cell, from top to bottom: the mean rank correlation over the runs, its smallest and largest, and the mean
    on shuffled labels. The diagonal is the agreement of two runs with each other. A hatched cell does not stand out
    from the noise: some run agrees no more than a model fitted on shuffled labels, or a random ranking, may do.

    Parameters
    ----------
    table : DataFrame of ``explain.truthfulness``.
    ax : Axes to draw on; None makes a new figure.
    cmap : colour map in place of RdBu_r, whose white is a correlation of 0.

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
    >>> table = pd.DataFrame({"quantity_a": ["attention"], "quantity_b": ["planted effect"], "value": [0.6],
    ...                       "low": [0.5], "high": [0.7], "noise": [0.1], "noise_low": [0.0],
    ...                       "noise_high": [0.2], "beyond_noise": [True]})
    >>> ax = truthfulness(table, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['0.60\\n0.50 to 0.70\\nnoise 0.10']
    """
    from matplotlib.patches import Rectangle

    numbers = ["value", "low", "high", "noise"]
    check_table(table, ["quantity_a", "quantity_b", *numbers, "beyond_noise"], _SOURCE)
    ends = table.rename(columns={"quantity_a": "field_i", "quantity_b": "field_j"})
    ends.attrs = {"fields": table.attrs.get("quantities", field_names(ends)), "unit": table.attrs.get(
        "unit", "rank correlation")}
    names = ends.attrs["fields"]
    columns, rows = np.sort(positions(ends, names), axis=0)
    matrix = np.full((len(names), len(names)), np.nan)
    matrix[rows, columns] = table["value"]

    ax = as_panels(ax, 1, 1, (1.05 * len(names) + 1.2, 0.75 * len(names) + 1.6))[0, 0]
    scale = {"cmap": cmap or "RdBu_r", "vmin": -1, "vmax": 1}
    image = draw_matrix(ax, matrix, np.zeros_like(matrix, bool), names, scale)
    labels = [textwrap.fill(str(name), 12) for name in names]     # in full: two of them differ in their last word
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(range(len(names)), labels, rotation=0, fontsize=9, parse_math=False)
    for row, column, beyond, (value, low, high, noise) in zip(
            rows, columns, table["beyond_noise"], as_numbers(table, numbers).T, strict=True):
        if np.isnan(value):
            continue
        red, green, blue, _ = image.to_rgba(value)
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        if not beyond:
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=GREY, hatch="///",
                                   linewidth=0))
        ax.text(column, row, f"{value:.2f}\n{low:.2f} to {high:.2f}\nnoise {noise:.2f}", ha="center", va="center",
                fontsize=8, color="white" if dark else "black",
                bbox={"facecolor": image.to_rgba(value), "edgecolor": "none", "pad": 1})
    ax.spines[:].set_visible(False)
    draw_colour_bar(image, ax, [0.45, 0.84, 0.53, 0.035], ends, "horizontal")
    ax.set_title("agreement of what is said about pairs of fields")
    if "runs" in table.attrs:
        ax.set_xlabel(f"mean and range over {table.attrs['runs']} runs; diagonal: two runs with each other\n"
                      "noise: on shuffled labels; hatched: not beyond noise")
    return ax
