"""The page of the tables, and a summary for a notebook: made from the lines of finished trainings and nothing else."""

import json
import statistics

from . import results, runner

EMPTY = "—"
HEAD = """# The papers' tables, run again

Each table was run by `python -m benchmarks.papers TABLE`; this page is made from its results by `python -m
benchmarks.papers --page`. Every system has the same budget, stated before it was run: {draws} settings, drawn at random
from the space beside it, each judged on validation rows. The best of them was then trained with {seeds} seeds and
judged on test rows, which no training was given before. (The spaces were not written blindly: earlier runs of this
project on the same data had shown which settings are worth a draw.) Figures are means, with the standard deviation of
a single training; seconds are of one core's computing. A cell marked {empty} was not run.
"""


def page(tables, folder):
    """The whole page.

    Parameters
    ----------
    tables : the ``spec.Table`` objects.   folder : where their results are, ``NAME.jsonl`` each; files may be missing.
    """
    tables = list(tables)
    head = HEAD.format(draws=" or ".join(in_order(table.draws for table in tables)), empty=EMPTY,
                       seeds=" or ".join(in_order(len(table.seeds) for table in tables)))
    parts = [section(table, results.read(folder / f"{table.name}.jsonl")) for table in tables]
    return "\n".join([head, *parts])


def summary(tables, folder):
    """The outcome alone, as JSON: for each table a list of its systems, with None where nothing was run.

    Parameters: as for ``page``.
    """
    result = {}
    for table in tables:
        lines = results.read(folder / f"{table.name}.jsonl")
        result[table.name] = []
        for system in table.systems:
            known = row(table, system, lines)
            figures = {"system": system.name, "code": system.source, "seeds": len(known["test"]),
                       "parameters": known["test"][0]["parameters"] if known["test"] else None}
            for measure in table.measures:
                values = [line["test"][measure] for line in known["test"]]
                figures |= {f"{measure}, paper": system.paper.get(measure),
                            f"{measure}, mean": round(statistics.fmean(values), 6) if values else None,
                            f"{measure}, deviation": round(statistics.stdev(values), 6) if len(values) > 1 else None}
            result[table.name].append(figures)
    return json.dumps(result, indent=1) + "\n"


def section(table, lines):
    """One table: its budget, what came out, what was chosen, what was searched."""
    finished = {system.name: row(table, system, lines) for system in table.systems}
    parts = [f"## {table.title}\n", *(f"{note}\n" for note in table.notes),
             f"- A draw: {table.draw}.\n- A training for the test rows: {table.final}.\n- {state(table, lines)}\n",
             outcome(table, finished), *claims(table, finished), "### What was chosen, and from what\n",
             searched(table, lines)]
    return "\n".join(parts)


def row(table, system, lines):
    """What is known of a system: {"test": its lines, "draws": how many are finished, "winner": a Job or None}."""
    tests = runner.tests(table, system, lines)
    return {"test": [lines[job.key] for job in tests if job.key in lines and "test" in lines[job.key]],
            "draws": sum(job.key in lines for job in runner.draws(table, system)),
            "winner": runner.choice(table, system, lines)}


def state(table, lines):
    """How much of the table has been run, when, with which versions."""
    of_table = current(table, lines)
    if not of_table:
        return "Nothing of it has been run yet."
    everything = len(table.systems) * (table.draws + len(table.seeds))
    versions = {}
    for line in of_table:
        for name, version in line["versions"].items():
            versions.setdefault(name, []).append(version)
    words = ", ".join(f"{name} {' and '.join(in_order(found))}" for name, found in versions.items())
    dates = sorted(line["date"] for line in of_table)
    hours = runner.in_words(sum(line["cpu seconds"] for line in of_table))
    return (f"{len(of_table)} of {everything} trainings are finished, from {dates[0]} to {dates[-1]}: {hours} of one "
            f"core's computing; {words}.")


def current(table, lines):
    """The lines that belong to the table as it is defined now."""
    keys = {job.key for system in table.systems for job in runner.draws(table, system)
            + runner.tests(table, system, lines)}
    return [line for key, line in lines.items() if key in keys]


def outcome(table, finished):
    """The table itself."""
    rows = []
    for system in table.systems:
        tests = finished[system.name]["test"]
        cells = [system.name + (f" ({system.note})" if system.note else "")]
        for measure in table.measures:
            if any(system.paper for system in table.systems):
                cells.append(figure(system.paper.get(measure)))
            values = [line["test"][measure] for line in tests]
            cells.append(mean_and_deviation(values))
            if any(system.paper for system in table.systems):
                cells.append(f"{statistics.fmean(values) - system.paper[measure]:+.4f}"
                             if values and measure in system.paper else EMPTY)
        cells += [millions(tests, system), seconds_per_epoch(tests), progress(table, finished[system.name])]
        rows.append(cells)
    names = ["system"]
    for measure in table.measures:
        names += ([f"{measure}, paper", f"{measure}, here", "difference"]
                  if any(system.paper for system in table.systems) else [measure])
    return markdown([*names, "parameters, 10⁶ (paper)", "s/epoch", "run"], rows)


def claims(table, finished):
    """For each claim of the paper a sentence on whether it holds here, in every seed; or that it is not known yet."""
    measure = table.measures[0]
    sentences = []
    for better, worse in table.claims:
        ours, theirs = (finished[name]["test"] for name in (better, worse))
        if len(ours) < len(table.seeds) or len(theirs) < len(table.seeds):
            sentences.append(f"- Whether {better} is ahead of {worse} with fewer parameters: not run to the end.")
            continue
        a, b = ([line["test"][measure] for line in tests] for tests in (ours, theirs))
        ahead = min(a) > max(b) if table.higher_is_better else max(a) < min(b)
        fewer = ours[0]["parameters"] < theirs[0]["parameters"]
        words = [f"every seed of {better} {'is' if ahead else 'is *not*'} ahead of every seed of {worse}",
                 f"it {'has' if fewer else 'does *not* have'} fewer parameters"]
        sentences.append(f"- {better} ahead of {worse} with fewer parameters: "
                         f"**{'holds' if ahead and fewer else 'does not hold'}** here: {', and '.join(words)}.")
    return ["\n".join(sentences) + "\n"] if sentences else []


def searched(table, lines):
    """The settings that won, beside the space that they were drawn from."""
    rows = []
    for system in table.systems:
        winner = runner.choice(table, system, lines)
        found = winner and lines[winner.key]["validation"][table.measures[0]]
        rows.append([system.name, in_code(winner.chosen) if winner else EMPTY, figure(found), in_code(system.fixed),
                     in_code({name: list(values) for name, values in system.space.items()})])
    fixed = in_code({name: runner.plain(value) for name, value in table.fixed.items()})
    common = f"All of minictr's have {fixed} besides.\n\n" if table.fixed else ""
    return common + markdown(["system", "chosen", f"validation {table.measures[0]}", "fixed", "drawn from"], rows)


def progress(table, known):
    """Whether a line is complete, and what is missing."""
    if len(known["test"]) >= len(table.seeds):
        return f"{len(known['test'])} seeds"
    if known["winner"] is None and known["draws"] == table.draws:
        return "all draws diverged"
    if known["draws"] < table.draws:
        return f"not run: {known['draws']} of {table.draws} draws"
    return f"{len(known['test'])} of {len(table.seeds)} seeds"


def mean_and_deviation(values):
    """Such as "0.3102 ± 0.0011"; one training has no deviation.

    >>> mean_and_deviation([0.31, 0.312, 0.314]), mean_and_deviation([0.31]), mean_and_deviation([])
    ('0.3120 ± 0.0020', '0.3100', '—')
    """
    if not values:
        return EMPTY
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{spread}"


def figure(value):
    """A figure with four digits, or the sign of an empty cell."""
    return EMPTY if value is None else f"{value:.4f}"


def millions(tests, system):
    """Our number of parameters in millions, and the paper's in brackets."""
    here = f"{tests[0]['parameters'] / 1e6:.2f}" if tests else EMPTY
    return here + (f" ({system.parameters:.2f})" if system.parameters else "")


def seconds_per_epoch(tests):
    """Median over the trainings, of the processor's time; with all that a training does around its epochs."""
    return f"{statistics.median(line['cpu seconds'] / line['epochs'] for line in tests):.0f}" if tests else EMPTY


def in_code(settings):
    """Settings as code, for a cell of a table."""
    return "<br>".join(f"`{name}={value!r}`" for name, value in settings.items()) or EMPTY


def in_order(values):
    """Each different value once, as text, in the order of the first."""
    return list(dict.fromkeys(map(str, values)))


def markdown(names, rows):
    """A table in Markdown."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
