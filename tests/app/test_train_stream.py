"""``minictr train --stream`` learns what it learns from the whole table; ``--test`` measures on another file."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import assert_one_line_of, clicks_table, ctrl_c, line_of, numbers_of, run

from minictr import Model, metrics
from minictr.app import model_tables, pieces, train_tables
from minictr.layers import parameters

__all__ = ["ctrl_c"]        # a fixture

TABLE = clicks_table(300)
TRAIN = ["--target", "click", "--model", "fm", "--epochs", 2, "--multi-valued", "interests:|"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with a file of clicks and another one to test on; a piece has 23 rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pieces, "PIECE", 23)
    monkeypatch.setattr(model_tables, "PIECE", 23)
    TABLE.to_csv("clicks.csv", index=False)
    clicks_table(450)[300:].to_csv("later.csv", index=False)


def train(*options, table="clicks.csv", save="m.npz", common=TRAIN):
    return run("train", table, *common, "--save", save, *options)


def both(*options, table="clicks.csv", common=TRAIN):
    """Train with and without --stream: what each said, and the two models."""
    said = []
    for save, more in (("whole.npz", []), ("stream.npz", ["--stream"])):
        result = train(*options, *more, table=table, save=save, common=common)
        assert result.code == 0, result.err
        said.append([line for line in result.out.splitlines() if not line.startswith(("epoch", "To look", "  minictr"))
                     and save not in line])
    return *said, Model.load("whole.npz"), Model.load("stream.npz")


def assert_same(one, other):
    assert one.encoder_.fields == other.encoder_.fields
    assert one.encoder_.get_state()[0] == other.encoder_.get_state()[0]
    for name, array in parameters(one).items():
        np.testing.assert_array_equal(array, parameters(other)[name])
    pd.testing.assert_frame_equal(one.history_.drop(columns="seconds"), other.history_.drop(columns="seconds"))


# ---- the same as from memory -------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [
    ["--test", "later.csv"], ["--validation", 0], ["--seed", 5, "--validation", 0.3, "--ignore", "hour,device"],
    ["--task", "regression", "--numerical", "hour", "--categorical", "position"]])
def test_a_stream_gives_the_model_of_the_table_in_memory(options):
    whole, stream, one, other = both(*options)
    assert whole == stream
    assert_same(one, other)


@pytest.mark.parametrize("ending", [".csv.gz", ".tsv", ".parquet"])
def test_all_formats_can_be_streamed(ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
        TABLE.to_parquet("same.parquet", row_group_size=50)
    else:
        TABLE.to_csv(f"same{ending}", sep="\t" if ending == ".tsv" else ",", index=False)
    assert train().code == 0
    assert train("--stream", table=f"same{ending}", save="stream.npz").code == 0
    assert_same(Model.load("m.npz"), Model.load("stream.npz"))


LATE = {            # what the first pieces look like, and a cell far down that makes the column something else
    "whole": ([5, 7, 5, 9], ""), "code": ([5, 7, 12, 9], "007"), "huge": ([5, 7, 12, 9], "18446744073709551615"),
    "beyond": ([5, 7, 12, 9], "99999999999999999999999"), "float": ([5, 7, 12, 9], "2.5"),
    "text": ([5, 7, 12, 9], "x"), "truth": ([True, False, True, True], "maybe"), "both": ([True, False] * 2, "3"),
    "missing": (["", "", "", ""], "4"), "bars": (["a", "b", "c", "d"], "a|b")}


@pytest.mark.parametrize("kind", LATE)
def test_columns_are_what_the_whole_file_says(kind):
    cells, last = LATE[kind]
    pd.DataFrame({"a": [*cells * 40, last], "b": [*"uv" * 80, "u"], "click": [*[0, 1] * 80, 1]}).to_csv(
        "t.csv", index=False)
    whole, stream, one, other = both(table="t.csv", common=[*TRAIN[:6], "--validation", 0])
    assert whole == stream
    assert_same(one, other)


def test_two_texts_are_a_target_in_pieces_too():
    answers = np.where(TABLE["click"], "yes", "no")
    TABLE.assign(click=answers).to_csv("t.csv", index=False)
    TABLE.assign(click=answers)[:40].to_csv("test.csv", index=False)
    whole, stream, one, other = both("--test", "test.csv", table="t.csv")
    assert whole == stream and other.classes_.tolist() == ["no", "yes"]
    assert_same(one, other)


def test_too_many_validation_rows_are_held_out_in_part(monkeypatch):
    monkeypatch.setattr(train_tables, "HELD_OUT", 40)
    result = train("--stream", "--validation", 0.5)
    assert "On the 40 validation rows" in result.out and "260 rows, 8 fields" in result.out


@pytest.mark.parametrize("few", [10_000, 10])       # rows whose order is drawn as a whole, and too many for that
def test_rows_held_out_are_not_trained_on(monkeypatch, few):
    monkeypatch.setattr(train_tables, "FEW_ROWS", few)
    Path("t.csv").write_text("\n".join(["id,click", *(f"{k},{k % 2}" for k in range(200)), ""]))
    result = train("--stream", "--validation", 0.25, table="t.csv", common=[*TRAIN[:3], "lr", *TRAIN[4:6]])
    assert result.code == 0 and "On the 50 validation rows" in result.out
    assert len(set(Model.load("m.npz").encoder_.feature_names("id")[2:])) == 150


def test_a_training_in_pieces_goes_on_from_its_checkpoint(monkeypatch):
    assert train("--stream", save="straight.npz").code == 0
    first = [*TRAIN[:5], 1, *TRAIN[6:]]
    assert train("--stream", "--checkpoint", "run.npz", common=first).code == 0
    result = train("--stream", "--checkpoint", "run.npz", "--resume")
    assert result.code == 0 and "going on after epoch 1" in result.out
    assert_same(Model.load("straight.npz"), Model.load("m.npz"))


def test_ctrl_c_keeps_the_best_so_far(ctrl_c):
    ctrl_c(2)
    result = train("--stream", "--test", "later.csv")
    assert result.code == 130 and "interrupted after 1 full epoch" in result.err
    assert len(Model.load("m.npz").history_) == 1 and "rows of later.csv" in result.out


def test_ctrl_c_before_anything_was_learned_saves_nothing(ctrl_c):
    ctrl_c(1)
    result = train("--stream")
    assert result.code == 130 and "nothing is saved" in result.err and not Path("m.npz").exists()


# ---- bad data ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "cell", "parts"), [
    ("discount", "cheap", ["clicks.csv, line 207, column 'discount', row 205", "cheap is not a number"]),
    ("discount", "1e30", ["column 'discount', row 205", "too large"]),
    ("click", "2", ["clicks.csv, line 207, column 'click', row 205", "neither 0 nor 1"]),
    ("click", "", ["line 207, column 'click', row 205", "missing"]),
    ("click", "maybe", ["line 207, column 'click', row 205", "maybe is not a number"])])
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_bad_cells_have_the_row_of_the_file(name, cell, parts, stream):
    table = TABLE.astype(object)
    table.loc[205, name] = cell
    table.to_csv("clicks.csv", index=False)
    assert_one_line_of(train(*stream, "--numerical", "discount"), *parts)
    assert not Path("m.npz").exists()


@pytest.mark.parametrize(("options", "parts"), [
    (["--validation", 0.001], ["--validation 0.001 of 300 rows"]), (["--ignore", "nothing"], ["no column 'nothing'"]),
    (["--ignore", ",".join(TABLE.columns[:-1])], ["no column is left"])])
def test_options_that_do_not_fit_the_table_are_refused(options, parts):
    assert_one_line_of(train("--stream", *options, common=TRAIN[:6]), *parts)


def test_a_header_is_no_table():
    Path("t.csv").write_text("a,click\n")
    assert_one_line_of(train("--stream", table="t.csv", common=TRAIN[:6]), "t.csv has a header, but no rows")


# ---- --test ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [[], ["--stream"], ["--validation", 0]])
def test_scores_are_those_of_the_other_file(options):
    result = train("--test", "later.csv", *options)
    assert result.code == 0, result.err
    later = pd.read_csv("later.csv")
    p = Model.load("m.npz").predict_proba(later)[:, 1]
    said = result.out[result.out.index("On the 150 rows of later.csv"):]
    assert numbers_of(line_of(said, "FM  ")) == [round(metrics.auc(later["click"], p), 4),
                                                round(metrics.log_loss(later["click"], p), 4)]
    assert result.out.index("Saved to m.npz") < result.out.index("On the 150 rows")


def test_numbers_are_measured_by_their_error():
    result = train("--test", "later.csv", "--task", "regression", common=["--target", "hour", *TRAIN[2:]])
    later = pd.read_csv("later.csv")
    rmse = metrics.rmse(later["hour"], Model.load("m.npz").predict(later))
    assert numbers_of(line_of(result.out[result.out.index("later.csv"):], "FM  ")) == [round(rmse, 4)]


@pytest.mark.parametrize(("change", "parts"), [
    (lambda table: table.drop(columns="device"), ["later.csv has no column 'device'"]),
    (lambda table: table.drop(columns="click"), ["later.csv has no column 'click'"])])
def test_a_test_file_without_a_column_is_refused_before_training(change, parts):
    change(pd.read_csv("later.csv")).to_csv("later.csv", index=False)
    result = train("--test", "later.csv")
    assert_one_line_of(result, *parts)
    assert "epoch" not in result.out and not Path("m.npz").exists()


def test_a_bad_cell_in_the_test_file_costs_no_model():
    table = pd.read_csv("later.csv").astype(object)
    table.loc[99, "hour"] = "noon"
    table.to_csv("later.csv", index=False)
    result = train("--test", "later.csv")
    assert_one_line_of(result, "later.csv, line 101, column 'hour', row 99", "noon is text")
    assert "Saved to m.npz" in result.out and Path("m.npz").exists()


@pytest.mark.parametrize(("file", "parts"), [
    ("clicks.csv", ["--test clicks.csv: this is the table to train on"]),
    ("nowhere.csv", ["nowhere.csv: No such file"]),
    ("later.xlsx", ["later.xlsx: a table is a file that ends in .csv"])])
def test_what_is_no_test_file_is_refused_before_training(file, parts):
    result = train("--test", file)
    assert_one_line_of(result, *parts)
    assert "epoch" not in result.out


def test_rows_do_not_come_back_in_another_order():
    """Pieces are cut, joined and shuffled in windows; each row of the file is there once."""
    rows = [f"{k},{random.Random(k).random():.3f},{k % 2}" for k in range(200)]
    Path("t.csv").write_text("\n".join(["id,price,click", *rows, ""]))
    result = train("--stream", "--set", "shuffle_window=31", table="t.csv", common=TRAIN[:6])
    assert result.code == 0 and Model.load("m.npz").row_counts_.sum() == 2 * 180


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_whole_numbers_with_missing_ones_are_categories_in_parquet_as_in_csv(stream):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"age": pd.array([3, None, 4, 5] * 20, dtype="Int64"), "click": [0, 1] * 40})
    table.to_parquet("t.parquet")
    table.to_csv("t.csv", index=False)
    models = []
    for name in ("t.parquet", "t.csv"):
        result = train(*stream, table=name, common=[*TRAIN[:3], "lr", *TRAIN[4:6]])
        assert result.code == 0 and "categorical, 3 values, missing in 25.0% of rows" in line_of(result.out, "  age")
        models.append(Model.load("m.npz"))
    assert_same(*models)
