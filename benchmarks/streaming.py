"""Training on a file larger than memory, beside training in memory: ``python -m benchmarks.streaming``.

A file in Criteo's format is drawn (13 columns of whole numbers, some missing, and 26 of hexadecimal words by Zipf's
law, about a million different ones), in a temporary folder that is removed at the end, whatever happens. Then, each
in a process of its own:

    stream     FM, k = 16, one epoch over the whole file: two passes, the first of which learns the fields
    memory     the same on the first rows, read into one table; then streamed too: are the weights the same bits?
    stages     microseconds a row of each stage on its own (training on all threads, the others on one), and of
               reading and encoding beside training, as in an epoch; of the shorter of the two, how much is hidden?
               The same once more, with reading, or reading and encoding, in a process of its own.

Rows per second count everything from the file to the trained model. Peak memory is that of the whole process.
"""

import argparse
import csv
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from minictr import FM, training
from minictr.datasets.criteo import CATEGORIES, NUMBERS
from minictr.estimator.stream import one_ahead
from minictr.fields import Categorical, Numerical, TableEncoder
from minictr.layers import parameters

from .quality import machine

PIECE = 100_000         # rows
SIZES = np.geomspace(10, 250_000, len(CATEGORIES)).astype(int)      # words of each column: about 1 million in all


def draw_file(path, rows):
    """Write the file, piece by piece: each cell has a fixed place in an array of bytes, and the gaps are cut out."""
    rng = np.random.default_rng(0)
    integers = digits(10_000)
    words = [np.frombuffer(b"".join(b"%08x" % word for word in rng.integers(0, 2**32, size)), np.uint8).reshape(-1, 8)
             for size in SIZES]
    effects = [rng.normal(0, 0.3, size) for size in SIZES]
    with open(path, "wb") as file:
        for start in range(0, rows, PIECE):
            n = min(PIECE, rows - start)
            logit, columns, tab = np.full(n, -1.5), [], np.full((n, 1), ord("\t"), np.uint8)
            for _ in NUMBERS:
                numbers = np.minimum(rng.lognormal(2, 1.5, n), 9_999).astype(int)
                numbers[rng.random(n) < 0.2] = -1                   # the last row of `integers`: nothing
                columns += [tab, integers[numbers]]
            for size, word, effect in zip(SIZES, words, effects, strict=True):
                ids = (size ** rng.random(n)).astype(int) - 1       # density ~ 1 / rank: Zipf's law
                logit += effect[ids]
                columns += [tab, word[ids]]
            label = rng.random(n) < 1 / (1 + np.exp(-logit))
            cells = np.concatenate([(ord("0") + label)[:, None].astype(np.uint8), *columns,
                                    np.full((n, 1), ord("\n"), np.uint8)], axis=1)
            file.write(cells[cells != 0].tobytes())


def digits(n):
    """The numbers below n as text, 0 bytes filling up, and an empty text: (n + 1, longest)."""
    texts = np.array([str(number) for number in range(n)] + [""], "S")
    return texts.view(np.uint8).reshape(n + 1, -1)


def read(path, rows=None):
    """The file, or its first rows, in pieces.

    ``datasets.criteo.iterate`` does the same, and finds the line of whatever is wrong; that takes it twice the time.
    Words read as Python objects (dtype object) take two thirds of the time of pandas' own text type.
    """
    return pd.read_csv(
        path, sep="\t", header=None, names=["label", *NUMBERS, *CATEGORIES], chunksize=PIECE, nrows=rows,
        dtype={"label": "int8", **dict.fromkeys(NUMBERS, "float64"), **dict.fromkeys(CATEGORIES, object)},
        quoting=csv.QUOTE_NONE, keep_default_na=False, na_values=[""])


def model(vocabulary, window):
    """An FM whose category fields keep a vocabulary ("min_count=4") or hash ("buckets=40000")."""
    name, number = vocabulary.split("=")
    fields = [Numerical(name, transform="standard") for name in NUMBERS]
    fields += [Categorical(column, **{name: int(number)}) for column in CATEGORIES]
    return FM(embedding_dim=16, fields=fields, epochs=1, batch_size=4096, learning_rate=0.001, shuffle_window=window)


def peak_gb():
    """The largest memory that this process has had so far, in GB (1e9 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def timed(function):
    """(seconds, result) of a call."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def stream(path, vocabulary, window, rows):
    """Train on the whole file."""
    seconds, fitted = timed(lambda: model(vocabulary, window).fit(lambda: read(path), "label"))
    epoch = float(fitted.history_["seconds"].sum())
    return {"rows": rows, "seconds": seconds, "first pass": seconds - epoch, "epoch": epoch, "rows/s": rows / seconds,
            "peak GB": peak_gb(), "ids": fitted.encoder_.n_ids,
            "train loss": float(fitted.history_["train_loss"][0]),
            "base loss": fitted.history_.attrs["base_loss"]}


def memory(path, vocabulary, window, rows):
    """Train on the first rows in memory, and by streaming; are both the same?"""
    reading, table = timed(lambda: pd.concat(read(path, rows)))
    y = table.pop("label")
    seconds, whole = timed(lambda: model(vocabulary, window).fit(table, y))
    found = {"rows": rows, "read": reading, "fit": seconds, "epoch": float(whole.history_["seconds"].sum()),
             "rows/s": rows / (reading + seconds), "rows/s without reading": rows / seconds, "peak GB": peak_gb()}
    seconds, streamed = timed(lambda: model(vocabulary, window).fit(lambda: read(path, rows), "label"))
    theirs = parameters(streamed)
    equal = all(np.array_equal(array, theirs[name]) for name, array in parameters(whole).items())
    return found | {"streamed rows/s": rows / seconds, "same weights": equal, "same predictions": np.array_equal(
        whole.decision_function(table[:PIECE]), streamed.decision_function(table[:PIECE]))}


def stages(path, vocabulary, window, rows):
    """Microseconds a row of each stage."""
    found = {}
    found["read"], pieces = timed(lambda: list(read(path, rows)))
    y = np.concatenate([piece.pop("label") for piece in pieces])
    found["learn fields"], encoder = timed(lambda: TableEncoder(model(vocabulary, window).fields).fit(iter(pieces)))
    found["encode"], slots = timed(lambda: [encoder.encode(piece) for piece in pieces])
    fm = model(vocabulary, window).prepare(pd.concat(pieces), y)
    bounds = range(0, rows, PIECE)
    parts = [(part, y[start:start + PIECE].astype(np.float32), None)
             for part, start in zip(slots, bounds, strict=True)]

    def from_file():
        for piece, (_, *rest) in zip(read(path, rows), parts, strict=True):
            yield encoder.encode(piece), *rest

    found["train"], _ = timed(lambda: training.fit_once(fm, parts, fm.seeds()))
    found["all three"], _ = timed(lambda: training.fit_once(fm, one_ahead(from_file()), fm.seeds()))
    for name, encodes in (("all three, read in a process", False), ("all three, read and encoded in a process", True)):
        def from_process(encodes=encodes):
            pieces = from_other_process(path, rows, encoder if encodes else None)
            for piece, (_, *rest) in zip(pieces, parts, strict=True):
                yield (piece if encodes else encoder.encode(piece)), *rest
        found[name], _ = timed(lambda: training.fit_once(fm, one_ahead(from_process()), fm.seeds()))
    ahead = found["read"] + found["encode"]
    hidden = (ahead + found["train"] - found["all three"]) / min(ahead, found["train"])
    return {name: seconds / rows * 1e6 for name, seconds in found.items()} | {"hidden share": hidden}


def from_other_process(path, rows, encoder=None):
    """The pieces that ``read`` gives, or what an encoder makes of them, from another process, at most two ahead."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue(maxsize=2)
    process = context.Process(target=put_pieces, args=(queue, path, rows, encoder), daemon=True)
    process.start()
    while (piece := queue.get()) is not None:
        if isinstance(piece, Exception):
            raise piece
        yield piece
    process.join()


def put_pieces(queue, path, rows, encoder):
    """What that process does; an error is handed on too."""
    try:
        for piece in read(path, rows):
            queue.put(piece if encoder is None else encoder.encode(piece))
        queue.put(None)
    except Exception as error:
        queue.put(error)


def alone(job, *arguments):
    """Run it in a new process, whose peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(job, *arguments).result()


def main():
    """Draw the file, run the jobs, print what they found, and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--memory-rows", type=int, default=2_000_000, help="rows of the training in memory")
    parser.add_argument("--vocabulary", default="min_count=4", help="min_count=... or buckets=... (%(default)s)")
    parser.add_argument("--window", type=int, default=None, help="rows shuffled together")
    parser.add_argument("--folder", help="where to put the file (default: the system's temporary folder)")
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    part = min(options.rows, options.memory_rows)
    results = {"machine": machine(), "rows": options.rows, "vocabulary": options.vocabulary}
    # both shuffle alike, or the weights could not be the same
    window = options.window or 250_000
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "train.txt"
        seconds, _ = timed(lambda: alone(draw_file, path, options.rows))
        print(f"{options.rows:,} rows, {path.stat().st_size / 1e9:.2f} GB, drawn in {seconds:.0f} s", flush=True)
        for job, rows in ((stream, options.rows), (memory, part), (stages, min(part, 1_000_000))):
            results[job.__name__] = found = alone(job, path, options.vocabulary, window, rows)
            print(f"{job.__name__:8}" + "  ".join(f"{name} {show(value)}" for name, value in found.items()), flush=True)
    streamed, whole = results["stream"]["rows/s"], results["memory"]
    print(f"in memory / streaming: {whole['rows/s'] / streamed:.2f} from the file, "
          f"{whole['rows/s without reading'] / streamed:.2f} from a table that is in memory already")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1, default=str))


def show(value):
    """A figure as text."""
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}" if not isinstance(
        value, (bool, np.bool_)) else str(value)


if __name__ == "__main__":
    main()
