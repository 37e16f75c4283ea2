"""The strengths of pairs of fields, where a model has them among its parameters."""

from ..estimator.registry import models_with, offers
from .summaries import pairs_of_fields


def pair_strengths(model):
    """The learned strength r_ij of each pair of fields: how much two fields interact, whatever their values.

    It is a parameter of the model, the same in every row. What a pair adds to a logit is r_ij <v_i, v_j> x_i x_j, so a
    strength says something about a pair beside others only as far as the vectors are of like size: the model can halve
    all vectors of a field and double its strengths. For what pairs add to predictions use ``pair_importance``.

    Parameters
    ----------
    model : a fitted model with strengths of pairs (FwFM), or one of your own with a method ``pair_strengths``.

    Returns: one row a pair: field_i, field_j, value (no unit, and of either sign; 1 would be an FM's). ``attrs`` names
    the quantity, unit and fields.
    Raises: TypeError for a model without strengths.

    >>> from minictr import FwFM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> pair_strengths(FwFM(epochs=1).fit(clicks.X, clicks.y)).columns.tolist()
    ['field_i', 'field_j', 'value']
    """
    model.check_fitted()
    if not offers(type(model), "pair_strengths"):
        raise TypeError(f"{type(model).__name__} has no strengths of pairs among its parameters; "
                        f"{models_with('pair_strengths')} has. For what each pair adds to predictions use "
                        "explain.pair_importance, for any model explain.interaction_effects")
    fields = list(model.feature_names_in_)
    table = pairs_of_fields(fields).assign(value=model.pair_strengths())
    table.attrs = {"quantity": "strength", "unit": "strength r_ij (1: as in an FM)", "fields": fields}
    return table
