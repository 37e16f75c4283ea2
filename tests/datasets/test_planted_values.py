"""The planted effects by value, and what a model learns of them."""

import numpy as np
import pandas as pd
import pytest

from minictr import FM, datasets, explain, plots

SEED = 3


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(20_000, seed=SEED)


def test_the_tables_of_values_are_the_truth_behind_the_logit(clicks):
    single = clicks.X[clicks.X["interests"].map(len) == 1].copy()
    single["interests"] = single["interests"].map(lambda cell: cell[0])
    total = np.zeros(len(single))
    for field in single:
        of_value = clicks.field_values(field).set_index("value")["term"]
        total += single[field].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value)).map(of_value)
    pairs = clicks.planted_pairs.query("value > 0")[["field_i", "field_j"]].to_numpy()
    assert len(pairs) == 5
    for f, g in pairs:
        table = clicks.pair_values(f, g).set_index(["value_i", "value_j"])["term"]
        keys = single[[f, g]].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
        total += table.loc[pd.MultiIndex.from_frame(keys)].to_numpy()
    rest = clicks.logit[single.index] - total
    np.testing.assert_allclose(rest, rest.iloc[0], atol=1e-9)     # b alone


def test_rows_are_those_that_hold_the_values(clicks):
    table = clicks.pair_values("interests", "device").set_index(["value_i", "value_j"])["rows"]
    sport_on_tv = clicks.X["interests"].map(lambda cell: "sport" in cell) & (clicks.X["device"] == "tv")
    assert table["sport", "tv"] == sport_on_tv.sum() > 0
    for field in ("hour", "discount", "interests"):
        values, learned = clicks.field_values(field), explain.field_values(
            FM(epochs=1).fit(clicks.X[:5_000], clicks.y[:5_000]), clicks.X, field, top=24, bins=20)
        assert values.set_index("value")["rows"].to_dict() == learned.set_index("value")["rows"].to_dict()


def test_a_pair_in_either_order_and_one_that_is_not_planted(clicks):
    one, other = clicks.pair_values("hour", "device"), clicks.pair_values("device", "hour")
    turned = other.rename(columns={"value_i": "value_j", "value_j": "value_i"})
    keys = ["value_i", "value_j"]
    pd.testing.assert_frame_equal(one.set_index(keys).sort_index(), turned.set_index(keys).sort_index(),
                                  check_like=True)
    assert np.sqrt(np.average(one["term"] ** 2, weights=one["rows"])) == pytest.approx(0.8, rel=0.1)
    nothing = clicks.pair_values("hour", "advertiser")
    assert (nothing["term"] == 0).all() and len(nothing) == 24 * 60
    plots.pair_values(one)
    plots.field_values(clicks.field_values("discount"))


def test_triples_are_among_the_effects():
    names = ("user_segment", "device", "position")
    clicks = datasets.make_clicks(10, triples={names: 1.0})
    assert clicks.effects[names].shape == (8, 4, 5)
    assert len(clicks.effects) == 8 + 5 + 1


def test_fields_that_are_none_are_refused(clicks):
    with pytest.raises(ValueError, match="'weather' is not one of the fields user_segment"):
        clicks.field_values("weather")
    with pytest.raises(ValueError, match="two different fields"):
        clicks.pair_values("hour", "hour")


def test_what_an_fm_learns_value_by_value_is_what_was_planted(clicks):
    model = FM(epochs=6, learning_rate=0.01, reg=0.0005).fit(clicks.X, clicks.y)
    for f, g, least in (("user_segment", "ad_category", 0.9), ("hour", "device", 0.7)):
        learned = explain.pair_values(model, clicks.X, f, g, top=24)
        both = learned.merge(clicks.pair_values(f, g), on=["value_i", "value_j"], suffixes=("", "_true"))
        assert len(both) == len(learned)
        weights = both["rows"]
        a, b = (both[name] - np.average(both[name], weights=weights) for name in ("term", "term_true"))
        correlation = np.average(a * b, weights=weights) / np.sqrt(
            np.average(a * a, weights=weights) * np.average(b * b, weights=weights))
        assert correlation > least
