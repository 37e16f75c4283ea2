"""Shapley values and interactions in closed form, against their definitions over all sets of fields."""

import math
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from models import small
from tables import FIELDS, mixed_table

from minictr import AFM, AutoInt, explain, plots
from minictr.layers import parameters

NAMES = ["user", "hour", "price", "genres"]
CLOSED = ["LR", "FM", "FFM", "FwFM", "HOFM"]


def shaken(name, X, y, fields=FIELDS, **settings):
    """A variant in float64 whose weights are large, so that no term is nearly 0."""
    model = small(name, fields, fields=fields, epochs=1, dtype="float64", **settings).fit(X, y)
    rng = np.random.default_rng(1)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


def few_numbers(n_rows, seed):
    X, y = mixed_table(n_rows, seed)
    X["price"] = np.random.default_rng(seed).choice([3.0, 10.5, np.nan], n_rows, p=[0.6, 0.3, 0.1])
    return X, y


def sets(players):
    return [frozenset(S) for size in range(len(players) + 1) for S in combinations(players, size)]


def game_of_marginals(model, row, background):
    """v(S) of a row: the mean logit over all combinations of values of the fields outside S, each with its weight."""
    v = {}
    for S in sets(NAMES):
        counts = [background[name].value_counts(normalize=True, dropna=False) if name not in S
                  else pd.Series([1.0], index=[row[name]]) for name in NAMES]
        grid = pd.DataFrame(list(product(*(count.index for count in counts))), columns=NAMES)
        weights = [np.prod(combination) for combination in product(*(count.to_numpy() for count in counts))]
        v[S] = np.average(model.decision_function(grid.astype({"price": float})), weights=weights)
    return v


def game_of_rows(model, row, background):
    """v(S) of a row: the mean logit over the rows of the background, with the row's values in S."""
    return {S: model.decision_function(background.assign(**{name: row[name] for name in S})).mean()
            for S in sets(NAMES)}


def interaction(v, T):
    """The Shapley interaction index of the fields T by its definition; of one field, its Shapley value."""
    M, t, total = len(NAMES), len(T), 0.0
    for S in sets([name for name in NAMES if name not in T]):
        weight = math.factorial(M - len(S) - t) * math.factorial(len(S)) / math.factorial(M - t + 1)
        total += weight * sum((-1) ** (t - len(L)) * v[S | L] for L in sets(T))
    return total


def expected(v, order):
    """{fields: number}; of order 2, a field has its Shapley value less half of its pairs' interactions."""
    single, pairs = {(i,): interaction(v, (i,)) for i in NAMES}, {}
    if order == 2:
        pairs = {pair: interaction(v, pair) for pair in combinations(NAMES, 2)}
        single = {(i,): value - sum(pairs[pair] for pair in pairs if i in pair) / 2 for (i,), value in single.items()}
    return {(): v[frozenset()]} | single | pairs


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_is_the_definition(name, order):
    background, y = few_numbers(40, 0)
    X = few_numbers(3, 1)[0]
    model = shaken(name, background, y)
    table = explain.shapley(model, X, order=order, background=background, wide=True)
    found = {tuple(filter(None, column[1:])): table[column] for column in table}
    for n in range(len(X)):
        definition = expected(game_of_marginals(model, X.iloc[n], background), order)
        assert found.keys() == definition.keys()
        for fields, value in definition.items():
            assert found[fields][n] == pytest.approx(value, abs=1e-11), fields
    np.testing.assert_allclose(table.sum(axis=1), model.decision_function(X), atol=1e-11)


@pytest.mark.parametrize("name", ["FM", "FFM", "FwFM"])
def test_less_their_mean_they_are_those_of_whole_rows_of_the_background(name):
    background, y = mixed_table(30, 0)
    background["hour"] = np.where(background["user"] == "ann", 1, background["hour"])     # fields depend on one another
    X = mixed_table(3, 1)[0]
    model = shaken(name, background, y)
    there = explain.shapley(model, background, wide=True)["field"].mean()
    found = explain.shapley(model, X, background=background, wide=True)["field"] - there
    assert there.abs().max() > 0.01
    for n in range(len(X)):
        v = game_of_rows(model, X.iloc[n], background)
        np.testing.assert_allclose(found.iloc[n], [interaction(v, (field,)) for field in NAMES], atol=1e-11)


@pytest.mark.parametrize("name", ["FM", "FFM", "FwFM"])
def test_without_triples_order_2_is_the_purified_terms(name):
    X, y = mixed_table(60)
    model = shaken(name, X, y)
    columns = ["row", "term", "field_i", "field_j", "value"]
    pd.testing.assert_frame_equal(explain.shapley(model, X, order=2)[columns],
                                  explain.contributions(model, X, purified=True)[columns], rtol=1e-12)


def test_chunks_of_any_size_give_the_same(monkeypatch):
    X, y = mixed_table(100)
    model = shaken("HOFM", X, y)
    whole = explain.shapley(model, X, order=2)
    monkeypatch.setattr(explain.summaries, "CHUNK_NUMBERS", 1)
    pd.testing.assert_frame_equal(explain.shapley(model, X, order=2), whole, rtol=1e-12)


def test_two_fields_a_regression_and_a_picture():
    X, y = mixed_table(200)
    for name, settings in (("FFM", {"first_order": False}), ("HOFM", {}), ("LR", {})):
        target = y if settings else 1e6 + X["price"]
        model = small(name, ["user", "hour"], fields=["user", "hour"], epochs=1, **settings).fit(X, target)
        for order in (1, 2):
            table = explain.shapley(model, X, order=order)
            np.testing.assert_allclose(table.groupby("row")["value"].sum(), model.decision_function(X), rtol=1e-6)
            assert list(table["term"][:4]) == ["bias", "field", "field", "bias" if order == 1 else "pair"]
    assert table.attrs["unit"] == "units of the target"
    ax = plots.waterfall(table, row=0)
    assert ax.get_yticklabels()[0].get_text() == "bias"
    assert plots.beeswarm(table).get_xlabel().startswith("Shapley values and interactions (units of the target)")


def test_what_has_no_closed_form_is_refused():
    X, y = mixed_table(100)
    with pytest.raises(TypeError, match=r"DeepFM has a term 'deep part'.*purified=True"):
        explain.shapley(small("DeepFM", fields=FIELDS, epochs=1).fit(X, y), X)
    with pytest.raises(TypeError, match="whole row"):
        explain.shapley(AFM(fields=FIELDS, epochs=1, embedding_dim=2, attention_dim=2).fit(X, y), X)
    with pytest.raises(TypeError, match="AutoInt"):
        explain.shapley(AutoInt(fields=FIELDS, epochs=1, embedding_dim=2).fit(X, y), X)
    model = shaken("FM", X, y)
    for order in (0, 3, True, None):
        with pytest.raises(ValueError, match="order must be 1, for fields, or 2"):
            explain.shapley(model, X, order=order)
    with pytest.raises(ValueError, match="background has no rows"):
        explain.shapley(model, X, background=X[:0])
