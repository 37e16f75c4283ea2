"""The check of an exercise says right only of what is right, and of the rest what is off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minictr import FM, datasets
from minictr.exercises import check, several, train_beside

TARGET = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])


@pytest.mark.parametrize("yours", [TARGET, TARGET.tolist(), TARGET.astype(np.float32), TARGET + 1e-9])
def test_right(yours, capsys):
    assert check("a table", yours, TARGET) is True
    assert capsys.readouterr().out == "a table: right.\n"


@pytest.mark.parametrize("yours, said", [
    (None, "no answer so far"),
    ("text", "Numbers were expected"),
    ([[1], [2, 3]], "Numbers were expected"),
    (TARGET[:1], "shape (1, 3), the target (2, 3)"),
    (TARGET.T, "Transposed, it is right"),
    (TARGET.ravel(), "only the shape is not"),
    (TARGET * np.nan, "6 of 6 entries are not finite"),
    (0 * TARGET, "zero everywhere"),
    (-TARGET, "opposite sign"),
    (TARGET / 2, "0.5 times the target"),
    (TARGET + 7, "plus 7 everywhere"),
    (TARGET - 0.5, "minus 0.5 everywhere"),
    (TARGET + np.eye(2, 3), "2 of 6 entries differ; at index (0, 0) by 1."),
])
def test_wrong(yours, said, capsys):
    assert check("a table", yours, TARGET) is False
    out = capsys.readouterr().out
    assert out.startswith("a table: not yet. ") and said in out
    assert ("\n  target  " in out) == (yours is not None)


def test_swapped_axes(capsys):
    target = np.arange(8.0).reshape(2, 2, 2)
    assert not check("heads", target.swapaxes(1, 2), target)
    assert "last two axes swapped" in capsys.readouterr().out


def test_a_single_number(capsys):
    assert check("a number", 0.5, 0.5) and not check("a number", 0.75, 0.5)
    assert "off by 0.25" in capsys.readouterr().out               # 1.5 times: so is any number, some multiple
    assert not check("a number", 1.0, 0.5)
    assert "2 times the target" in capsys.readouterr().out
    assert not check("a number", 1.0, 0.0)
    assert "off by 1" in capsys.readouterr().out


def test_of_large_arrays_the_row_that_differs_is_shown(capsys):
    target = np.zeros((5, 4, 3))
    yours = target.copy()
    yours[3, 2, 1] = 7
    assert not check("large", yours, target)
    assert capsys.readouterr().out.splitlines()[1:] == ["  yours[3, 2]   [0. 7. 0.]", "  target[3, 2]  [0. 0. 0.]"]
    assert not check("large and of another shape", yours[:, :, :2], target)
    assert len(capsys.readouterr().out.splitlines()) < 30


def test_truths_are_compared_too():
    assert check("what it catches", [True, False], [True, False])
    assert not check("what it catches", [False, False], [True, False])


def test_a_known_mistake_is_named(capsys):
    assert not check("a sum", TARGET.sum(0), TARGET[0], mistakes={"You summed over the rows.": TARGET.sum(0)})
    assert "not yet. You summed over the rows." in capsys.readouterr().out
    assert not check("a sum", TARGET.sum(1), TARGET[0], mistakes={"You summed over the columns.": TARGET.sum(1)})
    assert "not yet. You summed over the columns." in capsys.readouterr().out         # also where the shape is wrong


def test_infinite_answers_and_mistakes_give_no_warning(capsys):
    assert not check("a log", [-np.inf, 1.0], [0.0, 1.0], mistakes={"The log of 0.": [-np.inf, 2.0]})
    assert "1 of 2 entries are not finite" in capsys.readouterr().out


@pytest.mark.parametrize("target", [[], [1.0, np.nan]])
def test_a_target_that_nothing_can_equal(target):
    with pytest.raises(ValueError, match="must have entries"):
        check("nothing", target, target)


numbers = arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(-100, 100))


@given(numbers, st.data())
def test_one_wrong_entry_is_never_right(target, data):
    index = data.draw(st.tuples(*(st.integers(0, n - 1) for n in target.shape)))
    wrong = target.copy()
    wrong[index] += 0.01 * max(1, np.abs(target).max())
    assert check("any", target.copy(), target)
    assert not check("any", wrong, target)


def test_nbgrader_gets_an_error_for_a_wrong_answer(monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert check("two", 2, 2) is True
    with pytest.raises(AssertionError, match="two: not yet"):
        check("two", 3, 2)


class Shifted(FM):
    """An FM whose forward belongs to another model; its backward is right."""

    def forward(self, slots):
        return super().forward(slots) + 0.5


class Forgetful(FM):
    """An FM whose backward has lost a factor."""

    def backward(self, ds):
        super().backward(2 * ds)


class Open(FM):
    """An FM with an exercise that is open."""

    def forward(self, slots):
        return None


class Other(FM):
    """An FM under another name."""


@pytest.mark.parametrize("cls, right, said", [
    (Other, True, "my FM: right."),
    (Shifted, False, "gradient check passed"),
    (Forgetful, False, "The curves agree, the gradients do not.\ngradient check FAILED"),      # Adam divides the 2 out
    (Open, False, "Training yours stops with"),
])
def test_a_model_of_ones_own_beside_the_library(cls, right, said, capsys):
    clicks = datasets.make_clicks(200, seed=0)
    settings = {"embedding_dim": 2, "epochs": 2, "dtype": "float64"}
    assert train_beside("my FM", cls(**settings), FM(**settings), clicks.X, clicks.y) is right
    out = capsys.readouterr().out
    assert said in out and ("not yet" in out) == (not right)


def test_training_beside_needs_float64():
    clicks = datasets.make_clicks(20, seed=0)
    with pytest.raises(ValueError, match="library must be a model with dtype"):
        train_beside("my FM", FM(dtype="float64"), FM(), clicks.X, clicks.y)


@pytest.mark.parametrize("answer", [(TARGET, 1), [TARGET, 1], np.array([3.0, 1.0])])
def test_several_parts(answer, capsys):
    first, second = several(answer, "a", "b")
    assert np.array_equal(first, answer[0]) and second == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("answer", [3, TARGET[:, :1].T, (1,), (1, 2, 3), np.array(2.0)])
def test_another_number_of_parts(answer, capsys):
    parts = several(answer, "a", "b")
    assert len(parts) == 2
    assert "2 parts were expected: a, b" in capsys.readouterr().out
    for part in (parts[1], parts):                                # each alone, and all of them as one answer
        assert not check("b", part, [1.0, 2.0])
        assert capsys.readouterr().out == "b: not yet. Your answer is not of 2 parts.\n"  # not: there is no answer


def test_no_answer_has_no_parts(capsys):
    assert several(None, "a", "b") == [None, None]
    assert capsys.readouterr().out == ""
