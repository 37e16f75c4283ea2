"""A table shows the vectors that a model learned for the values of a field."""

import pandas as pd


def embeddings(model, field):
    """Return the vector of each value of a field, and how often training saw it.

    Parameters
    ----------
    model : a fitted model with vectors (LR has none).   field : the name of a field.

    Returns: one row for each value that training saw: value (text), count (training rows; of a multi-valued field,
    its occurrences), v1 ... vk. ``attrs``: quantity, field.
    Raises: TypeError for a model without vectors; ValueError for a field that is not there.

    >>> from minictr import FM, datasets
    >>> clicks = datasets.make_clicks(2_000, seed=0)
    >>> embeddings(FM(embedding_dim=2, epochs=1).fit(clicks.X, clicks.y), "device").columns.tolist()
    ['value', 'count', 'v1', 'v2']
    """
    model.check_fitted()
    if not hasattr(model, "embedding"):
        raise TypeError(f"{type(model).__name__} has no layer called embedding, and so no vectors to show")
    encoder = model.encoder_
    names = encoder.feature_names(field)                          # raises for an unknown field
    start = encoder.offsets[encoder.field_names.index(field)]
    rows = slice(start, start + len(names))
    V = model.embedding.params["V"][rows]
    count = model.row_counts_[rows]
    table = pd.DataFrame(V, columns=[f"v{f}" for f in range(1, V.shape[1] + 1)])
    table.insert(0, "value", names)
    table.insert(1, "count", count)
    table = table[count > 0].reset_index(drop=True)
    table.attrs = {"quantity": "vectors", "field": field}
    return table
