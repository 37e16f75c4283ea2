"""The models. Each file is one paper, top to bottom."""

from ..estimator import Model, NotFittedError
from .afm import AFM
from .autoint import AutoInt
from .deepfm import DeepFM
from .fm import FM
from .linear import LR

__all__ = ["AFM", "FM", "LR", "AutoInt", "DeepFM", "Model", "NotFittedError"]
