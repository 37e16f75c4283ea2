"""to_torch: the module gives the model's logits, gradients and training steps, and shares nothing with it."""

import copy
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from models import DROPPING, VARIANTS, dropouts, every_kind, every_model, every_variant, small

from minictr import AFM, FM, MultiValued, NotFittedError, Numerical, datasets, to_torch
from minictr.layers import MLP, Dropout, Layer, ReLU, RowGradient, gradients, named_layers, parameters, states
from minictr.optim import Adam

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

N_ROWS = 60
CASES = {name: (name, {}) for name in VARIANTS} | {f"{name}, dropout": (name, dropouts(name)) for name in DROPPING} | {
    "AutoInt+, everything": ("AutoInt-official", {
        "deep_layers": (6, 5), "use_bn": True, "first_order": True, **dropouts("AutoInt+-bn")})}
each_case = pytest.mark.parametrize("name", CASES)
each_kind = pytest.mark.parametrize("kind", ["categories", "mixed"])
each_task = pytest.mark.parametrize("task", ["binary", "regression"])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The arrays are tiny; and a test of the benchmarks may have asked torch for all cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def table(kind, seed=3, widest=3):
    """Four fields: categories only, or with a number (some missing) and a field of up to ``widest`` values a cell."""
    rng = np.random.default_rng(seed)
    columns = {"user": rng.integers(0, 25, N_ROWS), "site": rng.choice(["a", "b", "c"], N_ROWS)}
    if kind == "categories":
        return pd.DataFrame({**columns, "hour": rng.integers(0, 4, N_ROWS), "ad": rng.integers(0, 7, N_ROWS)})
    genres = [tuple(rng.choice(list("pqrst"), rng.integers(0, widest + 1), replace=False)) for _ in range(N_ROWS)]
    price = np.where(rng.random(N_ROWS) < 0.1, np.nan, rng.normal(10, 3, N_ROWS))
    return pd.DataFrame({**columns, "price": price, "genres": genres})


def made(case, kind="mixed", task="binary", random_weights=True, **params):
    """(model, X, y): a float64 model after ``prepare``, with random weights unlike those at which it would start.

    case : one of CASES, or a model.
    """
    rng = np.random.default_rng(5)
    X = table(kind)
    y = rng.integers(0, 2, N_ROWS) if task == "binary" else rng.normal(5, 1, N_ROWS)
    fields = None if kind == "categories" else ["user", "site", Numerical("price", transform="standard"),
                                                MultiValued("genres")]
    model = small(CASES[case][0], X, **CASES[case][1]) if case in CASES else case.clone()
    model.set_params(**{"dtype": "float64", "fields": fields, "task": task, **params})
    model.prepare(X, y)
    if random_weights:
        for array in parameters(model).values():
            array[...] = rng.normal(scale=0.5, size=array.shape)
        for array in states(model).values():
            array[...] = rng.uniform(0.5, 2.0, size=array.shape)
    return model, X, y


def torch_name(name):
    """The name in the module of a parameter, state or layer of the model: what the docstring of to_torch says.

    >>> torch_name("interacting_2.W_Q"), torch_name("embedding.V"), torch_name("mlp.norm_1.mean")
    ('interacting.1.W_Q', 'embedding.V.weight', 'mlp.norm_1.running_mean')
    """
    name = re.sub(r"^(\w+)_(\d+)\.", lambda found: f"{found[1]}.{int(found[2]) - 1}.", name)
    name = re.sub(r"^((?:\w+_)?embedding\.V|linear\.w|crossed\.w)$", r"\1.weight", name)
    for mine, theirs in (("gamma", "weight"), ("beta", "bias"), ("mean", "running_mean"), ("var", "running_var")):
        name = re.sub(rf"\.{mine}$", f".{theirs}", name)
    return name


def assert_same(arrays, tensors, tolerance, without_gradient=None):
    """Arrays of the model by its names, tensors of the module by its own: the same, and none is left over.

    without_gradient : pattern of the names of parameters that cannot change the loss. Their gradient is rounding error,
        which Adam, dividing by its size, turns into steps of about 1e-9: they have to agree to 1e-6 only.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    assert {torch_name(name) for name in arrays} == set(tensors)
    for name, array in arrays.items():
        theirs = tensors[torch_name(name)].detach().numpy()
        theirs = theirs[:, 0] if theirs.shape == (len(array), 1) and array.ndim == 1 else theirs
        assert theirs.shape == array.shape and theirs.dtype == array.dtype, name
        allowed = 1e-6 if without_gradient and re.search(without_gradient, name) else tolerance
        np.testing.assert_allclose(array, theirs, rtol=allowed, atol=allowed, err_msg=name)


def all_arrays(model):
    return {**parameters(model), **states(model)}


def logits(module, X):
    with torch.no_grad():
        return module(*module.inputs(X)).numpy()


def loss_of(model, module, X, y):
    lossy = torch.nn.functional.binary_cross_entropy_with_logits if model.task_ == "binary" else \
        torch.nn.functional.mse_loss
    return lossy(module(*module.inputs(X)), torch.tensor(y, dtype=torch.float64))


def gradients_of(model):
    """By name, those of tables with all rows."""
    arrays = parameters(model)
    return {name: gradient.dense(len(arrays[name])) if isinstance(gradient, RowGradient) else gradient
            for name, gradient in gradients(model).items()}


# ---- the same numbers ------------------------------------------------------------------------------------

@each_case
@each_kind
@each_task
def test_the_same_logits(name, kind, task):
    model, X, _ = made(name, kind, task)
    module = to_torch(model)
    assert isinstance(module, torch.nn.Module) and not module.training
    np.testing.assert_allclose(logits(module, X), model.decision_function(X), rtol=1e-12, atol=1e-12)
    assert_same(parameters(model), dict(module.named_parameters()), tolerance=0)
    assert_same(all_arrays(model), module.state_dict(), tolerance=0)


@each_case
@each_kind
@each_task
def test_the_same_logits_of_a_fitted_model_in_float32(name, kind, task):
    model, X, y = made(name, kind, task, dtype="float32", epochs=2, batch_size=16)
    model.fit(X, y)
    module = to_torch(model)
    assert {tensor.dtype for tensor in module.parameters()} == {torch.float32}
    expected = model.decision_function(X)
    assert logits(module, X).dtype == np.float32
    np.testing.assert_allclose(logits(module, X), expected, rtol=0, atol=1e-6 * max(1, np.abs(expected).max()))


@each_case
@each_kind
@each_task
@pytest.mark.parametrize("train", [True, False], ids=["training", "predicting"])
def test_the_same_gradients_of_the_loss(name, kind, task, train):
    model, X, y = made(name, kind, task)
    module = to_torch(model).train(train)
    for _, layer in named_layers(model):
        layer.training = train
    loss = model.loss_()
    value = loss.forward(model.forward(model.encoder_.encode(X)), y)
    model.backward(loss.backward())
    drop_the_same(model, module)
    theirs = loss_of(model, module, X, y)
    theirs.backward()
    assert theirs.item() == pytest.approx(value, rel=1e-12)
    assert_same(gradients_of(model), {name: tensor.grad for name, tensor in module.named_parameters()}, 1e-10)
    assert_same(all_arrays(model), module.state_dict(), tolerance=1e-12)        # the running means too


def drop_the_same(model, module):
    """Let the module drop what the model dropped in its latest forward pass."""
    for name, layer in named_layers(model):
        if isinstance(layer, Dropout):
            dropout = module.get_submodule(torch_name(name))
            assert isinstance(dropout, torch.nn.Dropout) and dropout.p == layer.rate
            if layer.cache["mask"] is not None:
                assert (layer.cache["mask"] == 0).any()
                dropout.forward = lambda tensor, mask=layer.cache["mask"]: tensor * torch.tensor(mask)


@every_variant
@each_task
def test_the_same_ten_steps_of_adam(name, task):
    # of fewer units one may be on in all of 8 rows: then the next batch norm takes out its beta, too
    units = {"deep_layers": (6, 5)} if getattr(small(name), "deep_layers", ()) else {}
    model, X, y = made(name, task=task, lazy=False, learning_rate=0.02, **units)
    model.optimizer_ = Adam(model.learning_rate, lazy=False)      # a model may have others of its own
    before = {name: array.copy() for name, array in all_arrays(model).items()}
    module = to_torch(model).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=model.learning_rate)
    rng = np.random.default_rng(6)
    for _ in range(10):
        rows = rng.choice(N_ROWS, 8, replace=False)               # few: most rows of the tables are left out
        mine = model.train_step(X.iloc[rows], y[rows])
        loss = loss_of(model, module, X.iloc[rows], y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(mine, rel=1e-9)
    # the same added to all keys changes no softmax; batch norm takes out what the layer before it adds
    assert_same(all_arrays(model), module.state_dict(), tolerance=1e-8,
                without_gradient=r"\.b_K$|dense_\d\.b$|norm_\d\.mean$" if model.whole_batch_only else r"\.b_K$")
    assert all((array != before[name]).any() for name, array in all_arrays(model).items() if name.endswith(("V", "w")))


def test_all_parameters_learn():
    """From a fitted model: no part of the module is cut off from the loss."""
    model, X, y = made("AutoInt+, everything", freeze=("embedding",))
    module = to_torch(model).train()
    loss_of(model, module, X, y).backward()
    assert all(tensor.grad is not None and tensor.grad.any() for tensor in module.parameters())


def test_sparse_gradients_on_request():
    model, X, y = made("FM")
    dense, sparse = to_torch(model), to_torch(model)
    sparse.embedding.V.sparse = True
    with torch.sparse.check_sparse_tensor_invariants():           # must be asked for, or torch warns
        for module in (dense, sparse):
            loss_of(model, module, X[:8], y[:8]).backward()
        gradient = sparse.embedding.V.weight.grad
        assert gradient.is_sparse
        torch.testing.assert_close(gradient.to_dense(), dense.embedding.V.weight.grad, rtol=1e-12, atol=1e-12)


# ---- training and predicting -----------------------------------------------------------------------------

@pytest.mark.parametrize("name", [f"{name}, dropout" for name in DROPPING])
def test_dropout_is_for_training_alone(name):
    model, X, _ = made(name)
    module = to_torch(model)
    expected = model.decision_function(X)
    training = copy.deepcopy(module).train()                      # a copy: batch norm learns from what it is shown
    assert not np.allclose(logits(training, X), logits(training, X))
    np.testing.assert_allclose(logits(module.train().eval(), X), expected, rtol=1e-12, atol=1e-12)


def test_batch_norm_predicts_from_its_running_means():
    """A row's output does not depend on the other rows while predicting, and does while training."""
    model, X, _ = made("DeepFM-bn")
    module = to_torch(model)
    np.testing.assert_allclose(logits(module, X[:5]), logits(module, X)[:5], rtol=1e-12)
    assert not np.allclose(logits(module.train(), X[:5]), logits(module, X)[:5])


# ---- tables ----------------------------------------------------------------------------------------------

@every_kind
def test_unknown_and_missing_values(name):
    model, X, _ = made(name)
    X = X.assign(user=10_000, site=None, price=np.nan, genres=[("new", "p")] * N_ROWS)
    np.testing.assert_allclose(logits(to_torch(model), X), model.decision_function(X), rtol=1e-12, atol=1e-12)


@every_kind
@pytest.mark.parametrize("widest", [0, 1, 2, 5])
def test_cells_with_fewer_and_more_values_than_in_training(name, widest):
    """The table's fullest cell says how many slots there are; the module takes any number."""
    model, _, _ = made(name)
    X = table("mixed", seed=7, widest=widest)
    module = to_torch(model)
    assert module.inputs(X)[0].shape == (N_ROWS, 3 + max(widest, 1))
    np.testing.assert_allclose(logits(module, X), model.decision_function(X), rtol=1e-12, atol=1e-12)


@examples(30)
@given(st.lists(st.tuples(st.integers(0, 30), st.lists(st.sampled_from("pqrstu"), max_size=6)), max_size=5))
def test_any_rows(rows):
    """Two fields of many values, one of them first: slots find their fields by their ids."""
    X = pd.DataFrame({"tags": [("p", "q"), ("r",)], "user": [1, 2], "words": [("q",), ("s", "t", "q")]})
    fields = [MultiValued("tags"), "user", MultiValued("words")]
    model = FM(fields=fields, dtype="float64", embedding_dim=2).prepare(X, [0, 1])
    model.embedding.params["V"][...] = np.random.default_rng(0).normal(size=model.embedding.params["V"].shape)
    users, words = [row[0] for row in rows], [row[1] for row in rows]
    X = pd.DataFrame({"tags": pd.Series(words, dtype=object), "user": pd.Series(users, dtype=int),
                      "words": pd.Series(words[::-1], dtype=object)})
    np.testing.assert_allclose(logits(to_torch(model), X), model.decision_function(X), rtol=1e-12, atol=1e-12)


def test_inputs_are_those_of_the_encoder():
    model, X, _ = made("FM")
    slots = model.encoder_.encode(X)
    ids, x = to_torch(model).inputs(X)
    assert ids.dtype == torch.int64 and x.dtype == torch.float64
    np.testing.assert_array_equal(ids.numpy(), slots.ids)
    np.testing.assert_array_equal(x.numpy(), slots.x)
    ids, x = to_torch(model).inputs({name: X[name] for name in X})       # a dict of columns
    np.testing.assert_array_equal(ids.numpy(), slots.ids)

    model, X, _ = made("FM", "categories")
    ids, x = to_torch(model).inputs(X)
    assert x is None
    assert to_torch(model)(ids).shape == to_torch(model)(ids, torch.ones(ids.shape)).shape == (N_ROWS,)


def test_inputs_of_another_table_are_refused_as_predict_does():
    model, X, _ = made("FM")
    with pytest.raises(ValueError, match="user"):
        to_torch(model).inputs(X.drop(columns="user"))


def test_a_model_of_ratings():
    data = datasets.make_ratings(n_users=30, n_items=20, n_ratings=300, seed=0)
    ratings, users = data["ratings"], data["users"][["user_id", "gender", "age"]]
    model = AFM(epochs=1, dtype="float64").fit(user_ids=ratings["user_id"], item_ids=ratings["movie_id"],
                                               ratings=ratings["rating"], user_features=users)
    X = ratings[["user_id", "movie_id"]].merge(users, on="user_id")[:10]
    expected = model.batch_predict(list(zip(X["user_id"], X["movie_id"], strict=True)))
    X = X.rename(columns={"movie_id": "item_id"})[list(model.feature_names_in_)]
    np.testing.assert_allclose(logits(to_torch(model), X), expected, rtol=1e-12)


# ---- taking it along -------------------------------------------------------------------------------------

@each_case
def test_saved_weights_come_back(name, tmp_path):
    model, X, _ = made(name)
    torch.save(to_torch(model).state_dict(), tmp_path / "weights.pt")
    other, *_ = made(name, random_weights=False)
    module = to_torch(other)
    assert not np.allclose(logits(module, X), model.decision_function(X))
    module.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    np.testing.assert_array_equal(logits(module, X), logits(to_torch(model), X))


def test_a_copy_of_the_module_is_complete():
    model, X, _ = made("AutoInt+")
    np.testing.assert_array_equal(logits(copy.deepcopy(to_torch(model)), X), logits(to_torch(model), X))


@each_case
def test_neither_changes_the_other(name):
    model, X, y = made(name, learning_rate=0.1)
    module = to_torch(model)
    before, before_module = model.decision_function(X), logits(module, X)
    model.train_step(X, y)
    assert (model.decision_function(X) != before).any()
    np.testing.assert_array_equal(logits(module, X), before_module)

    before = {name: array.copy() for name, array in all_arrays(model).items()}
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.zero_()
    for name, array in all_arrays(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_model_that_started_from_an_fm():
    fm, X, y = made("FM")
    model = AFM.from_fm(fm, dtype="float64", task="binary").prepare(X, y)
    np.testing.assert_allclose(logits(to_torch(model), X), model.decision_function(X), rtol=1e-12, atol=1e-12)


# ---- errors ----------------------------------------------------------------------------------------------

def test_what_is_no_model():
    with pytest.raises(TypeError, match="to_torch takes a model, such as"):
        to_torch({})


class Shifted(FM):
    """A model of one's own by inheritance."""

    def forward(self, slots):
        return super().forward(slots) + self.shift()

    def shift(self):
        return 1


class PooledPairsMLP(FM):
    """A model of one's own from layers that there are: pooled pairs, then a multi-layer perceptron."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.mlp = MLP(self.embedding_dim, [4], rng, dtype=self.dtype)
        self.more = [ReLU(), Dropout(0.5, rng)]

    def forward(self, slots):
        pooled = self.pooling.forward(self.embedding.forward(slots))
        for layer in self.more:
            pooled = layer.forward(pooled)
        return self.linear.forward(slots) + self.mlp.forward(pooled)


@each_kind
@pytest.mark.parametrize("template", [Shifted(embedding_dim=3), PooledPairsMLP(embedding_dim=3)],
                         ids=["Shifted", "PooledPairsMLP"])
def test_a_model_of_ones_own_runs_its_own_forward_on_counterparts_of_its_layers(template, kind):
    model, X, _ = made(template, kind)
    module = to_torch(model)
    np.testing.assert_allclose(logits(module, X), model.decision_function(X), rtol=1e-12, atol=1e-12)
    assert type(template).__name__ in repr(module)
    before = parameters(model)["embedding.V"].copy()
    module(*module.inputs(X)).sum().backward()
    assert module.embedding.V.weight.grad.abs().sum() > 0
    np.testing.assert_array_equal(parameters(model)["embedding.V"], before)


class Twice(Layer):
    """A layer that torch has no counterpart of."""

    def forward(self, x):
        return 2 * x

    def backward(self, dout):
        return 2 * dout


def test_a_layer_without_a_counterpart_is_named():
    model, _, _ = made("FM")
    model.pooling = Twice()
    with pytest.raises(TypeError, match=r"no torch counterpart of pooling, a Twice: .*COUNTERPARTS\[Twice\]"):
        to_torch(model)


@every_model
def test_before_fit(name):
    with pytest.raises(NotFittedError, match="call fit first"):
        to_torch(small(name))


@pytest.mark.parametrize("missing, message", [("torch", "needs PyTorch.*pip install torch"),
                                              ("torch.nn", "torch.nn")])
def test_without_torch(missing, message):
    """A torch that is there but broken keeps its own message."""
    code = ("import sys; from minictr import FM, datasets, to_torch; c = datasets.make_clicks(50); "
            f"sys.modules[{missing!r}] = None\n"
            "try: to_torch(FM().prepare(c.X, c.y))\n"
            "except ImportError as error: print(type(error).__name__, error)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert re.search(message, done.stdout), done.stderr
    assert ("pip install" in done.stdout) == (missing == "torch")
