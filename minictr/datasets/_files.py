"""Find, download and read the files of the real data sets.

A file is looked for in the path that the caller gives and nowhere else; without a path in the
folder that the environment variable MINICTR_DATA names, then in the cache folder, and at last it is
downloaded from its publisher into the cache folder.
"""

import csv
import hashlib
import http.client
import io
import os
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

import pandas as pd

TIMEOUT = 30  # seconds without a byte after which a download has failed
BLOCK = 1 << 16  # bytes read at once: few enough for a lively progress line


# ---------------------------------------------------------------------------------------- finding

def locate(path, folders, names, *, home, url=None, check=None):
    """Return the first file that exists, downloading it when it is nowhere.

    Parameters
    ----------
    path : file, folder or None. A file is returned as it is; a folder is searched, and nothing
        else is. None: MINICTR_DATA, the cache folder and the download, in this order.
    folders, names : lists of str in order of preference: each of `names` is looked for in each of
        `folders` of every place ("" is the place itself).
    home : str, the web page from which a person gets the data; the error messages name it.
    url : str or None, the address to download from, to folders[0]/names[0] in the cache folder.
    check : function of a Path, or None; raises ValueError when the downloaded file is damaged.

    Raises
    ------
    FileNotFoundError
        The file is nowhere and cannot be downloaded; the message says what to do.
    ValueError
        The download arrived, but `check` refused it.
    """
    if path is not None and Path(path).expanduser().is_file():
        return Path(path).expanduser()
    places = _places(path, folders)
    for place in places:
        for name in names:
            if (place / name).is_file():
                return place / name

    target = cache_folder() / folders[0] / names[0]
    searched = ", ".join(str(place) for place in places)
    missing = f"no {' or '.join(names)} in {searched}"
    advice = (f"Get the data from {home}; then pass its place as load(path=...), or put {names[0]} "
              f"into {target.parent}, or into the folder that the environment variable "
              f"MINICTR_DATA names")
    if path is not None or url is None:
        raise FileNotFoundError(f"{missing}. {advice}.")
    try:
        download(url, target, check)
    except (OSError, http.client.HTTPException) as error:
        raise FileNotFoundError(f"{missing}, and {url} could not be downloaded: {error}. {advice}. "
                                f"What has arrived so far is kept for the next try.") from error
    return target


def cache_folder():
    """Return the folder in which downloads are kept; it need not exist yet."""
    if sys.platform == "win32":
        base, usual = os.environ.get("LOCALAPPDATA"), Path.home() / "AppData" / "Local"
    else:
        base, usual = os.environ.get("XDG_CACHE_HOME"), Path.home() / ".cache"
    return Path(base or usual) / "minictr"


def _places(path, folders):
    """Return the folders to search, in order; a named one that does not exist is an error."""
    if path is not None:
        return [_existing_folder(path, "path") / folder for folder in dict.fromkeys(["", *folders])]
    roots = [cache_folder()]
    if os.environ.get("MINICTR_DATA"):
        roots.insert(0, _existing_folder(os.environ["MINICTR_DATA"], "MINICTR_DATA"))
    return [root / folder for root in roots for folder in folders]


def _existing_folder(name, source):
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{source} is {str(name)!r}, but there is no such file or folder")
    return folder


# ------------------------------------------------------------------------------------ downloading

def download(url, target, check=None):
    """Download `url` to the file `target`, going on where an earlier try broke off.

    The bytes go to `target` + ".part", which gets its final name only when it is complete and
    `check` has passed; so `target` never holds half a file. Progress goes to stderr.

    Raises
    ------
    OSError, http.client.HTTPException
        The server cannot be reached or breaks off; the bytes so far are kept for the next try.
    ValueError
        `check` refused the file; it is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "minictr"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers),
                                          timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if done and error.code == 416:  # nothing comes after `done`: the part is useless
            part.unlink()
            return download(url, target, check)
        raise
    with response:
        resumed = response.status == 206  # a server that knows no ranges sends all of it
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        print(f"downloading {url} to {target}", file=sys.stderr)
        with open(part, "ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                done += len(block)
                _show_progress(done, total)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if total is not None and done != total:
        raise ConnectionError(f"the connection broke off after {done:,} of {total:,} bytes")
    if check is not None:
        try:
            check(part)
        except ValueError as error:
            part.unlink()
            raise ValueError(f"the download of {url} is not the expected file: {error}. It was "
                             f"removed; try again, or get the file by hand.") from error
    os.replace(part, target)


def _show_progress(done, total):
    """Rewrite one line in a terminal; a log or a notebook gets no line for every block."""
    if sys.stderr.isatty():
        of_total = f" of {total / 1e6:.1f}" if total else ""
        print(f"\r{done / 1e6:8.1f}{of_total} MB", end="", file=sys.stderr, flush=True)


def has_md5(expected):
    """Return a check for `download`: the file's md5 is `expected`."""
    def check(file):
        found = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        if found != expected:
            raise ValueError(f"its md5 is {found}, the publisher's is {expected}")
    return check


def has_lines(expected):
    """Return a check for `download`: the file has `expected` lines."""
    def check(file):
        found = file.read_bytes().count(b"\n")
        if found != expected:
            raise ValueError(f"it has {found:,} lines, expected {expected:,}")
    return check


# ---------------------------------------------------------------------------------------- reading

def read_member(archive, name):
    """Return the bytes of file `name` from a zip, or from the folder in which `archive` lies.

    Raises
    ------
    ValueError
        The zip is damaged, or there is no such file.
    """
    if archive.suffix != ".zip":
        if not (archive.parent / name).is_file():
            raise ValueError(f"{archive.parent} holds {archive.name} but no {name}: a part of the "
                             f"data set is missing")
        return (archive.parent / name).read_bytes()
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [member for member in zipped.namelist() if member.split("/")[-1] == name]
            if not members:
                raise ValueError(f"{archive} holds no {name}, but {zipped.namelist()[:5]}: it is "
                                 f"not the expected data set")
            return zipped.read(members[0])
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive} is damaged ({error}): delete it and get a fresh copy"
                         ) from error


def read_table(data, where, columns, *, sep, rows, missing=(), first_line=1):
    r"""Parse the bytes of a file, or of some lines of it, without a header line.

    Parameters
    ----------
    data : bytes; text in latin-1, of which ASCII is a part.
    where : str, the file's name for the error messages.
    columns : dict of column name -> "int64", "float64" or str, in file order.
    sep : bytes, such as b"::".
    rows : int, how many rows there must be.
    missing : texts that stand for a missing value.
    first_line : int, the number of the first line in its file.

    Raises
    ------
    ValueError
        A line has too many or too few columns, a value is not a number, or rows are missing.

    Examples
    --------
    >>> read_table(b"1::F\n2::M\n", "users.dat", {"id": "int64", "sex": str}, sep=b"::", rows=2)
       id sex
    0   1   F
    1   2   M
    """
    if data.count(sep) != rows * (len(columns) - 1):
        _refuse_wrong_line(data, where, columns, sep, first_line)
    single = b"\t" if len(sep) > 1 else sep  # pandas' fast parser takes a single character only
    text = data.replace(sep, single)
    options = {"sep": single.decode(), "header": None, "names": list(columns), "index_col": False,
               "encoding": "latin-1", "quoting": csv.QUOTE_NONE,
               "keep_default_na": False, "na_values": list(missing)}
    try:
        table = pd.read_csv(io.BytesIO(text), dtype=columns, **options)
    except ValueError as error:
        _refuse_wrong_line(data, where, columns, sep, first_line)
        values = pd.read_csv(io.BytesIO(text), dtype=str, **options)
        for name, dtype in columns.items():
            number = pd.to_numeric(values[name], errors="coerce")
            wrong = number.isna() & (values[name].notna() | (dtype == "int64"))
            if dtype is not str and wrong.any():
                row = wrong.idxmax()
                raise ValueError(f"{where}, line {first_line + row}, column {name}: "
                                 f"{values[name][row]!r} is not a number") from error
        raise ValueError(f"{where} cannot be read: {error}") from error
    if len(table) != rows:
        raise ValueError(f"{where} has {len(table):,} rows, expected {rows:,}: it is incomplete or "
                         f"another version of the data set")
    return table


def _refuse_wrong_line(data, where, columns, sep, first_line):
    """Raise ValueError if a line has too many or too few columns; blank last lines do not count."""
    for number, line in enumerate(data.rstrip(b"\r\n").split(b"\n"), start=first_line):
        found = line.count(sep) + 1
        if found != len(columns):
            raise ValueError(f"{where}, line {number}: {found} columns, expected {len(columns)} "
                             f"({', '.join(columns)})")
