"""The program that makes the notebooks, as a module."""

import importlib.util
from pathlib import Path

TUTORIALS = Path(__file__).parents[1] / "tutorials"


def load_build():
    """tutorials/build.py, which is in no package. It needs jupytext and nbclient: skip first where they are missing."""
    spec = importlib.util.spec_from_file_location("tutorials_build", TUTORIALS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
