"""What this site needs of Sphinx beyond its own: MathML, typeset docstrings, pages of source, links that also work
on GitHub.
"""

import functools
import importlib
import inspect
import os
import re
from html import escape
from pathlib import Path

import steps
from annotated import annotated_paths, page_body
from docstrings import to_rst
from docutils import nodes
from downloads import offer, write_downloads
from fonts import write_math_font
from mathml import UnknownLatex, mathml
from notes import AsciiEquations
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.util import logging
from traced import traced_lines

from minictr.typeset import inline, symbol

LOGGER = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent
# [text](path#L12), as GitHub understands it
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^()\s#\"]+)(#[^()\s\"]*)?\)")


# ------------------------------------------------------------------------------------------------------ maths

def visit_math(translator, node):
    """Inline maths, from $...$ and from docstrings."""
    translator.body.append(_math(node, "inline"))
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """Displayed maths: on a line of its own, which scrolls where the screen is narrow."""
    translator.body.append(f'<div class="math-block" tabindex="0">{_math(node, "block")}</div>')
    raise nodes.SkipNode


def _math(node, display):
    try:
        return mathml(node.astext(), display, node.get("ascii", ""))
    except UnknownLatex as error:
        LOGGER.warning("this formula cannot be typeset: %s", error, location=node, type="minictr", subtype="math")
        return f"<code>{escape(node.astext())}</code>"


def ascii_math(name, rawtext, content, lineno, inliner, options=None, content_lines=()):
    """The role of an equation in a docstring's running text."""
    latex = inline(content) or symbol(content)
    return [nodes.math(rawtext, latex, ascii=content)], []


# ------------------------------------------------------------------------------------------------- docstrings

def public_names():
    """The full name of everything that a package lists in ``__all__``, by its short name."""
    packages = ["minictr.models", "minictr.layers", "minictr.explain", "minictr.plots", "minictr.datasets",
                "minictr.tracing"]
    names = {name: f"{package}.{name}" for package in reversed(packages)
             for name in importlib.import_module(package).__all__}
    for module, in_module in (("minictr.fields", ("Categorical", "MultiValued", "Numerical", "TableEncoder")),
                              ("minictr.slots", ("Slots",)), ("minictr.gradcheck", ("check_gradients",)),
                              ("minictr.losses", ("LogLoss", "SquaredLoss")),
                              ("minictr.optim", ("SGD", "Adagrad", "Adam"))):
        names |= {name: f"{module}.{name}" for name in in_module}
    names |= {f"{full.split('.')[1]}.{name}": full for name, full in list(names.items())}
    return names


def process_docstring(app, what, name, obj, options, lines):
    """From the package's plain text to reStructuredText."""
    known = app.env.minictr_names if hasattr(app.env, "minictr_names") else public_names()
    app.env.minictr_names = known
    own = name.split(".")[-1]
    lines[:] = to_rst(lines, lambda word: known.get(word.removeprefix("minictr.")) if word != own else None)


# ----------------------------------------------------------------------------------- links and pages of source

def rewrite_links(app, docname, source):
    """Links to Python files become links to the site's pages of source; the file is left as GitHub needs it."""
    folder = Path(app.env.doc2path(docname)).parent

    def rewritten(found):
        words, path, anchor = found[1], found[2], found[3] or ""
        target = Path(os.path.normpath(folder / path))
        if path.endswith(".py") and target.is_file() and target.is_relative_to(ROOT):
            return f"[{words}](source:{target.relative_to(ROOT).as_posix()}{anchor})"
        if app.config.minictr_unfinished and not target.exists():
            LOGGER.info("%s: not written yet: %s", docname, path)
            return words
        return found[0]

    source[0] = LINK.sub(rewritten, source[0])


def resolve_source_links(app, doctree, docname):
    """From source:minictr/models/fm.py#L12 to the address of the page, seen from this page."""
    for node in doctree.findall(nodes.reference):
        uri = node.get("refuri", "")
        if uri.startswith("source:"):
            path, _, line = uri.removeprefix("source:").partition("#")
            page = app.builder.get_relative_uri(docname, source_page(path))
            node["refuri"] = page + (f"#{line.split('-')[0]}" if line else "")


def source_page(path):
    """The name of the page that shows a file."""
    return f"source/{path.removesuffix('.py')}"


def collect_source_pages(app):
    """A page for each module of the package, and for each other Python file that a page links to."""
    paths = {path.relative_to(ROOT).as_posix() for path in (ROOT / "minictr").rglob("*.py")}
    for docname in app.env.found_docs:
        page = Path(app.env.doc2path(docname))
        for _, target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            path = Path(os.path.normpath(page.parent / target))
            if path.suffix == ".py" and path.is_file():
                paths.add(path.relative_to(ROOT).as_posix())
    formatter = HtmlFormatter(linenos="inline", linespans="L", wrapcode=True)
    annotated = {path.relative_to(ROOT).as_posix() for path in annotated_paths()}
    names, traced = public_names(), traced_lines()
    for path in sorted(paths):
        if path in annotated:
            body = page_body(ROOT / path, traced, functools.partial(documented_at, app, source_page(path), names))
            yield source_page(path), {"title": path, "body": body}, "page.html"
            continue
        code = highlight((ROOT / path).read_text(encoding="utf-8"), PythonLexer(), formatter)
        code = code.replace('<span id="L-', '<span class="line" id="L')          # GitHub's names: #L12
        body = f'<h1>{escape(path)}</h1><div class="source-page">{code}</div>'
        yield source_page(path), {"title": path, "body": body}, "page.html"


def collect_step_pages(app):
    """The ready pages of one training step beside the site's own, and a page that lists them."""
    if app.builder.format == "html":
        sizes = steps.write_all(Path(app.outdir) / "steps")
        yield "steps/index", {"title": "One training step to touch", "body": steps.index(sizes)}, "page.html"


def documented_at(app, page, names, name):
    """The address of a public name's place in the reference, seen from a page; None if it is not there."""
    found = app.env.get_domain("py").objects.get(names.get(name.removeprefix("minictr.")))
    return f"{app.builder.get_relative_uri(page, found.docname)}#{found.node_id}" if found else None


def linkcode_resolve(domain, info):
    """Where the source of a documented object is, seen from the pages in docs/api."""
    if domain != "py" or not info["module"]:
        return None
    thing = importlib.import_module(info["module"])
    try:
        for part in info["fullname"].split("."):
            thing = getattr(thing, part)
        thing = inspect.unwrap(thing.fget if isinstance(thing, property) else thing)
        path = Path(inspect.getsourcefile(thing)).resolve().relative_to(ROOT)
        line = inspect.getsourcelines(thing)[1]
    except (AttributeError, OSError, TypeError, ValueError):      # an instance, or not from this package
        return None
    return f"../../{source_page(path.as_posix())}.html#L{line}"


def write_front_door(app, exception):
    """The site's address itself leads to its first page."""
    if exception is None and app.builder.format == "html":
        first = f"{app.config.root_doc}.html"
        (Path(app.outdir) / "index.html").write_text(
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>minictr</title>\n'
            f'<meta http-equiv="refresh" content="0; url={first}"></head>\n'
            f'<body><a href="{first}">minictr</a></body></html>\n', encoding="utf-8")


def write_fonts(app, exception):
    """The font of the equations, which is not kept in the repository."""
    if exception is None and app.builder.format == "html":
        write_math_font(Path(app.outdir) / "_static" / "math.woff")


def setup(app):
    """Called by Sphinx."""
    app.add_config_value("minictr_unfinished", False, "env", types=[bool])
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_role("ascii-math", ascii_math)
    app.add_directive("ascii-equations", AsciiEquations)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("source-read", rewrite_links)
    app.connect("doctree-resolved", resolve_source_links)
    app.connect("html-collect-pages", collect_source_pages)
    app.connect("html-collect-pages", collect_step_pages)
    app.connect("html-page-context", offer)
    app.connect("build-finished", write_downloads)
    app.connect("build-finished", write_front_door)
    app.connect("build-finished", write_fonts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
