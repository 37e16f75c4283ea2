"""make_clicks(triples=...) plants effects of three fields, and leaves all else of the world as it was."""

import hashlib
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from minictr import datasets
from minictr.datasets import synthetic
from minictr.metrics import auc

DEVICE = ("user_segment", "device", "position")
MIXED = ("ad_category", "discount", "interests")
SIZES = {DEVICE: 1.5, MIXED: 0.5}


@pytest.fixture(scope="module")
def plain():
    return datasets.make_clicks(20_000, seed=0)


@pytest.fixture(scope="module")
def planted():
    return datasets.make_clicks(20_000, seed=0, triples={DEVICE: 1.5})


def test_without_triples_the_rows_are_what_they_were_before_there_were_any():
    clicks = datasets.make_clicks(777, seed=3, rows_seed=1)
    levels = clicks.X.to_csv(lineterminator="\n").encode()
    assert hashlib.sha256(levels + clicks.y.astype("<i8").tobytes()).hexdigest() == (
        "ba2229d07345d7442f19037d78e21c458d26be6177ec9a3c1f8085e0f1184fd0")
    assert clicks.logit.sum() == pytest.approx(-1617.6346225898842, rel=1e-12)


def test_no_triples_is_an_empty_dict_too(plain):
    empty = datasets.make_clicks(20_000, seed=0, triples={})
    np.testing.assert_array_equal(empty.logit, plain.logit)
    np.testing.assert_array_equal(empty.y, plain.y)


def test_what_is_added_to_the_logit_is_a_table_of_three_fields_and_a_constant(plain, planted):
    pd.testing.assert_frame_equal(planted.X, plain.X)
    added = pd.Series(planted.logit - plain.logit).groupby([plain.X[name] for name in DEVICE])
    np.testing.assert_allclose(added.transform("min"), added.transform("max"), atol=1e-12)
    assert added.first().std() > 1


def test_the_clicks_follow_the_new_logit(plain, planted):
    np.testing.assert_allclose(planted.probability, 1 / (1 + np.exp(-planted.logit)), rtol=1e-12)
    assert abs(planted.y.mean() - planted.probability.mean()) < 0.01
    assert 0.20 < planted.base_rate < 0.25
    assert planted.best_auc == auc(planted.y, planted.logit)
    assert planted.best_auc > auc(planted.y, plain.logit) + 0.05      # what is to be had from the triple alone
    assert planted.best_log_loss < plain.best_log_loss


@pytest.mark.parametrize("names", [DEVICE, MIXED])
@pytest.mark.parametrize("seed", range(5))
def test_no_pair_has_any_part_of_a_triple(names, seed):
    table = synthetic._triple_table(names, 0.7, seed)
    shares = [synthetic.FIELDS[name].shares for name in names]
    assert table.shape == tuple(map(len, shares))
    for axis in range(3):
        np.testing.assert_allclose(np.tensordot(shares[axis], table, (0, axis)), 0, atol=1e-12)
    weight = shares[0][:, None, None] * shares[1][:, None] * shares[2]
    assert np.sqrt((weight * table**2).sum()) == pytest.approx(0.7)


def test_a_triple_is_a_line_in_the_discount():
    table = synthetic._triple_table(MIXED, 1.0, seed=0)
    np.testing.assert_allclose(np.diff(table, n=2, axis=1), 0, atol=1e-10)
    assert np.ptp(table[:, :, 0]) > 0.1


def test_a_triple_is_the_same_whatever_else_is_planted_and_however_it_is_named(plain):
    def added(triples):
        clicks = datasets.make_clicks(20_000, seed=0, triples=triples)
        return (clicks.logit - plain.logit) - (clicks.logit - plain.logit).mean()

    one, other, both = added({DEVICE: 1.5}), added({MIXED: 0.5}), added(SIZES)
    np.testing.assert_allclose(one + other, both, atol=1e-10)
    np.testing.assert_allclose(added({DEVICE[::-1]: 3.0}), 2 * one, atol=1e-10)
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0, abs=0.05)
    assert one.std() == pytest.approx(1.5, rel=0.05)


def test_other_rows_of_the_same_world_have_the_same_triple(planted):
    def effects(**rows_seed):
        with_it = datasets.make_clicks(20_000, seed=0, triples={DEVICE: 1.5}, **rows_seed)
        without = datasets.make_clicks(20_000, seed=0, **rows_seed)
        return pd.Series(with_it.logit - without.logit).groupby([with_it.X[name] for name in DEVICE]).first()

    here, there = effects().align(effects(rows_seed=1), join="inner")
    assert len(here) > 140
    np.testing.assert_allclose(here, there, atol=1e-12)


def test_planted_triples_is_a_table_of_the_truth(plain):
    fields = plain.X.columns.tolist()
    clicks = datasets.make_clicks(50, triples={DEVICE[::-1]: 1.5, MIXED: 1})
    for table, wanted in ((plain.planted_triples, {}), (clicks.planted_triples, {DEVICE: 1.5, MIXED: 1})):
        names = list(zip(table["field_i"], table["field_j"], table["field_l"], strict=True))
        assert table.columns.tolist() == ["field_i", "field_j", "field_l", "value"]
        assert names == list(combinations(fields, 3))
        assert dict(zip(names, table["value"], strict=True)) == dict.fromkeys(names, 0.0) | wanted
        assert table.attrs == {"quantity": "planted effect", "fields": fields,
                               "unit": "standard deviation of the triple's effect (log-odds)"}
    pd.testing.assert_frame_equal(clicks.planted_pairs, plain.planted_pairs)


@pytest.mark.parametrize("triples, message", [
    ([DEVICE], "triples must be a dict of .field, field, field. to the size of their effect; got "),
    ({("device", "position"): 1}, r"a triple is a tuple of three different fields of user_segment, .*; got \('device'"),
    ({("device", "device", "position"): 1}, "a triple is a tuple of three different fields"),
    ({("device", "position", "colour"): 1}, "a triple is a tuple of three different fields .* got .*'colour'"),
    ({(*DEVICE, "device"): 1}, "a triple is a tuple of three different fields"),
    ({"device": 1}, "a triple is a tuple of three different fields of .*; got 'device'"),
    ({DEVICE: 0}, "the effect of a triple is a standard deviation, a number above 0; got 0 for "),
    ({DEVICE: float("nan")}, "a number above 0; got nan"),
    ({DEVICE: "large"}, "a number above 0; got 'large'"),
    ({DEVICE: 1, DEVICE[::-1]: 2}, "triples names user_segment x device x position more than once"),
])
def test_what_is_no_triple_is_refused(triples, message):
    with pytest.raises(ValueError, match=message):
        datasets.make_clicks(10, triples=triples)
