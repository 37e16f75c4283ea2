"""The package as a whole: what it imports, what it promises by name, and what its source may not hold."""

import ast
import functools
import importlib.util
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from models import MODELS

import minictr

FOLDER = Path(minictr.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))
RUN_TIME = {"numpy", "pandas", "matplotlib"}
every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))


def modules_after(code):
    """Names of all modules that are loaded after this code, in a Python of its own."""
    code = f"{code}; import json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


# -------------------------------------------------------------------------------------------------- imports

def test_importing_pulls_in_nothing_but_numpy_and_pandas():
    """Compared with what NumPy and pandas load by themselves (dateutil, pytz and the like)."""
    mine = modules_after("import minictr") - modules_after("import numpy, pandas")
    foreign = {name.split(".")[0] for name in mine} - set(sys.stdlib_module_names) - RUN_TIME - {"minictr"}
    assert not {name for name in foreign if not name.startswith("_")}
    assert not {name for name in mine if name.startswith(("matplotlib.pyplot", "sklearn", "torch", "scipy"))}


def test_importing_does_not_start_a_picture_window():
    assert "matplotlib.pyplot" not in modules_after("import minictr")


def test_training_and_explaining_need_no_matplotlib():
    code = ("from minictr import datasets, FM, explain; c = datasets.make_clicks(200); "
            "explain.pair_importance(FM(epochs=1).fit(c.X, c.y), c.X)")
    assert "matplotlib.pyplot" not in modules_after(code)
    assert "sklearn" not in modules_after(code)


@every_source
def test_only_the_standard_library_and_three_packages_are_imported(path):
    allowed = RUN_TIME | set(sys.stdlib_module_names) | {"minictr"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    lazily = {node for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            if top == "sklearn" or top == path.stem == "distributed":     # whoever asks for them has them
                assert node in lazily
                continue
            if top == "torch" and path.stem == "torch_modules":           # which only to_torch imports, when called
                continue
            if top == "pyarrow" and path.stem in ("pieces", "score_files"):        # for .parquet, where it is installed
                assert node in lazily
                continue
            assert top in allowed, f"line {node.lineno} imports {name}"
            assert top != "matplotlib" or node in lazily, f"line {node.lineno} imports matplotlib at once"


# ------------------------------------------------------------------------------------------- what is installed

def test_what_is_read_at_run_time_is_installed():
    """Every file of the package that is no module is named in setup.py's package_data."""
    [call] = [node for node in ast.walk(ast.parse((FOLDER.parent / "setup.py").read_text(encoding="utf-8")))
              if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup"]
    patterns = ast.literal_eval(next(keyword.value for keyword in call.keywords if keyword.arg == "package_data"))
    named = {path for package, names in patterns.items() for name in names
             for path in (FOLDER.parent / package.replace(".", "/")).glob(name)}
    files = {path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert named == files and {path.name for path in files} >= {"page.css", "page.js"}


# ---------------------------------------------------------------------------------------------------- names

def public_modules():
    yield minictr
    for found in pkgutil.walk_packages(minictr.__path__, "minictr."):
        if found.name == "minictr.bridges.torch_modules" and importlib.util.find_spec("torch") is None:
            continue
        if not found.name.rsplit(".", 1)[1].startswith("_"):
            yield importlib.import_module(found.name)


def test_every_name_in_all_exists_and_is_documented():
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name} does not exist"
            assert inspect.getdoc(getattr(module, name)), f"{module.__name__}.{name} has no docstring"


def test_the_names_of_the_readme_are_there():
    assert {*MODELS, "Categorical", "Numerical", "MultiValued", "datasets", "explain", "plots",
            "check_gradients"} <= set(minictr.__all__)
    assert list(minictr.__all__) == list(dict.fromkeys(minictr.__all__))
    assert re.fullmatch(r"\d+\.\d+\.\d+", minictr.__version__)


@pytest.mark.parametrize("before, now", [("cli", "app.cli"), ("html_report", "app.report"),
                                         ("threads", "training.threads"), ("distributed", "bridges.distributed")])
def test_what_moved_can_be_imported_from_where_it_was(before, now):
    before, now = (importlib.import_module(f"minictr.{name}") for name in (before, now))
    assert before.__all__
    assert all(getattr(before, name) is getattr(now, name) for name in before.__all__)


@every_source
def test_every_module_is_documented(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_public_function_and_class_is_documented():
    for module in public_modules():
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(member) or inspect.isfunction(member):
                assert inspect.getdoc(member), f"{module.__name__}.{name}"


def test_every_layer_shows_an_example_and_the_models_too():
    for name in minictr.layers.__all__:
        member = getattr(minictr.layers, name)
        if inspect.isclass(member) and member is not minictr.layers.Layer:
            assert ">>>" in (inspect.getdoc(member) or ""), name
    for name, model in MODELS.items():
        assert ">>>" in inspect.getdoc(model), name


# -------------------------------------------------------------------------------- what the source may not hold

@functools.cache
def code_only(path):
    """The source without comments and texts."""
    with tokenize.open(path) as file:
        return " ".join(token.string for token in tokenize.generate_tokens(file.readline)
                        if token.type not in (tokenize.COMMENT, tokenize.STRING))


@pytest.mark.parametrize("word, reason", [
    (r"\beinsum\b", "it reads well in test oracles, and is slow"),
    (r"\bc?[pP]ickle\b|\bdill\b|\bjoblib\b|\bmarshal\b|\bshelve\b", "a model file must not be able to run anything"),
    (r"\ballow_pickle = True\b", "a model file must not be able to run anything"),
    (r"random \. seed\b|random \. set_state\b|\bRandomState\b", "the global random state is the user's"),
    (r"np \. random \. (rand|randn|randint|normal|uniform|choice|shuffle|permutation|random)\b", "the same"),
    (r"(?<![.\w] )\b(exec|eval) \(", "nothing is executed from a string"),
    (r"\bprint_exc\b|\bset_trace\b|\bbreakpoint\b", "left over from debugging"),
    (r"\bexcept :", "swallows Ctrl-C"),
    (r"\bglobal\b", "state of a module is state between fits"),
    (r"\bseterr\b", "changes NumPy for everybody"),
], ids=["einsum", "pickle", "allow_pickle", "global seed", "global random numbers", "exec", "debugging", "bare except",
        "global", "seterr"])
def test_words_that_have_no_place_here(word, reason):
    for path in SOURCES:
        found = re.search(word, code_only(path))
        assert not found, f"{path.name}: {found[0]!r}: {reason}"


def test_the_words_would_be_found(tmp_path):
    """The search sees code, and neither comments nor texts."""
    (tmp_path / "code.py").write_text("import pickle  # eval(x)\nnp.einsum('exec(x)')\neval('3')\n")
    code = code_only(tmp_path / "code.py")
    assert re.search(r"\bc?[pP]ickle\b", code) and re.search(r"\beinsum\b", code)
    assert re.findall(r"(?<![.\w] )\b(exec|eval) \(", code) == ["eval"]


@every_source
def test_the_users_warnings_are_left_alone(path):
    """A filter is set inside ``with warnings.catch_warnings()`` only, so that it ends with the block."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {inner for block in ast.walk(tree) if isinstance(block, ast.With)
              and any("catch_warnings" in ast.unparse(item.context_expr) for item in block.items)
              for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("filterwarnings", "simplefilter"):
            assert node in inside, f"line {node.lineno}"


@every_source
def test_no_path_of_a_machine_and_no_todo(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|Users|root|tmp|work)/|[A-Z]:\\\\", text)
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)


@every_source
def test_defaults_are_not_mutable(path):
    """One list for all calls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                assert not isinstance(default, (ast.List, ast.Dict, ast.Set)), f"line {node.lineno}"


def test_layers_and_models_know_nothing_of_tables():
    """Data flows one way: table, fields, slots, embedding, interaction, logit, loss."""
    for path in (*(FOLDER / "layers").glob("*.py"), FOLDER / "losses.py", FOLDER / "optim.py",
                 *(path for path in (FOLDER / "models").glob("*.py") if path.name != "base.py")):
        assert not re.search(r"\bpandas\b|\bpd\b", code_only(path)), path.name


def test_no_model_file_imports_another_model_but_fnn_its_fm():
    """Shared maths is a layer."""
    for path in (FOLDER / "models").glob("*.py"):
        if path.name == "__init__.py":
            continue
        imported = {node.module for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.ImportFrom) and node.level == 1}
        assert imported <= ({"fm"} if path.name == "fnn.py" else set()), path.name


def test_softmax_always_names_its_axis():
    """An implicit axis is how the authors' AFM lost its attention."""
    parameter = inspect.signature(minictr.layers.softmax).parameters["axis"]
    assert parameter.default is inspect.Parameter.empty
