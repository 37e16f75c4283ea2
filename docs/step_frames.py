"""Pages of one training step within the site's pages.

A notebook says in a sentence how to make such a page; it begins with **To touch** and names the command, such as
``minictr trace --model afm --out steps``. On the site the ready-made page, steps/afm.html, stands in its place.
"""

import re
from html import escape

from docutils import nodes

COMMAND = re.compile(r"minictr trace --model (\w+) --out steps")


def model_of(paragraph):
    """The model of a paragraph that says how to make a page; None for any other paragraph.

    >>> said = nodes.paragraph("", "", nodes.strong("", "To touch"), nodes.Text(": "),
    ...                        nodes.literal("", "minictr trace --model afm --out steps"), nodes.Text(" writes it."))
    >>> model_of(said), model_of(nodes.paragraph("", "minictr trace --model afm --out steps"))
    ('afm', None)
    """
    first = next((part for part in paragraph.children if part.astext()), None)      # MyST begins with an empty text
    if not isinstance(first, nodes.strong) or first.astext() != "To touch":
        return None
    found = COMMAND.search(paragraph.astext())
    return found[1] if found else None


def frame(model, name, folder):
    """The page of a model in a frame, with a link to it; ``folder`` leads from the page to the pages of steps."""
    address, command = escape(f"{folder}/{model}.html"), f"minictr trace --model {escape(model)} --out steps"
    return (f'<figure class="step"><iframe src="{address}" title="One training step of {escape(name)}" loading="lazy">'
            f"</iframe><figcaption>One training step of {escape(name)}: point at a number. It stands also on "
            f'<a href="{address}">a page of its own</a>; <code>{command}</code> makes it on your computer.'
            "</figcaption></figure>")


def put_frames(app, doctree, docname):
    """Put the pages in the place of the sentences that say how to make them."""
    if app.builder.format != "html":
        return
    from minictr.estimator.registry import library_models

    names = {name.lower(): name for name in library_models()}
    for paragraph in list(doctree.findall(nodes.paragraph)):
        model = model_of(paragraph)
        if model is not None:
            folder = "/".join([*[".."] * docname.count("/"), "steps"])
            paragraph.replace_self(nodes.raw("", frame(model, names[model], folder), format="html"))


def setup(app):
    """Called by Sphinx."""
    app.connect("doctree-resolved", put_frames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
