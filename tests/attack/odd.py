"""Odd texts, from a seeded generator, for the attacks on files, commands and pages."""

# Letters, what acts on a terminal, what means something to a browser, to a table, to matplotlib; and numbers of a kind.
PIECES = [
    "a", "B", "zz", "Ünï", "中文", "👍🏽", "עברית", "é", "\u00a0", "\ufeff", "\u200b", " ", "  ", "x y",
    "\x1b[31m", "\x00", "\x07", "\x7f", "\x9b2J", "\u202e", "\u2066", "\u2028", "\n", "\r\n",
    "\t",
    "<script>alert(1)</script>", "</pre>", "<!--", "]]>", "&amp;", "&#0;", "javascript:x", "\" onload=x ", "'", '"',
    ",", ";", "|", ":", "\\", "/", "..", "%s", "%(x)s", "{value}", "{0}", "$x_2$", "$", "\\frac", "^", "_", "#", "-",
    "007", "00", "0", "7", "-0", "+5", "1e5", "1e400", ".5", "5.", "1,5", "0x1f", "1_000", "١٢", "²", "½", "3.0",
    "9007199254740993", "18446744073709551615", "-9223372036854775809", "nan", "NA", "None", "inf", "TRUE", "False"]
LONE = ["\ud83d", "\udc80", "a\udfff"]                            # halves of characters, which no file can hold


def odd_text(rng, longest=3, pieces=PIECES):
    """Up to so many pieces, one after the other; at times very long."""
    text = "".join(pieces[k] for k in rng.integers(len(pieces), size=rng.integers(1, longest + 1)))
    return text * int(rng.integers(2, 3_000)) if rng.random() < 0.01 else text


def odd_names(rng, count, pieces=PIECES):
    """So many names of columns, all different, whatever blanks are in them; none begins with the mark of UTF-8."""
    names = {}
    while len(names) < count:
        name = odd_text(rng, pieces=pieces).strip(" \t\r\n\ufeff\u00a0\u2028")
        if " ".join(name.split()):
            names.setdefault(" ".join(name.split()), name)
    return list(names.values())
