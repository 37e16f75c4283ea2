"""Curves show how training went."""

import numpy as np

from .shared import BLUE, GREEN, GREY, VERMILLION, as_numbers, as_panels, check_table


def history(history, *, ax=None):
    """Draw the training and validation loss of every epoch.

    The dashed line is the loss of always predicting the average of the training data: a model that
    stays near it has learned nothing.

    Parameters
    ----------
    history : DataFrame, ``model.history_``: columns epoch, train_loss, val_loss.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.6, 0.5], "val_loss": [0.61, 0.58]})
    >>> ax = history(table, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['training', 'validation', 'best epoch 2: 0.5800']
    """
    from matplotlib.ticker import MaxNLocator

    columns = ["epoch", "train_loss", "val_loss"]
    check_table(history, columns, "model.fit, as model.history_", value="train_loss")
    epochs, train, validation = as_numbers(history, columns)
    validated = not np.isnan(validation).all()
    judged = validation if validated else train
    loss, base = history.attrs.get("loss", "loss"), history.attrs.get("base_loss")
    best = epochs == history.attrs.get("best_epoch", epochs[np.nanargmin(judged)])

    ax = as_panels(ax, 1, 1, (6.4, 4.0))[0, 0]
    ax.plot(epochs, train, color=BLUE, marker="o", markersize=4, label="training")
    if validated:
        ax.plot(epochs, validation, color=VERMILLION, marker="s", markersize=4, label="validation")
    if best.any():
        ax.plot(epochs[best], judged[best], color=GREEN, marker="o", markersize=13,
                markerfacecolor="none", markeredgewidth=2.5, linestyle="none",
                label=f"best epoch {epochs[best][0]:.0f}: {judged[best][0]:.4f}")
    if base is not None:
        ax.axhline(base, color=GREY, linestyle="--", label=f"always the mean: {base:.4f}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=loss, xlim=(epochs.min() - 0.5, epochs.max() + 0.5))
    ax.legend(fontsize=10, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax
