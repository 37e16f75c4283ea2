"""The closed form of Shapley values beside shap and shapiq, on the same models: ``python -m benchmarks.shapley``.

    pip install ".[shapley]"
    python -m benchmarks.shapley            # measures, writes benchmarks/shapley.json, then the page
    python -m benchmarks.shapley --page     # only writes docs/shapley.md from the results that are there

shap and shapiq get nothing but a function that scores rows (``decision_function``), minictr its own model. Each has one
call before the one that is timed, as shap compiles parts of itself; seconds are those of the process, on one thread.
"""

import argparse
import json
import os
import time
import warnings
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "shapley.json", ROOT / "docs" / "shapley.md"
MANY = 39               # fields of the larger table
BUDGET = 4_096          # sets of fields that shapiq may look at there


class Explained:
    """A model with what is explained of it: its fields are numbered values, in arrays, as shap and shapiq take them."""

    def __init__(self, model, X, y, rows, background):
        import numpy as np
        import pandas as pd

        self.model, self.names = model.fit(X, y), list(X)
        self.few, self.background = X[-rows:], background(X)
        self.arrays = [table.to_numpy(np.float64) for table in (self.few, self.background)]
        self.table = lambda values: pd.DataFrame(np.asarray(values), columns=self.names).astype(int)

    def logit(self, values):
        """Logits of rows in an array."""
        return self.model.decision_function(self.table(values))

    def probability(self, values):
        """Probabilities of rows in an array."""
        return self.model.predict_proba(self.table(values))[:, 1]


def timed(work):
    """What ``work`` returns, and its seconds, after a call before."""
    work()
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def by_minictr(case, order, whole_rows):
    """minictr's values of fields (N, M), or (N, P) of pairs if order is 2."""
    from minictr import explain

    block = "field" if order == 1 else "pair"
    found = explain.shapley(case.model, case.few, order=order, background=case.background, wide=True)[block].to_numpy()
    if whole_rows:              # other fields from the same row of the background, not each by itself: see the page
        there = explain.shapley(case.model, case.background, order=order, wide=True)[block].to_numpy().mean(axis=0)
        found = found - there if order == 1 else found + there
    return found


def taylor(case):
    """The Shapley-Taylor index of pairs: a third of a triple's term for each of its pairs; ``shapley`` gives half."""
    from minictr import explain

    pure = explain.contributions(case.model, case.few, purified=True, background=case.background, wide=True)
    return (pure["pair"].to_numpy() + 2 * by_minictr(case, 2, whole_rows=False)) / 3


def by_shap(case, kind, order=1, function=None, background=None):
    """shap's values of fields, or of pairs if order is 2: twice an entry of its matrix, which holds each pair twice."""
    import numpy as np
    import shap

    few, rows = case.arrays[0], case.arrays[1] if background is None else background
    function, masker = function or case.logit, shap.maskers.Independent(rows, max_samples=len(rows))
    if kind == "Kernel":
        return shap.KernelExplainer(function, rows, seed=0).shap_values(few, nsamples=2 ** len(case.names), silent=True)
    if kind == "Permutation":
        explainer = shap.explainers.Permutation(function, masker, seed=0)
        return explainer(few, max_evals=2 * len(case.names) + 1, silent=True).values
    explainer = shap.explainers.Exact(function, masker)
    if order == 1:
        return explainer(few, silent=True).values
    i, j = np.triu_indices(len(case.names), 1)
    return 2 * explainer(few, interactions=2, silent=True).values[:, i, j]


def by_shapiq(case, budget, background=None):
    """shapiq's interactions of pairs (k-SII of order 2), from at most so many sets of fields."""
    import itertools

    import numpy as np
    import shapiq

    few, rows = case.arrays[0], case.arrays[1] if background is None else background
    explainer = shapiq.TabularExplainer(model=case.logit, data=rows, index="k-SII", max_order=2, imputer="marginal",
                                        sample_size=len(rows), random_state=0)
    pairs = list(itertools.combinations(range(len(case.names)), 2))
    found = [explainer.explain(row, budget=budget) for row in few]
    return np.array([[values[pair] for pair in pairs] for values in found])


def clicks(model, rows, background):
    """A model of seven fields of ``make_clicks``."""
    import pandas as pd

    from minictr import datasets

    data = datasets.make_clicks(20_000, seed=0)
    X = data.X.drop(columns="interests").apply(lambda column: pd.factorize(column, sort=True)[0])
    return Explained(model, X, data.y, rows, background)


def many_fields(model, rows, background):
    """A model of 39 fields of ten values, of which five pairs matter."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 10, (20_000, MANY)), columns=[f"C{k}" for k in range(1, MANY + 1)])
    logit = sum(rng.normal(0, 1, (10, 10))[X[f"C{k}"], X[f"C{k + 5}"]] for k in range(1, 6))
    return Explained(model, X, rng.random(len(X)) < 1 / (1 + np.exp(-logit)), rows, background)


def measure():
    """Go through all comparisons: a list of {what, program, difference, seconds, seconds of minictr, ...}."""
    import functools
    import itertools

    import numpy as np

    from minictr import FM, HOFM

    from .quality import machine

    lines = []

    def compare(what, program, case, theirs, order, whole_rows=True, ours=None):
        values, seconds = timed(theirs)
        own, own_seconds = timed(ours or (lambda: by_minictr(case, order, whole_rows)))
        rows = len(case.few)
        lines.append({"what": what, "program": program, "values": "fields" if order == 1 else "pairs",
                      "difference": float(np.abs(values - own).max()), "largest": float(np.abs(own).max()),
                      "ms": 1000 * seconds / rows, "ms of minictr": 1000 * own_seconds / rows})
        print(lines[-1], flush=True)

    settings = {"dtype": "float64", "epochs": 5, "learning_rate": 0.01}
    case = clicks(FM(**settings), 100, lambda X: X[:100])
    compare("rows", "shap, Exact", case, lambda: by_shap(case, "Exact"), 1)
    compare("rows", "shap, Kernel, all 128 sets", case, lambda: by_shap(case, "Kernel"), 1)
    compare("rows", "shap, Permutation, one there and back", case, lambda: by_shap(case, "Permutation"), 1)
    compare("rows", "shap, Exact, interactions", case, lambda: by_shap(case, "Exact", 2), 2)
    compare("rows", "shapiq, k-SII of order 2, all 128 sets", case, lambda: by_shapiq(case, 2 ** 7), 2)
    probability = by_shap(case, "Exact", function=case.probability)
    base = case.probability(case.arrays[1]).mean()
    gap = np.abs(probability.sum(axis=1) + base - case.probability(case.arrays[0])).max()
    order = [np.argsort(-np.abs(values), axis=1)[:, 0] for values in (probability, by_minictr(case, 1, True))]
    same_first = float((order[0] == order[1]).mean())

    for name, cls in (("FM", FM), ("HOFM", HOFM)):
        small = clicks(cls(**settings), 2, lambda X: X[:3])
        combinations = np.array(list(itertools.product(*small.arrays[1].T)))  # all weigh the same, as by the marginals
        compare(name, "shap, Exact", small,
                functools.partial(by_shap, small, "Exact", background=combinations), 1, False)
        compare(name, "shap, Exact, interactions (Shapley-Taylor)", small,
                functools.partial(by_shap, small, "Exact", 2, background=combinations), 2, False,
                functools.partial(taylor, small))
        compare(name, "shapiq, k-SII of order 2, all 128 sets", small,
                functools.partial(by_shapiq, small, 2 ** 7, combinations), 2, False)

    wide = many_fields(FM(embedding_dim=8, **settings), 5, lambda X: X[:50])
    compare("many", "shap, Permutation, one there and back", wide, lambda: by_shap(wide, "Permutation"), 1)
    compare("many", f"shapiq, k-SII of order 2, {BUDGET:,} of 2^{MANY} sets", wide, lambda: by_shapiq(wide, BUDGET), 2)
    return {"lines": lines, "probability": {"gap": float(gap), "same first field": same_first},
            "sizes": {"rows": len(case.few), "combinations": len(combinations), "budget": BUDGET}, "machine": machine(),
            "versions": {name: version(name) for name in ("shap", "shapiq", "numpy")}}


# ---- the page --------------------------------------------------------------------------------------------

HEAD = """# Beside shap and shapiq

[shap](https://github.com/shap/shap) and [shapiq](https://github.com/mmschlk/shapiq) explain any function that scores
rows. `explain.shapley` explains sums of products (LR, FM, FFM, FwFM, HOFM) and has their Shapley values in closed form.
This page holds the two against each other, on the same fitted models in float64. It is made by `python -m
benchmarks.shapley`, after `pip install ".[shapley]"`, from its results; neither library is needed for anything else.

shap and shapiq were given `model.decision_function` on a table of numbered values:

```python
import numpy as np
import pandas as pd

from minictr import FM, datasets, explain

data = datasets.make_clicks(20_000, seed=0)
X = data.X.drop(columns="interests").apply(lambda column: pd.factorize(column, sort=True)[0])
model = FM(dtype="float64", epochs=5, learning_rate=0.01).fit(X, data.y)
background, rows = X[:100], X[-100:]


def logit(values):
    return model.decision_function(pd.DataFrame(np.asarray(values), columns=list(X)).astype(int))


# masker = shap.maskers.Independent(background.to_numpy(dtype=float))
# shap.explainers.Exact(logit, masker)(rows.to_numpy(dtype=float))
table = explain.shapley(model, rows, background=background, wide=True)["field"]
there = explain.shapley(model, background, wide=True)["field"].mean()
print((table - there).iloc[0])                              # what shap says of the first row
```
"""
SECTIONS = {
    "rows": ("The other fields from whole rows", """What stands for the fields that are *not* in a set? shap and shapiq
take the values of a row of the background, all from the same row, and the mean over rows. `explain.shapley` draws each
field by itself, as purified terms do, so that no pair is credited with the background's own dependence between its
fields. For models without triples one follows from the other: with the background's mean of each value taken off
(fields) or added (pairs), they are the same numbers. Seven fields, 100 rows explained, a background of 100."""),
    "FM": ("Each field by itself: FM", """A background of all combinations of the values that three rows hold
({combinations:,} rows, for seven fields) is the product of the fields' marginals, where all three ought to say the same
without any correction. Two rows explained; minictr takes the three rows, and its time is that of the calls."""),
    "HOFM": ("Each field by itself: HOFM, with triples", """With triples the programs' interactions of pairs differ in
what they are. `explain.shapley(order=2)` and shapiq's k-SII give a pair half of each triple that it is in (the Shapley
interaction index). shap's `interactions=2` gives it a third (the Shapley-Taylor index); held against that, from the
purified terms, its numbers are the same too."""),
    "many": ("39 fields", """2^39 sets of fields are too many to go through. Five rows explained, a background of 50.
shap's Permutation explainer joins the fields in one order and in the opposite one: for a function of pairs that is
exact, as each field of a pair is once the later one. Of so few rows minictr's time is mostly that of a call, and of the
background's means. shapiq estimates all 741 pairs from {budget:,} sets."""),
}
TAIL = """## What differs, in words

- **Which models.** shap and shapiq take anything that scores rows: use them for AFM, AutoInt and models with a deep
  part, for which `explain.shapley` says that it has no closed form. (`explain.interaction_effects` is minictr's own way
  for any model.) Their explainers by gradients, for which there is `to_torch`, do not fit: ids have no gradient.
- **Which output.** All figures above are about logits. On `predict_proba` nothing adds up by pairs, since the sigmoid
  bends every sum, and there is no closed form. shap's exact values of the probability add up to it (to {gap:.0e}), but
  are others: the largest field is the same one in {same:.0%} of the {rows} rows of the first table.
- **What is exact.** shap's and minictr's values agree to rounding. shapiq's `TabularExplainer` takes a regression
  (KernelSHAP-IQ), with a weight of 10⁸ in place of a constraint: hence a difference near 10⁻⁷, of no consequence. Its
  `ExactComputer` has none.
- **What it costs.** The closed form costs a product of vectors for each pair of fields, and does not grow with the
  background, of which only means are kept. The definition costs 2^M sets times the rows of the background.
"""
NAMES = ("program", "values of", "largest difference", "largest value", "ms a row", "minictr, ms a row")


def page(results):
    """The whole page."""
    parts = [HEAD]
    for what, (title, text) in SECTIONS.items():
        rows = [(line["program"], line["values"], f"{line['difference']:.0e}", f"{line['largest']:.2f}",
                 f"{line['ms']:,.3g}" if line["ms"] < 1000 else f"{line['ms']:,.0f}", f"{line['ms of minictr']:.2g}")
                for line in results["lines"] if line["what"] == what]
        table = [NAMES, ["---"] * len(NAMES), *rows]
        parts.append(f"## {title}\n\n{text.format(**results['sizes'])}\n\n"
                     + "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n")
    probability, versions = results["probability"], results["versions"]
    machine = results["machine"]
    parts.append("Differences and values are in log-odds; ms are of the process, on one thread "
                 f"({machine['processor']}, python {machine['python']}; "
                 + ", ".join(f"{name} {number}" for name, number in versions.items()) + ").\n")
    return "\n".join([*parts, TAIL.format(gap=probability["gap"], same=probability["same first field"],
                                          rows=results["sizes"]["rows"])])


def main():
    """Measure if need be, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapley", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="only write the page, from benchmarks/shapley.json")
    if not parser.parse_args().page:
        for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
            os.environ[f"{library}_NUM_THREADS"] = "1"            # read when NumPy is imported
        warnings.simplefilter("ignore")                           # shap's and shapiq's, on what they do with few sets
        RESULTS.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
