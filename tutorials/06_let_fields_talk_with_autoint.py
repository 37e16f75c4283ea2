# %% [markdown]
# # Let fields talk with AutoInt
#
# **What you'll do**: build AutoInt's attention layer for the fields of one row, first with loops and then with arrays,
# differentiate it, find a published bug in it, and train the layer that you wrote.
#
# **What you'll learn**
#
# - compute queries, keys, values and attention between all fields (Song et al. 2019, eq. 5-8);
# - split and merge [heads](glossary.md#head), and test that no field is mixed up with another;
# - write the backward pass of $S = Q K^\top$ and $\tilde e = a V$, and of the whole layer from memory;
# - say what a [residual connection](glossary.md#residual-connection) and a second layer bring, and what AutoInt's
#   attention does not tell you;
# - list where the paper and its authors' program differ.
#
# **What you'll need**: [02](02_multiply_pairs_with_fm.ipynb) for vectors and the gradient check,
# [04](04_pay_attention_with_afm.ipynb) for softmax and its derivative, [05](05_read_attention_honestly.ipynb) for the
# three quantities that must not be mixed; NumPy.
#
# **Time**: 65 minutes, exercises included. Exercises 1, 4 and 6 are derivations: a first time, each may well take three
# or four times the five that are counted.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm

from minictr import FM, AutoInt, check_gradients, datasets, explain, metrics, plots
from minictr.exercises import check, several, train_beside
from minictr.layers import (AttentionPooling, InteractingLayer, Layer, field_pairs,
                            sigmoid, softmax, softmax_backward)

# %% [markdown]
# ## First, AFM from memory
#
# A checklist led you through AFM's backward pass in [04](04_pay_attention_with_afm.ipynb). Write it once more, without
# the checklist and without looking: what is new below rests on the same two ideas, a softmax that weighs and an array
# that is used twice.
#
# $$z_{ij} = W^\top p_{ij} + b, \quad a'_{ij} = h \cdot \text{ReLU}(z_{ij}), \quad
#   a = \text{softmax of } a' \text{ over the pairs}, \quad f = \sum_{ij} a_{ij}\, p_{ij}$$
#
# **Exercise 1.** From `pij` the pooled vector `f`, and from `df` $= \partial L / \partial f$ the gradients of all that
# went in. `softmax(s, axis=...)` and `softmax_backward(da, a, axis=...)` are there. If you are stuck, read
# your own forward lines from the bottom up: each gives one line of backward, or two.

# %% tags=["exercise"]
# Exercise 1
def afm_from_memory(pij, df, W, b, h):
    """pij (B, P, k), df (B, k), W (k, t), b (t,), h (t,) -> f (B, k), and the
    gradients, each shaped like what it is the gradient of."""
    return None                      # end with: return f, dpij, dW, db, dh

# %% tags=["check"]
rng = np.random.default_rng(0)
pooling = AttentionPooling(k=3, t=4, rng=rng, dtype=np.float64)
pooling.params["b"][...] = rng.standard_normal(4)
pij, df = rng.standard_normal((2, 6, 3)), rng.standard_normal((2, 3))
answer = afm_from_memory(pij, df, **pooling.params)
f, dpij = pooling.forward(pij), pooling.backward(df)
W, b, h = pooling.params.values()
r, aij = pooling.cache["r"], pooling.cache["aij"]
da = (df[:, None, :] * pij).sum(axis=2)
only_pool = aij[:, :, None] * df[:, None, :]


def from_scores(ds):
    """The gradients that follow from those of the scores."""
    dz = ds[:, :, None] * h * (r > 0)
    return {"dpij": only_pool + dz @ W.T, "dW": np.einsum("bpk,bpt->kt", pij, dz),
            "db": dz.sum(axis=(0, 1)), "dh": np.einsum("bpt,bp->t", r, ds)}


targets = {"f": f, "dpij": dpij, **{f"d{name}": pooling.grads[name] for name in "Wbh"}}
wrong = {"The softmax is missing on the way back: the gradient of a is taken for that "
         "of the scores.": from_scores(da),
         "The softmax's backward is more than a * da: the mean of da, weighted with a, "
         "is subtracted first.": from_scores(aij * da),
         "The softmax should run back over the pairs, axis 1.":
         from_scores(softmax_backward(da, aij, axis=0))}
known = {name: {text: gradients[name] for text, gradients in wrong.items()}
         for name in ("dpij", "dW", "db", "dh")}
known["f"] = {"All pairs have the same weight: a is not used.": pij.mean(axis=1)}
known["dpij"] |= {
    "p_ij is used twice. This is what comes back through the sum; the part through the "
    "scores is missing.": only_pool,
    "p_ij is used twice. This is what comes back through the scores; the part through "
    "the sum is missing.": dpij - only_pool}
for (name, target), yours in zip(targets.items(), several(answer, *targets),
                                 strict=True):
    check(name, yours, target, mistakes=known[name])

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def afm_from_memory(pij, df, W, b, h):
#     z = pij @ W + b                              # (B, P, t)
#     r = np.maximum(z, 0)                         # (B, P, t)  relu
#     a = softmax(r @ h, axis=1)                   # (B, P)
#     f = (a[:, :, None] * pij).sum(axis=1)        # (B, k)
#     da = (df[:, None, :] * pij).sum(axis=2)      # (B, P)     f = sum a p
#     dpij = a[:, :, None] * df[:, None, :]        # (B, P, k)  the same, by p
#     ds = softmax_backward(da, a, axis=1)         # (B, P)     a = softmax(s)
#     dh = (r * ds[:, :, None]).sum(axis=(0, 1))   # (t,)       s = h . r
#     dz = ds[:, :, None] * h * (z > 0)            # (B, P, t)  r = relu(z)
#     db = dz.sum(axis=(0, 1))                     # (t,)       z = W^T p + b
#     dW = np.tensordot(pij, dz, ((0, 1), (0, 1)))     # (k, t)
#     return f, dpij + dz @ W.T, dW, db, dh        # p is used twice: add
# ```
#
# </details>

# %% [markdown]
# ## What AutoInt looks at
#
# AFM weighs pairs. AutoInt lets every field look at every field. Here is what one that was trained looks at.
#
# **Predict** before you run the cell: AFM had one weight for each of the 28 [pairs](glossary.md#pair). How many numbers
# are in all maps of 2 layers with 2 heads each? Will a map be symmetric?

# %%
clicks = datasets.make_clicks(20_000, seed=0)
test = datasets.make_clicks(20_000, seed=0, rows_seed=1)  # other rows of the same world
fields = list(clicks.X)

settings = {"embedding_dim": 10, "attention_dim": 6, "num_heads": 2,
            "learning_rate": 0.01, "epochs": 5}
model = AutoInt(num_layers=2, seed=0, **settings).fit(clicks.X, clicks.y)

table = explain.attention(model, test.X)                  # mean over the test rows
maps = table["value"].to_numpy().reshape(2, 2, 8, 8)      # (layer, head, asks, answers)
axes = plots.attention_grid(table)
colours = TwoSlopeNorm(1 / 8, vmin=0, vmax=maps.max())    # white is the even share
for ax in axes.flat:
    ax.images[0].set(norm=colours, cmap="PuOr_r")

# %% tags=["claims"]
shares = table.groupby(["layer", "head", "field_i"])["value"].sum()
assert np.allclose(shares, 1, atol=1e-5)
assert np.abs(maps - maps.swapaxes(2, 3)).max() > 0.02    # not symmetric

# %% [markdown]
# **What to look at.** In each head of each layer there is an 8 × 8 map: the row is the field that *asks*, the column
# the field that *answers*. Each row sums to 1 (asserted), and white is the even share, 1/8. The maps are not symmetric,
# and the diagonal is there too: a field may ask itself. Four maps of 64 numbers from one model, and they differ. This
# notebook builds such a map by hand, and then asks what it is worth.
#
# ## One row, one head
#
# We take one impression, the vectors $e_m$ of its $M = 8$ fields ([embeddings](glossary.md#embedding) of $n_{in} = 10$
# numbers each), and the trained weights of the first layer, whose $H = 2$ heads have $d = 6$ numbers each. Everything
# is copied to float64, so that comparisons can be sharp.

# %%
H, d, M, n_in = 2, 6, len(fields), 10

slots = model.encoder_.encode(test.X)
# (M, n_in)   e_1 ... e_M of one row
E = model.embedding.forward(slots[:1])[0].astype(np.float64)

layer = InteractingLayer(n_in, H=H, d=d, rng=np.random.default_rng(0), dtype=np.float64)
for name, trained in model.interacting[0].params.items():
    layer.params[name][...] = trained
W_Q, W_K, W_V, W_Res = layer.params.values()              # (n_in, H d) each

head = slice(0, d)                                        # the first d columns: head 1
print("E", E.shape, " W_Q", W_Q.shape, " of which one head has", W_Q[:, head].shape)
test.X[:1]

# %% [markdown]
# Every field gets three new vectors by a linear map each, with no bias: a *query* (what it asks for), a *key* (what it
# can be found by) and a *value* (what it hands over). Field $m$ asks, field $k$ answers, and $k$ runs over **all**
# fields, $m$ included (Song et al. 2019, eq. 5 and 6, with the head's number left out). The letters are the paper's, so
# that three mean something else than in 04: $k$ is a field (a vector's size is $n_{in}$ here), $V$ the values (not the
# table of vectors), and $h$ will be a head's number.
#
# $$\alpha_{m,k} = \frac{\exp\,\langle W_{Query}\, e_m,\; W_{Key}\, e_k\rangle}
#   {\sum_{l=1}^{M} \exp\,\langle W_{Query}\, e_m,\; W_{Key}\, e_l\rangle},
#   \qquad \tilde e_m = \sum_{k=1}^{M} \alpha_{m,k}\, W_{Value}\, e_k$$
#
# As loops, one line of the formula at a time. (The paper's $W$ multiplies from the left; the arrays here are its
# transposes, so that rows of a batch can be multiplied from the left.)

# %%
def one_head_slowly(E, W_Q, W_K, W_V):
    """(M, n_in) -> attention (M, M) and new vectors (M, d), by loops over fields."""
    a, e_new = np.zeros((len(E), len(E))), np.zeros((len(E), W_V.shape[1]))
    for m in range(len(E)):                               # m asks
        scores = [(W_Q.T @ E[m]) @ (W_K.T @ E[k]) for k in range(len(E))]
        for k in range(len(E)):                           # k answers
            a[m, k] = np.exp(scores[k]) / np.sum(np.exp(scores))        # eq. 5
            e_new[m] += a[m, k] * (W_V.T @ E[k])                        # eq. 6
    return a, e_new


a_slow, e_slow = one_head_slowly(E, W_Q[:, head], W_K[:, head], W_V[:, head])
asking = [f"{name} asks" for name in fields]
pd.DataFrame(a_slow, index=asking, columns=fields).round(2)

# %% tags=["claims"]
assert np.allclose(a_slow.sum(axis=1), 1)      # each asking field spends 1
assert not np.allclose(a_slow.sum(axis=0), 1)  # an answering field may get more or less

# %% [markdown]
# With arrays there is no loop left: five matrix products and one [softmax](glossary.md#softmax).
#
# **Exercise 2.** One head of one row without loops. `softmax(S, axis=...)` is there: think about which axis must sum
# to 1.

# %% tags=["exercise"]
# Exercise 2
def one_head(E, W_Q, W_K, W_V):
    """E (M, n_in), the W (n_in, d) -> the attention a (M, M), asking field first,
    and the new vectors (M, d)."""
    return None                      # your lines here; end with: return a, e_new

# %% tags=["check"]
answer = one_head(E, W_Q[:, head], W_K[:, head], W_V[:, head])
my_a, my_new = several(answer, "a", "e_new")
S = (E @ W_Q[:, head]) @ (E @ W_K[:, head]).T
wrong = {"The softmax runs over the asking fields: its columns sum to 1, not its rows.":
         softmax(S, axis=0),
         "Queries and keys are swapped: K Q^T is S transposed.": softmax(S.T, axis=1),
         "The scores are divided by sqrt(d): other models do that, eq. 5 does not.":
         softmax(S / np.sqrt(d), axis=1)}
check("a", my_a, a_slow, mistakes=wrong)
check("new vectors", my_new, e_slow, mistakes={
    "The shares are taken by columns: a is transposed.": a_slow.T @ E @ W_V[:, head],
    **{text: a @ E @ W_V[:, head] for text, a in wrong.items()}});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def one_head(E, W_Q, W_K, W_V):
#     Q, K, V = E @ W_Q, E @ W_K, E @ W_V  # (M, d) each
#     S = Q @ K.T                          # (M, M)  row m asks, column k answers
#     a = softmax(S, axis=1)               # (M, M)  over the answering fields
#     return a, a @ V                      # (M, M), (M, d)
# ```
#
# </details>

# %% [markdown]
# Here are the scores of the row above, $S = Q K^\top$, before the softmax.

# %%
Q, K, V = (E @ W[:, head] for W in (W_Q, W_K, W_V))
S = Q @ K.T
a = softmax(S, axis=1)
pd.DataFrame(S, index=asking, columns=fields).round(2)

# %% tags=["claims"]
assert np.allclose(a, a_slow) and np.allclose(a @ V, e_slow)

# %% [markdown]
# **To touch**: one training step of a small trained AutoInt, of four fields and two heads: $Q$, $K$, $V$, the scores,
# the shares, and the way back through all of them. In a terminal, `minictr trace --model autoint --out steps` writes it
# as a page: steps/step.html.
#
# **What to look at.** Rows are fields, in all these arrays; the columns of $S$ and $a$ are fields too, in the same
# order. Orange is positive, blue negative: an orange number of $S$ is where a row of $Q$ and a row of $K$ point the
# same way, a blue one where they point opposite ways. The softmax turns each row of $S$ into shares: point at a number
# of $a$, and the row of $S$ that it reads lights up; raise one score, and the others of its row lose. Field $m$'s new
# vector, in $\tilde e_m$, is the mixture of the rows of $V$ with the shares in row $m$ of $a$. Nothing here depends on
# *where* a field stands: there is no position and no order, only vectors. That will be our best test. Two heads,
# $W_{Res}$, the ReLU and the backward pass come next: come back to the page then, and *split* the heads.
#
# ## All heads, and the residual
#
# A head can attend in one way only. So there are $H$ of them, side by side, each with its own $W$, and their results
# are put one after another (eq. 7). Then the layer adds a linear map of what came in, $W_{Res}\, e_m$, and cuts off
# what is negative (eq. 8):
#
# $$e_m^{Res} = \text{ReLU}\left( [\tilde e_m^{(1)}; \ldots; \tilde e_m^{(H)}] + W_{Res}\, e_m \right)$$
#
# $W_{Res}$ is a matrix and not just "add what came in", because the new vector has $H d$ numbers and the old one
# $n_{in}$. The next layer does the same with the new vectors. After the last layer, the $L$-th, the vectors are put one
# after another and read out: $\text{logit} = w \cdot [e_1^L; \ldots; e_M^L] + b$.

# %%
def interact_slowly(E, H, d):
    """(M, n_in) -> (M, H d), eq. 5-8 for one row, head by head and field by field."""
    heads = []
    for h in range(H):
        own = slice(h * d, (h + 1) * d)
        heads.append(one_head_slowly(E, W_Q[:, own], W_K[:, own], W_V[:, own])[1])
    out = np.zeros((len(E), H * d))
    for m in range(len(E)):
        joined = np.concatenate([e_new[m] for e_new in heads])    # (H d,)   eq. 7
        out[m] = np.maximum(joined + W_Res.T @ E[m], 0)           #          eq. 8
    return out


off = np.abs(interact_slowly(E, H, d) - layer.forward(E[None])[0]).max()
print(f"loops and minictr's layer differ by {off:.0e}; expected: below 1e-12")

# %% tags=["claims"]
assert off < 1e-12

# %% [markdown]
# The library computes all heads at once. One product gives `E @ W_Q`, of shape (B, M, H d): for each field the numbers
# of head 1, then those of head 2. Attention needs them by head: (B, H, M, d). Getting from the one to the other is the
# next exercise.
#
# **Exercise 3.** Split the last axis into heads. Entry `[b, h, m]` is to hold head h's `d` numbers of field m of row b.

# %% tags=["exercise"]
# Exercise 3
def split_heads(x, H):
    """(B, M, H d) -> (B, H, M, d)."""
    return None                      # your lines here

# %% tags=["check"]
rng = np.random.default_rng(1)
x = rng.standard_normal((4, 3, 10))                       # B = 4, M = 3, H = 2, d = 5
by_loops = np.array([[[x[b, m, h * 5:(h + 1) * 5] for m in range(3)] for h in range(2)]
                     for b in range(4)])
check("split heads", split_heads(x, 2), by_loops, mistakes={
    "A reshape alone keeps the order in memory. Split the last axis first, then swap "
    "two axes.":
    x.reshape(4, 2, 3, 5),
    "The shape is right, but the reshape cuts across the fields. Split the last axis "
    "alone.": x.reshape(4, 2, 5, 3).swapaxes(2, 3),
    "The numbers of the heads are interleaved: head h must get d *neighbouring* "
    "numbers.": x.reshape(4, 3, 5, 2).transpose(0, 3, 1, 2)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def split_heads(x, H):
#     B, M, width = x.shape
#     return x.reshape(B, M, H, width // H).swapaxes(1, 2)  # (B, M, H, d) -> (B, H, M, d)
# ```
#
# </details>

# %% [markdown]
# ## Backward
#
# Let $\tilde E = a V$, $a = \text{softmax}(S)$, $S = Q K^\top$, and let `de` be $\partial L / \partial \tilde E$. All
# that is new is a product of two matrices, both of which have a gradient: from $C = A B$ follows
#
# $$dA = dC\, B^\top, \qquad dB = A^\top dC,$$
#
# and the shapes leave no other choice. The softmax rule is AFM's, row by row; `softmax_backward(da, a, axis)` has it.
# The check takes the slow and obvious way: it moves every number of Q, K and V a little.
#
# **Exercise 4.** The backward pass of one attention: read the three forward lines above from the bottom up.
# `x.swapaxes(2, 3)` transposes the matrix of each row and head. Mind the transpose that is in $S = Q K^\top$ already.

# %% tags=["exercise"]
# Exercise 4
def attention_backward(de, Q, K, V, a):
    """de, Q, K, V (B, H, M, d), a (B, H, M, M) -> dQ, dK, dV (B, H, M, d)."""
    return None                      # your lines here; end with: return dQ, dK, dV

# %% tags=["check"]
rng = np.random.default_rng(2)
# (B, H, M, d) = (2, 3, 4, 5) each
Q_small, K_small, V_small, de_small = rng.standard_normal((4, 2, 3, 4, 5))


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
a_small = softmax(Q_small @ K_small.swapaxes(2, 3), axis=3)
answer = attention_backward(de_small, Q_small, K_small, V_small, a_small)
da = de_small @ V_small.swapaxes(2, 3)
wrong_dS = {
    "The softmax is missing between a and S.": da,
    "The softmax's backward is more than a * da: the mean of da, weighted with a, is "
    "subtracted first.": a_small * da,
    "The softmax should run over axis 3, the answering fields; yours runs over axis 2.":
    softmax_backward(da, a_small, axis=2)}
dS = softmax_backward(da, a_small, axis=3)
known = {"dQ": {text: bad @ K_small for text, bad in wrong_dS.items()},
         "dK": {text: bad.swapaxes(2, 3) @ Q_small for text, bad in wrong_dS.items()}}
known["dQ"] |= {"This is dK: dQ and dK are swapped.": numeric["dK"],
                "dQ has S^T in it: row m of dS belongs to the field that asks.":
                dS.swapaxes(2, 3) @ K_small}
known["dK"] |= {"This is dQ: dQ and dK are swapped.": numeric["dQ"],
                "dK needs the transposed dS: its sum runs over the asking fields.":
                dS @ Q_small}
known["dV"] = {"dV needs the transposed a: field k handed its value to every field "
               "that asked it.": a_small @ de_small}
for (name, target), yours in zip(numeric.items(), several(answer, *numeric),
                                 strict=True):
    check(name, yours, target, mistakes=known[name])

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def attention_backward(de, Q, K, V, a):
#     dV = a.swapaxes(2, 3) @ de            # (B, H, M, d)  e = a V
#     da = de @ V.swapaxes(2, 3)            # (B, H, M, M)  the same, with respect to a
#     dS = softmax_backward(da, a, axis=3)  # (B, H, M, M)  a = softmax(S)
#     dQ = dS @ K                           # (B, H, M, d)  S = Q K^T
#     dK = dS.swapaxes(2, 3) @ Q            # (B, H, M, d)
#     return dQ, dK, dV
# ```
#
# </details>

# %% [markdown]
# Why $dK = dS^\top Q$? From $S_{mk} = \sum_f Q_{mf} K_{kf}$ follows $dK_{kf} = \sum_m dS_{mk}\, Q_{mf}$: the sum is
# over those who ask.
#
# ## Spot the bug
#
# The layer below puts the pieces together (without $W_{Res}$ and ReLU, which play no part here). How heads are split
# and merged is left open, and there are two ways, A and B. One of them is, in our own words, what an open-source
# library shipped for AutoInt and two other models: it had been taken over from a blog post. You may have met it above.

# %%
class Heads(Layer):
    """All heads of eq. 5-7, for a given way to split into heads and to merge again."""

    def __init__(self, split, merge, n_in=5, H=2, d=3):
        super().__init__()
        self.split, self.merge, self.H = split, merge, H
        rng = np.random.default_rng(0)
        for name in ("W_Q", "W_K", "W_V"):
            self.params[name] = rng.standard_normal((n_in, H * d)) / np.sqrt(n_in)

    def forward(self, E):
        # (B, H, M, d) each
        Q, K, V = (self.split(E @ W, self.H) for W in self.params.values())
        a = softmax(Q @ K.swapaxes(2, 3), axis=3)         # (B, H, M, M)
        self.cache = {"E": E, "Q": Q, "K": K, "V": V, "a": a}
        return self.merge(a @ V)                          # (B, M, H d)

    def backward(self, dout):
        E, Q, K, V, a = (self.cache[name] for name in "E Q K V a".split())
        de = self.split(dout, self.H)                     # (B, H, M, d)  merge(e)
        da = de @ V.swapaxes(2, 3)                        # (B, H, M, M)  e = a V
        dS = softmax_backward(da, a, axis=3)              # (B, H, M, M)  softmax(S)
        heads = {"W_Q": dS @ K, "W_K": dS.swapaxes(2, 3) @ Q,
                 "W_V": a.swapaxes(2, 3) @ de}
        dE = np.zeros_like(E)
        for name, gradient in heads.items():
            dprojected = self.merge(gradient)             # (B, M, H d)   split(E W)
            self.grads[name] = np.tensordot(E, dprojected, ([0, 1], [0, 1]))
            dE += dprojected @ self.params[name].T        # E is used three times: add
        return dE

# %%
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

# %%
versions = {"A": Heads(split_a, merge_a), "B": Heads(split_b, merge_b)}
# 4 rows, 6 fields, n_in = 5
E_random = np.random.default_rng(5).standard_normal((4, 6, 5))
for name, version in versions.items():
    passed = check_gradients(version, E_random).passed
    version.forward(E_random)
    sums_to_1 = np.allclose(version.cache["a"].sum(axis=3), 1)
    print(f"{name}: gradient check passed: {passed};  attention sums to 1: {sums_to_1}")

# %% tags=["claims"]
for version in versions.values():
    assert check_gradients(version, E_random).passed
    assert np.allclose(version.cache["a"].sum(axis=3), 1)

# %% [markdown]
# **Question.** Both versions pass the gradient check, and in both the attention sums to 1. The shapes are right, too.
# Which one is wrong, you may know; but what does it do: with 6 fields and 2 heads, which fields ask which in its first
# "head"? (The answer is folded, behind the next exercise.) And which check would have told? Fields have no order, so
# **permuting the fields must permute the output and change nothing else**.
#
# **Exercise 5.** The permutation test. `order` is a permutation of the fields, such as `[1, 0, 2, 3, 4, 5]`, and
# `layer.forward(E)` gives the output. Compare numbers to rounding, as `np.allclose` does.

# %% tags=["exercise"]
# Exercise 5
def permutes_alike(layer, E, order):
    """Whether the output (B, M, H d) for permuted fields is the permuted output, to
    rounding: one True or False."""
    return None                      # your lines here

# %% tags=["check"]
class Roll(Layer):
    """Hands vectors on to the next field: a mix-up of all, or of one row or field."""

    def __init__(self, row=slice(None), field=slice(None), share=1.0):
        super().__init__()
        self.where, self.share = (row, field), share

    def forward(self, E):
        out = E.copy()
        out[self.where] += self.share * (np.roll(E, 1, axis=1) - E)[self.where]
        return out


def swapped(a, b):
    """The order of the six fields, but for two of them."""
    order = list(range(6))
    order[a], order[b] = order[b], order[a]
    return order


swap, far, cycle = swapped(0, 1), swapped(0, 5), [0, 2, 5, 3, 4, 1]
A, B = versions.values()
cases = [(A, swap, True), (A, cycle, True), (B, far, False), (B, cycle, False),
         (B, swap, True),                # B does not show with neighbours: order counts
         *[(Roll(row=row), cycle, False) for row in range(4)],
         # each of these shows in one field alone, which stays where it is
         *[(Roll(field=field), swapped(field - 2, field - 1), False)
           for field in range(6)],
         (Roll(), swap, False), (Roll(share=0.01), cycle, False),
         (Roll(share=0.0), cycle, True)]


def verdicts(test):
    """What a test says of each case; None if it says nothing."""
    said = [test(one, E_random, order) for one, order, _ in cases]
    if any(np.shape(one) for one in said):
        print("One True or False was expected, not an array or a list of them: .all()")
    return None if any(one is None for one in said) else said


wrong = {
    "The output must be permuted too before it is compared.":
    lambda f, E, o: np.allclose(f(E[:, o]), f(E)),
    "Yours permutes the output for permuted fields once more. That undoes a swap, but "
    "not a cycle of three.":
    lambda f, E, o: np.allclose(f(E[:, o])[:, o], f(E)),
    "Exactly equal is too much to ask: sums in another order are rounded otherwise.":
    lambda f, E, o: np.array_equal(f(E[:, o]), f(E)[:, o]),
    "A sum over fields is the same in any order: compare entry by entry.":
    lambda f, E, o: np.allclose(f(E[:, o]).sum(axis=1), f(E)[:, o].sum(axis=1)),
    "The tolerance is too wide: a mix-up of 1 % passes.":
    lambda f, E, o: np.allclose(f(E[:, o]), f(E)[:, o], atol=0.1)}
wrong |= {f"Only row {row} of the batch is compared.": lambda f, E, o, row=row:
          np.allclose(f(E[:, o])[row], f(E)[row, o]) for row in range(4)}
wrong |= {f"Only field {field} is compared.": lambda f, E, o, field=field:
          np.allclose(f(E[:, o])[:, field], f(E)[:, o][:, field]) for field in range(6)}
always = "`order` makes no difference to what yours says: it tries one of its own."
wrong |= {always + " " * n: lambda f, E, o, own=own:
          np.allclose(f(E[:, own]), f(E)[:, own])
          for n, own in enumerate((swap, far, cycle))}
check(f"permutation test, {len(cases)} cases", verdicts(permutes_alike),
      [truth for _, _, truth in cases],
      mistakes={text: verdicts(lambda one, E, o, test=test: test(one.forward, E, o))
                for text, test in wrong.items()});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def permutes_alike(layer, E, order):
#     permuted = layer.forward(E)[:, order]
#     return bool(np.allclose(layer.forward(E[:, order]), permuted))
# ```
#
# </details>

# %% [markdown]
# <details><summary>Answer: what the wrong one does</summary>
#
# B. In memory the last axis runs fastest: field 1's head 1, field 1's head 2, field 2's head 1, and so on. Reshaped to
# (B, H, M, d) without a transpose, the first "head" gets the first M pieces of length d, which are *both* heads of the
# first M / H fields; the second "head" gets the other fields. So half of the fields never meet the other half, and the
# map's row "user_segment" is not about user_segment.
#
# The gradient check asks whether `backward` is the derivative of `forward`. It is: of a wrong forward. What tells is a
# loop written from the equation, or the permutation test.
#
# The thread is [reczoo/FuxiCTR#30](https://github.com/reczoo/FuxiCTR/issues/30) (opened by its maintainer, and
# closed); it names AutoInt, DESTINE and InterHAt.
#
# </details>
#
# And the damage itself: change one field's vector at a time, and note whose output moves.

# %%
def reach(layer, E):
    """(M, M): "x" where the output at a place (row) moves with a vector (column)."""
    before, names = layer.forward(E), [f"e_{k + 1}" for k in range(E.shape[1])]
    moved = pd.DataFrame(".", index=[f"output {m + 1}" for m in range(E.shape[1])],
                         columns=names)
    for k in range(E.shape[1]):
        changed = E.copy()
        changed[:, k] += 1
        difference = np.abs(layer.forward(changed) - before).max(axis=(0, 2))  # (M,)
        moved.iloc[difference > 1e-9, k] = "x"
    return moved


reach(versions["B"], E_random)

# %% tags=["claims"]
every_order = [list(order) for order in itertools.permutations(range(6))]
caught = {}
for name, version in versions.items():
    out = version.forward(E_random)
    caught[name] = sum(not np.allclose(version.forward(E_random[:, order]),
                                       out[:, order]) for order in every_order)
met = (reach(versions["B"], E_random) == "x").to_numpy()
assert caught == {"A": 0, "B": 648}
assert (reach(versions["A"], E_random) == "x").all(axis=None)
assert met[:3, :3].all()
assert met[3:, 3:].all()
assert not met[:3, 3:].any()
assert not met[3:, :3].any()

# %% [markdown]
# **What to look at.** With the bug (B), fields 1-3 and 4-6 are two worlds that never exchange a number, in a layer
# whose whole point is that all fields talk. In the right version, A, every cell is an x (asserted). Swapping
# fields 1 and 2 does not show the bug, swapping 1 and 6 does: of the $6! = 720$ orders 648 do (asserted). So a
# permutation test takes a few random orders, not one swap of neighbours.
#
# ## What the residual does
#
# Now train. Does it matter whether each field keeps something of itself? And is a second layer worth its price? We fit
# three AutoInts and, as a yardstick, an FM, with three seeds each, and look at the [log loss](glossary.md#log-loss) on
# rows that training did not see. **Predict** the order of the four: which is best in this world of planted pairs, which
# worst?

# %%
variants = {"FM": (FM, {}), "AutoInt, 1 layer": (AutoInt, {"num_layers": 1}),
            "AutoInt, 2 layers": (AutoInt, {"num_layers": 2}),
            "AutoInt, 2 layers, no residual": (AutoInt, {"num_layers": 2,
                                                         "residual": False})}
of_fm = {name: settings[name] for name in ("embedding_dim", "learning_rate", "epochs")}
fitted, losses = {}, pd.DataFrame()
for name, (kind, more) in variants.items():
    for seed in range(3):
        network = kind(seed=seed, **(of_fm if kind is FM else settings), **more)
        fitted[name, seed] = network.fit(clicks.X, clicks.y)
        p_click = sigmoid(network.decision_function(test.X))
        losses.loc[name, f"seed {seed}"] = metrics.log_loss(test.y, p_click)
mean_loss = losses.mean(axis=1)

figure, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
for seed, mark in enumerate("osD"):
    ax.plot(losses.iloc[:, seed], losses.index, mark, label=f"seed {seed}", alpha=0.8)
ax.axvline(test.best_log_loss, color="grey", linestyle="--",
           label="the world's own formula")
ax.set(xlabel="log loss on test rows (lower is better)")
ax.invert_yaxis()
legend = ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["claims"]
complete = mean_loss["AutoInt, 2 layers"]
assert mean_loss["AutoInt, 2 layers, no residual"] > complete + 0.01
assert abs(mean_loss["AutoInt, 1 layer"] - complete) < 0.015
assert mean_loss["FM"] < complete

# %% [markdown]
# **What to look at.** Without the residual the loss is higher (asserted: by more than 0.01 on average): after one
# layer a field is a mixture of all fields, and nothing hands its own vector on as it was. The paper's Table 4 reports
# the same direction on real data. The second layer changes little *here* (asserted: means within 0.015), and the plain
# FM is ahead (asserted): this world is made of pairs of fields, which is what an FM assumes. So this is no verdict on
# real data; the paper's own Table 2 has AutoInt ahead of FM on all four data
# sets. Compare on yours, fairly: [08](08_compare_fairly.ipynb).
#
# **Question.** Which of these could see each of the effects: (a) FM's pooling, (b) AFM's, (c) one interacting layer,
# (d) none of them? Effects: *student × games click more*; *student × games × phone, and no two of them without the
# third*; *games in the first field, rather than in the last, of two fields that share their vectors*.
#
# <details><summary>Answer</summary>
#
# Two fields: all three. Three fields: FM's pooling is a sum over pairs and cannot. AFM's softmax lets the weight of a
# pair depend on all other pairs, and an interacting layer mixes fields in its softmax and bends in its ReLU: both *can*
# ([13](13_one_family.ipynb) measures who learns what). The order of fields: none of them, as the permutation test says;
# only the readout, which has a weight for each place, could.
#
# </details>
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
    a = table.pivot(index="field_i", columns="field_j", values="value")
    a = a.loc[fields, fields].to_numpy()                  # (M, M)
    pairs = planted[["field_i", "field_j"]].assign(value=(a[i, j] + a[j, i]) / 2)
    pairs.attrs = {"quantity": "attention", "unit": "mean attention (share of 1)",
                   "fields": fields, "uniform": 1 / M}
    return pairs


def found(pairs):
    """How many of the five planted pairs are among the first five of a pair table."""
    first_five = pairs["value"].nlargest(5).index
    return int((planted["value"].loc[first_five] > 0).sum())

# %%
attention, effects = [], []
for seed in range(3):
    network = fitted["AutoInt, 2 layers", seed]
    attention.append(attention_by_pair(network, test.X))
    effects.append(explain.interaction_effects(network, test.X, background=500,
                                               partners=4))
counts = pd.DataFrame({"attention": [found(pairs) for pairs in attention],
                       "interaction effect": [found(pairs) for pairs in effects]},
                      index=[f"seed {seed}" for seed in range(3)])
counts

# %% tags=["claims"]
assert all(pairs["value"].idxmax() == planted["value"].idxmax()
           for pairs in effects + attention)
assert all((pairs["value"] - 1 / M).abs().median() < 0.02 for pairs in attention)
assert counts["interaction effect"].mean() >= counts["attention"].mean() + 1

# %%
agreement = [pairs["value"].rank().corr(by_effect["value"].rank())
             for pairs, by_effect in zip(attention, effects, strict=True)]
print("rank correlation of attention and interaction effect, three seeds:",
      np.round(agreement, 2))
ax = plots.attention_vs_contribution(attention[0], effects[0], label=1,
                                     ax=plt.subplots(figsize=(6, 3.6),
                                                     layout="constrained")[1])
second = planted["value"].nlargest(2).index[1]                    # hour × device
arrow = ax.annotate("hour × device, planted 0.8",
                    (attention[0]["value"][second], effects[0]["value"][second]),
                    xytext=(0.126, 0.5), fontsize=8, arrowprops={"arrowstyle": "->"})

# %% tags=["claims"]
assert min(agreement) > 0.3 and np.ptp(agreement) > 0.1

# %% [markdown]
# **What to look at.** Were attention importance, the points would lie on a rising line. Attention and effect agree on
# the largest planted pair, in all three seeds (asserted); behind it, the attention of most pairs is close to 1/8, the
# dashed line, and its order is a poor guide (the table above). The interaction effect finds more (asserted: at least
# one more of five, on average). The picture is seed 0; the rank correlation differs by seed (asserted: by more
# than 0.1), and in no seed does it sound bad (asserted: above 0.3). Both ask the same model, and most of the 28 ranks
# belong to pairs with nothing planted: a number over all pairs does not say who is in front. Over ten worlds the
# [README](../README.md#attention-contribution-interaction-effect-three-things) gives 1.6 of 5 for attention, 3.6 for
# the interaction effect, and 0.9 for guessing.
#
# Why? A weight in a map says how large a share of field $k$'s value $W_V e_k$ goes into position $m$. It does not say
# how large that value is, nor what the ReLU, the next layer and the readout make of it. It has no sign. Each row sums
# to 1, whether there is anything worth asking or not. And what goes through $W_{Res}$ is in no map. From the second
# layer on, a position holds a mixture of fields, and is only called by its field's name. Use the maps to see *where it
# looks*; for *what matters*, use the interaction effect.
#
# ## Paper and program
#
# Which AutoInt? The paper's equations and its authors' program are two different layers. minictr's default is the
# paper; `AutoInt.official_code()` is the program.

# %% tags=["claims"]
paper, program = AutoInt(**settings), AutoInt.official_code(**settings)
for variant in (paper, program):
    variant.prepare(clicks.X, clicks.y)
ours, theirs = paper.get_params(), program.get_params()
assert {name for name in ours if ours[name] != theirs[name]} == {
    "scale", "layer_norm", "qkv_activation"}
assert not ours["first_order"] and ours["residual"] and paper.num_layers == 3
# untrained vectors are tiny: magnify them
E_batch = program.embedding.forward(slots[:100]) * 100
lowest = []
for variant in (paper, program):
    variant.interacting[0].forward(E_batch)
    lowest.append(variant.interacting[0].cache["S"].min())
assert lowest[0] < 0 <= lowest[1]

# %% [markdown]
# | switch | paper | program | what it changes |
# | --- | --- | --- | --- |
# | `scale` | no | yes | divides $S$ by $\sqrt{d}$: flatter softmax at the start, whatever the size of a head |
# | `qkv_activation` | none | ReLU, bias (on Q, K, V, $W_{Res}$) | no score is negative (asserted): none is shunned |
# | `layer_norm` | no | yes | each field's vector: mean 0, variance 1, then a learned scale and shift |
# | `first_order` | no | no | adds $\sum_i w_i x_i$, which some libraries have; neither the equations nor the preset |
# | `residual` | yes | yes | some libraries leave it out, or add it only once at the end |
#
# So if two libraries disagree about "AutoInt", first ask which one they mean. One more such question is whether the
# paper's $d' = 32$ is the size of one head, or of all together: only 32 for each gives the $3.9 \cdot 10^4$ numbers of
# its Table 3.
#
# ## Plug yours in
#
# You have written all parts of the layer. Now as one, and then in the place of the library's.
#
# **Exercise 6.** The interacting layer from memory, $W_{Res}$ and the ReLU included, forwards and backwards, without
# looking up (`split_a` and `merge_a` are there). `saved` is whatever your backward needs of your forward. Which of the
# five arrays that go in is used more than once?

# %% tags=["exercise"]
# Exercise 6
def interact(E, W_Q, W_K, W_V, W_Res, H):
    """E (B, M, n_in), the W (n_in, H d) -> out (B, M, H d), and what you save."""
    return None                      # end with: return out, saved


def interact_backward(dout, saved):
    """dout (B, M, H d) -> dE (B, M, n_in), and dW_Q, dW_K, dW_V, dW_Res."""
    return None                      # end with: return dE, dW_Q, dW_K, dW_V, dW_Res

# %% tags=["check"]
rng = np.random.default_rng(3)
small = InteractingLayer(3, H=2, d=4, rng=rng, dtype=np.float64)
E_small, dout = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 8))
my_out, saved = several(interact(E_small, *small.params.values(), 2), "out", "saved")
out = small.forward(E_small)
shown = {name: small.cache[name] for name in ("z", "e")}
known = {"The ReLU is missing.": shown["z"],
         "The residual is missing.": np.maximum(shown["e"], 0),
         "The ReLU comes last, after the residual is added.":
         np.maximum(shown["e"], 0) + shown["z"] - shown["e"]}
right_so_far = check("out", my_out, out, mistakes=known)
dE = small.backward(dout)
targets = {"dE": dE, **{f"d{name}": small.grads[name] for name in small.params}}
dz = dout * (out > 0)
known = {name: {} for name in targets}
known["dE"] = {
    "E is used four times, by Q, K, V and the residual. The residual's part is "
    "missing.": dE - dz @ small.params["W_Res"].T,
    "E is used four times, by Q, K, V and the residual: only the residual's part is "
    "there.": dz @ small.params["W_Res"].T}
known["dW_Res"] = {"The ReLU lets a gradient through only where z > 0.":
                   np.tensordot(E_small, dout, ((0, 1), (0, 1)))}
if right_so_far:
    answer = several(interact_backward(dout, saved), *targets)
    for (name, target), yours in zip(targets.items(), answer, strict=True):
        check(name, yours, target, mistakes=known[name])
else:
    print("The five gradients are checked once out is right.")

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def interact(E, W_Q, W_K, W_V, W_Res, H):
#     Q, K, V = (split_a(E @ W, H) for W in (W_Q, W_K, W_V))   # (B, H, M, d)
#     a = softmax(Q @ K.swapaxes(2, 3), axis=3)    # (B, H, M, M)
#     z = merge_a(a @ V) + E @ W_Res               # (B, M, H d)
#     return np.maximum(z, 0), (E, Q, K, V, a, z, H, (W_Q, W_K, W_V, W_Res))
#
#
# def interact_backward(dout, saved):
#     E, Q, K, V, a, z, H, W = saved
#     dz = dout * (z > 0)                          # (B, M, H d)   out = relu(z)
#     de = split_a(dz, H)                          # (B, H, M, d)  z = e + E W_Res
#     dV = a.swapaxes(2, 3) @ de                   # (B, H, M, d)  e = a V
#     dS = softmax_backward(de @ V.swapaxes(2, 3), a, axis=3)     # a = softmax(S)
#     dQ, dK = dS @ K, dS.swapaxes(2, 3) @ Q       # (B, H, M, d)  S = Q K^T
#     dE, dW = np.zeros_like(E), []
#     for d_projected, W_one in zip((merge_a(dQ), merge_a(dK), merge_a(dV), dz), W):
#         dW.append(np.tensordot(E, d_projected, ((0, 1), (0, 1))))    # Q = E W_Q
#         dE += d_projected @ W_one.T              # E is used four times: add
#     return dE, *dW
# ```
#
# </details>

# %% [markdown]
# And it trains: an AutoInt with your layer in it, beside the library's. Same start, same rows, same curve, or the
# gradient check says where not.

# %% tags=["yours"]
class YourLayer(InteractingLayer):
    """The library's parameters, your forward and backward."""

    def forward(self, E):
        out, saved = interact(E, *self.params.values(), self.H)
        self.cache = {"E": E, "saved": saved}             # AutoInt reads E there
        return out

    def backward(self, dout):
        dE, *gradients = interact_backward(dout, self.cache["saved"])
        self.grads = dict(zip(self.params, gradients, strict=True))
        return dE


class YourAutoInt(AutoInt):
    """An AutoInt whose layers are yours."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        for layer in self.interacting:
            layer.__class__ = YourLayer                   # the weights stay


small_settings = {**settings, "num_layers": 2, "epochs": 3, "dtype": "float64"}
train_beside("AutoInt with your layer", YourAutoInt(**small_settings),
             AutoInt(**small_settings), clicks.X[:5_000], clicks.y[:5_000]);

# %% [markdown]
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
#   [07](07_share_embeddings_in_deepfm.ipynb).
# - Lines to look up: [self_attention.py](../minictr/layers/self_attention.py),
#   [autoint.py](../minictr/models/autoint.py), and the [cheat sheet](cheat_sheet.md).
#
# ## Next
#
# [08: Compare fairly](08_compare_fairly.ipynb), the last of the core path: which differences between these models are
# real. An elective in between: [07: Share embeddings in DeepFM](07_share_embeddings_in_deepfm.ipynb).
#
# ## Further reading
#
# - W. Song et al., *AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks*, CIKM 2019,
#   [arXiv:1810.11921](https://arxiv.org/abs/1810.11921).
# - A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762):
#   where queries, keys, values and heads come from.
# - S. Jain, B. C. Wallace, *Attention is not Explanation*, NAACL 2019,
#   [arXiv:1902.10186](https://arxiv.org/abs/1902.10186).
