"""One training step, plainly: forward, loss, backward, update, on the whole batch at once.

This is what ``Model.train_step`` runs, and what to step through in a debugger. ``fit`` runs the same step in parts that
fit the cache, on several threads (``minictr.training.chunked``); tests hold the one to the other.
"""

import contextlib

import numpy as np

from ..checks import all_finite
from ..layers import RowGradient, gradients, matches, named_layers, parameters


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or not a number; the message says when, and in which array it began."""


def step(model, slots, y, c=None):
    """One training step on a batch of encoded rows; caches and gradients of the whole batch stay in the layers.

    Parameters
    ----------
    model : a model after ``prepare`` or ``fit``.   slots, y, c : as ``model.encode`` gives them: Slots of B rows,
        targets (B,), and weights of the rows (B,) or None.

    Returns: the batch's mean loss, before the update.
    Raises: TrainingDiverged where that is not finite; nothing was updated then.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(200, seed=0)
    >>> model = FM(embedding_dim=2).prepare(clicks.X, clicks.y)
    >>> L = step(model, *model.encode(clicks.X, clicks.y))
    >>> model.embedding.cache["slots"].ids.shape, model.linear.grads["w0"].shape
    ((200, 10), (1,))
    """
    loss = model.loss_()
    s = model.forward(slots)                                      # (B,)       logits
    L = loss.forward(s, y, c)                                     #            the batch's mean loss
    check_finite(L, s, model)
    model.backward(loss.backward())                               #            dL/ds, and from it every gradient
    grads = gradients(model)                                      #            without what is frozen
    check_complete(grads, model)
    model.optimizer_.step(parameters(model), with_l2(model, grads, B=len(s)))
    return L


def with_l2(model, grads, B):
    """The gradients of  L + reg / B ||W||^2:  to those of L comes  2 reg / B W,  for the W that ``reg`` is for.

    Of a table count the looked-up rows, once for each time that they were looked up with a weight x other than 0. The
    gradients given stay as they are.
    """
    if not model.reg:
        return grads
    strength, params = 2 * model.reg / B, parameters(model)
    grads = dict(grads)
    for name, grad in grads.items():
        if not matches(name, model.regularized):
            continue
        if isinstance(grad, RowGradient):
            grads[name] = grad.plus_looked_up(params[name], strength)   # ... for each looked-up row of W
        else:
            grads[name] = grad + strength * params[name]          # dL/dW + 2 reg / B W
    return grads


def check_complete(grads, model):
    """Raise TypeError unless there is a gradient for each parameter of the model that is not frozen."""
    for name in parameters(model):
        if name not in grads and not matches(name, model.freeze):
            raise TypeError(f"{type(model).__name__}.backward left no gradient for {name}: does it call "
                            f"{name.rpartition('.')[0]}.backward? (freeze={name!r} leaves it out on purpose)")


def check_finite(L, s, model):
    """Raise TrainingDiverged if the loss L of the logits s is not finite, naming the array in which that began."""
    if np.isfinite(L):
        return
    check_arrays(parameters(model), f"the loss is {L}: ")
    for name, array in [*cached_arrays(model), ("the logit", s)]:
        if not all_finite(array):
            raise TrainingDiverged(f"the loss is {L}: the first array of the forward pass that is not finite is {name}")
    raise TrainingDiverged(f"the loss is {L}: every array of the forward pass is finite, but the logits are too large "
                           "for their loss")


def check_arrays(arrays, what="", kind="the parameter"):
    """Raise TrainingDiverged, with ``what`` before the reason, unless all these arrays of a kind are finite."""
    for name, array in arrays.items():
        if not all_finite(array):
            raise TrainingDiverged(f"{what}{kind} {name} is not finite any more")


def cached_arrays(model):
    """Every array of floating-point numbers in the layers' caches, those in lists too: (dotted name, array)."""
    for layer_name, layer in named_layers(model):
        for name, value in layer.cache.items():
            several = isinstance(value, (list, tuple))
            for i, array in enumerate(value if several else [value]):
                if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                    yield f"{layer_name}.{name}{f'[{i}]' if several else ''}", array


@contextlib.contextmanager
def training_mode(model):
    """Within this block dropout and batch norm train. What overflows is not warned of: ``step`` reports the loss."""
    set_training(model, True)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    finally:
        set_training(model, False)


def set_training(model, on):
    """Switch dropout and batch norm between training and predicting."""
    for _, layer in named_layers(model):
        layer.training = on
