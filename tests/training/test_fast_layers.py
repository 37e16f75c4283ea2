"""Fast twins: each gives what its plain layer gives, stands only for a layer as written, and can be left out."""

import copy

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import MODELS, every_variant, small
from numpy.testing import assert_allclose
from oracles import CASES, draw_model

from minictr import AFM, FM, AutoInt, datasets, layers
from minictr.layers import (
    CIN,
    MLP,
    AttentionPooling,
    CrossNetwork,
    Dense,
    Embedding,
    FactorSum,
    FieldAwareProducts,
    FMPooling,
    InnerProducts,
    InteractingLayer,
    Linear,
    PairProduct,
    ReLU,
    ResidualUnit,
    RowGradient,
    TriplePooling,
    gradients,
    named_layers,
    parameters,
    replica,
    states,
)
from minictr.optim import Adam
from minictr.slots import Slots
from minictr.training import (
    ChunkedTrainer,
    chunk_sizes,
    chunked,
    fast_cin,
    fast_layers,
    fast_rows,
    predict_logits,
    step,
)
from minictr.training.fast_functions import times_x
from minictr.training.fast_layers import TWINS, with_fast_layers
from minictr.training.step import set_training

TWIN_CASES = [case for case in CASES if case.name.partition("-")[0] in {cls.__name__ for cls in TWINS}]
each_twin = pytest.mark.parametrize("twin", TWINS.values(), ids=lambda twin: twin.__name__)


def dense(grads, params):
    """All gradients as whole arrays."""
    return {name: grad.dense(len(params[name])) if isinstance(grad, RowGradient) else grad
            for name, grad in grads.items()}


def results(layer, x, dout):
    """Output, dx (None of Slots) and every parameter's gradient."""
    out = layer.forward(x)
    dx = layer.backward(dout)
    return {"out": out, **({} if dx is None else {"dx": dx}), **dense(gradients(layer), parameters(layer))}


def assert_same_results(layer, x, rtol=1e-12, atol=1e-12):
    """The layer and what ``fit`` takes in its place, on the same input and upstream gradient."""
    dout = np.random.default_rng(7).standard_normal(layer.forward(x).shape)
    fast = with_fast_layers(replica(layer))
    given = None if isinstance(x, Slots) else x.copy()
    upstream = dout.copy()
    plain_results, fast_results = results(layer, x, dout.copy()), results(fast, x, upstream)
    np.testing.assert_array_equal(upstream, dout, err_msg="a twin changed the upstream gradient")
    assert plain_results.keys() == fast_results.keys()
    for name, array in plain_results.items():
        assert fast_results[name].dtype == array.dtype, name
        assert_allclose(fast_results[name], array, rtol=rtol, atol=atol, err_msg=name)
    if given is not None:
        np.testing.assert_array_equal(x, given, err_msg="a twin changed its input")
    return fast


def test_every_twin_is_in_the_cases():
    drawn = [case.draw(0)[0] for case in TWIN_CASES]
    held = {type(layer) for owner in drawn for layer in [owner, *dict(named_layers(owner)).values()]}
    assert set(TWINS) <= held
    assert set(TWINS.values()) == {value for value in vars(fast_layers).values() if isinstance(value, type)
                                   and value.__name__.startswith("Fast")}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", TWIN_CASES, ids=lambda case: case.name)
def test_a_twin_gives_what_its_plain_layer_gives(case, seed):
    """In training mode too, with the same dropout mask: the cases draw the same numbers in each pass."""
    layer, x, _ = case.draw(seed)
    fast = assert_same_results(layer, x)
    assert type(fast) is TWINS.get(type(layer), type(layer)) and type(layer) not in TWINS.values()


@pytest.mark.parametrize("case", TWIN_CASES, ids=lambda case: case.name)
def test_a_twin_can_go_backward_twice(case):
    """Backward may write over what forward kept, if a second backward still finds what it needs."""
    layer, x, _ = case.draw(0)
    fast = with_fast_layers(replica(layer))
    dout, found = np.random.default_rng(7).standard_normal(fast.forward(x).shape), []
    for _ in range(2):
        dx = fast.backward(dout.copy())                           # None of Slots
        arrays = {**({} if dx is None else {"dx": dx}), **dense(gradients(fast), parameters(fast))}
        found.append({name: array.copy() for name, array in arrays.items()})
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array, err_msg=name)


@given(st.data())
def test_twins_give_the_same_at_any_shape(data):
    size = st.integers(1, 6)
    B, M, k, n_in, t, H = (data.draw(size, label=name) for name in ("B", "M", "k", "n_in", "t", "H"))
    options = data.draw(st.fixed_dictionaries({
        "scale": st.booleans(), "residual": st.booleans(), "layer_norm": st.booleans(),
        "qkv_activation": st.sampled_from([None, "relu"]), "dropout": st.sampled_from([0.0, 0.4])}))
    rng = np.random.default_rng(data.draw(st.integers(0, 2 ** 32 - 1), label="seed"))
    slots = oracles.random_slots(rng, B, M, data.draw(st.sampled_from(oracles.SLOT_KINDS)) if M > 1 else "categories")
    cases = [
        (Embedding(oracles.N_VALUES, k, rng, dtype=np.float64), slots),
        (Linear(oracles.N_VALUES, dtype=np.float64), slots),
        (FMPooling(), rng.standard_normal((B, M, k))), (FactorSum(), rng.standard_normal((B, k))),
        (PairProduct(), rng.standard_normal((B, M + 1, k))),
        (FieldAwareProducts(), rng.standard_normal((B, M, M, k))),
        (AttentionPooling(k, t, rng, options["dropout"], dtype=np.float64), rng.standard_normal((B, M, k))),
        (InteractingLayer(n_in, H, k, rng, dtype=np.float64, **options), rng.standard_normal((B, M, n_in))),
        (Dense(n_in, k, rng, np.float64), rng.standard_normal((B, n_in))),
        (ResidualUnit(n_in, k, rng, np.float64), rng.standard_normal((B, n_in))),
        (CIN(M, [t, H], rng, np.float64), rng.standard_normal((B, M, k))),
        (TriplePooling(), rng.standard_normal((B, M, k))), (InnerProducts(), rng.standard_normal((B, M, k))),
        (CrossNetwork(n_in, H, rng, np.float64), rng.standard_normal((B, n_in))),
        (MLP(n_in, [t, H], rng, options["dropout"], B > 1 and options["layer_norm"], np.float64,
             readout=options["residual"], bias=options["scale"]), rng.standard_normal((B, n_in)))]
    assert {type(layer) for layer, _ in cases} == set(TWINS)
    for layer, x in cases:
        oracles.randomize(layer, rng)
        oracles.fix_dropout_masks(layer)
        oracles.set_training(layer, True)
        assert_same_results(layer, x, atol=1e-10 if options["layer_norm"] else 1e-12)


@pytest.mark.parametrize("make", [
    lambda rng: CIN(3, [4, 2], rng, np.float64), lambda rng: InteractingLayer(5, 2, 4, rng, dtype=np.float64),
    lambda rng: AttentionPooling(5, 4, rng, dtype=np.float64), lambda rng: TriplePooling(),
    lambda rng: InnerProducts()],
    ids=["CIN", "InteractingLayer", "AttentionPooling", "TriplePooling", "InnerProducts"])
def test_no_rows_are_rows_too(make):
    assert_same_results(make(np.random.default_rng(0)), np.zeros((0, 3, 5)))


@pytest.mark.parametrize("make", [
    lambda rng: MLP(5, [4, 3], rng, dtype=np.float64), lambda rng: CrossNetwork(5, 2, rng, np.float64),
    lambda rng: MLP(5, [], rng, dtype=np.float64, readout=False), lambda rng: CrossNetwork(5, 0, rng, np.float64)],
    ids=["MLP", "CrossNetwork", "MLP without layers", "CrossNetwork without layers"])
@pytest.mark.parametrize("B", [0, 2])
def test_no_rows_or_no_layers(make, B):
    assert_same_results(make(np.random.default_rng(0)), np.random.default_rng(1).standard_normal((B, 5)))


def test_what_an_mlp_gives_may_be_changed_in_place():
    """Backward must not read it again."""
    rng = np.random.default_rng(0)
    mlp, x = MLP(4, [5, 3], rng, dtype=np.float64, readout=False), rng.standard_normal((6, 4))
    fast, grads = with_fast_layers(replica(mlp)), []
    for owner in (mlp, fast):
        out = owner.forward(x)
        out -= 0.5
        owner.backward(out)
        grads.append(gradients(owner))
    for name, grad in grads[0].items():
        assert_allclose(grads[1][name], grad, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("rows_of_a_block", [1, 2, 5, 7])
def test_the_fast_cin_gives_the_same_in_blocks(rows_of_a_block, monkeypatch):
    monkeypatch.setattr(fast_cin, "NUMBERS_OF_A_BLOCK", rows_of_a_block * 4 * 3 * 5)
    rng = np.random.default_rng(0)
    fast = assert_same_results(CIN(3, [4, 2], rng, np.float64), rng.standard_normal((7, 3, 5)))
    assert len(fast.cache["X"]) == -(-7 // rows_of_a_block)


@pytest.mark.parametrize("scores", [[0.0, 59.0, -59.0], [0.0, 61.0, -700.0], [-1000.0, -1001.0, -5000.0]], ids=str)
def test_the_fast_softmax_is_the_plain_one_for_small_and_for_huge_scores(scores):
    s = np.array([scores, scores[::-1]])
    for axis in (0, 1):
        assert_allclose(fast_layers.softmax(s, axis), layers.softmax(s, axis), rtol=1e-14, atol=1e-300)


@each_twin
@pytest.mark.parametrize("fault", ["forward", "backward"])
def test_each_twin_broken_on_purpose_fails(twin, fault, monkeypatch):
    """A test of the test above: one number of the output, or of one gradient, is off by a millionth."""
    plain = next(cls for cls, fast in TWINS.items() if fast is twin)
    case = next(case for case in TWIN_CASES if case.name.startswith(f"{plain.__name__}-"))
    layer, x, _ = case.draw(0)
    assert_same_results(layer, x)
    right = getattr(twin, fault)

    def wrong(self, argument):
        result = right(self, argument)
        result = result if result is None else result.copy()
        array = next(iter(dense(self.grads, self.params).values())) if result is None else result
        array.flat[np.abs(array).argmax()] *= 1 + 1e-6
        if result is None:                                        # a table's gradient, which backward does not return
            name = next(iter(self.grads))
            values = self.grads[name].values.copy() if isinstance(self.grads[name], RowGradient) else array
            values.flat[np.abs(values).argmax()] *= 1 + 1e-6
            self.grads[name] = RowGradient(self.grads[name].slots, values) if values is not array else array
        return result

    monkeypatch.setattr(twin, fault, wrong)
    with pytest.raises(AssertionError):
        assert_same_results(layer, x)


# ---- what a learner changed trains as it is -------------------------------------------------------------------

def trained_with(model, clicks):
    """Names of the classes whose forward ran in a fit and in predicting."""
    ran = set()
    forwards = {cls: cls.forward for cls in [*TWINS, *TWINS.values()]}
    with pytest.MonkeyPatch.context() as patch:
        def spy_on(cls, forward):
            def spy(self, x):
                ran.add(type(self).__name__)
                return forward(self, x)
            patch.setattr(cls, "forward", spy)
        for twin in TWINS.values():
            spy_on(twin, forwards[twin])
        model.fit(clicks.X, clicks.y)
        model.predict_proba(clicks.X)
    return ran


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(200, seed=0)


def test_fit_and_predict_put_twins_in_the_place_of_layers(clicks):
    ran = trained_with(AFM(embedding_dim=2, attention_dim=2, epochs=1), clicks)
    of_scoring = {"ByFieldEmbedding"}                             # see test_fast_scoring
    assert ran == {"FastLinear", "FastEmbedding", "FastPairProduct", "FastAttentionPooling"} | of_scoring
    assert not trained_with(AFM(embedding_dim=2, attention_dim=2, epochs=1, plain=True), clicks)


def test_a_subclass_trains_its_own_code(clicks):
    class Doubled(AttentionPooling):
        def forward(self, pij):
            return 2 * super().forward(pij)

        def backward(self, dout):
            return super().backward(2 * dout)

    class DoubledAFM(AFM):
        def build(self, n, M, rng):
            super().build(n, M, rng)
            self.attention = Doubled(self.embedding_dim, self.attention_dim, rng)

    model = DoubledAFM(embedding_dim=2, attention_dim=2, epochs=1, learning_rate=1e-9)
    assert "FastAttentionPooling" not in trained_with(model, clicks)
    slots, _, _ = model.encode(clicks.X, clicks.y)
    assert_allclose(model.predict_slots(slots), model.forward(slots), rtol=1e-5)
    assert np.abs(model.attention.cache["aij"].sum(axis=1) - 1).max() < 1e-5


class Leaky(ReLU):
    """An activation of one's own, whose gradient is not that of a ReLU."""

    def forward(self, x):
        self.cache = {"x": x}
        return np.where(x > 0, x, 0.1 * x)

    def backward(self, dout):
        return np.where(self.cache["x"] > 0, dout, 0.1 * dout)


class LeakyBeside:
    """The same, but no layer."""

    forward, backward = Leaky.forward, Leaky.backward


class Kept(Dense):
    """Keeps its output, which nobody is to change."""

    def forward(self, x):
        self.cache["out"] = out = super().forward(x)
        self.cache["copy"] = out.copy()
        return out


@pytest.mark.parametrize("change", ["a ReLU of one's own", "no layer", "a dense layer of one's own"])
def test_an_mlp_in_which_something_was_changed_trains_its_own_code(change):
    rng = np.random.default_rng(0)
    mlp, x = MLP(4, [5, 3], rng, dtype=np.float64), rng.standard_normal((6, 4))
    if change == "a dense layer of one's own":
        mlp.dense[0].__class__ = Kept
    else:
        mlp.relu[0] = Leaky() if change == "a ReLU of one's own" else LeakyBeside()
    fast = assert_same_results(mlp, x)
    assert type(fast) is MLP
    if change == "a dense layer of one's own":
        np.testing.assert_array_equal(fast.dense[0].cache["out"], fast.dense[0].cache["copy"])


@pytest.mark.parametrize("where", ["class", "instance", "helper"])
def test_a_layer_of_which_a_method_was_changed_trains_its_own_code(clicks, where, monkeypatch):
    calls = []
    model = AutoInt(embedding_dim=2, attention_dim=2, num_layers=1, epochs=1)
    if where == "class":
        forward = InteractingLayer.forward
        monkeypatch.setattr(InteractingLayer, "forward", lambda self, E: calls.append(1) or forward(self, E))
    elif where == "helper":
        project = InteractingLayer._project
        monkeypatch.setattr(InteractingLayer, "_project",
                            lambda self, name, E: calls.append(1) or project(self, name, E))
    else:
        build = AutoInt.build

        def build_and_change(self, n, M, rng):
            build(self, n, M, rng)
            layer = self.interacting[0]
            layer._project = lambda name, E: calls.append(1) or InteractingLayer._project(layer, name, E)

        monkeypatch.setattr(AutoInt, "build", build_and_change)
    ran = trained_with(model, clicks)
    assert "FastInteractingLayer" not in ran and "FastEmbedding" in ran
    assert calls


def test_an_optimizer_of_which_the_rule_was_changed_makes_its_own_step(clicks, monkeypatch):
    model = FM(embedding_dim=2, epochs=1).prepare(clicks.X, clicks.y)
    before = {name: array.copy() for name, array in parameters(model).items()}
    monkeypatch.setattr(Adam, "update", lambda self, param, grad, state, learning_rate: None)
    model.partial_fit(clicks.X, clicks.y)
    for name, array in parameters(model).items():
        if name == "linear.w0":
            np.testing.assert_array_equal(array, before[name])


def test_plain_training_is_the_fast_one_to_rounding(clicks):
    for name in MODELS:
        plain, fast = (small(name, clicks.X, epochs=2, dtype="float64", plain=plain).fit(clicks.X, clicks.y)
                       for plain in (True, False))
        for name, array in parameters(plain).items():
            assert_allclose(parameters(fast)[name], array, rtol=1e-8, atol=1e-10, err_msg=name)
        assert_allclose(plain.decision_function(clicks.X), fast.decision_function(clicks.X), rtol=1e-8)
        assert plain.clone().plain and not fast.clone().plain


# ---- the chunked step is the plain step ---------------------------------------------------------------------------

def started(name, seed, **settings):
    """A random float64 model of which training can start, and Slots of 12 rows."""
    model, slots, _ = draw_model(name, seed, B=12, M=4, kind=oracles.SLOT_KINDS[seed % 3], **settings)
    model.set_task("binary")
    model.new_optimizer()
    return model, slots


@pytest.mark.parametrize("rows_of_a_chunk", [1, 5, 6, 11, 100])
@every_variant
def test_the_chunked_step_is_the_plain_step(name, rows_of_a_chunk, monkeypatch):
    """Losses and parameters of three steps of SGD (Adam's first steps blow rounding up where a gradient is near 0)."""
    rng = np.random.default_rng(3)
    y, c = rng.integers(0, 2, 12).astype(float), rng.uniform(0.5, 2, 12)
    reg = 0.1 if small(name).regularized else 0.0
    plain, slots = started(name, seed=1, optimizer="sgd", learning_rate=0.05, reg=reg)
    in_chunks = copy.deepcopy(plain)
    if not plain.whole_batch_only:
        monkeypatch.setattr(chunked, "chunk_rows", lambda *args, **options: rows_of_a_chunk)
    trainer = ChunkedTrainer(in_chunks, np.random.SeedSequence(0))
    set_training(plain, True)
    for _ in range(3):
        assert trainer.step(slots, y, c) == pytest.approx(step(plain, slots, y, c), rel=1e-12)
    found = {**parameters(in_chunks), **states(in_chunks)}
    for array_name, array in {**parameters(plain), **states(plain)}.items():
        assert_allclose(found[array_name], array, rtol=1e-12, atol=1e-12, err_msg=array_name)
    n_chunks = {1: 12, 5: 4, 6: 2, 11: 2, 100: 1}[rows_of_a_chunk]
    assert len(trainer.replicas) == (1 if plain.whole_batch_only else n_chunks)


# ---- gradients of rows -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("largest", [1, 7, 40, 10_000, 2 ** 31 - 1])
@pytest.mark.parametrize("shape", [(1, 1), (50, 3), (3, 50), (0, 2)], ids=str)
def test_places_are_those_of_unique(shape, largest):
    ids = np.random.default_rng(0).integers(0, largest, shape, endpoint=True)
    rows, place = fast_rows.Places(Slots(ids, None, [0])).find()
    expected, expected_place = np.unique(ids.ravel(), return_inverse=True)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(place, expected_place)
    assert rows.dtype == np.int32


@pytest.mark.parametrize("shape", [(6, 2), (6, 3), (6,), (6, 2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_row_gradients_in_parts_are_summed_as_in_one_array(shape, dtype):
    slots = Slots([[1, 5], [5, 1], [1, 1]], None, [0, 1])
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    fast = fast_rows.FastRowGradient(fast_rows.Places(slots), [values[:2], values[2:]])
    rows, sums = fast.sum()
    plain_rows, plain_sums = RowGradient(slots, values).sum()
    assert sums.dtype == dtype
    np.testing.assert_array_equal(rows, plain_rows)
    np.testing.assert_allclose(sums, plain_sums, rtol=1e-6)
    np.testing.assert_array_equal(fast.values, values)
    np.testing.assert_allclose(fast.dense(7), RowGradient(slots, values).dense(7), rtol=1e-6)


@pytest.mark.parametrize("x", [None, [[1, 0.5], [0, 0], [2, 1]]], ids=["all 1", "weights, two of them 0"])
@pytest.mark.parametrize("shape", [(6, 2), (6,), (6, 2, 3)], ids=str)
def test_l2_is_added_to_each_row_as_often_as_it_was_looked_up(shape, x):
    rng = np.random.default_rng(0)
    slots = Slots([[1, 5], [5, 1], [1, 1]], x, [0, 1])
    values, table = rng.standard_normal(shape), rng.standard_normal((7, *shape[1:]))
    fast = fast_rows.FastRowGradient(fast_rows.Places(slots), [values[:2], values[2:]])
    kept = fast.sum()[1].copy()
    more, plain = (gradient.plus_looked_up(table, 0.5) for gradient in (fast, RowGradient(slots, values)))
    times = {1: 4, 5: 2} if x is None else {1: 3, 5: 1}           # less those with x = 0
    rows, sums = more.sum()
    for row, own, summed in zip(rows.tolist(), kept, sums, strict=True):
        np.testing.assert_allclose(summed, own + 0.5 * times[row] * table[row], rtol=1e-12)
    np.testing.assert_allclose(plain.sum()[1], sums, rtol=1e-12)
    np.testing.assert_allclose(more.values, plain.values, rtol=1e-12)
    np.testing.assert_array_equal(fast.sum()[1], kept)            # what was given stays as it is
    assert type(more) is fast_rows.FastRowGradient                # RowGradient's own sum takes several times as long


def test_weights_are_multiplied_where_they_are_not_1():
    ids = np.zeros((3, 4), int)
    for x in (np.ones((3, 4)), np.eye(3, 4, k=1) + 1, np.arange(12).reshape(3, 4), None):
        slots = Slots(ids, x, [0, 1, 2, 3])
        values, vectors = np.random.default_rng(0).standard_normal((3, 4)), np.ones((3, 4, 2))
        all_x = np.ones((3, 4)) if x is None else slots.x
        np.testing.assert_array_equal(times_x(values.copy(), slots), values * all_x)
        np.testing.assert_array_equal(times_x(vectors, slots), np.repeat(all_x[:, :, None], 2, axis=2))


def test_predicting_in_chunks_on_threads_is_one_forward_pass(monkeypatch):
    model, slots = started("AutoInt", seed=2)
    expected = model.forward(slots)
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    for model.n_threads, model.plain in ((1, False), (2, False), (3, True)):
        assert_allclose(predict_logits(model, slots), expected, rtol=1e-12)
