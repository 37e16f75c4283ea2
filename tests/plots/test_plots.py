"""Every plot function: the contract they all keep, then what each of them draws."""

import inspect
import itertools
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from minictr import plots
from minictr.plots import shared

plt.switch_backend("Agg")
few_examples = examples(12)  # each draws a plot or several

SITE = ["user", "movie", "gender", "age", "occupation", "zip", "genres", "year", "hour",
        "weekday", "device", "banner_pos", "site_category", "app_domain", "weather"]


@pytest.fixture(autouse=True)
def close_figures():
    """Leave no figure open."""
    yield
    plt.close("all")


def field_names(count, long=False):
    """Return field names as found in real data sets."""
    if long:
        kinds = ["user", "item", "context"]
        return [f"{kinds[k % 3]}_profile_history_{SITE[k % 15]}_bucket_{k}" for k in range(count)]
    return SITE[:count] if count <= 15 else [f"C{k}" for k in range(1, count + 1)]


def pair_table(count=6, quantity="attention", signed=False, interval=True, long=False, seed=0):
    """Return a table of pairs like those of explain."""
    rng = np.random.default_rng(seed)
    fields = field_names(count, long)
    pairs = list(itertools.combinations(fields, 2))
    value = rng.dirichlet(np.full(len(pairs), 2.0))
    if quantity != "attention":
        value = rng.normal(0, 0.4, len(pairs)) if signed else rng.gamma(0.7, 0.4, len(pairs))
    table = pd.DataFrame(pairs, columns=["field_i", "field_j"]).assign(value=value)
    unit = {"attention": "mean attention weight (share of 1)"}.get(quantity, "size (log-odds)")
    table.attrs = {"quantity": quantity, "unit": unit, "fields": fields}
    if interval:
        table["low"], table["high"] = value - 0.3 * abs(value), value + 0.5 * abs(value)
        table.attrs["interval"] = "5th to 95th percentile over rows"
    if quantity == "attention":
        table["uniform"] = table.attrs["uniform"] = 1 / len(pairs)
    return table


def grid_table(count=4, layers=3, heads=2, long=False):
    """Return a table like AutoInt's attention; every query's weights sum to 1."""
    rng = np.random.default_rng(0)
    fields = field_names(count, long)
    rows = [(layer, head, query, key, weight)
            for layer in range(1, layers + 1) for head in range(1, heads + 1) for query in fields
            for key, weight in zip(fields, rng.dirichlet(np.full(count, 0.5)), strict=True)]
    table = pd.DataFrame(rows, columns=["layer", "head", "field_i", "field_j", "value"])
    table.attrs = {"quantity": "attention", "unit": "mean attention weight (share of 1)",
                   "fields": fields, "uniform": 1 / count}
    return table


def term_table(count=6, rows=1, task="binary", long=False):
    """Return the terms of some predictions."""
    rng = np.random.default_rng(0)
    fields = field_names(count, long)
    terms = []
    for row in range(rows):
        terms.append((row, "bias", None, None, -2.0 + row))
        terms += [(row, "field", name, None, rng.normal(0, 0.4)) for name in fields]
        terms += [(row, "pair", *pair, rng.normal(0, 0.3))
                  for pair in itertools.combinations(fields, 2)]
    table = pd.DataFrame(terms, columns=["row", "term", "field_i", "field_j", "value"])
    table.attrs = {"quantity": "contribution", "task": task, "unit": "contribution (stars)"}
    return table


def history_table(epochs=12, validation=True, loss="log loss"):
    """Return the losses of a training run that overfits after epoch 6."""
    epoch = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "train_loss": 0.35 + 0.25 * np.exp(-epoch / 3),
                          "val_loss": 0.42 + 0.004 * (epoch - 6.0) ** 2, "seconds": 0.5})
    if not validation:
        table["val_loss"] = np.nan
    table.attrs = {"loss": loss, "base_loss": 0.56, "best_epoch": 6 if validation else epochs}
    return table


def outcomes(rows=1000):
    """Return clicks that follow their predicted probabilities."""
    rng = np.random.default_rng(0)
    p = rng.beta(1, 8, rows)
    return (rng.random(rows) < p).astype(int), p


def group_table(count=6, groups=2, long=False):
    """Return pairs by group."""
    parts = [pair_table(count, long=long, seed=g).assign(group=f"group {g}", rows=100 * (g + 1)) for g in range(groups)]
    table = pd.concat([pd.DataFrame(part.to_dict("series")) for part in parts], ignore_index=True)
    table.attrs = pair_table(count, long=long).attrs | {"by": "device"}
    return table


def epoch_table(count=6, epochs=4, long=False):
    """Return pairs by epoch."""
    table = group_table(count, epochs, long)
    table["epoch"] = table.pop("group").str[6:].astype(int) + 1
    return table


def vector_table(values=6, k=4, long=False):
    """Return the vectors of a field's values."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(values, k)), columns=[f"v{f + 1}" for f in range(k)])
    table.insert(0, "value", field_names(values, long))
    table.insert(1, "count", rng.integers(1, 1000, values))
    table.attrs = {"field": "genres"}
    return table


def change_table(count=6, task="binary", long=False):
    """Return what other values of the fields would predict."""
    rng = np.random.default_rng(0)
    now = 0.3
    lines = [(name, f"now of {name}", f"{value} of {name}" if long else value, 0.2, p, p - now, p >= 0.5)
             for name in field_names(count, long)
             for value, p in zip("abc", rng.uniform(0, 1, 3), strict=True)]
    table = pd.DataFrame(lines, columns=["field", "now", "instead", "share", "prediction", "change", "crosses"])
    table.attrs = {"quantity": "prediction", "prediction": now, "fields": field_names(count, long),
                   "unit": "probability" if task == "binary" else "units of the target",
                   "threshold": 0.5 if task == "binary" else None}
    return table


def value_pair_table(count=6, long=False):
    """Return two fields' values; rows and terms differ from cell to cell, and some have no rows."""
    rng = np.random.default_rng(0)
    values = field_names(count, long)
    table = pd.DataFrame(list(itertools.product(values, values)), columns=["value_i", "value_j"])
    table["term"] = table["low"] = table["high"] = rng.normal(size=len(table))
    table["rows"] = rng.integers(0, 150, len(table)) * (rng.random(len(table)) < 0.9)
    table.attrs = {"quantity": "contribution", "unit": "log-odds", "fields": ("segment", "category"),
                   "source": "the model's own terms, purified"}
    return table


def value_table(count=6, long=False, numbers=False):
    """Return one field's values."""
    rng = np.random.default_rng(0)
    values = [*map(str, range(count))] if numbers else field_names(count, long)
    term = rng.normal(size=count)
    table = pd.DataFrame({"value": values, "term": term, "low": term - 0.1, "high": term + 0.2, "rows": range(count)})
    table.attrs = {"quantity": "contribution", "unit": "log-odds", "field": "hour", "interval": "some percentiles",
                   "at": {value: float(value) ** 2 for value in values[:-1]} if numbers else {}}
    return table


def importance_table(count=6, long=False, seed=0):
    """Return fields and pairs in one ranking, a few shares being negative."""
    rng = np.random.default_rng(seed)
    fields = field_names(count, long)
    table = pd.DataFrame([("field", name, None) for name in fields]
                         + [("pair", *pair) for pair in itertools.combinations(fields, 2)]
                         + [("deep part", None, None)], columns=["term", "field_i", "field_j"], dtype=object)
    table["value"] = rng.gamma(0.7, 0.4, len(table))
    table["low"], table["high"] = 0.3 * table["value"], 2 * table["value"]
    share = table["value"] ** 2 * np.where(np.arange(len(table)) % 5 == 1, -0.5, 1)
    table["share"] = share / share.sum()
    table = table.sort_values("value", ascending=False, ignore_index=True)
    table.attrs = {"quantity": "importance", "unit": "mean |term| (log-odds)", "fields": fields, "purified": True,
                   "interval": "5th to 95th percentile over rows"}
    return table


# name -> (function, its data, how many Axes it draws on)
CASES = {
    "pair_heatmap": (plots.pair_heatmap, [pair_table()], 1),
    "pair_heatmap signed": (plots.pair_heatmap, [pair_table(quantity="effect", signed=True)], 1),
    "pair_ranking": (plots.pair_ranking, [pair_table()], 1),
    "pair_ranking signed": (plots.pair_ranking, [pair_table(quantity="effect", signed=True)], 1),
    "attention_grid": (plots.attention_grid, [grid_table()], 6),
    "history": (plots.history, [history_table()], 1),
    "truth_vs_learned": (plots.truth_vs_learned,
                         [pair_table(quantity="planted effect", interval=False), pair_table(seed=1),
                          pair_table(quantity="contribution", seed=2)], 3),
    "waterfall": (plots.waterfall, [term_table()], 1),
    "waterfall regression": (plots.waterfall, [term_table(task="regression")], 1),
    "calibration": (plots.calibration, outcomes(), 1),
    "attention_vs_contribution": (plots.attention_vs_contribution,
                                  [pair_table(), pair_table(quantity="contribution", seed=1)], 1),
    "pair_groups": (plots.pair_groups, [group_table()], 1),
    "attention_over_epochs": (plots.attention_over_epochs, [epoch_table()], 4),
    "embeddings": (plots.embeddings, [vector_table()], 1),
    "importance": (plots.importance, [importance_table()], 1),
    "network": (plots.network, [importance_table()], 1),
    "network of pairs": (plots.network, [pair_table()], 1),
    "beeswarm": (plots.beeswarm, [term_table(rows=8)], 1),
    "counterfactuals": (plots.counterfactuals, [change_table()], 1),
    "pair_values": (plots.pair_values, [value_pair_table()], 1),
    "field_values": (plots.field_values, [value_table()], 1),
    "field_values of numbers": (plots.field_values, [value_table(numbers=True)], 1),
    "counterfactuals regression": (plots.counterfactuals, [change_table(task="regression")], 1),
}
all_plots = pytest.mark.parametrize(("function", "data", "count"), CASES.values(), ids=CASES)


def keyword(count, axes):
    """Return the argument that hands over `count` Axes."""
    return {"ax": axes[0]} if count == 1 else {"axes": axes[:count]}


def refuse(*args, **kwargs):
    raise AssertionError("a plot function must not call this")


# ---- the contract --------------------------------------------------------------------------------


@all_plots
def test_draws_only_on_the_given_axes(function, data, count, monkeypatch):
    for name in ("show", "tight_layout", "subplots", "figure", "gca", "sca", "ion", "ioff"):
        monkeypatch.setattr(plt, name, refuse)
    monkeypatch.setattr(Figure, "tight_layout", refuse)
    figure = Figure(figsize=(12, 12))
    axes = figure.subplots(3, 3).ravel()
    boxes = [ax.get_position().bounds for ax in axes]
    others = [len(ax.get_children()) for ax in axes[count:]]
    settings, open_figures, size = dict(mpl.rcParams), plt.get_fignums(), figure.get_size_inches()
    before = [item.copy() for item in data]

    returned = function(*data, **keyword(count, axes))

    returned = [returned] if count == 1 else returned.ravel().tolist()
    assert all(one is given for one, given in zip(returned, axes[:count], strict=True))
    assert all(ax.has_data() for ax in returned)
    assert dict(mpl.rcParams) == settings and plt.get_fignums() == open_figures
    assert list(figure.get_size_inches()) == list(size) and figure.get_layout_engine() is None
    assert figure.axes == axes.tolist()  # the colour bar lies inside the Axes given
    assert [ax.get_position(original=True).bounds for ax in axes] == boxes
    assert [len(ax.get_children()) for ax in axes[count:]] == others
    for now, then in zip(data, before, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(now), pd.DataFrame(then))
        assert getattr(now, "attrs", None) == getattr(then, "attrs", None)
    for ax in axes[count:]:
        ax.remove()                                               # an empty one only takes time
    figure.draw_without_rendering()


@all_plots
def test_without_axes_makes_one_new_constrained_figure(function, data, count, monkeypatch):
    monkeypatch.setattr(plt, "show", refuse)
    mine = plt.figure().add_subplot()
    settings = dict(mpl.rcParams)
    returned = function(*data)
    figure = np.ravel(returned)[0].figure
    assert figure is not mine.figure and not mine.has_data()
    assert len(plt.get_fignums()) == 2 and len(figure.axes) == count
    assert "Constrained" in type(figure.get_layout_engine()).__name__
    assert isinstance(returned, mpl.axes.Axes if count == 1 else np.ndarray)
    assert dict(mpl.rcParams) == settings


@all_plots
def test_options_are_keyword_only(function, data, count):
    parameters = inspect.signature(function).parameters
    positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) == (2 if function in (plots.calibration, plots.attention_vs_contribution) else 1)
    assert parameters["ax" if count == 1 else "axes"].default is None


def test_matplotlib_is_imported_late_and_pyplot_only_for_a_new_figure():
    code = ("import sys, pandas as pd\n"
            "from minictr import plots\n"
            "assert 'matplotlib' not in sys.modules\n"
            "from matplotlib.figure import Figure\n"
            "table = pd.DataFrame({'field_i': ['a'], 'field_j': ['b'], 'value': [1.0]})\n"
            "plots.pair_heatmap(table, ax=Figure().subplots())\n"
            "assert 'matplotlib.pyplot' not in sys.modules\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("count", [7, *(pytest.param(count, marks=pytest.mark.long) for count in (2, 15, 40))])
@pytest.mark.parametrize("draw", [
    lambda count, long: plots.pair_heatmap(pair_table(count, long=long)),
    lambda count, long: plots.pair_ranking(pair_table(count, long=long)),
    lambda count, long: plots.waterfall(term_table(count, long=long)),
    lambda count, long: plots.attention_grid(grid_table(count, 1, 2, long))[0, 0],
    lambda count, long: plots.truth_vs_learned(*[pair_table(count, long=long)] * 2)[0],
    lambda count, long: plots.pair_groups(group_table(count, long=long)),
    lambda count, long: plots.attention_over_epochs(epoch_table(count, 2, long))[0],
    lambda count, long: plots.counterfactuals(change_table(count, long=long)),
    lambda count, long: plots.pair_values(value_pair_table(count, long)),
    lambda count, long: plots.field_values(value_table(count, long)),
    lambda count, long: plots.importance(importance_table(count, long)),
    lambda count, long: plots.beeswarm(term_table(count, 5, long=long)),
], ids=["heatmap", "ranking", "waterfall", "grid", "truth", "groups", "epochs", "changes", "values", "field values",
        "importance", "beeswarm"])
def test_names_neither_overlap_nor_leave_the_figure(draw, count, long):
    ax = draw(count, long)
    ax.figure.draw_without_rendering()
    page = ax.figure.bbox
    for axis, near, far in ((ax.yaxis, "y0", "y1"), (ax.xaxis, "x0", "x1")):
        labels = [label for label in axis.get_ticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
        boxes.sort(key=lambda box: getattr(box, near))
        for box, following in itertools.pairwise(boxes):
            assert getattr(box, far) <= getattr(following, near) + 0.5
        if axis is ax.yaxis:
            assert all(box.x0 >= 0 and box.y0 >= 0 and box.y1 <= page.height for box in boxes)
    title = ax.title.get_window_extent()
    assert title.x0 >= 0 and title.x1 <= page.width and title.y1 <= page.height


def test_small_axes_name_only_as_many_fields_as_can_be_read():
    ax = plots.pair_heatmap(pair_table(40), ax=Figure((3, 3)).subplots())
    ax.figure.draw_without_rendering()
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown == field_names(40)[:: 40 // len(shown)] and len(shown) < 40
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
    assert all(label.get_fontsize() >= 5 for label in ax.get_yticklabels())


# ---- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "source"), [
    (plots.pair_heatmap, "explain.pair_importance"), (plots.pair_ranking, "explain.attention"),
    (plots.attention_grid, "explain.attention"), (plots.waterfall, "explain.contributions"),
    (plots.history, "model.history_"), (plots.pair_groups, "by=..."), (plots.embeddings, "explain.embeddings"),
    (plots.pair_values, "explain.pair_values"), (plots.field_values, "explain.field_values"),
    (plots.attention_over_epochs, "AttentionOverEpochs"), (plots.counterfactuals, "explain.one_prediction"),
    (plots.importance, "explain.importance"), (plots.network, "explain.importance"),
    (plots.beeswarm, "explain.contributions"),
    (lambda table: plots.truth_vs_learned(pair_table(), table), "explain.pair_importance"),
])
def test_a_wrong_table_names_the_function_that_makes_the_right_one(function, source):
    with pytest.raises(ValueError, match="lacks the columns") as error:
        function(pd.DataFrame({"something": [1, 2]}))
    assert source in str(error.value) and "something" in str(error.value)
    with pytest.raises(TypeError, match="plots draw tables") as error:
        function("a model")
    assert source in str(error.value)


@all_plots
def test_an_empty_table_is_refused(function, data, count):
    with pytest.raises(ValueError, match=r"no rows|not empty"):
        function(*(item[:0] for item in data))


@all_plots
def test_values_that_are_infinite_or_all_missing_are_refused(function, data, count):
    if function is plots.calibration:
        return
    column = {plots.history: "train_loss", plots.embeddings: "v1", plots.counterfactuals: "prediction",
              plots.pair_values: "term", plots.field_values: "term"}.get(function, "value")
    one_infinite = data[0].copy()
    one_infinite.loc[2, column] = np.inf
    with pytest.raises(ValueError, match=r"entry 2 .*finite"):
        function(one_infinite, *data[1:])
    with pytest.raises(ValueError, match="nothing but NaN"):
        function(data[0].assign(**{column: np.nan}), *data[1:])


@pytest.mark.parametrize("function", [plots.pair_heatmap, plots.pair_ranking])
def test_other_tables_are_not_taken_for_pairs(function):
    with pytest.raises(ValueError, match=r"plots.attention_grid"):
        function(grid_table())
    with pytest.raises(ValueError, match=r"plots.waterfall"):
        function(term_table())
    table = pair_table(3, interval=False)
    table.loc[2, ["field_i", "field_j"]] = table.loc[0, ["field_j", "field_i"]].to_numpy()
    with pytest.raises(ValueError, match=r"entry 2 .*one row for each pair"):
        function(table)
    table.loc[2, "field_j"] = table.loc[2, "field_i"]
    with pytest.raises(ValueError, match=r"entry 2 .*one row for each pair"):
        function(table)
    table.loc[2, "field_j"] = "unlisted"
    with pytest.raises(ValueError, match=r"entry 2 .*unlisted.*attrs"):
        function(table)


@pytest.mark.parametrize("top", [0, -1, 2.5, True, None])
def test_top_and_bins_must_be_counts(top):
    with pytest.raises(ValueError, match="top must be a whole number"):
        plots.pair_ranking(pair_table(), top=top)
    with pytest.raises(ValueError, match="top must be a whole number"):
        plots.waterfall(term_table(), top=top)
    with pytest.raises(ValueError, match="bins must be a whole number"):
        plots.calibration(*outcomes(), bins=top)


def test_a_wrong_number_of_axes_is_refused():
    axes = Figure().subplots(1, 4)
    with pytest.raises(ValueError, match="3 x 2 Axes, got 4"):
        plots.attention_grid(grid_table(), axes=axes)
    with pytest.raises(ValueError, match="1 x 2 Axes, got 4"):
        plots.truth_vs_learned(pair_table(), pair_table(), axes=axes)


# ---- pair_heatmap --------------------------------------------------------------------------------


def cells(ax):
    """Return the drawn matrix, NaN where nothing is drawn."""
    return ax.images[0].get_array().filled(np.nan)


@few_examples
@given(st.integers(2, 9), st.randoms(use_true_random=False))
def test_heatmap_puts_each_pair_once_into_the_lower_triangle(count, random):
    table = pair_table(count, quantity="contribution", signed=True, interval=False)
    expected = np.full((count, count), np.nan)
    expected[np.tril_indices(count, -1)] = 0  # the pairs, in an order of their own:
    for (i, j), value in zip(itertools.combinations(range(count), 2), table["value"], strict=True):
        expected[j, i] = value
    order = list(range(len(table)))
    random.shuffle(order)
    swapped = table.iloc[order].rename(columns={"field_i": "field_j", "field_j": "field_i"})
    for variant in (table, table.iloc[order], swapped):
        ax = plots.pair_heatmap(variant, ax=Figure().subplots())
        np.testing.assert_array_equal(cells(ax), expected)
        assert [label.get_text() for label in ax.get_yticklabels()] == table.attrs["fields"]
        assert [label.get_text() for label in ax.get_xticklabels()] == table.attrs["fields"]


def test_heatmap_colours():
    plain_table = pair_table(quantity="contribution")
    plain = plots.pair_heatmap(plain_table).images[0]
    assert plain.get_clim() == (0, plain_table["value"].max()) and plain.cmap.name == "cividis"
    attention_of_6 = plots.pair_heatmap(pair_table()).images[0]
    assert attention_of_6.get_clim() == (0, pair_table()["value"].max()) and attention_of_6.cmap.name == "PuOr_r"
    assert attention_of_6.norm(1 / 15) == 0.5  # white is the uniform weight
    nearly_uniform = plots.pair_heatmap(pair_table(3).assign(value=[0.33, 0.33, 0.34])).images[0]
    assert nearly_uniform.get_clim() == (0, 0.5)  # else a trace of attention would look like a strong one
    signed_table = pair_table(quantity="contribution", signed=True)
    signed = plots.pair_heatmap(signed_table).images[0]
    largest = signed_table["value"].abs().max()
    assert signed.get_clim() == (-largest, largest) and signed.cmap.name == "RdBu_r"
    assert signed.norm(0) == 0.5  # white is zero
    assert plots.pair_heatmap(pair_table(), cmap="viridis").images[0].cmap.name == "viridis"


def test_heatmap_says_what_the_numbers_are():
    ax = plots.pair_heatmap(pair_table())
    (bar,) = ax.child_axes
    label = bar.get_xlabel().replace("\n", " ")
    assert "mean attention weight (share of 1)" in label and "uniform, 0.0667" in label
    assert [line.get_xdata()[0] for line in bar.lines] == [1 / 15]
    assert ax.get_title() == "attention"
    assert "uniform" not in plots.pair_heatmap(pair_table(quantity="x")).child_axes[0].get_xlabel()


def test_heatmap_prints_numbers_while_they_are_legible():
    ax = plots.pair_heatmap(pair_table(7, quantity="contribution", signed=True))
    printed = {text.get_position(): float(text.get_text()) for text in ax.texts}
    assert len(printed) == 21
    for (column, row), number in printed.items():
        assert number == pytest.approx(cells(ax)[row, column], abs=0.006)
    assert len(plots.pair_heatmap(pair_table(15)).texts) == 105
    assert not plots.pair_heatmap(pair_table(16)).texts
    assert not plots.pair_heatmap(pair_table(15), ax=Figure((2, 2)).subplots()).texts
    assert not plots.pair_heatmap(pair_table(7), annotate=False).texts
    assert len(plots.pair_heatmap(pair_table(16), annotate=True).texts) == 120


def test_numbers_stand_out_from_their_cell():
    ax = plots.pair_heatmap(pair_table(3, quantity="contribution").assign(value=[0.0, 0.5, 1.0]))
    colours = {text.get_text(): text.get_color() for text in ax.texts}
    assert colours["0.00"] == "white" and colours["1.00"] == "black"


def test_one_pair_of_attention_is_called_trivial():
    for function in (plots.pair_heatmap, plots.pair_ranking):
        assert "always 1" in function(pair_table(2)).get_title()
        assert "always 1" not in function(pair_table(3)).get_title()
        assert "always 1" not in function(pair_table(2, quantity="contribution")).get_title()


def test_a_pair_without_a_value_is_hatched_not_coloured():
    table = pair_table(4)
    table.loc[1, "value"] = np.nan
    ax = plots.pair_heatmap(table.drop(index=4))  # one NaN, one absent
    assert np.isnan(cells(ax)[2, 0]) and np.isnan(cells(ax)[3, 1])
    corners = {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in ax.patches}
    assert corners == {(0, 2), (1, 3)} and all(patch.get_hatch() for patch in ax.patches)
    assert len(ax.texts) == 4


@pytest.mark.parametrize("value", [0.0, 0.25, 1e-9, 3e7, -2.0])
def test_equal_values_draw_without_warnings(value):
    table = pair_table(5).assign(value=value)
    for function in (plots.pair_heatmap, plots.pair_ranking):
        ax = function(table)
        ax.figure.draw_without_rendering()
        numbers = [text.get_text() for text in ax.texts if "sum" not in text.get_text()]
        assert [float(number) for number in numbers] == [value] * len(numbers)
    low, high = plots.pair_heatmap(table).images[0].get_clim()
    assert low < high


def test_a_table_that_lost_its_attrs_is_still_drawn():
    table = pair_table(4, quantity="contribution")
    table.attrs = {}
    ax = plots.pair_heatmap(table)
    assert [label.get_text() for label in ax.get_yticklabels()] == field_names(4)
    assert ax.get_title() == "value"
    assert plots.pair_ranking(table).get_xlabel() == "value\nwhiskers: low to high"


def test_names_may_be_numbers_or_hold_dollars_and_line_breaks():
    table = pd.DataFrame({"field_i": [1, 1, "$a$"], "field_j": ["$a$", "two\nlines", "two\nlines"],
                          "value": [1.0, 2.0, 3.0]})
    for ax in (plots.pair_heatmap(table), plots.pair_ranking(table)):
        ax.figure.draw_without_rendering()
        labels = ax.get_yticklabels()
        assert not any(label.get_parse_math() for label in labels)
    assert [label.get_text() for label in labels] == ["$a$ × two lines", "1 × two lines", "1 × $a$"]


@given(st.lists(st.text("ab_", min_size=1, max_size=60), min_size=1, max_size=12, unique=True))
def test_short_names_stay_different(names):
    short = shared.short_names(names)
    assert list(short) == names and len(set(short.values())) == len(names)
    if all(len(name) <= 18 for name in names):
        assert list(short.values()) == names


def test_long_names_with_equal_ends_are_told_apart():
    names = [f"count_of_clicks_{kind}_by_this_user_today" for kind in ("item", "shop", "page")]
    short = list(shared.short_names(names).values())
    assert len(set(short)) == 3 and all("…" in name and len(name) < 35 for name in short)


# ---- pair_ranking --------------------------------------------------------------------------------


def bars(ax):
    """Return (label, left end, length) of each bar from the top down."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    drawn = sorted(ax.patches, key=lambda bar: bar.get_y())
    return [(name, bar.get_x(), bar.get_width()) for name, bar in zip(names, drawn, strict=True)]


@few_examples
@given(st.integers(2, 8), st.integers(1, 12), st.booleans())
def test_ranking_shows_the_largest_and_sums_the_rest(count, top, signed):
    table = pair_table(count, "contribution", signed)
    ax = plots.pair_ranking(table, top=top, ax=Figure().subplots())
    drawn = bars(ax)
    ranked = table.iloc[np.argsort(-table["value"].abs(), kind="stable")]
    first = ranked[:top]
    assert [name for name, _, _ in drawn[:top]] == list(first["field_i"] + " × " + first["field_j"])
    np.testing.assert_allclose([width for _, _, width in drawn[:top]], first["value"])
    assert sum(width for _, _, width in drawn) == pytest.approx(table["value"].sum())
    rest = len(table) - top
    if rest > 0:
        assert drawn[top][0] == f"others ({rest} pair{'s' if rest > 1 else ''})"
    else:
        assert len(drawn) == len(table)
    bottom, upper = ax.get_ylim()
    assert bottom > upper  # the first bar is on top


def test_ranking_whiskers_and_their_name():
    ax = plots.pair_ranking(pair_table(3))
    table = pair_table(3).sort_values("value", ascending=False)
    whiskers = np.array([segment[:, 0] for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(whiskers, table[["low", "high"]])
    assert "whiskers: 5th to 95th percentile over rows" in ax.get_xlabel()
    assert ax.get_xlim()[1] > table["high"].max()
    plain = plots.pair_ranking(pair_table(3, interval=False))
    assert not plain.collections and "whiskers" not in plain.get_xlabel()
    half = pair_table(3)
    half.loc[0, ["low", "high"]] = np.nan
    ax = plots.pair_ranking(half)
    ax.figure.draw_without_rendering()
    assert "whiskers" in ax.get_xlabel() and len(ax.patches) == 3


def test_ranking_marks_uniform_attention():
    ax = plots.pair_ranking(pair_table(4))
    dashed = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed == [1 / 6] and "uniform attention, 0.167" in ax.get_xlabel()
    ax = plots.pair_ranking(pair_table(4, quantity="contribution"))
    assert not [line for line in ax.lines if line.get_linestyle() == "--"]


def test_the_sum_of_the_others_does_not_squeeze_the_bars():
    ax = plots.pair_ranking(pair_table(40))
    total = bars(ax)[-1][2]
    assert total > 0.9 and ax.get_xlim()[1] < 0.05
    (text,) = (text.get_text() for text in ax.texts if "sum" in text.get_text())
    assert text.endswith("→") and f"{total:.4f}" in text
    table = pair_table(8, quantity="contribution", signed=True)
    table["value"] = np.linspace(-0.5, -0.4, len(table))
    assert "← sum" in plots.pair_ranking(table, top=2).texts[-1].get_text()


def test_ranking_tells_signs_apart():
    ax = plots.pair_ranking(pair_table(quantity="contribution", signed=True), top=20)
    colours = {np.sign(bar.get_width()): bar.get_facecolor() for bar in ax.patches}
    assert len(set(colours.values())) == 2
    for text, (_, _, width) in zip(ax.texts, bars(ax), strict=True):
        assert text.get_text().startswith("-") == (width < 0)
        assert text.get_horizontalalignment() == ("right" if width < 0 else "left")


def test_ranking_leaves_out_pairs_without_a_value_and_says_so():
    table = pair_table(4)
    table.loc[[0, 3], "value"] = np.nan
    ax = plots.pair_ranking(table)
    assert len(ax.patches) == 4 and "left out: 2 pairs without a value" in ax.get_xlabel()


# ---- attention_grid ------------------------------------------------------------------------------


def test_grid_panels_hold_layer_head_query_key():
    table = grid_table(3, layers=2, heads=2)
    axes = plots.attention_grid(table.sample(frac=1, random_state=0))
    assert axes.shape == (2, 2)
    for (row, column), ax in np.ndenumerate(axes):
        part = table[(table["layer"] == row + 1) & (table["head"] == column + 1)]
        wanted = part.pivot(index="field_i", columns="field_j", values="value")
        np.testing.assert_array_equal(cells(ax), wanted.loc[field_names(3), field_names(3)])
        np.testing.assert_allclose(cells(ax).sum(axis=1), 1)
        assert ax.get_title() == f"layer {row + 1}, head {column + 1}"
        assert ax.images[0].get_clim() == (0, table["value"].max())
    assert axes[0, 0].get_ylabel() == "query (asks)" and axes[1, 0].get_xlabel() == "key (answers)"
    assert axes[0, 1].get_ylabel() == "" and axes[0, 1].get_xlabel() == ""
    assert [len(ax.child_axes) for ax in axes.flat] == [0, 1, 0, 0]  # one colour bar
    assert "uniform, 0.333" in axes[0, 1].child_axes[0].get_ylabel()


def test_grid_takes_a_selection_of_layers_and_any_shape_of_axes():
    table = grid_table(3)
    axes = plots.attention_grid(table[table["layer"] == 2], axes=Figure().subplots(2, 1))
    assert [ax.get_title() for ax in axes[0]] == ["layer 2, head 1", "layer 2, head 2"]


def test_grid_refuses_an_entry_that_occurs_twice():
    table = pd.concat([grid_table(2), grid_table(2)[3:4]])
    with pytest.raises(ValueError, match=r"entry 24 .*one row for each"):
        plots.attention_grid(table)


# ---- history -------------------------------------------------------------------------------------


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_history_lines_best_epoch_and_base_rate():
    ax = plots.history(history_table())
    assert legend(ax) == ["training", "validation", "best epoch 6: 0.4200", "always the mean: 0.5600"]
    training, validation, best, base = ax.lines
    np.testing.assert_array_equal(training.get_ydata(), history_table()["train_loss"])
    np.testing.assert_array_equal(validation.get_ydata(), history_table()["val_loss"])
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (6, history_table()["val_loss"][5])
    assert set(base.get_ydata()) == {0.56} and base.get_linestyle() == "--"
    assert ax.get_ylabel() == "log loss"


def test_history_without_validation_or_attrs():
    ax = plots.history(history_table(validation=False, loss="squared error"))
    assert legend(ax)[::2] == ["training", "always the mean: 0.5600"]
    assert ax.get_ylabel() == "squared error" and len(ax.lines) == 3
    table = history_table()
    table.attrs = {}
    assert legend(plots.history(table)) == ["training", "validation", "best epoch 6: 0.4200"]


def test_history_of_one_epoch_counts_in_whole_epochs():
    ax = plots.history(history_table(epochs=1))
    ax.figure.draw_without_rendering()
    assert all(tick == round(tick) for tick in ax.get_xticks())


# ---- truth_vs_learned ----------------------------------------------------------------------------


def test_truth_and_learned_share_the_order_of_fields_not_the_scale():
    truth = pair_table(5, quantity="planted effect", interval=False)
    learned = pair_table(5, quantity="attention", seed=1)
    learned.attrs["fields"] = learned.attrs["fields"][::-1]
    left, right = plots.truth_vs_learned(truth, learned)
    for ax, table in ((left, truth), (right, learned)):
        assert [label.get_text() for label in ax.get_yticklabels()] == truth.attrs["fields"]
        assert cells(ax)[3, 1] == table["value"][5]  # the pair (1, 3) comes sixth
        assert ax.get_title() == table.attrs["quantity"]
        assert ax.images[0].get_clim()[1] == table["value"].max()


def test_truth_needs_learned_tables_over_the_same_fields():
    with pytest.raises(ValueError, match="no learned table"):
        plots.truth_vs_learned(pair_table())
    with pytest.raises(ValueError, match="the same fields"):
        plots.truth_vs_learned(pair_table(4), pair_table(5))


# ---- waterfall -----------------------------------------------------------------------------------


@few_examples
@given(st.integers(1, 7), st.integers(1, 40))
def test_waterfall_bars_join_up_from_bias_to_logit(count, top):
    table = term_table(count)
    drawn = bars(plots.waterfall(table, top=top, ax=Figure().subplots()))
    names = [name for name, _, _ in drawn]
    assert names[0] == "bias" and names[-1] == "logit"
    for (_, start, length), (_, following, _) in itertools.pairwise(drawn[:-1]):
        assert following == pytest.approx(start + length)
    assert drawn[0][1] == drawn[-1][1] == 0
    assert drawn[-1][2] == pytest.approx(table["value"].sum())
    assert drawn[-1][2] == pytest.approx(drawn[-2][1] + drawn[-2][2])
    is_pair = [" × " in name for name in names[1:-1] if not name.startswith("others")]
    assert is_pair == sorted(is_pair)  # fields before pairs
    shown = min(top, len(table) - 1)
    assert len(is_pair) == shown and (len(names) == shown + 3) == (top < len(table) - 1)
    terms = table[table["term"] != "bias"]["value"].abs().sort_values(ascending=False)
    lengths = [abs(length) for name, _, length in drawn[1:-1] if not name.startswith("others")]
    np.testing.assert_allclose(sorted(lengths, reverse=True), terms[:shown])


def test_waterfall_has_a_probability_axis_for_clicks_only():
    table = term_table()
    ax = plots.waterfall(table)
    ax.figure.draw_without_rendering()
    (upper,) = ax.child_axes
    assert upper.get_xlabel() == "probability" and ax.get_xlabel() == "log-odds"
    ticks = [(tick, label.get_text()) for tick, label in zip(upper.get_xticks(),
             upper.get_xticklabels(), strict=True)]
    for logit, text in ticks:
        assert float(text) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
    logit = table["value"].sum()
    assert f"logit {logit:.2f}, probability {1 / (1 + np.exp(-logit)):.3g}" in ax.get_title()
    ax = plots.waterfall(term_table(task="regression"))
    assert not ax.child_axes and ax.get_xlabel() == "contribution (stars)"
    assert bars(ax)[-1][0] == "prediction" and "probability" not in ax.get_title()
    del table.attrs["task"]
    assert plots.waterfall(table).child_axes


def test_waterfall_never_prints_a_certainty_that_is_none():
    table = term_table(2)
    table["value"] = [6.0, 0.1, 0.1, 0.3]
    assert "probability 0.99850" in plots.waterfall(table).get_title()
    table["value"] = [-2000.0, 0.1, 0.1, 0.3]
    plots.waterfall(table).figure.draw_without_rendering()


def test_waterfall_prints_signed_numbers_that_fit():
    ax = plots.waterfall(term_table(3), top=20)
    ax.figure.draw_without_rendering()
    for text, (_, _, length) in zip(ax.texts, bars(ax), strict=True):
        assert float(text.get_text()) == pytest.approx(length, abs=0.006)
        assert text.get_text()[0] == ("+" if length > 0 else "-")
        box = text.get_window_extent()
        assert ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1


def test_waterfall_draws_the_row_asked_for():
    table = term_table(rows=12)
    with pytest.raises(ValueError, match=r"row= one of the 12.*and so on; got row=None"):
        plots.waterfall(table)
    with pytest.raises(ValueError, match=r"got row=99"):
        plots.waterfall(table, row=99)
    ax = plots.waterfall(table, row=3)
    assert bars(ax)[-1][2] == pytest.approx(table[table["row"] == 3]["value"].sum())
    assert ax.get_title().startswith("row 3:")


def test_waterfall_refuses_terms_it_cannot_add():
    table = term_table(2)
    for wrong in (None, "", 3):
        with pytest.raises(ValueError, match=r"entry 1 .*the name of a term, such as bias, field or pair"):
            plots.waterfall(table.assign(term=table["term"].astype(object).where(table["term"] != "field", wrong)))
    table.loc[2, "value"] = np.nan
    with pytest.raises(ValueError, match=r"entry 2 .*its value"):
        plots.waterfall(table)


# ---- calibration ---------------------------------------------------------------------------------


def points(ax):
    return np.asarray(ax.collections[-1].get_offsets())


def test_calibration_bins_hold_equally_many_rows():
    y, p = outcomes(1000)
    ax = plots.calibration(y, p, bins=5)
    order = np.argsort(p).reshape(5, 200)
    np.testing.assert_allclose(points(ax), np.c_[p[order].mean(1), y[order].mean(1)])
    assert legend(ax)[-1] == "5 bins of 200 rows"


@few_examples
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])),
                min_size=1, max_size=30), st.integers(1, 12))
def test_calibration_with_ties_is_independent_of_the_order_of_rows(rows, bins):
    y, p = np.array(rows).T
    ax = plots.calibration(y, p, bins=bins, ax=Figure().subplots())
    back = plots.calibration(y[::-1], p[::-1], bins=bins, ax=Figure().subplots())
    np.testing.assert_allclose(points(ax), points(back))
    assert len(points(ax)) <= min(bins, len(np.unique(p)))
    segments = ax.collections[0].get_segments()
    for segment, (_, observed) in zip(segments, points(ax), strict=True):
        assert segment[0, 1] - 1e-9 <= observed <= segment[1, 1] + 1e-9
        assert segment[0, 1] >= -1e-9 and segment[1, 1] <= 1 + 1e-9


def test_wilson_interval_of_a_known_case():
    ax = plots.calibration([1] + [0] * 9, [0.1] * 10)  # 1 of 10: from 0.0179 to 0.4042
    (segment,) = ax.collections[0].get_segments()
    np.testing.assert_allclose(segment[:, 1], [0.0179, 0.4042], atol=5e-5)
    assert legend(ax)[-1] == "1 bin of 10 rows"


@pytest.mark.parametrize(("y", "p", "message"), [
    ([0, 1], [0.5], "equally long"), ([0, 1], [[0.5, 0.5], [0.2, 0.8]], r"\[:, 1\]"),
    ([0, 2], [0.5, 0.5], r"y\[1\] is 2.0, expected 0 or 1"),
    ([0, np.nan], [0.5, 0.5], r"y\[1\] is nan"), ([0, 1], [1.5, 0.5], r"p\[0\] is 1.5"),
    ([0, 1], [0.5, np.nan], r"p\[1\] is nan"),
])
def test_calibration_refuses_what_is_not_an_outcome_or_a_probability(y, p, message):
    with pytest.raises(ValueError, match=message):
        plots.calibration(y, p)


# ---- attention_vs_contribution -------------------------------------------------------------------


def test_scatter_puts_each_pair_where_its_two_values_are():
    attention, contribution = pair_table(5), pair_table(5, quantity="contribution", signed=True, seed=1)
    mixed = contribution.sample(frac=1, random_state=0).rename(columns={"field_i": "field_j", "field_j": "field_i"})
    ax = plots.attention_vs_contribution(attention, mixed)
    np.testing.assert_allclose(points(ax), np.c_[attention["value"], contribution["value"]])
    ranks = [table["value"].rank() for table in (attention, contribution)]
    assert ax.get_title() == f"rank correlation {np.corrcoef(*ranks)[0, 1]:.2f} over 10 pairs"
    assert "uniform attention, 0.1" in ax.get_xlabel() and ax.get_ylabel() == "size (log-odds)"


def test_scatter_names_the_leaders_where_there_is_room():
    attention = pair_table(6)
    ax = plots.attention_vs_contribution(attention, attention.assign(value=attention["value"] * 2), label=2)
    first = attention.sort_values("value", ascending=False)[:2]
    assert {text.get_text() for text in ax.texts} == set(first["field_i"] + " × " + first["field_j"])
    same = attention.assign(value=0.1)
    ax = plots.attention_vs_contribution(same, same, label=15)      # all at one place: room for four names around it
    assert len(ax.texts) <= 4 and "undefined (all equal)" in ax.get_title()
    assert not plots.attention_vs_contribution(attention, attention, label=0).texts
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in plots.attention_vs_contribution(
        pair_table(40), pair_table(40, seed=1), label=10).texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_scatter_leaves_out_pairs_without_a_value_and_refuses_other_pairs():
    table = pair_table(4)
    table.loc[0, "value"] = np.nan
    assert "over 5 pairs" in plots.attention_vs_contribution(table, pair_table(4)).get_title()
    with pytest.raises(ValueError, match="expected the same pairs"):
        plots.attention_vs_contribution(pair_table(4), pair_table(5))


# ---- pair_groups ---------------------------------------------------------------------------------


def test_groups_are_marks_with_lines_and_the_pairs_that_differ_most_come_first():
    table = group_table(4, groups=3)
    ax = plots.pair_groups(table.sample(frac=1, random_state=1), top=4)
    spread = table.groupby(["field_i", "field_j"])["value"].agg(np.ptp).sort_values(ascending=False)[:4]
    names = [" × ".join(pair) for pair in spread.index]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    labels = {text.get_text() for text in ax.get_legend().get_texts()}
    assert labels == {f"group {g} ({100 * (g + 1)} rows)" for g in range(3)}
    assert ax.get_legend().get_title().get_text() == "attention by device"
    for line, lines in zip(ax.lines, ax.collections, strict=False):
        group = line.get_label()[:7]
        part = table[table["group"] == group].set_index(["field_i", "field_j"]).loc[list(spread.index)]
        np.testing.assert_allclose(line.get_xdata(), part["value"])
        ends = np.array([segment[:, 0] for segment in lines.get_segments()])
        np.testing.assert_allclose(ends, part[["low", "high"]])
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines[:3]}) == 3
    assert "left out: 2 pairs" in ax.get_xlabel() and "uniform attention, 0.167" in ax.get_xlabel()


def test_too_many_groups_and_a_pair_twice_are_refused():
    with pytest.raises(ValueError, match="9 groups, and at most 8"):
        plots.pair_groups(group_table(3, groups=9))
    with pytest.raises(ValueError, match=r"entry 3 .*one row for each pair"):
        plots.pair_groups(pd.concat([group_table(3, 1), group_table(3, 1)[:1]]))
    with pytest.raises(ValueError, match=r"several values of 'group'.*plots.pair_groups.*table\['group'\]"):
        plots.pair_heatmap(group_table(3))
    assert plots.pair_heatmap(group_table(3).query("group == 'group 1'")).get_title() == "attention"


# ---- embeddings ----------------------------------------------------------------------------------


def test_embeddings_are_the_first_two_principal_components():
    table = vector_table(8, 5)
    ax = plots.embeddings(table)
    centred = table[[f"v{f}" for f in range(1, 6)]] - table[[f"v{f}" for f in range(1, 6)]].mean()
    variance = np.linalg.eigvalsh(np.cov(centred.T))[::-1]
    plane = points(ax)
    np.testing.assert_allclose(np.cov(plane.T), np.diag(variance[:2]), atol=1e-12)
    assert f"({variance[0] / variance.sum():.0%} of the variance)" in ax.get_xlabel()
    assert f"({variance[1] / variance.sum():.0%})" in ax.get_ylabel()
    sizes = ax.collections[0].get_sizes()
    assert np.argsort(sizes).tolist() == np.argsort(table["count"]).tolist()
    assert "genres" in ax.get_title() and "8 values" in ax.get_title()


def test_embeddings_name_the_most_frequent_values():
    table = vector_table(9)
    ax = plots.embeddings(table, label=3)
    frequent = table.sort_values("count", ascending=False)["value"][:3]
    assert {text.get_text() for text in ax.texts} <= set(frequent) and ax.texts
    ax = plots.embeddings(vector_table(40, long=True), label=40)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) > 4 and not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert not plots.embeddings(table, label=0).texts


@pytest.mark.parametrize("k", [1, 2])
def test_embeddings_of_one_number_and_of_equal_vectors(k):
    ax = plots.embeddings(vector_table(4, k))
    assert k > 1 or not points(ax)[:, 1].any()
    same = vector_table(4, k).assign(**{f"v{f + 1}": 0.5 for f in range(k)})
    ax = plots.embeddings(same)
    assert not points(ax).any() and "(0% of" in ax.get_xlabel()


def test_embeddings_of_one_value_or_with_a_wrong_label_are_refused():
    with pytest.raises(ValueError, match="one value alone"):
        plots.embeddings(vector_table(1))
    with pytest.raises(ValueError, match="label must be"):
        plots.embeddings(vector_table(3), label=-1)


# ---- one prediction ------------------------------------------------------------------------------


def test_counterfactual_bars_reach_from_the_lowest_to_the_highest_prediction():
    table = change_table(5)
    ax = plots.counterfactuals(table, top=3)
    furthest = table.groupby("field")["change"].agg(lambda column: column.abs().max()).sort_values(ascending=False)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert [label.split(" = ")[0] for label in labels] == furthest.index[:3].tolist()
    assert all(label.split(" = ")[1].startswith("now of") for label in labels)
    for y, field in enumerate(furthest.index[:3]):
        mine = [bar for bar in ax.patches if round(bar.get_y() + bar.get_height() / 2) == y]
        ends = [edge for bar in mine for edge in (bar.get_x(), bar.get_x() + bar.get_width())]
        p = table[table["field"] == field]["prediction"]
        assert min(ends) == pytest.approx(min(p.min(), 0.3)) and max(ends) == pytest.approx(max(p.max(), 0.3))
    assert sorted(line.get_xdata()[0] for line in ax.lines) == [0.3, 0.5]
    assert "as it is, 0.300" in ax.get_xlabel() and "threshold 0.5" in ax.get_xlabel()
    assert all(0 <= tick <= 1 for tick in ax.get_xticks())
    ax = plots.counterfactuals(change_table(task="regression"))
    assert len(ax.lines) == 1 and "units of the target" in ax.get_xlabel()


@pytest.mark.parametrize("count", [2, 8, 40])
def test_counterfactual_texts_do_not_cover_the_names(count):
    ax = plots.counterfactuals(change_table(count, long=True))
    ax.figure.draw_without_rendering()
    for text in ax.texts:
        box = text.get_window_extent()
        assert ax.bbox.x0 <= box.x0 + 1 and box.x1 <= ax.bbox.x1 + 1


def test_counterfactuals_that_change_nothing():
    table = change_table(3).assign(prediction=0.3, change=0.0)
    ax = plots.counterfactuals(table)
    ax.figure.draw_without_rendering()
    assert not ax.patches and len(ax.get_yticklabels()) == 3


class Explained:
    """What explain.one_prediction returns, from tables."""

    def __init__(self, count=6, attention="pairs", exact=True, long=False):
        fields = field_names(count, long)
        self.terms = term_table(count, long=long).replace({"term": {"bias": "average"}})
        self.terms.attrs = {"quantity": "contribution", "task": "binary", "unit": "log-odds", "exact": exact,
                            "values": {name: f"value_of_{name}" for name in fields}}
        self.counterfactuals = change_table(count, long=long)
        self.attention = {"pairs": pair_table(count, interval=False, long=long), "none": None,
                          "grid": grid_table(count, 1, 1, long=long)}[attention]


@pytest.mark.parametrize("attention, titles", [("pairs", ["attention"]), ("grid", ["layer 1, head 1"]), ("none", [])])
def test_one_prediction_has_its_three_parts(attention, titles):
    axes = plots.one_prediction(Explained(attention=attention))
    assert axes[0].get_title().startswith("logit") and bars(axes[0])[0][0] == "average"
    assert [ax.get_title() for ax in axes[1:]] == ["with another value of one field", *titles]
    assert any(" = value_of" in label.get_text() for label in axes[0].get_yticklabels())
    given = Figure(figsize=(18, 5)).subplots(1, len(axes))
    assert list(plots.one_prediction(Explained(attention=attention), axes=given)) == list(given)
    assert given[0].figure.get_size_inches().tolist() == [18, 5]


def test_one_prediction_says_when_its_terms_are_not_exact():
    assert "the rest" in plots.one_prediction(Explained(exact=False))[0].get_xlabel()
    assert "the rest" not in plots.one_prediction(Explained())[0].get_xlabel()


@pytest.mark.parametrize("count", [2, 8, 40])
def test_one_prediction_with_long_names_fits_its_figure(count):
    axes = plots.one_prediction(Explained(count, long=True))
    figure = axes[0].figure
    figure.draw_without_rendering()
    for ax in axes:
        for label in ax.get_yticklabels():
            assert label.get_window_extent().x0 >= -1
        assert ax.get_window_extent().width > 100
    for left, right in itertools.pairwise(axes):
        assert left.get_tightbbox().x1 <= right.get_tightbbox().x0 + 2


def test_one_prediction_without_another_value_and_of_something_else():
    explanation = Explained()
    explanation.counterfactuals = explanation.counterfactuals[:0]
    assert plots.one_prediction(explanation)[1].texts[0].get_text() == "no other value to try"
    with pytest.raises(TypeError, match=r"explain\.one_prediction"):
        plots.one_prediction(pair_table())


def test_waterfall_draws_a_deep_part_after_the_pairs():
    table = term_table(3)
    table.loc[len(table)] = [0, "deep part", None, None, 5.0]
    drawn = bars(plots.waterfall(table))
    assert [name for name, _, _ in drawn][-2:] == ["deep part", "logit"] and drawn[-2][2] == 5


def test_a_rollout_grid_is_drawn_in_multiples_of_the_uniform_one():
    table = grid_table(3, 1, 1).assign(layer="rollout", head="mean")
    table["uniform"] = np.where(table["field_i"] == table["field_j"], 0.6, 0.2)
    table.attrs["uniform"] = None
    (ax,) = plots.attention_grid(table).ravel()
    np.testing.assert_allclose(cells(ax).ravel(), table["value"] / table["uniform"])
    assert ax.images[0].norm(1.0) == 0.5 and ax.get_title() == "rollout of layers, mean of heads"


# ---- gradient_check ------------------------------------------------------------------------------


class Report:
    """What check_gradients returns."""

    def __init__(self, **allowance):
        self.arrays = [{"name": name, "allowance": value} for name, value in allowance.items()]
        self.passed = all(value <= 1 for value in allowance.values())


def test_gradient_check_draws_each_array_left_or_right_of_the_line():
    ax = plots.gradient_check(Report(W=40.0, inf=np.inf, b=1e-3, h=0.0))
    well, failed, line = ax.lines
    assert failed.get_ydata().tolist() == [0, 1] and (failed.get_xdata() > 1).all()
    assert well.get_ydata().tolist() == [2, 3] and (well.get_xdata() < 1).all()
    assert failed.get_marker() != well.get_marker() and line.get_xdata()[0] == 1
    assert [label.get_text() for label in ax.get_yticklabels()] == ["W", "inf", "b", "h"]
    assert "FAILED" in ax.get_title() and "passed" in plots.gradient_check(Report(W=0.1)).get_title()
    ax.figure.draw_without_rendering()
    with pytest.raises(TypeError, match="check_gradients"):
        plots.gradient_check([1, 2])


@pytest.mark.parametrize("draw", [lambda **where: plots.gradient_check(Report(W=0.1), **where)])
def test_a_report_is_drawn_where_it_is_asked_for(draw, monkeypatch):
    open_figures, settings, mine = plt.get_fignums(), dict(mpl.rcParams), Figure().subplots()
    monkeypatch.setattr(plt, "subplots", refuse)
    assert draw(ax=mine) is mine and plt.get_fignums() == open_figures and dict(mpl.rcParams) == settings
