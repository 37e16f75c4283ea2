"""Lines become steps: which statement made or changed which array, and which equation that is."""

import ast
import dataclasses
import inspect
import linecache
import re
import textwrap
from pathlib import Path

import numpy as np

from ..estimator import Model
from ..layers import RowGradient
from .source import comment_of, computes, equations_of, statements_of, targets_of

PHASES = ("forward", "loss", "backward", "update")
# How names in the code are written in the papers, where the line's own comment does not say it.
NOTATION = {"E": "e_i", "w0": "w_0", "pij": "p_ij", "aij": "a_ij", "a": "a_mk",
            "W_Q": "W_Query", "W_K": "W_Key", "W_V": "W_Value", "W_Res": "W_Res", "slots.x": "x_i"}
TABLE_NOTATION = {"V": "v_i", "w": "w_i"}


@dataclasses.dataclass(eq=False)
class Step:
    """A step is one array at the moment when a line had computed or changed it.

    A line in a loop that changes the same array at each turn is one step: the array as its last turn left it.

    Attributes
    ----------
    number : from 1.   phase : "forward", "loss", "backward" or "update".
    layer : dotted name, the model's or loss's class, or (update) the parameter.   function : where the line is.
    symbol : the name in the code; "dW" for grads["W"].   notation : the same as the paper writes it.
    equation : the comment at the line's end, without the shape.   axes : the shape that it claims, "(B, k)".
    paper : which equation of the paper this is, or is a part or a derivative of; "" if that is not known.
    file, lineno : the line.   source : the statement.   value : a copy of the array.
    same_as : number of the earlier step that has the same array, or None.
    times : how often the line changed this array before it was as shown: 1, except in loops.
    """

    number: int
    phase: str
    layer: str
    function: str
    symbol: str
    notation: str
    equation: str
    axes: str
    paper: str
    file: str
    lineno: int
    source: str
    value: np.ndarray
    same_as: int | None
    times: int = 1

    @property
    def line(self):
        """Return the line as "afm.py:95"."""
        return f"{Path(self.file).name}:{self.lineno}"


class Reader:
    """Work out from a recorder's events which statement made or changed which array: the steps."""

    def __init__(self, recorder):
        self.detail, self.names = recorder.detail, recorder.names
        self.steps = []
        self.latest = {}        # id of an array: the copy of it that was shown last, and the step
        self.in_layer = {}      # (layer, symbol): the same, and the axes that its comment named
        self.unfilled = set()   # ids of arrays from np.empty of which nothing is filled in yet
        self.notations = {}     # (layer, symbol): as the paper writes it
        self.papers = {}        # (layer, symbol or notation): the equation of which the forward array is all or a part
        self.inverted = {}      # of each backward call: the equation of which its latest line is the derivative
        self.turns = {}         # (call, statement, id of an array that it changes): the step of its latest turn
        self.sources = []       # of each step: the object that its array was
        running = {}            # of each call: the statement that runs, and the arrays before it
        for call, event, line, arrays in recorder.events:
            if event == "call":
                self._read_arguments(call, arrays)
                running[call] = None, arrays
                continue
            statements = statements_of(call.code).get(line)
            if event == "read":
                for (layer, name), (array, value) in arrays.items():
                    if statements and not self._shown(self.names[id(layer)], name, array, value):
                        self._add(call, statements[0], name, array, value, layer)
                continue
            current, before = running[call]
            if statements is not current or event == "return":
                for statement in current or ():
                    self._read(call, statement, before, arrays)
                running[call] = statements, arrays
        self._leave_out_earlier_turns()

    def _leave_out_earlier_turns(self):
        """Of the steps of a line in a loop keep the last, and number all anew."""
        kept = [i for i, step in enumerate(self.steps) if step is not None]
        numbers = {self.steps[i].number: number for number, i in enumerate(kept, start=1)}
        self.steps, self.sources = ([entries[i] for i in kept] for entries in (self.steps, self.sources))
        for step in self.steps:
            step.number, step.same_as = numbers[step.number], numbers.get(step.same_as)

    def _read_arguments(self, call, arrays):
        """What comes in from outside the lines that are followed, and what a caller computed for this call."""
        function = call.code.co_name
        statement = statements_of(call.code)[0][0]
        if function == "update_rows":
            self._add(call, statement, "rows", *arrays["rows"])
        elif function == "update":
            for name in ("param", "grad"):
                self._add(call, statement, name, *arrays[name])
        elif isinstance(call.owner, Model) and function == "forward" and call.parent is None:
            for name in arrays:                                   # the ids that are looked up, and their weights x
                self._add(call, statement, name, *arrays[name])
        elif call.is_layer and call.parent is not None:
            for name in call.inputs:
                if name in arrays and not self._is_known(arrays[name][0]):
                    statements = statements_of(call.parent.code).get(call.line, ())
                    for outer in statements:
                        self._add(call.parent, outer, name, *arrays[name])

    def _is_known(self, array):
        """Whether this array, or the one that it is another view of, was shown as it is."""
        root = root_of(array)
        return any(root_of(known) is root and known.size == array.size for known, _, _ in self.latest.values())

    def _read(self, call, statement, before, after):
        """Add a step for each array that the statement assigned or changed."""
        if isinstance(statement, ast.Return):
            self._read_return(call, statement, after)
            return
        targets, in_place = targets_of(statement)
        empty = any(isinstance(node, ast.Attribute) and node.attr in ("empty", "empty_like")
                    for node in ast.walk(statement))
        keys = []
        for target in targets:
            if target in ("self.cache", "self.grads", "self.state"):
                keys += [key for key in after if key[0] == target[5:] and after[key] is not before.get(key)]
            else:
                keys += [key for key in after if key == target or str(key).startswith(f"{target}[")
                         or (in_place and isinstance(key, tuple) and key[0] == target
                             and after[key] is not before.get(key))]
        # what a called function changed, such as np.add.at(dV, ids, dE)
        also = [key for key in after if isinstance(key, str) and key not in keys and key in before
                and after[key][0] is before[key][0] and after[key][1] is not before[key][1]
                and not any(np.may_share_memory(root_of(after[key][0]), root_of(after[other][0])) for other in keys)]
        for key in dict.fromkeys((*keys, *also)):
            array, value = after[key]
            root = id(root_of(array))
            changed = in_place or key in also
            if changed:
                self.unfilled.discard(root)
            elif empty:
                self.unfilled.add(root)
            fetched = key[0] in ("cache", "state") or not computes(statement)
            known = ((fetched and self._shown(call.layer, key, array, value))
                     or (key in also and self._is_latest(array, value)))
            if root not in self.unfilled and not known:
                self._add(call, statement, key, array, value)
                if changed:
                    self._join_turns(call, statement, array)

    def _join_turns(self, call, statement, array):
        """Let the latest step stand for the one of an earlier turn of the same line, in a loop, if there is one."""
        earlier = self.turns.get((call, statement, id(array)))
        if earlier is not None:
            self.steps[-1].times += earlier.times
            self.steps[earlier.number - 1] = None
        self.turns[call, statement, id(array)] = self.steps[-1]

    def _is_latest(self, array, value):
        """Whether a line that was called has shown the array as it is now."""
        return id(array) in self.latest and self.latest[id(array)][1] is value

    def _shown(self, layer, key, array, value):
        """Whether a step of this layer has this array as it is: for a name under this name, for a cache any."""
        if key[0] == "cache":
            return any(place == layer and known[0] is array and known[1] is value
                       for (place, _), known in self.in_layer.items())
        known = self.in_layer.get((layer, _symbol(key)))
        return known is not None and known[0] is array and known[1] is value

    def _read_return(self, call, statement, arrays):
        """What a function returns, unless it is an array that already has a name there."""
        if "return" not in arrays or isinstance(statement.value, ast.Name):
            return
        array, value = arrays["return"]
        if any(array is other for key, (other, _) in arrays.items() if key != "return"):
            return
        function, owner = call.code.co_name, call.owner
        if function == "forward":
            symbol = "L" if call.phase == "loss" else "s" if isinstance(owner, Model) else "out"
        elif function == "backward":
            first = inspect.getfullargspec(type(owner).forward).args[1]
            symbol = f"d{first}"
        elif self.detail == "all":
            symbol = f"{function}()"
        else:
            return
        self._add(call, statement, symbol, array, value)

    def _add(self, call, statement, key, array, value, read_from=None):
        """Add a step; with ``read_from`` one for a parameter of that layer, which the statement only reads."""
        symbol, file, layer = _symbol(key), call.code.co_filename, call.layer
        axes, equation = comment_of(file, statement)
        if "[" in symbol and any(isinstance(getattr(node, "ctx", None), ast.Store) for node in ast.walk(statement)
                                 if isinstance(node, ast.Starred)):
            axes = ""                                             # in "dE, *others = ..." it is that of dE
        if read_from is None:
            paper, notation = self._cite(call, statement, symbol, equation, self._is_latest(array, value))
        else:
            layer, paper, notation = self.names[id(read_from)], "", _notation(symbol, read_from)
            if computes(statement):
                axes, equation = "", ""                           # the comment is about what the statement assigns
        known = self.in_layer.get((layer, symbol))
        if not axes and known is not None and known[1].shape == value.shape:
            axes = known[2]
        same_as = self.latest[id(array)][2] if self._is_latest(array, value) else None
        lines = linecache.getlines(file)[statement.lineno - 1:statement.end_lineno]
        if isinstance(statement, ast.FunctionDef):
            lines = lines[:1]
        number = len(self.steps) + 1
        self.steps.append(Step(number, call.phase, layer, call.code.co_name, symbol, notation, equation, axes, paper,
                               file, statement.lineno, textwrap.dedent("".join(lines)).rstrip(), value, same_as))
        self.sources.append(array)
        self.latest[id(array)] = array, value, number
        self.in_layer[layer, symbol] = array, value, axes

    def _cite(self, call, statement, symbol, equation, is_passed_on):
        """(equation of the paper, symbol as the paper writes it).

        ``is_passed_on`` : whether the statement has its array from a line that is shown already.
        """
        equations = equations_of(type(call.owner))
        left, equals, formula = equation.partition(" = ")
        if call.phase == "update":
            return self._cite_update(call, statement, symbol, left if equals else symbol, equations)
        is_helper = call.code.co_name not in ("forward", "backward")
        if call.phase == "backward":
            return self._cite_backward(call, left if equals else "", equation, equations, is_helper), \
                self._gradient(call, symbol)
        said = left if equals else re.match(r"[^\s,:]*", equation)[0]
        formula = formula or equation
        is_name = equals and re.fullmatch(r"[A-Za-z]\S*", left)       # "<v_i, v_j> = ..." only explains
        paper, notation = "", left if is_name else _notation(symbol, call.owner)
        whole = next(((lhs, citation) for lhs, rhs, citation in equations if lhs == said or rhs == formula), None)
        part = next(((lhs, citation) for lhs, rhs, citation in equations if len(formula) > 2 and formula in rhs), None)
        if whole:
            notation, paper = whole
        elif part:
            paper = f"part of {part[1]}"
            notation = symbol if notation == part[0] else notation        # e_i is the whole of it
        elif computes(statement) and not is_helper and (equation or not is_passed_on):
            for lhs, _, citation in equations:
                if notation == lhs or symbol == "out" == lhs.partition("_")[0]:
                    notation, paper = lhs, citation
                    break
        if not is_helper:
            self.notations[call.layer, symbol] = notation
            for name in (symbol, notation):
                self.papers[call.layer, name] = paper.removeprefix("part of ")
        return paper, notation

    def _cite_update(self, call, statement, symbol, said, equations):
        """The same for a line of the optimizer, which says ``said = ...`` at its end."""
        parameter = call.layer.rpartition(".")[2]
        cited = next((citation for lhs, _, citation in equations if lhs == said), "")
        named = {"param": parameter, "table": parameter, "grad": f"dL/d{parameter}"}
        return cited if computes(statement) else "", named.get(symbol, said if cited else symbol)

    def _cite_backward(self, call, inverted, equation, equations, is_helper):
        """Of which equation a line of a backward pass is the derivative; ``inverted``: the left side of what it says.

        "the same, with respect to W" stands below a line that names the equation.
        """
        if not equation.startswith("the same"):
            cited = next((citation for lhs, _, citation in equations if lhs == inverted), "")
            if not cited and not is_helper:
                cited = self.papers.get((call.layer, inverted), "")
            self.inverted[call] = f"derivative of {cited}" if cited else ""
        return self.inverted.get(call, "")

    def _gradient(self, call, symbol):
        """The name of a gradient as the papers write it: dpij_pool is "dL/dp_ij (pool)"."""
        if not re.match(r"d[a-zA-Z]", symbol):
            return _notation(symbol, call.owner)
        name = symbol[1:]
        base, _, rest = name.partition("_")
        if name not in NOTATION and base in NOTATION and rest:
            return f"dL/d{NOTATION[base]} ({rest})"
        return f"dL/d{self.notations.get((call.layer, name), _notation(name, call.owner))}"


def _notation(symbol, owner):
    """How the papers write a name; v_i and w_i are the rows of a layer that looks them up."""
    names = TABLE_NOTATION if symbol in getattr(owner, "tables", ()) else NOTATION
    return names.get(symbol, symbol)


def _symbol(key):
    """The name under which an array is shown: ("grads", "W") is dW."""
    if isinstance(key, str):
        return key
    kind, name = key
    return {"grads": f"d{name}", "cache": name}.get(kind, f"{kind}.{name}")


def root_of(array):
    """Return the array whose memory this is a view of."""
    array = array.values if isinstance(array, RowGradient) else array
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
