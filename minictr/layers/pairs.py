"""All pairs of fields are multiplied one by one (AFM), or summed at once by the identity that makes FM fast."""

import functools

import numpy as np

from .base import Layer


@functools.cache
def field_pairs(M):
    """Return all pairs (i, j) of M fields with i < j, in the order (0,1), (0,2), ..., (1,2), ..., as two arrays (P,).

    >>> field_pairs(3)
    (array([0, 0, 1]), array([1, 2, 2]))
    """
    i, j = np.triu_indices(M, 1)
    i.flags.writeable = j.flags.writeable = False       # the arrays are shared by all callers
    return i, j


def inner_products(E):
    """Return <e_i, e_j> of every pair of fields, (B, M, k) -> (B, P), in the order of ``field_pairs``.

    >>> inner_products(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))
    array([[11., 17., 39.]])
    """
    i, j = field_pairs(E.shape[1])
    return (E @ E.swapaxes(1, 2))[:, i, j]


class PairProduct(Layer):
    """Multiply every two fields' vectors, number by number.

        p_ij = e_i * e_j = (v_i * v_j) x_i x_j   for all i < j    (AFM, Xiao et al. 2017, eq. 2)

    Backward (product rule): every pair gives  dp_ij e_j  to de_i  and  dp_ij e_i  to de_j.

    Shapes: E (B, M, k) in, pij (B, P, k) out, P = M (M - 1) / 2 pairs in the order of field_pairs.

    >>> PairProduct().forward(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))
    array([[[ 3.,  8.],
            [ 5., 12.],
            [15., 24.]]])
    """

    def forward(self, E):
        self.cache = {"E": E}
        i, j = field_pairs(E.shape[1])
        return E[:, i] * E[:, j]                                  # (B, P, k)  p_ij = e_i * e_j

    def backward(self, dpij):
        E = self.cache["E"]
        dE = np.zeros_like(E)                                     # (B, M, k)
        for pair, (i, j) in enumerate(zip(*field_pairs(E.shape[1]), strict=True)):
            dE[:, i] += dpij[:, pair] * E[:, j]                   # p_ij = e_i * e_j
            dE[:, j] += dpij[:, pair] * E[:, i]                   # the same, with respect to e_j
        return dE


class FMPooling(Layer):
    """Sum the products of all pairs of fields, in time linear in the number of fields.

        out = sum_{i<j} e_i * e_j = 1/2 [(sum_i e_i)^2 - sum_i e_i^2]        (Rendle 2010, lemma 3.1)

    This is a vector of size k; its sum over k is FM's second-order term sum_{i<j} <v_i, v_j> x_i x_j.
    He & Chua (2017) call the vector bi-interaction pooling.

    Backward:  de_i = dout (sum_j e_j - e_i).

    Shapes: E (B, M, k) in, (B, k) out.

    >>> FMPooling().forward(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))    # 3+5+15, 8+12+24
    array([[23., 44.]])
    """

    def forward(self, E):
        total = E.sum(axis=1)                                     # (B, k)     sum_i e_i
        squares = (E ** 2).sum(axis=1)                            # (B, k)     sum_i e_i^2
        self.cache = {"E": E, "total": total}
        return 0.5 * (total ** 2 - squares)                       # (B, k)

    def backward(self, dout):
        E, total = self.cache["E"], self.cache["total"]
        return dout[:, None, :] * (total[:, None, :] - E)         # (B, M, k)  out = 1/2 [total^2 - squares]


class FactorSum(Layer):
    """Add up the k numbers of a pooled vector: the sum of e_i * e_j becomes the sum of <e_i, e_j>.

        out = sum_f x_f,    so that    sum_f (sum_{i<j} e_i * e_j)_f = sum_{i<j} <e_i, e_j>

    Backward:  dx_f = dout.

    Shapes: x (B, k) in, (B,) out.

    >>> FactorSum().forward(np.array([[23.0, 44.0]]))
    array([67.])
    """

    def forward(self, x):
        self.cache = {"x": x}
        return x.sum(axis=1)                                      # (B,)

    def backward(self, dout):
        k = self.cache["x"].shape[1]
        return np.repeat(dout[:, None], k, axis=1)                # (B, k)     out = sum_f x_f
