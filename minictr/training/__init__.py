"""Training: one plain step to read and step through, and the fast one that ``fit`` makes beside it.

``step`` is the plain step, ``chunked`` the same in cache-sized chunks on threads, with the fast twins of the layers in
``fast_layers``; ``scoring`` predicts in such chunks; ``loop`` goes through epochs, with the random numbers of
``randomness``.
"""

from .chunk_sizes import chunk_rows, chunk_slices
from .chunked import ChunkedTrainer
from .loop import constant_loss, evaluate, fit, fit_once
from .progress import duration
from .randomness import checked_random, first_random, seed_dropout
from .scoring import fixed_chunk_rows, predict_logits
from .step import TrainingDiverged, step, training_mode

__all__ = ["ChunkedTrainer", "TrainingDiverged", "checked_random", "chunk_rows", "chunk_slices",
           "constant_loss", "duration", "evaluate", "first_random", "fit", "fit_once", "fixed_chunk_rows",
           "predict_logits", "seed_dropout", "step", "training_mode"]
