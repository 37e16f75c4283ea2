"""SGD, Adagrad and Adam. The update rules work in place, on whole arrays or on the touched rows of a table."""

import itertools

import numpy as np

from .layers.embedding import RowGradient
from .threads import Threads

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


class Optimizer:
    """Base of the optimizers: bookkeeping, per-parameter learning rates, row-sparse gradients.

    Parameters
    ----------
    learning_rate : size of a step.
    lr_multipliers : dict from a parameter's name or the beginning of it ("attention", "attention.W") to a
        factor on its learning rate; the longest match counts.
    lazy : a table's rows that a batch did not touch are left as they are, as in torch's SparseAdam, so that a
        step costs what the batch touches. False: the textbook's rule, on all rows (for SGD and Adagrad the
        result is the same; Adam's moments decay, and move the row, at every step).

    A subclass has ``new_state(array)``, a dict of arrays shaped like the parameter, and
    ``update(param, grad, state, learning_rate)``, which changes param and state in place.
    """

    def __init__(self, learning_rate, lr_multipliers=None, lazy=True):
        self.learning_rate = learning_rate
        self.lr_multipliers = dict(lr_multipliers or {})
        self.lazy = lazy
        self.t = 0
        self.state = {}

    def step(self, params, grads, threads=None):
        """Update every parameter that has a gradient. Both are dicts from name to array (or RowGradient).

        Each number is updated on its own, so the work can be cut anywhere: it is cut into parts that stay in a
        core's cache, which ``threads`` (minictr.threads.Threads) share out.
        """
        self.t += 1
        block, step = divmod(self.t - 1, FLUSH_EVERY)
        flush_arrays = step == FLUSH_EVERY - 1
        flush_rows = step == FLUSH_STEPS[block % len(FLUSH_STEPS)]
        updates = []
        for name, grad in grads.items():
            if name not in self.state:
                self.state[name] = self.new_state(params[name])
            param, state = params[name], self.state[name]
            learning_rate = self.learning_rate * self.multiplier(name)
            rows = None
            if isinstance(grad, RowGradient):
                rows, grad = grad.sum() if self.lazy else (None, grad.dense(len(param)))
            for part in parts_of(grad):
                if rows is None:
                    arrays = param[part], grad[part], {key: array[part] for key, array in state.items()}
                    updates.append((self._update, *arrays, learning_rate, flush_arrays))
                else:
                    updates.append((self._update_rows, param, grad[part], state, learning_rate, flush_rows, rows[part]))
        if threads is None or len(updates) < WORTH_SHARING:
            threads = Threads(1)
        threads.map(lambda update: update[0](*update[1:]), updates)

    def multiplier(self, name):
        """The factor on the learning rate of the parameter called ``name``."""
        matches = [prefix for prefix in self.lr_multipliers if (name + ".").startswith(prefix + ".")]
        return self.lr_multipliers[max(matches, key=len)] if matches else 1.0

    def _update(self, param, grad, state, learning_rate, flush):
        self.update(param, grad, state, learning_rate)
        if flush:
            for array in (param, *state.values()):
                array[np.abs(array) < TINY] = 0

    def _update_rows(self, param, grad, state, learning_rate, flush, rows):
        """Take the touched rows out, update them as if they were all, put them back."""
        touched = param.take(rows, axis=0)
        touched_state = {key: array.take(rows, axis=0) for key, array in state.items()}
        self._update(touched, grad, touched_state, learning_rate, flush)
        put_rows(param, rows, touched)
        for key, array in touched_state.items():
            put_rows(state[key], rows, array)


def parts_of(array):
    """Slices that cut an array along its first axis into equal parts of at most PART_NUMBERS numbers."""
    n_parts = min(-(-array.size // PART_NUMBERS), len(array))
    bounds = [len(array) * i // n_parts for i in range(n_parts + 1)] if n_parts else []
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


def put_rows(table, rows, values):
    """table[rows] = values, for distinct rows.

    NumPy's assignment copies a row number by number; seen as one item each, rows are copied in a third of the time.

    >>> table = np.zeros((3, 2))
    >>> put_rows(table, [2, 0], np.array([[1.0, 2.0], [3.0, 4.0]])); table
    array([[3., 4.],
           [0., 0.],
           [1., 2.]])
    """
    if table.ndim == 2 and table.flags.c_contiguous:
        row = np.dtype((np.void, table.itemsize * table.shape[1]))
        table.view(row)[:, 0].put(rows, np.ascontiguousarray(values).view(row)[:, 0])
    else:
        table[rows] = values


class SGD(Optimizer):
    """Stochastic gradient descent:  w = w - lr g.

    >>> w = np.array([1.0])
    >>> SGD(0.1).step({"w": w}, {"w": np.array([2.0])}); w
    array([0.8])
    """

    def new_state(self, array):
        return {}

    def update(self, param, grad, state, learning_rate):
        param -= learning_rate * grad


class Adagrad(Optimizer):
    """Steps that shrink for parameters which moved much already (Duchi, Hazan & Singer 2011).

        G = G + g^2,   w = w - lr g / (sqrt(G) + eps)     G starts at ``initial`` (1e-8 in the AFM authors' code)

    >>> w = np.array([1.0])
    >>> Adagrad(0.1, initial=0.0).step({"w": w}, {"w": np.array([2.0])}); w
    array([0.9])
    """

    def __init__(self, learning_rate, initial=1e-8, eps=1e-10, lr_multipliers=None, lazy=True):
        super().__init__(learning_rate, lr_multipliers, lazy)
        self.initial, self.eps = initial, eps

    def new_state(self, array):
        return {"G": np.full_like(array, self.initial)}

    def update(self, param, grad, state, learning_rate):
        G = state["G"]
        G += grad * grad                                          # G = G + g^2
        param -= learning_rate * grad / (np.sqrt(G) + self.eps)   # w = w - lr g / (sqrt(G) + eps)


class Adam(Optimizer):
    """Steps from running means of the gradient and of its square (Kingma & Ba 2015, algorithm 1).

        m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
        w = w - lr m^ / (sqrt(v^) + eps)     m^ = m / (1 - beta1^t),  v^ = v / (1 - beta2^t)

    t counts the steps of the whole model, also for the rows of a table that a step leaves out (lazy). So a row that
    is touched for the first time late in training has a small m and a much smaller v, and takes a step of up to 3 lr.

    >>> w = np.array([1.0])
    >>> Adam(0.1).step({"w": w}, {"w": np.array([2.0])}); w.round(6)     # the first step is lr * sign(g)
    array([0.9])
    """

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-8, lr_multipliers=None, lazy=True):
        super().__init__(learning_rate, lr_multipliers, lazy)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def new_state(self, array):
        return {"m": np.zeros_like(array), "v": np.zeros_like(array)}

    def update(self, param, grad, state, learning_rate):
        m, v = state["m"], state["v"]
        m *= self.beta1
        m += (1 - self.beta1) * grad                              # m = beta1 m + (1 - beta1) g
        v *= self.beta2
        v += (1 - self.beta2) * (grad * grad)                     # v = beta2 v + (1 - beta2) g^2
        # in place, on one scratch array:  lr m^ / (sqrt(v^) + eps)
        step = v * (1 / (1 - self.beta2 ** self.t))               # v^
        np.sqrt(step, out=step)
        step += self.eps
        np.divide(m, step, out=step)
        step *= learning_rate / (1 - self.beta1 ** self.t)        # the 1 / (1 - beta1^t) of m^
        param -= step
