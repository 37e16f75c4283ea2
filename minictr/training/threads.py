"""Threads of our own, each with a single-threaded matrix product, instead of a threaded product.

Many small matrix products lose more to the BLAS library's own threading than they gain. minictr runs chunks of
a batch on Python threads (NumPy releases Python's lock while it computes) and holds BLAS to one thread each.
NumPy has no call for that, so the setter of the OpenBLAS that NumPy ships with is called directly. Where it is
not found, because NumPy uses another BLAS, everything works, but more slowly, and that BLAS may round differently
with another number of its own threads; set its variable (MKL_NUM_THREADS=1, for instance) to rule both out.
"""

import contextlib
import ctypes
import functools
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np


def n_cores():
    """Processors that this process may use.

    >>> n_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads:
    """The calling thread and ``n`` - 1 helpers, which share out the calls of a map.

    The caller works too, and takes the next item as soon as it is free: so a helper that wakes late costs nothing,
    and with n = 1 this is the plain map. Results come in the order of the items, whoever computed them. Helpers do not
    warn of numbers that overflow: who uses them looks at what came of it.

    >>> with Threads(2) as threads:
    ...     threads.map(abs, [-1, 2, -3])
    [1, 2, 3]
    """

    def __init__(self, n):
        self.n = n
        self.helpers = ThreadPoolExecutor(n - 1) if n > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.helpers:
            self.helpers.shutdown()

    def map(self, function, items):
        """[function(item) for item in items], on all threads; the first exception is raised when all are done."""
        results = [None] * len(items)
        numbers = itertools.count()                     # next() is one step: no two threads get the same number

        def work():
            while (i := next(numbers)) < len(items):
                results[i] = function(items[i])

        def quietly():
            with np.errstate(over="ignore", invalid="ignore"):
                work()

        helpers = [self.helpers.submit(quietly) for _ in range(min(self.n, len(items)) - 1)] if self.helpers else []
        try:
            work()
        finally:
            for helper in helpers:                      # one that has not begun by now has nothing left to do
                if not helper.cancel():
                    helper.result()
        return results


class _Held:
    """How many blocks hold OpenBLAS to one thread at this moment, on whatever thread, and how many it had before."""

    lock, blocks, before = threading.Lock(), 0, None


@contextlib.contextmanager
def one_blas_thread():
    """Within this block OpenBLAS computes each product on the calling thread alone.

    Its number of threads is one for the whole process, and blocks may overlap, on several threads: the first one in
    notes what there was, and the last one out restores it.

    >>> with one_blas_thread():
    ...     product = np.ones((2, 2)) @ np.ones((2, 2))
    """
    controls = _openblas_controls()
    if controls is None:
        yield
        return
    get_threads, set_threads = controls
    with _Held.lock:
        if not _Held.blocks:
            _Held.before = get_threads()
            set_threads(1)
        _Held.blocks += 1
    try:
        yield
    finally:
        with _Held.lock:
            _Held.blocks -= 1
            if not _Held.blocks:
                set_threads(_Held.before)


@functools.cache
def _openblas_controls():
    """(get, set) of the number of threads of NumPy's own OpenBLAS, or None if it is not to be found."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs", package / ".libs")   # Linux/Windows, macOS
    for library in (path for folder in folders for path in sorted(folder.glob("*openblas*"))):
        try:
            openblas = ctypes.CDLL(str(library))        # already loaded by NumPy: the same one, not a second
        except OSError:
            continue
        for pattern in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_",
                        "scipy_openblas_{}_num_threads", "openblas_{}_num_threads"):
            try:
                return getattr(openblas, pattern.format("get")), getattr(openblas, pattern.format("set"))
            except AttributeError:
                continue
    return None
