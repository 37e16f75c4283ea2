"""Twins of whole models, for scoring: the outputs of the plain models, and no part in what somebody changed."""

import copy
import types

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minictr import AFM, DCN, FM, FNN, HOFM, NFM, PNN, AutoInt, DeepFM, FwFM, WideDeep, XDeepFM, datasets
from minictr.estimator import registry
from minictr.layers import MLP, Dense, FMPooling, Linear, Readout, ReLU, TriplePooling, parameters
from minictr.slots import Slots
from minictr.training import chunk_sizes, fast_scoring, predict_logits, scoring
from minictr.training.fast_layers import TWINS
from minictr.training.fast_mlp import LARGEST_HANDED_ON, FastMLP, ScoringMLP, has_own_layers
from minictr.training.fast_scoring import BY_FIELD, MODEL_TWINS, FastFM, twin_for_scoring, with_scoring_layers

CLICKS = datasets.make_clicks(600, seed=0)


FAMILIES = {cls.__name__: cls for cls in (FM, AFM, FwFM, HOFM, NFM)}
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))


def fitted(family=FM, **settings):
    """A model for the rows above, whose parameters all matter."""
    model = family(embedding_dim=3, epochs=1, **settings).fit(CLICKS.X, CLICKS.y)
    oracles.randomize(model, np.random.default_rng(0))
    return model


def test_every_twin_is_tested():
    assert MODEL_TWINS.keys() == FAMILIES.keys()
    assert set(BY_FIELD) <= set(TWINS.values())


@each_family
@given(seed=st.integers(0, 2 ** 32 - 1), B=st.integers(1, 5), M=st.integers(1, 6), k=st.integers(1, 5),
       kind=st.sampled_from(oracles.SLOT_KINDS))
def test_a_twin_gives_what_its_model_gives(family, seed, B, M, k, kind):
    rng, M = np.random.default_rng(seed), max(M, 2) if family is AFM else M           # AFM takes no single field
    model = family(embedding_dim=k, dtype="float64")
    model.build(oracles.N_VALUES, M, rng)
    oracles.randomize(model, rng)
    slots = oracles.random_slots(rng, B, M, kind if M > 1 else "categories")
    assert_allclose(MODEL_TWINS[family.__name__](model).forward(slots), model.forward(slots), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_values_that_all_weigh_1(dtype, monkeypatch):
    model, dtypes, sum_last = fitted(dtype=dtype), set(), fast_scoring.sum_last
    monkeypatch.setattr(fast_scoring, "sum_last", lambda x: dtypes.add(x.dtype.name) or sum_last(x))
    slots = model.encoder_.encode(CLICKS.X)
    slots = type(slots)(slots.ids, None, slots.starts)
    assert slots.n_slots > slots.n_fields
    close = 1e-12 if dtype == "float64" else 1e-5
    assert_allclose(FastFM(model).forward(slots), model.forward(slots), rtol=close, atol=close)
    assert dtypes == {dtype}


@pytest.mark.parametrize("x", [[0.5, 0, 2, 1], [1, 1, 1, 1], [3e4, 1, 0, -2]], ids=["numbers", "all 1", "large"])
@pytest.mark.parametrize("ids", [[7, 7, 7, 7], [7, 8, 7, 8], [7, 8, 9, 7]], ids=["one id", "two", "three"])
def test_numbers_that_are_looked_up_once_and_others(ids, x, monkeypatch):
    model, columns = fitted(dtype="float64"), []
    right = fast_scoring.number_columns
    monkeypatch.setattr(fast_scoring, "number_columns", lambda *slot: columns.append(right(*slot)) or columns[-1])
    n, rng = len(model.embedding.params["V"]), np.random.default_rng(0)
    slots = Slots(np.column_stack([rng.integers(0, n, (4, 2)), ids]), np.column_stack([np.ones((4, 2)), x]), [0, 1, 2])
    assert_allclose(FastFM(model).forward(slots), model.forward(slots), rtol=1e-11, atol=1e-11)
    looked_up_once = 0 if max(x) > 1e4 or len(set(ids)) > 2 else len(set(ids))
    assert [len(own) for own in columns] == ([] if x == [1, 1, 1, 1] else [looked_up_once])


def forwards(monkeypatch, twin=FastFM):
    """Counts the rows that go through a twin."""
    rows, forward = [], twin.forward
    monkeypatch.setattr(twin, "forward", lambda self, slots: rows.append(len(slots)) or forward(self, slots))
    return rows


@each_family
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predicting_takes_it_and_gives_what_the_plain_model_gives(family, dtype, monkeypatch):
    model, rows = fitted(family, dtype=dtype), forwards(monkeypatch, MODEL_TWINS[family.__name__])
    slots = model.encoder_.encode(CLICKS.X)
    plain = model.forward(slots)
    logits = predict_logits(model, slots)
    assert sum(rows) == 600 and logits.dtype == plain.dtype == dtype
    close = 1e-12 if dtype == "float64" else 1e-5
    assert_allclose(logits, plain, rtol=close, atol=close)


def test_few_rows_for_the_ids_of_the_table_go_through_the_layers(monkeypatch):
    model, rows = fitted(), forwards(monkeypatch)
    slots = model.encoder_.encode(CLICKS.X)
    few = len(model.embedding.params["V"]) // slots.n_slots - 1
    predict_logits(model, slots[:few])
    assert not rows


def test_parameters_that_changed_between_two_calls_count(monkeypatch):
    """u is made anew by each call: somebody may have written into V."""
    model, rows = fitted(dtype="float64"), forwards(monkeypatch)
    slots = model.encoder_.encode(CLICKS.X)
    first = predict_logits(model, slots)
    model.embedding.params["V"] *= 2
    second = predict_logits(model, slots)
    assert sum(rows) == 1200 and abs(second - first).max() > 0.1
    assert_allclose(second, model.forward(slots), rtol=1e-12, atol=1e-12)


def test_afms_softmax_overflows_nowhere():
    model = fitted(AFM, dtype="float64")
    model.attention.params["h"] *= 1e5
    slots = model.encoder_.encode(CLICKS.X)
    assert np.abs(model.attention.params["h"]).max() > 1e4
    assert_allclose(predict_logits(model, slots), model.forward(slots), rtol=1e-9)


def test_the_twin_is_looked_for_once_and_layers_are_made_where_they_are_needed(monkeypatch):
    """Each costs as much as scoring a row."""
    model, looked, made = fitted(AFM), [], []
    find, make = scoring.twin_for_scoring, scoring.with_scoring_layers
    monkeypatch.setattr(scoring, "twin_for_scoring", lambda model: looked.append(1) or find(model))
    monkeypatch.setattr(scoring, "with_scoring_layers", lambda model: made.append(1) or make(model))
    predict_logits(model, model.encoder_.encode(CLICKS.X))
    assert (looked, made) == ([1], [])


@pytest.mark.parametrize("family", [FwFM, HOFM, NFM])
def test_what_a_row_needs_is_measured_once(family, monkeypatch):
    model, calls, measured = fitted(family), [], chunk_sizes.measured_numbers
    monkeypatch.setattr(chunk_sizes, "measured_numbers", lambda *args: calls.append(1) or measured(*args))
    slots = model.encoder_.encode(CLICKS.X)
    vars(model).pop("work_of_a_row_", None)
    for _ in range(3):
        predict_logits(model, slots)
    assert len(calls) == len(model.work_of_a_row_) <= 2


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_change_no_bit(n_threads, monkeypatch):
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr(FastFM, "suits", lambda self, slots: True)     # chunks of 8 rows, too
    model, rows = fitted(), forwards(monkeypatch)
    slots = model.encoder_.encode(CLICKS.X)
    model.n_threads = 1
    alone = predict_logits(model, slots)
    model.n_threads = n_threads
    np.testing.assert_array_equal(predict_logits(model, slots), alone)
    assert len(rows) == 2 * 600 / 8


def test_an_id_that_is_not_in_the_table_is_named():
    model = fitted()
    slots = model.encoder_.encode(CLICKS.X)
    slots.ids[5, 1] = -1
    with pytest.raises(IndexError, match="field 1, row 5: id -1 is outside"):
        predict_logits(model, slots)


@each_family
def test_it_stands_for_nothing_that_somebody_changed(family, monkeypatch):
    model = fitted(family)
    assert type(twin_for_scoring(model)) is MODEL_TWINS[family.__name__] and twin_for_scoring(DeepFM()) is None

    monkeypatch.setitem(registry.MODELS, family.__name__, family)     # a class of that name takes its place
    mine = type(family.__name__, (family,), {})(embedding_dim=3, epochs=1).fit(CLICKS.X, CLICKS.y)
    assert twin_for_scoring(mine) is None

    own_forward = copy.copy(model)
    own_forward.forward = lambda slots: np.zeros(len(slots))
    assert twin_for_scoring(own_forward) is None

    for cls in (family, type(model.embedding), type(model.linear)):
        with monkeypatch.context() as patch:
            patch.setattr(cls, "forward", lambda self, x: x)
            assert twin_for_scoring(model) is None
    assert twin_for_scoring(model) is not None


@pytest.mark.parametrize("pooling", [
    type("MyPooling", (FMPooling,), {})(), TriplePooling(), types.SimpleNamespace(forward=lambda E: E.sum(axis=1))],
    ids=["a subclass", "another layer", "no layer"])
def test_a_model_whose_pooling_was_exchanged_scores_with_that(pooling):
    model = fitted(dtype="float64")
    slots, before = model.encoder_.encode(CLICKS.X), predict_logits(model, model.encoder_.encode(CLICKS.X))
    model.pooling = pooling
    if not isinstance(pooling, FMPooling):
        assert abs(model.forward(slots) - before).max() > 0.1
    assert twin_for_scoring(model) is None
    assert_allclose(predict_logits(model, slots), model.forward(slots), rtol=1e-12, atol=1e-12)


def test_without_a_bias_it_scores_without_one():
    model = fitted(dtype="float64")
    model.linear = Linear(len(model.embedding.params["V"]), bias=False, dtype=np.float64)
    slots = model.encoder_.encode(CLICKS.X)
    assert_allclose(predict_logits(model, slots), model.forward(slots), rtol=1e-12, atol=1e-12)


def test_dropout_that_is_switched_on_drops():
    model = fitted(dropout=0.3)
    model.pooled_dropout.training = True
    slots = model.encoder_.encode(CLICKS.X)
    assert twin_for_scoring(model) is None
    assert (predict_logits(model, slots) != predict_logits(model, slots)).any()


def test_the_plain_model_scores_when_asked_for(monkeypatch):
    model, rows = fitted(plain=True), forwards(monkeypatch)
    model.decision_function(CLICKS.X)
    assert not rows


def test_a_twin_broken_on_purpose_fails(monkeypatch):
    """A test of the first test."""
    right = fast_scoring.sum_last
    monkeypatch.setattr(fast_scoring, "sum_last", lambda x: right(x) * (1 + 1e-9))
    with pytest.raises(AssertionError):
        test_a_twin_gives_what_its_model_gives(FM)


# ---- an MLP's twin ---------------------------------------------------------------------------------------

WITH_MLP = {
    "DeepFM": DeepFM(), "FNN": FNN(fm_epochs=0), "PNN": PNN(), "NFM": NFM(), "DCN": DCN(), "XDeepFM": XDeepFM(),
    "WideDeep": WideDeep(optimizer="adam", wide_optimizer=None), "AutoInt+": AutoInt(deep_layers=(8, 4))}


def fitted_with_mlp(name, **settings):
    """The model of that name, for the rows above."""
    model = WITH_MLP[name].clone().set_params(embedding_dim=3, deep_layers=(8, 4), epochs=1, **settings)
    model.fit(CLICKS.X, CLICKS.y)
    oracles.randomize(model, np.random.default_rng(0))
    return model


@given(seed=st.integers(0, 2 ** 32 - 1), B=st.integers(0, 5), n_in=st.integers(1, 6), readout=st.booleans(),
       bias=st.booleans(), widths=st.lists(st.integers(1, 5), max_size=4), size=st.sampled_from([0.1, 1.0, 1e3]))
def test_an_mlps_twin_gives_what_the_mlp_gives(seed, B, n_in, readout, bias, widths, size):
    rng = np.random.default_rng(seed)
    mlp = MLP(n_in, widths, rng, dropout=0.3, dtype=np.float64, readout=readout, bias=bias)
    oracles.randomize(mlp, rng)
    for dense in mlp.dense:
        dense.params["b"] *= size
    x = rng.standard_normal((B, n_in))
    given, out = x.copy(), mlp.forward(x)
    assert has_own_layers(mlp)
    mlp.__class__ = ScoringMLP
    assert_allclose(mlp.forward(x), out, rtol=1e-10, atol=1e-10 * size)
    np.testing.assert_array_equal(x, given)


@pytest.mark.parametrize("b", [-0.99 * LARGEST_HANDED_ON, -1e3, -1e6, -1e30, 1e3])
def test_a_unit_that_is_always_off_leaves_no_rounding_behind(b):
    """In float32, beside the same MLP in float64: what b hands on to the next layer has to cancel there."""
    rng = np.random.default_rng(0)
    mlp, exact = (MLP(20, [40, 30], np.random.default_rng(1), dtype=dtype) for dtype in (np.float32, np.float64))
    for name, array in parameters(mlp).items():
        array[...] = rng.standard_normal(array.shape) * 0.2
        if name == "dense_1.b":
            array[::2] = b
        parameters(exact)[name][...] = array
    x = rng.standard_normal((50, 20)).astype(np.float32)
    mlp.__class__ = ScoringMLP
    out = exact.forward(x.astype(np.float64))
    assert_allclose(mlp.forward(x), out, rtol=1e-5, atol=1e-5 * np.abs(out).max())


def test_a_readout_may_have_another_symbol():
    model = fitted_with_mlp("DeepFM", dtype="float64")
    model.mlp.out = Readout(4, 0.7, symbol="h", bias=False, dtype=np.float64)
    slots = model.encoder_.encode(CLICKS.X)
    assert type(with_scoring_layers(model).mlp) is ScoringMLP
    assert_allclose(predict_logits(model, slots), model.forward(slots), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WITH_MLP)
def test_models_with_an_mlp_score_with_its_twin(name, dtype, monkeypatch):
    model, passed, forward = fitted_with_mlp(name, dtype=dtype), [], ScoringMLP.forward
    monkeypatch.setattr(ScoringMLP, "forward", lambda self, x: passed.append(len(x)) or forward(self, x))
    slots = model.encoder_.encode(CLICKS.X)
    logits = predict_logits(model, slots)
    assert sum(passed) == 600 and logits.dtype == dtype
    close = 1e-11 if dtype == "float64" else 2e-4
    assert_allclose(logits, model.forward(slots), rtol=close, atol=close)


def changed(model, change):
    """The same model with something of it changed."""
    mlp = model.mlp
    if change == "a dense layer of one's own":
        mlp.dense[0].__class__ = type("MyDense", (Dense,), {"forward": lambda self, x: 2 * Dense.forward(self, x)})
    elif change == "another activation":
        mlp.relu[1] = types.SimpleNamespace(forward=np.tanh)
    elif change == "one activation less":
        del mlp.relu[1], mlp.dense[1], mlp.dropout[1]
        mlp.dense[0].params["W"], mlp.dense[0].params["b"] = mlp.dense[0].params["W"][:, :4], np.ones(4)
        mlp.relu[0] = types.SimpleNamespace(forward=np.abs)
    elif change == "another readout":
        mlp.out = types.SimpleNamespace(forward=lambda x: x.max(axis=1))
    elif change == "an MLP of one's own":
        mlp.__class__ = type("MyMLP", (MLP,), {"forward": lambda self, x: -MLP.forward(self, x)})
    elif change == "a model of one's own":
        model.forward = lambda slots: mlp.dense[0].forward(model.embedding.forward(slots).reshape(len(slots), -1))[:, 0]
    return model


@pytest.mark.parametrize("change", [
    "a dense layer of one's own", "another activation", "one activation less", "another readout", "an MLP of one's own",
    "a model of one's own"])
def test_an_mlp_that_somebody_changed_runs_its_own_code(change):
    model = fitted_with_mlp("DeepFM", dtype="float64")
    slots = model.encoder_.encode(CLICKS.X)
    before = predict_logits(model, slots)
    model = changed(model, change)
    assert type(with_scoring_layers(model).mlp) is not ScoringMLP
    assert abs(model.forward(slots) - before).max() > 0.1
    assert_allclose(predict_logits(model, slots), model.forward(slots), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cls, forward", [
    (ReLU, lambda self, x: np.tanh(x)), (MLP, lambda self, x: x.sum(axis=1)), (Dense, lambda self, x: x[:, :1])],
    ids=["ReLU", "MLP", "Dense"])
def test_a_method_that_was_replaced_counts(cls, forward, monkeypatch):
    model = fitted_with_mlp("DeepFM", dtype="float64")
    slots = model.encoder_.encode(CLICKS.X)
    if cls is Dense:
        model.mlp.dense[1].params["W"] = model.mlp.dense[1].params["W"][:1]
        model.mlp.out.params["w"] = model.mlp.out.params["w"][:1]
    monkeypatch.setattr(cls, "forward", forward)
    assert type(with_scoring_layers(model).mlp) is MLP
    assert_allclose(predict_logits(model, slots), model.forward(slots), rtol=1e-12, atol=1e-12)


def test_batch_norm_and_dropout_that_is_switched_on_are_not_left_out():
    model = fitted_with_mlp("DeepFM", use_bn=True)
    assert type(with_scoring_layers(model).mlp) is FastMLP
    model = fitted_with_mlp("DeepFM", dropout=0.5)
    assert type(with_scoring_layers(model).mlp) is ScoringMLP
    model.mlp.dropout[0].training = True
    slots = model.encoder_.encode(CLICKS.X)
    assert (predict_logits(model, slots) != predict_logits(model, slots)).any()
