"""PyTorch as a second oracle: the same logits, gradients and training steps as torch computes on its own."""

import functools

import numpy as np
import pandas as pd
import pytest
from models import DROPPING, KINDS, VARIANTS, dropouts, small

from minictr import FM, MultiValued, Numerical, datasets, training
from minictr.layers import (
    BatchNorm,
    Dropout,
    InteractingLayer,
    LayerNorm,
    RowGradient,
    gradients,
    matches,
    named_layers,
    parameters,
    softmax,
    softmax_backward,
    states,
)
from minictr.losses import LogLoss, SquaredLoss

torch = pytest.importorskip("torch", reason="torch, the second oracle, is not installed (extra: benchmarks)")
from benchmarks import quality, torch_models  # noqa: E402 (they import torch)

F = torch.nn.functional

# a check of sparse tensors must be asked for, or refused: otherwise torch warns
torch.sparse.check_sparse_tensor_invariants.enable()
torch.set_num_threads(1)                                          # the arrays are tiny

N_ROWS = 60
KNOWN = [name for name, (cls, _) in VARIANTS.items() if cls in torch_models.MODULES]
CASES = {name: (name, {}) for name in KNOWN} | {
    f"{name}, dropout": (name, dropouts(name)) for name in DROPPING if name in KNOWN}
each_case = pytest.mark.parametrize("name", CASES)
each_kind = pytest.mark.parametrize("name", [name for name in KINDS if name in KNOWN])


def table(kind, rng):
    """Four fields: categories only, or with a number and a field of up to three values a cell (none in some)."""
    columns = {"user": rng.integers(0, 25, N_ROWS), "site": rng.choice(["a", "b", "c"], N_ROWS)}
    if kind == "categories":
        return pd.DataFrame({**columns, "hour": rng.integers(0, 4, N_ROWS), "ad": rng.integers(0, 7, N_ROWS)}), None
    genres = [tuple(rng.choice(list("pqrst"), rng.integers(0, 4), replace=False)) for _ in range(N_ROWS)]
    fields = ["user", "site", Numerical("price"), MultiValued("genres")]
    return pd.DataFrame({**columns, "price": rng.normal(size=N_ROWS), "genres": genres}), fields


def built(case, kind="mixed", task="binary", **settings):
    """A float64 model with random weights, far from the small ones at which it would start, and its data."""
    rng = np.random.default_rng(3)
    X, fields = table(kind, rng)
    y = rng.integers(0, 2, N_ROWS) if task == "binary" else rng.normal(size=N_ROWS)
    name, own = CASES[case]
    model = small(name, X, **{**own, "dtype": "float64", "fields": fields, "task": task, **settings}).prepare(X, y)
    for array in parameters(model).values():
        array[...] = rng.normal(scale=0.5, size=array.shape)
    for array in states(model).values():
        array[...] = rng.uniform(0.5, 2.0, size=array.shape)
    return model, X, y


def assert_same(minictr_arrays, torch_arrays, tolerance=1e-10):
    assert minictr_arrays.keys() == torch_arrays.keys()
    for name, array in minictr_arrays.items():
        np.testing.assert_allclose(array, torch_arrays[name].detach().numpy(), rtol=tolerance, atol=tolerance,
                                   err_msg=name)


def use_masks_of(model, module):
    """Let the torch module drop what the minictr model dropped in its latest forward pass."""
    layers = [layer for _, layer in named_layers(model) if isinstance(layer, Dropout)]
    dropouts = [dropout for dropout in module.modules() if isinstance(dropout, torch.nn.Dropout)]
    for layer, dropout in zip(layers, dropouts, strict=True):
        assert layer.rate == dropout.p
        mask = layer.cache["mask"]
        if mask is not None:
            assert (mask == 0).any()
            dropout.forward = functools.partial(torch.mul, torch.from_numpy(mask))


# ---- one forward and backward pass -----------------------------------------------------------------------

@each_case
@pytest.mark.parametrize("kind", ["categories", "mixed"])
@pytest.mark.parametrize("train", [True, False], ids=["training", "predicting"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_same_logits_and_gradients(name, kind, train, sparse):
    model, X, _ = built(name, kind)
    slots = model.encoder_.encode(X)
    assert (slots.x is None) == (kind == "categories")
    module = torch_models.like(model, slots, sparse).train(train)
    for _, layer in named_layers(model):
        layer.training = train
    ds = np.random.default_rng(4).normal(size=len(slots))

    logit = model.forward(slots)
    model.backward(ds)
    use_masks_of(model, module)
    expected = module(*torch_models.tensors(slots, torch.float64))
    expected.backward(torch.from_numpy(ds))

    np.testing.assert_allclose(logit, expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    mine = {name: gradient.dense(len(parameters(model)[name])) if isinstance(gradient, RowGradient) else gradient
            for name, gradient in gradients(model).items()}
    assert_same(mine, torch_models.gradients(module))
    assert_same({**parameters(model), **states(model)}, torch_models.weights(module))


# ---- ten training steps ----------------------------------------------------------------------------------

def ten_steps(model, X, y, module, weighted, batch_size):
    """Train both on the same ten batches; returns the losses of both before each step, (2, 10)."""
    slots = model.encoder_.encode(X)
    ids, x = torch_models.tensors(slots, torch.float64)
    y = y.astype(np.float64)
    rng = np.random.default_rng(5)
    c = rng.uniform(0.0, 2.0, N_ROWS) if weighted else None
    trainer = training.ChunkedTrainer(model, np.random.SeedSequence(0))
    optimizers = torch_models.optimizers(module, model)
    torch_loss = F.binary_cross_entropy_with_logits if model.task_ == "binary" else F.mse_loss
    module.train()
    losses = []
    for step in range(1, 11):
        rows = rng.choice(N_ROWS, batch_size, replace=False)
        mine = trainer.step(slots[rows], y[rows], c[rows] if weighted else None)

        s = module(ids[rows], None if x is None else x[rows])
        row_weights = {"weight": torch.from_numpy(c[rows])} if weighted else {}
        loss = torch_loss(s, torch.from_numpy(y[rows]), **row_weights)
        losses.append((mine, loss.item()))
        if model.reg:
            loss = loss + penalty(model, module, ids[rows], x[rows])
        module.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            if isinstance(optimizer, torch.optim.SparseAdam):     # it adds eps to sqrt(v), Adam to sqrt(v^)
                for group in optimizer.param_groups:
                    group["eps"] = model.optimizer_.eps * (1 - model.optimizer_.beta2 ** step) ** 0.5
            optimizer.step()
    return np.array(losses).T


def penalty(model, module, ids, x):
    """L2 as the docstrings of ``reg`` have it: lambda / B, and a table's rows once for each time they occur."""
    terms = []
    for torch_name, parameter in module.named_parameters():
        name = torch_models.minictr_name(torch_name)
        if matches(name, model.regularized):
            terms.append((parameter[ids[x != 0]] if name in ("linear.w", "embedding.V") else parameter).square().sum())
    return model.reg / len(ids) * sum(terms)


def check_ten_steps(name, kind="mixed", task="binary", weighted=False, batch_size=8, **settings):
    """Ten steps of both end at the same weights; returns the model and the weights it started from.

    The batches are small, so that each leaves out rows of the tables that one before it touched.
    """
    model, X, y = built(name, kind, task, learning_rate=0.02, **settings)
    module = torch_models.like(model, model.encoder_.encode(X), sparse=model.lazy)
    start = {name: array.copy() for name, array in parameters(model).items()}
    mine, theirs = ten_steps(model, X, y, module, weighted, batch_size)
    np.testing.assert_allclose(mine, theirs, rtol=1e-9)
    assert_same({**parameters(model), **states(model)}, torch_models.weights(module), tolerance=1e-8)
    return model, start


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
@pytest.mark.parametrize("lazy", [False, True], ids=["all rows", "lazy"])
def test_same_ten_training_steps(name, optimizer, lazy):
    model, start = check_ten_steps(name, optimizer=optimizer, lazy=lazy)
    assert all((array != start[name]).any() for name, array in parameters(model).items()
               if name in ("linear.w", "linear.w0", "embedding.V", "readout.b", "mlp.out.b"))


@each_kind
@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("lazy", [False, True], ids=["all rows", "lazy"])
def test_same_steps_with_row_weights(name, task, lazy):
    check_ten_steps(name, task=task, weighted=task == "binary", lazy=lazy)


@each_kind
def test_same_steps_in_chunks(name, monkeypatch):
    monkeypatch.setattr(training.chunk_sizes, "CHUNK_NUMBERS", 1)     # chunks of the least size, 8 rows
    chunks, cut = [], training.chunked.chunk_slices
    monkeypatch.setattr(training.chunked, "chunk_slices", lambda *args: chunks.append(cut(*args)) or cut(*args))
    check_ten_steps(name, batch_size=40)
    assert all(len(slices) == (1 if small(name).whole_batch_only else 6) for slices in chunks) and len(chunks) == 10


@pytest.mark.parametrize("name", [name for name in KNOWN if name in KINDS and small(name).regularized])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_same_steps_with_l2(name, optimizer):
    model, _ = check_ten_steps(name, optimizer=optimizer, lazy=False, reg=3.0)
    without, _ = check_ten_steps(name, optimizer=optimizer, lazy=False)
    regularized = model.regularized[0]
    assert np.abs(parameters(model)[regularized]).sum() < np.abs(parameters(without)[regularized]).sum()


def test_same_steps_with_learning_rates_of_their_own_and_frozen_layers():
    model, start = check_ten_steps("AFM", lr_multipliers={"attention": 10, "attention.h": 0.5},
                                   freeze=("embedding", "linear.w0"))
    moved = {name for name, array in parameters(model).items() if (array != start[name]).any()}
    assert moved == {"linear.w", "attention.W", "attention.b", "attention.h", "projection.p"}


def test_lazy_adam_is_not_adam():
    weights = [check_ten_steps("FM", lazy=lazy)[0].embedding.params["V"] for lazy in (False, True)]
    assert np.abs(weights[0] - weights[1]).max() > 1e-3


# ---- layers against torch's own --------------------------------------------------------------------------

@pytest.mark.parametrize("train", [True, False], ids=["training", "predicting"])
def test_batch_norm(train):
    rng = np.random.default_rng(0)
    mine, theirs = BatchNorm(5, dtype=np.float64), torch.nn.BatchNorm1d(5, dtype=torch.float64).train(train)
    mine.training = train
    mine.params["gamma"][:], mine.params["beta"][:] = rng.normal(size=(2, 5))
    mine.state["mean"][:], mine.state["var"][:] = rng.uniform(0.5, 2.0, size=(2, 5))
    with torch.no_grad():
        for tensor, array in ((theirs.weight, mine.params["gamma"]), (theirs.bias, mine.params["beta"]),
                              (theirs.running_mean, mine.state["mean"]), (theirs.running_var, mine.state["var"])):
            tensor.copy_(torch.from_numpy(array))
    for rows in (2, 7, 30):
        x, dout = rng.normal(1.0, 3.0, size=(2, rows, 5))
        x_torch = torch.from_numpy(x).requires_grad_()
        expected = theirs(x_torch)
        theirs.zero_grad()
        expected.backward(torch.from_numpy(dout))
        mine_and_theirs = [(mine.forward(x), expected), (mine.backward(dout), x_torch.grad),
                           (mine.grads["gamma"], theirs.weight.grad), (mine.grads["beta"], theirs.bias.grad),
                           (mine.state["mean"], theirs.running_mean), (mine.state["var"], theirs.running_var)]
        for array, tensor in mine_and_theirs:
            np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(4, 6), (3, 5, 6), (2, 1, 2)])
def test_layer_norm(shape):
    rng = np.random.default_rng(0)
    mine = LayerNorm(shape[-1], dtype=np.float64)
    mine.params["gamma"][:], mine.params["beta"][:] = rng.normal(size=(2, shape[-1]))
    gamma, beta = (torch.from_numpy(mine.params[name].copy()).requires_grad_() for name in ("gamma", "beta"))
    x, dout = rng.normal(1.0, 3.0, size=(2, *shape))
    x_torch = torch.from_numpy(x).requires_grad_()
    expected = F.layer_norm(x_torch, shape[-1:], gamma, beta, eps=mine.eps)
    expected.backward(torch.from_numpy(dout))
    for array, tensor in [(mine.forward(x), expected), (mine.backward(dout), x_torch.grad),
                          (mine.grads["gamma"], gamma.grad), (mine.grads["beta"], beta.grad)]:
        np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax(axis):
    s, da = np.random.default_rng(0).normal(0.0, 5.0, size=(2, 3, 4, 5))
    s[0] += 1000
    s_torch = torch.from_numpy(s).requires_grad_()
    expected = s_torch.softmax(axis)
    expected.backward(torch.from_numpy(da))
    a = softmax(s, axis)
    np.testing.assert_allclose(a, expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(softmax_backward(da, a, axis), s_torch.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_interacting_layer_is_multi_head_attention():
    """torch's own layer scales the scores and has a projection after the heads, which is the identity here."""
    rng = np.random.default_rng(0)
    H, d, n_in = 3, 2, 6
    mine = InteractingLayer(n_in, H, d, rng, scale=True, residual=False, dtype=np.float64)
    theirs = torch.nn.MultiheadAttention(n_in, H, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.from_numpy(np.concatenate([mine.params[f"W_{name}"].T for name in "QKV"])))
        theirs.out_proj.weight.copy_(torch.eye(n_in))
    E = rng.normal(size=(4, 5, n_in))
    heads, a = theirs(*[torch.from_numpy(E)] * 3, average_attn_weights=False)
    np.testing.assert_allclose(mine.forward(E), heads.relu().detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(mine.cache["a"], a.detach().numpy(), rtol=1e-10)


# ---- losses ----------------------------------------------------------------------------------------------

def torch_log_loss(s, y, c):
    return F.binary_cross_entropy_with_logits(s, y, weight=c)


def torch_squared_loss(s, y, c):
    return (torch.ones_like(s) if c is None else c).mul((s - y).square()).mean()


@pytest.mark.parametrize("loss, torch_loss", [(LogLoss(), torch_log_loss), (SquaredLoss(), torch_squared_loss)],
                         ids=["log loss", "squared loss"])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(loss, torch_loss, weighted):
    rng = np.random.default_rng(0)
    s = np.concatenate([rng.normal(0.0, 3.0, 20), [-800.0, -30.0, 0.0, 30.0, 800.0]])
    y = rng.integers(0, 2, len(s)).astype(np.float64)
    c = rng.uniform(0.0, 3.0, len(s)) if weighted else None
    s_torch = torch.from_numpy(s).requires_grad_()
    expected = torch_loss(s_torch, torch.from_numpy(y), torch.from_numpy(c) if weighted else None)
    expected.backward()
    assert loss.forward(s, y, c) == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), s_torch.grad.numpy(), rtol=1e-10, atol=1e-16)


# ---- the modules -----------------------------------------------------------------------------------------

def test_weights_of_another_model_are_refused():
    fm, X, _ = built("FM")
    afm, *_ = built("AFM")
    module = torch_models.like(fm, fm.encoder_.encode(X))
    with pytest.raises(ValueError, match=r"differ in attention\.W, attention\.b, attention\.h, projection\.p"):
        torch_models.load_weights(module, afm)


def test_a_module_has_its_own_weights():
    model, X, _ = built("DeepFM-bn")
    module = torch_models.like(model, model.encoder_.encode(X))
    for tensor in torch_models.weights(module).values():
        tensor.zero_()
    assert all(array.any() for array in parameters(model).values())


# ---- the benchmark of quality ----------------------------------------------------------------------------

@pytest.mark.parametrize("lazy", [False, pytest.param(True, marks=pytest.mark.long)], ids=["all rows", "lazy"])
def test_both_training_loops_take_the_same_course(lazy):
    clicks = datasets.make_clicks(4_000, seed=0)
    cuts = {"train": slice(3_000), "validation": slice(3_000, 3_500), "test": slice(3_500, None)}
    parts = {part: (clicks.X[cut], clicks.y[cut]) for part, cut in cuts.items()}
    model = FM(learning_rate=0.01, batch_size=128, epochs=30, lazy=lazy)
    s, course = quality.train_minictr(model.clone(), parts)
    s_torch, course_torch = quality.train_torch(model.clone(), parts, sparse=lazy)
    # lazily the two differ a little, for SparseAdam has its eps elsewhere
    np.testing.assert_allclose(s, s_torch, rtol=0, atol=0.3 if lazy else 1e-3)
    assert course["validation loss"] == pytest.approx(course_torch["validation loss"], rel=0.01 if lazy else 1e-4)
    assert course["epochs"] == course_torch["epochs"] == course["best epoch"] + model.patience < model.epochs
    assert course.keys() == course_torch.keys()
