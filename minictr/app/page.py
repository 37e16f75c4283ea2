"""A page in HTML, in one file: the frame with style and script, and the paragraphs, tables, bars and pictures in it."""

import base64
import hashlib
import html
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..text import printable

LONGEST_TEXT = 300          # characters of a name or a value, at most: a cell may hold a whole document


def text_of(name):
    """The text of a file that lies beside this one; on the page it begins on the line after its tag."""
    return "\n" + Path(__file__).with_name(name).read_text(encoding="utf-8")


STYLE = text_of("page.css")
# Without script all of the page is there to read; what needs it (buttons, the text box) is made by it.
SCRIPT = text_of("page.js")


def page(title, table_name, sections):
    """The whole document, from (anchor, heading, list of HTML) of each section."""
    policy = f"default-src 'none'; img-src data:; style-src '{digest(STYLE)}'; script-src '{digest(SCRIPT)}'"
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
<div class="unseen" role="status"></div>
<script>{SCRIPT}</script>
</body>
</html>
"""


def digest(text):
    """What the page's policy calls a style or a script that it lets a browser use."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def escape(text):
    """Text as HTML shows it, markup and quotes included; control characters as ``printable`` has them; not too long.

    >>> escape("<script>"), len(escape("long" * 1000))
    ('&lt;script&gt;', 301)
    """
    text = str(text)
    return html.escape(printable(text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…", keep="\n"))


def breakable(text):
    """HTML's text in which a line may break after each underscore, and not within words before that."""
    return text.replace("_", "_<wbr>")


def sentence(text):
    """As ``escape``, of any length: for what the page itself says."""
    return html.escape(printable(text, keep="\n"))


def paragraph(text):
    """One paragraph of plain text, of any length."""
    return f"<p>{sentence(text)}</p>"


class Cell(NamedTuple):
    """A table's cell that is more than a text or a number: its HTML, and the number that it is sorted by, if any."""

    html: str
    sort_by: float | None = None


def html_table(heads, rows, caption, label, numbers=(), sortable=False, sorted_by=None):
    """A table of texts, numbers and Cells; the columns ``numbers`` stand to the right, the first one heads its rows.

    label : what a screen reader calls the table.   sorted_by : the column by which it comes sorted, largest first.
    """
    def cell(column, value):
        if isinstance(value, str):
            value = Cell(breakable(escape(value)))
        elif not isinstance(value, Cell):
            value = Cell(number(value), value)
        tag, attributes = ('th scope="row"', "") if column == 0 else ("td", ' class="n"' * (column in numbers))
        if sortable and value.sort_by is not None:
            attributes += f' data-value="{"" if np.isnan(value.sort_by) else format(value.sort_by, ".8g")}"'
        return f"<{tag}{attributes}>{value.html}</{tag[:2]}>"

    head = "".join(f'<th scope="col"{" class=n" * (column in numbers)}'
                   f'{" aria-sort=descending" * (column == sorted_by)}>{escape(name)}</th>'
                   for column, name in enumerate(heads))
    body = "\n".join(f"<tr>{''.join(cell(column, value) for column, value in enumerate(row))}</tr>" for row in rows)
    # The caption stands outside the box that scrolls: on a phone it would be cut off in there.
    return (f'<p class="caption">{sentence(caption)}</p>\n<div class="scroll" tabindex="0" role="region" '
            f'aria-label="{escape(label)}">\n<table{" class=sortable" * sortable}>\n<thead><tr>{head}</tr></thead>\n'
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


def bar(low, high, *spans, mark=0.0, signed=True):
    """Bars from start to end, for each of the ``spans``, on an axis from low to high, with a line at ``mark``.

    A bar is blue where it goes down and orange where it goes up, or of one colour if not ``signed``; its number has to
    stand beside it. They are drawn, as a browser leaves out coloured boxes in print.
    """
    scale = 100 / ((high - low) or 1)
    bars = ""
    for start, end in spans:
        left, right = ((min(max(place, low), high) - low) * scale for place in sorted((start, end)))
        kind = ("up" if end >= start else "down") if signed else "size"
        bars += f'<rect class="{kind}" x="{left:.1f}" width="{max(right - left, 0.3):.1f}" height="8"/>'
    if low <= mark <= high:
        bars += f'<rect class="mark" x="{(mark - low) * scale - 0.15:.1f}" width="0.3" height="8"/>'
    return f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'


def panel(group, name, heading, parts, printed=True):
    """One of several articles, of which the page shows one at a time; without script all, on paper the ``printed``."""
    return (f'<article class="panel{"" if printed else " unprinted"}" data-group="{group}" id="{name}" '
            f'aria-labelledby="{name}-head">\n'
            f'<h3 id="{name}-head" tabindex="-1">{heading}</h3>\n' + "\n".join(parts) + "\n</article>")


def picture(svg, width, height, description, caption):
    """A picture, drawn as SVG, with what it shows and how to read it; sizes in inches."""
    data = base64.b64encode(svg.encode()).decode()
    return (f'<figure><img width="{round(82 * width)}" height="{round(82 * height)}" alt="{sentence(description)}" '
            f'src="data:image/svg+xml;base64,{data}"><figcaption>{sentence(caption)}</figcaption></figure>')
