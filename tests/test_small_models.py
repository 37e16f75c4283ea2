"""The models that the tests are made of: whatever registers is among them, and its settings may name fields."""

import dataclasses

import models
import numpy as np
import pytest
from models import KINDS, MODELS, VARIANTS, build_layers, dropouts, of_each_kind, small, takes, variants_of, with_names
from oracles import N_VALUES, logits, random_slots
from tables import FIELDS, mixed_table

from minictr import FM, LR, Numerical, check_gradients
from minictr.estimator.registry import library_models
from minictr.layers import BatchNorm, Dropout, Linear, named_layers, parameters
from minictr.slots import Slots


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class NamesFields(LR):
    """A stand-in for a model with crosses: weights of one pair of fields, given by their names."""

    cross: tuple = ("field_1", "field_2")

    variants = {"NamesFields": {"cross": ("field_1", "field_2")},
                 "NamesFields-turned": {"cross": ("field_2", "field_1")}}

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.places = [self.encoder_.field_names.index(name) for name in self.cross]
        self.crosses = Linear(n, bias=False, dtype=self.dtype)

    def forward(self, slots):
        return self.linear.forward(slots) + self.crosses.forward(self.crossed(slots))

    def crossed(self, slots):
        i, j = self.places
        ids = (slots.ids[:, slots.starts[i]] + 2 * slots.ids[:, slots.starts[j]]) % len(self.linear.params["w"])
        return Slots(ids[:, None], None, [0])

    def backward(self, ds):
        self.linear.backward(ds)
        self.crosses.backward(ds)


@pytest.fixture
def registered(monkeypatch):
    """The stand-in among the variants, as if it were one of minictr's own."""
    for name, variant in variants_of({"NamesFields": NamesFields}).items():
        monkeypatch.setitem(VARIANTS, name, variant)


def test_each_model_comes_first_under_its_own_name():
    assert list(MODELS) == [name for name in VARIANTS if name in MODELS]
    for name, cls in MODELS.items():
        assert next(iter(cls.variants)) == name and VARIANTS[name][0] is cls and name in KINDS


def test_no_class_of_a_test_has_taken_the_name_of_a_model():
    """Of two with one name the later one counts: the model would be in no test that comes after."""
    assert library_models() == MODELS


def test_a_class_that_registers_joins():
    joined = variants_of({**MODELS, "NamesFields": NamesFields})
    assert joined.keys() - VARIANTS.keys() == {"NamesFields", "NamesFields-turned"}


def test_a_variant_that_names_fields_is_built_for_the_oracles_and_fitted_to_any_table(registered):
    assert small("NamesFields-turned", ["a", Numerical("b")]).cross == ("b", "a")
    rng = np.random.default_rng(0)
    model = build_layers(small("NamesFields-turned", dtype="float64"), N_VALUES, 3, rng)
    assert model.places == [1, 0] and parameters(model).keys() == {"linear.w", "linear.w0", "crosses.w"}
    assert check_gradients(model, random_slots(rng, 4, 3, "numbers")).passed
    X, y = mixed_table(30)
    model = small("NamesFields", FIELDS, fields=FIELDS, epochs=1).fit(X, y)
    assert model.cross == ("user", "hour") and np.isfinite(model.predict_proba(X)).all()


def test_names_are_put_in_wherever_they_stand():
    setting = {"field_1": [("field_2", 3), "field_1x"], "other": None}
    assert with_names(setting, ["a", "b"]) == {"a": [("b", 3), "field_1x"], "other": None}


def test_a_model_without_an_oracle_says_what_to_write():
    class NoOracle(FM):
        pass

    with pytest.raises(AssertionError, match=r"NoOracle has no oracle: write nooracle_logits\(model, slots\)"):
        logits(NoOracle(), None)


def test_kinds_differ_in_their_layers():
    def layers(name):
        return VARIANTS[name][0], {type(layer) for layer in models.layers_of(small(name))}

    assert len(KINDS) < len(VARIANTS) and all(layers(name) in map(layers, KINDS) for name in VARIANTS)
    assert BatchNorm in layers("DeepFM-bn")[1]
    assert of_each_kind({name: VARIANTS[name] for name in ("FM", "FM-k1")}) == ["FM"]


def test_what_is_said_of_a_model_is_what_its_layers_do():
    for name in VARIANTS:
        rates = [layer.rate for layer in models.layers_of(small(name, **dropouts(name))) if isinstance(layer, Dropout)]
        assert any(rates) == bool(dropouts(name)), name
    assert models.tables_of(build_layers(small("FM"), 9, 3, np.random.default_rng(0))).keys() == {
        "linear.w", "embedding.V"}
    assert models.blocks("DeepFM") == {"fields", "pairs", "deep part"} and not models.blocks("AutoInt")
    assert {"AFM", "AutoInt"} <= set(models.ATTENDING) <= set(models.BEYOND) == set(MODELS) - {"LR"}
    assert takes("LR", 1) and not takes("AFM", 1) and takes("AFM", 2)
    assert not [name for name, _ in named_layers(small("FM"))]
