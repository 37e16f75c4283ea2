"""What a fitted model says of its pairs, by every measure that it has: {measure: strengths (P,)}."""

from minictr import explain
from minictr.estimator.registry import offers

CONTRIBUTION, PURIFIED, REMOVAL = "contribution", "purified contribution", "removal"
EFFECT, SQUARE = "effect (partial dependence)", "effect (mean square)"
BETWEEN = "mixed differences from baseline to row"
ATTENTION, STRENGTH = "attention", "learned strength |r|"
MEASURES = (CONTRIBUTION, PURIFIED, EFFECT, SQUARE, REMOVAL, ATTENTION, STRENGTH)

NAMES = {"contribution": CONTRIBUTION, "interaction effect": EFFECT, "attention": ATTENTION,
         "loss without product": REMOVAL, "loss without attention": REMOVAL}
BACKGROUND = {"background": 1_000, "partners": 8}


def strengths(model, X, y, background=None):
    """All of a fitted model's measures on rows that training did not see.

    Removal is that of a pair's product where the model has one to remove, else of the attention to it.

    Parameters
    ----------
    model : a fitted model of minictr.   X, y : rows.   background : for effects, see ``explain.interaction_effects``.
    """
    background = background or BACKGROUND
    table = explain.pair_quantities(model, X, y, **background)
    found = {}
    for name, measure in NAMES.items():
        if name in table and measure not in found:
            found[measure] = table[name].to_numpy()
    found[SQUARE] = effects(model, X, "mean square", background)
    if CONTRIBUTION in found and offers(type(model), "factors"):
        found[PURIFIED] = explain.pair_importance(model, X, purified=True)["value"].to_numpy()
    if offers(type(model), "pair_strengths"):
        found[STRENGTH] = explain.pair_strengths(model)["value"].abs().to_numpy()
    return {measure: found[measure] for measure in MEASURES if measure in found}


def effects(model, X, average, background=None):
    """Interaction effects of a model or function, (P,)."""
    return explain.interaction_effects(model, X, average=average, **(background or BACKGROUND))["value"].to_numpy()
