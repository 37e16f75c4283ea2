"""The pictures that the commands write, on figures that need no display."""

import io
import textwrap

import numpy as np

from .. import plots
from ..text import as_text, printable


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
    text = ", ".join(f"{printable(name)} {as_text(values[name])}" for name in contributions.attrs["fields"])
    ax.figure.suptitle(textwrap.fill(text, 100), fontsize=8, parse_math=False)


def save(axes, path):
    """Write the figure of the Axes as a picture, of the kind that the path's ending says; returns the file's name."""
    if path.suffix == ".svg":
        path.write_text(as_svg(axes), encoding="utf-8", newline="\n")
    else:
        axes.flat[0].figure.savefig(path, dpi=110)
    return path.name


def as_svg(axes):
    """The figure of the Axes as the text of an SVG; the same figure gives the same text, as no date stands in it."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.hashsalt": "minictr"}):
        axes.flat[0].figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
