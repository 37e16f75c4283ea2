"""Interaction effects and permutation importance, against loops written from their definitions."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import BEYOND, MODELS, every_model, small
from tables import FIELDS, mixed_table

from minictr import FM, Categorical, MultiValued, Numerical, explain, plots
from minictr.explain import effects
from minictr.layers import parameters
from minictr.metrics import log_loss

NAMES = ["user", "hour", "price", "genres"]
PAIRS = list(combinations(NAMES, 2))

def table(n_rows=12, seed=1):
    return mixed_table(n_rows, seed)


def redrawn(model, X, y, seed=0):
    """The model with all its weights drawn anew, in float64, so that rounding hides nothing."""
    model = model.clone().set_params(dtype="float64").prepare(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


@pytest.fixture(scope="module")
def fitted():
    X, y = table(60, seed=0)
    return {name: redrawn(small(name, FIELDS, fields=FIELDS), X, y) for name in MODELS}


def partial_dependence(score, X, names):
    """For each row, the mean score of all rows if they had that row's values of these fields; centred."""
    means = []
    for r in range(len(X)):
        changed = X.copy()
        for name in names:
            changed[name] = [X[name].iloc[r]] * len(X)
        means.append(np.mean(score(changed)))
    return np.array(means) - np.mean(means)


def friedman(score, X, i, j):
    """Friedman & Popescu (2008), eq. 44: the numerator's root mean square, and H."""
    joint = partial_dependence(score, X, [i, j])
    departure = joint - partial_dependence(score, X, [i]) - partial_dependence(score, X, [j])
    return np.sqrt(np.mean(departure ** 2)), np.sqrt(np.sum(departure ** 2) / np.sum(joint ** 2))


# ------------------------------------------------------------------------------------ interaction effects

@every_model
def test_with_all_partners_it_is_the_definition(name, fitted):
    X, _ = table()
    model = fitted[name]
    result = explain.interaction_effects(model, X, background=12, partners=12)
    expected = [friedman(model.decision_function, X, i, j) for i, j in PAIRS]
    assert list(zip(result["field_i"], result["field_j"], strict=True)) == PAIRS
    np.testing.assert_allclose(result[["value", "H"]], expected, rtol=1e-8, atol=1e-10)
    assert (result["value"].max() > 0.1) == (name in BEYOND)


@every_model
def test_a_function_of_a_table_gives_the_same_as_its_model(name, fitted):
    X, _ = table(40)
    model = fitted[name]
    settings = {"background": 30, "partners": 5, "seed": 3}
    mine, other = (explain.interaction_effects(scorer, X, **settings) for scorer in (model, model.decision_function))
    pd.testing.assert_frame_equal(mine, other, rtol=1e-10)
    assert mine.attrs["unit"] == "departure from additivity (log-odds)"
    assert other.attrs["unit"] == "departure from additivity (unit of the scores)"


def test_the_product_of_two_numbers():
    """Of f = x y the departure is (x - mean x) (y - mean y), and the joint dependence is x y."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(2, 1, 50), "y": rng.normal(1, 1, 50), "z": rng.normal(0, 1, 50)})
    result = explain.interaction_effects(lambda X: X["x"] * X["y"] + 5 * X["z"], X, background=50, partners=50)
    x, y = X["x"], X["y"]
    expected = np.std((x - x.mean()) * (y - y.mean()))
    assert result["value"].tolist() == pytest.approx([expected, 0, 0], abs=1e-12)
    assert result["H"].tolist() == pytest.approx([expected / np.std(x * y), 0, 0], abs=1e-12)


@pytest.mark.parametrize("partners", [2, 3, 7])
def test_few_partners_make_up_no_effect(partners):
    X, _ = table(30)
    result = explain.interaction_effects(lambda X: np.sin(X["price"]) + (X["user"] == "ann") * 3.0, X,
                                         partners=partners)
    np.testing.assert_allclose(result[["value", "low", "high"]], 0, atol=1e-12)


def test_few_partners_are_right_on_average():
    """The square is without bias, whatever the number of partners; of the mean's square alone it would be too large."""
    X, y = table(40, seed=2)
    model = redrawn(FM(embedding_dim=3, fields=FIELDS), X, y)
    exact = explain.interaction_effects(model, X, partners=40).loc[0]
    drawn = pd.concat([explain.interaction_effects(model, X, pairs=[("user", "hour")], partners=4, seed=seed)
                       for seed in range(300)])
    for square, expected in ((drawn["value"] ** 2, exact["value"] ** 2),
                             ((drawn["value"] / drawn["H"]) ** 2, (exact["value"] / exact["H"]) ** 2)):
        error = square.std() / np.sqrt(300)
        assert square.mean() == pytest.approx(expected, abs=4 * error) and error < 0.05 * expected


def test_the_interval_covers_the_effect_of_all_rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(0, 1, 20_000), "y": rng.normal(0, 1, 20_000)})
    covered = 0
    for seed in range(100):
        row = explain.interaction_effects(lambda X: X["x"] * X["y"], X, background=400, seed=seed).iloc[0]
        covered += row["low"] <= np.std(X["x"] * X["y"]) <= row["high"]
    assert 85 <= covered <= 100


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_it_does_not_depend_on_the_size_of_chunks(rows, fitted, monkeypatch):
    X, y = table(20)
    whole = explain.interaction_effects(fitted["AFM"], X, partners=6)
    importance = explain.permutation_importance(fitted["AFM"], X, y, pairs=True, repeats=2)
    monkeypatch.setattr(effects, "CHUNK_ROWS", rows)
    pd.testing.assert_frame_equal(explain.interaction_effects(fitted["AFM"], X, partners=6), whole, rtol=1e-9)
    pd.testing.assert_frame_equal(explain.permutation_importance(fitted["AFM"], X, y, pairs=True, repeats=2),
                                  importance, rtol=1e-9, atol=1e-12)


def test_chosen_pairs_and_fields_are_the_same_rows(fitted):
    X, _ = table(30)
    whole = explain.interaction_effects(fitted["AFM"], X).set_index(["field_i", "field_j"])
    some = explain.interaction_effects(fitted["AFM"], X, pairs=[("genres", "hour"), ("hour", "user")])
    assert some[["field_i", "field_j"]].to_numpy().tolist() == [["user", "hour"], ["hour", "genres"]]
    assert some.attrs["fields"] == ["user", "hour", "genres"]
    pd.testing.assert_frame_equal(some.set_index(["field_i", "field_j"]),
                                  whole.loc[[("user", "hour"), ("hour", "genres")]])
    few = explain.interaction_effects(fitted["AFM"], X, fields=["price", "user"])
    assert few["value"].tolist() == [whole.loc[("user", "price"), "value"]]


def test_the_table_says_what_it_is_and_draws(fitted):
    X, _ = table(30)
    result = explain.interaction_effects(fitted["FM"], X, background=20, partners=5, seed=4)
    assert result.columns.tolist() == ["field_i", "field_j", "value", "low", "high", "H"]
    assert result.attrs["quantity"] == "interaction effect" and result.attrs["fields"] == NAMES
    assert result.attrs["background"] == "20 of 30 rows, 5 partners each, seed 4"
    assert (result["low"] <= result["value"]).all() and (result["value"] <= result["high"]).all()
    from matplotlib.figure import Figure
    for plot in (plots.pair_heatmap, plots.pair_ranking):
        assert plot(result, ax=Figure().subplots()).get_title() == "interaction effect"


def test_looking_changes_nothing_and_can_be_repeated(fitted):
    X, y = table(30)
    kept, before = X.copy(deep=True), fitted["FM"].decision_function(X)
    for function in (lambda: explain.interaction_effects(fitted["FM"], X, background=10, partners=3, seed=1),
                     lambda: explain.permutation_importance(fitted["FM"], X, y, seed=1)):
        pd.testing.assert_frame_equal(function(), function())
    pd.testing.assert_frame_equal(X, kept)
    np.testing.assert_array_equal(fitted["FM"].decision_function(X), before)


KINDS = {"category": lambda rng, n: rng.choice(["a", "b", "c"], n), "number": lambda rng, n: rng.normal(0, 1, n),
         "list": lambda rng, n: rng.choice(["a", "b", "a|b", "c|a|b"], n)}
SPECS = {"category": Categorical, "number": Numerical, "list": MultiValued}


@examples(40)
@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=5), n_rows=st.integers(3, 15),
       seed=st.integers(0, 1000))
def test_in_an_fm_it_is_the_spread_of_the_centred_vectors_product(kinds, n_rows, seed):
    """value^2 = variance over rows of <e_i - mean e_i, e_j - mean e_j>, for fields of all kinds."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({f"{kind}_{at}": KINDS[kind](rng, n_rows) for at, kind in enumerate(kinds)})
    fields = [SPECS[name.split("_")[0]](name) for name in X]
    model = redrawn(FM(embedding_dim=2, fields=fields), X, np.arange(n_rows) % 2, seed)
    result = explain.interaction_effects(model, X, partners=n_rows)
    E = model.embedding.forward(model.encoder_.encode(X))
    E = E - E.mean(axis=0)
    expected = [np.std((E[:, i] * E[:, j]).sum(axis=1)) for i, j in combinations(range(len(kinds)), 2)]
    np.testing.assert_allclose(result["value"], expected, atol=1e-6)
    few = explain.interaction_effects(model, X, partners=2, background=max(2, n_rows - 1), seed=seed)
    assert np.isfinite(few[["value", "low", "high"]]).all(axis=None) and (few["value"] >= 0).all()


# --------------------------------------------------------------------------------- permutation importance

def shuffled(X, names, donors):
    changed = X.copy()
    for name in names:
        changed[name] = X[name].to_numpy()[donors]
    return changed


@pytest.mark.parametrize("pairs", [False, True])
def test_permutation_importance_is_the_loss_with_shuffled_columns(pairs, fitted):
    X, y = table(50)
    model = fitted["AFM"]
    groups = PAIRS if pairs else [(name,) for name in NAMES]
    result = explain.permutation_importance(model, X, y, pairs=pairs, repeats=3, seed=5)
    rng, whole, increase = np.random.default_rng(5), log_loss(y, model.predict_proba(X)[:, 1]), []
    for _ in range(3):
        donors = rng.permutation(50)
        increase.append([log_loss(y, model.predict_proba(shuffled(X, group, donors))[:, 1]) - whole
                         for group in groups])
    columns = ["field_i", "field_j"] if pairs else ["field"]
    assert [tuple(row) for row in result[columns].to_numpy()] == groups
    for name, expected in (("value", np.mean(increase, axis=0)), ("std", np.std(increase, axis=0)),
                           ("low", np.min(increase, axis=0)), ("high", np.max(increase, axis=0))):
        np.testing.assert_allclose(result[name], expected, rtol=1e-6, atol=1e-9)
    assert result.attrs["loss"] == pytest.approx(whole) and result.attrs["unit"] == "increase of the log loss"
    if pairs:
        alone = explain.permutation_importance(model, X, y, repeats=3, seed=5).set_index("field")["value"]
        np.testing.assert_allclose(result["shared"], [alone[i] + alone[j] - value for (i, j), value in zip(
            PAIRS, result["value"], strict=True)])


def test_weights_count_rows_as_often():
    X, y = table(30)
    model = redrawn(FM(fields=FIELDS), X, y)
    weights = np.zeros(30)
    weights[:10] = 7
    rng = np.random.default_rng(0)
    donors = rng.permutation(30)
    expected = [log_loss(y[:10], model.predict_proba(shuffled(X, [name], donors)[:10])[:, 1])
                - log_loss(y[:10], model.predict_proba(X[:10])[:, 1]) for name in NAMES]
    result = explain.permutation_importance(model, X, y, repeats=1, sample_weight=weights)
    np.testing.assert_allclose(result["value"], expected, rtol=1e-6, atol=1e-9)


def independent(n_rows=4_000):
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: rng.choice([-1.0, 1.0], n_rows) for name in "abc"})


@pytest.mark.parametrize("score, expected", [
    (lambda X: X["a"] * X["b"], [2, 2, 0]), (lambda X: X["a"] + X["b"], [2, 2, 0]), (lambda X: X["c"], [0, 0, 2])])
def test_permutation_importance_of_known_functions(score, expected):
    """Exchanging a sign at random changes the score by 2 in half of the rows: squared error 4 / 2."""
    X = independent()
    result = explain.permutation_importance(score, X, score(X), loss="squared error")
    np.testing.assert_allclose(result["value"], expected, atol=0.15)
    assert (result["value"][np.array(expected) == 0] == 0).all()


def test_what_two_fields_share():
    X = independent()
    X["d"] = X["a"]

    def shared(score, pair):
        return explain.permutation_importance(score, X, score(X), loss="squared error", pairs=[pair]).loc[0, "shared"]

    assert shared(lambda X: X["a"] * X["b"], ("a", "b")) == pytest.approx(2, abs=0.15)      # an interaction
    assert shared(lambda X: X["a"] + X["b"], ("a", "b")) == pytest.approx(0, abs=0.15)      # they add up
    assert shared(lambda X: X["a"] + X["d"], ("a", "d")) == pytest.approx(-4, abs=0.3)      # one can replace the other


def test_regression_is_measured_by_the_squared_error():
    X, _ = table(50)
    model = FM(fields=FIELDS, epochs=2).fit(X, X["price"])
    result = explain.permutation_importance(model, X, X["price"])
    assert result.attrs["unit"] == "increase of the squared error"
    assert explain.interaction_effects(model, X).attrs["unit"] == "departure from additivity (units of the target)"


# ------------------------------------------------------------------------------------------------- errors

@pytest.mark.parametrize("arguments, message", [
    ({"pairs": [("user", "prize")]}, r"\('user', 'prize'\) is not a pair of two of the fields"),
    ({"pairs": [("user", "user")]}, "is not a pair of two"), ({"pairs": ["user"]}, "is not a pair of two"),
    ({"pairs": []}, "at least one pair"), ({"pairs": [("user", "hour"), ("hour", "user")]}, "none twice"),
    ({"fields": ["user"]}, "at least 2 fields"), ({"fields": ["user", "prize"]}, "no field 'prize'"),
    ({"background": 1}, "background must be a whole number of at least 2"),
    ({"partners": 1.5}, "partners must be a whole number"),
])
def test_what_interaction_effects_refuse(arguments, message, fitted):
    with pytest.raises(ValueError, match=message):
        explain.interaction_effects(fitted["FM"], table()[0], **arguments)


@pytest.mark.parametrize("function, error, message", [
    (lambda X: np.zeros(3), ValueError, r"the function returned an array of shape \(3,\) for a table of 12 rows"),
    (lambda X: np.zeros((len(X), 2)), ValueError, r"take the column \[:, 1\]"),
    (lambda X: np.full(len(X), np.nan), ValueError, "returned nan for row 0"),
    (lambda X: ["high"] * len(X), TypeError, "must return numbers"),
    ("model", TypeError, "pass a method, such as"),
])
def test_what_functions_must_return(function, error, message):
    with pytest.raises(error, match=message):
        explain.interaction_effects(function, table()[0])


def test_too_few_rows(fitted):
    with pytest.raises(ValueError, match="X has 1 rows"):
        explain.interaction_effects(fitted["FM"], table()[0][:1])
    with pytest.raises(ValueError, match="empty"):
        explain.permutation_importance(fitted["FM"], table()[0][:0], [])


def test_before_fit():
    X, y = table()
    with pytest.raises(ValueError, match="not fitted yet"):
        explain.interaction_effects(FM(), X)
    with pytest.raises(ValueError, match="not fitted yet"):
        explain.permutation_importance(FM(), X, y)


@pytest.mark.parametrize("arguments, error, message", [
    ({"repeats": 0}, ValueError, "repeats must be"), ({"loss": "squared error"}, ValueError, "by its own loss"),
    ({"fields": ["prize"]}, ValueError, "no field 'prize'"), ({"pairs": [("user", "prize")]}, ValueError, "not a pair"),
    ({"y": np.full(12, 2)}, ValueError, "needs y of 0 and 1"),
    ({"model": lambda X: np.zeros(len(X))}, TypeError, "say with loss="),
    ({"model": lambda X: np.zeros(len(X)), "loss": "log loss", "y": np.full(12, 2)}, ValueError, "0 and 1"),
])
def test_what_permutation_importance_refuses(arguments, error, message, fitted):
    X, y = table()
    with pytest.raises(error, match=message):
        explain.permutation_importance(**{"model": fitted["FM"], "X": X, "y": y, **arguments})


def test_progress_is_one_line(fitted, capsys, monkeypatch):
    X, y = table()
    explain.interaction_effects(fitted["FM"], X)
    assert capsys.readouterr().out == ""
    explain.interaction_effects(fitted["FM"], X, verbose=True)
    out = capsys.readouterr().out
    assert out.startswith("interaction effects: 6 in 0 s") and out.count("\n") == 1
    monkeypatch.setattr(effects.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(effects.time, "monotonic", iter(range(1000)).__next__)
    explain.permutation_importance(fitted["FM"], X, y, repeats=1, verbose=True)
    out = capsys.readouterr().out
    assert "\rpermutation importance: 2 of 4, 2 s left" in out and out.count("\n") == 1
