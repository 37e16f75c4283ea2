"""The attentional factorization machine (Xiao et al., IJCAI 2017, https://arxiv.org/abs/1708.04617)."""

import dataclasses

from ..checks import COUNT, SHARE_DROPPED, warn
from ..estimator import Model, Paper, StartsFromFM
from ..layers import AttentionPooling, Dropout, Embedding, Linear, PairProduct, Readout


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class AFM(StartsFromFM, Model):
    """The attentional factorization machine is an FM that learns how much each pair of fields counts.

        p_ij  = (v_i * v_j) x_i x_j                               (eq. 2)
        a'_ij = h . relu(W^T p_ij + b),   a_ij = softmax of a' over the pairs      (eq. 5)
        s     = w_0 + sum_i w_i x_i + p . sum_{i<j} a_ij p_ij     (eq. 6)

    The logit s is the paper's y. With a_ij = 1/P for all P pairs and p = (P, ..., P) it is the FM.

    Parameters
    ----------
    embedding_dim : k, the size of a value's vector.
    attention_dim : t, the hidden units of the attention network (the paper's attention factor).
    dropout : share of the pooled vector sum a_ij p_ij dropped while training: where the authors' code has it.
    attention_dropout : share of attention weights dropped; the paper advises against it.
    reg : L2 on W alone, as lambda in  1/B [sum_b loss_b + lambda ||W||^2]  for each batch: the authors' program adds
        lambda ||W||^2 to each batch's sum. (Eq. 8 adds it once to the sum over all N rows: that is reg = lambda B / N.)
    init_from : a fitted FM of the same embedding_dim to start from, as ``AFM.from_fm(fm)`` sets it: the model then
        takes its fields, vectors and weights, and h starts at 0, so that every pair's attention is 1/P and the AFM is
        the FM, up to rounding (W and b get their first gradient in the second step). With freeze=("embedding",
        "linear") only the attention network and p are trained, the paper's "micro-level analysis" (section 5.3.1).
    All others: see ``Model``.

    Parameters to train: n (k + 1) + 1 + k t + 2 t + k, for n ids of all fields.

    Paper vs. code: the paper does not say where p starts. Here it starts at P, so that with even attention, 1/P, the
    model starts at the FM's scale; p then moves little, as Adam's steps are small beside P. The authors' code starts
    at 1, which suits the attention weights of 1 that its softmax over the wrong axis gives (see
    ``AttentionPooling``); with weights that sum to 1 it would be P times too small. The paper puts dropout on the
    pairs, the code on the pooled vector, as here. The code takes no x_i (a feature with its value is the key); here
    x_i x_j is in the attention's input too, as in eq. 5.

    >>> from minictr import datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> model = AFM(embedding_dim=4, attention_dim=4, epochs=2).fit(clicks.X, clicks.y)
    >>> s = model.forward(model.encode(clicks.X, clicks.y)[0])    # fit and predict leave no caches in the layers
    >>> a = model.attention.cache["aij"]
    >>> bool(abs(a.sum(axis=1) - 1).max() < 1e-5)
    True
    """

    embedding_dim: int = 8
    attention_dim: int = 16
    dropout: float = 0.0
    attention_dropout: float = 0.0

    paper = Paper("Xiao et al.", 2017, "IJCAI", "https://arxiv.org/abs/1708.04617")
    equation = "s = w_0 + sum_i w_i x_i + p . sum_{i<j} a_ij (e_i * e_j)"
    checks = {"embedding_dim": COUNT, "attention_dim": COUNT, "dropout": SHARE_DROPPED,
              "attention_dropout": SHARE_DROPPED}
    tiny = {"embedding_dim": 2, "attention_dim": 2}
    variants = {"AFM": {"embedding_dim": 3, "attention_dim": 4}, "AFM-k1-t1": {"embedding_dim": 1, "attention_dim": 1}}

    regularized = ("attention.W",)

    def check_fields(self, M):
        if M == 1:
            raise ValueError("AFM weighs pairs, and there is only one field (n_features = 1); use LR, or add fields")
        if M == 2:
            warn(
                "two fields make one pair, whose attention is always 1: W, b and h get no gradient, and this AFM is a "
                "generalised matrix factorization w_0 + w_i + w_j + p.(v_i * v_j). For attention that means something "
                "pass more fields, or user_features= and item_features= with ratings")

    def build(self, n, M, rng):
        k, t, P = self.embedding_dim, self.attention_dim, M * (M - 1) // 2
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, k, rng, dtype=self.dtype)
        self.pairs = PairProduct()
        self.attention = AttentionPooling(k, t, rng, self.attention_dropout, dtype=self.dtype)
        self.pooled_dropout = Dropout(self.dropout, rng)
        self.projection = Readout(k, start=P, symbol="p", bias=False, dtype=self.dtype)

    def initialise(self, mean):
        super().initialise(mean)
        if self.init_from is not None:
            self.attention.params["h"][:] = 0                     # a'_ij = 0 for every pair: a_ij = 1/P

    def forward(self, slots):
        first_order = self.linear.forward(slots)                  # (B,)       w_0 + sum_i w_i x_i
        E = self.embedding.forward(slots)                         # (B, M, k)  e_i = v_i x_i
        pij = self.pairs.forward(E)                               # (B, P, k)  e_i * e_j
        pooled = self.attention.forward(pij)                      # (B, k)     sum_{i<j} a_ij p_ij
        pooled = self.pooled_dropout.forward(pooled)
        return first_order + self.projection.forward(pooled)      # (B,)       ... + p . pooled

    def backward(self, ds):
        dpooled = self.projection.backward(ds)                    # (B, k)     s = ... + p . pooled
        dpooled = self.pooled_dropout.backward(dpooled)
        dpij = self.attention.backward(dpooled)                   # (B, P, k)
        dE = self.pairs.backward(dpij)                            # (B, M, k)
        self.embedding.backward(dE)
        self.linear.backward(ds)                                  # s = first_order + ...

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        aij = self.attention.cache["aij"]
        return {"fields": self.linear.field_terms(),              # (B, M)     w_i x_i
                "pairs": aij * self.pair_values()}                # (B, P)     a_ij p . p_ij

    def pair_values(self):
        """Return what each pair of the latest forward pass would add if it had all of the attention, (B, P)."""
        return self.attention.cache["pij"] @ self.projection.params["p"]      # p . p_ij

    def attention_weights(self):
        return {"pairs": self.attention.cache["aij"]}             # (B, P)     a_ij
