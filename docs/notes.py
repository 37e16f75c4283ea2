"""Docstrings and the comments at the ends of lines as HTML, their equations typeset."""

import inspect
import re
from html import escape

from docstrings import SYMBOL, to_rst
from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.parsers.rst import Directive, directives, roles
from mathml import mathml
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonConsoleLexer

from minictr.typeset import inline, symbol, translate

# a symbol among words, as a_ij, X^{l-1} or "with respect to W"
SCRIPT = r"[_^](?:\{[^{}]*\}|[A-Za-z0-9]{1,2}(?![A-Za-z0-9]))"
IN_WORDS = re.compile(rf"(?<![\w.])[A-Za-z][~']?(?:{SCRIPT})+|{SYMBOL.pattern}|(?<=with respect to )[A-Za-z]\b")
QUIET = {"report_level": 2, "halt_level": 2, "file_insertion_enabled": False, "raw_enabled": True,
         "syntax_highlight": "none"}


class AsciiEquations(Directive):
    """A block of a docstring that is made of equations; see ``equations.translate``."""

    has_content = True

    def run(self):
        rows = translate(list(self.content))
        cells = []
        for row in rows:
            left = mathml(row.left, "block", row.source)          # the whole equation in ASCII, for screen readers
            right = mathml(row.right, "block") if row.right else ""
            both = f'<td class="left">{left}</td><td class="right">{right}</td>'
            if not row.right:
                both = f'<td class="right" colspan="2">{left}</td>'
            cells.append(f'<tr>{both}<td class="remark">{escape(row.remark.replace("``", ""))}</td></tr>')
        html = f'<div class="equations" tabindex="0"><table role="presentation">{"".join(cells)}</table></div>'
        return [nodes.raw("", html, format="html")]


def docstring_html(text, link=lambda name: None):
    """A docstring as HTML.

    ``link`` gives the address of what a name in code quotes stands for, or None.
    """
    addresses = {}

    def known(name):
        addresses[name] = link(name)
        return name if addresses[name] else None

    def typeset_role(role, raw, content, line, inliner, options=None, content_lines=()):
        return [nodes.raw("", mathml(inline(content) or symbol(content), "inline", content), format="html")], []

    def named_role(role, raw, content, line, inliner, options=None, content_lines=()):
        shown, name = re.fullmatch(r"(.*) <(.*)>", content).groups()
        html = f'<a href="{escape(addresses[name])}"><code>{escape(shown)}</code></a>'
        return [nodes.raw("", html, format="html")], []

    # names of its own: those of the site's other pages are Sphinx's
    roles.register_local_role("note-math", typeset_role)
    roles.register_local_role("note-name", named_role)
    directives.register_directive("note-equations", AsciiEquations)
    rst = "\n".join(to_rst(inspect.cleandoc(text).split("\n"), known))
    for name, own in ((":ascii-math:`", ":note-math:`"), (":py:obj:`", ":note-name:`"),
                      (".. ascii-equations::", ".. note-equations::"), (".. code-block:: text", "::")):
        rst = rst.replace(name, own)
    tree = publish_doctree(rst, settings_overrides=QUIET)
    for example in list(tree.findall(nodes.doctest_block)):
        code = highlight(example.astext(), PythonConsoleLexer(), HtmlFormatter(nowrap=True))
        example.replace_self(nodes.raw("", f'<pre class="example" tabindex="0">{code.rstrip()}</pre>', format="html"))
    page = publish_from_doctree(tree, writer="html5", settings_overrides={
        "output_encoding": "unicode", "embed_stylesheet": False, "stylesheet_path": "", "doctitle_xform": False})
    page = re.search(r"<main[^>]*>(.*)</main>", page, re.S)[1].strip()
    return re.sub(r'<span class="docutils literal">(.*?)</span>', r"<code>\1</code>", page, flags=re.S)


def comment_html(text):
    """The comment at a line's end as HTML: an equation or sum at its beginning is typeset, the rest are words.

    >>> comment_html("one value a slot")
    'one value a slot'
    """
    pieces = []
    for piece in re.split(r"\s{2,}|(?<=^the same: )", text):
        for end in sorted({len(piece), *(found.start() for found in re.finditer(r"[:;,] ", piece))}, reverse=True):
            formula = formula_html(piece[:end])
            if formula:
                pieces.append(formula + words_html(piece[end:]))
                break
        else:
            pieces.append(words_html(piece))
    return " ".join(pieces)


def formula_html(text):
    """An equation, or one side of one, as MathML; None if the text has words in it."""
    if not re.search(r"[_^.*=/<\[(+-]|^[A-Z]( [A-Z])*$", text) or re.search(r"[a-z]{3,}_[a-z]{3,}", text):
        return None                                               # words, or names of the code such as first_order
    rows = translate([text]) or translate([f"x = {text}"])
    if not rows or len(rows) > 1 or rows[0].remark:
        return None
    [row] = rows
    latex = f"{row.left} {row.right}" if row.source == text else row.right.removeprefix("= ")
    words = " ".join(re.findall(r"\\text\{ (.*?) \}", latex)).split()
    return None if set(words) - {"where", "else", "of", "all"} else mathml(latex, "inline", text)


def words_html(text):
    """Words as HTML; symbols in them, such as a_ij, are typeset."""
    html, end = "", 0
    for found in IN_WORDS.finditer(text):
        latex = symbol(found[0])
        if latex:
            html += escape(text[end:found.start()], quote=False) + mathml(latex, "inline", found[0])
            end = found.end()
    return html + escape(text[end:], quote=False)
