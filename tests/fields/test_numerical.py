"""Columns of numbers: transforms, missing numbers, and their mean and spread in pieces."""

import decimal

import numpy as np
import pandas as pd
import pytest
from encoders import NAN, encode, fitted
from hypothesis import given
from hypothesis import strategies as st
from tables import pieces_of

from minictr.fields import Numerical
from minictr.fields import numerical as module
from minictr.fields.numerical import Moments


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
    ([1.0, 1e39], ValueError, "column 'c', row 1: 1e[+]39 is too large"),
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
    if "too large" not in message:                        # a bin takes numbers of any size
        with pytest.raises(error, match=message):
            fitted(Numerical("c", bins=2), column)


def test_numbers_that_cannot_be_scaled_are_refused():
    with pytest.raises(ValueError, match=r"column 'c' with numbers from .* cannot be scaled"):
        fitted(Numerical("c", "standard"), [0, 1e-200])
    for transform, train in (("standard", [0.5, -1e300, 1e300]), ("minmax", [0, -1.7e308, 1.7e308])):
        with pytest.raises(ValueError, match=r"column 'c', row 1: -.* is too large"):
            fitted(Numerical("c", transform), train)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(0, 3).map(float)), min_size=1, max_size=60),
       st.lists(st.integers(0, 20), max_size=6), st.integers(1, 9))
def test_moments_do_not_depend_on_the_pieces(numbers, sizes, block):
    numbers, weights = np.array(numbers), np.arange(1.0, len(numbers) + 1)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOMENTS_BLOCK", block)
        for cut in (sizes, []):
            moments = Moments()
            for rows in pieces_of(pd.Series(np.arange(len(numbers))), cut):
                moments.add(numbers[rows], weights[rows])
            results.append(moments.result())
    mean = np.average(numbers, weights=weights)
    spread = np.sqrt(np.average((numbers - mean) ** 2, weights=weights))
    assert results[0] == results[1]
    np.testing.assert_allclose(results[0], (mean, spread), rtol=1e-9, atol=1e-6)


def test_moments_far_from_zero():
    moments = Moments()
    numbers = 1e9 + np.random.default_rng(0).normal(size=400_000)
    for part in np.split(numbers, 40):
        moments.add(part)
    assert moments.result()[1] == pytest.approx(numbers.std(), rel=1e-9)
