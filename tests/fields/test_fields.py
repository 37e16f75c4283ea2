"""Fields: every rule of turning columns into slots, and every way in which a table can be wrong."""

import copy
import datetime
import decimal
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from minictr.fields import Categorical, MultiValued, Numerical, TableEncoder, infer_field, reading

NAN = float("nan")


def fitted(field, column):
    """A TableEncoder of one field, fitted to one column."""
    return TableEncoder([field]).fit({field.name: column})


def encode(encoder, column):
    """The ids of a column (one slot a row) that is encoded by an encoder of one field."""
    return encoder.encode({encoder.field_names[0]: column}).ids[:, 0].tolist()


def weights_by_id(slots):
    """Each row as {global id: summed weight}, so that the padding does not matter."""
    x = np.ones(slots.ids.shape) if slots.x is None else slots.x
    rows = []
    for row_ids, row_x in zip(slots.ids.tolist(), x.tolist(), strict=True):
        row = {}
        for id_, weight in zip(row_ids, row_x, strict=True):
            if weight:
                row[id_] = row.get(id_, 0) + weight
        rows.append(row)
    return rows


def calls(function):
    """How many of the library's functions `function()` enters: what a reader with a debugger steps through."""
    entered = []

    def watch(frame, event, arg):
        if event == "call" and frame.f_globals.get("__name__", "").startswith("minictr."):
            entered.append(frame.f_code.co_name)

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return len(entered)


def reload(encoder):
    """The encoder after a trip through JSON and a NumPy file that may not hold objects."""
    state, arrays = encoder.get_state()
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return TableEncoder.from_state(json.loads(json.dumps(state, allow_nan=False)), dict(stored))


def same_state(one, other):
    """Whether two encoders have learned exactly the same."""
    (state, arrays), (other_state, other_arrays) = one.get_state(), other.get_state()
    return state == other_state and arrays.keys() == other_arrays.keys() and all(
        arrays[name].dtype == other_arrays[name].dtype
        and np.array_equal(arrays[name], other_arrays[name]) for name in arrays)


# -------------------------------------------------------------------------------------------- specs

def test_fields_print_like_their_constructor_call():
    assert repr(Categorical("user")) == "Categorical('user')"
    assert repr(Categorical("user", buckets=64)) == "Categorical('user', buckets=64)"
    assert repr(Numerical("age", bins=(1, 2.5))) == "Numerical('age', bins=[1, 2.5])"
    fields = [Categorical("a", 3), Numerical("b", "minmax"), MultiValued("c", ";", buckets=5),
              Numerical("d", bins=4)]
    for field in fields:
        assert eval(repr(field)) == field


def test_fields_are_equal_when_kind_and_arguments_are():
    assert Categorical("a", min_count=2) == Categorical("a", min_count=np.int64(2))
    assert Categorical("a") != Categorical("a", min_count=2)
    assert Categorical("a") != MultiValued("a")
    assert Categorical("a") != "a"
    assert Numerical("a", bins=np.array([1.0, 2.0])) == Numerical("a", bins=[1, 2])
    assert Numerical("a", bins=np.array([1.0, 2.0])) != Numerical("a", bins=[1, 3])


def test_fit_leaves_fields_alone_so_that_models_can_share_them():
    fields = [Categorical("a"), Numerical("b", "standard"), MultiValued("c"),
              Numerical("d", bins=2)]
    before = copy.deepcopy(fields)
    one = TableEncoder(fields).fit({"a": ["x", "x"], "b": [1.0, 2], "c": ["p|q", "r"], "d": [1, 2]})
    two = TableEncoder(fields).fit({"a": ["y", "z"], "b": [3.0, 4], "c": ["r", "r"], "d": [3, 4]})
    assert fields == before and [vars(f) for f in fields] == [vars(f) for f in before]
    assert one.feature_names("a") == ["(unknown)", "(missing)", "x"]
    assert two.feature_names("a") == ["(unknown)", "(missing)", "y", "z"]


@pytest.mark.parametrize("field, message", [
    (Categorical("c", min_count=0), "min_count must be a whole number >= 1"),
    (Categorical("c", min_count=1.5), "min_count must be"),
    (Categorical("c", min_count=True), "min_count must be"),
    (Categorical("c", buckets=0), "buckets must be a whole number >= 1"),
    (Categorical("c", min_count=2, buckets=8), "give min_count or buckets"),
    (MultiValued("c", min_count="2"), "min_count must be"),
    (MultiValued("c", sep=""), "sep must be text"),
    (MultiValued("c", sep=None), "sep must be text"),
    (Numerical("c", transform="log"), "transform must be one of None, 'standard'"),
    (Numerical("c", bins=1), "bins must be a whole number >= 2"),
    (Numerical("c", bins=2.5), "bins must be a whole number"),
    (Numerical("c", bins=[]), "increasing, finite"),
    (Numerical("c", bins=[1, 1]), "increasing, finite"),
    (Numerical("c", bins=[1, NAN]), "increasing, finite"),
    (Numerical("c", bins=[1, "2"]), "increasing, finite"),
    (Numerical("c", bins=[[1], [2, 3]]), "increasing, finite"),
    (Numerical("c", transform="standard", bins=2), "give one of the two"),
])
def test_arguments_that_make_no_sense_are_refused_at_fit(field, message):
    with pytest.raises(ValueError, match=message):
        fitted(field, ["1"])


# ---------------------------------------------------------------------------------------- inferring

@pytest.mark.parametrize("column, expected", [
    (["a", None], Categorical("c")),
    (pd.Series(["a", None], dtype=object), Categorical("c")),
    (pd.Series(["a", None], dtype="string"), Categorical("c")),
    (np.array(["a", "bc"]), Categorical("c")),
    ([1, 2], Categorical("c")),
    (pd.Series([1, None], dtype="Int64"), Categorical("c")),
    (pd.Series([1, pd.NaT, 2], dtype=object), Categorical("c")),
    ([True, False], Categorical("c")),
    ([True, None], Categorical("c")),
    (pd.Series([0.5, 1.5]).astype("category"), Categorical("c")),
    ([1.0, 2.0], Numerical("c", transform="standard")),
    (pd.Series([0.5, None], dtype="Float64"), Numerical("c", transform="standard")),
    (pd.Series([1, 2.5, None], dtype=object), Numerical("c", transform="standard")),
    ([None, ["a"], []], MultiValued("c")),
    ([("a", "b"), ()], MultiValued("c")),
    (pd.Series([{"a"}, {"b"}]), MultiValued("c")),
])
def test_infer_field(column, expected):
    assert infer_field("c", column) == expected


@pytest.mark.parametrize("column, message", [
    (pd.to_datetime(["2020-01-01"]), r"column 'c' holds Timestamp \(row 0: .*\.dt\.hour and"),
    (pd.to_datetime(["2020-01-01"]).tz_localize("UTC"), r"\.dt\.hour"),
    (pd.Series([datetime.date(2020, 1, 1)]), r"holds date .*\.dt\.hour"),
    (pd.to_timedelta([1], unit="s"), r"\.dt\.hour"),
    (pd.period_range("2020", periods=2, freq="D"), r"\.dt\.hour"),
    ([1j], "holds complex"),
    ([1, "a", 2], r"int \(row 0: 1\) and str \(row 1: 'a'\).*\.astype\(str\)"),
    ([None, 1.5, "a"], r"float \(row 1: 1.5\) and str \(row 2: 'a'\)"),
    (pd.Series([1, True], dtype=object), "int .* and bool"),
    ([b"a"], r"holds bytes .*\.str\.decode\('utf-8'\)"),
    ([decimal.Decimal("1.5")], r"holds Decimal .*\.astype\(float\)"),
    (pd.cut(pd.Series([1, 2, 3]), 2), "holds Interval"),
])
@pytest.mark.parametrize("read", [infer_field,
                                  lambda name, column: fitted(Categorical(name), column)])
def test_values_that_no_field_holds_are_refused_with_advice(read, column, message):
    with pytest.raises(TypeError, match=message):
        read("c", column)


def test_lists_in_a_categorical_are_refused_with_advice():
    with pytest.raises(TypeError, match=r"holds list \(row 0: \['a'\]\).*is a MultiValued"):
        fitted(Categorical("c"), [["a"], ["b"]])


# -------------------------------------------------------------------------------------- categorical

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


@pytest.mark.parametrize("column", [[2**63], [-1, 2**70], np.array([2**64 - 1], np.uint64)])
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


NOTHING = [
    [None, None], [NAN, NAN], pd.Series([None, None], dtype="Int64"),
    pd.Series([pd.NaT, None], dtype=object), pd.Series([None, None], dtype="string"),
    pd.Series([None, None], dtype="boolean"), pd.Series([None, None]).astype("category"),
]


@pytest.mark.parametrize("column", NOTHING)
@pytest.mark.parametrize("train", [["a"], [1], [0.5], [True]])
def test_a_column_of_missing_values_has_no_type_to_be_wrong(train, column):
    assert encode(fitted(Categorical("c"), train), column) == [1, 1]
    assert encode(fitted(MultiValued("c"), [train]), column) == [1, 1]


@pytest.mark.parametrize("field", [Categorical("c"), Categorical("c", buckets=3), MultiValued("c"),
                                   Numerical("c"), Numerical("c", bins=2)])
def test_a_training_column_without_values_is_refused(field):
    for column in NOTHING:
        with pytest.raises(ValueError, match="column 'c' has only missing values"):
            fitted(field, column)
    with pytest.raises(ValueError, match="column 'c' has only missing values"):
        fitted(MultiValued("c"), [[], None, [None]])


def test_infinite_categories_are_refused():
    with pytest.raises(ValueError, match="column 'c', row 1: inf is infinite"):
        fitted(Categorical("c"), [0.5, np.inf])
    with pytest.raises(ValueError, match="column 'c', row 2: -inf is infinite"):
        encode(fitted(Categorical("c"), [1, 2]), [1.0, NAN, -np.inf])


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


# ------------------------------------------------------------------------------------ multi-valued

def multi(train, here, **options):
    """Local ids and weights of a multi-valued column."""
    slots = fitted(MultiValued("c", **options), train).encode({"c": here})
    return slots.ids.tolist(), slots.x.tolist()


def test_a_cell_of_q_values_is_q_slots_of_weight_1_over_q():
    ids, x = multi(["b|a", "c"], ["a|b|c|c", "c", "b|z", None, ""])
    assert ids == [[2, 3, 4, 4], [4, 1, 1, 1], [3, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert x == [[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("here", [
    ["b|a", "a", "z|z", None],
    pd.Series(["b|a", "a", "z|z", None], dtype=object),
    pd.Series(["b|a", "a", "z|z", None], dtype="string"),
    pd.Series(["b|a", "a", "z|z", None], dtype="category"),
    [["b", "a"], ["a"], ["z", "z"], []],
    [("b", "a"), ("a",), ("z", "z"), None],
    pd.Series([np.array(["b", "a"]), ["a"], "z|z", NAN], dtype=object),
    pd.Series([["b", None, "a"], ["a", NAN], ["z", "z"], [None]], dtype=object),
    ["b||a|", "|a", "z|z", "|"],
])
def test_lists_and_texts_in_any_form_are_the_same(here):
    assert multi(["a|b"], here) == ([[3, 2], [2, 1], [0, 0], [1, 1]],
                                    [[0.5, 0.5], [1, 0], [0.5, 0.5], [1, 0]])


def test_sets_are_taken_in_a_fixed_order():
    assert multi([["a", "b"]], [{"b", "a"}, frozenset(["b"]), set()]) == (
        [[2, 3], [3, 1], [1, 1]], [[0.5, 0.5], [1, 0], [1, 0]])


def test_multi_valued_ints_and_separators():
    assert multi([[1, 20], [3]], [[20, 3], (1.0,)])[0] == [[4, 3], [2, 1]]
    assert multi(["a, b"], ["b, a|c"], sep=", ")[0] == [[3, 0]]
    assert multi(["a.b"], ["b.a"], sep=".")[0] == [[3, 2]]


def test_min_count_of_a_multi_valued_field_counts_occurrences():
    encoder = fitted(MultiValued("c", min_count=3), ["a|b", "a|b", "a|c|c|c", None])
    assert encoder.feature_names("c") == ["(unknown)", "(missing)", "a", "c"]
    assert encoder.describe().loc[0, ["unknown", "missing"]].tolist() == [2 / 8, 1 / 4]


def test_multi_valued_hashing_is_that_of_a_categorical():
    one = fitted(Categorical("c", buckets=99), ["a"])
    many = fitted(MultiValued("c", buckets=99), ["a"])
    assert many.encode({"c": ["x|y"]}).ids[0].tolist() == encode(one, ["x", "y"])


def test_the_fullest_cell_of_a_table_decides_the_number_of_slots():
    encoder = TableEncoder(["a", MultiValued("m"), "b"])
    encoder.fit({"a": ["u"], "m": ["p|q|r"], "b": ["v"]})
    for cells, width in ((["p", None], 1), (["p|q", "r"], 2), (["p", "z|z|z|z"], 4)):
        slots = encoder.encode({"a": ["u", "u"], "m": cells, "b": ["v", "v"]})
        assert slots.n_slots == 2 + width and slots.starts.tolist() == [0, 1, 1 + width]


@pytest.mark.parametrize("column", [[5, 6], [["a"], 5], [["a"], {"k": 1}]])
def test_multi_valued_cells_that_are_neither_text_nor_lists_are_refused(column):
    with pytest.raises(TypeError, match=r"column 'c' is MultiValued: a row holds text like 'a\|b'"):
        fitted(MultiValued("c"), column)


def test_multi_valued_cells_of_wrong_values_are_refused():
    with pytest.raises(TypeError, match=r"int \(row 1: 1\) and str \(row 2: 'a'\)"):
        fitted(MultiValued("c"), [[], [1], [2, "a"]])
    with pytest.raises(TypeError, match=r"column 'c' held int values in fit .*\(row 1: '4'\)"):
        fitted(MultiValued("c"), [[1, 2]]).encode({"c": [None, "4|5", "4|5"]})
    with pytest.raises(ValueError, match="column 'c', row 1: inf is infinite"):
        fitted(MultiValued("c"), [[1.5, 2.5], [np.inf]])


# ---------------------------------------------------------------------------------------- numerical

def numerical(train, here, **options):
    """Local ids and x of a numerical column."""
    slots = fitted(Numerical("c", **options), train).encode({"c": here})
    return slots.ids[:, 0].tolist(), slots.x[:, 0].tolist()


def test_a_number_is_the_weight_of_the_fields_one_vector():
    assert numerical([1.0, 2.0], [3.5, -1, 0]) == ([0, 0, 0], [3.5, -1, 0])
    assert fitted(Numerical("c"), [1.0]).n_ids == 1


def test_missing_numbers_have_a_vector_only_if_fit_saw_one():
    assert numerical([1.0, 2.0], [3.5, None]) == ([0, 0], [3.5, 0])
    assert numerical([1.0, NAN], [3.5, None]) == ([0, 1], [3.5, 1])
    encoder = fitted(Numerical("c"), [1.0, NAN])
    assert encoder.n_ids == 2 and encoder.feature_names("c") == ["(number)", "(missing)"]


def test_transforms():
    train = np.array([1.0, 2, 4, 9])
    here = np.array([1.0, 4, 20])
    x = numerical(train, here, transform="standard")[1]
    np.testing.assert_allclose(x, (here - train.mean()) / train.std(), rtol=1e-6)
    np.testing.assert_allclose(numerical(train, here, transform="minmax")[1], [0, 3 / 8, 19 / 8])
    z = [-5.0, 0, 2, 2.5, np.e, np.e**3]
    expected = [-5, 0, 2, np.log(2.5) ** 2, 1, 9]
    for transform in ("log_squared", "log2"):
        np.testing.assert_allclose(numerical(train, z, transform=transform)[1], expected, rtol=1e-6)


@pytest.mark.parametrize("transform", ["standard", "minmax"])
def test_a_constant_column_becomes_0(transform):
    assert numerical([0.1, 0.1, 0.1], [0.1, NAN], transform=transform)[1] == [0, 0]


def test_missing_numbers_do_not_disturb_the_transform():
    with_missing = fitted(Numerical("c", "standard"), [1.0, NAN, 2, 4, None])
    without = fitted(Numerical("c", "standard"), [1.0, 2, 4])
    here = {"c": [1.0, 7]}
    assert with_missing.encode(here).x.tolist() == without.encode(here).x.tolist()


@pytest.mark.parametrize("column", [
    [1, 0, None], pd.Series([1, 0, None], dtype=object), pd.Series([1, 0, None], dtype="Int8"),
    pd.Series([1, 0, None], dtype="Float32"), pd.Series([True, False, None], dtype="boolean"),
    pd.Series([True, False, None], dtype=object), pd.Series(["1", "0.0", None]),
    pd.Series(["1", " 0", None], dtype=object), pd.Series(["1", "0", None], dtype="string"),
    pd.Series([1, 0, None]).astype("category"), pd.Series(["1", "0", None]).astype("category"),
    pd.Series([decimal.Decimal(1), 0, pd.NA], dtype=object), np.array([1, 0, NAN], np.float16),
    pd.Series([1, 0, pd.NaT], dtype=object),
])
def test_numbers_are_read_from_any_dtype(column):
    for train in ([5.0, NAN], column):
        assert numerical(train, column) == ([0, 0, 1], [1, 0, 1])
        assert encode(fitted(Numerical("c", bins=[0.5]), train), column) == [3, 2, 1]


@pytest.mark.parametrize("column, error, message", [
    (["1", "x7", "y"], ValueError, "column 'c', row 1: 'x7' is not a number"),
    ([1, None, "abc"], ValueError, "column 'c', row 2: 'abc' is not a number"),
    ([1.0, [2]], ValueError, r"column 'c', row 1: \[2\] is not a number"),
    ([1.0, -np.inf, np.inf], ValueError, "column 'c', row 1: -inf is infinite"),
    (["1", "inf"], ValueError, "column 'c', row 1: 'inf' is infinite"),
    ([1.0, 1e39], ValueError, "column 'c', row 1: 1e[+]39 is too large for float32"),
    (pd.to_datetime(["2020-01-01"]), TypeError, "column 'c' holds Timestamp .*dt.hour"),
    (pd.to_timedelta([1], unit="s"), TypeError, "column 'c' holds Timedelta"),
    (np.array([1j]), TypeError, "column 'c' holds complex"),
    (pd.Series([1j, 2], dtype=object), TypeError, "column 'c', rows 0 to 1, .* some are complex"),
    (pd.Series([10**400, 1], dtype=object), TypeError, "column 'c', rows 0 to 1, cannot be read"),
])
def test_what_is_no_number_is_refused_with_its_row(column, error, message):
    encoder = fitted(Numerical("c"), [1.0])
    with pytest.raises(error, match=message):
        encoder.encode({"c": column})
    if "float32" not in message:
        with pytest.raises(error, match=message):
            fitted(Numerical("c", bins=2), column)


def test_numbers_too_far_apart_to_scale_are_refused():
    for transform, train in (("standard", [-1e300, 1e300]), ("minmax", [-1.7e308, 1.7e308]),
                             ("standard", [0, 1e-200])):
        with pytest.raises(ValueError, match=r"column 'c' with numbers from .* cannot be scaled"):
            fitted(Numerical("c", transform), train)


def test_given_edges_make_one_bin_more():
    encoder = fitted(Numerical("c", bins=[18, 30.5]), [20.0])
    assert encoder.feature_names("c")[2:] == ["< 18", "18 to < 30.5", ">= 30.5"]
    slots = encoder.encode({"c": [-1e300, 17.9, 18, 30, 30.5, 1e300, NAN]})
    assert slots.x is None and slots.ids[:, 0].tolist() == [2, 2, 3, 3, 4, 4, 1]
    assert encode(fitted(Numerical("c", bins=np.array([18, 30.5])), [20.0]), [17, 19]) == [2, 3]


def test_a_number_of_bins_splits_the_training_rows_evenly():
    column = np.random.default_rng(0).normal(size=1000)
    encoder = fitted(Numerical("c", bins=5), column)
    assert encoder.n_ids == 7
    assert np.bincount(encode(encoder, column)).tolist() == [0, 0, 200, 200, 200, 200, 200]


def test_bins_that_would_be_empty_in_training_are_left_out():
    column = [0.0] * 90 + [1, 2, 3, 4, 5, 6, 7, 8, 9, NAN]
    encoder = fitted(Numerical("c", bins=20), column)
    assert set(encode(encoder, column)) == set(range(1, encoder.n_ids))
    constant = fitted(Numerical("c", bins=4), [7.0, 7.0])
    assert constant.feature_names("c") == ["(unknown)", "(missing)", "any number"]
    assert encode(constant, [-1.0, 7, 8, None]) == [2, 2, 2, 1]


# ------------------------------------------------------------------------------------------- tables

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


# -------------------------------------------------------------------------------------------- state

ALL_KINDS = [Categorical("text"), Categorical("int", min_count=2), Categorical("float"),
             Categorical("bool"), Categorical("hashed", buckets=7), MultiValued("multi", sep=";"),
             MultiValued("lists", buckets=9), Numerical("number", "standard"), Numerical("plain"),
             Numerical("quantiles", bins=3), Numerical("edges", bins=(0, 1.5))]
ALL_COLUMNS = {
    "text": ["a", "über\0x", None, ""], "int": [1, 1, 2, -2**63], "float": [1.0, 0.1, NAN, 1e300],
    "bool": [True, False, None, True], "hashed": ["x", "y", "z", None],
    "multi": ["p;q", "q", None, "r;r"], "lists": [[1], [2, 3], [], None],
    "number": [0.1, 0.7, NAN, 3.0], "plain": [1, 2, 3, 4], "quantiles": [1.0, 2, 3, NAN],
    "edges": [0, 1, 2, 3]}


def test_a_saved_state_gives_the_same_encoder():
    encoder = TableEncoder(ALL_KINDS).fit(ALL_COLUMNS)
    loaded = reload(encoder)
    assert loaded.fields == ALL_KINDS and same_state(encoder, loaded)
    assert [loaded.feature_names(f.name) for f in ALL_KINDS] == \
        [encoder.feature_names(f.name) for f in ALL_KINDS]
    assert loaded.describe().equals(encoder.describe())
    here, there = encoder.encode(ALL_COLUMNS), loaded.encode(ALL_COLUMNS)
    assert np.array_equal(here.ids, there.ids) and np.array_equal(here.x, there.x)


def test_1_and_text_1_and_float_1_and_true_stay_distinct():
    values = {"int": 1, "str": "1", "float": 1.0, "bool": True}
    for kind, value in values.items():
        encoder = reload(fitted(Categorical("c"), [value]))
        assert encoder.feature_names("c")[2] == str(value)
        for other_kind, other in values.items():
            if {kind, other_kind} <= {"int", "float"} or kind == other_kind:
                assert encode(encoder, [other]) == [2]
            else:
                with pytest.raises(TypeError):
                    encode(encoder, [other])


def test_one_long_text_does_not_make_all_texts_long():
    _, arrays = fitted(Categorical("c"), ["x" * 100_000, *map(str, range(1000))]).get_state()
    assert sum(array.nbytes for array in arrays.values()) < 130_000
    assert all(array.dtype != object for array in arrays.values())


def damage(encoder, change):
    """A TableEncoder from the encoder's state after change(state, arrays)."""
    state, arrays = encoder.get_state()
    state, arrays = json.loads(json.dumps(state)), {name: a.copy() for name, a in arrays.items()}
    changed = change(state, arrays)
    return TableEncoder.from_state(*(changed or (state, arrays)))


def set_learned(number, name, value):
    def change(state, arrays):
        state["fields"][number]["learned"][name] = value
    return change


def set_param(number, name, value):
    def change(state, arrays):
        state["fields"][number]["params"][name] = value
    return change


def set_array(name, value):
    def change(state, arrays):
        arrays[name] = value
    return change


@pytest.mark.parametrize("change", [
    lambda state, arrays: ([], arrays),
    lambda state, arrays: (None, arrays),
    lambda state, arrays: ({}, arrays),
    lambda state, arrays: ({"fields": []}, arrays),
    lambda state, arrays: ({"fields": [5]}, arrays),
    lambda state, arrays: ({"fields": state["fields"] + state["fields"][7:8]}, arrays),
    lambda state, arrays: (state, {}),
    lambda state, arrays: state["fields"][0].update(type="Unheard"),
    lambda state, arrays: state["fields"][0].update(type=["Categorical"]),
    lambda state, arrays: state["fields"][0].pop("learned") and None,
    lambda state, arrays: state["fields"][0]["params"].pop("name") and None,
    set_param(0, "nonsense", 1), set_param(0, "name", 5), set_param(0, "min_count", 0),
    set_param(0, "min_count", "many"), set_param(4, "buckets", 2**40),
    set_param(7, "transform", []), set_param(7, "transform", "cube"),
    set_param(10, "bins", {"a": 1}), set_param(0, "name", "int"),
    set_learned(0, "kind", "complex"), set_learned(0, "kind", None),
    set_learned(0, "kind", ["str"]), set_learned(0, "kind", "empty"),
    set_learned(0, "kind", "int"), set_learned(1, "kind", "str"),
    set_learned(0, "missing", 2), set_learned(0, "missing", NAN), set_learned(0, "unknown", "0"),
    set_learned(7, "center", NAN), set_learned(7, "scale", 0), set_learned(7, "scale", 10**400),
    set_learned(7, "scale", None), set_learned(7, "missing", -0.1),
    set_array("0.text", np.array([255], np.uint8)), set_array("0.text", np.zeros(3)),
    set_array("0.lengths", np.array([1, 2], np.int64)),
    set_array("0.lengths", np.array([-1, 7, 1], np.int64)),
    set_array("0.lengths", np.array([2**62, 2**62, 2**62, 2**62 + 7], np.int64)),
    set_array("0.lengths", np.array([[0, 1, 6]], np.int64)),
    set_array("0.lengths", [0, 1, 6]),
    set_array("1.values", np.array([2, 1], np.int64)),
    set_array("1.values", np.array([1, 1], np.int64)),
    set_array("1.values", np.array([1.0])), set_array("1.values", np.array(["1"], object)),
    set_array("2.values", np.array([1.0, np.inf])), set_array("2.values", np.array([NAN])),
    set_array("9.edges", np.array([2.0, 1.0])), set_array("9.edges", np.array([NAN])),
    set_array("9.edges", np.array([1, 2])),
])
def test_a_damaged_state_is_refused(change):
    with pytest.raises(ValueError, match=r"the saved fields are damaged|but int32 holds"):
        damage(TableEncoder(ALL_KINDS).fit(ALL_COLUMNS), change)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["name", "kind"]), inner, max_size=3),
                    max_leaves=4)


@examples(150)
@given(st.data())
def test_any_damage_to_a_state_raises_value_error_or_does_no_harm(data):
    encoder = TableEncoder(ALL_KINDS).fit(ALL_COLUMNS)
    state, arrays = encoder.get_state()
    state = json.loads(json.dumps(state))
    place = data.draw(st.sampled_from(state["fields"]))
    place = data.draw(st.sampled_from([place, place["params"], place["learned"]]))
    place[data.draw(st.sampled_from(list(place)))] = data.draw(JSON)
    try:
        loaded = TableEncoder.from_state(state, arrays)
    except ValueError:
        return
    try:
        ids = loaded.encode({name: ALL_COLUMNS.get(name, ["a", "b", "c", None])
                             for name in loaded.field_names}).ids
    except (TypeError, ValueError):
        return
    assert 0 <= ids.min() <= ids.max() < loaded.n_ids


# --------------------------------------------------------------------------------------- properties

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


@examples(100)
@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), min_size=1, max_size=10),
       st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=5), min_size=1, max_size=10))
def test_multi_valued_weights_are_the_shares_of_the_values(train, here):
    if not any(train):
        return
    encoder = fitted(MultiValued("c"), train)
    labels = encoder.feature_names("c")
    slots = encoder.encode({"c": here})
    assert slots.n_slots == max(1, max(map(len, here)))
    for cell, weights in zip(here, weights_by_id(slots), strict=True):
        names = [v if v in labels else "(unknown)" for v in cell] or ["(missing)"]
        expected = {name: names.count(name) / len(names) for name in names}
        assert {labels[id_]: w for id_, w in weights.items()} == pytest.approx(expected, rel=1e-6)
    joined = encoder.encode({"c": ["|".join(cell) for cell in here]})
    assert np.array_equal(joined.ids, slots.ids) and np.array_equal(joined.x, slots.x)


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


def test_blocks_of_different_types_are_still_one_column(monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 2)
    column = pd.Series([1, 2, None, None, 2.5, 1], dtype=object)
    encoder = fitted(Categorical("c"), column)
    assert encoder.feature_names("c")[2:] == ["1.0", "2.0", "2.5"]
    assert encode(encoder, column) == [2, 3, 1, 1, 4, 2]
    with pytest.raises(TypeError, match="column 'c' mixes int and str values"):
        fitted(Categorical("c"), [1, 2, "a", "b"])
    with pytest.raises(TypeError, match=r"in fit but holds str values here \(row 2: 'a'\)"):
        encode(fitted(Categorical("c"), [1, 2]), pd.Series([1, 2, "a", "b"], dtype=object))
    with pytest.raises(ValueError, match="column 'c', row 3: 'x' is not a number"):
        fitted(Numerical("c"), ["1", "2", "3", "x"])
    with pytest.raises(ValueError, match="column 'c', row 3: inf is infinite"):
        fitted(MultiValued("c"), [[1.5], [2.5], [], [3.5, np.inf]])


def test_whole_numbers_with_gaps_are_said_to_be_taken_as_a_quantity():
    """pandas turns ids into floats as soon as one is missing."""
    with pytest.warns(UserWarning, match=r"column 'zip' .* Categorical\('zip'\)"):
        assert infer_field("zip", [10115.0, np.nan]) == Numerical("zip", transform="standard")


def test_a_reader_steps_through_few_functions_a_column():
    """What all fields share is worked out when they are learned, and a column takes no helper more than it needs."""
    table = pd.DataFrame({f"f{number}": ["a", "b", "a"] for number in range(20)})
    encoder = TableEncoder().fit(table)
    one, two, twenty = (calls(lambda n=n: encoder.encode(table, table.columns[:n])) for n in (1, 2, 20))
    assert two - one <= 3 and twenty - one == 19 * (two - one)
    alone = TableEncoder(["f0"]).fit(table)
    assert calls(lambda: alone.encode(table, ["f0"])) == one
    assert calls(lambda: (encoder.n_ids, encoder.field_names, encoder.offsets, encoder.encoders)) == 0
    cells = pd.DataFrame({"m": [["a", "b"]] * 50, "few": [["a", "b"]] * 50})
    lists = TableEncoder().fit(cells)
    assert calls(lambda: lists.encode(cells)) == calls(lambda: lists.encode(cells[:2]))
