"""Where training data come from: a table in memory, a table in pieces, or ratings. ``fit`` asks them the same things.

``learn(model, seed)`` learns the fields and looks at the targets, which are then in ``distinct``, ``mean`` and ``std``;
``training_data(model)`` gives encoded rows, once the model has its layers; ``fit(model, seeds)`` trains it on them.
"""

import numpy as np

from ..checks import as_table, check_rows, check_validation, is_share, split_rows
from ..fields.windows import cut_windows, take
from ..training import fit
from ..training.data import TrainingData, count_rows
from .labels import learn_classes
from .task import Task


class Source:
    """What all sources have.

    Attributes
    ----------
    ratings : whether the targets are ratings, which are numbers.   rating_data : RatingData of both sides, or None.
    classes : the two labels that the targets 0 and 1 stand for; None if the targets are numbers.
    distinct : targets in which every different one occurs, or the first few that do.   mean, std : the weighted mean
        and standard deviation of those to train on. All are there after ``learn``.
    """

    ratings = False
    rating_data = None
    classes = None

    def fit(self, model, seeds):
        """Train a model that ``start`` has made ready, where the rows are; returns its history."""
        return fit(model, self.training_data(model), seeds)

    def identity(self, data):
        """Arrays by which a checkpoint knows the rows to train on again, and their order; after ``training_data``."""
        for slots, y, c in data.windows:
            yield from (slots.ids, slots.x, slots.starts, y, c)

    def resumed(self):
        """Told where a checkpoint's counts of the rows are in place of those of a first pass."""


class InMemory(Source):
    """Rows that fit into memory: all are encoded at once. A subclass sets y, c (weights or None) and validation."""

    def hold_out(self, seed):
        """Choose the rows to train on and those to validate on, where ``validation`` is a share of them."""
        self.train, self.held_out = np.arange(len(self.y)), None
        if is_share(self.validation):
            self.train, self.held_out = split_rows(len(self.y), self.validation, seed)

    @property
    def distinct(self):
        """The targets."""
        return self.y

    @property
    def mean(self):
        """The weighted mean of the targets to train on."""
        return np.average(self.y[self.train], weights=None if self.c is None else self.c[self.train])

    @property
    def std(self):
        """The weighted standard deviation of the targets to train on."""
        with np.errstate(over="ignore", invalid="ignore"):        # inf, and inf times a weight of 0
            squares = (self.y[self.train] - self.mean) ** 2
            return np.sqrt(np.average(squares, weights=None if self.c is None else self.c[self.train]))

    def training_data(self, model):
        """Encode all rows, count what the tables will be looked up for, and cut windows."""
        slots, validation = self.encoded(model)
        rows = slots, self.y, self.c
        if self.held_out is not None:
            if self.c is not None and not self.c[self.held_out].any():
                raise ValueError("all validation rows have weight 0: there is nothing to measure; take a larger share")
            slots, y, c = take(rows, self.held_out)
            validation = slots, *model.as_dtype(y, c)
            rows = take(rows, self.train)
        slots, y, c = rows[0], *model.as_dtype(*rows[1:])
        model.row_counts_ += count_rows(slots, len(model.row_counts_))
        return TrainingData(windows(model, (slots, y, c)), len(y), (y, c), validation)


class TableSource(InMemory):
    """A table in memory, its targets, weights or None, and validation: None, a share, or a pair (X, y).

    ``task`` is the model's setting, and ``classes`` the labels, if y need not hold both of them.
    """

    def __init__(self, X, y, sample_weight=None, validation=None, *, task, classes=None):
        X = as_table(X)
        if y is None:
            raise ValueError("fit needs X and y: it requires y to be passed, but the target y is None")
        self.classes = learn_classes(y if classes is None else classes, task)
        targets = None if self.classes is None else Task("binary", classes=self.classes).targets
        self.X, self.y, self.c = check_rows(X, y, sample_weight, targets)
        self.validation = validation

    def learn(self, model, seed):
        """Learn the fields of the rows to train on."""
        self.hold_out(seed)
        model.fit_encoder(self.X if self.held_out is None else self.X.iloc[self.train], fields=model.fields)

    def encoded(self, model):
        """Slots of all rows, and the encoded validation rows where these are no share of them."""
        slots = model.encoder_.encode(self.X)
        return slots, None if is_share(self.validation) else encoded_pair(model, self.validation)


def encoded_pair(model, validation):
    """A pair (X, y) as (Slots, y, None); None stays None."""
    return None if validation is None else model.encode(*check_validation(validation, ("X", "y")))


def windows(model, rows):
    """Encoded rows that are in memory, as the windows that are shuffled."""
    if model.shuffle_window in (None, 1):                         # all rows are shuffled together, or none
        return [rows]
    return list(cut_windows([rows], model.shuffle_window))
