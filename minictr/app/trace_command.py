"""``minictr trace``: one training step of a tiny model, laid open."""

import html
from pathlib import Path

import numpy as np
import pandas as pd

from ..layers import parameters
from ..tracing import trace
from .options import MODELS, add_command
from .pictures import blank_axes, save
from .whole import whole_folder


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
        """)
    command.add_argument("--model", choices=MODELS, default="afm", help="which model (default afm)")
    command.add_argument("--detail", choices=["lines", "all"], default="lines",
                         help="lines: of the layers (default). all: also of the functions that they call, as softmax")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where to write trace.html and flow.png")


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
        print(f"\nWritten to {args.out}: trace.html, {picture}")
    return 0
