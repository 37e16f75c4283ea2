"""Memory that is freed and needed again a moment later stays with the process."""

import platform
import subprocess
import sys

import pytest

from minictr import FM, datasets
from minictr.training import loop

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
    assert float(said.stdout) < 500                               # without keep_freed_memory more than 3,000


def test_fit_keeps_memory_too_but_not_where_nothing_is_tuned(monkeypatch):
    calls, clicks = [], datasets.make_clicks(50, seed=0)
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: calls.append(1))
    FM(epochs=2, plain=True).fit(clicks.X, clicks.y)
    assert not calls
    FM(epochs=2).fit(clicks.X, clicks.y)
    assert calls == [1]
