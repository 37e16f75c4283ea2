"""What commands say is in the words of a command line: each error and warning that can reach one is provoked."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import clicks_table, run

from minictr import FM, LR, Numerical
from minictr.app import pieces, train_tables
from minictr.app.terminal import PYTHON, QUOTED, in_words
from minictr.fields import table as table_module

TABLE = clicks_table(120).drop(columns="interests")
TRAIN = ["train", "t.csv", "--target", "click", "--model", "fm", "--epochs", 1, "--save", "m.npz"]

# Beside what is code for sure: words that only Python has, or that name its arguments.
LIBRARY = ("None", "learning_rate", "partial_fit", "log_squared", "MultiValued", " X ", " y ", "in fit", "transform")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("t.csv", index=False)


def said_without_python(result, *parts, code=1):
    """Check that a command said these parts in one line, and nothing that one could only do in Python."""
    assert result.code == code, result.err
    said = result.err.splitlines()[-1]
    bare = QUOTED.sub("", said)
    assert not PYTHON.search(bare), said
    assert not [word for word in LIBRARY if word in bare], said
    for part in parts:
        assert part in said


def with_cells(**cells):
    """Write t.csv with these cells in row 7."""
    table = TABLE.astype(object)
    for name, cell in cells.items():
        table.loc[7, name] = cell
    table.to_csv("t.csv", index=False)


@pytest.mark.parametrize(("cells", "options", "parts"), [
    ({"discount": "1e30"}, ["--numerical", "discount"],
     [": column 'discount', row 7", "too large", "leave the cell empty;", "change the unit"]),
    ({}, ["--model", "autoint", "--set", "reg=1"], ["reg has nothing to act on", "leave --set reg out"]),
    ({}, ["--model", "ffm", "--set", "first_order=false", "--task", "regression"],
     ["FFM without its first-order terms", "leave --set first_order out"]),
    ({}, ["--model", "afm", "--ignore", ",".join(TABLE.columns[1:-1])], ["only one field; use --model lr"]),
    ({"discount": "1e300"}, ["--target", "discount", "--task", "regression"], ["too large"]),
    ({}, ["--set", "freeze=[\"nothing\"]"], ["freeze names 'nothing'"]),
    ({}, ["--model", "widedeep", "--set", "crosses=[[\"hour\",\"moon\"]]"], ["crosses names the field 'moon'"]),
    ({}, ["--learning-rate", 1e30, "--set", "optimizer=sgd"], ["Lower --learning-rate"])])
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_train(cells, options, parts, stream):
    with_cells(**cells)
    said_without_python(run(*TRAIN, *options, *stream), *parts)


@pytest.mark.parametrize(("setting", "parts"), [
    ("crosses=[1]", ["such as [[\"user\",\"ad\"]]"]),
    ("lr_multipliers={\"V\":-1}", ["an object from names to numbers"]),
    ("shuffle_window=0", ["null or a whole number"])])
def test_settings(setting, parts):
    said_without_python(run(*TRAIN, "--model", "widedeep", "--set", setting), *parts, code=2)


def test_more_ids_than_there_are_numbers(monkeypatch):
    monkeypatch.setattr(table_module.np, "iinfo", lambda dtype: type("Limits", (), {"max": 20}))
    said_without_python(run(*TRAIN), "int32 holds", "--ignore")


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_long_cells(monkeypatch, stream):
    monkeypatch.setattr("minictr.fields.multi_valued.MAX_PADDED", 1000)
    with_cells(device="|".join(map(str, range(300))))
    train = [*TRAIN, "--multi-valued", "device:|", *stream]
    said_without_python(run(*train, "--validation", 0), ": column 'device', row 7: this cell holds 300",
                        "Leave values out of the fullest")
    said_without_python(run(*train), "among the rows that are not held out, counted from 0: column 'device', row 5")


@pytest.mark.parametrize(("change", "parts"), [
    (lambda rows: rows[:-40], ["rows to train on when it was first read", "leave it as it is"]),
    (lambda rows: [*rows[:-1], rows[-1].replace(",a,", ",a|b|c|d,")], ["leave the table as it is"])])
def test_a_table_that_changes_while_it_is_read(monkeypatch, change, parts):
    rows = [f"{k % 5},a,{k % 2}" for k in range(90)]
    Path("t.csv").write_text("\n".join(["id,tags,click", *rows, ""]))
    monkeypatch.setattr(pieces, "PIECE", 20)
    passes, whole = [], train_tables.StreamedTable.pieces

    def changing(self):
        passes.append(1)
        if len(passes) == 3:        # that of the first epoch
            Path("t.csv").write_text("\n".join(["id,tags,click", *change(rows), ""]))
        return whole(self)

    monkeypatch.setattr(train_tables.StreamedTable, "pieces", changing)
    said_without_python(run(*TRAIN, "--stream", "--multi-valued", "tags:|", "--validation", 0), *parts)
    assert not Path("m.npz").exists()


def test_two_fields_make_one_pair():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run(*TRAIN, "--model", "afm", "--ignore", ",".join(TABLE.columns[2:-1]))
    said_without_python(result, "two fields make one pair", code=0)


@pytest.mark.parametrize(("cell", "parts"), [
    ({"discount": "1e30"}, ["t.csv: column 'discount', row 7", "too large"]),
    ({"discount": "1e17"}, ["column 'discount'", "row 7", "correct it: the prediction of row 7"])])
def test_predict(cell, parts):
    model = FM(epochs=1, fields=["hour", Numerical("discount")]).fit(TABLE, TABLE["click"])
    model.embedding.params["V"][:] = 1e15
    model.save("m.npz")
    with_cells(**cell)
    said_without_python(run("predict", "m.npz", "t.csv", "--out", "s.csv"), *parts)
    said_without_python(run("explain", "m.npz", "t.csv", "--out", "pics"), *parts[1:])


def test_predict_by_a_model_that_diverged():
    LR(epochs=1, fields=["hour", "device"]).fit(TABLE, TABLE["click"]).save("m.npz")
    words = in_words(ValueError("nothing can be predicted, as the parameter w of this LR is not finite: its training "
                                "diverged. Fit it again, with a lower learning_rate"))
    assert words.endswith("with a lower --learning-rate")


@pytest.mark.parametrize("columns", [{"hour": [True] * 40}, {"device": [3] * 40}, {"hour": ["9", "x"] * 20},
                                     {"discount": pd.date_range("2020", periods=40)}])
def test_predict_from_columns_of_another_kind(columns):
    pytest.importorskip("pyarrow")
    FM(epochs=1, fields=["hour", "device", "discount"]).fit(TABLE, TABLE["click"]).save("m.npz")
    good = {"hour": [9, 10] * 20, "device": ["desktop", "phone"] * 20, "discount": np.zeros(40)}
    pd.DataFrame({**good, **columns}).to_parquet("t.parquet")
    said_without_python(run("predict", "m.npz", "t.parquet", "--out", "s.csv"), "t.parquet", repr(next(iter(columns))))


def test_a_checkpoint_that_cannot_be():
    said_without_python(run(*TRAIN, "--checkpoint", "no/run.npz"), "--checkpoint no/run.npz: there is no folder no")
