"""The font of the equations: a piece of STIX Two Math, so that they look the same on every device.

A browser without a mathematical font stretches no bracket and puts indices in the wrong places. The whole font has
1.5 MB; a page needs its letters and signs alone. It comes with the package ziamath, under the SIL Open Font License,
whose text stays in the font's own name table.
"""

import importlib.resources
import logging

from fontTools import subset
from fontTools.ttLib import TTFont

CHARACTERS = [
    range(0x20, 0x7F), range(0xA0, 0x180),              # Latin
    range(0x300, 0x340), range(0x370, 0x400),           # accents, Greek
    range(0x2010, 0x2060), range(0x20D0, 0x20F0),       # punctuation and primes, accents of symbols
    range(0x2100, 0x2150), range(0x2190, 0x2200),       # letters such as R, arrows
    range(0x2200, 0x2300), range(0x2308, 0x230C), range(0x23B0, 0x23E2), range(0x27E6, 0x27EC),     # signs, brackets
    range(0x1D400, 0x1D800),                            # italic, bold and other letters
]


def write_math_font(path):
    """Write the piece of the font that the site needs, as a WOFF file."""
    logging.getLogger("fontTools").setLevel(logging.ERROR)        # it tells each table that it cuts
    with importlib.resources.files("ziamath.fonts").joinpath("STIXTwoMath-Regular.ttf").open("rb") as file:
        font = TTFont(file)
        options = subset.Options(layout_features=["ssty", "flac", "dtls", "ccmp"], name_IDs=["*"], hinting=False,
                                 notdef_outline=True)
        chosen = subset.Subsetter(options)
        chosen.populate(unicodes=[number for numbers in CHARACTERS for number in numbers])
        chosen.subset(font)
        font.flavor = "woff"
        path.parent.mkdir(parents=True, exist_ok=True)
        font.save(path)
