"""Training that goes on has the bits of one that never stopped: fit and partial_fit, also through a file."""

import json

import numpy as np
import pytest

from minictr import AFM, FM, LR, AutoInt, DeepFM, Model, ModelFileError, datasets
from minictr.layers import parameters, states

CLICKS = datasets.make_clicks(700, seed=0)
X, Y = CLICKS.X, CLICKS.y
C = 1.0 + np.arange(len(Y)) % 3
MODELS = {
    "LR": LR(optimizer="sgd"), "FM": FM(dropout=0.2, shuffle_window=200),
    "AFM": AFM(dropout=0.2, attention_dropout=0.1, optimizer="adagrad"), "AFM plain": AFM(dropout=0.2, plain=True),
    "AutoInt": AutoInt(num_layers=1, dropout=0.1, embedding_dropout=0.1),
    "DeepFM": DeepFM(deep_layers=(8, 8), dropout=0.3, use_bn=True), "DeepFM in chunks": DeepFM(dropout=0.3)}
every_model = pytest.mark.parametrize("name", MODELS)


def make(name, epochs):
    return MODELS[name].clone().set_params(epochs=epochs, batch_size=600 if "chunks" in name else 100)


def assert_same(one, other):
    """Weights, batch norm's means, counts, the optimizer, the random numbers to come, and so what is predicted."""
    arrays = [{**parameters(model), **states(model)} for model in (one, other)]
    for name in arrays[0]:
        np.testing.assert_array_equal(arrays[0][name], arrays[1][name], err_msg=name)
    assert one.optimizer_.t == other.optimizer_.t and one.random_ == other.random_
    for name, moments in one.optimizer_.state.items():
        for key, array in moments.items():
            np.testing.assert_array_equal(array, other.optimizer_.state[name][key], err_msg=f"{name}.{key}")
    np.testing.assert_array_equal(one.decision_function(X), other.decision_function(X))


@every_model
@pytest.mark.parametrize("epochs, through_a_file", [(0, False), (2, False), (2, True)])
def test_epochs_and_passes_make_the_same_bits(name, epochs, through_a_file, tmp_path):
    """fit(2) and two partial_fits are fit(4), and so are four partial_fits."""
    whole = make(name, 4).fit(X, Y, sample_weight=C)
    model = make(name, epochs).fit(X, Y, sample_weight=C) if epochs else make(name, 4)
    for _ in range(4 - epochs):
        model.partial_fit(X, Y, C)
        if through_a_file:
            model.save(tmp_path / "m.npz", optimizer=True)
            model = Model.load(tmp_path / "m.npz")
    assert_same(model, whole)


def test_the_number_of_threads_does_not_matter():
    one, other = make("DeepFM in chunks", 3), make("DeepFM in chunks", 2)
    one.set_params(n_threads=1).fit(X, Y)
    assert_same(other.set_params(n_threads=3).fit(X, Y).partial_fit(X, Y), one)


def change_page(path, change, to):
    """Let ``change`` make another page of a model file's page of JSON."""
    with np.load(path) as content:
        arrays = dict(content)
    page = json.dumps(change(json.loads(bytes(arrays.pop("meta"))))).encode()
    np.savez(to, meta=np.frombuffer(page, np.uint8), **arrays)


def test_a_file_without_random_numbers_goes_on_with_some(tmp_path):
    """Those that it has depend on the steps made; each pass has others."""
    model = make("FM", 2).fit(X, Y)
    model.save(tmp_path / "new.npz", optimizer=True)
    change_page(tmp_path / "new.npz", lambda page: {name: value for name, value in page.items() if name != "random"},
                tmp_path / "old.npz")
    new, old, again = (Model.load(tmp_path / f"{name}.npz") for name in ("new", "old", "old"))
    assert not hasattr(old, "random_")
    assert_same(old.partial_fit(X, Y), again.partial_fit(X, Y))
    np.testing.assert_array_equal(new.decision_function(X), model.decision_function(X))
    assert (new.partial_fit(X, Y).decision_function(X) != old.decision_function(X)).any()


@pytest.mark.parametrize("wrong", [
    3, {}, {"order": {}}, {"order": {"bit_generator": "PCG64"}, "dropout": []}, {"order": None, "dropout": [[]]}])
def test_a_file_with_wrong_random_numbers_is_damaged(wrong, tmp_path):
    make("FM", 1).fit(X, Y).save(tmp_path / "m.npz", optimizer=True)
    change_page(tmp_path / "m.npz", lambda page: page | {"random": wrong}, tmp_path / "m.npz")
    with pytest.raises(ModelFileError, match="damaged"):
        Model.load(tmp_path / "m.npz")


def test_random_numbers_of_another_model_are_refused(tmp_path):
    make("FM", 1).fit(X, Y).save(tmp_path / "m.npz", optimizer=True)
    other = make("DeepFM", 1).fit(X, Y).random_
    change_page(tmp_path / "m.npz", lambda page: page | {"random": other}, tmp_path / "m.npz")
    with pytest.raises(ModelFileError, match="random numbers are not those of this model"):
        Model.load(tmp_path / "m.npz")
