"""The models that there are. A subclass of ``Model`` is in here as soon as its class is made."""

import dataclasses
import itertools

MODELS = {}             # {name of the class: class}; of two with one name the later one counts


@dataclasses.dataclass(frozen=True)
class Paper:
    """Where a model was published.

    >>> print(Paper("Rendle", 2010, "ICDM", "https://doi.org/10.1109/ICDM.2010.127"))
    Rendle, ICDM 2010
    """

    authors: str
    year: int
    venue: str
    link: str

    def __str__(self):
        return f"{self.authors}, {self.venue} {self.year}"


def register(cls):
    """Enter a model's class under its name."""
    MODELS[cls.__name__] = cls


def library_models():
    """minictr's own models, {name: class}, in the order in which ``minictr.models`` imports them.

    A class that somebody made in a notebook is in MODELS, so that its files can be loaded, but not in here.
    """
    return {name: cls for name, cls in MODELS.items() if cls.__module__.startswith("minictr.models.")}


def offers(cls, method):
    """Whether a class of models, or one between it and ``Model``, writes this method itself.

    >>> from minictr import AFM, LR
    >>> offers(AFM, "attention_weights"), offers(LR, "attention_weights")
    (True, False)
    """
    between = itertools.takewhile(lambda base: base.__name__ != "Model", cls.__mro__)
    return any(method in vars(base) for base in between)


def models_with(method):
    """Names of minictr's own models that offer a method, as words."""
    names = [name for name, cls in library_models().items() if offers(cls, method)]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
