"""Fits and predictions on odd tables: the right result however a table is written, or one clear error."""

import warnings

import numpy as np
import pandas as pd
import pytest
from attack.odd_tables import (
    BAD_TARGETS,
    BAD_WEIGHTS,
    MODELS,
    SIZES,
    TARGETS,
    WEIGHTS,
    draw,
    objects,
    odd_table,
    snapshot,
    why_unclear,
)
from attack.tally import Tally, rounds

from minictr import Categorical, MultiValued, Numerical, explain
from minictr.fields import infer_field

HARMLESS = ".*(two fields make one pair|one field|y holds two values|taken as a quantity|is far above)"


def fields_for(rng, X):
    """Fields, mostly such as a column asks for; None for all inferred."""
    if rng.random() < 0.4:
        return None
    fields = []
    for name in X:
        try:
            field = infer_field(name, X[name])
        except TypeError:
            field = Categorical(name)
        if isinstance(field, Numerical) and rng.random() < 0.7:
            field = Numerical(name, [None, "minmax", "log_squared"][rng.integers(3)])
            field = Numerical(name, bins=int(rng.integers(2, 6))) if rng.random() < 0.3 else field
        elif type(field) is Categorical and rng.random() < 0.5:
            field = Categorical(name, **[{"buckets": 7}, {"min_count": 2}][rng.integers(2)])
        elif isinstance(field, MultiValued) and rng.random() < 0.5:
            field = MultiValued(name, buckets=7)
        if rng.random() < 0.05:
            field = [Categorical, MultiValued, Numerical][rng.integers(3)](name)
        fields.append(field)
    return fields


def written_differently(rng, X):
    """The same table in other words: {how: table}."""
    as_objects = {name: objects(X[name]) for name in X}
    tables = {
        "other order of columns": X[rng.permutation(X.columns).tolist()],
        "other index": X.reset_index(drop=True),
        "more columns": X.assign(**{"more of it": objects([object()] * len(X))}),
        "dict": {name: X[name] for name in X},
        "objects": pd.DataFrame(as_objects),
        "dict of arrays": {name: column.to_numpy() for name, column in as_objects.items()},
    }
    categories = X.copy()
    for name in X:
        try:
            categories[name] = X[name].astype("category")
        except (TypeError, ValueError, NotImplementedError):      # lists; float16
            continue
    return tables | {"categories": categories}


def problems(rng, cls, X, y, c):
    """What breaks a promise in one fit and what follows, as a list of texts; and the outcome."""
    fields = fields_for(rng, X)
    made = {"fields": fields, "epochs": 1, "batch_size": int(rng.integers(1, 40)), "n_threads": 1,
            "shuffle_window": 1, **SIZES[cls]}
    try:
        model = cls(**made).fit(X, y, sample_weight=c)
    except Exception as error:
        why = why_unclear(error, list(X))
        return [f"fit: {why}"] if why else [], type(error).__name__
    found = []
    expected = model.decision_function(X)
    if not np.isfinite(expected).all():
        found.append("predictions that are not finite")
    if model.task_ == "binary" and not (model.predict_proba(X).sum(axis=1) - 1 < 1e-6).all():
        found.append("probabilities that do not add up to 1")
    for how, table in written_differently(rng, X).items():
        try:
            if not np.array_equal(model.decision_function(table), expected):
                found.append(f"other predictions for {how}")
        except Exception as error:
            found.append(f"{how}: {error!r}")
    specs = [encoder.spec for encoder in model.encoder_.encoders.values()]
    for how in ("dict of arrays", "other index"):
        again = cls(**made | {"fields": specs}).fit(written_differently(rng, X)[how], y, sample_weight=c)
        if not np.array_equal(again.decision_function(X), expected):
            found.append(f"another model from {how}")
    row = int(rng.integers(len(X)))
    size = 1 + np.abs(expected[row])
    if np.abs(model.decision_function(X[row:row + 1]) - expected[row])[0] > 1e-4 * size:
        found.append(f"row {row} alone is predicted otherwise")
    if cls.__name__ in ("LR", "AFM"):
        sums = explain.contributions(model, X, wide=True).sum(axis=1)
        if not np.allclose(sums, expected, atol=1e-4, rtol=1e-4):
            found.append("contributions that do not add up")
    return found + other_tables(rng, model, X), "right"


def other_tables(rng, model, X):
    """What breaks a promise where the fitted model meets tables that it was not fitted on."""
    found = []
    for _ in range(3):
        _, other = odd_table(rng, int(rng.integers(1, 20)), bad=0.3)
        table = X.iloc[rng.integers(0, len(X), len(other))].reset_index(drop=True)
        changed = X.columns[rng.integers(X.shape[1])]
        table[changed] = objects(other.iloc[:, 0])
        before = snapshot(table)
        try:
            s = model.decision_function(table)
            if not np.isfinite(s).all():
                found.append(f"not finite for {table[changed].tolist()} in {changed!r}")
        except Exception as error:
            why = why_unclear(error, [changed])
            if why:
                found.append(f"predicting for {table[changed].tolist()[:3]} in {changed!r}: {why}")
        if snapshot(table) != before:
            found.append("the table was changed by predicting")
    return found


@pytest.mark.long
def test_odd_tables():
    tally = Tally("odd tables")
    for seed in range(rounds(400)):
        rng = np.random.default_rng((1, seed))
        n = int(rng.integers(2, 40))
        kinds, X = odd_table(rng, n)
        targets = draw(rng, BAD_TARGETS if rng.random() < 0.1 else TARGETS)
        weights = draw(rng, BAD_WEIGHTS if rng.random() < 0.1 else WEIGHTS)
        y, c = (TARGETS | BAD_TARGETS)[targets](rng, n), (WEIGHTS | BAD_WEIGHTS)[weights](rng, n)
        cls = MODELS[rng.integers(len(MODELS))]
        before = snapshot(X), repr(y), repr(c)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", HARMLESS)
            try:
                found, outcome = problems(rng, cls, X, y, c)
            except Exception as error:
                found, outcome = [f"after fit: {error!r}"], None
        if (snapshot(X), repr(y), repr(c)) != before:
            found.append("the input was changed")
        if found:
            tally.fail(f"seed {seed}, {cls.__name__}, {kinds}, y {targets}, weights {weights}", "; ".join(found))
        else:
            tally.add(outcome)
    tally.check()
