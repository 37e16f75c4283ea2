"""The step that ``fit`` makes: the plain one, in chunks that fit the cache, on several threads.

A batch is processed in chunks small enough to stay in the processor's cache. Each chunk has a replica of the model:
the same parameters, caches and gradients of its own, and in place of layers their fast twins where there are some
(``fast_layers``). The replicas' gradients are added in chunk order, then the optimizer updates the shared parameters
once. So neither the number of threads nor their timing changes a bit of the result, which is that of ``step``, to
rounding.
"""

import functools

import numpy as np

from ..layers import RowGradient, gradients, matches, named_layers, parameters, replica
from .chunk_sizes import chunk_rows, chunk_slices
from .fast_fm import FastFMStep, has_fast_step
from .fast_layers import with_fast_layers
from .fast_rows import FastRowGradient, Places, SummedRows, join_slots
from .fast_updates import update_in_parts
from .randomness import dropout_states, resume_dropout, seed_dropout
from .scoring import predict_logits
from .step import check_complete, check_finite, set_training, step, training_mode, with_l2
from .threads import Threads


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
        self.twins = []         # of each replica, where the whole model has a twin for its step
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
        if not self.replicas:
            self._add_replica()
        twin = self.twins[0] if self.twins and FastFMStep.suits(slots) else None
        cuts = chunk_slices(len(slots), chunk_rows(self.model, slots, training=True, twin=twin))
        chunks = [slots] if len(cuts) == 1 else [slots[cut] for cut in cuts]
        while len(self.replicas) < len(cuts):
            self._add_replica()
        models = self.twins if twin else self.replicas

        def forward_and_backward(i):
            model, loss = models[i], self.model.loss_()
            with np.errstate(over="ignore", invalid="ignore"):    # a loss that is not finite is reported below
                s = model.forward(chunks[i])
                value = loss.forward(s, y[cuts[i]], None if c is None else c[cuts[i]], n_rows)
                model.backward(loss.backward())
            return value

        places = Places(slots)
        if len(chunks) == 1:
            losses = [forward_and_backward(0)]
        else:       # the update will ask for the batch's distinct ids: finding them is one more piece of work to share
            work = [functools.partial(forward_and_backward, i) for i in range(len(chunks))]
            if not twin:                                          # which finds those of each chunk
                work.insert(0, places.find)
            losses = self.threads.map(lambda piece: piece(), work)[-len(chunks):]
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
        if self.twins or (not self.replicas and has_fast_step(self.model)):
            self.twins.append(FastFMStep(model))
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
    if isinstance(parts[0], SummedRows):
        return parts[0].joined(parts)
    if isinstance(parts[0], RowGradient):
        own = any(part.slots is not chunk for part, chunk in zip(parts, chunks, strict=True))
        return FastRowGradient(Places(join_slots([part.slots for part in parts])) if own else places,
                               [part.values for part in parts])
    return functools.reduce(np.add, parts)
