"""While a step runs on nodes, the arrays that its lines make are of nodes too."""

import contextlib
import functools
import threading
import types

import numpy as np

from .nodes import constants, one_step

MAKERS = ("zeros", "ones", "empty", "full")                       # of an array from its shape
READERS = ("array", "asarray", "ascontiguousarray")               # of an array from numbers
FUNCTION_TYPES = (type(np.zeros), type(np.full))                  # built into NumPy, or written in Python


@contextlib.contextmanager
def new_arrays_remember(modules):
    """Within this block ``np.zeros`` and the like give arrays of nodes to the lines of these modules, on this thread.

    An array of floats, such as a layer makes to fill it in, could not hold nodes. NumPy itself stays as it is: it is
    the name ``np`` of the modules that stands for another one meanwhile (or ``zeros``, where that was imported).
    """
    thread = threading.get_ident()
    creators = {getattr(np, name): _creator(getattr(np, name), thread) for name in (*MAKERS, *READERS)}
    numpy = types.ModuleType("numpy")
    numpy.__dict__.update({name: creators.get(value, value) if callable(value) else value
                           for name, value in vars(np).items()})
    numpy.__getattr__ = functools.partial(getattr, np)            # what NumPy imports when it is asked for
    changed = []
    with one_step():
        try:
            for module in modules:
                for name, value in list(vars(module).items()):
                    other = numpy if value is np else creators.get(value) if isinstance(value, FUNCTION_TYPES) else None
                    if other is not None:
                        changed.append((module, name, value))
                        setattr(module, name, other)
            yield
        finally:
            for module, name, value in changed:
                setattr(module, name, value)


def _creator(original, thread):
    """A function of NumPy that makes arrays, of nodes where they would be floats."""
    reads = original.__name__ in READERS

    def create(*args, **kwargs):
        if threading.get_ident() != thread:
            return original(*args, **kwargs)
        if reads and np.dtype(kwargs.get("dtype", args[1] if len(args) > 1 else None)).kind in "fO":
            args, kwargs = args[:1], {}                           # np.array(numbers, float): what they are, as nodes
        result = original(*args, **kwargs)
        return constants(result) if result.dtype.kind in "fO" else result

    return create
