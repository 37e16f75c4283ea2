"""Which rows of a table a step looks up."""

import numpy as np


def used_rows(losses, params):
    """Return of each parameter of which the loss depends on some rows only the numbers of these: {name: (rows,)}.

    Parameters
    ----------
    losses : the arrays of nodes that the loss left.   params : {name: array}, under the names that the leaves know.
    """
    found, seen = {}, set()
    waiting = [node for array in losses for node in np.asarray(array, object).ravel().tolist()]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op != "leaf":
            waiting += node.args
        elif node.args[0] in params:
            name, place = node.args
            found.setdefault(name, set()).add(place // (params[name].size // len(params[name])))
    return {name: np.array(sorted(rows)) for name, rows in found.items() if len(rows) < len(params[name])}
