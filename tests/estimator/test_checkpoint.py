"""Checkpoints: a training that was cut short goes on, and ends with the bits of one that was not."""

import os

import numpy as np
import pandas as pd
import pytest

from minictr import AFM, FM, LR, AutoInt, DeepFM, Model, ModelFileError, MultiValued, datasets, training
from minictr.app.cli import main
from minictr.estimator import atomic
from minictr.estimator import checkpoint as checkpoints
from minictr.layers import parameters, states

CLICKS = datasets.make_clicks(500, seed=0)
X, Y = CLICKS.X, CLICKS.y
C = 1.0 + np.arange(len(Y)) % 3
USERS, ITEMS = np.arange(len(X)) % 23, np.arange(len(X)) // 23
RATINGS = 1.0 + (USERS * ITEMS) % 5
FEATURES = pd.DataFrame({"kind": ["a", "b"] * 11}, index=pd.Index(np.arange(22), name="item_id"))

MODELS = {
    "LR sgd": LR(optimizer="sgd"), "FM": FM(dropout=0.2), "AFM adagrad": AFM(dropout=0.2, optimizer="adagrad"),
    "AutoInt plain": AutoInt(num_layers=1, dropout=0.1, plain=True),
    "DeepFM": DeepFM(deep_layers=(8, 8), dropout=0.3, use_bn=True, lazy=False)}
DATA = {
    "table": {"X": X, "y": Y, "sample_weight": C, "validation": 0.2},
    "no validation": {"X": X, "y": Y},
    "pieces": {"X": [(X[:300], Y[:300], C[:300]), (X[300:], Y[300:], C[300:])], "validation": (X[:90], Y[:90])},
    "ratings": {"user_ids": USERS, "item_ids": ITEMS, "ratings": RATINGS, "item_features": FEATURES, "validation": 0.2},
    "large targets": {"X": X, "y": 1.7e9 + 20 * Y + np.arange(len(Y)) % 7},
}


def make(which, **settings):
    return MODELS[which].clone().set_params(**{"epochs": 4, "batch_size": 64, "learning_rate": 0.02, **settings})


def assert_same(one, other):
    arrays = [{**parameters(model), **states(model), "counts": model.row_counts_} for model in (one, other)]
    for name in arrays[0]:
        np.testing.assert_array_equal(arrays[0][name], arrays[1][name], err_msg=name)
    pd.testing.assert_frame_equal(one.history_.drop(columns="seconds"), other.history_.drop(columns="seconds"))
    assert one.history_.attrs == other.history_.attrs
    assert one.optimizer_.t == other.optimizer_.t and one.random_ == other.random_
    for name, moments in one.optimizer_.state.items():
        for key, array in moments.items():
            np.testing.assert_array_equal(array, other.optimizer_.state[name][key], err_msg=f"{name}.{key}")


class Killed(BaseException):
    """What ends a training here in the place of a signal: nothing catches it."""


def killed_in(monkeypatch, place, count):
    """Let the training end at the ``count``-th time that it comes to a place."""
    where = {"step": (training.ChunkedTrainer, "step"), "plain step": (training.loop.PlainTrainer, "step"),
             "write": (checkpoints.Checkpoint, "write"), "replace": (atomic.os, "replace")}
    owner, name = where[place]
    original, calls = getattr(owner, name), []

    def ends(*args, **options):
        calls.append(1)
        if len(calls) == count:
            raise Killed
        return original(*args, **options)

    monkeypatch.setattr(owner, name, ends)


# ------------------------------------------------------------------------------------------------ the same bits

@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("data", DATA)
def test_a_training_that_was_killed_ends_with_the_bits_of_one_that_was_not(name, data, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    whole = make(name).fit(**DATA[data])
    kills = [("plain step" if "plain" in name else "step", 3), ("step" if "plain" not in name else "plain step", 20),
             ("replace", 1), ("write", 2)]
    for place, count in kills:
        with monkeypatch.context() as patch:
            killed_in(patch, place, count)
            with pytest.raises(Killed):
                make(name).fit(**DATA[data], checkpoint=path, resume=True)
    model = make(name).fit(**DATA[data], checkpoint=path, resume=True)
    assert_same(model, whole)
    assert_same(make(name).fit(**DATA[data], checkpoint=path, resume=True), whole)      # it is over: nothing is trained
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]
    for each in (model, whole):
        each.save(tmp_path / "m.npz")


@pytest.mark.parametrize("name", ["FM", "DeepFM"])
def test_early_stopping_and_the_best_weights_go_on(name, tmp_path, monkeypatch):
    settings = {"epochs": 40, "learning_rate": 0.1, "patience": 2}
    whole = make(name, **settings).fit(X, Y, validation=0.2)
    n_epochs, best = len(whole.history_), whole.history_.attrs["best_epoch"]
    assert best + 2 == n_epochs < 40
    for count in (best, 2):                                       # before the best epoch is written, and after it
        with monkeypatch.context() as patch:
            killed_in(patch, "write", count)
            with pytest.raises(Killed):
                make(name, **settings).fit(X, Y, validation=0.2, checkpoint=tmp_path / "run.npz", resume=True)
    assert_same(make(name, **settings).fit(X, Y, validation=0.2, checkpoint=tmp_path / "run.npz", resume=True), whole)


def test_a_checkpoint_changes_nothing(tmp_path):
    assert_same(make("DeepFM").fit(X, Y, checkpoint=tmp_path / "run.npz"), make("DeepFM").fit(X, Y))


def test_more_epochs_go_on_and_fewer_are_refused(tmp_path):
    path = tmp_path / "run.npz"

    def fm(epochs, **settings):
        return make("FM", epochs=epochs, early_stopping=False, **settings)

    fm(2).fit(X, Y, validation=0.2, checkpoint=str(path))
    more = fm(5, n_threads=1, name="again").fit(X, Y, validation=0.2, checkpoint=path, resume=True)
    assert_same(more, fm(5).fit(X, Y, validation=0.2))
    with pytest.raises(ValueError, match="has 5 epochs behind it, and 3 are asked for"):
        fm(3).fit(X, Y, validation=0.2, checkpoint=path, resume=True)


def test_ctrl_c_and_then_on(tmp_path, monkeypatch, capsys):
    path, whole = tmp_path / "run.npz", make("FM").fit(X, Y)

    def pressed(model, line):
        if line["epoch"] == 3:
            raise KeyboardInterrupt

    model = make("FM").fit(X, Y, checkpoint=path, after_epoch=pressed)
    assert model.history_.attrs["interrupted"] and len(model.history_) == 3
    heard = []
    model.fit(X, Y, checkpoint=path, resume=True, after_epoch=lambda model, line: heard.append(line["epoch"]))
    assert heard == [3, 4]
    assert_same(model, whole)


def test_partial_fit_goes_on_after_it_as_ever(tmp_path):
    path = tmp_path / "run.npz"
    make("FM", epochs=2).fit(X, Y, checkpoint=path)
    model = make("FM", epochs=2).fit(X, Y, checkpoint=path, resume=True).partial_fit(X, Y)
    np.testing.assert_array_equal(model.decision_function(X), make("FM", epochs=3).fit(X, Y).decision_function(X))


def test_it_says_where_it_goes_on(tmp_path, capsys):
    path = tmp_path / "run.npz"
    make("FM", epochs=2).fit(X, Y, checkpoint=path)
    make("FM", epochs=3, verbose=True).fit(X, Y, checkpoint=path, resume=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"going on after epoch 2, from {path}" and lines[2].startswith("epoch 3/3")


def test_a_training_that_diverged_diverges_again(tmp_path):
    for _ in range(2):
        with pytest.raises(training.TrainingDiverged):
            AFM(epochs=1, learning_rate=1e10, batch_size=5_000).fit(X, Y, checkpoint=tmp_path / "run.npz", resume=True)


# ------------------------------------------------------------------------------------------------- what is refused

def start(path, **data):
    return make("FM", epochs=1).fit(**{**DATA["table"], **data}, checkpoint=path)


@pytest.mark.parametrize("model, data, message", [
    (make("FM", learning_rate=0.03), {}, "learning_rate was 0.02, and is 0.03"),
    (make("FM", plain=True, batch_size=65), {}, "batch_size was 64, and is 65; plain was False, and is True"),
    (make("FM", fields=["device", "hour"]), {}, "fields was None, and is"),
    (make("FM", seed=1), {}, "seed was 0, and is 1"),
    (make("LR sgd"), {}, "the model was of class FM, and is of LR"),
    (make("FM"), {"X": X[::-1], "y": Y[::-1], "sample_weight": C[::-1]}, "are others"),
    (make("FM"), {"y": np.where(np.arange(len(Y)) == 7, 1 - Y, Y)}, "are others"),
    (make("FM"), {"sample_weight": None}, "rows, targets or weights, or their order, are others"),
    (make("FM"), {"X": X.assign(device="mobile")}, "the fields or their values are others"),
    (make("FM"), {"validation": None}, "are others"),
    (make("FM"), DATA["pieces"] | {"y": None, "sample_weight": None}, "are others"),
    (make("FM"), DATA["ratings"] | {"X": None, "y": None, "sample_weight": None}, "are others")])
def test_a_checkpoint_of_another_training_is_refused(model, data, message, tmp_path):
    path = tmp_path / "run.npz"
    start(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"run.npz is of another training: .*{message}.*remove the file"):
        model.fit(**{**DATA["table"], **data}, checkpoint=path, resume=True)
    assert path.read_bytes() == before


def test_validation_rows_first_weights_and_targets_of_pieces_are_compared(tmp_path):
    path = tmp_path / "run.npz"
    make("FM").fit(X, Y, validation=(X[:100], Y[:100]), checkpoint=path)
    with pytest.raises(ValueError, match="validation rows are others"):
        make("FM").fit(X, Y, validation=(X[:99], Y[:99]), checkpoint=path, resume=True)
    one, other = FM(epochs=1).fit(X, Y), FM(epochs=2).fit(X, Y)
    afm = AFM.from_fm(one, epochs=2)
    afm.fit(X, Y, checkpoint=tmp_path / "afm.npz")
    with pytest.raises(ValueError, match="starts from other weights"):
        AFM.from_fm(other, epochs=2).fit(X, Y, checkpoint=tmp_path / "afm.npz", resume=True)
    pieces = tmp_path / "pieces.npz"
    make("FM").fit([(X[:300], Y[:300]), (X[300:], Y[300:])], checkpoint=pieces)
    make("FM").fit([(X[:200], Y[:200]), (X[200:], Y[200:])], checkpoint=pieces, resume=True)     # cut otherwise
    with pytest.raises(ValueError, match="order, are others"):
        make("FM").fit([(X[:300], Y[:300][::-1]), (X[300:], Y[300:])], checkpoint=pieces, resume=True)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    start(path).save(tmp_path / "m.npz")
    whole = path.read_bytes()
    for content, name in ((b"", "empty"), (whole[:len(whole) // 2], "half"), (b"x" * 1000, "text"),
                          ((tmp_path / "m.npz").read_bytes(), "model")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=f"{name} is no checkpoint of minictr, or is damaged"):
            make("FM").fit(**DATA["table"], checkpoint=tmp_path / name, resume=True)
    with pytest.raises(ModelFileError, match=r"run\.npz is a checkpoint, from which a training goes on"):
        Model.load(path)


@pytest.mark.parametrize("change", [
    {"steps": "many"}, {"best": 3}, {"random": {}}, {"lines": [{"epoch": 1}]}, {"checkpoint": 2}, {"training": {}}])
def test_a_damaged_page_is_refused(change, tmp_path, monkeypatch):
    path, dumps = tmp_path / "run.npz", checkpoints.json.dumps
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.json, "dumps", lambda value, **options: dumps(
            value | change if "checkpoint" in value else value, **options))
        start(path)
    with pytest.raises(ModelFileError, match=r"run\.npz (has format 2|is no checkpoint|is damaged)"):
        make("FM").fit(**DATA["table"], checkpoint=path, resume=True)


def test_damaged_arrays_are_refused(tmp_path):
    path = tmp_path / "run.npz"
    start(path)
    with np.load(path) as content:
        arrays = dict(content)
    for name, array in (("params/embedding.V", arrays["params/embedding.V"][:-1]), ("params/linear.w0", None),
                        ("row_counts", arrays["row_counts"].astype(float)), ("more", np.zeros(3))):
        changed = {key: value for key, value in {**arrays, name: array}.items() if value is not None}
        np.savez(path, **changed)
        with pytest.raises(ModelFileError, match="damaged"):
            make("FM").fit(**DATA["table"], checkpoint=path, resume=True)


def test_what_makes_no_checkpoint_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(FM, "start", None)                        # nothing is learned
    path = tmp_path / "run.npz"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"there already.*resume=True"):
        FM().fit(X, Y, checkpoint=path)
    assert path.read_bytes() == b"precious"
    with pytest.raises(ValueError, match="this is a folder"):
        FM().fit(X, Y, checkpoint=tmp_path, resume=True)
    with pytest.raises(ValueError, match="there is no folder"):
        FM().fit(X, Y, checkpoint=tmp_path / "no" / "run.npz")
    with pytest.raises(ValueError, match="needs a seed"):
        FM(seed=None).fit(X, Y, checkpoint=tmp_path / "other.npz")
    with pytest.raises(TypeError, match="resume=True needs checkpoint="):
        FM().fit(X, Y, resume=True)


# ------------------------------------------------------------------------------------------------ the command

@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X.assign(click=Y).to_csv("clicks.csv", index=False)
    return tmp_path


def run(*more, save="m.npz"):
    return main(["train", "clicks.csv", "--target", "click", "--model", "deepfm", "--epochs", "4", "--save", save,
                 "--set", "dropout=0.2", *more])


def test_the_command_goes_on(folder, monkeypatch, capsys):
    assert run(save="whole.npz") == 0
    for count in (1, 2):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_in(patch, "write", count)
            run("--checkpoint", "run.npz", "--resume")
    assert not os.path.exists("m.npz")
    assert run("--checkpoint", "run.npz", "--resume") == 0
    assert "going on after epoch 1, from run.npz" in capsys.readouterr().out
    one, other = Model.load("m.npz"), Model.load("whole.npz")
    for name, array in parameters(one).items():
        np.testing.assert_array_equal(array, parameters(other)[name], err_msg=name)


def test_the_command_refuses_what_would_lose_something(folder, capsys):
    assert run("--checkpoint", "run.npz") == 0
    assert run("--checkpoint", "run.npz") == 1
    assert "run.npz: the file is there already. Add --resume" in capsys.readouterr().err
    assert run("--checkpoint", "run.npz", "--resume", "--learning-rate", "0.1") == 1
    assert "is of another training: learning_rate was 0.005, and is 0.1" in capsys.readouterr().err
    for wrong in (["--resume"], ["--checkpoint", "m.npz", "--resume"]):
        with pytest.raises(SystemExit) as error:
            run(*wrong)
        assert error.value.code == 2


def test_pieces_with_several_values_a_cell_have_their_widths_compared(tmp_path):
    table = pd.DataFrame({"tags": ["a|b", "a", "b|c|d", "d"] * 20, "one": list("xy") * 40})
    y = np.arange(80) % 2
    fields = [MultiValued("tags"), "one"]
    path, whole = tmp_path / "run.npz", FM(fields=fields, epochs=3).fit([(table, y)])
    FM(fields=fields, epochs=1).fit([(table, y)], checkpoint=path)
    assert_same(FM(fields=fields, epochs=3).fit([(table, y)], checkpoint=path, resume=True), whole)
