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
# **What you'll need**: [08](08_compare_fairly.ipynb); NumPy and the chain rule.
#
# **Time**: 35 minutes, exercises included.

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

import minictr
from minictr import FM, Model, check_gradients, datasets, explain, metrics, plots
from minictr.exercises import check, train_beside
from minictr.layers import (MLP, Embedding, FMPooling, Layer, Linear, field_pairs,
                            gradients, parameters, softmax)

rows = datasets.make_clicks(20_000, seed=0, rows_seed=1)
held_out = rows.X[8_000:10_000], rows.y[8_000:10_000]
fm = FM(learning_rate=0.01, epochs=30)
fm.fit(rows.X[:8_000], rows.y[:8_000], validation=held_out)
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
# With all $r_{ij} = 1$ it is the FM. Its 28 extra parameters are nothing beside the vectors. You will write its
# layer, a class of your own, and then a second model around another one. (minictr has both models. Do not look yet.)

# %%
X, none = rows.X[10_000:], (rows.planted_pairs["value"] == 0).to_numpy()


def share_of_none(table):
    """The share of a table's values that belongs to pairs with nothing planted."""
    return table["value"].to_numpy()[none].sum() / table["value"].sum()


share = {"truth": share_of_none(rows.planted_pairs), "FM": share_of_none(learned)}
print("share of FM's pair contributions that belongs to the 23 pairs without effect: "
      f"{share['FM']:.2f}")

# %% tags=["claims"]
assert share["truth"] == 0 and share["FM"] > 0.3 and learned["value"].min() > 0.01

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
    """The equation. E (B, M, k), r (P,) in the order of field_pairs -> (B, k)."""
    B, M, k = E.shape
    out = np.zeros((B, k))
    for b in range(B):
        for pair, (i, j) in enumerate(zip(*field_pairs(M), strict=True)):
            for f in range(k):
                out[b, f] += r[pair] * E[b, i, f] * E[b, j, f]
    return out


rng = np.random.default_rng(1)
E, r, dout = (rng.standard_normal(shape) for shape in ((4, 5, 3), 10, (4, 3)))
print("pairs:", [(int(i), int(j)) for i, j in zip(*field_pairs(5), strict=True)])

# %% [markdown]
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
#
# **Exercise 1.** The layer, whole. `__init__` draws nothing: `r` starts at ones, one for each pair, in `self.params`,
# in the given dtype. `forward` takes `E` (B, M, k) and returns (B, k), without a loop over rows or numbers
# (`field_pairs(M)` gives the two arrays i, j of all pairs, (P,)). `backward` takes `dout` (B, k), g for each row,
# assigns `self.grads["r"]` and returns `dE`. One way: `r * dout` is the gradient of each pair's product, (B, P, k);
# then add it up for i and for j (`np.add.at`, or a loop over the pairs).

# %% tags=["exercise"]
# Exercise 1
class MyPooling(Layer):
    """out = sum_{i<j} r_ij e_i * e_j."""

    def __init__(self, M, dtype=np.float32):
        super().__init__()
        # your line here

    def forward(self, E):
        return None                                   # your lines here

    def backward(self, dout):
        return None                                   # your lines here

# %% tags=["check"]
def numeric_gradient(f, array, eps=1e-6):
    """Central differences of the number f() by each entry of the array."""
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


mine, out, dE = MyPooling(5, dtype="float64"), None, None
start = mine.params.get("r")
if check("r to start with", start, np.ones(10)):
    mine.params["r"] = r.copy()
    out = mine.forward(E)
check("weighted pooling", out, pool_by_loops(E, r), mistakes={
    "That is the FM's pooling: the weights r are missing.": FMPooling().forward(E),
    "That counts each pair twice.": 2 * pool_by_loops(E, r)})
if out is not None:
    dE = mine.backward(dout)
i, j = field_pairs(E.shape[1])
# what each pair adds
to_i, to_j = r[:, None] * dout[:, None] * E[:, j], r[:, None] * dout[:, None] * E[:, i]
lost, last, only_i, only_j = (np.zeros_like(E) for _ in range(4))
lost[:, i] += to_i
lost[:, j] += to_j
for pair in range(len(i)):
    last[:, i[pair]] = to_i[:, pair]
    last[:, j[pair]] = to_j[:, pair]
np.add.at(only_i, (slice(None), i), to_i)
np.add.at(only_j, (slice(None), j), to_j)
dr = numeric_gradient(loss, r)
right = [check("dr", mine.grads.get("r"), dr, mistakes={
    "There is no 1/B: the gradient of a shared parameter is a sum over the rows.":
        dr / len(E)})]
right.append(check("dE", dE, numeric_gradient(loss, E), mistakes={
    "Repeated fields: dE[:, i] += ... writes one pair over the other, see 02.": lost,
    "A field is in M - 1 pairs, and their shares add up: += and not =.": last,
    "Added only for i, not for j.": only_i, "Added only for j, not for i.": only_j,
    "The weights r are missing.": dout[:, None] * (E.sum(axis=1, keepdims=True) - E)}))
if all(right):
    mine.backward(dout)
    check("dr of a second call", mine.grads["r"], dr, mistakes={
        "grads are assigned, not added to: yours keeps those of the first call.":
            2 * dr});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# class MyPooling(Layer):
#     """out = sum_{i<j} r_ij e_i * e_j."""
#
#     def __init__(self, M, dtype=np.float32):
#         super().__init__()
#         self.params["r"] = np.ones(M * (M - 1) // 2, dtype)
#
#     def forward(self, E):
#         i, j = field_pairs(E.shape[1])
#         pij = E[:, i] * E[:, j]                           # (B, P, k)
#         self.cache = {"E": E, "pij": pij}
#         return (self.params["r"][:, None] * pij).sum(axis=1)      # (B, k)
#
#     def backward(self, dout):
#         E, pij = self.cache["E"], self.cache["pij"]
#         i, j = field_pairs(E.shape[1])
#         self.grads["r"] = (pij * dout[:, None]).sum(axis=(0, 2))  # out = sum r p
#         dp = self.params["r"][:, None] * dout[:, None]    # (B, P, k)  out = sum r p
#         dE = np.zeros_like(E)
#         for pair in range(len(i)):                        #            p = e_i * e_j
#             dE[:, i[pair]] += dp[:, pair] * E[:, j[pair]]
#             dE[:, j[pair]] += dp[:, pair] * E[:, i[pair]]
#         return dE
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
    """out = sum_{i<j} r_ij e_i * e_j   (Pan et al. 2018, before the sum over k)."""

    def __init__(self, M, dtype=np.float32):
        super().__init__()
        self.params["r"] = np.ones(M * (M - 1) // 2, dtype)   # the FM, to start with

    def forward(self, E):
        M = E.shape[1]
        i, j = field_pairs(M)
        R = np.zeros((M, M), E.dtype)
        R[i, j] = R[j, i] = self.params["r"]
        RE = R @ E                                            # (B, M, k)  sum r_ij e_j
        self.cache = {"E": E, "RE": RE}
        return 0.5 * (E * RE).sum(axis=1)                     # (B, k)

    def backward(self, dout):
        E, RE = self.cache["E"], self.cache["RE"]
        i, j = field_pairs(E.shape[1])
        G = (E * dout[:, None]) @ E.swapaxes(1, 2)            # (B, M, M)  sum g e_i e_j
        self.grads["r"] = G.sum(axis=0)[i, j]                 # (P,)
        return dout[:, None] * RE                             # (B, M, k)


layer = WeightedPooling(5, dtype="float64")
of_ones = layer.forward(E)
layer.params["r"][:] = r
report = check_gradients(layer, E)
print(report)

# %% tags=["claims"]
assert np.allclose(of_ones, FMPooling().forward(E), atol=1e-12)       # r = 1: the FM's
assert np.allclose(layer.forward(E), pool_by_loops(E, r), atol=1e-12)     # fast = slow
assert report.passed

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

# %% tags=["claims"]
class LazySoftmax(Layer):
    """(a) on purpose: a softmax whose backward pass returns zeros."""

    def forward(self, x):
        return softmax(x, axis=1)

    def backward(self, dout):
        return np.zeros_like(dout)


x, lazy = np.random.default_rng(2).standard_normal((3, 4)), LazySoftmax()
for name, dout_of_test in (("dout = 1", np.ones((3, 4))),
                           ("random dout", np.random.default_rng(3).random((3, 4)))):
    def loss_of_test(dout_of_test=dout_of_test):
        return (lazy.forward(x) * dout_of_test).sum()

    error = abs(numeric_gradient(loss_of_test, x) - lazy.backward(dout_of_test)).max()
    assert error < 1e-8 if name == "dout = 1" else error > 0.01
    print(f"(a) {name}: {'passes' if error < 1e-8 else 'fails'}")


def fm_pairs(x, V):
    """The pair term of an FM's score for one row."""
    return 0.5 * ((x @ V) ** 2 - (x ** 2) @ V ** 2).sum()


for k in (1, 3):
    x = np.random.default_rng(4).standard_normal(6)
    V = np.random.default_rng(5).standard_normal((6, k))
    wrong = np.array([((x @ V) * x[i])[0] - V[i] * x[i] ** 2 for i in range(6)])
    right = np.array([(x @ V) * x[i] - V[i] * x[i] ** 2 for i in range(6)])
    numeric = numeric_gradient(lambda x=x, V=V: fm_pairs(x, V), V)
    assert abs(right - numeric).max() < 1e-7
    assert (abs(wrong - numeric).max() < 1e-7) == (k == 1)
    print(f"(b) k = {k}: the line with [0] {'passes' if k == 1 else 'fails'}")
assert not check_gradients(LazySoftmax(), rng.standard_normal((3, 4))).passed

# %% [markdown]
# ## A model is the order of its layers
#
# `FwFM` below is the whole model. (minictr's has the same name; of two such classes the later one counts.) `backward`
# is `forward` read from the bottom up. The last two methods are for the rest of the library: `bias` says where the
# [bias](glossary.md#bias) is, and `terms` what fields and pairs added to the logits of the latest forward pass, for
# `explain`.
#
# A model is a dataclass: its fields are its settings, which is how `get_params`, `clone` and `load` know them. And a
# subclass of `Model` is registered under its name as soon as it is made, so that its files can be loaded. Each
# layer is an attribute, or stands in a list that is one: there, and nowhere else, the library looks for parameters.
# (Letters below: $f$ is the pooled vector in NFM, and an index of its numbers in the sums above; $r$ are pair weights,
# not runs.)

# %%
@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class FwFM(Model):
    """s = w_0 + sum_i w_i x_i + sum_{i<j} r_ij <e_i, e_j>   (Pan et al. 2018)."""

    embedding_dim: int = 8

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.pooling = WeightedPooling(M, dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                     # (B, M, k)  e_i = v_i x_i
        pooled = self.pooling.forward(E)  # (B, k)     sum r e_i * e_j
        return self.linear.forward(slots) + pooled.sum(axis=1)            # (B,)

    def backward(self, ds):
        dpooled = np.repeat(ds[:, None], self.embedding_dim, axis=1)  # s = ... + sum
        self.embedding.backward(self.pooling.backward(dpooled))
        self.linear.backward(ds)

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        E = self.pooling.cache["E"]
        i, j = field_pairs(E.shape[1])
        pairs = (E @ E.swapaxes(1, 2))[:, i, j]             # (B, P)     <e_i, e_j>
        return {"fields": self.linear.field_terms(),        # (B, M)     w_i x_i
                "pairs": self.pooling.params["r"] * pairs}  # (B, P)     r_ij <e_i, e_j>


small = rows.X[["user_segment", "device", "position", "interests"]][:6]
fwfm = FwFM(embedding_dim=3, dtype="float64").prepare(small, [0, 1, 0, 1, 1, 0])

# %% tags=["claims"]
# redraw: parameters drawn anew for the check, large enough to see (a model that was not
# trained has tiny vectors)
assert check_gradients(fwfm, fwfm.encoder_.encode(small), redraw=0.5).passed
terms = explain.contributions(fwfm, small).groupby("row")["value"].sum()
logits = fwfm.decision_function(small)
assert np.allclose(terms, logits, atol=1e-12)     # bias + fields + pairs = logit
fwfm.embedding.params["V"] *= 2
fwfm.pooling.params["r"] /= 4                     # only the products r <e, e> count
assert np.allclose(fwfm.decision_function(small), logits, atol=1e-12)

# %% [markdown]
# ## Your model: NFM
#
# The neural FM (He & Chua 2017, eq. 4) puts a network on the pooled vector. minictr's own is in
# `minictr/models/nfm.py`; look there afterwards:
#
# $$s = w_0 + \sum_i w_i x_i + \text{MLP}(f), \qquad f = \sum_{i<j} e_i \circ e_j$$
#
# Two layers in a row, and the first-order term beside them. $w_0$ and a bias at the MLP's end would have the same
# gradient in every step, so the MLP has none (`bias=False`). `build` is given; `forward` and `backward` are yours.
#
# **Exercise 2.** `forward` (the logits, (B,)) and `backward` of NFM. `self.mlp.forward(f)` takes (B, k) to (B,).
# `Linear` and `Embedding` return nothing from `backward`: ids have no derivative.

# %% tags=["exercise"]
# Exercise 2
@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class MyNFM(Model):
    embedding_dim: int = 8
    deep_layers: tuple = (32,)

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.pooling = FMPooling()
        self.mlp = MLP(self.embedding_dim, self.deep_layers, rng, bias=False,
                       dtype=self.dtype)

    def forward(self, slots):
        return None                  # your lines here

    def backward(self, ds):
        return None                  # your lines here

    def bias(self):
        return self.linear.params["w0"]

# %% tags=["check"]
mine = MyNFM(embedding_dim=3, deep_layers=(5,), dtype="float64")
mine.prepare(small, [0, 1, 0, 1, 1, 0])
slots, params = mine.encoder_.encode(small), parameters(mine)
for array in params.values():                     # larger, away from the ReLU's kink
    array[...] = 0.5 * np.random.default_rng(6).standard_normal(array.shape)

def logits_by_loops():
    """NFM's equation, row by row and pair by pair."""
    out = np.zeros(len(slots))
    for b in range(len(slots)):
        bounds, e = [*slots.starts, slots.n_slots], []
        out[b] = params["linear.w0"][0]
        for start, stop in itertools.pairwise(bounds):               # a field's slots
            e.append(sum(slots.x[b, s] * params["embedding.V"][slots.ids[b, s]]
                         for s in range(start, stop)))
            out[b] += sum(slots.x[b, s] * params["linear.w"][slots.ids[b, s]]
                          for s in range(start, stop))
        f = sum(e[i] * e[j] for i in range(len(e)) for j in range(i + 1, len(e)))
        hidden = np.maximum(f @ params["mlp.dense_1.W"] + params["mlp.dense_1.b"], 0)
        out[b] += hidden @ params["mlp.out.w"]
    return out

ds = np.random.default_rng(7).standard_normal(len(slots))
by_loops = logits_by_loops()
try:
    logits = mine.forward(slots)
except Exception as error:
    logits = None
    print(f"forward stopped. {type(error).__name__}: {error}")
    if "Slots" in str(error):
        print("Ids go into self.linear and self.embedding; the pooling takes E, "
              "(B, M, k), which the embedding returns.")
check("NFM forward", logits, by_loops, mistakes={
    "The first-order term is missing.": by_loops - mine.linear.forward(slots),
    "That is a probability: return a logit, the loss contains the sigmoid.":
        1 / (1 + np.exp(-by_loops))})
yours = {}
if logits is not None:
    try:
        mine.backward(ds)
    except Exception as error:
        print(f"backward stopped. {type(error).__name__}: {error}")
    yours = {name: g.dense(len(params[name])) if hasattr(g, "dense") else g
             for name, g in gradients(mine).items()}
    print("parameters without a gradient so far:",
          [name for name in params if name not in yours] or "none")
for name in params:
    check(f"NFM backward, {name}", yours.get(name),
          numeric_gradient(lambda: logits_by_loops() @ ds, params[name]));

# %% [markdown] tags=["solution"]
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
#         self.mlp = MLP(self.embedding_dim, self.deep_layers, rng, bias=False,
#                        dtype=self.dtype)
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

# %% [markdown]
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
    """One model of a run: 8,000 rows to train on, 2,000 to stop by; 10,000 to test."""
    rows = datasets.make_clicks(20_000, seed=0, rows_seed=run)
    model = MODELS[name](learning_rate=learning_rate, epochs=30, seed=run)
    model.fit(rows.X[:8_000], rows.y[:8_000],
              validation=(rows.X[8_000:10_000], rows.y[8_000:10_000]))
    return model, rows.X[10_000:], rows.y[10_000:]


lines, fitted = [], {}
for name in MODELS:
    losses = {rate: fit(name, 100, rate)[0].history_["val_loss"].min()
              for rate in (0.001, 0.003, 0.01, 0.03, 0.1)}
    best = min(losses, key=losses.get)
    print(f"{name}: learning rate", best)
    assert 0.001 < best < 0.1                     # not at the edge of the list
    for run in range(1, 6):
        model, X, y = fitted[name, run] = fit(name, run, best)
        p_click = model.predict_proba(X)[:, 1]
        lines.append({"model": name, "run": run, "AUC": metrics.auc(y, p_click),
                      "log loss": metrics.log_loss(y, p_click)})
scores = pd.DataFrame(lines).pivot(index="run", columns="model")[["AUC", "log loss"]]
scores.agg(["mean", "min", "max"]).T.unstack(0).loc[list(MODELS)].round(3)

# %% [markdown]
# Now the paired differences of 08, with their 95 % intervals: mean ± 2.776 standard errors, where 2.776 is the 97.5 %
# point of Student's t with four degrees of freedom, one less than the runs. **Predict** the sign of each before you run
# the cell: five pairs of 28 carry an effect, none of three fields does.

# %%
T_4 = 2.776                                       # 08 tries it on made differences
lines = []
for name in ("FwFM", "NFM"):
    for metric in ("AUC", "log loss"):
        d = scores[metric][name] - scores[metric]["FM"]
        half = T_4 * d.std(ddof=1) / np.sqrt(len(d))
        lines.append({"model": name, "metric": metric, "minus FM": d.mean(),
                      "low": d.mean() - half, "high": d.mean() + half})
difference = pd.DataFrame(lines).set_index(["model", "metric"])
difference.round(4)

# %% tags=["claims"]
# in each of the five runs
assert (scores["AUC"]["FwFM"] - scores["AUC"]["FM"] > 0.005).all()
assert difference.loc[("FwFM", "AUC"), "low"] > 0
assert difference.loc[("FwFM", "log loss"), "high"] < 0
assert -0.03 < difference.loc[("NFM", "AUC"), "minus FM"]
assert difference.loc[("NFM", "AUC"), "high"] < 0

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

share["FwFM"] = share_of_none(of_fwfm)
darker = (of_fwfm["value"].to_numpy() < learned["value"].to_numpy())[none]
print(f"share of the pairs without effect: FM {share['FM']:.2f}, "
      f"FwFM {share['FwFM']:.2f}; "
      f"{darker.sum()} of {len(darker)} of them smaller than in FM")

# %% tags=["claims"]
for run in range(1, 6):
    of_nfm = explain.interaction_effects(fitted["NFM", run][0], X, background=500,
                                         partners=4)
    for table in (explain.pair_importance(fitted["FwFM", run][0], X), of_nfm):
        first = table.loc[table["value"].idxmax(), ["field_i", "field_j"]].tolist()
        assert first == ["user_segment", "ad_category"], run
assert share["FwFM"] < share["FM"] - 0.1 and darker.mean() > 0.6

# %% [markdown]
# **What to look at**: the bright cell is the largest planted one of the first picture, and it is the largest in every
# run for both models. In FwFM's map most of the cells without planted effect are darker than in the FM's at the top of
# this notebook, and their share of the sum is smaller by more than 0.1. The scales differ (mean |contribution|,
# interaction effect), so compare which cells stand out, not their numbers.
#
# Everything else of the library works as well, because it knows layers and models only by the protocol. A file says
# which model it holds, so `Model.load` gives back an FwFM, as long as its class has been made. And a test worth having
# for every extension: with its new part frozen at the neutral value, training gives the old model, here to within 0.01
# of a logit in float32. (Both in the folded cell.)

# %% tags=["claims"]
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "fwfm.npz")
    again = Model.load(Path(folder) / "fwfm.npz")

settings = {"learning_rate": 0.01, "epochs": 3}
frozen = FwFM(freeze=("pooling.r",), **settings).fit(rows.X[:8_000], rows.y[:8_000])
plain = FM(**settings).fit(rows.X[:8_000], rows.y[:8_000])
assert isinstance(again, FwFM)
assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
assert again.get_params()["embedding_dim"] == 8 and "pooling.r" in parameters(again)
assert (frozen.pooling.params["r"] == 1).all()    # then it is an FM
assert np.allclose(frozen.decision_function(X), plain.decision_function(X), atol=0.01)

# %% [markdown]
# ## Plug yours in
#
# The library has both models of this page ([fwfm.py](../minictr/models/fwfm.py), of other layers, and
# [nfm.py](../minictr/models/nfm.py)). Here are yours beside them, your `MyPooling` in `FwFM` and your `MyNFM` as it
# stands, for three epochs each.

# %% tags=["yours"]
class YourFwFM(FwFM):
    """FwFM on your layer."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.pooling = MyPooling(M, dtype=self.dtype)


few = rows.X[:4_000], rows.y[:4_000]
settings = {"embedding_dim": 4, "epochs": 3, "dtype": "float64"}
train_beside("your FwFM", YourFwFM(**settings), minictr.FwFM(**settings), *few)
settings["deep_layers"] = (8,)
train_beside("your NFM", MyNFM(**settings), minictr.NFM(**settings), *few);

# %% [markdown]
# ## On your own
#
# - Give `r` the learning rate multiplier 0.1, then 10 (`lr_multipliers={"pooling.r": 10}`). What becomes of the gap?
# - Put `WeightedPooling` under the network of NFM. One line of `build` changes. Does it help NFM?
# - Let $r_{ij}$ depend on the row: you have reinvented attention. Where does AFM's softmax come from then?
# - **Design.** Which of FM, FwFM, NFM could see an effect of (device, position) that is there for one value of
#   `device` only? Which one of (user_segment, ad_category, device) together? <details><summary>Answer</summary>The
#   first is an effect of a pair of values: all three, as vectors belong to values; FwFM's $r$, which belongs to the
#   fields, is of no help there. The second is of three fields: only NFM's network, on what the sum over the pairs has
#   left of it. That is little, as all pairs are added up before the network sees them.</details>
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
