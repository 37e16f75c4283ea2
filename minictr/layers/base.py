"""Every layer has parameters, their gradients, and a cache of the latest forward pass."""

import copy

import numpy as np


class Layer:
    """One step of a model: ``forward(x)`` computes it, ``backward(dout)`` differentiates it.

    ``forward`` leaves in ``cache`` the arrays that ``backward`` needs, under the paper's symbols.
    ``backward`` takes dL/dout, *assigns* dL/dparameter to ``grads`` (it never adds to what is there, so
    calling it twice does no harm) and returns dL/dx, of the shape of x (of ids there is none). The loss alone
    divides by the number of rows.

    Attributes
    ----------
    params : dict of the arrays that training changes, always in place.
    grads : dict of the same names, filled by ``backward``.
    cache : dict of arrays of the latest forward pass.
    state : dict of arrays that are saved with the model but not trained (batch norm's running means).
    training : True while the model trains; only dropout and batch norm look at it.
    """

    tables = ()     # names of the parameters that have one row for every value of every field

    def __init__(self):
        self.params = {}
        self.grads = {}
        self.cache = {}
        self.state = {}
        self.training = False

    def __repr__(self):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.params.items())
        return f"{type(self).__name__}({shapes})"


def named_layers(owner):
    """Return every layer found in the attributes of a model or layer, as (dotted name, layer), in order.

    The layers of a list attribute are numbered from 1. Layers anywhere else (in a tuple, a dict, a list of lists) are
    overlooked, which ``check_layers`` refuses.

    >>> from minictr.layers import MLP
    >>> mlp = MLP(4, [3], rng=np.random.default_rng(0))
    >>> [name for name, layer in named_layers(mlp)]
    ['dense_1', 'relu_1', 'dropout_1', 'out']
    """
    found, waiting = [], [("", owner)]
    while waiting:
        layer_name, part = waiting.pop()
        found.append((layer_name, part))
        prefix, inner = f"{layer_name}." if layer_name else "", []
        for name, value in list(vars(part).items()):              # another thread may set an attribute meanwhile
            if isinstance(value, Layer):
                inner.append((f"{prefix}{name}", value))
            elif isinstance(value, list):
                inner += [(f"{prefix}{name}_{i}", item) for i, item in enumerate(value, 1) if isinstance(item, Layer)]
        waiting += reversed(inner)
    return found[1:]


def check_layers(owner, settings=(), n=None):
    """Raise TypeError where a model or layer keeps a layer that would be neither trained nor saved.

    Parameters
    ----------
    owner : a model after ``build``, or a layer.   settings : names of the constructor's arguments, of which a layer
        must not take the place: they are saved and cloned.   n : the number of ids, if known: each of ``tables`` must
        have a row for each, as rows that training did not see are filled in.
    """
    for layer_name, part in [("", owner), *named_layers(owner)]:
        where = f"{type(owner).__name__}.{layer_name}" if layer_name else type(owner).__name__
        for table in getattr(part, "tables", ()):
            if n is not None and len(part.params[table]) != n:
                raise TypeError(f"{where}.tables names {table!r}, which has {len(part.params[table])} rows, and there "
                                f"are {n} ids of all fields. A table with rows of its own is none of them: tables = ()")
        for name, value in vars(part).items():
            if not isinstance(value, (Layer, list, tuple, set, dict)) or name in ("params", "grads", "cache", "state"):
                continue
            if part is owner and name in settings:
                if isinstance(value, Layer) or (isinstance(value, (list, tuple, dict)) and holds_layers(value)):
                    raise TypeError(
                        f"{where}.{name} is a setting, and now holds a layer: the model could not be saved, cloned or "
                        f"fitted again. Give the layer a name of its own, such as self.{name}_layer")
                continue
            for item in value if isinstance(value, list) else [value]:
                if not isinstance(item, Layer) and holds_layers(item):
                    kind = "nested list" if isinstance(value, list) else type(value).__name__
                    raise TypeError(f"{where}.{name} holds layers in a {kind}, where they would be neither trained nor "
                                    "saved. Keep each layer in an attribute of its own, or all in one flat list")


def holds_layers(value):
    """Return whether a value is a layer, or a list, tuple, set or dict with one somewhere in it.

    >>> holds_layers({"a": (1, [Layer()])}), holds_layers([1, "b"])
    (True, False)
    """
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set)):
        return any(holds_layers(item) for item in value)
    return isinstance(value, Layer)


def parameters(owner):
    """Return all parameters of a layer or model, the arrays themselves, by dotted name, such as "attention.W"."""
    return _collect(owner, "params")


def gradients(owner):
    """Return the gradients of the latest backward pass by the same names, without what a model's ``freeze`` names."""
    grads, frozen = all_gradients(owner), getattr(owner, "freeze", ())
    return {name: grad for name, grad in grads.items() if not matches(name, frozen)} if frozen else grads


def all_gradients(owner):
    """Return the same and the gradients of what is frozen, which ``backward`` leaves too."""
    grads = _collect(owner, "grads")
    return {name: grads[name] for name in parameters(owner) if name in grads}


def states(owner):
    """Return what is saved but not trained (batch norm's running means), by the same names."""
    return _collect(owner, "state")


def _collect(owner, kind):
    found = dict(getattr(owner, kind)) if isinstance(owner, Layer) else {}
    for layer_name, layer in named_layers(owner):
        for name, value in getattr(layer, kind).items():
            found[f"{layer_name}.{name}"] = value
    return found


def matches(name, prefixes):
    """Return whether a dotted parameter name is one of ``prefixes`` or lies below one of them.

    >>> matches("attention.W", ["attention"]), matches("attention.W", ["att"])
    (True, False)
    """
    return any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)


def replica(owner):
    """Return the same model or layer once more: it shares the parameters, and has cache and gradients of its own.

    Two replicas can run forward and backward at the same time, on two threads, each on a chunk of a
    batch; ``minictr.training.chunked`` adds their gradients and updates the shared parameters once.
    """
    other = copy.copy(owner)
    if isinstance(owner, Layer):
        other.grads, other.cache = {}, {}
    for name, value in list(vars(other).items()):
        if isinstance(value, Layer):
            setattr(other, name, replica(value))
        elif isinstance(value, list):
            setattr(other, name, [replica(item) if isinstance(item, Layer) else item for item in value])
    return other


def glorot_normal(rng, n_in, n_out, dtype):
    """Draw normal numbers of variance 2 / (n_in + n_out), in shape (n_in, n_out) (Glorot & Bengio 2010)."""
    return (rng.standard_normal((n_in, n_out)) * np.sqrt(2.0 / (n_in + n_out))).astype(dtype)
