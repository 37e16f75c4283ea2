"""Which source the arguments of ``fit`` are."""

from .rating_source import RatingSource
from .sources import TableSource
from .stream import StreamSource, is_stream


def as_source(task, X, y, validation, sample_weight, user_ids, item_ids, ratings, user_features, item_features):
    """The table, pieces or ratings that ``Model.fit`` was given, see there; TypeError for what does not go together.

    ``task`` is the model's setting.
    """
    if user_ids is not None or item_ids is not None or ratings is not None:
        if X is not None or y is not None:
            raise TypeError("give either X and y, or user_ids, item_ids and ratings")
        return RatingSource(user_ids, item_ids, ratings, user_features, item_features, sample_weight, validation)
    if user_features is not None or item_features is not None:
        raise TypeError("user_features and item_features go with user_ids, item_ids and ratings")
    if is_stream(X):
        return StreamSource(X, y, sample_weight, validation)
    if X is None:
        raise TypeError("fit needs X and y, or user_ids=, item_ids= and ratings=")
    return TableSource(X, y, sample_weight, validation, task=task)
