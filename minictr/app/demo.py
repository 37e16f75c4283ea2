"""The demo: five models on one data set, one table of scores, and pictures of what the models learned."""

import dataclasses
import sys
import textwrap
import threading
import time

import numpy as np

from .. import datasets, explain, plots
from ..layers import parameters
from ..models import AFM, FM, LR, AutoInt, DeepFM
from ..text import text_table
from ..training.threads import Threads, n_cores, one_blas_thread
from .pictures import blank_axes, draw_waterfall, save, triangle_inches
from .scores import score_cells
from .whole import whole_folder

CLICKS_ROWS = 50_000        # to train on; enough for the planted pairs to show
EXPLAINED_ROWS = 5_000      # test rows that the pictures are about


@dataclasses.dataclass
class Task:
    """What the models are trained and tested on.

    Attributes
    ----------
    name : for headings.
    train, validation, test : (X, y) each.
    truth : the test rows as ``make_clicks`` drew them, with what it knows of them; None for real data.
    """

    name: str
    train: tuple
    validation: tuple
    test: tuple
    truth: datasets.Clicks | None = None


def run_demo(data, rows, seed, out):
    """Train, print the table, draw the pictures.

    Parameters
    ----------
    data : "clicks" (drawn on the spot) or "ml-1m" (MovieLens-1M).
    rows : with "clicks" how many rows to train on, with "ml-1m" how many to use in all; None: 50,000, or all.
    seed : draws the rows and starts the models.   out : folder for the pictures, made if need be.
    """
    if data == "clicks":
        task, models = clicks_task(rows or CLICKS_ROWS, seed), clicks_models(seed)
    else:
        task, models = ml_1m_task(rows, seed), ml_1m_models(seed)
    with whole_folder(out) as folder:                             # first of all: it may be no folder to write to
        train_and_draw(task, models, folder, out)


def train_and_draw(task, models, folder, out):
    """Train the models and print their scores; draw into ``folder``, whose content will stand in ``out``."""
    n_train, n_validation, n_test = (len(y) for _, y in (task.train, task.validation, task.test))
    print(f"{task.name}: {n_train:,} rows to train on, {n_validation:,} for early stopping (validation), "
          f"{n_test:,} to test on; {task.test[0].shape[1]} fields\n", flush=True)

    y = task.test[1]
    scores = [["base rate", "1", "", "", *score_cells(y, np.full(len(y), task.train[1].mean()))]]
    scores += train_side_by_side(models, task)
    if task.truth:
        scores.append(["best possible", "", "", "", *score_cells(y, task.truth.probability)])
    print(text_table([["model", "parameters", "seconds", "epochs", "AUC", "log loss"], *scores]))
    print(textwrap.fill(
        "Seconds: of one core's time, to train. AUC: higher is better; log loss: lower is better; both on the test "
        "rows. This is one data set, one seed and one choice of settings: small differences between the models say "
        "nothing about which one is better.", 110))

    print("\ndrawing ...", file=sys.stderr, flush=True)
    print(f"\nPictures in {out}:")
    for name, what_to_see in draw_pictures(task, models, folder):
        print(f"  {name}\n{textwrap.indent(textwrap.fill(what_to_see, 106), '    ')}", flush=True)


# ---- data and settings -------------------------------------------------------------------------------------

def clicks_task(rows, seed):
    """Three draws from one world: ``rows`` to train on, a quarter to stop by, half to test on."""
    train, validation, test = (datasets.make_clicks(n, seed=seed, rows_seed=draw)
                               for draw, n in enumerate((rows, rows // 4, rows // 2)))
    return Task("clicks drawn from a known truth", *((part.X, part.y) for part in (train, validation, test)), test)


def clicks_models(seed):
    """The models for ``make_clicks``, by name: few epochs of large steps, enough for the planted pairs to show."""
    common = {"batch_size": 1024, "learning_rate": 0.01, "seed": seed, "n_threads": 1}
    return by_name(LR(epochs=5, **common),
                   FM(embedding_dim=8, epochs=8, **common),
                   AFM(embedding_dim=8, attention_dim=16, epochs=7, **common | {"learning_rate": 0.009}),
                   AutoInt(embedding_dim=16, attention_dim=8, num_heads=2, num_layers=2, epochs=4,
                           lr_multipliers={"embedding": 5}, **common | {"batch_size": 512, "learning_rate": 0.004}),
                   DeepFM(embedding_dim=8, deep_layers=(64, 32), epochs=6, **common))


def ml_1m_task(rows, seed):
    """MovieLens-1M with both ids and the 7 fields beside them, split at random: 80, 10 and 10 %."""
    X, y = datasets.ml_1m.load_ctr(ids=True)
    order = np.random.default_rng(seed).permutation(len(y))[:rows]
    parts = np.split(order, [len(order) * 8 // 10, len(order) * 9 // 10])
    return Task("MovieLens-1M, liked or not (few epochs, to end within minutes)",
                *((X.iloc[part], y[part]) for part in parts))


def ml_1m_models(seed):
    """The models for MovieLens-1M, by name: a few large steps, for a demo that ends within minutes."""
    common = {"batch_size": 1024, "patience": 1, "seed": seed, "n_threads": 1}
    return by_name(LR(learning_rate=0.004, epochs=6, **common),
                   FM(embedding_dim=8, learning_rate=0.004, epochs=6, **common),
                   AFM(embedding_dim=8, attention_dim=16, learning_rate=0.004, epochs=5, **common),
                   AutoInt(embedding_dim=16, attention_dim=8, num_heads=2, num_layers=2, learning_rate=0.002,
                           epochs=4, **common),
                   DeepFM(embedding_dim=8, deep_layers=(128, 64), learning_rate=0.001, epochs=5, **common))


def by_name(*models):
    """The models by the name of their class."""
    return {type(model).__name__: model for model in models}


# ---- training and scores -----------------------------------------------------------------------------------

def train_side_by_side(models, task):
    """Fit the models, each on a thread of its own and as many at a time as there are cores; returns their lines.

    What a model learns does not depend on who trains beside it: it has one thread, and BLAS none of its own.
    """
    stop = threading.Event()

    def train(number, model):
        try:
            return train_and_score(model, task, f"{number} of {len(models)}", stop)
        except BaseException:       # Ctrl-C, above all: whoever trains beside it ends with its epoch
            stop.set()
            raise

    with one_blas_thread(), Threads(min(n_cores(), len(models))) as threads:
        try:
            return threads.map(lambda job: train(*job), list(enumerate(models.values(), start=1)))
        finally:
            stop.set()


def train_and_score(model, task, which, stop):
    """Fit one model, unless the Event ``stop`` is set meanwhile; its line of the table. Says on stderr what it does."""
    def end_if_stopped(model, line):
        if stop.is_set():
            raise KeyboardInterrupt

    name = type(model).__name__
    sys.stderr.write(f"training {name} ({which}) ...\n")     # print would write the end of the line apart
    start = time.thread_time()
    model.fit(*task.train, validation=task.validation, after_epoch=end_if_stopped)
    seconds = time.thread_time() - start
    if model.history_.attrs["interrupted"]:
        raise KeyboardInterrupt
    X, y = task.test
    n_parameters = sum(array.size for array in parameters(model).values())
    return [name, f"{n_parameters:,}", f"{seconds:.1f}", str(len(model.history_)),
            *score_cells(y, model.predict_proba(X)[:, 1])]


# ---- pictures ----------------------------------------------------------------------------------------------

def draw_pictures(task, models, out):
    """Draw one picture after the other; yields (file name, what to look at)."""
    X = task.test[0][:EXPLAINED_ROWS]
    attention = explain.attention(models["AFM"], X)
    learned = {"AFM: attention": attention,
               "FM: purified contribution": explain.pair_importance(models["FM"], X, purified=True),
               "AFM: contribution": explain.pair_importance(models["AFM"], X)}
    side = triangle_inches(X.columns)
    not_comparable = ("Attention is a share of 1 and says where the AFM looks; a contribution is in log-odds and says "
                      "what a pair adds (purified: without what one of its fields could say alone). Compare which "
                      "pairs stand out, not the numbers.")

    if task.truth:
        axes = blank_axes(2, 2, side, side)
        plots.truth_vs_learned(task.truth.planted_pairs, *learned.values(), axes=axes)
        for ax, title in zip(axes.flat, ["the truth: planted effect", *learned], strict=True):
            ax.set_title(title)
        yield save(axes, out / "planted_vs_learned.png"), (
            "Top left is what was planted: do the same cells stand out in the other three? " + not_comparable)
    else:
        axes = blank_axes(1, 3, side, side)
        for ax, (title, table) in zip(axes.flat, learned.items(), strict=True):
            plots.pair_heatmap(table, ax=ax)
            ax.set_title(title)
        yield save(axes, out / "attention_and_contribution.png"), (
            "Which pairs stand out in one picture and not in another? " + not_comparable)

    axes = blank_axes(1, 2, 6.5, 5.5)
    for ax, title in zip(axes.flat, ["AFM: attention", "AFM: contribution"], strict=True):
        plots.pair_ranking(learned[title], ax=ax)
        ax.set_title(title)
    yield save(axes, out / "pair_ranking.png"), (
        "Two questions to one model: the pairs on which the AFM puts its attention (left; the dashed line is what "
        "every pair would get if all were alike) and the pairs that move its logit (right) need not come in one order.")

    autoint = models["AutoInt"]
    axes = blank_axes(autoint.num_layers, autoint.num_heads, side * 0.75, side * 0.65)
    plots.attention_grid(explain.attention(autoint, X), axes=axes)
    yield save(axes, out / "autoint_attention.png"), (
        "Each row of a panel is a field that asks, each column one that answers, and a row sums to 1: which fields "
        "does each head look at, and does the second layer look elsewhere than the first?")

    axes = blank_axes(2, 3, 5, 4)
    for ax, (name, model) in zip(axes.flat, models.items(), strict=False):
        plots.history(model.history_, ax=ax)
        ax.get_legend().set_title(name)
    axes[-1, -1].set_visible(False)     # five models in six places
    yield save(axes, out / "training_curves.png"), (
        "Validation loss that turns upwards while the training loss goes on falling is overfitting; the green circle "
        "is the epoch whose weights were kept.")

    p = models["AFM"].predict_proba(X)[:, 1]
    row = int(np.argmin(np.abs(p - 0.9)))       # a clear case, but not one at the far end
    axes = blank_axes(1, 1, 7.5, 6)
    bill = explain.contributions(models["AFM"], X.iloc[[row]], support=task.train[0]).assign(row=row)
    draw_waterfall(bill, X.iloc[row], axes[0, 0])
    truth = f" The truth for this row is {task.truth.probability[row]:.3f}." if task.truth else ""
    yield save(axes, out / "one_prediction.png"), (
        f"How the AFM comes to {p[row]:.3f} for test row {row}: read from the top, each bar starts where the one above "
        f"ended, and at the bottom stands the logit; rows: of the training table, with these values.{truth}")
