"""Terms purified under the data's own weights: what the means are, that they vanish, and that the sum is the logit."""

import tracemalloc
import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import KINDS, VARIANTS, small
from tables import FIELDS, mixed_table

from minictr import AFM, FM, explain
from minictr.estimator.registry import offers
from minictr.explain import jointly_purified
from minictr.explain.jointly_purified import purify
from minictr.layers import parameters

NAMES = ["user", "hour", "price", "genres"]
FACTORED = [name for name in KINDS if offers(VARIANTS[name][0], "factors")]


def shaken(name, X, y, fields=FIELDS, seed=0, **settings):
    """A variant in float64 whose weights are large, so that no term is nearly 0."""
    model = small(name, fields, fields=fields, epochs=1, dtype="float64", **settings).fit(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


def dependent(n_rows=150, seed=0):
    """A table of few values whose fields depend on each other."""
    X, y = mixed_table(n_rows, seed)
    rng = np.random.default_rng(seed)
    X["hour"] = np.where(rng.random(n_rows) < 0.6, X["user"].map({"ann": 0, "bob": 1, "cem": 2, "dan": 0}), X["hour"])
    X["price"] = rng.integers(1, 4, n_rows) + (X["hour"] == 1) * 1.5
    return X, y


def canonical(X):
    """The same cells with the values of a multi-valued one in order."""
    return X.assign(genres=X["genres"].map(lambda cell: "|".join(sorted(cell.split("|")))))


@pytest.mark.parametrize("name", FACTORED)
def test_terms_have_mean_0_over_the_rows_that_agree_in_all_but_one_field(name):
    X, y = dependent()
    model = shaken(name, X, y)
    found = explain.contributions(model, X, wide=True, purified="joint")
    np.testing.assert_allclose(found.sum(axis=1), model.decision_function(X), atol=1e-10)
    cells = canonical(X)
    for term, *fields in found.columns:
        fields = [field for field in fields if field]
        if term not in ("field", "pair", "triple"):
            continue
        for field in fields:
            others = [other for other in fields if other != field]
            values = found[(term, *fields, *[""] * (found.columns.nlevels - 1 - len(fields)))]
            means = values.groupby([cells[other] for other in others]).mean() if others else values.mean()
            np.testing.assert_allclose(means, 0, atol=1e-8)
    assert {term for term, *_ in found.columns} >= {"bias", "field", "pair"}


def test_where_fields_are_independent_it_is_the_product_of_marginals():
    grid = pd.DataFrame(list(product(["ann", "bob"], [0, 1, 2], [1.0, 3.0], ["a", "a|b"])), columns=NAMES)
    model = shaken("HOFM", pd.concat([grid] * 2), np.arange(2 * len(grid)) % 2)
    pd.testing.assert_frame_equal(explain.contributions(model, grid, wide=True, purified="joint"),
                                  explain.contributions(model, grid, wide=True, purified=True), atol=1e-10)


def test_rows_of_which_the_background_holds_no_values_add_up_too():
    X, y = dependent(80)
    model = shaken("HOFM", X, y)
    background = X[(X["user"] != "ann") & (X["genres"] != "b")]
    found = explain.contributions(model, X, wide=True, purified="joint", background=background)
    np.testing.assert_allclose(found.sum(axis=1), model.decision_function(X), atol=1e-10)
    held = X.index.isin(background.index)
    alone = explain.contributions(model, background, wide=True, purified="joint")
    np.testing.assert_allclose(found[held], alone, atol=1e-8)     # what else is asked for changes nothing


def test_pair_importance_is_the_mean_size_of_these_terms():
    X, y = dependent()
    model = shaken("FM", X, y)
    terms = explain.contributions(model, X, wide=True, purified="joint")["pair"].abs()
    np.testing.assert_allclose(explain.pair_importance(model, X, purified="joint")["value"], terms.mean(), atol=1e-10)
    by = explain.pair_importance(model, X, by="user", purified="joint")
    ann = by[by["group"] == "ann"]
    np.testing.assert_allclose(ann["value"], terms[(X["user"] == "ann").to_numpy()].mean(), atol=1e-10)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10 ** 6))
@examples(60)
def test_a_table_loses_its_best_additive_fit_and_nothing_else(n, m, seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(n, m))
    joint = rng.integers(0, 3, (n, m)) + (rng.random((n, m)) < 0.5)
    joint[:, 0] += 1                                              # each value of both occurs, and all hang together
    joint[0] += 1
    weights = joint / joint.sum()
    pure, (of_columns, of_rows), left = purify(table, weights, [weights.sum(axis=1), weights.sum(axis=0)])
    assert left <= 1e-10
    np.testing.assert_allclose(pure + of_columns + of_rows[:, None], table, atol=1e-12)
    i, j = np.indices((n, m)).reshape(2, -1)                      # weighted least squares: one column for each value
    design = np.concatenate([np.eye(n)[i], np.eye(m)[j]], axis=1)
    root = np.sqrt(weights.ravel())
    fit = np.linalg.lstsq(design * root[:, None], table.ravel() * root, rcond=None)[0]
    residual = (table.ravel() - design @ fit).reshape(n, m)
    np.testing.assert_allclose(pure, residual, atol=1e-7)


def test_a_table_that_does_not_get_there_warns_and_still_adds_up(monkeypatch):
    monkeypatch.setattr(explain.jointly_purified, "ROUNDS", 2)
    X, y = dependent()
    model = shaken("FM", X, y)
    with pytest.warns(UserWarning, match=r"after 2 rounds the term of \w+ x \w+ still.*nearly determine"):
        found = explain.contributions(model, X, wide=True, purified="joint")
    np.testing.assert_allclose(found.sum(axis=1), model.decision_function(X), atol=1e-10)


def test_a_field_that_follows_from_another_leaves_their_pair_nothing():
    X, y = mixed_table(100)
    X["age"] = X["user"].map({"ann": 30, "bob": 40, "cem": 50, "dan": 30})
    model = shaken("FM", X, y, ["user", "age", "hour"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = explain.pair_importance(model, X, purified="joint").set_index(["field_i", "field_j"])["value"]
    assert table["user", "age"] < 1e-8 < explain.pair_importance(model, X, purified=True)["value"][0]


def test_the_order_of_values_in_a_cell_does_not_matter():
    X, y = dependent()
    model = shaken("FM", X, y)
    turned = X.assign(genres=X["genres"].map(lambda cell: "|".join(reversed(cell.split("|")))))
    one, other = (explain.contributions(model, table, wide=True, purified="joint") for table in (X, turned))
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_tables_that_are_too_large_and_terms_that_are_no_tables_are_refused(monkeypatch):
    X, y = dependent()
    model = shaken("FM", X, y)
    monkeypatch.setattr(explain.jointly_purified, "MAX_CELLS", 20)
    with pytest.raises(ValueError, match=r"at most 20 are held.*purified=True"):
        explain.contributions(model, X, purified="joint")
    with pytest.raises(ValueError, match="background has no rows"):
        explain.contributions(model, X, purified="joint", background=X[:0])
    afm = AFM(fields=FIELDS, epochs=1, embedding_dim=2, attention_dim=2).fit(X, y)
    with pytest.raises(TypeError, match="whole row"):
        explain.contributions(afm, X, purified="joint")


@pytest.mark.filterwarnings("ignore:after 1 rounds")
def test_tables_take_their_cells_and_not_a_vector_for_each_of_them(monkeypatch):
    """A table of 2^24 cells is 128 MB; its products one by one, of 16 numbers each, were 2 GB."""
    monkeypatch.setattr(jointly_purified, "ROUNDS", 1)
    n, k = 700, 16
    X = pd.DataFrame({"a": np.arange(n), "b": np.arange(n)[::-1]})
    model = FM(epochs=1, embedding_dim=k).fit(X, np.arange(n) % 2)
    tracemalloc.start()
    try:
        explain.contributions(model, X[:5], purified="joint", background=X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * n * n * 8 < k * n * n * 8
