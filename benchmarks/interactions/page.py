"""The page and the picture of the results: made from the lines of finished trainings and nothing else."""

import statistics

import numpy as np

from benchmarks.papers import results
from benchmarks.papers.page import EMPTY, in_order, markdown
from benchmarks.papers.runner import in_words

from . import measures
from .functions import PAIRS
from .problems import CLICKS, FOUR, KNOWN, PROBLEMS, TEN
from .runner import DRAW, TEST, Budget, chosen, head
from .systems import SYSTEMS

HEAD = """# Measures of interactions against a known truth

Which measure finds the pairs of fields that interact, and which model has to be asked? Here the pairs are known. A
figure is the ROC AUC of the ranking of all pairs: how often a pair that interacts is ranked above one that does not
(.5 is guessing). This page is made by `python -m benchmarks.interactions --page` from the trainings that `python -m
benchmarks.interactions` has run; `--quick` gives an impression in minutes.

The ten functions are those of [Tsang, Cheng & Liu (2018)](https://arxiv.org/abs/1705.04977), table 1, without noise:
10,000 rows each to train on, to choose settings by, and to measure on; the rows are drawn anew for each seed. For each
function and model the validation error on the first seed's rows, and nothing else, chooses how the model gets its
numbers: as they are, in 12 bins, or in bins of six shifted grids that overlap. All models have k = 8, Adam at 0.005,
batches of 256, at most 80 epochs with patience 12. (These, and the overlapping bins, were not found blindly: trials
with some of the functions, on the first seed's rows, came before, and their rankings were seen.) A cell marked {empty}
was not run.
"""

READING = """## How to read it

- *Contributions* as a model has them carry what one of their fields could say alone. *Purified*, they do not, for some
  five times the time. Both know the terms of pairs only: what a deep part makes of a pair is not in them, nor is what
  takes three fields together.
- *Effects by partial dependence* average over all other fields before they square. Of x8 x9 x10 (F5) nothing is left
  then, whatever the model knows. The *mean square* of the mixed differences averages afterwards, and finds it, if the
  model has learned it; what the model has learned of mere noise it counts too.
- *Removal* and *attention* say what a model makes use of and where it looks. Neither is a measure of interaction.
- A pair whose part in the variance is smaller than the model's error cannot be told from noise by anything that looks
  at the model.
- *NID* is run with its authors' settings; *FAST* is interpret's, after main effects; the analysis of variance tests
  products of the numbers, so it sees an even effect such as |x1 - x2| only as far as a product is like it.
"""


def write(path, lines_path):
    """Write the page, and its picture beside it."""
    lines = results.read(lines_path)
    found = outcomes(lines)
    path.write_text(page(lines, found, path.with_suffix(".png").name), encoding="utf-8")
    picture(found).savefig(path.with_suffix(".png"), dpi=110)


def outcomes(lines, budget=None):
    """{(system, measure): {problem: AUC of each seed}} of the trainings whose settings are the chosen ones."""
    found = {}
    for name, problem, line in tests(lines, budget):
        for measure, auc in line["AUC"].items():
            found.setdefault((name, measure), {}).setdefault(problem, []).append(auc)
    return found


def tests(lines, budget=None):
    """(system, problem, line) of each training that was asked for its pairs."""
    for system in SYSTEMS.values():
        for problem in system.problems:
            settings = chosen(problem, system, lines, budget or Budget())
            for seed in () if settings is None else system.seeds:
                key = results.key(head(problem, system, TEST, seed, settings, budget or Budget()))
                if key in lines:
                    yield system.name, problem, lines[key]


def mean(by_problem, problems=TEN):
    """Mean AUC over problems; None where one of them is missing."""
    if any(problem not in by_problem for problem in problems):
        return None
    return statistics.fmean(statistics.fmean(by_problem[problem]) for problem in problems)


def page(lines, found, picture_name):
    """The whole page."""
    parts = [HEAD.format(empty=EMPTY), f"- {state(lines)}\n", "## The ten functions\n", table(found, TEN), best(found),
             f"![ROC AUC of models and measures on the ten functions]({picture_name})\n", READING,
             "## Purified contributions and effects of the same model\n", PURIFIED, purified(found),
             "## What is overlooked\n", overlooked(lines, found),
             "## ArchDetect's four functions\n", ARCHDETECT, table(found, FOUR),
             "## make_clicks\n", WORLDS, table(found, (CLICKS,)), "## What was chosen\n", settings(lines)]
    return "\n".join(parts)


PURIFIED = """\
Means over the ten functions. An FM's effect by partial dependence *is* the standard deviation of its purified term over
the same rows; the contribution is the mean of its absolute value, which ranks a little differently. Of a model with a
deep part only the terms of pairs are looked at by the first two, and the whole of it by the others.
"""

ARCHDETECT = """\
Those of [Tsang, Rambhatla & Liu (2020)](https://arxiv.org/abs/2006.10965), table 1: 40 inputs of 1 and -1. The
function is explained itself, without a model between, from the baseline (all -1) to the row (all 1); NID and the
analysis of variance learn from 10,000 random rows. A1 has products; A2, A3 and A4 have ANDs of three or 20 inputs. Of
random rows one in a million fires an AND of 20: what looks at random rows never sees it. `explain.mixed_differences`
looks at the two places where it shows.
"""

WORLDS = """\
Worlds of `make_clicks`: 20,000 rows of eight fields of words, numbers and lists, clicks drawn at random, and five of 28
pairs planted. Here the validation error chooses the dropout, or, of models without one, the L2 penalty.
"""


def state(lines):
    """How much has been run, when, and with which versions."""
    current = list(lines.values())
    if not current:
        return "Nothing has been run yet."
    versions = {}
    for line in current:
        for name, version in line["versions"].items():
            if version:
                versions.setdefault(name, []).append(version)
    words = ", ".join(f"{name} {' and '.join(in_order(found))}" for name, found in versions.items())
    dates = sorted(line["date"] for line in current)
    time = in_words(sum(line["cpu seconds"] for line in current))
    return f"{len(current)} trainings, from {dates[0]} to {dates[-1]}: {time} of one core's computing; {words}."


def table(found, problems=TEN):
    """A line for each system and measure, a column for each problem."""
    rows = []
    for (system, measure), by_problem in found.items():
        if not any(problem in by_problem for problem in problems):
            continue
        cells = [statistics.fmean(by_problem[problem]) if problem in by_problem else None for problem in problems]
        seeds = in_order(sorted({len(by_problem[problem]) for problem in problems if problem in by_problem}))
        total = [figure(mean(by_problem, problems))] * (len(problems) > 1)
        rows.append([system, measure.replace("|", "\\|"), *map(figure, cells), *total, "-".join(seeds)])
    return markdown(["", "measure", *problems] + ["mean"] * (len(problems) > 1) + ["seeds"], rows)


def figure(value):
    """Two or three digits: .95, 1, or the sign of an empty cell.

    >>> figure(0.9512), figure(1.0), figure(None)
    ('.951', '1', '—')
    """
    if value is None:
        return EMPTY
    return "1" if value > 0.9995 else f"{value:.3f}".removeprefix("0")


def leader(found):
    """The (system, measure) of a model with the highest mean over the ten functions; None if none is complete."""
    means = {key: mean(by_problem) for key, by_problem in found.items()
             if SYSTEMS[key[0]].family is not None and mean(by_problem) is not None}
    return max(means, key=means.get, default=None)


def best(found):
    """The highest mean of one model with one measure, beside that of the other methods."""
    key = leader(found)
    if key is None:
        return "No model has been run on all ten functions yet.\n"
    others = {name: mean(by_problem) for (name, measure), by_problem in found.items() if measure == "its own"}
    beside = "; ".join(f"{name} {figure(value)}" for name, value in others.items() if value is not None)
    by_seed = [statistics.fmean(aucs) for aucs in zip(*(found[key][problem] for problem in TEN), strict=False)]
    return (f"Of one model with one measure, {key[0]} by {key[1]} has the highest mean: **{figure(mean(found[key]))}** "
            f"(from seed to seed {figure(min(by_seed))} to {figure(max(by_seed))}). Beside it: {beside}.\n")


def purified(found):
    """Means over the ten functions of the models whose contributions can be purified."""
    rows = []
    for system in SYSTEMS:
        means = [mean(found.get((system, measure), {})) for measure in
                 (measures.CONTRIBUTION, measures.PURIFIED, measures.EFFECT, measures.SQUARE)]
        if means[1] is not None:
            rows.append([system, *map(figure, means)])
    return markdown(["", measures.CONTRIBUTION, measures.PURIFIED, measures.EFFECT, measures.SQUARE], rows)


def overlooked(lines, found):
    """Which pairs the leading model ranks below half of those that do not interact, with what there is of them."""
    key = leader(found)
    if key is None:
        return "Not known before a model has been run on all ten functions.\n"
    misses = {}
    for name, problem, line in tests(lines):
        if name == key[0] and problem in TEN:
            for pair in line["overlooked"][key[1]]:
                misses.setdefault(problem, {}).setdefault(pair, []).append(line["number"])
    rows = []
    for problem in TEN:
        pairs = {pair: seeds for pair, seeds in misses.get(problem, {}).items()
                 if 2 * len(seeds) > len(SYSTEMS[key[0]].seeds)}
        if pairs:
            shares, error = shares_of_variance(problem), validation_error(lines, key[0], problem)
            rows.append([problem, ", ".join(f"{'–'.join(PAIRS[pair])} ({shares[pair]:.1e})" for pair in pairs),
                         f"{error:.1e}"])
    if not rows:
        return f"{key[0]} by {key[1]} overlooks no pair in more than half of the seeds.\n"
    text = (f"Pairs that {key[0]} by {key[1]} ranks below half of those that do not interact, in more than half of the "
            "seeds; in brackets the part of the function's variance that the pair has to do with (the square of its "
            "effect by mean square on the function itself), and beside it the part that the model gets wrong on "
            "validation rows.\n\n")
    return text + markdown(["", "overlooked", "the model's error"], rows)


def shares_of_variance(problem):
    """What part of a known function's variance each pair has to do with, (P,)."""
    function = KNOWN[problem]
    X = function.inputs(4_000, np.random.default_rng(0))
    return measures.effects(function, X, "mean square") ** 2 / function(X).var()


def validation_error(lines, system, problem):
    """Mean validation error of a model's trainings on a problem."""
    return statistics.fmean(line["validation"] for name, on, line in tests(lines) if (name, on) == (system, problem))


def settings(lines):
    """The settings that were chosen: a line for each model, a column for each problem."""
    problems, rows = [name for name in PROBLEMS if name not in FOUR], []
    for system in SYSTEMS.values():
        if system.family is None:
            continue
        cells = []
        for problem in problems:
            picked = chosen(problem, system, lines, Budget()) if problem in system.problems else None
            cells.append(EMPTY if picked is None else chosen_words(system.searched(problem), picked))
        rows.append([system.name, *cells])
    tried = sum(line["kind"] == DRAW for line in lines.values())
    return markdown(["", *problems], rows) + f"\n{tried} trainings were made to choose.\n"


def chosen_words(setting, picked):
    """The chosen value, with its name where it says nothing by itself.

    >>> chosen_words("numbers", {"numbers": "in bins"}), chosen_words("reg", {"reg": 0.01})
    ('in bins', 'reg 0.01')
    """
    return picked[setting] if setting == "numbers" else f"{setting} {picked[setting]:g}"


def picture(found):
    """Models and measures by functions, coloured by AUC; a matplotlib Figure."""
    from matplotlib.figure import Figure

    shown = [(key, by_problem) for key, by_problem in found.items() if any(problem in by_problem for problem in TEN)]
    shown.sort(key=lambda item: -statistics.fmean(statistics.fmean(by) for name, by in item[1].items() if name in TEN))
    values = np.array([[statistics.fmean(by[problem]) if problem in by else np.nan for problem in TEN]
                       + [mean(by) if mean(by) is not None else np.nan] for _, by in shown]).reshape(-1, len(TEN) + 1)
    figure_ = Figure(figsize=(9.6, 0.9 + 0.27 * len(shown)), layout="constrained")
    ax = figure_.subplots()
    image = ax.imshow(values, vmin=0.5, vmax=1, cmap="cividis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ax.text(column, row, figure(value), ha="center", va="center", fontsize=8,
                    color="black" if value > 0.75 else "white")
    ax.set_yticks(range(len(shown)), [f"{system}: {measure}" for (system, measure), _ in shown], fontsize=8)
    ax.set_xticks(range(len(TEN) + 1), [*TEN, "mean"], fontsize=8)
    ax.xaxis.tick_top()
    ax.axvline(len(TEN) - 0.5, color="white", linewidth=2)
    ax.tick_params(length=0)
    figure_.colorbar(image, ax=ax, extend="min", fraction=0.03, pad=0.01, label="ROC AUC of the 45 pairs")
    return figure_
