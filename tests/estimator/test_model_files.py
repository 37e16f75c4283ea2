"""Model files: what save does on the disk, what it refuses, and what load learns from headers before it reads."""

import ast
import dataclasses
import gc
import io
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import minictr
from minictr import FM, LR, AutoInt, Categorical, DeepFM, Model, ModelFileError, MultiValued
from minictr.estimator import persistence
from minictr.estimator.archive import Archive
from minictr.fields import FIELD_CLASSES
from minictr.layers import Dense, FMPooling, parameters

posix = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX")
LEFT = "0123456789abcdef" * 2


def table():
    return pd.DataFrame({"a": ["x", "y", "z"] * 10, "b": [0, 1, 2, 3, 4] * 6})


def fitted(cls=FM, **settings):
    return cls(**{"epochs": 1, "embedding_dim": 2, **settings}).fit(table(), [0, 1, 1] * 10)


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture
def path(model, tmp_path):
    """A file of ``model``."""
    model.save(tmp_path / "model", optimizer=True)
    return tmp_path / "model"


def content(path):
    """The JSON page and the arrays of a model file."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(bytes(arrays.pop("meta"))), arrays


def rewrite(path, meta, arrays, savez=np.savez):
    """Write a model file by hand."""
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    with open(path, "wb") as file:
        savez(file, meta=np.frombuffer(text, np.uint8), **arrays)


def refused(path, match=None, cls=Model):
    """Loading is refused, with a message that names the file; returns how much memory that took at its peak."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=match) as error:
            cls.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value)
    return peak


# ----------------------------------------------------------------------------------------------- where save writes

@posix
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_symbolic_link_stays_and_its_target_is_written(there, relative, model, tmp_path):
    (tmp_path / "shelf").mkdir()
    target, link = tmp_path / "shelf" / "v1", tmp_path / "latest"
    if there:
        target.write_bytes(b"old")
    link.symlink_to("shelf/v1" if relative else target)
    (tmp_path / "further").symlink_to(link)
    model.save(tmp_path / "further")
    assert link.is_symlink() and not target.is_symlink()
    np.testing.assert_array_equal(FM.load(target).predict(table()), FM.load(link).predict(table()))
    assert sorted(os.listdir(tmp_path)) == ["further", "latest", "shelf"] and os.listdir(target.parent) == ["v1"]


@posix
@pytest.mark.parametrize("what", ["fifo", "socket", "link to a fifo", "device"])
def test_what_is_no_file_is_neither_replaced_nor_read(what, model, tmp_path):
    odd = tmp_path / "odd"
    if what == "device":
        odd.symlink_to("/dev/null")                               # a mistake would replace the link, not the device
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(odd))
    else:
        os.mkfifo(tmp_path / "odd2" if "link" in what else odd)
        if "link" in what:
            odd.symlink_to("odd2")
    kind, names = odd.lstat().st_mode, os.listdir(tmp_path)
    with pytest.raises(ValueError, match=f"{re.escape(str(odd))} is a device, a pipe or a socket"):
        model.save(odd)
    assert odd.lstat().st_mode == kind and os.listdir(tmp_path) == names
    with pytest.raises(ModelFileError, match=f"{re.escape(str(odd))} is not a minictr model"):
        Model.load(odd)


def test_a_folder_is_not_replaced(model, tmp_path):
    with pytest.raises(IsADirectoryError, match="folder, name a file") as error:
        model.save(tmp_path)
    assert error.value.filename == str(tmp_path) and not os.listdir(tmp_path)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_file_keeps_its_permissions(mode, model, path):
    path.chmod(mode)
    before = os.umask(0o077)
    try:
        model.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_the_new_file_is_never_more_readable_than_the_old_one(model, path, monkeypatch):
    modes = []

    def look(file, **arrays):
        modes.extend(stat.S_IMODE(part.stat().st_mode) for part in path.parent.glob(".*.part"))
        savez(file, **arrays)

    savez = np.savez
    monkeypatch.setattr(np, "savez", look)
    path.chmod(0o600)
    model.save(path)
    assert modes == [0o600]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(model, path):
    os.chown(path, 12345, 23456)
    model.save(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@posix
def test_a_file_of_somebody_else_is_saved_all_the_same(model, path, monkeypatch):
    def forbidden(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", forbidden)
    path.chmod(0o640)
    model.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@posix
def test_the_file_is_on_the_disk_before_it_takes_its_place_and_the_folder_after_that(model, path, monkeypatch):
    done = []
    replace, fsync = os.replace, os.fsync

    def note_fsync(descriptor):
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("folder" if folder else f"file of {os.fstat(descriptor).st_size} bytes")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    model.save(path)
    assert done == [f"file of {path.stat().st_size} bytes", "replace", "folder"]


@pytest.mark.parametrize("name", ["model", "m" * 250, "ümläut" * 20], ids=["short", "long", "more bytes than letters"])
def test_what_a_kill_left_is_removed_by_the_next_save_to_that_name_and_nothing_else_is(name, model, tmp_path):
    model.save(tmp_path / name)
    with pytest.MonkeyPatch.context() as patch:                   # a save that is cut off: its file stays
        patch.setattr(os, "replace", lambda *paths: os.link(paths[0], tmp_path / "copy"))
        patch.setattr(Path, "unlink", lambda *args, **options: None)
        model.save(tmp_path / name)
    [left] = [part for part in os.listdir(tmp_path) if part.endswith(".part")]
    others = [f".other.{LEFT}.part", f".{name[:9]}.part", f".{name[:9]}.short.part", f"{LEFT}.part",
              f".modelx{LEFT}.part"]
    for other in others:
        (tmp_path / other).write_bytes(b"")
    (tmp_path / "copy").unlink()
    model.save(tmp_path / name)
    assert left not in os.listdir(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([name, *others])


def test_what_an_earlier_version_left_is_removed_too(model, tmp_path):
    (tmp_path / f".model.{LEFT}.part").write_bytes(b"half")
    (tmp_path / f".model.{LEFT[::-1]}.part").mkdir()              # no file of ours
    model.save(tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == [f".model.{LEFT[::-1]}.part", "model"]


def test_another_save_to_the_same_name_is_not_disturbed(model, path, monkeypatch):
    """One save ends while the other one is writing."""
    other, savez, inner = fitted(embedding_dim=3), np.savez, []

    def save_the_other_first(file, **arrays):
        if not inner:
            inner.append(True)
            other.save(path)
            assert FM.load(path).embedding_dim == 3
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", save_the_other_first)
    model.save(path)
    assert FM.load(path).embedding_dim == 2 and os.listdir(path.parent) == ["model"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_an_error_of_the_disk_names_the_path_that_was_given(broken, model, path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device", str(args[0]))

    before = path.read_bytes()
    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left") as error:
        model.save(path)
    assert error.value.filename == str(path) and error.value.errno == 28
    assert path.read_bytes() == before and os.listdir(path.parent) == ["model"]


def test_a_folder_that_is_not_there_is_named_as_it_was_given(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        model.save("no folder/model")
    assert error.value.filename == "no folder/model"


# ---------------------------------------------------------------------------------------------- what save refuses

def set_parameter(value):
    def change(model):
        parameters(model)["linear.w"][1] = value
    return change


def set_moment(model):
    model.optimizer_.state["linear.w"]["m"][0] = np.nan


@pytest.mark.parametrize("change, why", [
    (lambda model: model.set_params(embedding_dim=99), r"expected float32 \(\d+, 99\)"),
    (lambda model: model.set_params(embedding_dim=10 ** 12), "larger than the parameters"),
    (lambda model: model.set_params(dtype="float64"), "expected float64"),
    (lambda model: model.set_params(learning_rate=-1), "learning_rate must be a number above 0, got -1"),
    (lambda model: model.set_params(learning_rate=np.inf), "learning_rate must be a number above 0, got inf"),
    (lambda model: model.set_params(epochs=0), "epochs must be"),
    (lambda model: model.set_params(freeze=("nothing",)), "freeze names 'nothing'"),
    (lambda model: model.set_params(fields=["c"]), "name the field 'c'"),
    (lambda model: model.set_params(fields=[Categorical("a", min_count=-1), "b"]), "min_count must be"),
    (lambda model: model.set_params(optimizer="sgd"), r"optimizer/\S+"),
    (lambda model: model.set_params(name=object()), "name must be None or text, got <object"),
    (lambda model: model.set_params(verbose=object()), "object is not JSON serializable"),
    (set_parameter(np.nan), "linear.w has numbers that are not finite"),
    (set_parameter(-np.inf), "linear.w has numbers that are not finite"),
    (set_moment, "optimizer/linear.w/m has numbers that are not finite"),
])
def test_save_refuses_what_load_would_refuse_and_says_why(change, why, path):
    model = FM.load(path)
    change(model)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=why) as error:
        model.save(path, optimizer=True)
    assert str(error.value).startswith(f"the model was not saved to {path}, because no model could be loaded")
    assert path.read_bytes() == before and os.listdir(path.parent) == ["model"]


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class TwoTowers(FM):
    """A model of somebody's own: settings as large as the file says, and parameters that are not drawn."""

    width: int = 3
    prime: int = 2 ** 61 - 1                                      # large, and says nothing of the size

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.tower = Dense(self.embedding_dim, self.width, rng, self.dtype)


def test_a_model_of_ones_own_is_bounded_too(tmp_path):
    fitted(TwoTowers, freeze=("tower",)).save(tmp_path / "mine")
    assert Model.load(tmp_path / "mine").prime == 2 ** 61 - 1
    meta, arrays = content(tmp_path / "mine")
    rewrite(tmp_path / "mine", meta | {"settings": meta["settings"] | {"width": 10 ** 9}}, arrays)
    assert refused(tmp_path / "mine", "larger than the parameters") < 2 ** 20


def test_what_a_model_of_ones_own_learns_outside_of_its_settings_cannot_be_saved(tmp_path):
    class Grown(FM):
        def build(self, n, M, rng):
            super().build(n, M, rng)
            self.tower = Dense(2, getattr(self, "grown", 3), rng, self.dtype)

    model = Grown(embedding_dim=2, epochs=1, freeze=("tower",))
    model.grown = 5
    model.fit(table(), [0, 1, 1] * 10)
    with pytest.raises(ValueError, match=r"params/tower.W is float32 \(2, 5\), expected float32 \(2, 3\)"):
        model.save(tmp_path / "model")


# ------------------------------------------------------------------------------ what load knows before it reads

def change_settings(**settings):
    return lambda meta, arrays: meta["settings"].update(settings)


def change_field(**params):
    return lambda meta, arrays: meta["encoder"]["fields"][1]["params"].update(params)


def many_lengths(meta, arrays):
    arrays["encoder/0.lengths"] = np.zeros(3_000_000, np.int64)
    arrays["encoder/0.text"] = np.zeros(0, np.uint8)


def unused_array(meta, arrays):
    arrays["unused"] = np.zeros(3_000_000)


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("change", [
    unused_array, many_lengths, change_settings(embedding_dim=5_000_000), change_field(buckets=2 ** 31 - 10)],
    ids=["unused array", "lengths", "embedding_dim", "buckets"])
def test_a_small_file_takes_little_memory_whatever_it_says(savez, change, path):
    meta, arrays = content(path)
    change(meta, arrays)
    rewrite(path, meta, arrays, savez)
    size = path.stat().st_size
    peak = refused(path)
    path.unlink()
    assert peak < 2 * size + 2 ** 20


@pytest.mark.parametrize("meta", [np.array(200_000_000), np.array([[123]], np.uint8), np.array([123.5])],
                         ids=["a number", "of two dimensions", "no bytes"])
def test_the_page_is_made_of_bytes(meta, path):
    """And of as many as there are: bytes(200_000_000) would be 200 MB of zeros."""
    _, arrays = content(path)
    with open(path, "wb") as file:
        np.savez(file, meta=meta, **arrays)
    assert refused(path, "array 'meta' must be one-dimensional uint8") < 2 ** 20


def test_an_array_of_many_dimensions_is_refused_without_being_written_out(path):
    meta, arrays = content(path)
    arrays["encoder/0.text"] = np.zeros((2,) * 16, np.uint8)
    rewrite(path, meta, arrays)
    assert refused(path, "array 'text' must be one-dimensional uint8, got uint8 of shape") < 2 ** 20


def test_a_settings_page_cannot_ask_for_more_layers_than_the_file_has(tmp_path, monkeypatch):
    fitted(AutoInt, attention_dim=1, num_heads=1).save(tmp_path / "model")
    meta, arrays = content(tmp_path / "model")
    drawn = []
    count = persistence.BoundedGenerator.count
    monkeypatch.setattr(persistence.BoundedGenerator, "count",
                        lambda self, size: (drawn.append(size), count(self, size)))
    Model.load(tmp_path / "model")
    honest = len(drawn)
    drawn.clear()
    rewrite(tmp_path / "model", meta | {"settings": meta["settings"] | {"num_layers": 1_000_000}}, arrays)
    assert refused(tmp_path / "model", "larger than the parameters") < 2 ** 20
    assert honest < len(drawn) < 2 * len(arrays) + 20


@pytest.mark.parametrize("prefix", ["more", "params/", "encoder/0.", "encoder/7.", "state/", "optimizer/", "ratings/"])
def test_arrays_that_do_not_belong_to_the_model_are_not_read(prefix, path, monkeypatch):
    meta, arrays = content(path)
    rewrite(path, meta, arrays | {f"{prefix}{i}": np.zeros(1, np.float32) for i in range(3_000)})
    opened = []
    open_member = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, *args, **options: (
        opened.append(args), open_member(self, *args, **options))[1])
    with pytest.raises(ModelFileError, match=rf"{prefix}0 \(3000 such\)"):
        Model.load(path)
    assert len(opened) < 100


def test_loading_takes_a_few_times_the_memory_of_the_file(tmp_path):
    X = pd.DataFrame({"a": np.arange(20_000), "b": np.arange(20_000) % 7})
    FM(embedding_dim=32, epochs=1, batch_size=5_000).fit(X, [0, 1] * 10_000).save(tmp_path / "model", optimizer=True)
    size = (tmp_path / "model").stat().st_size
    tracemalloc.start()
    try:
        FM.load(tmp_path / "model")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * size


def edit(name, change):
    def edited(meta, arrays):
        arrays[name] = change(arrays[name])
    return edited


@pytest.mark.parametrize("change, why", [
    (lambda meta, arrays: meta.update(format=True), "format True"),
    (lambda meta, arrays: meta.update(format=1.0), "format 1.0"),
    (lambda meta, arrays: meta.update(more=float("nan")), "NaN is no number"),
    (lambda meta, arrays: meta.update(more=1), "foreign entry 'more'"),
    (lambda meta, arrays: meta["encoder"]["fields"][1].update(more=1), "more"),
    (change_settings(learning_rate=float("inf")), "Infinity is no number"),
    (change_settings(fields=["a", "c"]), "name the field 'c'"),
    (change_settings(fields=[{"kind": "Categorical", "name": "c", "min_count": 1, "buckets": None}]), "field 'c'"),
    (change_settings(fields=[{"kind": "Categorical", "name": "a", "min_count": 0, "buckets": None}]), "min_count"),
    (change_settings(fields=[["a"], "b"]), "damaged"),
    (edit("params/linear.w", lambda w: w.astype(">f8")), "linear.w is >f8"),
    (edit("params/linear.w", lambda w: w.astype("U4")), "linear.w holds no numbers"),
    (edit("params/linear.w", lambda w: np.zeros(w.shape, [("x", "f4")])), "holds no numbers"),
    (edit("encoder/0.lengths", lambda lengths: np.append(lengths[:-1] * 0, 3)), "not distinct"),
])
def test_the_page_and_the_headers_are_held_against_each_other(change, why, path):
    meta, arrays = content(path)
    change(meta, arrays)
    rewrite(path, meta, arrays)
    refused(path, why)


@pytest.mark.parametrize("big", [2 ** 64, -2 ** 63 - 1, (2 ** 61 - 1) * 2 ** 70])
def test_ids_of_ratings_are_numbers_of_64_bits(big, tmp_path):
    """Of longer ones any number can have the same hash, so that to tell whether they are distinct takes for ever."""
    LR(epochs=1).fit(user_ids=[1, 2, 3], item_ids=[4, 5, 4], ratings=[1, 2, 3]).save(tmp_path / "model")
    meta, arrays = content(tmp_path / "model")
    meta["rating_ids"]["users"][0] = big
    rewrite(tmp_path / "model", meta, arrays)
    refused(tmp_path / "model", "64 bits")


def members(path):
    with zipfile.ZipFile(path) as file:
        return {entry.filename: file.read(entry) for entry in file.infolist()}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_packed_by_another_program_loads_if_nothing_is_compressed_or_twice_there(method, model, path):
    parts = members(path)
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    if method == zipfile.ZIP_STORED:
        np.testing.assert_array_equal(Model.load(path).predict(table()), model.predict(table()))
    else:
        refused(path, "compressed")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("row_counts.npy", parts["row_counts.npy"])
    refused(path, "twice" if method == zipfile.ZIP_STORED else "compressed|twice")


@pytest.mark.parametrize("change, why", [
    (lambda data: data + b"more", "bytes in all"), (lambda data: data[:-1], "bytes in all"),
    (lambda data: data.replace(b"NUMPY\x01", b"NUMPY\x03"), "format"),
    (lambda data: data.replace(b"}", b","), "damaged"), (lambda data: b"", "damaged"),
    (lambda data: re.sub(rb"\((\d),", rb"(-\1,", data), "bytes in all"),
    (lambda data: data.replace(b"<f4", b"<f3"), "linear.w0 holds no numbers"),
    (lambda data: re.sub(rb"\(\d+,", b"(3", data), "format"),
    (lambda data: re.sub(rb"\(\d+,", b"(9999999999999999999999999999,", data), "linear.w0 is of a format")])
def test_the_size_of_an_array_is_that_of_its_header(change, why, path):
    parts = members(path)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, change(data) if name == "params/linear.w0.npy" else data)
    refused(path, why)


@pytest.mark.parametrize("before, after", [(64, 128), (128, 64)], ids=["longer", "shorter"])
def test_a_file_that_changes_while_it_is_read_is_noticed(before, after):
    """Its new header is longer, so that numbers are missing, or shorter; the checksum is made to match."""
    def entry(length):
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000,), }".ljust(length)
        return (b"\x93NUMPY\x01\x00" + bytes([length, 0]) + header).ljust(10 + before + 1000, b"\1")

    path = io.BytesIO()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", entry(before))
    archive = Archive(path)
    archive.header("a")
    path.seek(path.getvalue().index(entry(before)))
    path.write(entry(after))
    archive.entries["a"].CRC = zlib.crc32(entry(after))
    with pytest.raises(ModelFileError, match="the array a was changed while the file was read"):
        archive["a"]


def test_arrays_that_lie_over_one_another_are_refused(path):
    """A bomb without compression: many entries of the list of contents that all point at one stretch of the file."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta.npy", bytes(10_000))
        for i in range(50):
            again = zipfile.ZipInfo(f"params/{i}.npy")
            first = file.infolist()[0]
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.file_size = again.compress_size = first.file_size
            file.filelist.append(again)
            file.NameToInfo[again.filename] = again
    refused(path, "more bytes than the file|Overlapped")


def test_every_kind_of_field_reads_only_arrays_of_its_own(tmp_path):
    """Names of arrays are asked for, not gone through: as many fields as you like take time in proportion."""
    assert set(FIELD_CLASSES) == {"Categorical", "Numerical", "MultiValued"}
    X = pd.DataFrame({f"f{i}": ["a", "b|c", "c"] for i in range(12)})
    model = LR(fields=[MultiValued(name) for name in X], epochs=1).fit(X, [0, 1, 1])
    model.save(tmp_path / "model")
    meta, arrays = content(tmp_path / "model")
    assert {"encoder/1.text", "encoder/11.text"} <= arrays.keys()
    np.testing.assert_array_equal(LR.load(tmp_path / "model").predict_proba(X), model.predict_proba(X))
    rewrite(tmp_path / "model", meta, arrays | {"encoder/11.more": np.zeros(1)})
    refused(tmp_path / "model", "encoder/11.more")


# ------------------------------------------------------------------------------------------------ another process

@posix
@pytest.mark.parametrize("locks", [True, False])
def test_a_save_in_another_process_is_not_disturbed(locks, model, path, monkeypatch):
    """Its file is locked; on a file system without locks nothing is removed."""
    if not locks:
        def no_locks(*args):
            raise OSError(95, "Operation not supported")
        monkeypatch.setattr("fcntl.flock", no_locks)
    script = ("import sys; from minictr.estimator.atomic import replaced\n"
              "with replaced(sys.argv[1]) as file:\n"
              "    print('ready', flush=True); sys.stdin.readline(); file.write(b'theirs')\n")
    with subprocess.Popen([sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env=os.environ | {"PYTHONPATH": str(Path(minictr.__file__).parents[1])}) as other:
        assert other.stdout.readline() == "ready\n"
        model.save(path)
        FM.load(path)
        other.communicate("go on\n", timeout=600)
    assert other.returncode == 0 and path.read_bytes() == b"theirs" and os.listdir(path.parent) == ["model"]


def test_without_locks_what_is_left_goes_where_the_system_lets_it(model, path, monkeypatch):
    """As on Windows, which refuses to remove what is open."""
    monkeypatch.setattr("minictr.estimator.atomic.fcntl", None)
    (path.parent / f".model.{LEFT}.part").write_bytes(b"half")
    model.save(path)
    assert os.listdir(path.parent) == ["model"]
    FM.load(path)


def test_two_saves_through_a_copy_are_the_same_bytes(model, path):
    shutil.copy(path, path.with_name("copy"))
    Model.load(path.with_name("copy")).save(path.with_name("again"), optimizer=True)
    assert path.with_name("again").read_bytes() == path.read_bytes()


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Drawing(DeepFM):
    """A model whose parts go on drawing from the generator that built them."""

    def build(self, n, M, rng):
        super().build(n, M, rng)
        self.pooling, self.rng = FMPooling(), rng


def test_what_keeps_the_generator_may_draw_as_much_as_it_likes_later(tmp_path):
    fitted(Drawing, deep_layers=(2,)).save(tmp_path / "model")
    rng = Model.load(tmp_path / "model").rng
    for draw in (rng.standard_normal, rng.random, lambda n: rng.normal(size=n), lambda n: rng.uniform(size=n)):
        assert len(draw(100_000)) == 100_000


# ---- threads that load models, while others have Python parsed -----------------------------------------------------

@pytest.fixture
def parser_is_left_often():
    """Nearly every time that objects are made, Python collects garbage and goes on with another thread."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()

    def go_on_elsewhere(phase, info):
        time.sleep(0)

    sys.setswitchinterval(5e-6)
    gc.callbacks.append(go_on_elsewhere)
    gc.set_threshold(5)
    yield
    gc.set_threshold(*threshold)
    gc.callbacks.remove(go_on_elsewhere)
    sys.setswitchinterval(interval)


def test_models_load_in_several_threads_at_once(path, model, parser_is_left_often):
    """As a server does; CPython 3.11.7 fails where two threads have something parsed at a time (SystemError)."""
    expected, wrong = model.decision_function(table()), []

    def load():
        for _ in range(20):
            try:
                if not np.array_equal(Model.load(path).decision_function(table()), expected):
                    wrong.append("other predictions")
            except ModelFileError as error:
                wrong.append(str(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_is_read_without_the_parser_of_python(path, model, monkeypatch):
    """So that what other threads have parsed, a table's query for one, cannot get in the way."""
    def fail(*args, **options):
        raise SystemError("AST constructor recursion depth mismatch")

    with monkeypatch.context() as patch:                          # pytest parses what fails below it
        patch.setattr(ast, "parse", fail)
        loaded = Model.load(path)
        model.save(path)                                          # which tries whether the file can be read
    np.testing.assert_array_equal(loaded.predict(table()), model.predict(table()))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["?", "u1", "<i8", ">i4", "<f4", "<f8"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 0, 4), (2, 3, 4), (70_000, 20)])
def test_an_array_is_what_numpy_reads(shape, dtype, order, tmp_path):
    array = np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype, order=order)
    np.savez(tmp_path / "a.npz", a=array)
    with open(tmp_path / "a.npz", "rb") as file, np.load(tmp_path / "a.npz") as numpys:
        found, expected = Archive(file)["a"], numpys["a"]
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.flags.f_contiguous == expected.flags.f_contiguous
    np.testing.assert_array_equal(found, expected)
    found[...] = 0                                                # a loaded model can be trained further
