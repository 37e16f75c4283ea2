"""Tables in odd pieces: the model of the whole table, or one clear error; nothing is left open or running."""

import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from attack.odd_tables import GOOD, MODELS, SIZES, draw, objects, snapshot, some_missing, why_unclear
from attack.tally import Tally, rounds
from tables import pieces_of

from minictr import Categorical, Numerical
from minictr.fields import infer_field

HARMLESS = ".*(two fields make one pair|y holds two values|taken as a quantity)"


class Boom(Exception):
    """What a user's own reader raises."""


class Reader:
    """A function that gives fresh pieces for each pass, and sees whether each pass was closed."""

    def __init__(self, pieces, fails_at=None, fails_in_pass=1):
        self.pieces, self.fails_at, self.fails_in_pass = pieces, fails_at, fails_in_pass
        self.opened = self.closed = 0

    def __call__(self):
        return self.read()

    def read(self):
        self.opened += 1
        try:
            for i, piece in enumerate(self.pieces):
                if (i, self.opened) == (self.fails_at, self.fails_in_pass):
                    raise Boom(f"piece {i}")
                yield piece
        finally:
            self.closed += 1


def table_and_fields(rng):
    """A table that can be learned, with the fields that its columns ask for, a target and weights."""
    n, columns, fields = int(rng.integers(8, 60)), {}, []
    for name in ["a", "b", "é", "count"][:rng.integers(2, 5)]:
        column = GOOD[draw(rng, GOOD)](rng, n)
        columns[name] = some_missing(rng, column) if rng.random() < 0.2 else column
        field = infer_field(name, columns[name])
        if isinstance(field, Categorical) and rng.random() < 0.3:
            field = type(field)(name, buckets=9)
        elif isinstance(field, Numerical) and rng.random() < 0.3:
            field = Numerical(name, bins=3)
        fields.append(field)
    y = rng.integers(0, 2, n) if rng.random() < 0.7 else rng.normal(size=n)
    y[:2] = 0, 1
    return pd.DataFrame(columns), fields, y, rng.random(n) + 0.1


# ---- odd pieces: each takes (rng, pieces with the columns y and c) and gives others ---------------------------
# Those of EQUAL make the same model as the whole table; those of REFUSED an error.

def with_empty_pieces(rng, pieces):
    found = []
    for piece in pieces:
        found += [piece[:0]] * rng.integers(0, 3) + [piece]
    return [*found, pieces[-1][:0]]


def as_dicts(rng, pieces):
    return [{name: piece[name] for name in piece} if rng.random() < 0.5 else piece for piece in pieces]


def as_objects(rng, pieces):
    return [pd.DataFrame({name: objects(piece[name]) if name not in "yc" else piece[name].to_numpy() for name in piece})
            for piece in pieces]


def as_other_dtypes(rng, pieces):
    found = []
    for piece in pieces:
        piece = piece.copy()
        for name in piece:
            try:
                piece[name] = piece[name].astype(["category", object][rng.integers(2)])
            except (TypeError, ValueError, NotImplementedError):  # lists; float16
                continue
        found.append(piece.assign(y=piece["y"].astype(float), c=piece["c"].astype(float)))
    return found


def in_another_order(rng, pieces):
    return [piece[rng.permutation(piece.columns).tolist()] for piece in pieces]


def with_more_columns(rng, pieces):
    return [piece.assign(**{f"more {i}": objects([object()] * len(piece)).set_axis(piece.index)})
            for i, piece in enumerate(pieces)]


def with_other_indexes(rng, pieces):
    return [piece.set_axis(rng.permutation(len(piece)) * 7) for piece in pieces]


EQUAL = [with_empty_pieces, as_dicts, as_objects, as_other_dtypes, in_another_order, with_more_columns,
         with_other_indexes, lambda rng, pieces: pieces]


def changed(rng, pieces, change):
    """The pieces, one of which was changed."""
    i = int(rng.integers(len(pieces)))
    return [change(piece.copy()) if i == j else piece for j, piece in enumerate(pieces)]


REFUSED = {
    "a column is missing": lambda rng, pieces: changed(rng, pieces, lambda piece: piece.drop(columns="a")),
    "a column holds dicts": lambda rng, pieces: changed(
        rng, pieces, lambda piece: piece.assign(a=objects([{"a": 1}] * len(piece)).set_axis(piece.index))),
    "no target": lambda rng, pieces: changed(rng, pieces, lambda piece: piece.drop(columns="y")),
    "no weights": lambda rng, pieces: changed(rng, pieces, lambda piece: piece.drop(columns="c")),
    "a target is missing": lambda rng, pieces: changed(rng, pieces, lambda piece: piece.assign(y=np.nan)),
    "dates as targets": lambda rng, pieces: changed(rng, pieces, lambda piece: piece.assign(y=pd.Timestamp("2020"))),
    "negative weights": lambda rng, pieces: changed(rng, pieces, lambda piece: piece.assign(c=-1.0)),
    "no weight at all": lambda rng, pieces: [piece.assign(c=0.0) for piece in pieces],
    "names of two levels": lambda rng, pieces: changed(
        rng, pieces, lambda piece: piece.set_axis(pd.MultiIndex.from_product([["a"], piece.columns]), axis=1)),
    "a column twice": lambda rng, pieces: changed(rng, pieces, lambda piece: pd.concat([piece, piece[["a"]]], axis=1)),
    "nothing": lambda rng, pieces: [piece[:0] for piece in pieces],
    "no pieces": lambda rng, pieces: [],
    "arrays": lambda rng, pieces: changed(rng, pieces, lambda piece: piece.to_numpy(dtype=object)),
    "None": lambda rng, pieces: changed(rng, pieces, lambda piece: None),
    "names": lambda rng, pieces: changed(rng, pieces, lambda piece: "a"),
    "tuples of one": lambda rng, pieces: changed(rng, pieces, lambda piece: (piece,)),
    "single values": lambda rng, pieces: changed(rng, pieces, lambda piece: dict.fromkeys(piece, 1)),
    "generators as columns": lambda rng, pieces: changed(
        rng, pieces, lambda piece: {name: (value for value in piece[name]) for name in piece}),
}


def same(model, other, X):
    """Whether two models predict the same, to the bit."""
    return np.array_equal(model.decision_function(X), other.decision_function(X))


def what_happens(rng, make, X, y, c):
    """(outcome, what breaks a promise or None) of one odd way to fit a model on pieces."""
    columns = X.assign(y=y, c=c)
    pieces = pieces_of(columns, rng.integers(1, len(X) + 1, rng.integers(1, 5)))
    pieces = [piece for piece in pieces if len(piece)]
    names = [*X, "y", "c", "piece", "X()", "X is", "X gave", "fit needs"]
    way = ["equal", "tuples", "refused", "fails", "spent", "changes", "partial_fit"][rng.integers(7)]
    if way == "refused":
        why_refused = draw(rng, REFUSED)
        reader = Reader(REFUSED[why_refused](rng, pieces))
    elif way == "fails":
        reader = Reader(pieces, int(rng.integers(len(pieces))), int(rng.integers(1, 4)))
    elif way == "tuples":
        reader = Reader([(piece[X.columns], piece["y"].tolist(), piece["c"].to_numpy()) for piece in pieces])
    else:
        reader = Reader(EQUAL[rng.integers(len(EQUAL))](rng, pieces))
    target = {"y": None if way == "tuples" else "y", "sample_weight": None if way == "tuples" else "c"}

    def close_to_table():
        if not same(make().fit(reader, **target), make().fit(X, y, sample_weight=c), X):
            return "another model than that of the whole table"
        return None

    try:
        if way in ("equal", "tuples"):
            return f"right ({way})", close_to_table()
        if way == "partial_fit":
            one, other = (make().set_params(task="regression") for _ in range(2))
            one.partial_fit(reader(), **target)
            for piece in pieces:
                other.partial_fit(piece[X.columns], piece["y"], piece["c"])
            return "right (partial_fit)", None if same(one, other, X) else "partial_fit differs from that on each piece"
        if way == "spent":
            iterator = reader()
            for _ in iterator if rng.random() < 0.5 else ():
                pass
            source = [iterator, lambda: iterator][rng.integers(2)]
            make().fit(source, **target)
        elif way == "changes":
            start = int(rng.integers(1, len(X)))
            readers = iter([reader(), iter([columns[start:]])])
            make().fit(lambda: next(readers), **target)
        else:
            make().fit(reader, **target)
        return None, f"no error for {way} {why_refused if way == 'refused' else ''}"
    except Boom as error:
        return "the reader's own error", None if way == "fails" else f"{error!r}"
    except Exception as error:
        if way in ("equal", "tuples", "fails"):
            return None, f"{way}: {error!r}"
        why = why_unclear(error, names)
        return type(error).__name__, why and f"{way} {why_refused if way == 'refused' else ''}: {why}"
    finally:
        if way != "spent" and reader.opened != reader.closed:
            raise AssertionError(f"{way}: opened {reader.opened} times, closed {reader.closed} times")


@pytest.mark.long
def test_odd_pieces():
    tally = Tally("odd pieces")
    for seed in range(rounds(400)):
        rng = np.random.default_rng((2, seed))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", HARMLESS)
            X, fields, y, c = table_and_fields(rng)
        cls = MODELS[rng.integers(len(MODELS))]
        options = {"fields": fields, "epochs": 2, "batch_size": int(rng.integers(2, 40)), "n_threads": 1,
                   "shuffle_window": 1, "early_stopping": bool(rng.random() < 0.5)} | SIZES[cls]
        before = snapshot(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", HARMLESS)
            try:
                outcome, why = what_happens(rng, lambda cls=cls, options=options: cls(**options), X, y, c)
            except Exception as error:
                outcome, why = None, repr(error)
        if snapshot(X) != before:
            why = "the input was changed"
        if left := [thread.name for thread in threading.enumerate() if thread.name.startswith("minictr")]:
            why = f"threads are left: {left}"
        if why:
            tally.fail(f"seed {seed}, {cls.__name__}, {fields}", why)
        else:
            tally.add(outcome)
    tally.check()
