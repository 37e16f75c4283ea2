# %% [markdown]
# # Read attention honestly
#
# **What you'll do**: ask a trained AFM three different questions about its pairs of fields, compare the answers with a
# known truth, and find out how much of them is noise.
#
# **What you'll learn**
# - tell apart [attention](glossary.md#attention), [contribution](glossary.md#contribution) and
#   [interaction effect](glossary.md#interaction-effect), and compute each by hand
# - take one prediction apart, exactly
# - refit on shuffled labels and on other seeds before you believe a picture
# - see at once when the attention of a model has died
#
# **What you'll need**: [04](04_pay_attention_with_afm.ipynb) (AFM's equations), NumPy.
#
# **Time**: 45 minutes, exercises included. The appendix is not counted.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import AFM, FFM, FM, datasets, explain, metrics, plots
from minictr.exercises import check, train_beside

clicks = datasets.make_clicks(20_000, seed=0)
test = datasets.make_clicks(10_000, seed=0, rows_seed=1)  # other rows of the same world
X = test.X[:2_000]                                        # the rows that we explain
truth = clicks.planted_pairs
seeds = range(5)
models = [AFM(epochs=6, seed=seed).fit(clicks.X, clicks.y) for seed in seeds]


def three_tables(model):
    """What the model says of its 28 pairs, by three quantities, in the same order."""
    effects = explain.interaction_effects(model, X, partners=4)   # by 4 other rows each
    return {"attention": explain.attention(model, X),
            "contribution": explain.pair_importance(model, X),
            "interaction effect": effects}


tables = [three_tables(model) for model in models]
figure, axes = plt.subplots(2, 2, figsize=(8, 6.6), dpi=68, layout="constrained")
for ax, table in zip(axes.ravel(), [truth, *tables[0].values()], strict=True):
    plots.pair_heatmap(table, ax=ax, annotate=False)              # places, not numbers
    ax.label_outer()                                              # each name once

# %% [markdown]
# *What to look at*: the same model, asked three times, beside the truth (top left). The two largest planted pairs are
# found by all three. Below them the pictures differ from the truth, and from each other. Three quantities, three names:
#
# | name | what it is | sign, unit | all pairs add up to |
# | --- | --- | --- | --- |
# | **attention** $a_{ij}$ | how much the pair is weighed in one row | 0 to 1, a share | 1 |
# | **contribution** $a_{ij}\, p \cdot p_{ij}$ | what it adds in one row | any sign, log-odds | the logit* |
# | **interaction effect** | how far the logit is from being additive in two fields | 0 or more, log-odds | nothing |
#
# (* the [logit](glossary.md#logit), together with the bias and the fields' own terms.)
# Only the third has the unit and the definition of the planted numbers, so only its size can be compared with them; of
# the others only the order of the pairs. To rank pairs, each is averaged over rows (of contributions the absolute
# value). How many of the five planted pairs are among the first five of 28, for five seeds? **Predict** before you run
# it: a random order has 0.9 of them on average.

# %%
planted = set(truth.index[truth["value"] > 0])
largest = truth["value"].idxmax()


def hits(values):
    """How many of the planted pairs are among the largest five."""
    return len(planted & set(np.argsort(-values.to_numpy())[:5]))


found = pd.DataFrame([{name: hits(table["value"]) for name, table in run.items()}
                      for run in tables])
found.rename_axis("seed")

# %% tags=["claims"]
effects = np.array([run["interaction effect"]["value"] for run in tables])
for pair in truth.nlargest(2, "value").index:     # sizes near the planted, mostly below
    share = effects[:, pair] / truth["value"][pair]
    assert 0.6 < share.min() and share.max() < 1.1
assert all(table["value"].idxmax() == largest
           for run in tables for table in run.values())
# some in every run, all five in every run: none
assert found.min().min() >= 2 and (found.min() <= 4).all()
assert found["attention"].max() <= 4

# %% [markdown]
# The first pair is right in every run and by every quantity. Attention never has all five, and neither of the others
# has them every time. (The
# [project's README](../README.md#attention-contribution-interaction-effect-three-things) has the same for ten worlds.)
#
# ## Contribution: take a prediction apart
#
# A reader of AFM's code asked a good question
# ([hexiangnan/attentional_factorization_machine#22](https://github.com/hexiangnan/attentional_factorization_machine/issues/22)):
# the paper's tables show an attention score and an interaction score for each pair, the second can be negative, and
# the two are multiplied. Which of them says how important the pair is? The equation knows. Move $p$ into the sum of
# eq. 6:
#
# $$\text{logit} = \underbrace{w_0}_{\text{bias}} + \sum_i \underbrace{w_i x_i}_{\text{field}}
#   + \sum_{i<j} \underbrace{a_{ij}\; p \cdot p_{ij}}_{\text{pair}}$$
#
# A logit is a plain sum with one term for each pair, and the term is the *product*. Neither factor by itself is an
# amount of anything: attention says how strongly $p \cdot p_{ij}$ counts, but not how large that is, nor its sign.
#
# **Exercise 1.** The pairs' terms (B, P) of the rows of the latest forward pass, from what the layers left:
# `model.attention.cache["aij"]` (B, P), `model.attention.cache["pij"]` (B, P, k), `model.projection.params["p"]` (k,).

# %% tags=["exercise"]
# Exercise 1
def my_pair_terms(model):
    return None                                                   # your lines here

# %% tags=["check"]
model = models[0]
logit = model.forward(model.encoder_.encode(X[:5]))               # five rows
aij, pij = model.attention.cache["aij"], model.attention.cache["pij"]
p = model.projection.params["p"]
target = np.zeros(aij.shape)
for row in range(5):                              # straight from the equation
    for pair in range(28):
        p_pij = sum(p[f] * pij[row, pair, f] for f in range(len(p)))
        target[row, pair] = aij[row, pair] * p_pij
bias, fields = model.bias(), model.terms()["fields"]              # (1,) and (5, 8)
assert np.allclose(bias + fields.sum(axis=1) + target.sum(axis=1), logit, atol=1e-4)
yours = my_pair_terms(model)
right = check("the pairs' terms", yours, target, tolerance=1e-4, mistakes={
    "These are p . p_ij, as if every pair had weight 1; and so they do not add up to "
    "the logit": pij @ p,
    "p is missing: this is as if it were all ones": aij * pij.sum(axis=2)})
if right:
    total = bias + fields.sum(axis=1) + np.asarray(yours).sum(axis=1)
    check("bias + fields + pairs", total, logit, tolerance=1e-4);

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def my_pair_terms(model):
#     aij, pij = model.attention.cache["aij"], model.attention.cache["pij"]
#     return aij * (pij @ model.projection.params["p"])   # (B, P)     a_ij p . p_ij
# ```
#
# </details>

# %% [markdown]
# `explain.contributions` gives all terms by name. They add up to the logit, up to the rounding of float32 (asserted for
# all five models and all rows). Let us draw one row.

# %%
terms = [explain.contributions(model, X, wide=True) for model in models]


def attention_of_rows(model):
    """a_ij of every row of X, (2000, 28)."""
    model.forward(model.encoder_.encode(X))
    return model.attention.cache["aij"]


weights = [attention_of_rows(model) for model in models]
pair_terms = [table["pair"].to_numpy() for table in terms]        # (2000, 28)
size = np.abs(pair_terms[0])
most_attended, most_moving = weights[0].argmax(axis=1), size.argmax(axis=1)
rank = (size > size[np.arange(len(X)), most_attended][:, None]).sum(axis=1)
row = int(np.flatnonzero((rank > 0) & (rank < 4))[0])             # so that it has a bar
name_of = (truth["field_i"] + " × " + truth["field_j"]).to_numpy()
print(f"row {row}: most attention on {name_of[most_attended[row]]},")
print(f"largest contribution by {name_of[most_moving[row]]}")
ax = plots.waterfall(explain.contributions(models[0], X[:row + 1]), row=row, top=9)
upper = ax.child_axes[0].set_ticks(ax.get_xticks()[1::2])         # every second one
ax.figure.set_dpi(65)

# %% tags=["claims"]
labels = " ".join(text.get_text() for text in ax.get_yticklabels())
assert all(name_of[pair] in labels for pair in (most_attended[row], most_moving[row]))
for model, table in zip(models, terms, strict=True):
    assert np.abs(table.sum(axis=1) - model.decision_function(X)).max() < 1e-4

# %% [markdown]
# *What to look at*: read from top to bottom. The bias is where every row starts; each bar begins where the one above
# ended; the last grey bar is the logit, and the upper axis turns it into a probability. Nothing is estimated here and
# nothing is left out ("others" is a sum): it is the forward pass, sorted by size within fields and within pairs. In
# this row the pair with the most attention is not the pair that moves the logit most. That is not rare: another pair
# contributes more in 8 % of the rows or more, in every run, and in more than 30 % the attended pair argues *against* a
# click. For the largest planted pair, over rows, attention follows the size of the contribution closely (correlation
# above 0.7). It hardly follows the contribution's sign: that correlation is from about -0.5 to about 0, another in
# every run.

# %% tags=["claims"]
of_sign = []
for a, c in zip(weights, pair_terms, strict=True):
    rows, top = np.arange(len(a)), a.argmax(axis=1)
    assert (top != np.abs(c).argmax(axis=1)).mean() > 0.08
    assert (c[rows, top] < 0).mean() > 0.3
    of_size = np.corrcoef(a[:, largest], np.abs(c[:, largest]))[0, 1]
    of_sign.append(np.corrcoef(a[:, largest], c[:, largest])[0, 1])
    assert of_size > 0.7 and of_size > of_sign[-1] + 0.3
assert -0.65 < min(of_sign) < -0.2 and abs(max(of_sign)) < 0.2

# %% [markdown]
# ## Interaction effect: what two fields do together
#
# A contribution has a weakness of its own. A pair's term can carry what one of the two fields could have said alone: if
# $p \cdot p_{ij}$ is large for every gamer, whatever the ad, then that is an effect of the segment. To get at what
# *both together* say, use the model from outside. Put segment $u$ and category $v$ into every row, leave the rest, and
# take the mean logit, $T_{uv}$. If the two fields added up, we would have $T_{uv} = f_u + g_v$. So take away from each
# entry the mean of its row and the mean of its column (and give back the overall mean, which went twice):
#
# $$D_{uv} = T_{uv} - \sum_{v'} q_{v'} T_{uv'} - \sum_{u'} r_{u'} T_{u'v} + \sum_{u'v'} r_{u'} q_{v'} T_{u'v'}$$
#
# with $r_u$ and $q_v$ the shares of the values (letters of this page: in 04, $u$, $q$ and $r$ were other things).
# That is *double centring*. $D$ is 0 everywhere exactly if the fields add up, and its size, the root of the mean of
# $D^2$, is the interaction effect.

# %%
segments, categories = (sorted(X[name].unique())
                        for name in ("user_segment", "ad_category"))
r = X["user_segment"].value_counts(normalize=True)[segments].to_numpy()         # (8,)
q = X["ad_category"].value_counts(normalize=True)[categories].to_numpy()        # (10,)


def mean_logits(model, rows):
    """T (8, 10): the mean logit of the rows if all had segment u and category v."""
    def mean(u, v):
        changed = rows.assign(user_segment=u, ad_category=v)
        return model.decision_function(changed).mean()

    return np.array([[mean(u, v) for v in categories] for u in segments])


T = mean_logits(models[0], X).astype(np.float64)

# %% [markdown]
# **Exercise 2.** Double-centre a table. In: `T` (U, V), shares `r` (U,) and `q` (V,). Return: D (U, V). (The check
# does it slowly, entry by entry, in a function `double_centred` that the page goes on with.)

# %% tags=["exercise"]
# Exercise 2
def my_double_centred(T, r, q):
    return None                                                   # your lines here

# %% tags=["check"]
def double_centred(T, r, q):
    """The equation, entry by entry."""
    D = np.zeros_like(T)
    of_all = sum(r[u] * q[v] * T[u, v] for u in range(len(r)) for v in range(len(q)))
    for u in range(len(r)):
        for v in range(len(q)):
            of_row = sum(q[b] * T[u, b] for b in range(len(q)))
            of_column = sum(r[a] * T[a, v] for a in range(len(r)))
            D[u, v] = T[u, v] - of_row - of_column + of_all
    return D


target = double_centred(T, r, q)
unweighted = T - T.mean(axis=0) - T.mean(axis=1, keepdims=True) + T.mean()
# the means of the columns are gone, in two ways
weighed, plain = T - r @ T, T - T.mean(axis=0)
check("D", my_double_centred(T.copy(), r, q), target, mistakes={
    "The overall mean was taken away twice: give it back once": target - r @ T @ q,
    "These are plain means; rare values must count less, by their shares": unweighted,
    "The means of the rows are plain: weigh them by q":
        weighed - weighed.mean(axis=1, keepdims=True),
    "The means of the columns are plain: weigh them by r": plain - (plain @ q)[:, None],
    "Only the means of the rows are gone": T - (T @ q)[:, None],
    "Only the means of the columns are gone": T - r @ T})
# nothing left for one field alone
assert np.abs(target @ q).max() < 1e-9 and np.abs(r @ target).max() < 1e-9

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def my_double_centred(T, r, q):
#     T = T - r @ T                         # columns now have mean 0 ...
#     return T - (T @ q)[:, None]           # ... and now the rows' too; the columns' stay
#                                           # 0, as q averages columns of mean 0
# ```
#
# The overall mean needs no line of its own: it went with the columns' means, and is not in the rows' means any more.
#
# </details>

# %% [markdown]
# The planted table was double-centred when the world was made, so here the model can be compared with the truth cell by
# cell: `test.logit` has the true logit of each row.

# %%
learned = double_centred(T, r, q)
by_both = pd.Series(test.logit).groupby([test.X["user_segment"], test.X["ad_category"]])
true_T = by_both.mean().unstack()
true = double_centred(true_T.loc[segments, categories].to_numpy(), r, q)
figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.2), dpi=68, sharey=True,
                            layout="constrained")
two = ("planted (mean true logit)", true), ("learned (AFM)", learned)
for ax, (title, table) in zip(axes, two, strict=True):
    image = ax.imshow(table, cmap="RdBu_r", vmin=-4, vmax=4)
    ax.set_xticks(range(10), categories, rotation=90)
    ax.set_yticks(range(8), segments)
    ax.set_title(title, fontsize=10)
bar = figure.colorbar(image, ax=axes, label="double-centred logit")

size = np.sqrt(r @ learned**2 @ q)
built_in = tables[0]["interaction effect"]["value"][largest]
print(f"size by hand {size:.2f}, explain.interaction_effects {built_in:.2f}, "
      f"planted {truth['value'][largest]:.2f}")

# %% tags=["claims"]
for model in models:
    by_hand = double_centred(mean_logits(model, X[:200]), r, q)
    assert np.corrcoef(by_hand.ravel(), true.ravel())[0, 1] > 0.75
assert abs(size - built_in) < 0.06 * built_in

# %% [markdown]
# *What to look at*: the two maps agree in where they are red (this segment clicks more on this category than the two
# would explain one by one) and blue. The learned one is paler: the model has shrunk the effect. Size by hand and
# `explain.interaction_effects` agree to a few per cent, not exactly, as the latter weighs the pairs of values by how
# often they occur together, and estimates from a sample (`partners`, in the first cell).
#
# This third quantity asks nothing about the inside of a model. It works for a DeepFM, or for any function of a table.
#
# ## What noise looks like
#
# All three always give 28 numbers, a ranking and a picture, also if there is nothing to find. What do these look like
# then? Make a world without any effect: keep the rows, and shuffle the labels among them.
#
# **Exercise 3.** A model of noise. Return a fitted AFM with these epochs and this seed. It has learned from the labels
# in a random order, drawn by `np.random.default_rng(seed)`. The rows and labels that you are given stay as they are.

# %% tags=["exercise"]
# Exercise 3
def fit_on_noise(X, y, seed, epochs=6):
    return None                                                   # your lines here

# %% tags=["check"]
few, few_y = clicks.X[:2_000], clicks.y[:2_000].copy()
lent_y = few_y.copy()                             # this copy is yours to work on


def two_epochs(X, y, seed):
    return AFM(epochs=2, seed=seed).fit(X, y).decision_function(few[:50])


def shuffled(seed):
    return np.random.default_rng(seed).permutation(len(few_y))


for seed in (0, 1):
    yours = fit_on_noise(few.copy(), lent_y, seed=seed, epochs=2)
    fitted = isinstance(yours, AFM) and hasattr(yours, "encoder_")
    answer = yours.decision_function(few[:50]) if fitted else yours
    target = two_epochs(few, few_y[shuffled(seed)], seed)
    if not check(f"logits after noise, seed {seed}", answer, target, tolerance=1e-3,
                 mistakes={
            "The labels were not shuffled": two_epochs(few, few_y, seed),
            "Rows and labels were shuffled together: each row still has its own label":
                two_epochs(few.iloc[shuffled(seed)], few_y[shuffled(seed)], seed),
            "The model has the seed 0, whatever seed was given: AFM(..., seed=seed)":
                two_epochs(few, few_y[shuffled(seed)], 0),
            "The generator has the seed 0, whatever seed was given":
                two_epochs(few, few_y[shuffled(0)], seed)}):
        break
if not np.array_equal(lent_y, few_y):
    check("the labels that you were given", lent_y, few_y, mistakes={
        "You shuffled the labels in place: whoever uses y after you has wrong ones. "
        "Shuffle a copy": lent_y});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def fit_on_noise(X, y, seed, epochs=6):
#     rng = np.random.default_rng(seed)
#     return AFM(epochs=epochs, seed=seed).fit(X, rng.permutation(y))
# ```
#
# </details>

# %% [markdown]
# Train for as long as the real models. (With early stopping the noise models would stop after one epoch, when all
# their vectors are still small, and make a noise floor that is too easy to beat.)

# %%
noise_models = []
for seed in seeds:
    shuffled_y = np.random.default_rng(seed).permutation(clicks.y)
    noise_models.append(AFM(epochs=6, seed=seed).fit(clicks.X, shuffled_y))
noise = [three_tables(model) for model in noise_models]
is_planted = (truth["value"] > 0).to_numpy()
rng = np.random.default_rng(0)
figure, axes = plt.subplots(3, 1, figsize=(8, 7), dpi=80, layout="constrained")
for ax, name in zip(axes, tables[0], strict=True):
    values = np.array([run[name]["value"] for run in tables])     # (5 seeds, 28 pairs)
    of_noise = np.array([run[name]["value"] for run in noise])
    planted_ones, others = values[:, is_planted], values[:, ~is_planted]
    groups = (of_noise, "x"), (others, "o"), (planted_ones, "s")
    for height, (group, marker) in enumerate(groups):
        places = height + rng.uniform(-0.3, 0.3, group.size)
        ax.plot(group.ravel(), places, marker, markersize=5, alpha=0.5)
    ax.axvline(of_noise.max(), color="black", linestyle="--")
    ax.set_xscale("log")
    of_share, of_log_odds = (0.03, 0.04, 0.06, 0.08), (0.003, 0.01, 0.03, 0.1, 0.3, 1)
    ticks = of_share if name == "attention" else of_log_odds
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_locator(plt.NullLocator())
    ax.set_yticks(range(3), ["shuffled labels", "nothing planted", "planted"])
    ax.set_title(name, fontsize=11)

# %% [markdown]
# *What to look at*: one point a pair and seed, on logarithmic axes. The dashed line is the largest value in any of the
# five models of noise. Noise is not zero: with nothing to find, a contribution is about 0.05 log-odds on average. Two
# planted pairs are far beyond the line. The weakest is near it, and some pairs with nothing planted are beyond it. By
# attention even planted pairs fall below the line, as the shares must sum to 1. Here are the largest interaction
# effects, with their range over seeds:

# %%
effects = np.array([run["interaction effect"]["value"] for run in tables])
floor = max(run["interaction effect"]["value"].max() for run in noise)
ranking = tables[0]["interaction effect"].assign(
    value=effects.mean(axis=0), low=effects.min(axis=0), high=effects.max(axis=0))
ranking.attrs |= {"interval": "smallest to largest of 5 seeds"}
ax = plots.pair_ranking(ranking, top=10)
line = ax.axvline(floor, color="black", linestyle="--")
ax.figure.set_dpi(65)

# %% tags=["claims"]
impostor = list(name_of).index("user_segment × advertiser")
weakest = list(name_of).index("ad_category × interests")
contributions, noise_contributions, attentions, noise_attentions = (
    np.array([run[name]["value"] for run in runs])
    for name in ("contribution", "attention") for runs in (tables, noise))
of_drawing = [run["interaction effect"].loc[largest, ["low", "high"]] for run in tables]
assert 0.02 < noise_contributions.mean() < 0.1
assert attentions[:, is_planted].min() < noise_attentions.max()
# on noise every share is near 1/P
assert np.abs(28 * noise_attentions - 1).max() < 0.05
assert 0.5 * floor < effects[:, weakest].mean() < 1.5 * floor
assert weakest in np.argsort(-effects.mean(axis=0))[:10]          # it has a bar
assert all(one["high"] - one["low"] > 0.1 for one in of_drawing)

# %% [markdown]
# *What to look at*: the dashed line is the noise floor, and the whiskers are short. (They are over seeds only. Other
# rows would move the bars too: in each seed's own table `low` and `high` of the first pair are more than 0.1 apart.)
# *user_segment × advertiser* is beyond the floor in all five seeds, though nothing was planted there, and it beats the
# planted *ad_category × interests* in all five. Nor is it alone: two more pairs with *advertiser* have bars beyond the
# floor. So **seeds that agree, beyond the floor of shuffled labels, are still no proof**. Other seeds do not draw
# other rows: all five models saw the same accidents of the same 20,000 rows. And shuffling takes the strong pair away
# too. A likely reason for this impostor: with the strong pair in the data the vectors of *user_segment* are longer
# than in the models of noise, and a product with long vectors is large.
#
# Nor do two views of one model confirm each other. Attention and contribution rank the 28 pairs alike (rank correlation
# above 0.7 in every run), which looks like good news, but they do so **on shuffled labels as well**, in most runs: both
# can grow with the size of $p_{ij}$, whatever it means.

# %% tags=["claims"]
def length_of(model, field):
    """Mean length of the vectors of a field's values in the rows X."""
    slots = model.encoder_.encode(X)
    return np.linalg.norm(model.embedding.forward(slots)[:, list(X).index(field)],
                          axis=1).mean()



def rank_correlation(a, b):
    return np.corrcoef(a.rank(), b.rank())[0, 1]


real, shuffled_ones = (
    [rank_correlation(run["attention"]["value"], run["contribution"]["value"])
     for run in runs] for runs in (tables, noise))
assert min(real) > 0.7 and np.mean(shuffled_ones) > 0.4
assert truth["value"][impostor] == 0 < truth["value"][weakest]
assert (effects[:, impostor] > np.maximum(effects[:, weakest], floor)).all()
for pair in ("ad_category × advertiser", "device × advertiser"):
    assert effects[:, list(name_of).index(pair)].mean() > floor
    assert truth["value"][list(name_of).index(pair)] == 0
assert all(length_of(real, "user_segment") > 1.3 * length_of(shuffled, "user_segment")
           for real, shuffled in zip(models, noise_models, strict=True))

# %% [markdown]
# What does settle it is new labels. Remove one pair from the fitted model: its weight becomes 0 in every row, and what
# it had goes to the other pairs in proportion, so that they sum to 1 again. See what that does to the
# [log loss](glossary.md#log-loss) on rows that training never saw. **Predict**: what will be the sign for the impostor?

# %%
removals = np.array([explain.pair_removal(model, test.X, test.y)["value"]
                     for model in models])
summary = pd.DataFrame({"planted": truth["value"].to_numpy(),
                        **{name: np.mean([run[name]["value"] for run in tables], axis=0)
                           for name in tables[0]},
                        "loss when removed": removals.mean(axis=0)}, index=name_of)
summary.nlargest(8, "contribution").round(4)

# %% tags=["claims"]
assert set(np.argsort(-removals.mean(axis=0))[:5]) == planted
all_found = [set(np.argsort(-values)[:5]) == planted for values in removals]
assert sum(all_found) >= 4                        # the five planted, in 4 of 5 runs
assert (removals[:, impostor] < 0).all()          # better without the impostor
with_interests = removals.mean(axis=0)[list(name_of).index("user_segment × interests")]
assert 0.0003 < with_interests < 0.3 * removals.mean(axis=0)[weakest]

# %% [markdown]
# The last column, averaged over seeds, has the five planted pairs in front. *user_segment × advertiser* is below 0 for
# every seed: the loss *falls* when it goes. It has an effect in the model, and none in the world. (*user_segment ×
# interests*, not planted either, is at +0.0005, a fifth of the weakest planted pair: such small numbers say little, on
# either side of 0.)
#
# ## Spot the bug
#
# The paper's objective (eq. 8) is a sum over rows plus a penalty,
# $\sum (\text{logit} - y)^2 + \lambda \lVert W \rVert^2$. A well-known library of recommendation models,
# [RecBole](https://github.com/RUCAIBox/RecBole), trained its AFM, when this was written and unless told otherwise, on
# a loss that says the following, in our own lines. What differs? What will it do to the attention?
#
# ```python
# loss = log_loss(y, p_click)                         # mean over the rows of a batch
# loss = loss + 2.0 * np.sqrt((W ** 2).sum())         # keep W small
# ```
#
# **Exercise 4.** The gradient of $2 \sqrt{\sum W^2}$ with respect to $W$. In: `W` (k, t). Return: (k, t).

# %% tags=["exercise"]
# Exercise 4
def my_pull(W):
    return None                                                   # your line here

# %% tags=["check"]
W, eps = np.random.default_rng(0).standard_normal((3, 4)), 1e-6
target = np.zeros_like(W)
for index in np.ndindex(W.shape):
    nudge = np.zeros_like(W)
    nudge[index] = eps
    above, below = (2 * np.sqrt(((W + sign * nudge) ** 2).sum()) for sign in (1, -1))
    target[index] = (above - below) / (2 * eps)
check("the pull", my_pull(W.copy()), target, mistakes={
    "Each row is divided by its own length: one sum over all of W is under the root":
        2 * W / np.linalg.norm(W, axis=1, keepdims=True),
    "Each column is divided by its own length: one sum over all of W is under the root":
        2 * W / np.linalg.norm(W, axis=0, keepdims=True),
    "This is the gradient of 2 ||W||^2, of the square": 4 * W,
    "This is 2 W: divide by the length of W": 2 * W});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def my_pull(W):
#     return 2 * W / np.sqrt((W ** 2).sum())
# ```
#
# </details>

# %% [markdown]
# And the question? A hint: make $W$ smaller and smaller in exercise 4. How long is the gradient then?
#
# <details><summary>Answer</summary>
#
# The derivative exists and is right, and a gradient check passes. But look at its length: it is 2, **however small W
# already is**. A squared penalty lets go as $W$ shrinks; this one pulls to the end, and where the data pull less than
# that, $W$ goes to 0. Every score $a'_{ij}$ is then the same number, and the attention is even.
#
# The second difference is the size. Eq. 8 adds $\lambda \lVert W \rVert^2$ once to the sum over all $N$ rows: beside a
# mean, that is $\lambda / N$. The authors' program adds it to the sum over each [batch](glossary.md#batch); beside a
# batch's mean that is $\lambda / B$. Here $\lambda$ stands beside the mean undivided.
#
# </details>
#
# Let us see what each penalty does. minictr's `reg` is the authors' program's ($\lambda \lVert W \rVert^2 / B$, for
# MovieLens 2 with batches of 4,096 rows); the one above, with RecBole's default of 2, we add by hand.

# %%
class Pulled(AFM):
    """An AFM whose W feels 2 ||W||, as in the lines above."""

    whole_batch_only = True                       # backward sees a batch in one piece
    data_gradients = []                           # how hard the data pulled

    def backward(self, dlogit):
        super().backward(dlogit)
        W = self.attention.params["W"]
        self.data_gradients.append(np.linalg.norm(self.attention.grads["W"]))
        self.attention.grads["W"] += 2 * W / np.linalg.norm(W)


def two_of(kind, **settings):
    return [kind(epochs=6, seed=seed, **settings).fit(clicks.X, clicks.y)
            for seed in range(2)]

# %%
small = 2 / 4096 * models[0].batch_size           # inside, reg is divided by the batch
fitted = {"no penalty": models[:2],
          "λ ‖W‖² / B with 2/4096": two_of(AFM, reg=small),
          "2 ‖W‖": two_of(Pulled)}
lines = []
for penalty, runs in fitted.items():
    for model in runs:
        a = attention_of_rows(model) * 28         # 1 is even
        p_click = model.predict_proba(test.X)[:, 1]
        lines.append({"penalty": penalty,
                      "length of W": np.linalg.norm(model.attention.params["W"]),
                      "largest mean of a / (1/P)": a.mean(axis=0).max(),
                      "largest spread of it over rows": a.std(axis=0).max(),
                      "test log loss": metrics.log_loss(test.y, p_click)})
collapsed = pd.DataFrame(lines)
means = collapsed.groupby("penalty", sort=False).mean()
means.round(3)

# %% tags=["claims"]
dead = collapsed["penalty"] == "2 ‖W‖"
assert (collapsed.loc[dead, "length of W"] < 0.05).all()
assert max(Pulled.data_gradients) < 1             # the penalty pulls with 2, always
assert (collapsed.loc[dead, "largest mean of a / (1/P)"] < 1.02).all()
assert (collapsed.loc[dead, "largest spread of it over rows"] < 0.02).all()
assert (collapsed.loc[~dead, "largest mean of a / (1/P)"] > 1.1).all()
assert (collapsed.loc[~dead, "largest spread of it over rows"] > 0.1).all()
assert np.ptp(means["test log loss"]) < 0.02      # the loss hardly tells

# %% [markdown]
# With $2 \lVert W \rVert$ the matrix has gone to 0, every score is the same number $h \cdot \mathrm{relu}(b)$, and the
# attention is $1/P$ in every row: this AFM is an FM, but for $p$. The test loss hardly shows it, and a bar chart would
# show 28 bars without complaint.
#
# What catches it, in one look each: **compare attention with $1/P$**, and **look at its spread over rows**. That is why
# minictr's tables carry a column `uniform`, its plots draw $1/P$, and `explain.attention` leaves a note:

# %%
print(explain.attention(fitted["2 ‖W‖"][0], X).attrs["note"])

# %% tags=["claims"]
notes = {penalty: [explain.attention(model, X).attrs["note"] for model in runs]
         for penalty, runs in fitted.items()}
assert all("uniform" in note for note in notes.pop("2 ‖W‖"))
assert all(note is None for of_kind in notes.values() for note in of_kind)

# %% [markdown]
# ## Plug yours in
#
# "A logit is a plain sum with one term for each pair": then a model may as well *compute* it so. Here your terms are
# the forward pass, and the library's backward pass must fit them.

# %% tags=["yours"]
class AFMOfYourTerms(AFM):
    """An AFM whose logit is bias + fields + your pair terms."""

    def forward(self, slots):
        super().forward(slots)                    # fills the caches
        of_fields = self.bias() + self.terms()["fields"].sum(axis=1)
        return of_fields + np.sum(my_pair_terms(self), axis=1)


settings = {"embedding_dim": 4, "epochs": 3, "dtype": "float64", "plain": True}
few = clicks.X[:5_000], clicks.y[:5_000]
train_beside("AFM of your terms", AFMOfYourTerms(**settings), AFM(**settings), *few);

# %% [markdown]
# ## On your own
#
# - **Design.** A colleague trains a DeepFM and asks which fields matter together. Which of the three quantities can you
#   give, and what would you compute to tell noise from effect?
#
#   <details><summary>Answer</summary>
#
#   Neither attention (there is none) nor exact contributions of pairs (the deep part is one remainder), but the
#   interaction effect, which asks nothing about the inside. Against noise: the same on shuffled labels, other seeds,
#   and, as both let an impostor through here, the loss on new labels without the pair.
#
#   </details>
# - `explain.truthfulness(models[0], (clicks.X, clicks.y), (test.X, test.y), truth=truth)` does most of this page in one
#   call. Read its `attrs["verdict"]`. Does it say more than you could?
# - Try other worlds, `make_clicks(20_000, seed=1)` and so on. How often do all five planted pairs come first, by each
#   quantity? And with 100,000 rows: does *user_segment × advertiser* go away?
# - Replace AFM by `FM`, which has no attention at all. Does it rank the pairs worse?
#
# ## In practice
#
# - Say which of the three you show, its unit, over which rows, and what the interval is. "Importance" is none of them.
# - To explain *this prediction*, use contributions: for LR, FM and AFM they are exact. Remember that the sum is exact
#   and the way it is shared out is not unique.
# - To say what *two fields do together*, use interaction effects. Fields that depend on each other (a user and their
#   age) are combined in ways that never occur; be careful there.
# - To say what *the data support*, use labels that training did not see. Real data have no planted truth.
# - When not to look at attention at all: with two fields (it is always 1), or if its note says uniform.
#
# ## Next
#
# [06 Let fields talk with AutoInt](06_let_fields_talk_with_autoint.ipynb): attention between fields, several heads and
# layers of it, and no exact contributions any more.
#
# ## Further reading
#
# - J. Xiao et al., *Attentional Factorization Machines*, IJCAI 2017, [arXiv
#   1708.04617](https://arxiv.org/abs/1708.04617)
# - S. Jain, B. C. Wallace, *Attention is not Explanation*, NAACL 2019,
#   [arXiv 1902.10186](https://arxiv.org/abs/1902.10186), and the reply by S. Wiegreffe, Y. Pinter, *Attention is not
#   not Explanation*, EMNLP 2019, [arXiv 1908.04626](https://arxiv.org/abs/1908.04626)
# - J. H. Friedman, B. E. Popescu, *Predictive learning via rule ensembles*, Annals of Applied Statistics 2008,
#   [arXiv 0811.1679](https://arxiv.org/abs/0811.1679), section 8.1
# - B. Lengerich et al., *Purifying Interaction Effects with the Functional ANOVA*, AISTATS 2020,
#   [arXiv 1911.04974](https://arxiv.org/abs/1911.04974): the appendix below, for any table
#
# ## Appendix: purified terms
#
# Exercise 2 took out of a table what each of two fields says alone. Can a *contribution* be freed of it too, so that
# the sum stays exact? For an FM it takes one line of algebra. Let $m_i$ be the mean of the vectors $e_i$ over rows, and
# write $\tilde e_i = e_i - m_i$. Then
#
# $$\langle e_i, e_j \rangle = \langle \tilde e_i + m_i,\; \tilde e_j + m_j \rangle
#   = \underbrace{\langle \tilde e_i, \tilde e_j \rangle}_{\text{the pair's}}
#   + \underbrace{\langle \tilde e_i, m_j \rangle}_{\text{field } i\text{'s}}
#   + \underbrace{\langle m_i, \tilde e_j \rangle}_{\text{field } j\text{'s}}
#   + \underbrace{\langle m_i, m_j \rangle}_{\text{the bias's}}$$
#
# Nothing was added or lost: give each part to whom it belongs, and the logit is the same sum as before. What has
# changed: over the values of field $i$, whatever the value of field $j$, the pair's part has mean
# $\langle \text{mean of } \tilde e_i, \tilde e_j \rangle = \langle 0, \tilde e_j \rangle = 0$. So it says nothing of
# one field alone, and the same holds for the other field. The field's own terms lose their means to the bias as well:
#
# $$\text{bias}: w_0 + \sum_i \overline{w_i x_i} + \sum_{i<j} \langle m_i, m_j \rangle, \qquad
#   \text{field } i: w_i x_i - \overline{w_i x_i} + \sum_{j \ne i} \langle \tilde e_i, m_j \rangle$$
#
# There is only one way to have such parts. If a table $T_{uv}$ is $c + f_u + g_v + D_{uv}$, with all means of $f$, $g$
# and $D$ (over either of its fields) zero, then the mean of $T$ is $c$, the mean over $v$ is $c + f_u$, the mean over
# $u$ is $c + g_v$, and $D$ is what is left: exercise 2's double-centred table. This is the *functional ANOVA*, and the
# mean over pairs of values $(u, v)$ is taken as if they were drawn independently, weighing $r_u q_v$.
#
# FFM and FwFM have other vectors in the place of $e_i$ and $e_j$, but the same line. A product of three (HOFM) comes
# apart into eight parts: $\tilde u_i \tilde u_j \tilde u_l$ for the triple, three like
# $\tilde u_i \tilde u_j \bar u_l$ for its pairs, three like $\tilde u_i \bar u_j \bar u_l$ for its fields, and one for
# the bias. Let us do it by hand:

# %%
fm = FM(epochs=6, learning_rate=0.01, dtype="float64").fit(clicks.X, clicks.y)
logit = fm.forward(fm.encoder_.encode(X))
E = fm.pooling.cache["E"]                         # (2000, 8, k)   e_i
m = E.mean(axis=0)                                # (8, k)         m_i
centred = E - m                                   # (2000, 8, k)   e_i - m_i
wx = fm.linear.field_terms()                      # (2000, 8)      w_i x_i
i, j = np.triu_indices(8, 1)
pairs = (centred[:, i] * centred[:, j]).sum(axis=2)       # (2000, 28)     both centred
others = m.sum(axis=0) - m                        # (8, k)         sum_{j != i} m_j
fields = wx - wx.mean(axis=0) + (centred * others).sum(axis=2)    # (2000, 8)
bias = fm.bias() + wx.mean(axis=0).sum() + (m[i] * m[j]).sum()    # (1,)

by_value = explain.pair_values(fm, X, "user_segment", "ad_category")  # the pair's part
ax = plots.pair_values(by_value)
ax.figure.set_dpi(60)

# %% tags=["claims"]
pure = explain.contributions(fm, X, wide=True, purified=True)
D = by_value.pivot(index="value_i", columns="value_j", values="term")
D = D.loc[segments, categories].to_numpy()
planted_values = test.pair_values("user_segment", "ad_category")      # by its maker
both = by_value.merge(planted_values, on=["value_i", "value_j"],
                      suffixes=("", " planted"))
# still the logit
assert np.abs(bias + fields.sum(axis=1) + pairs.sum(axis=1) - logit).max() < 1e-12
assert np.abs(pure["bias"].to_numpy().ravel() - bias).max() < 1e-12
assert np.abs(pure["field"].to_numpy() - fields).max() < 1e-12
assert np.abs(pure["pair"].to_numpy() - pairs).max() < 1e-12
# exercise 2, without a single T
assert np.abs(D - double_centred(mean_logits(fm, X), r, q)).max() < 1e-12
assert 0.9 < both["term"].corr(both["term planted"]) < 1

# %% [markdown]
# *What to look at*: the largest pair as the FM has it, one number for each two values. A cell's area is the number of
# rows that hold both: what stands in a small cell rests on few rows. By hand, by `purified=True` and by exercise 2 it
# is the same, to the last digits; the first two need no table of combinations, only the fields' mean vectors.
#
# Does it matter? For this FM hardly: its weights $w$ are for what a field says alone, and it uses them. FFM as its
# paper has it (no $w_0$, no $w$) is nothing but pairs, so each pair's term must carry main effects as well. The first
# five pairs of 28, and the correlation with the planted sizes over all 28, of three such FFMs:

# %%
compared = []
for seed in range(3):
    ffm = FFM(first_order=False, epochs=4, seed=seed).fit(clicks.X, clicks.y)
    line = {}
    for name, purified in (("raw", False), ("purified", True)):
        size = explain.pair_importance(ffm, X, purified=purified)["value"]
        line |= {f"{name}: planted among five": hits(size),
                 f"{name}: correlation": size.corr(truth["value"])}
    compared.append(line)
    # a model without w: what its pairs say of one field
    own = explain.field_values(ffm, X, "position")
    assert own["term"].corr(test.field_values("position")["term"]) > 0.95
compared = pd.DataFrame(compared).rename_axis("seed")
compared.round(3)

# %% tags=["claims"]
assert (compared["purified: planted among five"]
        >= compared["raw: planted among five"]).all()
assert (compared["purified: correlation"] > compared["raw: correlation"]).all()

# %% [markdown]
# Purified, a planted pair more comes first where there is a difference. What the pairs lost went to the fields:
# `explain.field_values` shows a main effect of *position* in a model that has no weight for it.
#
# What about AFM, the model of this page? Its term is $a_{ij}\, p \cdot p_{ij}$, and $a_{ij}$ is a share: it depends on
# all *other* pairs of the row as well. So no mean of one field's vectors takes anything out of it, and `purified=True`
# refuses. Its pairs can be had by exercise 2, as those of any model: `explain.pair_values(..., source="scores")`.
#
# And a word of care. The means are over each field's values by itself, as if a user's age were independent of the user.
# `purified="joint"` weighs two values by how often they occur *together*; there is no closed form then, and the means
# are taken out of tables, over one field after the other, until none are left (the paper's algorithm). Where fields
# depend on each other the two differ, and neither is *the* truth: what two such fields say alike has no one owner.
