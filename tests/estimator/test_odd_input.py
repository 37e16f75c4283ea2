"""What users pass by mistake: numbers too large, dates as targets, tables that are none, wrong settings."""

import numpy as np
import pandas as pd
import pytest
from tables import FIELDS, mixed_table

from minictr import AFM, FM, LR, AutoInt, DeepFM, Numerical, explain
from minictr.estimator import stream
from minictr.layers import parameters

N = 60
MODELS = [LR, FM, AFM, AutoInt, DeepFM]


def make(cls=FM, **options):
    return cls(**{"fields": FIELDS, "epochs": 1, "n_threads": 1} | options)


def changed(X, price):
    """The table with one other price, in row 7."""
    X = X.copy()
    X.loc[7, "price"] = price
    return X


# ---- numbers too large -----------------------------------------------------------------------------------

@pytest.mark.parametrize("cls", MODELS)
def test_a_sentinel_is_an_error_wherever_a_table_goes_in(cls):
    X, y = mixed_table(N)
    model, odd = make(cls).fit(X, y), changed(X, 1e30)
    calls = [lambda: model.predict(odd), lambda: model.predict_proba(odd), lambda: model.decision_function(odd),
             lambda: model.score(odd, y), lambda: model.encode(odd, y), lambda: model.partial_fit(odd, y),
             lambda: make(cls).fit(odd, y), lambda: make(cls).fit(X, y, validation=(odd, y)),
             lambda: make(cls).fit([odd.assign(y=y)], "y"),
             lambda: explain.one_prediction(model, odd[7:8].set_axis([7]), background=X),
             lambda: explain.one_prediction(model, X[:1], background=odd),
             lambda: explain.permutation_importance(model, odd, y), lambda: explain.interaction_effects(model, odd)]
    if cls is not AutoInt:
        calls.append(lambda: explain.contributions(model, odd))
    if cls in (AFM, AutoInt):
        calls.append(lambda: explain.attention(model, odd))
    for call in calls:
        with pytest.raises(ValueError, match=r"column 'price', row \d+: 1e[+]30 is too large: .* leave the cell empty"):
            call()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cls, size", [(LR, 1e25), (FM, 100), (AFM, 1e5), (AutoInt, 100), (DeepFM, 100)])
def test_a_logit_that_overflows_is_an_error_of_its_row(cls, size):
    X, y = mixed_table(N)
    model = make(cls, fields=["user", "hour", Numerical("price")]).fit(X, y)
    for array in parameters(model).values():
        array += np.float32(size)
    odd = changed(X, 1e18)
    calls = [lambda: model.predict(odd), lambda: model.predict_proba(odd), lambda: model.score(odd, y)]
    if cls is not AutoInt:
        calls.append(lambda: explain.contributions(model, odd, wide=True))
    assert np.isfinite(model.predict_proba(X)).all()
    message = r"column 'price' holds the largest number of row 7, x = 1e[+]18 .* row 7 is (nan|-?inf), .* float32"
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    model.bias()[:] = np.nan
    with pytest.raises(ValueError, match=r"the parameter .* is not finite: its training diverged"):
        model.predict(X)


def test_a_predicted_rating_that_overflows_is_an_error():
    rng = np.random.default_rng(0)
    model = FM(epochs=1).fit(user_ids=rng.integers(0, 5, N), item_ids=rng.integers(0, 5, N),
                             ratings=rng.integers(1, 6, N))
    model.embedding.params["V"][:] = 1e25
    for call in (lambda: model.predict(1, 2), lambda: model.batch_predict([(1, 2)]), lambda: model.recommend(1)):
        with pytest.raises(ValueError, match=r"the prediction of row 0 is (nan|inf), which float32 cannot hold"):
            call()


def test_targets_too_large_for_their_squares_have_no_score():
    X, y = mixed_table(N)
    model = make(task="regression").fit(X, y)
    with pytest.raises(ValueError, match=r"y, from 0 to 1e[+]200, is too large for its squares"):
        model.score(X, y * 1e200)


# ---- targets and weights -----------------------------------------------------------------------------------

DATES = pd.Series(pd.date_range("2020-01-01", periods=N))


@pytest.mark.parametrize("y", [
    DATES, DATES.to_numpy(), list(DATES.to_numpy()), pd.DatetimeIndex(DATES), DATES.dt.tz_localize("UTC"),
    DATES - DATES[0], pd.Categorical(DATES), DATES.astype(object), list(DATES), DATES.dt.to_period("D"),
    np.arange(N) * 1j, np.array([10 ** 400] * N, object)])
def test_dates_and_other_things_are_no_targets(y):
    X, _ = mixed_table(N)
    weights = mixed_table(N)[1]
    for call in (lambda: make().fit(X, y), lambda: make().fit(X, weights, sample_weight=y),
                 lambda: make().fit(lambda: [(X, y)]), lambda: make().fit(X, weights).score(X, y)):
        with pytest.raises(TypeError, match=r"(y|sample_weight) must hold numbers: "):
            call()


@pytest.mark.parametrize("factor", [1e308, 1e-310])
def test_weights_whose_sum_float64_cannot_hold(factor):
    X, y = mixed_table(N)
    ratios = np.where(np.arange(N) % 2, 1.0, 0.5)
    expected = make().fit(X, y, sample_weight=ratios).decision_function(X)
    with np.errstate(under="ignore"):
        weights = ratios * factor
    np.testing.assert_allclose(make().fit(X, y, sample_weight=weights).decision_function(X), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"the sample weights, of at most .* multiply all of them by one number"):
        make().fit([X.assign(y=y, c=weights)], "y", sample_weight="c")


def test_weights_that_float32_rounds_to_0_count_as_0():
    X, y = mixed_table(N)
    ones = make().fit(X, y, sample_weight=np.where(np.arange(N) < 30, 1.0, 0))
    tiny = make().fit(X, y, sample_weight=np.where(np.arange(N) < 30, 1.0, 1e-60))
    np.testing.assert_array_equal(ones.decision_function(X), tiny.decision_function(X))
    with pytest.raises(ValueError, match="the rows to train on hold only the class 0"):
        make().fit(X, y, sample_weight=np.where(y, 1e-60, 1))


# ---- tables and settings --------------------------------------------------------------------------------------

def test_columns_of_other_indexes_are_not_put_into_another_order():
    X, y = mixed_table(N)
    columns = {name: X[name] for name in X}
    expected = make().fit(X, y).decision_function(X)
    np.testing.assert_array_equal(make().fit(columns, y).decision_function(columns), expected)
    columns["hour"] = list(X["hour"])
    columns["user"], columns["price"], columns["genres"] = (X[name].set_axis(range(N)[::-1]) for name in (
        "user", "price", "genres"))
    np.testing.assert_array_equal(make().fit(columns, y).decision_function(columns), expected)
    columns["price"] = X["price"]
    with pytest.raises(ValueError, match=r"column 'price' has another index than a column before it.*reset_index"):
        make().fit(columns, y)
    columns["price"] = X["price"][1:].set_axis(range(N)[:0:-1])
    with pytest.raises(ValueError, match=r"column 'price' has another index"):
        make().fit(columns, y)


def test_a_sparse_matrix_is_no_table_in_pieces():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = mixed_table(N)
    model = make().fit(X, y)
    for matrix in (sparse.csr_matrix(np.eye(N)), sparse.coo_array(np.eye(N))):
        for call, arguments in ((make().fit, [y]), (model.partial_fit, [y]), (model.predict, [])):
            with pytest.raises(TypeError, match=r"sparse input is not supported.*X.toarray\(\)"):
                call(matrix, *arguments)


@pytest.mark.parametrize("options, message", [
    ({"freeze": None}, "freeze must be a tuple of names, .* got None"),
    ({"freeze": 3}, "freeze must be a tuple of names, .* got 3"),
    ({"freeze": (3,)}, "freeze must be a tuple of names"),
    ({"name": object()}, "name must be None or text, got <object"),
    ({"fields": 3}, "fields must be None or a list of column names and fields, got 3"),
    ({"fields": {"user", "hour"}}, "fields must be None or a list"),
    ({"fields": "user"}, "fields must be None or a list"),
    ({"fields": (name for name in ["user"])}, "fields must be None or a list"),
])
def test_settings_of_a_wrong_kind(options, message):
    X, y = mixed_table(N)
    with pytest.raises(ValueError, match=message):
        make(**options).fit(X, y)


def test_an_index_is_a_list_of_fields(tmp_path):
    X, y = mixed_table(N)
    model = make(fields=X.columns[:2]).fit(X, y)
    assert list(model.feature_names_in_) == ["user", "hour"] and "Index(['user', 'hour']" in repr(model)
    model.save(tmp_path / "model.npz")
    loaded = FM.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


# ---- long cells, many columns -----------------------------------------------------------------------------------

def test_windows_of_a_table_in_pieces_are_short_where_rows_are_long(monkeypatch):
    monkeypatch.setattr(stream, "WINDOW_SLOTS", 45)
    X, y = mixed_table(N)                                         # rows of 6 slots: three values in a cell of genres
    pieces = [X.assign(y=y)[:25], X.assign(y=y)[25:]]
    sizes = []

    class Watched(stream.Epochs):
        def __iter__(self):
            for window in super().__iter__():
                sizes.append(len(window[1]))
                yield window

    monkeypatch.setattr(stream, "Epochs", Watched)
    make().fit(pieces, "y")
    assert sizes == [7] * 8 + [4]
    sizes.clear()
    make(shuffle_window=50).fit(pieces, "y")
    assert sizes == [50, 10]
