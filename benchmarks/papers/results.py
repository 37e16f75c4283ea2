"""The file of a table's results: a JSON line for each finished training, added when it is finished."""

import json
import os


def key(line):
    """What tells a training from every other: a line with other settings or another budget is another training."""
    what = {name: line[name] for name in ("table", "kind", "model", "number", "settings", "budget")}
    return json.dumps(what, sort_keys=True)


def read(path):
    """{key: line} of all trainings in the file, in order; a last line that was not written to its end is left out.

    Raises: ValueError with the line's number where a line cannot be read.
    """
    if not path.exists():
        return {}
    *whole, _cut = path.read_text(encoding="utf-8").split("\n")
    lines = {}
    for number, text in enumerate(whole, start=1):
        try:
            line = json.loads(text)
            lines[key(line)] = line
        except (json.JSONDecodeError, KeyError, TypeError):
            raise ValueError(f"{path.name}, line {number}, is not the line of a training: remove it, and its training "
                             "will be run again") from None
    return lines


def append(path, line):
    """Add a line, which is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)               # what a run that was killed while it wrote has left
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
