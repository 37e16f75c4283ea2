"""Model files, changed under the guidance of atheris: it prefers the changes that reach lines not reached before.

    python tests/attack/fuzz_files.py [-max_total_time=600] [-seed=1] ...        (options of libFuzzer)

The bytes that atheris draws say which contents of a good file become others: places of the page of settings, headers
and data of arrays. The archive around them is whole, as it would hide all else behind its checksums. What may come of
it: a model that predicts, or a ModelFileError; anything else ends the run, with the bytes that led there in a file.

It needs atheris (``pip install atheris``; its wheels are for Linux, and some versions of Python). ``test_fuzz.py`` runs
it for a while where it is installed.
"""

import io
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

with atheris.instrument_imports(include=["minictr.estimator", "minictr.fields", "json", "zipfile"]):
    import numpy as np
    import pandas as pd

    from minictr import FM, Categorical, Model, ModelFileError, MultiValued, Numerical

X = pd.DataFrame({"user": ["ann", "bob", "çem"] * 4, "price": np.arange(12) / 4, "genres": ["a", "a|b", "c"] * 4})
FOLDER = tempfile.TemporaryDirectory()
PATH = Path(FOLDER.name, "model")


def good_parts():
    """The entries of a file with every kind of field, and of one of ratings: lists of (name, bytes)."""
    fields = [Categorical("user"), Numerical("price", bins=2), MultiValued("genres")]
    models = [FM(embedding_dim=2, epochs=1, fields=fields).fit(X, [0, 1] * 6),
              FM(embedding_dim=1, epochs=1).fit(user_ids=[1, 2, 3], item_ids=["a", "b", "a"], ratings=[1, 2, 3])]
    found = []
    for model in models:
        model.save(PATH, optimizer=True)
        with zipfile.ZipFile(PATH) as file:
            found.append([(entry.filename, file.read(entry)) for entry in file.infolist()])
    return found


def changed(parts, data):
    """The entries with some of their bytes replaced, cut out or put in, as the drawn bytes say."""
    parts = list(parts)
    for _ in range(data.ConsumeIntInRange(1, 4)):
        i = data.ConsumeIntInRange(0, len(parts) - 1) if data.ConsumeBool() else 0     # half of them in the page
        name, old = parts[i]
        place = data.ConsumeIntInRange(0, len(old))
        new = data.ConsumeBytes(data.ConsumeIntInRange(0, 12))
        skipped = data.ConsumeIntInRange(0, 12) if data.ConsumeBool() else len(new)
        body = old[:place] + new + old[place + skipped:]
        if i == 0 and len(body) != len(old):                      # the header of the page says how long it is
            page, file = body[128:], io.BytesIO()
            np.lib.format.write_array(file, np.frombuffer(page, np.uint8))
            body = file.getvalue()
        parts[i] = name, body
    return parts


def try_one(drawn):
    """One try."""
    data = atheris.FuzzedDataProvider(drawn)
    parts = changed(GOOD[data.ConsumeIntInRange(0, 1)], data)
    with zipfile.ZipFile(PATH, "w") as file:
        for name, body in parts:
            file.writestr(name, body)
    try:
        model = Model.load(PATH)
    except ModelFileError:
        return
    try:
        model.recommend(1) if model.rating_data_ is not None else model.predict(X)
    except ValueError as error:                                   # of other columns, or of other numbers in them
        if not str(error).startswith("column"):
            raise


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    GOOD = good_parts()
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
