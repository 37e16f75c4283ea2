"""Tidy tables say what a fitted model learned, by field names.

Three quantities are never mixed: *attention* is where a model looks (a share, not an effect); a *contribution*
is what a field or a pair of fields adds to one logit, exact for each model whose logit is such a sum of ``terms``; an
*interaction effect* is how far a prediction departs from additivity, for any model. ``truthfulness`` compares them,
against a noise floor. ``pair_values`` and ``field_values`` say what single values add, and on how many rows that rests.
"""

from .agreement import pair_quantities, pair_removal, truthfulness
from .attention_tables import attention
from .between_rows import mixed_differences
from .contribution_tables import contributions, pair_importance
from .effects import interaction_effects, permutation_importance
from .embedding_tables import embeddings
from .importance_tables import importance
from .prediction import OnePrediction, one_prediction
from .refits import refits, stability
from .shapley_values import shapley
from .strength_tables import pair_strengths
from .value_tables import field_values, pair_values
from .watching import AttentionOverEpochs

__all__ = ["AttentionOverEpochs", "OnePrediction", "attention", "contributions", "embeddings", "field_values",
           "importance", "interaction_effects", "mixed_differences", "one_prediction", "pair_importance",
           "pair_quantities", "pair_removal", "pair_strengths", "pair_values", "permutation_importance", "refits",
           "shapley", "stability", "truthfulness"]
