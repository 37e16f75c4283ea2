"""All pairs of fields: one by one (AFM), or summed at once by the identity that makes FM fast."""

import functools

import numpy as np

from .base import Layer
from .functions import repeat_middle, sum_middle


@functools.cache
def field_pairs(M):
    """All pairs (i, j) of M fields with i < j, in the order (0,1), (0,2), ..., (1,2), ...: two arrays (P,).

    >>> field_pairs(3)
    (array([0, 0, 1]), array([1, 2, 2]))
    """
    i, j = np.triu_indices(M, 1)
    i.flags.writeable = j.flags.writeable = False       # the arrays are shared by all callers
    return i, j


@functools.cache
def pairs_of_each_field(M):
    """For each field in turn its M - 1 partners, and the number of the pair that they form: two arrays (M (M-1),).

    >>> pairs_of_each_field(3)                                    # the partners of field 0 are 1 and 2, of 1: 0 and 2
    (array([1, 2, 0, 2, 0, 1]), array([0, 1, 0, 2, 1, 2]))
    """
    i, j = field_pairs(M)
    pair = np.empty((M, M), np.intp)
    pair[i, j] = pair[j, i] = np.arange(len(i))
    field, partner = np.nonzero(~np.eye(M, dtype=bool))
    pair = pair[field, partner]
    partner.flags.writeable = pair.flags.writeable = False
    return partner, pair


class PairProduct(Layer):
    """Multiply every two fields' vectors, number by number.

        p_ij = e_i * e_j = (v_i * v_j) x_i x_j   for all i < j    (AFM, Xiao et al. 2017, eq. 2)

    Backward (product rule): every pair gives  dp_ij e_j  to de_i  and  dp_ij e_i  to de_j. Sorted by field: de_m is
    the sum over its M - 1 partners q of  dp_mq e_q,  which is how it is computed.

    Shapes: E (B, M, k) in, pij (B, P, k) out, P = M (M - 1) / 2 pairs in the order of field_pairs.

    >>> PairProduct().forward(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))
    array([[[ 3.,  8.],
            [ 5., 12.],
            [15., 24.]]])
    """

    def forward(self, E):
        i, j = field_pairs(E.shape[1])
        self.cache = {"E": E}
        pij = E.take(i, axis=1)                                   # (B, P, k)  e_i
        pij *= E.take(j, axis=1)                                  #            * e_j
        return pij

    def backward(self, dpij):
        E = self.cache["E"]
        B, M, k = E.shape
        partner, pair = pairs_of_each_field(M)
        dE = dpij.take(pair, axis=1)                              # (B, M (M-1), k)  dp_mq
        dE *= E.take(partner, axis=1)                             #                  * e_q
        return sum_middle(dE.reshape(B * M, M - 1, k)).reshape(B, M, k)       # p_mq = e_m * e_q, over all q


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
        total = sum_middle(E)                                     # (B, k)     sum_i e_i
        squares = sum_middle(E * E)                               # (B, k)     sum_i e_i^2
        self.cache = {"E": E, "total": total}
        return 0.5 * (total * total - squares)                    # (B, k)

    def backward(self, dout):
        E, total = self.cache["E"], self.cache["total"]
        M = E.shape[1]
        dE = repeat_middle(total, M)                              # (B, M, k)  out = 1/2 [total^2 - squares]
        dE -= E
        dE *= repeat_middle(dout, M)                              #            dout (sum_j e_j - e_i)
        return dE
