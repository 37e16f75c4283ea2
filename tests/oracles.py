"""Random layers, models and inputs, and what the papers' equations, as loops, say that they give."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
from loops import MODELS as LOOP_MODELS
from loops import (
    attention_pooling,
    batch_norm,
    dense,
    embedding,
    fm_pooling,
    interacting,
    linear,
    mlp,
    normalised,
    numbers,
    pair_product,
    readout,
    relu,
    watch,
)
from models import build_layers, small
from product_loops import (
    PRODUCT_MODELS,
    cin,
    cross_network,
    crosses,
    field_aware_products,
    first_order_terms,
    inner_products,
    outer_product,
    residual_unit,
    triple_pooling,
)

from minictr.layers import (
    CIN,
    MLP,
    AttentionPooling,
    BatchNorm,
    Crosses,
    CrossNetwork,
    Dense,
    Dropout,
    Embedding,
    FactorSum,
    FieldAwareProducts,
    FirstOrderTerms,
    FMPooling,
    InnerProducts,
    InteractingLayer,
    LayerNorm,
    Linear,
    OuterProduct,
    PairProduct,
    Readout,
    ReLU,
    ResidualUnit,
    TriplePooling,
    named_layers,
    parameters,
)
from minictr.slots import Slots

MODELS = LOOP_MODELS | PRODUCT_MODELS


def logits(model, slots):
    """The model's logits while predicting, (B,), from its parameters and settings alone."""
    name = type(model).__name__
    assert name in MODELS, (f"{name} has no oracle: write {name.lower()}_logits(model, slots) in loops.py or "
                            "product_loops.py, and enter it there")
    return np.array(MODELS[name](model, slots))


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


def cross_network_case(B, n, L):
    return Case(f"CrossNetwork-B{B}-n{n}-L{L}", lambda rng, dtype: CrossNetwork(n, L, rng, dtype), normal(B, n),
                lambda layer, x: cross_network(x, layer.params, L))


def cin_case(B, M, k, widths):
    return Case(f"CIN-B{B}-M{M}-k{k}-{'-'.join(map(str, widths))}",
                lambda rng, dtype: CIN(M, widths, rng, dtype), normal(B, M, k),
                lambda layer, x: cin(x, layer.params, widths))


def residual_case(B, n, width):
    return Case(f"ResidualUnit-B{B}-n{n}-{width}", lambda rng, dtype: ResidualUnit(n, width, rng, dtype), normal(B, n),
                lambda layer, x: residual_unit(x, **layer.params))


def crosses_case(kind, fields, buckets=5):
    def oracle(layer, x):
        return [sum(row) for row in crosses(layer.params["w"], x, fields, buckets)]

    return Case(f"Crosses-{kind}-{'-'.join('x'.join(map(str, cross)) for cross in fields)}",
                lambda rng, dtype: Crosses(fields, buckets, dtype), partial(random_slots, B=4, M=3, kind=kind), oracle)


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
    *(Case(f"InnerProducts-{B}x{M}x{k}", lambda rng, dtype: InnerProducts(), normal(B, M, k),
           lambda layer, x: inner_products(x)) for B, M, k in ((3, 5, 2), (1, 2, 1))),
    *(Case(f"OuterProduct-{B}x{M}x{k}", lambda rng, dtype: OuterProduct(), normal(B, M, k),
           lambda layer, x: outer_product(x)) for B, M, k in ((3, 4, 3), (1, 1, 1), (2, 3, 1))),
    *(Case(f"FieldAwareProducts-{B}x{M}x{k}", lambda rng, dtype: FieldAwareProducts(), normal(B, M, M, k),
           lambda layer, x: field_aware_products(x)) for B, M, k in ((3, 4, 2), (1, 2, 1))),
    *(Case(f"TriplePooling-{B}x{M}x{k}", lambda rng, dtype: TriplePooling(), normal(B, M, k),
           lambda layer, x: triple_pooling(x)) for B, M, k in ((3, 5, 2), (1, 3, 1), (2, 4, 3))),
    *(cross_network_case(*shape) for shape in ((3, 4, 3), (1, 1, 1), (2, 3, 2))),
    *(cin_case(*shape) for shape in ((2, 3, 2, [4, 3]), (1, 2, 1, [1]), (2, 4, 3, [2, 3, 2]))),
    *(residual_case(*shape) for shape in ((3, 4, 5), (1, 1, 1))),
    *(crosses_case(kind, fields) for kind in SLOT_KINDS for fields in ([[0, 1]], [[0, 2], [2, 1, 0]])),
    *(Case(f"FirstOrderTerms-{kind}-B4-M3", lambda rng, dtype: FirstOrderTerms(N_VALUES, dtype=dtype),
           partial(random_slots, B=4, M=3, kind=kind),
           lambda layer, x: first_order_terms(layer.params["w"], layer.params["w0"], x)) for kind in SLOT_KINDS),
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
