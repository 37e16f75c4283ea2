"""Training by hand, step by step or pass by pass, where ``fit`` makes all of them."""

from .. import training
from ..checks import check_rows, check_settings
from ..training.data import count_rows
from . import stream
from .sources import TableSource, windows


class ByHand:
    """A mixin of ``Model``."""

    def prepare(self, X, y, sample_weight=None, classes=None):
        """Everything that ``fit`` does before its first step: infer the fields, build the layers.

        For going through training by hand: ``model.prepare(X, y)``, then ``model.train_step(X, y)``. classes: see
        ``partial_fit``.
        """
        with self.unfitted_on_error():
            self.forget()
            check_settings(self)
            self.start(TableSource(X, y, sample_weight, task=self.task, classes=classes))
        return self

    def train_step(self, X, y, sample_weight=None):
        """One plain training step on these rows, after ``prepare`` or ``fit``; returns their loss before the update.

        It is ``encode`` and ``minictr.training.step.step``: the rows are one batch, in one piece, and its caches and
        gradients stay in the layers, to be looked at. So it is for one thread at a time.
        """
        slots, y, c = self.encode(X, y, sample_weight)
        self.row_counts_ += count_rows(slots, len(self.row_counts_))
        with training.training_mode(self):
            return training.step(self, slots, y, c)

    def encode(self, X, y, sample_weight=None):
        """Rows of a table as the layers take them, after ``prepare`` or ``fit``: (Slots, y, weights or None).

        >>> from minictr import LR, datasets
        >>> clicks = datasets.make_clicks(200, seed=0)
        >>> slots, y, c = LR().prepare(clicks.X, clicks.y).encode(clicks.X[:2], clicks.y[:2])
        >>> slots.ids.shape, y.dtype, c
        ((2, 10), dtype('float32'), None)
        """
        X, y, c = check_rows(self.as_fields(X), y, sample_weight, self.task_.targets)
        return self.encoder_.encode(X), *self.as_dtype(y, c)

    def partial_fit(self, X, y=None, sample_weight=None, classes=None):
        """Go on training for one pass over these rows, with the fields and vocabularies of the first ones.

        The optimizer goes on too, and so do the random numbers that order the rows and drop units, also after ``load``
        of a file saved with ``optimizer=True``. So a pass over all rows of a table is one more epoch, bit for bit:
        ``fit`` of 5 epochs and five passes are ``fit`` of 10 epochs. (Not with validation data, of which ``fit`` ends
        with the best epoch's weights.) For a table in pieces (see ``fit``; an iterator that can be gone through only
        once will do) this is ``partial_fit`` on each piece in turn, so that each is shuffled by itself.

        ``classes`` are the two labels, where the first y may not hold both of them.

        Returns: self.
        Raises: what ``fit`` does. The steps made before an error stay made, and rows that are refused change nothing.
        A model is not fitted where this was to be its very first step, and after TrainingDiverged.
        """
        new = not self.__sklearn_is_fitted__()
        try:
            if stream.is_stream(X):
                return stream.partial_fit(self, X, y, sample_weight)
            if new:
                self.prepare(X, y, sample_weight, classes)
            return self.train_once(self.encode(X, y, sample_weight))
        except Exception as error:
            if isinstance(error, training.TrainingDiverged) or (
                    new and self.__sklearn_is_fitted__() and self.optimizer_.t == 0):
                self.forget()
            raise

    def train_once(self, rows):
        """One pass over encoded rows: (Slots, y, weights or None)."""
        self.row_counts_ += count_rows(rows[0], len(self.row_counts_))
        training.fit_once(self, windows(self, rows), self.seeds())
        return self
