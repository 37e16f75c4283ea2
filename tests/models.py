"""Small models for the tests, from the registry: a model that registers is in all of these, without an edit here.

MODELS     minictr's models, {name: class}
VARIANTS   their settings for tests, {name: (class, settings)}; the first of each class bears its name
KINDS      names of variants for tests that train: the first of each class, and of each set of kinds of layers in it;
           what differs in sizes or in an option of a layer alone is left to the tests that go through VARIANTS
DROPPING   names of KINDS in which dropout can be switched on (``dropouts``)
ATTENDING  names of MODELS that have attention
BEYOND     names of MODELS whose logit is more than a sum over fields

A variant that names fields calls them field_1 and field_2: ``small`` puts a table's columns in their place.
"""

import re
import types
import warnings

import numpy as np
import pytest

from minictr.checks import SHARE_DROPPED
from minictr.estimator.registry import library_models, offers
from minictr.layers import BatchNorm, Dropout, LayerNorm, named_layers
from minictr.slots import Slots

MODELS = library_models()


def variants_of(models):
    """{name: (class, settings)} of classes that have ``variants``."""
    return {name: (cls, settings) for cls in models.values() for name, settings in cls.variants.items()}


VARIANTS = variants_of(MODELS)


def with_names(value, names):
    """A setting in which field_1, field_2, ... are these names, however deep they stand."""
    if isinstance(value, str) and (found := re.fullmatch(r"field_(\d+)", value)):
        return names[int(found[1]) - 1]
    if isinstance(value, dict):
        return {with_names(key, names): with_names(item, names) for key, item in value.items()}
    return type(value)(with_names(item, names) for item in value) if isinstance(value, (list, tuple)) else value


def small(name, columns=None, /, **settings):
    """A variant, unfitted, with further settings; for a table of these columns (names or fields), if any are given."""
    cls, own = VARIANTS[name]
    if columns is not None:
        own = with_names(own, [getattr(field, "name", field) for field in columns])
    return cls(**{**own, **settings})


def sized(name, columns=None, /, embedding_dim=4, attention_dim=4, deep_layers=(8,), **settings):
    """A variant as ``small`` makes it, but with these sizes where it has them, and more than none: enough to learn."""
    sizes = {"embedding_dim": embedding_dim, "attention_dim": attention_dim, "deep_layers": deep_layers}
    own = small(name)
    return small(name, columns, **{size: sizes[size] for size in sizes if getattr(own, size, None)}, **settings)


def build_layers(model, n, M, rng):
    """The model with layers for n ids in M fields called field_1, field_2, ..., of which there is no table."""
    model.encoder_ = types.SimpleNamespace(field_names=[f"field_{i}" for i in range(1, M + 1)], n_ids=n)
    model.build(n, M, rng)
    return model


def layers_of(model):
    """The layers of an unfitted model, built for three fields."""
    return [layer for _, layer in named_layers(build_layers(model.clone(), 9, 3, np.random.default_rng(0)))]


def tables_of(model):
    """{name: array} of the parameters of a model that have a row for each id of all fields."""
    return {f"{name}.{table}": layer.params[table] for name, layer in named_layers(model) for table in layer.tables}


def dropouts(name, rate=0.3):
    """The settings that drop this share wherever the variant can drop something; none if it cannot."""
    cls, _ = VARIANTS[name]
    checks = [check for base in cls.__mro__ for check in vars(base).get("checks", {}).items()]
    settings = {setting: rate for setting, check in checks if check is SHARE_DROPPED}
    drop = any(isinstance(layer, Dropout) and layer.rate for layer in layers_of(small(name, **settings)))
    return settings if drop else {}


def has_norm(name):
    """Whether there is a batch norm or a layer norm in it."""
    return any(isinstance(layer, (BatchNorm, LayerNorm)) for layer in layers_of(small(name)))


def of_each_kind(variants):
    """The names of the first variant of each class, and of each set of kinds of layers in it."""
    first = {}
    for name, (cls, settings) in variants.items():
        first.setdefault((cls, frozenset(map(type, layers_of(cls(**settings))))), name)
    return list(first.values())


KINDS = of_each_kind(VARIANTS)
DROPPING = [name for name in KINDS if dropouts(name)]
ATTENDING = [name for name, cls in MODELS.items() if offers(cls, "attention_weights")]


def run_forward(name):
    """The variant after a forward pass of two rows of three fields."""
    model = build_layers(small(name), 9, 3, np.random.default_rng(0))
    model.forward(Slots([[0, 3, 6], [1, 4, 7]], None, [0, 1, 2]))
    return model


def blocks(name):
    """The names of the terms that add up to its logit, such as {"fields", "pairs"}; none if it is no such sum."""
    return set(run_forward(name).terms()) if offers(VARIANTS[name][0], "terms") else set()


def attention_of(name):
    """The names of its attention weights, {"pairs"} or {"layer 1", "layer 2", ...}; none if it has no attention."""
    return set(run_forward(name).attention_weights()) if offers(VARIANTS[name][0], "attention_weights") else set()


BEYOND = [name for name in MODELS if blocks(name) != {"fields"}]


def kinds_with(block):
    """Names of KINDS with terms of this name."""
    return [name for name in KINDS if block in blocks(name)]


def takes(name, M):
    """Whether the model makes sense with M fields; where it only warns, it does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small(name).check_fields(M)
    except ValueError:
        return False
    return True


every_variant = pytest.mark.parametrize("name", VARIANTS)
every_kind = pytest.mark.parametrize("name", KINDS)
every_model = pytest.mark.parametrize("name", MODELS)
