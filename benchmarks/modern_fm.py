"""How fast FFM and FM are beside modern-fm, which is written in Rust: ``python -m benchmarks.modern_fm``.

    pip install modern-fm
    python -m benchmarks.modern_fm --turns 5
    python -m benchmarks.modern_fm --models FM

FFM (k = 4, 39 drawn fields, 13 of them numbers) and FM (k = 16, 10 fields, the shape of Frappe) are trained for one
epoch on 100,000 rows, in batches of 4,096, with AdaGrad, from starts of the same size, without L2, on all cores; then
they score those rows.

fit        minictr: from the table, learning and encoding its fields included; modern-fm: from a sparse matrix that is
           ready. "epoch" is minictr's epoch alone
score      from equal input: encoded rows, and the sparse matrix
table      minictr's ``predict_proba`` from the table, beside that

Each turn of each library is a process of its own, which warms up on fewer rows; turns are interleaved. A figure is the
median over the turns, beside the smallest and largest; a ratio is modern-fm's time by minictr's: above 1, minictr is
faster. The log losses on the rows after the epoch show that both have learned as much. A line DISTURBED says that other
processes used the cores meanwhile: then measure again, or look at the seconds that all cores together spent on a fit,
which suffer less.
"""

import argparse
import dataclasses
import importlib.util
import statistics
import time

import numpy as np

from minictr import FFM, FM, Model, metrics

from .quality import in_new_process, machine
from .shapes import SHAPES, Shape, drawn_table
from .timing import DISTURBED, disturbance, once, timed

ROWS, WARM_UP_ROWS = 100_000, 8_192
LEARNING_RATE = 0.05                                              # of AdaGrad, in both
SCORE_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Case:
    """A model of both libraries, its k, the shape of its data, and modern-fm's scale of the first vectors."""

    family: type[Model]
    theirs: str
    k: int
    shape: Shape
    scale: float

    def new(self):
        """minictr's model, unfitted."""
        return self.family(embedding_dim=self.k, optimizer="adagrad", learning_rate=LEARNING_RATE, epochs=1,
                           batch_size=self.shape.batch, seed=0)


CASES = {"FFM": Case(FFM, "FFMClassifier", 4, SHAPES["criteo"], 0.1),
         "FM": Case(FM, "FMClassifier", 16, SHAPES["frappe"], 0.01)}


def clocks(call):
    """{"fit": seconds of a call, "of all cores": the sum of what each core spent on it}."""
    before = time.process_time()
    return {"fit": once(call), "of all cores": time.process_time() - before}


def with_minictr(name, rows):
    """{"fit", "of all cores", "epoch", "score", "table": seconds, "loss": log loss afterwards}."""
    case = CASES[name]
    X, y = drawn_table(case.shape, rows)
    case.new().fit(X[:WARM_UP_ROWS], y[:WARM_UP_ROWS])
    model = case.new()
    seconds = clocks(lambda: model.fit(X, y))
    slots = model.encoder_.encode(X)
    return {**seconds, "epoch": float(model.history_["seconds"].iloc[0]),
            "score": timed(lambda i: model.predict_slots(slots), SCORE_SECONDS)[0],
            "table": timed(lambda i: model.predict_proba(X), SCORE_SECONDS)[0],
            "loss": metrics.log_loss(y, model.predict_proba(X)[:, 1])}


def sparse_matrix(slots, n):
    """Encoded rows as a matrix of a column for each of n ids."""
    from scipy.sparse import csr_matrix

    x = np.ones(slots.ids.shape, np.float32) if slots.x is None else slots.x
    return csr_matrix((x.ravel(), slots.ids.ravel(), np.arange(len(slots) + 1) * slots.n_slots), (len(slots), n))


def with_modern_fm(name, rows):
    """The same, but for "epoch" and "table"."""
    import modern_fm

    case = CASES[name]
    X, y = drawn_table(case.shape, rows)
    encoder = case.new().prepare(X, y).encoder_
    slots, n = encoder.encode(X), encoder.n_ids
    matrix, field_of = sparse_matrix(slots, n), np.zeros(n, np.int64)
    field_of[slots.ids] = np.arange(slots.n_slots)                # a slot for each field: none has several values
    fields = {"field_ids": field_of} if name == "FFM" else {}

    def fit(matrix, y):
        model = getattr(modern_fm, case.theirs)(
            n_factors=case.k, optimizer="adagrad", learning_rate=LEARNING_RATE, max_iter=1,
            batch_size=case.shape.batch, init_scale=case.scale, l2_linear=0, l2_factors=0, random_state=0)
        return model.fit(matrix, y, **fields)

    fit(matrix[:WARM_UP_ROWS], y[:WARM_UP_ROWS])
    fitted = []
    seconds = clocks(lambda: fitted.append(fit(matrix, y)))
    return {**seconds, "score": timed(lambda i: fitted[0].predict_proba(matrix), SCORE_SECONDS)[0],
            "loss": metrics.log_loss(y, fitted[0].predict_proba(matrix)[:, 1])}


LIBRARIES = {"minictr": with_minictr, "modern-fm": with_modern_fm}


def measure(name, turns, rows):
    """{library: [figures of each turn]} of a case."""
    found = {library: [] for library in LIBRARIES}
    for _ in range(turns):
        for library, function in LIBRARIES.items():
            with disturbance() as others:
                figures = in_new_process(function, name, rows)
            found[library].append(figures | {"cores used by others": others[0] if others else 0})
    return found


def summary(found):
    """What was found, as lines of text."""
    lines, median = [], {}
    for library, what in [("minictr", "epoch"), ("minictr", "table"), *(
            (library, what) for what in ("fit", "of all cores", "score") for library in LIBRARIES)]:
        seconds = [figures[what] for figures in found[library]]
        median[library, what] = statistics.median(seconds)
        lines.append(f"{library:10} {what:12} {median[library, what]:8.4f} s ({min(seconds):.4f} to "
                     f"{max(seconds):.4f})  log loss {found[library][-1]['loss']:.4f}")

    def ratio(theirs, ours):
        return f"{median['modern-fm', theirs] / median['minictr', ours]:.2f}"
    lines.append(f"ratio of fit {ratio('fit', 'fit')}, of the epoch alone {ratio('fit', 'epoch')}, of the seconds of "
                 f"all cores {ratio('of all cores', 'of all cores')}; of scoring {ratio('score', 'score')}, from the "
                 f"table {ratio('score', 'table')}")
    others = max(figures["cores used by others"] for turns in found.values() for figures in turns)
    if others > DISTURBED:
        lines.append(f"DISTURBED: other processes kept up to {others:.1f} cores busy; measure again")
    return lines


def main(arguments=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modern_fm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("modern_fm") is None:
        parser.error("modern-fm is not installed (pip install modern-fm)")
    print(", ".join(f"{what} {value}" for what, value in machine(("numpy", "pandas", "modern-fm")).items()))
    for name in options.models:
        print(f"\n{name}", *summary(measure(name, options.turns, options.rows)), sep="\n")


if __name__ == "__main__":
    main()
