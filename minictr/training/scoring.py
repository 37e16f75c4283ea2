"""Scoring: a model's output for many rows, in chunks that fit the cache, on several threads."""

import numpy as np

from ..layers import replica
from ..slots import Slots
from .chunk_sizes import chunk_slices, rows_in_cache, work_of_a_row
from .fast_scoring import twin_for_scoring, with_scoring_layers
from .memory import keep_freed_memory
from .threads import Threads, n_cores, one_blas_thread


def predict_logits(model, slots):
    """The model's output for every row, in chunks on threads: (N,).

    Chunks are cut from the first row on, all of one length but the last, and rows of a chunk are computed by
    themselves, less what only fills up multi-valued fields there. So a table cut at multiples of ``fixed_chunk_rows``
    has the outputs, bit for bit, of the whole table.
    """
    keep_freed_memory()
    twin = twin_for_scoring(model)
    logits, n = np.empty(len(slots), model.dtype), chunk_length(model, twin)
    starts = range(0, len(slots), n)
    n_threads = 1 if model.plain else min(model.n_threads or n_cores(), max(len(slots) // n, 1))
    idle = [Scorer(model, twin), *(Scorer(model, twin and type(twin)(model)) for _ in range(1, n_threads))]

    def run(start):
        scorer, chunk = idle.pop(), slots[start:start + n].without_padding()
        with np.errstate(over="ignore", invalid="ignore"):
            scorer.score(chunk, logits[start:start + n])
        idle.append(scorer)

    with one_blas_thread(), Threads(n_threads) as threads:
        threads.map(run, starts)
    return logits


class Scorer:
    """Scores chunks on one thread: by the model's twin, or by its layers where the twin does not suit.

    Parameters
    ----------
    model : after ``start``.   twin : its twin for scoring, of this thread alone, or None.
    """

    def __init__(self, model, twin):
        self.model, self.twin, self.by_layers = model, twin, None

    def score(self, slots, logits):
        """Write the outputs for these rows into logits, (N,)."""
        if self.twin is not None and self.twin.suits(slots):
            computes, numbers = self.twin, self.twin.cached_numbers(slots)
        else:
            if self.by_layers is None:
                self.by_layers = replica(self.model) if self.model.plain else with_scoring_layers(self.model)
            computes, (numbers, _) = self.by_layers, work_of_a_row(self.model, slots)
        for part in chunk_slices(len(slots), rows_in_cache(numbers)):
            logits[part] = computes.forward(slots[part])


def fixed_chunk_rows(model):
    """How many rows a chunk of ``predict_logits`` has: from the model alone, counted with one slot a field."""
    return chunk_length(model, twin_for_scoring(model))


def chunk_length(model, twin):
    """The same, of a model with this twin for scoring, or None."""
    M = len(model.encoder_.field_names)
    one_slot_a_field = Slots(np.zeros((0, M), np.int32), None, np.arange(M))
    if twin is not None:
        return rows_in_cache(twin.cached_numbers(one_slot_a_field))
    numbers, _ = work_of_a_row(model, one_slot_a_field)
    return rows_in_cache(numbers)
