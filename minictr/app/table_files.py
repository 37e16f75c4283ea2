"""Tables from files, for the commands: errors name the file, the line and the column."""

import contextlib
import csv
import gzip
import zlib

import numpy as np
import pandas as pd

from ..estimator.labels import CLICKS, codes
from .terminal import Refused

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
PIECE = 100_000         # rows at a time, where cells are looked at as text
LONGEST_CELL = 2**31 - 1


def ending_of(path, what="a table is"):
    """The ending of a file's name that says how it is written, ".csv", ".csv.gz", ..., in small letters; or Refused."""
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).lower()
    if ending not in (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet"):
        raise Refused(f"{path}: {what} a file that ends in .csv, .csv.gz, .tsv, .tsv.gz or .parquet")
    return ending


def read_table(path, as_text=(), numbers=(), sep=None):
    """A table from a file, by its ending.

    as_text : columns that are not turned into numbers. Those of a CSV file that hold a number with leading zeros, such
        as 007, are not either: they are codes, and 007 and 7 two of them.
    numbers : columns that are, whatever zeros they begin with.
    sep : what separates the cells of a CSV file; by default a tab in a .tsv, else a comma.
    """
    if ending_of(path) == ".parquet":
        with reading_parquet(path, sep):
            table = pd.read_parquet(path, dtype_backend="numpy_nullable")
    else:
        table = read_csv(path, as_text, numbers, sep)
    if not len(table):
        raise no_rows(path)
    return table


def no_rows(path):
    """The error of a table without rows."""
    return Refused(f"{path} has a header, but no rows")


@contextlib.contextmanager
def reading_parquet(path, sep):
    """Raise Refused where a .parquet file cannot be read, and for a separator, which it does not have."""
    if sep is not None:
        raise Refused(f"{path}: a .parquet file has no separators; leave --sep out")
    try:
        yield
    except ImportError:
        raise Refused(f"{path}: pandas reads .parquet only where pyarrow is installed (pip install pyarrow); "
                      "a .csv needs nothing more") from None
    except (ValueError, OSError) as error:
        if isinstance(error, (Refused, FileNotFoundError, IsADirectoryError, PermissionError)):
            raise
        raise Refused(f"{path} cannot be read: {error!s:.200}") from None


def read_csv(path, as_text, numbers, sep):
    """A CSV file; missing numbers do not turn a column of whole numbers into one of floats."""
    layout, in_file = columns_of_csv(path, sep)
    with reading_csv(path, layout):
        options = {"index_col": False, "low_memory": False, **layout}
        table = pd.read_csv(path, dtype={in_file[name]: str for name in as_text if name in in_file},
                            dtype_backend="numpy_nullable", **options)
        codes = columns_of_codes(path, table, [in_file[name] for name in numbers if name in in_file], options)
        if codes:
            table[codes] = pd.read_csv(path, usecols=codes, dtype=str, **options)[codes]
    table.columns = list(in_file)
    table.attrs["layout"] = layout                                # for line_of_row
    return table


def columns_of_csv(path, sep):
    """How the cells of a CSV file are separated, as arguments of its readers, and {column: its name in the file}.

    Columns are called without the blanks around their names.
    """
    layout = {"delimiter": sep or ("\t" if ".tsv" in path.name.lower() else ",")}
    with reading_csv(path, layout):
        header = header_of(path, layout)
        names = [name.strip() for name in header]
        for name in filter(None, names):
            if names.count(name) > 1:
                raise Refused(f"{path}: {names.count(name)} columns are called {name!r:.80}; give each its own name")
        if sep is None and len(names) == 1:
            refuse_other_separator(path, names[0], layout["delimiter"])
        # pandas' own names, as it calls those that are empty
        found = pd.read_csv(path, index_col=False, nrows=0, **layout).columns
    return layout, {name.strip() or name: name for name in found}


@contextlib.contextmanager
def reading_csv(path, layout):
    """Raise Refused, with what is wrong and in which line, where a CSV file cannot be read."""
    try:
        yield
    except UnicodeDecodeError:
        with open_table(path, "rb") as lines:
            number = next(number for number, line in enumerate(lines, start=1) if not is_utf8(line))
        raise Refused(f"{path}, line {number}: this is not UTF-8 text; save the file as UTF-8") from None
    except pd.errors.ParserWarning:
        raise Refused(f"{path}: the rows have more cells than the header line has names") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, EOFError, gzip.BadGzipFile, zlib.error,
            csv.Error) as error:
        if "EOF inside string" in str(error):
            raise Refused(f"{path}, line {last_row(path, layout)}: a quotation mark in this line is never closed, so "
                             "that all that follows would be one cell; close it, or double it if it is part of the "
                             "text") from None
        reason = str(error).removeprefix("Error tokenizing data. C error: ")
        raise Refused(f"{path} cannot be read: {reason}") from None


def header_of(path, layout):
    """The names as they stand in the header line; enters into ``layout`` whether blanks follow its separators."""
    def first_row(**options):
        with cells_of(path, **options) as rows:
            return next((cells for cells in rows if not is_blank(cells)), [])

    header = first_row(**layout)
    if layout["delimiter"] != " " and (trimmed := first_row(**layout, skipinitialspace=True)) != header:
        layout["skipinitialspace"] = True
        return trimmed
    return header


def columns_of_codes(path, table, numbers, options):
    """The columns that pandas took for numbers though they are codes, or that it could not turn into numbers whole.

    That is where a cell is digits with a zero before them; and where numbers are beyond 2^63, so that pandas has made
    text of all, in which 5 and +5 are alike and a missing number is no longer missing.
    """
    found, tried = [], []
    for name in table:
        if name in numbers:
            continue
        column = table[name]
        if column.dtype == "UInt64" or (column.dtype == "string" and column.str.fullmatch("[+-]?[0-9]{19,}").any()):
            found.append(name)
        elif pd.api.types.is_any_real_numeric_dtype(column):
            tried.append(name)
    if tried:
        with pd.read_csv(path, usecols=tried, dtype=str, chunksize=PIECE, **options) as pieces:
            for piece in pieces:
                found += [name for name in tried if name not in found
                          and piece[name].str.fullmatch(r"\s*0[0-9]+\s*").any()]
    return found


def refuse_other_separator(path, name, separator):
    """Raise Refused where the one name in a header would be several with another separator."""
    parts = {other: name.count(other) for other in SEPARATORS if other != separator and other in name}
    if parts:
        best = max(parts, key=parts.get)
        option = "tab" if best == "\t" else f"'{best}'"
        raise Refused(f"{path}: between {SEPARATORS.get(separator)} the header line is one name, {name!r:.80}; if its "
                         f"columns stand between {SEPARATORS[best]}, add --sep {option}")


@contextlib.contextmanager
def cells_of(path, **layout):
    """A csv.reader of the file, for cells of any length: the module's own limit holds for the whole process."""
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        with open_table(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield csv.reader(file, **layout)
    finally:
        csv.field_size_limit(limit)


def is_blank(cells):
    """Whether the line has nothing on it: such lines are no rows."""
    return len(cells) < 2 and not "".join(cells).strip()


def open_table(path, mode, **options):
    """Open a file that may be gzipped."""
    return (gzip.open if path.suffix == ".gz" else open)(path, mode, **options)


def is_utf8(line):
    """Whether the bytes are UTF-8 text."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_columns(columns, wanted, path):
    """Raise Refused unless the table has all these columns."""
    columns = list(columns)
    for name in wanted:
        if name not in columns:
            there = [f"{column!s:.60}" for column in columns[:100]]
            more = f" and {len(columns) - 100:,} more" if len(columns) > 100 else ""
            raise Refused(f"{path} has no column {name!r}; it has {', '.join(there)}{more}")


def classes_of_target(table, target, task):
    """The two labels of a binary target, in order: two texts, if it holds these and no number; else 0 and 1."""
    found = table[target].dropna().unique()
    if task == "binary" and len(found) == 2 and all(isinstance(label, str) for label in found) and (
            pd.to_numeric(pd.Series(found), errors="coerce").isna().all()):
        return np.array(sorted(found), dtype=object)
    return CLICKS


def read_target(table, target, task, path, classes=CLICKS):
    """The column to predict as floats, none missing: for a binary task 0 and 1, which stand for its classes."""
    missing = "the target is missing; remove the row or fill it in"
    if classes.dtype == object:
        y = table[target].to_numpy(object)
        refuse(table[target].isna().to_numpy(), table, target, path, missing)
    else:
        y = read_numbers(table, target, path)
        refuse(np.isnan(y), table, target, path, missing)
    if task != "binary":
        return y
    no, yes = classes.tolist()
    other = f"the model's target was {no} or {yes}" if (no, yes) != (0, 1) else (
        "a model of other numbers is trained with --task regression, text has to be of two kinds")
    refuse(~np.isin(y, classes), table, target, path, f"{{value}} is neither {no} nor {yes}; correct it ({other})")
    return codes(y, classes)


def read_numbers(table, name, path):
    """A column as floats, NaN where missing; refuses text and infinities."""
    y = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    refuse(np.isnan(y) & table[name].notna().to_numpy(), table, name, path, "{value} is not a number")
    refuse(np.isinf(y), table, name, path, "{value} is infinite")
    return y


def refuse_text(table, name, path, problem):
    """Raise Refused at the first cell that made a column text: one that is no number, or has zeros before it."""
    if pd.api.types.is_string_dtype(table[name]):
        cells = table[name].astype(object).map(str, na_action="ignore")
        code = cells.str.fullmatch(r"\s*0[0-9]+\s*").eq(True) | pd.to_numeric(cells, errors="coerce").isna()
        refuse((code & cells.notna()).to_numpy(), table, name, path, problem)


def refuse(bad, table, name, path, problem):
    """Raise Refused with the place and the "{value}" of the first bad row, if there is one.

    ``table.attrs["first_row"]`` is the row of the file that a piece of it begins with.
    """
    if bad.any():
        place = int(np.argmax(bad))
        row = table.attrs.get("first_row", 0) + place
        line = "" if path.suffix == ".parquet" else f"line {line_of_row(path, row, **table.attrs['layout'])}, "
        problem = problem.format(value=f"{table[name].iloc[place]!s:.60}")
        raise Refused(f"{path}, {line}column {name!r}, row {row} counted from 0: {problem}")


def line_of_row(path, row, **layout):
    """The line, from 1, on which a row of a CSV file ends: blank lines are no rows, and a cell may hold line breaks."""
    with cells_of(path, **layout) as reader:
        rows = (reader.line_num for cells in reader if not is_blank(cells))
        return next(line for position, line in enumerate(rows, start=-1) if position == row)


def last_row(path, layout):
    """The line on which the last row of a CSV file begins."""
    begin = end = 0
    with cells_of(path, **layout) as reader:
        for _ in reader:
            begin, end = end, reader.line_num
    return begin + 1
