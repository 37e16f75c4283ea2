# %% [markdown]
# # Pay attention to pairs with AFM
#
# **What you'll do**: write the attention of the attentional factorization machine (AFM), forwards and backwards,
# until you can do it from memory.
#
# **What you'll learn**
# - compute [attention](glossary.md#attention): one weight for each [pair](glossary.md#pair) of fields, by a small
#   network and a [softmax](glossary.md#softmax)
# - derive the backward pass of a softmax, and of a sum whose weights and terms come from the same array
# - judge a layer by two questions, as one alone lets a published bug through
# - say why attention starts even, and why it wakes up slowly
#
# **What you'll need**: [02](02_multiply_pairs_with_fm.ipynb) (pair products, `Layer`, `check_gradients`),
# [03](03_take_one_training_step.ipynb) (training steps, Adam), NumPy.
#
# **Time**: 50 minutes, exercises included; the appendix and the challenge are not counted. Exercises 3 and 4 are
# derivations: each may well take a quarter of an hour.

# %%
import numpy as np
import pandas as pd

from minictr import AFM, FM, check_gradients, datasets, explain, metrics, plots
from minictr.exercises import check, several, train_beside
from minictr.layers import (AttentionPooling, FMPooling, Layer, PairProduct,
                            field_pairs, parameters)
from minictr.layers import softmax as library_softmax
from minictr.layers import softmax_backward as library_softmax_backward

clicks = datasets.make_clicks(20_000, seed=0)
test = datasets.make_clicks(5_000, seed=0, rows_seed=1)  # other rows of the same world
models = [AFM(epochs=6, seed=seed).fit(clicks.X, clicks.y) for seed in range(3)]
learned = explain.attention(models[0], test.X)
axes = plots.truth_vs_learned(clicks.planted_pairs, learned)
axes[0].figure.set_dpi(72)                                        # a smaller picture

# %% [markdown]
# *What to look at*: on the left the pair effects that the world was made with, on the right the mean attention of a
# trained AFM over 5,000 new rows. White is $1/P$ with $P = 28$ pairs, which is what a pair gets from a model without
# preferences. The two largest planted pairs stand out. They do so modestly: "attention" may sound as if the model
# looked at one pair and forgot the others, but the first pair has about twice its even share, and the three smaller
# planted pairs do not stand out clearly. So it is with three seeds. (In the table, 90 % of the rows lie between `low`
# and `high`.)

# %%
uniform = 1 / 28  # 8 fields make 28 pairs
learned.nlargest(5, "value").round(3)

# %% tags=["claims"]
for model in models:
    table = explain.attention(model, test.X).nlargest(2, "value")
    first, second = table[["field_i", "field_j"]].to_numpy().tolist()
    assert first == ["user_segment", "ad_category"] and second == ["hour", "device"]
    assert 1.4 * uniform < table["value"].iloc[0] < 4 * uniform
    top = set(explain.attention(model, test.X).nlargest(5, "value").index)
    # not all five of the planted pairs
    assert top != set(clicks.planted_pairs.nlargest(5, "value").index)

# %% [markdown]
# ## From FM to AFM: the equations
#
# An FM adds up the products of all pairs with equal weight. Xiao et al. (2017) ask: should *user_segment ×
# ad_category* count as much as *hour × discount*? Their answer is a weight $a_{ij}$ for every pair, computed from the
# pair's own product, row by row:
#
# $$p_{ij} = (v_i \circ v_j)\, x_i x_j \qquad \text{(eq. 2)}$$
# $$a'_{ij} = h \cdot \mathrm{relu}(W^T p_{ij} + b), \qquad
#   a_{ij} = \frac{\exp a'_{ij}}{\sum_{q<q'} \exp a'_{qq'}} \qquad \text{(eq. 5)}$$
# $$\text{logit} = w_0 + \sum_i w_i x_i + p \cdot \sum_{i<j} a_{ij}\, p_{ij} \qquad \text{(eq. 6)}$$
#
# (The paper writes $W$ transposed.) The inner sum of eq. 6, a vector, is the *attention-based pooling* of eq. 4. With
# every $a_{ij}$ replaced by 1 and $p$ by ones, the [logit](glossary.md#logit) is the FM's (eq. 3).
#
# A word on names. In the notebooks before this one, $s$ was the logit. From here on `s` in code is a *score*, $a'$,
# and the logit is called `logit`. And $t$ is a size here, not Adam's number of a step.
#
# | symbol | array | shape | what it is |
# | --- | --- | --- | --- |
# | $p_{ij}$ | `pij` | (B, P, k) | products of all pairs, as in notebook 02 |
# | $W, b$ | `W`, `b` | (k, t), (t,) | first layer of the attention network; $t$ is the paper's attention factor |
# | $z$, relu$(z)$ | `z`, `r` | (B, P, t) | before and after the relu, $\max(z, 0)$ |
# | $h$ | `h` | (t,) | turns the $t$ numbers into one score |
# | $a'_{ij}$, $a_{ij}$ | `s`, `aij` | (B, P) | score and weight; the weights of a row sum to 1 |
# | $\sum a_{ij} p_{ij}$ | `pooled` | (B, k) | what is left of all pairs |
# | $p$ | `p` | (k,) | turns the pooled vector into one number. It is not $p_{ij}$: hence the name `pij` |
#
# Before anything fast: the slow and obvious way, one number at a time, for two made-up rows with four fields.

# %%
B, M, k, t = 2, 4, 3, 5
P = M * (M - 1) // 2
rng = np.random.default_rng(17)
E = 0.7 * rng.standard_normal((B, M, k))                          # e_i of two rows
W, b, h, p = (0.7 * rng.standard_normal(shape) for shape in ((k, t), t, t, k))
b *= 0.3  # small, so that no unit is always on or always off
pij = PairProduct().forward(E)                                    # (B, P, k)


def pooling_by_loops(pij, W, b, h):
    """Eq. 5 and eq. 4, one number at a time: aij (B, P) and pooled (B, k)."""
    B, P, k = pij.shape
    aij, pooled = np.zeros((B, P)), np.zeros((B, k))
    for row in range(B):
        for pair in range(P):
            score = 0.0                                           # a'_ij
            for unit in range(len(h)):
                z = b[unit] + sum(W[f, unit] * pij[row, pair, f] for f in range(k))
                score += h[unit] * max(z, 0.0)
            aij[row, pair] = np.exp(score)
        aij[row] /= sum(aij[row])                                 # over the row's pairs
        for pair in range(P):
            for f in range(k):
                pooled[row, f] += aij[row, pair] * pij[row, pair, f]
    return aij, pooled


aij, pooled = pooling_by_loops(pij, W, b, h)
names = [f"({i}, {j})" for i, j in zip(*field_pairs(M), strict=True)]
pd.DataFrame(aij, columns=names, index=["row 0", "row 1"]).round(3)

# %% tags=["claims"]
assert np.allclose(aij.sum(axis=1), 1)
# every unit is on somewhere and off somewhere: no wrong column of W can hide
is_on = pij @ W + b > 0                                           # (B, P, t)
assert (is_on.any(axis=(0, 1)) & ~is_on.all(axis=(0, 1))).all()

# %% [markdown]
# **Exercise 1.** The same without loops, for all rows and pairs at once: `z`, `r`, `s`, `aij`, `pooled`, one line
# each. In: `pij` (B, P, k), `W` (k, t), `b` (t,), `h` (t,). Return: `aij` (B, P) and `pooled` (B, k). A matrix product
# works on the last axis: `pij @ W` is (B, P, t). Say over which axis each sum runs.

# %% tags=["exercise"]
# Exercise 1
def attention_forward(pij, W, b, h):
    return None                                                   # your lines here

# %% tags=["check"]
my_aij, my_pooled = several(attention_forward(pij, W, b, h), "aij", "pooled")
exp_s = np.exp(np.maximum(pij @ W + b, 0) @ h)  # the numerators of eq. 5
no_relu = np.exp((pij @ W + b) @ h)
if check("a_ij", my_aij, aij, mistakes={
        "The softmax runs over the rows; each row has to share out its own weights.":
            exp_s / exp_s.sum(axis=0),
        "The softmax runs over all rows and pairs; each row's weights must sum to 1.":
            exp_s / exp_s.sum(),
        "These are the numerators, exp(a'_ij): divide by their sum over the pairs.":
            exp_s,
        "The relu is missing between z and the score.":
            no_relu / no_relu.sum(axis=1, keepdims=True)}):
    check("the pooled vector", my_pooled, pooled, mistakes={
        "Every pair counts 1: this is the FM's sum, without attention.":
            pij.sum(axis=1),
        "Every pair counts 1/P: this is the mean, without attention.":
            pij.mean(axis=1)})
else:
    print("the pooled vector: when a_ij is right.")

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def attention_forward(pij, W, b, h):
#     z = pij @ W + b                                         # (B, P, t)
#     r = np.maximum(z, 0)                                    # (B, P, t)
#     s = r @ h                                               # (B, P)     a'_ij
#     aij = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)  # (B, P)     over the pairs
#     return aij, (aij[:, :, None] * pij).sum(axis=1)         # (B, k)     sum a_ij p_ij
# ```
#
# </details>

# %% [markdown]
# Library code subtracts the row's largest score before `exp`, so that nothing overflows; the quotient stays the same.
#
# ## Backwards through a softmax
#
# Raise one score, and *every* weight of that row changes: one rises, the others pay for it. So the derivative of a
# softmax is a matrix for each row. Number the pairs of a row; $q$ and $q'$ are two of these numbers, equal or not.
# With $a_q = \exp s_q / \sum_{q'} \exp s_{q'}$, the quotient rule gives
#
# $$\frac{\partial a_q}{\partial s_{q'}} = a_q\,(\delta_{qq'} - a_{q'}), \qquad \delta_{qq'} = 1 \text{ if } q = q',
#   \text{ else } 0.$$
#
# Do not take it on trust: nudge each score, and look. **Predict** first: what does each column of the matrix sum to?

# %%
def softmax(s):
    """The weights of one row of scores, (P,) -> (P,)."""
    return np.exp(s) / np.exp(s).sum()


s = np.array([1.0, 0.0, -1.0])
a, eps = softmax(s), 1e-6
nudged = np.zeros((3, 3))
for number in range(3):
    nudge = eps * np.eye(3)[number]
    nudged[:, number] = (softmax(s + nudge) - softmax(s - nudge)) / (2 * eps)
by_formula = a[:, None] * (np.eye(3) - a[None, :])
pd.DataFrame(nudged, index=["a_0", "a_1", "a_2"],
             columns=["per s_0", "per s_1", "per s_2"]).round(3)

# %% tags=["claims"]
assert np.abs(nudged - by_formula).max() < 1e-9
assert np.abs(nudged.sum(axis=0)).max() < 1e-9  # what one weight gains, the others lose

# %% [markdown]
# Each column sums to 0: the weights always sum to 1. Now let $da_q$ stand for $\partial L/\partial a_q$, as in every
# backward pass. One score moves all weights of its row, so the chain rule adds up over them:
#
# $$ds_{q'} = \sum_q da_q\, \frac{\partial a_q}{\partial s_{q'}}$$
#
# **Exercise 2.** Backwards through the softmax, for all rows at once. Put the derivative in, and simplify with pencil
# and paper until no matrix is left. In: `da` (B, P) and `a` (B, P), where a = softmax(s) over the pairs. Return: ds
# (B, P).

# %% tags=["exercise"]
# Exercise 2
def my_softmax_backward(da, a):
    return None                                                   # your line here

# %% tags=["check"]
def numeric_gradient(f, array, dout, eps=1e-6):
    """d sum(f() * dout) / d array by central differences; f reads the array."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + eps
        above = (f() * dout).sum()
        array[index] = value - eps
        below = (f() * dout).sum()
        array[index] = value
        gradient[index] = (above - below) / (2 * eps)
    return gradient


s = np.random.default_rng(1).standard_normal((B, P))
da = np.random.default_rng(2).standard_normal((B, P))
a = np.array([softmax(row) for row in s])
target = numeric_gradient(lambda: np.array([softmax(row) for row in s]), s, da)
check("ds", my_softmax_backward(da, a), target, mistakes={
    "The average runs over the rows; it belongs over the pairs of each row.":
        a * (da - (a * da).sum(axis=0)),
    "The average runs over all rows and pairs; each row has its own.":
        a * (da - (a * da).sum()),
    "The average has to be weighted, sum a da; this is the plain mean.":
        a * (da - da.mean(axis=1, keepdims=True)),
    "This is the diagonal of the matrix alone: each score moves the other weights too.":
        a * (1 - a) * da,
    "This is a da alone: the weighted average of da has to be taken away first.":
        a * da,
    "The factor a in front is missing.": da - (a * da).sum(axis=1, keepdims=True)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def my_softmax_backward(da, a):
#     return a * (da - (a * da).sum(axis=1, keepdims=True))       # (B, P)
# ```
#
# $$ds_{q'} = \sum_q da_q\, a_q (\delta_{qq'} - a_{q'}) = a_{q'} \Big( da_{q'} - \sum_q a_q\, da_q \Big)$$
#
# </details>

# %% [markdown]
# In words: a score is worth raising if its weight does more good than the weighted average of all of them. If all
# $da_q$ are equal, every $ds_{q'}$ is 0, as the weights can only be moved from one pair to another. That is why
# `check_gradients` never uses the loss `sum(out)`: for a softmax, a backward pass of zeros would pass.
#
# ## Backwards through the pooling
#
# Here is the forward pass as a layer. Its backward pass is the same lines, read from the bottom up, each one turned
# into its derivative. What comes in is `dpooled`, the gradient with respect to the pooled vector; in the table the
# two are called $du$ and $u$.
#
# | forward, from the bottom up | backward |
# | --- | --- |
# | $u = \sum_{ij} a_{ij}\, p_{ij}$ | $da_{ij} = du \cdot p_{ij}$, and $p_{ij}$ gets $a_{ij}\, du$ |
# | $a = \text{softmax}(s)$ | $ds = a\,(da - \sum a\, da)$, sum over the pairs |
# | $s_{ij} = r_{ij} \cdot h$ | $dh = \sum ds_{ij}\, r_{ij}$, and $dr_{ij} = ds_{ij}\, h$ |
# | $r = \text{relu}(z)$ | $dz = dr$ where $z > 0$, else 0 |
# | $z_{ij} = W^T p_{ij} + b$ | $dW = \sum p_{ij}\, dz_{ij}^T$, $db = \sum dz_{ij}$, and $p_{ij}$ gets $W dz_{ij}$ |
#
# Sums without a subscript run over all rows and pairs, because `W`, `b` and `h` are shared by all of them. And note
# the one trap: **$p_{ij}$ is used twice**, in the sum and in the score. Its gradient is the sum of both.

# %%
class AttentionForward(Layer):
    """Weigh pair products by a small network and add up: (B, P, k) -> (B, k)."""

    def __init__(self, k, t, rng):
        super().__init__()
        self.params = {"W": rng.standard_normal((k, t)), "b": rng.standard_normal(t),
                       "h": rng.standard_normal(t)}

    def forward(self, pij):
        W, b, h = (self.params[name] for name in "Wbh")
        z = pij @ W + b                                   # (B, P, t)
        r = np.maximum(z, 0)                              # (B, P, t)
        s = r @ h                                         # (B, P)     a'_ij
        aij = library_softmax(s, axis=1)                  # (B, P)     over the pairs
        self.cache = {"pij": pij, "z": z, "r": r, "aij": aij}
        return (aij[:, :, None] * pij).sum(axis=1)        # (B, k)     sum a_ij p_ij


layer = AttentionForward(k, t, rng)
layer.params.update(W=W, b=b, h=h)

# %% tags=["claims"]
library = AttentionPooling(k, t, rng, dtype=np.float64)           # minictr's own
library.params.update(W=W, b=b, h=h)
# the loops say the same
assert np.allclose(layer.forward(pij), pooled) and np.allclose(layer.cache["aij"], aij)
assert np.allclose(library.forward(pij), pooled)
assert np.allclose(library.cache["aij"], aij)

# %% [markdown]
# **Exercise 3.** The backward pass. In: `dpooled` (B, k). Assign `self.grads["h"]` (t,), `["W"]` (k, t) and `["b"]`
# (t,), each shaped like its parameter, and return `dpij` (B, P, k). The cache has what forward left; the five lines of
# the table, one by one, will do. `np.tensordot(ds, r, axes=([0, 1], [0, 1]))` multiplies and sums over axes 0 and 1 of
# both, the rows and the pairs; the same two lists do for dW.

# %% tags=["exercise"]
# Exercise 3
class MyAttention(AttentionForward):
    def backward(self, dpooled):
        return None                                               # your lines here

# %% tags=["check"]
mine = MyAttention(k, t, rng)
mine.params.update(W=W, b=b, h=h)  # those of which every unit is at work
dpooled = np.random.default_rng(3).standard_normal((B, k))
target = {name: numeric_gradient(lambda: mine.forward(pij), array, dpooled)
          for name, array in {**mine.params, "pij": pij}.items()}
mine.forward(pij)
answer = mine.backward(dpooled)
sum_alone = aij[:, :, None] * dpooled[:, None]  # what p_ij gets from the weighted sum
ds = library_softmax_backward((dpooled[:, None] * pij).sum(axis=2), aij, axis=1)
unmasked = ds[:, :, None] * h  # dz without the relu: dr
mistakes = {
    "h": {"z stands where r belongs: s = r . h.":
              np.tensordot(ds, pij @ W + b, axes=([0, 1], [0, 1])),
          "ds is not right: take the weighted average away from da (Exercise 2).":
              np.tensordot(aij * (dpooled[:, None] * pij).sum(axis=2),
                           np.maximum(pij @ W + b, 0), axes=([0, 1], [0, 1]))},
    "b": {"It is 0 everywhere: the ds of a row sum to 0, and so do their dr. Is dz 0 "
          "where z <= 0?": np.zeros(t)},
    "W": {"The relu's share is missing: dz is dr where z > 0, and 0 elsewhere.":
          np.tensordot(pij, unmasked, axes=([0, 1], [0, 1]))}}
right = [check(f"d{name}", mine.grads.get(name), target[name], mistakes=mistakes[name])
         for name in ("h", "b", "W")]
right.append(check("dpij", answer, target["pij"], mistakes={
    "This is what it gets from the weighted sum; p_ij is used twice, in the score too.":
        sum_alone,
    "This is what it gets from the score; p_ij is used twice, in the weighted sum too.":
        target["pij"] - sum_alone,
    "The relu's share is missing: dz is dr where z > 0, and 0 elsewhere.":
        sum_alone + unmasked @ W.T}))
if all(right):
    print(check_gradients(mine, pij))

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# class MyAttention(AttentionForward):
#     def backward(self, dpooled):
#         pij, z, r, aij = (self.cache[name] for name in ("pij", "z", "r", "aij"))
#         W, h = self.params["W"], self.params["h"]
#         both = ([0, 1], [0, 1])                           # the rows and the pairs
#         daij = (dpooled[:, None] * pij).sum(axis=2)       # (B, P)     pooled = sum a p
#         dpij_sum = aij[:, :, None] * dpooled[:, None]     # (B, P, k)  ... by its p_ij
#         ds = aij * (daij - (aij * daij).sum(axis=1, keepdims=True))    # a = softmax(s)
#         self.grads["h"] = np.tensordot(ds, r, axes=both)  # (t,)       s = r . h
#         dr = ds[:, :, None] * h                           # (B, P, t)
#         dz = dr * (z > 0)                                 # (B, P, t)  r = relu(z)
#         self.grads["W"] = np.tensordot(pij, dz, axes=both)    # (k, t)     z = p W + b
#         self.grads["b"] = dz.sum(axis=(0, 1))             # (t,)
#         dpij_score = dz @ W.T                             # (B, P, k)
#         return dpij_sum + dpij_score                      # p_ij is used twice: add both
# ```
#
# </details>

# %% [markdown]
# `check_gradients` prints, for each array, its worst entry as a share of what is allowed: expect values far below 1.
# minictr's own layer, [attention_pooling.py](../minictr/layers/attention_pooling.py), has the same lines, and a dropout
# of attention weights between them. It passes too.

# %% tags=["claims"]
report = check_gradients(library, pij)
assert report.passed and report.arrays[0]["allowance"] < 0.5

# %% [markdown]
# **To touch**: one training step of a trained AFM, in which every number says which numbers made it, and each can be
# changed. In a terminal, `minictr trace --model afm --out steps` writes it as a page: steps/step.html.
#
# **Predict**, then point: which numbers does one number of $ds$ read (`s` is the paper's $a'_{ij}$)? Which two make a
# number of `dpij`? Which of all arrays change if you raise one score? Then go through the epochs from the first on:
# attention is even at first, and the gradient of $W$ tiny.

# %% [markdown]
# ## Spot the bug
#
# Below is, in our own lines, how the published program of the paper's authors computed its attention when this was
# written, and the backward pass that belongs to it. Two things differ from `AttentionForward`: the scores keep an
# axis more, which is handy for the product with `pij`; and the axis of the softmax, which that program did not name,
# is the one that its library took then. Is it the same attention, written another way? **Decide before you read on**:
# go through the shapes, line by line, and say what each row's weights sum to.

# %%
class PublishedAttention(AttentionForward):
    def forward(self, pij):
        W, b, h = (self.params[name] for name in "Wbh")
        z = pij @ W + b                                           # (B, P, t)
        r = np.maximum(z, 0)                                      # (B, P, t)
        s = (r @ h)[:, :, None]                                   # a'_ij
        aij = library_softmax(s, axis=-1)
        self.cache = {"pij": pij, "z": z, "r": r, "aij": aij}
        return (aij * pij).sum(axis=1)                            # (B, k)

    def backward(self, dpooled):
        pij, z, r, aij = (self.cache[name] for name in ("pij", "z", "r", "aij"))
        W, h = self.params["W"], self.params["h"]
        daij = (dpooled[:, None] * pij).sum(axis=2, keepdims=True)
        ds = library_softmax_backward(daij, aij, axis=-1)
        self.grads["h"] = np.tensordot(ds[:, :, 0], r, axes=([0, 1], [0, 1]))
        dz = ds * h * (z > 0)
        self.grads["W"] = np.tensordot(pij, dz, axes=([0, 1], [0, 1]))
        self.grads["b"] = dz.sum(axis=(0, 1))
        return aij * dpooled[:, None] + dz @ W.T

# %% [markdown]
# You have decided? Then ask the gradient check.

# %%
published = PublishedAttention(k, t, rng)
published.params.update(W=W, b=b, h=h)
report = check_gradients(published, pij)
print(report)

# %% tags=["claims"]
assert report.passed

# %% [markdown]
# It passes. A gradient check proves that `backward` is the derivative of `forward`, and that is so. Look at the
# columns *numeric* and *backward* of `W`, `b` and `h`, though.
#
# <details><summary>What is wrong?</summary>
#
# The last axis has length 1: each score is normalised by itself alone, $\exp(s) / \exp(s) = 1$. Every weight is 1
# whatever the score, so nothing depends on `W`, `b` and `h`, and they get no gradient. The model is an FM with an
# output vector $p$; with $p$ of ones, where that program starts it, exactly the FM.
#
# </details>
#
# It was reported in 2019
# ([hexiangnan/attentional_factorization_machine#19](https://github.com/hexiangnan/attentional_factorization_machine/issues/19)).
# The line had replaced a hand-written sum over the pairs that was right. What is left of the layer is the FM's
# pooling. An FM trains, its loss falls, and it predicts well: no curve looks wrong. What does show the bug, in one
# line each: every weight is 1; a row's weights sum to P and not to 1; it differs from the loops of the equation; the
# network gets no gradient. (Asserted in the folded cell.)

# %% tags=["claims"]
pooled_published = published.forward(pij)
published.backward(dpooled)
assert (published.cache["aij"] == 1).all()
assert (published.cache["aij"].sum(axis=1) == P).all()
assert np.abs(pooled_published - pooled).max() > 0.1
assert np.allclose(pooled_published, FMPooling().forward(E))      # the FM's pooling
assert all(np.abs(published.grads[name]).max() == 0 for name in "Wbh")

# %% [markdown]
# ## The way back to the vectors
#
# Around the attention there is little left. `PairProduct` makes `pij`, the vector $p$ turns `pooled` into a number.
# Backwards through the product: $p_{ij} = e_i \circ e_j$ gives $dp_{ij} \circ e_j$ to $e_i$ and $dp_{ij} \circ e_i$
# to $e_j$, and each of the $M$ vectors is in $M - 1$ pairs, whose gifts add up. From `E` on, notebook 02 knows the
# way (into the rows of the table $V$, where an id that occurs twice gets both gradients).

# %%
class SecondOrderForward(Layer):
    """The pair part of eq. 6: p . sum a_ij (e_i * e_j), from E (B, M, k) to (B,)."""

    def __init__(self, k, t, rng):
        super().__init__()
        self.params["p"] = rng.standard_normal(k)
        self.attention = AttentionPooling(k, t, rng, dtype=np.float64)

    def forward(self, E):
        i, j = field_pairs(E.shape[1])        # (P,) each: the pairs in order
        pij = E[:, i] * E[:, j]               # (B, P, k)  eq. 2
        pooled = self.attention.forward(pij)  # (B, k)     eq. 4 and 5
        self.cache = {"E": E, "pooled": pooled}
        return pooled @ self.params["p"]                          # (B,)       eq. 6

# %% [markdown]
# **Exercise 4.** The backward pass of the pair part. In: `dlogit` (B,), the loss's gradient with respect to each
# logit. Assign `self.grads["p"]` (k,), call `self.attention.backward`, and return `dE` (B, M, k). `i, j =
# field_pairs(M)` are the pairs; a loop over them is fine.

# %% tags=["exercise"]
# Exercise 4
class MySecondOrder(SecondOrderForward):
    def backward(self, dlogit):
        return None                                               # your lines here

# %% tags=["check"]
mine = MySecondOrder(k, t, rng)
dlogit = np.random.default_rng(4).standard_normal(B)
target = {name: numeric_gradient(lambda: mine.forward(E), array, dlogit)
          for name, array in {"p": mine.params["p"], "E": E}.items()}
mine.forward(E)
answer = mine.backward(dlogit)
dpij = mine.attention.backward(dlogit[:, None] * mine.params["p"])
i, j = field_pairs(M)
one_side, lost, last = np.zeros_like(E), np.zeros_like(E), np.zeros_like(E)
for pair in range(P):
    one_side[:, i[pair]] += dpij[:, pair] * E[:, j[pair]]
    last[:, i[pair]] = dpij[:, pair] * E[:, j[pair]]
    last[:, j[pair]] = dpij[:, pair] * E[:, i[pair]]
lost[:, i] += dpij * E[:, j]  # a field that is named twice keeps one
lost[:, j] += dpij * E[:, i]
dpij_without_p = mine.attention.backward(dlogit[:, None] * np.ones(k))
pairs = PairProduct()
pairs.forward(E)
right = [check("dp", mine.grads.get("p"), target["p"], mistakes={
    "dlogit is missing: every row's pooled vector counts as much as its dlogit says.":
        mine.cache["pooled"].sum(axis=0)})]
right.append(check("dE", answer, target["E"], mistakes={
    "Only the first field of each pair got its share; p_ij = e_i * e_j has two "
    "factors.": one_side,
    "A field is in M - 1 pairs, and their shares add up: += and not =.": last,
    "dE[:, i] += ... writes a field that occurs several times in i once only: "
    "loop over the pairs.": lost,
    "p is missing: dpooled is dlogit times p.": pairs.backward(dpij_without_p)}))
if all(right):
    print(check_gradients(mine, E))

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# class MySecondOrder(SecondOrderForward):
#     def backward(self, dlogit):
#         E, pooled, p = self.cache["E"], self.cache["pooled"], self.params["p"]
#         i, j = field_pairs(E.shape[1])
#         self.grads["p"] = dlogit @ pooled        # (k,)       logit = p . pooled
#         dpooled = dlogit[:, None] * p            # (B, k)
#         dpij = self.attention.backward(dpooled)  # (B, P, k)
#         dE = np.zeros_like(E)
#         # p_ij = e_i * e_j, both factors
#         for pair, (first, second) in enumerate(zip(i, j)):
#             dE[:, first] += dpij[:, pair] * E[:, second]
#             dE[:, second] += dpij[:, pair] * E[:, first]
#         return dE
# ```
#
# </details>

# %% [markdown]
# ## Why p starts at P
#
# The paper does not say where $p$ starts. At the start all scores are nearly equal, so every $a_{ij}$ is nearly
# $1/P$, and the pooled vector is the *mean* of the products where the FM has their *sum*. With $p$ of ones the pairs
# would count $P$ times too little. minictr starts $p$ at $P$:
#
# $$p \cdot \sum_{i<j} \frac{1}{P}\, p_{ij} = \sum_{i<j} \langle v_i, v_j \rangle x_i x_j
#   \qquad\text{for } p = (P, \dots, P):$$
#
# **even attention is the FM.** `AFM.from_fm(fm)` starts a model at a trained FM, with $h = 0$ so that the attention
# is exactly even: it predicts what the FM predicts, to rounding. (The appendix measures what a start at 1 costs.)

# %% tags=["claims"]
fms = [FM(epochs=4, seed=seed).fit(clicks.X, clicks.y) for seed in range(3)]
for fm in fms:
    # ready to train, no step taken yet
    afm = AFM.from_fm(fm).prepare(clicks.X, clicks.y)
    apart = afm.decision_function(test.X) - fm.decision_function(test.X)
    assert np.abs(apart).max() < 1e-4             # logits up to about 5, in float32
    afm.train_step(clicks.X[:256], clicks.y[:256])
    # of the attention, the first step teaches h alone,
    assert np.abs(afm.attention.grads["h"]).max() > 1e-4
    assert np.abs(afm.attention.grads["W"]).max() == 0  # as dz = ds h, and h was 0

# %% [markdown]
# ## Attention wakes up slowly
#
# The vectors start near 0.01, so $p_{ij}$ starts near $0.01 \cdot 0.01$, the scores that the network makes of it are
# tiny, all weights are $1/P$ to within one per cent, and the gradients of $W$ and $h$, which contain $p_{ij}$ as
# well, are tinier still. Adam divides a gradient by its size, so $W$ does move, but its input stays small until the
# vectors have grown. `after_epoch` calls a function after each epoch, which is all that it takes to watch. (`fit` works
# on copies of the layers that share their parameters, so `cache` and `grads` are filled here by passes of our own.)
#
# **Predict.** By what factor will the largest entry of dW have grown after one epoch?

# %%
diary = []


def write_down(model, line):
    """One line about the attention on 500 test rows, and the gradients they give."""
    slots, y, _ = model.encode(test.X[:500], test.y[:500])
    loss = model.loss_()
    loss.forward(model.forward(slots), y)
    model.backward(loss.backward())               # a training step without its update
    cache, grads = model.attention.cache, model.attention.grads
    diary.append({"epoch": line["epoch"], "mean |p_ij|": np.abs(cache["pij"]).mean(),
                  "spread of scores in a row": cache["s"].std(axis=1).mean(),
                  "largest a_ij": cache["aij"].max(),
                  "largest |dW|": np.abs(grads["W"]).max()})
    watch(model, line)


watch = explain.AttentionOverEpochs(test.X)
asleep = AFM(seed=0).prepare(clicks.X, clicks.y)
asleep.train_step(clicks.X[:256], clicks.y[:256])                 # one step only
write_down(asleep, {"epoch": 0})
AFM(epochs=6, seed=0).fit(clicks.X, clicks.y, after_epoch=write_down)
diary = pd.DataFrame(diary).set_index("epoch")
diary.map("{:.2g}".format)

# %% tags=["claims"]
assert diary["mean |p_ij|"].iloc[0] < 3e-4 < 5e-3 < diary["mean |p_ij|"].iloc[-1]
assert abs(diary["largest a_ij"].iloc[0] / uniform - 1) < 0.01
assert diary["largest a_ij"].iloc[-1] > 2 * uniform
assert diary["largest |dW|"].iloc[1] > 10_000 * diary["largest |dW|"].iloc[0]

# %% [markdown]
# Row 0 is the model after one single step. One epoch later the gradient of $W$ is more than ten thousand times as
# large: it was asleep. The same as pictures, after epochs 1, 2, 4 and 6. The green frames mark the five planted pairs:

# %%
planted = clicks.planted_pairs.query("value > 0")
attention_of = watch.table.set_index(["epoch", "field_i", "field_j"])["value"]
axes = plots.attention_over_epochs(watch.table.query("epoch in [1, 2, 4, 6]"),
                                   outline=planted)
axes[0].figure.set_dpi(72)

# %% tags=["claims"]
first = attention_of[2, "user_segment", "ad_category"]
assert first > 1.3 * uniform > 1.2 * attention_of[2, "hour", "device"]

# %% [markdown]
# *What to look at*: after the first epoch nearly everything is white, that is $1/P$. The largest planted pair wakes
# up first: faintly tinted after one epoch, plain after two. Then the second. Pairs of small effect stay pale to the
# end, framed or not.
#
# These are means over rows. The attention of a pair also differs from row to row, since $p_{ij}$ does: the largest
# planted pair gets near its even share in some rows and several times that in others. What such a weight means, and
# what it does not, is the subject of the next notebook.

# %% tags=["claims"]
rows = explain.attention(models[0], test.X[:2_000], per_row=True)
spread = rows.groupby([rows["field_i"], rows["field_j"]])["value"].std()
assert spread.idxmax() == ("user_segment", "ad_category")
assert spread.max() > 2 * spread.median()

# %% [markdown]
# ## Plug yours in
#
# Your two backward passes are all of AFM's second-order part. Here they train, for four epochs, from the library's own
# start and beside it.

# %% tags=["yours"]
class YourAFM(AFM):
    """An AFM whose pair part is yours, forwards and backwards."""

    def build(self, n, M, rng):
        super().build(n, M, rng)  # the library's layers, for their start
        k, t = self.embedding_dim, self.attention_dim
        self.pair_part = MySecondOrder(k, t, rng)
        self.pair_part.attention = MyAttention(k, t, rng)
        self.pair_part.params = self.projection.params
        self.pair_part.attention.params = self.attention.params
        del self.pairs, self.attention, self.projection

    def forward(self, slots):
        E = self.embedding.forward(slots)
        return self.linear.forward(slots) + self.pair_part.forward(E)

    def backward(self, dlogit):
        self.linear.backward(dlogit)
        self.embedding.backward(self.pair_part.backward(dlogit))


settings = {"embedding_dim": 4, "attention_dim": 4, "epochs": 4, "dtype": "float64"}
few = clicks.X[:5_000], clicks.y[:5_000]
train_beside("your AFM", YourAFM(**settings), AFM(**settings), *few);

# %% [markdown]
# ## The challenge: from memory, in an empty file
#
# You have written every line of AFM's backward pass. Now close this page, open an empty file, and write one class
# `PairPart(Layer)` that goes from `E` (B, M, k) to the pair part of the logit, (B,), without any other layer: params
# `p`, `W`, `b`, `h`, a `forward` and a `backward`. Your checklist, in which `s` and `ds` are the scores', and `logit`
# and `dlogit` the logit's:
#
# | step | forward | shape | backward, from the bottom up | shape |
# | --- | --- | --- | --- | --- |
# | 1 | `pij` from `E`, pairs from `field_pairs(M)` | (B, P, k) | `dE`: both factors, all pairs added | (B, M, k) |
# | 2 | `z` from `pij`, `W`, `b` | (B, P, t) | `dW`, `db`, and `dpij` from the score | (k, t), (t,), (B, P, k) |
# | 3 | `r` | (B, P, t) | `dz`: where `z > 0` | (B, P, t) |
# | 4 | `s` from `r`, `h` | (B, P) | `dh`, and `dr` | (t,), (B, P, t) |
# | 5 | `aij` from `s` | (B, P) | `ds`: minus the weighted average, over pairs | (B, P) |
# | 6 | `pooled` from `aij`, `pij` | (B, k) | `daij`, and `dpij` from the sum | (B, P), (B, P, k) |
# | 7 | `logit` from `pooled`, `p` | (B,) | `dp`, and `dpooled`, from `dlogit` | (k,), (B, k) |
#
# Backward starts at step 7. At step 2 both parts of `dpij` are added. Judge it by two questions, because either one
# alone lets a mistake through:

# %%
def judge(layer, E):
    """What two tests say of a layer from E (B, M, k) to (B,) with p, W, b and h."""
    of = {name.split(".")[-1]: array for name, array in parameters(layer).items()}
    i, j = field_pairs(E.shape[1])
    _, pooled = pooling_by_loops(E[:, i] * E[:, j], of["W"], of["b"], of["h"])
    report = check_gradients(layer, E)
    if not report:
        print(report)
    return {"backward is the derivative of forward": report.passed,
            "forward equals the loops": np.allclose(layer.forward(E), pooled @ of["p"])}

# %% [markdown]
# The folded cell judges three layers: a right one, one that forgets that $p_{ij}$ is used twice, and the published one.
# Each question catches one of the two. The "FAILED" below is as it should be: the report on the second.

# %% tags=["claims"]

class Composed(SecondOrderForward):
    """The pair part with minictr's own layers; it stands in for yours here."""

    def backward(self, dlogit):
        self.grads["p"] = dlogit @ self.cache["pooled"]
        dpij = self.attention.backward(dlogit[:, None] * self.params["p"])
        pairs = PairProduct()
        pairs.forward(self.cache["E"])
        return pairs.backward(dpij)


class Forgetful(AttentionPooling):
    """Forgets that p_ij is used twice."""

    def backward(self, dpooled):
        super().backward(dpooled)
        return self.cache["aij"][:, :, None] * dpooled[:, None]


candidates = {"right": AttentionPooling(k, t, rng, dtype=np.float64),
              "forgets a path": Forgetful(k, t, rng, dtype=np.float64),
              "softmax over the wrong axis": PublishedAttention(k, t, rng)}
verdicts = []
for attention in candidates.values():
    layer = Composed(k, t, rng)
    layer.attention = attention
    verdicts.append(list(judge(layer, E).values()))
assert verdicts == [[True, True], [False, True], [True, False]]

# %% [markdown]
# Copy `pooling_by_loops` and `judge` (they are the exam, not the answer) into the file, below your class, with
#
# ```python
# rng = np.random.default_rng(0)
# print(judge(PairPart(k=3, t=5, rng=rng), rng.standard_normal((2, 4, 3))))
# ```
#
# and these lines at the top: `import numpy as np`, `from minictr import check_gradients`,
# `from minictr.layers import Layer, field_pairs, parameters`. When both answers are True, you know AFM by heart.
# And it trains: in `YourAFM` above put `self.pair_part = PairPart(k, t, rng)`, with
# `self.pair_part.params = {**self.projection.params, **self.attention.params}`.
#
# ## On your own
#
# - **Design.** The effect of the pair (user_segment, ad_category) is twice as large on a phone: three fields at once.
#   Which line of this page could see it, and could an FM?
#
#   <details><summary>Answer</summary>
#
#   An FM cannot: its logit is a sum of pairs. AFM's softmax divides by a sum over *all* pairs of the row, so the weight
#   of one pair depends on the device as well. That way is narrow: [Movies with DeepFM](movies_with_deepfm.ipynb)
#   measures how far it leads.
#
#   </details>
# - Train only the attention: `AFM.from_fm(fm, freeze=("embedding", "linear"))`, the paper's "micro-level analysis"
#   (section 5.3.1). How much of the gain over the FM is left, on several seeds?
# - Set `attention_dim=1`. The paper finds even one hidden unit useful. Is the order of the pairs the same?
# - Train with `optimizer="sgd"` and watch the attention with `explain.AttentionOverEpochs`. Does it wake up at all?
#
# ## In practice
#
# - With two fields there is one pair, whose weight is always 1: `W`, `b` and `h` learn nothing. AFM needs three
#   fields or more, and a reason to believe that few pairs matter in each row.
# - AFM costs more than FM: FM's sum of all pairs is linear in the number of fields, AFM has to visit each pair. Try
#   FM first; use AFM where it pays on your data. AutoInt's paper (table 2) reports AFM below FM in AUC on two of four
#   data sets, and the AFM paper's authors could not reach its MovieLens figure again when readers asked
#   ([#15](https://github.com/hexiangnan/attentional_factorization_machine/issues/15)).
# - The paper advises against [dropout](../minictr/layers/dense.py) on the attention weights; minictr's `dropout` acts
#   on the pooled vector.
# - In any code that you did not write, check two things about a softmax: its axis, and that the weights sum to 1 over
#   the things that compete.
#
# ## Next
#
# [05 Read attention honestly](05_read_attention_honestly.ipynb): attention, contribution and interaction effect are
# three things. The [cheat sheet](cheat_sheet.md) has the equations of this page in one table.
#
# ## Further reading
#
# - J. Xiao, H. Ye, X. He, H. Zhang, F. Wu, T.-S. Chua, *Attentional Factorization Machines: Learning the Weight of
#   Feature Interactions via Attention Networks*, IJCAI 2017, [arXiv 1708.04617](https://arxiv.org/abs/1708.04617)
# - W. Song et al., *AutoInt*, CIKM 2019, [arXiv 1810.11921](https://arxiv.org/abs/1810.11921), whose experiments
#   include AFM
#
# ## Appendix: where p starts
#
# What does it cost to start $p$ at 1?

# %%
class StartsAtOne(AFM):
    """The same model, but p starts at 1."""

    def initialise(self, mean):                   # of y: the bias starts from it
        super().initialise(mean)
        self.projection.params["p"][:] = 1


def loss_of(model):
    return metrics.log_loss(test.y, model.predict_proba(test.X)[:, 1])


lines = []
for seed in range(3):
    at_P, losses = AFM(epochs=4, seed=seed).fit(clicks.X, clicks.y), []

    def note(model, line, losses=losses):
        losses.append(loss_of(model))

    at_1 = StartsAtOne(epochs=12, seed=seed).fit(clicks.X, clicks.y, after_epoch=note)
    lines.append({"p from P, 4 epochs": loss_of(at_P), "p from 1, 4 epochs": losses[3],
                  "p from 1, 12 epochs": losses[11],
                  "largest p then": at_1.projection.params["p"].max()})
starts = pd.DataFrame(lines).rename_axis("seed")
starts.round(3)

# %% tags=["claims"]
assert (starts["p from 1, 4 epochs"] > starts["p from P, 4 epochs"] + 0.01).all()
apart = starts["p from 1, 12 epochs"] - starts["p from P, 4 epochs"]
assert (apart.abs() < 0.015).all()
assert (starts["largest p then"] < 4).all()

# %% [markdown]
# Test [log loss](glossary.md#log-loss), three seeds. After four [epochs](glossary.md#epoch) the start at 1 is behind
# every time; after twelve it is about where the start at $P$ was after four. Not because $p$ has caught up: its
# largest number is still below 4, and $P$ is 28. The other parameters have to make up for it (larger vectors give
# larger products), which takes epochs.
