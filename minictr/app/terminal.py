"""What reaches the terminal: text that shows what it holds, and messages in the words of the command line."""

import re

from ..text import printable

KINDS = {"str": "text", "int": "whole numbers", "float": "numbers", "bool": "True and False"}

# What the library says to people who write Python, and what it means on the command line.
PHRASES = [(re.compile(pattern), words) for pattern, words in [
    (r"has only missing values: leave it out of the fields", "has only missing values: leave it out with --ignore"),
    (r"held (\w+) values in fit but holds (\w+) values here",
     lambda found: f"held {KINDS.get(found[1], found[1])} in training, but holds {KINDS.get(found[2], found[2])} here"),
    (r"convert it as it was for fit, .*", "give it as it was in training"),
    (r"(but a field holds text, whole numbers, floats or True/False); .*",
     r"\1; change it in the file, or leave it out with --ignore"),
    (r"is MultiValued: a row holds (.*?) or a list,", r"is multi-valued: a row holds \1,"),
    (r"store them as text: \.astype\(str\)", "store them as text"),
    (r"say so: fields=.*", "say so with --categorical"),
    (r"([Ll])ower learning_rate", r"\1ower --learning-rate"),
    (r"; set reg=0", "; leave --set reg out"),
    (r"give the largest fields buckets= or .*", "leave the largest out with --ignore"),
    (r", or give fewer rows at a time \(fit and partial_fit take a table in pieces\)", ""),
    (r", or give the field another transform or bins", ""),
    (r", or give the field bins, or the transform log_squared", ""),
    (r" \(None or NaN\)", ""),
    (r"as fit found it", "as training found it"),
    (r"^FFM\(first_order=False\) has no w_0", "FFM without its first-order terms has no w_0"),
    (r"\. Set first_order=True", "; leave --set first_order out"),
    (r" \(n_features = 1\); use LR, or add fields", "; use --model lr, or a table with more columns"),
    (r"; pass more fields, or user_features= and item_features= with ratings", "; give it more columns"),
    (r"\by or the weights are too large for (\w+); change their unit",
     r"the target is too large for \1; change its unit"),
    (r"\. Where settings were changed since fit, .*", ""),
    (r"^X gave ([\d,]+) rows in the first pass, but ([\d,]+) in a later one; .*",
     r"the table had \1 rows to train on when it was first read, and \2 later; leave it as it is during the training"),
    (r"X must give the same rows each time", "leave the table as it is during the training"),
    (r"^checkpoint (?=\S+: )", "--checkpoint "),
    (r"\[\(\"user\", \"ad\"\)\]", '[["user","ad"]]'),
    (r"a dict from names to numbers", 'an object from names to numbers, such as {"embedding":10}'),
    (r", or scale large numerical fields \(transform=\"standard\"\)", ""),
    (r"\bvalidation=(?=[\d.])", "--validation "),
    (r"give a share between 0 and 1, or a pair \(X, y\)", "give another share, or 0 to train on all rows"),
    (r"a tuple of names, such as \(\"embedding\",\)", 'a list of names, such as ["embedding"]'),
    (r"\bNone or ", "null or "),
]]

# A call or a method, an argument, a name in a module: what nobody can type on a command line.
PYTHON = re.compile(r"\.\w+\(|\b[A-Za-z_]\w*=|\b(?:pandas|pd|np|numpy|explain|plots|datasets|minictr)\.\w|\w\(\w*[=,]"
                    r"|\b(?:Categorical|Numerical|MultiValued|DataFrame)\b|\(X, y")


# A quoted value or name, in which signs mean nothing; an apostrophe within a word opens none.
QUOTED = re.compile(r"(?<!\w)'(?:[^'\\]|\\.)*'|(?<!\w)\"(?:[^\"\\]|\\.)*\"")


class Refused(ValueError):
    """What a command says no with, in its own words: ``in_words`` has nothing to translate there."""


class Terminal:
    """A stream for the terminal: writes control characters, and what its encoding does not have, as escapes."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        """Write a text; line breaks, tabs and the return to the line's start stay as they are."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(printable(text, keep="\n\r\t").encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def __getattr__(self, name):
        return getattr(self.stream, name)


IN_PIECE = re.compile(r"in the piece that begins with row ([\d,]+) \(its own rows count from 0\): ")


def rows_of_the_file(text):
    """A message about a piece of a table with the rows as the whole table counts them.

    >>> rows_of_the_file("in the piece that begins with row 2,000 (its own rows count from 0): row 7 holds 'row 1'")
    "row 2007 holds 'row 1'"
    """
    found = IN_PIECE.search(text)
    if not found:
        return text
    before, first, text = text[:found.start()], int(found[1].replace(",", "")), text[found.end():]
    bare = QUOTED.sub(lambda quoted: "-" * len(quoted[0]), text)
    rows = list(re.finditer(r"(?<=\brow )\d+", bare))
    for row in reversed(rows):
        text = text[:row.start()] + str(first + int(row[0])) + text[row.end():]
    return before + text if rows else f"{before}in row {first} or one of those after it: {text}"


def in_words(message):
    """A message of the library as the command line says it: its advice for Python translated, or else left out.

    >>> in_words("LR has no attention; AFM does. For pairs use explain.contributions(model, X)")
    'LR has no attention; AFM does'
    >>> in_words("epoch 1: the loss is nan. Lower learning_rate (now 5.0)")
    'epoch 1: the loss is nan. Lower --learning-rate (now 5.0)'
    """
    text = " ".join(str(message).split())
    if isinstance(message, Refused):
        return text
    text = rows_of_the_file(text)
    for pattern, words in PHRASES:
        text = pattern.sub(words, text)
    bare = QUOTED.sub(lambda quoted: "-" * len(quoted[0]), text)
    ends = [found.end() for found in re.finditer(r"[;.] ", bare)]
    clauses = list(zip([0, *ends], [*ends, len(text)], strict=True))
    # what is wrong comes first, then what to do
    kept = [text[start:end] for start, end in clauses if start == 0 or not PYTHON.search(bare[start:end])]
    return text if len(kept) == len(clauses) else "".join(kept).rstrip(";. ")
