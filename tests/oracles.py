"""The papers' equations as loops over single numbers, and random layers and models to hold against them.

The first part calls no layer of minictr and broadcasts nothing: each function reads plain parameters, goes through
rows, fields, pairs, heads and numbers one at a time, and returns nested lists of floats. Slow, and easy to compare
with the equation. The second part draws the layers, models and inputs of the tests.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import numpy as np
from models import build_layers, small

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
    ReLU,
    named_layers,
    parameters,
)
from minictr.slots import Slots

NORM_EPS = 1e-5         # under the root of batch norm and layer norm

# ------------------------------------------------------------------------------------------- small pieces


def numbers(array):
    """Nested lists of Python floats: float64, whatever the array was."""
    return np.asarray(array, dtype=np.float64).tolist()


@dataclasses.dataclass
class Watch:
    """How near the oracles came to places where numeric derivatives are worthless: kinks and vanishing variances."""

    relu_input: float = math.inf
    variance: float = math.inf

    def reset(self):
        self.relu_input = self.variance = math.inf


watch = Watch()


def relu(z):
    watch.relu_input = min(watch.relu_input, abs(z))
    return z if z > 0 else 0.0


def mean_and_variance(values):
    mean = sum(values) / len(values)
    var = sum((value - mean) ** 2 for value in values) / len(values)
    if var > 0:                         # exactly 0 (one value, or all cut off by a ReLU) is harmless: it stays 0
        watch.variance = min(watch.variance, var)
    return mean, var


def dot(u, v):
    assert len(u) == len(v)
    return sum(u[f] * v[f] for f in range(len(u)))


def column(W, c):
    return [row[c] for row in W]


def softmax(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def normalised(values, gamma, beta):
    """Mean 0 and variance 1 over a list of numbers, then each its scale and shift (layer norm of one row)."""
    mean, var = mean_and_variance(values)
    return [gamma[c] * (values[c] - mean) / math.sqrt(var + NORM_EPS) + beta[c] for c in range(len(values))]


def pairs(M):
    return [(i, j) for i in range(M) for j in range(i + 1, M)]


# ------------------------------------------------------------------------------------------- slots


def slots_of_field(slots, i):
    starts = [*slots.starts.tolist(), slots.ids.shape[1]]
    return range(starts[i], starts[i + 1])


def slot_weight(slots, b, s):
    return 1.0 if slots.x is None else float(slots.x[b, s])


def embedding(V, slots):
    """e_i = sum over the slots s of field i of V[id_s] x_s."""
    V = numbers(V)
    k = len(V[0])
    E = []
    for b in range(len(slots.ids)):
        E.append([])
        for i in range(len(slots.starts)):
            e = [0.0] * k
            for s in slots_of_field(slots, i):
                for f in range(k):
                    e[f] += V[int(slots.ids[b, s])][f] * slot_weight(slots, b, s)
            E[b].append(e)
    return E


def linear(w, w0, slots):
    """w_0 + sum_i w_i x_i; w0 None leaves the bias out."""
    w, w0 = numbers(w), 0.0 if w0 is None else numbers(w0)[0]
    out = []
    for b in range(len(slots.ids)):
        total = w0
        for s in range(slots.ids.shape[1]):
            total += w[int(slots.ids[b, s])] * slot_weight(slots, b, s)
        out.append(total)
    return out


# ------------------------------------------------------------------------------------------- pairs and attention


def pair_product(E):
    """p_ij = e_i * e_j for i < j (AFM, eq. 2)."""
    E = numbers(E)
    return [[[row[i][f] * row[j][f] for f in range(len(row[i]))] for i, j in pairs(len(row))] for row in E]


def fm_pooling(E):
    """sum_{i<j} e_i * e_j, pair by pair."""
    out = []
    for row in numbers(E):
        total = [0.0] * len(row[0])
        for i, j in pairs(len(row)):
            for f in range(len(total)):
                total[f] += row[i][f] * row[j][f]
        out.append(total)
    return out


def pair_attention(pij, W, b, h):
    """a_ij = softmax over the pairs of h . relu(W^T p_ij + b) (AFM, eq. 5): one list a row."""
    pij, W, b, h = numbers(pij), numbers(W), numbers(b), numbers(h)
    out = []
    for row in pij:
        scores = []
        for p in row:
            hidden = [relu(dot(p, column(W, unit)) + b[unit]) for unit in range(len(b))]
            scores.append(dot(h, hidden))
        out.append(softmax(scores))
    return out


def attention_pooling(pij, W, b, h, mask=None):
    """sum_ij a_ij p_ij (AFM, eq. 4); each a_ij times its ``mask``, where there is one."""
    pij, a = numbers(pij), pair_attention(pij, W, b, h)
    out = []
    for row in range(len(pij)):
        total = [0.0] * len(pij[row][0])
        for pair in range(len(pij[row])):
            weight = a[row][pair] * (1.0 if mask is None else float(mask[row, pair]))
            for f in range(len(total)):
                total[f] += weight * pij[row][pair][f]
        out.append(total)
    return out


def projected(e, params, name, h, d, qkv_activation):
    """W_name e of head h, d numbers; relu(W_name e + b_name) where asked for.

    Head h owns the columns h d, ..., h d + d - 1.
    """
    out = []
    for c in range(h * d, h * d + d):
        z = dot(e, column(params[f"W_{name}"], c))
        out.append(relu(z + params[f"b_{name}"][c]) if qkv_activation == "relu" else z)
    return out


def field_attention(E, params, H, d, scale=False, qkv_activation=None):
    """a[row][h][m][k] = softmax over k of (W_Q e_m) . (W_K e_k) (AutoInt, eq. 5)."""
    E, params = numbers(E), {name: numbers(array) for name, array in params.items()}
    out = []
    for row in E:
        heads = []
        for h in range(H):
            of_head = []
            for e_m in row:
                query = projected(e_m, params, "Q", h, d, qkv_activation)
                scores = []
                for e_k in row:
                    score = dot(query, projected(e_k, params, "K", h, d, qkv_activation))
                    scores.append(score / math.sqrt(d) if scale else score)
                of_head.append(softmax(scores))
            heads.append(of_head)
        out.append(heads)
    return out


def interacting(E, params, H, d, scale=False, residual=True, qkv_activation=None, norm=None, mask=None):
    """relu([heads of sum_k a_mk W_V e_k] + W_Res e_m) (AutoInt, eq. 6-8).

    ``norm``: gamma and beta of the layer norm after it, or None.   ``mask``: of the attention weights.
    """
    a = field_attention(E, params, H, d, scale, qkv_activation)
    E, params = numbers(E), {name: numbers(array) for name, array in params.items()}
    out = []
    for b in range(len(E)):
        fields = []
        for m in range(len(E[b])):
            e_out = []
            for h in range(H):
                values = [projected(e_k, params, "V", h, d, qkv_activation) for e_k in E[b]]
                rest = projected(E[b][m], params, "Res", h, d, qkv_activation) if residual else [0.0] * d
                for c in range(d):
                    gathered = 0.0
                    for k in range(len(E[b])):
                        weight = a[b][h][m][k] * (1.0 if mask is None else float(mask[b, h, m, k]))
                        gathered += weight * values[k][c]
                    e_out.append(relu(gathered + rest[c]))
            fields.append(e_out if norm is None else normalised(e_out, numbers(norm["gamma"]), numbers(norm["beta"])))
        out.append(fields)
    return out


# ------------------------------------------------------------------------------------------- the parts of an MLP


def dense(x, W, b):
    x, W, b = numbers(x), numbers(W), numbers(b)
    return [[dot(row, column(W, c)) + b[c] for c in range(len(b))] for row in x]


def readout(x, w, b=None):
    x, w = numbers(x), numbers(w)
    return [dot(row, w) + (0.0 if b is None else numbers(b)[0]) for row in x]


def batch_norm(x, params, state, training):
    """Each column by its own mean and variance while training, by the running ones while predicting."""
    x, gamma, beta = numbers(x), numbers(params["gamma"]), numbers(params["beta"])
    out = [[0.0] * len(gamma) for _ in x]
    for c in range(len(gamma)):
        if training:
            mean, var = mean_and_variance(column(x, c))
        else:
            mean, var = float(state["mean"][c]), float(state["var"][c])
        for b in range(len(x)):
            out[b][c] = gamma[c] * (x[b][c] - mean) / math.sqrt(var + NORM_EPS) + beta[c]
    return out


def mlp(x, layer):
    """a^{l+1} = relu(a^l W^l + b^l), out = a^L . w + b (DeepFM, eq. 3-4), with the layer's batch norm and masks."""
    a = numbers(x)
    for i in range(len(layer.dense)):
        a = dense(a, layer.dense[i].params["W"], layer.dense[i].params["b"])
        if layer.norm:
            a = batch_norm(a, layer.norm[i].params, layer.norm[i].state, layer.norm[i].training)
        a = [[relu(z) for z in row] for row in a]
        if layer.dropout[i].training and layer.dropout[i].rate:
            mask = numbers(layer.dropout[i].cache["mask"])
            a = [[a[b][c] * mask[b][c] for c in range(len(a[b]))] for b in range(len(a))]
    return readout(a, layer.out.params["w"], layer.out.params.get("b")) if layer.out else a


# ------------------------------------------------------------------------------------------- models: logits


def logits(model, slots):
    """The model's logits while predicting, (B,), from its parameters and settings alone."""
    name = type(model).__name__
    assert name in MODELS, f"{name} has no oracle: write {name.lower()}_logits(model, slots), entered in MODELS here"
    return np.array(MODELS[name](model, slots))


def lr_logits(model, slots):
    return linear(model.linear.params["w"], model.linear.params["w0"], slots)


def fm_logits(model, slots):
    """w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    E = embedding(model.embedding.params["V"], slots)
    for b in range(len(out)):
        for i, j in pairs(len(E[b])):
            out[b] += dot(E[b][i], E[b][j])
    return out


def afm_logits(model, slots):
    """w_0 + sum_i w_i x_i + p . sum_{i<j} a_ij (v_i * v_j) x_i x_j."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    pij = pair_product(embedding(model.embedding.params["V"], slots))
    net = model.attention.params
    pooled = attention_pooling(pij, net["W"], net["b"], net["h"])
    p = numbers(model.projection.params["p"])
    for b in range(len(out)):
        out[b] += dot(p, pooled[b])
    return out


def concatenated(fields):
    return [number for e in fields for number in e]


def autoint_logits(model, slots):
    """w . [e^L_1; ...; e^L_M] + b; with deep_layers (AutoInt+) the MLP's output on [e_1; ...; e_M] is added."""
    E = embedding(model.embedding.params["V"], slots)
    e = E
    for layer in model.interacting:
        e = interacting(e, layer.params, model.num_heads, model.attention_dim, model.scale, model.residual,
                        model.qkv_activation, layer.norm.params if model.layer_norm else None)
    out = readout([concatenated(row) for row in e], model.readout.params["w"], model.readout.params["b"])
    if model.first_order:
        first_order = linear(model.linear.params["w"], None, slots)
        out = [out[b] + first_order[b] for b in range(len(out))]
    if model.deep_layers:
        deep = mlp([concatenated(row) for row in E], model.mlp)
        out = [out[b] + deep[b] for b in range(len(out))]
    return out


def deepfm_logits(model, slots):
    """sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j + MLP([e_1; ...; e_M])."""
    out = linear(model.linear.params["w"], None, slots)
    E = embedding(model.embedding.params["V"], slots)
    deep = mlp([concatenated(row) for row in E], model.mlp)
    for b in range(len(out)):
        for i, j in pairs(len(E[b])):
            out[b] += dot(E[b][i], E[b][j])
        out[b] += deep[b]
    return out


MODELS = {"LR": lr_logits, "FM": fm_logits, "AFM": afm_logits, "AutoInt": autoint_logits, "DeepFM": deepfm_logits}


# =========================================================================================== what is tested

N_VALUES = 9            # rows of every table here; the last one is never looked up
SLOT_KINDS = ("categories", "numbers", "several")


def random_slots(rng, B, M, kind):
    """B rows of M fields: categories (x = 1), numbers (any x, 0 included), or several weighted slots in a field.

    Ids are repeated over rows and, in the first row at least, within a row.
    """
    widths = [1 + (i + 1) % 3 if kind == "several" else 1 for i in range(M)]
    S = sum(widths)
    ids = rng.integers(0, N_VALUES - 1, (B, S))
    ids[0, -1] = ids[0, 0]
    x = None
    if kind == "numbers":
        x = rng.standard_normal((B, S))
        x[-1, 0] = 0
    elif kind == "several":
        x = np.repeat(1 / np.array(widths), widths) * np.ones((B, 1))
        x[0, 1] = 0                                               # as in a row with fewer values: padding
    return Slots(ids, x, np.cumsum([0, *widths[:-1]]))


def randomize(owner, rng):
    """Give every parameter and running mean a random value: where one is 0 or 1, faults hide."""
    for array in parameters(owner).values():
        array[...] = 0.6 * rng.standard_normal(array.shape)
    for _, layer in [("", owner), *named_layers(owner)]:
        for name, array in getattr(layer, "state", {}).items():
            array[...] = rng.uniform(0.5, 2, array.shape) if name == "var" else rng.standard_normal(array.shape)


class SameNumbers:
    """A random generator that starts anew at every draw: dropout then has the same mask in every forward pass."""

    def __init__(self, seed):
        self.seed = seed

    def __getattr__(self, name):
        return getattr(np.random.default_rng(self.seed), name)


def fix_dropout_masks(owner):
    for i, (_, layer) in enumerate([("", owner), *named_layers(owner)]):
        if isinstance(layer, Dropout):
            layer.rng = SameNumbers(i)


def set_training(owner, on):
    for _, layer in [("", owner), *named_layers(owner)]:
        layer.training = on


def well_conditioned(draw, rng):
    """Repeat ``draw(rng)``, (owner, x, expected output), until a gradient check can work on what it draws."""
    for _ in range(1000):
        watch.reset()
        drawn = draw(rng)
        if watch.relu_input > 1e-4 and watch.variance > 1e-3:
            return drawn
    raise AssertionError("1000 draws, and all came too near to a ReLU's kink or to a variance of 0")


@dataclasses.dataclass
class Case:
    """A kind of layer at one shape: how to build it, how to draw its input, and what its output should be."""

    name: str
    build: Callable                 # (rng, dtype) -> layer
    draw_x: Callable                # (rng) -> float64 array or Slots
    oracle: Callable                # (layer, x) -> nested lists
    training: bool = False
    rows_mix: bool = False          # whether a row's output depends on the other rows (batch norm while training)

    def draw(self, seed, dtype=np.float64):
        """A random layer, an input fit for a gradient check, and the output that the oracle computes for them."""
        def once(rng):
            layer = self.build(rng, dtype)
            randomize(layer, rng)
            fix_dropout_masks(layer)
            set_training(layer, self.training)
            x = self.draw_x(rng)
            if not isinstance(x, Slots):
                x = x.astype(dtype)
            if self.training:
                layer.forward(x)                                  # fills the masks that the oracles read
            return layer, x, np.array(self.oracle(layer, x))

        return well_conditioned(once, np.random.default_rng(seed))


def normal(*shape):
    return lambda rng: rng.standard_normal(shape)


def embedding_case(B, M, k, kind):
    return Case(f"Embedding-{kind}-B{B}-M{M}-k{k}", lambda rng, dtype: Embedding(N_VALUES, k, rng, dtype=dtype),
                partial(random_slots, B=B, M=M, kind=kind), lambda layer, x: embedding(layer.params["V"], x))


def linear_case(B, M, kind, bias):
    return Case(f"Linear-{kind}-B{B}-M{M}-{'w0' if bias else 'no_w0'}",
                lambda rng, dtype: Linear(N_VALUES, bias=bias, dtype=dtype),
                partial(random_slots, B=B, M=M, kind=kind),
                lambda layer, x: linear(layer.params["w"], layer.params.get("w0"), x))


def attention_case(B, P, k, t, dropout=0.0):
    return Case(f"AttentionPooling-B{B}-P{P}-k{k}-t{t}" + ("-dropout" if dropout else ""),
                lambda rng, dtype: AttentionPooling(k, t, rng, dropout, dtype=dtype), normal(B, P, k),
                lambda layer, x: attention_pooling(x, **layer.params, mask=layer.dropout.cache.get("mask")),
                training=dropout > 0)


def interacting_case(B, M, n_in, H, d, dropout=0.0, **options):
    def oracle(layer, x):
        of_equation = {name: value for name, value in options.items() if name != "layer_norm"}
        return interacting(x, layer.params, H, d, **of_equation,
                           norm=layer.norm.params if options.get("layer_norm") else None,
                           mask=layer.dropout.cache.get("mask"))

    words = [f"{name}_{value}" for name, value in options.items()] + (["dropout"] if dropout else [])
    return Case("-".join([f"InteractingLayer-B{B}-M{M}-n{n_in}-H{H}-d{d}", *words]),
                lambda rng, dtype: InteractingLayer(n_in, H, d, rng, dropout=dropout, dtype=dtype, **options),
                normal(B, M, n_in), oracle, training=dropout > 0)


def readout_case(B, n, bias):
    return Case(f"Readout-B{B}-n{n}-{'b' if bias else 'no_b'}",
                lambda rng, dtype: Readout(n, start=1.0, symbol="p", bias=bias, dtype=dtype), normal(B, n),
                lambda layer, x: readout(x, layer.params["p"], layer.params.get("b")))


def batch_norm_case(B, n, training):
    return Case(f"BatchNorm-B{B}-n{n}-{'training' if training else 'predicting'}",
                lambda rng, dtype: BatchNorm(n, dtype=dtype), normal(B, n),
                lambda layer, x: batch_norm(x, layer.params, layer.state, training), training, rows_mix=training)


def layer_norm_case(*shape):
    def oracle(layer, x):
        gamma, beta = numbers(layer.params["gamma"]), numbers(layer.params["beta"])
        rows = [normalised(row, gamma, beta) for row in numbers(x.reshape(-1, shape[-1]))]
        return np.array(rows).reshape(shape)

    return Case(f"LayerNorm-{'x'.join(map(str, shape))}", lambda rng, dtype: LayerNorm(shape[-1], dtype=dtype),
                normal(*shape), oracle)


def mlp_case(B, n, widths, dropout=0.0, use_bn=False, training=False):
    words = [f"MLP-B{B}-n{n}", *map(str, widths), *(["dropout"] if dropout else []), *(["bn"] if use_bn else []),
             *(["training"] if training else [])]
    return Case("-".join(words), lambda rng, dtype: MLP(n, widths, rng, dropout, use_bn, dtype=dtype), normal(B, n),
                lambda layer, x: mlp(x, layer), training, rows_mix=use_bn and training)


def relu_case(*shape):
    return Case(f"ReLU-{'x'.join(map(str, shape))}", lambda rng, dtype: ReLU(), normal(*shape),
                lambda layer, x: np.array([relu(z) for z in numbers(x.ravel())]).reshape(shape))


def dropout_case(rate, training, *shape):
    def oracle(layer, x):
        mask = layer.cache["mask"] if training and rate else np.ones(shape)
        values = [x.ravel()[i] * mask.ravel()[i] for i in range(x.size)]
        return np.array(values).reshape(shape)

    return Case(f"Dropout-{rate}-{'training' if training else 'predicting'}-{'x'.join(map(str, shape))}",
                lambda rng, dtype: Dropout(rate, rng), normal(*shape), oracle, training)


OFFICIAL = {"scale": True, "layer_norm": True, "qkv_activation": "relu"}        # AutoInt as its authors' program has it

CASES = [
    *(embedding_case(*shape, kind) for kind in SLOT_KINDS for shape in ((4, 3, 3), (1, 2, 1))),
    *(linear_case(*shape, kind, bias) for kind in SLOT_KINDS for shape in ((4, 3), (1, 2)) for bias in (True, False)),
    *(Case(f"PairProduct-{B}x{M}x{k}", lambda rng, dtype: PairProduct(), normal(B, M, k),
           lambda layer, x: pair_product(x)) for B, M, k in ((3, 5, 2), (1, 2, 1), (2, 2, 3))),
    *(Case(f"FMPooling-{B}x{M}x{k}", lambda rng, dtype: FMPooling(), normal(B, M, k),
           lambda layer, x: fm_pooling(x)) for B, M, k in ((3, 5, 2), (1, 2, 1), (2, 1, 3))),
    *(Case(f"FactorSum-{B}x{k}", lambda rng, dtype: FactorSum(), normal(B, k),
           lambda layer, x: [sum(row) for row in numbers(x)]) for B, k in ((3, 4), (1, 1))),
    attention_case(3, 6, 2, 4), attention_case(1, 1, 1, 1), attention_case(2, 1, 3, 2), attention_case(2, 10, 3, 1),
    attention_case(1, 3, 1, 4), attention_case(3, 6, 2, 4, dropout=0.4),
    interacting_case(2, 4, 3, 2, 2), interacting_case(1, 2, 1, 1, 1), interacting_case(2, 3, 4, 3, 1),
    interacting_case(2, 3, 2, 1, 3), interacting_case(2, 1, 3, 2, 2), interacting_case(2, 3, 4, 2, 2),
    interacting_case(2, 4, 3, 2, 2, scale=True), interacting_case(2, 4, 3, 2, 2, residual=False),
    interacting_case(2, 3, 3, 2, 2, layer_norm=True), interacting_case(2, 3, 3, 2, 2, qkv_activation="relu"),
    interacting_case(2, 3, 3, 2, 2, residual=False, qkv_activation="relu"), interacting_case(2, 3, 3, 2, 2, **OFFICIAL),
    interacting_case(2, 4, 3, 2, 2, dropout=0.4), interacting_case(2, 3, 3, 2, 3, dropout=0.3, **OFFICIAL),
    *(Case(f"Dense-{B}x{n_in}x{n_out}", partial(lambda rng, dtype, n_in, n_out: Dense(n_in, n_out, rng, dtype),
                                                n_in=n_in, n_out=n_out), normal(B, n_in),
           lambda layer, x: dense(x, **layer.params)) for B, n_in, n_out in ((3, 4, 2), (1, 1, 1), (2, 3, 3))),
    readout_case(3, 4, True), readout_case(3, 4, False), readout_case(1, 1, True),
    relu_case(3, 4), relu_case(1, 1), relu_case(2, 3, 4),
    dropout_case(0.3, True, 3, 5), dropout_case(0.5, True, 2, 3, 4), dropout_case(0.0, True, 3, 5),
    dropout_case(0.3, False, 3, 5),
    batch_norm_case(5, 3, True), batch_norm_case(2, 1, True), batch_norm_case(5, 3, False),
    batch_norm_case(1, 2, False),
    layer_norm_case(3, 5), layer_norm_case(2, 3, 4), layer_norm_case(1, 1),
    mlp_case(3, 4, []), mlp_case(1, 1, [1]), mlp_case(3, 4, [3]), mlp_case(3, 4, [5, 3]),
    mlp_case(3, 4, [5, 3], use_bn=True), mlp_case(4, 3, [4, 3], use_bn=True, training=True),
    Case("MLP-B3-n4-5-3-vector", lambda rng, dtype: MLP(4, [5, 3], rng, dtype=dtype, readout=False), normal(3, 4),
         lambda layer, x: mlp(x, layer)),
    Case("MLP-B3-n4-5-no_b", lambda rng, dtype: MLP(4, [5], rng, dtype=dtype, bias=False), normal(3, 4),
         lambda layer, x: mlp(x, layer)),
    mlp_case(3, 4, [5, 3], dropout=0.4, training=True), mlp_case(4, 3, [4, 3], 0.3, use_bn=True, training=True),
]

def built_model(name, rng, M, **changed):
    """A variant with random float64 parameters for N_VALUES values in M fields."""
    model = build_layers(small(name, **{"dtype": "float64", **changed}), N_VALUES, M, rng)
    randomize(model, rng)
    return model


def draw_model(name, seed, B=3, M=3, kind="categories", **changed):
    """A random model, Slots fit for a gradient check, and the logits that the oracle computes for them."""
    def once(rng):
        model, slots = built_model(name, rng, M, **changed), random_slots(rng, B, M, kind)
        return model, slots, logits(model, slots)

    return well_conditioned(once, np.random.default_rng(seed))
