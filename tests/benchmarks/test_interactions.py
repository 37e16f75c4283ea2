"""The benchmark of interactions: the truth is true, settings are chosen without it, and nothing is trained twice."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.interactions import __main__ as command
from benchmarks.interactions import archdetect, functions, measures, page, peers, problems, runner, systems
from benchmarks.papers import results
from minictr import FM, FwFM, explain

TEN, FOUR = functions.FUNCTIONS, archdetect.FUNCTIONS
PROBLEM_ROWS = {problem: problems.PROBLEMS[problem](problem, 0, 60) for problem in ("F1", problems.CLICKS)}


# ---- the truth -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", TEN)
def test_the_pairs_that_interact_have_mixed_differences_and_no_others(name):
    function = TEN[name]
    X = function.inputs(400, np.random.default_rng(0))
    share = measures.effects(function, X, "mean square", {"background": 400, "partners": 4}) ** 2 / function(X).var()
    assert share[function.interacting].min() > 1e-7 > 1e-20 > share[~function.interacting].max()


@pytest.mark.parametrize("name, x, y", [        # each formula once with its numbers written out
    ("F1", [.5, 1, .5, 1, .75, 0, .25, 1, .36, .9], np.pi ** .5 - np.pi / 2 + np.log(1.25) - .4 * .5 - .25),
    ("F2", [.5, 1, -.5, 1, -.5, 0, -.25, 0, .3, -.5], np.pi ** .5 - np.pi / 6 + np.log(2) + .2 * .5 + .25),
    ("F3", [1, -1, .5, -1, 0, 0, 1, 0, .25, 1], np.e ** 2 + .5 - .25 + np.log(2) + .25 + .5),
    ("F4", [1, -1, .5, -1, 0, 0, 1, 0, .25, 1], np.e ** 2 + .5 - .25 + np.log(2) + .25 + .5 + 1),
    ("F5", [1, 1, 1, .5, .5, -.5, .25, .5, -1, .5], .25 + np.e ** .5 + .25 - .25),
    ("F6", [.5, -1, .5, .5, .5, .5, 0, 1, 0, 0], np.e ** 1.5 - np.e ** 2 + 1 + 1),
    ("F7", [1, 1, -1, 1, 1, .5, 1, 1, -1, 0], (np.pi / 2) ** 2 + 0 - 1 / 1.25 + 1 / 32 + 4.5),
    ("F8", [.5, -.5, .5, -.5, .25, .25, .75, .5, .5, 0], -.25 + 2 + 2 + np.sin(.75 * np.sin(1)) + np.pi / 2),
    ("F9", [1, .5, .5, -.5, .25, -.25, 1, 1, .5, -.5], np.tanh(.25) * .5 + 1 + np.log(1.0625) - .25 + 1 / 1.5),
    ("F10", [.5, .5, .5, 1, 0, 0, -.5, 0, 1, 0], np.sinh(1) + np.pi / 2 + np.cos(1) + 1 / np.cos(.5))])
def test_formulas(name, x, y):
    assert TEN[name](pd.DataFrame([x], columns=functions.INPUTS)) == pytest.approx(y, rel=1e-12)


def test_how_many_pairs_interact():
    assert [int(function.interacting.sum()) for function in TEN.values()] == [11, 11, 9, 10, 8, 8, 14, 12, 15, 6]
    # products within 1-10, and of 11-20 with 21-30; ANDs of 20 that share ten; an AND of three and one of 20
    assert [int(function.interacting.sum()) for function in FOUR.values()] == [45 + 100, 2 * 190 - 45, 335, 3 + 190]


@pytest.mark.parametrize("name", FOUR)
def test_mixed_differences_find_all_of_archdetect_s(name):
    function = FOUR[name]
    strength = explain.mixed_differences(function, archdetect.ROW, archdetect.BASELINE)["value"]
    assert functions.auc_of_pairs(strength, function.interacting) == 1
    assert (strength[~function.interacting] == 0).all() and (strength[function.interacting] > 0).all()


def test_an_and_of_archdetect_s_by_hand():
    X = pd.concat([archdetect.ROW, archdetect.BASELINE], ignore_index=True)
    assert FOUR["A2"](X).tolist() == [42, -42]                    # all inputs are 1 and so are both ANDs; or nothing is
    assert FOUR["A3"](X).tolist() == [40, -40]                    # one of them fires at either end
    X["x3"] *= -1
    assert FOUR["A4"](X).tolist() == [38 + 2, -38 - 2]            # x1, x2, not x3: fires


# ---- rows and rankings -----------------------------------------------------------------------------------

@examples(50)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=20))
def test_auc_counts_pairs_in_the_right_order(values):
    strength, yes = np.array([value for value, _ in values]), np.array([found for _, found in values])
    if yes.all() or not yes.any():
        return
    right = [1.0 if a > b else 0.5 if a == b else 0.0 for a in strength[yes] for b in strength[~yes]]
    assert functions.auc_of_pairs(strength, yes) == pytest.approx(np.mean(right))


def test_the_three_parts_have_no_row_in_common_and_each_seed_its_own():
    first, other = (problems.function_rows("F6", seed, 400) for seed in (0, 1))
    parts = pd.concat([X for X, _ in (first.train, first.validation, first.test)])
    assert len(parts) == 1_200 and not parts.duplicated().any()
    X, y = first.train
    np.testing.assert_allclose([X.mean(), X.std(ddof=0)], [[0] * 10, [1] * 10], atol=1e-9)
    assert y.mean() == pytest.approx(0, abs=1e-9) and y.std() == pytest.approx(1)
    assert not np.isin(other.train[0]["x1"], X["x1"]).any()


def test_numbers_that_are_near_share_most_of_their_overlapping_bins():
    X = pd.DataFrame({"x": [0.001, 0.061, 0.181, 0.361]})         # a bin is .36 wide, a grid's shift .06
    table, (field,) = problems.in_overlapping_bins(X)
    cells = [set(cell.split(field.sep)) for cell in table["x"]]
    assert [len(cells[0] & cell) for cell in cells] == [6, 5, 3, 0]


def test_the_planted_pairs_of_clicks_are_the_truth():
    rows = problems.click_rows("make_clicks", 0, 500)
    assert rows.interacting.sum() == 5 and len(rows.interacting) == 28
    assert [len(y) for _, y in (rows.train, rows.validation, rows.test)] == [500] * 3


# ---- measures --------------------------------------------------------------------------------------------

def test_each_model_is_asked_all_that_it_can_say():
    rows = problems.function_rows("F1", 0, 300)
    model = FwFM(fields=problems.in_bins(rows.train[0])[1], epochs=1, embedding_dim=2).fit(*rows.train)
    found = measures.strengths(model, *rows.test, {"background": 50, "partners": 3})
    assert list(found) == [measures.CONTRIBUTION, measures.PURIFIED, measures.EFFECT, measures.SQUARE, measures.REMOVAL,
                           measures.STRENGTH]
    assert all(strength.shape == (45,) for strength in found.values())
    assert (found[measures.STRENGTH] > 0).all()


@pytest.mark.parametrize("name", [name for name, system in systems.SYSTEMS.items() if system.family])
def test_each_model_takes_each_of_its_candidates_on_numbers_and_on_words(name):
    system = systems.SYSTEMS[name]
    for problem in ("F1", problems.CLICKS):
        rows = PROBLEM_ROWS[problem]
        for settings in system.candidates(problem):
            model, _, error = runner.fitted(problem, system, settings, rows, runner.Budget(None, 1), seed=0)
            assert isinstance(model, system.family) and error > 0


# ---- other methods ---------------------------------------------------------------------------------------

def products(n_rows=2_000):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(-1, 1, (n_rows, 4)), columns=list("abcd"))
    y = X["a"] * X["c"] + X["b"] ** 2 + X["d"]
    return X, ((y - y.mean()) / y.std()).to_numpy()


@pytest.mark.parametrize("main_effects", [False, True])
def test_nid_finds_a_product(main_effects):
    pytest.importorskip("torch")
    X, y = products()
    strengths, error = peers.nid((X[:1500], y[:1500]), (X[1500:], y[1500:]), main_effects=main_effects, epochs=12)
    assert np.argmax(strengths) == 1 and 0 < error < 0.3          # (a, c) is the second pair


def test_fast_finds_a_product():
    pytest.importorskip("interpret")
    assert np.argmax(peers.fast(products())) == 1


# ---- the runner ------------------------------------------------------------------------------------------

BUDGET = runner.Budget(120, 1)
SMALL = systems.System(name="small FM", family=FM, fixed={"embedding_dim": 2}, seeds=(0, 1))
OTHER = systems.System(name="constant", run=lambda rows, problem, seed: ({"its own": np.arange(45) + seed}, None),
                       seeds=(0, 1))


@pytest.fixture
def quick_measures(monkeypatch):
    """Notes each time that a model is asked for its pairs."""
    asked = []

    def strengths(model, X, y):
        asked.append(model)
        return {measures.SQUARE: np.arange(45.0)}

    monkeypatch.setattr(measures, "strengths", strengths)
    return asked


def run(path, end_at=None):
    said = []

    def say(text):
        said.append(text)
        if len(said) == end_at:
            raise KeyboardInterrupt

    runner.run([SMALL, OTHER], ["F1", "F8"], path, budget=BUDGET, command="python", say=say)
    return said


def without_times(path):
    return [{name: value for name, value in line.items() if "seconds" not in name}
            for line in results.read(path).values()]


def test_draws_choose_by_the_validation_error_and_are_not_asked_for_their_pairs(tmp_path, quick_measures):
    path = tmp_path / "lines.jsonl"
    assert len(run(path)) == 2 * (3 + 2 + 2) and len(quick_measures) == 2 * 2
    lines = list(results.read(path).values())
    for problem in ("F1", "F8"):
        draws, tested = ([line for line in lines if (line["table"], line["model"], line["kind"]) ==
                          (problem, "small FM", kind)] for kind in (runner.DRAW, runner.TEST))
        best = min(draws, key=lambda line: line["validation"])
        assert [line["settings"] for line in tested] == [best["settings"]] * 2
        assert not any("AUC" in line for line in draws)
        assert [line["number"] for line in tested] == [0, 1]
    constant = [line["AUC"]["its own"] for line in lines if line["model"] == "constant" and line["table"] == "F1"]
    assert constant == [round(functions.auc_of_pairs(range(45), TEN["F1"].interacting), 4)] * 2


@pytest.mark.parametrize("end_at", [1, 4, 11])
def test_a_run_that_was_ended_goes_on_where_it_stopped(end_at, tmp_path, quick_measures):
    path, whole = tmp_path / "lines.jsonl", tmp_path / "whole.jsonl"
    run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(path, end_at)
    assert len(results.read(path)) == end_at
    assert len(run(path)) == 14 - end_at and run(path) == []
    assert without_times(path) == without_times(whole)


def test_pairs_below_the_median_of_the_others_are_overlooked():
    assert runner.overlooked([0, 5, 1, 2, 3, 1.5], np.array([True, True, False, False, False, True])) == [0, 5]


def test_the_command_s_systems_and_problems(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "QUICK", tmp_path / "quick.jsonl")
    monkeypatch.setattr(measures, "BACKGROUND", {"background": 300, "partners": 4})
    command.main(["--quick", "--systems", "two-way ANOVA", "the function itself", "--problems", "F1", "F10"])
    out = capsys.readouterr().out
    assert "| two-way ANOVA | its own | .9" in out and "| the function itself | effect (mean square) | 1 |" in out
    line = next(iter(results.read(tmp_path / "quick.jsonl").values()))
    assert line["command"].startswith("python -m benchmarks.interactions --quick") and line["budget"]["n_rows"] == 2_000
    with pytest.raises(SystemExit):
        command.main(["--systems", "SVM"])
    assert "invalid choice: 'SVM'" in capsys.readouterr().err


# ---- the page --------------------------------------------------------------------------------------------

def made_up_lines(auc=lambda problem, seed: 0.9 + seed / 100, leave_out=()):
    """Lines of FM's trainings on the ten functions, with the second candidate as the best."""
    lines, system = {}, systems.SYSTEMS["FM"]
    common = {"cpu seconds": 30.0, "date": "2026-01-02", "versions": {"python": "3.11", "torch": None}}
    for problem in TEN:
        if problem in leave_out:
            continue
        candidates = system.candidates(problem)
        jobs = [(runner.DRAW, number, settings) for number, settings in enumerate(candidates)]
        jobs += [(runner.TEST, seed, candidates[1]) for seed in system.seeds]
        for kind, number, settings in jobs:
            line = {**runner.head(problem, system, kind, number, settings, runner.Budget()), **common,
                    "validation": 0.01 * abs(number - 1) + 0.001}
            if kind == runner.TEST:
                line |= {"AUC": {measures.SQUARE: auc(problem, number)},
                         "overlooked": {measures.SQUARE: [0] if problem == "F7" else []}}
            lines[results.key(line)] = line
    return lines


def test_the_page_of_made_up_lines():
    lines = made_up_lines(lambda problem, seed: (0.5 if problem == "F7" else 1) - seed / 100)
    text = page.page(lines, page.outcomes(lines), "picture.png")
    assert f"| FM | effect (mean square) | {'.990 | ' * 6}.490 | {'.990 | ' * 3}.940 | 3 |" in text
    assert "FM by effect (mean square) has the highest mean: **.940** (from seed to seed .930 to .950)" in text
    assert "60 trainings, from 2026-01-02 to 2026-01-02: 30 min of one core's computing; python 3.11." in text
    assert "| F7 | x1–x2 (" in text and "x1–x2" not in text[text.index("| F7 | x1–x2 (") + 20:]
    assert "| FM | bins | bins |" in text and "30 trainings were made to choose." in text


def test_a_measure_s_bars_end_no_cell():
    (line,) = page.table({("FwFM", measures.STRENGTH): {"F1": [0.5]}}).splitlines()[2:]
    assert line.startswith(r"| FwFM | learned strength \|r\| | .500 |")


def test_what_was_not_run_is_said():
    lines = made_up_lines(leave_out=["F2"])
    text = page.page(lines, page.outcomes(lines), "picture.png")
    assert "| FM | effect (mean square) | .910 | — | .910 |" in text and "on all ten functions yet" in text
    assert page.picture(page.outcomes(lines)).axes


def test_trainings_with_settings_that_were_not_chosen_do_not_count():
    lines = made_up_lines()
    for line in lines.values():
        if line["kind"] == runner.DRAW and line["number"] == 0:
            line["validation"] = 0.0                              # now another candidate is the best
    assert page.outcomes(lines) == {}


def test_the_page_in_the_repository_is_that_of_the_results_there():
    lines = results.read(command.RESULTS)
    assert command.PAGE.read_text(encoding="utf-8") == page.page(lines, page.outcomes(lines), "interactions.png")
    assert command.PAGE.with_suffix(".png").stat().st_size > 10_000
    assert json.loads(json.dumps(list(lines.values()))) and dataclasses.asdict(runner.Budget()) in [
        line["budget"] for line in lines.values()]
