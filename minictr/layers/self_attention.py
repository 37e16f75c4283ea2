"""AutoInt's interacting layer: every field looks at every field, with several heads."""

import numpy as np

from .base import Layer, glorot_normal
from .dense import Dropout, LayerNorm
from .functions import relu, relu_backward, softmax, softmax_backward


class InteractingLayer(Layer):
    """Let every field gather what it needs from all fields (multi-head self-attention), and keep itself.

    For each head h, with fields m (asking) and k (answering):

        a_mk  = softmax over k of (W_Q e_m) . (W_K e_k)           (Song et al. 2019, eq. 5)
        e~_m  = sum_k a_mk W_V e_k                                (eq. 6)
        out_m = relu([e~_m of head 1; ...; e~_m of head H] + W_Res e_m)      (eq. 7, 8)

    k runs over all M fields, m itself included. Backward, with the gradients as matrices of M rows for each head:

        dz = dout where z > 0, else 0        z = [e~ of all heads] + W_Res e
        dV = a^T dz        da = dz V^T       dS = a (da - sum_k a da)      S = Q K^T
        dQ = dS K          dK = dS^T Q       dW_Q = sum_m e_m dQ_m^T        and so for K, V and Res

    Parameters
    ----------
    n_in : size of a field's vector on the way in.   H : heads.   d : size per head (the paper's d' = 32 is
    per head, so that a layer's output has H d numbers a field).   rng : numpy Generator.
    scale : divide the scores by sqrt(d).   residual : whether there is W_Res.
    layer_norm : normalise after the ReLU.   qkv_activation : None, or "relu": Q, K, V and the residual become
    relu(E W + b).   dropout : share of attention weights dropped while training.

    Shapes: E (B, M, n_in) in, (B, M, H d) out; cache["a"] (B, H, M, M): row = asking field m, column =
    answering field k.   Units: a is a share, sums to 1 over the last axis.

    Source: Song et al., CIKM 2019, https://arxiv.org/abs/1810.11921. Here each W is (n_in, H d), transposed.
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
        self.residual = residual
        for name in ("Q", "K", "V", "Res") if residual else ("Q", "K", "V"):
            self.params[f"W_{name}"] = glorot_normal(rng, n_in, H * d, dtype)
            if qkv_activation == "relu":
                self.params[f"b_{name}"] = np.zeros(H * d, dtype)
        self.dropout = Dropout(dropout, rng)
        self.norm = LayerNorm(H * d, dtype=dtype) if layer_norm else None

    def forward(self, E):
        self.cache = {"E": E}
        Q = split_heads(self._project("Q", E), self.H)            # (B, H, M, d)  W_Q e_m
        K = split_heads(self._project("K", E), self.H)            # (B, H, M, d)  W_K e_k
        V = split_heads(self._project("V", E), self.H)            # (B, H, M, d)  W_V e_k
        S = self.scale * (Q @ K.swapaxes(2, 3))                   # (B, H, M, M)  (W_Q e_m) . (W_K e_k)
        a = softmax(S, axis=3)                                    # (B, H, M, M)  a_mk, over the answering fields k
        weight = self.dropout.forward(a)                          # (B, H, M, M)  dropout(a_mk): a_mk itself at rate 0
        e = join_heads(weight @ V)                                # (B, M, H d)   e~_m = sum_k a_mk W_V e_k of all heads
        z = e + self._project("Res", E) if self.residual else e   # (B, M, H d)          + W_Res e_m
        out = relu(z)                                             # (B, M, H d)   out_m = relu(e~_m + W_Res e_m)
        self.cache |= {"Q": Q, "K": K, "V": V, "S": S, "a": a, "weight": weight, "e": e, "z": z, "out": out}
        return self.norm.forward(out) if self.norm else out

    def backward(self, dout):
        Q, K, V, a, weight, z = (self.cache[name] for name in ("Q", "K", "V", "a", "weight", "z"))
        if self.norm:
            dout = self.norm.backward(dout)
        dz = relu_backward(dout, z)                               # (B, M, H d)   out = relu(z)
        de = split_heads(dz, self.H)                              # (B, H, M, d)  z = e~_m + W_Res e_m
        dweight = de @ V.swapaxes(2, 3)                           # (B, H, M, M)  e~_m = weight V
        dV = weight.swapaxes(2, 3) @ de                           # (B, H, M, d)  the same, with respect to V
        da = self.dropout.backward(dweight)                       # (B, H, M, M)  weight = dropout(a)
        dS = softmax_backward(da, a, axis=3)                      # (B, H, M, M)  a = softmax(S)
        dQ = self.scale * (dS @ K)                                # (B, H, M, d)  S = scale Q K^T
        dK = self.scale * (dS.swapaxes(2, 3) @ Q)                 # (B, H, M, d)  the same, with respect to K
        dE = self._project_backward("V", join_heads(dV))          # (B, M, n_in)  V = W_V e_k
        dE = dE + self._project_backward("K", join_heads(dK))     #               K = W_K e_k
        dE = dE + self._project_backward("Q", join_heads(dQ))     #               Q = W_Q e_m
        if self.residual:
            dE = dE + self._project_backward("Res", dz)           #               z = e~_m + W_Res e_m
        return dE                                                 # (B, M, n_in)  by Q, K, V and, if there, Res: add all

    def _project(self, name, E):
        """Return W_name e_m of every field, or with qkv_activation="relu" relu(W_name e_m + b_name)."""
        out = E @ self.params[f"W_{name}"]                        # (B, M, H d)   E W
        if self.qkv_activation == "relu":
            out = self.cache[f"relu_{name}"] = relu(out + self.params[f"b_{name}"])
        return out

    def _project_backward(self, name, dout):
        if self.qkv_activation == "relu":
            dout = relu_backward(dout, self.cache[f"relu_{name}"])    # (B, M, H d)   out = relu(E W + b)
            self.grads[f"b_{name}"] = dout.sum(axis=(0, 1))       # (H d,)
        self.grads[f"W_{name}"] = np.tensordot(self.cache["E"], dout, axes=((0, 1), (0, 1)))   # (n_in, H d)  out = E W
        return dout @ self.params[f"W_{name}"].T                  # (B, M, n_in)


def split_heads(x, H):
    """Give each head its share of every field, (B, M, H d) -> (B, H, M, d). (A plain reshape would mix the two.)

    >>> split_heads(np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]]), H=2)[0, 1]          # the second head, of both fields
    array([[3, 4],
           [7, 8]])
    """
    B, M, Hd = x.shape
    return x.reshape(B, M, H, Hd // H).swapaxes(1, 2)


def join_heads(x):
    """Put all heads of a field side by side, (B, H, M, d) -> (B, M, H d): the inverse of ``split_heads``."""
    B, H, M, d = x.shape
    return x.swapaxes(1, 2).reshape(B, M, H * d)
