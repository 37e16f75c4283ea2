"""Runs what is missing, and keeps a line for each finished training in the file of results.

Settings are chosen, for each model and problem, by the validation error on the first seed's rows: the trainings that
are tried ("draw") are never asked for their pairs. The known truth is looked at once the chosen one is trained again.
"""

import dataclasses
import datetime
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version

import numpy as np

import minictr
from benchmarks.papers import results
from benchmarks.papers.runner import plain

from . import measures
from .functions import auc_of_pairs
from .problems import CLICKS, NUMBERS, PROBLEMS

DRAW, TEST = "draw", "test"
PACKAGES = ("numpy", "pandas", "torch", "interpret")


@dataclasses.dataclass(frozen=True)
class Budget:
    """How large a run is: rows in each part (None: as many as the problem has), and epochs at most."""

    n_rows: int | None = None
    epochs: int | None = None


def head(problem, system, kind, number, settings, budget):
    """The start of a line, which tells it from all others."""
    return {"table": problem, "kind": kind, "model": system.name, "number": number,
            "settings": {name: plain(value) for name, value in settings.items()}, "budget": dataclasses.asdict(budget)}


def chosen(problem, system, lines, budget):
    """The settings with the smallest validation error, of equals the first; None before all are tried."""
    candidates = system.candidates(problem)
    if len(candidates) == 1:
        return candidates[0]
    keys = [results.key(head(problem, system, DRAW, number, settings, budget))
            for number, settings in enumerate(candidates)]
    if any(key not in lines for key in keys):
        return None
    return candidates[int(np.argmin([lines[key]["validation"] for key in keys]))]


def missing(system, problem, lines, budget, seeds=None):
    """The next training of a system on a problem, (kind, number, settings); None where all are finished."""
    settings = chosen(problem, system, lines, budget)
    if settings is None:
        todo = [(DRAW, number, settings) for number, settings in enumerate(system.candidates(problem))]
    else:
        todo = [(TEST, seed, settings) for seed in system.seeds if seeds is None or seed in seeds]
    return next((job for job in todo if results.key(head(problem, system, *job, budget)) not in lines), None)


def carry_out(problem, system, kind, number, settings, budget):
    """Train once; the line of the file."""
    seed = number if kind == TEST else system.seeds[0]
    rows = PROBLEMS[problem](problem, seed, budget.n_rows)
    start = time.process_time()
    line = head(problem, system, kind, number, settings, budget)
    if system.family is None:
        found, error = system.run(rows, problem, seed)
        line |= {"validation": error and round(error, 6)}
    else:
        model, (X, y), error = fitted(problem, system, settings, rows, budget, seed)
        line |= {"validation": round(error, 6), "best epoch": int(model.history_.attrs["best_epoch"])}
        found = measures.strengths(model, X, y) if kind == TEST else {}
    if kind == TEST:
        line["AUC"] = {name: round(auc_of_pairs(strength, rows.interacting), 4) for name, strength in found.items()}
        line["overlooked"] = {name: overlooked(strength, rows.interacting) for name, strength in found.items()}
    return {**line, "cpu seconds": round(time.process_time() - start, 1), **made_with()}


def fitted(problem, system, settings, rows, budget, seed):
    """A trained model, the test rows as it takes them, and its validation error (that of numbers: 1 - R^2)."""
    settings, parts = dict(settings), (rows.train, rows.validation, rows.test)
    if problem != CLICKS:
        encode = NUMBERS[settings.pop("numbers")]
        settings["fields"] = encode(parts[0][0])[1]
        parts = [(encode(X)[0], y) for X, y in parts]
    if budget.epochs:
        settings["epochs"] = budget.epochs
    model = system.family(**settings, seed=seed, n_threads=1, task="binary" if problem == CLICKS else "regression")
    model.fit(*parts[0], validation=parts[1])
    if model.history_.attrs["interrupted"]:
        raise KeyboardInterrupt                                   # ``fit`` ends quietly with what it has
    error = float(model.history_["val_loss"].min())
    return model, parts[2], error if problem == CLICKS else error / parts[1][1].var()


def overlooked(strength, interacting):
    """The pairs that interact and are weaker than the median of those that do not, as numbers of pairs."""
    strength = np.asarray(strength)
    return np.flatnonzero(interacting & (strength < np.median(strength[~interacting]))).tolist()


def made_with():
    """What a line says of how it came about: versions, date; nothing that names a machine."""
    versions = {"python": platform.python_version(), "minictr": minictr.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"versions": versions, "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat()}


def run(systems, problems, path, *, budget=None, seeds=None, command="", say=None):
    """Run what is missing of these systems on these problems, a line of the file each; it says by which command."""
    say = say or (lambda text: print(text, file=sys.stderr, flush=True))
    budget = budget or Budget()
    for system in systems:
        for problem in (name for name in problems if name in system.problems):
            while (job := missing(system, problem, results.read(path), budget, seeds)) is not None:
                line = carry_out(problem, system, *job, budget) | {"command": command}
                results.append(path, line)
                say(f"{system.name}, {problem}, {job[0]} {job[1]}: validation {line['validation']}, "
                    f"AUC {line.get('AUC', {})}, {line['cpu seconds']} s")
