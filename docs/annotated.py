"""Pages of source with notes: what docstrings and comments say on the left, the code on the right.

A page is made of blocks. A block has a note to the left of its lines: a docstring beside the lines that follow it, or
the comment at a line's end beside that line. The shape in a comment stands in a column of its own, and opens to the
numbers that the line assigned in a traced step. Pointing at a line of ``backward`` lights up the lines of ``forward``
that it inverts, and the other way round, by rules of the page's own style: there is no script.
"""

import ast
import dataclasses
import re
from html import escape
from pathlib import Path

from inverses import comments_of, inverses, lines_of, passes_of
from notes import comment_html, docstring_html
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from traced import of_one_step

from minictr.tracing.page import numbers_html
from minictr.tracing.source import AXES
from minictr.tracing.text import full_name

ROOT = Path(__file__).resolve().parent.parent
ANNOTATED = ("minictr/layers/*.py", "minictr/models/*.py", "minictr/losses.py", "minictr/optim.py",
             "minictr/training/step.py")
MAKING = ("__init__", "build", "initialise")                     # functions that make a layer or model
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
COMMENT = re.compile(r'(?:<span class="w">\s*</span>|\s)*<span class="c1">[^<]*</span>$')


def annotated_paths():
    """The files whose pages have notes."""
    return [path for pattern in ANNOTATED for path in sorted(ROOT.glob(pattern))]


@dataclasses.dataclass
class Block:
    """Lines of code from ``first`` to ``last`` that have one note, the comment of a statement or a docstring."""

    first: int
    last: int
    of_statement: bool = False


class Source:
    """One file: its lines, its docstrings, the comments behind its code, and which lines belong together."""

    def __init__(self, path):
        self.name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        self.lines = text.splitlines()
        self.tree = ast.parse(text)
        self.passes = {function for pair in passes_of(self.tree) for function in pair}
        self.inverses = inverses(path)
        self.docstrings = {}        # {first line of what is documented: (first line of the docstring, last, text)}
        for node in ast.walk(self.tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
                where = 1 if isinstance(node, ast.Module) else _first_line(node)
                self.docstrings[where] = node.body[0].lineno, node.body[0].end_lineno, ast.get_docstring(node)
        beside = self._beside_docstrings()
        self.comments = {line: comment for line, (_, comment) in comments_of(path).items()
                         if line not in beside or AXES.fullmatch(comment)}

    def _beside_docstrings(self):
        """The lines of a class's attributes and of what makes it: the docstring is their note, so comments stay."""
        return {at for node in self.tree.body if isinstance(node, ast.ClassDef) and _first_line(node) in self.docstrings
                for part in node.body if not isinstance(part, ast.FunctionDef) or part.name in MAKING
                for at in range(part.lineno, part.end_lineno + 1)}

    def statements(self, traced):
        """{first line: last line} of what stands alone: lines of forward and backward, with comments, or traced."""
        alone = {}
        for node in ast.walk(self.tree):
            for line in lines_of(node, {}) if isinstance(node, ast.FunctionDef) else ():
                lines = range(line.first, line.last + 1)
                commented = sum(at in self.comments for at in lines)
                if commented > 1:                                 # a dict, with a comment behind each of its lines
                    alone |= {at: at for at in lines}
                elif commented or node in self.passes or line.first in traced:
                    alone[line.first] = line.last
        inside = {at for first, last in alone.items() for at in range(first, last + 1)}
        return alone | {at: at for at in self.comments if at not in inside}

    def blocks(self, traced=()):
        """The blocks of the file, in their order; ``traced``: lines that have numbers."""
        alone = self.statements(traced)
        heads = {_first_line(node) for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)
                 and node.name not in MAKING and any(node.lineno < at <= node.end_lineno for at in alone)}
        in_docstrings = {at for first, last, _ in self.docstrings.values() for at in range(first, last + 1)}
        blocks, at = [], 1
        while at <= len(self.lines):
            if at in alone:
                blocks.append(Block(at, alone[at], of_statement=True))
            elif (at == 1 or at in self.docstrings or at in heads
                  or (blocks[-1].of_statement and at not in in_docstrings)):
                blocks.append(Block(at, at))
            else:
                blocks[-1].last = at
            at = blocks[-1].last + 1
        return blocks

    def comment(self, block):
        """(Shape, all else) that the comment of a statement says."""
        text = " ".join(self.comments[at] for at in range(block.first, block.last + 1) if at in self.comments)
        axes = AXES.fullmatch(text)
        return (f"({axes[1]})", axes[2]) if axes else ("", text)


def _first_line(node):
    return min(part.lineno for part in (node, *getattr(node, "decorator_list", ())))


def page_body(path, traced, link=lambda name: None):
    """The body of a file's page.

    Parameters
    ----------
    path : the file.   traced : what ``traced_lines`` gives.   link : gives the address of a documented name, or None.
    """
    source = Source(path)
    numbers = {}
    for node in source.tree.body:                                 # of each class all from one step, as far as it goes
        numbers |= of_one_step(traced, source.name, range(node.lineno, node.end_lineno + 1))
    partners = partners_of(source.inverses)
    code = highlighted(source)
    blocks = "".join(block_html(source, block, code, partners, numbers.get(block.first), link)
                     for block in source.blocks(numbers))
    parts = ", ".join(f'<a href="#L{_first_line(node)}"><code>{node.name}</code></a>'
                      for node in source.tree.body if isinstance(node, DOCUMENTED))
    title = re.sub("([/_])", r"\1<wbr>", escape(source.name))
    return (f'<h1>{title}</h1>{style_of(source.inverses)}<p class="source-parts">{parts}</p>'
            f'{introduction(source.inverses, numbers)}<div class="annotated highlight">{blocks}</div>')


def introduction(inverted, numbers):
    """What a reader can do with this page, in a paragraph."""
    sentences = []
    if inverted:
        sentences.append("Point at a line of <code>backward</code>, or move to its number with the Tab key: the lines "
                         "of <code>forward</code> that it inverts light up, and the other way round.")
    if numbers:
        sentences.append("A shape with a triangle opens to the numbers of one training step of a tiny model "
                         "(<code>minictr.trace</code>, two rows).")
    return f'<p class="source-help">{" ".join(sentences)}</p>' if sentences else ""


def partners_of(inverted):
    """{line: (what it does to the others, the others)} from {line of backward: lines of forward}."""
    found = {line: ("inverts", others) for line, others in inverted.items()}
    for line in sorted({other for others in inverted.values() for other in others}):
        found[line] = "inverted by", [one for one, others in inverted.items() if line in others]
    return found


def style_of(inverted):
    """The rules by which pointing at a line lights up its partners."""
    pairs = [(line, other) for line, others in inverted.items() for other in others]
    rules = [f".annotated:has(.block:hover #L{one}, #L{one}:focus-within, #L{one}:target) #L{two}"
             for pair in pairs for one, two in (pair, pair[::-1])]
    lit = "background: var(--partner-background); box-shadow: inset 0.3em 0 var(--partner-edge);"
    return f"<style>{', '.join(rules)} {{ {lit} }}</style>" if rules else ""


def highlighted(source):
    """The lines of a file as HTML in colours, without the comments that stand in the notes."""
    text = "\n".join(source.lines) + "\n"
    lines = highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).split("\n")
    return [COMMENT.sub("", line) if at in source.comments else line for at, line in enumerate(lines, 1)]


def block_html(source, block, code, partners, arrays, link):
    """One block: its note, its lines, its shape with the numbers of ``arrays``."""
    shape, note, places, without = "", "", "", ()
    if block.of_statement:
        shape, comment = source.comment(block)
        note = comment_html(comment)
    elif block.first in source.docstrings:
        first, last, text = source.docstrings[block.first]
        note, without = docstring_html(text, link), range(first, last + 1)
        places = "".join(f'<span id="L{at}"></span>' for at in without)          # links to these lines lead here
    if block.first in partners:
        words, others = partners[block.first]
        links = ", ".join(f'<a href="#L{at}" title="{escape(source.lines[at - 1].strip())}">{at}</a>' for at in others)
        note += f' <span class="partners">{words} <span class="screen-reader">line </span>{links}</span>'
    note = f'<div class="note">{places}{note}</div>' if note or places else ""
    lines = "".join(line_html(at, code[at - 1]) for at in range(block.first, block.last + 1) if at not in without)
    kind = "of-statement" if block.of_statement else "of-lines"
    return f'<div class="block {kind}">{note}<div class="lines">{lines}</div>{shape_html(shape, arrays)}</div>'


def line_html(at, html):
    """One line with its number, which links to it; a line that is too long goes on below its indentation."""
    indent = len(re.match(r'(?:<span class="w">)?(\s*)', html)[1])
    code = f'<span class="code" style="--indent: {indent}">{html}</span>' if html.strip() else ""
    return f'<div class="line" id="L{at}"><a class="number" href="#L{at}" aria-label="line {at}">{at}</a>{code}</div>'


def shape_html(shape, arrays):
    """The column of shapes: where a traced step ran the line, it opens to the numbers."""
    if arrays is None:
        return f'<div class="shape">{escape(shape)}</div>' if shape else ""
    tables = "".join(f"<div><b>{escape(full_name(step))}</b> {step.value.shape}{numbers_html(step.value)}</div>"
                     for step in arrays.steps)
    where = arrays.model if arrays.model.startswith(arrays.layer) else f"{arrays.model}: {arrays.layer}"
    return (f'<details class="shape"><summary>{escape(shape or str(arrays.steps[-1].value.shape))}'
            f'<span class="screen-reader">: numbers</span></summary>'
            f'<div class="numbers" tabindex="0">{tables}<div class="where">in {escape(where)}</div></div></details>')
