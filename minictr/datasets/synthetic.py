"""Impressions with clicks, and movie ratings, are drawn on the spot from a known truth."""

from itertools import combinations

import numpy as np
import pandas as pd

from ..checks import is_real
from ..layers.functions import sigmoid
from ..metrics import auc, log_loss
from .planted import BASE_RATE, FIELDS, MAIN_EFFECTS, PAIR_EFFECTS, Clicks, PlantedField

# ----------------------------------------------------------------------------------------- clicks


def make_clicks(n_rows=20_000, *, seed=0, rows_seed=0, triples=None):
    """Draw ad impressions whose clicks come from a known formula with planted pair effects.

    Parameters
    ----------
    n_rows : int, the number of impressions.
    seed : int, draws the world, that is all effects. The world is the same for every `n_rows`.
    rows_seed : int, draws the rows. Another number gives other rows of the same world: a fair test
        set for a model trained on the first ones.
    triples : None, or dict of (field, field, field) to a number above 0: effects of three fields
        together to plant as well, each of this standard deviation over rows, in log-odds. X is the
        same with and without them, and so are all other effects; b, the logit and y are not.

    Returns
    -------
    Clicks
        X, y, logit, probability, planted_pairs, planted_triples, base_rate, best_auc,
        best_log_loss, effects; and what is planted value by value, `field_values` and `pair_values`.

    Raises
    ------
    ValueError
        `n_rows` is below 1; `triples` is no dict; one of them does not name three different fields,
        or names the same three as another one; its number is not above 0.

    Notes
    -----
    **Rows.** Each field is drawn independently of the others.

    ============ ======= ====================================================================
    user_segment str     8 segments with shares 25, 20, 15, 12, 10, 8, 6, 4 %
    hour         int     0 to 23, share proportional to 1.2 + cos(2 pi (hour - 16) / 24)
    device       str     phone 50 %, desktop 30 %, tablet 15 %, tv 5 %
    ad_category  str     10 categories, equally often
    position     int     place on the page, 1 to 5 with shares 35, 25, 18, 13, 9 %
    advertiser   str     brand_01 to brand_60, share proportional to 1 / rank: a long tail
    discount     float   0, 0.05, ..., 0.60, equally often
    interests    tuple   of 1 (40 %), 2 (35 %) or 3 (25 %) of 8 interests, in alphabetical order;
                         every set of a size equally often
    ============ ======= ====================================================================

    **Labels.** With v_f the value of field f in a row::

        logit = b + sum over fields f of a_f(v_f) + sum over planted pairs f, g of c_fg(v_f, v_g)
        P(y = 1) = 1 / (1 + exp(-logit))

    a_f and c_fg are tables of independent normal numbers, one for each value or combination of two
    values. Where interests take part, each single interest has a number, and a set has the mean of
    its interests' numbers. Where the discount takes part, the table is a straight line in the
    discount, with a random slope (for each segment). The main effect falls from position 1 to
    position 5 and rises with the discount.

    Every a_f has mean 0 over rows. Every c_fg has mean 0 over rows *for each value* of f and of g
    (it is double-centred with the shares above), so no part of a pair effect can be had from one
    field alone. Then each table is scaled to a fixed standard deviation over rows:

    ========================= ====    ============ ===    ============ ===
    pair                              main effect         main effect
    ========================= ====    ============ ===    ============ ===
    user_segment, ad_category  1.5    user_segment 0.3    position     0.4
    hour, device               0.8    hour         0.2    advertiser   0.4
    device, position           0.4    device       0.3    discount     0.3
    user_segment, discount     0.3    ad_category  0.3    interests    0.2
    ad_category, interests     0.3
    ========================= ====    ============ ===    ============ ===

    The other 23 pairs have no effect; advertiser is in no planted pair. b is set such that 22 % of
    impressions are clicked on average.

    **Triples** add c_fgh(v_f, v_g, v_h) to the logit: a table of the same kind, with mean 0 over
    rows for each two values of its fields, so that neither a field nor a pair has any part of it.

    Examples
    --------
    >>> from minictr import datasets
    >>> train = datasets.make_clicks(1000, seed=0)
    >>> test = datasets.make_clicks(500, seed=0, rows_seed=1)
    >>> train.X.columns.tolist()[:4]
    ['user_segment', 'hour', 'device', 'ad_category']
    >>> train.planted_pairs.query("value > 0.5").values.tolist()
    [['user_segment', 'ad_category', 1.5], ['hour', 'device', 0.8]]
    >>> deeper = datasets.make_clicks(1000, triples={("user_segment", "device", "position"): 1.0})
    >>> deeper.planted_triples.query("value > 0").values.tolist()
    [['user_segment', 'device', 'position', 1.0]]
    """
    if n_rows < 1:
        raise ValueError(f"n_rows must be at least 1, got {n_rows}")
    triples = _in_field_order({} if triples is None else triples)
    # spawn_key keeps the two streams apart for every pair of seeds
    world_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    rows_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, rows_seed)))

    main, pair = _draw_effects(world_rng)
    triple = {names: _triple_table(names, size, seed) for names, size in triples.items()}
    b = _intercept(_effect(_draw_rows(50_000, world_rng), main, pair, triple), BASE_RATE)

    rows = _draw_rows(n_rows, rows_rng)
    logit = b + _effect(rows, main, pair, triple)
    probability = sigmoid(logit)
    y = (rows_rng.random(n_rows) < probability).astype(np.int64)
    X = pd.DataFrame({name: pd.Series(FIELDS[name].levels[rows[name]]).infer_objects()
                      for name in FIELDS})
    return Clicks(X, y, logit, probability, _planted_pairs(), _planted_triples(triples),
                  base_rate=float(y.mean()),
                  best_auc=auc(y, probability) if 0 < y.sum() < n_rows else float("nan"),
                  best_log_loss=log_loss(y, probability),
                  effects={(name,): table for name, table in main.items()} | pair | triple)


def _draw_effects(rng):
    """Return the tables: main {field: (levels,)} and pair {(field, field): (levels, levels)}."""
    main, pair = {}, {}
    for name, size in MAIN_EFFECTS.items():
        field = FIELDS[name]
        table = field.design @ rng.standard_normal(field.design.shape[1])
        if field.ascending is not None:
            table = np.sort(table)[::1 if field.ascending else -1]
        table = table - field.shares @ table
        main[name] = size * table / np.sqrt(field.shares @ table**2)
    for (f, g), size in PAIR_EFFECTS.items():
        pair[f, g] = _pair_table(FIELDS[f], FIELDS[g], size, rng)
    return main, pair


def _pair_table(f, g, size, rng):
    """Return a random (levels of f, levels of g) table, double-centred, of the given deviation."""
    normal = rng.standard_normal((f.design.shape[1], g.design.shape[1]))
    table = f.design @ normal @ g.design.T                   # (levels of f, levels of g)
    table = table - f.shares @ table                         # mean 0 for each level of g ...
    table = table - (table @ g.shares)[:, None]              # ... and of f; the first one stays
    return size * table / np.sqrt(f.shares @ table**2 @ g.shares)


def _in_field_order(triples):
    """Return the triples with the fields of each in the order of FIELDS; raise ValueError."""
    if not isinstance(triples, dict):
        raise ValueError(f"triples must be a dict of (field, field, field) to the size of their "
                         f"effect; got {triples!r}")
    ordered = {}
    for names, size in triples.items():
        if not (isinstance(names, tuple) and len(names) == len(set(names) & set(FIELDS)) == 3):
            raise ValueError(f"a triple is a tuple of three different fields of "
                             f"{', '.join(FIELDS)}; got {names!r}")
        if not is_real(size, above=0):
            raise ValueError(f"the effect of a triple is a standard deviation, a number above 0; "
                             f"got {size!r} for {names!r}")
        key = tuple(name for name in FIELDS if name in names)
        if key in ordered:
            raise ValueError(f"triples names {' x '.join(key)} more than once")
        ordered[key] = size
    return ordered


def _triple_table(names, size, seed):
    """Return a random (levels, levels, levels) table, mean 0 along each axis, of the deviation."""
    # a stream of its own, for each triple: nothing else of the world depends on it
    place = [list(FIELDS).index(name) for name in names]
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, *place)))
    fields = [FIELDS[name] for name in names]
    table = rng.standard_normal([field.design.shape[1] for field in fields])
    for field in fields:                                     # the first axis goes, its levels come last
        table = np.tensordot(table, field.design, (0, 1))
    for axis, field in enumerate(fields):                    # as for pairs, the earlier ones stay
        table = table - np.expand_dims(np.tensordot(field.shares, table, (0, axis)), axis)
    variance = table**2
    for field in fields:
        variance = field.shares @ variance.reshape(len(field.shares), -1)
    return size * table / np.sqrt(variance)


def _draw_rows(n_rows, rng):
    """Return the level of each field in each row: {field: (n_rows,) int}."""
    return {name: rng.choice(len(field.levels), size=n_rows, p=field.shares)
            for name, field in FIELDS.items()}


def _effect(rows, main, pair, triple):
    """Return the logit of each row without its intercept."""
    effect = (sum(table[rows[name]] for name, table in main.items())
              + sum(table[rows[f], rows[g]] for (f, g), table in pair.items()))
    for (f, g, h), table in triple.items():
        effect = effect + table[rows[f], rows[g], rows[h]]
    return effect


def _intercept(logit, rate):
    """Return b for which sigmoid(b + logit) has the mean `rate`, by halving the interval."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        if np.mean(sigmoid(middle + logit)) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _planted_pairs():
    table = pd.DataFrame(combinations(FIELDS, 2), columns=["field_i", "field_j"])
    table["value"] = [PAIR_EFFECTS.get(pair, 0.0) for pair in combinations(FIELDS, 2)]
    table.attrs = {"quantity": "planted effect", "fields": list(FIELDS),
                   "unit": "standard deviation of the pair's effect (log-odds)"}
    return table


def _planted_triples(triples):
    table = pd.DataFrame(combinations(FIELDS, 3), columns=["field_i", "field_j", "field_l"])
    table["value"] = [float(triples.get(names, 0)) for names in combinations(FIELDS, 3)]
    table.attrs = {"quantity": "planted effect", "fields": list(FIELDS),
                   "unit": "standard deviation of the triple's effect (log-odds)"}
    return table


# ---------------------------------------------------------------------------------------- ratings

GENDERS = PlantedField(["F", "M"], [28, 72])
AGES = PlantedField([1, 18, 25, 35, 45, 50, 56], [4, 18, 35, 20, 9, 8, 6])
GENRES = PlantedField(["Action", "Animation", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
                 "Horror", "Romance", "Thriller"])


def make_ratings(n_users=600, n_items=400, n_ratings=30_000, *, seed=0):
    """Draw movie ratings from a known taste, in the form of MovieLens-1M (`ml_1m.load`).

    Parameters
    ----------
    n_users, n_items, n_ratings : int. No user rates a movie twice, so there can be at most
        n_users * n_items ratings.
    seed : int

    Returns
    -------
    dict of DataFrame
        - "ratings": user_id, movie_id, rating (1 to 5), timestamp (seconds since 1970), all int;
          sorted by user and time.
        - "users": user_id (1 to n_users), gender, age, occupation, zip_code.
        - "movies": movie_id (with gaps), title ("Film 17 (1984)"), genres ("Action|Comedy").

    Raises
    ------
    ValueError
        A number is below 1, or there are more ratings than user-movie pairs.

    Notes
    -----
    A rating is the score of user u and movie i, rounded and clipped to 1..5::

        score = 3.6 + n_u + q_i + mean over the movie's genres k of (G[gender_u, k] + A[age_u, k])
                + noise

    with n_u (how generous the user is), q_i (how good the movie is) and the noise normal with
    standard deviations 0.3, 0.4 and 0.6. G and A are tables of normal numbers, centred over users
    and over genres, with standard deviations 0.7 and 0.5: what is to be found are the pairs gender
    x genres and age x genres. Occupation and zip code have no effect. A movie has one to three of
    ten genres. Some users rate much more than others and some movies are rated much more often:
    the pairs are drawn without replacement with weights that are log-normal over users and
    1 / rank^0.7 over movies. Noise and rounding leave even the best possible prediction an RMSE
    near 0.64, where the mean rating has about 1.0.

    Examples
    --------
    >>> from minictr import datasets
    >>> data = datasets.make_ratings(seed=0)
    >>> {name: len(table) for name, table in data.items()}
    {'ratings': 30000, 'users': 600, 'movies': 400}
    """
    if min(n_users, n_items, n_ratings) < 1 or n_ratings > n_users * n_items:
        raise ValueError(f"cannot draw {n_ratings} ratings of {n_items} movies by {n_users} users: "
                         f"the numbers must be positive, with at most one rating a user and movie")
    rng = np.random.default_rng(seed)
    gender = rng.choice(len(GENDERS.levels), n_users, p=GENDERS.shares)
    age = rng.choice(len(AGES.levels), n_users, p=AGES.shares)
    users = pd.DataFrame({
        "user_id": np.arange(1, n_users + 1, dtype=np.int64),
        "gender": GENDERS.levels[gender].tolist(),
        "age": AGES.levels[age].tolist(),
        "occupation": rng.integers(0, 21, n_users),
        "zip_code": [f"{code:05d}" for code in rng.integers(1000, 99951, n_users)],
    })

    has_genre = _draw_genres(n_items, rng)                                # (items, genres) bool
    years = 2000 - rng.geometric(0.06, n_items).clip(max=80)              # most movies are recent
    movies = pd.DataFrame({
        "movie_id": np.cumsum(rng.integers(1, 4, n_items)),
        "title": [f"Film {number} ({year})" for number, year in enumerate(years, start=1)],
        "genres": ["|".join(GENRES.levels[row]) for row in has_genre],
    })

    # The largest log(weight) + Gumbel noise = weighted drawing without replacement.
    log_weight = (rng.normal(0, 0.8, (n_users, 1))
                  - 0.7 * np.log(rng.permutation(n_items) + 1)[None, :])  # (users, items)
    keys = (log_weight + rng.gumbel(size=log_weight.shape)).ravel()
    # Sorted, as the order in which argpartition leaves them differs between processors.
    cells = np.sort(np.argpartition(-keys, n_ratings - 1)[:n_ratings])
    user, item = np.divmod(cells, n_items)

    taste = (_pair_table(GENDERS, GENRES, 0.7, rng)[gender]
             + _pair_table(AGES, GENRES, 0.5, rng)[age])                  # (users, genres)
    share = has_genre / has_genre.sum(axis=1, keepdims=True)              # (items, genres)
    score = (3.6 + rng.normal(0, 0.3, n_users)[user] + rng.normal(0, 0.4, n_items)[item]
             + (taste @ share.T)[user, item] + rng.normal(0, 0.6, n_ratings))

    joined = rng.integers(956_700_000, 980_000_000, n_users)              # from spring 2000 on
    ratings = pd.DataFrame({
        "user_id": users["user_id"].to_numpy()[user],
        "movie_id": movies["movie_id"].to_numpy()[item],
        "rating": np.clip(np.rint(score), 1, 5).astype(np.int64),
        "timestamp": joined[user] + rng.integers(0, 30 * 24 * 3600, n_ratings),
    })
    ratings = ratings.sort_values(["user_id", "timestamp", "movie_id"], ignore_index=True)
    return {"ratings": ratings, "users": users, "movies": movies}


def _draw_genres(n_items, rng):
    """Return (n_items, genres) bool: one to three genres for each movie."""
    n_genres = rng.choice([1, 2, 3], n_items, p=[0.4, 0.4, 0.2])
    order = rng.random((n_items, len(GENRES.levels))).argsort(axis=1).argsort(axis=1)
    return order < n_genres[:, None]
