"""``benchmarks.speed --peers before``: two versions, each in its own process, make the same calls in turn."""

import contextlib
import sys

import numpy as np
import pytest

from benchmarks import before, shapes, speed
from benchmarks.shapes import Shape

SMALL = Shape(fields=5, ids=103, batch=64, numerical=3)


@pytest.fixture
def like_now(monkeypatch):
    """The earlier version is this checkout too, whatever is installed."""
    version = before.Version
    monkeypatch.setattr(before, "Version", lambda python, folder=before.HERE: version(python, folder))


def test_both_processes_compute_the_same_and_a_job_that_fails_ends_only_itself(like_now):
    lines = []
    cases = [("step", "no such model", "ml-1m"), ("step", "FM", "ml-1m")]
    found = before.compare(sys.executable, cases, turns=2, seconds=0, report=lines.append)
    assert found["now"] == found["before"] and found["now"]["folder"] == str(before.HERE / "minictr")
    failed, compared = found["results"]
    assert "no such model" in failed["error"] and "failed" in lines[2]
    assert compared["void"] is None and compared["ratio"] > 0
    assert len(compared["now"]) == len(compared["before"]) == 2
    assert len(lines) == 2 + len(cases) and "before/now" in lines[3]


@pytest.mark.parametrize("name", before.JOBS)
def test_a_job_makes_as_many_calls_as_it_is_asked_for(name, monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "ml-1m", SMALL)
    with contextlib.ExitStack() as stack:
        job = before.Job(stack)
        of_a_call, scale = job.prepare(name, "FM", "ml-1m")
        seconds, computed = job.time(4)
        assert of_a_call > 0 and scale > 0 and len(seconds) == 4 and min(seconds) > 0 and computed > 0
        assert job.number == 3 + 1 + 4                            # and as many to warm up


def test_each_process_has_the_minictr_that_it_is_to_have(tmp_path, monkeypatch):
    (tmp_path / "minictr").mkdir()
    (tmp_path / "minictr" / "__init__.py").write_text("__version__ = '0.0.1'\nprint('this is no answer')\n")
    with before.Version(sys.executable, tmp_path) as version:
        assert version.ask("about")["minictr"] == "0.0.1"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))               # ours, not the other environment's
    with before.Version(sys.executable) as version, contextlib.suppress(RuntimeError):      # there may be none
        assert version.ask("about")["minictr"] != "0.0.1"


def test_what_cannot_be_compared_says_why(like_now, tmp_path):
    assert "--before-python" in before.why_not(None) and "MINICTR_BEFORE_PYTHON" in before.why_not("")
    assert "is no Python" in before.why_not(str(tmp_path / "python"))
    assert "this checkout itself" in before.why_not(sys.executable)


def test_main_says_what_the_earlier_version_lacks(monkeypatch, capsys):
    monkeypatch.delenv("MINICTR_BEFORE_PYTHON", raising=False)
    with pytest.raises(SystemExit, match="2"):
        speed.main(["--peers", "before"])
    assert "--before-python PATH" in capsys.readouterr().err


def test_main_compares_what_was_asked_for_and_nothing_else(monkeypatch, tmp_path, capsys):
    asked = []

    def compare(python, cases, turns, seconds, report):
        asked.append((python, cases, turns, seconds))
        return {"results": [result(1.2)]}

    monkeypatch.setattr(before, "why_not", lambda python: None)
    monkeypatch.setattr(before, "compare", compare)
    monkeypatch.setattr(speed, "in_new_process", lambda function, *arguments: {})
    monkeypatch.setenv("MINICTR_BEFORE_PYTHON", "/earlier/python")
    file = tmp_path / "speed.json"
    speed.main(["--peers", "before", "--models", "FM", "AFM", "--shapes", "ml-1m", "--turns", "7", "--json", str(file)])
    cases = [(job, name, "ml-1m") for job in before.JOBS for name in ("FM", "AFM")]
    assert asked == [("/earlier/python", cases, 7, 0.5)]
    assert "1.20 (1.10 to 1.30)" in capsys.readouterr().out
    assert '"ratio": 1.2' in file.read_text() and '"results": []' in file.read_text()


class Scripted:
    """Stands in for a process: calls of a turn take as many seconds as the script says, and compute a number."""

    def __init__(self, name, seconds, computed, asked):
        self.name, self.seconds, self.computed, self.asked = name, seconds, computed, asked

    def ask(self, function, *arguments):
        if function == "seconds_used":
            return 0
        self.asked.append((self.name, function, *arguments))
        return (0.01, 1000) if function == "prepare" else ([next(self.seconds)], self.computed)


def scripted(monkeypatch, now, earlier, computed=(0.5, 0.5)):
    """A case of as many blocks as there are times for, three to a turn: (what was found, what was asked for)."""
    asked, now, turns = [], iter(now), len(earlier) // 3
    versions = {"now": Scripted("now", now, computed[0], asked),
                "before": Scripted("before", iter(earlier), computed[1], asked)}
    monkeypatch.setattr(before, "both", lambda python: contextlib.nullcontext(versions))
    return before.compare_case("python", ("step", "FM", "ml-1m"), turns, seconds=0), asked


def test_a_ratio_is_the_median_over_turns_of_alternate_blocks(monkeypatch):
    times = [1, 9, 1], [3, 3, 0], [1, 1, 0], [2, 2, 9], [2, 2, 2], [2, 2, 0]      # medians: 1, 3, 1, 2, 2, 2
    found, asked = scripted(monkeypatch, times[0] + times[2] + times[4], times[1] + times[3] + times[5])
    assert found["now"] == [1000, 1000, 2000] and found["before"] == [3000, 2000, 2000] and found["unit"] == "ms"
    assert found["ratio"] == 2 and found["quartiles"] == [1.5, 2.5]
    assert asked[2:6] == [(name, "time", 10) for name in ("now", "before", "before", "now")]


def test_new_processes_follow_after_some_turns(monkeypatch):
    _, asked = scripted(monkeypatch, [1] * 36, [1] * 36)          # 12 turns
    prepared = [number for number, (_, function, *_) in enumerate(asked) if function == "prepare"]
    assert prepared == [0, 1, 32, 33, 64, 65]                     # 5 turns of 3 blocks of each version between them


@pytest.mark.parametrize(("computed", "valid"), [((0.5, 0.501), True), ((0.5, 0.6), False), ((np.nan, 0.5), False)])
def test_versions_that_compute_something_else_are_not_compared(monkeypatch, computed, valid):
    found, _ = scripted(monkeypatch, [1, 1, 1], [1, 1, 1], computed)
    assert (found["void"] is None) == valid
    assert ("VOID" in before.line_of({"job": "step", "model": "FM", "shape": "ml-1m", **found})) == (not valid)


def result(ratio, model="FM", others=0.0, void=None):
    return {"job": "step", "model": model, "shape": "ml-1m", "ratio": ratio, "quartiles": [ratio - 0.1, ratio + 0.1],
            "unit": "ms", "now": [1.0], "before": [ratio], "cores used by others": others, "void": void}


def test_the_summary_names_what_misses_the_goal_and_judges_no_disturbed_or_void_case():
    assert "1 of 1 judged, all of them met it" in before.summary([result(0.98)])[-1]
    *table, verdict = before.summary([
        result(1.5), result(0.9, "AFM"), result(0.5, "AutoInt", others=1.0), result(0.4, "DeepFM", void="differ"),
        {"job": "step", "model": "LR", "shape": "ml-1m", "error": "no such model"}])
    assert "2 of 5 judged, MISSED by step AFM ml-1m 0.900" in verdict
    assert "AutoInt" not in verdict and "DeepFM" not in verdict
    assert any("AutoInt" in line and "0.50 (0.40 to 0.60)" in line for line in table)
    assert "DISTURBED" in before.line_of(result(1.0, others=1.0))


def test_environments_that_differ_are_said_to(monkeypatch):
    class Other(contextlib.nullcontext):
        """Stands in for a process; the earlier version's has another NumPy."""

        def __init__(self, python, folder=None):
            super().__init__(self)
            self.numpy = "2.4.6" if folder else "1.26.0"

        def ask(self, function):
            return {"folder": self.numpy, "minictr": self.numpy, "numpy": self.numpy, "pandas": "3.1.1"}

    lines = []
    monkeypatch.setattr(before, "Version", Other)
    before.compare("python", [], turns=1, seconds=0, report=lines.append)
    assert lines[2:] == ["the environments differ in numpy: so more than minictr is compared"]
