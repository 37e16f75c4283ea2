"""The LaTeX of ``equations`` as MathML, which browsers show without any script.

It knows the commands that an equation of a docstring comes to, and no others.
"""

import html
import re

TOKEN = re.compile(r"\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?(?:e-?\d+)?|[^\s]")
LETTERS = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "lambda": "λ", "sigma": "σ", "mu": "μ",
           "epsilon": "ϵ", "partial": "∂", "top": "⊤"}
SIGNS = {"cdot": "·", "circ": "∘", "le": "≤", "ge": "≥"}
BRACKETS = {"langle": "⟨", "rangle": "⟩", "lvert": "|", "rvert": "|", "lVert": "‖", "rVert": "‖"}
SPACES = {",": "0.17em", ";": "0.28em"}
ACCENTS = {"hat": "^", "tilde": "~"}
FUNCTIONS = ("exp", "log", "max", "min")


class NotTypeset(ValueError):
    """LaTeX with something in it that is not known here."""


def mathml(latex, display="inline", plain=""):
    """Return one ``<math>`` element, as text.

    Parameters
    ----------
    latex : what ``inline``, ``symbol`` or ``translate`` gave.   display : "inline" or "block".
    plain : the same in ASCII, for programs that cannot read MathML; it is LaTeX if not given.

    Raises: NotTypeset for LaTeX of other kinds.

    >>> mathml("x_{i}", plain="x_i")
    '<math alttext="x_i" display="inline"><msub><mi>x</mi><mi>i</mi></msub></math>'
    """
    reader = Reader(latex)
    inside = reader.row()
    if reader.next:
        raise NotTypeset(f"{latex!r}: {reader.next!r} closes nothing")
    text = html.escape(" ".join((plain or latex).split()))
    return f'<math alttext="{text}" display="{display}">{inside}</math>'


class Reader:
    """Reads LaTeX from left to right: each method takes its part of the tokens, and gives MathML."""

    def __init__(self, latex):
        self.latex, self.tokens, self.place = latex, [*TOKEN.findall(latex), ""], 0

    @property
    def next(self):
        """The next token, "" at the end."""
        return self.tokens[self.place]

    def take(self, expected=None):
        """The next token; it is done with."""
        if not self.next or expected not in (None, self.next):
            raise NotTypeset(f"{self.latex!r}: {self.next or 'the end'} instead of {expected or 'more'}")
        self.place += 1
        return self.tokens[self.place - 1]

    def row(self):
        """All that stands side by side, until a bracket closes."""
        parts = []
        while self.next not in ("", "}", r"\right"):
            parts.append(self.scripted())
        return "".join(parts)

    def group(self):
        """What stands in braces, as one element."""
        self.take("{")
        inside = self.row()
        self.take("}")
        return _one(inside)

    def scripted(self):
        """One thing with its primes, and with what stands low and high."""
        big = self.next == r"\sum"
        base, low, high = self.one(), [], []
        primes = ""
        while self.next == "'":                                   # ′ is a high sign itself: as an exponent it floats
            primes += self.take().replace("'", '<mo lspace="0" rspace="0">′</mo>')
        if primes:
            base = f"<mrow>{base}{primes}</mrow>"
        while self.next in ("_", "^"):
            (low if self.take() == "_" else high).append(self.group())
        if not low and not high:
            return base
        kind = ("munder", "mover", "munderover") if big else ("msub", "msup", "msubsup")
        parts = [base, *(_one("".join(part)) if len(part) > 1 else part[0] for part in (low, high) if part)]
        kind = kind[2] if low and high else kind[0] if low else kind[1]
        return f"<{kind}>{''.join(parts)}</{kind}>"

    def one(self):
        """One thing: a letter, number, sign, fraction, root, accent, or a pair of brackets."""
        if self.next == "{":
            return self.group()
        token = self.take()
        name = token[1:]
        if token.startswith((r"\text{", r"\mathrm{", r"\operatorname{")):
            return self._words(*re.fullmatch(r"\\(\w+)\{(.*)\}", token).groups())
        if token == r"\frac":
            return f"<mfrac>{self.group()}{self.group()}</mfrac>"
        if token == r"\sqrt":
            return f"<msqrt>{self.group()}</msqrt>"
        if token == r"\underset":
            below = self.group()
            return f"<munder>{self.group()}{below}</munder>"
        if token == r"\mathrel":
            return f"<mo>{html.escape(re.sub('<.*?>', '', self.group()) + self.take())}</mo>"
        if token == r"\left":
            opening, inside = self._bracket(), self.row()
            self.take(r"\right")
            return f"<mrow>{opening}{inside}{self._bracket()}</mrow>"
        if token == r"\sum":
            return '<mo movablelimits="false">∑</mo>'
        if token == r"\dots":
            return "<mi>…</mi>"
        if token[0] == "\\" and name in ACCENTS:
            return f'<mover accent="true">{self.group()}<mo stretchy="false">{ACCENTS[name]}</mo></mover>'
        if token[0] == "\\" and name in BRACKETS:
            return f'<mo fence="true" stretchy="false" lspace="0" rspace="0">{BRACKETS[name]}</mo>'
        if token[0] == "\\" and name in FUNCTIONS:
            return self._words("operatorname", name)
        for names, element in ((LETTERS, "<mi>{}</mi>"), (SIGNS, "<mo>{}</mo>"), (SPACES, '<mspace width="{}"/>')):
            if token[0] == "\\" and name in names:
                return element.format(names[name])
        if token[0].isalpha():
            return f"<mi>{token}</mi>"
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token in "()[]":
            return f'<mo stretchy="false">{token}</mo>'
        if token == ";":
            return '<mo separator="true" lspace="0" rspace="0.28em">;</mo>'
        if token in "+-=<>,./":
            return f"<mo>{'−' if token == '-' else html.escape(token)}</mo>"
        raise NotTypeset(f"{self.latex!r}: {token!r} is not known")

    def _bracket(self):
        """The sign after \\left and \\right, as high as what it holds."""
        token = self.take()
        sign = BRACKETS.get(token[1:], token) if token[0] == "\\" else token
        return f'<mo fence="true" stretchy="true">{sign}</mo>'

    def _words(self, command, text):
        """Upright letters: words among the signs, a name, or a function, which keeps its distance."""
        text = html.escape(text)
        if command == "text":
            return f"<mtext>{text.replace(' ', chr(0xA0))}</mtext>"
        if command == "operatorname" and self.next not in ("(", "[", "_", "^", "}", r"\left", ""):
            text += "\u2009"
        return f'<mi mathvariant="normal">{text}</mi>' if len(text) == 1 else f"<mi>{text}</mi>"


def _one(inside):
    """Several elements side by side as one."""
    single = re.fullmatch(r"<(m\w+)[^>]*>[^<]*</\1>", inside)
    return inside if single else f"<mrow>{inside}</mrow>"
