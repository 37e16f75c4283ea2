"""The jobs of benchmarks.speed whose rows follow from a count of the work, for each of the ten models."""

import pytest

from benchmarks import minictr_jobs, shapes, speed, threads, work
from benchmarks.shapes import Shape

SMALL = Shape(fields=5, ids=103, batch=64, numerical=3)
SETTINGS = {"seconds": 0, "steps": 3, "gigaflop": 0.001, "model": None, "encode_rows": 500}


@pytest.mark.parametrize("name", shapes.RELATIVES)
@pytest.mark.parametrize("job", ["score-encoded", "fit", "predict_proba"])
def test_every_job_of_each_model_has_a_figure(job, name, monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "ml-1m", SMALL)
    monkeypatch.setattr("benchmarks.encoded_jobs.SAMPLE_ROWS", 64)
    assert minictr_jobs.JOBS[job](name, "ml-1m", SETTINGS)["default"]["value"] > 0


@pytest.mark.parametrize("name, multiplications", [
    ("FwFM", 1_600 + 45), ("PNN", 94_224 - 720 + 1_600), ("NFM", 16 * 64 + 64), ("DCN", 81_984 + 4 * 160),
    ("XDeepFM", 81_984 + 16 * 10 * 16 * (10 + 16) + 32), ("DeepCrossing", 61_600), ("FNN", 84_800),
    ("WideDeep", 81_984)])
def test_the_count_is_that_of_the_cards(name, multiplications):
    """Of 10 fields and k = 16, where the card counts products of matrices alone; inner products of pairs are made by a
    product of all fields with all, 10 x 16 x 10 for 45 x 16.
    """
    products, _ = work.of_a_row(shapes.new_model(name, 1024), 10)
    assert sum(product.operations for product in products) == 2 * multiplications


@pytest.mark.parametrize("name", [*shapes.MODELS, *shapes.RELATIVES])
def test_every_model_has_a_limit(name, monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "ml-1m", SMALL)
    for job in ("step", "score-encoded"):
        of_products, of_copies = speed.limit(job, name, "ml-1m", copy_rate=10, seconds=0)
        assert of_copies > 0 and (of_products > 0) == (name not in ("FM", "FFM", "HOFM"))


def test_what_a_second_thread_brings_is_measured(monkeypatch, capsys):
    monkeypatch.setitem(shapes.SHAPES, "ml-1m", SMALL)
    threads.main(["--models", "FM", "XDeepFM", "--shapes", "ml-1m", "--seconds", "0"])
    lines = capsys.readouterr().out.splitlines()
    factors = [float(line.rpartition("x ")[2]) for line in lines if " ms " in line or " us " in line]
    assert len(factors) == 2 + len(threads.operations()) and min(factors) > 0


def test_a_second_threads_share_is_computed_from_both_times(monkeypatch, capsys):
    monkeypatch.setattr(threads, "n_cores", lambda: 2)
    monkeypatch.setattr(threads, "speed_up", lambda *case: (3.0, 2.0))
    monkeypatch.setattr(threads, "alone_and_together", lambda *call: (10.0, 12.5))
    threads.main(["--models", "FM", "AutoInt-heavy", "--shapes", "ml-1m"])
    out = capsys.readouterr().out
    assert out.count("x 1.50") == 2 and "AutoInt-heavy   criteo" in out and "FM              criteo" not in out
    assert out.count("x 1.60") == len(threads.operations())
