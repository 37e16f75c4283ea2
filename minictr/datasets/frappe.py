"""Frappe: which app did a user open, in which situation? 288,609 rows, 10 fields.

L. Baltrunas, K. Church, A. Karatzoglou, N. Oliver, "Frappe: Understanding the Usage and Perception
of Mobile App Recommendations In-The-Wild", arXiv:1505.03014 (2015). The split and the encoding are
those of He and Chua, SIGIR 2017, used by the AFM paper (Xiao et al., IJCAI 2017, arXiv 1708.04617):
96,203 uses of an app and, for each, two rows with an app drawn at random among those that the user
never used; 70 % train, 20 % validation, 10 % test.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from . import _files

HOME = "https://github.com/hexiangnan/neural_factorization_machine/tree/master/data/frappe"
URL = ("https://raw.githubusercontent.com/hexiangnan/neural_factorization_machine/master/data/"
       "frappe/frappe.{split}.libfm")
ROWS = {"train": 202_027, "validation": 57_722, "test": 28_860}  # no checksum is published

# The files number the values of all fields in one row: field f has the ids from its own first id
# up to the next field's.
FIRST_ID = {"user": 0, "item": 957, "daytime": 5039, "weekday": 5046, "isweekend": 5053,
            "homework": 5055, "cost": 5058, "weather": 5060, "country": 5069, "city": 5149}
N_IDS = 5382


def load(path=None):
    """Load Frappe as three tables.

    Parameters
    ----------
    path : str, Path or None
        The folder that holds frappe.train.libfm, frappe.validation.libfm and frappe.test.libfm, or
        these with .gz at the end. None: looked for in the folder `frappe` of the folder that the
        environment variable MINICTR_DATA names, then of the cache folder, else downloaded (15 MB).
        In place of the train file, frappe.train.rebuilt.libfm is taken too: a train set whose
        positive rows are the published ones and whose negative apps were drawn anew. Say "train
        negatives re-sampled" beside any result from it.

    Returns
    -------
    dict of DataFrame
        "train" (202,027 rows), "validation" (57,722) and "test" (28,860), each with the ten columns
        user, item (the app), daytime, weekday, isweekend, homework, cost, weather, country, city,
        and `label`: 1 = used, -1 = not used. The labels stay as in the files because the AFM paper
        regresses on them with squared loss; ``(label + 1) // 2`` makes them 0 and 1. Values are
        ints that count from 0 within their field: the file's id minus FIRST_ID[field].
        ``.attrs["file"]`` is the name of the file that was read, which tells a rebuilt train set.

    Raises
    ------
    FileNotFoundError
        A file is nowhere and cannot be downloaded.
    ValueError
        A file is damaged, or is not the one expected.
    """
    if path is not None and Path(path).expanduser().is_file():
        raise ValueError(f"path={str(path)!r} is a file; give the folder of the three Frappe files")
    return {split: _read(path, split) for split in ROWS}


def _read(path, split):
    names = [f"frappe.{split}.libfm", f"frappe.{split}.libfm.gz"]
    if split == "train":
        names += ["frappe.train.rebuilt.libfm", "frappe.train.rebuilt.libfm.gz"]
    file = _files.locate(path, ["frappe"], names, home=HOME, url=URL.format(split=split),
                         check=_files.has_lines(ROWS[split]))
    data = file.read_bytes()
    if file.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{file} is damaged ({error}): delete it and get a fresh copy"
                             ) from error
    # "1 204:1 4798:1 ...": label, then id:value ten times
    columns = {"label": "int64"}
    for name in FIRST_ID:
        columns |= {name: "int64", f"{name}:value": "int64"}
    table = _files.read_table(data.replace(b":", b" "), str(file), columns,
                              sep=b" ", rows=ROWS[split])

    values = table[[f"{name}:value" for name in FIRST_ID]].to_numpy()
    _check(values == 1, file, "a value other than 1 after the colon")
    ids = table[list(FIRST_ID)].to_numpy()
    bounds = np.array([*FIRST_ID.values(), N_IDS])
    _check((ids >= bounds[:-1]) & (ids < bounds[1:]), file, "an id outside its field's range")
    label = table["label"].to_numpy()
    _check(np.abs(label)[:, None] == 1, file, "a label other than 1 and -1")

    result = pd.DataFrame(ids - bounds[:-1], columns=list(FIRST_ID))
    result["label"] = label
    result.attrs["file"] = file.name
    return result


def _check(good, file, what):
    """Raise ValueError with the line of the first row that is not good in every column."""
    bad = np.flatnonzero(~good.all(axis=1))
    if len(bad):
        raise ValueError(f"{file}, line {bad[0] + 1}: {what}; it is not the Frappe file")
