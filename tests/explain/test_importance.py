"""Fields, pairs and triples in one list: sizes, shares of the variance, groups."""

import numpy as np
import pandas as pd
import pytest
from models import KINDS, VARIANTS, blocks, small
from tables import FIELDS, mixed_table

from minictr import AFM, FM, LR, AutoInt, Categorical, explain
from minictr.estimator.registry import offers
from minictr.layers import parameters

NAMES = ["user", "hour", "price", "genres"]
PURE = [name for name in KINDS if blocks(name) and (offers(VARIANTS[name][0], "factors")
                                                    or not blocks(name) & {"pairs", "triples"})]


def shaken(name, X, y, fields=FIELDS, **settings):
    """A variant in float64 whose weights are large, so that no term is nearly 0."""
    model = small(name, fields, fields=fields, epochs=1, dtype="float64", **settings).fit(X, y)
    rng = np.random.default_rng(1)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


def wide(model, X, **settings):
    """The terms of each row, but for the bias: {(term, fields...): (N,)}, each tuple without its empty names."""
    table = explain.contributions(model, X, wide=True, **settings)
    return {tuple(filter(None, column)): table[column].to_numpy() for column in table.columns[1:]}


def by_key(table):
    """The lines of a table of importance by term and fields."""
    columns = [column for column in ("term", "field_i", "field_j", "field_l") if column in table]
    return {tuple(part for part in key if part is not None): line
            for key, (_, line) in zip(table[columns].itertuples(index=False, name=None), table.iterrows(), strict=True)}


@pytest.mark.parametrize("name", PURE)
def test_sizes_and_shares_are_those_of_the_purified_terms(name):
    X, y = mixed_table(300)
    background = mixed_table(150, seed=3)[0]
    model = shaken(name, X, y)
    table = explain.importance(model, X, background=background)
    terms = wide(model, X, purified=True, background=background)
    there = wide(model, background, purified=True, background=background)
    s = model.decision_function(X)
    found = by_key(table)
    assert found.keys() == terms.keys()
    for key, values in terms.items():
        sizes = np.abs(values if len(key) > 1 else values - there[key].mean())
        line = found[key]
        np.testing.assert_allclose([line["value"], line["low"], line["high"]],
                                   [sizes.mean(), *np.percentile(sizes, [5, 95])], atol=1e-10)
        np.testing.assert_allclose(line["share"], np.cov(values, s, bias=True)[0, 1] / s.var(), atol=1e-10)
    assert table["share"].sum() == pytest.approx(1, abs=1e-12)
    assert (np.diff(table["value"]) <= 0).all()
    assert table.attrs["fields"] == NAMES and table.attrs["purified"] and table.attrs["note"] is None


@pytest.mark.parametrize("name", ["HOFM", "DeepFM"])
def test_terms_purified_under_joint_weights(name):
    X, y = mixed_table(200)
    X["price"] = X["price"].round(-1)
    background = X[50:]
    model = shaken(name, X, y)
    table = explain.importance(model, X, purified="joint", background=background)
    terms, s = wide(model, X, purified="joint", background=background), model.decision_function(X)
    found = by_key(table)
    assert found.keys() == terms.keys() and table.attrs["purified"] == "joint"
    for key, values in terms.items():
        if len(key) > 1:
            assert found[key]["value"] == pytest.approx(np.abs(values).mean(), abs=1e-10)
        assert found[key]["share"] == pytest.approx(np.cov(values, s, bias=True)[0, 1] / s.var(), abs=1e-10)


def test_chunks_of_any_size_give_the_same(monkeypatch):
    X, y = mixed_table(150)
    model = shaken("HOFM", X, y)
    whole = explain.importance(model, X)
    monkeypatch.setattr(explain.summaries, "CHUNK_NUMBERS", 1)
    pd.testing.assert_frame_equal(explain.importance(model, X), whole, rtol=1e-10)


@pytest.mark.parametrize("name", ["HOFM", "AFM", "DeepFM"])
def test_raw_terms_where_they_are_asked_for(name):
    X, y = mixed_table(200)
    model = shaken(name, X, y)
    found, s = by_key(explain.importance(model, X, purified=False)), model.decision_function(X)
    for key, values in wide(model, X).items():
        assert found[key]["value"] == pytest.approx(np.abs(values).mean(), abs=1e-10)
        assert found[key]["share"] == pytest.approx(np.cov(values, s, bias=True)[0, 1] / s.var(), abs=1e-10)


@pytest.mark.parametrize("name", ["HOFM", "DeepFM"])
def test_groups_are_sums_of_the_terms_within_and_across(name):
    X, y = mixed_table(300)
    model = shaken(name, X, y)
    terms, s = wide(model, X, purified=True), model.decision_function(X)
    groups = {"who": ["genres", "user"], "when": ["hour"]}
    label = {"user": "who", "genres": "who", "hour": "when", "price": "price"}
    expected = {}
    for key, values in terms.items():
        mine = sorted({label[field] for field in key[1:]}, key=["who", "when", "price"].index)
        kind = ["field", "pair", "triple"][len(mine) - 1] if mine else key[0]
        kind = "group" if mine in (["who"], ["when"]) else kind
        expected[(kind, *mine)] = expected.get((kind, *mine), 0) + (values if mine else values - values.mean())
    table = explain.importance(model, X, groups=groups)
    found = by_key(table)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key]["value"] == pytest.approx(np.abs(values).mean(), abs=1e-10)
        assert found[key]["share"] == pytest.approx(np.cov(values, s, bias=True)[0, 1] / s.var(), abs=1e-10)
    assert table["share"].sum() == pytest.approx(1, abs=1e-12)
    assert table.attrs["fields"] == ["who", "when", "price"]


def test_all_fields_in_one_group_are_the_whole_logit():
    X, y = mixed_table(300)
    table = explain.importance(shaken("FM", X, y), X, groups={"all": NAMES})
    assert table[["term", "field_i"]].to_numpy().tolist() == [["group", "all"]]
    assert table["share"].item() == pytest.approx(1)


@pytest.mark.parametrize(("groups", "message"), [
    (["user"], "groups must be a dict"), ({"who": []}, "'who' has no fields"), ({"who": ["age"]}, "'age', which is no"),
    ({"who": ["user"], "when": ["hour", "user"]}, "'user' is in group 'who' and in group 'when'"),
    ({"who": ["user", "user"]}, "twice in one"), ({"hour": ["user"]}, "'hour' is a group, and a field that is not in"),
])
def test_groups_that_make_no_sense_are_refused(groups, message):
    X, y = mixed_table(100)
    with pytest.raises(ValueError, match=message):
        explain.importance(shaken("FM", X, y), X, groups=groups)


def test_a_group_may_be_called_like_a_field_in_it():
    X, y = mixed_table(200)
    table = explain.importance(shaken("FM", X, y), X, groups={"user": "user", "hour": ["hour", "price"]})
    assert set(table["term"]) == {"group", "field", "pair"} and len(table) == 6


def test_fields_that_work_against_each_other_have_a_negative_share():
    rng = np.random.default_rng(0)
    phone = rng.random(4_000) < 0.5
    X = pd.DataFrame({"phone": phone.astype(int), "evening": (phone ^ (rng.random(4_000) < 0.1)).astype(int)})
    model = LR(fields=[Categorical("phone"), Categorical("evening")], epochs=1, dtype="float64").fit(X, phone)
    model.linear.params["w"][...] = 0
    for (field, value), weight in {("phone", 1): -2.0, ("evening", 1): 1.0}.items():
        names = model.encoder_.feature_names(field)
        start = model.encoder_.offsets[model.encoder_.field_names.index(field)]
        model.linear.params["w"][start + names.index(str(value))] = weight
    share = explain.importance(model, X).set_index("field_i")["share"]
    a, b = X["phone"] * -2.0, X["evening"] * 1.0
    expected = np.cov(b, a + b, bias=True)[0, 1] / np.var(a + b)
    assert share["evening"] == pytest.approx(expected) and share["evening"] < -0.3
    assert share["phone"] == pytest.approx(1 - expected)


def test_where_there_is_no_variance_there_are_no_shares_but_sizes():
    X, y = mixed_table(200)
    for model, rows in ((shaken("FM", X, y), X[:1]), (shaken("FM", X, y), X.iloc[[3] * 50]),
                        (small("DeepFM", fields=FIELDS, epochs=1).fit(X, y), X.iloc[[3] * 5_000])):
        table = explain.importance(model, rows, background=X)
        assert table["share"].isna().all() and (table["value"] > 0).all()
        assert "same in every row" in table.attrs["note"]


def test_one_field_has_all_of_the_variance():
    X, y = mixed_table(200)
    table = explain.importance(LR(fields=["user"], epochs=1).fit(X, y), X)
    assert table[["term", "field_i"]].to_numpy().tolist() == [["field", "user"]]
    assert table["share"].item() == 1 and list(table) == ["term", "field_i", "field_j", "value", "low", "high", "share"]


def test_a_regression_far_from_0_has_shares_too():
    X, y = mixed_table(400)
    table = explain.importance(FM(fields=FIELDS, epochs=2).fit(X, 1e6 + X["price"] + y), X)
    assert table["share"].sum() == pytest.approx(1) and table.attrs["unit"] == "mean |term| (units of the target)"


def test_models_without_such_terms_and_tables_without_rows_are_refused():
    X, y = mixed_table(200)
    with pytest.raises(TypeError, match=r"whole row.*purified=False\) ranks the terms as they are"):
        explain.importance(AFM(fields=FIELDS, epochs=1, embedding_dim=2, attention_dim=2).fit(X, y), X)
    with pytest.raises(TypeError, match="AutoInt"):
        explain.importance(AutoInt(fields=FIELDS, epochs=1, embedding_dim=2).fit(X, y), X)
    model = shaken("FM", X, y)
    with pytest.raises(ValueError, match="no rows"):
        explain.importance(model, X[:0])
    with pytest.raises(ValueError, match="X has no rows"):
        explain.importance(model, X[:0], background=X)
    with pytest.raises(ValueError, match="set purified=True"):
        explain.importance(model, X, purified=False, background=X)
