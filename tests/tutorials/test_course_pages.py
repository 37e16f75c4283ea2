"""The pages of the course: how long they take, how wide their code is, what is folded, and what nbgrader sees."""

import re

import pytest
from notebooks import load_build

jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed: the tutorials were not looked at")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the tutorials were not looked at")
pytest.importorskip("nbclient", reason="nbclient is not installed: the tutorials were not looked at")

WIDTH = 88                                                        # what the site's column and a half screen show
CORE = ("00", "01", "02", "03", "04", "05", "06", "08")


build = load_build()
SOURCES = build.sources()
every_source = pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])


def cells_of(source):
    return jupytext.read(source, fmt="py:percent").cells


def tagged(cell, tag):
    return tag in cell.metadata.get("tags", [])


def markdown(text):
    return nbformat.v4.new_markdown_cell(text)


def code(text, *tags):
    return nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)})


def test_minutes_are_those_of_the_open_words_lines_and_exercises():
    words = markdown("word " * 1800 + "<details><summary>Answer</summary>" + "word " * 1800 + "</details>")
    stub = code("# Exercise 1\n" + "\n\n".join(["x = 1"] * 119), "exercise")
    folded = [code("x = 1\n" * 1200, tag) for tag in ("check", "claims")]
    appendix = [markdown("word " * 900 + "\n\n## Appendix: more\n\n" + "word " * 1800), code("x = 1\n" * 1200)]
    assert build.minutes(nbformat.v4.new_notebook(cells=[words, stub, *folded])) == 10 + 10 + 5
    assert build.minutes(nbformat.v4.new_notebook(cells=[words, stub, *folded, *appendix])) == 10 + 10 + 5 + 5


@every_source
def test_it_says_how_many_minutes_it_takes(source):
    assert build.with_minutes(source) == source.read_text(encoding="utf-8"), f"run: tutorials/build.py {source.stem}"


def test_the_tables_say_how_many_minutes_each_takes():
    for page in build.TABLES:
        text = page.read_text(encoding="utf-8")
        assert build.table_with_minutes(text) == text, "run: tutorials/build.py"
        assert len(re.findall(r"\.ipynb\).* \| \d+ \|$", text, re.MULTILINE)) == len(SOURCES)


def test_the_core_takes_six_hours_at_most():
    core = [source for source in SOURCES if source.stem[:2] in CORE]
    assert len(core) == len(CORE)
    assert sum(map(build.minutes_of, core)) <= 360


@every_source
def test_its_code_is_not_wider_than_its_column(source):
    wide = []
    for cell in cells_of(source):
        inside = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
        blocks = [cell.source] if cell.cell_type == "code" else inside
        wide += [line for block in blocks for line in block.splitlines() if len(line) > WIDTH]
    assert not wide, "\n".join(wide)


@every_source
def test_an_exercise_is_a_statement_a_stub_a_check_and_a_folded_solution(source):
    cells = cells_of(source)
    numbers = []
    for index, cell in enumerate(cells):
        if not tagged(cell, "exercise"):
            continue
        numbers.append(int(re.match(r"# Exercise (\d+)\n(?!#)", cell.source)[1]))
        before, check, solution = cells[index - 1], cells[index + 1], cells[index + 2]
        assert before.cell_type == "markdown" and f"**Exercise {numbers[-1]}.**" in before.source
        assert tagged(check, "check")
        assert tagged(solution, "solution")
    assert numbers == list(range(1, len(numbers) + 1))
    for tag in ("check", "solution"):
        assert sum(tagged(cell, tag) for cell in cells) == len(numbers)


@every_source
def test_what_is_folded_is_folded_whole(source):
    for cell in cells_of(source):
        if tagged(cell, "solution"):
            assert re.fullmatch(r"<details><summary>Solution</summary>.*</details>", cell.source, re.DOTALL)
        elif cell.cell_type == "markdown":
            assert cell.source.count("<details>") == cell.source.count("</details>")
            assert "<summary>Solution" not in cell.source
        elif not set(cell.metadata.get("tags", [])) & {"exercise", "check", "claims", "yours"}:
            assert not re.search(r"^assert ", cell.source, re.MULTILINE), f"an open assert in:\n{cell.source}"


@every_source
def test_its_notebook_is_folded_and_numbered_for_jupyter_the_site_and_nbgrader(source):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    ids = []
    for cell in notebook.cells:
        folded = tagged(cell, "check") or tagged(cell, "claims")
        assert tagged(cell, "hide-input") == folded == ("jupyter" in cell.metadata)
        graded = cell.metadata.get("nbgrader")
        assert bool(graded) == (tagged(cell, "check") or tagged(cell, "exercise"))
        if graded:
            assert graded["locked"] == graded["grade"] == (not graded["solution"]) == tagged(cell, "check")
            ids.append(graded["grade_id"])
            kinds = {output.output_type for output in cell.outputs}
            assert "execute_result" not in kinds, "nbgrader would take it for the points: end the cell with a ;"
    exercises = [cell for cell in notebook.cells if tagged(cell, "exercise")]
    assert ids == [f"{kind}-{n}" for n in range(1, len(exercises) + 1) for kind in ("exercise", "check")]
