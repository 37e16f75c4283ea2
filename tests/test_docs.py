"""The Python examples of README and CONTRIBUTING run as they stand."""

import re
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = [pytest.param(block, id=f"{name} {number}")
          for name in ("README.md", "CONTRIBUTING.md")
          for number, block in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.S), 1)]


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_run(block, tmp_path, monkeypatch, capsys):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {"__name__": "example"})


def test_links_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / name).read_text()):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{name} links to {target}"
