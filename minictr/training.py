"""The training loop: batches cut into chunks, chunks on threads, one update a batch, early stopping."""

import contextlib
import functools
import itertools
import sys
import time

import numpy as np
import pandas as pd

from .checks import warn
from .layers import Dropout, RowGradient, named_layers, parameters, replica, states
from .streaming import join, take
from .threads import Threads, n_cores, one_blas_thread

# The largest array of a chunk should stay in a core's cache: 2^19 numbers of 4 bytes are 2 MB.
CHUNK_NUMBERS = 2 ** 19
# A batch whose widest array is smaller is not cut for the threads' sake: handing work over costs some 50 microseconds.
WORTH_SHARING = 2 ** 18


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or not a number; the message says when, and in which array it began."""


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
    """Trains a model whose layers are built: ``step`` is one update, everything else is around it.

    A batch is processed in chunks small enough to stay in the processor's cache. Each chunk has a replica of
    the model: the same parameters, caches and gradients of its own. The replicas' gradients are added in
    chunk order, then the optimizer updates the shared parameters once. So neither the number of threads
    nor their timing changes a bit of the result.

    Parameters
    ----------
    model : a Model after ``build``.   loss : class of the loss.   optimizer : an Optimizer.
    seed : SeedSequence for dropout.   threads : Threads to share out the chunks to; None for the caller's alone.
    """

    def __init__(self, model, loss, optimizer, seed, threads=None):
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.seed = seed
        self.threads = threads or Threads(1)
        self.params = parameters(model)
        self.replicas = []
        self.layers = []        # of each replica: {name: layer}

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
        chunks = chunk_slices(len(slots), self.model.chunk_rows(len(slots)))
        while len(self.replicas) < len(chunks):
            self._add_replica()
        losses = [self.loss() for _ in chunks]

        def forward_and_backward(i):
            chunk, model, loss = chunks[i], self.replicas[i], losses[i]
            with np.errstate(over="ignore", invalid="ignore"):    # a loss that is not finite is reported below
                s = model.forward(slots if len(chunks) == 1 else slots[chunk])
                value = loss.forward(s, y[chunk], None if c is None else c[chunk], n_rows)
                model.backward(loss.backward())
            return value

        if len(chunks) == 1:
            loss = forward_and_backward(0)
        else:       # the update will ask for the batch's distinct ids: finding them is one more piece of work to share
            work = [slots.distinct_ids, *(functools.partial(forward_and_backward, i) for i in range(len(chunks)))]
            loss = sum(self.threads.map(lambda piece: piece(), work)[1:])
        if not np.isfinite(loss):
            raise TrainingDiverged(f"the loss is {loss}: {self._what_is_not_finite(losses)}")
        return loss, self._sum_gradients(slots, len(chunks))

    def apply(self, grads, n_rows):
        """Update the parameters by the gradients of a whole batch of ``n_rows`` rows."""
        self._add_l2(grads, n_rows)
        self.optimizer.step(self.params, grads, self.threads)

    def set_training(self, on):
        """Switch dropout and batch norm between training and predicting."""
        for model in self.replicas or [self.model]:
            for _, layer in named_layers(model):
                layer.training = on

    def _add_replica(self):
        """Replica 0 is the model itself, so that its caches can be looked at after a step."""
        number = len(self.replicas)
        model = self.model if number == 0 else replica(self.model)
        for i, (_, layer) in enumerate(named_layers(model)):
            layer.training = True
            if isinstance(layer, Dropout):      # own random numbers for each chunk: no race, no order to keep
                key = (*self.seed.spawn_key, number, i)
                layer.rng = np.random.default_rng(np.random.SeedSequence(self.seed.entropy, spawn_key=key))
        self.replicas.append(model)
        self.layers.append(dict(named_layers(model)))

    def _sum_gradients(self, slots, n_chunks):
        """Add up what the chunks left, in chunk order, leaving out what is frozen: {name: gradient}."""
        grads = {}
        for layer_name, layer in self.layers[0].items():
            for name in layer.params:
                full_name = f"{layer_name}.{name}"
                if self.model.freeze and matches(full_name, self.model.freeze):
                    continue
                parts = [layers[layer_name].grads.get(name) for layers in self.layers[:n_chunks]]
                if parts[0] is None:
                    raise TypeError(f"{type(self.model).__name__}.backward left no gradient for {full_name}: does it "
                                    f"call {layer_name}.backward? (freeze={full_name!r} leaves it out on purpose)")
                if not isinstance(parts[0], RowGradient):
                    for part in parts[1:]:
                        parts[0] += part
                elif n_chunks > 1:
                    parts[0] = RowGradient(slots, *(part.values for part in parts))
                grads[full_name] = parts[0]
        return grads

    def _add_l2(self, grads, B):
        """Gradient of reg / B ||W||^2; a table counts its looked-up rows, once for each time they occur."""
        if not self.model.reg:
            return
        strength = 2 * self.model.reg / B
        for name, grad in grads.items():
            if not matches(name, self.model.regularized):
                continue
            if isinstance(grad, RowGradient):
                slots, table = grad.slots, self.params[name]
                looked_up = table.take(slots.ids.ravel(), axis=0)
                if slots.x is not None:         # slots of weight 0 only fill up a multi-valued field
                    looked_up[slots.x.ravel() == 0] = 0
                grads[name] = RowGradient(slots, grad.values + strength * looked_up)
            else:
                grad += strength * self.params[name]

    def _what_is_not_finite(self, losses):
        for name, array in self.params.items():
            if not np.isfinite(array).all():
                return f"the parameter {name} is not finite any more"
        arrays = [(f"{layer_name}.{name}", array)
                  for model in self.replicas for layer_name, layer in named_layers(model)
                  for name, array in layer.cache.items() if isinstance(array, np.ndarray)]
        arrays += [("the logit", loss.cache["s"]) for loss in losses]
        for name, array in arrays:
            if not np.isfinite(array).all():
                return f"the first array of the forward pass that is not finite is {name}"
        return "every array of the forward pass is finite, but the logits are too large for their loss"


def matches(name, prefixes):
    """Whether a dotted parameter name is one of ``prefixes`` or lies below one of them.

    >>> matches("attention.W", ["attention"]), matches("attention.W", ["att"])
    (True, False)
    """
    return any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)


def predict_logits(model, slots):
    """The model's output for every row, in chunks on threads: (N,)."""
    logits = np.empty(len(slots), model.dtype)
    chunks = chunk_slices(len(slots), model.chunk_rows(None)) if len(slots) else []
    n_threads = min(model.n_threads or n_cores(), max(len(chunks), 1))
    idle = [replica(model) for _ in range(n_threads)]

    def run(chunk):
        twin = idle.pop()
        with np.errstate(over="ignore", invalid="ignore"):
            logits[chunk] = twin.forward(slots[chunk])
        idle.append(twin)

    with one_blas_thread(), Threads(n_threads) as threads:
        threads.map(run, chunks)
    return logits


def fit(model, windows, n_rows, targets, validation, seeds, trainer=None, after_epoch=None):
    """Train for ``model.epochs`` epochs, or until the validation loss stops falling; returns the history.

    Parameters
    ----------
    model : a built Model with ``optimizer_`` and ``loss_``; its settings say how to train.
    windows : iterable of (Slots, y, weights or None), gone through once an epoch: rows that are shuffled together.
    n_rows : how many rows these are in all.
    targets : (y, weights or None) of all rows, or of some with the same mean and spread.
    validation : (Slots, y, weights or None), or None.
    seeds : dict of SeedSequences "order" and "dropout".   trainer : a Trainer; one on threads if None.
    after_epoch : None, or a function of (model, line of the history as a dict), called after each epoch.

    Returns: DataFrame epoch, train_loss (mean over the epoch's batches), val_loss, seconds; its ``attrs`` hold
    the name of the loss, the loss of always predicting the training mean, the best epoch, and whether Ctrl-C ended it.
    """
    rng = np.random.default_rng(seeds["order"])
    progress, best = Progress(model, n_rows), Best(model)
    lines, interrupted = [], False
    own = trainer_on_threads(model, seeds["dropout"]) if trainer is None else contextlib.nullcontext(trainer)
    with own as trainer:
        for epoch in range(1, model.epochs + 1):
            start = time.perf_counter()
            try:
                line = {"epoch": epoch, "train_loss": run_epoch(trainer, windows, rng, epoch, progress),
                        "val_loss": np.nan}
                if validation is not None:
                    line["val_loss"] = evaluate(model, *validation)
                    best.update(epoch, line["val_loss"])
                line["seconds"] = time.perf_counter() - start
                lines.append(line)
                progress.epoch(line)
                if after_epoch is not None:
                    after_epoch(model, dict(line))
            except KeyboardInterrupt:
                model.fill_untrained_rows()
                interrupted = True
                break
            if validation is not None and model.early_stopping and epoch - best.epoch >= model.patience:
                break
    best.restore()
    base_loss = constant_loss(model.loss_, *targets, *(targets if validation is None else validation[1:]))
    if best.epoch and best.loss > 2 * base_loss:
        warn(f"even in its best epoch the model's validation loss, {best.loss:.4g}, is far above {base_loss:.4g}, that "
             f"of always predicting the mean: training diverged. Lower learning_rate (now {model.learning_rate})")
    progress.end(interrupted, best.epoch, len(lines))
    history = pd.DataFrame(lines, columns=["epoch", "train_loss", "val_loss", "seconds"])
    history.attrs = {"loss": model.loss_.name, "best_epoch": best.epoch or len(lines), "interrupted": interrupted,
                     "base_loss": base_loss}
    return history


def fit_once(model, windows, seeds):
    """One pass over the windows, for ``partial_fit``; its random numbers depend on the steps made before."""
    steps = model.optimizer_.t
    order, dropout = (np.random.SeedSequence(seeds[name].entropy, spawn_key=(*seeds[name].spawn_key, steps))
                      for name in ("order", "dropout"))
    with trainer_on_threads(model, dropout) as trainer:
        run_epoch(trainer, windows, np.random.default_rng(order), 1)


@contextlib.contextmanager
def trainer_on_threads(model, dropout_seed):
    """A Trainer with its threads, and BLAS held to one thread for each of them."""
    with one_blas_thread(), Threads(model.n_threads or n_cores()) as threads:
        yield Trainer(model, model.loss_, model.optimizer_, dropout_seed, threads)


def run_epoch(trainer, windows, rng, epoch, progress=None):
    """One pass over the windows, each in a new random order; returns the mean of the batches' losses."""
    model = trainer.model
    trainer.set_training(True)
    total, n_rows, batch = 0.0, 0, 0
    try:
        with contextlib.closing(window_batches(
                windows, model.batch_size, None if model.shuffle_window == 1 else rng)) as parts:
            for batch, (slots, y, c) in enumerate(parts, start=1):
                loss = trainer.step(slots, y, c)
                total += loss * len(y)
                n_rows += len(y)
                if progress:
                    progress.batch(epoch, batch, loss)
    except TrainingDiverged as error:
        raise TrainingDiverged(
            f"epoch {epoch}, batch {batch}: {error}. Lower learning_rate (now {model.learning_rate}), or scale "
            "large numerical fields (transform=\"standard\")") from None
    finally:
        trainer.set_training(False)
    model.fill_untrained_rows()
    return total / n_rows


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
    loss = model.loss_().forward(predict_logits(model, slots), y, c)
    return loss if c is None else loss / np.mean(c)


def constant_loss(loss, y, c, y_test, c_test):
    """The loss on ``y_test`` of always predicting the (weighted) mean of ``y``: what a model must beat."""
    mean = np.mean(y, dtype=np.float64) if c is None else np.average(y.astype(np.float64), weights=c)
    s = np.log(mean / (1 - mean)) if loss.name == "log loss" else mean
    N, total = len(y_test), 0.0
    for start in range(0, N, 100_000):                  # in blocks, for many rows' sake
        block = slice(start, min(start + 100_000, N))
        c_block = None if c_test is None else c_test[block]
        total += loss().forward(np.full(block.stop - start, s), y_test[block], c_block, n_rows=N)
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


class Progress:
    """What ``verbose`` prints: one updating line in a terminal, one line an epoch elsewhere."""

    def __init__(self, model, n_rows):
        self.verbose, self.epochs = model.verbose, model.epochs
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
            done = (epoch - 1 + batch / self.n_batches) / self.epochs
            left = (now - self.start) * (1 / done - 1)
            print(f"\repoch {epoch}/{self.epochs}  batch {batch}/{self.n_batches}  loss {loss:.4f}  "
                  f"at most {duration(left)} left   ", end="", flush=True)

    def epoch(self, line):
        if self.verbose:
            left = (time.monotonic() - self.start) * (self.epochs / line["epoch"] - 1)
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
