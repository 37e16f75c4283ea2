"""A column read: values that no field holds are refused, and say what to do."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
from encoders import NOTHING, encode, fitted

from minictr.fields import Categorical, MultiValued, Numerical, infer_field, reading


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
