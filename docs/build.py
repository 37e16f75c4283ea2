"""Build the documentation site and check it.

    pip install ".[site]"
    python docs/build.py                    # into docs/_build/html; warnings are errors, every link is followed
    python docs/build.py --out FOLDER
    python docs/build.py --pictures         # draw the pictures of the model cards anew

The notebooks are shown with the outputs that they hold; nothing is run. No page loads a file from another host.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def build(out, unfinished=False):
    """Build all pages anew into a folder; True if there was nothing to complain of."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "sphinx", "-b", "html", "-c", HERE, "-d", cache, "-q", "-E", "-W",
                   "--keep-going", "-D", f"minictr_unfinished={int(unfinished)}", HERE.parent, out]
        return subprocess.run([str(part) for part in command], check=False).returncode == 0


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "_build" / "html", help="folder for the pages")
    parser.add_argument("--unfinished", action="store_true",
                        help="while pages are being written: a link to a page that is not there yet is plain text")
    parser.add_argument("--external", action="store_true", help="ask other hosts whether their pages are still there")
    parser.add_argument("--pictures", action="store_true", help="only draw the pictures of the model cards")
    arguments = parser.parse_args()
    sys.path.insert(0, str(HERE))
    if arguments.pictures:
        import pictures
        pictures.draw_all()
        return
    import links

    start = time.perf_counter()
    shutil.rmtree(arguments.out, ignore_errors=True)
    built = build(arguments.out, arguments.unfinished)
    problems, external = links.check(arguments.out) if built else ([], {})
    problems += links.dead(external) if arguments.external else []
    print("\n".join(problems))
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{len(list(arguments.out.rglob('*.html')))} pages, {size / 1e6:.1f} MB, "
          f"{time.perf_counter() - start:.0f} s: {'problems, see above' if problems or not built else arguments.out}")
    sys.exit(bool(problems) or not built)


if __name__ == "__main__":
    main()
