"""What the columns of a table look like, piece by piece: how to read them, and what to say of them."""

import shlex

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from ..fields import Categorical, MultiValued, Numerical
from ..fields.columns import KINDS
from ..text import printable

# As what pandas reads a column of a CSV file that holds values of one kind; of several, numbers apart, it makes text.
DTYPES = {"float": "Float64", "int": "Int64", "bool": "boolean"}


class Facts:
    """What one column holds.

    Attributes
    ----------
    kinds : "str", "int", "uint" (to 2^64), "float", "bool" or "other": of each piece so far that held any values.
    n_rows, n_numbers : its cells, and those that are numbers or missing.   other : (row, value) of the first other one.
    bars : whether a text holds '|'.   low, high : of its numbers.
    """

    def __init__(self):
        self.kinds, self.n_rows, self.n_numbers, self.other = set(), 0, 0, None
        self.bars, self.low, self.high = False, np.inf, -np.inf

    def add(self, column):
        """Learn from the column of one more piece."""
        present, first_row = column.notna().to_numpy(bool), self.n_rows
        self.n_rows += len(column)
        if not present.any():
            self.n_numbers += len(column)
            return
        kind = kind_of(column)
        self.kinds.add(kind)
        if kind == "other":
            return
        cells = column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column
        numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        is_number = ~np.isnan(numbers)
        if is_number.any():
            self.low = min(self.low, float(numbers[is_number].min()))
            self.high = max(self.high, float(numbers[is_number].max()))
        self.n_numbers += int((is_number | ~present).sum())
        if self.other is None and (present & ~is_number).any():
            place = int(np.argmax(present & ~is_number))
            self.other = first_row + place, cells.iloc[place]
        if kind == "str" and not self.bars:
            self.bars = bool(cells.str.contains("|", regex=False, na=False).any())

    def dtype(self):
        """As what pandas reads the whole column of a CSV file; None where all cells are missing."""
        kinds = self.kinds
        codes = "uint" in kinds and "float" not in kinds          # beyond 64 bits with a sign
        if "str" in kinds or codes or ("bool" in kinds and len(kinds) > 1):
            return str
        return next((dtype for kind, dtype in DTYPES.items() if kind in kinds), None)


def kind_of(column):
    """The kind of the values of a column, some of which are there; "other" for what no field holds."""
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    kind = KINDS.get(infer_dtype(values, skipna=True), "other")
    return "uint" if kind == "int" and column.dtype == "UInt64" else kind


def print_fields(encoder_of_all, facts, named):
    """Say what each column was taken for, with advice where that was a guess (not in ``named``).

    ``facts`` are {column: Facts}.
    """
    encoders = encoder_of_all.encoders
    width = max(len(printable(name)) for name in encoders)
    for name, encoder in encoders.items():
        if isinstance(encoder.spec, Numerical):
            text = f"numerical, from {facts[name].low:g} to {facts[name].high:g}, standardised"
        else:
            text = f"{encoder.text}, {encoder.n_values:,} values"
        if isinstance(encoder.spec, MultiValued):
            text += f", separated by {encoder.spec.sep!r}"
        if encoder.missing:
            text += f", missing in {encoder.missing:.1%} of rows"
        if name not in named:
            text += advice(name, facts[name], encoder)
        print(f"  {printable(name):{width}}  {text}")


def advice(name, facts, encoder):
    """What to do if the guess was wrong: "" where there is no sign of that."""
    if type(encoder.spec) is not Categorical:
        return ""
    if encoder.kind == "str":
        if facts.other is None:
            return f" (zeros before a number make it a code; if these are quantities: --numerical {shlex.quote(name)})"
        if facts.n_numbers > 0.9 * facts.n_rows:
            row, value = facts.other
            return (f" (text because of cells like row {row}'s {value!r}; correct those, then --numerical "
                    f"{shlex.quote(name)}?)")
    if encoder.n_values > facts.n_rows / 2:
        return f" (hardly two rows share one: --ignore {shlex.quote(name)}?)"
    if encoder.kind == "int":
        return f" (whole numbers; if their size means something: --numerical {shlex.quote(name)})"
    if encoder.kind == "str" and facts.bars:
        return f" (some hold '|': --multi-valued {shlex.quote(name + ':|')}?)"
    return ""
