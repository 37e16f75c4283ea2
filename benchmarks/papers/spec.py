"""What a table is: its systems, their spaces of settings, the budget; and which settings are drawn from a space."""

import dataclasses
import itertools
import zlib
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """One line of a table.

    Parameters
    ----------
    name : the line's name, as in the paper.
    family : what is trained, for ``train``: a class of minictr, or the name of a peer's.
    fixed : settings that every training has.   space : {setting: the values to draw from}; a value that is a dict
        stands for several settings at once.
    train : function of (system, settings, train rows, validation rows), see ``training.minictr``; it returns an
        ``Outcome``. None of the arguments holds a test row.
    paper : {measure: the figure that the paper prints}.   parameters : the number of parameters it prints, in millions.
    source : whose code it is.   note : what differs from the paper's system.
    """

    name: str
    family: object
    train: Callable
    fixed: dict = dataclasses.field(default_factory=dict)
    space: dict = dataclasses.field(default_factory=dict)
    paper: dict = dataclasses.field(default_factory=dict)
    parameters: float | None = None
    source: str = "minictr"
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How long one training may take.

    Parameters
    ----------
    epochs : at most so many.   patience : stop when so many brought nothing better on the validation rows.
    rows, validation_rows : use so many of the training and of the validation rows, drawn once; None: all.
    """

    epochs: int
    patience: int
    rows: int | None = None
    validation_rows: int | None = None

    def __str__(self):
        shares = [f"{number:,} {what} rows" for number, what in ((self.rows, "training"),
                                                                 (self.validation_rows, "validation")) if number]
        return f"{' and '.join(shares) or 'all rows'}, at most {self.epochs} epochs, patience {self.patience}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A paper's table, and how it is run.

    Parameters
    ----------
    name, title : for the command and for the page.   measures : what is reported; settings are chosen by the first.
    higher_is_better : of the first measure.
    systems : list of System.   fixed : settings of all of minictr's.
    learning_rows : function that gives (train, validation), each (X, y).   test_rows : function that gives (X, y).
    train_rows : how many rows there are to train on.
    measure : function of (y, outputs for the rows) that gives {measure: figure}.
    draws : how many settings are tried for each system.   seeds : of the trainings that are judged on test rows.
    draw, final : the ``Budget`` of a draw, and of those.
    stops_by : by what a training ends, where it is not the validation loss; the systems' ``train`` sees to it.
    notes : for the page, a paragraph each.
    claims : pairs of systems' names; the paper says that the first is ahead of the second with fewer parameters.
    """

    name: str
    title: str
    measures: tuple
    higher_is_better: bool
    systems: list
    learning_rows: Callable
    train_rows: int
    test_rows: Callable
    measure: Callable
    draw: Budget
    final: Budget
    stops_by: str | None = None
    fixed: dict = dataclasses.field(default_factory=dict)
    draws: int = 6
    seeds: tuple = (0, 1, 2)
    notes: tuple = ()
    claims: tuple = ()

    def best(self, lines):
        """The line with the best validation figure; of equals the first. A training that diverged is no candidate."""
        sign = 1 if self.higher_is_better else -1
        good = [line for line in lines if line["validation"] is not None]
        return max(good, key=lambda line: sign * line["validation"][self.measures[0]], default=None)


def drawn_settings(system, draws):
    """The settings that are tried for a system: ``draws`` different ones of its space, always the same.

    They depend on the system's name and space, so that a system more or less in the table changes no other's.

    Raises: ValueError where the space has fewer.

    >>> system = System(name="FM", family=None, train=None, space={"dropout": (0.0, 0.3), "reg": (0, 1e-5)})
    >>> len(drawn_settings(system, 3)), len(drawn_settings(system, 4))
    (3, 4)
    """
    space = [dict(zip(system.space, values, strict=True)) for values in itertools.product(*system.space.values())]
    if len(space) < draws:
        raise ValueError(f"the space of {system.name} has {len(space)} settings, {draws} are to be drawn: the budget "
                         "would not be equal; give it more values")
    rng = np.random.default_rng(zlib.crc32(system.name.encode()))
    return [flat(space[place]) for place in rng.permutation(len(space))[:draws]]


def flat(settings):
    """The settings with those that stand in a dict beside all others.

    >>> flat({"step": {"optimizer": "adam", "learning_rate": 0.001}, "reg": 0.0})
    {'optimizer': 'adam', 'learning_rate': 0.001, 'reg': 0.0}
    """
    result = {}
    for name, value in settings.items():
        result |= value if isinstance(value, dict) else {name: value}
    return result
