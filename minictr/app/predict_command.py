"""``minictr predict``: the scores of a table by a saved model."""

import contextlib
import sys
from pathlib import Path

import pandas as pd

from ..models import Model
from ..text import as_text, printable
from .model_tables import Scored, say_unknown
from .options import add_command, add_separator, names
from .progress import Progress
from .score_files import check_output, score_file
from .terminal import Refused


def add_predict(commands):
    """``minictr predict``."""
    command = add_command(commands, "predict", run_predict, "write a prediction for each row of a table", """
        Reads a model that `minictr train` saved and a table with the same fields (columns in any order, others are left
        alone, no target needed), and writes one prediction for each row, in the order of the table. The table is read a
        piece at a time and may be larger than memory.

        What is written is a table with one column, and those of --keep before it:

          probability          of a 1, where the target was 0 or 1
          probability_of_yes   of the later in the alphabet, where the target was one of two texts such as no and yes
          prediction           the predicted number, where the model was trained with --task regression

        Values that training never saw are scored as an average value would be; the command says how many there were.
        Where a cell is wrong, such as text among numbers, it says in which line, and writes nothing.

        examples:
          minictr predict m.npz clicks.csv --out scores.csv
          minictr predict m.npz big.csv.gz --out scores.csv.gz --keep user_id,item_id
          minictr predict m.npz clicks.csv --out - | head
        """)
    command.add_argument("model", type=Path, metavar="MODEL", help="the file that `minictr train --save` wrote")
    command.add_argument("table", type=Path, metavar="TABLE",
                         help="rows to predict for: .csv, .tsv (also .gz) or .parquet")
    command.add_argument("--out", required=True, type=Path, metavar="FILE",
                         help="where to write: .csv, .tsv (also .gz) or .parquet; replaced, if it is there, when all "
                              "is done. - is the standard output, as .csv")
    command.add_argument("--keep", type=names, default=[], metavar="A,B",
                         help="columns of the table to write beside the predictions, such as a row's id; from a .csv "
                              "they are copied as they stand there")
    add_separator(command)


def run_predict(args):
    """Write the scores of a table."""
    stdout = sys.stdout
    # what is said must not stand among the scores
    with contextlib.redirect_stdout(sys.stderr) if str(args.out) == "-" else contextlib.nullcontext():
        return predict(args, stdout)


def predict(args, stdout):
    """``run_predict``; ``stdout`` is where scores go for the name "-", all else is printed."""
    for name in args.keep:
        if args.keep.count(name) > 1:
            args.parser.error(f"--keep: the column {name!r} is named more than once")
    check_output(args.out, [args.model, args.table])
    model = Model.load(args.model)
    scores = Scored(model, args.table, args.sep, keep=args.keep)
    column = score_column(model)
    if column in args.keep:
        raise Refused(f"--keep {column}: the column of the predictions is called so too; rename that of {args.table}")
    print(f"{args.model}: {type(model).__name__} ({model.task_}) of {len(model.feature_names_in_)} fields")
    progress = Progress()
    with score_file(args.out, stdout, scores.pieces.types()) as write:
        for kept, _, values in scores:
            table = pd.DataFrame({column: values})
            write(table if kept is None else pd.concat([kept, table], axis=1))
            progress.show(scores.n_rows, scores.pieces.share)
        progress.end()
    print(f"Written to {'the standard output' if str(args.out) == '-' else args.out}: {scores.n_rows:,} rows, column "
          f"{printable(column)}")
    say_unknown({name: count / scores.n_rows for name, count in scores.unknown.items()})
    return 0


def score_column(model):
    """What the column of predictions is called: it says of which class a probability is."""
    if model.task_ != "binary":
        return "prediction"
    classes = model.classes_.tolist()
    return "probability" if classes == [0, 1] and not isinstance(classes[1], bool) else (
        f"probability_of_{as_text(classes[1])}")
