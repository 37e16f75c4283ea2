"""The page of one training step: one HTML file, in which every number says which numbers made it.

What the page knows is the data of ``graph``: the nodes, the arrays that hold them, the leaves' values. All values, what
a cell reads, the arithmetic and what follows from a change are worked out in the page, by the scripts beside this file.
"""

import base64
import hashlib
import html
import json
import re
from pathlib import Path

from ..text import printable
from ..typeset import mathml, symbol, translate

SCRIPTS = ("step_values.js", "step_words.js", "step_layout.js", "step_inputs.js", "step_page.js")


def text_of(name):
    """The text of a file that lies beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


STYLE = "\n" + text_of("step_page.css")
SCRIPT = "\n'use strict';\n" + "\n".join(map(text_of, SCRIPTS))


def page_html(data):
    """Return the page's text, from the data of a traced step.

    Parameters
    ----------
    data : what ``graph.page_data`` gives.

    Raises: ValueError for an operation that the page's script cannot compute.
    """
    known = known_operations()
    if unknown := sorted(set(data["ops"]) - known):
        raise ValueError(f"a page cannot compute {', '.join(unknown)}: it knows {', '.join(sorted(known))}")
    arrays = [{**array, **typeset(array)} for array in data["arrays"]]
    policy = f"default-src 'none'; style-src '{digest(STYLE)}'; script-src '{digest(SCRIPT)}'"
    title = html.escape(printable(f"One training step of {data['model']}"))
    return PAGE.format(policy=policy, title=title, style=STYLE, script=SCRIPT, lead=lead(data),
                       data=json_text({**data, "arrays": arrays}))


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{lead}
<noscript><p>This page is drawn by its own script, which this browser does not run.</p></noscript>
</header>
<main></main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def lead(data):
    """What one sees, and what to try first."""
    rows = len(data["X"])
    return (f'<p class="lead">{rows} row{"s" * (rows != 1)}, one step: forward from left to right, each gradient below '
            "its array, the update at the end; orange is above 0, blue below. <strong>Point at a number</strong> to "
            "see what it was made of. <strong>Change one</strong>, and all that depends on it is computed again.</p>")


def known_operations():
    """The names of the operations that the script computes, as it lists them."""
    tables = re.findall(r"^const (?:ONE|TWO|MANY) = \{(.*?)\};$", text_of("step_values.js"), re.M | re.S)
    names = re.findall(r"(?:^|[\s{])(\w+): (?:\(|[a-z] =>|Math\.)", "\n".join(tables), re.M)
    return {"leaf", "const", *names}


def typeset(array):
    """The typeset forms of what is written above an array: its name, its equation, what it is the derivative of."""
    return {"name_math": name_math(array["notation"] or array["symbol"]),
            "equation_math": equation_math(array["equation"]),
            "derivative_math": equation_math(array.get("derivative", ""))}


def name_math(text):
    """A name, as MathML if it is a symbol, such as a_ij or dL/dp_ij (pool).

    >>> name_math("t")
    '<math alttext="t" display="inline"><mi>t</mi></math>'
    >>> name_math("dL/dp_ij (pool)")[-14:], name_math("first_order"), name_math("a < b!")
    ('</math> (pool)', 'first_order', 'a &lt; b!')
    """
    slope, name, use = re.fullmatch(r"(dL/d)?(.*?)( \(.*\))?", text, re.S).groups()
    latex = symbol(name) if re.match(r"[A-Za-z]\d?['~^]*(_|\^|$)|out$", name) else None
    shown = mathml(latex, plain=name) if latex else html.escape(printable(name))
    if slope:
        shown = f"<span class=\"slope\">∂<i>L</i>/∂</span>{shown}"
    return shown + html.escape(printable(use or ""))


def equation_math(text):
    """An equation as MathML; a left side that is a word stays one.

    >>> equation_math("wx = w_s")[:23], equation_math("")
    ('wx <math alttext="= w_s', '')
    """
    rows = translate([text])
    if not rows:
        return html.escape(printable(text))
    word = re.match(r"(?!out |d[A-Za-z]\b|d[A-Za-z]_)[A-Za-z]{2,}(_[a-z]{2,})?(?= = )", text)
    if word:
        return f"{word[0]} {mathml(rows[0].right, plain=text.removeprefix(word[0]))}"
    return mathml(f"{rows[0].left} {rows[0].right}", plain=text)


def digest(text):
    """What the page's policy calls a style or a script that it lets a browser use."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def json_text(data):
    """JSON that may stand in a page: no tag can begin or end in it.

    >>> json_text({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return re.sub(r"[<>&\u2028\u2029]", lambda sign: f"\\u{ord(sign[0]):04x}", text)
