"""How time and memory grow with ids, rows and fields: ``python -m benchmarks.growth``.

    python -m benchmarks.growth --quick --out .
    python -m benchmarks.growth --models FwFM FFM DCN --out relatives

Four curves, drawn to growth.png, numbers in growth.json (both in ``--out``, ``benchmarks/`` if not given):

ids     ms of a training step of FM, k = 16, 10 fields, 4096 rows. Twice: with the same number of different ids in
        a batch, spread over ever larger tables (what the size of a table costs by itself), and with ids by Zipf's law,
        where larger vocabularies have more different ids in a batch too, so that more rows are updated.
rows    microseconds a row of a training epoch of FM, on encoded rows through ``training.fit`` (what ``fit`` does after
        encoding), 10 fields, 100,000 ids.
memory  peak memory of that training, above what the process held before there was any data, beside what must be
        there: the encoded rows, and the parameters with their two moments. Each point is a process of its own.
        (Linux only.)
fields  ms of a training step of FM, AFM, DeepFM and AutoInt, or of the models that are named, 1024 rows, 1,000 ids a
        field; with the power p of the number of fields M that the larger half of the points follows (ms ~ M^p).

A line DISTURBED at the end says that other processes used the cores meanwhile: then measure again.
"""

import argparse
import functools
import json
import sys
from pathlib import Path

import numpy as np

from minictr import training
from minictr.estimator.sources import windows
from minictr.layers import parameters
from minictr.slots import Slots
from minictr.training.data import TrainingData
from minictr.training.loop import trainer_on_threads
from minictr.training.memory import keep_freed_memory

from .quality import forget_peak_memory, in_new_process, machine, peak_memory
from .shapes import MODELS, RELATIVES, Shape, built, drawn_slots, new_model
from .timing import DISTURBED, disturbance, timed

DIFFERENT_IDS = 1_000   # of each field, in the curve where their number stays the same
MEMORY_GOAL = 200       # MB above data and parameters
BATCHES = 8             # different ones, used in turn by the steps
GUIDES = {"linear": 1, "square": 2}
SQUARE = {"FFM", "FwFM", "AFM", "PNN", "XDeepFM", "AutoInt"}      # take pairs one by one; all others grow as M


# ---- the measurements ------------------------------------------------------------------------------------

def ms_of_a_step(name, shape, seconds, spread=False):
    """Median ms of a training step on drawn rows; ``spread``: few different ids, far apart."""
    keep_freed_memory()                                           # as fit does
    B = shape.batch
    model = built(new_model(name, B), shape)
    few = Shape(shape.fields, DIFFERENT_IDS * shape.fields, B) if spread else shape
    slots, y = drawn_slots(few, BATCHES * B)
    if spread:
        slots = Slots(slots.ids * (shape.ids // few.ids), None, slots.starts)
    with trainer_on_threads(model, np.random.SeedSequence(0)) as trainer:
        def step(i):
            rows = slice(i % BATCHES * B, (i % BATCHES + 1) * B)
            trainer.step(slots[rows], y[rows])

        timed(step, 0, BATCHES)                                   # warms up
        return 1000 * timed(step, seconds)[0]


def train(shape, N, epochs):
    """Train FM on N drawn encoded rows: (seconds of the last epoch, MB of the encoded rows, of the parameters)."""
    model = built(new_model("FM", shape.batch).set_params(epochs=epochs), shape)
    slots, y = drawn_slots(shape, N)
    forget_peak_memory()
    model.row_counts_ = np.zeros(shape.ids, np.int64)
    data = TrainingData(windows(model, (slots, y, None)), N, (y, None))
    model.random_ = training.first_random(model.seeds())
    model.history_ = training.fit(model, data, model.seeds())
    n_bytes = slots.ids.nbytes + y.nbytes
    return (float(model.history_["seconds"].iloc[-1]), n_bytes / 2 ** 20,
            sum(array.nbytes for array in parameters(model).values()) / 2 ** 20)


def memory_of_training(shape, N):
    """Dict of MB: the peak above the empty process, the encoded rows, parameters and moments, and what is left."""
    forget_peak_memory()
    before = peak_memory()
    _, data, params = train(shape, N, epochs=1)
    peak = peak_memory() - before
    return {"rows": N, "ids": shape.ids, "peak": peak, "data": data, "parameters": params,
            "expected": data + 3 * params, "rest": peak - data - 3 * params}


def power(x, y):
    """p of y ~ x^p, by the larger half of the points."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def power_of(name):
    """The power of the number of fields with which a model's work grows."""
    return 2 if name in SQUARE else 1


def measure(quick, names):
    """All curves, the last of the models with these names, each point printed as soon as it is there; a dict."""
    seconds = 0.1 if quick else 2
    found = {"ids": [], "rows": [], "memory": [], "fields": []}

    def add(curve, measured):
        """Measure a point: ``measured()`` gives its numbers."""
        with disturbance() as others:
            point = measured()
        point["cores used by others"] = others[0] if others else None
        found[curve].append(point)
        shown = (f"{name} {value:,.3g}" if isinstance(value, float) else f"{name} {value:,}" if isinstance(value, int)
                 else f"{name} {value}" for name, value in point.items())
        print(f"{curve:7} " + "  ".join(shown), flush=True)

    def ids_point(n):
        shape = Shape(10, n, 4096)
        slots, _ = drawn_slots(shape, shape.batch)
        return {"ids": n, "ms": ms_of_a_step("FM", shape, seconds, spread=True),
                "ms_zipf": ms_of_a_step("FM", shape, seconds), "different_ids_zipf": len(np.unique(slots.ids))}

    def rows_point(N):
        return {"rows": N, "us_a_row": 1e6 * train(Shape(10, 10 ** 5, 4096), N, epochs=2)[0] / N}

    def fields_point(name, M):
        return {"model": name, "fields": M, "ms": ms_of_a_step(name, Shape(M, 1_000 * M, 1024), seconds)}

    for n in (10 ** 4, 10 ** 5, 10 ** 6) if quick else (10 ** 4, 10 ** 5, 10 ** 6, 10 ** 7):
        add("ids", functools.partial(ids_point, n))
    for N in (10 ** 4, 10 ** 5) if quick else (10 ** 5, 10 ** 6, 10 ** 7):
        add("rows", functools.partial(rows_point, N))
    if sys.platform == "linux":
        for n, N in ((10 ** 5, 10 ** 5), (10 ** 6, 10 ** 5)) if quick else (
                (10 ** 5, 10 ** 5), (10 ** 5, 10 ** 6), (10 ** 5, 10 ** 7), (10 ** 6, 10 ** 6), (10 ** 7, 10 ** 6)):
            add("memory", functools.partial(in_new_process, memory_of_training, Shape(10, n, 4096), N))
    for name in names:
        for M in (5, 10, 20) if quick else (5, 10, 20, 40, 70, 100):
            add("fields", functools.partial(fields_point, name, M))
    return found


def conclusions(found):
    """What the curves say, beside the goals, as lines of text."""
    ids, rows = found["ids"], found["rows"]
    lines = [f"ids: the slowest step takes {max(p['ms'] for p in ids) / ids[0]['ms']:.2f} x that of {ids[0]['ids']:,} "
             f"ids (goal: 1.2); with Zipf's ids {max(p['ms_zipf'] for p in ids) / ids[0]['ms_zipf']:.2f} x, as a batch "
             f"has up to {max(p['different_ids_zipf'] for p in ids) / ids[0]['different_ids_zipf']:.1f} x as many",
             f"rows: a row takes up to {max(p['us_a_row'] for p in rows) / rows[0]['us_a_row']:.2f} x as long as with "
             f"{rows[0]['rows']:,} rows (goal: 1.1)"]
    if found["memory"]:
        lines.append(f"memory: at most {max(p['rest'] for p in found['memory']):.0f} MB above data and parameters "
                     f"(goal: {MEMORY_GOAL})")
    for name in dict.fromkeys(point["model"] for point in found["fields"]):
        points = [p for p in found["fields"] if p["model"] == name]
        p = power([point["fields"] for point in points], [point["ms"] for point in points])
        lines.append(f"fields: {name} grows as M^{p:.2f} (goal: {power_of(name)})")
    others = max(point["cores used by others"] or 0 for points in found.values() for point in points)
    if others > DISTURBED:
        lines.append(f"DISTURBED: other processes kept up to {others:.1f} cores busy; measure again")
    return lines


# ---- the picture -----------------------------------------------------------------------------------------

def plot(found, file):
    """Draw the curves to a PNG file."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    ids, rows, memory = axes[0, 0], axes[0, 1], axes[1, 0]
    x = [point["ids"] for point in found["ids"]]
    ids.plot(x, [point["ms"] for point in found["ids"]], "o-", label="as many different ids in a batch")
    ids.plot(x, [point["ms_zipf"] for point in found["ids"]], "s--", label="ids by Zipf's law: more different ones")
    ids.set(xscale="log", xlabel="ids of all fields together", ylabel="ms a training step of 4096 rows",
            title="Vocabulary: FM, k = 16, 10 fields")
    ids.legend()

    rows.plot([point["rows"] for point in found["rows"]], [point["us_a_row"] for point in found["rows"]], "o-")
    rows.set(xscale="log", xlabel="rows of an epoch", ylabel="microseconds a row", title="Rows: FM, k = 16, 10 fields")
    for axis in (ids, rows):
        axis.set_ylim(bottom=0)

    if found["memory"]:
        expected, peak = ([point[what] for point in found["memory"]] for what in ("expected", "peak"))
        line = np.geomspace(min(expected), max(expected))
        memory.plot(line, line, "-", color="grey", label="data + 3 x parameters")
        memory.plot(line, line + MEMORY_GOAL, ":", color="grey", label=f"the same + {MEMORY_GOAL} MB")
        memory.plot(expected, peak, "o", label="measured peak")
        for point in found["memory"]:
            memory.annotate(f"{point['rows']:.0e} rows, {point['ids']:.0e} ids".replace("e+0", "e"),
                            (point["expected"], point["peak"]), (0, -14), textcoords="offset points", fontsize=8,
                            ha="center")
        memory.set(xscale="log", yscale="log", xlabel="MB of encoded data + 3 x parameters",
                   ylabel="MB at the peak of training", title="Memory: FM, k = 16, 10 fields",
                   xlim=(min(expected) / 2, max(expected) * 2), ylim=(min(expected) / 2, max(expected) * 4))
        for axis in (memory.xaxis, memory.yaxis):
            axis.set_major_formatter("{x:,.0f}")
            axis.set_minor_formatter("")
        memory.legend()

    fields_plot(axes[1, 1], found["fields"])
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def fields_plot(axis, points):
    """The curve of every model over the number of fields, on guide lines of powers 1 and 2."""
    for name in dict.fromkeys(point["model"] for point in points):
        mine = [point for point in points if point["model"] == name]
        axis.plot([point["fields"] for point in mine], [point["ms"] for point in mine], "o-", label=name)
    M = np.array(sorted({point["fields"] for point in points}))
    middle = np.median([point["ms"] for point in points if point["fields"] == M[0]])
    for what, exponent in GUIDES.items():
        axis.plot(M, middle * (M / M[0]) ** exponent, "--" if exponent == 1 else ":", color="grey", label=what)
    axis.set(xscale="log", yscale="log", xlabel="fields M", ylabel="ms a training step of 1024 rows",
             title="Fields: training steps, k = 16 (FFM: 4)")
    axis.set_xticks(M, labels=[str(m) for m in M])
    axis.minorticks_off()
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))


def main(arguments=None):
    """Measure, print, write picture and numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="half a minute: fewer and smaller points")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for growth.png, growth.json")
    parser.add_argument("--models", nargs="+", choices=[*MODELS, *RELATIVES], default=list(MODELS),
                        help="whose steps to measure over the number of fields")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    about = machine(("numpy", "pandas"))
    print(", ".join(f"{what} {value}" for what, value in about.items()))
    found = measure(options.quick, options.models)
    lines = conclusions(found)
    print("\n" + "\n".join(lines))
    plot(found, options.out / "growth.png")
    outcome = {"machine": about, "quick": options.quick, "curves": found, "conclusions": lines}
    (options.out / "growth.json").write_text(json.dumps(outcome, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
