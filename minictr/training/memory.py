"""Memory that is freed and needed again a moment later stays with the process.

A chunk's arrays, a few MB, are made and freed again and again. glibc, the C library of most Linux systems, hands freed
memory back to the system beyond a threshold, and then the system has to clear every page of it anew: measured, FM's
scoring took up to three times as long. That threshold is not fixed: it is twice the largest block (up to 32 MB) that
was ever freed (mallopt(3), M_MMAP_THRESHOLD), so that programs which have worked with large arrays are spared. Other
libraries decide otherwise, and nothing is lost there.
"""

import numpy as np

LARGE = 30 * 2 ** 20                                              # bytes


def keep_freed_memory():
    """Free one large block, of which next to nothing was touched: from then on each thread's heap keeps up to 60 MB.

    >>> keep_freed_memory()
    """
    np.empty(LARGE, np.uint8)
