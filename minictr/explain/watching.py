"""Attention while a model trains is kept by what ``fit`` calls after each epoch."""

import pandas as pd

from ..checks import as_table
from .attention_tables import attention


class AttentionOverEpochs:
    """Keep a model's attention after each epoch: ``model.fit(X, y, after_epoch=watch)``.

    Parameters
    ----------
    X : table of rows to look at, best ones that the model does not train on.
    max_rows : at most so many of them are used, evenly spaced.
    layers, heads : as for ``attention``.

    The attribute ``table`` is as ``attention`` returns it, with a column epoch before the others. Draw it with
    ``plots.attention_over_epochs`` or ``plots.attention_animation``. A new fit starts it afresh.

    Watching changes no weight: the model predicts, no random number is drawn.

    >>> from minictr import AFM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> watch = AttentionOverEpochs(clicks.X)
    >>> model = AFM(epochs=3).fit(clicks.X, clicks.y, after_epoch=watch)
    >>> watch.table["epoch"].unique().tolist()
    [1, 2, 3]
    """

    def __init__(self, X, *, max_rows=2_000, layers="all", heads="all"):
        X = as_table(X)
        self.X = X.iloc[::max(1, -(-len(X) // max_rows))]
        self.layers, self.heads = layers, heads
        self.tables = []

    def __call__(self, model, line):
        """Keep the attention of the model as it is after the epoch of this line of the history."""
        if line["epoch"] == 1:
            self.tables = []
        table = attention(model, self.X, layers=self.layers, heads=self.heads)
        table.insert(0, "epoch", line["epoch"])
        self.tables.append(table)

    @property
    def table(self):
        """Return the attention of all epochs so far."""
        if not self.tables:
            raise ValueError("nothing was watched yet: pass this object to fit, model.fit(X, y, after_epoch=watch)")
        attrs = self.tables[-1].attrs
        # pandas compares the attrs of what it concatenates, and they differ in their note
        table = pd.concat([pd.DataFrame(table.to_dict("series")) for table in self.tables], ignore_index=True)
        table.attrs = dict(attrs)
        return table
