"""FM's twin for a step: the plain model's outputs and gradients, and no part in what somebody changed."""

import copy

import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minictr import FM, Categorical, MultiValued, Numerical, datasets
from minictr.estimator import registry
from minictr.layers import Dense, FMPooling, Layer, Linear, RowGradient, gradients, parameters, replica
from minictr.optim import SGD
from minictr.slots import Slots
from minictr.training import chunk_sizes, fast_fm, fast_functions, fast_rows
from minictr.training.chunked import ChunkedTrainer
from minictr.training.fast_fm import FastFMStep, has_fast_step
from minictr.training.fast_rows import FastRowGradient, SummedRows

CLICKS = datasets.make_clicks(1_200, seed=0)
X, Y = CLICKS.X.drop(columns="interests"), CLICKS.y               # a multi-valued field does not suit the twin
SEVERAL = CLICKS.X
N = oracles.N_VALUES


def drawn(seed, B, M, k, ids_of_numbers=(), dtype="float64"):
    """An FM whose parameters all matter, and rows, the first of whose M fields are numbers with so many ids each."""
    rng = np.random.default_rng(seed)
    model = FM(embedding_dim=k, dtype=dtype)
    model.build(N, M, rng)
    oracles.randomize(model, rng)
    ids, x = rng.integers(0, N, (B, M)), np.ones((B, M)) if ids_of_numbers else None
    for slot, n_ids in enumerate(ids_of_numbers):
        ids[:, slot] = rng.choice(rng.integers(0, N, n_ids), B)
        x[:, slot] = rng.standard_normal(B) * (rng.random(B) < 0.8)           # 0 in some rows
    return model, Slots(ids, x, np.arange(M)), rng.standard_normal(B).astype(dtype)


def passes(model, layers, slots, ds):
    """The outputs, and all gradients that are left in the layers of a replica; those of tables as arrays."""
    s = model.forward(slots)
    model.backward(ds)
    return s, {name: grad.dense(N) if isinstance(grad, RowGradient) else grad
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
       ids_of_numbers=st.lists(st.integers(1, 2), max_size=6))
def test_it_gives_what_the_model_gives(seed, B, M, k, ids_of_numbers):
    assert_same_step(*drawn(seed, B, M, k, ids_of_numbers[:M]))


@pytest.mark.parametrize("fault", ["sum_last", "in_twos", "number_columns"])
def test_broken_on_purpose_it_fails(fault, monkeypatch):
    """A test of the test above."""
    right = getattr(fast_fm, fault)
    wrong = {"sum_last": lambda x: right(x) * (1 + 1e-8), "in_twos": lambda x: right(x.copy()),
             "number_columns": lambda ids, x: right(ids, x)[:1]}[fault]
    monkeypatch.setattr(fast_fm, fault, wrong)
    with pytest.raises(AssertionError):
        assert_same_step(*drawn(0, 6, 3, 4, [2]))


def test_backward_twice_leaves_the_same_gradients():
    model, slots, ds = drawn(0, 6, 3, 4, [1, 2])
    twin, found = FastFMStep(model), []
    twin.forward(slots)
    for _ in range(2):
        twin.backward(ds)
        found.append(model.embedding.grads["V"].sum()[1])
    assert_array_equal(*found)


def test_without_a_bias_it_leaves_no_gradient_of_one():
    model, slots, ds = drawn(0, 6, 3, 4)
    del model.linear.params["w0"]
    twin = assert_same_step(model, slots, ds)
    assert "w0" not in twin.linear.grads


@pytest.mark.parametrize("x", ["around 0", "age", "year", "long tail"])
def test_large_numbers_lose_less_than_a_digit_more_than_in_the_layers(x):
    """dv = sum x ds f - v sum x^2 ds: two large sums, of which little is left."""
    B, rng = 5_000, np.random.default_rng(0)
    model, _, _ = drawn(0, B, 3, 4, dtype="float32")
    model.embedding.params["V"] *= 0.02
    weights = {"around 0": rng.standard_normal(B), "age": rng.integers(18, 80, B), "year": rng.integers(1950, 2020, B),
               "long tail": np.minimum(rng.lognormal(np.log(1e3), 1, B), fast_functions.LARGEST_X)}[x]
    ids = np.stack([np.zeros(B), rng.integers(1, 3, B), rng.integers(3, 5, B)], axis=1)     # each field its own
    slots = Slots(ids, np.stack([weights, np.ones(B), np.ones(B)], axis=1), np.arange(3))
    assert FastFMStep.suits(slots)
    ds = (rng.standard_normal(B) / B).astype("float32")
    exact = copy.deepcopy(model)
    for layer in (exact.linear, exact.embedding):
        layer.params = {name: array.astype("float64") for name, array in layer.params.items()}
    other = replica(model)
    grads = [passes(one, layers, slots, rows)[1]["embedding.V"] for one, layers, rows in (
        (exact, exact, ds.astype("float64")), (model, model, ds), (FastFMStep(other), other, ds))]
    plain, fast = (np.abs(grad - grads[0]).max(axis=1) for grad in grads[1:])
    assert (fast < 8 * plain + 1e-12).all()


# ---- which batches suit it -------------------------------------------------------------------------------------------

B = fast_fm.FEWEST_ROWS


def rows_of(*slots):
    """B rows of slots, each (ids, x)."""
    ids, x = ([np.broadcast_to(array, B) for array in column] for column in zip(*slots, strict=True))
    return Slots(np.stack(ids, axis=1), np.stack(x, axis=1), np.arange(len(slots)))


CATEGORY, OTHER = (np.arange(B) % 5, 1), (5 + np.arange(B) % 7, 1)
NUMBER, MISSING = (20, np.linspace(-1, 1, B)), (20 + np.arange(B) % 2, np.linspace(-1, 1, B))


@pytest.mark.parametrize("slots, suits", [
    (rows_of(CATEGORY, OTHER), True), (rows_of(NUMBER, CATEGORY, OTHER), True),
    (rows_of(CATEGORY, MISSING, OTHER), True),
    (rows_of(CATEGORY, NUMBER), False), (rows_of(CATEGORY), False),
    (rows_of(CATEGORY, OTHER, (np.arange(B) % 3, np.linspace(0, 1, B))), False),
    (rows_of(CATEGORY, OTHER, (20, np.linspace(0, 1.01 * fast_functions.LARGEST_X, B))), False),
    (rows_of(CATEGORY, OTHER)[:B - 1], False), (Slots(rows_of(CATEGORY, OTHER).ids, None, [0, 1]), True),
    (Slots(rows_of(CATEGORY, OTHER, OTHER).ids, None, [0, 1]), False)],
    ids=["categories", "a number", "one with missing values", "one field with x = 1", "one field",
         "weighted categories", "large numbers", "few rows", "no x", "several values"])
def test_it_suits(slots, suits):
    assert FastFMStep.suits(slots) == suits


@pytest.mark.parametrize("rows_of_a_piece, window", [(600, 600), (300, 800), (600, 65_536)])
def test_a_table_in_pieces_has_the_bits_of_the_whole(rows_of_a_piece, window, monkeypatch):
    """Which batches suit depends on their rows alone, not on what came with them: here the first pieces hold no number,
    and in the whole table numbers stand to both sides.
    """
    rng, n = np.random.default_rng(0), 2_400
    table = pd.DataFrame({"age": np.where(np.arange(n) < n // 2, np.nan, rng.integers(18, 80, n)),
                          "user": rng.integers(0, 50, n), "shop": rng.integers(0, 9, n), "price": rng.random(n)})
    y, rows, trained = rng.integers(0, 2, n), steps(monkeypatch), []
    fields = [Numerical("age"), Categorical("user"), Categorical("shop"), Numerical("price")]

    def pieces():
        whole = table.assign(y=y)
        return (whole[start:start + rows_of_a_piece] for start in range(0, n, rows_of_a_piece))

    for data in ((table, y), (pieces, "y")):
        model = FM(fields=fields, epochs=2, batch_size=B, shuffle_window=window, seed=0)
        trained.append(parameters(model.fit(*data)))
    assert len(rows) >= 8 and len(rows) % 2 == 0
    for name, array in trained[0].items():
        assert_array_equal(trained[1][name], array, err_msg=name)


def test_padding_counts():
    """The plain step looks it up too: a gradient of 0, by which lazy Adam moves a row that has moments."""
    rng, n = np.random.default_rng(0), 4 * B
    tags = [["a"], ["b"], None] * (n // 3) + [["a"]] * (n % 3)
    table = pd.DataFrame({"user": rng.integers(0, 50, n), "shop": rng.integers(0, 9, n), "tags": tags})
    table.loc[table.index[2 * B:], "tags"] = pd.Series([["a"]] * n)[2 * B:]
    table.at[n - 1, "tags"] = ["a", "b"]
    y, trained = rng.integers(0, 2, n), []
    fields = [Categorical("user"), Categorical("shop"), MultiValued("tags")]
    for plain in (True, False):
        model = FM(fields=fields, epochs=2, batch_size=B, shuffle_window=1, seed=0, dtype="float64", plain=plain)
        trained.append(parameters(model.fit(table, y)))
    for name, array in trained[0].items():
        assert_allclose(trained[1][name], array, rtol=1e-8, atol=1e-10, err_msg=name)


def test_ratings_with_numbers_take_it(monkeypatch):
    rows, ratings = steps(monkeypatch), datasets.make_ratings(seed=0)["ratings"][:1_000]
    users = pd.DataFrame({"user_id": ratings["user_id"].unique()}).assign(age=lambda table: table.index * 0.5)
    FM(epochs=1, batch_size=1_000).fit(user_ids=ratings["user_id"], item_ids=ratings["movie_id"],
                                       ratings=ratings["rating"], user_features=users)
    assert rows == [1_000]


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
    return FM(embedding_dim=3, epochs=1, **{"batch_size": 600, **settings}).fit(table, Y)


def steps(monkeypatch):
    """Counts the rows that go through the twin."""
    rows, forward = [], FastFMStep.forward
    monkeypatch.setattr(FastFMStep, "forward", lambda self, slots: rows.append(len(slots)) or forward(self, slots))
    return rows


@pytest.mark.parametrize("settings, taken", [
    ({}, 1200), ({"reg": 0.1}, 1200), ({"freeze": ("embedding",)}, 1200), ({"optimizer": "sgd"}, 1200),
    ({"lazy": False}, 1200), ({"batch_size": 700}, 700), ({"dropout": 0.2}, 0), ({"plain": True}, 0),
    ({"batch_size": 400}, 0), ({"table": SEVERAL}, 0)], ids=lambda value: str(value)[:40])
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
    model = mine(epochs=1, batch_size=600).fit(X, Y)
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
        model = FM(embedding_dim=3, dtype="float64", reg=5.0, plain=plain, epochs=1, batch_size=600, seed=0)
        monkeypatch.setattr(FM, "new_optimizer", lambda self: setattr(self, "optimizer_", Decays(learning_rate=0.1)))
        trained.append(parameters(model.fit(X, Y)))
    for name, array in trained[0].items():
        assert_allclose(trained[1][name], array, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_a_long_batch_is_cut_and_threads_change_no_bit(n_threads, monkeypatch):
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    rows = steps(monkeypatch)
    alone, shared = (fitted(n_threads=n, seed=1, reg=0.1) for n in (1, n_threads))
    assert max(rows) <= 8 and sum(rows) == 2400
    for name, array in parameters(alone).items():
        assert_array_equal(parameters(shared)[name], array, err_msg=name)


def test_a_batch_of_the_usual_length_is_one_chunk(monkeypatch):
    rows = steps(monkeypatch)
    model = fitted()
    slots, y, _ = model.encode(X, Y)
    many = np.arange(10_000) % 1_200
    ChunkedTrainer(model, np.random.SeedSequence(0)).step(slots[many], y[many])
    assert rows[-1] == 10_000


def test_an_id_that_is_not_in_the_table_is_named():
    model = fitted()
    slots, y, _ = model.encode(X, Y)
    slots.ids[5, 1] = len(model.embedding.params["V"])
    with pytest.raises(IndexError, match=r"field 1, row 5: id \d+ is outside"):
        ChunkedTrainer(model, np.random.SeedSequence(0)).step(slots, y)
