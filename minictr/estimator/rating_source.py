"""Ratings of items by users, with features of both, as a source of training data: see ``Model.fit``."""

import numpy as np
import pandas as pd

from ..checks import check_validation, check_weights, is_share, numbers
from ..fields import Categorical, infer_field
from .ratings import RatingData, Side
from .sources import InMemory


class RatingSource(InMemory):
    """Ratings in memory.

    Parameters
    ----------
    user_ids, item_ids : one id a rating, whole numbers or strings.   ratings : one number a rating.
    user_features, item_features : DataFrames, one row for each id, which is the index or a column: "user_id"
        ("item_id"), or else the only column whose name ends in "_id". Every other column becomes a field.
    sample_weight : one weight a rating.   validation : None, a share, or (user_ids, item_ids, ratings).

    Raises: ValueError for missing ids, ratings that are no finite numbers, lengths that differ, features with an id
    twice, or a column name that occurs twice.
    """

    ratings = True

    def __init__(self, user_ids, item_ids, ratings, user_features, item_features, sample_weight, validation):
        self.user_ids, self.item_ids, self.y = check_ratings(user_ids, item_ids, ratings)
        self.c = check_weights(sample_weight, len(self.y))
        self.features = user_features, item_features
        self.validation = validation
        if validation is not None and not is_share(validation):
            parts = check_validation(validation, ("user_ids", "item_ids", "ratings"))
            self.validation = check_ratings(*parts)

    def learn(self, model, seed):
        """Learn the fields of all users and items that are rated or have features; hold a share out if asked to."""
        user_table, user_fields = side_table("user", self.user_ids, self.features[0])
        item_table, item_fields = side_table("item", self.item_ids, self.features[1])
        twice = set(user_fields) & set(item_fields)
        if twice:
            raise ValueError(f"user_features and item_features both have a column {sorted(twice)[0]!r}; rename one")
        self.hold_out(seed)
        model.fit_encoder(user_table, item_table, fields=rating_fields(model.fields, user_fields | item_fields))
        sides = [encode_side(model.encoder_, table) for table in (user_table, item_table)]
        self.rating_data = remember_seen(*sides, self.user_ids, self.item_ids)

    def encoded(self, model):
        """Slots of all rows, and those of the validation ratings where these are no share."""
        slots = self._slots(self.user_ids, self.item_ids)
        if self.validation is None or is_share(self.validation):
            return slots, None
        users, items, y = self.validation
        model.task_.check_targets(y)
        return slots, (self._slots(users, items), *model.as_dtype(y, None))

    def _slots(self, user_ids, item_ids):
        users, items = self.rating_data.users, self.rating_data.items
        return self.rating_data.slots(users.rows(user_ids.tolist()), items.rows(item_ids.tolist()))


def check_ratings(user_ids, item_ids, ratings):
    """Three arrays of one length; ids without missing values, ratings finite."""
    if user_ids is None or item_ids is None or ratings is None:
        raise TypeError("a fit on ratings needs all three of user_ids=, item_ids= and ratings=")
    y = numbers(ratings, "ratings")
    columns = []
    for what, ids in (("user_ids", user_ids), ("item_ids", item_ids)):
        ids = pd.Series(ids).reset_index(drop=True)
        if len(ids) != len(y):
            raise ValueError(f"there are {len(ids)} {what} and {len(y)} ratings: each rating needs one")
        if ids.isna().any():
            raise ValueError(f"{what} is missing in row {int(np.flatnonzero(ids.isna())[0])}; remove such rows")
        kind = pd.api.types.infer_dtype(ids)
        if len(ids) and kind not in ("string", "integer", "floating", "boolean", "categorical"):
            raise TypeError(f"{what} are {kind}; give whole numbers or text, of one kind, for example .astype(str)")
        columns.append(ids.to_numpy())
    if len(y) == 0:
        raise ValueError("there are no ratings to learn from")
    return *columns, y


def side_table(side, rated_ids, features):
    """One row for each id, ascending: column "user_id" ("item_id"), then the features; and the field of each column.

    The fields are inferred from the features as they came: the gaps of ids without features could change dtypes.
    """
    id_name = f"{side}_id"
    fields = {id_name: Categorical(id_name)}
    rated_ids = np.unique(rated_ids)
    if features is None:
        return pd.DataFrame({id_name: rated_ids}), fields
    if not isinstance(features, pd.DataFrame):
        raise TypeError(f"{side}_features must be a DataFrame, got {type(features).__name__}")
    candidates = [column for column in features.columns if str(column).endswith("_id")]
    if id_name in features.columns:
        features = features.set_index(id_name)
    elif len(candidates) == 1:
        features = features.set_index(candidates[0])
    if isinstance(features.index, pd.MultiIndex):
        raise ValueError(f"{side}_features has an index of several levels; give one column or index of ids")
    if features.index.name is None and features.index.equals(pd.RangeIndex(len(features))):
        raise ValueError(f"{side}_features has no ids: its index only counts the rows, and no column is called "
                         f"{id_name!r}; rename the column of ids, or use .set_index(...)")
    if features.index.hasnans:
        raise ValueError(f"the id is missing in a row of {side}_features; remove such rows")
    if features.index.has_duplicates:
        twice = features.index[features.index.duplicated()][0]
        raise ValueError(f"{side}_features has more than one row for the id {twice}; keep one")
    if not features.index.isin(rated_ids).any():
        raise ValueError(f"none of the ids of {side}_features occurs in {side}_ids; give the ids as a column "
                         f"{id_name!r} or as the index (got the index {features.index[:3].tolist()} ...)")
    fields |= {name: infer_field(name, features[name]) for name in features.columns}
    ids = features.index.union(pd.Index(rated_ids)).sort_values()
    return features.reindex(ids).rename_axis(id_name).reset_index(), fields


def rating_fields(given, inferred):
    """The fields of the model: the inferred ones, by name, replaced by those that the user gave."""
    unknown = [name for name in (getattr(field, "name", field) for field in given or ()) if name not in inferred]
    if unknown:
        raise ValueError(f"fields names {unknown[0]!r}, but the columns are {list(inferred)}")
    given = {field.name: field for field in given or () if not isinstance(field, str)}
    return [given.get(name, field) for name, field in inferred.items()]


def encode_side(encoder, table):
    """A Side from its table, with a last row in which everything is missing, for the unknown."""
    with_unknown = {name: [*table[name].astype(object), None] for name in table.columns}
    slots = encoder.encode(pd.DataFrame(with_unknown, dtype=object), fields=list(table.columns))
    return Side(table.iloc[:, 0].to_numpy(), slots)


def remember_seen(users, items, user_ids, item_ids):
    """RatingData of all ratings, those held out for validation included."""
    u, i = users.rows(user_ids.tolist()), items.rows(item_ids.tolist())
    order = np.argsort(u, kind="stable")
    seen_start = np.concatenate([[0], np.cumsum(np.bincount(u, minlength=users.unknown))])
    return RatingData(users, items, seen_start, i[order])
