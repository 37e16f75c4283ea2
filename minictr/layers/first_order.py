"""First-order terms one by one, for a network to read."""

import numpy as np

from .embedding import Linear, RowGradient, repeat_over_slots


class FirstOrderTerms(Linear):
    """The bias and the first-order term of each field, one by one, as inputs of what comes next.

        out = [w_0; w_1 x_1; ...; w_M x_M]         (FNN, Zhang et al. 2016, beside the vectors)

    Backward:  dw_0 = sum_b dout_b0,   dw[id_s] += x_s dout_i, row-sparse.

    Shapes: Slots of B rows and M fields in, (B, 1 + M) out. All parameters start at 0.

    >>> from minictr.slots import Slots
    >>> FirstOrderTerms(5).forward(Slots([[0, 2], [1, 4]], None, starts=[0, 1])).shape
    (2, 3)
    """

    def forward(self, slots):
        super().forward(slots)                                    # fills the cache of field_terms; the sum is Linear's
        w0 = np.repeat(self.params["w0"], len(slots))[:, None]    # (B, 1)     w_0
        return np.concatenate([w0, self.field_terms()], axis=1)   # (B, 1 + M) [w_0; w_1 x_1; ...; w_M x_M]

    def backward(self, dout):
        slots = self.cache["slots"]
        self.grads["w0"] = dout[:, 0].sum(keepdims=True)          # (1,)       out_0 = w_0
        dw = repeat_over_slots(dout[:, 1:], slots)                # (B, S)     out_i = sum_s w_s x_s
        if slots.x is not None:
            dw = dw * slots.x                                     # (B, S)     the same, with respect to w_s
        self.grads["w"] = RowGradient(slots, dw.reshape(-1))      # (B * S,)   one value a slot
