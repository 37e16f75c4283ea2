"""Attention while the model trains is drawn epoch beside epoch, and as a film."""

import numpy as np
import pandas as pd

from .shared import (
    GREEN,
    as_numbers,
    as_panels,
    check_count,
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

_SOURCE = "watch = explain.AttentionOverEpochs(X); model.fit(X, y, after_epoch=watch); watch.table"


def attention_over_epochs(table, *, outline=None, panels=12, axes=None, cmap=None):
    """Draw attention after each epoch, epochs side by side, all on one colour scale.

    White means the uniform weight (no preference). So one sees attention wake up, and settle. A rollout
    is drawn in multiples of the uniform one, which is larger where a field looks at itself.

    Parameters
    ----------
    table : DataFrame with columns epoch, field_i, field_j, value: pairs of fields, or one layer and head of
        self-attention, or its rollout.
    outline : pairs to draw a green frame around: a pair table such as the planted ones, or a list of (field, field).
    panels : at most so many epochs are drawn: the first, the last, and evenly spaced ones between.
    axes : as many Axes as epochs are drawn; None makes a new figure.
    cmap : colour map in place of PuOr_r.

    Returns
    -------
    ndarray of Axes, shape (epochs drawn,)

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds several layers or heads; if `outline` names another
        field; or if `axes` has another size.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"epoch": [1, 1, 1, 2, 2, 2], "value": [0.3, 0.3, 0.4, 0.1, 0.2, 0.7],
    ...                       "field_i": ["user", "user", "ad"] * 2, "field_j": ["ad", "hour", "hour"] * 2})
    >>> axes = attention_over_epochs(table, outline=[("ad", "hour")], axes=Figure().subplots(1, 2))
    >>> [ax.get_title() for ax in axes]
    ['epoch 1', 'epoch 2']
    """
    film = _Film(table, outline, cmap)
    check_count("panels", panels)
    epochs = film.epochs
    if len(epochs) > panels:
        epochs = epochs[np.unique(np.linspace(0, len(epochs) - 1, panels).round().astype(int))]
    n = len(epochs)
    rows = -(-n // max(2, min(6, int(24 / film.inches()[0]))))     # as many side by side as a page is wide
    columns = -(-n // rows)
    if axes is None:
        width, height = film.inches()
        names = label_inches(short_names(film.fields).values())
        axes = as_panels(None, rows, columns, (columns * width + names + 1.3, rows * height + names)).ravel()
        for unused in axes[n:]:
            unused.remove()
        axes = axes[:n]
    else:
        rows, columns, axes = 1, n, as_panels(axes, 1, n, None)[0]
    for k, ax in enumerate(axes):
        image = film.draw(epochs[k], ax)
        ax.tick_params(labelleft=k % columns == 0, labelbottom=k + columns >= n)
    film.colour_bar(image, axes[min(columns, n) - 1])
    return axes


def attention_animation(table, path, *, outline=None, frames_per_second=2, cmap=None):
    """Write attention over the epochs as an animated GIF, one frame an epoch; the last one stays for a while.

    Parameters
    ----------
    table, outline, cmap : as for ``attention_over_epochs``.
    path : file to write, ending in .gif.
    frames_per_second : how fast.

    Returns
    -------
    Path of the file

    Raises
    ------
    ValueError : as ``attention_over_epochs``, or if the path has another ending.

    Examples
    --------
    >>> import pathlib, tempfile, pandas as pd
    >>> table = pd.DataFrame({"epoch": [1, 1, 1, 2, 2, 2], "value": [0.3, 0.3, 0.4, 0.1, 0.2, 0.7],
    ...                       "field_i": ["user", "user", "ad"] * 2, "field_j": ["ad", "hour", "hour"] * 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     attention_animation(table, pathlib.Path(folder) / "attention.gif").name
    'attention.gif'
    """
    from pathlib import Path

    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    film, path = _Film(table, outline, cmap), Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"the film is written as a GIF; expected a path that ends in .gif, got {path.name!r}")
    if not frames_per_second > 0:
        raise ValueError(f"frames_per_second must be a number above 0, got {frames_per_second!r}")
    width, height = film.inches()
    names = label_inches(short_names(film.fields).values())
    figure = Figure(figsize=(1.4 * width + names + 1.6, 1.4 * height + names), layout="constrained")
    FigureCanvasAgg(figure)
    writer = PillowWriter(fps=frames_per_second)
    with writer.saving(figure, str(path), dpi=100):
        stay = [film.epochs[-1]] * max(1, round(2 * frames_per_second))       # two seconds
        for epoch in [*film.epochs[:-1], *stay]:
            figure.clear()
            ax = figure.subplots()
            film.colour_bar(film.draw(epoch, ax), ax)
            writer.grab_frame()
    return path


class _Film:
    """Attention of several epochs, checked, with all that their pictures share."""

    def __init__(self, table, outline, cmap):
        check_table(table, ["epoch", "field_i", "field_j", "value"], _SOURCE)
        self.square = "layer" in table.columns
        keys = ["epoch", "field_i", "field_j"]
        if self.square and len(table[["layer", "head"]].drop_duplicates()) > 1:
            raise ValueError("the table holds several layers or heads; watch one, explain.AttentionOverEpochs(X, "
                             "layers=1, heads=1), or a summary of all, layers=\"rollout\"")
        refuse(table, table.duplicated(keys), f"one row for each of {keys}, as {_SOURCE} returns")
        table = relative_to_uniform(table)
        self.table, self.fields = table, field_names(table)
        self.epochs = np.array(sorted(table["epoch"].unique()))
        (self.values,), self.ends = as_numbers(table, ["value"]), np.array(positions(table, self.fields))
        self.scale = colour_scale(self.values, cmap, uniform_weight(table))
        self.outline = np.empty((2, 0), int)
        if outline is not None:
            pairs = outline if isinstance(outline, pd.DataFrame) else pd.DataFrame(
                list(outline), columns=["field_i", "field_j"])
            self.outline = np.array(positions(pairs, self.fields)).reshape(2, -1)
        if self.square:                 # a pair appears twice: asking and answering
            self.outline = np.concatenate([self.outline, self.outline[::-1]], axis=1)
        else:                           # the lower triangle: it appears once
            self.ends, self.outline = np.sort(self.ends, axis=0)[::-1], np.sort(self.outline, axis=0)[::-1]

    def inches(self):
        """Return the width and height of one picture, without names."""
        side = float(np.clip(0.28 * len(self.fields), 1.6, 5.5))
        return side, side + 0.3

    def draw(self, epoch, ax):
        """Draw one epoch and return the image."""
        from matplotlib.patches import Rectangle

        M, here = len(self.fields), (self.table["epoch"] == epoch).to_numpy()
        matrix = np.full((M, M), np.nan)
        matrix[tuple(self.ends[:, here])] = self.values[here]
        missing = np.isnan(matrix) & (True if self.square else np.tri(M, k=-1, dtype=bool))
        image = draw_matrix(ax, matrix, missing, self.fields, self.scale)
        for row, column in self.outline.T:
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=GREEN, linewidth=2))
        ax.set_title(f"epoch {epoch}", fontsize=10)
        if not self.square:
            ax.spines[:].set_visible(False)
        return image

    def colour_bar(self, image, ax):
        """Draw the colour bar beside ``ax``."""
        draw_colour_bar(image, ax, [1.06, 0, 0.07, 1], self.table, "vertical")
        if self.outline.size:
            bar = ax.child_axes[-1]
            bar.set_ylabel(bar.get_ylabel() + "\ngreen frames: outlined pairs")
