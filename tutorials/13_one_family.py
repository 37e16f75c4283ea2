# %% [markdown]
# # One family: fifteen models around FM
#
# **What you'll do**: start from FM and reach each of the library's other models by changing a few lines; then plant
# effects of two, of three and of four fields, and see which model finds which.
#
# **What you'll learn**
#
# - say of any model of these papers what it weighs, what it crosses, and what it stacks
# - read two models' forward passes side by side, and set one's parameters so that it becomes the other
# - write the index of FFM and the first layer of the CIN in one line of NumPy each
# - tell a difference between models from the spread between worlds
#
# **What you'll need**: [06](06_let_fields_talk_with_autoint.ipynb) and
# [07](07_share_embeddings_in_deepfm.ipynb), and what they build on; NumPy.
#
# **Time**: 45 minutes, exercises included.

# %%
import inspect
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import (AFM, DCN, FFM, FM, HOFM, NFM, PNN, AutoInt, DeepCrossing, DeepFM,
                     FwFM, XDeepFM, datasets, metrics)
from minictr.estimator.registry import library_models, offers
from minictr.exercises import check, train_beside
from minictr.layers import (CIN, CrossNetwork, FieldAwareProducts, FMPooling,
                            TriplePooling, field_pairs, named_layers, parameters)

family = dict(sorted(library_models().items(), key=lambda item: item[1].paper.year))
rows = pd.DataFrame({f"field_{i}": list("abcabc"[i:] + "abcabc"[:i])
                     for i in (1, 2, 3)})
PLUMBING = {"Concatenate", "Dropout", "Embedding", "FactorSum", "FirstOrderTerms",
            "Linear", "Readout"}
CAN_TELL = {"terms": "exact terms", "attention_weights": "attention",
            "pair_strengths": "pair strengths"}

has = {}
for name, cls in family.items():
    model = cls(**next(iter(cls.variants.values()))).prepare(rows, [0, 1, 0, 1, 0, 1])
    kinds = [type(layer).__name__ for path, layer in named_layers(model)
             if "." not in path]
    has[name] = ([kind for kind in kinds if kind not in PLUMBING],
                 [words for way, words in CAN_TELL.items() if offers(cls, way)])

parts = list(dict.fromkeys(kind for kinds, _ in has.values() for kind in kinds))
figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
for y, (kinds, ways) in enumerate(has.values()):
    ax.plot([parts.index(kind) for kind in kinds], [y] * len(kinds), "o",
            color="#0072B2", markersize=9)
    ax.plot([len(parts) + list(CAN_TELL.values()).index(way) for way in ways],
            [y] * len(ways), "s", color="#D55E00",
            markersize=8)
ax.axvline(len(parts) - 0.5, color="0.7")
columns = [*parts, *CAN_TELL.values()]
ax.set_xticks(range(len(columns)), columns, rotation=40, ha="left",
              rotation_mode="anchor")
ax.set_yticks(range(len(family)),
              [f"{cls.paper.year}  {name}" for name, cls in family.items()])
ax.xaxis.tick_top()
ax.grid(alpha=0.3)
ax.invert_yaxis()
legend = ax.set_xlabel("blue: layers that a model is made of     orange: what it can "
                       "tell of itself")

# %% [markdown]
# *What to look at*: no model's name was typed in. The models, the years of their papers, and what each can tell
# come from the library's registry; the layers are those that a small model of each class has. (Layers that only look
# up, add up or put side by side are left out.) A model that somebody adds tomorrow is in the next picture.
#
# *Exact terms* means that the logit is a sum whose terms the model can name; where there is an MLP, it is one of them,
# whole. Those without exact terms send everything through one last layer. From 2016 on an MLP comes in, mostly together
# with something that multiplies. The same members, with their equations:

# %%
pd.set_option("display.max_colwidth", None)
pd.DataFrame({name: {"paper": cls.paper, "logit": cls.equation} for name,
              cls in family.items()}).T

# %% [markdown]
# All but LR look up a vector $e_i = v_i x_i$ for each [field](glossary.md#field), and differ in what they do then:
#
# - **weigh**: FM's sum over [pairs](glossary.md#pair), with a weight or with other vectors in it (FwFM, FFM, AFM);
# - **cross**: products of three and more (HOFM, the cross network, the CIN);
# - **stack**: layers on top of the vectors, with products among what goes in (NFM, PNN), with products or a linear
#   model beside them (DeepFM, DCN, xDeepFM, Wide & Deep), or with neither (FNN, Deep Crossing). AutoInt stacks layers
#   that weigh.
#
# We go through them by their own source. `show` prints a `forward` of the library and marks with `>` every line that
# FM's does not have.

# %%
def lines(function):
    """The lines of a function below its def, as code and comment."""
    text = textwrap.dedent("".join(inspect.getsourcelines(function)[0][1:]))
    return [[part.rstrip() for part in line.partition("  # ")[::2]]
            for line in text.splitlines()]


def show(*classes):
    """Print forward of each class, marking what FM.forward does not have."""
    known = {code for code, _ in lines(FM.forward)}
    for cls in classes:
        print(f"{cls.__name__}.forward")
        for code, comment in lines(cls.forward):
            comment = " ".join(comment.split())  # without the columns of the file
            mark = "  " if code in known else "> "
            print(f"{mark}{code:<58}  {'# ' if comment else ''}{comment}".rstrip())
        print()


show(FM)

# %% [markdown]
# ## What is weighed
#
# FM counts every pair by the inner product of its vectors, $\sum_{i<j} \langle v_i, v_j\rangle x_i x_j$, and all pairs
# alike. Three papers change that:

# %%
show(FwFM, FFM, AFM)

# %% [markdown]
# - **FwFM** ([field-weighted](glossary.md#field-weighted)) gives each pair of *fields* a number $r_{ij}$, the same in
#   every row. It cannot use the linear-time sum any more, because every pair has to be weighed before it is added.
# - **FFM** ([field-aware](glossary.md#field-aware)) leaves the sum as it is and takes other vectors: a value has one
#   for each field that it may meet. That is $M$ times as many numbers; the paper makes up for it with a small $k$.
# - **AFM** gives each pair a weight that depends on the *row*, by [attention](glossary.md#attention), and these weights
#   share 1 between them.
#
# ### FFM's index
#
# FFM's table of vectors has three axes: `V[id, f]` is what the value `id` shows to field `f`. So the pair of fields
# $i < j$ counts $\langle v_{i,f(j)}, v_{j,f(i)} \rangle$: **each value by the vector that it keeps for the other one's
# field**. It is one line, and easily got wrong in a way that still trains.

# %%
rng = np.random.default_rng(0)
M, k = 4, 3
V = rng.standard_normal((12, M, k))  # (n, M, k)  12 ids of four fields, three each
# (B, M)
ids = np.array([[0, 3, 6, 9], [1, 3, 8, 10], [2, 4, 7, 9], [0, 5, 7, 11],
                [0, 3, 6, 11]])
i, j = np.triu_indices(M, 1)  # the pairs i < j, (P,) each
print("pairs:", list(zip(i.tolist(), j.tolist(), strict=True)))

# %% [markdown]
# **Exercise 1.** Every pair's product in FFM, for all rows and pairs at once, without a loop. `ids[:, i]` is (B, P).

# %% tags=["exercise"]
# Exercise 1
def ffm_pairs(V, ids, i, j):
    """V (n, M, k), ids (B, M), i and j (P,) -> (B, P): <v_{i,f(j)}, v_{j,f(i)}>."""
    return None                      # your line here

# %% tags=["check"]
# the library's layer; V[ids] is (B, M, M, k)
products = FieldAwareProducts().forward(V[ids])
check("FFM's pairs", ffm_pairs(V, ids, i, j), products, mistakes={
    "Each value came with the vector for its own field: the one for the other's is "
    "asked for.":
        (V[ids[:, i], i] * V[ids[:, j], j]).sum(axis=2),
    "Both values came with their vector for field j: the value of j has to show what "
    "it keeps for i.":
        (V[ids[:, i], j] * V[ids[:, j], j]).sum(axis=2),
    "Both values came with their vector for field i: the value of i has to show what "
    "it keeps for j.":
        (V[ids[:, i], i] * V[ids[:, j], i]).sum(axis=2),
    "That is the first value of each pair twice: the second factor is of ids[:, j].":
        (V[ids[:, i], j] * V[ids[:, i], j]).sum(axis=2)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def ffm_pairs(V, ids, i, j):
#     return (V[ids[:, i], j] * V[ids[:, j], i]).sum(axis=2)
# ```
#
# `V[ids[:, i], j]` takes, for each row and pair, the value that field $i$ has, and of it the vector for field $j$.
#
# </details>

# %% [markdown]
# The wrong versions are models too. With each value's vector for its own field, `V[id, own field]`, all other vectors
# get no gradient, and what is left is exactly FM, at $M$ times the memory. No gradient check says a word.

# %%
own = V[ids, np.arange(M)]  # (B, M, k)  the only vectors that this mistake uses
mistaken = (V[ids[:, i], i] * V[ids[:, j], j]).sum(axis=(1, 2))

# %% tags=["claims"]
# FM's second-order term
assert np.allclose(mistaken, FMPooling().forward(own).sum(axis=1))

# %% [markdown]
# ## What is crossed
#
# A sum over pairs is a polynomial of degree 2 in the vectors. Three papers go on to 3 and more.

# %%
show(HOFM, CrossNetwork, CIN)

# %% [markdown]
# (`CrossNetwork` and `CIN` are layers, which `DCN` and `XDeepFM` put beside an MLP.)
#
# - **HOFM** adds all [triples](glossary.md#triple) $\sum_{i<j<l} \langle u_i, u_j, u_l \rangle x_i x_j x_l$, with
#   vectors $u$ of their own, and again without going through them.
# - **The cross network** of DCN puts all vectors side by side into one long $x_0$, and each
#   [layer](glossary.md#cross-layer) multiplies once more by it: $x_{l+1} = x_0 (w_l \cdot x_l) + b_l + x_l$. The
#   parenthesis is *one number* a row.
# - **The [CIN](glossary.md#compressed-interaction-network)** of xDeepFM keeps vectors. Layer $l$ multiplies each vector
#   of the layer before with each field's, number by number, and compresses the products to $H_l$ sums:
#   $X^l_h = \sum_i \sum_j W^l_{hij}\, (X^{l-1}_i \circ X^0_j)$.
#
# DCN's paper first writes the cross as a matrix, $x_0 x_l^T w_l$. As it stands, from left to right, that is a matrix of
# the size of $x_0$ squared for each row. For 39 fields with $k = 16$ and batches of 4,096 rows:

# %%
long = 39 * 16                                                    # numbers in x_0
# bytes, in float32, of x_0 x_l^T and of w_l . x_l
as_matrix, as_number = 4 * 4_096 * long ** 2, 4 * 4_096
x0, xl, w = rng.standard_normal((3, 5, long))  # five rows of each, to be certain
print(f"x_0 x_l^T: {as_matrix / 1e9:.1f} GB a layer;   "
      f"w . x_l: {as_number / 1e3:.0f} kB, and the same result")

# %% tags=["claims"]
assert as_matrix > 6e9 and as_number < 2e4
assert np.allclose((x0[:, :, None] * xl[:, None, :] @ w[:, :, None])[:, :, 0],
                   x0 * (xl * w).sum(axis=1)[:, None])

# %% [markdown]
# ### The CIN's first layer
#
# In the first layer, $X^0$ stands on both sides: $X^1_h = \sum_{i,j} W_{hij}\, (e_i \circ e_j)$, with $i$ and $j$ over
# all fields. The library goes field by field, which saves memory or time. Here we may spend them.

# %%
E = V[ids][:, :, 0]                 # (B, M, k)  some vectors
W = rng.standard_normal((2, M, M))  # (H, M, M)  two sums of products

# %% [markdown]
# **Exercise 2.** The first layer of a CIN without a loop. `np.einsum` takes the formula almost as it stands.

# %% tags=["exercise"]
# Exercise 2
def cin_first_layer(E, W):
    """E (B, M, k), W (H, M, M) -> (B, H, k): sum_i sum_j W_hij (e_i * e_j)."""
    return None                      # your line here

# %% tags=["check"]
cin = CIN(M, [2], rng, dtype=np.float64)
cin.params["W_1"][:] = W
cin.forward(E)
X1 = cin.cache["X_1"]
check("the CIN's first layer", cin_first_layer(E, W), X1, mistakes={
    "The numbers of the vectors are added up: that comes later, the layer keeps them "
    "apart.": X1.sum(axis=2),
    "Only products of a field with itself are in it: i and j need letters of their "
    "own.":
        np.einsum("hii,bif,bif->bhf", W, E, E),
    "The sums over i and j are missing their products: E has to come in twice.":
        np.einsum("hij,bif->bhf", W, E),
    "Every number of e_i meets every one of e_j: they have the same letter in e_i * "
    "e_j.":
        np.einsum("hij,bif,bjg->bhf", W, E, E)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def cin_first_layer(E, W):
#     return np.einsum("hij,bif,bjf->bhf", W, E, E)
# ```
#
# </details>

# %% [markdown]
# With one sum and $W_{ij} = 1$ for $i < j$, else 0, this is FM's pooling, and its sum over $f$ is FM. A second layer
# makes degree 3 out of it, **if it multiplies with $X^0$**. Programs that multiply $X^1$ by itself go to degree 4 and
# leave 3 out. Doubling all vectors tells: a layer of degree $d$ doubles $d$ times.

# %%
only_pairs = CIN(M, [1, 1], rng, dtype=np.float64)
only_pairs.params["W_1"][0] = np.triu(np.ones((M, M)), 1)         # 1 for i < j
first, second = only_pairs.forward(E).T  # (B,) each: the sums over f of X^1 and X^2
twice_first, twice_second = only_pairs.forward(2 * E).T

# %% tags=["claims"]
assert np.allclose(first, FMPooling().forward(E).sum(axis=1))
assert np.allclose(twice_first, 2 ** 2 * first)
assert np.allclose(twice_second, 2 ** 3 * second)

# %% [markdown]
# Note what the CIN has that FM and HOFM lack: fields meet themselves ($i = j$), and every product has a weight. What it
# has not: the same vectors do for all orders, where HOFM has a table for each.
#
# ## Spot the bug: a factorization machine of any order
#
# FM's sum of pairs came from a square: $(\sum_i e_i)^2 - \sum_i e_i^2$ (notebook
# [02](02_multiply_pairs_with_fm.ipynb)). A published library offered "arbitrary order" by the same step; in NumPy, with
# rows `x` of all $n$ inputs and a table `V[order]` for each order:
#
# ```python
# for order in range(2, self.order + 1):
#     dot = (x @ V[order]) ** order
#     dot -= (x ** order) @ (V[order] ** order)
#     outputs += dot.sum(axis=1)
# ```
#
# For order 2 it gives twice the pairs, which the vectors can make up for (nothing is divided by 2). What does
# it give for order 3? Before you read on: write out $(a + b)^3 - a^3 - b^3$. The cell below
# counts; the answer is folded behind it.

# %%
def as_published(E, order):
    """The k sums of the loop above, for rows of vectors, (B, M, k) -> (B, k)."""
    return E.sum(axis=1) ** order - (E ** order).sum(axis=1)


triples = np.zeros((len(E), k))
for a in range(M):
    for b in range(a + 1, M):
        for c in range(b + 1, M):
            triples += E[:, a] * E[:, b] * E[:, c]                # e_a * e_b * e_c
two = E[:1, :2]  # one row of two fields: there is no triple
pd.DataFrame({"as published, / 6": as_published(two, 3)[0] / 6,
              "triples": TriplePooling().forward(two)[0]},
             index=[f"factor {f}" for f in range(k)]).T.round(3)

# %% tags=["claims"]
# order 2: right, but for the 2
assert np.allclose(as_published(E, 2), 2 * FMPooling().forward(E))
assert np.allclose(TriplePooling().forward(E), triples)
# order 3: wrong by more than a factor
assert not np.allclose(as_published(E, 3), 6 * triples)

# %% [markdown]
# <details><summary>Answer</summary>
#
# $3 a^2 b + 3 a b^2$: with two fields there is no triple, and it is not 0. In general
#
# $$\Bigl(\sum_i e_i\Bigr)^3 - \sum_i e_i^3
# = 6 \sum_{i<j<l} e_i \circ e_j \circ e_l + 3 \sum_{i \ne j} e_i^2 \circ e_j$$
#
# Taking away the cubes takes away the products of *three times the same* field, and leaves those with a field *twice*.
# The library's `TriplePooling` has a third term for them, $s_1^3 - 3 s_1 s_2 + 2 s_3$ with $s_p = \sum_i e_i^p$.
#
# The thread is [geffy/tffm#1](https://github.com/geffy/tffm/issues/1), "Incorrect code when order >= 3", opened by the
# first author of the HOFM paper; it was mended within a day, beginning with a test that failed. A gradient check is
# content: the gradient is right, of the wrong function. Training works too, as the extra terms are something like
# pairs. What catches it is the triple loop on three small rows, or fewer fields than the order.
#
# </details>
#
# ## What is stacked
#
# All others send vectors, or products of them, through layers with a nonlinearity.

# %%
show(NFM, family["FNN"], PNN, DeepFM, family["WideDeep"], DeepCrossing, DCN, XDeepFM,
     AutoInt)

# %% [markdown]
# Read what goes **into** `mlp.forward`, and what is **added** to its output:
#
# | model | into the MLP | beside it |
# | --- | --- | --- |
# | NFM | FM's pooled vector ($k$ numbers, whatever $M$) | $w_0 + \sum_i w_i x_i$ |
# | FNN | all weights and vectors of a trained FM | nothing |
# | PNN | all vectors and their products | nothing |
# | DeepFM | all vectors | FM |
# | Wide & Deep | all vectors | $w_0 + \sum_i w_i x_i$, and crosses that *you* name |
# | Deep Crossing | all vectors, through [residual units](glossary.md#residual-unit) | nothing |
# | DCN | all vectors | the cross network |
# | xDeepFM | all vectors | $\sum_i w_i x_i$, and the CIN |
# | AutoInt | no MLP: layers of attention between fields | (AutoInt+ has one beside it) |
#
# ## FM inside its relatives
#
# "A few lines of difference" can be tested. Train an FM. Build a relative, copy the FM's weights and vectors into it,
# and set what it has more to a neutral value. Its logits must be the FM's.

# %%
clicks = datasets.make_clicks(2_000, seed=0)
fm = FM(embedding_dim=4, epochs=3, dtype="float64").fit(clicks.X, clicks.y)
n_fields, w0 = clicks.X.shape[1], parameters(fm)["linear.w0"]
ones = np.triu(np.ones((n_fields, n_fields)), 1)                  # 1 for i < j, else 0
neutral = {  # the relative, and its parameters that FM has not
    "FwFM, r = 1": (FwFM(), {"strength.r": 1}),
    "FFM, one vector for all fields":
           (FFM(), {"embedding.V": np.tile(parameters(fm)["embedding.V"], n_fields)}),
    "AFM, even attention": (AFM(), {"attention.h": 0, "projection.p": ones.sum()}),
    "HOFM, U = 0": (HOFM(), {"triple_embedding.V": 0}),
    "NFM, no layer and h = 1": (NFM(deep_layers=()), {"mlp.out.w": 1}),
    "DeepFM, a silent MLP": (DeepFM(), {"mlp.out.w": 0, "mlp.out.b": w0}),
    "xDeepFM, no MLP, one sum of i < j": (XDeepFM(deep_layers=(), cin_layers=(1,)), {
        "cin.W_1": ones, "cin_readout.w": 1, "cin_readout.b": w0}),
}
report = {}
for name, (model, values) in neutral.items():
    model.set_params(embedding_dim=4, dtype="float64").prepare(clicks.X, clicks.y)
    arrays = parameters(model)
    for parameter, value in {**parameters(fm), **values}.items():
        if parameter in arrays:
            arrays[parameter][...] = value
    off = np.abs(model.decision_function(clicks.X)
                 - fm.decision_function(clicks.X)).max()
    report[name] = {"largest difference from FM's logit": off,
                    "parameters": sum(a.size for a in arrays.values())}
report = pd.DataFrame(report).T
report["below 1e-9"] = report.pop("largest difference from FM's logit") < 1e-9
report.astype({"parameters": int})

# %% tags=["claims"]
assert report["below 1e-9"].all()

# %% [markdown]
# All seven contain FM of the same $k$, so with their best parameters none of them *fits* worse. They may well *predict*
# worse, as they have more to get wrong from the same rows. The others have no such setting: Wide & Deep and Deep
# Crossing multiply no two fields' vectors, FNN and PNN send everything through ReLUs, the cross network multiplies with
# one vector $w_l$ for all pairs, and AutoInt multiplies vectors in its attention scores alone.
#
# ## Who sees what
#
# Three kinds of worlds, all with the same rows of `make_clicks`, and three seeds of each: a seed draws the effects, the
# rows and the models' start anew. To train fast, and to need fewer rows, we show the models four fields of eight.
#
# - **pairs**: the clicks as they are. Of the four fields, segment × category has a large effect (1.5), device ×
#   position a smaller one (0.4).
# - **a triple**: `triples=` adds a table for segment × device × position, centred so that no field and no pair has any
#   part in it.
# - **deep**: each field's values are split into two camps of about equal shares. The logit goes up by 1.5 if an odd
#   number of the four is in its first camp, and down by 1.5 if not. Whoever knows three of the camps knows next to
#   nothing: the fourth decides. (07 plants an effect of three fields in this manner.)
#
# How well could a model do that knows the truth of four fields, and nothing of the other four? Take many rows, and in
# each cell of the four fields the mean of their true probabilities. And one that knows all but the triple, or all but
# the camps? The same with the probabilities of the first world.

# %%
FIELDS = ["user_segment", "device", "ad_category", "position"]
TRIPLE = {("user_segment", "device", "position"): 1.5}
CAMPS = {"user_segment": ["student", "parent", "retired"], "device": ["phone"],
         "position": [1, 4],
         "ad_category": ["games", "travel", "fashion", "food", "finance"]}


def draw(world, n_rows, seed, rows_seed):
    """Rows of the four fields, the labels, and the true probabilities."""
    triples = TRIPLE if world == "a triple" else None
    drawn = datasets.make_clicks(n_rows, seed=seed, rows_seed=rows_seed,
                                 triples=triples)
    p, y = drawn.probability, drawn.y
    if world == "deep":
        odd = sum(drawn.X[name].isin(camp) for name, camp in CAMPS.items()) % 2
        p = 1 / (1 + np.exp(-(drawn.logit + np.where(odd, 1.5, -1.5))))
        y = (np.random.default_rng([seed, rows_seed]).random(n_rows) < p).astype(int)
    return drawn.X[FIELDS], y, p


def truth_of_four(world, seed):
    """The mean probability in each cell of the four fields: all that they say."""
    X, _, p = draw(world, 40_000, seed, rows_seed=2)
    return X.assign(p=p).groupby(FIELDS)["p"].mean()


def members(seed):
    """The family, of comparable sizes; the same settings for all, tuned for none."""
    k, deep = {"embedding_dim": 8}, {"deep_layers": (64, 32)}
    models = {"LR": family["LR"](), "FM": FM(**k), "FwFM": FwFM(**k),
              "FFM": FFM(embedding_dim=4), "AFM": AFM(**k),
              "HOFM": HOFM(**k), "cross network": DCN(**k, deep_layers=()),
              "CIN":
              XDeepFM(**k, cin_layers=(8, 8, 8), deep_layers=(), first_order=False),
              "NFM": NFM(**k, deep_layers=(64,)), "PNN": PNN(**k, **deep),
              "DeepFM": DeepFM(**k, **deep),
              "Deep Crossing": DeepCrossing(**k, **deep),
              "AutoInt": AutoInt(**k, attention_dim=4, num_layers=2)}
    return {name: model.set_params(learning_rate=0.02, epochs=8, seed=seed) for name,
            model in models.items()}


WORLDS, SEEDS = ["pairs", "a triple", "deep"], range(3)
auc, best, without = {}, {}, {}
for seed in SEEDS:
    truths = {world: truth_of_four(world, seed) for world in WORLDS}
    for world in WORLDS:
        X, y, _ = draw(world, 8_000, seed, rows_seed=0)
        X_test, y_test, _ = draw(world, 10_000, seed, rows_seed=1)
        cells = pd.MultiIndex.from_frame(X_test)
        best[world, seed], without[world, seed] = (
            metrics.auc(y_test, truths[known].reindex(cells).fillna(y.mean()))
                                                   for known in (world, "pairs"))
        for name, model in members(seed).items():
            auc[world, seed,
                name] = metrics.auc(y_test, model.fit(X, y).predict_proba(X_test)[:, 1])
        shares = [X_test[name].isin(camp).mean() for name, camp in CAMPS.items()]
        # two camps of about equal shares
        assert np.abs(np.array(shares) - 0.5).max() < 0.05
auc = pd.Series(auc).unstack()[list(members(0))]  # a line a world, a column a model
best, without = pd.Series(best), pd.Series(without)
for seed in SEEDS:
    # what is to be had without pairs
    without["pairs", seed] = auc.loc[("pairs", seed), "LR"]

# %%
figure, axes = plt.subplots(1, 3, figsize=(8.6, 4), sharey=True, layout="constrained")
for ax, world in zip(axes, WORLDS, strict=True):
    behind = auc.loc[world].sub(best[world], axis=0)
    for seed, marker in zip(SEEDS, "osv", strict=True):
        ax.plot(behind.loc[seed], behind.columns, marker, color="#0072B2", alpha=0.7,
                label=f"world {seed}")
    ax.axvline(0, color="0.3", linewidth=1, label="the truth of four fields")
    ax.axvline((without[world] - best[world]).mean(), color="#D55E00", linestyle="--",
               label="the same without the effect")
    ax.set(title=world, xlabel="test AUC minus the truth's")
    ax.grid(alpha=0.3)
axes[0].invert_yaxis()
legend = figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center",
                       ncols=5, fontsize="small")

# %% [markdown]
# *What to look at*: the solid line is the truth of four fields, as well as 40,000 rows tell it: only luck lies to its
# right. Well to the right of the dashed line, a mean over the worlds, stands only what has found something of the
# planted effect. (In the left panel the dashed line is LR, which sees no pair.)
#
# No model leads everywhere. In the middle the two with triples in their equations do; on the right one of them is back
# with FM. To compare two models, take their difference world by world, as in [08](08_compare_fairly.ipynb).

# %%
# test AUC minus FM's, in each of nine worlds
gain = auc.sub(auc["FM"], axis=0).drop(columns=["LR", "FM"])


def in_words(column):
    """Mean and range over the worlds, and in how many of them it is above 0."""
    return (f"{column.mean():+.3f}  ({column.min():+.3f} to {column.max():+.3f})  "
            f"{(column > 0).sum()} of {len(column)}")


of_pairs, deep_ones = ["FwFM", "FFM", "AFM"], ["PNN", "DeepFM", "Deep Crossing"]
in_pairs, in_triple, in_deep = (gain.loc[world] for world in WORLDS)
others = in_pairs.columns.drop("cross network")
pd.DataFrame({world: gain.loc[world].apply(in_words) for world in WORLDS})

# %% tags=["claims"]
assert (in_pairs[others].abs() < 0.03).all(axis=None)
assert (in_pairs["cross network"] < -0.02).all()
# the worlds differ by more
assert np.ptp(auc.loc["pairs", "FM"]) > in_pairs[others].abs().mean().median()
assert (in_triple[["HOFM", "CIN"]] > 0.04).all(axis=None)
assert (in_triple[of_pairs].abs() < 0.03).all(axis=None)
assert (auc.loc["a triple", ["HOFM", "CIN"]].sub(without["a triple"], axis=0)
        > 0.02).all(axis=None)
assert (auc.loc["a triple", ["FM", *of_pairs]].sub(without["a triple"], axis=0)
        < 0.01).all(axis=None)
assert (in_triple[deep_ones] > 0.02).all(axis=None)
assert (in_deep[[*of_pairs, "HOFM"]].abs() < 0.03).all(axis=None)
assert (in_deep[deep_ones] > 0.03).all(axis=None)
assert (in_deep["NFM"] > 0.03).all()
assert np.ptp(in_deep["CIN"]) > in_deep["CIN"].mean()
assert in_deep["CIN"].min() < 0.02
assert (in_pairs["FwFM"] > 0).all()
assert (in_pairs["DeepFM"] < 0).all()
assert gain["FwFM"].mean() > 0
assert (in_pairs[["FwFM", "DeepFM"]].mean().abs() < 0.01).all()
assert all(np.ptp(in_triple[name]) > in_triple[name].mean() > 0
           for name in ("NFM", "AutoInt"))

# %% [markdown]
# (Mean over three worlds, in brackets the range, and in how many of them the model is ahead of FM.)
#
# - **Pairs.** FM's own equation is right here. All but the cross network stand within 0.03 of it, and FM itself differs
#   more from world to world than most of them from it. (The cross network alone also counts all pairs, but with one
#   $w_l$ for all of them; in DCN it has an MLP beside it.) FwFM is ahead in all three worlds and DeepFM behind in all
#   three, each by less than 0.01 on average. Is that something? A model that is neither better nor worse comes out on
#   one side three times in three with probability 1/4, and this column has eleven models. FwFM is ahead in the other
#   columns as well, but behind all nine worlds are the same three seeds. So this table does not say;
#   [09](09_write_your_own_layer.ipynb) has five runs of FwFM on all fields, and there it is ahead.
# - **A triple.** HOFM and the CIN have triples in their equations, and are beyond what is to be had without the triple
#   in each world. FM, FwFM, FFM and AFM are in no world 0.01 beyond it, whatever they do with their pairs. PNN,
#   DeepFM and Deep Crossing find much of it with no triple in their equations: at least 0.02 over FM in each world. NFM
#   and AutoInt are ahead of FM too, but each one's gain varies over the worlds by more than its mean: do not call one
#   of the two the better.
# - **Deep.** HOFM is back with FM, as it sees nothing of a product of four fields (within 0.03). Those with an MLP find
#   much of it. The CIN has three layers here, so that products of four are in its equation. Whether it *finds* them
#   changes from world to world by more than its mean gain: in one of them it does not at all. What a model can express,
#   and what eight epochs from one start bring out, are two things. See AFM: in 08 it learned three switches in 15
#   epochs, here it stays with FM.
#
# HOFM can do what no MLP can: say *which* three. Its logit is a sum that has a term for each triple of each row
# (`terms()`); here is the standard deviation of each over the test rows, beside the truth.

# %%
X, y, _ = draw("a triple", 8_000, seed=0, rows_seed=0)
X_test, y_test, _ = draw("a triple", 10_000, seed=0, rows_seed=1)
hofm = members(0)["HOFM"].fit(X, y)
hofm.forward(hofm.encode(X_test, y_test)[0])
planted = datasets.make_clicks(10, triples=TRIPLE).planted_triples
planted = planted[planted[["field_i", "field_j", "field_l"]].isin(FIELDS).all(axis=1)]
found = planted.rename(columns={"value": "planted"})
found["found"] = hofm.terms()["triples"].std(axis=0)
found.round(2)

# %% tags=["claims"]
assert found["found"].idxmax() == found["planted"].idxmax()
assert found["found"].nlargest(2).iloc[0] > 1.5 * found["found"].nlargest(2).iloc[1]

# %% [markdown]
# The planted one is the largest by far (asserted). The others are not 0, where nothing was planted: the vectors that
# build one triple have a value in all others, and 8,000 rows have noise.
#
# ## Plug yours in
#
# Your line of exercise 1 in an FFM that trains beside the library's, on fields with one value a row each. (The vectors
# that a batch looked up are handed to it as a table of their own, each row's values with ids of their own.)

# %% tags=["yours"]
class YourProducts(FieldAwareProducts):
    """The library's backward, your forward."""

    def forward(self, E):
        B, M, _, k = E.shape
        own_ids = np.arange(B * M).reshape(B, M)
        out = ffm_pairs(E.reshape(B * M, M, k), own_ids, *field_pairs(M))
        self.cache = {"E": E, "out": out}
        return out


class YourFFM(FFM):
    """An FFM whose products are yours."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.products = YourProducts()


X, y, _ = draw("pairs", 4_000, seed=0, rows_seed=0)
in_float64 = {"embedding_dim": 3, "epochs": 3, "dtype": "float64"}
train_beside("FFM with your products", YourFFM(**in_float64), FFM(**in_float64), X, y);

# %% [markdown]
# ## On your own
#
# - Train for 20 epochs instead of 8, or draw 20,000 rows. Does the CIN find the camps in each world? Does AFM?
# - Give Wide & Deep the cross `("user_segment", "device", "position")` and the triple is a plain weight for each of its
#   160 cells. How far does it get, and how far with all the other pairs and triples named as well?
# - Take `DCN` with its MLP. Is it ahead of DeepFM, with the cross network in the place of FM?
# - A model of your own, made as in [09](09_write_your_own_layer.ipynb), is in `minictr.estimator.registry.MODELS` as
#   soon as its class exists. Let the first picture draw it.
#
# ## In practice
#
# - **Start with FM.** If DeepFM is not ahead of it by more than the spread, there is nothing deep to be found, or too
#   few rows to find it in.
# - **If DeepFM is ahead, ask HOFM.** Should it follow, triples are part of the reason, and it names them.
# - **Many fields**: FwFM has $M(M-1)/2$ numbers more than FM; FFM has $M$ times FM's table; a CIN's first layer has
#   $H_1 M^2$ weights. Count before you train.
# - **A paper's order of models is that of its data**: you have just seen three kinds of data, and three orders.
# - The lines: [hofm.py](../minictr/models/hofm.py), [ffm.py](../minictr/models/ffm.py),
#   [cin.py](../minictr/layers/cin.py), [cross_network.py](../minictr/layers/cross_network.py).
#
# ## Next
#
# Films, users and a model each: [with AFM](movies_with_afm.ipynb), [with AutoInt](movies_with_autoint.ipynb),
# [with DeepFM](movies_with_deepfm.ipynb).
#
# ## Further reading
#
# - M. Blondel, A. Fujino, N. Ueda, M. Ishihata, [Higher-order factorization
#   machines](https://arxiv.org/abs/1607.07195), NIPS 2016.
# - Y. Juan et al., [Field-aware factorization machines for CTR
#   prediction](https://doi.org/10.1145/2959100.2959134), RecSys 2016.
# - R. Wang et al., [Deep & cross network for ad click predictions](https://arxiv.org/abs/1708.05123), ADKDD 2017.
# - J. Lian et al., [xDeepFM](https://arxiv.org/abs/1803.05170), KDD 2018.
