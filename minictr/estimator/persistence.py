"""Saving and loading: one file of arrays and a page of JSON, nothing in it that could run.

The file is NumPy's .npz under whatever name the user gives. Arrays of anything else than numbers are refused unread,
and everything is checked before a model is made of it: a model file from a stranger can be wrong, but it cannot
execute anything, and what it takes to load it is bounded by its size (see SECURITY.md).
"""

import json
import math

import numpy as np

from ..checks import check_settings, is_whole
from ..fields import TableEncoder
from ..fields.saved import Below, stored_array
from ..layers import parameters, states
from ..training import checked_random
from .archive import Archive, BoundedGenerator, ModelFileError, open_regular
from .atomic import replaced
from .file_parts import (
    RATING_ARRAYS,
    check_fields,
    history_from_json,
    history_to_json,
    ratings_from_arrays,
    ratings_to_arrays,
    settings_from_json,
    settings_to_json,
)
from .registry import MODELS
from .task import Task

FORMAT = 1
ENTRIES = {"format", "class", "settings", "task", "encoder", "optimizer_steps", "rating_ids", "history"}
LATER = {"random"}          # entries that files of 0.1.0 do not have


def save(model, path, optimizer=False):
    """Write ``model`` to ``path``; an existing file is replaced only when the new one is complete, and can be loaded.

    Parameters
    ----------
    model : a fitted Model.   path : file to write, any ending; see ``minictr.estimator.atomic.replaced``.
    optimizer : whether to include the optimizer's moments, with which training can go on as if never stopped.

    Raises: OSError; ValueError where ``load`` would refuse the file, as after ``set_params(embedding_dim=...)`` on a
    fitted model, or with weights that are not finite. Nothing is written then.
    """
    with replaced(path) as file:
        try:
            check_settings(model)
            write(model, file, optimizer)
            archive = Archive(file)
            restore(type(model), page_of(archive), archive)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise ValueError(f"the model was not saved to {path}, because no model could be loaded from that file: "
                             f"{reason(error)}. Where settings were changed since fit, set them back, or fit again"
                             ) from error


def write(model, file, optimizer):
    """Write a model to a binary file."""
    encoder_state, encoder_arrays = model.encoder_.get_state()
    arrays = {"row_counts": model.row_counts_}
    arrays |= with_prefix("encoder", encoder_arrays)
    arrays |= with_prefix("params", parameters(model)) | with_prefix("state", states(model))
    meta = {
        "format": FORMAT, "class": type(model).__name__, "settings": settings_to_json(model),
        "task": model.task_.to_json(), "encoder": encoder_state, "optimizer_steps": None, "rating_ids": None,
        "history": history_to_json(getattr(model, "history_", None))}
    if optimizer:
        meta["optimizer_steps"] = model.optimizer_.t
        meta["random"] = getattr(model, "random_", None)
        for name, moments in model.optimizer_.state.items():
            arrays |= with_prefix(f"optimizer/{name}", moments)
    if model.rating_data_ is not None:
        rating_ids, rating_arrays = ratings_to_arrays(model.rating_data_)
        meta["rating_ids"] = rating_ids
        arrays |= with_prefix("ratings", rating_arrays)
    text = json.dumps(meta, allow_nan=False).encode()
    np.savez(file, meta=np.frombuffer(text, np.uint8), **arrays)


def load(cls, path):
    """Read a model of class ``cls`` (or, for Model itself, of any class in minictr) from ``path``.

    Raises: FileNotFoundError; ModelFileError if the file cannot be used, saying why.
    """
    with open_regular(path) as file:
        try:
            archive = Archive(file)
            if "meta" not in archive:
                raise ModelFileError("it has no page of settings")
        except Exception as error:      # a damaged archive can fail in many ways
            raise ModelFileError(f"{path} is not a minictr model, or is damaged: {reason(error)}") from error
        try:
            meta = page_of(archive)
            version = None if "checkpoint" in meta else meta["format"]
        except Exception as error:
            raise ModelFileError(f"{path} is damaged: its page of settings cannot be read ({reason(error)})") from error
        if "checkpoint" in meta:
            raise ModelFileError(f"{path} is a checkpoint, from which a training goes on, and no saved model")
        if type(version) is not int or version != FORMAT:         # True is 1, but no format
            raise ModelFileError(f"{path} has format {version!r:.40}, this version of minictr reads format {FORMAT}: "
                                 "update minictr, or save the model again with this version")
        try:
            return restore(class_of(meta, cls), meta, archive)
        except WrongClass:
            raise ModelFileError(f"{path} holds a model of class {meta['class']}, not {cls.__name__}: load it with "
                                 f"{meta['class']}.load") from None
        except Exception as error:      # whatever goes wrong here, the reason is what the file holds
            raise ModelFileError(f"{path} is damaged: {reason(error)}") from error


class Savable:
    """A mixin of ``Model``."""

    def save(self, path, *, optimizer=False):
        """Write the fitted model to one file, of any name; with its optimizer's moments on request.

        Raises: OSError; ValueError where no model could be loaded from the file: settings that were changed since
        ``fit`` to some that do not go with the weights, or weights that are not finite. Nothing is written then.
        """
        self.check_fitted()
        save(self, path, optimizer)

    @classmethod
    def load(cls, path):
        """Read a model that ``save`` wrote; its predictions are the same to the bit."""
        return load(cls, path)


class WrongClass(Exception):
    """The file holds a model of a class that was not asked for."""


def class_of(meta, wanted):
    """The class that a file names, if it is ``wanted`` or a model below it."""
    wrong = sorted(ENTRIES ^ (meta.keys() - LATER))
    if wrong:
        what = "has a foreign" if wrong[0] in meta else "lacks the"
        raise ModelFileError(f"its page of settings {what} entry {wrong[0]!r:.60}")
    known = wanted if wanted.__name__ == meta["class"] else MODELS.get(meta["class"])
    if known is None or not issubclass(known, wanted):
        raise WrongClass
    return known


def reason(error):
    """What an exception says, not too long; with its class, unless that is one whose messages are sentences."""
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return text if len(text) < 500 else f"{text[:500]} ..."


# ---- from the file to the model --------------------------------------------------------------------------------

def page_of(archive):
    """The page of settings: a dict. NaN and infinity, which are no JSON, are refused."""
    def refuse(constant):
        raise ModelFileError(f"{constant} is no number")

    page = json.loads(stored_array(archive, "meta", np.uint8).tobytes(), parse_constant=refuse)
    if not isinstance(page, dict):
        raise ModelFileError("it is no table of names and values")
    return page


def restore(cls, meta, archive):
    """A model from its page and its arrays.

    What comes next is checked by what is known already, from headers, before it is read or built: the settings, the
    fields, the number of ids, how many parameters there can be, the names of all arrays, the shape of each.
    """
    model = cls(**settings_from_json(meta["settings"]))
    check_settings(model)
    model.encoder_ = TableEncoder.from_state(meta["encoder"], Below("encoder/", archive))
    check_fields(model.fields, model.encoder_.field_names)
    model.set_task(Task.from_json(meta["task"]))
    n = model.encoder_.n_ids
    model.row_counts_ = archive.checked("row_counts", (n,), np.int64)
    if (model.row_counts_ < 0).any():
        raise ModelFileError("a count of rows is negative")
    build(model, n, archive)
    model.new_optimizer()
    moments = restore_steps(model, meta["optimizer_steps"], archive)
    ratings = [] if meta["rating_ids"] is None else RATING_ARRAYS
    wanted = with_prefix("params", parameters(model)) | with_prefix("state", states(model)) | moments
    check_names(archive, {"meta", *wanted, *ratings})
    for name, array in wanted.items():
        array[...] = archive.checked(name, array.shape, array.dtype)
    if meta.get("random") is not None:
        model.random_ = checked_random(meta["random"], model)
    model.history_ = history_from_json(meta["history"])
    model.rating_data_ = None
    if ratings:
        model.rating_data_ = ratings_from_arrays(meta["rating_ids"], archive, n)
        if len(model.rating_data_.starts) != len(model.encoder_.field_names):
            raise ModelFileError("the users' and items' fields are not those of the model")
    return model


def build(model, n, archive):
    """Build the layers, as long as they have no more parameters than there are in the file.

    What a layer's first values are is of no interest, but that each number of them is drawn, or lies beside numbers
    that are, or is among those that the model calls undrawn: so that all can be counted, with as much again for what a
    model draws besides.
    """
    arrays, size = archive.total("params/", "state/")
    rng = BoundedGenerator(2 * arrays + 16, 2 * size // np.dtype(model.dtype).itemsize + 1024)
    rng.count(model.undrawn())
    model.build(n, len(model.encoder_.field_names), rng)
    rng.arrays = rng.numbers = math.inf                           # a layer may keep it to go on drawing


def restore_steps(model, steps, archive):
    """Set the optimizer's number of steps, and make the moments that the file has: {name in the file: array}."""
    if steps is None:
        return {}
    if not is_whole(steps, least=0) or steps >= 2 ** 63:
        raise ModelFileError(f"the number of optimizer steps is {steps!r}")
    model.optimizer_.t = steps
    moments = {}
    for name, array in parameters(model).items():
        own = with_prefix(f"optimizer/{name}", model.optimizer_.state_of(name, array))
        if any(moment in archive for moment in own):
            moments |= own
        else:
            del model.optimizer_.state[name]                      # a parameter that was never updated has none
    return moments


def check_names(archive, wanted):
    """Refuse a file that lacks one of the wanted arrays, or has one that is neither wanted nor read already."""
    missing = sorted(wanted - archive.sizes.keys())
    foreign = sorted(archive.sizes.keys() - wanted - archive.taken)
    for names, what in ((missing, "lacks the array"), (foreign, "has an array that does not belong to its model,")):
        if names:
            raise ModelFileError(f"it {what} {names[0][:80]}{f' ({len(names)} such)' if len(names) > 1 else ''}")


def with_prefix(prefix, arrays):
    """The same arrays under "prefix/name"."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}
