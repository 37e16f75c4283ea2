"""Run one tutorial's source as plain Python, without network, and try each exercise's check on several answers.

    python tutorial_runner.py SOURCE MISTAKES

runs in a process of its own, so that minictr is the installed one, and prints one JSON line: for every exercise what
its check said of the stub, of the given solution and of each wrong one. MISTAKES is a JSON file: {exercise: [[old,
new], ...]}, replacements that turn the solution into a wrong one; under "EXERCISE, also right" stand those that keep it
right; a third text in the brackets is a hint that the check has to give. A cell in which one's own code is trained is
tried likewise: as shipped, with all solutions before it, and with all but one, which is wrong: {"Yours": [[exercise,
old, new], ...]}.
"""

import io
import json
import re
import socket
import sys
from contextlib import redirect_stdout
from pathlib import Path

import jupytext
import matplotlib


def no_network(*args, **kwargs):
    raise OSError("a tutorial must not use the network")


class Cells:
    """A tutorial's cells, with what is what: exercise, check, solution."""

    def __init__(self, source):
        self.cells = jupytext.read(source, fmt="py:percent").cells

    def tagged(self, cell, tag):
        return tag in cell.metadata.get("tags", [])

    def of_exercise(self, index):
        """The cells after the exercise at ``index``, up to the next one."""
        for cell in self.cells[index + 1:]:
            if self.tagged(cell, "exercise"):
                return
            yield cell

    def solution(self, index):
        """The code of the exercise's folded solution, or None."""
        for cell in self.of_exercise(index):
            found = re.search(r"<details>.*?```python\n(.*?)```.*?</details>", cell.source, re.DOTALL)
            if cell.cell_type == "markdown" and found:
                return found.group(1)
        return None

    def check(self, index):
        """The code of the exercise's check, or None."""
        return next((cell.source for cell in self.of_exercise(index) if self.tagged(cell, "check")), None)


def name_of(source):
    """Exercise 2 of a tutorial is the one whose cell starts "# Exercise 2"."""
    return re.match(r"# (Exercise \d+)", source).group(1)


def run(source, mistakes):
    from minictr import exercises

    verdicts = []

    def recording(original):
        def recorded(*args, **kwargs):
            verdicts.append(original(*args, **kwargs))
            return verdicts[-1]
        return recorded

    exercises.check, exercises.train_beside = recording(exercises.check), recording(exercises.train_beside)
    namespace = {"__name__": "__main__", "display": print}       # display: what a notebook has beside Python

    def execute(code, label):
        exec(compile(code, f"{source.name}: {label}", "exec"), namespace)

    def verdict(answer, check, label):
        """What the check says of an answer; a wrong answer may also raise."""
        verdicts.clear()
        text = io.StringIO()
        try:
            with redirect_stdout(text):
                execute(answer, label)
                execute(check, f"check of {label}")
        except Exception as error:
            return {"right": False, "text": f"{type(error).__name__}: {error}", "raised": True}
        return {"right": bool(verdicts) and all(verdicts), "text": text.getvalue(), "raised": False}

    def changed(name, solution, old, new):
        if old not in solution:
            raise SystemExit(f"{source.name}, {name}: the solution does not contain {old!r}")
        return solution.replace(old, new)

    cells, results = Cells(source), {}
    solved, stubs = {}, {}                                        # the code of each exercise so far
    for index, cell in enumerate(cells.cells):
        if cell.cell_type != "code":
            continue
        if cells.tagged(cell, "exercise"):
            name = name_of(cell.source)
            check, solution = cells.check(index), cells.solution(index)
            if check is None or solution is None:
                raise SystemExit(f"{source.name}, {name}: no check cell, or no folded solution, follows")
            result = {"solution": verdict(solution, check, f"{name}, solution"), "wrong": [], "also right": []}
            for kind, key in (("wrong", name), ("also right", f"{name}, also right")):
                for old, new, *hint in mistakes.get(key, []):
                    answer = verdict(changed(name, solution, old, new), check, f"{name}, {kind}: {new!r}")
                    result[kind].append({**answer, "hint": "".join(hint)})
            result["stub"] = verdict(cell.source, check, f"{name}, as shipped")
            results[name] = result
            solved[name], stubs[name] = solution, cell.source
        if cells.tagged(cell, "yours"):
            results["Yours"] = {"wrong": [], "also right": []}
            for old_name, old, new, *hint in mistakes.get("Yours", []):
                answers = {**solved, old_name: changed(old_name, solved[old_name], old, new)}
                answer = verdict("\n".join(answers.values()), cell.source, f"yours, wrong: {new!r}")
                results["Yours"]["wrong"].append({**answer, "hint": "".join(hint)})
            results["Yours"]["solution"] = verdict("\n".join(solved.values()), cell.source, "yours, solved")
            results["Yours"]["stub"] = verdict("\n".join(stubs.values()), cell.source, "yours, as shipped")
        verdicts.clear()
        execute(cell.source, f"cell {index}")                     # what is run as shipped: the stub, then its check
    return results


if __name__ == "__main__":
    matplotlib.use("Agg")
    socket.socket.connect = no_network
    socket.create_connection = no_network
    socket.getaddrinfo = no_network
    tutorial, wrong = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    printed = io.StringIO()
    with redirect_stdout(printed):
        answers = run(tutorial, wrong)
    print(json.dumps(answers))
