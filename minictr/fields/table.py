"""A whole table: ``TableEncoder`` learns the fields of a training table, and encodes this and other tables."""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..checks import in_order
from ..slots import Slots
from .categorical import MISSING, UNKNOWN
from .multi_valued import MultiValuedEncoder, check_padding
from .numerical import NumericalEncoder
from .reading import check_names, check_table, in_piece, read_columns, row_blocks
from .saved import Below, check_state
from .specs import FIELD_CLASSES, Field, infer_field


def learn(learners, columns):
    """Feed the columns of a table, or of a piece of one, to their learners; returns the number of its rows."""
    for name, blocks in row_blocks(columns).items():
        for block, rows in blocks:
            learners[name].add(block, rows)
    return max(map(len, columns.values()), default=0)


class TableEncoder:
    """Learns the fields of a table, then turns tables into `Slots` with global ids.

    Values are compared by what they are, not by the dtype that holds them: "a" is the same as text
    of any dtype and as a pandas category, 1 the same as int8, as nullable Int64, and as the float
    1.0 of an int column with missing values. Columns are found by name, whatever their order.

    Parameters
    ----------
    fields : list of fields, and of column names whose field is to be inferred (`infer_field`).
        Exactly these columns are used, in this order. None: every column of the training table.

    Attributes
    ----------
    encoders : the fitted encoder of each of the M fields, by name; see ``minictr.fields``.
    field_names : their names, in order.
    offsets : (M,) int array, the first global id of each field.
    n_ids : n, the number of ids of all fields: the rows of the embedding table.
    widths : (M,) int array, the slots that each field takes in the training table; None in an
        encoder that was loaded.

    The first four are there after ``fit``; before, to ask for one is a ValueError.

    Examples
    --------
    >>> from minictr import MultiValued
    >>> encoder = TableEncoder(["user", MultiValued("genres")])
    >>> encoder.fit({"user": ["ann", "bob"], "genres": ["Action|Drama", "Drama"]}).n_ids
    8
    >>> encoder.feature_names("genres")
    ['(unknown)', '(missing)', 'Action', 'Drama']
    >>> slots = encoder.encode({"user": ["bob", "eve"], "genres": ["Action|War", None]})
    >>> slots.ids  # the user's ids are 0 to 3, the genres' 4 to 7
    array([[3, 6, 4],
           [0, 5, 5]], dtype=int32)
    >>> slots.x
    array([[1. , 0.5, 0.5],
           [1. , 1. , 0. ]], dtype=float32)
    """

    def __init__(self, fields=None):
        self.fields = fields
        self.widths = None

    def __getattr__(self, name):
        """Called for an attribute that is not there: what ``fit`` has not learned yet, or a mistake."""
        if name in ("encoders", "field_names", "offsets", "n_ids"):
            raise ValueError("this TableEncoder has not learned a table yet: call fit first")
        raise AttributeError(f"a TableEncoder has no attribute {name!r}")

    def fit(self, *tables):
        """Learn every field from its column, forgetting what an earlier fit learned.

        Parameters
        ----------
        *tables : DataFrames or dicts of columns; mostly one. With several, which may differ in
            length, each field is learned from the one table that has its column. So users can be
            learned from a table where each counts once, not from a table of all that they did.
            A table may also come in pieces, as an iterator of tables, and need not fit into memory:
            the kinds of fields are inferred from the first piece, all else is learned from all.

        Raises
        ------
        TypeError, ValueError
            For tables, columns and values that cannot be used: which, where, and what to do.
        """
        firsts, rests, found = [], [], []
        for table in tables:
            rest = table if isinstance(table, Iterator) else iter([table])
            first = next(rest, {})
            check_table(first)
            firsts.append(first)
            rests.append(rest)
            found.extend(first)
        fields = found if self.fields is None else self.fields
        if not in_order(fields) or not len(fields):
            raise ValueError(f"fields must be a list with at least one field, got {fields!r}")
        names = [field.name if isinstance(field, Field) else field for field in fields]
        check_names(names, found)
        learners, n_rows = {}, {}
        for first, rest in zip(firsts, rests, strict=True):
            own = {name: field for name, field in zip(names, fields, strict=True) if name in first}
            columns = read_columns(first, own)
            for name, field in own.items():
                if not len(columns[name]):
                    raise ValueError(f"column {name!r} has no rows; fit needs at least one")
                if isinstance(field, Field):
                    field.check()
                else:
                    field = infer_field(name, columns[name])
                learners[name] = field.encoder_class.learner_class(field)   # the field stays as it is
            first_row = learn(learners, columns)
            for piece in rest:
                with in_piece(first_row):
                    extra = [name for name in piece if name not in first]
                    if extra and self.fields is None:
                        raise ValueError(f"column {extra[0]!r} is not in the first piece of the table; leave it "
                                         f"out, or name the columns to use: fields=[...]")
                    first_row += learn(learners, read_columns(piece, own))
            n_rows |= dict.fromkeys(own, first_row)
        encoders, widths = {}, []
        for name in names:
            encoders[name] = learners[name].encoder(n_rows[name])
            widths.append(learners[name].width)
        self.widths = np.array(widths)
        return self._lay_out(encoders)

    def _lay_out(self, encoders):
        """Give each of these fields its stretch of ids, one after the other."""
        offsets, n_ids = [], 0
        for encoder in encoders.values():
            offsets.append(n_ids)
            n_ids += encoder.n_ids
        if n_ids > np.iinfo(np.int32).max:
            raise ValueError(f"the fields need {n_ids} ids, but int32 holds 2**31 - 1; give "
                             f"the largest fields buckets= or a higher min_count=")
        self.encoders, self.field_names, self.offsets, self.n_ids = encoders, list(encoders), np.array(offsets), n_ids
        self.offset_of = dict(zip(encoders, offsets, strict=True))
        return self

    @property
    def n_features(self):
        """Another name of ``n_ids``, from earlier versions."""
        return self.n_ids

    def encode(self, table, fields=None, widths=None):
        """Turn a table into `Slots`: global ids (N, S) and weights x (N, S).

        A multi-valued field takes as many slots as the fullest cell of this table has values; where
        a cell has fewer, slots have the id of missing and x = 0. x is None if no field is numerical
        or multi-valued, because all weights are 1 then.

        Parameters
        ----------
        table : DataFrame or dict of equally long columns. Columns that are not fields are ignored.
        fields : list of names, to encode only these fields; their ids stay the same.
        widths : at least so many slots for each of these fields, so that pieces of a table fit together.

        Raises
        ------
        TypeError, ValueError
            For columns that are missing or of another type than in fit, and for numbers that are
            infinite or no numbers. A value that fit did not see is no error: it is "unknown".
        """
        check_table(table)
        names = self.field_names if fields is None else self._checked(fields)
        columns = read_columns(table, names)
        blocks = row_blocks(columns)
        parts, weighted = [], False
        widths = [1] * len(names) if widths is None else list(widths)
        for number, name in enumerate(names):
            encoder = self.encoders[name]
            cells = itertools.starmap(encoder.encode, blocks[name])     # lazy: one block after the other
            if isinstance(encoder, MultiValuedEncoder):
                cells = list(cells)     # all at once: the fullest cell says how many slots there are
                for _, ids, _ in cells:
                    widths[number] = max(widths[number], ids.shape[1])
                if len(cells) != 1 or cells[0][1].shape[1] < widths[number]:      # one of full width has done it
                    lengths = [np.count_nonzero(x, axis=1)[cells_of_rows] for cells_of_rows, _, x in cells]
                    check_padding(name, np.concatenate([[], *lengths]), range(len(columns[name])), widths[number])
            parts.append(cells)
            weighted |= isinstance(encoder, (MultiValuedEncoder, NumericalEncoder))
        ends = np.cumsum(widths)
        ids = np.empty((len(columns[names[0]]), ends[-1]), np.int32)
        x = np.ones(ids.shape, np.float32) if weighted else None
        for name, part, width, end in zip(names, parts, widths, ends, strict=True):
            offset = self.offset_of[name]
            for (_, rows), (cells, cell_ids, cell_x) in zip(blocks[name], part, strict=True):
                here = slice(rows.start, rows.stop), slice(end - width, end)
                n_used = cell_ids.shape[1]
                ids[here][:, :n_used] = (cell_ids + offset)[cells]
                ids[here][:, n_used:] = offset + MISSING
                if cell_x is not None:
                    x[here][:, :n_used] = cell_x[cells]
                    x[here][:, n_used:] = 0
        return Slots(ids, x, ends - widths)

    def _checked(self, fields):
        """The names of fields as a list; a ValueError if one is no field, or there are none."""
        names = list(fields)
        for name in names:
            if name not in self.encoders:
                raise ValueError(f"{name!r} is not one of the fields {self.field_names}")
        if not names:
            raise ValueError(f"fields is empty; name at least one of {self.field_names}")
        return names

    def feature_names(self, field):
        """The label of each id of a field: "(unknown)", "(missing)", then its values as text."""
        [name] = self._checked([field])
        return self.encoders[name].labels()

    def describe(self):
        """What fit learned: one row a field, with its kind and the number of its values.

        `unknown` is the share of the training values that were rarer than min_count, `missing` the
        share of the training rows without a value. Where it is 0, training never meets that id.
        """
        return pd.DataFrame([{"field": name, "kind": encoder.text, "values": encoder.n_values,
                              "unknown": encoder.unknown, "missing": encoder.missing}
                             for name, encoder in self.encoders.items()])

    def unknown_rate(self, table):
        """Each field's share of unknown values in a table, as a Series by field name.

        In a multi-valued field all rows count the same, however many values they have. Numbers are
        never unknown.
        """
        rates = dict.fromkeys(self.field_names, 0.0)
        for name, offset in zip(self.field_names, self.offsets, strict=True):
            slots = self.encode(table, [name])
            if not isinstance(self.encoders[name], NumericalEncoder):
                unknown = (slots.ids == offset + UNKNOWN) * (1 if slots.x is None else slots.x)
                rates[name] = float(unknown.sum() / max(len(slots), 1))
        return pd.Series(rates)

    def get_state(self):
        """Everything learned: a JSON-able dict, and a dict of arrays without objects."""
        entries, arrays = [], {}
        for number, encoder in enumerate(self.encoders.values()):
            learned, own_arrays = encoder.state()
            entries.append({"type": type(encoder.spec).__name__, "params": encoder.spec.params(),
                            "learned": learned})
            arrays |= {f"{number}.{name}": array for name, array in own_arrays.items()}
        return {"fields": entries}, arrays

    @classmethod
    def from_state(cls, state, arrays):
        """The TableEncoder whose `get_state` gave this.

        Raises
        ------
        ValueError
            If anything in it is not as `get_state` leaves it.
        """
        encoders = {}
        try:
            for number, entry in enumerate(state["fields"]):
                check_state(entry.keys() == {"type", "params", "learned"}, f"entries of field {number}: {list(entry)}")
                spec = FIELD_CLASSES[entry["type"]](**entry["params"])
                spec.check()
                check_state(spec.name not in encoders, f"field {spec.name!r} is there twice")
                encoder = spec.encoder_class.from_state(spec, entry["learned"], Below(f"{number}.", arrays))
                encoders[spec.name] = encoder
            check_state(encoders, "there are no fields")
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"the saved fields are damaged: {error!r}") from error
        return cls([encoder.spec for encoder in encoders.values()])._lay_out(encoders)
