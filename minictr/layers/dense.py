"""A multi-layer perceptron stacks dense layers, ReLU, dropout, and batch norm or, in AutoInt, layer norm."""

import numpy as np

from .base import Layer, glorot_normal
from .functions import relu, relu_backward


class Dense(Layer):
    """Apply an affine map:  out = x W + b.

    Backward:  dW = x^T dout,   db = sum_b dout,   dx = dout W^T.

    Shapes: x (B, n_in) in, (B, n_out) out.

    >>> Dense(3, 2, np.random.default_rng(0)).forward(np.ones((4, 3), np.float32)).shape
    (4, 2)
    """

    def __init__(self, n_in, n_out, rng, dtype=np.float32):
        super().__init__()
        self.params["W"] = glorot_normal(rng, n_in, n_out, dtype)
        self.params["b"] = np.zeros(n_out, dtype)

    def forward(self, x):
        self.cache = {"x": x}
        return x @ self.params["W"] + self.params["b"]            # (B, n_out)

    def backward(self, dout):
        self.grads["W"] = self.cache["x"].T @ dout                # (n_in, n_out)  out = x W + b
        self.grads["b"] = dout.sum(axis=0)                        # (n_out,)
        return dout @ self.params["W"].T                          # (B, n_in)


class Readout(Layer):
    """Read a vector out as one number, the last step of a model:  out = x . w + b.

    Backward:  dw = x^T dout,   db = sum_b dout,   dx = dout w.

    Parameters
    ----------
    n_in : size of x.   start : the first value of w, one number or an array.
    symbol : the name of w in the paper (AFM's is p).   bias : whether there is a b.

    Shapes: x (B, n_in) in, (B,) out.

    >>> Readout(3, start=2.0, symbol="p", bias=False).forward(np.ones((1, 3), np.float32))
    array([6.], dtype=float32)
    """

    def __init__(self, n_in, start, symbol="w", bias=True, dtype=np.float32):
        super().__init__()
        self.symbol = symbol
        self.params[symbol] = np.full(n_in, start, dtype)
        if bias:
            self.params["b"] = np.zeros(1, dtype)

    def forward(self, x):
        self.cache = {"x": x}
        out = x @ self.params[self.symbol]                        # (B,)
        return out + self.params["b"] if "b" in self.params else out

    def backward(self, dout):
        self.grads[self.symbol] = dout @ self.cache["x"]          # (n_in,)    out = x . w + b
        if "b" in self.params:
            self.grads["b"] = dout.sum(keepdims=True)             # (1,)
        return dout[:, None] * self.params[self.symbol]           # (B, n_in)


class ReLU(Layer):
    """Cut off what is negative:  out = max(x, 0).   Backward:  dx = dout where x > 0, else 0.

    >>> ReLU().forward(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def forward(self, x):
        self.cache = {"x": x}
        return relu(x)

    def backward(self, dout):
        return relu_backward(dout, self.cache["x"])               # out = max(x, 0)


class Dropout(Layer):
    """While training, set a random share ``rate`` of the numbers to 0 and divide the others by 1 - rate.

        out = x * mask,   mask = 0 with probability rate, else 1 / (1 - rate)

    The mean stays what it was, so that nothing has to change when the model predicts ("inverted dropout").
    Backward:  dx = dout * mask.

    ``rate`` is the share that is *dropped* (DeepFM's paper and the authors' AFM code give the share kept).

    >>> dropout = Dropout(0.5, np.random.default_rng(0))
    >>> dropout.forward(np.ones(4, np.float32))                   # not training: x as it is
    array([1., 1., 1., 1.], dtype=float32)
    >>> dropout.training = True
    >>> sorted(set(dropout.forward(np.ones(100, np.float32)).tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate, rng):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout must be at least 0 and below 1 (the share dropped), got {rate}")
        self.rate = rate
        self.rng = rng

    def forward(self, x):
        if not self.training or self.rate == 0:
            self.cache = {"mask": None}
            return x
        kept = self.rng.random(x.shape, np.float32) >= self.rate  # float32: cheaper, and the same mask for both dtypes
        mask = kept * x.dtype.type(1 / (1 - self.rate))
        self.cache = {"mask": mask}
        return x * mask

    def backward(self, dout):
        mask = self.cache["mask"]
        return dout if mask is None else dout * mask              # out = x * mask


class BatchNorm(Layer):
    """Give every column mean 0 and variance 1 over the batch, then a learned scale and shift.

        xhat = (x - mean) / sqrt(var + eps)        mean and var over the B rows of the batch, 1/B
        out  = gamma xhat + beta                                  (Ioffe & Szegedy 2015, algorithm 1)

    Backward (mean and var depend on every row, hence the two sums):
        dxhat = gamma dout
        dx    = (dxhat - mean_b(dxhat) - xhat mean_b(dxhat xhat)) / sqrt(var + eps)

    While predicting, running means of mean and var take their place; they are kept in ``state`` and follow
    the batches as running = (1 - momentum) running + momentum batch (var as B / (B - 1) var, unbiased).

    Shapes: x (B, n) in and out. Raises: ValueError for a training batch of one row, whose variance is 0.

    >>> norm = BatchNorm(1, dtype=np.float64)
    >>> norm.training = True
    >>> norm.forward(np.array([[1.0], [3.0]])).round(3).tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, n, momentum=0.1, eps=1e-5, dtype=np.float32):
        super().__init__()
        self.params["gamma"] = np.ones(n, dtype)
        self.params["beta"] = np.zeros(n, dtype)
        self.state["mean"] = np.zeros(n, dtype)
        self.state["var"] = np.ones(n, dtype)
        self.momentum, self.eps = momentum, eps

    def forward(self, x):
        if self.training:
            B = len(x)
            if B < 2:
                raise ValueError("batch norm cannot train on a batch of one row: its variance is 0; choose "
                                 "a batch_size that leaves no single row over")
            mean, var = x.mean(axis=0), x.var(axis=0)             # (n,)
            for running, batch in (("mean", mean), ("var", var * (B / (B - 1)))):
                self.state[running] *= 1 - self.momentum
                self.state[running] += self.momentum * batch
        else:
            mean, var = self.state["mean"], self.state["var"]
        deviation = np.sqrt(var + self.eps)                       # (n,)
        xhat = (x - mean) / deviation                             # (B, n)
        self.cache = {"xhat": xhat, "deviation": deviation, "training": self.training}
        return self.params["gamma"] * xhat + self.params["beta"]

    def backward(self, dout):
        xhat, deviation = self.cache["xhat"], self.cache["deviation"]
        self.grads["gamma"] = (dout * xhat).sum(axis=0)           # (n,)       out = gamma xhat + beta
        self.grads["beta"] = dout.sum(axis=0)                     # (n,)
        dxhat = dout * self.params["gamma"]                       # (B, n)
        if not self.cache["training"]:                            # mean and var were constants then
            return dxhat / deviation                              # (B, n)     xhat = (x - mean) / deviation
        dxhat_centred = dxhat - dxhat.mean(axis=0)                # xhat = (x - mean) / deviation: via mean
        return (dxhat_centred - xhat * (dxhat * xhat).mean(axis=0)) / deviation   # and via var


class LayerNorm(Layer):
    """Give every row's last axis mean 0 and variance 1, then a learned scale and shift.

        xhat = (x - mean) / sqrt(var + eps)        mean and var over the last axis
        out  = gamma xhat + beta                                  (Ba, Kiros & Hinton 2016)

    Backward: the gradients are batch norm's, with means over the last axis.

    Shapes: x (..., n) in and out. It is an option of AutoInt: its authors' code has it, its paper has not.

    >>> LayerNorm(2, dtype=np.float64).forward(np.array([[1.0, 3.0]])).round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, n, eps=1e-5, dtype=np.float32):
        super().__init__()
        self.params["gamma"] = np.ones(n, dtype)
        self.params["beta"] = np.zeros(n, dtype)
        self.eps = eps

    def forward(self, x):
        mean = x.mean(axis=-1, keepdims=True)                     # (..., 1)
        deviation = np.sqrt(x.var(axis=-1, keepdims=True) + self.eps)
        xhat = (x - mean) / deviation                             # (..., n)
        self.cache = {"xhat": xhat, "deviation": deviation}
        return self.params["gamma"] * xhat + self.params["beta"]

    def backward(self, dout):
        xhat, deviation = self.cache["xhat"], self.cache["deviation"]
        rows = tuple(range(dout.ndim - 1))
        self.grads["gamma"] = (dout * xhat).sum(axis=rows)        # (n,)       out = gamma xhat + beta
        self.grads["beta"] = dout.sum(axis=rows)                  # (n,)
        dxhat = dout * self.params["gamma"]                       # (..., n)
        dxhat_centred = dxhat - dxhat.mean(axis=-1, keepdims=True)    # xhat = (x - mean) / deviation: via mean
        return (dxhat_centred - xhat * (dxhat * xhat).mean(axis=-1, keepdims=True)) / deviation   # and via var


class MLP(Layer):
    """Send a vector through dense layers with ReLU and read it out as one number: a model's deep part.

        a^0 = x,   a^{l+1} = relu(a^l W^l + b^l),   out = a^L . w + b        (Guo et al. 2017, eq. 3-4)

    If asked for, there is batch norm before each ReLU and dropout after it (neither changes the equation's form).

    Parameters
    ----------
    n_in : size of x.   widths : hidden units of each layer, e.g. [400, 400].
    dropout : share of hidden units dropped while training.   use_bn : whether there is batch norm.
    readout : whether a^L is read out as one number; else the output is a^L.   bias : whether that has its b, which a
        model with a w_0 does not need: their gradients are the same.

    Shapes: x (B, n_in) in, (B,) out; without readout (B, widths[-1]).

    >>> mlp = MLP(4, [8, 8], rng=np.random.default_rng(0), dropout=0.5)
    >>> mlp.forward(np.zeros((3, 4), np.float32)).shape
    (3,)
    """

    def __init__(self, n_in, widths, rng, dropout=0.0, use_bn=False, dtype=np.float32, readout=True, bias=True):
        super().__init__()
        self.dense, self.norm, self.relu, self.dropout = [], [], [], []
        for width in widths:
            self.dense.append(Dense(n_in, width, rng, dtype))
            if use_bn:
                self.norm.append(BatchNorm(width, dtype=dtype))
            self.relu.append(ReLU())
            self.dropout.append(Dropout(dropout, rng))
            n_in = width
        self.out = None
        if readout:
            self.out = Readout(n_in, start=glorot_normal(rng, n_in, 1, dtype)[:, 0], bias=bias, dtype=dtype)

    def forward(self, x):
        for i in range(len(self.dense)):                          # a^{l+1} = relu(a^l W^l + b^l)
            x = self.dense[i].forward(x)
            if self.norm:
                x = self.norm[i].forward(x)
            x = self.relu[i].forward(x)
            x = self.dropout[i].forward(x)
        return self.out.forward(x) if self.out else x             # (B,)       a^L . w + b; or a^L itself

    def backward(self, dout):
        dx = self.out.backward(dout) if self.out else dout
        for i in reversed(range(len(self.dense))):
            dx = self.dropout[i].backward(dx)
            dx = self.relu[i].backward(dx)
            if self.norm:
                dx = self.norm[i].backward(dx)
            dx = self.dense[i].backward(dx)
        return dx                                                 # (B, n_in)
