"""Where the time of a training step goes, layer by layer: ``python -m benchmarks.profile --model afm``.

    python -m benchmarks.profile --model autoint --shape criteo

Steps of encoded batches on a single thread (chunk by chunk, as in training, but one after the other, so that the
times of the layers add up), in time of this thread alone: what else runs on the machine does not count. Forward and
backward are timed for every layer, without the time of the layers within it (an MLP's own line is what its fast twin
does between the dense layers, ReLUs above all; an FM's is what the twin of the whole model does); then the loss, the
optimizer for each parameter (for a table: adding up its rows' gradients, too), and the rest: cutting chunks, adding up
their gradients.
"""

import argparse
import time

import numpy as np
import pandas as pd

from minictr.layers import named_layers
from minictr.training import ChunkedTrainer
from minictr.training.fast_updates import update_in_parts
from minictr.training.step import with_l2
from minictr.training.threads import one_blas_thread

from .quality import machine
from .shapes import HEAVY, NAMES, RELATIVES, SHAPES, built, drawn_slots, new_model
from .timing import timed

BATCHES = 8                     # different ones, used in turn by the steps
TOP = "(the model itself)"      # the lines of its forward and backward that are in no layer


class Clock:
    """Adds up exclusive seconds by name: while a nested call runs, the clock of the outer one stands still."""

    def __init__(self):
        self.seconds = {}
        self.running = []       # of each call under way: seconds that nested calls took

    def wrap(self, call, name):
        """The same function, timed under a name."""
        def timed_call(*arguments, **options):
            self.running.append(0.0)
            start = time.thread_time()
            try:
                return call(*arguments, **options)
            finally:
                passed = time.thread_time() - start
                self.seconds[name] = self.seconds.get(name, 0.0) + passed - self.running.pop()
                if self.running:
                    self.running[-1] += passed
        return timed_call


def wrap_all(trainer, clock):
    """Let the clock time every layer of every replica, the loss, and the update of each parameter."""
    for model in [*trainer.replicas, *trainer.twins]:
        for name, layer in [(TOP, model), *named_layers(model)]:
            for direction in ("forward", "backward"):
                setattr(layer, direction, clock.wrap(getattr(layer, direction), (name, direction)))
    model = trainer.model
    new_loss, optimizer = model.loss_, model.optimizer_

    def timed_loss():
        loss = new_loss()
        loss.forward, loss.backward = (clock.wrap(getattr(loss, direction), ("(the loss)", direction))
                                       for direction in ("forward", "backward"))
        return loss

    def update_one_by_one(grads, n_rows):
        t = optimizer.t
        for name, grad in with_l2(model, grads, n_rows).items():
            optimizer.t = t                                       # it counts calls, and these are all one step
            update = clock.wrap(update_in_parts, (name.rpartition(".")[0], "update"))
            update(optimizer, trainer.params, {name: grad}, trainer.threads)

    model.loss_, trainer.apply = timed_loss, update_one_by_one


def profile(name, shape_name, seconds):
    """Profile one model on one shape.

    Returns: (DataFrame of ms a step: one row a layer, columns forward, backward, update, ms, share; ms of the whole
    step; number of chunks of a batch).
    """
    shape = SHAPES[shape_name]
    B = shape.batch
    model = built(new_model(name, B), shape)
    slots, y = drawn_slots(shape, BATCHES * B)
    clock = Clock()
    trainer = ChunkedTrainer(model, np.random.SeedSequence(0))

    def step(i):
        rows = slice(i % BATCHES * B, (i % BATCHES + 1) * B)
        clock.wrap(trainer.step, ("(chunks, sums of gradients)", "update"))(slots[rows], y[rows])

    with one_blas_thread():
        step(0)                                                   # makes the replicas and the moments
        wrap_all(trainer, clock)
        step(1)
        clock.seconds.clear()
        _, steps = timed(step, seconds)
    table = pd.Series(clock.seconds).unstack(fill_value=0).reindex(columns=["forward", "backward", "update"])
    order = [TOP, *(layer_name for layer_name, _ in named_layers(model))]
    order += [row for row in table.index if row not in order]
    table = 1000 / steps * table.reindex([row for row in order if row in table.index])
    table["ms"] = table.sum(axis=1)
    table["share"] = table["ms"] / table["ms"].sum()
    return table, table["ms"].sum(), len(trainer.replicas)


def main(arguments=None):
    """Profile, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    of_lower = {name.lower(): name for name in (*NAMES, *RELATIVES)}
    parser.add_argument("--model", type=str.lower, choices=of_lower, default="afm")
    parser.add_argument("--shape", choices=SHAPES, help="ml-1m if not given; of a heavy model: its own")
    parser.add_argument("--seconds", type=float, default=5, help="about so long")
    options = parser.parse_args(arguments)
    name = of_lower[options.model]
    shape = options.shape or (HEAVY[name][1] if name in HEAVY else "ml-1m")
    table, ms, chunks = profile(name, shape, options.seconds)
    print(", ".join(f"{what} {value}" for what, value in machine(("numpy", "pandas")).items()))
    print(f"{name} on {shape}: {ms:.2f} ms a step of {SHAPES[shape].batch} rows, as {chunks} chunks one after the "
          "other on one thread\n")
    print(table.to_string(float_format="{:.3f}".format, formatters={"share": "{:.1%}".format}))
    print("\nms a step. update: the optimizer; of a table with the sums of its rows' gradients (the first table also "
          "pays for\nsorting the batch's ids, which all tables use)")


if __name__ == "__main__":
    main()
