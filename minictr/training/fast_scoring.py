"""Fast twins of whole models, for scoring alone: no backward pass will ask for what was computed on the way.

``predict_logits`` puts one in the place of a model that is exactly as ``minictr.models`` has it, with all layers as
``minictr.layers`` has them: what somebody changed runs its own code. A test holds each to its plain model.

They go field by field: the vectors of one field, for all rows of a chunk, lie side by side in memory, so that sums over
fields are a few calls over long arrays. Calls of a few microseconds gain nothing from a second thread: handing on
Python's lock takes as long.
"""

import itertools

import numpy as np

from ..layers import (
    AttentionPooling,
    Dropout,
    Embedding,
    FactorSum,
    FMPooling,
    InnerProducts,
    Linear,
    PairProduct,
    Readout,
    field_pairs,
    named_layers,
    replica,
)
from .chunk_sizes import work_of_a_row
from .fast_functions import number_columns, sum_last, times_x
from .fast_layers import FastEmbedding, FastFMPooling, FastTriplePooling, with_fast_layers
from .fast_mlp import FastMLP, ScoringMLP
from .twins import has_as_written


class FastFM:
    """Scores with FM from one look-up of vectors and one of numbers: measured, in half the time of FM's fast layers.

        sum_{i<j} <e_i, e_j> = 1/2 <f, f> - 1/2 sum_i <e_i, e_i>,   f = sum_i e_i     (Rendle 2010, lemma 3.1)

    For a field of one value with x = 1, <e_i, e_i> = <v_i, v_i> is a number of that value, the same in each row. It
    joins the value's weight:

        u_i = w_i - 1/2 <v_i, v_i>
        s = w_0 + sum_i u_i + 1/2 <f, f>

    A number's vector is looked up once, and multiplied by all its x in one product: .8 of the time with 13 of 39.

    Parameters
    ----------
    model : an FM after ``start``.
    """

    stands_for = {"linear": Linear, "embedding": Embedding, "pooling": FMPooling, "pooled_dropout": Dropout,
                  "factor_sum": FactorSum}

    def __init__(self, model):
        self.w, self.w0 = model.linear.params["w"], model.linear.params.get("w0", [0])
        self.V = model.embedding.params["V"]
        self.u = None

    def cached_numbers(self, slots):
        """How many numbers of 4 bytes a row keeps in the cache: its ids, of 8 bytes, two vectors, s and u_i."""
        return 2 * slots.n_slots + 2 * self.V.shape[1] + 2

    def suits(self, slots):
        """Whether there are pairs, and no fewer look-ups than ids: else u would cost more than it saves."""
        return slots.n_fields > 1 and slots.ids.size >= len(self.V)

    def forward(self, slots):
        slots.check_ids(len(self.V))
        if self.u is None:
            self.u = self.w - 0.5 * sum_last(self.V * self.V)     # (n,)       w_i - 1/2 <v_i, v_i>
        ids = ids_by_slot(slots)
        out = np.full(len(slots), self.w0[0], self.V.dtype)       # (B,)       w_0
        f = np.zeros((len(slots), self.V.shape[1]), self.V.dtype)
        columns, weighted = [], slots.weighted_slots()
        for start, stop in itertools.pairwise([*slots.starts.tolist(), slots.n_slots]):
            if stop - start == 1 and start not in weighted:
                out += self.u.take(ids[start])                    #            + u_i
                f += self.V.take(ids[start], axis=0)              # (B, k)     + e_i
            elif stop - start == 1 and (own := number_columns(ids[start], slots.x[:, start])):
                columns += own
            else:
                e_i = np.zeros_like(f)
                for slot in range(start, stop):
                    w_s, v_s = self.w.take(ids[slot]), self.V.take(ids[slot], axis=0)
                    if slots.x is not None:
                        w_s *= slots.x[:, slot]
                        v_s *= slots.x[:, slot, None]
                    out += w_s                                    #            + w_i x_i
                    e_i += v_s                                    # (B, k)     e_i = sum_s v_s x_s
                out -= 0.5 * sum_last(e_i * e_i)                  #            - 1/2 <e_i, e_i>
                f += e_i
        if columns:                                               # numbers: looked up once, multiplied by x in products
            X = np.stack([x for _, x in columns], axis=1).astype(f.dtype)
            rows = [row for row, _ in columns]
            v = self.V.take(rows, axis=0)
            out += X @ self.w.take(rows)                          #            + w_i x_i
            out -= (X * X) @ (0.5 * sum_last(v * v))              #            - 1/2 <e_i, e_i>
            f += X @ v                                            # (B, k)     + e_i
        f *= f
        out += 0.5 * sum_last(f)                                  #            + 1/2 <f, f>
        return out


class ByField:
    """Scores with a model that only adds up its fields' vectors and their powers, NFM or HOFM: the model's own forward
    pass, in which each field's vectors lie side by side. Measured, .55 to .75 of the time of its fast layers.

    Parameters
    ----------
    model : after ``start``.
    """

    stands_for = None           # any layers: the forward pass is the model's own

    def __init__(self, model):
        self.original, self.model = model, with_scoring_layers(model)
        for _, layer in named_layers(self.model):
            layer.__class__ = BY_FIELD.get(type(layer), type(layer))

    def cached_numbers(self, slots):
        """As many as its layers keep."""
        numbers, _ = work_of_a_row(self.original, slots)
        return numbers

    def suits(self, slots):
        """All rows do."""
        return True

    def forward(self, slots):
        return self.model.forward(slots)


class ByFieldFwFM(ByField):
    """Scores with FwFM by one product of the strengths with all vectors: measured, .35 of the time.

        sum_{i<j} r_ij <e_i, e_j> = sum_i <e_i, g_i>,      g_i = sum_{j > i} r_ij e_j
    """

    stands_for = {"linear": Linear, "embedding": Embedding, "products": InnerProducts, "strength": Readout}

    def forward(self, slots):
        out = self.model.linear.forward(slots)                    # (B,)       w_0 + sum_i w_i x_i
        E = self.model.embedding.forward(slots).swapaxes(0, 1)    # (M, B, k)  e_i
        M, B, k = E.shape
        r = np.zeros((M, M), E.dtype)
        r[field_pairs(M)] = self.model.strength.params["r"]       # (M, M)     r_ij, 0 where j <= i
        G = (r @ E.reshape(M, B * k)).reshape(M, B, k)            # (M, B, k)  g_i = sum_{j > i} r_ij e_j
        G *= E
        return out + sum_last(G.sum(axis=0))                      # (B,)       sum_i <e_i, g_i>


class ByFieldAFM(ByField):
    """Scores with AFM, pair by pair: measured, .6 to .75 of the time on 7 and 10 fields, 1.0 on 39.

    relu(z + b) = max(z, -b) + b, and h . b is the same for all pairs, which a softmax does not see. So, less h . b,

        a'_ij = h . max(W^T p_ij, -b)

    which is one pass over the largest array instead of two. And p reads out each pair, before they are weighed:

        s = w_0 + sum_i w_i x_i + sum_{i<j} a_ij (p . p_ij)
    """

    stands_for = {"linear": Linear, "embedding": Embedding, "pairs": PairProduct, "attention": AttentionPooling,
                  "attention.dropout": Dropout, "pooled_dropout": Dropout, "projection": Readout}

    def cached_numbers(self, slots):
        """Those of z, or of p_ij while it is made from others, or of what the slots look up."""
        M, (k, t) = len(self.model.encoder_.field_names), self.model.attention.params["W"].shape
        P = M * (M - 1) // 2
        return max(P * t, 2 * P * k, slots.n_slots * (k + 2))

    def forward(self, slots):
        W, b, h = (self.model.attention.params[name] for name in ("W", "b", "h"))
        out = self.model.linear.forward(slots)                    # (B,)       w_0 + sum_i w_i x_i
        E = self.model.embedding.forward(slots).swapaxes(0, 1)    # (M, B, k)  e_i
        M, B, k = E.shape
        P = M * (M - 1) // 2
        pij, start = np.empty((P, B, k), E.dtype), 0
        for i in range(M - 1):                                    # (P, B, k)  e_i * e_j, in the order of field_pairs
            stop = start + M - 1 - i
            np.multiply(E[i], E[i + 1:], out=pij[start:stop])
            start = stop
        pij = pij.reshape(P * B, k)
        z = (pij @ W).reshape(P, B * len(b))                      # (P, B t)   W^T p_ij
        np.maximum(z, np.tile(-b, B), out=z)                      #            relu(W^T p_ij + b) - b
        s = (z.reshape(P * B, len(b)) @ h).reshape(P, B)          # (P, B)     a'_ij - h . b
        s -= s.max(axis=0)
        np.exp(s, out=s)                                          #            a_ij, times their sum over all pairs
        terms = (pij @ self.model.projection.params["p"]).reshape(P, B)       # p . p_ij
        terms *= s
        return out + terms.sum(axis=0) / s.sum(axis=0)            # (B,)       ... + sum_{i<j} a_ij (p . p_ij)


class ByFieldEmbedding(FastEmbedding):
    """The same E (B, M, k), with the vectors of each field side by side in memory, where each field has one value."""

    def forward(self, slots):
        if slots.n_slots > slots.n_fields:
            return super().forward(slots)
        V = self.params["V"]
        slots.check_ids(len(V))
        E = V.take(ids_by_slot(slots), axis=0).swapaxes(0, 1)     # (B, M, k)  v_i
        return times_x(E, slots)                                  #            * x_i


class ByFieldFMPooling(FastFMPooling):
    """Adds up the fields' vectors one after the other."""

    def forward(self, E):
        total = E[:, 0].copy()                                    # (B, k)     sum_i e_i
        squares = total * total                                   # (B, k)     sum_i e_i^2
        for e_i in E.swapaxes(0, 1)[1:]:
            total += e_i
            squares += e_i * e_i
        return 0.5 * (total * total - squares)                    # (B, k)     sum_{i<j} e_i * e_j


class ByFieldTriplePooling(FastTriplePooling):
    """The same for the sums of three powers."""

    def forward(self, E):
        s1 = E[:, 0].copy()                                       # (B, k)     s_p = sum_i e_i^p
        s2 = s1 * s1
        s3 = s1 * s2
        for e_i in E.swapaxes(0, 1)[1:]:
            s1 += e_i
            power = e_i * e_i
            s2 += power
            power *= e_i
            s3 += power
        return (s1 * s1 * s1 - 3 * s1 * s2 + 2 * s3) / 6          # (B, k)     sum_{i<j<l} e_i * e_j * e_l


def ids_by_slot(slots):
    """The ids by slot, (S, B), as ``take`` wants them."""
    return slots.ids.T.astype(np.intp, order="C")


BY_FIELD = {FastEmbedding: ByFieldEmbedding, FastFMPooling: ByFieldFMPooling, FastTriplePooling: ByFieldTriplePooling}
# By name, as models stand above this storey.
MODEL_TWINS = {"FM": FastFM, "AFM": ByFieldAFM, "FwFM": ByFieldFwFM, "HOFM": ByField, "NFM": ByField}


def with_scoring_layers(model):
    """A replica of the model with fast layers; of a model as written, MLPs as written are ``ScoringMLP``, where they
    have no batch norm and no dropout that is switched on.
    """
    scores = with_fast_layers(replica(model))
    if has_as_written(model, "forward"):
        for _, layer in named_layers(scores):
            if type(layer) is FastMLP and not layer.norm and not any(part.training for part in layer.dropout):
                layer.__class__ = ScoringMLP
    return scores


def twin_for_scoring(model):
    """A model's fast twin, or None: there is none, it is to be plain, or something of the model is not as written."""
    twin = MODEL_TWINS.get(type(model).__name__)
    if twin is None or model.plain:
        return None
    parts = dict(named_layers(model))
    own_layers = twin.stands_for is None or {name: type(part) for name, part in parts.items()} == twin.stands_for
    unchanged = own_layers and all(has_as_written(part, "forward") for part in [model, *parts.values()])
    return twin(model) if unchanged and not any(part.training for part in parts.values()) else None
