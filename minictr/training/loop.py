"""The training loop: epochs, windows cut into batches, early stopping, and the loss on validation rows."""

import contextlib
import time

import numpy as np
import pandas as pd

from ..checks import warn
from ..fields.windows import join, take
from ..layers import parameters, states
from .chunked import ChunkedTrainer, PlainTrainer
from .data import fill_untrained_rows
from .memory import keep_freed_memory
from .progress import Progress
from .randomness import first_random, generator
from .scoring import predict_logits
from .step import TrainingDiverged, check_arrays
from .threads import Threads, n_cores, one_blas_thread


def fit(model, data, seeds, trainer=None, after_epoch=None, checkpoint=None):
    """Train for ``model.epochs`` epochs, or until the validation loss stops falling; returns the history.

    Parameters
    ----------
    model : a built Model with ``optimizer_``, ``loss_`` and ``random_``; its settings say how to train.
    data : TrainingData.
    seeds : dict with the SeedSequence "dropout".
    trainer : what makes the steps; by default a ``ChunkedTrainer`` on threads.
    after_epoch : None, or a function of (model, line of the history as a dict), called after each epoch.
    checkpoint : None, or what keeps the Run: its ``resume(run)`` is called before the first epoch, its ``write(run)``
        after each.

    Returns: DataFrame epoch, train_loss (mean over the epoch's batches), val_loss, seconds; its ``attrs`` hold
    the name of the loss, the loss of always predicting the training mean, the best epoch, and whether Ctrl-C ended it.
    """
    progress, interrupted = Progress(model, data.n_rows), False
    own = trainer_on_threads(model, seeds["dropout"]) if trainer is None else contextlib.nullcontext(trainer)
    with own as trainer:
        run = Run(model, trainer)
        if checkpoint is not None:
            checkpoint.resume(run)
            progress.epochs_before = len(run.lines)
        while not run.is_over():
            try:
                line = one_epoch(run, data, progress)
                if after_epoch is not None:
                    after_epoch(model, dict(line))
                if checkpoint is not None:
                    checkpoint.write(run)
            except KeyboardInterrupt:
                fill_untrained_rows(model)
                interrupted = True
                break
        model.random_ = run.random()
    best, lines = run.best, run.lines
    best.restore()
    if interrupted:                                               # every other end has been checked
        check_arrays({**parameters(model), **states(model)})
    measured = data.targets if data.validation is None else data.validation[1:]
    base_loss = constant_loss(model.loss_, *data.targets, *measured)
    if best.epoch and best.loss > 2 * base_loss:
        warn(f"even in its best epoch the model's validation loss, {best.loss:.4g}, is far above {base_loss:.4g}, that "
             f"of always predicting the mean: training diverged. Lower learning_rate (now {model.learning_rate})")
    progress.end(interrupted, best.epoch, len(lines))
    history = pd.DataFrame(lines, columns=["epoch", "train_loss", "val_loss", "seconds"])
    history.attrs = {"loss": model.loss_.name, "best_epoch": best.epoch or len(lines), "interrupted": interrupted,
                     "base_loss": base_loss}
    return history


class Run:
    """How far a training has got: with the model and its optimizer, all that decides how it goes on.

    Attributes
    ----------
    model, trainer : what is trained, and what makes its steps.   best : Best.   lines : of the history, dicts.
    rng : the generator of the rows' order.
    """

    def __init__(self, model, trainer):
        self.model, self.trainer, self.best, self.lines = model, trainer, Best(model), []
        self.resume(model.random_)

    def resume(self, random):
        """Go on with random numbers from where they had got to."""
        self.rng = generator(random["order"])
        self.trainer.resume(random["dropout"])

    def random(self):
        """Where the random numbers have got to."""
        return {"order": self.rng.bit_generator.state, "dropout": self.trainer.dropout_states()}

    def is_over(self):
        """Whether all epochs are done, or early stopping ends it."""
        model, best, done = self.model, self.best, len(self.lines)
        return done >= model.epochs or bool(best.epoch and model.early_stopping and done - best.epoch >= model.patience)


def one_epoch(run, data, progress):
    """Train for one more epoch and measure it; returns its line of the history, and adds it to the run's."""
    start, model, epoch = time.perf_counter(), run.model, len(run.lines) + 1
    last = epoch == model.epochs and data.validation is None
    line = {"epoch": epoch, "train_loss": run_epoch(run.trainer, data.windows, run.rng, epoch, progress, last),
            "val_loss": np.nan}
    if data.validation is not None:
        line["val_loss"] = evaluate(model, *data.validation)
        if not np.isfinite(line["val_loss"]):
            raise TrainingDiverged(f"epoch {epoch}: the validation loss is {line['val_loss']}. {advice(model)}")
        run.best.update(epoch, line["val_loss"])
    line["seconds"] = time.perf_counter() - start
    run.lines.append(line)
    progress.epoch(line)
    return line


def fit_once(model, windows, seeds):
    """One pass over the windows, for ``partial_fit``, with the random numbers that one more epoch would have.

    Where a file did not keep them they depend on the steps made before.
    """
    dropout, steps = seeds["dropout"], model.optimizer_.t
    if not hasattr(model, "random_"):
        order, dropout = (np.random.SeedSequence(seeds[name].entropy, spawn_key=(*seeds[name].spawn_key, steps))
                          for name in ("order", "dropout"))
        model.random_ = first_random({"order": order})
    with trainer_on_threads(model, dropout) as trainer:
        run = Run(model, trainer)
        run_epoch(trainer, windows, run.rng, 1, last=True)
        model.random_ = run.random()


@contextlib.contextmanager
def trainer_on_threads(model, dropout_seed):
    """What makes the model's steps: on threads, with BLAS held to one thread for each of them, or plainly."""
    if model.plain:
        yield PlainTrainer(model, dropout_seed)
        return
    keep_freed_memory()
    with one_blas_thread(), Threads(model.n_threads or n_cores()) as threads:
        yield ChunkedTrainer(model, dropout_seed, threads)


def run_epoch(trainer, windows, rng, epoch, progress=None, last=False):
    """One pass over the windows, each in a new random order; returns the mean of the batches' losses.

    A batch's loss is that before its update. After the last update the parameters must be finite, and, where no next
    step and no validation will look (``last``), the loss of the last batch once more.
    """
    model = trainer.model
    trainer.begin_epoch()
    total, n_rows, batch = 0.0, 0, 0
    try:
        # what overflows shows in the loss, or below in the parameters
        with np.errstate(over="ignore", invalid="ignore"), contextlib.closing(window_batches(
                windows, model.batch_size, None if model.shuffle_window == 1 else rng)) as parts:
            for batch, (slots, y, c) in enumerate(parts, start=1):
                loss = trainer.step(slots, y, c)
                total += loss * len(y)
                n_rows += len(y)
                if progress:
                    progress.batch(epoch, batch, loss)
        batch = None
        check_arrays({**parameters(model), **states(model)})
        # a gradient whose square overflows makes a moment infinite: Adam would never move that parameter again
        check_arrays({f"{moment} of {name}": array for name, moments in model.optimizer_.state.items()
                      for moment, array in moments.items()}, kind="the optimizer's")
        if last:
            trainer.check(slots, y, c)
    except TrainingDiverged as error:
        where = f"batch {batch}" if batch else "after its last update"
        raise TrainingDiverged(f"epoch {epoch}, {where}: {error}. {advice(model)}") from None
    fill_untrained_rows(model)
    return total / n_rows


def advice(model):
    """What to do about training that diverged."""
    return (f"Lower learning_rate (now {model.learning_rate}), or scale large numerical fields "
            "(transform=\"standard\")")


def window_batches(windows, batch_size, rng=None):
    """Cut windows into batches as if they were one table; with ``rng`` each window is shuffled first.

    Rows that do not fill a batch go on to the next window; so the batches are those of ``batches`` for all rows.
    """
    held = None
    for window in windows:
        order = np.arange(len(window[1])) if rng is None else rng.permutation(len(window[1]))
        if held is not None:
            n_held = len(held[1])
            window = join([held, window])
            order = np.concatenate([np.arange(n_held), n_held + order])
        last = max(0, (len(order) - 2) // batch_size * batch_size)     # a single row left over must find its batch
        for start in range(0, last, batch_size):
            yield take(window, order[start:start + batch_size])
        held = take(window, order[last:])
    for rows in batches(np.arange(len(held[1])), batch_size):
        yield take(held, rows)


def batches(order, batch_size):
    """Cut an order of rows into batches; a single row left over joins the batch before it.

    >>> [rows.tolist() for rows in batches(np.arange(7), 3)]
    [[0, 1, 2], [3, 4, 5, 6]]
    """
    N = len(order)
    last = N - 1 if N % batch_size == 1 and N > 1 and batch_size > 1 else N
    for start in range(0, last, batch_size):
        stop = start + batch_size
        yield order[start:stop if stop < last else N]


def evaluate(model, slots, y, c=None):
    """Mean loss of a fitted model on encoded rows, weighted by c."""
    with np.errstate(over="ignore", invalid="ignore"):            # what overflows shows in the loss
        loss = model.loss_().forward(predict_logits(model, slots), y, c)
    return loss if c is None else float(loss / np.mean(c))


def constant_loss(loss, y, c, y_test, c_test):
    """The loss on ``y_test`` of always predicting the (weighted) mean of ``y``: what a model must beat."""
    mean = np.mean(y, dtype=np.float64) if c is None else np.average(y.astype(np.float64), weights=c)
    s = np.log(mean / (1 - mean)) if loss.name == "log loss" else mean
    N, total = len(y_test), 0.0
    for start in range(0, N, 100_000):                  # in chunks, for many rows' sake
        chunk = slice(start, min(start + 100_000, N))
        c_chunk = None if c_test is None else c_test[chunk]
        total += loss().forward(np.full(chunk.stop - start, s), y_test[chunk], c_chunk, n_rows=N)
    return total if c_test is None else total / np.mean(c_test)


class Best:
    """Remembers the weights of the epoch with the lowest validation loss."""

    def __init__(self, model):
        self.arrays = {**parameters(model), **states(model)}
        self.epoch, self.loss, self.weights = None, np.inf, None

    def update(self, epoch, loss):
        if loss < self.loss or self.epoch is None:
            self.epoch, self.loss = epoch, loss
            self.weights = {name: array.copy() for name, array in self.arrays.items()}

    def restore(self):
        for name, array in (self.weights or {}).items():
            self.arrays[name][...] = array
