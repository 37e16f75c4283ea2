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
