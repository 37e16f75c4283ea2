"""How many rows support a term, counted one by one."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from tables import FIELDS, mixed_table

from minictr import FM, HOFM, AutoInt, DeepFM, Numerical, explain, plots


def fitted(cls=FM, n_rows=300, fields=FIELDS, **settings):
    X, y = mixed_table(n_rows)
    X.loc[5::7, "price"] = np.nan
    return cls(fields=fields, epochs=1, embedding_dim=2, **settings).fit(X, y), X


def holds(background, row, field):
    """Which rows of the background hold what the row does, (n,) bool, by the words of the docstring."""
    value, column = row[field], background[field]
    if field == "genres":
        return column.map(lambda cell: set(value.split("|")) <= set(cell.split("|"))).to_numpy()
    if field != "price":
        return (column == value).to_numpy()
    if np.isnan(value):
        return column.isna().to_numpy()
    edges = np.quantile(column.dropna(), np.arange(11) / 10, method="higher")
    inside = (edges[0] <= value) & (value <= edges[-1])
    place = np.searchsorted(edges[1:-1], value, side="right")
    return (inside & column.notna() & (np.searchsorted(edges[1:-1], column, side="right") == place)).to_numpy()


@pytest.mark.parametrize("cls", [FM, HOFM, DeepFM])
def test_rows_are_those_that_hold_all_values_of_the_term(cls):
    model, X = fitted(cls)
    some = X.iloc[[0, 5, 9, 17]].reset_index(drop=True)
    table = explain.contributions(model, some, support=X)
    columns = [column for column in ("field_i", "field_j", "field_l") if column in table]
    for line in table.itertuples():
        names = [name for name in (getattr(line, column) for column in columns) if name is not None]
        if not names:
            assert line.rows is pd.NA and line.term in ("bias", "deep part")
            continue
        masks = [holds(X, some.iloc[line.row], name) for name in names]
        assert line.rows == np.logical_and.reduce(masks).sum() >= 1
    assert table.attrs["n_rows"] == len(X)
    plain = explain.contributions(model, some)
    pd.testing.assert_frame_equal(table.drop(columns="rows"), plain)


def test_values_that_the_background_does_not_hold_have_no_rows():
    model, X = fitted()
    odd = X.iloc[:3].assign(user=["eve", "ann", "ann"], price=[10.0, 50.0, -50.0], genres="a|b|c")
    rows = explain.contributions(model, odd, support=X[X["genres"] != "a|b|c"]).set_index(["row", "field_i", "field_j"])
    rows = rows[rows.index.get_level_values(1).notna()]["rows"]
    of_fields = {key[:2]: count for key, count in rows.items() if pd.isna(key[2])}
    assert of_fields[0, "user"] == 0 and of_fields[0, "price"] > 0
    assert of_fields[1, "price"] == of_fields[2, "price"] == 0 and of_fields[1, "user"] > 0
    assert of_fields[0, "genres"] == 0


def test_few_numbers_are_compared_exactly():
    X, y = mixed_table(200)
    X["price"] = np.random.default_rng(0).choice([1.0, 2.0, 5.0], 200)
    model = FM(fields=["user", Numerical("price")], epochs=1).fit(X, y)
    asked = X.iloc[[0, 0]].assign(price=[2.0, 3.0])
    rows = explain.contributions(model, asked, support=X).query("field_i == 'price' and term == 'field'")["rows"]
    assert rows.tolist() == [(X["price"] == 2).sum(), 0]


def test_wide_has_no_column_of_rows():
    model, X = fitted()
    with pytest.raises(ValueError, match="leave wide out"):
        explain.contributions(model, X, wide=True, support=X)


@pytest.mark.parametrize("cls", [FM, AutoInt])
def test_one_prediction_says_on_how_many_rows_each_term_rests(cls):
    model, X = fitted(cls)
    explanation = explain.one_prediction(model, X[3:4], background=X)
    terms = explanation.terms
    named = terms["field_i"].notna()
    assert terms["rows"].isna().tolist() == (~named).tolist()
    for line in terms[named].itertuples():
        masks = [holds(X, X.iloc[3], name) for name in (line.field_i, line.field_j) if name is not None]
        assert line.rows == np.logical_and.reduce(masks).sum()
    text = explanation.text(top=3)
    assert "how many of the background's 300 rows hold the values" in text
    largest = terms[named].iloc[terms[named]["value"].abs().argmax()]
    assert re.search(rf"{largest['value']:+.3f}".replace("+", r"\+") + rf" +{largest['rows']} row", text)


def test_rows_are_counted_in_all_of_a_background_of_which_means_take_a_part(monkeypatch):
    monkeypatch.setattr(explain.prediction, "BACKGROUND_ROWS", 20)
    model, X = fitted()
    terms = explain.one_prediction(model, X[3:4], background=X).terms
    user = terms[(terms["term"] == "field") & (terms["field_i"] == "user")]
    assert user["rows"].item() == (X["user"] == X["user"][3]).sum()


def test_a_waterfall_names_the_rows_where_the_table_has_them():
    model, X = fitted()
    with_rows, without = (explain.contributions(model, X[:1], support=support) for support in (X, None))
    labels = [[label.get_text() for label in plots.waterfall(table, ax=Figure().subplots()).get_yticklabels()]
              for table in (with_rows, without)]
    first = with_rows.query("term == 'field'")
    assert f"user ({first['rows'].iloc[0]} rows)" in labels[0] and "user" in labels[1]
    assert labels[0][0] == "bias" and labels[0][-1] == "logit"
    assert not any("row" in label for label in labels[1])
