"""Numbers that remember: their values are NumPy's, whatever a line does with them, or it is said where not."""

import itertools
import sys
import threading

import numpy as np
import pytest
from models import MODELS
from numpy import zeros

import minictr
from minictr import datasets
from minictr.layers import gradients, parameters
from minictr.losses import LogLoss, SquaredLoss
from minictr.optim import OPTIMIZERS
from minictr.tracing.new_arrays import new_arrays_remember
from minictr.tracing.node_run import step_on_nodes
from minictr.tracing.nodes import NodeArray, NotFollowed, leaves, node_of, values_of

HERE = sys.modules[__name__]
CLICKS = datasets.make_clicks(200, seed=0)
X = CLICKS.X[["user_segment", "ad_category", "device", "discount"]]
TARGETS = {"binary": CLICKS.y, "regression": np.random.default_rng(0).normal(size=len(X))}
A = np.random.default_rng(1).normal(size=(2, 3, 4))
B = np.random.default_rng(2).normal(size=(2, 3, 4))


def drawn(name, task="binary", **settings):
    """A tiny model with numbers of which no gradient is only rounding, as where every unit of a ReLU is on."""
    cls = MODELS[name]
    model = cls(**{**cls.tiny, "task": task, "dtype": "float64", **settings}).prepare(X, TARGETS[task])
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        for array in parameters(model).values():
            array[...] = rng.uniform(-1, 1, array.shape)
        other = model.clone().prepare(X, TARGETS[task])
        for name_of, array in parameters(other).items():
            array[...] = parameters(model)[name_of]
        other.train_step(X[:3], TARGETS[task][:3])
        sizes = [np.abs(getattr(grad, "values", grad)) for grad in gradients(other).values()]
        if all(size.max() > 1e-3 and size[size > 0].min() > 1e-9 for size in sizes):
            return model


def assert_same_step(model, y, detail="lines", rows=3):
    """The step on nodes has NumPy's arrays, in the same steps."""
    trace = minictr.trace(model, X[:rows], y[:rows], detail=detail)
    steps = step_on_nodes(model, model.encode(X[:rows], y[:rows]), detail).steps
    assert [(step.line, step.layer, step.symbol, step.value.shape) for step in trace.steps] == [
        (step.line, step.layer, step.symbol, step.value.shape) for step in steps]
    compared = 0
    for plain, own in zip(trace.steps, steps, strict=True):
        if plain.value.dtype.kind == "f":
            assert isinstance(own.value, NodeArray), own
            error = np.abs(values_of(own.value) - plain.value).max()
            assert error <= 1e-12 * np.abs(plain.value).max(), (own.line, own.symbol, error)
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_on_nodes_has_numpys_numbers(name, task):
    assert_same_step(drawn(name, task), TARGETS[task])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("name", ["AFM", *(pytest.param(name, marks=pytest.mark.long) for name in MODELS
                                           if name not in ("AFM", "WideDeep"))])
def test_so_it_is_with_each_optimizer(name, task, optimizer):
    model = drawn(name, task, optimizer=optimizer, reg=0.1 if name != "AutoInt" else 0.0)
    for start in range(0, 6, 3):                                  # so that there are moments, and t is 2
        model.train_step(X[start:start + 3], TARGETS[task][start:start + 3])
    assert_same_step(model, TARGETS[task])


@pytest.mark.parametrize("settings", [
    {"name": "AFM", "lazy": False}, {"name": "AFM", "dropout": 0.5, "attention_dropout": 0.5},
    {"name": "DeepFM", "use_bn": True},
    {"name": "AutoInt", "layer_norm": True, "qkv_activation": "relu", "scale": True},
    {"name": "FM", "freeze": ("embedding",)}, {"name": "WideDeep", "crosses": (("user_segment", "ad_category"),)}],
    ids=str)
def test_so_it_is_with_what_models_can_do_besides(settings):
    cls = MODELS[settings["name"]]
    model = cls(**{**cls.tiny, "dtype": "float64", **settings}).prepare(X, CLICKS.y)
    rng = np.random.default_rng(4)
    for array in parameters(model).values():
        array[...] = rng.uniform(-1, 1, array.shape)
    trace = minictr.trace(model, X[:3], CLICKS.y[:3])
    steps = step_on_nodes(model, model.encode(X[:3], CLICKS.y[:3]), "lines").steps
    plain = {(step.line, step.layer, step.symbol): step.value for step in trace.steps if step.value.dtype.kind == "f"}
    own = {(step.line, step.layer, step.symbol): step.value for step in steps if isinstance(step.value, NodeArray)}
    assert len(own) > 20
    for key in own.keys() & plain.keys():
        assert np.allclose(values_of(own[key]), plain[key], rtol=1e-9, atol=1e-11), key


def test_all_lines_of_the_functions_too():
    assert_same_step(drawn("AutoInt"), CLICKS.y, detail="all")


# ------------------------------------------------------------------------------------------------ NumPy on nodes

FUNCTIONS = {
    "matmul": lambda a, b: a @ b.swapaxes(1, 2),
    "row times matrix": lambda a, b: a[0, 0] @ b[0].T,
    "matrix times column": lambda a, b: a[0] @ b[0, 0],
    "two vectors": lambda a, b: a[0, 0] @ b[0, 0],
    "batch times a matrix": lambda a, b: a @ b[0].T,
    "dot": lambda a, b: a.dot(b[0].T),
    "np.dot": lambda a, b: np.dot(a, b[0].T),
    "inner": lambda a, b: np.inner(a, b),
    "outer": lambda a, b: np.outer(a[0], b[0]),
    "vdot": lambda a, b: np.vdot(a, b),
    "tensordot": lambda a, b: np.tensordot(a, b, axes=((0, 2), (0, 2))),
    "tensordot of 2": lambda a, b: np.tensordot(a, b.transpose(1, 2, 0), axes=2),
    "einsum of two": lambda a, b: np.einsum("bik,bjk->bij", a, b),
    "einsum, implicit": lambda a, b: np.einsum("bik,bjk", a, b),
    "einsum of three": lambda a, b: np.einsum("bik,bik,bik->bi", a, b, a),
    "einsum of one": lambda a, b: np.einsum("bik->kb", a),
    "mean": lambda a, b: a.mean(axis=1) + np.mean(b),
    "var": lambda a, b: a.var(axis=(0, 2), keepdims=True) + b.std(ddof=1),
    "prod": lambda a, b: a.prod(axis=1),
    "max and min": lambda a, b: a.max(axis=2) - b.min(),
    "where": lambda a, b: np.where(a > b, a, 0.5),
    "where with a plain mask": lambda a, b: np.where(A > 0, a, b),
    "clip": lambda a, b: np.clip(a, -0.5, 0.5) + a.clip(0, None) * np.maximum(b, a),
    "mask times": lambda a, b: a * (b > 0) * ~(b > 1) * ((a < 1) & (b < 1)),
    "mask as an index": lambda a, b: a[b > 0],
    "write by a mask": lambda a, b: written(a, b),
    "zeros filled in": lambda a, b: filled(a, b),
    "list of rows": lambda a, b: np.array([row.sum() for row in a[0]]) + np.stack([b[0, i, 0] for i in range(3)]),
    "python's sum": lambda a, b: sum(a[0, 0]) + sum(b[0, 1].tolist()),
    "cumsum": lambda a, b: np.cumsum(a, axis=1) - b.cumsum(2),
    "logarithms": lambda a, b: np.log1p(np.exp(a)) + np.logaddexp(a, b) + np.log(np.abs(b)) + np.expm1(a),
    "powers": lambda a, b: a ** 2 + np.abs(b) ** 0.5 + 2.0 ** a + np.square(b) + 1 / a + np.sqrt(np.abs(a)),
    "signs": lambda a, b: np.sign(a) * -b + abs(b) + np.tanh(a),
    "outer difference": lambda a, b: np.subtract.outer(a[0, 0], b[0, 0]),
    "reduceat": lambda a, b: np.add.reduceat(a, [0, 2], axis=1),
    "repeat and tile": lambda a, b: np.repeat(a, 2, axis=1) + np.tile(b, (1, 2, 1)),
    "concatenate and split": lambda a, b: np.concatenate([*np.split(a, 2, axis=2), b], axis=1 - 1 + 2),
    "sorted": lambda a, b: np.sort(a, axis=2) + np.take_along_axis(b, np.argsort(b, axis=2), axis=2),
    "argmax": lambda a, b: a[0][a[0].argmax(0), [0, 1, 2, 3]],
    "at": lambda a, b: added_at(a),
    "norm": lambda a, b: np.sqrt((a * a).sum()) + np.linalg.norm(b[0, 0]),
    "shapes": lambda a, b: (
        a.reshape(6, 4).T.ravel()[None].squeeze() + np.expand_dims(b, 0).transpose(3, 1, 2, 0).flatten()),
    "astype": lambda a, b: (
        (a > 0).astype(float) * b.astype(np.float32).astype(float) if isinstance(a, NodeArray) else (a > 0) * b),
    "empty": lambda a, b: half_filled(a),
    "in place": lambda a, b: changed_in_place(a, b),
    "eye": lambda a, b: np.eye(3) @ a[0] + np.full((3, 4), b[0, 0, 0]),
}


def written(a, b):
    a = a.copy()
    a[b > 0] = 0
    a[0, 0] = b[1, 1] * 2
    return a


def filled(a, b):
    out = np.zeros((2, 3))
    for i in range(3):
        out[:, i] += (a[:, i] * b[:, i]).sum(axis=1)
    out[0] *= np.ones(3) + np.full(3, 0.5)
    return out


def added_at(a):
    out = np.zeros_like(a[0])
    np.add.at(out, np.array([0, 2, 0]), a[1])
    return out


def half_filled(a):
    out = np.empty_like(a)
    out[0] = a[0]
    out[1:] = 2 * out[:1]
    return out


def changed_in_place(a, b):
    a = a.copy()
    a -= 0.1 * b / (np.sqrt(b * b) + 1e-8)
    np.multiply(a, b, out=a)
    return a


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_numpy_does_is_followed(name):
    expected = FUNCTIONS[name](A, B)
    with new_arrays_remember([HERE]):
        result = FUNCTIONS[name](leaves(A, "a"), leaves(B, "b"))
    assert np.shape(result) == np.shape(expected)
    values = values_of(result if isinstance(result, np.ndarray) else np.array(result, object))
    assert np.allclose(values, expected, rtol=1e-12, atol=1e-12)
    ends = set()                                                  # and they remember: each goes back to the leaves
    for element in np.asarray(result, object).ravel():
        waiting = [node_of(element)]
        while waiting:
            node = waiting.pop()
            ends.add(node.args[0] if node.op == "leaf" else node.op)
            waiting += () if node.op == "leaf" else node.args
    assert "a" in ends


def test_a_sum_is_one_node_and_a_product_of_matrices_too():
    a, b = leaves(A, "a"), leaves(B, "b")
    total = node_of(a.sum())
    assert total.op == "sum" and [node.args for node in total.args] == [("a", i) for i in range(A.size)]
    product = node_of((a[0] @ b[0].T)[1, 2])
    assert product.op == "dot" and [node.args for node in product.args] == [
        pair for k in range(4) for pair in (("a", 4 + k), ("b", 8 + k))]
    largest = node_of(a.max(axis=2)[0, 0])
    assert largest.op == "max" and len(largest.args) == 4
    comparison = node_of((a > 0)[0, 0, 0])
    assert comparison.op == "greater" and comparison.value is bool(A[0, 0, 0] > 0)


def test_what_a_mask_sets_depends_on_the_mask():
    z, dz = leaves(A[0], "z"), leaves(B[0], "dz")
    dz[z <= 0] = 0
    assert np.array_equal(values_of(dz), np.where(A[0] <= 0, 0, B[0]))
    node = node_of(dz[1, 2])
    assert node.op == "where" and node.args[0].args[0].args == ("z", 6) and node.args[2].args == ("dz", 6)
    rows = leaves(A[0], "rows")
    rows[rows[:, 0] > 0] = 1                                      # of whole rows
    assert np.array_equal(values_of(rows), np.where(A[0][:, :1] > 0, 1, A[0]))


def test_nothing_is_added_to_zeros():
    a = leaves([1.0, 2.0], "a")
    assert node_of((np.zeros(2) + a)[1]) is node_of(a[1])
    assert node_of(sum([a[0], a[1]])).op == "add"


@pytest.mark.parametrize("lost", [
    lambda a: float(a.sum()), lambda a: np.linalg.inv(a[0, :, :3]), lambda a: np.ones(1).__setitem__(0, a[0, 0, 0]),
    lambda a: np.modf(a), lambda a: np.add(a, a, where=A > 0), lambda a: np.einsum("...k->...", a),
    lambda a: np.add(A, a, out=np.empty_like(A)), lambda a: int(a[0, 0, 0]),
    lambda a: np.add.at(np.empty_like(A), 0, a[0])])
def test_what_cannot_be_followed_is_an_error(lost):
    with pytest.raises(TypeError):                                # of which NotFollowed is one
        lost(leaves(A, "a"))


def test_other_threads_get_plain_arrays_meanwhile():
    found = []
    with new_arrays_remember([HERE]):
        thread = threading.Thread(target=lambda: found.append(np.zeros(2)))
        thread.start()
        thread.join()
        assert isinstance(np.zeros(2), NodeArray) and isinstance(zeros(2), NodeArray)
        assert np.zeros(2, np.int32).dtype == np.int32
        assert type(sys.modules["numpy"].zeros(2)) is np.ndarray
        assert np.random.default_rng(0).random(3, np.float32).dtype == np.float32
    assert type(found[0]) is np.ndarray and type(np.zeros(2)) is np.ndarray and type(zeros(2)) is np.ndarray


def test_modules_are_as_before_after_an_error():
    with pytest.raises(NotFollowed), new_arrays_remember([HERE]):
        float(leaves([1.0], "a")[0])
    assert np is sys.modules["numpy"] and zeros is np.zeros


@pytest.mark.parametrize("loss", [LogLoss, SquaredLoss])
@pytest.mark.parametrize("c", [None, np.array([1.0, 0.5])])
def test_a_loss_is_a_plain_float_where_numbers_are_plain(loss, c):
    value = loss().forward(np.float32([0.5, -1]), np.float32([1, 0]), c)
    assert type(value) is float
