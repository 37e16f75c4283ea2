"""Seconds of training and scoring, beside the same models in eager PyTorch: ``python -m benchmarks.speed``.

Data are drawn: ids by Zipf's law within each field, clicks at random. What is timed is the work on encoded rows:
training is steps of batches as ``fit`` makes them (forward, loss, backward, update), scoring is ``predict_slots``.
PyTorch trains with Adam on dense gradients, and with SparseAdam on the tables where --peers has torch-sparse; both
libraries use all cores. Each library runs in processes of its own (PyTorch's waiting threads would slow its
neighbour down), which take turns; a figure is the median over the turns, beside its smallest and largest.

After the 8 steps that warm up, the losses of minictr and PyTorch must agree to 1 %, or the comparison is void and says
so. (They are compared with torch-sparse, whose updates are those of minictr's lazy Adam but for the place of eps.)
"""

import argparse
import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from minictr import AFM, FM, AutoInt, DeepFM
from minictr.losses import LogLoss
from minictr.slots import Slots
from minictr.training import predict_logits, trainer_on_threads

from .quality import machine

SHAPES = {  # fields, ids, rows of a batch, numerical fields
    "ml-1m": (7, 10_000, 1024, 0),
    "frappe": (10, 5_382, 4096, 0),
    "criteo": (39, 1_000_000, 4096, 13),
}
MODELS = {
    "FM": lambda: FM(embedding_dim=16),
    "AFM": lambda: AFM(embedding_dim=16, attention_dim=64),
    "DeepFM": lambda: DeepFM(embedding_dim=16, deep_layers=(256, 128, 64)),
    "AutoInt": lambda: AutoInt(embedding_dim=16, attention_dim=16, num_heads=2, num_layers=3),
}
BATCHES = 8             # different ones, used in turn
SCORE_ROWS = 16_384


class DrawnFields:
    """Stands in for an encoder: the models ask it only for sizes."""

    def __init__(self, M, n):
        self.field_names = [f"field_{i}" for i in range(M)]
        self.n_features = n


def draw(shape):
    """(Slots, y) of enough rows for all batches, and for scoring."""
    M, n, B, n_numerical = SHAPES[shape]
    rng = np.random.default_rng(0)
    N = max(BATCHES * B, SCORE_ROWS)
    share = (n - n_numerical) // (M - n_numerical)                # ids of each categorical field
    ids = np.empty((N, M), np.int32)
    ids[:, :n_numerical] = np.arange(n_numerical)
    ids[:, n_numerical:] = n_numerical + share * np.arange(M - n_numerical) + rng.zipf(
        1.2, (N, M - n_numerical)) % share
    x = None
    if n_numerical:
        x = np.ones((N, M), np.float32)
        x[:, :n_numerical] = rng.standard_normal((N, n_numerical))
    return Slots(ids, x, np.arange(M)), (rng.random(N) < 0.25).astype(np.float32)


def built(name, shape):
    """The model, built for the shape, with its optimizer and loss."""
    M, n, _, _ = SHAPES[shape]
    model = MODELS[name]().set_params(learning_rate=0.001)
    model.encoder_ = DrawnFields(M, n)
    model.build(n, M, np.random.default_rng(0))
    model.new_optimizer()
    model.set_task("binary")
    return model


def minictr_turn(name, shape, seconds):
    """(ms of a training step, ms of scoring 1,000 rows, loss after the first 8 steps) in minictr."""
    model, (slots, y), B = built(name, shape), draw(shape), SHAPES[shape][2]
    parts = [(slots[start:start + B], y[start:start + B]) for start in range(0, BATCHES * B, B)]
    with trainer_on_threads(model, np.random.SeedSequence(0)) as trainer:
        for part in parts:
            trainer.step(*part)
        loss = LogLoss().forward(predict_logits(model, parts[0][0]), parts[0][1])
        step = timed(lambda i: trainer.step(*parts[i % BATCHES]), seconds)
        trainer.set_training(False)
    score = timed(lambda i: predict_logits(model, slots[:SCORE_ROWS]), seconds / 2)
    return step, score / (SCORE_ROWS / 1000), loss


def torch_turn(name, shape, seconds, sparse):
    """The same in PyTorch, from the same weights."""
    import torch

    from . import torch_models

    torch.set_flush_denormal(True)
    torch.sparse.check_sparse_tensor_invariants.disable()
    model, (slots, y), B = built(name, shape), draw(shape), SHAPES[shape][2]
    module = torch_models.like(model, slots, sparse)
    optimizers = torch_models.optimizers(module, model)
    ids, x = torch_models.tensors(slots)
    y = torch.from_numpy(y)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits

    def output(rows):
        return module(ids[rows], None if x is None else x[rows])

    def step(i):
        rows = slice(i % BATCHES * B, (i % BATCHES + 1) * B)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss_of(output(rows), y[rows]).backward()
        for optimizer in optimizers:
            optimizer.step()

    for i in range(BATCHES):
        step(i)
    with torch.no_grad():
        loss = float(loss_of(output(slice(0, B)), y[:B]))
    step_ms = timed(step, seconds)
    module.eval()
    with torch.inference_mode():
        score = timed(lambda i: [output(slice(start, start + 2048)) for start in range(0, SCORE_ROWS, 2048)],
                      seconds / 2)
    return step_ms, score / (SCORE_ROWS / 1000), loss


def timed(call, seconds):
    """Median ms of a call, over 200 calls or as many as fit into ``seconds``, but at least 4."""
    times, start = [], time.perf_counter()
    while len(times) < 4 or (len(times) < 200 and time.perf_counter() - start < seconds):
        before = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - before)
    return 1000 * statistics.median(times)


PEERS = {
    "minictr": minictr_turn,
    "torch": lambda *job: torch_turn(*job, False),
    "torch-sparse": lambda *job: torch_turn(*job, True),
}


def turn(peer, job):
    """One turn of one library."""
    return PEERS[peer](*job)


def main(arguments=None):
    """Time every model on every shape, print a line for each, then everything as JSON if asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--peers", nargs="+", choices=list(PEERS)[1:], default=list(PEERS)[1:])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="at most, for each timing of a turn")
    parser.add_argument("--json", help="a file to write all figures to")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print("ms of a training step, and of scoring 1,000 rows: median (smallest to largest turn); ratio to the best peer")
    results = []
    for shape in options.shapes:
        for name in options.models:
            turns = {peer: [] for peer in ["minictr", *options.peers]}
            for _ in range(options.turns):
                for peer, found in turns.items():
                    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                        found.append(process.submit(turn, peer, (name, shape, options.seconds)).result())
            results.append({"model": name, "shape": shape, "turns": turns})
            print(line(name, shape, turns), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": machine(), "results": results}, file, indent=1)


def line(name, shape, turns):
    """One line of the result."""
    cells = [f"{name:8} {shape:7}"]
    for job, what in enumerate(("train", "score")):
        medians = {peer: statistics.median(found[job] for found in results) for peer, results in turns.items()}
        spread = {peer: (min(found[job] for found in results), max(found[job] for found in results))
                  for peer, results in turns.items()}
        cells.append(what + "  " + "  ".join(
            f"{peer} {medians[peer]:.2f} ({spread[peer][0]:.2f} to {spread[peer][1]:.2f})" for peer in turns))
        best = min(median for peer, median in medians.items() if peer != "minictr")
        cells.append(f"ratio {best / medians['minictr']:.2f}")
    losses = {peer: results[-1][2] for peer, results in turns.items()}
    reference = losses.get("torch-sparse", losses["minictr"])
    if abs(losses["minictr"] / reference - 1) > 0.01:
        cells.append(f"VOID: the losses differ, {losses}")
    return "  ".join(cells)


if __name__ == "__main__":
    main()
