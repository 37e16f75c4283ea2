"""Run the step that is traced, on a copy of the model."""

from ..checks import check_rows
from ..estimator import Model
from ..training import step, training_mode
from .node_run import MOST_ROWS, copy_of, is_large
from .recorder import Recorder
from .results import Trace


def trace(model, X, y, *, detail="lines"):
    """Run one training step on a copy of the model and keep every array of it, with the line that computed it.

    It is the step that ``model.train_step(X, y)`` would make: forward, loss, backward, update. The model itself, its
    optimizer, caches and random numbers stay as they are.

    Parameters
    ----------
    model : a fitted model, or one after ``prepare``; one of your own will do as well.
    X, y : a table of the model's fields and its targets, 1 to 64 rows. Start with one: ``X[:1], y[:1]``.
    detail : "lines" for the lines of the layers, models, losses and the optimizer; "all" also for those of the
        functions that they call, such as softmax.

    Returns: Trace. Print it, end a notebook cell with it, or look at its ``table``, ``arrays`` and ``flow()``.

    Raises
    ------
    ValueError : for no rows or more than 64, for another ``detail``, or where the source of a layer cannot be read.
    TypeError : for something that is no model.
    NotFittedError : before ``fit`` or ``prepare``.

    >>> from minictr import AFM, datasets
    >>> clicks = datasets.make_clicks(200, seed=0)
    >>> steps = trace(AFM(embedding_dim=2, attention_dim=2).prepare(clicks.X, clicks.y), clicks.X[:1], clicks.y[:1])
    >>> attention = steps.table.query("symbol == 'aij' and phase == 'forward'").iloc[0]
    >>> attention["layer"], attention["shape"], attention["paper"]
    ('attention', (1, 28), 'Xiao et al. 2017, eq. 5')
    """
    if not isinstance(model, Model):
        raise TypeError(f"trace needs a model, such as AFM().prepare(X, y); got {type(model).__name__}")
    if detail not in ("lines", "all"):
        raise ValueError(f"detail must be 'lines' or 'all', got {detail!r}")
    model.check_fitted()
    labels = y
    X, y, _ = check_rows(model.as_fields(X), y, targets=model.task_.targets)
    if len(y) > MOST_ROWS:
        raise ValueError(f"a trace is to be read, and takes at most {MOST_ROWS} rows, got {len(y)}: pass some of them, "
                         "such as X[:1], y[:1]")
    copied = copy_of(model)
    recorder = Recorder(copied, detail)
    rows = copied.encode(X, labels)
    before = copied if is_large(copied) else copy_of(copied)      # for the page, which is made of small models alone
    with training_mode(copied):
        recorder.record(lambda: step(copied, *rows))
    return Trace(copied, X[list(model.feature_names_in_)], y, recorder, (before, rows))
