"""This checkout beside an earlier version of minictr in another virtual environment, for ``benchmarks.speed``.

Each version has a process of its own, which prepares a job (the same drawn rows, the same starting weights, the same
settings) and then waits to be asked for calls. A turn is several blocks of calls, of either version alternately, so
short that whatever else the machine does meets both; in every second pair of blocks the other version is the first.
Where the memory of a process happens to lie is worth 1 or 2 %, in all its turns: so after some turns new ones follow.
A turn's ratio, before/now, is that of the median calls; a result is the median ratio of the turns, beside their
quartiles. Above 1, this checkout is faster.

Both must also come to the same numbers, to 1 %, or the comparison is void.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from .timing import DISTURBED, disturbance, own_seconds

JOBS = {"step": "ms", "score-encoded": "s"}
BLOCK = 0.1             # seconds, about
TURNS_OF_A_PROCESS = 5
GOAL = 0.97             # speed must not fall: at least so much before/now
HERE = Path(__file__).resolve().parents[1]
# What anything prints is no answer: answers have standard output to themselves. First comes minictr, from where the
# process is to have it, then this folder's benchmarks: so its minictr is never taken by accident.
START = f"""import os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.path[:] = [folder for folder in sys.path if folder]
import minictr
sys.path.append({str(HERE)!r})
from benchmarks.before import answer_requests
answer_requests(answers)"""


# ---- in the process of a version -------------------------------------------------------------------------

def answer_requests(answers):
    """Answer each line of standard input, {function: arguments} in JSON, by a line with what the function returns."""
    with contextlib.ExitStack() as stack:
        job = Job(stack)
        for line in sys.stdin:
            (name, arguments), = json.loads(line).items()
            try:
                answer = {"answer": getattr(job, name)(*arguments)}
            except Exception as error:                            # the run goes on with the next job
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers, flush=True)


class Job:
    """What a version can be asked for: to say what it is, to prepare a job, to make and time calls of it.

    Parameters
    ----------
    stack : an ExitStack, which closes what the job opens (threads).
    """

    def __init__(self, stack):
        self.stack = stack
        self.number = 0         # of the next call
        self.call = None

    def about(self):
        """Where minictr lies, and the versions of what decides how fast it is."""
        import minictr

        return {"folder": str(Path(minictr.__file__).parent.resolve()), "minictr": minictr.__version__,
                "python": sys.version.split()[0], "numpy": np.__version__, "pandas": pd.__version__}

    def prepare(self, job, name, shape):
        """Draw the rows, build the model, warm up: (seconds of a call, the factor from them to the job's figure)."""
        from . import encoded_jobs
        from .shapes import SHAPES, new_model

        model = new_model(name, SHAPES[shape].batch)
        if job == "step":
            opened, scale = encoded_jobs.step(model, shape, encoded_jobs.batch_rows(shape)), 1000
        else:
            opened = encoded_jobs.score_encoded(model, shape)
            scale = 1e6 / encoded_jobs.encoded_rows(model, shape)
        self.call = self.stack.enter_context(opened)
        return min(self._seconds(3)[0]), scale

    def time(self, calls):
        """Make that many calls: (the seconds of each, mean size of what they computed)."""
        if calls > 1:
            self._seconds(1)                                      # the caches are still the other version's
        seconds, computed = self._seconds(calls)
        return seconds, statistics.fmean(computed)

    def seconds_used(self):
        """Seconds of all cores that this process has used."""
        return own_seconds()

    def _seconds(self, calls):
        seconds, computed = [], []
        for _ in range(calls):
            start = time.perf_counter()
            found = self.call(self.number)
            seconds.append(time.perf_counter() - start)
            computed.append(float(np.mean(np.abs(found))))
            self.number += 1
        return seconds, computed


# ---- in the process that compares ------------------------------------------------------------------------

class Version:
    """The process of a version.

    Parameters
    ----------
    python : the environment's Python.   folder : where minictr lies; None for what is installed in the environment.
    """

    def __init__(self, python, folder=None):
        environment = dict(os.environ)
        found = environment.pop("PYTHONPATH", None)               # of this process: it may lead to this checkout
        if folder:
            environment["PYTHONPATH"] = os.pathsep.join([str(folder), *([found] if found else [])])
        self.process = subprocess.Popen([python, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, function, *arguments):
        """What a function of ``Job`` returns there. Raises: RuntimeError with what went wrong there."""
        try:
            print(json.dumps({function: arguments}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended, with code {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]


def why_not(python):
    """Why that Python cannot be compared with this checkout, or None."""
    if not python:
        return ("name the Python of a virtual environment in which an earlier version of minictr is installed: "
                "--before-python PATH, or the variable MINICTR_BEFORE_PYTHON")
    try:
        with Version(python) as before:
            folder = before.ask("about")["folder"]
    except (OSError, RuntimeError) as error:
        return f"{python} cannot import minictr, or is no Python: {error}"
    if Path(folder) == HERE / "minictr":
        return f"the minictr of {python} is this checkout itself"
    return None


def compare(python, cases, turns, seconds, report=print):
    """All cases, one after the other.

    Parameters
    ----------
    python : of the earlier version.   cases : list of (job, name of a model, name of a shape).
    seconds : about, for the calls of a version in a turn.   report : called with each line of what was found.

    Returns: dict: "now" and "before" (what they are), "results" (a dict for each case).
    """
    with both(python) as versions:
        found = {which: version.ask("about") for which, version in versions.items()}
    for which, about in found.items():
        report(f"{which}: " + ", ".join(f"{name} {value}" for name, value in about.items()))
    differ = [name for name in found["now"] if name not in ("folder", "minictr")
              and found["now"][name] != found["before"][name]]
    if differ:
        report(f"the environments differ in {', '.join(differ)}: so more than minictr is compared")
    found["results"] = []
    for case in cases:
        try:
            result = compare_case(python, case, turns, seconds)
        except RuntimeError as error:
            result = {"error": str(error)}
        found["results"].append(dict(zip(("job", "model", "shape"), case, strict=True)) | result)
        report(line_of(found["results"][-1]))
    return found


@contextlib.contextmanager
def both(python):
    """New processes: {"now": this checkout, "before": the earlier version}."""
    with Version(sys.executable, HERE) as now, Version(python) as before:
        yield {"now": now, "before": before}


def compare_case(python, case, turns, seconds):
    """One case: dict of ratio, quartiles, unit, the median calls of each turn, and why it is void (or None)."""
    parts = []
    for start in range(0, turns, TURNS_OF_A_PROCESS):
        with both(python) as versions:
            parts.append(some_turns(versions, case, min(TURNS_OF_A_PROCESS, turns - start), seconds))
    now, before = ([median for part in parts for median in part[which]] for which in ("now", "before"))
    low, ratio, high = np.quantile(np.divide(before, now), [0.25, 0.5, 0.75]).tolist()
    others = [part["cores used by others"] for part in parts if part["cores used by others"] is not None]
    return {"ratio": ratio, "quartiles": [low, high], "unit": JOBS[case[0]], "now": now, "before": before,
            "cores used by others": statistics.fmean(others) if others else None,
            "void": next((part["void"] for part in parts if part["void"]), None)}


def some_turns(versions, case, turns, seconds):
    """Turns of two processes: dict of the median calls of each, "cores used by others", and "void"."""
    of_a_call, scale = versions["now"].ask("prepare", *case)
    versions["before"].ask("prepare", *case)
    calls = max(1, round(BLOCK / of_a_call))
    blocks = max(3, round(seconds / (calls * of_a_call)))
    order, medians, void = ["now", "before"], {"now": [], "before": []}, None

    def own():
        return own_seconds() + sum(version.ask("seconds_used") for version in versions.values())

    with disturbance(own) as others:
        for _ in range(turns):
            times = {"now": [], "before": []}
            for _ in range(blocks):
                answers = {which: versions[which].ask("time", calls) for which in order}
                order.reverse()
                for which, (seconds_of_calls, _) in answers.items():
                    times[which] += seconds_of_calls
                now, before = (answers[which][1] for which in ("now", "before"))
                if not abs(now / before - 1) <= 0.01:
                    void = void or f"now computes {now:.6g}, before {before:.6g}"
            for which in times:
                medians[which].append(scale * statistics.median(times[which]))
    return {**medians, "cores used by others": others[0] if others else None, "void": void}


# ---- what was found --------------------------------------------------------------------------------------

def line_of(result):
    """The line of a case."""
    heading = f"{result['job']:13} {result['model']:13} {result['shape']:7}"
    if "error" in result:
        return f"{heading} failed: {result['error']}"
    low, high = result["quartiles"]
    now, before = (statistics.median(result[which]) for which in ("now", "before"))
    line = (f"{heading} now {now:9.3f} {result['unit']:2} before {before:9.3f} {result['unit']:2} "
            f"before/now {result['ratio']:.3f} ({low:.3f} to {high:.3f})")
    if result["void"]:
        line += f"  VOID: {result['void']}"
    if disturbed(result):
        line += f"  DISTURBED: other processes kept {result['cores used by others']:.1f} cores busy"
    return line


def disturbed(result):
    """Whether other processes used the cores meanwhile."""
    return (result.get("cores used by others") or 0) > DISTURBED


def summary(results):
    """The table of all ratios, models x shapes for each job, and which of them miss the goal, as lines."""
    rows = [result for result in results if "error" not in result]
    if not rows:
        return ["nothing could be compared"]
    table = pd.DataFrame([(result["job"], result["model"], result["shape"],
                           "{:.2f} ({:.2f} to {:.2f})".format(result["ratio"], *result["quartiles"]))
                          for result in rows], columns=["job", "model", "shape", "ratio"])
    cells = table.set_index(["job", "model", "shape"])["ratio"].unstack(fill_value="")
    cells = cells.reindex(index=table[["job", "model"]].drop_duplicates(), columns=table["shape"].unique())
    lines = ["before/now, median of the turns (quartiles)", *cells.to_string().splitlines()]
    judged = [result for result in rows if not result["void"] and not disturbed(result)]
    missed = [f"{result['job']} {result['model']} {result['shape']} {result['ratio']:.3f}"
              for result in judged if result["ratio"] < GOAL]
    lines.append(f"goal: at least {GOAL} each; {len(judged)} of {len(results)} judged, "
                 + (f"MISSED by {', '.join(missed)}" if missed else "all of them met it" if judged else "so none met"))
    return lines
