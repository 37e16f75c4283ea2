"""Odd names and values on the page: it is whole, nothing of them is run, and what they hold can be seen."""

import re

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from app.test_html_report import Page
from attack.odd import LONE, PIECES, odd_names, odd_text
from attack.tally import Tally, rounds

from minictr import AFM, FM, LR, AutoInt, DeepFM, MultiValued
from minictr.app.page import LONGEST_TEXT, SCRIPT
from minictr.app.report import write_report
from minictr.text import printable

MODELS = [LR(epochs=1), FM(epochs=1, embedding_dim=2), AFM(epochs=1, embedding_dim=2, attention_dim=2),
          DeepFM(epochs=1, embedding_dim=2, deep_layers=(3,)),
          AutoInt(epochs=1, embedding_dim=2, attention_dim=2, num_layers=1)]
TAGS = set("html head meta title style body header h1 h2 h3 p nav a main section dl dt dd div table thead tbody tr th "
           "wbr td figure figcaption img ul li script article h4 b small span svg rect".split())
ATTRIBUTES = set("lang charset http-equiv content name aria-label href id class tabindex role scope data-value width "
                 "height alt src aria-labelledby aria-sort aria-hidden data-group viewbox x "
                 "preserveaspectratio".split())
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
PICTURE, DOT = "data:image/svg+xml;base64,", "<svg/>"


def odd_model(rng):
    """A model, fitted on a table of odd names and values, and the table with its targets."""
    n_rows, names = int(rng.integers(20, 60)), odd_names(rng, int(rng.integers(1, 6)))
    columns = {}
    for name in names:
        values = np.array([odd_text(rng, pieces=PIECES + LONE) for _ in range(6)], dtype=object)
        columns[name] = values[rng.integers(6, size=n_rows)]
        if rng.random() < 0.2:
            columns[name] = rng.choice([1e-30, 0.5, -3e9, np.nan], n_rows)
            columns[name][0] = 1.5
        elif rng.random() < 0.2:
            columns[name][rng.random(n_rows) < 0.3] = None
            columns[name][0] = values[0]
    X = pd.DataFrame({name: pd.Series(list(column), dtype=column.dtype) for name, column in columns.items()})
    y = rng.permutation(np.arange(n_rows) % 2)
    regression = rng.random() < 0.3
    fields = [MultiValued(name, sep="|") if X[name].dtype == object and rng.random() < 0.2 else name for name in names]
    model = MODELS[rng.integers(len(MODELS))]
    if len(names) < 3:
        model = MODELS[rng.integers(2)]                           # AFM says of two fields that they make one pair
    model = model.clone().set_params(name=odd_text(rng), fields=fields, task="regression" if regression else "binary")
    return model.fit(X, y), X, None if rng.random() < 0.3 else y


def check_page(text, model, titles):
    """Assert what is promised of a page."""
    page = Page(text)
    assert page.scripts == [SCRIPT], "a script of its own"
    assert {tag for tag, _ in page.tags} <= TAGS, "a tag of its own"
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES, "an attribute of its own"
    policy = [attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv")]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; img-src data:; style-src 'sha256-"), "policy"
    for _, attributes in page.tags:
        assert attributes.get("src", PICTURE).startswith(PICTURE), "a foreign picture"
        assert attributes.get("href", "#").startswith("#"), "a link"
    assert not (acts := ACTS.search(text)), f"the character {acts[0]!r}"
    assert [row[0] for row in page.table("missing in training")] == [
        shown(name) for name in model.feature_names_in_], "other names"
    for title in titles:
        assert shown(title[:LONGEST_TEXT - 50]).removesuffix("…") in page.text, f"{title!r} is not there"


def shown(name):
    """A name as it stands on the page: the end of a very long one does not."""
    return printable(name if len(name) <= LONGEST_TEXT else f"{name[:LONGEST_TEXT]}…", keep="\n")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Glyph .* missing:UserWarning", "ignore:.* has rare:UserWarning")
@pytest.mark.parametrize("drawn", [True, False])
def test_pages_of_odd_names_and_values(tmp_path, monkeypatch, drawn):
    if not drawn:                                                 # drawing takes nearly all of the time
        monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, file, **options: file.write(DOT))
    tally = Tally("pages" + ", drawn" * drawn)
    for seed in range(rounds(3 if drawn else 30)):
        rng = np.random.default_rng([seed, drawn])
        try:
            model, X, y = odd_model(rng)
            titles = [odd_text(rng), odd_text(rng)]
            path = write_report(model, X, y, tmp_path / "page.html", model_name=titles[0], table_name=titles[1])
            text = path.read_bytes().decode("utf-8")
            check_page(text, model, titles)
        except Exception as error:
            tally.fail(seed, f"{type(error).__name__}: {error!s:.300}")
        else:
            tally.add(type(model).__name__)
    tally.check()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
