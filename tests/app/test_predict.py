"""``minictr predict``: the scores of the whole table, whatever its size, in any format; and how it says no."""

import errno
import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st
from test_cli import assert_one_line_of, clicks_table, run

from minictr import FM, LR, AutoInt, Model, MultiValued, Numerical, datasets
from minictr.app import model_tables, score_files
from minictr.app.table_files import read_table
from minictr.training import chunk_sizes, fixed_chunk_rows

TABLE = clicks_table(300).assign(id=[f"{k:05}" for k in range(300)])
FIELDS = ["user_segment", "hour", Numerical("discount", transform="standard"), MultiValued("interests"), "advertiser"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with a file of clicks, and a model of them."""
    monkeypatch.chdir(tmp_path)
    TABLE.to_csv("clicks.csv", index=False)
    FM(epochs=1, learning_rate=0.1, fields=FIELDS).fit(TABLE, TABLE["click"]).save("m.npz")
    return tmp_path


@pytest.fixture
def small_pieces(monkeypatch):
    """Let a piece have 8 rows."""
    monkeypatch.setattr(model_tables, "PIECE", 8)
    monkeypatch.setattr(chunk_sizes, "CHUNK_NUMBERS", 1)


def predict(table="clicks.csv", out="scores.csv", *options, model="m.npz"):
    return run("predict", model, table, "--out", out, *options)


def scores_of(path, column="probability"):
    return pd.read_csv(path, dtype=str)[column].astype(np.float64).to_numpy(np.float32)


def expected(model="m.npz", table="clicks.csv"):
    return Model.load(model).predict_proba(pd.read_csv(table))[:, 1]


# ---- what is written ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_scores_are_the_probabilities_of_the_whole_table(ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    result = predict("clicks.csv", f"scores{ending}", "--keep", "id,interests")
    assert result.code == 0, result.err
    assert f"Written to scores{ending}: 300 rows, column probability" in result.out
    if ending == ".parquet":
        written = pd.read_parquet("scores.parquet")
    else:
        written = pd.read_csv(f"scores{ending}", sep="\t" if ending == ".tsv" else ",", dtype=str)
    assert list(written) == ["id", "interests", "probability"]
    assert written["id"].tolist() == TABLE["id"].tolist()          # with its zeros
    assert written["interests"].tolist() == TABLE["interests"].tolist()
    np.testing.assert_array_equal(written["probability"].astype(np.float64).to_numpy(np.float32), expected())
    assert {path.name for path in Path().iterdir()} == {"clicks.csv", "m.npz", f"scores{ending}"}


@pytest.mark.parametrize("ending", [".csv.gz", ".tsv", ".tsv.gz"])
def test_tables_are_read_by_their_ending(ending):
    TABLE.to_csv(f"same{ending}", sep="\t" if "tsv" in ending else ",", index=False)
    assert predict(f"same{ending}").code == 0
    np.testing.assert_array_equal(scores_of("scores.csv"), expected())


def test_separators_and_blanks_around_names_are_those_of_training():
    Path("odd.csv").write_text(TABLE.to_csv(index=False, sep=";").replace(";", "; "))
    assert predict("odd.csv", "scores.csv", "--sep", ";", "--keep", "id").code == 0
    np.testing.assert_array_equal(scores_of("scores.csv"), expected())
    assert pd.read_csv("scores.csv", dtype=str)["id"].tolist() == TABLE["id"].tolist()
    assert_one_line_of(predict("odd.csv"), "--sep ';'")


def test_parquet_is_read_in_pieces_across_its_groups_of_rows(small_pieces):
    pytest.importorskip("pyarrow")
    table = TABLE.assign(id=range(300), when=pd.Timestamp("2026-01-01"))
    table.to_parquet("clicks.parquet", row_group_size=11)
    assert predict("clicks.parquet", "scores.parquet", "--keep", "id,when").code == 0
    written = pd.read_parquet("scores.parquet")
    pd.testing.assert_frame_equal(written[["id", "when"]], pd.read_parquet("clicks.parquet")[["id", "when"]])
    np.testing.assert_array_equal(written["probability"], expected())


def test_kept_cells_are_copied_as_they_stand():
    cells = ["007", "1e5", "NA", "", " x ", '"a,b"', "1.10", "True", "99999999999999999999", "é"]
    rows = [f"{cell},u,1.5" for cell in cells]
    Path("t.csv").write_text("\n".join(["key,seg,price", *rows, ""]), encoding="utf-8")
    LR(epochs=1, fields=["seg", "price"]).fit({"seg": ["u", "v"], "price": [1.0, 2.0]}, [0, 1]).save("lr.npz")
    assert predict("t.csv", "s.csv", "--keep", "key", model="lr.npz").code == 0
    lines = Path("s.csv").read_text(encoding="utf-8").splitlines()
    assert [line.rpartition(",")[0] for line in lines] == ["key", *cells]


def test_columns_say_of_what_they_are_the_probability():
    X = TABLE[["hour", "device"]]
    for y, column in ((np.where(TABLE["click"], "yes", "no"), "probability_of_yes"),
                      (TABLE["click"].astype(bool), "probability_of_True")):
        LR(epochs=1).fit(X, y).save("lr.npz")
        result = predict(model="lr.npz")
        assert f"column {column}" in result.out
        np.testing.assert_array_equal(scores_of("scores.csv", column), expected("lr.npz"))


def test_regression_gives_numbers_also_where_they_have_a_centre():
    y = 1.7e9 + TABLE["hour"]
    model = FM(epochs=1, fields=["hour", "device"]).fit(TABLE, y)
    model.save("fm.npz")
    assert predict(model="fm.npz").code == 0
    written = pd.read_csv("scores.csv", dtype=str)
    assert list(written) == ["prediction"] and model.predict(TABLE).dtype == np.float64
    np.testing.assert_array_equal(written["prediction"].map(float), model.predict(TABLE))


def test_the_standard_output_has_the_scores_and_nothing_else():
    result = predict("clicks.csv", "-", "--keep", "id")
    assert result.code == 0 and "300 rows" in result.err
    lines = result.out.splitlines()
    assert lines[0] == "id,probability" and len(lines) == 301 and lines[1].startswith("00000,0.")
    code = "import sys; from minictr.app.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, "predict", "m.npz", "clicks.csv", "--out", "-", "--keep", "id"],
                          capture_output=True, text=True)
    assert done.stdout == result.out and done.returncode == 0
    assert not Path("-").exists()


def test_values_that_training_never_saw_are_counted(small_pieces):
    table = TABLE.assign(advertiser=["new" if k % 3 == 0 else name for k, name in enumerate(TABLE["advertiser"])],
                         interests=["chess|sport" if k < 30 else cell for k, cell in enumerate(TABLE["interests"])])
    table.to_csv("new.csv", index=False)
    result = predict("new.csv")
    rates = Model.load("m.npz").encoder_.unknown_rate(read_table(Path("new.csv")))
    assert rates["advertiser"] == pytest.approx(1 / 3) and rates["interests"] == pytest.approx(0.05)
    assert "  advertiser: 33.3% of the values are unknown" in result.out
    assert "  interests: 5.0% of the values are unknown" in result.out and "hour" not in result.out


def test_ratings_are_predicted_too():
    ratings = datasets.make_ratings(30, 20, 300, seed=0)["ratings"]
    model = FM(epochs=1).fit(user_ids=ratings["user_id"], item_ids=ratings["movie_id"], ratings=ratings["rating"])
    model.save("fm.npz")
    ratings.rename(columns={"movie_id": "item_id"}).to_csv("ratings.csv", index=False)
    assert predict("ratings.csv", model="fm.npz").code == 0
    pairs = list(zip(ratings["user_id"], ratings["movie_id"], strict=True))
    np.testing.assert_allclose(scores_of("scores.csv", "prediction"), model.batch_predict(pairs), rtol=1e-6)


# ---- pieces ------------------------------------------------------------------------------------------------

@examples(25)
@given(rows=st.integers(1, 90), piece=st.integers(1, 100), numbers=st.sampled_from([1, 300, 2000]),
       model=st.sampled_from(["fm", "autoint"]), seed=st.integers(0, 9))
@example(rows=90, piece=13, numbers=1, model="autoint", seed=0)
@example(rows=90, piece=3, numbers=1, model="autoint", seed=1)
def test_the_size_of_pieces_changes_no_bit(rows, piece, numbers, model, seed):
    untrained = {"fm": FM(epochs=1), "autoint": AutoInt(epochs=1, layer_norm=True)}[model]
    drawn = clicks_table(400).sample(rows, random_state=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_sizes, "CHUNK_NUMBERS", numbers)
        patch.setattr(model_tables, "PIECE", piece)
        if not Path(f"{model}.npz").exists():
            untrained.set_params(learning_rate=0.1, fields=[*FIELDS, "position"])
            untrained.fit(TABLE, TABLE["click"]).save(f"{model}.npz")
        drawn.to_csv("drawn.csv", index=False)
        assert predict("drawn.csv", model=f"{model}.npz").code == 0
        np.testing.assert_array_equal(scores_of("scores.csv"), expected(f"{model}.npz", "drawn.csv"))


def test_a_piece_is_a_few_blocks(monkeypatch):
    model = Model.load("m.npz")
    monkeypatch.setattr(model_tables, "PIECE", 3 * fixed_chunk_rows(model) + 1)
    assert model_tables.Scored(model, Path("clicks.csv")).pieces.rows == 3 * fixed_chunk_rows(model)


def changed(row, **cells):
    """Write bad.csv: the clicks, with these cells in a row."""
    table = TABLE.astype(object)
    for name, cell in cells.items():
        table.loc[row, name] = cell
    table.to_csv("bad.csv", index=False)


@pytest.mark.parametrize(("cells", "parts"), [
    ({"discount": "cheap"}, ["bad.csv, line 207, column 'discount', row 205", "cheap is not a number"]),
    ({"discount": "inf"}, ["line 207, column 'discount', row 205", "infinite"]),
    ({"hour": "noon"}, ["bad.csv, line 207, column 'hour', row 205", "noon is text", "whole numbers"]),
    ({"hour": "07"}, ["line 207, column 'hour', row 205", "07 is text"]),
    ({"hour": "True"}, ["line 207, column 'hour', row 205", "True is text"]),
    ({"discount": "True"}, ["line 207, column 'discount', row 205", "True is not a number"]),
    ({"discount": "1e30"}, ["bad.csv: column 'discount', row 205: ", "1e+30", "too large"])])
def test_bad_cells_have_the_row_of_the_file(small_pieces, cells, parts):
    changed(205, **cells)
    Path("scores.csv").write_text("those of yesterday")
    result = predict("bad.csv")
    assert_one_line_of(result, *parts)
    assert Path("scores.csv").read_text() == "those of yesterday" and not list(Path().glob(".*"))


def test_what_overflows_has_the_row_of_the_file(small_pieces):
    model = FM(epochs=1, fields=["hour", Numerical("discount")]).fit(TABLE, TABLE["click"])
    model.embedding.params["V"][:] = 1e15
    model.save("fm.npz")
    changed(205, discount="1e17")
    assert_one_line_of(predict("bad.csv", model="fm.npz"), "bad.csv: column 'discount'", "row 205")


def test_true_and_false_do_not_turn_into_numbers(small_pieces):
    """A column of both is text to the whole table, whichever rows make a piece."""
    X = pd.DataFrame({"new": [True, False] * 20, "price": [1.0, 2.0] * 20})
    LR(epochs=1, fields=[Numerical("new"), "price"]).fit(X, [0, 1] * 20).save("lr.npz")
    X.to_csv("t.csv", index=False)
    assert predict("t.csv", model="lr.npz").code == 0
    X.astype({"new": object}).assign(new=[True] * 8 + [0.5] * 32).to_csv("t.csv", index=False)
    assert_one_line_of(predict("t.csv", model="lr.npz"), "t.csv, line 10, column 'new', row 8", "True nor False")
    X.astype({"new": object}).assign(new=[0.5] * 8 + [True] * 32).to_csv("t.csv", index=False)
    assert_one_line_of(predict("t.csv", model="lr.npz"), "t.csv, line 10, column 'new', row 8", "no number")


@pytest.mark.parametrize(("text", "parts"), [
    ("", ["t.csv cannot be read"]), ("hour,device\n", ["t.csv has a header, but no rows"]),
    ("hour,device\n" + "9,phone\n" * 20 + "9,phone,3\n", ["t.csv cannot be read", "line 22", "saw 3"]),
    ("hour,device\n" + "9,phone,3\n" * 20, ["more cells than the header"]),
    ("hour,device\n" + "9,phone\n" * 20 + '"9,phone\n', ["t.csv, line 22", "never closed"])])
def test_files_that_are_no_tables_are_refused(small_pieces, text, parts):
    LR(epochs=1).fit(TABLE[["hour", "device"]], TABLE["click"]).save("lr.npz")
    Path("t.csv").write_text(text)
    assert_one_line_of(predict("t.csv", model="lr.npz"), *parts)
    assert not Path("scores.csv").exists()


def test_files_that_are_cut_or_in_another_encoding_are_refused(small_pieces):
    text = Path("clicks.csv").read_bytes()
    Path("cut.csv.gz").write_bytes(gzip.compress(text)[:2000])
    assert_one_line_of(predict("cut.csv.gz"), "cut.csv.gz cannot be read")
    Path("latin.csv").write_bytes(text.replace(b"brand_01", "café".encode("latin-1")))
    assert_one_line_of(predict("latin.csv"), "latin.csv, line ", "not UTF-8")
    Path("no.parquet").write_bytes(text)
    pytest.importorskip("pyarrow")
    assert_one_line_of(predict("no.parquet"), "no.parquet cannot be read")


# ---- what cannot be ----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("table", "out", "options", "parts"), [
    ("nowhere.csv", "s.csv", [], ["nowhere.csv: No such file"]), ("-", "s.csv", [], ["-: a table is a file"]),
    ("clicks.csv", "no/s.csv", [], ["there is no folder no"]), ("clicks.csv", ".", [], ["this is a folder"]),
    ("clicks.csv", "s.xlsx", [], ["s.xlsx: --out names a file that ends in .csv"]),
    ("clicks.csv", "clicks.csv", [], ["--out clicks.csv is the file clicks.csv that is read"]),
    ("clicks.csv", "link.csv", [], ["--out link.csv is the file clicks.csv that is read"]),
    ("clicks.csv", "s.csv", ["--keep", "idd"], ["clicks.csv has no column 'idd'; it has user_segment, hour,"]),
    ("short.csv", "s.csv", [], ["short.csv has no column 'advertiser'"]),
    ("named.csv", "s.csv", ["--keep", "probability"], ["--keep probability", "rename"])])
def test_what_cannot_be_is_refused_before_anything_is_written(table, out, options, parts):
    os.symlink("clicks.csv", "link.csv")
    TABLE.drop(columns="advertiser").to_csv("short.csv", index=False)
    TABLE.assign(probability=1).to_csv("named.csv", index=False)
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert_one_line_of(predict(table, out, *options), *parts)
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_column_is_kept_once():
    result = predict("clicks.csv", "s.csv", "--keep", "id,id")
    assert result.code == 2 and "'id' is named more than once" in result.err


def test_a_full_disk_leaves_what_was_there(monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("scores.csv").write_text("those of yesterday")
    monkeypatch.setattr(score_files.CSVWriter, "__call__", full)
    assert_one_line_of(predict(), "scores.csv: No space left on device")
    assert Path("scores.csv").read_text() == "those of yesterday" and not list(Path().glob(".*"))


def test_ctrl_c_leaves_what_was_there(monkeypatch, small_pieces):
    calls, call = [], score_files.CSVWriter.__call__

    def pressed(self, table):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        call(self, table)

    monkeypatch.setattr(score_files.CSVWriter, "__call__", pressed)
    result = predict()
    assert result.code == 130 and result.err.endswith("minictr: interrupted\n")
    assert {path.name for path in Path().iterdir()} == {"clicks.csv", "m.npz"}


@pytest.mark.parametrize(("table", "out"), [("clicks.parquet", "s.csv"), ("clicks.csv", "s.parquet")])
def test_parquet_without_pyarrow_says_what_to_install(monkeypatch, table, out):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    Path("clicks.parquet").write_bytes(b"")
    assert_one_line_of(predict(table, out), ".parquet", "pip install pyarrow", ".csv")
