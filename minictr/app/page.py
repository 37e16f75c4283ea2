"""A page in HTML, in one file: the frame with style and script, and the paragraphs, tables and pictures in it."""

import base64
import hashlib
import html
import io
from pathlib import Path

import numpy as np

from ..text import printable

DPI, SHOWN = 110, 82          # pixels to an inch of a picture: drawn, and on the page, where print stays sharp


def text_of(name):
    """The text of a file that lies beside this one; on the page it begins on the line after its tag."""
    return "\n" + Path(__file__).with_name(name).read_text(encoding="utf-8")


STYLE = text_of("page.css")
# Without script the tables are complete; what needs it (buttons, the text box) is made by it.
SCRIPT = text_of("page.js")


def page(title, table_name, sections):
    """The whole document, from (anchor, heading, list of HTML) of each section."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    links = "\n".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading, _ in sections)
    body = "\n".join(f'<section id="{anchor}">\n<h2>{heading}</h2>\n' + "\n".join(parts) + "\n</section>"
                     for anchor, heading, parts in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>On the rows of {escape(table_name)}.</p>
<nav aria-label="Sections">
{links}
</nav>
</header>
<main>
{body}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def escape(text):
    """Text as HTML shows it, markup and quotes included; control characters as ``printable`` has them.

    >>> escape("<script>")
    '&lt;script&gt;'
    """
    return html.escape(printable(str(text), keep="\n"))


def paragraph(text):
    """One paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def html_table(heads, rows, caption, numbers=(), sortable=False):
    """A table of texts and numbers; the columns ``numbers`` stand to the right."""
    def cell(column, value):
        if column not in numbers:
            return f"<td>{escape(value)}</td>"
        if isinstance(value, str):
            return f'<td class="n">{escape(value)}</td>'
        sort_by = "" if np.isnan(value) else repr(float(value))
        return f'<td class="n" data-value="{sort_by}">{number(value)}</td>'

    head = "".join(f'<th scope="col"{" class=n" * (column in numbers)}>{escape(name)}</th>'
                   for column, name in enumerate(heads))
    lines = ("".join(cell(column, value) for column, value in enumerate(row)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    # The caption stands outside the box that scrolls: on a phone it would be cut off in there.
    return (f'<p class="caption">{escape(caption)}</p>\n<div class="scroll" tabindex="0" role="region" '
            f'aria-label="table">\n<table{" class=sortable" * sortable}>\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody></table>\n</div>")


def number(value):
    """A number with 4 digits, whole ones with separators; a dash for none.

    >>> number(1234), number(0.12345), number(float("nan"))
    ('1,234', '0.1235', '–')
    """
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return "–" if np.isnan(value) else f"{value:.4g}"


def share(value):
    """A share of 1 as percents.

    >>> share(0.0), share(0.1234)
    ('0 %', '12.3 %')
    """
    return f"{100 * value:.3g} %"


def picture(axes, description, caption):
    """The figure of the Axes as an inline PNG, with what it shows and how to read it."""
    figure, file = axes.flat[0].figure, io.BytesIO()
    figure.savefig(file, dpi=DPI, format="png", metadata={"Software": None})      # else it names the version
    width, height = (round(SHOWN * inches) for inches in figure.get_size_inches())
    data = base64.b64encode(file.getvalue()).decode()
    return (f'<figure><div class="scroll" tabindex="0" role="region" aria-label="picture"><img '
            f'{"class=wide " * (width > 500)}width="{width}" height="{height}" alt="{escape(description)}" '
            f'src="data:image/png;base64,{data}"></div><figcaption>{escape(caption)}</figcaption></figure>')
