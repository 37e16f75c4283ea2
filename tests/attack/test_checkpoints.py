"""Trainings killed with -9 at any moment: started again, each ends with the bits of one that was not killed.

It kills real processes, so it is long: ``pytest --all``, or by its name. Each training is made to write for about as
long as it computes, so that kills hit both.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from attack.tally import Tally, rounds

KILLS = 17          # of each of three trainings, on an ordinary day
ROOT = Path(__file__).parents[2]

# What is run: python -c PROGRAM KIND CHECKPOINT RESULT
PROGRAM = """
import sys
import numpy as np
import pandas as pd
from minictr import AFM, FM, Categorical, DeepFM, Numerical
from minictr.layers import parameters, states

kind, checkpoint, result = sys.argv[1:]
rng = np.random.default_rng(0)
n = 1_500
X = pd.DataFrame({
    "user": rng.integers(0, 1_500, n), "item": rng.choice(list("abcdefgh"), n), "size": rng.normal(size=n)})
y = (rng.random(n) < 0.3 + 0.4 * (X["item"] < "d")).astype(int).to_numpy()
user = Categorical("user_id" if kind == "ratings" else "user", buckets=10_000)
fields = [user] if kind == "ratings" else [user, "item", Numerical("size")]
settings = {"fields": fields, "epochs": 8, "batch_size": 200, "embedding_dim": 64, "learning_rate": 0.01}
if kind == "table":
    model = DeepFM(deep_layers=(32, 32), dropout=0.2, use_bn=True, **settings)
    data = {"X": X, "y": y, "validation": 0.2}
elif kind == "pieces":
    model = AFM(dropout=0.2, attention_dropout=0.1, shuffle_window=700, **settings)
    data = {"X": lambda: ((X[at:at + 500], y[at:at + 500]) for at in range(0, n, 500)),
            "validation": (X[:500], y[:500])}
else:
    model = FM(dropout=0.2, optimizer="adagrad", **settings)
    data = {"user_ids": X["user"], "item_ids": X["item"], "ratings": 1.0 + 2 * y}
print("ready", flush=True)
model.fit(**data, checkpoint=checkpoint or None, resume=bool(checkpoint))
np.savez(result, history=model.history_.drop(columns="seconds").to_numpy(), counts=model.row_counts_,
         **parameters(model), **{f"state of {name}": array for name, array in states(model).items()})
"""


def start(kind, checkpoint, result):
    """The process, once it has begun to train."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, kind, checkpoint, result], cwd=ROOT,
                               stdout=subprocess.PIPE, text=True)
    with process.stdout as stdout:
        assert stdout.readline() == "ready\n"
    return process


def epochs_in(path):
    """How many epochs a checkpoint holds; it can be read at any moment."""
    if not path.exists():
        return 0
    with np.load(path, allow_pickle=False) as content:
        return len(json.loads(bytes(content["meta"]))["lines"])


@pytest.mark.long
@pytest.mark.parametrize("kind", ["table", "pieces", "ratings"])
def test_killed_at_any_moment_and_started_again(kind, tmp_path):
    rng, tally, kills = random.Random(kind), Tally(f"checkpoints of {kind}"), rounds(KILLS)
    process = start(kind, "", str(tmp_path / "whole.npz"))
    began = time.monotonic()
    assert process.wait() == 0
    seconds = time.monotonic() - began
    with np.load(tmp_path / "whole.npz") as content:
        whole = dict(content)
    n_runs = 0
    while kills:
        n_runs += 1
        checkpoint, result = tmp_path / f"run{n_runs}.npz", tmp_path / f"result{n_runs}.npz"
        while True:
            done, parts = epochs_in(checkpoint), set(tmp_path.glob(".*.part"))
            process = start(kind, str(checkpoint), str(result))
            if kills:
                time.sleep(rng.uniform(0, seconds))
                process.kill()                                    # does nothing to one that has ended
            if process.wait() == 0:
                break
            kills -= 1
            try:
                found = epochs_in(checkpoint)
            except Exception as error:
                tally.fail(f"run {n_runs}, a kill after epoch {done}", f"the checkpoint cannot be read: {error!r}")
                break
            writing = not parts.issuperset(tmp_path.glob(".*.part"))
            tally.add("killed while writing" if writing else "killed before the first checkpoint" if not found else
                      "killed in an epoch")
            if found < done:
                tally.fail(f"run {n_runs}", f"the checkpoint had {done} epochs, and {found} after a kill")
        if result.exists():
            with np.load(result) as content:
                other = [name for name in whole if not np.array_equal(whole[name], content[name], equal_nan=True)]
            if other or len(whole) != len(content.files):
                tally.fail(f"run {n_runs}", f"other bits in {other}")
            else:
                tally.add("ended with the same bits")
        else:
            tally.fail(f"run {n_runs}", "there is no result")
    tally.check()
