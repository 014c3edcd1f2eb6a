"""What a writer is asked and cannot do: where the store is to be, and who is to write it."""

from __future__ import annotations

import errno
import itertools
import json
import os
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import zarr
from crashing import running, tree
from makers import north_up, write_tif

from geodata.datasets import RasterDataset
from geodata.errors import StoreError
from geodata.store import backends, convert, open_store, verify
from geodata.store.convert import tasks_of
from geodata.store.plan import plan_of

PLANNED = {
    "split": None, "order": "shuffled", "layout": None, "codec": "lz4", "dtype": None, "chunk_bands": None, "shard": 2,
    "pad": False,
}  # fmt: skip


def scenes(folder, count=5, seed=3):
    rng = np.random.default_rng(seed)
    for i in range(count):
        data = rng.integers(0, 60000, (2, 6, 7)).astype(np.uint16)
        write_tif(folder / f"{i}.tif", data, north_up(x=500000 + 200 * i), nodata=0)
    return RasterDataset(folder)


@pytest.fixture
def source(tmp_path):
    return scenes(tmp_path / "scenes")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zarr"


# ------------------------------------------------------------------ where


def test_a_folder_with_other_files(source, out):
    out.mkdir()
    (out / "thesis.tex").write_text("...")
    before = tree(out)
    with pytest.raises(StoreError, match="holds other files and is no store; choose another place"):
        convert(source, out)
    assert tree(out) == before


def test_an_empty_folder_will_do(source, out):
    out.mkdir()
    convert(source, out)
    assert verify(out).passed


def test_another_zarr(source, out):
    zarr.create_group(out, zarr_format=3).create_array("x", shape=(3,), dtype="i4")
    before = tree(out)
    with pytest.raises(StoreError, match="is Zarr, but no store that geodata wrote"):
        convert(source, out)
    assert tree(out) == before


def test_a_zarr_of_format_2(source, out):
    zarr.create_group(out, zarr_format=2)
    before = tree(out)
    with pytest.raises(StoreError, match="holds other files and is no store"):
        convert(source, out)
    assert tree(out) == before


@pytest.mark.parametrize("root", [b"", b"[]", b"{", b"\xff\xfe", b'{"attributes": {"geodata": 3}}', b"null"])
def test_a_root_that_is_none(source, out, root):
    out.mkdir()
    (out / "zarr.json").write_bytes(root)
    with pytest.raises(StoreError, match="no store that geodata wrote"):
        convert(source, out)
    with pytest.raises(StoreError):
        open_store(out)


def test_a_store_of_another_version(source, out):
    convert(source, out)
    root = json.loads((out / "zarr.json").read_text())
    root["attributes"]["geodata"]["version"] = 99
    (out / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match="store of version 99, wanted 1"):
        convert(source, out)


def test_other_parameters_while_it_is_begun(source, out):
    damage(source, out)
    for how, name in (({"codec": "zstd"}, "arrays"), ({"order": "source"}, "order"), ({"shard": 3}, "arrays")):
        with pytest.raises(StoreError, match=rf"holds the beginning of a store .*they differ in .*{name}"):
            convert(source, out, **({"shard": 2} | how))


def damage(source, out):
    """Begin a store and stop at a file that cannot be read."""
    path = os.path.join(source.catalog.root, "3.tif")
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data[:100])
    with pytest.raises(Exception, match=r"3\.tif"):
        convert(source, out, shard=2)
    with open(path, "wb") as file:
        file.write(data)


def test_other_parameters_or_another_source(source, out, tmp_path):
    convert(source, out, shard=2)
    before = tree(out)
    for how in ({"shard": 3}, {"codec": "none"}, {"order": "source"}, {"dtype": "float32"}):
        with pytest.raises(StoreError, match="holds a store that was made from other parameters or another source"):
            convert(source, out, **({"shard": 2} | how))
    with pytest.raises(StoreError, match="other parameters or another source"):
        convert(scenes(tmp_path / "fewer", 4), out, shard=2)
    assert tree(out) == before
    assert convert(source, out, shard=2) == verify(out).digest
    assert tree(out) == before


def test_below_a_file(source, tmp_path):
    (tmp_path / "file").write_text("...")
    for out, said in ((tmp_path / "file", "is a file"), (tmp_path / "file" / "out.zarr", "cannot write")):
        with pytest.raises(StoreError, match=said):
            convert(source, out)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("what", ["open", "makedirs"])
def test_a_place_that_cannot_be_written_to(source, out, monkeypatch, number, what):
    """Permissions do not bind root, who may run this test."""
    real = getattr(os, what)

    def refusing(path, *args, **kwargs):
        if str(path).startswith(str(out)) and (what == "makedirs" or args[0] & os.O_WRONLY):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, what, refusing)
        with pytest.raises(StoreError, match=f"{os.strerror(number)}; choose a place that can be written to"):
            convert(source, out)
    convert(source, out)
    assert verify(out).passed


# ------------------------------------------------------------------ who


def test_workers_and_scheduler(source, out):
    with pytest.raises(StoreError, match="workers= or scheduler=, not both"):
        convert(source, out, workers=2, scheduler="tcp://127.0.0.1:1")
    for workers in (0, -1):
        with pytest.raises(StoreError, match=f"workers={workers} must be at least 1"):
            convert(source, out, workers=workers)
    assert not out.exists()


def test_more_workers_than_tasks(source, out, tmp_path):
    digest = convert(source, tmp_path / "one.zarr", shard=2)
    assert convert(source, out, shard=2, workers=5) == digest
    assert tree(out) == tree(tmp_path / "one.zarr")


def test_a_task_where_the_store_is_not(source, out, tmp_path):
    """Another machine may see nothing under the path, or something else."""
    plan = plan_of(source, **PLANNED)
    nowhere = tmp_path / "nowhere.zarr"
    for task in tasks_of(str(nowhere), plan, [(0, 0, 0), (1, 0, 0)]):
        with pytest.raises(StoreError, match=f"does not see the store at {nowhere}"):
            task.run()
    assert not nowhere.exists()
    convert(source, out, shard=2)
    before = tree(out)
    for task in tasks_of(str(out), plan, [(0, 0, 0)]):
        # The store is finished: a worker that is late has nothing to do there any more.
        with pytest.raises(StoreError, match="does not see the store"):
            task.run()
    assert tree(out) == before


@pytest.mark.parametrize("breaking", [{1}, {2}, {3}, {5}, {2, 4}, {1, 2}])
def test_a_pool_that_breaks_while_tasks_are_given_out(source, out, tmp_path, monkeypatch, breaking):
    """A worker may die between two tasks; none of those on their way is lost."""
    count = itertools.count(1)

    class Breaking:
        def __init__(self, *args, **kwargs):
            pass

        def submit(self, function, task):
            if next(count) in breaking:
                raise BrokenProcessPool
            future = Future()
            future.set_result(function(task))
            return future

        def shutdown(self, **kwargs):
            pass

    digest = convert(source, tmp_path / "one.zarr", shard=1)
    monkeypatch.setattr(backends, "ProcessPoolExecutor", Breaking)
    assert convert(source, out, shard=1, workers=2) == digest
    assert tree(out) == tree(tmp_path / "one.zarr")


def test_a_pool_that_always_breaks(source, out, monkeypatch):
    class Broken:
        def __init__(self, *args, **kwargs):
            pass

        def submit(self, function, task):
            raise BrokenProcessPool

        def shutdown(self, **kwargs):
            pass

    monkeypatch.setattr(backends, "ProcessPoolExecutor", Broken)
    with pytest.raises(StoreError, match=r"workers died 3 times at shard \(0, 0, 0\); is there enough memory for 2"):
        convert(source, out, shard=1, workers=2)


UNGUARDED = """
import sys
from geodata.datasets import RasterDataset
from geodata.store import convert
print(convert(RasterDataset(sys.argv[1]), sys.argv[2], shard=2, workers=2))
"""


def test_a_script_that_has_no_guard(source, out, tmp_path):
    """Each worker would run it anew."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    with running(tmp_path) as runs:
        run = runs.start(script, tmp_path / "scenes", out)
        assert run.ended() == 1
        assert "StoreError" in run.text() and "if __name__ == '__main__'" in run.text(), run.text()
    convert(source, out, shard=2)
    assert verify(out).passed
