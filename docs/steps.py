"""The pages of one training step that the site has ready: of each model whose page is small enough to open at once.

They are made by minictr itself, as ``minictr trace --out`` makes them, with fewer digits. ``steps/afm.html`` and so on
stand beside the site's own pages, and ``steps/index.html`` lists them.
"""

import sys
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from minictr.app.trace_command import trained_step
from minictr.estimator.registry import library_models
from minictr.tracing.step_page import page_html

MODELS = {name.lower(): cls for name, cls in library_models().items()}          # as their cards are called
FIRST = ("fm", "afm", "autoint", "deepfm")                        # the course has these in its notebooks
LARGEST = 300_000       # bytes
DIGITS = 4              # of the numbers from which a step starts: a training differs in the last ones between machines


def step_page(name):
    """The page of a model's training step, as text: always the same on one machine."""
    steps, epochs = trained_step(MODELS[name])
    return page_html(steps.page_data(epochs, digits=DIGITS))


def write_all(folder):
    """Write the pages into a folder: those that the course has, and all others that are small enough.

    Returns: {name of a model: bytes of its page}.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name in (*FIRST, *(name for name in MODELS if name not in FIRST)):
        content = step_page(name).encode()
        if name in FIRST or len(content) < LARGEST:
            (folder / f"{name}.html").write_bytes(content)
            sizes[name] = len(content)
    return sizes


def index(sizes):
    """The list of the pages, as the body of a page of the site."""
    rows = "".join(f'<tr><td><a href="{name}.html">{MODELS[name].__name__}</a></td>'
                   f"<td><code>{escape(MODELS[name].equation)}</code></td><td>{size / 1000:.0f} kB</td></tr>\n"
                   for name, size in sizes.items())
    return ("<h1>One training step to touch</h1>\n"
            "<p>Each page has all arrays of one training step of a small model: what every line computed, forwards and "
            "backwards, and the update. Point at a number to see which numbers its line reads, and the arithmetic; "
            "change one, and what follows from it is computed again; go from epoch to epoch of its training. A page is "
            "one file, and works without a network.</p>\n"
            f"<table><tr><th>model</th><th>its logit</th><th>page</th></tr>\n{rows}</table>\n"
            "<p>Of your own model and rows: <code>minictr.trace(model, X[:2], y[:2]).save_page(\"step.html\")</code>; "
            "in a terminal: <code>minictr trace --model afm --out FOLDER</code>.</p>\n")
