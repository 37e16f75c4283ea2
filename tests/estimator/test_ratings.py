"""The ratings API: fit(user_ids=, item_ids=, ratings=), predict, batch_predict, recommend, side features."""

import warnings

import numpy as np
import pandas as pd
import pytest
from models import BEYOND, every_kind, sized

from minictr import AFM, FM, Categorical, MultiValued, NotFittedError, datasets, metrics
from minictr.layers import parameters, sigmoid

# With ids alone AFM has one pair and says so; that it does is tested below.
pytestmark = pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")

every_model_and_side = pytest.mark.parametrize("side", ["ids alone", "with features"])


# With 8 hidden units, what a network makes of the mean of all users' vectors can lie 0.8 from the mean of what it makes
# of each, according to the seed; with 32 at most 0.3.
WIDER = {"DCN-bn": {"deep_layers": (32,)}, "DeepCrossing": {"deep_layers": (32,)}}
# After 8 epochs FNN's network is still learning: of ids alone its error is 0.76 to 0.92 of that of the mean, according
# to the seed, and 0.73 to 0.84 after 16.
LONGER = {"FNN": {"epochs": 16}}


def make(which, **settings):
    settings = {"learning_rate": 0.01, "epochs": 8, "batch_size": 100,
                **WIDER.get(which, {}), **LONGER.get(which, {}), **settings}
    return sized(which, ["user_id", "item_id"], **settings)


@pytest.fixture(scope="module")
def data():
    """Ratings in two parts, and what is known of users and movies."""
    data = datasets.make_ratings(n_users=150, n_items=80, n_ratings=4_000, seed=0)
    order = np.random.default_rng(0).permutation(4_000)
    train, test = data["ratings"].iloc[order[:3_200]], data["ratings"].iloc[order[3_200:]]
    users = data["users"][["user_id", "gender", "age"]]
    movies = data["movies"][["movie_id", "genres"]].assign(genres=data["movies"]["genres"].str.split("|"))
    return {"train": train, "test": test, "users": users, "movies": movies}


def columns(ratings):
    return {"user_ids": ratings["user_id"], "item_ids": ratings["movie_id"], "ratings": ratings["rating"]}


def sides(data, side="with features"):
    return {} if side == "ids alone" else {"user_features": data["users"], "item_features": data["movies"]}


@pytest.fixture(scope="module")
def fitted(data):
    """One fitted model of each kind and side, made when asked for; tests must leave them as they are."""
    models = {}

    def get(which, side="with features"):
        if (which, side) not in models:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "two fields make one pair")
                models[which, side] = make(which).fit(**columns(data["train"]), **sides(data, side))
        return models[which, side]

    return get


def small(n_users=12, n_items=9, n_ratings=60, seed=0):
    rng = np.random.default_rng(seed)
    cells = rng.choice(n_users * n_items, n_ratings, replace=False)
    return {"user_ids": cells // n_items + 100, "item_ids": cells % n_items + 7,
            "ratings": rng.integers(1, 6, n_ratings).astype(float)}


# ----------------------------------------------------------------------------------------- what is learned

@every_kind
@every_model_and_side
def test_the_error_is_clearly_below_that_of_the_mean(name, side, data, fitted):
    model, test = fitted(name, side), data["test"]
    predictions = model.batch_predict(list(zip(test["user_id"], test["movie_id"], strict=True)))
    of_the_mean = metrics.rmse(test["rating"], np.full(len(test), data["train"]["rating"].mean()))
    assert metrics.rmse(test["rating"], predictions) < 0.92 * of_the_mean
    assert model.task_ == "regression" and model.history_.attrs["loss"] == "squared error"


@pytest.mark.parametrize("name", BEYOND)
def test_features_help(name, data, fitted):
    """The generator hides pairs of gender and age with genres."""
    test = data["test"]
    pairs = list(zip(test["user_id"], test["movie_id"], strict=True))
    with_features, without = (metrics.rmse(test["rating"], fitted(name, side).batch_predict(pairs))
                              for side in ("with features", "ids alone"))
    assert with_features < without - 0.02


def test_training_starts_at_the_mean_rating(data):
    model = make("FM", epochs=1, learning_rate=1e-9).fit(**columns(data["train"]))
    assert model.predict(1, 1) == pytest.approx(data["train"]["rating"].mean(), abs=0.01)


def test_the_fields_are_ids_and_features(data, fitted):
    model = fitted("FM")
    assert model.feature_names_in_.tolist() == ["user_id", "gender", "age", "item_id", "genres"]
    assert model.encoder_.describe()["kind"].tolist() == ["categorical"] * 4 + ["multi-valued"]
    assert fitted("FM", "ids alone").feature_names_in_.tolist() == ["user_id", "item_id"]


# --------------------------------------------------------------------------------------------- predicting

@every_kind
@every_model_and_side
def test_all_ways_to_predict_give_the_same_number(name, side, data, fitted):
    model = fitted(name, side)
    pairs = list(zip(data["test"]["user_id"][:40], data["test"]["movie_id"][:40], strict=True))
    batch = model.batch_predict(pairs)
    table = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    if side == "with features":
        table = table.merge(data["users"], on="user_id", how="left").merge(
            data["movies"].rename(columns={"movie_id": "item_id"}), on="item_id", how="left")
    np.testing.assert_allclose(model.decision_function(table), batch, rtol=1e-5)
    np.testing.assert_allclose(model.predict(table), batch, rtol=1e-5)
    for (user, item), expected in zip(pairs, batch, strict=True):
        single = model.predict(user, item)
        assert type(single) is float and single == pytest.approx(expected, rel=1e-5)
        assert single == model.predict(user_id=user, item_id=item) == model.predict(user, item_id=item)
    assert batch.shape == (40,) and np.ptp(batch) > 0.5


def test_batch_predict_takes_any_iterable_of_pairs(data, fitted):
    model = fitted("FM")
    pairs = np.column_stack([data["test"]["user_id"], data["test"]["movie_id"]])[:10]
    expected = model.batch_predict([tuple(pair) for pair in pairs.tolist()])
    for same in (pairs, pairs.tolist(), zip(*pairs.T.tolist(), strict=True), pairs.astype(np.int32)):
        np.testing.assert_array_equal(model.batch_predict(same), expected)
    assert model.batch_predict([]).shape == (0,)


def test_a_table_cannot_be_mistaken_for_a_user(data, fitted):
    model = fitted("FM", "ids alone")
    with pytest.raises(TypeError, match="predict needs a table X, or user_id= and item_id="):
        model.predict(user_id=1)
    with pytest.raises(TypeError, match="X must be a DataFrame"):
        model.predict(1)


# ------------------------------------------------------------------------------------------------ unknown

@every_kind
@every_model_and_side
def test_unknown_users_and_items_get_a_sensible_score(name, side, data, fitted):
    model = fitted(name, side)
    mean = data["train"]["rating"].mean()
    for user, item in ((-1, -1), (10**9, 10**9), ("nobody", "nothing"), (None, None), (float("nan"), float("nan")),
                       (1.5, 2.5)):
        scores = model.batch_predict([(user, item)])
        if item is not None:
            scores = [*scores, model.predict(user_id=user, item_id=item)]
        assert np.abs(np.array(scores) - mean).max() < 0.6
    known_item, known_user = int(data["train"]["movie_id"].iloc[0]), int(data["train"]["user_id"].iloc[0])
    assert 1 < model.predict("nobody", known_item) < 5 and 1 < model.predict(known_user, "nothing") < 5
    np.testing.assert_allclose(model.batch_predict([("nobody", known_item), (known_user, "nothing")]),
                               [model.predict("nobody", known_item), model.predict(known_user, "nothing")], rtol=1e-5)


def test_an_unknown_user_is_scored_as_the_average_user(data, fitted):
    """An FM is linear in the user's vector: so the mean vector gives the mean score, weighted by ratings."""
    model = fitted("FM", "ids alone")
    shares = data["train"]["user_id"].value_counts(normalize=True)
    for item in data["train"]["movie_id"].iloc[:5]:
        expected = sum(share * model.predict(user, item) for user, share in shares.items())
        assert model.predict("nobody", item) == pytest.approx(expected, rel=1e-4)


def test_an_unknown_user_prefers_good_items(data, fitted):
    model, train = fitted("FM"), data["train"]
    items = train["movie_id"].value_counts().index[:30]
    quality = train.groupby("movie_id")["rating"].mean()[items]
    scores = model.batch_predict([("nobody", item) for item in items])
    assert np.corrcoef(scores, quality)[0, 1] > 0.7


def test_a_user_who_is_only_in_the_features_is_scored_by_them(data):
    users = pd.concat([data["users"], pd.DataFrame(
        {"user_id": [9001, 9002, 9003], "gender": ["F", "M", "M"], "age": [25, 25, 25]})])
    model = make("FM").fit(**columns(data["train"]), user_features=users, item_features=data["movies"])
    items = data["movies"]["movie_id"]
    woman, man, other_man = (model.batch_predict([(user, item) for item in items]) for user in (9001, 9002, 9003))
    assert np.abs(woman - man).max() > 0.2
    np.testing.assert_array_equal(man, other_man)       # nothing tells them apart
    assert len(model.recommend(9001, top_k=5)) == 5


def test_a_user_of_the_features_can_be_learned_later(data):
    """The mean row is for users who never rated; it must not replace what partial_fit learned."""
    users = pd.concat([data["users"], pd.DataFrame({"user_id": [9001, 9002], "gender": "F", "age": 25})])
    model = make("LR", learning_rate=0.05).fit(**columns(data["train"]), user_features=users)
    later = users[users["user_id"] == 9001].assign(item_id=int(data["train"]["movie_id"].iloc[0]))
    for _ in range(30):
        model.partial_fit(later, [1.0])
    assert model.predict(9001, later["item_id"].item()) < model.predict(9002, later["item_id"].item()) - 0.3


def test_an_item_without_ratings_can_be_recommended(data):
    movies = pd.concat([data["movies"], pd.DataFrame({"movie_id": [9001], "genres": [["Action"]]})])
    model = make("FM").fit(**columns(data["train"]), item_features=movies)
    assert 9001 in model.recommend(1, top_k=1000)


# ---------------------------------------------------------------------------------------------- recommend

@every_kind
@every_model_and_side
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommend_is_the_brute_force_over_all_items(name, side, exclude_seen, data, fitted):
    model = fitted(name, side)
    for user in (*data["train"]["user_id"].iloc[:3], "nobody"):
        seen = set(data["train"]["movie_id"][data["train"]["user_id"] == user])
        known = data["movies"] if side == "with features" else data["train"]
        candidates = sorted(set(known["movie_id"]) - (seen if exclude_seen else set()))
        scores = {item: model.batch_predict([(user, item)])[0] for item in candidates}
        for top_k in (1, 5, len(candidates), len(candidates) + 10):
            items, returned = model.recommend(user_id=user, top_k=top_k, exclude_seen=exclude_seen, return_scores=True)
            assert items == model.recommend(user, top_k, exclude_seen=exclude_seen)
            assert len(items) == len(set(items)) == len(returned) == min(top_k, len(candidates))
            np.testing.assert_allclose(returned, [scores[item] for item in items], rtol=1e-5)
            assert (np.diff(returned) <= 0).all()
            left_out = [score for item, score in scores.items() if item not in items]
            assert max(left_out, default=-np.inf) <= returned[-1] * (1 + 1e-5)
        assert not exclude_seen or not seen & set(items)


def test_recommended_ids_are_plain_values(fitted):
    items = fitted("FM").recommend(user_id=1, top_k=10)
    assert isinstance(items, list) and all(type(item) is int for item in items)
    assert len(fitted("FM").recommend(1)) == 10


def test_users_get_different_lists(data, fitted):
    lists = {tuple(fitted("FM").recommend(user, 10, exclude_seen=False)) for user in data["users"]["user_id"][:20]}
    assert len(lists) > 10


def test_nothing_is_left_for_a_user_who_has_seen_all():
    ratings = {"user_ids": [1, 1, 1, 2], "item_ids": [10, 20, 30, 10], "ratings": [1.0, 2.0, 3.0, 4.0]}
    model = FM(epochs=1).fit(**ratings)
    assert model.recommend(1) == []
    items, scores = model.recommend(1, return_scores=True)
    assert items == [] and len(scores) == 0
    assert sorted(model.recommend(2)) == [20, 30]


def test_what_was_held_out_for_validation_is_seen_too(data):
    model = make("LR", epochs=1).fit(**columns(data["train"]), validation=0.5)
    for user in data["train"]["user_id"].unique()[:10]:
        seen = set(data["train"]["movie_id"][data["train"]["user_id"] == user])
        assert not seen & set(model.recommend(user, 1000))


def test_equal_scores_come_in_the_order_of_the_ids():
    """Items that nobody rated all have the same row: the mean one. (A sort of few numbers is stable by chance.)"""
    unrated = np.random.default_rng(0).permutation(np.arange(500, 700))
    features = pd.DataFrame({"item_id": [*unrated, *range(7, 16)], "kind": "x"})
    model = FM(epochs=3).fit(**small(), item_features=features)
    items, scores = model.recommend(100, 1_000, return_scores=True)
    assert [item for item in items if item >= 500] == sorted(unrated)
    assert len({score for item, score in zip(items, scores, strict=True) if item >= 500}) == 1
    assert model.recommend(100, 100) == items[:100]


@pytest.mark.parametrize("top_k", [0, -1, 2.5, "3", None, True])
def test_top_k_must_be_a_count(top_k, fitted):
    with pytest.raises(ValueError, match="top_k"):
        fitted("FM").recommend(1, top_k)


# --------------------------------------------------------------------------------------------------- ids

@pytest.mark.parametrize("kind", ["list", "array", "Series", "int32", "Int64", "category", "odd index"])
def test_ids_and_ratings_in_any_container(kind):
    ratings = small()
    expected = FM(epochs=2).fit(**ratings)
    change = {"list": lambda a: a.tolist(), "array": lambda a: a, "Series": pd.Series,
              "int32": lambda a: a.astype(np.int32) if a.dtype.kind == "i" else a,
              "Int64": lambda a: pd.Series(a).astype("Int64"),
              "category": lambda a: pd.Series(a, dtype="category") if a.dtype.kind == "i" else a,
              "odd index": lambda a: pd.Series(a, index=np.arange(len(a))[::-1])}[kind]
    model = FM(epochs=2).fit(**{name: change(array) for name, array in ratings.items()})
    assert model.predict(101, 9) == expected.predict(101, 9)
    assert model.recommend(101) == expected.recommend(101)


@every_kind
def test_ids_may_be_text(name):
    ratings = small()
    users = np.array([f"user {u:03d}" for u in ratings["user_ids"]], object)
    items = np.array([f"item {i:03d}" for i in ratings["item_ids"]], object)
    features = pd.DataFrame({"kind": ["a", "b", "c"] * 3}, index=[f"item {i:03d}" for i in range(7, 16)])
    model = make(name, epochs=2).fit(user_ids=users, item_ids=items, ratings=ratings["ratings"], item_features=features)
    as_numbers = make(name, epochs=2).fit(**ratings, item_features=features.set_axis(range(7, 16)))
    assert model.predict("user 101", "item 009") == as_numbers.predict(101, 9)
    assert model.recommend("user 101") == [f"item {i:03d}" for i in as_numbers.recommend(101)]
    assert all(type(item) is str for item in model.recommend("user 101"))
    assert model.predict(np.str_("user 101"), np.str_("item 009")) == model.predict("user 101", "item 009")
    assert model.predict(101, 9) == model.predict("nobody", "nothing")      # no number is among these ids


def test_text_ids_of_a_fixed_width_array_are_the_same():
    ratings = small()
    users = [f"user {u}" for u in ratings["user_ids"]]
    one, other = (FM(epochs=2).fit(**ratings | {"user_ids": ids}) for ids in (users, np.array(users)))
    assert one.predict("user 101", 9) == other.predict("user 101", 9)


def test_ids_may_be_negative_huge_or_have_gaps():
    ratings = small()
    expected = FM(epochs=2).fit(**ratings)
    model = FM(epochs=2).fit(**ratings | {"user_ids": ratings["user_ids"] * 10**15 - 105 * 10**15})
    assert model.predict(101 * 10**15 - 105 * 10**15, 9) == expected.predict(101, 9)


def test_ids_that_mix_text_and_numbers_are_refused():
    ratings = small()
    users = ratings["user_ids"].astype(object)
    users[3] = "eve"
    with pytest.raises((TypeError, ValueError), match="user_id"):
        FM(epochs=1).fit(**ratings | {"user_ids": users})


# ------------------------------------------------------------------------------------------------ features

@every_kind
def test_features_by_index_by_column_and_in_any_order(name, data):
    train = data["train"][:500]
    by_column = make(name, epochs=1).fit(**columns(train), **sides(data))
    shuffled = make(name, epochs=1).fit(
        **columns(train), user_features=data["users"].sample(frac=1, random_state=0).reset_index(drop=True),
        item_features=data["movies"].sample(frac=1, random_state=1))
    by_index = make(name, epochs=1).fit(
        **columns(train), user_features=data["users"].set_index("user_id"),
        item_features=data["movies"].set_index("movie_id"))
    renamed = make(name, epochs=1).fit(
        **columns(train), user_features=data["users"].rename(columns={"user_id": "person_id"}),
        item_features=data["movies"].rename(columns={"movie_id": "item_id"}))
    unnamed = make(name, epochs=1).fit(
        **columns(train), user_features=data["users"].set_index("user_id").rename_axis(None),
        item_features=data["movies"].set_index("movie_id").rename_axis("anything"))
    for other in (by_index, shuffled, renamed, unnamed):
        assert other.predict(3, 10) == by_column.predict(3, 10)
        assert other.recommend(3) == by_column.recommend(3)


def test_features_of_only_one_side(data):
    train = data["train"][:500]
    users = make("FM", epochs=1).fit(**columns(train), user_features=data["users"])
    items = make("FM", epochs=1).fit(**columns(train), item_features=data["movies"])
    assert users.feature_names_in_.tolist() == ["user_id", "gender", "age", "item_id"]
    assert items.feature_names_in_.tolist() == ["user_id", "item_id", "genres"]


def test_features_are_not_changed(data):
    users, movies = data["users"].copy(), data["movies"].copy()
    make("FM", epochs=1).fit(**columns(data["train"][:200]), **sides(data))
    pd.testing.assert_frame_equal(data["users"], users)
    pd.testing.assert_frame_equal(data["movies"], movies)


@every_kind
def test_users_and_items_without_features_are_no_trouble(name, data):
    train = data["train"][:800]
    user, item = int(train["user_id"].iloc[0]), int(train["movie_id"].iloc[0])
    model = make(name, epochs=1).fit(
        **columns(train), user_features=data["users"][data["users"]["user_id"] != user],
        item_features=data["movies"][data["movies"]["movie_id"] != item])
    assert 1 < model.predict(user, item) < 5
    assert np.isfinite(model.recommend(user, 100, exclude_seen=False, return_scores=True)[1]).all()


def test_a_user_without_features_does_not_change_what_the_fields_are(data):
    """A missing number turns a column of ints to floats; an age group must not become a quantity by it."""
    train, users = data["train"][:800], data["users"]
    all_known = make("FM", epochs=1).fit(**columns(train), user_features=users)
    one_missing = make("FM", epochs=1).fit(
        **columns(train), user_features=users[users["user_id"] != int(train["user_id"].iloc[0])])
    assert one_missing.encoder_.describe()["kind"].tolist() == all_known.encoder_.describe()["kind"].tolist()


def test_fields_say_what_a_feature_is(data):
    text = data["movies"].assign(genres=data["movies"]["genres"].str.join("|"))
    model = make("FM", epochs=1, fields=[MultiValued("genres"), Categorical("user_id", min_count=5)]).fit(
        **columns(data["train"][:500]), item_features=text)
    kinds = model.encoder_.describe().set_index("field")["kind"]
    assert kinds["genres"] == "multi-valued" and model.encoder_.encoders["user_id"].spec.min_count == 5
    with pytest.raises(ValueError, match="fields names 'genre'"):
        make("FM", fields=["genre"]).fit(**columns(data["train"][:500]), item_features=text)


def test_numbers_can_be_features():
    ratings = small()
    features = pd.DataFrame({"item_id": range(7, 16), "length": np.linspace(80, 160, 9)})
    model = FM(epochs=60, learning_rate=0.05).fit(**ratings | {"ratings": (ratings["item_ids"] - 7) / 4},
                                                  item_features=features)
    assert model.encoder_.describe()["kind"].tolist() == ["categorical", "categorical", "numerical"]
    assert model.predict(100, 15) > model.predict(100, 7) + 0.5
    assert np.isfinite(model.predict("nobody", "nothing"))


@pytest.mark.parametrize("wrong, message", [
    ({"item_features": pd.DataFrame({"item_id": [7, 8, 8], "kind": "x"})}, "more than one row for the id 8"),
    ({"user_features": pd.DataFrame({"kind": "x"}, index=[100, 100, 101])}, "more than one row for the id 100"),
    ({"user_features": pd.DataFrame({"user_id": [1, 2], "kind": "x"})}, "none of the ids of user_features"),
    ({"item_features": pd.DataFrame({"item_id": ["7", "8"], "kind": "x"})}, "none of the ids of item_features"),
    ({"item_features": pd.DataFrame({"kind": ["x", "y"]})}, "item_features has no ids"),
    ({"user_features": pd.DataFrame({"user_id": [100], "kind": "x"}),
      "item_features": pd.DataFrame({"item_id": [7], "kind": "x"})}, "both have a column 'kind'"),
    ({"user_features": {"user_id": [100], "kind": ["x"]}}, "user_features"),
    ({"user_features": [[100, "x"]]}, "user_features"),
    ({"user_features": pd.DataFrame({"kind": "x"}, index=[[100, 101], [1, 2]])}, "user_features"),
    ({"item_features": pd.DataFrame({"item_id": [7], "when": pd.to_datetime(["2020-01-01"])})}, "'when'"),
    ({"item_features": pd.DataFrame({"item_id": [7.0, np.nan], "kind": "x"})}, "item_features"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_features_are_refused(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        FM(epochs=1).fit(**small(), **wrong)


def test_a_feature_may_have_the_name_of_a_setting():
    features = pd.DataFrame({"item_id": range(7, 16), "name": list("abcabcabc"), "seed": range(9)})
    assert FM(epochs=1).fit(**small(), item_features=features).feature_names_in_.tolist() == [
        "user_id", "item_id", "name", "seed"]


# -------------------------------------------------------------------------------------------- wrong ratings

@pytest.mark.parametrize("wrong, message", [
    ({"ratings": [np.nan] + [3.0] * 59}, "ratings holds nan in row 0"),
    ({"ratings": [3.0] * 59 + [np.inf]}, "inf in row 59"),
    ({"ratings": ["good"] * 60}, "ratings must hold numbers"), ({"ratings": [3.0] * 59}, "59 ratings"),
    ({"user_ids": [1] * 61}, "61 user_ids and 60 ratings"), ({"item_ids": [1] * 59}, "59 item_ids and 60 ratings"),
    ({"user_ids": [None] + ["a"] * 59}, "user_ids is missing in row 0"),
    ({"item_ids": [1.0, np.nan] * 30}, "item_ids is missing in row 1"), ({"user_ids": None}, "all three"),
    ({"ratings": None}, "all three"), ({"user_ids": [], "item_ids": [], "ratings": []}, "no ratings"),
    ({"ratings": np.ones((60, 1))}, "one value a row"), ({"sample_weight": np.ones(59)}, "59 sample weights"),
    ({"sample_weight": -np.ones(60)}, "at least 0")], ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_ratings_are_refused(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        FM(epochs=1).fit(**small() | wrong)


def test_a_model_of_a_table_has_no_users():
    X = pd.DataFrame({"user_id": [1, 2] * 10, "item_id": [3, 4, 5, 6] * 5})
    model = FM(epochs=1).fit(X, [0, 1] * 10)
    for call in (lambda: model.predict(1, 3), lambda: model.batch_predict([(1, 3)]), lambda: model.recommend(1)):
        with pytest.raises(TypeError, match=r"fitted on a table.*fit\(user_ids=, item_ids=, ratings=\)"):
            call()


def test_before_fit():
    for call in (lambda: FM().predict(1, 3), lambda: FM().batch_predict([(1, 3)]), lambda: FM().recommend(1)):
        with pytest.raises(NotFittedError, match="not fitted"):
            call()


# ---------------------------------------------------------------------------------------------------- task

def test_ratings_of_only_0_and_1_stay_numbers():
    ratings = small() | {"ratings": np.arange(60) % 2}
    model = FM(epochs=1).fit(**ratings)
    assert model.task_ == "regression" and model.history_.attrs["loss"] == "squared error"


def test_equal_ratings_are_no_error():
    model = FM(epochs=1).fit(**small() | {"ratings": np.full(60, 4)})
    assert model.predict(100, 7) == pytest.approx(4, abs=0.02)


@every_kind
def test_a_binary_task_gives_probabilities(name, data):
    train = data["train"]
    likes = columns(train) | {"ratings": (train["rating"] > 3).astype(int)}
    model = make(name, task="binary", epochs=4).fit(**likes)
    pairs = list(zip(train["user_id"][:50], train["movie_id"][:50], strict=True))
    p = model.batch_predict(pairs)
    assert model.task_ == "binary" and ((p > 0) & (p < 1)).all() and np.ptp(p) > 0.1
    assert p.mean() == pytest.approx(likes["ratings"].mean(), abs=0.15)
    table = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    np.testing.assert_allclose(p, sigmoid(model.decision_function(table)), rtol=1e-5)
    np.testing.assert_allclose(p, model.predict_proba(table)[:, 1], rtol=1e-5)
    assert model.predict(*pairs[0]) == pytest.approx(p[0], rel=1e-5)
    scores = model.recommend(1, 5, return_scores=True)[1]
    assert ((scores > 0) & (scores < 1)).all()


def test_a_binary_task_needs_ratings_of_0_and_1_also_for_validation(data):
    ratings = small()
    likes = ratings | {"ratings": (ratings["ratings"] > 3).astype(int)}
    with pytest.raises(ValueError, match="binary task needs y of 0 and 1"):
        FM(task="binary", epochs=1).fit(**ratings)
    with pytest.raises(ValueError, match="0 and 1"):
        FM(task="binary", epochs=1).fit(**likes, validation=tuple(small(seed=1).values()))


# ---------------------------------------------------------------------------------------------- validation

@every_kind
def test_validation_with_ratings_of_its_own(name, data):
    test = data["test"]
    model = make(name, epochs=3).fit(**columns(data["train"]), **sides(data),
                                     validation=(test["user_id"], test["movie_id"], test["rating"]))
    predictions = model.batch_predict(list(zip(test["user_id"], test["movie_id"], strict=True)))
    assert model.history_["val_loss"].min() == pytest.approx(np.mean((predictions - test["rating"]) ** 2), rel=1e-5)


def test_validation_by_a_share(data):
    model = make("FM", epochs=3).fit(**columns(data["train"]), validation=0.25)
    history = model.history_
    assert history["val_loss"].notna().all() and history["val_loss"].iloc[-1] < history.attrs["base_loss"]
    assert model.optimizer_.t == 3 * 24                 # 2,400 rows in batches of 100


def test_validation_may_hold_new_users_and_items():
    model = FM(epochs=1).fit(**small(), validation=([-1, 100], [7, -1], [3, 4]))
    assert np.isfinite(model.history_["val_loss"]).all()


@pytest.mark.parametrize("validation, message", [
    (([100], [7]), "validation"), (([100, 101], [7, 8], [3.0]), "2 user_ids and 1 ratings"),
    (([100], [7], [np.nan]), "nan"), (True, "validation"), (1.5, "validation")],
    ids=str)
def test_wrong_validation_is_refused(validation, message):
    with pytest.raises((ValueError, TypeError), match=message):
        FM(epochs=1).fit(**small(), validation=validation)


def test_weights_of_ratings_count():
    ratings = small()
    doubled = {name: np.concatenate([array, array[:5]]) for name, array in ratings.items()}
    settings = {"epochs": 3, "batch_size": 1000, "dtype": "float64", "optimizer": "sgd", "learning_rate": 0.1}
    weighted = FM(**settings).fit(**ratings, sample_weight=np.where(np.arange(60) < 5, 2, 1))
    assert weighted.predict(101, 9) == pytest.approx(FM(**settings).fit(**doubled).predict(101, 9), rel=1e-9)
    assert weighted.predict(101, 9) != FM(**settings).fit(**ratings).predict(101, 9)


# ------------------------------------------------------------------------------------------------- refit

@every_kind
def test_a_second_fit_starts_afresh(name, data):
    train = data["train"]
    model = make(name, epochs=1).fit(**columns(train[:500]), **sides(data))
    model.fit(**columns(train[500:900]))
    fresh = make(name, epochs=1).fit(**columns(train[500:900]))
    user = int(train["user_id"].iloc[600])
    assert model.recommend(user, 50) == fresh.recommend(user, 50)
    for array, value in parameters(fresh).items():
        np.testing.assert_array_equal(parameters(model)[array], value)


def test_ratings_and_tables_in_turn():
    X = pd.DataFrame({"a": ["x", "y"] * 10, "b": [1, 2, 3, 4] * 5})
    model = FM(epochs=1).fit(X, [0, 1] * 10)
    model.fit(**small())
    assert model.task_ == "regression" and isinstance(model.predict(100, 7), float)
    model.fit(X, [0, 1] * 10)
    assert model.predict_proba(X).shape == (20, 2)
    with pytest.raises(TypeError, match="fitted on a table"):
        model.recommend(100)


# ---------------------------------------------------------------------------------------- AFM from an FM

def test_an_afm_of_ratings_starts_as_exactly_the_fm(data, fitted):
    fm, train = fitted("FM"), data["train"]
    afm = AFM.from_fm(fm, epochs=1, learning_rate=1e-12).fit(**columns(train), **sides(data))
    pairs = [*zip(train["user_id"][:50], train["movie_id"][:50], strict=True), ("nobody", 1), (1, "nothing")]
    np.testing.assert_allclose(afm.batch_predict(pairs), fm.batch_predict(pairs), rtol=1e-5)
    with pytest.raises(ValueError, match="same fields"):
        AFM.from_fm(fm, epochs=1).fit(**columns(train))


# ------------------------------------------------------------------------------------------ one pair in AFM

@pytest.mark.filterwarnings("error")
def test_afm_on_ids_alone_warns_once_and_features_avoid_it(data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make("AFM", epochs=1).fit(**columns(data["train"][:200]))
    assert len(caught) == 1 and "one pair" in str(caught[0].message)
    assert "user_features= and item_features=" in str(caught[0].message)
    assert caught[0].filename == __file__, "the warning must point to the line that calls fit"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("AFM", epochs=1).fit(**columns(data["train"][:200]), user_features=data["users"])


def test_verbose_says_that_it_is_a_regression(capsys):
    FM(epochs=1, verbose=True).fit(**small())
    assert capsys.readouterr().out.startswith("FM: regression (squared error), 60 rows, 2 fields")


def test_half_a_pair_is_refused():
    model = FM(epochs=1).fit(**small())
    for half in ({"user_id": 100}, {"item_id": 7}):
        with pytest.raises(TypeError, match="both"):
            model.predict(**half)
