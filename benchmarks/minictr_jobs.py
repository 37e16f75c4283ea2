"""The jobs of ``benchmarks.speed`` in minictr.

Every job takes (name of a model, name of a shape, settings) and returns {"default": figures}, where figures is a dict
with "value", in the unit of the job, and what else is worth keeping. (Other libraries have several ways to do a job,
and return the figures of each.) Settings is a dict: "seconds" for a timing, "steps" to time (None: as many as fit),
"gigaflop" that sizes the longer jobs, "model" (a fitting model instead of the named one, or None).
"""

from minictr import explain
from minictr.fields import TableEncoder
from minictr.losses import LogLoss

from . import encoded_jobs
from .shapes import SHAPES, drawn_ratings, drawn_strings, drawn_table, new_model
from .timing import once, timed
from .work import rows_within

MOST_CELLS = 10_000_000     # of a drawn table
EPOCHS = 2              # the last one counts


def model_of(name, shape, settings):
    """The unfitted model of a case."""
    return (settings["model"] or new_model(name, SHAPES[shape].batch)).clone()


def table_rows(name, shape, settings, passes):
    """Rows of the table of a job that costs so many forward passes: at most 1,000,000."""
    M, B = SHAPES[shape].fields, SHAPES[shape].batch
    rows = rows_within(model_of(name, shape, settings), M, settings["gigaflop"] / passes,
                       min(1_000_000, MOST_CELLS // M))
    return max(4 * B, rows // B * B)


def step(name, shape, settings):
    """Ms of a training step on encoded rows: forward, loss, backward, update."""
    model, rows = model_of(name, shape, settings), encoded_jobs.batch_rows(shape)
    with encoded_jobs.step(model, shape, rows) as call:
        for i in range(2):                                        # warms up, and allocates the optimizer's moments
            call(i)
        seconds, steps = timed(call, settings["seconds"], settings["steps"])
    slots, y = (part[:SHAPES[shape].batch] for part in rows)
    loss = LogLoss().forward(model.predict_slots(slots), y)
    return {"default": {"value": 1000 * seconds, "steps": steps, "loss": float(loss)}}


def score_encoded(name, shape, settings):
    """Seconds of scoring 1,000,000 encoded rows, from fewer."""
    model = model_of(name, shape, settings)
    with encoded_jobs.score_encoded(model, shape) as call:
        call(0)
        seconds, _ = timed(call, settings["seconds"])
    return {"default": {"value": seconds * 1e6 / encoded_jobs.encoded_rows(model, shape)}}


def fit(name, shape, settings):
    """Seconds of a training epoch of 1,000,000 rows, by ``history_`` of a fit of two epochs: the second counts.

    From a table of fewer rows where the model is slow. The ids are those that occur in it.
    """
    X, y = drawn_table(SHAPES[shape], table_rows(name, shape, settings, 6 * EPOCHS))
    model = model_of(name, shape, settings).set_params(epochs=EPOCHS)
    all_seconds = once(lambda: model.fit(X, y))
    return {"default": {"value": model.history_["seconds"].iloc[-1] * 1e6 / len(y), "rows": len(y),
                        "seconds of the whole fit": all_seconds, "ids": len(model.row_counts_),
                        "train_loss": model.history_["train_loss"].tolist()}}


def predict_proba(name, shape, settings):
    """Seconds of ``predict_proba`` for a table of 1,000,000 rows, encoding included; from fewer if slow."""
    X, y = drawn_table(SHAPES[shape], table_rows(name, shape, settings, 2))
    model = model_of(name, shape, settings).prepare(X[:100_000], y[:100_000])
    model.predict_proba(X[:20_000])
    return {"default": {"value": once(lambda: model.predict_proba(X)) * 1e6 / len(y), "rows": len(y)}}


def rated_model(name):
    """The model, fitted on drawn ratings for one epoch."""
    return new_model(name, 1024).set_params(epochs=1).fit(**drawn_ratings())


def predict(name, shape, settings):
    """Ms of one ``predict(user, item)``."""
    model = rated_model(name)
    return {"default": {"value": 1000 * timed(lambda i: model.predict(i, i), settings["seconds"])[0]}}


def recommend(name, shape, settings):
    """Ms of ``recommend``: the best 10 of 3,706 items that the user has not rated."""
    model = rated_model(name)
    return {"default": {"value": 1000 * timed(lambda i: model.recommend(i), settings["seconds"])[0]}}


def attention(name, shape, settings):
    """Seconds of ``explain.attention`` for a table of 1,000,000 rows, encoding included; from fewer if slow."""
    X, y = drawn_table(SHAPES[shape], table_rows(name, shape, settings, 2))
    model = model_of(name, shape, settings).prepare(X[:100_000], y[:100_000])
    explain.attention(model, X[:20_000])
    return {"default": {"value": once(lambda: explain.attention(model, X)) * 1e6 / len(y), "rows": len(y)}}


def encode(name, shape, settings):
    """Seconds of learning and encoding a table of 10 columns of text."""
    X = drawn_strings(settings["encode_rows"], 10)
    encoder = TableEncoder()
    learn = once(lambda: encoder.fit(X))
    return {"default": {"value": learn + once(lambda: encoder.encode(X)), "seconds of fit": learn}}


JOBS = {"step": step, "score-encoded": score_encoded, "fit": fit, "predict_proba": predict_proba,
        "predict": predict, "recommend": recommend, "attention": attention, "encode": encode}
