"""Checkpoints: a file from which a training that was killed goes on, and ends with the bits that it would have had.

After each epoch the file holds all that decides how training goes on: the weights, the best ones so far, the
optimizer's moments and steps, the history, and the random numbers' state. An epoch that was cut short is made again
from its start. Only the same training may go on from it: the file says what class, settings, data and first weights
it belongs to, the data as digests.
"""

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np

from ..layers import parameters, states
from ..training import checked_random
from .archive import Archive, ModelFileError, open_regular
from .atomic import replaced
from .file_parts import settings_to_json
from .persistence import check_names, page_of, reason, restore_steps, with_prefix

FORMAT = 1
FREE = {"epochs", "name", "verbose", "n_threads"}       # settings that may differ: more epochs, other threads


class Checkpoint:
    """The checkpoint of one ``fit``; see there for ``path`` and ``resume``."""

    def __init__(self, path, resume, model, source, data):
        self.path, self.source, self.verbose = Path(path), source, model.verbose
        self.training = {
            "class": type(model).__name__,
            "settings": {name: value for name, value in settings_to_json(model).items() if name not in FREE},
            "fields": digest_of_encoder(model.encoder_), "rows": digest(source.identity(data)),
            "validation": digest(parts_of(data.validation)) if data.validation else None,
            "start": digest(array for _, array in sorted(parameters(model).items()))}
        self.goes_on = resume and self.path.exists()

    def resume(self, run):
        """Bring a run that has not begun to where the file has got; does nothing where there is no file yet."""
        if not self.goes_on:
            return
        model, best = run.model, run.best
        with self.opened() as (meta, archive):
            restore_steps(model, meta["steps"], archive)
            if meta["best"] is not None:
                best.epoch, best.loss = meta["best"]
                best.weights = {name: array.copy() for name, array in best.arrays.items()}
            wanted = arrays_of(run)
            check_names(archive, {"meta", *wanted})
            for name, array in wanted.items():
                if archive.header(name) != (array.shape, array.dtype):
                    raise ValueError(f"the array {name} is not {array.dtype} {array.shape}")
                array[...] = archive[name]                        # moments may be infinite
            run.lines = [{**line, "val_loss": np.nan if line["val_loss"] is None else line["val_loss"]}
                         for line in meta["lines"]]
            run.resume(checked_random(meta["random"], model))
        if len(run.lines) > model.epochs:
            raise ValueError(f"the checkpoint {self.path} has {len(run.lines)} epochs behind it, and {model.epochs} "
                             "are asked for: ask for as many at least, or remove it to start afresh")
        self.source.resumed()
        if self.verbose:
            print(f"going on after epoch {len(run.lines)}, from {self.path}")

    def write(self, run):
        """Replace the file by one of the run as it is now, in one step."""
        meta = {"checkpoint": FORMAT, "training": self.training, "steps": run.model.optimizer_.t,
                "best": [run.best.epoch, run.best.loss] if run.best.weights else None, "random": run.random(),
                "lines": [{**line, "val_loss": None if np.isnan(line["val_loss"]) else line["val_loss"]}
                          for line in run.lines]}
        text = json.dumps(meta, allow_nan=False).encode()
        with replaced(self.path) as file:
            np.savez(file, meta=np.frombuffer(text, np.uint8), **arrays_of(run))

    @contextlib.contextmanager
    def opened(self):
        """The file's page and its arrays, if it is of the same training; what goes wrong within is its damage."""
        with open_regular(self.path) as file:
            try:
                archive = Archive(file)
                meta = page_of(archive)
                version, saved = meta["checkpoint"], meta["training"]
                others = differences(saved, self.training) if version == FORMAT else None
            except Exception as error:      # a damaged archive can fail in many ways
                raise ModelFileError(f"{self.path} is no checkpoint of minictr, or is damaged: "
                                     f"{reason(error)}") from error
            if others is None:
                raise ModelFileError(f"the checkpoint {self.path} has format {version}, this version of minictr reads "
                                     f"format {FORMAT}: go on with the version that wrote it")
            if others:
                raise ValueError(f"the checkpoint {self.path} is of another training: {'; '.join(others)}. Give what "
                                 "it was begun with, or remove the file to start afresh")
            try:
                yield meta, archive
            except Exception as error:
                raise ModelFileError(f"the checkpoint {self.path} is damaged: {reason(error)}. Remove it to start "
                                     "afresh") from error


def check_checkpoint(path, resume, seed):
    """Raise TypeError or ValueError, before anything is learned, where no checkpoint could be kept, or one be lost."""
    if path is None:
        if resume:
            raise TypeError("resume=True needs checkpoint=, the file to go on from")
        return
    path = Path(path)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"checkpoint {path}: " + ("this is a folder; name a file" if path.is_dir() else
                                                   f"there is no folder {path.parent}; make it first"))
    if path.exists() and not resume:
        raise ValueError(f"checkpoint {path}: the file is there already. To go on from it pass resume=True; to start "
                         "afresh remove it")
    if seed is None:
        raise ValueError("a training that can go on from a checkpoint needs a seed, such as seed=0: the one that goes "
                         "on has to start as the first one did")


def arrays_of(run):
    """Every array that training changes, by the names that they have in the file; the arrays themselves."""
    model = run.model
    arrays = {"row_counts": model.row_counts_}
    arrays |= with_prefix("params", parameters(model)) | with_prefix("state", states(model))
    for name, moments in model.optimizer_.state.items():
        arrays |= with_prefix(f"optimizer/{name}", moments)
    return arrays | with_prefix("best", run.best.weights or {})


# ---- the same training ---------------------------------------------------------------------------------------

def digest(arrays):
    """A text that other arrays, or others in number, shape, order or dtype, do not have; None is none of them.

    >>> digest([np.zeros(2), None]) == digest([np.zeros(2), None]), digest([np.zeros(2)]) == digest([np.zeros((2, 1))])
    (True, False)
    """
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(b"none" if array is None else f"{array.dtype} {array.shape} ".encode())
        total.update(b"" if array is None else np.ascontiguousarray(array).data)
    return total.hexdigest()


def parts_of(rows):
    """The arrays of encoded rows: (Slots, y, weights or None)."""
    slots, y, c = rows
    return slots.ids, slots.x, slots.starts, y, c


def digest_of_encoder(encoder):
    """The digest of fields and vocabularies."""
    state, arrays = encoder.get_state()
    text = np.frombuffer(json.dumps(state, sort_keys=True).encode(), np.uint8)
    return digest([text, *(array for _, array in sorted(arrays.items()))])


def differences(saved, now):
    """What two trainings differ in, in words; nothing if they are the same."""
    if saved["class"] != now["class"]:
        return [f"the model was of class {saved['class']}, and is of {now['class']}"]
    before, after = saved["settings"], json.loads(json.dumps(now["settings"]))        # JSON has no tuples
    found = [f"{name} was {before.get(name)!r}, and is {after.get(name)!r}"
             for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    if found:
        return found
    what = {"fields": "the fields or their values are others", "validation": "the validation rows are others",
            "rows": "the rows, targets or weights, or their order, are others"}
    found = [text for name, text in what.items() if saved[name] != now[name]]
    return found or ["it starts from other weights (init_from, or other versions of minictr and NumPy)"] * (
        saved["start"] != now["start"])
