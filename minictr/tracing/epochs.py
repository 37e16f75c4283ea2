"""What a step starts from is kept after each epoch of a training, so that the page of the step can go through them."""

import numpy as np

from ..checks import as_table
from ..layers import parameters
from .node_run import MOST_ROWS, decimal, leaf_arrays, step_on_nodes
from .used import used_rows


class StepOverEpochs:
    """Keep what one training step needs after each epoch: ``model.fit(X, y, after_epoch=watch)``.

    ``Trace.save_page(path, epochs=watch)`` then has a slider, which shows the step of the same rows as it would be
    after each epoch. Of tables only the rows that the step looks up are kept, and of the optimizer its moments.

    Parameters
    ----------
    X, y : the rows that will be traced, and their targets: few, such as ``X[:2], y[:2]``.

    The attribute ``lines`` has the line of the history of each epoch that was kept. ``watch(model)`` without a line
    keeps a model as epoch 0: the start of the training, if it is ``model.prepare(X, y)`` before ``fit``. A new fit
    starts afresh. Watching changes no weight, and draws no random number.

    Raises: ValueError for more than 64 rows, and when it is called for a model of more than 300,000 parameters;
    ``NotFollowed`` where a line of the model cannot be followed (see ``Trace.save_page``).

    >>> from minictr import AFM, datasets
    >>> clicks = datasets.make_clicks(200, seed=0)
    >>> watch = StepOverEpochs(clicks.X[:2], clicks.y[:2])
    >>> model = AFM(embedding_dim=2, attention_dim=2, epochs=3)
    >>> watch(model.prepare(clicks.X, clicks.y))
    >>> model = model.fit(clicks.X, clicks.y, after_epoch=watch)
    >>> [line["epoch"] for line in watch.lines]
    [0, 1, 2, 3]
    """

    def __init__(self, X, y):
        self.X, self.y = as_table(X), np.asarray(y)
        if len(self.X) > MOST_ROWS:
            raise ValueError(f"watch the rows of which you will trace a step, at most {MOST_ROWS}, got {len(self.X)}: "
                             "such as X[:2], y[:2]")
        self.lines, self._kept, self._rows = [], [], None

    def __call__(self, model, line=None):
        """Keep the model as it is after the epoch of this line of the history; without one, before the first epoch."""
        line = {"epoch": 0} if line is None else line
        rows = model.encode(self.X, self.y)
        if not self.lines or line["epoch"] <= self.lines[-1]["epoch"]:
            reader = step_on_nodes(model, rows, "lines")
            losses = [step.value for step in reader.steps if step.phase == "loss"]
            self._rows = used_rows(losses, parameters(model))
            self.lines, self._kept = [], []
        arrays = leaf_arrays(model, rows)
        shapes = {name: array.shape for name, array in arrays.items()}
        values = {name: np.array(array if self._rows_of(name) is None else array[self._rows_of(name)])
                  for name, array in arrays.items()}
        self.lines.append(dict(line))
        self._kept.append((rows[0].ids, shapes, values))

    def _rows_of(self, name):
        """Which rows are kept of a parameter, or of the moments of one; None for all."""
        return self._rows.get(name.rpartition(" of ")[2])

    def snapshots(self, slots, leaves, shapes, digits=None):
        """Return for each epoch its number, its losses, and the numbers from which the step starts then.

        Parameters
        ----------
        slots : those of the traced rows.   leaves : of each number (array, place in it).   shapes : of these arrays.
        digits : to how many the numbers are rounded.

        Raises: ValueError where the traced rows, or the sizes of the model, are not those that were watched.
        """
        if not self._kept:
            raise ValueError("epochs: nothing was watched yet; pass it to fit, model.fit(X, y, after_epoch=watch)")
        found = []
        for line, (ids, kept_shapes, values) in zip(self.lines, self._kept, strict=True):
            sizes = {name: kept_shapes.get(name) for name in shapes}
            if not np.array_equal(ids, slots.ids) or sizes != shapes:
                raise ValueError(f"epochs: what was watched after epoch {line['epoch']} are other rows, or a model of "
                                 "other sizes, than what is traced. Watch and trace the same rows of the same model; "
                                 "for an epoch 0 prepare it on the rows that it is trained on")
            numbers = {name: decimal(array, digits) for name, array in values.items()}
            losses = {name: line[name] for name in ("train_loss", "val_loss") if np.isfinite(line.get(name, np.nan))}
            found.append({"epoch": line["epoch"], **losses, "leaves": [
                numbers[name].flat[self._place(name, place, shapes[name])].item() for name, place in leaves]})
        return found

    def _place(self, name, place, shape):
        """Where a number of the whole array stands among those that are kept of it."""
        rows = self._rows_of(name)
        if rows is None:
            return place
        width = int(np.prod(shape[1:]))
        return int(np.searchsorted(rows, place // width)) * width + place % width
