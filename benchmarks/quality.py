"""How good the models get on real data, beside the same models in PyTorch and the papers' figures.

    python -m benchmarks.quality --data ml-1m
    python -m benchmarks.quality --data frappe --models FM AFM --seeds 0 1 --json frappe.json

Each minictr model and its PyTorch module start from the same weights and see the same batches in the same order,
with the same settings; the masks of dropout are each one's own. Both stop when 3 epochs have not lowered the
validation loss, and are judged with the weights of their best epoch. Values that training never saw get the mean row
of their field in minictr, and keep the row they started with in PyTorch. Every training runs in a process of its
own. Seconds are those of an epoch with its pass over the validation rows (median), on all cores; they mean
little on a machine that does other work. Memory is the peak of the whole process during training.

ml-1m: the protocol of the AutoInt paper (Song et al. 2019): like or dislike from 7 fields without user and movie,
random 80/10/10 (drawn anew for each seed), k = 16, Adam 0.001, batches of 1024. AFM has t = 16, DeepFM 400-400,
AutoInt 3 layers of 2 heads of 32, in the paper's form; no dropout. The paper has the time of each request; in a
copy of the data with positions for timestamps a substitute takes its place (see ``minictr.datasets.ml_1m``).

frappe: the task of the AFM paper (Xiao et al. 2017): squared loss on labels +1 and -1, RMSE of predictions clipped
to that range, the published split. FM has dropout 0.3 and Adagrad 0.05; AFM starts from minictr's FM, with dropout 0.2
and Adam 0.0003, ten times that for its attention. AFM-even is the control, the same with the attention frozen at even
weights: what training on alone brings. The paper's k = 256 and batches of 128 take long on a laptop: here k = t = 64
and 512 unless said otherwise. With the rebuilt train file, the train negatives are re-sampled.

Adam comes in two kinds: the textbook's moves all rows of a table at each step, the lazy one those that the batch
touched. Each library uses its default unless ``--adam`` says otherwise: PyTorch the first, minictr the second.
"""

import argparse
import copy
import json
import multiprocessing
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

import minictr
from minictr import AFM, FM, LR, AutoInt, DeepFM, Numerical
from minictr.datasets import frappe, ml_1m
from minictr.layers import sigmoid
from minictr.metrics import auc, log_loss, rmse
from minictr.training.loop import batches
from minictr.training.threads import n_cores

from .peers import Unavailable

PARTS = "train", "validation", "test"
PREDICT_ROWS = 8192     # rows that torch predicts at once

# AutoInt, table 2; AFM, table 2 (LibFM's and AFM's line, k = 256)
PAPER = {
    "ml-1m": {"LR": {"AUC": 0.7716, "log loss": 0.4424}, "FM": {"AUC": 0.8252, "log loss": 0.3998},
              "AFM": {"AUC": 0.8227, "log loss": 0.4048}, "DeepFM": {"AUC": 0.8437, "log loss": 0.3846},
              "AutoInt": {"AUC": 0.8456, "log loss": 0.3797}},
    "frappe": {"FM": {"RMSE": 0.3385}, "AFM": {"RMSE": 0.3102}, "AFM-even": {"RMSE": float("nan")}},
}


# ---- data and models -------------------------------------------------------------------------------------

def load_ml_1m(rows, seed):
    """{part: (X, y)}, split at random 80/10/10; of ``rows`` rows drawn at random, or all."""
    X, y = ml_1m.load_ctr()
    order = np.random.default_rng(seed).permutation(len(y))[:rows]
    cuts = np.split(order, [len(order) * 8 // 10, len(order) * 9 // 10])
    return {part: (X.iloc[cut], y[cut]) for part, cut in zip(PARTS, cuts, strict=True)}


def load_frappe(rows, seed):
    """{part: (X, y)}, the published split; of at most ``rows`` rows in each part."""
    tables = frappe.load()
    return {part: (tables[part][:rows].drop(columns="label"), tables[part]["label"].to_numpy()[:rows])
            for part in PARTS}


def ml_1m_model(name, settings, fm_file):
    """The untrained model of that name, for ml-1m."""
    fields = ["gender", "age", "occupation", "zip_code", "release_year", Numerical("request_time"), "genres"]
    common = {"batch_size": 1024, "learning_rate": 0.001, "epochs": 60, "fields": fields, **settings}
    k, t = common.pop("embedding_dim", 16), common.pop("attention_dim", 16)
    own = {"LR": (LR, {}), "FM": (FM, {"embedding_dim": k}), "AFM": (AFM, {"embedding_dim": k, "attention_dim": t}),
           "DeepFM": (DeepFM, {"embedding_dim": k, "deep_layers": (400, 400)}),
           "AutoInt": (AutoInt, {"embedding_dim": k, "attention_dim": 32, "num_heads": 2, "num_layers": 3})}
    if name not in own:
        raise Unavailable(f"there are no settings of {name} for ml-1m; there are some for {', '.join(own)}")
    cls, sizes = own[name]
    return cls(**sizes, **common)


def frappe_model(name, settings, fm_file):
    """The untrained model of that name, for Frappe; AFM starts from the FM saved in ``fm_file``."""
    common = {"task": "regression", "batch_size": 512, "epochs": 60, **settings}
    k, t = common.pop("embedding_dim", 64), common.pop("attention_dim", 64)
    if name not in ("FM", "AFM", "AFM-even"):
        raise Unavailable(f"there are no settings of {name} for frappe; there are some for FM, AFM, AFM-even")
    if name == "FM":
        return FM(embedding_dim=k, dropout=0.3, optimizer="adagrad", learning_rate=0.05, **common)
    return AFM.from_fm(FM.load(fm_file), attention_dim=t, dropout=0.2, learning_rate=0.0003,
                       lr_multipliers={"attention": 10}, freeze=("attention",) if name == "AFM-even" else (), **common)


LOADERS = {"ml-1m": load_ml_1m, "frappe": load_frappe}
MODELS = {"ml-1m": ml_1m_model, "frappe": frappe_model}


def metrics(data, y, s):
    """The paper's measures of the logits or predicted values ``s``."""
    if data == "ml-1m":
        return {"AUC": auc(y, s), "log loss": log_loss(y, sigmoid(s.astype(np.float64)))}
    return {"RMSE": rmse(y, np.clip(s, -1, 1))}


# ---- training --------------------------------------------------------------------------------------------

def train_minictr(model, parts):
    """Fit the model; returns its outputs for the test rows and a dict of how training went."""
    model.fit(*parts["train"], validation=parts["validation"])
    history = model.history_
    return model.decision_function(parts["test"][0]), {
        "best epoch": history.attrs["best_epoch"], "epochs": len(history),
        "validation loss": history["val_loss"].min(), "s/epoch": history["seconds"].median()}


def train_torch(model, parts, sparse=False):
    """Train the PyTorch module that starts as ``model.fit`` would; returns the same as ``train_minictr``."""
    import torch

    from . import torch_models

    torch.manual_seed(model.seed)
    torch.set_num_threads(n_cores())
    torch.set_flush_denormal(True)
    torch.sparse.check_sparse_tensor_invariants.disable()
    model.prepare(*parts["train"])
    slots = model.encoder_.encode(pd.concat([parts[part][0] for part in PARTS]))      # all at once: of one width
    module = torch_models.like(model, slots, sparse)
    optimizers = torch_models.optimizers(module, model)
    loss_function = (torch.nn.functional.binary_cross_entropy_with_logits if model.task_ == "binary"
                     else torch.nn.functional.mse_loss)
    y = {part: torch.tensor(parts[part][1], dtype=torch.float32) for part in PARTS}
    ends = np.cumsum([len(y[part]) for part in PARTS])
    inputs = {part: torch_models.tensors(slots[end - len(y[part]):end])
              for part, end in zip(PARTS, ends, strict=True)}

    def output(part, rows):
        ids, x = inputs[part]
        return module(ids[rows], None if x is None else x[rows])

    @torch.no_grad()
    def predict(part):
        module.eval()
        return torch.cat([output(part, slice(start, start + PREDICT_ROWS))
                          for start in range(0, len(y[part]), PREDICT_ROWS)])

    order = np.random.default_rng(model.seeds()["order"])         # as in minictr: the same batches
    best_loss, best_epoch, best_state, seconds = np.inf, 0, None, []
    for epoch in range(1, model.epochs + 1):
        start = time.perf_counter()
        module.train()
        for rows in batches(order.permutation(len(y["train"])), model.batch_size):
            rows = torch.from_numpy(rows)
            loss = loss_function(output("train", rows), y["train"][rows])
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        validation_loss = loss_function(predict("validation"), y["validation"]).item()
        seconds.append(time.perf_counter() - start)
        if validation_loss < best_loss:
            best_loss, best_epoch, best_state = validation_loss, epoch, copy.deepcopy(module.state_dict())
        elif epoch - best_epoch >= model.patience:
            break
    module.load_state_dict(best_state)
    return predict("test").numpy(), {"best epoch": best_epoch, "epochs": len(seconds),
                                     "validation loss": best_loss, "s/epoch": float(np.median(seconds))}


def run(library, data, name, seed, rows, settings, sparse, fm_file):
    """One training, in a process of its own; returns a dict, one line of the result."""
    parts = LOADERS[data](rows, seed)
    model = MODELS[data](name, {**settings, "seed": seed}, fm_file)
    forget_peak_memory()
    if library == "minictr":
        s, course = train_minictr(model, parts)
        if data == "frappe" and name == "FM":
            model.save(fm_file)
    else:
        s, course = train_torch(model, parts, sparse)
    course["peak MB"] = peak_memory()
    return {"model": name, "library": library, "seed": seed, **metrics(data, parts["test"][1], s), **course}


def forget_peak_memory():
    """Let the peak of this process's memory start at what it holds now; Linux only."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory():
    """Peak of this process's resident memory in MB since ``forget_peak_memory``; None where there is no /proc."""
    if sys.platform != "linux":
        return None
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024)


# ---- the command -----------------------------------------------------------------------------------------

def installed(package):
    """The version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def machine(packages=("numpy", "pandas", "torch")):
    """What the figures depend on besides the code."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0].split(":")[1].strip() if names else processor
    return {"processor": processor, "cores": n_cores(), "system": platform.system(),
            "python": platform.python_version(), "minictr": minictr.__version__,
            **{name: installed(name) for name in packages}}


def tables(results, data, with_paper):
    """Two tables: a line for each training, with the paper's figures, and each library's mean and spread over seeds."""
    measures = list(PAPER[data]["FM"])
    lines = pd.DataFrame(results)
    over_seeds = lines.groupby(["model", "library"], sort=False)[measures].agg(["mean", "std"])
    if with_paper:
        for place, measure in enumerate(measures, 3 + len(measures)):
            lines.insert(place, f"paper's {measure}", [PAPER[data][name][measure] for name in lines["model"]])
    return lines, over_seeds


def main(arguments=None):
    """Parse the arguments, run every training in turn, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, choices=list(PAPER))
    parser.add_argument("--models", nargs="+", help="some of the models; all if not given")
    parser.add_argument("--libraries", nargs="+", choices=["minictr", "torch"], default=["minictr", "torch"])
    parser.add_argument("--rows", type=int, help="use only this many rows (of Frappe: of each part)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=60, help="at most so many")
    parser.add_argument("--embedding-dim", type=int, help="k, where it is not to be 16 (Frappe: 64)")
    parser.add_argument("--attention-dim", type=int, help="AFM's t, where it is not to be 16 (Frappe: 64)")
    parser.add_argument("--batch-size", type=int, help="where it is not to be 1024 (Frappe: 512)")
    parser.add_argument("--adam", choices=["default", "all-rows", "lazy"], default="default",
                        help="which rows of the tables Adam moves, in both libraries")
    parser.add_argument("--json", type=Path, help="a file to write the results to as well")
    options = parser.parse_args(arguments)
    names = options.models or list(PAPER[options.data])
    for name in names:
        if name not in PAPER[options.data]:
            parser.error(f"there is no {name} for {options.data}; there are {', '.join(PAPER[options.data])}")
    if options.data == "frappe" and names[0] != "FM":
        parser.error("AFM starts from the FM: --models FM AFM")
    if options.data == "frappe" and "minictr" not in options.libraries:
        parser.error("both AFMs start from minictr's FM: --libraries minictr torch")
    settings = {"epochs": options.epochs, "embedding_dim": options.embedding_dim,
                "attention_dim": options.attention_dim, "batch_size": options.batch_size}
    settings = {name: value for name, value in settings.items() if value is not None}
    settings["lazy"] = options.adam != "all-rows"

    results = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            for name in names:
                for library in sorted(set(options.libraries)):    # minictr first: its FM is what AFM starts from
                    result = in_new_process(run, library, options.data, name, seed, options.rows, settings,
                                            options.adam == "lazy", Path(folder) / f"fm_{seed}.npz")
                    print(json.dumps(result), file=sys.stderr, flush=True)
                    results.append(result)
    lines, over_seeds = tables(results, options.data, with_paper=options.rows is None)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(lines.to_string(index=False, float_format="{:.4f}".format, formatters={"s/epoch": "{:.1f}".format}))
    print("\nover seeds: mean, and standard deviation of one training")
    print(over_seeds.to_string(float_format="{:.4f}".format))
    if options.json:
        outcome = {"machine": machine(), "arguments": {**vars(options), "json": str(options.json)}, "results": results}
        options.json.write_text(json.dumps(outcome, indent=1))


def in_new_process(function, *arguments):
    """Call a function in a fresh Python process: its memory is its own, and torch is only where it is used."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
