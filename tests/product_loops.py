"""The equations of products of fields as loops over single numbers, for ``oracles``, and the models made of them."""

import itertools

from loops import (
    batch_norm,
    concatenated,
    dense,
    dot,
    embedding,
    fm_pooling,
    linear,
    mlp,
    numbers,
    pairs,
    readout,
    relu,
    slot_weight,
    slots_of_field,
)

# ------------------------------------------------------------------------------------------- layers


def inner_products(E):
    """<e_i, e_j> for i < j."""
    return [[dot(row[i], row[j]) for i, j in pairs(len(row))] for row in numbers(E)]


def outer_product(E):
    """sum_i sum_j e_i e_j^T, one number at a time (OPNN)."""
    out = []
    for row in numbers(E):
        k = len(row[0])
        out.append([[sum(e_i[f] * e_j[g] for e_i in row for e_j in row) for g in range(k)] for f in range(k)])
    return out


def field_aware_products(E):
    """<v_{i,f(j)} x_i, v_{j,f(i)} x_j> for i < j; E[i][j] is what field i has for field j (FFM)."""
    return [[dot(row[i][j], row[j][i]) for i, j in pairs(len(row))] for row in numbers(E)]


def triples(M):
    return list(itertools.combinations(range(M), 3))


def triple_pooling(E):
    """sum_{i<j<l} e_i * e_j * e_l, triple by triple (HOFM)."""
    out = []
    for row in numbers(E):
        total = [0.0] * len(row[0])
        for i, j, l in triples(len(row)):
            for f in range(len(total)):
                total[f] += row[i][f] * row[j][f] * row[l][f]
        out.append(total)
    return out


def cross_network(x0, params, L):
    """x_{l+1} = x_0 x_l^T w_l + b_l + x_l, with the matrix that the paper writes (DCN, eq. 3)."""
    params = {name: numbers(array) for name, array in params.items()}
    out = []
    for row in numbers(x0):
        x = row
        for l in range(L):
            w, b = params[f"w_{l}"], params[f"b_{l}"]
            matrix = [[row[r] * x[c] for c in range(len(x))] for r in range(len(row))]
            x = [dot(matrix[r], w) + b[r] + x[r] for r in range(len(row))]
        out.append(x)
    return out


def cin(E, params, widths):
    """X^l_h = sum_i sum_j W^l_hij (X^{l-1}_i * X^0_j), each summed over its numbers (xDeepFM, eq. 6)."""
    params = {name: numbers(array) for name, array in params.items()}
    out = []
    for X0 in numbers(E):
        X, pooled = X0, []
        for l, H in enumerate(widths, 1):
            W = params[f"W_{l}"]
            X_next = []
            for h in range(H):
                vector = [0.0] * len(X0[0])
                for i in range(len(X)):
                    for j in range(len(X0)):
                        for f in range(len(vector)):
                            vector[f] += W[h][i][j] * X[i][f] * X0[j][f]
                X_next.append(vector)
                pooled.append(sum(vector))
            X = X_next
        out.append(pooled)
    return out


def residual_unit(x, W_1, b_1, W_2, b_2):
    """relu(x + relu(x W_1 + b_1) W_2 + b_2) (Deep Crossing)."""
    hidden = [[relu(z) for z in row] for row in dense(x, W_1, b_1)]
    added, x = dense(hidden, W_2, b_2), numbers(x)
    return [[relu(x[b][c] + added[b][c]) for c in range(len(x[b]))] for b in range(len(x))]


def bucket(ids, buckets):
    """The hash of a combination of ids, in Python's whole numbers, which never overflow."""
    found = 0
    for value in ids:
        mixed = found * 2_654_435_761 + value
        found = (mixed ^ (mixed >> 29)) % buckets
    return found


def crosses(w, slots, fields, buckets):
    """Each cross's sum over combinations of values of w_{hash} prod x: one list a row (Wide & Deep)."""
    w, out = numbers(w), []
    for b in range(len(slots.ids)):
        out.append([])
        for number, cross in enumerate(fields):
            total = 0.0
            for combination in itertools.product(*(slots_of_field(slots, field) for field in cross)):
                term = w[number * buckets + bucket([int(slots.ids[b, s]) for s in combination], buckets)]
                for s in combination:
                    term *= slot_weight(slots, b, s)
                total += term
            out[b].append(total)
    return out


def first_order_terms(w, w0, slots):
    """[w_0; w_1 x_1; ...; w_M x_M] of each row (FNN)."""
    w, out = numbers(w), []
    for b in range(len(slots.ids)):
        out.append([numbers(w0)[0]])
        for i in range(len(slots.starts)):
            out[b].append(sum(w[int(slots.ids[b, s])] * slot_weight(slots, b, s) for s in slots_of_field(slots, i)))
    return out


# ------------------------------------------------------------------------------------------- models


def ffm_logits(model, slots):
    """w_0 + sum_i w_i x_i + sum_{i<j} <v_{i,f(j)}, v_{j,f(i)}> x_i x_j, from the table's rows."""
    out = [0.0] * len(slots.ids)
    if model.first_order:
        out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    k = model.embedding_dim
    for b, row in enumerate(embedding(model.embedding.params["V"], slots)):
        for i, j in pairs(len(row)):
            for f in range(k):
                out[b] += row[i][j * k + f] * row[j][i * k + f]
    return out


def fwfm_logits(model, slots):
    """w_0 + sum_i w_i x_i + sum_{i<j} r_ij <v_i, v_j> x_i x_j."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    r = numbers(model.strength.params["r"])
    for b, row in enumerate(embedding(model.embedding.params["V"], slots)):
        for pair, (i, j) in enumerate(pairs(len(row))):
            out[b] += r[pair] * dot(row[i], row[j])
    return out


def hofm_logits(model, slots):
    """w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j + sum_{i<j<l} <u_i, u_j, u_l> x_i x_j x_l."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    E, U = (embedding(layer.params["V"], slots) for layer in (model.embedding, model.triple_embedding))
    for b in range(len(out)):
        for i, j in pairs(len(E[b])):
            out[b] += dot(E[b][i], E[b][j])
        for i, j, l in triples(len(U[b])):
            for f in range(len(U[b][i])):
                out[b] += U[b][i][f] * U[b][j][f] * U[b][l][f]
    return out


def nfm_logits(model, slots):
    """w_0 + sum_i w_i x_i + h . relu(... sum_{i<j} e_i * e_j ...)."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    f = fm_pooling(embedding(model.embedding.params["V"], slots))
    if model.use_bn:
        f = batch_norm(f, model.pooled_norm.params, model.pooled_norm.state, model.pooled_norm.training)
    deep = mlp(f, model.mlp)
    return [out[b] + deep[b] for b in range(len(out))]


def fnn_logits(model, slots):
    """MLP([w_0; w_i x_i of all fields; e_i of all fields])."""
    first_order = first_order_terms(model.linear.params["w"], model.linear.params["w0"], slots)
    E = embedding(model.embedding.params["V"], slots)
    return mlp([first_order[b] + concatenated(E[b]) for b in range(len(E))], model.mlp)


def pnn_logits(model, slots):
    """MLP([e_1; ...; e_M; products])."""
    E = embedding(model.embedding.params["V"], slots)
    inputs = [concatenated(row) for row in E]
    if model.product in ("inner", "both"):
        inputs = [row + products for row, products in zip(inputs, inner_products(E), strict=True)]
    if model.product in ("outer", "both"):
        inputs = [row + concatenated(products) for row, products in zip(inputs, outer_product(E), strict=True)]
    return mlp(inputs, model.mlp)


def wide_deep_logits(model, slots):
    """w_0 + sum_i w_i x_i + sum_c w_c(x) + MLP([e_1; ...; e_M])."""
    out = linear(model.linear.params["w"], model.linear.params["w0"], slots)
    deep = mlp([concatenated(row) for row in embedding(model.embedding.params["V"], slots)], model.mlp)
    fields = [[int(name.removeprefix("field_")) - 1 for name in cross] for cross in model.crosses]
    crossed = [[]] * len(out)
    if fields:
        crossed = crosses(model.crossed.params["w"], slots, fields, model.cross_buckets)
    return [out[b] + sum(crossed[b]) + deep[b] for b in range(len(out))]


def deep_crossing_logits(model, slots):
    """w . x^L + b, x^{l+1} = relu(x^l + relu(x^l W_1 + b_1) W_2 + b_2)."""
    x = [concatenated(row) for row in embedding(model.embedding.params["V"], slots)]
    for unit in model.units:
        x = residual_unit(x, **unit.params)
    return readout(x, model.readout.params["w"], model.readout.params["b"])


def dcn_logits(model, slots):
    """w . [x_L; a^L] + b."""
    x0 = [concatenated(row) for row in embedding(model.embedding.params["V"], slots)]
    towers = cross_network(x0, model.cross.params, model.num_layers)
    if model.deep_layers:
        deep = mlp(x0, model.mlp)
        towers = [towers[b] + deep[b] for b in range(len(x0))]
    return readout(towers, model.readout.params["w"], model.readout.params["b"])


def xdeepfm_logits(model, slots):
    """sum_i w_i x_i + w . CIN(E) + b + MLP([e_1; ...; e_M])."""
    E = embedding(model.embedding.params["V"], slots)
    out = readout(cin(E, model.cin.params, model.cin_layers),
                  model.cin_readout.params["w"], model.cin_readout.params["b"])
    if model.deep_layers:
        deep = mlp([concatenated(row) for row in E], model.mlp)
        out = [out[b] + deep[b] for b in range(len(out))]
    if model.first_order:
        first_order = linear(model.linear.params["w"], None, slots)
        out = [out[b] + first_order[b] for b in range(len(out))]
    return out


PRODUCT_MODELS = {
    "FFM": ffm_logits, "FwFM": fwfm_logits, "HOFM": hofm_logits, "NFM": nfm_logits, "FNN": fnn_logits,
    "PNN": pnn_logits, "WideDeep": wide_deep_logits, "DeepCrossing": deep_crossing_logits, "DCN": dcn_logits,
    "XDeepFM": xdeepfm_logits}
