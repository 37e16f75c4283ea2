"""AFM's attention: a small network decides how much each pair of fields counts."""

import numpy as np

from .base import Layer, glorot_normal
from .dense import Dropout
from .functions import relu, relu_backward, softmax, softmax_backward

ROWS_AND_PAIRS = ((0, 1), (0, 1))       # the axes of (B, P, ...) over which a parameter's gradient is summed


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
    a_ij nearly 1/P and the gradients of W and h are tiny (b's less so): it wakes up once the vectors have grown.

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
        z = pij @ W + b                                           # (B, P, t)  z_ij = W^T p_ij + b
        r = relu(z)                                               # (B, P, t)  r_ij = relu(z_ij)
        s = r @ h                                                 # (B, P)     a'_ij = h . relu(z_ij); no logit
        aij = softmax(s, axis=1)                                  # (B, P)     a_ij, over the pairs
        weight = self.dropout.forward(aij)                        # (B, P)     dropout(a_ij): a_ij itself at rate 0
        out = (weight[:, :, None] * pij).sum(axis=1)              # (B, k)     sum_ij a_ij p_ij
        self.cache = {"pij": pij, "z": z, "r": r, "s": s, "aij": aij, "weight": weight}
        return out

    def backward(self, dout):
        W, h = self.params["W"], self.params["h"]
        pij, z, r, aij, weight = (self.cache[name] for name in ("pij", "z", "r", "aij", "weight"))
        dweight = (dout[:, None, :] * pij).sum(axis=2)            # (B, P)     out = sum_ij weight_ij p_ij
        dpij_pool = weight[:, :, None] * dout[:, None, :]         # (B, P, k)  the same, with respect to p_ij
        daij = self.dropout.backward(dweight)                     # (B, P)     weight = dropout(a_ij)
        ds = softmax_backward(daij, aij, axis=1)                  # (B, P)     a_ij = softmax of a'_ij
        self.grads["h"] = np.tensordot(r, ds, axes=ROWS_AND_PAIRS)    # (t,)   a'_ij = h . r_ij
        dr = ds[:, :, None] * h                                   # (B, P, t)  the same, with respect to r_ij
        dz = relu_backward(dr, z)                                 # (B, P, t)  r_ij = relu(z_ij)
        self.grads["b"] = dz.sum(axis=(0, 1))                     # (t,)       z_ij = W^T p_ij + b
        self.grads["W"] = np.tensordot(pij, dz, axes=ROWS_AND_PAIRS)  # (k, t)  the same, with respect to W
        dpij_score = dz @ W.T                                     # (B, P, k)  the same, with respect to p_ij
        return dpij_pool + dpij_score                             # (B, P, k)  p_ij is used twice: add both
