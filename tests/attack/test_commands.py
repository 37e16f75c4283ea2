"""Odd files and command lines: the right thing, or one line that says what is wrong; and nothing half-written."""

import contextlib
import csv
import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from attack.odd import PIECES, odd_names, odd_text
from attack.tally import Tally, rounds
from pandas._libs.parsers import STR_NA_VALUES

import minictr
from minictr import Model
from minictr.app.cli import main
from minictr.app.options import MODELS
from minictr.app.table_files import read_table
from minictr.app.terminal import PYTHON, QUOTED

ACTS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
COMMON = ["a", "b", "c", "3", "4", "2.5"]
DOT = b"\x89PNG, that of the stand-in"


def run(*arguments):
    """Run a command in this process: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


def check_said(code, out, err):
    """Assert what is promised of any command: its code, and one line for an error."""
    assert code in (0, 1, 2), f"exit code {code}"
    assert not (acts := ACTS.search(out + err)), f"the character {acts[0]!r} on the terminal"
    lines = [line for line in err.splitlines() if not line.startswith("minictr: warning: ")]
    if code == 0:
        assert not lines, f"exit code 0, and {lines[0]:.200}"
    elif code == 1:
        assert len(lines) == 1 and lines[0].startswith("minictr: error: "), f"not one line: {err:.300}"
        assert len(lines[0]) < 8_000, f"an error of {len(lines[0]):,} characters"
        words = QUOTED.sub("", lines[0].partition("; it has ")[0])          # names of columns may be anything
        assert not PYTHON.search(words), f"advice in Python: {lines[0]:.300}"
    else:
        assert err.startswith("usage: "), f"exit code 2, and {err:.200}"


# ---- files -------------------------------------------------------------------------------------------------

def odd_cells(rng):
    """The cells of a table: {name: list of texts}. Each column is odd in a way of its own."""
    n_rows = int(rng.integers(1, 40))
    columns = {}
    for name in odd_names(rng, int(rng.integers(2, 6))):
        kind = rng.integers(5)
        pool = [odd_text(rng, 1 if kind < 3 else 3, PIECES[-22:] if kind < 2 else PIECES) for _ in range(4)]
        if kind == 2:
            pool = [str(number) for number in rng.integers(-5, 2**62, 4)]
        if rng.random() < 0.2:
            pool.append("")
        columns[name] = [pool[k] for k in rng.integers(len(pool), size=n_rows)]
    return columns


def write_cells(path, columns, sep, rng):
    """Write a table as some program might: its quotes, its line ends, its mark of UTF-8, its blank lines."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=sep, lineterminator=["\n", "\r\n"][rng.integers(2)],
                        quoting=[csv.QUOTE_MINIMAL, csv.QUOTE_ALL][rng.integers(2)])
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    data = text.getvalue().encode(["utf-8", "utf-8-sig"][rng.integers(2)])
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def check_read(table, columns):
    """Assert that a table holds the cells that a file was written from, no two of them taken for one."""
    assert list(table.columns) == [name.strip() for name in columns], f"the names {list(table.columns)}"
    for name, texts in zip(table, columns.values(), strict=True):
        read = table[name]
        assert len(read) == len(texts), f"{len(read)} rows instead of {len(texts)}"
        for text, value in zip(texts, read, strict=True):
            if text in STR_NA_VALUES:
                assert pd.isna(value), f"{text!r} became {value!r}"
            elif isinstance(value, str):
                assert value == text, f"{text!r} became {value!r}"
            elif isinstance(value, (bool, np.bool_)):
                assert text.lower() == str(value).lower(), f"{text!r} became {value!r}"
            else:
                assert float(text) == float(value), f"{text!r} became {value!r}"
                whole = isinstance(value, (int, np.integer))
                assert not whole or text.strip() in (str(value), f"+{value}", f"-{value}"), f"{text!r} became {value!r}"


@pytest.mark.long
def test_tables_are_read_as_they_were_written(tmp_path):
    tally = Tally("files of tables")
    for seed in range(rounds(700)):
        rng = np.random.default_rng(seed)
        columns = odd_cells(rng)
        path = tmp_path / f"t.{['csv', 'tsv', 'csv.gz', 'CSV'][rng.integers(4)]}"
        sep = [",", ";", "\t", "|"][rng.integers(4)]
        write_cells(path, columns, sep, rng)
        try:
            table = read_table(path, sep=sep)
            check_read(table, columns)
        except ValueError as refused:
            tally.add("refused" if str(refused).startswith(str(path)) else tally.fail(seed, f"{refused!s:.300}"))
        except Exception as error:
            tally.fail(seed, f"{type(error).__name__}: {error!s:.300}")
        else:
            numbers = [name for name in table if pd.api.types.is_any_real_numeric_dtype(table[name])]
            tally.add("numbers among them" if numbers else "text")
    tally.check()
    assert tally.outcomes["refused"] < 0.1 * sum(tally.outcomes.values()), tally.outcomes


def damaged(data, rng):
    """The bytes of a file after an accident."""
    place = int(rng.integers(len(data) + 1))
    piece = [b'"', b"'", b"\0", b"\xff", b"\n", b"\r", b",", b";", b"\t", b"\x1f\x8b", b"," * 50, b'"' + b"x" * 200_000,
             rng.bytes(20), "ü".encode("utf-16")][rng.integers(14)]
    kind = rng.integers(6)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[place:]
    if kind == 2:
        return data[:place] + data[place + int(rng.integers(1, 200)):]
    if kind == 3:
        return data.decode("utf-8", "replace").encode(["utf-16", "latin-1"][rng.integers(2)], "replace")
    return data[:place] + piece + data[place:]


def clicks_file(path, rng, odd_name=None):
    """Write a table of clicks, with an odd column if it has a name; returns the names of all."""
    n_rows = int(rng.integers(5, 60))
    columns = {"id": [["1", "2", "3", "007"][k] for k in rng.integers(3 + (rng.random() < 0.3), size=n_rows)],
               "word": [COMMON[k] for k in rng.integers(len(COMMON), size=n_rows)],
               "price": [["0.5", "1.25", "", "3"][k] for k in rng.integers(4, size=n_rows)],
               "tags": [["x|y", "x", "z|x", ""][k] for k in rng.integers(4, size=n_rows)]}
    if odd_name:
        pool = [odd_text(rng) for _ in range(5)]
        columns[odd_name] = [pool[k] for k in rng.integers(5, size=n_rows)]
    columns["click"] = [str(k) for k in rng.integers(2, size=n_rows)]
    write_cells(path, columns, ",", rng)
    return list(columns)


ODD_VALUES = [
    "", "0", "1", "-1", "nan", "inf", "1e999", "9" * 30, "9" * 5000, "[[[[" * 5_000, "[1,2", "null", "true", '"x"',
    "{}", '{"embedding":1e9}', "[]", "[0]", "[3,2]", "()", "None", "tab", ",", ";", "::", "a:|", "word", "click",
    "id,word", ",,,", "\x1b[2J", "🙂", "--help", "adam", "float64", "0.5", "2", "7", "regression"]


def odd_options(rng, names, cls):
    """Some options of ``train``, sensible and not."""
    def value():
        return ODD_VALUES[rng.integers(len(ODD_VALUES))]

    def good(*choices):
        return choices[rng.integers(len(choices))] if rng.random() < 0.9 else value()

    settings = [name for name in cls().get_params() if name not in ("epochs", "n_threads")]
    options = []
    for _ in range(rng.integers(4)):
        kind = rng.integers(11)
        if kind < 3:
            options += ["--set", f"{settings[rng.integers(len(settings))]}={value()}"]
        else:
            options += [["--validation", good("0", "0.3", "0.01")], ["--categorical", good(*names)],
                        ["--numerical", good("price", "id")], ["--multi-valued", good("tags:|", "word:b")],
                        ["--ignore", good(*names)], ["--learning-rate", good("0.1", "1e3", "1e30")],
                        ["--batch-size", good("4", "100", "9" * 25)], ["--seed", good("3", "9" * 25)]][kind - 3]
    return options


def explained_fast(monkeypatch):
    """Let pictures be made, but not drawn, which takes nearly all of the time."""
    def savefig(self, file, **options):
        if isinstance(file, Path):
            file.write_bytes(DOT)
        else:
            file.write("<svg/>" if options.get("format") == "svg" else DOT)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)


@pytest.mark.long
def test_odd_commands(tmp_path, monkeypatch):
    """Train on a table that may be damaged, with options that may be mad, then explain another such table."""
    monkeypatch.chdir(tmp_path)
    explained_fast(monkeypatch)
    monkeypatch.setattr("minictr.app.report.RESAMPLES", 5)
    monkeypatch.setattr("minictr.app.scores.RESAMPLES", 5)
    tally = Tally("commands")
    for seed in range(rounds(120)):
        rng = np.random.default_rng([seed, 1])
        name = list(MODELS)[rng.integers(len(MODELS))]
        odd_name = odd_names(rng, 1)[0] if rng.random() < 0.5 else None
        names = clicks_file(Path("t.csv"), rng, odd_name)
        if rng.random() < 0.3:
            Path("t.csv").write_bytes(damaged(Path("t.csv").read_bytes(), rng))
        said = ""
        try:
            command = ["train", "t.csv", "--target", "click", "--model", name, "--save", "m.npz", "--epochs", "1",
                       "--set", "n_threads=1", *odd_options(rng, names, MODELS[name])]
            code, out, said = run(*command)
            check_said(code, out, said)
            assert Path("m.npz").exists() == (code == 0), "a model, and an error" if code else "no model"
            outcome = f"train {code}"
            if code == 0:
                Model.load("m.npz")
                outcome = check_explain(rng, names, odd_name)
            left = {path.name for path in Path().iterdir()} - {"t.csv", "m.npz", "pics"}
            assert not left, f"{left} left behind"
        except Exception as error:
            tally.fail(seed, f"{type(error).__name__}: {error!s:.300} [{said:.200}]")
        else:
            tally.add(outcome)
        Path("m.npz").unlink(missing_ok=True)
        shutil.rmtree("pics", ignore_errors=True)
    tally.check()


def check_explain(rng, names, odd_name):
    """Explain a table with a model that is there; what came of it."""
    if rng.random() < 0.7:
        clicks_file(Path("t.csv"), rng, odd_name)
    if rng.random() < 0.3:
        Path("t.csv").write_bytes(damaged(Path("t.csv").read_bytes(), rng))
    options = [[], ["--target", "click"], ["--row", "3"], ["--pictures"], ["--row", "99"], ["--sep", ";"],
               ["--target", names[0]]]
    code, out, err = run("explain", "m.npz", "t.csv", "--out", "pics", *options[rng.integers(len(options))])
    check_said(code, out, err)
    assert not PYTHON.search(" ".join(re.findall("Not for this model.*?\n\n", out, re.S))), out
    assert Path("pics").exists() == (code == 0), "a folder, and an error" if code else "no folder"
    if code == 0:
        assert Path("pics/index.html").read_text(encoding="utf-8").endswith("</html>\n")
        listed = " ".join(out[out.rindex("Written to"):].split())
        assert all(path.name in listed and path.stat().st_size for path in Path("pics").iterdir()), "not said, or empty"
    return f"explain {code}"


@pytest.mark.long
def test_odd_command_lines(tmp_path, monkeypatch):
    """Words in an order that nobody meant."""
    monkeypatch.chdir(tmp_path)
    clicks_file(Path("t.csv"), np.random.default_rng(0))
    tally = Tally("command lines")
    words = [*"train explain trace demo t.csv m.npz no.csv . /dev/null \ud83d --target click --model fm afm --save "
              "--out t.csv/x --rows --data ml-1m --detail --row --sep -h --version -- --mo".split(), *ODD_VALUES]
    monkeypatch.setenv("MINICTR_DATA", str(tmp_path / "nowhere"))
    for seed in range(rounds(150)):
        rng = np.random.default_rng([seed, 2])
        line = [words[k] for k in rng.integers(len(words), size=rng.integers(0, 7))]
        if rng.random() < 0.5:
            line = [*[["train", "t.csv", "--target", "click", "--model", "lr", "--epochs", "1", "--save", "m.npz"],
                      ["explain", "m.npz", "t.csv", "--out", "p"], ["trace", "--model", "lr"]][rng.integers(3)], *line]
        if line[:1] == ["demo"] and "1" not in line:              # five models would be trained
            continue
        try:
            code, out, err = run(*line)
            check_said(code, out, err)
            assert not [path for path in Path().iterdir() if path.name.endswith(".part")], "a part left behind"
        except Exception as error:
            tally.fail(seed, f"{line!r:.300}: {type(error).__name__}: {error!s:.300}")
        else:
            tally.add(code)
    tally.check()


# ---- in processes of their own -----------------------------------------------------------------------------

def start(*arguments, python=(), **options):
    """Start a command, to which Ctrl-C means what it does in a terminal: not so to what a script starts behind "&"."""
    environment = os.environ | {"PYTHONPATH": str(Path(minictr.__file__).parent.parent), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *python, "-m", "minictr", *map(str, arguments)], env=environment,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options)


@pytest.mark.long
def test_ctrl_c_at_any_moment(tmp_path, monkeypatch):
    """It ends with 130 and one line, or had ended; folder and model are whole, or not there."""
    monkeypatch.chdir(tmp_path)
    clicks_file(Path("t.csv"), np.random.default_rng(0))
    assert run("train", "t.csv", "--target", "click", "--model", "lr", "--epochs", "1", "--save", "m.npz")[0] == 0
    commands = {"explain": ["explain", "m.npz", "t.csv", "--out", "new"], "trace": ["trace", "--out", "new"],
                "train": ["train", "t.csv", "--target", "click", "--model", "fm", "--epochs", 10**6, "--validation",
                          0, "--save", "new"]}
    tally = Tally("Ctrl-C")
    tally.add("none")
    for seed in range(rounds(4)):
        rng = np.random.default_rng([seed, 3])
        name = list(commands)[rng.integers(3)]
        process = start(*commands[name], python=["-X", "importtime"], bufsize=0)
        begun = any(b"minictr.start" in line for line in process.stderr)       # before that, there is only Python
        time.sleep(4 * rng.random())
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=600)[1].decode()
        err = "\n".join(line for line in said.splitlines() if not line.startswith("import time:"))
        whole = {"explain": "new/index.html", "trace": "new/trace.html", "train": "new"}[name]
        left = {path.name for path in Path().iterdir()} - {"t.csv", "m.npz", "new"}
        if not begun or process.returncode not in (130, 0) or "Traceback" in err or left or (
                Path("new").exists() != Path(whole).exists()) or (
                process.returncode == 130 and "interrupted" not in err):
            tally.fail(seed, f"{name}: {process.returncode}, {left}, {err[-500:]}")
        else:
            tally.add(f"{name} {process.returncode}")
        if Path("new").is_dir():
            shutil.rmtree("new")
        Path("new").unlink(missing_ok=True)
    tally.check()


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_output_that_cannot_be_written(tmp_path):
    """A full disk is one line; a reader that has gone is none."""
    clicks_file(tmp_path / "t.csv", np.random.default_rng(0))
    train = ["train", tmp_path / "t.csv", "--target", "click", "--model", "lr", "--epochs", 1, "--save", tmp_path / "m"]
    for command in (["trace"], train):                            # more than the buffer of the output, and less
        with open("/dev/full", "wb") as full:
            process = start(*command, stdout=full)
            _, err = process.communicate(timeout=600)
        assert (process.returncode, err.decode()) == (1, "minictr: error: No space left on device\n")
    process = start("trace")
    process.stdout.close()
    assert (process.wait(timeout=600), process.stderr.read()) == (0, b"")
    process.stderr.close()
