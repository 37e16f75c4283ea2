"""``minictr explain``: what a saved model learned, as tables, pictures and one page."""

import textwrap
from pathlib import Path

from .. import explain, plots
from ..estimator.registry import models_with, offers
from ..models import Model
from ..text import as_text, printable, text_table
from .findings import Findings
from .model_tables import read_for, say_unknown
from .options import add_command, add_separator, at_least
from .pictures import blank_axes, draw_waterfall, save, triangle_inches
from .report import write_page
from .scores import score_table
from .terminal import Refused, in_words
from .whole import whole_folder

MEANINGS = {
    "attention": "Attention is where the model looks, a share of 1: it says how much weight a pair of fields gets, not "
                 "what the pair adds to the prediction, nor that it causes anything.",
    "purified contribution":
        "A contribution is what a pair adds to this model's output, exactly; here its mean size over all rows. It is "
        "purified: what it says of one field alone is counted with that field. Another model may still share the same "
        "prediction out differently, and none of it says that a pair causes anything.",
    "contribution": "A contribution is what a pair adds to this model's output, exactly; here its mean size over all "
                    "rows. A pair's term can also carry what one of its fields could say alone, another model may "
                    "share the same prediction out differently, and none of it says that a pair causes anything.",
}


def add_explain(commands):
    """``minictr explain``."""
    command = add_command(commands, "explain", run_explain, "write tables and pictures of what a model learned", """
        Reads a model that `minictr train` saved and a table with the same columns, and writes what the model learned
        into a folder: index.html, a page to explore in a browser, to print and to pass on, and beside it tables (.csv),
        with --pictures also pictures (.svg). What there is depends on the model:

          attention      where the model looks, over all rows
                         ({attention})
          contributions  what each field, pair of fields or deep part adds to the prediction of one row, and what each
                         pair does over all rows, where the model has terms of pairs
                         ({terms})
          of all models  the training curve and, with --target, scores and (for clicks) the calibration; on the page
                         also a map of fields and pairs, what each of their values adds and how many rows that rests
                         on, the model's fields and settings, and predictions explained

        Attention and contribution are different things; the command says with its output what each one means.

        example:
          minictr explain m.npz clicks.csv --out pics --target click --row 17
        """.format(attention=models_with("attention_weights"), terms=models_with("terms")))
    command.add_argument("model", type=Path, metavar="MODEL", help="the file that `minictr train --save` wrote")
    command.add_argument("table", type=Path, metavar="TABLE", help="rows to explain: .csv, .tsv (also .gz) or .parquet")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write")
    command.add_argument("--target", metavar="COLUMN", help="the column with the truth, to score the predictions")
    command.add_argument("--pictures", action="store_true",
                         help="draw the tables, the training curve and the calibration as .svg files too")
    add_separator(command)
    command.add_argument("--row", type=at_least(0), metavar="R",
                         help="the row whose prediction is taken apart, counted from 0 (default 0); on the page it "
                              "comes before the lowest, median and highest prediction and others")


def run_explain(args):
    """Write and print what a saved model learned."""
    model = Model.load(args.model)
    X, y = read_for(model, args.table, args.sep, args.target)
    row = args.row or 0
    if row >= len(X):
        raise Refused(f"--row {row}: {args.table} has {len(X):,} rows, counted from 0")
    found = Findings(model, X, y, () if args.row is None else (args.row,))
    with whole_folder(args.out) as out:
        written = explain_into(out, args, found, row)
    print("\n" + textwrap.fill(f"Written to {args.out}: {', '.join(written)}", 110, break_long_words=False,
                              break_on_hyphens=False))
    return 0


def explain_into(out, args, found, row):
    """Print what the model learned, and write it into a folder; returns the names of the files."""
    model, X, y = found.model, found.X, found.y
    print(f"{args.model}: {type(model).__name__} ({model.task_}) of {len(model.feature_names_in_)} fields; "
          f"{args.table}: {len(X):,} rows")
    say_unknown(found.unknown)
    if y is not None:
        print(f"\n{score_table(model, y, found.prediction, y.mean(), 'mean of this table')}\n"
              "(flattering where the model was trained on these rows)")
    written = []
    for table, quantity in ((found.attention, explain.attention), (found.contribution, explain.pair_importance)):
        if table is not None:
            print_highest(table)
            written += write_pairs(table, out, args.pictures)
            continue
        # The rows are encoded by now, so that a TypeError says that the model has no such quantity.
        try:
            quantity(model, X.iloc[:1])                           # one field alone makes no pair, and no error
        except TypeError as reason:
            print("\n" + textwrap.fill(f"Not for this model: {in_words(reason)}.", 110))
    truth = "" if y is None else f", true {printable(as_text(model.task_.labels(y[row:row + 1])[0]))}"
    print(f"\nRow {row}: predicted {found.prediction[row]:.4g}{truth}")
    if offers(type(model), "terms"):
        written += write_contributions(found, row, out, args.pictures)
    for name, svg in found.pictures.items() if args.pictures else ():       # those of the page
        (out / f"{name}.svg").write_text(svg, encoding="utf-8", newline="\n")
        written.append(f"{name}.svg")
    written.append(write_page(found, out / "index.html", args.model.name, args.table.name).name)
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
    purified = "purified " * bool(table.attrs.get("purified"))
    print(textwrap.fill(MEANINGS[f"{purified}{table.attrs['quantity']}"], 110))


def write_pairs(table, out, draw):
    """Write a table of pairs, or of self-attention, and draw it if asked; returns the names of the files."""
    quantity = table.attrs["quantity"]
    table.to_csv(out / f"{quantity}.csv", index=False, errors="backslashreplace")
    if not draw:
        return [f"{quantity}.csv"]
    side = triangle_inches(table.attrs["fields"])
    if "layer" in table:
        grid = blank_axes(table["layer"].nunique(), table["head"].nunique(), side * 0.75, side * 0.65)
        plots.attention_grid(table, axes=grid)
        return [f"{quantity}.csv", save(grid, out / f"{quantity}_grid.svg")]
    heatmap, ranking = blank_axes(1, 1, side, side), blank_axes(1, 1, 7.5, 5.5)
    plots.pair_heatmap(table, ax=heatmap[0, 0])
    plots.pair_ranking(table, ax=ranking[0, 0])
    return [f"{quantity}.csv", save(heatmap, out / f"{quantity}_heatmap.svg"),
            save(ranking, out / f"{quantity}_ranking.svg")]


def write_contributions(found, row, out, draw):
    """Write what each term adds to the prediction of one row, and draw it if asked; returns the names of the files."""
    name = f"contributions_of_row_{row}"
    table = found.contributions.get(row)
    if table is None:
        table = explain.contributions(found.model, found.X.iloc[[row]], purified=found.purified,
                                      background=found.X if found.purified else None,
                                      support=found.background.support)
    table = table.assign(row=row)
    table.to_csv(out / f"{name}.csv", index=False, errors="backslashreplace")
    if not draw:
        return [f"{name}.csv"]
    axes = blank_axes(1, 1, 7.5, 6)
    draw_waterfall(table, found.X.iloc[row], axes[0, 0])
    return [f"{name}.csv", save(axes, out / f"{name}.svg")]
