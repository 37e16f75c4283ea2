"""LaTeX as MathML, which browsers show without any script.

latex2mathml does the translation. What it leaves for browsers to guess, or writes in a way that they no longer
support, is put right here: brackets and semicolons that it takes for letters, bold letters, the space around function
names, and commands that it does not know and would show as text.
"""

import re
import xml.etree.ElementTree as ET

from latex2mathml.converter import convert

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
OPENING, CLOSING = "⟨⌊⌈", "⟩⌋⌉"
# where the letters and digits of a variant begin in Unicode: browsers know no mathvariant but "normal"
VARIANTS = {"bold": (0x1D400, 0x1D41A, 0x1D7CE), "bold-italic": (0x1D468, 0x1D482, 0x1D7CE),
            "double-struck": (0x1D538, 0x1D552, 0x1D7D8), "monospace": (0x1D670, 0x1D68A, 0x1D7F6),
            "sans-serif": (0x1D5A0, 0x1D5BA, 0x1D7E2)}
PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "mover": 2, "munder": 2, "msubsup": 3, "munderover": 3}
FUNCTIONS = {"log", "exp", "ln", "max", "min", "sin", "cos", "tanh", "arg", "Pr", "det", "dim", "lim"}


class UnknownLatex(ValueError):
    """A formula that cannot be shown."""


def mathml(latex, display="inline", plain=""):
    """One ``<math>`` element, as text.

    ``plain`` is the same formula for programs that cannot read MathML; it is LaTeX if not given.

    >>> "<mi>x</mi>" in mathml("x^2")
    True
    """
    try:
        root = ET.fromstring(convert(_prepared(latex), display=display))
    except Exception as error:        # latex2mathml lets errors of any kind through
        raise UnknownLatex(f"{latex!r}: {type(error).__name__} {error}") from error
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    _correct(root)
    left = [element.text for element in root.iter() if "\\" in (element.text or "") or element.text == "&"]
    left += [element.tag for element in root.iter() if len(element) != PARTS.get(element.tag, len(element))]
    if left:
        raise UnknownLatex(f"{latex!r}: cannot show {', '.join(left)}")
    root.set("alttext", " ".join((plain or latex).split()))
    return ET.tostring(root, encoding="unicode")


def _prepared(latex):
    """The formula in the words that latex2mathml knows."""
    latex = re.sub(r"\\(begin|end)\{(aligned|split|gathered|align)\}", r"\\\1{align*}", latex.strip())
    latex = re.sub(r"\\mathrm\s*\{([A-Za-z])\}", r"\\text{\1}", latex)          # or one upright letter is italic
    latex = re.sub(r"\\(boldsymbol|bm)\b", r"\\mathbf", latex)
    return re.sub(r"\\(dots[bcmo])\b", r"\\dots", latex)


def _correct(parent):
    children = list(parent)
    for number, element in enumerate(children):
        _correct(element)
        text = element.text or ""
        if element.tag == "mi" and text and text in OPENING + CLOSING + "‖":
            element.tag = "mo"
            element.attrib.update(fence="true", stretchy="false", lspace="0", rspace="0")
        elif element.tag == "mi" and text == ";":
            element.tag = "mo"
            element.attrib.update(separator="true", lspace="0", rspace="0.28em")
        elif element.tag in ("mi", "mo") and re.fullmatch(r"[A-Za-z]{2,}", text):
            element.tag = "mi"
            element.attrib.clear()
            element.text = text + ("" if text not in FUNCTIONS or _bracket_follows(children, number) else "\u2009")
        variant = element.get("mathvariant")
        if variant in VARIANTS:
            del element.attrib["mathvariant"]
            element.text = "".join(_variant(letter, VARIANTS[variant]) for letter in text)


def _bracket_follows(children, number):
    following = children[number + 1] if number + 1 < len(children) else None
    first = next((part for part in following.iter() if part.text), None) if following is not None else None
    return first is None or first.text in "([{|"


def _variant(letter, starts):
    for first, start in zip("Aa0", starts, strict=True):
        offset = ord(letter) - ord(first)
        if 0 <= offset < (10 if first == "0" else 26):
            return chr(start + offset)
    return letter
