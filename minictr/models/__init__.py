"""The models. Each file is one paper, top to bottom."""

from .afm import AFM
from .autoint import AutoInt
from .base import Model, NotFittedError
from .deepfm import DeepFM
from .fm import FM
from .linear import LR

__all__ = ["AFM", "FM", "LR", "AutoInt", "DeepFM", "Model", "NotFittedError"]
