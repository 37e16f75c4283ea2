"""From a pair of values on the page of ``minictr explain`` to the rows that hold it, and what is true of them."""

import re

import numpy as np
import pytest

from minictr import FM, datasets, explain
from minictr.app.findings import Findings
from minictr.app.report import write_report
from minictr.app.values import by_strength


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(600, seed=0)                      # interests: several values in a cell


@pytest.fixture(scope="module")
def model(clicks):
    return FM(epochs=2, learning_rate=0.02).fit(clicks.X, clicks.y)


@pytest.fixture(scope="module")
def text(model, clicks, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    return write_report(model, clicks.X, clicks.y, path).read_text(encoding="utf-8")


def headline(model, X):
    """The strongest pair's fields and the strongest line of its table of values."""
    pair = Findings(model, X, None).ranked_pairs[0]
    return pair, by_strength(explain.pair_values(model, X, *pair)).iloc[0]


def cells_of(row):
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]


def test_rows_with_two_values_are_as_many_as_its_table_says(model, clicks):
    found = Findings(model, clicks.X, clicks.y)
    for pair, table in found.pair_values.items():
        for line in table.itertuples():
            assert len(found.rows_with(pair, (line.value_i, line.value_j))) == line.rows
    rows = found.rows_with(("device", "interests"), ("phone", "travel"))
    holds = (clicks.X["device"] == "phone") & clicks.X["interests"].map(lambda held: "travel" in held)
    np.testing.assert_array_equal(rows, np.flatnonzero(holds))


def test_a_strong_pair_of_values_has_its_rows_beside_it(model, clicks, text):
    pair, line = headline(model, clicks.X)
    rows = Findings(model, clicks.X, None).rows_with(pair, (line["value_i"], line["value_j"]))
    names = list(model.feature_names_in_)
    article = text.split(f'id="pair-{names.index(pair[0])}-{names.index(pair[1])}"')[1].split("</article>")[0]
    table = article[article.rindex("<table"):]
    heads, first = map(cells_of, re.findall("<tr>.*?</tr>", table)[:2])
    told = dict(zip(heads, first, strict=True))
    assert told["rows"] == str(line["rows"])
    assert float(told["mean prediction"]) == pytest.approx(model.predict_proba(clicks.X)[rows, 1].mean(), abs=1e-4)
    assert float(told["observed mean"]) == pytest.approx(clicks.y[rows].mean(), abs=1e-4)
    assert told["the first of these rows"] == ", ".join(map(str, rows[:5]))
    assert f'<a href="#row-{rows[0]}">{rows[0]}</a>' in table, "the row of the headline pair is among those explained"
    assert re.search(rf"Row {rows[0]}, [^<]*holds the strongest pair of values", text)


def test_without_a_target_nothing_is_observed(model, clicks, tmp_path):
    text = write_report(model, clicks.X, path=tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Attention is not importance" not in text, "an FM has none"
    assert "mean prediction" in text and "observed mean" not in text
    assert "does not say whether the rows of this page are among those it was trained on" in text


def test_in_short_names_a_raise_a_reduction_and_a_field_and_leads_to_their_tables(model, clicks, text):
    found = Findings(model, clicks.X, clicks.y)
    short = text.split('id="short"')[1].split("</section>")[0]
    pair, line = headline(model, clicks.X)
    names = list(model.feature_names_in_)
    assert f'<a href="#pair-{names.index(pair[0])}-{names.index(pair[1])}">{pair[0]} and {pair[1]}</a>' in short
    rows = found.rows_with(pair, (line["value_i"], line["value_j"]))
    assert (f"{len(rows)} of the 600 rows hold both, with a mean prediction of {found.prediction[rows].mean():.4g} and "
            f"an observed mean of {clicks.y[rows].mean():.4g}.") in short
    assert short.count("beyond what the two do") == 2 and short.count("takes away") >= 1 <= short.count(" adds ")
    strongest = max(found.field_sizes, key=lambda field: found.field_sizes[field][0])
    assert f'by itself: <a href="#field-{names.index(strongest)}">{strongest}</a>; {strongest} = ' in short
    assert '<a href="#caveats">' in short
