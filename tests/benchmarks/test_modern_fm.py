"""benchmarks.modern_fm: the same rows for both libraries, and what is made of their seconds."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from benchmarks import modern_fm
from benchmarks.shapes import Shape, drawn_table
from minictr import Categorical, MultiValued
from minictr.fields import TableEncoder


@pytest.fixture
def small(monkeypatch):
    shape = Shape(5, 103, 64, numerical=3)
    monkeypatch.setattr(modern_fm, "SCORE_SECONDS", 0)
    monkeypatch.setattr(modern_fm, "CASES", {name: dataclasses.replace(case, shape=shape)
                                             for name, case in modern_fm.CASES.items()})


@pytest.mark.parametrize("name", modern_fm.CASES)
def test_minictrs_turn(name, small):
    figures = modern_fm.with_minictr(name, 300)
    assert figures["fit"] > figures["epoch"] > 0 and figures["of all cores"] > 0 and 0 < figures["loss"] < 1
    assert figures["score"] > 0 and figures["table"] > 0


def test_the_sparse_matrix_has_each_rows_slots():
    pytest.importorskip("scipy")
    X, _ = drawn_table(Shape(4, 42, 64, numerical=2), 50)
    X["tags"] = ["a|b", "b"] * 25
    encoder = TableEncoder(["field_0", "field_1", Categorical("field_2"), "field_3", MultiValued("tags")]).fit(X)
    slots, n = encoder.encode(X), encoder.n_ids
    dense = np.zeros((50, n), np.float32)
    np.add.at(dense, (np.arange(50)[:, None], slots.ids), slots.x)
    np.testing.assert_array_equal(modern_fm.sparse_matrix(slots, n).toarray(), dense)


@pytest.mark.skipif(importlib.util.find_spec("modern_fm") is None, reason="modern-fm is not installed")
@pytest.mark.parametrize("name", modern_fm.CASES)
def test_modern_fms_turn(name, small):
    figures = modern_fm.with_modern_fm(name, 300)
    assert figures["fit"] > 0 and figures["score"] > 0 and 0 < figures["loss"] < 1


def test_ratios_are_of_medians_and_a_disturbance_is_said():
    def turns(values, others=0.0, **more):
        return [{"fit": value, "of all cores": 2 * value, "score": value / 2, "loss": 0.5,
                 "cores used by others": others, **more} for value in values]

    found = {"minictr": turns([2, 3, 10], epoch=1.5, table=6), "modern-fm": turns([6, 1, 100])}
    *lines, last = modern_fm.summary(found)
    assert last == ("ratio of fit 2.00, of the epoch alone 4.00, of the seconds of all cores 2.00; of scoring 2.00, "
                    "from the table 0.50")
    assert lines[2].split() == "minictr fit 3.0000 s (2.0000 to 10.0000) log loss 0.5000".split()
    found["modern-fm"] = turns([6, 1, 100], others=0.5)
    assert modern_fm.summary(found)[-1].startswith("DISTURBED: other processes kept up to 0.5 cores busy")


@pytest.mark.skipif(importlib.util.find_spec("modern_fm") is not None, reason="modern-fm is installed")
def test_without_modern_fm_it_says_what_to_install(capsys):
    with pytest.raises(SystemExit):
        modern_fm.main([])
    assert "pip install modern-fm" in capsys.readouterr().err
