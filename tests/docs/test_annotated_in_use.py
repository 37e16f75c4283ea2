"""The pages of source with notes in a browser, used as a person does: by pointing, with keys, on a phone, in print.

Skipped where no Chromium is installed.
"""

import re
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import browser

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

MISSING = [name for name in ("docutils", "pygments", "latex2mathml", "ziamath") if not find_spec(name)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no page was made: {', '.join(MISSING)} not installed")
NOT_FOR_THE_SITE = [name for name in ("sphinx", "myst_nb", "furo", "latex2mathml", "ziamath") if not find_spec(name)]
STYLES = "minictr.css", "annotated.css"
ATTENTION = ROOT / "minictr" / "layers" / "attention_pooling.py"
# The page on its own has the site's own styles, and of its theme the names that these refer to.
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>source</title>
<link rel="stylesheet" href="minictr.css"><link rel="stylesheet" href="annotated.css"><style>
:root {{ --color-background-primary: white; --color-foreground-primary: black; --color-link: blue; }}
article {{ padding: 0 1em; font-family: sans-serif; }}</style></head><body><article>{body}</article></body></html>"""
WIDE = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
LIT = """[...document.querySelectorAll(".line")].filter(line => getComputedStyle(line).boxShadow != "none")
    .map(line => +line.id.slice(1))"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that makes the page of a file, by its name."""
    import annotated
    import fonts
    import traced

    folder, numbers = tmp_path_factory.mktemp("pages"), traced.traced_lines()
    paths = {"-".join(path.relative_to(ROOT / "minictr").with_suffix("").parts): path
             for path in annotated.annotated_paths()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)       # ziamath's, which has the font
        fonts.write_math_font(folder / "math.woff")
    for style in STYLES:
        shutil.copy(ROOT / "docs" / "_static" / style, folder)

    def made(name):
        page = folder / f"{name}.html"
        if not page.exists():
            page.write_text(PAGE.format(body=annotated.page_body(paths[name], numbers)), encoding="utf-8")
        return page

    made.names = list(paths)
    return made


@pytest.fixture
def page(chromium, made):
    """The page of AFM's attention, freshly opened, with the mouse away from its lines."""
    chromium.events.clear()
    chromium.open(made("layers-attention_pooling"), width=1300)
    point(chromium, "h1")
    return chromium


def point(page, selector):
    """Move the mouse to where an element is."""
    x, y = page.value(f"""(() => {{const element = document.querySelector({selector!r});
        element.scrollIntoView({{block: "center", behavior: "instant"}});
        const box = element.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]}})()""")
    page.tell("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.settle()


def line_of(start):
    """The line of AFM's attention that begins so."""
    [line] = [at for at, line in enumerate(ATTENTION.read_text(encoding="utf-8").splitlines(), 1)
              if line.strip().startswith(start)]
    return line


Z, DB, DW, SCORE = map(line_of, ("z = pij @ W", 'self.grads["b"]', 'self.grads["W"]', "dpij_score = "))


def test_it_opens_without_a_complaint_and_has_no_script(page, made):
    assert page.complaints() == []
    assert page.loaded() == [made("layers-attention_pooling").with_name(name).as_uri()
                             for name in ("layers-attention_pooling.html", *STYLES, "math.woff")]
    assert page.value("document.scripts.length") == 0


def test_pointing_at_a_line_of_backward_lights_up_the_line_that_it_inverts(page):
    assert page.value(LIT) == []
    point(page, f"#L{DW}")
    assert page.value(LIT) == [Z, DW]
    colours = page.value(f"[{Z}, {DW}].map(at => getComputedStyle(document.querySelector('#L' + at)).backgroundColor)")
    assert len({*colours, page.value(f"getComputedStyle(document.querySelector('#L{DB}')).backgroundColor")}) == 3
    point(page, "h1")
    assert page.value(LIT) == []


def test_pointing_at_a_line_of_forward_lights_up_all_that_invert_it(page):
    point(page, f"#L{Z}")
    assert page.value(LIT) == [Z, DB, DW, SCORE]
    point(page, f".block:has(#L{SCORE}) .note")                   # at the note just as well
    assert page.value(LIT) == [Z, SCORE]


def test_with_keys(page):
    page.value(f"document.querySelector('#L{DB} .number').focus()")
    assert page.value(LIT) == [Z, DB]
    while page.value("document.activeElement.className") != "number" or page.value(LIT) == [Z, DB]:
        page.press("Tab")                                         # past the shape to the next line
    assert page.value(LIT) == [Z, DW]
    page.press("Enter")
    assert page.value("location.hash") == f"#L{DW}"


def test_a_link_leads_to_the_other_line_and_keeps_both_lit(page):
    page.click(f".block:has(#L{DW}) .partners a")
    point(page, "h1")
    assert page.value("location.hash") == f"#L{Z}"
    assert page.value(LIT) == [Z, DB, DW, SCORE]
    page.click(f".block:has(#L{Z}) .partners a:nth-of-type(2)")
    point(page, "h1")
    assert page.value("location.hash") == f"#L{DW}" and page.value(LIT) == [Z, DW]


def test_a_link_from_elsewhere_to_a_line_and_into_a_docstring(page, made):
    page.go("Page.navigate", url="about:blank")
    page.go("Page.navigate", url=f"{made('layers-attention_pooling').as_uri()}#L{DW}")
    assert page.value(LIT) == [Z, DW]
    assert 0 <= page.value(f"document.querySelector('#L{DW}').getBoundingClientRect().top") < 900
    page.go("Page.navigate", url="about:blank")
    page.go("Page.navigate", url=f"{made('layers-attention_pooling').as_uri()}#L{line_of('a_ij  = exp') + 1}")
    assert page.value("getComputedStyle(document.querySelector('.note:has(:target)')).boxShadow") != "none"


def test_a_shape_opens_to_its_numbers_by_mouse_and_keys(page):
    numbers = f"document.querySelector('.block:has(#L{Z}) .numbers').checkVisibility()"
    assert not page.value(numbers)
    page.click(f".block:has(#L{Z}) summary")
    assert page.value(numbers)
    assert page.value(f"document.querySelectorAll('.block:has(#L{Z}) td.n').length") == 2 * 3 * 2
    page.press("Enter")
    assert not page.value(numbers)


@pytest.mark.parametrize("width, pages", [
    *((width, ["layers-attention_pooling", "layers-base", "models-autoint"]) for width in (390, 1300)),
    *(pytest.param(width, None, marks=pytest.mark.long) for width in (390, 768, 1300, 1920))])
def test_no_line_is_cut_off_and_what_scrolls_can_be_reached_by_keys(chromium, made, width, pages):
    for name in pages or made.names:
        chromium.open(made(name), width=width)
        chromium.value("document.querySelectorAll('details').forEach(numbers => numbers.open = true)")
        assert chromium.value(WIDE), name
        assert chromium.value("""[...document.querySelectorAll(".code, .line, .number")]
            .filter(part => part.scrollWidth > part.clientWidth + 1 && part.clientWidth).map(part => part.textContent)
            """) == [], name
        assert chromium.value("""[...document.querySelectorAll(".annotated *")]
            .filter(box => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX != "visible"
                    && !box.classList.contains("screen-reader") && box.tabIndex != 0)
            .map(box => box.outerHTML.slice(0, 300))""") == [], name


BOXES = """[...document.querySelectorAll(".of-statement")].map(block => [".note", ".lines", ".shape"]
    .map(part => block.querySelector(part)?.getBoundingClientRect() ?? null)
    .map(box => box && [box.left, box.top, box.right, box.bottom]))"""


def test_notes_stand_left_of_their_lines_and_above_them_on_a_phone(chromium, made):
    for width in (1300, 390):
        chromium.open(made("layers-attention_pooling"), width=width)
        blocks = chromium.value(BOXES)
        assert len(blocks) > 20 and sum(note is not None and shape is not None for note, _, shape in blocks) > 14
        for note, lines, shape in blocks:
            if note:
                assert note[2] <= lines[0] and abs(note[1] - lines[1]) < 3 if width > 390 else note[3] <= lines[1]
            if shape:
                assert shape[0] >= lines[2] if width > 390 else shape[1] >= lines[3]


def test_names_for_a_screen_reader(page):
    tree = page.tell("Accessibility.getFullAXTree")["nodes"]
    found = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if not node["ignored"]}
    assert ("link", f"line {DW}") in found
    assert ("DisclosureTriangle", "(B, P, t) : numbers") in found
    assert "inverted by line" in page.value(f"document.querySelector('.block:has(#L{Z}) .partners').textContent")


def test_in_print_the_notes_stand_beside_the_code(page):
    page.tell("Emulation.setEmulatedMedia", media="print")
    page.tell("Emulation.setDeviceMetricsOverride", width=1000, height=1400, deviceScaleFactor=1, mobile=False)
    assert page.value(WIDE) and all(note is None or note[2] <= lines[0] for note, lines, _ in page.value(BOXES))
    pdf = page.printed()
    assert pdf.startswith(b"%PDF") and 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 6


# ---- within the site -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site with one page of the reference, and all pages of source."""
    out, cache = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("cache")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-c", ROOT / "docs", "-d", cache, "-q", "-E",
               "-D", "root_doc=docs/api/tracing", "-D", "include_patterns=docs/api/tracing.rst", ROOT, out]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return out / "source" / "minictr"


PAGES = ("layers/attention_pooling", "layers/self_attention", "layers/dense", "models/afm", "optim", "training/step")
# contrast of each piece of code that is lit with what lies behind it, by the formula of WCAG
CONTRAST = """(() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
                            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3) };
    const light = colour => { const [r, g, b] = rgb(colour).map(part => part / 255)
        .map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b };
    return [...document.querySelectorAll(".line")].filter(line => getComputedStyle(line).boxShadow != "none")
        .flatMap(line => [...line.querySelectorAll(".code, .code span")].filter(part => part.textContent.trim())
            .map(part => { const one = light(getComputedStyle(part).color);
                           const two = light(getComputedStyle(line).backgroundColor);
                           return (Math.max(one, two) + .05) / (Math.min(one, two) + .05) })) })()"""


@pytest.mark.long
@pytest.mark.skipif(bool(NOT_FOR_THE_SITE), reason=f"the site was not built: {', '.join(NOT_FOR_THE_SITE)} missing")
def test_in_the_site_pages_fit_and_lit_lines_can_be_read(chromium, site):
    for width in (390, 1300):
        for dark in (False, True):
            for name in PAGES:
                chromium.open(site / f"{name}.html", width=width, dark=dark)
                assert chromium.value(WIDE), (name, width)
            chromium.open(site / "layers" / "attention_pooling.html", width=width, dark=dark)
            background = chromium.value("getComputedStyle(document.body).backgroundColor")
            assert (background != "rgb(255, 255, 255)") == dark
            chromium.value(f"location.hash = '#L{DW}'")
            chromium.settle()
            contrast = chromium.value(CONTRAST)
            assert len(contrast) > 10 and min(contrast) >= 4.5, (width, dark, min(contrast))
