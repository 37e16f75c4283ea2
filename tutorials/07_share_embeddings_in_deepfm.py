# %% [markdown]
# # Share embeddings in DeepFM
#
# **What you'll do**: join an FM and a multi-layer perceptron (MLP) at one table of vectors, write the backward pass of
# the join, train it, and plant an effect of three fields that no pair can see.
#
# **What you'll learn**
#
# - compute DeepFM's logit (Guo et al. 2017, eq. 1-4) with loops and with layers;
# - differentiate a dense layer, and a fork: an array that is used twice gets the *sum* of two gradients;
# - use extreme cases as tests (a silenced MLP must leave an FM), and see what a gradient check cannot see;
# - compare FM, MLP and both over several seeds, and say what the deep part is good for;
# - take a prediction apart when one part of it cannot be.
#
# **What you'll need**: [05](05_read_attention_honestly.ipynb) for contributions, and what it builds on:
# [02](02_multiply_pairs_with_fm.ipynb) for FM and the gradient check, [03](03_take_one_training_step.ipynb) for
# training; NumPy.
#
# **Time**: 50 minutes, exercises included. This notebook is an elective: [08](08_compare_fairly.ipynb) needs only that
# DeepFM is an FM and a network that share their vectors.

# %%
import copy
import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import (FM, DeepFM, Model, check_gradients, datasets, explain, metrics,
                     plots)
from minictr.exercises import check, several, train_beside
from minictr.layers import MLP, Embedding, FMPooling, Linear, sigmoid, sum_last

clicks = datasets.make_clicks(20_000, seed=0)
# other rows of the same world: to watch the training, and to judge it
held_out = datasets.make_clicks(5_000, seed=0, rows_seed=2)
test = datasets.make_clicks(10_000, seed=0, rows_seed=1)

# early_stopping=False: run all epochs; the weights of the best one are kept
settings = {"embedding_dim": 8, "learning_rate": 0.01, "epochs": 6,
            "early_stopping": False}
deep = {"deep_layers": (64, 32)}
watched = (held_out.X, held_out.y)
deepfms = [DeepFM(**settings, **deep, seed=seed).fit(clicks.X, clicks.y,
                                                     validation=watched)
           for seed in range(3)]

# %% [markdown]
# ## Two towers on one table
#
# DeepFM adds up an FM and an MLP. Both get the same $e_i = v_i x_i$ (Guo et al. 2017):
#
# $$s = s_{FM} + s_{DNN} \qquad \text{(eq. 1, before its sigmoid)}$$
# $$s_{FM} = \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j \rangle\, x_i x_j \qquad \text{(eq. 2)}$$
# $$a^0 = [e_1; \ldots; e_M], \quad a^{l+1} = \text{ReLU}(a^l W^l + b^l), \quad
#   s_{DNN} = w \cdot a^L + b \qquad \text{(eq. 3-4)}$$
#
# (The logit $s$ is the paper's $y$ before its sigmoid; $y$ is the label here. And the $L$ in $a^L$ is the number of
# hidden layers, not the loss.) There is no $w_0$: the MLP's last bias $b$ does its work. $[\ldots;\ldots]$ puts vectors
# one after another, so $a^0$ has $M k$ numbers. Slowly, for one row, with nothing but loops above the vectors:

# %%
def deepfm_slowly(model, row):
    """The logit of one row, eq. 1-4 with loops over fields, pairs and units."""
    slots = model.encoder_.encode(row)
    e = model.embedding.forward(slots)[0].astype(np.float64)      # (M, k)
    s_FM = float(model.linear.forward(slots)[0])                  # sum_i w_i x_i
    for i in range(len(e)):
        for j in range(i + 1, len(e)):
            s_FM += sum(e[i, f] * e[j, f] for f in range(e.shape[1]))
    a = [number for vector in e for number in vector]  # a^0 = [e_1; ...; e_M]
    for dense in model.mlp.dense:
        W, b = dense.params["W"], dense.params["b"]
        a = [max(0.0, sum(a[s] * W[s, u] for s in range(len(a))) + b[u])
             for u in range(len(b))]
    w, b = model.mlp.out.params["w"], model.mlp.out.params["b"]
    return s_FM + sum(w[u] * a[u] for u in range(len(a))) + b[0]


model = deepfms[0]
slow = [deepfm_slowly(model, test.X[row:row + 1]) for row in range(3)]
off = np.abs(slow - model.decision_function(test.X[:3])).max()
print(f"loops {np.round(slow, 3)}; minictr's, to 1e-4: {off < 1e-4}")

# %% tags=["claims"]
assert off < 1e-4  # the model computes in float32

# %% [markdown]
# ## Backward through a dense layer
#
# One layer of the MLP is $z = x W + b$, $out = \text{ReLU}(z)$: with $r$ a row, $z_{ru} = \sum_c x_{rc} W_{cu} + b_u$.
# As ever, the shapes decide which transpose goes where: dW must look like W, dx like x. Before you write it, numerical
# derivatives to compare with, of $L = \sum out \circ dout$ with a random dout:

# %%
rng = np.random.default_rng(1)
x, W = rng.standard_normal((5, 4)), rng.standard_normal((4, 3))
b = rng.standard_normal(3)
dout = rng.standard_normal((5, 3))


def numeric_gradient(loss, array, eps=1e-6):
    """dL/darray by central differences; loss() reads the array while it is moved."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        start = array[index]
        array[index] = start + eps
        above = loss()
        array[index] = start - eps
        gradient[index] = (above - loss()) / (2 * eps)
        array[index] = start
    return gradient


def dense_loss():
    return np.sum(np.maximum(x @ W + b, 0) * dout)


numeric = {name: numeric_gradient(dense_loss, array)
           for name, array in (("dW", W), ("db", b), ("dx", x))}

# %% tags=["claims"]
assert np.abs(x @ W + b).min() > 1e-3  # no input of the ReLU is at its kink

# %% [markdown]
# **Exercise 1.** The backward pass of out = relu(x W + b). `x` is (B, n_in), `W` (n_in, n_out), `out` and `dout`
# (B, n_out).

# %% tags=["exercise"]
# Exercise 1
def dense_backward(dout, x, W, out):
    """-> dW (n_in, n_out), db (n_out,), dx (B, n_in)."""
    return None                      # your lines here; end with: return dW, db, dx

# %% tags=["check"]
answer = dense_backward(dout.copy(), x.copy(), W.copy(), np.maximum(x @ W + b, 0))


def with_dz(dz):
    """The three gradients that follow from a dz."""
    return {"dW": x.T @ dz, "db": dz.sum(axis=0), "dx": dz @ W.T}


wrong = {
    "The ReLU is missing: nothing flows back where it is closed.": with_dz(dout),
    "The ReLU is closed where its input is not above 0, whatever comes back: look at "
    "out, not at dout.": with_dz(dout * (dout > 0)),
    "The ReLU is closed where x W + b is not above 0; this forgets b. (out has it in.)":
    with_dz(dout * (x @ W > 0)),
    "The loss alone divides by the number of rows: take the sum over rows.":
    {name: target / len(x) for name, target in numeric.items()}}
for (name, target), yours in zip(numeric.items(), several(answer, *numeric),
                                 strict=True):
    check(name, yours, target,
          mistakes={text: bad[name] for text, bad in wrong.items()})

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def dense_backward(dout, x, W, out):
#     dz = dout * (out > 0)  # (B, n_out)     out = relu(z)
#     dW = x.T @ dz          # (n_in, n_out)  z = x W + b
#     db = dz.sum(axis=0)    # (n_out,)
#     dx = dz @ W.T          # (B, n_in)
#     return dW, db, dx
# ```
#
# </details>

# %% [markdown]
# ## The fork
#
# Now the step that gives this notebook its name. $E$ goes into both towers:
#
# ```
#             ┌─ FM:   sum over pairs ─────┐
#   V ─▶ E ───┤                            ├─▶ + ─▶ s
#             └─ MLP:  [e_1; …; e_M] ──────┘
# ```
#
# If $E$ moves a little, by $\delta E$, then $s$ moves through both:
#
# $$\delta s = \langle \partial s_{FM}/\partial E,\, \delta E \rangle +
#   \langle \partial s_{DNN}/\partial E,\, \delta E \rangle$$
#
# So where the forward pass *copies* an array to two users, the backward pass *adds* what comes back from them. (And
# where the forward pass adds, $s = s_{FM} + s_{DNN}$, the backward pass copies: both towers get the same dL/ds.) The
# two layers below have run forward on a small E.

# %%
rng = np.random.default_rng(2)
E = rng.standard_normal((3, 4, 2))                                # (B, M, k)
pooling, mlp = FMPooling(), MLP(4 * 2, [5], rng=np.random.default_rng(3),
                                dtype=np.float64)
ds = rng.standard_normal(3)                                       # (B,)


def two_towers():
    """Logits (B,) from E, without the first-order term, which does not depend on E."""
    return sum_last(pooling.forward(E)) + mlp.forward(E.reshape(3, -1))


numeric_dE = numeric_gradient(lambda: np.sum(two_towers() * ds), E)
logits = two_towers()                                     # leaves E's caches in both

# %% [markdown]
# **Predict** before you write: if one tower's gradient were forgotten, which of the model's arrays would get a wrong
# gradient, and would the training loss still fall?
#
# **Exercise 2.** dL/dE. `pooling.backward` takes the gradient (B, k) of its output, `mlp.backward` that of its logit,
# (B,).

# %% tags=["exercise"]
# Exercise 2
def towers_backward(ds, pooling, mlp, shape):
    """ds (B,), shape = (B, M, k) -> dE (B, M, k)."""
    return None                      # your lines here

# %% tags=["check"]
dE_FM = pooling.backward(np.repeat(ds[:, None], 2, axis=1))
check("dE", towers_backward(ds, pooling, mlp, E.shape), numeric_dE,
      mistakes={"The MLP's gradient is missing.": dE_FM,
                "The FM's gradient is missing.": numeric_dE - dE_FM,
                "Both gradients are there, but their mean is taken: a fork adds.":
                numeric_dE / 2});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def towers_backward(ds, pooling, mlp, shape):
#     B, M, k = shape
#     dpooled = np.repeat(ds[:, None], k, axis=1)  # (B, k)     s_FM = sum_f pooled_f
#     dE_FM = pooling.backward(dpooled)            # (B, M, k)
#     dE_DNN = mlp.backward(ds).reshape(B, M, k)   # (B, M, k)  a^0 = [e_1; ...; e_M]
#     return dE_FM + dE_DNN                        # E feeds two towers: add
# ```
#
# </details>

# %% [markdown]
# What if one of the two is forgotten? Here are DeepFMs that forget, beside the real one, under the gradient check of
# [02](02_multiply_pairs_with_fm.ipynb). Watch the line `embedding.V`.

# %%
class ForgetsTheMLP(DeepFM):
    """DeepFM whose vectors learn from the FM alone."""

    def backward(self, ds):
        self.mlp.backward(ds)
        self.linear.backward(ds)
        dpooled = np.repeat(ds[:, None], self.embedding_dim, axis=1)
        self.embedding.backward(self.pooling.backward(dpooled))


class ForgetsTheFM(DeepFM):
    """DeepFM whose vectors learn from the MLP alone."""

    def backward(self, ds):
        self.linear.backward(ds)
        dE = self.mlp.backward(ds).reshape(len(ds), -1, self.embedding_dim)
        self.embedding.backward(dE)


reports = {}
for kind in (DeepFM, ForgetsTheMLP, ForgetsTheFM):
    small = kind(embedding_dim=2, deep_layers=(3,), dtype="float64")
    small.prepare(clicks.X[:200], clicks.y[:200])
    # redraw: weights large enough to stay off the ReLU's kink
    reports[kind.__name__] = check_gradients(small, small.encoder_.encode(clicks.X[:4]),
                                             redraw=0.5)
print("DeepFM:", reports["DeepFM"])
print("\nForgetsTheMLP:", reports["ForgetsTheMLP"])

# %% tags=["claims"]
assert reports["DeepFM"].passed
for name in ("ForgetsTheMLP", "ForgetsTheFM"):
    failing = [line["name"] for line in reports[name].arrays if line["allowance"] > 1]
    assert failing == ["embedding.V"]

# %% [markdown]
# One array fails, `embedding.V`, which lies behind the fork; all others are right. Would you have noticed without the
# check? Train one, and the loss falls, as you will see further down. A gradient that points roughly the right way is
# the most patient kind of bug.

# %% [markdown]
# **To touch**: one training step of a trained DeepFM, in which every number says which numbers made it, and each can be
# changed. In a terminal, `minictr trace --model deepfm --out steps` writes it as a page: steps/step.html.
#
# Here is the fork: one number of $\partial L/\partial e_i$ is the sum of two, one from each tower. Point at a number of
# $e_i$ and let all that depends on it light up: what does it reach through the FM, and what through the MLP?

# %% [markdown]
# ## Test by extreme cases
#
# A second kind of test needs no derivative: choose weights for which the answer is known. If the MLP adds nothing,
# DeepFM must be an FM (whose $w_0$ is the MLP's last $b$). Which weights have to be zero for that?
#
# **Exercise 3.** Change a trained DeepFM so that its deep part is the constant b, and return it. Several ways are
# right: which changes the fewest numbers? Change arrays in place: `model.mlp.dense[l].params["W"]` and `["b"]` are the
# hidden layers, `model.mlp.out.params["w"]` and `["b"]` read them out.

# %% tags=["exercise"]
# Exercise 3
def silence_deep_part(model):
    """Set to zero what it takes, and return the model."""
    return None                      # your lines here

# %% tags=["check"]
rows = test.X[:50]
few = model.encoder_.encode(rows)
vectors = model.embedding.forward(few).astype(np.float64)     # (B, M, k)
fm_logit = model.linear.forward(few).astype(np.float64)       # (B,)  sum_i w_i x_i
for i in range(8):
    for j in range(i + 1, 8):
        fm_logit += (vectors[:, i] * vectors[:, j]).sum(axis=1)     # <v_i, v_j> x_i x_j
last_b = float(model.mlp.out.params["b"][0])
silenced = silence_deep_part(copy.deepcopy(model))
half_silent = copy.deepcopy(model)
for dense in half_silent.mlp.dense:
    dense.params["W"][...] = 0
check("a silenced DeepFM",
      silenced.decision_function(rows) if isinstance(silenced, DeepFM) else silenced,
      fm_logit + last_b, tolerance=1e-4, mistakes={
          "All hidden W are 0, but not the hidden b: they still reach the logit.":
          half_silent.decision_function(rows),
          "The last b is gone too: it is what the paper has in place of w_0.": fm_logit,
          "Nothing has changed.": model.decision_function(rows)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# The last weights are enough: whatever $a^L$ is, $w \cdot a^L = 0$. Zeros in a hidden `W` alone leave the biases,
# which training has moved.
#
# ```python
# def silence_deep_part(model):
#     model.mlp.out.params["w"][...] = 0
#     return model
# ```
#
# </details>

# %% [markdown]
# ## Spot the bug
#
# One more DeepFM, in our own code, after an example of [MatrixSlow](https://github.com/zc911/MatrixSlow), a NumPy
# framework made for teaching:

# %%
class PublishedDeepFM(DeepFM):
    """The deep tower as a teaching example has it."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.mlp = MLP(self.embedding_dim, self.deep_layers, rng, dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)
        s_FM = self.linear.forward(slots) + sum_last(self.pooling.forward(E))
        return s_FM + self.mlp.forward(E.sum(axis=1))             # (B,)

    def backward(self, ds):
        M = self.pooling.cache["E"].shape[1]
        dsum = self.mlp.backward(ds)                              # (B, k)
        dE_DNN = np.repeat(dsum[:, None], M, axis=1)              # (B, M, k)
        dpooled = np.repeat(ds[:, None], self.embedding_dim, axis=1)
        dE_FM = self.pooling.backward(dpooled)
        self.embedding.backward(dE_FM + dE_DNN)                   # two towers: add
        self.linear.backward(ds)


small = PublishedDeepFM(embedding_dim=2, deep_layers=(3,), dtype="float64")
small.prepare(clicks.X[:200], clicks.y[:200])
report = check_gradients(small, small.encoder_.encode(clicks.X[:4]), redraw=0.5)
print("gradient check passed:", report.passed)

published = [PublishedDeepFM(**settings, **deep, seed=seed) for seed in range(3)]
for network in published:
    network.fit(clicks.X, clicks.y, validation=watched)


def test_loss(model, y=test.y):
    """Log loss on the test rows."""
    return metrics.log_loss(y, sigmoid(model.decision_function(test.X)))


losses = pd.DataFrame({"DeepFM": [test_loss(model) for model in deepfms],
                       "published": [test_loss(model) for model in published]})
losses.rename_axis("seed").round(4)

# %% tags=["claims"]
assert report.passed
assert abs(losses["published"].mean() - losses["DeepFM"].mean()) < 0.012
# at least once it is even the better one
assert (losses["published"] < losses["DeepFM"]).any()

# %% [markdown]
# **Question.** The gradient check passes, and the test loss of three seeds is about the same. What differs from eq. 3,
# what has the model lost by it, and which test would have shown it? The next cell helps; the answers are folded
# behind it.
#
# **And the FM part?** The example (MatrixSlow, chapter 6, `deepfm.py`) also takes the square of that same sum,
# $\lVert \sum_i e_i \rVert^2$, for its FM part. Another example of the same chapter puts the vectors one after another,
# and squares that, $\lVert [e_1; \ldots; e_M] \rVert^2$. Which pairs are in the one, and which in the other?

# %%
for name, fitted, is_told in (("DeepFM", deepfms[0], True),
                              ("published", published[0], False)):
    vectors = fitted.embedding.forward(few)           # (B, M, k)
    exchanged = vectors[:, [1, 0, 2, 3, 4, 5, 6, 7]]  # e_1 and e_2 change places
    before, after = (fitted.mlp.forward(v.reshape(50, -1) if is_told else v.sum(axis=1))
                     for v in (vectors, exchanged))
    change = np.abs(after - before).max()
    assert (change > 0.1) == is_told and (is_told or change < 1e-4)
    print(f"{name:<10} exchanging e_1 and e_2 moves the deep part:",
          bool(change > 1e-4))

# the two FM parts: the square of the sum, and the square of the vectors put one after
# another
# (B,) each
pairs, squares = sum_last(FMPooling().forward(E)), (E ** 2).sum(axis=(1, 2))

# %% tags=["claims"]
assert np.allclose((E.sum(axis=1) ** 2).sum(axis=1), 2 * pairs + squares)
assert np.allclose((E.reshape(3, -1) ** 2).sum(axis=1), squares)

# %% [markdown]
# <details><summary>Answer: the deep tower</summary>
#
# The MLP gets the *sum* of the vectors, not one after another. A sum forgets who brought what: exchange the vectors of
# two fields and the MLP cannot tell. It has to squeeze all fields into $k$ numbers, where the paper's has $M k$.
#
# The gradient check is content, since `backward` fits this `forward`. The loss is content, since the FM part does most
# of the work in a world of pairs. More than that: in at least one of the three seeds (asserted; in the table above, in
# two) the published model is the *better* one. A bug may well lower the loss, and that is the strongest reason why a
# loss is no test of whether a program does what its paper says. The silenced MLP of exercise 3 is content as well: it
# switches off the very part that is wrong. What shows it: the literal loops at the top, a look at the shapes (the first
# hidden W has $k$ rows, not $M k$), or the exchange of two vectors, which the cell above tries.
#
# </details>
#
# <details><summary>Answer: the FM part</summary>
#
# The first is twice all pairs plus every $\lVert e_i \rVert^2$: too much. The second is every $\lVert e_i \rVert^2$
# and no pair at all. The cell above checks both (asserted). There, the silenced MLP *is* the test that
# shows it.
#
# </details>
#
# ## What no pair can see
#
# What is the deep part for? In the world so far there is nothing to find beyond pairs. So we plant something: an
# effect of *three* fields. Every user segment, device and ad category gets a sign, and the product of the three signs
# is added to the logit. In each field, half of the impressions have a plus. So whatever two of the fields are, the
# third makes the product plus or minus equally often: any *two* fields say nothing about it.
#
# **Predict**: with 20,000 rows, which of the three gets nearest to the best possible loss, an FM, an MLP on the same
# vectors, or both? And in the world without the third order?

# %%
# half of the rows each
PLUS = {"user_segment": ["student", "commuter", "traveller"], "device": ["phone"],
        "ad_category": ["games", "travel", "fashion", "food", "finance"]}


def third_order(X):
    """+1 or -1 for each row: the product of three fields' signs."""
    return np.prod([np.where(X[field].isin(values), 1, -1)
                    for field, values in PLUS.items()], axis=0)


def with_third_order(data, seed):
    """Labels with the effect of three fields in the logit; the best possible loss."""
    p_click = sigmoid(data.logit + third_order(data.X))
    y = (np.random.default_rng(seed).random(len(p_click)) < p_click).astype(int)
    return y, metrics.log_loss(y, p_click)


y_train, _ = with_third_order(clicks, seed=0)
y_held_out, best_loss = with_third_order(held_out, seed=1)
y_test, _ = with_third_order(test, seed=2)
print(f"clicks: {y_train.mean():.1%} of the impressions, {clicks.y.mean():.1%} before")

# %% tags=["claims"]
product = third_order(clicks.X)
assert abs(product.mean()) < 0.03
for one, two in (("user_segment", "device"), ("user_segment", "ad_category"),
                 ("device", "ad_category")):
    signs = [clicks.X[name].isin(PLUS[name]) for name in (one, two)]
    # two fields: nothing
    assert pd.Series(product).groupby(signs).mean().abs().max() < 0.05

# %% [markdown]
# Three models, in both worlds, with three seeds each: the FM alone, the MLP alone, and both. So that the only
# difference is the pairs and the MLP, each has the first-order terms $w_i x_i$. An MLP alone is not among minictr's
# models, but its parts are, and a model is their order, once forwards and once backwards:

# %%
@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class DNN(Model):
    """DeepFM without its pairs: s = sum_i w_i x_i + MLP([e_1; ...; e_M])."""

    embedding_dim: int = 8
    deep_layers: tuple = (64, 32)

    def build(self, n, M, rng):
        self.linear = Linear(n, bias=False, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.mlp = MLP(M * self.embedding_dim, self.deep_layers, rng, dtype=self.dtype)

    def forward(self, slots):
        E = self.embedding.forward(slots)                         # (B, M, k)
        s_DNN = self.mlp.forward(E.reshape(len(E), -1))
        return self.linear.forward(slots) + s_DNN                 # (B,)

    def backward(self, ds):
        self.linear.backward(ds)
        dE = self.mlp.backward(ds)                                # (B, M k)
        self.embedding.backward(dE.reshape(len(dE), -1, self.embedding_dim))

    def bias(self):
        return self.mlp.out.params["b"]


worlds = {"pairs only": (clicks.y, held_out.y, test.y, held_out.best_log_loss),
          "pairs and a third order": (y_train, y_held_out, y_test, best_loss)}
kinds = {"FM alone": lambda seed: FM(**settings, seed=seed),
         "MLP alone": lambda seed: DNN(**settings, seed=seed),
         "DeepFM": lambda seed: DeepFM(**settings, **deep, seed=seed)}
# these are there already
fits = {("pairs only", "DeepFM", seed): deepfms[seed] for seed in range(3)}
for world, (y, y_watched, _, _) in worlds.items():
    for kind, make in kinds.items():
        for seed in range(3):
            if (world, kind, seed) not in fits:
                fits[world, kind, seed] = make(seed).fit(
                    clicks.X, y, validation=(held_out.X, y_watched))

# %%
mean_curve = {}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for ax, (world, (_, _, _, floor)) in zip(axes, worlds.items(), strict=True):
    for kind, style in zip(kinds, ("o-", "s--", "D-."), strict=True):
        # (seeds, epochs)
        curves = np.array([fits[world, kind, seed].history_["val_loss"]
                           for seed in range(3)])
        mean_curve[world, kind] = curves.mean(axis=0)
        epochs = np.arange(1, curves.shape[1] + 1)
        ax.plot(epochs, mean_curve[world, kind], style, label=kind, markersize=4)
        ax.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), alpha=0.15)
    ax.axhline(floor, color="grey", linestyle=":", label="the world's own formula")
    ax.set(title=world, xlabel="epoch")
axes[0].set_ylabel("log loss on held-out rows")
legend = axes[0].legend(fontsize=8)

fm_curve, mlp_curve, both_curve = (mean_curve["pairs and a third order", kind]
                                   for kind in kinds)

# %% tags=["claims"]
# with an FM beside it, the MLP gets there sooner
assert (both_curve < mlp_curve - 0.005)[1:4].all()
assert abs(fm_curve[-1] - fm_curve[3]) < 0.01                     # the FM has stopped

# %% [markdown]
# **What to look at.** Lines are means of three seeds, bands go from the smallest to the largest. On the left FM ends
# lowest, DeepFM a little above, the MLP alone highest (asserted below, on test rows). On the right the FM stops early
# and stays: what is left to learn is not in any pair. Both models with an MLP fall below it, the one with an FM beside
# it sooner. In numbers, on the test rows (each model with the weights of its best epoch):

# %%
judged = pd.DataFrame({world: {kind: np.mean([test_loss(fits[world, kind, seed], y)
                                              for seed in range(3)])
                               for kind in kinds}
                       for world, (_, _, y, _) in worlds.items()})
plain, third = (judged[world] for world in worlds)

follows = pd.DataFrame(index=range(3), columns=list(kinds), dtype=float)
for kind in kinds:
    for seed in range(3):
        s = fits["pairs and a third order", kind, seed].decision_function(test.X)
        follows.loc[seed, kind] = np.corrcoef(s, third_order(test.X))[0, 1]
judged.assign(**{"follows the product of signs": follows.mean()}).round(3)

# %% tags=["claims"]
# only with an MLP is the third order seen
assert third["FM alone"] > third["DeepFM"] + 0.015
assert third["FM alone"] > third["MLP alone"] + 0.008
# for pairs, the product is the better tool here
assert plain["FM alone"] < plain["DeepFM"] < plain["MLP alone"]
# and the deep part costs or brings little
assert abs(plain["FM alone"] - plain["DeepFM"]) < 0.015
assert follows["FM alone"].abs().max() < 0.05 and follows["DeepFM"].min() > 0.2

# %% [markdown]
# The last column is the correlation of the logit with the product of signs: none for the FM (asserted: below 0.05 for
# each seed), clearly some for DeepFM (above 0.2). So in this world, with this budget, the deep part earns its place;
# where there are only pairs it changes little (asserted: within 0.015 of the FM). Which of the two your data is, only
# a comparison on your data tells: [08](08_compare_fairly.ipynb).
#
# And the one that forgot a gradient? Its MLP still trains, on vectors made by and for the FM alone:

# %%
forgetful = [ForgetsTheMLP(**settings, **deep, seed=seed) for seed in range(3)]
for network in forgetful:
    network.fit(clicks.X, y_train, validation=(held_out.X, y_held_out))
forgetful_loss = np.mean([test_loss(model, y_test) for model in forgetful])
print(f"DeepFM {third['DeepFM']:.3f}, the forgetful one {forgetful_loss:.3f}, "
      f"FM {third['FM alone']:.3f}")

# %% tags=["claims"]
for model in forgetful:
    # it looks like any healthy training
    assert model.history_["train_loss"].is_monotonic_decreasing
assert third["DeepFM"] < forgetful_loss < third["FM alone"] - 0.01

# %% [markdown]
# Its training loss falls in every epoch, and it ends between the FM and the real DeepFM (both asserted, the mean of
# three seeds). Nobody would look for a bug there. The gradient check did, in a fraction of a second.
#
# ## Take a prediction apart, as far as it goes
#
# An FM's logit is a sum over fields and pairs ([contributions](glossary.md#contribution)). DeepFM's is that sum plus
# one number, the deep part, which is not a sum over fields.

# %%
model = fits["pairs and a third order", "DeepFM", 0]
bill = explain.contributions(model, test.X[:1])
ax = plots.waterfall(bill, top=8,
                     ax=plt.subplots(figsize=(7.5, 4), layout="constrained")[1])

# %% tags=["claims"]
assert np.isclose(bill["value"].sum(), model.decision_function(test.X[:1])[0],
                  atol=1e-4)

# %% [markdown]
# **What to look at.** Bias (the MLP's last $b$), fields, pairs, and one bar *deep part* ($w \cdot a^L$): they add up to
# the logit (asserted). The paper's picture of two towers is this bill. It does not mean that the deep part holds the
# third order and the FM part the pairs: nothing in training says so, and an MLP can do pairs too. We can ask, though,
# where the planted product of signs went.

# %%
shares = []
for seed in range(3):
    terms = explain.contributions(fits["pairs and a third order", "DeepFM", seed],
                                  test.X, wide=True)
    deep_part, pair_part = terms["deep part"].to_numpy(), terms["pair"].sum(axis=1)
    shares.append({"deep part": np.corrcoef(deep_part, third_order(test.X))[0, 1],
                   "pair terms": np.corrcoef(pair_part, third_order(test.X))[0, 1]})
shares = pd.DataFrame(shares).rename_axis("seed")

effects = explain.interaction_effects(model, test.X, background=500, partners=4)
listed = explain.pair_importance(model, test.X)
shares.round(2)

# %% tags=["claims"]
assert shares["deep part"].min() > 0.25 and shares["pair terms"].abs().max() < 0.1
for table in (effects, listed):
    first = table.loc[table["value"].idxmax()]
    assert (first["field_i"], first["field_j"]) == ("user_segment", "ad_category")

# %% [markdown]
# The product of three signs is in the deep part, and not in the pair terms (asserted, three seeds). The second is no
# finding but a sanity check: by construction of the signs, no sum over pairs can follow their product. For what *pairs*
# do in a DeepFM, `explain.pair_importance` sees the terms of pairs alone (its `attrs["note"]` says so), which are the
# FM's; the [interaction effect](glossary.md#interaction-effect) asks the whole model. Here both put user_segment ×
# ad_category first (asserted).
#
# **Question.** Effects to see: *phones at night*; *the same, but only for students*; *a user who buys more, whatever is
# shown*. Which of the four parts of a DeepFM's logit (bias, first-order weights, pairs, deep part) can hold each, and
# which is the smallest that can?
#
# <details><summary>Answer</summary>
#
# Phones at night are a pair: the pair term can, and the deep part can too. Students' phones at night are three fields:
# only the deep part. A user who buys more is one field: its first-order weight is enough, but pairs can hold it as well
# (if a vector has a part that all others share), and so can the deep part. The bias holds none, as it knows no field. A
# bill's blocks say what the parts of the model did, not what there was to find.
#
# </details>
#
# ## Plug yours in
#
# Your backward of the dense layer and your fork, in a DeepFM that trains beside the library's:

# %% tags=["yours"]
class YourMLP(MLP):
    """The library's forward; backwards through your dense layers."""

    def backward(self, ds):
        da = self.out.backward(ds)
        for dense in reversed(self.dense):
            x, (W, b) = dense.cache["x"], dense.params.values()
            out = np.maximum(x @ W + b, 0)
            dense.grads["W"], dense.grads["b"], da = dense_backward(da, x, W, out)
        return da


class YourDeepFM(DeepFM):
    """The library's forward; backwards through your fork."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.mlp.__class__ = YourMLP                              # the weights stay

    def backward(self, ds):
        shape = self.pooling.cache["E"].shape
        dE = towers_backward(ds, self.pooling, self.mlp, shape)
        self.embedding.backward(dE)
        self.linear.backward(ds)


in_float64 = {**settings, **deep, "epochs": 3, "dtype": "float64"}
train_beside("DeepFM with your backward", YourDeepFM(**in_float64),
             DeepFM(**in_float64), clicks.X[:5_000], clicks.y[:5_000]);

# %% [markdown]
# ## On your own
#
# - Plant the product of *four* signs. Does DeepFM still find it with 20,000 rows? With `deep_layers=(256, 128, 64)`?
# - Give the two towers a table of vectors each (two `Embedding` layers in a model of your own). What happens to the
#   number of parameters, to the loss in both worlds, and to the fork?
# - Train `ForgetsTheFM` in the world of pairs. Which of the two forgetful ones is worse there, and why?
#
# ## In practice
#
# - **When to use it**: many rows, and effects of more than two fields to be expected; it is a common first deep model.
#   When not: few rows, or when every prediction has to be explained term by term. Then an FM is the better choice.
# - Dropout: the paper's number is the share *kept*, minictr's `dropout` (like PyTorch's) the share *dropped*.
# - A well-known TensorFlow version reads the logit out of the joined first-order, second-order and deep outputs by
#   learned weights instead of eq. 1's sum; its users asked about it in
#   [ChenglongChen/tensorflow-DeepFM#9](https://github.com/ChenglongChen/tensorflow-DeepFM/issues/9) (answer: a
#   generalisation, on purpose) and [#62](https://github.com/ChenglongChen/tensorflow-DeepFM/issues/62). Know which one
#   you compare with.
# - The MLP holds most of the arithmetic, the table most of the numbers. With a million ids, $n (k + 1)$ is all that
#   counts.
# - The code: [deepfm.py](../minictr/models/deepfm.py), [dense.py](../minictr/layers/dense.py); formulas in the
#   [cheat sheet](cheat_sheet.md).
#
# ## Next
#
# [08: Compare fairly](08_compare_fairly.ipynb): seeds, splits and intervals, before anybody says "A beats B".
#
# ## Further reading
#
# - H. Guo et al., *DeepFM: A Factorization-Machine based Neural Network for CTR Prediction*, IJCAI 2017,
#   [arXiv:1703.04247](https://arxiv.org/abs/1703.04247).
# - H.-T. Cheng et al., *Wide & Deep Learning for Recommender Systems*, 2016,
#   [arXiv:1606.07792](https://arxiv.org/abs/1606.07792): two towers that share nothing.
