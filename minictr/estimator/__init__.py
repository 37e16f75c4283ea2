"""What all models share around their equations: settings, fitting, predicting, saving."""

from .model import Model, NotFittedError
from .persistence import ModelFileError

__all__ = ["Model", "ModelFileError", "NotFittedError"]
