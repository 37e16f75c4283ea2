"""The archive of the course holds what its notebooks need to run, and nothing of this machine."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import downloads  # noqa: E402


def test_the_archive_runs_what_it_holds(tmp_path):
    path = tmp_path / downloads.ARCHIVE
    downloads.write_archive(path)
    first = path.read_bytes()
    downloads.write_archive(path)
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "home")
    home = tmp_path / "home" / "minictr"
    notebooks = {notebook.name for notebook in (ROOT / "tutorials").glob("*.ipynb")}
    assert {Path(name).name for name in names if name.startswith("minictr/tutorials/")} >= notebooks
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    # it is the unpacked package that is imported, with the files that it reads
    code = ("import minictr, minictr.app.cli, pathlib; from minictr import FM, datasets; c = datasets.make_clicks(50, "
            "seed=0); FM(epochs=1).fit(c.X, c.y); print(pathlib.Path(minictr.__file__).parent)")
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == home / "minictr"
    kinds = (".css", ".js", ".py")
    shipped = {path.relative_to(ROOT) for path in (ROOT / "minictr").rglob("*.*") if path.suffix in kinds}
    assert all((home / path).is_file() for path in shipped)
