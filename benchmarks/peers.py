"""What the benchmarks know of each class of models, in tables by class; and the error where they know nothing."""


class Unavailable(Exception):
    """There is no such thing for the model, or for these fields; the message says why."""


def of_class(table, model, what):
    """The entry of a model's class, and of no class that it inherits from, in a table {class: entry}.

    Raises: Unavailable where there is none; the message says that ``what`` is missing.
    """
    if type(model) not in table:
        raise Unavailable(f"there is no {what} for {type(model).__name__}; there is one for "
                          f"{', '.join(cls.__name__ for cls in table)}")
    return table[type(model)]
