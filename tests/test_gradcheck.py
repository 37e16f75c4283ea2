"""The gradient check itself: what it reports, which faults it finds, what it refuses."""

import numpy as np
import oracles
import pytest
from numpy.testing import assert_array_equal
from oracles import draw_model, random_slots

from minictr import check_gradients
from minictr.layers import (
    Dense,
    Dropout,
    Embedding,
    FMPooling,
    Layer,
    Readout,
    ReLU,
    attention_pooling,
    parameters,
)


def dense(seed=0, dtype=np.float64):
    layer = Dense(3, 2, np.random.default_rng(seed), dtype)
    layer.params["b"][...] = 0.5
    return layer


def x_of(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


class Tampered(Dense):
    """A Dense whose gradients a test spoils: ``spoil(grads, dx)`` returns dx."""

    def __init__(self, spoil):
        super().__init__(3, 2, np.random.default_rng(0), np.float64)
        self.spoil = spoil

    def backward(self, dout):
        return self.spoil(self.grads, super().backward(dout))


# ------------------------------------------------------------------------------- the report


def test_a_right_layer_passes():
    report = check_gradients(dense(), x_of(4, 3))
    assert report.passed and bool(report) is True
    assert "passed" in repr(report) and "FAILED" not in repr(report)


def test_the_report_has_one_line_for_every_array():
    layer, x = dense(), x_of(4, 3)
    report = check_gradients(layer, x)
    lines = {line["name"]: line for line in report.arrays}
    assert {name: line["shape"] for name, line in lines.items()} == {"x": (4, 3), "W": (3, 2), "b": (2,)}
    for name, line in lines.items():
        assert line["allowance"] <= 1
        assert line["numeric"] == pytest.approx(line["analytic"], rel=1e-5)
        assert type(line["index"]) is tuple and len(line["index"]) == len(line["shape"])
        assert f"\n{name} " in repr(report)
        if name != "x":                                           # what backward left is what is reported
            assert lines[name]["analytic"] == layer.grads[name][line["index"]]


def test_the_worst_entry_is_named_and_the_worst_array_comes_first():
    def spoil(grads, dx):
        grads["W"][2, 1] += 0.25
        grads["b"][0] += 0.001
        return dx

    report = check_gradients(Tampered(spoil), x_of(4, 3))
    assert [line["name"] for line in report.arrays] == ["W", "b", "x"]
    worst = report.arrays[0]
    assert worst["index"] == (2, 1)
    assert worst["analytic"] - worst["numeric"] == pytest.approx(0.25, rel=1e-5)
    assert worst["allowance"] == pytest.approx(0.25 / (1e-8 + 1e-6 * abs(worst["analytic"])), rel=1e-5)
    assert not report.passed and bool(report) is False
    assert "FAILED" in repr(report) and "(2, 1)" in repr(report)
    assert repr(report).index("\nW ") < repr(report).index("\nb ") < repr(report).index("\nx ")


def test_an_error_of_a_few_millionths_is_found():
    def spoil(grads, dx):
        dx[0, 0] *= 1 + 5e-6
        return dx

    report = check_gradients(Tampered(spoil), x_of(4, 3))
    assert not report.passed and report.arrays[0]["name"] == "x"
    assert 2 < report.arrays[0]["allowance"] < 6


@pytest.mark.parametrize(("share", "passes"), [(0.7, True), (1.4, False)])
def test_the_allowance_is_an_absolute_and_a_relative_part(share, passes):
    """1e-8 + 1e-6 |backward|: the first part counts for small numbers, the second for large ones."""
    for scale in (1e-4, 1e3):
        def spoil(grads, dx, scale=scale):
            dx[0, 0] += share * (1e-8 + 1e-6 * abs(dx[0, 0]))
            return dx

        layer = Tampered(spoil)
        layer.params["W"][...] = scale * np.array([[1.0, 1.0], [-1.0, 2.0], [0.5, 0.5]])
        layer.params["b"][...] = 0
        report = check_gradients(layer, 1e-3 * x_of(1, 3) if scale > 1 else x_of(1, 3))
        line = next(line for line in report.arrays if line["name"] == "x")
        assert (line["allowance"] <= 1) == passes and line["allowance"] == pytest.approx(share, abs=0.2)
        assert report.passed == passes


def test_the_columns_of_the_report_have_headings():
    headings = repr(check_gradients(dense(), x_of(4, 3))).splitlines()[1].split()
    assert headings == ["array", "worst", "at", "numeric", "backward", "of", "allowance"]


def test_names_of_inner_layers_are_dotted():
    model, slots, _ = draw_model("AFM", seed=0)
    report = check_gradients(model, slots, seed=1000)
    assert {line["name"] for line in report.arrays} == set(parameters(model))
    assert "attention.W" in repr(report)


def test_with_slots_only_the_parameters_are_checked():
    layer = Embedding(oracles.N_VALUES, 2, np.random.default_rng(0), dtype=np.float64)
    report = check_gradients(layer, random_slots(np.random.default_rng(1), 3, 2, "several"))
    assert [line["name"] for line in report.arrays] == ["V"]
    assert report.arrays[0]["shape"] == (oracles.N_VALUES, 2)


def test_the_check_changes_nothing():
    layer, x = dense(), x_of(4, 3)
    before = {name: array.copy() for name, array in {"x": x, **layer.params}.items()}
    check_gradients(layer, x)
    for name, array in {"x": x, **layer.params}.items():
        assert_array_equal(array, before[name])


def test_the_seed_sets_the_upstream_gradient():
    layer, x = dense(), x_of(4, 3)

    def b_gradient(seed):
        check_gradients(layer, x, seed=seed)
        return layer.grads["b"].tolist()

    assert b_gradient(3) == b_gradient(3) != b_gradient(4)


def test_the_upstream_gradient_is_not_the_input_drawn_from_the_same_seed():
    """With dout = x a backward that looks at dout where it should look at x passes."""
    class LooksAtDout(ReLU):
        def backward(self, dout):
            return dout * (dout > 0)

    assert not check_gradients(LooksAtDout(), np.random.default_rng(0).standard_normal((3, 4))).passed


# ------------------------------------------------------------------------------- faults


def flip_dx(grads, dx):
    return -dx


def flip_weights(grads, dx):
    grads["W"] = -grads["W"]
    return dx


def zero_b(grads, dx):
    grads["b"] = np.zeros(2)
    return dx


def mean_b(grads, dx):
    grads["b"] = grads["b"] / 4                                   # a second 1/B beside the loss's
    return dx


def double_weights(grads, dx):
    grads["W"] = 2 * grads["W"]                                   # as += does in a second backward pass
    return dx


@pytest.mark.parametrize(("spoil", "where"), [
    (flip_dx, "x"), (flip_weights, "W"), (zero_b, "b"), (mean_b, "b"), (double_weights, "W")],
    ids=["dx flipped", "W flipped", "b zero", "b averaged", "W doubled"])
def test_a_fault_is_found_where_it_is(spoil, where):
    report = check_gradients(Tampered(spoil), x_of(4, 3))
    assert not report.passed
    assert [line["name"] for line in report.arrays if line["allowance"] > 1] == [where]


class Product(Layer):
    """x times itself: two terms in the derivative, of which a test drops one."""

    def __init__(self, terms):
        super().__init__()
        self.terms = terms

    def forward(self, x):
        self.cache = {"x": x}
        return x * x

    def backward(self, dout):
        return self.terms * dout * self.cache["x"]


def test_a_dropped_term_is_found():
    assert check_gradients(Product(2), x_of(2, 3)).passed
    assert not check_gradients(Product(1), x_of(2, 3)).passed


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "W"])
def test_a_gradient_that_is_not_finite_fails(number, where):
    def spoil(grads, dx):
        {"x": dx, "W": grads["W"]}[where][1, 0] = number
        return dx

    report = check_gradients(Tampered(spoil), x_of(4, 3))          # and no warning of NumPy's
    assert not report.passed
    assert report.arrays[0]["name"] == where and report.arrays[0]["index"] == (1, 0)
    assert report.arrays[0]["allowance"] == np.inf


def test_a_forward_of_nans_fails():
    x = x_of(4, 3)
    x[0, 0] = np.nan
    assert not check_gradients(dense(), x).passed


def test_a_softmax_backward_of_zeros_fails(monkeypatch):
    """With an upstream gradient of ones it would pass: the sum of the shares never changes."""
    layer, x, _ = oracles.attention_case(3, 6, 2, 4).draw(seed=0)
    assert check_gradients(layer, x, seed=1000).passed
    monkeypatch.setattr(attention_pooling, "softmax_backward", lambda da, a, axis: np.zeros_like(a))
    report = check_gradients(layer, x, seed=1000)
    assert {line["name"] for line in report.arrays if line["allowance"] > 1} == {"x", "W", "b", "h"}


def test_a_random_forward_fails():
    dropout = Dropout(0.5, np.random.default_rng(0))
    dropout.training = True
    assert not check_gradients(dropout, x_of(5, 5)).passed


# ------------------------------------------------------------------------------- what it refuses


def test_float32_parameters_are_refused():
    with pytest.raises(TypeError, match=r"W is float32: a gradient check needs float64 .*dtype=\"float64\""):
        check_gradients(dense(dtype=np.float32), x_of(4, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_an_input_that_is_not_float64_is_refused(dtype):
    with pytest.raises(TypeError, match=rf"x is {np.dtype(dtype).name}"):
        check_gradients(FMPooling(), np.ones((2, 3, 2), dtype))


def test_a_model_of_float32_is_refused_and_the_parameter_named():
    model, slots, _ = draw_model("FM", seed=0, dtype="float32")
    with pytest.raises(TypeError, match=r"linear\.w is float32"):
        check_gradients(model, slots)


@pytest.mark.parametrize("redraw", [None, 0.5])
def test_an_input_without_rows_is_refused(redraw):
    with pytest.raises(ValueError, match=r"x has shape \(0, 3\), and no entry"):
        check_gradients(dense(), x_of(0, 3), redraw=redraw)
    slots = random_slots(np.random.default_rng(0), 4, 3, "several")
    with pytest.raises(ValueError, match="x has no rows"):
        check_gradients(Embedding(9, 2, np.random.default_rng(0), dtype=np.float64), slots[:0], redraw=redraw)


def test_an_array_without_entries_is_named():
    with pytest.raises(ValueError, match=r"W has shape \(3, 0\), and no entry"):
        check_gradients(Dense(3, 0, np.random.default_rng(0), np.float64), x_of(4, 3))


def test_a_read_only_input_is_checked_all_the_same():
    x = x_of(4, 3)
    x.flags.writeable = False
    before = x.copy()
    assert check_gradients(dense(), x).passed
    assert_array_equal(x, before)


def test_a_missing_gradient_is_named():
    def forget_b(grads, dx):
        del grads["b"]
        return dx

    with pytest.raises(ValueError, match=r"b has shape \(2,\), but backward left none"):
        check_gradients(Tampered(forget_b), x_of(4, 3))


def test_a_backward_that_returns_nothing_is_named():
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\), but backward left none"):
        check_gradients(Tampered(lambda grads, dx: None), x_of(4, 3))


def test_a_gradient_of_the_wrong_shape_is_named():
    """Not even one that NumPy would broadcast is let through."""
    def keepdims(grads, dx):
        grads["b"] = grads["b"][None, :]
        return dx

    with pytest.raises(ValueError, match=r"b has shape \(2,\), but backward left one of shape \(1, 2\)"):
        check_gradients(Tampered(keepdims), x_of(4, 3))
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\), but backward left one of shape \(3,\)"):
        check_gradients(Tampered(lambda grads, dx: dx.sum(axis=0)), x_of(4, 3))


def test_a_scalar_for_a_bias_is_the_wrong_shape():
    class ScalarBias(Readout):
        def backward(self, dout):
            dx = super().backward(dout)
            self.grads["b"] = dout.sum()
            return dx

    with pytest.raises(ValueError, match=r"b has shape \(1,\), but backward left one of shape \(\)"):
        check_gradients(ScalarBias(3, 1.0, dtype=np.float64), x_of(4, 3))


def test_an_untrained_afm_passes_with_its_parameters_drawn_anew_and_keeps_its_own():
    """Its vectors start so small that ReLU inputs lie on the kink."""
    from minictr import AFM, datasets

    clicks = datasets.make_clicks(200, seed=0)
    model = AFM(embedding_dim=3, attention_dim=4, dtype="float64").prepare(clicks.X, clicks.y)
    before = {name: array.copy() for name, array in parameters(model).items()}
    slots = model.encoder_.encode(clicks.X[:4])
    on_the_kink = check_gradients(model, slots)
    assert not on_the_kink.passed and "redraw=0.5" in repr(on_the_kink)
    assert check_gradients(model, slots, redraw=0.5).passed
    for name, array in parameters(model).items():
        np.testing.assert_array_equal(array, before[name])


def float32_fm():
    model, slots, _ = draw_model("FM", seed=0, dtype="float32")
    return model, slots, TypeError


def dense_without_gradients():
    def forget(grads, dx):
        grads.clear()
        return dx

    return Tampered(forget), x_of(4, 3), ValueError


@pytest.mark.parametrize("make", [float32_fm, dense_without_gradients])
def test_parameters_drawn_anew_are_put_back_when_the_check_raises(make):
    """Without that, one check of a trained float32 model ends in an error message and in random weights."""
    layer, x, error = make()
    before = {name: array.copy() for name, array in parameters(layer).items()}
    with pytest.raises(error):
        check_gradients(layer, x, redraw=0.5)
    for name, array in parameters(layer).items():
        assert_array_equal(array, before[name])


def test_advice_that_was_followed_is_not_given_again():
    wrong = Tampered(lambda grads, dx: 2 * dx)
    assert "redraw=0.5" in repr(check_gradients(wrong, x_of(4, 3)))
    report = check_gradients(wrong, x_of(4, 3), redraw=0.5)
    assert not report.passed and report.redrawn and "redraw=0.5" not in repr(report)


def test_a_table_is_to_be_encoded_first():
    with pytest.raises(TypeError, match="encode"):
        check_gradients(FMPooling(), {"user": [1]})
