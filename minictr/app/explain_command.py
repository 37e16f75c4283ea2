"""``minictr explain``: what a saved model learned, as tables, pictures and one page."""

import textwrap
from pathlib import Path

from .. import explain, plots
from ..estimator.registry import models_with, offers
from ..models import Model
from ..text import as_text, printable, text_table
from .model_tables import read_for, say_unknown
from .options import add_command, add_separator, at_least
from .pictures import blank_axes, draw_waterfall, save, triangle_inches
from .report import write_report
from .scores import predictions, score_table
from .terminal import Refused, in_words
from .whole import whole_folder

MEANINGS = {
    "attention": "Attention is where the model looks, a share of 1: it says how much weight a pair of fields gets, not "
                 "what the pair adds to the prediction, nor that it causes anything.",
    "contribution": "A contribution is what a pair adds to this model's output, exactly; here its mean size over all "
                    "rows. A pair's term can also carry what one of its fields could say alone, another model may "
                    "share the same prediction out differently, and none of it says that a pair causes anything.",
}


def add_explain(commands):
    """``minictr explain``."""
    command = add_command(commands, "explain", run_explain, "write tables and pictures of what a model learned", """
        Reads a model that `minictr train` saved and a table with the same columns, and writes what the model learned
        into a folder: index.html, a page to open in a browser, and beside it tables (.csv) and pictures (.png). What
        there is depends on the model:

          attention      where the model looks, over all rows
                         ({attention})
          contributions  what each field, pair of fields or deep part adds to the prediction of one row, and what each
                         pair does over all rows, where the model has terms of pairs
                         ({terms})
          of all models  the training curve and, with --target, scores and (for clicks) the calibration; on the page
                         also the model's fields and settings, and three predictions explained

        Attention and contribution are different things; the command says with its output what each one means.

        example:
          minictr explain m.npz clicks.csv --out pics --target click --row 17
        """.format(attention=models_with("attention_weights"), terms=models_with("terms")))
    command.add_argument("model", type=Path, metavar="MODEL", help="the file that `minictr train --save` wrote")
    command.add_argument("table", type=Path, metavar="TABLE", help="rows to explain: .csv, .tsv (also .gz) or .parquet")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write")
    command.add_argument("--target", metavar="COLUMN", help="the column with the truth, to score the predictions")
    add_separator(command)
    command.add_argument("--row", type=at_least(0), metavar="R",
                         help="the row whose prediction is taken apart, counted from 0 (default 0; on the page the "
                              "lowest, median and highest prediction)")


def run_explain(args):
    """Write and print what a saved model learned."""
    model = Model.load(args.model)
    X, y = read_for(model, args.table, args.sep, args.target)
    row = args.row or 0
    if row >= len(X):
        raise Refused(f"--row {row}: {args.table} has {len(X):,} rows, counted from 0")
    prediction = predictions(model, X)
    with whole_folder(args.out) as out:
        written = explain_into(out, args, model, X, y, row, prediction)
    print("\n" + textwrap.fill(f"Written to {args.out}: {', '.join(written)}", 110, break_long_words=False,
                              break_on_hyphens=False))
    return 0


def explain_into(out, args, model, X, y, row, prediction):
    """Print what the model learned, and write it into a folder; returns the names of the files."""
    labels = None if y is None else model.task_.labels(y)
    print(f"{args.model}: {type(model).__name__} ({model.task_}) of {len(model.feature_names_in_)} fields; "
          f"{args.table}: {len(X):,} rows")
    say_unknown(model.encoder_.unknown_rate(X))
    if y is not None:
        print(f"\n{score_table(model, y, prediction, y.mean(), 'mean of this table')}\n"
              "(flattering where the model was trained on these rows)")
    written = []
    # The rows are encoded by now, so that a TypeError says that the model has no such quantity.
    for quantity in (explain.attention, explain.pair_importance):
        try:
            table = quantity(model, X)
        except TypeError as reason:
            print("\n" + textwrap.fill(f"Not for this model: {in_words(reason)}.", 110))
        else:
            if len(table):      # one field alone makes no pair
                print_highest(table)
                written += write_pairs(table, out)
    truth = "" if y is None else f", true {printable(as_text(labels[row]))}"
    print(f"\nRow {row}: predicted {prediction[row]:.4g}{truth}")
    if offers(type(model), "terms"):
        written += write_contributions(model, X, row, out)
    if model.history_ is not None and len(model.history_):      # None after partial_fit alone
        axes = blank_axes(1, 1, 6.4, 4.5)
        plots.history(model.history_, ax=axes[0, 0])
        written.append(save(axes, out / "training_curve.png"))
    if y is not None and model.task_ == "binary":
        axes = blank_axes(1, 1, 5, 5)
        plots.calibration(y, prediction, ax=axes[0, 0])
        written.append(save(axes, out / "calibration.png"))
    written.append(write_report(model, X, labels, out / "index.html", rows=None if args.row is None else [row],
                                model_name=args.model.name, table_name=args.table.name).name)
    return written


def print_highest(table, count=5):
    """The pairs with the highest values, and what the quantity means."""
    def label(pair):
        if "layer" in table:
            return printable(f"layer {pair.layer}, head {pair.head}: {pair.field_i} looks at {pair.field_j}")
        return printable(f"{pair.field_i} x {pair.field_j}")

    highest = table.sort_values("value", ascending=False, kind="stable").head(count)
    print(f"\nHighest {table.attrs['unit']}:")
    lines = [[f"  {label(pair)}", f"{pair.value:.4g}"] for pair in highest.itertuples()]
    if "uniform" in table.attrs:
        lines.append(["  (if all were alike)", f"{table.attrs['uniform']:.4g}"])
    print(text_table(lines))
    print(textwrap.fill(MEANINGS[table.attrs["quantity"]], 110))


def write_pairs(table, out):
    """Write a table of pairs, or of self-attention, and draw it; returns the names of the files."""
    quantity = table.attrs["quantity"]
    table.to_csv(out / f"{quantity}.csv", index=False, errors="backslashreplace")
    side = triangle_inches(table.attrs["fields"])
    if "layer" in table:
        grid = blank_axes(table["layer"].nunique(), table["head"].nunique(), side * 0.75, side * 0.65)
        plots.attention_grid(table, axes=grid)
        return [f"{quantity}.csv", save(grid, out / f"{quantity}_grid.png")]
    heatmap, ranking = blank_axes(1, 1, side, side), blank_axes(1, 1, 7.5, 5.5)
    plots.pair_heatmap(table, ax=heatmap[0, 0])
    plots.pair_ranking(table, ax=ranking[0, 0])
    return [f"{quantity}.csv", save(heatmap, out / f"{quantity}_heatmap.png"),
            save(ranking, out / f"{quantity}_ranking.png")]


def write_contributions(model, X, row, out):
    """Write and draw what each term adds to the prediction of one row, and how many rows of X support it."""
    name = f"contributions_of_row_{row}"
    table = explain.contributions(model, X.iloc[[row]], support=X).assign(row=row)
    table.to_csv(out / f"{name}.csv", index=False, errors="backslashreplace")
    axes = blank_axes(1, 1, 7.5, 6)
    draw_waterfall(table, X.iloc[row], axes[0, 0])
    return [f"{name}.csv", save(axes, out / f"{name}.png")]
