"""Scoring: a model's output for many rows, in chunks that fit the cache, on several threads."""

import numpy as np

from ..layers import replica
from .chunk_sizes import chunk_slices, numbers_of_a_row, rows_in_cache
from .fast_layers import with_fast_layers
from .fast_scoring import twin_for_scoring
from .memory import keep_freed_memory
from .threads import Threads, n_cores, one_blas_thread


def predict_logits(model, slots):
    """The model's output for every row, in chunks on threads: (N,).

    Chunks are cut from the first row on, all of one length but the last, and rows of a chunk are computed by
    themselves, less what only fills up multi-valued fields there. So a table cut at multiples of ``fixed_chunk_rows``
    has the outputs, bit for bit, of the whole table.
    """
    keep_freed_memory()
    logits, n = np.empty(len(slots), model.dtype), fixed_chunk_rows(model)
    starts = range(0, len(slots), n)
    n_threads = 1 if model.plain else min(model.n_threads or n_cores(), max(len(slots) // n, 1))
    idle = [scorer(model) for _ in range(n_threads)]

    def run(start):
        one, chunk = idle.pop(), slots[start:start + n].without_padding()
        with np.errstate(over="ignore", invalid="ignore"):
            one(chunk, logits[start:start + n])
        idle.append(one)

    with one_blas_thread(), Threads(n_threads) as threads:
        threads.map(run, starts)
    return logits


def scorer(model):
    """A function of (slots, logits) that writes the model's outputs into logits, (N,). Each thread needs its own."""
    by_layers = replica(model) if model.plain else with_fast_layers(replica(model))
    fast = twin_for_scoring(model)

    def score(slots, logits):
        suits = fast is not None and fast.suits(slots)
        numbers = fast.numbers_of_a_row(slots.n_slots) if suits else numbers_of_a_row(model, slots.n_slots)
        for part in chunk_slices(len(slots), rows_in_cache(numbers)):
            logits[part] = (fast if suits else by_layers).forward(slots[part])
    return score


def fixed_chunk_rows(model):
    """How many rows a chunk of ``predict_logits`` has: from the model alone, counted with one slot a field."""
    fast, M = twin_for_scoring(model), len(model.encoder_.field_names)
    return rows_in_cache(fast.numbers_of_a_row(M) if fast else numbers_of_a_row(model, M))
