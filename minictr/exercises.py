"""Compare an answer to an exercise with its target, and say what is off: what the tutorials' check cells call.

A model made of one's own functions is trained beside the library's by ``train_beside``.
"""

import os
import traceback

import numpy as np

from .gradcheck import check_gradients

SHOWN = 12              # larger arrays are not printed whole


def check(question, yours, target, *, mistakes=None, tolerance=1e-6):
    """Print whether ``yours`` equals ``target``; if not, show both and say in what way they differ.

    It does not raise over a wrong answer, so that a notebook with open exercises runs to its end; only where nbgrader
    grades or validates a notebook (it sets NBGRADER_EXECUTION), as a cell that does not fail gets all its points there.

    Parameters
    ----------
    question : what was asked, with which the printed line starts.
    yours : the answer: an array, or anything that numpy.asarray turns into numbers or booleans. None is "not yet".
    target : what it should be, in the same form.
    mistakes : None, or a dict of text to array: what a known mistake gives, named by the mistake. Where yours
        equals one of these, the text is printed.
    tolerance : largest |yours - target| that counts as equal, as a share of max(1e-3, the largest |target|).

    Returns: bool, True if right.
    Raises: ValueError if the target has no entry, or is not finite: nothing could be compared with it. AssertionError
    over a wrong answer, under nbgrader only.

    >>> check("two times three", 2 * 3, 6)
    two times three: right.
    True
    >>> check("its derivative", [-1.0, -2.0], [1.0, 2.0])
    its derivative: not yet. Yours is the target with the opposite sign.
      yours   [-1. -2.]
      target  [1. 2.]
    False
    """
    target = np.asarray(target)
    if target.size == 0 or not np.isfinite(_as_floats(target)).all():
        raise ValueError(f"the target of {question!r} must have entries, all finite; got {target!r}")
    problem = _problem(yours, target, mistakes or {}, tolerance)
    if problem is None:
        print(f"{question}: right.")
        return True
    print(f"{question}: not yet. {problem}")
    if yours is not None and _other_parts(yours) is None:
        _print_both(yours, target, tolerance)
    if "NBGRADER_EXECUTION" in os.environ:
        raise AssertionError(f"{question}: not yet. {problem}")
    return False


def several(answer, *names):
    """Return the parts of an answer that is to have several, in a list; None for each where there is no answer.

    A tuple, a list or an array with as many parts will do. If it is none of these, a line says what was expected, and
    of each part ``check`` then says that the answer does not have it.

    >>> several((1, 2), "dW", "db")
    [1, 2]
    >>> dW, db = several([1, 2, 3], "dW", "db")
    2 parts were expected: dW, db. End with: return dW, db
    >>> check("dW", dW, 1)
    dW: not yet. Your answer is not of 2 parts.
    False
    """
    if isinstance(answer, (tuple, list, np.ndarray)) and getattr(answer, "ndim", 1) and len(answer) == len(names):
        return list(answer)
    if answer is None:
        return [None] * len(names)
    print(f"{len(names)} parts were expected: {', '.join(names)}. End with: return {', '.join(names)}")
    return [_OtherParts(len(names))] * len(names)


class _OtherParts:
    """Stands for a part of an answer that has another number of parts than was asked for."""

    def __init__(self, expected):
        self.expected = expected


def _other_parts(yours):
    """The part that stands in an answer, or in a list of parts, for what it does not have; None if it has all."""
    parts = yours if isinstance(yours, list) else [yours]
    return next((part for part in parts if isinstance(part, _OtherParts)), None)


def train_beside(question, yours, library, X, y, *, tolerance=1e-6):
    """Fit a model made of your functions and the library's to the same rows, and say whether they learn the same.

    Prints the training loss of both after each epoch, and checks your model's gradients: with Adam, a gradient that is
    twice too large gives the same curve. Where something is off, the gradient check's report follows: it names the
    arrays in which ``backward`` is wrong; if it passes, ``forward`` is another one, or the two start from different
    weights. Where yours stops with an error, such as that of an exercise which is still open, the error is printed, and
    nothing is raised.

    Parameters
    ----------
    question : what was built, with which the printed line starts.
    yours, library : two models, not fitted yet, with the same settings, seed and number of epochs, and dtype="float64".
    X, y : the rows, as ``fit`` takes them.
    tolerance : largest difference of two losses that counts as equal, as a share of the largest loss.

    Returns: bool, True if the losses agree after every epoch, and the gradient check passes.
    Raises: ValueError if a model computes in another dtype; what the library's own ``fit`` raises.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(200, seed=0)
    >>> settings = {"embedding_dim": 2, "epochs": 2, "dtype": "float64"}
    >>> train_beside("my FM", FM(**settings), FM(**settings), clicks.X, clicks.y)
    my FM: the loss after each epoch
      yours    0.588181  0.585075
      library  0.588181  0.585075
    my FM: right.
    True
    """
    for name, model in (("yours", yours), ("library", library)):
        if np.dtype(model.dtype) != np.float64:
            raise ValueError(f'{name} must be a model with dtype="float64", so that rounding cannot hide a difference; '
                             f"got dtype={model.dtype!r}")
    library.fit(X, y)
    try:
        yours.fit(X, y)
    except Exception as error:
        print(f"{question}: not yet. Training yours stops with {type(error).__name__}: {error}{_place(error)}\n"
              "Is an exercise still open? yours.fit(X, y) shows the whole way there.")
        return False
    curves = [np.array(model.history_["train_loss"]) for model in (yours, library)]
    print(f"{question}: the loss after each epoch")
    for name, curve in zip(("yours", "library"), curves, strict=True):
        print(f"  {name:<9}" + "  ".join(f"{loss:.6f}" for loss in curve))
    slots, _, _ = yours.encode(X[:8], y[:8])
    report = check_gradients(yours, slots, redraw=0.5)
    same = len(curves[0]) == len(curves[1]) and _equal(*curves, tolerance)
    if same and report.passed:
        print(f"{question}: right.")
        return True
    print(f"{question}: not yet. The curves {'agree, the gradients do not' if same else 'differ'}.\n{report}")
    return False


def _place(error):
    """The innermost function outside the library in which an error arose, as words."""
    libraries = tuple(os.path.dirname(module) + os.sep for module in (__file__, np.__file__))
    outside = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(libraries)]
    return f"\n(in {outside[-1].name}: {outside[-1].line})" if outside and outside[-1].line else ""


def _problem(yours, target, mistakes, tolerance):
    """What is off, in a sentence; None if nothing is."""
    if yours is None:
        return "There is no answer so far (None): fill in the cell above and run it, then this one."
    if (other := _other_parts(yours)) is not None:
        return f"Your answer is not of {other.expected} parts."
    try:
        yours = _as_floats(np.asarray(yours))
    except (TypeError, ValueError):
        return f"Numbers were expected, of shape {target.shape}; yours is a {type(yours).__name__}."
    target = _as_floats(target)
    if yours.shape == target.shape and _equal(yours, target, tolerance):
        return None
    for name, wrong in mistakes.items():
        wrong = _as_floats(np.asarray(wrong))
        if wrong.shape == yours.shape and _equal(yours, wrong, tolerance):
            return name
    if yours.shape != target.shape:
        return _shapes_differ(yours, target, tolerance)
    if not np.isfinite(yours).all():
        return f"{np.sum(~np.isfinite(yours))} of {yours.size} entries are not finite numbers."
    return _values_differ(yours, target, tolerance)


def _shapes_differ(yours, target, tolerance):
    text = f"Yours has shape {yours.shape}, the target {target.shape}."
    if yours.T.shape == target.shape and _equal(yours.T, target, tolerance):
        return text + " Transposed, it is right."
    if yours.size == target.size and _equal(yours.reshape(target.shape), target, tolerance):
        return text + " The numbers are right: only the shape is not."
    return text


def _values_differ(yours, target, tolerance):
    if not yours.any():
        return "Yours is zero everywhere."
    if _equal(-yours, target, tolerance):
        return "Yours is the target with the opposite sign."
    square = (target * target).sum()
    factor = (yours * target).sum() / square if square > 1e-12 else 0
    # any single number is some multiple of another: there only 2 and 1/2 say something
    if ((yours.size > 1 and abs(factor) > 1e-6) or factor in (2, 0.5)) and _equal(yours / factor, target, tolerance):
        return f"Yours is {factor:.4g} times the target: a factor is missing, or one too many."
    if yours.size == 1:
        return f"Yours is off by {(yours - target).item():.4g}."
    if _equal(yours - (yours - target).mean(), target, tolerance):
        off = (yours - target).mean()
        return f"Yours is the target {'plus' if off > 0 else 'minus'} {abs(off):.4g} everywhere."
    if yours.ndim >= 2 and yours.shape[-1] == yours.shape[-2] and _equal(yours.swapaxes(-1, -2), target, tolerance):
        return "Yours is right with its last two axes swapped."
    off = np.abs(yours - target) > tolerance * _scale(target)
    first = _first_difference(yours, target, tolerance)
    return f"{off.sum()} of {yours.size} entries differ; at index {first} by {yours[first] - target[first]:.3g}."


def _first_difference(yours, target, tolerance):
    """The index of the first entry that is not equal, as a tuple."""
    off = ~(np.abs(yours - target) <= tolerance * _scale(target))             # this way round nan is a difference
    return tuple(int(i) for i in np.argwhere(off)[0])


def _as_floats(array):
    return array.astype(np.float64)


def _equal(a, b, tolerance):
    with np.errstate(invalid="ignore"):                           # inf - inf is nan, which equals nothing
        return bool((np.abs(a - b) <= tolerance * _scale(b)).all())


def _scale(target):
    return max(1e-3, float(np.abs(target).max()))


def _print_both(yours, target, tolerance):
    """Both arrays, or of large ones the row with the first difference; the first row, if the shapes differ."""
    try:
        yours = np.asarray(yours)
        floats = _as_floats(yours), _as_floats(target)
    except (TypeError, ValueError):                               # text, or lists of different lengths
        yours, floats = np.array(repr(yours)), None
    row = ()
    if floats and yours.shape == target.shape and target.size > SHOWN:
        row = _first_difference(*floats, tolerance)[:-1]
    shown = {}
    for name, array in (("yours", yours), ("target", target)):
        place = row if row or array.size <= SHOWN else (0,) * (array.ndim - 1)
        shown[f"{name}{list(place)}" if place else name] = array[place]
    width = max(map(len, shown))
    with np.printoptions(precision=6, suppress=True, threshold=SHOWN, edgeitems=3):
        for label, array in shown.items():
            print(f"  {label:<{width}}  " + str(array).replace("\n", "\n" + " " * (width + 4)))
