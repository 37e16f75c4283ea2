"""The numbers of a traced step for the pages of source: which arrays a line assigned, in a tiny model.

Each model is traced with its ``tiny`` settings on two rows, and what these do not reach, such as batch norm, with the
settings in ``FURTHER``. A line that no step runs, such as those of ``terms``, has no numbers.
"""

import collections
import dataclasses

import numpy as np
import pandas as pd

from minictr import Categorical, Numerical, trace
from minictr.estimator.registry import library_models
from minictr.layers import parameters
from minictr.tracing.text import package_path

X = pd.DataFrame({"user": ["ann", "bob"], "ad": ["shoes", "phone"], "hour": [9, 21]})
CLICKS, RATINGS = np.array([1, 0]), np.array([4.5, 2.0])
WITH_A_NUMBER = [Categorical("user"), Categorical("ad"), Numerical("hour")]
FURTHER = [("FM", {"fields": WITH_A_NUMBER}), ("FNN", {"fields": WITH_A_NUMBER}), ("PNN", {"product": "both"}),
           ("WideDeep", {"crosses": [("user", "ad")], "cross_buckets": 4}), ("DeepFM", {"use_bn": True}),
           ("AutoInt", {"layer_norm": True, "qkv_activation": "relu"}), ("LR", {"task": "regression"}),
           ("LR", {"optimizer": "sgd"}), ("LR", {"optimizer": "adagrad"}), ("LR", {"optimizer": "ftrl"})]


@dataclasses.dataclass
class Arrays:
    """What one line assigned in one step: ``model`` with settings beyond the tiny ones, layer, and the steps."""

    model: str
    layer: str
    steps: list


def traced_lines():
    """{(path, line): [Arrays of each model and layer of which a step runs the line]}."""
    found = collections.defaultdict(list)
    for name, more in [*((name, {}) for name in library_models()), *FURTHER]:
        steps = collections.defaultdict(list)
        for step in traced_step(name, more).steps:
            steps[package_path(step.file), step.lineno, step.layer].append(step)
        with_what = ", ".join(f"{setting}={value!r}" for setting, value in more.items() if setting != "fields")
        shown = name + (f"({with_what})" if with_what else "")
        for (path, line, layer), of_line in steps.items():
            found[path, line].append(Arrays(shown, layer, of_line))
    return found


def traced_step(name, more):
    """One step of a model with its tiny settings and some more, from numbers to calculate with by hand."""
    cls = library_models()[name]
    y = RATINGS if more.get("task") == "regression" else CLICKS
    model = cls(**cls.tiny | more).prepare(X, y)
    rng = np.random.default_rng(0)
    for array in parameters(model).values():
        array[...] = rng.uniform(-1, 1, array.shape).round(1)
    return trace(model, X, y, detail="all")


def of_one_step(traced, path, lines):
    """{line: Arrays} for the lines of one class: all of one model and layer, as far as its step runs them."""
    everywhere = [(arrays.model, arrays.layer) for line in lines for arrays in traced.get((path, line), ())]
    if not everywhere:
        return {}
    order = [place for place, _ in collections.Counter(everywhere).most_common()]      # the first of those that tie
    return {line: min(traced[path, line], key=lambda arrays: order.index((arrays.model, arrays.layer)))
            for line in lines if (path, line) in traced}
