"""What is measured: shapes of data, models, and drawn data, the same for every library.

Ids follow Zipf's law within each field, clicks are drawn at random: how good a model gets is another question
(see ``benchmarks.quality``); what a step costs depends on the shapes, and on how often ids repeat within a batch.
"""

import dataclasses

import numpy as np
import pandas as pd

import minictr
from minictr import AFM, FM, AutoInt, DeepFM
from minictr.slots import Slots


@dataclasses.dataclass(frozen=True)
class Shape:
    """Fields (of which the first ``numerical`` are numbers), ids of all fields together, rows of a batch."""

    fields: int
    ids: int
    batch: int
    numerical: int = 0

    @property
    def ids_of_a_field(self):
        """Ids of each categorical field."""
        return (self.ids - self.numerical) // (self.fields - self.numerical)

    @property
    def first_ids(self):
        """The first id of each categorical field; a numerical field has one id, and these come first."""
        return self.numerical + self.ids_of_a_field * np.arange(self.fields - self.numerical)


SHAPES = {
    "ml-1m": Shape(7, 10_000, 1024),
    "frappe": Shape(10, 5_382, 4096),
    "criteo": Shape(39, 1_000_000, 4096, numerical=13),
}
MODELS = {
    "FM": FM(embedding_dim=16),
    "AFM": AFM(embedding_dim=16, attention_dim=64),
    "DeepFM": DeepFM(embedding_dim=16, deep_layers=(256, 128, 64)),
    "AutoInt": AutoInt(embedding_dim=16, attention_dim=16, num_heads=2, num_layers=3),
}
HEAVY = {   # near the papers' settings, each on the data of its paper: {name: (model, shape)}
    "AFM-heavy": (AFM(embedding_dim=256, attention_dim=256), "frappe"),
    "DeepFM-heavy": (DeepFM(embedding_dim=16, deep_layers=(400, 400, 400)), "criteo"),
    "AutoInt-heavy": (AutoInt(embedding_dim=16, attention_dim=32, num_heads=2, num_layers=3), "criteo"),
}
RELATIVES = {} if not hasattr(minictr, "XDeepFM") else {       # measured where they are named; not there "before"
    "FwFM": minictr.FwFM(embedding_dim=16),
    "FFM": minictr.FFM(embedding_dim=4),
    "HOFM": minictr.HOFM(embedding_dim=16),
    "NFM": minictr.NFM(embedding_dim=16, deep_layers=(64,)),
    "FNN": minictr.FNN(embedding_dim=16, deep_layers=(256, 128, 64), fm_epochs=0),
    "PNN": minictr.PNN(embedding_dim=16, deep_layers=(256, 128, 64)),
    "WideDeep": minictr.WideDeep(embedding_dim=16, deep_layers=(256, 128, 64), crosses=(("field_0", "field_1"),),
                                 optimizer="adam", wide_optimizer=None),
    "DeepCrossing": minictr.DeepCrossing(embedding_dim=16, deep_layers=(128, 64)),
    "DCN": minictr.DCN(embedding_dim=16, num_layers=3, deep_layers=(256, 128, 64)),
    "XDeepFM": minictr.XDeepFM(embedding_dim=16, cin_layers=(16, 16), deep_layers=(256, 128, 64)),
}
NAMES = [*MODELS, *HEAVY]
LEARNING_RATE = 0.001
N_USERS, N_ITEMS = 6_040, 3_706     # of the drawn ratings, as in MovieLens-1M


def cases(names, shapes):
    """All (name of a model, name of a shape) to measure; a heavy model has one shape."""
    found = [(name, shape) for shape in shapes for name in names if name in MODELS or name in RELATIVES]
    return found + [(name, HEAVY[name][1]) for name in names if name in HEAVY and HEAVY[name][1] in shapes]


def new_model(name, batch_size):
    """The unfitted model of that name; everything that is not part of the shape has minictr's default."""
    model = HEAVY[name][0] if name in HEAVY else {**MODELS, **RELATIVES}[name]
    return model.clone().set_params(learning_rate=LEARNING_RATE, batch_size=batch_size)


class DrawnFields:
    """Stands in for an encoder where rows are drawn as ids: the models ask it only for sizes."""

    def __init__(self, shape):
        self.field_names = [f"field_{i}" for i in range(shape.fields)]
        self.offsets = np.append(np.arange(shape.numerical), shape.first_ids)
        self.n_ids = self.n_features = shape.ids        # the second: what versions before call it


def built(model, shape):
    """The model with its layers built for a shape, with its optimizer and loss: ready for a trainer."""
    model.encoder_ = DrawnFields(shape)
    model.build(shape.ids, shape.fields, np.random.default_rng(0))
    model.set_task("binary")
    model.new_optimizer()
    return model


def drawn(shape, N, seed=0):
    """Values of N rows: categories (N, fields - numerical) from 0 up in each field, numbers (N, numerical), y (N,)."""
    rng = np.random.default_rng(seed)
    categories = rng.zipf(1.2, (N, shape.fields - shape.numerical)) % shape.ids_of_a_field
    numbers = rng.standard_normal((N, shape.numerical)).astype(np.float32)
    return categories, numbers, (rng.random(N) < 0.25).astype(np.float32)


def drawn_slots(shape, N, seed=0):
    """The drawn rows in encoded form: (Slots, y)."""
    categories, numbers, y = drawn(shape, N, seed)
    ids = np.empty((N, shape.fields), np.int32)
    ids[:, :shape.numerical] = np.arange(shape.numerical)
    ids[:, shape.numerical:] = categories + shape.first_ids
    x = None
    if shape.numerical:
        x = np.ones((N, shape.fields), np.float32)
        x[:, :shape.numerical] = numbers
    return Slots(ids, x, np.arange(shape.fields)), y


def drawn_table(shape, N, seed=0):
    """The drawn rows as a table, one column of whole numbers (or of floats) a field: (DataFrame, y)."""
    categories, numbers, y = drawn(shape, N, seed)
    columns = {f"field_{i}": numbers[:, i] for i in range(shape.numerical)}
    columns |= {f"field_{shape.numerical + i}": categories[:, i] for i in range(categories.shape[1])}
    return pd.DataFrame(columns), y


def drawn_ratings(N=20_000, seed=0):
    """Ratings with features of users and items, 7 fields in all, as keyword arguments of ``fit``."""
    rng = np.random.default_rng(seed)
    users, items = np.arange(N_USERS), np.arange(N_ITEMS)
    user_features = pd.DataFrame({"user_id": users, "gender": rng.integers(0, 2, N_USERS),
                                  "age": rng.integers(0, 7, N_USERS), "occupation": rng.integers(0, 21, N_USERS)})
    item_features = pd.DataFrame({"item_id": items, "year": rng.integers(1920, 2001, N_ITEMS),
                                  "genre": rng.integers(0, 18, N_ITEMS)})
    return {"user_ids": rng.integers(0, N_USERS, N), "item_ids": rng.integers(0, N_ITEMS, N),
            "ratings": rng.integers(1, 6, N), "user_features": user_features, "item_features": item_features}


def drawn_strings(N, n_columns, seed=0):
    """A table of N rows x ``n_columns`` columns of text, 10,000 different values in each."""
    rng = np.random.default_rng(seed)
    values = pd.Series([f"value {number}" for number in range(10_000)])
    return pd.DataFrame({f"column_{i}": values.take(rng.zipf(1.2, N) % len(values)).array for i in range(n_columns)})
