# %% [markdown]
# # Predict a click with one weight a value
#
# **What you'll do**: build logistic regression on categories by hand, from the table of impressions to trained
# weights, and check every step against a slower way of computing it.
#
# **What you'll learn**
#
# - turn the values of fields into indices, with a place for values never seen;
# - write the first-order model and its log loss so that no logit can break them;
# - derive the gradient on paper, and check it against a numerical derivative;
# - train by gradient descent, and get the predictions of minictr's `LR`;
# - read a calibration plot, and know what the mean prediction must be.
#
# **What you'll need**: [00](00_five_minutes.ipynb) for the words, NumPy, derivatives of one variable.
#
# **Time**: 40 minutes, exercises included.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import LR, datasets, metrics, optim, plots
from minictr.exercises import check, train_beside
from minictr.fields import TableEncoder
from minictr.layers import Linear, sigmoid
from minictr.losses import LogLoss

FIELDS = ["user_segment", "hour", "device", "ad_category", "position", "advertiser"]
clicks = datasets.make_clicks(20_000, seed=0)
test = datasets.make_clicks(20_000, seed=0, rows_seed=1)  # other rows of the same world
X, y = clicks.X[FIELDS], clicks.y

rate = pd.Series(y).groupby(X["position"]).mean()
fig, ax = plt.subplots(figsize=(6, 3))
ax.bar(rate.index, rate, color="#56B4E9")
ax.axhline(clicks.base_rate, color="black", linestyle="--")
ax.annotate(f"base rate {clicks.base_rate:.3f}", (5.45, clicks.base_rate), ha="right",
            va="bottom")
title = ax.set(xlabel="position on the page", ylabel="share of clicks")

# %% tags=["claims"]
assert rate[1] > clicks.base_rate > rate[[2, 3, 4, 5]].max() and rate.idxmin() == 5
assert abs(clicks.base_rate - 0.22) < 0.01

# %% [markdown]
# *What to look at*: advertisements in position 1 are clicked more often than the [base rate](glossary.md#base-rate)
# of 22 %, the share of clicks among all rows; those in all other positions less often, in position 5 the least. One
# field alone says something. The model of this notebook adds up what each field says alone. It uses six of the eight
# fields, those whose values are categories; the discount, a number, and the interests, a list, wait until
# [10](10_bring_your_own_csv.ipynb).
#
# ## Number the values
#
# A model computes with numbers, and the word `phone` is not a number. So each value of a field gets an index, in the
# order of the sorted training values: 1, 2, 3, … Index 0 is kept for an [unknown value](glossary.md#unknown-value),
# one that the training rows do not hold. Tomorrow's rows will hold some: new advertisers, new devices.
#
# **Exercise 1.** The indices of a column. `known` is the sorted list of the values seen in training: the first of them
# has index 1, the second 2, and so on. A value that is not among them has index 0.

# %% tags=["exercise"]
# Exercise 1
def indices(column, known):
    """N values and a list of m values -> (N,) integers of 0 to m."""
    return None                                   # your lines here

# %% tags=["check"]
devices = sorted(X["device"].unique())
some = ["tv", "phone", "fridge", "desktop", "watch", "tablet"]
target = []
for value in some:  # the slow way: search the list for each value
    target.append(devices.index(value) + 1 if value in devices else 0)

check("indices", indices(some, devices), target,
      mistakes={"Yours counts from 0, so that the first value and the unknown ones "
                "share an index.":
                [max(index - 1, 0) for index in target],
                "Yours counts from 0 and gives unknown values -1; here the first value "
                "is 1 and unknown is 0.":
                [index - 1 for index in target]});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def indices(column, known):
#     index_of = {value: index for index, value in enumerate(known, start=1)}
#     return np.array([index_of.get(value, 0) for value in column])
# ```
#
# </details>

# %% [markdown]
# All fields share one long list of weights. So the indices of the second field start where those of the first end,
# and so on: each field has an offset. A field with m known values takes m + 1 places. In the end a row of the table
# is M = 6 whole numbers, its **ids**, out of n.

# %%
known = {name: sorted(X[name].unique()) for name in FIELDS}
sizes = np.array([len(known[name]) + 1 for name in FIELDS])  # + 1: the unknown value
offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
n = sizes.sum()


def encode(table):
    """A table of B rows -> (B, M) ids of 0 to n - 1."""
    # not found: -1 + 1 = 0
    columns = [pd.Index(known[name]).get_indexer(table[name]) + 1 for name in FIELDS]
    return np.column_stack(columns) + offsets


ids, test_ids = encode(X), encode(test.X)
pd.DataFrame({"known values": sizes - 1, "offset": offsets,
              "value in the first row": X.iloc[0].astype(str),
              "its index": ids[0] - offsets, "its id": ids[0]}, index=FIELDS)

# %% tags=["claims"]
assert n == offsets[-1] + sizes[-1] == 117
encoder = TableEncoder(FIELDS).fit(X)
theirs = encoder.encode(test.X).ids - encoder.offsets             # within each field
ours = test_ids - offsets
fridge = test.X[:1].assign(device="fridge")
assert np.array_equal(theirs, np.where(ours == 0, 0, ours + 1))
assert encoder.n_ids == n + len(FIELDS)
assert (encode(fridge) - offsets)[0, FIELDS.index("device")] == 0    # no error: unknown

# %% [markdown]
# minictr's own encoder does the same, with one more place in each field for a *missing* value, which is something
# else than an unknown one. (The folded cell above compares the two.)
#
# ## Add up one weight a value
#
# The model is the linear part of Rendle's equation 1 (2010), which every model of this course contains:
#
# $$ s = w_0 + \sum_{i=1}^{n} w_i x_i $$
#
# $w_0$ is the [bias](glossary.md#bias) and $w_i$ the [first-order weight](glossary.md#first-order-weight) of value
# $i$. $x$ has one entry for each of the n values, 1 for the values that the row holds and 0 for all others (this is
# called *one-hot*). So M of n terms are not zero, and the sum is no more than looking up M weights and adding them.
#
# **Exercise 2.** The logits, without ever building `x`. `ids[b]` are the M ids of row b.

# %% tags=["exercise"]
# Exercise 2
def first_order(w0, w, ids):
    """A number, (n,) weights and (B, M) ids -> (B,) logits."""
    return None                                   # your lines here

# %% tags=["check"]
rng = np.random.default_rng(0)
some_w0, some_w, some_ids = 0.5, rng.standard_normal(n), ids[:40]
target = []
for row in some_ids:                                        # the equation, term by term
    x = np.zeros(n)
    x[row] = 1
    target.append(some_w0 + sum(some_w[i] * x[i] for i in range(n)))

without_bias = np.array(target) - some_w0
check("first-order logits", first_order(some_w0, some_w, some_ids), target,
      mistakes={"Yours leaves out w0.": without_bias,
                "Yours adds w0 once for every field.":
                    without_bias + some_w0 * len(FIELDS),
                "Yours is the mean of the M weights: add them up.":
                    some_w0 + without_bias / len(FIELDS)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def first_order(w0, w, ids):
#     return w0 + w[ids].sum(axis=1)
# ```
#
# </details>

# %% [markdown]
# The [sigmoid](glossary.md#sigmoid) turns the [logit](glossary.md#logit) $s$ into a probability:
# $p = \sigma(s) = 1 / (1 + e^{-s})$.
#
# ## Measure the error from the logit, not from the probability
#
# [Log loss](glossary.md#log-loss) is the mean of $-[y \log p + (1 - y) \log (1 - p)]$. Typed like that, it breaks as
# soon as p is rounded to 0 or 1. Try a logit of 40, which a model reaches when training goes wrong:

# %%
p = sigmoid(np.array([40.0]))
with np.errstate(divide="ignore"):
    naive = -np.log(1 - p)  # what a row without a click pays
print("p =", p, " 1 - p =", 1 - p, " loss =", naive, " but it should be about 40")

# %% tags=["claims"]
assert p == 1 and np.isinf(naive)

# %% [markdown]
# On paper the two logarithms need no p at all. With $\log \sigma(s) = -\log(1 + e^{-s}) = s - \log(1 + e^s)$ and
# $\log (1 - \sigma(s)) = -\log(1 + e^s)$:
#
# $$ -[y \log p + (1 - y) \log (1 - p)] = \log(1 + e^s) - y s $$
#
# One thing is left: $e^{800}$ overflows as well. `np.logaddexp(a, b)` is $\log(e^a + e^b)$ without overflow.
#
# **Exercise 3.** What each row pays, from its logit; right for s = -800 and s = 800 too.

# %% tags=["exercise"]
# Exercise 3
def row_losses(s, y):
    """(B,) logits and (B,) labels of 0 and 1 -> (B,) losses."""
    return None                                   # your lines here

# %% tags=["check"]
some_s = np.array([-3.0, -0.5, 0.0, 0.5, 3.0, 800.0, -800.0, 800.0, -800.0])
some_y = np.array([1, 0, 1, 0, 1, 1, 0, 0, 1])
target = []
for s_b, y_b in zip(some_s, some_y, strict=True):
    if abs(s_b) < 30:  # the definition, where it does not break
        p_b = 1 / (1 + np.exp(-s_b))
        target.append(-(y_b * np.log(p_b) + (1 - y_b) * np.log(1 - p_b)))
    else:  # e^-800 = 0 to all digits: right costs 0, wrong costs 800
        target.append(0.0 if (s_b > 0) == (y_b == 1) else 800.0)

moderate, large = slice(0, 5), slice(5, 9)  # the last four logits are 800 and -800
s, y_s = some_s[moderate], some_y[moderate]
with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
    pays = row_losses(s, y_s)
    pays_at_large = row_losses(some_s[large], some_y[large])
right = check(
    "loss of each row", pays, target[moderate],
    mistakes={"Yours takes y the other way round.": np.logaddexp(0, s) - (1 - y_s) * s,
              "Yours has the sign of s the wrong way round in the first term.":
                  np.logaddexp(0, -s) - y_s * s})
right_at_large = check("loss of rows with s = 800, -800, 800, -800", pays_at_large,
                       target[large])
if right and not right_at_large:
    print("exp(800) is too large for a float; np.logaddexp(0, s) is log(1 + exp(s)) "
          "without computing it.")

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def row_losses(s, y):
#     return np.logaddexp(0, s) - y * s
# ```
#
# </details>

# %% [markdown]
# ## Derive the gradient, then distrust it
#
# The loss of a [batch](glossary.md#batch) of B rows is the mean, $L = \frac1B \sum_b [\log(1 + e^{s_b}) - y_b s_b]$.
# Each logit is in one of its terms alone. (The derivative of $\log(1 + e^s)$ is $e^s / (1 + e^s) = \sigma(s)$.)
#
# **Exercise 4.** The gradient of the mean loss with respect to the logits: on paper first, then as a function.
# (`sigmoid` is imported.)

# %% tags=["exercise"]
# Exercise 4
def loss_gradient(s, y):
    """(B,) logits and (B,) labels -> (B,) dL/ds."""
    return None                                   # your lines here

# %% tags=["check"]
few_s, few_y = rng.standard_normal(8), np.array([0, 1, 0, 0, 1, 0, 1, 1])


def mean_loss(s):
    """The loss of the eight rows, as a function of their logits."""
    return np.mean(np.logaddexp(0, s) - few_y * s)


def numerical_gradient(f, x, eps=1e-6):
    """Move each entry of x up and down a little, and see how much f changes."""
    slopes = np.zeros_like(x)
    for i in range(len(x)):
        step = np.zeros_like(x)
        step[i] = eps
        slopes[i] = (f(x + step) - f(x - step)) / (2 * eps)
    return slopes


check("dL/ds", loss_gradient(few_s, few_y), numerical_gradient(mean_loss, few_s),
      mistakes={"Yours takes the sigmoid twice.": (sigmoid(sigmoid(few_s)) - few_y)
                / 8});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def loss_gradient(s, y):
#     return (sigmoid(s) - y) / len(y)
# ```
#
# </details>

# %% [markdown]
# $$ \frac{\partial L}{\partial s_b} = \frac{\sigma(s_b) - y_b}{B} $$
#
# *predicted minus observed*, shared among the rows. The sigmoid and the logarithm have cancelled each other, and that
# is why the two belong together.
#
# The comparison that checked it is a [gradient check](glossary.md#gradient-check), and every derivative of this
# course goes through one. The two should agree to 1e-8 or better. minictr keeps forward and backward of the loss side
# by side in [losses.py](../minictr/losses.py).
#
# From the logits it is one more step to the weights. $w_i$ is added to the logit of every row that holds value $i$,
# and so collects the gradients of all these rows; $w_0$ is in every logit:
#
# $$ \frac{\partial L}{\partial w_i} = \sum_{b:\ i \in \text{row } b} \frac{\partial L}{\partial s_b}, \qquad
# \frac{\partial L}{\partial w_0} = \sum_b \frac{\partial L}{\partial s_b} $$
#
# `np.bincount` adds up the numbers in its second argument, here the entries of $ds$, that fall on each id in its first.
# (There is a shorter line that comes to mind first, and it is wrong. [02](02_multiply_pairs_with_fm.ipynb) shows it.)

# %%
def weight_gradients(ds, ids):
    """(B,) dL/ds and (B, M) ids -> dL/dw0, a number, and dL/dw, (n,)."""
    dw = np.bincount(ids.ravel(), weights=np.repeat(ds, ids.shape[1]), minlength=n)
    return ds.sum(), dw

# %% tags=["claims"]
def loss_of_weights(w):
    """The loss of the first 200 training rows, as a function of all weights."""
    s = 0.3 + w[ids[:200]].sum(axis=1)
    return np.mean(np.logaddexp(0, s) - y[:200] * s)


loss = LogLoss()                                  # minictr's own, beside ours
assert abs(loss.forward(few_s, few_y) - mean_loss(few_s)) < 1e-12
assert np.abs(loss.backward() - numerical_gradient(mean_loss, few_s)).max() < 1e-8

ds, slow = loss.backward(), np.zeros(n)           # the sums, row by row
for b in range(len(ds)):
    for i in ids[b]:
        slow[i] += ds[b]
assert np.allclose(weight_gradients(ds, ids[:8])[1], slow, atol=1e-15)

some_w = 0.1 * rng.standard_normal(n)
ds = (sigmoid(0.3 + some_w[ids[:200]].sum(axis=1)) - y[:200]) / 200
numeric = numerical_gradient(loss_of_weights, some_w)
assert np.abs(weight_gradients(ds, ids[:200])[1] - numeric).max() < 1e-8

# %% [markdown]
# ## Train by walking downhill
#
# All weights start at 0 and the bias at the logit of the base rate, so that the untrained model predicts 22 % for
# every row. Then, 300 times: predict all rows, compute the gradient, take a step against it. The length of the step
# is the gradient times the [learning rate](glossary.md#learning-rate), here 1.
#
# **Predict.** Where does the curve of the loss start, and will it come near the best possible loss of this world (the
# last row of the table below)?

# %%
learning_rate = 1.0
w0, w = np.log(clicks.base_rate / (1 - clicks.base_rate)), np.zeros(n)
epochs, losses = np.arange(1, 301), []
for _ in epochs:
    s = w0 + w[ids].sum(axis=1)                             # (N,)   forward
    losses.append(np.mean(np.logaddexp(0, s) - y * s))
    ds = (sigmoid(s) - y) / len(y)                          # (N,)   backward
    dw0, dw = weight_gradients(ds, ids)
    w0 -= learning_rate * dw0                               #        update
    w -= learning_rate * dw

base_loss = metrics.log_loss(y, np.full(len(y), clicks.base_rate))
history = pd.DataFrame({"epoch": epochs, "train_loss": losses,
                        "val_loss": np.nan})[::10]
history.attrs = {"loss": "log loss", "base_loss": base_loss, "best_epoch": 300}
ax = plots.history(history)
ax.figure.set_size_inches(6, 3.3)

# %% tags=["claims"]
assert abs(losses[0] - base_loss) < 1e-6 and np.all(np.diff(losses) < 0)
assert losses[0] - losses[100] > 0.8 * (losses[0] - losses[-1])

# %% [markdown]
# *What to look at*: the curve starts on the dashed line, the loss of the base rate, and falls with every step, the
# first third of them doing most of the work.
#
# minictr's [`LR`](../minictr/models/linear.py) does the same if told to: plain gradient descent (`"sgd"`) with all
# rows in one batch. It computes with 7 digits instead of 16, so the predictions should agree to about 1e-6.

# %%
p_click = sigmoid(w0 + w[test_ids].sum(axis=1))
same = LR(fields=FIELDS, optimizer="sgd", learning_rate=1.0, epochs=300,
          batch_size=len(y)).fit(X, y)
usual = LR(fields=FIELDS).fit(X, y)  # the defaults: small batches, and Adam
predictions = {"base rate": np.full(len(test.y), clicks.base_rate),
               "by hand": p_click,
               "LR, the same steps": same.predict_proba(test.X)[:, 1],
               "LR, defaults": usual.predict_proba(test.X)[:, 1],
               "best possible": test.probability}
pd.DataFrame({name: {"AUC": metrics.auc(test.y, p),
                     "log loss": metrics.log_loss(test.y, p)}
              for name, p in predictions.items()}).T.round(3)

# %% tags=["claims"]
assert np.abs(same.predict_proba(test.X)[:, 1] - p_click).max() < 1e-5
for seed in range(3):
    train_rows = datasets.make_clicks(20_000, seed=seed)
    test_rows = datasets.make_clicks(20_000, seed=seed, rows_seed=1)
    model = LR(fields=FIELDS, epochs=3).fit(train_rows.X, train_rows.y)
    base = np.full(len(test_rows.y), train_rows.base_rate)
    at_base = metrics.log_loss(test_rows.y, base)
    loss = metrics.log_loss(test_rows.y, model.predict_proba(test_rows.X)[:, 1])
    assert 0.05 < (at_base - loss) / (at_base - test_rows.best_log_loss) < 0.25

# %% [markdown]
# *What to look at*: better than the base rate, far from the best possible. In this world most of what can be known
# belongs to pairs of fields, and a sum over single fields cannot say it: of the way from the base rate's loss to the
# best possible one the defaults go less than a quarter, in two other worlds as well. It is the reason for
# [02](02_multiply_pairs_with_fm.ipynb).
#
# ## Ask whether the probabilities mean what they say
#
# The gradient of the bias has a meaning of its own:
#
# $$ \frac{\partial L}{\partial w_0} = \frac1B \sum_b (\sigma(s_b) - y_b) = \text{mean prediction} - \text{base rate} $$
#
# Where training has brought this gradient to 0, **the mean prediction on the training rows is their base rate.** The
# same holds for the rows of each single value, as $w_i$ has the same gradient over its own rows. It holds exactly
# only if no penalty pulls at these weights (minictr's `reg` leaves $w_0$ alone) and if training went on until the
# gradient was 0; after early stopping it holds nearly. This is the cheapest test there is, and it needs no model to
# compare with.

# %%
p_train = sigmoid(w0 + w[ids].sum(axis=1))
on_phones = (X["device"] == "phone").to_numpy()
print(f"mean prediction {p_train.mean():.4f}, base rate {y.mean():.4f}")
print(f"on phones: {p_train[on_phones].mean():.4f}, {y[on_phones].mean():.4f}")

ax = plots.calibration(test.y, p_click)
ax.figure.set_size_inches(4.5, 4.5)

# %% tags=["claims"]
groups = np.array_split(np.argsort(p_click), 10)
given = np.array([p_click[group].mean() for group in groups])
clicked = np.array([test.y[group].mean() for group in groups])
half_interval = 1.96 * np.sqrt(clicked * (1 - clicked) / 2000)
dw0 = weight_gradients((p_train - y) / len(y), ids)[0]
assert abs(dw0 - (p_train.mean() - y.mean())) < 1e-12
assert abs(p_train.mean() - y.mean()) < 1e-3
assert abs(p_train[on_phones].mean() - y[on_phones].mean()) < 2e-3
assert (np.abs(given - clicked) < half_interval)[1:].all()
assert given[0] > clicked[0] + half_interval[0]
assert 0.085 < given[0] < 0.095
assert 0.07 < clicked[0] < 0.08
assert 0.39 < clicked[-1] < 0.45
assert np.mean(test.probability < 0.03) > 0.1 and np.mean(test.probability > 0.9) > 0.01

# %% [markdown]
# *What to look at*: the test rows are sorted by their prediction and cut into ten groups of about 2,000. Across is the
# group's mean prediction, upwards the share of clicks in it. On the dashed line they agree. The vertical bars are 95 %
# intervals ([glossary](glossary.md#confidence-interval)), Wilson's. Nine of the ten reach the line; only the lowest
# group lies below, where the model said 9 % and 7.5 % clicked. On the whole this model is
# [calibrated](glossary.md#calibration). Calibrated is not the same as good. Compare the groups' shares, from under 10
# % to about 42 %, with this world's true probabilities, of which many lie near 0 and some near 1: the model is right
# on average, and vague.
#
# ## Spot the bug
#
# Two people share the work. One writes the model, the other the loss. Both functions are right, each on its own. They
# train with Adam, an optimiser that [03](03_take_one_training_step.ipynb) builds; it is not to blame.

# %%
def model_forward(w0, w, ids):
    """One writes: the probability of a click, (B,)."""
    return sigmoid(w0 + w[ids].sum(axis=1))


def model_backward(dout, out, ids):
    """And: gradients of w0 and w, from dL/dout. The sigmoid has out (1 - out)."""
    return weight_gradients(dout * out * (1 - out), ids)


def loss_and_gradient(out, y):
    """The other writes: the log loss, as derived above, and dL/dout."""
    return np.mean(np.logaddexp(0, out) - y * out), (sigmoid(out) - y) / len(y)

# %%
def train_together(ids, y, optimizer, epochs=100):
    """What the two get: bias, weights, and the printed losses."""
    params = {"w0": np.log([y.mean() / (1 - y.mean())]), "w": np.zeros(n)}
    printed = []
    for _ in range(epochs):
        out = model_forward(params["w0"], params["w"], ids)
        loss, dout = loss_and_gradient(out, y)
        dw0, dw = model_backward(dout, out, ids)
        optimizer.step(params, {"w0": np.array([dw0]), "w": dw})
        printed.append(loss)
    return params["w0"], params["w"], printed


w0_theirs, w_theirs, printed = train_together(ids, y, optim.Adam(0.02))
p_theirs = model_forward(w0_theirs, w_theirs, test_ids)
print("loss in epochs 1, 10, 30, 100:", np.round(printed, 3)[[0, 9, 29, 99]])
print(f"AUC on test rows {metrics.auc(test.y, p_theirs):.3f}; "
      f"ours had {metrics.auc(test.y, p_click):.3f}")

# %% tags=["claims"]
def their_loss(w):
    """Model and loss together, on 200 rows, as a function of the weights."""
    return loss_and_gradient(model_forward(0.3, w, ids[:200]), y[:200])[0]


out = model_forward(0.3, some_w, ids[:200])
dw = model_backward(loss_and_gradient(out, y[:200])[1], out, ids[:200])[1]
difference = np.abs(dw - numerical_gradient(their_loss, some_w)).max()
assert difference < 1e-8                          # backward belongs to forward
assert np.all(np.diff(printed) < 1e-9)
assert abs(metrics.auc(test.y, p_theirs) - metrics.auc(test.y, p_click)) < 0.01

# %% [markdown]
# The loss falls and settles. The AUC is within a hundredth of ours. Even a gradient check passes (in the folded cell).
# What is wrong, and which number that you have met in this notebook shows it at once?
#
# <details><summary>Answer</summary>
#
# The model returns a probability, the loss takes logits: there is a **sigmoid in both**. The loss sees
# $\sigma(\sigma(s))$, which lies between $\sigma(0) = 0.5$ and $\sigma(1) = 0.73$ whatever the weights. It can never
# come near 22 %, so training pushes every probability towards 0, the nearest it can get.
#
# The mean prediction shows it: it is 0.003, and the base rate is 0.22. So does the printed loss, with a bar beside
# it: it settles at 0.69 = log 2, the loss of a coin, and the base rate alone has 0.53.
#
# </details>
#
# The code of a well-known textbook's chapter on factorization machines did this; a reader found it in 2020:
# [d2l-ai/d2l-en#1360](https://github.com/d2l-ai/d2l-en/issues/1360).

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 4))
for ax, p, name in zip(axes, (p_click, p_theirs),
                       ("one sigmoid", "a sigmoid in model and loss"), strict=True):
    plots.calibration(test.y, p, ax=ax)
    ax.set_title(f"{name}: mean {p.mean():.3f}", fontsize=10)
fig.tight_layout()

# %% [markdown]
# *What to look at*: on the right all groups stand at the left edge, one above the other. They are in nearly the right
# order, which is all that AUC asks for, and their probabilities are useless.
#
# Does AUC never notice? It depends, which is the trouble. With the plain gradient descent of this notebook in the place
# of Adam it falls as well; with a second sigmoid in `predict` alone it does not move at all (three worlds, asserted
# below). The mean prediction is far off every time. Print it beside the base rate, always.
#
# minictr has one rule for this: **models return logits, and the loss contains the sigmoid.** No model file has one;
# `predict_proba` applies it, once.

# %% tags=["claims"]
for seed in range(3):
    train_rows = datasets.make_clicks(20_000, seed=seed)
    test_rows = datasets.make_clicks(20_000, seed=seed, rows_seed=1)
    right = LR(fields=FIELDS, optimizer="sgd", learning_rate=1.0, epochs=100,
               batch_size=20_000).fit(train_rows.X, train_rows.y)
    p_right = right.predict_proba(test_rows.X)[:, 1].astype(float)
    rows, labels, asked = encode(train_rows.X), train_rows.y, encode(test_rows.X)
    with_adam, with_sgd = (
        model_forward(*train_together(rows, labels, optimizer)[:2], asked)
        for optimizer in (optim.Adam(0.02), optim.SGD(1.0)))
    auc, share = metrics.auc(test_rows.y, p_right), test_rows.y.mean()
    assert abs(metrics.auc(test_rows.y, with_adam) - auc) < 0.02
    assert metrics.auc(test_rows.y, with_sgd) < auc - 0.05
    assert abs(metrics.auc(test_rows.y, sigmoid(p_right)) - auc) < 1e-9
    assert 0.9 < p_right.mean() / share < 1.1
    assert max(with_adam.mean(), with_sgd.mean()) < 0.2 * share
    assert sigmoid(p_right).mean() > 2 * share

# %% [markdown]
# ## Plug yours in
#
# Your `first_order`, `row_losses` and `loss_gradient` are all that the library's `LR` needs. Here they stand in its
# place, for five epochs of plain descent, beside the library's own: the two lines of losses should be the same.

# %%
class YourLinear(Linear):
    """The library's first-order layer, with your forward pass."""

    def forward(self, slots):
        super().forward(slots)                    # its backward pass needs its cache
        return first_order(self.params["w0"], self.params["w"], slots.ids)


class YourLoss(LogLoss):
    """Your loss of each row, and your gradient."""

    def forward(self, s, y, c=None, n_rows=None):
        self.cache = {"s": s, "y": y}
        return float(np.mean(row_losses(s, y)))

    def backward(self):
        return loss_gradient(self.cache["s"], self.cache["y"])

# %% tags=["yours"]
class YourLR(LR):
    """Logistic regression of these two."""

    whole_batch_only = True  # your gradient divides by a whole batch

    def build(self, n, M, rng):
        self.linear = YourLinear(n, dtype=self.dtype)

    def set_task(self, task):
        super().set_task(task)
        self.loss_ = YourLoss


settings = {"fields": FIELDS, "optimizer": "sgd", "learning_rate": 1.0, "epochs": 5,
            "batch_size": 2_000, "dtype": "float64"}
train_beside("your logistic regression", YourLR(**settings), LR(**settings), X, y);
#
# %% [markdown]
# ## On your own
#
# - Let the weights start at random instead of 0. Do they end at the same place? And the predictions? (Add 1 to all
#   weights of one field and take 1 off $w_0$: what changes?)
# - Which advertiser's weight is the largest? How many rows has it? Add `reg=1.0` to `LR` and look again.
# - Train on the rows of world 0, and predict those of world 1. What do AUC and calibration plot say?
#
# ## In practice
#
# - Unknown values are the rule: new users, new advertisements. In minictr their weight is the mean of their field's.
# - People train on all clicks and a tenth of the other rows, to save time. Then the mean prediction is wrong by
#   design, and must be corrected before anybody pays by it.
# - When to use logistic regression: as the bar to beat, and where every millisecond counts. When not: where effects
#   belong to pairs, unless you make columns of pairs by hand.
# - Check the mean prediction by day and by field. Clicks change with the weather, and with the layout of the page.
#
# ## Next
#
# [02: Multiply pairs with FM](02_multiply_pairs_with_fm.ipynb) adds a term for every pair of fields.
#
# ## Further reading
#
# - Steffen Rendle, *Factorization Machines*, ICDM 2010,
#   [doi:10.1109/ICDM.2010.127](https://doi.org/10.1109/ICDM.2010.127), eq. 1.
# - Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017,
#   [arXiv:1706.04599](https://arxiv.org/abs/1706.04599).
