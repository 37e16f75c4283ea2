"""Criteo display advertising: was the ad clicked? 13 number fields, 26 category fields.

The data of the Kaggle "Display Advertising Challenge" (Criteo, 2014); its train.txt has 45,840,617
rows. The terms do not let minictr download or ship it: HOME tells where to get it. Tab separated
without a header: label, I1..I13 (numbers, mostly counts), C1..C26 (hashed categories); empty =
missing.
"""

import gzip
import zlib
from itertools import islice

import pandas as pd

from . import _files

HOME = "https://www.kaggle.com/c/criteo-display-ad-challenge"
NUMBERS = [f"I{i}" for i in range(1, 14)]
CATEGORIES = [f"C{i}" for i in range(1, 27)]


def load(path=None, rows=None, *, split="train"):
    """Load a Criteo file, or the first rows of it.

    Parameters
    ----------
    path : str, Path or None
        The file, or a folder with train.txt, train.tsv, train.txt.gz or train.tsv.gz. None: looked
        for in the folder `criteo` or `criteo-8k` of the folder that the environment variable
        MINICTR_DATA names, then of the cache folder.
    rows : int or None, how many rows to read; None reads all. All of train.txt is more than a
        laptop can hold: use `rows` or `iterate`.
    split : str, the file's name without its ending: "train", "dev", "test", ... The challenge's own
        test.txt cannot be read: it has no labels.

    Returns
    -------
    DataFrame
        label (0 or 1), I1..I13 (float, missing = NaN), C1..C26 (str, missing = NaN).

    Raises
    ------
    FileNotFoundError
        The file is nowhere.
    ValueError
        The file is damaged or is not in Criteo's format, or `rows` is not positive.
    """
    return pd.concat(iterate(path, rows=rows, split=split))


def iterate(path=None, chunk_rows=100_000, *, rows=None, split="train"):
    """Read a Criteo file piece by piece, yielding tables like those of `load`.

    Each piece has `chunk_rows` rows, the last one what is left; the index counts on from piece to
    piece. For the other parameters and the errors see `load`. An error comes with the first piece,
    or with the piece in which the fault lies.
    """
    for name, number in [("rows", rows), ("chunk_rows", chunk_rows)]:
        if number is not None and number < 1:
            raise ValueError(f"{name} must be a positive number, got {number}")
    endings = [".txt", ".tsv", ".txt.gz", ".tsv.gz"]
    file = _files.locate(path, ["criteo", "criteo-8k"], [split + ending for ending in endings],
                         home=HOME)
    columns = {"label": "int64",
               **dict.fromkeys(NUMBERS, "float64"), **dict.fromkeys(CATEGORIES, str)}
    done = 0
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
        lines = islice((line for line in stream if line.strip(b"\r\n")), rows)
        while True:
            try:
                data = b"".join(islice(lines, chunk_rows)).rstrip(b"\r\n")
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(f"{file} is damaged ({error}): get a fresh copy") from error
            if not data:
                break
            piece = _files.read_table(data, str(file), columns, sep=b"\t", missing=[""],
                                      rows=data.count(b"\n") + 1, first_line=done + 1)
            piece.index += done
            wrong = ~piece["label"].isin([0, 1])
            if wrong.any():
                row = wrong.idxmax()
                raise ValueError(f"{file}, line {row + 1}: the label is {piece['label'][row]}, "
                                 f"expected 0 or 1")
            yield piece
            done += len(piece)
    if done == 0:
        raise ValueError(f"{file} is empty")
