"""Pictures of pairs, attention, training and predictions, and what all plots share."""

import textwrap

import numpy as np
import pandas as pd

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILLION, SKY, GREEN, GREY = "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#8C8C8C"

_PAIR_SOURCE = "explain.pair_importance(model, X) or, for AFM, explain.attention(model, X)"
_GRID_SOURCE = "explain.attention(model, X) of an AutoInt model"
_TERM_SOURCE = "explain.contributions(model, X)"
_TERM_ORDER = {"field": 0, "pair": 1, "deep part": 2, "together": 2}


def pair_heatmap(table, *, ax=None, cmap=None, annotate=None):
    """Draw one number per pair of fields as a lower triangle of coloured cells.

    Values that are never negative are coloured from 0 up; as soon as one is negative, the scale
    diverges and its two ends are equally far from 0, so that white means 0. Attention diverges from
    the uniform weight, so that white means no preference. A hatched cell has no value.

    Parameters
    ----------
    table : DataFrame with columns field_i, field_j, value; one row a pair.
    ax : Axes to draw on; None makes a new figure.
    cmap : colour map in place of cividis (values >= 0), RdBu_r (signed) or PuOr_r (attention).
    annotate : print the numbers in the cells; None does so up to 15 fields, if they are legible.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds a pair twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [0.6, 0.3, 0.1],
    ...                       "field_j": ["ad", "hour", "hour"]})
    >>> ax = pair_heatmap(table, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['user', 'ad', 'hour']
    """
    _check_pairs(table)
    fields = _fields(table)
    ax = _panels(ax, 1, 1, _triangle_size(fields))[0, 0]
    _draw_triangle(table, fields, ax, cmap, annotate)
    return ax


def pair_ranking(table, *, top=10, ax=None):
    """Draw the pairs as horizontal bars, the largest absolute value on top.

    Whiskers show low to high where the table has them. The pairs beyond `top` share one hatched bar
    at the bottom; where their sum is longer than the axis, an arrow says so.

    Parameters
    ----------
    table : DataFrame with columns field_i, field_j, value and perhaps low, high; one row a pair.
    top : how many pairs get a bar of their own.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty, of another kind, or holds a pair twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [0.6, 0.1, 0.3],
    ...                       "field_j": ["ad", "hour", "hour"]})
    >>> ax = pair_ranking(table, top=2, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['user × ad', 'ad × hour', 'others (1 pair)']
    """
    _check_pairs(table)
    _check_count("top", top)
    values, low, high = _numbers(table, ["value", "low", "high"])
    known = np.flatnonzero(~np.isnan(values))
    ranked = known[np.argsort(-np.abs(values[known]), kind="stable")]
    shown, rest = ranked[:top], values[ranked[top:]]
    value, low, high = values[shown], low[shown], high[shown]
    names, pairs = _short_names(_fields(table)), table[["field_i", "field_j"]].to_numpy()
    labels = [" × ".join(names[field] for field in pair) for pair in pairs[shown]]
    if len(rest):
        labels.append(f"others ({_counted(len(rest), 'pair')})")
    written = _number_format(value)
    signed = values[known].min() < 0
    colours = [(VERMILLION if v > 0 else BLUE) if signed else SKY for v in value]
    notes = [_unit(table)]

    ax = _panels(ax, 1, 1, _bars_size(labels))[0, 0]
    whisker_ends = np.where(value >= 0, np.fmax(value, high), np.fmin(value, low))
    _draw_bars(ax, labels, value, 0.0, colours, whisker_ends, map(written, value))
    if not np.isnan([low, high]).all():
        rows = np.arange(len(shown))
        ax.hlines(rows, low, high, color="black", linewidth=1.2)
        ax.plot([low, high], [rows, rows], "|", color="black", markersize=7)
        notes.append(f"whiskers: {table.attrs.get('interval', 'low to high')}")
    if (uniform := _uniform(table)) is not None:
        ax.axvline(uniform, color=VERMILLION, linestyle="--", linewidth=1.2)
        notes.append(f"dashed line: uniform attention, {uniform:.3g}")
    if len(known) < len(values):
        notes.append(f"left out: {_counted(len(values) - len(known), 'pair')} without a value")
    # The single pairs set the limits: the sum of hundreds of others would squeeze them to nothing.
    left, right = ax.set_xlim(ax.get_xlim())
    if len(rest):
        text = f"sum {written(rest.sum())}, mean {written(rest.mean())}"
        text = f"{text} →" if rest.sum() > right else f"← {text}" if rest.sum() < left else text
        ax.barh(len(shown), rest.sum(), color="white", edgecolor=GREY, hatch="////", height=0.7)
        ax.text(0.98, len(shown), text, transform=ax.get_yaxis_transform(), fontsize=8, ha="right",
                va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})
    if signed:
        ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set(xlabel="\n".join(notes), title=_title(table))
    return ax


def attention_grid(table, *, axes=None, cmap=None):
    """Draw AutoInt's self-attention, one panel for each layer (down) and head (across).

    The row is the field that looks (the query), the column the field looked at (the key); each row
    sums to 1. All panels share one colour scale from 0 to the largest weight. A rollout is drawn in
    multiples of the uniform one, which is larger where a field looks at itself; white is 1 there.

    Parameters
    ----------
    table : DataFrame with columns layer, head, field_i (query), field_j (key), value.
    axes : array of layers * heads Axes to draw on; None makes a new figure.
    cmap : colour map in place of cividis (PuOr_r for a rollout).

    Returns
    -------
    ndarray of Axes, shape (layers, heads)

    Raises
    ------
    ValueError : if the table is empty, of another kind, holds an entry twice, or `axes` has another
        size.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"layer": 1, "head": [1, 1, 1, 1, 2, 2, 2, 2],
    ...                       "field_i": ["user", "user", "ad", "ad"] * 2,
    ...                       "field_j": ["user", "ad"] * 4,
    ...                       "value": [0.9, 0.1, 0.5, 0.5, 0.2, 0.8, 0.3, 0.7]})
    >>> attention_grid(table, axes=Figure().subplots(1, 2)).shape
    (1, 2)
    """
    keys = ["layer", "head", "field_i", "field_j"]
    _check_table(table, [*keys, "value"], _GRID_SOURCE)
    _refuse(table, table.duplicated(keys), f"one row for each of {keys}, as {_GRID_SOURCE} returns")
    fields = _fields(table)
    given, table = table, _relative_to_uniform(table)
    (values,), query, key = _numbers(table, ["value"]), *_positions(table, fields)
    scale = _colour_scale(values, cmap, None if table is given else _uniform(table))
    layers, heads = sorted(table["layer"].unique()), sorted(table["head"].unique())
    side, names = np.clip(0.2 * len(fields), 1.9, 6.5), _label_inches(_short_names(fields).values())
    size = len(heads) * side + names + 1.3, len(layers) * (side + 0.3) + names + 0.2
    axes = _panels(axes, len(layers), len(heads), size)
    for (row, column), ax in np.ndenumerate(axes):
        here = ((table["layer"] == layers[row]) & (table["head"] == heads[column])).to_numpy()
        matrix = np.full((len(fields), len(fields)), np.nan)
        matrix[query[here], key[here]] = values[here]
        image = _draw_matrix(ax, matrix, np.isnan(matrix), fields, scale)
        left, bottom = column == 0, row == len(layers) - 1
        ax.tick_params(labelleft=left, labelbottom=bottom)
        ax.set(ylabel="query (asks)" if left else "", xlabel="key (answers)" if bottom else "")
        ax.set_title(_panel_name(layers[row], heads[column]), fontsize=10)
    _colour_bar(image, axes[0, -1], [1.05, 0, 0.06, 1], table, "vertical")
    return axes


def history(history, *, ax=None):
    """Draw the training and validation loss of every epoch.

    The dashed line is the loss of always predicting the average of the training data: a model that
    stays near it has learned nothing.

    Parameters
    ----------
    history : DataFrame, ``model.history_``: columns epoch, train_loss, val_loss.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.6, 0.5], "val_loss": [0.61, 0.58]})
    >>> ax = history(table, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['training', 'validation', 'best epoch 2: 0.5800']
    """
    from matplotlib.ticker import MaxNLocator

    columns = ["epoch", "train_loss", "val_loss"]
    _check_table(history, columns, "model.fit, as model.history_", value="train_loss")
    epochs, train, validation = _numbers(history, columns)
    validated = not np.isnan(validation).all()
    judged = validation if validated else train
    loss, base = history.attrs.get("loss", "loss"), history.attrs.get("base_loss")
    best = epochs == history.attrs.get("best_epoch", epochs[np.nanargmin(judged)])

    ax = _panels(ax, 1, 1, (6.4, 4.0))[0, 0]
    ax.plot(epochs, train, color=BLUE, marker="o", markersize=4, label="training")
    if validated:
        ax.plot(epochs, validation, color=VERMILLION, marker="s", markersize=4, label="validation")
    if best.any():
        ax.plot(epochs[best], judged[best], color=GREEN, marker="o", markersize=13,
                markerfacecolor="none", markeredgewidth=2.5, linestyle="none",
                label=f"best epoch {epochs[best][0]:.0f}: {judged[best][0]:.4f}")
    if base is not None:
        name = "training mean" if loss == "squared error" else "base rate"
        ax.axhline(base, color=GREY, linestyle="--", label=f"{name}: {base:.4f}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=loss, xlim=(epochs.min() - 0.5, epochs.max() + 0.5))
    ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax


def truth_vs_learned(truth, *learned, axes=None):
    """Draw planted pair effects beside what one or more models learned, fields in the same order.

    Each panel has a colour scale of its own: attention (shares of 1) and effects (log-odds) cannot
    be compared by size, only by which pairs stand out.

    Parameters
    ----------
    truth : pair table of the planted effects.
    *learned : one or more pair tables over the same fields.
    axes : 1 + len(learned) Axes to draw on; None makes a new figure.

    Returns
    -------
    ndarray of Axes, shape (1 + len(learned),)

    Raises
    ------
    ValueError : if a table is empty, of another kind or over other fields, or `axes` has another
        size.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> truth = pd.DataFrame({"field_i": ["user", "user", "ad"], "value": [1.5, 0.0, 0.4],
    ...                       "field_j": ["ad", "hour", "hour"]})
    >>> learned = truth.assign(value=[0.7, 0.1, 0.2])
    >>> truth_vs_learned(truth, learned, axes=Figure().subplots(1, 2)).shape
    (2,)
    """
    if not learned:
        raise ValueError(f"no learned table to put beside the truth; make one with {_PAIR_SOURCE}")
    tables = [truth, *learned]
    for table in tables:
        _check_pairs(table)
        if set(_fields(table)) != set(_fields(truth)):
            raise ValueError(f"the truth is about the fields {_fields(truth)}, a learned table"
                             f" about {_fields(table)}; expected the same fields")
    width, height = _triangle_size(_fields(truth))
    axes = _panels(axes, 1, len(tables), (len(tables) * width, height))[0]
    for table, ax in zip(tables, axes, strict=True):
        _draw_triangle(table, _fields(truth), ax)
    return axes


def waterfall(contributions, *, row=None, top=10, ax=None):
    """Draw how one prediction adds up: bias, then fields, then pairs, and at the bottom the logit.

    Each bar starts where the one above ended. The `top` largest fields and pairs get a bar each,
    the rest are summed as "others". For clicks the upper axis reads as probabilities.

    Parameters
    ----------
    contributions : DataFrame with columns row, term ("bias", "field", "pair", "deep part"), field_i,
        field_j and value; or the terms of ``explain.one_prediction``, from "average" on.
    row : which row of the data; may be left out when the table holds only one.
    top : how many fields and pairs get a bar of their own.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if the table is empty or of another kind, a term is unknown or has no value, or it
        is not clear which row is meant.

    Examples
    --------
    >>> import pandas as pd
    >>> from matplotlib.figure import Figure
    >>> table = pd.DataFrame({"row": 0, "term": ["bias", "field", "pair"],
    ...                       "field_i": ["", "user", "user"], "field_j": ["", "", "ad"],
    ...                       "value": [-1.0, 0.5, 0.25]})
    >>> ax = waterfall(table, ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['bias', 'user', 'user × ad', 'logit']
    """
    columns = ["row", "term", "field_i", "field_j", "value"]
    _check_table(contributions, columns, _TERM_SOURCE)
    _check_count("top", top)
    rows = contributions["row"].unique().tolist()
    chosen = rows if row is None else [row]
    if len(chosen) > 1 or chosen[0] not in rows:
        raise ValueError(f"choose with row= one of the {len(rows)} explained rows, {rows[:10]}"
                         f"{' and so on' * (len(rows) > 10)}; got row={row!r}")
    one = contributions[contributions["row"] == chosen[0]]
    bad = ~one["term"].isin(["bias", "average", *_TERM_ORDER]) | one["value"].isna()
    _refuse(one, bad, f"a term bias, field or pair (or deep part) and its value, as {_TERM_SOURCE} returns")
    (values,), terms = _numbers(one, ["value"]), one["term"].to_numpy()
    begins = np.isin(terms, ["bias", "average"])
    labels, steps = [terms[begins][0] if begins.any() else "bias"], [values[begins].sum()]
    named = _term_names(one)
    ranked = np.argsort(-np.abs(values), kind="stable")
    ranked = ranked[~begins[ranked]]
    shown = sorted(ranked[:top], key=lambda k: _TERM_ORDER[terms[k]])  # fields first, else by size
    labels += [named[k] for k in shown]
    steps += [*values[shown]]
    if len(ranked) > top:
        labels.append(f"others ({_counted(len(ranked) - top, 'term')})")
        steps.append(values[ranked[top:]].sum())
    binary = contributions.attrs.get("task", "binary") == "binary"
    labels.append("logit" if binary else "prediction")
    ends = np.cumsum(steps)
    starts, ends, steps = [0.0, *ends[:-1], 0.0], [*ends, ends[-1]], [*steps, ends[-1]]
    colours = [GREY, *(VERMILLION if step > 0 else BLUE for step in steps[1:-1]), GREY]
    written = _number_format(steps)
    title = f"row {chosen[0]}: " * (labels[0] == "bias") + f"{labels[-1]} {written(steps[-1])}"

    ax = _panels(ax, 1, 1, _bars_size(labels))[0, 0]
    ax.use_sticky_edges = False  # else a bar that starts at the edge leaves a number no room there
    texts = [("+" if step > 0 else "") + written(step) for step in steps]
    _draw_bars(ax, labels, steps, starts, colours, ends, texts)
    ax.vlines(ends[:-1], range(len(ends) - 1), range(1, len(ends)), color=GREY, linewidth=0.8)
    ax.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_xlabel("log-odds" if binary else _unit(contributions))
    if binary:
        probability = ax.secondary_xaxis("top")
        probability.xaxis.set_major_formatter(lambda logit, _: _probability(logit))
        probability.set_xlabel("probability")
        title += f", probability {_probability(steps[-1])}"
    ax.set_title(title)
    return ax


def calibration(y, p, *, bins=10, ax=None):
    """Draw the observed against the predicted rate of clicks, in bins of equally many rows.

    A calibrated model lies on the dashed diagonal. Rows with equal predictions share a bin, so
    there can be fewer bins than asked for; a larger marker stands for more rows. The whiskers are
    the 95 % interval of Wilson (1927) for the observed rate.

    Parameters
    ----------
    y : (n,) outcomes, 0 or 1.
    p : (n,) predicted probabilities.
    bins : how many bins.
    ax : Axes to draw on; None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError : if y and p differ in length, are empty, or hold values that are not outcomes or
        probabilities.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = calibration([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], bins=2, ax=Figure().subplots())
    >>> ax.get_legend().get_texts()[-1].get_text()
    '2 bins of 2 rows'
    """
    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    _check_count("bins", bins)
    if y.ndim != 1 or y.shape != p.shape or not len(y):
        raise ValueError("y and p must be one-dimensional, equally long and not empty, got shapes"
                         f" {y.shape} and {p.shape}; of predict_proba take the column [:, 1]")
    for name, numbers, good, expected in (("y", y, (y == 0) | (y == 1), "0 or 1"),
                                          ("p", p, (p >= 0) & (p <= 1), "a number from 0 to 1")):
        if not good.all():
            at = good.argmin()
            raise ValueError(f"{name}[{at}] is {numbers[at]}, expected {expected}")
    edges = np.quantile(p, np.arange(1, bins) / bins)
    _, bin_of, count = np.unique(np.searchsorted(edges, p), return_inverse=True, return_counts=True)
    predicted, clicks = np.bincount(bin_of, p) / count, np.bincount(bin_of, y)
    z2 = 1.96**2
    centre = (clicks + z2 / 2) / (count + z2)
    half = np.sqrt(z2 * (clicks * (count - clicks) / count + z2 / 4)) / (count + z2)
    end = 1.05 * max(predicted.max(), (centre + half).max())
    rows = " to ".join(f"{size:,}" for size in sorted({count.min(), count.max()}))

    ax = _panels(ax, 1, 1, (5.0, 5.0))[0, 0]
    ax.plot([0, end], [0, end], color=GREY, linestyle="--", label="calibrated")
    ax.vlines(predicted, centre - half, centre + half, color=BLUE, label="95 % interval (Wilson)")
    ax.plot(predicted, clicks / count, color=BLUE, linewidth=1)
    ax.scatter(predicted, clicks / count, s=20 + 40 * count / count.max(), color=BLUE, zorder=3,
               clip_on=False, label=f"{_counted(len(count), 'bin')} of {rows} rows")
    ax.set(xlim=(0, end), ylim=(0, end), aspect="equal", xlabel="mean predicted probability",
           ylabel="observed rate")
    ax.legend(fontsize=8, loc="lower right")
    return ax


# ---- checks --------------------------------------------------------------------------------------


def _check_table(table, columns, source, value="value"):
    """Say what is wrong with a table, and who makes the right one."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"plots draw tables, expected the one made by {source}; got a"
                        f" {type(table).__name__}")
    missing = [column for column in columns if column not in table.columns]
    if missing or table.empty:
        problem = f"lacks the columns {missing}" if missing else "has no rows"
        raise ValueError(f"the table {problem}; it has the columns {list(table.columns)}; make the"
                         f" right one with {source}")
    (values,) = _numbers(table, [value])
    _refuse(table, np.isinf(values), f"a finite {value!r}, or NaN for none")
    if np.isnan(values).all():
        raise ValueError(f"column {value!r} holds nothing but NaN, there is nothing to draw")


def _check_pairs(table):
    """Check a table of pairs, and that it has one row for each pair."""
    _check_table(table, ["field_i", "field_j", "value"], _PAIR_SOURCE)
    for column, plot in (("layer", "attention_grid"), ("term", "waterfall")):
        if column in table.columns:
            raise ValueError(f"a table with a column {column!r} is not a table of pairs; draw it"
                             f" with plots.{plot}, or make a table of pairs with {_PAIR_SOURCE}")
    for column, plot in (("group", "pair_groups"), ("epoch", "attention_over_epochs")):
        if column in table.columns and table[column].nunique() > 1:
            raise ValueError(f"the table holds several values of {column!r}; draw all with plots.{plot},"
                             f" or one: table[table[{column!r}] == {table[column].iloc[0]!r}]")
    ends = np.sort(_positions(table, _fields(table)), axis=0)
    bad = pd.DataFrame(ends.T).duplicated() | (ends[0] == ends[1])
    _refuse(table, bad, f"one row for each pair of two fields, as {_PAIR_SOURCE} returns")


def _check_count(name, count):
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")


def _refuse(table, bad, expected):
    bad = np.asarray(bad)
    if bad.any():
        at = bad.argmax()
        raise ValueError(f"entry {at} of the table is {table.iloc[at].to_dict()};"
                         f" expected {expected}")


# ---- reading a table -----------------------------------------------------------------------------


def _numbers(table, columns):
    """Return each column as an array; one that the table lacks is all NaN."""
    return table.reindex(columns=columns).to_numpy(dtype=float, na_value=np.nan).T


def _fields(table):
    """Return all field names in order: as the table says, else as they appear."""
    seen = table[["field_i", "field_j"]].to_numpy().ravel()
    return list(table.attrs.get("fields", dict.fromkeys(seen)))


def _positions(table, fields):
    """Return where in `fields` each field_i and each field_j stands."""
    i, j = (pd.Index(fields).get_indexer(table[column]) for column in ("field_i", "field_j"))
    _refuse(table, (i < 0) | (j < 0), f'fields that table.attrs["fields"] lists, {fields}')
    return i, j


def _uniform(table):
    """Return the weight that every pair (or key) has under uniform attention, or None."""
    column = table["uniform"].iloc[0] if "uniform" in table.columns else None
    return table.attrs.get("uniform", column)


def _quantity(table):
    return table.attrs.get("quantity", "value")


def _unit(table):
    return table.attrs.get("unit", _quantity(table))


def _term_names(terms):
    """Return a label for each term of one prediction, with the fields' values where the table has them."""
    pairs = terms[["field_i", "field_j"]].astype(object).to_numpy()
    is_field = np.isin(terms["term"], ["field", "pair"])
    fields = dict.fromkeys([*pairs[is_field, 0], *pairs[terms["term"] == "pair", 1]])
    names = _short_names(fields)
    if (held := terms.attrs.get("values")) is not None:
        names = {field: _with_value(names[field], held[field]) for field in fields}
    return [names[i] + (f" × {names[j]}" if term == "pair" else "") if known else term
            for term, known, (i, j) in zip(terms["term"], is_field, pairs, strict=True)]


# ---- writing text --------------------------------------------------------------------------------


def _title(table):
    trivial = _quantity(table) == "attention" and len(table) == 1
    return _quantity(table) + "\n(over one pair always 1: trivial)" * trivial


def _panel_name(layer, head):
    """Return what a panel of self-attention shows; a layer or head that is a word is a summary of all."""
    return ", ".join(f"{part} of {kind}s" if isinstance(part, str) else f"{kind} {part}"
                     for kind, part in (("layer", layer), ("head", head)))


def _counted(count, noun):
    return f"{count} {noun}{'s' * (count > 1)}"


def _short_names(names, limit=18):
    """Map names to labels: long ones lose their middle, but no two come to look the same."""
    full = [" ".join(str(name).split()) for name in names]
    while True:
        head, tail = limit // 2, limit - limit // 2 - 1
        short = [name if len(name) <= limit else f"{name[:head]}…{name[-tail:]}" for name in full]
        if len(set(short)) == len(set(full)):
            return dict(zip(names, short, strict=True))
        limit += 2


def _with_value(name, value):
    """Return "field = value" with a value that is not too long."""
    return f"{name} = {next(iter(_short_names([value], limit=16).values()))}"


def _number_format(values):
    """Return a function that writes numbers with the decimals that the largest value needs."""
    largest = np.nanmax(np.abs(values))
    exponent = int(np.floor(np.log10(largest))) if largest > 0 else 0
    if not -4 <= exponent <= 5:
        return lambda value: f"{value:.1e}"
    decimals = 1 - exponent if exponent < -1 else max(2 - exponent, 0)
    return lambda value: f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: never -0.00


def _probability(logit):
    p = 1 / (1 + np.exp(-np.clip(logit, -700, 700)))
    return f"{p:.3g}" if p < 0.99 else f"{p:.5f}"


# ---- drawing -------------------------------------------------------------------------------------


def _panels(axes, rows, columns, size):
    """Return a (rows, columns) array of Axes: those given, or a new figure's of `size` inches."""
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1]
    axes = np.asarray(axes, dtype=object)
    if axes.size != rows * columns:
        raise ValueError(f"this plot needs {rows} x {columns} Axes, got {axes.size}")
    return axes.reshape(rows, columns)


def _label_inches(labels):
    return 0.3 + 0.085 * max(map(len, labels))


def _triangle_size(fields):
    """Return the width and height in inches that give cells and names their room."""
    side = np.clip(0.5 * len(fields), 2.6, 9.0)
    names = _label_inches(_short_names(fields).values())
    return side + names + 0.2, side + names + 0.4


def _bars_size(labels):
    return 4.6 + _label_inches(labels), 1.7 + 0.32 * len(labels)


def _name_points(ax, points, names):
    """Write names beside points (n, 2), the first ones first, where they cover neither one another nor leave the Axes.

    A name finds a place to the right or left of its point, a little above or below; if all are taken it is left out.
    """
    ax.figure.draw_without_rendering()                            # settles limits and, with it, where the points lie
    scale = 72 / ax.figure.dpi
    places = ax.transData.transform(points) * scale               # in points (1/72 inch)
    box = ax.get_window_extent()
    edges = np.array([box.x0, box.x1]) * scale
    taken = []                                                    # left, right, bottom, top
    for (x, y), name in zip(places, names, strict=True):
        width = 5.4 * len(name)
        for side, up in ((1, 4), (-1, 4), (1, -15), (-1, -15)):
            left = x + 5 if side == 1 else x - 5 - width
            mine = left, left + width, y + up, y + up + 12
            inside = edges[0] <= mine[0] and mine[1] <= edges[1]
            if inside and not any(mine[0] < r and l < mine[1] and mine[2] < t and b < mine[3] for l, r, b, t in taken):
                taken.append(mine)
                ax.annotate(name, ax.transData.inverted().transform((x / scale, y / scale)), xytext=(5 * side, up),
                            textcoords="offset points", fontsize=8, parse_math=False,
                            ha="left" if side == 1 else "right", va="bottom")
                break


def _relative_to_uniform(table):
    """Return a rollout's table in multiples of its uniform attention, which differs from cell to cell; others as is."""
    if table.attrs.get("uniform") is not None or "uniform" not in table.columns:
        return table
    relative = table.assign(value=table["value"] / table["uniform"])
    relative.attrs = table.attrs | {"uniform": 1.0, "unit": "attention (multiple of the uniform one)"}
    return relative


def _draw_bars(ax, labels, lengths, starts, colours, text_at, texts):
    """Draw named horizontal bars from top to bottom, with a number beyond the end of each."""
    ax.barh(range(len(lengths)), lengths, left=starts, color=colours, height=0.7)
    for row, (length, x, text) in enumerate(zip(lengths, text_at, texts, strict=True)):
        ax.annotate(text, (x, row), xytext=(5 if length >= 0 else -5, 0), fontsize=8, va="center",
                    textcoords="offset points", ha="left" if length >= 0 else "right")
    # parse_math: a "$" in a field's name is a dollar sign, not the start of a formula.
    ax.set_yticks(range(len(labels)), labels, parse_math=False)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.margins(x=0.25)  # room for the numbers
    ax.spines[["right", "top"]].set_visible(False)


def _colour_scale(values, cmap, uniform=None):
    if uniform is not None and (uniform < 1 or np.nanmax(values) > uniform):    # else trivial: all is 1
        from matplotlib.colors import TwoSlopeNorm

        # white at the uniform weight, and wide enough for weights near it to look alike
        return {"cmap": cmap or "PuOr_r", "norm": TwoSlopeNorm(uniform, 0, max(np.nanmax(values), 1.5 * uniform))}
    largest = np.nanmax(np.abs(values)) or 1.0  # all zero: any scale will do, if it has a length
    signed = np.nanmin(values) < 0
    return {"cmap": cmap or ("RdBu_r" if signed else "cividis"),
            "vmin": -largest if signed else 0.0, "vmax": largest}


def _draw_triangle(table, fields, ax, cmap=None, annotate=None):
    """Draw a pair table as a lower triangle; the colour bar goes into the empty upper one."""
    (values,), ends = _numbers(table, ["value"]), np.sort(_positions(table, fields), axis=0)
    matrix = np.full((len(fields), len(fields)), np.nan)
    matrix[ends[1], ends[0]] = values
    missing = np.isnan(matrix) & np.tri(len(fields), k=-1, dtype=bool)
    image = _draw_matrix(ax, matrix, missing, fields, _colour_scale(values, cmap, _uniform(table)))
    written, (width, height) = _number_format(values), _cell_points(ax, fields)
    size = min(9.0, 0.7 * height, width / (0.75 * max(len(written(value)) for value in values)))
    if annotate or (annotate is None and len(fields) <= 15 and size >= 5):
        for row, column in np.argwhere(~np.isnan(matrix)):
            brightness = image.to_rgba(matrix[row, column])[:3] @ np.array([0.3, 0.59, 0.11])
            ax.text(column, row, written(matrix[row, column]), ha="center", va="center",
                    fontsize=size, color="white" if brightness < 0.5 else "black")
    ax.spines[:].set_visible(False)
    _colour_bar(image, ax, [0.45, 0.84, 0.53, 0.035], table, "horizontal")
    ax.set_title(_title(table))


def _draw_matrix(ax, matrix, missing, fields, scale):
    """Draw coloured cells with the fields' names at two sides, and hatch the `missing` ones."""
    from matplotlib.patches import Rectangle

    image = ax.imshow(matrix, interpolation="nearest", aspect="auto", **scale)
    for row, column in np.argwhere(missing):
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=GREY,
                               hatch="////", linewidth=0))
    labels = list(_short_names(fields).values())
    for axis, cell in zip((ax.xaxis, ax.yaxis), _cell_points(ax, fields), strict=True):
        step = int(np.ceil(7 / cell))  # name every second or third field where all have no room
        axis.set_ticks(range(0, len(fields), step), labels[::step], parse_math=False,
                       fontsize=min(10, 0.75 * step * cell))
    upright = 7 * max(map(len, labels)) > _cell_points(ax, fields)[0]
    ax.tick_params(axis="x", labelrotation=90 if upright else 0)
    ax.tick_params(length=0)
    ax.grid(False)
    return image


def _cell_points(ax, fields):
    """Return the width and height of one field's cell in points (1/72 inch)."""
    box = ax.get_window_extent()
    return np.array([box.width, box.height]) * 72 / ax.figure.dpi / len(fields)


def _colour_bar(image, ax, place, table, orientation):
    """Draw a colour bar on Axes of its own inside `ax`, so that `ax` keeps its size."""
    bar = ax.figure.colorbar(image, cax=ax.inset_axes(place), orientation=orientation)
    label = "\n(".join(textwrap.fill(part, 26) for part in _unit(table).split(" ("))
    if (uniform := _uniform(table)) is not None:
        label += f"\nline: uniform, {uniform:.3g}"
        mark = bar.ax.axhline if orientation == "vertical" else bar.ax.axvline
        mark(uniform, color=VERMILLION, linewidth=2)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=8)
    if orientation == "horizontal":
        bar.ax.xaxis.set_label_position("top")
