"""Models that version 0.1.0 saved, and what it then made of them: they load and do the same ever after.

Each entry of ``manifest.json`` is a model in ``<name>.npz``, as ``save`` wrote it, and what that version computed from
it in ``<name>_expected.npz``:

    scores          decision_function of all rows of the entry's table
    step/...        one train_step on the first rows: the encoded rows (ids, x, starts), the loss, the gradients of
                    the loss alone (without L2), and parameters and states after the update
    went_on/...     parameters, states and scores after one partial_fit on all rows
    ratings/...     predictions of pairs, and recommendations, of a model fitted on ratings

To keep the files small the gradients of all parameters lie end to end in one array, in the order in which the model's
file has the parameters; so do parameters and states. ``read_expected`` takes them apart. The tables are stored, not
drawn: NumPy does not promise that a seed gives the same numbers in every version.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent

# Columns of which pandas could not tell the type by looking at the text.
DTYPES = {"user": str, "hour": "Int64", "member": "boolean", "size": "category", "page": str, "genres": str,
          "city": str}

# What lies end to end in a file of expectations -> under which name the model's file has arrays of the same shapes.
END_TO_END = {"gradients": "params/", "parameters": "params/", "states": "state/"}

# The rows of a table, or all if there are fewer, that made the one step: a single chunk for every model.
STEP_ROWS = 24

# What models fitted on ratings were asked to recommend.
RECOMMEND = {"top_3": {"top_k": 3}, "all": {"top_k": 100, "exclude_seen": False}}


def read_manifest():
    """{name of a model: what is known of it}."""
    return json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


def read_table(name):
    """One of the stored tables, its columns with their types; tags become lists of whole numbers."""
    table = pd.read_csv(FOLDER / f"{name}.csv", dtype=DTYPES, keep_default_na=False, na_values=[""],
                        encoding="utf-8")
    if "tags" in table:
        table["tags"] = [[int(tag) for tag in cell.split()] for cell in table["tags"].fillna("")]
    return table


def read_expected(name):
    """What is expected of a model: {"scores": array, ..., "step/gradients": {parameter: array}, ...}."""
    with np.load(FOLDER / f"{name}_expected.npz") as file:
        expected = {key: file[key] for key in file.files}
    with np.load(FOLDER / f"{name}.npz") as file:
        shapes = {key: file[key].shape for key in file.files}
    for key, values in expected.items():
        prefix = END_TO_END.get(key.rpartition("/")[2])
        if prefix:
            own = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
            ends = np.cumsum([int(np.prod(shape)) for shape in own.values()])
            assert ends[-1] == len(values)
            parts = np.split(values, ends[:-1])
            expected[key] = {name: part.reshape(own[name]) for name, part in zip(own, parts, strict=True)}
    return expected
