"""The picture of one traced training step shows what flows down through the layers, and what comes back."""

import textwrap

import numpy as np

from .shared import BLUE, GREY, VERMILLION, as_panels

WIDTH, HEIGHT = 0.8, 0.62               # of a box, where each layer has a room of 1 by 1
NO_BREAK = "\N{NO-BREAK SPACE}"


def flow(trace, *, ax=None):
    """Draw the layers that a model calls, the arrays between them, and the gradients on their way back.

    Solid blue arrows point down and carry the shape of the array that flows; dashed arrows point up and carry the norm
    of the loss's gradient with respect to that array. Where several arrows leave a box, its output is used several
    times, and their gradients are added; where several arrive at the logit s, they are parts of it. Below a layer's
    name stand the norms of its parameters' gradients.

    Parameters
    ----------
    trace : Trace, from ``minictr.trace(model, X, y)``.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError : for anything but a trace.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import minictr
    >>> clicks = minictr.datasets.make_clicks(200, seed=0)
    >>> model = minictr.FM(embedding_dim=2).prepare(clicks.X, clicks.y)
    >>> ax = flow(minictr.trace(model, clicks.X[:1], clicks.y[:1]), ax=Figure().subplots())
    >>> [text.get_text().splitlines()[0] for text in ax.texts[:4]]
    ['input', 'linear: Linear', 'embedding: Embedding', 'pooling: FMPooling']
    """
    from matplotlib.patches import Rectangle

    edges = getattr(trace, "edges", None)
    if edges is None:
        raise TypeError(f"flow draws a trace, from minictr.trace(model, X, y); got {type(trace).__name__}")
    edges = list(edges.itertuples(index=False))
    places = _places(edges)
    columns, rows = (1 + max(numbers) for numbers in zip(*places.values(), strict=True))
    ax = as_panels(ax, 1, 1, (0.4 + 2.6 * columns, 0.9 + 1.3 * rows))[0, 0]
    for name, (column, row) in places.items():
        ax.add_patch(Rectangle((column - WIDTH / 2, row - HEIGHT / 2), WIDTH, HEIGHT, facecolor="white",
                               edgecolor=GREY, zorder=3))
        ax.text(column, row, _label(trace, name), ha="center", va="center", fontsize=7.5, zorder=4, color="black",
                parse_math=False)
    for edge in edges:
        start, end = places[edge.source], places[edge.target]
        below = [(start[0], row) for row in range(start[1] + 1, end[1])]
        _draw_edge(ax, start, end, edge, over_first=any(place in below for place in places.values()))
    ax.plot([], [], color=BLUE, label="forward: name and shape of the array")
    ax.plot([], [], color=VERMILLION, linestyle="--", label="backward: norm of its gradient")
    ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.6, -0.4))
    between = ", " if columns > 1 else "\n"                       # what fits above one column
    ax.set_title(f"one training step of {trace.model}{between}loss {trace.loss:.4g}", pad=36)
    ax.set_axis_off()
    return ax


def _places(edges):
    """A (column, row) for each box: rows by the longest way from the input; columns so that no line crosses a box.

    A box stands below the first box that it takes an array from, if nothing else does yet; else it opens a column, to
    the right of that box's.
    """
    names = dict.fromkeys(name for edge in edges for name in (edge.source, edge.target))
    rows = dict.fromkeys(names, 0)
    for _ in names:
        for edge in edges:
            rows[edge.target] = max(rows[edge.target], rows[edge.source] + 1)
    columns, placed = [["input"]], {"input", "s", "loss"}
    for edge in edges:
        if edge.target not in placed:
            column = next(column for column in columns if edge.source in column)
            if column[-1] == edge.source:
                column.append(edge.target)
            else:
                columns.insert(columns.index(column) + 1, [edge.target])
            placed.add(edge.target)
    places = {name: (number, rows[name]) for number, column in enumerate(columns) for name in column}
    middle = (len(columns) - 1) / 2
    return places | {name: (middle, rows[name]) for name in ("input", "s", "loss")}


def _label(trace, name):
    """The text in a box."""
    if name == "input":
        return "input\n" + textwrap.fill(", ".join(map(str, trace.X.columns)), 30, max_lines=2, placeholder=" ...")
    if name == "s":
        n_parts = (trace.edges["target"] == "s").sum()
        return f"s: the logit\nsum of {n_parts} parts" if n_parts > 1 else "s: the logit"
    if name == "loss":
        return f"loss\n{trace.loss:.4g}"
    norms = []
    for key, norm in trace.gradients[name].items():
        inner, dot, parameter = key.rpartition(".")
        norms.append(f"{inner}{dot}|d{parameter}| {norm:.2g}".replace(" ", NO_BREAK))
    norms = norms if len(norms) <= 5 else [*norms[:4], f"and {len(norms) - 4} more"]
    return "\n".join([f"{name}: {trace.layers[name]}", *textwrap.wrap(", ".join(norms), 36)])


def _draw_edge(ax, start, end, edge, over_first):
    """An arrow down with the array's shape and, beside it, a dashed one up with the norm of the gradient.

    ``over_first`` : whether a box stands in the way below ``start``, so that the arrow goes down the column of ``end``.
    """
    (x0, y0), (x1, y1) = start, end
    slant = float(np.clip(0.2 * (x1 - x0), -0.25, 0.25))          # lines that fork or meet do so at places of their own
    returns = not np.isnan(edge.gradient)
    lines = [(-0.04 * returns, BLUE, "-", f"{edge.symbol} {edge.shape}".strip(), "right", 0.35)]
    if returns:
        lines.append((0.04, VERMILLION, "--", f"{edge.gradient:.2g}", "left", 0.65))
    for side, colour, style, text, align, share in lines:
        # straight down its column as far as the row above the target, then over to it
        points = np.array([(x0 + slant + side, y0 + HEIGHT / 2), (x0 + slant + side, y1 - 1 + HEIGHT / 2),
                           (x1 - slant + side, y1 - HEIGHT / 2)])
        if over_first:
            points[1:, 0], points[1, 1] = x1 + side, y0 + 1 - HEIGHT / 2
        ax.plot(*points.T, color=colour, linestyle=style, linewidth=1.3, zorder=1)
        head, tail = (points[2], points[1]) if colour == BLUE else (points[0], points[1] if y1 - y0 > 1 else points[2])
        ax.annotate("", head, head + 0.01 * (tail - head), zorder=2, annotation_clip=False,
                    arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11})
        (x, y), beside = points[1] + share * (points[2] - points[1]), x0 == x1 or over_first
        if beside:
            x, y = x + (0.03 if align == "left" else -0.03), y0 + 1 if over_first else y1 - 0.5
        ax.text(x, y, text, fontsize=7, color=colour, ha=align if beside else "center", va="center", zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})
