"""FM's twin for a step: the plain model's outputs and gradients, and no part in what somebody changed."""

import copy

import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minictr import FM, Categorical, Numerical, datasets
from minictr.estimator import registry
from minictr.layers import Dense, FMPooling, Layer, Linear, RowGradient, gradients, parameters, replica
from minictr.optim import SGD
from minictr.slots import Slots
from minictr.training import chunk_sizes, fast_fm, fast_rows
from minictr.training.chunked import ChunkedTrainer
from minictr.training.fast_fm import FastFMStep, has_fast_step
from minictr.training.fast_rows import FastRowGradient, SummedRows

CLICKS = datasets.make_clicks(600, seed=0)
X, Y = CLICKS.X.drop(columns="interests"), CLICKS.y               # a multi-valued field does not suit the twin
SEVERAL = CLICKS.X


def drawn(seed, B, M, k, kind, same=False, dtype="float64"):
    """An FM whose parameters all matter, and rows; with ``same`` the first field has one id in all of them."""
    rng = np.random.default_rng(seed)
    model = FM(embedding_dim=k, dtype=dtype)
    model.build(oracles.N_VALUES, M, rng)
    oracles.randomize(model, rng)
    slots = oracles.random_slots(rng, B, M, kind)
    if same:
        slots.ids[:, 0] = slots.ids[0, 0]
    return model, slots, rng.standard_normal(B).astype(dtype)


def passes(model, layers, slots, ds):
    """The outputs, and all gradients that are left in the layers of a replica; those of tables as arrays."""
    s = model.forward(slots)
    model.backward(ds)
    return s, {name: grad.dense(oracles.N_VALUES) if isinstance(grad, RowGradient) else grad
               for name, grad in gradients(layers).items()}


def assert_same_step(model, slots, ds):
    other = replica(model)
    twin = FastFMStep(other)
    (s, grads), (fast_s, fast_grads) = passes(model, model, slots, ds), passes(twin, other, slots, ds)
    assert_allclose(fast_s, s, rtol=1e-11, atol=1e-12)
    assert fast_grads.keys() == grads.keys()
    for name, grad in grads.items():
        assert_allclose(fast_grads[name], grad, rtol=1e-10, atol=1e-12, err_msg=name)
    return twin


@given(seed=st.integers(0, 2 ** 32 - 1), B=st.integers(1, 6), M=st.integers(2, 6), k=st.integers(1, 5),
       kind=st.sampled_from(["categories", "numbers"]), same=st.booleans())
def test_it_gives_what_the_model_gives(seed, B, M, k, kind, same):
    assert_same_step(*drawn(seed, B, M, k, kind, same))


@pytest.mark.parametrize("fault", ["sum_last", "in_twos", "slots_of_one_id"])
def test_broken_on_purpose_it_fails(fault, monkeypatch):
    """A test of the test above."""
    right = getattr(fast_fm, fault)
    wrong = {"sum_last": lambda x: right(x) * (1 + 1e-8), "in_twos": lambda x: right(x.copy()),
             "slots_of_one_id": lambda slots: [0]}[fault]
    monkeypatch.setattr(fast_fm, fault, wrong)
    with pytest.raises(AssertionError):
        assert_same_step(*drawn(0, 6, 3, 4, "numbers"))


def test_numbers_are_looked_up_once():
    twin = assert_same_step(*drawn(0, 6, 3, 4, "numbers", same=True))
    assert twin.cache["numbers"] == [0]


def test_backward_twice_leaves_the_same_gradients():
    model, slots, ds = drawn(0, 6, 3, 4, "numbers")
    twin, found = FastFMStep(model), []
    twin.forward(slots)
    for _ in range(2):
        twin.backward(ds)
        found.append(model.embedding.grads["V"].sum()[1])
    assert_array_equal(*found)


def test_without_a_bias_it_leaves_no_gradient_of_one():
    model, slots, ds = drawn(0, 6, 3, 4, "categories")
    del model.linear.params["w0"]
    twin = assert_same_step(model, slots, ds)
    assert "w0" not in twin.linear.grads


@pytest.mark.parametrize("x", ["around 0", "age", "year", "long tail"])
def test_large_numbers_lose_less_than_a_digit_more_than_in_the_layers(x):
    """dv = sum x ds f - v sum x^2 ds: two large sums, of which little is left."""
    B, rng = 5_000, np.random.default_rng(0)
    model, slots, _ = drawn(0, B, 3, 4, "numbers", same=True, dtype="float32")
    model.embedding.params["V"] *= 0.02
    weights = {"around 0": rng.standard_normal(B), "age": rng.integers(18, 80, B), "year": rng.integers(1950, 2020, B),
               "long tail": rng.lognormal(np.log(1e3), 1, B)}[x]
    ids = np.stack([np.zeros(B), 1 + slots.ids[:, 1] % 2, 3 + slots.ids[:, 2] % 2], axis=1)     # each field its own
    slots = Slots(ids, np.stack([weights, np.ones(B), np.ones(B)], axis=1), slots.starts)
    ds = (rng.standard_normal(B) / B).astype("float32")
    exact = copy.deepcopy(model)
    for layer in (exact.linear, exact.embedding):
        layer.params = {name: array.astype("float64") for name, array in layer.params.items()}
    other = replica(model)
    grads = [passes(one, layers, slots, rows)[1]["embedding.V"] for one, layers, rows in (
        (exact, exact, ds.astype("float64")), (model, model, ds), (FastFMStep(other), other, ds))]
    plain, fast = (np.abs(grad - grads[0]).max(axis=1) for grad in grads[1:])
    assert (fast < 8 * plain + 1e-12).all()


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_what_learns_nothing_does_not_move(optimizer):
    """Where the only other field is a number that is 0, f = e_i, and the plain gradient is exactly 0. Of the least
    rounding error Adam would make a step.
    """
    rng = np.random.default_rng(0)
    city = rng.integers(0, 20, 2_000)
    number = np.where(city < 10, 0, rng.standard_normal(2_000))
    table = pd.DataFrame({"city": city, "number": number})
    fields = [Categorical("city"), Numerical("number")]
    model = FM(fields=fields, epochs=1, optimizer=optimizer, learning_rate=0.01, batch_size=1_000, seed=0)
    model.prepare(table, np.arange(2_000) % 2)
    before = model.embedding.params["V"].copy()
    model.fit(table, np.arange(2_000) % 2)
    moved = np.abs(model.embedding.params["V"] - before).max(axis=1)
    ids = np.unique(model.encoder_.encode(table[city < 10]).ids[:, 0])
    assert len(ids) == 10 and moved[ids].max() < 1e-9 and np.sort(moved)[-5] > 1e-3


def test_a_dtype_is_kept():
    model = FM(embedding_dim=3, dtype="float32").prepare(X, Y)
    slots, y, c = model.encode(X, Y)
    _, grads = ChunkedTrainer(model, np.random.SeedSequence(0)).gradients(slots, y, c, len(slots))
    assert type(grads["embedding.V"]) is SummedRows
    assert {name: grad.sum()[1].dtype.name if isinstance(grad, RowGradient) else grad.dtype.name
            for name, grad in grads.items()} == dict.fromkeys(parameters(model), "float32")


# ---- rows that chunks have summed ------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(), (2,), (2, 3)], ids=str)
@pytest.mark.parametrize("l2", [False, True], ids=["alone", "with L2"])
def test_summed_rows_are_the_row_gradient_of_all(shape, l2):
    rng = np.random.default_rng(0)
    slots = Slots([[1, 5], [5, 1], [3, 1], [7, 7]], [[1, 1], [2, 0], [0, 1], [1, 1]], [0, 1])
    values, table = rng.standard_normal((8, *shape)), rng.standard_normal((9, *shape))
    chunks = [slots[:3], slots[3:]]
    parts = [RowGradient(chunk, own).sum()[1] for chunk, own in zip(chunks, (values[:6], values[6:]), strict=True)]
    each = [SummedRows([fast_rows.Places(chunk)], [own]) for chunk, own in zip(chunks, parts, strict=True)]
    plain, summed = RowGradient(slots, values), each[0].joined(each)
    if l2:
        plain, summed = (gradient.plus_looked_up(table, 0.5) for gradient in (plain, summed))
    rows, sums = summed.sum()
    assert_array_equal(rows, plain.sum()[0])
    assert_allclose(sums, plain.sum()[1], rtol=1e-12, atol=1e-14)
    assert_allclose(summed.dense(9), plain.dense(9), rtol=1e-12, atol=1e-14)
    assert_array_equal(summed.slots.ids[:, 0], rows)
    assert_array_equal(summed.values, sums)
    assert "at 4 rows: 1:" in repr(summed)


KINDS_OF_GRADIENTS = {
    "RowGradient": lambda slots, values: RowGradient(slots, values),
    "FastRowGradient": lambda slots, values: FastRowGradient(fast_rows.Places(slots), [values]),
    "SummedRows": lambda slots, values: SummedRows([fast_rows.Places(slots)], [RowGradient(slots, values).sum()[1]])}


@pytest.mark.parametrize("new", KINDS_OF_GRADIENTS.values(), ids=list(KINDS_OF_GRADIENTS))
def test_l2_is_that_of_the_table_when_it_was_asked_for_and_adds_up(new):
    slots, table = Slots([[1, 5], [5, 1]], None, [0, 1]), np.ones((9, 2))
    once = new(slots, np.zeros((4, 2))).plus_looked_up(table, 1.0)
    twice = once.plus_looked_up(table, 2.0)
    table *= 100
    assert_array_equal(once.sum()[1], np.full((2, 2), 2.0))
    assert_array_equal(twice.sum()[1], np.full((2, 2), 6.0))


@pytest.mark.parametrize("new", KINDS_OF_GRADIENTS.values(), ids=list(KINDS_OF_GRADIENTS))
def test_sums_are_the_callers_own(new):
    gradient = new(Slots([[1, 5], [5, 1]], None, [0, 1]), np.ones((4, 2)))
    gradient.sum()[1][...] = 7
    assert_array_equal(gradient.sum()[1], np.full((2, 2), 2.0))


# ---- where it is taken -----------------------------------------------------------------------------------------------

def fitted(table=X, **settings):
    return FM(embedding_dim=3, epochs=1, **{"batch_size": 300, **settings}).fit(table, Y)


def steps(monkeypatch):
    """Counts the rows that go through the twin."""
    rows, forward = [], FastFMStep.forward
    monkeypatch.setattr(FastFMStep, "forward", lambda self, slots: rows.append(len(slots)) or forward(self, slots))
    return rows


@pytest.mark.parametrize("settings, taken", [
    ({}, 600), ({"reg": 0.1}, 600), ({"freeze": ("embedding",)}, 600), ({"optimizer": "sgd"}, 600),
    ({"lazy": False}, 600), ({"batch_size": 400}, 400), ({"dropout": 0.2}, 0), ({"plain": True}, 0),
    ({"batch_size": 200}, 0), ({"table": SEVERAL}, 0)], ids=str)
def test_fit_takes_it_for_long_batches_of_fields_with_one_value_where_nothing_is_dropped(settings, taken, monkeypatch):
    rows = steps(monkeypatch)
    settings = {"dtype": "float64", "learning_rate": 0.01, **settings}
    model = fitted(**settings)
    assert sum(rows) == taken
    if not settings.get("dropout"):
        plain = fitted(**{**settings, "plain": True})
        for name, array in parameters(plain).items():
            assert_allclose(parameters(model)[name], array, rtol=1e-8, atol=1e-10, err_msg=name)


def test_a_field_alone_goes_through_the_layers(monkeypatch):
    rows = steps(monkeypatch)
    model = fitted(X[["device"]])
    assert not rows and not model.optimizer_.state_of("embedding.V", model.embedding.params["V"])["m"].any()


def test_it_stands_for_nothing_that_somebody_changed(monkeypatch):
    model = fitted()
    assert has_fast_step(model)
    for change in (lambda other: vars(other).update(backward=lambda ds: None),
                   lambda other: vars(other).update(pooling=type("MyPooling", (FMPooling,), {})()),
                   lambda other: vars(other).update(pooled_dropout=type("Identity", (Layer,), {})()),
                   lambda other: vars(other).update(extra=Dense(2, 2, np.random.default_rng(0))),
                   lambda other: vars(other.embedding).update(backward=lambda dE: None)):
        other = copy.deepcopy(model)
        change(other)
        assert not has_fast_step(other)
    for cls in (FM, type(model.embedding), FMPooling):
        for method in ("forward", "backward"):
            with monkeypatch.context() as patch:
                patch.setattr(cls, method, lambda self, x: x)
                assert not has_fast_step(model)
    assert has_fast_step(model)


def test_a_class_of_ones_own_with_that_name_takes_its_place(monkeypatch):
    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)

    methods = {"build": build, "forward": lambda self, slots: self.linear.forward(slots),
               "backward": lambda self, ds: self.linear.backward(ds), "regularized": ("linear.w",)}
    monkeypatch.setitem(registry.MODELS, "FM", FM)                # which the next line replaces
    mine = type("FM", (FM,), methods)
    rows = steps(monkeypatch)
    model = mine(epochs=1, batch_size=300).fit(X, Y)
    assert not rows and model.linear.params["w"].any()


def test_dropout_that_is_switched_on_before_the_first_step_counts():
    model = FM(embedding_dim=3).prepare(X, Y)
    trainer = ChunkedTrainer(model, np.random.SeedSequence(0))
    model.pooled_dropout.rate = 0.5
    trainer.step(*model.encode(X, Y)[:2])
    assert not trainer.twins


def test_an_optimizer_of_ones_own_gets_the_l2_of_the_table_before_it_changes_it(monkeypatch):
    class Decays(SGD):
        def step(self, params, grads):
            for array in params.values():
                array *= 0.5
            super().step(params, grads)

    trained = []
    for plain in (True, False):
        model = FM(embedding_dim=3, dtype="float64", reg=5.0, plain=plain, epochs=1, batch_size=300, seed=0)
        monkeypatch.setattr(FM, "new_optimizer", lambda self: setattr(self, "optimizer_", Decays(learning_rate=0.1)))
        trained.append(parameters(model.fit(X, Y)))
    for name, array in trained[0].items():
        assert_allclose(trained[1][name], array, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_a_long_batch_is_cut_and_threads_change_no_bit(n_threads, monkeypatch):
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    rows = steps(monkeypatch)
    alone, shared = (fitted(n_threads=n, seed=1, reg=0.1) for n in (1, n_threads))
    assert max(rows) <= 8 and sum(rows) == 1200
    for name, array in parameters(alone).items():
        assert_array_equal(parameters(shared)[name], array, err_msg=name)


def test_a_batch_of_the_usual_length_is_one_chunk(monkeypatch):
    rows = steps(monkeypatch)
    model = fitted()
    slots, y, _ = model.encode(X, Y)
    many = np.arange(10_000) % 600
    ChunkedTrainer(model, np.random.SeedSequence(0)).step(slots[many], y[many])
    assert rows[-1] == 10_000


def test_an_id_that_is_not_in_the_table_is_named():
    model = fitted()
    slots, y, _ = model.encode(X, Y)
    slots.ids[5, 1] = len(model.embedding.params["V"])
    with pytest.raises(IndexError, match=r"field 1, row 5: id \d+ is outside"):
        ChunkedTrainer(model, np.random.SeedSequence(0)).step(slots, y)
