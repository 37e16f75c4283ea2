"""SGD, Adagrad and Adam: the update rules work in place, on whole arrays or on the touched rows of a table."""

import numpy as np

from .layers import RowGradient, matches


class Optimizer:
    """The base of the optimizers keeps their moments, knows each parameter's learning rate, takes row-sparse gradients.

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

    def step(self, params, grads):
        """Update every parameter that has a gradient. Both are dicts from name to array (or RowGradient)."""
        self.t += 1
        for name, grad in grads.items():
            param, state = params[name], self.state_of(name, params[name])
            learning_rate = self.learning_rate * self.multiplier(name)
            if isinstance(grad, RowGradient) and self.lazy:
                rows, sums = grad.sum()
                self.update_rows(param, rows, sums, state, learning_rate)
            else:
                grad = grad.dense(len(param)) if isinstance(grad, RowGradient) else grad
                self.update(param, grad, state, learning_rate)

    def update_rows(self, table, rows, grad, state, learning_rate):
        """Take the touched rows out, update them as if they were all, and put them back."""
        param = table[rows]
        row_state = {key: array[rows] for key, array in state.items()}
        self.update(param, grad, row_state, learning_rate)
        table[rows] = param
        for key, array in row_state.items():
            state[key][rows] = array

    def state_of(self, name, param):
        """Return the moments of the parameter called ``name``; new ones at its first step."""
        if name not in self.state:
            self.state[name] = self.new_state(param)
        return self.state[name]

    def multiplier(self, name):
        """Return the factor on the learning rate of the parameter called ``name``."""
        prefixes = [prefix for prefix in self.lr_multipliers if matches(name, [prefix])]
        return self.lr_multipliers[max(prefixes, key=len)] if prefixes else 1.0


class SGD(Optimizer):
    """Stochastic gradient descent steps against the gradient:  w = w - lr g.

    >>> w = np.array([1.0])
    >>> SGD(0.1).step({"w": w}, {"w": np.array([2.0])}); w
    array([0.8])
    """

    def new_state(self, array):
        return {}

    def update(self, param, grad, state, learning_rate):
        param -= learning_rate * grad                             # w = w - lr g


class Adagrad(Optimizer):
    """Adagrad's steps shrink for parameters which moved much already (Duchi, Hazan & Singer 2011).

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
        G += grad ** 2                                            # G = G + g^2
        param -= learning_rate * grad / (np.sqrt(G) + self.eps)   # w = w - lr g / (sqrt(G) + eps)


class Adam(Optimizer):
    """Adam steps by running means of the gradient and of its square (Kingma & Ba 2015, algorithm 1).

        m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
        w = w - lr m^ / (sqrt(v^) + eps)     m^ = m / (1 - beta1^t),  v^ = v / (1 - beta2^t)

    t counts the steps of the whole model, also for the rows of a table that a step leaves out (lazy). So a row that
    is touched first late in training has a small m and a much smaller v: a step of 3.2 lr, then of up to 6.6 lr.

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
        m[...] = self.beta1 * m + (1 - self.beta1) * grad         # m = beta1 m + (1 - beta1) g
        v[...] = self.beta2 * v + (1 - self.beta2) * grad ** 2    # v = beta2 v + (1 - beta2) g^2
        m_hat = m / (1 - self.beta1 ** self.t)                    # m^ = m / (1 - beta1^t)
        v_hat = v / (1 - self.beta2 ** self.t)                    # v^ = v / (1 - beta2^t)
        param -= learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)      # w = w - lr m^ / (sqrt(v^) + eps)
