# %% [markdown]
# # Go from the paper to the table
#
# **What you'll do**: take two public data sets from their raw files to the figures that two papers print for them,
# and say how close, over several seeds.
#
# **What you'll learn**: turn ratings into the rows of a benchmark; split them without a leak; give every model the
# same budget; report a mean with its spread; see which differences are larger than the spread.
#
# **What you'll need**: [08](08_compare_fairly.ipynb), which has splits, spreads and intervals. The figures of the real
# data come from a run of about an hour, kept in the folder `results` with the command that makes them; each step of it
# is repeated below on a small made set, or on the real files where you have them.
#
# **Time**: 30 minutes, exercises included.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import AFM, FM, LR, Numerical, datasets, metrics
from minictr.datasets import frappe, ml_1m
from minictr.exercises import check, several

# Test figures as the papers print them: AUC and log loss from tables 2 and 5 of Song et
# al. (2019), RMSE from table 2 of Xiao et al. (2017), where FM is the program LibFM.
PAPER = pd.DataFrame({"AUC": [0.7716, 0.8252, 0.8227, 0.8437, 0.8456],
                      "log loss": [0.4424, 0.3998, 0.4048, 0.3846, 0.3797]},
                     index=["LR", "FM", "AFM", "DeepFM", "AutoInt"])
PAPER_FRAPPE = pd.DataFrame({"RMSE": [0.3385, np.nan, 0.3102]},
                            index=["FM", "AFM-even", "AFM"])

runs = {name: json.loads(Path("results", f"{name}.json").read_text())
        for name in ("ml-1m", "frappe", "frappe-k256")}
ours = {name: pd.DataFrame(run["results"]) for name, run in runs.items()}

figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained",
                            width_ratios=[3, 2])
panels = ((axes[0], ours["ml-1m"], PAPER, "AUC", "MovieLens-1M (higher is better)"),
          (axes[1], ours["frappe-k256"], PAPER_FRAPPE, "RMSE",
           "Frappe (lower is better)"))
for ax, measured, paper, measure, title in panels:
    for place, model in enumerate(paper.index):
        values = measured.loc[measured["model"] == model, measure]
        ax.plot(np.full(len(values), place), values, "o", color="#0072B2", alpha=0.6,
                label="minictr, one dot a seed" if place == 0 else None)
        ax.plot(place, paper.loc[model, measure], "_", color="#D55E00", markersize=22,
                markeredgewidth=2, label="the paper" if place == 0 else None)
    ax.set(xticks=range(len(paper)), xticklabels=paper.index, ylabel=f"test {measure}",
           title=title)
    ax.margins(x=0.15)
axes[0].legend()
figure.align_labels()

# %% [markdown]
# What to look at: the dots of one model lie close enough to tell LR, AutoInt and DeepFM apart by one run each; AFM
# from FM on the left, or AFM-even from FM on the right, not. The distance from dots to the paper's bar is another
# matter, and has reasons that we come to. AFM-even, which the paper does not have, is AFM with its attention frozen
# at even weights.
#
# ## Turn ratings into likes
#
# MovieLens-1M is a million ratings from 1 to 5. Song et al. (2019, section 5.1) make a click-like task of it: a
# rating below 3 is a dislike (y = 0), above 3 a like (y = 1), and exactly 3 says neither and is dropped.
#
# The switch: `True` takes the real files from the folder that the environment variable `MINICTR_DATA` names, from a
# cache, or by download; the licence does not allow them to come with minictr. `False` draws ratings of the same form.

# %%
REAL_DATA = False

data = ml_1m.load() if REAL_DATA else datasets.make_ratings(seed=0)
print(f"{len(data['ratings']):,} ratings; the first:")
data["ratings"].head(3)

# %% [markdown]
# **Exercise 1.** From an array of ratings, which rows stay, and what is y? Return two arrays: `kept`, True or False for
# each row, and `y`, 0 or 1 for each row that is kept.

# %% tags=["exercise"]
# Exercise 1
def likes(rating):
    """(N,) ratings 1..5 -> kept (N,) bool, and y (kept rows,) int."""
    return None                      # your lines here; end with: return kept, y

# %% tags=["check"]
answer = likes(np.array([1, 5, 3, 4, 2, 3]))
kept, y_of_kept = several(answer, "kept", "y")
check("which rows stay", kept, [True, True, False, True, True, False],
      mistakes={"The 3s are to go, not to stay.":
                [False, False, True, False, False, True]})
check("their labels", y_of_kept, [0, 1, 1, 0],
      mistakes={"A 2 is a dislike: a like is above 3.": [0, 1, 1, 1]});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def likes(rating):
#     kept = rating != 3
#     return kept, (rating[kept] > 3).astype(int)
# ```
#
# </details>

# %% [markdown]
# `ml_1m.as_ctr` does this and joins the paper's seven [fields](glossary.md#field). User and film are not among them:
# the paper leaves the ids out, and all that a model knows of a user is gender, age, occupation and zip code.

# %%
X, y = ml_1m.as_ctr(data)
rating = data["ratings"]["rating"]
print(f"{len(X):,} rows, {y.mean():.1%} of them likes")
X.head(3)

# %% tags=["claims"]
if REAL_DATA:
    assert len(X) == 739_012                                      # the paper's number
assert len(X) == (rating != 3).sum() and y.sum() == (rating > 3).sum()

# %% [markdown]
# ## Split once, and let nothing cross
#
# 80 % of the rows to learn from, 10 % to decide when to stop, 10 % to report. Each row belongs to exactly one part.
# The vocabularies, too, are learned from the training part alone; `fit` sees to that. A value that only test rows
# have is [unknown](glossary.md#unknown-value), as it would be in use.
#
# ## Give every model the same budget
#
# Same rows, same vector size, same optimizer, learning rate and batch, and the same rule to stop: when three epochs
# have not lowered the validation loss, go back to the best epoch. Nothing is tuned for any model. That is fair in the
# sense that no model got more of our attention than another. It is not the best that each could do.

# %%
def parts_of(n, seed):
    """Row numbers for training, validation and test, in random order."""
    return np.split(np.random.default_rng(seed).permutation(n),
                    [n * 8 // 10, n * 9 // 10])


def train(model_class, seed, **settings):
    """One training of the benchmark, and its AUC and log loss on the test rows."""
    train, validation, test = parts_of(len(X), seed)
    fields = [name if name != "request_time" else Numerical(name) for name in X.columns]
    model = model_class(fields=fields, batch_size=1024 if REAL_DATA else 256,
                        learning_rate=0.001, epochs=60, seed=seed,
                        **settings)
    model.fit(X.iloc[train], y[train], validation=(X.iloc[validation], y[validation]))
    p = model.predict_proba(X.iloc[test])[:, 1]
    return {"model": model_class.__name__, "seed": seed, "AUC": metrics.auc(y[test], p),
            "log loss": metrics.log_loss(y[test], p),
            "best epoch": model.history_.attrs["best_epoch"],
            "log loss of the base rate":
            metrics.log_loss(y[test], np.full(len(test), y[train].mean()))}


SEEDS = [0] if REAL_DATA else [0, 1, 2]
lines = [train(LR, seed) for seed in SEEDS] + [train(FM, seed, embedding_dim=16)
                                               for seed in SEEDS]
if not REAL_DATA:
    lines += [train(AFM, seed, embedding_dim=16) for seed in SEEDS]
here = pd.DataFrame(lines)
here.round(4)

# %% tags=["claims"]
assert (here["log loss"] < here["log loss of the base rate"]).all()

# %% [markdown]
# The loss of predicting the [base rate](glossary.md#base-rate) stands beside each figure. With the switch on, these
# are the very trainings of the long run, so they must give its figures; the next cell asserts it. On the made ratings
# the figures mean something else: those ratings hold a pair effect of gender and age with genres, and no more.

# %%
if REAL_DATA:
    for line in lines:
        kept = ours["ml-1m"].query("model == @line['model'] and seed == @line['seed']")
        kept = kept.iloc[0]
        assert abs(kept["AUC"] - line["AUC"]) < 0.003, (kept["AUC"], line["AUC"])
else:
    by_model = here.pivot(index="seed", columns="model", values="log loss")
    # pairs were planted: who sees them gains, each time
    assert (by_model["FM"] < by_model["LR"]).all()

# %% [markdown]
# ## Report a mean and a spread
#
# A split and a start are drawn at random, so one figure is one draw. Report the mean over seeds and the standard
# deviation of a single training (from n - 1), and compare two models *on the same split*, seed by seed: what the
# split does to both cancels in the difference. [08](08_compare_fairly.ipynb) has
# both as exercises.

# %%
def beside_paper(measured, paper):
    """One line a model: the paper's figure, ours with its spread, the difference."""
    columns = {}
    for measure in paper.columns:
        by_model = measured.groupby("model", sort=False)[measure]
        columns[f"{measure}, paper"] = paper[measure]
        columns[f"{measure}, mean"] = by_model.mean()
        columns[f"{measure}, deviation"] = by_model.std()
        columns[f"{measure}, difference"] = by_model.mean() - paper[measure]
    return pd.DataFrame(columns).loc[paper.index]


print(runs["ml-1m"]["command"])
print(runs["ml-1m"]["setting"])
n_seeds = ours["ml-1m"]["seed"].nunique()
table = beside_paper(ours["ml-1m"], PAPER)
table.round(4)

# %%
wide = ours["ml-1m"].pivot(index="seed", columns="model", values="AUC")
loss = ours["ml-1m"].pivot(index="seed", columns="model", values="log loss")
afm_ahead = pd.DataFrame({"AUC": wide["AFM"] - wide["FM"],
                          "log loss": loss["FM"] - loss["AFM"]})
afm_ahead.round(4)

# %% tags=["claims"]
assert n_seeds >= 5
assert (table["AUC, deviation"] < 0.005).all()  # the seed moves the third digit
assert (table.loc[["LR", "AFM", "DeepFM"], "AUC, difference"].abs() < 0.005).all()
# FM is a little below the paper's
assert -0.01 < table.loc["FM", "AUC, difference"] < -0.005
assert -0.02 < table.loc["AutoInt", "AUC, difference"] < -0.01  # AutoInt is well below
for better, worse in (("DeepFM", "AutoInt"), ("AutoInt", "AFM"), ("AutoInt", "FM"),
                      ("FM", "LR"), ("AFM", "LR")):
    assert (wide[better] > wide[worse]).all(), (better, worse)  # in every single split
# close, and not in every split
assert (afm_ahead.mean().abs() < 0.004).all() and (afm_ahead < 0).any().all()

# %% [markdown]
# What to look at: three models come within .005 of the paper's AUC, FM within .01, AutoInt does not. The last table
# is AFM against FM on the same splits, positive where AFM is better: ahead on average by AUC, level by log loss, and
# behind in some splits by either. From these five splits nobody should choose between the two. What is known of the
# distances:
#
# - The paper gave AutoInt dropout, chosen on this data set; here no model has any. Equal budgets cut both ways.
# - The paper has the time of each request. Copies of MovieLens-1M are about in which the time is only a position
#   within the user's own ratings; the long run used one, and a stand-in for the time.
# - The paper has AutoInt ahead of DeepFM, by .0019. In every one of our splits DeepFM is ahead. A difference of that
#   size is not a property of two models; it is one of two models, their settings, and a data set.
# - In the paper's table AFM is behind FM on this data set, here it is level or ahead. minictr starts AFM at FM's
#   scale (p at P, see the docstring of `AFM`); a start at 1 would cost it epochs. That is a possible reason, not
#   tested on these data.
#
# ## Do the same with Frappe
#
# Frappe: which app did a user open, in which situation? Ten fields; for each use two rows with an app that the user
# never opened. Xiao et al. (2017) regress on labels +1 and -1 with squared loss, clip predictions to that range, and
# print the RMSE. The files are in libfm's format, one row a line:

# %%
# made up
line = "1 12:1 1003:1 5040:1 5049:1 5053:1 5055:1 5058:1 5062:1 5080:1 5200:1"
label, *pairs = line.split()
ids = np.array([int(pair.split(":")[0]) for pair in pairs])
row = dict(zip(frappe.FIRST_ID, ids - np.array(list(frappe.FIRST_ID.values())),
               strict=True))
print("label", label, "fields", {name: int(value) for name, value in row.items()})

# With one label of three at +1, the constant -1/3 has this RMSE: what "no model" gets.
constant = np.sqrt((1 / 3) * (1 + 1 / 3) ** 2 + (2 / 3) * (-1 + 1 / 3) ** 2)
if REAL_DATA:
    tables = frappe.load()
    assert {part: len(rows) for part, rows in tables.items()} == frappe.ROWS
    labels = tables["test"]["label"]
    assert abs(np.sqrt(((labels - tables["train"]["label"].mean()) ** 2).mean())
               - constant) < 0.01
print(f"RMSE of the mean: {constant:.4f}")

# %%
frappe_table = pd.concat({run["setting"]: beside_paper(ours[name], PAPER_FRAPPE)
                          for name, run in runs.items() if name.startswith("frappe")})
for name in ("frappe", "frappe-k256"):
    by_seed = ours[name].pivot(index="seed", columns="model", values="RMSE")
    # what training on alone brings
    assert (by_seed["FM"] - by_seed["AFM-even"]).between(0, 0.0031).all()
    # what the attention brings
    assert (by_seed["AFM-even"] - by_seed["AFM"] > 0.015).all()
print(runs["frappe-k256"]["command"])
frappe_table.round(4)

# %% tags=["claims"]
assert (frappe_table["RMSE, mean"] < constant / 2).all()
# its sizes
assert (beside_paper(ours["frappe-k256"], PAPER_FRAPPE)["RMSE, difference"].dropna()
        < 0.003).all()

# %% [markdown]
# What to look at: the lower half has the paper's sizes, and reaches the paper's figures. The upper half has smaller
# vectors and larger batches, which move both models by .025, as much as the attention does. AFM starts from the
# trained FM, as in the paper, and goes on to a clearly lower error. Is it the attention, or only the further
# training? AFM-even tells: it is trained on in just the same way with its attention at 1/P for ever, while bias,
# weights, vectors and p go on learning, and gains .003 at most. So on this data set the gain is the attention's, in
# every seed. On MovieLens-1M it was hardly to be seen. Neither is a law.
#
# One more thing belongs beside these figures. The published training file was not to be had, so the *training
# negatives were drawn anew* by the published rule. Validation and test are the published files.
#
# ## The whole table, with an equal budget
#
# Above, nothing was tuned. The other fair way is to tune everything equally: `python -m benchmarks.papers TABLE` gives
# each system of a paper's table six settings, drawn at random from a space that is stated beforehand, chooses among
# them on validation rows, and trains the chosen one with three seeds. The test rows are read after that. It takes
# hours; what has been run so far is kept, and a line with 0 seeds and no figures has not.

# %%
kept = json.loads(Path("results", "papers.json").read_text())
whole = {name: pd.DataFrame(kept[name]).drop(columns="code").set_index("system")
         for name in ("afm-2", "autoint-2")}
for name, measure in (("afm-2", "RMSE"), ("autoint-2", "AUC")):
    measured = whole[name][f"{measure}, mean"].notna()
    assert (measured == (whole[name]["seeds"] > 0)).all()
    whole[name] = whole[name].astype({column: float
                                      for column in whole[name] if column != "seeds"})
whole["afm-2"].round(4)

# %%
whole["autoint-2"].drop(columns=[name for name in whole["autoint-2"]
                                 if name.startswith("log loss")]).round(4)

# %% [markdown]
# What to look at: the difference between ours and the paper's beside the deviation over seeds, and the number of
# parameters. The settings that won, and what they were drawn from, are on the page of these tables in the
# documentation.
#
# ## Spot the bug: which rows does an epoch see?
#
# The authors' AFM program ([hexiangnan/attentional_factorization_machine][afm]) draws each batch as a window of
# consecutive rows at a random place, n / B windows an epoch. It trains, the loss falls, every gradient is right.
# **Predict** before you run the next cells: what share of the rows does one such epoch leave out?
#
# [afm]: https://github.com/hexiangnan/attentional_factorization_machine

# %%
def windows(n, B, rng):
    """Row numbers of an epoch's batches, windows at random places: n // B of (B,)."""
    return [start + np.arange(B) for start in rng.integers(0, n - B, size=n // B)]


def shuffled(n, B, rng):
    """The same with every row once."""
    return np.split(rng.permutation(n), range(B, n, B))

# %% [markdown]
# **Exercise 2.** What share of the `n` rows is in none of an epoch's `batches`?

# %% tags=["exercise"]
# Exercise 2
def share_left_out(batches, n):
    """batches: list of int arrays -> a number from 0 to 1."""
    return None                      # your lines here

# %% tags=["check"]
rng = np.random.default_rng(0)
some = [np.array([0, 1, 2]), np.array([2, 3, 4])]  # of 8 rows: 5, 6 and 7 are left out
check("left out, by hand", share_left_out(some, 8), 3 / 8,
      mistakes={"That is the share of rows that are seen.": 5 / 8,
                "Rows after the last one seen count too: np.bincount needs "
                "minlength=n.": 0.0,
                "Row 2 is in both batches, and is one row.": 2 / 8})
check("left out, shuffled rows", share_left_out(shuffled(10_000, 128, rng), 10_000),
      0.0);

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def share_left_out(batches, n):
#     visits = np.bincount(np.concatenate(batches), minlength=n)
#     return (visits == 0).mean()
# ```
#
# </details>

# %%
n, B = 202_027, 128  # Frappe's training rows, the paper's batch
visits = np.zeros(n)
left_out = []
for seed in range(20):
    seen = np.bincount(np.concatenate(windows(n, B, np.random.default_rng(seed))),
                       minlength=n)
    left_out.append((seen == 0).mean())
    visits += seen
print(f"an epoch of windows leaves out {np.mean(left_out):.1%} of the rows; "
      f"1/e = {np.exp(-1):.1%}")

# %% tags=["claims"]
# a window misses a row with chance 1 - B/n
assert abs(np.mean(left_out) - np.exp(-1)) < 0.01
assert visits[n - 1] == 0  # and the last row is in no window at all
# rows near an end are in fewer of the windows
assert visits[:B].mean() < 0.7 * visits[B:-B].mean()

# %% [markdown]
# More than a third of the rows is left out of each epoch, others come twice or three times, and the last row never
# comes: the windows start below n - B. (Over many epochs the shares even out, but not at the two ends, nor for
# neighbours, which always come together.) A gradient check has nothing to say about it, since every gradient is
# right. What would have caught it is a count: *after one epoch each row has been visited once*.
#
# ## Plug yours in
#
# Your two functions in the place of the library's: do they make the same rows of the ratings above, and does minictr's
# own shuffling visit every row once by your count?

# %% tags=["yours"]
kept, my_y = several(likes(data["ratings"]["rating"].to_numpy()), "kept", "y")
check("your rows", kept, (rating != 3).to_numpy())
check("your labels, beside those of as_ctr", my_y, y)
check("left out by a shuffled epoch of them",
      share_left_out(shuffled(len(X), 256, np.random.default_rng(0)), len(X)), 0.0);

# %% [markdown]
# ## On your own
#
# - Turn the switch on. Then add `user_id` and `movie_id` (`ml_1m.load_ctr(ids=True)`): how far does FM's AUC rise?
# - How many seeds would you need before a difference of .001 in AUC between two models exceeds twice its standard
#   error?
# - `python -m benchmarks.quality --data ml-1m --models FM` trains minictr and PyTorch from the same weights. Where do
#   the two differ, and why? (`--adam all-rows`)
#
# ## In practice
#
# - In our experience a table in a paper is one split, often one seed, with settings chosen for the method that the
#   paper proposes. Repeat it with your own budget before you build on a difference in the third digit.
# - A random split hides time. For clicks, split by time ([10](10_bring_your_own_csv.ipynb)).
# - Say what you changed: here the request time, the training negatives, the dropout.
#
# ## Next
#
# Films, users and a model each: [with AFM](movies_with_afm.ipynb), [with AutoInt](movies_with_autoint.ipynb),
# [with DeepFM](movies_with_deepfm.ipynb).
#
# ## Further reading
#
# - W. Song et al., AutoInt, CIKM 2019, [arXiv 1810.11921](https://arxiv.org/abs/1810.11921), tables 2 and 5
# - J. Xiao et al., Attentional factorization machines, IJCAI 2017, [arXiv
#   1708.04617](https://arxiv.org/abs/1708.04617), table 2
# - F. M. Harper, J. A. Konstan, The MovieLens datasets, ACM TiiS 5(4), 2015
# - L. Baltrunas et al., Frappe, 2015, [arXiv 1505.03014](https://arxiv.org/abs/1505.03014)
