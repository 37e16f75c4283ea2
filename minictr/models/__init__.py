"""The models. Each file is one paper, top to bottom. They stand in the order in which one can read them."""
# ruff: noqa: I001 - tables and help texts of all models have this order

from ..estimator import Model, NotFittedError
from ..estimator.registry import library_models
from ..training.twins import remember
from .linear import LR
from .fm import FM
from .ffm import FFM
from .fwfm import FwFM
from .hofm import HOFM
from .afm import AFM
from .nfm import NFM
from .fnn import FNN
from .pnn import PNN
from .wide_deep import WideDeep
from .deepfm import DeepFM
from .deep_crossing import DeepCrossing
from .dcn import DCN
from .xdeepfm import XDeepFM
from .autoint import AutoInt

__all__ = ["AFM", "DCN", "FFM", "FM", "FNN", "HOFM", "LR", "NFM", "PNN", "AutoInt", "DeepCrossing", "DeepFM", "FwFM",
           "Model", "NotFittedError", "WideDeep", "XDeepFM"]

remember(*library_models().values())      # a fast twin stands for a model only as it is here
