"""Pictures of the tables that ``minictr.explain`` and ``model.history_`` return.

Every function takes a table and draws it; none knows anything of models, so a table that was saved,
filtered or computed elsewhere draws just as well. With ``ax=None`` a new figure is made, sized from
the data; with ``ax`` given the plot is drawn there and nothing else is touched. The Axes are
returned, and nothing is shown: that is up to the caller.

Three quantities look alike and must not be mixed: *attention* (where the model looks),
*contribution* (what a pair adds to this logit) and *interaction effect* (how far two fields
together move the prediction). Each table names its own in ``table.attrs``; each plot prints it.
"""

from .tables import (
    attention_grid,
    calibration,
    history,
    pair_heatmap,
    pair_ranking,
    truth_vs_learned,
    waterfall,
)

__all__ = [
    "attention_grid", "calibration", "history", "pair_heatmap", "pair_ranking", "truth_vs_learned", "waterfall",
]
