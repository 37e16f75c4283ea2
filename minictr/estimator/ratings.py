"""Ratings of items by users: the same models, fed with ids and, if given, features of users and items.

A rating is a number to predict (squared error), never a click in disguise. Users and items are encoded once,
one row each; a rating's slots are its user's row beside its item's row. So one prediction is two look-ups and
one forward pass, and the scores of all items for a user are one forward pass too.

A user or item that was not in the data gets the row of the unknown: the mean of all users' (items') weights
and vectors, see ``minictr.training.data.fill_untrained_rows``.
"""

import numpy as np

from ..layers import replica, sigmoid
from ..slots import Slots
from .predictions import check_logits


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


class Ratings:
    """What a model that was fitted on ratings can do, besides what one fitted on a table can.

    A mixin of ``Model``: everything here needs ``fit(user_ids=, item_ids=, ratings=)``.
    """

    def predict_rating(self, user_id, item_id):
        """The predicted rating of one item by one user, a float."""
        data = self.rated()
        if user_id is None or item_id is None:
            raise TypeError("predict needs a table X, or user_id= and item_id=, both")
        u = data.users.row_of.get(user_id, data.users.unknown)
        i = data.items.row_of.get(item_id, data.items.unknown)
        slots = data.slots(slice(u, u + 1), slice(i, i + 1))
        with np.errstate(over="ignore", invalid="ignore"):
            s = replica(self).forward(slots)
        check_logits(self, slots, s)
        return float(sigmoid(s[0]) if self.task_ == "binary" else self.task_.plus_centre(s)[0])

    def batch_predict(self, pairs):
        """Predicted ratings of a list of (user, item) pairs, (N,)."""
        data = self.rated()
        pairs = list(pairs)
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("batch_predict takes pairs (user, item); an entry has another length")
        users, items = zip(*pairs, strict=True) if pairs else ((), ())
        s = self.predict_slots(data.slots(data.users.rows(users), data.items.rows(items)))
        return sigmoid(s) if self.task_ == "binary" else s

    def recommend(self, user_id, top_k=10, *, exclude_seen=True, return_scores=False):
        """The ids of the items with the highest predicted ratings, best first; equal scores in order of the ids.

        Parameters
        ----------
        user_id : a user; an unknown one gets what the average user would.
        top_k : how many items; fewer come back where fewer are left.
        exclude_seen : leave out what the user has rated.
        return_scores : give (ids, scores) instead of ids.
        """
        data = self.rated()
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1:
            raise ValueError(f"top_k must be a whole number of at least 1, got {top_k!r}")
        u = data.users.row_of.get(user_id, data.users.unknown)
        i = np.arange(data.items.unknown)
        if exclude_seen:
            i = np.delete(i, data.seen(u))
        s = self.predict_slots(data.slots(np.full(len(i), u), i))
        good = np.arange(len(s))
        if top_k < len(s):                                        # only those that can be among the best are sorted
            good = np.flatnonzero(s >= np.partition(s, -top_k)[-top_k])
        best = good[np.argsort(-s[good], kind="stable")][:top_k]
        ids = data.items.ids[i[best]].tolist()
        if not return_scores:
            return ids
        return ids, sigmoid(s[best]) if self.task_ == "binary" else s[best]

    def rated(self):
        """The fitted model's RatingData, or a clear error."""
        data = getattr(self, "rating_data_", None)
        if data is None:
            self.check_fitted()
            raise TypeError("this model was fitted on a table: call predict(X). Predictions for a user and an item "
                            "need fit(user_ids=, item_ids=, ratings=)")
        return data
