"""benchmarks.growth: which models it measures over the number of fields."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import growth, shapes

ALL = [*shapes.MODELS, *shapes.RELATIVES]


@pytest.mark.parametrize("name", ALL)
def test_a_step_of_every_model_is_timed(name):
    assert growth.ms_of_a_step(name, shapes.Shape(5, 50, 8), 0) > 0


def test_a_training_is_timed_and_its_memory_measured():
    seconds, data, params = growth.train(shapes.Shape(5, 50, 8), 100, epochs=2)
    assert seconds > 0
    assert data * 2 ** 20 == 100 * (5 + 1) * 4 and params * 2 ** 20 == (50 * 17 + 1) * 4


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is Linux's")
def test_the_peak_is_that_of_the_training(monkeypatch):
    monkeypatch.setattr(growth, "train", lambda shape, N, epochs: (np.ones(50 * 2 ** 17).sum(), 3.0, 2.0))    # 50 MB
    point = growth.memory_of_training(shapes.Shape(5, 50, 8), 100)
    assert 45 < point["peak"] < 60 and point["expected"] == 9 and point["rest"] == point["peak"] - 9


@pytest.fixture
def only_fields(monkeypatch):
    """``measure`` without its long curves: each point is a number that grows as the models' cards say."""
    monkeypatch.setattr(growth, "train", lambda shape, N, epochs: (N / 1e6, 1.0, 1.0))
    memory = {"rows": 9, "ids": 9, "expected": 1.0, "peak": 2.0, "rest": 1.0}
    monkeypatch.setattr(growth, "in_new_process", lambda *args: memory.copy())
    monkeypatch.setattr(growth, "ms_of_a_step",
                        lambda name, shape, seconds, spread=False: float(shape.fields ** growth.power_of(name)))


@pytest.mark.parametrize("asked, measured", [((), list(shapes.MODELS)), (("--models", "FwFM", "DCN"), ["FwFM", "DCN"])])
def test_the_models_that_are_asked_for_are_measured_drawn_and_judged(asked, measured, only_fields, tmp_path, capsys):
    growth.main(["--quick", "--out", str(tmp_path), *asked])
    found = json.loads((tmp_path / "growth.json").read_text(encoding="utf-8"))
    assert list(dict.fromkeys(point["model"] for point in found["curves"]["fields"])) == measured
    said = [line for line in found["conclusions"] if line.startswith("fields:")]
    assert said == [f"fields: {name} grows as M^{power}.00 (goal: {power})"
                    for name in measured for power in [growth.power_of(name)]]
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_a_model_that_there_is_not_is_named(capsys):
    with pytest.raises(SystemExit):
        growth.main(["--models", "SVM"])
    assert "invalid choice: 'SVM'" in capsys.readouterr().err


def test_powers_are_those_of_the_cards():
    """FFM, FwFM, AFM, PNN, XDeepFM and AutoInt take pairs one by one."""
    assert {name for name in ALL if growth.power_of(name) == 2} == {"FFM", "FwFM", "AFM", "PNN", "XDeepFM", "AutoInt"}
