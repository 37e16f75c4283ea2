# %% [markdown]
# # Find the pairs that matter, in five minutes
#
# **What you'll do**: draw advertisements whose clicks follow a known formula, fit two models, and see whether they find
# the formula's parts again.
#
# **What you'll learn**
#
# - read a table of [impressions](glossary.md#impression): rows, [fields](glossary.md#field), values,
#   [labels](glossary.md#label);
# - fit a factorization machine (FM) and its attentional relative (AFM) in one line each;
# - judge predictions by two numbers, AUC and log loss, between a worst and a best that you know;
# - take one prediction apart, term by term;
# - notice when a printed number means nothing.
#
# **What you'll need**: Python with NumPy and pandas, and `pip install .` in minictr's folder. No earlier notebook, and
# almost no maths: that comes from [01](01_predict_a_click.ipynb) on. To run it and look takes five minutes.
#
# **Time**: 25 minutes, exercises included.

# %%
import numpy as np
import pandas as pd

from minictr import AFM, FM, datasets, explain, metrics, plots
from minictr.exercises import check

clicks = datasets.make_clicks(20_000, seed=0)               # to learn from
# other rows of the same world, to be judged on
test = datasets.make_clicks(20_000, seed=0, rows_seed=1)
clicks.X.assign(clicked=clicks.y)[7:13]

# %% [markdown]
# Each row is an **impression**: one advertisement, shown once to one person. The first eight columns are **fields**,
# and what stands in them are **values**: in the first row shown, the field `device` has the value `phone`. The last
# column is the **label**: 1 if the person clicked, 0 if not. Most fields hold one
# [category](glossary.md#categorical-field); `discount` is a number, and `interests` holds several values at once.
#
# The question is: how likely is a click, given the fields? Fit two models to the training rows. Each keeps a tenth of
# them aside to see when it should stop ([validation set](glossary.md#validation-set)).

# %%
fm = FM(epochs=15, seed=0).fit(clicks.X, clicks.y, validation=0.1)
afm = AFM(epochs=15, seed=0).fit(clicks.X, clicks.y, validation=0.1)

learned = explain.pair_importance(fm, test.X)
axes = plots.truth_vs_learned(clicks.planted_pairs, learned)
axes[0].set_title("planted", y=1.05)
axes[1].set_title("learned by FM", y=1.05)
axes[0].figure.set_size_inches(8, 4.3)

# %% tags=["claims"]
true_size = clicks.planted_pairs["value"].to_numpy()
two_largest = [("user_segment", "ad_category"), ("hour", "device")]
assert len(true_size) == 28 and (true_size > 0).sum() == 5
names = ["field_i", "field_j"]
assert learned[names].equals(clicks.planted_pairs[names])         # one order
for table in (clicks.planted_pairs, learned):
    largest = table.nlargest(2, "value")
    assert list(zip(largest["field_i"], largest["field_j"], strict=True)) == two_largest
assert set(learned["value"].nlargest(3).index) == set(np.flatnonzero(true_size >= 0.4))
assert learned["value"][true_size == 0.3].min() < learned["value"][true_size == 0].max()

# %% [markdown]
# *What to look at*: the three brightest cells stand in the same places. Left is the truth, right is what FM made of
# 20,000 rows of zeros and ones. Nobody told it which pairs of fields to look at; there are 28. The two faint cells on
# the left are harder: on the right they hardly stand out, or not at all, from pairs of which nothing was planted. Each
# side has its own scale and its own measure (left a standard deviation, right the mean size of what a pair adds, its
# [contribution](glossary.md#contribution)): compare places, not numbers.
#
# ## Know what was planted
#
# Real clicks never show their formula. These do, because `make_clicks` made them, in two steps:
#
# 1. Every row gets a score: some base, plus something for each value (an advertisement in `position` 1 is clicked more
#    readily than one in `position` 5), plus something for certain **[pairs](glossary.md#pair)** of values. A gamer may
#    like one category of advertisements and ignore another; that belongs to the two values *together* and to neither
#    alone. Five pairs of fields have such effects, the other 23 have none.
# 2. The score is turned into a probability of a click, and a coin with this probability gives the label.
#
# The score is in **log-odds**, also called a [logit](glossary.md#logit): the logarithm of p / (1 - p). Adding
# probabilities could lead above 1; log-odds can be added without limit. That is all the maths needed here: *a pair of
# fields adds something to the log-odds.* A table helps to read them:

# %%
log_odds = np.array([-3.0, -1.27, 0.0, 1.0, 3.0])
probability = 1 / (1 + np.exp(-log_odds))         # the way back is called the sigmoid
pd.DataFrame({"log-odds": log_odds, "probability of a click": probability.round(3)})

# %% tags=["claims"]
assert np.allclose(np.log(probability / (1 - probability)), log_odds)
assert abs(probability[1] - 0.22) < 0.001         # the share of clicks in such a world
assert abs(clicks.base_rate - 0.22) < 0.01        # ... and in these rows
by_position = pd.Series(clicks.y).groupby(clicks.X["position"]).mean()
assert by_position[1] > by_position[5] + 0.05     # the place on the page

# %% [markdown]
# One lucky world proves little. Here are three, each with effects of its own, and both models.
#
# **Predict.** Will the same two pairs come first in all three, for FM and for AFM? And which of the two models will
# have the lower [log loss](glossary.md#log-loss) (the next section explains it; lower is better)?

# %%
worlds = []
for seed in range(3):
    train_rows = datasets.make_clicks(20_000, seed=seed)
    test_rows = datasets.make_clicks(20_000, seed=seed, rows_seed=1)
    base_rate = np.full(len(test_rows.y), train_rows.base_rate)
    for kind in (FM, AFM):
        model = kind(epochs=15, seed=0).fit(train_rows.X, train_rows.y, validation=0.1)
        p_click = model.predict_proba(test_rows.X)[:, 1]
        top = explain.pair_importance(model, test_rows.X).nlargest(2, "value")
        first, second = (top["field_i"] + " × " + top["field_j"]).tolist()
        worlds.append({"world": seed, "model": kind.__name__,
                       "first": first, "second": second,
                       "base rate": metrics.log_loss(test_rows.y, base_rate),
                       "log loss": metrics.log_loss(test_rows.y, p_click),
                       "best possible": test_rows.best_log_loss})
worlds = pd.DataFrame(worlds)
worlds.round(3)

# %% tags=["claims"]
assert (worlds["first"] == " × ".join(two_largest[0])).all()
assert (worlds["second"] == " × ".join(two_largest[1])).all()

# %% [markdown]
# ## Put a number between its worst and its best
#
# How good are the probabilities? Two numbers are usual.
#
# - **[AUC](glossary.md#auc)**: the chance that a clicked row, drawn at random, was given a higher probability than a
#   row without a click. 0.5 is guessing, 1 is perfect order.
# - **[Log loss](glossary.md#log-loss)**: the mean of -log(the probability that was given to what happened). Lower is
#   better; whoever says 0.99 and is wrong pays 4.6, whoever says 0.5 pays 0.69 either way.
#
# A number alone says nothing. Is a log loss of 0.39 good? It depends on what is easy and on what is possible, so put
# both beside it:
#
# - the **[base rate](glossary.md#base-rate)**: give every row the same probability, the share of clicks among the
#   training rows. Anybody can do this without a model;
# - the **best possible**: the probabilities with which the labels were drawn. Even they do not foresee a coin.

# %%
p_fm = fm.predict_proba(test.X)[:, 1]             # the columns are: no click, click
p_afm = afm.predict_proba(test.X)[:, 1]
p_base = np.full(len(test.y), clicks.base_rate)
scores = pd.DataFrame({
    name: {"AUC": metrics.auc(test.y, p), "log loss": metrics.log_loss(test.y, p)}
    for name, p in {"base rate": p_base, "FM": p_fm, "AFM": p_afm,
                    "best possible": test.probability}.items()}).T
scores.round(3)

# %% tags=["claims"]
assert abs(-np.log(1 - 0.99) - 4.6) < 0.01 and abs(-np.log(0.5) - 0.69) < 0.01
few = slice(0, 2000)                              # AUC, by its word: every comparison
clicked, not_clicked = p_fm[few][test.y[few] == 1], p_fm[few][test.y[few] == 0]
higher = np.mean(clicked[:, None] > not_clicked[None, :])
ties = np.mean(clicked[:, None] == not_clicked[None, :])
assert abs(higher + ties / 2 - metrics.auc(test.y[few], p_fm[few])) < 1e-12

assert scores.loc["base rate", "AUC"] == 0.5      # one score for all: no order
loss, auc = scores["log loss"], scores["AUC"]
for name in ("FM", "AFM"):
    assert loss["base rate"] > loss[name] > loss["best possible"]
    assert 0.8 < auc[name] < auc["best possible"]
# of three worlds: what part of the way from the base rate to the best possible
way = worlds["base rate"] - worlds["best possible"]
gained = (worlds["base rate"] - worlds["log loss"]) / way
assert gained.between(0.67, 1).all()              # both models, all three worlds
by_model = gained.groupby([worlds["world"], worlds["model"]]).first().unstack()
assert ((by_model["FM"] - by_model["AFM"]).abs() < 0.1).all()

# %% [markdown]
# *What to look at*: in all three worlds (the table before this one) both models go more than two thirds of the way
# from the base rate's log loss to the best possible one. The table does not say that one of them is better: they lie
# closer together than a tenth of that way, and comparing fairly takes more than this ([08](08_compare_fairly.ipynb)).
#
# ## Work out the bar to beat
#
# Your turn. Exercises have a cell to fill in, a folded cell that checks it, and a folded solution. The check prints
# your answer beside the right one, and where it can it names the mistake. A wrong answer never stops the notebook; a
# line of yours that Python cannot run does, and Python says which. (Folded, too, are the cells in which each claim of
# the text is asserted.)
#
# **Exercise 1.** The log loss of giving every row the same probability of a click. A clicked row (y = 1) pays
# -log(rate); what does a row without a click pay? Return the mean over all rows.

# %% tags=["exercise"]
# Exercise 1
def constant_log_loss(rate, y):
    """A probability and (N,) labels of 0 and 1 -> one number."""
    return None                                   # your lines here

# %% tags=["check"]
total = 0.0
for label in test.y:  # the slow way: one row after the other
    given_to_what_happened = clicks.base_rate if label == 1 else 1 - clicks.base_rate
    total += -np.log(given_to_what_happened)

answer = constant_log_loss(clicks.base_rate, test.y)
if np.shape(answer) == (1,):            # as good as a number
    answer = answer[0]
check("log loss of the base rate", answer, total / len(test.y),
      mistakes={"Yours is what the clicked rows pay; the others pay too.":
                    -np.mean(test.y * np.log(clicks.base_rate)),
                "Yours is the sum over the rows; the loss is their mean.": total,
                "Yours is in bits: use the natural logarithm, np.log.":
                    total / len(test.y) / np.log(2)});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def constant_log_loss(rate, y):
#     return -np.mean(y * np.log(rate) + (1 - y) * np.log(1 - rate))
# ```
#
# `y` switches one of the two terms on and the other off. It is the first line of the table above.
#
# </details>

# %% [markdown]
# ## Take one prediction apart
#
# Both models add up log-odds: a [bias](glossary.md#bias) that is the same for all rows, one term a field, one term a
# pair. So every prediction can be itemised like a bill, and nothing is left over. Take one row of the test set:

# %%
row = test.X[20:21]                               # a table of one row
bill = explain.contributions(fm, row)             # 1 + 8 + 28 terms
ax = plots.waterfall(bill, top=8)
ax.set_title(ax.get_title().removeprefix("row 0: "))
ax.figure.set_size_inches(8, 4.5)
row

# %% [markdown]
# *What to look at*: start at the top with the bias, follow the steps down to the logit, and read the probability on the
# upper axis. Orange steps raise it, blue ones lower it; the small terms share one bar. One pair does most of the work
# here: a student and an advertisement about education. The field `ad_category` by itself *lowers* the logit in this
# row; only the two values together raise it. Without that one term the probability would be below a quarter.

# %% tags=["claims"]
pairs, fields = bill[bill["term"] == "pair"], bill[bill["term"] == "field"]
largest = pairs.loc[pairs["value"].abs().idxmax()]
alone = fields[fields["field_i"] == "ad_category"]["value"].item()
without_it = bill["value"].sum() - largest["value"]
many = explain.contributions(fm, test.X[:500], wide=True).sum(axis=1)
off = np.abs(many - fm.decision_function(test.X[:500])).max()
assert off < 1e-4                                 # rounding: they compute with 7 digits
assert (largest["field_i"], largest["field_j"]) == ("user_segment", "ad_category")
assert largest["value"] > 2
assert row.iloc[0]["user_segment"] == "student"
assert row.iloc[0]["ad_category"] == "education"
assert alone < 0 and 1 / (1 + np.exp(-without_it)) < 0.25

# %% [markdown]
# **Exercise 2.** Pay the bill. Add up the column "value" of a bill of one row, and turn the sum, a logit, into the
# probability of a click. (The table of log-odds further up shows how.)

# %% tags=["exercise"]
# Exercise 2
def probability_of(bill):
    """Terms of one row -> the probability of a click, one number."""
    return None                                   # your lines here

# %% tags=["check"]
right = fm.predict_proba(row)[0, 1]
without_bias = bill[bill["term"] != "bias"]["value"].sum()
check("probability from the terms", probability_of(bill), right, tolerance=1e-5,
      mistakes={"Yours is the logit; it is not yet a probability.": bill["value"].sum(),
                "Yours are the odds, p / (1 - p): divide by 1 + odds.":
                    np.exp(bill["value"].sum()),
                "Yours is the probability of no click: look at the sign in the "
                "exponent.": 1 - right,
                "Yours leaves out the bias.": 1 / (1 + np.exp(-without_bias))});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def probability_of(bill):
#     logit = bill["value"].sum()
#     return 1 / (1 + np.exp(-logit))
# ```
#
# The sum is exact, for every row. How it is shared out between a pair and its two fields is less certain than it looks:
# [05](05_read_attention_honestly.ipynb) is about that.
#
# </details>

# %% [markdown]
# ## Spot the bug: a number that looks like a number
#
# The next cell trains on other made data: 600 people give 400 films 1 to 5 stars. It follows, in our own lines, what a
# published library for recommendations does with ratings by default. Its last line prints an RMSE: the root of the mean
# squared distance between prediction and rating, in stars.
#
# **Predict.** What would you get for one and the same prediction everywhere, the mean of the training ratings: more
# than 3 stars, or less? Then find the line that is the bug.

# %%
def split_ratings(seed):
    """Four fifths of the ratings to learn from, one fifth to be judged on."""
    ratings = datasets.make_ratings(seed=seed)["ratings"]
    for_test = np.random.default_rng(seed).random(len(ratings)) < 0.2
    return ratings[~for_test], ratings[for_test]


def train_and_predict(train, test, seed):
    """A model of who rates what; its predictions for the test rows."""
    rng = np.random.default_rng(seed)
    rated = train[["user_id", "movie_id"]]
    others = pd.DataFrame({name: rng.permutation(rated[name]) for name in rated})
    X = pd.concat([rated, others], ignore_index=True)
    y = np.repeat([1, 0], len(rated))
    model = FM(epochs=5, seed=0).fit(X, y)
    return model.predict_proba(test[["user_id", "movie_id"]])[:, 1]


train, judged = split_ratings(seed=0)
predicted = train_and_predict(train, judged, seed=0)
print(f"test RMSE: {metrics.rmse(judged['rating'], predicted):.2f}")

# %% [markdown]
# Three seeds, and beside it the mean, and an FM that is told the ratings:

# %%
lines = []
for seed in range(3):
    train, judged = split_ratings(seed)
    ids, stars = ["user_id", "movie_id"], judged["rating"]
    mean = np.full(len(judged), train["rating"].mean())
    fitted = FM(epochs=5, seed=0).fit(train[ids], train["rating"])     # a regression
    as_above = train_and_predict(train, judged, seed)
    fm_says = fitted.predict(judged[ids])
    lines.append({"seed": seed, "the mean": metrics.rmse(stars, mean),
                  "as above": metrics.rmse(stars, as_above),
                  "FM on the ratings": metrics.rmse(stars, fm_says)})
rmse = pd.DataFrame(lines).set_index("seed")
rmse.round(2)

# %% tags=["claims"]
assert (rmse["as above"] > 2.5 * rmse["the mean"]).all()
assert (rmse["FM on the ratings"] < 0.9 * rmse["the mean"]).all()

# %% [markdown]
# *What to look at*: the first column. It takes one line, and belongs into every table: **never print a metric without
# the number that needs no model.**
#
# <details><summary>Which line is the bug?</summary>
#
# `y = np.repeat([1, 0], ...)`: the column `rating` is never read. Every rating, one star or five, has become a 1, "this
# person rated this film", and random combinations of a person and a film are the 0s (the library draws four for each
# rating). What comes out is a *probability of being rated*, between 0 and 1. The last line compares it with stars.
# Nothing crashes, because both are numbers.
#
# The library is [CoreRec](https://github.com/vishesh9131/CoreRec). Its tutorials for three models (AFM, AutoInt,
# DeepFM) hand over ratings and end with a printed RMSE, but the setting that decides between ratings and clicks is
# `"auto"`, and that means clicks. On ratings of MovieLens-1M's form, and after other repairs without which they do not
# run (version 0.6.0), they print 3.4, where the mean rating alone has about 1.14. (The table above has the same bug on
# ratings that minictr made: hence other numbers.) A [gradient check](glossary.md#gradient-check), which the next
# notebook introduces, finds nothing here: all derivatives are right, of an answer to another question. [Movies with
# AFM](movies_with_afm.ipynb) takes it up on its data.
#
# </details>

# %% [markdown]
# ## On your own
#
# - Draw 2,000 training rows instead of 20,000. Which of the five planted pairs can FM still find? And with 200,000?
# - Draw `plots.pair_heatmap(explain.attention(afm, test.X))`. Attention is another quantity than contribution; does it
#   point to the same pairs?
# - Take apart the row with the highest predicted probability, and the one with the lowest: `p_fm.argmax()`.
#
# ## In practice
#
# - On real data no truth stands beside the learned matrix. Made data is where you find out how far to trust the
#   picture.
# - The best possible score is unknown too, but the base rate is always there. Print it.
# - A good AUC does not make the probabilities right: it looks at their order alone. [01](01_predict_a_click.ipynb)
#   shows a model whose order stays and whose probabilities are useless.
# - When to use these models: many rows, mostly categories, effects that belong to pairs. When not: a handful of numbers
#   as columns and few rows, where boosted trees do better; texts, pictures or sequences.
#
# ## Next
#
# [01: Predict a click](01_predict_a_click.ipynb) builds the simplest of these models by hand: one weight a value.
#
# ## Further reading
#
# - Steffen Rendle, *Factorization Machines*, ICDM 2010,
#   [doi:10.1109/ICDM.2010.127](https://doi.org/10.1109/ICDM.2010.127).
# - Xiao et al., *Attentional Factorization Machines*, IJCAI 2017, [arXiv:1708.04617](https://arxiv.org/abs/1708.04617).
