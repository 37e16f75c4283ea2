"""Scoring and training with Dask: see ``minictr.bridges.distributed``, where this now is."""

from .bridges.distributed import DaskTrainer, decision_function, fit, predict_proba

__all__ = ["DaskTrainer", "decision_function", "fit", "predict_proba"]
