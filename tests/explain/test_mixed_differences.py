"""Mean squares of mixed differences, and those between two rows: truths worked out by hand, and no bias."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from models import small
from tables import FIELDS, mixed_table

from minictr import FM, explain, plots
from minictr.explain import between_rows, effects


def numbers(n_rows=60, seed=0, names="abc"):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.normal(0.5, 1, n_rows) for name in names})


def mean_square(score, X, i, j):
    """Root of the mean over r != c of D^2 / 4; its square as a share of that of (f(u, v, rest of c) - f(c))^2 / 2."""
    squares, joint = [], []
    for r in range(len(X)):
        for c in range(len(X)):
            if r == c:
                continue
            rows = X.iloc[[c] * 4].reset_index(drop=True)
            rows.loc[[0, 1], i] = X[i].iloc[r]
            rows.loc[[0, 2], j] = X[j].iloc[r]
            both, only_i, only_j, neither = np.asarray(score(rows))
            squares.append((both - only_i - only_j + neither) ** 2 / 4)
            joint.append((both - neither) ** 2 / 2)
    return np.sqrt(np.mean(squares)), np.mean(squares) / np.mean(joint)


# ---- the mean square -------------------------------------------------------------------------------------

@pytest.mark.parametrize("score", [lambda X: X["a"] * X["b"] + X["c"] ** 2, lambda X: X["a"] * X["b"] * X["c"],
                                   lambda X: np.sin(X["a"] + X["b"]) + X["c"]])
def test_with_all_partners_it_is_the_definition(score):
    X = numbers(12)
    result = explain.interaction_effects(score, X, average="mean square", background=12, partners=12)
    expected = [mean_square(score, X, i, j) for i, j in combinations("abc", 2)]
    np.testing.assert_allclose(result[["value", "share"]], expected, rtol=1e-10, atol=1e-12)
    assert result.attrs["average"] == "mean square"
    assert result.attrs["background"] == "12 of 12 rows, 11 partners each, seed 0"


def test_a_model_gives_the_same_as_its_scores():
    X, y = mixed_table(40, 1)
    model = small("DeepFM", FIELDS, fields=FIELDS).fit(X, y)
    mine, other = (explain.interaction_effects(scorer, X, average="mean square", partners=4)
                   for scorer in (model, model.decision_function))
    pd.testing.assert_frame_equal(mine, other, rtol=1e-6)
    assert mine["value"].max() > 0.001


def signs(names):
    """All 2^M rows of signs, equally often: means are 0, and the fields independent."""
    table = np.array(np.meshgrid(*[[-1.0, 1.0]] * len(names))).reshape(len(names), -1).T
    return pd.DataFrame(np.tile(table, (16, 1)), columns=list(names))


@pytest.mark.parametrize("average, value, part", [("partial dependence", 0, np.nan), ("mean square", 1, 1)])
def test_a_product_of_three_is_seen_by_the_mean_square_alone(average, value, part):
    """x8 x9 x10 of signs has variance 1, all of which any two of the three do together, with the third."""
    X = signs(["x8", "x9", "x10"])
    result = explain.interaction_effects(lambda X: X["x8"] * X["x9"] * X["x10"], X, average=average, partners=128)
    scale = np.sqrt(128 / 127) if average == "mean square" else 1          # the rows are drawn without the row itself
    np.testing.assert_allclose(result["value"], value * scale, atol=1e-9)
    if average == "mean square":
        np.testing.assert_allclose(result["share"], part)


def test_both_averages_agree_on_a_product_of_two_independent_fields():
    """The standard deviation of x1 x2 is 1; a third field adds up, so that its pairs have no effect."""
    X = signs(["x1", "x2", "x3"])
    for average in ("partial dependence", "mean square"):
        result = explain.interaction_effects(lambda X: X["x1"] * X["x2"] + 3 * X["x3"], X, average=average,
                                             partners=128)
        np.testing.assert_allclose(result["value"], [1, 0, 0], rtol=0.01, atol=1e-9)


def test_a_pair_that_interacts_in_two_ways_has_the_sum_of_the_variances():
    """x1 x2 + 2 x1 x2 x3: 1 + 4 for (x1, x2), 4 for each of the others."""
    X = signs(["x1", "x2", "x3"])
    result = explain.interaction_effects(lambda X: X["x1"] * X["x2"] * (1 + 2 * X["x3"]), X, average="mean square",
                                         partners=128)
    np.testing.assert_allclose(result["value"] ** 2 * 127 / 128, [5, 4, 4])


@pytest.mark.parametrize("partners", [2, 5])
def test_few_partners_are_right_on_average(partners):
    def score(X):
        return X["a"] * X["b"] + X["a"] * X["b"] * X["c"]

    X = numbers(30)
    exact = explain.interaction_effects(score, X, average="mean square", partners=30)["value"] ** 2
    drawn = [explain.interaction_effects(score, X, average="mean square", partners=partners, seed=seed)
             for seed in range(200)]
    drawn = np.array([table["value"] for table in drawn]) ** 2
    error = drawn.std(axis=0) / np.sqrt(200)
    assert (np.abs(drawn.mean(axis=0) - exact) < 4 * error).all() and (error < 0.05 * exact).all()


def test_few_rows_are_right_on_average_too():
    """Over tables of 4 rows of random signs, the mean of value^2 is that of the distribution: var(a) var(b) = 1."""
    rng = np.random.default_rng(0)
    tables = [pd.DataFrame(rng.choice([-1.0, 1.0], (4, 2)), columns=["a", "b"]) for _ in range(600)]
    squares = [explain.interaction_effects(lambda X: X["a"] * X["b"], X, average="mean square", partners=3,
                                           seed=seed)["value"][0] ** 2 for seed, X in enumerate(tables)]
    error = np.std(squares) / np.sqrt(600)
    assert np.mean(squares) == pytest.approx(1, abs=4 * error) and 4 * error < 0.15       # with r = c it would be 3/4


def test_the_interval_covers_the_value_of_all_rows():
    X, covered = numbers(20_000, 0, "ab"), 0
    for seed in range(100):
        row = explain.interaction_effects(lambda X: X["a"] * X["b"], X, average="mean square", background=400,
                                          seed=seed).iloc[0]
        covered += row["low"] <= X["a"].std() * X["b"].std() <= row["high"]
    assert 85 <= covered <= 100


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_it_does_not_depend_on_the_size_of_chunks(rows, monkeypatch):
    def result():
        return explain.interaction_effects(lambda X: X["a"] * X["b"] * X["c"], numbers(20), average="mean square",
                                           partners=6)

    whole = result()
    monkeypatch.setattr(effects, "CHUNK_ROWS", rows)
    pd.testing.assert_frame_equal(result(), whole, rtol=1e-9)


def test_another_average_is_refused():
    with pytest.raises(ValueError, match=r"average must be one of .*'mean square'.*, got 'median'"):
        explain.interaction_effects(lambda X: X["a"], numbers(), average="median")


# ---- between two rows ------------------------------------------------------------------------------------

def between(score, row, baseline, **options):
    row, baseline = (pd.DataFrame([dict(zip("abcd", values, strict=False))]) for values in (row, baseline))
    return explain.mixed_differences(score, row, baseline, **options)


def test_the_differences_of_a_product_are_those_of_its_factors():
    """From (1, 2) to (4, 7): 3 x 5 at either end."""
    result = between(lambda X: X["a"] * X["b"] + X["c"] ** 3, (4, 7, 1), (1, 2, 9))
    assert result[["value", "at_baseline", "at_row"]].to_numpy().tolist() == [[15, 15, 15], [0, 0, 0], [0, 0, 0]]


def test_an_and_of_all_fields_shows_at_the_row_alone():
    """Of an AND of three, each pair's difference is 1 where the third field is as it must be, and 0 elsewhere."""
    result = between(lambda X: ((X["a"] == 1) & (X["b"] == 1) & (X["c"] == 1)) * 1.0, (1, 1, 1, 1), (-1, -1, -1, -1))
    inside = [set(pair) <= set("abc") for pair in combinations("abcd", 2)]
    assert result["at_row"].tolist() == [1.0 * yes for yes in inside]
    assert result["at_baseline"].tolist() == [0] * 6
    np.testing.assert_allclose(result["value"], np.array(inside) / np.sqrt(2))       # half of 1^2 + 0^2


def test_a_product_of_three_from_0_shows_at_the_row_and_from_1_at_both():
    for baseline, value in ((0, np.sqrt(1 / 2) * 8), (1, np.sqrt((1 + 2 ** 2) / 2))):
        result = between(lambda X: X["a"] * X["b"] * X["c"], (2, 2, 2), (baseline,) * 3)
        np.testing.assert_allclose(result["value"], value)


def test_a_model_gives_the_same_as_its_scores_and_missing_values_are_a_baseline():
    X, y = mixed_table(60, 0)
    model = small("FM", FIELDS, fields=FIELDS).set_params(dtype="float64").fit(X, y)
    row, baseline = X.iloc[[3]], pd.DataFrame({name: [None] for name in X})
    mine, other = (explain.mixed_differences(scorer, row, baseline) for scorer in (model, model.decision_function))
    pd.testing.assert_frame_equal(mine, other, rtol=1e-8)
    assert mine.attrs["unit"] == "departure from additivity between two rows (log-odds)"
    vectors = [model.embedding.forward(model.encoder_.encode(table))[0] for table in (row, baseline)]
    change = vectors[0] - vectors[1]                              # an FM's difference is <e_i - e'_i, e_j - e'_j>
    expected = [change[i] @ change[j] for i, j in combinations(range(4), 2)]
    np.testing.assert_allclose(mine["at_row"], expected, atol=1e-10)
    np.testing.assert_allclose(mine["at_baseline"], expected, atol=1e-10)


def test_chosen_pairs_and_the_picture():
    from matplotlib.figure import Figure
    result = between(lambda X: X["a"] * X["b"], (1, 1, 1), (0, 0, 0), pairs=[("c", "a"), ("b", "a")])
    assert result[["field_i", "field_j"]].to_numpy().tolist() == [["a", "b"], ["a", "c"]]
    assert plots.pair_ranking(result, ax=Figure().subplots()).get_title() == "mixed difference"


@pytest.mark.parametrize("row, baseline, message", [
    ({"a": [1, 2], "b": [1, 2]}, {"a": [0], "b": [0]}, "row has 2 rows; expected a table of one"),
    ({"a": [1], "b": [1]}, {"a": [], "b": []}, "baseline has 0 rows"),
    ({"a": [1], "b": [1]}, {"a": [0]}, "column 'b' is in one of row and baseline alone"),
])
def test_what_is_no_row(row, baseline, message):
    with pytest.raises(ValueError, match=message):
        explain.mixed_differences(lambda X: X["a"] * 1.0, pd.DataFrame(row), pd.DataFrame(baseline))


def test_a_model_that_is_not_fitted():
    with pytest.raises(ValueError, match="not fitted yet"):
        explain.mixed_differences(FM(), pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [0]}))


def test_differences_do_not_depend_on_the_size_of_blocks(monkeypatch):
    def result():
        return between(lambda X: X["a"] * X["b"] * X["c"] + X["d"] ** 2 * X["a"], (2, 3, 5, 7), (1, 0, -1, 2))

    whole = result()
    monkeypatch.setattr(between_rows, "CHUNK_ROWS", 1)
    pd.testing.assert_frame_equal(result(), whole)
