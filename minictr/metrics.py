"""AUC, log loss and RMSE are the three numbers by which the papers compare their models."""

import numpy as np
import pandas as pd


def auc(y, score):
    """Return the area under the ROC curve: the probability that a random click scores above a random non-click.

    Ties count one half. 0.5 is chance, 1 is perfect.

    Parameters
    ----------
    y : (N,) of 0 and 1, both present.   score : (N,) probabilities or logits.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y, score = _pair(y, score)
    clicks = y == 1
    n_clicks, n_others = int(clicks.sum()), int((y == 0).sum())
    if n_clicks + n_others != len(y) or not n_clicks or not n_others:
        raise ValueError("the AUC needs y of 0 and 1, with at least one of each")
    ranks = pd.Series(score).rank().to_numpy()                    # 1.., ties share their mean rank
    return float((ranks[clicks].sum() - n_clicks * (n_clicks + 1) / 2) / (n_clicks * n_others))


def log_loss(y, p):
    """Return the mean of -[y log p + (1 - y) log(1 - p)], in nats; p is kept off 0 and 1 by 1e-7.

    >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
    0.6931
    """
    y, p = _pair(y, p)
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def rmse(y, prediction):
    """Return the root of the mean squared error, in the units of y.

    >>> rmse([1, 5], [2, 4])
    1.0
    """
    y, prediction = _pair(y, prediction)
    return float(np.sqrt(np.mean((y - prediction) ** 2)))


def _pair(y, prediction):
    y, prediction = np.asarray(y, np.float64), np.asarray(prediction, np.float64)
    if y.shape != prediction.shape or y.ndim != 1 or not len(y):
        raise ValueError(f"expected two arrays of one length, got shapes {y.shape} and {prediction.shape}")
    return y, prediction
