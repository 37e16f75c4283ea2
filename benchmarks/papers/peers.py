"""Other people's models in ``frappe-auc``. Early stopping is done here, on the same rows and by the same rule as ours.

DeepCTR-Torch's are trained by its own ``fit``, an epoch at a time. Its L2 penalties are added to a *sum* of losses.

RecBole 1.2.1's are its classes with their own ``calculate_loss``, in a loop of ours: its configuration and trainer ask
for a NumPy before 2, for ray and for more. ``weight_decay`` is Adam's, as its trainer has it. Its FNN starts from
random numbers, not from an FM.
"""

import contextlib
import copy
import importlib
import io
from functools import partial

import numpy as np

from minictr.datasets import frappe

from .spec import System
from .training import Outcome, stopped_by_auc

DROPOUT = {"dnn_dropout": (0.0, 0.2, 0.5)}
PENALTY = {"l2_reg_embedding": (0.0, 1e-6, 1e-5), "l2_reg_linear": (0.0, 1e-5)}
LAYERS = {"dnn_hidden_units": (400, 400, 400)}
SMALLEST = 1e-7                 # probabilities closer to 0 or 1 are taken as this close: they come in float32


def peers_of_frappe():
    """The systems of both packages, as lines of the table ``frappe-auc``."""
    return [*deepctr_torch_systems(), *recbole_systems()]


def deepctr_torch_systems():
    """DeepCTR-Torch's."""
    deep = {
        "Wide&Deep": ("WDL", {}), "DeepFM": ("DeepFM", {}), "NFM": ("NFM", {"dnn_hidden_units": (400, 400, 400)}),
        "IPNN": ("PNN", {"use_inner": True, "use_outter": False}), "DCN": ("DCN", {"cross_num": 3}),
        "xDeepFM": ("xDeepFM", {"cin_layer_size": (16, 16)})}
    theirs = partial(System, train=deepctr_torch, source="DeepCTR-Torch")
    result = []
    for name, (family, fixed) in deep.items():
        space = {**DROPOUT, **PENALTY} if family != "PNN" else {**DROPOUT, "l2_reg_embedding": (0.0, 1e-6, 1e-5)}
        result.append(theirs(name=f"{name} (DeepCTR-Torch)", family=family, fixed={**LAYERS, **fixed}, space=space))
    result.append(theirs(name="AFM (DeepCTR-Torch)", family="AFM", fixed={"attention_factor": 10},
                         space={**PENALTY, "l2_reg_att": (0.0, 1e-5)}))
    result.append(theirs(name="FM (DeepCTR-Torch)", family="AFM", fixed={"use_attention": False},
                         space={**PENALTY, "afm_dropout": (0.0, 0.2)}, note="its AFM without attention"))
    result.append(theirs(name="AutoInt (DeepCTR-Torch)", family="AutoInt",
                         fixed={"att_layer_num": 3, "att_head_num": 2, "dnn_hidden_units": ()},
                         space={"l2_reg_embedding": (0.0, 1e-6, 1e-5, 1e-4), "att_res": (True, False)},
                         note="heads of k / 2 numbers, and first-order terms"))
    return result


def recbole_systems():
    """RecBole's."""
    theirs = partial(System, train=recbole, source="RecBole")
    decay, strong_decay = {"weight_decay": (0.0, 1e-6, 1e-5)}, {"weight_decay": (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)}
    dropout, layers = {"dropout_prob": (0.0, 0.2, 0.5)}, {"mlp_hidden_size": [400, 400, 400]}
    shallow = [theirs(name=f"{name} (RecBole)", family=name, space=strong_decay) for name in ("LR", "FM", "FFM")]
    fixed = {"FwFM": {}, "AFM": {"attention_size": 10, "reg_weight": 0.0}, "NFM": layers, "FNN": layers,
             "PNN": {**layers, "use_inner": True, "use_outer": False, "reg_weight": 0.0}, "WideDeep": layers,
             "DeepFM": layers, "DCN": {**layers, "cross_layer_num": 3, "reg_weight": 0.0},
             "xDeepFM": {**layers, "cin_layer_size": [16, 16], "direct": False, "reg_weight": 0.0}}
    names = {"PNN": "IPNN", "WideDeep": "Wide&Deep"}
    notes = {"NFM": "batch norm, sigmoid units", "DCN": "batch norm"}
    deep = [theirs(name=f"{names.get(family, family)} (RecBole)", family=family, fixed=settings,
                   space={**dropout, **decay}, note=notes.get(family, "")) for family, settings in fixed.items()]
    heads = {"attention_size": 64, "n_layers": 3, "num_heads": 2, **layers, "has_residual": True}
    autoint = theirs(name="AutoInt+ (RecBole)", family="AutoInt", fixed=heads, note="always with an MLP",
                     space={"dropout_probs": ([0.0, 0.0, 0.0], [0.2, 0.2, 0.2], [0.4, 0.1, 0.2]), **decay})
    return [*shallow, *deep, autoint]


def deepctr_torch(system, settings, train, validation):
    """Train one of DeepCTR-Torch's models; see ``spec.System``."""
    torch = _torch(settings)
    models, fields_of = _deepctr_package()
    own = {name: value for name, value in settings.items() if name in system.fixed or name in system.space}
    fields = fields_of(10)
    inputs = (fields, fields) if system.family != "PNN" else (fields,)
    with _silence():
        module = getattr(models, system.family)(*inputs, seed=settings["seed"], **own)
        module.compile(torch.optim.Adam(module.parameters(), lr=settings["learning_rate"]), "binary_crossentropy")
    columns, y = _columns(train[0]), train[1]

    def one_epoch(rows):
        with _silence():
            module.fit({name: column[rows] for name, column in columns.items()}, y[rows], epochs=1, verbose=0,
                       batch_size=settings["batch_size"], shuffle=False)

    def predict(X):
        with _silence():
            return logits(module.predict(_columns(X), 4096)[:, 0])
    return trained(module, one_epoch, predict, settings, len(y), validation)


def recbole(system, settings, train, validation):
    """Train one of RecBole's models; see ``spec.System``."""
    torch = _torch(settings)
    own = {name: value for name, value in settings.items() if name in system.fixed or name in system.space}
    decay = own.pop("weight_decay")
    torch.manual_seed(settings["seed"])
    module = _recbole_module(system.family, own)
    adam = torch.optim.Adam(module.parameters(), lr=settings["learning_rate"], weight_decay=decay)

    def tensors(X):
        return {name: torch.from_numpy(X[name].to_numpy() + 1) for name in X}     # 0 is for padding there
    columns, y = tensors(train[0]), torch.tensor(train[1], dtype=torch.float32)

    def one_epoch(rows):
        module.train()
        for start in range(0, len(rows), settings["batch_size"]):
            batch = torch.from_numpy(rows[start:start + settings["batch_size"]])
            adam.zero_grad()
            loss = module.calculate_loss({"label": y[batch], **{name: ids[batch] for name, ids in columns.items()}})
            loss.backward()
            adam.step()

    @torch.no_grad()
    def predict(X):
        module.eval()
        ids = tensors(X)
        p = [module.predict({name: column[start:start + 4096] for name, column in ids.items()})
             for start in range(0, len(X), 4096)]
        return logits(torch.cat(p).numpy())
    return trained(module, one_epoch, predict, settings, len(y), validation)


def trained(module, one_epoch, predict, settings, n_rows, validation):
    """Train a module, ``one_epoch(rows)`` at a time, with the rows in a new order each; its ``Outcome``."""
    order = np.random.default_rng(settings["seed"])
    epochs, best_epoch = stopped_by_auc(
        lambda epoch: one_epoch(order.permutation(n_rows)), predict, lambda: copy.deepcopy(module.state_dict()),
        module.load_state_dict, settings, validation)
    return Outcome(predict=predict, epochs=epochs, best_epoch=best_epoch,
                   parameters=sum(parameter.numel() for parameter in module.parameters()))


def logits(p):
    """Probabilities (N,) as logits (N,)."""
    p = np.clip(p.astype(np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(p) - np.log1p(-p)


def _torch(settings):
    import torch

    torch.set_num_threads(settings["n_threads"])
    torch.set_flush_denormal(True)
    return torch


def _columns(X):
    return {name: X[name].to_numpy() for name in X}


def _sizes():
    """How many values each of Frappe's fields has."""
    ends = [*list(frappe.FIRST_ID.values())[1:], frappe.N_IDS]
    return {name: end - first for (name, first), end in zip(frappe.FIRST_ID.items(), ends, strict=True)}


def _recbole_module(family, own):
    """A model of RecBole's, with Frappe's fields described in the least that it asks for."""
    from recbole.model import context_aware_recommender
    from recbole.utils import FeatureType

    class Description:
        """What the models ask of a data set."""

        field2type = dict.fromkeys(_sizes(), FeatureType.TOKEN)

        def fields(self, source):
            return list(_sizes())

        def num(self, name):
            return _sizes()[name] + 1
    config = {"LABEL_FIELD": "label", "device": "cpu", "double_tower": None, "numerical_features": [],
              "embedding_size": 10, "fields": None, **own}
    return getattr(importlib.import_module(f"{context_aware_recommender.__name__}.{family.lower()}"), family)(
        config, Description())


def _deepctr_package():
    """DeepCTR-Torch's models, and a function of k that gives Frappe's fields as it describes them."""
    import requests

    def refuse(*arguments, **options):
        raise OSError("the benchmark makes no requests")

    requests.get = refuse                                     # it looks for a newer version of itself
    with _silence():
        from deepctr_torch import models
        from deepctr_torch.inputs import SparseFeat
    return models, lambda k: [SparseFeat(name, size, embedding_dim=k) for name, size in _sizes().items()]


def _silence():
    return contextlib.redirect_stdout(io.StringIO())          # it prints even where verbose is 0
