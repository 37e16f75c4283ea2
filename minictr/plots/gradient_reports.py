"""A picture shows what a gradient check found."""

import numpy as np

from .shared import BLUE, GREY, VERMILLION, as_panels, label_inches, short_names

SMALLEST = 1e-6     # of the allowance: below it all is well, and the logarithm of 0 has no place


def gradient_check(report, *, ax=None):
    """Draw how far each array's worst gradient entry is from its numeric value, as a share of what is allowed.

    Left of the line backward is the derivative of forward; arrays right of it, drawn as crosses, fail.

    Parameters
    ----------
    report : what ``check_gradients`` returns.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError : if it is not such a report.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from minictr import check_gradients, layers
    >>> report = check_gradients(layers.FMPooling(), np.random.default_rng(0).standard_normal((4, 3, 2)))
    >>> gradient_check(report, ax=Figure().subplots()).get_title()
    'gradient check passed: 1 array'
    """
    if not hasattr(report, "arrays") or not hasattr(report, "passed"):
        raise TypeError(f"expected the report that check_gradients(layer, x) returns, got a {type(report).__name__}")
    lines = report.arrays
    allowance = np.array([line["allowance"] for line in lines], float)
    x = np.clip(allowance, SMALLEST, 1e6)
    labels = list(short_names([line["name"] for line in lines], limit=28).values())
    failed, rows = allowance > 1, np.arange(len(lines))

    ax = as_panels(ax, 1, 1, (4.6 + label_inches(labels), 1.6 + 0.28 * len(labels)))[0, 0]
    ax.hlines(rows, SMALLEST / 2, x, color="0.85", linewidth=1, zorder=0)
    ax.plot(x[~failed], rows[~failed], "o", color=BLUE)
    ax.plot(x[failed], rows[failed], "X", color=VERMILLION, markersize=9)
    for row, line in enumerate(lines):
        ax.annotate(f"{line['allowance']:.1g}", (x[row], row), xytext=(7, 0), textcoords="offset points", fontsize=8,
                    va="center")
    ax.axvline(1, color=GREY, linestyle="--", linewidth=1.2)
    ax.set(xscale="log", xlim=(SMALLEST / 2, max(30.0, 30 * x.max())), ylim=(len(lines) - 0.5, -0.5))
    ax.set_yticks(rows, labels, parse_math=False)
    ax.spines[["right", "top"]].set_visible(False)
    verdict = "passed" if report.passed else "FAILED"
    ax.set(xlabel="|numeric - backward| of the worst entry, as a share of what is allowed\ndashed line: all of it",
           title=f"gradient check {verdict}: {len(lines)} array{'s' * (len(lines) > 1)}")
    return ax
