"""Categorical columns: which values get which ids, hashing, and counting in bounded memory."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from encoders import NAN, encode, fitted, reload, same_state
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from tables import pieces_of

from minictr.fields import Categorical, TableEncoder, categorical


def test_ids_are_unknown_then_missing_then_the_sorted_values():
    encoder = fitted(Categorical("c"), ["b", "a", None, "b"])
    assert encoder.feature_names("c") == ["(unknown)", "(missing)", "a", "b"]
    slots = encoder.encode({"c": ["a", "b", "z", None]})
    assert slots.ids.tolist() == [[2], [3], [0], [1]]
    assert slots.ids.dtype == np.int32 and slots.x is None


@pytest.mark.parametrize("missing", [None, NAN, pd.NaT, pd.NA])
@pytest.mark.parametrize("values", [["a", "b"], [1, 2], [True, False], [0.5, 1.5]])
def test_missing_has_the_id_1_whatever_stands_for_it(missing, values):
    encoder = fitted(Categorical("c"), values)
    column = pd.Series([values[0], missing, values[1]], dtype=object)
    assert encode(encoder, column)[1] == 1
    assert fitted(Categorical("c"), column).feature_names("c") == encoder.feature_names("c")


def test_a_missing_value_is_missing_also_when_fit_saw_none_and_an_empty_text_is_a_value():
    assert encode(fitted(Categorical("c"), ["a"]), [None, ""]) == [1, 0]
    assert encode(fitted(Categorical("c"), ["a", ""]), ["a", ""]) == [3, 2]


def test_values_rarer_than_min_count_are_unknown():
    encoder = fitted(Categorical("c", min_count=2), ["a", "b", "a", "c", "c", "c"])
    assert encoder.feature_names("c") == ["(unknown)", "(missing)", "a", "c"]
    assert encode(encoder, ["a", "b", "c"]) == [2, 0, 3]
    assert fitted(Categorical("c", min_count=9), ["a"]).n_ids == 2


TEXT_COLUMNS = [
    ["b", None, "a", "z"],
    pd.Series(["b", None, "a", "z"], dtype=object),
    pd.Series(["b", None, "a", "z"], dtype="string"),
    pd.Series(["b", None, "a", "z"], dtype="category"),
    pd.Series(["b", None, "a", "z"], index=[3, 3, 1, 0]),
    pd.Index(["b", None, "a", "z"]),
]
INT_COLUMNS = [
    [3.0, NAN, 1.0, 7.0],
    [3, None, 1, 7],
    pd.Series([3, None, 1, 7], dtype=object),
    pd.Series([3, None, 1, 7], dtype="Int64"),
    pd.Series([3, None, 1, 7], dtype="UInt8"),
    pd.Series([3, None, 1, 7], dtype="Float64"),
    pd.Series([3, None, 1, 7]).astype("category"),
    pd.Series([3, None, 1, 7], dtype="Int64").astype("category"),
    np.array([3, NAN, 1, 7], dtype=np.float16),
]
BOOL_COLUMNS = [
    [True, None, False, True],
    pd.Series([True, None, False, True], dtype=object),
    pd.Series([True, None, False, True], dtype="boolean"),
    pd.Series([True, None, False, True]).astype("category"),
]


@pytest.mark.parametrize("buckets", [None, 50])
@pytest.mark.parametrize("train, columns", [
    (["a", "b"], TEXT_COLUMNS), (np.array([1, 3], np.int16), INT_COLUMNS),
    (pd.Series([1, 3], dtype="Int64"), INT_COLUMNS), ([False, True], BOOL_COLUMNS),
])
def test_the_dtype_that_holds_a_value_does_not_matter(train, columns, buckets):
    encoder = fitted(Categorical("c", buckets=buckets), train)
    expected = encode(encoder, columns[0])
    assert expected[1] == 1 and expected[0] != expected[2] and min(expected[0], expected[2]) > 1
    for column in columns:
        assert encode(encoder, column) == expected
        learned = fitted(Categorical("c", buckets=buckets), column)  # and the other way round
        assert encode(learned, columns[0]) == encode(learned, column)


def test_text_and_booleans_of_any_dtype_give_the_same_vocabulary():
    for column in TEXT_COLUMNS:
        assert fitted(Categorical("c"), column).feature_names("c")[2:] == ["a", "b", "z"]
    for column in BOOL_COLUMNS:
        assert fitted(Categorical("c"), column).feature_names("c")[2:] == ["False", "True"]


@pytest.mark.parametrize("buckets", [None, 50])
def test_ints_and_floats_meet_only_where_they_are_equal(buckets):
    ints = fitted(Categorical("c", buckets=buckets), [0, 1, 2**53 + 1])
    assert encode(ints, [-0.0, 1.0]) == encode(ints, [0, 1])
    assert encode(ints, [1.5, 1e300, -2.0**63]) == [0, 0, 0]
    floats = fitted(Categorical("c", buckets=buckets), [0.0, 1.0, 2.5])
    assert encode(floats, [1, 0]) == encode(floats, [1.0, -0.0])
    assert encode(floats, pd.Series([1, 2.5], dtype=object)) == encode(floats, [1.0, 2.5])
    assert fitted(Categorical("c"), [-0.0]).feature_names("c")[2] == "0.0"


def test_large_ints_are_not_rounded():
    encoder = fitted(Categorical("c"), [2**53 + 1, -2**63, 2**63 - 1])
    assert encoder.feature_names("c")[2:] == [str(-2**63), str(2**53 + 1), str(2**63 - 1)]
    assert encode(encoder, [2**53, 2**53 + 1, 2**63 - 1]) == [0, 3, 4]
    assert encode(encoder, pd.Series([2**53 + 1, None], dtype=object)) == [3, 1]


@pytest.mark.parametrize("column", [[2**64], [-1, 2**70], [-1, 2**63], [-2**63 - 1]])
def test_ints_beyond_64_bits_are_refused(column):
    with pytest.raises(ValueError, match=r"column 'c' holds whole numbers beyond 64 bits.*astype"):
        fitted(Categorical("c"), column)
    with pytest.raises(ValueError, match="beyond 64 bits"):
        encode(fitted(Categorical("c"), [1]), column)


@pytest.mark.parametrize("train, here", [
    ([1, 2], ["1", "2"]), (["1"], [1]), ([True, False], [1, 0]), ([1, 0], [True, False]),
    ([0.5], ["0.5"]), (["a"], [True]), ([True], [1.0]), ([1.5], [False]),
])
@pytest.mark.parametrize("buckets", [None, 8])
def test_another_type_than_in_fit_is_an_error_not_a_table_of_unknowns(train, here, buckets):
    encoder = fitted(Categorical("c", buckets=buckets), train)
    message = r"column 'c' held \w+ values in fit but holds \w+ values here \(row 1: .*\.astype\("
    with pytest.raises(TypeError, match=message):
        encode(encoder, pd.Series([None, *here], dtype=object))


def test_mixed_types_are_an_error_at_encode_too():
    with pytest.raises(TypeError, match=r"str \(row 0: 'a'\) and int \(row 2: 5\)"):
        encode(fitted(Categorical("c"), ["a"]), ["a", "b", 5])


def test_infinite_categories_are_refused():
    with pytest.raises(ValueError, match="column 'c', row 1: inf is infinite"):
        fitted(Categorical("c"), [0.5, np.inf])
    for field in (Categorical("c"), Categorical("c", buckets=3)):
        with pytest.raises(ValueError, match="column 'c', row 2: -inf is infinite"):
            encode(fitted(field, [1, 2]), [1.0, NAN, -np.inf])


def test_hashed_values_get_ids_of_their_buckets():
    values = [f"user {number}" for number in range(500)]
    encoder = fitted(Categorical("c", buckets=16), values)
    assert encoder.n_ids == 18
    ids = encode(encoder, [*values, "never seen", None])
    assert set(ids[:-2]) == set(range(2, 18)) and 2 <= ids[-2] < 18 and ids[-1] == 1
    assert encoder.feature_names("c")[:3] == ["(unknown)", "(missing)", "bucket 0"]
    assert encode(fitted(Categorical("c", buckets=16), ["only this"]), values) == ids[:-2]


def test_hashes_and_sets_are_the_same_in_every_process():
    program = (
        "import pandas as pd\n"
        "from minictr.fields import *\n"
        "fields = [Categorical('s', buckets=1000), Categorical('i', buckets=1000),\n"
        "          Categorical('f', buckets=1000), Categorical('b', buckets=1000),\n"
        "          MultiValued('m')]\n"
        "table = {'s': ['a', 'über', ''], 'i': [1, -2, 3], 'f': [0.5, -0.0, None],\n"
        "         'b': [True, False, None], 'm': [{'x', 'y', 'z', 'w'}, {'y', 'x'}, set()]}\n"
        "slots = TableEncoder(fields).fit(table).encode(table)\n"
        "print(slots.ids.tolist(), slots.x.tolist())\n")
    outputs = {subprocess.run([sys.executable, "-c", program], check=True, capture_output=True,
                              env=os.environ | {"PYTHONHASHSEED": seed}).stdout for seed in "017"}
    assert len(outputs) == 1 and outputs.pop()


def test_hashes_have_not_changed_since_models_were_saved():
    encoder = fitted(Categorical("c", buckets=1000), ["a"])
    assert encode(encoder, ["a", "b", "hello"]) == [506, 977, 345]
    assert encode(fitted(Categorical("c", buckets=1000), [1]), [1, 2, -3]) == [791, 732, 449]


TEXTS = st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=12)
INTS = st.lists(st.none() | st.integers(-2**63, 2**63 - 1), min_size=1, max_size=12)
FINITE = st.floats(allow_infinity=False, allow_nan=False)
FLOATS = st.lists(st.none() | FINITE.map(lambda v: v + 0.0), min_size=1, max_size=12)  # no -0.0
BOOLS = st.lists(st.none() | st.booleans(), min_size=1, max_size=12)


@examples(200)
@given(values=TEXTS | INTS | FLOATS | BOOLS, dtype=st.sampled_from([object, "category", None]))
def test_labels_give_back_what_was_encoded(values, dtype):
    present = [value for value in values if value is not None]
    if not present:
        return
    if dtype is None:  # the nullable dtype of the type
        dtype = {str: "string", int: "Int64", float: "Float64", bool: "boolean"}[type(present[0])]
    column = pd.Series(values, dtype=object).astype(dtype)
    encoder = fitted(Categorical("c"), column)
    labels = encoder.feature_names("c")
    decoded = [labels[id_] for id_ in encode(encoder, column)]
    assert decoded == ["(missing)" if value is None else str(value) for value in values]
    assert len(labels) == len(set(labels)) == 2 + len({v for v in present})
    assert encode(encoder, pd.Series(values, dtype=object)) == encode(encoder, column)
    loaded = reload(encoder)
    assert same_state(encoder, loaded) and encode(loaded, column) == encode(encoder, column)


def rare_and_frequent(n=20_000):
    """Half of the rows hold 50 values, the other half values seen once or twice."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random(n) < 0.5, rng.integers(0, 50, n), 1000 + rng.integers(0, n, n))
    return pd.DataFrame({"c": values.astype(str)})


def test_counting_is_exact_below_the_bound_and_bounded_above_it(monkeypatch):
    table, min_count = rare_and_frequent(), 3
    counts = table["c"].value_counts()
    exact = TableEncoder([Categorical("c", min_count=min_count)]).fit(iter(pieces_of(table, [700] * 20)))
    assert sorted(exact.encoders["c"].values) == sorted(counts[counts >= min_count].index)

    monkeypatch.setattr(categorical, "MAX_CANDIDATES", 1000)
    held, merge = [], categorical.CategoricalLearner.merge

    def watched(learner):
        merge(learner)
        held.append((len(learner.values), (learner.counts >= min_count).sum(), learner.lost))

    monkeypatch.setattr(categorical.CategoricalLearner, "merge", watched)
    monkeypatch.setattr(categorical.CategoricalLearner, "MERGE_AT", 500)
    with pytest.warns(UserWarning, match="column 'c' has very many rare values"):
        bounded = TableEncoder([Categorical("c", min_count=min_count)]).fit(iter(pieces_of(table, [700] * 30)))
    assert len(held) > 5 and all(n - frequent <= 1000 for n, frequent, _ in held)
    values, lost = set(bounded.encoders["c"].values), held[-1][2]
    assert 0 < lost <= 2 * len(table) / 1000
    assert values <= set(counts[counts >= min_count].index)
    assert values >= set(counts[counts >= min_count + lost].index)
    assert bounded.encoders["c"].unknown == pytest.approx(1 - counts[list(values)].sum() / len(table), abs=0.01)


def test_values_that_reached_min_count_are_never_forgotten(monkeypatch):
    monkeypatch.setattr(categorical, "MAX_CANDIDATES", 10)
    table = pd.DataFrame({"c": [f"{i}" for i in range(200) for _ in range(2)]})
    encoder = TableEncoder([Categorical("c", min_count=2)]).fit(iter(pieces_of(table, [40] * 9)))
    assert encoder.encoders["c"].n_values == 200


def test_every_value_is_kept_where_all_are_wanted(monkeypatch):
    monkeypatch.setattr(categorical, "MAX_CANDIDATES", 10)
    table = pd.DataFrame({"c": [f"{i}" for i in range(200)]})
    assert TableEncoder(["c"]).fit(iter(pieces_of(table, [40] * 9))).encoders["c"].n_values == 200


# ---- whole numbers, looked up in a table ----------------------------------------------------------------

WIDTHS = {"int8": st.integers(-128, 127), "uint8": st.integers(0, 255), "int32": st.integers(-2 ** 31, 2 ** 31 - 1),
          "uint32": st.integers(0, 2 ** 32 - 1), "int64": st.integers(-2 ** 63, 2 ** 63 - 1)}


@given(st.data())
def test_whole_numbers_have_the_ids_of_the_same_numbers_as_objects(data):
    """The table and the search through the values, for learned numbers that lie close, and any to encode."""
    first, dtype = data.draw(st.integers(-300, 300)), data.draw(st.sampled_from(list(WIDTHS)))
    learned = pd.Series(data.draw(st.lists(st.integers(first, first + 20), min_size=1, max_size=20)))
    encoder = TableEncoder([Categorical("n", min_count=data.draw(st.integers(1, 2)))]).fit({"n": learned})
    near = st.integers(first - 5, first + 25)
    numbers = data.draw(st.lists(st.one_of(near, WIDTHS[dtype]).filter(
        lambda n: np.iinfo(dtype).min <= n <= np.iinfo(dtype).max), max_size=20))
    column = pd.Series(numbers, dtype=dtype)
    by_table, by_search = encoder.encode({"n": column}), encoder.encode({"n": column.astype(object)})
    np.testing.assert_array_equal(by_table.ids, by_search.ids)
    assert by_table.x is None


@pytest.mark.parametrize("values, has_table", [
    ([3, 4, 9], True), ([0, 13], False), ([-2 ** 63, -2 ** 63 + 1], False), ([2 ** 63 - 2, 2 ** 63 - 1], False),
    ([-2 ** 63 + 1, -2 ** 63 + 2], True), ([-2 ** 63, 2 ** 63 - 1], False)])
def test_a_table_is_as_long_as_it_is_worth(values, has_table):
    column = pd.Series(values, dtype=np.int64)
    encoder = TableEncoder(["n"]).fit({"n": column})
    assert (encoder.encoders["n"]._ids_of_numbers is not None) == has_table
    ends = pd.Series([*values, -2 ** 63, 0, 2 ** 63 - 1], dtype=np.int64)
    expected = [2 + values.index(n) if n in values else 0 for n in ends]
    assert encoder.encode({"n": ends}).ids[:, 0].tolist() == expected


def test_a_loaded_encoder_looks_numbers_up_too():
    encoder = TableEncoder(["n"]).fit({"n": [5, 7, 7]})
    loaded = TableEncoder.from_state(*encoder.get_state())
    assert loaded.encoders["n"]._ids_of_numbers is not None
    assert loaded.encode({"n": [7, 6, 5]}).ids[:, 0].tolist() == [3, 0, 2]
