"""The optimizers' fast updates: in parts, what the optimizers do themselves; and numbers too small to keep become 0."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from minictr.layers import RowGradient
from minictr.optim import FTRL, SGD, Adagrad, Adam, Grouped
from minictr.slots import Slots
from minictr.training import fast_updates
from minictr.training.fast_updates import FLUSH_EVERY, TINY, update_in_parts


def row_gradient(ids, values):
    """Gradient of a table of which the rows ``ids`` were looked up, one value (or vector) each."""
    return RowGradient(Slots(np.reshape(ids, (-1, 1)), None, [0]), np.array(values))


def grouped(learning_rate, lr_multipliers, lazy):
    wide = FTRL(learning_rate, l1=0.1, lr_multipliers=lr_multipliers, lazy=lazy)
    return Grouped({"V": wide}, rest=Adam(learning_rate, lr_multipliers=lr_multipliers, lazy=lazy))


@pytest.mark.parametrize("optimizer", [SGD, Adagrad, Adam, FTRL, grouped], ids=lambda made: made.__name__)
@pytest.mark.parametrize("lazy", [True, False])
def test_an_update_in_parts_is_the_optimizers_own(optimizer, lazy, monkeypatch):
    monkeypatch.setattr(fast_updates, "PART_NUMBERS", 5)
    rng = np.random.default_rng(0)
    start = {"W": rng.standard_normal((4, 3)), "V": rng.standard_normal((9, 2)), "w0": rng.standard_normal(1)}
    one, other = ({name: array.copy() for name, array in start.items()} for _ in range(2))
    plain, fast = (optimizer(0.1, lr_multipliers={"V": 3}, lazy=lazy) for _ in range(2))
    for _ in range(5):
        slots = Slots(rng.integers(0, 9, (4, 2)), None, [0, 1])
        grads = {"W": rng.standard_normal((4, 3)), "w0": rng.standard_normal(1),
                 "V": RowGradient(slots, rng.standard_normal((8, 2)))}
        plain.step(one, grads)
        update_in_parts(fast, other, grads)
    assert plain.t == fast.t == 5
    for name in start:
        assert_allclose(other[name], one[name], rtol=1e-12, atol=1e-14, err_msg=name)
        for key, array in plain.state[name].items():
            assert_allclose(fast.state[name][key], array, rtol=1e-12, atol=1e-14, err_msg=f"{name} {key}")


# ---- numbers too small to keep -----------------------------------------------------------------------------

@pytest.mark.parametrize("gradient", [np.zeros(3, np.float32), row_gradient([0, 1, 2], np.zeros(3, np.float32))],
                         ids=["array", "rows"])
def test_what_decays_becomes_exactly_0_before_it_is_denormal(gradient):
    smallest = np.finfo(np.float32).tiny                          # below it float32 numbers are denormal, and slow
    w = np.array([1.0, 0.0, -1.0], np.float32)
    step = Adam(0.001)
    update_in_parts(step, {"w": w}, {"w": np.array([1.0, 0.0, -1e-3], np.float32)})
    m = step.state["w"]["m"]
    for _ in range(1000):                                         # 0.9^1000 = 1e-46
        update_in_parts(step, {"w": w}, {"w": gradient})
        assert ((m == 0) | (np.abs(m) >= smallest)).all()
    assert m.tolist() == [0, 0, 0]
    assert (step.state["w"]["v"][[0, 2]] > TINY).all()            # 0.999^1000 = 0.37: far above, kept
    assert step.state["w"]["v"][0] == pytest.approx(0.001 * 0.999 ** 1000, rel=1e-3)


@pytest.mark.parametrize("period", [2, 3, 64, 65, 640])
def test_rows_touched_periodically_are_flushed_too(period):
    """Batches in a fixed order touch a row at every second step, say, and so never at a step divisible by 64."""
    w = np.ones(1, np.float32)
    step = Adam(0.001)
    update_in_parts(step, {"w": w}, {"w": row_gradient([0], np.ones(1, np.float32))})
    for _ in range(1500):                                         # m < TINY after 650 of them
        step.t += period - 1                                      # the other batches
        update_in_parts(step, {"w": w}, {"w": row_gradient([0], np.zeros(1, np.float32))})
    assert step.state["w"]["m"][0] == 0


def test_a_weight_that_decays_becomes_exactly_0():
    w = np.array([1.0, 1.0], np.float32)
    step = SGD(0.5)
    for _ in range(2 * FLUSH_EVERY):                              # weight decay alone: half of it at every step
        update_in_parts(step, {"w": w}, {"w": np.array([w[0], 0], np.float32)})
    assert w.tolist() == [0, 1]


@pytest.mark.parametrize("sign", [1, -1])
def test_values_above_the_limit_stay(sign):
    kept, gone = sign * 2 * TINY, sign * TINY / 2
    w = np.array([kept, gone, 1e-20, 0.5])
    step = SGD(0.1)
    for t in range(1, FLUSH_EVERY + 1):
        update_in_parts(step, {"w": w}, {"w": np.zeros(4)})
        assert w.tolist() == ([kept, gone, 1e-20, 0.5] if t < FLUSH_EVERY else [kept, 0, 1e-20, 0.5])


def test_flushing_touches_only_the_rows_of_the_step():
    table = np.full(3, TINY / 2)
    step = SGD(0.1)
    for _ in range(FLUSH_EVERY):
        update_in_parts(step, {"w": table}, {"w": row_gradient([1], [0.0])})
    assert table.tolist() == [TINY / 2, 0, TINY / 2]
