"""The command line with a target of two texts, such as yes and no."""

import contextlib
import io

import numpy as np
import pandas as pd
import pytest

from minictr import Model, datasets
from minictr.app.cli import main

CLICKS = datasets.make_clicks(300, seed=0)
TABLE = CLICKS.X[["user_segment", "ad_category", "device"]]


def run(*arguments):
    """Run a command: its exit code and all that it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        return main([str(argument) for argument in arguments]), said.getvalue()


def train(tmp_path, target, *options):
    TABLE.assign(target=target).to_csv(tmp_path / "table.csv", index=False)
    return run("train", tmp_path / "table.csv", "--target", "target", "--model", "fm", "--epochs", 2,
               "--save", tmp_path / "model.npz", *options)


def test_yes_and_no(tmp_path):
    answers = np.where(CLICKS.y == 1, "yes", "<no>")
    code, said = train(tmp_path, answers)
    assert code == 0, said
    assert f"target 'target' is 'yes' in {CLICKS.y.mean():.1%} of them, else '<no>'" in said
    model = Model.load(tmp_path / "model.npz")
    assert model.classes_.tolist() == ["<no>", "yes"] and set(model.predict(TABLE)) <= {"<no>", "yes"}
    code, numbers_said = train(tmp_path, CLICKS.y)
    same = Model.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(same.predict_proba(TABLE), model.predict_proba(TABLE))
    assert numbers_said.splitlines()[-3:] == said.splitlines()[-3:]

    model.save(tmp_path / "model.npz")
    TABLE.assign(target=answers).to_csv(tmp_path / "table.csv", index=False)
    code, said = run("explain", tmp_path / "model.npz", tmp_path / "table.csv", "--target", "target",
                     "--out", tmp_path / "pics", "--row", 3)
    page = (tmp_path / "pics" / "index.html").read_text(encoding="utf-8")
    assert code == 0 and f", true {answers[3]}" in said and "AUC" in page
    assert "<no>" not in page and f", true {answers[3].replace('<', '&lt;').replace('>', '&gt;')}</h3>" in page

    TABLE.assign(target=np.where(answers == "yes", "yes", "No")).to_csv(tmp_path / "table.csv", index=False)
    code, said = run("explain", tmp_path / "model.npz", tmp_path / "table.csv", "--target", "target",
                     "--out", tmp_path / "pics")
    assert code == 1 and "No is neither <no> nor yes" in said and "line " in said and "Traceback" not in said


@pytest.mark.parametrize("target, options, parts", [
    (["yes", "no", "maybe"], [], ["line 2", "yes is not a number"]),
    (["yes", "no", None], [], ["line 4", "the target is missing"]),
    (["yes", "yes", "yes"], [], ["yes is not a number"]),
    (["1", "0", "x"], [], ["line 4", "x is not a number"]),
    (["1", "x", "x"], [], ["line 3", "x is not a number"]),
    (["yes", "no", "yes"], ["--task", "regression"], ["yes is not a number"])])
def test_other_texts_are_refused(tmp_path, target, options, parts):
    code, said = train(tmp_path, target * 100, *options)
    assert code == 1 and said.count("\n") == 1 and "Traceback" not in said
    for part in parts:
        assert part in said
    assert not (tmp_path / "model.npz").exists()


def test_parquet_too(tmp_path):
    pytest.importorskip("pyarrow")
    answers = pd.Series(np.where(CLICKS.y == 1, "yes", "no"))
    TABLE.assign(target=answers).to_parquet(tmp_path / "table.parquet")
    code, said = run("train", tmp_path / "table.parquet", "--target", "target", "--model", "lr", "--epochs", 1,
                     "--save", tmp_path / "model.npz")
    assert code == 0, said
    assert Model.load(tmp_path / "model.npz").classes_.tolist() == ["no", "yes"]
