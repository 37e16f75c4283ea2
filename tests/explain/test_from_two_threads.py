"""Explaining from two threads on one model: each call sees its own rows, and the model is left as it was."""

import threading

import pandas as pd
import pytest

from minictr import AFM, FM, LR, AutoInt, DeepFM, datasets, explain
from minictr.layers import FMPooling, named_layers, replica

CLICKS = datasets.make_clicks(400, seed=0)
X, y = CLICKS.X[:40], CLICKS.y[:40]
OTHERS = CLICKS.X[40:60]
MODELS = {
    "LR": lambda: LR(epochs=1), "FM": lambda: FM(epochs=1), "AFM": lambda: AFM(epochs=1),
    "AutoInt": lambda: AutoInt(epochs=1), "DeepFM": lambda: DeepFM(epochs=1, deep_layers=(4,))}


def one_prediction(model):
    return explain.one_prediction(model, X[:1], background=X).text()


def watching(model):
    watch = explain.AttentionOverEpochs(X)
    watch(model, {"epoch": 1})
    return watch.table


CALLS = {
    "contributions": (lambda model: explain.contributions(model, X), ["LR", "FM", "AFM", "DeepFM"]),
    "contributions, wide": (lambda model: explain.contributions(model, X, wide=True), ["AFM"]),
    "pair_importance": (lambda model: explain.pair_importance(model, X), ["FM", "AFM", "DeepFM"]),
    "attention": (lambda model: explain.attention(model, X), ["AFM", "AutoInt"]),
    "attention, per row": (lambda model: explain.attention(model, X, per_row=True), ["AFM", "AutoInt"]),
    "attention, by group": (lambda model: explain.attention(model, X, by=y), ["AFM", "AutoInt"]),
    "rollout": (lambda model: explain.attention(model, X, layers="rollout"), ["AutoInt"]),
    "watching": (watching, ["AFM", "AutoInt"]),
    "one_prediction": (one_prediction, ["LR", "FM", "AFM", "AutoInt", "DeepFM"]),
    "interaction_effects": (lambda model: explain.interaction_effects(model, X), ["FM", "AutoInt"]),
    "permutation_importance": (lambda model: explain.permutation_importance(model, X, y), ["AFM"]),
    "pair_removal": (lambda model: explain.pair_removal(model, X, y), ["FM", "AFM", "AutoInt", "DeepFM"]),
    "pair_removal, product": (lambda model: explain.pair_removal(model, X, y, how="product"), ["AFM"]),
    "pair_quantities": (lambda model: explain.pair_quantities(model, X, y, background=20), ["AFM", "DeepFM"]),
}
CASES = [(call, name) for call, (_, names) in CALLS.items() for name in names]


def call_on_a_thread(function):
    """Run it on a thread of its own, to its end."""
    raised = []

    def run():
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


@pytest.mark.parametrize(("call", "name"), CASES)
def test_another_thread_explains_after_every_forward_pass(call, name, monkeypatch):
    """The other thread looks at other rows exactly between a forward pass and the reading of what it left."""
    model = MODELS[name]().fit(CLICKS.X, CLICKS.y)
    explained, cls = CALLS[call][0], type(model)
    forward, passes, busy = cls.forward, [], threading.Lock()
    monkeypatch.setattr(cls, "forward", lambda self, slots: forward(self, slots))     # no twin stands for it, as below
    alone = explained(model)

    def disturb():
        model.forward(model.encoder_.encode(OTHERS))              # as somebody who looks into the layers does
        if name in CALLS["contributions"][1]:
            explain.contributions(model, OTHERS)
        if name in CALLS["attention"][1]:
            explain.attention(model, OTHERS)

    def forward_and_be_disturbed(self, slots):
        s = forward(self, slots)
        if busy.acquire(blocking=False):                          # not while the other thread itself is at it
            try:
                passes.append(len(slots))
                call_on_a_thread(disturb)
            finally:
                busy.release()
        return s

    monkeypatch.setattr(cls, "forward", forward_and_be_disturbed)
    disturbed = explained(model)
    assert passes
    if isinstance(alone, pd.DataFrame):
        pd.testing.assert_frame_equal(disturbed, alone, check_exact=True)
    else:
        assert disturbed == alone


@pytest.mark.parametrize(("call", "name"), CASES)
def test_explaining_leaves_nothing_in_the_model(call, name):
    model = MODELS[name]().fit(CLICKS.X, CLICKS.y)
    model.train_step(X[:3], y[:3])
    before = {name: (dict(layer.cache), dict(layer.grads)) for name, layer in named_layers(model)}
    CALLS[call][0](model)
    for name, layer in named_layers(model):
        for kept, now in zip(before[name], (layer.cache, layer.grads), strict=True):
            assert kept.keys() == now.keys() and all(kept[key] is now[key] for key in kept)


def test_a_rating_predicted_leaves_nothing_in_the_model():
    ratings = datasets.make_ratings(30, 20, 200, seed=0)["ratings"]
    model = FM(epochs=1).fit(user_ids=ratings["user_id"], item_ids=ratings["movie_id"], ratings=ratings["rating"])
    model.predict(user_id=1, item_id=1)
    assert not any(layer.cache for _, layer in named_layers(model))


def test_attributes_may_be_set_while_layers_are_looked_for():
    """The first prediction notes the size of chunks in the model, which another thread may be copying just then."""
    class Noting:
        """Sets an attribute of its owner whenever somebody asks what it is."""

        def __init__(self, owner):
            self.owner = owner

        @property
        def __class__(self):
            setattr(self.owner, f"note_{len(vars(self.owner))}", 1)
            return Noting

    layer = FMPooling()
    layer.first, layer.inner = Noting(layer), FMPooling()
    assert [name for name, _ in named_layers(layer)] == ["inner"]
    assert replica(layer).inner is not layer.inner
