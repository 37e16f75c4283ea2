"""The optimizers: first steps by hand, rows of tables, learning rates by name."""

import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minictr.layers import RowGradient
from minictr.optim import FTRL, SGD, Adagrad, Adam, Grouped, Optimizer
from minictr.slots import Slots

OPTIMIZERS = {"sgd": SGD, "adagrad": Adagrad, "adam": Adam, "ftrl": FTRL}
all_of_them = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def steps(optimizer, gradients, start=1.0):
    """A parameter of one number after each of the gradients."""
    w, path = np.array([start]), []
    for g in gradients:
        optimizer.step({"w": w}, {"w": np.array([float(g)])})
        path.append(float(w[0]))
    return path


def row_gradient(ids, values):
    """Gradient of a table of which the rows ``ids`` were looked up, one value (or vector) each."""
    return RowGradient(Slots(np.reshape(ids, (-1, 1)), None, [0]), np.array(values))


# ------------------------------------------------------------------------------- by hand


def test_ftrl_by_hand():
    """Learning rate 1/2, beta 1, l1 = 1, gradients 3, -4, from w = 0.

        t   sigma = (sqrt(n + g^2) - sqrt(n)) / lr    z = z + g - sigma w     n     w
        1   (3 - 0) 2 = 6                             3                       9     -(3 - 1) / ((1 + 3) 2) = -1/4
        2   (5 - 3) 2 = 4                             3 - 4 + 4 / 4 = 0       25    0, as |z| <= 1
    """
    assert steps(FTRL(0.5, l1=1.0), [3, -4], start=0.0) == pytest.approx([-0.25, 0])
    # l2 = 3 in the denominator: -3 / (8 + 3)
    assert steps(FTRL(0.5, l2=3.0), [3], start=0.0) == pytest.approx([-3 / 11])
    # beta = 0: -3 / (3 * 2)
    assert steps(FTRL(0.5, beta=0.0), [3], start=0.0) == pytest.approx([-0.5])


@pytest.mark.parametrize("start", [2.0, -0.5])
def test_ftrl_goes_on_from_where_a_parameter_starts(start):
    """Without a gradient it stays there; with one, the closed form is that of a problem whose centre is the start."""
    assert steps(FTRL(0.5, l1=1.0, l2=2.0), [0], start=start) == pytest.approx([start])
    assert steps(FTRL(0.5), [1e-9], start=start) == pytest.approx([start])


def test_ftrl_without_l1_steps_like_adagrad_at_first():
    """From 0, with beta = 0: -g / (sqrt(g^2) / lr) = -lr, whatever the gradient."""
    assert steps(FTRL(0.1, beta=0.0), [7], start=0.0) == pytest.approx(
        steps(Adagrad(0.1, initial=0.0), [7], start=0.0))


def test_the_l1_of_ftrl_makes_weights_exactly_0():
    """Noise of mean 0 stays below l1, a constant pull does not."""
    rng = np.random.default_rng(0)
    w, optimizer = np.zeros(200), FTRL(0.1, l1=3.0)
    for _ in range(100):
        gradient = 0.1 * rng.standard_normal(200)
        gradient[:10] += 1
        optimizer.step({"w": w}, {"w": gradient})
    assert (w[:10] < -0.1).all() and (w[10:] == 0).mean() > 0.9


def test_grouped_optimizers_update_their_own_parameters():
    params = {name: np.array([1.0]) for name in ("wide.w", "wide.cross.w", "wider.w", "deep.W")}
    grads = {name: np.array([0.5]) for name in params}
    optimizer = Grouped({"wide": SGD(0.1), "wide.cross": SGD(1.0)}, rest=Adagrad(0.2, initial=0.0))
    optimizer.step(params, grads)
    assert {name: value.item() for name, value in params.items()} == pytest.approx(
        {"wide.w": 0.95, "wide.cross.w": 0.5, "wider.w": 0.8, "deep.W": 0.8})
    optimizer.step(params, grads)
    assert optimizer.t == 2 and set(optimizer.state) == set(params)
    assert params["deep.W"].item() == pytest.approx(0.8 - 0.2 / np.sqrt(2))      # G went on: 1/4 + 1/4


def test_sgd_by_hand():
    assert steps(SGD(0.1), [2, -1, 0]) == pytest.approx([0.8, 0.9, 0.9])


def test_adagrad_by_hand():
    # G = 9, 25, 169: steps 0.1 times 3/3, 4/5, 12/13
    path = steps(Adagrad(0.1, initial=0.0), [3, 4, 12])
    assert path == pytest.approx([0.9, 0.82, 0.82 - 0.1 * 12 / 13], rel=1e-9)


def test_adagrad_starts_at_its_initial_value():
    # G = 7 + 9 = 16, then 16 + 9 = 25
    assert steps(Adagrad(0.1, initial=7.0), [3, 3]) == pytest.approx([1 - 0.3 / 4, 1 - 0.3 / 4 - 0.3 / 5], rel=1e-9)


def test_the_small_numbers_in_adagrads_root():
    # G = 1e-8 (the authors' start) + 1e-8: 0.1 * 1e-4 / sqrt(2e-8)
    assert steps(Adagrad(0.1), [1e-4]) == pytest.approx([1 - 0.1 / math.sqrt(2)], rel=1e-5)
    # sqrt(G) = 1e-10, to which eps = 1e-10 is added: half a step
    assert steps(Adagrad(0.1, initial=0.0), [1e-10]) == pytest.approx([1 - 0.1 / 2], rel=1e-9)


def test_adagrad_without_any_gradient_stays_where_it_is():
    assert steps(Adagrad(0.1, initial=0.0), [0, 0]) == [1, 1]


def test_the_first_three_steps_of_adam_by_hand():
    """beta1 = 0.9, beta2 = 0.999, learning rate 0.1, gradients 2, -1, 1/2.

        t   m = .9 m + .1 g        v = .999 v + .001 g^2           m^ = m / (1 - .9^t)    v^ = v / (1 - .999^t)
        1   .2                     .004                            .2 / .1 = 2            .004 / .001 = 4
        2   .18 - .1 = .08         .003996 + .001 = .004996        .08 / .19              .004996 / .001999
        3   .072 + .05 = .122      .004991004 + .00025             .122 / .271            .005241004 / .002997001

    The steps are 0.1 m^ / sqrt(v^): 0.1, then 0.1 * 0.4210526 / 1.5809015, then 0.1 * 0.4501845 / 1.3224029.
    """
    assert steps(Adam(0.1), [2, -1, 0.5]) == pytest.approx([0.9, 0.87336630, 0.83932338], abs=1e-8)


def test_the_optionsof_adam_reach_its_rule():
    # m = .5 g, v = .1 g^2 at t = 1; corrections .5 and .1; then eps = 2 in the denominator: 0.1 * 4 / (4 + 2)
    assert steps(Adam(0.1, beta1=0.5, beta2=0.9, eps=2.0), [4]) == pytest.approx([1 - 0.1 * 4 / 6])
    # t = 2, g = 0: m = 1, m^ = 1 / .75; v = 1.44, v^ = 1.44 / .19
    assert steps(Adam(0.1, beta1=0.5, beta2=0.9, eps=0.0), [4, 0])[1] == pytest.approx(
        0.9 - 0.1 * (1 / 0.75) / math.sqrt(1.44 / 0.19))


@pytest.mark.parametrize("g", [3.0, -0.002])
def test_the_steps_of_adam_at_a_constant_gradient(g):
    """They are lr * sign(g) at every t, as m^ = g and v^ = g^2 exactly.

    Dividing by 1 - beta in place of 1 - beta^t makes them 2.06 times as long at t = 10, 0.32 times at the end.
    """
    path = [0.0, *steps(Adam(0.01), [g] * 1000, start=0.0)]
    for t in (1, 2, 10, 1000):
        assert path[t] - path[t - 1] == pytest.approx(-0.01 * math.copysign(1, g), rel=1e-4)


@all_of_them
def test_a_step_goes_downhill_on_a_parabola(optimizer):
    w = np.array([3.0, -2.0])
    step = optimizer(0.1)
    for _ in range(2000):
        step.step({"w": w}, {"w": 2 * w})
    assert np.abs(w).max() < 1e-2


def test_adam_starts_with_the_settings_of_its_paper():
    adam = Adam()
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.eps) == (0.001, 0.9, 0.999, 1e-8)


# ------------------------------------------------------------------------------- arrays in place


@all_of_them
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_changed_in_place_in_their_own_dtype(optimizer, dtype):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((3, 2)).astype(dtype), "V": rng.standard_normal((5, 2)).astype(dtype)}
    arrays, views = dict(params), {name: array[1:3] for name, array in params.items()}
    before = {name: view.copy() for name, view in views.items()}
    step, state_arrays = optimizer(0.1), None
    for _ in range(3):
        step.step(params, {"W": np.ones((3, 2), dtype), "V": row_gradient([1, 2, 1], np.ones((3, 2), dtype))})
        now = {(name, key): array for name, state in step.state.items() for key, array in state.items()}
        state_arrays = state_arrays or now
        assert all(state_arrays[key] is array and array.dtype == dtype for key, array in now.items())
    for name, array in params.items():
        assert array is arrays[name] and array.dtype == dtype
        assert (views[name] != before[name]).all(), name


@all_of_them
def test_gradients_are_left_as_they_are(optimizer):
    dense, sparse = np.array([1.0, 2.0]), row_gradient([1, 1], [3.0, 4.0])
    step = optimizer(0.1)
    for _ in range(2):
        step.step({"w": np.zeros(2), "v": np.zeros(3)}, {"w": dense, "v": sparse})
    assert dense.tolist() == [1, 2] and sparse.values.tolist() == [3, 4]


@all_of_them
def test_a_parameter_without_a_gradient_is_left_alone(optimizer):
    params = {"w": np.ones(2), "frozen": np.ones(2)}
    step = optimizer(0.1)
    step.step(params, {"w": np.ones(2)})
    assert params["frozen"].tolist() == [1, 1] and (params["w"] < 1).all()
    assert "frozen" not in step.state


@all_of_them
def test_each_parameter_has_a_state_of_its_own(optimizer):
    params = {"a": np.ones(1), "b": np.ones(1)}
    step = optimizer(0.1)
    for g in (2.0, -1.0, 0.5):
        step.step(params, {"a": np.array([g]), "b": np.array([10 - g])})
    assert params["a"] == pytest.approx(steps(optimizer(0.1), [2, -1, 0.5])[-1:])
    assert params["b"] == pytest.approx(steps(optimizer(0.1), [8, 11, 9.5])[-1:])


# ------------------------------------------------------------------------------- rows of tables


@all_of_them
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)], ids=str)
def test_lazy_is_dense_on_rows_that_every_step_touches(optimizer, shape):
    rng = np.random.default_rng(0)
    dense, table = np.ones(shape), np.ones(shape)
    textbook, lazy = optimizer(0.1), optimizer(0.1, lazy=True)
    for _ in range(5):
        values = rng.standard_normal((9, *shape[1:]))
        ids = [*rng.permutation(6), *rng.integers(0, 6, 3)]       # every row, some of them twice
        gradient = np.zeros(shape)
        np.add.at(gradient, ids, values)
        textbook.step({"V": dense}, {"V": gradient})
        lazy.step({"V": table}, {"V": row_gradient(ids, values)})
        assert_allclose(table, dense, rtol=1e-12)


@all_of_them
def test_lazy_leaves_the_other_rows_and_their_state_alone(optimizer):
    table = np.arange(1.0, 6.0)
    step = optimizer(0.1, lazy=True)
    step.step({"w": table}, {"w": row_gradient([0, 1, 2, 3, 4], np.ones(5))})
    before, state = table.copy(), {key: array.copy() for key, array in step.state["w"].items()}
    step.step({"w": table}, {"w": row_gradient([1, 3, 1], np.ones(3))})
    others = [0, 2, 4]
    assert_array_equal(table[others], before[others])
    for key, array in state.items():
        assert_array_equal(step.state["w"][key][others], array[others])
        assert (step.state["w"][key][[1, 3]] != array[[1, 3]]).all()
    assert (table[[1, 3]] != before[[1, 3]]).all()


@all_of_them
def test_lazy_is_the_default(optimizer):
    assert optimizer(0.1).lazy is True


def test_textbook_adam_moves_rows_that_were_touched_before():
    """Their moments decay and carry on: two steps with gradients 1 and 0, by hand."""
    table = np.ones(3)
    step = Adam(0.1, lazy=False)
    step.step({"w": table}, {"w": row_gradient([0, 1], np.ones(2))})
    assert table == pytest.approx([0.9, 0.9, 1])
    step.step({"w": table}, {"w": row_gradient([1], np.ones(1))})
    moved = 0.1 * (0.09 / 0.19) / math.sqrt(0.000999 / 0.001999)
    assert table == pytest.approx([0.9 - moved, 0.8, 1])
    assert table[0] == pytest.approx(steps(Adam(0.1), [1, 0])[-1])


@pytest.mark.parametrize("optimizer", [SGD, Adagrad, FTRL])
def test_lazy_makes_no_difference_to_sgd_adagrad_and_ftrl(optimizer):
    rng = np.random.default_rng(0)
    tables = {lazy: np.ones((6, 2)) for lazy in (True, False)}
    by_lazy = {lazy: optimizer(0.1, lazy=lazy) for lazy in tables}
    for _ in range(5):
        ids, values = rng.integers(0, 6, 4), rng.standard_normal((4, 2))
        for lazy, table in tables.items():
            by_lazy[lazy].step({"V": table}, {"V": row_gradient(ids, values)})
    assert_allclose(tables[True], tables[False], rtol=1e-12)


@all_of_them
@pytest.mark.parametrize("lazy", [True, False])
def test_a_repeated_id_is_one_step_by_the_sum_of_its_gradients(optimizer, lazy):
    table = np.ones(3)
    optimizer(0.1, lazy=lazy).step({"w": table}, {"w": row_gradient([2, 2, 2], [1.0, 2.0, 4.0])})
    assert table == pytest.approx([1, 1, steps(optimizer(0.1), [7])[0]])


def test_lazy_adam_counts_the_steps_of_the_whole_model():
    """A row first touched at t = 5: m = .1 g, v = .001 g^2, corrected with beta^5, as torch's SparseAdam does."""
    table = np.ones(2)
    step = Adam(0.1, lazy=True)
    for _ in range(4):
        step.step({"w": table}, {"w": row_gradient([0], [1.0])})
    step.step({"w": table}, {"w": row_gradient([1], [3.0])})
    expected = 0.1 * (0.3 / (1 - 0.9 ** 5)) / math.sqrt(0.009 / (1 - 0.999 ** 5))
    assert table[1] == pytest.approx(1 - expected, abs=1e-8)


@examples(50)
@given(st.data(), st.sampled_from(list(OPTIMIZERS.values())), st.integers(0, 2 ** 32 - 1))
def test_lazy_is_textbook_for_each_row_on_the_steps_that_touch_it(data, optimizer, seed):
    """For rules without a count of steps: SGD, Adagrad; for Adam with its corrections switched off by betas of 0."""
    rng = np.random.default_rng(seed)
    options = {"beta1": 0.0, "beta2": 0.0} if optimizer is Adam else {}
    table, alone = np.ones(4), np.ones(4)
    lazy, by_row = optimizer(0.1, **options), [optimizer(0.1, **options) for _ in range(4)]
    for _ in range(4):
        ids = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
        values = rng.standard_normal(len(ids))
        lazy.step({"w": table}, {"w": row_gradient(ids, values)})
        for row in set(ids):
            g = sum(value for i, value in zip(ids, values, strict=True) if i == row)
            by_row[row].step({"w": alone[row:row + 1]}, {"w": np.array([g])})
    assert_allclose(table, alone, rtol=1e-10)


# ------------------------------------------------------------------------------- learning rates by name


def test_the_longest_matching_name_sets_the_learning_rate():
    step = Optimizer(0.1, lr_multipliers={"attention": 10, "attention.W": 3, "mlp.dense_1": 0.5, "linear.w": 7})
    assert {name: step.multiplier(name) for name in (
        "attention.W", "attention.b", "attention_2.W", "mlp.dense_1.b", "mlp.dense_10.b", "mlp.out.w", "linear.w",
        "linear.w0", "embedding.V")} == {
        "attention.W": 3, "attention.b": 10, "attention_2.W": 1, "mlp.dense_1.b": 0.5, "mlp.dense_10.b": 1,
        "mlp.out.w": 1, "linear.w": 7, "linear.w0": 1, "embedding.V": 1}


@all_of_them
@pytest.mark.parametrize("lazy", [True, False])
def test_a_multiplier_is_a_factor_on_the_learning_rate(optimizer, lazy):
    params = {"a.W": np.ones(1), "b.W": np.ones(1), "a.V": np.ones(2)}
    step = optimizer(0.01, lr_multipliers={"a": 10, "a.V": 4}, lazy=lazy)
    for g in (2.0, -1.0, 0.5):
        step.step(params, {"a.W": np.array([g]), "b.W": np.array([g]), "a.V": row_gradient([1], [g])})
    assert params["a.W"] == pytest.approx(steps(optimizer(0.1), [2, -1, 0.5])[-1:])
    assert params["b.W"] == pytest.approx(steps(optimizer(0.01), [2, -1, 0.5])[-1:])
    assert params["a.V"][1] == pytest.approx(steps(optimizer(0.04), [2, -1, 0.5])[-1])


def test_a_multiplier_of_0_freezes():
    w = np.ones(2)
    Adam(0.1, lr_multipliers={"w": 0}).step({"w": w}, {"w": np.ones(2)})
    assert w.tolist() == [1, 1]


def test_the_dict_of_multipliers_is_copied():
    multipliers = {"w": 2.0}
    step = SGD(0.1, lr_multipliers=multipliers)
    multipliers["w"] = 100.0
    w = np.ones(1)
    step.step({"w": w}, {"w": np.ones(1)})
    assert w == pytest.approx([0.8])
