"""The page of ``minictr explain`` in a browser, used as a person does: with the mouse, with keys, on a phone, in print.

Skipped where no Chromium is installed.
"""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from browser import browser

from minictr import FM, AutoInt, datasets, explain
from minictr.app.report import write_report

EVIL = "<script>document.title = 'run'</script>"
SHOWN = """[...document.querySelectorAll(".panel")].filter(panel => panel.checkVisibility({contentVisibilityAuto: true})
    && !panel.hasAttribute("hidden")).map(panel => panel.id)"""
FOCUS = "document.activeElement.getAttribute('href') ?? document.activeElement.id"
WIDE = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of an FM and an AutoInt, and the FM with its rows."""
    folder = tmp_path_factory.mktemp("pages")
    clicks = datasets.make_clicks(2_000, seed=0)
    X = clicks.X.drop(columns="interests")
    for model in (FM(epochs=2), AutoInt(epochs=1, num_layers=1)):
        model.fit(X, clicks.y)
        write_report(model, X, clicks.y, folder / f"{type(model).__name__}.html", rows=[7])
    return folder, FM(epochs=2).fit(X, clicks.y), X


@pytest.fixture
def page(chromium, pages):
    """The FM's page, freshly opened."""
    chromium.events.clear()
    chromium.open(pages[0] / "FM.html")
    return chromium


def strongest(model, X):
    """The fields' positions of the pair with the largest contribution."""
    table = explain.pair_importance(model, X, purified=True)
    pair = table.loc[table["value"].idxmax()]
    names = list(model.feature_names_in_)
    return names.index(pair["field_i"]), names.index(pair["field_j"])


# ---- as it opens --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["FM", "AutoInt"])
def test_it_opens_without_a_complaint_and_loads_nothing(chromium, pages, name):
    chromium.events.clear()
    chromium.open(pages[0] / f"{name}.html")
    assert chromium.complaints() == []
    assert chromium.loaded() == [(pages[0] / f"{name}.html").as_uri()]
    assert chromium.value("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
    coloured = "getComputedStyle(document.querySelector('.map td.l9')).backgroundColor"
    assert chromium.value(coloured).startswith("color(srgb")


def test_of_each_group_one_article_is_shown(page, pages):
    i, j = strongest(*pages[1:])
    assert page.value(SHOWN) == ["map-contribution", f"pair-{i}-{j}", "row-7"]


def test_names_of_roles_and_headings_are_there_for_a_screen_reader(page):
    tree = page.tell("Accessibility.getFullAXTree")["nodes"]
    found = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if not node["ignored"]}
    for role, name in (("navigation", "Sections"), ("region", "map of the contribution of pairs of fields"),
                       ("region", "fields and pairs"), ("columnheader", "rows alike"), ("rowheader", "ad_category"),
                       ("article", "Row 7, as asked for"), ("heading", "In short")):
        assert any(role == its_role and str(its_name).startswith(name) for its_role, its_name in found), (role, name)
    levels = page.value("[...document.querySelectorAll('h1, h2, h3, h4')].map(head => +head.tagName[1])")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))


# ---- the map ------------------------------------------------------------------------------------------------

def test_a_click_on_a_cell_opens_its_table_of_values(page, pages):
    _, model, X = pages
    page.click("table.pairs a[href='#pair-1-2']")                 # hour, device
    shown = page.value(SHOWN)
    assert "pair-1-2" in shown and sum(name.startswith(("pair", "field")) for name in shown) == 1
    assert page.value(FOCUS) == "pair-1-2-head"
    assert page.value("document.querySelector('#pair-1-2 h3').getBoundingClientRect().top") < 200
    assert page.value("document.querySelector('[role=status]').textContent") == "hour × device is shown."
    current = "[...document.querySelectorAll('table.pairs a[aria-current=true]')].map(link => link.hash)"
    assert page.value(current) == ["#pair-1-2"]
    table = explain.pair_values(model, X, "hour", "device")
    cell = table[(table["value_i"] == "9") & (table["value_j"] == "phone")].iloc[0]
    number, rows = page.value("""(() => {
        const table = document.querySelector("#pair-1-2 .values"), heads = [...table.tHead.rows[0].cells];
        const row = [...table.tBodies[0].rows].find(row => row.cells[0].textContent === "9");
        const cell = row.cells[heads.findIndex(head => head.textContent === "phone")];
        return [cell.querySelector("b").textContent, cell.querySelector("small").textContent]})()""")
    assert float(number) == pytest.approx(cell["term"], abs=0.006) and int(rows) == cell["rows"]
    page.value("history.back()")
    page.settle()
    assert "pair-1-2" not in page.value(SHOWN)
    page.click("table.pairs a[href='#field-3']")                  # the diagonal
    assert "field-3" in page.value(SHOWN)


def test_keys_reach_every_cell_open_it_and_come_back(page, pages):
    page.value("document.querySelector('#pairs').scrollIntoView(), document.querySelector('table.pairs a').focus()")
    page.press("ArrowDown", "ArrowDown", "ArrowRight")
    assert page.value(FOCUS) == "#pair-1-2"
    page.press("Enter")
    assert "pair-1-2" in page.value(SHOWN) and page.value(FOCUS) == "pair-1-2-head"
    page.press("Escape")
    assert page.value(FOCUS) == "#pair-1-2"
    page.press("ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft")        # not beyond the edges
    assert page.value(FOCUS) == "#pair-0-1"
    reached = page.value("[...document.querySelectorAll('table.pairs a')].filter(link => link.tabIndex === 0).length")
    assert reached == 1
    page.press("Tab")
    assert not page.value("document.activeElement.closest('table.pairs')")


def test_tab_enters_the_map_at_the_cell_that_is_shown(page, pages):
    i, j = strongest(*pages[1:])
    reached = """[...document.querySelectorAll("table.pairs a")].filter(link => link.tabIndex === 0)
        .map(link => link.hash)"""
    assert page.value(reached) == [f"#pair-{i}-{j}"]
    page.click("#list a[href='#pair-1-2']")
    assert page.value(reached) == ["#pair-1-2"]
    page.click("#pair-1-2 .back a[href='#list']")
    assert page.value("location.hash") == "#list"


def test_an_address_leads_to_an_article(page):
    page.value("location.hash = '#pair-0-4'")
    page.go("Page.reload")
    assert page.value("location.hash") == "#pair-0-4" and "pair-0-4" in page.value(SHOWN)


# ---- the list and the rows ----------------------------------------------------------------------------------

def test_the_list_sorts_filters_and_says_so(page):
    names = """[...document.querySelectorAll("#list tbody tr")].filter(row => !row.hidden)
        .map(row => row.cells[0].textContent)"""
    column = """[...document.querySelectorAll("#list tbody tr")].map(row => row.cells[1].textContent)"""
    sorts = "[...document.querySelectorAll('#list th[scope=col]')].map(head => head.getAttribute('aria-sort'))"
    assert page.value(sorts)[:4] == [None, "descending", None, None] and len(page.value(names)) == 28
    before = page.value(column)
    assert [float(text) for text in before] == sorted(map(float, before), reverse=True)
    page.click("#list th:nth-child(2) button")
    assert page.value(column) == before[::-1] and page.value(sorts)[1] == "ascending"
    assert page.value("document.querySelector('[role=status]').textContent") == "Sorted by contribution, ascending."
    page.value("document.querySelector('#list th button').focus()")
    page.press("Enter")
    assert page.value(names) == sorted(page.value(names)) and page.value(sorts)[:3] == ["ascending", None, None]
    page.value("document.querySelector('#list input').focus()")
    page.press(*"USER dev")
    assert page.value(names) == ["user_segment × device"]
    assert page.value("document.querySelector('[role=status]').textContent") == "1 of 28"
    page.click("#list tbody tr:not([hidden]) a")
    assert "pair-0-2" in page.value(SHOWN)


def test_a_row_is_chosen_and_its_bars_add_up(page, pages):
    _, model, X = pages
    row = int(np.argmax(model.predict_proba(X)[:, 1]))
    page.click(f"#predictions a[href='#row-{row}']")
    assert f"row-{row}" in page.value(SHOWN) and "row-7" not in page.value(SHOWN)
    table = f"document.querySelector('#row-{row} table')"
    names = page.value(f"[...{table}.tBodies[0].rows].map(row => row.cells[0].textContent)")
    assert len(names) == 10 and (names[0], names[-1]) == ("the average", "the other 20 terms")
    reached = page.value(f"[...{table}.tBodies[0].rows].map(row => +row.cells[2].textContent)")
    assert reached[-1] == pytest.approx(model.predict_proba(X)[row, 1], abs=0.005)
    ends = page.value(f"""[...{table}.querySelectorAll("svg")].map(svg => {{
        const box = svg.querySelector("rect:not(.mark)");
        const [left, width] = ["x", "width"].map(name => +box.getAttribute(name));
        return box.classList.contains("up") ? [left, left + width] : [left + width, left]}})""")
    assert len(ends) == 9
    assert all(abs(start - end) < 0.5 for (_, end), (start, _) in itertools.pairwise(ends))


def test_rows_are_found_by_the_values_that_they_hold(page, pages):
    X = pages[2]
    numbers = [int(text.removeprefix("row ")) for text in page.value(
        "[...document.querySelectorAll('#predictions tbody')[0].rows].map(row => row.cells[0].textContent)")]
    page.value("document.querySelector('#predictions input').focus()")
    page.press(*"student")
    shown = page.value("[...document.querySelectorAll('#predictions tbody')[0].rows].filter(row => !row.hidden).length")
    assert 0 < shown == (X["user_segment"].iloc[numbers] == "student").sum() < len(numbers)


# ---- narrow, dark, printed, without script ------------------------------------------------------------------

@pytest.mark.parametrize("name", ["FM", "AutoInt"])
def test_a_phone_scrolls_in_one_direction(chromium, pages, name):
    chromium.open(pages[0] / f"{name}.html", width=390, height=800)
    assert chromium.value(WIDE)
    chromium.click("table.pairs a[href='#pair-1-5']")             # the widest: 24 hours, 60 advertisers
    assert chromium.value(WIDE) and "pair-1-5" in chromium.value(SHOWN)
    boxes = """[...document.querySelectorAll(".scroll")].filter(box => box.scrollWidth > box.clientWidth)
        .every(box => box.tabIndex === 0 || box.querySelector("a"))"""
    assert chromium.value(boxes), "what scrolls can be reached by keys"


@pytest.mark.parametrize("name", ["FM", "AutoInt"])
def test_on_a_phone_value_and_support_are_in_sight(chromium, pages, name):
    chromium.open(pages[0] / f"{name}.html", width=390, height=800)
    shown = "article[id^=pair-]:not([hidden])"
    for table, wanted in (("#list table", ["rows alike"]), (f"{shown} .values", ["rows"]),
                          (f"{shown} .scroll:last-of-type table", ["adds", "rows"]),
                          (".panel[id^=row]:not([hidden]) table", ["adds", "rows alike"]),
                          (".panel[id^=row]:not([hidden]) [aria-label^='what would'] table", ["across 0.5 with"])):
        ends = chromium.value(f"""Object.fromEntries([...document.querySelector({table!r}).tHead.rows[0].cells].map(
            head => [head.textContent, head.getBoundingClientRect().right]))""")
        assert all(ends[head] <= 390 for head in wanted), (table, ends)


def test_one_legend_has_the_colours_of_all_tables_of_values(page):
    colours = page.value("""Object.fromEntries([...document.querySelectorAll(".values, .legend")].map(table => [
        table.closest("[id]").id, [...table.querySelectorAll("td[class]:not(.margin)")].map(cell => [
            +(cell.querySelector("b") ?? cell).textContent, +(cell.querySelector("small")?.textContent ?? NaN),
            cell.className.match(/l(\\d)/)?.[1] ?? 0, cell.className.includes("few")])]))""")
    legend = colours.pop("legend")
    largest = max(abs(term) for cells in colours.values() for term, rows, *_ in cells if rows)
    assert max(term for term, *_ in legend) == pytest.approx(largest, abs=0.006)
    for term, rows, level, few in (cell for cells in colours.values() for cell in cells if cell[0] is not None):
        assert abs(int(level) - 9 * min(abs(term) / largest, 1) * rows / (rows + 20)) < 1.1 and few == (rows < 10)


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_on_every_colour(chromium, pages, dark):
    chromium.open(pages[0] / "FM.html", dark=dark)
    worst = chromium.value("""(() => {
        const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        const light = colour => {
            canvas.fillStyle = colour, canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(
                v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b};
        const paper = getComputedStyle(document.body).backgroundColor;
        return Math.min(...[...document.querySelectorAll("td, th, p, a, dd, dt, .map small")].map(element => {
            let ground = element, colour;
            while (ground && (colour = getComputedStyle(ground).backgroundColor) === "rgba(0, 0, 0, 0)")
                ground = ground.parentElement;
            const [a, b] = [light(getComputedStyle(element).color), light(ground ? colour : paper)];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)}))})()""")
    assert worst >= 4.5, "WCAG 2.1, 1.4.3"


def test_on_paper_the_strongest_pairs_and_all_else_are_there(page):
    everything = page.value("document.querySelectorAll('.panel').length")
    page.tell("Emulation.setEmulatedMedia", media="print")
    there = page.value("""[...document.querySelectorAll(".panel")].filter(
        panel => panel.getBoundingClientRect().height > 50).map(panel => panel.id)""")
    strongest = page.value("""[...document.querySelectorAll("#list a[href^='#pair-']")].map(
        link => link.hash.slice(1))""")
    assert len(there) == everything - 15 > 20
    assert [name for name in there if name.startswith("pair")] == strongest[:6]
    text = page.value("document.body.innerText")
    assert "the 6 strongest pairs; the page on a screen has those of 15 more" in text
    assert text.index("Nothing here is causal") < text.index("Map of fields and pairs")
    assert page.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    pdf = page.printed()
    assert pdf.startswith(b"%PDF") and 10 < len(re.findall(rb"/Type\s*/Page\b", pdf)) < 60


def test_without_script_nothing_is_missing(chromium, pages):
    chromium.open(pages[0] / "FM.html", script=False)
    snapshot = chromium.tell("DOMSnapshot.captureSnapshot", computedStyles=[])
    strings, document = snapshot["strings"], snapshot["documents"][0]
    displayed = set(document["layout"]["nodeIndex"])
    articles = [index for index, name in enumerate(document["nodes"]["nodeName"]) if strings[name] == "ARTICLE"]
    assert len(articles) > 35 and set(articles) <= displayed


# ---- many fields, odd values --------------------------------------------------------------------------------

def test_markup_and_long_texts_are_harmless(chromium, tmp_path):
    rng = np.random.default_rng(0)
    values = np.array([EVIL, "\"'>" + EVIL, "‮abc", "x" * 10_000, "y" * 5_000 + "1", "y" * 5_000 + "2"], dtype=object)
    names = [EVIL, "a b & \"c'", "z" * 3_000]
    X = pd.DataFrame({name: pd.Series(rng.permutation(np.resize(values, 120)), dtype=object) for name in names})
    model = FM(epochs=1).fit(X, rng.integers(0, 2, 120))
    path = write_report(model, X, path=tmp_path / "page.html", model_name=EVIL, table_name=EVIL)
    assert path.stat().st_size < 500_000
    chromium.events.clear()
    chromium.open(path, width=390, height=800)
    assert chromium.complaints() == [] and chromium.value("document.title") == f"FM: {EVIL}"
    chromium.click("table.pairs a[href='#pair-0-1']")
    assert "pair-0-1" in chromium.value(SHOWN) and chromium.value(WIDE)
    assert chromium.value("document.querySelectorAll('script').length") == 1


@pytest.mark.long
def test_200_fields_are_bounded(chromium, tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({f"a field with a name, number {i}": rng.integers(0, 30, 300).astype(str) for i in range(200)})
    model = FM(epochs=1, embedding_dim=2).fit(X, rng.integers(0, 2, 300))
    path = write_report(model, X, path=tmp_path / "page.html")
    assert path.stat().st_size < 1_000_000
    chromium.events.clear()
    chromium.open(path, width=390, height=800)
    assert chromium.complaints() == [] and chromium.value(WIDE)
    text = chromium.value("document.body.innerText")
    assert "There are 200 fields: a map shows the 24 of the strongest pairs." in text
    assert re.search(r"Tables of values are here of the \d+ strongest of 19,900 pairs, and of 24 of 200 fields", text)
    assert "All fields, and the first 300 of 19,900 pairs" in text
