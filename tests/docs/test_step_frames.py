"""The sentences of the notebooks that say how to make the page of a step become the page itself on the site."""

import doctest
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

pytestmark = pytest.mark.skipif(not find_spec("docutils"), reason="docutils is not installed")


def page_of(*paragraphs, format="html", docname="tutorials/04_afm"):
    """What becomes of paragraphs: pairs of stressed words and what follows, in which code stands in quotes."""
    import step_frames
    from docutils import frontend, nodes, utils
    document = utils.new_document("page", frontend.get_default_settings())
    for stressed, text in paragraphs:
        before, code, after = text.split("`")
        document += nodes.paragraph("", "", nodes.Text(""), nodes.strong("", stressed), nodes.Text(before),
                                    nodes.literal("", code), nodes.Text(after))
    step_frames.put_frames(SimpleNamespace(builder=SimpleNamespace(format=format)), document, docname)
    return document.children


SAID = ("To touch", ": a page. `minictr trace --model afm --out steps` writes it.")


def test_the_page_stands_in_the_place_of_the_sentence():
    [frame, other] = page_of(SAID, ("Touch", " `minictr trace --model afm --out steps` does it"))
    html = frame.astext()
    assert '<iframe src="../steps/afm.html" title="One training step of AFM" loading="lazy">' in html
    assert '<a href="../steps/afm.html">' in html and "minictr trace --model afm --out steps" in html
    assert other.astext().startswith("Touch")


def test_pages_of_other_depths_and_formats():
    [frame] = page_of(SAID, docname="docs/api/tracing")
    assert 'src="../../steps/afm.html"' in frame.astext()
    [paragraph] = page_of(SAID, format="latex")
    assert paragraph.astext().startswith("To touch")


def test_a_model_that_is_none_is_an_error():
    with pytest.raises(KeyError, match="svm"):
        page_of(("To touch", ": `minictr trace --model svm --out steps` writes it."))


def test_its_examples_run():
    import step_frames
    assert doctest.testmod(step_frames).failed == 0


def test_the_notebooks_name_models_whose_pages_the_site_always_has():
    import step_frames
    import steps
    said = {}
    for path in sorted((DOCS.parent / "tutorials").glob("*.py")):
        for paragraph in path.read_text(encoding="utf-8").split("\n#\n"):
            if "**To touch**" in paragraph:
                said[path.name[:2]] = step_frames.COMMAND.search(" ".join(paragraph.replace("\n#", "").split()))[1]
    assert said == {"02": "fm", "03": "fm", "04": "afm", "06": "autoint", "07": "deepfm"}
    assert set(said.values()) <= set(steps.FIRST)
    assert "`minictr trace --model afm --out steps`" in (DOCS / "index.md").read_text(encoding="utf-8")
