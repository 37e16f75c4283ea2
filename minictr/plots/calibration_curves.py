"""A curve shows whether predicted probabilities can be taken at their word."""

import numpy as np

from .shared import BLUE, GREY, as_panels, check_count, counted


def calibration(y, p, *, bins=10, ax=None):
    """Draw the observed against the predicted rate of clicks, in bins of equally many rows.

    A calibrated model lies on the dashed diagonal. Rows with equal predictions share a bin, so
    there can be fewer bins than asked for; a larger marker stands for more rows. The whiskers are
    the 95 % interval of Wilson (1927) for the observed rate.

    Parameters
    ----------
    y : (n,) outcomes, 0 or 1.
    p : (n,) predicted probabilities.
    bins : how many bins.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if y and p differ in length, are empty, or hold values that are not outcomes or
        probabilities.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = calibration([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], bins=2, ax=Figure().subplots())
    >>> ax.get_legend().get_texts()[-1].get_text()
    '2 bins of 2 rows'
    """
    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    check_count("bins", bins)
    if y.ndim != 1 or y.shape != p.shape or not len(y):
        raise ValueError("y and p must be one-dimensional, equally long and not empty, got shapes"
                         f" {y.shape} and {p.shape}; of predict_proba take the column [:, 1]")
    for name, numbers, good, expected in (("y", y, (y == 0) | (y == 1), "0 or 1"),
                                          ("p", p, (p >= 0) & (p <= 1), "a number from 0 to 1")):
        if not good.all():
            at = good.argmin()
            raise ValueError(f"{name}[{at}] is {numbers[at]}, expected {expected}")
    edges = np.quantile(p, np.arange(1, bins) / bins)
    _, bin_of, count = np.unique(np.searchsorted(edges, p), return_inverse=True, return_counts=True)
    predicted, clicks = np.bincount(bin_of, p) / count, np.bincount(bin_of, y)
    z2 = 1.96**2
    centre = (clicks + z2 / 2) / (count + z2)
    half = np.sqrt(z2 * (clicks * (count - clicks) / count + z2 / 4)) / (count + z2)
    end = 1.05 * max(predicted.max(), (centre + half).max())
    rows = " to ".join(f"{size:,}" for size in sorted({count.min(), count.max()}))

    ax = as_panels(ax, 1, 1, (5.0, 5.0))[0, 0]
    ax.plot([0, end], [0, end], color=GREY, linestyle="--", label="calibrated")
    ax.vlines(predicted, centre - half, centre + half, color=BLUE, label="95 % interval (Wilson)")
    ax.plot(predicted, clicks / count, color=BLUE, linewidth=1)
    ax.scatter(predicted, clicks / count, s=20 + 40 * count / count.max(), color=BLUE, zorder=3,
               clip_on=False, label=f"{counted(len(count), 'bin')} of {rows} rows")
    ax.set(xlim=(0, end), ylim=(0, end), aspect="equal", xlabel="mean predicted probability",
           ylabel="observed rate")
    ax.legend(fontsize=8, loc="lower right")
    return ax
