"""How fast minictr is, beside the same models in PyTorch and DeepCTR-Torch: ``python -m benchmarks.speed``.

    python -m benchmarks.speed --quick
    python -m benchmarks.speed --models FM AFM --shapes ml-1m --jobs step fit --peers torch --json speed.json
    python -m benchmarks.speed --peers before --before-python ~/earlier/bin/python --turns 20

Jobs (everything with its default setting; all libraries use all cores):

    step            ms of a training step on encoded rows
    score-encoded   s of scoring 1,000,000 encoded rows
    fit             s of an epoch of 1,000,000 rows in ``fit``, the second of two, from a table
    predict_proba   s of ``predict_proba`` of a table of 1,000,000 rows, encoding included
    attention       s of ``explain.attention`` of such a table
    predict         ms of one ``predict(user, item)``
    recommend       ms of ``recommend``, the best 10 of 3,706 items
    encode          s of learning and encoding a table of 10 columns of text (torch: pandas.factorize in its place)
    import          s until ``import minictr`` is done (torch: import torch; beside it, import numpy and pandas)

Where a job of 1,000,000 rows would take long, fewer are used, and the figure is for 1,000,000 all the same (the JSON
has the rows). Peers: torch (eager; the best of several ways to write it, which is named), torch.compile (needs a C++
compiler), deepctr (DeepCTR-Torch; through ``fit`` and ``predict`` only). A peer that is missing is left out, with the
reason. Each peer's turn is a process of its own (PyTorch's waiting threads would slow its neighbours), and turns are
interleaved; a figure is the median over the turns, beside its smallest and largest. A ratio is the peer's time by
minictr's: above 1, minictr is faster.

After the timed steps the losses of minictr and of PyTorch with SparseAdam (the same maths but for the place of Adam's
eps), which started from the same weights and saw the same batches, must agree to 1 %: or the comparison is void, and
says so. A line DISTURBED says that other processes used the cores meanwhile: such figures can be wrong by a factor of
ten. In both cases no goal counts as met or missed.

Variables of the environment that pin a library to other instructions than it would choose by itself (see PINS) are
not what a user gets who only installs: they are taken out, and named, unless --keep-environment is given.

The peer "before", which has to be asked for, is an earlier version of minictr that is installed in another virtual
environment (``pip install "git+file://$PWD@<commit>"``): for step and score-encoded there is a table of the ratios
before/now, models x shapes (see ``benchmarks.before``).

"limit" is the least time of a job on encoded rows here: the model's own matrix products (``benchmarks.work``), each at
the rate that this machine has for its shape, and a copy of all that has to be read and written. What counts is the
share of it that is reached.
"""

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

from minictr.layers import parameters

from . import before, work
from .machine_rates import least_seconds, machine_rates
from .minictr_jobs import MOST_CELLS
from .peers import Unavailable
from .quality import in_new_process, machine
from .shapes import HEAVY, MODELS, NAMES, RELATIVES, SHAPES, built, cases, drawn_slots, new_model
from .timing import DISTURBED, disturbance, once

CASE_JOBS = "step", "score-encoded", "fit", "predict_proba", "attention"
UNITS = {"step": "ms", "predict": "ms", "recommend": "ms"}        # of the others: s
JOBS = (*CASE_JOBS, "predict", "recommend", "encode", "import")
PEERS = "torch", "torch.compile", "deepctr"
GOALS = {   # at least so many times as fast as the best torch peer
    "step": {"FM": 3, "AFM": 3, "DeepFM": 1.5, "AutoInt": 1.5},
    "score-encoded": {"FM": 2, "AFM": 3, "DeepFM": 1.5, "AutoInt": 1.5},
    "deepctr": {"FM": 3, "AFM": 3, "DeepFM": 2, "AutoInt": 2},
}
GOALS |= {"fit": GOALS["step"], "predict_proba": GOALS["score-encoded"]}
PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "ATEN_CPU_CAPABILITY",
        "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES")
IMPORTS = {"minictr": "minictr", "torch": "torch", "numpy + pandas": "numpy, pandas"}


# ---- one turn, in a process of its own -------------------------------------------------------------------

def jobs_of(peer):
    """The jobs that a peer can do, {name: function}; imported only where they are used."""
    if peer == "deepctr":
        return importlib.import_module(".deepctr_jobs", __package__).JOBS
    if peer == "minictr":
        return importlib.import_module(".minictr_jobs", __package__).JOBS
    torch_jobs = importlib.import_module(".torch_jobs", __package__)
    torch_jobs.set_up()
    return torch_jobs.COMPILED_JOBS if peer == "torch.compile" else torch_jobs.JOBS


def turn(peer, jobs, name, shape, settings):
    """One turn of one peer: {job: {variant: figures}}, or {job: the reason why there are none}."""
    functions, found = jobs_of(peer), {}
    for job in jobs:
        if job in functions:
            try:
                with disturbance() as others:
                    found[job] = functions[job](name, shape, settings)
                for figures in found[job].values():
                    figures["cores used by others"] = others[0] if others else None
            except Exception as error:                            # a peer that fails must not end the whole run
                found[job] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return found


def why_missing(peer):
    """Why a peer cannot be measured here, or None."""
    for package in {"deepctr": ("torch", "deepctr_torch", "requests")}.get(peer, ("torch",)):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed (pip install '.[benchmarks]')"
    if peer == "torch.compile" and not shutil.which(os.environ.get("CXX", "g++")) and not shutil.which("clang++"):
        return "there is no C++ compiler"
    return None


def counterpart(peers, name, jobs):
    """minictr's model with the equations of DeepCTR-Torch, where they differ from those of ``name``; else None."""
    if "deepctr" not in peers or not {"fit", "predict_proba"} & set(jobs) or not name.startswith("AutoInt"):
        return None
    model = new_model(name, SHAPES[HEAVY[name][1]].batch if name in HEAVY else 1024)
    return model.set_params(attention_dim=model.embedding_dim // model.num_heads, first_order=True)


# ---- measuring -------------------------------------------------------------------------------------------

def measure(name, shape, jobs, peers, options):
    """All turns of all peers: {job: {peer: {variant: [figures of each turn]} or the reason why there are none}}."""
    settings = {"seconds": options.seconds, "steps": None, "gigaflop": options.gigaflop, "model": None,
                "encode_rows": options.encode_rows}
    runs = {"minictr": ("minictr", jobs, settings), **{peer: (peer, jobs, settings) for peer in peers}}
    other = counterpart(peers, name, jobs)
    if other is not None:
        runs["minictr as deepctr"] = (
            "minictr", [job for job in jobs if job in ("fit", "predict_proba")], {**settings, "model": other})
    found = {job: {} for job in jobs}
    for _ in range(options.turns):                                # minictr is the first of each turn
        for run, (peer, run_jobs, run_settings) in runs.items():
            results = in_new_process(turn, peer, run_jobs, name, shape, {**run_settings, "steps": settings["steps"]})
            for job, variants in results.items():
                if isinstance(variants, str):
                    found[job][run] = variants
                elif not isinstance(found[job].get(run), str):
                    for variant, figures in variants.items():
                        found[job].setdefault(run, {}).setdefault(variant, []).append(figures)
            if run == "minictr" and "step" in results and not isinstance(results["step"], str):
                # all later turns time as many steps: the losses after them are to be compared
                settings["steps"] = results["step"]["default"]["steps"]
    return found


def measure_imports(options):
    """Seconds of imports, each in a new interpreter: {what: {"default": [figures of each turn]}}."""
    found = {}
    for _ in range(max(3, options.turns)):
        for what, names in IMPORTS.items():
            if what != "torch" or importlib.util.find_spec("torch"):
                command = [sys.executable, "-c", f"import {names}"]
                seconds = once(lambda command=command: subprocess.run(command, check=True))
                found.setdefault(what, {}).setdefault("default", []).append({"value": seconds})
    return {"import": found}


# ---- what was found --------------------------------------------------------------------------------------

def best(variants):
    """(name of the variant with the smallest median, its median, smallest, largest)."""
    values = {variant: [figures["value"] for figures in turns] for variant, turns in variants.items()}
    name = min(values, key=lambda variant: statistics.median(values[variant]))
    return name, statistics.median(values[name]), min(values[name]), max(values[name])


def void(peers):
    """Why the losses of minictr and torch do not let their steps be compared; None where they do, or are not known."""
    sparse = [turns for peer in ("torch", "torch.compile") if isinstance(peers.get(peer), dict)
              for variant, turns in peers[peer].items() if variant.startswith("sparse")]
    mine = peers["minictr"]["default"][-1] if isinstance(peers.get("minictr"), dict) else {}
    for turns in sparse if "loss" in mine else ():
        theirs = turns[-1]
        if not abs(mine["loss"] / theirs["loss"] - 1) <= 0.01:
            return f"losses after {mine['steps']} steps differ: minictr {mine['loss']:.5f}, torch {theirs['loss']:.5f}"
    return None


def most_disturbed(peers):
    """How many cores other processes kept busy in the worst turn."""
    return max((figures.get("cores used by others") or 0 for variants in peers.values() if isinstance(variants, dict)
                for turns in variants.values() for figures in turns), default=0)


def limit(job, name, shape, copy_rate, seconds):
    """(seconds of the products, of the copies) that a job on encoded rows takes on this machine at best.

    Raises: Unavailable where the work of the model is not counted.
    """
    M, B = SHAPES[shape].fields, SHAPES[shape].batch
    few = dataclasses.replace(SHAPES[shape], ids=10 * M)          # what an id takes is the same for any number of them
    model = built(new_model(name, B), few)
    sizes = {True: 0, False: 0}
    for array in parameters(model).values():
        sizes[len(array) == few.ids] += array.size
    of_an_id = sizes[True] // few.ids
    if job == "step":
        products, moved = work.of_a_step(model, drawn_slots(SHAPES[shape], B)[0], of_an_id, sizes[False])
        return least_seconds(products, moved, B, B, copy_rate, seconds)
    products, moved = work.of_scoring(model, M, 1_000_000, of_an_id)
    return least_seconds(products, moved, 1_000_000, B, copy_rate, seconds)


def bound(job, name, shape, value, rates, seconds):
    """What share of this machine's limit a figure has reached, as text; only for the jobs on encoded rows."""
    if job not in ("step", "score-encoded"):
        return None
    try:
        of_products, of_copies = in_new_process(limit, job, name, shape, rates["copy GB/s"], seconds / 5)
    except Unavailable as error:
        return str(error)
    unit = 1000 if job == "step" else 1
    least = unit * (of_products + of_copies)
    return (f"{least:.3f} {UNITS.get(job, 's')}: {least / value:.0%} reached (products {unit * of_products:.3f}, "
            f"copies {unit * of_copies:.3f})")


def summary(job, name, shape, peers, limit_text=None):
    """The lines of a job: minictr, then each peer with its ratio and the goal, and the limit."""
    unit = UNITS.get(job, "s")
    heading = f"{job:13} {name:13} {shape:7}" if name else f"{job:13} {'':21}"
    mine = peers.get("minictr")
    if not isinstance(mine, dict):
        return [f"{heading} minictr failed: {mine}"]
    _, my_median, low, high = best(mine)
    others = most_disturbed(peers)
    valid = others <= DISTURBED and not void(peers)
    lines = [f"{heading} {'minictr':18} {my_median:9.3f} {unit:2} ({low:.3f} to {high:.3f})"]
    for peer, variants in peers.items():
        if peer == "minictr":
            continue
        line = f"{'':35} {peer:18}"
        if isinstance(variants, str):
            lines.append(f"{line} left out: {variants}")
            continue
        variant, median, low, high = best(variants)
        line += f" {median:9.3f} {unit:2} ({low:.3f} to {high:.3f})"
        if peer != "minictr as deepctr":
            like = "minictr as deepctr" if peer == "deepctr" and "minictr as deepctr" in peers else "minictr"
            ratio = median / (best(peers[like])[1] if isinstance(peers[like], dict) else my_median)
            line += f"  ratio {ratio:5.2f}"
            goal = GOALS.get("deepctr" if peer == "deepctr" else job, {}).get(name.split("-")[0]) if name else None
            if peer == "torch.compile" and job in ("step", "score-encoded"):
                goal = 1
            if goal and (peer != "deepctr" or job == "fit"):
                line += f"  goal {goal} {('met' if ratio >= goal else 'MISSED') if valid else '(not judged)'}"
            line += "" if variant == "default" else f"  [{variant}]"
        lines.append(line)
    if reason := void(peers):
        lines.append(f"{'':35} VOID: {reason}")
    if others > DISTURBED:
        lines.append(f"{'':35} DISTURBED: other processes kept up to {others:.1f} cores busy; measure again")
    if limit_text:
        lines.append(f"{'':35} limit: {limit_text}")
    return lines


def main(arguments=None):
    """Measure, print the lines of each job as soon as they are there, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*NAMES, *RELATIVES], default=NAMES)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--peers", nargs="*", choices=(*PEERS, "before"), default=list(PEERS))
    parser.add_argument("--before-python", default=os.environ.get("MINICTR_BEFORE_PYTHON"), metavar="PATH",
                        help="Python of the environment of the peer \"before\" (default: MINICTR_BEFORE_PYTHON)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="about, for each timing of a turn")
    parser.add_argument("--gigaflop", type=float, default=60, help="size of fit, predict_proba and attention")
    parser.add_argument("--encode-rows", type=int, default=10_000_000, help="rows of the job encode")
    parser.add_argument("--quick", action="store_true", help="one or two minutes: one turn, small jobs, ml-1m")
    parser.add_argument("--keep-environment", action="store_true", help="leave variables that pin instructions")
    parser.add_argument("--json", help="a file to write all figures to")
    options = parser.parse_args(arguments)
    if options.quick:
        options.turns, options.seconds, options.gigaflop, options.encode_rows = 1, 0.1, 2, 100_000
        options.shapes = ["ml-1m"]
    if "before" in options.peers and (reason := before.why_not(options.before_python)):
        parser.error(f"before: {reason}")
    pinned = {name: os.environ[name] for name in PINS if name in os.environ}
    if not options.keep_environment:
        for name in pinned:
            del os.environ[name]                                  # before the processes of the turns start
    start = time.perf_counter()
    with disturbance() as others:
        rates = in_new_process(machine_rates)
    about = machine(("numpy", "pandas", "torch", "deepctr-torch"))
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(", ".join(f"{name} {value:.1f}" for name, value in rates.items()))
    if pinned:
        print("kept from" if options.keep_environment else "taken out of", "the environment:",
              ", ".join(f"{name}={value}" for name, value in pinned.items()))
    if others and others[0] > DISTURBED:
        print(f"DISTURBED: other processes kept {others[0]:.1f} cores busy while these rates were measured")
    print(f"{options.turns} turns, {options.seconds} s a timing, tables of {options.gigaflop} GFLOP and at most "
          f"1,000,000 rows or {MOST_CELLS:,} cells; default settings, Adam 0.001, batches "
          + ", ".join(f"{shape} {SHAPES[shape].batch}" for shape in options.shapes))
    peers, left_out = [], {}
    for peer in [peer for peer in options.peers if peer != "before"]:
        if reason := why_missing(peer):
            left_out[peer] = reason
            print(f"{peer} is left out: {reason}")
        else:
            peers.append(peer)
    earlier = None
    if "before" in options.peers:
        earlier = before.compare(
            options.before_python, [(job, name, shape) for job in before.JOBS if job in options.jobs
                                    for name, shape in cases(options.models, options.shapes)],
            options.turns, options.seconds, report=functools.partial(print, flush=True))
        print("\n".join(before.summary(earlier["results"])), flush=True)
        if options.peers == ["before"]:
            options.jobs = []                                     # minictr alone is not what was asked for
    print("median (smallest to largest turn); ratio: the peer's time by minictr's\n", flush=True)

    todo = [(name, shape, [job for job in options.jobs if job in CASE_JOBS
                           and (job != "attention" or name.startswith(("AFM", "AutoInt")))])
            for name, shape in cases(options.models, options.shapes)]
    todo += [(name, "ratings", [job for job in options.jobs if job in ("predict", "recommend")])
             for name in options.models if name in MODELS]
    todo += [(None, None, ["encode"])] * ("encode" in options.jobs)
    results = []

    def report(name, shape, found):
        for job, of_peers in found.items():
            least = None
            if isinstance(of_peers.get("minictr"), dict):
                least = bound(job, name, shape, best(of_peers["minictr"])[1], rates, options.seconds)
            print("\n".join(summary(job, name, shape, of_peers, least)), flush=True)
            results.append({"job": job, "unit": UNITS.get(job, "s"), "model": name, "shape": shape, "peers": of_peers,
                            "limit": least, "void": void(of_peers)})

    for name, shape, jobs in todo:
        if jobs:
            report(name, shape, measure(name, shape, jobs, peers, options))
    if "import" in options.jobs:
        report(None, None, measure_imports(options))
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": about, "pinned": pinned, "rates": rates, "settings": vars(options),
                       "left out": left_out, "before": earlier, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
