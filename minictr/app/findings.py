"""What the page says of a model, in numbers: each is worked out once, by the functions of ``explain``."""

import functools

import numpy as np

from .. import explain, plots
from ..estimator.registry import offers
from ..explain.attention_tables import looks_at_pairs
from ..explain.contribution_tables import has_pairs, is_sum_of_fields_and_pairs
from ..explain.prediction import Background
from ..explain.value_rows import ValueRows
from .alike import Alike
from .pictures import as_svg, blank_axes
from .scores import bootstrap, predictions
from .values import by_strength

BACKGROUND, PARTNERS = 500, 8   # of the interaction effects, at most
SHUFFLED_ROWS = 5_000           # of the permutation importance, at most
SCORES = 400_000                # about so many are computed for either, so that many fields do not take minutes
VALUES = 20                     # of a field, each with a line of its own
BINS = 10                       # of a field of numbers
VALUE_BACKGROUND = 50           # rows that values are put into, where there are no terms to be read
REPLACED_ROWS = 200         # that lend a row their values one by one, likewise
MAX_CELLS = 4_500               # in the tables of values of pairs, together
MAX_VALUE_TABLES = 24           # of fields; of pairs twice as many
SIZES = {"training_curve": (6, 4), "calibration": (5, 5)}        # of the pictures, in inches


class Findings:
    """A fitted model on the rows of a table, and what is found out about it there.

    Parameters
    ----------
    model : a fitted model.   X : table of its fields, with at least one row.   y : the targets as numbers, or None.
    asked : positions of rows whose predictions are to be explained before others.
    """

    def __init__(self, model, X, y, asked=()):
        self.model, self.X, self.y, self.asked = model, X, y, asked
        self.fields = list(model.feature_names_in_)
        self.prediction = predictions(model, X)
        self.unknown = model.encoder_.unknown_rate(X)
        # whether terms of pairs can be: one row compared with itself alone would have none but the bias
        self.purified = offers(type(model), "factors") and len(X) > 1
        self.alike = Alike(model, X)
        self.background, self.value_rows = Background(model, X, replaced=REPLACED_ROWS), ValueRows(model, X)

    @functools.cached_property
    def pictures(self):
        """The pictures that are drawn: name -> SVG."""
        axes = {}
        history = getattr(self.model, "history_", None)
        if history is not None and len(history):                  # after partial_fit alone there is none
            axes["training_curve"] = blank_axes(1, 1, *SIZES["training_curve"])
            plots.history(history, ax=axes["training_curve"][0, 0])
        if self.y is not None and self.model.task_ == "binary":
            axes["calibration"] = blank_axes(1, 1, *SIZES["calibration"])
            plots.calibration(self.y, self.prediction, ax=axes["calibration"][0, 0])
        return {name: as_svg(drawn) for name, drawn in axes.items()}

    @functools.cached_property
    def attention(self):
        """The table of where the model looks; None for a model without attention."""
        return explain.attention(self.model, self.X) if offers(type(self.model), "attention_weights") else None

    @functools.cached_property
    def contribution(self):
        """The table of what pairs add, purified where it can be; None for a model without terms of pairs."""
        if len(self.fields) < 2 or not has_pairs(self.model):
            return None
        return explain.pair_importance(self.model, self.X, purified=self.purified)

    @functools.cached_property
    def pair_tables(self):
        """The quantities that the model has for pairs of fields, name -> table; the first one says most."""
        model, tables = self.model, {}
        if len(self.fields) < 2:
            return tables
        if self.contribution is not None:
            tables["contribution"] = self.contribution
        if len(self.X) > 1 and not is_sum_of_fields_and_pairs(model):     # there is more in it than pairs can say
            M = len(self.fields)
            background = int(np.clip(SCORES // (PARTNERS * M * (M - 1) // 2), 50, BACKGROUND))
            effects = explain.interaction_effects(model, self.X, background=background, partners=PARTNERS)
            tables = {"interaction effect": effects, **tables}
        if self.attention is not None and looks_at_pairs(model):
            tables["attention"] = self.attention
        return tables

    @functools.cached_property
    def ranked_pairs(self):
        """The pairs, strongest first, by the first of their quantities: [(field, other field)]."""
        if not self.pair_tables:
            return []
        table = next(iter(self.pair_tables.values()))
        order = np.argsort(-table["value"].to_numpy(), kind="stable")
        return list(zip(table["field_i"].to_numpy()[order], table["field_j"].to_numpy()[order], strict=True))

    @functools.cached_property
    def importance(self):
        """Fields and pairs in one table, purified, with shares; None where terms of both do not make up the logit.

        None too for one row, which has no others to be compared with.
        """
        if len(self.X) < 2 or not is_sum_of_fields_and_pairs(self.model):
            return None
        if has_pairs(self.model) and not self.purified:
            return None
        return explain.importance(self.model, self.X)

    @functools.cached_property
    def shares(self):
        """The share of the logits' variance of each field, (field,), and pair; empty where not known."""
        if self.importance is None:
            return {}
        lines = self.importance[["field_i", "field_j", "share"]].itertuples(index=False, name=None)
        return {(i,) if j is None else (i, j): share for i, j, share in lines}

    @functools.cached_property
    def field_sizes(self):
        """How much each field adds by itself or takes away: field -> mean |term|, 5th and 95th percentile over rows.

        Where there are no such terms: what its table of values says, without percentiles. NaN where not known.
        """
        nothing = float("nan")
        if self.importance is not None:
            own = self.importance[self.importance["term"] == "field"].set_index("field_i")[["value", "low", "high"]]
            return {field: tuple(own.loc[field].tolist()) for field in self.fields}
        return {field: (float(np.average(table["term"].abs(), weights=table["rows"])), nothing, nothing)
                if (table := self.field_values.get(field)) is not None else (nothing,) * 3 for field in self.fields}

    @functools.cached_property
    def scores(self):
        """The scores with their intervals (see ``bootstrap``); needs targets."""
        return bootstrap(self.y, self.prediction, self.model.task_ == "binary")

    @functools.cached_property
    def field_values(self):
        """For the fields of the strongest pairs, or the first ones, what each value adds: field -> table.

        Of one row, which has no others to be compared with, there are none.
        """
        if len(self.X) < 2:
            return {}
        strongest = dict.fromkeys(field for pair in self.ranked_pairs for field in pair)
        chosen = list(strongest or dict.fromkeys(self.fields))[:MAX_VALUE_TABLES]
        return {field: explain.field_values(self.model, self.value_rows, field, top=VALUES, bins=BINS,
                                            background=VALUE_BACKGROUND)
                for field in self.fields if field in chosen}

    @functools.cached_property
    def pair_values(self):
        """For the strongest pairs what each two values add together: (field, other field) -> table. None of one row."""
        tables, cells = {}, 0
        for pair in self.ranked_pairs[:2 * MAX_VALUE_TABLES] if len(self.X) > 1 else ():
            table = explain.pair_values(self.model, self.value_rows, *pair, top=VALUES, bins=BINS,
                                        background=VALUE_BACKGROUND)
            cells += len(table)
            if tables and cells > MAX_CELLS:
                break
            tables[pair] = table
        return tables

    def rows_with(self, pair, values):
        """The positions of the rows that hold both values of a pair of fields, called as in its table of values."""
        held = np.zeros((2, len(self.X)), bool)
        for has, field, value in zip(held, pair, values, strict=True):
            known = self.value_rows.values(field, VALUES, BINS)
            has[known.row[known.group == known.labels.index(value)]] = True
        return np.flatnonzero(held.all(axis=0))

    @functools.cached_property
    def permutation_importance(self):
        """How much the loss grows when a field's column is shuffled, and over how many rows; needs targets."""
        model = self.model
        limit = int(np.clip(SCORES // (5 * len(self.fields)), 500, SHUFFLED_ROWS))
        some = slice(None, None, -(-len(self.X) // limit))        # evenly spaced
        table = explain.permutation_importance(model, self.X.iloc[some], model.task_.labels(self.y[some]))
        return table.sort_values("value", ascending=False, kind="stable"), len(self.X.iloc[some])

    @functools.cached_property
    def contributions(self):
        """The purified terms of each of the rows that are explained: row -> table. Without any where they cannot be."""
        if not self.purified:
            return {}
        rows = list(self.rows)
        table = explain.contributions(self.model, self.X.iloc[rows], purified=True, background=self.X,
                                      support=self.background.support)
        return {row: table[table["row"] == place] for place, row in enumerate(rows)}

    @functools.cached_property
    def rows(self):
        """The rows whose predictions are explained, and why: row -> words. Those asked for come first."""
        order = np.argsort(self.prediction, kind="stable")
        chosen = dict.fromkeys(self.asked, "as asked for")
        named = [(order[0], "the lowest prediction"), (order[len(order) // 2], "the median"),
                 (order[-1], "the highest")]
        if self.y is not None:
            named.append((np.argmax(np.abs(self.y - self.prediction)), "the furthest from the truth"))
        for pair, table in [*self.pair_values.items()][:1]:
            named += [(self.rows_with(pair, (line.value_i, line.value_j))[0], "holds the strongest pair of values")
                      for line in by_strength(table)[:1].itertuples()]
        for row, why in named:
            chosen[int(row)] = f"{chosen[int(row)]}, {why}" if int(row) in chosen else why
        if len(self.fields) <= 40:      # each takes predictions for many values of each field
            for row in np.linspace(0, len(self.X) - 1, min(10, len(self.X))).astype(int).tolist():
                chosen.setdefault(row, "one of ten")
        return chosen
