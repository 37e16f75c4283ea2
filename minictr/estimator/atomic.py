"""Replacing a file in one step: whatever happens, there is the old one or the new one, and it is whole."""

import contextlib
import errno
import hashlib
import os
import stat
import uuid
from pathlib import Path

try:
    import fcntl
except ImportError:         # Windows, where a file that is being written cannot be removed
    fcntl = None


@contextlib.contextmanager
def replaced(path):
    """A binary file, to be written and read, that takes the place of ``path`` when the block ends without an exception.

    Until then it stands beside its place, as ``.NAME.<32 digits>.part``. What a killed process left there under such a
    name is removed, and what another one is just writing is let be. When the block is over the new file is on the disk,
    not in the system's memory alone.

    A symbolic link stays, and the file that it points to is replaced. A file that is there keeps its permissions, and
    its owner and group as far as the system allows that; other hard links to it go on having the old content.

    Raises: OSError, with ``path`` as its file name; ValueError where ``path`` is a device, a pipe or a socket.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "numbers")
    >>> with replaced(path) as file:
    ...     size = file.write(bytes(3))
    >>> path.read_bytes(), os.listdir(path.parent)
    (b'\\x00\\x00\\x00', ['numbers'])
    """
    target = Path(os.path.realpath(path))
    try:
        old = what_is_there(target, path)
        remove_parts(target)
        file, part = new_part(target, old)
        try:
            with file:
                yield file
                file.flush()
                keep_owner_and_mode(file, old)
                os.fsync(file.fileno())
                if fcntl:                                         # as long as it is locked, nobody removes it
                    os.replace(part, target)
            if not fcntl:                                         # Windows does not move an open file
                os.replace(part, target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def what_is_there(target, path):
    """The ``os.stat`` of the file that will be replaced, or None; what is no file is refused."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, name a file", str(path))
    if not stat.S_ISREG(old.st_mode):
        raise ValueError(f"{path} is a device, a pipe or a socket, and would be replaced by a file: name a file")
    return old


def part_prefix(target):
    """How the names of the files begin that will become ``target``."""
    name = target.name
    if len(os.fsencode(name)) > 100:                              # with what is added it could be too long a name
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}."


def new_part(target, old):
    """A new file beside ``target``, open and locked, and its path; who may not read the old one may not read this."""
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o777
    while True:
        part = target.with_name(f"{part_prefix(target)}{uuid.uuid4().hex}.part")
        file = open(part, "x+b", opener=lambda name, flags: os.open(name, flags, mode))
        if fcntl:
            with contextlib.suppress(OSError):                    # some file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:                      # else it was removed before it was locked
            return file, part
        file.close()


def remove_parts(target):
    """Remove what killed processes left of files that were to become ``target``: those that nobody has locked."""
    prefix = part_prefix(target)
    with contextlib.suppress(OSError):                            # a folder that cannot be listed, a file just gone
        for entry in list(os.scandir(target.parent)):
            middle = entry.name.removeprefix(prefix).removesuffix(".part")
            if entry.name != f"{prefix}{middle}.part" or len(middle) != 32 or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError):
                if fcntl:
                    with open(entry.path, "rb") as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        os.unlink(entry.path)
                else:                                             # Windows refuses where it is open
                    os.unlink(entry.path)


def keep_owner_and_mode(file, old):
    """Give a file the permissions of the one that it will replace, and its owner where the system allows it."""
    if old is None or os.name != "posix":
        return
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with contextlib.suppress(PermissionError):                # only root gives files away
            os.fchown(file.fileno(), owner, group)
    os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode) & 0o777)


def sync_folder(folder):
    """Have the disk know the folder's new entry, where the system can be asked to."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):                            # a folder that may not be read, or on a network
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
