"""The strengths of pairs: FwFM's parameters by the names of the fields."""

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from minictr import FM, FwFM, NotFittedError, datasets, explain, plots


@pytest.fixture(scope="module")
def clicks():
    return datasets.make_clicks(20_000, seed=0)


def test_strengths_are_the_parameters_by_the_names_of_the_fields(clicks):
    model = FwFM(embedding_dim=2).prepare(clicks.X, clicks.y)
    model.strength.params["r"][:] = np.arange(28)
    table = explain.pair_strengths(model)
    names = list(clicks.X.columns)
    expected = [(names[i], names[j]) for i in range(8) for j in range(i + 1, 8)]
    assert list(zip(table["field_i"], table["field_j"], strict=True)) == expected
    assert table["value"].tolist() == list(range(28))
    assert table.attrs["quantity"] == "strength" and table.attrs["fields"] == names
    table.loc[0, "value"] = 99
    assert model.strength.params["r"][0] == 0                     # the table is a copy


def test_the_strongest_planted_pair_is_found(clicks):
    """Strength and vectors share an effect between them, so only the strongest one is certain to show."""
    model = FwFM(epochs=10, learning_rate=0.01).fit(clicks.X, clicks.y)
    table = explain.pair_strengths(model)
    strongest = table.loc[table["value"].abs().idxmax()]
    planted = clicks.planted_pairs
    assert {strongest["field_i"], strongest["field_j"]} in [
        {row.field_i, row.field_j} for row in planted.itertuples()]


def test_the_heat_map_says_what_it_shows(clicks):
    table = explain.pair_strengths(FwFM(epochs=1).fit(clicks.X, clicks.y))
    ax = plots.pair_heatmap(table, ax=Figure().subplots())
    written = [text.get_text() for text in ax.figure.findobj(matplotlib.text.Text)]
    assert any("strength r_ij" in text for text in written)


def test_a_model_without_strengths_names_the_one_that_has_them():
    X, y = pd.DataFrame({"a": [0, 1, 2, 3], "b": [0, 1, 0, 1]}), [0, 1, 0, 1]
    with pytest.raises(TypeError, match="FM has no strengths of pairs among its parameters; FwFM has"):
        explain.pair_strengths(FM(epochs=1).fit(X, y))
    with pytest.raises(NotFittedError):
        explain.pair_strengths(FwFM())
