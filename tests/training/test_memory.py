"""Memory that is freed and needed again a moment later stays with the process."""

import platform
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from minictr import FM, datasets
from minictr.training import TrainingDiverged, loop
from minictr.training.step import check_arrays

COUNT = """
import resource
import numpy as np
from minictr import FM, datasets
from minictr.training import loop, predict_logits

loop.keep_freed_memory = lambda: None                             # that scoring does it by itself is what is asked
clicks = datasets.make_clicks(20_000, seed=0)
model = FM(embedding_dim=32, epochs=1, n_threads=1).fit(clicks.X[:500], clicks.y[:500])
slots = model.encoder_.encode(clicks.X)

def new_pages(calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        predict_logits(model, slots)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / calls

new_pages(2)
print(new_pages(5))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's thresholds")
def test_scoring_asks_for_no_new_pages_of_memory():
    said = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    assert float(said.stdout) < 500                               # without keep_freed_memory 2,900


def test_fit_keeps_memory_too_but_not_where_nothing_is_tuned(monkeypatch):
    calls, clicks = [], datasets.make_clicks(50, seed=0)
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: calls.append(1))
    FM(epochs=2, plain=True).fit(clicks.X, clicks.y)
    assert not calls
    FM(epochs=2).fit(clicks.X, clicks.y)
    assert calls == [1]


@pytest.mark.parametrize("value", [1.0, np.nan, np.inf, -np.inf])
def test_checking_a_large_table_takes_no_memory(value):
    """With a byte for each number it was the peak of a training with 10,000,000 ids: 160 MB."""
    V = np.zeros((100_000, 40), np.float32)
    V[70_000, 3] = value
    tracemalloc.start()
    try:
        if value == 1:
            check_arrays({"V": V})
        else:
            with pytest.raises(TrainingDiverged, match="the parameter V is not finite any more"):
                check_arrays({"V": V})
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
