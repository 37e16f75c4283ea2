"""Saving and loading: one file of arrays and a page of JSON, nothing in it that could run.

The file is NumPy's .npz under whatever name the user gives. Arrays are loaded with ``allow_pickle=False``, and
everything is checked before a model is made of it: a model file from a stranger can be wrong, but it cannot
execute anything.
"""

import json
import os
import uuid
from pathlib import Path

import numpy as np
import pandas as pd

from ..checks import check_settings, is_whole
from ..fields import FIELD_CLASSES, Field, TableEncoder
from ..fields.columns import plain
from ..layers import parameters, states
from ..slots import Slots
from .ratings import RatingData, Side, weights_of
from .registry import MODELS

FORMAT = 1


class ModelFileError(ValueError):
    """The file is no minictr model, is damaged, holds another class, or was written by a newer version."""


def save(model, path, optimizer=False):
    """Write ``model`` to ``path``; an existing file is replaced only when the new one is complete.

    Parameters
    ----------
    model : a fitted Model.   path : file to write, any ending.
    optimizer : whether to include the optimizer's moments, with which training can go on as if never stopped.
    """
    encoder_state, encoder_arrays = model.encoder_.get_state()
    arrays = {"row_counts": model.row_counts_}
    arrays |= with_prefix("encoder", encoder_arrays)
    arrays |= with_prefix("params", parameters(model)) | with_prefix("state", states(model))
    meta = {
        "format": FORMAT, "class": type(model).__name__, "settings": settings_to_json(model),
        "task": model.task_, "encoder": encoder_state, "optimizer_steps": None, "rating_ids": None,
        "history": history_to_json(getattr(model, "history_", None))}
    if optimizer:
        meta["optimizer_steps"] = model.optimizer_.t
        for name, moments in model.optimizer_.state.items():
            arrays |= with_prefix(f"optimizer/{name}", moments)
    if model.rating_data_ is not None:
        rating_ids, rating_arrays = ratings_to_arrays(model.rating_data_)
        meta["rating_ids"] = rating_ids
        arrays |= with_prefix("ratings", rating_arrays)
    text = json.dumps(meta, allow_nan=False).encode()
    write_atomically(path, {"meta": np.frombuffer(text, np.uint8), **arrays})


def load(cls, path):
    """Read a model of class ``cls`` (or, for Model itself, of any class in minictr) from ``path``.

    Raises: FileNotFoundError; ModelFileError if the file cannot be used, saying why.
    """
    meta, arrays = read(path)
    try:
        return restore(class_of(meta["class"], cls), meta, arrays)
    except WrongClass:
        raise ModelFileError(f"{path} holds a model of class {meta['class']}, not {cls.__name__}: load it with "
                             f"{meta['class']}.load") from None
    except Exception as error:      # whatever goes wrong here, the reason is what the file holds
        what = str(error) if isinstance(error, ModelFileError) else f"{type(error).__name__}: {error}"
        raise ModelFileError(f"{path} is damaged: {what}") from error


class Savable:
    """A mixin of ``Model``."""

    def save(self, path, *, optimizer=False):
        """Write the fitted model to one file, of any name; with its optimizer's moments on request."""
        self.check_fitted()
        save(self, path, optimizer)

    @classmethod
    def load(cls, path):
        """Read a model that ``save`` wrote; its predictions are the same to the bit."""
        return load(cls, path)


class WrongClass(Exception):
    """The file holds a model of a class that was not asked for."""


def class_of(name, wanted):
    """The class called ``name``, if it is ``wanted`` or a model below it."""
    known = wanted if wanted.__name__ == name else MODELS.get(name)
    if known is None or not issubclass(known, wanted):
        raise WrongClass
    return known


def restore(cls, meta, arrays):
    """A model from the two parts of its file."""
    model = cls(**settings_from_json(meta["settings"]))
    check_settings(model)
    model.encoder_ = TableEncoder.from_state(meta["encoder"], below("encoder", arrays))
    if meta["task"] not in ("binary", "regression"):
        raise ModelFileError(f"task {meta['task']!r} is unknown")
    model.set_task(meta["task"])
    n = model.encoder_.n_ids
    model.build(n, len(model.encoder_.field_names), np.random.default_rng(0))
    for kind, wanted in (("params", parameters(model)), ("state", states(model))):
        copy_arrays(wanted, below(kind, arrays), kind)
    model.row_counts_ = checked(arrays, "row_counts", (n,), np.int64)
    if (model.row_counts_ < 0).any():
        raise ModelFileError("a count of rows is negative")
    model.new_optimizer()
    if meta["optimizer_steps"] is not None:
        if not is_whole(meta["optimizer_steps"], least=0) or meta["optimizer_steps"] >= 2 ** 63:
            raise ModelFileError(f"the number of optimizer steps is {meta['optimizer_steps']!r}")
        model.optimizer_.t = meta["optimizer_steps"]
        for name, array in parameters(model).items():
            saved = below(f"optimizer/{name}", arrays)
            if saved:
                model.optimizer_.state[name] = model.optimizer_.new_state(array)
                copy_arrays(model.optimizer_.state[name], saved, f"optimizer/{name}")
    model.history_ = history_from_json(meta["history"])
    model.rating_data_ = None
    if meta["rating_ids"] is not None:
        model.rating_data_ = ratings_from_arrays(meta["rating_ids"], below("ratings", arrays), n)
        if len(model.rating_data_.starts) != len(model.encoder_.field_names):
            raise ModelFileError("the users' and items' fields are not those of the model")
    return model


# ---- the file ----------------------------------------------------------------------------------------------

def write_atomically(path, arrays):
    """Write an .npz beside its place, then move it there in one step."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path):
    """The JSON and the arrays of a model file."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            if not hasattr(content, "files") or "meta" not in content.files:
                raise ModelFileError(f"{path} is not a minictr model: it has no page of settings")
            arrays = {name: content[name] for name in content.files}
    except (FileNotFoundError, PermissionError, IsADirectoryError, ModelFileError):
        raise
    except Exception as error:      # a damaged archive can fail in many ways
        raise ModelFileError(f"{path} is not a minictr model, or is damaged ({type(error).__name__})") from error
    try:
        meta = json.loads(bytes(arrays.pop("meta")))
        version = meta["format"]
    except Exception as error:
        raise ModelFileError(f"{path} is damaged: its page of settings cannot be read") from error
    if version != FORMAT:
        raise ModelFileError(f"{path} has format {version}, this version of minictr reads format {FORMAT}: "
                             "update minictr, or save the model again with this version")
    missing = {"class", "settings", "task", "encoder", "optimizer_steps", "rating_ids", "history"} - set(meta)
    if missing:
        raise ModelFileError(f"{path} is damaged: its page of settings lacks {sorted(missing)}")
    return meta, arrays


def with_prefix(prefix, arrays):
    """The same arrays under "prefix/name"."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def below(prefix, arrays):
    """The arrays whose name starts with "prefix/", without it."""
    return {name[len(prefix) + 1:]: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def copy_arrays(wanted, saved, kind):
    """Fill the wanted arrays from the saved ones; both must have the same names, shapes and dtypes."""
    if set(wanted) != set(saved):
        raise ModelFileError(f"{kind}: expected {sorted(wanted)}, found {sorted(saved)}")
    for name, array in wanted.items():
        array[...] = checked(saved, name, array.shape, array.dtype)


def checked(arrays, name, shape, dtype):
    """One array of the file, of exactly this shape and dtype (or kind of it), all numbers finite."""
    array = arrays.get(name)
    if array is None:
        raise ModelFileError(f"the array {name} is missing")
    if array.shape != shape or not np.issubdtype(array.dtype, dtype):
        raise ModelFileError(f"the array {name} is {array.dtype} {array.shape}, expected {shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelFileError(f"the array {name} has numbers that are not finite")
    return array


# ---- settings, history, ratings ----------------------------------------------------------------------------

def settings_to_json(model):
    """The constructor's arguments; ``init_from`` has done its work and is left out."""
    settings = {name: plain(value) for name, value in model.get_params().items() if name != "init_from"}
    if model.fields is not None:
        settings["fields"] = [field if not isinstance(field, Field) else
                              {"kind": type(field).__name__, **field.params()} for field in model.fields]
    return settings


def settings_from_json(settings):
    """The inverse of ``settings_to_json``."""
    settings = {name: as_tuples(value) for name, value in settings.items()}
    if settings["fields"] is not None:
        settings["fields"] = [
            field if isinstance(field, str) else
            FIELD_CLASSES[field["kind"]](**{key: value for key, value in field.items() if key != "kind"})
            for field in settings["fields"]]
    return settings


def as_tuples(value):
    """JSON has lists alone; settings are tuples, also within tuples.

    >>> as_tuples([1, ["a", [2]]])
    (1, ('a', (2,)))
    """
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def history_to_json(history):
    """A history as lists; NaN (no validation) becomes null."""
    if history is None:
        return None
    columns = {name: [None if pd.isna(value) else value for value in history[name].tolist()] for name in history}
    return {"columns": columns, "attrs": {name: plain(value) for name, value in history.attrs.items()}}


def history_from_json(saved):
    """The inverse of ``history_to_json``."""
    if saved is None:
        return None
    history = pd.DataFrame({name: saved["columns"][name] for name in ("epoch", "train_loss", "val_loss", "seconds")})
    history = history.astype({"epoch": int, "train_loss": float, "val_loss": float, "seconds": float})
    history.attrs = {name: saved["attrs"][name] for name in ("loss", "best_epoch", "interrupted", "base_loss")}
    return history


def ratings_to_arrays(data):
    """(ids of users and items as lists, arrays of both sides and of what was seen)."""
    arrays = {"seen_start": data.seen_start, "seen_items": data.seen_items}
    for side, name in ((data.users, "users"), (data.items, "items")):
        arrays |= {f"{name}/ids": side.slots.ids, f"{name}/starts": side.slots.starts,
                   f"{name}/x": weights_of(side.slots)}
    return {"users": data.users.ids.tolist(), "items": data.items.ids.tolist()}, arrays


def ratings_from_arrays(rating_ids, arrays, n):
    """The inverse of ``ratings_to_arrays``, for a table of n values."""
    sides = []
    for name in ("users", "items"):
        ids = rating_ids[name]
        if not isinstance(ids, list) or not ids or len({type(id_) for id_ in ids} - {int, float, str, bool}) or (
                len(set(ids)) < len(ids)):
            raise ModelFileError(f"the ids of the {name} are not distinct numbers or texts")
        shape = (len(ids) + 1, *arrays[f"{name}/ids"].shape[1:])        # one row each, and that of the unknown
        x = checked(arrays, f"{name}/x", shape, np.float32)
        x = None if (x == 1).all() else x
        starts = arrays[f"{name}/starts"]
        slots = Slots(checked(arrays, f"{name}/ids", shape, np.int32), x,
                      checked(arrays, f"{name}/starts", starts.shape, np.int64))
        slots.check_ids(n)
        sides.append(Side(np.array(ids, dtype=object if isinstance(ids[0], str) else None), slots))
    seen_start = checked(arrays, "seen_start", (len(sides[0].ids) + 1,), np.int64)
    seen_items = checked(arrays, "seen_items", (int(seen_start[-1]),), np.int64)
    if (np.diff(seen_start) < 0).any() or seen_start[0] != 0 or not np.isin(
            seen_items, np.arange(len(sides[1].ids))).all():
        raise ModelFileError("the list of rated items is not consistent")
    return RatingData(*sides, seen_start, seen_items)
