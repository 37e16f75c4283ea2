"""Training watched: fit's after_epoch, the attention it keeps, and its pictures."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from models import ATTENDING, dropouts, small
from PIL import Image
from tables import FIELDS, mixed_table

from minictr import AFM, FM, AutoInt, datasets, explain, plots
from minictr.layers import parameters


class Recorder:
    """Keeps what fit hands over, and predicts with the model as it is then."""

    def __init__(self, X=None):
        self.X, self.lines, self.predictions = X, [], []

    def __call__(self, model, line):
        self.lines.append(line)
        if self.X is not None:
            self.predictions.append(model.decision_function(self.X))


# ---- after_epoch -------------------------------------------------------------------------------------------

def test_after_epoch_sees_each_line_of_the_history_and_the_model_of_that_epoch():
    X, y = mixed_table(300)
    watch = Recorder(X)
    model = FM(fields=FIELDS, epochs=4, early_stopping=False).fit(X, y, validation=0.2, after_epoch=watch)
    pd.testing.assert_frame_equal(pd.DataFrame(watch.lines), model.history_, check_like=True)
    for n, seen in enumerate(watch.predictions, start=1):
        alone = FM(fields=FIELDS, epochs=n, early_stopping=False).fit(X, y, validation=0.2)
        if alone.history_.attrs["best_epoch"] == n:
            np.testing.assert_array_equal(seen, alone.decision_function(X))
    assert not np.array_equal(watch.predictions[0], watch.predictions[1])


@pytest.mark.parametrize("name", ATTENDING)
def test_watching_changes_no_weight(name):
    X, y = mixed_table(300)
    settings = {"fields": FIELDS, "epochs": 3, **dropouts(name, 0.2)}
    watched = small(name, FIELDS, **settings).fit(X, y, after_epoch=explain.AttentionOverEpochs(X))
    alone = small(name, FIELDS, **settings).fit(X, y)
    for name, array in parameters(alone).items():
        np.testing.assert_array_equal(parameters(watched)[name], array)


def test_pieces_and_ratings_are_watched_too():
    X, y = mixed_table(200)
    watch = Recorder()
    FM(fields=FIELDS, epochs=3).fit(lambda: iter([(X[:90], y[:90]), (X[90:], y[90:])]), after_epoch=watch)
    assert [line["epoch"] for line in watch.lines] == [1, 2, 3]
    ratings = datasets.make_ratings(30, 20, 300)["ratings"]
    watch = Recorder()
    FM(epochs=2).fit(user_ids=ratings["user_id"], item_ids=ratings["movie_id"], ratings=ratings["rating"],
                     after_epoch=watch)
    assert [line["epoch"] for line in watch.lines] == [1, 2]


def test_the_function_is_no_part_of_the_model(tmp_path):
    X, y = mixed_table(100)
    watch = Recorder()
    model = FM(fields=FIELDS, epochs=2).fit(X, y, after_epoch=watch)
    assert "after_epoch" not in model.get_params() and not any(value is watch for value in vars(model).values())
    model.fit(X, y)
    model.clone().fit(X, y)
    model.save(tmp_path / "m.npz")
    assert len(watch.lines) == 2


def test_a_fit_that_failed_does_not_hand_its_function_to_the_next():
    X, y = mixed_table(100)
    watch, model = Recorder(), FM(fields=FIELDS, epochs=1)
    with pytest.raises(ValueError, match="each row needs one target"):
        model.fit(X, y[1:], after_epoch=watch)
    model.fit(X, y)
    assert not watch.lines


def test_ctrl_c_in_the_function_ends_training_like_any_other(capsys):
    X, y = mixed_table(100)

    def stop(model, line):
        if line["epoch"] == 2:
            raise KeyboardInterrupt

    model = FM(fields=FIELDS, epochs=9).fit(X, y, after_epoch=stop)
    assert len(model.history_) == 2 and model.history_.attrs["interrupted"]
    assert "interrupted after 2 full epochs" in capsys.readouterr().err


def test_an_error_in_the_function_comes_out():
    X, y = mixed_table(100)
    with pytest.raises(ZeroDivisionError):
        FM(fields=FIELDS).fit(X, y, after_epoch=lambda model, line: 1 / 0)


# ---- attention over epochs ---------------------------------------------------------------------------------

def test_the_attention_kept_is_that_of_each_epoch():
    X, y = mixed_table(300)
    watch = explain.AttentionOverEpochs(X)
    model = AFM(fields=FIELDS, epochs=3, learning_rate=0.03).fit(X, y, after_epoch=watch)
    table = watch.table
    assert table.columns.tolist() == ["epoch", "field_i", "field_j", "value", "low", "high", "uniform"]
    last = explain.attention(model, X)
    pd.testing.assert_frame_equal(table[table["epoch"] == 3].drop(columns="epoch").reset_index(drop=True), last)
    assert table.attrs == last.attrs and table["epoch"].tolist() == np.repeat([1, 2, 3], 6).tolist()
    one = AFM(fields=FIELDS, epochs=1, learning_rate=0.03).fit(X, y)
    np.testing.assert_array_equal(table["value"][:6], explain.attention(one, X)["value"])
    model.set_params(epochs=2).fit(X, y, after_epoch=watch)
    assert watch.table["epoch"].unique().tolist() == [1, 2]                 # a new fit starts afresh


def test_only_some_rows_are_looked_at():
    X, y = mixed_table(300)
    watch = explain.AttentionOverEpochs(X, max_rows=100)
    model = AFM(fields=FIELDS, epochs=1).fit(X, y, after_epoch=watch)
    np.testing.assert_array_equal(watch.table["value"], explain.attention(model, X[::3])["value"])
    assert watch.table.attrs["rows"] == 100


def test_autoint_is_watched_in_a_summary_of_its_layers():
    X, y = mixed_table(200)
    watch = explain.AttentionOverEpochs(X, layers="rollout", heads=1)
    model = AutoInt(fields=FIELDS, epochs=2, num_layers=2).fit(X, y, after_epoch=watch)
    last = explain.attention(model, X, layers="rollout", heads=1)
    np.testing.assert_array_equal(watch.table["value"][16:], last["value"])
    assert "rollout" in watch.table.attrs["aggregation"]


def test_before_a_fit_there_is_nothing():
    X, y = mixed_table(50)
    watch = explain.AttentionOverEpochs(X)
    with pytest.raises(ValueError, match=r"nothing was watched yet.*after_epoch=watch"):
        _ = watch.table
    with pytest.raises(TypeError, match="X must be a DataFrame"):
        explain.AttentionOverEpochs("X")
    with pytest.raises(TypeError, match="FM has no attention"):
        FM(fields=FIELDS).fit(X, y, after_epoch=watch)


def test_attention_settles_on_the_planted_pair():
    clicks = datasets.make_clicks(6_000, seed=0)
    first = clicks.planted_pairs.sort_values("value", ascending=False).iloc[0]
    watch = explain.AttentionOverEpochs(clicks.X)
    AFM(learning_rate=0.01, epochs=8).fit(clicks.X, clicks.y, after_epoch=watch)
    pair = watch.table[(watch.table["field_i"] == first["field_i"]) & (watch.table["field_j"] == first["field_j"])]
    uniform = pair["uniform"].iloc[0]
    assert pair["value"].iloc[0] < 1.1 * uniform and pair["value"].iloc[-1] > 1.4 * uniform


# ---- pictures ----------------------------------------------------------------------------------------------

def epochs_table(epochs=4, count=5, square=False, seed=0):
    """Attention that moves from uniform to something."""
    rng = np.random.default_rng(seed)
    fields = [f"f{k}" for k in range(count)]
    i, j = np.indices((count, count)).reshape(2, -1) if square else np.triu_indices(count, 1)
    uniform, goal = 1 / (count if square else len(i)), rng.dirichlet(np.ones(len(i))) * (count if square else 1)
    parts = []
    for epoch in range(1, epochs + 1):
        share = epoch / epochs
        part = pd.DataFrame({"epoch": epoch, "field_i": [fields[k] for k in i], "field_j": [fields[k] for k in j],
                             "value": (1 - share) * uniform + share * goal, "uniform": uniform})
        parts.append(part.assign(layer="mean", head="mean") if square else part)
    table = pd.concat(parts, ignore_index=True)
    table.attrs = {"quantity": "attention", "unit": "mean attention (share of 1)", "fields": fields, "uniform": uniform}
    return table


def shown(ax):
    return ax.images[0].get_array().filled(np.nan)


def test_each_panel_is_an_epoch_and_all_share_one_scale():
    table = epochs_table()
    axes = plots.attention_over_epochs(table.sample(frac=1, random_state=0))
    assert [ax.get_title() for ax in axes] == [f"epoch {k}" for k in (1, 2, 3, 4)]
    for epoch, ax in enumerate(axes, start=1):
        part = table[table["epoch"] == epoch]
        matrix = np.full((5, 5), np.nan)
        matrix[tuple(np.array(np.triu_indices(5, 1))[::-1])] = part["value"]
        np.testing.assert_array_equal(shown(ax), matrix)
        assert ax.images[0].get_clim() == axes[0].images[0].get_clim() == (0, table["value"].max())
        assert ax.images[0].norm(0.1) == 0.5                                  # white is uniform
    assert sum(len(ax.child_axes) for ax in axes) == 1


def test_self_attention_is_drawn_as_a_square():
    table = epochs_table(2, 3, square=True)
    axes = plots.attention_over_epochs(table)
    np.testing.assert_array_equal(shown(axes[1]), table["value"].to_numpy()[9:].reshape(3, 3))
    with pytest.raises(ValueError, match=r"several layers or heads.*rollout"):
        plots.attention_over_epochs(pd.concat([table, table.assign(layer=1)]))


def test_a_rollout_is_drawn_in_multiples_of_its_uniform_reference():
    table = epochs_table(2, 2, square=True)
    table["uniform"] = [0.7, 0.3, 0.3, 0.7] * 2
    table.attrs["uniform"] = None
    axes = plots.attention_over_epochs(table)
    np.testing.assert_allclose(shown(axes[0]).ravel(), (table["value"] / table["uniform"])[:4])
    assert axes[0].images[0].norm(1.0) == 0.5 and "multiple" in axes[-1].child_axes[0].get_ylabel().replace("\n", " ")


@pytest.mark.parametrize("epochs, panels, drawn", [(3, 12, [1, 2, 3]), (30, 4, [1, 11, 20, 30]), (5, 1, [1]),
                                                   (1, 12, [1])])
def test_many_epochs_are_thinned_out(epochs, panels, drawn):
    axes = plots.attention_over_epochs(epochs_table(epochs), panels=panels)
    assert [ax.get_title() for ax in axes] == [f"epoch {k}" for k in drawn]
    assert axes[0].figure.axes == list(axes)


@pytest.mark.parametrize("outline", [[("f0", "f3"), ("f2", "f1")],
                                     pd.DataFrame({"field_i": ["f0", "f2"], "field_j": ["f3", "f1"], "value": 1.0})])
def test_outlined_pairs_have_frames(outline):
    for square in (False, True):
        axes = plots.attention_over_epochs(epochs_table(2, square=square), outline=outline)
        for ax in axes:
            cells = {(round(frame.get_y() + 0.5), round(frame.get_x() + 0.5)) for frame in ax.patches}
            assert cells == {(3, 0), (2, 1)} | ({(0, 3), (1, 2)} if square else set())
        assert "outlined" in axes[-1].child_axes[0].get_ylabel()
    with pytest.raises(ValueError, match="unlisted"):
        plots.attention_over_epochs(epochs_table(2), outline=[("f0", "unlisted")])


def test_wrong_tables_of_epochs_are_refused(tmp_path):
    table = epochs_table(2)
    for draw in (plots.attention_over_epochs, lambda table: plots.attention_animation(table, tmp_path / "a.gif")):
        with pytest.raises(ValueError, match=r"lacks the columns \['epoch'\].*AttentionOverEpochs"):
            draw(table.drop(columns="epoch"))
        with pytest.raises(ValueError, match=r"entry 20 .*one row for each"):
            draw(pd.concat([table, table[:1]]))
    with pytest.raises(ValueError, match="1 x 2 Axes, got 3"):
        plots.attention_over_epochs(table, axes=Figure().subplots(1, 3))
    with pytest.raises(ValueError, match="panels must be"):
        plots.attention_over_epochs(table, panels=0)
    with pytest.raises(ValueError, match=r"ends in \.gif, got 'a.mp4'"):
        plots.attention_animation(table, tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="above 0"):
        plots.attention_animation(table, tmp_path / "a.gif", frames_per_second=0)


@pytest.mark.parametrize("count, square", [
    (2, False), (4, True), pytest.param(6, False, marks=pytest.mark.long)])
def test_the_film_has_a_frame_for_each_epoch_and_stays_at_the_end(count, square, tmp_path):
    table = epochs_table(3, count, square)
    path = plots.attention_animation(table, str(tmp_path / "film.gif"), frames_per_second=4)
    times = []
    with Image.open(path) as film:
        assert film.format == "GIF" and path == tmp_path / "film.gif" and film.n_frames == 3
        for frame in range(film.n_frames):          # equal frames in a row are stored as one that lasts longer
            film.seek(frame)
            times.append(film.info["duration"])
    assert times == [250, 250, 8 * 250]
