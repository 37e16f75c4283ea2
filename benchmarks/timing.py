"""Stopwatches."""

import contextlib
import os
import statistics
import time
from pathlib import Path

DISTURBED = 0.15        # cores that other processes may use before figures are called disturbed


def timed(call, seconds, times=None):
    """Median seconds of a call(i), i = 0, 1, ...; and how often it was called.

    Called ``times`` times; if that is None, as often as fits into ``seconds``, but 5 to 200 times.
    """
    found, start = [], time.perf_counter()
    while len(found) < (times or 5) or (
            times is None and len(found) < 200 and time.perf_counter() - start < seconds):
        before = time.perf_counter()
        call(len(found))
        found.append(time.perf_counter() - before)
    return statistics.median(found), len(found)


def once(call):
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextlib.contextmanager
def disturbance(own=None):
    """Measure how many cores other processes kept busy within the block: a list, filled with one number at its end.

    ``own()`` gives the seconds so far that do not count as theirs; of this process and its ended children if None.
    Libraries whose threads wait for each other become many times slower when they have to share their cores; figures
    with a disturbance are worth little. It stays empty where there is no /proc/stat.
    """
    found, file = [], Path("/proc/stat")
    if not file.exists():
        yield found
        return
    own = own or own_seconds
    before, own_before, start = busy_seconds(file), own(), time.perf_counter()
    yield found
    passed = time.perf_counter() - start
    found.append(max(0.0, (busy_seconds(file) - before - (own() - own_before)) / passed))


def busy_seconds(file):
    """Seconds that all cores together have worked since the machine started."""
    user, nice, system, _, _, *interrupts = (int(number) for number in file.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """Seconds of all cores that this process and its ended children have used."""
    return sum(os.times()[:4])
