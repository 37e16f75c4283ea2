"""All triples of fields at once, in time linear in the number of fields."""

import functools
import itertools

import numpy as np

from .base import Layer


@functools.cache
def field_triples(M):
    """All triples (i, j, l) of M fields with i < j < l, in the order (0,1,2), (0,1,3), ...: three arrays (T,).

    >>> field_triples(4)
    (array([0, 0, 0, 1]), array([1, 1, 2, 2]), array([2, 3, 3, 3]))
    """
    triples = np.array(list(itertools.combinations(range(M), 3)), dtype=np.intp).reshape(-1, 3)
    triples.flags.writeable = False                               # the arrays are shared by all callers
    return tuple(triples.T)


def triple_products(E):
    """sum_f u_if u_jf u_lf of every triple of fields, (B, M, k) -> (B, T), in the order of ``field_triples``.

    >>> triple_products(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))         # 1*3*5 + 2*4*6
    array([[63.]])
    """
    i, j, l = field_triples(E.shape[1])
    return (E[:, i] * E[:, j] * E[:, l]).sum(axis=2)


class TriplePooling(Layer):
    """Sum the products of all triples of fields: the ANOVA kernel of order 3 (Blondel et al. 2016), by power sums.

        out = sum_{i<j<l} e_i * e_j * e_l = 1/6 (s_1^3 - 3 s_1 s_2 + 2 s_3),   s_p = sum_i e_i^p

    All powers and products go number by number: a vector of size k, whose sum over k is HOFM's third-order term. The
    three s take care of what the cube of s_1 alone would count besides: a field twice or three times in a product.

    Backward:  de_i = dout (1/2 (s_1^2 - s_2) - s_1 e_i + e_i^2),   the pairs among the other fields.

    Shapes: E (B, M, k) in, (B, k) out.

    >>> TriplePooling().forward(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))
    array([[15., 48.]])
    """

    def forward(self, E):
        s1 = E.sum(axis=1)                                        # (B, k)     s_1 = sum_i e_i
        s2 = (E * E).sum(axis=1)                                  # (B, k)     s_2 = sum_i e_i^2
        s3 = (E * E * E).sum(axis=1)                              # (B, k)     s_3 = sum_i e_i^3; ** 3 is far slower
        self.cache = {"E": E, "s1": s1, "s2": s2}
        return (s1 * s1 * s1 - 3 * s1 * s2 + 2 * s3) / 6          # (B, k)

    def backward(self, dout):
        E, s1, s2 = self.cache["E"], self.cache["s1"], self.cache["s2"]
        pairs = 0.5 * (s1 ** 2 - s2)                              # (B, k)     of all fields: 1/2 (s_1^2 - s_2)
        pairs_of_others = pairs[:, None] - s1[:, None] * E + E ** 2       # (B, M, k)  less those with field i
        return dout[:, None, :] * pairs_of_others                 # (B, M, k)  out = 1/6 (s_1^3 - 3 s_1 s_2 + 2 s_3)
