"""A table, read: the columns that are asked for, by name, in blocks of rows; and what a table must be like."""

import contextlib
from collections import Counter

import pandas as pd

from ..checks import as_column, check_equal_lengths, check_levels

BLOCK = 1_000_000  # rows at a time: temporaries stay small however long the table is


def check_table(table):
    """Raise TypeError unless this is a DataFrame or a dict of columns."""
    if not isinstance(table, (pd.DataFrame, dict)):
        raise TypeError(f"a table is a DataFrame or a dict of columns, got {type(table).__name__}; "
                        f"an array needs names: pd.DataFrame(array, columns=[...])")
    if isinstance(table, pd.DataFrame):
        check_levels(table)


def check_names(names, found):
    """Raise TypeError or ValueError unless each field's name is that of exactly one of the columns that were found."""
    asked, there = Counter(map(str, names)), Counter(found)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a field is a column name (str), Categorical, Numerical or "
                            f"MultiValued, not {name!r}; names of columns become text with "
                            f"table.columns = table.columns.astype(str)")
        if name not in there:
            raise ValueError(f"column {name!r} is among the fields but not in the table; "
                             f"got {found}")
        if asked[name] > 1 or there[name] > 1:
            raise ValueError(f"column {name!r} occurs more than once, among the fields or in "
                             f"the tables; every column needs a name of its own")


def read_columns(table, names):
    """These columns of a DataFrame or dict, by name; all must be there, and equally long."""
    columns, names = {}, list(names)
    for name in names:
        if name not in table:
            raise ValueError(f"column {name!r} was in fit but is missing here; got {list(table)}")
    for name in names:
        column = table[name]    # a DataFrame's column is a Series already, unless its name is there twice
        columns[name] = column if isinstance(column, pd.Series) else as_column(name, column)
    check_equal_lengths(columns)
    return columns


def row_blocks(columns):
    """Cut columns, given by name, into blocks: {name: [(block, the numbers of its rows), ...]}."""
    blocks = {}
    for name, column in columns.items():
        blocks[name] = []
        for first in range(0, len(column), BLOCK):
            block = column if len(column) <= BLOCK else column.iloc[first:first + BLOCK]
            blocks[name].append((block, range(first, first + len(block))))
    return blocks


@contextlib.contextmanager
def in_piece(first_row):
    """Let errors say which piece of a table they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"in the piece that begins with row {first_row:,} (its own rows count from 0): {error}") from error
