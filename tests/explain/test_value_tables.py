"""Tables of values against the rows that hold them, one by one, and against partial dependence by its definition."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import KINDS, VARIANTS, small
from tables import FIELDS, mixed_table

from minictr import AFM, FM, AutoInt, Categorical, MultiValued, NotFittedError, Numerical, explain
from minictr.estimator.registry import offers
from minictr.explain.value_groups import FieldValues, entries_of_both, range_texts
from minictr.explain.value_tables import _summary
from minictr.layers import parameters

FACTORED = [name for name in KINDS if offers(VARIANTS[name][0], "factors")]
SUMS = [name for name in FACTORED if "DeepFM" not in name]


def shaken(name, X, y, fields=FIELDS, seed=0, **settings):
    """A variant in float64 whose weights are large, so that no term is nearly 0."""
    model = small(name, fields, fields=fields, epochs=1, dtype="float64", **settings).fit(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.8, array.shape)
    return model


def terms_of_rows(model, X, *fields, **settings):
    """The contribution of a field or pair in each row, (N,)."""
    table = explain.contributions(model, X, wide=True, **settings)
    (column,) = [column for column in table.columns if tuple(filter(None, column[1:])) == fields]
    return table[column].to_numpy()


# ---- the model's own terms ------------------------------------------------------------------------------


@pytest.mark.parametrize("purified", [False, True])
@pytest.mark.parametrize("name", FACTORED)
def test_a_term_is_what_it_is_in_the_rows_that_hold_the_two_values(name, purified):
    X, y = mixed_table(200)
    model = shaken(name, X, y)
    for fields in (("user", "hour"), ("hour", "user")):
        table = explain.pair_values(model, X, *fields, source="terms", purified=purified)
        terms = pd.Series(terms_of_rows(model, X, "user", "hour", purified=purified))
        groups = terms.groupby([X[fields[0]].astype(str), X[fields[1]].astype(str)])
        found = table.set_index(["value_i", "value_j"])
        assert len(found) == len(groups) == 12
        np.testing.assert_allclose(found["term"], groups.mean().loc[found.index], atol=1e-12)
        assert found["rows"].tolist() == groups.size().loc[found.index].tolist()
        assert (table["low"] == table["term"]).all() and (table["high"] == table["term"]).all()
        assert table.attrs["purified"] is purified and table.attrs["fields"] == fields


@pytest.mark.parametrize("name", SUMS)
def test_a_field_s_term_is_what_it_is_in_the_rows_that_hold_the_value(name):
    X, y = mixed_table(200)
    model = shaken(name, X, y)
    for purified in (False, True):
        table = explain.field_values(model, X, "user", purified=purified, source="terms").set_index("value")
        groups = pd.Series(terms_of_rows(model, X, "user", purified=purified)).groupby(X["user"])
        np.testing.assert_allclose(table["term"], groups.mean().loc[table.index], atol=1e-12)
        assert table["rows"].to_dict() == groups.size().to_dict()
    assert table["rows"].is_monotonic_decreasing                  # of text, the most frequent first
    assert abs(np.average(table["term"], weights=table["rows"])) < 1e-12


def test_numbers_are_cut_into_bins_of_which_each_has_the_mean_and_spread_of_its_rows():
    X, y = mixed_table(403)
    X["price"] = X["price"].round(2).where(X.index % 10 > 0)      # labels have four digits
    model = shaken("FM", X, y)
    table = explain.pair_values(model, X, "price", "user", bins=5)
    terms = terms_of_rows(model, X, "user", "price", purified=True)
    bins = table["value_i"].unique()
    assert len(bins) == 6 and bins[-1] == "(missing)"
    limits = [tuple(map(float, text.split(" to "))) for text in bins[:-1]]
    assert limits == sorted(limits)
    label = pd.Series("(missing)", X.index)
    for text, (low, high) in zip(bins, limits, strict=False):
        label[X["price"].between(low, high)] = text
    held = table.groupby("value_i")["rows"].sum()
    assert held.sum() == len(X) and held.drop("(missing)").between(70, 75).all()
    assert table.attrs["rows_i"] == held.to_dict()
    for line in table.itertuples():
        rows = ((label == line.value_i) & (X["user"] == line.value_j)).to_numpy()
        assert rows.sum() == line.rows
        np.testing.assert_allclose([line.term, line.low, line.high],
                                   [terms[rows].mean(), *np.percentile(terms[rows], [5, 95])], atol=1e-12)
    means = X["price"].groupby(label).mean().drop("(missing)")
    assert table.attrs["at_i"] == pytest.approx(means.to_dict())


def test_few_numbers_are_values_of_their_own_and_ascend():
    X, y = mixed_table(100)
    X["price"] = np.random.default_rng(0).choice([2.5, -1.0, 10.0], 100)
    model = shaken("FM", X, y)
    table = explain.field_values(model, X, "price")
    assert table["value"].tolist() == ["-1", "2.5", "10"]
    assert table.attrs["at"] == {"-1": -1.0, "2.5": 2.5, "10": 10.0}
    assert (table["low"] == table["high"]).all()


def test_a_binned_field_has_its_bins_in_order():
    X, y = mixed_table(300)
    model = shaken("FM", X, y, ["user", Numerical("price", bins=[8, 10, 12])])
    table = explain.pair_values(model, X, "price", "user")
    assert table["value_i"].unique().tolist() == ["< 8", "8 to < 10", "10 to < 12", ">= 12"]
    assert 8 <= table.attrs["at_i"]["8 to < 10"] < 10


def test_a_value_of_a_multi_valued_field_counts_as_if_it_were_alone():
    X, y = mixed_table(200)
    model = shaken("FM", X, y)
    table = explain.pair_values(model, X, "genres", "user").set_index(["value_i", "value_j"])
    assert set(table.index.get_level_values(0)) == {"a", "b", "c"}
    for (genre, user), line in table.iterrows():
        alone = X.iloc[:1].assign(genres=genre, user=user)
        expected = terms_of_rows(model, alone, "user", "genres", purified=True, background=X)
        np.testing.assert_allclose(line[["term", "low", "high"]].astype(float), expected[0], atol=1e-12)
        assert line["rows"] == (X["genres"].str.contains(genre) & (X["user"] == user)).sum()
    twice = X.iloc[:3].assign(genres=["a|a|b", "a", "b"])
    assert explain.field_values(model, twice, "genres")["rows"].tolist() == [2, 2]


def test_a_long_vocabulary_has_its_most_frequent_values_and_the_others_together():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"site": [f"s{rank}" for rank in rng.zipf(1.3, 3_000).clip(max=500)],
                      "hour": rng.integers(0, 24, 3_000)})
    model = shaken("FM", X, rng.integers(0, 2, 3_000), ["site", "hour"])
    table = explain.pair_values(model, X, "site", "hour", top=5)
    frequent = X["site"].value_counts().index[:5].tolist()
    n_others = X["site"].nunique() - 5
    assert table["value_i"].unique().tolist() == [*frequent, f"({n_others} others)"]
    hours = X["hour"].value_counts().index[:5]                    # whole numbers: the most frequent, but ascending
    assert table["value_j"].unique().tolist() == [*map(str, sorted(hours)), "(19 others)"]
    assert table["rows"].sum() == len(X)
    terms = terms_of_rows(model, X, "site", "hour", purified=True)
    rest = (~X["site"].isin(frequent) & ~X["hour"].isin(hours)).to_numpy()
    line = table.iloc[-1]
    np.testing.assert_allclose(line[["term", "low", "high"]].astype(float),
                               [terms[rest].mean(), *np.percentile(terms[rest], [5, 95])], atol=1e-12)
    whole = explain.pair_values(model, X, "site", "hour", top=23)     # one value is no "others"
    assert whole["value_j"].nunique() == 24


def test_values_that_never_meet_have_a_term_and_no_rows():
    X, y = mixed_table(200)
    model = shaken("FM", X, y)
    some = X[(X["user"] != "ann") | (X["hour"] != 1)]
    table = explain.pair_values(model, some, "user", "hour").set_index(["value_i", "value_j"])
    line = table.loc[("ann", "1")]
    made_up = X.iloc[:1].assign(user="ann", hour=1)
    assert line["rows"] == 0 and np.isnan([line["low"], line["high"]]).all()
    np.testing.assert_allclose(line["term"], terms_of_rows(model, made_up, "user", "hour", purified=True,
                                                           background=some)[0], atol=1e-12)
    of_bins = explain.pair_values(model, some[:6], "user", "price", bins=3)
    empty = of_bins["rows"] == 0
    assert empty.any() and of_bins.loc[empty, "term"].notna().all() and of_bins.loc[~empty, "low"].notna().all()


def test_afm_s_term_is_its_mean_over_the_rows_that_hold_the_values():
    X, y = mixed_table(300)
    model = shaken("AFM", X, y)
    some = X[(X["user"] != "ann") | (X["hour"] != 1)].reset_index(drop=True)
    table = explain.pair_values(model, some, "user", "hour").set_index(["value_i", "value_j"])
    groups = pd.Series(terms_of_rows(model, some, "user", "hour")).groupby([some["user"], some["hour"].astype(str)])
    assert np.isnan(table.loc[("ann", "1"), "term"]) and table.loc[("ann", "1"), "rows"] == 0
    met = table.drop(("ann", "1"))
    np.testing.assert_allclose(met["term"], groups.mean().loc[met.index], atol=1e-12)
    np.testing.assert_allclose(met["high"], groups.quantile(0.95).loc[met.index], atol=1e-12)
    assert (met["low"] < met["high"]).all()                       # it depends on the rest of the row
    assert "averaged over the rows" in table.attrs["source"] and not table.attrs["purified"]
    centred = explain.pair_values(model, some, "user", "hour", source="scores").set_index(["value_i", "value_j"])
    assert centred["term"].notna().all()
    assert explain.field_values(model, X, "user").attrs["source"] == "centred partial dependence"
    weights = explain.field_values(model, X, "user", source="terms")
    groups = pd.Series(terms_of_rows(model, X, "user")).groupby(X["user"]).mean()
    np.testing.assert_allclose(weights["term"], groups.loc[weights["value"]], atol=1e-12)


# ---- any model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["AutoInt", "DeepFM", "NFM"])
def test_scores_are_the_centred_partial_dependence(name):
    X, y = mixed_table(40)
    fields = ["user", "hour", MultiValued("genres")]
    model = shaken(name, X, y, fields)
    table = explain.pair_values(model, X, "user", "genres", background=40)
    users, genres = table["value_i"].unique(), table["value_j"].unique()
    f = np.array([[model.decision_function(X.assign(user=user, genres=genre)) for genre in genres] for user in users])
    held = X["genres"].str.split("|")
    w_user = [(X["user"] == user).mean() for user in users]
    w_genre = [held.map(lambda cell, genre=genre: cell.count(genre) / len(cell)).mean() for genre in genres]
    for axis, weights in ((0, w_user), (1, w_genre)):
        f = f - np.average(f, axis=axis, weights=weights, keepdims=True)
    np.testing.assert_allclose(table["term"], f.mean(axis=2).ravel(), atol=1e-12)
    np.testing.assert_allclose(table["low"], np.percentile(f, 5, axis=2).ravel(), atol=1e-12)
    assert table.attrs["source"] == "centred partial dependence" and table.attrs["note"] is None
    assert table["term"].abs().max() > 0.01

    one = explain.field_values(model, X, "user", background=40)
    f = np.array([model.decision_function(X.assign(user=user)) for user in one["value"]])
    f = f - np.average(f, axis=0, weights=w_user)
    np.testing.assert_allclose(one["term"], f.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(one["high"], np.percentile(f, 95, axis=1), atol=1e-12)


@pytest.mark.parametrize("name", SUMS)
def test_purified_terms_are_centred_partial_dependence(name):
    X, y = mixed_table(60)
    model = shaken(name, X, y)
    for pair in (("user", "hour"), ("hour", "genres")):
        own, scores = (explain.pair_values(model, X, *pair, source=source, background=60)
                       for source in ("terms", "scores"))
        np.testing.assert_allclose(own["term"], scores["term"], atol=1e-6)    # 1/3, the share of a value, in float32
    if name.startswith("HOFM"):                                   # scores see which two other fields occur together
        return
    own, scores = (explain.field_values(model, X, "genres", source=source, background=60)
                   for source in ("terms", "scores"))
    np.testing.assert_allclose(own["term"], scores["term"], atol=1e-6)


def test_scores_of_bins_are_close_to_the_terms():
    X, y = mixed_table(2_000)
    model = shaken("FM", X, y)
    own, scores = (explain.pair_values(model, X, "price", "user", source=source, bins=4, background=500)
                   for source in ("terms", "scores"))
    scale = own["term"].abs().max()
    np.testing.assert_allclose(own["term"], scores["term"], atol=0.05 * scale)


def test_chunks_of_any_size_give_the_same(monkeypatch):
    X, y = mixed_table(50)
    models = [shaken(name, X, y) for name in ("AutoInt", "FM")]
    whole = [explain.pair_values(model, X, "user", "price") for model in models]
    monkeypatch.setattr(explain.value_tables, "CHUNK_ROWS", 7)
    for model, table in zip(models, whole, strict=True):
        pd.testing.assert_frame_equal(explain.pair_values(model, X, "user", "price"), table, rtol=1e-12)
        assert table["rows"].sum() == 50


def test_a_regression_is_in_units_of_the_target():
    X = mixed_table(300)[0]
    for cls in (FM, AutoInt):
        model = cls(fields=FIELDS, epochs=1, embedding_dim=2).fit(X, 100.0 + X["price"])
        table = explain.pair_values(model, X, "user", "price")
        assert table.attrs["unit"] == "units of the target"
        assert table["term"].abs().max() < 50                     # centred: without the 100


def test_lr_has_values_of_fields_and_nothing_in_pairs():
    X, y = mixed_table(100)
    model = shaken("LR", X, y)
    own = explain.field_values(model, X, "user")
    assert own.attrs["source"] == "the model's own terms, purified"
    scores = explain.field_values(model, X, "user", source="scores")
    np.testing.assert_allclose(own["term"], scores["term"], atol=1e-12)
    np.testing.assert_allclose(explain.pair_values(model, X, "user", "hour")["term"], 0, atol=1e-12)
    with pytest.raises(TypeError, match="LR has no terms of pairs"):
        explain.pair_values(model, X, "user", "hour", source="terms")


def test_terms_beside_a_deep_part_say_so():
    X, y = mixed_table(100)
    model = shaken("DeepFM", X, y)
    assert explain.pair_values(model, X, "user", "hour", source="terms").attrs["note"] == \
        "without what the deep part makes of it"
    assert explain.field_values(model, X, "user").attrs["source"] == "centred partial dependence"


def test_unknown_hashed_and_missing_values_come_last():
    X, y = mixed_table(200)
    model = shaken("FM", X, y, ["user", Categorical("hour", buckets=3)])
    other = X[:50].copy()
    other["user"] = other["user"].where(np.arange(50) > 2, None).where(np.arange(50) != 10, "eve")
    table = explain.field_values(model, other, "user")
    assert table["value"].tolist()[-2:] == ["(missing)", "(unknown)"]
    assert table.set_index("value")["rows"]["(missing)"] == 3
    assert set(explain.field_values(model, other, "hour")["value"]) <= {"bucket 0", "bucket 1", "bucket 2"}


# ---- the parts ------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=40))
@examples(60)
def test_the_summary_of_cells(entries):
    cell, terms = (np.array(part) for part in zip(*entries, strict=True))
    mean, low, high = _summary(terms, cell, np.full(4, 7.0))
    for c in range(4):
        own = terms[cell == c]
        expected = [own.mean(), *np.percentile(own, [5, 95])] if len(own) else [7, np.nan, np.nan]
        np.testing.assert_allclose([mean[c], low[c], high[c]], expected, atol=1e-12)


@given(st.lists(st.tuples(st.lists(st.sampled_from("abc"), max_size=3), st.lists(st.sampled_from("xy"), max_size=2)),
                min_size=1, max_size=8))
@examples(40)
def test_each_entry_of_a_row_meets_each_of_the_other_field(rows):
    X = pd.DataFrame(rows, columns=["one", "other"])
    fields = [MultiValued("one"), MultiValued("other")]
    known = pd.DataFrame({"one": [list("abc")], "other": [list("xy")]})
    model = FM(fields=fields, epochs=1).fit(pd.concat([known] * 2), [0, 1])
    one, other = (FieldValues(model, X, name, 20, 10) for name in X)
    mine, theirs = entries_of_both(one, other)
    found = sorted((one.row[a], one.labels[one.group[a]], other.labels[other.group[b]])
                   for a, b in zip(mine, theirs, strict=True))
    assert (one.row[mine] == other.row[theirs]).all()
    assert found == sorted((row, a, b) for row, cells in enumerate(rows)
                           for a, b in product(*(set(cell) or {"(missing)"} for cell in cells)))


def test_texts_of_ranges_differ():
    assert range_texts([1.00001, 1.00002], [1.00001, 1.00002]) == ["1.00001", "1.00002"]
    assert len(set(range_texts([0.1, 0.1 + 1e-16], [0.1, 0.2]))) == 2


# ---- what is refused ------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused():
    X, y = mixed_table(60)
    model = shaken("FM", X, y)
    refused = [
        (dict(field_j="user"), ValueError, "two different fields.*field_values"),
        (dict(field_j="weather"), ValueError, r"'weather' is not one of the fields \['user'"),
        (dict(top=0), ValueError, "top must be a whole number of at least 1"),
        (dict(bins=1), ValueError, "bins must be"),
        (dict(background=0), ValueError, "background must be"),
        (dict(source="model"), ValueError, "source must be None"),
        (dict(purified="joint"), ValueError, "purified must be"),
        (dict(source="scores", purified=False), ValueError, "is centred.*source=\"terms\""),
        (dict(X=X[:0]), ValueError, "X has no rows"),
        (dict(X=X.drop(columns="price")), ValueError, "price"),
        (dict(model=model.decision_function), TypeError, "expected a fitted model.*interaction_effects"),
    ]
    for changed, error, message in refused:
        given_ = dict(model=model, X=X, field_i="user", field_j="hour") | changed
        with pytest.raises(error, match=message):
            explain.pair_values(**given_)
    with pytest.raises(ValueError, match="not one of the fields"):
        explain.field_values(model, X, "weather")
    with pytest.raises(NotFittedError):
        explain.pair_values(FM(), X, "user", "hour")
    for cls in (AFM, AutoInt):
        other = cls(fields=FIELDS, epochs=1, embedding_dim=2).fit(X, y)
        with pytest.raises(TypeError, match="interaction_effects"):
            explain.pair_values(other, X, "user", "hour", source="terms", purified=True)
    with pytest.raises(TypeError, match="FFM has no terms of single fields; purified=True"):
        explain.field_values(shaken("FFM", X, y, first_order=False), X, "user", purified=False)
