"""The page that ``minictr explain`` writes: structure, numbers, what it escapes. In a browser: test_page_in_use.py."""

import base64
import functools
import hashlib
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from models import MODELS, attention_of, blocks, small
from tables import FIELDS, mixed_table

from minictr import FM, explain, metrics
from minictr.app import cli
from minictr.app.page import SCRIPT, STYLE, digest
from minictr.app.report import write_report
from minictr.app.scores import bootstrap

VOID = {"meta", "img", "input", "br", "wbr"}
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """What stands on a page: tags with their attributes, all text, tables as lists of rows of text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.tables, self.scripts = [], [], "", [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, head):
        """The body of the table whose first row has this cell."""
        return next(table[1:] for table in self.tables if head in table[0])


def fitted(name, task="binary", fields=FIELDS, n_rows=120):
    X, y = mixed_table(n_rows)
    y = y if task == "binary" else X["price"].to_numpy()
    return small(name, fields, fields=fields, epochs=1).fit(X, y), X, y


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The text of a model's page for a task, written once."""
    @functools.cache
    def write(name, task):
        model, X, y = fitted(name, task="regression" if task == "regression" else "binary")
        path = tmp_path_factory.mktemp("page") / "index.html"
        return write_report(model, X, None if task == "no target" else y, path).read_text(encoding="utf-8")
    return write


def page_of(folder, *arguments, **options):
    return Page(write_report(*arguments, path=folder / "index.html", **options).read_text(encoding="utf-8"))


# ---- structure ---------------------------------------------------------------------------------------------

EVERY_DAY = {("LR", "no target"), ("AFM", "binary"), ("AutoInt", "regression")}


@pytest.mark.parametrize(("name", "task"), [
    pytest.param(*case, marks=() if case in EVERY_DAY else pytest.mark.long)
    for case in itertools.product(MODELS, ["binary", "regression", "no target"])])
def test_the_page_is_whole_and_needs_nothing_else(written, name, task):
    text = written(name, task)
    page = Page(text)
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes["alt"] and attributes["src"].startswith("data:image/svg+xml;base64,")
        assert not {name for name in attributes if name.startswith("on")} and "style" not in attributes
        for place in ("src", "href"):
            assert attributes.get(place, "#").startswith(("data:image/svg", "#"))
    assert not re.search(r"https?://|url\(|@import", text) and len(text) < 1_000_000
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [a["href"][1:] for tag, a in page.tags if tag == "a"]
    assert links[:7] == [a["id"] for tag, a in page.tags if tag == "section"] and set(links) <= set(ids)
    articles = [a for tag, a in page.tags if tag == "article"]
    maps = [a["id"] for a in articles if a["data-group"] == "maps"]
    assert {a["id"] for a in articles} - set(links) <= set(maps[:1] if len(maps) == 1 else []), "nothing leads there"
    assert {a["aria-labelledby"] for tag, a in page.tags if tag == "article"} <= set(ids)
    attention, terms = attention_of(name), blocks(name)
    for word, there in (("Self-attention", "layer 1" in attention),
                        ("Interaction effect", not terms <= {"fields", "pairs"} or not terms),
                        ("All fields and pairs", True), ("Calibration", task == "binary"),
                        ("AUC", task == "binary"), ("RMSE", task == "regression"),
                        ("No target", task == "no target"),
                        ("of the terms of pairs alone", "pairs" in terms and bool(terms - {"fields", "pairs"}))):
        assert (word in page.text) == there, word
    assert page.scripts == [SCRIPT] and "</" not in SCRIPT


def test_the_same_input_gives_the_same_bytes(written, tmp_path):
    model, X, y = fitted("AFM")
    assert write_report(model, X, y, tmp_path / "again").read_text(encoding="utf-8") == written("AFM", "binary")


@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name == "AFM" else pytest.mark.long) for name in MODELS])
def test_few_fields_and_few_rows(tmp_path, name):
    model, X, _ = fitted(name, fields=["user", "hour"])
    assert len(page_of(tmp_path, model, X).table("missing in training")) == 2
    model, X, y = fitted(name)
    page = page_of(tmp_path, model, X[:1], y[:1])
    assert "AUC" not in [row[0] for row in page.table("95 % interval")]


def test_one_field_and_no_history(tmp_path):
    model, X, y = fitted("FM", fields=["user"])
    assert "There is one field, and so no pair." in page_of(tmp_path, model, X, y).text
    model = FM(fields=["user"]).partial_fit(X, y)
    assert "How it was trained" not in page_of(tmp_path, model, X).text


# ---- numbers -----------------------------------------------------------------------------------------------

def test_the_numbers_are_those_of_the_functions(written, tmp_path):
    model, X, y = fitted("AFM")
    page = Page(written("AFM", "binary"))
    attention = explain.attention(model, X).sort_values("value", ascending=False, kind="stable")
    importance = explain.pair_importance(model, X).loc[attention.index]
    rows = [row for row in page.table("field or pair") if row[-1] == "pair"]
    importance = importance.sort_values("value", ascending=False, kind="stable")
    assert [row[0] for row in rows] == [f"{i} × {j}" for i, j in importance[["field_i", "field_j"]].to_numpy()]
    for table, columns in ((importance, (1, 3)), (attention.loc[importance.index], (4, 5))):
        for column, names in zip(columns, (["value"], ["low", "high"]), strict=True):
            assert [row[column].split(" to ") for row in rows] == [
                [f"{value:.4g}" for value in values] for values in table[names].to_numpy()]
    described = model.encoder_.describe()[["field", "kind", "values"]].astype(str)
    assert [row[:3] for row in page.table("missing in training")] == described.to_numpy().tolist()
    prediction = model.predict_proba(X)[:, 1]
    for row in (prediction.argmin(), prediction.argmax(), np.argsort(prediction, kind="stable")[len(X) // 2]):
        assert f"Row {row}, the" in page.text and f"{prediction[row]:.4g}, true {y[row]:g}" in page.text
    assert page_of(tmp_path, model, X, rows=[7]).text.count("Row 7, as asked for") == 1
    scored = {row[0]: row[1] for row in page.table("95 % interval")}
    assert scored == {"AUC": f"{metrics.auc(y, prediction):.4g}",
                      "log loss": f"{metrics.log_loss(y, prediction):.4g}", "accuracy": f"{model.score(X, y):.4g}"}


def test_fields_and_pairs_have_their_shares_where_terms_make_up_the_logit(tmp_path):
    model, X, _ = fitted("FM")
    table = explain.importance(model, X)
    names = [i if j is None else f"{i} × {j}" for i, j in table[["field_i", "field_j"]].to_numpy()]
    rows = {row[0]: row for row in page_of(tmp_path, model, X).table("share")}
    for name, line in zip(names, table.itertuples(), strict=True):
        assert [rows[name][column] for column in (1, 3, 4)] == [
            f"{line.value:.4g}", f"{line.share:.4g}", f"{line.low:.4g} to {line.high:.4g}"]
    assert len(rows) == len(table) == 10


@pytest.mark.parametrize("binary", [True, False])
def test_intervals_are_those_of_tables_drawn_with_replacement(binary):
    rng = np.random.default_rng(0)
    p = rng.random(300).round(2)                                  # with ties
    y = (rng.random(300) < p).astype(float) if binary else p + rng.normal(size=300)
    functions = {"AUC": metrics.auc, "log loss": metrics.log_loss, "accuracy": lambda y, p: np.mean((p >= 0.5) == y)
                 } if binary else {"RMSE": metrics.rmse}
    result = bootstrap(y, p, binary)
    assert list(result) == list(functions)
    draws = np.random.default_rng(0)
    drawn = [draws.integers(300, size=300) for _ in range(200)]
    for name, function in functions.items():
        value, low, high = result[name]
        assert value == pytest.approx(function(y, p)) and low < value < high
        expected = np.percentile([function(y[rows], p[rows]) for rows in drawn], [2.5, 97.5])
        np.testing.assert_allclose([low, high], expected)


def test_unseen_values_are_reported(tmp_path):
    model, X, _ = fitted("LR")
    page = page_of(tmp_path, model, X.assign(user=["eve"] * 30 + X["user"].tolist()[30:]))
    assert "user 25 %" in page.text and page.table("missing in training")[0][-1] == "25 %"


# ---- what comes from the user ------------------------------------------------------------------------------

def test_markup_is_shown_and_not_run(tmp_path):
    X, y = mixed_table(80)
    X = X.rename(columns={"user": EVIL, "hour": "a\"'&<i>"})
    X.loc[::2, EVIL] = EVIL
    model = FM(name=EVIL, epochs=1, fields=[EVIL, "a\"'&<i>"]).fit(X, y)
    page = page_of(tmp_path, model, X, y, model_name=f"{EVIL}.npz", table_name=f"{EVIL}.csv")
    assert page.scripts == [SCRIPT] and not [tag for tag, _ in page.tags if tag == "i"]
    for shown in (f"FM: {EVIL}.npz", f"{EVIL}.csv", f"{EVIL} = {EVIL}", f"{EVIL} (FM)"):
        assert shown in page.text
    assert page.table("missing in training")[0][0] == EVIL


def test_wrong_input_is_refused(tmp_path):
    model, X, y = fitted("FM")
    for arguments, options, message in [
            ((model, X[:0]), {}, "X has no rows"), ((model, X, y[:5]), {}, r"y has shape \(5,\) and X has 120 rows"),
            ((model, X), {"rows": [120]}, "row 120 is asked for"), ((model, X, y + 1), {}, "needs y of 0 and 1"),
            ((FM(), X), {}, "not fitted")]:
        with pytest.raises(ValueError, match=message):
            write_report(*arguments, path=tmp_path / "index.html", **options)
    assert not (tmp_path / "index.html").exists()


def test_the_command_writes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, X, y = fitted("FM")
    X.assign(click=y).to_csv("clicks.csv", index=False)
    model.save("m.npz")
    assert cli.main(["explain", "m.npz", "clicks.csv", "--out", "report", "--target", "click", "--row", "5"]) == 0
    assert "index.html" in capsys.readouterr().out
    page = Page((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert "FM: m.npz" in page.text and "Row 5, as asked for" in page.text


def test_the_policy_lets_the_one_style_and_the_one_script_be_used(written):
    """The policy names their hashes: a wrong one would leave the page without."""
    page = Page(written("AFM", "binary"))
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    own = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert digest(SCRIPT) == f"sha256-{own}" and f"<style>{STYLE}</style>" in written("AFM", "binary")
    assert policy == f"default-src 'none'; img-src data:; style-src '{digest(STYLE)}'; script-src 'sha256-{own}'"
