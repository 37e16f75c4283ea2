"""Equations as the docstrings write them, in ASCII, as LaTeX.

    a'_ij = h . relu(W^T p_ij + b)        (Xiao et al. 2017, eq. 5)

In a terminal that is read as it stands; the site typesets it. ``translate`` takes the lines of one block and gives its
rows: each an equation in LaTeX and a remark. A block that is not made of equations (a table, a piece of a program)
gives None, and is shown as it is.

What is understood: a_ij  W^T  a'_ij  e~_m  m^  (a hat)  sum_i  sum_{i<j}  sum over all pairs of  softmax over k of
a . b (inner product)  a * b (number by number)  <v_i, v_j>  ||W||  |x|  sqrt(x)  1/B  a / b  dL/ds_b  [a; b]  ...
Words that are no symbols stay words. What follows after two blanks and is no equation is a remark.
"""

import dataclasses
import re

from .parser import RELATIONS, NotUnderstood, Parser


@dataclasses.dataclass
class Row:
    """One line of a typeset block: ``left`` and ``right`` of the equation in LaTeX, ``source`` in ASCII, a remark."""

    left: str
    right: str
    source: str
    remark: str = ""


def translate(lines):
    """The rows of a block of lines, or None if it is not made of equations.

    >>> [row] = translate(["s = w_0 + sum_i w_i x_i      (eq. 1)"])
    >>> print(row.left, row.right, row.remark)
    s = w_{0} + \\sum_{i} w_{i} x_{i} (eq. 1)
    """
    rows = []
    for line in _whole_lines(lines):
        pieces = _pieces(line)
        try:
            found = [_equation(piece) for piece in pieces if _looks_like_equation(piece)]
        except NotUnderstood:
            return None
        remarks = [piece for piece in pieces if not _looks_like_equation(piece)]
        if not found or len(remarks) > 2:
            return None
        found[-1].remark = "   ".join(remarks)
        rows += found
    return rows or None


def inline(text):
    """The LaTeX of an equation, sum or product in running text, or None if the text is not one from end to end.

    >>> print(inline("dW = x^T dout"), "|", inline("dp_ij e_j"), "|", inline("the sum of x_i"))
    \\mathrm{d}W = x^{\\top} \\, \\mathrm{d}\\mathrm{out} | \\mathrm{d}p_{ij} e_{j} | None
    """
    if not re.match(r"[A-Za-z][\w'~^{}\[\]]*( \+?= |/d)|(\d/[A-Z] \[?)?sum_|d?[a-z]_\w\w? d?[a-z]_\w\w?$", text):
        return None
    try:
        parser = Parser(text)
        latex = parser.relation()
        parser.end()
    except NotUnderstood:
        return None
    return latex if parser.words <= {"where", "else"} else None


def formula(text):
    """The LaTeX of a formula with or without =, as the comment at a line's end has it; None if it has words in it.

    >>> print(formula("w_0 + sum_i w_i x_i"), "|", formula("over the pairs"))
    w_{0} + \\sum_{i} w_{i} x_{i} | None
    """
    try:
        parser = Parser(text)
        latex = parser.relation()
        parser.end()
    except NotUnderstood:
        return None
    return None if parser.words else latex


def symbol(text):
    """The LaTeX of one symbol, such as a_ij, or None if the text is not one."""
    try:
        parser = Parser(text)
        latex = parser.factor() if text.startswith("sum_") else parser.symbol()
        parser.end()
    except NotUnderstood:
        return None
    return latex


def _whole_lines(lines):
    """Lines, with those that begin with an operator joined to the one before."""
    whole = []
    for line in lines:
        if line.strip() and whole and re.match(r"\s*[-+*/=] ", line):
            whole[-1] += " " + line.strip()
        elif line.strip():
            whole.append(line.strip())
    return whole


def _pieces(line):
    """The parts of a line that stand two blanks apart, but for blanks that only align an = or follow an "of"."""
    pieces = []
    for piece in re.split(r"\s{2,}", line):
        if pieces and (piece.startswith("=") or re.search(r"(=|\bof)$", pieces[-1])):
            pieces[-1] += " " + piece
        else:
            pieces.append(piece)
    return pieces


def _looks_like_equation(piece):
    if piece.startswith("(") and piece.endswith(")") and "=" not in piece:
        return False                                              # (eq. 5)
    if re.match(r"\S+(\([^)]*\))?(, \S+(\([^)]*\))?)* \+?= ", piece):
        return True
    return bool(re.match(r"\w+\([^()]*\) [-+] \w+\(", piece))     # f(u) - f(v): no =, but no text either


def _equation(piece):
    parser = Parser(piece)
    left = parser.list()
    right = []
    while parser.at_relation():
        right.append(f"{RELATIONS[parser.take()]} {parser.expression()}")
    tail = parser.take() if parser.at(",") else ""
    while tail and parser.kind() != "end":                        # a clause after a comma: "..., else 1 / (1 - rate)"
        tail += r"\;" + parser.expression()
        right.append(tail)
        tail = ""
    parser.end()
    return Row(left, " ".join(right) + tail, piece)
