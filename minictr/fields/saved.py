"""Checks of a saved state: an encoder is made from it only when all of it is as it was left."""

import numpy as np


class Below:
    """The arrays whose names begin with a prefix, by the rest of the name; each is read when it is asked for.

    >>> Below("0.", {"0.edges": "those of field 0"})["edges"]
    'those of field 0'
    """

    def __init__(self, prefix, arrays):
        self.prefix, self.arrays = prefix, arrays

    def __getitem__(self, name):
        return self.arrays[self.prefix + name]


def check_state(condition, problem):
    """Raise a ValueError unless the condition holds."""
    if not condition:
        raise ValueError(problem)


def stored_array(arrays, name, dtype):
    """A one-dimensional array of a saved state."""
    array = arrays[name]
    got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
    check_state(isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype == dtype,
                f"array {name!r} must be one-dimensional {np.dtype(dtype)}, got {got}")
    return array


def stored_text(arrays):
    """The object array of texts that was saved as one stretch of UTF-8 and the texts' lengths."""
    text = stored_array(arrays, "text", np.uint8).tobytes().decode("utf-8", "surrogatepass")
    lengths = stored_array(arrays, "lengths", np.int64)
    check_state(((0 <= lengths) & (lengths <= len(text))).all() and lengths.sum() == len(text),
                "the lengths of the stored texts do not add up to the text")
    check_state((lengths[1:] > 0).all(), "the stored texts are not distinct: more than one is empty")
    ends = np.cumsum(lengths)
    values = np.empty(len(lengths), object)
    values[:] = [text[end - length:end] for end, length in zip(ends, lengths, strict=True)]
    return values


def stored_number(state, name):
    """A finite number of a saved state."""
    number = state[name]
    check_state(isinstance(number, (int, float)) and np.isfinite(number),
                f"{name!r} must be a number, got {number!r:.60}")
    return float(number)


def stored_share(state, name):
    """A number from 0 to 1 of a saved state."""
    share = stored_number(state, name)
    check_state(0 <= share <= 1, f"{name!r} must be from 0 to 1, got {share}")
    return share
