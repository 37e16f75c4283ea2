"""Odd commands: what asks for too much, what is interrupted, what cannot be written, and how errors are worded."""

import argparse
import errno
import io
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from test_cli import assert_one_line_of, clicks_table, is_picture, run

import minictr
from minictr import FM, LR
from minictr.app import train_command
from minictr.app.cli import build_parser
from minictr.app.options import MODELS
from minictr.app.report import write_report
from minictr.app.terminal import PYTHON, Refused, Terminal, in_words
from minictr.estimator.registry import models_with
from minictr.text import printable

TRAIN = ["train", "clicks.csv", "--target", "click", "--model", "fm", "--epochs", 1, "--save", "m.npz"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with a file of clicks, and a model of them."""
    monkeypatch.chdir(tmp_path)
    table = clicks_table(120)
    table.to_csv("clicks.csv", index=False)
    LR(epochs=1, fields=["hour", "device"]).fit(table, table["click"]).save("lr.npz")
    return tmp_path


# ---- too much ----------------------------------------------------------------------------------------------

def test_vectors_that_do_not_fit_into_memory_are_refused_before_they_are_made():
    result = run(*TRAIN, "--embedding-dim", 1_000_000_000)
    assert_one_line_of(result, "--embedding-dim 1000000000", "GiB", "lower it")
    assert not Path("m.npz").exists()


@pytest.mark.parametrize(("optimizer", "copies"), [("adam", 3), ("adagrad", 1)])
def test_the_memory_of_vectors_is_that_of_what_is_made(monkeypatch, optimizer, copies):
    model = FM(embedding_dim=8, optimizer=optimizer).fit({"a": list("abc")}, [0, 1, 1])
    needed = copies * model.embedding.params["V"].nbytes
    n = model.encoder_.n_ids
    monkeypatch.setattr(train_command, "memory", lambda: needed)
    train_command.check_memory(model, n)
    monkeypatch.setattr(train_command, "memory", lambda: needed - 1)
    with pytest.raises(Refused, match=f"{n} values"):
        train_command.check_memory(model, n)


def test_too_little_memory_for_anything_else_is_one_line(monkeypatch):
    assert_one_line_of(run(*TRAIN[:5], "deepfm", *TRAIN[6:], "--set", f"deep_layers=[{10**15}]"), "not enough memory")


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, '{"a":' * 100_000])
def test_settings_beyond_all_bounds_are_refused(value):
    result = run(*TRAIN, "--set", f"deep_layers={value}")
    assert result.code == 2 and "too long or too deep" in result.err and len(result.err) < 2000


@pytest.mark.parametrize(("setting", "words"), [
    ("dropout=" + "9" * 400, "dropout"), ("freeze=[[1]]", 'freeze must be a list of names, such as ["embedding"]'),
    ("n_threads=0", "n_threads must be null or a whole number"), ("deep_layers=[0]", "has no setting"),
    ("lr_multipliers=3", "expected an object"), ("plain=1", "expected true or false, got 1"),
    ("optimizer=adan", "optimizer must be 'adam', 'adagrad', 'sgd' or 'ftrl'")])
def test_settings_are_checked_before_the_table_is_read(setting, words):
    result = run("train", "nowhere.csv", *TRAIN[2:], "--set", setting)
    assert result.code == 2 and words in result.err


# ---- Ctrl-C ------------------------------------------------------------------------------------------------

def python(*arguments, folders):
    """Run Python with these folders on its path, Ctrl-C as in a terminal: scripts start what is behind "&" without."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def test_ctrl_c_while_numpy_is_imported_shows_no_traceback(tmp_path):
    """A package in the place of numpy presses Ctrl-C."""
    (tmp_path / "numpy.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n")
    done = python("-m", "minictr", "--version", folders=[tmp_path, Path(minictr.__file__).parent.parent])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nminictr: interrupted\n")


def test_a_program_that_imports_minictr_keeps_its_ctrl_c(tmp_path):
    code = "import signal, minictr; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = python("-c", code, folders=[Path(minictr.__file__).parent.parent])
    assert done.stdout == "True\n", done.stderr


# ---- whole folders -----------------------------------------------------------------------------------------

def failing_on(monkeypatch, call, error):
    """Let the n-th picture fail when half of it is written."""
    calls, savefig = [], matplotlib.figure.Figure.savefig

    def broken(self, path, **options):
        calls.append(path)
        if len(calls) == call:
            if isinstance(path, Path):
                path.write_bytes(b"half a picture")
            raise error
        return savefig(self, path, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", broken)


COMMANDS = {"explain": ["explain", "lr.npz", "clicks.csv", "--target", "click", "--out", "pics",
                        "--pictures"],
            "trace": ["trace", "--model", "lr", "--out", "pics"], "demo": ["demo", "--rows", 1000, "--out", "pics"]}


@pytest.mark.parametrize(("command", "call"), [("explain", 1), ("explain", 3), ("trace", 1), ("demo", 2)])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_cannot_be_written_whole_is_not_there(monkeypatch, command, call, error):
    failing_on(monkeypatch, call, error)
    result = run(*COMMANDS[command])
    if isinstance(error, OSError):
        assert result.code == 1 and result.err.endswith("minictr: error: pics: No space left on device\n")
    else:
        assert result.code == 130 and result.err.endswith("minictr: interrupted\n")
    assert sorted(path.name for path in Path().iterdir()) == ["clicks.csv", "lr.npz"]


def test_what_was_there_stays_until_all_is_written(monkeypatch):
    Path("pics").mkdir()
    Path("pics/training_curve.svg").write_text("that of yesterday")
    Path("pics/notes.txt").write_text("mine")
    with monkeypatch.context() as patch:
        failing_on(patch, 3, OSError(errno.ENOSPC, "No space left on device"))
        assert run(*COMMANDS["explain"]).code == 1
    assert {path.name: path.read_text() for path in Path("pics").iterdir()} == {
        "training_curve.svg": "that of yesterday", "notes.txt": "mine"}
    assert run(*COMMANDS["explain"]).code == 0
    assert is_picture(Path("pics/training_curve.svg")) and Path("pics/notes.txt").read_text() == "mine"
    assert not list(Path("pics").glob(".*"))


def test_a_page_by_itself_is_whole_or_not_there(monkeypatch, folder):
    table = clicks_table(60)
    model = LR(epochs=1, fields=["hour"]).fit(table, table["click"])
    Path("page.html").write_text("that of yesterday")
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        write_report(model, table, path="page.html")
    assert Path("page.html").read_text() == "that of yesterday" and not list(Path().glob(".minictr*"))


def test_a_folder_that_cannot_be_made_is_named():
    result = run("trace", "--out", "clicks.csv/pics")
    assert_one_line_of(result, "clicks.csv")
    assert ".part" not in result.err


# ---- characters that act -----------------------------------------------------------------------------------

ODD = "\x1b[2J\x00\x9b\ud83d\u202eabc\r\n"


def test_escapes_stand_for_what_would_act():
    assert printable("plain, naïve, 中文, 👍🏽, עברית") == "plain, naïve, 中文, 👍🏽, עברית"
    assert printable(ODD) == r"\x1b[2J\x00\x9b\ud83d\u202eabc\r\n"
    assert printable(ODD, keep="\n") == r"\x1b[2J\x00\x9b\ud83d\u202eabc\r" + "\n"


def test_the_terminal_gets_no_control_characters():
    written = io.StringIO()
    print(ODD, end="", file=Terminal(written))
    assert written.getvalue() == r"\x1b[2J\x00\x9b\ud83d\u202eabc" + "\r\n"
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    print("FM × ü", file=Terminal(ascii_only), flush=True)
    assert ascii_only.buffer.getvalue() == b"FM \\xd7 \\xfc\n"
    table = pd.DataFrame({"ev\x1b[31mil": ["a\x1b[5m", "b"] * 20, "click": [0, 1] * 20})
    table.to_csv("odd.csv", index=False)
    result = run("train", "odd.csv", *TRAIN[2:])
    assert result.code == 0, result.err
    assert r"ev\x1b[31mil" in result.out and "\x1b" not in result.out
    result = run("train", "odd.csv", *TRAIN[2:], "--numerical", "ev\x1b[31mil")
    assert result.code == 1 and "\x1b" not in result.err


@pytest.mark.parametrize("model", [FM(epochs=1), minictr.AutoInt(epochs=1, num_layers=1)])
def test_odd_names_and_values_can_be_drawn_and_are_shown_on_the_page(model, monkeypatch):
    names = ["ev" + ODD[:-2].replace("\ud83d", ""), "$x_2$", "<b>&"]    # halves of characters: pandas has no such names
    rows = [[f"{value}{ODD}"] * 3 for value in "abcd"] * 10
    X = pd.DataFrame(rows, columns=pd.Index(names, dtype=object), dtype=object)
    model.clone().fit(X, [0, 1] * 20).save("odd.npz")
    monkeypatch.setattr("minictr.app.model_tables.read_table", lambda *arguments, **options: X)
    result = run("explain", "odd.npz", "odd.csv", "--out", "pics", "--pictures")
    assert result.code == 0, result.err
    text = Path("pics/index.html").read_bytes().decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert r"ev\x1b[2J\x00\x9b\u202eabc" in text and r"a\x1b[2J\x00\x9b\ud83d" in text and "<b>&" not in text
    assert all(is_picture(path) for path in Path("pics").glob("*.svg"))


# ---- words -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("library", "command"), [
    ("column 'a' has only missing values: leave it out of the fields",
     "column 'a' has only missing values: leave it out with --ignore"),
    ("column 'a=b; f(x=1)' held int values in fit but holds str values here (row 0: '7; g(x, y)'); convert it as it "
     "was for fit, for example with .astype(int)",
     "column 'a=b; f(x=1)' held whole numbers in training, but holds text here (row 0: '7; g(x, y)'); give it as it "
     "was in training"),
    ("X has 3 rows; pass X=table. Or wait", "X has 3 rows; Or wait"), ("f(x=1) is wrong", "f(x=1) is wrong")])
def test_advice_for_python_is_translated_or_left_out(library, command):
    assert in_words(ValueError(library)) == command


def test_what_the_command_line_says_itself_stays():
    assert in_words(Refused("no column 'a'; it has b=c")) == "no column 'a'; it has b=c"


def parquet(monkeypatch, columns):
    monkeypatch.setattr(pd, "read_parquet", lambda path, **options: pd.DataFrame(columns))
    return "t.parquet"


CLICK = [0, 1] * 20


@pytest.mark.parametrize(("columns", "options", "words"), [
    ({"a": pd.date_range("2020", periods=40)}, [], ["'a'", "--ignore"]),
    ({"a": [b"x", b"y"] * 20}, [], ["'a'", "bytes", "--ignore"]),
    ({"a": ["x", 1] * 20}, [], ["'a'", "--ignore"]),
    ({"a": [1j, 2j] * 20}, [], ["'a'"]),
    ({"a": [None] * 40}, [], ["'a' has only missing values", "--ignore"]),
    ({"a": ["x", "y"] * 20}, ["--multi-valued", "a:|", "--model", "afm"], ["only one field"]),
    ({"a": [3, 4] * 20}, ["--multi-valued", "a:|"], ["'a'"]),
    ({"a": [["x"], 3] * 20}, [], ["'a'"]),
    ({"a": ["x", "y"] * 20, "b": [1.0, np.inf] * 20}, [], ["infinite"]),
    ({"a": ["x", "y"] * 20}, ["--validation", "0.001"], ["--validation 0.001", "0 to train on all rows"]),
    ({"a": ["x", "y"] * 20}, ["--set", "freeze=[\"b\"]"], ["freeze names 'b'"])])
def test_no_error_gives_advice_in_python(monkeypatch, columns, options, words):
    table = parquet(monkeypatch, {**columns, "click": CLICK})
    result = run("train", table, "--target", "click", "--model", "fm", "--save", "m.npz", *options)
    assert_one_line_of(result, *words)
    assert not PYTHON.search(result.err), result.err
    assert not Path("m.npz").exists()


@pytest.mark.parametrize(("options", "columns", "warns"), [
    (["--model", "afm"], {"a": ["x", "y"] * 20, "b": ["u", "v", "w", "w"] * 10}, True),
    (["--model", "fm"], {"a": [1.0, 2.0, None, 4.0] * 10, "b": ["x", "y"] * 20}, True),
    (["--model", "fm", "--task", "regression"], {"a": ["x", "y"] * 20}, False),
    (["--model", "fm", "--task", "regression", "--learning-rate", "50"], {"a": list("abcdefgh") * 5}, True)])
def test_no_warning_gives_advice_in_python(monkeypatch, options, columns, warns):
    table = parquet(monkeypatch, {**columns, "click": CLICK})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run("train", table, "--target", "click", "--save", "m.npz", *options)
    assert result.err.startswith("minictr: warning: ") == warns
    assert not PYTHON.search(result.err), result.err


@pytest.mark.parametrize("columns", [{"hour": ["9", "x"] * 20}, {"hour": [9.5, np.inf] * 20}, {"hour": [True] * 40},
                                     {"device": [3] * 40}, {"hour": pd.date_range("2020", periods=40)}])
def test_no_error_of_explain_gives_advice_in_python(monkeypatch, columns):
    table = parquet(monkeypatch, {"hour": [9, 10] * 20, "device": ["desktop", "phone"] * 20, **columns})
    result = run("explain", "lr.npz", table, "--out", "pics")
    assert_one_line_of(result, next(iter(columns)))
    assert not PYTHON.search(result.err), result.err
    assert not Path("pics").exists()


def test_models_without_a_quantity_say_so_without_python():
    result = run("explain", "lr.npz", "clicks.csv", "--out", "pics")
    assert result.out.count("Not for this model") == 2 and not PYTHON.search(result.out), result.out


# ---- help --------------------------------------------------------------------------------------------------

def help_of(command):
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices[command].format_help()


def test_help_says_of_models_what_the_registry_knows():
    said = " ".join(help_of("train").split())
    for name, cls in MODELS.items():
        assert f" {name} {' '.join(cls.equation.split())} ({cls.paper})" in said
        if hasattr(cls, "embedding_dim"):
            assert re.search(rf"\b{cls.embedding_dim}:[\w\s,]*\b{name}\b", said)
    for method in ("attention_weights", "terms"):
        assert models_with(method) in help_of("explain")


def test_signals_are_as_before(folder):
    before = signal.getsignal(signal.SIGINT)
    run("--version")
    assert signal.getsignal(signal.SIGINT) is before
