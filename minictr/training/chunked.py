"""The step that ``fit`` makes: the plain one, in chunks that fit the cache, on several threads.

A batch is processed in chunks small enough to stay in the processor's cache. Each chunk has a replica of the model:
the same parameters, caches and gradients of its own, and in place of layers their fast twins where there are some
(``fast_layers``). The replicas' gradients are added in chunk order, then the optimizer updates the shared parameters
once. So neither the number of threads nor their timing changes a bit of the result, which is that of ``step``, to
rounding.
"""

import functools
import itertools

import numpy as np

from ..layers import RowGradient, gradients, matches, named_layers, parameters, replica
from ..slots import Slots
from .fast_layers import with_fast_layers
from .fast_rows import FastRowGradient, Places, join_slots
from .fast_scoring import twin_for_scoring
from .fast_updates import update_in_parts
from .memory import keep_freed_memory
from .randomness import dropout_states, resume_dropout, seed_dropout
from .step import check_complete, check_finite, set_training, step, training_mode, with_l2
from .threads import Threads, n_cores, one_blas_thread

# What the widest layer keeps for a chunk should stay in a core's cache: 2^20 numbers of 4 bytes are 4 MB, of which the
# larger half is in use at a time.
CHUNK_NUMBERS = 2 ** 20
# A batch of less work is not cut for the threads' sake: handing work over costs some 50 us. The work of a row is
# counted in numbers that the widest layer keeps; so many multiplications of a matrix product take as long as one.
WORTH_SHARING = 2 ** 19
MULTIPLICATIONS_A_NUMBER = 64
MEASURED_ROWS = 8


def chunk_rows(model, slots, training=False):
    """How many rows of ``slots`` to process at once, so that what the widest layer keeps stays in the cache.

    Parameters
    ----------
    model : a model after ``start``.   slots : Slots of a batch, or of all rows to predict for.
    training : whether they are a batch: it is cut for each of two cores at least if that pays, and not at all where a
        row's output depends on the rest of its batch.
    """
    if training and model.whole_batch_only:
        return len(slots)
    if not hasattr(model, "work_of_a_row_"):
        model.work_of_a_row_ = measured_numbers(model, slots[:MEASURED_ROWS]), multiplications(model)
    numbers, multiplied = model.work_of_a_row_
    rows = max(8, CHUNK_NUMBERS // numbers)
    if training and len(slots) * (numbers + multiplied // MULTIPLICATIONS_A_NUMBER) >= WORTH_SHARING:
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


class Trainer:
    """What a trainer has beside its ``step``."""

    def begin_epoch(self):
        """Called before each pass over the rows."""

    def check(self, slots, y, c=None):
        """Raise TrainingDiverged unless the model, as it is now, predicts these rows with a finite loss."""
        model = self.model
        with np.errstate(over="ignore", invalid="ignore"):
            loss = model.loss_().forward(predict_logits(model, slots), y, c)
            if not np.isfinite(loss):
                check_finite(loss, model.forward(slots), model)


class ChunkedTrainer(Trainer):
    """Makes the steps of a fit: ``step`` is one update, everything else is around it.

    Parameters
    ----------
    model : a Model after ``start``, whose optimizer and settings it uses.   seed : SeedSequence for dropout.
    threads : Threads to share out the chunks to; None for the caller's alone.
    """

    def __init__(self, model, seed, threads=None):
        self.model = model
        self.seed = seed
        self.threads = threads or Threads(1)
        self.params = parameters(model)
        self.trained = []       # names of the parameters that are not frozen, once a step has shown their gradients
        self.replicas = []
        self.layers = []        # of each replica: {name: layer}
        self.resumed = []       # of each replica, also of those to come: where its dropouts go on, if training does

    def step(self, slots, y, c=None):
        """One training step on a batch: forward, loss, backward, update. Returns the batch's mean loss.

        Parameters
        ----------
        slots : Slots of B rows.   y : (B,) targets.   c : (B,) weights of the rows, or None.
        """
        loss, grads = self.gradients(slots, y, c, n_rows=len(slots))
        self.apply(grads, n_rows=len(slots))
        return loss

    def gradients(self, slots, y, c, n_rows):
        """Forward, loss and backward of rows that are a batch, or a part of one of ``n_rows`` rows.

        Returns: their part of the batch's mean loss, and {parameter name: gradient}, without what is frozen.
        """
        cuts = chunk_slices(len(slots), chunk_rows(self.model, slots, training=True))
        chunks = [slots] if len(cuts) == 1 else [slots[cut] for cut in cuts]
        while len(self.replicas) < len(cuts):
            self._add_replica()

        def forward_and_backward(i):
            model, loss = self.replicas[i], self.model.loss_()
            with np.errstate(over="ignore", invalid="ignore"):    # a loss that is not finite is reported below
                s = model.forward(chunks[i])
                value = loss.forward(s, y[cuts[i]], None if c is None else c[cuts[i]], n_rows)
                model.backward(loss.backward())
            return value

        places = Places(slots)
        if len(chunks) == 1:
            losses = [forward_and_backward(0)]
        else:       # the update will ask for the batch's distinct ids: finding them is one more piece of work to share
            work = [places.find, *(functools.partial(forward_and_backward, i) for i in range(len(chunks)))]
            losses = self.threads.map(lambda piece: piece(), work)[1:]
        loss = sum(losses)
        if not np.isfinite(loss):
            self._say_what_is_not_finite(loss, chunks[int(np.argmin(np.isfinite(losses)))])
        if not self.trained:
            check_complete(gradients(self.replicas[0]), self.model)
            self.trained = [name for name in self.params if not matches(name, self.model.freeze)]
        grads = {}
        for name in self.trained:
            layer_name, _, own_name = name.rpartition(".")
            parts = [layers[layer_name].grads[own_name] for layers in self.layers[:len(chunks)]]
            grads[name] = add_up(parts, chunks, places)
        return loss, grads

    def resume(self, states):
        """Before the first step: let the dropouts of each replica go on from what ``dropout_states`` gave."""
        self.resumed = states

    def dropout_states(self):
        """Where the dropouts of each replica have got to."""
        return [*map(dropout_states, self.replicas), *self.resumed[len(self.replicas):]]

    def apply(self, grads, n_rows):
        """Update the parameters by the gradients of a whole batch of ``n_rows`` rows."""
        update_in_parts(self.model.optimizer_, self.params, with_l2(self.model, grads, n_rows), self.threads)

    def _say_what_is_not_finite(self, loss, chunk):
        """Raise TrainingDiverged: the plain layers, whose caches have the paper's names, go through the chunk again."""
        with training_mode(self.model):
            s = self.model.forward(chunk)
        check_finite(loss, s, self.model)

    def _add_replica(self):
        model = with_fast_layers(replica(self.model))
        seed_dropout(model, self.seed, len(self.replicas))
        if len(self.replicas) < len(self.resumed):
            resume_dropout(model, self.resumed[len(self.replicas)])
        set_training(model, True)                                 # the model itself stays as it is
        self.replicas.append(model)
        self.layers.append(dict(named_layers(model)))


class PlainTrainer(Trainer):
    """The same for ``plain=True``: each batch is one plain step of the model itself, on the calling thread."""

    def __init__(self, model, seed):
        self.model = model
        seed_dropout(model, seed, 0)

    def step(self, slots, y, c=None):
        """One plain step on a batch; returns its mean loss."""
        with training_mode(self.model):
            return step(self.model, slots, y, c)

    def resume(self, states):
        """Let the dropouts go on from what ``dropout_states`` gave; the model is the only replica."""
        for own in states[:1]:
            resume_dropout(self.model, own)

    def dropout_states(self):
        """Where the dropouts have got to."""
        return [dropout_states(self.model)]


def add_up(parts, chunks, places):
    """The gradient of a parameter from those that the chunks left, added in chunk order."""
    if isinstance(parts[0], RowGradient):
        own = any(part.slots is not chunk for part, chunk in zip(parts, chunks, strict=True))
        return FastRowGradient(Places(join_slots([part.slots for part in parts])) if own else places,
                               [part.values for part in parts])
    return functools.reduce(np.add, parts)


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


def rows_in_cache(numbers):
    """How many rows to process at once that keep so many numbers each."""
    return max(8, CHUNK_NUMBERS // numbers)


def numbers_of_a_row(model, n_slots):
    """How many numbers the model's layers keep of a row of so many slots: measured, and kept."""
    if not hasattr(model, "numbers_of_a_row_"):
        model.numbers_of_a_row_ = {}                              # {slots of a row: numbers}
    if n_slots not in model.numbers_of_a_row_:
        M = len(model.encoder_.field_names)
        rows = Slots(np.zeros((MEASURED_ROWS, n_slots), np.int32), np.ones((MEASURED_ROWS, n_slots)), np.arange(M))
        model.numbers_of_a_row_[n_slots] = measured_numbers(model, rows)
    return model.numbers_of_a_row_[n_slots]
