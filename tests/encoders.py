"""Encoders of one column, what they make of it, and how to compare them."""

import io
import json
import sys

import numpy as np
import pandas as pd

from minictr.fields import TableEncoder

NAN = float("nan")
NOTHING = [
    [None, None], [NAN, NAN], pd.Series([None, None], dtype="Int64"),
    pd.Series([pd.NaT, None], dtype=object), pd.Series([None, None], dtype="string"),
    pd.Series([None, None], dtype="boolean"), pd.Series([None, None]).astype("category"),
]


def fitted(field, column):
    """A TableEncoder of one field, fitted to one column."""
    return TableEncoder([field]).fit({field.name: column})


def encode(encoder, column):
    """The ids of a column (one slot a row) that is encoded by an encoder of one field."""
    return encoder.encode({encoder.field_names[0]: column}).ids[:, 0].tolist()


def weights_by_id(slots):
    """Each row as {global id: summed weight}, so that the padding does not matter."""
    x = np.ones(slots.ids.shape) if slots.x is None else slots.x
    rows = []
    for row_ids, row_x in zip(slots.ids.tolist(), x.tolist(), strict=True):
        row = {}
        for id_, weight in zip(row_ids, row_x, strict=True):
            if weight:
                row[id_] = row.get(id_, 0) + weight
        rows.append(row)
    return rows


def calls(function):
    """How many of the library's functions `function()` enters: what a reader with a debugger steps through."""
    entered = []

    def watch(frame, event, arg):
        if event == "call" and frame.f_globals.get("__name__", "").startswith("minictr."):
            entered.append(frame.f_code.co_name)

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return len(entered)


def reload(encoder):
    """The encoder after a trip through JSON and a NumPy file that may not hold objects."""
    state, arrays = encoder.get_state()
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return TableEncoder.from_state(json.loads(json.dumps(state, allow_nan=False)), dict(stored))


def same_state(one, other):
    """Whether two encoders have learned exactly the same."""
    (state, arrays), (other_state, other_arrays) = one.get_state(), other.get_state()
    return state == other_state and arrays.keys() == other_arrays.keys() and all(
        arrays[name].dtype == other_arrays[name].dtype
        and np.array_equal(arrays[name], other_arrays[name]) for name in arrays)
