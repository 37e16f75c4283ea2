"""Ratings of items by users: the same models, fed with ids and, if given, features of users and items.

A rating is a number to predict (squared error), never a click in disguise. Users and items are encoded once,
one row each; a rating's slots are its user's row beside its item's row. So one prediction is two look-ups and
one forward pass, and the scores of all items for a user are one forward pass too.

A user or item that was not in the data gets the row of the unknown: the mean of all users' (items') weights
and vectors, see ``Model.fill_untrained_rows``.
"""

import numpy as np
import pandas as pd

from ..checks import check_validation, check_weights, is_share, numbers, split_rows
from ..fields import Categorical, infer_field
from ..layers import sigmoid
from ..slots import Slots


class Side:
    """The users, or the items: their ids, in order, and the encoded row of each; the last row is the unknown.

    Parameters
    ----------
    ids : (n,) ids, ascending.   slots : Slots of n + 1 rows.
    """

    def __init__(self, ids, slots):
        self.ids = ids
        self.slots = slots
        self.row_of = {id_: row for row, id_ in enumerate(ids.tolist())}
        self.unknown = len(ids)

    def rows(self, ids):
        """The row of each of many ids, the unknown's where an id is new: (N,)."""
        row_of, unknown = self.row_of, self.unknown
        return np.fromiter((row_of.get(id_, unknown) for id_ in ids), np.intp, len(ids))


class RatingData:
    """What a model fitted on ratings keeps: both sides, and which items each user has rated.

    Parameters
    ----------
    users, items : Side.
    seen_start, seen_items : user row u has rated the item rows seen_items[seen_start[u]:seen_start[u + 1]].
    """

    def __init__(self, users, items, seen_start, seen_items):
        self.users, self.items = users, items
        self.seen_start, self.seen_items = seen_start, seen_items
        self.starts = np.concatenate([users.slots.starts, users.slots.n_slots + items.slots.starts])
        weighted = users.slots.x is not None or items.slots.x is not None
        self.x_of = [weights_of(side.slots) if weighted else None for side in (users, items)]

    def slots(self, u, i):
        """Slots of user rows u beside item rows i, arrays of one length."""
        ids = np.concatenate([self.users.slots.ids[u], self.items.slots.ids[i]], axis=1)
        x = None
        if self.x_of[0] is not None:
            x = np.concatenate([self.x_of[0][u], self.x_of[1][i]], axis=1)
        return Slots.trusted(ids, x, self.starts, None if x is None else slice(0, ids.shape[1]))

    def seen(self, u):
        """Rows of the items that user row u has rated."""
        return [] if u == self.users.unknown else self.seen_items[self.seen_start[u]:self.seen_start[u + 1]]


def weights_of(slots):
    """The slot weights as an array, also where all are 1."""
    return np.ones(slots.ids.shape, np.float32) if slots.x is None else slots.x


def fit(model, user_ids, item_ids, ratings, user_features, item_features, validation, sample_weight,
        after_epoch=None):
    """Fit ``model`` on ratings; see ``Model.fit``, which calls this.

    Parameters
    ----------
    user_ids, item_ids : one id a rating, whole numbers or strings.   ratings : one number a rating.
    user_features, item_features : DataFrames, one row for each id, which is the index or a column: "user_id"
        ("item_id"), or else the only column whose name ends in "_id". Every other column becomes a field.
    validation : None, a share, or (user_ids, item_ids, ratings).   sample_weight : one weight a rating.
    after_epoch : see ``Model.fit``.

    Returns: the model. Raises: ValueError for missing ids, ratings that are no finite numbers, lengths that
    differ, features with an id twice, or a column name that occurs twice.
    """
    user_ids, item_ids, y = check_ratings(user_ids, item_ids, ratings)
    c = check_weights(sample_weight, len(y))
    seeds = model.seeds()
    rated_users, rated_items = user_ids, item_ids
    if is_share(validation):
        train, held_out = split_rows(len(y), validation, seeds["split"])
        validation = (user_ids[held_out], item_ids[held_out], y[held_out],
                      None if c is None else c[held_out])
        user_ids, item_ids, y, c = user_ids[train], item_ids[train], y[train], None if c is None else c[train]
    elif validation is not None:
        parts = check_validation(validation, ("user_ids", "item_ids", "ratings"))
        validation = (*check_ratings(*parts), None)

    user_table, user_fields = side_table("user", rated_users, user_features)
    item_table, item_fields = side_table("item", rated_items, item_features)
    twice = set(user_fields) & set(item_fields)
    if twice:
        raise ValueError(f"user_features and item_features both have a column {sorted(twice)[0]!r}; rename one")
    fields = rating_fields(model.fields, user_fields | item_fields)
    model.fit_encoder(user_table, item_table, fields=fields)
    sides = [encode_side(model.encoder_, table) for table in (user_table, item_table)]
    model.rating_data_ = remember_seen(*sides, rated_users, rated_items)

    def encode(users, items):
        data = model.rating_data_
        return data.slots(data.users.rows(users.tolist()), data.items.rows(items.tolist()))

    model.choose_task(y, ratings=True)
    if validation is not None:
        model.check_targets(validation[2])
        validation = (encode(*validation[:2]), *validation[2:])
    return model.fit_slots((encode(user_ids, item_ids), y, c), validation, seeds, after_epoch)


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


def rating_data(model):
    """The fitted model's RatingData, or a clear error."""
    data = getattr(model, "rating_data_", None)
    if data is None:
        model.check_fitted()
        raise TypeError("this model was fitted on a table: call predict(X). Predictions for a user and an item "
                        "need fit(user_ids=, item_ids=, ratings=)")
    return data


def predict(model, user_id, item_id):
    """The predicted rating of one item by one user, a float."""
    data = rating_data(model)
    if user_id is None or item_id is None:
        raise TypeError("predict needs a table X, or user_id= and item_id=, both")
    u = data.users.row_of.get(user_id, data.users.unknown)
    i = data.items.row_of.get(item_id, data.items.unknown)
    s = model.forward(data.slots(slice(u, u + 1), slice(i, i + 1)))
    return float(sigmoid(s[0]) if model.task_ == "binary" else s[0])


def batch_predict(model, pairs):
    """The predicted ratings of many (user, item) pairs, (N,)."""
    data = rating_data(model)
    pairs = list(pairs)
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("batch_predict takes pairs (user, item); an entry has another length")
    users, items = zip(*pairs, strict=True) if pairs else ((), ())
    s = model.predict_slots(data.slots(data.users.rows(users), data.items.rows(items)))
    return sigmoid(s) if model.task_ == "binary" else s


def recommend(model, user_id, top_k, exclude_seen, return_scores):
    """The ids of the items with the highest predicted ratings, best first; equal scores in order of the ids.

    Parameters
    ----------
    user_id : a user; an unknown one gets what the average user would.
    top_k : how many items; fewer come back where fewer are left.
    exclude_seen : leave out what the user has rated.
    return_scores : give (ids, scores) instead of ids.
    """
    data = rating_data(model)
    if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1:
        raise ValueError(f"top_k must be a whole number of at least 1, got {top_k!r}")
    u = data.users.row_of.get(user_id, data.users.unknown)
    i = np.arange(data.items.unknown)
    if exclude_seen:
        i = np.delete(i, data.seen(u))
    s = model.predict_slots(data.slots(np.full(len(i), u), i))
    good = np.arange(len(s))
    if top_k < len(s):                                      # only those that can be among the best are sorted
        good = np.flatnonzero(s >= np.partition(s, -top_k)[-top_k])
    best = good[np.argsort(-s[good], kind="stable")][:top_k]
    ids = data.items.ids[i[best]].tolist()
    if not return_scores:
        return ids
    return ids, sigmoid(s[best]) if model.task_ == "binary" else s[best]
