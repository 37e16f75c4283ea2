"""What the commands write: lines of a table, and pictures on figures that need no display."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from . import metrics, plots


def score_cells(y, p):
    """AUC and log loss as text; no AUC where y has one class only."""
    return [f"{metrics.auc(y, p):.4f}" if 0 < y.sum() < len(y) else "-", f"{metrics.log_loss(y, p):.4f}"]


def text_table(rows):
    """Lines of cells under one another, the first column to the left, the others to the right.

    >>> print(text_table([["model", "AUC"], ["FM", "0.8"]]))
    model  AUC
    FM     0.8
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) if place else cell.ljust(width)
                               for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
                     for row in rows)


def blank_axes(rows, columns, width, height):
    """(rows, columns) Axes of about width x height inches each, on a figure that needs neither display nor pyplot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure.subplots(rows, columns, squeeze=False)


def triangle_inches(fields):
    """The side of a picture that shows all pairs of the fields."""
    return 1.7 + float(np.clip(0.5 * len(fields), 2.6, 9))


def draw_waterfall(contributions, values, ax):
    """Draw how one prediction adds up, with the values of the row's fields on top."""
    plots.waterfall(contributions, ax=ax)
    text = ", ".join(f"{name} {as_text(values[name])}" for name in contributions.attrs["fields"])
    ax.figure.suptitle(textwrap.fill(text, 100), fontsize=8, parse_math=False)


def as_text(value):
    """One cell of a table as a person writes it.

    >>> as_text(("music", "sport")), as_text(0.1 + 0.2), as_text(None)
    ('music|sport', '0.3', '(missing)')
    """
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return "|".join(map(str, value))
    if pd.isna(value):
        return "(missing)"
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def make_folder(path):
    """The folder as a Path, made if need be."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"--out {path}: this is a file; name a folder")
    path.mkdir(parents=True, exist_ok=True)
    return path


def save(axes, path):
    """Write the figure of the Axes as a PNG; returns the file's name."""
    axes.flat[0].figure.savefig(path, dpi=110)
    return path.name
