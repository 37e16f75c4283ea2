"""The Python examples of README and CONTRIBUTING run as they stand."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from minictr.training import step

ROOT = Path(__file__).parents[2]
BLOCKS = [pytest.param(block, id=f"{name} {number}")
          for name in ("README.md", "CONTRIBUTING.md")
          for number, block in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.S), 1)]


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_run(block, tmp_path, monkeypatch, capsys):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(block, "example", "exec"), {"__name__": "example"})
    finally:
        plt.close("all")


def test_the_step_that_the_readme_shows_is_the_step():
    quoted = re.search(r"```python\n(def step\(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    source = inspect.getsource(step).replace(step.__doc__, "").replace('    """"""\n', "")
    assert [line.split() for line in quoted.splitlines()] == [line.split() for line in source.splitlines()]


def test_links_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / name).read_text()):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{name} links to {target}"


def test_the_debugger_stops_where_the_readme_says(tmp_path):
    text = (ROOT / "README.md").read_text()
    script = next(block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "train_step" in block)
    commands = re.search(r"```\n(b model.*?)```", text, re.S)[1]
    (tmp_path / "step.py").write_text(script.replace("loss = model", "breakpoint()\nloss = model"))
    run = subprocess.run([sys.executable, "step.py"], input=f"{commands}c\nc\n", cwd=tmp_path, text=True,
                         capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    stops = re.findall(r"attention_pooling\.py\(\d+\)(forward|backward)\(\)", run.stdout)
    assert run.returncode == 0 and stops == ["forward", "backward"], run.stdout + run.stderr
