"""Tables for a trained model: read as its training table was; cells that do not fit are refused with their place."""

import contextlib

import pandas as pd

from ..estimator.stream import one_ahead
from ..fields import Numerical
from ..fields.categorical import UNKNOWN
from ..fields.numerical import NumericalEncoder
from ..fields.reading import in_piece
from ..layers import sigmoid
from ..text import printable
from ..training import fixed_chunk_rows
from .pieces import open_pieces
from .table_files import PIECE, check_columns, read_numbers, read_table, read_target, refuse, refuse_text
from .terminal import Refused, in_words


def text_fields(model):
    """The fields whose values were text in training, and are read as text whatever they look like."""
    encoders = model.encoder_.encoders
    return [name for name in encoders if getattr(encoders[name], "kind", "") == "str"]


def number_fields(model):
    """The fields that are numbers."""
    return [name for name, encoder in model.encoder_.encoders.items() if isinstance(encoder.spec, Numerical)]


def check_cells(model, X, path):
    """Raise Refused at the first cell that is no number where the model has numbers, or whole numbers."""
    for name in number_fields(model):
        read_numbers(X, name, path)
    for name, encoder in model.encoder_.encoders.items():
        if getattr(encoder, "kind", "") == "int":
            refuse_text(X, name, path, "{value} is text, and the model was trained on whole numbers here")


def read_for(model, path, sep, target=None):
    """The whole table, checked, and the target as 0 and 1 or numbers (None without one)."""
    X = read_table(path, sep=sep, numbers=[*number_fields(model), target],
                   as_text=[*text_fields(model), *text_target(model, target)])
    check_columns(X.columns, [*model.encoder_.encoders, *([target] if target else [])], path)
    check_cells(model, X, path)
    y = read_target(X, target, model.task_, path, model.task_.classes) if target else None
    X.attrs.clear()                                               # pandas copies them with each column that is taken
    return X, y


def text_target(model, target):
    """The target's column, in a list, where it is two texts; else an empty list."""
    return [target] if target and model.task_.classes.dtype == object else []


class Scored:
    """A model's scores of a table that need not fit into memory, a piece after the other.

    The pieces are cut where the model cuts a table to predict for it, so that the scores are, bit for bit, those of the
    whole table. Each pass yields (kept, y, scores): a DataFrame (see ``open_pieces``), the targets or None, and the
    probability of the later class, or the predicted number, of each row.

    Attributes after a pass
    -----------------------
    n_rows : rows so far.   unknown : {field: how many of its values the model does not know}, where there are some.
    """

    def __init__(self, model, path, sep=None, target=None, keep=()):
        self.model, self.path, self.target = model, path, target
        fields, numbers, text = list(model.encoder_.encoders), number_fields(model), text_fields(model)
        rows = fixed_chunk_rows(model) * max(1, PIECE // fixed_chunk_rows(model))
        self.pieces = open_pieces(path, sep, rows=rows, keep=keep,
                                  dtypes=dict.fromkeys([*text, *text_target(model, target)], str),
                                  codes=[name for name in fields if name not in {*numbers, *text}])
        check_columns(self.pieces.columns, [*fields, *([target] if target else []), *keep], path)

    def __iter__(self):
        model, self.n_rows, self.unknown, truths = self.model, 0, {}, {}
        for first_row, X, kept in one_ahead(iter(self.pieces)):
            check_cells(model, X, self.path)
            refuse_mixture(X, number_fields(model), self.path, truths)
            y = None
            if self.target:
                y = read_target(X, self.target, model.task_, self.path, model.task_.classes)
            X.attrs.clear()                                       # pandas copies them with each column that is taken
            with errors_name(self.path, first_row):
                slots = model.encoder_.encode(X)
                s = model.predict_slots(slots)
            self.n_rows += len(X)
            self.count_unknown(slots)
            yield kept, y, sigmoid(s) if model.task_ == "binary" else s

    def count_unknown(self, slots):
        """Add the rows' unknown values; those of a row of several values count as one."""
        encoder = self.model.encoder_
        for field, (name, offset) in enumerate(zip(encoder.field_names, encoder.offsets.tolist(), strict=True)):
            if not isinstance(encoder.encoders[name], NumericalEncoder):
                own = slice(*[*slots.starts.tolist(), slots.n_slots][field:field + 2])
                unknown = slots.ids[:, own] == offset + UNKNOWN
                count = float((unknown * (1 if slots.x is None else slots.x[:, own])).sum())
                if count:
                    self.unknown[name] = self.unknown.get(name, 0.0) + count


def refuse_mixture(X, names, path, truths):
    """Raise Refused where a column of numbers goes over to True and False, or back: a whole one would be text.

    ``truths`` is {column: whether it held True and False in the pieces before}, and is added to.
    """
    for name in names:
        present, truth = X[name].notna().to_numpy(), pd.api.types.is_bool_dtype(X[name])
        if present.any() and truths.setdefault(name, truth) != truth:
            refuse(present, X, name, path, "{value} is " + ("no number, as those before" if truth else
                                                            "neither True nor False, as those before"))


@contextlib.contextmanager
def errors_name(path, first_row):
    """Let errors about a piece of a file say of which file and, in its own count, of which row they are."""
    try:
        with in_piece(first_row):
            yield
    except (TypeError, ValueError) as error:
        raise Refused(f"{path}: {in_words(error)}") from error


def say_unknown(rates):
    """Print the shares of values that the model does not know: {field: share}."""
    for name, rate in rates.items():
        if rate:
            print(f"  {printable(name)}: {rate:.1%} of the values are unknown to the model, which takes an average for "
                  "them")
