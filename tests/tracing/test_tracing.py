"""The trace: that its arrays are those of the step, its lines those of the source, and the model stays as it was."""

import ast
import contextlib
import copy
import dataclasses
import functools
import html.parser
import inspect
import io
import itertools
import linecache
import math
import os
import re
import sys

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from models import KINDS, dropouts, small
from tables import FIELDS, mixed_table

import minictr
from minictr import AFM, FM, AutoInt, Model, MultiValued, NotFittedError, plots
from minictr.app.cli import main
from minictr.layers import MLP, Embedding, FMPooling, Layer, Linear, RowGradient, gradients, named_layers, parameters
from minictr.tracing.page import ABOVE, BELOW, numbers_html
from minictr.tracing.source import comment_of, equations_of
from minictr.tracing.steps import PHASES
from minictr.tracing.text import numbers_text
from minictr.training import chunked

plt.switch_backend("Agg")
X, Y = mixed_table(40)
OFFICIAL = "AutoInt+, official"


def sizes(name):
    """Sizes of the variant's parts, where it has them, that no two letters of the comments share."""
    own = small(name)
    wanted = {"embedding_dim": 3, "attention_dim": 2 if hasattr(own, "num_heads") else 5, "num_heads": 4,
              "deep_layers": (7, 5)}
    return {size: value for size, value in wanted.items() if getattr(own, size, None)}


CASES = {name: functools.partial(small, name, FIELDS, **sizes(name)) for name in KINDS} | {
    OFFICIAL: functools.partial(AutoInt.official_code, embedding_dim=3, attention_dim=2, num_heads=4, num_layers=1,
                                deep_layers=(7, 5), first_order=True)}
each_model = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def build(name, y=Y, **options):
    """Prepare a model whose parameters are large enough to tell one array from the other."""
    model = CASES[name](fields=FIELDS, **{"dtype": "float64", **options}).prepare(X, y)
    rng = np.random.default_rng(1)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.5, array.shape)
    return model


@functools.cache
def traced(name, rows=2, detail="lines"):
    return minictr.trace(build(name), X[:rows], Y[:rows], detail=detail)


def steps_of(trace, layer, symbol, phase=None):
    return [step for step in trace.steps
            if (step.layer, step.symbol) == (layer, symbol) and phase in (None, step.phase)]


def everything(model):
    """All that a step could change, as bytes and numbers."""
    arrays = {**parameters(model), "row_counts": model.row_counts_}
    for name, state in model.optimizer_.state.items():
        arrays |= {f"{name}.{key}": array for key, array in state.items()}
    for name, layer in named_layers(model):
        arrays |= {f"{name}.state.{key}": array for key, array in layer.state.items()}
    rngs = [layer.rng.bit_generator.state for _, layer in named_layers(model) if hasattr(layer, "rng")]
    held = [(name, kind, key, id(value)) for name, layer in named_layers(model) for kind in ("cache", "grads", "params")
            for key, value in getattr(layer, kind).items()]
    training = [layer.training for _, layer in named_layers(model)]
    return ({key: array.tobytes() for key, array in arrays.items()}, rngs, held, training, model.optimizer_.t,
            set(vars(model)))


# ---- the lines -------------------------------------------------------------------------------------------------------

def arguments_of(source):
    return re.findall(r"\w+", source.partition("(")[2])


@each_model
@pytest.mark.parametrize("detail", ["lines", "all"])
def test_every_line_holds_its_text_and_names_what_it_made(name, detail):
    trace = traced(name, detail=detail)
    parameter_names = {full_name.rpartition(".")[2] for full_name in parameters(build(name))}
    for step in trace.steps:
        lines = [linecache.getline(step.file, step.lineno + i) for i in range(step.source.count("\n") + 1)]
        assert [line.strip() for line in lines] == [line.strip() for line in step.source.splitlines()]
        assert step.line == f"{os.path.basename(step.file)}:{step.lineno}"
        code = lines[0].partition("#")[0]
        bare = step.symbol.partition("[")[0].partition(".")[0]
        if code.lstrip().startswith("return"):
            assert step.symbol in ("out", "s", "L") or step.symbol[0] == "d" or step.symbol.endswith("()") or (
                "self.params[" in code)
        elif code.lstrip().startswith("def "):
            assert bare in arguments_of(code)
        elif "self.params[" in code and step.symbol in parameter_names:     # a parameter that the line reads
            assert re.search(rf'\b{step.symbol}\b|self.symbol|f"{step.symbol[0]}_{{\w+}}"', code)
        elif "self.grads[" in code:
            assert step.symbol[0] == "d"
            assert re.search(rf'\["{step.symbol[1:]}"\]|\[self.symbol\]|\[f"', code)
        elif "self.state[" in code:
            assert step.symbol.startswith("state.")
        elif "self.cache = " in code:
            assert re.search(rf'"{step.symbol}": |f"{step.symbol[0]}_{{\w}}": ', code)
        elif not re.search(rf"\b{bare}\b", code):                 # it is made for the call that gives it this name
            function = dict(named_layers(build(name)))[re.search(r"self\.(\w+)\.(?:for|back)ward\(", code)[1]]
            assert step.symbol in inspect.signature(getattr(function, step.phase)).parameters


def test_where_in_the_source_is_equation_5_of_afm():
    trace = traced("AFM")
    found = trace.table.query("paper == 'Xiao et al. 2017, eq. 5'")
    assert list(found["symbol"]) == ["s", "aij"]
    assert list(found["notation"]) == ["a'_ij", "a_ij"]
    assert set(found["line"].str.partition(":")[0]) == {"attention_pooling.py"}
    assert "softmax(s, axis=1)" in found["source"].iloc[1]
    index = str(trace).partition("equations are in the source:\n")[2]
    assert re.search(r"^  Xiao et al. 2017, eq. 5 +minictr/layers/attention_pooling.py:(\d+)  s\n"
                     r" +minictr/layers/attention_pooling.py:(\d+)  aij$", index, re.MULTILINE).groups() == tuple(
        line.rpartition(":")[2] for line in found["line"])


@pytest.mark.parametrize("name, paper, arrays", [
    ("FM", "Rendle 2010, eq. 1", "linear.out FM.s"), ("FM", "Rendle 2010, lemma 3.1", "pooling.out"),
    ("FM", "part of Rendle 2010, lemma 3.1", "pooling.total pooling.squares"),
    ("FM", "derivative of Rendle 2010, lemma 3.1", "pooling.dE"),
    ("AFM", "Xiao et al. 2017, eq. 2", "pairs.out AFM.pij"), ("AFM", "Xiao et al. 2017, eq. 4", "attention.out"),
    ("AFM", "Xiao et al. 2017, eq. 6", "AFM.s"), ("AFM", "part of Xiao et al. 2017, eq. 5", "attention.z"),
    ("AFM", "derivative of Xiao et al. 2017, eq. 2", "pairs.dE"),
    ("AFM", "derivative of Xiao et al. 2017, eq. 4", "attention.dweight attention.dpij_pool"),
    ("AFM", "derivative of Xiao et al. 2017, eq. 5",
     "attention.ds attention.dh attention.dr attention.db attention.dW attention.dpij_score"),
    ("AutoInt", "Song et al. 2019, eq. 2-4", "embedding.out AutoInt.E"),
    ("AutoInt", "part of Song et al. 2019, eq. 2-4", "embedding.vx"),
    ("AutoInt", "Song et al. 2019, eq. 5", "a"), ("AutoInt", "Song et al. 2019, eq. 6", "e"),
    ("AutoInt", "Song et al. 2019, eq. 7, 8", "out"), ("AutoInt", "Song et al. 2019, eq. 9", "AutoInt.s"),
    ("AutoInt", "part of Song et al. 2019, eq. 5", "Q K S"), ("AutoInt", "part of Song et al. 2019, eq. 6", "V"),
    ("AutoInt", "part of Song et al. 2019, eq. 7, 8", "z"),
    ("AutoInt", "derivative of Song et al. 2019, eq. 5", "dS dQ dK dE"),
    ("AutoInt", "derivative of Song et al. 2019, eq. 6", "dweight dV dE"),
    ("AutoInt", "derivative of Song et al. 2019, eq. 7, 8", "dz de dE"),
    ("DeepFM-bn", "Guo et al. 2017, eq. 1", "DeepFM.s"), ("DeepFM-bn", "Guo et al. 2017, eq. 2", "DeepFM.s_FM"),
    ("DeepFM-bn", "Guo et al. 2017, eq. 3-4", "mlp.out DeepFM.s_DNN"),
    ("DeepFM-bn", "Ioffe & Szegedy 2015, algorithm 1", "mlp.norm_1.xhat mlp.norm_1.out mlp.norm_2.xhat mlp.norm_2.out"),
    ("LR", "Kingma & Ba 2015, algorithm 1", "m v m_hat v_hat param"),
])
def test_equations_are_found_by_their_number(name, paper, arrays):
    """``arrays`` : their names; without a layer's where they are of every interacting layer or parameter."""
    found = {(step.layer, step.symbol) for step in traced(name).steps if step.paper == paper}
    if "." in arrays:
        assert {".".join(place) for place in found} == set(arrays.split())
    else:
        layers = {"AutoInt": {"interacting_1", "interacting_2"}, "LR": {"linear.w0", "linear.w"}}[name]
        assert found == {(layer, symbol) for layer in layers for symbol in arrays.split()}


def test_what_a_layer_inside_made_of_an_equation_is_not_that_equation():
    trace = traced(OFFICIAL)                                    # with layer norm behind eq. 7 and 8
    normalised = steps_of(trace, "interacting_1", "out")[-1]
    assert normalised.source.startswith("return self.norm.forward(out)") and normalised.paper == ""
    assert {step.source.partition("#")[0].strip() for step in trace.steps
            if step.paper == "Song et al. 2019, eq. 7, 8"} == {"out = relu(z)"}


@pytest.mark.parametrize("name, array, notation", [
    ("AFM", "attention.z", "z_ij"), ("AFM", "attention.dz", "dL/dz_ij"), ("AFM", "attention.r", "r_ij"),
    ("AFM", "attention.weight", "weight"), ("AFM", "attention.dpij_score", "dL/dp_ij (score)"),
    ("AFM", "pairs.out", "p_ij"), ("AFM", "embedding.vx", "vx"), ("AFM", "embedding.out", "e_i"),
    ("AFM", "AFM.E", "e_i"), ("AFM", "AFM.s", "s"), ("AFM", "attention.s", "a'_ij"),
    ("AFM", "attention.ds", "dL/da'_ij"), ("AFM", "linear.w0", "w_0"), ("AFM", "embedding.dV", "dL/dv_i"),
    ("AFM", "embedding.V.table", "V"), ("AFM", "embedding.V.m_hat", "m^"), ("AFM", "embedding.V.grad", "dL/dV"),
    ("AutoInt", "interacting_1.a", "a_mk"), ("AutoInt", "interacting_1.e", "e~_m"),
    ("AutoInt", "interacting_1.de", "dL/de~_m"), ("AutoInt", "interacting_2.out", "out_m"),
    ("AutoInt", "interacting_1.W_Q", "W_Query"), ("AutoInt", "AutoInt.E", "E^0"), ("AutoInt", "AutoInt.dE", "dL/dE^0"),
])
def test_names_in_the_paper(name, array, notation):
    layer, _, symbol = array.rpartition(".")
    steps = steps_of(traced(name), layer, symbol)
    assert {step.notation for step in steps if (step.function, symbol) != ("_project", "out")} == {notation}


def test_an_array_before_the_first_layer_has_not_the_name_of_one_inside():
    first, *others = steps_of(traced("AutoInt"), "AutoInt", "e", "forward")
    assert first.source == "e = E" and first.notation == "e"
    assert {step.notation for step in others} == {"E^l"}


def test_every_citation_stands_in_the_docstring_of_its_class():
    classes = {type(layer) for name in CASES for _, layer in named_layers(build(name))} | {
        type(build(name)) for name in CASES} | {minictr.optim.Adam}
    numbers = 0
    for cls in classes:
        for left, right, citation in equations_of(cls):
            assert re.search(r"\d{4}, (eq\.|lemma|algorithm) \d", citation), (cls, citation)
            assert citation.partition(", ")[2] in cls.__doc__
            assert left in cls.__doc__ and right in re.sub(r"\s+= ", " = ", cls.__doc__)
            numbers += 1
    assert numbers > 15


# ---- the arrays ------------------------------------------------------------------------------------------------------

@each_model
def test_the_arrays_are_those_of_train_step(name):
    model = build(name)
    trace = minictr.trace(model, X[:3], Y[:3])
    loss = model.train_step(X[:3], Y[:3])
    assert trace.loss == loss
    for layer_name, layer in named_layers(model):
        for key, array in layer.cache.items():
            if isinstance(array, np.ndarray):
                same = [step for step in trace.steps if step.layer == layer_name
                        and step.value.shape == array.shape and np.array_equal(step.value, array)]
                assert same, f"{layer_name}.{key}"
    for full_name, gradient in gradients(model).items():
        layer_name, _, key = full_name.rpartition(".")
        value = gradient.values if isinstance(gradient, RowGradient) else gradient
        np.testing.assert_array_equal(trace.arrays[f"{layer_name}.d{key}"], value)
    for full_name, array in parameters(model).items():
        updates = [step for step in trace.steps if step.layer == full_name]
        symbols = [step.symbol for step in updates]
        assert all(step.phase == "update" for step in updates)
        if "rows" in symbols:       # a table: its rows are taken out, updated and put back, and the moments too
            state = model.optimizer_.state[full_name]             # of Adam m and v, of FTRL z and n
            assert symbols.count("param") == 3
            assert symbols[-1 - len(state):] == ["table", *(f"state.{key}" for key in state)]
            np.testing.assert_array_equal(updates[-1 - len(state)].value, array)
            for step in updates[-len(state):]:
                np.testing.assert_array_equal(step.value, state[step.symbol[-1]])
        else:
            assert symbols.count("param") == 2 and symbols[-1] == "param"
            np.testing.assert_array_equal(updates[-1].value, array)


@each_model
def test_phases_come_in_order_and_steps_count_from_one(name):
    trace = traced(name)
    phases = [PHASES.index(step.phase) for step in trace.steps]
    assert phases == sorted(phases) and set(phases) == {0, 1, 2, 3}
    assert [step.number for step in trace.steps] == list(range(1, len(trace) + 1))
    for step in trace.steps:
        if step.same_as:
            assert step.same_as < step.number
            np.testing.assert_array_equal(step.value, trace.steps[step.same_as - 1].value)


def test_by_hand():
    """A forward and a backward pass by the layers alone, beside the trace."""
    model = build("AFM")
    trace = minictr.trace(model, X[:2], Y[:2])
    copied = copy.deepcopy(model)
    slots = copied.encoder_.encode(X[:2])
    E = copied.embedding.forward(slots)
    pij = copied.pairs.forward(E)
    pooled = copied.attention.forward(pij)
    s = copied.linear.forward(slots) + copied.projection.forward(pooled)
    p_click = 1 / (1 + np.exp(-s))
    for key, value in {"AFM.E": E, "AFM.pij": pij, "attention.aij": copied.attention.cache["aij"], "AFM.s": s,
                       "LogLoss.ds": (p_click - Y[:2]) / 2}.items():
        np.testing.assert_allclose(trace.arrays[key], value, rtol=1e-12)
    dpij = copied.attention.backward(copied.projection.backward((p_click - Y[:2]) / 2))
    np.testing.assert_allclose(trace.arrays["AFM.dpij"], dpij, rtol=1e-12)
    np.testing.assert_allclose(trace.arrays["AFM.dE"], copied.pairs.backward(dpij), rtol=1e-12)


def test_an_array_changed_in_place_is_kept_as_it_was_at_each_line():
    before, after = steps_of(traced("AFM"), "embedding.V", "m")[:2]
    assert before.source == 'm, v = state["m"], state["v"]' and after.source.startswith("m[...] = ")
    assert not before.value.any()                                 # the first step of Adam
    np.testing.assert_allclose(after.value, 0.1 * traced("AFM").arrays["embedding.V.grad"], rtol=1e-12)


def test_a_line_in_a_loop_that_changes_an_array_is_one_step():
    trace = traced("AFM")
    empty, to_i, to_j = steps_of(trace, "pairs", "dE", "backward")
    E, dpij, pairs = trace.arrays["AFM.E"], trace.arrays["AFM.dpij"], list(itertools.combinations(range(4), 2))
    dE = np.zeros_like(E)
    for pair, (i, j) in enumerate(pairs):
        dE[:, i] += dpij[:, pair] * E[:, j]
        if pair == len(pairs) - 1:
            np.testing.assert_allclose(to_i.value, dE, rtol=1e-12)
        dE[:, j] += dpij[:, pair] * E[:, i]
    np.testing.assert_allclose(to_j.value, dE, rtol=1e-12)
    assert not empty.value.any() and (empty.times, to_i.times, to_j.times) == (1, 6, 6)
    assert str(trace).count("(after 6 turns)") == trace._repr_html_().count("after 6 turns") == 2


class InPlace(Layer):
    """out = 2 x, by lines that write into arrays."""

    def forward(self, x):
        out = np.empty_like(x)
        np.multiply(x, 1.5, out=out)
        out += x / 2                                              # (B, k)     2 x
        return out

    def backward(self, dout):
        dx = np.zeros_like(dout)
        np.add.at(dx, slice(None), 2 * dout)
        return dx


def test_a_layer_that_works_in_place_is_shown_line_by_line():
    model = nfm_with(InPlace)
    trace = minictr.trace(model, X[:2], Y[:2])
    first, second = steps_of(trace, "twice", "out")               # np.empty_like holds nothing to be shown
    x, dout = trace.arrays["pooling.out"], trace.arrays["mlp.dx"]
    np.testing.assert_allclose(first.value, 1.5 * x)
    np.testing.assert_allclose(second.value, 2 * x)
    assert "out=out" in first.source and second.source.startswith("out +=") and second.axes == "(B, k)"
    zeros, added = steps_of(trace, "twice", "dx")
    assert added.source == "np.add.at(dx, slice(None), 2 * dout)" and not zeros.value.any()
    np.testing.assert_allclose(added.value, 2 * dout)


def test_an_array_made_for_a_call_is_shown_where_it_is_made():
    step, = steps_of(traced("DeepFM-bn"), "DeepFM", "dE")
    assert "dE_FM + da0" in step.source and step.equation == "E feeds two towers: add"
    np.testing.assert_allclose(step.value, traced("DeepFM-bn").arrays["DeepFM.dE_FM"]
                               + traced("DeepFM-bn").arrays["DeepFM.da0"].reshape(step.value.shape))


def test_all_details_have_the_lines_inside_of_softmax():
    table = traced("AFM", detail="all").table
    inner = table[table["function"] == "softmax"]
    assert len(inner) and set(inner["line"].str.partition(":")[0]) == {"functions.py"}
    assert set(inner["layer"]) == {"attention"}
    assert "softmax" not in set(traced("AFM").table["function"])


# ---- the shapes that comments claim ----------------------------------------------------------------------------------

def dimensions(name, step, rows):
    """What the letters in the comments stand for: dicts of letter: number, several where a loop changes some."""
    model, slots = build(name), build(name).encoder_.encode(X[:rows])
    M, n = slots.n_fields, model.encoder_.n_ids
    found = {"B": rows, "M": M, "n": n, "S": slots.n_slots, "P": M * (M - 1) // 2, "T": M * (M - 1) * (M - 2) // 6,
             "C": 4, "units_L": 5}
    for letter, setting in (("k", "embedding_dim"), ("t", "attention_dim"), ("H", "num_heads"), ("d", "attention_dim"),
                            ("d'", "attention_dim")):
        found[letter] = getattr(model, setting, None)
    layer = dict(named_layers(model)).get(step.layer)
    params, kind = layer.params if layer is not None else {}, type(layer).__name__
    if kind == "Embedding":
        found["k"] = params["V"].shape[1]                         # FFM's has M vectors of each value side by side
    elif kind == "Concatenate":
        found["n"] = layer_input_size(model, slots, step.layer)
    elif kind == "ResidualUnit":
        found["n"], found["width"] = params["W_1"].shape
    elif kind == "CrossNetwork":
        found["n_in"] = len(params["w_0"])
    elif kind == "CIN":
        return [found | {"H_l": W.shape[0], "H_{l-1}": W.shape[1], "H": sum(layer.widths)} for W in params.values()]
    elif kind == "Crosses":                                       # a cross grows field by field
        found["S"], widths = layer.crossed(slots).n_slots, np.diff([*slots.starts, slots.n_slots])
        return [found | {"combinations": widths[list(cross[:size])].prod()}
                for cross in layer.crosses for size in range(1, len(cross) + 1)]
    elif "W" in params and params["W"].ndim == 2:
        found["n_in"], found["n_out"] = params["W"].shape
    elif "W_Q" in params:
        found["n_in"] = len(params["W_Q"])
    elif kind == "Readout":
        found["n_in"] = len(params[layer.symbol])
    elif kind == "MLP":
        found["n_in"] = len(layer.dense[0].params["W"] if layer.dense else layer.out.params["w"])
    elif "gamma" in params:
        found["n"] = len(params["gamma"])
    return [found]


def layer_input_size(model, slots, name):
    """How many numbers of a row a layer puts side by side."""
    model.forward(slots)
    return sum(array[0].size for array in getattr(model, name).cache.values())


def claimed(axes, found):
    """(B, M k) with the letters' numbers; "..." stays."""
    inner = axes[1:-1].rstrip(", ")
    return [axis if axis == "..." else size(axis, found) for axis in re.split(r",\s*", inner)]


def size(axis, found):
    """1 + M (k - 1) as a number; letters that stand side by side are multiplied."""
    axis = re.sub(r"[A-Za-z]\w*(?:\{[^}]*\})?'?", lambda letter: str(found[letter[0]]), axis)
    return eval(re.sub(r"(?<=[\d)])\s+(?=[\d(])", " * ", axis))


@each_model
@pytest.mark.parametrize("rows", [pytest.param(2, marks=pytest.mark.long), 7])
def test_shapes_are_what_the_comments_of_the_library_say(name, rows):
    checked = 0
    for step in traced(name, rows).steps:
        if not step.axes:
            continue
        shape, wanted = list(step.value.shape), [claimed(step.axes, found) for found in dimensions(name, step, rows)]
        if wanted[0][0] == "...":
            shape, wanted = shape[-len(wanted[0]) + 1:], [wanted[0][1:]]
        assert shape in wanted, f"{step.line}: {step.symbol} is {step.value.shape}, the comment says {step.axes}"
        checked += 1
    assert checked > 8


@pytest.mark.parametrize("text, axes, equation", [
    ("(B, k)     w . x", "(B, k)", "w . x"), ("(B,)", "(B,)", ""), ("(B, M (M-1), k)  dp", "(B, M (M-1), k)", "dp"),
    ("(W_Q e_m) . (W_K e_k)", "", "(W_Q e_m) . (W_K e_k)"), ("(B, H, M, d) each", "(B, H, M, d)", ""),
    ("z = x", "", "z = x"), ("(..., n)", "(..., n)", ""), ("(eq. 4)", "", "(eq. 4)"),
])
def test_a_comment_is_a_shape_and_an_equation(tmp_path, text, axes, equation):
    path = tmp_path / "line.py"
    path.write_text(f"x = 1    # {text}\n")
    statement = ast.parse(path.read_text()).body[0]
    assert comment_of(str(path), statement) == (axes, equation)


# ---- the model stays as it was ---------------------------------------------------------------------------------------

@each_model
@pytest.mark.parametrize("state", ["prepared", "stepped", "fitted"])
def test_the_model_is_not_changed(name, state):
    dropout = {"deep_dropout": 0.3} if name == OFFICIAL else dropouts(name)
    model, other = build(name, **dropout), build(name, **dropout)
    for each in (model, other):
        if state == "stepped":
            each.train_step(X[:9], Y[:9])
        if state == "fitted":
            each.set_params(epochs=2).fit(X, Y)
    before, previous = everything(model), sys.gettrace()
    trace = minictr.trace(model, X[:4], Y[:4])
    assert everything(model) == before and sys.gettrace() is previous
    assert trace.loss == model.train_step(X[:4], Y[:4]) == other.train_step(X[:4], Y[:4])
    assert everything(model)[0] == everything(other)[0]


def test_dropout_goes_on_where_it_is():
    model = build("AFM", dropout=0.5)
    model.train_step(X[:9], Y[:9])
    mask = minictr.trace(model, X[:4], Y[:4]).arrays["pooled_dropout.mask"]
    model.train_step(X[:4], Y[:4])
    np.testing.assert_array_equal(mask, model.pooled_dropout.cache["mask"])


def test_the_model_is_as_it_was_after_an_error():
    model = build("DeepFM-bn")
    before, previous = everything(model), sys.gettrace()
    with pytest.raises(ValueError, match="batch of one row"):
        minictr.trace(model, X[:1], Y[:1])
    assert everything(model) == before and sys.gettrace() is previous


# ---- what goes in ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options, y", [
    ({"dtype": "float32"}, Y), ({"optimizer": "sgd"}, Y), ({"optimizer": "adagrad"}, Y), ({"lazy": False}, Y),
    ({"reg": 0.1}, Y), ({"freeze": ("embedding",)}, Y), ({"task": "regression"}, Y * 2.5),
])
def test_settings_of_training_are_those_of_the_step(options, y):
    model = build("FM", y, **options)
    trace = minictr.trace(model, X[:5], y[:5])
    assert trace.loss == model.train_step(X[:5], y[:5])
    for name, array in parameters(model).items():
        updates = steps_of(trace, name, "param")
        if name.partition(".")[0] in options.get("freeze", ()):
            assert not updates
        else:
            np.testing.assert_array_equal((steps_of(trace, name, "table") or updates)[-1].value, array)
    if "reg" in options:
        for name in ("linear.w", "embedding.V"):                  # dL/dW + 2 reg / B W, of the rows looked up
            looked_up = parameters(build("FM"))[name][model.encode(X[:5], y[:5])[0].ids.ravel()]
            x = model.encode(X[:5], y[:5])[0].x.ravel()
            looked_up[x == 0] = 0
            layer, _, key = name.partition(".")
            np.testing.assert_allclose(trace.arrays[f"reg.d{name}"],
                                       trace.arrays[f"{layer}.d{key}"] + 2 * 0.1 / 5 * looked_up, rtol=1e-12)
    if "task" in options:
        assert "SquaredLoss" in trace.layers and trace.arrays["SquaredLoss.ds"].shape == (5,)
    assert trace.arrays["FM.s"].dtype == trace.arrays["linear.w.param"].dtype == model.dtype


def test_64_rows_are_one_batch_and_65_too_many():
    X, y = mixed_table(65)
    model = AFM(embedding_dim=40, attention_dim=700, fields=FIELDS).prepare(X, y)   # in chunks otherwise
    assert chunked.chunk_rows(model, model.encoder_.encode(X[:64]), training=True) < 64
    assert minictr.trace(model, X[:64], y[:64]).arrays["AFM.s"].shape == (64,)
    with pytest.raises(ValueError, match=r"at most 64 rows, got 65: .*X\[:1\]"):
        minictr.trace(model, X, y)


def test_what_cannot_be_traced_is_refused():
    model = build("FM")
    with pytest.raises(TypeError, match="needs a model"):
        minictr.trace(model.embedding, X[:1], Y[:1])
    with pytest.raises(NotFittedError):
        minictr.trace(FM(), X[:1], Y[:1])
    with pytest.raises(ValueError, match="detail must be"):
        minictr.trace(model, X[:1], Y[:1], detail="some")
    with pytest.raises(ValueError, match="empty"):
        minictr.trace(model, X[:0], Y[:0])
    with pytest.raises(ValueError, match="0 and 1"):
        minictr.trace(model, X[:1], [3])
    with pytest.raises(ValueError, match="hour"):
        minictr.trace(model, X[:1].drop(columns="hour"), Y[:1])


class Twice(Layer):
    """out = 2 x   (Nobody & Someone 2031, eq. 77)."""

    def forward(self, x):
        self.cache = {"x": x}
        out = x * 2; half = x / 2                                 # noqa: E702  two on a line
        out = (out
               + 0 * half)                                        # (B, k)     2 x
        return out

    def backward(self, dout):
        return 2 * dout                                           # (B, k)     out = 2 x


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class PooledPairs(Model):
    """s = w_0 + sum_i w_i x_i + MLP(2 pooled)."""

    def build(self, n, M, rng):
        self.linear, self.embedding = Linear(n, dtype=self.dtype), Embedding(n, 3, rng, dtype=self.dtype)
        self.pooling, self.twice = FMPooling(), Twice()
        self.mlp = MLP(3, (4,), rng, dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        pooled = self.twice.forward(self.pooling.forward(E))
        return self.linear.forward(slots) + self.mlp.forward(pooled)

    def backward(self, ds):
        dpooled = self.twice.backward(self.mlp.backward(ds))
        self.embedding.backward(self.pooling.backward(dpooled))
        self.linear.backward(ds)

    def bias(self):
        return self.linear.params["w0"]


def nfm_with(layer):
    """Pooled pairs, with another layer to multiply by 2."""
    model = PooledPairs(fields=FIELDS).prepare(X, Y)
    model.twice = layer()
    return model


def test_a_model_and_a_layer_of_ones_own():
    model = nfm_with(Twice)
    trace = minictr.trace(model, X[:2], Y[:2])
    first, half, second = [step for step in trace.steps if step.layer == "twice" and step.symbol in ("out", "half")]
    assert (first.lineno, second.source.count("\n")) == (half.lineno, 1) and second.axes == "(B, k)"
    assert second.line.startswith("test_tracing.py:")
    np.testing.assert_array_equal(first.value, 2 * trace.arrays["twice.x"])
    np.testing.assert_array_equal(half.value, trace.arrays["twice.x"] / 2)
    np.testing.assert_array_equal(trace.arrays["twice.dx"], 2 * trace.arrays["mlp.dx"])
    assert ("pooling", "twice") in set(zip(trace.edges["source"], trace.edges["target"], strict=True))


def test_a_source_that_cannot_be_read_is_said():
    space = {"FM": FM}
    code = compile("class Typed(FM):\n    def forward(self, slots):\n        return FM.forward(self, slots)\n",
                   "<typed>", "exec")
    exec(code, space)
    model = space["Typed"](fields=FIELDS).prepare(X, Y)
    with pytest.raises(ValueError, match="source of forward in <typed> cannot be read"):
        minictr.trace(model, X[:1], Y[:1])


# ---- the table, the text, the page -----------------------------------------------------------------------------------

@each_model
def test_the_table_has_a_line_for_each_step(name):
    trace, table = traced(name), traced(name).table
    assert len(table) == len(trace) and list(table.columns) == [
        "step", "phase", "layer", "function", "symbol", "notation", "paper", "equation", "line", "source", "axes",
        "shape", "dtype", "min", "max", "mean", "norm", "values"]
    for row in table.itertuples():
        assert row.shape == row.values.shape
        assert row.norm == pytest.approx(math.sqrt(sum(float(number) ** 2 for number in row.values.ravel())))
        assert row.min == row.values.min() and row.max == row.values.max()
        assert row.mean == pytest.approx(float(np.mean(row.values, dtype=float)))


@each_model
def test_the_text_has_every_line_and_the_numbers(name):
    text = str(traced(name))
    assert text.isascii() and max(map(len, text.splitlines())) < 160
    for step in traced(name).steps:
        assert re.search(rf"^ *{step.number}  {re.escape(step.line)} +.*{re.escape(step.symbol)}", text, re.MULTILINE)
    assert "---- forward: embedding (Embedding) ---" in text or "embedding" not in dict(named_layers(build(name)))
    assert repr(traced(name)).startswith(f"<Trace of {type(build(name)).__name__}: {len(traced(name))} steps")


def test_small_arrays_are_printed_in_full_and_large_ones_summed_up():
    text = str(traced("AFM", 7))
    aij = steps_of(traced("AFM", 7), "attention", "aij")[0].value
    block = text[text.index("aij = softmax"):].split("\n")[1:8]
    numbers = [[float(number) for number in re.findall(r"-?\d+\.\d+", line)] for line in block]
    np.testing.assert_allclose(numbers, aij, atol=5.1e-5)
    pij = steps_of(traced("AFM", 7), "pairs", "out")[-1].value
    assert f"norm {np.linalg.norm(pij):.4g}" in text


@examples(30)
@given(st.lists(st.floats(-(2.0 ** 100), 2.0 ** 100, width=32), min_size=1, max_size=9))
@example([2 * 2.0 ** -149])       # in float32 a thousandth of it would be 0
def test_printed_numbers_are_the_numbers(numbers):
    array = np.array(numbers, np.float32)
    printed = re.findall(r"-?\d[\d.]*(?:e[+-]\d+)?", " ".join(numbers_text(array)))
    assert len(printed) == len(array)
    array = array.astype(np.float64)
    np.testing.assert_allclose([float(number) for number in printed], array, rtol=6e-3, atol=6e-4 * np.abs(array).max())


class Tags(html.parser.HTMLParser):
    """Counts the tags and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@each_model
def test_the_page_is_sound_and_folds(name):
    trace = traced(name)
    tags = Tags()
    tags.feed(trace._repr_html_())
    assert not tags.open
    names = [tag for tag, _ in tags.seen]
    assert "script" not in names and names.count("details") == names.count("summary") == len(trace.groups())
    assert not any(key.startswith("on") or key in ("src", "href") for _, attrs in tags.seen for key in attrs)
    cells = [attrs for tag, attrs in tags.seen if tag == "td" and attrs.get("class") == "n"]
    shown = sum(step.value.size for step in trace.steps if not step.same_as and 0 < step.value.size <= 64)
    assert len(cells) == shown


def test_colours_are_symmetric_around_zero():
    page = numbers_html(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]]))
    cells = re.findall(r"<td[^>]*>", page)
    strength = [float(alpha[0]) if (alpha := re.findall(r", ([\d.]+)\)", cell)) else 0 for cell in cells]
    assert strength == strength[::-1] == [0.6, 0.3, 0, 0.3, 0.6]
    assert BELOW in cells[0] and ABOVE in cells[4]
    assert re.findall(r">([^<>]+)</td>", page) == ["-2", "-1", "0", "1", "2"]


def test_names_of_fields_are_escaped():
    evil = "<script>alert(1)</script>"
    table = X.rename(columns={"user": evil}).assign(hour="<b>9")
    model = FM(embedding_dim=2, fields=[evil, "hour", MultiValued("genres")]).prepare(table, Y)
    trace = minictr.trace(model, table[:2], Y[:2])
    page = trace._repr_html_()
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>9" not in page
    assert evil in trace.flow(ax=Figure().subplots()).texts[0].get_text().replace("\n", "")


# ---- the picture -----------------------------------------------------------------------------------------------------

def labels(ax):
    return {text.get_text().splitlines()[0].partition(":")[0]: text.get_text() for text in ax.texts if text.get_text()}


@each_model
def test_flow_draws_every_layer_shape_and_gradient(name):
    trace, figure = traced(name), Figure((9, 9))
    ax = trace.flow(ax=figure.subplots())
    figure.draw_without_rendering()
    texts = [text.get_text() for text in ax.texts]
    for edge in trace.edges.itertuples():
        assert f"{edge.symbol} {edge.shape}".strip() in texts
        assert edge.source == "input" or f"{edge.gradient:.2g}" in texts
    boxes = {text.split(":")[0].split("\n")[0] for text in texts}
    assert {*trace.edges["source"], *trace.edges["target"]} <= boxes
    assert len(ax.patches) == len({*trace.edges["source"], *trace.edges["target"]})
    down, up = ([line for line in ax.lines if line.get_linestyle() == style and len(line.get_xdata())]
                for style in ("-", "--"))
    assert len(down) == len(trace.edges) and len(up) == trace.edges["gradient"].notna().sum()
    for box in ax.patches:      # no two boxes overlap
        others = [other for other in ax.patches if other is not box]
        assert all(abs(box.get_x() - other.get_x()) >= box.get_width()
                   or abs(box.get_y() - other.get_y()) >= box.get_height() for other in others)


def test_gradients_on_the_edges_add_up_at_a_fork():
    trace = traced("DeepFM-bn")
    edges = trace.edges.set_index(["source", "target"])
    arrays = trace.arrays
    assert edges.loc[("embedding", "pooling"), "gradient"] == pytest.approx(np.linalg.norm(arrays["DeepFM.dE_FM"]))
    assert edges.loc[("embedding", "mlp"), "gradient"] == pytest.approx(np.linalg.norm(arrays["DeepFM.da0"]))
    assert edges.loc[("s", "loss"), "gradient"] == pytest.approx(np.linalg.norm(arrays["LogLoss.ds"]))
    assert set(trace.edges["source"][trace.edges["target"] == "s"]) == {"factor_sum", "linear", "mlp"}
    assert trace.gradients["mlp"]["out.w"] == pytest.approx(np.linalg.norm(arrays["mlp.out.dw"]))


def lengths_inside(line, box):
    """How much of a line runs behind a box."""
    x, y = (np.interp(np.linspace(0, 1, 2001), np.linspace(0, 1, len(ends)), ends) for ends in line.get_data())
    inside = ((box.get_x() + 1e-9 < x) & (x < box.get_x() + box.get_width() - 1e-9)
              & (box.get_y() + 1e-9 < y) & (y < box.get_y() + box.get_height() - 1e-9))
    return inside.mean()


@each_model
def test_no_line_of_the_picture_runs_behind_a_box(name):
    ax = traced(name).flow(ax=Figure((9, 9)).subplots())
    lines = [line for line in ax.lines if len(line.get_xdata())]
    assert lines and not any(lengths_inside(line, box) for line in lines for box in ax.patches)


def test_each_part_of_what_is_put_side_by_side_has_an_arrow_and_its_own_gradient():
    trace = traced("PNN-both-bn")                                 # all three: vectors, inner and outer products
    into = trace.edges.query("target == 'inputs'").set_index("source")
    assert list(into.index) == ["embedding", "inner", "outer"] and into.loc["embedding", "symbol"] == "E"
    assert list(into["shape"]) == [(2, 4, 3), (2, 6), (2, 3, 3)]
    dinputs = trace.arrays["mlp.dense_1.dx"]
    for source, part in zip(into.index, (slice(12), slice(12, 18), slice(18, 27)), strict=True):
        assert into.loc[source, "gradient"] == pytest.approx(np.linalg.norm(dinputs[:, part]))
    assert trace.arrays["PNN.dproducts[0]"].shape == (2, 6) and steps_of(trace, "PNN", "dE")[0].axes == "(B, M, k)"
    assert all(step.axes == "" for step in steps_of(trace, "PNN", "dproducts[0]"))


def test_a_step_of_several_optimizers_names_them_and_shows_what_each_updates():
    model = build("WideDeep", optimizer="adagrad", wide_optimizer="ftrl", learning_rate=0.05)
    trace = minictr.trace(model, X[:2], Y[:2])
    assert trace.optimizer == "Adagrad, learning rate 0.05 and FTRL, learning rate 0.1, step 1"
    updated_by = {layer: kind for layer, kind in trace.layers.items() if "." in layer and kind in ("Adagrad", "FTRL")}
    assert {layer for layer, kind in updated_by.items() if kind == "FTRL"} == {"linear.w", "crossed.w"}
    assert set(updated_by) == set(parameters(model))


def test_flow_keeps_the_contract_of_all_plots(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("plt.show was called"))
    figure = Figure((4, 5))
    mine, other = figure.subplots(1, 2)
    assert plots.flow(traced("AFM"), ax=mine) is mine
    assert tuple(figure.get_size_inches()) == (4, 5) and not other.texts and not plt.get_fignums()
    ax = traced("AFM").flow()
    assert len(plt.get_fignums()) == 1 and ax.figure.get_layout_engine() is not None
    with pytest.raises(TypeError, match=r"minictr\.trace"):
        plots.flow(pd.DataFrame())


# ---- the command -----------------------------------------------------------------------------------------------------

def run(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue()


@pytest.mark.parametrize("name", ["lr", "fm", "afm", "autoint", "deepfm"])
def test_the_command_prints_the_trace_of_a_tiny_example(name):
    code, out = run("trace", "--model", name)
    assert code == 0 and "One training step of" in out and "2 rows, 3 fields" in out
    assert "---- update: linear.w" in out or name == "autoint"
    assert run("trace", "--model", name)[1] == out


def test_the_command_writes_a_page_and_a_picture(tmp_path):
    code, out = run("trace", "--out", tmp_path / "traced", "--detail", "all")
    assert code == 0 and "flow.png" in out and "functions.py" in out
    page = (tmp_path / "traced" / "trace.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "attention_pooling.py" in page
    pixels = matplotlib.image.imread(tmp_path / "traced" / "flow.png")
    assert min(pixels.shape[:2]) > 200 and pixels[..., :3].std() > 0.02
    step = (tmp_path / "traced" / "step.html").read_text(encoding="utf-8")
    assert "user_segment" in step and "attention_pooling.py" in step and "step.html" in out


def test_the_command_refuses_a_file_for_a_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["trace", "--out", str(tmp_path / "file")]) == 1
    assert "this is a file" in capsys.readouterr().err
