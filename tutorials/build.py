"""Run the tutorials and write them as notebooks, with their outputs.

    python tutorials/build.py                 # all of them
    python tutorials/build.py 02 movies       # those whose name contains one of these
    python tutorials/build.py --check         # write nothing; exit 1 where a notebook is not what its source gives

The source of a notebook is NAME.py, in jupytext's percent format; NAME.ipynb is made from it. The same source, versions
and C library give the same bytes on every x86-64 processor with AVX2: no kernel of NumPy or OpenBLAS uses more (those
of PyTorch are not held to it), cells have ids that follow from their text, and no times are recorded. Before that the
line numbers of the cheat sheet are brought up to date, and the minutes that each tutorial takes, on its first page and
in the tables of tutorials.

A source says with tags what a cell is: "exercise" (its first line is "# Exercise 2"), "check" (of the exercise before),
"claims" (asserts behind the text), "yours" (what one wrote, trained), "solution" (a folded one, of text). What Jupyter,
the site and nbgrader need of that is derived here.
"""

import argparse
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
CHEAT_SHEET = FOLDER / "cheat_sheet.md"
RESULTS = FOLDER / "results"                    # figures of long runs, which a notebook shows and does not repeat
PATIENCE = 600          # seconds for a kernel to start, and to hand over what a cell has printed; a cell has no limit
LARGEST = 400_000       # bytes
TABLES = FOLDER / "README.md", FOLDER.parent / "README.md"
# what a reader manages
WORDS, LINES, EXERCISE = 180, 12, 5             # words and lines of code a minute; minutes an exercise
# a program, as kernels are chosen when NumPy is imported
PRINT_KERNELS = """
import ctypes, json, pathlib, platform, numpy
blas = platform.machine()
for library in sorted((pathlib.Path(numpy.__file__).parent.parent / "numpy.libs").glob("*openblas*")):
    for name in ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename"):
        function = getattr(ctypes.CDLL(str(library)), name, None)
        if function is not None:
            function.restype = ctypes.c_char_p
            blas = function().decode()
simd = numpy.show_config(mode="dicts")["SIMD Extensions"]
print(json.dumps({"blas": blas, "simd": ["none", *simd.get("baseline", []), *simd.get("found", [])][-1]}))
"""
FOLDED = {"check": "The check's code", "claims": "Asserted: what the text says of these numbers"}


def sources():
    """The paths of all tutorials' sources, in reading order."""
    return [path for path in sorted(FOLDER.glob("*.py")) if path.name != "build.py"]


def environment(source):
    """What the outputs depend on beside the source: versions, and the kernels that OpenBLAS and NumPy compute with."""
    needed = ["numpy", "pandas", "matplotlib"]
    if "import torch" in source.read_text(encoding="utf-8"):
        needed.append("torch")
    packages = {name: version(name) for name in needed}
    return {"python": ".".join(platform.python_version_tuple()[:2]), "libc": " ".join(platform.libc_ver()).strip(),
            **packages, **_kernels()}


def notebook_variables():
    """The environment variables with which a notebook runs: those of here, and those of ``held_to_avx2``."""
    return _without_numpy_variables() | held_to_avx2(_simd())


def held_to_avx2(simd):
    """The variables that hold OpenBLAS to one thread, and OpenBLAS and NumPy to AVX2, also where there is more.

    Other kernels round other last digits, and gradient checks print them. A processor without AVX2 computes with what
    it has.

    Parameters
    ----------
    simd : what ``numpy.show_config`` says of a processor, a dict of lists; those that would be empty are not in it.
    """
    held = {"OPENBLAS_NUM_THREADS": "1"}
    baseline, found, not_found = (simd.get(name, []) for name in ("baseline", "found", "not found"))
    if {"X86_V3", "AVX2"} & {*baseline, *found}:                  # the names since NumPy 2.4, and before
        beyond = [name for name in found + not_found if name.startswith(("X86_V4", "AVX512"))]
        held |= {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": " ".join(beyond)}
    return held


@functools.cache
def _simd():
    """What the processor has, as NumPy names it, whatever was switched off for this process."""
    return json.loads(_printed("import json, numpy; print(json.dumps(numpy.show_config('dicts')['SIMD Extensions']))",
                               _without_numpy_variables()))


@functools.cache
def _kernels():
    """The kernels' names in a notebook: {"blas": "Haswell", "simd": "X86_V3"}."""
    return json.loads(_printed(PRINT_KERNELS, notebook_variables()))


def _without_numpy_variables():
    """The environment variables of here but for NumPy's own: it refuses to start with some beside others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NPY_")}


def _printed(program, variables):
    """What a Python program prints in a process with these environment variables."""
    return subprocess.run([sys.executable, "-c", program], env=variables, stdout=subprocess.PIPE, text=True,
                          check=True).stdout


def execute(source):
    """The notebook of one source, run top to bottom in a new kernel, in a folder with nothing but the results."""
    notebook = jupytext.read(source, fmt="py:percent")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(RESULTS, Path(folder) / RESULTS.name)
        NotebookClient(notebook, timeout=None, startup_timeout=PATIENCE, iopub_timeout=PATIENCE,
                       raise_on_iopub_timeout=True, kernel_name="python3", record_timing=False,
                       resources={"metadata": {"path": folder}}).execute(env=notebook_variables())
    return normalised(notebook, environment(source))


def normalised(notebook, made_with):
    """The notebook without anything that changes from one run to the next."""
    seen = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type} {cell.source}".encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata = derived(cell)
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    number_exercises(notebook)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}, "minictr": made_with}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def derived(cell):
    """The metadata of a cell: from its tags what folds it in Jupyter and on the site, and what nbgrader goes by."""
    tags = list(cell.metadata.get("tags", []))
    metadata = {"tags": tags} if tags else {}
    folded = next((FOLDED[tag] for tag in tags if tag in FOLDED), None)
    if folded:
        tags.append("hide-input")
        metadata |= {"jupyter": {"source_hidden": True},
                     "mystnb": {"code_prompt_show": folded, "code_prompt_hide": folded}}
    for tag, graded in (("exercise", False), ("check", True)):
        if tag in tags:
            metadata["nbgrader"] = {"schema_version": 3, "grade_id": tag, "cell_type": "code", "solution": not graded,
                                    "grade": graded, "locked": graded, "task": False}
            if graded:
                metadata["nbgrader"]["points"] = 1
    return metadata


def number_exercises(notebook):
    """Each exercise and its check get their number into their name for nbgrader: exercise-2, check-2."""
    number = None
    for cell in notebook.cells:
        graded = cell.metadata.get("nbgrader")
        if graded:
            if graded["solution"]:
                number = re.match(r"# Exercise (\d+)$", cell.source, re.MULTILINE)[1]
            graded["grade_id"] += f"-{number}"


def minutes(notebook):
    """How long a reader takes, to five minutes: for words, code and exercises that are open on the page.

    What is folded does not count: checks, claims and whatever stands in <details>. Nor does an appendix, at the end.
    """
    words = lines = exercises = 0
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            before, appendix, _ = cell.source.partition("## Appendix")
            words += len(re.sub(r"<details>.*?</details>", "", before, flags=re.DOTALL).split())
            if appendix:
                break
        elif not FOLDED.keys() & set(tags):
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
            exercises += "exercise" in tags
    return 5 * round((words / WORDS + lines / LINES + EXERCISE * exercises) / 5)


def minutes_of(source):
    """The same, of a tutorial's source file."""
    return minutes(jupytext.read(source, fmt="py:percent"))


def with_minutes(source):
    """The text of a source, whose first cell says once how many minutes it takes, with the right number."""
    text = source.read_text(encoding="utf-8")
    first, mark, rest = text.partition("\n\n# %%")
    right, count = re.subn(r"\b\d+ minutes", f"{minutes_of(source)} minutes", first)
    if count != 1:
        raise ValueError(f"{source.name}: its first cell says {count} times how many minutes it takes; once is needed")
    return right + mark + rest


def table_with_minutes(text):
    """A page with a table of tutorials, with the right number in the last column of each row."""
    for source in sources():
        text = re.sub(rf"^(\| \[.*{source.stem}\.ipynb\).*\| )\d+ \|$", rf"\g<1>{minutes_of(source)} |", text,
                      flags=re.MULTILINE)
    return text


def _joined(outputs):
    """Neighbouring pieces of one stream as one: where the kernel cuts a stream depends on the clock."""
    joined = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream" and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def as_text(notebook):
    """The notebook as it is written to its file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def with_line_numbers(text):
    """The cheat sheet with each row's link leading to the line of code that the row quotes.

    Raises ValueError if a quoted line stands nowhere in its file, or more than once.
    """
    def with_number(match):
        code, path = match["code"], match["path"]
        lines = (FOLDER / path).read_text(encoding="utf-8").splitlines()
        found = [number for number, line in enumerate(lines, 1) if code in line]
        if len(found) != 1:
            raise ValueError(f"{CHEAT_SHEET.name}: {code!r} stands on the lines {found} of {path}; once is needed")
        return f"`{code}` | [{Path(path).name}:{found[0]}]({path}#L{found[0]})"

    return re.sub(r"`(?P<code>[^`]+)` \| \[[^]]+:\d+\]\((?P<path>[^)#]+)#L\d+\)", with_number, text)


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of names; without any, all tutorials")
    parser.add_argument("--check", action="store_true", help="compare with the notebooks that are there")
    arguments = parser.parse_args()
    chosen = [path for path in sources() if not arguments.names or any(name in path.name for name in arguments.names)]
    if not chosen:
        parser.error(f"no tutorial's name contains {' or '.join(arguments.names)}")
    os.environ.pop("MPLBACKEND", None)          # pictures go into the notebook
    failed = False
    sheet = CHEAT_SHEET.read_text(encoding="utf-8")
    if with_line_numbers(sheet) != sheet:
        if arguments.check:
            print(f"{CHEAT_SHEET.name} names lines that have moved")
            failed = True
        else:
            CHEAT_SHEET.write_text(with_line_numbers(sheet), encoding="utf-8")
    changed = {source: with_minutes(source) for source in chosen}
    changed |= {page: table_with_minutes(page.read_text(encoding="utf-8")) for page in TABLES}
    for page, text in changed.items():
        if page.read_text(encoding="utf-8") != text:
            if arguments.check:
                print(f"{page.name} says a wrong number of minutes")
                failed = True
            else:
                page.write_text(text, encoding="utf-8")
    for source in chosen:
        product = source.with_suffix(".ipynb")
        start = time.perf_counter()
        text = as_text(execute(source))
        seconds = time.perf_counter() - start
        note = ""
        if len(text) > LARGEST:
            note, failed = f"  TOO LARGE: at most {LARGEST // 1000} kB", True
        if arguments.check:
            if not product.exists() or product.read_text(encoding="utf-8") != text:
                note, failed = note + "  DIFFERS from what its source gives", True
        else:
            product.write_text(text, encoding="utf-8")
        print(f"{source.stem:<40}{seconds:6.1f} s{len(text) / 1000:8.0f} kB{note}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
