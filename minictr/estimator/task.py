"""What is to be predicted, clicks or numbers, and all that follows from it."""

import numpy as np

from ..checks import warn
from ..losses import LogLoss, SquaredLoss


class Task(str):
    """"binary" (a click or none: log loss) or "regression" (a number: squared error). It is that text, with methods.

    >>> task = Task("binary")
    >>> task == "binary", task.loss.name, task.predict(np.array([-1.0, 2.0])).tolist()
    (True, 'log loss', [0, 1])
    """

    @classmethod
    def choose(cls, setting, y, *, ratings=False):
        """The task that a model's setting asks for; "auto" is decided by the targets.

        Parameters
        ----------
        setting : "auto", "binary" or "regression".   y : targets, or all different ones of them.
        ratings : whether they are ratings, which are numbers unless the setting says binary.
        """
        clicks = not ratings and bool(np.isin(y, (0, 1)).all())
        task = cls(("binary" if clicks else "regression") if setting == "auto" else setting)
        if setting == "auto" and not clicks and not ratings and len(values := np.unique(y)) == 2:
            warn(f"y holds two values, {values[0]:g} and {values[1]:g}, which are taken as numbers (squared loss). If "
                 "they mean no click and click, map them to 0 and 1; else pass task=\"regression\" to say so")
        task.check_targets(y)
        return task

    @property
    def loss(self):
        """The class of the loss; ``loss()`` makes one for a batch."""
        return LogLoss if self == "binary" else SquaredLoss

    def check_targets(self, y):
        """Raise ValueError where a binary task has a target that is neither 0 nor 1."""
        if self == "binary" and not np.isin(y, (0, 1)).all():
            row = int(np.flatnonzero(~np.isin(y, (0, 1)))[0])
            raise ValueError(f"a binary task needs y of 0 and 1, but row {row} holds {y[row]:g}; "
                             "map the labels, or pass task=\"regression\"")

    def first_bias(self, mean):
        """The bias with which a model predicts the mean of the training targets for every row."""
        if self == "regression":
            return mean
        if mean in (0, 1):
            raise ValueError(f"the rows to train on hold only the class {mean:g} (as far as they have a "
                             "sample weight above 0); a binary task needs both 0 and 1")
        return np.log(mean / (1 - mean))

    def predict(self, s):
        """The label 0 or 1 of each logit, or the predicted numbers as they are."""
        return (s >= 0).astype(np.int64) if self == "binary" else s
