"""Numbers that remember how they came about, and arrays of them, on which the library's own lines run unchanged.

A node is a number with the operation and the nodes from which it was made. An array of nodes takes part in NumPy's
arithmetic like one of floats, and every result is an array of nodes again. So after a training step each number can be
asked which others it was computed from, and how:

>>> x = leaves([1.0, 2.0], "x")
>>> loss = (np.exp(x) * 3).sum()
>>> node = node_of(loss)
>>> node.op, [term.op for term in node.args], round(node.value, 4)
('sum', ['multiply', 'multiply'], 30.322)

Nothing of this is written for one model. A node's value is that of NumPy's own function, in float64. Where a number
would leave NumPy (``float(x)``, ``math.exp(x)``), ``NotFollowed`` is raised, as what comes next would not know of it.
What only chooses the way is not kept: the condition of an ``if``, a mask as an index, the order of a sort.
"""

import builtins
import contextlib
import math
import threading

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

# n-ary nodes for what NumPy reduces: one node "sum" of all terms, rather than a chain of additions.
REDUCTIONS = {"add": "sum", "maximum": "max", "minimum": "min", "multiply": "prod",
              "logical_and": "all", "logical_or": "any"}
SAME = {"positive", "conjugate"}                                  # a real number stays what it is
_one_at_a_time = threading.Lock()
_constants = {}         # during a step: of the id of an array of floats, such as a mask, (array, its bytes, its nodes)


class NotFollowed(TypeError):
    """A line does something with a number after which nobody knows what it was computed from."""


class Node(NDArrayOperatorsMixin):
    """One number, and how it came about.

    Attributes
    ----------
    op : the name of NumPy's function ("add", "exp", "greater"), "sum", "max" and so on of many numbers, "dot" of
        a_1, b_1, a_2, b_2, ..., "where" of a condition and two numbers; "const", or "leaf" for a number given from
        outside.
    args : the nodes that it was computed from; of a leaf its (array, place in it).   value : a float, or a bool.
    """

    __slots__ = ("args", "op", "value")

    def __init__(self, op, args, value):
        self.op, self.args, self.value = op, args, value

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return follow(ufunc, method, *inputs, **options)

    def __float__(self):
        raise NotFollowed("float(), or a function that wants plain floats, forgets how a number was computed")

    __int__ = __index__ = __complex__ = __float__

    def __bool__(self):
        return builtins.bool(self.value)

    def __repr__(self):
        return f"Node({self.op}, {self.value!r})"


class NodeArray(np.ndarray):
    """An array whose elements are nodes: of dtype object, and otherwise as an array of floats."""

    __array_priority__ = 1000

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return follow(ufunc, method, *inputs, **options)

    def __array_function__(self, function, types, args, kwargs):
        if function.__module__ == "numpy" and function.__name__ in FUNCTIONS:
            return FUNCTIONS[function.__name__](*args, **kwargs)
        kwargs.pop("dtype", None)                                 # a sum in float64: all values are float64
        return _remembering(super().__array_function__(function, types, args, kwargs))

    def __getitem__(self, index):
        return _remembering(super().__getitem__(_index(index)))

    def __setitem__(self, index, values):
        if isinstance(index, NodeArray) and np.ndim(values) == 0 and values_of(index).dtype == bool:
            mask = index.reshape(index.shape + (1,) * (self.ndim - index.ndim))
            index, values = ..., _where(mask, values, self)       # dz[z <= 0] = 0: it depends on z
        super().__setitem__(_index(index), _nodes(values))

    def __bool__(self):
        return builtins.bool(values_of(self))

    def __float__(self):
        return float(node_of(self))                               # which says why not

    __int__ = __index__ = __complex__ = __float__

    def astype(self, dtype, *args, **kwargs):
        """Return a copy: other dtypes would forget; NumPy's float64 has them all."""
        return self.copy()

    def item(self, *place):
        """Return one element, still as an array."""
        return self.ravel()[0] if not place else self.ravel()[place[0]] if len(place) == 1 else self[place]

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        """Return the sum divided by the number of terms."""
        total = self.sum(axis=axis, keepdims=keepdims)
        return total / (self.size // max(total.size, 1))

    def var(self, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
        """Return the mean of the squared deviations from the mean."""
        squares = (self - self.mean(axis=axis, keepdims=True)) ** 2
        total = squares.sum(axis=axis, keepdims=keepdims)
        return total / (self.size // max(total.size, 1) - ddof)

    def std(self, axis=None, dtype=None, out=None, ddof=0, keepdims=False):
        """Return the square root of the variance."""
        return np.sqrt(self.var(axis=axis, ddof=ddof, keepdims=keepdims))

    def dot(self, other):
        """Return the product of matrices."""
        return _dot(self, other)


# ------------------------------------------------------------------------------------------ from and to plain numbers

def leaves(values, name):
    """Return an array of leaves with these values; node i, counted through the flat array, knows that it is (name, i).

    >>> node_of(leaves([[1.0, 2.0]], "x")[0, 1]).args
    ('x', 1)
    """
    values = np.asarray(values, dtype=np.float64)
    return _filled([Node("leaf", (name, place), value) for place, value in enumerate(values.ravel().tolist())],
                   values.shape)


def node_of(element):
    """Return the node of a single number, which may be in an array of no axes; a constant of a plain number."""
    while isinstance(element, np.ndarray):
        if element.size != 1:
            raise NotFollowed(f"an array of shape {element.shape} stands where one number is expected")
        element = np.ndarray.item(element)
    if isinstance(element, Node):
        return element
    if element is None:                                           # not filled in yet, after np.empty_like
        element = 0.0
    return Node("const", (), element if isinstance(element, (bool, float)) else float(element))


def values_of(array):
    """Return the values of an array of nodes as an array of floats (or of True and False)."""
    return np.array([node_of(element).value for element in np.asarray(array, object).ravel().tolist()]).reshape(
        np.shape(array))


def _filled(nodes, shape):
    """A list of nodes as an array of this shape."""
    array = np.empty(len(nodes), object)
    array[:] = nodes
    return array.reshape(shape).view(NodeArray)


def constants(array):
    """Return an array's numbers as nodes: those that they are already, or new ones, see ``one_step``."""
    return _nodes(array).copy().view(NodeArray)


def told_apart(array):
    """Give each place of an array a node of its own: what was looked up or repeated stands in several places.

    The further ones become copies, "positive" of the first. An array that cannot be written into stays as it is.
    """
    nodes, seen = array.view(np.ndarray).ravel().tolist(), set()
    nodes = list(map(node_of, nodes))
    for place, node in enumerate(nodes):
        if id(node) in seen:
            nodes[place] = Node("positive", (node,), node.value)
        seen.add(id(node))
    if array.flags.writeable and len(seen) < len(nodes):
        array[...] = _filled(nodes, array.shape)


@contextlib.contextmanager
def one_step():
    """Within this block an array of floats, such as a mask, has the same nodes each time. For one thread at a time."""
    with _one_at_a_time:
        try:
            yield
        finally:
            _constants.clear()


def _nodes(values):
    """Any array or number as a plain object array of nodes, not to be written into."""
    if isinstance(values, np.ndarray):
        known, content, nodes = _constants.get(id(values), (None, None, None))
        if known is values and content == values.tobytes():
            return nodes
        array = values.view(np.ndarray)
    elif isinstance(values, (list, tuple)):
        array = np.array(values, dtype=object)
    else:
        array = np.empty((), object)
        array[()] = values
    if array.dtype.kind not in "biufO":
        raise NotFollowed(f"an array of {array.dtype} is no array of numbers")
    nodes = np.empty(array.size, object)
    nodes[:] = [element if type(element) is Node else node_of(element) for element in array.ravel().tolist()]
    nodes = nodes.reshape(array.shape)
    if _one_at_a_time.locked() and array.dtype.kind == "f":
        _constants[id(values)] = values, values.tobytes(), nodes
    return nodes


def _remembering(result):
    """What NumPy returned, with its elements as nodes: an array that lost its class, or a bare element."""
    if isinstance(result, (list, tuple)):
        return type(result)(map(_remembering, result))
    if isinstance(result, Node):
        return _filled([result], ())
    if isinstance(result, np.ndarray) and (result.dtype == object) != isinstance(result, NodeArray):
        return result.view(NodeArray if result.dtype == object else np.ndarray)
    return result


def _index(index):
    """An index, with comparisons of nodes as True and False."""
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    if not isinstance(index, NodeArray):
        return index
    if index.dtype != object:                                     # from argsort, say
        return index.view(np.ndarray)
    values = values_of(index)
    if values.dtype != bool:
        raise NotFollowed("an index was computed from the numbers of the step")
    return values


# ------------------------------------------------------------------------------------------------- NumPy's arithmetic

def follow(ufunc, method, *inputs, out=None, where=True, **options):
    """Do what a ufunc of NumPy does, on nodes."""
    if where is not True:
        raise NotFollowed(f"np.{ufunc.__name__} with where=")
    if method == "at":
        return _at(ufunc, *inputs)
    work = {"__call__": _call, "reduce": _reduce, "reduceat": _reduceat, "accumulate": _accumulate,
            "outer": _outer}[method]
    result = work(ufunc, *inputs, **options)
    if out is None:
        return result
    if out[0].dtype != object:
        raise NotFollowed(f"a result is written into an array of {out[0].dtype}, which keeps plain numbers")
    out[0][...] = result
    return out[0]


def _call(ufunc, *inputs, **options):
    if ufunc is np.matmul:
        return _matmul(*inputs)
    if ufunc.__name__ == "clip":
        array, low, high = inputs
        return _call(np.minimum, _call(np.maximum, array, low), high)
    if ufunc.nout != 1 or ufunc.signature is not None:
        raise NotFollowed(f"np.{ufunc.__name__} has no operation of its own for each number")
    arrays = np.broadcast_arrays(*map(_nodes, inputs))
    if ufunc.__name__ in SAME:
        return _filled(arrays[0].ravel().tolist(), arrays[0].shape)
    values = np.asarray(ufunc(*map(values_of, arrays))).ravel().tolist()
    nodes = [_node(ufunc.__name__, args, value)
             for *args, value in zip(*(array.ravel().tolist() for array in arrays), values, strict=True)]
    return _filled(nodes, arrays[0].shape)


def _node(op, args, value):
    """A node; of constants a constant, and 0 + a is a itself, as where a sum starts from ``np.zeros``."""
    if all(arg.op == "const" for arg in args):
        return Node("const", (), value)
    if op == "add":
        for one, other in (args, args[::-1]):
            if one.op == "const" and one.value == 0:
                return other
    return Node(op, tuple(args), value)


def _reduce(ufunc, array, axis=0, dtype=None, keepdims=False, initial=None, **options):
    array = _nodes(array)
    axes = range(array.ndim) if axis is None else (axis,) if np.ndim(axis) == 0 else axis
    axes = sorted(each % max(array.ndim, 1) for each in axes)
    kept = [each for each in range(array.ndim) if each not in axes]
    shape = [1 if each in axes else size for each, size in enumerate(array.shape) if keepdims or each in kept]
    n = math.prod(array.shape[each] for each in axes)
    rows = array.transpose([*kept, *axes]).reshape(-1, n)
    if initial is not None:
        rows = np.concatenate([_nodes(np.full((len(rows), 1), node_of(initial), object)), rows], axis=1)
    return _filled([_reduced(ufunc, row) for row in rows.tolist()], shape)


def _reduced(ufunc, nodes):
    """One node of a list of them."""
    if ufunc is np.add:                                           # what 0 + ... gives is the rest
        nodes = [node for node in nodes if node.op != "const" or node.value != 0]
    if len(nodes) == 1:
        return nodes[0]
    value = ufunc.reduce(np.array([node.value for node in nodes])).item()
    if ufunc.__name__ in REDUCTIONS or not nodes:
        return _node(REDUCTIONS.get(ufunc.__name__, "const"), nodes, value)
    total = nodes[0]
    for node in nodes[1:]:
        total = _node(ufunc.__name__, (total, node), ufunc(total.value, node.value).item())
    return total


def _reduceat(ufunc, array, starts, axis=0, **options):
    array = np.moveaxis(_nodes(array), axis, 0)
    ends = [*starts[1:], len(array)]
    parts = [_reduce(ufunc, array[start:max(end, start + 1)]) for start, end in zip(starts, ends, strict=True)]
    return np.moveaxis(np.stack(parts), 0, axis).copy()           # in the usual order: a reshape of it is a view


def _accumulate(ufunc, array, axis=0, **options):
    array = np.moveaxis(_nodes(array), axis, 0)
    parts = [array[:1].view(NodeArray)[0]]
    for row in array[1:]:
        parts.append(_call(ufunc, parts[-1], row))
    return np.moveaxis(np.stack(parts), 0, axis).copy()           # in the usual order: a reshape of it is a view


def _outer(ufunc, a, b, **options):
    a, b = _nodes(a), _nodes(b)
    return _call(ufunc, a.reshape(a.shape + (1,) * b.ndim), b)


def _at(ufunc, array, index, values):
    """Change the indexed elements one after the other, so that one that is indexed twice is changed twice."""
    if array.dtype != object:
        raise NotFollowed(f"np.{ufunc.__name__}.at changes an array of {array.dtype}, which keeps plain numbers")
    flat = array.reshape(-1)
    places = np.arange(array.size).reshape(array.shape)[_index(index)]
    if not np.may_share_memory(flat, array):
        raise NotFollowed(f"np.{ufunc.__name__}.at on an array that is not in one piece")
    for place, value in zip(places.ravel(), np.broadcast_to(_nodes(values), places.shape).ravel(), strict=True):
        flat[place] = _call(ufunc, flat[place], value)


# --------------------------------------------------------------------------------- products of matrices, and the like

def _products_summed(a, b):
    """The sum of a b over the last axis, of object arrays that broadcast: one node "dot" each."""
    a, b = np.broadcast_arrays(a, b)
    shape, n = a.shape[:-1], a.shape[-1]
    nodes = []
    for row_a, row_b in zip(a.reshape(-1, n).tolist(), b.reshape(-1, n).tolist(), strict=True):
        value = float(np.dot([node.value for node in row_a], [node.value for node in row_b]))
        args = [node for pair in zip(row_a, row_b, strict=True) for node in pair]
        nodes.append(_node("dot" if n != 1 else "multiply", args, value))
    return _filled(nodes, shape)


def _matmul(a, b):
    a, b = _nodes(a), _nodes(b)
    left, right = a.ndim == 1, b.ndim == 1
    a = a[None] if left else a
    b = b[None] if right else b.swapaxes(-1, -2)                  # (..., p, m)
    out = _products_summed(a[..., :, None, :], b[..., None, :, :])
    return out[..., 0] if right and not left else out[..., 0, :] if left and not right else out[0, 0] if left else out


def _dot(a, b, out=None):
    a, b = _nodes(a), _nodes(b)
    if a.ndim == 0 or b.ndim == 0:
        return _call(np.multiply, a, b)
    return _tensordot(a, b, axes=((a.ndim - 1,), (max(b.ndim - 2, 0),)))


def _inner(a, b):
    return _tensordot(a, b, axes=((-1,), (-1,))) if np.ndim(a) and np.ndim(b) else _call(np.multiply, a, b)


def _tensordot(a, b, axes=2):
    a, b = _nodes(a), _nodes(b)
    if np.ndim(axes) == 0:
        axes = range(a.ndim - axes, a.ndim), range(axes)
    of_a, of_b = ([each % array.ndim for each in np.atleast_1d(own)] for array, own in zip((a, b), axes, strict=True))
    rest_a, rest_b = ([each for each in range(array.ndim) if each not in own] for array, own in ((a, of_a), (b, of_b)))
    shape_a, shape_b = [a.shape[each] for each in rest_a], [b.shape[each] for each in rest_b]
    n = math.prod(a.shape[each] for each in of_a)
    a = a.transpose(rest_a + of_a).reshape(math.prod(shape_a), 1, n)
    b = b.transpose(rest_b + of_b).reshape(1, math.prod(shape_b), n)
    return _products_summed(a, b).reshape(shape_a + shape_b)


def _einsum(subscripts, *operands, **options):
    arrays = [_nodes(operand) for operand in operands]
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = inputs.split(",")
    if "." in subscripts or any(len(set(letters)) < len(letters) for letters in inputs):
        raise NotFollowed(f"np.einsum({subscripts!r}): of its subscripts only letters, each once in an array")
    every = "".join(dict.fromkeys("".join(inputs)))
    if not arrow:
        output = "".join(sorted(letter for letter in every if "".join(inputs).count(letter) == 1))
    sizes = {letter: size for letters, array in zip(inputs, arrays, strict=True)
             for letter, size in zip(letters, array.shape, strict=True)}
    summed = [letter for letter in every if letter not in output]
    wide = []
    for letters, array in zip(inputs, arrays, strict=True):
        order = [letter for letter in (*output, *summed) if letter in letters]
        array = array.transpose([letters.index(letter) for letter in order])
        array = array[tuple(slice(None) if letter in letters else None for letter in (*output, *summed))]
        array = np.broadcast_to(array, [sizes[letter] for letter in (*output, *summed)])
        wide.append(array.reshape([sizes[letter] for letter in output] + [-1]))
    while len(wide) > 2:
        wide[:2] = [_nodes(_call(np.multiply, *wide[:2]))]
    return _products_summed(*wide) if len(wide) == 2 else _reduce(np.add, wide[0], axis=-1)


def _where(condition, *choices):
    if not choices:
        return np.nonzero(values_of(condition))
    if not isinstance(condition, (NodeArray, Node)):              # a plain mask: nothing depends on it
        picked = np.where(condition, *(_nodes(choice) for choice in choices))
        return picked.view(NodeArray)
    arrays = np.broadcast_arrays(*map(_nodes, (condition, *choices)))
    return _filled([Node("where", args, (args[1] if args[0].value else args[2]).value)
                    for args in zip(*(array.ravel().tolist() for array in arrays), strict=True)], arrays[0].shape)


def _outer_product(a, b, out=None):
    return _outer(np.multiply, np.ravel(_nodes(a)), np.ravel(_nodes(b)))


FUNCTIONS = {"dot": _dot, "vdot": lambda a, b: _dot(_nodes(a).ravel(), _nodes(b).ravel()), "inner": _inner,
             "outer": _outer_product, "tensordot": _tensordot, "einsum": _einsum, "where": _where}
