"""Files of scores, written a piece at a time."""

import contextlib
import gzip
import os

from ..estimator.atomic import replaced
from .table_files import ending_of
from .terminal import Refused


def check_output(out, others):
    """Raise Refused, before anything is read, where no scores could be written, or a file would be lost that is needed.

    ``others`` are the files that the command reads.
    """
    if str(out) == "-":
        return
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise Refused(f"--out {out}: " + ("this is a folder; name a file" if out.is_dir() else
                                          f"there is no folder {out.parent}; make it first"))
    if ending_of(out, "--out names") == ".parquet":
        need_pyarrow(out)
    for other in others:
        if out.exists() and other.exists() and os.path.samefile(out, other):
            raise Refused(f"--out {out} is the file {other} that is read; give the scores a file of their own")


def need_pyarrow(out):
    """Raise Refused where there is no pyarrow."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise Refused(f"--out {out}: .parquet is written only where pyarrow is installed (pip install pyarrow); .csv "
                      "and .csv.gz need nothing more") from None


@contextlib.contextmanager
def score_file(out, stdout, types):
    """A function that writes one DataFrame after the other, all with the same columns.

    The file takes the place of ``out`` when all is written; "-" is ``stdout``. ``types`` is {column: Arrow type} for a
    .parquet file, of columns that may be empty in the first DataFrame.
    """
    if str(out) == "-":
        yield CSVWriter(getattr(stdout, "buffer", None) or Encoded(stdout), ",")
        stdout.flush()
        return
    ending = ending_of(out)
    with replaced(out) as file, contextlib.ExitStack() as stack:
        if ending == ".parquet":
            yield stack.enter_context(contextlib.closing(ParquetWriter(file, types)))
            return
        if ending.endswith(".gz"):
            file = stack.enter_context(gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0))
        yield CSVWriter(file, "\t" if ".tsv" in ending else ",")


class Encoded:
    """A stream of text as one that takes bytes."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, data):
        """Write UTF-8 text."""
        self.stream.write(data.decode())


class CSVWriter:
    """Writes DataFrames as one CSV file."""

    def __init__(self, file, sep):
        self.file, self.sep, self.header = file, sep, True

    def __call__(self, table):
        text = table.to_csv(index=False, header=self.header, sep=self.sep, lineterminator="\n")
        self.header = False
        self.file.write(text.encode())


class ParquetWriter:
    """Writes DataFrames as one .parquet file."""

    def __init__(self, file, types):
        self.file, self.types, self.writer = file, types, None

    def __call__(self, table):
        import pyarrow
        from pyarrow.parquet import ParquetWriter as Writer

        if self.writer is None:
            inferred = pyarrow.Schema.from_pandas(table, preserve_index=False)
            self.schema = pyarrow.schema([(name, self.types.get(name, inferred.field(name).type)) for name in table])
            self.writer = Writer(self.file, self.schema)
        self.writer.write_table(pyarrow.Table.from_pandas(table, self.schema, preserve_index=False))

    def close(self):
        """Write the end of the file."""
        if self.writer is not None:
            self.writer.close()
