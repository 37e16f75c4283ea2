"""What commands write is there whole, or not at all: files and folders are written beside and then moved."""

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

from .terminal import Refused


@contextlib.contextmanager
def whole_folder(path):
    """A folder to write into; what is in it comes to stand in ``path``, which is made if need be, when all is done.

    An error, or Ctrl-C, leaves ``path`` as it was. Files of the same names are replaced, others stay.

    Raises: Refused where ``path`` is a file, OSError where nothing can be written there.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise Refused(f"--out {path}: this is a file; name a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    # within a folder that exists, as it may be on another disk than the one around it
    part = (path if path.is_dir() else path.parent) / f".minictr-{secrets.token_hex(4)}.part"
    try:
        part.mkdir()
        yield part
        if path.is_dir():
            for file in sorted(part.iterdir()):
                os.replace(file, path / file.name)
        else:
            os.rename(part, path)
    except OSError as error:
        if (error.filename is None and error.errno == errno.ENOSPC) or str(part) in str(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error      # the name that the user knows
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path):
    """A path to write to; what was written comes to stand under ``path`` when all is done."""
    part = path.with_name(f".minictr-{secrets.token_hex(4)}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
