"""The models of minictr in eager PyTorch: the same equations, written as a PyTorch user would write them.

They serve as a second oracle in the tests, and as what minictr's accuracy and speed are held against. ``like``
makes the module of a minictr model, weights included; torch's own starting values are never used.

Choices that were measured on two cores: index_add to sum slots within fields (EmbeddingBag, segment_reduce and a
one-hot product are slower), index_select for the pairs (E[:, i] has a slow backward pass), bmm to pool them,
and Adam with fused=True (2 to 10 times faster than the default, by the size of the tables).
"""

import itertools
import re

import numpy as np
import torch
from torch import nn

import minictr
from minictr.estimator.registry import library_models
from minictr.layers import matches, parameters, states

from .peers import of_class


class Embedding(nn.Module):
    """e_i: the vectors of a field's slots, times their weights x, added up.

    fields : (S,) tensor, the field of each slot.   sparse : whether the table's gradient is a sparse tensor.
    """

    def __init__(self, n, k, fields, sparse=False):
        super().__init__()
        self.table = nn.Embedding(n, k, sparse=sparse)
        self.register_buffer("fields", fields)
        self.n_fields = int(fields.max()) + 1

    def forward(self, ids, x=None):
        v = self.table(ids)                                       # (B, S, k)
        if x is not None:
            v = v * x.unsqueeze(2)
        if len(self.fields) == self.n_fields:
            return v
        return v.new_zeros(len(v), self.n_fields, v.shape[2]).index_add(1, self.fields, v)    # (B, M, k)


class Linear(nn.Module):
    """w_0 + sum_i w_i x_i, and the whole of the model LR."""

    def __init__(self, n, bias=True, sparse=False):
        super().__init__()
        self.table = nn.Embedding(n, 1, sparse=sparse)
        self.bias = nn.Parameter(torch.zeros(1)) if bias else None

    def forward(self, ids, x=None):
        wx = self.table(ids).squeeze(2)                           # (B, S)
        if x is not None:
            wx = wx * x
        out = wx.sum(dim=1)                                       # (B,)
        return out if self.bias is None else out + self.bias


def fm_pooling(E):
    """sum_{i<j} e_i * e_j, (B, k)."""
    return 0.5 * (E.sum(dim=1).square() - E.square().sum(dim=1))


class MLP(nn.Module):
    """Dense layers with ReLU, read out as one number."""

    def __init__(self, n_in, widths, dropout=0.0, use_bn=False):
        super().__init__()
        sizes = [n_in, *widths]
        self.dense = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(sizes))
        self.norm = nn.ModuleList(nn.BatchNorm1d(width) if use_bn else nn.Identity() for width in widths)
        self.dropout = nn.ModuleList(nn.Dropout(dropout) for _ in widths)
        self.out = nn.Linear(sizes[-1], 1)

    def forward(self, x):
        for dense, norm, dropout in zip(self.dense, self.norm, self.dropout, strict=True):
            x = dropout(torch.relu(norm(dense(x))))
        return self.out(x).squeeze(1)                             # (B,)


class LR(nn.Module):
    """Logistic or linear regression."""

    def __init__(self, n, sparse=False):
        super().__init__()
        self.linear = Linear(n, sparse=sparse)

    def forward(self, ids, x=None):
        return self.linear(ids, x)


class FM(nn.Module):
    """Factorization machine (Rendle 2010)."""

    def __init__(self, n, k, fields, dropout=0.0, sparse=False):
        super().__init__()
        self.linear = Linear(n, sparse=sparse)
        self.embedding = Embedding(n, k, fields, sparse)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids, x=None):
        pooled = self.dropout(fm_pooling(self.embedding(ids, x)))
        return self.linear(ids, x) + pooled.sum(dim=1)


class AttentionPooling(nn.Module):
    """AFM's attention network: softmax over the pairs, then the weighted sum of the pair vectors.

    batched : whether its first layer is a batched product, one for each row, rather than one product of all pairs.
    """

    def __init__(self, k, t, dropout=0.0, batched=False):
        super().__init__()
        self.hidden = nn.Linear(k, t)
        self.score = nn.Linear(t, 1, bias=False)
        self.softmax = nn.Softmax(dim=1)
        self.dropout = nn.Dropout(dropout)
        self.batched = batched

    def forward(self, pairs):
        if self.batched:
            W = self.hidden.weight.T.expand(len(pairs), -1, -1)                      # (B, k, t), not copied
            z = torch.baddbmm(self.hidden.bias, pairs, W)                            # (B, P, t)
        else:
            z = self.hidden(pairs)
        a = self.softmax(self.score(torch.relu(z)).squeeze(2))                       # (B, P)
        return torch.bmm(self.dropout(a).unsqueeze(1), pairs).squeeze(1)             # (B, k)


class AFM(nn.Module):
    """Attentional factorization machine (Xiao et al. 2017)."""

    def __init__(self, n, k, t, fields, dropout=0.0, attention_dropout=0.0, sparse=False, batched=False):
        super().__init__()
        self.linear = Linear(n, sparse=sparse)
        self.embedding = Embedding(n, k, fields, sparse)
        i, j = torch.triu_indices(self.embedding.n_fields, self.embedding.n_fields, offset=1)
        self.register_buffer("i", i.contiguous())
        self.register_buffer("j", j.contiguous())
        self.attention = AttentionPooling(k, t, attention_dropout, batched)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(k, 1, bias=False)

    def forward(self, ids, x=None):
        E = self.embedding(ids, x)
        pairs = E.index_select(1, self.i) * E.index_select(1, self.j)                # (B, P, k)
        pooled = self.dropout(self.attention(pairs))
        return self.linear(ids, x) + self.projection(pooled).squeeze(1)


class InteractingLayer(nn.Module):
    """AutoInt's multi-head self-attention over the fields; the arguments are those of minictr's layer.

    fused : whether scores, softmax and weighted sum are torch's one function for all three.
    """

    def __init__(self, n_in, H, d, scale=False, residual=True, layer_norm=False, qkv_activation=None, dropout=0.0,
                 fused=False):
        super().__init__()
        bias = qkv_activation == "relu"
        self.H, self.d = H, d
        self.scale = d ** -0.5 if scale else 1.0
        self.activation = nn.ReLU() if bias else nn.Identity()
        self.Q, self.K, self.V = (nn.Linear(n_in, H * d, bias) for _ in "QKV")
        self.Res = nn.Linear(n_in, H * d, bias) if residual else None
        self.softmax = nn.Softmax(dim=3)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(H * d) if layer_norm else nn.Identity()
        self.fused = fused

    def forward(self, E):
        B, M, _ = E.shape
        Q, K, V = (self.activation(project(E)).view(B, M, self.H, self.d).transpose(1, 2)
                   for project in (self.Q, self.K, self.V))       # (B, H, M, d)
        if self.fused:
            heads = nn.functional.scaled_dot_product_attention(
                Q, K, V, dropout_p=self.dropout.p if self.training else 0.0, scale=self.scale)
        else:
            scores = Q @ K.transpose(2, 3)                        # (B, H, M, M)
            if self.scale != 1:
                scores = scores * self.scale
            heads = self.dropout(self.softmax(scores)) @ V        # (B, H, M, d)
        out = heads.transpose(1, 2).reshape(B, M, self.H * self.d)
        if self.Res is not None:
            out = out + self.activation(self.Res(E))
        return self.norm(torch.relu(out))


class AutoInt(nn.Module):
    """AutoInt (Song et al. 2019), and AutoInt+ with deep_layers; further options go to each interacting layer."""

    def __init__(self, n, k, d, H, L, fields, embedding_dropout=0.0, first_order=False, deep_layers=None,
                 deep_dropout=0.0, use_bn=False, sparse=False, **options):
        super().__init__()
        self.embedding = Embedding(n, k, fields, sparse)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.interacting = nn.ModuleList(
            InteractingLayer(k if layer == 0 else H * d, H, d, **options) for layer in range(L))
        M = self.embedding.n_fields
        self.readout = nn.Linear(M * H * d, 1)
        self.linear = Linear(n, bias=False, sparse=sparse) if first_order else None
        self.mlp = MLP(M * k, deep_layers, deep_dropout, use_bn) if deep_layers else None

    def forward(self, ids, x=None):
        E = self.embedding_dropout(self.embedding(ids, x))
        e = E
        for layer in self.interacting:
            e = layer(e)
        logit = self.readout(e.flatten(1)).squeeze(1)
        if self.linear is not None:
            logit = logit + self.linear(ids, x)
        if self.mlp is not None:
            logit = logit + self.mlp(E.flatten(1))
        return logit


class DeepFM(nn.Module):
    """DeepFM (Guo et al. 2017)."""

    def __init__(self, n, k, deep_layers, fields, dropout=0.0, use_bn=False, sparse=False):
        super().__init__()
        self.linear = Linear(n, bias=False, sparse=sparse)
        self.embedding = Embedding(n, k, fields, sparse)
        self.mlp = MLP(self.embedding.n_fields * k, deep_layers, dropout, use_bn)

    def forward(self, ids, x=None):
        E = self.embedding(ids, x)
        return self.linear(ids, x) + fm_pooling(E).sum(dim=1) + self.mlp(E.flatten(1))


# ---- from minictr to torch -------------------------------------------------------------------------------

# torch's names, with list items already numbered from 1 -> minictr's
NAMES = (
    (r"^embedding\.table\.weight$", "embedding.V"),
    (r"^linear\.table\.weight$", "linear.w"),
    (r"^linear\.bias$", "linear.w0"),
    (r"^attention\.hidden\.weight$", "attention.W"),
    (r"^attention\.hidden\.bias$", "attention.b"),
    (r"^attention\.score\.weight$", "attention.h"),
    (r"^projection\.weight$", "projection.p"),
    (r"\.(Q|K|V|Res)\.weight$", r".W_\1"),
    (r"\.(Q|K|V|Res)\.bias$", r".b_\1"),
    (r"(norm\w*)\.weight$", r"\1.gamma"),
    (r"(norm\w*)\.bias$", r"\1.beta"),
    (r"(norm\w*)\.running_(mean|var)$", r"\1.\2"),
    (r"(dense\w*)\.weight$", r"\1.W"),
    (r"(dense\w*)\.bias$", r"\1.b"),
    (r"out\.weight$", "out.w"),
    (r"out\.bias$", "out.b"),
)


def minictr_name(name):
    """minictr's name of a torch parameter.

    >>> minictr_name("mlp.dense.0.weight"), minictr_name("interacting.2.Q.weight")
    ('mlp.dense_1.W', 'interacting_3.W_Q')
    """
    name = re.sub(r"\.(\d+)\.", lambda found: f"_{int(found[1]) + 1}.", name)
    for pattern, replacement in NAMES:
        name, found = re.subn(pattern, replacement, name)
        if found:
            break
    return name


def as_minictr(name, tensor):
    """A torch parameter, buffer or gradient in minictr's shape: weights of nn.Linear are stored transposed."""
    last = name.rsplit(".", 1)[1]
    if last.startswith("W"):
        return tensor.T
    return tensor if last == "V" else tensor.reshape(-1)


def weights(module):
    """Everything that is saved with a model, {minictr's name: tensor of minictr's shape}; views, not copies."""
    return {(name := minictr_name(torch_name)): as_minictr(name, tensor)
            for torch_name, tensor in module.state_dict().items()
            if tensor.is_floating_point()}


def gradients(module):
    """The gradient of every parameter, {minictr's name: dense tensor of minictr's shape}."""
    return {(name := minictr_name(torch_name)): as_minictr(name, parameter.grad.to_dense())
            for torch_name, parameter in module.named_parameters()}


def load_weights(module, model):
    """Copy the weights of a built minictr model into the module.

    Raises: ValueError if one of them has an array that the other has not, or in another shape.
    """
    mine, theirs = weights(module), {**parameters(model), **states(model)}
    shapes = [{name: tuple(array.shape) for name, array in arrays.items()} for arrays in (mine, theirs)]
    if shapes[0] != shapes[1]:
        differing = sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
        raise ValueError(f"the torch module and the minictr model differ in {', '.join(differing)}")
    for name, tensor in mine.items():
        tensor.copy_(torch.from_numpy(theirs[name]))


MODULES = {     # {class of models: the module of one with n ids}
    minictr.LR: lambda model, n, fields, sparse, other_form: LR(n, sparse),
    minictr.FM: lambda model, n, fields, sparse, other_form: FM(
        n, model.embedding_dim, fields, model.dropout, sparse),
    minictr.AFM: lambda model, n, fields, sparse, other_form: AFM(
        n, model.embedding_dim, model.attention_dim, fields, model.dropout, model.attention_dropout, sparse,
        other_form),
    minictr.AutoInt: lambda model, n, fields, sparse, other_form: AutoInt(
        n, model.embedding_dim, model.attention_dim, model.num_heads, model.num_layers, fields,
        model.embedding_dropout, model.first_order, model.deep_layers, model.deep_dropout, model.use_bn, sparse,
        scale=model.scale, residual=model.residual, layer_norm=model.layer_norm,
        qkv_activation=model.qkv_activation, dropout=model.dropout, fused=other_form),
    minictr.DeepFM: lambda model, n, fields, sparse, other_form: DeepFM(
        n, model.embedding_dim, model.deep_layers, fields, model.dropout, model.use_bn, sparse),
}


def like(model, slots, sparse=False, other_form=False):
    """The module of a built minictr model: its settings, its dtype and a copy of its weights.

    Parameters
    ----------
    model : a minictr model after ``prepare`` or ``fit``.
    slots : Slots encoded for it; the module takes inputs of this many slots.
    sparse : whether the gradients of the tables are sparse tensors, for SparseAdam.
    other_form : AFM with ``batched``, AutoInt with ``fused``: the same equations, another way to write them.

    minictr's other models are what ``to_torch`` makes of them: their own forward, on torch counterparts of layers.

    Raises: Unavailable for a class of models that is neither in MODULES nor minictr's own.
    """
    if type(model) not in MODULES and type(model) in library_models().values():
        module = minictr.to_torch(model)
        for layer in module.modules():
            if isinstance(layer, nn.Embedding):
                layer.sparse = sparse
        return module.train()
    n = model.encoder_.n_ids
    fields = torch.repeat_interleave(torch.from_numpy(np.diff(slots.starts, append=slots.n_slots)))
    module = of_class(MODULES, model, "torch module")(model, n, fields, sparse, other_form)
    module = module.to(getattr(torch, model.dtype))
    load_weights(module, model)
    return module


def tensors(slots, dtype=torch.float32):
    """The inputs of a module: ids (N, S), and the weights x (N, S) or None."""
    x = None if slots.x is None else torch.from_numpy(slots.x).to(dtype)
    return torch.from_numpy(slots.ids).long(), x


def optimizers(module, model):
    """torch's optimizers with the settings of a built minictr model: a list, one step of all is one step.

    Tables with sparse gradients get SparseAdam, which takes nothing else. Frozen parameters are left out.
    """
    settings = model.optimizer_
    dense, sparse = [], []
    tables = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding) and layer.sparse}
    for torch_name, parameter in module.named_parameters():
        name = minictr_name(torch_name)
        if matches(name, model.freeze):
            parameter.requires_grad_(False)
            continue
        group = {"params": [parameter], "lr": settings.learning_rate * settings.multiplier(name)}
        (sparse if id(parameter) in tables and model.optimizer == "adam" else dense).append(group)
    if model.optimizer == "sgd":
        return [torch.optim.SGD(dense)]
    if model.optimizer == "adagrad":
        return [torch.optim.Adagrad(dense, initial_accumulator_value=settings.initial, eps=settings.eps)]
    betas = settings.beta1, settings.beta2
    found = [torch.optim.Adam(dense, betas=betas, eps=settings.eps, fused=True)] if dense else []
    return found + ([torch.optim.SparseAdam(sparse, betas=betas, eps=settings.eps)] if sparse else [])
