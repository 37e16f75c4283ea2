"""Fits that overlap on several threads: each is as if it were alone, and BLAS gets its threads back."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minictr import FM, DeepFM, datasets
from minictr.layers import parameters
from minictr.training import threads

CLICKS = datasets.make_clicks(600, seed=0)


@pytest.fixture
def blas(monkeypatch):
    """An OpenBLAS of four threads that notes what it is told."""
    told = [4]
    monkeypatch.setattr(threads, "_openblas_controls", lambda: (lambda: told[-1], told.append))
    return told


def test_the_last_block_out_gives_the_threads_back(blas):
    """In a, in b, out a, out b: it stays at one while b is in, and is what it was before a afterwards."""
    a, b = contextlib.ExitStack(), contextlib.ExitStack()
    a.enter_context(threads.one_blas_thread())
    b.enter_context(threads.one_blas_thread())
    assert blas[-1] == 1
    a.close()
    assert blas[-1] == 1, "b is still in"
    b.close()
    assert blas[-1] == 4
    with threads.one_blas_thread(), threads.one_blas_thread():    # and one within the other
        assert blas[-1] == 1
    assert blas == [4, 1, 4, 1, 4]


def test_an_error_in_a_block_gives_the_threads_back(blas):
    with pytest.raises(ZeroDivisionError), threads.one_blas_thread():
        raise ZeroDivisionError
    assert blas == [4, 1, 4]


def test_blas_gets_its_threads_back_after_fits_that_overlap():
    controls = threads._openblas_controls()
    if controls is None:
        pytest.skip("NumPy has another BLAS here")
    get_threads, set_threads = controls
    before = get_threads()
    set_threads(2)
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                list(pool.map(lambda epochs: FM(epochs=epochs).fit(CLICKS.X, CLICKS.y), (1, 2, 3, 4)))
                assert get_threads() == 2
    finally:
        set_threads(before)


def test_a_fit_beside_others_gets_the_bits_of_one_alone():
    def fit(epochs):
        model = DeepFM(deep_layers=(64, 64), epochs=epochs, dropout=0.1).fit(CLICKS.X, CLICKS.y)
        return parameters(model)

    alone = [fit(epochs) for epochs in (1, 2, 3)]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            for one, other in zip(alone, pool.map(fit, (1, 2, 3)), strict=True):
                for name in one:
                    np.testing.assert_array_equal(one[name], other[name], err_msg=name)
