"""Tests of the tests: each backward pass is broken on purpose, and the check that should notice must notice.

Two forward faults that were really published pass the gradient check; the equation as loops, or an invariant,
finds them.
"""

import types
from functools import partial

import loops
import numpy as np
import oracles
import pytest
from models import MODELS, every_model
from numpy.testing import assert_allclose
from oracles import CASES, SLOT_KINDS, draw_model

from minictr import (
    AFM,
    DCN,
    FFM,
    FM,
    FNN,
    HOFM,
    LR,
    NFM,
    PNN,
    AutoInt,
    DeepCrossing,
    DeepFM,
    FwFM,
    WideDeep,
    XDeepFM,
    check_gradients,
    layers,
)
from minictr.layers import (
    InteractingLayer,
    RowGradient,
    attention_pooling,
    gradients,
    self_attention,
    sigmoid,
    softmax,
    softmax_backward,
)
from minictr.layers.embedding import repeat_over_slots
from minictr.optim import Adam

CASES_BY_NAME = {case.name: case for case in CASES}


def check(layer, x):
    return check_gradients(layer, x, seed=1000)


def failing(report):
    return {line["name"] for line in report.arrays if line["allowance"] > 1}


def draw(case_name, backward=None):
    """The layer and input of a case, the layer with another backward pass if one is given."""
    layer, x, _ = CASES_BY_NAME[case_name].draw(seed=0)
    if backward is not None:
        layer.backward = types.MethodType(backward, layer)
    return layer, x


# ------------------------------------------------------------------------------- any gradient of any layer

THOROUGH = [                    # one case of each layer in which no gradient is 0 for good reasons
    "Embedding-several-B4-M3-k3", "Linear-several-B4-M3-w0", "PairProduct-3x5x2", "FMPooling-3x5x2", "FactorSum-3x4",
    "AttentionPooling-B3-P6-k2-t4", "InteractingLayer-B2-M4-n3-H2-d2",
    "InteractingLayer-B2-M3-n3-H2-d2-scale_True-layer_norm_True-qkv_activation_relu", "Dense-3x4x2", "Readout-B3-n4-b",
    "ReLU-3x4", "Dropout-0.3-training-3x5", "BatchNorm-B5-n3-training", "LayerNorm-3x5", "MLP-B3-n4-5-3",
    "InnerProducts-3x5x2", "OuterProduct-3x4x3", "FieldAwareProducts-3x4x2", "TriplePooling-3x5x2",
    "CrossNetwork-B3-n4-L3", "CIN-B2-M3-k2-4-3", "ResidualUnit-B3-n4-5",
    "Crosses-several-0x2-2x1x0", "FirstOrderTerms-several-B4-M3",
]


def flipped(gradient):
    return -gradient


def zeroed(gradient):
    return 0 * gradient


def averaged(gradient):
    return gradient / 2                                           # as with a second 1/B


def with_one_entry_off(gradient):
    spoilt = gradient.copy()
    spoilt.flat[np.abs(spoilt).argmax()] *= 1.001
    return spoilt


def test_every_layer_is_mutated():
    exported = {value for value in vars(layers).values() if isinstance(value, type) and issubclass(value, layers.Layer)}
    assert {type(draw(name)[0]) for name in THOROUGH} == exported - {layers.Layer, layers.Concatenate}


every_mutation = pytest.mark.parametrize("mutate", [flipped, zeroed, averaged, with_one_entry_off])


@every_mutation
@pytest.mark.parametrize("case_name", THOROUGH)
def test_any_gradient_that_is_changed_is_found_and_named(case_name, mutate):
    check_that_changes_are_found(*draw(case_name), mutate)


@every_mutation
@every_model
def test_any_gradient_of_a_model_that_is_changed_is_found_and_named(name, mutate):
    model, slots, _ = draw_model(name, seed=0)
    check_that_changes_are_found(model, slots, mutate)


def check_that_changes_are_found(layer, x, mutate):
    """That the gradients of a layer or model are right, and each that is changed is the one that the check names."""
    report = check(layer, x)
    assert report.passed
    right = layer.backward
    owners = {"": layer, **dict(layers.named_layers(layer))}
    for line in report.arrays:
        owner_name, _, own_name = line["name"].rpartition(".")

        def wrong(dout, name=line["name"], grads=owners[owner_name].grads, own_name=own_name):
            dx = right(dout)
            if name == "x":
                return mutate(dx)
            if isinstance(grads[own_name], RowGradient):
                grads[own_name] = RowGradient(grads[own_name].slots, mutate(grads[own_name].values))
            else:
                grads[own_name] = mutate(grads[own_name])
            return dx

        layer.backward = wrong
        assert failing(check(layer, x)) == {line["name"]}


# ------------------------------------------------------------------------------- faults in tables


def lose_repeats(gradient):
    """grad[ids] += values: of the values of a repeated id only the last is kept."""
    rows, place = np.unique(gradient.slots.ids, return_inverse=True)
    sums = np.zeros((len(rows), *gradient.values.shape[1:]))
    sums[place.ravel()] += gradient.values
    return rows, sums


@pytest.mark.parametrize("kind", SLOT_KINDS)
@pytest.mark.parametrize("layer", ["Embedding", "Linear"])
def test_losing_repeated_ids_is_found(monkeypatch, kind, layer):
    layer, slots = draw(f"Embedding-{kind}-B4-M3-k3" if layer == "Embedding" else f"Linear-{kind}-B4-M3-w0")
    assert len(np.unique(slots.ids)) < slots.ids.size
    assert check(layer, slots).passed
    monkeypatch.setattr(RowGradient, "sum", lose_repeats)
    assert failing(check(layer, slots)) == set(layer.tables)


def embedding_without_x(self, dE):
    slots = self.cache["slots"]
    self.grads["V"] = RowGradient(slots, repeat_over_slots(dE, slots).reshape(-1, dE.shape[2]))


def embedding_of_first_slots(self, dE):
    slots = self.cache["slots"]
    dv = np.zeros((*slots.ids.shape, dE.shape[2]))
    dv[:, slots.starts] = dE
    self.grads["V"] = RowGradient(slots, (dv * slots.x[:, :, None]).reshape(-1, dE.shape[2]))


def linear_without_x(self, dout):
    slots = self.cache["slots"]
    self.grads["w0"] = dout.sum(keepdims=True)
    self.grads["w"] = RowGradient(slots, np.repeat(dout, slots.n_slots))


def linear_in_the_wrong_order(self, dout):
    slots = self.cache["slots"]
    self.grads["w0"] = dout.sum(keepdims=True)
    self.grads["w"] = RowGradient(slots, np.tile(dout, slots.n_slots) * slots.x.ravel())


@pytest.mark.parametrize(("case_name", "backward"), [
    ("Embedding-numbers-B4-M3-k3", embedding_without_x), ("Embedding-several-B4-M3-k3", embedding_without_x),
    ("Embedding-several-B4-M3-k3", embedding_of_first_slots),
    ("Linear-numbers-B4-M3-w0", linear_without_x), ("Linear-several-B4-M3-w0", linear_in_the_wrong_order),
])
def test_a_fault_in_the_gradient_of_a_table_is_found(case_name, backward):
    assert check(*draw(case_name)).passed
    layer, slots = draw(case_name, backward)
    assert failing(check(layer, slots)) == set(layer.tables)


# ------------------------------------------------------------------------------- faults in pairs


def pair_product(self, dpij, fault=None):
    """The product rule once more, pair by pair, with a fault in it on request."""
    E = self.cache["E"]
    dE = np.zeros_like(E)
    for pair, (i, j) in enumerate(loops.pairs(E.shape[1])):
        if fault != "no de_i":
            dE[:, i] += dpij[:, pair] * E[:, i if fault == "own vector in place of the other's" else j]
        if fault == "assigns":
            dE[:, j] = dpij[:, pair] * E[:, i]
        elif fault == "minus":
            dE[:, j] -= dpij[:, pair] * E[:, i]
        elif fault != "no de_j":
            dE[:, j] += dpij[:, pair] * E[:, i]
    return dE


def fm_pooling(self, dout, fault=None):
    E = self.cache["E"]
    total = self.cache["total"][:, None]
    return {None: dout[:, None] * (total - E), "no - e_i": dout[:, None] * (total + 0 * E),
            "+ e_i": dout[:, None] * (total + E), "2 e_i": dout[:, None] * (total - 2 * E),
            "half": 0.5 * dout[:, None] * (total - E)}[fault]


def factor_sum(self, dout, fault=None):
    x = self.cache["x"]
    dx = dout[:, None] * np.ones_like(x)
    return {None: dx, "times x": dx * x, "divided by k": dx / x.shape[1]}[fault]


def attention(self, dout, fault=None):
    """Attention pooling's derivative once more, every array in full, with a fault in it on request."""
    W, h = self.params["W"], self.params["h"]
    pij, r, a = (self.cache[name] for name in ("pij", "r", "aij"))
    r = r.reshape(*a.shape, -1)
    da = np.einsum("bpk,bk->bp", pij, dout)
    if fault == "no sum in the softmax":
        ds = a * da
    elif fault == "softmax over the rows":
        ds = softmax_backward(da, a, axis=0)
    elif fault == "softmax passed through":
        ds = da
    else:
        ds = softmax_backward(da, a, axis=1)
    on = np.ones_like(r) if fault == "relu passed through" else r > 0
    dz = ds[:, :, None] * on * (1 if fault == "no h" else h)
    self.grads["W"] = np.einsum("bpk,bpt->kt", pij, dz)
    self.grads["b"] = dz.sum(axis=0)[0] if fault == "b of the first pair" else dz.sum(axis=(0, 1))
    self.grads["h"] = np.einsum("bpt,bp->t", r, da if fault == "h before the softmax" else ds)
    dpool, dscore = np.einsum("bp,bk->bpk", a, dout), dz @ W.T
    if fault == "fork: pool alone":
        return dpool
    return dscore if fault == "fork: score alone" else dpool + dscore


# ------------------------------------------------------------------------------- faults in self-attention


def split_by_transpose(x, H):
    """(B, M, H d) -> (B, H, M, d)."""
    return x.reshape(*x.shape[:2], H, -1).transpose(0, 2, 1, 3)


def join_by_transpose(heads):
    """(B, H, M, d) -> (B, M, H d)."""
    return heads.transpose(0, 2, 1, 3).reshape(heads.shape[0], heads.shape[2], -1)


def split_by_reshape(x, H):
    """The right shape, with numbers of several fields in a place that should be one head's of one field."""
    return x.reshape(len(x), H, x.shape[1], -1)


def join_by_reshape(heads):
    return heads.reshape(heads.shape[0], heads.shape[2], -1)


def interacting(self, dout, fault=None, split=split_by_transpose, join=join_by_transpose):
    """The interacting layer's derivative once more, from its equations, with a fault in it on request."""
    if fault == "heads cut without a transpose":
        split = split_by_reshape
    if fault == "heads joined without a transpose":
        join = join_by_reshape
    E, Q, K, V, a = (self.cache[name] for name in ("E", "Q", "K", "V", "a"))
    if fault != "relu passed through":
        dout = dout * (self.cache["out"].reshape(dout.shape) > 0)
    dheads = split(dout, self.H)
    da = np.einsum("bhmd,bhkd->bhmk", dheads, V)
    dV = np.einsum("bhkm,bhmd->bhkd" if fault == "dV = a dheads" else "bhmk,bhmd->bhkd", a, dheads)
    dS = softmax_backward(da, a, axis=2 if fault == "softmax over the asking fields" else 3)
    if fault != "no scale":
        dS = dS * self.scale
    dQ = np.einsum("bhmk,bhkd->bhmd", dS, K)
    dK = np.einsum("bhkm,bhmd->bhkd" if fault == "dK = dS Q" else "bhmk,bhmd->bhkd", dS, Q)
    if fault == "dQ and dK exchanged":
        dQ, dK = dK, dQ
    dE = np.zeros_like(E)
    for name, dprojected in (("Q", join(dQ)), ("K", join(dK)), ("V", join(dV)), ("Res", dout)):
        W = self.params[f"W_{name}"]
        if self.qkv_activation == "relu":
            b = self.params[f"b_{name}"]
            if fault != "relu of the projections passed through":
                dprojected = dprojected * (E @ W + b > 0)
            self.grads[f"b_{name}"] = dprojected.sum(axis=0 if fault == "b of the first field" else (0, 1))
            if fault == "b of the first field":
                self.grads[f"b_{name}"] = self.grads[f"b_{name}"][0]
        self.grads[f"W_{name}"] = np.einsum("bmi,bmo->io", E, dprojected)
        if fault != f"fork: {name} forgotten":
            dE += dprojected @ W.T
    return dE


# ------------------------------------------------------------------------------- faults in the MLP


def dense(self, dout, fault=None):
    x, W = self.cache["x"], self.params["W"]
    self.grads["W"] = {None: x.T @ dout, "dW transposed": dout.T @ x}.get(fault, x.T @ dout)
    self.grads["b"] = dout.mean(axis=0) if fault == "mean for b" else dout.sum(axis=0)
    return dout @ (W if fault == "no transpose of W" else W.T)


def readout(self, dout, fault=None):
    x, p = self.cache["x"], self.params["p"]
    self.grads["p"] = x.sum(axis=0) if fault == "dp without dout" else dout @ x
    self.grads["b"] = dout[:1] if fault == "b of the first row" else dout.sum(keepdims=True)
    return np.tile(p, (len(x), 1)) if fault == "dx without dout" else dout[:, None] * p


def relu(self, dout, fault=None):
    x = self.cache["x"]
    return {None: dout * (x > 0), "passed through": dout, "by the sign of dout": dout * (dout > 0),
            "times out": dout * np.maximum(x, 0), "closed in place of open": dout * (x <= 0)}[fault]


def dropout(self, dout, fault=None):
    mask = self.cache["mask"]
    return {None: dout * mask, "no mask": dout, "not divided by 1 - rate": dout * (mask > 0),
            "dropped in place of kept": dout * (mask == 0)}[fault]


def normalise(self, dout, fault=None, axis=0):
    """Batch norm's derivative while training (axis 0), or layer norm's (axis 1), with a fault in it on request."""
    xhat, deviation = self.cache["xhat"], self.cache["deviation"]
    self.grads["gamma"] = (dout * (1 if fault == "gamma without xhat" else xhat)).sum(axis=0) * 1.0
    self.grads["beta"] = dout.sum(axis=0)
    dxhat = dout if fault == "no gamma" else dout * self.params["gamma"]
    axis = 1 - axis if fault == "means over the other axis" else axis
    via_mean = dxhat.mean(axis=axis, keepdims=True)
    via_var = xhat * (dxhat * xhat).mean(axis=axis, keepdims=True)
    if fault in ("mean taken for constant", "mean and variance taken for constants"):
        via_mean = 0
    if fault in ("variance taken for constant", "mean and variance taken for constants"):
        via_var = 0
    return (dxhat - via_mean - via_var) / (deviation ** 2 if fault == "variance in place of deviation" else deviation)


def mlp(self, dout, fault=None):
    dx = self.out.backward(dout)
    for i in (0, 1) if fault == "layers in the order of forward" else (1, 0):
        if fault != "no dropout":
            dx = self.dropout[i].backward(dx)
        if fault == "relu after batch norm":
            dx = self.relu[i].backward(self.norm[i].backward(dx))
        else:
            if fault != "no relu":
                dx = self.relu[i].backward(dx)
            through_norm = self.norm[i].backward(dx)              # fills the gradients of gamma and beta
            dx = dx if fault == "no batch norm" else through_norm
        dx = self.dense[i].backward(dx)
    return dx


FAULTS = {
    ("PairProduct-3x5x2", pair_product): [
        "no de_i", "no de_j", "own vector in place of the other's", "assigns", "minus"],
    ("FMPooling-3x5x2", fm_pooling): ["no - e_i", "+ e_i", "2 e_i", "half"],
    ("FactorSum-3x4", factor_sum): ["times x", "divided by k"],
    ("AttentionPooling-B3-P6-k2-t4", attention): [
        "no sum in the softmax", "softmax over the rows", "softmax passed through", "relu passed through", "no h",
        "b of the first pair", "h before the softmax", "fork: pool alone", "fork: score alone"],
    ("InteractingLayer-B2-M4-n3-H2-d2-scale_True", interacting): [
        "relu passed through", "heads cut without a transpose", "heads joined without a transpose", "dV = a dheads",
        "dK = dS Q", "dQ and dK exchanged", "softmax over the asking fields", "no scale", "fork: Q forgotten",
        "fork: K forgotten", "fork: V forgotten", "fork: Res forgotten"],
    ("InteractingLayer-B2-M3-n3-H2-d2-qkv_activation_relu", interacting): [
        "relu of the projections passed through", "b of the first field", "heads joined without a transpose"],
    ("Dense-2x3x3", dense): ["dW transposed", "mean for b", "no transpose of W"],
    ("Readout-B3-n4-b", readout): ["dp without dout", "b of the first row", "dx without dout"],
    ("ReLU-3x4", relu): ["passed through", "by the sign of dout", "times out", "closed in place of open"],
    ("Dropout-0.3-training-3x5", dropout): ["no mask", "not divided by 1 - rate", "dropped in place of kept"],
    ("BatchNorm-B5-n3-training", normalise): [
        "gamma without xhat", "no gamma", "mean taken for constant", "variance taken for constant",
        "mean and variance taken for constants", "variance in place of deviation", "means over the other axis"],
    ("LayerNorm-3x5", partial(normalise, axis=1)): [
        "gamma without xhat", "no gamma", "mean taken for constant", "variance taken for constant",
        "mean and variance taken for constants", "variance in place of deviation", "means over the other axis"],
    ("MLP-B4-n3-3-3-dropout-bn-training", mlp): [
        "no dropout", "no relu", "no batch norm", "relu after batch norm", "layers in the order of forward"],
}
SQUARE_MLP = oracles.mlp_case(4, 3, [3, 3], 0.3, use_bn=True, training=True)      # so that no fault shows by its shape
CASES_BY_NAME[SQUARE_MLP.name] = SQUARE_MLP


def with_fault(backward, fault):
    return lambda self, dout: backward(self, dout, fault=fault)


@pytest.mark.parametrize(("case_name", "backward"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_backward_passes_written_out_here_are_right_without_a_fault(case_name, backward):
    """They are second opinions: the layers' own give the same numbers."""
    layer, x = draw(case_name, with_fault(backward, None))
    report = check(layer, x)
    assert report.passed, report
    own, x = draw(case_name)
    dout = np.random.default_rng(1000).standard_normal(own.forward(x).shape)
    layer.forward(x)
    assert_allclose(own.backward(dout), layer.backward(dout), rtol=1e-10, atol=1e-12)
    for name, gradient in gradients(own).items():
        assert_allclose(gradient, gradients(layer)[name], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("case_name", "backward", "fault"), [
    pytest.param(*key, fault, id=f"{key[0]}-{fault}") for key, faults in FAULTS.items() for fault in faults])
def test_a_fault_in_a_backward_pass_is_found(case_name, backward, fault):
    assert not check(*draw(case_name, with_fault(backward, fault))).passed


def test_a_layer_norm_left_out_of_backward_is_found():
    layer, x = draw("InteractingLayer-B2-M3-n3-H2-d2-layer_norm_True")
    assert check(layer, x).passed
    right = layer.norm.backward

    def skip(dout):
        right(dout)                     # fills the gradients of gamma and beta
        return dout

    layer.norm.backward = skip
    assert failing(check(layer, x)) == {"x", "W_Q", "W_K", "W_V", "W_Res"}


@pytest.mark.parametrize("case_name", [
    "AttentionPooling-B3-P6-k2-t4-dropout", "InteractingLayer-B2-M4-n3-H2-d2-dropout"])
def test_attention_dropout_left_out_of_backward_is_found(case_name):
    layer, x = draw(case_name)
    assert check(layer, x).passed
    layer.dropout.backward = lambda dweight: dweight
    assert "x" in failing(check(layer, x))


@pytest.mark.parametrize(("module", "case_name"), [
    (attention_pooling, "AttentionPooling-B3-P6-k2-t4"), (self_attention, "InteractingLayer-B2-M4-n3-H2-d2")],
    ids=["AttentionPooling", "InteractingLayer"])
@pytest.mark.parametrize("broken", [
    lambda da, a, axis: np.zeros_like(a), lambda da, a, axis: a * da, lambda da, a, axis: a * (1 - a) * da,
    lambda da, a, axis: softmax_backward(da, a, axis=0),
], ids=["zeros", "no sum", "diagonal alone", "wrong axis"])
def test_a_broken_softmax_backward_is_found(monkeypatch, module, case_name, broken):
    layer, x = draw(case_name)
    monkeypatch.setattr(module, "softmax_backward", broken)
    assert "x" in failing(check(layer, x))


# ------------------------------------------------------------------------------- faults in models


def lr(self, ds, fault=None):
    self.linear.backward(-ds if fault == "minus" else ds / len(ds) if fault == "divided by B once more" else ds)


def fm(self, ds, fault=None):
    dpooled = np.repeat(ds[:, None], self.embedding_dim, axis=1)
    dE = self.pooling.backward(dpooled)
    self.embedding.backward(dpooled[:, None] + 0 * dE if fault == "past the pooling" else dE)
    self.linear.backward(np.ones_like(ds) if fault == "first order without ds" else ds)


def afm(self, ds, fault=None):
    """``past the projection``: as if p were 1."""
    dpooled = self.projection.backward(ds)
    if fault == "past the projection":
        dpooled = np.repeat(ds[:, None], self.embedding_dim, axis=1)
    dpij = self.attention.backward(dpooled)
    if fault == "past the attention":
        dpij = np.repeat(dpooled[:, None] / dpij.shape[1], dpij.shape[1], axis=1)
    self.embedding.backward(self.pairs.backward(dpij))
    self.linear.backward(ds)


def autoint(self, ds, fault=None):
    dE = self.readout.backward(ds).reshape(len(ds), -1, self.num_heads * self.attention_dim)
    for layer in self.interacting if fault == "layers in the order of forward" else self.interacting[::-1]:
        dE = layer.backward(dE)
    if self.mlp:
        dE_deep = self.mlp.backward(ds).reshape(dE.shape)
        dE = {None: dE + dE_deep, "fork: deep part forgotten": dE, "fork: attention forgotten": dE_deep}[fault]
    self.embedding.backward(dE)


def deepfm(self, ds, fault=None):
    dE_deep = self.mlp.backward(ds).reshape(len(ds), -1, self.embedding_dim)
    dE_FM = self.pooling.backward(np.repeat(ds[:, None], self.embedding_dim, axis=1))
    self.embedding.backward({"fork: FM forgotten": dE_deep, "fork: deep part forgotten": dE_FM}.get(
        fault, dE_FM + dE_deep))
    self.linear.backward(ds)


def ffm(self, ds, fault=None):
    """``swapped``: E_ij gets the gradient of E_ji.   ``one vector``: all fields' vectors get the sum."""
    P = self.products.cache["out"].shape[1]
    dE = self.products.backward(np.repeat(ds[:, None], P, axis=1))
    if fault == "swapped":
        dE = dE.swapaxes(1, 2)
    if fault == "one vector":
        dE = np.repeat(dE.sum(axis=2, keepdims=True), dE.shape[2], axis=2)
    self.embedding.backward(dE.reshape(*dE.shape[:2], -1))
    self.linear.backward(ds)


def fwfm(self, ds, fault=None):
    """``past the strength``: as if r were 1."""
    dproducts = self.strength.backward(ds)
    if fault == "past the strength":
        dproducts = np.repeat(ds[:, None], dproducts.shape[1], axis=1)
    self.embedding.backward(self.products.backward(dproducts))
    self.linear.backward(ds)


def hofm(self, ds, fault=None):
    dpooled = np.repeat(ds[:, None], self.embedding_dim, axis=1)
    dE, dU = self.pooling.backward(dpooled), self.triple_pooling.backward(dpooled)
    if fault == "tables swapped":
        dE, dU = dU, dE
    self.embedding.backward(dE)
    self.triple_embedding.backward(dU if fault != "pairs for triples" else self.pooling.backward(dpooled))
    self.linear.backward(ds)


def nfm(self, ds, fault=None):
    """``past the MLP``: as if s were the sum of the pooled vector."""
    df = self.mlp.backward(ds)
    if fault == "past the MLP":
        df = np.repeat(ds[:, None], self.embedding_dim, axis=1)
    self.embedding.backward(self.pooling.backward(df))
    self.linear.backward(ds if fault != "first order twice" else 2 * ds)


def fnn(self, ds, fault=None):
    dfirst_order, dE = self.inputs.backward(self.mlp.backward(ds))
    if fault == "terms without w_0":
        dfirst_order = np.roll(dfirst_order, 1, axis=1)
    self.embedding.backward(dE[:, ::-1] if fault == "fields in reverse" else dE)
    self.linear.backward(dfirst_order)


def pnn(self, ds, fault=None):
    dE, dinner, douter = self.inputs.backward(self.mlp.backward(ds))
    parts = {"E": dE, "inner": self.inner.backward(dinner), "outer": self.outer.backward(douter)}
    self.embedding.backward(sum(part for name, part in parts.items() if fault != f"fork: {name} forgotten"))


def wide_deep(self, ds, fault=None):
    dE = self.mlp.backward(ds).reshape(len(ds), -1, self.embedding_dim)
    self.embedding.backward(dE.swapaxes(1, 2).reshape(dE.shape) if fault == "fields mixed" else dE)
    self.crossed.backward(-ds if fault == "crosses with a minus" else ds)
    self.linear.backward(ds)


def deep_crossing(self, ds, fault=None):
    dx = self.readout.backward(ds)
    for unit in self.units if fault == "units in the order of forward" else self.units[::-1]:
        dx = unit.backward(dx)
    self.embedding.backward(dx.reshape(len(ds), -1, self.embedding_dim))


def dcn(self, ds, fault=None):
    dxL, daL = self.towers.backward(self.readout.backward(ds))
    dcross, ddeep = self.cross.backward(dxL), self.mlp.backward(daL)
    dx0 = {None: dcross + ddeep, "fork: deep part forgotten": dcross, "fork: crosses forgotten": ddeep}[fault]
    self.embedding.backward(dx0.reshape(len(ds), -1, self.embedding_dim))


def xdeepfm(self, ds, fault=None):
    dE_CIN = self.cin.backward(self.cin_readout.backward(ds))
    dE_DNN = self.mlp.backward(ds).reshape(dE_CIN.shape)
    self.embedding.backward({None: dE_CIN + dE_DNN, "fork: deep part forgotten": dE_CIN, "fork: CIN forgotten": dE_DNN}[
        fault])
    self.linear.backward(ds)


V = "embedding.V"
MODEL_FAULTS = {        # {class: [(variant, settings, its backward once more, {fault: the gradients that show it})]}
    LR: [("LR", {}, lr, {"minus": {"linear.w", "linear.w0"}, "divided by B once more": {"linear.w", "linear.w0"}})],
    FM: [("FM", {}, fm, {"past the pooling": {V}, "first order without ds": {"linear.w", "linear.w0"}})],
    AFM: [("AFM", {}, afm, {
        "past the projection": {V, "attention.W", "attention.b", "attention.h"}, "past the attention": {V}})],
    AutoInt: [
        # with as many numbers a field everywhere (embedding_dim = H d), so that no shape gives it away
        ("AutoInt", {"embedding_dim": 4}, autoint, {"layers in the order of forward": {
            V, *(f"interacting_{layer}.W_{of}" for layer in (1, 2) for of in ("Q", "K", "V", "Res"))}}),
        ("AutoInt+", {"embedding_dim": 4}, autoint, {
            "fork: deep part forgotten": {V}, "fork: attention forgotten": {V}})],
    DeepFM: [("DeepFM", {}, deepfm, {"fork: FM forgotten": {V}, "fork: deep part forgotten": {V}})],
    FFM: [("FFM", {}, ffm, {"swapped": {V}, "one vector": {V}})],
    FwFM: [("FwFM", {}, fwfm, {"past the strength": {V}})],
    HOFM: [("HOFM", {}, hofm, {
        "tables swapped": {V, "triple_embedding.V"}, "pairs for triples": {"triple_embedding.V"}})],
    NFM: [("NFM", {}, nfm, {"past the MLP": {V}, "first order twice": {"linear.w", "linear.w0"}})],
    FNN: [("FNN", {}, fnn, {"terms without w_0": {"linear.w", "linear.w0"}, "fields in reverse": {V}})],
    PNN: [("PNN", {"product": "both"}, pnn, {f"fork: {part} forgotten": {V} for part in ("E", "inner", "outer")})],
    WideDeep: [("WideDeep", {}, wide_deep, {"fields mixed": {V}, "crosses with a minus": {"crossed.w"}})],
    DeepCrossing: [("DeepCrossing", {}, deep_crossing, {"units in the order of forward": {
        V, *(f"units_{unit}.{W}" for unit in (1, 2) for W in ("W_1", "W_2", "b_1", "b_2"))}})],
    DCN: [("DCN", {}, dcn, {"fork: deep part forgotten": {V}, "fork: crosses forgotten": {V}})],
    XDeepFM: [("XDeepFM", {}, xdeepfm, {"fork: deep part forgotten": {V}, "fork: CIN forgotten": {V}})],
}
each_model_with_faults = pytest.mark.parametrize(("name", "settings", "backward", "faults"), [
    pytest.param(*case, id=case[0]) for cases in MODEL_FAULTS.values() for case in cases])


def test_every_model_is_mutated():
    for name, cls in MODELS.items():
        assert any(faults for *_, faults in MODEL_FAULTS.get(cls, [])), (
            f"{name} has no faults: write its backward once more here, with what one could get wrong in it, and enter "
            f"it in MODEL_FAULTS")


def draw_faulty(name, settings, backward, fault):
    """A variant with another backward pass, and Slots."""
    model, slots, _ = draw_model(name, seed=0, **settings)
    model.backward = types.MethodType(with_fault(backward, fault), model)
    return model, slots


@each_model_with_faults
def test_the_backward_passes_of_models_written_out_here_are_right_without_a_fault(name, settings, backward, faults):
    assert check(*draw_faulty(name, settings, backward, None)).passed


@each_model_with_faults
def test_a_fault_in_the_backward_pass_of_a_model_is_found(name, settings, backward, faults):
    for fault, shows_in in faults.items():
        assert failing(check(*draw_faulty(name, settings, backward, fault))) == shows_in, fault


class FMWithoutFirstOrder(FM):
    def backward(self, ds):
        E = self.pooling.cache["E"]
        self.embedding.backward(self.pooling.backward(np.repeat(ds[:, None], E.shape[2], axis=1)))


def as_class(cls, name):
    """A random model of MODEL_SETTINGS turned into one of a class with another backward or forward."""
    model, slots, expected = draw_model(name, seed=0)
    model.__class__ = cls
    return model, slots, expected


def test_a_forgotten_layer_is_named():
    model, slots, _ = as_class(FMWithoutFirstOrder, "FM")
    with pytest.raises(ValueError, match=r"linear\.w has shape \(9,\), but backward left none"):
        check(model, slots)


# ------------------------------------------------------------------------------- what a gradient check cannot see


def softmax_of_one(s, axis):
    """The softmax of the AFM authors' program: scores (B, P, 1), the last axis, so that every weight is 1."""
    return softmax(s[..., None], axis=-1)[..., 0]


def softmax_of_one_backward(da, a, axis):
    return softmax_backward(da[..., None], a[..., None], axis=-1)[..., 0]


def softmax_of_rows(s, axis):
    return softmax(s, axis=0)


def softmax_of_rows_backward(da, a, axis):
    return softmax_backward(da, a, axis=0)


@pytest.mark.parametrize("wrong", [
    (softmax_of_one, softmax_of_one_backward), (softmax_of_rows, softmax_of_rows_backward)],
    ids=["last axis of 1", "over the rows"])
def test_a_softmax_over_the_wrong_axis_passes_the_gradient_check_alone(monkeypatch, wrong):
    """hexiangnan/attentional_factorization_machine#19: forward and backward agree, about the wrong function."""
    case = CASES_BY_NAME["AttentionPooling-B3-P6-k2-t4"]
    layer, pij, expected = case.draw(seed=0)
    for name, function in zip(("softmax", "softmax_backward"), wrong, strict=True):
        monkeypatch.setattr(attention_pooling, name, function)
    assert check(layer, pij).passed

    out = layer.forward(pij)
    assert np.abs(out - expected).max() > 0.01                    # the equation as loops
    assert np.abs(layer.cache["aij"].sum(axis=1) - 1).max() > 0.01        # the weights of a row sum to 1
    if wrong[0] is softmax_of_rows:                               # a row alone gives what it gives in a batch
        assert np.abs(layer.forward(pij[:1]) - out[:1]).max() > 0.01
    else:
        assert (layer.cache["aij"] == 1).all()


def test_a_whole_afm_with_that_softmax_passes_the_gradient_check_alone(monkeypatch):
    model, slots, expected = draw_model("AFM", seed=0)
    monkeypatch.setattr(attention_pooling, "softmax", softmax_of_one)
    monkeypatch.setattr(attention_pooling, "softmax_backward", softmax_of_one_backward)
    assert check(model, slots).passed
    assert np.abs(model.forward(slots) - expected).max() > 0.01


class HeadsByReshape(InteractingLayer):
    """Heads cut and joined by plain reshapes, forward and backward alike."""

    def forward(self, E):
        Q, K, V = (split_by_reshape(E @ self.params[f"W_{name}"], self.H) for name in "QKV")
        a = softmax(np.einsum("bhmd,bhkd->bhmk", Q, K), axis=3)
        out = join_by_reshape(np.einsum("bhmk,bhkd->bhmd", a, V)) + E @ self.params["W_Res"]
        out = np.maximum(out, 0)
        self.cache = {"E": E, "Q": Q, "K": K, "V": V, "a": a, "out": out}
        return out

    def backward(self, dout):
        return interacting(self, dout, split=split_by_reshape, join=join_by_reshape)


def permutation_errors(layer, E, order):
    """How far output and attention are from being permuted with the fields."""
    out = layer.forward(E)
    a = layer.cache["a"]
    permuted = layer.forward(np.ascontiguousarray(E[:, order]))
    return (np.abs(permuted - out[:, order]).max(),
            np.abs(layer.cache["a"] - a[:, :, order][:, :, :, order]).max())


def test_heads_without_a_transpose_pass_the_gradient_check_and_sum_to_1():
    """reczoo/FuxiCTR#30: only the equation as loops, or a permutation of the fields, tells."""
    layer, E, expected = CASES_BY_NAME["InteractingLayer-B2-M4-n3-H2-d2"].draw(seed=0)
    order = [2, 0, 3, 1]
    assert max(permutation_errors(layer, E, order)) < 1e-12

    layer.__class__ = HeadsByReshape
    assert check(layer, E).passed
    layer.forward(E)
    assert_allclose(layer.cache["a"].sum(axis=3), 1, rtol=1e-12)
    assert np.abs(layer.forward(E) - expected).max() > 0.01
    assert min(permutation_errors(layer, E, order)) > 0.01


def test_with_one_head_that_reshape_is_no_fault():
    """Why a test of heads needs at least two."""
    layer, E, expected = CASES_BY_NAME["InteractingLayer-B2-M3-n2-H1-d3"].draw(seed=0)
    layer.__class__ = HeadsByReshape
    assert_allclose(layer.forward(E), expected, rtol=1e-12)


class FMThatReturnsProbabilities(FM):
    """A sigmoid in the model, beside that of the loss (d2l-ai/d2l-en#1360)."""

    def forward(self, slots):
        self.p_click = sigmoid(super().forward(slots))
        return self.p_click

    def backward(self, ds):
        super().backward(ds * self.p_click * (1 - self.p_click))


def test_a_sigmoid_in_the_model_passes_the_gradient_check_alone():
    model, slots, expected = as_class(FMThatReturnsProbabilities, "FM")
    assert check(model, slots).passed
    assert np.abs(model.forward(slots) - expected).max() > 0.01


# ------------------------------------------------------------------------------- the optimizer


class AdamWithoutTheCount(Adam):
    """Corrections that divide by 1 - beta in place of 1 - beta^t (eriklindernoren/ML-From-Scratch#35)."""

    def update(self, param, grad, state, learning_rate):
        t, self.t = self.t, 1
        super().update(param, grad, state, learning_rate)
        self.t = t


@pytest.mark.parametrize(("t", "times_too_long"), [(1, 1.0), (10, 2.06), (10_000, 0.316)])
def test_adam_without_the_count_of_steps_shows_at_a_constant_gradient(t, times_too_long):
    """Not in its first step: that is the same."""
    lengths = []
    for optimizer in (Adam(0.01), AdamWithoutTheCount(0.01)):
        w = np.zeros(1)
        for _ in range(t):
            before = w.copy()
            optimizer.step({"w": w}, {"w": np.array([3.0])})
        lengths.append(float(before[0] - w[0]))
    assert lengths[0] == pytest.approx(0.01, rel=1e-4)
    assert lengths[1] == pytest.approx(0.01 * times_too_long, rel=0.01)
