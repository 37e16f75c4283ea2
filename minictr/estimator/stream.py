"""Data larger than memory: a table in pieces, read and encoded on one thread while the model trains on others.

``fit`` goes through the pieces once to learn the fields (vocabularies, means, the base rate), then once an epoch:

    read -> check -> encode -> gather windows      on a thread of its own, one window ahead
    shuffle each window -> cut batches -> train    in ``minictr.training``, as for a table in memory

Batches are cut from the row of windows, not of pieces, so the pieces' sizes do not matter: a model trained on a
stream is the one trained on the table, bit for bit, if both take the rows in the same order.
"""

import contextlib
import hashlib
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from ..checks import as_table, check_rows, check_weights, is_share, is_sparse, numbers
from ..fields.numerical import Moments
from ..fields.reading import in_piece
from ..fields.windows import cut_windows
from ..training.data import TrainingData, count_rows
from .sources import Source, encoded_pair
from .task import Task

WINDOW = 250_000            # rows that are shuffled together, where the model does not say,
WINDOW_SLOTS = 2 ** 27      # or fewer, so that a window takes 1 GB at most


# ---- pieces ----------------------------------------------------------------------------------------------

def is_stream(X):
    """Whether X is a table in pieces: an iterable of tables, or a function that returns one.

    >>> table = pd.DataFrame({"user": ["ann", "bob"]})
    >>> is_stream(table), is_stream([table, table]), is_stream(lambda: iter([table]))
    (False, True, True)
    """
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(piece, (pd.DataFrame, dict, tuple)) for piece in X)
    whole = isinstance(X, (pd.DataFrame, dict, str, bytes)) or hasattr(X, "__array__") or is_sparse(X)
    return not whole and (callable(X) or isinstance(X, Iterable))


class Stream:
    """A table in pieces; see ``Model.fit`` for X, y and sample_weight."""

    def __init__(self, X, y, sample_weight):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"X comes in pieces, so {name} must be the name of a column in each of them, got "
                                f"{type(value).__name__}; or let each piece be a tuple (X, y) or (X, y, sample_weight)")
        self.X, self.y, self.sample_weight = X, y, sample_weight

    def pieces(self):
        """Go through the table once: yields (number of the first row, X, y, weights or None) of each piece."""
        pieces = self.X() if callable(self.X) else self.X
        if isinstance(pieces, (pd.DataFrame, dict)) or not isinstance(pieces, Iterable):
            raise TypeError(f"X() must return an iterable of DataFrames, got {type(pieces).__name__}")
        pieces = iter(pieces)
        first_row, weighted = 0, None
        try:
            for piece in pieces:
                with in_piece(first_row):
                    X, y, c = self.parts(piece)
                    if not len(X):
                        continue
                    X, y, _ = check_rows(X, y)
                    if c is not None:                       # in one piece all may be 0
                        c = numbers(c, "sample_weight")
                        if len(c) != len(y) or (c < 0).any():
                            raise ValueError("each row needs one sample weight of at least 0")
                    if weighted not in (None, c is not None):
                        raise ValueError("either all pieces have sample weights, or none")
                    weighted = c is not None
                yield first_row, X, y, c
                first_row += len(y)
        finally:
            getattr(pieces, "close", lambda: None)()        # a file that is not read to its end

    def parts(self, piece):
        """Table, targets and weights (or None) of one piece."""
        if isinstance(piece, tuple):
            if self.y is not None or self.sample_weight is not None:
                raise TypeError("this piece is a tuple, which has targets and weights in it: do not pass y or "
                                "sample_weight as well")
            if len(piece) not in (2, 3):
                raise TypeError(f"a piece is a DataFrame, (X, y) or (X, y, sample_weight), got a tuple of {len(piece)}")
            return as_table(piece[0]), piece[1], piece[2] if len(piece) == 3 else None
        table = as_table(piece)
        if self.y is None:
            raise TypeError("fit needs y, the name of the target's column in the pieces, or pieces (X, y)")
        names = [name for name in (self.y, self.sample_weight) if name is not None]
        for name in names:
            if name not in table:
                raise ValueError(f"there is no column {name!r}; got {list(table)}")
        return table.drop(columns=names), *(table[name] for name in names), *[None] * (2 - len(names))


def one_ahead(pieces):
    """Yield what a generator yields, but let another thread work out the next item meanwhile.

    Its exceptions come out here. When this generator is closed, the other one is too, and the thread has ended.

    >>> list(one_ahead(letter for letter in "abc"))
    ['a', 'b', 'c']
    """
    end = object()
    with contextlib.closing(pieces), ThreadPoolExecutor(1, "minictr-reader") as reader:
        coming = reader.submit(next, pieces, end)
        while (piece := coming.result()) is not end:
            coming = reader.submit(next, pieces, end)
            yield piece


# ---- fitting -------------------------------------------------------------------------------------------------

class StreamSource(Source):
    """A table in pieces; see ``Model.fit`` for X, y, sample_weight and validation."""

    def __init__(self, X, y, sample_weight, validation):
        if isinstance(X, Iterator):
            raise TypeError(
                f"X is a {type(X).__name__}, which can be gone through only once, but fit needs one pass for the "
                "fields and one for each epoch. Pass a function that makes a fresh one, such as "
                "lambda: pandas.read_csv(path, chunksize=100_000); or go through it once with partial_fit")
        if is_share(validation):
            raise ValueError("a share of a stream cannot be held out, as its rows are not known beforehand: pass "
                             "validation=(X, y), a table that fits into memory")
        self.stream = Stream(X, y, sample_weight)
        self.validation = validation

    def learn(self, model, seed):
        """The first pass: fit the encoder, look at the targets, and at how many slots each field takes."""
        self.targets = Targets()
        with contextlib.closing(self._tables(model)) as pieces:
            model.fit_encoder(pieces, fields=model.fields)
            self.widths = model.encoder_.widths
            for X in pieces:                                # only left where the model brought its encoder along
                starts = (slots := model.encoder_.encode(X)).starts
                widths = np.diff(starts, append=slots.n_slots)
                self.widths = np.maximum(widths, 1 if self.widths is None else self.widths)
        self.targets.finish()
        self.distinct, self.mean, self.std = self.targets.distinct, self.targets.mean, self.targets.std

    def _tables(self, model):
        show = model.verbose and sys.stdout.isatty()
        with contextlib.closing(one_ahead(self.stream.pieces())) as pieces:
            for first_row, X, y, c in pieces:
                if model.task == "binary":
                    with in_piece(first_row):
                        Task("binary").check_targets(y)
                self.targets.add(y, c)
                yield X
                if show:
                    print(f"\rlearning the fields: {self.targets.n_rows:,} rows ", end="", flush=True)
        if not self.targets.n_rows:
            raise ValueError("X gave no rows: there is nothing to learn from")
        if show:
            print()

    def training_data(self, model):
        """The stream itself as windows, which are encoded while the model trains on those before."""
        validation = encoded_pair(model, self.validation)
        # two targets with the mean and the spread of all have the same loss as all where one number is predicted
        typical = np.array([self.mean - self.std, self.mean + self.std]) - model.task_.centre
        self.epochs = Epochs(model, self.stream, self.targets, self.widths)
        return TrainingData(self.epochs, self.targets.n_rows, (typical, None), validation)

    def identity(self, data):
        """The targets and weights in their order, and how wide rows are: what the first pass saw, beside the fields."""
        return [*self.targets.digests(), self.widths]

    def resumed(self):
        """Do not count the rows again."""
        self.epochs.counted = True


class Targets:
    """What ``fit`` has to know of all targets and weights before it starts."""

    def __init__(self):
        self.n_rows, self.distinct = 0, np.empty(0)         # distinct: at most three, enough to tell the task
        self.moments, self.weight_moments = Moments(), None
        self.hashes = hashlib.blake2b(), hashlib.blake2b()   # of targets and of weights, however they are cut

    def add(self, y, c):
        """Take in the targets and weights of a piece."""
        self.n_rows += len(y)
        self.distinct = np.unique(np.append(self.distinct, np.unique(y)))[:3]
        self.moments.add(y, c)
        for total, array in zip(self.hashes, (y, c), strict=True):
            total.update(b"" if array is None else array.tobytes())
        if c is not None:
            self.weight_moments = self.weight_moments or Moments()
            self.weight_moments.add(c)

    def digests(self):
        """The digests of all targets and of all weights, as arrays."""
        return [np.frombuffer(total.digest(), np.uint8) for total in self.hashes]

    def finish(self):
        """Work out ``mean``, ``std`` and ``mean_weight`` (None without weights)."""
        self.mean_weight = None
        if self.weight_moments is not None:
            self.mean_weight = self.weight_moments.result()[0]
            if not self.weight_moments.high:
                raise ValueError("all sample weights are 0")
            if not np.finfo(float).tiny <= self.mean_weight < np.inf:
                raise ValueError(f"the sample weights, of at most {self.weight_moments.high:g}, do not add up within "
                                 "the range of float64; multiply all of them by one number, as only their ratios count")
        self.mean, self.std = self.moments.result()
        return self


class Epochs:
    """Each time it is gone through, one pass over the stream: encoded windows, made one ahead."""

    def __init__(self, model, stream, targets, widths):
        self.model, self.stream, self.targets, self.widths = model, stream, targets, widths
        self.counted = False

    def __iter__(self):
        window = self.model.shuffle_window or max(1, min(WINDOW, WINDOW_SLOTS // int(self.widths.sum())))
        parts = self.parts() if window == 1 else cut_windows(self.parts(), window)     # 1: nothing to shuffle
        with contextlib.closing(one_ahead(parts)) as windows:
            for slots, y, c in windows:
                if not self.counted:
                    counts = self.model.row_counts_
                    counts += count_rows(slots, len(counts))
                yield slots, y, c
        self.counted = True

    def parts(self):
        """The encoded pieces."""
        n_rows, targets = 0, self.targets
        for first_row, X, y, c in self.stream.pieces():
            with in_piece(first_row):
                self.model.task_.check_targets(y)
                slots = self.model.encoder_.encode(X, widths=self.widths)
                if slots.n_slots > self.widths.sum():
                    raise ValueError("a row has more values in a multi-valued field than any row had in the first "
                                     "pass; X must give the same rows each time")
                y, c = self.model.as_dtype(y, None if c is None else c / targets.mean_weight)
            n_rows += len(y)
            yield slots, y, c
        if n_rows != targets.n_rows:
            raise ValueError(f"X gave {targets.n_rows:,} rows in the first pass, but {n_rows:,} in a later one; if it "
                             "is a function, it must make a fresh iterable each time")


def partial_fit(model, X, y, sample_weight):
    """``model.partial_fit`` on each piece in turn, with the next one read and encoded meanwhile."""
    stream = Stream(X, y, sample_weight)

    def parts():
        for first_row, X, y, c in stream.pieces():
            with in_piece(first_row):
                if not model.__sklearn_is_fitted__():
                    model.prepare(X, y, c)
                model.task_.check_targets(y)
                part = model.encoder_.encode(X), *model.as_dtype(y, check_weights(c, len(y)))
            yield part

    with contextlib.closing(one_ahead(parts())) as pieces:
        part = None
        for part in pieces:
            model.train_once(part)
    if part is None:
        raise ValueError("X gave no rows: there is nothing to learn from")
    return model
