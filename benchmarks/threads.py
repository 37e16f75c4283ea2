"""What a second thread brings: ``python -m benchmarks.threads --models AFM DeepFM``.

First the steps of models on one thread and on all cores, in turns; then the operations that steps are made of, at the
sizes of AFM's chunks on ml-1m (256 rows, 21 pairs, k = 16, t = 64): microseconds of a call alone, of a call while every
other core does the same on arrays of its own, and how much work all of them do together in the time of one. Where that
is far below the number of cores, threads wait: each NumPy call hands Python's lock back and takes it again, and to wake
the thread that waits for it takes some 10 us, so that calls of less work than that gain nothing. Products and passes
over large arrays do. Figures of a machine that does other work are worth nothing here.
"""

import argparse
import statistics
import threading
import time

import numpy as np

from minictr.training import ChunkedTrainer
from minictr.training.fast_functions import relu, repeat_middle, softmax, sum_middle
from minictr.training.threads import Threads, n_cores, one_blas_thread

from .quality import machine
from .shapes import HEAVY, NAMES, RELATIVES, SHAPES, built, cases, drawn_slots, new_model
from .timing import DISTURBED, disturbance

BATCHES = 4


def speed_up(name, shape_name, seconds):
    """(Median ms of a step on one thread, on all cores), the two in turns."""
    shape = SHAPES[shape_name]
    B = shape.batch
    slots, y = drawn_slots(shape, BATCHES * B)
    with one_blas_thread(), Threads(n_cores()) as threads:
        trainers = [ChunkedTrainer(built(new_model(name, B), shape), np.random.SeedSequence(0), of_its)
                    for of_its in (None, threads)]
        found = [[], []]
        end, i = time.perf_counter() + seconds, 0
        while time.perf_counter() < end or i < 3:
            rows = slice(i % BATCHES * B, (i % BATCHES + 1) * B)
            for trainer, ms in zip(trainers, found, strict=True):
                start = time.perf_counter()
                trainer.step(slots[rows], y[rows])
                ms.append(1000 * (time.perf_counter() - start))
            i += 1
    return tuple(statistics.median(ms[1:]) for ms in found)       # the first makes replicas and moments


def operations(B=256, M=7, k=16, t=64):
    """{name: call} of the operations of a step, on arrays of their own."""
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    P = M * (M - 1) // 2
    E, p, W, z, r, a, out = (drawn(*shape) for shape in (
        (B, M, k), (B, P, k), (k, t), (B, P * t), (B * P, t), (B, P), (B, k)))
    V, ids, i = drawn(10_000, k), rng.integers(10_000, size=(B, M), dtype=np.int32), np.triu_indices(M, 1)[0]
    sums, places, values = drawn(3_000 * k), rng.integers(3_000 * k, size=B * M * k), drawn(B * M * k)
    return {
        "p W, (5376, 16) x (16, 64)": lambda: p.reshape(-1, k) @ W,
        "p^T dz, (16, 5376) x (5376, 64)": lambda: p.reshape(-1, k).T @ r,
        "ReLU of (256, 1344)": lambda: relu(z),
        "r > 0 as numbers": lambda: (r > 0).astype(r.dtype),
        "weighted sum of pairs": lambda: (a[:, None, :] @ p)[:, 0],
        "vectors of pairs, take": lambda: E.take(i, axis=1),
        "vectors of ids, take": lambda: V.take(ids, axis=0),
        "softmax of (256, 21)": lambda: softmax(a, axis=1),
        "sum of pairs": lambda: sum_middle(p),
        "copies of rows": lambda: repeat_middle(out, P),
        "add.at": lambda: np.add.at(sums, places, values),
        "addition of (256, 16)": lambda: out + out,
    }


def alone_and_together(name, seconds, n_threads):
    """(us of a call alone, us while all threads do the same); of three tries the best of each."""
    calls = [operations()[name] for _ in range(n_threads)]
    for call in calls:
        call()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds / 10 or count < 5:
        calls[0]()
        count += 1

    def together(calls):
        barrier, found = threading.Barrier(len(calls)), []

        def run(call):
            barrier.wait()
            start = time.perf_counter()
            for _ in range(count):
                call()
            found.append((time.perf_counter() - start) / count)

        threads = [threading.Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 1e6 * max(found)

    return min(together(calls[:1]) for _ in range(3)), min(together(calls) for _ in range(3))


def main(arguments=None):
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*NAMES, *RELATIVES], default=["FM", "AFM", "DeepFM", "AutoInt"])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["ml-1m", "frappe"])
    parser.add_argument("--seconds", type=float, default=3, help="about, for each model")
    options = parser.parse_args(arguments)
    cores = n_cores()
    of_heavy = [HEAVY[name][1] for name in options.models if name in HEAVY]   # their own shapes, whatever was asked for
    print(", ".join(f"{what} {value}" for what, value in machine(("numpy",)).items()))
    with disturbance() as others:
        print(f"\n{'step':15} {'shape':7} {'one thread':>10} {cores:7} threads")
        for name, shape in cases(options.models, dict.fromkeys([*options.shapes, *of_heavy])):
            if shape in options.shapes or name in HEAVY:
                one, several = speed_up(name, shape, options.seconds)
                print(f"{name:15} {shape:7} {one:7.2f} ms {several:7.2f} ms  x {one / several:.2f}", flush=True)
        print(f"\n{'operation':32} {'alone':>9} {'together':>9}  work in the time of one call")
        with one_blas_thread():
            for name in operations():
                alone, together = alone_and_together(name, options.seconds / 10, cores)
                print(f"{name:32} {alone:6.1f} us {together:6.1f} us  x {cores * alone / together:.2f}", flush=True)
    if others and others[0] > DISTURBED:
        print(f"DISTURBED: other processes kept {others[0]:.1f} cores busy; measure again")


if __name__ == "__main__":
    main()
