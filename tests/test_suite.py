"""The suite itself: what is left out on most days, how all of it is run, and that no test is up against the clock."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_A_CLOCK = [*sorted((ROOT / "tests").rglob("*.py")), ROOT / "tutorials" / "build.py"]
FOREVER = 600           # seconds: longer than anything takes that has not hung, on the slowest machine

LONG_AND_SHORT = """
import pytest
from hypothesis import settings

@pytest.mark.long
def test_long(): print(settings().max_examples, "examples")

def test_short(): print(settings().max_examples, "examples")
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest with this repository's settings on a long and a short test; what it says."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_few.py").write_text(LONG_AND_SHORT)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)

    def pytest_says(*arguments, variable=""):
        command = [sys.executable, "-m", "pytest", "-rP", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTEST_ADDOPTS": variable},
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
    return pytest_says


@pytest.mark.parametrize("processes", [pytest.param(0, marks=pytest.mark.long), 2])
def test_long_tests_are_left_out_and_the_end_says_so(run, processes):
    said = run("-n", str(processes))
    assert "1 passed" in said and "\n20 examples\n" in said
    assert "\n1 long test" in said and "pytest --all" in said
    assert ("2 workers" in said) == (processes == 2)


def test_the_switch_in_the_environment_runs_all(run):
    said = run(variable="--all --numprocesses=2")
    assert "2 passed" in said and "\n100 examples\n" in said and "left out" not in said


@pytest.mark.long
@pytest.mark.parametrize("chosen", [["-m", "long"], ["tests/test_few.py::test_long"], ["--all", "tests/test_few.py"]])
def test_a_long_test_that_is_asked_for_runs_and_in_one_process(run, chosen):
    said = run(*chosen)
    assert f"{2 if '--all' in chosen else 1} passed" in said and "workers" not in said and "left out" not in said


@pytest.mark.long
def test_processes_that_are_asked_for_are_started(run):
    assert "workers" in run("tests/test_few.py", "-n", "logical")


COUNTED = """
import pytest

def every_day():
    return 1

def more():
    return 2

def odd():
    return 3

def test_every_day(): assert every_day() == 1

@pytest.mark.long
def test_more(): assert more() == 2

@pytest.mark.parametrize("number", [pytest.param(3, marks=pytest.mark.long)])
def test_odd(number): assert odd() == number
"""


@pytest.mark.long
def test_coverage_is_taken_of_the_tests_of_every_day_and_of_files_of_long_ones_alone(run, tmp_path):
    pytest.importorskip("pytest_cov")
    (tmp_path / "tests" / "test_counted.py").write_text(COUNTED)
    (tmp_path / "tests" / "test_dask.py").write_text("import pytest\npytestmark = pytest.mark.long\n\n"
                                                     "def distributed():\n    return 4\n\n"
                                                     "def test_dask(): assert distributed() == 4\n")
    said = run("--all", "--cov=tests", "--cov-report=term-missing")
    missing = {line.split()[0]: line.split("%")[1].split() for line in said.splitlines() if "%" in line}
    assert missing["tests/test_counted.py"] == ["8,", "11"] and missing["tests/test_dask.py"] == []


def time_limits(code):
    """The seconds after which something is given up: arguments called ...timeout, and of wait(), as they stand."""
    tree = ast.parse(code)
    named = {target.id: node.value for node in tree.body if isinstance(node, ast.Assign)
             for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            limits = [keyword.value for keyword in node.keywords
                      if (keyword.arg or "").endswith("timeout") and not keyword.arg.startswith("raise")]
            if isinstance(node.func, ast.Attribute) and node.func.attr == "wait":
                limits += node.args
            for limit in limits:
                value = named.get(limit.id, limit) if isinstance(limit, ast.Name) else limit
                yield node.lineno, value.value if isinstance(value, ast.Constant) else ast.unparse(value)


def test_no_test_ends_by_the_clock():
    """A time limit may be a guard against hanging; one that a slow or a busy machine meets makes a sound test fail."""
    found = {path: list(time_limits(path.read_text(encoding="utf-8"))) for path in WITH_A_CLOCK}
    assert sum(map(len, found.values())) >= 5
    short = [f"{path.relative_to(ROOT)}:{line}: {seconds} s" for path, limits in found.items()
             for line, seconds in limits if isinstance(seconds, str) or (seconds is not None and seconds < FOREVER)]
    assert not short, short


def test_time_limits_are_found():
    code = "N = 3\nrun(timeout=4)\nf(x_timeout=N)\nasked.wait(timeout=None)\nasked.wait(5)\nwait_for(6)\ng(timeout=m)"
    assert list(time_limits(code)) == [(2, 4), (3, 3), (4, None), (5, 5), (7, "m")]
