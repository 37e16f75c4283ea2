"""Columns of numbers cut into bins."""


import numpy as np
import pandas as pd
from encoders import NAN, encode, fitted
from tables import pieces_of

from minictr.fields import Numerical, TableEncoder, binned


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


def test_quantiles_of_a_long_column_are_those_of_a_sample(monkeypatch):
    monkeypatch.setattr(binned, "SAMPLE", 2000)
    numbers = pd.DataFrame({"z": np.sort(np.random.default_rng(0).normal(size=20_000))})
    encoders = [TableEncoder([Numerical("z", bins=4)]).fit(iter(pieces_of(numbers, sizes)))
                for sizes in ([], [1, 999], [300] * 60)]
    edges = [encoder.encoders["z"].edges for encoder in encoders]
    assert np.array_equal(edges[0], edges[1]) and np.array_equal(edges[0], edges[2])
    shares = np.bincount(encoders[0].encode(numbers).ids[:, 0])[2:] / len(numbers)
    np.testing.assert_allclose(shares, 0.25, atol=0.05)
    assert not np.array_equal(edges[0], np.quantile(numbers, [0.25, 0.5, 0.75]))
