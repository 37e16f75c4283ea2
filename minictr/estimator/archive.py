"""Reading an .npz from a stranger: what it holds is known from its headers, and an array is read when it is asked for.

``np.savez`` stores arrays as they are. So a file whose arrays are compressed, or lie over one another, is not ours, and
in one that is ours the arrays take no more memory than the file has bytes.
"""

import math
import os
import re
import stat
import zipfile
from typing import NamedTuple

import numpy as np

from ..checks import all_finite

# What stands before an array's numbers, as np.savez writes it. NumPy's own reader hands the header to Python's parser,
# which fails where another thread has something parsed meanwhile, too (CPython 3.11.7: "SystemError: AST constructor
# recursion depth mismatch"), and servers load models in threads.
MAGIC = b"\x93NUMPY\x01\x00"                  # and then two bytes, the header's length
SHAPE = r"\((|-?\d{1,19},|-?\d{1,19}(?:, -?\d{1,19})+)\)"
HEADER = re.compile(r"\{'descr': (.+), 'fortran_order': (True|False), 'shape': " + SHAPE + r", \}\s*")
NUMBERS = re.compile(r"'([<>|](?:b1|[iu][1248]|f[248]))'")      # nothing else is in a model, above all no objects
BLOCK = 2 ** 20                                # bytes read at a time, as zipfile makes a copy of what it reads


class ModelFileError(ValueError):
    """The file is no minictr model, is damaged, holds another class, or was written by a newer version."""


class Archive:
    """The arrays of an .npz that is open as a binary file.

    Attributes
    ----------
    sizes : {name: bytes, its header included} of all arrays, from the list of contents at the file's end.
    taken : the names of the arrays that were read.

    Raises: ModelFileError for what ``np.savez`` does not write: arrays that are compressed, encrypted, of other things
    than numbers, of another size than their header says, twice there, or more than the file has bytes.

    >>> import io
    >>> file = io.BytesIO()
    >>> np.savez(file, a=np.zeros((2, 3), np.float32))
    >>> archive = Archive(file)
    >>> archive.header("a"), archive["a"].tolist()
    (((2, 3), dtype('float32')), [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    """

    def __init__(self, file):
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(4) != b"PK\x03\x04":
            raise ModelFileError("it is no archive of arrays")
        self.zip = zipfile.ZipFile(file)
        self.entries = {entry.filename.removesuffix(".npy"): entry for entry in self.zip.infolist()}
        self.sizes = {name: entry.file_size for name, entry in self.entries.items()}
        self.headers, self.taken = {}, set()
        if len(self.entries) < len(self.zip.infolist()):
            raise ModelFileError("an array is there twice")
        for name, entry in self.entries.items():
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise ModelFileError(f"the array {name} is compressed, which minictr never does; if you packed the "
                                     "file yourself, store its contents as they are (zip -0)")
        if sum(self.sizes.values()) > size:
            raise ModelFileError("its arrays are said to have more bytes than the file")

    def __contains__(self, name):
        return name in self.entries

    def __getitem__(self, name):
        """Read an array; its header was checked, and zipfile compares the checksum of all of it."""
        shape, dtype = self.header(name)
        self.taken.add(name)
        with self.zip.open(self.entries[name]) as member:
            header = read_header(member, name)
            if header != self.headers[name]:
                raise ModelFileError(f"the array {name} was changed while the file was read")
            array = np.empty(math.prod(shape), dtype)
            memory = array.view(np.uint8)
            for start in range(0, memory.size, BLOCK):
                member.readinto(memory[start:start + BLOCK])
        return array.reshape(shape, order=header.order)

    def header(self, name):
        """(shape, dtype) of an array, from its header."""
        if name not in self.headers:
            if name not in self.entries:
                raise ModelFileError(f"the array {name} is missing")
            with self.zip.open(self.entries[name]) as member:
                header = read_header(member, name)
            shape, dtype = header.shape, header.dtype
            if min(shape, default=0) < 0 or header.size + math.prod(shape) * dtype.itemsize != self.sizes[name]:
                raise ModelFileError(f"the array {name} is {dtype} {shape}, but has {self.sizes[name]} bytes in all")
            self.headers[name] = header
        return self.headers[name].shape, self.headers[name].dtype

    def total(self, *prefixes):
        """How many arrays there are whose names start with one of the prefixes, and their bytes in all."""
        sizes = [size for name, size in self.sizes.items() if name.startswith(prefixes)]
        return len(sizes), sum(sizes)

    def checked(self, name, shape, dtype):
        """One array, of exactly this shape and dtype (or kind of it), all numbers finite."""
        found, kind = self.header(name)
        if found != shape or not np.issubdtype(kind, dtype):
            raise ModelFileError(f"the array {name} is {kind} {found}, expected {np.dtype(dtype).name} {shape}")
        array = self[name]
        if kind.kind == "f" and not all_finite(array):
            raise ModelFileError(f"the array {name} has numbers that are not finite")
        return array


class Header(NamedTuple):
    """What stands before an array's numbers: their shape, dtype and order (C or F), and how many bytes it takes."""

    shape: tuple
    dtype: np.dtype
    order: str
    size: int


def read_header(member, name):
    """The header of the array ``name`` from its entry, which is open and then stands at the numbers."""
    start = member.read(len(MAGIC) + 2)
    header = HEADER.fullmatch(member.read(int.from_bytes(start[len(MAGIC):], "little")).decode("latin1"))
    if not start.startswith(MAGIC) or header is None:
        raise ModelFileError(f"the array {name} is of a format that minictr does not write")
    descr, fortran_order, shape = header.groups()
    numbers = NUMBERS.fullmatch(descr)
    if numbers is None:
        raise ModelFileError(f"the array {name} holds no numbers of a model, but {descr:.60}")
    shape = tuple(int(size) for size in shape.split(",") if size)
    return Header(shape, np.dtype(numbers[1]), "F" if fortran_order == "True" else "C", member.tell())


class BoundedGenerator(np.random.Generator):
    """The random numbers with which ``build`` starts a model's parameters: no more of them than a file accounts for.

    A file's settings say how large its model is. So that a small file with large numbers in its settings takes neither
    memory nor time, what a layer draws is counted before it is drawn.

    Parameters
    ----------
    arrays, numbers : how often may be drawn, and how many numbers in all.
    """

    def __init__(self, arrays, numbers):
        super().__init__(np.random.PCG64(0))
        self.arrays, self.numbers = arrays, numbers

    def count(self, size):
        """Take note of a draw of this size, a number or a shape; ModelFileError beyond what there may be."""
        self.arrays -= 1
        self.numbers -= 1 if size is None else int(np.prod(size, dtype=object))
        if self.arrays < 0 or self.numbers < 0:
            raise ModelFileError("its settings ask for a model that is larger than the parameters in the file")

    def standard_normal(self, size=None, *more, **options):
        """As numpy's, counted."""
        self.count(size)
        return super().standard_normal(size, *more, **options)

    def normal(self, loc=0.0, scale=1.0, size=None):
        """As numpy's, counted."""
        self.count(size)
        return super().normal(loc, scale, size)

    def uniform(self, low=0.0, high=1.0, size=None):
        """As numpy's, counted."""
        self.count(size)
        return super().uniform(low, high, size)

    def random(self, size=None, *more, **options):
        """As numpy's, counted."""
        self.count(size)
        return super().random(size, *more, **options)


def open_regular(path):
    """Open a file to be read; a pipe or a device, which could make us wait for ever, is refused."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ModelFileError(f"{path} is not a minictr model: it is no file, but a device, a pipe or a socket")
    return open(path, "rb")
