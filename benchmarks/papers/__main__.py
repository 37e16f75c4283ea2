"""Run a paper's table, or what is missing of it.

    python -m benchmarks.papers afm-2
    python -m benchmarks.papers autoint-2 --models AutoInt DeepFM --seeds 0 --hours 2
    python -m benchmarks.papers --page

Each finished training is a line in tutorials/results/TABLE.jsonl. The run may be ended at any moment: the same command
goes on where it stopped, and only the training that was running is lost. Every system gets the same number of draws
from its space of settings, judged on validation rows; the best is then trained with three seeds and judged on test
rows. Spaces and budgets are in benchmarks/papers/tables.py. One thread is used. ``--page`` writes docs/papers.md, and
tutorials/results/papers.json for notebook 12, from all results that are there. The data are looked for where the
loaders look, such as the folder that the environment variable MINICTR_DATA names. Each table takes several hours of one
core of a common machine; the time left is said before each training.

frappe-auc has systems of DeepCTR-Torch and RecBole, which are not among minictr's extras:
``pip install deepctr-torch`` and ``pip install --no-deps recbole==1.2.1``, with ``pip install torch tensorboard
colorlog colorama texttable tabulate plotly thop "setuptools<80"``.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tutorials" / "results"
PAGE = ROOT / "docs" / "papers.md"


def main(arguments=None):
    """Parse the arguments and do what they say."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")      # read when NumPy is imported
    from . import page, runner
    from .tables import TABLES

    parser = argparse.ArgumentParser(prog="python -m benchmarks.papers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", choices=list(TABLES))
    parser.add_argument("--models", nargs="+", help="some of the table's systems, in the order to run them; all if "
                                                    "not given")
    parser.add_argument("--seeds", nargs="+", type=int, help="of the trainings that are judged on test rows; 0 1 2 if "
                                                             "not given")
    parser.add_argument("--hours", type=float, help="stop in time to be done in so many hours")
    parser.add_argument("--page", action="store_true", help="write the page afterwards")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    if options.table is None and not options.page:
        parser.error(f"say which table to run ({', '.join(TABLES)}), or --page")
    if options.table is None and (options.models or options.seeds or options.hours):
        parser.error("--models, --seeds and --hours go with a table")
    if options.hours is not None and not options.hours > 0:
        parser.error(f"--hours must be above 0, got {options.hours:g}")
    if options.table:
        table = TABLES[options.table]
        by_name = {system.name: system for system in table.systems}
        unknown = [name for name in options.models or [] if name not in by_name]
        if unknown:
            parser.error(f"{table.name} has no {unknown[0]}; it has {', '.join(by_name)}")
        runner.run(table, [by_name[name] for name in options.models or by_name], RESULTS / f"{table.name}.jsonl",
                   seeds=options.seeds, hours=options.hours,
                   command=shlex.join(["python", "-m", "benchmarks.papers", *arguments]))
    if options.page:
        PAGE.write_text(page.page(TABLES.values(), RESULTS), encoding="utf-8")
        (RESULTS / "papers.json").write_text(page.summary(TABLES.values(), RESULTS), encoding="utf-8")


if __name__ == "__main__":
    main()
