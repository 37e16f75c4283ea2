"""The data of a step's page: its arrays, and for each number in them from which others it was computed.

A number that stands in an array of the trace is a *cell*. What a cell reads follows from the nodes alone: its
expression, down to the first nodes on the way that are cells of arrays recorded earlier. So nothing about any model is
written here.
"""

import itertools
import math
import re

import numpy as np

from ..layers import field_pairs, named_layers, parameters
from ..layers.triples import field_triples
from .formulas import derivative, equations_above
from .node_run import decimal, leaf_arrays, step_on_nodes
from .nodes import NodeArray
from .text import package_path, settings_text
from .used import used_rows

MOST_NUMBERS = 30_000   # of all arrays: of more, a page would be neither read nor opened at once
INPUTS = {"x": "(B, S)", "y": "(B,)", "c": "(B,)"}      # from which a step starts, beside the model itself
GENERIC = ("out", "dx", "x")            # names of any layer's output and input, for which the model has better ones


class Shown:
    """An array of the page.

    Attributes
    ----------
    steps : the trace's steps that have it, the one that computed it first; the others only give it further names.
    changes : those of them of which the lines together made it.   cells : a plain array of its nodes.
    source : the object that the array was.   rows : of a table, the numbers of those of its rows that are shown.
    """

    def __init__(self, step, source, cells, rows):
        self.steps, self.changes, self.source, self.cells, self.rows = [step], [step], source, cells, rows

    @property
    def nodes(self):
        """Its nodes in a list."""
        return self.cells.ravel().tolist()

    @property
    def step(self):
        """The step whose line made it; of several in one layer the first that is a whole equation of the paper."""
        if len(self.changes) > 1:
            return self.changes[-1]
        first = self.steps[0]
        return next((step for step in self.steps if (step.layer, step.function) == (first.layer, first.function)
                     and step.paper and not step.paper.startswith("part of")), first)

    @property
    def named(self):
        """The step with the best name: "out" and "dx" are those of any layer, and a model's line has a better one."""
        from_here = self.steps[self.steps.index(self.step):]
        return next((step for step in from_here + self.steps if step.symbol not in GENERIC), self.step)


def page_data(model, rows, X, y, detail="lines", epochs=None, digits=None):
    """Return all that the page of a step is drawn and computed from, as a dict for JSON.

    Parameters
    ----------
    model, rows : before the step, see ``step_on_nodes``.   X, y : the rows as their user sees them.   detail : see
        ``trace``.   epochs : a ``StepOverEpochs``, or None.   digits : to how many numbers are rounded.
    """
    reader = step_on_nodes(model, rows, detail, digits)
    shown = merged(shown_arrays(reader.steps, model, reader.sources))
    nodes = ordered(shown)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    ops = {op: number for number, op in enumerate(dict.fromkeys(["leaf", "const", *(node.op for node in nodes)]))}
    leaves = [node.args for node in nodes if node.op == "leaf"]
    start = {name: decimal(array, digits) for name, array in leaf_arrays(model, rows).items()}
    values = [start[name].flat[place].item() for name, place in leaves]
    shapes = {name: start[name].shape for name, _ in leaves}
    snapshots = [] if epochs is None else epochs.snapshots(rows[0], leaves, shapes, digits)
    at = next((number for number, each in enumerate(snapshots) if each["leaves"] == values), len(snapshots))
    if at == len(snapshots):                                      # none was watched, or training went on, or back
        snapshots.append({"epoch": None, "leaves": values})
    labels = Labels(model, rows, X)
    return {
        "model": type(model).__name__,
        "title": f"One training step of {type(model).__name__}",
        "fields": list(map(str, X.columns)),
        "optimizer": settings_text(model.optimizer_), "loss": model.loss_.name,
        "X": [[str(value) for value in row] for row in X.itertuples(index=False)],
        "y": np.asarray(y).tolist(),
        "ops": list(ops),
        "nodes": [written(node, ops, numbers) for node in nodes],
        "leaf_names": [labels.leaf(name, place, shapes[name]) for name, place in leaves],
        "arrays": described(shown, labels, model, numbers),
        "snapshots": snapshots,
        "snapshot": at,
    }


def check_size(steps, model):
    """Raise ValueError where a trace has too many numbers for a page, beside its parameters and their moments."""
    shapes = {array.shape for array in parameters(model).values()}
    size = sum(step.value.size for step in steps if step.value.dtype.kind == "f" and step.value.shape not in shapes)
    if size > MOST_NUMBERS:
        raise ValueError(f"this step has {size:,} numbers, and its page would show at most {MOST_NUMBERS:,}: trace "
                         "fewer rows or fields, or a smaller model")


def written(node, ops, numbers):
    """A node for JSON: [number of its operation, numbers of its arguments]; a constant is followed by its value."""
    if node.op == "const":
        value = float(node.value)
        return [ops["const"], value if math.isfinite(value) else str(value)]
    return [ops[node.op], *(() if node.op == "leaf" else (numbers[id(arg)] for arg in node.args))]


# ----------------------------------------------------------------------------------------------- which arrays, and when

def shown_arrays(steps, model, sources):
    """The steps that are arrays of numbers, those with the same cells joined, tables cut to the rows that are used."""
    kept = []
    for step, source in zip(steps, sources, strict=True):
        if isinstance(step.value, NodeArray):                     # not ids, and the like
            kept.append((step, source, np.array(step.value, object, subok=False)))
    params = parameters(model)
    used = used_rows([cells for step, _, cells in kept if step.phase == "loss"], params)
    shown = []
    for step, source, cells in kept:
        name = parameter_of(step)
        rows = used.get(name)
        rows = rows if rows is not None and len(cells) == len(params[name]) else None
        shown.append(Shown(step, source, cells if rows is None else cells[rows], rows))
    return shown


def merged(arrays):
    """Leave out what the next line changes further, and join arrays of which the cells are the same."""
    shown, known = [], {}
    for array, after in itertools.zip_longest(arrays, arrays[1:]):
        key = (array.cells.shape, tuple(map(id, array.nodes)))
        if key not in known and after is not None and is_unfinished(array, after):
            after.steps, after.changes = array.steps + after.steps, array.changes + after.changes
        elif key in known:
            known[key].steps += array.steps
        else:
            known[key] = array
            shown.append(array)
    return shown


def is_unfinished(array, after):
    """Whether the next line fills in more of this same array: it began as zeros, say, or as a part of a sum."""
    one, other = array.steps[-1], after.steps[0]
    return (after.source is array.source and (one.phase, one.layer, one.function) == (
        other.phase, other.layer, other.function) and array.nodes != after.nodes
        and not any(node.op == "leaf" for node in array.nodes))


def parameter_of(step):
    """The name of the parameter that a step is about, if it is about one."""
    return step.layer if step.phase == "update" else f"{step.layer}.{step.symbol}"


def ordered(shown):
    """All nodes that the shown cells were computed from: leaves first, each after those that it reads."""
    order, seen = [], set()
    for array in shown:
        for cell in array.nodes:
            waiting = [(cell, False)]
            while waiting:
                node, ready = waiting.pop()
                if ready:
                    order.append(node)
                elif id(node) not in seen:
                    seen.add(id(node))
                    waiting.append((node, True))
                    if node.op != "leaf":
                        waiting += [(arg, False) for arg in reversed(node.args) if id(arg) not in seen]
    return [node for node in order if node.op == "leaf"] + [node for node in order if node.op != "leaf"]


# ------------------------------------------------------------------------------------------------------ names in words

class Labels:
    """The names of rows, fields, pairs and ids along an array's axes, and of the numbers from which a step starts."""

    def __init__(self, model, rows, X):
        slots, self.fields = rows[0], list(map(str, X.columns))
        M, B = len(self.fields), len(slots)
        starts = slots.starts.tolist()
        self.slots = [f"{field} {i + 1}" if stop - start > 1 else field
                      for field, start, stop in zip(self.fields, starts, [*starts[1:], slots.n_slots], strict=True)
                      for i in range(stop - start)]
        each_row = [f"row {b + 1}" for b in range(B)]
        self.of_axes = {
            "B": each_row, "M": self.fields, "S": self.slots,
            "P": [f"{self.fields[i]} × {self.fields[j]}" for i, j in zip(*field_pairs(M), strict=True)],
            "T": [" × ".join(self.fields[i] for i in triple) for triple in zip(*field_triples(M), strict=True)],
            "B * S": [f"{row}, {slot}" for row in each_row for slot in self.slots]}
        self.ids, encoder = {}, model.encoder_
        for field, offset in zip(encoder.field_names, encoder.offsets.tolist(), strict=True):
            for number, value in enumerate(encoder.feature_names(field), offset):
                self.ids[number] = f"{field}={value}" if value != "(number)" else str(field)
        self.tables = {f"{name}.{table}" for name, layer in named_layers(model) for table in layer.tables}

    def along(self, axes, shape, rows=None, parameter=""):
        """The names along each axis, None where there are none but the place."""
        parts = [part.strip() for part in axes.strip("()").split(",") if part.strip()] if axes else []
        names = [self.of_axes.get(part) for part in parts] if len(parts) == len(shape) else [None] * len(shape)
        if rows is not None:
            names[:1] = [[self.row(parameter, row) for row in rows.tolist()]]
        return [each if each is not None and len(each) == size else None
                for each, size in zip(names, shape, strict=True)]

    def row(self, parameter, row):
        """A row of a table: the value of a field that looks it up."""
        return self.ids.get(row, f"row {row}") if parameter in self.tables else f"row {row}"

    def leaf(self, name, place, shape):
        """A number from which a step starts: "V[user=ann][0]", "m of W[0,1]"."""
        moment, of, parameter = name.rpartition(" of ")
        index = list(np.unravel_index(place, shape)) if shape else []
        first = ""
        if parameter in self.tables:
            first = f"[{self.row(parameter, int(index.pop(0)))}]"
        elif name in INPUTS:
            first = f"[row {index.pop(0) + 1}]"
            if index:
                first += f"[{self.slots[index.pop(0)]}]"
        rest = f"[{','.join(map(str, index))}]" if index else ""
        return f"{moment}{of}{parameter.rpartition('.')[2]}{first}{rest}"


def described(shown, labels, model, numbers):
    """The arrays of the page, in the order in which the step computed them, as dicts."""
    by_name, entries, taken, row_of, layers = {}, [], set(), {}, dict(named_layers(model))
    for number, array in enumerate(shown):
        for step in array.steps:
            by_name.setdefault((step.phase != "backward", step.layer, step.symbol), []).append(number)
    cells = [{id(origin(node)) for node in array.nodes} for array in shown]
    for number, array in enumerate(shown):
        step, named, parameter = array.step, array.named, parameter_of(array.steps[0])
        starts = {node.args[0] if node.op == "leaf" else "" for node in array.nodes}
        start = starts.pop() if len(starts) == 1 else ""
        axes = first_of(other.axes for other in (step, *array.steps)) or INPUTS.get(start, "")
        gradient = gradient_of(array, by_name, shown, number, taken)
        if gradient is not None:                                  # of names like dweight and daij the one of its array
            named = next((step for step in array.steps if step.symbol == f"d{shown[gradient].named.symbol}"), named)
            axes = entries[gradient]["axes"] or axes
        copied = next((i for i in reversed(range(number)) if cells[number] <= cells[i]), None)
        names, changes = labels.along(axes, array.cells.shape, array.rows, parameter), [*array.changes[:-1], step]
        if not axes and array.steps[0].phase != "update" and is_by_row(array, row_of, labels.of_axes["B"]):
            names[0] = labels.of_axes["B"]
        if names and names[0] == labels.of_axes["B"]:
            row_of |= {id(node): b for b, part in enumerate(array.cells) for node in np.ravel(part)}
        entries.append({
            "id": number, "step": array.changes[-1].number, "phase": array.steps[0].phase, "function": step.function,
            "layer": step.layer, "layer_class": type(layers[step.layer]).__name__ if step.layer in layers else "",
            "symbol": named.symbol, "notation": named.notation, "axes": axes, "shape": list(array.cells.shape),
            "cells": [numbers[id(node)] for node in array.nodes],
            "labels": names,
            "derivative": derivative(step, named, layers.get(step.layer)) if array.steps[0].phase == "backward" else "",
            "paper": first_of(each.paper for each in (step, *array.steps)),
            "file": package_path(step.file), "line": step.lineno,
            "source": "\n".join(dict.fromkeys(each.source for each in changes)),
            "kind": kind_of(start) if copied is None else "array", "starts_from": start, "gradient_of": gradient,
            "parameter": next(iter(by_name.get((True, *parameter.rpartition(".")[::2]), ())), None)
                         if array.steps[0].phase == "update" else None,
            "copied_from": copied,
            "names": [{"step": other.number, "layer": other.layer, "symbol": other.symbol, "notation": other.notation,
                       "file": package_path(other.file), "line": other.lineno, "source": other.source}
                      for other in array.steps if other is not step]})
    equations_above([(entry, [array.step, *array.steps]) for entry, array in zip(entries, shown, strict=True)],
                    layers, model)
    return entries


def is_by_row(array, row_of, rows):
    """Whether an array without a comment has a part for each of several rows, which reads only this row's numbers."""
    if len(rows) < 2 or array.cells.shape[:1] != (len(rows),):
        return False
    for b, part in enumerate(array.cells):
        found, seen, waiting = set(), set(), np.ravel(part).tolist()
        while waiting:
            node = waiting.pop()
            if id(node) in row_of:
                found.add(row_of[id(node)])
            elif node.op != "leaf" and id(node) not in seen:
                seen.add(id(node))
                waiting += node.args
        if found != {b}:
            return False
    return True


def origin(node):
    """The node of which this one is a copy, or itself."""
    while node.op == "positive":
        node = node.args[0]
    return node


def first_of(texts):
    """The first text that is not empty, if any."""
    return next(filter(None, texts), "")


def kind_of(start):
    """A step starts from "parameter", "input" and "state" (of the optimizer or a layer); it computes each "array"."""
    if not start:
        return "array"
    return "input" if start in INPUTS else "state" if " of " in start or start == "t" else "parameter"


def gradient_of(array, by_name, shown, number, taken):
    """The number of the array of which this is the gradient, by its name and shape; None if there is none.

    dpij, and its parts dpij_pool and dpij_score, are those of pij; dw of a slot is that of wx, what the slot looked up.
    Where a layer gave one name to several arrays in turn, their gradients come in the opposite order: ``taken`` notes
    which have theirs.
    """
    for step in array.steps:
        if step.phase == "update" and step.symbol == "grad":
            wanted = [(step.layer.rpartition(".")[0], step.layer.rpartition(".")[2])]
        elif step.phase == "backward" and re.match(r"d[a-zA-Z]", step.symbol):
            name = step.symbol[1:]
            wanted = [(step.layer, each) for each in (name, name.partition("_")[0], f"{name}x")]
        else:
            continue
        for name in wanted:
            found = [other for other in reversed(by_name.get((True, *name), ()))
                     if other < number and shown[other].cells.shape == array.cells.shape]
            if found:
                other = next((each for each in found if (each, step.symbol) not in taken), found[0])
                taken |= {(other, each.symbol) for each in array.steps}
                return other
    return None
