"""Tables from files a piece after the other, for the commands that take more than fits into memory."""

import contextlib
import gzip
import itertools

import pandas as pd

from .table_files import PIECE, columns_of_csv, ending_of, no_rows, reading_csv, reading_parquet


def open_pieces(path, sep=None, *, rows=None, dtypes=None, codes=(), keep=()):
    """The table in a file, to be gone through as often as one likes, a piece of ``rows`` rows at a time.

    Attributes are ``columns``, the names, and ``share``, how much of the file has been read so far (0 to 1). Each pass
    yields (number of the first row, DataFrame, kept) of each piece; what is wrong with the file is Refused there.

    Parameters
    ----------
    path, sep : as in ``read_table``.
    rows : of a piece, 100,000 if None; the last one has what is left.
    dtypes : {column: dtype} of a CSV file; what is not named is inferred in each piece. A .parquet file says its own.
    codes : of those inferred, columns in which a number with zeros before it, such as 007, is no number: the column
        of that piece is text then.
    keep : columns that ``kept`` has, a DataFrame of text as it stands in the CSV file (whatever the .parquet holds);
        ``kept`` is None without any.

    Raises: Refused where the file is no table.
    """
    cls = ParquetPieces if ending_of(path) == ".parquet" else CSVPieces
    return cls(path, sep, rows or PIECE, dtypes or {}, list(codes), list(keep))


class CSVPieces:
    """See ``open_pieces``."""

    def __init__(self, path, sep, rows, dtypes, codes, keep):
        self.path, self.rows, self.dtypes, self.codes, self.keep = path, rows, dtypes, codes, keep
        self.layout, self.in_file = columns_of_csv(path, sep)
        self.columns, self.share = list(self.in_file), 0.0

    def read(self, file, **options):
        """A pandas reader of the file, in pieces."""
        dtypes = {self.in_file[name]: dtype for name, dtype in self.dtypes.items() if name in self.in_file}
        return pd.read_csv(file, chunksize=self.rows, index_col=False, low_memory=False,
                           **{"dtype": dtypes, "dtype_backend": "numpy_nullable", **self.layout, **options})

    def types(self):
        """{column: Arrow type} where the file says it: nowhere."""
        return {}

    def __iter__(self):
        first_row, verbatim = 0, [name for name in self.columns if name in {*self.codes, *self.keep}]
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(open(self.path, "rb"))
            size = max(self.path.stat().st_size, 1)
            file = stack.enter_context(gzip.GzipFile(fileobj=raw)) if self.path.suffix.lower() == ".gz" else raw
            with reading_csv(self.path, self.layout):
                readers = [stack.enter_context(self.read(file))]
                if verbatim:
                    readers.append(stack.enter_context(self.read(
                        self.path, usecols=[self.in_file[name] for name in verbatim], dtype=str, na_filter=False)))
            while True:
                with reading_csv(self.path, self.layout):
                    pieces = [next(reader, None) for reader in readers]
                if pieces[0] is None or not len(pieces[0]):
                    break
                for piece, names in zip(pieces, (self.columns, verbatim), strict=False):
                    piece.columns = names
                    piece.index = range(len(piece))
                table, text = pieces[0], pieces[-1]
                for name in self.codes:
                    if name in table and text[name].str.fullmatch(r"\s*0[0-9]+\s*").any():
                        table[name] = text[name].where(table[name].notna())
                table.attrs |= {"layout": self.layout, "first_row": first_row}
                self.share = min(raw.tell() / size, 1.0)
                yield first_row, table, text[self.keep] if self.keep else None
                first_row += len(table)
        if not first_row:
            raise no_rows(self.path)


class ParquetPieces:
    """See ``open_pieces``; a row group is read at a time, and groups are joined and cut."""

    def __init__(self, path, sep, rows, dtypes, codes, keep):
        self.path, self.rows, self.keep, self.share = path, rows, keep, 0.0
        with reading_parquet(path, sep):
            from pyarrow.parquet import ParquetFile

            with ParquetFile(path) as file:
                self.n_rows, self.schema = file.metadata.num_rows, file.schema_arrow
                # an index that pandas kept is no column, as in pandas.read_parquet
                self.columns = list(self.schema.empty_table().to_pandas().columns)

    def types(self):
        """{column: Arrow type}."""
        return dict(zip(self.schema.names, self.schema.types, strict=True))

    def batches(self, file):
        """Arrow tables of ``rows`` rows, whatever the groups of rows in the file."""
        import pyarrow

        held, n_held = [], 0
        for batch in file.iter_batches(self.rows):
            held.append(batch)
            n_held += len(batch)
            if n_held >= self.rows:
                table = pyarrow.Table.from_batches(held)
                yield table.slice(0, self.rows)
                held, n_held = table.slice(self.rows).to_batches(), n_held - self.rows
        if n_held:
            yield pyarrow.Table.from_batches(held)

    def __iter__(self):
        first_row = 0
        with reading_parquet(self.path, None):
            from pyarrow.parquet import ParquetFile

            types = nullable_types()
            file = ParquetFile(self.path)
        with file:
            batches = self.batches(file)
            while True:
                with reading_parquet(self.path, None):
                    batch = next(batches, None)
                if batch is None:
                    break
                table = batch.to_pandas(types_mapper=types.get).reset_index(drop=True)
                table.attrs["first_row"] = first_row
                self.share = (first_row + len(table)) / self.n_rows
                yield first_row, table, table[self.keep] if self.keep else None
                first_row += len(table)
        if not first_row:
            raise no_rows(self.path)


def nullable_types():
    """{Arrow type: pandas dtype that keeps missing values}, as pandas.read_parquet has them (``numpy_nullable``)."""
    import pyarrow

    whole = [f"{sign}int{bits}" for sign, bits in itertools.product(("", "u"), (8, 16, 32, 64))]
    names = {**{name: name.replace("i", "I").replace("u", "U") for name in whole}, "bool_": "boolean",
             "float32": "Float32", "float64": "Float64", "string": "string", "large_string": "string"}
    return {getattr(pyarrow, name)(): pd.api.types.pandas_dtype(dtype) for name, dtype in names.items()}
