"""Reads one equation in ASCII, and gives LaTeX; see ``equations``."""

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


class NotUnderstood(ValueError):
    """A text that is not an equation, or not one in this notation."""


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
