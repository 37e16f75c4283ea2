"""What a model file holds beside parameters, and the way back: settings and history as JSON, ratings as both."""

import numpy as np
import pandas as pd

from ..fields import FIELD_CLASSES, Field
from ..fields.columns import plain
from ..slots import Slots
from .archive import ModelFileError
from .ratings import RatingData, Side, weights_of

RATING_ARRAYS = tuple(f"ratings/{name}" for name in (
    "users/ids", "users/starts", "users/x", "items/ids", "items/starts", "items/x", "seen_start", "seen_items"))


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


def check_fields(fields, names):
    """Refuse fields among the settings that make no sense, or that are none of the fields that were learned."""
    for field in fields or ():
        name = field
        if isinstance(field, Field):
            field.check()
            name = field.name
        if name not in names:
            raise ModelFileError(f"its settings name the field {name!r:.60}, and it was fitted on {names!r:.200}")


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


def ratings_from_arrays(rating_ids, archive, n):
    """The inverse of ``ratings_to_arrays``, for a table of n values; the arrays are in the file under "ratings/"."""
    sides = []
    for name in ("users", "items"):
        ids = rating_ids[name]
        if not isinstance(ids, list) or not ids or len({type(id_) for id_ in ids} - {int, float, str, bool}):
            raise ModelFileError(f"the ids of the {name} are not numbers or texts")
        if any(type(id_) is int and not -2**63 <= id_ < 2**64 for id_ in ids) or len(set(ids)) < len(ids):
            raise ModelFileError(f"the ids of the {name} are not distinct numbers of 64 bits")
        (_, *width), _ = archive.header(f"ratings/{name}/ids")
        shape = (len(ids) + 1, *width)                            # one row each, and that of the unknown
        x = archive.checked(f"ratings/{name}/x", shape, np.float32)
        x = None if (x == 1).all() else x
        starts, _ = archive.header(f"ratings/{name}/starts")
        slots = Slots(archive.checked(f"ratings/{name}/ids", shape, np.int32), x,
                      archive.checked(f"ratings/{name}/starts", starts, np.int64))
        slots.check_ids(n)
        sides.append(Side(np.array(ids, dtype=object if isinstance(ids[0], str) else None), slots))
    seen_start = archive.checked("ratings/seen_start", (len(sides[0].ids) + 1,), np.int64)
    seen_items = archive.checked("ratings/seen_items", (int(seen_start[-1]),), np.int64)
    outside = seen_items.size and not 0 <= seen_items.min() <= seen_items.max() < len(sides[1].ids)
    if (np.diff(seen_start) < 0).any() or seen_start[0] != 0 or outside:
        raise ModelFileError("the list of rated items is not consistent")
    return RatingData(*sides, seen_start, seen_items)
