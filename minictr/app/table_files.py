"""Tables from files, for the commands: errors name the file, the line and the column."""

import csv
import gzip
import warnings
import zlib

import numpy as np
import pandas as pd


def read_table(path, as_text=()):
    """A table from a file, by its ending; the columns ``as_text`` are not turned into numbers."""
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).lower()
    if ending in (".csv", ".csv.gz", ".tsv", ".tsv.gz"):
        table = read_csv(path, as_text)
    elif ending == ".parquet":
        try:
            table = pd.read_parquet(path)
        except ImportError:
            raise ValueError(f"{path}: pandas reads .parquet only where pyarrow is installed (pip install pyarrow); "
                             "a .csv needs nothing more") from None
    else:
        raise ValueError(f"{path}: a table is a file that ends in .csv, .csv.gz, .tsv, .tsv.gz or .parquet")
    if not len(table):
        raise ValueError(f"{path} has a header, but no rows")
    return table


def read_csv(path, as_text):
    """A CSV file; missing numbers do not turn a column of whole numbers into one of floats."""
    try:
        with open_table(path, "rt", encoding="utf-8-sig", newline="") as file:
            header = next(filter(None, csv.reader(file, delimiter=separator(path))), [])
        for name in filter(None, header):
            if header.count(name) > 1:
                raise ValueError(f"{path}: {header.count(name)} columns are called {name!r}; give each its own name")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)     # said where cells would be dropped
            return pd.read_csv(path, sep=separator(path), index_col=False, dtype=dict.fromkeys(as_text, str),
                               dtype_backend="numpy_nullable", low_memory=False)
    except UnicodeDecodeError:
        with open_table(path, "rb") as lines:
            number = next(number for number, line in enumerate(lines, start=1) if not is_utf8(line))
        raise ValueError(f"{path}, line {number}: this is not UTF-8 text; save the file as UTF-8") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{path}: the rows have more cells than the header line has names") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def separator(path):
    """What stands between the cells: a tab in a .tsv, else a comma."""
    return "\t" if ".tsv" in path.name.lower() else ","


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


def check_columns(table, wanted, path):
    """Raise ValueError unless the table has all these columns."""
    for name in wanted:
        if name not in table:
            raise ValueError(f"{path} has no column {name!r}; it has {', '.join(map(str, table.columns))}")


def read_target(table, target, task, path):
    """The column to predict as floats: 0 and 1 only for a binary task, none missing."""
    y = read_numbers(table, target, path)
    refuse(np.isnan(y), table, target, path, "the target is missing; remove the row or fill it in")
    if task == "binary":
        refuse(~np.isin(y, (0, 1)), table, target, path,
               "{value} is neither 0 nor 1; correct it (a model of other numbers is trained with --task regression)")
    return y


def read_numbers(table, name, path):
    """A column as floats, NaN where missing; refuses text and infinities."""
    y = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    refuse(np.isnan(y) & table[name].notna().to_numpy(), table, name, path, "{value} is not a number")
    refuse(np.isinf(y), table, name, path, "{value} is infinite")
    return y


def refuse(bad, table, name, path, problem):
    """Raise ValueError with the place and the "{value}" of the first bad row, if there is one."""
    if bad.any():
        row = int(np.argmax(bad))
        line = "" if path.suffix == ".parquet" else f"line {line_of_row(path, row)}, "
        problem = problem.format(value=f"{table[name].iloc[row]!s:.60}")
        raise ValueError(f"{path}, {line}column {name!r}, row {row} counted from 0: {problem}")


def line_of_row(path, row):
    """The line, from 1, on which a row of a CSV file ends: blank lines are no rows, and a cell may hold line breaks."""
    with open_table(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter=separator(path))
        rows = (reader.line_num for cells in reader if len(cells) > 1 or "".join(cells).strip())
        return next(line for position, line in enumerate(rows, start=-1) if position == row)
