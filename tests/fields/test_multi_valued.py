"""Columns whose cells hold several values."""


import numpy as np
import pandas as pd
import pytest
from encoders import NAN, encode, fitted, weights_by_id
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from minictr.fields import Categorical, MultiValued, TableEncoder


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
