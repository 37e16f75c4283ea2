"""What all models share around their equations: settings, fitting, predicting, saving."""

from .conventions import NotFittedError
from .from_fm import StartsFromFM
from .model import Model
from .persistence import ModelFileError
from .registry import Paper
from .task import Task
from .with_mlp import WithMLP

__all__ = ["Model", "ModelFileError", "NotFittedError", "Paper", "StartsFromFM", "Task", "WithMLP"]
