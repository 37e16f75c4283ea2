"""Fast twins of layers: the same parameters under the same names, the same results to rounding, rearranged for speed.

``fit`` and scoring put them in the place of the plain layers (``with_fast_layers``). A twin stands only for a layer
exactly as it is written in ``minictr.layers``: a subclass, or a layer of which a method was changed, runs its own code,
and with ``plain=True`` every layer does. One test holds all of them to their plain layers.
"""

import itertools

import numpy as np

from .. import layers
from ..layers import (
    CIN,
    MLP,
    AttentionPooling,
    CrossNetwork,
    Dense,
    Embedding,
    FactorSum,
    FieldAwareProducts,
    FMPooling,
    InnerProducts,
    InteractingLayer,
    Linear,
    PairProduct,
    ResidualUnit,
    RowGradient,
    TriplePooling,
    field_pairs,
    named_layers,
)
from ..layers.self_attention import split_heads
from .fast_cin import FastCIN
from .fast_cross_network import FastCrossNetwork
from .fast_functions import relu, repeat_middle, softmax, softmax_backward, sum_first, sum_last, sum_middle, times_x
from .fast_mlp import FastMLP, has_own_layers
from .twins import is_as_written, remember


class FastEmbedding(Embedding):
    """Replaces V[ids] * x by take, and weights multiplied only where they are not 1; sums over slots by products."""

    def forward(self, slots):
        V = self.params["V"]                                      # (n, k)
        slots.check_ids(len(V))
        self.cache = {"slots": slots}
        E = times_x(V.take(slots.ids, axis=0), slots)             # (B, S, k)  v_s x_s
        if slots.n_slots == slots.n_fields:
            return E
        B, _, k = E.shape
        sums = np.empty((B, slots.n_fields, k), E.dtype)
        bounds = [*slots.starts.tolist(), slots.n_slots]
        for field, (start, stop) in enumerate(itertools.pairwise(bounds)):
            # np.add.reduceat does it in one line, in six times the time
            sums[:, field] = E[:, start] if stop - start == 1 else sum_middle(E[:, start:stop])
        return sums                                               # (B, M, k)

    def backward(self, dE):
        slots = self.cache["slots"]
        if slots.n_slots > slots.n_fields:
            dE = np.repeat(dE, np.diff(slots.starts, append=slots.n_slots), axis=1)       # (B, S, k)
        dv = dE if slots.x is None else times_x(dE.copy(), slots)     # a copy: dE is not ours to change
        self.grads["V"] = RowGradient(slots, dv.reshape(-1, dv.shape[2]))


class FastLinear(Linear):
    """Replaces w[ids] * x by take, with weights multiplied only where they are not 1, and the sum by a product."""

    def forward(self, slots):
        w = self.params["w"]
        slots.check_ids(len(w))
        wx = times_x(w.take(slots.ids), slots)                    # (B, S)     w_s x_s
        self.cache = {"slots": slots, "wx": wx}
        out = sum_last(wx)                                        # (B,)
        if "w0" in self.params:
            out += self.params["w0"]
        return out

    def backward(self, dout):
        slots = self.cache["slots"]
        if "w0" in self.params:
            self.grads["w0"] = dout.sum(keepdims=True)
        dw = np.repeat(dout, slots.n_slots)                       # (B * S,)
        times_x(dw.reshape(slots.ids.shape), slots)               #            in place, on a view of dw
        self.grads["w"] = RowGradient(slots, dw)


class FastPairProduct(PairProduct):
    """Replaces the loop over pairs: sorted by field, de_m is the sum over its M - 1 partners q of  dp_mq e_q."""

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
        return sum_middle(dE.reshape(B * M, M - 1, k)).reshape(B, M, k)       # over all q


def pairs_of_each_field(M):
    """For each field in turn its M - 1 partners, and the number of the pair that they form: two arrays (M (M-1),).

    >>> pairs_of_each_field(3)                                    # the partners of field 0 are 1 and 2, of 1: 0 and 2
    (array([1, 2, 0, 2, 0, 1]), array([0, 1, 0, 2, 1, 2]))
    """
    field, partner = np.nonzero(~np.eye(M, dtype=bool))
    return partner, pair_numbers(M)[field, partner]


def pair_numbers(M):
    """The number, in the order of field_pairs, of the pair that fields i and j form, (M, M); P for a field with itself.

    >>> pair_numbers(3)
    array([[3, 0, 1],
           [0, 3, 2],
           [1, 2, 3]])
    """
    i, j = field_pairs(M)
    numbers = np.full((M, M), len(i))
    numbers[i, j] = numbers[j, i] = np.arange(len(i))
    return numbers


class FastFieldAwareProducts(FieldAwareProducts):
    """Replaces indexing by two arrays, which copies vectors of k numbers one by one, by take: a tenth of the time, and
    half of FFM's step or more. Both vectors of each pair are kept, as backward needs them again.
    """

    def forward(self, E):
        B, M, _, k = E.shape
        ij, ji, _ = places_of_pairs(M)
        vectors = E.reshape(B, M * M, k)
        E_ij, E_ji = vectors.take(ij, axis=1), vectors.take(ji, axis=1)   # (B, P, k)
        out = sum_last(E_ij * E_ji)                               # (B, P)
        self.cache = {"E": E, "E_ij": E_ij, "E_ji": E_ji, "out": out}
        return out

    def backward(self, dout):
        E, E_ij, E_ji = (self.cache[name] for name in ("E", "E_ij", "E_ji"))
        B, P, k = E_ij.shape
        dpairs = np.repeat(dout, k, axis=1).reshape(B, P, k)
        grads = np.empty((B, 2 * P + 1, k), E.dtype)
        np.multiply(dpairs, E_ji, out=grads[:, :P])               # dE_ij = dout_ij E_ji
        np.multiply(dpairs, E_ij, out=grads[:, P:-1])             # dE_ji
        grads[:, -1] = 0                                          # dE_ii
        return grads.take(places_of_pairs(E.shape[1])[2], axis=1).reshape(E.shape)


def places_of_pairs(M):
    """Where the two vectors of each pair stand among M x M, two arrays (P,), and the way back, (M * M,): for each of
    the M x M vectors its place among all E_ij, all E_ji, and one vector of zeros for every E_ii.

    >>> places_of_pairs(2)
    (array([1]), array([2]), array([2, 0, 1, 2]))
    """
    i, j = field_pairs(M)
    back = pair_numbers(M) + len(i) * np.tri(M, dtype=np.intp)    # all E_ji come after the P of E_ij
    return i * M + j, j * M + i, back.ravel()


class FastInnerProducts(InnerProducts):
    """Replaces indexing by two arrays by take: with 39 fields 15 to 30 % of FwFM's step and 6 to 10 % of PNN's; with 7
    or 10 fields it makes no difference of more than 4 %.
    """

    def forward(self, E):
        B, M, _ = E.shape
        i, j = field_pairs(M)
        out = (E @ E.swapaxes(1, 2)).reshape(B, M * M).take(i * M + j, axis=1)    # (B, P)     <e_i, e_j>
        self.cache = {"E": E, "out": out}
        return out

    def backward(self, dout):
        E = self.cache["E"]
        B, P = dout.shape
        M = E.shape[1]
        given = np.zeros((B, P + 1), dout.dtype)                  #            a 0 for <e_i, e_i>
        given[:, :P] = dout
        D = given.take(pair_numbers(M).ravel(), axis=1).reshape(B, M, M)
        return D @ E                                              # (B, M, k)  de_i = sum_{j != i} dout_ij e_j


class FastFMPooling(FMPooling):
    """Replaces sums over the short middle axis by products, and broadcasting by copies of whole rows."""

    def forward(self, E):
        total = sum_middle(E)                                     # (B, k)     sum_i e_i
        squares = sum_middle(E * E)                               # (B, k)     sum_i e_i^2
        self.cache = {"E": E, "total": total}
        return 0.5 * (total * total - squares)                    # (B, k)

    def backward(self, dout):
        E, total = self.cache["E"], self.cache["total"]
        M = E.shape[1]
        dE = repeat_middle(total, M)                              # (B, M, k)
        dE -= E
        dE *= repeat_middle(dout, M)                              #            dout (sum_j e_j - e_i)
        return dE


class FastTriplePooling(TriplePooling):
    """Replaces sums over the short middle axis by products, and new arrays by changes in place: 27 % of HOFM's
    step.
    """

    def forward(self, E):
        s1 = sum_middle(E)                                        # (B, k)     s_p = sum_i e_i^p
        power = E * E                                             # (B, M, k)
        s2 = sum_middle(power)
        power *= E
        s3 = sum_middle(power)
        self.cache = {"E": E, "s1": s1, "s2": s2}
        return (s1 * s1 * s1 - 3 * s1 * s2 + 2 * s3) / 6          # (B, k)

    def backward(self, dout):
        E, s1, s2 = self.cache["E"], self.cache["s1"], self.cache["s2"]
        M = E.shape[1]
        dE = E - repeat_middle(s1, M)                             # (B, M, k)
        dE *= E                                                   #            e_i^2 - s_1 e_i
        dE += repeat_middle(0.5 * (s1 * s1 - s2), M)              #            + 1/2 (s_1^2 - s_2)
        dE *= repeat_middle(dout, M)
        return dE


class FastFactorSum(FactorSum):
    """Replaces the sum over short rows by a product with ones: up to 20 % of FM's scoring."""

    def forward(self, x):
        self.cache = {"x": x}
        return sum_last(x)                                        # (B,)


class FastAttentionPooling(AttentionPooling):
    """Replaces the passes over dz, (B, P, t), the largest array of AFM, which never exists here.

    Plainly:  dz = ds * h * on,  dW = p^T dz,  db = sum dz,  dp = dz W^T,  with on = 1 where z > 0, else 0.  Only ``on``
    needs that shape: ds (one number a row) goes to the side of p, h (one a column) to that of W. The sums are the same,
    without three passes over the largest array. And  dh = r^T ds  needs no r: with  r = on * (p W + b)  it is the sum
    over k of  W * (ds * p)^T on,  plus  b * (on^T ds),  two arrays that dW and db are made of.
    """

    def forward(self, pij):
        W, b, h = self.params["W"], self.params["b"], self.params["h"]
        B, P, k = pij.shape
        z = (pij.reshape(B * P, k) @ W).reshape(B, P * W.shape[1])    # (B, P t)   W^T p_ij
        z += np.tile(b, P)                                        #            + b (faster along long rows)
        r = relu(z).reshape(B * P, W.shape[1])                    # (B P, t)
        s = (r @ h).reshape(B, P)                                 # (B, P)     a'_ij
        aij = softmax(s, axis=1)                                  # (B, P)
        weight = self.dropout.forward(aij)
        self.cache = {"pij": pij, "r": r, "aij": aij, "weight": weight}
        return (weight[:, None, :] @ pij)[:, 0]                   # (B, k)

    def backward(self, dout):
        W, b, h = self.params["W"], self.params["b"], self.params["h"]
        pij, r, aij, weight = (self.cache[name] for name in ("pij", "r", "aij", "weight"))
        B, P, k = pij.shape
        dweight = (pij @ dout[:, :, None])[:, :, 0]               # (B, P)
        dpij = repeat_middle(dout, P)                             # (B, P, k)
        dpij *= weight[:, :, None]
        ds = softmax_backward(self.dropout.backward(dweight), aij, axis=1).reshape(B * P, 1)
        # Over r, as nobody needs its values any more; a second backward finds the same > 0.
        on = np.greater(r, 0, out=r)                              # (B P, t)
        ds_p_on = (pij.reshape(B * P, k) * ds).T @ on             # (k, t)
        ds_on = (on.T @ ds)[:, 0]                                 # (t,)
        self.grads["W"] = ds_p_on * h                             # (k, t)     p^T dz
        self.grads["b"] = ds_on * h                               # (t,)       sum dz
        self.grads["h"] = (W * ds_p_on).sum(axis=0) + b * ds_on   # (t,)       r^T ds
        dpij_score = on @ (W * h).T                               # (B P, k)   dz W^T
        dpij_score *= ds
        dpij += dpij_score.reshape(B, P, k)
        return dpij


class FastInteractingLayer(InteractingLayer):
    """Replaces each projection, (B, M, n_in) @ (n_in, H d), which NumPy makes as one product for each row of the batch,
    by one for all rows, forward and back (with AVX2 on two threads: .6 to .75 of the layer's time with 7 and 10 fields,
    .85 to .95 with 39); the softmax by one that rarely subtracts the largest score (11 to 14 % of AutoInt's step, up to
    40 % of scoring) and adds up its short rows by a product (8 to 14 %); copies of heads by products that write where
    they belong (4 to 8 %); and some new arrays by changes in place.
    """

    def forward(self, E):
        self.cache = {"E": E}
        Q = split_heads(self._project("Q", E), self.H)            # (B, H, M, d)
        K = split_heads(self._project("K", E), self.H)
        V = split_heads(self._project("V", E), self.H)
        S = Q @ K.swapaxes(2, 3)                                  # (B, H, M, M)
        if self.scale != 1:
            S *= self.scale
        a = softmax(S, axis=3)
        weight = self.dropout.forward(a)
        z = joined(weight, V)                                     # (B, M, H d)
        if self.residual:
            z += self._project("Res", E)
        out = relu(z)                                             #               in place
        self.cache |= {"Q": Q, "K": K, "V": V, "a": a, "weight": weight, "out": out}
        return self.norm.forward(out) if self.norm else out

    def backward(self, dout):
        Q, K, V, a, weight, out = (self.cache[name] for name in ("Q", "K", "V", "a", "weight", "out"))
        if self.norm:
            dout = self.norm.backward(dout)
        dz = dout * (out > 0)                                     # (B, M, H d)
        de = split_heads(dz, self.H)                              # (B, H, M, d)
        da = self.dropout.backward(de @ V.swapaxes(2, 3))         # (B, H, M, M)
        dS = softmax_backward(da, a, axis=3)
        if self.scale != 1:
            dS *= self.scale
        dE = self._project_backward("V", joined(weight.swapaxes(2, 3), de))       # (B, M, n_in)
        dE += self._project_backward("K", joined(dS.swapaxes(2, 3), Q))
        dE += self._project_backward("Q", joined(dS, K))
        if self.residual:
            dE += self._project_backward("Res", dz)
        return dE

    def _project(self, name, E):
        B, M, n_in = E.shape
        out = E.reshape(B * M, n_in) @ self.params[f"W_{name}"]   # (B M, H d)    E W
        if self.qkv_activation == "relu":
            out += self.params[f"b_{name}"]
            self.cache[f"relu_{name}"] = relu(out)                #               in place
        return out.reshape(B, M, out.shape[1])

    def _project_backward(self, name, dout):
        E, (B, M, Hd) = self.cache["E"], dout.shape
        dout = dout.reshape(B * M, Hd)
        if self.qkv_activation == "relu":
            dout = dout * (self.cache[f"relu_{name}"] > 0)        # (B M, H d)    out = relu(E W + b)
            self.grads[f"b_{name}"] = sum_first(dout)             # (H d,)        the same, with respect to b
        self.grads[f"W_{name}"] = E.reshape(B * M, E.shape[2]).T @ dout       # (n_in, H d)   out = E W
        dE = dout @ self.params[f"W_{name}"].T                                # (B M, n_in)   with respect to E
        return dE.reshape(E.shape)                                            # (B, M, n_in)


def joined(weight, x):
    """join_heads(weight @ x), (B, H, M, M) and (B, H, M, d) -> (B, M, H d): each head writes where it belongs."""
    B, H, M, d = x.shape
    out = np.empty((B, M, H, d), x.dtype)
    np.matmul(weight, x, out=out.swapaxes(1, 2))
    return out.reshape(B, M, H * d)


class FastDense(Dense):
    """Replaces  x W + b  by an addition in place, and the sum over rows by a product with ones: some 4 % of DeepFM's
    step.
    """

    def forward(self, x):
        self.cache = {"x": x}
        out = x @ self.params["W"]                                # (B, n_out)
        out += self.params["b"]
        return out

    def backward(self, dout):
        self.grads["W"] = self.cache["x"].T @ dout                # (n_in, n_out)
        self.grads["b"] = sum_first(dout)                         # (n_out,)
        return dout @ self.params["W"].T                          # (B, n_in)


class FastResidualUnit(ResidualUnit):
    """Replaces new arrays by changes in place, and sums over rows by products with ones: 6 to 13 % of Deep Crossing's
    step.
    """

    def forward(self, x):
        r1 = x @ self.params["W_1"]                               # (B, width)  z_1 = x W_1 + b_1
        r1 += self.params["b_1"]
        relu(r1)                                                  #             in place
        out = r1 @ self.params["W_2"]                             # (B, n)      z_2 = x + relu(z_1) W_2 + b_2
        out += self.params["b_2"]
        out += x
        self.cache = {"x": x, "r1": r1, "out": relu(out)}
        return out

    def backward(self, dout):
        x, r1, out = (self.cache[name] for name in ("x", "r1", "out"))
        dz2 = dout * (out > 0)                                    # (B, n)
        self.grads["W_2"] = r1.T @ dz2                            # (width, n)
        self.grads["b_2"] = sum_first(dz2)                        # (n,)
        dz1 = dz2 @ self.params["W_2"].T                          # (B, width)
        dz1 *= r1 > 0
        self.grads["W_1"] = x.T @ dz1                             # (n, width)
        self.grads["b_1"] = sum_first(dz1)                        # (width,)
        dx = dz1 @ self.params["W_1"].T                           # (B, n)
        dx += dz2
        return dx


TWINS = {
    Embedding: FastEmbedding, Linear: FastLinear, PairProduct: FastPairProduct,
    FieldAwareProducts: FastFieldAwareProducts, FMPooling: FastFMPooling, FactorSum: FastFactorSum,
    AttentionPooling: FastAttentionPooling, InteractingLayer: FastInteractingLayer, Dense: FastDense,
    ResidualUnit: FastResidualUnit, CIN: FastCIN, TriplePooling: FastTriplePooling, CrossNetwork: FastCrossNetwork,
    InnerProducts: FastInnerProducts, MLP: FastMLP}
remember(*(cls for cls in vars(layers).values() if isinstance(cls, type) and issubclass(cls, layers.Layer)))


def with_fast_layers(owner):
    """The same replica of a model or layer, each layer that has a fast twin, and is as written, changed into it."""
    for _, layer in [("", owner), *named_layers(owner)]:          # an MLP before its own layers
        if type(layer) in TWINS and (has_own_layers(layer) if type(layer) is MLP else is_as_written(layer)):
            layer.__class__ = TWINS[type(layer)]
    return owner
