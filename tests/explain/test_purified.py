"""Purified terms against the functional ANOVA by its definition, over every combination of the fields' values."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import KINDS, VARIANTS, blocks, small
from tables import FIELDS, mixed_table

from minictr import AFM, Numerical, explain
from minictr.estimator.registry import offers
from minictr.layers import parameters

NAMES = ["user", "hour", "price", "genres"]
FACTORED = [name for name in KINDS if offers(VARIANTS[name][0], "factors")]
every_factored = pytest.mark.parametrize("name", FACTORED)


def shaken(name, X, y, fields, seed=0, **settings):
    """A variant in float64 whose weights are large, so that no term is nearly 0."""
    model = small(name, fields, fields=fields, epochs=1, dtype="float64", **settings).fit(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


def few_numbers(n_rows=60, seed=0):
    """A table of all kinds of fields with few values of each, and missing ones."""
    X, y = mixed_table(n_rows, seed)
    X["price"] = np.random.default_rng(seed).choice([3.0, 10.5, np.nan], n_rows, p=[0.6, 0.3, 0.1])
    return X, y


def anova(model, X, background):
    """The functional ANOVA of what the terms of fields, pairs and triples add up to, by its definition: {fields: (N,)}.

    The function is tabled at every combination of values that the columns of X and of the background hold; a value
    weighs its share of the background.
    """
    columns = [pd.concat([background[name], X[name]], ignore_index=True) for name in NAMES]
    codes, levels = zip(*(pd.factorize(column, use_na_sentinel=False) for column in columns), strict=True)
    n, sizes = len(background), [len(level) for level in levels]
    weights = [np.bincount(code[:n], minlength=size) / n for code, size in zip(codes, sizes, strict=True)]
    grid = pd.DataFrame(list(product(*map(list, levels))), columns=NAMES)
    terms = explain.contributions(model, grid, wide=True)
    kept = terms.columns.get_level_values(0).isin(["bias", "field", "pair", "triple"])
    F = terms.loc[:, kept].sum(axis=1).to_numpy().reshape(sizes)
    parts = {}
    for size in range(5):
        for S in combinations(range(4), size):
            part = F
            for axis in set(range(4)) - set(S):
                part = np.average(part, axis=axis, weights=weights[axis])
                part = np.expand_dims(part, axis)
            parts[S] = part - sum(parts[T] for smaller in range(size) for T in combinations(S, smaller))
    at = [code[n:] for code in codes]
    return {tuple(NAMES[i] for i in S): part[tuple(at[i] if i in S else 0 for i in range(4))]
            for S, part in parts.items()}


@every_factored
def test_purified_terms_are_the_functional_anova_of_the_table_of_all_combinations(name):
    background, y = few_numbers()
    X = few_numbers(20, seed=1)[0]
    model = shaken(name, background, y, FIELDS)
    found = explain.contributions(model, X, wide=True, purified=True, background=background)
    expected = anova(model, X, background)
    for term, *fields in found.columns:
        if term in ("bias", "field", "pair", "triple"):
            parts = expected.pop(tuple(field for field in fields if field))
            np.testing.assert_allclose(found[(term, *fields)], np.broadcast_to(parts, len(X)), atol=1e-12)
    assert all(np.abs(parts).max() < 1e-12 for parts in expected.values())    # of more fields there is nothing


@given(st.sampled_from(FACTORED), st.integers(1, 40), st.integers(1, 40), st.integers(0, 10 ** 6))
@examples(40)
def test_purified_terms_add_up_to_the_logit_and_have_mean_0_over_each_field(name, n, n_background, seed):
    X = mixed_table(n + n_background, seed)[0]
    model = shaken(name, X, np.arange(len(X)) % 2, FIELDS, seed)
    X, background = X[:n], X[n:]
    found = explain.contributions(model, X, wide=True, purified=True, background=background)
    raw = explain.contributions(model, X, wide=True)
    size = 1 + np.abs(raw.to_numpy()).sum(axis=1).max()
    np.testing.assert_allclose(found.sum(axis=1), model.decision_function(X), atol=1e-12 * size)
    for field in NAMES:                                           # one row, with each of the background's values of it
        held = X.iloc[[0] * len(background)].assign(**{field: background[field].to_numpy()})
        terms = explain.contributions(model, held, wide=True, purified=True, background=background).mean()
        own = [column for column in terms.index if field in column[1:]]
        assert len(own) >= 4
        np.testing.assert_allclose(terms[own], 0, atol=1e-12 * size)


@pytest.mark.parametrize("name", [name for name in KINDS if blocks(name) and not blocks(name) & {"pairs", "triples"}])
def test_without_pairs_the_fields_are_centred_and_the_rest_stays(name):
    X, y = few_numbers()
    model = shaken(name, X, y, FIELDS)
    raw = explain.contributions(model, X, wide=True)
    found = explain.contributions(model, X, wide=True, purified=True)
    fields = raw.columns.get_level_values(0) == "field"
    np.testing.assert_allclose(found.loc[:, fields], raw.loc[:, fields] - raw.loc[:, fields].mean(), atol=1e-12)
    np.testing.assert_allclose(found["bias"].to_numpy().ravel(),
                               raw["bias"].to_numpy().ravel() + raw.loc[:, fields].mean().sum(), atol=1e-12)
    rest = raw.columns[~fields][1:]
    pd.testing.assert_frame_equal(found[rest], raw[rest])


@every_factored
def test_pair_importance_is_the_mean_size_of_the_purified_terms(name):
    X, y = mixed_table(100)
    model = shaken(name, X, y, FIELDS)
    background = X[:30]
    table = explain.pair_importance(model, X, purified=True, background=background)
    terms = explain.contributions(model, X, wide=True, purified=True, background=background)["pair"].abs()
    np.testing.assert_allclose(table["value"], terms.mean(), atol=1e-12)
    np.testing.assert_allclose(table["high"], np.percentile(terms, 95, axis=0), atol=1e-12)
    assert table.attrs["purified"] and terms.shape[1] == 6
    by = explain.pair_importance(model, X, by="hour", purified=True)
    assert by["group"].nunique() == 3


def test_chunks_of_any_size_give_the_same(monkeypatch):
    X, y = mixed_table(150)
    model = shaken("HOFM", X, y, FIELDS)
    whole = explain.contributions(model, X, wide=True, purified=True)
    monkeypatch.setattr(explain.summaries, "CHUNK_NUMBERS", 1)
    pd.testing.assert_frame_equal(explain.contributions(model, X, wide=True, purified=True), whole, rtol=1e-12)


def test_a_float32_model_and_a_regression_far_from_0_add_up_too():
    X, y = mixed_table(400)
    model = small("FM", fields=FIELDS, epochs=2).fit(X, 1e6 + X["price"] + y)
    found = explain.contributions(model, X, purified=True)
    np.testing.assert_allclose(found.groupby("row")["value"].sum(), model.decision_function(X), rtol=1e-9)
    assert found.loc[found["term"] == "bias", "value"].iloc[0] > 9e5


def test_two_fields_and_a_model_without_first_order_terms():
    X, y = mixed_table(200)
    for name, settings in (("HOFM", {}), ("FFM", {"first_order": False})):
        model = shaken(name, X, y, ["user", "hour"], **settings)
        found = explain.contributions(model, X, wide=True, purified=True)
        assert [column[0] for column in found.columns] == ["bias", "field", "field", "pair"]
        np.testing.assert_allclose(found.sum(axis=1), model.decision_function(X), atol=1e-12)


def test_a_term_that_depends_on_the_whole_row_cannot_be_purified():
    X, y = mixed_table(200)
    model = AFM(fields=FIELDS, epochs=1, embedding_dim=2, attention_dim=2).fit(X, y)
    for explainer in (explain.contributions, explain.pair_importance):
        with pytest.raises(TypeError, match=r"whole row.*FM, FFM, FwFM, HOFM and DeepFM can.*interaction_effects"):
            explainer(model, X, purified=True)


def test_what_makes_no_sense_is_refused():
    X, y = mixed_table(200)
    model = small("FM", fields=[*FIELDS[:2], Numerical("price")], epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="background has no rows"):
        explain.contributions(model, X[:0], purified=True)
    for explainer in (lambda rows: explain.contributions(model, rows, purified=True),
                      lambda rows: explain.shapley(model, rows)):
        explainer(X[:2])
        with pytest.raises(ValueError, match=r"one row, and compared with itself.*as background="):
            explainer(X[:1])
    with pytest.raises(ValueError, match="purified must be"):
        explain.contributions(model, X, purified="yes")
    with pytest.raises(ValueError, match="set purified=True"):
        explain.pair_importance(model, X, background=X)


def test_a_vector_that_all_values_of_a_field_share_is_in_no_purified_pair():
    X, y = mixed_table(300)
    model = shaken("FM", X, y, ["user", "hour"])
    before = [explain.pair_importance(model, X, purified=purified)["value"].item() for purified in (False, True)]
    model.embedding.params["V"][:model.encoder_.offsets[1]] += 5      # of every user: says nothing of a pair
    after = [explain.pair_importance(model, X, purified=purified)["value"].item() for purified in (False, True)]
    assert after[0] > 2 * before[0]
    np.testing.assert_allclose(after[1], before[1], rtol=1e-12)
