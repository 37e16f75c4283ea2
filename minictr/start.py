"""What happens before there is a command line: Ctrl-C while numpy, pandas and the rest are still being imported.

It imports nothing itself that takes time: until this has run, Ctrl-C shows a traceback.
"""

import os
import signal
import sys


def is_command():
    """Whether this process was started as ``minictr`` or ``python -m minictr``."""
    words = sys.orig_argv[1:]
    as_module = any(words[at:at + 2] == ["-m", "minictr"] for at in range(len(words)))
    return as_module or os.path.splitext(os.path.basename((sys.argv or [""])[0]))[0] == "minictr"


def end_quietly(number, frame):
    """End at once, with the exit code of a command that Ctrl-C has ended: there is nothing to clean up."""
    sys.stderr.write("\nminictr: interrupted\n")
    sys.stderr.flush()
    os._exit(130)


def catch_ctrl_c():
    """Let Ctrl-C end a command without a traceback, until ``minictr.app.cli.main`` does that."""
    if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_quietly)


catch_ctrl_c()
