"""minictr: factorization models for click prediction, written to be read.

FM, AFM, DeepFM, AutoInt and eleven relatives in NumPy, every forward and every backward pass by hand, and tables and
plots of what they learned. Start with ``datasets.make_clicks``, ``FM(...).fit(X, y)`` and ``explain.pair_importance``.
"""

from . import start  # noqa: F401   before what takes time to import

# isort: split
from . import datasets, explain, layers, losses, metrics, optim, plots
from .bridges.torch_export import to_torch
from .estimator import ModelFileError
from .fields import Categorical, MultiValued, Numerical
from .gradcheck import check_gradients
from .models import (
    AFM,
    DCN,
    FFM,
    FM,
    FNN,
    HOFM,
    LR,
    NFM,
    PNN,
    AutoInt,
    DeepCrossing,
    DeepFM,
    FwFM,
    Model,
    NotFittedError,
    WideDeep,
    XDeepFM,
)
from .tracing import StepOverEpochs, Trace, trace
from .training import TrainingDiverged

__version__ = "0.1.0"

__all__ = [
    "AFM", "DCN", "FFM", "FM", "FNN", "HOFM", "LR", "NFM", "PNN", "AutoInt", "Categorical", "DeepCrossing", "DeepFM",
    "FwFM", "Model", "ModelFileError", "MultiValued", "NotFittedError", "Numerical", "StepOverEpochs", "Trace",
    "TrainingDiverged", "WideDeep", "XDeepFM", "check_gradients", "datasets", "explain", "layers", "losses", "metrics",
    "optim", "plots", "to_torch", "trace",
]
