"""Check the links of a folder of HTML files: that each leads to a file, and to a place in it, that exists.

    python docs/links.py docs/_build/html                # addresses of other hosts: are they well-formed?
    python docs/links.py docs/_build/html --external     # do they answer? (needs the network)

Files of a page (scripts, styles, fonts, pictures) must come from the folder itself, so that the site works offline and
tells nobody who reads it.
"""

import argparse
import re
import sys
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# attributes by which a page loads a file, and by which it links to a place
LOADS = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"), ("video", "src"), ("audio", "src"),
         ("iframe", "src"), ("object", "data"), ("embed", "src"), ("use", "href"), ("image", "href"),
         ("img", "srcset"), ("source", "srcset")}
LINKS = {("a", "href"), ("area", "href"), ("form", "action")}
# what <link> elements may name without anything being loaded
ONLY_NAMED = {"canonical", "next", "prev", "search", "index", "author", "copyright", "help", "top", "up"}
CSS_LOADS = re.compile(r"""url\(\s*["']?([^"')]+)["']?\s*\)|@import\s+["']([^"']+)["']""")


class Page(HTMLParser):
    """The places of one page, and what it links to and loads, each with its line."""

    def __init__(self, text):
        super().__init__()
        self.places, self.twice, self.links, self.loads = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Called for each opening tag."""
        attributes = dict(attrs)
        line = self.getpos()[0]
        place = attributes.get("id")
        if place:
            if place in self.places:
                self.twice.append((line, place))
            self.places.add(place)
        if tag == "a" and attributes.get("name"):
            self.places.add(attributes["name"])
        for name, value in attrs:
            if not value:
                continue
            if (tag, name) in LINKS or (tag == "link" and attributes.get("rel") in ONLY_NAMED and name == "href"):
                self.links.append((line, value))
            elif (tag, name) in LOADS:
                addresses = [part.split()[0] for part in value.split(",")] if name == "srcset" else [value]
                self.loads += [(line, address) for address in addresses]
            elif name == "style":
                self.loads += [(line, found[0] or found[1]) for found in CSS_LOADS.findall(value)]
        if tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh" and "url=" in attributes["content"]:
            self.links.append((line, attributes["content"].split("url=")[1]))


def check(folder):
    """Problems of all pages below a folder, as lines of text, and the addresses of other hosts that they link to."""
    folder = Path(folder).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    problems, external = [], {}
    for path, page in pages.items():
        shown = path.relative_to(folder)
        problems += [f"{shown}:{line}: the id {place!r} is there twice" for line, place in page.twice]
        for line, address in page.loads:
            if _is_foreign(address):
                problems.append(f"{shown}:{line}: loads a file from another host: {address}")
            elif not address.startswith("data:"):
                problems += _problem(folder, pages, path, line, address)
        for line, address in page.links:
            if address.startswith("mailto:"):
                continue
            if _is_foreign(address):
                external.setdefault(address, f"{shown}:{line}")
            elif urlsplit(address).scheme:
                problems.append(f"{shown}:{line}: an address of an unknown kind: {address}")
            else:
                problems += _problem(folder, pages, path, line, address)
    for path in sorted(folder.rglob("*.css")):
        for found in CSS_LOADS.findall(path.read_text(encoding="utf-8")):
            address = found[0] or found[1]
            if _is_foreign(address):
                problems.append(f"{path.relative_to(folder)}: loads a file from another host: {address}")
    for address, where in external.items():
        parts = urlsplit(address)
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc) or re.search(r"[\s<>\"]", address):
            problems.append(f"{where}: not a well-formed address: {address}")
    return problems, external


def _is_foreign(address):
    return address.startswith(("http://", "https://", "//"))


def _problem(folder, pages, path, line, address):
    """What is wrong with a link within the site: a list of no or one line."""
    parts = urlsplit(address)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    where = f"{path.relative_to(folder)}:{line}"
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(folder) or not target.is_file():
        return [f"{where}: leads nowhere: {address}"]
    place = unquote(parts.fragment)
    if place and target in pages and place not in pages[target].places:
        return [f"{where}: no such place on the page: {address}"]
    return []


def dead(external, seconds=20):
    """Addresses of other hosts that do not answer, with the reason."""
    problems = []
    for address, where in sorted(external.items()):
        request = urllib.request.Request(address.split("#")[0], headers={"User-Agent": "Mozilla/5.0 (link check)"})
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                pass
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):        # others (403, 429) mean: not for programs
                problems.append(f"{where}: {error.code}: {address}")
        except OSError as error:
            problems.append(f"{where}: {error}: {address}")
    return problems


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--external", action="store_true", help="ask other hosts too")
    arguments = parser.parse_args()
    problems, external = check(arguments.folder)
    if arguments.external:
        problems += dead(external)
    print("\n".join(problems) or f"all links lead somewhere; {len(external)} addresses of other hosts")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
