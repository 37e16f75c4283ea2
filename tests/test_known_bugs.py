"""One test for every published defect of a CTR or teaching library that this one could share.

Each docstring names the public thread or repository where the defect was seen.
"""

import inspect
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from models import ATTENDING, MODELS, every_model, sized, small
from tables import FIELDS, mixed_table

from minictr import (
    AFM,
    FM,
    LR,
    AutoInt,
    Categorical,
    datasets,
    explain,
    losses,
    metrics,
    optim,
    training,
)
from minictr.layers import (
    AttentionPooling,
    Dense,
    Dropout,
    Embedding,
    InteractingLayer,
    Layer,
    RowGradient,
    named_layers,
    parameters,
    sigmoid,
)
from minictr.slots import Slots

pytestmark = pytest.mark.filterwarnings("ignore:two fields make one pair:UserWarning")

def table(n_rows=300, seed=0):
    return mixed_table(n_rows, seed)


def make(name, **settings):
    return sized(name, FIELDS, **{"embedding_dim": 3, "fields": FIELDS, "epochs": 2, **settings})


def some_ratings(n_ratings=1_500, seed=0):
    data = datasets.make_ratings(80, 60, n_ratings, seed=seed)["ratings"]
    return {"user_ids": data["user_id"], "item_ids": data["movie_id"], "ratings": data["rating"]}


# ---------------------------------------------------------------------------------------------- attention

def test_afm_attention_is_not_switched_off():
    """hexiangnan/attentional_factorization_machine#19: the softmax runs over an axis of length 1, all weights are 1."""
    rng = np.random.default_rng(0)
    layer = AttentionPooling(k=3, t=4, rng=rng, dtype=np.float64)
    pij = rng.normal(0, 2, (5, 6, 3))
    out = layer.forward(pij)
    aij = layer.cache["aij"]
    assert aij.shape == (5, 6) and (aij < 0.999).any() and np.ptp(aij, axis=1).min() > 1e-3
    np.testing.assert_allclose(aij.sum(axis=1), 1)      # over the pairs of a row, not over the rows of the batch
    assert np.abs(out - pij.sum(axis=1)).max() > 0.1


def test_heads_do_not_mix_fields():
    """reczoo/FuxiCTR#30: heads were split by a reshape alone, so that each head saw pieces of several fields.

    A gradient check passes all the same, and rows still sum to 1; only the order of the fields gives it away.
    """
    rng = np.random.default_rng(0)
    layer = InteractingLayer(3, H=2, d=4, rng=rng, dtype=np.float64)
    E, order = rng.normal(0, 1, (6, 5, 3)), np.array([3, 0, 4, 2, 1])
    out = layer.forward(E)
    a = layer.cache["a"]
    np.testing.assert_allclose(layer.forward(E[:, order]), out[:, order], atol=1e-12)
    np.testing.assert_allclose(layer.cache["a"], a[:, :, order][:, :, :, order], atol=1e-12)
    changed = E.copy()
    changed[:, 4] += 1
    layer.forward(changed)
    np.testing.assert_allclose(layer.cache["Q"][:, :, :4], np.delete(_projected(layer, E, "Q"), 4, axis=2), atol=1e-12)


def _projected(layer, E, name):
    """(B, H, M, d): each head's own columns of the weight, field by field."""
    W = layer.params[f"W_{name}"]
    return np.stack([E @ W[:, head * layer.d:(head + 1) * layer.d] for head in range(layer.H)], axis=1)


def test_attention_is_not_only_that_of_the_last_batch(monkeypatch):
    """DeepCTR-Torch: ``normalized_att_score`` holds the last mini-batch only, 32 rows of 20,000."""
    monkeypatch.setattr(training.chunk_sizes, "CHUNK_NUMBERS", 1)
    X, y = table(200)
    model = make("AFM", epochs=10, learning_rate=0.1).fit(X, y)
    X = X.sort_values("user")
    whole = explain.attention(model, X)["value"]
    parts = [explain.attention(model, X[i:i + 50])["value"] for i in range(0, 200, 50)]
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-5)
    assert np.abs(whole - parts[-1]).max() > 1e-3


@pytest.mark.parametrize("name", ATTENDING)
def test_attention_comes_out_by_one_call_with_the_names_of_the_fields(name):
    """shenweichen/DeepCTR#10 and #110, reczoo/FuxiCTR: edit the installed source, or it is dropped altogether."""
    X, y = table()
    result = explain.attention(make(name).fit(X, y), X)
    assert set(result["field_i"]) | set(result["field_j"]) == {"user", "hour", "price", "genres"}


def test_the_regulariser_does_not_destroy_the_attention():
    """RecBole 1.2.1: 2 ||W|| beside the *mean* loss drives W to 0, and the attention of every row to 1/P.

    The paper's lambda belongs to the *sum* over the batch; here it is divided by the batch size (and 0 by default).
    """
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"user": rng.integers(0, 50, 6_000), "item": rng.integers(0, 50, 6_000),
                      "gender": rng.integers(0, 2, 6_000), "genre": rng.integers(0, 5, 6_000)})
    effect = np.array([[2, -2, 2, -2, 0], [-2, 2, -2, 2, 0]])[X["gender"], X["genre"]]
    y = (rng.random(6_000) < sigmoid(effect)).astype(int)
    W, attention = {}, {}
    batch_size = 256
    strengths = {"off": 0.0, "the paper's 2 at 4096 rows": 2 * batch_size / 4096, "RecBole's": 2 * batch_size}
    for what, reg in strengths.items():
        model = AFM(epochs=15, learning_rate=0.01, batch_size=batch_size, reg=reg,
                    lr_multipliers={"attention": 10}).fit(X, y)
        W[what] = np.linalg.norm(model.attention.params["W"])
        attention[what] = explain.attention(model, X)
    planted = attention["off"].query("field_i == 'gender' and field_j == 'genre'")["value"].item()
    assert planted > 0.25 and AFM().reg == 0
    spread = {what: (result["high"] - result["low"]).max() * 6 for what, result in attention.items()}
    assert W["RecBole's"] < 0.1 and spread["RecBole's"] < 0.05
    assert W["the paper's 2 at 4096 rows"] > 10 * W["RecBole's"] and spread["the paper's 2 at 4096 rows"] > 0.05


def test_the_strength_of_reg_does_not_depend_on_how_often_the_batch_repeats_itself():
    """DeepCTR-Torch: the regulariser is added to a sum over the batch, so that its strength depends on the batch size.

    Here the objective is 1/B [sum of losses + lambda ||W||^2]: twice the rows and twice lambda are the same step.
    """
    X, y = table(30)
    twice = np.concatenate([np.arange(30), np.arange(30)])
    steps = []
    for rows, reg in ((np.arange(30), 0.5), (twice, 1.0)):
        model = make("AFM", optimizer="sgd", learning_rate=0.1, dtype="float64", reg=reg).prepare(X, y)
        model.train_step(X.iloc[rows], y[rows])
        steps.append(model.attention.params["W"].copy())
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-12)


def test_reg_of_afm_leaves_h_and_p_alone():
    """ML_CIA: L2 also on h and p, where the paper (eq. 8) has W only."""
    assert AFM().regularized == ("attention.W",)


def test_the_attention_net_has_a_bias_b_and_no_bias_on_the_score():
    """RecBole leaves out the paper's b; torchfm adds a bias to the score, which the softmax cancels."""
    layer = AttentionPooling(2, 3, np.random.default_rng(0))
    assert {name: array.shape for name, array in layer.params.items()} == {"W": (2, 3), "b": (3,), "h": (3,)}


def test_autoint_has_its_residual_unless_told_otherwise():
    """RecBole: ``has_residual`` is in no yaml, so it is None, and AutoInt runs without its residual."""
    assert AutoInt().residual is True
    X, y = table(50)
    names = set(parameters(AutoInt(epochs=1, fields=FIELDS).fit(X, y)))
    assert {f"interacting_{layer}.W_Res" for layer in (1, 2, 3)} <= names


def test_autoint_has_residual_and_relu_in_every_layer_and_no_output_projection():
    """rixwew/pytorch-fm afi.py: one residual and one ReLU after the last layer, and torch's extra projection W_O."""
    X, y = table(50)
    model = make("AutoInt", num_layers=3).fit(X, y)
    model.forward(model.encoder_.encode(X))
    for layer in model.interacting:
        assert set(layer.params) == {"W_Q", "W_K", "W_V", "W_Res"}
        assert layer.cache["out"].min() == 0
    assert model.mlp is None and model.linear is None   # AutoInt is not AutoInt+ by default, as in DeepCTR


# -------------------------------------------------------------------------------------------- loss and steps

def test_there_is_no_second_sigmoid():
    """d2l-ai/d2l-en#1360: a sigmoid in the model and another in the loss; the mean prediction fell from .19 to .07."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.integers(0, 4, 3_000), "b": rng.integers(0, 4, 3_000)})
    y = (rng.random(3_000) < 0.19).astype(int)
    for name in MODELS:
        model = sized(name, X, epochs=5, learning_rate=0.01)
        p = model.fit(X, y).predict_proba(X)[:, 1]
        assert p.mean() == pytest.approx(y.mean(), rel=0.04)
    s = np.array([-800.0, 0.0, 800.0])
    assert losses.LogLoss().forward(s, np.array([1.0, 0.0, 0.0])) == pytest.approx((800 + np.log(2) + 800) / 3)
    assert model.decision_function(X).min() < 0         # a logit, no probability


def test_accuracy_compares_labels_not_probabilities():
    """d2l-ai/d2l-en#1360: accuracy by equality of probability and label is always about 0."""
    X, y = table()
    model = make("LR", epochs=10, learning_rate=0.05).fit(X, y)
    assert set(model.predict(X)) == {0, 1} and model.score(X, y) > 0.6


def test_the_classifier_returns_labels_not_signs():
    """rushter/MLAlgorithms fm.py: the classifier returns the sign of the logit."""
    X, y = table()
    assert make("FM").fit(X, y).predict(X).min() >= 0


def test_adam_corrects_by_one_minus_beta_to_the_t():
    """eriklindernoren/ML-From-Scratch#35: dividing by 1 - beta makes all later steps three times too short.

    Under a constant gradient every step of Adam is the learning rate.
    """
    w = np.zeros(1)
    adam = optim.Adam(0.01)
    for t in range(1, 501):
        adam.step({"w": w}, {"w": np.array([3.0])})
        assert w[0] == pytest.approx(-0.01 * t, rel=1e-6)


def test_repeated_ids_add_up_their_gradients():
    """ddbourgin/numpy-ml, Embedding: ``dW[ids] += ...`` keeps one of several gradients of the same id."""
    slots = Slots([[2, 2, 1], [2, 0, 1]], np.array([[1, 0.5, 0.5], [1, 1, 0]]), starts=[0, 1])
    layer = Embedding(4, 2, np.random.default_rng(0), dtype=np.float64)
    layer.forward(slots)
    dE = np.arange(8.0).reshape(2, 2, 2)
    layer.backward(dE)
    expected = np.zeros((4, 2))
    for b in range(2):
        for s in range(3):
            expected[slots.ids[b, s]] += slots.x[b, s] * dE[b, 0 if s == 0 else 1]
    np.testing.assert_allclose(layer.grads["V"].dense(4), expected)
    w = np.zeros(4)
    optim.SGD(1.0).step({"w": w}, {"w": RowGradient(Slots([[3], [3], [3]], None, [0]), np.ones(3))})
    assert w.tolist() == [0, 0, 0, -3]


def test_calling_backward_twice_does_no_harm():
    """karpathy/micrograd#102: gradients accumulate over calls, and the second is wrong."""
    layer = Dense(3, 2, np.random.default_rng(0))
    layer.forward(np.ones((4, 3), np.float32))
    for _ in range(2):
        layer.backward(np.ones((4, 2), np.float32))
        np.testing.assert_array_equal(layer.grads["b"], [4, 4])


def test_weight_decay_scales_with_the_learning_rate():
    """rushter/MLAlgorithms fm.py: weight decay is not multiplied by the learning rate."""
    X, y = table(30)
    moved = []
    for learning_rate in (0.1, 0.01):
        after = []
        for reg in (0.0, 1.0):
            model = make("FM", optimizer="sgd", learning_rate=learning_rate, dtype="float64", reg=reg).prepare(X, y)
            model.train_step(X, y)
            after.append(model.embedding.params["V"].copy())
        moved.append(after[1] - after[0])
    np.testing.assert_allclose(moved[0], 10 * moved[1], rtol=1e-6, atol=1e-15)
    assert np.abs(moved[0]).max() > 1e-6


def test_every_factor_of_the_fm_learns():
    """rushter/MLAlgorithms fm.py: ``fit`` raises a TypeError, and the gradient of V uses only its first factor."""
    X, y = table()
    start = make("FM").prepare(X, y).embedding.params["V"].copy()
    moved = make("FM").fit(X, y).embedding.params["V"] - start
    assert (np.abs(moved).max(axis=0) > 1e-4).all()


def test_the_fm_is_that_of_the_transposed_factor_without_its_diagonal():
    """MatrixSlow: Reshape(H) for H^T, the diagonal and the factor 2 are left in: -2.05 for a true -4.40."""
    X, y = table(50)
    model = make("FM", fields=["user", "hour"], dtype="float64").fit(X, y)
    rng = np.random.default_rng(0)
    H = rng.normal(0, 1, (3, model.encoder_.n_ids))                       # (k, n): one column a value
    model.embedding.params["V"][...] = H.T
    w, w0 = model.linear.params["w"], model.linear.params["w0"]
    slots = model.encoder_.encode(X)
    x = np.zeros((50, model.encoder_.n_ids))
    np.put_along_axis(x, slots.ids.astype(int), 1, axis=1)
    square = np.einsum("bi,ki,kj,bj->b", x, H, H, x)                           # x^T H^T H x
    diagonal = np.einsum("bi,ki,ki,bi->b", x, H, H, x)
    np.testing.assert_allclose(model.decision_function(X), w0 + x @ w + (square - diagonal) / 2, rtol=1e-12)
    assert np.abs(square - (square - diagonal) / 2).max() > 1


def test_the_mlp_of_deepfm_reads_the_concatenated_vectors_not_their_sum():
    """MatrixSlow feeds the MLP the sum of the embeddings: then it cannot tell the fields apart."""
    X, y = table(50)
    model = make("DeepFM", deep_layers=(5,)).fit(X, y)
    assert model.mlp.dense[0].params["W"].shape == (4 * 3, 5)


def test_deepfm_is_the_plain_sum_of_its_parts():
    """ChenglongChen/tensorflow-DeepFM reads the logit out of a concatenation by learned weights; eq. 1 is a sum."""
    X, y = table(50)
    model = make("DeepFM", dtype="float64").fit(X, y)
    slots = model.encoder_.encode(X)
    E = model.embedding.forward(slots)
    total = E.sum(axis=1)
    y_fm = model.linear.forward(slots) + 0.5 * (total**2 - (E**2).sum(axis=1)).sum(axis=1)
    np.testing.assert_allclose(model.forward(slots), y_fm + model.mlp.forward(E.reshape(50, -1)), rtol=1e-12)


def test_batches_of_one_class_are_no_trouble():
    """DeepCTR-Torch: the training AUC is a mean over batches, and NaN as soon as one of them has a single class."""
    X, y = table(300)
    y[:] = 0
    y[:3] = 1
    history = make("FM", batch_size=10).fit(X, y).history_
    assert np.isfinite(history["train_loss"]).all()
    with pytest.raises(ValueError, match="at least one of each"):
        metrics.auc([1, 1], [0.1, 0.2])


def test_large_logits_and_sure_predictions_are_finite():
    """ChenglongChen/tensorflow-DeepFM#37, shenweichen/DeepCTR#261: NaN losses from log(0) in float32."""
    s, y = np.float32([-200, 200, -200, 200]), np.float32([0, 1, 1, 0])
    loss = losses.LogLoss()
    assert loss.forward(s, y) == pytest.approx(100) and np.isfinite(loss.backward()).all()
    assert np.isfinite(metrics.log_loss([0, 1], [1.0, 0.0]))


def test_raw_ratings_do_not_make_the_fm_diverge():
    """Leavingseason/OpenLearning4DeepRecsys#4, coreylynch/pyFM#44: an FM diverges on ratings of 1 to 5.

    The bias starts at their mean, so that the rest has little to do.
    """
    model = FM(epochs=5, learning_rate=0.01).fit(**some_ratings())
    history = model.history_
    assert history["train_loss"].iloc[0] < 1.1 * history.attrs["base_loss"]
    assert history["train_loss"].is_monotonic_decreasing


@pytest.mark.parametrize("n_rows, batch_size, n_steps", [(25, 10, 3), (21, 10, 2), (5, 10, 1)])
def test_the_last_batch_is_trained_on(n_rows, batch_size, n_steps, monkeypatch):
    """ChenglongChen/tensorflow-DeepFM and the official AutoInt drop the last incomplete batch."""
    rows = []
    step = training.ChunkedTrainer.step
    monkeypatch.setattr(training.ChunkedTrainer, "step", lambda trainer, slots, y, c=None: (
        rows.append(len(slots)), step(trainer, slots, y, c))[1])
    X, _ = table(n_rows)
    make("FM", epochs=1, batch_size=batch_size).fit(X, np.arange(n_rows) % 2)
    assert sum(rows) == n_rows and len(rows) == n_steps


def test_rows_are_shuffled_without_replacement():
    """hexiangnan/attentional_factorization_machine: each batch is a random window, some rows are never seen.

    torchfm does not shuffle at all.
    """
    orders = [np.concatenate(list(training.loop.batches(np.random.default_rng(0).permutation(50), 8)))]
    np.testing.assert_array_equal(np.sort(orders[0]), np.arange(50))
    seen = []
    step = training.ChunkedTrainer.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.ChunkedTrainer, "step", lambda trainer, slots, y, c=None: (
            seen.extend(slots.ids[:, 0]), step(trainer, slots, y, c))[1])
        X = pd.DataFrame({"row": np.arange(50)})
        model = LR(epochs=1, batch_size=8).fit(X, np.arange(50) % 2)
    assert sorted(seen) == sorted(model.encoder_.encode(X).ids[:, 0]) and seen != sorted(seen)


def test_the_best_weights_are_kept_not_the_last():
    """hexiangnan/attentional_factorization_machine keeps the final weights; torchfm saves the best, tests the last."""
    rng = np.random.default_rng(4)
    X = pd.DataFrame({"a": rng.integers(0, 60, 150), "b": rng.integers(0, 60, 150)})
    y = rng.integers(0, 2, 150)
    model = FM(learning_rate=0.05, epochs=15, batch_size=20).fit(X[50:], y[50:], validation=(X[:50], y[:50]))
    loss = losses.LogLoss().forward(model.decision_function(X[:50]).astype(float), y[:50])
    assert loss == pytest.approx(model.history_["val_loss"].min(), rel=1e-6)
    assert model.history_["val_loss"].iloc[-1] > loss + 0.01


@every_model
def test_the_same_seed_gives_the_same_result(name):
    """shenweichen/DeepCTR#56 and #101, shenweichen/DeepCTR-Torch#100: same seed, different result."""
    X, y = table()
    one, other = (make(name, seed=3).fit(X, y).decision_function(X) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_global_seed_is_left_alone():
    """rushter/MLAlgorithms reseeds NumPy when it is imported."""
    code = ("import numpy as np; np.random.seed(1); before = np.random.get_state()[1].tolist(); import minictr; "
            "assert np.random.get_state()[1].tolist() == before")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_step_touches_only_the_rows_of_its_batch():
    """pytorch/pytorch#5309: dense updates of large tables are slow, and decay rows that the batch never saw."""
    X, y = table(100)
    model = make("FM", optimizer="adam").prepare(X, y)
    model.train_step(X, y)
    before = model.embedding.params["V"].copy()
    ann = X["user"] == "ann"
    model.train_step(X[ann], y[ann])
    moved = (model.embedding.params["V"] != before).any(axis=1)
    assert moved[2] and not moved[3:6].any()            # unknown, missing, ann, bob, cem, dan


def test_parameters_are_updated_in_place():
    """An optimizer that makes new arrays leaves the model with the old ones (a classic of hand-written loops)."""
    X, y = table(50)
    model = make("DeepFM").prepare(X, y)
    arrays = dict(parameters(model))
    model.train_step(X, y)
    assert all(parameters(model)[name] is array for name, array in arrays.items())


# --------------------------------------------------------------------------------------- data and encoding

@every_model
def test_an_unknown_category_is_not_a_real_one(name):
    """CoreRec 0.6.0: DeepFM maps an unknown category to index 0, which is a category of its own.

    DeepCTR-Torch: IndexError. shenweichen/DeepCTR#24, #25, #116, #323, #415: fit the encoder on the test set too.
    """
    X, y = table()
    model = make(name, epochs=10, learning_rate=0.05).fit(X, y)
    unknown, missing = (model.decision_function(X.assign(user=pd.Series([user] * 300, dtype=object)))
                        for user in ("eve", None))
    assert np.isfinite(unknown).all() and np.isfinite(missing).all()
    for user in ("ann", "bob", "cem", "dan"):
        known = model.decision_function(X.assign(user=user))
        assert not np.array_equal(unknown, known) and not np.array_equal(missing, known)
    assert model.encoder_.feature_names("user")[:2] == ["(unknown)", "(missing)"]


def test_the_vocabulary_holds_nothing_of_the_validation_rows():
    """hexiangnan/attentional_factorization_machine: the features of the test set are in the dictionary too."""
    X = pd.DataFrame({"row": [f"r{i}" for i in range(100)], "b": [0, 1] * 50})
    model = FM(epochs=1).fit(X, np.arange(100) // 2 % 2, validation=0.3)
    assert len(model.encoder_.feature_names("row")) == 2 + 70


@every_model
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float64])
def test_ids_above_2_to_the_24_stay_apart(name, dtype):
    """DeepCTR-Torch: ids go through float32, where 2^24 and 2^24 + 1 are the same number."""
    ids = np.array([2**24, 2**24 + 1] * 30, dtype)
    X = pd.DataFrame({"id": ids, "b": ["x", "y", "z"] * 20})
    model = sized(name, X, fields=[Categorical("id"), "b"], epochs=30, learning_rate=0.1).fit(
        X, (ids == 2**24).astype(int))
    assert model.predict(X).tolist() == (ids == 2**24).astype(int).tolist()


def test_rating_ids_above_2_to_the_24_stay_apart():
    """DeepCTR-Torch, see above; here by way of user_ids and item_ids."""
    model = FM(epochs=60, learning_rate=0.1).fit(
        user_ids=[2**24, 2**24 + 1] * 10, item_ids=[2**53, 2**53 + 1, 2**53 + 1, 2**53] * 5, ratings=[1, 5, 1, 5] * 5)
    assert model.predict(2**24 + 1, 2**53 + 1) > model.predict(2**24, 2**53 + 1) + 2
    assert model.encoder_.describe()["values"].tolist() == [2, 2]


def test_negative_ids_do_not_wrap_around():
    """NumPy: V[-1] is the last row, silently."""
    layer = Embedding(5, 2, np.random.default_rng(0))
    for bad in (-1, 5):
        with pytest.raises(IndexError, match=f"field 1, row 0: id {bad} is outside 0..4"):
            layer.forward(Slots([[0, bad]], None, starts=[0, 1]))
    X, y = table()
    model = FM(fields=["hour", "user"], epochs=1).fit(X, y)
    np.testing.assert_array_equal(model.decision_function(X.assign(hour=-1)),
                                  model.decision_function(X.assign(hour=99)))


@every_model
def test_numbers_go_into_every_model_by_their_value(name):
    """shenweichen/DeepCTR#155, #271, #370, DeepCTR-Torch#65, rixwew/pytorch-fm#16 and #35, ZiyaoGeng/RecLearn#20.

    Numbers rejected, ignored, or left out of FM and AFM; the authors' AFM code takes "id:value" as one key.
    """
    X, y = table()
    model = make(name, epochs=5, learning_rate=0.05).fit(X, y)
    prices = X.assign(price=7.123), X.assign(price=7.124), X.assign(price=13.0)
    near, nearer, far = (model.decision_function(prices_) for prices_ in prices)
    assert 0 < np.abs(near - nearer).max() < np.abs(near - far).max()
    assert (far > near).mean() > 0.9                    # dearer is clicked more often, also beyond what was seen


@every_model
def test_missing_numbers_do_not_make_everything_nan(name):
    """ChenglongChen/tensorflow-DeepFM#37: NaN losses from nulls in a numerical column."""
    X, y = table()
    X.loc[::7, "price"] = np.nan
    model = make(name).fit(X, y)
    assert np.isfinite(model.history_["train_loss"]).all()
    assert np.isfinite(model.decision_function(X)).all()
    with pytest.raises(ValueError, match=r"'price', row 3: inf is infinite"):
        make(name).fit(X.assign(price=X["price"].where(np.arange(300) != 3, np.inf)), y)


@every_model
def test_multi_valued_fields_go_into_every_model(name):
    """shenweichen/DeepCTR#20, tensorflow-DeepFM#58, reczoo/FuxiCTR#147, aksnzhy/xlearn#127; AutoInt with them crashes.

    The mean of the values' vectors, whatever their order and number.
    """
    X, y = table()
    model = make(name, epochs=5, learning_rate=0.05).fit(X, y)
    ab, ba, a, many = (model.decision_function(X.assign(genres=genres))
                       for genres in ("a|b", "b|a", "a", "a|b|c|a|b|c|a"))
    np.testing.assert_allclose(ab, ba, rtol=1e-6, atol=1e-7)      # a logit near 0 has the rounding of its terms
    assert np.abs(ab - a).max() > 1e-4 and np.isfinite(many).all()


def test_the_vector_of_a_multi_valued_field_is_a_mean_not_a_sum():
    """AutoInt's paper, eq. 3: (1/q); several libraries sum, so that long lists count more."""
    X, y = table()
    model = make("LR").fit(X, y)
    genres = model.encoder_.feature_names("genres")
    w = dict(zip(genres, model.linear.params["w"][model.encoder_.offsets[3]:], strict=True))
    terms = explain.contributions(model, X[:1].assign(genres="a|b")).query("field_i == 'genres'")["value"]
    assert terms.item() == pytest.approx((w["a"] + w["b"]) / 2, rel=1e-5)


@every_model
def test_text_goes_into_every_model(name):
    """DeepCTR-Torch rejects strings; its hashing only prints a notice."""
    X = pd.DataFrame({"a": ["x", "y", "z"] * 20, "b": ["ü", ""] * 30})
    assert small(name, X, epochs=1).fit(X, [0, 1] * 30).predict(X).shape == (60,)


def test_autoint_needs_no_embedding_dim_that_the_heads_divide():
    """DeepCTR-Torch: embedding_dim must be divisible by the number of heads."""
    X, y = table(50)
    AutoInt(fields=FIELDS, embedding_dim=5, num_heads=3, attention_dim=2, epochs=1).fit(X, y)


def test_one_field_is_a_clear_error_for_afm():
    """DeepCTR-Torch: a cryptic torch.cat error."""
    X, y = table(50)
    with pytest.raises(ValueError, match="only one field"):
        AFM(fields=["user"]).fit(X, y)


@every_model
def test_one_row_can_be_predicted_by_the_names_of_its_fields(name):
    """reczoo/FuxiCTR: two YAML files and a data pipeline; no prediction of a single named row."""
    X, y = table()
    model = make(name).fit(X, y)
    p = model.predict_proba({"user": ["ann"], "hour": [1], "price": [9.5], "genres": ["a|b"]})
    assert p.shape == (1, 2)


def test_old_numpy_names_are_not_used():
    """torchfm 0.7.0 and rixwew/pytorch-fm#38: np.long and np.int crash on newer NumPy; RecBole: np.bool8."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X, y = table(50)
        make("AutoInt").fit(X, y)
    source = "".join(inspect.getsource(module) for name, module in sys.modules.items()
                     if name.startswith("minictr") and inspect.ismodule(module) and getattr(module, "__file__", None))
    for old in ("np.long", "np.int)", "np.int,", "np.float)", "np.float,", "np.bool8", "np.bool)", "np.object)"):
        assert old not in source


# ------------------------------------------------------------------------------------------ recommending

def test_ratings_are_not_turned_into_clicks():
    """CoreRec 0.6.0: task="auto" makes every rating a 1; the tutorials' test RMSE is 3.4 where the mean has 1.1."""
    ratings = some_ratings()
    model = FM(epochs=10, learning_rate=0.01).fit(**ratings)
    p = model.batch_predict(list(zip(ratings["user_ids"], ratings["item_ids"], strict=True)))
    assert model.task_ == "regression" and 1 < p.mean() < 5 and np.ptp(p) > 1
    assert metrics.rmse(ratings["ratings"], p) < 0.9 * ratings["ratings"].std()


def test_an_unknown_id_is_not_0():
    """CoreRec 0.6.0: an unknown user or item gets 0.0, silently, on a scale of 1 to 5."""
    model = FM(epochs=3).fit(**some_ratings())
    for user, item in (("nobody", 1), (1, "nothing"), ("nobody", "nothing")):
        assert 2 < model.predict(user, item) < 5


def test_recommend_leaves_out_what_was_seen():
    """CoreRec 0.6.0: the deep models exclude nothing; DeepFM's exclude_seen=True is dead code."""
    ratings = some_ratings()
    for name in MODELS:
        model = sized(name, ["user_id", "item_id"], epochs=1).fit(**ratings)
        for user in range(1, 15):
            seen = set(ratings["item_ids"][ratings["user_ids"] == user])
            assert not seen & set(model.recommend(user, 60))
            assert seen & set(model.recommend(user, 60, exclude_seen=False)) == seen


def test_scores_belong_to_the_items_that_they_come_with():
    """CoreRec 0.6.0: with items excluded, scores slip to other items and the tail is lost (150 of 200: nothing left).

    Also recommenders-team/recommenders#1296, ids mixed up.
    """
    rng = np.random.default_rng(0)
    items = rng.permutation(np.arange(1_000, 1_200))
    users = np.concatenate([np.full(150, 1), np.full(200, 2)])
    model = FM(epochs=3, learning_rate=0.02).fit(
        user_ids=users, item_ids=np.concatenate([items[:150], items]), ratings=rng.integers(1, 6, 350))
    recommended, scores = model.recommend(1, 1_000, return_scores=True)
    assert sorted(recommended) == sorted(items[150:])
    np.testing.assert_allclose(scores, model.batch_predict([(1, item) for item in recommended]), rtol=1e-6)
    assert recommended[:5] == model.recommend(1, 5)


def test_not_everybody_gets_the_same_list():
    """recommenders-team/recommenders#1728: the same recommendations for every user."""
    model = FM(epochs=15, learning_rate=0.02).fit(**some_ratings())
    lists = {tuple(model.recommend(user, 5, exclude_seen=False)) for user in range(1, 41)}
    assert len(lists) > 20


@every_model
def test_a_second_fit_on_the_same_object_works(name):
    """CoreRec 0.6.0: a second fit of DeepFM crashes, because the fields' sizes were appended, and leaves it broken."""
    model = small(name, ["user_id", "item_id"], epochs=1)
    data = datasets.make_ratings(80, 60, 1_500)
    for _ in range(2):
        model.fit(**some_ratings(), user_features=data["users"][["user_id", "gender"]])
        model.fit(**some_ratings(seed=1))
    assert isinstance(model.predict(1, 1), float) and len(model.recommend(1, 3)) == 3


@every_model
def test_a_user_without_side_features_is_no_trouble(name):
    """CoreRec 0.6.0: one user without side features, and NumPy complains of an inhomogeneous array."""
    users = datasets.make_ratings(80, 60, 1_500)["users"][["user_id", "gender", "zip_code"]]
    model = small(name, ["user_id", "item_id"], epochs=1).fit(
        **some_ratings(), user_features=users[users["user_id"] != 5])
    assert 1 < model.predict(5, 1) < 5 and len(model.recommend(5, 3)) == 3


def test_many_pairs_are_predicted_at_once(monkeypatch):
    """CoreRec 0.6.0: evaluation is a loop over single rows."""
    model = FM(epochs=1).fit(**some_ratings())
    calls = []
    forward = Embedding.forward
    monkeypatch.setattr(Embedding, "forward", lambda layer, slots: calls.append(1) or forward(layer, slots))
    model.batch_predict([(user, item) for user in range(1, 81) for item in range(1, 61)])
    model.recommend(1)
    assert len(calls) <= 4


def test_recommend_and_save_are_methods_of_every_model():
    """CoreRec sandbox: recommend and save are defined inside fit after its return; two classes cannot be made."""
    for name in MODELS:
        for method in ("fit", "predict", "batch_predict", "recommend", "save", "load", "partial_fit"):
            assert callable(getattr(small(name), method))


def test_forward_returns_its_output():
    """CoreRec sandbox: ``return output`` was swallowed by a nested function, forward returned None."""
    X, y = table(20)
    for name in MODELS:
        model = make(name).fit(X, y)
        assert model.forward(model.encoder_.encode(X)).shape == (20,)


# ----------------------------------------------------------------------------------------------- at large

def test_importing_prints_nothing():
    """DeepCTR-Torch prints the result of a version check when it is imported."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import minictr"], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_dropout_rates_are_shares_dropped():
    """DeepFM's paper and the authors' AFM code give the share *kept*; taken for a rate it drops the wrong part."""
    rng = np.random.default_rng(0)
    layer = Dropout(0.2, rng)
    layer.training = True
    out = layer.forward(np.ones((100, 100), np.float32))
    assert (out == 0).mean() == pytest.approx(0.2, abs=0.02)
    assert out.mean() == pytest.approx(1, abs=0.02)     # scaled while training, so that predicting needs no change


def test_layers_do_not_update_themselves():
    """ML-From-Scratch: ``backward_pass`` updates the weights, so that no gradient can be checked."""
    X, y = table(20)
    model = make("DeepFM").fit(X, y)
    before = {name: array.copy() for name, array in parameters(model).items()}
    s = model.forward(model.encoder_.encode(X))
    model.backward(np.ones_like(s))
    for name, array in parameters(model).items():
        np.testing.assert_array_equal(array, before[name])
    assert all(isinstance(layer, Layer) for _, layer in named_layers(model))
