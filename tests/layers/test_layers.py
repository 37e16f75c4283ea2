"""Every layer computes its equation, and its backward pass is the derivative, at many shapes."""

import inspect
import math
import re

import loops
import numpy as np
import oracles
import pytest
from models import every_variant
from numpy.testing import assert_allclose, assert_array_equal
from oracles import CASES, SLOT_KINDS, Case, built_model, draw_model, numbers, random_slots

from minictr import check_gradients, layers
from minictr.layers import (
    MLP,
    AttentionPooling,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    FactorSum,
    FMPooling,
    InteractingLayer,
    LayerNorm,
    Linear,
    PairProduct,
    Readout,
    RowGradient,
    field_pairs,
    gradients,
    named_layers,
    parameters,
    replica,
    sigmoid,
    softmax,
    softmax_backward,
    states,
)
from minictr.slots import Slots

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def dense_gradients(layer):
    """All gradients as plain arrays, by name."""
    params = parameters(layer)
    return {name: gradient.dense(len(params[name])) if isinstance(gradient, RowGradient) else gradient
            for name, gradient in gradients(layer).items()}


def random_dout(layer, x):
    out = layer.forward(x)
    return np.random.default_rng(1000).standard_normal(out.shape).astype(out.dtype)    # no seed that x is drawn from


def copies(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def arrays_of(x):
    """The arrays of an input: itself, or those of Slots."""
    if not isinstance(x, Slots):
        return {"x": x}
    return {"ids": x.ids, "starts": x.starts} | ({} if x.x is None else {"x": x.x})


def test_every_layer_is_among_the_cases():
    exported = {value for value in vars(layers).values() if inspect.isclass(value) and issubclass(value, layers.Layer)}
    tested = {type(case.build(np.random.default_rng(0), np.float64)) for case in CASES}
    assert tested == exported - {layers.Layer, layers.Concatenate}            # which takes several inputs: see below


# ------------------------------------------------------------------------------- forward and backward


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_forward_is_the_equation(case, seed):
    layer, x, expected = case.draw(seed)
    assert_allclose(layer.forward(x), expected, rtol=1e-12, atol=1e-12)


@every_case
@pytest.mark.parametrize("seed", range(3))
def test_backward_is_the_derivative(case, seed):
    layer, x, _ = case.draw(seed)
    report = check_gradients(layer, x, seed=1000 + seed)
    assert report.passed, report


@every_variant
@pytest.mark.parametrize("kind", SLOT_KINDS)
@pytest.mark.parametrize(("B", "M"), [(3, 3), (1, 2)])
def test_a_model_of_these_layers_is_its_equation_and_backward_its_derivative(name, kind, B, M):
    model, slots, expected = draw_model(name, seed=B, B=B, M=M, kind=kind)
    assert_allclose(model.forward(slots), expected, rtol=1e-12, atol=1e-12)
    report = check_gradients(model, slots, seed=1000)
    assert report.passed, report


LARGE = [
    Case("Embedding", lambda rng, dtype: Embedding(oracles.N_VALUES, 16, rng, dtype=dtype),
         lambda rng: random_slots(rng, 64, 12, "several"), None),
    Case("Linear", lambda rng, dtype: Linear(oracles.N_VALUES, dtype=dtype),
         lambda rng: random_slots(rng, 64, 12, "several"), None),
    Case("PairProduct", lambda rng, dtype: PairProduct(), oracles.normal(64, 12, 16), None),
    Case("FMPooling", lambda rng, dtype: FMPooling(), oracles.normal(64, 12, 16), None),
    Case("FactorSum", lambda rng, dtype: FactorSum(), oracles.normal(64, 16), None),
    Case("AttentionPooling", lambda rng, dtype: AttentionPooling(16, 24, rng, dtype=dtype),
         oracles.normal(64, 66, 16), None),
    Case("InteractingLayer", lambda rng, dtype: InteractingLayer(16, 4, 8, rng, dtype=dtype),
         oracles.normal(64, 12, 16), None),
    Case("InteractingLayer-official", lambda rng, dtype: InteractingLayer(16, 2, 16, rng, dtype=dtype,
                                                                          **oracles.OFFICIAL),
         oracles.normal(64, 12, 16), None),
    Case("Dense", lambda rng, dtype: Dense(96, 64, rng, dtype), oracles.normal(64, 96), None),
    Case("Readout", lambda rng, dtype: Readout(96, 1.0, dtype=dtype), oracles.normal(64, 96), None),
    Case("BatchNorm", lambda rng, dtype: BatchNorm(64, dtype=dtype), oracles.normal(64, 64), None, training=True),
    Case("LayerNorm", lambda rng, dtype: LayerNorm(64, dtype=dtype), oracles.normal(32, 12, 64), None),
    Case("MLP", lambda rng, dtype: MLP(96, [64, 32], rng, 0.3, use_bn=True, dtype=dtype), oracles.normal(64, 96), None,
         training=True),
]


@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name)
def test_dot_product_at_a_large_shape(case):
    """<dout, J v> = <J^T dout, v>: J v from two forward passes, J^T dout from backward, v a step in everything."""
    rng = np.random.default_rng(0)
    layer, x = case.build(rng, np.float64), case.draw_x(rng)
    oracles.randomize(layer, rng)
    oracles.fix_dropout_masks(layer)
    oracles.set_training(layer, case.training)
    dout = random_dout(layer, x)
    dx = layer.backward(dout)
    arrays, gradient = parameters(layer), dense_gradients(layer)
    if not isinstance(x, Slots):
        arrays, gradient = {"x": x, **arrays}, {"x": dx, **gradient}
    for name, array in arrays.items():
        start = array.copy()
        v = rng.standard_normal(array.shape)
        v /= np.linalg.norm(v)
        eps = 1e-6
        array[...] = start + eps * v
        above = (layer.forward(x) * dout).sum()
        array[...] = start - eps * v
        below = (layer.forward(x) * dout).sum()
        array[...] = start
        numeric, analytic = (above - below) / (2 * eps), (gradient[name] * v).sum()
        assert abs(numeric - analytic) < 1e-8 + 1e-7 * np.linalg.norm(gradient[name]), name


# ------------------------------------------------------------------------------- the protocol of a layer


@every_case
def test_gradients_have_the_shapes_of_what_they_belong_to(case):
    layer, x, expected = case.draw(seed=0)
    out = layer.forward(x)
    assert out.shape == expected.shape
    dx = layer.backward(np.ones_like(out))
    if isinstance(x, Slots):
        assert dx is None
    else:
        assert dx.shape == x.shape
    params = parameters(layer)
    assert {name: gradient.shape for name, gradient in dense_gradients(layer).items()} == {
        name: array.shape for name, array in params.items()}


@every_case
def test_backward_assigns_and_never_adds(case):
    layer, x, _ = case.draw(seed=0)
    dout = random_dout(layer, x)
    dx = layer.backward(dout)
    once = copies(dense_gradients(layer))
    dx = None if dx is None else dx.copy()
    for _, inner in [("", layer), *named_layers(layer)]:          # leftovers must not matter
        for name, gradient in inner.grads.items():
            inner.grads[name] = None if isinstance(gradient, RowGradient) else np.full_like(gradient, np.nan)
    dx_again = layer.backward(dout)
    twice = dense_gradients(layer)
    assert once.keys() == twice.keys()
    for name in once:
        assert_array_equal(once[name], twice[name], err_msg=name)
    if dx is not None:
        assert_array_equal(dx, dx_again)


@every_case
def test_the_gradient_is_that_of_the_latest_forward(case):
    layer, x, _ = case.draw(seed=0)
    _, other, _ = case.draw(seed=1)
    dout = random_dout(layer, x)
    dx = layer.backward(dout)
    dx, expected = None if dx is None else dx.copy(), copies(dense_gradients(layer))
    layer.forward(other)
    layer.backward(dout)
    layer.forward(x)
    dx_again = layer.backward(dout)
    for name, gradient in dense_gradients(layer).items():
        assert_array_equal(gradient, expected[name], err_msg=name)
    if dx is not None:
        assert_array_equal(dx_again, dx)


@every_case
def test_inputs_and_parameters_are_left_as_they_are(case):
    layer, x, _ = case.draw(seed=0)
    dout = random_dout(layer, x)
    before = copies({**arrays_of(x), "dout": dout, **parameters(layer)})
    layer.forward(x)
    layer.backward(dout)
    for name, array in {**arrays_of(x), "dout": dout, **parameters(layer)}.items():
        assert_array_equal(array, before[name], err_msg=name)


@every_case
def test_backward_leaves_the_output_as_it_is(case):
    layer, x, _ = case.draw(seed=0)
    out = layer.forward(x)
    before = out.copy()
    layer.backward(np.ones_like(out))
    assert_array_equal(out, before)


@every_case
def test_float32_stays_float32(case):
    layer, x, _ = case.draw(seed=0, dtype=np.float32)
    out = layer.forward(x)
    dx = layer.backward(np.ones_like(out))
    seen = {"out": out, **dense_gradients(layer), **states(layer)}
    if dx is not None:
        seen["dx"] = dx
    for layer_name, inner in [("", layer), *named_layers(layer)]:
        for name, value in inner.cache.items():
            seen[f"cache of {layer_name} {name}"] = value
    kept = {name: array.dtype.name for name, array in seen.items() if isinstance(array, np.ndarray)}
    assert set(kept.values()) == {"float32"}, kept


@every_variant
def test_a_float32_model_stays_float32(name):
    rng = np.random.default_rng(0)
    model, slots = built_model(name, rng, M=3, dtype="float32"), random_slots(rng, 4, 3, "several")
    logit = model.forward(slots)
    model.backward(np.ones_like(logit))
    kept = {name: array.dtype.name for name, array in {"logit": logit, **dense_gradients(model)}.items()}
    assert set(kept.values()) == {"float32"}, kept


@every_case
def test_a_replica_shares_parameters_and_nothing_else(case):
    layer, x, _ = case.draw(seed=0)
    _, other_x, _ = case.draw(seed=1)
    dout = random_dout(layer, x)
    dx = layer.backward(dout)
    dx, expected = None if dx is None else dx.copy(), copies(dense_gradients(layer))
    other = replica(layer)
    assert parameters(other).keys() == parameters(layer).keys()
    for kind in (parameters, states):
        for name, array in kind(layer).items():
            assert kind(other)[name] is array, name
    assert dict(named_layers(other)).keys() == dict(named_layers(layer)).keys()
    for name, inner in [("", other), *named_layers(other)]:
        assert inner is not {"": layer, **dict(named_layers(layer))}[name]
        assert inner.cache == {} and inner.grads == {}
    other.forward(other_x)
    other.backward(2 * dout)
    for name, gradient in dense_gradients(layer).items():
        assert_array_equal(gradient, expected[name], err_msg=name)
    dx_again = layer.backward(dout)                               # from the cache of its own forward pass
    if dx is not None:
        assert_array_equal(dx_again, dx)
    for name, gradient in dense_gradients(layer).items():
        assert_array_equal(gradient, expected[name], err_msg=name)


CACHES = {
    "Embedding-several-B4-M3-k3": {"slots": None},
    "Linear-several-B4-M3-w0": {"slots": None, "wx": (4, 6)},
    "PairProduct-3x5x2": {"E": (3, 5, 2)},
    "FMPooling-3x5x2": {"E": (3, 5, 2), "total": (3, 2)},
    "AttentionPooling-B3-P6-k2-t4": {"pij": (3, 6, 2), "s": (3, 6), "aij": (3, 6), "weight": (3, 6)},
    "InteractingLayer-B2-M4-n3-H2-d2": {
        "E": (2, 4, 3), "Q": (2, 2, 4, 2), "K": (2, 2, 4, 2), "V": (2, 2, 4, 2), "a": (2, 2, 4, 4),
        "weight": (2, 2, 4, 4)},
    "Dense-3x4x2": {"x": (3, 4)},
    "Readout-B3-n4-b": {"x": (3, 4)},
    "Dropout-0.3-training-3x5": {"mask": (3, 5)},
    "BatchNorm-B5-n3-training": {"xhat": (5, 3)},
    "LayerNorm-3x5": {"xhat": (3, 5)},
}


@pytest.mark.parametrize("name", CACHES)
def test_the_cache_holds_the_symbols_of_the_paper(name):
    case = next(case for case in CASES if case.name == name)
    layer, x, _ = case.draw(seed=0)
    assert layer.cache == {} or case.training
    layer.forward(x)
    for symbol, shape in CACHES[name].items():
        if shape is None:
            assert layer.cache[symbol] is x
        else:
            assert layer.cache[symbol].shape == shape, symbol


def test_the_cached_attention_of_pairs_is_that_of_the_equation():
    for dropout in (0.0, 0.4):          # with dropout too: aij is what the softmax gave, before it
        layer, x, _ = oracles.attention_case(3, 6, 2, 4, dropout).draw(seed=0)
        layer.forward(x)
        assert_allclose(layer.cache["aij"], loops.pair_attention(x, **layer.params), rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"scale": True}, {"qkv_activation": "relu"}], ids=str)
def test_the_cached_attention_of_fields_is_that_of_the_equation(options):
    for dropout in (0.0, 0.4):
        layer, x, _ = oracles.interacting_case(2, 4, 3, 2, 3, dropout, **options).draw(seed=0)
        layer.forward(x)
        assert_allclose(layer.cache["a"], loops.field_attention(x, layer.params, 2, 3, **options), rtol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "ReLU", True, ""])
def test_an_unknown_activation_of_attention_is_refused(activation):
    """It would be none at all."""
    with pytest.raises(ValueError, match=f"qkv_activation must be None or 'relu', got {activation!r}"):
        InteractingLayer(3, 2, 2, np.random.default_rng(0), qkv_activation=activation)


# ------------------------------------------------------------------------------- slots, ids, row gradients


@pytest.mark.parametrize("make", [lambda n: Embedding(n, 2, np.random.default_rng(0)), Linear],
                         ids=["Embedding", "Linear"])
@pytest.mark.parametrize(("bad", "field", "row"), [(-1, 1, 2), (5, 1, 2), (2 ** 31 - 1, 1, 2), (-(2 ** 31), 1, 2)])
def test_an_id_outside_the_table_is_named(make, bad, field, row):
    ids = np.zeros((4, 4), int)
    ids[row, 2] = bad                                             # slot 2 is the second one of field 1
    with pytest.raises(IndexError, match=rf"field {field}, row {row}: id {bad} is outside 0\.\.4 of a table of 5 rows"):
        make(5).forward(Slots(ids, None, starts=[0, 1, 3]))


@pytest.mark.parametrize("make", [lambda n: Embedding(n, 2, np.random.default_rng(0)), Linear],
                         ids=["Embedding", "Linear"])
def test_the_first_and_the_last_row_of_a_table_can_be_looked_up(make):
    make(5).forward(Slots([[0, 4]], None, starts=[0, 1]))


def test_the_first_of_several_bad_ids_is_named():
    with pytest.raises(IndexError, match=r"field 0, row 1: id 7 "):
        Linear(5).forward(Slots([[0, 1], [7, -1], [-3, 0]], None, starts=[0, 1]))


@pytest.mark.parametrize(("ids", "x", "starts", "message"), [
    ([1, 2], None, [0], r"ids must have shape \(rows, slots\), got \(2,\)"),
    ([[[1]]], None, [0], r"ids must have shape \(rows, slots\), got \(1, 1, 1\)"),
    ([[1, 2]], [[1.0]], [0, 1], r"x has shape \(1, 1\), ids have \(1, 2\)"),
    ([[1, 2]], [1.0, 1.0], [0, 1], r"x has shape \(2,\), ids have \(1, 2\)"),
    ([[1, 2]], None, [], r"starts \[\] must begin with 0"),
    ([[1, 2]], None, [1], r"starts \[1\] must begin with 0"),
    ([[1, 2, 3]], None, [0, 2, 1], r"starts \[0, 2, 1\] must begin with 0, increase"),
    ([[1, 2, 3]], None, [0, 1, 1], r"starts \[0, 1, 1\] must begin with 0, increase"),
    ([[1, 2]], None, [0, 2], r"starts \[0, 2\] must .* stay below the 2 slots"),
])
def test_slots_that_do_not_fit_together_are_refused(ids, x, starts, message):
    with pytest.raises(ValueError, match=message):
        Slots(ids, x, starts)


@pytest.mark.parametrize("bad", [2 ** 32 + 1, -2 ** 31 - 1, 2 ** 63, 1.7, np.nan, np.inf, -np.inf], ids=str)
def test_an_id_that_int32_cannot_hold_is_refused_and_not_cut(bad):
    ids = np.array([[0, 1], [bad, 2]])
    got = str(ids[1, 0])
    with pytest.raises(ValueError, match=rf"whole numbers .*got {re.escape(got)} at \(row, slot\) \(1, 0\); enc"):
        Slots(ids, None, starts=[0, 1])


@pytest.mark.parametrize("ids", [[["1", "2"]], [[1, None]], [[1, 2 ** 70]]], ids=str)
def test_ids_that_are_not_numbers_are_refused(ids):
    with pytest.raises(ValueError, match=r"ids must be whole numbers .*got an array of"):
        Slots(ids, None, starts=[0, 1])


@pytest.mark.parametrize("dtype", [np.int8, np.uint32, np.int64, np.float64])
def test_whole_ids_of_any_dtype_are_taken(dtype):
    slots = Slots(np.array([[0, 3]], dtype), None, starts=[0, 1])
    assert slots.ids.tolist() == [[0, 3]] and slots.ids.dtype == np.int32


@pytest.mark.parametrize("rows", [slice(1, 3), [3, 0, 0], np.array([True, False, False, True]), slice(0, 0)], ids=str)
def test_rows_of_slots(rows):
    slots = random_slots(np.random.default_rng(0), 4, 3, "several")
    some = slots[rows]
    assert_array_equal(some.ids, slots.ids[rows])
    assert_array_equal(some.x, slots.x[rows])
    assert (some.n_fields, some.n_slots, len(some)) == (3, 6, len(slots.ids[rows]))


def test_slots_know_their_sizes_and_dtypes():
    slots = Slots([[0, 3, 4], [1, 4, 4]], [[1, 0.5, 0.5], [1, 1, 0]], starts=[0, 1])
    assert (len(slots), slots.n_fields, slots.n_slots) == (2, 2, 3)
    assert (slots.ids.dtype, slots.x.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("shape", [(), (1,), (3,)], ids=["numbers", "vectors of 1", "vectors of 3"])
def test_a_row_gradient_sums_repeated_ids(shape):
    rng = np.random.default_rng(0)
    slots = random_slots(rng, 20, 4, "several")
    values = rng.standard_normal((slots.ids.size, *shape))
    expected = np.zeros((oracles.N_VALUES, *shape))
    np.add.at(expected, slots.ids.ravel(), values)
    gradient = RowGradient(slots, values)
    rows, sums = gradient.sum()
    assert rows.tolist() == sorted(set(slots.ids.ravel().tolist()))
    assert_allclose(sums, expected[rows], rtol=1e-12, atol=1e-14)
    assert_allclose(gradient.dense(oracles.N_VALUES), expected, rtol=1e-12, atol=1e-14)
    assert sums.shape == (len(rows), *shape)
    again_rows, again_sums = gradient.sum()                       # asking twice adds nothing
    assert_array_equal(again_rows, rows)
    assert_array_equal(again_sums, sums)


def test_the_sum_of_a_row_gradient_costs_only_the_touched_rows():
    slots = Slots([[10 ** 9, 3], [3, 3]], None, starts=[0, 1])    # a dense gradient would need 10^9 rows
    rows, sums = RowGradient(slots, np.array([1.0, 2.0, 4.0, 8.0])).sum()
    assert rows.tolist() == [3, 10 ** 9] and sums.tolist() == [14.0, 1.0]


def test_the_field_terms_of_linear_add_up_to_its_output():
    rng = np.random.default_rng(0)
    layer, slots = Linear(oracles.N_VALUES, dtype=np.float64), random_slots(rng, 5, 4, "several")
    oracles.randomize(layer, rng)
    out = layer.forward(slots)
    terms = layer.field_terms()
    assert terms.shape == (5, 4)
    w = numbers(layer.params["w"])
    for b in range(5):
        for i in range(4):
            own = loops.slots_of_field(slots, i)
            expected = sum(w[slots.ids[b, s]] * loops.slot_weight(slots, b, s) for s in own)
            assert terms[b, i] == pytest.approx(expected, abs=1e-12)
    assert_allclose(terms.sum(axis=1) + layer.params["w0"], out, rtol=1e-12)


@pytest.mark.parametrize("M", [1, 2, 3, 7])
def test_pairs_come_in_the_order_of_triu_indices(M):
    listed = [(i, j) for i in range(M) for j in range(i + 1, M)]
    assert listed == list(zip(*(index.tolist() for index in field_pairs(M)), strict=True))
    for index in field_pairs(M):                                  # all callers get the same two arrays
        with pytest.raises(ValueError, match="read-only"):
            index[...] = 0


# ------------------------------------------------------------------------------- dropout and batch norm


def test_dropout_sets_the_share_to_0_and_scales_up_the_rest():
    dropout = Dropout(0.25, np.random.default_rng(0))
    dropout.training = True
    x = np.random.default_rng(1).uniform(1, 2, (400, 500))
    out = dropout.forward(x)
    dropped = out == 0
    assert_allclose(out[~dropped], x[~dropped] / 0.75, rtol=1e-12)
    assert dropped.mean() == pytest.approx(0.25, abs=0.005)       # 5 standard deviations of 200,000 draws
    assert out.mean() == pytest.approx(x.mean(), rel=0.01)
    for axis in (0, 1):                                           # number by number, not whole rows or columns
        assert dropped.mean(axis=axis).std() < 0.05
    assert_array_equal(dropout.backward(np.ones_like(x)), np.where(dropped, 0, 1 / 0.75))


def test_dropout_draws_a_new_mask_for_every_forward_pass():
    dropout = Dropout(0.5, np.random.default_rng(0))
    dropout.training = True
    x = np.ones((10, 10))
    assert (dropout.forward(x) != dropout.forward(x)).any()


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.5, False)])
def test_dropout_is_the_identity_at_rate_0_and_while_predicting(rate, training):
    dropout = Dropout(rate, np.random.default_rng(0))
    dropout.training = training
    x = np.random.default_rng(1).standard_normal((30, 40))
    assert_array_equal(dropout.forward(x), x)
    assert_array_equal(dropout.backward(x), x)


def test_dropout_forgets_its_mask_when_training_ends():
    dropout = Dropout(0.5, np.random.default_rng(0))
    dropout.training = True
    x = np.ones((10, 10))
    dropout.forward(x)
    dropout.training = False
    dropout.forward(x)
    assert_array_equal(dropout.backward(x), x)


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, np.nan])
@pytest.mark.parametrize("make", [
    lambda rate, rng: Dropout(rate, rng), lambda rate, rng: AttentionPooling(2, 2, rng, dropout=rate),
    lambda rate, rng: InteractingLayer(2, 1, 2, rng, dropout=rate), lambda rate, rng: MLP(2, [2], rng, dropout=rate),
], ids=["Dropout", "AttentionPooling", "InteractingLayer", "MLP"])
def test_a_bad_dropout_rate_is_refused(make, rate):
    with pytest.raises(ValueError, match=rf"dropout must be at least 0 and below 1 \(the share dropped\), got {rate}"):
        make(rate, np.random.default_rng(0))


def test_dropout_of_attention_is_on_the_weights_and_not_made_up_for():
    """The weights that are left are divided by 1 - rate, not brought back to a sum of 1."""
    layer, x, _ = oracles.attention_case(3, 6, 2, 4, dropout=0.5).draw(seed=0)
    layer.forward(x)
    weight, aij = layer.cache["weight"], layer.cache["aij"]
    assert_allclose(aij.sum(axis=1), 1, rtol=1e-12)
    assert (weight == 0).any() and (weight != 0).any()
    assert_allclose(weight[weight != 0], 2 * aij[weight != 0], rtol=1e-12)


def test_batch_norm_follows_the_batches_with_its_running_mean_and_variance():
    norm = BatchNorm(1, dtype=np.float64)                         # momentum 0.1
    norm.training = True
    norm.forward(np.array([[1.0], [3.0], [8.0]]))                 # mean 4, variance (9 + 1 + 16) / 2 = 13
    assert norm.state["mean"] == pytest.approx(0.9 * 0 + 0.1 * 4)
    assert norm.state["var"] == pytest.approx(0.9 * 1 + 0.1 * 13)
    norm.forward(np.array([[2.0], [4.0]]))                        # mean 3, variance 2
    assert norm.state["mean"] == pytest.approx(0.9 * 0.4 + 0.1 * 3)
    assert norm.state["var"] == pytest.approx(0.9 * 2.2 + 0.1 * 2)


def test_batch_norm_does_not_learn_while_predicting():
    norm = BatchNorm(2, dtype=np.float64)
    before = copies(norm.state)
    norm.forward(np.random.default_rng(0).standard_normal((6, 2)))
    for name in before:
        assert_array_equal(norm.state[name], before[name])


def test_batch_norm_gives_every_column_mean_0_and_variance_1():
    norm = BatchNorm(3, dtype=np.float64)
    norm.training = True
    x = np.random.default_rng(0).normal(5, 100, (50, 3))
    out = norm.forward(x)
    assert_allclose(out.mean(axis=0), 0, atol=1e-12)
    assert_allclose(out.var(axis=0), 1, rtol=1e-6)


def test_batch_norm_cannot_train_on_one_row():
    norm = BatchNorm(2)
    norm.training = True
    with pytest.raises(ValueError, match="batch of one row"):
        norm.forward(np.ones((1, 2), np.float32))
    norm.training = False
    norm.forward(np.ones((1, 2), np.float32))


def test_a_shift_before_batch_norm_has_no_effect_and_no_gradient():
    layer, x, _ = oracles.mlp_case(5, 3, [4], use_bn=True, training=True).draw(seed=0)
    out = layer.forward(x)
    layer.backward(random_dout(layer, x))
    assert_allclose(layer.dense[0].grads["b"], 0, atol=1e-14)
    layer.dense[0].params["b"] += 5
    assert_allclose(layer.forward(x), out, rtol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_the_backward_pass_of_batch_norm_is_that_of_its_forward_pass(training):
    """Whatever ``training`` was set to in between."""
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
    norm = BatchNorm(3, dtype=np.float64)
    norm.training = training
    norm.forward(x)
    expected = norm.backward(dout)
    norm.training = not training
    assert_array_equal(norm.backward(dout), expected)


def test_batch_norm_takes_a_constant_column():
    norm = BatchNorm(1, dtype=np.float64)
    norm.training = True
    assert_array_equal(norm.forward(np.full((4, 1), 7.0)), 0)
    assert np.isfinite(norm.backward(np.ones((4, 1)))).all()


# ------------------------------------------------------------------------------- names, starts, functions


def test_names_of_the_layers_inside_a_layer():
    mlp = MLP(4, [3, 2], np.random.default_rng(0), dropout=0.1, use_bn=True)
    assert dict(named_layers(mlp)) == {
        "dense_1": mlp.dense[0], "dense_2": mlp.dense[1], "norm_1": mlp.norm[0], "norm_2": mlp.norm[1],
        "relu_1": mlp.relu[0], "relu_2": mlp.relu[1], "dropout_1": mlp.dropout[0], "dropout_2": mlp.dropout[1],
        "out": mlp.out}
    assert list(parameters(mlp)) == [
        "dense_1.W", "dense_1.b", "dense_2.W", "dense_2.b", "norm_1.gamma", "norm_1.beta", "norm_2.gamma",
        "norm_2.beta", "out.w", "out.b"]
    assert list(states(mlp)) == ["norm_1.mean", "norm_1.var", "norm_2.mean", "norm_2.var"]
    assert parameters(mlp)["dense_2.W"] is mlp.dense[1].params["W"]
    assert gradients(mlp) == {}


PARAMETERS = {
    "LR": ["linear.w", "linear.w0"],
    "FM": ["linear.w", "linear.w0", "embedding.V"],
    "AFM": ["linear.w", "linear.w0", "embedding.V", "attention.W", "attention.b", "attention.h", "projection.p"],
    "AutoInt": ["embedding.V", "interacting_1.W_Q", "interacting_1.W_K", "interacting_1.W_V", "interacting_1.W_Res",
                "interacting_2.W_Q", "interacting_2.W_K", "interacting_2.W_V", "interacting_2.W_Res",
                "readout.w", "readout.b"],
    "AutoInt-layer-norm": ["embedding.V", "interacting_1.W_Q", "interacting_1.W_K", "interacting_1.W_V",
                           "interacting_1.W_Res", "interacting_1.norm.gamma", "interacting_1.norm.beta",
                           "readout.w", "readout.b"],
    "DeepFM": ["linear.w", "embedding.V", "mlp.dense_1.W", "mlp.dense_1.b", "mlp.dense_2.W", "mlp.dense_2.b",
               "mlp.out.w", "mlp.out.b"],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_names_of_the_parameters_of_a_model(name):
    model, slots, _ = draw_model(name, seed=0)
    assert sorted(parameters(model)) == sorted(PARAMETERS[name])
    model.backward(np.ones_like(model.forward(slots)))
    assert sorted(gradients(model)) == sorted(PARAMETERS[name])


def test_a_layer_shows_its_shapes():
    assert repr(AttentionPooling(3, 4, np.random.default_rng(0))) == "AttentionPooling(W (3, 4), b (4,), h (4,))"


def test_layers_draw_their_start_from_the_generator_given():
    def start(seed):
        return InteractingLayer(3, 2, 2, np.random.default_rng(seed)).params["W_Q"]

    assert_array_equal(start(1), start(1))
    assert (start(1) != start(2)).any()


def test_the_spread_of_the_start():
    rng = np.random.default_rng(0)
    assert Embedding(2_000, 8, rng).params["V"].std() == pytest.approx(0.01, rel=0.05)
    attention = AttentionPooling(60, 40, rng)
    assert attention.params["W"].std() == pytest.approx(np.sqrt(2 / 100), rel=0.1)
    assert AttentionPooling(2, 2_000, rng).params["h"].std() == pytest.approx(1, rel=0.1)
    assert not attention.params["b"].any()
    assert InteractingLayer(40, 3, 20, rng).params["W_K"].std() == pytest.approx(np.sqrt(2 / 100), rel=0.1)
    assert MLP(4, [3_000], rng).out.params["w"].std() == pytest.approx(np.sqrt(2 / 3_001), rel=0.1)
    assert Embedding(2_000, 8, rng, std=0.5).params["V"].std() == pytest.approx(0.5, rel=0.05)


def test_an_mlp_is_plain_unless_asked():
    mlp = MLP(4, [3, 2], np.random.default_rng(0))
    assert [layer.rate for layer in mlp.dropout] == [0, 0]
    assert list(parameters(mlp)) == ["dense_1.W", "dense_1.b", "dense_2.W", "dense_2.b", "out.w", "out.b"]


def test_softmax_stays_finite_and_leaves_its_input_alone():
    s = np.array([[800.0, -800.0, 0.0], [-800.0, -800.0, -800.0]])
    before = s.copy()
    assert_allclose(softmax(s, axis=1), [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], atol=1e-15)
    assert_array_equal(s, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("largest", [1, 59, 61, 87, 89, 1e4])
def test_softmax_at_scores_of_any_size(largest, dtype):
    """float32's exp overflows at 88.7, and 1000 scores of one size sum to 1000 times as much."""
    s = np.full((3, 1000), largest, dtype)
    s[1] *= -1
    s[2, ::2] *= -1
    a = softmax(s, axis=1)
    assert a.dtype == dtype
    assert_allclose(a[:2], 0.001, rtol=1e-5)
    assert_allclose(a[2, 1::2], 1 / 500 if largest > 1 else np.e / (500 * (np.e + 1 / np.e)), rtol=1e-5)
    assert_allclose(a[2, ::2].sum(), 0 if largest > 1 else 1 / (1 + np.e ** 2), rtol=1e-5, atol=1e-30)


def test_large_scores_in_one_row_leave_the_others_as_they_are():
    s = np.random.default_rng(0).standard_normal((2, 5))
    alone = softmax(s, axis=1)
    for enormous in (1e3, -1e3, np.finfo(float).max):
        both = softmax(np.vstack([s, np.full((1, 5), enormous)]), axis=1)
        assert_allclose(both[:2], alone, rtol=1e-14)
        assert_allclose(both[2], 0.2, rtol=1e-14)


def test_scores_that_are_not_numbers_stay_visible():
    """A nan must reach the loss, where training reports it."""
    assert np.isnan(softmax(np.array([[0.0, np.nan]]), axis=1)).all()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_softmax_and_its_derivative_along_each_axis(axis):
    rng = np.random.default_rng(0)
    s, da = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    a = softmax(s, axis=axis)
    moved = np.moveaxis(s, axis, 2).reshape(-1, s.shape[axis])
    expected = np.array([loops.softmax(row) for row in moved.tolist()])
    assert a.shape == s.shape
    assert_allclose(np.moveaxis(a, axis, 2).reshape(expected.shape), expected, rtol=1e-12)
    ds, before = softmax_backward(da, a, axis=axis), da.copy()
    for index in np.ndindex(s.shape):
        above, below = s.copy(), s.copy()
        above[index] += 1e-6
        below[index] -= 1e-6
        numeric = ((softmax(above, axis=axis) - softmax(below, axis=axis)) * da).sum() / 2e-6
        assert ds[index] == pytest.approx(numeric, abs=1e-8)
    assert_array_equal(da, before)


def test_sigmoid_by_hand():
    s = np.array([-np.log(3), 0, np.log(3), np.log(9)])
    assert_allclose(sigmoid(s), [0.25, 0.5, 0.75, 0.9], rtol=1e-14)
    assert sigmoid(np.array([-800, 800], np.float32)).tolist() == [0, 1]
    assert sigmoid(np.zeros(1, np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_sigmoid_of_very_negative_logits_is_as_exact_as_any(dtype, rtol):
    """A sum of 0.5 and almost -0.5 would leave 0 of 1e-9."""
    s = np.array([-80, -50, -20, -17, -1, 0, 3, 90], dtype)
    with np.errstate(all="raise"):
        assert_allclose(sigmoid(s), [1 / (1 + math.exp(-v)) for v in s.tolist()], rtol=rtol)
        assert sigmoid(dtype(-1e4)) == 0 and sigmoid(dtype(1e4)) == 1
    assert isinstance(sigmoid(dtype(-3)), type(1 + dtype(3)))         # dtype itself, but for NumPy 1


@pytest.mark.parametrize(("x", "weighted"), [(np.eye(3, 4, k=1) + 1, slice(1, 4)), (np.ones((3, 4)), slice(0, 0))])
def test_slots_know_where_weights_are_other_than_1(x, weighted):
    assert Slots(np.zeros((3, 4), int), x, [0, 1, 2, 3]).weighted == weighted


# ------------------------------------------------------------------------------- several inputs


class OfThreeParts(layers.Layer):
    """Concatenate, as a layer of one input."""

    def __init__(self):
        super().__init__()
        self.concatenate = layers.Concatenate()

    def forward(self, x):
        return self.concatenate.forward(x[:, :1], x[:, 1:3].reshape(len(x), 1, 2), x[:, 3:])

    def backward(self, dout):
        parts = self.concatenate.backward(dout)
        return np.concatenate([part.reshape(len(dout), -1) for part in parts], axis=1)


def test_concatenate_puts_parts_side_by_side_and_gives_each_its_own_gradient():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 2)), rng.standard_normal((3, 2, 2))
    layer = layers.Concatenate()
    out = layer.forward(a, b)
    assert numbers(out) == [[*a[row].tolist(), *b[row].ravel().tolist()] for row in range(3)]
    da, db = layer.backward(10 * out)
    assert_array_equal(da, 10 * a)
    assert_array_equal(db, 10 * b)
    assert check_gradients(OfThreeParts(), rng.standard_normal((4, 6))).passed
