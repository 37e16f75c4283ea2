"""The benchmarks measure what they say: their models agree, their work model counts right, their clocks add up."""

import dataclasses
import importlib.util
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import growth, machine_rates, profile, quality, shapes, speed, timing, work
from benchmarks.peers import Unavailable
from benchmarks.shapes import Shape
from minictr import AFM, FM, AutoInt, DeepFM
from minictr.layers import ReLU, named_layers
from minictr.training import predict_logits

SMALL = Shape(fields=5, ids=103, batch=64, numerical=3)
SETTINGS = {"seconds": 0, "steps": 3, "gigaflop": 0.001, "model": None, "encode_rows": 500}

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None,
                                 reason="torch is not installed (extra: benchmarks)")


@pytest.fixture
def small_shapes(monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "ml-1m", SMALL)


@pytest.mark.parametrize("shape", [SMALL, *shapes.SHAPES.values()], ids=lambda shape: f"{shape.fields} fields")
def test_drawn_ids_stay_within_their_field(shape):
    slots, y = shapes.drawn_slots(shape, 200)
    slots.check_ids(shape.ids)
    ends = np.append(shapes.DrawnFields(shape).offsets[1:], shape.ids)
    assert (slots.ids >= shapes.DrawnFields(shape).offsets).all() and (slots.ids < ends).all()
    assert set(y.tolist()) == {0.0, 1.0}
    assert (slots.x is None) == (shape.numerical == 0)


def test_the_table_holds_the_same_rows_as_the_slots():
    table, y = shapes.drawn_table(SMALL, 50)
    slots, y_slots = shapes.drawn_slots(SMALL, 50)
    assert (y == y_slots).all() and table.shape == (50, SMALL.fields)
    assert np.array_equal(table["field_3"], slots.ids[:, 3] - SMALL.first_ids[0])
    assert np.array_equal(table["field_0"], slots.x[:, 0])


def test_work_counts_the_products_of_a_small_model():
    def multiplications(model):
        return sum(product.operations for product in work.of_a_row(model, 3)[0]) // 2

    assert work.of_a_row(FM(embedding_dim=2), 3) == ([], 12)
    # DeepFM, 3 fields of 2 numbers, 4 units: 6 x 4 and 4 x 1 multiply-adds
    assert multiplications(DeepFM(embedding_dim=2, deep_layers=(4,))) == 24 + 4
    # AFM, 3 pairs of 2 numbers, 4 units: p W, r h, the weighted sum, and what reads it out
    assert multiplications(AFM(embedding_dim=2, attention_dim=4)) == 3 * 2 * 4 + 3 * 4 + 3 * 2 + 2
    # AutoInt, one layer, 1 head of 4: four projections, scores and sums, the readout
    assert multiplications(AutoInt(embedding_dim=2, attention_dim=4, num_heads=1, num_layers=1)) == (
        3 * 2 * 16 + 2 * 3 * 3 * 4 + 3 * 4)


@pytest.mark.parametrize("kind", ["shared", "sum", "own"])
def test_the_shapes_of_a_product_are_those_of_its_work(kind):
    product = work.Product(3, 4, 5, kind, items=2 if kind == "own" else 1)
    first, second = (np.ones(shape) for shape in product.factors(7))
    out = first @ second                                          # it can be computed
    assert 2 * out.size * first.shape[-1] == 7 * product.operations
    if kind != "sum":                                             # which has no backward: it is one
        assert [one.operations for one in product.backward()] == 2 * [product.operations]
        for one, factor in zip(product.backward(), (first, second), strict=True):
            dout, other = (np.ones(shape) for shape in one.factors(7))
            assert (dout @ other).shape == factor.shape


def test_the_limit_adds_up_products_and_copies(monkeypatch):
    """Of each product's sizes the fastest counts; here that is the second of three."""
    monkeypatch.setattr(machine_rates, "n_cores", lambda: 2)
    rates = {32: 1e5, 8: 1e6, 2: 1e4}
    monkeypatch.setattr(machine_rates, "rate_of_product", lambda one, rows, cores, seconds: rates[rows])
    products = [work.Product(1, 10, 10), work.Product(1, 10, 10), work.Product(2, 5, 1)]
    assert machine_rates.least_seconds(products, 4e9, 1_000, 64, 8) == pytest.approx(
        (1_000 * (200 + 200 + 20) / 1e6, 0.5))


def test_a_product_with_itself_has_one_gradient():
    product = work.Product(3, 4, 3, "own", with_itself=True)      # E E^T, of which dE is (dout + dout^T) E
    assert product.backward() == (dataclasses.replace(product, n_in=3, n_out=4),)


class Unknown(FM):
    """A model that no benchmark knows: none takes it for the one that it inherits from."""


def test_a_model_that_the_benchmarks_do_not_know_is_unavailable(monkeypatch):
    with pytest.raises(Unavailable, match="no count of the work for Unknown; there is one for FM, AFM"):
        work.of_a_row(Unknown(), 3)
    for settings_of in quality.MODELS.values():
        with pytest.raises(Unavailable, match="no settings of Unknown"):
            settings_of("Unknown", {}, None)
    monkeypatch.setitem(shapes.MODELS, "Unknown", Unknown())
    monkeypatch.setattr(speed, "in_new_process", lambda call, *arguments: call(*arguments))
    assert speed.bound("step", "Unknown", "ml-1m", 1.0, {"copy GB/s": 10}, 0.1) == (
        "there is no count of the work for Unknown; there is one for FM, AFM, DeepFM, AutoInt, FFM, FwFM, HOFM, NFM, "
            "FNN, PNN, WideDeep, DeepCrossing, DCN, XDeepFM")


@needs_torch
def test_a_model_without_a_torch_module_is_unavailable():
    from benchmarks import torch_models
    model = Unknown().prepare({"a": [1, 2], "b": [3, 4]}, [0, 1])
    with pytest.raises(Unavailable, match=r"no torch module for Unknown; there is one for LR, FM.*DeepFM"):
        torch_models.like(model, model.encoder_.encode({"a": [1], "b": [3]}))


def test_clock_counts_nested_calls_once(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(profile, "time", SimpleNamespace(thread_time=lambda: now[0]))

    def takes(seconds):
        now[0] += seconds

    clock = profile.Clock()
    inner = clock.wrap(lambda: takes(2.0), "inner")
    outer = clock.wrap(lambda: [(takes(0.5), inner()) for _ in range(3)], "outer")
    outer()
    assert clock.seconds == {"inner": 6.0, "outer": 1.5} and now == [7.5]


@pytest.mark.parametrize("name", [*shapes.MODELS, *shapes.RELATIVES])
def test_profile_has_every_layer_and_trains_as_without_it(name, small_shapes):
    table, ms, chunks = profile.profile(name, "ml-1m", 0)
    model = shapes.built(shapes.new_model(name, SMALL.batch), SMALL)
    of_its_mlp = {layer for layer, part in named_layers(model) if isinstance(part, ReLU)}     # FastMLP's own line
    of_its_twin = {"pooling", "pooled_dropout", "factor_sum"} if name == "FM" else set()      # the model's own line
    assert {layer for layer, _ in named_layers(model)} - of_its_mlp - of_its_twin <= set(table.index)
    assert not of_its_mlp or "mlp" in table.index
    assert table["share"].sum() == pytest.approx(1) and ms > 0 and chunks >= 1
    assert isinstance(table, pd.DataFrame) and not table.isna().any(axis=None)


def test_profile_leaves_the_updates_as_they_are():
    trained = []
    for wrapped in (False, True):
        model = shapes.built(shapes.new_model("AFM", SMALL.batch), SMALL)
        slots, y = shapes.drawn_slots(SMALL, SMALL.batch)
        trainer = profile.ChunkedTrainer(model, np.random.SeedSequence(0))
        trainer.step(slots, y)
        if wrapped:
            profile.wrap_all(trainer, profile.Clock())
        for _ in range(3):
            trainer.step(slots, y)
        trained.append(model.embedding.params["V"])
    assert np.array_equal(*trained)


@pytest.mark.long
def test_rates_are_positive():
    assert min(machine_rates.machine_rates(seconds=0).values()) > 0


def test_disturbance_is_a_number_of_cores():
    with timing.disturbance() as others:
        sum(range(100_000))
    assert not others or others[0] >= 0


@pytest.mark.parametrize("exponent", [1, 2])
def test_power_is_found(exponent):
    x = [5, 10, 20, 40]
    assert growth.power(x, [3 * value ** exponent for value in x]) == pytest.approx(exponent)


def figures(*values, **more):
    return {"default": [{"value": value, **more} for value in values]}


def test_a_missed_goal_a_met_goal_and_a_comparison_without_verdict():
    peers = {"minictr": figures(1.0, 2.0, 3.0), "torch": {"slow": figures(9.0)["default"], "fast": [{"value": 4.0}]}}
    line = speed.summary("fit", "FM", "ml-1m", peers)[1]
    assert "ratio  2.00  goal 3 MISSED  [fast]" in line
    peers["torch"]["fast"] = [{"value": 7.0}]
    assert "goal 3 met" in speed.summary("fit", "FM", "ml-1m", peers)[1]
    peers["minictr"]["default"][0]["cores used by others"] = 1.0
    lines = speed.summary("fit", "FM", "ml-1m", peers)
    assert "not judged" in lines[1] and "DISTURBED" in lines[2]


def test_losses_that_differ_make_the_comparison_void():
    peers = {"minictr": figures(1.0, loss=0.5, steps=7), "torch": {"sparse": [{"value": 4.0, "loss": 0.5001}]}}
    assert speed.void(peers) is None
    for loss in (0.6, float("nan")):
        peers["torch"]["sparse"][0]["loss"] = loss
        assert "after 7 steps" in speed.void(peers)
    peers["torch"] = "not installed"
    assert speed.void(peers) is None


@needs_torch
@pytest.mark.parametrize("name", [*shapes.MODELS, *shapes.RELATIVES])
def test_every_form_of_the_torch_peer_computes_what_minictr_does(name):
    from benchmarks import torch_jobs, torch_models
    model = shapes.built(shapes.new_model(name, SMALL.batch), SMALL)
    for _, layer in named_layers(model):                          # far from the small numbers at which it starts
        for array in layer.params.values():
            array[...] = np.random.default_rng(0).normal(scale=0.3, size=array.shape)
    slots, _ = shapes.drawn_slots(SMALL, 40)
    expected = predict_logits(model, slots)
    for other_form in torch_jobs.forms(model).values():
        module = torch_models.like(model, slots, other_form=other_form).eval()
        np.testing.assert_allclose(module(*torch_models.tensors(slots)).detach().numpy(), expected,
                                   rtol=2e-4, atol=1e-5)


@needs_torch
@pytest.mark.parametrize("name", [*shapes.MODELS, *shapes.RELATIVES])
def test_steps_of_both_libraries_end_at_the_same_loss(name, small_shapes, monkeypatch):
    from benchmarks import torch_jobs
    monkeypatch.setattr(torch_jobs, "set_up", lambda: None)       # it would change torch for all tests to come
    with torch_jobs.torch.sparse.check_sparse_tensor_invariants(enable=True):
        found = {peer: speed.turn(peer, ["step"], name, "ml-1m", SETTINGS)["step"] for peer in ("minictr", "torch")}
    assert isinstance(found["minictr"], dict) and isinstance(found["torch"], dict), found
    assert speed.void({peer: {variant: [figures] for variant, figures in variants.items()}
                       for peer, variants in found.items()}) is None


def test_a_job_that_fails_says_why(monkeypatch):
    def fails(*arguments):
        raise ValueError("no such thing\nmore")

    monkeypatch.setattr(speed, "jobs_of", lambda peer: {"step": fails})
    assert speed.turn("torch", ["step", "fit"], "FM", "ml-1m", SETTINGS) == {"step": "ValueError: no such thing"}
