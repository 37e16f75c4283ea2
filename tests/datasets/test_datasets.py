"""The generators keep their documented promises; the loaders find, fetch, check and read files.

Nothing here leaves the machine: downloads come from a server on 127.0.0.1.
"""

import gzip
import http.server
import socket
import threading
import zipfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from minictr import datasets
from minictr.datasets import _files, criteo, frappe, ml_1m, ml_100k, synthetic
from minictr.fields import Categorical, MultiValued, Numerical, infer_field

# ------------------------------------------------------------------------------- make_clicks: rows


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(20_000, seed=0)


def test_clicks_has_the_documented_fields(clicks):
    X = clicks.X
    assert X.columns.tolist() == ["user_segment", "hour", "device", "ad_category", "position",
                                  "advertiser", "discount", "interests"]
    assert len(X) == len(clicks.y) == len(clicks.logit) == len(clicks.probability) == 20_000
    for name in ["user_segment", "device", "ad_category", "advertiser"]:
        assert X[name].map(type).eq(str).all()
    assert X["hour"].dtype == X["position"].dtype == np.int64
    assert X["discount"].dtype == np.float64
    assert (X["hour"].min(), X["hour"].max()) == (0, 23)
    assert (X["position"].min(), X["position"].max()) == (1, 5)
    assert (X["discount"].min(), X["discount"].max()) == (0, 0.6)
    assert not X.isna().any(axis=None)
    assert clicks.y.dtype == np.int64 and set(clicks.y) == {0, 1}


def test_clicks_are_drawn_with_the_documented_shares():
    X = datasets.make_clicks(100_000, seed=4).X

    def share(name):
        return X[name].value_counts(normalize=True)

    assert share("user_segment").to_dict() == pytest.approx(
        {"student": .25, "parent": .20, "commuter": .15, "gamer": .12, "traveller": .10,
         "bargain_hunter": .08, "sports_fan": .06, "retired": .04}, abs=0.006)
    assert share("device").to_dict() == pytest.approx(
        {"phone": .5, "desktop": .3, "tablet": .15, "tv": .05}, abs=0.006)
    assert share("position").to_dict() == pytest.approx(
        {1: .35, 2: .25, 3: .18, 4: .13, 5: .09}, abs=0.006)
    hour = 1.2 + np.cos(2 * np.pi * (np.arange(24) - 16) / 24)
    np.testing.assert_allclose(share("hour").sort_index(), hour / hour.sum(), atol=0.004)
    tail = 1 / np.arange(1, 61)
    np.testing.assert_allclose(share("advertiser").sort_index(), tail / tail.sum(), atol=0.006)
    np.testing.assert_allclose(share("ad_category"), np.full(10, 0.1), atol=0.004)
    np.testing.assert_allclose(share("discount").sort_index(), np.full(13, 1 / 13), atol=0.004)
    sizes = X["interests"].map(len).value_counts(normalize=True)
    assert sizes.to_dict() == pytest.approx({1: .40, 2: .35, 3: .25}, abs=0.006)
    assert X["interests"].nunique() == 8 + 28 + 56


def test_interests_are_tuples_of_different_names_in_order_and_shared_by_rows(clicks):
    column = clicks.X["interests"]
    assert column.map(type).eq(tuple).all()
    assert column.map(lambda names: list(names) == sorted(set(names))).all()
    assert column.map(id).nunique() == column.nunique()


def test_fit_can_infer_every_field(clicks):
    kinds = {name: type(infer_field(name, clicks.X[name])) for name in clicks.X}
    assert kinds == {**dict.fromkeys(clicks.X.columns, Categorical),
                     "discount": Numerical, "interests": MultiValued}


def test_same_seeds_same_clicks():
    one, two = datasets.make_clicks(500, seed=3), datasets.make_clicks(500, seed=3)
    pd.testing.assert_frame_equal(one.X, two.X)
    np.testing.assert_array_equal(one.logit, two.logit)
    np.testing.assert_array_equal(one.y, two.y)


@pytest.mark.parametrize("other", [{"seed": 4}, {"seed": 3, "rows_seed": 1}])
def test_other_seeds_other_rows(other):
    one, two = datasets.make_clicks(500, seed=3), datasets.make_clicks(500, **other)
    assert not one.X.equals(two.X)


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()
    datasets.make_clicks(50)
    datasets.make_ratings(20, 20, 50)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_clicks_needs_a_row():
    with pytest.raises(ValueError, match="n_rows must be at least 1, got 0"):
        datasets.make_clicks(0)


# ------------------------------------------------------------------------------ make_clicks: truth


def documented_terms(X):
    """Columns of which the logit must be a linear combination, written from the docstring."""
    one_hot = {name: pd.get_dummies(X[name]).astype(float)
               for name in ["user_segment", "hour", "device", "ad_category", "position",
                            "advertiser"]}
    interests = pd.DataFrame([dict.fromkeys(names, 1 / len(names)) for names in X["interests"]])
    interests = interests.fillna(0)[sorted(interests)]
    discount = X[["discount"]]

    def product(a, b):
        return np.hstack([a.to_numpy()[:, [i]] * b.to_numpy() for i in range(a.shape[1])])

    return np.hstack([
        *one_hot.values(), interests, discount,
        product(one_hot["user_segment"], one_hot["ad_category"]),
        product(one_hot["hour"], one_hot["device"]),
        product(one_hot["device"], one_hot["position"]),
        product(one_hot["user_segment"], discount),
        product(one_hot["ad_category"], interests),
    ])


def test_logit_is_the_documented_formula_and_the_world_depends_on_the_seed_alone(clicks):
    small = datasets.make_clicks(3000, seed=0, rows_seed=1)
    n = 10_000
    X, logit = clicks.X[:n], clicks.logit[:n]
    terms = documented_terms(pd.concat([X, small.X]))
    coefficients, *_ = np.linalg.lstsq(terms[:n], logit, rcond=None)
    np.testing.assert_allclose(terms[:n] @ coefficients, logit, atol=1e-8)
    # learned from the large sample, exact on the small one: the same world
    np.testing.assert_allclose(terms[n:] @ coefficients, small.logit, atol=1e-8)

    elsewhere = datasets.make_clicks(3000, seed=1, rows_seed=1)
    error = documented_terms(pd.concat([X, elsewhere.X]))[n:] @ coefficients
    assert np.std(error - elsewhere.logit) > 1


def test_probability_is_the_sigmoid_of_the_logit(clicks):
    np.testing.assert_allclose(clicks.probability, 1 / (1 + np.exp(-clicks.logit)), rtol=1e-12)


def test_labels_follow_the_probability():
    """A logistic regression of y on the true logit gives slope 1 and intercept 0."""
    clicks = datasets.make_clicks(100_000, seed=2)
    design = np.column_stack([np.ones(100_000), clicks.logit])
    weights = np.zeros(2)
    for _ in range(15):  # Newton's method
        p = 1 / (1 + np.exp(-design @ weights))
        weights += np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]),
                                   design.T @ (clicks.y - p))
    np.testing.assert_allclose(weights, [0, 1], atol=0.04)


@given(seed=st.integers(0, 10_000))
@examples(20)
def test_effects_are_centred_and_have_the_documented_size(seed):
    main, pair = synthetic._draw_effects(np.random.default_rng(seed))
    for name, table in main.items():
        shares = synthetic.FIELDS[name].shares
        assert shares @ table == pytest.approx(0, abs=1e-12)
        assert np.sqrt(shares @ table**2) == pytest.approx(synthetic.MAIN_EFFECTS[name])
    for (f, g), table in pair.items():
        f_shares, g_shares = synthetic.FIELDS[f].shares, synthetic.FIELDS[g].shares
        np.testing.assert_allclose(f_shares @ table, 0, atol=1e-12)
        np.testing.assert_allclose(table @ g_shares, 0, atol=1e-12)
        size = np.sqrt(f_shares @ table**2 @ g_shares)
        assert size == pytest.approx(synthetic.PAIR_EFFECTS[f, g])
    assert (np.diff(main["position"]) < 0).all()
    assert (np.diff(main["discount"]) > 0).all()


def test_pair_effects_do_not_leak_into_single_fields():
    """The mean logit of a segment varies as its main effect (0.3), not as its pair effect (1.5)."""
    clicks = datasets.make_clicks(200_000, seed=5)
    logit = pd.Series(clicks.logit)
    for name, size in [("user_segment", 0.3), ("ad_category", 0.3), ("device", 0.3)]:
        means = logit.groupby(clicks.X[name].to_numpy()).transform("mean")
        assert np.std(means) == pytest.approx(size, abs=0.04)


def test_planted_pairs_is_a_pair_table_of_the_truth(clicks):
    table = clicks.planted_pairs
    fields = clicks.X.columns.tolist()
    assert table.columns.tolist() == ["field_i", "field_j", "value"]
    assert list(zip(table["field_i"], table["field_j"], strict=True)) == list(
        combinations(fields, 2))
    planted = table[table["value"] > 0].set_index(["field_i", "field_j"])["value"].to_dict()
    assert planted == {("user_segment", "ad_category"): 1.5, ("hour", "device"): 0.8,
                       ("device", "position"): 0.4, ("user_segment", "discount"): 0.3,
                       ("ad_category", "interests"): 0.3}
    assert table.attrs == {"quantity": "planted effect", "fields": fields,
                           "unit": "standard deviation of the pair's effect (log-odds)"}


@pytest.mark.parametrize("seed", range(10))
def test_base_rate_is_like_that_of_clicks(seed):
    clicks = datasets.make_clicks(20_000, seed=seed)
    assert 0.20 < clicks.base_rate < 0.25
    assert clicks.base_rate == clicks.y.mean()


def test_best_auc_counts_ordered_pairs(clicks):
    small = datasets.make_clicks(800, seed=0)
    won = small.logit[small.y == 1][:, None] - small.logit[small.y == 0][None, :]
    assert small.best_auc == pytest.approx(np.mean(won > 0))
    assert 0.8 < clicks.best_auc < 0.95


def test_best_log_loss_is_that_of_the_truth_and_beats_distorted_logits(clicks):
    def log_loss(p):
        return -np.mean(np.where(clicks.y == 1, np.log(p), np.log(1 - p)))

    assert clicks.best_log_loss == pytest.approx(log_loss(clicks.probability))
    for factor in [0, 0.8, 1.25]:
        distorted = 1 / (1 + np.exp(-factor * clicks.logit))
        assert clicks.best_log_loss < log_loss(distorted)
    assert clicks.best_log_loss < log_loss(np.full(20_000, clicks.base_rate)) - 0.1


def test_one_row_has_no_auc():
    clicks = datasets.make_clicks(1)
    assert len(clicks.X) == 1
    assert np.isnan(clicks.best_auc)
    assert np.isfinite(clicks.best_log_loss)


def test_repr_is_one_line(clicks):
    assert repr(clicks).startswith("Clicks(20,000 rows, 8 fields, base rate 0.2")
    assert "\n" not in repr(clicks)


# ------------------------------------------------------------------------------------ make_ratings


def test_ratings_have_the_form_of_movielens(ml_1m_zip):
    real, drawn = ml_1m.load(ml_1m_zip), datasets.make_ratings()
    assert real.keys() == drawn.keys()
    for name, table in drawn.items():
        assert table.dtypes.to_dict() == real[name].dtypes.to_dict()
    assert {name: len(table) for name, table in drawn.items()} == {
        "ratings": 30_000, "users": 600, "movies": 400}


def test_ratings_refer_to_the_tables_and_do_not_repeat():
    data = datasets.make_ratings(50, 40, 700, seed=1)
    ratings, users, movies = data["ratings"], data["users"], data["movies"]
    assert users["user_id"].tolist() == list(range(1, 51))
    assert movies["movie_id"].is_unique and movies["movie_id"].max() > 40  # gaps
    assert ratings["user_id"].isin(users["user_id"]).all()
    assert ratings["movie_id"].isin(movies["movie_id"]).all()
    assert not ratings.duplicated(["user_id", "movie_id"]).any()
    assert ratings["rating"].between(1, 5).all()
    assert ratings.equals(ratings.sort_values(["user_id", "timestamp"], kind="stable"))
    assert movies["title"].str.fullmatch(r"Film \d+ \((19|20)\d\d\)").all()
    genres = movies["genres"].str.split("|")
    assert genres.map(len).between(1, 3).all()
    assert genres.map(lambda names: len(set(names)) == len(names)).all()
    assert users["zip_code"].str.fullmatch(r"\d{5}").all()


def test_ratings_follow_gender_and_age_but_not_occupation():
    data = datasets.make_ratings(1000, 300, 60_000, seed=0)
    rows = data["ratings"].merge(data["users"], on="user_id").merge(data["movies"], on="movie_id")
    rows = rows[~rows["genres"].str.contains("|", regex=False)]  # one genre: the effect is clear
    rows["rating"] -= rows.groupby("genres")["rating"].transform("mean")

    def spread(by):
        return np.std(rows.groupby([by, "genres"])["rating"].transform("mean"))

    assert spread("gender") > 0.35
    assert spread("age") > 0.3
    assert spread("occupation") < 0.22


def test_ratings_are_reproducible():
    for one, two in zip(datasets.make_ratings(seed=2).values(),
                        datasets.make_ratings(seed=2).values(), strict=True):
        pd.testing.assert_frame_equal(one, two)
    assert not datasets.make_ratings(seed=2)["ratings"].equals(
        datasets.make_ratings(seed=3)["ratings"])


def test_ratings_do_not_depend_on_the_order_in_which_a_processor_partitions(monkeypatch):
    expected, partition = datasets.make_ratings(50, 40, 700, seed=1)["ratings"], np.argpartition

    def other_order(values, kth):
        order = partition(values, kth)
        return np.concatenate([order[:kth][::-1], order[kth:kth + 1], order[kth + 1:][::-1]])

    monkeypatch.setattr(np, "argpartition", other_order)
    pd.testing.assert_frame_equal(datasets.make_ratings(50, 40, 700, seed=1)["ratings"], expected)


def test_every_pair_can_be_rated():
    assert len(datasets.make_ratings(4, 5, 20)["ratings"]) == 20


@pytest.mark.parametrize("numbers", [(4, 5, 21), (0, 5, 1), (4, 0, 1), (4, 5, 0)])
def test_impossible_numbers_of_ratings(numbers):
    with pytest.raises(ValueError, match=f"cannot draw {numbers[2]} ratings"):
        datasets.make_ratings(*numbers)


# ------------------------------------------------------------------- small copies of the real files

ML_1M = {
    "ratings.dat": "1::10::5::978300760\n1::30::3::978302109\n2::10::1::978301968\n"
                   "2::20::4::978300275\n",
    "users.dat": "1::F::1::10::48067\n2::M::56::16::02460-1234\n",
    "movies.dat": "10::\"Elle\", l'été: Part 2 (1995)::Action|Comedy\n"
                  "20::Old One, The (1969)::Drama\n30::Other, The (1970)::Action|Comedy\n",
}


def write_zip(path, folder, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, text in files.items():
            zipped.writestr(f"{folder}/{name}", text.encode("latin-1"))
    return path


@pytest.fixture
def ml_1m_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(ml_1m, "ROWS", {"ratings": 4, "users": 2, "movies": 3})
    return write_zip(tmp_path / "ml-1m.zip", "ml-1m", ML_1M)


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path, monkeypatch):
    """An empty cache, no MINICTR_DATA, and no address but this machine's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("MINICTR_DATA", raising=False)
    urlopen = _files.urllib.request.urlopen

    def local_only(request, **options):
        assert request.host.startswith("127.0.0.1:"), f"a test asked for {request.full_url}"
        return urlopen(request, **options)

    monkeypatch.setattr(_files.urllib.request, "urlopen", local_only)


# ------------------------------------------------------------------------------------------- ml_1m


def test_ml_1m_reads_the_three_tables(ml_1m_zip):
    data = ml_1m.load(ml_1m_zip)
    assert data["ratings"].to_dict("list") == {
        "user_id": [1, 1, 2, 2], "movie_id": [10, 30, 10, 20], "rating": [5, 3, 1, 4],
        "timestamp": [978300760, 978302109, 978301968, 978300275]}
    assert data["users"].to_dict("list") == {
        "user_id": [1, 2], "gender": ["F", "M"], "age": [1, 56], "occupation": [10, 16],
        "zip_code": ["48067", "02460-1234"]}
    assert data["movies"].to_dict("list") == {
        "movie_id": [10, 20, 30],
        "title": ["\"Elle\", l'été: Part 2 (1995)", "Old One, The (1969)", "Other, The (1970)"],
        "genres": ["Action|Comedy", "Drama", "Action|Comedy"]}


def test_ctr_drops_threes_and_joins_the_fields(ml_1m_zip):
    X, y = ml_1m.load_ctr(ml_1m_zip)
    assert y.tolist() == [1, 0, 1] and y.dtype == np.int64
    first, second, last = 978300760, 978301968, 978300275
    assert X.drop(columns="request_time").to_dict("list") == {
        "gender": ["F", "M", "M"], "age": [1, 56, 56], "occupation": [10, 16, 16],
        "zip_code": ["48067", "02460-1234", "02460-1234"],
        "release_year": ["1995", "1995", "1960s"],
        "genres": [("Action", "Comedy"), ("Action", "Comedy"), ("Drama",)]}
    np.testing.assert_allclose(X["request_time"], [(first - last) / (second - last), 1, 0])
    assert X["genres"][0] is X["genres"][1]


def test_ctr_with_ids(ml_1m_zip):
    X, _ = ml_1m.load_ctr(ml_1m_zip, ids=True)
    assert X.columns.tolist() == ["user_id", "movie_id", "gender", "age", "occupation", "zip_code",
                                  "release_year", "request_time", "genres"]
    assert X["user_id"].tolist() == [1, 2, 2] and X["movie_id"].tolist() == [10, 10, 20]


def test_ctr_with_positions_in_place_of_timestamps(ml_1m_zip):
    data = ml_1m.load(ml_1m_zip)
    data["ratings"]["timestamp"] = [2, 1, 1, 2]
    X, _ = ml_1m.as_ctr(data)
    when = np.array([0 + 2 / 2, 1 + 1 / 2, 1 + 2 / 2])  # (user - 1) + position / n
    np.testing.assert_allclose(X["request_time"], (when - 1) / (2 - 1))


@pytest.mark.parametrize("title, year", [
    ("Toy Story (1995)", "1995"), ("2001: A Space Odyssey (1968)", "1960s"), ("A (1919)", "1910s"),
    ("No blank(1982)", "1982"), ("Blank after (1996) ", "1996"), ("Video (1995) (V)", "1995"),
    ("(500) (1970)", "1970")])
def test_release_year(title, year):
    assert ml_1m._release_years(pd.Series([title])).tolist() == [year]


def test_no_release_year_is_a_missing_value():
    assert ml_1m._release_years(pd.Series(["unknown", "A (1960)"])).isna().tolist() == [True, False]


@pytest.mark.parametrize("table, key", [("users", "user_id"), ("movies", "movie_id")])
def test_ctr_names_an_unknown_user_or_movie(ml_1m_zip, table, key):
    data = ml_1m.load(ml_1m_zip)
    data[table] = data[table][1:]
    with pytest.raises(ValueError, match=f"ratings has {key} (1|10), which is not in the table"):
        ml_1m.as_ctr(data)


def test_ctr_of_drawn_ratings():
    data = datasets.make_ratings(seed=0)
    X, y = ml_1m.as_ctr(data)
    rating = data["ratings"]["rating"]
    assert len(X) == len(y) == (rating != 3).sum()
    assert y.sum() == (rating > 3).sum()
    assert (X["request_time"].min(), X["request_time"].max()) == (0, 1)
    assert not X.isna().any(axis=None)


# --------------------------------------------------------------------------- finding and bad files


def test_a_folder_with_the_zip_or_with_the_unpacked_files_will_do(ml_1m_zip, tmp_path):
    expected = ml_1m.load(ml_1m_zip)["ratings"]
    with zipfile.ZipFile(ml_1m_zip) as zipped:
        zipped.extractall(tmp_path / "unpacked")
    for path in [tmp_path, str(tmp_path), tmp_path / "unpacked", tmp_path / "unpacked" / "ml-1m",
                 tmp_path / "unpacked" / "ml-1m" / "ratings.dat"]:
        pd.testing.assert_frame_equal(ml_1m.load(path)["ratings"], expected)


def test_path_before_environment_before_cache(ml_1m_zip, tmp_path, monkeypatch):
    def copy(folder, rating):
        folder.mkdir(parents=True)
        files = {**ML_1M, "ratings.dat": f"1::10::{rating}::1\n" * 4}
        write_zip(folder / "ml-1m.zip", "ml-1m", files)
        return folder

    def first_rating(path=None):
        return ml_1m.load(path)["ratings"]["rating"][0]

    copy(tmp_path / "cache" / "minictr", 1)
    assert first_rating() == 1
    monkeypatch.setenv("MINICTR_DATA", str(copy(tmp_path / "environment", 2)))
    assert first_rating() == 2
    assert first_rating(copy(tmp_path / "given", 4)) == 4


def test_a_named_place_must_exist_and_hold_the_data(ml_1m_zip, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"path is '.*nowhere', but there is no such"):
        ml_1m.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no ml-1m.zip or ratings.dat in .*empty"):
        ml_1m.load(tmp_path / "empty")
    monkeypatch.setenv("MINICTR_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"MINICTR_DATA is '.*gone'"):
        ml_1m.load()


@pytest.mark.parametrize("platform, variable, usual", [
    ("linux", "XDG_CACHE_HOME", ".cache"), ("darwin", "XDG_CACHE_HOME", ".cache"),
    ("win32", "LOCALAPPDATA", "AppData/Local")])
def test_cache_folder(platform, variable, usual, monkeypatch, tmp_path):
    monkeypatch.setattr(_files.sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert _files.cache_folder() == tmp_path / "minictr"
    monkeypatch.delenv(variable)
    assert _files.cache_folder() == Path.home() / usual / "minictr"


def test_a_truncated_zip_is_reported(ml_1m_zip):
    ml_1m_zip.write_bytes(ml_1m_zip.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"ml-1m.zip is damaged .*get a fresh copy"):
        ml_1m.load(ml_1m_zip)


def test_a_flipped_bit_in_a_zip_is_reported(ml_1m_zip):
    data = bytearray(ml_1m_zip.read_bytes())
    data[60] ^= 1  # within the packed ratings
    ml_1m_zip.write_bytes(data)
    with pytest.raises(ValueError, match=r"ml-1m.zip is damaged"):
        ml_1m.load(ml_1m_zip)


def test_a_foreign_zip_is_reported(ml_1m_zip):
    write_zip(ml_1m_zip, "holiday", {"photo.txt": ""})
    with pytest.raises(ValueError, match=r"holds no ratings.dat, but \['holiday/photo.txt'\]"):
        ml_1m.load(ml_1m_zip)


def test_an_incomplete_folder_is_reported(ml_1m_zip, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "ratings.dat").write_text(ML_1M["ratings.dat"])
    with pytest.raises(ValueError, match=r"holds ratings.dat but no users.dat"):
        ml_1m.load(tmp_path / "part")


@pytest.mark.parametrize("ratings, message", [
    ("1::10::5\n" + "1::10::5::1\n" * 3,
     r"line 1: 3 columns, expected 4 \(user_id, movie_id, rating, timestamp\)"),
    ("1::10::5::1\n1::10::5::1::7\n1::10::5::1\n1::10::5::1\n", "line 2: 5 columns, expected 4"),
    ("1::10::5::1\n" * 3, "has 3 rows, expected 4: it is incomplete"),
    ("1::10::5::1\n\n" + "1::10::5::1\n" * 2, "line 2: 1 columns"),
    ("1::10::5::1\n" * 3 + "1::10::five::1\n", "line 4, column rating: 'five' is not a number"),
    ("1::10::5::1\n" * 3 + "1::10::::1\n", "line 4, column rating: '' is not a number"),
    ("1::10::5::1\n" * 3 + "1::10::4.5::1\n", "cannot be read: "),
    ("1::10::5::1::7\n1::10::5\n" + "1::10::5::1\n" * 2, "line 1: 5 columns"),
    ("1::10::5\n1::10::5::1::7\n" + "1::10::5::1\n" * 2, "line 1: 3 columns"),
    ("", "(has 0 rows|1 columns)"),
])
def test_a_wrong_table_is_reported_with_its_place(ml_1m_zip, ratings, message):
    write_zip(ml_1m_zip, "ml-1m", {**ML_1M, "ratings.dat": ratings})
    with pytest.raises(ValueError, match=rf"^ratings.dat of .*ml-1m.zip.*{message}"):
        ml_1m.load(ml_1m_zip)


# ------------------------------------------------------------------------------------- downloading


class Server:
    """A web server on this machine that serves `content`, and can be told to misbehave."""

    def __init__(self, content):
        self.content = content
        self.knows_ranges = True
        self.breaks_off_after = None
        self.status = None
        self.ranges = []  # the Range header of every request so far, or None
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers["Range"]
                server.ranges.append(asked)
                start = int(asked[6:-1]) if asked and server.knows_ranges else 0
                if server.status or start >= len(server.content) > 0:
                    self.send_error(server.status or 416)
                    return
                body = server.content[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:server.breaks_off_after])

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/ml-1m.zip"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(ml_1m_zip, monkeypatch):
    server = Server(ml_1m_zip.read_bytes())
    monkeypatch.setattr(ml_1m, "URL", server.url)
    monkeypatch.setattr(ml_1m, "MD5", _files.hashlib.md5(server.content).hexdigest())
    yield server
    server.stop()


@pytest.fixture
def cached(tmp_path):
    return tmp_path / "cache" / "minictr" / "ml-1m.zip"


def part_of(cached):
    return cached.with_name("ml-1m.zip.part")


def test_download_once(server, cached, capsys):
    assert len(ml_1m.load()["ratings"]) == 4
    assert cached.read_bytes() == server.content
    assert not part_of(cached).exists()
    output = capsys.readouterr()
    assert server.url in output.err and str(cached) in output.err
    assert output.out == ""
    ml_1m.load()
    assert len(server.ranges) == 1  # the second time from the cache


def test_progress_in_a_terminal(server, capsys, monkeypatch):
    monkeypatch.setattr(_files.sys.stderr, "isatty", lambda: True, raising=False)
    ml_1m.load()
    assert "\r     0.0 of 0.0 MB\n" in capsys.readouterr().err


def test_a_broken_download_is_resumed(server, cached):
    server.breaks_off_after = 200
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded"):
        ml_1m.load()
    assert not cached.exists()
    assert part_of(cached).read_bytes() == server.content[:200]
    server.breaks_off_after = None
    ml_1m.load()
    assert server.ranges == [None, "bytes=200-"]
    assert cached.read_bytes() == server.content
    assert not part_of(cached).exists()


def test_a_server_without_ranges_sends_all_of_it_again(server, cached):
    server.knows_ranges = False
    cached.parent.mkdir(parents=True)
    part_of(cached).write_bytes(server.content[:200])
    ml_1m.load()
    assert cached.read_bytes() == server.content


def test_a_part_as_long_as_the_file_is_started_anew(server, cached):
    cached.parent.mkdir(parents=True)
    part_of(cached).write_bytes(b"x" * len(server.content))
    ml_1m.load()
    assert server.ranges == [f"bytes={len(server.content)}-", None]
    assert cached.read_bytes() == server.content


def test_a_download_with_the_wrong_checksum_is_refused_and_removed(server, cached):
    server.content = server.content[:-1] + b"?"
    with pytest.raises(ValueError, match=r"not the expected file: its md5 is \w{32}, the"):
        ml_1m.load()
    assert list(cached.parent.iterdir()) == []


def test_a_foreign_part_is_refused_by_the_checksum_and_the_next_try_works(server, cached):
    cached.parent.mkdir(parents=True)
    part_of(cached).write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="md5"):
        ml_1m.load()
    ml_1m.load()
    assert cached.read_bytes() == server.content


def test_a_missing_page_says_what_to_do(server, cached):
    server.status = 404
    with pytest.raises(FileNotFoundError) as caught:
        ml_1m.load()
    for hint in [server.url, "404", ml_1m.HOME, str(cached.parent), "MINICTR_DATA", "path="]:
        assert hint in str(caught.value)


def test_offline_says_what_to_do(ml_1m_zip, cached, monkeypatch):
    with socket.socket() as unused:  # bound, but nobody listens: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/ml-1m.zip"
        monkeypatch.setattr(ml_1m, "URL", url)
        with pytest.raises(FileNotFoundError) as caught:
            ml_1m.load()
    for hint in [url, "refused", ml_1m.HOME, str(cached.parent), "MINICTR_DATA", "path="]:
        assert hint in str(caught.value)
    assert not cached.exists()


# ----------------------------------------------------------------------------------------- ml_100k

ML_100K = {
    "u.data": "196\t242\t3\t881250949\n186\t302\t5\t891717742\n",
    "u.user": "186|39|F|executive|00000\n196|49|M|writer|V3N4P\n",
    "u.genre": "unknown|0\nAction|1\nComedy|2\n\n",
    "u.item": "242|Kolya (1996)|24-Jan-1997||http://x/?Kolya%20(1996)|0|0|1\n"
              "302|L'été (1997)|01-Jan-1997||http://x/|0|1|1\n",
}


@pytest.fixture
def ml_100k_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(ml_100k, "ROWS", {"u.data": 2, "u.user": 2, "u.item": 2, "u.genre": 3})
    return write_zip(tmp_path / "ml-100k.zip", "ml-100k", ML_100K)


def test_ml_100k_has_the_form_of_ml_1m(ml_100k_zip):
    data = ml_100k.load(ml_100k_zip)
    assert data["ratings"].to_dict("list") == {
        "user_id": [196, 186], "movie_id": [242, 302], "rating": [3, 5],
        "timestamp": [881250949, 891717742]}
    assert data["users"].to_dict("list") == {
        "user_id": [186, 196], "gender": ["F", "M"], "age": [39, 49],
        "occupation": ["executive", "writer"], "zip_code": ["00000", "V3N4P"]}
    assert data["movies"].to_dict("list") == {
        "movie_id": [242, 302], "title": ["Kolya (1996)", "L'été (1997)"],
        "genres": ["Comedy", "Action|Comedy"]}
    X, y = ml_1m.as_ctr(data)
    assert y.tolist() == [1] and X["genres"].tolist() == [("Action", "Comedy")]
    assert X["request_time"].tolist() == [0]


def test_ml_100k_is_found_in_the_environment(ml_100k_zip, monkeypatch):
    monkeypatch.setenv("MINICTR_DATA", str(ml_100k_zip.parent))
    assert len(ml_100k.load()["ratings"]) == 2


# ------------------------------------------------------------------------------------------ frappe

FRAPPE_ROW = "{} 3:1 4798:1 5041:1 5046:1 5053:1 5055:1 5058:1 5060:1 5073:1 5381:1\n"


@pytest.fixture
def frappe_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(frappe, "ROWS", {"train": 2, "validation": 1, "test": 1})
    folder = tmp_path / "frappe"
    folder.mkdir()
    (folder / "frappe.train.libfm").write_text(FRAPPE_ROW.format(1) + FRAPPE_ROW.format(-1))
    with gzip.open(folder / "frappe.validation.libfm.gz", "wt") as file:
        file.write(FRAPPE_ROW.format(-1))
    (folder / "frappe.test.libfm").write_text(FRAPPE_ROW.format(1))
    return folder


def test_frappe_reads_plain_and_packed_files(frappe_folder):
    data = frappe.load(frappe_folder)
    assert list(data) == ["train", "validation", "test"]
    expected = {"user": 3, "item": 4798 - 957, "daytime": 2, "weekday": 0, "isweekend": 0,
                "homework": 0, "cost": 0, "weather": 0, "country": 4, "city": 232}
    for table in data.values():
        assert table.drop(columns="label").iloc[0].to_dict() == expected
    assert data["train"]["label"].tolist() == [1, -1]
    assert data["train"].columns.tolist() == [*expected, "label"]
    assert data["validation"].attrs == {"file": "frappe.validation.libfm.gz"}


def test_frappe_is_found_below_a_folder_and_in_the_environment(frappe_folder, monkeypatch):
    assert len(frappe.load(frappe_folder.parent)["train"]) == 2
    monkeypatch.setenv("MINICTR_DATA", str(frappe_folder.parent))
    assert len(frappe.load()["train"]) == 2


def test_frappe_takes_a_rebuilt_train_set_but_prefers_the_published_one(frappe_folder):
    rebuilt = frappe_folder / "frappe.train.rebuilt.libfm.gz"
    with gzip.open(rebuilt, "wt") as file:
        file.write(FRAPPE_ROW.format(1) * 2)
    assert frappe.load(frappe_folder)["train"].attrs["file"] == "frappe.train.libfm"
    (frappe_folder / "frappe.train.libfm").unlink()
    train = frappe.load(frappe_folder)["train"]
    assert train.attrs["file"] == rebuilt.name and train["label"].tolist() == [1, 1]


@pytest.mark.parametrize("old, new, message", [
    ("4798:1", "956:1", "line 2: an id outside its field's range"),
    ("5381:1", "5382:1", "line 2: an id outside its field's range"),
    ("4798:1", "4798:2", "line 2: a value other than 1"),
    ("-1 3:1", "0 3:1", "line 2: a label other than 1 and -1"),
    (" 5381:1", "", "line 2: 19 columns, expected 21"),
    ("5381:1", "Rome:1", "line 2, column city: 'Rome' is not a number"),
])
def test_frappe_says_what_is_wrong_and_where(frappe_folder, old, new, message):
    wrong = FRAPPE_ROW.format(1) + FRAPPE_ROW.format(-1).replace(old, new)
    (frappe_folder / "frappe.train.libfm").write_text(wrong)
    with pytest.raises(ValueError, match=rf"frappe.train.libfm.*{message}"):
        frappe.load(frappe_folder)


def test_frappe_damaged_gzip(frappe_folder):
    packed = frappe_folder / "frappe.validation.libfm.gz"
    for damaged in [packed.read_bytes()[:-5], b"no gzip at all"]:
        packed.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"frappe.validation.libfm.gz is damaged"):
            frappe.load(frappe_folder)


def test_frappe_wants_the_folder(frappe_folder):
    with pytest.raises(ValueError, match="is a file; give the folder"):
        frappe.load(frappe_folder / "frappe.test.libfm")


def test_frappe_download_is_checked_by_its_number_of_rows(frappe_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MINICTR_DATA", str(tmp_path))
    (frappe_folder / "frappe.test.libfm").unlink()
    server = Server(FRAPPE_ROW.format(1).encode() * 2)
    try:
        monkeypatch.setattr(frappe, "URL", server.url + "/{split}")
        with pytest.raises(ValueError, match="it has 2 lines, expected 1"):
            frappe.load()
        server.content = FRAPPE_ROW.format(1).encode()
        assert len(frappe.load()["test"]) == 1
    finally:
        server.stop()
    assert (tmp_path / "cache" / "minictr" / "frappe" / "frappe.test.libfm").is_file()


# ------------------------------------------------------------------------------------------ criteo


def criteo_line(label, number="5", category="68fd1e64"):
    return "\t".join([str(label), *[number] * 13, *[category] * 26]) + "\n"


@pytest.fixture
def criteo_file(tmp_path):
    folder = tmp_path / "criteo"
    folder.mkdir()
    (folder / "train.txt").write_text(
        criteo_line(0) + criteo_line(1, "", "") + criteo_line(1, "-2", "00000012")
        + criteo_line(0) + criteo_line(0))
    with gzip.open(folder / "dev.tsv.gz", "wt") as file:
        file.write(criteo_line(1))
    return folder / "train.txt"


def test_criteo_reads_numbers_categories_and_gaps(criteo_file):
    table = criteo.load(criteo_file)
    assert table.columns.tolist() == (["label"] + [f"I{i}" for i in range(1, 14)]
                                      + [f"C{i}" for i in range(1, 27)])
    assert table["label"].tolist() == [0, 1, 1, 0, 0]
    assert (table.dtypes[criteo.NUMBERS] == np.float64).all()
    assert table.loc[1].isna().sum() == 39
    assert table.loc[2, "I13"] == -2 and table.loc[2, "C26"] == "00000012"  # zeros are kept


def test_criteo_splits_rows_and_places(criteo_file, monkeypatch):
    assert len(criteo.load(criteo_file.parent, split="dev")) == 1
    assert len(criteo.load(criteo_file, rows=2)) == 2
    assert len(criteo.load(criteo_file, 99)) == 5
    assert [len(piece) for piece in criteo.iterate(criteo_file, 2, rows=3)] == [2, 1]
    monkeypatch.setenv("MINICTR_DATA", str(criteo_file.parent.parent))
    assert len(criteo.load()) == 5


def test_criteo_pieces_make_up_the_whole(criteo_file):
    pieces = list(criteo.iterate(criteo_file, chunk_rows=2))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    pd.testing.assert_frame_equal(pd.concat(pieces), criteo.load(criteo_file))
    assert pd.concat(pieces).index.tolist() == [0, 1, 2, 3, 4]


def test_criteo_is_not_downloaded_but_says_where_to_get_it():
    with pytest.raises(FileNotFoundError, match=r"no train.txt or .*kaggle.*MINICTR_DATA"):
        criteo.load()


@pytest.mark.parametrize("text, message", [
    (criteo_line(0)[2:], r"line 1: 39 columns, expected 40 \(label, I1, "),
    (criteo_line(0) * 3 + criteo_line(2), "line 4: the label is 2, expected 0 or 1"),
    (criteo_line(0) * 3 + criteo_line(""), "line 4, column label: nan is not a number"),
    (criteo_line(0) * 3 + criteo_line(1, "many"), "line 4, column I1: 'many' is not a number"),
    (criteo_line(0) * 3 + criteo_line(1, category="a\tb"), "line 4: 66 columns"),
    (criteo_line(0) * 3 + criteo_line(1)[:-10], "line 4: 39 columns"),  # the file was cut off
    ("", "is empty"),
])
def test_criteo_says_what_is_wrong_and_where(criteo_file, text, message):
    criteo_file.write_text(text)
    with pytest.raises(ValueError, match=rf"train.txt,? {message}"):
        list(criteo.iterate(criteo_file, chunk_rows=2))


def test_criteo_blank_lines_do_not_matter(criteo_file):
    expected = criteo.load(criteo_file)
    lines = criteo_file.read_text().splitlines(keepends=True)
    criteo_file.write_text("\n".join(lines) + "\n\n")
    pd.testing.assert_frame_equal(criteo.load(criteo_file), expected)
    assert [len(piece) for piece in criteo.iterate(criteo_file, chunk_rows=1)] == [1] * 5


def test_criteo_damaged_gzip(criteo_file):
    packed = criteo_file.parent / "dev.tsv.gz"
    for damaged in [packed.read_bytes()[:-5], b"no gzip at all"]:
        packed.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"dev.tsv.gz is damaged"):
            criteo.load(packed)


@pytest.mark.parametrize("options", [{"rows": 0}, {"rows": -3}, {"chunk_rows": 0}])
def test_criteo_numbers_of_rows_must_be_positive(criteo_file, options):
    with pytest.raises(ValueError, match="rows must be a positive number, got"):
        next(criteo.iterate(criteo_file, **options))
