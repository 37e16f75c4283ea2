"""What the page of a step is made from: which numbers a line reads, held against NumPy itself, and every epoch."""

import copy
import json
import math

import numpy as np
import pandas as pd
import pytest
from models import MODELS
from step_numbers import Numbers, computed

import minictr
from minictr import AFM, FM, AutoInt, DeepFM, FwFM, Model, MultiValued, Numerical, StepOverEpochs, datasets
from minictr.layers import Embedding, Layer, Linear, Readout, named_layers, parameters
from minictr.tracing import NotFollowed, graph, node_run
from minictr.tracing.node_run import decimal

CLICKS = datasets.make_clicks(200, seed=0)
FIELDS = ["user_segment", "ad_category", "device", "discount"]
X, Y = CLICKS.X[FIELDS], CLICKS.y
FOUR = ("AFM", "AutoInt", "DeepFM", "FM")
SIZES = {"embedding_dim": 3, "attention_dim": 2, "num_heads": 2, "num_layers": 1, "deep_layers": (4,)}


def prepared(name, table=X, y=Y, **settings):
    cls = MODELS[name] if isinstance(name, str) else name
    sizes = {size: SIZES.get(size, value) for size, value in cls.tiny.items()}
    model = cls(**{**sizes, "dtype": "float64", **settings}).prepare(table, y)
    rng = np.random.default_rng(3)
    for array in parameters(model).values():
        array[...] = rng.uniform(-1, 1, array.shape)
    return model


def numbers_of(model, rows=2, table=X, y=Y, **options):
    return Numbers(minictr.trace(model, table[:rows], y[:rows], **options).page_data())


def assert_shows(numbers, values, trace):
    """Each array of the page has, at these values of its nodes, the numbers of the trace."""
    steps = {step.number: step for step in trace.steps}
    for array in numbers.data["arrays"]:
        plain = steps[array["step"]].value
        own = values[array["cells"]].reshape(array["shape"])
        if plain.shape == own.shape:                              # of a table the page has some rows
            assert np.allclose(own, plain, rtol=1e-9, atol=1e-12), (array["layer"], array["symbol"])


# ------------------------------------------------------------------------------- the relation against NumPy itself

@pytest.mark.parametrize("name", FOUR)
def test_a_changed_number_changes_on_the_page_what_it_changes_in_numpy(name):
    model = prepared(name)
    numbers = numbers_of(model)
    before = numbers.values()
    assert_shows(numbers, before, minictr.trace(model, X[:2], Y[:2]))
    slots, *_ = model.encode(X[:2], Y[:2])
    for full_name, param in parameters(model).items():
        flat = int(slots.ids[1, 2]) * (param.size // len(param)) if full_name in ("embedding.V", "linear.w") else -1
        other = copy.deepcopy(model)
        parameters(other)[full_name].flat[flat] += 0.25
        leaf = next(node for array in numbers.data["arrays"] if array["starts_from"] == full_name
                    and array["kind"] == "parameter" for node in [array["cells"][-1]]) if flat == -1 else None
        if leaf is None:
            rows = next(array for array in numbers.data["arrays"] if array["starts_from"] == full_name)
            row = sorted(set(slots.ids.ravel().tolist())).index(int(slots.ids[1, 2]))
            leaf = rows["cells"][row * (param.size // len(param))]
        after = numbers.values({leaf: before[leaf] + 0.25})
        assert_shows(numbers, after, minictr.trace(other, X[:2], Y[:2]))
        changed = set(np.flatnonzero(after != before).tolist())
        assert len(changed) >= 3 and changed <= numbers.dependents(leaf)


def backward_of(layer, model_layer, dout, key=None, cell=None):
    """NumPy's backward of a layer, with one number of its cache changed: {name of the gradient: array}; dx is "dx"."""
    layer = copy.deepcopy(layer)
    for name, array in model_layer.params.items():                # as they were before the update
        layer.params[name][...] = array
    if key is not None:
        layer.cache[key].flat[cell] += 1e-3
    dx = type(layer).backward(layer, dout)
    return {**{f"d{name}": grad for name, grad in layer.grads.items()}, "dx": dx}


@pytest.mark.parametrize("name", FOUR)
def test_each_number_that_forward_kept_changes_in_backward_what_reads_it(name, monkeypatch):
    """NumPy's own backward of each layer, with one number of its cache changed, against the nodes."""
    model = prepared(name)
    numbers = numbers_of(model)
    before, douts = numbers.values(), {}
    plain, layers = copy.deepcopy(model), dict(named_layers(model))
    with monkeypatch.context() as patch:
        for layer_name, layer in named_layers(plain):
            def noted(dout, layer_name=layer_name, backward=layer.backward):
                douts[layer_name] = np.array(dout)
                return backward(dout)
            patch.setattr(layer, "backward", noted)
        plain.train_step(X[:2], Y[:2])
    forward = {node for array in numbers.data["arrays"] if array["phase"] == "forward" for node in array["cells"]}
    held, rng, tried = {each: before[each] for each in forward}, np.random.default_rng(0), 0
    for layer_name, layer in named_layers(plain):
        if layer_name not in douts or layer.tables or not layer.cache:
            continue
        plain_grads = backward_of(layer, layers[layer_name], douts[layer_name])
        shown = {symbol: next(np.array(array["cells"]) for array in numbers.data["arrays"]
                              if array["phase"] == "backward" and array["shape"] == list(grad.shape)
                              and np.allclose(before[array["cells"]], grad.ravel(), rtol=1e-9, atol=1e-15))
                 for symbol, grad in plain_grads.items()}
        for key, kept in layer.cache.items():
            if kept is None:                                      # the mask of a dropout that drops nothing
                continue
            array = next(array for array in sorted(numbers.data["arrays"], key=lambda array: array["symbol"] != key)
                         if array["shape"] == list(kept.shape)
                         and np.allclose(before[array["cells"]], kept.ravel(), rtol=1e-12, atol=0))
            for cell in rng.choice(kept.size, size=min(4, kept.size), replace=False):
                node = array["cells"][cell]
                after = numbers.values({**held, node: before[node] + 1e-3})
                reached = numbers.dependents(node, held=forward)
                for symbol, grad in backward_of(layer, layers[layer_name], douts[layer_name], key, cell).items():
                    cells = shown[symbol]
                    assert np.allclose(after[cells], grad.ravel(), rtol=1e-9, atol=1e-12), (layer_name, key, symbol)
                    changed = set(cells[plain_grads[symbol].ravel() != grad.ravel()].tolist())
                    assert changed <= reached, (layer_name, key, symbol)
                    tried += len(changed)
    assert tried > 10


@pytest.mark.parametrize("name", FOUR)
def test_what_a_cell_reads_is_all_that_its_value_needs(name):
    numbers = numbers_of(prepared(name))
    before = numbers.values()

    def again(node, given):
        """The value of a node, computed down to given ones."""
        op = numbers.ops[numbers.data["nodes"][node][0]]
        if op == "const":
            return np.float64(numbers.data["nodes"][node][1])
        assert numbers.args[node], f"the {op} {node} is not among what the cell reads"
        return computed(op, [given[arg] if arg in given else again(arg, given) for arg in numbers.args[node]])

    for array in numbers.data["arrays"]:
        for cell, node in enumerate(array["cells"]):
            reads = {each: before[each] for _, each in numbers.reads(array, cell)}
            if reads.keys() != {node} and numbers.args[node]:
                assert again(node, reads) == before[node], (array["symbol"], cell)


# -------------------------------------------------------------------------------------- some of it, written by hand

def test_a_score_reads_its_query_and_key_and_the_transpose_a_column():
    numbers = numbers_of(prepared("AutoInt"))
    layer = "interacting_1"
    S = numbers.array(layer, "S")
    cell = np.ravel_multi_index((1, 0, 2, 3), S["shape"])
    assert numbers.places(S, cell) == {("Q", (1, 0, 2, d)) for d in range(2)} | {("K", (1, 0, 3, d)) for d in range(2)}
    dK = numbers.array(layer, "dK", "backward")
    cell = np.ravel_multi_index((0, 1, 2, 1), dK["shape"])        # dK = dS^T Q: column 2 of dS
    assert numbers.places(dK, cell) == {(symbol, (0, 1, m, last)) for symbol, last in (("dS", 2), ("Q", 1))
                                        for m in range(4)}
    dQ = numbers.array(layer, "dQ", "backward")
    cell = np.ravel_multi_index((0, 1, 2, 1), dQ["shape"])        # dQ = dS K: row 2 of dS
    assert numbers.places(dQ, cell) == {("dS", (0, 1, 2, m)) for m in range(4)} | {
        ("K", (0, 1, m, 1)) for m in range(4)}


def test_a_softmax_reads_all_scores_of_its_row_and_no_others():
    numbers = numbers_of(prepared("AutoInt"))
    a = numbers.array("interacting_1", "a")
    cell = np.ravel_multi_index((1, 1, 0, 2), a["shape"])
    assert numbers.places(a, cell) == {("S", (1, 1, 0, k)) for k in range(4)}
    numbers = numbers_of(prepared("AFM"))
    aij = numbers.array("attention", "aij")
    assert numbers.places(aij, 8) == {("s", (1, pair)) for pair in range(6)}
    ds = numbers.array("attention", "ds", "backward")
    assert numbers.places(ds, 8) == {("aij", (1, pair)) for pair in range(6)} | {("daij", (1, p)) for p in range(6)}


def test_the_gradient_of_a_pair_has_two_ways():
    numbers = numbers_of(prepared("AFM"))
    dpij = numbers.array("attention", "dpij", "backward")
    cell = np.ravel_multi_index((1, 4, 2), dpij["shape"])
    assert numbers.places(dpij, cell) == {("dpij_pool", (1, 4, 2)), ("dpij_score", (1, 4, 2))}
    score = numbers.array("attention", "dpij_score", "backward")
    assert numbers.places(score, cell) == {("dz", (1, 4, t)) for t in range(2)} | {("W", (2, t)) for t in range(2)}
    pool = numbers.array("attention", "dpij_pool", "backward")
    assert numbers.places(pool, cell) == {("aij", (1, 4)), ("dpooled", (1, 2))}


def test_a_loop_that_adds_up_is_one_array_that_reads_all_its_terms():
    numbers = numbers_of(prepared("AFM"))
    dE = numbers.array("pairs", "dE", "backward")
    pairs = {0: 1, 1: 2, 2: 3}                                    # of field 0: with 1, 2, 3
    assert numbers.places(dE, 1) == {("dpij", (0, pair, 1)) for pair in pairs} | {
        ("E", (0, other, 1)) for other in pairs.values()}
    assert "dE[:, i] +=" in dE["source"] and "dE[:, j] +=" in dE["source"]


def test_a_head_is_its_share_of_each_field():
    numbers = numbers_of(prepared("AutoInt"))
    Q = numbers.array("interacting_1", "Q")
    joined = numbers.data["arrays"][Q["copied_from"]]
    assert (joined["shape"], Q["shape"]) == ([2, 4, 4], [2, 2, 4, 2])
    assert np.array_equal(np.array(Q["cells"]).reshape(Q["shape"]),
                          np.array(joined["cells"]).reshape(2, 4, 2, 2).swapaxes(1, 2))


def test_an_update_reads_its_gradient_its_moments_and_t():
    numbers = numbers_of(prepared("FM"))
    m_hat = numbers.array("embedding.V", "m_hat", "update")
    assert numbers.places(m_hat, 0) == {("m", (0, 0)), ("t", ())}
    param = numbers.array("embedding.V", "param", "update")
    assert {symbol for symbol, _ in numbers.places(param, 0)} == {"V", "m_hat", "v_hat"}
    assert numbers.data["arrays"][param["parameter"]]["symbol"] == "V"


# ------------------------------------------------------------------------------------------------ names, and the like

def test_gradients_stand_below_their_arrays():
    for name, expected in {
            "AFM": {"dpooled": "pooled", "daij": "aij", "dpij_pool": "pij", "dpij_score": "pij", "ds": "s", "dr": "r",
                    "dz": "z", "dW": "W", "db": "b", "dh": "h", "dpij": "pij", "dE": "E", "dp": "p"},
            "AutoInt": {"dz": "z", "da": "a", "dV": "V", "dS": "S", "dQ": "Q", "dK": "K", "dW_Res": "W_Res", "dE": "E"}
            }.items():
        data = numbers_of(prepared(name)).data
        found = {array["symbol"]: data["arrays"][array["gradient_of"]]["symbol"] for array in data["arrays"]
                 if array["phase"] == "backward" and array["gradient_of"] is not None
                 and array["layer"] not in ("linear", "embedding")}
        assert found.items() >= expected.items()
        for array in data["arrays"]:
            if array["gradient_of"] is not None:
                assert data["arrays"][array["gradient_of"]]["shape"] == array["shape"]


def test_each_gradient_is_that_of_its_array():
    """Of every array that is used in one way only: dL/d(each number), by two more steps of the page itself."""
    numbers = numbers_of(prepared("AFM"))
    before, L = numbers.values(), numbers.array("LogLoss", "L", "loss")["cells"][0]
    for symbol in ("pooled", "aij", "z", "pij", "E"):
        array = next(each for each in numbers.data["arrays"] if each["symbol"] == symbol)
        gradient = [each for each in numbers.data["arrays"] if each["gradient_of"] == array["id"]][-1]
        for node, gradient_node in zip(array["cells"], gradient["cells"], strict=True):
            high, low = (numbers.values({node: before[node] + step})[L] for step in (1e-6, -1e-6))
            assert math.isclose((high - low) / 2e-6, before[gradient_node], rel_tol=1e-5, abs_tol=1e-9), symbol


def test_names_along_the_axes_and_of_what_the_step_starts_from():
    numbers = numbers_of(prepared("AFM"))
    pij = numbers.array("attention", "pij")
    pairs = [f"{FIELDS[i]} × {FIELDS[j]}" for i in range(4) for j in range(i + 1, 4)]
    assert pij["labels"] == [["row 1", "row 2"], pairs, None]
    V = numbers.array("embedding", "V")
    assert V["shape"][0] == len(V["labels"][0]) == len(set(V["labels"][0]))
    assert f"device={X['device'].iloc[0]}" in V["labels"][0] and "discount=0.35" not in numbers.data["leaf_names"]
    names = numbers.data["leaf_names"]
    assert {f"V[device={X['device'].iloc[0]}][2]", "W[2,1]", "x[row 1][discount]", "y[row 2]", "t", "m of W[0,0]",
            f"v of w[device={X['device'].iloc[0]}]"} <= set(names)
    assert len(names) == len(set(names)) == len(numbers.data["snapshots"][0]["leaves"])


def test_an_array_without_a_comment_has_names_for_its_rows_where_they_are_its_rows():
    numbers = numbers_of(prepared("DeepFM", deep_layers=(2,)))    # w and b have as many numbers as there are rows
    assert numbers.array("LogLoss", "y", "loss")["labels"] == [["row 1", "row 2"]]
    assert numbers.array("DeepFM", "slots.x")["labels"] == [["row 1", "row 2"], FIELDS]
    for layer, symbol, phase in (("mlp.dense_1", "x", "forward"), ("mlp.relu_1", "out", "forward"),
                                 ("DeepFM", "s", "forward"), ("mlp.relu_1", "dx", "backward")):
        assert numbers.array(layer, symbol, phase)["labels"][0] == ["row 1", "row 2"], symbol
    for layer, symbol, phase in (("mlp.out", "w", "forward"), ("mlp.out", "dw", "backward"),
                                 ("mlp.dense_1", "b", "forward"), ("mlp.dense_1", "db", "backward")):
        assert numbers.array(layer, symbol, phase)["labels"] == [None], symbol


@pytest.mark.parametrize("name", MODELS)
def test_the_data_of_every_model_is_json_of_tables_in_order(name):
    data = json.loads(json.dumps(numbers_of(prepared(name)).data, allow_nan=False))
    assert {array["phase"] for array in data["arrays"]} == {"forward", "loss", "backward", "update"}
    assert [array["id"] for array in data["arrays"]] == list(range(len(data["arrays"])))
    assert [array["step"] for array in data["arrays"]] == sorted(array["step"] for array in data["arrays"])
    cells = [(array["shape"], array["cells"]) for array in data["arrays"]]
    for shape, own in cells:
        assert math.prod(shape) == len(own)
    assert all(cells.count(each) == 1 for each in cells)          # no array twice
    for number, node in enumerate(data["nodes"]):
        if data["ops"][node[0]] not in ("leaf", "const"):
            assert all(arg < number for arg in node[1:])
    assert {data["ops"][node[0]] for node in data["nodes"][:len(data["leaf_names"])]} == {"leaf"}


def test_a_field_of_several_values_and_rows_that_share_one():
    table = pd.DataFrame({"user": ["ann", "ann", "bob"], "genres": ["a|b", "b", "a"], "price": [1.5, 2.0, 3.0]})
    fields = ["user", MultiValued("genres"), Numerical("price")]
    numbers = numbers_of(prepared("FM", table, np.array([1, 0, 1]), fields=fields), 2, table, np.array([1, 0, 1]))
    names = numbers.data["leaf_names"]
    assert {"V[genres=a][0]", "V[genres=b][0]", "V[price][0]", "x[row 2][genres 2]"} <= set(names)
    assert len(names) == len(set(names))
    vx = [array for array in numbers.data["arrays"] if array["layer"] == "embedding" and array["axes"] == "(B, S, k)"]
    assert vx[0]["labels"][1] == ["user", "genres 1", "genres 2", "price"]
    grad = numbers.array("embedding.V", "grad", "update")
    ann = numbers.array("embedding", "V")["labels"][0].index("user=ann")
    assert {symbol for symbol, _ in numbers.places(grad, ann * 3)} == {"dV"}
    assert len(numbers.places(grad, ann * 3)) == 2                # ann's gradient is the sum of both rows'


def test_rows_with_the_same_value_are_told_apart():
    """Both look the same vector up; what is computed of a row reads that row's copy of it."""
    rows = np.flatnonzero(X["device"] == X["device"].iloc[0])[:2]
    table, y = X.iloc[rows], Y[rows]
    data = minictr.trace(prepared("AFM"), table, y).page_data()
    numbers = Numbers(data)
    E = numbers.array("embedding", "E")
    assert len(set(E["cells"])) == len(E["cells"])
    pij = numbers.array("pairs", "pij")
    for b in range(2):                                            # pair 5: device and discount
        assert numbers.places(pij, np.ravel_multi_index((b, 5, 1), pij["shape"])) == {
            ("E", (b, 2, 1)), ("E", (b, 3, 1))}
    vx = next(array for array in data["arrays"] if array["layer"] == "embedding" and array["shape"] == [2, 4, 3])
    row = numbers.array("embedding", "V")["labels"][0].index(f"device={table['device'].iloc[0]}")
    for b in range(2):
        assert numbers.places(vx, np.ravel_multi_index((b, 2, 1), vx["shape"])) == {("V", (row, 1))}
    dw = numbers.array("linear", "dw", "backward")                # one number, repeated over the slots
    assert len(set(dw["cells"])) == len(dw["cells"])


# ---------------------------------------------------------------------------------------------- a layer of one's own

def squashed(z):
    """A helper, with a choice in it."""
    return np.where(z > 0, np.log1p(np.abs(z)), 0.1 * z)


class Gate(Layer):
    """out = g(E W) * mean(E),   written as a learner would: zeros filled in, einsum, a helper, a mean."""

    def __init__(self, k, rng):
        super().__init__()
        self.params["W"] = rng.normal(size=(k, k))

    def forward(self, E):
        z = np.einsum("bmk,kl->bml", E, self.params["W"])         # (B, M, k)  z_i = e_i W
        g = squashed(z)                                           # (B, M, k)
        mean = E.mean(axis=1)                                     # (B, k)
        out = np.zeros((len(E), E.shape[2]))                      # (B, k)
        for i in range(E.shape[1]):
            out += g[:, i] * mean
        self.cache = {"E": E, "z": z, "g": g, "mean": mean}
        return out

    def backward(self, dout):
        E, z, g, mean = (self.cache[name] for name in ("E", "z", "g", "mean"))
        dmean = dout * g.sum(axis=1)                              # (B, k)
        dg = np.array([dout * mean] * E.shape[1]).swapaxes(0, 1)  # (B, M, k)
        dz = dg * np.where(z > 0, 1 / (1 + np.abs(z)), 0.1)       # (B, M, k)
        self.grads["W"] = np.einsum("bmk,bml->kl", E, dz)         # (k, k)
        return dz @ self.params["W"].T + dmean[:, None] / E.shape[1]


class Gated(Model):
    tiny = {}

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype="float64")
        self.embedding = Embedding(n, 3, rng, dtype="float64")
        self.gate = Gate(3, rng)
        self.readout = Readout(3, start=1.0, bias=False, dtype="float64")

    def forward(self, slots):
        out = self.gate.forward(self.embedding.forward(slots))
        return self.linear.forward(slots) + self.readout.forward(out)

    def backward(self, ds):
        self.linear.backward(ds)
        self.embedding.backward(self.gate.backward(self.readout.backward(ds)))

    def bias(self):
        return self.linear.params["w0"]


def test_a_layer_of_ones_own():
    model = prepared(Gated)
    numbers = numbers_of(model)
    assert_shows(numbers, numbers.values(), minictr.trace(model, X[:2], Y[:2]))
    z = numbers.array("gate", "z")
    assert numbers.places(z, 4) == {("E", (0, 1, k)) for k in range(3)} | {("W", (k, 1)) for k in range(3)}
    assert numbers.places(numbers.array("gate", "g"), 4) == {("z", (0, 1, 1))}
    assert numbers.places(numbers.array("gate", "mean"), 1) == {("E", (0, m, 1)) for m in range(4)}
    out = numbers.array("gate", "out")
    assert numbers.places(out, 1) == {("g", (0, m, 1)) for m in range(4)} | {("mean", (0, 1))}
    assert numbers.places(numbers.array("gate", "dW", "backward"), 5) == {
        (symbol, (b, m, k)) for symbol, k in (("E", 1), ("dz", 2)) for b in range(2) for m in range(4)}


class Leaves(Gate):
    """Leaves NumPy in its forward."""

    def forward(self, E):
        E = E + math.exp(E[0, 0, 0])
        return super().forward(E)


def test_a_line_that_cannot_be_followed_is_named(tmp_path):
    model = prepared(Gated)
    model.gate = Leaves(3, np.random.default_rng(0))
    trace = minictr.trace(model, X[:2], Y[:2])                    # plain numbers pass
    with pytest.raises(NotFollowed, match=r"test_step_data\.py:\d+, E = E \+ math\.exp\(E\[0, 0, 0\]\): float"):
        trace.save_page(tmp_path / "step.html")
    assert not (tmp_path / "step.html").exists()


def test_steps_that_no_page_can_show(monkeypatch):
    trace = minictr.trace(prepared("FM"), X[:2], Y[:2])
    monkeypatch.setattr(graph, "MOST_NUMBERS", 100)
    with pytest.raises(ValueError, match=r"has [\d,]+ numbers, and its page would show at most 100: trace fewer rows"):
        trace.page_data()
    monkeypatch.undo()
    monkeypatch.setattr(node_run, "MOST_PARAMETERS", 100)
    with pytest.raises(ValueError, match=r"at most 100 parameters; this FM has [\d,]+\. Take one with smaller"):
        trace.page_data()


def test_the_trace_and_the_model_stay_as_they_were():
    model = prepared("AFM", dropout=0.5)
    trace = minictr.trace(model, X[:2], Y[:2])
    text, params = str(trace), {name: array.copy() for name, array in parameters(model).items()}
    first = trace.page_data()
    model.train_step(X[:2], Y[:2])                                # the page is that of the traced step all the same
    assert trace.page_data() == first and str(trace) == text
    assert any(not np.array_equal(params[name], array) for name, array in parameters(model).items())
    masks = [array for array in first["arrays"] if array["symbol"] == "mask"]
    assert masks and {first["ops"][first["nodes"][node][0]] for node in masks[0]["cells"]} == {"const"}
    numbers = Numbers(first)
    pooled = [array for array in first["arrays"] if array["layer"] == "pooled_dropout" and array["symbol"] != "mask"
              and array["phase"] == "forward"] or [numbers.array("AFM", "pooled")]
    assert "mask" in {symbol for symbol, _ in numbers.places(pooled[-1], 0)}


# --------------------------------------------------------------------------------------------------- over the epochs

@pytest.mark.parametrize("name", [*FOUR, "WideDeep"])
def test_each_epochs_numbers_are_those_of_a_trace_of_the_model_then(name):
    cls = MODELS[name]
    shown, traces = (X[:2], Y[:2]), []
    watch = StepOverEpochs(*shown)

    def after_epoch(model, line=None):
        watch(model, line)
        traces.append(minictr.trace(model, *shown))

    model = cls(**cls.tiny, epochs=3, dtype="float64", batch_size=32)
    after_epoch(model.prepare(X, Y))
    model.fit(X, Y, after_epoch=after_epoch)
    numbers = Numbers(minictr.trace(model, *shown).page_data(watch))
    assert [each["epoch"] for each in numbers.data["snapshots"]] == [0, 1, 2, 3]
    assert numbers.data["snapshot"] == 3
    assert "train_loss" in numbers.data["snapshots"][1] and "val_loss" not in numbers.data["snapshots"][1]
    for snapshot, trace in zip(numbers.data["snapshots"], traces, strict=True):
        assert_shows(numbers, numbers.values(leaves=snapshot["leaves"]), trace)


def test_watching_changes_nothing_and_starts_afresh():
    watch = StepOverEpochs(X[:2], Y[:2])
    watched = AFM(embedding_dim=2, attention_dim=2, epochs=2, dropout=0.2).fit(X, Y, after_epoch=watch)
    plain = AFM(embedding_dim=2, attention_dim=2, epochs=2, dropout=0.2).fit(X, Y)
    for name, array in parameters(plain).items():
        assert np.array_equal(array, parameters(watched)[name])
    watched.fit(X, Y, after_epoch=watch)
    assert [line["epoch"] for line in watch.lines] == [1, 2]


def test_a_model_that_went_on_is_a_snapshot_of_its_own():
    watch = StepOverEpochs(X[:2], Y[:2])
    model = FM(embedding_dim=2, epochs=2).fit(X, Y, after_epoch=watch)
    model.train_step(X[:5], Y[:5])
    data = minictr.trace(model, X[:2], Y[:2]).page_data(watch)
    assert [each["epoch"] for each in data["snapshots"]] == [1, 2, None] and data["snapshot"] == 2


def test_epochs_of_something_else_are_refused():
    model = DeepFM(embedding_dim=2, deep_layers=(2,), epochs=1)
    watch = StepOverEpochs(X[:2], Y[:2])
    trace = minictr.trace(model.prepare(X, Y), X[:2], Y[:2])
    with pytest.raises(ValueError, match=r"nothing was watched yet; pass it to fit"):
        trace.page_data(watch)
    with pytest.raises(TypeError, match=r"epochs must be a StepOverEpochs that watched the training, .* got int"):
        trace.page_data(10)
    with pytest.raises(ValueError, match=r"at most 64, got 65: such as X\[:2\], y\[:2\]"):
        StepOverEpochs(X[:65], Y[:65])
    model.fit(X, Y, after_epoch=watch)
    for other, rows in ((model, slice(2, 4)), (AutoInt(**AutoInt.tiny).prepare(X, Y), slice(2)),
                        (DeepFM(embedding_dim=3, deep_layers=(2,)).prepare(X, Y), slice(2))):
        with pytest.raises(ValueError, match=r"after epoch 1 are other rows, or a model of other sizes"):
            minictr.trace(other, X[rows], Y[rows]).page_data(watch)


def test_numbers_are_as_they_are_written():
    assert decimal(np.float32([0.1, 1e-8, -3])).tolist() == [0.1, 1e-8, -3.0]
    assert decimal(np.array([1 / 3])).tolist() == [1 / 3]
    data = minictr.trace(FM(embedding_dim=2).prepare(X, Y), X[:2], Y[:2]).page_data(digits=3)
    assert all(float(f"{leaf:.3g}") == leaf for leaf in data["snapshots"][0]["leaves"])


@pytest.mark.parametrize(("model", "layer", "equation"), [
    (AFM(embedding_dim=2, attention_dim=2), "projection", "out = x . p"),
    (FwFM(embedding_dim=2), "strength", "out = x . r"),
    (AutoInt(embedding_dim=2, attention_dim=2, num_layers=1), "readout",
     "s = w . [e^L_1; ...; e^L_M] + b")])
def test_a_readout_is_shown_with_its_own_letter_and_a_bias_only_where_it_has_one(model, layer, equation):
    clicks = datasets.make_clicks(100, seed=0)
    X = clicks.X[["user_segment", "device", "hour"]]
    arrays = minictr.trace(model.prepare(X, clicks.y), X[:2], clicks.y[:2]).page_data()["arrays"]
    shown = [array["equation"] for array in arrays if (array["phase"], array["layer"]) == ("forward", layer)]
    assert equation in shown and not [text for text in shown if text not in ("", equation)]
