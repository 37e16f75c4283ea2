# %% [markdown]
# # Compare fairly
#
# **What you'll do**: compare LR, FM, AFM, AutoInt and DeepFM on the same rows, with the same effort spent on each,
# and say which differences are real.
#
# **What you'll learn**
# - to split rows so that nothing leaks, and to stop training without looking at the test;
# - to compute the [AUC](glossary.md#auc) by ranks, ties included;
# - to give every model the same tuning budget;
# - to report differences run by run, with an interval, instead of one lucky number;
# - to see when an FM is enough, and when it cannot be.
#
# **What you'll need**: [06](06_let_fields_talk_with_autoint.ipynb); NumPy and pandas. DeepFM, of which
# [07](07_share_embeddings_in_deepfm.ipynb) has the equations, adds a network on the same vectors to an FM.
#
# **Time**: 45 minutes, exercises included.

# %% [markdown]
# ## Every epoch is a choice
#
# An FM on 5,000 rows, trained for 25 [epochs](glossary.md#epoch) without stopping. The
# [log loss](glossary.md#log-loss) is measured on its training rows, and on 2,000
# [validation rows](glossary.md#validation-set) that it does not learn from. **Predict** the shapes of the two curves.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import AFM, FM, LR, AutoInt, DeepFM, datasets, metrics, plots
from minictr.exercises import check, several
from minictr.fields import Categorical, TableEncoder

# %%
class Run:
    """One repetition: rows that no other run has, in three parts."""

    def __init__(self, number):
        rows = datasets.make_clicks(20_000, seed=0, rows_seed=number)
        self.number = number
        self.train = rows.X[:5_000], rows.y[:5_000]
        self.validation = rows.X[5_000:7_000], rows.y[5_000:7_000]
        self.test = rows.X[7_000:], rows.y[7_000:]
        # the truth, which only a drawn world has
        self.probability = rows.probability[7_000:]


def test_loss(model, run):
    """Log loss on the run's test rows."""
    X, y = run.test
    return metrics.log_loss(y, model.predict_proba(X)[:, 1])


runs = [Run(number) for number in range(1, 6)]
fm = FM(learning_rate=0.01, epochs=25, early_stopping=False)
fm.fit(*runs[0].train, validation=runs[0].validation)
ax = plots.history(fm.history_)

# %% [markdown]
# **What to look at**: the training loss goes on falling. The validation loss falls, turns, and rises:
# [overfitting](glossary.md#overfitting). After 25 epochs the model is worse than it was at its best, although its
# training loss says the opposite. (At first the training curve is the higher one: it is the mean over an epoch in
# which the weights still moved; the validation loss is measured after it.) minictr keeps the weights of the epoch with
# the lowest validation loss, also with `early_stopping=False`, which only lets training go on to the last epoch.

# %% tags=["claims"]
history = fm.history_
best = history.attrs["best_epoch"]
# the higher one at first
assert history["train_loss"].iloc[0] > history["val_loss"].iloc[0]
# still falling
assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[best - 1] - 0.02
assert 3 <= best <= 15
assert history["val_loss"].iloc[-1] > history["val_loss"].min() + 0.02
X, y = runs[0].validation  # the restored weights are the best epoch's
assert np.isclose(metrics.log_loss(y, fm.predict_proba(X)[:, 1]),
                  history["val_loss"].min(), atol=1e-5)

# %% [markdown]
# ## Three parts
#
# Which epoch, which learning rate, which model: each is a choice, and whatever the choice was made on is no longer a
# test. Hence three parts: train (fit the weights), validation (choose), test (look once, at the end).
#
# **Exercise 1.** Split `n_rows` rows at random into train, validation and test, without overlap, nothing left over.
# Return three arrays of row numbers; train has what the other two leave. `rng` is a `np.random.Generator`: one with
# the same seed gives the same parts, one with another seed gives others.

# %% tags=["exercise"]
# Exercise 1
def three_parts(n_rows, n_validation, n_test, rng):
    """-> (train, validation, test), arrays of row numbers."""
    return None                      # your lines here

# %% tags=["check"]
def facts(splits):
    """What must be true of three splits, the first two by the same rng, as numbers."""
    sets = [[{*np.asarray(rows).tolist()} for rows in split] for split in splits]
    train, validation, test = sets[0]
    part_of = {row: part for part, rows in enumerate(sets[0]) for row in rows}
    parts = [part_of.get(row) for row in range(1_000)]
    # at random 0.6 ** 2 + 0.1 ** 2 + 0.3 ** 2 = 0.46; 0.1 is seven standard deviations
    together = np.mean([one == other for one, other in itertools.pairwise(parts)])
    return [*map(len, splits[0]), len(train & validation), len(train & test),
            len(validation & test), len(train | validation | test),
            sets[0] == sets[1], sets[0] != sets[2], abs(together - 0.46) < 0.1]


asked = ["rows to train", "rows to validate", "rows to test", "in train and validation",
         "in train and test", "in validation and test", "different rows in all",
         "same parts for the same rng", "other parts for another rng",
         "neighbours together no more, no less than at random"]
splits = [three_parts(1_000, 100, 300, np.random.default_rng(seed))
          for seed in (0, 0, 1)]
parts = several(splits[0], "train", "validation", "test")
yours = None if parts[0] is None else parts
right = [600, 100, 300, 0, 0, 0, 1_000]
if np.ndim(parts[0]) == 1:
    yours = facts(splits)
    print(pd.DataFrame({"yours": yours, "wanted": [*right, 1, 1, 1]},
                       index=asked).astype(int))
check("facts about the split", yours, [*right, True, True, True], mistakes={
    "Those are three numbers, not arrays of row numbers.": right[:3],
    "The parts are cut by a rule, whatever rng is; a file may be sorted, or have a "
    "rhythm.": [*right, True, False, False],
    "The parts are the same, whatever rng is: draw with it, and with no other.":
    [*right, True, False, True],
    "The parts are others each time, also for the same rng: draw with it alone.":
    [*right, False, True, True],
    "The parts are runs of neighbouring rows, or follow another rule; a file may be "
    "sorted, or have a rhythm.": [*right, True, True, False],
    "The parts are in another order: train, validation, test was asked for.":
    [100, 300, 600, *right[3:], True, True, True],
    "Validation and test are swapped.": [600, 300, 100, *right[3:], True, True, True]});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def three_parts(n_rows, n_validation, n_test, rng):
#     order = rng.permutation(n_rows)
#     validation, test, train = np.split(order, [n_validation, n_validation + n_test])
#     return train, validation, test
# ```
#
# If rows carry a time, split by time instead: see [10](10_bring_your_own_csv.ipynb). Here they do not, and each run
# draws rows of its own in random order, so that slices do.
#
# </details>

# %% [markdown]
# ### What leaks
#
# Anything learned from test rows before the test. Two examples with a field that carries **no information at all**, a
# random cookie:
#
# 1. its click rate over *all* rows, used as a number (target encoding): a row's own label is in it;
# 2. its vocabulary from *all* rows: no label leaks, but the test no longer meets
#    [unknown values](glossary.md#unknown-value), which the first day of use will.
#
# **Predict** the AUC of each of the two click rates on the test rows: from all rows, and from the training rows alone.

# %%
lines = []
for run in runs:
    rng = np.random.default_rng(run.number)
    cookie = rng.integers(5_000, size=20_000)
    y = np.concatenate([run.train[1], run.validation[1], run.test[1]])
    is_test = np.arange(20_000) >= 7_000
    table = pd.DataFrame({"cookie": cookie, "click": y})
    line = []
    for rows in (table, table[~is_test]):
        rate = rows.groupby("cookie")["click"].mean().reindex(cookie[is_test])
        line.append(metrics.auc(y[is_test], rate.fillna(rows["click"].mean())))
    for rows in (table, table[~is_test]):
        encoder = TableEncoder([Categorical("cookie")]).fit(rows)
        line.append(encoder.unknown_rate(table[is_test])["cookie"])
    lines.append(line)
names = ["AUC, rate from all rows", "AUC, rate from training rows",
         "unknown, all rows", "unknown, training rows"]
leaks = pd.DataFrame(lines, columns=names, index=range(1, 6)).rename_axis("run")
leaks.round(3)

# %% tags=["claims"]
# five runs
assert (leaks.iloc[:, 0] > 0.75).all() and (abs(leaks.iloc[:, 1] - 0.5) < 0.03).all()
assert (leaks.iloc[:, 2] == 0).all() and (leaks.iloc[:, 3] > 0.1).all()

# %% [markdown]
# **What to look at**: a random cookie "predicts" clicks with an AUC above 0.75, because it has seen the answers. Done
# honestly it is worth 0.5, which is what it knows.
#
# Stopping at the epoch that the *test* rows like best is the same leak in small: the number reported can only be better
# than an honest one. With fifty settings and a small test set it gains much, and is probably behind some published
# gains (see Rendle et al. at the end for how baselines are treated).
#
# ## The AUC, by ranks
#
# The AUC is the probability that a random clicked row scores above a random row without click, ties counting half.
# With $n_1$ clicks and $n_0$ others there are $n_1 n_0$ such pairs:
#
# $$\text{AUC} = \frac{1}{n_1 n_0} \sum_{b: y_b = 1} \sum_{c: y_c = 0} \Big( [s_b > s_c] + \tfrac12 [s_b = s_c] \Big)
#  = \frac{R - n_1 (n_1 + 1) / 2}{n_1 n_0}$$
#
# where $R$ is the sum of the clicked rows' ranks among all rows (1 = lowest score; tied rows share the mean of their
# ranks). The double sum is the definition; the last expression needs only sorting.

# %%
def auc_by_pairs(y, s):
    """The definition: every click against every other row."""
    total = 0.0
    for click in s[y == 1]:
        for other in s[y == 0]:
            total += 1.0 if click > other else 0.5 if click == other else 0.0
    return total / (np.sum(y == 1) * np.sum(y == 0))


X, y = runs[0].test
s = fm.decision_function(X)
few_y, few_s = y[:300], np.round(s[:300])              # rounded logits: many ties
print(f"{len(np.unique(few_s))} different scores in 300 rows,",
      f"AUC {auc_by_pairs(few_y, few_s):.4f}")

# %% tags=["claims"]
assert np.isclose(auc_by_pairs(few_y, few_s), metrics.auc(few_y, few_s), atol=1e-12)

# %% [markdown]
# **Exercise 2.** The AUC by ranks, the last expression of the equation. `y` (N,) of 0 and 1, `s` (N,) scores, maybe
# with ties. `np.unique(s, return_inverse=True, return_counts=True)` helps: a value's ranks end at the cumulated count.

# %% tags=["exercise"]
# Exercise 2
def auc_by_ranks(y, s):
    """(N,), (N,) -> a number."""
    return None                      # your lines here

# %% tags=["check"]
def from_ranks(rank):
    """The last expression with these ranks, right or wrong, of the 300 rows."""
    n_1, n_0 = few_y.sum(), (few_y == 0).sum()
    return (rank[few_y == 1].sum() - n_1 * (n_1 + 1) / 2) / (n_1 * n_0)


_, place, count = np.unique(few_s, return_inverse=True, return_counts=True)
last = np.cumsum(count)
wrong = {
    "Tied rows got different ranks, in the order of the file.":
    few_s.argsort(kind="stable").argsort() + 1,
    "Tied rows got different ranks, as the sorting left them.":
    few_s.argsort().argsort() + 1,
    "argsort says which row is the lowest; a rank says how low a row is.":
    few_s.argsort() + 1,
    "Tied rows got the last of their ranks; they share the mean.": last[place],
    "Tied rows got the first of their ranks; they share the mean.":
    (last - count + 1)[place],
    "Those are the ranks of the values; a value that many rows share has many ranks.":
    place + 1,
    "The ranks begin at 1.": (last - (count + 1) / 2)[place]}
check("AUC with ties", auc_by_ranks(few_y, few_s), auc_by_pairs(few_y, few_s),
      mistakes={text: from_ranks(rank) for text, rank in wrong.items()})
check("AUC of all test rows", auc_by_ranks(y, s), metrics.auc(y, s));

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def auc_by_ranks(y, s):
#     values, place, count = np.unique(s, return_inverse=True, return_counts=True)
#     mean_rank = np.cumsum(count) - (count - 1) / 2
#     n_1, n_0 = np.sum(y == 1), np.sum(y == 0)
#     R = mean_rank[place][y == 1].sum()
#     return (R - n_1 * (n_1 + 1) / 2) / (n_1 * n_0)
# ```
#
# </details>

# %% [markdown]
# Ties are no corner case: an LR on a few fields gives the same score to many rows, and whoever breaks ties by the
# order of the file can win or lose points by sorting it.
#
# ## The same effort for everybody
#
# A comparison in which one model was tuned for a week and the others were run with their defaults measures the week.
# Here every model gets vectors of 8 numbers, the same four learning rates to try, on the same rows (of a run that is
# not used again), at most 30 epochs, stopped when three in a row brought nothing on validation (a *patience* of 3, the
# default). "Same effort" means *same number of tries*; same seconds, or same number of parameters, would be other fair
# rules. Say which one you took.
#
# **Predict** the order of the five by test AUC, on 5,000 rows of a world in which clicks come from main effects (what a
# field does alone) and pairs. Does the tuning table agree? Do the test rows, further down?

# %%
MODELS = {
    "LR": LR(),
    "FM": FM(embedding_dim=8),
    "AFM": AFM(embedding_dim=8, attention_dim=8),
    "AutoInt": AutoInt(embedding_dim=8, attention_dim=8, num_layers=2),
    "DeepFM": DeepFM(embedding_dim=8, deep_layers=(32, 16)),
}
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03)


def fit(name, run, learning_rate):
    """A fresh model of that kind, stopped by the run's validation rows."""
    model = MODELS[name].clone()
    model.set_params(learning_rate=learning_rate, epochs=30, seed=run.number)
    return model.fit(*run.train, validation=run.validation)


tuning = Run(100)
validation_loss = pd.DataFrame(index=list(MODELS), columns=LEARNING_RATES, dtype=float)
for name in MODELS:
    for rate in LEARNING_RATES:
        history = fit(name, tuning, rate).history_
        validation_loss.loc[name, rate] = history["val_loss"].min()
chosen = validation_loss.idxmin(axis=1)
validation_loss.round(4).assign(chosen=chosen)

# %% tags=["claims"]
# none at the edge: the list is long enough
assert chosen.between(LEARNING_RATES[1], LEARNING_RATES[-2]).all()

# %% [markdown]
# ## Five runs
#
# Each run draws new training, validation and test rows, and starts every model from another seed. So what varies
# between runs is all that would vary if you did the study again. Within a run all five models see exactly the same
# rows: the numbers of one run are *paired*.

# %%
lines = []
for run in runs:
    X, y = run.test
    for name in MODELS:
        p_click = fit(name, run, chosen[name]).predict_proba(X)[:, 1]
        lines.append({"run": run.number, "model": name, "AUC": metrics.auc(y, p_click),
                      "log loss": metrics.log_loss(y, p_click)})
    lines.append({"run": run.number, "model": "(the truth)",
                  "AUC": metrics.auc(y, run.probability),
                  "log loss": metrics.log_loss(y, run.probability)})
scores = pd.DataFrame(lines).pivot(index="run", columns="model")[["AUC", "log loss"]]


def mean_and_range(column):
    return f"{column.mean():.3f}  ({column.min():.3f} to {column.max():.3f})"


table = pd.DataFrame({metric: scores[metric].apply(mean_and_range)
                      for metric in ("AUC", "log loss")})
table.loc[[*MODELS, "(the truth)"]]

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for ax, metric in zip(axes, ("AUC", "log loss"), strict=True):
    for number, marker in zip(scores.index, "osv^D", strict=True):
        ax.plot(list(MODELS)[1:], scores.loc[number, metric][list(MODELS)[1:]],
                marker=marker, label=f"run {number}")
    ax.set(title=f"{metric} (LR: {scores[metric]['LR'].mean():.2f})",
           ylabel=f"{metric} on the run's test rows")
legend = axes[1].legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))

auc, loss = scores["AUC"], scores["log loss"]

# %% tags=["claims"]
# five runs
assert (auc["FM"] - auc["LR"] > 0.1).all() and (loss["LR"] - loss["FM"] > 0.03).all()
assert (auc["FM"] > auc["AutoInt"]).all() and (auc["FM"] - auc["AutoInt"]).mean() > 0.01
three = auc[["FM", "AFM", "DeepFM"]].mean()
assert three.max() - three.min() < 0.025
assert auc[list(MODELS)].lt(auc["(the truth)"] - 0.02, axis=0).all(axis=None)

# %% [markdown]
# **What to look at**: each line is one run. Where lines run in parallel, the runs differ in how hard their rows are,
# for all models alike, and a difference within a run is free of that. Where lines cross, it is not. LR is far behind in
# every run, and left out of the picture: it has no pairs, and this world lives on them. FM, AFM and DeepFM lie within
# 0.025 AUC of one another on average. AutoInt is behind FM in each of the five runs, **with 5,000 rows**: the data sets
# of its paper are more than a hundred times as large, and there the order is another one. All are below the truth, so
# there is still something to learn.
#
# ## Is the difference real?
#
# For models A and B with results $A_r$, $B_r$ in runs $r = 1..n$, look at the differences $d_r = A_r - B_r$:
#
# $$\bar d = \frac1n \sum_r d_r, \qquad \text{se} = \sqrt{\frac{1}{n (n-1)} \sum_r (d_r - \bar d)^2}, \qquad
#   \bar d \pm t_{n-1} \cdot \text{se}$$
#
# The *standard error*, se, says how far the mean of $n$ differences typically lies from that of very many. Of *95 %
# intervals*, one from each of many such studies, 95 in 100 hold that mean of very many; how many standard errors it
# takes, $t_{n-1}$, is in the table of Student's t, in the row of $n - 1$ *degrees of freedom* ($n$ differences, less
# the one mean taken from them). For five runs it is $t_4 = 2.776$, if differences are normal and runs independent.
#
# **Exercise 3.** The mean paired difference A - B, its standard error, and the two ends of its interval. `A`, `B`: (n,)
# results of two models in n runs; `t`: the factor of the interval.

# %% tags=["exercise"]
# Exercise 3
def paired_difference(A, B, t):
    """(n,), (n,), a number -> (mean, standard error, low, high)."""
    return None                      # your lines here

# %% tags=["check"]
def four(mean, se, t=2.776):
    """Mean, standard error, low, high."""
    return [mean, se, mean - t * se, mean + t * se]


def mean_and_error(A, B):
    """Straight from the equations."""
    n, mean, squares = len(A), 0.0, 0.0
    for r in range(n):
        mean += (A[r] - B[r]) / n
    for r in range(n):
        squares += (A[r] - B[r] - mean) ** 2
    return mean, np.sqrt(squares / (n * (n - 1)))


A, B = loss["AFM"].to_numpy(), loss["FM"].to_numpy()
n = len(A)
mean, se = mean_and_error(A, B)
unpaired = np.sqrt((A.var(ddof=1) + B.var(ddof=1)) / n)
yours = several(paired_difference(A, B, 2.776), "mean", "se", "low", "high")
five = check("log loss, AFM - FM: mean, standard error, low, high",
             None if yours[0] is None else yours, four(mean, se), mistakes={
          "That is B - A; A - B was asked for.": four(-mean, se),
          "Divide by n - 1, not by n: np.std and np.var do so with ddof=1.":
          four(mean, se * np.sqrt((n - 1) / n)),
          "That is the standard error of unpaired results.": four(mean, unpaired),
          "That is the deviation of one difference, not of their mean.":
          four(mean, se * np.sqrt(n)),
          "That is the square of the standard error.": four(mean, se ** 2),
          "The interval takes t standard errors to each side, not one.":
          four(mean, se, 1)})
if five:
    few = auc["DeepFM"].to_numpy()[:4], auc["FM"].to_numpy()[:4]
    mean, se = mean_and_error(*few)
    check("the same of four runs: AUC, DeepFM - FM, t = 3.182",
          paired_difference(*few, 3.182), four(mean, se, 3.182), mistakes={
              "Take the number of runs from A: here they are not five.":
              four(mean, se * np.sqrt(4 / 5), 3.182),
              "Take the factor t that is handed over: here it is not 2.776.":
              four(mean, se)})

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def paired_difference(A, B, t):
#     d = A - B
#     mean, se = d.mean(), d.std(ddof=1) / np.sqrt(len(d))
#     return mean, se, mean - t * se, mean + t * se
# ```
#
# `ddof=1` divides by $n-1$; NumPy's default divides by $n$ and makes a spread from five numbers too small by a tenth.
#
# </details>

# %%
def against_fm(result, fm, metric):
    """One line of the tables below: a model's results and FM's in the same runs."""
    d = result - fm
    se = d.std(ddof=1) / np.sqrt(len(d))
    return {"minus FM": d.mean(), "low": d.mean() - 2.776 * se,
            "high": d.mean() + 2.776 * se,
            "better in": int((d > 0).sum() if metric == "AUC" else (d < 0).sum()),
            "se": se,
            "se if unpaired": np.sqrt((result.var(ddof=1) + fm.var(ddof=1)) / len(d))}


differences = pd.DataFrame({
    (name, metric): against_fm(scores[metric][name], scores[metric]["FM"], metric)
    for name in ("LR", "AFM", "AutoInt", "DeepFM") for metric in ("AUC", "log loss")}).T
differences.index.names = ["model", "metric"]
differences.astype({"better in": int}).round(4)

# %% tags=["claims"]
# five differences of two equal models, many times
d = np.random.default_rng(0).standard_normal((200_000, 5))
t = abs(d.mean(axis=1)) / (d.std(axis=1, ddof=1) / np.sqrt(5))
covered = {factor: (t < factor).mean() for factor in (1.96, 2.776)}
# 1.96 is for many runs, not for five
assert abs(covered[2.776] - 0.95) < 0.005 and covered[1.96] < 0.89
assert differences.loc[("LR", "AUC"), "high"] < 0
assert differences.loc[("AutoInt", "AUC"), "high"] < 0

# %%
fig, ax = plt.subplots(figsize=(6.5, 2.4), layout="constrained")
rows = differences.xs("AUC", level="metric").drop("LR")
error = np.stack([rows["minus FM"] - rows["low"], rows["high"] - rows["minus FM"]])
ax.errorbar(rows["minus FM"], rows.index, xerr=error, fmt="o", color="#0072B2",
            capsize=4)
ax.set(xlabel="AUC minus FM's in the same run, 95 % interval", title="Against FM")
ax.margins(y=0.3)
line = ax.axvline(0, color="black", linestyle="--")

# %% [markdown]
# (With 1.96 in the place of 2.776, as for many runs, an interval from five would hold the truth in less than 89 % of
# cases, asserted. *Better in*: runs of five; for log loss below 0 is better. *se if unpaired* is what the standard
# error would be, had the runs of the two models nothing in common.)
#
# **What to look at**: intervals that hold the dashed line. There five runs do not decide, and the honest sentence is
# "we saw no difference that we could tell from chance". Intervals that stay on one side are differences of *these
# models, on this world, at this size, tuned like this*. Three comparisons are in the picture, eight in the table; of
# twenty intervals one misses on average, so do not hunt among many for the one that suits you. "Tuned like this" is
# meant. Here are AFM and DeepFM once more, with the learning rate 0.01 for all three instead of the rate that was
# chosen for each:

# %%
def auc_at_one_rate(name, run):
    return metrics.auc(run.test[1], fit(name, run, 0.01).decision_function(run.test[0]))


at_one_rate = pd.DataFrame({name: {run.number: auc_at_one_rate(name, run)
                                   for run in runs}
                            for name in ("FM", "AFM", "DeepFM")})
verdicts = pd.DataFrame({(name, rates): against_fm(result[name], result["FM"], "AUC")
                         for name in ("AFM", "DeepFM")
                         for rates, result in (("chosen rates", auc),
                                               ("0.01 for all", at_one_rate))}).T
verdicts.index.names = ["model", "learning rate"]
verdicts.astype({"better in": int}).round(4)

# %% tags=["claims"]
afm, afm_at_one, deepfm, deepfm_at_one = (line for _, line in verdicts.iterrows())
of_autoint = differences.loc[("AutoInt", "AUC")]
assert afm["low"] < 0 < afm_at_one["low"]
assert afm_at_one["minus FM"] < 0.015
assert afm_at_one["better in"] == 5
assert deepfm["minus FM"] < -0.005 < deepfm_at_one["minus FM"]
assert deepfm["high"] < 0 and deepfm_at_one["low"] < 0 < deepfm_at_one["high"]
of_deepfm = differences.loc[("DeepFM", "log loss")]
assert of_deepfm["low"] < 0 < of_deepfm["high"]
assert validation_loss.min(axis=1).idxmin() == "DeepFM"
assert afm_at_one["se"] < 0.5 * afm_at_one["se if unpaired"]
assert of_autoint["se"] > 0.6 * of_autoint["se if unpaired"]
assert validation_loss.loc["AFM", 0.01] - validation_loss.loc["AFM"].min() < 0.01

# %% [markdown]
# **What to look at**: AFM. With the rates chosen on one run its interval holds 0: no difference that we could tell from
# chance. With 0.01 for all, a rate that is hardly worse in the tuning table, AFM is ahead of FM in all five runs, by
# less than 0.015 on average, and the interval does not hold 0. DeepFM, the best of all in the tuning table, moves as
# well: with the chosen rates it is behind FM by AUC, and undecided by log loss (two tables up); at 0.01 its interval of
# the AUC holds 0. So the verdict about a hundredth of AUC hangs on how the learning rate was chosen,
# and one tuning run with 2,000 validation rows is little to choose it by.
#
# The last two columns show what pairing did. Where two models are better and worse in the same runs it pays (AFM at one
# rate: the standard error is less than half of the unpaired one). Where they are not, it gains little (AutoInt).
#
# ## When FM is enough
#
# The clicks of this world come from main effects and pairs, nothing else, and that is FM's own equation. There is
# nothing for a deep part to find, only to learn anew. (FM's *equation* is right; that does not make its *estimate* the
# best one from few rows. [09](09_write_your_own_layer.ipynb) builds a model with the same pairs that is ahead of FM
# here.) In a world where **three** fields must come together no sum of
# pairs can help: let the click depend on whether an odd number of three switches is on. Given any two of them, the
# third still decides, so that fields and pairs alone say nothing.
#
# **Predict** the AUC of FM, AFM, DeepFM and AutoInt: [06](06_let_fields_talk_with_autoint.ipynb) asked which of them
# *can* see it; which do, from 4,000 rows?

# %%
lines, of_pairs = [], []
for seed in range(3):
    rng = np.random.default_rng(seed)
    switch = rng.integers(2, size=(6_000, 3))
    y = (rng.random(6_000) < np.where(switch.sum(axis=1) % 2, 0.8, 0.2)).astype(int)
    # whole numbers are taken as categories
    X = pd.DataFrame({name: switch[:, i] for i, name in enumerate("abc")})
    of_pairs.append(X.assign(y=y).groupby(["a", "b"])["y"].mean())
    models = {"FM": FM(learning_rate=0.02), "AFM": AFM(learning_rate=0.02),
              "DeepFM": DeepFM(learning_rate=0.01, deep_layers=(32, 16)),
              "AutoInt": AutoInt(learning_rate=0.01, embedding_dim=8, attention_dim=8)}
    for model in models.values():
        model.set_params(epochs=15, seed=seed).fit(X[:4_000], y[:4_000], validation=0.2)
    lines.append({name: metrics.auc(y[4_000:], model.predict_proba(X[4_000:])[:, 1])
                  for name, model in models.items()})
odd = pd.DataFrame(lines)
odd.agg(["mean", "min", "max"]).round(3)

# %% tags=["claims"]
assert all(abs(rates - 0.5).max() < 0.05 for rates in of_pairs)    # two: a coin
# the truth: 0.8
assert (abs(odd["FM"] - 0.5) < 0.1).all()
assert (odd[["AFM", "DeepFM", "AutoInt"]] > 0.7).all().all()

# %% [markdown]
# FM stays near 0.5 with all three seeds. DeepFM and AutoInt reach the 0.8 that there is. So does AFM: its
# softmax lets every pair's weight depend on the other pairs, so that AFM is more than a sum of pair effects. On data of
# your own, both outcomes are an answer: if a deep model does not beat FM beyond the interval, take FM, and enjoy its
# exact explanations.
#
# ## Spot the bug: an AUC that depends on the batch size
#
# A training loop that reports the training AUC of an epoch:
#
# ```python
# aucs = []
# for start in range(0, len(y), batch_size):
#     rows = slice(start, start + batch_size)
#     train_step(X[rows], y[rows])
#     aucs.append(auc(y[rows], predict(X[rows])))
# print("train AUC", np.mean(aucs), "  validation AUC",
#       auc(y_validation, predict(X_validation)))
# ```
#
# Before you read on: there are three things wrong with comparing these two numbers. Which? The cell below shows
# two of them; the answer is folded behind it.

# %%
def mean_of_batch_aucs(y, s, batch_size):
    """What the loop reports, for fixed scores; a batch with one class gives nan."""
    batches = [slice(start, start + batch_size)
               for start in range(0, len(y), batch_size)]
    aucs = np.array([metrics.auc(y[rows], s[rows]) if 0 < y[rows].mean() < 1 else np.nan
                     for rows in batches])
    return {"batches": len(aucs), "with one class": int(np.isnan(aucs).sum()),
            "mean": aucs.mean(),
            "mean without nan": np.nanmean(aucs)}


X, y = runs[0].test
s = fm.decision_function(X)
# a file sorted by two fields
in_order = np.lexsort([X["ad_category"], X["user_segment"]])
# one click in twenty kept
rare = np.flatnonzero((y == 0) | (np.random.default_rng(0).random(len(y)) < 0.05))
cases = {"random order": np.arange(len(y)), "in the order of two fields": in_order,
         "rare clicks": rare}
report = pd.DataFrame({name: {"AUC": metrics.auc(y[rows], s[rows]),
                              **mean_of_batch_aucs(y[rows], s[rows], 64)}
                       for name, rows in cases.items()}).T
report.astype({"batches": int, "with one class": int}).round(3)

# %% tags=["claims"]
# order does not matter
assert np.isclose(metrics.auc(y, s), metrics.auc(y[in_order], s[in_order]), atol=1e-12)
in_batches = report["mean without nan"]
assert in_batches["in the order of two fields"] < metrics.auc(y, s) - 0.05
assert np.isnan(report["mean"]).tolist() == [False, True, True]
assert report.loc["rare clicks", "with one class"] > 20

# %% [markdown]
# **What to look at**: the two columns *mean* beside *AUC*. In random order and with many clicks the bug hides. Sort
# the rows, which changes nothing about the model, and the reported number falls by more than 0.05, if it is a number
# at all: in two of the three orders a batch without a click makes it nan.
#
# <details><summary>Answer</summary>
#
# 1. A batch without any click, or with clicks only, has no AUC: an error or nan, and one nan makes the mean nan.
#    Leaving those batches out changes what is measured.
# 2. The AUC is no mean over rows. It compares rows with each other, and the batch-wise mean leaves out all
#    comparisons between batches. If the rows come in the order of a field, that is most of what the model knows.
# 3. Each batch is scored by other weights, as training goes on. (The running mean of the loss shares this one; for
#    the loss, a mean over rows, it is the only one.)
#
# The public thread is [shenweichen/DeepCTR-Torch#147](https://github.com/shenweichen/DeepCTR-Torch/issues/147): rare
# clicks, batches with one class, and a training metric that is a mean over batches beside a validation metric over
# all rows. A [gradient check](glossary.md#gradient-check) has nothing to say, as metrics have no gradient. What
# catches it: compute the metric for the same scores with two batch sizes, and in two orders of the rows. It must not
# change.
#
# </details>
#
# ## Plug yours in
#
# A study with your own tools from end to end: your split, your AUC and your interval, AFM against FM on five splits of
# 6,000 rows. Beside it, on the same splits, the library's AUC and the interval as above.

# %% tags=["yours"]
def study(split, auc, difference):
    """Mean difference of AUC, AFM - FM, its standard error and interval."""
    results = {"AFM": [], "FM": []}
    for seed in range(5):
        rows = datasets.make_clicks(6_000, seed=0, rows_seed=200 + seed)
        rng = np.random.default_rng(seed)
        train, validation, test = split(6_000, 1_000, 2_000, rng)
        for name in results:
            model = MODELS[name].clone().set_params(learning_rate=0.01, epochs=8)
            model.fit(rows.X.iloc[train], rows.y[train],
                      validation=(rows.X.iloc[validation], rows.y[validation]))
            s = model.decision_function(rows.X.iloc[test])
            results[name].append(auc(rows.y[test], s))
    return difference(np.array(results["AFM"]), np.array(results["FM"]), 2.776)


def library_difference(A, B, t):
    line = against_fm(A, B, "AUC")
    return [line[name] for name in ("minus FM", "se", "low", "high")]


tools = (three_parts(10, 2, 3, np.random.default_rng(0)), auc_by_ranks(y, s),
         paired_difference(A, B, 2.776))
if any(one is None for one in tools):                  # an exercise is open
    check("your study", None, 0)
else:
    yours = study(three_parts, auc_by_ranks, paired_difference)
    check("your study", yours, study(three_parts, metrics.auc, library_difference))
    print("AFM - FM: mean, standard error, interval:", np.round(yours, 4))

# %% [markdown]
# ## On your own
#
# - Repeat the five runs with 2,000 training rows and with 30,000 (draw more of them). Does the order of the models
#   change? Which one gains most from more rows?
# - Give DeepFM dropout and AFM `reg`, two values each, and everybody else two more tries as well. Is any interval now
#   on the other side of 0?
# - Use one data set and five random splits of it instead of five fresh draws. Compare the standard errors. Why are
#   they too small now? (The training parts share most of their rows.)
#
# ## In practice
#
# - **One data set only**: then repeat seeds and splits, or use [cross-validation](glossary.md#cross-validation), say
#   that runs share rows, and read the interval as too narrow.
# - **Report both numbers**: the AUC judges the order alone. If probabilities are multiplied with a price, as in an
#   auction, log loss and [calibration](glossary.md#calibration) matter more.
# - **A baseline that is not tuned is not a baseline**: papers disagree about the order of these five models on the
#   same public data, and tuning is most of the reason. An FM with a learning rate chosen as carefully as yours is
#   hard to beat by much.
# - **The best learning rate at the edge of the list** means that the list was too short: make it longer, for all.
# - **Test once.** If you went back and changed something after looking, the test rows have become validation rows.
#
# ## Next
#
# The core path ends here. What is left is [electives](README.md#electives), in any order: your own layer, your own CSV,
# DeepFM, PyTorch, the papers' tables.
#
# ## Further reading
#
# - S. Rendle, L. Zhang, Y. Koren, [On the difficulty of evaluating baselines](https://arxiv.org/abs/1905.01395): what
#   happens to published gains when the old methods are tuned too.
# - C. Nadeau, Y. Bengio, [Inference for the generalization error](https://doi.org/10.1023/A:1024068626366), Machine
#   Learning 2003: intervals when runs share training rows.
# - W. Song et al., [AutoInt](https://arxiv.org/abs/1810.11921), table 2: the same five models on four large data
#   sets.
