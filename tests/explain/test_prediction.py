"""One prediction explained: its terms, what would change it, its attention, and the text, against brute force."""

import re

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import ATTENDING, MODELS, attention_of, blocks, every_model, small
from tables import FIELDS, mixed_table

from minictr import FM, Categorical, MultiValued, NotFittedError, Numerical, explain
from minictr.explain import prediction as module
from minictr.layers import parameters, sigmoid


def shaken(name, fields=FIELDS, task="binary", seed=0):
    """A model with weights so large that no effect is nearly 0."""
    X, y = mixed_table(200)
    model = small(name, fields, fields=fields, epochs=1, dtype="float64")
    model.fit(X, y if task == "binary" else X["price"])
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.5, array.shape)
    return model


def predicted(model, X):
    s = model.decision_function(X)
    return sigmoid(s) if model.task_ == "binary" else s


def explained(model, row=3, n_rows=60, **options):
    X, _ = mixed_table(n_rows, seed=1)
    return explain.one_prediction(model, X[row:row + 1], background=X, **options), X, X[row:row + 1]


# ---- terms -------------------------------------------------------------------------------------------------

@every_model
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_terms_lead_from_the_average_to_the_prediction(name, task):
    model = shaken(name, task=task)
    explanation, X, one = explained(model)
    terms = explanation.terms
    more = ["field_l"] if "triples" in blocks(name) else []
    assert terms.columns.tolist() == ["row", "term", "field_i", "field_j", *more, "value", "rows"]
    assert terms["value"].sum() == pytest.approx(model.decision_function(one)[0])
    assert terms["term"].iloc[0] == "average"
    assert terms["value"].iloc[0] == pytest.approx(model.decision_function(X).mean())
    assert explanation.prediction == pytest.approx(predicted(model, one)[0])
    assert explanation.average == pytest.approx(predicted(model, X).mean())
    assert terms.attrs["task"] == task and terms.attrs["exact"] == bool(blocks(name))
    assert terms.attrs["unit"] == ("log-odds" if task == "binary" else "units of the target")
    assert explanation.unit == ("probability" if task == "binary" else "units of the target")
    assert terms["value"][1:].abs().max() > 0.05


@pytest.mark.parametrize("name", [name for name in MODELS if blocks(name)])
def test_terms_are_contributions_less_their_mean_over_the_background(name):
    model = shaken(name)
    explanation, X, _ = explained(model)
    each = explain.contributions(model, X, wide=True)
    np.testing.assert_allclose(explanation.terms["value"][1:], (each.iloc[3] - each.mean())[1:], atol=1e-12)
    own = explain.contributions(model, X[3:4])
    assert explanation.terms[["term", "field_i", "field_j"]][1:].equals(own[["term", "field_i", "field_j"]][1:])


def test_terms_of_an_autoint_are_mean_changes_of_one_field_alone():
    model = shaken("AutoInt")
    explanation, X, one = explained(model)
    s, total = model.decision_function(one)[0], 0.0
    terms = explanation.terms.set_index("field_i")["value"]
    for field in X:
        replaced = pd.concat([one] * len(X), ignore_index=True)
        replaced[field] = X[field].to_numpy()
        expected = s - model.decision_function(replaced).mean()
        assert terms[field] == pytest.approx(expected)
        total += expected
    assert explanation.terms["term"].tolist() == ["average", *["field"] * 4, "together"]
    assert explanation.terms["value"].iloc[-1] == pytest.approx(s - model.decision_function(X).mean() - total)


def test_a_row_may_hold_more_values_than_any_of_the_background_and_fewer():
    model = shaken("AutoInt")
    X, _ = mixed_table(60, seed=1)
    for cell, others in (("a|b|c|a|b|c", "a"), ("a", "a|b|c")):
        one = X[:1].assign(genres=cell)
        explanation = explain.one_prediction(model, one, background=X.assign(genres=others))
        assert explanation.terms["value"].sum() == pytest.approx(model.decision_function(one)[0])


# ---- counterfactuals ---------------------------------------------------------------------------------------

@every_model
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_counterfactuals_are_predictions_with_one_value_exchanged(name, task):
    model = shaken(name, task=task)
    explanation, X, one = explained(model, threshold=0.4)
    table = explanation.counterfactuals
    assert table.columns.tolist() == ["field", "now", "instead", "share", "prediction", "change", "crosses"]
    assert table["field"].unique().tolist() == list(X)
    now = predicted(model, one)[0]
    for line in table.itertuples():
        values = X[line.field]
        if line.field == "price":
            (value,) = (q for q in np.quantile(values, module.QUANTILES) if f"{q:.4g}" == line.instead)
            assert np.isnan(line.share)
        else:
            value = next(v for v in values.unique() if str(v) == line.instead)
            assert line.share == pytest.approx((values == value).mean())
        assert line.now == str(one[line.field].iloc[0]) or line.field == "price"
        then = predicted(model, one.assign(**{line.field: [value]}))[0]
        assert line.prediction == pytest.approx(then) and line.change == pytest.approx(then - now)
        assert line.crosses == (task == "binary" and (then >= 0.4) != (now >= 0.4))
    for field in ("user", "hour", "genres"):
        tried = set(table[table["field"] == field]["instead"]) | {str(one[field].iloc[0])}
        assert tried == set(X[field].astype(str))
    assert table.attrs["threshold"] == (0.4 if task == "binary" else None)


def test_values_that_mean_the_same_to_the_model_are_not_tried():
    model = shaken("FM", fields=[Categorical("user", buckets=1), *FIELDS[1:]])
    explanation, _, one = explained(model)
    assert "user" not in set(explanation.counterfactuals["field"])         # one bucket holds all users
    genres = explain.one_prediction(model, one.assign(genres="b|a"), background=one.assign(genres="a|b"))
    assert genres.counterfactuals.empty and "no other value" in str(genres)


def test_binned_numbers_are_tried_bin_by_bin():
    model = shaken("FM", fields=["user", Numerical("price", bins=[8, 10, 12])])
    explanation, X, one = explained(model)
    lines = explanation.counterfactuals.query("field == 'price'")
    bins = ["< 8", "8 to < 10", "10 to < 12", ">= 12"]
    mine = np.searchsorted([8, 10, 12], one["price"].iloc[0], side="right")
    assert lines["instead"].tolist() == [name for k, name in enumerate(bins) if k != mine]
    share = np.bincount(np.searchsorted([8, 10, 12], X["price"], side="right")) / len(X)
    np.testing.assert_allclose(lines["share"], np.delete(share, mine))


@pytest.mark.parametrize("cells", ["text", "tuples", "lists", "sets"])
def test_multi_valued_cells_are_tried_as_they_occur(cells):
    make = {"text": lambda cell: cell, "tuples": lambda cell: tuple(cell.split("|")),
            "lists": lambda cell: cell.split("|"), "sets": lambda cell: frozenset(cell.split("|"))}[cells]
    X, y = mixed_table(80)
    X["genres"] = [make(cell) for cell in X["genres"]]
    model = FM(fields=["user", MultiValued("genres")], epochs=1).fit(X, y)
    explanation = explain.one_prediction(model, X[:1], background=X)
    assert len(explanation.counterfactuals.query("field == 'genres'")) == 4
    assert explanation.values["genres"].count("|") == mixed_table(80)[0]["genres"][0].count("|")


def test_missing_and_unseen_values_are_explained():
    model = shaken("FM")
    X, _ = mixed_table(60, seed=1)
    X.loc[::4, ["user", "price", "genres"]] = [None, np.nan, None]
    X.loc[1, "user"] = "eve"
    explanation = explain.one_prediction(model, X[:1], background=X)
    assert explanation.values["user"] == explanation.values["price"] == "(missing)"
    assert "(missing)" not in set(explanation.counterfactuals.query("field == 'user'")["instead"])
    explanation = explain.one_prediction(model, X[1:2], background=X)
    assert {"(missing)"} <= set(explanation.counterfactuals.query("field == 'user'")["instead"])
    assert explanation.counterfactuals.query("field == 'genres' and instead == '(missing)'")["share"].item() == 0.25
    nothing = explain.one_prediction(model, X[:1], background=X.assign(price=np.nan))
    assert "price" not in set(nothing.counterfactuals["field"])


def test_the_background_is_bounded(monkeypatch):
    model = shaken("AutoInt")
    monkeypatch.setattr(module, "BACKGROUND_ROWS", 20)
    monkeypatch.setattr(module, "REPLACED_ROWS", 10)
    monkeypatch.setattr(module, "MAX_VALUES", 2)
    explanation, X, one = explained(model, n_rows=60)
    some = X[::3]
    assert explanation.average == pytest.approx(predicted(model, some).mean())
    replaced = pd.concat([one] * 10, ignore_index=True).assign(user=some["user"].to_numpy()[::2])
    expected = model.decision_function(one)[0] - model.decision_function(replaced).mean()
    assert explanation.terms.set_index("field_i")["value"]["user"] == pytest.approx(expected)
    assert (explanation.counterfactuals.groupby("field").size().drop("price") <= 2).all()


# ---- attention and text ------------------------------------------------------------------------------------

def test_attention_is_that_of_the_row():
    for name, options in (("AFM", {}), ("AutoInt", {"layers": "rollout"})):
        model = shaken(name)
        explanation, _, one = explained(model)
        expected = explain.attention(model, one, **options)
        np.testing.assert_allclose(explanation.attention["value"], expected["value"])
        np.testing.assert_allclose(explanation.attention["uniform"], expected["uniform"])
    assert explained(shaken("FM"))[0].attention is None


@every_model
def test_the_text_says_what_the_tables_hold(name):
    explanation, _, _ = explained(shaken(name), threshold=0.5)
    text = str(explanation)
    assert text == repr(explanation) == explanation.text()
    assert f"Predicted probability {explanation.prediction:.4g}" in text and f"{explanation.average:.4g}" in text
    assert f"user = {explanation.values['user']}" in text
    strongest = explanation.counterfactuals.iloc[explanation.counterfactuals["change"].abs().argmax()]
    first = text.split("changes most:\n")[1].splitlines()[0]
    assert f"with {strongest['field']} = {strongest['instead']} instead of {strongest['now']}" in first
    assert ("To the other side of 0.5" in text) == explanation.counterfactuals["crosses"].any()
    assert ("exact sum" in text) == bool(blocks(name))
    assert ("looked" in text) == (name in ATTENDING) and ("residuals" in text) == ("layer 1" in attention_of(name))
    assert "others (" in explanation.text(top=1) and max(map(len, text.splitlines())) < 160


def test_the_numbers_in_the_text_add_up():
    explanation, _, _ = explained(shaken("FM"))
    block = explanation.text(top=3).split("rows hold the values:\n")[1].split("\n\n")[0].splitlines()
    *terms, total = [float(re.split(r"  +", re.sub(r" +[\d,]+ rows?$", "", line))[-1]) for line in block]
    assert sum(terms) == pytest.approx(total, abs=0.004) and len(terms) == 5


def test_the_value_that_crosses_is_the_most_common_one():
    for row in range(20):
        explanation, _, _ = explained(shaken("FM"), row=row)
        lines = explanation.counterfactuals.query("crosses and field == 'genres'")
        if len(lines) > 1:
            break
    common = lines.loc[lines["share"].idxmax()]
    assert f"genres = {common['instead']} instead" in str(explanation).split("other side")[1]


def test_regression_speaks_of_units_and_not_of_probabilities():
    text = str(explained(shaken("FM", task="regression"))[0])
    assert "units of the target" in text and "prediction" in text
    assert "probability" not in text and "other side" not in text and "logit" not in text


# ---- any fields, wrong input -------------------------------------------------------------------------------

@given(name=st.sampled_from(list(MODELS)), chosen=st.lists(st.integers(0, 3), min_size=2, max_size=4, unique=True),
       n_rows=st.integers(1, 12), row=st.integers(0, 11))
@examples(15)
@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
def test_it_adds_up_whatever_the_fields(name, chosen, n_rows, row):
    model = shaken(name, fields=[FIELDS[i] for i in chosen])
    X, _ = mixed_table(12, seed=row)
    explanation = explain.one_prediction(model, X[row:row + 1], background=X[:n_rows])
    assert explanation.terms["value"].sum() == pytest.approx(model.decision_function(X[row:row + 1])[0])
    changed = explanation.counterfactuals
    np.testing.assert_allclose(changed["prediction"] - changed["change"], explanation.prediction)
    assert str(explanation)


@pytest.mark.parametrize("name", ["FM", "AutoInt"])
def test_what_several_predictions_have_in_common_is_worked_out_once(name, monkeypatch):
    model = shaken(name)
    X, _ = mixed_table(60, seed=1)
    background = module.Background(model, X)
    alone = [explain.one_prediction(model, X[row:row + 1], background=X) for row in (3, 20)]
    tried, candidates = [], module._candidates
    monkeypatch.setattr(module, "_candidates", lambda encoder, column: tried.append(column.name) or
                        candidates(encoder, column))
    for row, one in zip((3, 20), alone, strict=True):
        explanation = explain.one_prediction(model, X[row:row + 1], background=background)
        assert explanation.text() == one.text() and explanation.average == one.average
        pd.testing.assert_frame_equal(explanation.terms, one.terms)
        pd.testing.assert_frame_equal(explanation.counterfactuals, one.counterfactuals)
    assert tried == list(model.feature_names_in_)
    with pytest.raises(ValueError, match="background is that of another model"):
        explain.one_prediction(shaken(name), X[:1], background=background)


def test_wrong_input_is_refused():
    model = shaken("FM")
    X, _ = mixed_table(5)
    with pytest.raises(ValueError, match=r"X has 5 rows.*X\[3:4\]"):
        explain.one_prediction(model, X, background=X)
    with pytest.raises(ValueError, match="background has no rows"):
        explain.one_prediction(model, X[:1], background=X[:0])
    with pytest.raises(ValueError, match="'hour' was in fit"):
        explain.one_prediction(model, X[:1].drop(columns="hour"), background=X)
    with pytest.raises(NotFittedError):
        explain.one_prediction(FM(), X[:1], background=X)


def test_looking_does_not_change_the_model():
    for name in MODELS:
        model = shaken(name)
        X, _ = mixed_table(30)
        before = model.decision_function(X)
        explain.one_prediction(model, X[:1], background=X)
        np.testing.assert_array_equal(model.decision_function(X), before)
