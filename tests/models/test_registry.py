"""The registry: a model of minictr's own brings all that is asked of it, and one of somebody's own goes everywhere."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import oracles
import pytest
from models import with_names
from tables import mixed_table

from minictr import AFM, FM, Model, check_gradients, explain, to_torch, trace
from minictr.app import cli
from minictr.app.report import write_report
from minictr.checks import COUNT, WIDTHS
from minictr.estimator import registry
from minictr.layers import MLP, Embedding, FMPooling, Linear

ROOT = Path(__file__).parents[2]
each_library_model = pytest.mark.parametrize("name", registry.library_models())


@each_library_model
def test_a_model_of_the_library_brings_what_is_asked_of_it(name):
    cls = registry.library_models()[name]
    assert isinstance(cls.paper, registry.Paper) and cls.equation.startswith("s = ")
    assert name in cls.variants and name in oracles.MODELS
    X, y = mixed_table(10)
    for settings in (cls.tiny, *cls.variants.values()):
        assert cls(**with_names(settings, list(X))).prepare(X, y).encode(X, y)


@each_library_model
def test_a_model_of_the_library_has_a_card_and_a_row_in_the_readme(name):
    cls = registry.library_models()[name]
    card = (ROOT / "docs" / "models" / f"{name.lower()}.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name}` .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    page = (ROOT / "docs" / "api" / "models.rst").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}") and f"/docs/models/{name.lower()}>" in page
    assert f"(minictr/models/{cls.__module__.rpartition('.')[2]}.py)" in row
    if name != "LR":                                              # which has no paper of its own
        assert cls.paper.link in card and cls.paper.link in row and str(cls.paper.year) in row


def test_the_command_line_offers_them_all(capsys):
    with pytest.raises(SystemExit):
        cli.main(["trace", "--help"])
    offered = re.search(r"--model \{(.*?)\}", capsys.readouterr().out)[1]
    assert offered.split(",") == [name.lower() for name in registry.library_models()]


@each_library_model
def test_trace_lays_each_of_them_open(name, capsys):
    assert cli.main(["trace", "--model", name.lower()]) == 0
    assert f"One training step of {name}" in capsys.readouterr().out


# ---- a model of one's own, in one file ---------------------------------------------------------------------

@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class OwnModel(Model):
    """An MLP on what an FM adds up:  s = w_0 + sum_i w_i x_i + MLP(sum_{i<j} e_i * e_j), the MLP without a bias."""

    embedding_dim: int = 3
    deep_layers: tuple = (5,)
    nested: tuple = ((1, 2), "a")

    checks = {"embedding_dim": COUNT, "deep_layers": WIDTHS}
    regularized = ("mlp.dense_1.W",)

    def build(self, n, M, rng):
        self.linear = Linear(n, dtype=self.dtype)
        self.embedding = Embedding(n, self.embedding_dim, rng, dtype=self.dtype)
        self.pooling = FMPooling()
        self.mlp = MLP(self.embedding_dim, self.deep_layers, rng, bias=False, dtype=self.dtype)

    def forward(self, slots):
        f = self.pooling.forward(self.embedding.forward(slots))
        return self.linear.forward(slots) + self.mlp.forward(f)

    def backward(self, ds):
        self.embedding.backward(self.pooling.backward(self.mlp.backward(ds)))
        self.linear.backward(ds)

    def bias(self):
        return self.linear.params["w0"]

    def terms(self):
        deep = self.mlp.out.cache["x"] @ self.mlp.out.params["w"]
        return {"fields": self.linear.field_terms(), "deep part": deep[:, None]}


@pytest.fixture(scope="module")
def fitted():
    X, y = mixed_table(200)
    return OwnModel(epochs=2, dtype="float64", reg=0.1).fit(X, y, validation=0.2), X, y


def test_it_registers_itself_and_is_none_of_the_librarys():
    assert registry.MODELS["OwnModel"] is OwnModel and "OwnModel" not in registry.library_models()
    Later = type("OwnModel", (OwnModel,), {})
    assert registry.MODELS["OwnModel"] is Later, "of two with one name the later one counts"
    registry.register(OwnModel)


def test_it_is_checked_saved_loaded_and_cloned(fitted, tmp_path):
    model, X, y = fitted
    assert check_gradients(model, model.encode(X[:5], y[:5])[0], redraw=0.5).passed
    model.save(tmp_path / "own", optimizer=True)
    for loaded in (Model.load(tmp_path / "own"), OwnModel.load(tmp_path / "own")):
        np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))
        assert loaded.get_params() == model.get_params() and loaded.nested == ((1, 2), "a")
    assert model.clone().get_params() == model.get_params()


def test_its_settings_are_checked_where_they_are_declared():
    X, y = mixed_table(10)
    for wrong in ({"deep_layers": (0,)}, {"embedding_dim": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OwnModel(**wrong).fit(X, y)


def test_w0_and_the_mlp_do_not_learn_the_same_twice(fitted):
    model, _, _ = fitted
    assert "b" not in model.mlp.out.params and "w0" in model.linear.params


def test_it_learns_from_pieces_and_from_ratings():
    X, y = mixed_table(60)
    pieces = [(X[:30], y[:30]), (X[30:], y[30:])]
    assert np.isfinite(OwnModel(epochs=1).fit(pieces).predict_proba(X)).all()
    rng = np.random.default_rng(0)
    rated = OwnModel(epochs=1).fit(user_ids=rng.integers(0, 9, 60), item_ids=rng.integers(0, 9, 60),
                                   ratings=rng.integers(1, 6, 60))
    assert len(rated.recommend(user_id=3, top_k=2, exclude_seen=False)) == 2


def test_it_is_explained_with_what_it_has_and_nothing_false_is_said(fitted, tmp_path):
    model, X, y = fitted
    table = explain.contributions(model, X[:5])
    np.testing.assert_allclose(table.groupby("row")["value"].sum(), model.decision_function(X[:5]), rtol=1e-10)
    assert set(table["term"]) == {"bias", "field", "deep part"}
    with pytest.raises(TypeError, match="OwnModel has no terms of pairs"):
        explain.pair_importance(model, X)
    page = write_report(model, X, y, tmp_path / "index.html").read_text(encoding="utf-8")
    assert "sum over fields" not in page and "Interaction effect" in page
    assert len(explain.interaction_effects(model, X, background=20)) == 6
    assert str(explain.one_prediction(model, X[:1], background=X))


def test_it_is_traced_and_goes_to_torch(fitted):
    model, X, y = fitted
    assert "OwnModel" in str(trace(model, X[:1], y[:1]))
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    module = to_torch(model)
    with torch.no_grad():
        s = module(*module.inputs(X)).numpy()
    np.testing.assert_allclose(s, model.decision_function(X), rtol=1e-12, atol=1e-12)


def test_the_command_line_explains_a_file_of_it(fitted, tmp_path, capsys):
    model, X, _ = fitted
    model.save(tmp_path / "own.npz")
    X.to_csv(tmp_path / "rows.csv", index=False)
    files = [str(tmp_path / name) for name in ("own.npz", "rows.csv", "out")]
    assert cli.main(["explain", *files[:2], "--out", files[2]]) == 0
    assert (tmp_path / "out" / "index.html").exists() and "contributions" in capsys.readouterr().out


def test_offers_counts_what_a_class_writes_itself():
    assert registry.offers(AFM, "attention_weights") and not registry.offers(FM, "attention_weights")
    assert registry.offers(type("Heir", (AFM,), {}), "attention_weights")
