"""Saved fields: the same encoder comes back, and a damaged state is refused."""

import json

import numpy as np
import pytest
from encoders import NAN, encode, fitted, reload, same_state
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from minictr.fields import Categorical, MultiValued, Numerical, TableEncoder

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
