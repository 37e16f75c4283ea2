"""Runs what is missing of a table, in order, and keeps a line for each finished training.

First the draws of a system: settings tried on training and validation rows. When all of them are there, the best by
the validation figure is trained with each seed and judged on the test rows. What trains is given no test row:
``Learning`` holds none, and the test rows are read when the first system's settings have been chosen.
"""

import dataclasses
import datetime
import platform
import sys
import time
from importlib.metadata import version

import minictr

from . import data, results, spec
from .training import Diverged

PACKAGES = {"minictr": ("numpy", "pandas"), "DeepCTR-Torch": ("numpy", "pandas", "torch", "deepctr-torch"),
            "RecBole": ("numpy", "pandas", "torch", "recbole")}
DRAW, TEST = "draw", "test"


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: a draw (``number`` is the draw's) or a training for the test rows (it is the seed)."""

    table: spec.Table
    system: spec.System
    kind: str
    number: int
    chosen: dict

    @property
    def budget(self):
        """How long it may take."""
        return self.table.draw if self.kind == DRAW else self.table.final

    @property
    def head(self):
        """The start of its line: what tells it from all others."""
        settings = {**self.table.fixed, **self.system.fixed, **self.chosen}
        if self.table.stops_by:
            settings["stops_by"] = self.table.stops_by
        return {"table": self.table.name, "kind": self.kind, "model": self.system.name, "number": self.number,
                "settings": {name: plain(value) for name, value in settings.items()},
                "budget": dataclasses.asdict(self.budget)}

    @property
    def key(self):
        """Of its line in the file of results."""
        return results.key(self.head)

    @property
    def settings(self):
        """For the system's ``train``."""
        return {**self.table.fixed, **self.system.fixed, **self.chosen, "epochs": self.budget.epochs,
                "patience": self.budget.patience, "seed": self.number if self.kind == TEST else 0, "n_threads": 1}


def plain(value):
    """A setting as JSON gives it back."""
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


class Learning:
    """The rows that a table's systems learn from, read when the first is trained. There are no test rows here."""

    def __init__(self, table):
        self.table, self.rows = table, None

    def within(self, budget):
        """(train, validation), each (X, y), of as many rows as the budget allows."""
        if self.rows is None:
            self.rows = self.table.learning_rows()
        train, validation = self.rows
        return data.some(train, budget.rows), data.some(validation, budget.validation_rows)


def draws(table, system):
    """The draws of a system, as jobs."""
    return [Job(table, system, DRAW, number, chosen)
            for number, chosen in enumerate(spec.drawn_settings(system, table.draws))]


def choice(table, system, lines):
    """The draw that won, as a job, when all draws are finished; else None (also where all diverged)."""
    jobs = draws(table, system)
    if any(job.key not in lines for job in jobs):
        return None
    best = table.best([lines[job.key] for job in jobs])
    return None if best is None else jobs[best["number"]]


def tests(table, system, lines, seeds=None):
    """The trainings that are judged on test rows, as jobs; none before the settings are chosen."""
    winner = choice(table, system, lines)
    if winner is None:
        return []
    return [Job(table, system, TEST, seed, winner.chosen) for seed in (table.seeds if seeds is None else seeds)]


def missing(table, systems, lines, seeds=None):
    """The next job that has no line yet, or None: a system's draws, its tests, the next system's."""
    for system in systems:
        for job in draws(table, system) + tests(table, system, lines, seeds):
            if job.key not in lines:
                return job
    return None


def carry_out(job, learning, read_test_rows):
    """Train once; returns the line of the file. ``read_test_rows()`` is called after the training, if at all."""
    train, validation = learning.within(job.budget)
    start, cpu = time.perf_counter(), time.process_time()
    line = {**job.head, "validation": None, "rows": len(train[1])}
    try:
        outcome = job.system.train(job.system, job.settings, train, validation)
    except Diverged as error:
        return {**line, "diverged": str(error), **times(start, cpu)}
    line |= {"validation": measured(job.table, outcome, validation), "epochs": outcome.epochs,
             "best epoch": outcome.best_epoch, "parameters": outcome.parameters}
    line |= times(start, cpu)
    if job.kind == TEST:
        line["test"] = measured(job.table, outcome, read_test_rows())
    return line


def times(start, cpu):
    """The seconds since ``start``, and those that this process has computed since ``cpu``."""
    return {"seconds": round(time.perf_counter() - start, 1), "cpu seconds": round(time.process_time() - cpu, 1)}


def measured(table, outcome, rows):
    """The table's measures on (X, y), as plain numbers."""
    X, y = rows
    return {name: round(float(value), 6) for name, value in table.measure(y, outcome.predict(X)).items()}


def made_with(system):
    """What a line says of how it came about: versions, date; nothing that names a machine."""
    versions = {"python": platform.python_version(), "minictr": minictr.__version__,
                **{package: version(package) for package in PACKAGES[system.source]}}
    return {"versions": versions, "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat()}


# ---- time ------------------------------------------------------------------------------------------------

def expected_seconds(job, lines, worst=False):
    """How long a training should take, by those that are finished; None where there is nothing to judge by.

    By the same system's trainings of the same kind; else by its others, in proportion to rows times epochs allowed;
    else by those of all systems. ``worst`` takes the longest of them in place of the mean.
    """
    def seconds(model, kind):
        found = [line["seconds"] for line in lines.values()
                 if line["table"] == job.table.name and line["kind"] == kind and model in (None, line["model"])]
        return None if not found else max(found) if worst else sum(found) / len(found)

    other = TEST if job.kind == DRAW else DRAW
    for model in (job.system.name, None):
        if seconds(model, job.kind) is not None:
            return seconds(model, job.kind)
        if seconds(model, other) is not None:
            return seconds(model, other) * size(job.table, job.kind) / size(job.table, other)
    return None


def size(table, kind):
    """Rows times epochs that the budget of a kind allows."""
    budget = table.draw if kind == DRAW else table.final
    return (budget.rows or table.train_rows) * budget.epochs


def seconds_left(table, systems, lines, seeds=None):
    """How long all missing trainings should take together, or None where there is nothing to judge by."""
    total = 0.0
    for system in systems:
        final = [Job(table, system, TEST, seed, {}) for seed in (table.seeds if seeds is None else seeds)]
        done = {job.key for job in tests(table, system, lines, seeds)} & set(lines)
        for job in [job for job in draws(table, system) if job.key not in lines] + final[len(done):]:
            expected = expected_seconds(job, lines)
            if expected is None:
                return None
            total += expected
    return total


def run(table, systems, path, *, seeds=None, hours=None, command="", clock=time.monotonic, say=None):
    """Run what is missing; returns whether all is there.

    Stops before ``hours`` are over: no training starts that would not fit, judged by those that are finished.
    """
    say = say or (lambda text: print(text, file=sys.stderr, flush=True))
    start, learning, test_rows = clock(), Learning(table), []

    def read_test_rows():
        if not test_rows:
            test_rows.append(table.test_rows())
        return test_rows[0]

    while True:
        lines = results.read(path)
        job = missing(table, systems, lines, seeds)
        if job is None:
            say("nothing is missing")
            return True
        expected = expected_seconds(job, lines, worst=True)
        remaining = None if hours is None else hours * 3600 - (clock() - start)
        if remaining is not None and remaining < (expected or 0):
            say(f"{job.system.name}'s next training should take {in_words(expected)}, and {in_words(remaining)} are "
                "left: stopped; the same command goes on from here")
            return False
        left = seconds_left(table, systems, lines, seeds)
        say(f"{job.system.name}, {job.kind} {job.number}: {job.chosen}; all that is missing: "
            + ("unknown yet" if left is None else in_words(left)))
        line = carry_out(job, learning, read_test_rows)
        results.append(path, {**line, "command": command, **made_with(job.system)})
        say(f"    {line.get('test') or line['validation'] or 'diverged'} in {in_words(line['seconds'])}")


def in_words(seconds):
    """A time for a message.

    >>> in_words(45), in_words(600), in_words(9_000)
    ('45 s', '10 min', '2.5 h')
    """
    seconds = max(0.0, seconds or 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
