"""Equations as the docstrings write them, typeset: from ASCII to LaTeX, and from there to MathML."""

from .equations import Row, formula, inline, symbol, translate
from .mathml import NotTypeset, mathml

__all__ = ["NotTypeset", "Row", "formula", "inline", "mathml", "symbol", "translate"]
