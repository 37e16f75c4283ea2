"""The jobs on encoded rows: prepared once, then called as often as is to be timed.

Other processes run this file too, with an earlier version of minictr (see ``before``). So it, and what it imports from
this folder, uses only what both versions have; the one place where they differ is ``trainer_of``.
"""

import contextlib

import numpy as np

from .shapes import SHAPES, built, drawn_slots
from .work import rows_within

MOST_STEP_NUMBERS = 3_000_000   # ids of the batches that the steps use in turn
SAMPLE_ROWS = 16_384    # encoded rows are scored in multiples of it


@contextlib.contextmanager
def trainer_of(model):
    """What makes the steps of ``fit``, on all cores; its ``step(slots, y)`` is one."""
    seed = np.random.SeedSequence(0)
    try:
        from minictr.training.chunked import ChunkedTrainer
        from minictr.training.threads import Threads, n_cores, one_blas_thread
    except ImportError:                                           # an earlier version: minictr.training is one file
        from minictr.training import trainer_on_threads

        with trainer_on_threads(model, seed) as trainer:
            trainer.set_training(True)
            yield trainer
    else:
        with contextlib.suppress(ImportError):                    # an earlier version
            from minictr.training.memory import keep_freed_memory
            keep_freed_memory()                                   # as fit does
        with one_blas_thread(), Threads(n_cores()) as threads:
            yield ChunkedTrainer(model, seed, threads)


def batch_rows(shape):
    """Rows for the steps, (Slots, y): many batches, or they are learned by heart, and losses mean nothing."""
    B, M = SHAPES[shape].batch, SHAPES[shape].fields
    return drawn_slots(SHAPES[shape], min(200, max(8, MOST_STEP_NUMBERS // (B * M))) * B)


def encoded_rows(model, shape):
    """How many rows to score in encoded form: more than fit the caches, where the model is fast enough for that."""
    rows = rows_within(model, SHAPES[shape].fields, 10, 8 * SAMPLE_ROWS)
    return max(1, rows // SAMPLE_ROWS) * SAMPLE_ROWS


@contextlib.contextmanager
def step(model, shape, rows):
    """A function that makes a training step on the i-th batch of the rows, in turn, and returns its loss."""
    B, (slots, y) = SHAPES[shape].batch, rows

    def call(i):
        batch = slice(i * B % len(y), i * B % len(y) + B)
        # cut out anew, as in a fit: Slots may keep what was found out about them once, such as their distinct ids
        return trainer.step(slots[batch], y[batch])

    with trainer_of(built(model, SHAPES[shape])) as trainer:
        yield call


@contextlib.contextmanager
def score_encoded(model, shape):
    """A function that scores ``encoded_rows`` rows, all at once."""
    slots, _ = drawn_slots(SHAPES[shape], encoded_rows(model, shape))
    model = built(model, SHAPES[shape])
    yield lambda i: model.predict_slots(slots)
