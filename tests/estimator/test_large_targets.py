"""Targets far from 0 with a small spread: float32 would lose it, so training takes them less a centre."""

import copy
import json
import pickle
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from minictr import AFM, FM, LR, AutoInt, DeepFM, Model, ModelFileError, Numerical, explain
from minictr.estimator import Task
from minictr.layers import parameters

FIELDS = ["shop", "day", Numerical("size")]
FAR = 1.7e9
MODELS = {"LR": LR(), "FM": FM(embedding_dim=3), "AFM": AFM(embedding_dim=3, attention_dim=2),
          "AutoInt": AutoInt(embedding_dim=4), "DeepFM": DeepFM(embedding_dim=3, deep_layers=(8,))}
every_model = pytest.mark.parametrize("name", MODELS)


def table(n_rows=600):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"shop": rng.choice(["a", "b", "c", "d"], n_rows), "day": rng.integers(0, 7, n_rows),
                      "size": rng.normal(0, 1, n_rows)})
    a = (X["shop"] == "a") + 0.5 * (X["day"] == 3) + 0.3 * X["size"] + rng.normal(0, 0.1, n_rows)
    return X, 20 * a.to_numpy()


X, SMALL = table()
LARGE = FAR + SMALL


def make(name, **settings):
    return MODELS[name].clone().set_params(
        **{"fields": FIELDS, "epochs": 15, "learning_rate": 0.1, "batch_size": 50, **settings})


def assert_same_weights(one, other):
    for name, array in parameters(one).items():
        np.testing.assert_array_equal(array, parameters(other)[name], err_msg=name)


# ------------------------------------------------------------------------------------------------ what is learned

@every_model
def test_a_large_target_is_learned_as_the_same_one_near_0(name):
    far, near = make(name).fit(X, LARGE, validation=0.2), make(name).fit(X, SMALL, validation=0.2)
    assert far.score(X, LARGE) > 0.5
    assert far.score(X, LARGE) == pytest.approx(near.score(X, SMALL), abs=0.05)
    predicted = far.predict(X)
    assert predicted.dtype == np.float64
    assert np.sqrt(np.mean((predicted - LARGE) ** 2)) < 0.7 * LARGE.std()
    history = far.history_
    assert history["train_loss"].iloc[-1] > 1 and history["val_loss"].min() < history.attrs["base_loss"] < 300


def test_without_a_spread_too():
    model = make("LR", epochs=1).fit(X, np.full(len(X), FAR + 3))
    assert abs(model.predict(X) - (FAR + 3)).max() < 1
    assert model.score(X, np.full(len(X), FAR + 3)) in (0.0, 1.0)


def test_a_table_and_its_pieces_have_the_same_centre_and_bits():
    def pieces():
        for start in range(0, len(X), 130):
            yield X[start:start + 130], LARGE[start:start + 130]

    weights = 1.0 + np.arange(len(X)) % 3
    one, other = make("FM", epochs=2).fit(X, LARGE), make("FM", epochs=2).fit(pieces)
    assert one.task_.centre == other.task_.centre != 0
    assert_same_weights(one, other)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    weighted = make("FM", epochs=2).fit(X, LARGE, sample_weight=weights)
    assert abs(weighted.task_.centre - np.average(LARGE, weights=weights)) < 1


def test_validation_rows_partial_fit_and_train_step_take_the_same_centre():
    model = make("FM", epochs=3).fit(X, LARGE, validation=(X[:100], LARGE[:100]))
    assert model.history_["val_loss"].iloc[-1] == pytest.approx(
        np.mean((model.predict(X[:100]) - LARGE[:100]) ** 2), rel=0.2)
    before = model.score(X, LARGE)
    for _ in range(10):
        model.partial_fit(X, LARGE)
    assert model.score(X, LARGE) > before
    assert model.train_step(X, LARGE) < LARGE.var()
    _, y, _ = model.encode(X, LARGE)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, LARGE - model.task_.centre, rtol=1e-6)
    started = make("FM").partial_fit(X[:1], LARGE[:1])            # the first row decides
    assert abs(started.task_.centre - LARGE[0]) < 1


def test_a_start_from_an_fm_takes_its_predictions_over_whatever_the_centres():
    fm = make("FM", epochs=3).fit(X, LARGE)
    model = AFM.from_fm(fm, fields=FIELDS).prepare(X, LARGE + 50)
    assert abs(model.task_.centre - fm.task_.centre) > 40
    np.testing.assert_allclose(model.predict(X), fm.predict(X), rtol=0, atol=0.01)


def test_ratings():
    users, items = np.arange(len(X)) % 30, np.arange(len(X)) // 30
    ratings = FAR + 20 * (users % 5)
    model = FM(embedding_dim=2, epochs=10, learning_rate=0.1, batch_size=50).fit(
        user_ids=users, item_ids=items, ratings=ratings)
    one = model.predict(4, 3)
    assert abs(one - (FAR + 80)) < 20
    np.testing.assert_allclose(model.batch_predict([(4, 3)]), [one], rtol=0, atol=0.01)
    ids, scores = model.recommend(4, exclude_seen=False, return_scores=True)
    np.testing.assert_allclose([model.predict(4, item) for item in ids], scores, rtol=0, atol=0.01)
    assert (np.diff(scores) <= 0).all() and abs(model.predict("nobody", 3) - FAR) < 100


# ------------------------------------------------------------------------------------------- kept, taken along

@every_model
def test_save_and_load_keep_the_centre(name, tmp_path):
    model = make(name, epochs=1).fit(X, LARGE)
    model.save(tmp_path / "m.npz", optimizer=True)
    loaded = Model.load(tmp_path / "m.npz")
    assert loaded.task_ == "regression" and loaded.task_.centre == model.task_.centre
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert_same_weights(loaded.partial_fit(X, LARGE), model.partial_fit(X, LARGE))


def test_an_ordinary_file_says_what_it_always_said(tmp_path):
    make("LR", epochs=1).fit(X, SMALL).save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as content:
        assert json.loads(bytes(content["meta"]))["task"] == "regression"


@pytest.mark.parametrize("wrong", [
    {"name": "binary", "centre": 2.0}, {"name": "regression", "centre": "far"}, {"name": "regression"},
    {"name": "regression", "centre": 1e400}, {"name": "regression", "centre": True}, {"name": ["regression"]}, 3, None,
    "ranking"])
def test_a_file_with_a_wrong_centre_is_damaged(wrong, tmp_path):
    make("LR", epochs=1).fit(X, LARGE).save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as content:
        arrays = dict(content)
    page = json.dumps(json.loads(bytes(arrays.pop("meta"))) | {"task": wrong}).encode()
    np.savez(tmp_path / "m.npz", meta=np.frombuffer(page, np.uint8), **arrays)
    with pytest.raises(ModelFileError, match=r"task|Infinity"):
        Model.load(tmp_path / "m.npz")


def test_copies_have_the_centre():
    model = make("LR", epochs=1).fit(X, LARGE)
    for other in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))


@pytest.mark.skipif(not find_spec("torch"), reason="needs PyTorch")
@every_model
def test_to_torch_adds_the_centre_in_double_precision(name):
    from minictr import to_torch

    model = make(name, epochs=2).fit(X, LARGE)
    module = to_torch(model)
    predicted = module(*module.inputs(X))
    np.testing.assert_allclose(predicted.detach().numpy(), model.decision_function(X), rtol=0, atol=1e-3)
    predicted.sum().backward()                                    # it can still be trained


# -------------------------------------------------------------------------------------------------- explained

@pytest.mark.parametrize("name", [name for name in MODELS if name != "AutoInt"])
def test_terms_add_up_to_the_prediction(name):
    model = make(name, epochs=3).fit(X, LARGE)
    predicted = model.predict(X[:50])
    table = explain.contributions(model, X[:50])
    np.testing.assert_allclose(table.groupby("row")["value"].sum(), predicted, rtol=0, atol=1e-3)
    wide = explain.contributions(model, X[:50], wide=True)
    np.testing.assert_allclose(wide.sum(axis=1), predicted, rtol=0, atol=1e-3)
    assert (abs(table.loc[table["term"] == "bias", "value"] - FAR) < 100).all()
    assert (abs(table.loc[table["term"] != "bias", "value"]) < 200).all()


@every_model
def test_one_prediction_and_what_is_measured_by_the_loss(name):
    far = make(name, epochs=5).fit(X, LARGE)
    one = explain.one_prediction(far, X[:1], background=X)
    assert one.prediction == pytest.approx(far.predict(X[:1])[0], abs=1e-3)
    assert one.average == pytest.approx(far.predict(X).mean(), abs=1e-3)
    assert one.terms["value"].sum() == pytest.approx(one.prediction, abs=1e-2)
    importance = explain.permutation_importance(far, X, LARGE)
    assert importance["value"].max() > 5 and importance["value"].max() < 500
    if name in ("FM", "AFM", "AutoInt", "DeepFM"):
        removal = explain.pair_removal(far, X, LARGE)
        assert removal.attrs["loss"] == pytest.approx(np.mean((far.predict(X) - LARGE) ** 2), rel=1e-4)


# ----------------------------------------------------------------------------------------- what stays as it was

@pytest.mark.parametrize("y", [SMALL, 1e4 + SMALL, 1e6 * SMALL, -1e4 + SMALL, np.full(len(X), 3.5), np.zeros(len(X)),
                               1.7e9 + 1e7 * SMALL])
def test_ordinary_targets_have_no_centre(y):
    model = make("FM", epochs=1, learning_rate=1e-3, task="regression").fit(X, y)
    assert model.task_.centre == 0.0
    assert model.predict(X).dtype == np.float32
    np.testing.assert_array_equal(model.encode(X, y)[1], y.astype(np.float32))


def test_clicks_have_no_centre_and_float64_seldom_needs_one():
    assert make("FM", epochs=1).fit(X, (SMALL > 10).astype(int)).task_.centre == 0.0
    assert make("FM", epochs=1, dtype="float64").fit(X, LARGE).task_.centre == 0.0
    assert make("FM", epochs=1, dtype="float64").fit(X, 1e14 + SMALL).task_.centre != 0.0


@pytest.mark.parametrize("mean, std, far", [
    (1.7e9, 20, True), (-1.7e9, 20, True), (1.7e9, 1e7, False), (8e3, 1, False), (1e4, 1, True), (3.6, 1.1, False),
    (5.0, 0.0, False), (1e4, 0.0, True), (0.0, 0.0, False), (1e30, 1e20, True)])
def test_the_rule(mean, std, far):
    task = Task("regression").centred(mean, std, "float32")
    assert (task.centre != 0) == far
    assert abs(task.centre - mean) <= (std or 1) / 500 if far else task.centre == 0
    assert Task("binary").centred(mean, std, "float32").centre == 0
