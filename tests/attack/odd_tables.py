"""Odd tables, targets and weights, drawn by a seeded generator; and what an error must be like."""

import datetime
import decimal
import traceback
from pathlib import Path

import numpy as np
import pandas as pd

import minictr
from minictr import AFM, FM, LR, AutoInt, DeepFM
from minictr.training import TrainingDiverged

PACKAGE = Path(minictr.__file__).parent
MODELS = [LR, FM, AFM, AutoInt, DeepFM]
SIZES = {LR: {}, FM: {"embedding_dim": 2}, AFM: {"embedding_dim": 2, "attention_dim": 2},
         AutoInt: {"embedding_dim": 4, "attention_dim": 2}, DeepFM: {"embedding_dim": 2, "deep_layers": (3,)}}
TEXTS = ["", " ", "a", "A", "é", "a|b", "\x00", "\x1b[31m", "nan", "None", "1", "01", "1.0", "=1+1", "😀", "x" * 300]


# ---- columns ------------------------------------------------------------------------------------------------

def objects(values):
    """A Series of dtype object with just these values, whatever they are."""
    values = list(values)
    array = np.empty(len(values), object)
    for row, value in enumerate(values):                          # at once, lists of one length would be a matrix
        array[row] = value
    return pd.Series(array, dtype=object)


def some_missing(rng, column):
    """The column with some values missing, in one of the ways that there are."""
    column = column.astype(object)
    column[rng.random(len(column)) < 0.3] = [None, float("nan"), pd.NA, pd.NaT][rng.integers(4)]
    return column


GOOD = {            # columns that some field can hold
    "text": lambda rng, n: objects(rng.choice(TEXTS, n).tolist()),
    "text dtype": lambda rng, n: pd.Series(rng.choice(TEXTS, n), dtype="string"),
    "half characters": lambda rng, n: objects(["a\ud800", "\udfff"][i] for i in rng.integers(0, 2, n)),
    "category": lambda rng, n: pd.Series(pd.Categorical(rng.choice(["a", "b", "c"], n), [*"dcba", "e"])),
    "small ints": lambda rng, n: pd.Series(rng.integers(-3, 3, n).astype(rng.choice(["int8", "int32", "int64"]))),
    "ids": lambda rng, n: pd.Series(rng.integers(-2**63, 2**63 - 1, n)),
    "ids without a sign": lambda rng, n: pd.Series(rng.integers(0, 2**64 - 1, n, np.uint64, endpoint=True)),
    "nullable": lambda rng, n: pd.Series(pd.array(rng.integers(0, 5, n), rng.choice(["Int64", "UInt8", "Float32"]))),
    "booleans": lambda rng, n: pd.Series(rng.random(n) < 0.5),
    "nullable booleans": lambda rng, n: pd.Series(pd.array(rng.random(n) < 0.5, "boolean")),
    "numbers": lambda rng, n: pd.Series(rng.normal(size=n).astype(rng.choice(["float16", "float32", "float64"]))),
    "whole floats": lambda rng, n: pd.Series(rng.integers(-9, 9, n) + 0.0),
    "one number": lambda rng, n: pd.Series(np.full(n, rng.choice([0.1, -0.0, 1e-300, 1e4]))),
    "numbers of all sizes": lambda rng, n: pd.Series(10.0 ** rng.uniform(-20, 4, n) * rng.choice([-1, 1], n)),
    "sparse": lambda rng, n: pd.Series(pd.arrays.SparseArray(rng.integers(0, 3, n) * 0.5)),
    "lists": lambda rng, n: objects(list(rng.choice(["a", "b", "c"], rng.integers(0, 4))) for _ in range(n)),
    "lists of ints": lambda rng, n: objects(tuple(rng.integers(0, 4, rng.integers(0, 4)).tolist()) for _ in range(n)),
    "sets": lambda rng, n: objects(set(rng.choice(["a", "b", "c"], rng.integers(0, 4)).tolist()) for _ in range(n)),
    "arrays": lambda rng, n: objects(rng.integers(0, 4, rng.integers(0, 4)) for _ in range(n)),
}
BAD = {             # columns that no field holds, mostly
    "tiny numbers": lambda rng, n: pd.Series(rng.random(n) * 1e-310),
    "decimals": lambda rng, n: objects(decimal.Decimal(int(i)) / 8 for i in rng.integers(0, 50, n)),
    "infinite": lambda rng, n: pd.Series(rng.choice([0.5, np.inf, -np.inf], n)),
    "sentinels": lambda rng, n: pd.Series(rng.choice([0.5, 1.5, 1e20, 1e30, -1e38, 1e300], n)),
    "beyond 64 bits": lambda rng, n: objects(int(i) * 10**30 for i in rng.integers(-2, 9, n)),
    "of all kinds": lambda rng, n: objects([1, "a", 2.5, True, b"x", ["a"], 1j][i] for i in rng.integers(0, 7, n)),
    "ints and texts": lambda rng, n: objects([1, "a"][i] for i in rng.integers(0, 2, n)),
    "missing": lambda rng, n: objects([[None, np.nan, pd.NA, pd.NaT][rng.integers(4)]] * n),
    "NaN": lambda rng, n: pd.Series(np.full(n, np.nan)),
    "dates": lambda rng, n: pd.Series(pd.date_range("2020", periods=n, tz=rng.choice(["UTC", None]))),
    "days": lambda rng, n: objects(datetime.date(2020, 1, 1 + i) for i in rng.integers(0, 20, n)),
    "periods": lambda rng, n: pd.Series(pd.period_range("2020", periods=n)),
    "spans": lambda rng, n: pd.Series(pd.to_timedelta(rng.integers(0, 9, n), "s")),
    "intervals": lambda rng, n: pd.Series(pd.cut(np.arange(n), min(3, n))),
    "bytes": lambda rng, n: objects([b"a", b"\xff"][i] for i in rng.integers(0, 2, n)),
    "complex": lambda rng, n: pd.Series(rng.normal(size=n) + 1j),
    "lists of lists": lambda rng, n: objects([["a"], [["b"]]][i] for i in rng.integers(0, 2, n)),
    "lists of all kinds": lambda rng, n: objects([["a", 1], [2.5, None]][i] for i in rng.integers(0, 2, n)),
    "arrays without dimensions": lambda rng, n: objects(np.array(i) for i in range(n)),
    "tables in cells": lambda rng, n: objects([pd.DataFrame({"a": [1]})] * n),
    "dicts": lambda rng, n: objects([{"a": 1}] * n),
    "functions": lambda rng, n: objects([len, print][i] for i in rng.integers(0, 2, n)),
}
KINDS = GOOD | BAD


def draw(rng, kinds):
    """One of the keys of a dict."""
    return list(kinds)[rng.integers(len(kinds))]


def odd_column(rng, n, bad=0.1):
    """(kind, column of n rows)."""
    kind = draw(rng, BAD if rng.random() < bad else GOOD)
    column = KINDS[kind](rng, n)
    if kind in GOOD and rng.random() < 0.2:
        return f"{kind}, some missing", some_missing(rng, column)
    return kind, column


def odd_table(rng, n, bad=0.05):
    """(kinds of its columns by name, DataFrame of n rows) with odd names and a strange index."""
    names = rng.permutation(["a", "b", "", "1", "a b", "é", "y", "\x00", "count", "T"])[:rng.integers(1, 6)].tolist()
    kinds, columns = {}, {}
    for name in names:
        kinds[name], columns[name] = odd_column(rng, n, bad)
    X = pd.DataFrame(columns)
    index = [np.arange(n), np.arange(n)[::-1], np.zeros(n), [f"r{i}" for i in range(n)]][rng.integers(4)]
    return kinds, X.set_axis(index)


# ---- targets and weights -----------------------------------------------------------------------------------

TARGETS = {
    "clicks": lambda rng, n: rng.integers(0, 2, n),
    "small": lambda rng, n: rng.integers(0, 2, n).astype(rng.choice(["uint8", "int8", "float16"])),
    "bools": lambda rng, n: rng.random(n) < 0.5,
    "list": lambda rng, n: rng.integers(0, 2, n).tolist(),
    "nullable": lambda rng, n: pd.array(rng.integers(0, 2, n), "Int64"),
    "series": lambda rng, n: pd.Series(rng.integers(0, 2, n), index=rng.permutation(n)),
    "numbers": lambda rng, n: rng.normal(size=n),
    "one class": lambda rng, n: np.full(n, rng.integers(0, 2)),
    "one number": lambda rng, n: np.full(n, 3.5),
}
BAD_TARGETS = {
    "missing": lambda rng, n: rng.choice([0, 1, np.nan], n),
    "NA": lambda rng, n: pd.array([1, *[None] * (n - 1)], "Int64"),
    "infinite": lambda rng, n: rng.choice([0, 1, np.inf], n),
    "huge": lambda rng, n: rng.choice([0, 1e20, 1e30, 1e300], n),
    "huge ints": lambda rng, n: objects([10 ** 400] * n),
    "dates": lambda rng, n: pd.date_range("2020", periods=n),
    "complex": lambda rng, n: rng.normal(size=n) + 1j,
    "nonsense": lambda rng, n: objects([object()] * n),
    "too short": lambda rng, n: rng.integers(0, 2, n - 1),
    "a table": lambda rng, n: rng.integers(0, 2, (n, 1)),
    "a set": lambda rng, n: {0, 1},
    "a number": lambda rng, n: 1,
    "none": lambda rng, n: [],
}
WEIGHTS = {
    "none": lambda rng, n: None,
    "random": lambda rng, n: rng.random(n),
    "ints": lambda rng, n: rng.integers(0, 3, n),
    "far apart": lambda rng, n: 10.0 ** rng.uniform(-300, 300, n),
    "largest": lambda rng, n: np.full(n, 1e308),
    "smallest": lambda rng, n: np.full(n, 5e-324),
}
BAD_WEIGHTS = {
    "zeros": lambda rng, n: np.zeros(n),
    "negative": lambda rng, n: rng.normal(size=n),
    "missing": lambda rng, n: np.full(n, np.nan),
    "too few": lambda rng, n: np.ones(n - 1),
}


# ---- what is promised -----------------------------------------------------------------------------------------

def why_unclear(error, names):
    """What is wrong with an error: None if it is one of minictr's own that says what it is about."""
    if type(error) not in (ValueError, TypeError, TrainingDiverged):
        return f"{type(error).__name__} {error}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    if PACKAGE not in Path(place.filename).parents:
        return f"a bare {type(error).__name__} of {place.filename}:{place.lineno}: {error}"
    text = str(error)
    about = ["y ", "sample weight", "sample_weight", "X ", "rows", "the loss", *(repr(name) for name in names)]
    if not any(word in text for word in about):
        return f"{type(error).__name__} that names nothing: {text}"
    return f"{len(text)} characters of message" if len(text) > 2_000 else None


def snapshot(X):
    """All of a table as text, to see whether it was changed."""
    return [(repr(name), str(X[name].dtype), list(map(repr, X[name])), list(map(repr, X.index))) for name in X]
