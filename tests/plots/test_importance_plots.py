"""Fields and pairs in one list: what the bars, the network and the beeswarm draw."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from minictr import FM, datasets, explain, plots
from minictr.plots.shared import BLUE, GREY, VERMILLION

plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    """Leave no figure open."""
    yield
    plt.close("all")


def ranking(values, shares=None, **attrs):
    """A table of importance, {fields: number}; a key of one field or more, or the name of another term."""
    kinds = ["field", "pair", "triple"]
    lines = [(key, None, None, None) if isinstance(key, str) else (kinds[len(key) - 1], *key, *[None] * (3 - len(key)))
             for key in values]
    table = pd.DataFrame(lines, columns=["term", "field_i", "field_j", "field_l"], dtype=object)
    table["value"] = list(values.values())
    table["share"] = table["value"] / table["value"].sum() if shares is None else shares
    table.attrs = {"quantity": "importance", "unit": "mean |term| (log-odds)", **attrs}
    return table


def random_ranking(count, long=False):
    rng = np.random.default_rng(0)
    fields = [f"context_profile_history_bucket_{k}" if long else f"C{k}" for k in range(count)]
    keys = [(name,) for name in fields] + list(itertools.combinations(fields, 2))
    return ranking(dict(zip(keys, rng.gamma(0.5, 0.3, len(keys)), strict=True)), fields=fields)


FEW = ranking({("a", "b"): 0.5, ("a",): 0.25, ("b",): 0.125, "deep part": 0.1, ("a", "b", "c"): 0.025},
              [0.7, -0.2, 0.1, 0.38, 0.02])


def bars(ax):
    return [(bar.get_width(), bar.get_facecolor()) for bar in ax.patches]


def labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def colour(name):
    from matplotlib.colors import to_rgba
    return to_rgba(name)


# ---- bars ------------------------------------------------------------------------------------------------


def test_bars_are_shares_ranked_by_size_in_the_colour_of_their_kind():
    ax = plots.importance(FEW, top=4)
    assert labels(ax) == ["a × b", "deep part", "a", "b", "others (1 term)"]
    assert [width for width, _ in bars(ax)] == [0.7, 0.38, -0.2, 0.1, 0.02]
    assert [face for _, face in bars(ax)[:4]] == [colour(VERMILLION), colour(GREY), colour(BLUE), colour(BLUE)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "fields -10.0 %", "pairs 70.0 %", "triples 2.0 %", "deep part 38.0 %"]
    assert "70.0 %" in [text.get_text() for text in ax.texts]
    assert "negative: works against" in ax.get_xlabel()


def test_bars_of_sizes_have_whiskers():
    table = FEW.assign(low=FEW["value"] / 2, high=FEW["value"] * 2)
    table.attrs = FEW.attrs | {"interval": "5th to 95th percentile over rows"}
    ax = plots.importance(table, show="value")
    assert labels(ax) == ["a × b", "a", "b", "deep part", "a × b × c"]
    assert [width for width, _ in bars(ax)] == FEW["value"].tolist()
    (whiskers,) = (line for line in ax.collections if len(line.get_segments()) == 5)
    assert whiskers.get_segments()[0].tolist() == [[0.25, 0], [1.0, 0]]
    assert "whiskers: 5th to 95th percentile over rows" in ax.get_xlabel()
    assert not plots.importance(FEW).collections                # shares have no interval


def test_raw_terms_are_called_so():
    assert plots.importance(FEW).get_legend().get_title().get_text() == "importance"
    raw = ranking({("a",): 1.0}, purified=False)
    assert plots.importance(raw).get_legend().get_title().get_text() == "importance, raw terms"


@pytest.mark.parametrize("draw", [plots.importance, plots.network])
def test_tables_that_do_not_fit_are_refused(draw):
    with pytest.raises(ValueError, match="show must be"):
        draw(FEW, show="size")
    with pytest.raises(ValueError, match="top must be"):
        draw(FEW, top=0)
    with pytest.raises(ValueError, match=r"lacks the columns \['share'\]"):
        draw(FEW.drop(columns="share"), show="share")
    with pytest.raises(ValueError, match=r"same in every row.*show='value'"):
        draw(FEW.assign(share=np.nan), show="share")
    with pytest.raises(ValueError, match=r"entry 5 .*one row for each term"):
        draw(pd.concat([FEW, FEW[:1]], ignore_index=True), show="value")


def test_a_table_of_single_predictions_is_no_ranking():
    with pytest.raises(ValueError, match=r"about single predictions.*plots.beeswarm"):
        plots.importance(FEW.assign(row=0))


# ---- network ---------------------------------------------------------------------------------------------


def lines_of(ax):
    return [(line.get_linewidth(), line.get_edgecolor()[:3], line.get_linestyle()) for line in ax.patches]


def legend_of(ax):
    legend = ax.get_legend()
    return legend.get_title().get_text().replace("\n", " "), [text.get_text() for text in legend.get_texts()]


def test_lines_are_the_strongest_pairs_and_dots_the_fields_own_terms():
    values = {("a", "b"): 0.5, ("a", "c"): 0.1, ("b", "c"): 0.3, ("a",): 0.4, ("b",): 0.1, ("c",): 0.0}
    ax = plots.network(ranking(values | {("a", "b", "c"): 0.2, "deep part": 1.0}, fields=["a", "b", "c"]), top=2)
    places = ax.collections[0].get_offsets()
    joined = [line.get_path().vertices[[0, -1]] for line in ax.patches]
    np.testing.assert_allclose(joined, [places[[1, 2]], places[[0, 1]]], atol=1e-12)      # the strongest on top
    widths = [width for width, *_ in lines_of(ax)]
    assert widths[0] < widths[1]
    sizes = ax.collections[0].get_sizes()
    assert sizes[0] > sizes[1] > sizes[2]
    title, samples = legend_of(ax)
    assert "2 pairs, the strongest of 3: mean |term| (log-odds)" in title and samples == ["0.500", "0.300"]
    assert "a 0.400" in title and "not drawn: triple, deep part" in title


def test_a_negative_line_is_blue_and_dashed_and_a_negative_dot_hollow():
    table = ranking({("a", "b"): 0.5, ("b", "c"): 0.2, ("a",): 0.4, ("b",): 0.1, ("c",): 0.1},
                    [0.6, -0.3, 0.5, -0.1, 0.3])
    ax = plots.network(table, show="share")
    (_, weak, dashed), (_, strong, solid) = lines_of(ax)
    assert weak == colour(BLUE)[:3] and strong == colour(VERMILLION)[:3] and dashed != "-" and solid in ("-", "solid")
    faces = ax.collections[0].get_facecolors()
    assert faces[1].tolist() == list(ax.get_facecolor()) and faces[0].tolist() == list(colour(GREY))
    title, samples = legend_of(ax)
    assert "dashed: negative" in title and "hollow: negative" in title and samples == ["60.0 %", "-30.0 %"]


def test_a_table_of_pairs_has_equal_dots_and_no_shares():
    pairs = pd.DataFrame({"field_i": ["a", "a"], "field_j": ["b", "c"], "value": [0.5, 0.25]})
    ax = plots.network(pairs)
    assert len(set(ax.collections[0].get_sizes())) == 1 and len(ax.patches) == 2
    with pytest.raises(ValueError, match="no shares"):
        plots.network(pairs, show="share")


def test_a_ranking_that_lost_its_attrs_has_a_dot_for_each_field_and_no_other(tmp_path):
    """Single fields have no field_j: that is not a field's name."""
    table = ranking({("user", "ad"): 0.5, ("user",): 0.4, ("ad",): 0.3, ("hour", "ad"): 0.2, ("hour",): 0.1,
                     "deep part": 0.1})
    table.to_csv(tmp_path / "table.csv", index=False)
    for bare in (pd.DataFrame(table.to_dict("list")), pd.read_csv(tmp_path / "table.csv")):
        assert not bare.attrs
        ax = plots.network(bare, ax=Figure().subplots())
        assert sorted(text.get_text() for text in ax.texts) == ["ad", "hour", "user"]


def test_a_ranking_without_pairs_is_refused():
    with pytest.raises(ValueError, match=r"no pairs, only field, deep part.*interaction_effects"):
        plots.network(ranking({("a",): 1.0, "deep part": 0.5}))


@pytest.mark.parametrize(("count", "long"), [(2, True), (3, False), (9, True), (13, True), (14, True), (40, True),
                                             pytest.param(200, True, marks=pytest.mark.long)])
def test_names_around_the_circle_stay_on_the_picture_and_apart(count, long):
    ax = plots.network(random_ranking(count, long))
    ax.figure.draw_without_rendering()
    page, named = ax.figure.bbox, [text for text in ax.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in named]
    assert len(named) == count
    assert all(min(box.x0, box.y0) >= -1 and box.x1 <= page.width + 1 and box.y1 <= page.height + 1 for box in boxes)
    legend = ax.get_legend().get_window_extent()
    assert not any(legend.overlaps(box) for box in boxes) and legend.y0 >= -1
    if count < 14:                                                # the boxes of slanting names overlap, they do not
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_small_axes_name_fewer_fields_and_those_with_lines_first():
    ax = plots.network(random_ranking(40, long=True), top=3, ax=Figure((3, 3)).subplots())
    black = [text for text in ax.texts if text.get_color() != GREY]
    assert 2 <= len(black) <= 6 and 6 < len(ax.texts) < 40


# ---- beeswarm --------------------------------------------------------------------------------------------


def terms_of(N=50, wide=False):
    clicks = datasets.make_clicks(2_000, seed=0)
    model = FM(epochs=2).fit(clicks.X, clicks.y)
    return clicks.X[:N], explain.contributions(model, clicks.X[:N], wide=wide, purified=True, background=clicks.X)


@pytest.mark.parametrize("wide", [False, True])
def test_each_row_has_a_dot_for_each_of_the_largest_terms(wide):
    X, table = terms_of(wide=wide)
    ax = plots.beeswarm(table, top=4)
    terms = table if wide else terms_of(wide=True)[1]
    sizes = terms.drop(columns="bias", level=0).abs().mean().sort_values(ascending=False)
    assert labels(ax) == [" × ".join(filter(None, column[1:])) for column in sizes.index[:4]]
    assert len(ax.collections) == 4
    for place, (dots, column) in enumerate(zip(ax.collections, sizes.index, strict=False)):
        x, y = dots.get_offsets().T
        np.testing.assert_allclose(x, terms[column])
        assert np.abs(y - place).max() <= 0.4
    assert "left out: 32 smaller terms" in ax.get_xlabel() and len(X) == 50


def test_dots_do_not_lie_on_one_another_and_their_number_is_bounded():
    table = pd.DataFrame({"row": range(3_000), "term": "field", "field_i": "a", "field_j": None,
                          "value": np.repeat([0.0, 1.0, 1.0], 1_000)})
    ax = plots.beeswarm(table, rows=500)
    places = ax.collections[0].get_offsets()
    assert len(places) == 500 and len(np.unique(places, axis=0)) == 500
    assert "500 of 3,000 rows" in ax.get_xlabel()


def test_colours_are_the_numbers_of_the_field():
    X = pd.DataFrame({"age": [20.0, 30, np.nan, 60], "ad": list("abcd")})
    table = pd.DataFrame({"row": list(range(4)) * 3, "term": ["field"] * 8 + ["pair"] * 4, "field_i": ["age"] * 4
                          + ["ad"] * 4 + ["age"] * 4, "field_j": [None] * 8 + ["ad"] * 4,
                          "value": [4.0, 3, 2, 1, 2, 1, 0, 0.5, 0.5, 0.2, 0.2, 0.1]})
    ax = plots.beeswarm(table, X=X)
    missing, numbers, ad, pair = ax.collections
    low, high = np.percentile([20, 30, 60], [5, 95])
    np.testing.assert_allclose(numbers.get_array(), np.clip((np.array([20, 30, 60]) - low) / (high - low), 0, 1))
    assert numbers.get_offsets()[:, 0].tolist() == [4, 3, 1] and missing.get_offsets()[:, 0].tolist() == [2]
    assert {dots.get_array() is None for dots in (missing, ad, pair)} == {True}
    assert [axes.get_ylabel() for axes in ax.child_axes] == ["the field's number"]
    assert not plots.beeswarm(table).child_axes
    part = plots.beeswarm(table[table["row"].isin([1, 3])], X=X).collections[1]     # rows keep their numbers
    np.testing.assert_allclose(part.get_array(), numbers.get_array()[[1, 2]])


def test_a_beeswarm_of_something_else_is_refused():
    X, table = terms_of()
    wide = terms_of(wide=True)[1]
    with pytest.raises(ValueError, match="X has 10 rows, and the table explains 50"):
        plots.beeswarm(wide, X=X[:10])
    with pytest.raises(ValueError, match="X has 10 rows, and the table explains 50"):
        plots.beeswarm(table, X=X[:10])
    with pytest.raises(TypeError, match="X must be the DataFrame"):
        plots.beeswarm(table, X=X.to_numpy())
    with pytest.raises(ValueError, match="each term of a row once"):
        plots.beeswarm(pd.concat([table, table]))
    with pytest.raises(ValueError, match="nothing but the bias"):
        plots.beeswarm(table[table["term"] == "bias"])
    with pytest.raises(ValueError, match="infinite, or nothing but NaN"):
        plots.beeswarm(wide * np.inf)
    with pytest.raises(ValueError, match="no rows, or other columns"):
        plots.beeswarm(wide[:0])
    with pytest.raises(ValueError, match="rows must be"):
        plots.beeswarm(table, rows=0)


@pytest.mark.parametrize("value", [0.0, 1e-9, -3e7])
def test_equal_values_and_a_single_row_draw_without_warnings(value):
    table = pd.DataFrame({"row": 0, "term": ["field", "pair"], "field_i": ["a", "a"], "field_j": [None, "b"],
                          "value": [value, value]})
    plots.beeswarm(table, X=pd.DataFrame({"a": [1]})).figure.draw_without_rendering()
    for draw in (plots.importance, plots.network):
        draw(ranking({("a", "b"): value, ("a",): value, ("b",): 0.0}, [value, 0, 0])).figure.draw_without_rendering()
