"""What must hold whatever the numbers: sums, permutations, models that contain one another, rows left alone.

A gradient check cannot see a wrong equation; these can.
"""

import loops
import numpy as np
import oracles
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from models import KINDS, VARIANTS, build_layers, layers_of, small, tables_of
from numpy.testing import assert_allclose, assert_array_equal
from oracles import CASES, N_VALUES, SLOT_KINDS, built_model, random_slots, randomize

from minictr import AFM, FM, AutoInt, DeepFM
from minictr.layers import (
    AttentionPooling,
    Embedding,
    FMPooling,
    InteractingLayer,
    Linear,
    PairProduct,
    gradients,
    named_layers,
    parameters,
    softmax,
    softmax_backward,
)
from minictr.slots import Slots

few = examples(25)
seeds = st.integers(0, 2 ** 32 - 1)
sizes = st.integers(1, 5)
kinds = st.sampled_from(SLOT_KINDS)
row_wise_case = st.sampled_from([case for case in CASES if not case.rows_mix and not case.training])


def arrays(shape, largest):
    return hnp.arrays(np.float64, shape, elements=st.floats(-largest, largest, allow_subnormal=False))


def rows_of(x, rows):
    """Rows of an input, array or Slots, in a block of memory of their own."""
    return x[rows] if isinstance(x, Slots) else np.ascontiguousarray(x[rows])


def built(cls, rng, M, **params):
    model = build_layers(cls(dtype="float64", **params), N_VALUES, M, rng)
    randomize(model, rng)
    return model


def pair_place(M):
    """The place of each pair (i, j), in either order, among the pairs."""
    return {pair: place for place, (i, j) in enumerate(loops.pairs(M)) for pair in ((i, j), (j, i))}


# ------------------------------------------------------------------------------- softmax and attention weights


@given(st.data(), st.integers(1, 4), st.integers(1, 6), st.sampled_from([0, 1]), st.sampled_from([1.0, 1e3, 1e8]))
def test_softmax_gives_shares(data, rows, columns, axis, largest):
    a = softmax(data.draw(arrays((rows, columns), largest)), axis=axis)
    assert ((a >= 0) & (a <= 1)).all()
    assert_allclose(a.sum(axis=axis), 1, rtol=1e-12)


@given(st.data(), st.floats(-1e3, 1e3))
def test_softmax_does_not_change_when_a_constant_is_added(data, constant):
    s = data.draw(arrays((3, 4), 30))
    shift = np.array([[constant], [-constant], [0.5]])            # a constant of its own for each row
    assert_allclose(softmax(s + shift, axis=1), softmax(s, axis=1), rtol=1e-10, atol=1e-300)


@given(arrays((3, 4), 30))
def test_softmax_keeps_the_order_of_the_scores(s):
    a = softmax(s, axis=1)
    for row, shares in zip(s, a, strict=True):
        assert (np.diff(shares[np.argsort(row)]) >= 0).all()


@given(arrays((3, 4), 30), arrays((3, 4), 30))
def test_the_derivative_of_softmax_sums_to_0(s, da):
    """The shares sum to 1 whatever the scores; so no score is worth more, or less, to all shares together."""
    a = softmax(s, axis=1)
    ds = softmax_backward(da, a, axis=1)
    assert_allclose(ds.sum(axis=1), 0, atol=1e-12)
    assert_allclose(softmax_backward(da + 7, a, axis=1), ds, atol=1e-12)


@given(seeds, sizes, st.integers(1, 10), sizes, sizes, st.sampled_from([1.0, 100.0]))
def test_pair_attention_sums_to_1_over_the_pairs(seed, B, P, k, t, spread):
    rng = np.random.default_rng(seed)
    layer = AttentionPooling(k, t, rng, dtype=np.float64)
    layer.forward(spread * rng.standard_normal((B, P, k)))
    a = layer.cache["aij"]
    assert a.shape == (B, P)
    assert ((a >= 0) & (a <= 1)).all()
    assert_allclose(a.sum(axis=1), 1, rtol=1e-12)


@given(seeds, sizes, sizes, sizes, st.integers(1, 3), sizes, st.sampled_from([{}, {"scale": True}, oracles.OFFICIAL]),
       st.sampled_from([1.0, 100.0]))
def test_field_attention_sums_to_1_over_the_answering_fields(seed, B, M, n_in, H, d, options, spread):
    rng = np.random.default_rng(seed)
    layer = InteractingLayer(n_in, H, d, rng, dtype=np.float64, **options)
    layer.forward(spread * rng.standard_normal((B, M, n_in)))
    a = layer.cache["a"]
    assert a.shape == (B, H, M, M)
    assert ((a >= 0) & (a <= 1)).all()
    assert_allclose(a.sum(axis=3), 1, rtol=1e-12)


@given(seeds, st.integers(2, 10))
def test_pooling_lies_between_the_pair_vectors(seed, P):
    """A weighted mean: in each of the k numbers between the smallest and the largest of the pairs."""
    rng = np.random.default_rng(seed)
    pij = rng.standard_normal((3, P, 2))
    out = AttentionPooling(2, 4, rng, dtype=np.float64).forward(pij)
    assert (out >= pij.min(axis=1) - 1e-12).all() and (out <= pij.max(axis=1) + 1e-12).all()


@given(seeds, st.integers(1, 10))
def test_equal_pairs_get_equal_attention(seed, P):
    rng = np.random.default_rng(seed)
    pij = np.repeat(rng.standard_normal((3, 1, 2)), P, axis=1)
    layer = AttentionPooling(2, 4, rng, dtype=np.float64)
    assert_allclose(layer.forward(pij), pij[:, 0], rtol=1e-12)
    assert_allclose(layer.cache["aij"], 1 / P, rtol=1e-12)


# ------------------------------------------------------------------------------- the order of fields, pairs, slots


@given(st.data(), seeds, st.integers(1, 4), st.integers(2, 6), st.integers(1, 4))
def test_afm_does_not_care_for_the_order_of_the_fields(data, seed, B, M, k):
    order = data.draw(st.permutations(range(M)))
    rng = np.random.default_rng(seed)
    E, dpooled = rng.standard_normal((B, M, k)), rng.standard_normal((B, k))
    pairs, attention = PairProduct(), AttentionPooling(k, 3, rng, dtype=np.float64)
    pooled = attention.forward(pairs.forward(E))
    aij, dE = attention.cache["aij"], pairs.backward(attention.backward(dpooled))

    permuted = attention.forward(pairs.forward(np.ascontiguousarray(E[:, order])))
    assert_allclose(permuted, pooled, rtol=1e-9, atol=1e-12)
    place = pair_place(M)
    moved = [place[order[i], order[j]] for i, j in loops.pairs(M)]
    assert_allclose(attention.cache["aij"], aij[:, moved], rtol=1e-9, atol=1e-12)
    assert_allclose(pairs.backward(attention.backward(dpooled)), dE[:, order], rtol=1e-9, atol=1e-12)


@given(st.data(), seeds, st.integers(1, 3), st.integers(2, 5), st.integers(1, 3), st.integers(1, 3),
       st.sampled_from([{}, {"residual": False}, oracles.OFFICIAL]))
def test_the_interacting_layer_permutes_its_rows_with_the_fields(data, seed, B, M, H, d, options):
    order = data.draw(st.permutations(range(M)))
    rng = np.random.default_rng(seed)
    E, dout = rng.standard_normal((B, M, 3)), rng.standard_normal((B, M, H * d))
    layer = InteractingLayer(3, H, d, rng, dtype=np.float64, **options)
    out = layer.forward(E)
    a, dE = layer.cache["a"], layer.backward(dout)

    permuted = layer.forward(np.ascontiguousarray(E[:, order]))
    assert_allclose(permuted, out[:, order], rtol=1e-7, atol=1e-10)
    assert_allclose(layer.cache["a"], a[:, :, order][:, :, :, order], rtol=1e-9, atol=1e-12)
    if "layer_norm" not in options:         # which near a variance of 0 magnifies the rounding of its derivative
        assert_allclose(layer.backward(np.ascontiguousarray(dout[:, order])), dE[:, order], rtol=1e-8, atol=1e-10)


@given(seeds, st.integers(2, 5), st.integers(1, 3))
def test_heads_do_not_mix(seed, M, d):
    """Each head's share of the output is what a layer of that head alone gives."""
    rng = np.random.default_rng(seed)
    E, H = rng.standard_normal((2, M, 3)), 3
    layer = InteractingLayer(3, H, d, rng, dtype=np.float64)
    out = layer.forward(E)
    for h in range(H):
        alone = InteractingLayer(3, 1, d, rng, dtype=np.float64)
        for name in layer.params:
            alone.params[name] = np.ascontiguousarray(layer.params[name][:, h * d:(h + 1) * d])
        assert_allclose(alone.forward(E), out[:, :, h * d:(h + 1) * d], rtol=1e-9, atol=1e-12)


@given(st.data(), seeds)
def test_the_order_of_a_fields_slots_does_not_matter(data, seed):
    rng = np.random.default_rng(seed)
    slots = random_slots(rng, 4, 3, "several")                    # fields of 2, 3 and 1 slots
    order = [*data.draw(st.permutations([0, 1])), *data.draw(st.permutations([2, 3, 4])), 5]
    permuted = Slots(slots.ids[:, order], slots.x[:, order], slots.starts)
    for layer in (Embedding(N_VALUES, 2, rng, dtype=np.float64), Linear(N_VALUES, dtype=np.float64)):
        randomize(layer, rng)
        assert_allclose(layer.forward(permuted), layer.forward(slots), rtol=1e-12, atol=1e-12)


@given(seeds, st.integers(0, N_VALUES - 1))
def test_a_slot_of_weight_0_adds_nothing(seed, padding):
    rng = np.random.default_rng(seed)
    ids, x = rng.integers(0, N_VALUES, (4, 2)), rng.standard_normal((4, 2))
    slots = Slots(ids, x, starts=[0, 1])
    padded = Slots(np.insert(ids, 1, padding, axis=1), np.insert(x, 1, 0, axis=1), starts=[0, 2])
    for layer in (Embedding(N_VALUES, 2, rng, dtype=np.float64), Linear(N_VALUES, dtype=np.float64)):
        randomize(layer, rng)
        table, = layer.tables
        out = layer.forward(slots)
        layer.backward(np.ones_like(out))
        dtable = layer.grads[table].dense(N_VALUES)
        assert_array_equal(layer.forward(padded), out)
        layer.backward(np.ones_like(out))
        assert_allclose(layer.grads[table].dense(N_VALUES), dtable, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------- rows and batches


@examples(100)
@given(row_wise_case, seeds)
def test_a_row_alone_gives_what_it_gives_in_a_batch(case, seed):
    layer, x, _ = case.draw(seed)
    out = layer.forward(x)
    for b in range(len(x)):
        assert_allclose(layer.forward(rows_of(x, slice(b, b + 1))), out[b:b + 1], rtol=1e-10, atol=1e-12)


@examples(60)
@given(row_wise_case, seeds)
def test_the_gradient_of_a_batch_is_the_sum_over_its_rows(case, seed):
    layer, x, _ = case.draw(seed)
    out = layer.forward(x)
    dout = np.random.default_rng(seed).standard_normal(out.shape)

    def backward(rows):
        layer.forward(rows_of(x, rows))
        dx = layer.backward(np.ascontiguousarray(dout[rows]))
        return dx, {name: gradient.dense(len(parameters(layer)[name])) if hasattr(gradient, "dense") else gradient
                    for name, gradient in gradients(layer).items()}

    dx, whole = backward(slice(None))
    rows = [backward(slice(b, b + 1)) for b in range(len(x))]
    for name in whole:
        assert_allclose(sum(row[name] for _, row in rows), whole[name], rtol=1e-9, atol=1e-11, err_msg=name)
    if dx is not None:
        assert_allclose(np.concatenate([row_dx for row_dx, _ in rows]), dx, rtol=1e-9, atol=1e-11)


@examples(100)
@given(row_wise_case, seeds)
def test_equal_rows_give_equal_outputs(case, seed):
    layer, x, _ = case.draw(seed)
    last = len(x) - 1
    out = layer.forward(rows_of(x, [last, *range(len(x)), last]))
    assert_allclose(out[0], out[-1], rtol=1e-10, atol=1e-12)
    assert_allclose(out[0], out[-2], rtol=1e-10, atol=1e-12)


@few
@given(st.sampled_from(list(VARIANTS)), seeds, kinds)
def test_a_models_logit_of_a_row_does_not_depend_on_its_batch(name, seed, kind):
    rng = np.random.default_rng(seed)
    model, slots = built_model(name, rng, M=3), random_slots(rng, 5, 3, kind)
    logit = model.forward(slots)
    for rows in ([2], [4, 0], [1, 1, 3]):
        assert_allclose(model.forward(slots[rows]), logit[rows], rtol=1e-7, atol=1e-9)


# ------------------------------------------------------------------------------- models within models


@given(st.data(), st.integers(1, 4), st.integers(1, 6), st.integers(1, 4))
def test_the_fast_sum_over_pairs_is_the_sum_over_pairs(data, B, M, k):
    E, dout = data.draw(arrays((B, M, k), 10)), data.draw(arrays((B, k), 10))
    pairs, pooling = PairProduct(), FMPooling()
    assert_allclose(pooling.forward(E), pairs.forward(E).sum(axis=1), rtol=1e-9, atol=1e-10)
    dpij = np.repeat(dout[:, None], M * (M - 1) // 2, axis=1)
    assert_allclose(pooling.backward(dout), pairs.backward(dpij), rtol=1e-9, atol=1e-10)


@few
@given(seeds, kinds, st.integers(2, 5), st.integers(1, 4))
def test_afm_with_uniform_attention_is_the_fm(seed, kind, M, k):
    rng = np.random.default_rng(seed)
    fm, slots = built(FM, rng, M, embedding_dim=k), random_slots(rng, 4, M, kind)
    afm = built(AFM, rng, M, embedding_dim=k, attention_dim=3)
    afm.linear.params, afm.embedding.params = fm.linear.params, fm.embedding.params
    P = M * (M - 1) // 2
    afm.attention.params["h"][...] = 0
    afm.projection.params["p"][...] = P
    assert_allclose(afm.forward(slots), fm.forward(slots), rtol=1e-9, atol=1e-11)
    assert_allclose(afm.attention.cache["aij"], 1 / P, rtol=1e-12)
    ds = rng.standard_normal(4)
    afm.backward(ds)
    fm.backward(ds)
    for layer, name in (("embedding", "V"), ("linear", "w")):     # h = 0: nothing comes back through the attention
        dtables = [getattr(model, layer).grads[name].dense(N_VALUES) for model in (afm, fm)]
        assert_allclose(*dtables, rtol=1e-9, atol=1e-11)


@few
@given(seeds, kinds, st.integers(1, 5), st.sampled_from([(), (3,), (4, 2)]))
def test_deepfm_with_an_idle_mlp_is_the_fm(seed, kind, M, deep_layers):
    rng = np.random.default_rng(seed)
    fm, slots = built(FM, rng, M, embedding_dim=3), random_slots(rng, 4, M, kind)
    deepfm = built(DeepFM, rng, M, embedding_dim=3, deep_layers=deep_layers)
    deepfm.linear.params["w"], deepfm.embedding.params = fm.linear.params["w"], fm.embedding.params
    deepfm.mlp.out.params["w"][...] = 0
    deepfm.mlp.out.params["b"][...] = fm.linear.params["w0"]      # the paper's DeepFM has no w_0: b does its work
    assert_allclose(deepfm.forward(slots), fm.forward(slots), rtol=1e-9, atol=1e-11)


@few
@given(seeds, kinds, st.integers(1, 4), st.integers(1, 2))
def test_autoint_without_values_and_residual_is_its_bias(seed, kind, M, num_layers):
    rng = np.random.default_rng(seed)
    model = built(AutoInt, rng, M, embedding_dim=3, attention_dim=2, num_layers=num_layers)
    for layer in model.interacting:
        layer.params["W_V"][...] = 0
        layer.params["W_Res"][...] = 0
    assert_array_equal(model.forward(random_slots(rng, 4, M, kind)), np.repeat(model.readout.params["b"], 4))


@few
@given(seeds, st.integers(2, 5))
def test_attention_of_equal_scores_takes_the_mean_of_the_fields(seed, M):
    rng = np.random.default_rng(seed)
    layer = InteractingLayer(3, 2, 2, rng, dtype=np.float64)
    layer.params["W_Q"][...] = 0
    E = rng.standard_normal((4, M, 3))
    mean = (E @ layer.params["W_V"]).mean(axis=1, keepdims=True)
    assert_allclose(layer.forward(E), np.maximum(mean + E @ layer.params["W_Res"], 0), rtol=1e-9, atol=1e-12)


@few
@given(seeds, kinds)
def test_autoint_plus_is_autoint_plus_an_mlp(seed, kind):
    rng = np.random.default_rng(seed)
    slots = random_slots(rng, 4, 3, kind)
    plus = built(AutoInt, rng, 3, embedding_dim=3, attention_dim=2, num_layers=1, deep_layers=(4,))
    alone = built(AutoInt, rng, 3, embedding_dim=3, attention_dim=2, num_layers=1)
    alone.embedding, alone.interacting, alone.readout = plus.embedding, plus.interacting, plus.readout
    E = plus.embedding.forward(slots)
    assert_allclose(plus.forward(slots), alone.forward(slots) + plus.mlp.forward(E.reshape(4, -1)), rtol=1e-12)


# ------------------------------------------------------------------------------- gradients of the tables


@examples(60)
@given(st.sampled_from(list(VARIANTS)), seeds, kinds, st.integers(2, 4))
def test_rows_that_no_slot_looks_up_have_no_gradient(name, seed, kind, M):
    rng = np.random.default_rng(seed)
    model, slots = built_model(name, rng, M), random_slots(rng, 2, M, kind)
    model.backward(rng.standard_normal(len(model.forward(slots))))
    untouched = np.setdiff1d(np.arange(N_VALUES), slots.ids)
    assert len(untouched)                                         # the last row at least
    for table in (gradients(model)[name] for name in tables_of(model)):
        assert_array_equal(table.dense(N_VALUES)[untouched], 0)
        assert_array_equal(table.sum()[0], np.unique(slots.ids))


@few
@given(st.sampled_from(list(VARIANTS)), seeds, st.booleans())
def test_an_id_that_is_twice_in_a_row_gets_both_gradients(name, seed, weighted):
    """The same logits with two ids of equal rows in place of the one: their gradients add up to its gradient."""
    rng = np.random.default_rng(seed)
    model = built_model(name, rng, M=3)
    x = rng.standard_normal((2, 4)) if weighted else None
    twice = Slots([[3, 3, 1, 5], [2, 0, 3, 3]], x, starts=[0, 1, 2])
    apart = Slots([[3, 6, 1, 5], [2, 0, 3, 6]], x, starts=[0, 1, 2])
    for table in tables_of(model).values():
        table[6] = table[3]
    ds = rng.standard_normal(2)
    of = {}
    for key, slots in (("twice", twice), ("apart", apart)):
        of[key] = {"logit": model.forward(slots)}
        model.backward(ds)
        by_rows = {name for name, gradient in gradients(model).items() if hasattr(gradient, "dense")}
        assume(by_rows == tables_of(model).keys())                # to ids of its own 3 and 6 are not the same
        of[key] |= {name: gradients(model)[name].dense(N_VALUES) for name in by_rows}
    assert_allclose(of["twice"].pop("logit"), of["apart"].pop("logit"), rtol=1e-9, atol=1e-12)
    assert of["twice"]
    for table in of["twice"]:
        assert_allclose(of["twice"][table][3], of["apart"][table][3] + of["apart"][table][6], rtol=1e-8, atol=1e-10)
        assert_array_equal(of["twice"][table][6], 0)


@pytest.mark.parametrize("name", [name for name in KINDS if Linear in map(type, layers_of(small(name)))])
def test_the_gradient_of_a_first_order_weight_is_counted_by_hand(name):
    model = built_model(name, np.random.default_rng(0), M=2)
    slots = Slots([[1, 2, 2], [1, 4, 2]], [[1, 0.5, 0.5], [2, 0.25, 0.75]], starts=[0, 1])
    model.forward(slots)
    model.backward(np.array([10.0, 100.0]))
    linear, = (layer for _, layer in named_layers(model) if type(layer) is Linear)
    dw = linear.grads["w"].dense(N_VALUES)
    assert dw.tolist() == [0, 1 * 10 + 2 * 100, (0.5 + 0.5) * 10 + 0.75 * 100, 0, 0.25 * 100, 0, 0, 0, 0]
