"""How a person writes it: a table as lines of text, and a cell."""

import numpy as np
import pandas as pd


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


def as_text(value):
    """One cell of a table as a person writes it.

    >>> as_text(("music", "sport")), as_text(0.1 + 0.2), as_text(None)
    ('music|sport', '0.3', '(missing)')
    """
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return "|".join(map(str, value))
    if pd.isna(value):
        return "(missing)"
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
