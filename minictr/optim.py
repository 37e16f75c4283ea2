"""SGD, Adagrad, Adam, FTRL. The update rules work in place, on whole arrays or on the touched rows of a table."""

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

    A subclass has ``new_state(array, learning_rate)``, a dict of arrays shaped like the parameter, and
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
            self.state[name] = self.new_state(param, self.learning_rate * self.multiplier(name))
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

    def new_state(self, array, learning_rate):
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

    def new_state(self, array, learning_rate):
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

    def new_state(self, array, learning_rate):
        return {"m": np.zeros_like(array), "v": np.zeros_like(array)}

    def update(self, param, grad, state, learning_rate):
        m, v = state["m"], state["v"]
        m[...] = self.beta1 * m + (1 - self.beta1) * grad         # m = beta1 m + (1 - beta1) g
        v[...] = self.beta2 * v + (1 - self.beta2) * grad ** 2    # v = beta2 v + (1 - beta2) g^2
        m_hat = m / (1 - self.beta1 ** self.t)                    # m^ = m / (1 - beta1^t)
        v_hat = v / (1 - self.beta2 ** self.t)                    # v^ = v / (1 - beta2^t)
        param -= learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)      # w = w - lr m^ / (sqrt(v^) + eps)


class FTRL(Optimizer):
    """FTRL-Proximal: its L1 makes weights exactly 0 that do not earn their place (McMahan et al. 2013, algorithm 1).

        sigma = (sqrt(n + g^2) - sqrt(n)) / lr       z = z + g - sigma w       n = n + g^2
        w = 0 where |z| <= l1, else -(z - sign(z) l1) / ((beta + sqrt(n)) / lr + l2)

    w follows from z and n alone. For a parameter that does not start at 0, z starts where w is its start.

    >>> w = np.zeros(2)
    >>> FTRL(0.1, l1=1.0).step({"w": w}, {"w": np.array([0.5, -2.0])}); w.round(6)      # -(-2 + 1) / ((1 + 2) / 0.1)
    array([0.      , 0.033333])
    """

    def __init__(self, learning_rate, l1=0.0, l2=0.0, beta=1.0, lr_multipliers=None, lazy=True):
        super().__init__(learning_rate, lr_multipliers, lazy)
        self.l1, self.l2, self.beta = l1, l2, beta

    def new_state(self, array, learning_rate):
        if learning_rate == 0:                                    # a multiplier of 0: it will stay where it is
            return {}
        z = -array * (self.beta / learning_rate + self.l2) - np.sign(array) * self.l1
        return {"z": z, "n": np.zeros_like(array)}

    def update(self, param, grad, state, learning_rate):
        if learning_rate == 0:
            return
        z, n = state["z"], state["n"]
        sigma = (np.sqrt(n + grad ** 2) - np.sqrt(n)) / learning_rate     # sigma = (sqrt(n + g^2) - sqrt(n)) / lr
        z += grad - sigma * param                                 # z = z + g - sigma w
        n += grad ** 2                                            # n = n + g^2
        w = -(z - np.sign(z) * self.l1) / ((self.beta + np.sqrt(n)) / learning_rate + self.l2)
        param[...] = np.where(np.abs(z) <= self.l1, 0, w)         # w = 0 where |z| <= l1


class Grouped(Optimizer):
    """An optimizer for each group of parameters, as Wide&Deep has them.

    Parameters
    ----------
    groups : dict from the beginning of parameters' names to the Optimizer that updates them.
    rest : the Optimizer of all other parameters.

    >>> w, W = np.zeros(1), np.zeros(1)
    >>> Grouped({"wide": SGD(1.0)}, rest=SGD(0.1)).step({"wide.w": w, "W": W}, {"wide.w": w + 1, "W": W + 1}); w, W
    (array([-1.]), array([-0.1]))
    """

    def __init__(self, groups, rest):
        super().__init__(rest.learning_rate, rest.lr_multipliers, rest.lazy)
        self.groups, self.rest = groups, rest

    def step(self, params, grads):
        for optimizer, own_grads in self.shares(params, grads):
            optimizer.step(params, own_grads)
        self.t += 1

    def shares(self, params, grads):
        """Each optimizer and the gradients that it is for; it has the steps and the states that are kept here."""
        for name in grads:
            self.state_of(name, params[name])                     # in the order of the gradients, as elsewhere
        for optimizer in dict.fromkeys((*self.groups.values(), self.rest)):       # one may stand for several groups
            optimizer.t, optimizer.state = self.t, self.state     # one dict for all: saved and loaded as one
            yield optimizer, {name: grad for name, grad in grads.items() if self.of(name) is optimizer}

    def state_of(self, name, param):
        if name not in self.state:
            optimizer = self.of(name)
            self.state[name] = optimizer.new_state(param, optimizer.learning_rate * optimizer.multiplier(name))
        return self.state[name]

    def of(self, name):
        """The optimizer of the parameter called ``name``."""
        prefixes = [prefix for prefix in self.groups if matches(name, [prefix])]
        return self.groups[max(prefixes, key=len)] if prefixes else self.rest


OPTIMIZERS = {"adam": Adam, "adagrad": Adagrad, "sgd": SGD, "ftrl": FTRL}      # by the name that a setting gives
