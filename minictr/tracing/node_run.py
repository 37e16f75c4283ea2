"""The traced step once more, on numbers that remember how they came about."""

import copy
import traceback

import numpy as np

from ..layers import matches, named_layers, parameters
from ..slots import Slots
from ..training import step, training_mode
from .new_arrays import new_arrays_remember
from .nodes import NodeArray, NotFollowed, constants, leaves, told_apart
from .recorder import Recorder
from .steps import Reader
from .text import package_path

# What a step never changes: the copy of a model shares it with the model.
SHARED = ("encoder_", "init_from", "rating_data_", "history_")
MOST_ROWS = 64                  # a trace is to be read
MOST_PARAMETERS = 300_000       # each becomes an object, and with Adam so do its two moments


def copy_of(model):
    """A copy of the model that can be trained without a trace left on it; dropout's random numbers go on in it."""
    copied = copy.deepcopy(model, {id(value): value for name, value in vars(model).items() if name in SHARED})
    for _, layer in named_layers(copied):
        layer.cache, layer.grads = {}, {}
    return copied


def is_large(model):
    """Whether a model has too many parameters for the page of a step."""
    return sum(array.size for array in parameters(model).values()) > MOST_PARAMETERS


def leaf_arrays(model, rows):
    """All numbers from which a step of this model on these rows starts: {name: array}.

    They are parameters and running means by their dotted names, the optimizer's moments ("m of attention.W") and its
    number of steps so far ("t"), the slots' weights "x" if they are not all 1, and the targets "y".
    """
    slots, y, c = rows
    params = parameters(model)
    arrays = dict(params)
    for name, layer in named_layers(model):
        arrays |= {f"{key} of {name}": array for key, array in layer.state.items()}
    for name, moments in moments_of(model).items():
        arrays |= {f"{key} of {name}": array for key, array in moments.items()}
    arrays |= {"t": np.array(model.optimizer_.t), "y": y}
    return arrays | ({} if slots.x is None else {"x": slots.x.astype(model.dtype)}) | ({} if c is None else {"c": c})


def moments_of(model):
    """The optimizer's moments of each parameter that is trained, as its first step makes them: {name: {"m": array}}."""
    optimizer = copy.copy(model.optimizer_)
    optimizer.state = dict(optimizer.state)                       # where it may note them; the model's own stays
    return {name: optimizer.state_of(name, param) for name, param in parameters(model).items()
            if not matches(name, model.freeze)}


def decimal(array, digits=None):
    """The array's numbers in float64, as they are written: a float32 of 0.1 is 0.1. Rounded to ``digits``, if given.

    >>> decimal(np.float32([0.1, 1 / 3])).tolist(), decimal([1 / 3], digits=3).tolist()
    ([0.1, 0.33333334], [0.333])
    """
    array = np.asarray(array)
    texts = map(str, array.ravel()) if digits is None else (f"{number:.{digits}g}" for number in array.ravel().tolist())
    return np.array([float(text) for text in texts]).reshape(array.shape)


def step_on_nodes(model, rows, detail, digits=None):
    """Run the step on nodes, on a copy of the model, and return the Reader of it: its steps hold arrays of nodes.

    Parameters
    ----------
    model : a model before the step.   rows : (Slots, y, weights or None) of ``model.encode``.   detail : see ``trace``.
    digits : to how many the numbers from which the step starts are rounded.

    Raises: NotFollowed, naming the line; ValueError for a model of too many parameters.
    """
    if is_large(model):
        size = sum(array.size for array in parameters(model).values())
        raise ValueError(f"the page of a step is for a small model, of at most {MOST_PARAMETERS:,} parameters; "
                         f"this {type(model).__name__} has {size:,}. Take one with smaller settings, or of fewer rows")
    model = copy_of(model)
    nodes = {name: leaves(decimal(array, digits), name) for name, array in leaf_arrays(model, rows).items()}
    moments = {name: {key: nodes[f"{key} of {name}"] for key in own} for name, own in moments_of(model).items()}
    for name, layer in named_layers(model):
        layer.params = {key: nodes[f"{name}.{key}"] for key in layer.params}
        layer.state = {key: nodes[f"{key} of {name}"] for key in layer.state}
    optimizer = model.optimizer_
    optimizer.t = nodes["t"]
    optimizer.state = moments
    slots = rows[0]
    slots = Slots.trusted(slots.ids, nodes.get("x"), slots.starts, slots.weighted)
    recorder = Recorder(model, detail, _nodes_of)
    try:
        with training_mode(model), new_arrays_remember(recorder.modules()):
            recorder.record(lambda: step(model, slots, nodes["y"], nodes.get("c")))
    except Exception as error:
        raise NotFollowed(_where_lost(error, recorder)) from error
    return Reader(recorder)


def _nodes_of(array):
    """What the recorder keeps of an array: its nodes, each place with one of its own; of whole numbers these."""
    if isinstance(array, NodeArray):
        told_apart(array)
    return constants(array) if array.dtype.kind in "fO" else array.copy()


def _where_lost(error, recorder):
    """The message of an error that plain numbers do not raise: which line, and what to do there."""
    followed = {call.code.co_filename for call in recorder.calls.values()}
    lines = [line for line in traceback.extract_tb(error.__traceback__) if line.filename in followed]
    where = f"{package_path(lines[-1].filename)}:{lines[-1].lineno}, {lines[-1].line}" if lines else "the step"
    why = str(error) if isinstance(error, NotFollowed) else f"{type(error).__name__}: {error}"
    return (f"the page of a step cannot follow its numbers through {where}: {why}. It follows NumPy's arithmetic, "
            "comparisons, sums, products, np.where, reshaping and indexing: write the line with these")
