"""How the files of this folder were made: run once, with minictr 0.1.0 at commit fea5b0a, and kept to show how.

    cd tests && python -m saved_models.make         # in an environment where that version is installed

The files that it wrote are never rewritten (it refuses to): that they were saved by that version is their point.
The models are tiny, and trained just far enough to be away from their start (but `afm_from_fm`, which stands at it).
"""

import hashlib
import json

import numpy as np

import minictr
from minictr import AFM, FM, LR, AutoInt, Categorical, DeepFM, MultiValued, Numerical
from minictr.layers import gradients, parameters, states

from . import FOLDER, RECOMMEND, STEP_ROWS, read_table

EVERY_FIELD = [
    Categorical("user", min_count=2), "hour", "member", Categorical("returning"), "size", Categorical("version"),
    Categorical("page", buckets=5), Categorical("code", buckets=4), Numerical("price", transform="standard"),
    Numerical("share"), Numerical("age", transform="minmax"), Numerical("visits", transform="log2"),
    Numerical("amount", transform="log_squared"), Numerical("length", bins=4), Numerical("dose", bins=[0.5, 1.5]),
    MultiValued("genres", sep="|", min_count=2), MultiValued("tags", buckets=3)]
FEW_FIELDS = ["user", Numerical("price", transform="standard"), "hour", MultiValued("genres")]

# Rows stay in order (shuffle_window=1): the order that a seed gives is NumPy's affair.
SETTINGS = {"epochs": 4, "batch_size": 16, "learning_rate": 0.05, "shuffle_window": 1}
F64 = {**SETTINGS, "dtype": "float64"}
FEW = {**F64, "fields": FEW_FIELDS}
FEW_F32 = {**SETTINGS, "fields": FEW_FIELDS}

# name: (model, target, options of `train`)
TABLE_MODELS = {
    "lr": (LR(**FEW), "click", {"weights": True}),
    "lr_sgd_reg": (LR(**FEW, optimizer="sgd", reg=0.5), "spent", {}),
    "lr_float32": (LR(**FEW_F32), "click", {"optimizer": False}),
    "fm": (FM(**FEW, embedding_dim=4), "click", {"weights": True}),
    "fm_every_field": (FM(**F64, fields=EVERY_FIELD, embedding_dim=2), "spent", {}),
    "fm_every_field_float32": (FM(**SETTINGS, fields=EVERY_FIELD, embedding_dim=3, dropout=0.1), "click",
                               {"validation": 0.2}),
    "fm_categories": (FM(**F64, embedding_dim=3), "click", {"columns": ["user", "hour", "size"]}),
    "fm_adagrad_reg": (FM(**FEW, embedding_dim=3, optimizer="adagrad", reg=0.5), "spent",
                       {"weights": True, "optimizer": False}),
    "fm_not_lazy_reg": (FM(**FEW, embedding_dim=3, lazy=False, reg=0.5), "click", {}),
    "afm": (AFM(**FEW, embedding_dim=3, attention_dim=4), "click", {}),
    "afm_every_field_float32": (AFM(**SETTINGS, fields=EVERY_FIELD, embedding_dim=3, attention_dim=4, dropout=0.1,
                                    attention_dropout=0.1), "spent", {"optimizer": False}),
    "afm_reg_lr_multipliers": (AFM(**FEW, embedding_dim=4, attention_dim=3, reg=0.5,
                                   lr_multipliers={"attention": 2, "attention.b": 0.5}), "spent", {"weights": True}),
    "afm_from_fm": ("fm", "click", {"weights": True}),
    "autoint": (AutoInt(**FEW, embedding_dim=4, attention_dim=2, num_layers=2), "click", {}),
    "autoint_float32": (AutoInt(**FEW_F32, embedding_dim=3, attention_dim=2, num_layers=2, dropout=0.1,
                                embedding_dropout=0.1), "click", {"optimizer": False}),
    "autoint_official": (AutoInt.official_code(**FEW, embedding_dim=3, attention_dim=2, num_layers=1), "spent", {}),
    "autoint_plus_sgd": (AutoInt(**FEW, embedding_dim=3, attention_dim=3, num_layers=1, residual=False,
                                 first_order=True, deep_layers=(4, 3), optimizer="sgd"), "click", {"weights": True}),
    "autoint_plus_bn_adagrad_reg": (AutoInt(**FEW, embedding_dim=3, attention_dim=2, num_layers=1, scale=True,
                                            deep_layers=(4, 3), use_bn=True, optimizer="adagrad", reg=0.5),
                                    "spent", {}),
    "deepfm": (DeepFM(**FEW, embedding_dim=4, deep_layers=(5, 4)), "click", {"weights": True}),
    "deepfm_bn_sgd_reg": (DeepFM(**FEW, embedding_dim=3, deep_layers=(5, 4), use_bn=True, optimizer="sgd", reg=0.5),
                          "click", {}),
    "deepfm_bn_float32": (DeepFM(**FEW_F32, embedding_dim=3, deep_layers=[5, 4], dropout=0.1, use_bn=True), "spent",
                          {"optimizer": False}),
}

# name: (model, whose features it gets, whether it is trained further)
RATING_MODELS = {
    "fm_ratings": (FM(**F64, embedding_dim=3), (), True),
    "afm_ratings_features": (AFM(**F64, embedding_dim=3, attention_dim=4, optimizer="adagrad"), ("user", "item"), True),
    "autoint_ratings_binary_float32": (AutoInt(**SETTINGS, embedding_dim=3, attention_dim=2, num_layers=1,
                                               task="binary", seed=1), ("user",), False),
    "deepfm_ratings_float32": (DeepFM(**SETTINGS, embedding_dim=3, deep_layers=(5,)), ("item",), False),
}


def train(model, target, weights=False, validation=None, columns=None, optimizer=True):
    """The fitted model."""
    table = read_table("train")
    X = table.drop(columns=["click", "spent", "weight"]) if columns is None else table[columns]
    return model.fit(X, table[target], sample_weight=table["weight"] if weights else None, validation=validation)


def afm_from_fm():
    """An AFM as it is before its first step, with the optimizer at rest: it starts as the FM."""
    fm_model, target, options = TABLE_MODELS["fm"]
    fm = train(fm_model.clone(), target, **options)
    table = read_table("train")
    afm = AFM.from_fm(fm, **F64, attention_dim=4, freeze=("embedding", "linear"))
    return afm.prepare(table[fm.feature_names_in_.tolist()], table[target], table["weight"])


def train_on_ratings(model, sides):
    """The fitted model; users have numbers, items names."""
    table = read_table("ratings")
    y = table["rating"] >= 3 if model.task == "binary" else table["rating"]
    return model.fit(user_ids=table["user_id"], item_ids=table["item_id"], ratings=y,
                     **{f"{side}_features": read_table(f"{side}_features") for side in sides})


def rating_expectations(model):
    """Predictions and recommendations, for users and items with ratings, with features only, and with neither."""
    users, items = [101, 103, 108, 140, 999], ["film 3", "film 20", "film 8", "film 32", "film 555"]
    pairs = list(zip(users, items, strict=True))
    expected = {"users": users, "items": items, "predict": [model.predict(user, item) for user, item in pairs],
                "batch_predict": model.batch_predict(pairs)}
    for user in users:
        for name, options in RECOMMEND.items():
            ids, scores = model.recommend(user, return_scores=True, **options)
            assert (np.diff(scores) < -1e-4).all(), "scores so close that rounding could change their order"
            expected |= {f"{name}/{user}/ids": ids, f"{name}/{user}/scores": scores}
    return with_prefix("ratings", expected)


def step_expectations(load, X, y, c):
    """One training step, from a freshly loaded model."""
    model = load()
    assert model.chunk_rows(len(y)) >= len(y)       # one chunk: else this version leaves a part's gradients behind
    slots = model.encoder_.encode(X)
    loss = model.train_step(X, y, c)
    assert np.isfinite(loss) and len(model._trainer.replicas) == 1
    without_l2 = load().set_params(reg=0)       # this version adds L2's gradient to the loss's, where it lies
    assert without_l2.train_step(X, y, c) == loss
    arrays, grads = parameters(without_l2), gradients(without_l2)
    grads = {name: grad.dense(len(arrays[name])) if hasattr(grad, "dense") else grad
             for name, grad in grads.items()}
    x = np.ones(slots.ids.shape, np.float32) if slots.x is None else slots.x
    return {"step/ids": slots.ids, "step/x": x, "step/starts": slots.starts, "step/loss": loss,
            **end_to_end("step/gradients", model, grads), **everything_of("step", model)}


def went_on_expectations(load, X, y, c):
    """One pass more over all rows, from a freshly loaded model."""
    model = load().partial_fit(X, y, c)
    return {"went_on/scores": model.decision_function(X), **everything_of("went_on", model)}


def everything_of(prefix, model):
    """Parameters and, where there are any, states of a model."""
    found = end_to_end(f"{prefix}/parameters", model, parameters(model))
    return found | end_to_end(f"{prefix}/states", model, states(model)) if states(model) else found


def end_to_end(key, model, arrays):
    """The arrays as one, in the order of the model's own; see ``saved_models.read_expected``."""
    own = states(model) if key.endswith("states") else parameters(model)
    assert all(arrays[name].shape == array.shape for name, array in own.items())
    return {key: np.concatenate([arrays[name].ravel() for name in own])}


def with_prefix(prefix, arrays):
    """The same arrays under "prefix/name"."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def write(name, model, rows, target, weights, checks, optimizer=True, extra=None):
    """Save the model and what is expected of it; returns its line of the manifest."""
    path, expected_path = FOLDER / f"{name}.npz", FOLDER / f"{name}_expected.npz"
    if path.exists() or expected_path.exists():
        raise FileExistsError(f"{path} is there already, and these files are never rewritten")
    model.save(path, optimizer=optimizer)
    X = read_table(rows)
    y, c = X[target], X["weight"] if weights else None

    def load():
        return type(model).load(path)

    expected = {"scores": model.decision_function(X), **(extra or {})}
    if "step" in checks:
        first = slice(STEP_ROWS)
        expected |= step_expectations(load, X[first], y[first], None if c is None else c[first])
    if "went_on" in checks:
        expected |= went_on_expectations(load, X, y, c)
    np.savez_compressed(expected_path, **expected)
    return {"class": type(model).__name__, "dtype": model.dtype, "task": model.task_, "rows": rows, "target": target,
            "weights": weights, "checks": checks,
            "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, expected_path)}}


def main():
    """Train and save all models, work out what is expected of them, and write the manifest."""
    assert minictr.__version__ == "0.1.0"
    manifest = {}
    for name, (model, target, options) in TABLE_MODELS.items():
        model = afm_from_fm() if name == "afm_from_fm" else train(model, target, **options)
        checks = ["scores", "step", "went_on"] if model.dtype == "float64" else ["scores"]
        manifest[name] = write(name, model, "rows", target, options.get("weights", False), checks,
                               options.get("optimizer", True))
    for name, (model, sides, trains_on) in RATING_MODELS.items():
        train_on_ratings(model, sides)
        checks = ["scores", "ratings", *(["step", "went_on"] if trains_on else [])]
        manifest[name] = write(name, model, "rating_rows", "rating", False, checks, trains_on,
                               rating_expectations(model))
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
