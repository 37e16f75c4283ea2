"""All pairs of fields: one by one (AFM), or summed at once by the identity that makes FM fast."""

import numpy as np

from .base import Layer


def pair_slices(M):
    """For each first field i, the stretch of pairs (i, i+1), ..., (i, M-1) in the order of the pairs.

    The order is that of ``np.triu_indices(M, 1)``: (0,1), (0,2), ..., (1,2), ...

    >>> list(pair_slices(3))
    [(0, slice(0, 2, None)), (1, slice(2, 3, None))]
    """
    start = 0
    for i in range(M - 1):
        stop = start + M - 1 - i
        yield i, slice(start, stop)
        start = stop


class PairProduct(Layer):
    """Multiply every two fields' vectors, number by number.

        p_ij = e_i * e_j = (v_i * v_j) x_i x_j   for all i < j    (AFM, Xiao et al. 2017, eq. 2)

    Backward (product rule):  de_i = sum_j dp_ij e_j,   de_j = sum_i dp_ij e_i.

    Shapes: E (B, M, k) in, pij (B, P, k) out, P = M (M - 1) / 2 pairs in the order of pair_slices.

    >>> PairProduct().forward(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))
    array([[[ 3.,  8.],
            [ 5., 12.],
            [15., 24.]]])
    """

    def forward(self, E):
        B, M, k = E.shape
        pij = np.empty((B, M * (M - 1) // 2, k), E.dtype)
        for i, pairs in pair_slices(M):
            np.multiply(E[:, i:i + 1], E[:, i + 1:], out=pij[:, pairs])   # p_ij = e_i * e_j for all j > i
        self.cache = {"E": E}
        return pij                                                # (B, P, k)

    def backward(self, dpij):
        E = self.cache["E"]
        dE = np.zeros_like(E)                                     # (B, M, k)
        for i, pairs in pair_slices(E.shape[1]):
            dE[:, i] += (dpij[:, pairs] * E[:, i + 1:]).sum(axis=1)   # p_ij = e_i * e_j, with respect to e_i
            dE[:, i + 1:] += dpij[:, pairs] * E[:, i:i + 1]       # the same, with respect to e_j
        return dE


class FMPooling(Layer):
    """Sum the products of all pairs of fields, in time linear in the number of fields.

        out = sum_{i<j} e_i * e_j = 1/2 [(sum_i e_i)^2 - sum_i e_i^2]        (Rendle 2010, lemma 3.1)

    a vector of size k; its sum over k is FM's second-order term sum_{i<j} <v_i, v_j> x_i x_j.
    He & Chua (2017) call the vector bi-interaction pooling.

    Backward:  de_i = dout (sum_j e_j - e_i).

    Shapes: E (B, M, k) in, (B, k) out.

    >>> FMPooling().forward(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))    # 3+5+15, 8+12+24
    array([[23., 44.]])
    """

    def forward(self, E):
        total = np.add.reduce(E, axis=1)                          # (B, k)     sum_i e_i
        squares = np.add.reduce(E * E, axis=1)                    # (B, k)     sum_i e_i^2
        self.cache = {"E": E, "total": total}
        return 0.5 * (total * total - squares)                    # (B, k)

    def backward(self, dout):
        E, total = self.cache["E"], self.cache["total"]
        return dout[:, None] * (total[:, None] - E)               # (B, M, k)  out = 1/2 [total^2 - squares]
