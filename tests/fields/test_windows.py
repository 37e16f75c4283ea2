"""Encoded rows, joined and cut."""


import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minictr.fields.windows import cut_windows, join, take
from minictr.slots import Slots


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 12))
def test_windows_do_not_depend_on_the_parts(sizes, n_rows):
    n = sum(sizes)
    slots, y = Slots(np.arange(2 * n).reshape(n, 2), np.arange(2.0 * n).reshape(n, 2), [0, 1]), np.arange(n)
    bounds = [0, *np.cumsum(sizes).tolist()]
    parts = (take((slots, y, y), slice(*ends)) for ends in itertools.pairwise(bounds))
    windows = list(cut_windows(parts, n_rows))
    assert [len(part[1]) for part in windows[:-1]] == [n_rows] * (len(windows) - 1)
    found, y_found, c_found = join(windows)
    assert np.array_equal(found.ids, slots.ids) and np.array_equal(found.x, slots.x)
    assert y_found.tolist() == c_found.tolist() == list(range(n))
