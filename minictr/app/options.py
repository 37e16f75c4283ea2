"""What the commands' options have in common: how a command is added, and what a text must be to be taken."""

import argparse
import json
import textwrap

import numpy as np

from ..estimator.registry import library_models
from ..fields import MultiValued

MODELS = {name.lower(): cls for name, cls in library_models().items()}      # as the command line calls them


def add_command(commands, name, run, summary, description):
    """A subcommand whose help keeps the line breaks of its description."""
    command = commands.add_parser(name, help=summary, description=textwrap.dedent(description).strip(),
                                  allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.set_defaults(run=run, parser=command)
    return command


def add_separator(command):
    """The option of the commands that read a table."""
    command.add_argument("--sep", type=separator, metavar="C",
                         help="what separates the cells of the table: one sign such as ';', or the word tab (default: "
                              "a comma; in .tsv files a tab)")


def separator(text):
    """A type of argument: what separates cells."""
    sign = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in "\"\n\r\0":
        raise argparse.ArgumentTypeError(f"expected one sign such as ';', or the word tab, got {text!r:.80}")
    return sign


def at_least(least):
    """A type of argument: a whole number from ``least`` on."""
    def whole_number(text):
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r:.80}")
        return number
    return whole_number


def positive(text):
    """A type of argument: a number above 0."""
    return number_where(lambda number: 0 < number < np.inf, "a number above 0", text)


def share(text):
    """A type of argument: a number from 0 to below 1."""
    return number_where(lambda number: 0 <= number < 1, "a share from 0 to below 1, such as 0.1", text)


def number_where(good, expected, text):
    """The text as a number for which ``good`` holds."""
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not good(number):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r:.80}")
    return number


def names(text):
    """A type of argument: column names between commas."""
    return [name for name in text.split(",") if name]


def multi_valued(text):
    """A type of argument: a MultiValued field from COLUMN:SEP."""
    name, _, sep = text.partition(":")
    if not name or not sep:
        raise argparse.ArgumentTypeError(f"expected COLUMN:SEP, such as 'genres:|', got {text!r:.80}")
    return MultiValued(name, sep=sep)


def setting(text):
    """A type of argument: (name, value) from NAME=VALUE, the value JSON or else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, such as dropout=0.2, got {text!r:.80}")
    try:
        return name.strip(), json.loads(value)
    except json.JSONDecodeError:
        return name.strip(), value
    except (ValueError, RecursionError):    # a number of thousands of digits, thousands of brackets
        raise argparse.ArgumentTypeError(f"{name.strip()}: the value is too long or too deep, {value:.20}...") from None
