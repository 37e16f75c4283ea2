"""Columns that are rare in life: large ids and numbers, half characters, odd cells, cells of very many values."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from encoders import NAN, encode, fitted

from minictr.fields import Categorical, MultiValued, Numerical, TableEncoder, infer_field
from minictr.fields import multi_valued as module

LARGE = [2**63, 2**64 - 1, 5]


@pytest.mark.parametrize("column", [
    np.array(LARGE, np.uint64), LARGE, pd.Series(LARGE, dtype=object), pd.array(LARGE, "UInt64"),
    pd.Categorical(np.array(LARGE, np.uint64))], ids=["uint64", "list", "object", "UInt64", "category"])
def test_ids_of_64_bits_without_a_sign_are_categories(column):
    encoder = fitted(Categorical("c"), column)
    assert encoder.feature_names("c")[2:] == ["5", str(2**63), str(2**64 - 1)]
    assert encode(encoder, column) == [3, 4, 2]
    assert encode(encoder, [5, 6, -1]) == [2, 0, 0]
    assert encode(encoder, [5.0, NAN, -1.0, 2.0**63]) == [2, 1, 0, 3]
    assert infer_field("c", column) == Categorical("c")
    arrays = encoder.get_state()
    assert encode(TableEncoder.from_state(*arrays), column) == [3, 4, 2]


def test_large_ids_meet_small_ones():
    small = fitted(Categorical("c"), [5, -1])
    assert encode(small, LARGE) == [0, 0, 3]
    floats = fitted(Categorical("c"), [5.0, 0.5, 2.0**63])
    assert encode(floats, LARGE) == [4, 0, 3]
    pieces = ({"c": piece} for piece in ([5, 7], np.array(LARGE, np.uint64), [7]))
    encoder = TableEncoder().fit(pieces)
    assert encoder.feature_names("c")[2:] == ["5", "7", str(2**63), str(2**64 - 1)]
    with pytest.raises(ValueError, match=r"column 'c' holds whole numbers beyond 64 bits, -1 to 18446744073709551615"):
        TableEncoder().fit(iter([{"c": [-1, 7]}, {"c": LARGE}]))


def test_large_ids_are_hashed():
    field = Categorical("c", buckets=1000)
    encoders = [fitted(field, column) for column in ([1, 2], LARGE, np.array(LARGE, np.uint64))]
    ids = [encode(encoder, LARGE) for encoder in encoders]
    assert ids[0] == ids[1] == ids[2] and len(set(ids[0])) == 3 and min(ids[0]) >= 2
    assert [encode(encoder, [5]) for encoder in encoders] == [[ids[0][2]]] * 3


@pytest.mark.parametrize("make", [Categorical, MultiValued])
def test_half_characters_are_hashed_and_the_others_as_before(make):
    texts = pd.Series(["a", "\ud800", "é", "\udfff\ud800", None], dtype=object)
    encoder = fitted(make("c", buckets=10_000), texts)
    ids = encode(encoder, texts)
    assert len(set(ids)) == 5 and ids[-1] == 1
    assert [ids[0], ids[2]] == encode(encoder, ["a", "é"])          # where no value has half a character
    assert encode(encoder, texts[1:2]) == [ids[1]]


def test_text_with_half_characters_in_a_list_is_a_column():
    encoder = TableEncoder().fit({"c": ["a", "\ud800"]})
    assert encode(encoder, ["\ud800", "a", "b"]) == [3, 2, 0]


@pytest.mark.parametrize("transform", [None, "standard", "minmax", "log_squared"])
@pytest.mark.parametrize("value", [1e20, -1e30, 3.4e38, 1e300])
def test_numbers_beyond_all_quantities_are_refused_with_their_row(transform, value):
    encoder = fitted(Numerical("c", transform), [0.0, 1, 2])
    column = [1.0, NAN, value, value]
    if transform == "log_squared" and value > 0:                # ln(1e300)^2 is 477,171
        assert encoder.encode({"c": column}).x.max() < 5e5
        return
    message = f"column 'c', row 2: {value!r} is too large: .* leave the cell empty".replace("+", "[+]")
    with pytest.raises(ValueError, match=message):
        encoder.encode({"c": column})
    with pytest.raises(ValueError, match=message):
        fitted(Numerical("c", transform), column)


def test_a_number_far_from_those_of_training_is_refused():
    encoder = fitted(Numerical("c", "standard"), [0, 1e-9])
    with pytest.raises(ValueError, match=r"column 'c', row 1: 1000000000000000.0 is too large: less 5e-10 and"):
        encoder.encode({"c": [0, 1e15]})


def test_bins_take_numbers_of_any_size():
    encoder = fitted(Numerical("c", bins=[0]), [1.0, -1e300, 1e300])
    assert encode(encoder, [1e30, -1e30]) == [3, 2]


def test_a_column_without_values_is_not_said_to_hold_whole_numbers(recwarn):
    assert infer_field("c", [NAN, NAN]) == Numerical("c", transform="standard")
    assert not recwarn


@pytest.mark.parametrize("field", [None, Categorical("c"), Numerical("c"), Numerical("c", bins=2)])
@pytest.mark.parametrize("cell", ["a", 1, 1.5])
def test_arrays_without_dimensions_in_cells_are_refused(field, cell):
    table = {"c": pd.Series([np.array(cell)] * 3, dtype=object)}
    with pytest.raises(TypeError, match=r"column 'c' holds ndarray .row 0.* holds one value: take it out with .item"):
        TableEncoder(field and [field]).fit(table)


@pytest.mark.parametrize("cell", [np.array("a|b"), np.ones((2, 2))])
def test_cells_of_a_multi_valued_column_have_one_dimension(cell):
    with pytest.raises(TypeError, match=r"column 'c' is MultiValued: a row holds text like .* or a list, but here is"):
        fitted(MultiValued("c"), pd.Series([["a"], cell], dtype=object))


@pytest.mark.parametrize("table, message", [
    ({"a": [1, 2], "b": (value for value in [1, 2])}, "column 'b' must be a list, array or Series .* got generator"),
    ({"a": [1, 2], "b": iter([1, 2])}, "column 'b' must be a list, array or Series .* got list_iterator"),
    ({"a": [1, 2], "b": np.ones((2, 1))}, r"column 'b' has shape \(2, 1\); a column has one dimension"),
    ({"a": [1, 2], "b": np.array(1)}, "column 'b' must be a list, array or Series .* got ndarray"),
    (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["a"], ["b", "c"]])),
     r"names of 2 levels, and a column needs one name: table.columns = .*join"),
])
def test_tables_that_are_none(table, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TableEncoder().fit(table)


def test_the_advice_for_names_of_several_levels_works():
    table = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["a"], ["b", "c"]]))
    with pytest.raises(TypeError) as raised:
        TableEncoder().fit(table)
    exec(str(raised.value).partition(": ")[2], {"table": table})
    assert TableEncoder().fit(table).field_names == ["a_b", "a_c"]


# ---- cells of very many values ------------------------------------------------------------------------------

def with_a_full_cell(n_rows, n_values):
    """A column of which one cell holds so many values, and the others two."""
    cells = [["a", "b"]] * n_rows
    cells[n_rows // 2] = [f"v{i}" for i in range(n_values)]
    return {"c": cells}


def test_one_full_cell_among_many_rows_is_refused_before_it_takes_memory():
    table = with_a_full_cell(15_000, 5_000)
    encoder = TableEncoder([MultiValued("c")]).fit(table)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"column 'c', row 7500: this cell holds 5,000 values, .* 2.33 on average.* "
                                         r"0\.6 GB for 15,000 rows.* fewer rows at a time"):
        encoder.encode(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert encoder.encode({"c": table["c"][7_490:7_510]}).ids.shape == (20, 5_000)


def test_the_bound_holds_for_all_blocks_and_for_what_is_filled(monkeypatch):
    monkeypatch.setattr(module, "MAX_PADDED", 1000)
    monkeypatch.setattr("minictr.fields.reading.BLOCK", 40)
    table = with_a_full_cell(120, 20)
    encoder = TableEncoder([MultiValued("c")]).fit(table)
    assert encoder.encode(table).ids.shape == (120, 20)             # 280 of 2,400 slots hold values
    table = with_a_full_cell(120, 24)
    encoder = TableEncoder([MultiValued("c")]).fit(table)
    with pytest.raises(ValueError, match=r"column 'c', row 60: this cell holds 24 values"):
        encoder.encode(table)
    with pytest.raises(ValueError, match=r"column 'c', row 0: .* Each row takes 24 slots"):      # of another piece
        encoder.encode({"c": table["c"][:50]}, widths=[24])
