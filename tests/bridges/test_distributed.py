"""Scoring and training on a Dask cluster of two worker processes: as in one process, whichever worker dies."""

import os
import signal
import sys

import numpy as np
import pandas as pd
import pytest
from models import every_model, small
from tables import FIELDS, mixed_table

from minictr import AFM, Categorical, DeepFM, MultiValued, NotFittedError, Numerical, TrainingDiverged
from minictr.bridges import distributed as minictr_distributed
from minictr.layers import parameters

NEEDED = "needs Dask: pip install \"minictr[dask]\""
pytestmark = pytest.mark.long

N = 530
WEIGHTS = np.linspace(0.5, 2.0, N)
X, Y = mixed_table(N)
X.index = 3 * np.arange(N) + 7
TABLE = X.assign(click=Y, weight=WEIGHTS)
SETTINGS = {                    # each to be seen with one model at least
    "FM": {"reg": 0.01, "lazy": False, "lr_multipliers": {"embedding": 3.0}},
    "AFM": {"freeze": ("linear",), "optimizer": "adagrad"}, "DeepFM": {"optimizer": "sgd", "shuffle_window": 200}}


@pytest.fixture(scope="module")
def client():
    dask = pytest.importorskip("dask", reason=NEEDED)
    distributed = pytest.importorskip("distributed", reason=NEEDED)
    # Dask's own 30 s are not enough where many tests share a slow machine
    patient = dask.config.set({"distributed.comm.timeouts.connect": "1h", "distributed.comm.timeouts.tcp": "1h"})
    with patient, distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                  silence_logs="CRITICAL") as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def ddf(client):
    dd = pytest.importorskip("dask.dataframe", reason=NEEDED)
    return dd.from_pandas(TABLE, npartitions=5)


def make(which, **settings):
    return small(which, FIELDS, **{
        "fields": FIELDS, "epochs": 3, "batch_size": 100, "learning_rate": 0.02, "dtype": "float64",
        "reg": 0.1 if small(which).regularized else 0.0, **SETTINGS.get(which, {}), **settings})


def assert_close(one, other, tolerance):
    one, other = parameters(one), parameters(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance, err_msg=name)


# ------------------------------------------------------------------------------------------------------ scoring

@every_model
def test_scores_are_the_models_own_and_keep_the_index(ddf, name):
    model = make(name, epochs=1).fit(X, Y)
    p_click = minictr_distributed.predict_proba(model, ddf)
    logits = minictr_distributed.decision_function(model, ddf)
    assert p_click.dtype == logits.dtype == "float64" and p_click.npartitions == 5
    np.testing.assert_allclose(p_click.compute(), model.predict_proba(X)[:, 1], rtol=1e-12)
    pd.testing.assert_index_equal(p_click.compute().index, X.index)
    np.testing.assert_allclose(logits.compute(), model.decision_function(X), rtol=1e-12)


def test_scores_go_into_the_table_they_belong_to(ddf):
    """An empty partition and one of a single row are no exception."""
    model = make("FM", epochs=1, dtype="float32").fit(X, Y)
    scored = ddf[ddf["price"] > 14].assign(p=lambda table: minictr_distributed.predict_proba(model, table)).compute()
    assert 0 < len(scored) < 50
    np.testing.assert_allclose(scored["p"], model.predict_proba(X.loc[scored.index])[:, 1], rtol=1e-6)


def test_scoring_leaves_the_model_as_it_is(ddf):
    model = make("FM", epochs=1).fit(X, Y)
    model.train_step(X[:9], Y[:9])
    before = model.predict_proba(X)
    minictr_distributed.predict_proba(model, ddf).compute()
    assert model.optimizer_ is not None and model.n_threads is None
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_regression_and_errors_of_scoring_come_before_any_row_is_read(ddf):
    model = make("FM", task="regression").fit(X, Y)
    np.testing.assert_allclose(minictr_distributed.decision_function(model, ddf).compute(), model.predict(X))
    with pytest.raises(TypeError, match="predicts numbers"):
        minictr_distributed.predict_proba(model, ddf)
    with pytest.raises(NotFittedError):
        minictr_distributed.predict_proba(make("FM"), ddf)
    with pytest.raises(ValueError, match="'price' was in fit but is missing"):
        minictr_distributed.decision_function(model, ddf.drop(columns="price"))


# ----------------------------------------------------------------------------------------------------- training

@every_model
def test_training_is_that_of_one_machine(ddf, name):
    """Same encoder, batches, losses and weights; L2, frozen parameters, weights of rows and multipliers included."""
    validation = mixed_table(60, seed=1)
    alone = make(name).fit(X, Y, sample_weight=WEIGHTS, validation=validation)
    model = make(name)
    assert minictr_distributed.fit(model, ddf, "click", sample_weight="weight", validation=validation) is model
    assert_close(model, alone, 1e-10)
    columns = ["epoch", "train_loss", "val_loss"]
    pd.testing.assert_frame_equal(model.history_[columns], alone.history_[columns], rtol=1e-9)
    assert model.history_.attrs["best_epoch"] == alone.history_.attrs["best_epoch"]
    assert model.history_.attrs["base_loss"] == pytest.approx(alone.history_.attrs["base_loss"])
    np.testing.assert_array_equal(model.row_counts_, alone.row_counts_)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X), rtol=1e-9)


def test_what_a_model_trains_before_itself_is_trained_on_the_workers_too(ddf, client):
    """FNN's FM; the numbers of rows, by which the driver knows them, are no ids."""
    settings = {"fm_epochs": 2, "epochs": 1, "embedding_dim": 3, "deep_layers": (4,)}
    alone = make("FNN", **settings).fit(X, Y, sample_weight=WEIGHTS)
    model = minictr_distributed.fit(make("FNN", **settings), ddf, "click", sample_weight="weight")
    assert_close(model, alone, 1e-10)
    np.testing.assert_array_equal(model.row_counts_, alone.row_counts_)
    assert np.abs(parameters(model)["linear.w"]).max() > 0.05     # the FM learned something
    assert model.init_from is None
    left = client.run(lambda dask_worker: [name for name in vars(dask_worker) if name.startswith("minictr_")])
    assert not any(left.values())


def test_float32_too(ddf):
    settings = {"dtype": "float32", "learning_rate": 0.005}
    model = minictr_distributed.fit(make("DeepFM", **settings), ddf.drop(columns="weight"), "click")
    assert_close(model, make("DeepFM", **settings).fit(X, Y), 1e-5)


def test_fields_are_inferred_and_no_column_but_target_and_weights_is_left_out(ddf):
    """The first partition is empty: the next one says what the columns are."""
    settings = {"fields": None, "epochs": 1}
    model = minictr_distributed.fit(make("FM", **settings), ddf[ddf["price"] > 11].drop(columns="weight"), "click")
    rows = X["price"] > 11
    assert_close(model, make("FM", **settings).fit(X[rows], Y[rows]), 1e-10)
    assert model.encoder_.field_names == list(X)


@pytest.mark.parametrize("shards", [1, 3, 9])
def test_the_number_of_shards_only_changes_the_rounding(ddf, shards):
    """9 shards: some have no row in some batch."""
    settings = {"batch_size": 20, "epochs": 1}
    model = minictr_distributed.fit(make("AFM", **settings), ddf.drop(columns="weight"), "click", shards=shards)
    assert_close(model, make("AFM", **settings).fit(X, Y), 1e-10)


def test_regression_and_a_given_encoder(ddf):
    encoder = make("FM", fields=["user", "genres"]).prepare(X[:50], Y[:50]).encoder_
    settings = {"fields": ["user", "genres"], "task": "regression"}
    model = minictr_distributed.fit(make("FM", **settings), ddf.drop(columns="weight"), "click", encoder=encoder)
    assert model.encoder_ is encoder and model.task_ == "regression"
    assert_close(model, make("FM", **settings).fit(X, Y), 1e-10)      # the first 50 rows hold all values


def test_an_afm_starts_from_its_fm(ddf):
    fm = make("FM").fit(X, Y)
    settings = {"fields": FIELDS, "epochs": 2, "freeze": ("embedding", "linear")}
    model = minictr_distributed.fit(AFM.from_fm(fm, dtype="float64", **settings), ddf.drop(columns="weight"), "click")
    np.testing.assert_array_equal(model.embedding.params["V"], fm.embedding.params["V"])
    assert_close(model, AFM.from_fm(fm, dtype="float64", **settings).fit(X, Y), 1e-10)


def test_the_replicas_are_gone_afterwards(ddf, client):
    minictr_distributed.fit(make("LR", epochs=1), ddf.drop(columns="weight"), "click")
    left = client.run(lambda dask_worker: [name for name in vars(dask_worker) if name.startswith("minictr")])
    assert list(left.values()) == [[], []]


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes by a POSIX signal")
def test_workers_that_die_in_mid_epoch_take_nothing_with_them(ddf, client, monkeypatch):
    """One is killed in the first epoch, both in the second; dropout draws the same masks again."""
    def train():
        model = DeepFM(fields=FIELDS, embedding_dim=3, deep_layers=(5,), dropout=0.3, epochs=4, batch_size=100)
        return minictr_distributed.fit(model, ddf.drop(columns="weight"), "click", shards=2)

    undisturbed, apply, killed = train(), minictr_distributed.DaskTrainer.apply, []

    def apply_and_kill(trainer, grads, n_rows):
        apply(trainer, grads, n_rows)
        if trainer.model.optimizer_.t in (3, 8):
            client.wait_for_workers(2)
            pids = list(client.run(os.getpid).values())
            for pid in pids if trainer.model.optimizer_.t == 8 else pids[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    monkeypatch.setattr(minictr_distributed.DaskTrainer, "apply", apply_and_kill)
    disturbed = train()
    assert len(set(killed)) == 3
    for name, array in parameters(undisturbed).items():
        np.testing.assert_array_equal(array, parameters(disturbed)[name], err_msg=name)
    pd.testing.assert_series_equal(disturbed.history_["train_loss"], undisturbed.history_["train_loss"], rtol=1e-12)


def test_workers_that_never_stay_are_an_error(ddf, monkeypatch):
    monkeypatch.setattr(minictr_distributed.DaskTrainer, "_submit", lambda trainer, *batch: Lost())
    with pytest.raises(RuntimeError, match="failed 5 times because workers died"):
        minictr_distributed.fit(make("LR"), ddf.drop(columns="weight"), "click")


class Lost:
    """What a step gives when its worker has died."""

    def result(self):
        return None


def test_errors_of_training(ddf):
    fit = minictr_distributed.fit
    with pytest.raises(ValueError, match="batch norm needs the whole batch"):
        fit(DeepFM(use_bn=True), ddf, "click")
    with pytest.raises(TypeError, match=r"validation=0.1 of rows that are on the workers; give a pair"):
        fit(make("FM"), ddf, "click", validation=0.1)
    with pytest.raises(ValueError, match=r"lacks one of the columns \['click', 'wieght'\]; it has \['user'"):
        fit(make("FM"), ddf, "click", sample_weight="wieght")
    with pytest.raises(ValueError, match="binary task needs y of 0 and 1"):
        fit(make("FM", task="binary"), ddf, "price")
    with pytest.raises(ValueError, match=r"column 'hour'.*among the fields but not in the table"):
        fit(make("FM"), ddf.drop(columns="hour"), "click")
    with pytest.raises(ValueError, match="nothing to learn from"):
        fit(make("FM"), ddf[ddf["price"] > 1e9], "click")


def test_errors_on_the_workers_come_back_as_they_are(ddf):
    with pytest.raises(TrainingDiverged, match=r"epoch 1, batch \d+: the loss is .* Lower learning_rate"):
        model = make("FM", fields=["user", "hour"], task="regression", optimizer="sgd", learning_rate=1e9)
        minictr_distributed.fit(model, ddf, "price")
    fields = [Categorical("user"), Numerical("price"), MultiValued("genres")]
    encoder = make("FM", fields=fields).prepare(X, Y).encoder_
    with pytest.raises(TypeError, match="'user' held str values in fit but holds int"):
        table = ddf.assign(user=ddf["hour"])
        minictr_distributed.fit(make("FM", fields=fields), table, "click", encoder=encoder)


def test_without_dask_it_says_what_to_do(ddf, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install \"minictr\[dask\]\""):
        minictr_distributed.fit(make("FM"), ddf, "click")
