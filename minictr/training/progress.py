"""What ``fit`` shows while it trains."""

import sys
import time

import numpy as np

from ..layers import parameters


class Progress:
    """What ``verbose`` prints: one updating line in a terminal, one line an epoch elsewhere."""

    def __init__(self, model, n_rows):
        self.verbose, self.epochs, self.epochs_before = model.verbose, model.epochs, 0     # before: of an earlier run
        self.n_batches = max(1, round(n_rows / model.batch_size))
        self.terminal = sys.stdout.isatty()
        self.start = self.shown = time.monotonic()
        if self.verbose:
            n_parameters = sum(array.size for array in parameters(model).values())
            print(f"{model.name or type(model).__name__}: {model.task_} ({model.loss_.name}), {n_rows:,} rows, "
                  f"{len(model.encoder_.field_names)} fields, {n_parameters:,} parameters")

    def batch(self, epoch, batch, loss):
        now = time.monotonic()
        if self.verbose and self.terminal and now - self.shown > 0.2:
            self.shown = now
            done = (epoch - 1 - self.epochs_before + batch / self.n_batches) / (self.epochs - self.epochs_before)
            left = (now - self.start) * (1 / done - 1)
            print(f"\repoch {epoch}/{self.epochs}  batch {batch}/{self.n_batches}  loss {loss:.4f}  "
                  f"at most {duration(left)} left   ", end="", flush=True)

    def epoch(self, line):
        if self.verbose:
            done = (line["epoch"] - self.epochs_before) / (self.epochs - self.epochs_before)
            left = (time.monotonic() - self.start) * (1 / done - 1)
            validation = "" if np.isnan(line["val_loss"]) else f"  validation {line['val_loss']:.4f}"
            print(f"{chr(13) if self.terminal else ''}epoch {line['epoch']}/{self.epochs}  "
                  f"train {line['train_loss']:.4f}{validation}  {line['seconds']:.1f} s  "
                  f"at most {duration(left)} left   ", flush=True)

    def end(self, interrupted, best_epoch, epochs_done):
        if interrupted:     # said even when not verbose: the user should know what they have
            kept = f"the weights of epoch {best_epoch}, the best so far" if best_epoch else "the weights so far"
            print(f"\ntraining interrupted after {epochs_done} full epochs: kept {kept}", file=sys.stderr)
        elif self.verbose and best_epoch and best_epoch < epochs_done:
            print(f"restored the weights of epoch {best_epoch}, the lowest validation loss")


def duration(seconds):
    """Seconds as a person says them.

    >>> duration(5), duration(125), duration(7300)
    ('5 s', '2 min 5 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
