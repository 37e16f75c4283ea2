"""Does the attention tell the truth? Attention, contribution, interaction effect and removal, compared by rank."""

import numpy as np
import pandas as pd

from ..checks import as_table, check_rows, is_whole
from ..estimator import Model
from ..estimator.registry import offers
from ..layers import AttentionPooling, InteractingLayer, Layer, field_pairs, named_layers, replica
from ..training import chunk_rows, chunk_slices, evaluate
from .attention_tables import attention
from .contribution_tables import has_pairs
from .effects import Progress, interaction_effects
from .summaries import forward_chunks

TRUTH = "planted effect"
REMOVALS = {"attention": "loss without attention", "product": "loss without product"}


def pair_removal(model, X, y, *, how=None, sample_weight=None):
    """Measure how much the loss grows when a pair of fields is taken out of the fitted model, one pair after the other.

    The model is not trained again, so this is what the model as it stands needs of a pair, not what the data hold. Less
    than 0: these rows are predicted better without the pair. A part that is the same in every row counts too: without
    it all predictions are shifted, and so a pair can cost much to lose that hardly interacts. Measure it on rows that
    training did not see.

    Parameters
    ----------
    model : a fitted model whose ``terms`` have pairs, or whose attention is AFM's or AutoInt's; of your own too.
    X, y : table of the model's fields and targets.   sample_weight : one weight a row, at least 0.
    how : "attention": nothing looks at the pair, and what it got goes to the others in proportion. Where attention
        weighs pairs (AFM), a_ij = 0. Where fields look at fields (AutoInt), neither looks at the other, in any layer
        and head, and the attention that is left is scaled to sum to 1; from the second layer on two fields can still
        meet in a third.
        "product": the pair's product is 0. The logit loses the pair's term, while a deep part goes on to see both
        fields; under AFM's attention p_ij = 0 in its input too, so that a'_ij = h . relu(b).
        None: "attention" if the model has it, else "product".

    Returns
    -------
    One row a pair: field_i, field_j, value. ``attrs`` names the quantity, unit, fields, and the whole model's loss.

    Raises: TypeError for a model whose pairs cannot be removed so; ValueError for another ``how``.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(5_000, seed=0)
    >>> model = FM(epochs=5, learning_rate=0.01).fit(clicks.X, clicks.y)
    >>> table = pair_removal(model, clicks.X, clicks.y)
    >>> table.loc[table["value"].idxmax(), ["field_i", "field_j"]].tolist()
    ['user_segment', 'ad_category']
    """
    _check_model(model)
    possible = _removals(model)
    if how not in (None, *REMOVALS):
        raise ValueError(f"how must be one of {list(REMOVALS)} or None, got {how!r}")
    if not possible or how not in (None, *possible):
        raise TypeError(f"{type(model).__name__} has no {how or 'attention to, or product of,'} two fields to remove; "
                        f"it can do {possible or 'neither'}. For any model: explain.interaction_effects")
    how = how or possible[0]
    X, y, c = check_rows(model.as_fields(X), y, sample_weight, model.task_.targets)
    slots, pairs = model.encoder_.encode(X), list(zip(*field_pairs(model.n_features_in_), strict=True))
    y = y - model.task_.centre                                    # as forward passes have it
    if _layers(model, InteractingLayer):
        without = np.array([evaluate(_blinded(model, *pair), slots, y, c) for pair in pairs])
    else:
        without, plain = np.zeros(len(pairs)), replica(model)
        for chunk in chunk_slices(len(y), chunk_rows(model, slots)):
            logits = _without_each_pair(plain, plain.forward(slots[chunk]), how)
            weights = None if c is None else c[chunk]
            without += [model.loss_().forward(s, y[chunk], weights, n_rows=len(y)) for s in logits]
    whole = evaluate(model, slots, y, c)
    table = _pairs_of(model).assign(value=without - whole)
    table.attrs |= {"quantity": REMOVALS[how], "unit": f"increase of the {model.loss_.name}", "loss": whole}
    return table


def pair_quantities(model, X, y, *, truth=None, background=2_000, partners=8, seed=0):
    """Put all that can be said of a fitted model's pairs side by side: one row a pair, one column a quantity.

    Parameters
    ----------
    model : a fitted model.   X, y : rows that training did not see.
    truth : table field_i, field_j, value of the planted effects, if they are known (``clicks.planted_pairs``).
    background, partners, seed : see ``interaction_effects``.

    Returns
    -------
    field_i, field_j, and of these columns those that the model has:

    attention : mean a_ij; of fields that look at fields, the mean over rows, layers and heads of (a_ij + a_ji) / 2.
    contribution : mean |what the pair adds to the logit|, by the model's ``terms``; those of a deep part are no pair's.
    contribution spread : standard deviation of the same over rows: what is left if a constant is not counted.
    interaction effect : see ``interaction_effects``.
    loss without attention, loss without product : see ``pair_removal``.
    planted effect : ``truth``.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = FM(epochs=1).fit(clicks.X, clicks.y)
    >>> table = pair_quantities(model, clicks.X, clicks.y, background=100)
    >>> table.columns.tolist()[2:]
    ['contribution', 'contribution spread', 'interaction effect', 'loss without product']
    """
    _check_model(model)
    table = _pairs_of(model)
    if offers(type(model), "attention_weights"):
        table["attention"] = _attention_of_pairs(model, X)
    if has_pairs(model):
        table["contribution"], table["contribution spread"] = _size_of_contributions(model, X)
    effects = interaction_effects(model, X, background=background, partners=partners, seed=seed)
    table["interaction effect"] = effects["value"]
    for how in _removals(model):
        table[REMOVALS[how]] = pair_removal(model, X, y, how=how)["value"]
    if truth is not None:
        table[TRUTH] = _aligned_truth(truth, table)
    return table


def truthfulness(model, train, test, *, truth=None, seeds=3, validation=None, top=None, background=2_000, partners=8,
                 verbose=False):
    """Ask whether the attention tells the truth: how far does all that is said of the pairs agree, above a noise floor?

    Attention, contribution, interaction effect and the loss when a pair is removed (see ``pair_quantities``) rank the
    pairs of fields. This compares the rankings, over refits with other seeds, and does the same for models fitted on
    shuffled labels, which have nothing to tell: what agrees there is owed to how the model is built, not to the data.
    Those train for as many epochs as the run beside them, without validation.

    Parameters
    ----------
    model : a fitted model of at least 3 fields: the first run. Its ``init_from``, if any, is refitted too.
    train : (X, y), the table that it was fitted on.   test : (X, y) that it was not.
    truth : table field_i, field_j, value of the planted effects, if they are known.
    seeds : how many runs in all: the model itself and refits with other seeds. As many more on shuffled labels.
    validation : for the refits on the true labels, as it was for the model's own ``fit``.
    top : how many pairs are the top; if None, as many as are planted, or a fifth of all pairs.
    background, partners : see ``interaction_effects``.   verbose : show the progress.

    Returns
    -------
    One row for each two quantities: quantity_a, quantity_b, value (Spearman's rank correlation over the pairs, mean
    over runs; ties share their mean rank), low, high (smallest and largest), noise, noise_low, noise_high (the same of
    the models on shuffled labels), beyond_noise, top_shared and top_noise (mean share of the top pairs that both have
    on top; the same on shuffled labels). Where quantity_a is quantity_b: the agreement of every two runs with each
    other (missing for a single run).

    beyond_noise : whether low, the worst run, is above noise_high, the best on shuffled labels, and above the
    correlation that a random ranking of so many pairs exceeds in about one of 20 cases, 1.645 / sqrt(pairs - 1).

    ``attrs``: quantity, unit, quantities, fields, top, runs, chance (that correlation), loss, noise_loss (mean test
    loss of the runs), highest (the largest correlation that a ranking without ties can have with the planted effects,
    many of which are tied at 0; None without truth) and verdict, one sentence on the first quantity (the attention, if
    there is one) and the planted effect (else the loss without attention, or product). It says "agree beyond noise"
    exactly where beyond_noise is true.

    Limits: a rank correlation counts the order among pairs that do nothing as much as that of the top ones, so look at
    top_shared too; above all where a pair's removal is concerned: of the pairs that matter for nothing, those that the
    model made most of by mistake cost least, or less than nothing, when they go. High agreement does not prove that
    the model is right: all of these look at the same model. And with few runs low, high and the noise floor are
    only what these runs gave, not confidence limits.

    Raises: TypeError for a model of other kinds; ValueError for fewer than 3 fields, or a truth of other pairs.

    Source: removal and shuffled labels follow Jain & Wallace, "Attention is not Explanation", NAACL 2019, and
    Wiegreffe & Pinter, "Attention is not not Explanation", EMNLP 2019, in spirit; rank correlation: Spearman 1904.

    >>> from minictr import AFM, datasets
    >>> train, test = (datasets.make_clicks(5_000, seed=0, rows_seed=rows_seed) for rows_seed in (0, 1))
    >>> model = AFM(epochs=5, learning_rate=0.01).fit(train.X, train.y)
    >>> table = truthfulness(model, (train.X, train.y), (test.X, test.y), truth=train.planted_pairs,
    ...                      seeds=2, background=200)
    >>> table.attrs["quantities"][0], table.attrs["quantities"][-1]
    ('attention', 'planted effect')
    """
    _check_model(model)
    if not is_whole(seeds):
        raise ValueError(f"seeds must be a whole number of at least 1, got {seeds!r}")
    if model.n_features_in_ < 3:
        raise ValueError(f"the fields {list(model.feature_names_in_)} make a single pair, which nothing can rank; "
                         "at least 3 fields are needed")
    (X, y), (X_test, y_test) = _rows(model, train, "train"), _rows(model, test, "test")
    planted = None if truth is None else _aligned_truth(truth, _pairs_of(model))
    P = len(_pairs_of(model))
    if top is None:
        top = int(np.count_nonzero(planted)) if planted is not None else round(P / 5)
        top = min(max(top, 1), P)
    if not is_whole(top) or top > P:
        raise ValueError(f"top must be a whole number from 1 to {P}, the number of pairs; got {top!r}")

    progress = Progress(verbose, "runs", 2 * seeds)
    first_seed = model.seed or 0
    tables, losses = {"labels": [], "shuffled": []}, {"labels": [], "shuffled": []}
    for run in range(seeds):
        rng = np.random.default_rng([first_seed, run])
        fitted, y_test_run = model if run == 0 else refit(model, first_seed + run, X, y, validation), y_test
        for labels in tables:
            if labels == "shuffled":
                y_run, y_test_run = rng.permutation(y), rng.permutation(y_test)
                fitted = _refit_for_as_long(fitted, first_seed + run, X, y_run)
            tables[labels].append(pair_quantities(fitted, X_test, y_test_run, truth=truth, background=background,
                                                  partners=partners, seed=run))
            losses[labels].append(evaluate(fitted, *fitted.encode(X_test, y_test_run)))
            progress.step()
    progress.end()

    quantities = tables["labels"][0].columns[2:].tolist()
    lines = []
    for at, a in enumerate(quantities):
        for b in quantities[at:]:
            if a == b == TRUTH:
                continue
            found, noise = (_correlations(tables[labels], a, b) for labels in tables)
            on_top = (_mean_low_high([_top_shared(s, t, top) for s, t in _both(tables[labels], a, b)])[0]
                      for labels in tables)
            lines.append([a, b, *_mean_low_high(found), *_mean_low_high(noise), *on_top])
    table = pd.DataFrame(lines, columns=["quantity_a", "quantity_b", "value", "low", "high", "noise", "noise_low",
                                         "noise_high", "top_shared", "top_noise"])
    chance = 1.645 / np.sqrt(P - 1)
    table.insert(8, "beyond_noise", table["low"] > np.maximum(table["noise_high"], chance))
    table.attrs = {
        "quantity": "agreement", "unit": "rank correlation over the pairs of fields", "quantities": quantities,
        "fields": list(model.feature_names_in_), "top": int(top), "runs": seeds, "chance": float(chance),
        "interval": f"smallest to largest of {seeds} runs", "loss": float(np.mean(losses["labels"])),
        "noise_loss": float(np.mean(losses["shuffled"])),
        "highest": None if planted is None else rank_correlation(np.argsort(np.argsort(planted)), planted)}
    table.attrs["verdict"] = _verdict(table)
    return table


def rank_correlation(a, b):
    """Return Spearman's correlation, that of two arrays' ranks, ties at their mean rank; NaN where one is constant.

    >>> round(rank_correlation([0.1, 0.2, 0.3, 9.0], [1, 4, 3, 5]), 4)
    0.8
    """
    a, b = (pd.Series(np.asarray(values, np.float64)).rank().to_numpy() for values in (a, b))
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else np.nan


# ---- the model without a pair ---------------------------------------------------------------------------


def _removals(model):
    """The ways to remove a pair that the model has, the one to take first."""
    if _layers(model, AttentionPooling):
        return ["attention", "product"]
    if _layers(model, InteractingLayer):
        return ["attention"]
    return ["product"] if has_pairs(model) else []


def _layers(model, kind):
    return [layer for _, layer in named_layers(model) if isinstance(layer, kind)]


def _without_each_pair(model, logits, how):
    """The logits of the latest forward pass if one pair were not there, for each pair in turn: (P, B)."""
    if not _layers(model, AttentionPooling):
        return (logits[:, None] - model.terms()["pairs"]).T
    # a_ij = exp(a'_ij) / Z, and the pairs add up to T / Z: take one pair's part out of both sums. In float64, as what
    # is left of a sum after its largest term is gone has few digits in float32.
    (attention_layer,) = _layers(model, AttentionPooling)
    params = attention_layer.params
    s = attention_layer.cache["s"].astype(np.float64)             # (B, P)     a'_ij
    value = model.pair_values()                                   # (B, P)     p . p_ij
    without_product = float(params["h"] @ np.maximum(params["b"], 0))         # a'_ij where p_ij = 0
    largest = np.maximum(s.max(axis=1, keepdims=True), without_product)
    e = np.exp(s - largest)
    Z, T = e.sum(axis=1, keepdims=True), (e * value).sum(axis=1, keepdims=True)
    Z_rest, T_rest = Z - e, T - e * value
    if how == "product":
        Z_rest += np.exp(without_product - largest)
    rest = np.zeros_like(e)                                       # with all attention on the pair, nothing is left
    np.divide(T_rest, Z_rest, out=rest, where=Z_rest > 0)
    return (logits[:, None] - T / Z + rest).T


class _Blindfold(Layer):
    """Stands where an interacting layer has its dropout: two fields do not look at each other."""

    def __init__(self, i, j):
        super().__init__()
        self.i, self.j = i, j

    def forward(self, a):
        a = a.copy()                                              # (B, H, M, M)
        a[:, :, self.i, self.j] = a[:, :, self.j, self.i] = 0
        for field in (self.i, self.j):
            left = a[:, :, field].sum(axis=-1, keepdims=True)
            # a field that looked nowhere else has nothing left to look at
            np.divide(a[:, :, field], left, out=a[:, :, field], where=left > 0)
        return a


def _blinded(model, i, j):
    """The same model, in which the fields i and j do not look at each other."""
    copied = replica(model)
    for layer in _layers(copied, InteractingLayer):
        layer.dropout = _Blindfold(i, j)
    return copied


# ---- one number a pair ----------------------------------------------------------------------------------


def _pairs_of(model):
    fields = list(model.feature_names_in_)
    i, j = field_pairs(len(fields))
    table = pd.DataFrame({"field_i": [fields[a] for a in i], "field_j": [fields[b] for b in j]})
    table.attrs = {"fields": fields}
    return table


def _attention_of_pairs(model, X):
    table = attention(model, X)
    if "layer" not in table:
        return table["value"].to_numpy()
    M = model.n_features_in_
    a = table["value"].to_numpy().reshape(-1, M, M).mean(axis=0)              # over layers and heads
    return ((a + a.T) / 2)[field_pairs(M)]


def _size_of_contributions(model, X):
    """Mean absolute value and standard deviation over rows of each pair's contribution."""
    n_rows, sums = len(as_table(X)), np.zeros((3, len(_pairs_of(model))))
    for _, _, plain in forward_chunks(model, X):
        terms = plain.terms()["pairs"].astype(np.float64)
        sums += np.abs(terms).sum(axis=0), terms.sum(axis=0), (terms ** 2).sum(axis=0)
    size, mean, square = sums / n_rows
    return size, np.sqrt(np.maximum(square - mean ** 2, 0))


def _aligned_truth(truth, table):
    """The planted values in the order of the table's pairs, whichever field of a pair the truth names first."""
    missing = [name for name in ("field_i", "field_j", "value") if name not in getattr(truth, "columns", ())]
    if missing:
        raise ValueError(f"the truth must be a table with the columns field_i, field_j, value; it lacks {missing}")
    value_of = {frozenset(pair): value for *pair, value in zip(
        truth["field_i"], truth["field_j"], truth["value"], strict=True)}
    pairs = list(zip(table["field_i"], table["field_j"], strict=True))
    odd = set(value_of) ^ {frozenset(pair) for pair in pairs}
    if odd:
        raise ValueError(f"the truth and the model differ in {len(odd)} pairs of fields, such as "
                         f"{sorted(next(iter(odd)))}; give the truth one row for each pair of the model's fields")
    if len(truth) > len(pairs):
        raise ValueError(f"the truth has {len(truth)} rows for {len(pairs)} pairs of fields: one is there twice")
    return np.array([value_of[frozenset(pair)] for pair in pairs], np.float64)


# ---- runs and their agreement ---------------------------------------------------------------------------


def _check_model(model):
    if not isinstance(model, Model):
        raise TypeError(f"expected a fitted model of minictr, got a {type(model).__name__}; for any function that "
                        "scores a table there is explain.interaction_effects")
    model.check_fitted()


def _rows(model, data, name):
    """A pair (X, y), checked; labels stay labels, as they are what the model is fitted again on."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"{name} must be a pair (X, y), got a {type(data).__name__}")
    X, y, _ = check_rows(model.as_fields(data[0]), data[1], targets=model.task_.targets)
    return X, model.task_.labels(y)


def refit(model, seed, X, y, validation):
    """The same model with another seed and these labels, and so too the FM that an AFM starts from."""
    again = model.clone().set_params(seed=seed, verbose=False)
    if getattr(again, "init_from", None) is not None:
        again.init_from = refit(again.init_from, seed, X, y, validation)
    return again.fit(X, y, validation=validation)


def _refit_for_as_long(model, seed, X, y):
    """The same for shuffled labels: for as many epochs as the model's weights had, whatever a validation would say.

    Early stopping would stop after the first epochs, where there is nothing to learn. What such a model says of pairs
    is next to nothing, and so no noise that a trained model's could be compared with.
    """
    again = model.clone()
    if getattr(again, "init_from", None) is not None:
        again.init_from = _refit_for_as_long(model.init_from, seed, X, y)
    return again.set_params(seed=seed, verbose=False, epochs=model.history_.attrs["best_epoch"]).fit(X, y)


def _both(tables, a, b):
    """The two columns to compare: of the same run, or, for a quantity with itself, of every two runs."""
    if a != b:
        return [(table[a], table[b]) for table in tables]
    return [(tables[s][a], tables[t][a]) for t in range(len(tables)) for s in range(t)]


def _correlations(tables, a, b):
    found = np.array([rank_correlation(s, t) for s, t in _both(tables, a, b)])
    return found[~np.isnan(found)]


def _top_shared(a, b, top):
    """The share of the largest ``top`` pairs that two quantities have in common."""
    a, b = (set(np.argsort(-values.to_numpy(), kind="stable")[:top]) for values in (a, b))
    return len(a & b) / top


def _mean_low_high(values):
    return (np.mean(values), np.min(values), np.max(values)) if len(values) else (np.nan,) * 3


def _verdict(table):
    """One sentence on the first quantity and the best reference there is, that says no more than its row."""
    quantities = table.attrs["quantities"]
    reference = next((name for name in (TRUTH, *REMOVALS.values()) if name in quantities), None)
    row = table[(table["quantity_a"] == quantities[0]) & (table["quantity_b"] == reference)]
    if row.empty or np.isnan(row["value"].iloc[0]):
        return "there is no second quantity to compare with that ranks the pairs"
    row = row.iloc[0]
    agree = "agree beyond noise" if row["beyond_noise"] else "do not agree beyond noise"
    most = f" of at most {table.attrs['highest']:.2f}" if reference == TRUTH else ""
    return (f"{row['quantity_a']} and {row['quantity_b']} {agree}: rank correlation {row['value']:.2f}{most} "
            f"({row['low']:.2f} to {row['high']:.2f}; on shuffled labels {row['noise']:.2f}, {row['noise_low']:.2f} to "
            f"{row['noise_high']:.2f}); they share {row['top_shared']:.0%} of the top {table.attrs['top']} pairs (on "
            f"shuffled labels {row['top_noise']:.0%})")
