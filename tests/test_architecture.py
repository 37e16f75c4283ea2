"""The storeys of the package: imports run downwards only, in no circle, and no file is long."""

import ast
import graphlib
from pathlib import Path

import pytest

import minictr

FOLDER = Path(minictr.__file__).parent
LONGEST, LONGEST_OF_THE_ESTIMATOR = 450, 300        # lines of a file

# From the ground up: a file imports from its own storey and from those below. Each file and folder of minictr/ has its
# place here; those after the bar are where names that moved can be imported from as before.
STOREYS = {
    "ground": "slots layers losses optim metrics gradcheck exercises start",
    "tools": "checks text typeset",
    "fields": "fields | encoding",
    "training": "training | threads",
    "estimator": "estimator",
    "models": "models",
    "explain": "explain",
    "plots": "plots",
    "tracing": "tracing",
    "datasets": "datasets",
    "bridges": "bridges | distributed",
    "door": "__init__",             # what `import minictr` gives
    "app": "app | cli html_report",
    "roof": "__main__",
}


# ------------------------------------------------------------------------------------------- reading the package

def sources(folder):
    """The package's modules: {"layers/base": the parsed file}."""
    return {path.relative_to(folder).with_suffix("").as_posix(): ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(folder.rglob("*.py"))}


def imports(folder):
    """(importing module, imported module, name) of every import within the package, those in functions included."""
    trees = sources(folder)
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                whole = [(alias.name.split("."), None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = [folder.name, *module.split("/")[:-1]][:-node.level + 1 or None] if node.level else []
                whole = [([*above, *(node.module or "").split(".")], alias.name) for alias in node.names]
            else:
                continue
            for parts, name in whole:
                if parts[0] == folder.name:
                    yield module, target(trees, "/".join(filter(None, parts[1:])), name), name


def target(trees, module, name):
    """The module that gives a name: the file itself, a file in the folder, or the folder's ``__init__``."""
    if module in trees:
        return module
    prefix = module + "/" * bool(module)
    inner = next((inner for inner in (f"{prefix}{name}", f"{prefix}{name}/__init__") if inner in trees), None)
    return inner if inner and name not in bound(trees[f"{prefix}__init__"]) else f"{prefix}__init__"


def bound(tree):
    """The names that an ``__init__`` takes out of its files, which may be called the same."""
    return {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names}


def storey_of(module, storeys):
    """The number of a module's storey, counted from below; None if it has none."""
    names = list(storeys)
    first = module.split("/")[0]
    return next((number for number, name in enumerate(names) if first in storeys[name].replace("|", "").split()), None)


def upwards(folder, storeys=STOREYS):
    """The imports that run upwards, as pairs of modules."""
    return {(here, there) for here, there, _ in imports(folder)
            if storey_of(here, storeys) < storey_of(there, storeys)}


def circle(folder, without=()):
    """The modules of a circle of imports; None if there is none."""
    above = {}
    for here, there, _ in imports(folder):
        if here != there and (here, there) not in without:
            above.setdefault(here, set()).add(there)
    try:
        graphlib.TopologicalSorter(above).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def private(folder):
    """The (module, name) of each import of a _name from another file; a file may be called _so."""
    return {(here, name) for here, there, name in imports(folder)
            if name and name.startswith("_") and not name.startswith("__") and there.split("/")[-1] != name}


def foreign(folder, package):
    """The modules that import a package that is not ours, be it in a function."""
    return {module for module, tree in sources(folder).items() for node in ast.walk(tree)
            if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == package for alias in node.names))
            or (isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] == package)}


# ------------------------------------------------------------------------------------------------ the rules

def test_every_file_has_its_storey():
    modules = sources(FOLDER)
    assert not [module for module in modules if storey_of(module, STOREYS) is None]
    there = {module.split("/")[0] for module in modules}
    assert set(" ".join(STOREYS.values()).replace("|", "").split()) <= there, "a storey names what is not there"


def test_imports_run_downwards():
    assert upwards(FOLDER) == set()


def test_no_circle_of_imports():
    assert circle(FOLDER) is None


def test_no_file_is_long():
    lengths = {path.relative_to(FOLDER).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
               for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {name for name, length in lengths.items()
            if length > (LONGEST_OF_THE_ESTIMATOR if name.startswith("estimator/") else LONGEST)} == set()


def test_what_files_share_has_public_names():
    assert private(FOLDER) == set()


def test_only_plots_and_the_app_draw():
    """What explains, and what trains, needs no matplotlib."""
    assert {module.split("/")[0] for module in foreign(FOLDER, "matplotlib")} == {"plots", "app"}


def test_the_ground_knows_numpy_only():
    """And metrics, which take columns, pandas."""
    ground = {module for module in foreign(FOLDER, "pandas")
              if storey_of(module, STOREYS) == list(STOREYS).index("ground")}
    assert ground == {"metrics"}


# ------------------------------------------------------------------------------ that a breach would be found

HOUSE = {"low": "low | other", "high": "high", "door": "__init__"}
SOUND = {"__init__": "from . import low\nfrom .high import step\n", "low": "import pandas as pd\n", "other": "",
         "high/__init__": "from .step import step\n", "high/step": "from ..low import f\n", "high/_file": ""}


@pytest.fixture
def build(tmp_path):
    """Build a package of two storeys and a door; what is given takes the place of what is sound."""
    def write(files):
        for name, text in {**SOUND, **files}.items():
            path = tmp_path / "house" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "house"
    return write


def test_a_sound_house_has_no_breach(build):
    folder = build({"high/step": "from . import _file\nfrom ..low import f\nimport numpy.random\nimport house.other\n"})
    assert set(imports(folder)) == {
        ("__init__", "low", "low"), ("__init__", "high/__init__", "step"), ("high/__init__", "high/step", "step"),
        ("high/step", "high/_file", "_file"), ("high/step", "low", "f"), ("high/step", "other", None)}
    assert not upwards(folder, HOUSE) and not circle(folder) and not private(folder)
    assert foreign(folder, "numpy") == {"high/step"} and foreign(folder, "pandas") == {"low"}


@pytest.mark.parametrize("line, there", [
    ("from .high import step", "high/__init__"), ("from .high.step import step", "high/step"),
    ("from . import high", "high/__init__"), ("from . import __version__", "__init__"), ("import house", "__init__"),
    ("import os, house.high.step as s", "high/step"), ("from house.high import step", "high/__init__"),
    ("from house import high", "high/__init__"), ("from .high import _file", "high/_file")])
@pytest.mark.parametrize("text", ["{}\n", "def f():\n    if True:\n        {}\n", "class C:\n    {}\n"])
def test_an_import_upwards_is_found(build, line, there, text):
    folder = build({"low": text.format(line)})
    assert upwards(folder, HOUSE) == {("low", there)}


@pytest.mark.parametrize("files, length", [
    ({"low": "from . import other", "other": "def f():\n    from .low import g\n"}, 2),
    ({"low": "from .other import f", "other": "from .high import f", "high/__init__": "from ..low import f"}, 3)])
def test_a_circle_is_found(build, files, length):
    folder = build(files)
    assert len(set(circle(folder))) == length
    assert circle(folder, without={("low", "other")}) is None


def test_what_has_no_storey_and_private_names_are_found(build):
    folder = build({"shed": "", "high/step": "from ..low import _f, __doc__"})
    assert [module for module in sources(folder) if storey_of(module, HOUSE) is None] == ["shed"]
    assert private(folder) == {("high/step", "_f")}
