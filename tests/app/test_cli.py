"""The command line: what it prints, writes and returns, and how it says no."""

import contextlib
import functools
import gzip
import io
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import xml.etree.ElementTree
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

import minictr
from minictr import (
    AFM,
    FM,
    Categorical,
    DeepFM,
    Model,
    MultiValued,
    Numerical,
    datasets,
    metrics,
    training,
)
from minictr.app import demo, table_files, train_tables
from minictr.app.cli import main
from minictr.app.options import MODELS
from minictr.checks import split_rows
from minictr.training import threads


def run(*arguments):
    """Run a command; its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def clicks_table(rows=400):
    """Return clicks as a file holds them: interests as text."""
    clicks = datasets.make_clicks(rows, seed=0)
    return clicks.X.assign(interests=clicks.X["interests"].map("|".join), click=clicks.y)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a file of clicks."""
    monkeypatch.chdir(tmp_path)
    clicks_table().to_csv("clicks.csv", index=False)
    return tmp_path


@pytest.fixture(scope="module")
def explained(trained):
    """Take a model apart once, and its prediction for row 3: what the command says, and its folder."""
    @functools.cache
    def explain(name):
        out = trained / f"pics of {name}"
        return run("explain", trained / f"{name}.npz", trained / "clicks.csv", "--out", out, "--pictures",
                   "--target", "click", "--row", 3), out
    return explain


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train each model once: the folder of clicks.csv and of afm.npz, fm.npz, ..."""
    folder = tmp_path_factory.mktemp("trained")
    clicks_table().to_csv(folder / "clicks.csv", index=False)
    for name in MODELS:
        result = run("train", folder / "clicks.csv", "--target", "click", "--model", name, "--epochs", 2,
                     "--save", folder / f"{name}.npz", "--multi-valued", "interests:|", "--learning-rate", 0.01)
        assert result.code == 0, result.err
    return folder


def is_picture(path):
    """Whether the file is a PNG, or an SVG, on which something is drawn."""
    if path.suffix == ".svg":
        drawing = xml.etree.ElementTree.parse(path).getroot()
        return drawing.tag == "{http://www.w3.org/2000/svg}svg" and len(list(drawing.iter())) > 50
    pixels = matplotlib.image.imread(path)
    return min(pixels.shape[:2]) > 200 and pixels[..., :3].std() > 0.02


def numbers_of(line):
    """Return the numbers in a line of a printed table."""
    return [float(word.replace(",", "")) for word in line.split() if word[0].isdigit()]


def line_of(text, start):
    """Return the one line that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line


def assert_one_line_of(result, *parts):
    """Check that a command failed with exit code 1, and one line that says all this."""
    assert result.code == 1
    assert result.err.startswith("minictr: error: ") and result.err.count("\n") == 1
    for part in parts:
        assert part in result.err


# ---- the command itself --------------------------------------------------------------------------


def test_python_m_minictr_says_its_version():
    done = subprocess.run([sys.executable, "-m", "minictr", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"minictr {minictr.__version__}\n")


@pytest.mark.parametrize("command", [[], ["demo"], ["train"], ["predict"], ["explain"]])
def test_help_shows_examples(command):
    result = run(*command, "--help")
    assert result.code == 0
    assert f"minictr {' '.join(command) or 'demo'}" in result.out
    assert max(map(len, result.out.splitlines())) <= 120


@pytest.mark.parametrize("arguments", [
    [], ["predict"], ["demo", "--rows", "5"], ["demo", "--rows", "many"], ["demo", "--data", "iris"],
    ["train", "clicks.csv", "--target", "click", "--model", "svm", "--save", "m"],
    ["train", "clicks.csv", "--targ", "click", "--model", "fm", "--save", "m"],
    ["explain", "m.npz", "clicks.csv"], ["explain", "m.npz", "clicks.csv", "--out", "pics", "--row", "-1"]])
def test_a_wrong_command_exits_with_2(arguments):
    result = run(*arguments)
    assert result.code == 2
    assert result.err.startswith("usage: minictr")


def test_what_nobody_expects_keeps_its_traceback(folder, monkeypatch):
    def broken(*arguments, **options):
        raise KeyError("a defect")

    monkeypatch.setattr(train_tables, "read_table", broken)
    with pytest.raises(KeyError, match="a defect"):
        run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz")


# ---- demo ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Run the demo once, on few rows."""
    out = tmp_path_factory.mktemp("demo") / "new" / "pictures"
    return run("demo", "--rows", 1000, "--seed", 1, "--out", out), out


def test_demo_prints_one_table_between_base_rate_and_best_possible(shown):
    result, _ = shown
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    first = lines.index(line_of(result.out, "model"))
    assert lines[first].split(maxsplit=4) == ["model", "parameters", "seconds", "epochs", "AUC  log loss"]
    rows = ["base rate", "LR", "FM", "AFM", "AutoInt", "DeepFM", "best possible"]
    assert [line[:13].rstrip() for line in lines[first + 1:first + 8]] == rows
    test = datasets.make_clicks(500, seed=1, rows_seed=2)
    assert numbers_of(lines[first + 7]) == [round(test.best_auc, 4), round(test.best_log_loss, 4)]
    base = datasets.make_clicks(1000, seed=1).y.mean()
    assert numbers_of(lines[first + 1]) == [1, 0.5, round(metrics.log_loss(test.y, np.full(500, base)), 4)]


def test_demo_counts_parameters(shown):
    n = 2 * 7 + 8 + 24 + 4 + 10 + 5 + 60 + 1 + 8      # unknown and missing of 7 fields, their values, the discount
    fm, afm = (numbers_of(line_of(shown[0].out, f"{name} "))[0] for name in ("FM", "AFM"))
    assert 0 <= n * 9 + 1 - fm < 9 * 15               # of 60 advertisers the rarest may be missing
    assert afm - fm == 8 * 16 + 2 * 16 + 8            # W, b, h and p


def test_demo_draws_pictures_and_says_what_to_see(shown):
    result, out = shown
    files = sorted(path.name for path in out.iterdir())
    assert files == ["autoint_attention.png", "one_prediction.png", "pair_ranking.png", "planted_vs_learned.png",
                     "training_curves.png"]
    assert all(is_picture(out / name) and f"  {name}\n    " in result.out for name in files)
    assert f"Pictures in {out}" in result.out
    assert plt.get_fignums() == []


def test_nothing_is_promised_that_does_not_hold(shown, explained):
    said = shown[0].out + explained("afm")[0].out
    for phrase in ("importan", "beat", "better than", "causal", "state of the art"):
        assert phrase not in said.lower()
    assert "attention is a share of 1" in " ".join(said.lower().split())


def test_demo_says_what_it_is_doing(shown):
    told = shown[0].err
    assert sorted(line for line in told.splitlines() if line.startswith("training")) == sorted(
        f"training {name} ({number} of 5) ..." for number, name in enumerate(
            ["LR", "FM", "AFM", "AutoInt", "DeepFM"], start=1))


@pytest.mark.parametrize("n_cores", [1, 3])
def test_demo_says_the_same_whatever_the_number_of_cores(shown, n_cores, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "n_cores", lambda: n_cores)
    result = run("demo", "--rows", 1000, "--seed", 1, "--out", tmp_path)

    def but_seconds(said, out):
        return [re.sub(r"^(\w+ +[\d,]+ +)[\d.]+(?= +\d+ +0\.)", r"\1?", line)
                for line in said.replace(str(out), "").splitlines()]

    assert but_seconds(result.out, tmp_path) == but_seconds(shown[0].out, shown[1])


class Slow:
    """Stands in for a model; its training goes on until it is told to end."""

    begun = threading.Event()

    def fit(self, X, y, validation, after_epoch):
        self.begun.set()
        for self.epochs in range(1, 10_000):
            time.sleep(0.01)
            after_epoch(self, {})


class Interrupted:
    """Stands in for a model; Ctrl-C comes while the other is trained too."""

    def fit(self, X, y, validation, after_epoch):
        assert Slow.begun.wait(timeout=600)
        self.blas_threads = blas_threads()
        raise KeyboardInterrupt


def blas_threads():
    """How many threads BLAS may use, or 1 where that cannot be found out."""
    controls = threads._openblas_controls()
    return controls[0]() if controls else 1


def test_models_of_the_demo_train_side_by_side_and_ctrl_c_ends_all(monkeypatch):
    monkeypatch.setattr(demo, "n_cores", lambda: 2)
    slow, interrupted, not_begun = Slow(), Interrupted(), Slow()
    with pytest.raises(KeyboardInterrupt):
        demo.train_side_by_side({"slow": slow, "interrupted": interrupted, "not begun": not_begun},
                                demo.Task("nothing", (None, None), None, (None, None)))
    assert interrupted.blas_threads == 1
    assert slow.epochs < 9_999 and not hasattr(not_begun, "epochs")


def test_demo_on_movielens_has_no_truth(tmp_path, monkeypatch):
    ratings = datasets.make_ratings(60, 50, 1500, seed=0)
    monkeypatch.setattr(datasets.ml_1m, "load_ctr", lambda *, ids: datasets.ml_1m.as_ctr(ratings, ids=ids))
    result = run("demo", "--data", "ml-1m", "--rows", 1000, "--out", tmp_path)
    assert result.code == 0, result.err
    assert "800 rows to train on, 100 for early stopping (validation), 100 to test on; 9 fields" in result.out
    assert "best possible" not in result.out and "truth" not in result.out.lower()
    assert is_picture(tmp_path / "attention_and_contribution.png")
    assert len(list(tmp_path.iterdir())) == 5


def test_demo_without_movielens_says_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICTR_DATA", str(tmp_path / "nowhere"))
    result = run("demo", "--data", "ml-1m", "--out", tmp_path / "pictures")
    assert_one_line_of(result, "MINICTR_DATA", "nowhere")
    assert not (tmp_path / "pictures").exists()


def test_demo_needs_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_line_of(run("demo", "--rows", 1000, "--out", tmp_path / "file"), "this is a file; name a folder")


# ---- train ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_train_saves_a_model_that_predicts(trained, name):
    model = Model.load(trained / f"{name}.npz")
    assert type(model) is MODELS[name]
    X = clicks_table()
    p = model.predict_proba(X)[:, 1]
    assert p.std() > 0.001 and 0 < p.min() < p.max() < 1
    assert model.encoder_.fields == [
        *map(Categorical, ["user_segment", "hour", "device", "ad_category", "position", "advertiser"]),
        Numerical("discount", transform="standard"), MultiValued("interests")]


def test_train_prints_scores_of_the_rows_held_out(folder):
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz", "--seed", 5,
                 "--validation", 0.25, "--epochs", 2)
    assert result.code == 0, result.err
    table = pd.read_csv("clicks.csv")
    train, held_out = split_rows(len(table), 0.25, 5)
    y, base = table["click"].to_numpy()[held_out], table["click"].to_numpy()[train].mean()
    p = Model.load("m.npz").predict_proba(table.iloc[held_out])[:, 1]
    assert "On the 100 validation rows" in result.out
    assert numbers_of(line_of(result.out, "FM  ")) == [round(metrics.auc(y, p), 4), round(metrics.log_loss(y, p), 4)]
    assert numbers_of(line_of(result.out, "mean of the training rows")) == [
        0.5, round(metrics.log_loss(y, np.full(len(y), base)), 4)]
    assert "epoch 2/2" in result.out                                    # it shows its progress


def test_train_says_what_it_took_each_column_for(folder):
    table = clicks_table().assign(row_id=range(400))
    table.loc[3:6, "discount"] = np.nan
    table.to_csv("clicks.csv", index=False)
    said = run("train", "clicks.csv", "--target", "click", "--model", "lr", "--save", "m.npz", "--epochs", 1,
               "--ignore", "advertiser", "--numerical", "hour").out
    assert line_of(said, "  device").split(maxsplit=1) == ["device", "categorical, 4 values"]
    assert "numerical, from 0 to 23, standardised" in line_of(said, "  hour")
    assert "numerical, from 0 to 0.6, standardised, missing in 1.0% of rows" in line_of(said, "  discount")
    assert "--numerical position" in line_of(said, "  position")
    assert "--multi-valued 'interests:|'" in line_of(said, "  interests")
    assert "--ignore row_id" in line_of(said, "  row_id")
    assert "advertiser" not in said and "  click" not in said


def test_train_passes_settings_on(folder):
    result = run("train", "clicks.csv", "--target", "click", "--model", "deepfm", "--save", "m.npz", "--epochs", 1,
                 "--batch-size", 100, "--embedding-dim", 3, "--seed", 7, "--set", "deep_layers=[5,4]",
                 "--set", "optimizer=adagrad", "--set", "reg=1", "--set", "use_bn=true")
    assert result.code == 0, result.err
    model = Model.load("m.npz")
    wanted = {"epochs": 1, "batch_size": 100, "embedding_dim": 3, "seed": 7, "deep_layers": (5, 4),
              "optimizer": "adagrad", "reg": 1.0, "use_bn": True, "learning_rate": DeepFM.learning_rate,
              "task": "binary"}
    params = model.get_params()
    assert {name: params[name] for name in wanted} == wanted


@pytest.mark.parametrize(("options", "message"), [
    (["--set", "dropuot=0.1"], "FM has no setting 'dropuot'"),
    (["--set", "dropout=high"], '--set dropout: expected a number, got "high"'),
    (["--set", "lazy=yes"], '--set lazy: expected true or false, got "yes"'),
    (["--set", "freeze=linear"], "--set freeze: expected a list"),
    (["--set", "dropout"], "expected NAME=VALUE"),
    (["--set", "batch_size=10"], "use --batch-size"),
    (["--set", "fields=[]"], "not on the command line"),
    (["--epochs", "0"], "expected a whole number of at least 1"),
    (["--learning-rate", "nan"], "expected a number above 0"),
    (["--validation", "1"], "expected a share"),
    (["--validation", "half"], "expected a share"),
    (["--multi-valued", "interests"], "expected COLUMN:SEP"),
    (["--categorical", "hour", "--numerical", "hour"], "the column 'hour' is named more than once"),
    (["--ignore", "click"], "the column 'click' is named more than once")])
def test_train_refuses_options_that_make_no_sense(folder, options, message):
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz", *options)
    assert result.code == 2
    assert message in result.err
    assert not Path("m.npz").exists()


def test_train_lr_has_no_vectors(folder):
    result = run("train", "clicks.csv", "--target", "click", "--model", "lr", "--save", "m.npz", "--embedding-dim", 4)
    assert result.code == 2 and "LR has no setting 'embedding_dim'" in result.err


def test_train_predicts_numbers_too(folder):
    result = run("train", "clicks.csv", "--target", "position", "--task", "regression", "--model", "fm",
                 "--save", "m.npz", "--epochs", 1, "--ignore", "click")
    assert result.code == 0, result.err
    assert "RMSE" in result.out and "AUC" not in result.out
    assert Model.load("m.npz").task_ == "regression"
    explained = run("explain", "m.npz", "clicks.csv", "--out", "pics", "--target", "position", "--pictures")
    assert explained.code == 0, explained.err
    position = pd.read_csv("clicks.csv")["position"]
    assert numbers_of(line_of(explained.out, "mean of this table")) == [round(position.std(ddof=0), 4)]
    assert not Path("pics/calibration.svg").exists()


def test_train_on_all_rows(folder):
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz", "--epochs", 2,
                 "--validation", 0)
    assert result.code == 0 and "400 rows, 8 fields" in result.out and "validation" not in result.out
    assert Model.load("m.npz").history_["val_loss"].isna().all()


@pytest.mark.parametrize("ending", [".csv.gz", ".tsv", ".TSV", ".tsv.gz"])
def test_train_reads_by_the_ending(folder, ending):
    table = pd.read_csv("clicks.csv")
    table.to_csv(f"same{ending}", index=False, sep="\t" if "ts" in ending.lower() else ",")
    for name in ("clicks.csv", f"same{ending}"):
        result = run("train", name, "--target", "click", "--model", "fm", "--epochs", 1, "--save", f"{name}.npz")
        assert result.code == 0, result.err
    first, second = (Model.load(f"{name}.npz").predict_proba(table) for name in ("clicks.csv", f"same{ending}"))
    np.testing.assert_array_equal(first, second)


def test_train_reads_parquet_where_pandas_can(folder, monkeypatch):
    def read_parquet(path, **options):
        return pd.read_csv("clicks.csv")

    def no_pyarrow(path, **options):
        raise ImportError("no engine")

    command = ["train", "clicks.parquet", "--target", "click", "--model", "fm", "--epochs", 1, "--save", "m.npz"]
    monkeypatch.setattr(pd, "read_parquet", read_parquet)
    assert run(*command).code == 0
    assert_one_line_of(run(*command[:3], "hour", *command[4:]), "clicks.parquet, column 'hour', row ")
    monkeypatch.setattr(pd, "read_parquet", no_pyarrow)
    assert_one_line_of(run(*command), "clicks.parquet", "pyarrow")


def test_categories_are_what_the_file_says(folder):
    """Leading zeros stay, and whole numbers stay whole where some are missing."""
    rows = [(["007", "7", "12"][k % 3], "" if k == 5 else k % 4, k % 2) for k in range(40)]
    pd.DataFrame(rows, columns=["zip", "age", "click"]).to_csv("t.csv", index=False)
    assert run("train", "t.csv", "--target", "click", "--model", "fm", "--epochs", 1, "--save", "m.npz",
               "--categorical", "zip").code == 0
    encoder = Model.load("m.npz").encoder_
    assert encoder.feature_names("zip")[2:] == ["007", "12", "7"]
    assert encoder.feature_names("age")[2:] == ["0", "1", "2", "3"]


def test_explain_reads_text_as_in_training(folder):
    """A column of text is one, also where all values of another file look like numbers."""
    rows = pd.DataFrame({"app": ["7", "x", "8", "y"] * 10, "tags": ["1;2", "2;3", "3", "1"] * 10,
                         "click": [0, 1] * 20})
    rows.to_csv("t.csv", index=False)
    assert run("train", "t.csv", "--target", "click", "--model", "fm", "--epochs", 1, "--save", "m.npz",
               "--multi-valued", "tags:;").code == 0
    rows[(rows["app"] < "9") & (rows["tags"] == "3")].to_csv("digits.csv", index=False)
    result = run("explain", "m.npz", "digits.csv", "--out", "pics")
    assert result.code == 0, result.err


def test_a_column_of_whole_numbers_can_be_multi_valued(folder):
    pd.DataFrame({"tag": [1, 2, 3, 4] * 10, "age": [1, 2] * 20, "click": [0, 1] * 20}).to_csv("t.csv", index=False)
    result = run("train", "t.csv", "--target", "click", "--model", "fm", "--epochs", 1, "--save", "m.npz",
                 "--multi-valued", "tag:|")
    assert result.code == 0, result.err


def test_true_and_false_are_a_target_and_can_be_numbers(folder):
    pd.DataFrame({"new": [True, False, False, True] * 10, "age": [1, 2] * 20, "bought": [True, False] * 20}).to_csv(
        "t.csv", index=False)
    result = run("train", "t.csv", "--target", "bought", "--model", "fm", "--epochs", 1, "--save", "m.npz",
                 "--numerical", "new")
    assert result.code == 0, result.err
    assert "with mean 0.5" in result.out and "numerical, from 0 to 1, standardised" in line_of(result.out, "  new")


def test_warnings_are_one_line_too(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run("train", "clicks.csv", "--target", "click", "--model", "afm", "--save", "m.npz", "--epochs", 1,
                     "--ignore", "user_segment,hour,device,ad_category,position,advertiser")
    assert result.code == 0
    assert result.err.startswith("minictr: warning: two fields make one pair") and result.err.count("\n") == 1


# ---- bad data ------------------------------------------------------------------------------------


def replaced(number, old, new):
    """Return a change to a file: in line `number`, counted from 1, `old` becomes `new`."""
    def change(lines):
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new)
        return lines
    return change


def last_cell(number, new):
    """Return a change to a file: the last cell of line `number` becomes `new`."""
    def change(lines):
        lines[number - 1] = lines[number - 1].rsplit(",", 1)[0] + f",{new}"
        return lines
    return change


def first_price(lines):
    """Spoil a number in line 7."""
    cells = lines[6].split(",")
    lines[6] = ",".join([*cells[:6], "cheap", *cells[7:]])
    return lines


@pytest.mark.parametrize(("change", "parts"), [
    (last_cell(13, "2"), ["clicks.csv, line 13, column 'click', row 11", "2 is neither 0 nor 1", "--task regression"]),
    (last_cell(13, ""), ["clicks.csv, line 13, column 'click', row 11", "the target is missing"]),
    (last_cell(13, "yes"), ["line 13", "row 11", "yes is not a number"]),
    (last_cell(13, "inf"), ["line 13", "row 11", "inf is infinite"]),
    (first_price, ["line 7, column 'discount', row 5", "cheap is not a number"]),
    (replaced(1, "click", "klick"), ["no column 'click'", "user_segment, hour", "klick"]),
    (last_cell(20, "0,1"), ["clicks.csv", "line 20"]),
    (lambda lines: lines[:1], ["clicks.csv has a header, but no rows"]),
    (lambda lines: [], ["clicks.csv cannot be read"]),
    (lambda lines: lines[:4], ["validation"]),
    (lambda lines: [lines[0], *(line for line in lines[1:] if line.endswith("0"))], ["class 0", "both 0 and 1"]),
    (lambda lines: [line.rsplit(",", 1)[1] for line in lines], ["no column 'discount'; it has click"]),
    (replaced(1, "advertiser", "click"), ["clicks.csv: 2 columns are called 'click'"])])
def test_train_refuses_bad_data(folder, change, parts):
    Path("clicks.csv").write_text("\n".join(change(Path("clicks.csv").read_text().splitlines())))
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz", "--epochs", 1,
                 "--numerical", "discount")
    assert_one_line_of(result, *parts)
    assert not Path("m.npz").exists()


def test_train_refuses_rows_that_are_longer_than_the_header(folder):
    lines = Path("clicks.csv").read_text().splitlines()
    Path("clicks.csv").write_text("\n".join([lines[0], *(f"{line},1" for line in lines[1:])]))
    with warnings.catch_warnings():
        warnings.simplefilter("default")        # pandas only warns that it drops the cells
        result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz", "--epochs", 1)
    assert_one_line_of(result, "clicks.csv: the rows have more cells than the header line has names")


def test_train_refuses_what_is_no_table(folder):
    def train(name):
        return run("train", name, "--target", "click", "--model", "fm", "--save", "m.npz")

    text = Path("clicks.csv").read_bytes()
    Path("cut.csv.gz").write_bytes(gzip.compress(text)[:2000])
    Path("plain.csv.gz").write_bytes(text)
    Path("latin.csv").write_bytes(text.replace(b"brand_01", "café".encode("latin-1")))
    number = [b"brand_01" in line for line in text.splitlines()].index(True) + 1
    assert_one_line_of(train("cut.csv.gz"), "cut.csv.gz cannot be read")
    assert_one_line_of(train("plain.csv.gz"), "plain.csv.gz cannot be read")
    assert_one_line_of(train("latin.csv"), f"latin.csv, line {number}: this is not UTF-8 text")
    assert_one_line_of(train("nowhere.csv"), "nowhere.csv: No such file or directory")
    assert_one_line_of(train("clicks.xlsx"), "clicks.xlsx", ".csv.gz")


def test_train_needs_a_column_to_learn_from(folder):
    columns = ",".join(clicks_table(5).columns.drop("click"))
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz", "--ignore", columns)
    assert_one_line_of(result, "no column is left")


def test_train_needs_a_place_to_save_before_it_starts(folder):
    for path, message in (("no/m.npz", "there is no folder no"), (".", "this is a folder")):
        result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", path)
        assert_one_line_of(result, message)
        assert "epoch" not in result.out


def test_training_that_diverges_says_what_to_do(folder):
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz",
                 "--learning-rate", 1e30, "--set", "optimizer=sgd")
    assert_one_line_of(result, "epoch 1, batch 2", "Lower --learning-rate")
    assert "transform=" not in result.err


cells = st.sampled_from(["a", "", " ", '"b\nc"', '"d\n\ne"', '"say ""x"""', '"f,g"'])


@examples(60)
@given(st.lists(st.tuples(cells, st.integers(0, 2)), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_lines_are_counted_as_an_editor_counts_them(rows, newline):
    """Also among blank lines and cells of several lines: the row's number stands at the end of its line."""
    text = newline.join(["cell,number", *(f"{cell},{row}" + newline * blank for row, (cell, blank) in enumerate(rows))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.encode())
        assert table_files.read_table(path)["number"].tolist() == list(range(len(rows)))
        lines = path.read_bytes().decode().split("\n")
        for row in range(len(rows)):
            assert lines[table_files.line_of_row(path, row) - 1].rstrip("\r").endswith(f",{row}")


# ---- Ctrl-C --------------------------------------------------------------------------------------


@pytest.fixture
def ctrl_c(monkeypatch):
    """Press Ctrl-C in a given epoch."""
    run_epoch = training.loop.run_epoch

    def press_in(epoch):
        epochs = []

        def pressed(*arguments, **options):
            epochs.append(1)
            if len(epochs) == epoch:
                raise KeyboardInterrupt
            return run_epoch(*arguments, **options)
        monkeypatch.setattr(training.loop, "run_epoch", pressed)
    return press_in


def test_ctrl_c_keeps_the_best_so_far(folder, ctrl_c):
    ctrl_c(3)
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz")
    assert result.code == 130
    assert "interrupted after 2 full epochs" in result.err
    assert len(Model.load("m.npz").history_) == 2


def test_ctrl_c_before_anything_was_learned_saves_nothing(folder, ctrl_c):
    Path("m.npz").write_text("the model of yesterday")
    ctrl_c(1)
    result = run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz")
    assert result.code == 130 and "nothing is saved" in result.err
    assert Path("m.npz").read_text() == "the model of yesterday"


def test_ctrl_c_ends_the_demo(tmp_path, ctrl_c):
    ctrl_c(8)       # in the midst of it: LR has 5 epochs, and no model has more than 10
    result = run("demo", "--rows", 1000, "--out", tmp_path)
    assert result.code == 130 and result.err.endswith("minictr: interrupted\n")
    assert "base rate" not in result.out


def test_early_stopping_is_no_interruption():
    clicks = datasets.make_clicks(300, seed=0)
    model = FM(learning_rate=0.1, patience=1, epochs=50).fit(clicks.X, clicks.y, validation=0.3)
    assert len(model.history_) < 50 and not model.history_.attrs["interrupted"]
    assert not FM(epochs=2).fit(clicks.X, clicks.y).history_.attrs["interrupted"]


# ---- explain -------------------------------------------------------------------------------------

PAIRS = ["contribution.csv", "contribution_heatmap.svg", "contribution_ranking.svg"]
ROW = ["contributions_of_row_3.csv", "contributions_of_row_3.svg"]


@pytest.mark.parametrize(("name", "files", "absent"), [
    pytest.param("lr", ROW, ["LR has no attention", "LR has no terms of pairs"], marks=pytest.mark.long),
    pytest.param("fm", [*PAIRS, *ROW], ["FM has no attention"], marks=pytest.mark.long),
    ("afm", [*PAIRS, *ROW, "attention.csv", "attention_heatmap.svg", "attention_ranking.svg"], []),
    ("autoint", ["attention.csv", "attention_grid.svg"], ["the logit of AutoInt is not a sum"]),
    pytest.param("deepfm", [*PAIRS, *ROW], ["DeepFM has no attention"], marks=pytest.mark.long)])
def test_explain_writes_what_the_model_has(trained, explained, name, files, absent):
    result, out = explained(name)
    assert result.code == 0, result.err
    written = sorted(path.name for path in out.iterdir())
    assert written == sorted([*files, "training_curve.svg", "calibration.svg", "index.html"])
    said = " ".join(result.out.split())
    assert all(file in said for file in written)
    assert all(is_picture(out / file) for file in written if file.endswith(".svg"))
    assert [reason in said for reason in absent] == [True] * len(absent)
    assert said.count("Not for this model") == len(absent)
    table = clicks_table()
    p = Model.load(trained / f"{name}.npz").predict_proba(table)[:, 1]
    assert f"Row 3: predicted {p[3]:.4g}, true {table['click'][3]}" in said
    assert numbers_of(line_of(result.out, f"{type(Model.load(trained / f'{name}.npz')).__name__}  "))[0] == round(
        metrics.auc(table["click"], p), 4)
    assert plt.get_fignums() == []


def test_explain_draws_pictures_if_asked(trained, tmp_path):
    result = run("explain", trained / "fm.npz", trained / "clicks.csv", "--out", tmp_path / "pics", "--target", "click")
    assert result.code == 0, result.err
    assert sorted(path.name for path in (tmp_path / "pics").iterdir()) == [
        "contribution.csv", "contributions_of_row_0.csv", "index.html"]


def test_explain_takes_one_prediction_apart_exactly(trained, explained):
    terms = pd.read_csv(explained("afm")[1] / "contributions_of_row_3.csv")
    assert terms["row"].unique().tolist() == [3]
    logit = AFM.load(trained / "afm.npz").decision_function(clicks_table())[3]
    assert terms["value"].sum() == pytest.approx(logit, abs=1e-5)
    X = clicks_table()
    of_device = terms[(terms["term"] == "field") & (terms["field_i"] == "device")]
    assert of_device["rows"].item() == (X["device"] == X["device"][3]).sum()


def test_explain_prints_the_highest_pairs_of_its_tables(explained):
    result, out = explained("afm")
    said = result.out
    for quantity, heading in (("attention", "Highest mean attention"), ("contribution", "Highest mean |contribution|")):
        table = pd.read_csv(out / f"{quantity}.csv").nlargest(5, "value")
        lines = said[said.index(heading):].splitlines()[1:6]
        for line, pair in zip(lines, table.itertuples(), strict=True):
            assert line.split() == [pair.field_i, "x", pair.field_j, f"{pair.value:.4g}"]
    assert pd.read_csv(out / "attention.csv")["value"].sum() == pytest.approx(1)
    assert numbers_of(line_of(said, "  (if all were alike)")) == [round(1 / 28, 5)]


def test_explain_a_model_of_one_field_has_no_pairs(folder):
    assert run("train", "clicks.csv", "--target", "click", "--model", "fm", "--save", "m.npz", "--epochs", 1,
               "--ignore", "user_segment,hour,device,ad_category,position,advertiser,interests").code == 0
    result = run("explain", "m.npz", "clicks.csv", "--out", "pics")
    assert result.code == 0, result.err
    assert "Highest" not in result.out and not Path("pics/contribution.csv").exists()


def test_explain_takes_models_that_were_trained_batch_by_batch(folder):
    """Such a model has no history."""
    table = clicks_table()
    FM().partial_fit(table.drop(columns="click"), table["click"]).save("m.npz")
    result = run("explain", "m.npz", "clicks.csv", "--out", "pics", "--pictures")
    assert result.code == 0, result.err
    assert Path("pics/contribution.csv").exists() and not Path("pics/training_curve.svg").exists()


@pytest.mark.long
def test_explain_takes_models_that_were_trained_on_ratings(folder):
    ratings = datasets.make_ratings(30, 20, 300, seed=0)["ratings"]
    FM(epochs=1).fit(user_ids=ratings["user_id"], item_ids=ratings["movie_id"], ratings=ratings["rating"]).save("m.npz")
    ratings.rename(columns={"movie_id": "item_id"}).to_csv("ratings.csv", index=False)
    result = run("explain", "m.npz", "ratings.csv", "--out", "pics", "--target", "rating")
    assert result.code == 0, result.err
    assert "user_id x item_id" in result.out


def test_explain_refuses_what_does_not_fit(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = clicks_table(30)
    table.to_csv("good.csv", index=False)
    table.drop(columns="device").to_csv("short.csv", index=False)
    table.astype({"discount": object}).replace({"discount": {table["discount"][4]: "cheap"}}).to_csv(
        "cheap.csv", index=False)
    table.assign(click=range(30)).to_csv("counts.csv", index=False)
    table.assign(hour="noon").to_csv("noon.csv", index=False)
    Path("damaged.npz").write_bytes((trained / "afm.npz").read_bytes()[:-200])

    def refused(model, name, *options):
        return run("explain", model, name, "--out", "pics", *options)

    afm = trained / "afm.npz"
    assert_one_line_of(refused(afm, "short.csv"), "short.csv has no column 'device'; it has user_segment, hour,")
    first = table["discount"].eq(table["discount"][4]).idxmax()
    assert_one_line_of(refused(afm, "cheap.csv"), f"cheap.csv, line {first + 2}, column 'discount', row {first} ")
    assert_one_line_of(refused(afm, "counts.csv", "--target", "click"), "counts.csv, line 4", "2 is neither 0 nor 1")
    assert_one_line_of(refused(afm, "noon.csv"), "noon.csv, line 2, column 'hour'", "noon", "on whole numbers")
    assert_one_line_of(refused(afm, "good.csv", "--target", "clicked"), "no column 'clicked'")
    assert_one_line_of(refused(afm, "good.csv", "--row", 30), "--row 30: good.csv has 30 rows, counted from 0")
    assert_one_line_of(refused("damaged.npz", "good.csv"), "damaged.npz")
    assert_one_line_of(refused("good.csv", afm), "good.csv is not a minictr model")
    assert_one_line_of(refused("none.npz", "good.csv"), "none.npz: No such file or directory")
    assert not Path("pics").exists()
    Path("pics").write_text("")
    assert_one_line_of(refused(afm, "good.csv"), "--out pics: this is a file; name a folder")
