# %% [markdown]
# # Multiply pairs with a factorization machine
#
# **What you'll do**: write the factorization machine (FM), forwards and backwards, and watch it find which pairs of
# fields matter.
#
# **What you'll learn**
# - show why logistic regression cannot see a [pair](glossary.md#pair) of fields
# - sum all pairs of vectors in time linear in the number of fields, and derive why that works
# - write this sum as a layer of your own, whose backward pass passes a [gradient check](glossary.md#gradient-check)
# - bring the gradients of a [batch](glossary.md#batch) back to the rows of the table that they belong to, where
#   published code goes wrong
#
# **What you'll need**: [01](01_predict_a_click.ipynb) (ids, first-order weights, log loss), NumPy.
#
# **Time**: 40 minutes, exercises included.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import FM, LR, check_gradients, datasets, explain, metrics
from minictr.exercises import check, train_beside
from minictr.layers import Embedding, FMPooling, Layer, field_pairs
from minictr.slots import Slots

plt.rcParams["figure.dpi"] = 72                                   # small pictures
clicks = datasets.make_clicks(20_000, seed=0)
test = datasets.make_clicks(20_000, seed=0, rows_seed=1)  # other rows of the same world
lr = LR(epochs=5, seed=0).fit(clicks.X, clicks.y)
lr_auc = metrics.auc(test.y, lr.predict_proba(test.X)[:, 1])
print(f"test AUC: logistic regression {lr_auc:.3f}, the best possible "
      f"{test.best_auc:.3f}")

# %% tags=["claims"]
assert lr_auc < test.best_auc - 0.15

# %% [markdown]
# Logistic regression of notebook 01 is far from the best [AUC](glossary.md#auc) that this world allows. (It has all
# eight fields this time, where 01 used six: hence a slightly higher AUC than there, and more ids below.) What does it
# miss? Take two [fields](glossary.md#field), the user's segment and the ad's category, and compare the share of
# clicks with the mean prediction, cell by cell.

# %%
def click_rates(*columns):
    """Mean of each column for every segment (rows) and category (columns)."""
    cells = [test.X["user_segment"], test.X["ad_category"]]
    return [pd.Series(column).groupby(cells).mean().unstack() for column in columns]


def draw_rates(**rates):
    """Heat maps side by side on one colour scale; names above them."""
    figure, axes = plt.subplots(1, len(rates), figsize=(8, 3.6), sharey=True,
                                layout="constrained")
    for ax, (title, table) in zip(axes, rates.items(), strict=True):
        image = ax.imshow(table, cmap="cividis", vmin=0, vmax=0.8)
        ax.set_xticks(range(table.shape[1]), table.columns, rotation=90)
        ax.set_yticks(range(table.shape[0]), table.index)
        ax.set_title(title.replace("_", " "), fontsize=10)
    figure.colorbar(image, ax=axes, label="share of clicks", shrink=0.7)


observed, by_lr = click_rates(test.y, lr.predict_proba(test.X)[:, 1])
draw_rates(observed=observed, predicted_by_logistic_regression=by_lr)

# %% tags=["claims"]
assert observed.to_numpy().std() > 2.5 * by_lr.to_numpy().std()

# %% [markdown]
# *What to look at*: on the left, some segments love some categories, and no row or column of the table says which. On
# the right, every row is like every other, a little lighter or darker.
#
# The reason is in the [logit](glossary.md#logit), $s = w_0 + w_{\text{segment}} + w_{\text{category}} + \dots$
#
# **Predict.** Take one row, put each of the ten categories into it, and each time ask the model for the logit of a
# parent minus that of a gamer. What do the ten numbers look like?

# %%
categories = sorted(test.X["ad_category"].unique())


def segment_gap(model):
    """Logit of a parent minus that of a gamer, all else equal, by category: (10,)."""
    rows = pd.concat([test.X[:1]] * len(categories), ignore_index=True)
    parent, gamer = (rows.assign(ad_category=categories, user_segment=segment)
                     for segment in ("parent", "gamer"))
    return model.decision_function(parent) - model.decision_function(gamer)


gaps = pd.DataFrame({"logistic regression": segment_gap(lr)}, index=categories)
gaps.T.round(3)

# %% tags=["claims"]
assert np.ptp(gaps["logistic regression"]) < 1e-5  # the same for all ads, to rounding

# %% [markdown]
# Two users who differ in their segment only differ by $w_{\text{parent}} - w_{\text{gamer}}$, **whatever ad they are
# shown**. No choice of weights changes that.
#
# ## Give every value a vector
#
# One way out is a weight for every *pair of values*: (parent, games), (parent, travel), … For all pairs of fields
# that is a lot of weights, and most of them would be learned from few rows or none.
#
# Rendle (2010) gives every value a short vector $v_i$ of $k$ numbers instead (its
# [embedding](glossary.md#embedding), or its factors) and lets a pair count as the inner product of its vectors:
#
# $$s = w_0 + \sum_i w_i x_i + \sum_{i<j} \langle v_i, v_j\rangle\, x_i x_j \qquad \text{(eq. 1)}$$
#
# Here $i$ and $j$ run over the fields of a row, and $v_i$ is the vector of the value that field $i$ has in this row.
# (In 01 $i$ ran over all $n$ values. The sum is the same: $x_i$ is 0 for every value that the row does not hold.)
# $x_i$ is 1 for a category and the number itself for a numerical field such as the discount. With $e_i = v_i x_i$ the
# last sum is $\sum_{i<j} \langle e_i, e_j\rangle$; for a list such as the interests, $e_i$ is the mean of the values'
# vectors. How many numbers does either way need in our small world?

# %%
encoder = lr.encoder_
n, k = encoder.n_ids, 8  # ids of all eight fields: 134
# ids of each field, unknown and missing included
sizes = np.diff([*encoder.offsets, n])
i, j = field_pairs(len(sizes))  # all pairs: (0,1), (0,2), ..., (1,2), ...
counts = pd.Series({"weights, one for each pair of values": (sizes[i] * sizes[j]).sum(),
                    "numbers in all vectors, k = 8": n * k})
counts.to_frame(f"count, for {len(i)} pairs of fields")

# %% tags=["claims"]
assert counts.iloc[1] < counts.iloc[0] / 4

# %% [markdown]
# The first grows with the square of the number of ids, the second in proportion to it. And a value's vector learns
# from every row that the value occurs in, in all its pairs at once.
#
# ## Sum the pairs
#
# The vectors of a batch come out of one table. $V$ has a row for each id; `ids` says which rows a batch uses. (In our
# examples every field is categorical, so $x_i = 1$ and $e_i = v_i$.)
#
# Write $\circ$ for the product number by number, so that $\langle e_i, e_j\rangle$ is the sum of the $k$ numbers of
# $e_i \circ e_j$. We keep the $k$ numbers apart until the very end, and sum over the pairs first:
#
# $$f = \sum_{i<j} e_i \circ e_j$$

# %%
rng = np.random.default_rng(0)
V = rng.standard_normal((12, 3))      # (n, k)   small from here on: n = 12 and k = 3
ids = np.array([[0, 3, 6, 9], [1, 3, 8, 10], [2, 4, 7, 9],
                [0, 5, 7, 11], [0, 3, 6, 11]])        # (B, M)
E = V[ids]                            # (B, M, k)  e_i = v_i x_i, and x_i = 1


def pairs_by_loops(E):
    """(B, M, k) -> (B, k): the sum of e_i * e_j over all pairs i < j."""
    f = np.zeros((len(E), E.shape[2]))
    for i in range(E.shape[1]):
        for j in range(i + 1, E.shape[1]):
            f += E[:, i] * E[:, j]                    # e_i * e_j, for all rows at once
    return f


print(E.shape, "->", pairs_by_loops(E).shape)

# %% tags=["claims"]
by_hand = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])  # one row of three fields
on_paper = [[1 * 3 + 1 * 5 + 3 * 5, 2 * 4 + 2 * 6 + 4 * 6]]
assert pairs_by_loops(by_hand).tolist() == on_paper

# %% [markdown]
# ## Sum them without going through them
#
# Two loops cost $M(M-1)/2$ products. Rendle's lemma 3.1 needs $M + 2$. Start from the square of the whole sum, number
# by number, and write it out:
#
# $$\begin{aligned}
# \Bigl(\sum_i e_i\Bigr)^2 &= \sum_i \sum_j e_i \circ e_j && \text{(1) multiply out: all } M^2 \text{ products} \\
# &= \sum_i e_i \circ e_i + \sum_{i \ne j} e_i \circ e_j && \text{(2) set the squares apart} \\
# &= \sum_i e_i^2 + 2 \sum_{i<j} e_i \circ e_j && \text{(3) } e_i \circ e_j = e_j \circ e_i
# \end{aligned}$$
#
# and solve for what we want:
#
# $$\sum_{i<j} e_i \circ e_j = \tfrac12 \Bigl[\Bigl(\sum_i e_i\Bigr)^2 - \sum_i e_i^2\Bigr] \qquad \text{(4)}$$
#
# (The folded cell has the three lines in NumPy, each from scratch: they agree to rounding.)

# %% tags=["claims"]
M = E.shape[1]
# (B, M, M, k) e_i * e_j for every i and j
products = E[:, :, None, :] * E[:, None, :, :]
same = np.eye(M, dtype=bool)
i, j = field_pairs(M)
line_0 = E.sum(axis=1) ** 2         # (B, k)  the square of the sum
line_1 = products.sum(axis=(1, 2))  #         all products
line_2 = products[:, same].sum(axis=1) + products[:, ~same].sum(axis=1)
line_3 = (E ** 2).sum(axis=1) + 2 * (E[:, i] * E[:, j]).sum(axis=1)
for line in (line_1, line_2, line_3):
    assert np.abs(line - line_0).max() < 1e-12

# %% [markdown]
# **Exercise 1.** The same sum as `pairs_by_loops`, by equation (4): no loop over pairs.

# %% tags=["exercise"]
# Exercise 1
def pairs_by_identity(E):
    """(B, M, k) -> (B, k): the sum of e_i * e_j over all pairs i < j."""
    return None                      # your lines here

# %% tags=["check"]
slow = pairs_by_loops(E)
check("the sum by the identity", pairs_by_identity(E), slow, mistakes={
    "The pairs of a field with itself were not taken away.": 0.5 * E.sum(axis=1) ** 2,
    "Every pair is in it twice, as (i, j) and as (j, i): where is the ½?": 2 * slow,
    "That is the square of the sum in both places.": np.zeros_like(slow)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def pairs_by_identity(E):
#     total = E.sum(axis=1)                                       # (B, k)  sum_i e_i
#     squares = (E ** 2).sum(axis=1)                              # (B, k)  sum_i e_i^2
#     return 0.5 * (total ** 2 - squares)
# ```
#
# </details>

# %% [markdown]
# Count the multiplications of one row, for each of its $k$ numbers: every pair once is $M(M-1)/2$; every field's
# square, the square of the sum, and the ½ are $M + 2$. With 39 fields, as in the Criteo data that many papers use,
# that is 741 against 41. With three fields the loop is as good.
#
# ## Backwards
#
# Only one thing is missing before FM can be trained: given $\partial L/\partial f$ (called `dout`), what is
# $\partial L/\partial e_i$? All products are number by number, so look at one number of the vectors at a time.
# Differentiate (4) by $e_i$:
#
# $$\frac{\partial f}{\partial e_i} = \tfrac12 \Bigl[2 \sum_j e_j - 2 e_i\Bigr] = \sum_j e_j - e_i
# \qquad \text{(5)}$$
#
# (Rendle 2010, eq. 4.) Read it as a sentence: *a field's vector is pulled towards the sum of its partners' vectors*,
# or away from it, as the sign of `dout` says.
#
# A layer in minictr is a class with two methods ([base.py](../minictr/layers/base.py)). `forward` takes the input,
# returns the output, and leaves in the dict `self.cache` what `backward` will need. `backward` takes dL/d(output) and
# returns dL/d(input). A layer with parameters has two more dicts with the same names in them: `self.params`, and
# `self.grads`, which `backward` fills. All these dicts are created by `super().__init__()`, which a layer that adds
# parameters calls first; the next exercise's layer has none, and needs no `__init__`.
#
# **Exercise 2.** A layer of your own, whole. `forward` is your Exercise 1; what does it have to keep? `backward` is
# (5) and the chain rule. Mind the shapes: `dout` has no axis for the fields.

# %% tags=["exercise"]
# Exercise 2
class PairSum(Layer):
    """f = sum_{i<j} e_i * e_j."""

    def forward(self, E):
        """E (B, M, k) in, f (B, k) out."""
        return None                  # your lines here

    def backward(self, dout):
        """dL/df (B, k) in, dL/dE (B, M, k) out."""
        return None                  # your lines here

# %% tags=["check"]
dout = rng.standard_normal((len(E), 3))  # some dL/dout
numeric = np.zeros_like(E)               # dL/dE, one entry at a time: pair by pair
first, second = field_pairs(E.shape[1])
for index in np.ndindex(E.shape):
    step = np.zeros_like(E)
    step[index] = 1e-6
    above, below = (((moved[:, first] * moved[:, second]).sum(axis=1) * dout).sum()
                    for moved in (E + step, E - step))
    numeric[index] = (above - below) / 2e-6

layer = PairSum()
f, dE = layer.forward(E), None
if f is not None:
    try:
        dE = layer.backward(dout)
        if dE is None:
            print("forward is there, but backward returns None. It needs two things: "
                  "dout, and what forward keeps.")
    except KeyError as name:
        print(f"backward finds no {name} in self.cache: forward must keep it there.")
        dE = np.nan * E                  # no numbers
partners = E.sum(axis=1, keepdims=True) - E
right = [check("forward of the pair sum", f, slow)]
right.append(check("backward of the pair sum", dE, numeric, mistakes={
    "The field itself is among its partners: take e_i away from the sum.":
        (E.sum(axis=1) * dout)[:, None] + 0 * E,
    "That is df/de_i; the chain rule multiplies it by dout.": partners,
    "The sum runs over the rows: axis 1 is the one of the fields.":
        dout[:, None] * (E.sum(axis=0) - E)}))
if all(right):
    print(check_gradients(layer, E))  # all entries, in one call

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# class PairSum(Layer):
#     """f = sum_{i<j} e_i * e_j = 1/2 [(sum_i e_i)^2 - sum_i e_i^2]."""
#
#     def forward(self, E):
#         total = E.sum(axis=1)                                   # (B, k)  sum_i e_i
#         self.cache = {"E": E, "total": total}
#         return 0.5 * (total ** 2 - (E ** 2).sum(axis=1))
#
#     def backward(self, dout):
#         E, total = self.cache["E"], self.cache["total"]
#         # (B, M, k) dout (sum_j e_j - e_i)
#         return dout[:, None, :] * (total[:, None, :] - E)
# ```
#
# The sum over $j$ was there in the forward pass already, so it is kept.
#
# </details>

# %% [markdown]
# `minictr.check_gradients(layer, x)` does what the loop of the check does, with a random `dout` of its own, for any
# layer with `forward` and `backward`. Its report names, for each array, the worst entry, and *of allowance*: the
# difference between the two derivatives as a share of what rounding may explain. Below 1 passes; a right backward
# pass in float64 stays far below 1.
#
# The library's [FMPooling](../minictr/layers/pairs.py) is this layer, and gives the same numbers.

# %% tags=["claims"]
pooling = FMPooling()
assert np.allclose(pooling.forward(E), slow, rtol=0, atol=1e-12)
assert np.allclose(pooling.backward(dout), numeric, rtol=0, atol=1e-7)
assert check_gradients(pooling, E).passed
assert check_gradients(pooling, E).arrays[0]["allowance"] < 0.5

# %% [markdown]
# **To touch**: one training step of a trained FM, in which every number says which numbers made it, and each can be
# changed. In a terminal, `minictr trace --model fm --out steps` writes it as a page: steps/step.html.
#
# Point at a number of $\partial L/\partial e_i$: it reads one number of `total`, one of its own vector, and one of
# `dpooled`, which is what `dout` is called here. That is (5).

# %% [markdown]
# ## Back into the table, and a published bug
#
# $\partial L/\partial E$ has a vector for every row and field. The parameters are the rows of $V$. Forwards, `E =
# V[ids]` copies rows of $V$ to where they are needed; backwards, each gradient goes back to the row it came from.
# Here is a layer that does so, and two batches to check it on. (`Slots` is the form in which minictr passes ids to a
# layer: the ids, their weights $x$, which are all 1 here, and where each field starts.)

# %%
class Lookup(Layer):
    """E = V[ids]: every id of a batch takes its row of the table."""

    def __init__(self, V):
        super().__init__()
        self.params["V"] = V.copy()                               # (n, k)

    def forward(self, slots):
        self.cache = {"ids": slots.ids}
        return self.params["V"][slots.ids]                        # (B, M, k)

    def backward(self, dE):
        dV = np.zeros_like(self.params["V"])                      # (n, k)
        dV[self.cache["ids"]] += dE                               # E = V[ids]
        self.grads["V"] = dV


first_batch, second_batch = ids[1:3], ids                         # two rows, five rows
for batch in (first_batch, second_batch):
    report = check_gradients(Lookup(V), Slots(batch, None, starts=[0, 1, 2, 3]))
    print(batch, report, sep="\n", end="\n\n")

# %% [markdown]
# The same backward pass, once right and once wrong. (The hint in the report's last line is for layers of later
# notebooks: a ReLU is max(z, 0), which has a kink at 0. There is none here.) **Find the bug before you open the
# answer.** Do it with pencil and paper for one number of the table, if it does not show at once.
#
# <details><summary>Hint</summary>
#
# Compare the ids of the two batches. Then try `dV = np.zeros(3)` and `dV[[0, 0, 1]] += [1, 2, 5]`.
#
# </details>
#
# <details><summary>Answer</summary>
#
# In the second batch ids 0, 3, 6, 7, 9 and 11 occur more than once. `V[0]` is used in three rows, so the loss depends
# on it in three ways, and its gradient is the *sum* of three. But `dV[ids] += dE` means `dV[ids] = dV[ids] + dE`:
# NumPy takes the rows out once, adds, and writes them back one over the other. Of all gradients of an id only the
# last is left.
#
# (This is the shorter line that notebook 01 warned of, where `np.bincount` added up the gradients of the weights.)
#
# The embedding layer of [numpy-ml](https://github.com/ddbourgin/numpy-ml), a well-known collection of layers to learn
# from, adds in this way where it sums the vectors of an example's ids (`pool="sum"` and `"mean"`): a word that stands
# twice in a sentence gets the gradient of one. A gradient check finds it, **but only on a batch in which an id
# repeats**. A check on two hand-picked rows, all different, is right to pass: for those rows the code is right.
#
# </details>

# %%
slots = encoder.encode(clicks.X[:256])
used = slots.ids[slots.x != 0]  # (slots of weight 0 fill up the lists of interests)
share_lost = 1 - len(np.unique(used)) / len(used)
print(f"of the gradients of a real batch of 256 rows, {share_lost:.0%} would be lost")

# %% tags=["claims"]
for batch, passes in ((first_batch, True), (second_batch, False)):
    report = check_gradients(Lookup(V), Slots(batch, None, starts=[0, 1, 2, 3]))
    assert report.passed == passes
dV = np.zeros(3)
dV[[0, 0, 1]] += [1, 2, 5]                                        # the hint's line
assert dV.tolist() == [2, 5, 0]                                   # and not [3, 5, 0]
assert share_lost > 0.9

# %% [markdown]
# **Exercise 3.** The gradient of the table, right for every batch. (Loops over the rows and fields will do.)
#
# <details><summary>Hint: without loops</summary>
#
# An id that occurs three times gets three gradients, and each has to be added to what is there already.
# `np.add.at(array, places, values)` does that, place by place, where `array[places] += values` does not.
#
# </details>

# %% tags=["exercise"]
# Exercise 3
def table_gradient(ids, dE, n):
    """ids (B, M), dL/dE (B, M, k), number of rows of V -> dL/dV (n, k)."""
    return None                      # your lines here

# %% tags=["check"]
dE = np.random.default_rng(1).standard_normal(E.shape)  # (B, M, k), from a layer above
numeric = np.zeros_like(V)  # dL/dV: move an entry of V, see what sum(E dE) does
for index in np.ndindex(V.shape):
    step = np.zeros_like(V)
    step[index] = 1e-6
    above, below = ((moved[ids] * dE).sum() for moved in (V + step, V - step))
    numeric[index] = (above - below) / 2e-6
only_last = np.zeros_like(V)
only_last[ids] += dE
times = np.bincount(ids.ravel(), minlength=len(V))  # how often each id occurs
if check("gradient of the table", table_gradient(ids, dE, len(V)), numeric, mistakes={
        "Repeated ids keep the last of their gradients alone: it is the bug above.":
            only_last,
        "That is the mean of an id's gradients: it takes part in the loss each time, "
        "so they add up.":
            numeric / np.maximum(times, 1)[:, None]}):
    longer = np.vstack([numeric, np.zeros((2, 3))])[:, :2]  # ids that no row holds: 0
    check("... of a table with two more rows, and k = 2",
          table_gradient(ids, dE[:, :, :2], len(V) + 2), longer)

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def table_gradient(ids, dE, n):
#     dV = np.zeros((n, dE.shape[2]))
#     np.add.at(dV, ids, dE)  # adds for every repetition
#     return dV
# ```
#
# </details>

# %% [markdown]
# ## Train
#
# One thing remains: where to start. First-order weights start at 0 (notebook 01). Vectors must not. By (5) the
# gradient of a vector is the sum of its partners' vectors; if all are 0, so are all gradients, and nothing will ever
# move. So they start as small random numbers.

# %% tags=["claims"]
def gradient_of_vectors(start):
    """dL/dV of a first training step, with all vectors multiplied by ``start``."""
    model = FM(embedding_dim=8, seed=0).prepare(clicks.X, clicks.y)
    model.embedding.params["V"] *= start
    model.train_step(clicks.X[:256], clicks.y[:256])
    return model.embedding.grads["V"].dense(n)    # with the rows not touched, as zeros


assert not gradient_of_vectors(0).any()                                 # stuck for ever
assert gradient_of_vectors(1).any()

# %% [markdown]
# Now the library's [FM](../minictr/models/fm.py), the layers of this notebook put together: an embedding, the
# pooling, the first-order weights. We train it in three worlds of different planted effects. `fit` calls
# `after_epoch` with the model after each [epoch](glossary.md#epoch), and we keep how much each pair of fields adds to
# or takes from the logit, as a mean over 2,000 test rows: $|\langle v_i, v_j\rangle x_i x_j|$, the pair's
# [contribution](glossary.md#contribution) without its sign.
#
# Beside it we train an FM with the bug of the previous section. **Predict**: the bug throws away more than nine tenths
# of the gradients. Will that FM crash, be worse than logistic regression, or better?

# %%
class ForgetfulEmbedding(Embedding):
    """The library's embedding, with the published bug in its backward pass."""

    def backward(self, dE):
        super().backward(dE)
        slots, values = self.grads["V"].slots, self.grads["V"].values
        self.grads["V"] = np.zeros_like(self.params["V"])
        self.grads["V"][slots.ids.ravel()] += values


class ForgetfulFM(FM):
    """FM on the forgetful embedding."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.embedding = ForgetfulEmbedding(n, self.embedding_dim, rng,
                                            dtype=self.dtype)


def auc_of(model, test):
    return metrics.auc(test.y, model.predict_proba(test.X)[:, 1])

# %%
importance, aucs = {}, {}             # {world: {epoch: table}}, {world: {model: AUC}}
for world in range(3):
    train = datasets.make_clicks(20_000, seed=world)
    held_out = datasets.make_clicks(20_000, seed=world, rows_seed=1)
    tables = importance[world] = {}

    def watch(model, line, tables=tables, X=held_out.X[:2000]):
        tables[line["epoch"]] = explain.pair_importance(model, X)

    fm = FM(embedding_dim=k, epochs=8, seed=0).fit(train.X, train.y, after_epoch=watch)
    forgetful = ForgetfulFM(embedding_dim=k, epochs=8, seed=0).fit(train.X, train.y)
    linear = LR(epochs=5, seed=0).fit(train.X, train.y)
    aucs[f"world {world}"] = {"logistic regression": auc_of(linear, held_out),
                              "FM with the bug": auc_of(forgetful, held_out),
                              "FM": auc_of(fm, held_out),
                              "best possible": held_out.best_auc}
    if world == 0:
        fm_0 = fm

pd.DataFrame(aucs).round(3)

# %% tags=["claims"]
for scores in aucs.values():
    by_lr_alone, with_bug = scores["logistic regression"], scores["FM with the bug"]
    assert by_lr_alone + 0.1 < scores["FM"] < scores["best possible"]
    assert by_lr_alone + 0.02 < with_bug < scores["FM"] - 0.04

# %% [markdown]
# FM is far ahead of logistic regression in all three worlds, and short of the best possible: its vectors were learned
# from 20,000 rows.
#
# Look at the second line. An FM that throws away nine tenths of its gradients *still beats logistic regression*. Its
# loss falls, its AUC looks like that of a mediocre model, and no error is raised. That is why a gradient check comes
# before the first training run, and why its batch must have repeated ids.
#
# Now the pairs, epoch by epoch. Where does planted end, and noise begin?

# %%
planted = clicks.planted_pairs
curves = pd.DataFrame({epoch: table["value"]                      # (epochs, pairs)
                       for epoch, table in importance[0].items()}).T
figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
is_planted = (planted["value"] > 0).to_numpy()
ax.plot(curves.loc[:, ~is_planted], color="#B0B0B0", linewidth=0.8)
ax.plot([], color="#B0B0B0", label="23 pairs without an effect")
five = planted[is_planted].nlargest(5, "value")
for marker, (row, pair) in zip("osD^v", five.iterrows(), strict=True):
    ax.plot(curves[row], marker=marker,
            label=f"{pair['field_i']} × {pair['field_j']}: planted {pair['value']}")
ax.set(xlabel="epoch", ylabel="mean |contribution| (log-odds)", yscale="log")
legend = ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["claims"]
for world, tables in importance.items():
    learned = tables[8]["value"].to_numpy()
    three_largest = np.argsort(-learned)[:3]
    assert planted["value"].iloc[three_largest].tolist() == [1.5, 0.8, 0.4], world
    weakest = learned[is_planted].min()           # the least of the five planted pairs
    assert (learned[~is_planted] > weakest).any(), world          # ... and noise above
    # the largest, after two epochs
    assert tables[2]["value"].idxmax() == planted["value"].idxmax(), world

# %% [markdown]
# *What to look at*: note the logarithmic axis. The largest pair, (user_segment, ad_category), stands out within two
# epochs. After one epoch the order of the small pairs says little. After eight, the three largest planted pairs come
# first, in their right order, in all three worlds. The two pairs planted at 0.3 are another matter: in each world at
# least one of them lies below a pair that has no effect at all. What is small cannot be told from noise here; notebook
# [05](05_read_attention_honestly.ipynb) measures how large noise is.
#
# Back to the table of gaps. What was one number ten times depends on the ad now:

# %%
gaps["FM"] = segment_gap(fm_0)
gaps.T.round(2)

# %% tags=["claims"]
(by_fm,) = click_rates(fm_0.predict_proba(test.X)[:, 1])
error_lr, error_fm = (np.abs(table - observed).to_numpy().mean()
                      for table in (by_lr, by_fm))
assert error_fm < error_lr / 2
assert np.corrcoef(by_fm.to_numpy().ravel(), observed.to_numpy().ravel())[0, 1] > 0.9
assert np.ptp(gaps["FM"]) > 1

# %% [markdown]
# No set of first-order weights can express that. (Drawn as in the first picture, FM's predictions have largely the
# light and dark cells of the observed clicks.)
#
# ## Plug yours in
#
# Your pair sum and your gradient of the table, in an FM of their own, trained for three epochs beside the library's.
# (Four categorical fields, and `lazy=False`: 03 says what that is.)

# %% tags=["yours"]
class YourEmbedding(Embedding):
    """The library's table of vectors; its gradient is yours."""

    def backward(self, dE):
        V, ids = self.params["V"], self.cache["slots"].ids
        self.grads["V"] = table_gradient(ids, dE, len(V))


class YourFM(FM):
    """An FM of your layers."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        start = self.embedding.params
        self.embedding = YourEmbedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.embedding.params = start             # the same first vectors
        self.pooling = PairSum()


four = clicks.X[["user_segment", "device", "ad_category", "position"]]
settings = {"embedding_dim": 4, "epochs": 3, "lazy": False, "dtype": "float64"}
train_beside("your FM", YourFM(**settings), FM(**settings), four, clicks.y);

# %% [markdown]
# ## On your own
#
# - Train FM with `embedding_dim` 1, 2, 4, 8, 16 and draw the test AUC. The planted effect of (user_segment,
#   ad_category) is a table of 8 × 10 random numbers. How many numbers per vector does it take?
# - Write the gradient check that `Lookup` should have had, as a function that takes any layer and makes sure by
#   itself that its batch has repeated ids.
# - `explain.contributions(fm_0, test.X[:1])` lists what every field and pair adds to one logit. Add it up and compare
#   it with `fm_0.decision_function(test.X[:1])`.
#
# ## In practice
#
# - FM is a strong start wherever rows are made of ids: advertising, recommendation. For a handful of numerical
#   columns gradient-boosted trees are better.
# - A vector can say something about two values that were never seen together. Whether it is right depends on whether
#   values that behave alike in one pair do so in another; random tables like our planted ones give it no chance.
# - One vector has to serve all pairs that its value is in. Field-aware FMs give a value one vector for each partner
#   field, at $M - 1$ times the numbers.
# - A pair's contribution is not unique: $\langle v_i, v_j\rangle$ can carry a part that depends on one of the two
#   values alone, which the first-order weights could carry just as well. So large contributions are a hint, not a
#   proof.
# - In minictr, [RowGradient](../minictr/layers/embedding.py) keeps the gradients of the touched rows only. Why is a
#   subject of the next notebook.
#
# ## Next
#
# [03 Take one training step](03_take_one_training_step.ipynb): everything that happens between a batch and the new
# weights.
#
# ## Further reading
#
# - Rendle, *Factorization Machines*, ICDM 2010 ([doi](https://doi.org/10.1109/ICDM.2010.127)): lemma 3.1 and eq. 4
#   are the two derivations above.
# - Juan et al., *Field-aware Factorization Machines for CTR Prediction*, RecSys 2016
#   ([doi](https://doi.org/10.1145/2959100.2959134)).
# - He & Chua, *Neural Factorization Machines for Sparse Predictive Analytics*, SIGIR 2017
#   ([arXiv](https://arxiv.org/abs/1708.05027)): puts a network on the vector $f$ of this notebook.
