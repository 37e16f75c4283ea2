"""What is to be predicted, clicks or numbers, and all that follows from it."""

import math

import numpy as np

from ..checks import is_real, numbers, warn
from ..losses import LogLoss, SquaredLoss
from .labels import CLICKS, classes_from_json, codes


class Task(str):
    """"binary" (a click or none: log loss) or "regression" (a number: squared error). It is that text, with methods.

    Attribute ``centre``: what training takes off the targets, in float64, and predictions add again; 0 unless the
    targets are so far from 0 that float32 would lose their spread (see ``centred``). Attribute ``classes``: of a binary
    task, the label that stands for 0 and the one for 1.

    >>> task = Task("binary")
    >>> task == "binary", task.loss.name, task.predict(np.array([-1.0, 2.0])).tolist()
    (True, 'log loss', [0, 1])
    >>> Task("binary", classes=np.array(["no", "yes"])).predict(np.array([-1.0, 2.0])).tolist()
    ['no', 'yes']
    """

    def __new__(cls, name, centre=0.0, classes=CLICKS):
        task = super().__new__(cls, name)
        task.centre, task.classes = centre, classes
        return task

    @classmethod
    def choose(cls, setting, y, *, ratings=False, classes=None):
        """The task that a model's setting asks for; "auto" is decided by the targets.

        Parameters
        ----------
        setting : "auto", "binary" or "regression".   y : targets, or all different ones of them.
        ratings : whether they are ratings, which are numbers unless the setting says binary.
        classes : the two labels that y's 0 and 1 stand for, None if these are no labels.
        """
        if classes is not None:
            return cls("binary", classes=classes)
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

    def centred(self, mean, std, dtype):
        """The same task, with a centre if the targets need one.

        They do if numbers of ``dtype`` near their mean are further apart than a thousandth of their standard deviation
        (of 1, if they are all the same): in float32 if the mean is more than some 8,000 standard deviations, as that
        of times in seconds since 1970 within one hour. Then the centre is the mean, to a thousandth of the deviation:
        rounded, so that a table and its pieces, whose sums differ in their last digits, have the same one.

        >>> task = Task("regression")
        >>> task.centred(3.6, 1.1, "float32").centre, task.centred(1.7e9, 20, "float32").centre
        (0.0, 1700000000.0)
        """
        spread = std if std > 1e-14 * abs(mean) else 1.0
        if self != "regression" or not abs(mean) * np.finfo(dtype).eps > spread / 1000:
            return self
        unit = max(2.0 ** (math.frexp(spread)[1] - 10), float(np.spacing(abs(mean))))
        return Task(self, centre=float(round(mean / unit) * unit))

    def plus_centre(self, s):
        """A model's output as the user's numbers: in float64 where there is a centre, else as it is."""
        return s.astype(np.float64) + self.centre if self.centre else s

    def first_bias(self, mean):
        """The bias with which a model predicts the mean of the training targets for every row (see ``centred``)."""
        if self == "regression":
            return 0.0 if self.centre else mean
        if mean in (0, 1):
            no, yes = self.classes.tolist()
            raise ValueError(f"the rows to train on hold only the class {yes if mean else no!r} (as far as they have a "
                             f"sample weight above 0): one class alone teaches nothing; a binary task needs both "
                             f"{no!r} and {yes!r}")
        return np.log(mean / (1 - mean))

    def targets(self, y):
        """What a user gives as y, as numbers: for a binary task 0 and 1, whatever its labels are."""
        return codes(y, self.classes) if self == "binary" else numbers(y, "y")

    def labels(self, y):
        """The label of each 0 and 1, the inverse of ``targets``; numbers of a regression as they are."""
        return self.classes[y.astype(np.int64)] if self == "binary" else y

    def predict(self, s):
        """The label of each logit, 0 or 1 mostly, or the predicted numbers as they are."""
        return self.labels(s >= 0) if self == "binary" else s

    def to_json(self):
        """What a file says of the task: its name, and with it the centre, or the labels other than 0 and 1."""
        if self.centre:
            return {"name": str(self), "centre": self.centre}
        clicks = self.classes.dtype.kind == "i" and (self.classes == CLICKS).all()
        return str(self) if clicks else {"name": str(self), "classes": self.classes.tolist()}

    @classmethod
    def from_json(cls, saved):
        """The inverse of ``to_json``; ValueError for anything else."""
        if isinstance(saved, dict) and saved.keys() == {"name", "centre"} and saved["name"] == "regression" and (
                is_real(saved["centre"], least=-np.inf)):
            return cls("regression", float(saved["centre"]))
        if isinstance(saved, dict) and saved.keys() == {"name", "classes"} and saved["name"] == "binary":
            return cls("binary", classes=classes_from_json(saved["classes"]))
        if saved in ("binary", "regression"):
            return cls(saved)
        raise ValueError(f"task {saved!r} is unknown")
