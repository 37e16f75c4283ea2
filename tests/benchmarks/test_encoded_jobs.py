"""The jobs on encoded rows: which rows they take, and what makes the steps of which version."""

import contextlib
import sys

import numpy as np

import minictr.training
from benchmarks import encoded_jobs, shapes
from benchmarks.shapes import Shape

SMALL = Shape(fields=5, ids=103, batch=64, numerical=3)


def test_steps_go_round_the_batches_and_each_cuts_its_rows_anew(monkeypatch):
    class Recorder:
        """Stands in for a trainer."""

        def step(self, slots, y):
            seen.append((slots, y))

    seen = []
    monkeypatch.setitem(shapes.SHAPES, "ml-1m", SMALL)
    monkeypatch.setattr(encoded_jobs, "trainer_of", lambda model: contextlib.nullcontext(Recorder()))
    rows = shapes.drawn_slots(SMALL, 3 * SMALL.batch)
    with encoded_jobs.step(shapes.new_model("FM", SMALL.batch), "ml-1m", rows) as call:
        for i in range(5):
            call(i)
    for i, (slots, y) in enumerate(seen):
        start = i % 3 * SMALL.batch
        assert np.array_equal(slots.ids, rows[0].ids[start:start + SMALL.batch])
        assert np.array_equal(y, rows[1][start:start + SMALL.batch])
    assert seen[3][0] is not seen[0][0]


def test_an_earlier_version_trains_with_its_own_trainer(monkeypatch):
    class Earlier:
        """Stands in for the trainer of a version in which minictr.training is one file."""

        training = False

        def set_training(self, on):
            self.training = on

    monkeypatch.setitem(sys.modules, "minictr.training.chunked", None)
    monkeypatch.setattr(minictr.training, "trainer_on_threads", lambda model, seed: contextlib.nullcontext(Earlier()),
                        raising=False)
    with encoded_jobs.trainer_of(None) as trainer:
        assert isinstance(trainer, Earlier) and trainer.training
