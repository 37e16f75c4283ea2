"""A column of a table, read: what kind of values it holds, and which distinct ones."""

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

# What infer_dtype says -> the kind of the values. Only values of one kind can be equal.
KINDS = {"string": "str", "integer": "int", "floating": "float", "mixed-integer-float": "float",
         "boolean": "bool", "empty": "empty"}
# A column of whole numbers is "uint" where one of them is 2**63 or more: ids of 64 bits without a sign.
DTYPES = {"str": np.dtype(object), "int": np.dtype(np.int64), "uint": np.dtype(np.uint64),
          "float": np.dtype(np.float64), "bool": np.dtype(bool)}


def plain(value):
    """The value without NumPy types and tuples, to be compared, shown, or stored as JSON."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def shown(value):
    """The value as text for an error message, not too long."""
    return f"{plain(value)!r:.60}"


def value_kind(name, column, rows):
    """What the values are in whatever dtype: "str", "int", "float", "bool", or "empty" if none."""
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    inferred = infer_dtype(values, skipna=True)
    if inferred not in KINDS and column.dtype == object:
        inferred = infer_dtype(column.dropna(), skipna=True)  # a NaT among others misleads it
    if inferred in KINDS:
        return KINDS[inferred]
    present = column.notna().to_numpy()
    examples = {}
    for row, value in zip(np.asarray(rows)[present], column[present], strict=True):
        examples.setdefault(type(value).__name__, f"row {row}: {shown(value)}")
    if "date" in inferred or inferred in ("timedelta64", "timedelta", "period", "time"):
        advice = "derive columns from it, for example .dt.hour and .dt.dayofweek"
    elif any(isinstance(value, np.ndarray) and not value.ndim for value in column[present]):
        advice = "an array of no dimensions holds one value: take it out with .item()"
    elif examples.keys() & {"list", "tuple", "set", "frozenset", "ndarray"}:
        advice = "a field whose rows hold several values is a MultiValued"
    elif "bytes" in examples:
        advice = "turn them into text with .str.decode('utf-8')"
    else:
        advice = "turn all into one of these, for example with .astype(str) or .astype(float)"
    found = " and ".join(f"{kind} ({where})" for kind, where in list(examples.items())[:2])
    raise TypeError(f"column {name!r} holds {found or inferred}, but a field holds text, whole "
                    f"numbers, floats or True/False; {advice}")


def read_numbers(name, block, rows):
    """The block as float64, NaN where missing; refuses infinities and text that is no number."""
    if isinstance(block.dtype, pd.CategoricalDtype):
        block = block.astype(object)
    if block.dtype.kind not in "biufO":
        value_kind(name, block, rows)  # refuses dates, which to_numeric would convert
    try:
        numbers = pd.to_numeric(block, errors="coerce")
        if numbers.dtype.kind == "c":
            raise ValueError("some are complex; make the real and the imaginary part two columns")
        numbers = numbers.to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, TypeError):
            value_kind(name, block, rows)  # says more of what pandas cannot handle
        raise TypeError(f"column {name!r}, rows {rows[0]} to {rows[-1]}, cannot be read as "
                        f"numbers: {error}") from error
    if block.dtype.kind == "O" and (bad := np.isnan(numbers) & block.notna().to_numpy()).any():
        refuse(name, block, rows, bad, "is not a number; correct it, or make the field a Categorical")
    if (bad := np.isinf(numbers)).any():
        refuse(name, block, rows, bad, "is infinite; replace it, or mark it as missing")
    return numbers


def refuse(name, block, rows, bad, problem):
    """Raise a ValueError that names the first row of which ``bad`` says that it is bad."""
    first = int(np.argmax(bad))
    raise ValueError(f"column {name!r}, row {rows[first]}: {shown(block.iloc[first])} {problem}")


def distinct_values(name, block, rows, expected=None):
    """Which distinct value each row holds (-1: missing), these values, and their kind.

    The values have the dtype of their kind (DTYPES), so that 3 equals 3 whether it was stored as
    int8, as nullable Int64 or as an object. With `expected`, the kind of the training column,
    values of another kind raise TypeError: silently, all of them would be unknown.
    """
    kind = KINDS.get(infer_dtype(block, skipna=True)) or value_kind(name, block, rows)  # most are plain to see
    if kind == "float":
        cells = read_numbers(name, block, rows)
    else:                               # not the Series, whose distinct values would become an Index on the way
        cells = block.to_numpy() if isinstance(block.dtype, np.dtype) else block.array
    codes, values = pd.factorize(cells)
    if not len(values):
        return codes, np.empty(0, object), "empty"
    values = np.asarray(values)
    if kind == "int":
        low, high = int(values.min()), int(values.max())
        kind = "int" if high < 2**63 else "uint"
        check_range(name, low, high)
    if expected not in (None, kind) and not {expected, kind} <= {"int", "uint", "float"}:
        row = rows[int(np.argmax(codes >= 0))]
        raise TypeError(f"column {name!r} held {expected} values in fit but holds {kind} values "
                        f"here (row {row}: {shown(values[0])}); convert it as it was for fit, for "
                        f"example with .astype({expected})")
    values = values.astype(DTYPES[kind])
    return codes, (values + 0.0 if kind == "float" else values), kind  # -0.0 + 0.0 is 0.0


def check_range(name, low, high):
    """Raise ValueError unless whole numbers from ``low`` to ``high`` fit into 64 bits, with a sign or without one."""
    if not (-2**63 <= low and high < 2**63) and not (0 <= low and high < 2**64):
        raise ValueError(f"column {name!r} holds whole numbers beyond 64 bits, {low} to {high}; store them as text: "
                         f".astype(str)")


def convert(values, kind, wanted):
    """Distinct values of one kind in the dtype of another, and which of them can be there, an array or True.

    Only numbers can be of several kinds: whole numbers in a float column are ints that had to live beside a NaN.
    """
    if kind == wanted or wanted not in ("int", "uint"):
        return values.astype(DTYPES[wanted], copy=False), True
    low, high = (-2**63, 2**63) if wanted == "int" else (-1, 2**64)
    if kind == "float":
        possible = (low < values) & (values < high) & (values == np.floor(values))
    else:                           # int as uint: not below 0; uint as int: not beyond 2**63
        possible = values >= 0 if wanted == "uint" else values < high
    return np.where(possible, values, 0).astype(DTYPES[wanted]), possible
