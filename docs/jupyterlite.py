"""Build a JupyterLite site, in which the tutorials run in the reader's browser. UNTESTED.

It builds, but no notebook was ever run in what it builds: the Python that runs in browsers (Pyodide) is on npm, but its
builds of NumPy and Matplotlib are only on Pyodide's own file server, which could not be reached where this was written.
(PyPI had none of these two, and of pandas only for an older Pyodide.) So nothing here is known to work, and neither the
README nor the site links to it.

    pip install jupyterlite-core==0.8.6 jupyterlite-pyodide-kernel==0.8.6
    python docs/jupyterlite.py                  # into docs/_build/lite

The site that it builds loads Pyodide and its packages from the file server that the kernel names, unlike the
documentation site, which loads nothing from other hosts.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def main():
    """Build the wheel of minictr, then the site with the notebooks as its contents."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        [wheel] = folder.glob("minictr-*.whl")
        contents = folder / "contents"
        contents.mkdir()
        for path in [*(ROOT / "tutorials").glob("*.ipynb"), *(ROOT / "tutorials").glob("*.md")]:
            shutil.copy(path, contents)
        out = HERE / "_build" / "lite"
        run("jupyter", "lite", "build", "--lite-dir", folder, "--contents", contents, "--output-dir", out,
            "--piplite-wheels", wheel, cwd=folder)
        print(out)


def run(module, *arguments, cwd=None):
    """A module as a program; a failure ends this one."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, cwd=cwd)


if __name__ == "__main__":
    main()
