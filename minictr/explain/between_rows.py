"""Interactions between one given row and one given baseline, at the two places where ArchDetect looks."""

import numpy as np
import pandas as pd

from ..checks import as_table
from ..estimator import Model
from .effects import CHUNK_ROWS, checked_scores, chosen_pairs, field_names, table_of_pairs, unit_of


def mixed_differences(model, row, baseline, *, fields=None, pairs=None):
    """How much more (or less) two fields change the score together than one by one, from a baseline to a given row.

    With the row x, the baseline b and f_b(i) the score of b if it had x's value in field i, f_x(i) that of x with b's,

        at_baseline = f_b(i, j) - f_b(i) - f_b(j) + f(b)
        at_row      = f_x(i, j) - f_x(i) - f_x(j) + f(x)
        value^2     = (at_baseline^2 + at_row^2) / 2

    These are the two places at which ArchDetect looks. Its strength of a pair is value^2, but for a division of each
    mixed difference by |x_i - b_i| |x_j - b_j|. Fields of categories have no such distance, so nothing is divided
    here: pairs rank alike if all fields are numbers equally far apart in row and baseline, such as inputs of 0 and 1.

    No other rows are drawn. So it finds an AND of many fields, which random rows almost never meet; but it misses an
    interaction that shows in neither of the two places, and says nothing of the rest of a table: for that there is
    ``interaction_effects``.

    Parameters
    ----------
    model : a fitted model, or any function that takes a table and returns one score a row: see ``interaction_effects``.
    row, baseline : tables of one row each, such as ``X.iloc[[3]]``, with a column for each field. A baseline is what
        the row is compared with: all values missing, those of an average row, or another row.
    fields, pairs : names to look at, as for ``interaction_effects``.

    Returns: one row a pair: field_i, field_j, value, at_baseline, at_row, all in the score's unit. ``attrs`` names the
    quantity, unit and fields. It takes 2 (pairs + fields + 1) scores.
    Raises: ValueError for tables of more or fewer rows, unknown names, scores that are not finite; TypeError for a
    model that is neither a model of this package nor a function.

    Source: M. Tsang, S. Rambhatla, Y. Liu, "How does This Interaction Affect Me? Interpretable Attribution for Feature
    Interactions", NeurIPS 2020, https://arxiv.org/abs/2006.10965.

    >>> import pandas as pd
    >>> row, baseline = pd.DataFrame({"a": [1], "b": [1], "c": [1]}), pd.DataFrame({"a": [0], "b": [0], "c": [0]})
    >>> mixed_differences(lambda X: X["a"] * X["b"] + X["c"], row, baseline)["value"].tolist()
    [1.0, 0.0, 0.0]
    """
    both = _stacked(*(model.as_fields(table) if isinstance(model, Model) else as_table(table)
                      for table in (row, baseline)))
    fields, pairs = chosen_pairs(field_names(model, both, fields), pairs)
    scores = _scores_with(model, both, [(), *((name,) for name in fields), *pairs])
    single = dict(zip(fields, scores[1:], strict=False))
    mixed = np.array([f_ij - single[i] - single[j] + scores[0]
                      for (i, j), f_ij in zip(pairs, scores[1 + len(fields):], strict=True)])         # (P, 2)
    table = table_of_pairs(pairs, value=np.sqrt((mixed ** 2).mean(axis=1)), at_baseline=mixed[:, 1],
                           at_row=mixed[:, 0])
    table.attrs = {"quantity": "mixed difference", "fields": fields,
                   "unit": f"departure from additivity between two rows ({unit_of(model)})"}
    return table


def _stacked(row, baseline):
    """A table of two rows: x, then b."""
    for name, table in (("row", row), ("baseline", baseline)):
        if len(table) != 1:
            raise ValueError(f"{name} has {len(table)} rows; expected a table of one, such as X.iloc[[3]]")
    if odd := set(row.columns) ^ set(baseline.columns):
        raise ValueError(f"column {min(odd, key=str)!r} is in one of row and baseline alone; both must have the same")
    columns = {}
    for name in row:
        parts = [row[name], baseline[name]]
        if parts[0].dtype != parts[1].dtype:                      # such as numbers, and None for "missing"
            parts = [part.astype(object) for part in parts]
        columns[name] = pd.concat(parts, ignore_index=True).infer_objects()
    return pd.DataFrame(columns)


def _scores_with(model, both, exchanged):
    """Scores (groups, 2) of both rows, each group of fields in ``exchanged`` with the other row's values."""
    place, scores = {name: at for at, name in enumerate(both)}, np.empty((len(exchanged), 2))
    score, source = (model.decision_function, type(model).__name__) if isinstance(model, Model) else (
        model, "the function")
    step = max(1, CHUNK_ROWS // (2 * len(place)))                 # a table of so many cells at once, or some more
    for start in range(0, len(exchanged), step):
        groups = exchanged[start:start + step]
        donor = np.tile([0, 1], (len(place), len(groups), 1))     # (fields, groups, 2)  which row a value is from
        for at, group in enumerate(groups):
            donor[[place[name] for name in group], at] = [1, 0]
        table = pd.DataFrame({name: both[name].array.take(donor[place[name]].ravel()) for name in both})
        scores[start:start + step] = checked_scores(score(table), len(table), source).reshape(-1, 2)
    return scores
