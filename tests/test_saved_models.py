"""Files that version 0.1.0 saved: they load, predict and go on training as they did then; see saved_models."""

import hashlib

import numpy as np
import pytest
from saved_models import FOLDER, RECOMMEND, STEP_ROWS, read_expected, read_manifest, read_table

from minictr import Model
from minictr.layers import gradients, parameters, states

MANIFEST = read_manifest()


def models_with(check):
    return pytest.mark.parametrize("name", [name for name, entry in MANIFEST.items() if check in entry["checks"]])


def load(name):
    return Model.load(FOLDER / f"{name}.npz")


def rows_of(name):
    """(X, y, weights or None) of all rows that the model was tried on."""
    entry = MANIFEST[name]
    X = read_table(entry["rows"])
    return X, X[entry["target"]], X["weight"] if entry["weights"] else None


def one_step(model, name):
    """The loss of one training step on the first rows."""
    X, y, c = rows_of(name)
    first = slice(STEP_ROWS)
    return model.train_step(X[first], y[first], None if c is None else c[first])


def is_frozen(model, name):
    return any(f"{name}.".startswith(f"{frozen}.") for frozen in model.freeze)


def dense(gradient, array):
    """A gradient as an array of the parameter's shape, also where it holds the touched rows of a table only."""
    return gradient.dense(len(array)) if hasattr(gradient, "dense") else gradient


def assert_near(found, expected, dtype="float64", atol=1e-11, what=""):
    """Equal up to rounding, which differs from one processor to the next.

    Absolutely too: a bias before batch norm has the gradient 0, so that what moves it is nothing but rounding.
    """
    rtol, atol = (1e-10, atol) if dtype == "float64" else (1e-5, 1e-6)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=what)


def assert_all_near(found, expected, atol=1e-11):
    """Two dicts of arrays with the same names and shapes, equal up to rounding in float64."""
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.shape == expected[name].shape, name
        assert_near(array, expected[name], atol=atol, what=name)


# ---------------------------------------------------------------------------------------------------- the files

def test_the_files_are_those_that_were_written():
    """None is forgotten in the manifest, missing, or was written anew by a later version."""
    written = {file: digest for entry in MANIFEST.values() for file, digest in entry["sha256"].items()}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.npz")}
    assert found == written


def test_every_model_and_every_optimizer_is_among_them():
    checks_of = {}
    for entry in MANIFEST.values():
        checks_of.setdefault(entry["class"], set()).update([*entry["checks"], entry["dtype"]])
    assert checks_of.keys() == {"LR", "FM", "AFM", "AutoInt", "DeepFM"}
    for checks in checks_of.values():
        assert checks >= {"scores", "step", "went_on", "float32", "float64"}
    assert {load(name).optimizer for name, entry in MANIFEST.items() if "step" in entry["checks"]} == {
        "adam", "adagrad", "sgd"}


# -------------------------------------------------------------------------------------------------- predictions

@models_with("scores")
def test_a_saved_model_loads_and_predicts_the_same(name):
    entry = MANIFEST[name]
    model = load(name)
    assert (type(model).__name__, model.task_, model.dtype) == (entry["class"], entry["task"], entry["dtype"])
    scores = model.decision_function(rows_of(name)[0])
    assert scores.dtype == entry["dtype"]
    assert_near(scores, read_expected(name)["scores"], entry["dtype"])


@models_with("ratings")
def test_a_saved_model_of_ratings_predicts_and_recommends_the_same(name):
    model, expected, dtype = load(name), read_expected(name), MANIFEST[name]["dtype"]
    users, items = expected["ratings/users"].tolist(), expected["ratings/items"].tolist()
    predictions = [model.predict(user, item) for user, item in zip(users, items, strict=True)]
    assert_near(predictions, expected["ratings/predict"], dtype)
    assert_near(model.batch_predict(list(zip(users, items, strict=True))), expected["ratings/batch_predict"], dtype)
    for user in users:
        for which, options in RECOMMEND.items():
            ids, scores = model.recommend(user, return_scores=True, **options)
            assert ids == expected[f"ratings/{which}/{user}/ids"].tolist()
            assert_near(scores, expected[f"ratings/{which}/{user}/scores"], dtype)


# ------------------------------------------------------------------------------------------------ training step

@models_with("step")
def test_rows_are_encoded_as_they_were(name):
    expected = read_expected(name)
    slots = load(name).encoder_.encode(rows_of(name)[0][:STEP_ROWS])
    np.testing.assert_array_equal(slots.ids, expected["step/ids"])
    np.testing.assert_array_equal(slots.starts, expected["step/starts"])
    np.testing.assert_array_equal(np.ones(slots.ids.shape) if slots.x is None else slots.x, expected["step/x"])


@models_with("step")
def test_one_step_computes_the_gradients_that_it_did(name):
    """Of the loss alone: version 0.1.0 left the gradient of L2 in those of some layers, so there is none here."""
    model, expected = load(name).set_params(reg=0), read_expected(name)
    assert_near(one_step(model, name), expected["step/loss"])
    grads = gradients(model)
    trained = {name: array for name, array in parameters(model).items() if not is_frozen(model, name)}
    assert_all_near({name: dense(grads[name], array) for name, array in trained.items()},
                    {name: expected["step/gradients"][name] for name in trained}, atol=1e-13)


@models_with("step")
def test_one_step_changes_the_parameters_as_it_did(name):
    model, expected = load(name), read_expected(name)
    assert_near(one_step(model, name), expected["step/loss"])
    assert_all_near(parameters(model), expected["step/parameters"])
    assert_all_near(states(model), expected.get("step/states", {}))


@models_with("went_on")
def test_going_on_with_training_changes_the_model_as_it_did(name):
    model, expected = load(name), read_expected(name)
    X, y, c = rows_of(name)
    model.partial_fit(X, y, c)
    assert_all_near(parameters(model), expected["went_on/parameters"])
    assert_all_near(states(model), expected.get("went_on/states", {}))
    assert_near(model.decision_function(X), expected["went_on/scores"])


# ------------------------------------------------------------------------------------------ the tests of the tests

@pytest.mark.parametrize("test", [
    test_a_saved_model_loads_and_predicts_the_same, test_a_saved_model_of_ratings_predicts_and_recommends_the_same,
    test_one_step_computes_the_gradients_that_it_did, test_one_step_changes_the_parameters_as_it_did,
    test_going_on_with_training_changes_the_model_as_it_did], ids=lambda test: test.__name__)
def test_a_small_change_of_one_parameter_would_be_noticed(test, monkeypatch):
    def load_changed(name):
        model = load_unchanged(name)
        parameters(model)["attention.W"] *= 1 + 1e-6
        return model

    load_unchanged = load
    test("afm_ratings_features")
    monkeypatch.setitem(globals(), "load", load_changed)
    with pytest.raises(AssertionError):
        test("afm_ratings_features")
