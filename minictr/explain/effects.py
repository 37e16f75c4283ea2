"""Interaction effects and permutation importance read from scores what a model makes of fields, whatever is in it.

Both ask the same of a model: to score rows that take some of their fields from other rows.
"""

import sys
import time

import numpy as np
import pandas as pd

from ..checks import as_table, check_rows, is_whole
from ..estimator import Model
from ..layers import field_pairs
from ..losses import LogLoss, SquaredLoss
from ..slots import Slots
from ..training import duration
from .averages import AVERAGES
from .summaries import check_drawn_rows

LOSSES = {loss.name: loss for loss in (LogLoss, SquaredLoss)}
# Rows that are put together and scored at once: with 40 fields some 10 MB.
CHUNK_ROWS = 65_536


def interaction_effects(model, X, *, fields=None, pairs=None, average="partial dependence", background=2_000,
                        partners=8, seed=0, verbose=False):
    """Measure how far scores depart from additivity in two fields: Friedman's H, and the same without its division.

    All of it is made of mixed differences of the score f: how much more (or less) the fields i and j change it together
    than one by one, when a row c takes the values u and v that another row r has in them,

        D(r, c) = f(u, v, rest of c) - f(u, rest of c) - f(v, rest of c) + f(c)

    which is 0 for every r and c if i and j do not interact. What is made of them is chosen by ``average``:

    **"partial dependence"** averages them over c first, and squares that. The partial dependence of f on i and j is the
    mean score if these two had the values u and v in every background row c, all else being left as it is:

        PD_ij(u, v) = mean over c of f(u, v, rest of c),          PD_i(u), PD_j(v) alike

    With each centred over the background rows r, at the values that r has itself,

        value^2 = mean over r of (PD_ij - PD_i - PD_j)^2
        H^2     = value^2 / mean over r of PD_ij^2                (Friedman & Popescu 2008, eq. 44)

    ``value`` has the unit of the score and is 0 where the two fields add up. H is the share of the two fields' joint
    effect that is due to their interaction: it can be near 1 for a pair that hardly matters, and is noise where
    the joint effect is near 0. Rank by ``value``. An interaction that needs a third field and goes either way with it
    is averaged away: of x8 x9 x10, with means of 0, no pair has any such effect.

    **"mean square"** squares each and averages then, over rows r and c that differ:

        value^2 = mean over r, c of D(r, c)^2 / 4
        share   = value^2 / mean over r, c of (f(u, v, rest of c) - f(c))^2 / 2

    If the fields are independent, value^2 is the variance of all that i and j do together, be it with others, and share
    its part in the variance of all that either of them does (superset importance: Liu & Owen 2006, theorem 1; total
    interaction index: Fruth et al. 2014). Nothing cancels, so it finds pairs within larger sets; what a model has
    learned of mere noise does not cancel either.

    Parameters
    ----------
    model : a fitted model, whose scores are ``decision_function``'s (log-odds, or the target's unit); or any function
        that takes a table and returns one score a row, (N,). What is additive depends on the scale: a function
        that returns probabilities finds interactions that log-odds do not have.
    X : table with a column for each field, at least 2 rows.
    fields : names of the fields to look at; all of the model's, or all columns, if None.
    pairs : list of pairs of names, to look at these alone; all pairs of the fields if None.
    average : "partial dependence" or "mean square", see above.
    background : how many rows of X to draw (fewer if there are fewer).
    partners : how many of the drawn rows c to put each drawn row r's values into, at least 2. The definition takes
        all of them (``partners=background``), which is 4 million scores a pair for 2,000 rows; fewer, drawn at
        random, give an estimate of the same numbers without bias in value^2.
    seed : of the drawing.   verbose : show the progress.

    Returns
    -------
    One row a pair: field_i, field_j, value, low, high (an approximate 95 % interval of what drawing other background
    rows would give), H (or share). ``attrs`` names the quantity, unit, interval, fields, average and background.

    Notes
    -----
    PD_ij - PD_i - PD_j is, but for a constant, the mean of D over c. So drawing few rows makes an effect inexact, but
    makes none up. Of the square of the mean of K of the n differences, (1/K - 1/n) times their variance is taken off:
    what the drawing adds to it on average. The mean of squares needs nothing of the kind.

    Where f is to be explained between one given row and another, there is ``mixed_differences``.

    It takes (pairs + fields) x background x partners scores. In memory are two numbers for each pair and background
    row, and some 65,000 rows of the table at a time (``partners``, if that is more).

    Fields that depend on each other (a user and their age) are combined here as they never occur together, and what
    the model says of such rows is in no data. A model's effect is not the world's: check that the model predicts well.

    Raises: ValueError for fewer than 2 fields or rows, unknown names and scores that are not finite numbers;
    TypeError for a model that is neither a model of this package nor a function.

    Source: J. H. Friedman, B. E. Popescu, "Predictive learning via rule ensembles", Annals of Applied Statistics 2(3),
    2008, section 8.1, https://arxiv.org/abs/0811.1679. R. Liu, A. B. Owen, "Estimating Mean Dimensionality of Analysis
    of Variance Decompositions", JASA 101(474), 2006. J. Fruth, O. Roustant, S. Kuhnt, "Total interaction index",
    Journal of Statistical Planning and Inference 147, 2014.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> table = interaction_effects(model, clicks.X, background=200, partners=4)
    >>> table.loc[table["value"].idxmax(), ["field_i", "field_j"]].tolist()
    ['user_segment', 'ad_category']
    """
    check_drawn_rows(background, least=2)
    if not is_whole(partners, least=2):
        raise ValueError(f"partners must be a whole number of at least 2, got {partners!r}")
    if average not in list(AVERAGES):
        raise ValueError(f"average must be one of {list(AVERAGES)}, got {average!r}")
    X = as_table(X)
    if len(X) < 2:
        raise ValueError(f"X has {len(X)} rows; the background needs at least 2, to exchange their values")
    fields, pairs = chosen_pairs(field_names(model, X, fields), pairs)
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(X))[:background]
    n = len(drawn)
    rows = rows_of(model, X.iloc[drawn])
    # The rows are in random order: those so far ahead are random partners. A mean of squares leaves out the row itself,
    # whose 0 would make it too small.
    first = 0 if average == "partial dependence" else 1
    shifts = first + rng.permutation(n - first)[:partners]
    K = len(shifts)
    effect = AVERAGES[average](len(pairs), n, K)
    alone = rows.scores(np.arange(n))                             # (n,)       f(c)
    step = max(1, CHUNK_ROWS // K)
    progress = Progress(verbose, "interaction effects", -(-n // step) * len(pairs))
    for start in range(0, n, step):
        chunk = np.arange(start, min(start + step, n))
        own = np.repeat(chunk, K)                                 # (b K,)     r: whose values are put in
        other = (own + np.tile(shifts, len(chunk))) % n           # (b K,)     c: what they are put into
        f_c = alone[other]
        single = {i: rows.scores(other, own, [i]) - f_c for i in {name for pair in pairs for name in pair}}
        for p, (i, j) in enumerate(pairs):
            f_ij = rows.scores(other, own, [i, j]) - f_c          # (b K,)     f(u, v, rest of c) - f(c)
            effect.add(p, chunk, other, f_ij - single[i] - single[j], f_ij, f_c)
            progress.step()
    progress.end()

    square, error, joint_effect = effect.squares().mean(axis=1), 1.96 * effect.deviation() / np.sqrt(n), effect.joint()
    value, low, high = (np.sqrt(np.maximum(part, 0)) for part in (square, square - error, square + error))
    part = np.full(len(pairs), np.nan)                            # no joint effect, no share of it
    np.divide(np.maximum(square, 0), joint_effect, out=part, where=joint_effect > 0)
    table = table_of_pairs(pairs, value=value, low=low, high=high, **effect.named(part))
    table.attrs = {
        "quantity": "interaction effect", "unit": f"departure from additivity ({unit_of(model)})", "fields": fields,
        "interval": "95 % interval of drawing the background", "average": average,
        "background": f"{n:,} of {len(X):,} rows, {K:,} partners each, seed {seed}"}
    return table


def permutation_importance(model, X, y, *, fields=None, pairs=False, repeats=5, seed=0, sample_weight=None, loss=None,
                           verbose=False):
    """Measure how much the loss grows when a field's column, or those of a pair of fields, is shuffled.

    On rows that training did not see, it is what the model needs of a field to predict. On training rows it also counts
    what the model learned by heart.

    Parameters
    ----------
    model : a fitted model; or any function that takes a table and returns one score a row, with ``loss``.
    X, y : table of the fields and targets.   sample_weight : one weight a row, at least 0.
    fields : names of the fields to look at; all if None.
    pairs : True for all pairs of the fields, or a list of pairs of names: the two columns are shuffled together, by
        the same permutation.
    repeats : how many permutations to try; the same ones for every field and pair.
    seed : of the permutations.
    loss : for a function: "log loss" (of scores in log-odds, y of 0 and 1) or "squared error"; a model has its own.
    verbose : show the progress.

    Returns
    -------
    One row a field: field, value (mean increase of the loss), std, low, high (standard deviation, smallest and largest
    over the repeats). With ``pairs`` one row a pair: field_i, field_j and the same, and ``shared``: the increases of
    the two fields alone, minus that of the pair. A pure interaction is broken by shuffling either field, so alone each
    costs what both cost together: shared > 0. Fields that add up: near 0. Fields that can replace each other: < 0.

    Shuffling makes rows that may never occur (a user with another's age), and says nothing of how a model trained
    without the field would do. It takes repeats x (fields + pairs) + 1 passes over X.

    Raises: ValueError for unknown names, an empty table, targets that do not fit; TypeError for a function without
    ``loss``.

    Source: L. Breiman, "Random Forests", Machine Learning 45, 2001, section 10, for any model and a pair too.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> held_out = datasets.make_clicks(2_000, seed=0, rows_seed=1)
    >>> table = permutation_importance(model, held_out.X, held_out.y, repeats=2)
    >>> sorted(table.nlargest(2, "value")["field"])               # the two fields of the largest planted pair
    ['ad_category', 'user_segment']
    """
    if not is_whole(repeats):
        raise ValueError(f"repeats must be a whole number of at least 1, got {repeats!r}")
    targets = None
    if isinstance(model, Model):
        X, targets = model.as_fields(X), model.task_.targets
    X, y, c = check_rows(X, y, sample_weight, targets)
    loss = _loss_of(model, y, loss)
    names = field_names(model, X, fields)
    wanted = []
    if pairs is not False:
        names, wanted = chosen_pairs(names, None if pairs is True else pairs)
    groups = [(name,) for name in names] + wanted
    rows = rows_of(model, X)
    rng = np.random.default_rng(seed)
    progress = Progress(verbose, "permutation importance", repeats * len(groups))

    def mean_loss(donors, group):
        total = 0.0
        for start in range(0, len(y), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            scores = rows.scores(np.arange(len(y))[chunk], donors[chunk], group)
            total += loss().forward(scores, y[chunk], None if c is None else c[chunk], n_rows=len(y))
        return total

    unshuffled = mean_loss(np.arange(len(y)), ())
    increase = np.empty((repeats, len(groups)))
    for repeat in range(repeats):
        donors = rng.permutation(len(y))
        for g, group in enumerate(groups):
            increase[repeat, g] = mean_loss(donors, group) - unshuffled
            progress.step()
    progress.end()
    summary = {"value": increase.mean(axis=0), "std": increase.std(axis=0), "low": increase.min(axis=0),
               "high": increase.max(axis=0)}
    if wanted:
        of_field = dict(zip(names, summary["value"], strict=False))
        table = table_of_pairs(wanted, **{name: values[len(names):] for name, values in summary.items()})
        table["shared"] = [of_field[i] + of_field[j] for i, j in wanted] - table["value"]
    else:
        table = pd.DataFrame({"field": names, **summary})
    table.attrs = {"quantity": "permutation importance", "unit": f"increase of the {loss.name}", "fields": names,
                   "interval": f"smallest to largest of {repeats} permutations", "loss": unshuffled}
    return table


# ---- rows that take some fields from other rows ---------------------------------------------------------


def rows_of(model, X):
    """The rows of X, to be scored by the model or function with some fields from other rows: see ``scores``."""
    return EncodedRows(model, X) if isinstance(model, Model) else TableRows(model, X)


class EncodedRows:
    """Rows for a model of this package are encoded once, and put together by their ids."""

    def __init__(self, model, X):
        self.model = model
        self.slots = model.encoder_.encode(X)
        bounds = [*self.slots.starts.tolist(), self.slots.n_slots]
        self.slots_of = {name: slice(*bounds[i:i + 2]) for i, name in enumerate(model.feature_names_in_)}

    def scores(self, rows, donors=None, fields=()):
        """Return the scores (N,) of the given rows, with the ``fields`` of the rows ``donors``."""
        ids, x = (None if table is None else table[rows] for table in (self.slots.ids, self.slots.x))
        for field in fields:
            own = self.slots_of[field]
            ids[:, own] = self.slots.ids[donors, own]
            if x is not None:
                x[:, own] = self.slots.x[donors, own]
        scores = self.model.predict_slots(Slots.trusted(ids, x, self.slots.starts, self.slots.weighted))
        return checked_scores(scores, len(rows), type(self.model).__name__)


class TableRows:
    """Rows for any function of a table are tables."""

    def __init__(self, function, X):
        self.function, self.X = function, X

    def scores(self, rows, donors=None, fields=()):
        """Return the scores (N,) of the given rows, with the ``fields`` of the rows ``donors``."""
        table = self.X.iloc[rows].reset_index(drop=True)
        for field in fields:
            table[field] = self.X[field].array.take(donors)
        return checked_scores(self.function(table), len(rows), "the function")


def checked_scores(scores, n_rows, source):
    """Scores of a model or function (``source``) as float64 (N,); an error says what is wrong with others."""
    scores = np.asarray(scores)
    if scores.shape != (n_rows,):
        raise ValueError(f"{source} returned an array of shape {scores.shape} for a table of {n_rows} rows; expected "
                         f"one score a row, ({n_rows},); of predict_proba take the column [:, 1]")
    try:
        scores = scores.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{source} must return numbers: {error}") from None
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f"{source} returned {scores[row]} for row {row} of a table; effects need finite scores")
    return scores


# ---- fields, pairs, units -------------------------------------------------------------------------------


def field_names(model, X, fields):
    """The names to look at, in the model's or table's order, all known."""
    if isinstance(model, Model):
        model.check_fitted()
        known, where = list(model.feature_names_in_), "the model"
    elif callable(model):
        known, where = list(X.columns), "X"
    else:
        raise TypeError(f"expected a fitted model of minictr or a function that scores a table, got a "
                        f"{type(model).__name__}; of another library's model pass a method, such as "
                        "model.decision_function")
    if fields is None:
        return known
    fields, there = list(fields), set(known)
    unknown = [name for name in fields if name not in there]
    if unknown:
        raise ValueError(f"{where} has no field {unknown[0]!r}; it has {known}")
    chosen = set(fields)
    return [name for name in known if name in chosen]


def chosen_pairs(names, pairs):
    """The fields that take part, and the pairs, both in field order."""
    if pairs is None:
        if len(names) < 2:
            raise ValueError(f"pairs need at least 2 fields, got {names}")
        return names, [(names[i], names[j]) for i, j in zip(*field_pairs(len(names)), strict=True)]
    place = {name: at for at, name in enumerate(names)}
    chosen = []
    for pair in pairs:
        pair = (pair,) if isinstance(pair, str) else tuple(pair)
        if len(pair) != 2 or len(set(pair)) < 2 or not all(name in place for name in pair):
            raise ValueError(f"{pair!r} is not a pair of two of the fields {names}")
        chosen.append(tuple(sorted(pair, key=place.get)))
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"pairs must name at least one pair, and none twice; got {list(pairs)}")
    used = {name for pair in chosen for name in pair}
    return [name for name in names if name in used], sorted(chosen, key=lambda pair: (place[pair[0]], place[pair[1]]))


def table_of_pairs(pairs, **columns):
    """One row a pair: field_i, field_j and the columns."""
    return pd.DataFrame({"field_i": [i for i, _ in pairs], "field_j": [j for _, j in pairs], **columns})


def unit_of(model):
    """The unit of a model's or function's scores, in words."""
    if not isinstance(model, Model):
        return "unit of the scores"
    return "log-odds" if model.task_ == "binary" else "units of the target"


def _loss_of(model, y, loss):
    """The class of the loss by which scores are measured."""
    if isinstance(model, Model):
        if loss not in (None, model.loss_.name):
            raise ValueError(f"this {type(model).__name__} is measured by its own loss, the {model.loss_.name}; leave "
                             "loss out")
        return model.loss_
    if loss not in LOSSES:
        raise TypeError(f"say with loss= how to measure the scores of a function, one of {list(LOSSES)}; got {loss!r}")
    if loss == LogLoss.name and not np.isin(y, (0, 1)).all():
        raise ValueError("the log loss needs y of 0 and 1; map the labels, or pass loss=\"squared error\"")
    return LOSSES[loss]


class Progress:
    """``verbose`` prints one line, which a terminal updates."""

    def __init__(self, verbose, what, total):
        self.verbose, self.what, self.total, self.done = verbose, what, total, 0
        self.start = self.shown = time.monotonic()

    def step(self):
        """Note that one more of the ``total`` steps is done."""
        self.done += 1
        now = time.monotonic()
        if self.verbose and sys.stdout.isatty() and now - self.shown > 0.2:
            self.shown = now
            left = (now - self.start) * (self.total / self.done - 1)
            print(f"\r{self.what}: {self.done:,} of {self.total:,}, {duration(left)} left   ", end="", flush=True)

    def end(self):
        """Say how long it took."""
        if self.verbose:
            print(f"{chr(13) if sys.stdout.isatty() else ''}{self.what}: {self.total:,} in "
                  f"{duration(time.monotonic() - self.start)}              ", flush=True)
