"""The rows of the tables. Rows to learn from and rows to test on come from different functions, and never together."""

import numpy as np

from minictr.datasets import frappe, ml_1m

SPLIT_SEED = 2019               # of MovieLens-1M's one split


def frappe_part(part, clicks=False):
    """(X, y) of one of Frappe's published parts; y is +1 and -1, or 1 and 0 as clicks."""
    table = frappe.load()[part]
    y = table["label"].to_numpy()
    return table.drop(columns="label"), (y + 1) // 2 if clicks else y


def frappe_learning_rows(clicks=False):
    """Frappe's training and validation rows, each (X, y)."""
    return frappe_part("train", clicks), frappe_part("validation", clicks)


def ml_1m_parts():
    """All rows of AutoInt's MovieLens-1M, and the row numbers of train, validation and test, 80/10/10, drawn once."""
    X, y = ml_1m.load_ctr()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(y))
    return X, y, np.split(order, [len(order) * 8 // 10, len(order) * 9 // 10])


def ml_1m_learning_rows():
    """MovieLens-1M's training and validation rows, each (X, y)."""
    X, y, (train, validation, _) = ml_1m_parts()
    return (X.iloc[train], y[train]), (X.iloc[validation], y[validation])


def ml_1m_test_rows():
    """MovieLens-1M's test rows, (X, y)."""
    X, y, (_, _, test) = ml_1m_parts()
    return X.iloc[test], y[test]


def some(rows, n):
    """``n`` of the rows (X, y), always the same, in random order; all as they are where n is None or no less."""
    X, y = rows
    if n is None or n >= len(y):
        return rows
    kept = np.random.default_rng(0).permutation(len(y))[:n]
    return X.iloc[kept], y[kept]
