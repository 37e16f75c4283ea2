"""Pictures of values: what the cells, bars and curves say."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure

from minictr import plots

plt.switch_backend("Agg")


def pairs(term, rows, **attrs):
    """A table of two fields' values from two equally large matrices."""
    term, rows = np.asarray(term, float), np.asarray(rows)
    values = [[f"{name}{k}" for k in range(size)] for name, size in zip("uv", term.shape, strict=True)]
    table = pd.DataFrame(list(itertools.product(*values)), columns=["value_i", "value_j"])
    table = table.assign(term=term.ravel(), rows=rows.ravel())
    table.attrs = {"unit": "log-odds", "fields": ("user", "video"), **attrs}
    return table


def drawn_cells(ax):
    """{(i, j): (width, height, colour)} of the squares."""
    (image,) = [part for part in ax.collections if isinstance(part, PatchCollection)]
    image.update_scalarmappable()
    cells = {}
    for path, colour in zip(image.get_paths(), image.get_facecolor(), strict=True):
        box = path.get_extents()
        cells[round(box.y0 + box.height / 2), round(box.x0 + box.width / 2)] = box.width, box.height, tuple(colour)
    return cells


def test_the_area_of_a_cell_is_the_rows_that_support_it():
    ax = plots.pair_values(pairs([[1, -1], [0.5, 0], [2, 2]], [[100, 25], [400, 0], [1, 50]]), ax=Figure().subplots())
    cells = drawn_cells(ax)
    assert cells.keys() == {(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)}           # (1, 1) has no rows
    areas = {cell: width * height for cell, (width, height, _) in cells.items()}
    assert areas == pytest.approx({(0, 0): 1, (0, 1): 0.25, (1, 0): 1, (2, 0): 0.02, (2, 1): 0.5})
    assert "a full cell: 100 rows or more; blank: none" in ax.get_title()
    few = plots.pair_values(pairs([[1, -1]], [[8, 2]]), ax=Figure().subplots())
    assert {cell: round(width ** 2, 9) for cell, (width, *_) in drawn_cells(few).items()} == {(0, 0): 1, (0, 1): 0.25}
    assert "a full cell: 8 rows;" in few.get_title()
    chosen = plots.pair_values(pairs([[1, -1]], [[8, 2]]), full=4, ax=Figure().subplots())
    assert drawn_cells(chosen)[0, 1][0] ** 2 == pytest.approx(0.5)


def test_white_is_0_and_unsupported_terms_do_not_stretch_the_scale():
    ax = plots.pair_values(pairs([[1, 0, 50], [np.nan, 0.5, -0.25]], [[9, 9, 0], [0, 9, 9]]), ax=Figure().subplots())
    (image,) = [part for part in ax.collections if isinstance(part, PatchCollection)]
    assert image.get_clim() == (-1, 1)
    cells = drawn_cells(ax)
    assert cells.keys() == {(0, 0), (0, 1), (1, 1), (1, 2)}
    red, green, blue, _ = cells[0, 1][2]
    assert min(red, green, blue) > 0.95                           # 0 is white, though all but one are positive
    assert cells[0, 0][2][0] > cells[0, 0][2][2] and cells[1, 2][2][0] < cells[1, 2][2][2]


@pytest.mark.parametrize("term", [[[0.0]], [[0, 0, 0]], [[1e-9], [2e7]]])
def test_one_value_equal_terms_and_any_size(term):
    ax = plots.pair_values(pairs(term, np.ones(np.shape(term), int)))
    ax.figure.draw_without_rendering()
    assert len(drawn_cells(ax)) == np.size(term) and "a full cell: 1 row;" in ax.get_title()
    nothing = plots.pair_values(pairs(term, np.zeros(np.shape(term), int)))
    nothing.figure.draw_without_rendering()
    assert drawn_cells(nothing) == {}
    plt.close("all")


def test_totals_are_the_rows_of_each_value():
    rows = np.array([[10, 0, 5], [20, 30, 40]])
    ax = plots.pair_values(pairs(np.ones((2, 3)), rows), ax=Figure().subplots())
    bars = {container.orientation: [abs(bar.get_height() if container.orientation == "vertical" else bar.get_width())
                                    for bar in container] for container in ax.containers}
    for side, axis in (("horizontal", 1), ("vertical", 0)):
        total = rows.sum(axis=axis)
        np.testing.assert_allclose(np.divide(bars[side], max(bars[side])), total / total.max())
    texts = {text.get_text() for text in ax.texts}
    assert {"15", "90"} <= texts
    several = pairs(np.ones((2, 3)), rows, rows_i={"u0": 12, "u1": 77}, rows_j={"v0": 1, "v1": 2, "v2": 3})
    texts = {text.get_text() for text in plots.pair_values(several, ax=Figure().subplots()).texts}
    assert {"12", "77"} <= texts and "15" not in texts            # a row of several values counts once for each


def test_numbers_are_printed_where_they_fit():
    few = pairs([[0.25, -0.5], [0.75, 1]], [[100, 100], [3, 100]])
    ax = plots.pair_values(few)
    assert {"0.25", "-0.50", "1.00"} < {text.get_text() for text in ax.texts}
    assert "0.75" not in {text.get_text() for text in ax.texts}   # its cell is small
    assert "0.75" in {text.get_text() for text in plots.pair_values(few, annotate=True).texts}
    none = {text.get_text() for text in plots.pair_values(few, annotate=False).texts}
    assert none == {"200", "103"}
    many = plots.pair_values(pairs(np.random.default_rng(0).normal(size=(60, 60)), np.full((60, 60), 100)))
    assert not {text for text in many.texts if "." in text.get_text()}
    plt.close("all")


def test_axes_bear_the_fields_and_values_in_the_table_s_order():
    table = pairs([[1, 2]], [[1, 1]]).iloc[::-1]
    ax = plots.pair_values(table, ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["v1", "v0"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("user", "video")
    dollars = table.replace({"value_j": {"v0": "$a$", "v1": "a\nb"}})
    plots.pair_values(dollars, ax=Figure().subplots()).figure.draw_without_rendering()


def test_two_values_twice_and_wrong_counts_are_refused():
    table = pairs([[1, 2]], [[1, 1]])
    with pytest.raises(ValueError, match="one line for each two values"):
        plots.pair_values(pd.concat([table, table]))
    with pytest.raises(ValueError, match="full must be"):
        plots.pair_values(table, full=0)
    with pytest.raises(ValueError, match="one line for each value"):
        plots.field_values(pd.DataFrame({"value": ["a", "a"], "term": 1.0, "rows": 1}))


# ---- one field ------------------------------------------------------------------------------------------


def field(labels, at=None, spread=0.0):
    term = np.linspace(-1, 2, len(labels))
    table = pd.DataFrame({"value": labels, "term": term, "low": term - spread, "high": term + spread,
                          "rows": np.arange(len(labels)) + 1})
    table.attrs = {"field": "hour", "unit": "log-odds", "at": at or {}, "interval": "percentiles"}
    return table


def test_values_are_bars_with_their_rows_below():
    ax = plots.field_values(field(["a", "b", "c"], spread=0.1), ax=Figure().subplots())
    terms, rows = [[bar.get_height() for bar in container] for container in ax.containers]
    assert terms == [-1, 0.5, 2]
    np.testing.assert_allclose(np.divide(rows, max(rows)), [1 / 3, 2 / 3, 1])
    lowest = min(bar.get_y() for bar in ax.containers[0])
    assert all(bar.get_y() + bar.get_height() < min(lowest, -1) for bar in ax.containers[1])      # below all bars
    assert "whiskers: percentiles" in ax.get_title() and "rows, at most 3" in ax.get_title()
    assert "whiskers" not in plots.field_values(field(["a", "b"]), ax=Figure().subplots()).get_title()


def test_numbers_are_a_curve_at_their_places_and_missing_a_point_beside_it():
    table = field(["1", "2 to 3", "9", "(missing)"], {"1": 1.0, "2 to 3": 2.4, "9": 9.0}, spread=0.1)
    ax = plots.field_values(table, ax=Figure().subplots())
    curve, point = ax.lines[:2]
    assert curve.get_xdata().tolist() == [1, 2.4, 9] and curve.get_ydata().tolist() == [-1, 0, 1]
    assert point.get_xdata()[0] > 9 and point.get_ydata().tolist() == [2]
    assert [text.get_text() for text in ax.texts] == ["(missing)"]
    assert "band: percentiles" in ax.get_title()


def test_one_value_and_a_long_vocabulary():
    plots.field_values(field(["only"])).figure.draw_without_rendering()
    plots.field_values(field(["5"], {"5": 5.0})).figure.draw_without_rendering()
    ax = plots.field_values(field([f"value number {k}" for k in range(200)]), ax=Figure().subplots())
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 <= right.x0 + 0.5 for left, right in itertools.pairwise(boxes))
    plt.close("all")


def test_a_curve_goes_from_number_to_number_in_whatever_order_its_lines_stand():
    table = pd.DataFrame({"value": ["1", "2", "5", "(missing)"], "term": [0.1, -0.3, 0.2, 0.4],
                          "low": [0.0, -0.4, 0.1, 0.3], "high": [0.2, 0.0, 0.3, 0.5], "rows": [10, 20, 30, 5]})
    table.attrs = {"at": {"1": 1.0, "2": 2.0, "5": 5.0}}
    ax = plots.field_values(table.sort_values("term"), ax=Figure().subplots())
    curve = next(line for line in ax.lines if len(line.get_xdata()) == 3)
    assert curve.get_xdata().tolist() == [1, 2, 5] and curve.get_ydata().tolist() == [0.1, -0.3, 0.2]


@pytest.mark.parametrize("column", ["term", "rows"])
def test_a_column_that_holds_text_is_named(column):
    table = pd.DataFrame({"value": ["a", "b"], "term": [0.2, -0.4], "rows": [10, 5]}).astype({column: object})
    table.loc[1, column] = "many"
    with pytest.raises(ValueError, match=rf"columns \['{column}'\] of the table .* must hold numbers: .*'many'"):
        plots.field_values(table, ax=Figure().subplots())
