"""The compressed interaction network: products of vectors, compressed to a few after each layer."""

import numpy as np

from .base import Layer, glorot_normal


class CIN(Layer):
    """Products of the fields' vectors with those of the layer before, each layer compressed to H_l vectors.

        X^l_h = sum_i sum_j W^l_hij (X^{l-1}_i * X^0_j),   X^0 = E        (xDeepFM, Lian et al. 2018, eq. 6)
        out   = [sum_f X^1_hf for all h; sum_f X^2_hf for all h; ...]

    i runs over the H_{l-1} vectors of the layer before, j over the M fields, always of the *first* layer X^0. The sums
    are taken field by field: W^l_j X^{l-1} are H_l vectors, each multiplied by X^0_j. So nothing of the size of all
    products, H_{l-1} M k numbers a row, is ever made.

    Backward, from dX^l = its part of dout, repeated over f, plus what layer l + 1 sends back; for each field j:

        D_j = dX^l * X^0_j                   dW^l_j = sum_b D_j X^{l-1}^T
        dX^{l-1} += W^l_j^T D_j              dX^0_j += sum_h dX^l_h * (W^l_j X^{l-1})_h

    Parameters
    ----------
    M : fields.   widths : H_1, H_2, ..., vectors of each layer.   rng : numpy Generator for the start of W.

    Shapes: E (B, M, k) in, (B, H) out, H = H_1 + H_2 + ... Parameters W_1, W_2, ...: (H_l, H_{l-1}, M), H_0 = M.

    >>> CIN(3, [4, 2], np.random.default_rng(0)).forward(np.ones((5, 3, 8), np.float32)).shape
    (5, 6)
    """

    def __init__(self, M, widths, rng, dtype=np.float32):
        super().__init__()
        self.widths = list(widths)
        H_before = M
        for l, H in enumerate(self.widths, 1):
            W = glorot_normal(rng, H_before * M, H, dtype)        # (H_{l-1} M, H_l)
            self.params[f"W_{l}"] = np.ascontiguousarray(W.T).reshape(H, H_before, M)
            H_before = H

    def forward(self, E):
        self.cache = {"X_0": E}
        X = E                                                     # (B, M, k)     X^0 = E
        for l, H in enumerate(self.widths, 1):
            W, X_before = self.params[f"W_{l}"], X
            X = np.zeros((len(E), H, E.shape[2]), E.dtype)        # (B, H_l, k)
            for j in range(E.shape[1]):
                X += (W[:, :, j] @ X_before) * E[:, j, None]      # (B, H_l, k)   sum_i W_hij X^{l-1}_i, times X^0_j
            self.cache[f"X_{l}"] = X
        return np.concatenate(                                    # (B, H)         [sum_f X^1_f; sum_f X^2_f; ...]
            [self.cache[f"X_{l}"].sum(axis=2) for l in range(1, len(self.widths) + 1)], axis=1)

    def backward(self, dout):
        E = self.cache["X_0"]                                     # (B, M, k)
        ends = np.cumsum(self.widths)
        dE, dX_back = np.zeros_like(E), 0                         # what layer l + 1 sends back: to the last, nothing
        for l in reversed(range(1, len(self.widths) + 1)):
            W, X, X_before = self.params[f"W_{l}"], self.cache[f"X_{l}"], self.cache[f"X_{l - 1}"]
            dpooled = dout[:, ends[l - 1] - len(W):ends[l - 1]]   # (B, H_l)      out = [..., sum_f X^l_hf, ...]
            dX = np.zeros_like(X) + dpooled[:, :, None] + dX_back     # (B, H_l, k)   X^l is summed, and used by l + 1
            dW, dX_back = np.zeros_like(W), np.zeros_like(X_before)
            for j in range(E.shape[1]):
                D = dX * E[:, j, None]                            # (B, H_l, k)   X^l = sum_j (W_j X^{l-1}) * X^0_j
                dW[:, :, j] = np.tensordot(D, X_before, axes=((0, 2), (0, 2)))    # (H_l, H_{l-1}, M)
                dX_back += W[:, :, j].T @ D                       # (B, H_{l-1}, k)
                dE[:, j] += (dX * (W[:, :, j] @ X_before)).sum(axis=1)    # (B, M, k)  the same, with respect to X^0_j
            self.grads[f"W_{l}"] = dW
        return dE + dX_back                                       # (B, M, k)     X^0 is the first X^{l-1} too
