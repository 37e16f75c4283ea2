"""FM's twin for a step: the plain model's outputs and gradients, and no part in what somebody changed."""

import copy

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minictr import FM, datasets
from minictr.layers import Dense, FMPooling, RowGradient, gradients, parameters, replica
from minictr.slots import Slots
from minictr.training import chunk_sizes, fast_fm, fast_rows
from minictr.training.chunked import ChunkedTrainer
from minictr.training.fast_fm import FastFMStep, has_fast_step
from minictr.training.fast_rows import SummedRows

CLICKS = datasets.make_clicks(300, seed=0)


def drawn(seed, B, M, k, kind, same=False):
    """An FM whose parameters all matter, and rows; with ``same`` the first field has one id in all of them."""
    rng = np.random.default_rng(seed)
    model = FM(embedding_dim=k, dtype="float64")
    model.build(oracles.N_VALUES, M, rng)
    oracles.randomize(model, rng)
    slots = oracles.random_slots(rng, B, M, kind)
    if same:
        slots.ids[:, 0] = slots.ids[0, 0]
    return model, slots, rng.standard_normal(B)


def passes(model, slots, ds):
    """The outputs and all gradients, those of tables as arrays."""
    s = model.forward(slots)
    model.backward(ds)
    return s, {name: grad.dense(oracles.N_VALUES) if isinstance(grad, RowGradient) else grad
               for name, grad in gradients(model).items()}


def assert_same_step(model, slots, ds):
    twin = FastFMStep(replica(model))
    (s, grads), (fast_s, fast_grads) = passes(model, slots, ds), passes(twin, slots, ds)
    assert_allclose(fast_s, s, rtol=1e-11, atol=1e-12)
    assert fast_grads.keys() == grads.keys()
    for name, grad in grads.items():
        assert_allclose(fast_grads[name], grad, rtol=1e-10, atol=1e-12, err_msg=name)
    return twin


@given(seed=st.integers(0, 2 ** 32 - 1), B=st.integers(1, 6), M=st.integers(2, 6), k=st.integers(1, 5),
       kind=st.sampled_from(oracles.SLOT_KINDS), same=st.booleans())
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
    model, slots, ds = drawn(0, 6, 3, 4, "numbers", same=True)
    twin = assert_same_step(model, slots, ds)
    assert twin.same == [0]


def test_backward_twice_leaves_the_same_gradients():
    model, slots, ds = drawn(0, 6, 3, 4, "several")
    twin = FastFMStep(replica(model))
    twin.forward(slots)
    found = []
    for _ in range(2):
        twin.backward(ds)
        found.append(twin.embedding.grads["V"].sum()[1])
    assert_array_equal(*found)


def test_without_a_bias_it_leaves_no_gradient_of_one():
    model, slots, ds = drawn(0, 6, 3, 4, "categories")
    del model.linear.params["w0"]
    twin = assert_same_step(model, slots, ds)
    assert "w0" not in twin.linear.grads


def test_a_dtype_is_kept():
    model = FM(embedding_dim=3, dtype="float32").prepare(CLICKS.X, CLICKS.y)
    slots, y, c = model.encode(CLICKS.X, CLICKS.y)
    _, grads = ChunkedTrainer(model, np.random.SeedSequence(0)).gradients(slots, y, c, len(slots))
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
        assert each[0].looked_up is None
    rows, sums = summed.sum()
    assert_array_equal(rows, plain.sum()[0])
    assert_allclose(sums, plain.sum()[1], rtol=1e-12, atol=1e-14)
    assert_allclose(summed.dense(9), plain.dense(9), rtol=1e-12, atol=1e-14)
    assert_array_equal(summed.slots.ids[:, 0], rows)
    assert_array_equal(summed.values, sums)
    assert "at 4 rows: 1:" in repr(summed)


# ---- where it is taken -----------------------------------------------------------------------------------------------

def fitted(**settings):
    return FM(embedding_dim=3, epochs=1, **settings).fit(CLICKS.X, CLICKS.y)


def steps(monkeypatch):
    """Counts the rows that go through the twin."""
    rows, forward = [], FastFMStep.forward
    monkeypatch.setattr(FastFMStep, "forward", lambda self, slots: rows.append(len(slots)) or forward(self, slots))
    return rows


@pytest.mark.parametrize("settings, taken", [
    ({}, True), ({"reg": 0.1}, True), ({"freeze": ("embedding",)}, True), ({"optimizer": "sgd"}, True),
    ({"lazy": False}, True), ({"dropout": 0.2}, False), ({"plain": True}, False)], ids=str)
def test_fit_takes_it_where_nothing_is_dropped(settings, taken, monkeypatch):
    rows = steps(monkeypatch)
    settings = {"dtype": "float64", "learning_rate": 0.01, **settings}
    model = fitted(**settings)
    assert sum(rows) == (300 if taken else 0)
    if taken:
        plain = fitted(**settings, plain=True)
        for name, array in parameters(plain).items():
            assert_allclose(parameters(model)[name], array, rtol=1e-8, atol=1e-10, err_msg=name)


def test_a_field_alone_goes_through_the_layers(monkeypatch):
    """Its pairs are none: the twin's gradients were rounding errors, of which Adam makes steps."""
    rows = steps(monkeypatch)
    model = FM(embedding_dim=3, epochs=1).fit(CLICKS.X[["device"]], CLICKS.y)
    assert not rows and not model.optimizer_.state_of("embedding.V", model.embedding.params["V"])["m"].any()


def test_it_stands_for_nothing_that_somebody_changed(monkeypatch):
    model = fitted()
    assert has_fast_step(model)
    for change in (lambda other: vars(other).update(backward=lambda ds: None),
                   lambda other: vars(other).update(pooling=type("MyPooling", (FMPooling,), {})()),
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


@pytest.mark.parametrize("n_threads", [2, 3])
def test_a_long_batch_is_cut_and_threads_change_no_bit(n_threads, monkeypatch):
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    rows = steps(monkeypatch)
    alone, shared = (fitted(n_threads=n, batch_size=100, seed=1) for n in (1, n_threads))
    assert max(rows) <= 8 and sum(rows) == 600
    for name, array in parameters(alone).items():
        assert_array_equal(parameters(shared)[name], array, err_msg=name)


def test_a_batch_as_long_as_most_is_one_chunk(monkeypatch):
    rows = steps(monkeypatch)
    model = fitted()
    slots, y, _ = model.encode(CLICKS.X, CLICKS.y)
    many = np.arange(20_000) % 300
    ChunkedTrainer(model, np.random.SeedSequence(0)).step(slots[many], y[many])
    assert rows[-1] == 20_000


def test_an_id_that_is_not_in_the_table_is_named():
    model = fitted()
    slots, y, _ = model.encode(CLICKS.X, CLICKS.y)
    slots.ids[5, 1] = len(model.embedding.params["V"])
    with pytest.raises(IndexError, match=r"field 1, row 5: id \d+ is outside"):
        ChunkedTrainer(model, np.random.SeedSequence(0)).step(slots, y)
