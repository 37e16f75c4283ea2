"""The optimizers' updates, fast: in parts that stay in a core's cache, on several threads, without denormals.

Held to ``Optimizer.step`` by tests. An optimizer of your own class, or one of which a method was changed, makes its own
step (``twins.is_as_written``).
"""

import itertools

import numpy as np

from ..layers import RowGradient
from ..optim import FTRL, SGD, Adagrad, Adam, Grouped
from .fast_rows import put_rows
from .threads import Threads
from .twins import is_as_written, remember

# Weights and moments that decay towards 0 end in numbers below 1e-38 ("denormals"), with which processors
# are many times slower. Anything smaller than TINY is 0 for every purpose here; every FLUSH_EVERY steps it
# becomes 0 (in between a moment shrinks by at most 0.9^64, a factor of 1000, and stays well above 1e-38).
TINY = 1e-30
FLUSH_EVERY = 64
# Touched rows are flushed once in FLUSH_EVERY steps too, but at a step drawn at random: at every 64th, rows that
# each epoch touches at the same odd steps (full batches in a fixed order, say) would never be flushed.
FLUSH_STEPS = np.random.default_rng(0).integers(FLUSH_EVERY, size=1009).tolist()

# Parameters are updated in parts of this many numbers: a part, its gradient and its moments stay in the cache.
# Threads share out the parts if there are enough of them; for less, waking another thread takes longer than the work.
PART_NUMBERS = 2 ** 16
WORTH_SHARING = 4

remember(SGD, Adagrad, Adam, FTRL, Grouped)


def update_in_parts(optimizer, params, grads, threads=None):
    """What ``optimizer.step(params, grads)`` does; each number is updated on its own, so the work can be cut anywhere.

    Parameters
    ----------
    optimizer : its t and state go on as after its own step.   params, grads : dicts from name to array (grads also to
    RowGradient).   threads : Threads that share out the parts; None for the caller's alone.
    """
    if not is_as_written(optimizer):
        optimizer.step(params, grads)
        return
    if isinstance(optimizer, Grouped):
        for of_group, own_grads in optimizer.shares(params, grads):
            update_in_parts(of_group, params, own_grads, threads)
        optimizer.t += 1
        return
    optimizer.t += 1
    block, step = divmod(optimizer.t - 1, FLUSH_EVERY)
    flush_arrays = step == FLUSH_EVERY - 1
    flush_rows = step == FLUSH_STEPS[block % len(FLUSH_STEPS)]
    work = []
    for name, grad in grads.items():
        param, state = params[name], optimizer.state_of(name, params[name])
        learning_rate = optimizer.learning_rate * optimizer.multiplier(name)
        if isinstance(grad, RowGradient) and optimizer.lazy:
            rows, sums = grad.sum()
            for part in parts_of(sums):
                work.append((update_rows, param, sums[part], state, optimizer, learning_rate, flush_rows, rows[part]))
            continue
        if isinstance(grad, RowGradient):
            grad = grad.dense(len(param))
        for part in parts_of(grad):
            cut_state = {key: array[part] for key, array in state.items()}
            work.append((update_array, param[part], grad[part], cut_state, optimizer, learning_rate, flush_arrays))
    if threads is None or len(work) < WORTH_SHARING:
        threads = Threads(1)
    threads.map(lambda item: item[0](*item[1:]), work)


def update_array(param, grad, state, optimizer, learning_rate, flush):
    """Update a part of an array in place; with ``flush`` what is as good as 0 becomes 0."""
    if type(optimizer) is Adam:
        adam(param, grad, state, optimizer, learning_rate)
    else:
        optimizer.update(param, grad, state, learning_rate)
    if flush:
        for array in (param, *state.values()):
            array[np.abs(array) < TINY] = 0


def update_rows(table, grad, state, optimizer, learning_rate, flush, rows):
    """Take the touched rows out, update them as if they were all, put them back."""
    touched = table.take(rows, axis=0)
    touched_state = {key: array.take(rows, axis=0) for key, array in state.items()}
    update_array(touched, grad, touched_state, optimizer, learning_rate, flush)
    put_rows(table, rows, touched)
    for key, array in touched_state.items():
        put_rows(state[key], rows, array)


def adam(param, grad, state, optimizer, learning_rate):
    """``Adam.update`` without its temporary arrays: m and v in place, and the rest on one scratch array."""
    m, v = state["m"], state["v"]
    m *= optimizer.beta1
    m += (1 - optimizer.beta1) * grad                             # m = beta1 m + (1 - beta1) g
    v *= optimizer.beta2
    v += (1 - optimizer.beta2) * (grad * grad)                    # v = beta2 v + (1 - beta2) g^2
    change = v * (1 / (1 - optimizer.beta2 ** optimizer.t))       # v^
    np.sqrt(change, out=change)
    change += optimizer.eps
    np.divide(m, change, out=change)
    change *= learning_rate / (1 - optimizer.beta1 ** optimizer.t)    # the 1 / (1 - beta1^t) of m^
    param -= change                                               # w = w - lr m^ / (sqrt(v^) + eps)


def parts_of(array):
    """Slices that cut an array along its first axis into equal parts of at most PART_NUMBERS numbers.

    >>> parts_of(np.zeros((3, PART_NUMBERS)))
    [slice(0, 1, None), slice(1, 2, None), slice(2, 3, None)]
    """
    n_parts = min(-(-array.size // PART_NUMBERS), len(array))
    bounds = [len(array) * i // n_parts for i in range(n_parts + 1)] if n_parts else []
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
