# %% [markdown]
# # Carry a model from NumPy to PyTorch
#
# **What you'll do**: rebuild FM and AFM in a dozen lines of PyTorch each, put minictr's weights in, and see the same
# outputs, the same gradients and the same training steps.
#
# **What you'll learn**
#
# - write the forward pass of a factorization model in torch, from rows of ids;
# - say which line of a hand-written backward pass each part of `loss.backward()` is;
# - compare two programs so that the comparison can fail: which precision, which weights, which tolerance;
# - take a trained model along with `minictr.to_torch`, fine-tune it, save it;
# - find a published AutoInt that torch differentiates without a fault, and that is not AutoInt.
#
# **What you'll need**: [03](03_take_one_training_step.ipynb), [04](04_pay_attention_with_afm.ipynb) and, for the last
# exercise, [06](06_let_fields_talk_with_autoint.ipynb); NumPy; PyTorch (`pip install torch`), which minictr itself
# never imports.
#
# **Time**: 55 minutes, exercises included.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

from minictr import AFM, FM, LR, AutoInt, DeepFM, datasets, to_torch
from minictr.exercises import check
from minictr.layers import InteractingLayer, RowGradient, gradients, parameters
from minictr.losses import LogLoss

torch.set_num_threads(1)                                          # the arrays are small
clicks = datasets.make_clicks(4_000, seed=0)
test = datasets.make_clicks(500, seed=0, rows_seed=1)
fm = FM(embedding_dim=4, dtype="float64").fit(clicks.X, clicks.y)
afm = AFM(embedding_dim=4, attention_dim=4, dtype="float64").fit(clicks.X, clicks.y)

module = to_torch(afm)  # a plain torch.nn.Module with copies of the weights
with torch.no_grad():
    s_torch = module(*module.inputs(test.X)).numpy()
s = afm.decision_function(test.X)
difference = np.abs(s_torch - s).max()
print("largest difference of", len(s), "logits: below 1e-10")

fig, ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
ax.plot(s, s_torch, ".", markersize=4)
ax.axline((0, 0), slope=1, color="0.6", linewidth=1)
title = ax.set(xlabel="logit by minictr", ylabel="logit by PyTorch",
               title="AFM, 500 rows it was not trained on")

# %% tags=["claims"]
assert difference < 1e-10

# %% [markdown]
# *What to look at:* every row lies on the diagonal. One line, `to_torch(afm)`, made a second program of the same
# model. The rest of this notebook opens that line: you write such programs yourself, and find out what it takes to be
# sure that two programs are one model.
#
# ## Rows become two tensors
#
# A row is a list of [slots](glossary.md#slot): ids, and a weight $x$ for each. `encode` makes them as arrays, torch
# wants tensors. In torch an id must be a whole number of 64 (or 32) bits, and a weight should have the precision of
# the model.

# %%
def tensors(slots):
    """Slots as what torch takes: ids (B, S) and weights x (B, S)."""
    return torch.tensor(slots.ids,
                        dtype=torch.int64), torch.tensor(slots.x, dtype=torch.float64)


slots = afm.encoder_.encode(test.X)
ids, x = tensors(slots)
starts = slots.starts.tolist()  # the first slot of each of the M = 8 fields
print("ids", tuple(ids.shape), ids.dtype, "  x", tuple(x.shape), x.dtype,
      "  first slots of the fields", starts)
field = np.repeat(afm.encoder_.field_names, np.diff(starts, append=ids.shape[1]))
# the row with the most interests
row = int((x[:, starts[-1]:] > 0).sum(dim=1).argmax())
pd.DataFrame({"field": field, "id": ids[row], "x": x[row].numpy().round(3)})

# %% tags=["claims"]
# interests has several values, and so several slots
assert ids.shape[1] > slots.n_fields == 8

# %% [markdown]
# This is one row. `discount` is a number, so its $x$ is that number (standardised). `interests` is
# [multi-valued](glossary.md#multi-valued-field): $q$ values are $q$ slots with $x = 1/q$ each. A row with fewer
# values than the table has slots fills up with $x = 0$.
#
# ## FM in torch
#
# A torch module is a class with parameters and a `forward`. There is no `backward` to write. FM and AFM share the two
# tables, so that is our base class: `first_order` is $w_0 + \sum_i w_i x_i$, `vectors` is $e_i = v_i x_i$, summed
# within a field.

# %%
def copied(array):
    """A parameter of a torch module: a copy of an array that torch may train."""
    return nn.Parameter(torch.tensor(array))


class Tables(nn.Module):
    """What FM and AFM share: bias, weights and vectors of a minictr model."""

    def __init__(self, model):
        super().__init__()
        self.w0 = copied(model.linear.params["w0"])
        self.w = copied(model.linear.params["w"])
        self.V = copied(model.embedding.params["V"])

    def first_order(self, ids, x):
        return self.w0 + (self.w[ids] * x).sum(dim=1)  # (B,)       w_0 + sum_i w_i x_i

    def vectors(self, ids, x):
        v = self.V[ids] * x[:, :, None]                           # (B, S, k)  v_s x_s
        # (B, M, k)
        return torch.stack([part.sum(dim=1)
                            for part in v.tensor_split(starts[1:], dim=1)], dim=1)


class PairwiseFM(Tables):
    """FM as its equation has it: every pair on its own."""

    def forward(self, ids, x):
        E = self.vectors(ids, x)                                  # (B, M, k)
        s = self.first_order(ids, x)
        for i in range(8):
            for j in range(i + 1, 8):
                s = s + (E[:, i] * E[:, j]).sum(dim=1)  #            + <e_i, e_j>
        return s


s_torch = PairwiseFM(fm)(ids, x)
print("FM, pair by pair in torch: below 1e-10 from minictr")

# torch.tensor copies; torch.from_numpy shares the memory, and training the one would
# train the other
shared = torch.from_numpy(fm.linear.params["w"])

# %% tags=["claims"]
assert np.abs(s_torch.detach().numpy() - fm.decision_function(test.X)).max() < 1e-10
assert np.shares_memory(shared.numpy(), fm.linear.params["w"])
assert not np.shares_memory(PairwiseFM(fm).w.detach().numpy(), fm.linear.params["w"])

# %% [markdown]
# `PairwiseFM` has 28 steps in Python. You know from [02](02_multiply_pairs_with_fm.ipynb) how to do without them:
#
# $$\sum_{i<j} e_i \circ e_j = \tfrac12 \Big[\big(\sum_i e_i\big)^2 - \sum_i e_i^2\Big] \qquad \text{(Rendle 2010)}$$
#
# Torch reads like NumPy; `axis` is called `dim`.
#
# **Exercise 1.** FM's forward pass in torch, without a loop over pairs. `self.vectors(ids, x)` is (B, M, k),
# `self.first_order(ids, x)` is (B,); return the logits (B,).

# %% tags=["exercise"]
# Exercise 1
class FastFM(Tables):
    def forward(self, ids, x):
        return None                       # your lines here

# %% tags=["check"]
def as_arrays(answer):
    """Tensors as NumPy arrays, a tuple of them as a list; anything else as it is."""
    if isinstance(answer, tuple | list):
        return [as_arrays(part) for part in answer]
    return answer.detach().numpy() if isinstance(answer, torch.Tensor) else answer


def answered(function, *arguments):
    """What an exercise's function gives, as arrays; None, and a line, if it stops."""
    try:
        return as_arrays(function(*arguments))
    except Exception as error:
        print(f"Your code stopped: {type(error).__name__}: {error}")
        return None


E = PairwiseFM(fm).vectors(ids, x).detach().numpy()
# (B, S, k): one vector a slot, not a field
v = (fm.embedding.params["V"][slots.ids] * slots.x[:, :, None])
first_order = PairwiseFM(fm).first_order(ids, x).detach().numpy()
target = PairwiseFM(fm)(ids, x).detach().numpy()                  # pair by pair
check("FM in torch", answered(lambda: FastFM(fm)(ids, x)), target, mistakes={
    "The first-order term is missing.": target - first_order,
    "The pairs of a field with itself are still in the sum.":
        first_order + 0.5 * (E.sum(axis=1) ** 2).sum(axis=1),
    "Every pair is counted twice: the factor 1/2 is missing.":
        first_order + 2 * (target - first_order),
    "The pairs have the wrong sign: it is the square of the sum minus the sum of the "
    "squares.":
        first_order - (target - first_order),
    "The squares are those of slots: sum the slots of a field first, as self.vectors "
    "does.":
        first_order + 0.5 * (v.sum(axis=1) ** 2 - (v ** 2).sum(axis=1)).sum(axis=1),
});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# class FastFM(Tables):
#     def forward(self, ids, x):
#         E = self.vectors(ids, x)                                          # (B, M, k)
#         pooled = 0.5 * (E.sum(dim=1) ** 2 - (E ** 2).sum(dim=1))          # (B, k)
#         return self.first_order(ids, x) + pooled.sum(dim=1)               # (B,)
# ```
#
# </details>

# %% [markdown]
# ## AFM in torch
#
# AFM (Xiao et al. 2017, eq. 2, 5, 6) takes three lines more: the pairs, the attention over them, the pooled vector.
# The steps are kept in a dict, so that we can ask for their gradients later.

# %%
class TorchAFM(Tables):
    """logit = w_0 + sum_i w_i x_i + p . sum_{i<j} a_ij p_ij."""

    def __init__(self, model):
        super().__init__(model)
        self.W, self.b, self.h = (copied(model.attention.params[symbol])
                                  for symbol in "Wbh")
        self.p = copied(model.projection.params["p"])

    def forward(self, ids, x):
        i, j = np.triu_indices(8, 1)
        E = self.vectors(ids, x)  # (B, M, k)  e_i = v_i x_i
        pij = E[:, i] * E[:, j]  # (B, P, k)  p_ij = e_i * e_j            (eq. 2)
        # (B, P) h . relu(W^T p_ij + b) (eq. 5)
        s = torch.relu(pij @ self.W + self.b) @ self.h
        aij = torch.softmax(s, dim=1)  # (B, P)     over the pairs
        pooled = (aij[:, :, None] * pij).sum(dim=1)  # (B, k)     sum_{i<j} a_ij p_ij
        self.steps = {"E": E, "pij": pij, "s": s, "aij": aij, "pooled": pooled}
        # (B,) ... + p . pooled (eq. 6)
        return self.first_order(ids, x) + pooled @ self.p


s_torch = TorchAFM(afm)(ids, x)
print("AFM in torch: below 1e-10 from minictr")

# %% tags=["claims"]
assert np.abs(s_torch.detach().numpy() - afm.decision_function(test.X)).max() < 1e-10

# %% [markdown]
# ## A comparison that could fail
#
# Two outputs agree to ten digits. Would they, if one of the programs were wrong? Switch AFM's attention off ($h = 0$,
# so that every pair weighs $1/P$) and look how far its logits move: at the weights at which training starts, and at
# weights drawn at random with standard deviation 0.5.

# %%
def without_attention_moves(model):
    """Largest change of a logit when every pair weighs the same."""
    right, wrong = to_torch(model), to_torch(model)
    with torch.no_grad():
        wrong.attention.h.zero_()
        return (right(*right.inputs(test.X))
                - wrong(*wrong.inputs(test.X))).abs().max().item()


for seed in range(5):
    model = AFM(embedding_dim=4, attention_dim=4, dtype="float64",
                seed=seed).prepare(clicks.X, clicks.y)
    assert without_attention_moves(model) < 1e-4                  # as training starts
    for array in parameters(model).values():
        array[...] = np.random.default_rng(seed).normal(0, 0.5, array.shape)
    assert without_attention_moves(model) > 1e-2                  # weights drawn anew
print("5 seeds, AFM with and without attention: at the start below 1e-4 apart, with "
      "larger weights above 1e-2")

# float32, as by default
single = AFM(embedding_dim=4, attention_dim=4, epochs=2).fit(clicks.X, clicks.y)
module = to_torch(single)
difference = np.abs(module(*module.inputs(test.X)).detach().numpy()
                    - single.decision_function(test.X)).max()
print("float32: two right programs differ, but below 1e-4")

# %% tags=["claims"]
assert 1e-10 < difference < 1e-4

# %% [markdown]
# A new AFM has vectors of size 0.01, so its pairs are of size 0.0001, and the attention has next to nothing to weigh.
# **At the start an AFM without attention passes a comparison to four digits.** So:
#
# - compare *trained weights*, or weights drawn anew, never the ones at which training starts;
# - compare in *float64*, where rounding is $10^{-16}$. In float32 two right programs differ from the seventh digit
#   on; who then widens the tolerance until the test passes no longer knows what it lets through;
# - compare *gradients* too: they see parameters of which the output hardly depends.
#
# ## The same gradients
#
# In minictr we call `loss.backward()`, then `model.backward(ds)`, whose lines we can read. In torch
# `loss.backward()` goes all the way and leaves `.grad` in each parameter. The loss is the same: torch's
# `binary_cross_entropy_with_logits` is the [log loss](glossary.md#log-loss) from [logits](glossary.md#logit), with
# the mean over the rows.

# %%
log_loss = nn.functional.binary_cross_entropy_with_logits
y = torch.tensor(test.y, dtype=torch.float64)


def by_hand(model):
    """minictr's gradients of the loss, {name: array}; those of tables with all rows."""
    loss = LogLoss()
    loss.forward(model.forward(slots), test.y)
    model.backward(loss.backward())
    return {name: gradient.dense(len(parameters(model)[name]))
            if isinstance(gradient, RowGradient) else gradient
            for name, gradient in gradients(model).items()}


def by_autograd(module):
    """torch's, {name: array}."""
    module.zero_grad()
    log_loss(module(ids, x), y).backward()
    return {name: parameter.grad.numpy() for name,
            parameter in module.named_parameters()}


pairs_of_gradients, lines = {}, []
for model, module in ((fm, PairwiseFM(fm)), (afm, TorchAFM(afm))):
    theirs = by_autograd(module)
    for name, ours in by_hand(model).items():
        symbol = name.split(".")[1]  # "attention.W": the layer, and the paper's symbol
        assert ours.shape == theirs[symbol].shape
        assert np.abs(ours - theirs[symbol]).max() < 1e-10, name
        assert np.abs(ours).max() > 1e-6  # 0 = 0 would prove nothing
        pairs_of_gradients[f"{type(model).__name__} {symbol}"] = ours, theirs[symbol]
        lines.append({"model": type(model).__name__, "parameter": name,
                      "shape": str(ours.shape), "entries": ours.size,
                      "largest difference": "below 1e-10"})
pd.DataFrame(lines)

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.6, 3.4), layout="constrained")
markers = {"V": ".", "w": "x", "w0": "D", "W": "o", "b": "s", "h": "^", "p": "v"}
for ax, name in zip(axes, ("FM", "AFM"), strict=True):
    for label, (ours, theirs) in pairs_of_gradients.items():
        owner, symbol = label.split()
        if owner == name:
            ax.plot(ours.ravel(), theirs.ravel(), markers[symbol], label=symbol,
                    markersize=5, alpha=0.7)
    ax.axline((0, 0), slope=1, color="0.6", linewidth=1, zorder=0)
    ax.set(xscale="symlog", yscale="symlog", title=name,
           xlabel="gradient by our backward pass")
    for scale in (ax.set_xscale, ax.set_yscale):
        scale("symlog", linthresh=1e-4)
    ax.set_xticks([-1e-2, 0, 1e-2])
    ax.set_yticks([-1e-2, 0, 1e-2])
    ax.legend(ncols=2, fontsize=8)
label = axes[0].set_ylabel("by torch's autograd")

# %% [markdown]
# *What to look at:* each mark is one entry of one parameter's gradient, small and large ones, of either sign (the
# axes are logarithmic on both sides of 0). All lie on the diagonal.
#
# ## Where `.backward()` goes
#
# While `forward` runs, torch notes for each result the function that made it (`grad_fn`) and the tensors that this
# function will need: our `cache`. `loss.backward()` walks these notes from the loss to the parameters. For each line
# of [afm.py](../minictr/models/afm.py)'s `backward` there is a stretch of that walk:
#
# | `AFM.backward`, top to bottom | inverts | torch's notes are called |
# | --- | --- | --- |
# | `ds`, from `LogLoss.backward` | the loss | BinaryCrossEntropyWithLogits |
# | `dpooled = self.projection.backward(ds)` | `pooled @ p` | Mv |
# | `dpooled = self.pooled_dropout.backward(dpooled)` | dropout (none here) | Mul by a mask |
# | `dpij = self.attention.backward(dpooled)` | eq. 5, and the sum | Sum, Mul, Softmax, Mv, Relu, Add, matrix product |
# | `dE = self.pairs.backward(dpij)` | `E[:, i] * E[:, j]` | Mul, Index |
# | `self.embedding.backward(dE)` | `V[ids] * x`, sums within fields | Stack, Sum, Mul, Index |
# | `self.linear.backward(ds)` | `w0 + (w[ids] * x).sum` | Add, Sum, Mul, Index |
#
# Torch throws the gradients of all steps between away. `retain_grad` keeps them, and we can compare station by
# station.

# %%
module = TorchAFM(afm)
logit = module(ids, x)
for step in (logit, *module.steps.values()):
    step.retain_grad()
loss = log_loss(logit, y)
loss.backward()

our_loss = LogLoss()
our_loss.forward(afm.forward(slots), test.y)
ds = our_loss.backward()  # the lines of AFM.backward, one by one
dpooled = afm.projection.backward(ds)
dpij = afm.attention.backward(dpooled)
dE = afm.pairs.backward(dpij)
stations = {"ds": (ds, logit), "dpooled": (dpooled, module.steps["pooled"]),
            "dpij": (dpij, module.steps["pij"]), "dE": (dE, module.steps["E"])}
for name, (ours, step) in stations.items():
    assert ours.shape == step.shape and np.abs(ours - step.grad.numpy()).max() < 1e-10
    print(f"{name:<8} {ours.shape!s:<14} below 1e-10")


def names_of(node, found):
    """The kinds of all notes from here back to the parameters."""
    for before, _ in node.next_functions:
        if before is not None and before not in found:
            found.add(before)
            names_of(before, found)
    return {type(note).__name__ for note in found}

# %% tags=["claims"]
assert {"SoftmaxBackward0", "ReluBackward0",
        "MvBackward0"} <= names_of(loss.grad_fn, {loss.grad_fn})

# %% [markdown]
# Three things happen on this walk that our code says aloud and torch does not:
#
# 1. **Forks are added.** $p_{ij}$ is used twice, by the score and by the sum, and `dpij` is the sum of two parts. In
#    [attention_pooling.py](../minictr/layers/attention_pooling.py) that is the line
#    `dpij += …  # p_ij is used twice: add both`. In torch nothing shows it.
# 2. **Repeated ids are added.** Many rows look the same value up; `RowGradient.sum` adds their gradients, torch does
#    it within the backward of the look-up. The result is a gradient of the whole table, mostly zeros.
# 3. **Calls are added, too.** minictr's `backward` assigns; torch's adds to the `.grad` that is there. Forget
#    `zero_grad` and each step uses the sum of all gradients so far. The next cell shows it.

# %%
module = TorchAFM(afm)
log_loss(module(ids, x), y).backward()
once = module.W.grad.clone()
log_loss(module(ids, x), y).backward()  # no zero_grad in between
print("after two calls of backward, .grad is twice the gradient")

# %% tags=["claims"]
assert torch.allclose(module.W.grad, 2 * once, rtol=1e-10, atol=1e-14)

# %% [markdown]
# The fork of $p_{ij}$ can be taken apart in torch. `tensor.detach()` is the same numbers without the note of where
# they came from: no gradient passes through it. Below, the two uses of $p_{ij}$ have a name each, so that you can cut
# either.

# %%
W, b, h = (torch.tensor(afm.attention.params[symbol]) for symbol in "Wbh")


def pooled_of(for_score, for_sum):
    """sum_{i<j} a_ij p_ij, a_ij from for_score, p_ij from for_sum: (B, P, k) each."""
    aij = torch.softmax(torch.relu(for_score @ W + b) @ h, dim=1)
    return (aij[:, :, None] * for_sum).sum(dim=1)


pij = module.steps["pij"].detach()

# %% tags=["claims"]
assert torch.allclose(pooled_of(pij, pij), module.steps["pooled"])

# %% [markdown]
# **Exercise 2.** How much of dL/dpij comes by way of the attention weights, and how much directly? `pij` is (B, P, k)
# with requires_grad. Call `pooled_of(...)` with `pij` or `pij.detach()` in each place, first for the score, second for
# the sum, and `torch.autograd.grad(pooled, pij, dpooled)[0]`, which is dL/dpij for dL/dpooled = `dpooled`. Return two
# tensors: by way of the score, by way of the sum.

# %% tags=["exercise"]
# Exercise 2
def two_parts(pij, dpooled):
    return None                       # your lines here

# %% tags=["check"]
pij = module.steps["pij"].detach().requires_grad_()
answer = answered(two_parts, pij, torch.tensor(dpooled))
if isinstance(answer, list) and any(isinstance(part, list) for part in answer):
    print("torch.autograd.grad gives a tuple, one gradient for each input: take its "
          "[0].")
aij = afm.attention.cache["aij"]  # by hand: out = sum a_ij p_ij, so dp_ij has a_ij dout
by_the_sum = aij[:, :, None] * dpooled[:, None, :]
parts = np.stack([dpij - by_the_sum, by_the_sum])  # the rest came through the score
check("two ways to p_ij", answer, parts, mistakes={
    "The two are in the wrong order: what is detached is cut off.": parts[::-1],
    "Both are the whole gradient: nothing is detached.": np.stack([dpij, dpij]),
})
# neither part is negligible here
assert np.abs(parts[0]).mean() > 0.01 * np.abs(parts[1]).mean()

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def two_parts(pij, dpooled):
#     by_score = torch.autograd.grad(pooled_of(pij, pij.detach()), pij, dpooled)[0]
#     by_sum = torch.autograd.grad(pooled_of(pij.detach(), pij), pij, dpooled)[0]
#     return by_score, by_sum
# ```
#
# The two add up to `dpij`, because a derivative is linear: that is all that "add at a fork" says.
#
# </details>

# %% [markdown]
# ## The same ten steps
#
# Equal gradients and an equal rule give equal steps. torch's `Adam` and minictr's are the same rule, if minictr is
# told `lazy=False`: by default it leaves alone the rows of a table that a batch does not touch, and torch's `Adam`
# does not. By our own advice we start from trained weights. Both optimizers start afresh, and the batches are the
# same.

# %%
def ten_steps(model, module):
    """Train both on the same ten batches; returns their losses, (2, 10)."""
    optimizer = torch.optim.Adam(module.parameters(), lr=model.learning_rate)
    losses = []
    for start in range(0, 2_560, 256):
        X, y = clicks.X[start:start + 256], clicks.y[start:start + 256]
        ours = model.train_step(X, y)  # forward, loss, backward, update

        batch = model.encoder_.encode(X)
        assert batch.starts.tolist() == starts
        loss = log_loss(module(*tensors(batch)), torch.tensor(y, dtype=torch.float64))
        optimizer.zero_grad()  # or the gradients of all steps add up
        loss.backward()
        optimizer.step()
        losses.append((ours, loss.item()))
    return np.array(losses).T


def apart(model, module):
    """Largest difference of any parameter."""
    theirs = dict(module.named_parameters())
    return max(np.abs(array - theirs[name.split(".")[1]].detach().numpy()).max()
               for name, array in parameters(model).items())


losses = {}
for kind, counterpart in ((FM, PairwiseFM), (AFM, TorchAFM)):
    model = kind(embedding_dim=4, dtype="float64", lazy=False).fit(clicks.X, clicks.y)
    model.new_optimizer()  # torch's has no moments yet either
    module = counterpart(model)
    losses[kind.__name__] = ten_steps(model, module)
    assert np.abs(np.subtract(*losses[kind.__name__])).max() < 1e-8
    assert apart(model, module) < 1e-8
    print(f"{kind.__name__}: after ten steps of Adam all parameters agree, below 1e-8")

fm.new_optimizer()                                                # lazy=True
module = PairwiseFM(fm)
ten_steps(fm, module)
print("FM with lazy=True: not the same rule, above 1e-3")

# %% tags=["claims"]
assert apart(fm, module) > 1e-3

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained", sharey=True)
for ax, (name, (ours, theirs)) in zip(axes, losses.items(), strict=True):
    ax.plot(range(1, 11), ours, "-", linewidth=4, color="0.75", label="minictr")
    ax.plot(range(1, 11), theirs, "k.", label="PyTorch")
    ax.set(title=name, xlabel="step", xticks=range(1, 11))
axes[0].set_ylabel("log loss of the batch")
legend = axes[0].legend()

# %% [markdown]
# *What to look at:* the dots lie on the line, step after step. (The losses go up and down because each is of another
# batch.)
#
# Why not SGD, which is simpler? Adam is the harder test: it divides by the size of the gradient, so that a wrong
# entry counts as much where gradients are small.
#
# ## Any model by `to_torch`
#
# You have written two of them. `to_torch` makes all of minictr's, with their options, and has a class for none of
# them: a model is the order of its layers, so it runs the model's *own* `forward`, with a torch counterpart in the
# place of each layer. Open [torch_modules.py](../minictr/bridges/torch_modules.py) beside
# [layers/](../minictr/layers/__init__.py): the counterparts are what you wrote, with dropout, batch norm and any
# number of slots. So a model of your own from minictr's layers can be exported as well.

# %%
lines = []
models = [LR(), FM(embedding_dim=4), AFM(embedding_dim=4, attention_dim=4),
          AutoInt(embedding_dim=4, attention_dim=4),
          DeepFM(embedding_dim=4, deep_layers=(16, 8), use_bn=True)]
for model in models:
    model.set_params(dtype="float64", epochs=2).fit(clicks.X, clicks.y)
    module = to_torch(model)
    with torch.no_grad():
        difference = np.abs(module(*module.inputs(test.X)).numpy()
                            - model.decision_function(test.X)).max()
    n_numbers = sum(parameter.numel() for parameter in module.parameters())
    assert difference < 1e-10
    assert n_numbers == sum(array.size for array in parameters(model).values())
    lines.append({"model": type(model).__name__,
                  "parameters": len(list(module.parameters())), "numbers": n_numbers,
                  "largest difference of a logit": "below 1e-10"})
print(to_torch(models[2]))
pd.DataFrame(lines)

# %% [markdown]
# A module is not tied to minictr's trainer. Here the DeepFM is trained on with torch, one epoch of SGD, and saved as
# torch users do it. `to_torch` gives it in `eval` mode, as it predicts; `train()` switches batch norm and dropout on.
#
# (SGD and not Adam here: batch norm takes out whatever the bias before it adds, so that bias has a gradient of nothing
# but rounding. Adam divides by the gradient's size, and makes a step of it, another one in each program.)

# %%
deepfm = models[4]
module = to_torch(deepfm).train()
inputs, targets = module.inputs(clicks.X), torch.tensor(clicks.y, dtype=torch.float64)
optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
before = log_loss(module(*inputs), targets).item()
for rows in torch.arange(len(targets)).split(256):
    optimizer.zero_grad()
    log_loss(module(*(tensor[rows] for tensor in inputs)), targets[rows]).backward()
    optimizer.step()
print("one epoch of torch's SGD lowered the training loss")

with tempfile.TemporaryDirectory() as folder:
    torch.save(module.state_dict(), Path(folder) / "deepfm.pt")   # the weights, by name
    again = to_torch(deepfm)  # minictr's weights: these did not change
    assert np.abs(again(*inputs).detach().numpy()
                  - deepfm.decision_function(clicks.X)).max() < 1e-10
    again.load_state_dict(torch.load(Path(folder) / "deepfm.pt"))
print("saved, loaded: the same logits, to the bit")

# %% tags=["claims"]
assert torch.equal(again(*inputs), module.eval()(*inputs))
assert log_loss(module.train()(*inputs), targets).item() < before
assert module.mlp.dense_1.b.grad.abs().max() < 1e-12
assert module.mlp.dense_1.W.grad.abs().max() > 1e-6

# %% [markdown]
# ## Find the bug: an AutoInt from torch's own attention
#
# Torch has multi-head attention ready: `nn.MultiheadAttention`. A widely used collection of CTR models builds its
# AutoInt from it. Stripped of what does not matter here, the interacting part is this:

# %%
class AttentionStack(nn.Module):
    """(B, M, width) -> (B, M, width), meant to be AutoInt's L interacting layers."""

    def __init__(self, width, H, L):
        super().__init__()
        self.attention = nn.ModuleList(
            nn.MultiheadAttention(width, H, batch_first=True, dtype=torch.float64)
                                       for _ in range(L))
        self.W_Res = nn.Linear(width, width, dtype=torch.float64)

    def forward(self, E):
        e = E
        for attention in self.attention:
            e, _ = attention(e, e, e)
        return torch.relu(e + self.W_Res(E))


H, d, L = 2, 4, 3
torch.manual_seed(0)
stack = AttentionStack(H * d, H, L)
E = torch.randn(2, 4, H * d, dtype=torch.float64, requires_grad=True)
print("gradient check: passed")

ours = [InteractingLayer(H * d, H, d, np.random.default_rng(layer), dtype=np.float64)
        for layer in range(L)]
n_ours = [sum(array.size for array in layer.params.values()) for layer in ours]
n_stack = [sum(parameter.numel() for parameter in attention.parameters())
           for attention in stack.attention]
n_residual = sum(parameter.numel() for parameter in stack.W_Res.parameters())
print("numbers in each layer: minictr", n_ours, "  stack", n_stack,
      "  and once, for the residual,", n_residual)
print("in all: minictr", sum(n_ours), "  stack", sum(n_stack) + n_residual)

# %% tags=["claims"]
assert torch.autograd.gradcheck(stack, (E,))
assert n_ours == [4 * 8 * 8] * 3 and n_stack == [4 * 8 * 8 + 4 * 8] * 3
assert (sum(n_ours), sum(n_stack) + n_residual) == (768, 936)

# %% [markdown]
# The gradient check passes, as it must: autograd differentiates whatever you wrote. **With torch a wrong backward
# pass is no longer your problem; a wrong forward pass still is, and no gradient check will ever see it.** Even the
# number of parameters is of the same order (768 and 936).
#
# Read eq. 5 to 8 again (in [self_attention.py](../minictr/layers/self_attention.py)): what is too much here, and what
# is missing?
#
# <details><summary>Answer</summary>
#
# Per layer the paper has four matrices: $W_Q, W_K, W_V, W_{Res}$. `nn.MultiheadAttention` has four too, but the
# fourth is an *output projection* behind the heads, which the paper does not have, and it stands where $W_{Res}$
# would be in the count. There are also four biases, and the scores are divided by $\sqrt d$ (the authors' program
# does that, the paper does not).
#
# What is missing weighs more: eq. 8 ends *every* layer with $\mathrm{relu}(\ldots + W_{Res} e_m)$. Here the residual
# and the ReLU come once, after the last layer. So from the second layer on a field no longer sees itself except
# through its attention, and between the layers there is nothing but averaging and matrices.
#
# Published in [rixwew/pytorch-fm](https://github.com/rixwew/pytorch-fm/blob/master/torchfm/model/afi.py) (which also
# adds a linear part and an MLP to the logit, always); reported in
# [rixwew/pytorch-fm#27](https://github.com/rixwew/pytorch-fm/issues/27) ("in the paper each multi-head attention is
# followed by the residual"). What would have caught it: two layers, beside loops written from eq. 5 to 8.
#
# </details>
#
# Write the layer as the paper has it, and stack it.
#
# **Exercise 3.** One interacting layer in torch, eq. 5-8, without scaling and biases. E (B, M, n_in); W_Q, W_K, W_V,
# W_Res (n_in, H d); returns (B, M, H d). Head h has columns h d to (h + 1) d of each projection. tensor.view(B, M, H,
# d).transpose(1, 2) splits heads; .transpose(1, 2).reshape(B, M, H * d) joins them.

# %% tags=["exercise"]
# Exercise 3
def interacting(E, W_Q, W_K, W_V, W_Res, H):
    return None                       # your lines here

# %% tags=["check"]
def by_loops(E, layer):
    """Eq. 5-8, one field and one head at a time."""
    out = E @ layer.params["W_Res"]
    for row in range(len(E)):
        for head in range(H):
            columns = slice(head * d, (head + 1) * d)
            Q, K, V = (E[row] @ layer.params[f"W_{name}"][:, columns] for name in "QKV")
            for m in range(E.shape[1]):
                weights = np.exp(K @ Q[m])
                out[row, m, columns] += (weights / weights.sum()) @ V
    return np.maximum(out, 0)


def by_arrays(E, layer, scale=1.0, softmax_axis=3, join=(0, 2, 1, 3),
              last=lambda out: np.maximum(out, 0)):
    """The same by whole arrays, with places where it can go wrong."""
    # (B, H, M, d)
    Q, K, V = ((E @ layer.params[f"W_{name}"]).reshape(2, 4, H, d).swapaxes(1, 2)
               for name in "QKV")
    weights = np.exp(scale * Q @ K.swapaxes(2, 3))
    heads = weights / weights.sum(axis=softmax_axis, keepdims=True) @ V
    return last(heads.transpose(join).reshape(2, 4, H * d) + E @ layer.params["W_Res"])


def three_layers(layer_by, **options):
    """Three layers, as in AutoInt, by a function of input and layer."""
    e = E.detach().numpy()
    for layer in ours:
        e = layer_by(e, layer, **options)
    return e


def by_yours(e, layer):
    if e is None:
        return None
    arrays = (e, *(layer.params[f"W_{name}"] for name in ("Q", "K", "V", "Res")))
    return as_arrays(interacting(*map(torch.tensor, arrays), H))


expected = three_layers(by_loops)
assert np.abs(three_layers(by_arrays) - expected).max() < 1e-10
check("three interacting layers", answered(three_layers, by_yours), expected, mistakes={
    "The scores are divided by sqrt(d): the authors' program does that, eq. 5 does "
    "not.": three_layers(by_arrays, scale=d ** -0.5),
    "The softmax runs over the asking fields; it runs over k, the answering ones, "
    "which are the last axis.":
        three_layers(by_arrays, softmax_axis=2),
    "The heads are joined without .transpose(1, 2), which mixes fields and heads up.":
        three_layers(by_arrays, join=(0, 1, 2, 3)),
    "The ReLU of eq. 8 is missing.": three_layers(by_arrays, last=lambda out: out),
});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def interacting(E, W_Q, W_K, W_V, W_Res, H):
#     B, M, _ = E.shape
#     # (B, H, M, d)
#     Q, K, V = ((E @ W).view(B, M, H, -1).transpose(1, 2) for W in (W_Q, W_K, W_V))
#     a = torch.softmax(Q @ K.transpose(2, 3), dim=3)  # (B, H, M, M)
#     heads = (a @ V).transpose(1, 2).reshape(B, M, -1)  # (B, M, H d)
#     return torch.relu(heads + E @ W_Res)
# ```
#
# </details>

# %% [markdown]
# Is it the place of the residual, or only the extra projection, the biases and the scale? Give the stack every
# benefit of the doubt: our $W_Q, W_K, W_V$, the identity as output projection, no biases, and the scale in both. Then
# a stack of one layer *is* the paper's layer. Two are not, nor are three.

# %%
def largest_difference(L, seed):
    """Between L layers and the stack of their weights, by the largest output."""
    rng = np.random.default_rng(seed)
    layers = [InteractingLayer(H * d, H, d, rng, scale=True, dtype=np.float64)
              for _ in range(L)]
    stack = AttentionStack(H * d, H, L)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.zero_()
        for attention, layer in zip(stack.attention, layers, strict=True):
            # torch keeps W transposed
            W = np.concatenate([layer.params[f"W_{name}"].T for name in "QKV"])
            attention.in_proj_weight.copy_(torch.tensor(W))
            attention.out_proj.weight.copy_(torch.eye(H * d))
        stack.W_Res.weight.copy_(torch.tensor(layers[0].params["W_Res"].T))
        E = rng.standard_normal((20, 8, H * d))
        theirs, e = stack(torch.tensor(E)).numpy(), E
    for layer in layers:
        e = layer.forward(e)
    return np.abs(e - theirs).max() / np.abs(e).max()


seeds = range(10)
differences = {L: [largest_difference(L, seed) for seed in seeds] for L in (1, 2, 3)}
print("10 seeds. One layer: the same, below 1e-10. Two or three: off by more than a "
      "tenth of the largest output.")

fig, ax = plt.subplots(figsize=(5.2, 2.6), layout="constrained")
for L, found in differences.items():
    ax.plot(np.maximum(found, 1e-12), [f"{L} layer{'s' * (L > 1)}"] * len(found), "o",
            alpha=0.6)
ax.axvline(1e-10, color="0.5", linestyle="--", linewidth=1)
ax.set(xscale="log", xlim=(1e-13, 30),
       xlabel="largest difference, share of the largest output\n(leftmost: 1e-12 or "
              "less; dashed: 1e-10)")
ax.margins(y=0.3)

# %% tags=["claims"]
assert max(differences[1]) < 1e-10 and min(differences[2] + differences[3]) > 0.1

# %% [markdown]
# *What to look at:* one dot a seed. One layer lies left of the line, where only rounding is; two and three lie far
# right of it. A test with one layer would have passed.
#
# ## When to move on to torch
#
# | torch does for you | and hides |
# | --- | --- |
# | the backward pass of anything you write | where gradients fork, add up and are cached |
# | GPUs: `module.to("cuda")` | where the data is: each batch has to get there, too |
# | ready layers | what exactly they compute: biases, scales, projections (as above) |
# | optimizers for every taste | that dense Adam moves every row of every table at each step |
#
# In our experience it is time to move on when the model outgrows this library: sequences of clicks, texts or images
# beside the fields, tables so large that they need a GPU's bandwidth, a loss or a layer that you change every hour.
# Stay while you want to see each array, explain a model with exact contributions, or train these models on a
# processor: on 2 cores of an AMD EPYC, a training step of FM, AFM, DeepFM and AutoInt took minictr less time than eager
# PyTorch in every case that we [measured](../README.md#how-fast), by a factor of 1.1 to 4.5. (The
# same page has a case where compiled PyTorch is five times as fast.)
#
# ## Plug yours in
#
# Your `FastFM` takes the ten steps of above, beside minictr's FM:

# %% tags=["yours"]
if answered(lambda: FastFM(fm)(ids, x)) is None:           # exercise 1 is open
    check("ten steps of your FM", None, 0)
else:
    trained = FM(embedding_dim=4, dtype="float64", lazy=False).fit(clicks.X, clicks.y)
    trained.new_optimizer()
    by_minictr, by_torch = ten_steps(trained, FastFM(trained))
    check("ten steps of your FM", by_torch, by_minictr)
    print("losses:", np.round(by_torch, 4))

# %% [markdown]
# ## On your own
#
# - Give your `FastFM` `nn.Embedding(n, k, sparse=True)` instead of `V`, and torch.optim.SparseAdam. How close does it
#   come to minictr's `lazy=True`? (SparseAdam adds its $\epsilon$ in another place.)
# - Write DeepFM's forward pass as a subclass of `Tables`, with `nn.Linear`. It stores $W$ transposed: what happens if
#   you forget it in a layer that has as many inputs as outputs?
# - Train `to_torch(afm)` with a loss of your own, copy the weights back with
#   `parameters(afm)["embedding.V"][...] = module.embedding.V.weight.detach().numpy()` and so on, and look at it with
#   `explain.attention`.
#
# ## In practice
#
# - Fix the inputs before you compare models: in our experience most differences between two programs are differences
#   of encoding (an unknown value, a missing one, another order of fields). `module.inputs(X)` uses the model's own
#   encoder.
# - Keep the comparison as a test: logits, every gradient by name, ten steps. It takes a second, and catches a changed
#   default of either library. That is how [test_to_torch.py](../tests/bridges/test_to_torch.py) holds the modules
#   to minictr.
# - Save `state_dict()`, not the module: the first is arrays by name, the second is code that has to be found again.
# - `model.eval()` before predicting. In `train` mode batch norm makes a row's [logit](glossary.md#logit) depend on
#   its batch.
#
# ## Next
#
# [12](12_from_the_paper_to_the_table.ipynb) goes from raw files to the figures in the papers' tables.
#
# ## Further reading
#
# - Paszke et al. (2019), PyTorch: an imperative style, high-performance deep learning library:
#   [arXiv 1912.01703](https://arxiv.org/abs/1912.01703).
# - Baydin et al. (2018), Automatic differentiation in machine learning, a survey:
#   [arXiv 1502.05767](https://arxiv.org/abs/1502.05767).
# - Xiao et al. (2017), AFM: [arXiv 1708.04617](https://arxiv.org/abs/1708.04617). Song et al. (2019), AutoInt:
#   [arXiv 1810.11921](https://arxiv.org/abs/1810.11921).
