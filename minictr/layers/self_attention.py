"""AutoInt's interacting layer: every field looks at every field, with several heads."""

import numpy as np

from .base import Layer, glorot_normal
from .dense import Dropout, LayerNorm
from .functions import softmax, softmax_backward


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
        self.H, self.d, self.qkv_activation = H, d, qkv_activation
        self.scale = 1 / float(np.sqrt(d)) if scale else 1.0
        self.projections = ["Q", "K", "V", "Res"] if residual else ["Q", "K", "V"]
        for name in self.projections:
            self.params[f"W_{name}"] = glorot_normal(rng, n_in, H * d, dtype)
            if qkv_activation == "relu":
                self.params[f"b_{name}"] = np.zeros(H * d, dtype)
        self.dropout = Dropout(dropout, rng)
        if layer_norm:
            self.norm = LayerNorm(H * d, dtype=dtype)

    def forward(self, E):
        B, M, n_in = E.shape
        rows = E.reshape(B * M, n_in)                             # all fields of all rows in one product
        projected = {name: self._project(name, rows) for name in self.projections}
        Q, K, V = (self._split_heads(projected[name], B, M) for name in "QKV")
        S = Q @ K.swapaxes(2, 3)                                  # (B, H, M, M)  (W_Q e_m) . (W_K e_k)
        if self.scale != 1:
            S *= self.scale
        a = softmax(S, axis=3)                                    # (B, H, M, M)  over the answering fields
        weight = self.dropout.forward(a)
        out = self._merge_heads(weight @ V)                       # (B M, H d)    sum_k a_mk W_V e_k
        if "Res" in projected:
            out += projected["Res"]                               #               + W_Res e_m
        np.maximum(out, 0, out=out)                               #               relu
        self.cache = {"E": E, "Q": Q, "K": K, "V": V, "a": a, "weight": weight, "out": out,
                      "projected": projected}
        out = out.reshape(B, M, self.H * self.d)
        return self.norm.forward(out) if hasattr(self, "norm") else out

    def backward(self, dout):
        E, Q, K, V, a, weight = (self.cache[name] for name in ("E", "Q", "K", "V", "a", "weight"))
        B, M, n_in = E.shape
        rows = E.reshape(B * M, n_in)
        if hasattr(self, "norm"):
            dout = self.norm.backward(dout)
        dout = dout.reshape(B * M, -1) * (self.cache["out"] > 0)  # (B M, H d)    out = relu(...)
        dheads = self._split_heads(dout, B, M)                    # (B, H, M, d)
        dweight = dheads @ V.swapaxes(2, 3)                       # (B, H, M, M)  heads = weight V
        dV = weight.swapaxes(2, 3) @ dheads                       # (B, H, M, d)
        da = self.dropout.backward(dweight)                       #               weight = dropout(a)
        dS = softmax_backward(da, a, axis=3)                      # (B, H, M, M)  a = softmax(S)
        if self.scale != 1:
            dS *= self.scale
        dQ = dS @ K                                               # (B, H, M, d)  S = Q K^T
        dK = dS.swapaxes(2, 3) @ Q                                # (B, H, M, d)
        dprojected = {"Q": self._merge_heads(dQ), "K": self._merge_heads(dK), "V": self._merge_heads(dV),
                      "Res": dout}
        dE = np.zeros_like(rows)
        for name in self.projections:                             # E feeds every projection: add them all
            dE += self._project_backward(name, rows, dprojected[name])
        return dE.reshape(B, M, n_in)

    def _project(self, name, rows):
        """E W, or relu(E W + b) with qkv_activation="relu"."""
        out = rows @ self.params[f"W_{name}"]                     # (B M, H d)
        if self.qkv_activation == "relu":
            out += self.params[f"b_{name}"]
            np.maximum(out, 0, out=out)
        return out

    def _project_backward(self, name, rows, dout):
        if self.qkv_activation == "relu":
            dout = dout * (self.cache["projected"][name] > 0)     # out = relu(E W + b)
            self.grads[f"b_{name}"] = dout.sum(axis=0)
        self.grads[f"W_{name}"] = rows.T @ dout                   # (n_in, H d)   out = E W
        return dout @ self.params[f"W_{name}"].T                  # (B M, n_in)

    def _split_heads(self, x, B, M):
        """(B M, H d) -> (B, H, M, d). The swap is needed: a plain reshape would mix heads and fields."""
        return x.reshape(B, M, self.H, self.d).swapaxes(1, 2)

    def _merge_heads(self, x):
        """(B, H, M, d) -> (B M, H d), the inverse of _split_heads."""
        return x.swapaxes(1, 2).reshape(-1, self.H * self.d)
