"""Every tutorial runs, its exercises' checks tell right from wrong, and its notebook is what its source gives."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from notebooks import TUTORIALS, load_build

pytest.importorskip("jupytext", reason="jupytext is not installed: the tutorials were not run")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the tutorials were not run")
pytest.importorskip("nbclient", reason="nbclient is not installed: the tutorials were not run")

HERE = Path(__file__).parent
SWITCH = "REAL_DATA = False"


build = load_build()
SOURCES = build.sources()
NEED_TORCH = {"11_from_numpy_to_pytorch"}
every_source = pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])


def every_day(name):
    """All sources, one after the other; all but one of them are long."""
    return pytest.mark.parametrize("source", [
        pytest.param(path, id=path.stem, marks=() if path.stem == name else pytest.mark.long) for path in SOURCES])


def skip_without_torch(source):
    if source.stem in NEED_TORCH:
        pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")


def mistakes_of(source):
    path = HERE / "tutorial_mistakes" / f"{source.stem}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def code_of(source):
    return ast.parse(source.read_text(encoding="utf-8"))


def run(source, wrong, folder):
    """What ``tutorial_runner.py`` says of a source."""
    mistakes = folder / "mistakes.json"
    mistakes.write_text(json.dumps(wrong))
    # in a folder of its own, and without this repository on the path: the installed minictr is used
    workplace = folder / "workplace"
    shutil.copytree(build.RESULTS, workplace / build.RESULTS.name)
    result = subprocess.run([sys.executable, HERE / "tutorial_runner.py", source, mistakes], cwd=workplace, text=True,
                            capture_output=True, env={**os.environ, "MPLBACKEND": "Agg"})
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


@every_day("02_multiply_pairs_with_fm")
def test_it_runs_and_its_checks_tell_right_from_wrong(source, tmp_path):
    skip_without_torch(source)
    wrong = mistakes_of(source)
    exercises = run(source, wrong, tmp_path)
    assert sorted(name for name in wrong if not name.endswith(", also right")) == sorted(exercises), \
        "each exercise needs wrong solutions, and none may be left over"
    assert {name.removesuffix(", also right") for name in wrong} <= exercises.keys()
    for name, answers in exercises.items():
        assert answers["solution"]["right"], f"{name}: {answers['solution']['text']}"
        assert not answers["stub"]["right"] and not answers["stub"]["raised"], f"{name}: {answers['stub']['text']}"
        assert "not yet" in answers["stub"]["text"], f"{name}: {answers['stub']['text']}"
        assert any(not answer["raised"] for answer in answers["wrong"]), f"{name}: no wrong solution gets to its check"
        for answer in answers["wrong"]:
            assert not answer["right"], f"{name}: a wrong solution passes"
            assert answer["raised"] or "not yet" in answer["text"], f"{name}: {answer['text']}"
            assert answer["hint"] in answer["text"], f"{name}: {answer['hint']!r} is not in {answer['text']}"
        for answer in answers["also right"]:
            assert answer["right"], f"{name}: a right solution is refused: {answer['text']}"


@pytest.mark.long
@pytest.mark.parametrize("source", [path for path in SOURCES if SWITCH in path.read_text(encoding="utf-8")],
                         ids=lambda path: path.stem)
def test_what_it_claims_holds_for_the_real_data_too(source, tmp_path):
    if "MINICTR_DATA" not in os.environ:
        pytest.skip("MINICTR_DATA does not name a folder with real data")
    real = tmp_path / source.name
    real.write_text(source.read_text(encoding="utf-8").replace(SWITCH, "REAL_DATA = True"), encoding="utf-8")
    run(real, {}, tmp_path)


@every_day("00_five_minutes")
def test_its_notebook_is_what_its_source_gives(source, monkeypatch):
    skip_without_torch(source)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    committed = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    there, here = json.loads(committed)["metadata"]["minictr"], build.environment(source)
    if there != here:
        pytest.skip(f"its outputs cannot be compared: made with {there}, here is {here}")
    assert build.as_text(build.execute(source)) == committed, f"run: python tutorials/build.py {source.stem}"


AVX2, AVX512 = ["SSE42", "AVX2", "FMA3"], ["AVX512F", "AVX512_SKX"]                   # as NumPy named them before 2.4


@pytest.mark.parametrize("simd, off", [
    ({"baseline": ["X86_V2"], "found": ["X86_V3"], "not found": ["X86_V4", "AVX512_ICL"]}, "X86_V4 AVX512_ICL"),
    ({"baseline": ["X86_V2"], "found": ["X86_V3", "X86_V4"], "not found": ["AVX512_ICL"]}, "X86_V4 AVX512_ICL"),
    ({"baseline": ["X86_V2", "X86_V3"], "found": ["X86_V4", "AVX512_ICL"]}, "X86_V4 AVX512_ICL"),
    ({"baseline": ["X86_V2", "X86_V3"]}, ""), ({"baseline": ["SSE"], "found": AVX2 + AVX512}, "AVX512F AVX512_SKX"),
    ({"baseline": ["SSE"], "found": AVX2, "not found": AVX512}, "AVX512F AVX512_SKX"),
    ({"baseline": ["X86_V2"], "not found": ["X86_V3", "X86_V4"]}, None), ({"baseline": ["NEON"]}, None),
    ({"baseline": ["NEON"], "found": ["ASIMDHP"], "not found": ["SVE"]}, None), ({}, None)])
def test_what_is_beyond_avx2_is_switched_off(simd, off):
    """Else the last digits that a gradient check prints are those of the processor that built a notebook."""
    wanted = {} if off is None else {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": off}
    assert build.held_to_avx2(simd) == {"OPENBLAS_NUM_THREADS": "1", **wanted}


@pytest.mark.parametrize("variables", [
    {}, {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2"}, {"NPY_ENABLE_CPU_FEATURES": "X86_V3"},
    {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"}], ids=lambda variables: " ".join(variables) or "none")
def test_a_notebook_is_computed_with_the_same_kernels_wherever_it_is_built(variables, tmp_path):
    source = tmp_path / "kernels.py"
    source.write_text(f"# %%\n{build.PRINT_KERNELS}\nimport os\nprint(os.environ['OPENBLAS_NUM_THREADS'])\n",
                      encoding="utf-8")
    program = ("import sys, pathlib; sys.path.insert(0, sys.argv[1]); import build; "
               "print(build.execute(pathlib.Path(sys.argv[2])).cells[0].outputs[0].text)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "NPY"))}
    # in a process of its own, as NumPy looks at the variables when it is imported
    answer = subprocess.run([sys.executable, "-c", program, str(TUTORIALS), str(source)], text=True, check=True,
                            stdout=subprocess.PIPE, env=environment | variables)
    wanted = {name: build.environment(source)[name] for name in ("blas", "simd")}
    assert answer.stdout.split("\n")[:2] == [json.dumps(wanted), "1"]


def test_a_notebook_gives_the_same_kinds_of_outputs_everywhere(monkeypatch):
    """In a kernel, whatever the versions and the processor; all sources run as plain Python above."""
    monkeypatch.delenv("MPLBACKEND", raising=False)               # a kernel shows plots with its own

    def kinds(notebook):
        return [(cell.id, [output.output_type for output in cell.get("outputs", [])]) for cell in notebook.cells]

    source = TUTORIALS / "00_five_minutes.py"
    assert kinds(build.execute(source)) == kinds(nbformat.read(source.with_suffix(".ipynb"), as_version=4))


@every_source
def test_its_notebook_has_the_cells_of_its_source(source):
    import jupytext
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    wanted = [(cell.cell_type, cell.source) for cell in jupytext.read(source, fmt="py:percent").cells]
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == wanted


@every_source
def test_its_notebook_is_small_and_clean(source):
    path = source.with_suffix(".ipynb")
    assert path.stat().st_size <= build.LARGEST
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'(?<![\w.])/(home|root|tmp|usr|work)/|site-packages', text), "a path of a machine"
    assert not re.search(r" at 0x[0-9a-f]{6}", text), "an object's address in memory, another one in each run"
    for cell in nbformat.reads(text, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", f"a warning is left in the notebook: {output.text}"


@every_source
def test_it_imports_only_what_a_reader_has(source):
    allowed = {"numpy", "pandas", "matplotlib", "minictr"} | set(sys.stdlib_module_names)
    if source.stem in NEED_TORCH:
        allowed.add("torch")
    imported = set()
    for node in ast.walk(code_of(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported <= allowed, imported - allowed
    assert not imported & {"urllib", "http", "socket", "requests"}


@every_source
def test_it_shows_no_windows_and_sets_no_global_seed(source):
    calls = {ast.unparse(node.func) for node in ast.walk(code_of(source)) if isinstance(node, ast.Call)}
    assert not calls & {"plt.show", "np.random.seed", "random.seed"}


@every_source
def test_it_is_in_both_tables(source):
    for page in (TUTORIALS / "README.md", TUTORIALS.parent / "README.md"):
        assert f"{source.stem}.ipynb" in page.read_text(encoding="utf-8"), f"{page} does not name it"


def test_both_tables_say_the_same():
    here, root = ([line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| [") and
                   ".ipynb)" in line] for page in (TUTORIALS / "README.md", TUTORIALS.parent / "README.md"))
    assert [line.replace("](", "](tutorials/") for line in here] == root


@every_source
def test_it_says_what_it_is_for(source):
    """Title, what you'll do, learn and need: in the first cell."""
    first = nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for heading in ("What you'll do", "What you'll learn", "What you'll need"):
        assert heading in first.source, heading


def anchors(markdown):
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_source
def test_its_links_within_the_repository_lead_somewhere(source):
    for cell in nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells:
        if cell.cell_type != "markdown":
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", cell.source):
            if re.match(r"https?://", target):
                continue
            path, _, anchor = target.partition("#")
            page = (TUTORIALS / path) if path else source
            assert page.exists(), f"{target} leads nowhere"
            if anchor and page.suffix == ".md":
                assert anchor in anchors(page.read_text(encoding="utf-8")), f"{target}: no such heading"


def test_no_notebook_is_without_a_source():
    assert {path.stem for path in TUTORIALS.glob("*.ipynb")} == {path.stem for path in SOURCES}


def test_every_file_of_mistakes_has_its_tutorial():
    assert {path.stem for path in (HERE / "tutorial_mistakes").glob("*.json")} <= {path.stem for path in SOURCES}


def test_the_cheat_sheet_leads_to_the_lines_that_it_quotes():
    text = build.CHEAT_SHEET.read_text(encoding="utf-8")
    assert text.count("#L") > 25
    assert build.with_line_numbers(text) == text, "run: python tutorials/build.py"
    moved = re.sub(r":\d+\]\(([^)]+)#L\d+\)", r":1](\1#L1)", text)
    assert moved != text and build.with_line_numbers(moved) == text
    with pytest.raises(ValueError, match="once is needed"):
        build.with_line_numbers("`no such line` | [fm.py:1](../minictr/models/fm.py#L1)")
