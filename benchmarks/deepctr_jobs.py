"""The jobs of ``benchmarks.speed`` in DeepCTR-Torch, through its own ``fit`` and ``predict``.

The package needs ``requests`` without saying so, and asks the network for its latest version when it is imported:
here that request is refused. Its L2 penalties are switched off, as minictr has none by default.

Its FM is AFM(use_attention=False). Its AutoInt has heads of k / heads numbers and always a first-order term; minictr
is measured once more with just that (``counterpart``). It gives numerical fields no vectors: AFM refuses them, and in
DeepFM and AutoInt they enter the MLP and the first-order term only, which is less work than minictr's vectors.
"""

import contextlib
import io
import time

import pandas as pd
import requests
import torch

from minictr import AFM, FM, AutoInt, DeepFM

from .minictr_jobs import EPOCHS, model_of, table_rows
from .peers import Unavailable, of_class
from .shapes import LEARNING_RATE, SHAPES, drawn_table
from .timing import once


def refuse(*arguments, **options):
    """Stands in for requests.get while the package looks for a newer version of itself."""
    raise OSError("the benchmark makes no requests")


requests.get = refuse
with contextlib.redirect_stdout(io.StringIO()):                   # it prints that it could not ask
    from deepctr_torch import models as theirs
    from deepctr_torch.callbacks import Callback
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    time.sleep(0.1)                                               # as does a thread of it, a moment later


def counterpart(model):
    """The minictr model whose equations the package has, where they are not those of ``model``; else None."""
    if type(model) is AutoInt:
        return model.clone().set_params(attention_dim=model.embedding_dim // model.num_heads, first_order=True)
    return None


def afm_of(model, fields, **no_penalty):
    """Its AFM, or its FM, which is an AFM without attention."""
    if any(isinstance(field, DenseFeat) for field in fields):
        raise Unavailable("its AFM, and so its FM, takes no numerical fields")
    return theirs.AFM(fields, fields, use_attention=type(model) is AFM, l2_reg_linear=0, l2_reg_att=0,
                      attention_factor=getattr(model, "attention_dim", 1), **no_penalty)


def deepfm_of(model, fields, **no_penalty):
    """Its DeepFM."""
    return theirs.DeepFM(fields, fields, dnn_hidden_units=model.deep_layers, l2_reg_linear=0, **no_penalty)


def autoint_of(model, fields, **no_penalty):
    """Its AutoInt, without an MLP."""
    return theirs.AutoInt(fields, fields, att_layer_num=model.num_layers, att_head_num=model.num_heads,
                          dnn_hidden_units=(), **no_penalty)


MODULES = {FM: afm_of, AFM: afm_of, DeepFM: deepfm_of, AutoInt: autoint_of}


def module_of(model, columns):
    """The package's module for a model of minictr and its input, with Adam and minictr's learning rate.

    Raises: Unavailable where the package has none for the model, or none for these fields.
    """
    make = of_class(MODULES, model, "DeepCTR-Torch module")
    categories = {name: column for name, column in columns.items() if column.dtype.kind == "i"}
    fields = [SparseFeat(name, column.max() + 1, embedding_dim=model.embedding_dim)
              for name, column in categories.items()]
    fields += [DenseFeat(name, 1) for name in columns if name not in categories]
    module = make(model, fields, l2_reg_embedding=0, seed=0)
    module.compile(torch.optim.Adam(module.parameters(), lr=LEARNING_RATE), "binary_crossentropy")
    return module


def inputs(X):
    """The columns as the package takes them: categories as numbers from 0 up (its examples use a LabelEncoder)."""
    return {name: X[name].to_numpy() if X[name].dtype.kind == "f" else pd.factorize(X[name])[0] for name in X}


class EpochTimes(Callback):
    """Notes the seconds of each epoch of a ``fit``."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop it."""
        self.seconds.append(time.perf_counter() - self.start)


def fit(name, shape, settings):
    """As in ``minictr_jobs``; the columns are given as the package wants them, which is not timed."""
    X, y = drawn_table(SHAPES[shape], table_rows(name, shape, settings, 6 * EPOCHS))
    model, columns, times = model_of(name, shape, settings), inputs(X), EpochTimes()
    with contextlib.redirect_stdout(io.StringIO()):               # verbose=0 prints all the same
        module = module_of(model, columns)
        all_seconds = once(lambda: module.fit(columns, y, batch_size=model.batch_size, epochs=EPOCHS, verbose=0,
                                              callbacks=[times]))
    return {"dense": {"value": times.seconds[-1] * 1e6 / len(y), "rows": len(y),
                      "seconds of the whole fit": all_seconds}}


def predict_proba(name, shape, settings):
    """As in ``minictr_jobs``, by ``predict``, from columns as in ``fit``; 4096 rows at once, not its 256."""
    X, y = drawn_table(SHAPES[shape], table_rows(name, shape, settings, 2))
    columns = inputs(X)
    module = module_of(model_of(name, shape, settings), columns)
    module.predict({name: column[:20_000] for name, column in columns.items()}, 4096)
    return {"forward": {"value": once(lambda: module.predict(columns, 4096)) * 1e6 / len(y), "rows": len(y)}}


JOBS = {"fit": fit, "predict_proba": predict_proba}
