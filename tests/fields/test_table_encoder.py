"""Whole tables: global ids, which columns are fields, tables that cannot be used, and all kinds of fields together."""

import copy

import numpy as np
import pandas as pd
import pytest
from encoders import NAN, calls, same_state, weights_by_id
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from minictr.fields import (
    Categorical,
    MultiValued,
    Numerical,
    TableEncoder,
    reading,
)

TRAIN = pd.DataFrame({
    "user": ["ann", "bob", "ann", "cy", None],
    "hour": [7, 8, 23, 7, 7],
    "price": [0.5, 1.5, NAN, 2.0, 4.0],
    "genres": ["Action|Drama", "Drama", None, "War", "Action"],
    "vip": [True, False, True, True, False],
})
FIELDS = ["user", Categorical("hour", buckets=4), "price", MultiValued("genres"), "vip"]


def test_ids_are_global_field_after_field():
    encoder = TableEncoder(FIELDS).fit(TRAIN)
    assert encoder.field_names == ["user", "hour", "price", "genres", "vip"]
    assert encoder.offsets.tolist() == [0, 5, 11, 13, 18] and encoder.n_ids == encoder.n_features == 22
    slots = encoder.encode(TRAIN[:2])
    assert slots.starts.tolist() == [0, 1, 2, 3, 5]
    assert slots.ids[:, [0, 2, 3, 4, 5]].tolist() == [[2, 11, 15, 16, 21], [3, 11, 16, 14, 20]]
    assert slots.x[:, [0, 1, 3, 4, 5]].tolist() == [[1, 1, 0.5, 0.5, 1], [1, 1, 1, 0, 1]]
    for name, offset in zip(encoder.field_names, encoder.offsets, strict=True):
        part = encoder.encode(TRAIN, [name])
        n_ids = len(encoder.feature_names(name))
        assert offset <= part.ids.min() <= part.ids.max() < offset + n_ids


def test_every_column_is_a_field_by_default_and_otherwise_just_those_listed():
    assert TableEncoder().fit(TRAIN).field_names == list(TRAIN)
    chosen = TableEncoder(["vip", Categorical("user")]).fit(TRAIN)
    assert chosen.field_names == ["vip", "user"]
    junk = TRAIN.assign(when=pd.Timestamp("2020"))
    junk[7] = 1j
    assert TableEncoder(["vip", "user"]).fit(junk).encode(junk).ids.tolist() == \
        chosen.encode(TRAIN[["user", "vip"]]).ids.tolist()


def test_a_table_is_a_dataframe_or_a_dict_of_columns_of_any_make():
    encoder = TableEncoder(FIELDS).fit(TRAIN)
    as_dict = {"genres": TRAIN.genres.tolist(), "price": TRAIN.price.to_numpy(),
               "user": TRAIN.user.astype("category"), "vip": TRAIN.vip.array,
               "hour": tuple(TRAIN.hour)}
    slots, same = encoder.encode(TRAIN), encoder.encode(as_dict)
    assert np.array_equal(slots.ids, same.ids) and np.array_equal(slots.x, same.x)
    assert same_state(encoder, TableEncoder(FIELDS).fit(as_dict))


def test_a_subset_of_the_fields_keeps_its_global_ids():
    encoder = TableEncoder(FIELDS).fit(TRAIN)
    whole, part = encoder.encode(TRAIN), encoder.encode(TRAIN[["vip", "user"]], ["vip", "user"])
    assert part.x is None and part.starts.tolist() == [0, 1]
    assert part.ids.tolist() == whole.ids[:, [5, 0]].tolist()


def test_fit_on_several_tables_of_different_length():
    users = pd.DataFrame({"user": ["u", "v", "w"], "age": [20, 30, 40.0]})
    items = {"item": [5, 6], "genres": [["a"], ["b", "a"]]}
    encoder = TableEncoder().fit(users, items)
    assert encoder.field_names == ["user", "age", "item", "genres"]
    joined = {"user": ["w"], "age": [30.0], "item": [6], "genres": ["b"]}
    ids = encoder.encode(joined).ids[0].tolist()
    parts = [encoder.encode(users[2:], ["user"]), encoder.encode({"item": [6]}, ["item"])]
    assert [ids[0], ids[2]] == [part.ids[0, 0] for part in parts]
    ordered = TableEncoder(["item", Numerical("age")]).fit(users, items)
    assert ordered.field_names == ["item", "age"]
    with pytest.raises(ValueError, match="column 'user' occurs more than once"):
        TableEncoder(["user"]).fit(users, users)


def test_a_second_fit_forgets_the_first():
    encoder = TableEncoder(["user"]).fit(TRAIN)
    assert encoder.fit({"user": ["new"]}) is encoder
    assert encoder.feature_names("user") == ["(unknown)", "(missing)", "new"]


def test_no_rows_encode_to_no_slots_but_cannot_be_learned():
    encoder = TableEncoder(FIELDS).fit(TRAIN)
    slots = encoder.encode(TRAIN[:0])
    assert slots.ids.shape == slots.x.shape == (0, 5) and slots.n_fields == 5
    assert encoder.encode({name: [] for name in TRAIN}).ids.shape == (0, 5)
    assert encoder.unknown_rate(TRAIN[:0]).tolist() == [0.0] * 5
    with pytest.raises(ValueError, match="column 'user' has no rows"):
        TableEncoder(FIELDS).fit(TRAIN[:0])


def test_describe_and_unknown_rate():
    encoder = TableEncoder([Categorical("user", min_count=2), *FIELDS[1:],
                            Numerical("n", bins=[2])])
    description = encoder.fit(TRAIN.assign(n=[1, 2, 3, 4, None])).describe()
    assert description.to_dict("list") == {
        "field": ["user", "hour", "price", "genres", "vip", "n"],
        "kind": ["categorical", "categorical", "numerical", "multi-valued", "categorical",
                 "binned"],
        "values": [1, 4, 1, 3, 2, 2],
        "unknown": [0.5, 0, 0, 0, 0, 0],
        "missing": [pytest.approx(share) for share in (0.2, 0, 0.2, 0.2, 0, 0.2)]}
    rates = encoder.unknown_rate({"user": ["ann", "zoe", None, "bob"], "hour": [1, 2, 3, 4.5],
                                  "price": [9, NAN, 0, 0], "vip": [True] * 4, "n": [1, 2, 3, 4],
                                  "genres": ["War|x", "x|x|x", "War", None]})
    assert rates.to_dict() == {"user": 0.5, "hour": 0.25, "price": 0, "vip": 0, "n": 0,
                               "genres": pytest.approx(1.5 / 4)}


@pytest.mark.parametrize("fields, table, error, message", [
    (None, {}, ValueError, "at least one field"),
    ([], {"a": [1]}, ValueError, "at least one field"),
    ("a", {"a": [1]}, ValueError, "fields must be a list"),
    (Categorical("a"), {"a": [1]}, ValueError, "fields must be a list"),
    (["b"], {"a": [1]}, ValueError,
     r"column 'b' is among the fields but not in the table; got \['a'\]"),
    (["a", Categorical("a")], {"a": [1]}, ValueError, "column 'a' occurs more than once"),
    (None, pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "'a' occurs more than once"),
    (["b", "a"], {"a": [1, 2], "b": [1]}, ValueError, "'b' has 1 rows, 'a' has 2"),
    (None, {1: [1]}, TypeError, "a column name .* not 1; .*astype"),
    (None, pd.DataFrame([[1]]), TypeError, "not 0; .*astype"),
    ([Categorical(3)], {"a": [1]}, TypeError, "not 3"),
    ([["a"]], {"a": [1]}, TypeError, "not"),
    (None, np.ones((2, 2)), TypeError, r"got ndarray; .*pd.DataFrame\(array"),
    (None, [[1]], TypeError, "got list"),
    (None, {"a": np.ones((2, 2))}, ValueError, r"column 'a' has shape \(2, 2\)"),
    (None, {"a": pd.DataFrame({"x": [1], "y": [1]})}, ValueError, "'a' is in the table 2 times"),
    (None, {"a": "text"}, TypeError, "column 'a' must be a list, array or Series .* got str"),
    (None, {"a": 5}, TypeError, "got int"),
    (None, {"a": {1, 2}}, TypeError, "got set"),
    (None, {"a": {"x": 1}}, TypeError, "got dict"),
    (None, {"a": np.array(5)}, TypeError, "column 'a' must be"),
    ([Categorical("a", buckets=2**31)], {"a": [1]}, ValueError, "but int32 holds"),
])
def test_tables_that_cannot_be_learned(fields, table, error, message):
    with pytest.raises(error, match=message):
        TableEncoder(fields).fit(table)


@pytest.mark.parametrize("table, fields, error, message", [
    ({"user": ["a"], "ad": ["b"]}, None, ValueError,
     r"column 'hour' was in fit but is missing here; got \['user', 'ad'\]"),
    ({"user": ["a"], "hour": [1, 2]}, ["user", "hour"], ValueError, "'user' has 1 rows, 'hour'"),
    (TRAIN, ["nope"], ValueError, r"'nope' is not one of the fields \['user', 'hour', 'price'"),
    (TRAIN, [], ValueError, "fields is empty"),
    (TRAIN.to_numpy(), None, TypeError, "got ndarray"),
    (pd.concat([TRAIN, TRAIN], axis=1), None, ValueError, "column 'user' is in the table 2 times"),
])
def test_tables_that_cannot_be_encoded(table, fields, error, message):
    with pytest.raises(error, match=message):
        TableEncoder(FIELDS).fit(TRAIN).encode(table, fields)


def test_an_encoder_that_has_not_been_fitted_says_so():
    for use in (lambda e: e.n_ids, lambda e: e.encoders, lambda e: e.field_names, lambda e: e.offsets,
                lambda e: e.encode(TRAIN), lambda e: e.get_state()):
        with pytest.raises(ValueError, match="call fit first"):
            use(TableEncoder())
    assert not hasattr(TableEncoder(), "nonsense") and copy.deepcopy(TableEncoder(FIELDS)).fields == FIELDS
    with pytest.raises(ValueError, match="'x' is not one of the fields"):
        TableEncoder(FIELDS).fit(TRAIN).feature_names("x")


@st.composite
def tables(draw):
    """A table with a column of every kind, all of one length."""
    n = draw(st.integers(1, 9))

    def column(values):
        return draw(st.lists(st.none() | values, min_size=n, max_size=n))

    return {"t": pd.Series(column(st.sampled_from(["a", "b", "c", ""])), dtype=object),
            "i": pd.Series(column(st.integers(-2, 2)), dtype=object),
            "h": pd.Series(column(st.integers(0, 9)), dtype="Int64"),
            "n": pd.Series(column(st.integers(-40, 40)), dtype=float) / 8,
            "q": pd.Series(column(st.integers(-40, 40)), dtype="Float64") / 8,
            "m": pd.Series(column(st.sampled_from(["a", "a|b", "b|b|c", ""])), dtype=object),
            "l": pd.Series(column(st.lists(st.integers(0, 3), max_size=3)), dtype=object)}


PROPERTY_FIELDS = [Categorical("t"), Categorical("i", min_count=2), Categorical("h", buckets=3),
                   Numerical("n", "standard"), Numerical("q", bins=3), MultiValued("m"),
                   MultiValued("l")]


def fit_or_none(table):
    """The encoder of a table; None if a column has only missing values."""
    try:
        return TableEncoder(PROPERTY_FIELDS).fit(table)
    except ValueError as error:
        assert "only missing values" in str(error)
        return None


@examples(100)
@given(tables(), tables(), st.randoms(use_true_random=False))
def test_a_row_is_encoded_the_same_alone_in_any_order_and_in_any_block(train, here, random):
    encoder = fit_or_none(train)
    if encoder is None:
        return
    slots = encoder.encode(here)
    whole = weights_by_id(slots)
    order = list(range(len(here["t"])))
    random.shuffle(order)
    shuffled = {name: column.iloc[order] for name, column in here.items()}
    assert weights_by_id(encoder.encode(shuffled)) == [whole[row] for row in order]
    for row in order:
        alone = {name: column.iloc[row:row + 1] for name, column in here.items()}
        assert weights_by_id(encoder.encode(alone)) == [whole[row]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK", 2)
        in_blocks = encoder.encode(here)
        assert np.array_equal(in_blocks.ids, slots.ids) and np.array_equal(in_blocks.x, slots.x)
        assert same_state(TableEncoder(PROPERTY_FIELDS).fit(train), encoder)


@examples(100)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_training_rows_does_not_matter(train, random):
    encoder = fit_or_none(train)
    if encoder is None:
        return
    order = list(range(len(train["t"])))
    random.shuffle(order)
    again = TableEncoder(PROPERTY_FIELDS).fit({name: c.iloc[order] for name, c in train.items()})
    for name in ("t", "i", "q", "m", "l"):
        assert again.feature_names(name) == encoder.feature_names(name)
    np.testing.assert_allclose(again.encode(train).x, encoder.encode(train).x, rtol=1e-4, atol=1e-6)
    assert np.array_equal(again.encode(train).ids, encoder.encode(train).ids)


def test_a_reader_steps_through_few_functions_a_column():
    """What all fields share is worked out when they are learned, and a column takes no helper more than it needs."""
    table = pd.DataFrame({f"f{number}": ["a", "b", "a"] for number in range(20)})
    encoder = TableEncoder().fit(table)
    one, two, twenty = (calls(lambda n=n: encoder.encode(table, table.columns[:n])) for n in (1, 2, 20))
    assert two - one <= 3 and twenty - one == 19 * (two - one)
    one_learned, twenty_learned = (calls(lambda n=n: TableEncoder().fit(table.iloc[:, :n])) for n in (1, 20))
    assert twenty_learned - one_learned <= 19 * 7
    alone = TableEncoder(["f0"]).fit(table)
    assert calls(lambda: alone.encode(table, ["f0"])) == one
    assert calls(lambda: (encoder.n_ids, encoder.field_names, encoder.offsets, encoder.encoders)) == 0
    cells = pd.DataFrame({"m": [["a", "b"]] * 50, "few": [["a", "b"]] * 50})
    lists = TableEncoder().fit(cells)
    assert calls(lambda: lists.encode(cells)) == calls(lambda: lists.encode(cells[:2]))
