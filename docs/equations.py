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
import itertools
import re

GREEK = {"alpha", "beta", "gamma", "delta", "lambda", "sigma", "mu", "eps"}
# Names of several letters that stand for an array or a number. All others are words.
NAMES = {"out", "dout", "mask", "rate", "mean", "var", "lr", "on", "logit", "score", "noise", "bias", "value", "gender",
         "age", "id", "PD", "loss", "units", "inputs", "pooled"}
FUNCTIONS = {"relu", "softmax", "sigmoid", "mean", "sign", "MLP", "CIN"}
LATEX_FUNCTIONS = {"exp", "log", "max", "min"}
BIG = {"sum": r"\sum", "mean": r"\operatorname{mean}", "softmax": r"\operatorname{softmax}"}
RELATIONS = {"=": "=", "+=": r"\mathrel{+}=", "<": "<", ">": ">", "<=": r"\le", ">=": r"\ge"}
ACCENTS = {"~": r"\tilde", "^": r"\hat"}

TOKEN = re.compile(r"""
    (?P<space>\s+)
  | (?P<code>``[^`]+``)
  | (?P<dots>\.\.\.)
  | (?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)
  | (?P<partial>dL/d(?=[A-Za-z]))
  | (?P<word>[A-Za-z]+(?:-[A-Za-z]+)*'[a-z]+|[a-z]{3,}'(?=\s))
  | (?P<name>[A-Za-z]+\d*)
  | (?P<norm>\|\|?)
  | (?P<relation>\+=|<=|>=|=)
  | (?P<sign>[-+*/.,;:<>()\[\]{}^_'~])
""", re.VERBOSE)


@dataclasses.dataclass
class Row:
    """One line of a typeset block: ``left`` and ``right`` of the equation in LaTeX, ``source`` in ASCII, a remark."""

    left: str
    right: str
    source: str
    remark: str = ""


class NotUnderstood(ValueError):
    """A text that is not an equation, or not one in this notation."""


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


class Parser:
    """Reads one equation from left to right: each method takes its part of the tokens and gives LaTeX.

    Only so much is understood as typesetting needs: what a fraction, a sum or a pair of brackets takes in.
    """

    def __init__(self, text):
        self.tokens = []                                          # (kind, text, whether blanks come before it)
        self.words = set()
        self.norm = None                                          # || or |, while inside of one
        position, blank = 0, False
        while position < len(text):
            found = TOKEN.match(text, position)
            if found is None:
                raise NotUnderstood(f"{text[position:position + 10]!r}")
            if found.lastgroup != "space":
                self.tokens.append((found.lastgroup, found[0], blank))
            blank = found.lastgroup == "space"
            position = found.end()
        self.tokens.append(("end", "", True))
        self.place = 0

    def kind(self, ahead=0):
        """The kind of the next token."""
        return self.tokens[min(self.place + ahead, len(self.tokens) - 1)][0]

    def text(self, ahead=0):
        """The next token."""
        return self.tokens[min(self.place + ahead, len(self.tokens) - 1)][1]

    def tight(self, ahead=0):
        """Whether the next token follows without a blank."""
        return not self.tokens[min(self.place + ahead, len(self.tokens) - 1)][2]

    def at(self, *texts):
        """Whether the next token is one of these."""
        return self.text() in texts and self.kind() != "end"

    def take(self, expected=None):
        """The next token; it is done with."""
        text = self.text()
        if self.kind() == "end" or expected not in (None, text):
            raise NotUnderstood(f"{text!r} instead of {expected!r}")
        self.place += 1
        return text

    def at_relation(self):
        """Whether the next token is =, <, ...; the brackets of <a, b> are none: they have a blank on one side only."""
        return self.kind() == "relation" or (self.at("<", ">") and self.tight() == self.tight(1))

    def end(self):
        """Nothing may be left."""
        if self.kind() != "end":
            raise NotUnderstood(f"{self.text()!r} is left over")

    # ---- from the loosest to the tightest ------------------------------------------------------------------

    def relation(self):
        """A = b <= c."""
        latex = self.expression()
        while self.at_relation():
            latex += f" {RELATIONS[self.take()]} {self.expression()}"
        if self.at(","):
            latex += self.take() + r"\;" + self.relation()
        return latex

    def list(self, *closing):
        """A, b; c."""
        parts = [self.expression() if not closing else self._member()]
        while self.at(",", ";") and not self._last():
            parts.append(self.take() + " " + (self._member() if closing else self.expression()))
        return "".join(parts)

    def _last(self):
        return self.kind(1) == "end"

    def _member(self):
        latex = self.expression()
        while self.at_relation():
            latex += f" {RELATIONS[self.take()]} {self.expression()}"
        return latex

    def expression(self):
        """A + b - c."""
        latex = self.take() if self.at("-", "+") else ""
        latex += self.term()
        while self.at("-", "+"):
            latex += f" {self.take()} {self.term()}"
        return latex

    def term(self):
        """Factors side by side, with * . and /; a / divides all that stands before it, back to the last word."""
        done, factors = [], []
        while True:
            if not factors and not self._is_word():
                factors = [self.factor()]
            elif self.at("*"):
                self.take()
                factors += [r"\circ", self.factor()]
            elif self.at(".") and not self.tight() and not self.tight(1):
                self.take()
                factors += [r"\cdot", self.factor()]
            elif self.at("/"):
                self.take()
                below = self.term() if self._at_big() else self.factor()          # the sum, and all that is summed
                factors = [rf"\frac{{{_bare(_side_by_side(factors))}}}{{{_bare(below)}}}"]
            elif self._is_word():
                done += [*factors, self.phrase()]
                factors = []
                if not self._starts_factor():
                    return _side_by_side(done)
            elif self._starts_factor():
                factors.append(self.factor())
            else:
                return _side_by_side([*done, *factors])

    def _starts_factor(self):
        return (self.kind() in ("number", "name", "word", "partial", "dots") or self.at("(", "[")
                or (self.at("<") and not self.at_relation()) or (self.kind() == "norm" and not self.norm))

    def _is_word(self):
        if self.kind() == "word":
            return True
        text = self.text()
        if text == "sum" and self.text(1) == "of":                # "sum of the fields' terms" has no index
            return True
        if self.kind() != "name" or len(text) == 1 or text in NAMES | FUNCTIONS | LATEX_FUNCTIONS | GREEK | set(BIG):
            return False
        if self.tight(1) and (self.text(1) in ("_", "^", "(", "[", "'", "~")):
            return False
        return text.isalpha() and not _derivative(text) and text not in ("sqrt", "xhat", "dxhat")

    def phrase(self):
        """Words."""
        words = []
        while self._is_word():
            words.append(self.take())
        self.words |= set(words)
        return rf"\text{{ {' '.join(words)} }}"

    def factor(self):
        """A number, symbol, sum, call or bracket, with all that hangs on it."""
        kind, text = self.kind(), self.text()
        if kind == "number":
            latex = self.take()
            if self.at("/") and self.tight() and self.tight(1):   # 1/B
                self.take()
                return rf"\frac{{{latex}}}{{{self.factor()}}}"
            return latex
        if kind == "dots":
            self.take()
            return r"\dots"
        if kind == "partial":
            self.take()
            return rf"\frac{{\partial L}}{{\partial {self.factor()}}}"
        if kind == "norm":
            self.norm = self.take()
            inside = self.expression()
            self.take(self.norm)
            self.norm = None
            letter = "V" if text == "||" else "v"
            return self.raised(rf"\left\l{letter}ert {inside} \right\r{letter}ert")
        if self._at_big():
            return self.big()
        if text == "sqrt":
            self.take()
            return rf"\sqrt{{{self.bracket('(', ')', bare=True)}}}"
        if self.at("("):
            return self.raised(self.bracket("(", ")"))
        if self.at("["):
            return self.raised(self.bracket("[", "]"))
        if self.at("<"):
            self.take()
            inside = self.list(">")
            self.take(">")
            return rf"\langle {inside} \rangle"
        if kind == "name":
            return self.symbol()
        raise NotUnderstood(f"{text!r}")

    def _at_big(self):
        return self.text() == "sum" or (self.text() in BIG and self.text(1) == "over")

    def big(self):
        """Sum_i, sum_{i<j}, sum over all pairs of: the sign with what stands below it."""
        latex = BIG[self.take()]
        if self.at("_") and self.tight():
            return latex + f"_{{{self.script()}}}"
        if not self.at("over"):
            return latex
        self.take()
        below, words = "", []
        while not (self.at("of") and not self._more_words(1)):    # "the slots s of field i of V": the last "of" ends it
            if self.kind() == "end":
                raise NotUnderstood("'over' without 'of'")
            if self.at(","):
                below += self._text(words) + self.take() + r"\,"
                words = []
            elif self.kind() == "name" and len(self.text()) == 1:
                below += self._text(words) + self.take()
                words = []
            else:
                words.append(self.take())
        below += self._text(words)
        self.take("of")
        return rf"\underset{{{below}}}{{{latex}}}" if "operatorname" in latex else rf"{latex}_{{{below}}}"

    def _text(self, words):
        self.words |= set(words)
        return rf"\text{{ {' '.join(words)} }}" if words else ""

    def _more_words(self, ahead):
        """Whether a word follows, rather than the thing that is summed."""
        self.place += ahead
        follows = self._is_word()
        self.place -= ahead
        return follows

    def bracket(self, opening, closing, bare=False):
        """(a), [a; b]."""
        self.take(opening)
        inside = self.list(closing)
        self.take(closing)
        if bare:
            return inside
        tall = re.search(r"\\(frac|sum|left|underset)", inside)
        return rf"\left{opening} {inside} \right{closing}" if tall else f"{opening}{inside}{closing}"

    def script(self):
        """What stands low or high: _ij, _{i<j}, ^T, ^(l+1)."""
        self.take()
        if self.at("{"):
            self.take()
            inside = self.list("}")
            self.take("}")
            return inside
        if self.at("("):
            return self.bracket("(", ")", bare=True)
        text = self.take()
        if text == "T":
            return r"\top"
        if text == "hat":
            return text
        if len(text) > 1 and (not text.islower() or text in NAMES):
            return rf"\mathrm{{{text}}}"
        return text

    def raised(self, latex):
        """Exponents of a bracket."""
        while self.tight() and self.at("^", "_"):
            latex += f"{self.text()}{{{self.script()}}}"
        return latex

    def symbol(self):
        """A letter or name with accent, primes, indices, exponent and arguments."""
        name = self.take()
        derivative = _derivative(name)
        letter = derivative or name
        prefix = r"\mathrm{d}" if derivative else ""
        latex = _letter(letter)
        if self.tight() and (self.at("~") or (self.at("^") and not self._script_follows())):
            latex = rf"{ACCENTS[self.take()]}{{{latex}}}"
        elif re.fullmatch(r"d?x?hat", name) or letter.endswith("hat"):
            latex = rf"\hat{{{letter.removesuffix('hat')}}}"
        while self.tight() and self.at("'"):
            latex += self.take()
        low = high = ""
        while self.tight() and self.at("_", "^"):
            if self.at("_"):
                low += ("," if low else "") + self.script()
            else:
                high = self.script()
        digits = re.search(r"\d+$", letter)
        if digits:                                                # beta1, M2_a
            low = digits[0] + (f",{low}" if low else "")
        latex = prefix + latex + (f"_{{{low}}}" if low else "") + (f"^{{{high}}}" if high else "")
        while self.tight() and self.at("(", "["):
            latex += self.bracket(*(("(", ")") if self.at("(") else ("[", "]")))
            latex = self.raised(latex)
        return latex

    def _script_follows(self):
        return self.tight(1) and (self.kind(1) in ("number", "name") or self.text(1) in ("{", "("))


def _derivative(name):
    """What a name like dW, dout or dxhat is the gradient of; "" for other names."""
    rest = name[1:]
    return rest if name[0] == "d" and rest and (len(rest) == 1 or rest in ("out", "xhat")) else ""


def _letter(name):
    """The LaTeX of a name without what hangs on it."""
    stem = name.rstrip("0123456789")
    if stem in GREEK:
        return r"\epsilon" if stem == "eps" else rf"\{stem}"
    if len(stem) == 1:
        return stem
    if stem in LATEX_FUNCTIONS:
        return rf"\{stem}"
    return rf"\operatorname{{{stem}}}" if stem in FUNCTIONS else rf"\mathrm{{{stem}}}"


def _side_by_side(factors):
    """Factors as a product: a name of several letters keeps its distance."""
    product = factors[0]
    for before, factor in itertools.pairwise(factors):
        apart = re.search(r"mathrm\{\w{2,}\}", before) and not factor.startswith(("(", "[", r"\left", r"\c"))
        product += (r" \, " if apart or factor.startswith(r"\mathrm{d}") else " ") + factor
    return product


def _bare(latex):
    """Without the brackets around the whole: a fraction needs none."""
    found = re.fullmatch(r"(?:\\left)?\((.*?)(?:\\right)?\)", latex)
    depth = 0
    for sign in re.findall(r"[()]", found[1]) if found else "":
        depth += 1 if sign == "(" else -1
        if depth < 0:                                             # (a) (b) is no bracket around the whole
            return latex
    return found[1].strip() if found else latex
