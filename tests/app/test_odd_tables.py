"""Odd files on the command line: read as a user means them, or refused in one line that says where and what to do."""

import gzip
from pathlib import Path

import pandas as pd
import pytest
from test_cli import assert_one_line_of, line_of, run

from minictr import Model
from minictr.app.table_files import read_table

TRAIN = ["--target", "click", "--model", "fm", "--epochs", 1, "--save", "m.npz"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text, name="t.csv"):
    Path(name).write_bytes(text.encode())
    return Path(name)


def train(rows, *options, name="t.csv", header="id,price,click"):
    write("\n".join([header, *rows, ""]), name)
    return run("train", name, *TRAIN, *options)


# ---- codes -------------------------------------------------------------------------------------------------

CODES = [f"{code},{k / 4},{k % 2}" for k, code in enumerate(["007", "07", "7", "0", "00", "12", ""] * 6)]


def test_numbers_with_zeros_before_them_are_codes():
    result = train(CODES, "--validation", 0)
    assert result.code == 0, result.err
    assert Model.load("m.npz").encoder_.feature_names("id")[2:] == ["0", "00", "007", "07", "12", "7"]
    assert Model.load("m.npz").encoder_.describe().set_index("field").missing["id"] == pytest.approx(1 / 7)
    assert "a code; if these are quantities: --numerical id" in line_of(result.out, "  id")


def test_codes_are_read_later_as_in_training():
    assert train(CODES).code == 0
    model = Model.load("m.npz")
    write("id,price\n7,1.5\n12,2.5\n", "later.csv")
    assert run("explain", "m.npz", "later.csv", "--out", "pics").code == 0
    read = read_table(Path("later.csv"), as_text=["id"])
    assert model.encoder_.unknown_rate(read)["id"] == 0 and read["id"].tolist() == ["7", "12"]


def test_codes_are_no_whole_numbers_to_a_model_of_these():
    assert train([f"{k % 5},{k / 4},{k % 2}" for k in range(40)]).code == 0
    write("id,price\n1,0.5\n001,1.5\n", "later.csv")
    assert_one_line_of(run("explain", "m.npz", "later.csv", "--out", "pics"),
                       "later.csv, line 3, column 'id', row 1", "001", "whole numbers")
    assert not Path("pics").exists()


def test_quantities_and_targets_may_begin_with_zeros():
    rows = [f"{k % 7:03},{k / 4},0{k % 2}" for k in range(40)]
    result = train(rows, "--numerical", "id")
    assert result.code == 0, result.err
    assert "numerical, from 0 to 6" in line_of(result.out, "  id")
    write("id,price,click\n0007,1.5,01\n", "later.csv")
    assert run("explain", "m.npz", "later.csv", "--out", "pics", "--target", "click").code == 0


@pytest.mark.parametrize("codes", [["18446744073709551615", "18446744073709551614", "7"],
                                   ["18446744073709551615", "", "7"], ["99999999999999999999999", "-7", ""]])
def test_numbers_beyond_64_bits_are_codes(codes):
    result = train([f"{code},{k / 4},{k % 2}" for k, code in enumerate(codes * 12)])
    assert result.code == 0, result.err
    assert Model.load("m.npz").encoder_.feature_names("id")[2:] == sorted(filter(None, codes))


# ---- headers and separators --------------------------------------------------------------------------------

def test_blanks_after_separators_are_no_part_of_names_and_cells():
    rows = [f'{"uvw"[k % 3]}, {k / 4}, {k % 2} , "x, {k % 3}"' for k in range(40)]
    result = train(rows, header="id, price , click, text")
    assert result.code == 0, result.err
    encoder = Model.load("m.npz").encoder_
    assert encoder.field_names == ["id", "price", "text"]
    assert encoder.feature_names("text")[2:] == ["x, 0", "x, 1", "x, 2"]
    Path("t.csv").write_text(Path("t.csv").read_text().replace("2.5", "cheap"))
    assert_one_line_of(run("explain", "m.npz", "t.csv", "--out", "pics"), "t.csv, line 12, column 'price'", "cheap")


def test_names_that_differ_in_blanks_are_one_name():
    assert_one_line_of(train(["u,1.5,1"], header="id, id,click"), "2 columns are called 'id'")


@pytest.mark.parametrize("name, sep, words", [
    ("t.csv", ";", ["';'", "semicolons", "'id;price;click'"]), ("t.csv", "\t", ["--sep tab", "tabs"]),
    ("t.csv", "|", ["'|'", "vertical bars"]), ("t.tsv", ",", ["','", "between tabs", "commas"])])
def test_a_separator_that_would_fit_is_named_and_can_be_given(name, sep, words):
    rows = [sep.join(["uvw"[k % 3], f"{k},5", str(k % 2)]) for k in range(40)]      # decimal commas, as often with ;
    header = sep.join(["id", "price", "click"])
    refused = train(rows if sep != "," else ["u,1,1"], name=name, header=header)
    assert_one_line_of(refused, name, *words)
    rows = [sep.join(["uvw"[k % 3], f"{k}.5", str(k % 2)]) for k in range(40)]
    word = "tab" if sep == "\t" else sep
    result = train(rows, "--sep", word, name=name, header=header)
    assert result.code == 0, result.err
    assert f"--sep {word}" in result.out or f"--sep '{word}'" in result.out
    Path(name).write_text(Path(name).read_text().replace("2.5", "cheap", 1))
    assert_one_line_of(run("explain", "m.npz", name, "--sep", word, "--out", "pics"), "line 4, column 'price'", "cheap")


@pytest.mark.parametrize("sep", ["", ";;", "a", '"', "\n", "é"])
def test_a_separator_is_one_sign(sep):
    result = train(["u,1.5,1"], "--sep", sep)
    assert result.code == 2 and "expected one sign" in result.err


# ---- cells beyond all bounds -------------------------------------------------------------------------------

ROWS = [f'{"uvw"[k % 3]},{k / 4},{k % 2}' for k in range(40)]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize("line", [1, 5])
@pytest.mark.parametrize("padding", [0, 200_000])
def test_a_quotation_mark_that_is_never_closed_is_found(line, padding, ending):
    lines = ["id,price,click", *ROWS]
    lines[line - 1] = '"' + lines[line - 1]
    text = "\n".join([*lines, "x" * padding]).encode()
    Path(f"t{ending}").write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    assert_one_line_of(run("train", f"t{ending}", *TRAIN), f"t{ending}, line {line}", "quotation mark", "never closed")
    assert not Path("m.npz").exists()


def test_a_long_cell_is_a_cell():
    rows = [*ROWS[:20], f"{'w' * 200_000},1.5,1", *ROWS[20:-1]]
    assert train(rows).code == 0
    assert_one_line_of(train([*rows, "u,cheap,1"], "--numerical", "price"), "line 42, column 'price'", "cheap")


def test_a_long_name_is_not_repeated_in_full():
    result = train(ROWS, header=f"id,{'n' * 200_000},clock")
    assert_one_line_of(result, "no column 'click'; it has id, nnn", "clock")
    assert len(result.err) < 300
    header = ",".join(["click", *(f"column{number}" for number in range(5000))])
    result = run("explain", trained_elsewhere(), write(header + "\n" + ",".join("0" * 5001), "wide.csv"), "--out", "p")
    assert_one_line_of(result, "no column 'id'; it has click, column0", "and 4,901 more")


def trained_elsewhere():
    assert train(ROWS).code == 0
    return "m.npz"


def test_too_many_cells_are_said_without_the_parsers_words():
    result = train([*ROWS, "u,1.5,1,0"])
    assert_one_line_of(result, "t.csv", "line 42", "saw 4")
    assert "C error" not in result.err


def test_a_parquet_file_has_no_separator(monkeypatch):
    monkeypatch.setattr(pd, "read_parquet", lambda path, **options: pd.DataFrame({"id": ["a"], "click": [1]}))
    assert_one_line_of(run("train", "t.parquet", *TRAIN, "--sep", ";"), "no separators")
