"""A trace has the steps as a table, as text, as a page, and the arrays that flow between the layers."""

import html
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from ..layers import RowGradient, named_layers
from ..slots import Slots
from .epochs import StepOverEpochs
from .graph import check_size, page_data
from .page import STYLE, group_html
from .step_page import page_html
from .steps import Reader, root_of
from .text import free_name, full_name, norm, numbers_text, optimizer_text, package_path, rows_text, shape_text, summary


class Trace:
    """A trace holds what one training step computed, in order; ``minictr.trace`` makes it.

    ``print(trace)`` writes it all; a notebook shows it as tables that fold.

    Attributes
    ----------
    steps : list of Step, one for each array that a line assigned or changed.
    model : name of the model's class.   X, y : the rows.   loss : their mean loss before the update.
    optimizer : its name (or those of its groups), learning rate, and how many steps it has made with this one.
    layers : {name: class} of what occurs in the steps.
    edges : DataFrame of the arrays that flow between the model's layers: source, target, symbol, shape, and
        ``gradient``, the norm of dL/d(that array) (NaN for ids, which have none). The node s is the logit.
    gradients : {layer: {parameter: norm of its gradient}}.
    """

    def __init__(self, model, X, y, recorder, start):
        reader = Reader(recorder)
        self.model, self.X, self.y, self.loss = type(model).__name__, X, y, recorder.loss
        self.steps = reader.steps
        self._start, self._detail = start, recorder.detail        # the model before the step, and its rows
        calls = list(recorder.calls.values())
        self.layers = {call.layer: type(call.owner).__name__ for call in calls}
        self.optimizer = f"{optimizer_text(model.optimizer_)}, step {model.optimizer_.t}"
        self.edges = edges_of(model, calls, reader)
        self.gradients = {}
        for name, layer in named_layers(model):
            norms = {key: norm(grad.values if isinstance(grad, RowGradient) else grad)
                     for key, grad in layer.grads.items()}
            self.gradients.setdefault(name.partition(".")[0], {}).update(
                {f"{name}.{key}".partition(".")[2]: norm for key, norm in norms.items()})

    def __len__(self):
        return len(self.steps)

    def __repr__(self):
        return f"<Trace of {self.model}: {len(self)} steps, {len(self.X)} rows; print it, or look at its table>"

    @property
    def table(self):
        """Return a DataFrame with one line a step.

        Columns: step, phase, layer, function, symbol, notation, paper, equation, line, source, axes, shape, dtype, min,
        max, mean, norm (of all numbers, the root of the sum of their squares), values (the array).
        """
        return pd.DataFrame([{
            "step": step.number, "phase": step.phase, "layer": step.layer, "function": step.function,
            "symbol": step.symbol, "notation": step.notation, "paper": step.paper, "equation": step.equation,
            "line": step.line, "source": step.source, "axes": step.axes, "shape": step.value.shape,
            "dtype": str(step.value.dtype), **summary(step.value), "values": step.value} for step in self.steps])

    @property
    def arrays(self):
        """Return {"layer.symbol": array}, such as "attention.aij" or "attention.W.m"; of several, the last."""
        return {f"{step.layer}.{step.symbol}": step.value for step in self.steps}

    def flow(self, ax=None):
        """Draw the model's layers, the arrays that flow down and the gradients that come back, and return the Axes."""
        from ..plots import flow

        return flow(self, ax=ax)

    def save_page(self, path, epochs=None):
        """Write the step as a page to touch: one HTML file, which needs no network and no Python.

        All arrays are tables there, each gradient below its array. Pointing at a number lights up those that its line
        reads for it, with the arithmetic; a number that is changed changes all that follow from it.

        Parameters
        ----------
        path : the file, such as "step.html".
        epochs : a ``StepOverEpochs`` that watched the training; the page then has a slider from epoch to epoch. The
            random numbers of dropout are those of the traced step in all of them.

        For this the step is made once more, on numbers that remember what they were computed from
        (``minictr.tracing.nodes``): so whatever a layer of your own does with NumPy's arithmetic is on the page too.

        Raises
        ------
        NotFollowed : a TypeError that names the line, where a layer leaves NumPy or does something too unusual.
        TypeError : for ``epochs`` that are anything else than a ``StepOverEpochs``.
        ValueError : for a step of too many numbers, or ``epochs`` of other rows or of another model.

        >>> import tempfile
        >>> from minictr import AFM, datasets, trace
        >>> clicks = datasets.make_clicks(200, seed=0)
        >>> model = AFM(embedding_dim=2, attention_dim=2).prepare(clicks.X, clicks.y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trace(model, clicks.X[:1], clicks.y[:1]).save_page(f"{folder}/step.html")
        """
        Path(path).write_text(page_html(self.page_data(epochs)), encoding="utf-8")

    def page_data(self, epochs=None, digits=None):
        """Return what the page is made from, as a dict for JSON: all arrays, and for each number how it came about.

        ``digits`` : to how many the numbers are rounded from which the step starts. Other arguments and errors: see
        ``save_page``.
        """
        if not (epochs is None or isinstance(epochs, StepOverEpochs)):
            raise TypeError("epochs must be a StepOverEpochs that watched the training, as in model.fit(X, y, "
                            f"after_epoch=watch), got {type(epochs).__name__}")
        model, rows = self._start
        check_size(self.steps, model)
        return page_data(model, rows, self.X, self.y, self._detail, epochs, digits)

    def groups(self):
        """Return the steps by layer, in order: [(phase, layer, [Step, ...])].

        A line of the model that only takes what a layer returned stands with that layer, and so do the layers inside.
        """
        groups = []
        for step in self.steps:
            layer = step.layer if step.phase == "update" else step.layer.partition(".")[0]
            last = groups[-1] if groups else (None, None, None)
            taken = step.layer == self.model and step.same_as is not None and last[0] == step.phase
            if taken or last[:2] == (step.phase, layer):
                last[2].append(step)
            else:
                groups.append((step.phase, layer, [step]))
        return groups

    def __str__(self):
        lines = [self._title(), "", textwrap.indent(rows_text(self.X, self.y), "  "), "",
                 "Each array: number, line, name in the code (paper's symbol), axes = shape, [equation of the paper];",
                 "then the statement with the comment at its end, and the numbers. Axes: B rows, M fields, S slots (a",
                 "row's ids), P pairs of fields, k numbers of a vector, n ids in all; in attention, t hidden units or",
                 "H heads of d numbers each."]
        for phase, layer, steps in self.groups():
            lines += ["", f"---- {phase}: {self._heading(layer)} ".ljust(110, "-")]
            for step in steps:
                lines += self._step_lines(step, layer)
        return "\n".join([*lines, "", *self._index()])

    def _title(self):
        rows, fields = self.X.shape
        return (f"One training step of {self.model}: {rows} row{'s' * (rows > 1)}, {fields} "
                f"field{'s' * (fields > 1)}, loss {self.loss:.4g} ({self.optimizer})")

    def _heading(self, layer):
        kind = self.layers.get(layer, "")
        return layer if kind == layer else f"{layer} ({kind})"

    def _step_lines(self, step, group):
        name = full_name(step) if step.layer in (group, self.model) else f"{step.layer}: {full_name(step)}"
        paper = f"  [{step.paper}]" if step.paper else ""
        source = step.source.splitlines()
        values = [f"= step {step.same_as}"] if step.same_as else numbers_text(step.value)
        turns = f"  (after {step.times} turns)" if step.times > 1 else ""
        return [f"{step.number:4}  {step.line:<24}  {name}  {shape_text(step)}{paper}{turns}",
                *(f"      {line}" for line in source), *(f"        {line}" for line in values)]

    def _index(self):
        """Where each equation of the paper stands in the source."""
        found = {}
        for step in self.steps:
            if step.paper and not step.paper.startswith("derivative"):
                found.setdefault(step.paper, {}).setdefault(f"{package_path(step.file)}:{step.lineno}", {})[
                    step.symbol] = None
        if not found:
            return []
        width = max(map(len, found))
        lines = ["Where the papers' equations are in the source:"]
        for paper in sorted(found, key=lambda paper: (paper.startswith("part of"), paper)):
            for i, (place, symbols) in enumerate(found[paper].items()):
                lines.append(f"  {'' if i else paper:<{width}}  {place}  {', '.join(symbols)}")
        return lines

    def _repr_html_(self):
        parts = [STYLE, f"<p><b>{html.escape(self._title())}</b></p>",
                 self.X.assign(**{free_name("y", self.X): self.y}).to_html(index=False, border=0)]
        parts += [group_html(phase, self._heading(layer), steps, layer, self.model)
                  for phase, layer, steps in self.groups()]
        index = "\n".join(self._index())
        return f'<div class="minictr-trace">{"".join(parts)}<pre>{html.escape(index)}</pre></div>'


def edges_of(model, calls, reader):
    """Return the arrays between the layers that the model calls: see ``Trace.edges``."""
    own = [call for call in calls if call.is_layer and call.parent is not None and call.parent.owner is model]
    backward = {call.layer: call for call in own if call.phase == "backward"}
    made, edges, symbols = [], [], {}                             # made: (array, layer), the latest last
    for step, array in zip(reader.steps, reader.sources, strict=True):
        if step.layer == type(model).__name__ and ("[" not in step.symbol or id(array) not in symbols):
            symbols[id(array)] = step.symbol                      # E, not a0[0] where it stands in a list as well
    forward = [call for call in own if call.phase == "forward"]
    for call in forward:
        values = list(call.inputs.values())[1:]
        if any(call.output is value for value in values):
            continue                                              # dropout at rate 0: nothing happens there
        dxs = backward[call.layer].output if call.layer in backward else None
        dxs = dxs if isinstance(dxs, (list, tuple)) else [dxs] * len(values)      # of several inputs, a gradient each
        for value, dx in zip(values, dxs, strict=True):
            if isinstance(value, Slots):
                edges.append(("input", call.layer, "ids", value.ids.shape, np.nan))
            elif isinstance(value, np.ndarray):
                same = [pair for pair in made if root_of(pair[0]) is root_of(value) and pair[0].size == value.size]
                source, symbol = ((same[-1][1], symbols.get(id(same[-1][0]), "")) if same else
                                  (made[-1][1] if made else "input", ""))
                edges.append((source, call.layer, symbol, value.shape, np.nan if dx is None else norm(dx)))
        made.append((call.output, call.layer))
    used = {source for source, *_ in edges}
    for array, layer in made:
        if layer not in used:
            dout = list(backward[layer].inputs.values())[1] if layer in backward else None
            edges.append((layer, "s", symbols.get(id(array), ""), array.shape,
                          np.nan if dout is None else norm(dout)))
    loss = next(call for call in calls if call.phase == "backward" and isinstance(call.owner, model.loss_))
    edges.append(("s", "loss", "s", loss.output.shape, norm(loss.output)))
    return pd.DataFrame(edges, columns=["source", "target", "symbol", "shape", "gradient"])
