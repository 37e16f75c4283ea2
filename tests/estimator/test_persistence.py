"""Saving and loading: the same to the bit, nothing that could run, and a clear error for every damaged file."""

import io
import json
import math
import os
import pickle
import stat
import struct
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from models import MODELS, VARIANTS, dropouts, every_kind, small

from minictr import (
    AFM,
    FM,
    LR,
    Categorical,
    Model,
    ModelFileError,
    MultiValued,
    NotFittedError,
    Numerical,
    explain,
)
from minictr.estimator import persistence
from minictr.layers import parameters, sigmoid, states

FIELDS = [
    Categorical("user", min_count=2), Categorical("hour", buckets=3), Numerical("price", transform="standard"),
    Numerical("age", bins=3), Numerical("size", bins=[0.5, 1.5]), MultiValued("genres", sep=";")]
CASES = {name: (name, dropouts(name, 0.1)) for name in VARIANTS} | {
    "float64": ("FM", {"dtype": "float64"}), "a list": ("DeepFM-bn", {"deep_layers": [5, 4]})}
every_model = pytest.mark.parametrize("name", CASES)


def make(which, columns=FIELDS, **changes):
    name, settings = CASES[which]
    return small(name, columns, **{"fields": FIELDS, "epochs": 2, "learning_rate": 0.01, "batch_size": 50,
                                   "reg": 0.01 if small(name).regularized else 0.0, **settings, **changes})


def table(n_rows=200, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "user": rng.choice(["ann", "bob", "çem", "дан", "😀", "a,b\n"], n_rows),
        "hour": rng.integers(0, 24, n_rows),
        "price": rng.normal(10, 2, n_rows),
        "age": rng.integers(18, 80, n_rows).astype(float),
        "size": rng.uniform(0, 2, n_rows),
        "genres": rng.choice(["a", "b", "a;b", "c;a", "a;b;c"], n_rows),
    })
    logit = -0.6 + 1.5 * (X["user"] == "ann") + 0.3 * (X["price"] - 10)
    return X, (rng.random(n_rows) < sigmoid(logit.to_numpy())).astype(int)


def ratings(text=False):
    rng = np.random.default_rng(0)
    cells = rng.choice(12 * 9, 60, replace=False)
    users, items = cells // 9 + 100, cells % 9 + 7
    if text:
        users, items = [f"user {u}" for u in users], [f"item {i}" for i in items]
    return {"user_ids": users, "item_ids": items, "ratings": rng.integers(1, 6, 60).astype(float)}


def features(text=False):
    ids = [f"item {i}" for i in range(7, 17)] if text else list(range(7, 17))
    return pd.DataFrame({"item_id": ids, "length": np.linspace(80, 160, 10), "tags": [["x"], ["x", "y"]] * 5})


def round_trip(model, tmp_path, **options):
    model.save(tmp_path / "model.bin", **options)
    return type(model).load(tmp_path / "model.bin")


def assert_same_model(loaded, model):
    assert type(loaded) is type(model)
    assert loaded.task_ == model.task_ and loaded.loss_ is model.loss_
    for arrays in (parameters, states):
        theirs = arrays(model)
        assert arrays(loaded).keys() == theirs.keys()
        for name, array in arrays(loaded).items():
            assert array.dtype == theirs[name].dtype
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    np.testing.assert_array_equal(loaded.row_counts_, model.row_counts_)
    assert loaded.feature_names_in_.tolist() == model.feature_names_in_.tolist()


# ------------------------------------------------------------------------------------------ the same again

@every_model
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_loaded_model_predicts_the_same_bits(name, task, tmp_path):
    X, y = table()
    X_new, _ = table(seed=1)
    X_new.loc[:20, "user"] = "unseen"
    X_new.loc[:10, ["price", "age"]] = np.nan
    model = make(name, task=task).fit(X, y if task == "binary" else X["price"], validation=0.2)
    loaded = round_trip(model, tmp_path)
    assert_same_model(loaded, model)
    for part in (X, X_new, X_new[:1]):
        np.testing.assert_array_equal(loaded.decision_function(part), model.decision_function(part))
    if task == "binary":
        np.testing.assert_array_equal(loaded.predict_proba(X_new), model.predict_proba(X_new))
        np.testing.assert_array_equal(loaded.classes_, [0, 1])
    assert hasattr(loaded, "classes_") == (task == "binary")


@every_model
def test_settings_and_history_come_back(name, tmp_path):
    X, y = table()
    first, *_, last = parameters(make(name).prepare(X, y))
    model = make(name, name="näme", lr_multipliers={first.partition(".")[0]: 0.5}, freeze=(last,), n_threads=1,
                 verbose=False, seed=7, optimizer="adagrad", patience=9).fit(X, y, validation=0.2)
    loaded = round_trip(model, tmp_path)
    for setting, value in model.get_params().items():
        now = getattr(loaded, setting)
        assert (list(now) == list(value)) if isinstance(value, (list, tuple)) else (now == value), setting
    pd.testing.assert_frame_equal(loaded.history_, model.history_)
    assert loaded.history_.attrs == model.history_.attrs
    assert eval(repr(loaded), globals() | MODELS).get_params() == loaded.get_params()


def test_the_history_of_a_fit_without_validation_comes_back(tmp_path):
    X, y = table()
    model = make("FM").fit(X, y)
    loaded = round_trip(model, tmp_path)
    pd.testing.assert_frame_equal(loaded.history_, model.history_)
    assert loaded.history_["val_loss"].isna().all()


def test_a_model_that_was_only_prepared_can_be_saved(tmp_path):
    X, y = table()
    model = make("FM").prepare(X, y)
    np.testing.assert_array_equal(round_trip(model, tmp_path).decision_function(X), model.decision_function(X))
    model.partial_fit(X, y)
    np.testing.assert_array_equal(round_trip(model, tmp_path).decision_function(X), model.decision_function(X))


def test_numpy_settings_can_be_saved(tmp_path):
    X, y = table()
    model = make("FM", embedding_dim=np.int64(2), learning_rate=np.float32(0.01), seed=np.int32(3),
                 lr_multipliers={"embedding": np.float32(2)}, freeze=np.array(["linear.w0"]),
                 early_stopping=np.bool_(True)).fit(X, y)
    loaded = round_trip(model, tmp_path)
    np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))
    assert loaded.embedding_dim == 2 and loaded.lr_multipliers == {"embedding": 2.0}


@pytest.mark.parametrize("fields", [
    None, ["user", "hour"], ["genres", Categorical("user", buckets=np.int64(5))],
    [Numerical("age", bins=np.array([30, 50])), "user"], ["0.values", "params/w"]], ids=str)
def test_fields_of_every_form_come_back(fields, tmp_path):
    X, y = table()
    X = X.rename(columns={"hour": "0.values", "user": "params/w"}) if fields == ["0.values", "params/w"] else X
    model = FM(fields=fields, epochs=1).fit(X, y)
    loaded = round_trip(model, tmp_path)
    np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))
    assert loaded.fields == model.fields
    np.testing.assert_array_equal(loaded.fit(X, y).decision_function(X), model.decision_function(X))    # and refits


@every_kind
@pytest.mark.parametrize("text", [False, True], ids=["numbers", "text"])
def test_a_ratings_model_comes_back(name, text, tmp_path):
    model = make(name, ["user_id", "item_id"], fields=None).fit(**ratings(text), item_features=features(text))
    loaded = round_trip(model, tmp_path)
    assert_same_model(loaded, model)
    users, items = sorted(set(ratings(text)["user_ids"])), features(text)["item_id"].tolist()
    pairs = [(user, item) for user in [*users, "nobody"] for item in [*items, "nothing"]]
    np.testing.assert_array_equal(loaded.batch_predict(pairs), model.batch_predict(pairs))
    assert [loaded.predict(*pair) for pair in pairs[:20]] == [model.predict(*pair) for pair in pairs[:20]]
    for user in (*users, "nobody"):
        for exclude_seen in (True, False):
            mine, theirs = (m.recommend(user, 20, exclude_seen=exclude_seen) for m in (loaded, model))
            assert mine == theirs and [type(item) for item in mine] == [type(item) for item in theirs]


@pytest.mark.parametrize("ids", [
    [2**24, 2**24 + 1, -5], [1.5, 2.5, 3.5], [True, False, True], ["", "a\x00", "\u2603"],
    [2**53, 2**53 + 1, 2**62], np.array([250, 251, 252], np.uint8)], ids=str)
def test_ids_of_every_kind_come_back(ids, tmp_path):
    given = {"user_ids": list(ids) * 2, "item_ids": [1, 2, 3, 3, 1, 2], "ratings": [1, 2, 3, 4, 5, 1]}
    model = FM(epochs=3, learning_rate=0.1).fit(**given)
    loaded = round_trip(model, tmp_path)
    for user in (*ids, "nobody"):
        assert loaded.predict(user, 1) == model.predict(user, 1)
        assert loaded.recommend(user) == model.recommend(user)


def test_any_class_can_be_loaded_by_the_base_class_and_a_subclass_by_itself(tmp_path):
    X, y = table()

    class MyFM(FM):
        pass

    for model in map(make, MODELS):
        model.fit(X, y).save(tmp_path / "m")
        assert type(Model.load(tmp_path / "m")) is type(model)
    mine = MyFM(fields=FIELDS, epochs=1).fit(X, y)
    mine.save(tmp_path / "m")
    loaded = MyFM.load(tmp_path / "m")
    assert type(loaded) is MyFM
    np.testing.assert_array_equal(loaded.decision_function(X), mine.decision_function(X))


def test_everything_works_on_a_loaded_model(tmp_path):
    X, y = table()
    model = make("AFM").fit(X, y)
    loaded = round_trip(model, tmp_path)
    pd.testing.assert_frame_equal(explain.attention(loaded, X), explain.attention(model, X))
    pd.testing.assert_frame_equal(explain.contributions(loaded, X[:5]), explain.contributions(model, X[:5]))
    assert loaded.score(X, y) == model.score(X, y)
    assert loaded.clone().get_params() == loaded.get_params()
    assert np.isfinite(loaded.train_step(X, y))
    assert loaded.partial_fit(X, y).fit(X, y).predict(X).shape == (200,)


def test_an_afm_that_started_from_an_fm_needs_no_fm_in_its_file(tmp_path):
    X, y = table()
    model = AFM.from_fm(make("FM").fit(X, y), fields=FIELDS, epochs=1).fit(X, y)
    loaded = round_trip(model, tmp_path)
    assert loaded.init_from is None
    np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))


# ----------------------------------------------------------------------------------------------- going on

@every_model
@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
def test_training_goes_on_as_if_never_stopped(name, optimizer, tmp_path):
    X, y = table()
    model = make(name, optimizer=optimizer, lr_multipliers={"linear": 2.0} if name == "FM" else None).fit(X, y)
    loaded = round_trip(model, tmp_path, optimizer=True)
    for _ in range(2):
        model.partial_fit(X, y)
        loaded.partial_fit(X, y)
    assert_same_model(loaded, model)
    assert loaded.optimizer_.t == model.optimizer_.t
    again = round_trip(loaded, tmp_path, optimizer=True)
    np.testing.assert_array_equal(again.partial_fit(X, y).decision_function(X),
                                  model.partial_fit(X, y).decision_function(X))


def test_without_the_optimizer_training_goes_on_with_a_new_one(tmp_path):
    X, y = table()
    model = make("FM").fit(X, y)
    loaded = round_trip(model, tmp_path)
    assert loaded.optimizer_.t == 0 and not loaded.optimizer_.state
    before = loaded.decision_function(X)
    loaded.partial_fit(X, y)
    model.partial_fit(X, y)
    assert not np.array_equal(loaded.decision_function(X), before)
    assert not np.array_equal(loaded.decision_function(X), model.decision_function(X))


def test_the_optimizer_makes_the_file_larger_only_when_asked_for(tmp_path):
    X, y = table()
    model = make("FM").fit(X, y)
    model.save(tmp_path / "without")
    model.save(tmp_path / "with", optimizer=True)
    assert not [name for name in content(tmp_path / "without")[1] if name.startswith("optimizer")]
    assert {name for name in content(tmp_path / "with")[1] if name.startswith("optimizer")} == {
        f"optimizer/{name}/{moment}" for name in ("linear.w", "linear.w0", "embedding.V") for moment in "mv"}


# ---------------------------------------------------------------------------------------------- the file

@pytest.mark.parametrize("file", ["m.npz", "m.pkl", "m", "m.h5", ".hidden", "with space.bin", "a.b.c", "ümläut"])
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_any_file_name_is_used_as_it_is(file, kind, tmp_path):
    X, y = table()
    model = make("LR").fit(X, y)
    model.save(kind(tmp_path / file))
    assert os.listdir(tmp_path) == [file]
    np.testing.assert_array_equal(LR.load(kind(tmp_path / file)).decision_function(X), model.decision_function(X))


def test_a_relative_path_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = table()
    make("LR").fit(X, y).save("model.pkl")
    assert LR.load("model.pkl").predict(X).shape == (200,)


@every_kind
def test_two_saves_are_the_same_bytes(name, tmp_path):
    X, y = table()
    model = make(name).fit(X, y)
    for file in ("one", "two"):
        model.save(tmp_path / file, optimizer=True)
    type(model).load(tmp_path / "one").save(tmp_path / "three", optimizer=True)
    one, two, three = ((tmp_path / file).read_bytes() for file in ("one", "two", "three"))
    assert one == two
    assert one == three


def test_a_failing_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    X, y = table()
    model = make("LR").fit(X, y)
    model.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()

    def disk_full(file, **arrays):
        file.write(b"half a file")
        raise OSError("no space left on device")

    for broken in ("savez", "replace"):
        with monkeypatch.context() as patch:
            if broken == "savez":
                patch.setattr(np, "savez", disk_full)
            else:
                patch.setattr(os, "replace", lambda *args: disk_full(io.BytesIO()))
            with pytest.raises(OSError, match="no space left"):
                make("LR", seed=1).fit(X, y).save(tmp_path / "model")
        assert (tmp_path / "model").read_bytes() == before
        assert os.listdir(tmp_path) == ["model"]


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    X, y = table()
    model = make("LR").fit(X, y)
    model.save(tmp_path / "model")

    def interrupt(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path / "model")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["model"]
    LR.load(tmp_path / "model")


@pytest.mark.skipif(os.name != "posix", reason="permissions are a matter of POSIX")
def test_a_saved_file_has_the_permissions_of_any_other_new_file(tmp_path):
    """A temporary file is private; the model that it becomes need not be."""
    X, y = table()
    make("LR").fit(X, y).save(tmp_path / "model")
    (tmp_path / "other").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_paths_that_cannot_be_are_ordinary_errors(tmp_path):
    X, y = table()
    model = make("LR").fit(X, y)
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "no folder" / "model")
    with pytest.raises(FileNotFoundError, match="nothing here"):
        LR.load(tmp_path / "nothing here")
    with pytest.raises(NotFittedError):
        LR().save(tmp_path / "model")
    with pytest.raises((OSError, ModelFileError)):
        LR.load(tmp_path)
    assert os.listdir(tmp_path) == []


# -------------------------------------------------------------------------------------------- damaged files

def content(path):
    """The JSON page and the arrays of a model file."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(bytes(arrays.pop("meta"))), arrays


def rewrite(path, meta, arrays):
    """Write a model file by hand."""
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    with open(path, "wb") as file:
        np.savez(file, meta=np.frombuffer(text, np.uint8), **arrays)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of an FM of a table and of a DeepFM of ratings, and the models."""
    folder = tmp_path_factory.mktemp("models")
    X, y = table(60)
    models = {"table": make("FM", epochs=1).fit(X, y),
              "ratings": make("DeepFM-bn", fields=None, epochs=1).fit(
                  **ratings(), item_features=features())}
    for name, model in models.items():
        model.save(folder / name, optimizer=True)
    return {name: (folder / name, model) for name, model in models.items()}


def expect_refusal(path, cls, match):
    with pytest.raises(ModelFileError, match=match) as error:
        cls.load(path)
    assert str(path) in str(error.value), "the message must name the file"


def test_a_truncated_file_is_refused(saved, tmp_path):
    path, model = saved["table"]
    whole = path.read_bytes()
    for length in (0, 1, 3, 4, 5, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        expect_refusal(tmp_path / "cut", type(model), "not a minictr model|damaged")


def test_foreign_files_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "foreign"
    with open(path, "wb") as file:
        np.savez(file, weights=np.ones(3))
    expect_refusal(path, FM, "not a minictr model")
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    expect_refusal(path, FM, "not a minictr model")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    expect_refusal(path, FM, "not a minictr model")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta", "hello")
    expect_refusal(path, FM, "not a minictr model|damaged")
    for data in (b"user,item,rating\n1,2,3\n", b"\x00" * 100, rng.bytes(1000), b"PK\x03\x04" + rng.bytes(500),
                 b"PK\x05\x06" + bytes(18), b"\x93NUMPY" + rng.bytes(100), b"\x80\x04K\x01."):
        path.write_bytes(data)
        expect_refusal(path, FM, "not a minictr model|damaged")


class Evil:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("where", ["meta", "row_counts", "params/linear.w", "encoder/0.text", "more"])
def test_a_pickle_inside_is_not_executed(where, saved, tmp_path):
    meta, arrays = content(saved["table"][0])
    evil = np.array([Evil(tmp_path / "executed")] * 3, dtype=object)
    arrays = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays, where: evil}
    with open(tmp_path / "model", "wb") as file:
        np.savez(file, **arrays)
    if where != "more":
        expect_refusal(tmp_path / "model", FM, "damaged|not a minictr model")
    else:
        with pytest.raises(ModelFileError):
            FM.load(tmp_path / "model")
    assert not (tmp_path / "executed").exists()


def test_a_bare_pickle_is_not_executed(tmp_path):
    (tmp_path / "model").write_bytes(pickle.dumps(Evil(tmp_path / "executed")))
    expect_refusal(tmp_path / "model", FM, "not a minictr model|damaged")
    assert not (tmp_path / "executed").exists()
    pickle.loads((tmp_path / "model").read_bytes()).close()
    assert (tmp_path / "executed").exists(), "the pickle was harmless: the test would prove nothing"


def test_a_newer_format_is_named(saved, tmp_path):
    meta, arrays = content(saved["table"][0])
    rewrite(tmp_path / "model", meta | {"format": persistence.FORMAT + 1}, arrays)
    expect_refusal(tmp_path / "model", FM, f"format {persistence.FORMAT + 1}.*update minictr")
    for odd in (None, "1", 0, [1]):
        rewrite(tmp_path / "model", meta | {"format": odd}, arrays)
        expect_refusal(tmp_path / "model", FM, "format")


def test_the_wrong_class_is_named(saved, tmp_path):
    path, _ = saved["table"]
    expect_refusal(path, AFM, r"class FM, not AFM.*FM\.load")
    meta, arrays = content(path)
    for odd in ("Model", "Evil", "os.system", "", None, 3, ["FM"], {"FM": 1}):
        rewrite(tmp_path / "model", meta | {"class": odd}, arrays)
        expect_refusal(tmp_path / "model", FM, "class|damaged")
        with pytest.raises(ModelFileError):
            Model.load(tmp_path / "model")


@pytest.mark.parametrize("which", ["table", pytest.param("ratings", marks=pytest.mark.long)])
def test_every_array_is_needed_and_checked(which, saved, tmp_path):
    path, model = saved[which]
    meta, arrays = content(path)
    optional = {name for name in arrays if name.startswith("optimizer/")}      # all of a parameter's, or none
    for name, array in arrays.items():
        if name not in optional:
            rewrite(tmp_path / "model", meta, {other: a for other, a in arrays.items() if other != name})
            expect_refusal(tmp_path / "model", type(model), "damaged")
        wrong = {"longer": np.concatenate([array, array[:1]]), "shorter": array[:-1], "more axes": array[None],
                 "text": np.full(array.shape, "x"), "complex": array.astype(complex)}
        if array.dtype.kind == "f":
            for bad in (np.nan, np.inf):
                wrong[str(bad)] = array.copy()
                wrong[str(bad)].flat[-1] = bad
            wrong["int"] = array.astype(int)
            wrong["other float"] = array.astype("float64" if array.dtype == "float32" else "float32")
        else:
            wrong["float"] = array.astype(float)
            wrong["other int"] = array.astype("int16")
        for what, changed in wrong.items():
            rewrite(tmp_path / "model", meta, arrays | {name: changed})
            try:
                type(model).load(tmp_path / "model")
            except ModelFileError as error:
                assert "damaged" in str(error)
            else:
                pytest.fail(f"{name}: {what} was loaded")


def test_an_array_too_many_is_no_model_of_ours(saved, tmp_path):
    meta, arrays = content(saved["table"][0])
    rewrite(tmp_path / "model", meta, arrays | {"params/extra.W": np.ones(3, np.float32)})
    expect_refusal(tmp_path / "model", FM, r"extra\.W")


@pytest.mark.parametrize("name, change, message", [
    ("users/ids", lambda ids: ids + 1000, "id 10.. is outside"),
    ("users/ids", lambda ids: ids - 1000, "is outside"),
    ("items/ids", lambda ids: ids.astype(np.int64) + 2**32, "damaged"),
    ("items/x", lambda x: np.where(x == x.max(), np.nan, x).astype(np.float32), "damaged"),
    ("items/starts", lambda starts: starts[:-1], "damaged"),
    ("items/starts", lambda starts: starts[::-1], "damaged"),
    ("items/starts", lambda starts: starts + 100, "damaged"),
    ("users/starts", lambda starts: starts - 1, "damaged"),
    ("seen_items", lambda rows: rows + 100, "rated items"),
    ("seen_items", lambda rows: rows - 100, "rated items"),
    ("seen_start", lambda starts: starts[::-1], "damaged"),
    ("seen_start", lambda starts: np.maximum(starts, 1), "damaged"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_the_arrays_of_ratings_are_checked(name, change, message, saved, tmp_path):
    path, model = saved["ratings"]
    meta, arrays = content(path)
    rewrite(tmp_path / "model", meta, arrays | {f"ratings/{name}": change(arrays[f"ratings/{name}"])})
    expect_refusal(tmp_path / "model", type(model), message)


@pytest.mark.parametrize("change", [
    {"users": []}, {"items": []}, {"users": [1, 2]}, {"users": None}, {"users": {}}, {"users": "abc"},
    {"users": [[1]] * 12}, {"users": [100] * 12}, {"users": [None] * 12}], ids=str)
def test_the_ids_of_ratings_are_checked(change, saved, tmp_path):
    path, model = saved["ratings"]
    meta, arrays = content(path)
    assert len(meta["rating_ids"]["users"]) == 12
    rewrite(tmp_path / "model", meta | {"rating_ids": meta["rating_ids"] | change}, arrays)
    expect_refusal(tmp_path / "model", type(model), "damaged")


def test_row_counts_are_counts(saved, tmp_path):
    meta, arrays = content(saved["table"][0])
    rewrite(tmp_path / "model", meta, arrays | {"row_counts": -arrays["row_counts"]})
    expect_refusal(tmp_path / "model", FM, "row_counts")


@pytest.mark.parametrize("key", [
    "class", "settings", "task", "encoder", "optimizer_steps", "rating_ids", "history", "format"])
def test_every_entry_of_the_settings_page_is_needed_and_checked(key, saved, tmp_path):
    path, model = saved["ratings"]
    meta, arrays = content(path)
    rewrite(tmp_path / "model", {other: value for other, value in meta.items() if other != key}, arrays)
    expect_refusal(tmp_path / "model", type(model), "damaged")
    for odd in ("x", 1.5, -3, [], [1], {}, {"x": 1}):
        rewrite(tmp_path / "model", meta | {key: odd}, arrays)
        with pytest.raises(ModelFileError):
            type(model).load(tmp_path / "model")


@pytest.mark.parametrize("text", [
    b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"{}", b"[" * 100_000, b'{"format": 1}',
    b'{"format": ' + b"9" * 5000 + b"}"], ids=lambda text: text[:12].decode(errors="replace"))
def test_an_unreadable_settings_page_is_refused(text, saved, tmp_path):
    _, arrays = content(saved["table"][0])
    rewrite(tmp_path / "model", text, arrays)
    expect_refusal(tmp_path / "model", FM, "damaged|format|not a minictr model")


@pytest.mark.parametrize("wrong", [
    {"epochs": "many"}, {"epochs": 0}, {"embedding_dim": 2.5}, {"embedding_dim": -1}, {"embedding_dim": 4},
    {"embedding_dim": 10**15}, {"embedding_dim": 10**25}, {"batch_size": None}, {"dtype": "float16"},
    {"dtype": "float64"}, {"dtype": "object"}, {"dropout": 2}, {"dropout": "x"}, {"learning_rate": "fast"},
    {"learning_rate": -1}, {"learning_rate": math.inf}, {"reg": "x"}, {"optimizer": "magic"}, {"freeze": ["nothing"]},
    {"freeze": 3}, {"lr_multipliers": {"nothing": 2}}, {"lr_multipliers": [1]}, {"seed": "x"}, {"seed": -1},
    {"n_threads": "x"}, {"n_threads": -1}, {"fields": 3}, {"fields": [{"kind": "Evil", "name": "x"}]}, {"fields": [3]},
    {"fields": [{"kind": "Categorical"}]}, {"task": "magic"}, {"unknown": 1}, {"self": 1}], ids=str)
def test_wrong_settings_in_a_file_are_refused(wrong, saved, tmp_path):
    meta, arrays = content(saved["table"][0])
    rewrite(tmp_path / "model", meta | {"settings": meta["settings"] | wrong}, arrays)
    expect_refusal(tmp_path / "model", FM, "damaged")


@pytest.mark.parametrize("steps", ["x", -1, 1.5, [1], math.nan, math.inf], ids=str)
def test_wrong_optimizer_steps_are_refused(steps, saved, tmp_path):
    meta, arrays = content(saved["table"][0])
    rewrite(tmp_path / "model", meta | {"optimizer_steps": steps}, arrays)
    expect_refusal(tmp_path / "model", FM, "damaged")


@pytest.mark.parametrize("history", [
    {"columns": {}, "attrs": {}}, {"columns": {"epoch": [1, 2]}, "attrs": {}}, {"columns": [], "attrs": {}},
    {"columns": {"epoch": [1], "train_loss": [1, 2], "val_loss": [1], "seconds": [1]}, "attrs": {}},
    {"columns": {"epoch": ["x"], "train_loss": ["y"], "val_loss": [1], "seconds": [1]}, "attrs": {}},
    {"columns": {"epoch": [1], "train_loss": [1], "val_loss": [1], "seconds": [1]}, "attrs": 3},
    {"columns": {"epoch": [1], "train_loss": [1], "val_loss": [1], "seconds": [1]}}], ids=str)
def test_a_wrong_history_is_refused(history, saved, tmp_path):
    meta, arrays = content(saved["table"][0])
    rewrite(tmp_path / "model", meta | {"history": history}, arrays)
    expect_refusal(tmp_path / "model", FM, "damaged")


def paths_of(value, path=()):
    """Every place of a JSON value, as a sequence of keys."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths_of(inner, (*path, key))


# No number above 10: a model of 10**8 hidden units would be read as it says, and take the memory.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.floats(-2, 2) | st.text("abµ/.", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=2),
    max_leaves=4)


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_the_settings_page_loads_or_is_refused(data, saved, tmp_path):
    path, _ = saved[data.draw(st.sampled_from(sorted(saved)), label="file")]
    meta, arrays = content(path)
    place = data.draw(st.sampled_from(list(paths_of(meta))[1:]), label="place")
    inner = meta
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = data.draw(JSON, label="value")
    rewrite(tmp_path / "model", meta, arrays)
    try:
        Model.load(tmp_path / "model")
    except ModelFileError:
        pass


# ---------------------------------------------------------------------------------------- flipped bytes

@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The bytes of two small model files, and what the models answer."""
    folder = tmp_path_factory.mktemp("flips")
    X = pd.DataFrame({"a": ["x", "y", "z"] * 10, "b": [0, 1, 2, 3, 4] * 6})
    models = {"table": LR(epochs=1).fit(X, [0, 1, 1] * 10), "ratings": FM(embedding_dim=1, epochs=1).fit(**ratings())}
    files = {}
    for name, model in models.items():
        model.save(folder / name)
        files[name] = (folder / name).read_bytes(), answers(name, model)
    return files


def answers(name, model):
    """All that a model knows, as something to compare."""
    settings = model.get_params(), model.history_.to_dict("list")["train_loss"], model.row_counts_.tolist()
    if name == "table":
        X = pd.DataFrame({"a": ["x", "y", "z", "new"], "b": [0, 3, 9, 4]})
        return settings, model.decision_function(X).tolist()
    users = [*range(100, 113)]
    return (settings, model.batch_predict([(user, item) for user in users for item in range(7, 17)]).tolist(),
            [model.recommend(user, 20) for user in users])


def check_flipped(name, flipped, expected, path):
    path.write_bytes(flipped)
    try:
        model = Model.load(path)
    except ModelFileError:
        return
    assert answers(name, model) == expected, "a changed file was loaded as another model"


@examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_are_noticed_or_do_no_harm(data, original, tmp_path):
    name = data.draw(st.sampled_from(sorted(original)), label="file")
    whole, expected = original[name]
    flipped = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3), label="flips")):
        position = data.draw(st.integers(0, len(whole) - 1), label="position")
        flipped[position] ^= data.draw(st.integers(1, 255), label="mask")
    check_flipped(name, flipped, expected, tmp_path / "model")


@pytest.mark.long
def test_each_byte_of_a_file_may_be_flipped(original, tmp_path):
    whole, expected = original["table"]
    page = whole.index(b'{"format"')                    # inside the long page of settings all bytes are alike
    for position in (*range(page + 5), *range(page + 900, len(whole))):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        check_flipped("table", flipped, expected, tmp_path / "model")


def test_flags_of_the_archive_may_be_flipped(original, tmp_path):
    """Encrypted, compressed by an unknown method, of a later version: each has an exception of its own in Python."""
    whole, expected = original["table"]
    entry = whole.index(b"PK\x01\x02")
    for field, offset, values in (("version", 6, (63, 255)), ("flags", 8, (1, 32, 64, 0x800)),
                                  ("method", 10, (1, 8, 9, 12, 14, 97))):
        for value in values:
            flipped = bytearray(whole)
            flipped[entry + offset:entry + offset + 2] = struct.pack("<H", value)
            local = struct.unpack_from("<I", whole, entry + 42)[0]
            flipped[local + offset - 2:local + offset] = struct.pack("<H", value)
            check_flipped("table", flipped, expected, tmp_path / "model"), field


@pytest.mark.parametrize("name", ["table", "ratings"])
def test_headers_of_arrays_may_be_changed(name, original, tmp_path):
    """A header that asks for fewer bytes than there are is read without a look at the checksum."""
    whole, expected = original[name]
    changes = [(b"<i8", b"<i4"), (b"<i8", b"<i2"), (b"<i8", b"<u8"), (b"<i8", b"<f8"), (b"<i4", b"<i2"),
               (b"<f4", b"<f2"), (b"<f4", b"<i4"), (b"|u1", b"|i1"), (b"|u1", b"|S1"), (b"<i8", b"|O8"),
               (b"False", b"True "), (b"(", b"["), (b"(", b"-"), (b"(", b"\x00"), (b"{", b"("), (b"{", b"'"),
               (b"descr", b"descr"[::-1]), (b"\x93NUMPY\x01", b"\x93NUMPY\x02"), (b"\x93NUMPY\x01", b"\x93NUMPY\x09")]
    changes += [(f"({n},".encode(), f"({m},".encode()) for n in range(1, 26) for m in range(n)
                if len(str(n)) == len(str(m))]
    start, n_changed = 0, 0
    while (start := whole.find(b"\x93NUMPY", start)) >= 0:
        for old, new in changes:
            place = whole.find(old, start, start + 128)
            if place >= 0:
                n_changed += 1
                check_flipped(name, whole[:place] + new + whole[place + len(old):], expected, tmp_path / "model")
        start += 1
    assert n_changed > 50


def test_loading_leaves_no_file_open(saved):
    """With warnings as errors an unclosed file would raise here."""
    path, model = saved["table"]
    for _ in range(3):
        type(model).load(path)
    if sys.platform == "linux":
        assert not [link for fd in os.listdir("/proc/self/fd")
                    if (link := _target(fd)) and os.path.basename(link) == path.name and link == str(path)]


def _target(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return None
