"""What a user writes: how fields print and compare, what is refused, and what is inferred."""

import copy

import numpy as np
import pandas as pd
import pytest
from encoders import NAN, fitted

from minictr.fields import (
    Categorical,
    MultiValued,
    Numerical,
    TableEncoder,
    infer_field,
)


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


def test_whole_numbers_with_gaps_are_said_to_be_taken_as_a_quantity():
    """pandas turns ids into floats as soon as one is missing."""
    with pytest.warns(UserWarning, match=r"column 'zip' .* Categorical\('zip'\)"):
        assert infer_field("zip", [10115.0, np.nan]) == Numerical("zip", transform="standard")
