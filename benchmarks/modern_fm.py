"""How fast FFM is beside modern-fm, which is written in Rust: ``python -m benchmarks.modern_fm``.

    pip install modern-fm
    python -m benchmarks.modern_fm --turns 5

The same FFM, k = 4, with AdaGrad, is trained for one epoch on 100,000 drawn rows of 39 fields (13 of them numbers), in
batches of 4,096, from starts of the same size, without L2, on all cores:

minictr     ``fit`` from the table, learning and encoding its fields included; beside it the epoch alone
modern-fm   ``FFMClassifier.fit`` from a sparse matrix that is ready

Each turn of each library is a process of its own, which warms up on fewer rows; turns are interleaved. A figure is the
median over the turns, beside the smallest and largest; the ratio is modern-fm's time by minictr's: above 1, minictr is
faster. The log losses on the rows after the epoch show that both have learned as much. A line DISTURBED says that other
processes used the cores meanwhile: then measure again, or look at the seconds that all cores together spent on a fit,
which suffer less.
"""

import argparse
import importlib.util
import statistics
import time

import numpy as np

from minictr import FFM, metrics

from .quality import in_new_process, machine
from .shapes import Shape, drawn_table
from .timing import DISTURBED, disturbance, once

SHAPE = Shape(39, 1_000_000, 4096, numerical=13)
ROWS, WARM_UP_ROWS = 100_000, 8_192
LEARNING_RATE = 0.05                                              # of AdaGrad, in both


def new_ffm():
    """minictr's FFM, unfitted."""
    return FFM(embedding_dim=4, optimizer="adagrad", learning_rate=LEARNING_RATE, epochs=1, batch_size=SHAPE.batch,
               seed=0)


def clocks(call):
    """{"fit": seconds of a call, "of all cores": the sum of what each core spent on it}."""
    before = time.process_time()
    return {"fit": once(call), "of all cores": time.process_time() - before}


def with_minictr(rows):
    """{"fit", "of all cores", "epoch": seconds, "loss": log loss afterwards}."""
    X, y = drawn_table(SHAPE, rows)
    new_ffm().fit(X[:WARM_UP_ROWS], y[:WARM_UP_ROWS])
    model = new_ffm()
    seconds = clocks(lambda: model.fit(X, y))
    return {**seconds, "epoch": float(model.history_["seconds"].iloc[0]),
            "loss": metrics.log_loss(y, model.predict_proba(X)[:, 1])}


def sparse_matrix(slots, n):
    """Encoded rows as a matrix of a column for each of n ids."""
    from scipy.sparse import csr_matrix

    x = np.ones(slots.ids.shape, np.float32) if slots.x is None else slots.x
    return csr_matrix((x.ravel(), slots.ids.ravel(), np.arange(len(slots) + 1) * slots.n_slots), (len(slots), n))


def with_modern_fm(rows):
    """The same, but for "epoch"."""
    from modern_fm import FFMClassifier

    X, y = drawn_table(SHAPE, rows)
    encoder = new_ffm().prepare(X, y).encoder_
    slots, n = encoder.encode(X), encoder.n_ids
    matrix, field_of = sparse_matrix(slots, n), np.zeros(n, np.int64)
    field_of[slots.ids] = np.arange(slots.n_slots)                # a slot for each field: none has several values

    def fit(matrix, y):
        model = FFMClassifier(n_factors=4, optimizer="adagrad", learning_rate=LEARNING_RATE, max_iter=1,
                              batch_size=SHAPE.batch, init_scale=0.1, l2_linear=0, l2_factors=0, random_state=0)
        return model.fit(matrix, y, field_ids=field_of)

    fit(matrix[:WARM_UP_ROWS], y[:WARM_UP_ROWS])
    fitted = []
    seconds = clocks(lambda: fitted.append(fit(matrix, y)))
    return {**seconds, "loss": metrics.log_loss(y, fitted[0].predict_proba(matrix)[:, 1])}


LIBRARIES = {"minictr": with_minictr, "modern-fm": with_modern_fm}


def measure(turns, rows):
    """{library: [figures of each turn]}."""
    found = {library: [] for library in LIBRARIES}
    for _ in range(turns):
        for library, function in LIBRARIES.items():
            with disturbance() as others:
                figures = in_new_process(function, rows)
            found[library].append(figures | {"cores used by others": others[0] if others else 0})
    return found


def summary(found):
    """What was found, as lines of text."""
    lines, median = [], {}
    for library, what in [("minictr", "epoch"), *((library, what) for what in ("fit", "of all cores")
                                                  for library in LIBRARIES)]:
        seconds = [figures[what] for figures in found[library]]
        median[library, what] = statistics.median(seconds)
        lines.append(f"{library:10} {what:12} {median[library, what]:7.3f} s ({min(seconds):.3f} to "
                     f"{max(seconds):.3f})  log loss {found[library][-1]['loss']:.4f}")
    theirs = median["modern-fm", "fit"]
    lines.append(f"ratio {theirs / median['minictr', 'fit']:.2f}, of the epoch alone "
                 f"{theirs / median['minictr', 'epoch']:.2f}, of the seconds of all cores "
                 f"{median['modern-fm', 'of all cores'] / median['minictr', 'of all cores']:.2f}")
    others = max(figures["cores used by others"] for turns in found.values() for figures in turns)
    if others > DISTURBED:
        lines.append(f"DISTURBED: other processes kept up to {others:.1f} cores busy; measure again")
    return lines


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modern_fm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("modern_fm") is None:
        parser.error("modern-fm is not installed (pip install modern-fm)")
    print(", ".join(f"{what} {value}" for what, value in machine(("numpy", "pandas", "modern-fm")).items()))
    print("\n".join(summary(measure(options.turns, options.rows))))


if __name__ == "__main__":
    main()
