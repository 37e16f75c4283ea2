"""How a person writes it: a table as lines of text, and a cell."""

import re

import numpy as np
import pandas as pd

# Control characters, line separators, marks that turn the direction of the text around them, and halves of characters.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text, keep=""):
    r"""Text that shows what it holds: what would act on a terminal, or can be neither drawn nor stored, as an escape.

    keep : characters to leave as they are, such as line breaks.

    >>> print(printable("red: \x1b[31m, half of a character: \ud83d"))
    red: \x1b[31m, half of a character: \ud83d
    """
    return UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def text_table(rows):
    """Lines of cells under one another, the first column to the left, the others to the right.

    >>> print(text_table([["model", "AUC"], ["FM", "0.8"]]))
    model  AUC
    FM     0.8
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) if place else cell.ljust(width)
                               for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
                     for row in rows)


def rows_text(count):
    """A number of rows as text, or nothing where there is none.

    >>> rows_text(1), rows_text(1200), rows_text(None)
    ('1 row', '1,200 rows', '')
    """
    return "" if pd.isna(count) else f"{int(count):,} row{'s' * (int(count) != 1)}"


def as_text(value):
    """One cell of a table as a person writes it, on one line (see ``printable``).

    >>> as_text(("music", "sport")), as_text(0.1 + 0.2), as_text(None)
    ('music|sport', '0.3', '(missing)')
    """
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return printable("|".join(map(str, value)))
    if pd.isna(value):
        return "(missing)"
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else printable(str(value))
