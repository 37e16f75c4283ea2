"""What is asked for in a way that cannot be answered: errors that say so."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from tables import FIELDS, mixed_table

from minictr import FM, explain


@pytest.fixture(scope="module")
def world():
    X, y = mixed_table(80, 0)
    return FM(fields=FIELDS, epochs=1, embedding_dim=4).fit(X, y), X


@pytest.mark.parametrize("ask", [explain.importance, explain.shapley,
                                 lambda model, X: explain.pair_importance(model, X, purified=True),
                                 lambda model, X: explain.contributions(model, X, purified=True)])
def test_one_row_compared_with_itself_alone_is_refused(world, ask):
    with pytest.raises(ValueError, match="X has one row, and compared with itself alone"):
        ask(world[0], world[1][:1])


@pytest.mark.parametrize("source", ["terms", "scores"])
@pytest.mark.parametrize("ask", [lambda *args, **options: explain.pair_values(*args, "user", "hour", **options),
                                 lambda *args, **options: explain.field_values(*args, "user", **options)])
def test_values_of_one_row_are_not_compared_with_themselves_alone(world, ask, source):
    """Less their mean over that row, all of them would be 0."""
    model, X = world
    with pytest.raises(ValueError, match=r"X has one row, and compared with itself alone .* as X$"):
        ask(model, X[:1], source=source)
    table = ask(model, X[:1], source="terms", purified=False)
    assert len(table) == 1 and table["term"].abs().item() > 0


def test_one_row_is_ranked_beside_a_background_or_as_it_is(world):
    model, X = world
    assert (explain.importance(model, X[:1], background=X)["value"] > 0).any()
    assert (explain.importance(model, X[:1], purified=False)["value"] > 0).any()
    assert (explain.pair_importance(model, X[:1], purified=True, background=X)["value"] > 0).all()


def test_words_and_numbers_in_a_list_are_refused_as_others(world):
    with pytest.raises(ValueError, match=r"order must be 1, for fields, or 2, for fields and pairs, got \[1\]"):
        explain.shapley(*world, order=[1])
    with pytest.raises(ValueError, match="average must be one of"):
        explain.interaction_effects(*world, average=["mean square"])


def test_a_background_that_is_no_table_is_not_taken_for_a_model_without_pure_terms(world):
    with pytest.raises(TypeError, match="DataFrame") as error:
        explain.importance(*world, background=5)
    assert "purified=False" not in str(error.value)


@pytest.mark.parametrize("ask", [
    explain.importance, explain.shapley,
    lambda model, X, **options: explain.contributions(model, X, purified=True, **options),
    lambda model, X, **options: explain.pair_importance(model, X, purified="joint", **options),
    lambda model, X, **options: explain.one_prediction(model, X[:1], **options)])
def test_a_number_is_no_background_of_rows(world, ask):
    with pytest.raises(TypeError, match=r"background is a table of rows here, .* got 200; .* X.sample\(200\)"):
        ask(*world, background=200)


@pytest.mark.parametrize("ask", [
    explain.interaction_effects, lambda model, X, **options: explain.field_values(model, X, "user", **options),
    lambda model, X, **options: explain.pair_values(model, X, "user", "hour", **options)])
def test_rows_are_no_number_of_rows_to_draw(world, ask):
    model, X = world
    with pytest.raises(TypeError, match="background is a number here, of the rows of X to draw, got a DataFrame;"):
        ask(model, X, background=X)
    with pytest.raises(ValueError, match=r"background must be a whole number of at least [12], got 0"):
        ask(model, X, background=0)


@pytest.mark.parametrize("column", ["user", "price"])
def test_a_table_to_count_support_in_has_all_fields(world, column):
    model, X = world
    with pytest.raises(ValueError, match=f"column '{column}' was in fit but is missing here"):
        explain.contributions(model, X[:2], support=X.drop(columns=column))


def test_a_table_to_count_support_in_holds_numbers_where_the_model_does(world):
    model, X = world
    with pytest.raises(ValueError, match="column 'price', row 0: 'cheap' is not a number"):
        explain.contributions(model, X[:2], support=X.assign(price="cheap"))


def test_values_of_a_field_do_not_take_all_terms_of_each_into_memory():
    """Of 100,000 values the terms of 1,000 pairs were 800 MB."""
    rng, n = np.random.default_rng(0), 16_000
    X = pd.DataFrame({"user": range(n)} | {f"field {i}": rng.integers(0, 3, n) for i in range(40)})
    model = FM(epochs=1, embedding_dim=2).fit(X, rng.integers(0, 2, n))
    all_terms = n * 41 * 42 / 2 * 8
    tracemalloc.start()
    try:
        explain.field_values(model, X, "user")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < all_terms / 2


@pytest.mark.parametrize("ask", [
    explain.importance, explain.shapley, explain.contributions, explain.pair_importance,
    lambda model, X: explain.field_values(model, X, "user"),
    lambda model, X: explain.pair_values(model, X, "user", "hour"),
    lambda model, X: explain.refits(model, X, np.zeros(len(X)))])
@pytest.mark.parametrize("model", [5, FM, np.sum])
def test_what_is_no_model_is_refused(world, ask, model):
    with pytest.raises(TypeError, match="expected a fitted model of minictr, got a "):
        ask(model, world[1])


def test_a_group_of_fields_is_a_list(world):
    with pytest.raises(ValueError, match="group 'a' must be a list of fields, got int"):
        explain.importance(*world, groups={"a": 5})


def test_values_called_like_missing_and_unknown_ones_are_told_apart():
    X = pd.DataFrame({"a": ["(missing)", None, "(unknown)", "b"] * 10, "b": ["u", "v", "u", "(missing)"] * 10})
    model = FM(epochs=1).fit(X, np.arange(40) % 2)
    X = pd.concat([X, pd.DataFrame({"a": ["new"], "b": ["u"]})], ignore_index=True)
    table = explain.field_values(model, X, "a")
    assert table["value"].tolist() == ["'(missing)'", "'(unknown)'", "b", "(missing)", "(unknown)"]
    pairs = explain.pair_values(model, X, "a", "b")
    assert pairs.attrs["rows_i"] == {"'(missing)'": 10, "'(unknown)'": 10, "b": 10, "(missing)": 10, "(unknown)": 1}
    assert not pairs.duplicated(["value_i", "value_j"]).any()


def test_a_value_called_like_the_others_is_told_apart_from_them():
    X = pd.DataFrame({"a": ["(2 others)"] * 20 + ["b"] * 10 + ["c"] * 6 + ["d"] * 4, "b": ["u", "v"] * 20})
    model = FM(epochs=1).fit(X, np.arange(40) % 2)
    assert explain.field_values(model, X, "a", top=2)["value"].tolist() == ["'(2 others)'", "b", "(2 others)"]
    assert explain.field_values(model, X, "a")["value"].tolist() == ["(2 others)", "b", "c", "d"]
    table = explain.pair_values(model, X, "a", "b", top=2)
    assert table.attrs["rows_i"] == {"'(2 others)'": 20, "b": 10, "(2 others)": 10}


@pytest.mark.parametrize("name, wrong", [("order", np.array([1, 2])), ("purified", np.array([True, False]))])
def test_an_array_where_one_word_is_expected_is_refused_by_name(world, name, wrong):
    ask = explain.shapley if name == "order" else explain.importance
    with pytest.raises(ValueError, match=f"{name} must be .*, got array"):
        ask(*world, **{name: wrong})
