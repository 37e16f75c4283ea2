"""scikit-learn's conventions, kept without depending on it, and what happens with wrong input."""

import contextlib
import copy
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from models import MODELS, every_kind, every_model, small
from tables import FIELDS, mixed_table

import minictr
from minictr import AFM, FM, Categorical, NotFittedError
from minictr.layers import named_layers, parameters, states


def make(which, **settings):
    return small(which, FIELDS, **{"fields": FIELDS, "epochs": 2, **settings})


def table(n_rows=200, seed=0):
    return mixed_table(n_rows, seed, price_effect=0.8)


def weights(model):
    return {name: array.copy() for name, array in {**parameters(model), **states(model)}.items()}


# ------------------------------------------------------------------------------------------- parameters

@every_model
def test_the_constructor_only_stores(name):
    cls = MODELS[name]
    odd = {parameter: object() for parameter in inspect.signature(cls).parameters}
    model = cls(**odd)
    assert vars(model) == odd                           # nothing checked, nothing converted, nothing added
    assert all(model.get_params()[parameter] is value for parameter, value in odd.items())


@every_kind
def test_get_params_and_set_params(name):
    model = small(name)
    params = model.get_params()
    assert params.keys() == inspect.signature(type(model)).parameters.keys()
    assert model.get_params(deep=False) == params
    assert model.set_params(epochs=77, seed=5) is model
    assert (model.epochs, model.seed) == (77, 5)
    assert model.get_params() == params | {"epochs": 77, "seed": 5}
    with pytest.raises(ValueError, match=r"no parameter 'epoch'; it has .*epochs"):
        model.set_params(epoch=3)


@every_kind
def test_clone_has_the_parameters_and_nothing_learned(name):
    X, y = table(50)
    model = make(name, epochs=1).fit(X, y)
    copied = model.clone()
    assert type(copied) is type(model) and copied.get_params() == model.get_params()
    assert not hasattr(copied, "encoder_") and not list(named_layers(copied))


@every_model
def test_repr_shows_what_is_not_the_default(name):
    cls = MODELS[name]
    assert repr(cls()) == f"{cls.__name__}()"
    assert repr(cls(epochs=3, verbose=True)) == f"{cls.__name__}(epochs=3, verbose=True)"
    assert repr(cls(epochs=10)) == f"{cls.__name__}()"
    model = cls(fields=FIELDS, name="x", lr_multipliers={"linear": 2})
    assert eval(repr(model), vars(minictr)).get_params() == model.get_params()


# ------------------------------------------------------------------------------ scikit-learn's own tools

@every_kind
def test_scikit_learn_clones(name):
    sklearn_base = pytest.importorskip("sklearn.base")
    X, y = table(50)
    model = make(name, epochs=1).fit(X, y)
    copied = sklearn_base.clone(model)
    assert copied.get_params() == model.get_params() and not hasattr(copied, "encoder_")
    assert sklearn_base.is_classifier(model)
    assert not sklearn_base.is_regressor(model)
    regression = make(name, epochs=1, task="regression")
    assert sklearn_base.is_regressor(regression) and not sklearn_base.is_classifier(regression)


@every_kind
def test_cross_val_score(name):
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = table()
    model = make(name, epochs=4, learning_rate=0.05, batch_size=32)
    scores = selection.cross_val_score(model, X, y, cv=3)
    assert scores.shape == (3,) and (scores > 0.5).all()
    aucs = selection.cross_val_score(model, X, y, cv=3, scoring="roc_auc")
    assert (aucs > 0.6).all()
    losses = selection.cross_val_score(make(name), X, y, cv=3, scoring="neg_log_loss")
    assert (losses > -1).all() and (losses < 0).all()


@every_kind
def test_cross_val_score_of_a_regression(name):
    selection = pytest.importorskip("sklearn.model_selection")
    X, _ = table()
    model = make(name, task="regression", epochs=20, learning_rate=0.05, batch_size=32)
    assert (selection.cross_val_score(model, X, X["price"].to_numpy(), cv=3) > 0.3).all()      # R^2


def test_cross_val_predict_and_train_test_split():
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = table()
    p = selection.cross_val_predict(make("FM"), X, y, cv=3, method="predict_proba")
    assert p.shape == (len(X), 2)
    X_train, X_test, y_train, _ = selection.train_test_split(X, y, random_state=0)
    assert make("FM").fit(X_train, y_train).predict(X_test).shape == (len(X_test),)


@pytest.mark.parametrize("name", [name for name, cls in MODELS.items() if hasattr(cls, "embedding_dim")])
def test_grid_search(name):
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = table()
    grid = {"embedding_dim": np.arange(1, 4, 2), "learning_rate": [0.0001, 0.05]}
    search = selection.GridSearchCV(make(name, epochs=4), grid, cv=2, scoring="neg_log_loss").fit(X, y)
    assert search.best_params_["learning_rate"] == 0.05
    assert search.predict_proba(X).shape == (len(X), 2)
    assert search.best_estimator_.embedding_dim == search.best_params_["embedding_dim"]


@every_kind
def test_pipeline(name):
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    X, y = table()
    early = preprocessing.FunctionTransformer(lambda table: table.assign(early=table["hour"] < 1))
    model = pipeline.make_pipeline(early, make(name, fields=[*FIELDS, "early"]))
    assert model.fit(X, y) is model
    assert model.predict(X).shape == (len(X),) and 0 <= model.score(X, y) <= 1
    np.testing.assert_array_equal(model.classes_, [0, 1])
    with pytest.raises(Exception, match="not fitted"):
        pipeline.make_pipeline(early, make(name)).predict(X)


def test_an_afm_that_starts_from_an_fm_can_be_cloned_and_still_starts_from_it():
    """clone copies parameters; the fitted FM is one of them, and must not come out unfitted."""
    sklearn_base = pytest.importorskip("sklearn.base")
    X, y = table(50)
    fm = make("FM").fit(X, y)
    afm = AFM.from_fm(fm, fields=FIELDS, epochs=1)
    for copied in (afm.clone(), sklearn_base.clone(afm), copy.deepcopy(afm)):
        assert copied.fit(X, y).predict(X).shape == (50,)


# --------------------------------------------------------------------------------------------- attributes

@every_kind
def test_what_fit_leaves_behind(name):
    X, y = table()
    model = make(name)
    assert model.fit(X, y) is model
    assert model.task_ == "binary" and model.n_features_in_ == 4
    assert model.feature_names_in_.tolist() == ["user", "hour", "price", "genres"]
    np.testing.assert_array_equal(model.classes_, [0, 1])
    assert len(model.history_) == 2


@every_kind
def test_the_kinds_of_predictions_agree(name):
    X, y = table()
    model = make(name, epochs=4, learning_rate=0.05, batch_size=32).fit(X, y)
    s, p, labels = model.decision_function(X), model.predict_proba(X), model.predict(X)
    assert s.shape == labels.shape == (200,) and p.shape == (200, 2)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-s.astype(float))), rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(labels, (p[:, 1] >= 0.5).astype(int))
    assert set(labels) == {0, 1} and labels.dtype.kind == "i"


@every_kind
def test_before_fit_nothing_works_but_says_so(name):
    X, y = table(20)
    model = make(name)
    for call in (model.predict, model.predict_proba, model.decision_function, lambda X: model.score(X, y),
                 lambda X: model.save("never"), lambda X: model.n_features_in_, lambda X: model.feature_names_in_,
                 lambda X: model.predict(1, 2), lambda X: model.predict(user_id=1, item_id=2),
                 lambda X: model.batch_predict([(1, 2)]), lambda X: model.recommend(1)):
        with pytest.raises(NotFittedError, match=f"{type(model).__name__} is not fitted"):
            call(X)
    assert issubclass(NotFittedError, ValueError) and issubclass(NotFittedError, AttributeError)


@every_kind
def test_score_is_accuracy_or_r_squared(name):
    X, y = table()
    model = make(name).fit(X, y)
    assert model.score(X, y) == pytest.approx(np.mean(model.predict(X) == y))
    c = np.random.default_rng(0).uniform(0, 1, 200)
    assert model.score(X, y, sample_weight=c) == pytest.approx(np.average(model.predict(X) == y, weights=c))
    target = X["price"].to_numpy()
    model = make(name).fit(X, target)
    residual = target - model.predict(X)
    assert model.score(X, target) == pytest.approx(1 - np.sum(residual ** 2) / np.sum((target - target.mean()) ** 2))
    mean = np.average(target, weights=c)
    assert model.score(X, target, c) == pytest.approx(
        1 - np.sum(c * residual ** 2) / np.sum(c * (target - mean) ** 2))


def test_r_squared_of_a_constant_target_is_a_number():
    """There is no variance to explain; as in scikit-learn the score is then 0."""
    X, _ = table(20)
    assert make("LR").fit(X, X["price"]).score(X, np.ones(20)) == 0


def test_score_needs_one_target_a_row():
    X, y = table(20)
    model = make("LR").fit(X, y)
    for wrong in (y[:19], y[:1], y[:, None]):
        with pytest.raises(ValueError):
            model.score(X, wrong)


# -------------------------------------------------------------------------------------------------- task

@pytest.mark.parametrize("y, task", [
    ([0, 1], "binary"), ([0.0, 1.0], "binary"), ([False, True], "binary"), ([1, 5], "regression"),
    ([0, 2], "regression"), ([-1, 1], "regression"), ([0.0, 0.5], "regression"), ([3, 3], "regression")])
def test_the_task_is_chosen_by_the_targets(y, task):
    X, _ = table(20)
    odd_pair = task == "regression" and len(set(y)) == 2
    with pytest.warns(UserWarning, match="y holds two values") if odd_pair else contextlib.nullcontext():
        model = make("LR").fit(X, np.array(y * 10))
    assert model.task_ == task
    assert hasattr(model, "classes_") == (task == "binary")


def test_clicks_can_be_learned_as_numbers():
    X, y = table()
    model = make("LR", task="regression").fit(X, y)
    assert model.task_ == "regression" and model.history_.attrs["loss"] == "squared error"
    assert model.predict(X).dtype.kind == "f"
    with pytest.raises(TypeError, match="use predict"):
        model.predict_proba(X)


@pytest.mark.parametrize("kind", [
    bool, int, float, "int8", "uint8", "boolean", "Int64", "list", "Series", "frame index"])
def test_targets_of_every_kind_give_the_same_model(kind):
    X, y = table(60)
    same = {"list": lambda: y.tolist(), "Series": lambda: pd.Series(y), "boolean": lambda: pd.array(y == 1, "boolean"),
            "Int64": lambda: pd.array(y, "Int64"), "frame index": lambda: pd.Series(y, index=np.arange(60)[::-1])}
    model = make("FM").fit(X, same[kind]() if kind in same else y.astype(kind))
    np.testing.assert_array_equal(model.decision_function(X), make("FM").fit(X, y).decision_function(X))


@pytest.mark.parametrize("y, message", [
    ([1, 2, 0, 1] * 5, "row 1 holds 2"), ([0, 1, 0.5, 1] * 5, "row 2 holds 0.5.* continuous"),
    ([-1, 1, 0, 1] * 5, "row 0 holds -1"), ([1.5, 2.5] * 10, "row 0 holds 1.5.* continuous"),
    ([0, 1] * 9 + [0, np.nan], "y holds nan in row 19"), ([7] * 20, "only the class 7")])
def test_a_binary_task_needs_clicks_of_0_and_1_or_two_other_labels(y, message):
    X, _ = table(20)
    with pytest.raises(ValueError, match=message):
        make("LR", task="binary").fit(X, y)


@pytest.mark.parametrize("task", ["auto", "binary"])
@pytest.mark.parametrize("value", [0, 1, True, "yes"])
def test_one_class_cannot_be_learned(task, value):
    X, _ = table(20)
    with pytest.raises(ValueError, match=f"only the class {value!r}"):
        make("LR", task=task).fit(X, [value] * 20)


def test_one_class_with_weight_cannot_be_learned_either():
    X, y = table(20)
    with pytest.raises(ValueError, match="class"):
        make("LR").fit(X, y, sample_weight=(y == 1).astype(float))


# -------------------------------------------------------------------------------------------- wrong input

def test_x_must_be_a_table():
    X, y = table(20)
    for wrong in ("X", 3, object(), [[1, 2], [3]]):
        with pytest.raises(TypeError, match="X must be a DataFrame or a dict of columns"):
            make("LR").fit(wrong, y)
    for wrong in (X["user"], y):
        with pytest.raises(ValueError, match=r"Expected 2D array.*got 1D"):
            make("LR").fit(wrong, y)
    for wrong in (X.to_numpy(), X.to_numpy().tolist()):
        with pytest.raises(ValueError, match=r"'user' is among the fields but not in the table; got \['x0', 'x1'"):
            make("LR").fit(wrong, y)
    model = make("LR").fit(X, y)
    for predict in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(TypeError, match="no names, and this model was fitted on the fields user, hour, price"):
            predict(X.to_numpy())


@pytest.mark.parametrize("row", [{"user": "ann", "genres": ("a", "b")}, {"user": "ann"}, {"user": None, "age": [3.0]}])
def test_a_dict_that_is_one_row_is_refused(row):
    """pandas would repeat its single values along its tuples: two interests, two rows."""
    with pytest.raises(TypeError, match=r"'user' is the single value.*DataFrame\(\[row\]\)"):
        make("LR").fit(row, [1])


@pytest.mark.parametrize("y, error, message", [
    (np.zeros(19), ValueError, "X has 20 rows and y has 19"),
    ([0, 1] * 9 + [0, np.nan], ValueError, "y holds nan in row 19"),
    ([0, 1] * 9 + [0, None], (ValueError, TypeError), "y "), ([0, np.inf] * 10, ValueError, "y holds inf in row 1"),
    (["no", "yes", "maybe", "no"] * 5, ValueError, r"3 different labels \(maybe, no, yes"),
    (["no", "yes"] * 9 + ["no", None], ValueError, "y is missing in row 19"),
    (["no", 1] * 10, TypeError, "y must hold numbers"),
    (np.zeros((20, 1)), ValueError, r"one value a row.*\(20, 1\)"),
    (np.zeros((20, 2)), ValueError, "one value a row"), (3, ValueError, "one value a row"),
    (pd.array([True, None] * 10, "boolean"), (ValueError, TypeError), "y "),
    (pd.DataFrame({"y": [0, 1] * 10}), ValueError, "one value a row")],
    ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_targets_are_refused(y, error, message):
    X, _ = table(20)
    with pytest.raises(error, match=message):
        make("LR").fit(X, y)


def test_no_rows_are_refused():
    X, y = table(20)
    with pytest.raises(ValueError, match="empty"):
        make("LR").fit(X[:0], y[:0])
    assert make("LR").fit(X, y).predict(X[:0]).shape == (0,)


def test_fit_needs_x_and_y():
    X, y = table(20)
    for args in ((), (None, y)):
        with pytest.raises(TypeError, match="X and y"):
            make("LR").fit(*args)
    with pytest.raises(ValueError, match=r"X and y.*the target y is None"):
        make("LR").fit(X)
    with pytest.raises(TypeError, match="predict needs a table X"):
        make("LR").fit(X, y).predict()
    with pytest.raises(TypeError, match="either X and y, or user_ids"):
        make("LR").fit(X, y, user_ids=[1], item_ids=[1], ratings=[1])
    with pytest.raises(TypeError, match="user_features"):
        make("LR").fit(X, y, user_features=X)


def test_a_missing_column_is_named():
    X, y = table(20)
    model = make("FM").fit(X, y)
    message = r"column 'hour' was in fit but is missing here; got \['user', 'price', 'genres'\]"
    with pytest.raises(ValueError, match=message):
        model.predict(X.drop(columns="hour"))
    with pytest.raises(ValueError, match="'hour' is among the fields but not in the table"):
        make("FM").fit(X.drop(columns="hour"), y)


def test_another_type_in_a_column_is_an_error_rather_than_all_unknown():
    X, y = table(20)
    model = make("FM").fit(X, y)
    with pytest.raises(TypeError, match="'hour' held int values in fit but holds str"):
        model.predict(X.assign(hour=X["hour"].astype(str)))


def test_the_order_of_the_columns_does_not_matter_and_more_of_them_neither():
    X, y = table()
    model = make("FM").fit(X, y)
    other = X[["genres", "price", "hour", "user"]].assign(more=1)
    np.testing.assert_array_equal(model.decision_function(other), model.decision_function(X))
    np.testing.assert_array_equal(make("FM").fit(other, y).decision_function(X), model.decision_function(X))


def test_a_dict_of_columns_is_as_good_as_a_frame():
    X, y = table()
    columns = {name: X[name].tolist() for name in X}
    model = make("FM").fit(columns, y, validation=0.2)
    np.testing.assert_array_equal(model.decision_function(columns),
                                  make("FM").fit(X, y, validation=0.2).decision_function(X))


def test_the_index_of_a_table_does_not_matter():
    X, y = table()
    odd = X.set_index(pd.Index(np.arange(200)[::-1] // 2))
    model = make("FM").fit(odd, y, validation=0.2)
    np.testing.assert_array_equal(model.decision_function(odd),
                                  make("FM").fit(X, y, validation=0.2).decision_function(X))


@every_kind
def test_inputs_are_not_changed(name):
    X, y = table(60)
    c = np.random.default_rng(0).uniform(0.1, 2, 60)
    X_val, y_val = table(30, seed=1)
    fields = list(FIELDS)
    before = [X.copy(), y.copy(), c.copy(), X_val.copy(), y_val.copy()]
    model = make(name, fields=fields).fit(X, y, sample_weight=c, validation=(X_val, y_val))
    model.predict_proba(X)
    model.partial_fit(X, y, c)
    for now, then in zip((X, y, c, X_val, y_val), before, strict=True):
        if isinstance(now, pd.DataFrame):
            pd.testing.assert_frame_equal(now, then)
        else:
            np.testing.assert_array_equal(now, then)
    assert fields == FIELDS and model.fields is fields


@every_kind
def test_read_only_input_is_fine(name):
    X, y = table(60)
    y, c = y.astype(np.float32), np.ones(60)
    for array in (y, c):
        array.flags.writeable = False
    assert make(name).fit(X, y, sample_weight=c).predict(X).shape == (60,)


# ------------------------------------------------------------------------------------------------ refit

@every_kind
def test_a_second_fit_starts_afresh(name):
    X, y = table()
    X_other, _ = table(100, seed=3)
    model = make(name).fit(X_other.assign(user="eve"), X_other["price"])        # another task, other values
    model.fit(X, y)
    fresh = make(name).fit(X, y)
    for array, value in weights(fresh).items():
        np.testing.assert_array_equal(weights(model)[array], value, err_msg=array)
    np.testing.assert_array_equal(model.predict_proba(X), fresh.predict_proba(X))
    assert model.history_["epoch"].tolist() == [1, 2]
    model.partial_fit(X, y).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), fresh.predict_proba(X))


def test_a_refit_on_another_task_leaves_no_classes_behind():
    X, y = table(50)
    model = make("FM").fit(X, y)
    model.fit(X, X["price"])
    assert model.task_ == "regression" and not hasattr(model, "classes_")


def test_a_failing_refit_does_not_leave_a_model_that_predicts_nonsense():
    """Old weights with the vocabulary of the new table would be just that."""
    X, y = table(100)
    model = make("FM", fields=["user", "hour"]).fit(X, y)
    before = model.decision_function(X)
    other = X.assign(user=X["user"].map({"ann": "dan", "bob": "eve", "cem": "fay", "dan": "ann"}))
    with pytest.raises(ValueError, match="epochs"):
        model.set_params(epochs=0).fit(other, y)
    try:
        after = model.decision_function(X)
    except NotFittedError:
        return
    np.testing.assert_array_equal(after, before)


def test_after_a_failing_first_fit_the_model_is_not_fitted():
    X, y = table(50)
    model = AFM(fields=["user"])
    with pytest.raises(ValueError, match="one field"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


@every_kind
def test_refits_with_the_same_seed_are_the_same(name):
    X, y = table()
    model = make(name)
    first = model.fit(X, y).decision_function(X)
    np.testing.assert_array_equal(model.fit(X, y).decision_function(X), first)


# ------------------------------------------------------------------------------------- copies by the user

@every_kind
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
                         ids=["deepcopy", "pickle"])
def test_a_copy_predicts_the_same_and_is_independent(name, duplicate):
    X, y = table()
    model = make(name).fit(X, y, validation=0.2)
    model.train_step(X, y)
    before = model.decision_function(X)
    copied = duplicate(model)
    np.testing.assert_array_equal(copied.decision_function(X), before)
    copied.partial_fit(X, y)
    copied.train_step(X, y)
    assert not np.array_equal(copied.decision_function(X), before)
    np.testing.assert_array_equal(model.decision_function(X), before)
    model.partial_fit(X, y)
    model.train_step(X, y)
    np.testing.assert_array_equal(copied.decision_function(X), model.decision_function(X))


def test_models_share_nothing():
    X, y = table(60)
    one, other = make("FM").fit(X, y), make("FM").fit(X, y)
    before = other.decision_function(X)
    for array in parameters(one).values():
        array[...] = 0
    np.testing.assert_array_equal(other.decision_function(X), before)


# -------------------------------------------------------------------------------------------- the fields

def test_fields_are_inferred_if_none_are_given():
    X, y = table(60)
    model = FM(epochs=1).fit(X.assign(genres=X["genres"].str.split("|")), y)
    assert model.encoder_.describe()["kind"].tolist() == ["categorical", "categorical", "numerical", "multi-valued"]
    assert model.fields is None


def test_fields_choose_columns_and_their_order():
    X, y = table(60)
    model = FM(epochs=1, fields=[Categorical("hour"), "user"]).fit(X, y)
    assert model.feature_names_in_.tolist() == ["hour", "user"]
    model.predict(X[["user", "hour"]])


def test_the_same_field_objects_serve_several_models():
    X, y = table(60)
    first = make("FM").fit(X, y)
    before = first.decision_function(X)
    make("FM").fit(X.assign(price=X["price"] * 100, user="x"), y)
    np.testing.assert_array_equal(first.decision_function(X), before)
