"""What an explanation costs grows with the number of columns, not with its square."""

import numpy as np
import pandas as pd
import pytest

from minictr import FM, explain
from minictr.fields import TableEncoder


@pytest.fixture
def encoded_cells(monkeypatch):
    """Count the cells that are encoded: rows times fields of each call."""
    cells, encode = [], TableEncoder.encode

    def counted(self, table, fields=None, **options):
        slots = encode(self, table, fields, **options)
        cells.append(len(slots) * slots.n_fields)
        return slots

    monkeypatch.setattr(TableEncoder, "encode", counted)
    return cells


def wide_table(n_columns, n_rows=30):
    rng = np.random.default_rng(0)
    columns = {f"c{number}": rng.choice(list("abcdef"), n_rows) for number in range(n_columns)}
    return pd.DataFrame(columns), rng.integers(0, 2, n_rows)


@pytest.mark.parametrize("exact", [True, False])
def test_one_prediction_encodes_each_column_a_few_times(encoded_cells, monkeypatch, exact):
    if not exact:
        monkeypatch.setattr("minictr.explain.prediction.offers", lambda cls, method: False)
    spent = {}
    for n_columns in (5, 40):
        X, y = wide_table(n_columns)
        model = FM(epochs=1).fit(X, y)
        encoded_cells.clear()
        explain.one_prediction(model, X[:1], background=X)
        spent[n_columns] = sum(encoded_cells)
    assert spent[40] <= 8 * spent[5]
    assert spent[40] <= 4 * 40 * len(X)
