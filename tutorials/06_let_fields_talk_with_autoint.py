# %% [markdown]
# # Let fields talk with AutoInt
#
# **What you'll do**: build AutoInt's attention layer for the fields of one row, first with loops and then with arrays,
# differentiate it, find a published bug in it, and measure what its parts do.
#
# **What you'll learn**
#
# - compute queries, keys, values and attention between all fields (Song et al. 2019, eq. 5-8);
# - split and merge [heads](glossary.md#head), and test that no field is mixed up with another;
# - write the backward pass of $S = Q K^\top$ and $\tilde e = a V$;
# - say what a [residual connection](glossary.md#residual-connection) and a second layer bring, and what AutoInt's
#   attention does not tell you;
# - list where the paper and its authors' program differ.
#
# **What you'll need**: [02](02_multiply_pairs_with_fm.ipynb) for vectors and the gradient check,
# [04](04_pay_attention_with_afm.ipynb) for softmax and its derivative, [05](05_read_attention_honestly.ipynb) for the
# three quantities that must not be mixed; NumPy; 30 minutes.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm

from minictr import FM, AutoInt, check_gradients, datasets, explain, metrics, plots
from minictr.exercises import check
from minictr.layers import InteractingLayer, Layer, field_pairs, parameters, sigmoid, softmax, softmax_backward

clicks = datasets.make_clicks(20_000, seed=0)
test = datasets.make_clicks(20_000, seed=0, rows_seed=1)          # other rows of the same world
fields = list(clicks.X)

settings = {"embedding_dim": 10, "attention_dim": 6, "num_heads": 2, "learning_rate": 0.01, "epochs": 5}
model = AutoInt(num_layers=2, seed=0, **settings).fit(clicks.X, clicks.y)

table = explain.attention(model, test.X)                          # mean over the test rows
assert np.allclose(table.groupby(["layer", "head", "field_i"])["value"].sum(), 1, atol=1e-5)
maps = table["value"].to_numpy().reshape(2, 2, 8, 8)              # (layer, head, asking field, answering field)
assert np.abs(maps - maps.swapaxes(2, 3)).max() > 0.02            # not symmetric
axes = plots.attention_grid(table)
colours = TwoSlopeNorm(1 / 8, vmin=0, vmax=maps.max())            # as in 04 and 05: white is the even share
for ax in axes.flat:
    ax.images[0].set(norm=colours, cmap="PuOr_r")

# %% [markdown]
# **What to look at.** AFM had one weight for each of the 28 [pairs](glossary.md#pair). AutoInt has, in each head of
# each layer, an 8 × 8 map: the row is the field that *asks*, the column the field that *answers*. Each row sums to 1
# (asserted above), and white is the even share, 1/8. The maps are not symmetric, and the diagonal is there too: a field
# may ask itself. Four maps from one model, and they differ. This notebook builds such a map by hand, and then asks what
# it is worth.
#
# ## One row, one head
#
# We take one impression, the vectors $e_m$ of its $M = 8$ fields ([embeddings](glossary.md#embedding), of $k = 10$
# numbers each), and the trained weights of the first layer, whose $H = 2$ heads have $d = 6$ numbers each. Everything
# is copied to float64, so that comparisons can be sharp.

# %%
H, d, M, k = 2, 6, len(fields), 10

slots = model.encoder_.encode(test.X)
E = model.embedding.forward(slots[:1])[0].astype(np.float64)      # (M, k)    e_1 ... e_M of one row

layer = InteractingLayer(k, H=H, d=d, rng=np.random.default_rng(0), dtype=np.float64)
for name, trained in model.interacting[0].params.items():
    layer.params[name][...] = trained
W_Q, W_K, W_V, W_Res = (layer.params[f"W_{name}"] for name in ("Q", "K", "V", "Res"))     # (k, H d) each

head = slice(0, d)                                                # the first head owns the first d columns
print("E", E.shape, " W_Q", W_Q.shape, " of which one head has", W_Q[:, head].shape)
test.X[:1]

# %% [markdown]
# Every field gets three new vectors by a linear map each, with no bias: a *query* (what it asks for), a *key* (what it
# can be found by) and a *value* (what it hands over). Field $m$ asks, field $k$ answers, and $k$ runs over **all**
# fields, $m$ included (Song et al. 2019, eq. 5 and 6, with the head's number left out). The letters are the paper's: in
# shapes such as (M, k), $k$ is still the size of a vector; $V$ is from here on the values, not the table of vectors;
# and $h$ will be a head's number, not AFM's vector.
#
# $$\alpha_{m,k} = \frac{\exp\,\langle W_{Query}\, e_m,\; W_{Key}\, e_k\rangle}
#   {\sum_{l=1}^{M} \exp\,\langle W_{Query}\, e_m,\; W_{Key}\, e_l\rangle},
#   \qquad \tilde e_m = \sum_{k=1}^{M} \alpha_{m,k}\, W_{Value}\, e_k$$
#
# As loops, one line of the formula at a time. (The paper's $W$ multiplies from the left; the arrays here are its
# transposes, so that rows of a batch can be multiplied from the left.)

# %%
def one_head_slowly(E, W_Q, W_K, W_V):
    """(M, k) -> attention (M, M) and new vectors (M, d), by loops over fields."""
    a, e_new = np.zeros((len(E), len(E))), np.zeros((len(E), W_V.shape[1]))
    for m in range(len(E)):                                       # m asks
        scores = [(W_Q.T @ E[m]) @ (W_K.T @ E[k]) for k in range(len(E))]
        for k in range(len(E)):                                   # k answers
            a[m, k] = np.exp(scores[k]) / sum(np.exp(score) for score in scores)          # eq. 5
            e_new[m] += a[m, k] * (W_V.T @ E[k])                                          # eq. 6
    return a, e_new


a_slow, e_slow = one_head_slowly(E, W_Q[:, head], W_K[:, head], W_V[:, head])
assert np.allclose(a_slow.sum(axis=1), 1)                         # each asking field spends 1
assert not np.allclose(a_slow.sum(axis=0), 1)                     # an answering field may get more or less
pd.DataFrame(a_slow, index=[f"{name} asks" for name in fields], columns=fields).round(2)

# %% [markdown]
# The same with arrays is four matrix products and one [softmax](glossary.md#softmax):
# $Q = E W_Q,\; K = E W_K,\; V = E W_V,\; S = Q K^\top,\; a = \text{softmax}(S),\; \tilde E = a V$.

# %% tags=["exercise"]
# Exercise 1: one head of one row without loops. Use softmax(S, axis=...): think about which axis must sum to 1.
def one_head(E, W_Q, W_K, W_V):
    """E (M, k), the W (k, d) -> the attention a (M, M), asking field first, and the new vectors (M, d)."""
    return None                      # your lines here; end with: return a, e_new

# %% tags=["check"]
answer = one_head(E, W_Q[:, head], W_K[:, head], W_V[:, head])
if answer is not None and not (isinstance(answer, tuple) and len(answer) == 2):
    print("Return two arrays, a and the new vectors, with a comma between them.")
    answer = answer, None
my_a, my_new = answer or (None, None)
S = (E @ W_Q[:, head]) @ (E @ W_K[:, head]).T
wrong = {"The softmax runs over the asking fields: its columns sum to 1, not its rows.": softmax(S, axis=0),
         "Queries and keys are swapped: K Q^T is S transposed.": softmax(S.T, axis=1),
         "The scores are divided by sqrt(d): other models do that, eq. 5 does not.": softmax(S / np.sqrt(d), axis=1)}
check("a", my_a, a_slow, mistakes=wrong)
check("new vectors", my_new, e_slow, mistakes={
    "The shares are taken by columns: a is transposed.": a_slow.T @ E @ W_V[:, head],
    **{text: a @ E @ W_V[:, head] for text, a in wrong.items()}});

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def one_head(E, W_Q, W_K, W_V):
#     Q, K, V = E @ W_Q, E @ W_K, E @ W_V                           # (M, d) each
#     S = Q @ K.T                                                   # (M, M)  row m asks, column k answers
#     a = softmax(S, axis=1)                                        # (M, M)  over the answering fields
#     return a, a @ V                                               # (M, M), (M, d)
# ```
#
# </details>
#
# Here is that computation as a picture, for the row above.

# %%
Q, K, V = (E @ W[:, head] for W in (W_Q, W_K, W_V))
S = Q @ K.T
a = softmax(S, axis=1)
assert np.allclose(a, a_slow) and np.allclose(a @ V, e_slow)

figure, axes = plt.subplots(1, 5, figsize=(8, 2.4), layout="constrained", width_ratios=[d, d, M, M, d])
parts = {"Q  (M, d)": Q, "K  (M, d)": K, "S = Q Kᵀ  (M, M)": S, "a = softmax(S)": a, "V  (M, d)": V}
for ax, (title, array) in zip(axes, parts.items(), strict=True):
    limit = np.abs(array).max()
    centre, lowest = (1 / M, 0) if title[0] == "a" else (0, -limit)
    ax.imshow(array, cmap="PuOr_r", norm=TwoSlopeNorm(centre, vmin=lowest, vmax=limit))
    ax.set_title(title, fontsize=9)
    ax.set_xticks([])
    ax.set_yticks(range(M), fields if ax is axes[0] else [""] * M, fontsize=7)

# %% [markdown]
# **What to look at.** Rows are fields, in all five; the columns of $S$ and $a$ are fields too, in the same order. Each
# panel has a colour scale of its own. Orange is positive, purple negative: a dark orange cell of $S$ is where a row of
# $Q$ and a row of $K$ point the same way, a dark purple one where they point opposite ways. The softmax turns each row
# of $S$ into shares (orange: more than 1/8, purple: less). Field $m$'s new vector is then the mixture of the rows of
# $V$ with the shares in row $m$ of $a$. Nothing here depends on *where* a field stands: there is no position and no
# order, only vectors. That will be our best test.
#
# ## All heads, and the residual
#
# A head can attend in one way only. So there are $H$ of them, side by side, each with its own $W$, and their results
# are put one after another (eq. 7). Then the layer adds a linear map of what came in, $W_{Res}\, e_m$, and cuts off
# what is negative (eq. 8):
#
# $$e_m^{Res} = \text{ReLU}\left( [\tilde e_m^{(1)}; \ldots; \tilde e_m^{(H)}] + W_{Res}\, e_m \right)$$
#
# $W_{Res}$ is a matrix and not just "add what came in", because the new vector has $H d$ numbers and the old one $k$.
# The next layer does the same with the new vectors. After the last layer, the $L$-th, the vectors are put one after
# another and read out: $\text{logit} = w \cdot [e_1^L; \ldots; e_M^L] + b$.

# %%
def interact_slowly(E, H, d):
    """(M, k) -> (M, H d), eq. 5-8 for one row, head by head and field by field."""
    heads = [one_head_slowly(E, *(W[:, h * d:(h + 1) * d] for W in (W_Q, W_K, W_V)))[1] for h in range(H)]
    out = np.zeros((len(E), H * d))
    for m in range(len(E)):
        joined = np.concatenate([e_new[m] for e_new in heads])    # (H d,)   eq. 7
        out[m] = np.maximum(joined + W_Res.T @ E[m], 0)           #          eq. 8
    return out


off = np.abs(interact_slowly(E, H, d) - layer.forward(E[None])[0]).max()
assert off < 1e-12
print(f"loops and minictr's InteractingLayer differ by at most {off:.0e}; expected: below 1e-12")

# %% [markdown]
# The library computes all heads at once. One product gives `E @ W_Q`, of shape (B, M, H d): for each field the numbers
# of head 1, then those of head 2. Attention needs them by head: (B, H, M, d). Getting from the one to the other is the
# next exercise. Mind which numbers lie side by side in memory.

# %% tags=["exercise"]
# Exercise 2: split the last axis into heads. Entry [b, h, m] is to hold head h's d numbers of field m of row b.
def split_heads(x, H):
    """(B, M, H d) -> (B, H, M, d)."""
    return None                      # your lines here

# %% tags=["check"]
rng = np.random.default_rng(1)
x = rng.standard_normal((4, 3, 10))                               # B = 4, M = 3, H = 2, d = 5
by_loops = np.array([[[x[b, m, h * 5:(h + 1) * 5] for m in range(3)] for h in range(2)] for b in range(4)])
check("split heads", split_heads(x, 2), by_loops,
      mistakes={"A reshape alone keeps the order in memory: what you call a head has pieces of several fields. "
                "Split the last axis first, then swap two axes.": x.reshape(4, 2, 3, 5),
                "The shape is right, but the reshape cuts across the fields. Split the last axis alone.":
                x.reshape(4, 2, 5, 3).swapaxes(2, 3),
                "The numbers of the heads are interleaved: head h must get d *neighbouring* numbers.":
                x.reshape(4, 3, 5, 2).transpose(0, 3, 1, 2)});

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def split_heads(x, H):
#     B, M, width = x.shape
#     return x.reshape(B, M, H, width // H).swapaxes(1, 2)          # (B, M, H, d) -> (B, H, M, d)
# ```
#
# </details>
#
# ## Backward
#
# Let $\tilde E = a V$, $a = \text{softmax}(S)$, $S = Q K^\top$, and let `de` be $\partial L / \partial \tilde E$. Read
# the forward lines from the bottom up. Each product gives two gradients, and each is fixed by its shape:
#
# $$dV = a^\top d\tilde E, \quad da = d\tilde E\, V^\top, \quad dS = \text{softmax}'(da, a), \quad
#   dQ = dS\, K, \quad dK = dS^\top Q$$
#
# The softmax rule is AFM's, row by row: $dS = a \circ (da - \sum_k a\, da)$, which `softmax_backward(da, a, axis)`
# has. Why $dK = dS^\top Q$? From $S_{mk} = \sum_f Q_{mf} K_{kf}$ follows $dK_{kf} = \sum_m dS_{mk}\, Q_{mf}$: the sum
# is over those who ask. The slow and obvious way to check it: move every number of Q, K and V a little.

# %%
rng = np.random.default_rng(2)
Q_small, K_small, V_small, de_small = rng.standard_normal((4, 2, 3, 4, 5))      # (B, H, M, d) = (2, 3, 4, 5) each


def loss_of(Q, K, V):
    """A number to differentiate: the new vectors, weighed with de."""
    return np.sum(softmax(Q @ K.swapaxes(2, 3), axis=3) @ V * de_small)


def derivative(which, eps=1e-5):
    """Central differences of loss_of by each entry of Q (which=0), K (1) or V (2)."""
    arrays = [Q_small.copy(), K_small.copy(), V_small.copy()]
    result = np.zeros_like(Q_small)
    for index in np.ndindex(result.shape):
        start = arrays[which][index]
        arrays[which][index] = start + eps
        above = loss_of(*arrays)
        arrays[which][index] = start - eps
        result[index] = (above - loss_of(*arrays)) / (2 * eps)
        arrays[which][index] = start
    return result


numeric = {"dQ": derivative(0), "dK": derivative(1), "dV": derivative(2)}

# %% tags=["exercise"]
# Exercise 3: the backward pass of one attention. swapaxes(2, 3) transposes the matrix of each row and head.
def attention_backward(de, Q, K, V, a):
    """de, Q, K, V (B, H, M, d), a (B, H, M, M) -> dQ, dK, dV (B, H, M, d)."""
    return None                      # your lines here; end with: return dQ, dK, dV

# %% tags=["check"]
a_small = softmax(Q_small @ K_small.swapaxes(2, 3), axis=3)
answer = attention_backward(de_small, Q_small, K_small, V_small, a_small)
if answer is not None and not (isinstance(answer, tuple) and len(answer) == 3):
    print("Return three arrays, dQ, dK and dV, with commas between them.")
    answer = answer, None, None
da = de_small @ V_small.swapaxes(2, 3)
dS, dS_down = softmax_backward(da, a_small, axis=3), softmax_backward(da, a_small, axis=2)
no_softmax, wrong_axis = "The softmax is missing between a and S.", "The softmax ran over axis 3, the answering fields."
known = {"dQ": {no_softmax: da @ K_small, wrong_axis: dS_down @ K_small},
         "dK": {no_softmax: da.swapaxes(2, 3) @ Q_small, wrong_axis: dS_down.swapaxes(2, 3) @ Q_small,
                "dK needs the transposed dS: its sum runs over the asking fields.": dS @ Q_small},
         "dV": {"dV needs the transposed a: field k handed its value to every field that asked it.":
                a_small @ de_small}}
for (name, target), yours in zip(numeric.items(), answer or (None, None, None), strict=True):
    check(name, yours, target, mistakes=known[name])

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def attention_backward(de, Q, K, V, a):
#     dV = a.swapaxes(2, 3) @ de                                    # (B, H, M, d)  e = a V
#     da = de @ V.swapaxes(2, 3)                                    # (B, H, M, M)  the same, with respect to a
#     dS = softmax_backward(da, a, axis=3)                          # (B, H, M, M)  a = softmax(S)
#     dQ = dS @ K                                                   # (B, H, M, d)  S = Q K^T
#     dK = dS.swapaxes(2, 3) @ Q                                    # (B, H, M, d)
#     return dQ, dK, dV
# ```
#
# </details>
#
# ## Spot the bug
#
# The layer below puts the pieces together (without $W_{Res}$ and ReLU, which play no part here). How heads are split
# and merged is left open, and there are two ways, A and B. One of them is, in our own words, what an open-source
# library shipped for AutoInt and two other models: it had been taken over from a blog post.

# %%
class Heads(Layer):
    """All heads of eq. 5-7, for a given way to split the last axis into heads and to merge it again."""

    def __init__(self, split, merge, k=5, H=2, d=3):
        super().__init__()
        self.split, self.merge, self.H = split, merge, H
        for i, name in enumerate(("W_Q", "W_K", "W_V")):
            self.params[name] = np.random.default_rng(i).standard_normal((k, H * d)) / np.sqrt(k)

    def forward(self, E):
        Q, K, V = (self.split(E @ W, self.H) for W in self.params.values())     # (B, H, M, d)
        a = softmax(Q @ K.swapaxes(2, 3), axis=3)                 # (B, H, M, M)
        self.cache = {"E": E, "Q": Q, "K": K, "V": V, "a": a}
        return self.merge(a @ V)                                  # (B, M, H d)

    def backward(self, dout):
        E, Q, K, V, a = (self.cache[name] for name in "E Q K V a".split())
        de = self.split(dout, self.H)                             # (B, H, M, d)  out = merge(e)
        dS = softmax_backward(de @ V.swapaxes(2, 3), a, axis=3)   # (B, H, M, M)  e = a V, a = softmax(S)
        heads = {"W_Q": dS @ K, "W_K": dS.swapaxes(2, 3) @ Q, "W_V": a.swapaxes(2, 3) @ de}
        dE = np.zeros_like(E)
        for name, gradient in heads.items():
            dprojected = self.merge(gradient)                     # (B, M, H d)   Q = split(E W_Q)
            self.grads[name] = np.tensordot(E, dprojected, ([0, 1], [0, 1]))
            dE += dprojected @ self.params[name].T                # E is used three times: add
        return dE


def split_a(x, H):
    """(B, M, H d) -> (B, H, M, d)."""
    return x.reshape(*x.shape[:2], H, -1).swapaxes(1, 2)


def merge_a(x):
    """The way back, (B, H, M, d) -> (B, M, H d)."""
    return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)


def split_b(x, H):
    """(B, M, H d) -> (B, H, M, d)."""
    return x.reshape(len(x), H, x.shape[1], -1)


def merge_b(x):
    """The way back, (B, H, M, d) -> (B, M, H d)."""
    return x.reshape(len(x), x.shape[2], -1)


versions = {"A": Heads(split_a, merge_a), "B": Heads(split_b, merge_b)}
E_random = np.random.default_rng(5).standard_normal((4, 6, 5))    # 4 rows, 6 fields, k = 5
for name, version in versions.items():
    report = check_gradients(version, E_random)
    assert report.passed
    version.forward(E_random)
    assert np.allclose(version.cache["a"].sum(axis=3), 1)
    print(f"{name}: gradient check passed: {report.passed};  every row of attention sums to 1")

# %% [markdown]
# **Question.** Both versions pass the gradient check, and in both the attention sums to 1. The shapes are right, too.
# Which one is wrong, in what way, and which check would have told?
#
# <details><summary>Answer</summary>
#
# B. In memory the last axis runs fastest: field 1's head 1, field 1's head 2, field 2's head 1, and so on. Reshaped to
# (B, H, M, d) without a transpose, the first "head" gets the first M pieces of length d, which are *both* heads of the
# first M / H fields; the second "head" gets the other fields. So half of the fields never meet the other half, and the
# map's row "user_segment" is not about user_segment.
#
# The gradient check asks whether `backward` is the derivative of `forward`. It is: of a wrong forward. What tells is a
# loop written from the equation, or this: fields have no order, so **permuting the fields must permute the output and
# change nothing else**. Not every permutation tells, though: the next exercise has one that does not.
#
# The thread is [reczoo/FuxiCTR#30](https://github.com/reczoo/FuxiCTR/issues/30) (opened by its maintainer, and
# closed); it names AutoInt, DESTINE and InterHAt.
#
# </details>

# %% tags=["exercise"]
# Exercise 4: the permutation test. order is a permutation of the fields, such as [1, 0, 2, 3, 4, 5].
def permutes_alike(layer, E, order):
    """Whether the output (B, M, H d) for permuted fields is the permuted output, to rounding: True or False."""
    return None                      # your lines here; layer.forward(E) gives the output

# %% tags=["check"]
class Roll(Layer):
    """Hands every field's vector to the next field: nothing but a mix-up."""

    def forward(self, E):
        return np.roll(E, 1, axis=1)


swaps = [1, 0, 2, 3, 4, 5], [5, 1, 2, 3, 4, 0]                    # fields 1 and 2; fields 1 and 6
verdicts = [permutes_alike(version, E_random, order) for version in (*versions.values(), Roll()) for order in swaps]
check("permutation test, two swaps each: A, B, Roll", None if any(one is None for one in verdicts) else verdicts,
      [True, True, True, False, False, False], mistakes={
          "The output must be permuted too before it is compared: field 2 now stands first.": [False] * 6,
          "It lets the bugs pass: compare the outputs themselves, entry by entry.": [True] * 6,
          "It lets Roll pass: compare entry by entry. A sum over fields is the same in any order.":
          [True, True, True, False, True, True]});

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def permutes_alike(layer, E, order):
#     return bool(np.allclose(layer.forward(E[:, order]), layer.forward(E)[:, order]))
# ```
#
# </details>
#
# Swapping fields 1 and 2 does **not** show the bug, swapping 1 and 6 does. So how much luck does the test need? There
# are $6! = 720$ orders of six fields: we try them all. And we look at the damage itself: change one field's vector at
# a time, and note whose output moves.

# %%
def reach(layer, E):
    """(M, M) of "x" and ".": does the output at a field's place (row) move when one vector (column) changes?"""
    before, names = layer.forward(E), [f"e_{k + 1}" for k in range(E.shape[1])]
    moved = pd.DataFrame(".", index=[f"output {m + 1}" for m in range(E.shape[1])], columns=names)
    for k in range(E.shape[1]):
        changed = E.copy()
        changed[:, k] += 1
        difference = np.abs(layer.forward(changed) - before).max(axis=(0, 2))             # (M,)
        moved.iloc[difference > 1e-9, k] = "x"
    return moved


every_order = [list(order) for order in itertools.permutations(range(6))]
caught = {}
for name, version in versions.items():
    out = version.forward(E_random)
    caught[name] = sum(not np.allclose(version.forward(E_random[:, order]), out[:, order]) for order in every_order)
assert caught == {"A": 0, "B": 648}
assert (reach(versions["A"], E_random) == "x").all(axis=None)
met = (reach(versions["B"], E_random) == "x").to_numpy()
assert met[:3, :3].all() and met[3:, 3:].all() and not met[:3, 3:].any() and not met[3:, :3].any()
print("orders, of 720, that show an error:", caught)
reach(versions["B"], E_random)

# %% [markdown]
# **What to look at.** With the bug (B), fields 1-3 and 4-6 are two worlds that never exchange a number, in a layer
# whose whole point is that all fields talk. In the right version, A, every cell is an x (asserted). The 72 orders that
# show nothing keep the two worlds apart or exchange them as a whole; so a permutation test takes a few random orders,
# not one swap of neighbours.
#
# ## What the residual does
#
# Now train. Does it matter whether each field keeps something of itself? And is a second layer worth its price? We fit
# three AutoInts and, as a yardstick, an FM, with three seeds each, and look at the [log loss](glossary.md#log-loss) on
# rows that training did not see.

# %%
variants = {"FM": lambda seed: FM(embedding_dim=10, learning_rate=0.01, epochs=5, seed=seed),
            "AutoInt, 1 layer": lambda seed: AutoInt(num_layers=1, seed=seed, **settings),
            "AutoInt, 2 layers": lambda seed: AutoInt(num_layers=2, seed=seed, **settings),
            "AutoInt, 2 layers, no residual": lambda seed: AutoInt(num_layers=2, residual=False, seed=seed, **settings)}
fitted = {(name, seed): model if (name, seed) == ("AutoInt, 2 layers", 0) else make(seed).fit(clicks.X, clicks.y)
          for name, make in variants.items() for seed in range(3)}                      # the first one we have already
losses = pd.DataFrame(index=list(variants), columns=[f"seed {seed}" for seed in range(3)], dtype=float)
for (name, seed), network in fitted.items():
    losses.loc[name, f"seed {seed}"] = metrics.log_loss(test.y, sigmoid(network.decision_function(test.X)))
mean_loss = losses.mean(axis=1)
assert mean_loss["AutoInt, 2 layers, no residual"] > mean_loss["AutoInt, 2 layers"] + 0.01
assert abs(mean_loss["AutoInt, 1 layer"] - mean_loss["AutoInt, 2 layers"]) < 0.015
assert mean_loss["FM"] < mean_loss["AutoInt, 2 layers"]

figure, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
for seed, mark in enumerate("osD"):
    ax.plot(losses.iloc[:, seed], losses.index, mark, label=f"seed {seed}", alpha=0.8)
ax.axvline(test.best_log_loss, color="grey", linestyle="--", label="the world's own formula")
ax.set(xlabel="log loss on test rows (lower is better)")
ax.invert_yaxis()
legend = ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# **What to look at.** Without the residual the loss is higher (asserted: by more than 0.01 on average): after one
# layer a field is a mixture of all fields, and nothing hands its own vector on as it was. The paper's Table 4 reports
# the same direction on real data. The second layer changes little *here* (asserted: means within 0.015), and the plain
# FM is ahead (asserted): this world is made of pairs of fields, which is what an FM assumes. So this is no verdict on
# real data; the paper's own Table 2 has AutoInt ahead of FM on all four data
# sets. Compare on yours, fairly: [08](08_compare_fairly.ipynb).
#
# ## What a layer adds
#
# The paper argues that depth gives higher order: after one layer pairs, after two combinations of more fields. We can
# count. Take the softmax and the ReLU away for a moment, so that a layer is a polynomial, $Q K^\top V + E W_{Res}$.
# For position $m$ that is a sum over $k$ of terms with $e_m$ and $e_k$: **two** fields. The next layer multiplies
# three such vectors, of the positions $m$, $k$ and $k$. Each of the three has brought one partner of its own: $m$, $k$
# and three partners, at most **five**.
#
# To see it in numbers, use the *mixed difference* of a group $G$ of fields: switch the fields between a vector and
# another one, in all $2^{|G|}$ ways, and add up the outputs with alternating signs. It is zero unless the output has a
# term in which all fields of $G$ meet. (For two fields, it is what the interaction effect of
# [05](05_read_attention_honestly.ipynb) averages.)

# %%
def by_order(f, n=7, k=6, seed=0):
    """Mean |mixed difference| of f, (B, n, k) -> (B,), over all sets of 1, 2, ..., n fields; order 1 is 1."""
    here, there = np.random.default_rng(seed).standard_normal((2, n, k))
    switched = (np.arange(2 ** n)[:, None] >> np.arange(n)) & 1   # (2^n, n)   all sets of fields, one a row
    value = f(np.where(switched[:, :, None], here, there))        # (2^n,)
    size = switched.sum(axis=1)
    total = np.zeros(n + 1)
    for G in range(1, 2 ** n):
        within = [U for U in range(2 ** n) if U & ~G == 0]        # the parts U of the group G
        total[size[G]] += abs(sum((-1) ** (size[G] - size[U]) * value[U] for U in within))
    mean = total[1:] / np.bincount(size)[1:]
    return mean / mean[0]


def stack(n_layers, stripped, seed=0, k=6):
    """A function of E: some layers with one head, summed up to one number a row."""
    rng = np.random.default_rng(seed)
    layers = [InteractingLayer(k, H=1, d=k, rng=rng, dtype=np.float64) for _ in range(n_layers)]
    w = rng.standard_normal(k)

    def f(E):
        for one in layers:
            W = one.params
            if stripped:                                          # neither softmax nor ReLU
                E = (E @ W["W_Q"]) @ (E @ W["W_K"]).swapaxes(1, 2) @ (E @ W["W_V"]) + E @ W["W_Res"]
            else:
                E = one.forward(E)
        return (E @ w).sum(axis=1)
    return f


orders = pd.DataFrame({f"{n_layers} layer{'s' * (n_layers > 1)}, {kind}": by_order(stack(n_layers, kind == "stripped"))
                       for kind in ("stripped", "complete") for n_layers in (1, 2)}, index=range(1, 8))
for seed in range(5):
    one, two = (by_order(stack(n_layers, True, seed), seed=seed) for n_layers in (1, 2))
    assert (one[2:] < 1e-9).all() and one[1] > 1e-3               # one layer: pairs, and no more
    assert (two[5:] < 1e-9).all() and (two[:5] > 1e-3).all()      # two layers: up to five fields
    assert (by_order(stack(1, False, seed), seed=seed) > 1e-5).all()            # the complete layer: all orders
orders.index.name = "fields that meet"
orders.round(4)

# %% [markdown]
# **What to look at.** Stripped, the count is exact: 2 and 5 fields, then zeros (five seeds, asserted). Complete, even
# one layer has terms of every order, because the softmax divides by a sum over all fields and the ReLU bends. So "a
# layer is an order" is a good picture of the products, not a theorem on the model. And a layer that *can* express an
# order need not learn it: the figure above shows little gained by the second layer.
#
# ## What the maps do not say
#
# This is the honest part. We rank the 28 pairs by attention (mean over rows, heads and layers, and over both
# directions) and by the [interaction effect](glossary.md#interaction-effect), which works for any model. Five pairs
# are planted. How many of them are among the first five?

# %%
i, j = field_pairs(M)
planted = clicks.planted_pairs


def attention_by_pair(model, X):
    """A pair table: mean of (a_ij + a_ji) / 2 over rows, heads and layers."""
    table = explain.attention(model, X, layers="mean", heads="mean")
    a = table.pivot(index="field_i", columns="field_j", values="value").loc[fields, fields].to_numpy()      # (M, M)
    pairs = planted[["field_i", "field_j"]].assign(value=(a[i, j] + a[j, i]) / 2)
    pairs.attrs = {"quantity": "attention", "unit": "mean attention (share of 1)", "fields": fields, "uniform": 1 / M}
    return pairs


def found(pairs):
    """How many of the five planted pairs are among the first five of a pair table."""
    first_five = pairs["value"].nlargest(5).index
    return int((planted["value"].loc[first_five] > 0).sum())


attention, effects = [], []
for seed in range(3):
    network = fitted["AutoInt, 2 layers", seed]
    attention.append(attention_by_pair(network, test.X))
    effects.append(explain.interaction_effects(network, test.X, background=500, partners=4))
counts = pd.DataFrame({"attention": [found(pairs) for pairs in attention],
                       "interaction effect": [found(pairs) for pairs in effects]},
                      index=[f"seed {seed}" for seed in range(3)])
assert all(pairs["value"].idxmax() == planted["value"].idxmax() for pairs in effects + attention)
assert all((pairs["value"] - 1 / M).abs().median() < 0.02 for pairs in attention)
assert counts["interaction effect"].mean() >= counts["attention"].mean() + 1
counts

# %%
agreement = [pairs["value"].rank().corr(by_effect["value"].rank())
             for pairs, by_effect in zip(attention, effects, strict=True)]
assert min(agreement) > 0.3 and np.ptp(agreement) > 0.1
print("rank correlation of attention and interaction effect, three seeds:", np.round(agreement, 2))
ax = plots.attention_vs_contribution(attention[0], effects[0], label=1,
                                     ax=plt.subplots(figsize=(6, 3.6), layout="constrained")[1])
second = planted["value"].nlargest(2).index[1]                    # hour × device
arrow = ax.annotate("hour × device, planted 0.8", (attention[0]["value"][second], effects[0]["value"][second]),
                    xytext=(0.126, 0.5), fontsize=8, arrowprops={"arrowstyle": "->"})

# %% [markdown]
# **What to look at.** Were attention importance, the points would lie on a rising line. Attention and effect agree on
# the largest planted pair, in all three seeds (asserted); behind it, the attention of most pairs is close to 1/8, the
# dashed line, and its order is a poor guide (the table above). The interaction effect finds more (asserted: at least
# one more of five, on average). The picture is seed 0; the rank correlation differs much by seed (asserted: by more
# than 0.1), and in no seed does it sound bad (asserted: above 0.3). Both ask the same model, and most of the 28 ranks
# belong to pairs with nothing planted: a number over all pairs does not say who is in front. Over ten worlds the
# [README](../README.md#attention-contribution-interaction-effect-three-things) gives 1.6 of 5 for attention, 3.6 for
# the interaction effect, and 0.9 for guessing.
#
# Why? A weight in a map says how large a share of field $k$'s value $W_V e_k$ goes into position $m$. It does not say
# how large that value is, nor what the ReLU, the next layer and the readout make of it. It has no sign, it must be
# spent (each row sums to 1, whether there is anything worth asking or not), and $W_{Res}$ passes by it. From the second
# layer on, a position holds a mixture of fields, and is only called by its field's name. Use the maps to see *where it
# looks*; for *what matters*, use the interaction effect.
#
# ## Paper and program
#
# Which AutoInt? The paper's equations and its authors' program are two different layers. minictr's default is the
# paper; `AutoInt.official_code()` is the program.

# %%
paper, program = AutoInt(**settings), AutoInt.official_code(**settings)
for variant in (paper, program):
    variant.prepare(clicks.X, clicks.y)
differ = {name: [str(value), str(program.get_params()[name])] for name, value in paper.get_params().items()
          if value != program.get_params()[name]}
differ["numbers in the 3 interacting layers"] = [
    sum(array.size for name, array in parameters(variant).items() if name.startswith("interacting"))
    for variant in (paper, program)]
assert set(differ) == {"scale", "layer_norm", "qkv_activation", "numbers in the 3 interacting layers"}
assert all(variant.num_layers == 3 for variant in (paper, program))

E_batch = program.embedding.forward(slots[:100]) * 100            # untrained vectors are tiny: magnify them
for variant in (paper, program):
    variant.interacting[0].forward(E_batch)
scores = {name: variant.interacting[0].cache["Q"] @ variant.interacting[0].cache["K"].swapaxes(2, 3)
          for name, variant in (("paper", paper), ("program", program))}
assert scores["paper"].min() < 0 and scores["program"].min() >= 0
pd.DataFrame(differ, index=["paper (default)", "program"]).T

# %% [markdown]
# | switch | paper | program | what it changes |
# | --- | --- | --- | --- |
# | `scale` | no | yes | divides $S$ by $\sqrt{d}$: flatter softmax at the start, whatever the size of a head |
# | `qkv_activation` | none | ReLU, bias (on Q, K, V, $W_{Res}$) | no score is negative (asserted): none is shunned |
# | `layer_norm` | no | yes | each field's vector: mean 0, variance 1, then a learned scale and shift |
# | `first_order` | no | no | adds $\sum_i w_i x_i$, which some libraries have; neither the equations nor the preset |
# | `residual` | yes | yes | some libraries leave it out, or add it only once at the end |
#
# So if two libraries disagree about "AutoInt", first ask which one they mean. One more such question: is the paper's
# $d' = 32$ the size of one head, or of all together? Count, for its Criteo model with 39 fields, 3 layers and 2 heads:

# %%
def numbers_outside_the_table(per_head, M=39, k=16, n_layers=3, H=2):
    """Parameters of the interacting layers and of the readout."""
    width = H * per_head
    return sum(4 * (k if number == 0 else width) * width for number in range(n_layers)) + M * width + 1


layers = [InteractingLayer(16 if number == 0 else 64, H=2, d=32, rng=np.random.default_rng(0)) for number in range(3)]
assert numbers_outside_the_table(32) == sum(array.size for one in layers for array in parameters(one).values()) + 2497
assert numbers_outside_the_table(32) == 39_361
assert numbers_outside_the_table(16) < 15_000
print("32 per head:", numbers_outside_the_table(32), "   32 in all:", numbers_outside_the_table(16))

# %% [markdown]
# The paper's Table 3 reports $3.9 \cdot 10^4$: 32 is per head.
#
# ## On your own
#
# - Take the residual out of your head: set all of `model.interacting[0].params["W_Res"]` to zero in a trained model.
#   How much does the test log loss rise? And with all `W_V` at zero instead? Which of the two carries the model?
# - `explain.attention(model, test.X, layers="rollout")` follows the attention through both layers. Does it rank the
#   planted pairs better? Try all three seeds before you answer.
# - Fit `AutoInt.official_code(num_layers=2, **settings)` with three seeds and add it to the figure.
#
# ## In practice
#
# - **When to use it**: many categorical fields, enough rows, and reason to believe in combinations of more than two.
#   When not: few fields and mostly pairs (FM is smaller, faster and was better here), or sequences, which have an
#   order that this layer cannot see.
# - Cost grows with $M^2$: 8 fields have maps of 64 numbers, 40 fields of 1,600, for each head, layer and row.
# - After any change to reshapes: run the permutation test. It is three lines and needs no data.
# - AutoInt+ (`deep_layers=(400, 400)`) adds an MLP on the same vectors. Two parts that share vectors are the topic of
#   the next notebook.
# - Lines to look up: [self_attention.py](../minictr/layers/self_attention.py),
#   [autoint.py](../minictr/models/autoint.py), and the [cheat sheet](cheat_sheet.md).
#
# ## Next
#
# [07: Share embeddings in DeepFM](07_share_embeddings_in_deepfm.ipynb): one table of vectors, two towers, and the one
# line of the backward pass that is easily forgotten.
#
# ## Further reading
#
# - W. Song et al., *AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks*, CIKM 2019,
#   [arXiv:1810.11921](https://arxiv.org/abs/1810.11921).
# - A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762):
#   where queries, keys, values and heads come from.
# - S. Jain, B. C. Wallace, *Attention is not Explanation*, NAACL 2019,
#   [arXiv:1902.10186](https://arxiv.org/abs/1902.10186).
