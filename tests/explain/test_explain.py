"""The explain tables: attention, contributions, pair importance, all against brute force over every row."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import ATTENDING, KINDS, MODELS, blocks, small
from tables import FIELDS, mixed_table

from minictr import AFM, FM, LR, AutoInt, DeepFM, NotFittedError, Numerical, datasets, explain, training
from minictr.layers import parameters
from minictr.training import threads

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
    """Chunks of a few rows, so that a table that forgets all but the last chunk shows."""
    monkeypatch.setattr(training.chunk_sizes, "CHUNK_NUMBERS", 1)


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
    assert training.chunk_rows(afm, afm.encoder_.encode(X)) == 8
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
    monkeypatch.setattr(training.chunk_sizes, "CHUNK_NUMBERS", 1)
    in_chunks = function(afm, X)
    pd.testing.assert_frame_equal(in_chunks, whole, rtol=1e-5)
    assert in_chunks.attrs == whole.attrs


@pytest.mark.parametrize("interval_rows", [10, 100, 299, 300, 301])
def test_intervals_are_over_evenly_spaced_rows_and_means_over_all(interval_rows, afm, small_chunks, monkeypatch):
    X, _ = table(300, seed=1)
    monkeypatch.setattr(explain.summaries, "INTERVAL_ROWS", interval_rows)
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


def test_explaining_leaves_blas_one_thread_and_gives_its_threads_back(afm, small_chunks, monkeypatch):
    controls = threads._openblas_controls()
    if controls is None:
        pytest.skip("NumPy's BLAS is no OpenBLAS of its own")
    get_threads, set_threads = controls
    before, during, forward = get_threads(), [], AFM.forward
    monkeypatch.setattr(AFM, "forward", lambda *args: during.append(get_threads()) or forward(*args))
    try:
        set_threads(2)
        explain.attention(afm, mixed_table(50, seed=5)[0])
        assert during.count(1) > 1 and get_threads() == 2         # once more on one row, to see what there is
    finally:
        set_threads(before)


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
    for name in set(MODELS) - set(ATTENDING):
        with pytest.raises(TypeError, match=f"{name} has no attention; .*AFM.* and .* do"):
            explain.attention(small(name, FIELDS, fields=FIELDS, epochs=1).fit(X, y), X)


@pytest.mark.parametrize("function", [explain.contributions, explain.pair_importance])
def test_models_that_are_no_sums_over_pairs_say_so(function):
    X, y = table(50)
    with pytest.raises(TypeError, match=r"AutoInt is not a sum of terms.*; .* and .* have them"):
        function(AutoInt(fields=FIELDS, epochs=1).fit(X, y), X)


def test_lr_has_no_pairs():
    X, y = table(50)
    with pytest.raises(TypeError, match="LR has no terms of pairs"):
        explain.pair_importance(LR(fields=FIELDS, epochs=1).fit(X, y), X)


def test_before_fit():
    X, _ = table(5)
    for name in MODELS:
        for function, there in ((explain.attention, name in ATTENDING), (explain.contributions, blocks(name)),
                                (explain.pair_importance, "pairs" in blocks(name))):
            if there:
                with pytest.raises(NotFittedError, match="not fitted"):
                    function(small(name), X)


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

@pytest.fixture(scope="module", params=[0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
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


def test_a_model_of_ones_own_is_explained_through_its_terms(monkeypatch):
    class Halved(FM):
        """An FM whose pairs count half."""

        def forward(self, slots):
            return 0.5 * super().forward(slots) + 0.5 * self.linear.forward(slots)

        def terms(self):
            return {name: values * (0.5 if name == "pairs" else 1) for name, values in super().terms().items()}

    X, y = table()
    model = Halved(fields=FIELDS, epochs=2).fit(X, y)
    sums = explain.contributions(model, X[:20]).groupby("row")["value"].sum()
    np.testing.assert_allclose(sums, model.decision_function(X[:20]), atol=1e-5)
    assert len(explain.pair_importance(model, X)) == 6
    monkeypatch.setattr(Halved, "terms", FM.terms)                # of which the sum is another logit
    with pytest.raises(ValueError, match=r"terms of Halved add up to .* leaves something out or counts it twice"):
        explain.contributions(model, X[:20])


def test_other_terms_than_fields_and_pairs_are_called_by_their_name():
    class Lifted(FM):
        """An FM with two numbers added to each logit."""

        def forward(self, slots):
            s = super().forward(slots)
            self.lifted = np.stack([np.full_like(s, 2), np.arange(len(s), dtype=s.dtype)], axis=1)
            return s + self.lifted.sum(axis=1)

        def terms(self):
            return {**super().terms(), "lift": self.lifted}

    X, y = table()
    table_of_terms = explain.contributions(Lifted(fields=FIELDS, epochs=1).fit(X, y), X[:3])
    assert table_of_terms["term"].tolist()[-2:] == ["lift 1", "lift 2"]
    assert table_of_terms["value"].tolist()[-2:] == [2, 2]


# ---------------------------------------------------------------------------------- attention: groups and rows

@pytest.mark.parametrize("kind", ["y", "column", "multi-valued", "binned"])
def test_attention_by_group_is_the_mean_over_the_rows_of_each_group(kind, small_chunks):
    X, y = table(200, seed=1)
    fields = [*FIELDS[:2], Numerical("price", bins=3), FIELDS[3]] if kind == "binned" else FIELDS
    model = AFM(embedding_dim=3, attention_dim=4, fields=fields, epochs=1).fit(X, y)
    rng = np.random.default_rng(0)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    by = {"y": y, "column": "hour", "multi-valued": "genres", "binned": "price"}[kind]
    result = explain.attention(model, X, by=by)
    a = afm_attention_by_brute_force(model, X)
    if kind == "multi-valued":
        groups = {value: X["genres"].str.split("|").map(lambda cell, v=value: v in cell) for value in "abc"}
    elif kind == "binned":
        labels = np.array(model.encoder_.feature_names("price"))[
            2 + np.searchsorted(model.encoder_.encoders["price"].edges, X["price"], side="right")]
        groups = {label: labels == label for label in model.encoder_.feature_names("price")[2:]}
    else:
        labels = pd.Series(y) if kind == "y" else X["hour"]
        groups = {label: labels == label for label in sorted(labels.unique())}
    assert result["group"].unique().tolist() == list(groups)
    assert result.attrs["by"] == (by if isinstance(by, str) else "label") and result.attrs["rows"] == 200
    for label, members in groups.items():
        part, mine = result[result["group"] == label], a[np.asarray(members)]
        assert list(zip(part["field_i"], part["field_j"], strict=True)) == PAIRS
        assert (part["rows"] == len(mine)).all() and (part["uniform"] == 1 / 6).all()
        np.testing.assert_allclose(part["value"], mine.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(part["low"], np.percentile(mine, 5, axis=0), rtol=1e-4)
        np.testing.assert_allclose(part["high"], np.percentile(mine, 95, axis=0), rtol=1e-4)


def test_pair_importance_by_group_is_that_of_its_rows(fm, small_chunks):
    X, y = table(200, seed=1)
    result = explain.pair_importance(fm, X, by=pd.Series(y, name="click"))
    for label in (0, 1):
        part = result[result["group"] == label].reset_index(drop=True)
        alone = explain.pair_importance(fm, X[y == label])
        pd.testing.assert_frame_equal(part[alone.columns], alone, rtol=1e-4)
    assert result.attrs["by"] == "click"


def test_missing_labels_are_a_group(afm):
    X, _ = table(20)
    result = explain.attention(afm, X, by=[None, "x"] * 10)
    assert result["group"].unique().tolist() == ["x", "(missing)"] and (result["rows"] == 10).all()


def test_groups_that_make_no_sense_are_refused(afm):
    X, y = table(200)
    with pytest.raises(ValueError, match="by='weekday' is no column of X, which has"):
        explain.attention(afm, X, by="weekday")
    with pytest.raises(ValueError, match="by has 199 labels and X has 200 rows"):
        explain.attention(afm, X, by=y[1:])
    with pytest.raises(ValueError, match=r"'price' has 200 different values, at most 50 .*pandas.cut\(X"):
        explain.attention(afm, X, by="price")
    with pytest.raises(ValueError, match="choose one"):
        explain.attention(afm, X, by=y, per_row=True)


@pytest.mark.parametrize("which", ["afm", "autoint"])
def test_attention_of_single_rows_has_their_mean(which, request, small_chunks):
    model = request.getfixturevalue(which)
    X, _ = table(70, seed=1)
    rows, mean = explain.attention(model, X, per_row=True), explain.attention(model, X)
    C = len(mean)
    assert rows["row"].tolist() == np.repeat(np.arange(70), C).tolist() and not {"low", "high"} & set(rows)
    np.testing.assert_allclose(rows["value"].to_numpy().reshape(70, C).mean(axis=0), mean["value"], rtol=1e-4)
    one = explain.attention(model, X[13:14])
    np.testing.assert_allclose(rows["value"][13 * C:14 * C], one["value"], rtol=1e-4)
    keys = [name for name in ("layer", "head", "field_i", "field_j") if name in mean]
    assert (rows[keys].to_numpy()[:C] == mean[keys].to_numpy()).all()
    assert explain.attention(model, X[:0], per_row=True).empty


def test_single_rows_are_bounded(afm, monkeypatch):
    monkeypatch.setattr(explain.attention_tables, "MAX_LINES", 60)
    X, _ = table(11)
    assert len(explain.attention(afm, X[:10], per_row=True)) == 60
    with pytest.raises(ValueError, match=r"66 lines, 6 a row.*at most 10 rows, e.g. X\[:10\]"):
        explain.attention(afm, X, per_row=True)


def test_intervals_of_wide_tables_use_fewer_rows_and_say_so(autoint, monkeypatch):
    X, y = table(300)
    assert explain.attention(autoint, X).attrs["interval_rows"] == 300
    monkeypatch.setattr(explain.summaries, "INTERVAL_NUMBERS", 64 * 50)
    result = explain.attention(autoint, X)
    assert result.attrs["interval_rows"] == 50 and result.attrs["rows"] == 300
    each = explain.attention(autoint, X, per_row=True)["value"].to_numpy().reshape(300, 64)
    np.testing.assert_allclose(result["low"], np.percentile(each[::6], 5, axis=0), rtol=1e-4)
    assert explain.attention(autoint, X, by=y).attrs["interval_rows"] <= 50


# --------------------------------------------------------------------------------- attention: layers and heads

def raw_attention(model, X):
    """(rows, layers, heads, M, M)."""
    model.forward(model.encoder_.encode(X))
    return np.stack([layer.cache["a"] for layer in model.interacting], axis=1).astype(float)


@pytest.mark.parametrize("layers, heads", [(1, "all"), (2, 1), ("mean", "all"), ("all", "mean"), ("mean", "mean"),
                                           ("rollout", "all"), ("rollout", "mean"), ("rollout", 2), ("all", 2)])
@pytest.mark.parametrize("residual", [True, False])
def test_layers_and_heads_are_put_together_as_asked(layers, heads, residual):
    model = shaken(AutoInt(embedding_dim=3, attention_dim=2, num_layers=2, num_heads=2, residual=residual))
    X, _ = table(30, seed=1)
    a = raw_attention(model, X)
    heads_done = "mean" if layers == "rollout" and heads == "all" else heads
    if heads_done == "mean":
        a = a.mean(axis=2, keepdims=True)
    elif heads_done != "all":
        a = a[:, :, heads_done - 1:heads_done]
    if layers == "mean":
        a = a.mean(axis=1, keepdims=True)
    elif layers == "rollout":
        steps = 0.5 * (a + np.eye(4)) if residual else a
        a = np.einsum("bhij,bhjk->bhik", steps[:, 1], steps[:, 0])[:, None]
    elif layers != "all":
        a = a[:, layers - 1:layers]
    result = explain.attention(model, X, layers=layers, heads=heads)
    np.testing.assert_allclose(result["value"], a.mean(axis=0).ravel(), rtol=1e-4)
    np.testing.assert_allclose(result["high"], np.percentile(a, 95, axis=0).ravel(), rtol=1e-4)
    np.testing.assert_allclose(result.groupby(["layer", "head", "field_i"])[["value", "uniform"]].sum(), 1, rtol=1e-5)
    assert result["layer"].unique().tolist() == ([1, 2] if layers == "all" else [layers])
    assert result["head"].unique().tolist() == ([1, 2] if heads_done == "all" else [heads_done])
    said = result.attrs["aggregation"]
    assert {"all": "each layer by itself", "mean": "mean over all layers", "rollout": "attention rollout"}.get(
        layers, f"layer {layers}") in said
    assert ("residuals" in said) == (layers == "rollout" and residual)
    assert {"all": "each head by itself", "mean": "mean over all heads"}.get(heads_done, f"head {heads_done}") in said


def test_the_uniform_reference_of_a_rollout_is_the_rollout_of_uniform_attention(autoint):
    X, _ = table(10)
    result = explain.attention(autoint, X, layers="rollout")
    uniform = result["uniform"].to_numpy().reshape(4, 4)
    np.testing.assert_allclose(uniform, (1 - 0.25) / 4 + 0.25 * np.eye(4))
    assert result.attrs["uniform"] is None and explain.attention(autoint, X, layers="mean").attrs["uniform"] == 0.25


@pytest.mark.parametrize("options", [{"layers": 0}, {"layers": 3}, {"layers": "last"}, {"layers": 1.0},
                                     {"heads": 3}, {"heads": "rollout"}, {"heads": True}])
def test_layers_and_heads_that_are_not_there(autoint, options):
    with pytest.raises(ValueError, match=r"must be 'all', 'mean'.* or a whole number from 1 to 2"):
        explain.attention(autoint, table(5)[0], **options)


def test_an_afm_has_neither_layers_nor_heads(afm):
    with pytest.raises(ValueError, match="AFM has one attention, over pairs"):
        explain.attention(afm, table(5)[0], layers=1)


# ------------------------------------------------------------------- attention that has collapsed, or is trivial

def test_attention_with_something_to_see_has_no_note(afm, autoint):
    X, _ = table(100)
    assert explain.attention(afm, X).attrs["note"] is None
    assert explain.attention(autoint, X).attrs["note"] is None


def test_uniform_attention_is_recognised_and_said():
    X, y = table(100)
    model = shaken(AFM(embedding_dim=3, attention_dim=4))
    model.attention.params["h"][...] = 0
    assert explain.attention(model, X).attrs["note"].startswith("uniform in nearly all rows, to within 1%")
    model.attention.params["h"][...] = 1e-2         # a trace of preference, but more than a hundredth of 1/P
    assert explain.attention(model, X).attrs["note"] is None
    model = shaken(AutoInt(embedding_dim=3, attention_dim=2, num_layers=2, num_heads=2))
    model.interacting[0].params["W_Q"][:, 2:] = 0   # the second head
    assert explain.attention(model, X).attrs["note"] == (
        "uniform in nearly all rows, to within 1%: no field is preferred (in layer 1 head 2)")
    model.interacting[0].params["W_Q"][...] = model.interacting[1].params["W_Q"][...] = 0
    assert explain.attention(model, X).attrs["note"].endswith("(in all 4 parts)")
    assert explain.attention(model, X, layers="rollout").attrs["note"].startswith("uniform")
    assert explain.attention(model, X, layers="mean", heads="mean", by=y).attrs["note"].endswith("(in all 2 parts)")


def test_collapsed_attention_is_recognised_and_said():
    X, _ = table(100)
    model = shaken(AFM(embedding_dim=3, attention_dim=1))
    V, offsets = model.embedding.params["V"], [*model.encoder_.offsets, len(model.embedding.params["V"])]
    for M, start, stop in zip(range(4), offsets, offsets[1:], strict=False):
        V[start:stop] = 3.0 if M < 2 else 0.1       # user and hour: their product is by far the largest
    model.attention.params["W"][...] = model.attention.params["h"][...] = 1
    model.attention.params["b"][...] = 0
    assert explain.attention(model, X).attrs["note"] == (
        "collapsed on user × hour: more than 0.99 of the attention in nearly all rows")
    model = shaken(AutoInt(embedding_dim=1, attention_dim=1, num_layers=1, num_heads=1))
    V = model.embedding.params["V"]
    V[...] = 1
    V[model.encoder_.offsets[1]:model.encoder_.offsets[2]] = 9
    model.interacting[0].params["W_Q"][...] = model.interacting[0].params["W_K"][...] = 3
    plain = X.assign(price=X["price"].mean() + X["price"].std(ddof=0))
    note = explain.attention(model, plain).attrs["note"]
    assert note == "collapsed on hour, for every field: more than 0.99 of the attention in nearly all rows"


@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
def test_one_pair_and_one_field_are_called_trivial():
    X, y = table(60)
    note = explain.attention(AFM(fields=["user", "hour"], epochs=1).fit(X, y), X).attrs["note"]
    assert note == "trivial: there is one pair, and its attention is always 1: it says nothing"
    assert explain.attention(AutoInt(fields=["user"], num_layers=1, num_heads=1, epochs=1).fit(X, y), X).attrs[
        "note"].startswith("trivial: there is one field")


# ------------------------------------------------------------------------- contributions: DeepFM, and many rows

@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_deepfm_has_an_exact_fm_part_and_a_deep_part(task, use_bn, small_chunks):
    model = shaken(DeepFM(embedding_dim=3, deep_layers=(5, 4), use_bn=use_bn, dropout=0.3))
    X, _ = table(60, seed=4)
    if task == "regression":
        model.fit(table()[0], table()[0]["price"])
    result = explain.contributions(model, X)
    np.testing.assert_allclose(result.groupby("row")["value"].sum(), model.decision_function(X), rtol=1e-4, atol=1e-4)
    assert result["term"].tolist()[:12] == ["bias"] + ["field"] * 4 + ["pair"] * 6 + ["deep part"]
    values = result["value"].to_numpy().reshape(60, 12)
    p, e = parameters(model), field_vectors(model, X)
    np.testing.assert_allclose(values[:, 0], p["mlp.out.b"][0], rtol=1e-6)
    np.testing.assert_allclose(values[:, 5:11], [[row[i] @ row[j] for i, j in combinations(range(4), 2)] for row in e],
                               rtol=1e-3, atol=1e-5)
    if not use_bn:
        hidden = e.reshape(60, -1)
        for layer in ("dense_1", "dense_2"):
            hidden = np.maximum(0, hidden @ p[f"mlp.{layer}.W"].astype(float) + p[f"mlp.{layer}.b"])
        np.testing.assert_allclose(values[:, 11], hidden @ p["mlp.out.w"], rtol=1e-3, atol=1e-4)
    assert not result["field_j"].iloc[11:12].notna().any()


def test_pair_importance_of_a_deepfm_says_what_it_leaves_out():
    model = shaken(DeepFM(embedding_dim=3, deep_layers=(5,)))
    X, _ = table(60, seed=4)
    result = explain.pair_importance(model, X)
    terms = explain.contributions(model, X)
    size = terms[terms["term"] == "pair"]["value"].abs().to_numpy().reshape(60, 6)
    np.testing.assert_allclose(result["value"], size.mean(axis=0), rtol=1e-5)
    assert "what the deep part makes of a pair is not in it" in result.attrs["note"]
    assert "in the terms of pairs" in result.attrs["unit"]
    assert explain.pair_importance(shaken(FM(embedding_dim=3)), X).attrs["note"] is None


@given(name=st.sampled_from([name for name in KINDS if blocks(name)]), dtype=st.sampled_from(["float32", "float64"]),
       chosen=st.lists(st.sampled_from([0, 1, 2, 3]), min_size=2, max_size=4, unique=True), n_rows=st.integers(1, 40),
       seed=st.integers(0, 99))
@examples(30)
@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
def test_contributions_add_up_whatever_the_fields_and_shapes(name, dtype, chosen, n_rows, seed):
    fields = [FIELDS[i] for i in chosen]
    model = small(name, fields, dtype=dtype, fields=fields, epochs=1)
    X, y = table(50, seed)
    model.fit(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    X, _ = table(n_rows, seed + 1)
    X.loc[0, ["user", "genres"]] = [None, "new"]
    wide, long = explain.contributions(model, X, wide=True), explain.contributions(model, X)
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(wide.sum(axis=1), model.decision_function(X), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(long["value"].to_numpy().reshape(n_rows, -1), wide.to_numpy())
    assert [tuple(part or None for part in column) for column in wide.columns] == [
        tuple(line) for line in long[list(wide.columns.names)][:wide.shape[1]].to_numpy()]
    assert wide.attrs == long.attrs


def test_autoint_says_why_it_has_no_contributions_and_what_to_use():
    X, y = table(50)
    with pytest.raises(TypeError, match=r"not a sum .*explain\.interaction_effects.*explain\.attention"):
        explain.contributions(AutoInt(fields=FIELDS, epochs=1).fit(X, y), X)


def test_embeddings_are_the_vectors_of_the_values_that_training_saw(fm):
    X, _ = table()
    result = explain.embeddings(fm, "genres")
    assert result["value"].tolist() == ["a", "b", "c"] and result.columns.tolist()[2:] == ["v1", "v2", "v3"]
    start = fm.encoder_.offsets[3] + 2
    np.testing.assert_array_equal(result[["v1", "v2", "v3"]], fm.embedding.params["V"][start:start + 3])
    assert result["count"].tolist() == [X["genres"].str.contains(value).sum() for value in "abc"]
    with pytest.raises(ValueError, match="'actor' is not one of the fields"):
        explain.embeddings(fm, "actor")
    with pytest.raises(TypeError, match="LR has no layer called embedding"):
        explain.embeddings(shaken(LR()), "genres")
