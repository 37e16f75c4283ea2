"""AFM's attention: a small network that decides how much each pair of fields counts."""

import numpy as np

from .base import Layer, glorot_normal
from .dense import Dropout
from .functions import relu, repeat_middle, softmax, softmax_backward


class AttentionPooling(Layer):
    """Weigh the pair vectors with a small network and add them up.

        a'_ij = h . relu(W^T p_ij + b)                            (Xiao et al. 2017, eq. 5)
        a_ij  = exp(a'_ij) / sum over all pairs of exp(a')
        out   = sum_ij a_ij p_ij                                  (eq. 4)

    Backward, with dout = dL/dout, z_ij = W^T p_ij + b, and on_ij = 1 where z_ij > 0, else 0:

        da_ij = dout . p_ij                  da' = a (da - sum a da)
        dz_ij = da'_ij h * on_ij             dh  = sum_ij da'_ij relu(z_ij)
        dW    = sum_ij p_ij dz_ij^T          db  = sum_ij dz_ij
        dp_ij = a_ij dout + W dz_ij

    Parameters
    ----------
    k : size of a pair vector.   t : hidden units (the paper's attention factor, tried from 1 to 256).
    rng : numpy Generator; W is drawn with variance 2 / (k + t), h with variance 1, b starts at 0.
    dropout : share of attention weights set to 0 while training (0 in the paper, which advises against it).

    Shapes: pij (B, P, k) in, (B, k) out; cache["aij"] (B, P).
    Units: aij is a weight between 0 and 1, and the weights of a row's pairs sum to 1 (before their dropout).

    At the start of training the vectors are small (0.01), so p_ij is about 0.0001, every a'_ij is nearly 0, every
    a_ij nearly 1/P and the gradients of W, b and h are tiny: the attention wakes up once the vectors have grown.

    Source: Xiao et al., IJCAI 2017, https://arxiv.org/abs/1708.04617. Here W is (k, t), the paper's transposed.
    Paper vs. code: the authors' TensorFlow program, in its published state, takes the softmax over an axis of
    length 1, so that every weight is 1 (hexiangnan/attentional_factorization_machine#19); here it runs over
    the pairs, as in eq. 5.

    >>> rng = np.random.default_rng(0)
    >>> attention = AttentionPooling(k=2, t=4, rng=rng, dtype=np.float64)
    >>> attention.forward(rng.standard_normal((5, 3, 2))).shape
    (5, 2)
    >>> attention.cache["aij"].sum(axis=1)
    array([1., 1., 1., 1., 1.])
    """

    def __init__(self, k, t, rng, dropout=0.0, dtype=np.float32):
        super().__init__()
        self.params["W"] = glorot_normal(rng, k, t, dtype)
        self.params["b"] = np.zeros(t, dtype)
        self.params["h"] = rng.standard_normal(t).astype(dtype)
        self.dropout = Dropout(dropout, rng)

    def forward(self, pij):
        W, b, h = self.params["W"], self.params["b"], self.params["h"]
        B, P, k = pij.shape
        z = (pij.reshape(B * P, k) @ W).reshape(B, -1)            # (B, P t)   W^T p_ij
        z += np.tile(b, P)                                        #            + b (faster along long rows)
        r = relu(z).reshape(B * P, -1)                            # (B P, t)   relu(z)
        s = (r @ h).reshape(B, P)                                 # (B, P)     a'_ij
        aij = softmax(s, axis=1)                                  # (B, P)     a_ij, over the pairs
        weight = self.dropout.forward(aij)
        self.cache = {"pij": pij, "r": r, "s": s, "aij": aij, "weight": weight}
        return (weight[:, None, :] @ pij)[:, 0]                   # (B, k)     sum_ij a_ij p_ij

    def backward(self, dout):
        W, h = self.params["W"], self.params["h"]
        pij, r, aij, weight = (self.cache[name] for name in ("pij", "r", "aij", "weight"))
        B, P, k = pij.shape
        dweight = (pij @ dout[:, :, None])[:, :, 0]               # (B, P)     out = sum_ij weight_ij p_ij
        dpij = repeat_middle(dout, P)                             # (B, P, k)
        dpij *= weight[:, :, None]                                #            the same, with respect to p_ij
        daij = self.dropout.backward(dweight)                     #            weight = dropout(a)
        ds = softmax_backward(daij, aij, axis=1).reshape(B * P, 1)    # a = softmax(s)
        self.grads["h"] = (r.T @ ds)[:, 0]                        # (t,)       s = r . h
        # Plainly:  dz = ds * h * on;  dW = p^T dz;  db = sum dz;  dp = dz W^T.  But dz, (B P, t), is the largest array
        # here, and only `on` needs that shape: ds (one number a row) goes to the side of p, h (one a column) to that
        # of W. The sums are the same, without three passes over the largest array.
        on = (r > 0).astype(r.dtype)                              # (B P, t)   r = relu(z)
        self.grads["W"] = ((pij.reshape(B * P, k) * ds).T @ on) * h   # (k, t) z = W^T p_ij + b:  p^T dz
        self.grads["b"] = (on.T @ ds)[:, 0] * h                   # (t,)       sum dz
        dpij_score = on @ (W * h).T                               # (B P, k)   dz W^T
        dpij_score *= ds
        dpij += dpij_score.reshape(B, P, k)                       # p_ij is used twice: add both
        return dpij
