"""The recorder notes what a training step executes, line by line, and which arrays there are at each line."""

import dataclasses
import functools
import inspect
import sys

import numpy as np

from ..layers import Layer, RowGradient, named_layers, parameters
from ..optim import Optimizer
from ..slots import Slots
from .nodes import NodeArray


@dataclasses.dataclass(eq=False)
class Call:
    """One call is that of a function whose lines are recorded.

    Attributes
    ----------
    code : its code object.   owner : the layer, model, loss or optimizer.   layer : the owner's dotted name.
    phase : "forward", "loss", "backward" or "update".   parent : the Call from which it came, or None.
    line : where in the parent that was.   inputs : its arguments by name.   output : what it returned.
    """

    code: object
    owner: object
    layer: str
    phase: str
    parent: "Call | None"
    line: int | None
    inputs: dict
    output: object = None

    @property
    def is_layer(self):
        """Return whether this is forward or backward of a layer, rather than of a model, or a function inside of it."""
        return isinstance(self.owner, Layer) and self.code.co_name in ("forward", "backward")


class _Parameters(dict):
    """The parameters of a layer, which note when one is looked up: few layers give theirs a name of its own."""

    def __init__(self, params, note):
        super().__init__(params)
        self.note = note

    def __getitem__(self, name):
        self.note(name)
        return super().__getitem__(name)


class Recorder:
    """Note at each line of a training step which arrays there are, and what is in them.

    What follows from it is worked out afterwards (``Reader``); here only what would be overwritten is kept: what
    ``copy`` makes of an array.
    """

    def __init__(self, model, detail, copy=np.copy):
        self.model, self.detail, self.copy = model, detail, copy
        self.names = {id(layer): name for name, layer in reversed(list(named_layers(model)))}
        self.params = parameters(model)
        self.packages = {type(owner).__module__.partition(".")[0]
                         for owner in (model, *(layer for _, layer in named_layers(model)))}
        self.calls = {}         # of each frame
        self.events = []        # (Call, "call" or "line" or "return", line number, {name: (array, its copy)})
        self.copies = {}        # id of an array: the array, and the latest copy of it
        self.contents = {}      # id of an array: its shape and bytes then
        for _, layer in named_layers(model):
            layer.params = _Parameters(layer.params, functools.partial(self._read, layer))

    def record(self, function):
        """Run the function and keep what it does; its exceptions pass through."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            self.loss = function()
        finally:
            sys.settrace(before)

    def modules(self):
        """The modules of the packages that the layers and the model come from, but for those that trace."""
        return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in self.packages
                and not name.startswith(__package__)]

    def _enter(self, frame, event, argument):
        """Python calls this for each function that is called; returns what to call for its lines, or None."""
        code, parent = frame.f_code, self.calls.get(frame.f_back)
        arguments = code.co_varnames[:code.co_argcount]
        owner = frame.f_locals.get(arguments[0]) if arguments else None
        place = self._place(owner, code.co_name, frame)
        if place is None and parent is not None and (owner is parent.owner or self._is_helper(frame)):
            place, owner = (parent.layer, parent.phase), parent.owner
        if place is None:
            return None
        inputs = {name: frame.f_locals[name] for name in arguments}
        if code.co_flags & inspect.CO_VARARGS:                    # forward(self, *parts): "parts[0]", "parts[1]", ...
            rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
            inputs |= {f"{rest}[{i}]": value for i, value in enumerate(frame.f_locals[rest])}
        line = None if parent is None else frame.f_back.f_lineno
        self.calls[frame] = Call(code, owner, *place, parent, line, inputs)
        self._note(frame, "call")
        return self._line

    def _line(self, frame, event, argument):
        """Python calls this before each line of such a function, and when it returns."""
        if event == "return":
            self.calls[frame].output = argument
        if event in ("line", "return"):
            self._note(frame, event, argument)
        return self._line

    def _place(self, owner, function, frame):
        """(layer's name, phase) of the functions of which a step consists, else None."""
        if function in ("forward", "backward"):
            if owner is self.model or id(owner) in self.names:
                return self.names.get(id(owner), type(owner).__name__), function
            if isinstance(owner, self.model.loss_):
                return type(owner).__name__, "loss" if function == "forward" else "backward"
        if isinstance(owner, Optimizer) and function in ("update", "update_rows"):      # or one of several in one
            return self._parameter(frame), "update"
        if owner is self.model and function == "with_l2":
            return "reg", "update"
        return None

    def _is_helper(self, frame):
        """Whether to follow a function that is called from a line of a layer."""
        module = frame.f_globals.get("__name__", "")
        return (self.detail == "all" and module.partition(".")[0] in self.packages
                and not module.startswith(__package__) and not frame.f_code.co_name.startswith(("<", "__")))

    def _parameter(self, frame):
        """Which parameter an update is for: it gets the parameter, or some of its rows, and its caller has it."""
        while frame is not None:
            array = frame.f_locals.get("param")
            for name, param in self.params.items():
                if isinstance(array, np.ndarray) and np.may_share_memory(array, param):
                    return name
            frame = frame.f_back
        return ""

    def _read(self, layer, name):
        """A line looks a parameter up."""
        frame = sys._getframe(2)
        while frame is not None and frame not in self.calls:      # a comprehension has a frame of its own
            frame = frame.f_back
        if frame is not None and id(layer) in self.names:
            arrays = {}
            self._keep(arrays, (layer, name), dict.__getitem__(layer.params, name))
            self.events.append((self.calls[frame], "read", frame.f_lineno, arrays))

    def _note(self, frame, event, returned=None):
        call = self.calls[frame]
        arrays = {}
        of_layer = [(kind, getattr(call.owner, kind, None)) for kind in ("cache", "grads", "state")]
        for name, value in (*frame.f_locals.items(), *of_layer):
            if isinstance(value, dict):
                for key, item in value.items():
                    self._keep(arrays, (name, key), item)
            else:
                self._keep(arrays, name, value)
                for i, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
                    self._keep(arrays, f"{name}[{i}]", item)
        if event == "return":
            self._keep(arrays, "return", np.asarray(returned) if isinstance(returned, float) else returned)
        self.events.append((call, event, frame.f_lineno, arrays))

    def _is_of_nodes(self, array, key):
        """Whether to keep an array of nodes; not a number by itself, which of floats would be no array."""
        return isinstance(array, NodeArray) and (array.ndim > 0 or key == "return")

    def _keep(self, arrays, key, value):
        """Add the value to ``arrays`` if it is an array, with a copy of it: the latest one if nothing changed."""
        array = value.values if isinstance(value, RowGradient) else value
        if isinstance(value, Slots):
            for name in ("ids", "x"):
                self._keep(arrays, f"{key}.{name}", getattr(value, name, None))       # None: just being made
        elif isinstance(array, np.ndarray) and (array.dtype.kind in "biuf" or self._is_of_nodes(array, key)):
            if self.contents.get(id(value)) != (array.shape, array.tobytes()):
                self.copies[id(value)] = value, self.copy(array)
                self.contents[id(value)] = array.shape, array.tobytes()
            arrays[key] = self.copies[id(value)]
