"""The page of ``minictr explain`` of a single row, which has no others to be compared with."""

import re

import pytest
from models import small

from minictr import datasets
from minictr.app.report import write_report


@pytest.mark.parametrize("name", ["LR", "FM", "AFM", "DeepFM", "AutoInt"])
def test_what_compares_rows_is_left_out(name, tmp_path):
    clicks = datasets.make_clicks(200, seed=0)
    X = clicks.X[["user_segment", "ad_category", "hour", "interests"]]
    model = small(name, list(X), epochs=1).fit(X, clicks.y)
    text = write_report(model, X[:1], clicks.y[:1], tmp_path / "index.html").read_text(encoding="utf-8")
    page = text.split("<script>")[0]
    links, ids = set(re.findall(r'href="#([^"]+)"', page)), set(re.findall(r' id="([^"]+)"', page))
    assert "row-0" in links and links <= ids
    assert 'data-group="values"' not in text, "tables of values, all of them 0"
    assert "What a value adds is told from other rows, and there is one: so there are no tables of values." in text
    for promise in ("leads to its table of values", "lead to tables of values", "does most by itself"):
        assert promise not in text
    if "The pair of fields with the largest" in text:
        assert re.search(r"The pair of fields with the largest \w+: \w+ and \w+\.", text), "nameless"
