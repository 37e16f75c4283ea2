"""AutoInt's interacting layer: every field looks at every field, with several heads."""

import numpy as np

from .base import Layer, glorot_normal
from .dense import Dropout, LayerNorm
from .functions import relu, relu_backward, softmax, softmax_backward


class InteractingLayer(Layer):
    """Let every field gather what it needs from all fields (multi-head self-attention), and keep itself.

    For each head h, with fields m (asking) and k (answering):

        a_mk  = softmax over k of  (W_Q e_m) . (W_K e_k)          (Song et al. 2019, eq. 5)
        e~_m  = sum_k a_mk W_V e_k                                (eq. 6)
        out_m = relu([e~_m of head 1; ...; e~_m of head H] + W_Res e_m)      (eq. 7, 8)

    k runs over all M fields, m itself included. Backward: see the lines, they are the forward ones bottom-up;
    with S = Q K^T:  dQ = dS K,  dK = dS^T Q.

    Parameters
    ----------
    n_in : size of a field's vector on the way in.   H : heads.   d : size per head (the paper's d' = 32 is
    per head, so that a layer's output has H d numbers a field).   rng : numpy Generator.
    scale : divide the scores by sqrt(d).   residual : whether there is W_Res.
    layer_norm : normalise after the ReLU.   qkv_activation : None, or "relu": Q, K, V and the residual become
    relu(E W + b).   dropout : share of attention weights dropped while training.

    Shapes: E (B, M, n_in) in, (B, M, H d) out; cache["a"] (B, H, M, M): row = asking field m, column =
    answering field k.   Units: a is a share, sums to 1 over the last axis.

    Source: Song et al., CIKM 2019, https://arxiv.org/abs/1810.11921.
    Paper vs. code: the authors' program adds bias and ReLU to Q, K, V and the residual, divides by sqrt(d) and
    normalises after the ReLU; the equations have none of it, nor has the default here. The switches give both.

    >>> rng = np.random.default_rng(0)
    >>> layer = InteractingLayer(4, H=2, d=3, rng=rng, dtype=np.float64)
    >>> layer.forward(rng.standard_normal((5, 7, 4))).shape, layer.cache["a"].shape
    ((5, 7, 6), (5, 2, 7, 7))
    """

    def __init__(self, n_in, H, d, rng, scale=False, residual=True, layer_norm=False, qkv_activation=None,
                 dropout=0.0, dtype=np.float32):
        super().__init__()
        if qkv_activation not in (None, "relu"):
            raise ValueError(f"qkv_activation must be None or 'relu', got {qkv_activation!r}")
        self.H, self.d, self.qkv_activation = H, d, qkv_activation
        self.scale = 1 / float(np.sqrt(d)) if scale else 1.0
        self.projections = ["Q", "K", "V", "Res"] if residual else ["Q", "K", "V"]
        for name in self.projections:
            self.params[f"W_{name}"] = glorot_normal(rng, n_in, H * d, dtype)
            if qkv_activation == "relu":
                self.params[f"b_{name}"] = np.zeros(H * d, dtype)
        self.dropout = Dropout(dropout, rng)
        self.norm = LayerNorm(H * d, dtype=dtype) if layer_norm else None

    def forward(self, E):
        B, M, n_in = E.shape
        projected = self._project(E.reshape(B * M, n_in))         # (B M, C H d)  C = 4 projections, or 3
        heads = self._split_heads(projected, B, M)                # (C, B, H, M, d)
        Q, K, V = heads[:3]
        S = Q @ K.swapaxes(2, 3)                                  # (B, H, M, M)  (W_Q e_m) . (W_K e_k)
        if self.scale != 1:
            S *= self.scale
        a = softmax(S, axis=3)                                    # (B, H, M, M)  over the answering fields
        weight = self.dropout.forward(a)
        out = np.empty((B, M, self.H * self.d), E.dtype)
        e = self._heads_of(out)                                   # (B, H, M, d)  the heads as they lie in out
        np.matmul(weight, V, out=e)                               #               sum_k a_mk W_V e_k
        if len(heads) == 4:
            e += heads[3]                                         #               + W_Res e_m
        out = relu(out)                                           # (B, M, H d)
        self.cache = {"E": E, "projected": projected, "Q": Q, "K": K, "V": V, "a": a, "weight": weight, "out": out}
        return self.norm.forward(out) if self.norm else out

    def backward(self, dout):
        E, Q, K, V, a, weight, out = (self.cache[name] for name in ("E", "Q", "K", "V", "a", "weight", "out"))
        B, M, n_in = E.shape
        if self.norm:
            dout = self.norm.backward(dout)
        dout = relu_backward(dout, out)                           # (B, M, H d)   out = relu(...)
        # the gradients of Q, K, V and of the residual go where they lie side by side, for one product with all W
        dprojected = np.empty((B * M, len(self.projections) * self.H * self.d), E.dtype)
        dQ, dK, dV, *dRes = self._split_heads(dprojected, B, M)   # (B, H, M, d) each
        de = self._heads_of(dout)                                 # (B, H, M, d)  e = weight V + W_Res e_m
        if dRes:
            dRes[0][...] = de                                     # (B, H, M, d)  e = ... + W_Res e_m
        np.matmul(weight.swapaxes(2, 3), de, out=dV)              # (B, H, M, d)  e = weight V
        dweight = de @ V.swapaxes(2, 3)                           # (B, H, M, M)  the same, with respect to weight
        da = self.dropout.backward(dweight)                       #               weight = dropout(a)
        dS = softmax_backward(da, a, axis=3)                      # (B, H, M, M)  a = softmax(S)
        if self.scale != 1:
            dS *= self.scale
        np.matmul(dS, K, out=dQ)                                  # (B, H, M, d)  S = Q K^T
        np.matmul(dS.swapaxes(2, 3), Q, out=dK)                   # (B, H, M, d)
        return self._project_backward(E.reshape(B * M, n_in), dprojected).reshape(B, M, n_in)

    def _project(self, rows):
        """All projections side by side in one product: rows [W_Q, W_K, W_V, W_Res]."""
        projected = rows @ self._side_by_side("W")                # (B M, C H d)
        if self.qkv_activation == "relu":
            projected += self._side_by_side("b")
            projected = relu(projected)
        return projected

    def _project_backward(self, rows, dprojected):
        if self.qkv_activation == "relu":
            dprojected = relu_backward(dprojected, self.cache["projected"])
            self._assign_grads("b", dprojected.sum(axis=0))
        self._assign_grads("W", rows.T @ dprojected)              # (n_in, C H d)   projected = rows W
        return dprojected @ self._side_by_side("W").T             # (B M, n_in)

    def _side_by_side(self, letter):
        return np.concatenate([self.params[f"{letter}_{name}"] for name in self.projections], axis=-1)

    def _assign_grads(self, letter, grads):
        for name, grad in zip(self.projections, np.split(grads, len(self.projections), axis=-1), strict=True):
            self.grads[f"{letter}_{name}"] = grad

    def _split_heads(self, x, B, M):
        """(B M, C H d) -> (C, B, H, M, d), no copy. A plain reshape to (C, B, H, M, d) would mix heads and fields."""
        return x.reshape(B, M, len(self.projections), self.H, self.d).transpose(2, 0, 3, 1, 4)

    def _heads_of(self, x):
        """(B, M, H d) -> (B, H, M, d), no copy."""
        B, M, _ = x.shape
        return x.reshape(B, M, self.H, self.d).swapaxes(1, 2)
