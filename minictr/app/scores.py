"""How good predictions are: the scores that the commands print, and their intervals on the page."""

import numpy as np

from .. import metrics
from ..text import text_table
from ..training.threads import one_blas_thread

RESAMPLES, SEED = 200, 0        # of the bootstrap


def score_cells(y, p):
    """AUC and log loss as text; no AUC where y has one class only."""
    return [f"{metrics.auc(y, p):.4f}" if 0 < y.sum() < len(y) else "-", f"{metrics.log_loss(y, p):.4f}"]


def predictions(model, X):
    """The probability of a 1 (binary task) or the predicted number, for each row."""
    return model.predict_proba(X)[:, 1] if model.task_ == "binary" else model.predict(X)


def score_table(model, y, prediction, mean, mean_name):
    """A table of the scores of a model's predictions beside those of always predicting ``mean``."""
    binary = model.task_ == "binary"
    lines = [["", "AUC", "log loss"] if binary else ["", "RMSE"]]
    for name, scored in ((mean_name, np.full(len(y), mean)), (type(model).__name__, prediction)):
        lines.append([name, *(score_cells(y, scored) if binary else [f"{metrics.rmse(y, scored):.4f}"])])
    return text_table(lines)


def point_scores(y, prediction, binary):
    """The scores without intervals: name -> value. There is no AUC where y holds one class only."""
    p = np.asarray(prediction, np.float64)
    if not binary:
        return {"RMSE": metrics.rmse(y, p)}
    auc = {"AUC": metrics.auc(y, p)} if 0 < y.sum() < len(y) else {}
    return {**auc, "log loss": metrics.log_loss(y, p), "accuracy": float(((p >= 0.5) == y).mean())}


@one_blas_thread()      # else, on busy cores, its threads wait for each other in each of 400 short sums
def bootstrap(y, prediction, binary):
    """Scores and their 95 % intervals, from 200 tables of as many rows drawn with replacement (percentiles).

    Returns a dict: name -> (value, low, high). There is no AUC where y holds one class only, as in a drawn table
    of one class, which is left out of its interval.

    >>> scores = bootstrap(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.7, 0.9]), binary=True)
    >>> scores["AUC"]
    (1.0, 1.0, 1.0)
    """
    n, rng = len(y), np.random.default_rng(SEED)
    p = np.asarray(prediction, np.float64)
    if binary:
        kept = np.clip(p, 1e-7, 1 - 1e-7)                         # as metrics.log_loss
        of_row = {"log loss": -np.where(y == 1, np.log(kept), np.log1p(-kept)), "accuracy": (p >= 0.5) == (y == 1)}
        place, level = np.unique(p, return_inverse=True)
        clicks = y == 1
    else:
        of_row = {"RMSE": (y - p) ** 2}
    drawn = {name: np.empty(RESAMPLES) for name in [*(["AUC"] if binary else []), *of_row]}
    for k in range(RESAMPLES):
        times = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        for name, values in of_row.items():
            drawn[name][k] = times @ values / n
        if binary:      # of each predicted value, how many clicks and others it was drawn with; ties count one half
            positive = np.bincount(level, times * clicks, minlength=len(place))
            negative = np.bincount(level, times * ~clicks, minlength=len(place))
            below = negative.cumsum() - negative / 2
            possible = positive.sum() * negative.sum()
            drawn["AUC"][k] = positive @ below / possible if possible else np.nan
    if not binary:
        drawn["RMSE"] = np.sqrt(drawn["RMSE"])
    return {name: (value, *map(float, np.nanpercentile(drawn[name], [2.5, 97.5])))
            for name, value in point_scores(y, p, binary).items()}
