"""The two losses take logits. They alone divide by the number of rows."""

import numpy as np

from .layers.functions import sigmoid


class LogLoss:
    """Take the log loss of clicks y in {0, 1}, from the logit s:

        L = 1/B sum_b c_b [log(1 + exp(s_b)) - y_b s_b],     dL/ds_b = c_b (sigmoid(s_b) - y_b) / B

    This is -[y log p + (1 - y) log(1 - p)] for p = sigmoid(s), without the logarithm of a rounded p: at
    s = 800 the loss of y = 0 is 800, not infinity. The sigmoid is here, so it must not be in the model too.

    c are the weights of the rows (1 if not given). ``n_rows`` is B where s is only a part of the batch.

    >>> loss = LogLoss()
    >>> round(loss.forward(np.array([0.0, 2.0]), np.array([1.0, 0.0])), 4)
    1.41
    >>> loss.backward()
    array([-0.25      ,  0.44039854])
    """

    name = "log loss"

    def forward(self, s, y, c=None, n_rows=None):
        B = n_rows or len(s)
        self.cache = {"s": s, "y": y, "c": c, "B": B}
        row_losses = np.logaddexp(0, s) - y * s                   # (B,)
        return np.sum(row_losses if c is None else c * row_losses, dtype=np.float64).item() / B

    def backward(self):
        s, y, c, B = (self.cache[name] for name in ("s", "y", "c", "B"))
        ds = (sigmoid(s) - y) / B                                 # (B,)     L = 1/B sum_b [log(1 + exp(s_b)) - y_b s_b]
        return ds if c is None else c * ds                        # (B,)       the same, with c_b


class SquaredLoss:
    """Take the squared error of numbers y, from the model's output s:

        L = 1/B sum_b c_b (s_b - y_b)^2,                     dL/ds_b = 2 c_b (s_b - y_b) / B

    c are the weights of the rows (1 if not given). ``n_rows`` is B where s is only a part of the batch.

    >>> loss = SquaredLoss()
    >>> loss.forward(np.array([1.0, 5.0]), np.array([1.0, 2.0]))
    4.5
    >>> loss.backward()
    array([0., 3.])
    """

    name = "squared error"

    def forward(self, s, y, c=None, n_rows=None):
        B = n_rows or len(s)
        self.cache = {"s": s, "y": y, "c": c, "B": B}
        row_losses = (s - y) ** 2                                 # (B,)
        return np.sum(row_losses if c is None else c * row_losses, dtype=np.float64).item() / B

    def backward(self):
        s, y, c, B = (self.cache[name] for name in ("s", "y", "c", "B"))
        ds = 2 * (s - y) / B                                      # (B,)       L = 1/B sum_b (s_b - y_b)^2
        return ds if c is None else c * ds                        # (B,)       the same, with c_b
