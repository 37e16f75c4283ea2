"""The page beside shap and shapiq is made from the committed results, and its code does what it says."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from benchmarks import shapley
from minictr import FM, HOFM, explain
from minictr.layers import parameters

RESULTS = json.loads(shapley.RESULTS.read_text(encoding="utf-8"))


def test_the_page_is_made_from_the_results():
    assert shapley.PAGE.read_text(encoding="utf-8") == shapley.page(RESULTS)


def test_exact_programs_agree_and_estimates_are_in_the_table_too():
    for line in RESULTS["lines"]:
        exact = 1e-6 if line["program"].startswith("shapiq") else 1e-12
        assert line["difference"] <= exact or "of 2^39 sets" in line["program"], line
        assert f"| {line['program']} | {line['values']} | {line['difference']:.0e} |" in shapley.page(RESULTS)


@pytest.mark.long
def test_the_code_of_the_page_runs_and_values_add_up(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", shapley.page(RESULTS), re.S)
    names = {}
    exec(compile(code, "page", "exec"), names)
    assert capsys.readouterr().out.startswith("field_i")
    rows, background = (names["logit"](names[name].to_numpy(float)) for name in ("rows", "background"))
    total = (names["table"] - names["there"]).sum(axis=1)
    np.testing.assert_allclose(total, rows - background.mean(), atol=1e-10)


def explained(cls):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 3, (200, 4)), columns=list("abcd"))
    model = cls(embedding_dim=2, epochs=1, dtype="float64")
    case = shapley.Explained(model, X, rng.integers(0, 2, 200), 5, lambda X: X[:20])
    for array in parameters(model).values():
        array[...] = rng.normal(0, 1, array.shape)
    return case


def test_values_of_whole_rows_add_up_to_the_logit_less_its_mean_over_the_background():
    case = explained(FM)
    few, background = (case.logit(values) for values in case.arrays)
    fields = shapley.by_minictr(case, 1, whole_rows=True)
    np.testing.assert_allclose(fields.sum(axis=1), few - background.mean(), atol=1e-12)
    assert np.abs(fields - shapley.by_minictr(case, 1, whole_rows=False)).max() > 1e-3


def test_shapley_taylor_gives_each_pair_a_third_of_a_triple():
    case = explained(HOFM)
    pure = explain.contributions(case.model, case.few, purified=True, background=case.background, wide=True)
    triples = {frozenset(column[1:]): values for column, values in pure.items() if column[0] == "triple"}
    for column, found in zip(pure["pair"], shapley.taylor(case).T, strict=True):
        thirds = sum(values / 3 for triple, values in triples.items() if set(column[:2]) <= triple)
        np.testing.assert_allclose(found, pure[("pair", *column)] + thirds, atol=1e-12)
