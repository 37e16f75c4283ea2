"""The page of one training step in a browser, used as a person does: pointing, changing numbers, going through epochs.

Skipped where no Chromium is installed, but for what needs none.
"""

import copy
import json
import re

import numpy as np
import pytest
from browser import browser

from minictr import AFM, FM, AutoInt, DeepFM, StepOverEpochs, datasets, trace
from minictr.layers import parameters
from minictr.tracing.step_page import json_text, known_operations, page_html

FIELDS = ["user_segment", "ad_category", "device", "hour"]
MODELS = {"FM": FM(embedding_dim=3), "AFM": AFM(embedding_dim=3, attention_dim=2),
          "AutoInt": AutoInt(embedding_dim=3, attention_dim=2, num_heads=2, num_layers=1),
          "DeepFM": DeepFM(embedding_dim=2, deep_layers=(3,))}
EVIL = "<script>document.title = 'run'</script>"
WIDE = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
SAID = "document.querySelector('.sum').textContent"


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A page of each model, with three epochs: its file, the model after each epoch, and the rows."""
    clicks = datasets.make_clicks(300, seed=0)
    X, y, pages = clicks.X[FIELDS], clicks.y, {}
    for name, settings in MODELS.items():
        model = type(settings)(**{**settings.get_params(), "epochs": 3, "dtype": "float64", "learning_rate": 0.05})
        watch, epochs = StepOverEpochs(X[:2], y[:2]), []

        def keep(model, line=None, watch=watch, epochs=epochs):
            watch(model, line)
            epochs.append(copy.deepcopy(model))

        keep(model.prepare(X, y))
        model.fit(X, y, after_epoch=keep)
        path = tmp_path_factory.mktemp(name) / "step.html"
        trace(model, X[:2], y[:2]).save_page(path, epochs=watch)
        pages[name] = path, epochs, X[:2], y[:2]
    return pages


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def open_page(chromium, traced):
    """Open the page of a model, and keep how to find a number on it."""
    def opened(name, **window):
        chromium.events.clear()
        chromium.open(traced[name][0], **window)
        return chromium
    return opened


def cell(page, symbol, phase, *place):
    """The number of a cell on the page: of an array, by its name in the code, at a place in it."""
    shape = page.value(f"arrays.find(a => a.symbol === '{symbol}' && a.phase === '{phase}').shape")
    start = page.value(f"first[arrays.findIndex(a => a.symbol === '{symbol}' && a.phase === '{phase}')]")
    return int(start + np.ravel_multi_index(place, shape)) if place else start


def middle(page, number):
    """Where a cell is, in the middle of the window."""
    return page.value(f"""(() => {{const td = boxes[{number}];
        td.closest("details")?.setAttribute("open", "");
        td.scrollIntoView({{block: "center", inline: "center", behavior: "instant"}});
        const box = td.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]}})()""")


def mouse(page, kind, x, y, **more):
    page.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)


def point(page, number):
    """Point at a cell with the mouse."""
    x, y = middle(page, number)
    mouse(page, "mouseMoved", x - 1, y)
    mouse(page, "mouseMoved", x, y)
    page.settle()


def click(page, number):
    x, y = middle(page, number)
    for kind in ("mousePressed", "mouseReleased"):
        mouse(page, kind, x, y, button="left", clickCount=1)
    page.settle()


def lit(page, kind="read"):
    """The cells that are lit up, as {symbol: [place, ...]}."""
    found = page.value(f"""boxes.flatMap((td, cell) => td.classList.contains("{kind}")
        ? [[arrays[arrayOf[cell]].symbol, cell - first[arrayOf[cell]], arrays[arrayOf[cell]].shape]] : [])""")
    places = {}
    for symbol, flat, shape in found:
        places.setdefault(symbol, []).append(tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ())
    return places


def values(page):
    """All arrays of the page: [(number of the trace's step, numbers)]."""
    return [(step, np.array(numbers, float)) for step, numbers in page.value(
        "arrays.map(array => [array.step, array.cells.map(node => values[node])])")]


def assert_equal(page, steps):
    """The page's numbers are those of NumPy's own step; of tables it has the rows that are looked up."""
    numbers, compared = {step.number: step.value for step in steps.steps}, 0
    for step, shown in values(page):
        if shown.size == numbers[step].size:
            np.testing.assert_allclose(shown, numbers[step].ravel(), rtol=1e-12,
                                       atol=1e-12 * np.abs(numbers[step]).max())
            compared += 1
    assert compared > 20


# ---- as it opens

@pytest.mark.parametrize("name", MODELS)
def test_it_opens_without_a_complaint_and_loads_nothing(open_page, traced, name):
    page = open_page(name)
    assert page.complaints() == []
    assert page.loaded() == [traced[name][0].as_uri()]
    coloured = "getComputedStyle(boxes.find(td => td.classList.contains('up'))).backgroundColor"
    assert page.value(coloured).startswith("color(")
    assert page.value(WIDE)
    assert traced[name][0].stat().st_size < 300_000


@pytest.mark.parametrize("name", MODELS)
def test_its_numbers_are_numpys_after_each_epoch(open_page, traced, name):
    page = open_page(name)
    _, epochs, X, y = traced[name]
    assert page.value("document.querySelector('.epochs output').textContent") == "after epoch 3"
    assert_equal(page, trace(epochs[-1], X, y))
    page.value("document.querySelector('.epochs input').focus()")
    for model, text in zip(reversed(epochs[:-1]), ("after epoch 2", "after epoch 1", "before training"), strict=True):
        page.press("ArrowLeft")
        assert page.value("document.querySelector('.epochs output').textContent") == text
        assert_equal(page, trace(model, X, y))


def test_every_number_can_be_read_aloud(open_page):
    page = open_page("AFM")
    page.value("document.querySelectorAll('details').forEach(details => details.open = true)")
    tree = page.tell("Accessibility.getFullAXTree")["nodes"]
    found = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]}
    cells = {name for role, name in found if role == "gridcell"}
    assert len([node for node in tree if node["role"]["value"] == "gridcell"]) == page.value("nodeOf.length")
    a = page.value(f"values[nodeOf[{cell(page, 'aij', 'forward', 0, 1)}]]")
    told = [name for name in cells if name.startswith("a_ij of attention, row 1, user_segment × device: ")]
    assert len(told) == 1 and float(told[0].partition(": ")[2]) == pytest.approx(a, rel=0.01)
    for role, name in (("grid", "p_ij of pairs, row 2"), ("region", "Forward and backward"), ("navigation", "Layers"),
                       ("slider", "Epoch"), ("heading", "One training step of AFM"), ("radio", "backward")):
        assert any(role == its_role and name in its_name for its_role, its_name in found), (role, name)


def test_numbers_in_few_signs(open_page):
    page = open_page("FM")
    numbers = {"0": "0", "-1": "−1", "12345": "12345", "0.1": ".10", "-0.0421": "−.042", "0.9996": "1.0",
               "3.14159": "3.1", "123.4": "123", "0.00095": "9.5e−4", "0.000999": ".0010", "-3.1e-17": "−3.1e−17",
               "1234567": "1.2e6", "1/0": "∞", "NaN": "not a number"}
    assert page.value("[2e-17, -3.14e-5, 0].map(inCell)") == ["≈ 0", "−3e−5", "0"]
    assert {number: page.value(f"short({number})") for number in numbers} == numbers


# ---- pointing

def test_a_weight_reads_the_scores_of_its_row_and_its_arithmetic_is_said(open_page):
    page = open_page("AFM")
    number = cell(page, "aij", "forward", 1, 2)
    point(page, number)
    assert lit(page) == {"s": [(1, pair) for pair in range(6)]}
    assert lit(page, "at") == {"aij": [(1, 2)]}
    said = page.value(SAID)
    scores = page.value(f"Array.from({{length: 6}}, (_, i) => values[nodeOf[{cell(page, 's', 'forward', 1, 0)} + i]])")
    own = page.value(f"short({scores[2]})")
    assert said.startswith(f"a_ij = exp({own} − max) / (exp(") and "… + exp(" in said
    weights = np.exp(scores) / np.exp(scores).sum()
    assert float(re.search(r"= ([.\d]+) {3}with", said)[1]) == pytest.approx(weights[2], rel=0.01)
    assert f"max = {page.value(f'short({max(scores)})')}, the largest of 6" in said
    source = page.value("document.querySelector('.source').textContent")
    assert re.fullmatch(r"aij = softmax\(s, axis=1\) minictr/layers/attention_pooling.py:\d+ Xiao et al. 2017, eq. 5",
                        source)
    assert page.value("document.querySelector('.map .lit').textContent") == "attention"
    assert page.value("document.querySelector('[role=status]').contains(document.querySelector('.source'))")


def test_a_gradient_of_two_uses_reads_both(open_page):
    page = open_page("AFM")
    point(page, cell(page, "dpij", "backward", 0, 3, 1))
    assert lit(page) == {"dpij_pool": [(0, 3, 1)], "dpij_score": [(0, 3, 1)]}
    assert page.value("document.querySelector('.words').textContent") == (
        "p_ij is used twice on the way forward, so two gradients come back, dpij_pool and dpij_score: they are added.")


def test_a_key_reads_the_column_of_the_scores_gradient(open_page):
    page = open_page("AutoInt")
    point(page, cell(page, "dK", "backward", 1, 0, 2, 1))
    assert lit(page) == {"dS": [(1, 0, m, 2) for m in range(4)], "Q": [(1, 0, m, 1) for m in range(4)]}
    point(page, cell(page, "dQ", "backward", 1, 0, 2, 1))
    assert lit(page) == {"dS": [(1, 0, 2, k) for k in range(4)], "K": [(1, 0, k, 1) for k in range(4)]}


def test_of_a_parameter_all_that_depends_on_it_lights_up(open_page):
    """As many as change when it does: ReLUs apart, which let nothing through where they are shut."""
    page = open_page("FM")
    number = cell(page, "V", "forward", 0, 1)
    point(page, number)
    found = lit(page, "reader")
    assert {"total", "pooled", "s", "row_losses", "L", "ds", "dE", "param"} <= set(found)
    lit_cells = set(page.value("boxes.flatMap((td, cell) => td.classList.contains('reader') ? [cell] : [])"))
    page.value(f"change({number}, values[nodeOf[{number}]] + .123)")
    changed = set(page.value("nodeOf.flatMap((_, cell) => isChanged(cell) ? [cell] : [])")) - {number}
    assert changed <= lit_cells and len(changed) > 0.9 * len(lit_cells)


def test_the_switch_lights_up_what_depends_on_a_number_in_the_middle(open_page):
    page = open_page("AFM")
    page.value("document.querySelector('input[value=readers]').closest('label').scrollIntoView()")
    page.click("input[value=readers] + span")
    point(page, cell(page, "s", "forward", 0, 0))
    found = lit(page, "reader")
    assert found["aij"] == [(0, pair) for pair in range(6)] and lit(page) == {} and "W" not in found
    assert found["L"] == [()]


@pytest.mark.parametrize("name", MODELS)
def test_the_example_buttons_show_what_they_say(open_page, name):
    page = open_page(name)
    for button in range(page.value("document.querySelectorAll('.tries button').length")):
        page = open_page(name)
        page.value(f"document.querySelectorAll('.tries button')[{button}].click()")
        page.settle()
        assert page.value("document.querySelectorAll('.at').length") == 1
        assert len(lit(page)) + len(lit(page, "reader")) > 0 and "=" in page.value(SAID)


def test_the_example_buttons_stay_and_bring_back_what_is_hidden(open_page):
    page = open_page("AFM")
    buttons = "[...document.querySelectorAll('.tries button')].filter(button => button.checkVisibility()).length"
    assert page.value(buttons) == 5
    point(page, cell(page, "aij", "forward", 0, 0))
    assert page.value(buttons) == 5
    page.click("input[value=backward] + span")
    page.click(".tries button")
    assert page.value(buttons) == 5 and lit(page, "at") == {"aij": [(0, 0)]}
    assert page.value("document.querySelector('td.at').checkVisibility()")


def test_a_number_typed_over_a_share_says_that_the_row_sums_to_something_else(open_page):
    page = open_page("AFM")
    words = "document.querySelector('.words').textContent"
    click(page, cell(page, "aij", "forward", 0, 1))
    assert page.value(words).endswith("Raise one score (a'_ij), and its share grows while all others shrink.")
    start = cell(page, "aij", "forward", 0, 0)
    page.press("1", "Enter")
    total = page.value(f"Array.from({{length: 6}}, (_, i) => values[nodeOf[{start} + i]]).reduce((a, b) => a + b)")
    assert total > 1.5
    told = (f"they sum to {page.value(f'short({total}, 3)')}, no longer to 1. "
            "To see all shares move, change a score a'_ij")
    assert "The number typed here now stands in the place of the softmax's" in page.value(words)
    assert told in page.value(words) and "shrink" not in page.value(words)
    point(page, start)
    click(page, start)
    assert "A number typed in this row" in page.value(words) and told in page.value(words)
    click(page, cell(page, "aij", "forward", 1, 0))
    assert "shrink" in page.value(words)


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def test_the_logit_and_the_loss_say_what_they_are_beside_y(open_page, traced):
    page = open_page("AFM")
    y = traced["AFM"][-1]
    words = "document.querySelector('.words').textContent"
    row = int(np.flatnonzero(y)[0]) if np.any(y) else 0
    number = page.value(f"first[logitArray] + {row}")
    page.value(f"show({number})")
    s = page.value(f"values[nodeOf[{number}]]")
    p = page.value(f"short({sigmoid(s)}, 3)")
    target, happened = (1, "it was clicked") if y[row] else (0, "it was not clicked")
    assert page.value(words) == (
        f"s is the logit of row {row + 1}: the model's terms, added up. sigmoid(s) = {p} is p, "
        f"the predicted chance of a click; y = {target}: {happened}.")
    said = page.value(SAID)
    assert "first_order = " in said and "out = " in said and said.count("·") == 3      # p . pooled, number by number
    lost = cell(page, "row_losses", "loss", row)
    click(page, lost)
    assert f"the predicted chance of a click. The loss is −log({'p' if target else '1 − p'}) = " in page.value(words)
    click(page, cell(page, "L", "loss"))
    assert page.value(words).startswith("The loss: the mean of the rows' losses.")
    click(page, number)
    page.press("3", "Enter")
    assert "sigmoid(s) = .953" in page.value(words) and "added up" not in page.value(words)


@pytest.mark.parametrize("name", MODELS)
def test_the_rows_stand_on_top_with_the_prediction_as_it_is_now(open_page, traced, name):
    page = open_page(name)
    _, epochs, X, y = traced[name]
    table = """[...document.querySelectorAll('.inputs tr')].map(row => [...row.cells].map(cell => cell.textContent))"""

    def expected(model):
        return [[f"row {b + 1}", *map(str, row), str(int(y[b])), page.value(f"short({p}, 3)")]
                for b, (row, p) in enumerate(zip(X.to_numpy(), model.predict_proba(X)[:, 1], strict=True))]

    head, *rows = page.value(table)
    assert head == ["", *FIELDS, "y", "p = sigmoid(s) now"] and rows == expected(epochs[-1])
    page.value("setEpoch(0)")
    assert page.value(table)[1:] == expected(epochs[0])
    click(page, page.value("first[logitArray]"))
    page.press("0", "Enter")
    assert page.value(table)[1][-1] == ".500"
    assert page.value("document.querySelector('.inputs').open")
    assert not open_page(name, width=390, height=844).value("document.querySelector('.inputs').open")


@pytest.mark.parametrize("name", MODELS)
def test_no_number_is_cut_and_they_are_counted_from_1(open_page, name):
    page = open_page(name)
    cut = """(() => {const range = document.createRange();
        document.querySelectorAll("details").forEach(part => {part.open = true});
        return [...document.querySelectorAll("td.cell span, .norm > span")].flatMap(span => {
            range.selectNodeContents(span);
            const wide = range.getBoundingClientRect().width > span.getBoundingClientRect().width + .1;
            return wide ? [span.textContent] : [];
        })})()"""
    assert page.value(cut) == []
    for value in ("-0.000123", "-123456", "1e9", "-0.00123"):
        page.value(f"boxes[0].firstChild.textContent = inCell({value})")
        page.value(f"cards[0].norm.lastChild.textContent = short(Math.abs({value}))")
        assert page.value(cut) == []
    number = page.value("first[arrays.findIndex(a => a.symbol === 'V' && a.phase === 'forward')]")
    assert page.value(f"nameOf({number})").endswith(", number 1")
    assert page.value(f"nameOf({number} + 1)").endswith(", number 2")


def test_how_many_numbers_changed_is_said_in_plain_words(open_page):
    page = open_page("FM")
    click(page, cell(page, "V", "forward", 0, 0))
    page.press("2", "Enter")
    assert re.match(r"\d+ of \d+ numbers changed\. The loss goes from ", page.value(
        "document.querySelector('.changes').textContent"))


def test_a_number_in_the_arithmetic_leads_to_its_cell(open_page):
    page = open_page("AFM")
    click(page, cell(page, "pooled", "forward", 0, 0))
    page.click(".sum .number[data-cell]")
    assert lit(page, "at") == {"aij": [(0, 0)]}


@pytest.mark.parametrize("size", [{"width": 1400, "height": 1000}, {"width": 390, "height": 844}])
def test_the_names_of_the_lines_stay_in_sight(open_page, size):
    """Of each pair's number the pair's name is in the same window, to its left; where there is room, in full."""
    page = open_page("AFM", **size)
    far = page.value("""nodeOf.flatMap((_, cell) => {
        const array = arrays[arrayOf[cell]], pairs = array.shape[1];
        if (axesOf(array)[1] !== "P" || array.phase === "update") return [];
        const line = Math.floor((cell - first[arrayOf[cell]]) / array.cells.length * B * pairs) % pairs;
        const here = boxes[cell].getBoundingClientRect();
        const heads = [...flow.querySelectorAll("th[scope=row]")].filter(th => th.title === array.labels[1][line])
            .map(th => th.getBoundingClientRect()).filter(head => Math.abs(head.y - here.y) < 3 && head.x < here.x);
        return [Math.min(...heads.map(head => here.right - head.x))];
    })""")
    assert max(far) < 0.75 * size["width"]
    shown = page.value("[...flow.querySelectorAll('th[scope=row]')].filter(th => th.title.includes(' × '))"
                       ".map(th => [th.title, th.textContent])")
    assert {title for title, text in shown if title == text} >= (
        {"user_segment × ad_category", "user_segment × device"} if size["width"] > 704 else {"device × hour"})
    rows = page.value("[...document.querySelectorAll('.flow .block')].map(block => block.dataset.row)")
    assert set(rows) == {"row 1", "row 2", " "} and rows.count("row 1") > 20


# ---- changing numbers

def changed_model(model, name, place, value):
    model = copy.deepcopy(model)
    parameters(model)[name][place] = value
    return model


@pytest.mark.parametrize("name, parameter, symbol, place", [
    ("AFM", "attention.W", "W", (0, 1)), ("AutoInt", "interacting_1.W_K", "W_K", (2, 3)),
    ("FM", "linear.w0", "w0", (0,)), ("DeepFM", "mlp.dense_1.W", "W", (0, 2))])
def test_a_number_typed_in_is_computed_with_as_numpy_does(open_page, traced, name, parameter, symbol, place):
    page = open_page(name)
    _, epochs, X, y = traced[name]
    click(page, cell(page, symbol, "forward", *place))
    page.press("-", "0", ".", "5", "Enter")
    assert page.value("document.activeElement.className").startswith("cell")
    assert_equal(page, trace(changed_model(epochs[-1], parameter, place, -0.5), X, y))
    count = page.value("document.querySelectorAll('td.changed').length")
    assert count > 10 and page.value("document.querySelector('.changes').textContent").startswith(f"{count} of ")
    page.click(".reset")
    assert_equal(page, trace(epochs[-1], X, y))
    assert page.value("document.querySelectorAll('td.changed, td.held').length") == 0


def test_a_score_dragged_to_the_right_grows_and_what_follows_is_computed_again(open_page):
    page = open_page("AFM")
    number = cell(page, "s", "forward", 0, 0)
    x, y = middle(page, number)
    before = dict(values(page))
    mouse(page, "mouseMoved", x, y)
    mouse(page, "mousePressed", x, y, button="left", clickCount=1)
    for far in (10, 40, 80):
        mouse(page, "mouseMoved", x + far, y, button="left")
    mouse(page, "mouseReleased", x + 80, y, button="left", clickCount=1)
    page.settle()
    after = dict(values(page))
    steps = {symbol: page.value(f"arrays.find(a => a.symbol === '{symbol}' && a.phase === 'forward').step")
             for symbol in ("s", "aij", "z", "pooled")}
    scores = after[steps["s"]][:6]
    assert scores[0] > before[steps["s"]][0] and np.array_equal(scores[1:], before[steps["s"]][1:6])
    np.testing.assert_allclose(after[steps["aij"]][:6], np.exp(scores) / np.exp(scores).sum(), rtol=1e-12)
    assert np.array_equal(after[steps["z"]], before[steps["z"]])
    assert not np.array_equal(after[steps["pooled"]], before[steps["pooled"]])
    assert "held there by you" in page.value(SAID)
    page.click(".reset")
    assert dict(values(page))[steps["aij"]][0] == before[steps["aij"]][0]


def test_the_slider_and_keys_with_alt_change_a_number(open_page):
    page = open_page("FM")
    number = cell(page, "V", "forward", 0, 0)
    value = f"values[nodeOf[{number}]]"
    before = page.value(value)
    click(page, number)
    page.value("document.querySelector('.editing input').focus()")
    page.press("ArrowRight")
    assert page.value(value) > before
    page.value(f"boxes[{number}].focus()")
    lower = page.value(value)
    page.tell("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown", code="ArrowDown", windowsVirtualKeyCode=40,
              modifiers=1)
    assert page.value(value) < lower
    page.click(".editing button")
    assert page.value(value) == before


@pytest.mark.parametrize("name, parameter, symbol", [("AFM", "attention.W", "W"), ("FM", "linear.w0", "w0")])
def test_the_update_shows_a_parameter_before_the_step_and_after(open_page, traced, name, parameter, symbol):
    page = open_page(name)
    steps = trace(traced[name][1][-1], *traced[name][2:])
    before = parameters(traced[name][1][-1])[parameter]
    after = next(step.value for step in reversed(steps.steps) if step.layer == parameter and step.symbol == "param")
    lines = f"""[...[...document.querySelectorAll(".update details")].find(part => part.firstChild.textContent
        === "{parameter}").querySelectorAll(".steps tbody tr")].map(row =>
            [...row.querySelectorAll("td")].map(td => td.textContent))"""
    shown = np.concatenate([np.atleast_2d(each) for each in (before, after - before, after)], axis=1)
    assert page.value(lines) == [[page.value(f"short({number!r}, 3)") for number in line] for line in shown.tolist()]
    click(page, page.value(f"first[arrays.findIndex(a => a.symbol === '{symbol}' && a.phase === 'forward')]"))
    page.press("5", "Enter")
    assert page.value(lines)[0][0] == "5"
    assert page.value("document.querySelector('.update h2').textContent") == (
        "update Adam, learning rate 0.05, beta1 0.9, beta2 0.999, eps 1e-08")


def test_what_is_held_stays_when_the_epoch_changes(open_page, traced):
    page = open_page("AFM")
    _, epochs, X, y = traced["AFM"]
    click(page, cell(page, "h", "forward", 1))
    page.press("2", "Enter")
    page.value("document.querySelector('.epochs input').focus()")
    page.press("ArrowLeft")
    assert_equal(page, trace(changed_model(epochs[-2], "attention.h", 1, 2.0), X, y))


# ---- epochs, switches, keys

def test_play_goes_through_the_epochs_and_pause_stops_it(open_page):
    page = open_page("AFM")
    text = "document.querySelector('.epochs output').textContent"
    page.click(".epochs button")
    assert page.value("document.querySelector('.epochs button').textContent") == "Pause"
    assert page.value(text) == "before training"
    page.value(f"""new Promise(done => {{
        const wait = () => {text} === "after epoch 1" ? done() : setTimeout(wait, 5);
        wait()}})""")
    page.click(".epochs button")
    stopped = page.value(text)
    page.value("new Promise(done => setTimeout(done, 1000))")
    assert page.value(text) == stopped and page.value("document.querySelector('.epochs button').textContent") == "Play"


def test_a_number_that_is_held_shows_what_it_was_after_each_epoch(open_page, traced):
    page = open_page("AFM")
    _, epochs, X, y = traced["AFM"]
    number = cell(page, "aij", "forward", 0, 1)
    history = "document.querySelector('.history').checkVisibility() && document.querySelector('.history').innerText"
    assert page.value(history) is False
    click(page, number)
    steps = [trace(model, X, y) for model in epochs]
    past = [next(step.value[0, 1] for step in each.steps if step.symbol == "aij") for each in steps]
    assert re.findall(r"epoch \d: [.\d]+", page.value(history)) == [
        f"epoch {epoch}: {page.value(f'short({past[epoch]}, 3)')}" for epoch in (0, 3)]
    points = page.value("document.querySelector('.history polyline').getAttribute('points')").split()
    heights = [-float(point.split(",")[1]) for point in points]
    assert len(heights) == 4 and np.argmax(heights) == np.argmax(past) and np.argmin(heights) == np.argmin(past)
    page.value("setEpoch(0)")
    assert page.value("document.querySelector('.epochs .present').textContent").endswith(
        f" = {page.value(f'short({past[0]}, 3)')}")
    page.value("scrollTo({top: 9999, behavior: 'instant'})")
    assert 0 <= page.value("document.querySelector('.epochs').getBoundingClientRect().top") < 60      # still in sight


def test_the_switches_hide_one_way_and_the_digits(open_page):
    page = open_page("AFM")
    shown = "[...document.querySelectorAll('.flow .card')].filter(card => card.checkVisibility())" \
            ".map(card => card.classList.contains('backward'))"
    assert set(page.value(shown)) == {True, False}
    page.click("input[value=forward] + span")
    assert set(page.value(shown)) == {False}
    page.click("input[value=backward] + span")
    assert set(page.value(shown)) == {True}
    page.click("input[value=both] + span")
    width = "document.querySelector('.flow').scrollWidth"
    before = page.value(width)
    page.click("input[value=colours] + span")
    assert page.value("getComputedStyle(boxes[0].firstChild).color") == "rgba(0, 0, 0, 0)"
    assert page.value(width) < before


def test_the_heads_split_into_tables_of_their_own(open_page):
    """(B, M, H d) to (B, H, M, d): the first d numbers of each field's line are the first head's table."""
    page = open_page("AutoInt")
    tables = """(() => {const a = arrays.findIndex(array => array.symbol === "Q");
        return [...cards[a].blocks[0].querySelectorAll("table")].map(table => [...table.tBodies[0].rows].map(row =>
            [...row.querySelectorAll("td")].map(td => cellIn.get(td) - first[a])))})()"""
    [joined] = page.value(tables)
    note = "document.querySelector('.headnote').checkVisibility() && document.querySelector('.headnote').textContent"
    assert page.value(note) is False
    page.click("input[value=apart] + span")
    parts = page.value(tables)
    assert len(parts) == 2
    assert "of each line the first 2 numbers go to head 1, the next 2 to head 2;" in page.value(note)
    assert np.array_equal(np.concatenate(parts, axis=1), joined)
    assert np.array_equal(parts, np.arange(16).reshape(2, 4, 2))
    assert not open_page("AFM").value("document.querySelector('input[name=heads]') !== null")


def test_nothing_slides_where_less_motion_is_wanted(open_page):
    page = open_page("AutoInt")
    split = "splitHeads('apart'), document.getAnimations().length"
    assert page.value(split) > 0
    page.tell("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    page.go("Page.reload")
    assert page.value(split) == 0


def test_keys_reach_every_number_and_let_go(open_page):
    page = open_page("AFM")
    start = cell(page, "aij", "forward", 0, 0)
    page.value(f"boxes[{start}].focus()")
    page.press("ArrowDown")
    assert lit(page, "at") == {"aij": [(0, 1)]}
    page.press("ArrowLeft")
    assert lit(page, "at") == {"s": [(0, 1)]}
    page.press("ArrowUp", "ArrowRight", "Enter")
    assert page.value("document.activeElement.className") == "box"
    page.press("Escape")
    assert page.value(f"document.activeElement === boxes[{start}]")
    page.press("Escape")
    assert lit(page, "at") == {} and not page.value("document.querySelector('main').classList.contains('pointing')")
    stops = page.value("[...document.querySelectorAll('.flow td.cell[tabindex=\"0\"]')].length")
    assert stops == page.value("document.querySelectorAll('.flow table').length")


# ---- a phone, the dark, paper

def test_on_a_phone_only_the_flow_scrolls_sideways_and_a_tap_points(open_page):
    page = open_page("AFM", width=390, height=844)
    assert page.value(WIDE)
    assert page.value("document.querySelector('.scroller').scrollWidth > 1000")
    number = cell(page, "aij", "forward", 0, 0)
    page.tell("Emulation.setTouchEmulationEnabled", enabled=True)         # it makes the cells larger
    try:
        x, y = middle(page, number)
        page.tell("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        page.tell("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        page.value("new Promise(done => setTimeout(done, 100))")
    finally:
        page.tell("Emulation.setTouchEmulationEnabled", enabled=False)
    assert lit(page, "at") == {"aij": [(0, 0)]} and page.value(WIDE)
    assert page.value("document.querySelector('.panel').getBoundingClientRect().height") < 0.5 * 844


@pytest.mark.parametrize("name", MODELS)
def test_on_a_phone_no_part_of_the_update_widens_the_page(open_page, name):
    page = open_page(name, width=390, height=844)
    page.value("document.querySelectorAll('.update details').forEach(part => {part.open = true})")
    assert page.value(WIDE)


def test_on_a_phone_a_tapped_number_is_not_left_under_the_panel(open_page):
    page = open_page("AFM", width=390, height=844)
    number = cell(page, "daij", "backward", 0, 0)
    middle(page, number)
    page.value(f"scrollBy({{top: boxes[{number}].getBoundingClientRect().bottom - document.querySelector('.panel')"
               ".getBoundingClientRect().top + 2, behavior: 'instant'})")
    page.value(f"boxes[{number}].click()")
    page.value("new Promise(done => setTimeout(done, 400))")
    assert page.value(f"boxes[{number}].getBoundingClientRect().bottom") <= page.value(
        "document.querySelector('.panel').getBoundingClientRect().top")


def test_what_one_can_do_is_said_for_a_finger_too(open_page, chromium):
    assert "Keys" in open_page("AFM").value("document.querySelector('.hint').textContent")
    chromium.tell("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        chromium.tell("Emulation.setEmulatedMedia", media="", features=[{"name": "pointer", "value": "coarse"}])
        page = open_page("AFM", width=390, height=844)
        said = page.value("document.querySelector('.hint').textContent")
        heights, sizes = (page.value(f"[...document.querySelectorAll('{selector}')].map(part => {measure})")
                          for selector, measure in (
                              ("td.cell", "part.getBoundingClientRect().height"),
                              (".card td, .card caption, .card .norm", "parseFloat(getComputedStyle(part).fontSize)")))
    finally:
        chromium.tell("Emulation.setTouchEmulationEnabled", enabled=False)
    # a finger hits 24 pixels; of hidden cells the height is 0
    assert {height for height in heights if height} == {24} and min(sizes) >= 12 and page.value(WIDE)
    assert said.startswith("Tap a number") and "Keys" not in said


def test_in_the_dark_the_text_stands_out(open_page):
    page = open_page("AFM", dark=True)
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"


def test_on_paper_all_arrays_stand_and_no_button(open_page):
    page = open_page("AFM")
    page.tell("Emulation.setEmulatedMedia", media="print", features=[])
    assert page.value("[...document.querySelectorAll('.card')].every(card => card.checkVisibility())")
    assert not page.value("[...document.querySelectorAll('.bar, .map, .panel')].some(part => part.checkVisibility())")
    assert page.printed().count(b"/Type /Page\n") > 1


# ---- what needs no browser, and markup in names

def test_markup_in_names_and_values_is_text(chromium, tmp_path):
    clicks = datasets.make_clicks(100, seed=0)
    X = clicks.X[["user_segment", "device", "hour"]].astype({"device": str}).copy()
    X.loc[X.index[0], "device"] = EVIL
    X = X.rename(columns={"user_segment": EVIL + "</script>", "hour": "a & b"})
    model = FM(embedding_dim=2).prepare(X, clicks.y)
    trace(model, X[:1], clicks.y[:1]).save_page(tmp_path / "step.html")
    chromium.events.clear()
    chromium.open(tmp_path / "step.html")
    assert chromium.complaints() == [] and chromium.value("document.title") == "One training step of FM"
    assert chromium.value("document.querySelectorAll('script').length") == 2
    assert chromium.value("document.querySelector('.flow th[scope=row]').title.includes('<script>')")
    assert chromium.value("document.querySelector('.inputs').textContent").count("<script>") >= 2
    assert chromium.value("document.querySelector('.epochs').childElementCount") == 0


def test_an_operation_that_the_page_does_not_know_is_an_error(traced):
    data = json.loads(re.search(r'id="data">(.*?)</script>', traced["FM"][0].read_text(encoding="utf-8"))[1])
    assert set(data["ops"]) <= known_operations()
    with pytest.raises(ValueError, match="a page cannot compute bessel: it knows absolute, add"):
        page_html({**data, "ops": [*data["ops"], "bessel"]})


def equations(page):
    """What stands above each array, in ASCII: {(phase, layer, symbol): equation or derivative}."""
    return {tuple(key): text for *key, text in page.value(
        "arrays.map(a => [a.phase, a.layer, a.symbol, a.derivative || a.equation])")}


def test_above_each_array_stands_a_whole_equation_of_it_or_none(open_page):
    found = equations(open_page("AFM"))
    assert found["forward", "attention", "aij"] == "a_ij = exp(a'_ij) / sum over all pairs of exp(a')"
    assert found["forward", "attention", "s"] == "a'_ij = h . relu(z_ij)"
    assert found["forward", "linear", "wx"] == "wx = w_s"
    assert found["forward", "linear", "first_order"] == "first_order = w_0 + sum_i w_i x_i"
    assert found["forward", "AFM", "s"] == "s = w_0 + sum_i w_i x_i + p . sum_{i<j} a_ij p_ij"
    assert found["forward", "projection", "out"] == "out = x . p"
    assert found["loss", "LogLoss", "L"] == "L = 1/B sum_b [log(1 + exp(s_b)) - y_b s_b]"
    assert found["backward", "projection", "dpooled"] == "dpooled = dout p"
    assert found["backward", "pairs", "dE"] == "p_ij = e_i * e_j"
    assert found["backward", "attention", "dpij_score"] == "z_ij = W^T p_ij + b"
    assert found["update", "attention.W", "m_hat"] == "m^ = m / (1 - beta1^t)"
    assert found["update", "attention.W", "param"] == "w = w - lr m^ / (sqrt(v^) + eps)"
    assert found["backward", "attention", "dW"] == "dW = sum_ij p_ij dz_ij^T"
    assert equations(open_page("FM"))["forward", "FM", "s"].startswith("s = w_0 + sum_i w_i x_i + ")
    assert equations(open_page("AutoInt"))["forward", "interacting_1", "a"] == (
        "a_mk = softmax over k of (W_Q e_m) . (W_K e_k)")


@pytest.mark.parametrize("name", MODELS)
def test_every_equation_has_two_sides_and_is_typeset(open_page, name):
    page = open_page(name)
    for key, text in equations(page).items():
        assert not text or (" = " in text and "the same" not in text and "with respect" not in text), key
    plain = page.value("[...document.querySelectorAll('.equation p')].flatMap(p => p.querySelector('math') ? [] : "
                       "[p.innerText])")
    assert set(plain) <= {"the sum over the rows that looked it up"}


def test_the_gradient_of_a_looked_up_parameter_is_said_to_be_a_sum_over_rows(open_page):
    page = open_page("AFM")
    number = page.value("first[arrays.findIndex(isSum)]")
    click(page, number)
    told = page.value("document.querySelector('.panel').textContent")
    assert "the sum over the rows that looked it up" in told and "def update" not in told
    card = page.value(f"boxes[{number}].closest('.card').textContent")
    assert "the sum over the rows that looked it up" in card and "def update" not in card


def test_json_in_a_page_ends_no_tag():
    assert json.loads(json_text({"a": "</script>&\u2028"})) == {"a": "</script>&\u2028"}
    assert not re.search("[<>&\u2028]", json_text({"a": "</script>&\u2028"}))
