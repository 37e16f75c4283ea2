"""How many rows are processed at once: so many that what is kept of them stays in a core's cache."""

import itertools

import numpy as np

from ..layers import named_layers, parameters, replica
from ..slots import Slots

# What the widest layer keeps for a chunk should stay in a core's cache: 2^20 numbers of 4 bytes are 4 MB, of which the
# larger half is in use at a time.
CHUNK_NUMBERS = 2 ** 20
# A step's chunks are longer, so that fewer calls have to wait for Python's lock, which two threads hand to each other.
# Measured, AFM's step on 7 fields takes .89 of the time, others .94 to 1, FFM's on 39 fields 1.06. In scoring the same
# length would cost up to a quarter (FwFM, AFM).
STEP_CHUNKS = 2
# A batch of less work is not cut for the threads' sake: handing work over costs some 50 us. The work of a row is
# counted in numbers that the widest layer keeps; so many multiplications of a matrix product take as long as one.
WORTH_SHARING = 2 ** 19
MULTIPLICATIONS_A_NUMBER = 64
MEASURED_ROWS = 8
FEWEST_ROWS = 8         # of a chunk, however much a row keeps


def chunk_rows(model, slots, training=False, twin=None):
    """How many rows of ``slots`` to process at once, so that what the widest layer keeps stays in the cache.

    Parameters
    ----------
    model : a model after ``start``.   slots : Slots of a batch, or of all rows to explain.
    training : whether they are a batch: it is cut for each of two cores at least if that pays, and not at all where a
        row's output depends on the rest of its batch.
    twin : the twin of the whole model that takes its steps, where there is one; its calls are too short to share out.
    """
    if twin:
        return max(FEWEST_ROWS, STEP_CHUNKS * CHUNK_NUMBERS // twin.cached_numbers(slots))
    if training and model.whole_batch_only:
        return len(slots)
    numbers, multiplied = work_of_a_row(model, slots)
    if not training:
        return rows_in_cache(numbers)
    rows = max(FEWEST_ROWS, STEP_CHUNKS * CHUNK_NUMBERS // numbers)
    if len(slots) * (numbers + multiplied // MULTIPLICATIONS_A_NUMBER) >= WORTH_SHARING:
        return min(rows, -(-len(slots) // 2))
    return rows


def multiplications(model):
    """How many a row's matrix products have at least: one for each number of a matrix that is no table of ids."""
    n_ids = model.encoder_.n_ids
    return sum(array.size for array in parameters(model).values() if array.ndim > 1 and len(array) != n_ids)


def measured_numbers(model, rows):
    """How many numbers of one row have to stay in the cache: measured on these rows.

    Three quarters of what the widest layer keeps, with the layers in it (a plain layer keeps some arrays before and
    after an activation); or twice the largest array, which has a companion while it is worked on (its gradient, say).
    """
    plain = replica(model)
    with np.errstate(all="ignore"):
        plain.forward(rows)
    kept, largest = {}, 0
    for name, layer in named_layers(plain):
        arrays = {id(array): array for array in layer.cache.values() if isinstance(array, np.ndarray)}
        widest = name.partition(".")[0]
        kept[widest] = kept.get(widest, 0) + sum(array.size for array in arrays.values())
        largest = max(largest, *(array.size for array in arrays.values()), 0)
    return max(1, 2 * largest, 3 * max(kept.values(), default=0) // 4) // max(1, len(rows)) or 1


def chunk_slices(n_rows, chunk_rows):
    """Cut 0..n_rows into equal chunks of at most ``chunk_rows``; an even number of them, if more than one.

    The cut depends on the sizes alone, never on the number of threads: so the result does not either.

    >>> chunk_slices(10, 4)
    [slice(0, 2, None), slice(2, 5, None), slice(5, 7, None), slice(7, 10, None)]
    """
    n_chunks = -(-n_rows // chunk_rows)
    if n_chunks > 1:
        n_chunks += n_chunks % 2
    bounds = [n_rows * i // n_chunks for i in range(n_chunks + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


def rows_in_cache(numbers):
    """How many rows to process at once that keep so many numbers each."""
    return max(FEWEST_ROWS, CHUNK_NUMBERS // numbers)


def work_of_a_row(model, slots):
    """How many numbers the model's layers keep of a row of such slots, and how many multiplications its matrix products
    have: found once for each way in which slots are shared out to fields, and kept with the model.

    A field's slots are rounded up to 1, 2, 4, 8, ...: with several multi-valued fields nearly each batch has another
    number of slots in each of them.
    """
    widths = tuple(1 << (int(width) - 1).bit_length() for width in np.diff(slots.starts, append=slots.n_slots))
    found = vars(model).setdefault("work_of_a_row_", {})          # {slots of each field: (numbers, multiplications)}
    if widths not in found:
        shape, starts = (MEASURED_ROWS, sum(widths)), np.cumsum([0, *widths[:-1]])
        rows = Slots(np.zeros(shape, np.int32), np.ones(shape), starts)
        found[widths] = measured_numbers(model, rows), multiplications(model)
    return found[widths]
