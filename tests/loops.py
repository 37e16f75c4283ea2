"""The papers' equations as loops over single numbers, to hold layers and models against.

It calls no layer of minictr and broadcasts nothing: each function reads plain parameters, goes through rows, fields,
pairs, heads and numbers one at a time, and returns nested lists of floats. Slow, and easy to compare with the equation.
"""

import dataclasses
import math

import numpy as np

NORM_EPS = 1e-5         # under the root of batch norm and layer norm

# ------------------------------------------------------------------------------------------- small pieces


def numbers(array):
    """Nested lists of Python floats: float64, whatever the array was."""
    return np.asarray(array, dtype=np.float64).tolist()


@dataclasses.dataclass
class Watch:
    """How near the oracles came to places where numeric derivatives are worthless: kinks and vanishing variances."""

    relu_input: float = math.inf
    variance: float = math.inf

    def reset(self):
        self.relu_input = self.variance = math.inf


watch = Watch()


def relu(z):
    watch.relu_input = min(watch.relu_input, abs(z))
    return z if z > 0 else 0.0


def mean_and_variance(values):
    mean = sum(values) / len(values)
    var = sum((value - mean) ** 2 for value in values) / len(values)
    if var > 0:                         # exactly 0 (one value, or all cut off by a ReLU) is harmless: it stays 0
        watch.variance = min(watch.variance, var)
    return mean, var


def dot(u, v):
    assert len(u) == len(v)
    return sum(u[f] * v[f] for f in range(len(u)))


def column(W, c):
    return [row[c] for row in W]


def softmax(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def normalised(values, gamma, beta):
    """Mean 0 and variance 1 over a list of numbers, then each its scale and shift (layer norm of one row)."""
    mean, var = mean_and_variance(values)
    return [gamma[c] * (values[c] - mean) / math.sqrt(var + NORM_EPS) + beta[c] for c in range(len(values))]


def pairs(M):
    return [(i, j) for i in range(M) for j in range(i + 1, M)]


# ------------------------------------------------------------------------------------------- slots


def slots_of_field(slots, i):
    starts = [*slots.starts.tolist(), slots.ids.shape[1]]
    return range(starts[i], starts[i + 1])


def slot_weight(slots, b, s):
    return 1.0 if slots.x is None else float(slots.x[b, s])


def embedding(V, slots):
    """e_i = sum over the slots s of field i of V[id_s] x_s."""
    V = numbers(V)
    k = len(V[0])
    E = []
    for b in range(len(slots.ids)):
        E.append([])
        for i in range(len(slots.starts)):
            e = [0.0] * k
            for s in slots_of_field(slots, i):
                for f in range(k):
                    e[f] += V[int(slots.ids[b, s])][f] * slot_weight(slots, b, s)
            E[b].append(e)
    return E


def linear(w, w0, slots):
    """w_0 + sum_i w_i x_i; w0 None leaves the bias out."""
    w, w0 = numbers(w), 0.0 if w0 is None else numbers(w0)[0]
    out = []
    for b in range(len(slots.ids)):
        total = w0
        for s in range(slots.ids.shape[1]):
            total += w[int(slots.ids[b, s])] * slot_weight(slots, b, s)
        out.append(total)
    return out


# ------------------------------------------------------------------------------------------- pairs and attention


def pair_product(E):
    """p_ij = e_i * e_j for i < j (AFM, eq. 2)."""
    E = numbers(E)
    return [[[row[i][f] * row[j][f] for f in range(len(row[i]))] for i, j in pairs(len(row))] for row in E]


def fm_pooling(E):
    """sum_{i<j} e_i * e_j, pair by pair."""
    out = []
    for row in numbers(E):
        total = [0.0] * len(row[0])
        for i, j in pairs(len(row)):
            for f in range(len(total)):
                total[f] += row[i][f] * row[j][f]
        out.append(total)
    return out


def pair_attention(pij, W, b, h):
    """a_ij = softmax over the pairs of h . relu(W^T p_ij + b) (AFM, eq. 5): one list a row."""
    pij, W, b, h = numbers(pij), numbers(W), numbers(b), numbers(h)
    out = []
    for row in pij:
        scores = []
        for p in row:
            hidden = [relu(dot(p, column(W, unit)) + b[unit]) for unit in range(len(b))]
            scores.append(dot(h, hidden))
        out.append(softmax(scores))
    return out


def attention_pooling(pij, W, b, h, mask=None):
    """sum_ij a_ij p_ij (AFM, eq. 4); each a_ij times its ``mask``, where there is one."""
    pij, a = numbers(pij), pair_attention(pij, W, b, h)
    out = []
    for row in range(len(pij)):
        total = [0.0] * len(pij[row][0])
        for pair in range(len(pij[row])):
            weight = a[row][pair] * (1.0 if mask is None else float(mask[row, pair]))
            for f in range(len(total)):
                total[f] += weight * pij[row][pair][f]
        out.append(total)
    return out


def projected(e, params, name, h, d, qkv_activation):
    """W_name e of head h, d numbers; relu(W_name e + b_name) where asked for.

    Head h owns the columns h d, ..., h d + d - 1.
    """
    out = []
    for c in range(h * d, h * d + d):
        z = dot(e, column(params[f"W_{name}"], c))
        out.append(relu(z + params[f"b_{name}"][c]) if qkv_activation == "relu" else z)
    return out


def field_attention(E, params, H, d, scale=False, qkv_activation=None):
    """a[row][h][m][k] = softmax over k of (W_Q e_m) . (W_K e_k) (AutoInt, eq. 5)."""
    E, params = numbers(E), {name: numbers(array) for name, array in params.items()}
    out = []
    for row in E:
        heads = []
        for h in range(H):
            of_head = []
            for e_m in row:
                query = projected(e_m, params, "Q", h, d, qkv_activation)
                scores = []
                for e_k in row:
                    score = dot(query, projected(e_k, params, "K", h, d, qkv_activation))
                    scores.append(score / math.sqrt(d) if scale else score)
                of_head.append(softmax(scores))
            heads.append(of_head)
        out.append(heads)
    return out


def interacting(E, params, H, d, scale=False, residual=True, qkv_activation=None, norm=None, mask=None):
    """relu([heads of sum_k a_mk W_V e_k] + W_Res e_m) (AutoInt, eq. 6-8).

    ``norm``: gamma and beta of the layer norm after it, or None.   ``mask``: of the attention weights.
    """
    a = field_attention(E, params, H, d, scale, qkv_activation)
    E, params = numbers(E), {name: numbers(array) for name, array in params.items()}
    out = []
    for b in range(len(E)):
        fields = []
        for m in range(len(E[b])):
            e_out = []
            for h in range(H):
                values = [projected(e_k, params, "V", h, d, qkv_activation) for e_k in E[b]]
                rest = projected(E[b][m], params, "Res", h, d, qkv_activation) if residual else [0.0] * d
                for c in range(d):
                    gathered = 0.0
                    for k in range(len(E[b])):
                        weight = a[b][h][m][k] * (1.0 if mask is None else float(mask[b, h, m, k]))
                        gathered += weight * values[k][c]
                    e_out.append(relu(gathered + rest[c]))
            fields.append(e_out if norm is None else normalised(e_out, numbers(norm["gamma"]), numbers(norm["beta"])))
        out.append(fields)
    return out


# ------------------------------------------------------------------------------------------- the parts of an MLP


def dense(x, W, b):
    x, W, b = numbers(x), numbers(W), numbers(b)
    return [[dot(row, column(W, c)) + b[c] for c in range(len(b))] for row in x]


def readout(x, w, b=None):
    x, w = numbers(x), numbers(w)
    return [dot(row, w) + (0.0 if b is None else numbers(b)[0]) for row in x]


def batch_norm(x, params, state, training):
    """Each column by its own mean and variance while training, by the running ones while predicting."""
    x, gamma, beta = numbers(x), numbers(params["gamma"]), numbers(params["beta"])
    out = [[0.0] * len(gamma) for _ in x]
    for c in range(len(gamma)):
        if training:
            mean, var = mean_and_variance(column(x, c))
        else:
            mean, var = float(state["mean"][c]), float(state["var"][c])
        for b in range(len(x)):
            out[b][c] = gamma[c] * (x[b][c] - mean) / math.sqrt(var + NORM_EPS) + beta[c]
    return out


def mlp(x, layer):
    """a^{l+1} = relu(a^l W^l + b^l), out = a^L . w + b (DeepFM, eq. 3-4), with the layer's batch norm and masks."""
    a = numbers(x)
    for i in range(len(layer.dense)):
        a = dense(a, layer.dense[i].params["W"], layer.dense[i].params["b"])
        if layer.norm:
            a = batch_norm(a, layer.norm[i].params, layer.norm[i].state, layer.norm[i].training)
        a = [[relu(z) for z in row] for row in a]
        if layer.dropout[i].training and layer.dropout[i].rate:
            mask = numbers(layer.dropout[i].cache["mask"])
            a = [[a[b][c] * mask[b][c] for c in range(len(a[b]))] for b in range(len(a))]
    return readout(a, layer.out.params["w"], layer.out.params.get("b")) if layer.out else a


# ------------------------------------------------------------------------------------------- models: logits


def lr_logits(model, slots):
    return linear(model.linear.params["w"], model.linear.params["w0"], slots)


def fm_logits(model, slots):
    """w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    E = embedding(model.embedding.params["V"], slots)
    for b in range(len(out)):
        for i, j in pairs(len(E[b])):
            out[b] += dot(E[b][i], E[b][j])
    return out


def afm_logits(model, slots):
    """w_0 + sum_i w_i x_i + p . sum_{i<j} a_ij (v_i * v_j) x_i x_j."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    pij = pair_product(embedding(model.embedding.params["V"], slots))
    net = model.attention.params
    pooled = attention_pooling(pij, net["W"], net["b"], net["h"])
    p = numbers(model.projection.params["p"])
    for b in range(len(out)):
        out[b] += dot(p, pooled[b])
    return out


def concatenated(fields):
    return [number for e in fields for number in e]


def autoint_logits(model, slots):
    """w . [e^L_1; ...; e^L_M] + b; with deep_layers (AutoInt+) the MLP's output on [e_1; ...; e_M] is added."""
    E = embedding(model.embedding.params["V"], slots)
    e = E
    for layer in model.interacting:
        e = interacting(e, layer.params, model.num_heads, model.attention_dim, model.scale, model.residual,
                        model.qkv_activation, layer.norm.params if model.layer_norm else None)
    out = readout([concatenated(row) for row in e], model.readout.params["w"], model.readout.params["b"])
    if model.first_order:
        first_order = linear(model.linear.params["w"], None, slots)
        out = [out[b] + first_order[b] for b in range(len(out))]
    if model.deep_layers:
        deep = mlp([concatenated(row) for row in E], model.mlp)
        out = [out[b] + deep[b] for b in range(len(out))]
    return out


def deepfm_logits(model, slots):
    """sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j + MLP([e_1; ...; e_M])."""
    out = linear(model.linear.params["w"], None, slots)
    E = embedding(model.embedding.params["V"], slots)
    deep = mlp([concatenated(row) for row in E], model.mlp)
    for b in range(len(out)):
        for i, j in pairs(len(E[b])):
            out[b] += dot(E[b][i], E[b][j])
        out[b] += deep[b]
    return out


MODELS = {"LR": lr_logits, "FM": fm_logits, "AFM": afm_logits, "AutoInt": autoint_logits, "DeepFM": deepfm_logits}
