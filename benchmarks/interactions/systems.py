"""What is measured: models of minictr, each with every measure that it has, and what others offer."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from minictr import AFM, FM, HOFM, AutoInt, DeepFM, FwFM, explain

from . import archdetect, measures, peers
from .problems import CLICKS, FOUR, KNOWN, NUMBERS, TEN

COMMON = {"epochs": 80, "patience": 12, "batch_size": 256, "learning_rate": 0.005, "embedding_dim": 8}


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """One model, or somebody else's method.

    Parameters
    ----------
    name : for the table.
    family : a class of minictr, with ``fixed`` settings; or None, and ``run`` is a function of (rows, problem's name,
        seed) that returns ({measure: strengths}, validation error or None).
    seeds : of the drawings of rows, which are those of the training too.   problems : names of those it is run on.
    """

    name: str
    family: type | None = None
    fixed: dict = dataclasses.field(default_factory=dict)
    run: Callable | None = None
    seeds: tuple = (0, 1, 2)
    problems: tuple = TEN

    def searched(self, problem):
        """The name of the setting that the validation error chooses."""
        if problem != CLICKS:
            return "numbers"
        return "dropout" if hasattr(self.family, "dropout") else "reg"

    def candidates(self, problem):
        """The settings that are tried on a problem; the validation error chooses."""
        if self.family is None:
            return [{}]
        setting = self.searched(problem)
        space = {setting: {"numbers": tuple(NUMBERS), "dropout": (0.0, 0.2, 0.4), "reg": (0.0, 0.001, 0.01)}[setting]}
        return [{**COMMON, **self.fixed, **dict(zip(space, values, strict=True))}
                for values in itertools.product(*space.values())]


def function_itself(rows, problem, seed):
    """The interaction effects of the known function: what a perfect model would show."""
    function = KNOWN[problem]
    X = function.inputs(2_000, np.random.default_rng(seed))
    found = {measure: measures.effects(function, X, average)
             for measure, average in ((measures.EFFECT, "partial dependence"), (measures.SQUARE, "mean square"))}
    if problem in FOUR:
        table = explain.mixed_differences(function, archdetect.ROW, archdetect.BASELINE)
        found[measures.BETWEEN] = table["value"].to_numpy()
    return found, None


def by_nid(main_effects):
    """NID as a system's ``run``."""
    def run(rows, problem, seed):
        strengths, error = peers.nid(rows.train, rows.validation, main_effects=main_effects, seed=seed)
        return {"its own": strengths}, error
    return run


MODELS = (*TEN, CLICKS)
SYSTEMS = {system.name: system for system in (
    System(name="the function itself", run=function_itself, problems=(*TEN, *FOUR)),
    System(name="two-way ANOVA", run=lambda rows, problem, seed: ({"its own": peers.anova(rows.train)}, None),
           problems=(*TEN, *FOUR)),
    System(name="DeepFM", family=DeepFM, fixed={"deep_layers": (128, 64)}, problems=MODELS),
    System(name="FM", family=FM, problems=MODELS),
    System(name="FAST", run=lambda rows, problem, seed: ({"its own": peers.fast(rows.train, seed)}, None)),
    System(name="NID", run=by_nid(False), problems=(*TEN, *FOUR)),
    System(name="FwFM", family=FwFM, problems=MODELS),
    System(name="HOFM", family=HOFM, problems=MODELS),
    System(name="NID, MLP-M", run=by_nid(True)),
    System(name="AutoInt", family=AutoInt, fixed={"attention_dim": 8, "num_heads": 2, "num_layers": 2}, seeds=(0,),
           problems=MODELS),
    System(name="AFM", family=AFM, fixed={"attention_dim": 8}, seeds=(0,), problems=MODELS),
)}
