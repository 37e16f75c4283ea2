"""The world of `make_clicks`: its fields and their values, the sizes of its effects, and the truth that it returns."""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd


class PlantedField:
    """A field as a list of levels, the values that a row can have.

    levels : array of values.
    shares : how often each level occurs; sums to 1.
    design : (levels, parameters), turns random parameters into an effect for each level: the
        identity gives every level an effect of its own.
    ascending : True (or False) sorts the main effects upwards (or downwards) along the levels.
    """

    def __init__(self, levels, shares=None, design=None, ascending=None):
        self.levels = np.fromiter(levels, dtype=object, count=len(levels))
        shares = np.ones(len(levels)) if shares is None else np.asarray(shares, dtype=float)
        self.shares = shares / shares.sum()
        self.design = np.eye(len(levels)) if design is None else design
        self.ascending = ascending


def _interests():
    """All sets of one to three interests; their effect is the mean of the single ones' effects."""
    names = ["cars", "cooking", "fashion", "music", "science", "series", "sport", "travel"]
    levels = [subset for size in (1, 2, 3) for subset in combinations(names, size)]
    sizes = np.array([len(subset) for subset in levels])
    member = np.array([[name in subset for name in names] for subset in levels])
    share_of_size = np.array([0, 0.4, 0.35, 0.25]) / np.maximum(np.bincount(sizes), 1)
    return PlantedField(levels, share_of_size[sizes], member / sizes[:, None])


def _discount():
    """Thirteen discounts; their effect is a straight line, as befits a number."""
    levels = np.arange(13) * 5 / 100
    return PlantedField(levels.tolist(), design=(levels - levels.mean())[:, None], ascending=True)


HOURS = np.arange(24)
FIELDS = {
    "user_segment": PlantedField(["student", "parent", "commuter", "gamer", "traveller", "bargain_hunter",
                            "sports_fan", "retired"], [25, 20, 15, 12, 10, 8, 6, 4]),
    "hour": PlantedField(HOURS.tolist(), 1.2 + np.cos(2 * np.pi * (HOURS - 16) / 24)),
    "device": PlantedField(["phone", "desktop", "tablet", "tv"], [50, 30, 15, 5]),
    "ad_category": PlantedField(["games", "travel", "fashion", "food", "finance", "sport", "toys", "cars",
                           "education", "electronics"]),
    "position": PlantedField([1, 2, 3, 4, 5], [35, 25, 18, 13, 9], ascending=False),
    "advertiser": PlantedField([f"brand_{rank:02d}" for rank in range(1, 61)], 1 / np.arange(1, 61)),
    "discount": _discount(),
    "interests": _interests(),
}
# Standard deviation over rows of each planted effect, in log-odds.
MAIN_EFFECTS = {"user_segment": 0.3, "hour": 0.2, "device": 0.3, "ad_category": 0.3,
                "position": 0.4, "advertiser": 0.4, "discount": 0.3, "interests": 0.2}
PAIR_EFFECTS = {("user_segment", "ad_category"): 1.5, ("hour", "device"): 0.8,
                ("device", "position"): 0.4, ("user_segment", "discount"): 0.3,
                ("ad_category", "interests"): 0.3}
BASE_RATE = 0.22


@dataclass(repr=False)
class Clicks:
    """`make_clicks` returns a table, its labels, and the truth behind them.

    Attributes
    ----------
    X : DataFrame, one row an impression, one column a field
    y : (n_rows,) int array, 1 = clicked
    logit : (n_rows,) float array, the true log-odds of a click
    probability : (n_rows,) float array, sigmoid(logit)
    planted_pairs : DataFrame, all pairs of fields: field_i, field_j, value = the standard deviation
        of the pair's effect on the logit over the rows of this world; 0 = nothing planted.
        ``.attrs``: quantity, unit, fields.
    planted_triples : DataFrame, all triples of fields: field_i, field_j, field_l, value, in the
        same sense; 0 throughout unless `make_clicks` was given triples.
    base_rate : float, the share of clicks in y
    best_auc : float, the AUC of the true probability on these rows; NaN if y has one class only
    best_log_loss : float, the log loss of the true probability on these rows. On other rows a model
        can be lucky, but on average none does better than the truth.
    effects : dict of (field,), (field, field) and (field, field, field) to the planted table of
        each, in log-odds, one axis a field, one number for each of its levels; `field_values` and
        `pair_values` give them by value.
    """

    X: pd.DataFrame
    y: np.ndarray
    logit: np.ndarray
    probability: np.ndarray
    planted_pairs: pd.DataFrame
    planted_triples: pd.DataFrame
    base_rate: float
    best_auc: float
    best_log_loss: float
    effects: dict

    def field_values(self, field):
        """Return the planted main effect of each value of a field, and how many rows hold it.

        Parameters
        ----------
        field : str, one of the columns of X

        Returns
        -------
        DataFrame with columns value (text), term (log-odds) and rows (of X), as that of
        `explain.field_values`. An interest stands for a row that has this interest alone; its rows
        are those that have it among others, too.

        Raises
        ------
        ValueError
            There is no such field.

        Examples
        --------
        >>> from minictr import datasets
        >>> clicks = datasets.make_clicks(1000)
        >>> clicks.field_values("position")["term"].is_monotonic_decreasing
        True
        """
        texts, places, rows = self._values(field)
        table = pd.DataFrame({"value": texts, "term": self.effects[(field,)][places],
                              "rows": [int(held.sum()) for held in rows]})
        numbers = FIELDS[field].levels.tolist() if isinstance(FIELDS[field].levels[0], float) else []
        table.attrs = {"quantity": "planted effect", "unit": "log-odds", "field": field,
                       "source": "planted", "at": dict(zip(texts, numbers, strict=False))}
        return table

    def pair_values(self, field_i, field_j):
        """Return the planted effect of each two values of a pair of fields, and how many rows hold both.

        Parameters
        ----------
        field_i, field_j : str, two of the columns of X

        Returns
        -------
        DataFrame with columns value_i, value_j (text), term (log-odds, 0 if the pair is not
        planted) and rows (of X), as that of `explain.pair_values`; interests as in `field_values`.

        Raises
        ------
        ValueError
            One of them is no field, or both are the same.

        Examples
        --------
        >>> from minictr import datasets
        >>> table = datasets.make_clicks(1000).pair_values("user_segment", "ad_category")
        >>> len(table), int(table["rows"].sum())
        (80, 1000)
        """
        if field_i == field_j:
            raise ValueError(f"a pair has two different fields; got {field_i!r} twice")
        (texts_i, i, rows_i), (texts_j, j, rows_j) = self._values(field_i), self._values(field_j)
        if (field_j, field_i) in self.effects:
            effect = self.effects[field_j, field_i].T
        else:
            nothing = np.zeros((len(FIELDS[field_i].levels), len(FIELDS[field_j].levels)))
            effect = self.effects.get((field_i, field_j), nothing)
        table = pd.DataFrame(list(product(texts_i, texts_j)), columns=["value_i", "value_j"])
        table["term"] = effect[np.ix_(i, j)].ravel()
        table["rows"] = [int((held & other).sum()) for held in rows_i for other in rows_j]
        counts = [{text: int(held.sum()) for text, held in zip(texts, rows, strict=True)}
                  for texts, rows in ((texts_i, rows_i), (texts_j, rows_j))]
        table.attrs = {"quantity": "planted effect", "unit": "log-odds", "fields": (field_i, field_j),
                       "source": "planted", "rows_i": counts[0], "rows_j": counts[1]}
        return table

    def _values(self, field):
        """Return the values of a field as text, their places among its levels, and which rows of X hold each."""
        if field not in FIELDS:
            raise ValueError(f"{field!r} is not one of the fields {', '.join(FIELDS)}")
        levels = FIELDS[field].levels
        if not isinstance(levels[0], tuple):
            texts = [f"{level:g}" if isinstance(level, float) else str(level) for level in levels]
            return texts, np.arange(len(levels)), [(self.X[field] == level).to_numpy() for level in levels]
        places = [place for place, level in enumerate(levels) if len(level) == 1]
        texts = [levels[place][0] for place in places]
        rows = [np.array([text in cell for cell in self.X[field]], bool) for text in texts]
        return texts, np.array(places), rows

    def __repr__(self):
        """Summarise: the whole table would fill the screen."""
        return (f"Clicks({len(self.y):,} rows, {self.X.shape[1]} fields, "
                f"base rate {self.base_rate:.3f}, best possible AUC {self.best_auc:.3f}, "
                f"best possible log loss {self.best_log_loss:.3f})")
