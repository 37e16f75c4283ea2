"""The setting ``crosses`` of Wide & Deep, and how many weights it may ask for."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import minictr
from minictr import Model, ModelFileError, WideDeep, datasets, layers


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(300, seed=0)


@pytest.fixture
def path(clicks, tmp_path):
    """A file of a model with two crosses, and its optimizer's moments."""
    model = WideDeep(crosses=[("user_segment", "ad_category"), ("hour", "device")], cross_buckets=50, deep_layers=(4,),
                     epochs=1).fit(clicks.X, clicks.y)
    model.save(tmp_path / "model", optimizer=True)
    return tmp_path / "model"


def rewrite(path, **settings):
    """Change settings in a model file, and nothing else."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(bytes(arrays.pop("meta")))
    meta["settings"] |= settings
    with open(path, "wb") as file:
        np.savez(file, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)


@pytest.mark.parametrize("crosses", [
    [[["a"], ["b"]]], [[{}, "hour"]], [("hour", None)], [("hour", ["device"])]], ids=str)
def test_a_cross_of_no_names_is_refused(crosses, clicks):
    with pytest.raises(ValueError, match="crosses must be a list of combinations of two or more names"):
        WideDeep(crosses=crosses).fit(clicks.X, clicks.y)


@pytest.mark.parametrize("buckets", [2 ** 30 + 1, 10 ** 15, 10 ** 30])
def test_more_weights_than_an_id_can_number_are_refused_when_the_model_is_built(buckets, clicks):
    crosses = [("user_segment", "ad_category"), ("hour", "device")]
    message = rf"2 crosses of {buckets} buckets .* WideDeep's cross_buckets, is at most 1073741824"
    with pytest.raises(ValueError, match=message):
        WideDeep(crosses=crosses, cross_buckets=buckets).prepare(clicks.X, clicks.y)
    with pytest.raises(ValueError, match=message):
        layers.Crosses([(0, 1), (1, 2)], buckets)


@pytest.mark.parametrize("buckets", [51, 10 ** 6, 10 ** 9, 10 ** 15, 10 ** 30])
def test_a_file_cannot_ask_for_more_weights_of_crosses_than_it_has(buckets, path):
    rewrite(path, cross_buckets=buckets)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            Model.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * path.stat().st_size + 2 ** 20
    finally:
        tracemalloc.stop()


LOAD = """
import resource, sys
from minictr import Model, ModelFileError

size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 64 * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))
try:
    Model.load(sys.argv[1])
except ModelFileError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of memory is set as Linux has it")
@pytest.mark.parametrize("buckets", [10 ** 9, 10 ** 15, 10 ** 30])
def test_such_a_file_is_refused_within_64_megabytes(buckets, path):
    rewrite(path, cross_buckets=buckets)
    environment = os.environ | {"PYTHONPATH": str(Path(minictr.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "its settings ask for a model that is larger than the parameters in the file" in done.stdout


def test_crosses_alone_may_be_all_that_a_file_has_much_of(clicks, tmp_path):
    """Weights that start at 0 count as those that are drawn do: a large table in the file makes room for itself."""
    model = WideDeep(crosses=[("user_segment", "ad_category")], cross_buckets=200_000, embedding_dim=1, deep_layers=(),
                     epochs=1).fit(clicks.X, clicks.y)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Model.load(tmp_path / "model").predict(clicks.X), model.predict(clicks.X))
