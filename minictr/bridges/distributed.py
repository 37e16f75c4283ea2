"""Score and train on several machines with Dask: ``pip install "minictr[dask]"``.

Rows are cut into shards, which stay where they are encoded; each worker has a replica of the model and optimizer. At
every step the driver, the process that calls ``fit``, draws the same batch as on one machine; workers run forward and
backward on their rows of it; the gradients, of tables only the touched rows, are added in a tree of pairs. The driver
applies the sum to its model and sends it out with the next step, and each replica applies it too, with the same result;
so weights travel only to where a replica is missing. If a worker dies, Dask encodes its shard elsewhere, and the driver
sends its model and optimizer out and repeats the step. Only the driver itself must not die.
"""

import contextlib
import copy
import threading
import uuid
from concurrent.futures import CancelledError

import numpy as np
import pandas as pd

from .. import training
from ..checks import check_rows, check_settings, is_share
from ..estimator import Model, Task
from ..estimator.sources import Source, encoded_pair, windows
from ..layers import RowGradient, parameters, replica
from ..slots import Slots
from ..training.data import TrainingData, count_rows
from ..training.fast_updates import update_in_parts
from ..training.loop import trainer_on_threads
from ..training.step import with_l2

ATTEMPTS, WAIT_SECONDS = 5, 60          # tries of a step before fit gives up; wait for a worker where none is left
LOCK = threading.Lock()                 # in a worker's process: one at a time uses the replica and all its threads


def decision_function(model, ddf):
    """Return each row's logit (binary task) or predicted value, of a Dask DataFrame: a lazy Series with its index."""
    return _score(model, ddf, "decision_function")


def predict_proba(model, ddf):
    """Return the probability of a click of each row of a Dask DataFrame: a lazy Series with its index."""
    return _score(model, ddf, "predict_proba")


def _score(model, ddf, method):
    none = getattr(model, method)(pd.DataFrame(columns=ddf.columns))      # not fitted, a column missing: said here
    sent_model = replica(model)                                   # without caches
    sent_model.n_threads, sent_model.optimizer_, sent_model.rating_data_ = 1, None, None        # Dask has the threads

    def score(X, model):
        scores = getattr(model, method)(X)
        return pd.Series(scores if scores.ndim == 1 else scores[:, 1], index=X.index, name=method)

    sent = _client().scatter([sent_model], broadcast=True, hash=False)[0]
    return ddf.map_partitions(score, sent, meta=pd.Series(name=method, dtype=none.dtype))


def fit(model, ddf, target, *, sample_weight=None, validation=None, encoder=None, shards=None, client=None):
    """Train on a Dask DataFrame: the batches and, to rounding, the weights of ``model.fit`` on the same rows.

    With dropout the weights depend on the number of shards too, never on which worker did what. Batch norm is refused.

    model : trained in place, afresh, and returned.   target, sample_weight : names of columns of ddf.
    ddf : Dask DataFrame, a column a field. It must give the same rows in the same order each time it is computed.
    validation : a pair (X, y) of tables in memory, as for ``Model.fit``; the driver evaluates it after each epoch.
    encoder : a fitted TableEncoder, such as another model's ``encoder_``. None: the driver reads partition by partition
        to learn the vocabularies; kinds of fields are inferred from the first partition that has rows.
    shards : into how many parts the rows are cut; one a worker if None.   client : the latest Client made if None.

    Raises: what ``Model.fit`` does; distributed.KilledWorker where one task has killed several workers (mostly for
    want of memory), TimeoutError where none is left, RuntimeError where a step never succeeds.
    """
    client = client or _client()
    if model.whole_batch_only:
        raise ValueError("batch norm needs the whole batch at once, and a worker has only its part: set use_bn=False")
    if is_share(validation):
        raise TypeError(f"validation={validation} of rows that are on the workers; give a pair (X, y) in memory")
    columns = [name for name in (target, sample_weight) if name is not None]
    if not set(columns) <= set(ddf.columns):
        raise ValueError(f"ddf lacks one of the columns {columns}; it has {list(ddf.columns)}")
    X, table = ddf.drop(columns=columns), client.compute(ddf[columns]).result()
    _, y, c = check_rows(table, table[target], table.get(sample_weight))
    with model.unfitted_on_error():
        model.forget()
        check_settings(model)
        source = DaskSource(client, X, y, c, validation, encoder, shards)
        model.history_ = source.fit(model, model.start(source))
    return model


class DaskSource(Source):
    """The rows are on the workers; the driver has their targets, weights and numbers, and reads them once."""

    def __init__(self, client, X, y, c, validation, encoder, shards):
        self.client, self.X, self.distinct, self.c = client, X, y, c
        self.validation, self.encoder, self.shards = validation, encoder, shards
        self.mean = np.average(y, weights=c)
        self.std = np.sqrt(np.average((y - self.mean) ** 2, weights=c))

    def learn(self, model, seed):
        """Learn the fields partition by partition, unless an encoder is given."""
        if model.task == "binary":                                # said before the partitions are gone through
            Task("binary").check_targets(self.distinct)
        if self.encoder is not None:
            model.encoder_ = self.encoder
            return
        pieces = (self.client.compute(part).result() for part in self.X.to_delayed())
        model.fit_encoder((piece for piece in pieces if len(piece)), fields=model.fields)

    def training_data(self, model):
        """Windows of the rows' numbers; what stands in the rows is where they are."""
        validation = encoded_pair(model, self.validation)
        rows = _column(np.arange(len(self.distinct))), *model.as_dtype(self.distinct, self.c)
        targets = self.distinct - model.task_.centre, self.c
        return TrainingData(windows(model, rows), len(self.distinct), targets, validation)

    def fit(self, model, seeds):
        """Train on the workers, and take the replicas off them in the end."""
        trainer, n_rows = DaskTrainer(model, seeds["dropout"], self.client, self.X, self.shards), len(self.distinct)
        if trainer.bounds[-1] != n_rows:
            raise ValueError(f"ddf had {n_rows} rows when first computed, then {trainer.bounds[-1]}; it must stay the "
                             "same")
        try:
            return training.fit(model, self.training_data(model), seeds, trainer)
        finally:
            self.client.run(lambda run, dask_worker: vars(dask_worker).pop(run, None), trainer.run, on_error="ignore")


class DaskTrainer(training.ChunkedTrainer):
    """This trainer's ``gradients`` come from the workers; its slots are the numbers of the rows, from ``_column``."""

    def __init__(self, model, seed, client, X, n_shards):
        super().__init__(model, seed)
        self.client, self.workers, self.run = client, list(client.nthreads()), f"minictr_{uuid.uuid4().hex}"
        self.news = None        # Future of what the replicas need next: the latest gradients, or the whole model
        encoder, n = model.encoder_, len(model.row_counts_)       # without the model: less to send
        tables = X.repartition(npartitions=n_shards or len(self.workers)).to_delayed()
        # at no fixed worker: where all workers die at once, Dask would wait for this one's address to come back
        self.shards = [client.submit(encoder.encode, client.compute(table), pure=False) for table in tables]
        self.bounds = np.cumsum([0, *client.gather(client.map(len, self.shards))])
        model.row_counts_ += sum(client.gather(client.map(count_rows, self.shards, n=n)))

    def _place(self, shard):    # as long as that worker lives
        return {"workers": [self.workers[shard % len(self.workers)]], "allow_other_workers": True}

    def gradients(self, slots, y, c, n_rows):
        """Loss and gradients of these rows; the RowGradient of a table holds each touched row once."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(CancelledError):             # the news died with the worker that held it
                if (total := self._submit(slots.ids[:, 0], y, c, n_rows).result()) is not None:
                    return total
            self.client.wait_for_workers(1, timeout=WAIT_SECONDS)
            self.workers = list(self.client.nthreads())
            self.news = self.client.scatter([replica(self.model)], hash=False)[0]
        raise RuntimeError(f"a training step failed {ATTEMPTS} times because workers died; their logs say why")

    def apply(self, grads, n_rows):
        """Update the driver's model; the replicas get the same gradients with the next step."""
        arrays = {name: grad for name, grad in grads.items() if not isinstance(grad, RowGradient)}
        grads = {**grads, **with_l2(self.model, arrays, n_rows)}  # tables have it from the workers
        self.news = self.client.scatter([grads], hash=False)[0]   # not as a task's Future: Dask keeps its ancestors
        update_in_parts(self.model.optimizer_, self.params, grads)

    def check(self, slots, y, c=None):
        """Raise TrainingDiverged unless another step on these rows could be made; the workers have them."""
        self.gradients(slots, y, c, len(y))

    def begin_epoch(self):
        """Look who is there, so that a worker that came (back) gets a share of the work."""
        if set(self.client.nthreads()) != set(self.workers):
            self.news = None

    def _submit(self, rows, y, c, n_rows):
        t, parts = self.model.optimizer_.t, []
        for i, shard in enumerate(self.shards):
            here = np.flatnonzero((self.bounds[i] <= rows) & (rows < self.bounds[i + 1]))
            batch = rows[here] - self.bounds[i], y[here], None if c is None else c[here]
            seed = np.random.SeedSequence(self.seed.entropy, spawn_key=(*self.seed.spawn_key, t, i))
            parts.append(self.client.submit(
                _part, self.run, t, self.news, seed, shard, *batch, n_rows, pure=False, **self._place(i)))
        while len(parts) > 1:
            parts = [self.client.submit(_add, *parts[i:i + 2], pure=False) for i in range(0, len(parts), 2)]
        return parts[0]


def _part(run, t, news, seed, shard, rows, y, c, n_rows):
    """(loss, gradients) of a shard's rows of a batch, at the weights after t steps; None if the replica has others."""
    from distributed import get_worker
    with LOCK:
        model = getattr(worker := get_worker(), run, None)
        steps = -1 if model is None else model.optimizer_.t
        if isinstance(news, Model) and steps < t:
            model = copy.deepcopy(news)                           # a driver in the same process would share it
            model.n_threads = worker.state.nthreads
            setattr(worker, run, model)
        elif isinstance(news, dict) and 0 <= steps == t - 1:
            update_in_parts(model.optimizer_, parameters(model), news)
        elif steps != t:
            return None
        if not len(rows):
            return 0.0, {}
        with trainer_on_threads(model, seed) as trainer:
            loss, grads = trainer.gradients(shard[rows], y, c, n_rows)
            tables = {name: grad for name, grad in grads.items() if isinstance(grad, RowGradient)}
            tables = with_l2(model, tables, n_rows)               # here, where it is known how often each row occurs
        return loss, {**grads, **{name: _sum(grad) for name, grad in tables.items()}}


def _add(one, other=(0.0, {})):
    if one is None or other is None:
        return None
    grads = {**one[1], **other[1]}
    for name in one[1].keys() & other[1].keys():
        a, b = one[1][name], other[1][name]
        grads[name] = _sum(a, b) if isinstance(a, RowGradient) else a + b
    return one[0] + other[0], grads


def _sum(*gradients):
    """Of RowGradients; each touched row stands in it once."""
    rows, sums = map(np.concatenate, zip(*(gradient.sum() for gradient in gradients), strict=True))
    rows, sums = RowGradient(_column(rows), sums).sum()
    return RowGradient(_column(rows), sums)


def _column(ids):
    return Slots(ids[:, None], None, starts=[0])


def _client():
    try:
        from distributed import default_client
    except ImportError as error:
        raise ImportError('minictr.distributed needs Dask: pip install "minictr[dask]"') from error
    return default_client()
