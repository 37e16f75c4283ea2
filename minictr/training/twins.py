"""What may be replaced by a fast twin: exactly what the package's source says, and nothing that somebody changed."""

_AS_WRITTEN = {}        # class: {name: function} of it and of what it inherits, as imported


def remember(*classes):
    """Note what the methods of these classes are, before anybody can change them."""
    for cls in classes:
        _AS_WRITTEN[cls] = {name: getattr(cls, name) for name in method_names(cls)}


def is_as_written(thing):
    """Whether a layer or optimizer is exactly of a remembered class, and no method of the class or its own was changed.

    >>> from minictr.layers import Dense
    >>> class MyDense(Dense):
    ...     pass
    >>> import numpy as np
    >>> dense, mine = (cls(2, 2, np.random.default_rng(0)) for cls in (Dense, MyDense))
    >>> from minictr.training import fast_layers
    >>> is_as_written(dense), is_as_written(mine)
    (True, False)
    """
    cls = type(thing)
    written = _AS_WRITTEN.get(cls)
    return written is not None and written.keys().isdisjoint(vars(thing)) and all(
        getattr(cls, name, None) == function for name, function in written.items())


def has_as_written(thing, *names):
    """The same for a layer or model of which nothing but the methods of these names is to run."""
    written = _AS_WRITTEN.get(type(thing))
    return written is not None and all(
        getattr(type(thing), name) is written[name] and name not in vars(thing) for name in names)


def method_names(cls):
    """The names of the functions of a class and its bases."""
    return {name for base in cls.__mro__[:-1] for name, value in vars(base).items() if callable(value)}
