"""The package's docstrings as reStructuredText, for Sphinx.

In the source they are plain text in numpy style, with little in them for a documentation tool. ``to_rst`` finds what
is meant: sections, entries such as ``k : size.   t : units.``, examples, lists, tables, and indented blocks, which
become typeset equations where ``equations`` understands them. All else is text, whatever signs it has in it.
"""

import re
import textwrap

from minictr.typeset import inline, symbol, translate

UNDERLINE = re.compile(r"-{4,}$")
NAMES = r"\*{0,2}[A-Za-z][\w.]*(?:, \*{0,2}[A-Za-z]\w*)*"
ENTRY = re.compile(rf"({NAMES}) : ")
NEXT_ENTRY = re.compile(rf"\s{{2,}}(?={NAMES} : )")
LEADS = r"(?:Backward|Raises|Returns|Shapes|Source|Units|Paper vs\. code|Parameters to train)"
LEAD = re.compile(rf"({LEADS})((?: \([^)]*\))?(?::|, with ))\s*")
NEXT_LEAD = re.compile(rf"(?<=[.)])\s+(?={LEADS}: )")
OPTION = re.compile(r'(?:None|(?:"\w+"(?: or )?)+): ')
TABLE = re.compile(r"=+(\s+=+)+\s*$")
TYPE = re.compile(r"(str|int|bool|dict|DataFrame|Path)(, \w+)*( or \w+)?$")
# What is not escaped: code, addresses, *stress* and **strong stress**.
KEPT = re.compile(r"(``.+?``|`[^`]+`|https?://[^\s,;)]*[^\s,;).]|\*\*\w[^*]*\*\*|(?<![\w*])\*\w[^*]*\w\*(?![\w*]))")
SYMBOL = re.compile(r"(?<![\w.])(?!n_in)(?:sum_(?:\w+|\{[^}]*\})"
                    r"|d?[A-Za-z][~']?(?:_(?:\w\w?|Res)(?!\w)|\^[T\d](?!\w)))")


def to_rst(lines, link=lambda name: None):
    """The lines of one docstring as lines of reStructuredText.

    ``link`` gives the full name of what a name in code quotes stands for, or None.
    """
    result = []
    for heading, body in _sections(lines):
        if heading:
            result += [f".. rubric:: {text(heading, link)}", ""]
        if heading and heading not in ("Notes", "Examples"):
            entries, body = _entries_and_rest(body)
            result += _definitions(entries, link)
        result += _running(body, link)
    return result


def equation_blocks(lines):
    """The indented blocks of a docstring's running text, which may be equations: lists of lines."""
    blocks = []
    for heading, body in _sections(lines):
        if heading and heading not in ("Notes", "Examples"):
            _, body = _entries_and_rest(body)
        blocks += [block for block in _blocks(body) if _kind(block[0]) == "indented"]
    return blocks


def text(plain, link=lambda name: None):
    """Running text, in which no sign has a meaning but code quotes, and equations set off by two blanks.

    >>> print(text("so much of ``AFM`` * 2,  s = w x"))
    so much of ``AFM`` \\* 2, :ascii-math:`s = w x`
    """
    parts = []
    for part in re.split(r"\s{2,}", plain):
        end = re.search(r"[.,;:]?$", part)[0]
        equation = part.removesuffix(end)
        until = next((comma for comma in _ends(equation) if inline(equation[:comma])), None)
        if until is None:
            parts.append(_words(part, link))
        else:
            rest = _words(equation[until:] + end, link)
            parts.append(f":ascii-math:`{equation[:until]}`" + (f"\\ {rest}" if rest else ""))
    return " ".join(parts)


def _ends(equation):
    """Where an equation may end within a piece of text: at its end, or before a comma."""
    return [len(equation), *(found.start() for found in re.finditer(", ", equation))]


def _words(part, link):
    pieces = KEPT.split(part)
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            pieces[number] = _escaped(piece)
        elif piece.startswith("`"):
            code = piece.strip("`")
            target = link(code.removesuffix("()"))
            pieces[number] = f":py:obj:`{code} <{target}>`" if target else f"``{code}``"
        elif piece.startswith("*"):
            pieces[number] = f"\\ {piece}\\ "
    return "".join(pieces)


def _escaped(piece):
    """Text with its signs made harmless, and with a_ij and the like typeset."""
    parts, end = [], 0
    for found in SYMBOL.finditer(piece):
        if symbol(found[0]):
            parts += [_without_meaning(piece[end:found.start()]), f"\\ :ascii-math:`{found[0]}`\\ "]
            end = found.end()
    return "".join([*parts, _without_meaning(piece[end:])]).replace("\\  ", " ").replace(" \\ :", " :")


def _without_meaning(piece):
    return re.sub(r"([\\*_|`])", r"\\\1", piece)


# -------------------------------------------------------------------------------------------------- structure

def _sections(lines):
    """Pairs of a heading ("" before the first) and the lines below it."""
    lines = textwrap.dedent("\n".join(lines)).split("\n")
    sections, start, heading = [], 0, ""
    for number, line in enumerate(lines):
        if UNDERLINE.match(line) and number and lines[number - 1].strip():
            sections.append((heading, lines[start:number - 1]))
            heading, start = lines[number - 1].strip(), number + 1
    return [*sections, (heading, lines[start:])]


def _entries_and_rest(lines):
    """The entries of a section, and what follows them without a heading: after a blank line, neither indented nor
    an entry."""
    for number in range(1, len(lines)):
        line = lines[number]
        if not lines[number - 1].strip() and line.strip() and not line.startswith(" ") and not ENTRY.match(line):
            return lines[:number], lines[number:]
    return lines, []


def _kind(line):
    if line.startswith(">>>"):
        return "example"
    return "indented" if line.startswith(" ") else "table" if TABLE.match(line) else "text"


def _blocks(lines):
    """Lines cut at blank lines, and where text and an indented block meet."""
    blocks, block = [], []
    for line in [*lines, ""]:
        cut = block and _kind(line) != _kind(block[0]) and _kind(block[0]) in ("text", "indented") and not (
            block[0].startswith("- ") or ENTRY.match(block[0]))
        if block and (cut or not line.strip()):
            blocks.append(block)
            block = []
        if line.strip():
            block.append(line)
    return blocks


def _running(lines, link):
    """Paragraphs, examples, equations, lists and tables."""
    result = []
    for block in _blocks(lines):
        kind = _kind(block[0])
        if kind in ("example", "table"):
            result += [*block, ""]
        elif kind == "indented":
            block = textwrap.dedent("\n".join(block)).split("\n")
            directive = ".. ascii-equations::" if translate(block) else ".. code-block:: text"
            result += [directive, "", *(f"   {line}" for line in block), ""]
        elif ENTRY.match(block[0]):
            result += _definitions(block, link)
        elif block[0].startswith("- "):
            items = re.split(r"\n(?=- )", "\n".join(block))
            result += [*(f"- {text(' '.join(item[2:].split()), link)}" for item in items), ""]
        else:
            for part in NEXT_LEAD.split(" ".join(block)):
                result += [_paragraph(part, link), ""]
    return result


def _paragraph(plain, link):
    plain = plain.removesuffix(":") if plain.endswith("::") else plain
    lead = LEAD.match(plain)
    if not lead:
        return text(plain, link)
    gap = " " if lead[2].startswith(" ") else "\\ "              # Backward (in words): ...
    return f"**{lead[1]}**{gap}{text(lead[2].strip(), link)} {text(plain[lead.end():], link)}"


# ---------------------------------------------------------------------------------------------------- entries

def _definitions(lines, link):
    """The entries of a section, as a list of definitions."""
    result = []
    for first, *more in _split_entries(lines):
        entry = ENTRY.match(first)
        if entry:
            for names, described in _split_names(entry[1], [first[entry.end():], *more]):
                result += [_term(names, link), *_nested(described, link)]
        elif any(line.startswith(" ") for line in more):
            result += [_term(first, link), *_nested(["", *more], link)]
        else:
            result += _running([first, *more], link)
    return result


def _split_entries(lines):
    entries = []
    for line in lines:
        if not entries or (not line.startswith(" ") and line.strip() and _begins(entries[-1], line)):
            if line.strip():
                entries.append([line])
        else:
            entries[-1].append(line)
    return entries


def _begins(entry, line):
    """Whether a line that is not indented begins an entry, or goes on with one that fills several lines."""
    goes_on = not entry[-1].rstrip().endswith((".", ":", ")", "``")) or not line[0].isupper()
    return bool(ENTRY.match(line)) or not goes_on or entry[-1].startswith(" ")


def _split_names(names, lines):
    """``k : size.   t : units.`` as two pairs of names and lines."""
    parts = [(names, [])]
    for line in lines:
        first, *others = NEXT_ENTRY.split(line)
        parts[-1][1].append(first)
        for other in others:
            name, description = other.split(" : ", 1)
            parts.append((name, [description]))
    return parts


def _term(names, link):
    if re.fullmatch(NAMES, names):
        return ", ".join(_words(f"``{name}``", link) for name in names.split(", "))
    return text(names, link)


def _nested(lines, link):
    """What an entry says: running text that begins on the entry's own line."""
    first, rest = lines[0], lines[1:]
    body = textwrap.dedent("\n".join(rest)).split("\n") if rest else []
    if TYPE.match(first):
        body = [first, "", *body]
        first = ""
    # a list or a table begins a block of its own, an "option": a paragraph; else the sentence just goes on
    if body and not (body[0].startswith("- ") or TABLE.match(body[0]) or OPTION.match(body[0])):
        body[0] = f"{first} {body[0]}".strip()
    else:
        body = [first, "", *body]
    spaced = [part for line in body for part in (["", line] if OPTION.match(line) else [line])]
    return [f"   {line}".rstrip() for line in _running(spaced, link)] or ["   \\ ", ""]
