"""What several tables of values have in common is worked out once, and they are the same as one by one."""

import itertools

import pandas as pd
import pytest
from models import small
from tables import FIELDS, mixed_table

from minictr import FM, explain
from minictr.explain import value_rows
from minictr.explain.value_rows import ValueRows


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", ["FM", "AFM", "DeepFM", "AutoInt"])
def test_tables_of_shared_rows_are_those_of_the_table(name, kept, monkeypatch):
    X, y = mixed_table(150)
    model = small(name, FIELDS, fields=FIELDS, epochs=1).fit(X, y)
    if not kept:
        monkeypatch.setattr(value_rows, "KEPT_NUMBERS", 10)
    pairs = list(itertools.permutations(model.feature_names_in_, 2))
    alone = [explain.pair_values(model, X, *pair, background=20) for pair in pairs]
    fields_alone = [explain.field_values(model, X, field, background=20) for field in model.feature_names_in_]
    made = {"values": 0, "readers": 0}

    def counted(what, function):
        def call(*args):
            made[what] += 1
            return function(*args)
        return call

    monkeypatch.setattr(value_rows, "FieldValues", counted("values", value_rows.FieldValues))
    monkeypatch.setattr(value_rows, "terms_reader", counted("readers", value_rows.terms_reader))
    rows = ValueRows(model, X)
    for pair, table in zip(pairs, alone, strict=True):
        pd.testing.assert_frame_equal(explain.pair_values(model, rows, *pair, background=20), table)
    for field, table in zip(model.feature_names_in_, fields_alone, strict=True):
        pd.testing.assert_frame_equal(explain.field_values(model, rows, field, background=20), table)
    assert made == {"values": len(model.feature_names_in_), "readers": int(name == "FM")}


def test_rows_of_another_model_and_no_rows_are_refused():
    X, y = mixed_table(60)
    one, other = (small("FM", FIELDS, fields=FIELDS, epochs=1).fit(X, y) for _ in range(2))
    with pytest.raises(ValueError, match="rows of another model"):
        explain.field_values(other, ValueRows(one, X), "user")
    with pytest.raises(ValueError, match="X has no rows"):
        ValueRows(one, X[:0])
    with pytest.raises(ValueError, match="'colour' is not one of the fields"):
        explain.pair_values(one, ValueRows(one, X), "user", "colour")


def test_half_a_character_is_a_value_too():
    """Text columns of pandas cannot hold one: the tables hold objects."""
    X = pd.DataFrame({"a": ["\ud83d", "b"] * 20, "c": ["x", "x", "y"] * 13 + ["y"]}, dtype=object)
    model = FM(epochs=1).fit(X, [0, 1] * 20)
    assert set(explain.pair_values(model, X, "a", "c")["value_i"]) == {"\ud83d", "b"}
    assert explain.field_values(model, X, "a")["value"].tolist() == ["b", "\ud83d"]
