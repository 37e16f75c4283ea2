"""``minictr trace``: one training step of a tiny model, laid open."""

import html
from pathlib import Path

import numpy as np
import pandas as pd

from .. import datasets
from ..layers import parameters
from ..tracing import StepOverEpochs, trace
from .options import MODELS, add_command
from .pictures import blank_axes, save
from .whole import whole_folder

FIELDS = ["user_segment", "ad_category", "device", "hour"]
SIZES = {"embedding_dim": 3, "deep_layers": (4,)}                 # where the tiny model has other ones


def add_trace(commands):
    """``minictr trace``."""
    command = add_command(commands, "trace", run_trace, "lay one training step open, array by array", """
        Makes one training step of a tiny model (3 fields, vectors of 2 numbers, 2 rows) and prints every array of its
        forward pass, loss, backward pass and update, in order: its name in the code and in the paper, its shape, the
        line of the source that computed it, which equation of the paper that is, and its numbers. At the end stands
        where in the source each equation is. For a model and rows of your own: minictr.trace(model, X, y) in Python.

        examples:
          minictr trace --model afm | less
          minictr trace --model autoint --out traced     also a page to fold (trace.html) and a picture (flow.png)

        --out also trains the model for ten epochs on four fields of clicks made up for this, and writes step.html: one
        step on two of their rows, to be touched. Point at a number to see what its line reads, change it, or go from
        epoch to epoch.
        """)
    command.add_argument("--model", choices=MODELS, default="afm", help="which model (default afm)")
    command.add_argument("--detail", choices=["lines", "all"], default="lines",
                         help="lines: of the layers (default). all: also of the functions that they call, as softmax")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where to write step.html, trace.html and flow.png")


def run_trace(args):
    """Print one training step of a tiny model."""
    X = pd.DataFrame({"user": ["ann", "bob"], "ad": ["shoes", "phone"], "hour": [9, 21]})
    y = np.array([1, 0])
    model = MODELS[args.model](**MODELS[args.model].tiny).prepare(X, y)
    rng = np.random.default_rng(0)
    for array in parameters(model).values():
        array[...] = rng.uniform(-1, 1, array.shape).round(1)     # numbers to calculate with by hand
    steps = trace(model, X, y, detail=args.detail)
    print(steps)
    if args.out:
        with whole_folder(args.out) as out:
            (out / "trace.html").write_text(
                f"<!doctype html><meta charset=\"utf-8\"><title>{html.escape(repr(steps))}</title>"
                f"<style>:root {{color-scheme: light dark; font-family: sans-serif}}</style>\n{steps._repr_html_()}\n",
                encoding="utf-8")
            axes = blank_axes(1, 1, 7.5, 9.5)
            steps.flow(ax=axes[0, 0])
            picture = save(axes, out / "flow.png")
            steps, epochs = trained_step(MODELS[args.model])
            steps.save_page(out / "step.html", epochs)
        print(f"\nWritten to {args.out}: step.html, trace.html, {picture}")
    return 0


def trained_step(cls):
    """One step of a small model after a real training, and what was watched of that: (Trace, StepOverEpochs).

    On two rows, one of them clicked, that have one value in common: its vector gets gradients from both.
    """
    clicks = datasets.make_clicks(4_000, seed=0)
    X, y = clicks.X[FIELDS], clicks.y
    sizes = {setting: SIZES.get(setting, size) for setting, size in cls.tiny.items()}
    model = cls(**sizes, epochs=10, batch_size=64, early_stopping=False)
    first = int(np.flatnonzero(y)[0])
    second = next(row for row in np.flatnonzero(y == 0) if (X.iloc[row] == X.iloc[first]).sum() == 1)
    shown = X.iloc[[first, second]], y[[first, second]]
    watch = StepOverEpochs(*shown)
    watch(model.prepare(X, y))
    model.fit(X, y, after_epoch=watch)
    return trace(model, *shown), watch
