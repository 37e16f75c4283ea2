"""Model files from strangers, and saves that are killed: a file is what it was, a model that works, or one clear error.

Bytes that are changed somewhere are noticed, or lie where nothing is read: the model is the same to the bit. Contents
that are changed, with checksums to match, can make another model, which then predicts; what does not go together is
refused by ``load``, not on use. What it takes is bounded by the size of the file, whatever the file says.
"""

import functools
import io
import json
import os
import re
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attack.tally import Tally, rounds

import minictr
from minictr import FM, LR, AutoInt, Categorical, DeepFM, Model, ModelFileError, MultiValued, Numerical

pytestmark = pytest.mark.long

SEED = 20_110
FIELDS = [Categorical("user", min_count=2), Categorical("hour", buckets=3), Numerical("price", transform="standard"),
          Numerical("age", bins=3), MultiValued("genres", sep=";")]
NUMBERS = [0, 1, -1, 2, 7, 255, 10**4, 10**6, 5 * 10**6, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**25,
           -10**25]
ODD = [None, True, False, "", "x", "FM", "Evil", "\ud800", "\x00", "NaN", 0.0, -0.5, 1.5, 1e-300, 1e300, float("nan"),
       float("inf"), [], {}, [[]], [None], {"x": 1}, [1, 2], [10**6] * 3, [0] * 1000, "[" * 1000, *NUMBERS]
DTYPES = ["<f4", "<f8", ">f4", ">f8", "<f2", "<i8", "<i4", ">i8", "<i2", "|u1", "|i1", "|b1", "<u8", "<c8", "<U4",
          "|S3"]


def table():
    rng = np.random.default_rng(1)
    return pd.DataFrame({
        "user": rng.choice(["ann", "bob", "çem", "😀"], 40), "hour": rng.integers(0, 24, 40),
        "price": rng.normal(10, 2, 40), "age": rng.integers(18, 80, 40).astype(float),
        "genres": rng.choice(["a", "b", "a;b", "a;b;c"], 40)})


def answers(model):
    """What a model says, as something to compare."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if model.rating_data_ is not None:
            pairs = [(user, item) for user in ("u1", "u5", "nobody") for item in ("i2", "i3", "nothing")]
            return [*model.batch_predict(pairs).tolist(), model.recommend("u1", 5)]
        return model.decision_function(table()).tolist()


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """{name: (bytes of the file, what the model answers)}."""
    folder, y = tmp_path_factory.mktemp("originals"), [0, 1] * 20
    rated = {"user_ids": [f"u{i % 7}" for i in range(30)], "item_ids": [f"i{i % 4}" for i in range(30)],
             "ratings": np.arange(30) % 5}
    side = pd.DataFrame({"item_id": [f"i{i}" for i in range(5)], "tags": [["x"], ["x", "y"], [], ["y"], ["x"]]})
    models = {
        "FM": FM(embedding_dim=2, epochs=1, fields=FIELDS).fit(table(), y, validation=0.2),
        "LR": LR(epochs=1).fit(table(), y),
        "AutoInt": AutoInt(embedding_dim=2, attention_dim=2, num_layers=2, layer_norm=True, deep_layers=(3,), epochs=1,
                           first_order=True, fields=FIELDS).fit(table(), y),
        "DeepFM": DeepFM(embedding_dim=2, deep_layers=(3, 2), use_bn=True, epochs=1).fit(**rated, item_features=side)}
    files = {}
    for name, model in models.items():
        model.history_["seconds"] = 0.0                           # so that each run attacks the same bytes
        model.save(folder / name, optimizer=name != "LR")
        files[name] = (folder / name).read_bytes(), answers(model)
    return files


def drawn(attack, i, originals):
    """The random numbers of the i-th try of an attack, and the file that it is about."""
    rng = np.random.default_rng([SEED, attack, i])
    return rng, sorted(originals)[i % len(originals)]


# -------------------------------------------------------------------------------------------------- bytes

def flip(rng, data):
    data = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 5)):
        data[place] ^= 1 << rng.integers(8)
    return bytes(data)


def flip_headers(rng, data):
    """Within what zip says of its members, beside them or in the list at the end."""
    places = [match.start() for match in re.finditer(rb"PK\x01\x02|PK\x03\x04|PK\x05\x06", data)]
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = min(places[rng.integers(len(places))] + rng.integers(50), len(data) - 1)
        data[place] = rng.choice([0, 1, 255, data[place] ^ 1, rng.integers(256)])
    return bytes(data)


def flip_array_headers(rng, data):
    places = [match.start() for match in re.finditer(rb"\x93NUMPY", data)]
    data, place = bytearray(data), places[rng.integers(len(places))] + rng.integers(128)
    data[place] = rng.choice([*b"0123456789(),<>|'{}fiuOU \n\x00\xff"])
    return bytes(data)


def truncate(rng, data):
    return data[:rng.integers(len(data))]


def cut_out(rng, data):
    start = rng.integers(len(data))
    return data[:start] + data[start + rng.integers(1, 300):]


def put_in(rng, data):
    start = rng.integers(len(data) + 1)
    return data[:start] + rng.bytes(rng.integers(1, 300)) + data[start:]


def repeat(rng, data):
    start, stop = np.sort(rng.integers(0, len(data) + 1, 2))
    return data[:stop] + data[start:]


def swap_stretches(rng, data):
    a, b, c = np.sort(rng.integers(0, len(data) + 1, 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def overwrite(rng, data):
    start, n = rng.integers(len(data)), rng.integers(1, 200)
    return data[:start] + (bytes(n) if rng.random() < 0.5 else rng.bytes(n)) + data[start + n:]


BYTES = [flip, flip, flip_headers, flip_headers, flip_array_headers, truncate, cut_out, put_in, repeat, swap_stretches,
         overwrite]


def test_a_file_with_other_bytes_is_the_same_model_or_is_refused(originals, tmp_path):
    tally, path = Tally("files, bytes changed"), tmp_path / "model"
    for i in range(rounds(1_300)):
        rng, name = drawn(0, i, originals)
        whole, expected = originals[name]
        how = BYTES[rng.integers(len(BYTES))]
        path.write_bytes(how(rng, whole))
        try:
            found = answers(Model.load(path))
        except ModelFileError as error:
            tally.add("ModelFileError") if str(path) in str(error) else tally.fail((i, name, how.__name__), error)
        except Exception as error:
            tally.fail((i, name, how.__name__), repr(error))
        else:
            tally.add("right") if found == expected else tally.fail((i, name, how.__name__), "another model")
    tally.check()


# ----------------------------------------------------------------------------------------------- contents

@functools.cache
def unpack(data):
    with np.load(io.BytesIO(data)) as file:
        arrays = {name: file[name] for name in file.files}
    return bytes(arrays.pop("meta")), arrays


def pack(meta, arrays, savez=np.savez):
    file = io.BytesIO()
    savez(file, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    return file.getvalue()


def places_of(value, path=()):
    """Every place of a JSON value, as a sequence of keys."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places_of(inner, (*path, key))


def edit_page(rng, meta, arrays):
    """One to three places of the page of settings get another value, or go, or come twice."""
    for _ in range(rng.integers(1, 4)):
        places = list(places_of(meta))
        *outer, last = places[rng.integers(len(places))]
        inner = meta
        for key in outer:
            inner = inner[key]
        kind = rng.integers(5)
        if kind == 0:
            del inner[last]
        elif kind == 1 and isinstance(inner, list):
            inner.append(inner[last])
        elif kind == 2 and isinstance(inner, dict):
            inner[f"{last}s"] = inner.pop(last)
        else:
            inner[last] = ODD[rng.integers(len(ODD))]


def edit_settings(rng, meta, arrays):
    """Settings that are numbers become other ones: small files that ask for large models."""
    names = [name for name, value in meta["settings"].items() if isinstance(value, (int, float, list))]
    for name in rng.choice(names, rng.integers(1, 3)):
        number = NUMBERS[rng.integers(len(NUMBERS))]
        meta["settings"][name] = [number] * int(rng.integers(4)) if isinstance(meta["settings"][name], list) else number


def reshape(rng, meta, arrays):
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    arrays[name] = [
        lambda: np.concatenate([array, array[:1]]), lambda: array[:-1], lambda: array[None], lambda: array.ravel(),
        lambda: array.T, lambda: array[:0], lambda: np.zeros((*array.shape, 0), array.dtype),
        lambda: array.reshape(-1, 1), lambda: np.asfortranarray(array), lambda: np.zeros(100_000, array.dtype),
        lambda: np.zeros((), array.dtype),
    ][rng.integers(11)]()


def recast(rng, meta, arrays):
    name = rng.choice(sorted(arrays))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays[name] = arrays[name].astype(DTYPES[rng.integers(len(DTYPES))])


def revalue(rng, meta, arrays):
    """Other values in arrays of the right shape: any in those of fields and ratings, not-a-numbers in parameters."""
    name = rng.choice([name for name, array in arrays.items() if array.size])
    array = arrays[name] = arrays[name].copy()
    if array.dtype.kind == "f" and name.startswith(("params", "state", "optimizer")):
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 0, 1, -1])
    elif array.dtype.kind == "f":
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 0, 1e30, -5, 0.1])
    elif rng.random() < 0.3:
        array[...] = rng.permutation(array.ravel()).reshape(array.shape)
    else:
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
        low, high = (0, 1) if limits is None else (limits.min, limits.max)
        values = np.array([0, 1, 2, 3, low, high, high // 2]).astype(array.dtype)
        array.flat[rng.integers(array.size)] = rng.choice(values)


def move(rng, meta, arrays):
    """Arrays go, change places or names, or are joined by others."""
    one, other = rng.choice(sorted(arrays), 2)
    kind = rng.integers(5)
    if kind == 0:
        del arrays[one]
    elif kind == 1:
        arrays[one], arrays[other] = arrays[other], arrays[one]
    elif kind == 2:
        arrays[f"{one}{rng.choice(['2', '/x', '.x', ' '])}"] = arrays.pop(one)
    elif kind == 3:
        arrays[rng.choice(["more", "params/more", "encoder/0.more", "encoder/9.text", "optimizer/x/m", "state/x"])] = (
            np.zeros(rng.integers(200_000)))
    else:
        for i in range(300):
            arrays[f"{one}{i}"] = np.zeros(1)


CONTENTS = [edit_page, edit_page, edit_page, edit_settings, reshape, recast, revalue, revalue, move]


def test_a_file_with_other_contents_works_or_is_refused_and_takes_what_its_size_allows(originals, tmp_path):
    tally, path = Tally("files, contents changed"), tmp_path / "model"
    for i in range(rounds(400)):
        rng, name = drawn(1, i, originals)
        text, arrays = unpack(originals[name][0])
        meta, arrays = json.loads(text), dict(arrays)
        how = CONTENTS[rng.integers(len(CONTENTS))]
        how(rng, meta, arrays)
        path.write_bytes(pack(meta, arrays, np.savez_compressed if rng.random() < 0.05 else np.savez))
        case, size = (i, name, how.__name__), path.stat().st_size
        if measured := rng.random() < 0.3:                        # which makes it slow
            tracemalloc.start()
        try:
            model = Model.load(path)
        except ModelFileError as error:
            model = None
            clear = str(path) in str(error) and "MemoryError" not in str(error) and len(str(error)) < 1_500
            tally.add("ModelFileError") if clear else tally.fail(case, error)
        except Exception as error:
            model = None
            tally.fail(case, f"load: {error!r}")
        if measured:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            if peak > 5 * size + 2**20:
                tally.fail(case, f"{peak:,} bytes of memory for a file of {size:,}")
        if model is not None:
            try:
                answers(model), repr(model), model.history_, model.encoder_.describe()
                model.save(tmp_path / "again", optimizer=True)
                if answers(Model.load(tmp_path / "again")) != answers(model):
                    raise AssertionError("saved and loaded it is another model")
                tally.add("works")
            except Exception as error:
                other = isinstance(error, ValueError) and str(error).startswith("column")     # it wants other columns
                tally.add("other columns") if other else tally.fail(case, f"on use: {error!r}"[:300])
    tally.check()


# ------------------------------------------------------------------------------------------------- archives

def entries(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return [(entry.filename, file.read(entry)) for entry in file.infolist()]


HEADER_EDITS = [
    (rb"\((\d+),", rb"(\g<1>0,"), (rb"\(\d+,", b"(999999999999,"), (rb"\(\d+,", b"(-1,"), (rb"\(\d+,", b"("),
    (rb"\(\d+,", b"(1e3,"), (rb"\(\d+,", b"(" + b"(" * 90), (rb"<f4", b"<f8"), (rb"<i8", b"|O8"), (rb"<f4", b"|V4"),
    (rb"'descr'", b"'desc' "), (rb"False", b"True "), (rb"False", b"()()("), (rb"\{", b"["),
    (rb"NUMPY\x01", b"NUMPY\x02")]


def edit_array_header(rng, parts):
    i = rng.integers(len(parts))
    name, data = parts[i]
    old, new = HEADER_EDITS[rng.integers(len(HEADER_EDITS))]
    parts[i] = name, re.sub(old, new, data, count=1)


def edit_entries(rng, parts):
    """Entries twice, without data, with more or less of it, in another order, or of other things than arrays."""
    i, j = rng.integers(len(parts), size=2)
    name, data = parts[i]
    kind = rng.integers(7)
    if kind == 0:
        parts.append((name, data))
    elif kind == 1:
        parts[i] = name, data[:rng.integers(len(data))]
    elif kind == 2:
        parts[i] = name, data + rng.bytes(rng.integers(1, 100))
    elif kind == 3:
        parts[i], parts[j] = parts[j], parts[i]
    elif kind == 4:
        parts[i] = (name, parts[j][1])
    elif kind == 5:
        parts.append((rng.choice(["../../evil.npy", "/etc/passwd", "readme.txt", "a/", ".npy", " "]), data))
    else:
        parts[i] = (name[:-4], data)              # as good a name, to NumPy too


@pytest.mark.filterwarnings("ignore:Duplicate name", "ignore:Reading `.npy`")
def test_an_archive_put_together_otherwise_works_or_is_refused(originals, tmp_path):
    tally, path = Tally("files, archives"), tmp_path / "model"
    for i in range(rounds(700)):
        rng, name = drawn(2, i, originals)
        parts = entries(originals[name][0])
        how = [edit_array_header, edit_entries][rng.integers(2)]
        how(rng, parts)
        method = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", method) as file:
            for part, data in parts:
                file.writestr(part, data)
        try:
            found = answers(Model.load(path))
        except ModelFileError as error:
            tally.add("ModelFileError") if str(path) in str(error) else tally.fail((i, name, how.__name__), error)
        except Exception as error:
            tally.fail((i, name, how.__name__), repr(error))
        else:                                                     # two vectors of one shape can have changed places
            tally.add("right" if found == originals[name][1] else "another model")
    tally.check()
    assert not Path("/evil.npy").exists() and os.listdir(tmp_path) == ["model"]


# -------------------------------------------------------------------------------------------------- bombs

BOMBS = """
import io, json, resource, sys
import numpy as np
from minictr import Model, ModelFileError

def page(meta): return np.frombuffer(json.dumps(meta).encode(), np.uint8)

with np.load(sys.argv[1]) as file:
    arrays = {name: file[name] for name in file.files}
meta = json.loads(bytes(arrays.pop("meta")))
zeros = np.zeros(10_000_000)
cases = {
    "unused array": (meta, arrays | {"unused": zeros}),
    "unused parameter": (meta, arrays | {"params/unused": zeros}),
    "lengths": (meta, arrays | {"encoder/0.lengths": zeros.astype(np.int64), "encoder/0.text": np.zeros(0, np.uint8)}),
    "row_counts": (meta, arrays | {"row_counts": zeros.astype(np.int64)}),
    "page": (meta | {"more": "[" * 70_000_000}, arrays)}
for name, value in [("embedding_dim", 5_000_000), ("attention_dim", 5_000_000), ("num_layers", 1_000_000),
                    ("num_heads", 10_000_000), ("deep_layers", [100_000] * 10), ("deep_layers", [1] * 100_000)]:
    cases[f"{name} {str(value)[:9]}"] = meta | {"settings": meta["settings"] | {name: value}}, arrays
files = {}
for case, (page_of_case, arrays_of_case) in cases.items():
    file = io.BytesIO()
    np.savez_compressed(file, meta=page(page_of_case), **arrays_of_case)
    if "settings" in case or case.split()[0] in meta["settings"]:
        file = io.BytesIO()
        np.savez(file, meta=page(page_of_case), **arrays_of_case)
    files[case] = file.getvalue()
del zeros, cases, arrays_of_case, page_of_case
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 64 * 2**20, resource.RLIM_INFINITY))
for case, data in files.items():
    with open(sys.argv[2], "wb") as file:
        file.write(data)
    try:
        Model.load(sys.argv[2])
        print(case, "loaded", sep="\\t")
    except ModelFileError as error:
        print(case, "no memory" if "Memory" in str(error) or "allocate" in str(error) else "ModelFileError", sep="\\t")
    except BaseException as error:
        print(case, repr(error), sep="\\t")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of memory is set as Linux has it")
def test_bombs_are_refused_within_64_megabytes(originals, tmp_path):
    """Under a limit that the system itself holds to: what a file asks for is refused before it is taken."""
    tally = Tally("files, bombs")
    (tmp_path / "good").write_bytes(originals["AutoInt"][0])
    done = subprocess.run([sys.executable, "-c", BOMBS, tmp_path / "good", tmp_path / "bomb"], capture_output=True,
                          text=True, env=environment())
    assert done.returncode == 0, done.stderr
    for case, outcome in (line.split("\t") for line in done.stdout.splitlines()):
        tally.add("ModelFileError") if outcome == "ModelFileError" else tally.fail(case, outcome)
    assert sum(tally.outcomes.values()) == 11
    (tmp_path / "good").write_bytes(originals["FM"][0])
    tally.add("right") if answers(Model.load(tmp_path / "good")) == originals["FM"][1] else tally.fail("FM", "differs")
    tally.check()


def environment():
    return os.environ | {"PYTHONPATH": str(Path(minictr.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}


# -------------------------------------------------------------------------------------------------- kills

KILLS = """
import os, random, signal, sys, time
import numpy as np
from minictr import FM, Model

folder, path, n = sys.argv[1], sys.argv[1] + "/model", int(sys.argv[2])
X, y = {"a": [str(i) for i in range(400)]}, [0, 1] * 200
models = [FM(embedding_dim=k, epochs=1).fit(X, y) for k in (2, 400)]
expected = {model.embedding_dim: model.decision_function(X) for model in models}
random.seed(7)
models[0].save(path)
start = time.perf_counter()
models[1].save(path)
one = time.perf_counter() - start
for i in range(n):
    child = os.fork()
    if not child:
        while True:
            for model in models:
                model.save(path)
    time.sleep(random.random() * 3 * one)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    found = Model.load(path)
    whole = np.array_equal(found.decision_function(X), expected[found.embedding_dim])
    left = len(os.listdir(folder)) - 1
    print("whole" if whole else "broken", "cut off" if left else "between", sep="\\t", flush=True)
    if i % 3 == 0:
        models[0].save(path)
        left = os.listdir(folder)
        print(*(("whole", "cleaned up") if left == ["model"] else ("broken", left)), sep="\\t", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed as POSIX has it")
def test_a_kill_during_save_leaves_a_whole_file_and_the_next_save_cleans_up(tmp_path):
    tally = Tally("files, kills during save")
    done = subprocess.run([sys.executable, "-c", KILLS, tmp_path, str(rounds(40))], capture_output=True, text=True,
                          env=environment())
    assert done.returncode == 0, done.stderr
    for i, (whole, where) in enumerate(line.split("\t") for line in done.stdout.splitlines()):
        tally.add(where) if whole == "whole" else tally.fail(i, where)
    tally.check()
    assert tally.outcomes["cut off"] and tally.outcomes["cut off"] + tally.outcomes["between"] == rounds(40)


def test_threads_that_save_and_load_one_name_see_whole_files(tmp_path):
    tally, path = Tally("files, threads"), tmp_path / "model"
    models = [FM(embedding_dim=k, epochs=1).fit(table(), [0, 1] * 20) for k in (1, 2, 30)]
    expected = {model.embedding_dim: answers(model) for model in models}
    models[0].save(path)

    def work(number):
        for i in range(rounds(12)):
            try:
                if number < 2:
                    models[(i + number) % 3].save(path)
                    tally.add("saved")
                else:
                    found = Model.load(path)
                    same = answers(found) == expected[found.embedding_dim]
                    tally.add("loaded") if same else tally.fail((number, i), "another model")
            except Exception as error:
                tally.fail((number, i), repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.check()
    assert os.listdir(tmp_path) == ["model"]
