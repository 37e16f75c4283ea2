"""Does the attention tell the truth, and what do explanations cost? ``python -m benchmarks.attention_truth``.

    python -m benchmarks.attention_truth clicks --model AFM --worlds 10
    MINICTR_DATA=... python -m benchmarks.attention_truth movielens --model AFM --rows 100000 --picture afm.png
    MINICTR_DATA=... python -m benchmarks.attention_truth cost --model AFM --data ml-1m

clicks: in worlds of ``make_clicks``, the rank (1 is first, of 28) of each planted pair, from the largest to the
smallest, by everything that ``explain.pair_quantities`` says of pairs, on rows that training did not see; then the
means over worlds, and the same of models fitted on shuffled labels for as many epochs, where the mean rank of guessing
is 14.5.

movielens: ``explain.truthfulness`` on MovieLens-1M; 80 % of the rows to train on, a tenth of these for validation.

cost: seconds, and the largest memory beyond what was there before, of each explanation of a fitted model: on all rows
of MovieLens-1M with 9 fields, user and movie included ("ml-1m"), or on drawn rows of 39 fields ("criteo").
"""

import argparse
import time
import tracemalloc

import numpy as np
import pandas as pd

from benchmarks.planted import ranks
from benchmarks.shapes import SHAPES, drawn_table
from minictr import AFM, FM, AutoInt, DeepFM, datasets, explain, plots
from minictr.checks import split_rows

MODELS = {model.__name__: model for model in (FM, AFM, AutoInt, DeepFM)}
EPOCHS = 15


def planted_ranks(model, train, test):
    """Ranks of the planted pairs by each quantity of a fitted model: {quantity: list}."""
    truth = train.planted_pairs.query("value > 0").sort_values("value", ascending=False, kind="stable")
    pairs = list(zip(truth["field_i"], truth["field_j"], strict=True))
    table = explain.pair_quantities(model, test.X, test.y)
    return {name: ranks(table[["field_i", "field_j"]].assign(value=table[name]), pairs) for name in table.columns[2:]}


def clicks(args):
    """Print the ranks in each world, and their means."""
    found, noise = [], []
    for seed in range(args.first_world, args.first_world + args.worlds):
        train = datasets.make_clicks(args.rows, seed=seed)
        test = datasets.make_clicks(args.test_rows, seed=seed, rows_seed=1)
        model = MODELS[args.model](epochs=EPOCHS, seed=seed).fit(train.X, train.y, validation=0.1)
        found.append(planted_ranks(model, train, test))
        rng = np.random.default_rng(seed)
        train.y, test.y = rng.permutation(train.y), rng.permutation(test.y)
        for_as_long = model.clone().set_params(epochs=model.history_.attrs["best_epoch"])     # no early stopping
        noise.append(planted_ranks(for_as_long.fit(train.X, train.y), train, test))
        print(f"world {seed}: " + "; ".join(f"{name} {rank}" for name, rank in found[-1].items()), flush=True)
    for title, worlds in (("fitted", found), ("fitted on shuffled labels", noise)):
        print(f"{args.model} {title}: mean rank over {len(worlds)} worlds, mean number of planted pairs among the "
              "first five")
        for name in worlds[0]:
            rank = np.array([world[name] for world in worlds])
            print(f"    {name:24} {np.round(rank.mean(axis=0), 1).tolist()}  {(rank <= 5).sum(axis=1).mean():.1f} of 5")


def movielens(args):
    """Print the agreement on MovieLens-1M; save its picture."""
    X, y = datasets.ml_1m.load_ctr(ids=args.ids)
    rows = np.random.default_rng(0).permutation(len(X))[:args.rows]
    X, y = X.iloc[rows].reset_index(drop=True), y[rows]
    learn, held_out = split_rows(len(y), 0.2, seed=0)
    train, test = (X.iloc[learn], y[learn]), (X.iloc[held_out], y[held_out])
    model = MODELS[args.model](epochs=EPOCHS, batch_size=1024, learning_rate=0.002).fit(*train, validation=0.1)
    start = time.perf_counter()
    table = explain.truthfulness(model, train, test, seeds=args.seeds, validation=0.1, verbose=True)
    print(f"{args.model}, {len(y):,} rows, {len(X.columns)} fields, {time.perf_counter() - start:.0f} s")
    print(table.round(2).to_string(), table.attrs, sep="\n")
    quantities = explain.pair_quantities(model, *test)
    print(quantities.sort_values(quantities.columns[2], ascending=False).round(4).to_string())
    if args.picture:
        plots.truthfulness(table).figure.savefig(args.picture)


def cost(args):
    """Print seconds and memory of each explanation."""
    if args.data == "ml-1m":
        X, y = datasets.ml_1m.load_ctr(ids=True)
    else:
        X, y = drawn_table(SHAPES["criteo"], args.rows or 100_000)
    X, y = X[:args.rows], y[:args.rows]
    model = MODELS[args.model](epochs=1, batch_size=4096).fit(X, y)
    jobs = {"attention": lambda: explain.attention(model, X),
            "pair_importance": lambda: explain.pair_importance(model, X),
            "interaction_effects": lambda: explain.interaction_effects(model, X),
            "permutation_importance": lambda: explain.permutation_importance(model, X, y, repeats=1),
            "permutation_importance of pairs": lambda: explain.permutation_importance(
                model, X, y, repeats=1, pairs=True),
            "pair_removal": lambda: explain.pair_removal(model, X, y)}
    for name, job in jobs.items():
        if args.only and name not in args.only:
            continue
        tracemalloc.start()
        start = time.perf_counter()
        try:
            job()
        except TypeError as error:
            print(f"{name}: {error}")
        else:
            seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1] / 1e6
            print(f"{args.model}, {len(y):,} rows, {len(X.columns)} fields: {name} {seconds:.1f} s, {peak:.0f} MB",
                  flush=True)
        tracemalloc.stop()


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["clicks", "movielens", "cost"])
    parser.add_argument("--model", choices=MODELS, default="AFM")
    parser.add_argument("--rows", type=int, help="rows to use; 20,000 clicks, or all")
    parser.add_argument("--test-rows", type=int, default=20_000)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--first-world", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ids", action="store_true", help="with user and movie")
    parser.add_argument("--picture", help="file to save the picture of the agreement to")
    parser.add_argument("--data", choices=["ml-1m", "criteo"], default="ml-1m")
    parser.add_argument("--only", nargs="+", help="names of explanations to measure")
    args = parser.parse_args()
    pd.set_option("display.width", 200)
    if args.what == "clicks":
        args.rows = args.rows or 20_000
    {"clicks": clicks, "movielens": movielens, "cost": cost}[args.what](args)


if __name__ == "__main__":
    main()
