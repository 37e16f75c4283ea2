"""The plain step: what it leaves behind, what it refuses, and that nothing is overlooked in it."""

import dataclasses

import numpy as np
import pytest
from models import KINDS, every_kind, small
from numpy.testing import assert_allclose, assert_array_equal

from minictr import AFM, FM, LR, DeepCrossing, TrainingDiverged, WideDeep, check_gradients, datasets
from minictr.layers import (
    MLP,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    FMPooling,
    Layer,
    Linear,
    RowGradient,
    gradients,
    named_layers,
    parameters,
)
from minictr.slots import Slots
from minictr.training import ChunkedTrainer, chunk_sizes, chunked, step, training_mode
from minictr.training.step import with_l2


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(600, seed=0)


def whole(model):
    """All gradients as whole arrays."""
    params = parameters(model)
    return {name: (grad.dense(len(params[name])) if isinstance(grad, RowGradient) else grad).copy()
            for name, grad in gradients(model).items()}


@pytest.mark.parametrize("model, cut", [
    (FM(embedding_dim=16), False), (DeepCrossing(embedding_dim=16, deep_layers=(128, 64)), True),
    (WideDeep(embedding_dim=16, deep_layers=(8,), crosses=(("hour", "device"),), cross_buckets=10 ** 6), False)],
    ids=["little", "products", "hashed crosses are looked up"])
def test_a_batch_is_cut_for_the_threads_where_there_is_work_to_share(model, cut, clicks):
    model.prepare(clicks.X, clicks.y)
    slots = model.encoder_.encode(clicks.X)
    slots = slots[np.arange(1024) % len(slots)]
    rows = chunked.chunk_rows(model, slots, training=True)
    numbers, _ = chunk_sizes.work_of_a_row(model, slots)
    whole = chunk_sizes.STEP_CHUNKS * chunk_sizes.CHUNK_NUMBERS // numbers
    assert rows == (512 if cut else whole)


def test_which_fields_have_several_values_counts(clicks):
    """A cross has a slot for each two values of its fields: 16 in each of the two are 256, elsewhere 1."""
    model = WideDeep(embedding_dim=1, deep_layers=(1,), crosses=(("hour", "device"),)).prepare(clicks.X, clicks.y)
    names = model.encoder_.field_names
    crossed, others = (work_with_more_slots(model, [names.index(name) for name in pair], 15)
                       for pair in (("hour", "device"), ("position", "advertiser")))
    assert crossed > 2 * others


def test_what_is_kept_of_rows_with_many_numbers_of_slots_does_not_grow(clicks):
    model = FM(embedding_dim=2).prepare(clicks.X, clicks.y)
    for more in range(100):
        work_with_more_slots(model, [0, 1], more)
    assert len(model.work_of_a_row_) <= 8


def work_with_more_slots(model, fields, more):
    """The numbers that its layers keep of a row in which some fields have more slots than one."""
    slots = [1 + more * (i in fields) for i in range(len(model.encoder_.field_names))]
    starts = np.cumsum([0, *slots[:-1]])
    return chunk_sizes.work_of_a_row(model, Slots(np.zeros((1, sum(slots)), np.int32), None, starts))[0]


# ---- caches and gradients are the batch's ------------------------------------------------------------------

@every_kind
def test_a_step_leaves_the_caches_and_gradients_of_the_whole_batch(name, clicks, monkeypatch):
    """A batch that ``fit`` would cut in several chunks."""
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    model = small(name, clicks.X, dtype="float64").prepare(clicks.X, clicks.y)
    slots, y, _ = model.encode(clicks.X, clicks.y)
    assert chunked.chunk_rows(model, slots, training=True) < 600 or model.whole_batch_only
    before = {name: array.copy() for name, array in parameters(model).items()}
    model.train_step(clicks.X, clicks.y)
    left = whole(model)
    for _, layer in named_layers(model):
        for key, array in layer.cache.items():
            of_units = isinstance(layer, BatchNorm) and key != "xhat"
            assert array is None or of_units or len(array) == 600
    for name, array in parameters(model).items():
        array[...] = before[name]
    loss = model.loss_()
    with training_mode(model):
        loss.forward(model.forward(slots), y)
        model.backward(loss.backward())
    for name, grad in whole(model).items():
        assert_array_equal(left[name], grad, err_msg=name)


@pytest.mark.parametrize("name", [name for name in KINDS if small(name).regularized])
def test_l2_is_added_to_what_the_optimizer_gets_and_not_to_the_gradients_left(name, clicks):
    one, other = (small(name, clicks.X, reg=reg, dtype="float64").prepare(clicks.X, clicks.y) for reg in (0.0, 5.0))
    for model in (one, other):
        model.train_step(clicks.X[:32], clicks.y[:32])
    for name, grad in whole(one).items():
        assert_array_equal(whole(other)[name], grad, err_msg=name)
    for model in (one, other):                                    # LR's weights were 0 before the first step
        model.train_step(clicks.X[:32], clicks.y[:32])
    assert any(not np.array_equal(array, parameters(other)[name]) for name, array in parameters(one).items())


def test_with_l2_leaves_the_gradients_given_as_they_are(clicks):
    model = FM(reg=2.0, dtype="float64").prepare(clicks.X, clicks.y)
    step(model, *model.encode(clicks.X[:32], clicks.y[:32]))
    given, before = gradients(model), whole(model)
    more = with_l2(model, given, B=32)
    assert more["embedding.V"] is not given["embedding.V"] and more["linear.w0"] is given["linear.w0"]
    for name, grad in whole(model).items():
        assert_array_equal(grad, before[name], err_msg=name)


@pytest.mark.parametrize("n_rows", [100, 600])
def test_chunks_do_not_change_the_gradients_of_their_replicas(n_rows, clicks, monkeypatch):
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    model = AFM(dtype="float64", reg=1.0).prepare(clicks.X, clicks.y)
    rows = model.encode(clicks.X[:n_rows], clicks.y[:n_rows])
    trainer = ChunkedTrainer(model, np.random.SeedSequence(0))
    loss, grads = trainer.gradients(*rows, n_rows)
    before = [{name: (grad.values if isinstance(grad, RowGradient) else grad).copy()
               for name, grad in gradients(one).items()} for one in trainer.replicas]
    trainer.apply(grads, n_rows)
    for one, values in zip(trainer.replicas, before, strict=True):
        for name, grad in gradients(one).items():
            assert_array_equal(grad.values if isinstance(grad, RowGradient) else grad, values[name], err_msg=name)
    plain = AFM(dtype="float64", reg=1.0).prepare(clicks.X, clicks.y)
    assert step(plain, *rows) == pytest.approx(loss, rel=1e-12)
    assert_allclose(model.attention.params["W"], plain.attention.params["W"], rtol=1e-9)


def test_fit_and_predict_leave_nothing_in_the_models_layers(clicks):
    model = AFM(epochs=1).fit(clicks.X, clicks.y, validation=0.2)
    model.predict_proba(clicks.X)
    assert all(not layer.cache and not layer.grads for _, layer in named_layers(model))


def test_gradients_leave_out_what_is_frozen(clicks):
    model = AFM(freeze=("embedding", "linear.w0")).prepare(clicks.X, clicks.y)
    before = {name: array.copy() for name, array in parameters(model).items()}
    model.train_step(clicks.X, clicks.y)
    assert set(parameters(model)) - set(gradients(model)) == {"embedding.V", "linear.w0"}
    moved = {name for name, array in parameters(model).items() if not np.array_equal(array, before[name])}
    assert moved == set(gradients(model))


def test_encode_gives_the_rows_of_a_step(clicks):
    model = FM(epochs=1, dtype="float64").fit(clicks.X, clicks.y)
    slots, y, c = model.encode(clicks.X[:9], clicks.y[:9], np.arange(9))
    assert_array_equal(slots.ids, model.encoder_.encode(clicks.X[:9]).ids)
    assert_array_equal(y, clicks.y[:9])
    assert y.dtype == c.dtype == np.float64 and c.mean() == pytest.approx(1)
    with pytest.raises(ValueError, match="row 2 holds 7"):
        model.encode(clicks.X[:3], [0, 1, 7])
    with pytest.raises(ValueError, match="not fitted"):
        FM().encode(clicks.X, clicks.y)


def test_a_step_trains_in_the_mode_that_it_finds_and_train_step_sets_it(clicks):
    model = FM(dropout=0.5).prepare(clicks.X, clicks.y)
    step(model, *model.encode(clicks.X, clicks.y))
    assert model.pooled_dropout.cache["mask"] is None
    model.train_step(clicks.X, clicks.y)
    assert model.pooled_dropout.cache["mask"] is not None and not model.pooled_dropout.training
    counts = model.row_counts_.copy()
    step(model, *model.encode(clicks.X, clicks.y))
    assert_array_equal(model.row_counts_, counts)


# ---- a loss that is not finite -----------------------------------------------------------------------------

class Halves(Layer):
    """A layer that keeps its arrays in a list, and whose second one overflows."""

    def forward(self, E):
        self.cache = {"halves": [E[..., ::2], E[..., 1::2] * np.inf]}
        return np.concatenate(self.cache["halves"], axis=-1)

    def backward(self, dout):
        return dout


def test_the_search_for_what_is_not_finite_looks_into_lists(clicks):
    class HalvesFM(FM):
        def build(self, n, M, rng):
            super().build(n, M, rng)
            self.halves = Halves()

        def forward(self, slots):
            return self.linear.forward(slots) + self.halves.forward(self.embedding.forward(slots)).sum(axis=(1, 2))

    model = HalvesFM().prepare(clicks.X, clicks.y)
    before = {name: array.copy() for name, array in parameters(model).items()}
    with pytest.raises(TrainingDiverged, match=r"the first array .* not finite is halves\.halves\[1\]"):
        model.train_step(clicks.X, clicks.y)
    for name, array in parameters(model).items():
        assert_array_equal(array, before[name], err_msg=name)


# ---- nothing is overlooked ---------------------------------------------------------------------------------

@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Deep(FM):
    """An FM with layers kept in some way."""

    kept: str = "list"
    deep_dropout: float = 0.5

    def build(self, n, M, rng):
        super().build(n, M, rng)
        layers = [Dense(2, 2, rng, self.dtype), Dense(2, 2, rng, self.dtype)]
        self.deep = {"list": layers, "tuple": tuple(layers), "dict": dict(enumerate(layers)), "nested": [layers],
                     "tuples": [(layer,) for layer in layers], "mixed": [layers[0], {"more": layers[1]}],
                     "set": set(layers)}.get(self.kept)
        if self.kept == "setting":
            self.deep_dropout = Dropout(self.deep_dropout, rng)
        if self.kept == "inside":
            self.mlp = MLP(2, [2], rng)
            self.mlp.towers = tuple(layers)

    def backward(self, ds):
        super().backward(ds)
        for layer in self.deep or ():
            layer.grads = {name: np.zeros_like(array) for name, array in layer.params.items()}


@pytest.mark.parametrize(("kept", "message"), [
    ("tuple", r"Deep\.deep holds layers in a tuple"), ("dict", r"Deep\.deep holds layers in a dict"),
    ("nested", r"Deep\.deep holds layers in a nested list"), ("tuples", r"Deep\.deep holds layers in a nested list"),
    ("mixed", r"Deep\.deep holds layers in a nested list"), ("set", r"Deep\.deep holds layers in a set"),
    ("inside", r"Deep\.mlp\.towers holds layers in a tuple"),
    ("setting", r"Deep\.deep_dropout is a setting, and now holds a layer"),
])
def test_layers_that_would_be_overlooked_are_an_error_when_the_model_is_built(kept, message, clicks):
    with pytest.raises(TypeError, match=message):
        Deep(kept=kept).fit(clicks.X, clicks.y)
    with pytest.raises(TypeError, match=message):
        Deep(kept=kept).prepare(clicks.X, clicks.y)


def test_layers_in_a_flat_list_are_found(clicks):
    model = Deep(kept="list", epochs=1).fit(clicks.X, clicks.y)
    assert {"deep_1.W", "deep_2.b"} < set(parameters(model))


def test_a_gradient_check_refuses_a_layer_that_overlooks_another():
    class Towers(Layer):
        def __init__(self, rng):
            super().__init__()
            self.towers = (Dense(2, 2, rng, np.float64),)

        def forward(self, x):
            return self.towers[0].forward(x)

        def backward(self, dout):
            return self.towers[0].backward(dout)

    with pytest.raises(TypeError, match=r"Towers\.towers holds layers in a tuple"):
        check_gradients(Towers(np.random.default_rng(0)), np.ones((3, 2)))


def test_a_table_that_has_no_row_for_each_id_is_no_table_of_all_fields(clicks):
    """A subclass of Linear inherits ``tables``; its rows would be filled in as if they were the fields'."""
    class Hashed(FM):
        def build(self, n, M, rng):
            super().build(n, M, rng)
            self.hashed = Linear(7, dtype=self.dtype)

    with pytest.raises(TypeError, match=r"Hashed\.hashed\.tables names 'w', which has 7 rows, and there are \d+ ids"):
        Hashed().prepare(clicks.X, clicks.y)


# ---- tables of a layer's own -------------------------------------------------------------------------------

class Crossed(Layer):
    """One weight for each value of a cross of the first two fields, hashed to 13 rows: ids of its own."""

    tables = ()

    def __init__(self, rng, dtype):
        super().__init__()
        self.params["u"] = rng.standard_normal(13).astype(dtype)

    def forward(self, slots):
        crossed = Slots((slots.ids[:, :1] * 31 + slots.ids[:, 1:2] * 7) % 13, None, [0])
        self.cache = {"slots": crossed}
        return self.params["u"][crossed.ids[:, 0]]

    def backward(self, dout):
        self.grads["u"] = RowGradient(self.cache["slots"], dout)


class CrossedLR(LR):
    """LR with a cross."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.crossed = Crossed(rng, self.dtype)

    def forward(self, slots):
        return super().forward(slots) + self.crossed.forward(slots)

    def backward(self, ds):
        super().backward(ds)
        self.crossed.backward(ds)


@pytest.mark.parametrize("n_chunks", [1, 2, 6])
def test_a_row_gradient_keeps_rows_of_its_own(n_chunks, clicks, monkeypatch):
    settings = {"dtype": "float64", "optimizer": "sgd", "learning_rate": 0.5, "reg": 1.0}
    monkeypatch.setattr(CrossedLR, "regularized", ("crossed.u",))
    plain, in_chunks = (CrossedLR(**settings).prepare(clicks.X, clicks.y) for _ in range(2))
    assert check_gradients(plain, plain.encode(clicks.X[:20], clicks.y[:20])[0]).passed
    rows = plain.encode(clicks.X, clicks.y)
    monkeypatch.setattr(chunked, "chunk_rows", lambda *args, **options: -(-600 // n_chunks))
    trainer = ChunkedTrainer(in_chunks, np.random.SeedSequence(0))
    for _ in range(3):
        trainer.step(*rows)
        step(plain, *rows)
    assert len(trainer.replicas) == n_chunks
    for name, array in parameters(plain).items():
        assert_allclose(parameters(in_chunks)[name], array, rtol=1e-11, atol=1e-12, err_msg=name)


class Cubes(Embedding):
    """Each value has a matrix (3, k) in place of a vector; out is the sum of its rows."""

    def __init__(self, n, k, rng, dtype):
        super().__init__(n, k, rng, dtype=dtype)
        self.params["V"] = 0.1 * rng.standard_normal((n, 3, k)).astype(dtype)

    def forward(self, slots):
        self.cache = {"slots": slots}
        return self.params["V"][slots.ids].sum(axis=2)

    def backward(self, dE):
        slots = self.cache["slots"]
        B, S, k = dE.shape
        self.grads["V"] = RowGradient(slots, np.repeat(dE.reshape(B * S, 1, k), 3, axis=1))


class CubesFM(FM):
    """FM whose table has three dimensions."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.embedding = Cubes(n, self.embedding_dim, rng, self.dtype)
        self.pooling = FMPooling()
        self.linear = Linear(n, dtype=self.dtype)


@pytest.mark.parametrize("columns", [["a", "b"], ["three", "a"]], ids=str)
def test_a_table_of_three_dimensions_is_trained_like_any_other(columns):
    """Field "three" has exactly 3 ids with unknown and missing: the mean of its rows must not mix axes."""
    rng = np.random.default_rng(0)
    X = {"a": rng.integers(0, 5, 90), "b": rng.integers(0, 7, 90), "three": np.zeros(90, int)}
    X, y = {name: X[name] for name in columns}, rng.integers(0, 2, 90)
    model = CubesFM(embedding_dim=2, dtype="float64", epochs=2, batch_size=30, reg=0.1).fit(X, y)
    assert model.embedding.params["V"].ndim == 3
    assert check_gradients(model, model.encode(X, y)[0]).passed
    start, stop = model.encoder_.offsets[0], model.encoder_.offsets[1]
    rows, counts = model.embedding.params["V"][start:stop], model.row_counts_[start:stop]
    if columns[0] == "three":
        assert len(rows) == 3
    expected = sum(count * row for count, row in zip(counts, rows, strict=True)) / counts.sum()
    for never_seen in np.flatnonzero(counts == 0):
        assert_allclose(rows[never_seen], expected, rtol=1e-10)


# ---- in a debugger -----------------------------------------------------------------------------------------

def test_row_gradients_and_slots_show_their_rows_and_first_values(clicks):
    model = FM(embedding_dim=2).prepare(clicks.X, clicks.y)
    model.train_step(clicks.X[:4], clicks.y[:4])
    shown = repr(model.embedding.grads["V"])
    rows, sums = model.embedding.grads["V"].sum()
    n_slots = model.embedding.cache["slots"].ids.size
    assert shown.startswith(f"RowGradient of {n_slots} values of shape (2,) at {len(rows)} rows: {rows[0]}: [")
    assert f"{sums[0, 0]:.4g}"[:4] in shown and shown.endswith(", ...")
    assert repr(Slots([[1, 2], [3, 4]], None, [0, 1])) == (
        "Slots of 2 rows, 2 slots in 2 fields that start at [0, 1]: ids [[1 2]\n [3 4]], all weights 1")
    assert "x [[0.5]]" in repr(Slots([[1]], [[0.5]], [0]))
    assert repr(RowGradient(Slots([[1], [1]], None, [0]), np.ones(2))) == "RowGradient of 2 values at 1 rows: 1: 2."
    empty = RowGradient(Slots(np.empty((0, 1), int), None, [0]), np.ones(0))
    assert repr(empty) == "RowGradient of 0 values at 0 rows: "
