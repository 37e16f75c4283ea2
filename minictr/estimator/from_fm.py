"""Starting from a fitted FM instead of from random numbers."""

import dataclasses
from typing import Any

from ..layers import parameters


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class StartsFromFM:
    """For a model with the layers of an FM among its own, under the same names: ``class AFM(StartsFromFM, Model)``.

    The model takes the fitted FM's fields and vocabularies, its vectors and its weights. What else must hold for the
    start, the subclass sets in ``initialise``, after ``super().initialise(mean)``.
    """

    init_from: Any = None                                         # a fitted FM, with the same embedding_dim

    @classmethod
    def from_fm(cls, fm, **params):
        """Make a model that will start from the fitted ``fm``, of its embedding_dim; ``params`` are other settings.

        Fields and vocabularies, vectors and weights are the FM's. With freeze=("embedding", "linear") these stay as
        they are, and only what the FM does not have is trained.
        """
        return cls(**{"embedding_dim": fm.embedding_dim, "init_from": fm, **params})

    def fit_encoder(self, *tables, fields):
        """Take over the FM's encoder, so that each row of its tables keeps its meaning."""
        if self.init_from is None:
            super().fit_encoder(*tables, fields=fields)
            return
        if not hasattr(self.init_from, "check_fitted"):
            raise TypeError(f"init_from must be a fitted FM, got {type(self.init_from).__name__}")
        self.init_from.check_fitted()
        self.encoder_ = self.init_from.encoder_
        names = [getattr(field, "name", field) for field in fields or self.encoder_.field_names]
        if names != self.encoder_.field_names:
            raise ValueError(f"init_from was fitted on the fields {self.encoder_.field_names}, this "
                             f"{type(self).__name__} has {names}: the same fields are needed")

    def initialise(self, mean):
        """Copy every parameter of the FM: the bias, w and V."""
        super().initialise(mean)
        fm, name = self.init_from, type(self).__name__
        if fm is None:
            return
        if fm.task_ != self.task_:
            raise ValueError(f"init_from was fitted with task={str(fm.task_)!r}, this {name} has "
                             f"{str(self.task_)!r}: it must be the same, as a bias in one is none in the other")
        mine = parameters(self)
        for place, array in parameters(fm).items():
            value = array
            if array is fm.bias():                                # which may have another name here
                value = fm.task_.plus_centre(array) - self.task_.centre
                if place not in mine:
                    self.bias()[:] = value
                    continue
            if place not in mine:
                raise ValueError(f"init_from is {type(fm).__name__}, and this {name} has no parameter {place!r} to "
                                 "take over; start from an FM")
            if array.shape != mine[place].shape:
                raise ValueError(f"init_from has embedding_dim={fm.embedding_dim}, this {name} {self.embedding_dim}: "
                                 "it must be the same")
            mine[place][...] = value
        self.row_counts_ = self.row_counts_ + fm.row_counts_
