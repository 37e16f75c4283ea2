"""Single predictions on the page of ``minictr explain``: their numbers are those of the functions of ``explain``."""

import numpy as np
import pytest
from test_html_report import Page, fitted

from minictr import explain
from minictr.app.findings import Findings
from minictr.app.report import write_report
from minictr.app.single_rows import TOP
from minictr.estimator.registry import offers
from minictr.layers import sigmoid

CASES = {"FM": "binary", "HOFM": "regression", "AFM": "binary", "AutoInt": "binary", "DeepFM": "regression"}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A model, its table, and for each row on its page what is asked for of it: the tables of its article."""
    task = CASES[request.param]
    model, X, y = fitted(request.param, task=task)
    text = write_report(model, X, y, tmp_path_factory.mktemp("page") / "index.html", rows=[7]).read_text("utf-8")
    articles = {row: text.split(f'id="row-{row}"')[1].split("</article>")[0] for row in Findings(model, X, y, [7]).rows}
    return model, X, {row: [[[cell.strip() for cell in line] for line in table]
                            for table in Page(f"<p>{article.partition('>')[2]}</p>").tables]
                      for row, article in articles.items()}


def said(model, X, row):
    """The terms of a prediction that the page shows, and the whole of it."""
    explanation = explain.one_prediction(model, X.iloc[[row]], background=X)
    if offers(type(model), "factors"):
        return explain.contributions(model, X.iloc[[row]], purified=True, background=X, support=X), explanation
    return explanation.terms, explanation


def test_bars_are_the_largest_terms_and_the_rows_that_they_rest_on(case):
    model, X, tables = case
    binary = model.task_ == "binary"
    assert len(tables) >= 10
    for row, (lines, *_) in tables.items():
        terms, explanation = said(model, X, row)
        assert lines[0] == ["term", "adds", "then", "rows alike"]
        first, *rest = terms.itertuples()
        rest = sorted(rest, key=lambda term: -abs(term.value))
        reached, wanted = first.value, []
        for term in rest[:TOP]:
            fields = [field for field in (term.field_i, term.field_j, getattr(term, "field_l", None)) if field]
            name = " × ".join(f"{field} = {explanation.values[field]}" for field in fields) or term.term
            reached += term.value
            then = f"{sigmoid(np.array([reached]))[0]:.3g}" if binary else f"{reached:.4g}"
            wanted.append([name, f"{term.value:+.3g}", then, f"{term.rows:,}" if fields else ""])
        assert lines[2:2 + TOP] == wanted
        others = sum(term.value for term in rest[TOP:])
        if len(rest) > TOP:
            assert lines[2 + TOP][:2] == [f"the other {len(rest) - TOP} terms", f"{others:+.3g}"]
        assert len(lines) == 2 + min(len(rest), TOP) + (len(rest) > TOP)
        end = model.predict_proba(X)[row, 1] if binary else model.predict(X)[row]
        assert float(lines[-1][2]) == pytest.approx(end, rel=6e-3)


def test_what_if_names_the_lowest_and_the_highest_prediction_of_each_field(case):
    model, X, tables = case
    for row, (_, lines, *_) in tables.items():
        table = explain.one_prediction(model, X.iloc[[row]], background=X).counterfactuals
        assert lines[0][:3] == ["with another value of", "lowest with", "highest with"]
        assert len(lines) == 1 + table["field"].nunique()
        sizes = [table["change"][table["field"] == line[0].split(" = ")[0]].abs().max() for line in lines[1:]]
        assert sizes == sorted(sizes, reverse=True)
        for name, lowest, highest, *across in lines[1:]:
            own = table[table["field"] == name.split(" = ")[0]]
            for told, way, line in ((lowest, -1, own.loc[own["prediction"].idxmin()]),
                                    (highest, 1, own.loc[own["prediction"].idxmax()])):
                share = "" if np.isnan(line["share"]) else f" ({100 * line['share']:.3g} %)"
                there = way * line["change"] > 0
                assert told == (f"{line['instead']}: {line['prediction']:.4g}{share}" if there else "")
            if model.task_ == "binary":
                crossing = own[own["crosses"]]
                assert bool(across[0]) == bool(len(crossing))
                if across[0]:
                    assert across[0].split(":")[0] in crossing["instead"].tolist()
