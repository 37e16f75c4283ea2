"""The fuzzer of model files, for as many tries as the day allows; see fuzz_files.py."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from attack.tally import rounds

import minictr


@pytest.mark.long
@pytest.mark.skipif(not find_spec("atheris"), reason="atheris is not installed: pip install atheris")
def test_guided_changes_of_model_files_find_nothing(tmp_path):
    n = rounds(1_000)
    environment = os.environ | {"PYTHONPATH": str(Path(minictr.__file__).parents[1])}
    options = [f"-runs={n}", "-seed=1", "-max_len=200", "-len_control=0", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run([sys.executable, Path(__file__).with_name("fuzz_files.py"), *options], capture_output=True,
                          text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert int(re.search(r"Done (\d+) runs", done.stderr)[1]) >= n
