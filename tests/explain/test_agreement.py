"""Removing pairs, and how far all that is said of pairs agrees: against loops from the definitions, and by artists."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from tables import FIELDS, mixed_table

from minictr import AFM, FM, LR, AutoInt, DeepFM, NotFittedError, datasets, explain, plots, training
from minictr.explain import agreement
from minictr.layers import parameters, softmax
from minictr.metrics import log_loss

NAMES = ["user", "hour", "price", "genres"]
PAIRS = list(combinations(NAMES, 2))
INDEX = list(combinations(range(4), 2))


def redrawn(model, X, y, seed=0):
    """The model with all its weights drawn anew, in float64, so that rounding hides nothing."""
    model = model.set_params(dtype="float64").prepare(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


@pytest.fixture(scope="module")
def models():
    X, y = mixed_table(60, seed=0)
    return {"FM": redrawn(FM(embedding_dim=3, fields=FIELDS), X, y),
            "AFM": redrawn(AFM(embedding_dim=3, attention_dim=4, fields=FIELDS, dropout=0.3), X, y),
            "AutoInt": redrawn(AutoInt(embedding_dim=3, attention_dim=2, num_layers=2, fields=FIELDS), X, y),
            "DeepFM": redrawn(DeepFM(embedding_dim=2, deep_layers=(3,), fields=FIELDS), X, y),
            "LR": redrawn(LR(fields=FIELDS), X, y)}


def vectors(model, X):
    return model.embedding.forward(model.encoder_.encode(X))


def loss_of(y, logits):
    return log_loss(y, 1 / (1 + np.exp(-np.asarray(logits))))


# ---------------------------------------------------------------------------------------- removing a pair

def afm_logits(model, X, without, how):
    """AFM's equations, row by row, with one pair's attention masked, or its product set to 0."""
    p, logits = parameters(model), []
    first_order = model.linear.forward(model.encoder_.encode(X))
    for b, e in enumerate(vectors(model, X)):
        products = np.array([e[i] * e[j] for i, j in INDEX])
        if how == "product":
            products[without] = 0
        scores = np.maximum(products @ p["attention.W"] + p["attention.b"], 0) @ p["attention.h"]
        if how == "attention":
            scores[without] = -np.inf
        weights = softmax(scores, axis=0)
        logits.append(first_order[b] + p["projection.p"] @ (weights @ products))
    return logits


def autoint_logits(model, X, i, j):
    """AutoInt's equations with -inf where the fields i and j would look at each other."""
    p, logits = parameters(model), []
    for e in vectors(model, X):
        for layer in (1, 2):
            Q, K, V, R = (p[f"interacting_{layer}.W_{name}"] for name in ("Q", "K", "V", "Res"))
            heads = []
            for own in (slice(0, 2), slice(2, 4)):
                scores = (e @ Q[:, own]) @ (e @ K[:, own]).T
                scores[i, j] = scores[j, i] = -np.inf
                heads.append(softmax(scores, axis=1) @ (e @ V[:, own]))
            e = np.maximum(np.concatenate(heads, axis=1) + e @ R, 0)
        logits.append(e.ravel() @ p["readout.w"] + p["readout.b"][0])
    return logits


@pytest.mark.parametrize("how", ["attention", "product"])
def test_removing_a_pair_from_an_afm(how, models, monkeypatch):
    X, y = mixed_table(70, seed=1)
    expected = [loss_of(y, afm_logits(models["AFM"], X, pair, how)) for pair in range(6)]
    whole = loss_of(y, models["AFM"].decision_function(X))
    monkeypatch.setattr(training.chunk_sizes, "CHUNK_NUMBERS", 1)             # chunks of 8 rows
    result = explain.pair_removal(models["AFM"], X, y, how=how)
    assert list(zip(result["field_i"], result["field_j"], strict=True)) == PAIRS
    np.testing.assert_allclose(result["value"], np.array(expected) - whole, atol=1e-6)
    assert result.attrs["loss"] == pytest.approx(whole, abs=1e-6)
    assert result.attrs["quantity"] == f"loss without {how}" and np.abs(result["value"]).max() > 0.01
    assert result.attrs["unit"] == "increase of the log loss" and result.attrs["fields"] == NAMES


@pytest.mark.parametrize("name", ["FM", "DeepFM"])
def test_removing_a_pair_from_a_sum_over_pairs(name, models):
    X, y = mixed_table(50, seed=1)
    E, logits = vectors(models[name], X), models[name].decision_function(X)
    expected = [loss_of(y, logits - (E[:, i] * E[:, j]).sum(axis=1)) - loss_of(y, logits) for i, j in INDEX]
    np.testing.assert_allclose(explain.pair_removal(models[name], X, y)["value"], expected, atol=1e-6)


def test_removing_a_pair_from_an_autoint(models):
    X, y = mixed_table(50, seed=1)
    result = explain.pair_removal(models["AutoInt"], X, y)
    whole = loss_of(y, models["AutoInt"].decision_function(X))
    expected = [loss_of(y, autoint_logits(models["AutoInt"], X, i, j)) - whole for i, j in INDEX]
    np.testing.assert_allclose(result["value"], expected, atol=1e-6)
    assert result.attrs["quantity"] == "loss without attention" and np.abs(result["value"]).max() > 0.01


def test_rows_of_weight_0_do_not_count(models):
    X, y = mixed_table(40, seed=1)
    weights = np.repeat([3.0, 0.0], 20)
    for name in ("FM", "AFM", "AutoInt"):
        weighted = explain.pair_removal(models[name], X, y, sample_weight=weights)
        half = explain.pair_removal(models[name], X[:20], y[:20])
        np.testing.assert_allclose(weighted["value"], half["value"], atol=1e-12)


@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
def test_without_its_only_pair_an_afm_is_its_first_order():
    X, y = mixed_table(30)
    model = redrawn(AFM(embedding_dim=3, fields=["user", "hour"]), X, y)
    first_order = loss_of(y, model.linear.forward(model.encoder_.encode(X)))
    for how in ("attention", "product"):
        result = explain.pair_removal(model, X, y, how=how)
        assert result["value"][0] + result.attrs["loss"] == pytest.approx(first_order, abs=1e-6)


@given(M=st.integers(2, 5), heads=st.integers(1, 3), seed=st.integers(0, 100), sharp=st.sampled_from([1, 300]))
def test_blindfolded_attention_is_masked_and_sums_to_one(M, heads, seed, sharp):
    rng = np.random.default_rng(seed)
    scores = sharp * rng.normal(0, 1, (4, heads, M, M))           # sharp: all attention on one field
    a = softmax(scores, axis=3)
    kept = a.copy()
    i, j = rng.permutation(M)[:2]
    out = agreement._Blindfold(i, j).forward(a)
    np.testing.assert_array_equal(a, kept)
    assert (out[:, :, i, j] == 0).all() and (out[:, :, j, i] == 0).all()
    sums = out.sum(axis=3)
    assert (np.isclose(sums, 1) | (sums == 0)).all()              # 0: it looked at nothing else
    others = [m for m in range(M) if m not in (i, j)]
    np.testing.assert_array_equal(out[:, :, others], kept[:, :, others])
    scores[:, :, i, j] = scores[:, :, j, i] = -np.inf
    if sharp == 1:
        np.testing.assert_allclose(out, softmax(scores, axis=3))


@pytest.mark.parametrize("name", ["AFM", "AutoInt"])
def test_removing_leaves_the_model_as_it_was(name, models):
    X, y = mixed_table(20, seed=1)
    before = models[name].decision_function(X)
    explain.pair_removal(models[name], X, y)
    np.testing.assert_array_equal(models[name].decision_function(X), before)


def test_what_cannot_be_removed(models):
    X, y = mixed_table(10)
    for name, how in (("LR", None), ("DeepFM", "attention"), ("FM", "attention"), ("AutoInt", "product")):
        with pytest.raises(TypeError, match=f"{name} has no {how or 'attention'}"):
            explain.pair_removal(models[name], X, y, how=how)
    with pytest.raises(ValueError, match="how must be one of"):
        explain.pair_removal(models["FM"], X, y, how="delete")
    with pytest.raises(NotFittedError):
        explain.pair_removal(FM(), X, y)
    with pytest.raises(TypeError, match="got a function"):
        explain.pair_removal(lambda X: 0, X, y)
    with pytest.raises(ValueError, match="needs y of 0 and 1"):
        explain.pair_removal(models["FM"], X, y + 1)


# --------------------------------------------------------------------------------------- all of them at once

@pytest.mark.parametrize("name, columns", [
    ("FM", ["contribution", "contribution spread", "interaction effect", "loss without product"]),
    ("AFM", ["attention", "contribution", "contribution spread", "interaction effect", "loss without attention",
             "loss without product"]),
    ("AutoInt", ["attention", "interaction effect", "loss without attention"]),
    ("DeepFM", ["contribution", "contribution spread", "interaction effect", "loss without product"]),
    ("LR", ["interaction effect"])])
def test_each_column_is_its_own_functions(name, columns, models):
    X, y = mixed_table(50, seed=2)
    model = models[name]
    truth = pd.DataFrame(PAIRS[::-1], columns=["field_j", "field_i"]).assign(value=np.arange(6.0))
    result = explain.pair_quantities(model, X, y, truth=truth, partners=4, seed=3)
    assert result.columns.tolist() == ["field_i", "field_j", *columns, "planted effect"]
    assert result["planted effect"].tolist() == [5, 4, 3, 2, 1, 0]
    effects = explain.interaction_effects(model, X, partners=4, seed=3)
    np.testing.assert_array_equal(result["interaction effect"], effects["value"])
    if "contribution" in columns:
        terms = explain.contributions(model, X).query("term == 'pair'")["value"].to_numpy().reshape(50, 6)
        np.testing.assert_allclose(result["contribution"], np.abs(terms).mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(result["contribution spread"], terms.std(axis=0), rtol=1e-5, atol=1e-6)
    for how in ("attention", "product"):
        if f"loss without {how}" in columns:
            np.testing.assert_array_equal(result[f"loss without {how}"],
                                          explain.pair_removal(model, X, y, how=how)["value"])
    if name == "AFM":
        np.testing.assert_array_equal(result["attention"], explain.attention(model, X)["value"])
    if name == "AutoInt":
        a = explain.attention(model, X).groupby(["field_i", "field_j"])["value"].mean()
        np.testing.assert_allclose(result["attention"], [(a[i, j] + a[j, i]) / 2 for i, j in PAIRS])


def test_a_truth_about_other_pairs_is_refused(models):
    X, y = mixed_table(20)
    truth = pd.DataFrame(PAIRS, columns=["field_i", "field_j"]).assign(value=1.0)
    for bad, message in ((truth[:5], r"differ in 1 pairs of fields, such as \['genres', 'price'\]"),
                         (pd.concat([truth, truth[:1]]), "one is there twice"),
                         (truth.drop(columns="value"), r"it lacks \['value'\]"), ([1, 2], "must be a table")):
        with pytest.raises(ValueError, match=message):
            explain.pair_quantities(models["FM"], X, y, truth=bad)


# ------------------------------------------------------------------------------------------ rank correlation

@examples(50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=2, max_size=12))
def test_rank_correlation_is_that_of_ranks_counted_by_hand(values):
    a, b = np.array(values, float).T

    def ranks(x):       # 1 + those below + half of the other equal ones
        return np.array([1 + (x < value).sum() + ((x == value).sum() - 1) / 2 for value in x])

    result = agreement.rank_correlation(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert np.isnan(result)
    else:
        assert result == pytest.approx(np.corrcoef(ranks(a), ranks(b))[0, 1])
        assert result == pytest.approx(agreement.rank_correlation(b, np.exp(a)))


# ------------------------------------------------------------------------------- does it tell the truth?

def worlds(train_rows, test_rows=None):
    return (datasets.make_clicks(rows, seed=0, rows_seed=rows_seed)
            for rows_seed, rows in enumerate((train_rows, test_rows or train_rows)))


SMALL = {"background": 100, "partners": 4}


@pytest.fixture(scope="module")
def told():
    train, test = worlds(20_000, 2_000)
    model = AFM(epochs=6, learning_rate=0.01, seed=4).fit(train.X, train.y, validation=0.1)
    return model, train, test, explain.truthfulness(
        model, (train.X, train.y), (test.X, test.y), truth=train.planted_pairs, seeds=3, validation=0.1, **SMALL)


def test_it_compares_the_models_runs(told):
    """Computed again from the parts: the model itself, and refits with the next seeds."""
    model, train, test, result = told
    runs = [model] + [model.clone().set_params(seed=seed).fit(train.X, train.y, validation=0.1) for seed in (5, 6)]
    tables = [explain.pair_quantities(run, test.X, test.y, truth=train.planted_pairs, seed=number, **SMALL)
              for number, run in enumerate(runs)]
    quantities = tables[0].columns[2:].tolist()
    assert result.attrs["quantities"] == quantities and quantities[0] == "attention"
    row_of = result.set_index(["quantity_a", "quantity_b"])
    assert len(row_of) == 7 * 8 // 2 - 1
    for a, b in combinations(quantities, 2):
        expected = [table[[a, b]].corr(method="spearman").iloc[0, 1] for table in tables]
        np.testing.assert_allclose(row_of.loc[(a, b), ["value", "low", "high"]].astype(float),
                                   [np.mean(expected), min(expected), max(expected)])
        tops = [set(table.nlargest(5, a).index) & set(table.nlargest(5, b).index) for table in tables]
        assert row_of.loc[(a, b), "top_shared"] == pytest.approx(np.mean([len(top) / 5 for top in tops]))
    pairs_of_runs = [agreement.rank_correlation(tables[s]["attention"], tables[t]["attention"])
                     for s, t in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(row_of.loc[("attention", "attention"), ["value", "low", "high"]].astype(float),
                               [np.mean(pairs_of_runs), min(pairs_of_runs), max(pairs_of_runs)])
    assert result.attrs["loss"] == pytest.approx(np.mean(
        [log_loss(test.y, run.predict_proba(test.X)[:, 1]) for run in runs]), rel=1e-5)


def test_beyond_noise_is_what_it_says(told):
    result = told[-1]
    assert result.attrs["chance"] == pytest.approx(1.645 / np.sqrt(27)) and result.attrs["top"] == 5
    expected = (result["low"] > result["noise_high"]) & (result["low"] > result.attrs["chance"])
    assert result["beyond_noise"].tolist() == expected.tolist() and 0 < expected.sum() < len(expected)
    assert (result["low"] <= result["value"]).all() and (result["value"] <= result["high"]).all()
    assert (result["noise_low"] <= result["noise"]).all() and (result["noise"] <= result["noise_high"]).all()
    assert result.attrs["noise_loss"] > result.attrs["loss"] + 0.05


def test_the_verdict_on_clicks_with_planted_pairs(told):
    result = told[-1]
    row = result.query("quantity_a == 'attention' and quantity_b == 'planted effect'").iloc[0]
    assert row["beyond_noise"]
    assert result.attrs["verdict"].startswith(
        f"attention and planted effect agree beyond noise: rank correlation {row['value']:.2f} of at most 0.67")
    values = np.r_[np.zeros(23), [1.5, 0.8, 0.4, 0.3, 0.3]]
    assert result.attrs["highest"] == pytest.approx(agreement.rank_correlation(np.arange(28), np.sort(values)))


def test_a_model_of_noise_does_not_tell_the_truth():
    train, test = worlds(1_500)
    y = np.random.default_rng(0).permutation(train.y)
    model = AFM(epochs=3, learning_rate=0.01).fit(train.X, y)
    result = explain.truthfulness(model, (train.X, y), (test.X, np.random.default_rng(1).permutation(test.y)),
                                  truth=train.planted_pairs, seeds=2, **SMALL)
    assert result.attrs["verdict"].startswith("attention and planted effect do not agree beyond noise")
    against_truth = result[result["quantity_b"] == "planted effect"]
    assert not against_truth["beyond_noise"].any()


def test_an_fm_to_start_from_is_fitted_on_shuffled_labels_too(monkeypatch):
    train, test = worlds(600)
    seen, fit = [], FM.fit
    monkeypatch.setattr(FM, "fit", lambda self, X, y, **settings: seen.append(y) or fit(self, X, y, **settings))
    start = FM(epochs=1).fit(train.X, train.y)
    model = AFM.from_fm(start, epochs=1).fit(train.X, train.y)
    before = start.decision_function(test.X)
    seen.clear()
    explain.truthfulness(model, (train.X, train.y), (test.X, test.y), seeds=2, background=10, partners=2)
    assert [np.array_equal(y, train.y) for y in seen] == [False, True, False]
    assert all(y.mean() == pytest.approx(train.y.mean()) for y in seen)
    assert model.init_from is start
    np.testing.assert_array_equal(start.decision_function(test.X), before)


def test_noise_models_train_for_as_long_as_the_runs_beside_them(monkeypatch):
    """With early stopping they would stop at once, and their pairs would say next to nothing: too low a noise floor."""
    train, test = worlds(2_000)
    model = FM(epochs=4, learning_rate=0.05).fit(train.X, train.y, validation=0.2)
    fitted, fit = [], FM.fit
    monkeypatch.setattr(FM, "fit", lambda self, X, y, **settings: (
        fitted.append((fit(self, X, y, **settings), y)) or self))
    explain.truthfulness(model, (train.X, train.y), (test.X, test.y), seeds=2, validation=0.2, background=10,
                         partners=2)
    (noise, y), (refit, y_refit), (noise_of_refit, _) = fitted
    assert not np.array_equal(y, train.y) and np.array_equal(y_refit, train.y)
    for run, beside in ((model, noise), (refit, noise_of_refit)):
        assert run.history_.attrs["best_epoch"] < 4 or len(run.history_) == 4
        assert len(beside.history_) == beside.epochs == run.history_.attrs["best_epoch"]
        assert beside.history_["val_loss"].isna().all()


def test_a_single_run_without_truth():
    train, test = worlds(600)
    model = LR(epochs=1).fit(train.X, train.y)
    result = explain.truthfulness(model, (train.X, train.y), (test.X, test.y), seeds=1, background=10, partners=2,
                                  verbose=True)
    assert result[["quantity_a", "quantity_b"]].to_numpy().tolist() == [["interaction effect"] * 2]
    assert result["value"].isna().all() and not result["beyond_noise"].any() and result.attrs["highest"] is None
    assert result.attrs["verdict"] == "there is no second quantity to compare with that ranks the pairs"


def test_what_truthfulness_refuses(told):
    model, train, test, _ = told
    good = {"model": model, "train": (train.X, train.y), "test": (test.X, test.y)}
    for change, error, message in (
            ({"train": train.X}, TypeError, r"train must be a pair \(X, y\), got a DataFrame"),
            ({"test": (test.X, test.y[1:])}, ValueError, "each row needs one target"),
            ({"seeds": 0}, ValueError, "seeds must be"), ({"top": 29}, ValueError, "from 1 to 28"),
            ({"model": AFM()}, NotFittedError, "not fitted"), ({"model": print}, TypeError, "got a builtin"),
            ({"model": FM(fields=["hour", "device"], epochs=1).fit(train.X, train.y)}, ValueError,
             "at least 3 fields")):
        with pytest.raises(error, match=message):
            explain.truthfulness(**{**good, **change})


# ------------------------------------------------------------------------------------------------- picture

def test_the_picture_has_a_cell_for_each_two_quantities(told):
    result = told[-1]
    figures = plt.get_fignums()
    ax = plots.truthfulness(result, ax=Figure().subplots())
    assert plt.get_fignums() == figures
    quantities = result.attrs["quantities"]
    assert [label.get_text().replace("\n", " ") for label in ax.get_yticklabels()] == quantities
    assert [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()] == quantities
    matrix = ax.images[0].get_array().filled(np.nan)
    for _, row in result.iterrows():
        a, b = quantities.index(row["quantity_a"]), quantities.index(row["quantity_b"])
        assert matrix[b, a] == row["value"]
    assert np.isnan(matrix[np.triu_indices(7, 1)]).all() and ax.images[0].get_clim() == (-1, 1)
    first = result.iloc[0]
    assert ax.texts[0].get_text() == (f"{first['value']:.2f}\n{first['low']:.2f} to {first['high']:.2f}\n"
                                      f"noise {first['noise']:.2f}")
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert len(hatched) == (~result["beyond_noise"]).sum() and len(ax.texts) == len(result)
    assert "3 runs" in ax.get_xlabel()


def test_the_picture_of_a_table_with_gaps_and_a_new_figure(told):
    table = told[-1].copy()
    table.loc[0, ["value", "low", "high", "noise"]] = np.nan
    ax = plots.truthfulness(table, cmap="PuOr")
    assert len(ax.texts) == len(table) - 1 and ax.images[0].get_cmap().name == "PuOr"
    plt.close("all")
    for bad, error in ((table[:0], ValueError), (table.drop(columns="noise"), ValueError), ([1], TypeError)):
        with pytest.raises(error, match="truthfulness"):
            plots.truthfulness(bad)
