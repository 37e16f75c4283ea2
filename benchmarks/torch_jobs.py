"""The jobs of ``benchmarks.speed`` in PyTorch, eager and compiled, as its users would write them.

As in ``minictr_jobs``, but with figures for each way to do the job: dense gradients with Adam, or sparse ones of the
tables with SparseAdam; AFM's attention as one linear layer or as a batched product, AutoInt's in parts or fused.
The best one is what minictr is compared with. What users would do differently by machine, the number of rows scored
at once, is chosen by trying.
"""

import itertools

import numpy as np
import pandas as pd
import torch

from minictr import AFM, AutoInt
from minictr.training.threads import n_cores

from . import torch_models
from .encoded_jobs import SAMPLE_ROWS, batch_rows, encoded_rows
from .minictr_jobs import EPOCHS, model_of, rated_model, table_rows
from .shapes import SHAPES, built, drawn_slots, drawn_strings, drawn_table
from .timing import once, timed

SCORED_AT_ONCE = 1024, 4096, 16_384
loss_of = torch.nn.functional.binary_cross_entropy_with_logits


def set_up():
    """What a careful user sets: all cores, no denormals; and no check (or warning) of sparse tensors."""
    torch.set_num_threads(n_cores())
    torch.set_flush_denormal(True)
    torch.sparse.check_sparse_tensor_invariants.disable()


OTHER_FORMS = {AFM: "batched", AutoInt: "fused"}                  # what ``torch_models.like`` calls other_form


def forms(model):
    """The ways to write the model: {part of a variant's name: other_form}."""
    return {"": False} | ({f", {OTHER_FORMS[type(model)]}": True} if type(model) in OTHER_FORMS else {})


def variants(model):
    """All (name, sparse, other_form) for training."""
    return [(gradient + form, gradient == "sparse", other_form)
            for gradient, (form, other_form) in itertools.product(("dense", "sparse"), forms(model).items())]


def trainer(module, model, compiled):
    """A function that makes one training step: step(ids, x, y)."""
    optimizers = torch_models.optimizers(module, model)
    output = torch.compile(module, dynamic=False) if compiled else module

    def step(ids, x, y):
        loss = loss_of(output(ids, x), y)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return step


def step(name, shape, settings, compiled=False):
    """As in ``minictr_jobs``; from the same weights, on the same batches."""
    B = SHAPES[shape].batch
    model = built(model_of(name, shape, settings), SHAPES[shape])
    slots, y = batch_rows(shape)
    (ids, x), y = torch_models.tensors(slots), torch.from_numpy(y)
    parts = [(ids[rows], None if x is None else x[rows], y[rows])
             for rows in (slice(start, start + B) for start in range(0, len(y), B))]
    found = {}
    for variant, sparse, other_form in variants(model):
        if compiled and other_form:
            continue
        module = torch_models.like(model, slots, sparse, other_form)
        train = trainer(module, model, compiled)
        for part in parts[:2]:
            train(*part)
        seconds, steps = timed(lambda i, train=train: train(*parts[i % len(parts)]),
                               settings["seconds"], settings["steps"])
        with torch.no_grad():
            loss = loss_of(module(*parts[0][:2]), parts[0][2]).item()
        found[variant] = {"value": 1000 * seconds, "steps": steps, "loss": loss}
    return found


def scores(module, ids, x, at_once):
    """The outputs for all rows, so many at once: (N,)."""
    return torch.cat([module(ids[start:start + at_once], None if x is None else x[start:start + at_once])
                      for start in range(0, len(ids), at_once)])


def fastest_at_once(module, ids, x):
    """How many rows to score at once; also warms up, and compiles what is to be compiled."""
    tried = {}
    for at_once in SCORED_AT_ONCE:
        scores(module, ids[:at_once], None if x is None else x[:at_once], at_once)
        tried[at_once] = once(lambda at_once=at_once: scores(module, ids, x, at_once))
    return min(tried, key=tried.get)


@torch.inference_mode()
def score_encoded(name, shape, settings, compiled=False):
    """As in ``minictr_jobs``."""
    model = built(model_of(name, shape, settings), SHAPES[shape])
    slots, _ = drawn_slots(SHAPES[shape], encoded_rows(model, shape))
    ids, x = torch_models.tensors(slots)
    found = {}
    for form, other_form in forms(model).items():
        if compiled and other_form:
            continue
        module = torch_models.like(model, slots, other_form=other_form).eval()
        if compiled:
            module = torch.compile(module, dynamic=False)        # compiled for each number of rows
        at_once = fastest_at_once(module, ids, x)
        seconds, _ = timed(lambda i, module=module, at_once=at_once: scores(module, ids, x, at_once),
                           settings["seconds"])
        found[f"forward{form}"] = {"value": seconds * 1e6 / len(slots)}
    return found


def fit(name, shape, settings):
    """As in ``minictr_jobs``, but the rows are given as tensors: nothing has to be encoded. Shuffled as there."""
    X, y = drawn_table(SHAPES[shape], table_rows(name, shape, settings, 6 * EPOCHS))
    model = model_of(name, shape, settings).prepare(X, y)
    slots, y = model.encoder_.encode(X), torch.from_numpy(y)
    ids, x = torch_models.tensors(slots)
    found = {}
    for variant, sparse, other_form in variants(model):
        module = torch_models.like(model, slots, sparse, other_form).train()
        train = trainer(module, model, compiled=False)

        def epoch(train=train):
            for rows in torch.randperm(len(y)).split(SHAPES[shape].batch):
                train(ids[rows], None if x is None else x[rows], y[rows])

        seconds = [once(epoch) for _ in range(EPOCHS)]
        found[variant] = {"value": seconds[-1] * 1e6 / len(y), "rows": len(y)}
    return found


def model_and_slots(name, shape, settings):
    """minictr's model, ready to score, and the encoded rows of the table to score."""
    X, y = drawn_table(SHAPES[shape], table_rows(name, shape, settings, 2))
    model = model_of(name, shape, settings).prepare(X[:100_000], y[:100_000])
    return model, model.encoder_.encode(X)


@torch.inference_mode()
def predict_proba(name, shape, settings):
    """As in ``minictr_jobs``, but from ids: only making tensors of them is timed, no encoding."""
    model, slots = model_and_slots(name, shape, settings)
    found = {}
    for form, other_form in forms(model).items():
        module = torch_models.like(model, slots, other_form=other_form).eval()
        at_once = fastest_at_once(module, *torch_models.tensors(slots[:SAMPLE_ROWS]))

        def probabilities(module=module, at_once=at_once):
            return torch.sigmoid(scores(module, *torch_models.tensors(slots), at_once)).numpy()

        found[f"forward{form}"] = {"value": once(probabilities) * 1e6 / len(slots), "rows": len(slots)}
    return found


@torch.inference_mode()
def predict(name, shape, settings):
    """As in ``minictr_jobs``: look the user and the item up, join their ids, one forward pass."""
    model, (users, items), module = rated_module(name)

    def one(i):
        return module(torch.cat([users[model.rating_data_.users.row_of[i]],
                                 items[model.rating_data_.items.row_of[i]]])[None]).item()
    return {"forward": {"value": 1000 * timed(one, settings["seconds"])[0]}}


@torch.inference_mode()
def recommend(name, shape, settings):
    """As in ``minictr_jobs``: scores of all items in one forward pass, those seen out, the best 10."""
    model, (users, items), module = rated_module(name)
    data = model.rating_data_
    items = items[:-1]                                            # without the unknown

    def best(u):
        scores = module(torch.cat([users[u].expand(len(items), -1), items], dim=1))
        scores[torch.from_numpy(np.asarray(data.seen(u), np.int64))] = -torch.inf
        return data.items.ids[scores.topk(10).indices.numpy()].tolist()
    return {"forward": {"value": 1000 * timed(best, settings["seconds"])[0]}}


def rated_module(name):
    """(minictr's model, ids of users and of items, the module) after a fit on ratings."""
    model = rated_model(name)
    data = model.rating_data_
    module = torch_models.like(model, data.slots(np.arange(2), np.arange(2))).eval()
    return model, [torch.from_numpy(side.slots.ids).long() for side in (data.users, data.items)], module


@torch.inference_mode()
def attention(name, shape, settings):
    """As in ``minictr_jobs``, but the mean alone, without percentiles, and from ids."""
    model, slots = model_and_slots(name, shape, settings)
    module = torch_models.like(model, slots).eval()
    totals = {}

    def add(layer, inputs, a):
        totals[layer] = totals.get(layer, 0) + a.sum(dim=0)

    for layer in module.modules():
        if isinstance(layer, torch.nn.Softmax):
            layer.register_forward_hook(add)

    at_once = fastest_at_once(module, *torch_models.tensors(slots[:SAMPLE_ROWS]))

    def means():
        totals.clear()
        scores(module, *torch_models.tensors(slots), at_once)
        return [total / len(slots) for total in totals.values()]

    return {"forward": {"value": once(means) * 1e6 / len(slots), "rows": len(slots)}}


def encode(name, shape, settings):
    """As in ``minictr_jobs``, by pandas: PyTorch has nothing for it."""
    X = drawn_strings(settings["encode_rows"], 10)
    return {"pandas.factorize": {"value": once(lambda: [pd.factorize(X[column]) for column in X])}}


JOBS = {"step": step, "score-encoded": score_encoded, "fit": fit, "predict_proba": predict_proba,
        "predict": predict, "recommend": recommend, "attention": attention, "encode": encode}
COMPILED_JOBS = {"step": lambda *case: step(*case, compiled=True),
                 "score-encoded": lambda *case: score_encoded(*case, compiled=True)}
