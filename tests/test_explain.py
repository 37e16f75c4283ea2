"""The explain tables: attention, contributions, pair importance, all against brute force over every row."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from tables import FIELDS, mixed_table

from minictr import AFM, FM, LR, AutoInt, DeepFM, NotFittedError, datasets, explain, training
from minictr.layers import parameters

NAMES = ["user", "hour", "price", "genres"]
PAIRS = list(combinations(NAMES, 2))


def table(n_rows=300, seed=0):
    return mixed_table(n_rows, seed)


def shaken(model, seed=0):
    """The model with weights so large that nothing is nearly 0 or nearly uniform."""
    X, y = table()
    model = model.set_params(fields=FIELDS, epochs=1).fit(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


@pytest.fixture(scope="module")
def afm():
    return shaken(AFM(embedding_dim=3, attention_dim=4, dropout=0.3, attention_dropout=0.3))


@pytest.fixture(scope="module")
def fm():
    return shaken(FM(embedding_dim=3, dropout=0.3))


@pytest.fixture(scope="module")
def autoint():
    return shaken(AutoInt(embedding_dim=3, attention_dim=2, num_layers=2, num_heads=2, dropout=0.3))


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 32 rows, so that a table that forgets all but the last chunk shows."""
    monkeypatch.setattr(training, "CHUNK_NUMBERS", 1)


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


def field_vectors(model, X):
    """(rows, fields, k): computed from the encoded rows and the table of vectors alone."""
    slots, V = model.encoder_.encode(X), parameters(model)["embedding.V"].astype(float)
    bounds = [*slots.starts, slots.n_slots]
    return np.array([[sum(V[slots.ids[b, s]] * float(slots.x[b, s]) for s in range(bounds[i], bounds[i + 1]))
                      for i in range(len(slots.starts))] for b in range(len(slots))])


def afm_attention_by_brute_force(model, X):
    p = parameters(model)
    attention = []
    for e in field_vectors(model, X):
        scores = [p["attention.h"] @ np.maximum(0, p["attention.W"].T @ (e[i] * e[j]) + p["attention.b"])
                  for i, j in combinations(range(4), 2)]
        attention.append(softmax(np.array(scores)))
    return np.array(attention)


# --------------------------------------------------------------------------------------------- attention

@pytest.mark.parametrize("n_rows", [1, 33, 300])
def test_afm_attention_is_the_mean_over_all_rows(n_rows, afm, small_chunks):
    X, _ = table(n_rows, seed=1)
    assert afm.chunk_rows(None) == 32
    result = explain.attention(afm, X)
    a = afm_attention_by_brute_force(afm, X)
    assert list(zip(result["field_i"], result["field_j"], strict=True)) == PAIRS
    np.testing.assert_allclose(result["value"], a.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(result["low"], np.percentile(a, 5, axis=0), rtol=1e-4)
    np.testing.assert_allclose(result["high"], np.percentile(a, 95, axis=0), rtol=1e-4)
    assert result["value"].sum() == pytest.approx(1, rel=1e-5)
    assert np.ptp(result["value"]) > 0.02


def test_afm_attention_is_labelled(afm):
    result = explain.attention(afm, table()[0])
    assert result.columns.tolist() == ["field_i", "field_j", "value", "low", "high", "uniform"]
    assert (result["uniform"] == 1 / 6).all()
    assert result.attrs["quantity"] == "attention" and "share of 1" in result.attrs["unit"]
    assert result.attrs["interval"] == "5th to 95th percentile over rows"
    assert result.attrs["fields"] == NAMES and result.attrs["uniform"] == 1 / 6


@pytest.mark.parametrize("n_rows", [1, 33, 300])
def test_autoint_attention_is_the_mean_over_all_rows(n_rows, autoint, small_chunks):
    X, _ = table(n_rows, seed=1)
    result = explain.attention(autoint, X)
    p, rows = parameters(autoint), []
    for e in field_vectors(autoint, X):
        values = []
        for layer in (1, 2):
            Q, K, V, R = (p[f"interacting_{layer}.W_{name}"].astype(float) for name in ("Q", "K", "V", "Res"))
            heads = []
            for own in (slice(0, 2), slice(2, 4)):
                a = np.array([softmax(np.array([(e[m] @ Q[:, own]) @ (e[k] @ K[:, own]) for k in range(4)]))
                              for m in range(4)])
                values.append(a)
                heads.append(a @ (e @ V[:, own]))
            e = np.maximum(0, np.concatenate(heads, axis=1) + e @ R)
        rows.append(np.array(values).ravel())
    a = np.array(rows)
    index = list(zip(result["layer"], result["head"], result["field_i"], result["field_j"], strict=True))
    assert index == list(product((1, 2), (1, 2), NAMES, NAMES))
    np.testing.assert_allclose(result["value"], a.mean(axis=0), rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(result["low"], np.percentile(a, 5, axis=0), rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(result["high"], np.percentile(a, 95, axis=0), rtol=2e-3, atol=1e-5)
    sums = result.groupby(["layer", "head", "field_i"])["value"].sum()
    assert len(sums) == 16
    np.testing.assert_allclose(sums, 1, rtol=1e-5)
    assert np.ptp(result["value"]) > 0.05


def test_autoint_attention_is_labelled(autoint):
    result = explain.attention(autoint, table()[0])
    assert result.columns.tolist() == ["layer", "head", "field_i", "field_j", "value", "low", "high", "uniform"]
    assert (result["uniform"] == 1 / 4).all() and result.attrs["uniform"] == 1 / 4
    assert result.attrs["quantity"] == "attention" and result.attrs["fields"] == NAMES
    assert result.attrs["interval"] == "5th to 95th percentile over rows"


@pytest.mark.parametrize("function", [explain.attention, explain.contributions, explain.pair_importance])
def test_tables_do_not_depend_on_the_size_of_chunks(function, afm, monkeypatch):
    X, _ = table(250, seed=2)
    whole = function(afm, X)
    monkeypatch.setattr(training, "CHUNK_NUMBERS", 1)
    in_chunks = function(afm, X)
    pd.testing.assert_frame_equal(in_chunks, whole, rtol=1e-5)
    assert in_chunks.attrs == whole.attrs


@pytest.mark.parametrize("interval_rows", [10, 100, 299, 300, 301])
def test_intervals_are_over_evenly_spaced_rows_and_means_over_all(interval_rows, afm, small_chunks, monkeypatch):
    X, _ = table(300, seed=1)
    monkeypatch.setattr(explain.tables, "INTERVAL_ROWS", interval_rows)
    result = explain.attention(afm, X)
    a = afm_attention_by_brute_force(afm, X)
    sample = a[::-(-300 // interval_rows)]
    assert len(sample) <= interval_rows
    np.testing.assert_allclose(result["value"], a.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(result["low"], np.percentile(sample, 5, axis=0), rtol=1e-4)
    np.testing.assert_allclose(result["high"], np.percentile(sample, 95, axis=0), rtol=1e-4)


@pytest.mark.parametrize("which", ["afm", "fm", "autoint"])
def test_looking_does_not_change_the_model(which, request):
    model = request.getfixturevalue(which)
    X, _ = table(50, seed=3)
    before = model.decision_function(X)
    if which != "fm":
        explain.attention(model, X)
    if which != "autoint":
        explain.contributions(model, X)
        explain.pair_importance(model, X)
    np.testing.assert_array_equal(model.decision_function(X), before)


def test_attention_is_that_of_predicting_not_of_training(afm):
    """With dropout on, weights would be 0 or too large."""
    X, _ = table(50, seed=3)
    pd.testing.assert_frame_equal(explain.attention(afm, X), explain.attention(afm, X))
    assert (explain.attention(afm, X[:1])["value"] > 0).all()


@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
def test_one_pair_has_all_the_attention():
    X, y = table(60)
    result = explain.attention(AFM(fields=["user", "hour"], epochs=1).fit(X, y), X)
    assert result[["value", "low", "high", "uniform"]].to_numpy().tolist() == [[1, 1, 1, 1]]


# ----------------------------------------------------------------------------------------- contributions

def additive_models():
    return {"LR": LR(), "FM": FM(embedding_dim=3), "AFM": AFM(embedding_dim=3, attention_dim=4)}


@pytest.mark.parametrize("name", additive_models())
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_contributions_add_up_to_the_prediction_of_every_row(name, task, small_chunks):
    model = shaken(additive_models()[name])
    X, _ = table(200, seed=4)
    X.loc[:5, "user"] = "unseen"
    X.loc[3:9, ["price", "genres"]] = [np.nan, None]
    if task == "regression":
        model.fit(table()[0], table()[0]["price"])
    result = explain.contributions(model, X)
    sums = result.groupby("row")["value"].sum()
    assert sums.index.tolist() == list(range(200))
    np.testing.assert_allclose(sums, model.decision_function(X), rtol=1e-4, atol=1e-4)
    assert result["value"].abs().max() > 0.1
    assert result.attrs["unit"] == ("log-odds" if task == "binary" else "units of the target")
    assert result.attrs["quantity"] == "contribution" and result.attrs["task"] == task
    assert result.attrs["fields"] == NAMES


@pytest.mark.parametrize("name", additive_models())
def test_each_contribution_is_the_term_of_the_equation(name):
    model = shaken(additive_models()[name])
    X, _ = table(10, seed=5)
    result = explain.contributions(model, X).set_index(["row", "term", "field_i", "field_j"])["value"]
    p, slots, e = parameters(model), model.encoder_.encode(X), None
    if name != "LR":
        e = field_vectors(model, X)
    bounds = [*slots.starts, slots.n_slots]
    terms = result.reset_index()
    for b in range(10):
        mine = terms[terms["row"] == b]
        assert mine[mine["term"] == "bias"]["value"].tolist() == [pytest.approx(float(p["linear.w0"][0]))]
        fields = mine[mine["term"] == "field"].set_index("field_i")["value"]
        assert fields.index.tolist() == NAMES
        for i, field in enumerate(NAMES):
            expected = sum(float(p["linear.w"][slots.ids[b, s]]) * float(slots.x[b, s])
                           for s in range(bounds[i], bounds[i + 1]))
            assert fields[field] == pytest.approx(expected, rel=1e-4, abs=1e-6)
        pairs = mine[mine["term"] == "pair"]
        if name == "LR":
            assert pairs.empty
            continue
        assert list(zip(pairs["field_i"], pairs["field_j"], strict=True)) == PAIRS
        weight = np.ones((10, 6)) if name == "FM" else afm_attention_by_brute_force(model, X)
        projection = np.ones(3) if name == "FM" else p["projection.p"]
        expected = [weight[b, n] * (projection @ (e[b, i] * e[b, j]))
                    for n, (i, j) in enumerate(combinations(range(4), 2))]
        np.testing.assert_allclose(pairs["value"], expected, rtol=1e-3, atol=1e-5)


def test_contributions_table_has_its_documented_form(afm):
    X, _ = table(3, seed=6)
    result = explain.contributions(afm, X.set_index(pd.Index([7, 7, 9])))
    assert result.columns.tolist() == ["row", "term", "field_i", "field_j", "value"]
    assert result["row"].tolist() == [row for row in range(3) for _ in range(1 + 4 + 6)]
    assert result["term"].tolist() == (["bias"] + ["field"] * 4 + ["pair"] * 6) * 3
    bias = result[result["term"] == "bias"]
    fields = result[result["term"] == "field"]
    assert pd.isna([*bias["field_i"], *bias["field_j"], *fields["field_j"]]).all()
    assert not result["field_i"][result["term"] != "bias"].isna().any()


def test_contributions_of_no_rows(fm):
    result = explain.contributions(fm, table(5)[0][:0])
    assert result.empty and result.columns.tolist() == ["row", "term", "field_i", "field_j", "value"]


# ---------------------------------------------------------------------------------------- pair importance

@pytest.mark.parametrize("which", ["fm", "afm"])
def test_pair_importance_is_the_mean_absolute_contribution(which, request, small_chunks):
    model = request.getfixturevalue(which)
    X, _ = table(200, seed=7)
    result = explain.pair_importance(model, X)
    terms = explain.contributions(model, X)
    pairs = terms[terms["term"] == "pair"]
    size = pairs["value"].abs().to_numpy().reshape(200, 6)
    assert result.columns.tolist() == ["field_i", "field_j", "value", "low", "high"]
    assert list(zip(result["field_i"], result["field_j"], strict=True)) == PAIRS
    np.testing.assert_allclose(result["value"], size.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(result["low"], np.percentile(size, 5, axis=0), rtol=1e-5)
    np.testing.assert_allclose(result["high"], np.percentile(size, 95, axis=0), rtol=1e-5)
    assert not np.allclose(result["value"], np.abs(pairs["value"].to_numpy().reshape(200, 6).mean(axis=0)), rtol=0.1)
    assert result.attrs["quantity"] == "contribution" and result.attrs["unit"] == "mean |contribution| (log-odds)"
    assert result.attrs["interval"] == "5th to 95th percentile over rows" and result.attrs["fields"] == NAMES


def test_ratings_models_can_be_explained():
    data = datasets.make_ratings(60, 40, 1_000)
    users, movies = data["users"][["user_id", "gender", "age"]], data["movies"][["movie_id", "genres"]]
    ratings = data["ratings"]
    model = AFM(epochs=1).fit(user_ids=ratings["user_id"], item_ids=ratings["movie_id"], ratings=ratings["rating"],
                              user_features=users, item_features=movies)
    X = ratings[["user_id", "movie_id"]].merge(users).merge(movies).rename(columns={"movie_id": "item_id"})
    assert len(explain.attention(model, X)) == 10
    sums = explain.contributions(model, X[:20]).groupby("row")["value"].sum()
    expected = model.batch_predict(list(zip(X["user_id"][:20], X["item_id"][:20], strict=True)))
    np.testing.assert_allclose(sums, expected, rtol=1e-4)
    assert explain.pair_importance(model, X).attrs["unit"] == "mean |contribution| (units of the target)"


# ------------------------------------------------------------------------------------------------- errors

def test_models_without_attention_say_so():
    X, y = table(50)
    for model in (LR(fields=FIELDS, epochs=1), FM(fields=FIELDS, epochs=1), DeepFM(fields=FIELDS, epochs=1)):
        with pytest.raises(TypeError, match=f"{type(model).__name__} has no attention; AFM and AutoInt do"):
            explain.attention(model.fit(X, y), X)


@pytest.mark.parametrize("function", [explain.contributions, explain.pair_importance])
def test_models_that_are_no_sums_over_pairs_say_so(function):
    X, y = table(50)
    for model in (AutoInt(fields=FIELDS, epochs=1), DeepFM(fields=FIELDS, epochs=1)):
        message = f"{type(model).__name__} is not a sum over fields and pairs.*LR, FM and AFM"
        with pytest.raises(TypeError, match=message):
            function(model.fit(X, y), X)


def test_lr_has_no_pairs():
    X, y = table(50)
    with pytest.raises(TypeError, match="LR has no pairs"):
        explain.pair_importance(LR(fields=FIELDS, epochs=1).fit(X, y), X)


def test_before_fit():
    X, _ = table(5)
    for function, model in ((explain.attention, AFM()), (explain.attention, AutoInt()), (explain.contributions, LR()),
                            (explain.contributions, FM()), (explain.pair_importance, AFM())):
        with pytest.raises(NotFittedError, match="not fitted"):
            function(model, X)


@pytest.mark.parametrize("function", [explain.attention, explain.contributions, explain.pair_importance])
def test_wrong_tables_are_refused(function, afm):
    X, _ = table(5)
    with pytest.raises(TypeError, match="DataFrame"):
        function(afm, X.to_numpy())
    with pytest.raises(ValueError, match="'hour' was in fit"):
        function(afm, X.drop(columns="hour"))
    if function is not explain.contributions:
        with pytest.raises(ValueError, match="no rows"):
            function(afm, X[:0])
    columns = {name: X[name].tolist() for name in X}
    pd.testing.assert_frame_equal(function(afm, columns), function(afm, X))


# ------------------------------------------------------------------------------------- the planted pairs

@pytest.fixture(scope="module", params=[0, 1, 2])
def planted(request):
    clicks = datasets.make_clicks(20_000, seed=request.param)
    first = clicks.planted_pairs.sort_values("value", ascending=False).iloc[0]
    return clicks, (first["field_i"], first["field_j"]), request.param


def top(result, n=1):
    best = result.sort_values("value", ascending=False)
    return list(zip(best["field_i"], best["field_j"], strict=True))[:n]


def test_the_planted_pair_contributes_most_in_an_fm(planted):
    clicks, pair, seed = planted
    model = FM(learning_rate=0.01, epochs=8, seed=seed).fit(clicks.X, clicks.y)
    assert top(explain.pair_importance(model, clicks.X)) == [pair]


def test_the_planted_pair_has_most_attention_and_contributes_most_in_an_afm(planted):
    clicks, pair, seed = planted
    model = AFM(learning_rate=0.01, epochs=8, seed=seed).fit(clicks.X, clicks.y)
    attention = explain.attention(model, clicks.X)
    assert top(attention) == [pair]
    assert attention["value"].max() > 1.4 * attention["uniform"].iloc[0]
    importance = explain.pair_importance(model, clicks.X)
    assert top(importance) == [pair]
    assert ("hour", "device") in top(importance, 3)     # the second of the planted pairs


def test_a_model_of_ones_own_is_explained_through_its_hooks():
    class Halved(FM):
        """An FM whose pairs count half."""

        def forward(self, slots):
            return 0.5 * super().forward(slots) + 0.5 * self.linear.forward(slots)

        def pair_contributions(self):
            return 0.5 * super().pair_contributions()

    X, y = table()
    model = Halved(fields=FIELDS, epochs=2).fit(X, y)
    sums = explain.contributions(model, X[:20]).groupby("row")["value"].sum()
    np.testing.assert_allclose(sums, model.decision_function(X[:20]), atol=1e-5)
    assert len(explain.pair_importance(model, X)) == 6
