"""The command line: ``minictr demo``, ``minictr train``, ``minictr explain`` and ``minictr trace``.

Errors of which a user can do something end in one line on stderr and exit code 1 (2 for a wrong command); anything
else is a defect of minictr and shows its traceback.
"""

import argparse
import dataclasses
import html
import json
import shlex
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from .. import explain, metrics, plots
from ..checks import split_rows
from ..demo import run_demo
from ..fields import Categorical, MultiValued, Numerical, TableEncoder, infer_field
from ..layers import parameters
from ..models import AFM, FM, LR, AutoInt, DeepFM, Model
from ..text import text_table
from ..tracing import trace
from ..training import TrainingDiverged
from .pictures import blank_axes, draw_waterfall, make_folder, save, score_cells, triangle_inches
from .report import write_report
from .table_files import check_columns, read_numbers, read_table, read_target

MODELS = {"lr": LR, "fm": FM, "afm": AFM, "autoint": AutoInt, "deepfm": DeepFM}
EXPECTED_ERRORS = (ValueError, TypeError, OSError, TrainingDiverged)    # what minictr raises for what a user gave it
OWN_OPTIONS = ("epochs", "batch_size", "learning_rate", "embedding_dim", "seed", "task")
TINY = {"lr": {}, "fm": {"embedding_dim": 2}, "afm": {"embedding_dim": 2, "attention_dim": 2},
        "autoint": {"embedding_dim": 2, "attention_dim": 2, "num_heads": 2, "num_layers": 1},
        "deepfm": {"embedding_dim": 2, "deep_layers": (2,)}}      # the settings of the models that ``trace`` lays open
MEANINGS = {
    "attention": "Attention is where the model looks, a share of 1: it says how much weight a pair of fields gets, not "
                 "what the pair adds to the prediction, nor that it causes anything.",
    "contribution": "A contribution is what a pair adds to this model's output, exactly; here its mean size over all "
                    "rows. A pair's term can also carry what one of its fields could say alone, another model may "
                    "share the same prediction out differently, and none of it says that a pair causes anything.",
}


def main(argv=None):
    """Run one command; returns the exit code: 0, 1 (bad data or files) or 130 (Ctrl-C). A wrong command exits with 2.

    >>> main(["explain", "no_such_file.npz", "clicks.csv", "--out", "pics"])      # the message goes to stderr
    1
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    if not hasattr(args, "run"):
        parser.print_help(sys.stderr)
        return 2
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where: print(f"minictr: warning: {message}", file=sys.stderr)
        try:
            return args.run(args)
        except BrokenPipeError:     # the reader of our output, such as head, has seen enough
            sys.stderr.close()
            return 0
        except KeyboardInterrupt:
            print("\nminictr: interrupted", file=sys.stderr)
            return 130
        except EXPECTED_ERRORS as error:
            system = isinstance(error, OSError) and error.strerror and error.filename
            message = f"{error.filename}: {error.strerror}" if system else str(error)
            print(f"minictr: error: {' '.join(message.split())}", file=sys.stderr)
            return 1


# ---- the commands and their options ------------------------------------------------------------------------

def build_parser():
    """The parser of the whole command line."""
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="minictr", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Factorization models for click prediction: train them, and look at what they learned.",
        epilog="Start with:  minictr demo\nEach command has its own help:  minictr train --help")
    parser.add_argument("--version", action="version", version=f"minictr {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_demo(commands)
    add_train(commands)
    add_explain(commands)
    add_trace(commands)
    return parser


def add_command(commands, name, run, summary, description):
    """A subcommand whose help keeps the line breaks of its description."""
    command = commands.add_parser(name, help=summary, description=textwrap.dedent(description).strip(),
                                  allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.set_defaults(run=run, parser=command)
    return command


def add_demo(commands):
    """``minictr demo``."""
    demo = add_command(commands, "demo", lambda args: run_demo(args.data, args.rows, args.seed, args.out) or 0,
                       "train all models on one data set and draw what they learned", """
        Trains LR, FM, AFM, AutoInt and DeepFM on one data set, prints one table of their scores beside those of
        always predicting the base rate, and draws what the models learned: the pairs of fields on which they put
        their attention, what each pair adds to the prediction, and how one prediction adds up.

        The data are clicks drawn from a known formula, so the pictures show the planted truth beside what was
        learned, and the table the best score that any model could reach. It takes less than a minute.

        examples:
          minictr demo
          minictr demo --rows 10000 --seed 3 --out pictures     fewer rows, another world
          minictr demo --data ml-1m                             MovieLens-1M: real ratings, a few minutes
        """)
    demo.add_argument("--data", choices=["clicks", "ml-1m"], default="clicks",
                      help="clicks: drawn on the spot (default). ml-1m: MovieLens-1M, liked or not, by user, movie and "
                           "7 facts about them; read from the folder that the environment variable MINICTR_DATA "
                           "names, else downloaded once")
    demo.add_argument("--rows", type=at_least(1000), metavar="N",
                      help="clicks: rows to train on (default 50,000; a quarter more are drawn to stop by, and half as "
                           "many to test on). ml-1m: use N random rows in all (default: all 739,012)")
    demo.add_argument("--seed", type=at_least(0), default=0, metavar="S",
                      help="draws the data and starts the models (default 0); the same seed gives the same result")
    demo.add_argument("--out", default="minictr-demo", metavar="FOLDER",
                      help="where the pictures go (default ./minictr-demo)")


def add_train(commands):
    """``minictr train``."""
    train = add_command(commands, "train", run_train, "train a model on a table and save it", """
        Trains a model to predict one column of a table from the others, says how good it is on rows held out,
        and saves it. The table is a .csv or .tsv file with a header line (also .csv.gz, .tsv.gz), or .parquet.

        Each column becomes a field: text and whole numbers are categories (each value has a vector of its own),
        numbers with a decimal point are numerical (standardised). The command says what it took each column for;
        --categorical, --numerical, --multi-valued and --ignore correct it. Empty cells and NA are missing values.

        examples:
          minictr train clicks.csv --target click --model afm --save m.npz
          minictr train clicks.csv --target click --model fm --save m.npz \\
              --ignore row_id --numerical age,price --multi-valued 'genres:|' --epochs 20
          minictr train clicks.csv --target click --model deepfm --save m.npz \\
              --set deep_layers=[64,32] --set dropout=0.2
          minictr train ratings.csv --target rating --task regression --model fm --save m.npz
        """)
    train.add_argument("table", type=Path, metavar="TABLE", help="the file with the training data")
    train.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    train.add_argument("--model", required=True, choices=MODELS,
                       help="lr: fields only. fm: every pair of fields, an inner product. afm: FM with attention over "
                            "pairs. autoint: self-attention between fields. deepfm: FM plus a multi-layer perceptron")
    train.add_argument("--save", required=True, type=Path, metavar="FILE", help="where to write the trained model")
    train.add_argument("--task", choices=["binary", "regression"], default="binary",
                       help="binary: the target is 0 or 1, predict its probability (default). regression: predict a "
                            "number")
    train.add_argument("--validation", type=share, default=0.1, metavar="SHARE",
                       help="share of rows, drawn at random, to measure on and to stop training by (default 0.1); 0: "
                            "train on all rows, measure nothing")
    columns = train.add_argument_group("columns")
    columns.add_argument("--categorical", type=names, default=[], metavar="A,B", help="columns that hold categories")
    columns.add_argument("--numerical", type=names, default=[], metavar="C,D",
                         help="columns that hold numbers whose size means something; they are standardised")
    columns.add_argument("--multi-valued", type=multi_valued, action="append", default=[], metavar="COLUMN:SEP",
                         help="column whose cells hold several categories, and what separates them, as in 'genres:|' "
                              "(in quotes, the shell has its own use for |); give it once for each such column")
    columns.add_argument("--ignore", type=names, default=[], metavar="X,Y",
                         help="columns to leave out: row numbers, anything known only after the click")
    settings = train.add_argument_group("settings of the model")
    settings.add_argument("--epochs", type=at_least(1), metavar="N",
                          help=f"passes over the data, at most (default {Model.epochs})")
    settings.add_argument("--batch-size", type=at_least(1), metavar="N",
                          help=f"rows that one update sees (default {Model.batch_size})")
    settings.add_argument("--learning-rate", type=positive, metavar="X",
                          help=f"the size of an update (default {Model.learning_rate})")
    settings.add_argument("--embedding-dim", type=at_least(1), metavar="K",
                          help=f"numbers in a value's vector (default {FM.embedding_dim}; autoint: "
                               f"{AutoInt.embedding_dim})")
    settings.add_argument("--seed", type=at_least(0), default=0, metavar="S",
                          help="draws the validation rows and starts the model (default 0)")
    settings.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
                          help="any other argument of the model's class, the value as JSON (0.2, true, [64,32]); text "
                               "needs no quotes. Give it once for each")


def add_explain(commands):
    """``minictr explain``."""
    command = add_command(commands, "explain", run_explain, "write tables and pictures of what a model learned", """
        Reads a model that `minictr train` saved and a table with the same columns, and writes what the model learned
        into a folder: index.html, a page to open in a browser, and beside it tables (.csv) and pictures (.png). What
        there is depends on the model:

          FM, AFM        contribution: what each pair of fields adds to the prediction, over all rows and for one row
          DeepFM         the same for its FM part
          AFM, AutoInt   attention: where the model looks, over all rows
          LR             what each field adds to the prediction of one row
          all            the training curve and, with --target, scores and (for clicks) the calibration; on the page
                         also the model's fields and settings, and three predictions explained

        Attention and contribution are different things; the command says with its output what each one means.

        example:
          minictr explain m.npz clicks.csv --out pics --target click --row 17
        """)
    command.add_argument("model", type=Path, metavar="MODEL", help="the file that `minictr train --save` wrote")
    command.add_argument("table", type=Path, metavar="TABLE", help="rows to explain: .csv, .tsv (also .gz) or .parquet")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where to write")
    command.add_argument("--target", metavar="COLUMN", help="the column with the truth, to score the predictions")
    command.add_argument("--row", type=at_least(0), metavar="R",
                         help="the row whose prediction is taken apart, counted from 0 (default 0; on the page the "
                              "lowest, median and highest prediction)")


def add_trace(commands):
    """``minictr trace``."""
    command = add_command(commands, "trace", run_trace, "lay one training step open, array by array", """
        Makes one training step of a tiny model (3 fields, vectors of 2 numbers, 2 rows) and prints every array of its
        forward pass, loss, backward pass and update, in order: its name in the code and in the paper, its shape, the
        line of the source that computed it, which equation of the paper that is, and its numbers. At the end stands
        where in the source each equation is. For a model and rows of your own: minictr.trace(model, X, y) in Python.

        examples:
          minictr trace --model afm | less
          minictr trace --model autoint --out traced     also a page to fold (trace.html) and a picture (flow.png)
        """)
    command.add_argument("--model", choices=MODELS, default="afm", help="which model (default afm)")
    command.add_argument("--detail", choices=["lines", "all"], default="lines",
                         help="lines: of the layers (default). all: also of the functions that they call, as softmax")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where to write trace.html and flow.png")


def at_least(least):
    """A type of argument: a whole number from ``least`` on."""
    def whole_number(text):
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return number
    return whole_number


def positive(text):
    """A type of argument: a number above 0."""
    return number_where(lambda number: 0 < number < np.inf, "a number above 0", text)


def share(text):
    """A type of argument: a number from 0 to below 1."""
    return number_where(lambda number: 0 <= number < 1, "a share from 0 to below 1, such as 0.1", text)


def number_where(good, expected, text):
    """The text as a number for which ``good`` holds."""
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not good(number):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return number


def names(text):
    """A type of argument: column names between commas."""
    return [name for name in text.split(",") if name]


def multi_valued(text):
    """A type of argument: a MultiValued field from COLUMN:SEP."""
    name, _, sep = text.partition(":")
    if not name or not sep:
        raise argparse.ArgumentTypeError(f"expected COLUMN:SEP, such as 'genres:|', got {text!r}")
    return MultiValued(name, sep=sep)


def setting(text):
    """A type of argument: (name, value) from NAME=VALUE, the value JSON or else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, such as dropout=0.2, got {text!r}")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value


def model_settings(args):
    """The constructor arguments that the command line gives; exits with 2 where they do not fit the model."""
    cls = MODELS[args.model]
    types = {field.name: field.type for field in dataclasses.fields(cls)}
    settings = {name: getattr(args, name) for name in OWN_OPTIONS if getattr(args, name) is not None}
    for name, value in args.set:
        if name in OWN_OPTIONS:
            args.parser.error(f"--set {name}: use --{name.replace('_', '-')}")
        if name in ("fields", "init_from", "verbose"):
            args.parser.error(f"--set {name}: not on the command line; in Python it is an argument of {cls.__name__}")
        value = tuple(value) if isinstance(value, list) else value
        value = float(value) if types.get(name) is float and type(value) is int else value
        if name in types and not isinstance(value, types[name]):
            args.parser.error(f"--set {name}: expected {getattr(types[name], '__name__', types[name])}, got {value!r}")
        settings[name] = value
    unknown = [name for name in settings if name not in types]
    if unknown:
        args.parser.error(f"{cls.__name__} has no setting {unknown[0]!r}; it has {', '.join(types)}")
    return settings


def named_columns(args):
    """{column: field, or None for one to ignore} as the options say; exits with 2 if one is named twice."""
    columns = {}
    for name, field in [*((name, None) for name in args.ignore), *((field.name, field) for field in args.multi_valued),
                        *((name, Categorical(name)) for name in args.categorical),
                        *((name, Numerical(name, transform="standard")) for name in args.numerical)]:
        if name in columns or name == args.target:
            args.parser.error(f"the column {name!r} is named more than once")
        columns[name] = field
    return columns


# ---- train -------------------------------------------------------------------------------------------------

def run_train(args):
    """Train a model on a table and save it."""
    settings, columns = model_settings(args), named_columns(args)
    if args.save.is_dir() or not args.save.absolute().parent.is_dir():
        raise ValueError(f"--save {args.save}: " + ("this is a folder; name a file" if args.save.is_dir() else
                                                    f"there is no folder {args.save.parent}; make it first"))
    table = read_table(args.table, as_text=[name for name, field in columns.items() if isinstance(field, Categorical)])
    check_columns(table, [args.target, *columns], args.table)
    y = read_target(table, args.target, args.task, args.table)
    X = table.drop(columns=[args.target, *(name for name, field in columns.items() if field is None)])
    if not len(X.columns):
        raise ValueError(f"{args.table}: no column is left to predict {args.target!r} from")
    fields = [columns.get(name) or infer_field(name, X[name]) for name in X]
    for field in fields:
        if isinstance(field, Numerical):
            read_numbers(X, field.name, args.table)
    print(f"{args.table}: {len(X):,} rows, target {args.target!r} with mean {y.mean():.4g}; the fields are")
    print_fields(X, fields, columns)
    print()

    model = MODELS[args.model](fields=fields, verbose=True, **settings)
    if args.validation:
        train, held_out = split_rows(len(y), args.validation, args.seed)
        model.fit(X.iloc[train], y[train], validation=(X.iloc[held_out], y[held_out]))
    else:
        model.fit(X, y)
    interrupted = model.history_.attrs["interrupted"]
    if interrupted and not len(model.history_):
        print("minictr: interrupted before the first epoch was over: nothing is saved", file=sys.stderr)
        return 130
    if args.validation:
        print(f"\nOn the {len(held_out):,} validation rows, which also chose the best epoch:")
        print(scores(model, X.iloc[held_out], y[held_out], y[train].mean(), "mean of the training rows"))
    model.save(args.save)
    command = ["minictr", "explain", str(args.save), str(args.table), "--target", args.target, "--out", "pics"]
    print(f"\nSaved to {args.save}. To look into it:\n  {shlex.join(command)}")
    return 130 if interrupted else 0


def print_fields(X, fields, columns):
    """Say what each column was taken for, with advice where that was a guess (not in ``columns``)."""
    encoders = TableEncoder(fields).fit(X).encoders
    width = max(map(len, encoders))
    for name, encoder in encoders.items():
        if isinstance(encoder.spec, Numerical):
            text = f"numerical, from {float(X[name].min()):g} to {float(X[name].max()):g}, standardised"
        else:
            text = f"{encoder.text}, {encoder.n_values:,} values"
        if isinstance(encoder.spec, MultiValued):
            text += f", separated by {encoder.spec.sep!r}"
        if encoder.missing:
            text += f", missing in {encoder.missing:.1%} of rows"
        if name not in columns:
            text += advice(name, X[name], encoder)
        print(f"  {name:{width}}  {text}")


def advice(name, column, encoder):
    """What to do if the guess was wrong: "" where there is no sign of that."""
    if type(encoder.spec) is not Categorical:
        return ""
    if encoder.kind == "str":
        number = pd.to_numeric(column, errors="coerce").notna() | column.isna()
        if number.mean() > 0.9:
            row = int(np.argmin(number.to_numpy()))
            return (f" (text because of cells like row {row}'s {column.iloc[row]!r}; correct those, then --numerical "
                    f"{shlex.quote(name)}?)")
    if encoder.n_values > len(column) / 2:
        return f" (hardly two rows share one: --ignore {shlex.quote(name)}?)"
    if encoder.kind == "int":
        return f" (whole numbers; if their size means something: --numerical {shlex.quote(name)})"
    if encoder.kind == "str" and column.str.contains("|", regex=False, na=False).any():
        return f" (some hold '|': --multi-valued {shlex.quote(name + ':|')}?)"
    return ""


# ---- explain -----------------------------------------------------------------------------------------------

def run_explain(args):
    """Write and print what a saved model learned."""
    model = Model.load(args.model)
    encoders = model.encoder_.encoders
    X = read_table(args.table, as_text=[name for name in encoders if getattr(encoders[name], "kind", "") == "str"])
    check_columns(X, [*encoders, *([args.target] if args.target else [])], args.table)
    for name, encoder in encoders.items():
        if isinstance(encoder.spec, Numerical):
            read_numbers(X, name, args.table)
    y = read_target(X, args.target, model.task_, args.table) if args.target else None
    row = args.row or 0
    if row >= len(X):
        raise ValueError(f"--row {row}: {args.table} has {len(X):,} rows, counted from 0")
    prediction = predictions(model, X)
    make_folder(args.out)

    print(f"{args.model}: {type(model).__name__} ({model.task_}) of {len(encoders)} fields; "
          f"{args.table}: {len(X):,} rows")
    for name, rate in model.encoder_.unknown_rate(X).items():
        if rate:
            print(f"  {name}: {rate:.1%} of the values are unknown to the model, which takes an average for them")
    if y is not None:
        print(f"\n{scores(model, X, y, y.mean(), 'mean of this table')}\n(flattering where the model was trained on "
              "these rows)")
    written = []
    # The rows are encoded by now, so that a TypeError says that the model has no such quantity.
    for quantity in (explain.attention, explain.pair_importance):
        try:
            table = quantity(model, X)
        except TypeError as reason:
            print("\n" + textwrap.fill(f"Not for this model: {reason}.", 110))
        else:
            if len(table):      # one field alone makes no pair
                print_highest(table)
                written += write_pairs(table, args.out)
    print(f"\nRow {row}: predicted {prediction[row]:.4g}" + ("" if y is None else f", true {y[row]:g}"))
    if isinstance(model, (LR, FM, AFM, DeepFM)):
        written += write_contributions(model, X, row, args.out)
    if model.history_ is not None and len(model.history_):      # None after partial_fit alone
        axes = blank_axes(1, 1, 6.4, 4.5)
        plots.history(model.history_, ax=axes[0, 0])
        written.append(save(axes, args.out / "training_curve.png"))
    if y is not None and model.task_ == "binary":
        axes = blank_axes(1, 1, 5, 5)
        plots.calibration(y, prediction, ax=axes[0, 0])
        written.append(save(axes, args.out / "calibration.png"))
    written.append(write_report(model, X, y, args.out / "index.html", rows=None if args.row is None else [row],
                                model_name=args.model.name, table_name=args.table.name).name)
    print("\n" + textwrap.fill(f"Written to {args.out}: {', '.join(written)}", 110, break_long_words=False,
                              break_on_hyphens=False))
    return 0


def print_highest(table, count=5):
    """The pairs with the highest values, and what the quantity means."""
    def label(pair):
        if "layer" in table:
            return f"layer {pair.layer}, head {pair.head}: {pair.field_i} looks at {pair.field_j}"
        return f"{pair.field_i} x {pair.field_j}"

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
    table.to_csv(out / f"{quantity}.csv", index=False)
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
    """Write and draw what each term adds to the prediction of one row; returns the names of the files."""
    name = f"contributions_of_row_{row}"
    table = explain.contributions(model, X.iloc[[row]]).assign(row=row)
    table.to_csv(out / f"{name}.csv", index=False)
    axes = blank_axes(1, 1, 7.5, 6)
    draw_waterfall(table, X.iloc[row], axes[0, 0])
    return [f"{name}.csv", save(axes, out / f"{name}.png")]


# ---- trace -------------------------------------------------------------------------------------------------

def run_trace(args):
    """Print one training step of a tiny model."""
    X = pd.DataFrame({"user": ["ann", "bob"], "ad": ["shoes", "phone"], "hour": [9, 21]})
    y = np.array([1, 0])
    model = MODELS[args.model](**TINY[args.model]).prepare(X, y)
    rng = np.random.default_rng(0)
    for array in parameters(model).values():
        array[...] = rng.uniform(-1, 1, array.shape).round(1)     # numbers to calculate with by hand
    steps = trace(model, X, y, detail=args.detail)
    print(steps)
    if args.out:
        make_folder(args.out)
        (args.out / "trace.html").write_text(
            f"<!doctype html><meta charset=\"utf-8\"><title>{html.escape(repr(steps))}</title>"
            f"<style>:root {{color-scheme: light dark; font-family: sans-serif}}</style>\n{steps._repr_html_()}\n",
            encoding="utf-8")
        axes = blank_axes(1, 1, 7.5, 9.5)
        steps.flow(ax=axes[0, 0])
        print(f"\nWritten to {args.out}: trace.html, {save(axes, args.out / 'flow.png')}")
    return 0


# ---- scores ------------------------------------------------------------------------------------------------

def predictions(model, X):
    """The probability of a 1 (binary task) or the predicted number, for each row."""
    return model.predict_proba(X)[:, 1] if model.task_ == "binary" else model.predict(X)


def scores(model, X, y, mean, mean_name):
    """A table of the model's scores beside those of always predicting ``mean``."""
    binary = model.task_ == "binary"
    lines = [["", "AUC", "log loss"] if binary else ["", "RMSE"]]
    for name, prediction in ((mean_name, np.full(len(y), mean)), (type(model).__name__, predictions(model, X))):
        lines.append([name, *(score_cells(y, prediction) if binary else [f"{metrics.rmse(y, prediction):.4f}"])])
    return text_table(lines)
