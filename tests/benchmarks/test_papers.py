"""The papers' tables: nothing is trained twice, every system has the same budget, no choice knows of the test rows."""

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.papers import __main__ as command
from benchmarks.papers import data, page, peers, results, runner, spec, tables, training
from minictr import FM, DeepFM, datasets
from minictr.datasets import frappe, ml_1m
from minictr.metrics import auc

TRAIN, VALIDATION, TEST = ((pd.DataFrame({"row": np.arange(start, start + n)}), np.zeros(n))
                           for start, n in ((0, 50), (50, 20), (70, 10)))


class Course:
    """A made-up table of two systems whose error is the setting ``a``, a bit more with each seed; it notes all calls.

    ``end_at``: the training with this number (from 0) is ended as by Ctrl-C.
    """

    def __init__(self, end_at=None, draws=3):
        self.calls, self.end_at, self.test_reads = [], end_at, []
        systems = [spec.System(name=name, family=name, train=self.train, fixed={"k": 4}, space={"a": (5, 3, 4, 6)},
                               paper={"RMSE": 3.0}, parameters=1.0) for name in ("one", "two")]
        self.table = spec.Table(
            name="made-up", title="A made-up table", measures=("RMSE",), higher_is_better=False, systems=systems,
            learning_rows=lambda: (TRAIN, VALIDATION), train_rows=50, test_rows=self.read_test_rows,
            measure=lambda y, s: {"RMSE": s[0]}, draws=draws, draw=spec.Budget(rows=30, epochs=5, patience=1),
            final=spec.Budget(epochs=10, patience=1), claims=(("one", "two"),))

    def train(self, system, settings, train, validation):
        if len(self.calls) == self.end_at:
            raise KeyboardInterrupt
        self.calls.append((system.name, dict(settings), train, validation))
        error = settings["a"] + settings["seed"] / 100 + (system.name == "two")
        return training.Outcome(predict=lambda X: np.full(len(X), float(error)), epochs=4, best_epoch=3,
                                parameters=1_250_000 if system.name == "one" else 2_000_000)

    def read_test_rows(self):
        self.test_reads.append(len(self.calls))
        return TEST

    def run(self, path, systems=None, **options):
        return runner.run(self.table, systems or self.table.systems, path, say=lambda text: None, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results" / "made-up.jsonl"


def without_times(path):
    return [{name: value for name, value in line.items() if "seconds" not in name}
            for line in results.read(path).values()]


# ---- nothing twice ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("end_at", range(12))
def test_a_run_that_was_ended_goes_on_where_it_stopped(end_at, path, tmp_path):
    whole = Course()
    assert whole.run(tmp_path / "whole.jsonl") and len(whole.calls) == 2 * (3 + 3)
    first, second = Course(end_at), Course()
    with pytest.raises(KeyboardInterrupt):
        first.run(path)
    assert len(results.read(path)) == end_at                      # only the training that was running is lost
    assert second.run(path)
    assert len(first.calls) + len(second.calls) == len(whole.calls)
    assert without_times(path) == without_times(tmp_path / "whole.jsonl")


def test_a_finished_table_is_not_trained_again(path):
    Course().run(path)
    again, content = Course(), path.read_bytes()
    assert again.run(path) and again.calls == [] and path.read_bytes() == content


def test_a_line_that_was_cut_off_is_trained_again(path):
    Course().run(path)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert len(results.read(path)) == 11
    again = Course()
    assert again.run(path) and len(again.calls) == 1 and len(results.read(path)) == 12
    assert len(path.read_bytes().splitlines()) == 12


def test_a_line_in_the_middle_that_cannot_be_read_is_named(path):
    Course().run(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4][:-9], *lines[5:], ""]))
    with pytest.raises(ValueError, match=r"made-up\.jsonl, line 5"):
        results.read(path)


def test_other_settings_or_another_budget_are_another_training(path):
    Course().run(path)
    course = Course()
    course.table = dataclasses.replace(course.table, final=spec.Budget(epochs=11, patience=1))
    course.run(path)
    assert [settings["epochs"] for _, settings, _, _ in course.calls] == [11] * 6     # the draws are still good
    other = Course()
    changed = [dataclasses.replace(system, fixed={"k": 5}) for system in other.table.systems]
    other.table = dataclasses.replace(other.table, systems=changed)
    other.run(path)
    assert len(other.calls) == 12


def test_more_seeds_and_chosen_systems_only_add(path):
    course = Course()
    course.run(path, systems=course.table.systems[1:], seeds=[0])
    assert [name for name, *_ in course.calls] == ["two"] * 4
    course.run(path, seeds=[0, 7])
    assert len(course.calls) == 4 + 1 + 5 and [calls[1]["seed"] for calls in course.calls[7:]] == [0, 7, 7]


# ---- the same budget, and no look at the test rows -------------------------------------------------------

@pytest.mark.parametrize("table", tables.TABLES.values(), ids=lambda table: table.name)
def test_every_system_has_as_many_different_draws_of_its_own_space(table):
    for system in table.systems:
        drawn = spec.drawn_settings(system, table.draws)
        assert len({json.dumps(settings, sort_keys=True) for settings in drawn}) == table.draws == 6
        whole = [spec.flat(dict(zip(system.space, values, strict=True)))
                 for values in itertools.product(*system.space.values())]
        assert all(settings in whole for settings in drawn)
        assert drawn == spec.drawn_settings(system, table.draws)
    assert len({system.name for system in table.systems}) == len(table.systems)


def test_a_space_that_is_too_small_is_refused():
    system = spec.System(name="small", family=None, train=None, space={"a": (1, 2)})
    with pytest.raises(ValueError, match="small has 2 settings, 3 are to be drawn"):
        spec.drawn_settings(system, 3)


def test_settings_are_chosen_on_validation_rows_before_a_test_row_is_read(path):
    course = Course()
    course.run(path)
    assert course.test_reads == [4]                               # after three draws and the first final training
    for name, settings, train, validation in course.calls:
        seen = np.concatenate([train[0]["row"], validation[0]["row"]])
        assert not np.isin(TEST[0]["row"], seen).any(), name
        assert (len(train[1]), settings["epochs"]) in ((30, 5), (50, 10))
    lines = list(results.read(path).values())
    for system in course.table.systems:
        mine = [line for line in lines if line["model"] == system.name]
        tried = [line["settings"]["a"] for line in mine if line["kind"] == "draw"]
        assert len(tried) == 3 and all("test" not in line for line in mine[:3])
        assert [line["settings"]["a"] for line in mine[3:]] == [min(tried)] * 3
        assert [line["number"] for line in mine[3:]] == [0, 1, 2]


def test_nothing_is_chosen_while_a_draw_is_missing(path):
    course = Course(end_at=2)
    with pytest.raises(KeyboardInterrupt):
        course.run(path)
    system = course.table.systems[0]
    assert runner.choice(course.table, system, results.read(path)) is None
    assert runner.tests(course.table, system, results.read(path)) == []


def test_draws_see_the_same_rows_for_every_system(path):
    course = Course()
    course.run(path)
    rows = [tuple(train[0]["row"]) for _, settings, train, _ in course.calls if settings["epochs"] == 5]
    assert len(rows) == 6 and len(set(rows)) == 1 and len(set(rows[0])) == 30


def test_the_parts_of_ml_1m_share_no_row(monkeypatch):
    X = pd.DataFrame({"row": np.arange(1003)})
    monkeypatch.setattr(ml_1m, "load_ctr", lambda: (X, np.arange(1003)))
    (train, y), (validation, _) = data.ml_1m_learning_rows()
    test, y_test = data.ml_1m_test_rows()
    assert (len(train), len(validation), len(test)) == (802, 100, 101)
    assert sorted([*train["row"], *validation["row"], *test["row"]]) == list(range(1003))
    assert (train["row"].to_numpy() == y).all() and (test["row"].to_numpy() == y_test).all()


# ---- trainings that do not end well ----------------------------------------------------------------------

def test_a_draw_that_diverges_is_finished_and_loses(path):
    course, train = Course(), Course.train

    def diverges_at_3(system, settings, *rows):
        if settings["a"] == 3:
            raise training.Diverged("epoch 1: the loss is nan")
        return train(course, system, settings, *rows)
    systems = [dataclasses.replace(system, train=diverges_at_3) for system in course.table.systems]
    course.table = dataclasses.replace(course.table, systems=systems, draws=4)
    assert course.run(path) and len(course.calls) == 2 * (3 + 3)
    chosen = {line["settings"]["a"] for line in results.read(path).values() if line["kind"] == "test"}
    assert chosen == {4}
    line = next(line for line in results.read(path).values() if "diverged" in line)
    assert line["validation"] is None and line["diverged"] == "epoch 1: the loss is nan"


def test_a_system_whose_draws_all_diverge_is_passed_over_and_the_page_says_so(path):
    course = Course()

    def diverges(*arguments):
        raise training.Diverged("inf")
    one, two = course.table.systems
    course.table = dataclasses.replace(course.table, systems=[dataclasses.replace(one, train=diverges), two])
    assert course.run(path) and {name for name, *_ in course.calls} == {"two"}
    assert cells_of(page.page([course.table], path.parent), "one")[-1] == "all draws diverged"


@pytest.mark.parametrize("train", [training.minictr, training.minictr_by_auc])
def test_ctrl_c_in_a_fit_ends_the_run(train, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt
    monkeypatch.setattr("minictr.training.loop.run_epoch", interrupted)
    clicks = datasets.make_clicks(50, seed=0)
    system = spec.System(name="FM", family=FM, train=train)
    with pytest.raises(KeyboardInterrupt):
        train(system, {"embedding_dim": 2, "epochs": 2, "patience": 1}, (clicks.X, clicks.y), (clicks.X, clicks.y))


@pytest.mark.parametrize("train", [training.minictr, training.minictr_by_auc])
def test_a_minictr_training_that_diverges_is_told_as_such(train):
    clicks = datasets.make_clicks(200, seed=0)
    rows = clicks.X, clicks.y.astype(float)
    settings = {"embedding_dim": 2, "optimizer": "sgd", "learning_rate": 1e9, "task": "regression", "epochs": 5}
    with np.errstate(all="ignore"), pytest.raises(training.Diverged):
        train(spec.System(name="FM", family=FM, train=train), {**settings, "patience": 5}, rows, rows)


# ---- time ------------------------------------------------------------------------------------------------

def test_hours_start_no_training_that_would_not_fit(path, monkeypatch):
    now = [0.0]
    course = Course()

    def slow(system, settings, *rows):
        now[0] += 600 if settings["epochs"] == 5 else 1800
        return Course.train(course, system, settings, *rows)
    course.table = dataclasses.replace(
        course.table, systems=[dataclasses.replace(system, train=slow) for system in course.table.systems])
    monkeypatch.setattr(runner.time, "perf_counter", lambda: now[0])
    assert not course.run(path, hours=1, clock=lambda: now[0])    # 10 min x 50/30 rows x 10/5 epochs: 33 minutes
    assert len(course.calls) == 3 and now[0] == 1800              # 30 are left
    assert not course.run(path, hours=0.9, clock=lambda: now[0])
    assert len(course.calls) == 4
    assert not course.run(path, hours=0.4, clock=lambda: now[0])  # 24 minutes; by the first final it takes 30
    assert len(course.calls) == 4
    assert course.run(path, hours=10, clock=lambda: now[0]) and len(course.calls) == 12


def test_what_fits_is_judged_by_the_longest_of_its_kind(path, monkeypatch):
    now = [0.0]
    course = Course()

    def slow(system, settings, *rows):
        now[0] += {5: 60, 3: 600, 4: 60, 6: 60}[settings["a"]]
        return Course.train(course, system, settings, *rows)
    systems = [dataclasses.replace(system, train=slow) for system in course.table.systems]
    monkeypatch.setattr(runner.time, "perf_counter", lambda: now[0])
    course.table = dataclasses.replace(course.table, systems=systems, draws=4, seeds=())
    course.run(path, systems=systems[:1])
    lines = results.read(path)
    job = runner.draws(course.table, systems[0])[0]
    assert runner.expected_seconds(job, lines) == 780 / 4 and runner.expected_seconds(job, lines, worst=True) == 600
    assert not course.run(path, hours=0.15, clock=lambda: now[0]) and len(course.calls) == 4      # 540 s are left


def test_the_time_left_is_that_of_all_that_is_missing(path, monkeypatch):
    now = [0.0]
    course = Course()
    monkeypatch.setattr(runner.time, "perf_counter", lambda: now[0])

    def slow(system, settings, *rows):
        now[0] += 60 if settings["epochs"] == 5 else 90
        return Course.train(course, system, settings, *rows)
    systems = [dataclasses.replace(system, train=slow) for system in course.table.systems]
    course.table = dataclasses.replace(course.table, systems=systems)
    assert runner.seconds_left(course.table, systems, {}) is None
    course.run(path, systems=systems[:1], seeds=[0])
    lines = results.read(path)
    assert runner.seconds_left(course.table, systems, lines) == 2 * 90 + 3 * 60 + 3 * 90
    assert runner.seconds_left(course.table, systems[:1], lines, seeds=[0]) == 0


# ---- the page --------------------------------------------------------------------------------------------

def cells_of(text, name):
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_of_no_results_has_empty_cells_and_says_so(path):
    text = page.page([Course().table], path.parent)
    assert "Nothing of it has been run yet." in text
    assert cells_of(text, "one") == ["one", "3.0000", "—", "—", "— (1.00)", "—", "not run: 0 of 3 draws"]
    assert "Whether one is ahead of two with fewer parameters: not run to the end." in text


def test_the_page_shows_mean_spread_difference_and_the_chosen_settings(path):
    course = Course(draws=4)
    course.run(path, systems=course.table.systems[:1])
    text = page.page([course.table], path.parent)
    one = cells_of(text, "one")
    assert one[:5] == ["one", "3.0000", "3.0100 ± 0.0100", "+0.0100", "1.25 (1.00)"] and one[6] == "3 seeds"
    assert cells_of(text, "two") == ["two", "3.0000", "—", "—", "— (1.00)", "—", "not run: 0 of 4 draws"]
    assert "| one | `a=3` | 3.0000 | `k=4` | `a=[5, 3, 4, 6]` |" in text
    assert "7 of 14 trainings are finished" in text and "30 training rows, at most 5 epochs" in text


def test_a_line_without_all_its_seeds_says_so(path):
    course = Course()
    course.run(path, seeds=[0])
    text = page.page([course.table], path.parent)
    assert cells_of(text, "two")[2] == f"{course.calls[-1][1]['a'] + 1:.4f}"
    assert cells_of(text, "two")[-1] == "1 of 3 seeds" and "not run to the end" in text


def test_a_claim_holds_only_where_every_seed_does(path):
    course = Course(draws=4)
    course.run(path)
    assert "one ahead of two with fewer parameters: **holds** here" in page.page([course.table], path.parent)
    course.table = dataclasses.replace(course.table, claims=(("two", "one"),))
    text = page.page([course.table], path.parent)
    assert "**does not hold** here: every seed of two is *not* ahead" in text and "does *not* have fewer" in text
    course.table = dataclasses.replace(course.table, higher_is_better=True, claims=(("one", "two"), ("two", "one")))
    Course.run(course, path)
    first, second = (line for line in page.page([course.table], path.parent).splitlines() if "**" in line)
    assert "**does not hold** here: every seed of one is *not* ahead of every seed of two, and it has fewer" in first
    assert "**does not hold** here: every seed of two is ahead of every seed of one, and it does *not* have" in second


def test_the_summary_has_the_same_figures(path):
    course = Course(draws=4)
    course.run(path, systems=course.table.systems[:1])
    one, two = json.loads(page.summary([course.table], path.parent))["made-up"]
    assert one == {"system": "one", "code": "minictr", "seeds": 3, "parameters": 1_250_000, "RMSE, paper": 3.0,
                   "RMSE, mean": 3.01, "RMSE, deviation": 0.01}
    assert (two["seeds"], two["parameters"], two["RMSE, mean"], two["RMSE, deviation"]) == (0, None, None, None)


def test_the_page_and_the_summary_are_those_of_the_results_that_are_kept():
    again = "; run: python -m benchmarks.papers --page"
    assert command.PAGE.read_text(encoding="utf-8") == page.page(tables.TABLES.values(), command.RESULTS), again
    kept = (command.RESULTS / "papers.json").read_text(encoding="utf-8")
    assert kept == page.summary(tables.TABLES.values(), command.RESULTS), again
    for name in tables.TABLES:
        for line in results.read(command.RESULTS / f"{name}.jsonl").values():
            assert line["command"].startswith("python -m benchmarks.papers ") and line["table"] == name


def test_lines_of_other_settings_are_not_on_the_page(path):
    Course().run(path)
    course = Course()
    systems = [dataclasses.replace(system, fixed={"k": 5}) for system in course.table.systems]
    text = page.page([dataclasses.replace(course.table, systems=systems)], path.parent)
    assert "Nothing of it has been run yet." in text


def test_a_line_says_how_it_was_made_and_names_no_machine(path):
    Course().run(path, command="python -m benchmarks.papers made-up")
    line = next(iter(results.read(path).values()))
    assert line["command"] == "python -m benchmarks.papers made-up" and line["versions"]["numpy"] == np.__version__
    assert set(line) == {"table", "kind", "model", "number", "settings", "budget", "validation", "rows", "epochs",
                         "best epoch", "parameters", "seconds", "cpu seconds", "command", "versions", "date"}


# ---- the three tables ------------------------------------------------------------------------------------

@pytest.mark.parametrize("system", tables.AFM_2.systems, ids=lambda system: system.name)
def test_numbers_of_parameters_are_the_papers(system):
    settings = {name: value for name, value in {**tables.AFM_2.fixed, **system.fixed}.items() if name[:3] != "fm_"}
    n = training.n_parameters(training.built(system.family, n=5382, M=10, **settings))
    assert round(n / 1e6, 2) == system.parameters


def made_rows(table):
    """A few rows with the table's fields."""
    if table.name == "autoint-2":
        X, y = ml_1m.as_ctr(datasets.make_ratings(seed=0))
        return X[:60], y[:60]
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.integers(0, 2, size=60) for name in frappe.FIRST_ID})
    y = rng.integers(0, 2, size=60)
    return X, 2 * y - 1 if table.name == "afm-2" else y


def shrunk(settings):
    """The settings of a model that is built in no time."""
    sizes = {name: 4 for name in ("embedding_dim", "attention_dim", "attention_factor", "attention_size")
             if name in settings}
    layers = {name: [4] * len(settings[name]) for name in ("deep_layers", "cin_layers", "dnn_hidden_units",
                                                           "cin_layer_size", "mlp_hidden_size") if name in settings}
    return {**settings, **sizes, **layers}


ALL = [(table, system) for table in tables.TABLES.values() for system in table.systems]


@pytest.mark.parametrize("table, system", ALL, ids=[f"{table.name}-{system.name}" for table, system in ALL])
def test_every_system_can_be_trained_with_every_drawn_setting(table, system):
    if system.source != "minictr":
        pytest.importorskip({"DeepCTR-Torch": "deepctr_torch", "RecBole": "recbole.model"}[system.source])
    X, y = made_rows(table)
    small = dataclasses.replace(table, fixed=shrunk(table.fixed), draw=spec.Budget(epochs=1, patience=1), systems=[])
    system = dataclasses.replace(system, fixed=shrunk(system.fixed))
    for job in runner.draws(small, system):
        outcome = system.train(system, job.settings, (X[:40], y[:40]), (X[40:], y[40:]))
        assert outcome.epochs == outcome.best_epoch == 1 and outcome.parameters > 0
        figures = table.measure(y[40:], outcome.predict(X[40:]))
        assert list(figures) == list(table.measures) and np.isfinite(list(figures.values())).all()


# ---- frappe-auc stops by the AUC --------------------------------------------------------------------------

CLICKS = datasets.make_clicks(400, seed=0)
ROWS = (CLICKS.X[:300], CLICKS.y[:300]), (CLICKS.X[300:], CLICKS.y[300:])
MLP_SETTINGS = {"embedding_dim": 4, "deep_layers": (16,), "learning_rate": 0.02, "batch_size": 64, "seed": 3,
                "n_threads": 1}


def test_epoch_by_epoch_is_the_training_of_fit():
    system = spec.System(name="DeepFM", family=DeepFM, train=training.minictr_by_auc)
    aucs, (X, y) = [], ROWS[1]
    DeepFM(**MLP_SETTINGS, dropout=0.2, epochs=4).fit(
        *ROWS[0], after_epoch=lambda model, line: aucs.append(auc(y, model.decision_function(X))))
    outcome = training.minictr_by_auc(system, {**MLP_SETTINGS, "dropout": 0.2, "epochs": 4, "patience": 4}, *ROWS)
    assert outcome.epochs == 4 and outcome.best_epoch == 1 + int(np.argmax(aucs))
    assert auc(y, outcome.predict(X)) == max(aucs)                # the best epoch's parameters


def test_an_fm_can_start_its_bias_at_0():
    from_0, from_the_mean = (family(epochs=1, learning_rate=1e-9, seed=0).fit(*ROWS[0])
                             for family in (training.FMWithBiasFromZero, FM))
    assert abs(from_0.bias()[0]) < 1e-6 and abs(from_the_mean.bias()[0]) > 0.1
    np.testing.assert_allclose(*(model.embedding.params["V"] for model in (from_0, from_the_mean)), rtol=0, atol=1e-7)


@pytest.mark.parametrize("found, epochs, best", [
    ([0.5, 0.6, 0.7, 0.8, 0.9], 5, 5), ([0.5, 0.7, 0.6, 0.6, 0.9], 4, 2), ([0.5, 0.4, 0.7, 0.6, 0.7], 5, 3)])
def test_it_ends_when_patience_epochs_brought_no_higher_auc_and_goes_back(found, epochs, best, monkeypatch):
    state = {}
    monkeypatch.setattr(training, "auc", lambda y, s: found[s[0]])
    result = training.stopped_by_auc(
        lambda epoch: state.update(epoch=epoch), lambda X: np.array([state["epoch"] - 1]), state.copy, state.update,
        {"epochs": 5, "patience": 2}, (None, None))
    assert result == (epochs, best) and state == {"epoch": best}


def test_a_prediction_that_is_not_finite_is_a_training_that_diverged():
    with pytest.raises(training.Diverged, match="epoch 1: a prediction is not finite"):
        training.stopped_by_auc(lambda epoch: None, lambda X: np.array([np.nan]), dict, dict,
                                {"epochs": 5, "patience": 2}, (None, None))


def test_what_stops_a_training_tells_it_from_others():
    course = Course()
    job = runner.draws(course.table, course.table.systems[0])[0]
    by_auc = dataclasses.replace(job, table=dataclasses.replace(course.table, stops_by="AUC"))
    assert job.key != by_auc.key and by_auc.head["settings"]["stops_by"] == "AUC" and "stops_by" not in by_auc.settings
    for table in tables.TABLES.values():
        trains = {system.train for system in table.systems if system.source == "minictr"}
        assert (trains == {training.minictr_by_auc}) == (table.stops_by == "AUC")


def test_logits_of_certain_probabilities_are_finite():
    s = peers.logits(np.array([0.0, 0.5, 1.0], np.float32))
    assert np.isfinite(s).all() and s[1] == 0 and s[0] == pytest.approx(-s[2])


# ---- the command -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, message", [
    ([], "say which table"), (["afm-2", "--models", "AFN"], "afm-2 has no AFN; it has LibFM"),
    (["--page", "--hours", "2"], "go with a table"), (["afm-2", "--hours", "0"], "must be above 0")])
def test_wrong_commands_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def test_the_command_runs_the_systems_in_the_order_given_and_writes_the_page(tmp_path, monkeypatch):
    course = Course()
    monkeypatch.setitem(tables.TABLES, "made-up", course.table)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "PAGE", tmp_path / "papers.md")
    command.main(["made-up", "--models", "two", "one", "--seeds", "0", "--page"])
    assert [name for name, *_ in course.calls] == ["two"] * 4 + ["one"] * 4
    line = next(iter(results.read(tmp_path / "results" / "made-up.jsonl").values()))
    assert line["command"] == "python -m benchmarks.papers made-up --models two one --seeds 0 --page"
    assert "4.0000" in (tmp_path / "papers.md").read_text()
    assert json.loads((tmp_path / "results" / "papers.json").read_text())["made-up"][0]["seeds"] == 1
