"""A fit that failed leaves no model that says it is fitted; one that ended was looked at after its last step."""

import numpy as np
import pandas as pd
import pytest

from minictr import AFM, FM, LR, DeepFM, NotFittedError, Numerical, TrainingDiverged, datasets, training
from minictr.app.cli import main
from minictr.layers import parameters
from minictr.training import loop

CLICKS = datasets.make_clicks(400, seed=0)
X, Y = CLICKS.X, CLICKS.y
WILD = {"epochs": 1, "learning_rate": 1e10, "batch_size": 5_000}      # one step, after which nothing is finite


def sums(n_rows=300):
    """A table of sums of money, in which a step of plain gradient descent is far too large."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"paid": rng.normal(0, 1e9, n_rows), "owed": rng.normal(0, 1e9, n_rows),
                          "country": rng.choice(["at", "ch", "de"], n_rows)})
    return table, (rng.random(n_rows) < 0.5).astype(int)


def sums_model(**settings):
    fields = [Numerical("paid"), Numerical("owed"), "country"]
    return FM(fields=fields, optimizer="sgd", epochs=1, batch_size=5_000, **settings)


def assert_not_fitted(model, tmp_path):
    for call in (lambda: model.predict(X), lambda: model.score(X, Y), lambda: model.save(tmp_path / "m.npz")):
        with pytest.raises(NotFittedError):
            call()
    assert not (tmp_path / "m.npz").exists()


# ------------------------------------------------------------------------------------------ the last update

@pytest.mark.parametrize("plain", [False, True])
def test_the_last_update_is_checked(plain, tmp_path):
    model = AFM(**WILD, plain=plain)
    with pytest.raises(TrainingDiverged, match=r"epoch 1, after its last update: the loss is nan.*learning_rate"):
        model.fit(X, Y)
    assert_not_fitted(model, tmp_path)


def test_the_last_update_of_a_table_in_pieces_and_of_ratings_is_checked():
    with pytest.raises(TrainingDiverged, match="after its last update"):
        AFM(**WILD).fit([(X[:200], Y[:200]), (X[200:], Y[200:])])
    with pytest.raises(TrainingDiverged, match="after its last update"):
        AFM(**WILD).fit(user_ids=X["user_segment"], item_ids=X["ad_category"], ratings=1.0 * np.arange(len(X)),
                        item_features=pd.DataFrame({"one": 1}, index=X["ad_category"].unique()))


def test_the_last_update_is_checked_on_validation_rows_too():
    with pytest.raises(TrainingDiverged, match=r"epoch 1: the validation loss is nan.*learning_rate"):
        AFM(**WILD).fit(X, Y, validation=0.2)


def test_a_parameter_that_the_last_batch_does_not_look_up_is_checked(monkeypatch):
    fill = loop.fill_untrained_rows

    def step(trainer, slots, y, c=None):
        trainer.params["embedding.V"][0] = np.inf                 # the row of an unknown value: in no batch
        return 0.5

    monkeypatch.setattr(training.ChunkedTrainer, "step", step)
    monkeypatch.setattr(loop, "fill_untrained_rows", lambda model: None)
    with pytest.raises(TrainingDiverged, match=r"the parameter embedding\.V is not finite"):
        FM(epochs=3).fit(X, Y)
    assert fill is not loop.fill_untrained_rows


def test_the_last_update_of_a_partial_fit_is_checked(tmp_path):
    model = AFM(**WILD | {"learning_rate": 0.001}).fit(X, Y)
    model.optimizer_.learning_rate = 1e10
    with pytest.raises(TrainingDiverged, match="after its last update"):
        model.partial_fit(X, Y)
    assert_not_fitted(model, tmp_path)


@pytest.mark.parametrize("plain", [False, True])
def test_sums_without_a_transform_are_an_error_that_names_it(plain):
    table, y = sums()
    with pytest.raises(TrainingDiverged, match=r"after its last update: the loss is .*standard"):
        sums_model(plain=plain).fit(table, y)


def test_an_interrupted_fit_whose_weights_are_not_finite_has_diverged(monkeypatch):
    def step(trainer, slots, y, c=None):
        trainer.params["linear.w"][1] = np.nan
        raise KeyboardInterrupt

    monkeypatch.setattr(training.ChunkedTrainer, "step", step)
    with pytest.raises(TrainingDiverged, match=r"parameter linear\.w is not finite"):
        FM().fit(X, Y)


def test_the_command_saves_nothing(tmp_path, capsys):
    table = tmp_path / "clicks.csv"
    X.assign(click=Y).to_csv(table, index=False)
    for rate in ("1e10", "1e300"):
        assert main(["train", str(table), "--target", "click", "--model", "afm", "--save", str(tmp_path / "m.npz"),
                     "--learning-rate", rate, "--epochs", "1", "--batch-size", "5000", "--validation", "0"]) == 1
        out, err = capsys.readouterr()
        assert "minictr: error: epoch 1, after its last update" in err and "Saved" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["clicks.csv"]


# -------------------------------------------------------------------------------------------- a fit that failed

def fails_in_epoch_2(model, line):
    if line["epoch"] == 2:
        raise RuntimeError("no more")


def spent():
    """Pieces that can be gone through once."""
    pieces = iter([(X[:200], Y[:200]), (X[200:], Y[200:])])
    return lambda: pieces


@pytest.mark.parametrize("fit", [
    lambda model: model.fit(X, Y, after_epoch=fails_in_epoch_2),
    lambda model: model.fit(spent()),
    lambda model: model.set_params(learning_rate=1e30, optimizer="sgd", task="regression").fit(X, 1e6 * Y),
    lambda model: model.fit(X, Y, validation=(X, Y + 5))], ids=["in epoch 2", "spent", "diverged", "validation"])
@pytest.mark.parametrize("before", [False, True], ids=["new", "fitted before"])
def test_a_fit_that_failed_leaves_a_model_that_is_not_fitted(fit, before, tmp_path):
    model = FM(epochs=3, batch_size=50)
    if before:
        model.fit(X, Y)
    with pytest.raises((RuntimeError, ValueError, TrainingDiverged)):
        fit(model)
    assert_not_fitted(model, tmp_path)


def test_ctrl_c_keeps_what_there_is():
    def pressed(model, line):
        raise KeyboardInterrupt

    model = FM(epochs=3).fit(X, Y, after_epoch=pressed)
    assert len(model.history_) == 1 and np.isfinite(model.predict_proba(X)).all()


# ------------------------------------------------------------------------------------ a partial_fit that failed

def test_a_first_partial_fit_that_failed_leaves_a_model_that_is_not_fitted(tmp_path):
    for wrong in ((X, Y + 0.5), (X[:0], Y[:0]), (X, 1e3 * Y + 0.1)):
        model = DeepFM(task="binary")
        with pytest.raises(ValueError, match="y"):
            model.partial_fit(*wrong)
        assert_not_fitted(model, tmp_path)
    model = AFM(**WILD)
    with pytest.raises(TrainingDiverged):
        model.partial_fit(X, Y)
    assert_not_fitted(model, tmp_path)


def test_a_partial_fit_that_is_refused_leaves_the_model_as_it_was():
    model = FM(epochs=1).fit(X, Y)
    before = {name: array.copy() for name, array in parameters(model).items()}
    for wrong in ((X, Y + 5), (X.drop(columns="user_segment"), Y), (X, Y[:-1])):
        with pytest.raises(ValueError):
            model.partial_fit(*wrong)
    for name, array in parameters(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    model.predict(X)


def test_pieces_before_the_one_that_fails_are_learned():
    def pieces():
        yield X[:200], Y[:200]
        raise OSError("the disk is gone")

    one, other = LR(epochs=1).fit(X, Y), LR(epochs=1).fit(X, Y)
    with pytest.raises(OSError, match="gone"):
        one.partial_fit(pieces())
    other.partial_fit(X[:200], Y[:200])
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    first, other = LR(), LR().partial_fit(X[:200], Y[:200])
    with pytest.raises(OSError, match="gone"):
        first.partial_fit(pieces())
    np.testing.assert_array_equal(first.predict_proba(X), other.predict_proba(X))


def test_a_first_partial_fit_that_fails_in_its_first_piece_leaves_a_model_that_is_not_fitted():
    model = LR(task="binary")
    with pytest.raises(ValueError, match="y"):
        model.partial_fit([(X[:200], Y[:200] + 5), (X[200:], Y[200:])])
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("plain", [True, False])
def test_a_moment_that_overflows_is_an_error_not_a_parameter_that_never_moves_again(plain):
    """The square of a gradient of 1e22 is inf in float32, and a step divided by its root is 0."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": 1e13 * rng.random(100), "b": 1e13 * rng.random(100)})
    model = FM(fields=[Numerical("a", transform=None), Numerical("b", transform=None)], epochs=1, batch_size=50,
               learning_rate=1e-30, plain=plain)
    with pytest.raises(TrainingDiverged, match=r"epoch 1, after its last update: the optimizer's v of embedding\.V is "
                                               r"not finite any more\. Lower learning_rate .*standard"):
        model.fit(X, rng.integers(0, 2, 100))
