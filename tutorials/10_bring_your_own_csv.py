# %% [markdown]
# # Bring your own CSV
#
# **What you'll do**: take an untidy file of ad impressions, say what each column is, test a model the way it will be
# used, on later days, and keep it for tomorrow.
#
# **What you'll learn**
# - to choose the kind of each [field](glossary.md#field): category, number, or several values in a cell;
# - to see what becomes of rare, missing and never seen values;
# - to split by time, and what a random split hides;
# - to measure the share of unknown values, and to find the vector that an unknown user gets;
# - to save a model, load it, and score one row.
#
# **What you'll need**: the course up to [05](05_read_attention_honestly.ipynb), of which
# [01](01_predict_a_click.ipynb) and [02](02_multiply_pairs_with_fm.ipynb) matter most here; pandas.
#
# **Time**: 50 minutes, exercises included.

# %% [markdown]
# ## A file as they come
#
# The file is made here, so that nobody has to be asked for it. It is the world of the earlier notebooks with what
# real logs have on top: **users** with a long tail, and **campaigns** that run for four days and are then gone. A
# user and a campaign each shift the [logit](glossary.md#logit). About one row in ten shows no campaign at all,
# and about one discount in seven was not recorded.

# %%
import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from minictr import (FM, Categorical, MultiValued, Numerical, check_gradients, cli,
                     datasets, metrics)
from minictr.exercises import check
from minictr.fields import TableEncoder
from minictr.layers import Embedding, sigmoid


def draw_log(seed, n_rows=20_000, n_days=24, n_campaigns=400, days_alive=4):
    """Impressions of n_days days with their clicks, in no particular order."""
    rng = np.random.default_rng((seed, 10))
    ads = datasets.make_clicks(n_rows, seed=seed)
    day = rng.integers(n_days, size=n_rows)
    first_day = rng.integers(1 - days_alive, n_days, size=n_campaigns)
    # (rows, campaigns)
    alive = (first_day <= day[:, None]) & (day[:, None] < first_day + days_alive)
    campaign = (alive * rng.random(alive.shape)).argmax(axis=1)  # one that is alive
    no_campaign = rng.random(n_rows) < 0.1
    user = rng.zipf(1.3, size=n_rows)  # a long tail,
    # cut off and spread out
    user = np.where(user <= 3_000, user, rng.integers(1, 3_001, size=n_rows))
    logit = ads.logit + rng.normal(0, 2, size=n_campaigns)[campaign] * ~no_campaign
    logit = logit + rng.normal(0, 0.5, size=3_001)[user]
    minutes = (day * 24 + ads.X["hour"]) * 60 + rng.integers(60, size=n_rows)
    return pd.DataFrame({
        "time": pd.Timestamp("2024-03-01") + pd.to_timedelta(minutes, unit="min"),
        "user": [f"u{number:04d}" for number in user],
        "segment": ads.X["user_segment"],
        "device": ads.X["device"],
        "category": ads.X["ad_category"],
        "position": ads.X["position"],
        "campaign": pd.Series(1_000 + 7 * campaign, dtype="Int64").mask(no_campaign),
        "discount": ads.X["discount"].mask(rng.random(n_rows) < 0.15),
        "interests": ads.X["interests"].map("|".join),
        "click": (rng.random(n_rows) < sigmoid(logit)).astype(int),
    })


folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "impressions.csv"
draw_log(seed=0).to_csv(path, index=False)

log = pd.read_csv(path)
log.head()

# %% [markdown]
# First picture: when each campaign was seen. Days are counted from 0. **What to look at**: the dashed line at 20, where
# day 19 ends; the future is days 20 to 23. Bars that lie wholly to the right of the line are campaigns that a model
# trained on the days before has never met. That is the situation in which it will be used.

# %%
def with_clock(table):
    """The table with what follows from its time: the hour, and the day (from 0)."""
    time = pd.to_datetime(table["time"])
    return table.assign(hour=time.dt.hour,
                        day=(time.dt.normalize() - pd.Timestamp("2024-03-01")).dt.days)


log = with_clock(log)
alive = log.groupby("campaign")["day"].agg(["min", "max"])
alive = alive.sort_values(["min", "max"]).iloc[::8]
fig, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
ax.barh(range(len(alive)), alive["max"] - alive["min"] + 1, left=alive["min"],
        height=0.7, color="#0072B2")
ax.axvline(20, color="black", linestyle="--")
ax.set(xlabel="day", ylabel="campaigns (every eighth)",
       title="When each campaign was seen", yticks=[])
text = ax.text(19.8, 2, "training ends", ha="right")

# %% [markdown]
# ## Look before you choose
#
# Three questions for every column: what did pandas make of it, how much is missing, and how many different values are
# there?

# %%
overview = pd.DataFrame({"dtype": log.dtypes.astype(str),
                         "missing": log.isna().mean().round(3),
                         "distinct": log.nunique(),
                         "first value": log.iloc[0].astype(str)})
overview

# %% tags=["claims"]
assert overview.loc["campaign", "dtype"] == "float64"  # it was written as whole numbers
assert 0.08 < overview.loc["campaign", "missing"] < 0.12
assert 0.12 < overview.loc["discount", "missing"] < 0.17

# %% [markdown]
# `campaign` came back as `float64`: pandas has no missing value for its plain whole numbers, so one empty cell turns
# the ids of the whole column into floats. minictr takes floats for quantities, and says so when it looks suspicious:

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    TableEncoder(["campaign"]).fit(log)
print(caught[0].message)

# %% tags=["claims"]
assert len(caught) == 1 and "ids or codes" in str(caught[0].message)

# %% [markdown]
# It is right to ask. As a quantity, campaign 2002 would be "twice campaign 1001", with one vector for all of them,
# stretched or shrunk. As a [categorical field](glossary.md#categorical-field) each campaign has a vector of its own.
#
# | say | for | a row's vector $e_i = v_i x_i$ |
# | --- | --- | --- |
# | `Categorical(name, min_count=1)` | ids, codes, text | the value's own; rarer ones share that of "unknown" |
# | `Categorical(name, buckets=b)` | too many values to list | that of the value's hash, 1 of b; some values share it |
# | `Numerical(name, transform=...)` | quantities | one vector for the field, times the number $x_i$ |
# | `Numerical(name, bins=b)` | quantities whose effect bends | that of the number's bin |
# | `MultiValued(name, sep="\|")` | several values in a cell | the mean of its values' vectors |
#
# `transform="standard"` makes the numbers mean 0 and deviation 1; `|` is what `sep` is unless you say otherwise. See
# also [unknown value](glossary.md#unknown-value) and [multi-valued field](glossary.md#multi-valued-field).
#
# "Missing" is a value of its own, with a vector learned from the rows where it was missing: that nobody recorded a
# discount may well say something. A number that is missing only after training has no such vector. There $x_i = 0$,
# and the field adds nothing.
#
# **Exercise 1.** Write the list of fields, in any order, as text for a plain column name or as one of the three kinds.
#
# - `user`: rarer than 3 times is unknown. `campaign`: an id; rarer than 20 times is unknown. `discount`: a quantity.
# - `segment`, `device`, `category`, `position`, `hour`: categories. `interests`: "cars|sport" means two interests.

# %% tags=["exercise"]
# Exercise 1
my_fields = None                     # [Categorical("user", ...), "segment", ...]

# %% tags=["check"]
names = ["user", "segment", "device", "category", "position", "hour", "campaign",
         "discount", "interests"]
often = {name: int((log[name].value_counts() >= least).sum())
         for name, least in (("user", 3), ("campaign", 20))}
single = {name: log[name].nunique()
          for name in ("segment", "device", "category", "position", "hour")}
interests = {value for cell in log["interests"] for value in cell.split("|")}
wanted = pd.Series({**often, **single, "discount": 1,
                    "interests": len(interests)})[names]
learned = chosen = None
if my_fields is not None:
    try:
        learned = TableEncoder(my_fields).fit(log).describe()
        learned = learned.set_index("field")["values"]
    except Exception as error:
        print(f"minictr cannot read your list. {type(error).__name__}: {error}")
if learned is not None:
    both = pd.DataFrame({"yours": learned, "wanted": wanted})
    print(both.reindex([*names, *learned.index.difference(names)]).astype("Int64"))
    print("missing in your list:",
          [name for name in names if name not in learned] or "no field")
    if "click" in learned:
        print("`click` is the answer, not a field: a model that is given it has "
              "nothing left to predict.")
    chosen, learned = [name in learned for name in log], learned.reindex(names)
check("which columns are fields", chosen, [name in names for name in log])
check("number of vectors for values, by field", learned, wanted);

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# my_fields = [
#     Categorical("user", min_count=3), "segment", "device", "category",
#     Categorical("position"), Categorical("hour"),
#     Categorical("campaign", min_count=20), Numerical("discount", transform="standard"),
#     MultiValued("interests", sep="|"),
# ]
# ```
#
# `"segment"` alone lets minictr infer the kind: text and whole numbers are categories. `time`, `day` and `click` are
# in the table and not in the list, so they are no fields. Without a list **every** column becomes a field, the click
# too, if you leave it in the table.
#
# </details>

# %%
fields = [Categorical("user", min_count=3), "segment", "device", "category", "position",
          "hour", Categorical("campaign", min_count=20),
          Numerical("discount", transform="standard"), MultiValued("interests")]
encoder = TableEncoder(fields).fit(log)
described = encoder.describe()
described.round(3)

# %% tags=["claims"]
assert (described["unknown"] > 0).tolist() == [name in ("user", "campaign")
                                               for name in described["field"]]

# %% [markdown]
# The column `unknown` is the share of this table's values that were too rare. It is worth a thought: these rows train
# the vector of "unknown", which tomorrow's strangers will get. With `min_count=1` no training row is unknown, and the
# unknown vector gets no gradient; what it is then, a table further down shows.
#
# ## What the encoder does
#
# Each value becomes an id, the number of a row of the table of vectors. Within a field: 0 is unknown or rare, 1 is
# missing, and 2, 3, … are the known values in sorted order.
#
# **Exercise 2.** Encode a column by hand. `train` and `values` are lists of text, None where missing. A value is known
# if `train` holds it at least `min_count` times. Return a list with one id for each of `values`.

# %% tags=["exercise"]
# Exercise 2
def encode(values, train, min_count):
    """Ids: 0 unknown or rare, 1 missing, 2.. the known values, sorted."""
    return None                      # your lines here (a collections.Counter helps)

# %% tags=["check"]
train_column = ["bob", "ann", None, "ann", "cem", "bob", "ann"]
new_column = ["ann", "bob", "cem", "dan", None, "dan"]
of_two = TableEncoder([Categorical("name", min_count=2)]).fit({"name": train_column})
target = of_two.encode({"name": new_column}).ids
check("ids of a small column", encode(new_column, train_column, 2), target[:, 0],
      mistakes={"Unknown values got the id of the first known one: they would share "
                "its vector.": [2, 3, 2, 2, 1, 2],
                "A value that train holds exactly min_count times is known, too.":
                [2, 0, 0, 0, 1, 0],
                "The known values are in the order in which they appear; sorted was "
                "asked for.": [3, 2, 0, 0, 1, 0],
                "min_count was not used: one cem is known.": [2, 3, 4, 0, 1, 0],
                "The later values were counted too: only train may say what is known.":
                [2, 3, 4, 5, 1, 5],
                "The known values begin at 1, which is the id of missing.":
                [1, 2, 0, 0, 1, 0],
                "A missing value is not unknown: it has the id 1.": [2, 3, 0, 0, 0, 0]})
check("ids of all users", encode(log["user"].tolist(), log["user"].tolist(), 3),
      TableEncoder([fields[0]]).fit(log).encode(log).ids[:, 0]);

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from collections import Counter
#
# def encode(values, train, min_count):
#     counts = Counter(value for value in train if value is not None)
#     known = sorted(value for value, count in counts.items() if count >= min_count)
#     ids = {value: 2 + place for place, value in enumerate(known)}
#     return [1 if value is None else ids.get(value, 0) for value in values]
# ```
#
# Only `train` decides what is known. Counting over the training and the later rows together would be a leak: the
# model would have a vector, with its random start, for a value that it cannot know of yet.
#
# </details>

# %% [markdown]
# ## Split by time
#
# A test has to put the same question as the job does. The job: train on the days that are over, score the days to
# come. So the test rows are later than the [validation](glossary.md#validation-set) rows, and these later than the
# training rows.
#
# **Exercise 3.** Which part each row belongs to: 0 train, 1 validation, 2 test. The last `test_days` days are test, the
# `validation_days` days before them validation. `day`: (N,) numbers of days in any order; the last day is the largest.

# %% tags=["exercise"]
# Exercise 3
def parts(day, validation_days, test_days):
    """(N,) whole numbers -> (N,) 0, 1 or 2."""
    return None                      # your lines here

# %% tags=["check"]
day = log["day"].to_numpy()
last, target, one_too_many, swapped = max(day), [], [], []
for number in day:        # slow and obvious: count back from the last day
    back = last - number  # 0 on the last day
    target.append(2 if back < 3 else 1 if back < 8 else 0)
    one_too_many.append(2 if back <= 3 else 1 if back <= 8 else 0)
    swapped.append(1 if back < 5 else 2 if back < 8 else 0)
answer = parts(day, 5, 3)
for name, array in (("yours", answer), ("target", np.array(target))):
    if isinstance(array, np.ndarray):
        print(f"share of 0, 1 and 2, {name}:",
              [round(float((array == part).mean()), 3) for part in range(3)])
check("parts by time", answer, target, mistakes={
    "The test has a day too many: the last day is 0 days before the end.": one_too_many,
    "Test comes last: validation and test are swapped.": swapped,
    "The test days are taken for validation days as well, or the other way round.":
        [2 if last - number < 3 else 1 if last - number < 5 else 0 for number in day]});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def parts(day, validation_days, test_days):
#     test_begins = day.max() + 1 - test_days
#     validation_begins = test_begins - validation_days
#     return (day >= validation_begins).astype(int) + (day >= test_begins)
# ```
#
# Whole days, not "the last 20 % of the rows": a cut in the middle of a day, or among rows with the same time, would
# put two halves of one visit on both sides. Cutting at a row number would be wrong here for a simpler reason: the
# rows of this file are in no order.
#
# </details>

# %% [markdown]
# ## What a random split hides
#
# The experiment: days 20 to 23 are the future, put away. On the days before, the same FM is judged twice, once on a
# random fifth of the rows, once on the last four days (16 to 19). Then it is trained on all 20 days and meets the
# future. Which of the two told the truth? One world could be luck, so there are five. All of it is done a second time
# without the field `campaign`. **Predict**: which of the two splits promises more, and which is nearer to the future?

# %%
def fit(table, held_out=None, fields=fields, epochs=15):
    """An FM on these rows; with held_out rows, stopped where their loss was lowest."""
    model = FM(fields=fields, learning_rate=0.01, epochs=epochs)
    validation = None if held_out is None else (held_out, held_out["click"])
    return model.fit(table, table["click"], validation=validation)


def auc(model, table):
    return metrics.auc(table["click"], model.predict_proba(table)[:, 1])


without_campaign = [field
                    for field in fields if getattr(field, "name", field) != "campaign"]
lines, without, unknown = {}, {}, {}
for seed in range(5):
    world = with_clock(draw_log(seed))
    past, future = world[world["day"] < 20], world[world["day"] >= 20]
    late = past["day"] >= 16
    chance = np.random.default_rng(seed).random(len(past)) < late.mean()
    # with all fields last: used below
    for chosen, results in ((without_campaign, without), (fields, lines)):
        by_chance = fit(past[~chance], past[chance], chosen)
        by_time = fit(past[~late], past[late], chosen)
        final = fit(past, fields=chosen, epochs=by_time.history_.attrs["best_epoch"])
        results[seed] = {"random split says": auc(by_chance, past[chance]),
                         "time split says": auc(by_time, past[late]),
                         "the future": auc(final, future)}
    rates = (by_chance.encoder_.unknown_rate(past[chance]),
             final.encoder_.unknown_rate(future))
    unknown[seed] = {"random test": rates[0]["campaign"],
                     "the future": rates[1]["campaign"]}
result, without, unknown = (pd.DataFrame(lines).T.rename_axis("world")
                            for lines in (lines, without, unknown))
pd.concat({"AUC": result, "AUC without campaign": without,
           "unknown campaigns": unknown}, axis=1).round(3)

# %%
fig, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
for name, marker, color in (("random split says", "s", "#D55E00"),
                            ("time split says", "^", "#009E73"),
                            ("the future", "o", "black")):
    ax.plot(result.index, result[name], marker, color=color, markersize=8, label=name)
ax.set(xlabel="world", ylabel="AUC", xticks=range(5),
       title="Two estimates, and what came")
legend = ax.legend(loc="upper left", bbox_to_anchor=(1, 1))

too_high = result["random split says"] - result["the future"]
off_by_time = result["time split says"] - result["the future"]

# %% tags=["claims"]
# in each of the five worlds
assert (too_high > 0.04).all() and (abs(off_by_time) < too_high).all()
assert abs(off_by_time.mean()) < 0.025 and off_by_time.min() < 0 < off_by_time.max()
assert unknown["random test"].max() < 0.08
assert unknown["the future"].between(0.65, 0.85).all()
# the same without campaign
assert (without["random split says"] - without["the future"]).max() < 0.03
assert (result["the future"] - without["the future"]).between(-0.02, 0.04).all()

# %% [markdown]
# **What to look at**: the squares lie above the circles in all five worlds, by more than 0.04 each time. The
# triangles miss too, as four days are few rows and other campaigns, but less, and to either side: on average they are
# off by less than 0.025. (Both estimates chose their epoch on the very rows that they report, which flatters both a
# little: see [08](08_compare_fairly.ipynb).) The last two columns of the table say why. In the random test fewer than
# 8 % of the rows have an unknown campaign, because other rows of its four days were trained on; in the future about
# three rows in four belong to campaigns that training has not seen, or hardly.
#
# The three columns in the middle are the proof. Without `campaign` the random split is not above the future by more
# than 0.03 in any world: it lied only about what it could not have known. And the future is hardly worse for it
# (by less than 0.04): what was learned about old campaigns is of little use by then.
#
# A random split does not ask how good the model will be tomorrow. It asks how good it would have been yesterday, had
# it already known most of yesterday.
#
# ## How much is unknown
#
# The share of unknown values is a number to watch in production, by field and day. It needs no labels and moves
# before the AUC does.
#
# **Exercise 4.** The share of the rows of a column whose value is unknown: not missing, and fewer than `min_count`
# times in `train`. `train` and `column` are pandas Series.

# %% tags=["exercise"]
# Exercise 4
def unknown_rate(train, column, min_count):
    """Two Series -> a share of 0 to 1; of all rows of column."""
    return None                      # your lines here

# %% tags=["check"]
past, future = log[log["day"] < 20], log[log["day"] >= 20]
final = fit(past, epochs=6)
asked = {"user": 3, "campaign": 20}
rates = [unknown_rate(past[name], future[name], least) for name, least in asked.items()]
target = final.encoder_.unknown_rate(future)[[*asked]]
missing = future[[*asked]].isna().mean()
never_seen = TableEncoder([Categorical(name)
                           for name in asked]).fit(past).unknown_rate(future)
check("unknown rates of user and campaign", None if rates[0] is None else rates, target,
      mistakes={
          "The missing values are counted as unknown.": target + missing,
          "That is the share of the rows that are not missing; it should be the share "
          "of all rows.": target / (1 - missing),
          "min_count was not used: these are the values that train does not hold at "
          "all.": never_seen});

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def unknown_rate(train, column, min_count):
#     counts = train.value_counts()
#     known = counts.index[counts >= min_count]
#     return (column.notna() & ~column.isin(known)).mean()
# ```
#
# A missing value is not unknown: the model has a vector for "missing", trained on the rows where it was missing.
#
# </details>

# %% [markdown]
# The rate by day, for the model of the first 20 days. **What to look at**: the row of the campaigns. From the third
# day on none of the known ones is left: what is not missing is unknown. (A campaign that began on day 19 was still
# shown on day 22, but a single day is not enough to be seen 20 times.) With `buckets=` instead of a vocabulary every
# new user joins a bucket of known ones and shares their vector: nothing is ever unknown, and this number cannot warn
# you any more.
#
# Then, the vector that an unknown user gets. With `min_count=3` it was trained, by the rare users of the past. With
# `min_count=1` nothing trained it, and minictr fills it, after training, with the **mean of the users' vectors,
# weighted by how many training rows each has**: a stranger is scored like the average of the users, the frequent ones
# counting for more. The last table shows the first three numbers of that vector, beside two means.

# %%
by_day = pd.DataFrame({f"day {number}":
                       final.encoder_.unknown_rate(future[future["day"] == number])
                       for number in range(20, 24)})
is_missing = future["campaign"].isna().groupby(future["day"]).mean()
by_day.loc["campaign, missing"] = is_missing.loc[20:23].to_numpy()
by_campaign = by_day.loc["campaign"].to_numpy()

hashed = TableEncoder([Categorical("user", buckets=500)]).fit(past)
by_day.loc[["user", "campaign", "campaign, missing", "device"]].round(3)

# %% tags=["claims"]
# every day fewer known campaigns are left
assert by_campaign[0] < by_campaign[1] - 0.1 < by_campaign[2] - 0.2
# then none
assert np.allclose((by_day.loc["campaign"]
                    + by_day.loc["campaign, missing"])[["day 22", "day 23"]], 1)
assert hashed.unknown_rate(future)["user"] == 0
assert past["user"].nunique() > 2 * len(np.unique(hashed.encode(past).ids))

# %%
# user: first field
print("training rows that trained the vector of 'unknown', min_count=3:",
      final.row_counts_[0])
every_user = fit(past, fields=["user", "segment"], epochs=3)  # min_count=1
labels = every_user.encoder_.feature_names("user")  # (unknown), (missing), u0001, ...
# the users' stretch of the table of vectors
V = every_user.embedding.params["V"][:len(labels)]
rows_of = past["user"].value_counts()[labels[2:]]
vectors = {"unknown": V[0],
           "mean, weighted by rows": np.average(V[2:], axis=0, weights=rows_of),
           "mean, all users alike": V[2:].mean(axis=0)}
pd.DataFrame(vectors).T.iloc[:, :3].round(4)

# %% tags=["claims"]
assert final.row_counts_[0] > 0 and every_user.row_counts_[0] == 0
assert np.allclose(vectors["unknown"], vectors["mean, weighted by rows"], atol=1e-5)
assert abs(vectors["unknown"] - vectors["mean, all users alike"]).max() > 1e-3

# %% [markdown]
# ## Spot the bug: whose vector is it?
#
# Here are three ways to look up a user's vector. None of them raises an error; the first and the third have been
# published. Before you run the cell below: who gets whose vector?
#
# ```python
# names = ["ann", "bob", "cem"]  # the users of the training rows
# place = {name: number for number, name in enumerate(names)}
# V = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])         # one row a user
#
# V[place.get("zoe", 0)]                    # (a) zoe is new
# V[place.get("zoe", -1)]                   # (b) zoe is new
# ids = np.array([16_777_216, 16_777_217])  # (c) two users of a large site
# ids.astype(np.float32).astype(int)        #     one array of floats for all columns
# ```
#
# <details><summary>Answer</summary>
#
# (a) Zoe is scored as **Ann**, who happens to be number 0: no id was set aside for "unknown". (b) Zoe is scored as
# **Cem**: NumPy counts negative places from the end, so −1 is the last row. (c) The second user is scored as **the
# first**: a float32 has 24 bits for its digits, so beyond $2^{24}$ it cannot tell neighbours apart.
#
# Public threads: [HealthCatalyst/healthcareai-py#416](https://github.com/HealthCatalyst/healthcareai-py/issues/416)
# (a report of unseen categories that turn up as the first one, the form of (a) for dummy columns) and
# [tensorflow/tensorflow#47187](https://github.com/tensorflow/tensorflow/issues/47187) (groups of ids above $2^{24}$
# have one vector, the form of (c)).
#
# What does a [gradient check](glossary.md#gradient-check) say? Nothing: it passes. The ids have no derivative; wrong
# ids in, right gradients out, of the wrong rows. What catches it is one test: a name that training never had must not
# get the vector of any that it had.
#
# </details>

# %%
names = ["ann", "bob", "cem"]
place = {name: number for number, name in enumerate(names)}
V = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
ids = np.array([16_777_216, 16_777_217])
big = pd.Series([2**53, 2**53 + 1, None])  # the same trap in pandas' float64, later

# minictr: id 0 is nobody's, a table refuses an id of -1, and 2^24 and 2^24 + 1 are two
# values
users = TableEncoder([Categorical("user")]).fit({"user": [*names, "ann"]})
slots = users.encode({"user": ["ann", "zoe", None]})
print("ann, zoe, missing ->", slots.ids[:, 0], "of", users.feature_names("user"))

embedding = Embedding(users.n_ids, 2, np.random.default_rng(0), dtype="float64")
slots.ids[1] = slots.ids[0]  # bug (a) on purpose: zoe is ann
slots.ids[1] = -1            # bug (b) on purpose
try:
    embedding.forward(slots)
except IndexError as error:
    print("IndexError:", error)

# %% tags=["claims"]
assert (V[place.get("zoe", 0)] == V[place["ann"]]).all()            # (a)
assert (V[place.get("zoe", -1)] == V[place["cem"]]).all()           # (b)
# (c)
assert len(set(ids.tolist())) == 2
assert len(set(ids.astype(np.float32).astype(int).tolist())) == 1
assert big.dtype == "float64" and big.nunique() == 1
zoe = users.encode({"user": ["zoe"]}).ids[0, 0]
assert users.feature_names("user")[zoe] == "(unknown)"
apart = TableEncoder([Categorical("id")]).fit({"id": ids}).encode({"id": ids})
assert apart.ids.ravel().tolist() == [2, 3]
slots.ids[1] = slots.ids[0]                        # bug (a) again: zoe is ann
assert check_gradients(embedding, slots).passed    # and the check is content

# %% [markdown]
# ## Errors on purpose
#
# A message should say what is wrong, where, and what to do. Five mistakes that everybody makes once:

# %%
row_as_text = future.head(1).assign(position=["3"])
mistakes = {
    "a typing error in a name":
            lambda: FM(fields=["user", "campain"]).fit(past, past["click"]),
    "a date as a field":
            lambda: FM().fit(past[["user"]].assign(time=pd.to_datetime(past["time"])),
                             past["click"]),
    "three labels": lambda: FM(fields=fields).fit(past, past["device"].map(str)),
    "a column is missing": lambda: final.predict_proba(future.drop(columns="device")),
    "numbers became text": lambda: final.predict_proba(row_as_text),
}
for name, mistake in mistakes.items():
    try:
        mistake()
    except (TypeError, ValueError) as error:
        print(f"{name}\n    {type(error).__name__}: {error}\n")
    else:
        raise AssertionError(f"no error for: {name}")

# %% [markdown]
# The last one is the most valuable. Comparing `"3"` with the known positions 1 to 5 would make every position
# unknown, and all scores a little wrong, without a word.
#
# ## Save it, load it, score one row
#
# The file holds the weights, the vocabularies and the settings. Loading runs no code from it, so that a file from a
# stranger can be wrong, but not dangerous. The scores are the same to the last bit.

# %%
final.save(Path(folder.name) / "clicks.npz")
loaded = FM.load(Path(folder.name) / "clicks.npz")

# the campaign with most clicks
known = int(past.groupby("campaign")["click"].sum().idxmax())
row = {"user": "u0001", "segment": "parent", "device": "phone", "category": "toys",
       "position": 1, "hour": 20,
       "campaign": known, "discount": 0.1, "interests": "cars|music"}
cases = {"as it is": row, "a new campaign": {**row, "campaign": 999_999},
         "another new one": {**row, "campaign": 888_888},
         "no campaign": {**row, "campaign": None},
         "no discount": {**row, "discount": None}}
p_click = {name: loaded.predict_proba(pd.DataFrame([case]))[0, 1] for name,
           case in cases.items()}

# a dict of columns does as well
columns = {name: [value] for name, value in row.items()}
pd.DataFrame({"p_click": p_click}).round(4)

# %% tags=["claims"]
assert np.array_equal(loaded.predict_proba(future), final.predict_proba(future))
assert loaded.predict_proba(columns)[0, 1] == p_click["as it is"]
assert p_click["a new campaign"] == p_click["another new one"] != p_click["no campaign"]

# %% [markdown]
# Two new campaigns get one score, that of "unknown"; "none" has another one. Note that `hour` is not in the log but
# made from its time. The same function (`with_clock`) must make it for training and for scoring: two programs that
# each do it their way are a common reason why a good model is bad in use.
#
# ## The same on the command line
#
# ```sh
# minictr train impressions.csv --target click --model fm --save m.npz \
#     --ignore time --categorical campaign --multi-valued 'interests:|' --epochs 3
# minictr explain m.npz impressions.csv --target click --out pics/
# ```
#
# The first command is run here too, and the last lines that it prints are shown. Its validation rows are drawn at
# random, so now you know what that AUC leaves out. `explain` writes a page of pictures to open in a browser.

# %%
printed = io.StringIO()
with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    cli.main(["train", str(path), "--target", "click", "--model", "fm", "--save",
              str(Path(folder.name) / "m.npz"),
              "--ignore", "time", "--categorical", "campaign", "--multi-valued",
              "interests:|", "--epochs", "3"])
from_command = FM.load(Path(folder.name) / "m.npz")
_, title, scores = printed.getvalue().partition("On the")
print((title + scores.partition("Saved")[0]).strip())
folder.cleanup()

# %% tags=["claims"]
assert "campaign" in from_command.feature_names_in_
assert "time" not in from_command.feature_names_in_

# %% [markdown]
# ## Plug yours in
#
# A model of the file with your fields, split by your days; how much of the test is unknown to it, by your count and by
# the encoder of your model?

# %% tags=["yours"]
part = parts(log["day"].to_numpy(), 5, 3)
if my_fields is None or part is None:                      # an exercise is open
    check("your model of the file", None, 0)
else:
    train, validation, later = (log[part == number] for number in range(3))
    yours = fit(train, validation, my_fields)
    print(f"AUC on the last three days: {auc(yours, later):.3f}")
    check("unknown campaigns, by your count and by your model",
          unknown_rate(train["campaign"], later["campaign"], 20),
          yours.encoder_.unknown_rate(later)["campaign"])
    ids = encode(later["user"].tolist(), train["user"].tolist(), 3)
    check("unknown users, by your ids and by your model",
          None if ids is None else np.mean(np.array(ids) == 0),
          yours.encoder_.unknown_rate(later)["user"])

# %% [markdown]
# ## On your own
#
# - Give `discount` bins (`Numerical("discount", bins=5)`). Does the AUC on the last four days change by more than it
#   changes with the seed?
# - Let campaigns live longer: `days_alive=24` in `draw_log`. Is the random split still too high? How much is unknown?
# - Take a CSV of yours. Write down, before you look, which fields will have an unknown rate above 5 % a week later.
#
# ## In practice
#
# - **Columns from the future**: anything that is known only after the click (a basket, a duration, "number of clicks
#   today") makes a wonderful AUC and a useless model. Ask of each column when it was written.
# - **Ids with gaps**: read them with `dtype={"campaign": "Int64"}` or as text. Beyond $2^{53}$ the damage is done
#   inside `read_csv`, before any library sees the numbers.
# - **Encoding the later rows too**: a common [advice](https://github.com/shenweichen/DeepCTR/issues/24) against "id
#   out of range" is to build the vocabulary from all rows, test included. It removes the error and the honesty of the
#   test.
# - **[Cold start](glossary.md#cold-start)**: an unknown campaign is scored by its other fields. If most rows are
#   unknown, add fields that new ones share with old ones (advertiser, category, price), rather than more ids.
# - **When to split at random**: when rows really are exchangeable, such as independent visitors of one day.
#
# ## Next
#
# [From NumPy to PyTorch](11_from_numpy_to_pytorch.ipynb): the same models in the framework that you will meet at
# work.
#
# ## Further reading
#
# - W. Song et al., [AutoInt](https://arxiv.org/abs/1810.11921), eq. 2–4: categorical, multi-valued and numerical
#   fields as vectors.
# - H. B. McMahan et al., [Ad click prediction: a view from the trenches](https://doi.org/10.1145/2487575.2488200),
#   KDD 2013: rare values, testing each day before training on it, and much else that a real system needs.
