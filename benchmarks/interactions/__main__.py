"""Do measures of interactions find the pairs that are known to interact? Run what is missing of the answer.

    python -m benchmarks.interactions --quick
    python -m benchmarks.interactions
    python -m benchmarks.interactions --systems FM DeepFM --problems F5 F9 --seeds 0
    python -m benchmarks.interactions --page

Ten functions of ten inputs (30,000 rows: 10,000 each to train, to choose settings and to measure on) and worlds of
``make_clicks``; models of minictr with every measure that they have, and what others offer beside them. The figure is
the ROC AUC of the ranking of all pairs. Each finished training is a line in tutorials/results/interactions.jsonl, so
that the run may be ended at any moment: the same command goes on where it stopped. --quick takes 2,000 rows in each
part, at most 20 epochs, the first seed and, if none are named, the systems that need minictr alone ({quick}): some
minutes; its lines go to build/interactions-quick.jsonl, and the table to the screen.
--page writes docs/interactions.md and its picture from all results that are there. One thread is used; the whole takes
an hour of one core, of which half goes to the other methods.

NID needs PyTorch, FAST needs interpret: ``pip install torch interpret``.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tutorials" / "results" / "interactions.jsonl"
QUICK = ROOT / "build" / "interactions-quick.jsonl"
PAGE = ROOT / "docs" / "interactions.md"
QUICK_SYSTEMS = ["the function itself", "two-way ANOVA", "DeepFM", "FM"]


def main(arguments=None):
    """Parse the arguments and do what they say."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")      # read when NumPy is imported
    from benchmarks.papers import results

    from . import page, runner
    from .problems import CLICKS, FOUR, PROBLEMS, TEN
    from .systems import SYSTEMS

    parser = argparse.ArgumentParser(prog="python -m benchmarks.interactions",
                                     description=__doc__.format(quick=", ".join(QUICK_SYSTEMS)),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), metavar="NAME",
                        help=f"some of: {', '.join(SYSTEMS)}; all if not given")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), metavar="NAME",
                        help=f"some of: {', '.join(PROBLEMS)}; all if not given")
    parser.add_argument("--seeds", nargs="+", type=int, help="some of the seeds 0 1 2")
    parser.add_argument("--quick", action="store_true", help="few rows, few epochs, one seed; prints the table")
    parser.add_argument("--page", action="store_true", help="write the page from the results, and run nothing")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    if options.page:
        page.write(PAGE, RESULTS)
        return
    path, budget, seeds = (QUICK, runner.Budget(2_000, 20), [0]) if options.quick else (RESULTS, None, options.seeds)
    names = options.systems or (QUICK_SYSTEMS if options.quick else SYSTEMS)
    runner.run([SYSTEMS[name] for name in names], options.problems or list(PROBLEMS), path,
               budget=budget, seeds=seeds, command=shlex.join(["python", "-m", "benchmarks.interactions", *arguments]))
    if options.quick:
        found = page.outcomes(results.read(path), budget)
        print(*(page.table(found, problems) for problems in (TEN, FOUR, (CLICKS,))), sep="\n")


if __name__ == "__main__":
    main()
