"""The suite itself: no test is up against the clock."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
WITH_A_CLOCK = [*sorted((ROOT / "tests").rglob("*.py")), ROOT / "tutorials" / "build.py"]
FOREVER = 600           # seconds: longer than anything takes that has not hung, on the slowest machine


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
