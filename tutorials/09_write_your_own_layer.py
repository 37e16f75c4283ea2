# %% [markdown]
# # Write your own layer
#
# **What you'll do**: write a pooling layer that the library does not have, and two models around it; check them,
# train them, draw them, and compare them with FM by the rules of [08](08_compare_fairly.ipynb).
#
# **What you'll learn**
# - the layer protocol: `params`, `grads`, `cache`, `forward`, `backward`;
# - to derive and write a backward pass for a weighted sum over pairs;
# - to write a model as the order of its layers, once forwards and once backwards;
# - what a [gradient check](glossary.md#gradient-check) proves, how to fool one, and what to test besides.
#
# **What you'll need**: [08](08_compare_fairly.ipynb); NumPy and the chain rule; 30 minutes.

# %% [markdown]
# ## Something to improve
#
# An FM gives every [pair](glossary.md#pair) of fields the same right to speak: the sum of all inner products
# $\langle e_i, e_j \rangle$, each with the factor 1. But of the 28 pairs of this world only five carry an effect.

# %%
import dataclasses
import itertools
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import FM, Model, check_gradients, datasets, explain, metrics, plots
from minictr.exercises import check
from minictr.layers import MLP, Embedding, FMPooling, Layer, Linear, field_pairs, gradients, parameters, softmax

rows = datasets.make_clicks(20_000, seed=0, rows_seed=1)
fm = FM(learning_rate=0.01, epochs=30).fit(rows.X[:8_000], rows.y[:8_000],
                                           validation=(rows.X[8_000:10_000], rows.y[8_000:10_000]))
learned = explain.pair_importance(fm, rows.X[10_000:])
fig, axes = plt.subplots(1, 2, figsize=(8, 4.2), dpi=75, layout="constrained")
axes = plots.truth_vs_learned(rows.planted_pairs, learned, axes=axes)

# %% [markdown]
# **What to look at**: on the left most cells are 0. On the right none is: the vectors that serve the strong pairs
# also make products with everybody else, and those products are noise. The **field-weighted FM** (Pan et al. 2018)
# gives each pair of fields a weight $r_{ij}$ that is learned:
#
# $$s = w_0 + \sum_i w_i x_i + \sum_{i<j} r_{ij} \langle e_i, e_j \rangle, \qquad e_i = v_i x_i$$
#
# With all $r_{ij} = 1$ it is the FM. Its 28 extra parameters are nothing beside the vectors. minictr does not have
# it; you will.

# %%
X, none = rows.X[10_000:], rows.planted_pairs["value"] == 0
share = {"truth": rows.planted_pairs["value"][none].sum() / rows.planted_pairs["value"].sum(),
         "FM": learned["value"][none.to_numpy()].sum() / learned["value"].sum()}
assert share["truth"] == 0 and share["FM"] > 0.3 and learned["value"].min() > 0.01
print(f"share of FM's pair contributions that belongs to the 23 pairs without effect: {share['FM']:.2f}")

# %% [markdown]
# ## What a layer is
#
# A class with two methods and three dicts. `forward` computes and leaves in `cache` what `backward` needs. `backward`
# gets $\partial L / \partial \text{out}$, *assigns* the gradients of the parameters to `grads`, and returns
# $\partial L / \partial x$. [base.py](../minictr/layers/base.py) is all there is to it. The smallest one:


# %%
class Square(Layer):
    """out = x^2.   Backward:  dx = 2 x dout."""

    def forward(self, x):
        self.cache = {"x": x}
        return x * x

    def backward(self, dout):
        return 2 * self.cache["x"] * dout                         # out = x^2


print(check_gradients(Square(), np.random.default_rng(0).standard_normal((3, 2))))

# %% [markdown]
# The check moves every number of `x` a little up and down and compares the change of $\sum \text{out} \cdot
# \text{dout}$ with what `backward` said. Expect the last column well below 1. It works for any layer that keeps the
# protocol.
#
# ## Forward
#
# The layer takes the fields' vectors $E$, (B, M, k), and returns the weighted sum of the pair products, a vector of
# size k, as the FM's pooling does:
#
# $$\text{out} = \sum_{i<j} r_{ij}\; e_i \circ e_j$$
#
# Its sum over k is the second-order term above. Why not sum at once? As a vector it fits under a network too, and
# that will be the second model. First the slow and obvious way, which is also the target:


# %%
def pool_by_loops(E, r):
    """Straight from the equation. E (B, M, k), r (P,) in the order of field_pairs -> (B, k)."""
    B, M, k = E.shape
    out = np.zeros((B, k))
    for b in range(B):
        for pair, (i, j) in enumerate(zip(*field_pairs(M), strict=True)):
            for f in range(k):
                out[b, f] += r[pair] * E[b, i, f] * E[b, j, f]
    return out


rng = np.random.default_rng(1)
E, r, dout = rng.standard_normal((4, 5, 3)), rng.standard_normal(10), rng.standard_normal((4, 3))
print("pairs:", list(zip(*(numbers.tolist() for numbers in field_pairs(5)), strict=True)))

# %% tags=["exercise"]
# Exercise 1: the same without a loop over rows or numbers. field_pairs(M) gives the two arrays i, j of all pairs, (P,).
def pool(E, r):
    """E (B, M, k), r (P,) -> (B, k)."""
    return None                      # your lines here

# %% tags=["check"]
check("weighted pooling", pool(E, r), pool_by_loops(E, r),
      mistakes={"That is the FM's pooling: the weights r are missing.": FMPooling().forward(E),
                "That counts each pair twice.": 2 * pool_by_loops(E, r)});

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def pool(E, r):
#     i, j = field_pairs(E.shape[1])
#     pij = E[:, i] * E[:, j]
#     return (r[:, None] * pij).sum(axis=1)
# ```
#
# </details>
#
# ## Backward
#
# Two things to differentiate by, and $e_i$ stands in all pairs that $i$ is part of. With $g = \partial L / \partial
# \text{out}$, (k,) for each row:
#
# $$\frac{\partial L}{\partial r_{ij}} = \sum_b \sum_f g_f\, e_{if}\, e_{jf}, \qquad
#   \frac{\partial L}{\partial e_i} = g \circ \sum_{j \ne i} r_{ij}\, e_j \qquad (r_{ji} = r_{ij})$$
#
# The parameter is shared by all rows of the [batch](glossary.md#batch), so its gradient is a sum over them. There is
# no 1/B: the loss alone divides.

# %% tags=["exercise"]
# Exercise 2: the backward pass. dout (B, k) is g for each row. Return (dE, dr), shaped like E and r.
# One way: dp = r dout is the gradient of each pair's product, (B, P, k); then add it up for i and for j
# (np.add.at, or a loop over the pairs).
def pool_backward(dout, E, r):
    """(B, k), (B, M, k), (P,) -> dE (B, M, k), dr (P,)."""
    return None                      # your lines here

# %% tags=["check"]
def numeric_gradient(f, array, eps=1e-6):
    """Central differences of the number f() by every entry of the array, which is moved in place and put back."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + eps
        above = f()
        array[index] = value - eps
        gradient[index] = (above - f()) / (2 * eps)
        array[index] = value
    return gradient

def loss():
    return (pool_by_loops(E, r) * dout).sum()

answer = pool_backward(dout, E, r)
if answer is not None and not (isinstance(answer, (tuple, list)) and len(answer) == 2):
    print("Two arrays were asked for: return dE, dr")
    answer = None
dE, dr = (None, None) if answer is None else answer
i, j = field_pairs(E.shape[1])
to_i, to_j = r[:, None] * dout[:, None] * E[:, j], r[:, None] * dout[:, None] * E[:, i]     # what each pair adds
lost, only_i, only_j = (np.zeros_like(E) for _ in range(3))
lost[:, i] += to_i
lost[:, j] += to_j
np.add.at(only_i, (slice(None), i), to_i)
np.add.at(only_j, (slice(None), j), to_j)
check("dr", dr, numeric_gradient(loss, r), mistakes={
    "There is no 1/B: the gradient of a shared parameter is a sum over the rows.": numeric_gradient(loss, r) / len(E)})
check("dE", dE, numeric_gradient(loss, E), mistakes={
    "Repeated fields: dE[:, i] += ... writes one pair over the other, see 02.": lost,
    "Added only for i, not for j.": only_i, "Added only for j, not for i.": only_j,
    "The weights r are missing.": dout[:, None] * (E.sum(axis=1, keepdims=True) - E)});

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def pool_backward(dout, E, r):
#     i, j = field_pairs(E.shape[1])
#     pij = E[:, i] * E[:, j]
#     dr = (pij * dout[:, None]).sum(axis=(0, 2))            # out = sum r p
#     dp = r[:, None] * dout[:, None]                        # out = sum r p
#     dE = np.zeros_like(E)
#     for pair in range(len(i)):
#         dE[:, i[pair]] += dp[:, pair] * E[:, j[pair]]      # p = e_i * e_j
#         dE[:, j[pair]] += dp[:, pair] * E[:, i[pair]]
#     return dE, dr
# ```
#
# The loop over pairs is no blemish: each turn handles all rows at once.
#
# </details>

# %% [markdown]
# ## The layer, without a loop
#
# Put the weights into a symmetric matrix $R$, (M, M), with zeros on its diagonal. Then $(R E)_i = \sum_{j \ne i}
# r_{ij} e_j$ is what both directions need:
#
# $$\text{out} = \tfrac12 \sum_i e_i \circ (R E)_i, \qquad \frac{\partial L}{\partial e_i} = g \circ (R E)_i$$
#
# For $R$ full of ones off the diagonal, $(R E)_i = \sum_j e_j - e_i$: FM's trick of
# [02](02_multiply_pairs_with_fm.ipynb) is the special case.


# %%
class WeightedPooling(Layer):
    """out = sum_{i<j} r_ij e_i * e_j   (the pair term of Pan et al. 2018, before its sum over k)."""

    def __init__(self, M, dtype=np.float32):
        super().__init__()
        self.params["r"] = np.ones(M * (M - 1) // 2, dtype)       # the FM, to start with

    def forward(self, E):
        M = E.shape[1]
        i, j = field_pairs(M)
        R = np.zeros((M, M), E.dtype)
        R[i, j] = R[j, i] = self.params["r"]
        RE = R @ E                                                # (B, M, k)  sum_j r_ij e_j
        self.cache = {"E": E, "RE": RE}
        return 0.5 * (E * RE).sum(axis=1)                         # (B, k)

    def backward(self, dout):
        E, RE = self.cache["E"], self.cache["RE"]
        i, j = field_pairs(E.shape[1])
        G = (E * dout[:, None]) @ E.swapaxes(1, 2)                # (B, M, M)  sum_f g_f e_if e_jf
        self.grads["r"] = G.sum(axis=0)[i, j]                     # (P,)       out = sum r_ij e_i * e_j
        return dout[:, None] * RE                                 # (B, M, k)


layer = WeightedPooling(5, dtype="float64")
assert np.allclose(layer.forward(E), FMPooling().forward(E), atol=1e-12)            # r = 1: the FM's pooling
layer.params["r"][:] = r
assert np.allclose(layer.forward(E), pool_by_loops(E, r), atol=1e-12)               # fast = slow
report = check_gradients(layer, E)
assert report.passed
print(report)

# %% [markdown]
# Three tests, and each catches what the others cannot: loops from the equation (is it the right function?), the
# gradient check (does backward belong to forward?), and a known special case.
#
# ## Spot the bugs: checks that pass
#
# Two published ways to be content too early. You met the first in 04. Can you still say why?
#
# **(a)** A softmax, and the test of its backward pass. Assume that `backward` returns **zeros**. Does the test
# notice?
#
# ```python
# out = softmax(x)
# loss = out.sum()
# compare(numeric_gradient(loss, x), backward(ones_like(out)))
# ```
#
# **(b)** The gradient of an FM's score by the vector of feature i, for one row x and factors V:
#
# ```python
# total = x @ V                                     # (k,)  sum_j v_j x_j
# dV_i = (total * x[i])[0] - V[i] * x[i] ** 2       # (k,)
# ```
#
# A gradient check with one factor (k = 1) passes. With which line would you be uneasy?
#
# <details><summary>Answer</summary>
#
# (a) No. The outputs of a softmax sum to 1 whatever x is, so the loss is constant and its numeric gradient *is* zero.
# Any backward pass that returns zeros for dout = 1 passes, and that includes wrong formulas. The thread:
# [harvard-edge/cs249r_book#2053](https://github.com/harvard-edge/cs249r_book/pull/2053), where operators in the
# softmax's backward pass could be exchanged without any test noticing, as every test called `.sum()`. The cure is a
# *random* dout, which is what `check_gradients` takes.
#
# (b) `[0]` takes the first factor's sum and uses it for all k factors. This is [rushter/MLAlgorithms,
# fm.py](https://github.com/rushter/MLAlgorithms/blob/master/mla/fm.py). With k = 1 the first factor is the only one.
# Check with sizes that all differ and are larger than 1.
#
# </details>


# %%
class LazySoftmax(Layer):
    """(a) on purpose: a softmax whose backward pass returns zeros."""

    def forward(self, x):
        return softmax(x, axis=1)

    def backward(self, dout):
        return np.zeros_like(dout)


x, lazy = np.random.default_rng(2).standard_normal((3, 4)), LazySoftmax()
for name, dout_of_test in (("dout = 1", np.ones((3, 4))), ("random dout", np.random.default_rng(3).random((3, 4)))):
    def loss_of_test(dout_of_test=dout_of_test):
        return (lazy.forward(x) * dout_of_test).sum()

    error = abs(numeric_gradient(loss_of_test, x) - lazy.backward(dout_of_test)).max()
    assert error < 1e-8 if name == "dout = 1" else error > 0.01
    print(f"(a) {name}: {'error below 1e-8, passes' if error < 1e-8 else 'error above 0.01, fails'}")
assert not check_gradients(LazySoftmax(), x).passed


def fm_pairs(x, V):
    """The pair term of an FM's score for one row."""
    return 0.5 * ((x @ V) ** 2 - (x ** 2) @ V ** 2).sum()


for k in (1, 3):
    x, V = np.random.default_rng(4).standard_normal(6), np.random.default_rng(5).standard_normal((6, k))
    wrong = np.array([((x @ V) * x[i])[0] - V[i] * x[i] ** 2 for i in range(6)])              # (b)
    right = np.array([(x @ V) * x[i] - V[i] * x[i] ** 2 for i in range(6)])
    numeric = numeric_gradient(lambda x=x, V=V: fm_pairs(x, V), V)
    assert abs(right - numeric).max() < 1e-7 and (abs(wrong - numeric).max() < 1e-7) == (k == 1)
    print(f"(b) k = {k}: the line with [0] {'passes' if k == 1 else 'fails'}")

# %% [markdown]
# ## A model is the order of its layers
#
# `FwFM` below is the whole model. (minictr has one too, [fwfm.py](../minictr/models/fwfm.py), of other layers; of two
# classes with one name the later one counts.) `backward` is `forward` read from the bottom up. The last two methods are
# for the rest of the library: `bias` says where the [bias](glossary.md#bias) is, and `terms` what fields and pairs
# added to the logits of the latest forward pass, for `explain`.
#
# A model is a dataclass: its fields are its settings, which is how `get_params`, `clone` and `load` know them. And a
# subclass of `Model` is registered under its name as soon as it is made, so that its files can be loaded. Each
# layer is an attribute, or stands in a list that is one: there, and nowhere else, the library looks for parameters.
# (Letters below: $f$ is the pooled vector in NFM, and an index of its numbers in the sums above; $r$ are pair weights,
# not runs.)


# %%
@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class FwFM(Model):
    """Field-weighted FM:  s = w_0 + sum_i w_i x_i + sum_{i<j} r_ij <e_i, e_j>   (Pan et al. 2018)."""

    embedding_dim: int = 8

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.pooling = WeightedPooling(M, dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        pooled = self.pooling.forward(E)                          # (B, k)     sum r_ij e_i * e_j
        return self.linear.forward(slots) + pooled.sum(axis=1)    # (B,)

    def backward(self, ds):
        dpooled = np.repeat(ds[:, None], self.embedding_dim, axis=1)          # s = ... + sum_f pooled_f
        self.embedding.backward(self.pooling.backward(dpooled))
        self.linear.backward(ds)

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        E = self.pooling.cache["E"]
        i, j = field_pairs(E.shape[1])
        pairs = (E @ E.swapaxes(1, 2))[:, i, j]                   # (B, P)     <e_i, e_j>
        return {"fields": self.linear.field_terms(),              # (B, M)     w_i x_i
                "pairs": self.pooling.params["r"] * pairs}        # (B, P)     r_ij <e_i, e_j>


small = rows.X[["user_segment", "device", "position", "interests"]][:6]
fwfm = FwFM(embedding_dim=3, dtype="float64").prepare(small, [0, 1, 0, 1, 1, 0])
# redraw: parameters drawn anew for the check, large enough to see (a model that was not trained has tiny vectors)
assert check_gradients(fwfm, fwfm.encoder_.encode(small), redraw=0.5).passed
terms = explain.contributions(fwfm, small).groupby("row")["value"].sum()
logits = fwfm.decision_function(small)
assert np.allclose(terms, logits, atol=1e-12)                                 # bias + fields + pairs = logit
fwfm.embedding.params["V"] *= 2
fwfm.pooling.params["r"] /= 4
assert np.allclose(fwfm.decision_function(small), logits, atol=1e-12)         # only the products r <e, e> count

# %% [markdown]
# ## Your model: NFM
#
# The neural FM (He & Chua 2017, eq. 4) puts a network on the pooled vector. minictr's own is in
# [nfm.py](../minictr/models/nfm.py); look there afterwards:
#
# $$s = w_0 + \sum_i w_i x_i + \text{MLP}(f), \qquad f = \sum_{i<j} e_i \circ e_j$$
#
# Two layers in a row, and the first-order term beside them. $w_0$ and a bias at the MLP's end would have the same
# gradient in every step, so the MLP has none (`bias=False`). `build` is given; `forward` and `backward` are yours.

# %% tags=["exercise"]
# Exercise 3: forward (-> logits) and backward of NFM. self.mlp.forward(f) takes (B, k) to (B,).
# Linear and Embedding return nothing from backward: ids have no derivative.
@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class MyNFM(Model):
    embedding_dim: int = 8
    deep_layers: tuple = (32,)

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.pooling = FMPooling()
        self.mlp = MLP(self.embedding_dim, self.deep_layers, rng, bias=False, dtype=self.dtype)

    def forward(self, slots):
        return None                  # your lines here

    def backward(self, ds):
        return None                  # your lines here

    def bias(self):
        return self.linear.params["w0"]

# %% tags=["check"]
mine = MyNFM(embedding_dim=3, deep_layers=(5,), dtype="float64").prepare(small, [0, 1, 0, 1, 1, 0])
slots, params = mine.encoder_.encode(small), parameters(mine)
for name in params:                                         # larger numbers than the start's, away from the ReLU's kink
    params[name][...] = 0.5 * np.random.default_rng(6).standard_normal(params[name].shape)

def logits_by_loops():
    """NFM's equation, row by row and pair by pair."""
    out = np.zeros(len(slots))
    for b in range(len(slots)):
        bounds, e = [*slots.starts, slots.n_slots], []
        out[b] = params["linear.w0"][0]
        for start, stop in itertools.pairwise(bounds):               # a field's slots
            e.append(sum(slots.x[b, s] * params["embedding.V"][slots.ids[b, s]] for s in range(start, stop)))
            out[b] += sum(slots.x[b, s] * params["linear.w"][slots.ids[b, s]] for s in range(start, stop))
        f = sum(e[i] * e[j] for i in range(len(e)) for j in range(i + 1, len(e)))
        hidden = np.maximum(f @ params["mlp.dense_1.W"] + params["mlp.dense_1.b"], 0)
        out[b] += hidden @ params["mlp.out.w"]
    return out

ds = np.random.default_rng(7).standard_normal(len(slots))
logits = mine.forward(slots)
check("NFM forward", logits, logits_by_loops(),
      mistakes={"The first-order term is missing.": logits_by_loops() - mine.linear.forward(slots)})
yours = {}
if logits is not None:
    try:
        mine.backward(ds)
    except Exception as error:
        print(f"backward stopped. {type(error).__name__}: {error}")
    yours = {name: g.dense(len(params[name])) if hasattr(g, "dense") else g for name, g in gradients(mine).items()}
    print("parameters without a gradient so far:", [name for name in params if name not in yours] or "none")
for name in params:
    check(f"NFM backward, {name}", yours.get(name),
          numeric_gradient(lambda: logits_by_loops() @ ds, params[name]));

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# @dataclasses.dataclass(kw_only=True, eq=False, repr=False)
# class MyNFM(Model):
#     embedding_dim: int = 8
#     deep_layers: tuple = (32,)
#
#     def build(self, n, M, rng):
#         self.linear = Linear(n, dtype=self.dtype)
#         self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
#         self.pooling = FMPooling()
#         self.mlp = MLP(self.embedding_dim, self.deep_layers, rng, bias=False, dtype=self.dtype)
#
#     def forward(self, slots):
#         E = self.embedding.forward(slots)                         # (B, M, k)
#         f = self.pooling.forward(E)                               # (B, k)
#         return self.linear.forward(slots) + self.mlp.forward(f)   # (B,)
#
#     def backward(self, ds):
#         df = self.mlp.backward(ds)                                # s = ... + MLP(f)
#         dE = self.pooling.backward(df)                            # f = pooling(E)
#         self.embedding.backward(dE)
#         self.linear.backward(ds)
#
#     def bias(self):
#         return self.linear.params["w0"]
# ```
#
# </details>
#
# ## Into the table
#
# What follows uses a finished NFM (the solution's lines), so that it runs without your answer. To try yours, put
# `MyNFM` in its place. The rules are those of [08](08_compare_fairly.ipynb): five runs with rows of their own, the
# same learning rates for each model, chosen on a run that is not used again, but with 8,000 training rows.


# %%
class NFM(MyNFM):
    """Neural FM:  s = w_0 + sum_i w_i x_i + MLP(sum_{i<j} e_i * e_j)."""

    def forward(self, slots):
        f = self.pooling.forward(self.embedding.forward(slots))
        return self.linear.forward(slots) + self.mlp.forward(f)

    def backward(self, ds):
        self.embedding.backward(self.pooling.backward(self.mlp.backward(ds)))
        self.linear.backward(ds)


MODELS = {"FM": FM, "FwFM": FwFM, "NFM": NFM}


def fit(name, run, learning_rate):
    """One model of a run: 8,000 rows to train on, 2,000 to stop by; also returns the 10,000 test rows."""
    rows = datasets.make_clicks(20_000, seed=0, rows_seed=run)
    model = MODELS[name](learning_rate=learning_rate, epochs=30, seed=run)
    model.fit(rows.X[:8_000], rows.y[:8_000], validation=(rows.X[8_000:10_000], rows.y[8_000:10_000]))
    return model, rows.X[10_000:], rows.y[10_000:]


lines, fitted = [], {}
for name in MODELS:
    losses = {rate: fit(name, 100, rate)[0].history_["val_loss"].min() for rate in (0.001, 0.003, 0.01, 0.03, 0.1)}
    print(f"{name}: learning rate", min(losses, key=losses.get))
    assert 0.001 < min(losses, key=losses.get) < 0.1            # not at the edge of the list
    for run in range(1, 6):
        model, X, y = fitted[name, run] = fit(name, run, min(losses, key=losses.get))
        p_click = model.predict_proba(X)[:, 1]
        lines.append({"model": name, "run": run, "AUC": metrics.auc(y, p_click),
                      "log loss": metrics.log_loss(y, p_click)})
scores = pd.DataFrame(lines).pivot(index="run", columns="model")[["AUC", "log loss"]]

summary = pd.DataFrame({(metric, column): value for metric in ("AUC", "log loss") for column, value in (
    ("mean", scores[metric].mean()), ("low", scores[metric].min()), ("high", scores[metric].max()))})
summary.loc[list(MODELS)].round(3)

# %%
lines = []
for name in ("FwFM", "NFM"):
    for metric in ("AUC", "log loss"):
        d = scores[metric][name] - scores[metric]["FM"]
        half = 2.776 * d.std(ddof=1) / np.sqrt(len(d))
        lines.append({"model": name, "metric": metric, "minus FM": d.mean(), "low": d.mean() - half,
                      "high": d.mean() + half})
difference = pd.DataFrame(lines).set_index(["model", "metric"])
assert (scores["AUC"]["FwFM"] - scores["AUC"]["FM"] > 0.005).all()          # in each of the five runs
assert difference.loc[("FwFM", "AUC"), "low"] > 0 and difference.loc[("FwFM", "log loss"), "high"] < 0
assert -0.03 < difference.loc[("NFM", "AUC"), "minus FM"] and difference.loc[("NFM", "AUC"), "high"] < 0
difference.round(4)

# %% [markdown]
# FwFM is ahead of FM in each of the five runs, and its interval does not hold 0. That is no wonder in a world with five
# pairs out of 28: being able to turn a pair down is worth much here. It says nothing about a world where all pairs
# matter. NFM is behind FM, by less than 0.03 AUC: its interval, too, does not hold 0. There is nothing for its network
# to find, and it has to learn anew what the FM has by construction.
#
# ## The same pictures for your models
#
# FwFM's logit is a sum over fields and pairs, so `explain.pair_importance` is exact for it. NFM's is not, and the
# library says so instead of inventing numbers. For it there is the [interaction
# effect](glossary.md#interaction-effect), which works for any model: how far a prediction departs from additivity in
# two fields.

# %%
model, X, y = fitted["FwFM", 1]
try:
    explain.pair_importance(fitted["NFM", 1][0], X)
except TypeError as error:
    print("TypeError:", error)
of_fwfm = explain.pair_importance(model, X)
of_nfm = explain.interaction_effects(fitted["NFM", 1][0], X, background=500, partners=4)
fig, axes = plt.subplots(1, 2, figsize=(8, 4.2), dpi=75, layout="constrained")
for ax, name, table in zip(axes, ("FwFM", "NFM"), (of_fwfm, of_nfm), strict=True):
    plots.pair_heatmap(table, ax=ax).set_title(f"{name}: {table.attrs['quantity']}")

top = ["user_segment", "ad_category"]
for run in range(1, 6):
    for name, table in (("FwFM", explain.pair_importance(fitted["FwFM", run][0], X)),
                        ("NFM", explain.interaction_effects(fitted["NFM", run][0], X, background=500, partners=4))):
        assert table.loc[table["value"].idxmax(), ["field_i", "field_j"]].tolist() == top, (run, name)
share["FwFM"] = of_fwfm["value"][none.to_numpy()].sum() / of_fwfm["value"].sum()
darker = of_fwfm["value"].to_numpy()[none.to_numpy()] < learned["value"].to_numpy()[none.to_numpy()]
print(f"share of the pairs without effect: FM {share['FM']:.2f}, FwFM {share['FwFM']:.2f};",
      f"{darker.sum()} of {len(darker)} of them smaller than in FM")
assert share["FwFM"] < share["FM"] - 0.1 and darker.mean() > 0.6

# %% [markdown]
# **What to look at**: the bright cell is the largest planted one of the first picture, and it is the largest in every
# run for both models. In FwFM's map most of the cells without planted effect are darker than in the FM's at the top of
# this notebook, and their share of the sum is smaller by more than 0.1. The scales differ (mean |contribution|,
# interaction effect), so compare which cells stand out, not their numbers.
#
# Everything else of the library works as well, because it knows layers and models only by the protocol. A file says
# which model it holds, so `Model.load` gives back an FwFM, as long as its class has been made:

# %%
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "fwfm.npz")
    again = Model.load(Path(folder) / "fwfm.npz")
assert isinstance(again, FwFM)
assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
assert again.get_params()["embedding_dim"] == 8 and "pooling.r" in parameters(again)

frozen = FwFM(freeze=("pooling.r",), learning_rate=0.01, epochs=3).fit(rows.X[:8_000], rows.y[:8_000])
assert (frozen.pooling.params["r"] == 1).all()                                # then it is an FM
plain = FM(learning_rate=0.01, epochs=3).fit(rows.X[:8_000], rows.y[:8_000])
assert np.allclose(frozen.decision_function(X), plain.decision_function(X), atol=0.01)

# %% [markdown]
# The last lines are a test worth having for every extension: with its new part frozen at the neutral value, training
# gives the old model, here to within 0.01 of a logit in float32.
#
# ## On your own
#
# - Give `r` the learning rate multiplier 0.1, then 10 (`lr_multipliers={"pooling.r": 10}`). What becomes of the gap?
# - Put `WeightedPooling` under the network of NFM. One line of `build` changes. Does it help NFM?
# - Let $r_{ij}$ depend on the row: you have reinvented attention. Where does AFM's softmax come from then?
#
# ## In practice
#
# - **Write the loops first.** The slow version is the definition. Without it the gradient check will confirm, to
#   seven digits, the derivative of the wrong function.
# - **Check in float64**, with all sizes different (B = 4, M = 5, k = 3), a random dout, and parameters away from
#   zero.
# - **Assign gradients, do not add**: a layer that does `+=` is right once and wrong at the second call.
# - **When to write a layer**: when the equation is new. For a new order of old parts, write a model only.
# - **Extra parameters can be scaled away**: doubling all vectors and dividing $r$ by four changes nothing in FwFM
#   (asserted below its class), so the size of a single $r_{ij}$ means nothing by itself. Read contributions.
#
# ## Next
#
# [Bring your own CSV](10_bring_your_own_csv.ipynb): untidy columns, unknown values, and time.
#
# ## Further reading
#
# - J. Pan et al., [Field-weighted Factorization Machines](https://arxiv.org/abs/1806.03514), WWW 2018.
# - X. He, T.-S. Chua, [Neural Factorization Machines](https://arxiv.org/abs/1708.05027), SIGIR 2017.
# - [CONTRIBUTING](../CONTRIBUTING.md): names of arrays, the protocol, and how a model gets into the library.
