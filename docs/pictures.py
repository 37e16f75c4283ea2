"""The pictures of the model cards: one training step of each model, drawn by minictr itself.

They are kept in the repository, so that the cards show them on GitHub. Each file says in its description which
arrays it shows; a test compares that with what the models do now.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "models" / "pictures"
sys.path.insert(0, str(FOLDER.parent.parent.parent))

import minictr  # noqa: E402
from minictr.estimator.registry import library_models  # noqa: E402

MODELS = {name.lower(): cls for name, cls in library_models().items()}          # as their cards are called
DRAWN = {"num_layers": 2, "deep_layers": (64, 32)}              # of any model: the default is too much to draw
OWN = {"pnn": {"product": "both"}, "fnn": {"fm_epochs": 1}, "widedeep": {"crosses": (("user_segment", "ad_category"),)}}


def step_of(name):
    """The training step that a card shows: of a small model, on one row of the clicks."""
    clicks, cls = minictr.datasets.make_clicks(1_000, seed=0), MODELS[name]
    drawn = {setting: value for setting, value in DRAWN.items() if getattr(cls, setting, None)}
    model = cls(**drawn, **OWN.get(name, {})).prepare(clicks.X, clicks.y)
    return minictr.trace(model, clicks.X[:1], clicks.y[:1])


def description(step):
    """The arrows of the picture in words."""
    return "; ".join(f"{edge.source} -> {edge.target}: {edge.symbol} {edge.shape}"
                     for edge in step.edges.itertuples(index=False))


def draw_all():
    """Draw all pictures anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        step = step_of(name)
        path = FOLDER / f"{name}.png"
        step.flow().figure.savefig(path, dpi=100, metadata={"Description": description(step), "Software": None})
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
