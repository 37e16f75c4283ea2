"""Fast twins of layers: the same parameters under the same names, the same results to rounding, rearranged for speed.

``fit`` and scoring put them in the place of the plain layers (``with_fast_layers``). A twin stands only for a layer
exactly as it is written in ``minictr.layers``: a subclass, or a layer of which a method was changed, runs its own code,
and with ``plain=True`` every layer does. One test holds all of them to their plain layers.
"""

import itertools

import numpy as np

from ..layers import (
    AttentionPooling,
    Dense,
    Embedding,
    FMPooling,
    InteractingLayer,
    Linear,
    PairProduct,
    ReLU,
    RowGradient,
    field_pairs,
    named_layers,
)
from .fast_functions import (
    relu,
    repeat_middle,
    softmax,
    softmax_backward,
    sum_last,
    sum_middle,
    times_x,
)
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
    i, j = field_pairs(M)
    pair = np.empty((M, M), np.intp)
    pair[i, j] = pair[j, i] = np.arange(len(i))
    field, partner = np.nonzero(~np.eye(M, dtype=bool))
    return partner, pair[field, partner]


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


class FastAttentionPooling(AttentionPooling):
    """Replaces the passes over dz, (B, P, t), the largest array of AFM, which never exists here.

    Plainly:  dz = ds * h * on,  dW = p^T dz,  db = sum dz,  dp = dz W^T,  with on = 1 where z > 0, else 0.  Only ``on``
    needs that shape: ds (one number a row) goes to the side of p, h (one a column) to that of W. The sums are the same,
    without three passes over the largest array.
    """

    def forward(self, pij):
        W, b, h = self.params["W"], self.params["b"], self.params["h"]
        B, P, k = pij.shape
        z = (pij.reshape(B * P, k) @ W).reshape(B, -1)            # (B, P t)   W^T p_ij
        z += np.tile(b, P)                                        #            + b (faster along long rows)
        r = relu(z).reshape(B * P, -1)                            # (B P, t)
        s = (r @ h).reshape(B, P)                                 # (B, P)     a'_ij
        aij = softmax(s, axis=1)                                  # (B, P)
        weight = self.dropout.forward(aij)
        self.cache = {"pij": pij, "r": r, "aij": aij, "weight": weight}
        return (weight[:, None, :] @ pij)[:, 0]                   # (B, k)

    def backward(self, dout):
        W, h = self.params["W"], self.params["h"]
        pij, r, aij, weight = (self.cache[name] for name in ("pij", "r", "aij", "weight"))
        B, P, k = pij.shape
        dweight = (pij @ dout[:, :, None])[:, :, 0]               # (B, P)
        dpij = repeat_middle(dout, P)                             # (B, P, k)
        dpij *= weight[:, :, None]
        ds = softmax_backward(self.dropout.backward(dweight), aij, axis=1).reshape(B * P, 1)
        self.grads["h"] = (r.T @ ds)[:, 0]                        # (t,)
        on = (r > 0).astype(r.dtype)                              # (B P, t)
        self.grads["W"] = ((pij.reshape(B * P, k) * ds).T @ on) * h   # (k, t) p^T dz
        self.grads["b"] = (on.T @ ds)[:, 0] * h                   # (t,)       sum dz
        dpij_score = on @ (W * h).T                               # (B P, k)   dz W^T
        dpij_score *= ds
        dpij += dpij_score.reshape(B, P, k)
        return dpij


class FastInteractingLayer(InteractingLayer):
    """Replaces four projections by one product with all W side by side, and writes heads and gradients in place."""

    def forward(self, E):
        B, M, n_in = E.shape
        projected = E.reshape(B * M, n_in) @ self._side_by_side("W")     # (B M, C H d)  C = 4 projections, or 3
        if self.qkv_activation == "relu":
            projected += self._side_by_side("b")
            projected = relu(projected)
        heads = self._cut_heads(projected, B, M)                  # (C, B, H, M, d)
        Q, K, V = heads[:3]
        S = Q @ K.swapaxes(2, 3)                                  # (B, H, M, M)
        if self.scale != 1:
            S *= self.scale
        a = softmax(S, axis=3)
        weight = self.dropout.forward(a)
        out = np.empty((B, M, self.H * self.d), E.dtype)
        e = self._heads_of(out)                                   # (B, H, M, d)  the heads as they lie in out
        np.matmul(weight, V, out=e)
        if len(heads) == 4:
            e += heads[3]                                         #               + W_Res e_m
        out = relu(out)
        self.cache = {"E": E, "projected": projected, "Q": Q, "K": K, "V": V, "a": a, "weight": weight, "out": out}
        return self.norm.forward(out) if self.norm else out

    def backward(self, dout):
        E, Q, K, V, a, weight, out = (self.cache[name] for name in ("E", "Q", "K", "V", "a", "weight", "out"))
        B, M, n_in = E.shape
        if self.norm:
            dout = self.norm.backward(dout)
        dout = dout * (out > 0)                                   # (B, M, H d)
        # the gradients of Q, K, V and of the residual go where they lie side by side, for one product with all W
        dprojected = np.empty((B * M, len(self._names()) * self.H * self.d), E.dtype)
        dQ, dK, dV, *dRes = self._cut_heads(dprojected, B, M)     # (B, H, M, d) each
        de = self._heads_of(dout)                                 # (B, H, M, d)
        if dRes:
            dRes[0][...] = de
        np.matmul(weight.swapaxes(2, 3), de, out=dV)
        da = self.dropout.backward(de @ V.swapaxes(2, 3))         # (B, H, M, M)
        dS = softmax_backward(da, a, axis=3)
        if self.scale != 1:
            dS *= self.scale
        np.matmul(dS, K, out=dQ)
        np.matmul(dS.swapaxes(2, 3), Q, out=dK)
        if self.qkv_activation == "relu":
            dprojected *= self.cache["projected"] > 0
            self._assign_grads("b", dprojected.sum(axis=0))
        self._assign_grads("W", E.reshape(B * M, n_in).T @ dprojected)    # (n_in, C H d)
        return (dprojected @ self._side_by_side("W").T).reshape(B, M, n_in)

    def _names(self):
        return ["Q", "K", "V", "Res"] if self.residual else ["Q", "K", "V"]

    def _side_by_side(self, letter):
        return np.concatenate([self.params[f"{letter}_{name}"] for name in self._names()], axis=-1)

    def _assign_grads(self, letter, grads):
        for name, grad in zip(self._names(), np.split(grads, len(self._names()), axis=-1), strict=True):
            self.grads[f"{letter}_{name}"] = grad

    def _cut_heads(self, x, B, M):
        """(B M, C H d) -> (C, B, H, M, d), no copy. A plain reshape to (C, B, H, M, d) would mix heads and fields."""
        return x.reshape(B, M, len(self._names()), self.H, self.d).transpose(2, 0, 3, 1, 4)

    def _heads_of(self, x):
        """(B, M, H d) -> (B, H, M, d), no copy."""
        B, M, _ = x.shape
        return x.reshape(B, M, self.H, self.d).swapaxes(1, 2)


class FastDense(Dense):
    """Replaces  x W + b  by an addition in place."""

    def forward(self, x):
        self.cache = {"x": x}
        out = x @ self.params["W"]                                # (B, n_out)
        out += self.params["b"]
        return out


class FastReLU(ReLU):
    """Replaces the comparison with a number by one with a row of zeros, and keeps the output alone."""

    def forward(self, x):
        out = relu(x.copy())
        self.cache = {"out": out}
        return out

    def backward(self, dout):
        return dout * (self.cache["out"] > 0)


TWINS = {Embedding: FastEmbedding, Linear: FastLinear, PairProduct: FastPairProduct, FMPooling: FastFMPooling,
         AttentionPooling: FastAttentionPooling, InteractingLayer: FastInteractingLayer, Dense: FastDense,
         ReLU: FastReLU}
remember(*TWINS)


def with_fast_layers(owner):
    """The same replica of a model or layer, each layer that has a fast twin, and is as written, changed into it."""
    for _, layer in [("", owner), *named_layers(owner)]:
        if is_as_written(layer):
            layer.__class__ = TWINS[type(layer)]
    return owner
