"""What a fitted model learned, as tidy tables by field names.

Three quantities, never mixed: *attention* is where a model looks (a share, not an effect); a *contribution*
is what a field or a pair of fields adds to one logit, exact for LR, FM and AFM; an *interaction effect* is
how far a prediction departs from additivity, for any model.
"""

from .tables import attention, contributions, pair_importance

__all__ = ["attention", "contributions", "pair_importance"]
