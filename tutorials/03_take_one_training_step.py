# %% [markdown]
# # Take one training step
#
# **What you'll do**: follow one impression through a whole training step, and write the optimizer that ends it.
#
# **What you'll learn**
# - read a trace: every array of forward, loss, backward and update, with its line of code and its equation
# - compute the gradient of one number by hand, from one [impression](glossary.md#impression) to its loss and back
# - write Adam line by line, and say what its bias correction is for, and what a published error in it costs
# - use two cheap tests of a training step: several steps against a reference, and one batch learned by heart
# - decide whether an optimizer should leave alone the rows of a table that a batch did not touch
#
# **What you'll need**: [01](01_predict_a_click.ipynb) (log loss from logits and its gradient),
# [02](02_multiply_pairs_with_fm.ipynb) (FM and its backward pass), NumPy.
#
# **Time**: 40 minutes, exercises included. The appendix is not counted.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import FM, check_gradients, datasets, metrics, optim, plots, trace
from minictr.exercises import check, several, train_beside
from minictr.layers import RowGradient, gradients, parameters, sigmoid
from minictr.slots import Slots

plt.rcParams["figure.dpi"] = 72                                   # small pictures
clicks = datasets.make_clicks(2_000, seed=0)
X = clicks.X[["user_segment", "device", "ad_category", "position"]]        # x_i = 1
y = clicks.y

model = FM(embedding_dim=3, learning_rate=0.01, dtype="float64", seed=0).prepare(X, y)
before = {name: array.copy() for name, array in parameters(model).items()}
steps = trace(model, X[:1], y[:1])                # one training step on one impression
figure, ax = plt.subplots(figsize=(8, 8), dpi=84, layout="constrained")
ax = plots.flow(steps, ax=ax)
for text in ax.texts:
    text.set_fontsize(9)

# %% [markdown]
# *What to look at*: solid arrows go down, from the ids to the [logit](glossary.md#logit) and the loss, and carry
# arrays with their shapes (1 row, 4 fields, vectors of 3 numbers). Dashed arrows come back up, and carry the size of
# the loss's gradient with respect to the same array. ($s$ is the logit.)
#
# `trace` ran one step on a copy of the model and kept every array. Here they are in the order in which they arose, up
# to the gradients; each with the line of the library that computed it and, where a paper numbers it, the equation
# that this line stands for. (The equations of `vx` and `E` are AutoInt's, Song et al. 2019, which writes the lookup
# down most plainly.) Lines that only fetch something are left out; `print(steps)` shows all, with their numbers.

# %%
pd.set_option("display.max_colwidth", 90)
table = steps.table
is_new = np.array([step.same_as is None for step in steps.steps])     # not passed on
is_fetched = table["symbol"].isin(["slots.ids", "w", "w0", "V", "y"])
shown = table[is_new & ~is_fetched & (table["phase"] != "update")].drop_duplicates(
    ["phase", "layer", "symbol"], keep="last")
shown.assign(code=shown["source"].str.split("#").str[0].str.strip())[
    ["phase", "layer", "symbol", "shape", "line", "code", "paper"]].set_index("phase")

# %% [markdown]
# ## The step
#
# All these lines stand in layers, in the loss and in the optimizer. What calls them, one after the other, is short: it
# is [step.py](../minictr/training/step.py), here without its checks. `model.encode` makes ids and numbers of a table's
# rows, and `model.train_step(X, y)` is both in one call.

# %%
settings = {"embedding_dim": 3, "learning_rate": 0.01, "dtype": "float64"}
stepped = FM(**settings).prepare(X, y)

slots, targets, c = stepped.encode(X[:1], y[:1])  # ids, labels; weights of rows: None
loss = stepped.loss_()                            # log loss, as y holds 0 and 1
logits = stepped.forward(slots)                   # (B,)
L = loss.forward(logits, targets, c)              # the mean over the batch's rows
stepped.backward(loss.backward())  # dL/ds, then every parameter's gradient
stepped.optimizer_.step(parameters(stepped), gradients(stepped))

# %% tags=["claims"]
as_one_call = FM(**settings).prepare(X, y)
assert L == steps.loss == as_one_call.train_step(X[:1], y[:1])
for name, array in parameters(stepped).items():
    assert np.array_equal(array, parameters(as_one_call)[name])
    assert not np.array_equal(array, before[name])

# %% [markdown]
# What a pass computed stays in the layers, in `cache` and `grads`, and can be looked at. `fit` makes the same step on
# every batch, but in parts on several threads, and with faster versions of some layers: the same results up to
# rounding, and nothing left behind in the layers. For a debugger's breakpoint use `train_step`, or `FM(plain=True)`.
#
# ## Forwards, by hand
#
# The equation behind the table is FM's, $s = w_0 + \sum_i w_i + \sum_{i<j} \langle v_i, v_j\rangle$ (all $x_i = 1$),
# and the loss of one row is $L = \log(1 + e^s) - y s$. The trace must agree with the slow way below 1e-12.

# %%
ids = model.encoder_.encode(X[:1]).ids[0]  # (M,)    rows of w and V
w0, w, V = before["linear.w0"], before["linear.w"], before["embedding.V"]
E = V[ids]                                                        # (M, k)  e_i = v_i


def logit_of(E):
    """The logit of the impression, for vectors E, by two loops."""
    s = w0[0] + w[ids].sum()
    for i in range(len(E)):
        for j in range(i + 1, len(E)):
            s += E[i] @ E[j]
    return s


def loss_of(E, label=y[0]):
    """Its log loss; also what it would be with another label."""
    return np.logaddexp(0, logit_of(E)) - label * logit_of(E)


s = logit_of(E)
print(f"logit {s:.3f}, p_click {sigmoid(s):.3f}, label {y[0]}, loss {loss_of(E):.3f}")

# %% tags=["claims"]
assert abs(s - steps.arrays["FM.s"][0]) < 1e-12
assert abs(loss_of(E) - steps.loss) < 1e-12

# %% [markdown]
# ## Backwards, by hand
#
# Two results of the earlier notebooks in a row: $\partial L/\partial s = (\sigma(s) - y)/B$ from 01, with $B = 1$
# here, and $\partial s/\partial e_i = \sum_j e_j - e_i$ from 02. There it went by whole arrays. Here, once, follow a
# single number: number $f$ of the vector of field $i$. It is a factor in $M - 1$ products; they are parts of the
# logit, and the logit makes the loss.
#
# **Exercise 1.** The whole chain for one number: how fast does the loss of the impression change with `E[i, f]`?
# Start from `E` and the label: forwards to the logit (`logit_of` and `sigmoid` are there), then back to the number.

# %% tags=["exercise"]
# Exercise 1
def gradient_of_one_number(E, y, i, f):
    """Vectors (M, k) and label of a row, a field, a place in its vector -> a number."""
    return None                      # your lines here

# %% tags=["check"]
def loss_gradient(E, label):
    """dL/dE (M, k), entry by entry: move it, see what the loss does."""
    gradient = np.zeros_like(E)
    for place in np.ndindex(E.shape):
        step = np.zeros_like(E)
        step[place] = 1e-6
        gradient[place] = (loss_of(E + step, label) - loss_of(E - step, label)) / 2e-6
    return gradient


other = np.linspace(-1, 1, E.size).reshape(E.shape)               # of another row
for vectors, label, case in ((E, 0, "if the label is 0"), (E, 1, "if the label is 1"),
                             (other, 1, "of another row")):
    partners, p_click = vectors.sum(axis=0) - vectors, sigmoid(logit_of(vectors))
    yours = [[gradient_of_one_number(vectors, label, i, f) for f in range(3)]
             for i in range(4)]
    if not check(f"gradient of each number, {case}",
                 None if yours[0][0] is None else yours, loss_gradient(vectors, label),
                 tolerance=1e-5, mistakes={
            "That is ds/dE[i, f]; dL/ds is missing.": partners,
            "dL/ds is the prediction minus the label; the label is missing.":
                p_click * partners,
            "That is dL/ds; how the logit changes with this number is missing.":
                p_click - label + 0 * vectors,
            "The field's own vector is among its partners.":
                (p_click - label) * (partners + vectors),
            "dL/ds is that of the page's row: compute the logit of the vectors that "
            "you are given.":
                (sigmoid(s) - label) * partners}):
        break

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def gradient_of_one_number(E, y, i, f):
#     s = logit_of(E)                                             # forwards
#     ds = sigmoid(s) - y                                         # dL/ds, B = 1
#     # ds/dE[i, f]: what the number is multiplied by
#     partners = sum(E[j, f] for j in range(len(E)) if j != i)
#     return ds * partners
# ```
#
# </details>

# %% [markdown]
# The trace has the same numbers, as `dE`, and hands them on to the four rows of the table as `dV`. The model itself
# has not moved: the step was made on a copy.
#
# **Predict.** The update follows the gradients. One of them is more than ten times another: how much further does its
# number move?

# %%
dV = steps.arrays["embedding.dV"]
moved = steps.arrays["embedding.V.table"][ids] - V[ids]           # by the update
numbers = pd.MultiIndex.from_product([X.columns, range(3)], names=["field", "number"])
moves = {"gradient": dV.ravel(), "moved by": moved.ravel()}
pd.DataFrame(moves, index=numbers).round(5).T

# %% tags=["claims"]
by_hand = (sigmoid(s) - y[0]) * (E.sum(axis=0) - E)
assert np.allclose(steps.arrays["pooling.dE"][0], by_hand, rtol=0, atol=1e-12)
assert np.array_equal(steps.arrays["embedding.dV"], steps.arrays["pooling.dE"][0])
assert all(np.array_equal(array, before[name])
           for name, array in parameters(model).items())
assert np.abs(dV).max() > 10 * np.abs(dV).min()
assert np.allclose(moved, -0.01 * np.sign(dV), rtol=0, atol=1e-6)

# %% [markdown]
# *What to look at*: the largest gradient is more than ten times the smallest, and yet every number moved by 0.01,
# against the sign of its gradient. 0.01 is the [learning rate](glossary.md#learning-rate). So the update is not
# "learning rate times gradient".
#
# ## Adam
#
# The optimizer is Adam (Kingma & Ba 2015, algorithm 1). It keeps two running means for every single number $w$, $m$
# of its gradient $g$ and $v$ of the gradient's square, both from 0 ($v$ is Adam's here, a number and no vector):
#
# $$m_t = \beta_1 m_{t-1} + (1 - \beta_1)\, g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2)\, g_t^2$$
#
# with $\beta_1 = 0.9$ and $\beta_2 = 0.999$. As they start from 0 they are too small at first. How much too small?
# For a constant gradient $g$
#
# $$m_t = (1 - \beta_1) \sum_{r=1}^{t} \beta_1^{t-r} g = (1 - \beta_1^t)\, g, \qquad v_t = (1 - \beta_2^t)\, g^2,$$
#
# so dividing by these factors puts them right (the *bias correction*; $t$ counts the steps from 1):
#
# $$\hat m_t = \frac{m_t}{1 - \beta_1^t}, \qquad \hat v_t = \frac{v_t}{1 - \beta_2^t}, \qquad
# w_t = w_{t-1} - \mathit{lr}\, \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}$$
#
# For a constant gradient the fraction is $g / |g|$: every step is as long as the learning rate, be the gradient large
# or small. And the first step always sees one gradient only, which is constant. That was 0.01.
#
# **Exercise 2.** One step of Adam. t is 1 in the first step. Return the new arrays; do not change the old ones.

# %% tags=["exercise"]
# Exercise 2
def adam_step(w, g, m, v, t, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
    """Parameter, gradient, both means, number of the step -> (w, m, v) after it."""
    return None                      # your lines here

# %% tags=["check"]
rng = np.random.default_rng(0)
start, g_1, g_2, g_3 = rng.standard_normal((4, 5))  # five numbers, three gradients

library, adam = {"w": start.copy()}, optim.Adam(0.01, lazy=False)
yours, m, v = start.copy(), np.zeros(5), np.zeros(5)
# the means; and those of one mistake
(m_t, v_t), (m_kept, v_kept) = np.zeros((2, 5)), np.zeros((2, 5))
for t, g in enumerate((g_1, g_2, g_3), start=1):
    w = library["w"].copy()       # before the step
    adam.step(library, {"w": g})  # the library's, in place
    given = yours, m, v
    copies = [array.copy() for array in given]
    yours, m, v = several(adam_step(yours, g, m, v, t), "w", "m", "v")
    m_t, v_t = 0.9 * m_t + 0.1 * g, 0.999 * v_t + 0.001 * g ** 2
    m_hat, v_hat = m_t / (1 - 0.9 ** t), v_t / (1 - 0.999 ** t)
    m_kept, v_kept = ((0.9 * m_kept + 0.1 * g) / (1 - 0.9 ** t),
                      (0.999 * v_kept + 0.001 * g ** 2) / (1 - 0.999 ** t))
    if not check(f"Adam, step {t}", yours, library["w"], tolerance=1e-12, mistakes={
            "The bias correction is missing.": w - 0.01 * m_t / (np.sqrt(v_t) + 1e-8),
            "Only m is corrected; v is too small as well.":
                w - 0.01 * m_hat / (np.sqrt(v_t) + 1e-8),
            "eps stands inside the root; it is added to the root.":
                w - 0.01 * m_hat / np.sqrt(v_hat + 1e-8),
            "This is the shorter form at the end of the paper's section 2: eps then "
            "means something else. Correct m and v themselves.":
                w - 0.01 * np.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
                * m_t / (np.sqrt(v_t) + 1e-8),
            "The m and v that you returned are the corrected ones: return those of the "
            "first formula.":
            w - 0.01 * m_kept / (np.sqrt(v_kept) + 1e-8)}):
        break
    if not np.array_equal(given, copies):
        check("the old arrays", given, copies, mistakes={
            "They were changed: m *= ... and w -= ... write into the array that was "
            "given. Make new ones, m = ...": given})
        break
else:
    def other_step(lr=0.03, beta1=0.8, beta2=0.99, eps=0.1):
        """Step 2, after a first one that left the means m = g_1 and v = g_1^2."""
        m_hat = (beta1 * g_1 + (1 - beta1) * g_2) / (1 - beta1 ** 2)
        v_hat = (beta2 * g_1 ** 2 + (1 - beta2) * g_2 ** 2) / (1 - beta2 ** 2)
        return start - lr * m_hat / (np.sqrt(v_hat) + eps)

    usual = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    yours = adam_step(start, g_2, g_1, g_1 ** 2, 2, 0.03, 0.8, 0.99, 0.1)[0]
    check("Adam, with another lr, beta1, beta2 and eps", yours, other_step(), mistakes={
        f"{name} is typed in, as {value}: use the argument.":
            other_step(**{name: value}) for name, value in usual.items()})

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def adam_step(w, g, m, v, t, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
#     m = beta1 * m + (1 - beta1) * g
#     v = beta2 * v + (1 - beta2) * g ** 2
#     m_hat = m / (1 - beta1 ** t)
#     v_hat = v / (1 - beta2 ** t)
#     w = w - lr * m_hat / (np.sqrt(v_hat) + eps)
#     return w, m, v
# ```
#
# </details>

# %% [markdown]
# **To touch**: the whole step, forwards, backwards and Adam, of a trained FM. Every number says which numbers made it,
# and each can be changed. In a terminal, `minictr trace --model fm --out steps` writes it as a page: steps/step.html.
#
# Go to the start of the training (*before training*), and open two parts of the update, `linear.w` and `embedding.V`.
# The gradients of the one are some twenty times those of the other; by how much does a number of each move? Point at a
# new number to see why.

# %% [markdown]
# ## A published bug
#
# These lines, in our words, stand in a much-read collection of algorithms to learn from
# ([ML-From-Scratch#35](https://github.com/eriklindernoren/ML-From-Scratch/issues/35), reported in 2018 and open at
# the time of writing). **What is wrong with them?** (Write the formulas beside them. Exercise 3 measures it.)

# %%
class PublishedAdam(optim.Adam):
    """Adam with the update rule of that thread."""

    def update(self, param, grad, state, learning_rate):
        m, v = state["m"], state["v"]
        m[...] = self.beta1 * m + (1 - self.beta1) * grad
        v[...] = self.beta2 * v + (1 - self.beta2) * grad ** 2
        m_hat = m / (1 - self.beta1)
        v_hat = v / (1 - self.beta2)
        param -= learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)


def step_sizes(optimizer, n_steps):
    """Sizes of the steps under a constant gradient of 1, in learning rates."""
    places = np.zeros(n_steps + 1)
    params = {"w": np.zeros(1)}
    for t in range(n_steps):
        optimizer.step(params, {"w": np.ones(1)})
        places[t + 1] = params["w"][0]
    return -np.diff(places) / optimizer.learning_rate

# %% [markdown]
# **Exercise 3.** With a constant gradient of 1, how many learning rates long is this optimizer's step number `t`? (A
# formula, for an array `t`. The m and v of step t are in the section on Adam; leave out `eps`.)

# %% tags=["exercise"]
# Exercise 3
def published_step(t, beta1=0.9, beta2=0.999):
    """Numbers of steps (T,) -> sizes of these steps, in learning rates (T,)."""
    return None                      # your lines here

# %% tags=["check"]
t = np.arange(1, 3001)
simulated = step_sizes(PublishedAdam(0.01), len(t))
check("steps of the published Adam", published_step(t), simulated, mistakes={
    "That is the right Adam: every step is one learning rate.": np.ones(len(t)),
    "That is no correction at all.": (1 - 0.9 ** t) / np.sqrt(1 - 0.999 ** t),
    "The square root is missing in the denominator.":
        (1 - 0.9 ** t) / 0.1 / ((1 - 0.999 ** t) / 0.001),
    "That is where the steps end up: at first m and v, which start from 0, are 1 - "
    "beta^t and not yet 1.":
        np.full(len(t), 1 / 0.1 / np.sqrt(1 / 0.001))});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def published_step(t, beta1=0.9, beta2=0.999):
#     m, v = 1 - beta1 ** t, 1 - beta2 ** t  # of a constant gradient of 1
#     return m / (1 - beta1) / np.sqrt(v / (1 - beta2))
# ```
#
# </details>

# %% [markdown]
# <details><summary>What is wrong?</summary>
#
# The correction divides by $1 - \beta$ instead of $1 - \beta^t$: the power is missing, so it never fades. It does not
# even use $t$.
#
# </details>

# %%
t = np.arange(1, 3001)
simulated = step_sizes(PublishedAdam(0.01), len(t))
right = step_sizes(optim.Adam(0.01), len(t))
none = (1 - 0.9 ** t) / np.sqrt(1 - 0.999 ** t)  # m / sqrt(v), uncorrected
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ax.plot(t, none, "--", label="no correction: $m / \\sqrt{v}$")
ax.plot(t, simulated, "-.", label="published: divided by $1 - \\beta$")
ax.plot(t, right, label="Adam: divided by $1 - \\beta^t$")
ax.set(xscale="log", yscale="log", xlabel="step t",
       ylabel="size of the step\n(learning rates)")
ax.set_yticks([0.3, 1, 2, 3, 6], ["0.3", "1", "2", "3", "6"], minor=False)
ax.minorticks_off()
legend = ax.legend(fontsize=8)

# %% tags=["claims"]
assert np.allclose(right, 1, rtol=0, atol=1e-6)
assert abs(simulated[0] - 1) < 1e-6  # its first step is right
assert round(simulated[9], 2) == 2.06 and round(simulated.max(), 2) == 2.08
assert (simulated[:100] > 0.99).all() and (simulated[110:] < 1).all()
assert 0.316 < simulated[-1] < 0.33 and abs(np.sqrt(0.001) / 0.1 - 0.316) < 1e-3
assert none.max() > 6 and 10 <= t[none.argmax()] <= 15

# %% [markdown]
# *What to look at*: with a constant gradient, Adam's steps are one learning rate long, all of them. Without a
# correction they are more than six times as long around step 12. The published ones are 2.06 times as long at step
# 10, fall below 1 after about a hundred steps, and stay near 0.32 for ever after: $\sqrt{1 - \beta_2} / (1 - \beta_1)
# = 0.316$.
#
# Who would have noticed? Not a [gradient check](glossary.md#gradient-check): it looks at `backward`, and no optimizer
# is in it. Not a test of the first step: at $t = 1$ both powers are the same. Not the training: it looks as if the
# learning rate were off. But **three steps against a reference** see it at once, and so does a test that a constant
# gradient gives constant steps (both below, folded).

# %% tags=["claims"]
small = FM(embedding_dim=3, dtype="float64", seed=0).prepare(X, y)
small.optimizer_ = PublishedAdam(0.01)

paths = {}
for optimizer in (optim.Adam(0.01, lazy=False), PublishedAdam(0.01, lazy=False)):
    params, path = {"w": start.copy()}, []
    for g in (g_1, g_2, g_3):
        optimizer.step(params, {"w": g})
        path.append(params["w"].copy())
    paths[type(optimizer).__name__] = np.array(path)
apart = np.abs(paths["Adam"] - paths["PublishedAdam"]).max(axis=1)

# for "In practice" below
tenfold, optimizer = {"w": start.copy()}, optim.Adam(0.01, lazy=False)
for g in (g_1, g_2, g_3):
    optimizer.step(tenfold, {"w": 10 * g})

# whatever the optimizer
assert check_gradients(small, small.encoder_.encode(X[:4])).passed
assert apart[0] < 1e-12 and apart[1] > 1e-4 and apart[2] > 1e-4
assert np.allclose(tenfold["w"], paths["Adam"][-1], rtol=0, atol=1e-6)

# %% [markdown]
# ## Learn one batch by heart
#
# Forward, loss, backward and update are all there. A cheap test that they belong together: take one small
# [batch](glossary.md#batch), repeat the step on it, and see whether the loss goes to 0. A model with far more
# parameters than the batch has rows should learn such a batch by heart (unless two equal rows have different labels).
# If it does not, something is wrong, and no amount of data will help.
#
# **Predict.** Adam, the published Adam, and plain gradient descent (SGD) at the same learning rate: which of the three
# get below a loss of 1e-3 within 150 steps?

# %%
all_fields, labels = clicks.X[:32], clicks.y[:32]


def losses_on_one_batch(optimizer, seed, n_steps=150, **settings):
    """Loss before each of n_steps steps on the same 32 rows."""
    model = FM(seed=seed, **settings).prepare(clicks.X, clicks.y)
    model.optimizer_ = optimizer
    return np.array([model.train_step(all_fields, labels) for _ in range(n_steps)])


adams = [optim.Adam(0.05) for _ in range(3)]
by_adam = [losses_on_one_batch(adam, seed) for seed, adam in enumerate(adams)]
by_published = [losses_on_one_batch(PublishedAdam(0.05), seed) for seed in range(3)]
by_sgd = [losses_on_one_batch(optim.SGD(0.05), seed) for seed in range(3)]
figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
for runs, style, colour, label in ((by_sgd, ":", "C0", "SGD"),
                                   (by_published, "-.", "C1", "published Adam"),
                                   (by_adam, "-", "C2", "Adam")):
    lines = ax.plot(np.transpose(runs), style, color=colour, linewidth=1.2)
    lines[0].set_label(f"{label}, three seeds")
ax.set(yscale="log", xlabel="steps made", ylabel="log loss of the batch")
legend = ax.legend(fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.9))

# %% tags=["claims"]
base_rate, rate = clicks.y.mean(), labels.mean()
at_base_rate = -rate * np.log(base_rate) - (1 - rate) * np.log(1 - base_rate)
for seed in range(3):
    assert abs(by_adam[seed][0] - at_base_rate) < 0.01
    assert by_adam[seed][100:].max() < 1e-3 and by_published[seed][100:].max() < 1e-3
    assert by_sgd[seed][-1] > 0.1 and by_published[seed][-1] < by_adam[seed][-1]
    means = adams[seed].state["embedding.V"]  # after the last step, t = 150
    m_hat, v_hat = means["m"] / (1 - 0.9 ** 150), means["v"] / (1 - 0.999 ** 150)
    step = np.abs(m_hat[v_hat > 0] / np.sqrt(v_hat[v_hat > 0]))   # learning rates
    assert step.mean() < 0.01
    assert losses_on_one_batch(optim.Adam(-0.05), seed)[-1] > 1000  # a wrong sign
    # dV never arrives
    frozen = losses_on_one_batch(optim.Adam(0.05), seed, freeze=("embedding",))
    assert frozen[-1] > 5e-3 > 100 * by_adam[seed][-1]

# %% [markdown]
# *What to look at*: Adam brings the loss from that of predicting the [base rate](glossary.md#base-rate) below 1e-3
# within 100 steps, for three seeds of the vectors' start. Then the curve flattens: the gradients have become tiny,
# but $v$, with its memory of a thousand steps, still holds the first ones, so the steps are tiny too. Plain gradient
# descent (SGD) at the same learning rate is still above 0.1 after 150 steps; it needs a far larger one.
#
# And the published Adam passes the test. Learning one batch by heart finds gross errors: with a wrong sign the loss
# grows beyond 1,000, and where the gradient of the vectors never arrives, it stays a hundred times Adam's (both
# asserted). It does not find steps of the wrong length, nor wrong labels: those are learned by heart just as well.
#
# ## Rows that a batch did not touch
#
# Here is what sets models of ids apart. A batch of 256 rows looks up a few thousand rows of the tables at most; the
# tables may have millions. In all other rows the gradient is 0. What should an optimizer do with these?
#
# - **Dense**, the paper's rule: nothing special. A gradient of 0 still makes $m$ and $v$ decay, and as long as $m$ is
#   not 0, the row moves. Each step costs as much as the table is long.
# - **Lazy**: leave these rows and their $m$ and $v$ alone until they are touched again. A step costs as much as the
#   batch is large. It is the default in minictr (`lazy=True`), and what PyTorch calls `SparseAdam`.
#
# Let us count both on a table of 100,000 ids, of which a batch touches at most 2,048.

# %%
n, k, rng = 100_000, 8, np.random.default_rng(0)
batches = [Slots(rng.integers(n, size=(256, 8)), None, range(8)) for _ in range(2)]
lines = []
for lazy in (False, True):
    params, optimizer = {"V": rng.standard_normal((n, k))}, optim.Adam(0.01, lazy=lazy)
    for slots in batches:
        start_of_step = params["V"].copy()
        gradient = RowGradient(slots, rng.standard_normal((256 * 8, k)))
        optimizer.step(params, {"V": gradient})
    touched = len(np.unique(batches[1].ids))
    moved = (params["V"] != start_of_step).any(axis=1).sum()
    lines.append({"rule": "lazy" if lazy else "dense", "rows touched": touched,
                  "rows worked through": touched if lazy else n,
                  "rows that moved in step 2": moved})
    either = len(np.union1d(batches[0].ids, batches[1].ids))
    assert moved == (touched if lazy else either)
pd.DataFrame(lines).set_index("rule")

# %% [markdown]
# The lazy rule works through 2 % of the rows. In step 2 it moves the rows of the second batch; the dense rule moves
# those of the first batch again too, which got no gradient. So the two are not the same algorithm; the appendix
# follows a single rare row through both. In our small world a batch touches most rows, and the two differ by less than
# 0.01 of AUC (three worlds).

# %% tags=["claims"]
slots = FM().prepare(clicks.X, clicks.y).encoder_.encode(clicks.X)
assert len(np.unique(slots[:256].ids)) > 0.7 * len(np.unique(slots.ids))
for world in range(3):
    train = datasets.make_clicks(8_000, seed=world)
    test = datasets.make_clicks(8_000, seed=world, rows_seed=1)
    dense, lazy = (FM(epochs=8, lazy=lazy, seed=0).fit(train.X, train.y)
                   for lazy in (False, True))
    aucs = [metrics.auc(test.y, fm.predict_proba(test.X)[:, 1]) for fm in (dense, lazy)]
    assert abs(aucs[0] - aucs[1]) < 0.01

# %% [markdown]
# ## Plug yours in
#
# Your `adam_step`, as the optimizer of an FM, for five epochs beside the library's Adam.

# %% tags=["yours"]
class YourAdam(optim.Adam):
    """The library's bookkeeping; the step is yours."""

    def update(self, param, grad, state, learning_rate):
        w, m, v = adam_step(param, grad, state["m"], state["v"], self.t, learning_rate)
        param[...], state["m"][...], state["v"][...] = w, m, v


class YourFM(FM):
    """An FM that your Adam trains."""

    def make_optimizer(self):
        return YourAdam(self.learning_rate)


settings = {"embedding_dim": 4, "epochs": 5, "learning_rate": 0.01, "dtype": "float64"}
train_beside("FM with your Adam", YourFM(**settings), FM(**settings), X, y);

# %% [markdown]
# ## On your own
#
# - Trace an FM with all eight fields (`print(trace(FM(embedding_dim=2).prepare(clicks.X, clicks.y), clicks.X[:1],
#   clicks.y[:1]))`) and find the line where the interests' several slots become one vector, and where `discount` gets
#   its $x_i$.
# - Which learning rate does SGD need to bring the batch below 1e-3 in 150 steps?
# - Keep a counter of its own for every row of the table, and use it as $t$ in the bias correction of a lazy Adam.
#   What becomes of the right-hand picture in the appendix?
# - Break something on purpose (a sign in a layer's backward pass, the ½ of the pair sum, the division by $B$), and
#   note which of the tests of this notebook and the last one finds it.
#
# ## In practice
#
# - The order of tests that saves most time: gradient check, one batch by heart, then data.
# - The scale of the loss hardly matters to Adam: multiply all gradients by 10, and but for $\epsilon$ the steps are
#   the same. So an error in it (a missing $1/B$) does not show in training. With SGD it does.
# - Real systems often train the tables with Adagrad or FTRL, whose rules do nothing for a gradient of 0, so that lazy
#   and dense are the same, and the dense network beside them with Adam. In minictr: `optimizer="adagrad"`.
# - L2 regularisation raises the same question: should a row shrink while no batch touches it? In minictr the
#   looked-up rows shrink, and no others.
#
# ## Next
#
# [04 Pay attention with AFM](04_pay_attention_with_afm.ipynb): pairs that do not all count the same.
#
# ## Further reading
#
# - Kingma & Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015 ([arXiv](https://arxiv.org/abs/1412.6980)):
#   algorithm 1, and section 3 on the bias correction.
# - Duchi, Hazan & Singer, *Adaptive Subgradient Methods*, JMLR 2011
#   ([paper](https://jmlr.org/papers/v12/duchi11a.html)): Adagrad, made for rare features.
# - [optim.py](../minictr/optim.py): the library's three optimizers.
#
# ## Appendix: a rare row, dense and lazy
#
# What is the difference for a single rare row?

# %%
def path_of_a_rare_row(lazy, touched_at=(1, 100), n_steps=140):
    """A weight whose gradient is 1 in the steps ``touched_at``, else 0: (n_steps,)."""
    params, optimizer, path = {"w": np.zeros(2)}, optim.Adam(0.01, lazy=lazy), []
    for t in range(1, n_steps + 1):
        row = 0 if t in touched_at else 1                         # row 1 has all others
        gradient = RowGradient(Slots([[row]], None, starts=[0]), np.ones(1))
        optimizer.step(params, {"w": gradient})
        path.append(params["w"][0] / 0.01)
    return np.array(path)


def first_step_late(t):
    """Size of a lazy row's first step, in learning rates, if that is in step t."""
    return -path_of_a_rare_row(True, touched_at=(t,), n_steps=t)[-1]


late = [1, 2, 5, 10, 30, 100, 300, 1000, 3000]
first_steps = np.array([first_step_late(t) for t in late])
figure, (path_ax, size_ax) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
dense_path, lazy_path = path_of_a_rare_row(False), path_of_a_rare_row(True)
path_ax.plot(range(1, 141), dense_path, "--", label="dense")
path_ax.plot(range(1, 141), lazy_path, label="lazy")
path_ax.set(xlabel="step (touched at 1 and 100)",
            ylabel="a rare row's weight\n(learning rates)")
path_ax.legend(fontsize=8)
size_ax.plot(late, first_steps, "o-", color="C1")
size_ax.set(xscale="log", xlabel="step in which a row is touched first",
            ylabel="its first lazy step\n(learning rates)");

# %% tags=["claims"]
m_hat, v_hat = (part / (1 - beta ** np.array(late))
                for part, beta in ((0.1, 0.9), (0.001, 0.999)))
formula = m_hat / np.sqrt(v_hat)
assert (np.diff(lazy_path) != 0).sum() == 1  # after step 1 it moves once, at step 100
assert (np.diff(dense_path)[:50] < 0).all()  # the dense row drifts on
assert dense_path[98] < -5 and abs(lazy_path[98] + 1) < 1e-6
assert np.allclose(first_steps, formula, rtol=1e-6)
assert 0.45 < first_steps.min() < 0.55 and late[first_steps.argmin()] == 10
assert 3 < first_steps[-1] < 0.1 / np.sqrt(0.001)

# %% [markdown]
# *What to look at*: on the left, one gradient at step 1 carries the dense row on by several learning rates, over
# dozens of steps in which no example spoke for it. The lazy row takes one step and waits.
#
# On the right is the price. $t$ counts the steps of the whole model. A row that is touched for the first time late
# has $m = (1 - \beta_1)\, g$ and $v = (1 - \beta_2)\, g^2$ like any beginner, but a correction that has faded, that
# of $m$ first, that of $v$ much later. So its first step is half a learning rate around step 10, and up to $(1 -
# \beta_1)/\sqrt{1 - \beta_2} = 3.16$ learning rates in the end. Rare rows move in few, large steps.
