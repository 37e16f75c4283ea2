"""minictr's layers and models stand here in PyTorch, with copies of their weights. Only ``to_torch`` imports this.

Each counterpart of a layer has the layer's name: ``forward`` is the same maths, and there is no ``backward``, because
autograd derives it. A model has none: its own ``forward`` runs, on counterparts of its layers. Parameters have
minictr's shapes and its names, which are the papers' symbols; only torch's own layers (nn.Embedding, nn.BatchNorm1d,
nn.LayerNorm) call theirs weight, bias, running_mean and running_var.
"""

import copy
import dataclasses
from collections import OrderedDict

import torch
from torch import nn

from .. import layers
from ..checks import as_table
from ..layers.crosses import MULTIPLIER


class Copy(nn.Module):
    """This module has a copy of each parameter of a minictr layer, under the same name."""

    def __init__(self, layer):
        super().__init__()
        for symbol, array in layer.params.items():
            self.register_parameter(symbol, nn.Parameter(torch.tensor(array)))

    def extra_repr(self):
        """Return what ``print`` shows of it: the shapes."""
        return ", ".join(f"{symbol} {tuple(tensor.shape)}" for symbol, tensor in self.named_parameters(recurse=False))


def copied_norm(norm, layer):
    """Let a torch norm take over the scale and shift of a minictr one and, if it is a batch norm, its state."""
    norm.weight, norm.bias = (nn.Parameter(torch.tensor(layer.params[name])) for name in ("gamma", "beta"))
    for name, array in layer.state.items():
        setattr(norm, f"running_{name}", torch.tensor(array))
    return norm


def batch_norm(layer):
    """This is torch's own norm, with copies of scale, shift and running means."""
    return copied_norm(nn.BatchNorm1d(len(layer.params["gamma"]), eps=layer.eps, momentum=layer.momentum), layer)


def table(array):
    """This nn.Embedding has a copy of a table: one row for every value of every field."""
    return nn.Embedding.from_pretrained(torch.tensor(array), freeze=False)


def sum_within_fields(v, slots):
    """Add up the slots of each field: (B, S, k) -> (B, M, k)."""
    B, S, k = v.shape
    M = len(slots.offsets)
    if S == M:                                                    # one slot a field
        return v
    field = torch.bucketize(slots.ids, slots.offsets, right=True) - 1         # (B, S)
    return v.new_zeros(B, M, k).scatter_add(1, field.unsqueeze(2).expand(B, S, k), v)


# ---- layers ----------------------------------------------------------------------------------------------

class Linear(nn.Module):
    """Add up the first-order term:  out = w_0 + sum_i w_i x_i           (Rendle 2010, eq. 1, without its pairs)."""

    def __init__(self, layer):
        super().__init__()
        self.w = table(layer.params["w"][:, None])                # (n, 1)
        self.w0 = nn.Parameter(torch.tensor(layer.params["w0"])) if "w0" in layer.params else None

    def forward(self, slots):
        wx = self.w(slots.ids).squeeze(2)                         # (B, S)     w_s
        if slots.x is not None:
            wx = wx * slots.x                                     #            w_s x_s
        out = wx.sum(dim=1)                                       # (B,)
        return out if self.w0 is None else out + self.w0


class FirstOrderTerms(Linear):
    """The bias and the first-order term of each field, one by one:  out = [w_0; w_1 x_1; ...; w_M x_M]."""

    def forward(self, slots):
        wx = self.w(slots.ids)                                    # (B, S, 1)  w_s
        if slots.x is not None:
            wx = wx * slots.x.unsqueeze(2)                        #            w_s x_s
        terms = sum_within_fields(wx, slots).squeeze(2)           # (B, M)
        return torch.cat([self.w0.expand(len(terms), 1), terms], dim=1)       # (B, 1 + M)


class Crosses(nn.Module):
    """One weight for every combination of values of some fields, by their hash           (Cheng et al. 2016, eq. 1)."""

    def __init__(self, layer):
        super().__init__()
        self.w = table(layer.params["w"][:, None])                # (crosses * buckets, 1)
        self.crosses, self.buckets = layer.crosses, layer.buckets

    def forward(self, slots):
        out = slots.ids.new_zeros(len(slots), dtype=self.w.weight.dtype)
        if not len(slots):
            return out
        field = torch.bucketize(slots.ids[0], slots.offsets, right=True) - 1          # (S,)  the same in each row
        for number, cross in enumerate(self.crosses):
            ids, x = slots.ids.new_zeros(len(slots), 1), None
            for part in cross:
                ids = (ids.unsqueeze(2) * MULTIPLIER + slots.ids[:, field == part].unsqueeze(1)).flatten(1)
                ids = (ids ^ (ids >> 29)) % self.buckets          # (B, combinations)
                if slots.x is not None:
                    x_of_part = slots.x[:, field == part]
                    x = x_of_part if x is None else (x.unsqueeze(2) * x_of_part.unsqueeze(1)).flatten(1)
            w = self.w(ids + number * self.buckets).squeeze(2)    # (B, combinations)
            out = out + (w if x is None else w * x).sum(dim=1)    # (B,)
        return out


class Embedding(nn.Module):
    """Look the vectors up:  e_i = sum over the slots s of field i of  V[id_s] x_s.

    A table of more values a cell has more slots. Which field a slot belongs to follows from its id, because each field
    has its own stretch of ids: ``slots.offsets`` (M,) holds the first of each.
    """

    def __init__(self, layer):
        super().__init__()
        self.V = table(layer.params["V"])                         # (n, k)

    def forward(self, slots):
        v = self.V(slots.ids)                                     # (B, S, k)  v_s
        if slots.x is not None:
            v = v * slots.x.unsqueeze(2)                          #            v_s x_s
        return sum_within_fields(v, slots)                        # (B, M, k)


class FMPooling(nn.Module):
    """Add up all pairs at once:  sum_{i<j} e_i * e_j = 1/2 [(sum_i e_i)^2 - sum_i e_i^2]   (Rendle 2010, lemma 3.1)."""

    def forward(self, E):
        return 0.5 * (E.sum(dim=1).square() - E.square().sum(dim=1))          # (B, k)


class FactorSum(nn.Module):
    """Add up a pooled vector's k numbers:  out = sum_f x_f."""

    def forward(self, x):
        return x.sum(dim=1)                                       # (B,)


class PairProduct(nn.Module):
    """Multiply every pair on its own:  p_ij = e_i * e_j for all i < j             (Xiao et al. 2017, eq. 2)."""

    def forward(self, E):
        M = E.shape[1]
        i, j = torch.triu_indices(M, M, offset=1, device=E.device)
        return E.index_select(1, i) * E.index_select(1, j)        # (B, P, k)


class InnerProducts(nn.Module):
    """The inner product of every two fields' vectors:  out_ij = <e_i, e_j> for all i < j."""

    def forward(self, E):
        i, j = torch.triu_indices(E.shape[1], E.shape[1], offset=1, device=E.device)
        return (E @ E.transpose(1, 2))[:, i, j]                   # (B, P)


class OuterProduct(nn.Module):
    """All outer products, superposed:  out = f f^T,  f = sum_i e_i                         (Qu et al. 2016, OPNN)."""

    def forward(self, E):
        f = E.sum(dim=1)                                          # (B, k)
        return f.unsqueeze(2) * f.unsqueeze(1)                    # (B, k, k)


class FieldAwareProducts(nn.Module):
    """Every two fields, each by its vector for the other:  out_ij = <E_ij, E_ji>           (Juan et al. 2016)."""

    def forward(self, E):
        i, j = torch.triu_indices(E.shape[1], E.shape[1], offset=1, device=E.device)
        return (E[:, i, j] * E[:, j, i]).sum(dim=2)               # (B, P)


class TriplePooling(nn.Module):
    """All triples at once:  1/6 (s_1^3 - 3 s_1 s_2 + 2 s_3),  s_p = sum_i e_i^p            (Blondel et al. 2016)."""

    def forward(self, E):
        s1, s2, s3 = (E.pow(p).sum(dim=1) for p in (1, 2, 3))
        return (s1 ** 3 - 3 * s1 * s2 + 2 * s3) / 6               # (B, k)


class CrossNetwork(Copy):
    """Cross layers:  x_{l+1} = x_0 (w_l . x_l) + b_l + x_l                                (Wang et al. 2017, eq. 3)."""

    def __init__(self, layer):
        super().__init__(layer)                                   # w_0, b_0, w_1, ... (n_in,)
        self.L = layer.L

    def forward(self, x0):
        x = x0
        for l in range(self.L):
            x = x0 * (x @ getattr(self, f"w_{l}")).unsqueeze(1) + getattr(self, f"b_{l}") + x
        return x


class CIN(Copy):
    """Compressed interactions:  X^l_h = sum_i sum_j W^l_hij (X^{l-1}_i * X^0_j)           (Lian et al. 2018, eq. 6)."""

    def __init__(self, layer):
        super().__init__(layer)                                   # W_1, W_2, ... (H_l, H_{l-1}, M)
        self.L = len(layer.widths)

    def forward(self, E):
        X, pooled = E, []
        for l in range(1, self.L + 1):
            products = X.unsqueeze(2) * E.unsqueeze(1)            # (B, H, M, k)  X^{l-1}_i * X^0_j
            X = getattr(self, f"W_{l}").flatten(1) @ products.flatten(1, 2)       # (B, H_l, k)
            pooled.append(X.sum(dim=2))
        return torch.cat(pooled, dim=1)


class ResidualUnit(Copy):
    """out = relu(x + relu(x W_1 + b_1) W_2 + b_2)                                         (Shan et al. 2016)."""

    def forward(self, x):
        return torch.relu(x + torch.relu(x @ self.W_1 + self.b_1) @ self.W_2 + self.b_2)


class Concatenate(nn.Module):
    """Several arrays of a row side by side:  out = [x_1; x_2; ...]."""

    def forward(self, *parts):
        return torch.cat([x.flatten(1) for x in parts], dim=1)


class AttentionPooling(Copy):
    """Weigh pairs:  a'_ij = h . relu(W^T p_ij + b),  a = softmax of a' over the pairs (Xiao et al. 2017, eq. 5)."""

    def __init__(self, layer):
        super().__init__(layer)                                   # W (k, t), b (t,), h (t,)
        self.dropout = nn.Dropout(layer.dropout.rate)

    def forward(self, pij):
        s = torch.relu(pij @ self.W + self.b) @ self.h            # (B, P)     a'_ij
        aij = torch.softmax(s, dim=1)                             # (B, P)     a_ij
        return torch.bmm(self.dropout(aij).unsqueeze(1), pij).squeeze(1)      # (B, k)  sum_ij a_ij p_ij


class InteractingLayer(Copy):
    """Let fields look at fields, by AutoInt's multi-head self-attention      (Song et al. 2019, eq. 5-8)."""

    def __init__(self, layer):
        super().__init__(layer)                                   # W_Q, W_K, W_V, W_Res (n_in, H d), perhaps b_Q, ...
        self.heads, self.scale = (layer.H, layer.d), layer.scale
        self.residual = layer.residual
        self.dropout = nn.Dropout(layer.dropout.rate)
        self.norm = nn.Identity()
        if layer.norm:
            width = layer.H * layer.d
            self.norm = copied_norm(nn.LayerNorm(width, eps=layer.norm.eps), layer.norm)

    def project(self, E, name):
        """Return E W, or with qkv_activation="relu" relu(E W + b): (B, M, H d)."""
        projected = E @ getattr(self, f"W_{name}")
        return torch.relu(projected + getattr(self, f"b_{name}")) if hasattr(self, f"b_{name}") else projected

    def forward(self, E):
        Q, K, V = (self.project(E, name).unflatten(2, self.heads).transpose(1, 2) for name in "QKV")   # (B, H, M, d)
        a = torch.softmax(self.scale * Q @ K.transpose(2, 3), dim=3)          # (B, H, M, M)  a_mk     (eq. 5)
        out = (self.dropout(a) @ V).transpose(1, 2).flatten(2)                # (B, M, H d)            (eq. 6, 7)
        if self.residual:
            out = out + self.project(E, "Res")                                #               + W_Res e_m (eq. 8)
        return self.norm(torch.relu(out))


class Dense(Copy):
    """Apply an affine map:  out = x W + b."""

    def forward(self, x):
        return x @ self.W + self.b                                # (B, n_out)


class Readout(Copy):
    """Read a vector out as one number:  out = x . w + b;  AFM's w is called p, and it has no b."""

    def __init__(self, layer):
        super().__init__(layer)
        self.symbol = layer.symbol

    def forward(self, x):
        out = x @ getattr(self, self.symbol)                      # (B,)
        return out + self.b if hasattr(self, "b") else out


def mlp(layer):
    """Compute the deep part:  a^{l+1} = relu(a^l W^l + b^l),  out = a^L . w + b      (Guo et al. 2017, eq. 3-4)."""
    steps = OrderedDict()
    for i, dense in enumerate(layer.dense):
        steps[f"dense_{i + 1}"] = Dense(dense)
        if layer.norm:
            steps[f"norm_{i + 1}"] = batch_norm(layer.norm[i])
        steps[f"relu_{i + 1}"] = nn.ReLU()
        steps[f"dropout_{i + 1}"] = nn.Dropout(layer.dropout[i].rate)
    if layer.out:
        steps["out"] = Readout(layer.out)
    return nn.Sequential(steps)


def dropout(layer):
    """This is torch's own dropout, of the same rate."""
    return nn.Dropout(layer.rate)


COUNTERPARTS = {        # {class of a layer: what makes its counterpart of it}; put a layer of your own in here
    layers.Linear: Linear, layers.FirstOrderTerms: FirstOrderTerms, layers.Crosses: Crosses,
    layers.Embedding: Embedding, layers.FMPooling: lambda layer: FMPooling(),
    layers.TriplePooling: lambda layer: TriplePooling(), layers.FactorSum: lambda layer: FactorSum(),
    layers.PairProduct: lambda layer: PairProduct(), layers.InnerProducts: lambda layer: InnerProducts(),
    layers.OuterProduct: lambda layer: OuterProduct(), layers.FieldAwareProducts: lambda layer: FieldAwareProducts(),
    layers.AttentionPooling: AttentionPooling, layers.InteractingLayer: InteractingLayer,
    layers.CrossNetwork: CrossNetwork, layers.CIN: CIN, layers.ResidualUnit: ResidualUnit,
    layers.Concatenate: lambda layer: Concatenate(), layers.Dense: Dense, layers.Readout: Readout, layers.MLP: mlp,
    layers.ReLU: lambda layer: nn.ReLU(), layers.Dropout: dropout,
    layers.LayerNorm: lambda layer: copied_norm(nn.LayerNorm(len(layer.params["gamma"]), eps=layer.eps), layer),
    layers.BatchNorm: batch_norm,
}


def counterpart(name, layer):
    """Return the torch module of a layer, by its exact class: a subclass may have another forward."""
    if type(layer) not in COUNTERPARTS:
        raise TypeError(f"there is no torch counterpart of {name}, a {type(layer).__name__}: write its forward as a "
                        "torch.nn.Module made from the layer, and enter it as minictr.bridges.torch_modules."
                        f"COUNTERPARTS[{type(layer).__name__}]")
    return COUNTERPARTS[type(layer)](layer)


# ---- models ----------------------------------------------------------------------------------------------

@dataclasses.dataclass
class TensorSlots:
    """Slots are tensors here: ids and x (N, S), x None where all are 1; offsets (M,), the first id of each field."""

    ids: torch.Tensor
    x: torch.Tensor | None
    offsets: torch.Tensor

    def __len__(self):
        return len(self.ids)


class TorchModel(nn.Module):
    """Run a fitted model's own ``forward`` on torch counterparts of its layers."""

    def __init__(self, model):
        super().__init__()
        self.encoder, self.centre = model.encoder_, model.task_.centre
        self.register_buffer("offsets", torch.tensor(model.encoder_.offsets), persistent=False)
        # an unfitted copy of the model, with its settings, and torch modules in the place of layers
        self.equations = copy.copy(model)
        self.equations.forget()
        for name, value in vars(model).items():
            if isinstance(value, layers.Layer):
                module = counterpart(name, value)
            elif isinstance(value, list) and value and isinstance(value[0], layers.Layer):
                module = nn.ModuleList(counterpart(f"{name}_{i}", layer) for i, layer in enumerate(value, 1))
            else:
                continue
            setattr(self, name, module)
            setattr(self.equations, name, module)

    def forward(self, ids, x=None):
        s = self.equations.forward(TensorSlots(ids, x, self.offsets))         # (N,)
        return s.double() + self.centre if self.centre else s

    def inputs(self, X):
        """Return the tensors of a table's rows, to call the module with: ``module(*module.inputs(X))``.

        Parameters
        ----------
        X : DataFrame or dict of columns, with the fields that the model was fitted on.

        Returns: ids (N, S) int64, and the slots' weights x (N, S) in the parameters' dtype, or None where all are 1;
        both on the parameters' device. Raises: TypeError, ValueError for columns that do not fit, as ``predict`` does.
        """
        slots = self.encoder.encode(as_table(X))
        like = next(self.parameters())
        x = None if slots.x is None else torch.tensor(slots.x, dtype=like.dtype, device=like.device)
        return torch.tensor(slots.ids, dtype=torch.int64, device=like.device), x

    def _get_name(self):
        return type(self.equations).__name__                      # what ``print`` calls it
