"""Is it the data, or the luck of one training? The same table from models that were fitted again and again."""

import numpy as np
import pandas as pd

from ..checks import check_rows, is_share, is_whole, split_rows
from .agreement import refit
from .effects import Progress
from .summaries import check_model

NAMES = ("row", "group", "term", "field", "field_i", "field_j", "field_l")


def refits(model, X, y, *, n=10, bootstrap=True, validation=None, verbose=False):
    """Fit a model again, each time with another seed and on rows drawn anew.

    Parameters
    ----------
    model : a fitted model, which stays as it is; an AFM that starts from an FM has that fitted again too.
    X, y : the rows that it was fitted on.
    n : how many models to fit, at least 2.
    bootstrap : draw as many of the rows as there are, with replacement (Efron 1979), for each model; False: all of them
        learn from the same rows, and differ by their seeds alone.
    validation : for early stopping, as in ``fit``. A share is held out before rows are drawn, so that no row is on both
        sides.
    verbose : show the progress.

    Returns: list of n fitted models, for ``stability``. The same call gives the same models.
    Raises: ValueError for fewer than 2, or rows that do not fit.

    Of rows that are drawn with replacement, 37 % are not in a sample, and others are in it more than once: a model that
    learns by heart does so sooner, so give ``validation`` if the model had it. Sample weights, which a model does not
    keep, have no part in it.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(epochs=1).fit(clicks.X, clicks.y)
    >>> [again.seed for again in refits(model, clicks.X, clicks.y, n=3)]
    [1, 2, 3]
    """
    if not is_whole(n, least=2):
        raise ValueError(f"n must be a whole number of at least 2, got {n!r}")
    check_model(model)
    X, y, _ = check_rows(model.as_fields(X), y, targets=model.task_.targets)
    y, first_seed, models = model.task_.labels(y), model.seed or 0, []
    progress = Progress(verbose, "refits", n)
    for seed in range(first_seed + 1, first_seed + n + 1):
        rows, held_out = np.arange(len(y)), validation
        if is_share(validation):
            rows, chosen = split_rows(len(y), validation, seed)
            held_out = X.iloc[chosen], y[chosen]
        if bootstrap:
            rows = np.random.default_rng([first_seed, seed]).choice(rows, len(rows))
        models.append(refit(model, seed, X.iloc[rows].reset_index(drop=True), y[rows], held_out))
        progress.step()
    progress.end()
    return models


def stability(models, table_of):
    """How far a table of pairs (or of fields) would be another one from other rows, or from another start.

    An interval over the rows of one model says how a quantity varies from row to row, and nothing of whether another
    training would have found the same. This one does.

    Parameters
    ----------
    models : fitted models, at least 2, such as those of ``refits``.
    table_of : function of a model that gives one row a pair, or field, with a column value, such as
        ``lambda model: explain.pair_importance(model, X, purified=True)``. Give all of them the same X. Tables that
        are ranked, as those of ``explain.importance``, are put in the order of the first.

    Returns
    -------
    One row a pair: its names, value (mean over the models), low, high (smallest and largest), rank (mean; 1 is the
    largest |value|, ties share their mean rank), rank_low, rank_high (best and worst). ``attrs`` are those of the first
    model's table, with the interval that plots write at their whiskers. Of n models, the next one would lie within
    smallest and largest in n - 1 of n + 1 cases: 10 make an interval of 82 %.

    Raises: ValueError for fewer than 2 models, or tables of different pairs.

    >>> from minictr import FM, datasets, explain
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> models = refits(model, clicks.X, clicks.y, n=3)
    >>> table = stability(models, lambda model: explain.pair_importance(model, clicks.X, purified=True))
    >>> table.loc[table["rank"].idxmin(), ["field_i", "field_j"]].tolist()
    ['user_segment', 'ad_category']
    """
    tables = [table_of(model) for model in models]
    if len(tables) < 2:
        raise ValueError(f"stability takes at least 2 models, got {len(tables)}; explain.refits fits them")
    lines = tables[0][[name for name in NAMES if name in tables[0]]].reset_index(drop=True)
    keys, values = _keys(lines), np.empty((len(tables), len(lines)))
    for table, of_model in zip(tables, values, strict=True):
        if "value" in table:
            found = dict(zip(_keys(table.reindex(columns=lines.columns)), table["value"], strict=True))
        if "value" not in table or not len(table) == len(found) == len(lines) or found.keys() != set(keys):
            raise ValueError("the tables of the models must have a column value and the same pairs or fields, each of "
                             "them once")
        of_model[:] = [found[key] for key in keys]
    ranks = np.array([pd.Series(-np.abs(row)).rank().to_numpy() for row in values])
    table = lines.assign(value=values.mean(axis=0), low=values.min(axis=0), high=values.max(axis=0),
                         rank=ranks.mean(axis=0), rank_low=ranks.min(axis=0), rank_high=ranks.max(axis=0))
    table.attrs = {**tables[0].attrs, "interval": f"smallest to largest of {len(tables)} fitted models"}
    return table


def _keys(lines):
    """What tells the lines of a table apart, a tuple each; what is missing is None."""
    return list(lines.astype(object).where(lines.notna(), None).itertuples(index=False, name=None))
