"""What happens before there is a command line: Ctrl-C while numpy, pandas and the rest are still being imported."""

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path


def is_command():
    """Whether this process was started as ``minictr`` or ``python -m minictr``."""
    words = sys.orig_argv[1:]
    as_module = any(words[at:at + 2] == ["-m", "minictr"] for at in range(len(words)))
    return as_module or Path(sys.argv[0] if sys.argv else "").stem == "minictr"


def end_quietly(number, frame):
    """End at once, with the exit code of a command that Ctrl-C has ended: there is nothing to clean up."""
    sys.stderr.write("\nminictr: interrupted\n")
    sys.stderr.flush()
    os._exit(130)


def catch_ctrl_c():
    """Let Ctrl-C end a command without a traceback, until ``minictr.app.cli.main`` does that."""
    if is_command() and threading.current_thread() is threading.main_thread() \
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_quietly)


@contextlib.contextmanager
def ctrl_c_raises():
    """Within, Ctrl-C raises KeyboardInterrupt, as usual; before that and afterwards it ends the command quietly."""
    if signal.getsignal(signal.SIGINT) is not end_quietly:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, end_quietly)


catch_ctrl_c()
