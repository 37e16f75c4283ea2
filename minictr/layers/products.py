"""Products of fields as numbers, not as vectors: inner and outer products, and those of field-aware vectors."""

import numpy as np

from .base import Layer
from .pairs import field_pairs, inner_products


class InnerProducts(Layer):
    """The inner product of every two fields' vectors.

        out_ij = <e_i, e_j>   for all i < j        (FwFM, Pan et al. 2018; IPNN, Qu et al. 2016)

    Backward:  de_i = sum_{j != i} dout_ij e_j.

    Shapes: E (B, M, k) in, (B, P) out, P = M (M - 1) / 2 pairs in the order of field_pairs.

    >>> InnerProducts().forward(np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))
    array([[11., 17., 39.]])
    """

    def forward(self, E):
        out = inner_products(E)                                   # (B, P)     <e_i, e_j>
        self.cache = {"E": E, "out": out}
        return out

    def backward(self, dout):
        E = self.cache["E"]
        B, M, _ = E.shape
        i, j = field_pairs(M)
        D = np.zeros((B, M, M), dout.dtype)
        D[:, i, j] = dout                                         # (B, M, M)  out_ij = <e_i, e_j>
        D[:, j, i] = dout                                         #            the same, with respect to e_j
        return D @ E                                              # (B, M, k)  the same: de_i = sum_{j != i} dout_ij e_j


class OuterProduct(Layer):
    """The outer products of all fields' vectors, superposed:

        out = sum_{i,j} e_i e_j^T = f f^T,   f = sum_i e_i        (OPNN, Qu et al. 2016)

    k^2 numbers in place of M^2 k^2; pairs of a field with itself are among them, as in the paper.

    Backward:  df = (dout + dout^T) f,   de_i = df.

    Shapes: E (B, M, k) in, (B, k, k) out.

    >>> OuterProduct().forward(np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    array([[[16., 24.],
            [24., 36.]]])
    """

    def forward(self, E):
        f = E.sum(axis=1)                                         # (B, k)     sum_i e_i
        self.cache = {"E": E, "f": f}
        return f[:, :, None] * f[:, None, :]                      # (B, k, k)  f f^T

    def backward(self, dout):
        f, M = self.cache["f"], self.cache["E"].shape[1]
        df = ((dout + dout.swapaxes(1, 2)) @ f[:, :, None])[:, :, 0]      # (B, k)     out = f f^T
        return np.repeat(df[:, None, :], M, axis=1)               # (B, M, k)  f = sum_i e_i


class FieldAwareProducts(Layer):
    """The inner product of every two fields, each by the vector that it keeps for the other one.

        out_ij = <v_{i,f(j)}, v_{j,f(i)}> x_i x_j = <E_ij, E_ji>  for all i < j      (FFM, Juan et al. 2016)

    where E_ij = v_{i,f(j)} x_i is what field i shows to field j. What a field keeps for itself, E_ii, is never used.

    Backward:  dE_ij = dout_ij E_ji,   dE_ji = dout_ij E_ij.

    Shapes: E (B, M, M, k) in: [b, i, j] is E_ij; (B, P) out, in the order of field_pairs.

    >>> E = np.arange(8.0).reshape(1, 2, 2, 2)                    # E_01 = (2, 3), E_10 = (4, 5)
    >>> FieldAwareProducts().forward(E)
    array([[23.]])
    """

    def forward(self, E):
        i, j = field_pairs(E.shape[1])
        out = (E[:, i, j] * E[:, j, i]).sum(axis=2)               # (B, P)     <E_ij, E_ji>
        self.cache = {"E": E, "out": out}
        return out

    def backward(self, dout):
        E = self.cache["E"]
        i, j = field_pairs(E.shape[1])
        dE = np.zeros_like(E)                                     # (B, M, M, k)
        dE[:, i, j] = dout[:, :, None] * E[:, j, i]               # (B, M, M, k)  out_ij = <E_ij, E_ji>
        dE[:, j, i] = dout[:, :, None] * E[:, i, j]               #            the same, with respect to E_ji
        return dE
