"""scikit-learn's own checks of an estimator, its meta-estimators, arrays in the place of tables, and labels."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from tables import mixed_table

from minictr import AFM, FM, LR, Categorical, Model, NotFittedError, explain, trace
from minictr.estimator import registry

each_library_model = pytest.mark.parametrize("name", registry.library_models())
# check of scikit-learn: why it is not met
EXPECTED_FAILURES = {
    "check_dont_overwrite_parameters": "the layers are public attributes without an underscore: they are there to be "
                                       "looked at",
    "check_sample_weight_equivalence_on_dense_data": "a weight of 2 is one row in one batch, two rows are two in other "
                                                     "batches; and the spread of a number is taken without weights",
    "check_supervised_y_2d": "a y of two dimensions is an error that says so, and not a warning",
}
EXPECTED_OF_REGRESSIONS = {
    "check_regressors_no_decision_function": "one class is both, and explain reads any model's decision_function",
}
# check_methods_sample_order_invariance asks for 1e-7 whatever the order of the rows, and one bit of a float32 is up to
# 1.2e-7. With AVX-512 the last bit of a matrix product depends on the place of its row, so only the models without any
# are checked in float32; the others are in float64, to the same bound.
WITHOUT_MATRIX_PRODUCTS = {"LR", "FM", "FFM", "FwFM", "HOFM"}


def made(name, **settings):
    """A model of tiny size that learns fast, on one thread."""
    cls = registry.library_models()[name]
    return cls(**{**cls.tiny, "epochs": 20, "learning_rate": 0.2, "batch_size": 64, "n_threads": 1, **settings})


def blobs(n=80):
    """An array of two numbers and a whole number, and whether the first is above 0."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((n, 2)), rng.integers(0, 3, n)])
    return X, X[:, 0] > 0


# ------------------------------------------------------------------------------------ check_estimator

@pytest.mark.parametrize("name, task", [
    pytest.param(name, task, marks=[] if name in ("LR", "AFM") and task == "binary" else pytest.mark.long)
    for name in registry.library_models() for task in ("binary", "regression")])
def test_check_estimator(name, task):
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.utils.estimator_checks import check_estimator

    expected = EXPECTED_FAILURES | (EXPECTED_OF_REGRESSIONS if task == "regression" else {})
    assert len(expected) <= 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                           # of skipped checks, and of AFM's single pair
        model = made(name, task=task, dtype="float32" if name in WITHOUT_MATRIX_PRODUCTS else "float64")
        results = check_estimator(model, expected_failed_checks=expected, on_fail=None)
    outcomes = {}
    for result in results:
        outcomes.setdefault(result["status"], set()).add(result["check_name"])
    assert not outcomes.get("failed"), [(result["check_name"], result["exception"]) for result in results
                                        if result["status"] == "failed"]
    assert outcomes["xfail"] == set(expected)                     # what is met by now is not expected to fail
    assert len(outcomes["passed"]) > 40


# ------------------------------------------------------------------------------------ meta-estimators

@each_library_model
def test_bagging(name):
    ensemble = pytest.importorskip("sklearn.ensemble")
    X, y = blobs()
    bag = ensemble.BaggingClassifier(made(name), n_estimators=2, random_state=0).fit(X, y)
    assert bag.predict_proba(X).shape == (80, 2) and bag.score(X, y) > 0.8
    numbers = ensemble.BaggingRegressor(made(name, task="regression"), n_estimators=2, random_state=0).fit(X, X[:, 0])
    assert numbers.score(X, X[:, 0]) > 0.5


@each_library_model
def test_boosting(name):
    ensemble = pytest.importorskip("sklearn.ensemble")
    X, y = blobs()
    labels = np.where(y, "yes", "no")
    boosted = ensemble.AdaBoostClassifier(made(name, epochs=5), n_estimators=2, random_state=0).fit(X, labels)
    assert boosted.score(X, labels) > 0.8


@each_library_model
def test_a_pipeline_whose_steps_give_arrays(name):
    pipeline = pytest.importorskip("sklearn.pipeline")
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OrdinalEncoder, StandardScaler

    X, y = mixed_table(100)
    prepared = make_column_transformer(
        (StandardScaler(), ["price"]), (OrdinalEncoder(dtype=int), ["user"]),
        (SimpleImputer(strategy="most_frequent"), ["hour"]))
    model = pipeline.make_pipeline(prepared, made(name, fields=["x0", Categorical("x1"), Categorical("x2")]))
    assert model.fit(X, y).predict(X).shape == (100,)
    assert model[-1].feature_names_in_.tolist() == ["x0", "x1", "x2"]


def test_cross_validation_of_arrays_with_labels():
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = blobs()
    labels = np.where(y, "yes", "no")
    for scoring in ("accuracy", "roc_auc", "neg_log_loss"):
        scores = selection.cross_val_score(made("LR"), X, labels, cv=3, scoring=scoring, error_score="raise")
        assert np.isfinite(scores).all()
    assert (selection.cross_val_predict(made("LR"), X, labels, cv=3) == labels).mean() > 0.8


def test_metadata_routing():
    sklearn = pytest.importorskip("sklearn", minversion="1.4")
    from sklearn.base import clone
    from sklearn.model_selection import cross_validate

    X, y = blobs()
    seen = []

    class Watched(LR):
        """Says which weights it gets."""

        def fit(self, X, y, *, sample_weight=None, validation=None):
            seen.append(sample_weight)
            return super().fit(X, y, sample_weight=sample_weight)

    c = np.arange(80) % 2 + 1.0
    with sklearn.config_context(enable_metadata_routing=True):
        model = Watched(epochs=1)
        assert model.set_fit_request(sample_weight=True).set_score_request(sample_weight=False) is model
        assert clone(model).get_metadata_routing().fit.requests == {"sample_weight": True}
        cross_validate(model, X, y, params={"sample_weight": c}, cv=2)
        assert [len(weights) for weights in seen] == [40, 40]
        model.set_fit_request(sample_weight="importance").set_partial_fit_request(sample_weight=None)
        cross_validate(model, X, y, params={"importance": c}, cv=2)
        assert len(seen) == 4 and seen[-1] is not None
        with pytest.raises(Exception, match="sample_weight"):
            cross_validate(Watched(epochs=1), X, y, params={"sample_weight": c}, cv=2)
    registry.MODELS.pop("Watched")


def test_not_fitted_is_what_scikit_learn_calls_so():
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.raises(exceptions.NotFittedError) as caught:
        LR().predict(np.eye(2))
    assert isinstance(caught.value, NotFittedError)
    again = pickle.loads(pickle.dumps(caught.value))              # as joblib's workers send it
    assert type(again) is type(caught.value) and str(again) == str(caught.value)


# ------------------------------------------------------------------------------------ arrays

def test_an_array_is_a_table_of_numbered_fields():
    X, y = blobs()
    table = pd.DataFrame(X, columns=["x0", "x1", "x2"])
    expected = made("FM").fit(table, y)
    for same in (X, X.tolist(), np.asfortranarray(X), pd.DataFrame(X)):
        model = made("FM").fit(same, y)
        assert model.feature_names_in_.tolist() == ["x0", "x1", "x2"] and model.n_features_in_ == 3
        np.testing.assert_array_equal(model.decision_function(same), expected.decision_function(table))
        np.testing.assert_array_equal(expected.decision_function(same), expected.decision_function(table))
        assert model.score(same, y) == expected.score(table, y)


def test_the_kinds_of_an_arrays_fields_are_inferred_column_by_column():
    mixed = np.array([["ann", 1, 0.5, True], ["bob", 2, 1.5, False]] * 10, dtype=object)
    kinds = LR().fit(mixed, [0, 1] * 10).encoder_.describe()["kind"].tolist()
    table = pd.DataFrame({"x0": ["ann", "bob"] * 10, "x1": [1, 2] * 10, "x2": [0.5, 1.5] * 10,
                          "x3": [True, False] * 10})
    assert kinds == LR().fit(table, [0, 1] * 10).encoder_.describe()["kind"].tolist()
    assert LR().fit(np.eye(4, dtype=int), [0, 1, 0, 1]).encoder_.describe()["kind"].nunique() == 1


def test_missing_numbers_of_a_masked_array_are_missing():
    X, y = blobs()
    masked = np.ma.masked_array(X, mask=np.zeros(X.shape, bool))
    masked[3, 1] = np.ma.masked
    holed = X.copy()
    holed[3, 1] = np.nan
    np.testing.assert_array_equal(made("LR").fit(masked, y).decision_function(masked),
                                  made("LR").fit(holed, y).decision_function(holed))


@pytest.mark.parametrize("X, error, message", [
    (np.zeros((4, 2)), ValueError, "X has 2 features, but LR is expecting 3 features as input"),
    (np.zeros((4, 4)), ValueError, "X has 4 features, but LR is expecting 3 features as input"),
    (np.zeros(3), ValueError, "Expected 2D array.*got 1D.*Reshape your data"),
    (np.zeros((4, 0)), ValueError, r"0 feature\(s\) \(shape=\(4, 0\)\) while a minimum of 1 is required"),
    (np.zeros((4, 3), complex), ValueError, "Complex data not supported"),
    (pd.DataFrame({"a": [1.0]}), ValueError, "column 'x0' was in fit but is missing here"),
    ([[1.0, 2.0], [1.0]], TypeError, "X must be a DataFrame or a dict of columns.*got list")])
def test_arrays_that_do_not_fit(X, error, message):
    model = made("LR").fit(*blobs())
    for call in (model.predict, model.predict_proba, lambda X: model.score(X, np.zeros(len(X))),
                 lambda X: explain.contributions(model, X), lambda X: model.partial_fit(X, np.zeros(len(X)))):
        with pytest.raises(error, match=message):
            call(X)


def test_a_sparse_matrix_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    for make_sparse in (sparse.csr_array, sparse.dok_array, sparse.coo_matrix):
        with pytest.raises(TypeError, match="sparse input is not supported"):
            LR().fit(make_sparse(np.eye(4)), [0, 1, 0, 1])


def test_an_array_is_explained_like_its_table():
    X, y = blobs()
    model, table = made("AFM").fit(X, y), pd.DataFrame(X, columns=["x0", "x1", "x2"])
    for call in (explain.contributions, explain.attention, explain.interaction_effects,
                 lambda model, X: explain.pair_removal(model, X, y),
                 lambda model, X: explain.permutation_importance(model, X, y),
                 lambda model, X: explain.one_prediction(model, X[:1], background=X).terms,
                 lambda model, X: trace(model, X[:1], y[:1]).table):
        pd.testing.assert_frame_equal(call(model, X), call(model, table))


# ------------------------------------------------------------------------------------ labels

LABELS = {
    "text": np.array(["no", "yes"], dtype=object), "text of NumPy": np.array(["no", "yes"]),
    "booleans": np.array([False, True]), "-1 and 1": np.array([-1, 1]), "1.0 and 2.0": np.array([1.0, 2.0])}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_mapped_back(kind, tmp_path):
    X, clicked = blobs()
    labels = LABELS[kind]
    y = labels[clicked.astype(int)]
    plain, model = made("FM").fit(X, clicked.astype(int)), made("FM", task="binary").fit(X, y, validation=0.2)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    plain.fit(X, clicked.astype(int), validation=0.2)
    for one in (model, again):
        assert one.classes_.tolist() == labels.tolist() and one.task_ == "binary"
        np.testing.assert_array_equal(one.decision_function(X), plain.decision_function(X))
        np.testing.assert_array_equal(one.predict_proba(X), plain.predict_proba(X))
        np.testing.assert_array_equal(one.predict(X), labels[plain.predict(X)])
        assert type(one.predict(X)[0]) is type(one.classes_[0])
        assert one.score(X, y) == plain.score(X, clicked.astype(int)) > 0.8
        pd.testing.assert_frame_equal(explain.pair_removal(one, X, y), explain.pair_removal(plain, X, clicked))
        pd.testing.assert_frame_equal(explain.permutation_importance(one, X, y),
                                      explain.permutation_importance(plain, X, clicked))
        assert one.train_step(X, y) == plain.train_step(X, clicked)
        one.partial_fit(X, y)
        plain.partial_fit(X, clicked)
        plain = made("FM").fit(X, clicked.astype(int), validation=0.2)
    assert trace(model, X[:2], y[:2]).table.shape == trace(plain, X[:2], clicked[:2]).table.shape


@pytest.mark.parametrize("make_y", [list, pd.Series, lambda y: pd.Series(y, dtype="category"),
                                    lambda y: pd.array(y, "string"), lambda y: np.array(y, "U3")])
def test_text_of_every_kind_is_labels(make_y):
    X, _ = blobs()
    y = ["yes", "no"] * 40
    model = made("LR").fit(X, make_y(y))
    assert model.classes_.tolist() == ["no", "yes"] and set(model.predict(X)) <= {"no", "yes"}
    assert model.score(X, make_y(y)) == np.mean(model.predict(X) == np.array(y, dtype=object))


def test_a_pair_for_validation_has_labels_too():
    X, clicked = blobs()
    y = np.where(clicked, "yes", "no")
    model = made("LR").fit(X[:60], y[:60], validation=(X[60:], y[60:]))
    same = made("LR").fit(X[:60], clicked[:60], validation=(X[60:], clicked[60:]))
    columns = ["epoch", "train_loss", "val_loss"]
    pd.testing.assert_frame_equal(model.history_[columns], same.history_[columns])


def test_labels_that_the_model_does_not_know():
    X, clicked = blobs()
    model = made("LR").fit(X, np.where(clicked, "yes", "no"))
    for y, message in ((["maybe"] * 80, "y holds 'maybe' in row 0, and the model was fitted on the classes 'no' and"),
                       (clicked.astype(int), "y holds . in row 0.*'no' and 'yes'"),
                       (["no"] * 79 + [None], "y holds None in row 79")):
        with pytest.raises(ValueError, match=message):
            model.score(X, y)
    with pytest.raises(TypeError, match="y must hold numbers"):
        made("LR").fit(X, clicked).score(X, ["no"] * 80)


def test_partial_fit_is_told_the_classes():
    X, clicked = blobs()
    y = np.where(clicked, "b", "a")
    told = made("LR").partial_fit(X, y, classes=["b", "a"])
    np.testing.assert_array_equal(told.predict(X), made("LR").partial_fit(X, y).predict(X))
    assert told.classes_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match=r"only the class 'a'.*needs both 'a' and 'b'"):
        made("LR").partial_fit(X[~clicked], y[~clicked], classes=["a", "b"])


def test_text_is_no_target_of_a_regression():
    X, _ = blobs()
    with pytest.raises(TypeError, match="y must hold numbers"):
        made("LR", task="regression").fit(X, ["no", "yes"] * 40)


def test_truthfulness_goes_by_labels():
    X, clicked = mixed_table(120)
    y = np.where(clicked, "yes", "no")
    settings = {"epochs": 1, "embedding_dim": 2, "attention_dim": 2}
    tables = [explain.truthfulness(AFM(**settings).fit(X, labels), (X, labels), (X, labels), seeds=2, background=20)
              for labels in (y, clicked.astype(int))]
    pd.testing.assert_frame_equal(*tables)


def test_classes_in_a_file_that_are_none():
    from minictr.estimator.labels import classes_from_json

    for odd in (["yes", "no"], ["a"], "ab", [0, "a"], [[0], [1]], None, [1, 1], [0, 10 ** 30]):
        with pytest.raises(ValueError, match="the classes"):
            classes_from_json(odd)


def test_a_regression_has_no_probabilities():
    X, y = blobs()
    model = FM(task="regression", epochs=1)
    assert hasattr(FM(), "predict_proba") and not hasattr(model, "predict_proba")
    with pytest.raises(TypeError, match="use predict"):
        model.fit(X, y).predict_proba(X)
    assert FM.predict_proba.__doc__
