"""The ready pages of one training step: small, the same each time, all of them on their list, and part of the site."""

import re
import sys
import types
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import steps  # noqa: E402

MISSING = [name for name in ("sphinx", "myst_nb", "latex2mathml", "ziamath") if not find_spec(name)]


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name == "href"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, sizes) of the pages, of which one model's training is enough here; all of them in the long test."""
    return write(tmp_path_factory, {"fm": steps.MODELS["fm"], "lr": steps.MODELS["lr"]}, ("fm",))


def write(tmp_path_factory, models, first):
    folder = tmp_path_factory.mktemp("steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "MODELS", models)
        patch.setattr(steps, "FIRST", first)
        return folder, steps.write_all(folder)


def test_pages_are_written_and_listed(written):
    folder, sizes = written
    assert {path.name for path in folder.iterdir()} == {"fm.html", "lr.html"}
    assert sizes == {name: (folder / f"{name}.html").stat().st_size for name in ("fm", "lr")}
    listed = steps.index(sizes)
    assert Links(listed).found == ["fm.html", "lr.html"]
    for word in ("FM", "LR", f"{sizes['fm'] / 1000:.0f} kB", "minictr trace --model afm"):
        assert word in listed


def test_a_page_is_the_same_each_time(written):
    folder, _ = written
    assert (folder / "fm.html").read_text(encoding="utf-8") == steps.step_page("fm")


def test_a_page_that_is_too_large_is_left_out(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(steps, "LARGEST", 1_000)
    folder, sizes = write(tmp_path_factory, {"lr": steps.MODELS["lr"], "fm": steps.MODELS["fm"]}, ("fm",))
    assert list(sizes) == ["fm"] and [path.name for path in folder.iterdir()] == ["fm.html"]


@pytest.mark.long
def test_all_models_have_a_page_below_300_kb(tmp_path_factory):
    _, sizes = write(tmp_path_factory, steps.MODELS, steps.FIRST)
    assert set(sizes) == set(steps.MODELS)
    assert max(sizes.values()) < steps.LARGEST


@pytest.mark.skipif(bool(MISSING), reason=f"the site's extension needs {', '.join(MISSING)}, which is not installed")
def test_the_sites_build_writes_them(tmp_path, monkeypatch):
    import minictr_site
    monkeypatch.setattr(steps, "MODELS", {"fm": steps.MODELS["fm"]})
    monkeypatch.setattr(steps, "FIRST", ("fm",))
    app = types.SimpleNamespace(outdir=tmp_path, builder=types.SimpleNamespace(format="html"))
    [(page, context, template)] = minictr_site.collect_step_pages(app)
    assert (page, template) == ("steps/index", "page.html") and (tmp_path / "steps" / "fm.html").is_file()
    assert re.search(r'<a href="fm\.html">FM</a>', context["body"])
    connected = []
    calls = types.SimpleNamespace(**{name: lambda *args, **kwargs: None for name in (
        "add_config_value", "add_html_math_renderer", "add_role", "add_directive")},
        connect=lambda event, function: connected.append((event, function)))
    minictr_site.setup(calls)
    assert ("html-collect-pages", minictr_site.collect_step_pages) in connected
