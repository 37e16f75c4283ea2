"""The pictures of the model cards: one training step of each model, drawn by minictr itself.

They are kept in the repository, so that the cards show them on GitHub. Each file says in its description which
arrays it shows; a test compares that with what the models do now.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "models" / "pictures"
sys.path.insert(0, str(FOLDER.parent.parent.parent))

import minictr  # noqa: E402


def step_of(name):
    """The training step that a card shows: of a small model, on one row of the clicks."""
    clicks = minictr.datasets.make_clicks(1_000, seed=0)
    models = {"lr": minictr.LR(), "fm": minictr.FM(), "afm": minictr.AFM(),
              "autoint": minictr.AutoInt(num_layers=2), "deepfm": minictr.DeepFM(deep_layers=(64, 32))}
    return minictr.trace(models[name].prepare(clicks.X, clicks.y), clicks.X[:1], clicks.y[:1])


def description(step):
    """The arrows of the picture in words."""
    return "; ".join(f"{edge.source} -> {edge.target}: {edge.symbol} {edge.shape}"
                     for edge in step.edges.itertuples(index=False))


def draw_all():
    """Draw all pictures anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ("lr", "fm", "afm", "autoint", "deepfm"):
        step = step_of(name)
        path = FOLDER / f"{name}.png"
        step.flow().figure.savefig(path, dpi=100, metadata={"Description": description(step), "Software": None})
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
