"""The training loop: chunks, threads, seeds, early stopping, weights, interruption, divergence, progress."""

import itertools
import re
import sys
import threading
import time
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import KINDS, dropouts, every_kind, small, tables_of

from minictr import (
    FM,
    LR,
    Categorical,
    DeepFM,
    MultiValued,
    NotFittedError,
    Numerical,
    TrainingDiverged,
    losses,
    training,
)
from minictr.layers import Dropout, named_layers, parameters, sigmoid, states
from minictr.training import chunk_sizes, chunked, loop, progress, threads

FIELDS = ["user", "hour", Numerical("price", transform="standard"), MultiValued("genres")]


def make(which, **settings):
    """A variant that drops wherever it can."""
    return small(which, FIELDS, **{"fields": FIELDS, **dropouts(which, 0.2), **settings})


def without_dropout(which, **settings):
    return small(which, FIELDS, **{"fields": FIELDS, **settings})


def table(n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "user": rng.choice(["ann", "bob", "cem", "dan"], n_rows, p=[0.4, 0.3, 0.2, 0.1]),
        "hour": rng.integers(0, 3, n_rows),
        "price": rng.normal(10, 2, n_rows),
        "genres": rng.choice(["a", "b", "a|b", "c|a", "a|b|c"], n_rows),
    })
    logit = -0.6 + 1.5 * ((X["user"] == "ann") == (X["hour"] == 1)) + 0.3 * (X["price"] - 10)
    return X, (rng.random(n_rows) < sigmoid(logit.to_numpy())).astype(int)


def weights(model):
    return {name: array.copy() for name, array in {**parameters(model), **states(model)}.items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def same_bits(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------------------------- chunks and threads

@every_kind
def test_chunks_change_nothing_but_rounding(name, monkeypatch):
    X, y = table(300)
    model = without_dropout(name, epochs=2, batch_size=130, dtype="float64", learning_rate=0.01)
    whole = weights(model.fit(X, y))
    n_chunks = []
    cut = chunked.chunk_slices
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr(chunked.Trainer, "check", lambda *args: None)      # it predicts, in chunks of its own
    monkeypatch.setattr(chunked, "chunk_slices", lambda *args: n_chunks.append(cut(*args)) or cut(*args))
    in_chunks = weights(model.fit(X, y))
    assert max(map(len, n_chunks)) == (1 if model.whole_batch_only else 18)    # 130 rows, at most 8 each
    for array in whole:
        np.testing.assert_allclose(in_chunks[array], whole[array], rtol=1e-8, atol=1e-10, err_msg=array)


@every_kind
@pytest.mark.parametrize("dropout", [False, True], ids=["no dropout", "dropout"])
def test_weights_are_the_same_bits_with_any_number_of_threads_and_on_a_rerun(name, dropout, monkeypatch):
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    X, y = table(300)
    results, predictions = [], []
    for n_threads in (1, 2, 3, 3, None):
        model = (make if dropout else without_dropout)(
            name, epochs=2, batch_size=130, n_threads=n_threads, learning_rate=0.01)
        model.fit(X, y, validation=0.2)
        results.append(weights(model))
        predictions.append(model.decision_function(X))
    for result, prediction in zip(results[1:], predictions[1:], strict=True):
        assert_same_bits(result, results[0])
        np.testing.assert_array_equal(prediction, predictions[0])


def test_chunks_have_different_dropout_masks(monkeypatch):
    """Had they all the same random numbers, dropout would repeat itself down the batch."""
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    masks = []
    forward = Dropout.forward

    def spy(layer, x):
        out = forward(layer, x)
        if layer.training:
            masks.append(layer.cache["mask"])
        return out

    monkeypatch.setattr(Dropout, "forward", spy)
    X, y = table(128)
    FM(fields=FIELDS, dropout=0.5, n_threads=1, batch_size=128, epochs=1).fit(X, y)
    assert len(masks) == 16 and {mask.shape for mask in masks} == {(8, 8)}
    assert len({mask.tobytes() for mask in masks}) == 16


@given(st.integers(1, 5000), st.integers(2, 700))
def test_chunks_cover_every_row_once(n_rows, chunk_rows):
    chunks = chunked.chunk_slices(n_rows, chunk_rows)
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks[:-1])]
    assert chunks[-1].stop == n_rows
    sizes = [chunk.stop - chunk.start for chunk in chunks]
    assert 1 <= min(sizes) and max(sizes) <= chunk_rows and max(sizes) - min(sizes) <= 1
    assert len(chunks) == 1 or len(chunks) % 2 == 0


@given(st.integers(1, 300), st.integers(1, 50))
def test_batches_hold_every_row_once_and_no_row_alone(n_rows, batch_size):
    order = np.random.default_rng(n_rows).permutation(n_rows)
    batches = list(loop.batches(order, batch_size))
    np.testing.assert_array_equal(np.concatenate(batches), order)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size + 1
    assert all(size == batch_size for size in sizes[:-1])
    if n_rows > 1 and batch_size > 1:
        assert min(sizes) > 1


@pytest.mark.parametrize("n_rows", [41, 21, 20, 2])
def test_a_last_batch_of_one_row_is_no_trouble_for_batch_norm(n_rows):
    X, _ = table(n_rows)
    y = np.arange(n_rows) % 2
    model = make("DeepFM-bn", batch_size=20, epochs=1).fit(X, y)
    assert np.isfinite(model.decision_function(X)).all()
    assert model.optimizer_.t == max(1, n_rows // 20)


def test_batch_norm_on_single_rows_is_an_error_with_advice():
    X, y = table(20)
    with pytest.raises(ValueError, match=r"batch norm .*batch_size"):
        make("DeepFM-bn", batch_size=1, epochs=1).fit(X, y)


def test_every_row_is_used_once_in_each_epoch_in_a_new_order(monkeypatch):
    seen = []
    step = training.ChunkedTrainer.step

    def spy(trainer, slots, y, c=None):
        seen.append(slots.ids[:, 0].copy())
        return step(trainer, slots, y, c)

    monkeypatch.setattr(training.ChunkedTrainer, "step", spy)
    X = pd.DataFrame({"row": np.arange(50)})
    model = LR(fields=["row"], batch_size=7, epochs=2).fit(X, np.arange(50) % 2)
    first, second = np.concatenate(seen[:len(seen) // 2]), np.concatenate(seen[len(seen) // 2:])
    expected = model.encoder_.encode(X).ids[:, 0]
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order), np.sort(expected))
        assert not np.array_equal(order, expected)
    assert not np.array_equal(first, second)


def test_blas_gets_its_threads_back(monkeypatch):
    controls = threads._openblas_controls()
    if controls is None:
        pytest.skip("NumPy's BLAS is no OpenBLAS of its own")
    get_threads, set_threads = controls
    before, during = get_threads(), []
    step = training.ChunkedTrainer.step
    try:
        set_threads(2)
        monkeypatch.setattr(training.ChunkedTrainer, "step",
                            lambda *args: during.append(get_threads()) or step(*args))
        X, y = table(50)
        model = make("FM", epochs=1).fit(X, y)
        model.decision_function(X)
        assert during == [1] and get_threads() == 2
        with pytest.raises(TrainingDiverged):
            model.set_params(task="regression", optimizer="sgd", learning_rate=1e30, epochs=5).fit(X, y * 1e6)
        assert get_threads() == 2
    finally:
        set_threads(before)


# ------------------------------------------------------------------------------------------------ seeds

@every_kind
def test_another_seed_gives_other_weights(name):
    X, y = table(200)
    one, other = (weights(make(name, epochs=1, seed=seed).fit(X, y)) for seed in (0, 1))
    assert not same_bits(one, other)


def test_without_a_seed_every_fit_is_different():
    X, y = table(200)
    model = make("FM", epochs=1, seed=None)
    assert not same_bits(weights(model.fit(X, y)), weights(model.fit(X, y)))


def test_the_global_random_state_is_neither_read_nor_changed():
    X, y = table(200)
    results = []
    for seed in (1, 2):
        np.random.seed(seed)
        before = np.random.get_state()[1].copy()
        results.append(weights(make("AutoInt+", epochs=1).fit(X, y, validation=0.2)))
        np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert_same_bits(*results)


def test_dropout_does_not_move_the_start_or_the_order(monkeypatch):
    """Streams of their own: a setting that uses more random numbers leaves the rest of the run alone."""
    orders, starts = [], []
    step = training.ChunkedTrainer.step

    def spy(trainer, slots, y, c=None):
        if not trainer.model.optimizer_.t:
            starts.append(weights(trainer.model))
        orders[-1].append(slots.ids.copy())
        return step(trainer, slots, y, c)

    monkeypatch.setattr(training.ChunkedTrainer, "step", spy)
    X, y = table(200)
    for dropout in (0.0, 0.5):
        orders.append([])
        make("FM", dropout=dropout, epochs=2, batch_size=30).fit(X, y)
    assert_same_bits(*starts)
    for one, other in zip(*orders, strict=True):
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------- validation and early stopping

def noise(n_rows=150):
    """Labels of pure noise and an id for almost every row: the validation loss soon rises."""
    rng = np.random.default_rng(4)
    X = pd.DataFrame({"a": rng.integers(0, 60, n_rows), "b": rng.integers(0, 60, n_rows),
                      "c": rng.integers(0, 3, n_rows)})
    return X, rng.integers(0, 2, n_rows)


OVERFITTING = {
    "FM": FM(fields=[Categorical("a"), "b", "c"], learning_rate=0.03, epochs=30, batch_size=20),
    "DeepFM use_bn": DeepFM(fields=["a", "b", "c"], learning_rate=0.01, epochs=30, batch_size=20,
                            deep_layers=(8,), use_bn=True),
}


@pytest.mark.parametrize("name", OVERFITTING)
def test_the_best_weights_are_restored(name):
    X, y = noise()
    X_val, y_val = X[:50], y[:50]
    model = OVERFITTING[name].clone().set_params(patience=4).fit(X[50:], y[50:], validation=(X_val, y_val))
    val = model.history_["val_loss"]
    assert val.idxmin() < len(val) - 1 and val.iloc[-1] > val.min() + 0.005, "it must overfit to test anything"
    loss = losses.LogLoss().forward(model.decision_function(X_val).astype(float), y_val)
    assert loss == pytest.approx(val.min(), rel=1e-6)
    assert model.history_.attrs["best_epoch"] == val.idxmin() + 1
    again = OVERFITTING[name].clone().set_params(epochs=int(val.idxmin()) + 1).fit(
        X[50:], y[50:], validation=(X_val, y_val))
    assert_same_bits(weights(model), weights(again))


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_training_stops_after_as_many_epochs_without_an_improvement(patience):
    X, y = noise()
    model = OVERFITTING["FM"].clone().set_params(patience=patience).fit(X[50:], y[50:], validation=(X[:50], y[:50]))
    val = model.history_["val_loss"].to_numpy()
    best_so_far = np.minimum.accumulate(val)
    assert len(val) < 30
    assert (val[-patience:] >= best_so_far[-patience - 1]).all()
    for end in range(patience + 1, len(val)):          # it did not stop too late
        assert (val[end - patience:end] < best_so_far[end - patience - 1]).any()


def test_without_early_stopping_all_epochs_run_and_the_best_weights_are_restored_all_the_same():
    X, y = noise()
    model = OVERFITTING["FM"].clone().set_params(early_stopping=False).fit(
        X[50:], y[50:], validation=(X[:50], y[:50]))
    assert len(model.history_) == 30
    loss = losses.LogLoss().forward(model.decision_function(X[:50]).astype(float), y[:50])
    assert loss == pytest.approx(model.history_["val_loss"].min(), rel=1e-6)


def test_a_share_is_held_out_of_training_and_of_the_vocabulary():
    X = pd.DataFrame({"row": [f"row {i}" for i in range(100)], "kind": ["x", "y"] * 50})
    y = np.arange(100) % 2
    model = FM(fields=["row", "kind"], epochs=1).fit(X, y, validation=0.2)
    known = model.encoder_.feature_names("row")[2:]
    assert len(known) == 80
    held_out = ~X["row"].isin(known).to_numpy()
    assert model.row_counts_[2:82].tolist() == [1] * 80
    loss = losses.LogLoss().forward(model.decision_function(X[held_out]).astype(float), y[held_out])
    assert model.history_["val_loss"].item() == pytest.approx(loss, rel=1e-6)
    assert not np.array_equal(np.flatnonzero(held_out), np.arange(80, 100)), "a random share, not the last rows"


def test_the_share_depends_on_the_seed_alone():
    X = pd.DataFrame({"row": [f"row {i}" for i in range(100)], "kind": ["x", "y"] * 50})
    y = np.arange(100) % 2
    known = [FM(epochs=epochs, seed=seed).fit(X, y, validation=0.2).encoder_.feature_names("row")
             for epochs, seed in ((1, 0), (2, 0), (1, 1))]
    assert known[0] == known[1] != known[2]


def test_a_validation_table_may_have_its_columns_in_another_order_and_more_of_them():
    X, y = table(200)
    X_val = X[["genres", "price", "user", "hour"]].assign(more="x")[150:]
    results = [make("FM", epochs=2).fit(X[:150], y[:150], validation=(part, y[150:])).history_["val_loss"].tolist()
               for part in (X[150:], X_val)]
    assert results[0] == results[1]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, 1e-9, 0.999999])
def test_a_share_that_leaves_nothing_is_refused(share):
    X, y = table(50)
    with pytest.raises(ValueError, match="validation"):
        make("FM", epochs=1).fit(X, y, validation=share)


@pytest.mark.parametrize("wrong", [True, "0.1", [0.1]], ids=str)
def test_a_validation_that_is_neither_share_nor_pair_is_refused(wrong):
    X, y = table(50)
    with pytest.raises((TypeError, ValueError), match="validation"):
        make("FM", epochs=1).fit(X, y, validation=wrong)


def test_validation_targets_are_checked():
    X, y = table(50)
    with pytest.raises(ValueError, match=r"row 0 holds [34]"):
        make("FM", epochs=1).fit(X[:40], y[:40], validation=(X[40:], y[40:] + 3))
    with pytest.raises(ValueError, match="'user'"):
        make("FM", epochs=1).fit(X[:40], y[:40], validation=(X[40:].drop(columns="user"), y[40:]))


def test_a_share_that_takes_all_of_one_class_is_an_error():
    """Else the bias would start at minus infinity."""
    X, _ = table(100)
    for row in range(100):
        y = np.zeros(100, int)
        y[row] = 1
        _, held_out = training_rows(y, 0.3)
        if row in held_out:
            break
    with pytest.raises(ValueError, match="class"):
        make("LR", epochs=1).fit(X, y, validation=0.3)


def training_rows(y, share):
    """The rows that fit trains on and holds out, seen from outside: by the vocabulary of a field of row numbers."""
    X = pd.DataFrame({"row": [str(i) for i in range(len(y))], "kind": "x"})
    known = LR(epochs=1).fit(X, np.arange(len(y)) % 2, validation=share).encoder_.feature_names("row")[2:]
    train = np.sort(np.array(known, int))
    return train, np.setdiff1d(np.arange(len(y)), train)


# ---------------------------------------------------------------------------------------------- history

def test_history_has_one_line_an_epoch():
    X, y = table(200)
    history = make("FM", epochs=3).fit(X, y).history_
    assert history.columns.tolist() == ["epoch", "train_loss", "val_loss", "seconds"]
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["val_loss"].isna().all() and history["train_loss"].notna().all() and (history["seconds"] > 0).all()
    p = y.mean()
    assert history.attrs["loss"] == "log loss" and history.attrs["best_epoch"] == 3
    assert history.attrs["base_loss"] == pytest.approx(-(p * np.log(p) + (1 - p) * np.log(1 - p)))


def test_the_base_loss_is_that_of_the_training_rate_on_the_validation_rows():
    X, y = table(200)
    history = make("FM", epochs=1).fit(X[:120], y[:120], validation=(X[120:], y[120:])).history_
    p, q = y[:120].mean(), y[120:].mean()
    assert abs(p - q) > 1e-3
    assert history.attrs["base_loss"] == pytest.approx(-(q * np.log(p) + (1 - q) * np.log(1 - p)), rel=1e-6)


def test_history_of_a_regression():
    X, _ = table(200)
    y = X["price"].to_numpy()
    history = make("FM", epochs=1).fit(X[:120], y[:120], validation=(X[120:], y[120:])).history_
    assert history.attrs["loss"] == "squared error"
    assert history.attrs["base_loss"] == pytest.approx(np.mean((y[120:] - y[:120].mean()) ** 2), rel=1e-5)


def test_the_training_loss_is_the_mean_over_the_rows_of_the_epoch():
    """With a learning rate of next to nothing it is the loss of the start."""
    X, y = table(150)
    model = make("LR", epochs=1, batch_size=40, learning_rate=1e-12).fit(X, y)
    loss = losses.LogLoss().forward(model.decision_function(X).astype(float), y)
    assert model.history_["train_loss"].item() == pytest.approx(loss, rel=1e-6)


# --------------------------------------------------------------------------------------- sample weights

def full_batch(name="FM", **more):
    return without_dropout(name, fields=["user", "hour"], epochs=3, batch_size=1000, dtype="float64",
                           **{"optimizer": "sgd", "learning_rate": 0.5, **more})


each_that_takes_rows_one_by_one = pytest.mark.parametrize(
    "name", [name for name in KINDS if not small(name).whole_batch_only])


@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
@each_that_takes_rows_one_by_one
def test_a_weight_of_2_is_the_row_twice(name):
    X, y = table(100)
    twice = np.concatenate([np.arange(100), np.arange(10)])
    weighted = full_batch(name).fit(X, y, sample_weight=np.where(np.arange(100) < 10, 2, 1))
    doubled = full_batch(name).fit(X.iloc[twice], y[twice])
    plain = full_batch(name).fit(X, y)
    np.testing.assert_allclose(weighted.decision_function(X), doubled.decision_function(X), rtol=1e-9)
    np.testing.assert_allclose(weighted.history_["train_loss"], doubled.history_["train_loss"], rtol=1e-9)
    assert np.abs(weighted.decision_function(X) - plain.decision_function(X)).max() > 1e-4


@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
@each_that_takes_rows_one_by_one
def test_a_weight_of_0_is_the_row_left_out(name):
    X, y = table(100)
    y[:10] = 1                                          # rows that would show
    weighted = full_batch(name).fit(X, y, sample_weight=np.where(np.arange(100) < 10, 0, 1))
    absent = full_batch(name).fit(X[10:], y[10:])
    np.testing.assert_allclose(weighted.decision_function(X), absent.decision_function(X), rtol=1e-9)


def test_weights_of_zero_for_all_validation_rows_are_refused():
    X, y = table(100)
    _, held_out = training_rows(y, 0.3)
    c = np.ones(100)
    c[held_out] = 0
    with pytest.raises(ValueError, match="weight"):
        make("FM").fit(X, y, validation=0.3, sample_weight=c)


def test_only_the_proportions_of_weights_count():
    X, y = table(100)
    c = np.random.default_rng(0).uniform(0.1, 3, 100)
    one, other = (full_batch().fit(X, y, sample_weight=scale * c) for scale in (1, 1000))
    np.testing.assert_allclose(one.decision_function(X), other.decision_function(X), rtol=1e-9)


def test_weights_count_in_the_validation_loss_of_a_share():
    X, y = table(100)
    _, held_out = training_rows(y, 0.3)
    c = np.random.default_rng(0).uniform(0.1, 3, 100)
    model = without_dropout("FM", fields=["user", "hour"], epochs=1).fit(
        X, y, validation=0.3, sample_weight=c)
    s = model.decision_function(X).astype(float)[held_out]
    row_losses = np.logaddexp(0, s) - y[held_out] * s
    assert model.history_["val_loss"].item() == pytest.approx(np.average(row_losses, weights=c[held_out]), rel=1e-5)


@pytest.mark.parametrize("wrong, message", [
    (np.ones(99), "99 sample weights"), (-np.ones(100), "at least 0"), (np.zeros(100), "not all 0"),
    (np.full(100, np.nan), "nan in row 0"), (np.full(100, np.inf), "inf"), (["heavy"] * 100, "numbers"),
    (np.ones((100, 1)), "one value a row")], ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_weights_are_refused(wrong, message):
    X, y = table(100)
    with pytest.raises((ValueError, TypeError), match=message):
        make("FM", epochs=1).fit(X, y, sample_weight=wrong)


# ----------------------------------------------------------------------------------------- interruption

def interrupt_at(monkeypatch, step_number):
    step, calls = training.ChunkedTrainer.step, []

    def step_or_interrupt(trainer, slots, y, c=None):
        calls.append(1)
        if len(calls) == step_number:
            raise KeyboardInterrupt
        return step(trainer, slots, y, c)

    monkeypatch.setattr(training.ChunkedTrainer, "step", step_or_interrupt)


def test_an_interrupted_fit_keeps_the_best_weights_and_says_so(monkeypatch, capsys):
    X, y = table(200)
    settings = {"epochs": 10, "batch_size": 50, "learning_rate": 0.01}
    two = make("DeepFM-bn", **settings | {"epochs": 2}).fit(X, y, validation=0.2)
    best = two.history_.attrs["best_epoch"]
    interrupt_at(monkeypatch, 2 * 4 - 1 + 3)            # 160 rows, 4 batches an epoch (the last has 10): epoch 3
    model = make("DeepFM-bn", **settings)
    assert model.fit(X, y, validation=0.2) is model
    out, err = capsys.readouterr()
    assert out == "" and "interrupted after 2 full epochs" in err and f"weights of epoch {best}" in err
    assert_same_bits(weights(model), weights(two))
    assert len(model.history_) == 2
    np.testing.assert_array_equal(model.predict_proba(X), two.predict_proba(X))
    assert not any(layer.training for _, layer in named_layers(model))


def test_an_interrupted_fit_without_validation_keeps_what_it_has(monkeypatch, capsys):
    X, y = table(200)
    interrupt_at(monkeypatch, 6)
    model = make("FM", epochs=10, batch_size=50).fit(X, y)
    assert "interrupted after 1 full epochs" in capsys.readouterr().err
    assert model.optimizer_.t == 5 and len(model.history_) == 1
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_fit_interrupted_in_its_first_epoch_can_predict_too(monkeypatch, capsys):
    X, y = table(200)
    interrupt_at(monkeypatch, 2)
    model = make("FM", epochs=10, batch_size=50).fit(X, y, validation=0.2)
    assert "interrupted after 0 full epochs" in capsys.readouterr().err
    assert model.history_.empty and np.isfinite(model.predict_proba(X)).all()


def test_another_error_is_not_swallowed(monkeypatch):
    def step(*args):
        raise MemoryError("no room")

    monkeypatch.setattr(training.ChunkedTrainer, "step", step)
    X, y = table(50)
    with pytest.raises(MemoryError, match="no room"):
        make("FM").fit(X, y)


# ------------------------------------------------------------------------------------------- divergence

@every_kind
@pytest.mark.parametrize("learning_rate", [1e6, 1e30])
def test_divergence_stops_at_once_and_says_where(name, learning_rate, monkeypatch):
    logits = []
    forward = losses.SquaredLoss.forward
    monkeypatch.setattr(losses.SquaredLoss, "forward", lambda loss, s, *args, **more: (
        logits.append(s), forward(loss, s, *args, **more))[1])
    X, _ = table(200)
    y = 1e3 * X["price"].to_numpy()
    model = make(name, optimizer="sgd", learning_rate=learning_rate, epochs=100, batch_size=50)
    with pytest.raises(TrainingDiverged) as error:
        model.fit(X, y)
    message = str(error.value)
    place = re.match(r"epoch (\d+), batch (\d+): the loss is (inf|nan)", message)
    assert place and int(place[1]) < 50 and int(place[2]) <= 4
    assert f"Lower learning_rate (now {learning_rate})" in message and "standard" in message
    arrays = [*parameters(model), *(f"{layer}.{key}" for layer, found in named_layers(model) for key in found.cache)]
    if not any(array in message for array in [*arrays, "the logit"]):
        assert "every array of the forward pass is finite" in message
        assert np.isfinite(logits[-1]).all(), "an array was not finite, but is not named"


def test_the_epoch_and_batch_of_a_divergence_are_the_true_ones(monkeypatch):
    step, calls = training.ChunkedTrainer.step, []

    def poison(trainer, slots, y, c=None):
        calls.append(1)
        if len(calls) == 7:
            trainer.params["embedding.V"][0, 0] = np.inf        # id 0 is the unknown user
            slots.ids[0, 0] = 0
        return step(trainer, slots, y, c)

    monkeypatch.setattr(training.ChunkedTrainer, "step", poison)
    X, y = table(200)
    with pytest.raises(TrainingDiverged, match=r"epoch 2, batch 3: .*parameter embedding\.V is not finite"):
        make("FM", epochs=5, batch_size=50).fit(X, y)


def test_a_diverging_train_step_changes_nothing():
    X, y = table(50)
    model = make("FM").prepare(X, y)
    model.linear.params["w"][model.encoder_.offsets[1] + 2] = np.nan
    before = weights(model)
    with pytest.raises(TrainingDiverged, match=r"linear\.w"):
        model.train_step(X, y)
    assert_same_bits(weights(model), before)


def test_the_error_is_an_arithmetic_error():
    assert issubclass(TrainingDiverged, ArithmeticError)


# --------------------------------------------------------------------------------------------- progress

def test_verbose_in_a_log_is_one_line_an_epoch(capsys):
    X, y = table(200)
    model = make("FM", epochs=3, verbose=True, name="my model", learning_rate=1e-5).fit(X, y, validation=0.25)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    n_parameters = sum(array.size for array in parameters(model).values())
    assert err == "" and "\r" not in out and len(lines) == 4
    assert lines[0] == f"my model: binary (log loss), 150 rows, 4 fields, {n_parameters:,} parameters"
    for number, line in enumerate(lines[1:], 1):
        row = model.history_.iloc[number - 1]
        assert line.startswith(f"epoch {number}/3  train {row['train_loss']:.4f}  validation {row['val_loss']:.4f}")
        assert "left" in line


def test_verbose_names_the_class_if_there_is_no_name_and_the_task(capsys):
    X, _ = table(100)
    make("LR", epochs=1, verbose=True).fit(X, X["price"])
    out = capsys.readouterr().out
    assert out.startswith("LR: regression (squared error), 100 rows") and "validation" not in out


def test_verbose_says_which_weights_were_restored(capsys):
    X, y = noise()
    model = OVERFITTING["FM"].clone().set_params(verbose=True).fit(X[50:], y[50:], validation=(X[:50], y[:50]))
    best = model.history_.attrs["best_epoch"]
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"restored the weights of epoch {best},")


def test_verbose_in_a_terminal_updates_one_line(capsys, monkeypatch):
    clock = iter(np.arange(0, 1e6, 0.5))
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(
        monotonic=lambda: float(next(clock)), perf_counter=time.perf_counter))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    X, y = table(200)
    make("FM", epochs=2, batch_size=50, verbose=True).fit(X, y)
    out = capsys.readouterr().out
    first, *epochs = out.splitlines(keepends=True)[0:1] + out.split("\n")[1:-1]
    assert first.startswith("FM: binary")
    assert len(epochs) == 2
    for number, line in enumerate(epochs, 1):
        shown = line.split("\r")
        assert shown[0] == ""
        for batch in range(1, 5):
            assert shown[batch].startswith(f"epoch {number}/2  batch {batch}/4  loss 0.")
            assert re.search(r"at most \d+ s left", shown[batch])
        assert shown[5].startswith(f"epoch {number}/2  train 0.")
        for earlier, later in itertools.pairwise(shown[1:]):
            assert len(later) >= len(earlier.rstrip()), "the rest of the longer line would stay on the screen"


def test_a_quiet_fit_prints_nothing(capsys):
    X, y = table(100)
    make("AFM", epochs=2).fit(X, y, validation=0.2)
    assert capsys.readouterr() == ("", "")


# -------------------------------------------------------------- prepare, train_step, partial_fit

@every_kind
def test_prepare_and_train_step_are_the_first_step_of_fit(name):
    X, y = table(100)
    settings = {"epochs": 1, "batch_size": 1000, "dtype": "float64"}
    fitted = without_dropout(name, **settings).fit(X, y)
    by_hand = without_dropout(name, **settings).prepare(X, y)
    loss = by_hand.train_step(X, y)
    assert loss == pytest.approx(fitted.history_["train_loss"].item(), rel=1e-9)
    # up to the order of the rows within the batch, and the rows of values that training never saw
    seen = np.flatnonzero(by_hand.row_counts_)
    for array, mine in parameters(by_hand).items():
        rows = seen if array in tables_of(by_hand) else slice(None)
        np.testing.assert_allclose(mine[rows], parameters(fitted)[array][rows], rtol=1e-6, atol=1e-8, err_msg=array)


def test_train_step_returns_the_loss_before_the_update_and_learns():
    X, y = table(100)
    model = make("FM", dropout=0.0, learning_rate=0.01, dtype="float64").prepare(X, y)
    for t in range(1, 21):
        s = model.decision_function(X)
        assert model.train_step(X, y) == pytest.approx(losses.LogLoss().forward(s, y), rel=1e-9)
        assert model.optimizer_.t == t
    assert losses.LogLoss().forward(model.decision_function(X), y) < losses.LogLoss().forward(s, y)


def test_the_caches_of_a_train_step_can_be_looked_at():
    X, y = table(100)
    model = make("AFM", n_threads=2).prepare(X, y)
    model.train_step(X, y)
    assert model.attention.cache["aij"].shape == (100, 6)
    assert model.attention.grads["W"].shape == model.attention.params["W"].shape


@every_kind
def test_partial_fit_is_one_epoch_and_goes_on(name):
    X, y = table(100)
    model = make(name, batch_size=30)
    assert model.partial_fit(X, y) is model
    assert model.optimizer_.t == 4
    before = weights(model)
    model.partial_fit(X, y)
    assert model.optimizer_.t == 8 and not same_bits(weights(model), before)
    twin = make(name, batch_size=30).partial_fit(X, y).partial_fit(X, y)
    assert_same_bits(weights(model), weights(twin))
    assert np.isfinite(model.predict_proba(X)).all()


def test_partial_fit_learns():
    X, y = table(500)
    model = make("FM", learning_rate=0.02, dropout=0.0).fit(X, y)
    before = losses.LogLoss().forward(model.decision_function(X), y)
    for _ in range(5):
        model.partial_fit(X, y)
    assert losses.LogLoss().forward(model.decision_function(X), y) < before - 0.005


def test_each_partial_fit_has_an_order_and_dropout_masks_of_its_own(monkeypatch):
    X, y = table(100)
    orders, masks = [], []
    step, forward = training.ChunkedTrainer.step, Dropout.forward
    monkeypatch.setattr(training.ChunkedTrainer, "step", lambda trainer, slots, y, c=None: (
        orders.append(slots.ids.tobytes()), step(trainer, slots, y, c))[1])

    def spy(layer, x):
        out = forward(layer, x)
        if layer.training:
            masks.append(layer.cache["mask"].tobytes())
        return out

    monkeypatch.setattr(Dropout, "forward", spy)
    model = make("FM", dropout=0.5, batch_size=1000)
    for _ in range(3):
        model.partial_fit(X, y)
    assert len(set(orders)) == len(orders) == 3
    assert len(set(masks)) == len(masks) == 3


def test_partial_fit_takes_weights():
    X, y = table(100)
    start = full_batch().fit(X, y)
    model = full_batch().fit(X, y)
    model.partial_fit(X, y, sample_weight=np.ones(100))
    np.testing.assert_allclose(model.decision_function(X), start.partial_fit(X, y).decision_function(X), rtol=1e-12)
    other = full_batch().fit(X, y).partial_fit(X, y, sample_weight=np.arange(100))
    assert np.abs(other.decision_function(X) - model.decision_function(X)).max() > 1e-5


def test_partial_fit_learns_values_that_fit_did_not_see():
    """The mean row is for values that were never trained, by fit or later."""
    X, y = table(200)
    model = make("LR", learning_rate=0.05).fit(X, y)
    missing = X.assign(user=pd.Series([None] * 200, dtype=object))
    before = model.predict_proba(missing)[:, 1]
    w = model.linear.params["w"]
    start, known = w[1], w[2:6].mean()          # ids 2 to 5 are the users that fit saw
    for _ in range(20):
        model.partial_fit(missing, np.ones(200))
    assert w[1] > max(start, known) + 0.1, "the weight of (missing) was replaced by the mean of the users' weights"
    assert (model.predict_proba(missing)[:, 1] > before).all()


def test_the_first_partial_fit_starts_at_the_weighted_base_rate():
    X, y = table(100)
    c = np.where(y == 1, 5.0, 1.0)
    model = make("LR", learning_rate=1e-12).partial_fit(X, y, sample_weight=c)
    mean = np.average(y, weights=c)
    assert model.linear.params["w0"][0] == pytest.approx(np.log(mean / (1 - mean)), rel=1e-5)


def test_partial_fit_keeps_the_vocabulary():
    X, y = table(100)
    model = make("FM").fit(X, y)
    n = model.encoder_.n_ids
    model.partial_fit(X.assign(user="eve"), y)
    assert model.encoder_.n_ids == n


def test_steps_check_their_targets():
    X, y = table(100)
    model = make("FM", epochs=1).fit(X, y)
    for step in (model.train_step, model.partial_fit):
        with pytest.raises(ValueError, match="row 0 holds 7"):
            step(X, np.full(100, 7))
        with pytest.raises(ValueError, match="100 rows and y has 99"):
            step(X, y[:99])


def test_a_step_needs_layers():
    X, y = table(20)
    with pytest.raises(NotFittedError, match="not fitted"):
        FM().train_step(X, y)


# ------------------------------------------------------------------------- values that training never saw

@every_kind
def test_values_never_seen_get_the_weighted_mean_row_of_their_field(name):
    X, y = table(300)
    model = make(name, epochs=2, learning_rate=0.02).fit(X, y)
    user_ids = model.encoder_.encode(X).ids[:, 0]
    for rows in tables_of(model).values():
        for never in (0, 1):                            # unknown, missing
            np.testing.assert_allclose(rows[never], rows[user_ids].mean(axis=0), rtol=1e-4, atol=1e-6)
        offset = int(model.encoder_.offsets[3])
        slots = model.encoder_.encode(X)
        genre, x = slots.ids[:, 3:], slots.x[:, 3:]
        used = rows[genre[x > 0]]                       # each occurrence counts once
        np.testing.assert_allclose(rows[offset], used.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_missing_keeps_its_own_row_where_training_had_missing_values():
    X, y = table(300)
    X["user"] = X["user"].astype(object).where(X["user"] != "dan", None)
    model = make("LR", epochs=30, learning_rate=0.05).fit(X, y)
    w = model.linear.params["w"]
    shares = np.bincount(model.encoder_.encode(X).ids[:, 0], minlength=5)[:5] / 300
    assert shares[1] > 0 and w[0] == pytest.approx(float(shares @ w[:5]), abs=1e-6)
    assert abs(w[1] - w[0]) > 1e-3


def test_an_unseen_category_is_scored_like_the_average_of_the_known_ones():
    """An FM is linear in the vector and weight of each field: so the mean row gives the mean logit, exactly."""
    X, y = table(300)
    model = make("FM", epochs=10, learning_rate=0.05).fit(X, y)
    shares = X["user"].value_counts(normalize=True)
    one = X[:5]
    expected = sum(share * model.decision_function(one.assign(user=user)) for user, share in shares.items())
    np.testing.assert_allclose(model.decision_function(one.assign(user="eve")), expected, rtol=1e-4, atol=1e-5)
    known = [model.decision_function(one.assign(user=user)) for user in shares.index]
    assert np.ptp(known, axis=0).min() > 0.1            # the users do differ


def test_an_unseen_category_is_used_for_the_validation_loss_as_well():
    X = pd.DataFrame({"a": ["x"] * 30 + ["y"] * 30, "b": ["u", "v"] * 30})
    y = np.arange(60) // 2 % 2
    X_val = pd.DataFrame({"a": ["new"] * 10, "b": ["u", "v"] * 5})
    model = FM(epochs=1, learning_rate=0.1).fit(X, y, validation=(X_val, y[:10]))
    loss = losses.LogLoss().forward(model.decision_function(X_val).astype(float), y[:10])
    assert model.history_["val_loss"].item() == pytest.approx(loss, rel=1e-6)


# --------------------------------------------------------------------------- optimizers and learning rates

@pytest.mark.parametrize("optimizer, learning_rate", [("adam", 0.02), ("adagrad", 0.1), ("sgd", 1.0)])
def test_every_optimizer_learns(optimizer, learning_rate):
    X, y = table(500)
    loss = make("FM", dropout=0.0, optimizer=optimizer, learning_rate=learning_rate, epochs=15).fit(
        X, y).history_["train_loss"]
    assert loss.iloc[-1] < loss.iloc[0] - 0.03


def test_lr_multipliers_scale_the_steps_of_what_they_name():
    X, y = table(100)
    steps = []
    for multipliers in (None, {"attention": 10, "attention.b": 3, "linear": 0.5}):
        model = without_dropout(
            "AFM", optimizer="sgd", learning_rate=0.01, dtype="float64", lr_multipliers=multipliers)
        before = weights(model.prepare(X, y))
        model.train_step(X, y)
        steps.append({name: array - before[name] for name, array in parameters(model).items()})
    factors = {"attention.W": 10, "attention.h": 10, "attention.b": 3, "linear.w": 0.5, "linear.w0": 0.5}
    for name, step in steps[0].items():
        assert np.abs(step).max() > 0, name
        np.testing.assert_allclose(steps[1][name], factors.get(name, 1) * step, rtol=1e-6, atol=1e-15, err_msg=name)


def test_lazy_updates_leave_untouched_rows_alone_and_eager_ones_do_not():
    X, y = table(100)
    moved = {}
    for lazy in (True, False):
        model = make("FM", lazy=lazy, dropout=0.0, dtype="float64").prepare(X, y)
        model.train_step(X, y)
        before = model.embedding.params["V"].copy()
        model.train_step(X[X["user"] == "ann"], y[X["user"] == "ann"])
        bob = 3                                         # unknown, missing, ann, bob
        moved[lazy] = not np.array_equal(model.embedding.params["V"][bob], before[bob])
    assert moved == {True: False, False: True}


def test_weights_have_the_dtype_asked_for():
    X, y = table(100)
    for dtype in ("float32", "float64"):
        model = make("DeepFM-bn", dtype=dtype, epochs=1).fit(X, y, validation=0.2, sample_weight=np.ones(100))
        assert {array.dtype.name for array in weights(model).values()} == {dtype}
        assert {array.dtype.name for state in model.optimizer_.state.values() for array in state.values()} == {dtype}
        assert model.decision_function(X).dtype == dtype


def test_training_that_diverged_without_an_infinite_loss_is_said():
    X, y = table(400)
    with pytest.warns(UserWarning, match="training diverged. Lower learning_rate"):
        make("LR", optimizer="sgd", learning_rate=1e4, epochs=2).fit(X, y, validation=0.2)


def test_a_fresh_partial_fit_counts_each_row_once():
    X, y = table(100)
    model = make("FM").partial_fit(X, y)
    users = slice(model.encoder_.offsets[0], model.encoder_.offsets[1])
    assert model.row_counts_[users].sum() == 100
    model.train_step(X[:10], y[:10], sample_weight=np.ones(10))
    assert model.row_counts_[users].sum() == 110


@pytest.mark.parametrize("n", [1, 2, 3])
def test_threads_map_gives_the_results_in_order_and_shares_the_work(n):
    both_started = threading.Barrier(n, timeout=600)     # only a guard: with too few threads it would wait forever

    def square(i):
        if i < n:
            both_started.wait()         # passes only if n threads work at the same time
        return i * i, threading.get_ident()

    with threads.Threads(n) as shared:
        results = shared.map(square, range(20))
        assert shared.map(square, []) == []
    assert [result[0] for result in results] == [i * i for i in range(20)]
    assert len({result[1] for result in results}) == n


@pytest.mark.parametrize("bad", [0, 5])
def test_an_exception_in_one_thread_comes_out_of_map(bad):
    def fails(i):
        if i == bad:
            raise KeyError(i)

    with threads.Threads(2) as shared, pytest.raises(KeyError):
        shared.map(fails, range(10))
