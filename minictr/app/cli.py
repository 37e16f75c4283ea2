"""The command line: ``minictr demo``, ``train``, ``predict``, ``explain`` and ``trace``.

Errors of which a user can do something end in one line on stderr and exit code 1 (2 for a wrong command); anything
else is a defect of minictr and shows its traceback.
"""

import argparse
import contextlib
import os
import signal
import sys
import warnings

from pandas.errors import ParserWarning

from .. import __version__
from ..start import end_quietly
from ..training import TrainingDiverged
from .demo_command import add_demo
from .explain_command import add_explain
from .predict_command import add_predict
from .terminal import Terminal, in_words
from .trace_command import add_trace
from .train_command import add_train

EXPECTED_ERRORS = (ValueError, TypeError, OSError, TrainingDiverged)    # what minictr raises for what a user gave it


def main(argv=None):
    """Run one command; returns the exit code: 0, 1 (bad data or files) or 130 (Ctrl-C). A wrong command exits with 2.

    >>> main(["explain", "no_such_file.npz", "clicks.csv", "--out", "pics"])      # the message goes to stderr
    1
    """
    with contextlib.redirect_stdout(Terminal(sys.stdout)), contextlib.redirect_stderr(Terminal(sys.stderr)):
        try:
            with ctrl_c_raises(), warnings.catch_warnings():
                parser = build_parser()
                args = parser.parse_args(argv)
                if not hasattr(args, "run"):
                    parser.print_help(sys.stderr)
                    return 2
                warnings.showwarning = warn
                warnings.simplefilter("error", ParserWarning)     # pandas only warns that it drops cells
                code = args.run(args)
                sys.stdout.flush()                                # what cannot be written, is said here
                return code
        except BrokenPipeError:     # the reader of our output, such as head, has seen enough
            forget_output()
            return 0
        except KeyboardInterrupt:
            print("\nminictr: interrupted", file=sys.stderr)
            return 130
        except MemoryError as error:
            return refused(f"there is not enough memory: {error or 'make the model or the table smaller'}")
        except EXPECTED_ERRORS as error:
            if isinstance(error, OSError) and error.strerror:
                if not error.filename:                            # it may be the output that cannot be written
                    forget_output()
                return refused(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
            return refused(in_words(error))


def forget_output():
    """Let what is still to be printed go nowhere: Python would try again when it ends, and complain."""
    with contextlib.suppress(OSError, ValueError):                # a stream that is no file has nothing to forget
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refused(message):
    """Say in one line why a command ends; returns its exit code."""
    print(f"minictr: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


def warn(message, *where):
    """Show a warning in one line."""
    print(f"minictr: warning: {in_words(message)}", file=sys.stderr)


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


def build_parser():
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="minictr", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Factorization models for click prediction: train them, and look at what they learned.",
        epilog="Start with:  minictr demo\nEach command has its own help:  minictr train --help")
    parser.add_argument("--version", action="version", version=f"minictr {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_demo(commands)
    add_train(commands)
    add_predict(commands)
    add_explain(commands)
    add_trace(commands)
    return parser
