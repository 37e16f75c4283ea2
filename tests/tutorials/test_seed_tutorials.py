"""Three published tutorials run as they stand, but for two import lines, on MovieLens-1M.

The tutorials and the data may not be redistributed, so that they are not in this repository: the tests look for the
data in the folder that MINICTR_DATA names, for the tutorials in the folder "seeds" beside it. AFM's takes all ratings;
AutoInt's and DeepFM's would take minutes each, and get those of every sixth user, unless MINICTR_WHOLE is set (beside
--all, without which none of the three is run).
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest

import minictr
from minictr.datasets import ml_1m

SEEDS = Path(os.environ.get("MINICTR_DATA", "not set")).parent / "seeds"
TUTORIALS = [("000", "AFM", "afm"), ("003", "AutoInt", "autoint"), ("004", "DeepFM", "deepfm")]


def tutorial(number):
    """The text of a tutorial; the test is skipped where it is not to be had."""
    if "MINICTR_DATA" not in os.environ:
        pytest.skip("MINICTR_DATA does not name a folder with real data")
    found = sorted(SEEDS.glob(f"{number}_*"))
    if not found:
        pytest.skip(f"tutorial {number} is not in {SEEDS}")
    if not (Path(os.environ["MINICTR_DATA"]) / "ml-1m.zip").exists():
        pytest.skip("ml-1m.zip is not in the folder that MINICTR_DATA names")
    return found[0].read_text(encoding="utf-8")


def with_our_imports(code):
    """The code with its two import lines changed, and how many lines that were."""
    code, engines = re.subn(r"from corerec\.engines\.\w+ import (\w+)", r"from minictr import \1", code)
    code, data = re.subn(r"from cr_learn import ml_1m", "from minictr.datasets import ml_1m", code)
    return code, (engines, data)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")
@pytest.mark.parametrize("number, name, module", TUTORIALS, ids=[name for _, name, _ in TUTORIALS])
def test_a_tutorial_runs_as_it_stands(number, name, module, tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    blocks = re.findall(r"^```python\n(.*?)^```", tutorial(number), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 7
    code, changed = zip(*map(with_our_imports, blocks), strict=True)
    assert np.sum(changed, axis=0).tolist() == [1, 1]
    monkeypatch.chdir(tmp_path)
    n_ratings, share_of_mean = 1_000_209, 0.85
    if name != "AFM" and "MINICTR_WHOLE" not in os.environ:
        data = ml_1m.load()
        data["ratings"] = data["ratings"].query("user_id % 6 == 1")
        monkeypatch.setattr(ml_1m, "load", lambda: data)
        n_ratings, share_of_mean = len(data["ratings"]), 0.95     # twenty epochs are too many for fewer ratings
    names = {}
    for step, block in enumerate(code, 1):
        exec(compile(block, f"step {step} of tutorial {number}", "exec"), names)
    out = capsys.readouterr().out

    assert f"Loaded {n_ratings} ratings" in out
    assert f"{name}_Model: regression (squared error), {n_ratings * 4 // 5:,} rows, 2 fields" in out
    printed = float(re.search(r"Test RMSE: ([\d.]+)", out)[1])
    test, train = names["test_ratings"], names["train_ratings"]
    of_the_mean = np.sqrt(np.mean((test - train.mean()) ** 2))
    assert of_the_mean > 1.1
    assert printed < share_of_mean * of_the_mean
    predictions = np.array(names["test_pred"])
    assert printed == pytest.approx(np.sqrt(np.mean((test - predictions) ** 2)), abs=1e-4)

    model, loaded = names["model"], names["loaded"]
    assert isinstance(model, getattr(minictr, name)) and isinstance(loaded, getattr(minictr, name))
    assert os.listdir(tmp_path) == [f"{module}_model.pkl"]
    assert loaded.predict(1, 100) == model.predict(1, 100) == names["test_score"]
    pairs = list(zip(names["test_users"][:1000], names["test_items"][:1000], strict=True))
    np.testing.assert_array_equal(loaded.batch_predict(pairs), model.batch_predict(pairs))
    np.testing.assert_allclose(predictions[:1000], model.batch_predict(pairs), rtol=1e-4)
    assert f"Predicted score: {names['score']:.3f}" in out and 1 <= names["score"] <= 5.5

    recommended = names["recommendations"]
    assert len(recommended) == len(set(recommended)) == 10
    assert not set(recommended) & set(names["train_items"][names["train_users"] == 1])
    assert out.count("  10. Item ") == 1
