"""What every layer is: parameters, their gradients, and a cache of the latest forward pass."""

import copy

import numpy as np


class Layer:
    """One step of a model: ``forward(x)`` computes it, ``backward(dout)`` differentiates it.

    ``forward`` leaves in ``cache`` the arrays that ``backward`` needs, under the paper's symbols.
    ``backward`` takes dL/dout, *assigns* dL/dparameter to ``grads`` (it never adds to what is there, so
    calling it twice does no harm) and returns dL/dx, of the shape of x. The loss alone divides by the
    number of rows.

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
    """Every layer found in the attributes of a model or layer: (dotted name, layer), in order.

    The layers of a list attribute are numbered from 1.

    >>> from minictr.layers import MLP
    >>> mlp = MLP(4, [3], rng=np.random.default_rng(0))
    >>> [name for name, layer in named_layers(mlp)]
    ['dense_1', 'relu_1', 'dropout_1', 'out']
    """
    for name, value in vars(owner).items():
        if isinstance(value, Layer):
            found = [(name, value)]
        elif isinstance(value, list):
            found = [(f"{name}_{i}", item) for i, item in enumerate(value, 1) if isinstance(item, Layer)]
        else:
            continue
        for layer_name, layer in found:
            yield layer_name, layer
            for inner_name, inner in named_layers(layer):
                yield f"{layer_name}.{inner_name}", inner


def parameters(owner):
    """All parameters of a layer or model by dotted name, e.g. "attention.W"; the arrays themselves."""
    return _collect(owner, "params")


def gradients(owner):
    """The gradients that the latest backward pass left, by the same names as ``parameters``."""
    return _collect(owner, "grads")


def states(owner):
    """What is saved but not trained (batch norm's running means), by the same names."""
    return _collect(owner, "state")


def _collect(owner, kind):
    found = dict(getattr(owner, kind)) if isinstance(owner, Layer) else {}
    for layer_name, layer in named_layers(owner):
        found.update({f"{layer_name}.{name}": value for name, value in getattr(layer, kind).items()})
    return found


def replica(owner):
    """A twin of a model or layer that shares its parameters and has cache and gradients of its own.

    Two replicas can run forward and backward at the same time, on two threads, each on its part of a
    batch; ``minictr.training`` adds their gradients and updates the shared parameters once.
    """
    twin = copy.copy(owner)
    if isinstance(owner, Layer):
        twin.grads, twin.cache = {}, {}
    for name, value in vars(owner).items():
        if isinstance(value, Layer):
            setattr(twin, name, replica(value))
        elif isinstance(value, list):
            setattr(twin, name, [replica(item) if isinstance(item, Layer) else item for item in value])
    return twin


def glorot_normal(rng, n_in, n_out, dtype):
    """Normal draws of variance 2 / (n_in + n_out), shape (n_in, n_out) (Glorot & Bengio 2010)."""
    return (rng.standard_normal((n_in, n_out)) * np.sqrt(2.0 / (n_in + n_out))).astype(dtype)
