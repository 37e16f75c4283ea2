"""The table that ``minictr train`` learns from: whole in memory, or from its file in pieces (--stream)."""

import numpy as np
import pandas as pd

from ..checks import check_share, split_rows
from ..estimator.labels import CLICKS
from ..estimator.task import Task
from ..fields import Categorical, Numerical, TableEncoder, infer_field
from .column_facts import Facts, print_fields
from .model_tables import refuse_mixture
from .pieces import open_pieces
from .progress import Progress
from .table_files import check_columns, classes_of_target, read_numbers, read_table, read_target
from .terminal import Refused

HELD_OUT = 200_000          # validation rows of a table in pieces, at most: they stay in memory
FEW_ROWS = 10_000_000       # so many that their order can be drawn as a whole: 80 MB


class TrainTable:
    """What both have in common.

    Parameters
    ----------
    args : of the command.   named : {column: field, or None for one to leave out} as the options say.

    Attributes
    ----------
    fields : of the columns to predict from, in order.   n_rows : of the table.   classes : CLICKS, or two texts.
    mean : of the target, as 0 and 1 or numbers.   n_ids : the values of all fields.   After ``fit``: held_out, the
    validation rows as (X, y), or None; train_mean, the target's mean over the other rows.
    """

    def __init__(self, args, named):
        self.args, self.named = args, named
        self.text = [name for name, field in named.items() if isinstance(field, Categorical)]
        self.numbers = [args.target, *(name for name, field in named.items() if isinstance(field, Numerical))]
        self.held_out = None
        self.read()

    def columns_to_use(self, columns):
        """The names of the columns to predict from; Refused where there is none, or one that is named is not there."""
        args = self.args
        check_columns(columns, [args.target, *self.named], args.table)
        used = [name for name in columns if name != args.target and self.named.get(name, name) is not None]
        if not used:
            raise Refused(f"{args.table}: no column is left to predict {args.target!r} from")
        return used

    def field_of(self, name, column):
        """The field that a column is: as the options say, or inferred."""
        return self.named.get(name) or infer_field(name, column)

    def learned(self, facts, encoder):
        """Say what the columns were taken for."""
        self.n_ids = encoder.n_ids
        of = f"with mean {self.mean:.4g}"
        if self.classes is not CLICKS:
            of = f"is {self.classes[1]!r} in {self.mean:.1%} of them, else {self.classes[0]!r}"
        print(f"{self.args.table}: {self.n_rows:,} rows, target {self.args.target!r} {of}; the fields are")
        print_fields(encoder, facts, self.named)


class WholeTable(TrainTable):
    """The table in memory."""

    def read(self):
        """Read the table and check its cells."""
        args = self.args
        table = read_table(args.table, sep=args.sep, as_text=self.text, numbers=self.numbers)
        used = self.columns_to_use(table.columns)
        self.classes = classes_of_target(table, args.target, args.task)
        self.y = read_target(table, args.target, args.task, args.table, self.classes)
        X = self.X = table[used]
        self.fields = [self.field_of(name, X[name]) for name in X]
        for field in self.fields:
            if isinstance(field, Numerical):
                read_numbers(X, field.name, args.table)
        X.attrs.clear()                                           # pandas copies them with each column that is taken
        self.n_rows, self.mean = len(X), self.y.mean()
        facts = {name: Facts() for name in X}
        for name in X:
            facts[name].add(X[name])
        self.learned(facts, TableEncoder(self.fields).fit(X))

    def fit(self, model, **options):
        """Train the model on the rows that are not held out."""
        args, X, y = self.args, self.X, self.y
        labels = y if self.classes is CLICKS else self.classes[y.astype(int)]         # what the model is to predict
        self.train_mean, validation, train = self.mean, None, slice(None)
        if args.validation:
            train, held_out = split_rows(len(y), args.validation, args.seed)
            self.train_mean, self.held_out = y[train].mean(), (X.iloc[held_out], y[held_out])
            validation = X.iloc[held_out], labels[held_out]
        model.fit(X.iloc[train], labels[train], validation=validation, **options)


class StreamedTable(TrainTable):
    """The table as its file gives it, a piece at a time: once to see what its columns are, once to learn their values.

    Then ``fit`` goes through it, once to learn the fields of the rows to train on and once for each epoch. The fields,
    the validation rows (unless they are too many) and, where one window holds all rows (``Model.shuffle_window``), the
    model are those of the table in memory.
    """

    def read(self):
        """Go through the table twice, and check its cells."""
        args = self.args
        pieces = self.open(dict.fromkeys(self.text, str), codes=True)
        used = self.used = self.columns_to_use(pieces.columns)
        facts, progress = {name: Facts() for name in used}, Progress("looking at the columns: ")
        self.n_rows, labels = 0, set()
        for first_row, table, _ in pieces:
            if not first_row:
                sample = table[used]
            for name in self.numbers[1:]:
                read_numbers(table, name, args.table)
            for name in used:
                facts[name].add(table[name])
            if len(labels) < 3:
                labels.update(table[args.target].dropna().unique())
            self.n_rows += len(table)
            progress.show(self.n_rows, pieces.share)
        progress.end()
        labels = pd.DataFrame({args.target: pd.Series(list(labels), dtype=object)})
        self.classes = classes_of_target(labels, args.target, args.task)
        self.dtypes = {name: dtype for name in used if (dtype := facts[name].dtype())} | dict.fromkeys(self.text, str)
        if self.classes is not CLICKS:
            self.dtypes[args.target] = str
        if args.table.suffix.lower() != ".parquet":
            sample = sample.astype({name: self.dtypes[name] for name in used if name in self.dtypes})
        sample.attrs.clear()
        self.fields = [self.field_of(name, sample[name]) for name in used]
        self.choose_held_out()
        encoder = TableEncoder(self.fields).fit(self.tables())
        self.learned(facts, encoder)

    def open(self, dtypes, codes=False):
        """The file in pieces; with ``codes`` columns that hold some, and are no numbers, are text in their piece."""
        pieces = open_pieces(self.args.table, self.args.sep, dtypes=dtypes)
        if codes:
            pieces.codes = [name for name in pieces.columns if name not in {*self.text, *self.numbers}]
        return pieces

    def choose_held_out(self):
        """Draw the validation rows: those of the table in memory, or the first of these where there are too many."""
        share, n = self.args.validation, self.n_rows
        self.rows_held_out = np.empty(0, np.int64)
        if share:
            check_share(n, share)
            rng, n_held_out = np.random.default_rng(self.args.seed), min(round(n * share), HELD_OUT)
            if n > FEW_ROWS:
                self.rows_held_out = np.sort(rng.choice(n, n_held_out, replace=False, shuffle=False))
            else:
                self.rows_held_out = np.sort(rng.permutation(n)[:n_held_out])

    def pieces(self):
        """Yields (X, y, which rows are held out) of each piece."""
        args, truths = self.args, {}
        for first_row, table, _ in self.open(self.dtypes):
            refuse_mixture(table, self.numbers, args.table, truths)
            y = read_target(table, args.target, args.task, args.table, self.classes)
            X = table[self.used]
            X.attrs.clear()                                       # pandas copies them with each column that is taken
            held_out = np.zeros(len(X), bool)
            low, high = np.searchsorted(self.rows_held_out, [first_row, first_row + len(X)])
            held_out[self.rows_held_out[low:high] - first_row] = True
            yield X, y, held_out

    def tables(self):
        """All rows, to learn their fields; takes the validation rows out and adds up the targets on the way."""
        parts, totals = [], np.zeros(2)
        progress, n_rows = Progress("learning the fields: "), 0
        for X, y, held_out in self.pieces():
            yield X
            parts.append((X[held_out], y[held_out]))
            totals += y.sum(), y[held_out].sum()
            n_rows += len(y)
            progress.show(n_rows, n_rows / self.n_rows)
        progress.end()
        self.mean = totals[0] / n_rows
        self.train_mean = (totals[0] - totals[1]) / (n_rows - len(self.rows_held_out))
        if len(self.rows_held_out):
            X, y = zip(*parts, strict=True)
            self.held_out = pd.concat(X, ignore_index=True), np.concatenate(y)

    def fit(self, model, **options):
        """Train the model on the rows that are not held out."""
        def pieces():
            for X, y, held_out in self.pieces():
                yield X[~held_out], y[~held_out]

        model.fit(pieces, validation=self.held_out, **options)
        if self.classes is not CLICKS:
            model.set_task(Task("binary", classes=self.classes))  # the library's pieces know 0 and 1 alone
