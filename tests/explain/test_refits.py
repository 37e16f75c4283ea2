"""Models that are fitted again, and how far what they say of pairs varies."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from tables import FIELDS, mixed_table

from minictr import AFM, FM, datasets, explain, plots
from minictr.layers import parameters


@pytest.fixture(scope="module")
def world():
    clicks = datasets.make_clicks(5_000, seed=0)
    return clicks, FM(epochs=5, learning_rate=0.01, seed=5).fit(clicks.X, clicks.y)


class Noted(FM):
    """An FM that notes what it is fitted on."""

    fits = []

    def fit(self, X=None, y=None, *, validation=None, **options):
        self.fits.append((X, y, validation))
        return super().fit(X, y, validation=validation, **options)


def noted(**options):
    X, y = mixed_table(200, 0)
    X = X.assign(row=np.arange(200))
    model = Noted(fields=FIELDS, epochs=1, seed=3).fit(X, y)
    Noted.fits.clear()
    models = explain.refits(model, X, y, **options)
    return X, y, models, list(Noted.fits)


def test_each_has_its_own_seed_and_its_own_rows_drawn_with_replacement():
    _, y, models, fits = noted(n=3)
    assert [model.seed for model in models] == [4, 5, 6]
    drawn = [rows["row"].to_numpy() for rows, _, _ in fits]
    for rows, (_, targets, validation) in zip(drawn, fits, strict=True):
        assert len(rows) == 200 and 110 < len(set(rows)) < 145 and validation is None       # 63 % of 200 are 126
        np.testing.assert_array_equal(targets, np.asarray(y)[rows])
    assert not np.array_equal(drawn[0], drawn[1])


def test_without_bootstrap_only_the_seeds_differ():
    X, _, models, fits = noted(n=2, bootstrap=False)
    for rows, _, _ in fits:
        pd.testing.assert_frame_equal(rows, X)
    a, b = (model.embedding.params["V"] for model in models)
    assert not np.array_equal(a, b)


def test_a_share_for_validation_is_held_out_before_rows_are_drawn():
    _, y, _, fits = noted(n=2, validation=0.25)
    for rows, _, (X_held_out, y_held_out) in fits:
        assert len(X_held_out) == 50 and len(rows) == 150 and len(set(rows["row"])) < 150
        assert not set(rows["row"]) & set(X_held_out["row"])
        np.testing.assert_array_equal(y_held_out, np.asarray(y)[X_held_out["row"]])


def test_the_same_call_gives_the_same_models_and_leaves_the_first_alone(world):
    clicks, model = world
    before = {name: array.copy() for name, array in parameters(model).items()}
    one, other = (explain.refits(model, clicks.X, clicks.y, n=2) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.decision_function(clicks.X), b.decision_function(clicks.X))
    for name, array in parameters(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_an_afm_s_fm_is_fitted_again_on_the_same_rows():
    X, y = mixed_table(60, 0)
    fm = FM(embedding_dim=2, fields=FIELDS, epochs=1).fit(X, y)
    model = AFM.from_fm(fm, attention_dim=2, epochs=1).fit(X, y)
    for again in explain.refits(model, X, y, n=2):
        assert again.init_from is not fm and again.init_from.seed == again.seed


def test_labels_stay_labels(world):
    clicks, _ = world
    labels = np.where(clicks.y == 1, "yes", "no")
    model = FM(epochs=1).fit(clicks.X, labels)
    assert explain.refits(model, clicks.X, labels, n=2)[1].classes_.tolist() == ["no", "yes"]


# ---- the table over models -------------------------------------------------------------------------------

def made_up(values):
    table = pd.DataFrame({"field_i": ["a", "a", "b"], "field_j": ["b", "c", "c"], "value": values})
    table.attrs = {"quantity": "contribution", "fields": ["a", "b", "c"], "interval": "over rows"}
    return table


def test_means_extremes_and_ranks_by_hand():
    result = explain.stability([[3, -4, 1], [5, 2, 2], [1, 2, 0]], made_up)
    assert result[["field_i", "field_j"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert result["value"].tolist() == [3, 0, 1]
    assert result["low"].tolist() == [1, -4, 0] and result["high"].tolist() == [5, 2, 2]
    # ranks by |value|: 2 1 3; then 1 and a tie of 2 and 3; then 2 1 3
    np.testing.assert_allclose(result["rank"], [5 / 3, (1 + 2.5 + 1) / 3, (3 + 2.5 + 3) / 3])
    assert result["rank_low"].tolist() == [1, 1, 2.5] and result["rank_high"].tolist() == [2, 2.5, 3]
    assert result.attrs["quantity"] == "contribution"
    assert result.attrs["interval"] == "smallest to largest of 3 fitted models"


def test_fields_have_ranks_too(world):
    clicks, model = world
    table = explain.stability([model, model], lambda model: explain.permutation_importance(
        model, clicks.X, clicks.y, repeats=1))
    assert table.columns.tolist() == ["field", "value", "low", "high", "rank", "rank_low", "rank_high"]
    np.testing.assert_array_equal(table["low"], table["high"])


def test_planted_pairs_stay_on_top_and_the_picture_says_what_its_whiskers_are(world):
    clicks, model = world
    models = explain.refits(model, clicks.X, clicks.y, n=4)
    table = explain.stability(models, lambda model: explain.pair_importance(model, clicks.X, purified=True))
    first = table.loc[clicks.planted_pairs["value"].idxmax()]
    assert first["rank"] == table["rank"].min() and first["rank_high"] <= 3
    assert (table["low"] < table["high"]).all()
    ax = plots.pair_ranking(table, ax=Figure().subplots())
    assert "whiskers: smallest to largest of 4 fitted models" in ax.get_xlabel()


@pytest.mark.parametrize("models, message", [
    ([[1, 2, 3]], "at least 2 models, got 1; explain.refits"), ([], "got 0")])
def test_too_few_models(models, message):
    with pytest.raises(ValueError, match=message):
        explain.stability(models, made_up)


def test_tables_of_other_pairs_are_refused():
    table = made_up([1, 2, 3])
    for other in (table[1:], table.iloc[[0, 1, 1]], table.replace("c", "d"), pd.concat([table, table[:1]]),
                  table.drop(columns="field_j")):
        with pytest.raises(ValueError, match="the same pairs or fields"):
            explain.stability([0, 1], [table, other].__getitem__)
        with pytest.raises(ValueError, match="the same pairs or fields"):
            explain.stability([0, 1], [other, table].__getitem__)
    with pytest.raises(ValueError, match="a column value"):
        explain.stability([0, 1], lambda model: made_up([1, 2, 3]).drop(columns="value"))


@pytest.mark.parametrize("n", [1, 2.5, "3"])
def test_how_many(n, world):
    clicks, model = world
    with pytest.raises(ValueError, match="n must be a whole number of at least 2"):
        explain.refits(model, clicks.X, clicks.y, n=n)


def test_tables_that_are_ranked_are_put_in_the_order_of_the_first(world):
    clicks, model = world
    models = explain.refits(model, clicks.X, clicks.y, n=3)
    tables = [explain.importance(again, clicks.X) for again in models]
    names = ["term", "field_i", "field_j"]
    assert any(not tables[0][names].equals(table[names]) for table in tables)     # or there is nothing to be seen
    table = explain.stability(models, lambda again: explain.importance(again, clicks.X))
    assert table[names].equals(tables[0][names])
    values = pd.concat([each.set_index(names)["value"] for each in tables], axis=1).reindex(tables[0][names])
    np.testing.assert_array_equal(table[["low", "high"]], np.stack([values.min(axis=1), values.max(axis=1)], axis=1))


def test_groups_of_rows_keep_their_names(world):
    clicks, model = world
    models = [model, FM(epochs=1, seed=6).fit(clicks.X, clicks.y)]
    table = explain.stability(models, lambda one: explain.pair_importance(one, clicks.X, by="position"))
    assert table["group"].nunique() == 5
    assert not table.duplicated(["group", "field_i", "field_j"]).any()
