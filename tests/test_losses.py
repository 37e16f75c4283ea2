"""The losses: values by hand, safe at any logit, weights, parts of a batch, derivatives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minictr import check_gradients
from minictr.layers import Layer
from minictr.losses import LogLoss, SquaredLoss

LN2, LN3 = math.log(2), math.log(3)
both = pytest.mark.parametrize("loss_class", [LogLoss, SquaredLoss])


def batch(B, seed=0):
    """Logits, targets that suit both losses, weights."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, B), (rng.random(B) < 0.3).astype(float), rng.uniform(0.1, 3, B)


class LossLayer(Layer):
    """A loss as a layer from logits to one number, for the gradient check."""

    def __init__(self, loss, y, c, n_rows):
        super().__init__()
        self.loss, self.rest = loss, (y, c, n_rows)

    def forward(self, s):
        return np.array([self.loss.forward(s, *self.rest)])

    def backward(self, dout):
        return dout[0] * self.loss.backward()


# ------------------------------------------------------------------------------- values by hand


@pytest.mark.parametrize(("s", "y", "expected", "ds"), [
    (0, 1, LN2, -0.5), (0, 0, LN2, 0.5),                          # p = 1/2
    (LN3, 1, math.log(4 / 3), -0.25), (LN3, 0, math.log(4), 0.75),        # p = 3/4
    (-LN3, 1, math.log(4), -0.75), (-LN3, 0, math.log(4 / 3), 0.25),      # p = 1/4
    (LN3, 0.5, LN2 + 0.5 * math.log(4 / 3), 0.25),                # -[log(3/4) + log(1/4)] / 2
])
def test_log_loss_by_hand(s, y, expected, ds):
    loss = LogLoss()
    assert loss.forward(np.array([s], float), np.array([y], float)) == pytest.approx(expected, rel=1e-14)
    assert loss.backward() == pytest.approx([ds], rel=1e-14)


def test_log_loss_is_the_mean_of_the_rows():
    loss = LogLoss()
    value = loss.forward(np.array([0, LN3, -LN3]), np.array([1.0, 1.0, 1.0]))
    assert value == pytest.approx((LN2 + math.log(4 / 3) + math.log(4)) / 3, rel=1e-14)
    assert_allclose(loss.backward(), [-0.5 / 3, -0.25 / 3, -0.75 / 3], rtol=1e-14)


def test_squared_loss_by_hand():
    loss = SquaredLoss()
    assert loss.forward(np.array([1.0, 5.0, -2.0]), np.array([1.5, 5.0, 1.0])) == pytest.approx((0.25 + 0 + 9) / 3)
    assert_allclose(loss.backward(), [-1 / 3, 0, -2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_at_enormous_logits(dtype):
    """From a probability rounded to 0 or 1 the loss would be infinite, and its gradient nan."""
    loss = LogLoss()
    s, y = np.array([800, 800, -800, -800], dtype), np.array([0, 1, 0, 1], dtype)
    assert loss.forward(s, y) == (800 + 0 + 0 + 800) / 4
    assert loss.backward().tolist() == [0.25, 0, 0, -0.25]


def test_log_loss_keeps_small_losses():
    assert LogLoss().forward(np.array([40.0]), np.array([1.0])) == pytest.approx(math.exp(-40), rel=1e-10)


def test_the_best_constant_logit_is_that_of_the_base_rate():
    """There the gradient over all rows is 0; with a sigmoid in the model too it would not be."""
    y = np.array([1.0, 0, 0, 0])
    loss = LogLoss()
    at_base_rate = loss.forward(np.full(4, -LN3), y)
    assert loss.backward().sum() == pytest.approx(0, abs=1e-15)
    assert at_base_rate == pytest.approx(-(math.log(1 / 4) + 3 * math.log(3 / 4)) / 4)
    for s in (-LN3 - 0.1, -LN3 + 0.1):
        assert loss.forward(np.full(4, s), y) > at_base_rate


@both
def test_a_loss_is_a_python_float(loss_class):
    s, y, c = (array.astype(np.float32) for array in batch(8))
    assert type(loss_class().forward(s, y)) is float
    assert type(loss_class().forward(s, y, c)) is float


@both
def test_names_for_the_history(loss_class):
    assert loss_class.name == {LogLoss: "log loss", SquaredLoss: "squared error"}[loss_class]


# ------------------------------------------------------------------------------- gradient, weights, parts of a batch


@both
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [None, 12])
@pytest.mark.parametrize("B", [1, 7])
def test_backward_is_the_derivative(loss_class, weighted, n_rows, B):
    s, y, c = batch(B)
    report = check_gradients(LossLayer(loss_class(), y, c if weighted else None, n_rows), s, seed=1000)
    assert report.passed, report


@both
def test_weights_of_1_change_nothing(loss_class):
    s, y, _ = batch(6)
    plain, weighted = loss_class(), loss_class()
    assert weighted.forward(s, y, np.ones(6)) == pytest.approx(plain.forward(s, y), rel=1e-14)
    assert_allclose(weighted.backward(), plain.backward(), rtol=1e-14)


@both
def test_a_row_of_weight_2_counts_as_two_rows(loss_class):
    s, y, _ = batch(4)
    weighted, repeated = loss_class(), loss_class()
    c = np.array([1.0, 2.0, 0.0, 1.0])
    rows = [0, 1, 1, 3]
    assert weighted.forward(s, y, c) == pytest.approx(repeated.forward(s[rows], y[rows]), rel=1e-14)
    ds, ds_repeated = weighted.backward(), repeated.backward()
    assert_allclose(ds, [ds_repeated[0], ds_repeated[1] + ds_repeated[2], 0, ds_repeated[3]], rtol=1e-14)


def test_weights_by_hand():
    loss = SquaredLoss()
    assert loss.forward(np.array([1.0, 3.0]), np.zeros(2), np.array([0.5, 4.0])) == (0.5 * 1 + 4 * 9) / 2
    assert loss.backward().tolist() == [0.5, 12]
    loss = LogLoss()
    assert loss.forward(np.zeros(2), np.zeros(2), np.array([0.5, 4.0])) == pytest.approx(4.5 * LN2 / 2)
    assert loss.backward().tolist() == [0.125, 1]


@given(st.integers(0, 2 ** 32 - 1), st.integers(1, 30), st.integers(0, 30), st.booleans(),
       st.sampled_from([LogLoss, SquaredLoss]))
def test_the_parts_of_a_batch_add_up_to_the_whole(seed, B, cut, weighted, loss_class):
    s, y, c = batch(B, seed)
    c = c if weighted else None
    whole = loss_class()
    value, ds = whole.forward(s, y, c), whole.backward()
    values, parts = [], []
    for rows in (slice(0, min(cut, B)), slice(min(cut, B), B)):   # the first or the second may be empty
        part = loss_class()
        values.append(part.forward(s[rows], y[rows], None if c is None else c[rows], n_rows=B))
        parts.append(part.backward())
    assert sum(values) == pytest.approx(value, rel=1e-12)
    assert_allclose(np.concatenate(parts), ds, rtol=1e-14)


@both
def test_backward_belongs_to_the_latest_forward(loss_class):
    s, y, c = batch(5)
    loss = loss_class()
    loss.forward(s, y)
    expected = loss.backward()
    loss.forward(s[:2], y[:2], c[:2], n_rows=9)
    loss.forward(s, y)
    assert_array_equal(loss.backward(), expected)
    assert_array_equal(loss.backward(), expected)


@both
def test_float32_stays_float32_and_inputs_as_they_are(loss_class):
    s, y, c = (array.astype(np.float32) for array in batch(6))
    before = s.copy(), y.copy(), c.copy()
    loss = loss_class()
    for weights in (None, c):
        loss.forward(s, y, weights, n_rows=10)
        assert loss.backward().dtype == np.float32
    for array, copy in zip((s, y, c), before, strict=True):
        assert_array_equal(array, copy)
