"""These functions draw the tables that ``minictr.explain`` and ``model.history_`` return.

Every function takes a table and draws it; none knows anything of models, so a table that was saved,
filtered or computed elsewhere draws just as well. With ``ax=None`` a new figure is made, sized from
the data; with ``ax`` given the plot is drawn there and nothing else is touched. The Axes are
returned, and nothing is shown: that is up to the caller.

Three quantities look alike and must not be mixed: *attention* (where the model looks),
*contribution* (what a pair adds to this logit) and *interaction effect* (how far two fields
together move the prediction). Each table names its own in ``table.attrs``; each plot prints it.
"""

from .agreement import truthfulness
from .attention_grids import attention_grid
from .calibration_curves import calibration
from .embedding_maps import embeddings
from .gradient_reports import gradient_check
from .importances import importance
from .networks import network
from .pairs import pair_heatmap, pair_ranking, truth_vs_learned
from .predictions import counterfactuals, one_prediction
from .scatter import attention_vs_contribution, pair_groups
from .swarms import beeswarm
from .trace_flow import flow
from .training_curves import history
from .values import field_values, pair_values
from .watching import attention_animation, attention_over_epochs
from .waterfalls import waterfall

__all__ = ["attention_animation", "attention_grid", "attention_over_epochs", "attention_vs_contribution", "beeswarm",
           "calibration", "counterfactuals", "embeddings", "field_values", "flow", "gradient_check", "history",
           "importance", "network", "one_prediction", "pair_groups", "pair_heatmap", "pair_ranking", "pair_values",
           "truth_vs_learned", "truthfulness", "waterfall"]
