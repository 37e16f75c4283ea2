"""The models: gradients, the papers' equations and parameter counts, starts, options, wrong settings."""

import dataclasses
import inspect
import re
import warnings
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from models import (
    DROPPING,
    KINDS,
    MODELS,
    blocks,
    build_layers,
    dropouts,
    has_norm,
    layers_of,
    sized,
    small,
    takes,
)

from minictr import (
    AFM,
    FM,
    LR,
    AutoInt,
    DeepFM,
    Model,
    MultiValued,
    NotFittedError,
    Numerical,
    check_gradients,
    datasets,
)
from minictr.checks import COUNT, SHARE_DROPPED
from minictr.layers import BatchNorm, Dropout, named_layers, parameters, sigmoid
from minictr.slots import Slots


# Small, but with every part of a model in use.
def maker(name):
    """What makes the variant, for fields, for the columns of a table, or for slots alone."""
    def make(fields=None, columns=None, **settings):
        own = small(name)
        sizes = {size: value for size, value in (("embedding_dim", 3), ("attention_dim", 2)) if hasattr(own, size)}
        return small(name, columns if fields is None else fields, **{**sizes, "fields": fields, **settings})

    return make


CASES = {name: maker(name) for name in [*KINDS, "AutoInt-official"]}
every_model = pytest.mark.parametrize("make", CASES.values(), ids=CASES)
# With batch norm or layer norm the tiny vectors of the start are blown up to size 1, so that the random read-out
# shows from the first row on.
NORMALISED = {name for name in CASES if has_norm(name)}


def mixed_slots(B=6, seed=0):
    """Two categorical fields, a numerical and a multi-valued one of up to 3 values, ids 0..13 in all."""
    rng = np.random.default_rng(seed)
    ids, x = np.zeros((B, 6), int), np.ones((B, 6))
    ids[:, 0] = rng.integers(0, 4, B)
    ids[:, 1] = rng.integers(4, 8, B)
    ids[:, 2] = 8
    x[:, 2] = rng.normal(0, 1, B)
    for b in range(B):
        q = rng.integers(1, 4)
        ids[b, 3:] = 9
        ids[b, 3:3 + q] = rng.choice(np.arange(10, 14), q, replace=False)
        x[b, 3:] = (np.arange(3) < q) / q
    return Slots(ids, x, starts=[0, 1, 2, 3])


def built(model, slots, n=14, seed=0):
    """The model with layers for these slots, every parameter random and well away from a ReLU's kink."""
    build_layers(model, n, slots.n_fields, np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.7, array.shape)
    return model


def set_training(model, on=True):
    for _, layer in named_layers(model):
        layer.training = on


def mixed_table(n_rows=400, seed=0):
    """A table with one field of each kind, and clicks that depend on two of them together."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "user": rng.choice(["ann", "bob", "cem", "dan"], n_rows),
        "hour": rng.integers(0, 3, n_rows),
        "price": rng.normal(10, 2, n_rows),
        "genres": rng.choice(["a", "b", "a|b", "c|a", "a|b|c"], n_rows),
    })
    logit = -0.6 + 1.5 * ((X["user"] == "ann") == (X["hour"] == 1)) + 0.3 * (X["price"] - 10)
    return X, (rng.random(n_rows) < sigmoid(logit.to_numpy())).astype(int)


FIELDS = ["user", "hour", Numerical("price", transform="standard"), MultiValued("genres")]


# ------------------------------------------------------------------------------------------------ gradients

@every_model
@pytest.mark.parametrize("training", [False, True], ids=["predicting", "training"])
def test_backward_is_the_derivative_of_forward(make, training):
    slots = mixed_slots()
    model = built(make(dtype="float64"), slots)
    set_training(model, training)
    report = check_gradients(model, slots)
    assert report.passed, report
    assert {line["name"] for line in report.arrays} == set(parameters(model))


@pytest.mark.parametrize("name", DROPPING)
def test_backward_is_the_derivative_of_forward_with_dropout(name):
    slots = mixed_slots()
    model = built(CASES[name](dtype="float64", **dropouts(name, 0.4)), slots)
    set_training(model)
    forward = model.forward

    def forward_with_the_same_masks(x):
        for seed, (_, layer) in enumerate(named_layers(model)):
            if isinstance(layer, Dropout):
                layer.rng = np.random.default_rng(seed)
        return forward(x)

    model.forward = forward_with_the_same_masks
    masks = [layer.cache["mask"] for _, layer in named_layers(model) if isinstance(layer, Dropout)
             for _ in [model.forward(slots)]]
    assert any((mask == 0).any() for mask in masks), "nothing was dropped: the test would prove nothing"
    report = check_gradients(model, slots)
    assert report.passed, report


@every_model
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_step_of_plain_descent_follows_the_numeric_gradient_of_the_loss(make, task):
    """Everything together: encoding, model, loss, weights of the batch, update."""
    X, y = mixed_table(12, seed=1)
    y = y if task == "binary" else X["price"].to_numpy() * 0.3
    model = make(fields=FIELDS, task=task, dtype="float64", optimizer="sgd", learning_rate=1e-3).prepare(X, y)
    rng = np.random.default_rng(3)
    for array in parameters(model).values():
        array[...] = rng.normal(0, 0.6, array.shape)
    slots = model.encoder_.encode(X)

    def loss():
        set_training(model)
        s = model.forward(slots)
        set_training(model, False)
        return float(np.mean(np.logaddexp(0, s) - y * s if task == "binary" else (s - y) ** 2))

    before = {name: array.copy() for name, array in parameters(model).items()}
    numeric = {}
    for name, array in parameters(model).items():
        numeric[name] = np.empty_like(array)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + 1e-6
            above = loss()
            array[index] = value - 1e-6
            numeric[name][index] = (above - loss()) / 2e-6
            array[index] = value
    assert model.train_step(X, y) == pytest.approx(loss_of(before, model, slots, y, task), rel=1e-12)
    for name, array in parameters(model).items():
        np.testing.assert_allclose(before[name] - array, 1e-3 * numeric[name], rtol=1e-5, atol=1e-11, err_msg=name)


def loss_of(weights, model, slots, y, task):
    """The training loss of the model with these weights, computed from its logits."""
    now = {name: array.copy() for name, array in parameters(model).items()}
    for name, array in parameters(model).items():
        array[...] = weights[name]
    set_training(model)
    s = model.forward(slots)
    set_training(model, False)
    for name, array in parameters(model).items():
        array[...] = now[name]
    return float(np.mean(np.logaddexp(0, s) - y * s if task == "binary" else (s - y) ** 2))


# ------------------------------------------------------------------------- the papers' equations, as loops

def vectors(V, slots, b):
    """e_1, ..., e_M of row b: for each field the sum of its slots' rows times x."""
    bounds = [*slots.starts, slots.n_slots]
    return [sum(V[slots.ids[b, s]] * (1 if slots.x is None else float(slots.x[b, s]))
                for s in range(start, stop)) for start, stop in pairwise(bounds)]


def first_order(w, slots, b):
    return sum(w[slots.ids[b, s]] * float(slots.x[b, s]) for s in range(slots.n_slots))


def mlp_by_loops(p, x, n_layers):
    for layer in range(1, n_layers + 1):
        W, b = p[f"mlp.dense_{layer}.W"], p[f"mlp.dense_{layer}.b"]
        x = [max(0.0, sum(x[i] * W[i, j] for i in range(len(x))) + b[j]) for j in range(W.shape[1])]
    return sum(x[i] * p["mlp.out.w"][i] for i in range(len(x))) + p["mlp.out.b"][0]


def lr_by_loops(p, slots, b):
    return p["linear.w0"][0] + first_order(p["linear.w"], slots, b)


def fm_by_loops(p, slots, b):
    e = vectors(p["embedding.V"], slots, b)
    pairs = sum(e[i][f] * e[j][f] for i, j in combinations(range(len(e)), 2) for f in range(len(e[0])))
    return p["linear.w0"][0] + first_order(p["linear.w"], slots, b) + pairs


def afm_by_loops(p, slots, b):
    e = vectors(p["embedding.V"], slots, b)
    W, bias, h = p["attention.W"], p["attention.b"], p["attention.h"]
    products = [e[i] * e[j] for i, j in combinations(range(len(e)), 2)]
    scores = [sum(h[t] * max(0.0, sum(W[f, t] * s[f] for f in range(len(s))) + bias[t]) for t in range(len(h)))
              for s in products]
    total = sum(np.exp(score) for score in scores)
    pooled = sum(np.exp(score) / total * s for score, s in zip(scores, products, strict=True))
    return p["linear.w0"][0] + first_order(p["linear.w"], slots, b) + sum(pooled * p["projection.p"])


def autoint_by_loops(p, slots, b, H=2, d=2, layers=2):
    e = vectors(p["embedding.V"], slots, b)
    for layer in range(1, layers + 1):
        W = {name: p[f"interacting_{layer}.W_{name}"] for name in ("Q", "K", "V", "Res")}
        out = []
        for m in range(len(e)):
            heads = []
            for head in range(H):
                own = slice(head * d, (head + 1) * d)
                score = [float((e[m] @ W["Q"][:, own]) @ (e[k] @ W["K"][:, own])) for k in range(len(e))]
                a = [np.exp(s) / sum(np.exp(t) for t in score) for s in score]
                heads.append(sum(a[k] * (e[k] @ W["V"][:, own]) for k in range(len(e))))
            out.append(np.maximum(0, np.concatenate(heads) + e[m] @ W["Res"]))
        e = out
    return float(np.concatenate(e) @ p["readout.w"]) + p["readout.b"][0]


def autoint_plus_by_loops(p, slots, b):
    a0 = np.concatenate(vectors(p["embedding.V"], slots, b))
    return autoint_by_loops(p, slots, b, layers=1) + mlp_by_loops(p, a0, 2)


def deepfm_by_loops(p, slots, b):
    e = vectors(p["embedding.V"], slots, b)
    pairs = sum(float(e[i] @ e[j]) for i, j in combinations(range(len(e)), 2))
    return first_order(p["linear.w"], slots, b) + pairs + mlp_by_loops(p, np.concatenate(e), 2)


@pytest.mark.parametrize("name, by_loops", [
    ("LR", lr_by_loops), ("FM", fm_by_loops), ("AFM", afm_by_loops), ("AutoInt", autoint_by_loops),
    ("AutoInt+", autoint_plus_by_loops), ("DeepFM", deepfm_by_loops)])
def test_forward_is_the_papers_equation(name, by_loops):
    slots = mixed_slots()
    model = built(CASES[name](dtype="float64"), slots)
    expected = [by_loops(parameters(model), slots, b) for b in range(len(slots))]
    np.testing.assert_allclose(model.forward(slots), expected, rtol=1e-11, atol=1e-12)


@every_model
def test_a_row_does_not_depend_on_its_batch_while_predicting(make):
    slots = mixed_slots(8)
    model = built(make(dtype="float64"), slots)
    together = model.forward(slots)
    alone = np.concatenate([model.forward(slots[b:b + 1]) for b in range(len(slots))])
    np.testing.assert_allclose(alone, together, rtol=1e-12, atol=1e-13)


# -------------------------------------------------------------------------------------- parameter counts

def n_parameters(model, n, M):
    model.build(n, M, np.random.default_rng(0))
    return sum(array.size for array in parameters(model).values())


def n_parameters_of_a_large_table(model, n, M):
    """Only the tables grow with n, by the same number for each value: so two small tables tell the size of any."""
    ten, eleven = n_parameters(model, 10, M), n_parameters(model, 11, M)
    return ten + (n - 10) * (eleven - ten)


def test_parameter_counts_of_the_afm_paper():
    """Xiao et al. 2017, table 2: FM 1.38 million and AFM 1.45 million on Frappe; AFM 23.26 million on MovieLens."""
    assert n_parameters(FM(embedding_dim=256), 5_382, 10) == 1_383_175
    assert n_parameters(AFM(embedding_dim=256, attention_dim=256), 5_382, 10) == 1_449_479
    assert n_parameters_of_a_large_table(AFM(embedding_dim=256, attention_dim=64), 90_445, 3) == 23_261_134


def test_parameter_count_of_the_autoint_paper():
    """Song et al. 2019, table 3: 3.9e4 without the embeddings, for 39 fields; so d' = 32 is per head."""
    model = AutoInt(embedding_dim=16, attention_dim=32, num_heads=2, num_layers=3)
    assert n_parameters(model, 100, 39) - 100 * 16 == 39_361


@pytest.mark.parametrize("n, M, k, layers", [(50, 4, 3, (400, 400, 400)), (20, 39, 10, (7,)), (9, 2, 1, (5, 3))])
def test_parameter_count_of_deepfm(n, M, k, layers):
    expected, inputs = n * (k + 1), M * k
    for units in layers:
        expected += (inputs + 1) * units
        inputs = units
    assert n_parameters(DeepFM(embedding_dim=k, deep_layers=layers), n, M) == expected + inputs + 1


def test_parameter_count_of_lr():
    assert n_parameters(LR(), 123, 5) == 124


def test_parameter_count_of_autoint_plus():
    plain, deep = (n_parameters(AutoInt(embedding_dim=4, attention_dim=2, deep_layers=layers), 30, 5)
                   for layers in (None, (6, 3)))
    assert deep - plain == (20 + 1) * 6 + (6 + 1) * 3 + 3 + 1


# --------------------------------------------------------------------------------------------- training

@every_model
def test_one_batch_of_32_can_be_learned_by_heart(make):
    X, _ = mixed_table(32)
    X["row"] = [f"row {i}" for i in range(32)]          # without it a linear model could not
    y = np.random.default_rng(5).integers(0, 2, 32)
    model = make(fields=[*FIELDS, "row"], learning_rate=0.1, batch_size=32).prepare(X, y)
    steps = 1
    while (loss := model.train_step(X, y)) >= 1e-3 and steps < 2_000:
        steps += 1
    assert loss < 1e-3


@pytest.mark.parametrize("name", CASES)
def test_the_first_loss_is_the_entropy_of_the_base_rate(name):
    """The bias starts at the base rate's logit: training does not begin by learning it."""
    X, y = mixed_table(300)
    model = CASES[name](fields=FIELDS).prepare(X, y)
    if name in NORMALISED:
        for name, array in parameters(model).items():
            if name.endswith(("readout.w", "mlp.out.w")):
                array[...] = 0
    p = y.mean()
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert 0.05 < abs(p - 0.5)                          # at one half any bias of 0 would do
    assert model.train_step(X, y) == pytest.approx(entropy, abs=2e-3)


@pytest.mark.parametrize("name", CASES)
def test_the_first_loss_of_a_regression_is_the_variance(name):
    X, _ = mixed_table(300)
    y = 3.0 + X["price"].to_numpy()
    model = CASES[name](fields=FIELDS, task="regression").prepare(X, y)
    if name in NORMALISED:
        for name, array in parameters(model).items():
            if name.endswith(("readout.w", "mlp.out.w")):
                array[...] = 0
    assert model.train_step(X, y) == pytest.approx(y.var(), rel=0.02)


# In these, steps of all parameters still swing by 2.1 to 2.6 % around the base rate when the small ones end.
SWINGING = ("NFM", "NFM-bn", "FNN-bn")


@pytest.mark.parametrize("name", CASES)
def test_the_mean_prediction_is_the_base_rate_after_training(name):
    """A sigmoid in the model as well as in the loss would move it far away (d2l-ai/d2l-en#1360)."""
    clicks = datasets.make_clicks(1_000, seed=2)
    model = CASES[name](columns=clicks.X, learning_rate=0.02, epochs=30, batch_size=1_000).fit(clicks.X, clicks.y)
    model.optimizer_.learning_rate = 0.001
    for _ in range(40):
        model.partial_fit(clicks.X, clicks.y)           # small steps, to end at a minimum rather than beside it
    if name in SWINGING:                                # the bias alone is what makes the mean the base rate
        model.freeze = tuple(other for other, array in parameters(model).items() if array is not model.bias())
        model.optimizer_.learning_rate = 0.01
        for _ in range(120):
            model.partial_fit(clicks.X, clicks.y)
    p = model.predict_proba(clicks.X)[:, 1]
    assert p.mean() == pytest.approx(clicks.base_rate, rel=0.02)
    assert p.std() > 0.02                               # and it is not just the constant


@every_model
def test_training_beats_the_base_rate(make):
    X, y = mixed_table(1_000)
    model = make(fields=FIELDS, epochs=15, learning_rate=0.02, batch_size=100).fit(X, y)
    p = y.mean()
    assert model.history_["train_loss"].iloc[-1] < 0.97 * -(p * np.log(p) + (1 - p) * np.log(1 - p))


# ------------------------------------------------------------------------------------------------- AFM

def random_fm(X, y, seed=0, **more):
    fm = FM(fields=FIELDS, embedding_dim=3, epochs=2, learning_rate=0.05, **more).fit(X, y)
    rng = np.random.default_rng(seed)
    for array in parameters(fm).values():
        array += rng.normal(0, 0.5, array.shape).astype(array.dtype)
    return fm


@pytest.mark.parametrize("attention_dim", [1, 16])
def test_an_afm_made_from_an_fm_starts_as_exactly_the_fm(attention_dim):
    X, y = mixed_table()
    fm = random_fm(X, y)
    for afm in (AFM.from_fm(fm, fields=FIELDS, attention_dim=attention_dim),
                AFM(fields=FIELDS, embedding_dim=3, attention_dim=attention_dim, init_from=fm)):
        afm.prepare(X, y)
        assert parameters(afm)["linear.w0"] == parameters(fm)["linear.w0"]
        np.testing.assert_allclose(afm.decision_function(X), fm.decision_function(X), rtol=1e-5, atol=1e-5)
        afm.forward(afm.encoder_.encode(X))
        np.testing.assert_allclose(afm.attention.cache["aij"], 1 / 6, rtol=1e-6)


def test_an_afm_made_from_an_fm_learns_attention():
    X, y = mixed_table(2_000)
    fm = FM(fields=FIELDS, embedding_dim=3, epochs=5, learning_rate=0.03).fit(X, y)
    afm = AFM.from_fm(fm, fields=FIELDS, epochs=5, learning_rate=0.03, n_threads=1).fit(X, y)
    afm.forward(afm.encoder_.encode(X))
    assert np.ptp(afm.attention.cache["aij"]) > 0.01    # it started at 0
    assert afm.history_["train_loss"].iloc[-1] < fm.history_["train_loss"].iloc[-1]


def test_the_original_fm_is_not_changed_by_training_the_afm():
    X, y = mixed_table()
    fm = random_fm(X, y)
    before = {name: array.copy() for name, array in parameters(fm).items()}
    AFM.from_fm(fm, fields=FIELDS, epochs=2, learning_rate=0.1).fit(X, y)
    for name, array in parameters(fm).items():
        np.testing.assert_array_equal(array, before[name])


def test_frozen_arrays_stay_as_they_are_to_the_bit():
    """The paper's section 5.3.1: train the attention only, on top of an FM."""
    X, y = mixed_table()
    fm = FM(fields=FIELDS, embedding_dim=3, epochs=3, learning_rate=0.05).fit(X, y)
    afm = AFM.from_fm(fm, fields=FIELDS, freeze=("embedding", "linear"), epochs=3, learning_rate=0.05).fit(X, y)
    for name in ("embedding.V", "linear.w", "linear.w0"):
        np.testing.assert_array_equal(parameters(afm)[name], parameters(fm)[name], err_msg=name)
    assert np.abs(parameters(afm)["attention.h"]).max() > 0
    assert np.ptp(parameters(afm)["projection.p"]) > 0


@pytest.mark.parametrize("frozen", ["attention", "attention.W", "projection.p", "linear.w0"])
def test_freeze_takes_layers_and_single_parameters(frozen):
    X, y = mixed_table()
    model = CASES["AFM"](fields=FIELDS, freeze=(frozen,), epochs=2, learning_rate=0.05)
    start = {name: array.copy() for name, array in parameters(model.prepare(X, y)).items()}
    model.fit(X, y)
    for name, array in parameters(model).items():
        if name == frozen or name.startswith(f"{frozen}."):
            np.testing.assert_array_equal(array, start[name], err_msg=name)
        else:
            assert not np.array_equal(array, start[name]), f"{name} did not move"


def test_an_fm_of_another_size_is_refused():
    X, y = mixed_table()
    fm = random_fm(X, y)
    with pytest.raises(ValueError, match="init_from has embedding_dim=3, this AFM 5"):
        AFM.from_fm(fm, fields=FIELDS, embedding_dim=5).fit(X, y)
    with pytest.raises(ValueError, match="same fields"):
        AFM.from_fm(fm, fields=FIELDS[:3]).fit(X, y)


def test_only_what_can_be_a_start_is_taken_as_one():
    X, y = mixed_table()
    with pytest.raises(TypeError, match="init_from must be a fitted FM, got str"):
        AFM(init_from="fm.npz").fit(X, y)
    with pytest.raises(ValueError, match=r"init_from is AutoInt, and this AFM has no parameter 'interacting_1\.W_Q'"):
        AFM.from_fm(AutoInt(fields=FIELDS, embedding_dim=3, epochs=1).fit(X, y), fields=FIELDS).fit(X, y)
    with pytest.raises(ValueError, match="init_from was fitted with task='regression', this AFM has 'binary'"):
        AFM.from_fm(FM(fields=FIELDS, epochs=1, task="regression").fit(X, y), fields=FIELDS).fit(X, y)


def test_values_that_the_fm_does_not_know_stay_unknown():
    """With a vocabulary of its own the AFM would give zoe the vector that the FM learned for bob."""
    X, y = mixed_table()
    fm = random_fm(X, y)
    other = X.assign(user=X["user"].map({"ann": "zoe", "bob": "yan", "cem": "xia", "dan": "wim"}))
    afm = AFM.from_fm(fm, fields=FIELDS).prepare(other, y)
    np.testing.assert_allclose(afm.decision_function(other), fm.decision_function(other), rtol=1e-5, atol=1e-5)


def test_an_unfitted_fm_is_refused():
    X, y = mixed_table()
    with pytest.raises(NotFittedError, match="FM is not fitted"):
        AFM(embedding_dim=8, init_from=FM()).fit(X, y)


def test_afm_starts_at_the_scale_of_the_fm():
    """p starts at the number of pairs: with uniform attention the logit is then the FM's."""
    slots = mixed_slots()
    afm, fm = AFM(embedding_dim=3, dtype="float64"), FM(embedding_dim=3, dtype="float64")
    for model in (afm, fm):
        model.build(14, 4, np.random.default_rng(0))
    assert parameters(afm)["projection.p"].tolist() == [6, 6, 6]
    afm.embedding.params["V"][...] = fm.embedding.params["V"] = np.random.default_rng(1).normal(0, 1, (14, 3))
    afm.attention.params["h"][...] = 0
    np.testing.assert_allclose(afm.forward(slots), fm.forward(slots), rtol=1e-12)


def two_field_table(n_rows=200):
    X, y = mixed_table(n_rows)
    return X[["user", "hour"]], y


def test_one_pair_is_warned_about_once_in_each_fit():
    X, y = two_field_table()
    model = CASES["AFM"](epochs=2)
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
        assert len(caught) == 1
        assert caught[0].category is UserWarning
        assert caught[0].filename == __file__, "the warning must point to the line that calls fit"
        for word in ("one pair", "always 1", "W, b and h", "user_features="):
            assert word in str(caught[0].message)


def test_one_pair_leaves_the_attention_net_untouched():
    X, y = two_field_table()
    model = CASES["AFM"](epochs=3, learning_rate=0.1)
    with pytest.warns(UserWarning, match="one pair"):
        start = {name: array.copy() for name, array in parameters(model.prepare(X, y)).items()}
    with pytest.warns(UserWarning, match="one pair"):
        model.fit(X, y)
    for name, array in parameters(model).items():
        same = np.array_equal(array, start[name])
        assert same == name.startswith("attention."), name


def test_three_fields_need_no_warning():
    X, y = mixed_table(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CASES["AFM"](epochs=1, fields=FIELDS[:3]).fit(X, y)


def test_one_field_has_no_pair():
    X, y = two_field_table()
    with pytest.raises(ValueError, match="only one field"):
        AFM().fit(X[["user"]], y)


@pytest.mark.parametrize("name", [name for name in KINDS if takes(name, 1)])
def test_the_other_models_take_one_field(name):
    X, y = two_field_table()
    assert CASES[name](epochs=1).fit(X[["user"]], y).predict_proba(X).shape == (len(X), 2)


# --------------------------------------------------------------------------------------- where dropout is

def layer_names(model, kind):
    return [name for name, layer in named_layers(model) if isinstance(layer, kind)]


def test_dropout_of_afm_is_on_the_pooled_vector():
    slots = mixed_slots(50)
    model = built(AFM(embedding_dim=3, attention_dim=4, dropout=0.5), slots)
    set_training(model)
    model.forward(slots)
    assert model.pooled_dropout.cache["mask"].shape == (50, 3)
    assert set(np.unique(model.pooled_dropout.cache["mask"])) == {0, 2}
    np.testing.assert_array_equal(model.attention.cache["weight"], model.attention.cache["aij"])    # not there


def test_attention_dropout_of_afm_is_on_the_attention_weights():
    slots = mixed_slots(50)
    model = built(AFM(embedding_dim=3, attention_dim=4, attention_dropout=0.5), slots)
    set_training(model)
    model.forward(slots)
    ratio = model.attention.cache["weight"] / model.attention.cache["aij"]
    assert set(np.unique(ratio.round(5))) == {0, 2}
    np.testing.assert_allclose(model.attention.cache["aij"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name, option", [
    (name, option) for name in DROPPING for option in dropouts(name)
    if not small(name).whole_batch_only                           # batch norm learns from what it is shown
    and any(getattr(layer, "rate", 0) for layer in layers_of(small(name, **{option: 0.5})))])
def test_dropout_works_while_training_and_only_then(name, option):
    slots = mixed_slots(20)
    model = built(sized(name, **{option: 0.5}), slots)
    plain = model.forward(slots)
    np.testing.assert_array_equal(model.forward(slots), plain)
    set_training(model)
    dropped = model.forward(slots)
    assert not np.array_equal(dropped, plain)
    assert not np.array_equal(model.forward(slots), dropped)        # another mask each time
    set_training(model, False)
    np.testing.assert_array_equal(model.forward(slots), plain)


# ------------------------------------------------------------------------------------- AutoInt's options

def with_weights_of(model, other):
    """Copy what both have."""
    theirs = parameters(other)
    for name, array in parameters(model).items():
        if name in theirs:
            array[...] = theirs[name]
    return model


@pytest.mark.parametrize("option", [
    {"residual": False}, {"scale": True}, {"layer_norm": True}, {"qkv_activation": "relu"}, {"first_order": True},
    {"deep_layers": (4,)}, {"num_layers": 1}, {"num_heads": 1, "attention_dim": 4},
    {"deep_layers": (4,), "use_bn": True}], ids=str)
def test_each_option_of_autoint_changes_the_function(option):
    slots = mixed_slots()
    settings = {"embedding_dim": 3, "attention_dim": 2, "num_heads": 2, "num_layers": 2, "dtype": "float64"}
    plain = built(AutoInt(**settings), slots)
    reference = plain
    if option == {"deep_layers": (4,), "use_bn": True}:
        reference = with_weights_of(built(AutoInt(**settings, deep_layers=(4,)), slots), plain)
    changed = with_weights_of(built(AutoInt(**(settings | option)), slots), reference)
    assert np.abs(changed.forward(slots) - reference.forward(slots)).max() > 1e-3


def test_autoint_without_residual_has_no_residual_weights():
    slots = mixed_slots()
    model = built(AutoInt(embedding_dim=3, attention_dim=2, residual=False, dtype="float64"), slots)
    assert not [name for name in parameters(model) if name.endswith("W_Res")]
    reference = built(AutoInt(embedding_dim=3, attention_dim=2, dtype="float64"), slots)
    for name, array in parameters(reference).items():
        array[...] = 0 if name.endswith("W_Res") else parameters(model)[name]
    np.testing.assert_allclose(model.forward(slots), reference.forward(slots), rtol=1e-12)


def test_scale_divides_the_scores_by_the_root_of_the_size_of_a_head():
    slots = mixed_slots()
    plain = built(AutoInt(embedding_dim=3, attention_dim=4, num_layers=1, dtype="float64"), slots)
    scaled = with_weights_of(built(AutoInt(embedding_dim=3, attention_dim=4, num_layers=1, scale=True,
                                           dtype="float64"), slots), plain)
    scaled.interacting[0].params["W_Q"] *= 2            # the root of 4, not of 8 = two heads of 4
    np.testing.assert_allclose(scaled.forward(slots), plain.forward(slots), rtol=1e-12)


def test_autoint_is_the_papers_form_by_default():
    model = built(AutoInt(), mixed_slots())
    for layer in range(1, 4):
        own = {name.split(".")[1] for name in parameters(model) if name.startswith(f"interacting_{layer}.")}
        assert own == {"W_Q", "W_K", "W_V", "W_Res"}    # no bias, no layer norm, a residual in every layer
    assert model.interacting[0].scale == 1
    assert parameters(model)["readout.w"].shape == (4 * 2 * 16,)    # the last layer only
    assert "linear.w" not in parameters(model) and "mlp.out.w" not in parameters(model)


def test_official_code_is_a_preset_that_can_be_changed():
    official = AutoInt.official_code(embedding_dim=4)
    assert (official.scale, official.layer_norm, official.qkv_activation, official.embedding_dim) == (
        True, True, "relu", 4)
    own = {name.split(".")[1] for name in parameters(built(official, mixed_slots()))
           if name.startswith("interacting_1.") and ".norm." not in name}
    assert own == {"W_Q", "W_K", "W_V", "W_Res", "b_Q", "b_K", "b_V", "b_Res"}
    assert AutoInt.official_code(scale=False).scale is False


def test_autoint_plus_adds_the_logits():
    slots = mixed_slots()
    plus = built(CASES["AutoInt+"](dtype="float64"), slots)
    alone = with_weights_of(built(CASES["AutoInt"](num_layers=1, dtype="float64"), slots), plus)
    E = plus.embedding.forward(slots)
    np.testing.assert_allclose(
        plus.forward(slots), alone.forward(slots) + plus.mlp.forward(E.reshape(len(E), -1)), rtol=1e-12)


# ------------------------------------------------------------------------------------------------ DeepFM

def test_deepfm_with_an_idle_mlp_is_an_fm():
    slots = mixed_slots()
    deep = built(CASES["DeepFM"](dtype="float64"), slots)
    fm = built(FM(embedding_dim=3, dtype="float64"), slots)
    fm.embedding.params["V"][...] = deep.embedding.params["V"]
    fm.linear.params["w"][...] = deep.linear.params["w"]
    deep.mlp.out.params["w"][...] = 0
    deep.mlp.out.params["b"][...] = fm.linear.params["w0"]
    np.testing.assert_allclose(deep.forward(slots), fm.forward(slots), rtol=1e-12)


def test_batch_norm_is_off_unless_asked_for():
    assert layer_names(built(CASES["DeepFM"](), mixed_slots()), BatchNorm) == []
    assert layer_names(built(CASES["DeepFM-bn"](), mixed_slots()), BatchNorm) == ["mlp.norm_1", "mlp.norm_2"]
    assert inspect.signature(DeepFM).parameters["use_bn"].default is False


def test_batch_norm_predicts_with_what_it_saw_in_training():
    X, y = mixed_table()
    model = CASES["DeepFM-bn"](fields=FIELDS, epochs=3).fit(X, y)
    for norm in model.mlp.norm:
        assert np.abs(norm.state["mean"]).max() > 0 and not norm.training
    before = [norm.state["mean"].copy() for norm in model.mlp.norm]
    one_row = model.decision_function(X[:1])
    np.testing.assert_allclose(model.decision_function(X)[:1], one_row, rtol=1e-5)
    for norm, mean in zip(model.mlp.norm, before, strict=True):
        np.testing.assert_array_equal(norm.state["mean"], mean)


# -------------------------------------------------------------------------------------- regularisation

def step_of_reg(make, reg, X, y):
    """What ``reg`` adds to a step of plain descent with learning rate 1: {name: array}."""
    after = []
    for strength in (0.0, reg):
        model = make(fields=FIELDS, optimizer="sgd", learning_rate=1.0, dtype="float64", reg=strength).prepare(X, y)
        rng = np.random.default_rng(0)
        for array in parameters(model).values():
            array[...] = rng.normal(0, 0.5, array.shape)
        start = {name: array.copy() for name, array in parameters(model).items()}
        model.train_step(X, y)
        after.append({name: array.copy() for name, array in parameters(model).items()})
    return model, start, {name: after[1][name] - after[0][name] for name in start}


def test_reg_of_afm_is_on_w_alone():
    """Xiao et al. 2017, eq. 8: sum of errors + lambda ||W||^2, here divided by the B rows of the batch."""
    X, y = mixed_table(20)
    _, start, steps = step_of_reg(CASES["AFM"], 0.7, X, y)
    for name, step in steps.items():
        expected = -2 * 0.7 / 20 * start[name] if name == "attention.W" else np.zeros_like(step)
        np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("name", ["DeepFM", "AutoInt+"])
def test_reg_of_a_deep_model_is_on_its_hidden_layers(name):
    X, y = mixed_table(20)
    _, start, steps = step_of_reg(CASES[name], 0.7, X, y)
    for name, step in steps.items():
        hidden = name in ("mlp.dense_1.W", "mlp.dense_2.W")
        expected = -2 * 0.7 / 20 * start[name] if hidden else np.zeros_like(step)
        np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("name, tables", [("LR", ["linear.w"]), ("FM", ["linear.w", "embedding.V"])])
def test_reg_of_tables_counts_every_look_up(name, tables):
    """A value that 5 of 20 rows have is pulled towards 0 with 5 / 20 of the strength.

    Slots of weight 0 only fill up the rows of a multi-valued field: they look nothing up.
    """
    X, y = mixed_table(20)
    model, start, steps = step_of_reg(CASES[name], 0.7, X, y)
    slots = model.encoder_.encode(X)
    times = np.bincount(slots.ids[slots.x != 0], minlength=model.encoder_.n_ids)
    assert times.max() > 1
    for name, step in steps.items():
        expected = np.zeros_like(step)
        if name in tables:
            expected = -2 * 0.7 / 20 * (times * start[name].T).T
        np.testing.assert_allclose(step, expected, rtol=1e-9, atol=1e-14, err_msg=name)


def test_reg_is_off_by_default():
    assert all(cls().reg == 0 for cls in MODELS.values())


# --------------------------------------------------------------------------------------- wrong settings

WRONG = [
    *[(FM, {name: value}) for name in ("epochs", "batch_size", "patience", "embedding_dim")
      for value in (0, -1, 1.5, "3", None, True)],
    *[(cls, {name: 0}) for cls in MODELS.values() for name, check in vars(cls).get("checks", {}).items()
      if check is COUNT and (cls, name) != (FM, "embedding_dim")],
    *[(FM, {"learning_rate": value}) for value in (0, -0.1, float("nan"), float("inf"), "fast", None)],
    *[(FM, {"reg": value}) for value in (-1, float("nan"), float("inf"), "much", None)],
    *[(FM, {"dtype": value}) for value in ("float16", np.float32, None)],
    *[(FM, {"optimizer": value}) for value in ("rmsprop", None)],
    *[(FM, {"task": value}) for value in ("clicks", None)],
    *[(cls, {name: value}) for cls in MODELS.values() for name, check in vars(cls).get("checks", {}).items()
      if check is SHARE_DROPPED for value in (1, -0.1, float("nan"))],
    (FM, {"dropout": "half"}),
    (AutoInt, {"deep_dropout": 1.0, "deep_layers": (8,)}),
    *[(DeepFM, {"deep_layers": value}) for value in ((0,), (8, -1), (2.5,), ("8",), 8, None)],
    (AutoInt, {"deep_layers": (0,)}),
    (AutoInt, {"qkv_activation": "tanh"}),
    *[(FM, {"n_threads": value}) for value in (0, -1, 1.5, "two")],
    *[(FM, {"seed": value}) for value in (-1, "zero", 1.5)],
    (FM, {"freeze": ("attention",)}), (FM, {"freeze": ("embed",)}), (FM, {"freeze": "embedding"}),
    *[(FM, {"lr_multipliers": value}) for value in (
        {"attention": 2}, {"embed": 2}, {"embedding": -1}, {"embedding": "2"}, {"embedding": float("nan")},
        ["embedding"])],
    (AutoInt, {"reg": 0.1}),
]


@pytest.mark.parametrize("cls, wrong", WRONG, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_wrong_setting_is_refused_by_name(cls, wrong):
    X, y = mixed_table(60)
    model = cls(**wrong)                        # storing is free; fit looks
    with pytest.raises((ValueError, TypeError), match=f"(?i)\\b{next(iter(wrong))}\\b"):
        model.set_params(**({} if "epochs" in wrong else {"epochs": 1})).fit(X, y)


def test_a_wrong_setting_says_what_it_got():
    X, y = mixed_table(60)
    with pytest.raises(ValueError, match=r"learning_rate must be a number above 0, got -3"):
        FM(learning_rate=-3).fit(X, y)
    with pytest.raises(ValueError, match=r"freeze names 'foo'.*embedding\.V"):
        FM(freeze=("foo",)).fit(X, y)


@pytest.mark.parametrize("settings", [
    {"epochs": np.int64(1)}, {"learning_rate": np.float32(0.01)}, {"deep_layers": [np.int64(4)]},
    {"dropout": np.float64(0.1)}, {"seed": np.int64(3)}, {"n_threads": np.int64(1)}, {"reg": np.float32(0.1)}], ids=str)
def test_numpy_numbers_are_fine_as_settings(settings):
    X, y = mixed_table(60)
    assert DeepFM(**{"epochs": 1, "deep_layers": (4,), **settings}).fit(X, y).predict(X).shape == (60,)


def test_unknown_and_positional_arguments_are_refused():
    for cls in MODELS.values():
        with pytest.raises(TypeError, match="embed_dim"):
            cls(embed_dim=3)
        with pytest.raises(TypeError):
            cls(3)


# ------------------------------------------------------------------------------------------ descriptions

@pytest.mark.parametrize("cls", MODELS.values())
def test_every_parameter_is_documented(cls):
    text = f"{inspect.getdoc(Model)} {inspect.getdoc(cls)}"
    for field in dataclasses.fields(cls):
        assert f"{field.name} :" in text or f"{field.name}," in text, f"{cls.__name__}.{field.name} is not documented"


@pytest.mark.parametrize("cls", [cls for name, cls in MODELS.items() if name not in ("LR", "FM")])
def test_deviations_from_paper_or_code_are_documented(cls):
    assert "Paper vs. code" in inspect.getdoc(cls)


def test_the_base_class_alone_says_what_to_write():
    X, y = mixed_table(20)
    with pytest.raises(NotImplementedError):
        Model().fit(X, y)


def test_a_model_whose_logit_is_no_sum_has_no_contributions():
    with pytest.raises(TypeError, match=r"AutoInt is not a sum of terms, .*; .* and .* have them"):
        AutoInt().terms()


def test_a_model_without_attention_says_so():
    with pytest.raises(TypeError, match="FM has no attention; AFM and AutoInt do"):
        FM().attention_weights()


@pytest.mark.parametrize("name", [name for name in KINDS if blocks(name)])
def test_the_bias_and_all_terms_add_up_to_the_logit(name):
    X, y = mixed_table(30)
    model = CASES[name](fields=FIELDS, epochs=1, dtype="float64").fit(X, y)
    s = model.forward(model.encoder_.encode(X))
    terms = model.terms()
    np.testing.assert_allclose(model.bias() + sum(block.sum(axis=1) for block in terms.values()), s, rtol=1e-12)
    shapes = {block: array.shape for block, array in terms.items()}
    columns = [getattr(field, "name", field) for field in FIELDS]
    assert shapes.keys() == {re.sub(r"field_(\d)", lambda n: columns[int(n[1]) - 1], block) for block in blocks(name)}
    assert shapes.get("fields", (30, 4)) == (30, 4) and shapes.get("pairs", (30, 6)) == (30, 6)
    assert shapes.get("deep part", (30, 1)) == (30, 1)


def test_which_terms_the_models_have():
    assert {name: blocks(name) for name in ("LR", "FM", "AFM", "AutoInt", "DeepFM")} == {
        "LR": {"fields"}, "FM": {"fields", "pairs"}, "AFM": {"fields", "pairs"}, "AutoInt": set(),
        "DeepFM": {"fields", "pairs", "deep part"}}


def test_a_forgotten_backward_is_named():
    class Forgetful(FM):
        def backward(self, ds):
            self.linear.backward(ds)

    X, y = mixed_table(30)
    with pytest.raises(TypeError, match=r"Forgetful.backward left no gradient for embedding\.V"):
        Forgetful(epochs=1).fit(X, y)
