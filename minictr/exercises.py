"""Compare an answer to an exercise with its target, and say what is off: what the tutorials' check cells call."""

import numpy as np

SHOWN = 12              # larger arrays are not printed whole


def check(question, yours, target, *, mistakes=None, tolerance=1e-6):
    """Print whether ``yours`` equals ``target``; if not, show both and say in what way they differ.

    It never raises over a wrong answer, so that a notebook with open exercises runs to its end.

    Parameters
    ----------
    question : what was asked, with which the printed line starts.
    yours : the answer: an array, or anything that numpy.asarray turns into numbers or booleans. None is "not yet".
    target : what it should be, in the same form.
    mistakes : None, or a dict of text to array: what a known mistake gives, named by the mistake. Where yours
        equals one of these, the text is printed.
    tolerance : largest |yours - target| that counts as equal, as a share of max(1e-3, the largest |target|).

    Returns: bool, True if right.
    Raises: ValueError if the target has no entry, or is not finite: nothing could be compared with it.

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
    if yours is not None:
        _print_both(yours, target, tolerance)
    return False


def _problem(yours, target, mistakes, tolerance):
    """What is off, in a sentence; None if nothing is."""
    if yours is None:
        return "There is no answer so far (None): fill in the cell above and run it, then this one."
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
