"""What the site offers of the course to take home: each notebook as a file, and one archive that runs it all."""

import zipfile
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHIVE = "minictr_course.zip"
# what `pip install .` and the notebooks need
PARTS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "minictr/**/*", "tutorials/*.ipynb", "tutorials/*.md",
         "tutorials/results/**/*", "tutorials/pictures/**/*")
NOT_THE_SAME_TWICE = "__pycache__"


def archived():
    """The files of the archive, by their paths from the repository's folder."""
    found = {path for part in PARTS for path in ROOT.glob(part) if path.is_file()}
    return sorted(path.relative_to(ROOT) for path in found if NOT_THE_SAME_TWICE not in path.parts)


def write_archive(path):
    """Write the archive of package and course; the same files give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for part in archived():
            entry = zipfile.ZipInfo(f"minictr/{part.as_posix()}", date_time=(2000, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (ROOT / part).read_bytes(), zipfile.ZIP_DEFLATED)


def write_downloads(app, exception):
    """Called by Sphinx when all pages are there: the notebooks beside their pages, and the archive."""
    if exception is None and app.builder.format == "html":
        folder = Path(app.outdir) / "tutorials"
        folder.mkdir(exist_ok=True)                               # not there where only other pages were asked for
        for notebook in (ROOT / "tutorials").glob("*.ipynb"):
            (folder / notebook.name).write_bytes(notebook.read_bytes())
        write_archive(folder / ARCHIVE)


def offer(app, pagename, templatename, context, doctree):
    """Called by Sphinx for each page: a notebook's begins with how to get and run it."""
    name = Path(f"{pagename}.ipynb").name
    if (ROOT / "tutorials" / name).is_file() and pagename.startswith("tutorials/"):
        context["body"] = f"""<div class="take-home"><p><a href="{escape(name)}" download>Download this notebook</a>
or <a href="{ARCHIVE}" download>the whole course with minictr</a> (zip). To run it, unpack the zip, then in its
folder:</p>
<pre>pip install . jupyter
jupyter lab tutorials/{escape(name)}</pre></div>
""" + context["body"]
