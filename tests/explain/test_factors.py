"""A model of one's own whose factors are not those of its terms."""

import numpy as np
import pytest
from tables import FIELDS, mixed_table

from minictr import FM, explain

ASKED = {
    "contributions": lambda model, X: explain.contributions(model, X, purified=True),
    "jointly": lambda model, X: explain.contributions(model, X, purified="joint"),
    "pair_importance": lambda model, X: explain.pair_importance(model, X, purified=True),
    "importance": explain.importance,
    "shapley": explain.shapley,
    "pair_values": lambda model, X: explain.pair_values(model, X, "user", "hour"),
    "raw pair_values": lambda model, X: explain.pair_values(model, X, "user", "hour", purified=False),
    "field_values": lambda model, X: explain.field_values(model, X, "user", source="terms", purified=True),
}


class Doubled(FM):
    """An FM whose pairs count twice, as its terms say and the factors that it inherits do not."""

    def forward(self, slots):
        s = super().forward(slots)
        return s + super().terms()["pairs"].sum(axis=1)

    def terms(self):
        terms = super().terms()
        return terms | {"pairs": 2 * terms["pairs"]}


class Factored(Doubled):
    """The same with factors of its own."""

    def factors(self):
        a, b = super().factors()["pairs"]
        return {"pairs": (2 * a, b)}


class Forgetful(FM):
    """An FM that gives no factors of its pairs."""

    def factors(self):
        return {}


def fitted(cls):
    X, y = mixed_table(80, 0)
    return cls(fields=FIELDS, epochs=2, embedding_dim=4, learning_rate=0.1).fit(X, y), X


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(("cls", "words"), [(Doubled, "term of pairs of Doubled .* Write both in the same class"),
                                            (Forgetful, r"blocks \['fields', 'pairs'\], and its factors \['fields'\]")])
def test_factors_that_do_not_make_the_terms_are_refused(cls, words, ask):
    model, X = fitted(cls)
    with pytest.raises(ValueError, match=words):
        ASKED[ask](model, X)


@pytest.mark.parametrize("ask", ASKED)
def test_factors_that_do_make_them_are_not(ask):
    model, X = fitted(Factored)
    ASKED[ask](model, X)
    table = explain.contributions(model, X, purified=True, wide=True)
    np.testing.assert_allclose(table.sum(axis=1), model.decision_function(X), atol=1e-5)
