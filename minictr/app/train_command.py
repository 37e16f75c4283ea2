"""``minictr train``: a model from a table, saved."""

import contextlib
import dataclasses
import json
import os
import re
import shlex
import sys
import textwrap
from pathlib import Path

import numpy as np

from ..checks import check_settings
from ..fields import Categorical, Numerical
from ..models import Model
from .model_tables import Scored, say_unknown
from .options import MODELS, add_command, add_separator, at_least, multi_valued, names, positive, setting, share
from .pieces import open_pieces
from .progress import Progress
from .scores import predictions, score_table
from .table_files import check_columns, ending_of
from .terminal import Refused, in_words
from .train_tables import StreamedTable, WholeTable

JSON = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null",
        tuple: "a list such as [64,32]", list: "a list", dict: 'an object such as {"embedding":10}'}
MEAN_NAME = "mean of the training rows"
OWN_OPTIONS = ("epochs", "batch_size", "learning_rate", "embedding_dim", "seed", "task")


def add_train(commands):
    """``minictr train``."""
    train = add_command(commands, "train", run_train, "train a model on a table and save it", f"""
        Trains a model to predict one column of a table from the others, says how good it is on rows held out,
        and saves it. The table is a .csv or .tsv file with a header line (also .csv.gz, .tsv.gz), or .parquet.

        Each column becomes a field: text and whole numbers are categories (each value has a vector of its own),
        numbers with a decimal point are numerical (standardised). A column with numbers such as 007 is text: zeros
        before a number are part of a code. The command says what it took each column for; --categorical, --numerical,
        --multi-valued and --ignore correct it. Empty cells and NA are missing values.

        models:
{model_lines()}

        examples:
          minictr train clicks.csv --target click --model afm --save m.npz
          minictr train clicks.csv --target click --model fm --save m.npz \\
              --ignore row_id --numerical age,price --multi-valued 'genres:|' --epochs 20
          minictr train clicks.csv --target click --model deepfm --save m.npz \\
              --set deep_layers=[64,32] --set dropout=0.2
          minictr train ratings.csv --target rating --task regression --model fm --save m.npz
          minictr train monday.csv.gz --target click --model fm --save m.npz --stream --test tuesday.csv.gz
        """)
    train.add_argument("table", type=Path, metavar="TABLE", help="the file with the training data")
    train.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    train.add_argument("--model", required=True, choices=MODELS,
                       help="which one: see above")
    train.add_argument("--save", required=True, type=Path, metavar="FILE", help="where to write the trained model")
    train.add_argument("--checkpoint", type=Path, metavar="FILE",
                       help="a file to keep the training in, replaced after each epoch: a command that was killed goes "
                            "on from there when it is given again with --resume")
    train.add_argument("--resume", action="store_true",
                       help="go on from --checkpoint if the file is there (the same table and options, or more "
                            "--epochs), else start afresh; the result is that of a command that was not killed")
    train.add_argument("--task", choices=["binary", "regression"], default="binary",
                       help="binary: the target is 0 or 1, or one of two texts (of which the later in the alphabet "
                            "counts as 1), predict its probability (default). regression: predict a number")
    train.add_argument("--validation", type=share, default=0.1, metavar="SHARE",
                       help="share of rows, drawn at random, to measure on and to stop training by (default 0.1); 0: "
                            "train on all rows, measure nothing")
    train.add_argument("--test", type=Path, metavar="FILE",
                       help="another table with the same columns, such as a later day's: how the saved model scores on "
                            "it is printed at the end; it may be larger than memory")
    train.add_argument("--stream", action="store_true",
                       help="read the table a piece at a time, for one larger than memory: twice to see what it holds, "
                            "once to learn the fields and once for each epoch. Rows are shuffled among 250,000 "
                            "neighbours (--set shuffle_window=N), and at most 200,000 are held out to validate on")
    add_separator(train)
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
                          help=f"numbers in a value's vector (default {embedding_dims()})")
    settings.add_argument("--seed", type=at_least(0), default=0, metavar="S",
                          help="draws the validation rows and starts the model (default 0)")
    settings.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
                          help="any other argument of the model's class, the value as JSON (0.2, true, [64,32]); text "
                               "needs no quotes. Give it once for each")


def model_lines():
    """For each model its name, equation and paper, on as many lines as it takes."""
    width = max(map(len, MODELS))
    return "\n".join(textwrap.fill(
        f"{name:{width}}  {cls.equation}  ({cls.paper})", 118, initial_indent=" " * 10,
        subsequent_indent=" " * (12 + width), break_long_words=False) for name, cls in MODELS.items())


def embedding_dims():
    """The sizes of vectors that the models have by default, each with its models."""
    models = {}
    for name, cls in MODELS.items():
        if hasattr(cls, "embedding_dim"):
            models.setdefault(cls.embedding_dim, []).append(name)
    return "; ".join(f"{k}: {', '.join(names)}" for k, names in models.items())


def model_settings(args):
    """The constructor arguments that the command line gives; exits with 2 where they do not fit the model."""
    cls = MODELS[args.model]
    types = {field.name: field.type for field in dataclasses.fields(cls)}
    settings = {name: getattr(args, name) for name in OWN_OPTIONS if getattr(args, name) is not None}
    for name, value in args.set:
        if name in OWN_OPTIONS:
            args.parser.error(f"--set {name}: use --{name.replace('_', '-')}")
        if name in ("fields", "init_from", "verbose"):
            args.parser.error(f"--set {name}: not on the command line" + (name == "fields") * (
                "; --categorical, --numerical, --multi-valued and --ignore say what the columns are"))
        value = tuple(value) if isinstance(value, list) else value
        if types.get(name) is float and type(value) is int and abs(value) < 2**63:
            value = float(value)
        if name in types and not isinstance(value, types[name]):
            args.parser.error(f"--set {name}: expected {kind_of(types[name])}, got {json.dumps(value):.60}")
        settings[name] = value
    unknown = [name for name in settings if name not in types]
    if unknown:
        args.parser.error(f"{cls.__name__} has no setting {unknown[0]!r:.60}; it has {', '.join(types)}")
    try:
        check_settings(cls(**settings))
    except ValueError as error:
        args.parser.error(in_words(error))
    return settings


def kind_of(type_):
    """The type of a setting in words, as the value of --set has to be written."""
    return " or ".join(JSON[part] for part in getattr(type_, "__args__", [type_]))


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


def run_train(args):
    """Train a model on a table and save it."""
    settings, columns = model_settings(args), named_columns(args)
    if args.save.is_dir() or not args.save.absolute().parent.is_dir():
        raise Refused(f"--save {args.save}: " + ("this is a folder; name a file" if args.save.is_dir() else
                                                    f"there is no folder {args.save.parent}; make it first"))
    check_checkpoint_option(args)
    check_test_option(args)
    table = (StreamedTable if args.stream else WholeTable)(args, columns)
    model = MODELS[args.model](fields=table.fields, verbose=True, **settings)
    check_memory(model, table.n_ids)
    if args.test:
        check_columns(open_pieces(args.test, args.sep).columns,
                      [args.target, *(field.name for field in table.fields)], args.test)
    print()
    with rows_left(args.validation):
        table.fit(model, checkpoint=args.checkpoint, resume=args.resume)
    interrupted = model.history_.attrs["interrupted"]
    if interrupted and not len(model.history_):
        print("minictr: interrupted before the first epoch was over: nothing is saved", file=sys.stderr)
        return 130
    if table.held_out:
        X, y = table.held_out
        print(f"\nOn the {len(y):,} validation rows, which also chose the best epoch:")
        print(score_table(model, y, predictions(model, X), table.train_mean, MEAN_NAME))
    model.save(args.save)
    print(f"\nSaved to {args.save}.")
    if args.test:
        print_test(model, args, table.train_mean)
    print_what_next(args)
    return 130 if interrupted else 0


@contextlib.contextmanager
def rows_left(held_out):
    """Let errors of ``fit`` say how they count rows: it sees those alone that are not held out."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if held_out and re.search(r"\brow \d", str(error)):
            raise ValueError(f"among the rows that are not held out, counted from 0: {error}") from error
        raise


def print_test(model, args, mean):
    """Print the scores of a file of other rows, which is read in pieces."""
    scored, truth, prediction = Scored(model, args.test, args.sep, args.target), [], []
    progress = Progress("testing: ")
    for _, y, values in scored:
        truth.append(y)
        prediction.append(values)
        progress.show(scored.n_rows, scored.pieces.share)
    progress.end()
    print(f"\nOn the {scored.n_rows:,} rows of {args.test}:")
    print(score_table(model, np.concatenate(truth), np.concatenate(prediction), mean, MEAN_NAME))
    say_unknown({name: count / scored.n_rows for name, count in scored.unknown.items()})


def print_what_next(args):
    """Print the commands that go on with the model."""
    sep = [] if args.sep is None else ["--sep", "tab" if args.sep == "\t" else args.sep]
    table = str(args.test or args.table)
    explain = ["minictr", "explain", str(args.save), table, "--target", args.target, "--out", "pics", *sep]
    predict = ["minictr", "predict", str(args.save), table, "--out", "scores.csv", *sep]
    memory = " (a table that fits into memory)" * args.stream
    print(f"\nTo look into it{memory}:\n  {shlex.join(explain)}\nTo predict with it:\n  {shlex.join(predict)}")


def check_test_option(args):
    """Refuse, before the table is read, a file to test on that is none, or that was trained on."""
    if args.test is None:
        return
    if ending_of(args.test) == ".parquet" and ending_of(args.table) != ".parquet" and args.sep is not None:
        raise Refused(f"--test {args.test}: a .parquet file has no separators, and --sep holds for both tables")
    if args.test.exists() and args.table.exists() and os.path.samefile(args.test, args.table):
        raise Refused(f"--test {args.test}: this is the table to train on, which says nothing of other rows; leave "
                      "--test out, as some of its rows are held out and measured on")


def check_checkpoint_option(args):
    """Refuse, before the table is read, a checkpoint that would be lost, or would be none."""
    if args.checkpoint is None:
        if args.resume:
            args.parser.error("--resume goes with --checkpoint, the file to go on from")
        return
    if args.checkpoint.absolute() == args.save.absolute():
        args.parser.error("--checkpoint and --save name the same file; the model needs one of its own")
    if args.checkpoint.exists() and not args.resume:
        raise Refused(f"--checkpoint {args.checkpoint}: the file is there already. Add --resume to go on from it, or "
                      "remove it to start afresh")


def check_memory(model, n):
    """Raise Refused where the vectors of n values cannot fit into this machine's memory, before anything is made."""
    k = getattr(model, "embedding_dim", 0)
    copies = 3 if model.optimizer == "adam" else 1                # Adam keeps two numbers for each one
    needed = copies * n * k * np.dtype(model.dtype).itemsize
    if needed > memory():
        raise Refused(f"--embedding-dim {k}: to train vectors of so many numbers for {n:,} values takes at least "
                      f"{needed / 2**30:,.0f} GiB, and this machine has {memory() / 2**30:,.0f}; lower it")


def memory():
    """The bytes of memory of this machine; infinite where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):                 # not on Windows
        return np.inf
