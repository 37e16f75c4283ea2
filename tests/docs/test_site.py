"""The documentation site: equations are typeset, docstrings whole, model cards true, and all links lead somewhere."""

import dataclasses
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from models import build_layers

import minictr
from minictr import layers
from minictr.estimator.registry import library_models
from minictr.layers import field_pairs, named_layers, parameters
from minictr.slots import Slots
from minictr.typeset import mathml as package_mathml
from minictr.typeset import translate

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CARDS = {name.lower(): cls for name, cls in library_models().items()}
every_card = pytest.mark.parametrize("card", CARDS)

sys.path.insert(0, str(DOCS))
import docstrings  # noqa: E402
import links  # noqa: E402
import pictures  # noqa: E402

MISSING = [name for name in ("sphinx", "myst_nb", "furo", "latex2mathml", "ziamath") if not find_spec(name)]
needs_sphinx = pytest.mark.skipif(bool(MISSING), reason=f"the site was not built: {', '.join(MISSING)} not installed")


# -------------------------------------------------------------------------------------------------- equations

# Blocks of the package that are no equations, and what they are.
NO_EQUATIONS = {
    "minictr.estimator.stream": "the steps of a pass",
    "minictr.fields": "tables of ids, methods and attributes",
}


def documented():
    """Every module, class, function and method of the package with a docstring of its own."""
    for found in [None, *pkgutil.walk_packages(minictr.__path__, "minictr.")]:
        name = found.name if found else "minictr"
        if name in ("minictr.__main__", "minictr.bridges.torch_modules"):     # the latter needs PyTorch
            continue
        module = importlib.import_module(name)
        yield name, module.__doc__
        for thing in vars(module).values():
            if getattr(thing, "__module__", None) == name and callable(thing):
                yield f"{name}.{thing.__qualname__}", thing.__doc__
                for member in vars(thing).values() if inspect.isclass(thing) else ():
                    member = getattr(member, "__func__", getattr(member, "fget", member))
                    if inspect.isfunction(member):
                        yield f"{name}.{member.__qualname__}", member.__doc__


BLOCKS = [pytest.param(name, block, id=f"{name.removeprefix('minictr.')} {number}")
          for name, text in dict(documented()).items() if text
          for number, block in enumerate(docstrings.equation_blocks(inspect.cleandoc(text).split("\n")), 1)]


@pytest.mark.parametrize("name, block", BLOCKS)
def test_every_equation_of_the_package_is_typeset(name, block):
    rows = translate(block)
    if name in NO_EQUATIONS:
        assert rows is None, "it is typeset: take it off the list"
        return
    assert rows, f"not understood, and not on the list of what is no equation:\n{block}"
    # nothing is lost on the way: the pieces of the rows are the words of the block
    shown = " ".join(f"{row.source} {row.remark}" for row in rows)
    assert sorted(re.findall(r"\w+", shown)) == sorted(re.findall(r"\w+", " ".join(block)))


def test_the_list_of_equations_is_not_empty():
    names = {parameter.values[0] for parameter in BLOCKS}
    assert {f"minictr.models.{file}.{cls.__name__}" for file, cls in (
        ("linear", minictr.LR), ("fm", minictr.FM), ("afm", minictr.AFM), ("autoint", minictr.AutoInt),
        ("deepfm", minictr.DeepFM), ("ffm", minictr.FFM), ("fwfm", minictr.FwFM), ("hofm", minictr.HOFM),
        ("nfm", minictr.NFM), ("fnn", minictr.FNN), ("pnn", minictr.PNN), ("wide_deep", minictr.WideDeep),
        ("deep_crossing", minictr.DeepCrossing), ("dcn", minictr.DCN), ("xdeepfm", minictr.XDeepFM))} <= names
    assert {"minictr.layers.attention_pooling.AttentionPooling", "minictr.layers.self_attention.InteractingLayer",
            "minictr.losses.LogLoss", "minictr.optim.Adam", "minictr.explain.effects.interaction_effects"} <= names
    assert set(NO_EQUATIONS) <= names


@pytest.mark.skipif("latex2mathml" in MISSING, reason="latex2mathml is not installed")
def test_the_package_and_latex2mathml_write_the_same_signs():
    from mathml import mathml

    def signs(element):
        text = re.sub(r"\s", "", "".join(ET.fromstring(element).itertext()))
        return text.replace("′", ""), text.count("′")             # the package's stands at its letter, before an index

    compared = 0
    for parameter in BLOCKS:
        for row in translate(parameter.values[1]) or ():
            for latex in filter(None, (row.left, row.right)):
                assert signs(package_mathml(latex)) == signs(mathml(latex))
                compared += 1
    assert compared > 200


@pytest.mark.skipif("latex2mathml" in MISSING, reason="latex2mathml is not installed")
def test_mathml_of_what_can_be_shown_and_an_error_for_what_cannot():
    from mathml import UnknownLatex, mathml
    assert "<mi>a</mi>" in mathml("a") and 'alttext="a \\cdot b"' in mathml(r"a \cdot b")
    assert re.search(r"<mo [^>]*fence=\"true\"[^>]*>⟨</mo>", mathml(r"\langle a, b \rangle"))
    assert mathml(r"\begin{aligned} a &= b \\ c &= d \end{aligned}").count("<mtr>") == 2
    assert "<mtext>d</mtext>" in mathml(r"\mathrm{d}x"), "a single upright letter must not become italic"
    assert "𝐀" in mathml(r"\boldsymbol{A}") and "𝟙" in mathml(r"\mathbb{1}")
    for wrong in (r"\nosuchcommand x", r"\frac{a", "a & b"):
        with pytest.raises(UnknownLatex):
            mathml(wrong)


# ------------------------------------------------------------------------------------------------- docstrings

@pytest.mark.skipif("latex2mathml" in MISSING, reason="latex2mathml is not installed")
def test_the_examples_of_the_tools_run():
    for name in ("docstrings", "mathml"):
        assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_two_entries_on_a_line_become_two():
    rst = docstrings.to_rst(["Sum.", "", "Parameters", "----------", "k : size of a", "vector.   t_1 : units (of W).",
                             "All others: see ``Model``.", "", "Shapes: x (B, k)."])
    assert "\n".join(rst).split("Parameters\n\n")[1].rstrip() == (
        "``k``\n   size of a vector.\n\n``t_1``\n   units (of W).\n\n"
        "All others: see ``Model``.\n\n**Shapes**\\ : x (B, k).")


def test_signs_in_running_text_mean_nothing():
    [line, _] = docstrings.to_rst(["history_, *tables, |x| and e * f, but *this* and ``code_`` do."])
    assert line == r"history\_, \*tables, \|x\| and e \* f, but \ *this*\  and ``code_`` do."


# -------------------------------------------------------------------------------------------------- the site

@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, DOCS / "build.py", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return out


class Words(HTMLParser):
    """All text of a page, and of its formulas what they are in ASCII or LaTeX, instead of their letters."""

    def __init__(self, html):
        super().__init__()
        self.words, self.maths = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "math":
            self.maths = True
            self.words.append(dict(attrs).get("alttext") or "")

    def handle_endtag(self, tag):
        self.maths = self.maths and tag != "math"

    def handle_data(self, data):
        if not self.maths:
            self.words.append(data)


@pytest.mark.long
@needs_sphinx
def test_no_word_of_a_docstring_is_lost(site):
    for page, things in (("layers", [minictr.layers.AttentionPooling, minictr.layers.InteractingLayer,
                                     minictr.layers.BatchNorm, minictr.layers.Embedding]),
                         ("models", [minictr.AFM, minictr.AutoInt, minictr.Model]),
                         ("data", [minictr.Numerical, minictr.datasets.make_clicks]),
                         ("explain", [minictr.explain.interaction_effects, minictr.explain.attention]),
                         ("plots", [minictr.plots.pair_heatmap]),
                         ("training", [minictr.optim.Adam, minictr.losses.LogLoss])):
        html = (site / "docs" / "api" / f"{page}.html").read_text(encoding="utf-8")
        for thing in things:
            start = re.search(rf'<dt [^>]*id="[\w.]*\.{thing.__name__}"', html).start()
            start = html.index("</dt>", start)
            shown = re.findall(r"\w+", " ".join(Words(html[start:start + 80_000]).words))
            wanted = re.findall(r"\w+", inspect.getdoc(thing))
            missing = in_order(wanted, shown)
            assert not missing, f"{thing.__name__}: lost from {missing!r} on"


def in_order(wanted, shown):
    """The first words that do not follow in the order in which they are wanted; a line of dashes is none."""
    place = 0
    for number, word in enumerate(wanted):
        try:
            place = shown.index(word, place, place + 60) + 1
        except ValueError:
            return " ".join(wanted[number:number + 6])
    return ""


@pytest.mark.long
@needs_sphinx
def test_equations_are_typeset_and_keep_their_ascii_form(site):
    html = (site / "docs" / "api" / "layers.html").read_text(encoding="utf-8")
    assert "alttext=\"a'_ij = h . relu(W^T p_ij + b)\"" in html
    assert '<td class="remark">(Xiao et al. 2017, eq. 5)</td>' in html


@pytest.mark.long
@needs_sphinx
def test_everything_public_is_in_the_reference(site):
    from sphinx.util.inventory import InventoryFile
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    names = {name for kind in inventory.data if kind.startswith("py:") for name in inventory.data[kind]}
    for package in ("layers", "models", "explain", "plots", "tracing", "datasets"):
        module = importlib.import_module(f"minictr.{package}")
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                assert f"{module.__name__}.{name}" in names
    short = {name.rsplit(".", 1)[1] for name in names if "." in name}
    assert {name for name in minictr.__all__ if not inspect.ismodule(getattr(minictr, name))} <= short
    for name in vars_of_all_bases(minictr.Model):                 # predict, save and recommend are inherited
        assert f"minictr.models.Model.{name}" in names
    shown_with_model = {base.__name__ for base in minictr.Model.__mro__}
    for package in ("fields", "training", "estimator"):
        assert {name for name in defined_in(package) if not name.startswith("_")} <= short | shown_with_model, package


def vars_of_all_bases(cls):
    """The public methods and properties of a class and of what it inherits from."""
    return {name for base in cls.__mro__[:-1] for name, value in vars(base).items() if not name.startswith("_")
            and (inspect.isfunction(value) or isinstance(value, (property, classmethod)))}


def defined_in(package):
    """The classes and functions that the files of a package define."""
    folder = importlib.import_module(f"minictr.{package}")
    modules = [importlib.import_module(f"{folder.__name__}.{info.name}")
               for info in pkgutil.iter_modules(folder.__path__)]
    return {name for module in modules for name, value in vars(module).items()
            if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.__name__}


@pytest.mark.long
@needs_sphinx
def test_notebooks_are_there_with_outputs_and_folded_solutions(site):
    notebooks = sorted((ROOT / "tutorials").glob("*.ipynb"))
    for notebook in notebooks:
        html = (site / "tutorials" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert html.count("<details>") == notebook.read_text(encoding="utf-8").count("<details>")
        assert html.count("</details>") == html.count("<details")
        assert html.count('class="admonition hide above-input"') == notebook.read_text(encoding="utf-8").count(
            '"hide-input"')
        assert (site / "tutorials" / notebook.name).read_bytes() == notebook.read_bytes()
        assert f'<a href="{notebook.name}" download>' in html and f"jupyter lab tutorials/{notebook.name}" in html
        if '"image/png"' in notebook.read_text(encoding="utf-8"):
            assert "cell_output" in html and ".png" in html


@pytest.mark.long
@needs_sphinx
def test_the_search_knows_the_pages(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for word in ("README", "CONTRIBUTING", "docs/models/afm", "docs/api/layers", "interaction_effects"):
        assert word in index, word


def test_a_lost_word_would_be_noticed():
    assert not in_order(["a", "b", "d"], ["a", "b", "c", "d"])
    assert in_order(["a", "b", "c"], ["a", "c"]) == "b c"
    assert in_order(["a", "b"], ["b", "a"]) == "b"


def test_broken_pages_are_found(tmp_path):
    (tmp_path / "style.css").write_text("@import 'https://fonts.example.org/a.css';")
    (tmp_path / "b.html").write_text("<p id='there'></p>")
    (tmp_path / "a.html").write_text(
        "<p id=one></p><p id=one></p><a href='b.html#there'></a><a href='#one'></a>\n<a href='c.html'></a>\n"
        "<a href='b.html#gone'></a>\n<script src='https://cdn.example.org/x.js'></script>\n<img src='gone.png'>\n"
        "<a href='https://exa mple'></a>\n<a href='https://example.org/fine'></a>\n<a href='javascript:x()'></a>")
    problems, external = links.check(tmp_path)
    assert [problem.split(": ", 1)[0] for problem in problems] == [
        "a.html:1", "a.html:4", "a.html:5", "a.html:2", "a.html:3", "a.html:8", "style.css", "a.html:6"]
    assert list(external) == ["https://exa mple", "https://example.org/fine"]


# ------------------------------------------------------------------------------------------------ model cards

def card_text(card):
    return (DOCS / "models" / f"{card}.md").read_text(encoding="utf-8")


@every_card
def test_every_model_has_its_card_and_its_row(card):
    """Equation, paper and file; the tables are in the order in which models grow."""
    cls = CARDS[card]
    assert cls.paper.link in card_text(card)
    assert f"]({card}.md)" in (DOCS / "models" / "README.md").read_text(encoding="utf-8")
    rows = (ROOT / "README.md").read_text(encoding="utf-8").split("## The models")[1].split("\n## ")[0]
    [row] = re.findall(rf"^\| `{cls.__name__}`.*$", rows, re.M)
    file = Path(inspect.getfile(cls)).relative_to(ROOT).as_posix()
    assert f"({file})" in row and cls.paper.link in row


@every_card
def test_the_code_of_a_card_runs(card, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", card_text(card), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, card, "exec"), {"__name__": "example"})


@every_card
def test_cards_have_the_same_headings(card):
    assert re.findall(r"^## (.*)$", card_text(card), re.M) == [
        "What it is", "Picture", "Parameters to train", "Cost per row", "What it can and cannot see", "When to use it",
        "Settings that matter", "Paper against code", "Measured", "Explanations", "Tutorials"]


@every_card
def test_the_settings_of_a_card_are_the_models(card):
    defaults = {field.name: field.default for field in dataclasses.fields(CARDS[card])}
    section = card_text(card).split("## Settings that matter")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.M)
    assert rows
    assert {name: shown for name, shown in rows} == {name: str(defaults[name]) for name, _ in rows}


@every_card
def test_the_speed_of_a_card_is_the_readmes(card):
    lines = re.findall(r"^\|.*\|$", (ROOT / "README.md").read_text(encoding="utf-8").split("## How fast")[1], re.M)
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:8]]
    column = {"fm": 1, "afm": 2, "deepfm": 3, "autoint": 4}.get(card)
    if column is None:
        assert "PyTorch" not in card_text(card)
        return
    for row in [table[0], *table[2:]]:
        assert f"| {row[0]} | {row[column]} |".replace("|  |", "| |") in card_text(card), row[0]


def of_pairs(layer):
    """Each pair's W, h and share in the sum."""
    (_, P, k), network = layer.cache["pij"].shape, layer.params
    return P * (network["W"].size + network["h"].size + k)


def of_cin(layer):
    """Each layer's weighted sums of vectors, for each field; then these times the field's vector."""
    _, M, k = layer.cache["X_0"].shape
    return sum((W.size + M * len(W)) * k for W in layer.params.values())


def of_self_attention(layer):
    """Each field's projections; the scores and the weighted sum of each head."""
    (_, M, _), (_, H, _, d) = layer.cache["E"].shape, layer.cache["Q"].shape
    return M * sum(array.size for array in layer.params.values()) + 2 * M * M * H * d


MULTIPLICATIONS = {     # of a layer for one row, x = 1, from what its forward pass left behind
    layers.Embedding: lambda layer: 0, layers.Linear: lambda layer: 0, layers.FactorSum: lambda layer: 0,
    layers.Dropout: lambda layer: 0, layers.ReLU: lambda layer: 0,
    layers.Concatenate: lambda layer: 0, layers.FirstOrderTerms: lambda layer: 0,
    layers.MLP: lambda layer: 0,                                  # its parts are layers themselves
    layers.FMPooling: lambda layer: layer.cache["E"].size + layer.cache["total"].size,        # squares
    layers.TriplePooling: lambda layer: 2 * layer.cache["E"].size + 3 * layer.cache["s1"].size,       # and cubes
    layers.InnerProducts: lambda layer: layer.cache["out"].size * layer.cache["E"].shape[2],
    layers.FieldAwareProducts: lambda layer: layer.cache["out"].size * layer.cache["E"].shape[3],
    layers.OuterProduct: lambda layer: layer.cache["f"].size ** 2,
    layers.CrossNetwork: lambda layer: 2 * layer.L * layer.cache["x_0"].size,     # w_l . x_l, times x_0
    layers.ResidualUnit: lambda layer: layer.params["W_1"].size + layer.params["W_2"].size, layers.CIN: of_cin,
    layers.PairProduct: lambda layer: len(field_pairs(layer.cache["E"].shape[1])[0]) * layer.cache["E"].shape[2],
    layers.AttentionPooling: of_pairs, layers.InteractingLayer: of_self_attention,
    layers.Dense: lambda layer: layer.params["W"].size,
    layers.Readout: lambda layer: layer.cache["x"].size,
}


def multiplications(model, M):
    """Of one row's forward pass; M fields, whose weighted first-order terms count only where there is nothing else."""
    model.forward(Slots(np.arange(M)[None], None, np.arange(M)))
    counts = [(name, layer, MULTIPLICATIONS.get(type(layer))) for name, layer in named_layers(model)]
    for name, layer, count in counts:
        assert count, f"say in MULTIPLICATIONS how many times a {type(layer).__name__} multiplies ({name})"
    return sum(count(layer) for _, layer, count in counts) or M


def test_a_layer_of_which_the_multiplications_are_not_known_is_named():
    model = build_layers(minictr.FM(), 200, 10, np.random.default_rng(0))
    model.pooling = type("NewPooling", (layers.FMPooling,), {})()
    with pytest.raises(AssertionError, match=r"how many times a NewPooling multiplies \(pooling\)"):
        multiplications(model, 10)


@every_card
def test_the_quality_on_a_card_is_that_of_the_long_runs(card):
    text = " ".join(card_text(card).split())
    for file, measures, before in (("ml-1m", ("AUC", "log loss"), ""), ("frappe-k256", ("RMSE",), "test ")):
        run = json.loads((ROOT / "tutorials" / "results" / f"{file}.json").read_text(encoding="utf-8"))
        mine = pd.DataFrame(run["results"]).query("model == @CARDS[@card].__name__")
        for measure in measures if len(mine) else ():
            assert f"{before}{measure} {mine[measure].mean():.4f} ± {mine[measure].std():.4f}" in text


@every_card
def test_the_cost_on_a_card_is_what_the_layers_multiply(card):
    settings = {"embedding_dim": 16} if hasattr(CARDS[card], "embedding_dim") else {}
    settings |= {"attention_dim": 64} if card == "afm" else {}    # as in the README's table of speed
    overview = (DOCS / "models" / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| \[.*\]\({card}\.md\) \|(.*)\|$", overview, re.M)[1].split("|")
    header = re.search(r"^\| model \|(.*)\|$", overview, re.M)[1].split("|")
    shown = dict(zip((title.strip() for title in header), (cell.strip() for cell in row), strict=True))
    for M, title in ((10, "multiplications, M = 10"), (39, "M = 39")):
        model = build_layers(CARDS[card](dtype=np.float32, **settings), 200, M, np.random.default_rng(0))
        count = f"{multiplications(model, M):,}"
        assert shown[title] == count
        assert card == "lr" or re.search(rf"(?<![\d,]){count}(?![\d,])", card_text(card))


@every_card
def test_the_number_of_parameters_in_the_overview_is_that_of_the_card(card):
    overview = (DOCS / "models" / "README.md").read_text(encoding="utf-8")
    numbers = re.search(rf"^\| \[.*\]\({card}\.md\) \|(.*)\|$", overview, re.M)[1].split("|")
    clicks = minictr.datasets.make_clicks(20_000, seed=0)
    settings = {"fm_epochs": 0} if card == "fnn" else {}
    model = CARDS[card](**settings).prepare(clicks.X, clicks.y)
    count = f"{sum(array.size for array in parameters(model).values()):,}"
    assert count in [number.strip() for number in numbers] and f"**{count}**" in card_text(card)


@every_card
def test_the_picture_of_a_card_shows_the_model_as_it_is(card):
    from PIL import Image
    with Image.open(DOCS / "models" / "pictures" / f"{card}.png") as image:
        assert image.info["Description"] == pictures.description(pictures.step_of(card)), (
            "run: python docs/build.py --pictures")
    assert f"pictures/{card}.png" in card_text(card)
