"""Predicting in chunks: a table cut at multiples of them has the outputs of the whole one, bit for bit."""

import numpy as np
import pytest
from models import KINDS, small

from minictr import AFM, FFM, FM, HOFM, NFM, FwFM, Model, Numerical, datasets, training
from minictr.slots import Slots
from minictr.training import chunk_sizes, scoring

CLICKS = datasets.make_clicks(700, seed=0)


@pytest.mark.parametrize("name", KINDS)
def test_pieces_have_the_bits_of_the_whole(name, monkeypatch, tmp_path):
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 5_000)
    model = small(name, list(CLICKS.X), epochs=1, learning_rate=0.1).fit(CLICKS.X[:200], CLICKS.y[:200])
    rows, whole = training.fixed_chunk_rows(model), model.decision_function(CLICKS.X)
    assert 8 <= rows < 700 and whole.std() > 0
    for size in (rows, 3 * rows):
        parts = [model.decision_function(CLICKS.X[start:start + size]) for start in range(0, 700, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    model.save(tmp_path / "model.npz")
    loaded = Model.load(tmp_path / "model.npz")
    first = loaded.decision_function(CLICKS.X[:3])                # few rows, from which nothing is to be measured
    np.testing.assert_array_equal(loaded.decision_function(CLICKS.X), whole)
    np.testing.assert_allclose(first, whole[:3], rtol=1e-4, atol=1e-6)


EACH_WAY = pytest.mark.parametrize("make", [FM, AFM, FwFM, HOFM, NFM, FFM])      # all with twins; FFM goes by layers


@EACH_WAY
def test_a_long_cell_changes_no_other_row(make, monkeypatch):
    """Its padding is not added up in other chunks, where it would change the order of sums."""
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 20_000)
    X = CLICKS.X.copy()
    model = make(epochs=1).fit(X, CLICKS.y)
    rows = training.fixed_chunk_rows(model)
    assert 8 <= rows < 700
    before = model.decision_function(X)
    X["interests"] = [["sport"] * 900 if row == 0 else cell for row, cell in enumerate(X["interests"])]
    after = model.decision_function(X)
    np.testing.assert_array_equal(after[rows:], before[rows:])
    np.testing.assert_allclose(after[1:rows], before[1:rows], rtol=1e-4, atol=1e-6)


@EACH_WAY
def test_a_number_that_is_1_in_all_rows_of_one_piece_alone(make, monkeypatch):
    """How a chunk is computed depends on its own rows."""
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 5_000)
    X = CLICKS.X.drop(columns="interests").assign(flag=np.arange(700) // 350)
    model = make(fields=[*X.columns[:-1], Numerical("flag", transform=None)], epochs=1, learning_rate=0.1)
    model.fit(X, CLICKS.y)
    rows, whole = training.fixed_chunk_rows(model), model.decision_function(X)
    assert 8 <= rows < 350
    parts = [model.decision_function(X[start:start + rows]) for start in range(0, 700, rows)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@EACH_WAY
def test_long_rows_are_processed_a_few_at_once(make, monkeypatch):
    """So many as fit the cache: chunks are cut for rows of one slot a field."""
    X = CLICKS.X.copy()
    X["interests"] = [["sport", "games"] * 450] * 700
    model, lengths, cut = make(epochs=1).fit(X[:20], CLICKS.y[:20]), [], scoring.chunk_slices
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 400_000)
    monkeypatch.setattr(scoring, "chunk_slices", lambda n, rows: lengths.append((n, rows)) or cut(n, rows))
    model.decision_function(X)
    assert lengths and all(8 <= rows < n / 2 for n, rows in lengths)


def test_padding_is_what_weighs_nothing_in_all_rows():
    slots = Slots([[0, 5, 6, 7, 9], [1, 5, 7, 7, 9]], [[0, 0.5, 0.5, 0, 2], [1, 1, 0, 0, 0]], starts=[0, 1, 4])
    bare = slots.without_padding()
    assert bare.ids.tolist() == [[0, 5, 6, 9], [1, 5, 7, 9]] and bare.starts.tolist() == [0, 1, 3]
    assert bare.x.tolist() == [[0, 0.5, 0.5, 2], [1, 1, 0, 0]]
    assert bare.without_padding() is bare
    assert slots[1:].without_padding().x.tolist() == [[1, 1, 0]]       # a field keeps a slot of weight 0
    plain = Slots([[0, 1]], None, starts=[0])
    assert plain.without_padding() is plain
