"""One array read from many threads and processes, and arrays that others must read."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
import zarr
import zarr.codecs as zc
from shardtools import BLOCK, numbers, read_all, samples, write

from geodata.errors import ReadError, ReadWarning
from geodata.files import local
from geodata.readers import zarrays
from geodata.readers.shards import ForeignArray, ShardedArray, open_array
from geodata.readers.shards.metadata import ArrayMeta


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_an_array_that_was_read_before(tmp_path, method):
    files, array = samples(tmp_path)
    here = ShardedArray(files, "")
    assert np.array_equal(here[...], array)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=read_all, args=(here, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=100) for _ in workers] == [array.astype("int64").sum()] * 2
    for worker in workers:
        worker.join(100)
        assert worker.exitcode == 0
    assert np.array_equal(here[...], array)


def test_what_travels_to_another_process_is_small(tmp_path):
    files, array = samples(tmp_path, n=40)
    here = ShardedArray(files, "")
    assert np.array_equal(here[...], array)
    data = pickle.dumps(here)
    assert len(data) < 1000
    assert np.array_equal(pickle.loads(data)[...], array)


def test_many_threads_read_while_files_are_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "MOST", 2)
    files, array = samples(tmp_path, n=40)
    here = ShardedArray(files, "")
    wrong: list[object] = []

    def read(seed):
        rng = np.random.default_rng(seed)
        out = np.empty((16, 3, 20, 30), "uint16")
        try:
            for _ in range(60):
                rows = rng.integers(0, 40, 16).tolist()
                here.read_many(rows, BLOCK, out)
                if not np.array_equal(out, array[rows]):
                    wrong.append(rows)
        except ReadError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(local._opened) <= 2 + 8  # each thread may be about to close one


def test_files_of_what_is_forgotten_are_closed(tmp_path):
    files, _ = samples(tmp_path)
    here = ShardedArray(files, "")
    before = len(local._opened)
    assert here[...].any() and len(local._opened) == before + 3
    del here, files
    assert len(local._opened) <= before


def test_a_file_that_was_written_anew_is_read(tmp_path):
    array = samples(tmp_path)[1]
    assert np.array_equal(open_array(str(tmp_path))[...], array)
    assert open_array(str(tmp_path)) is open_array(f"{tmp_path}/")
    meta = ArrayMeta.make((10, 3, 20, 30), "uint16", chunk=(1, 3, 20, 30), shard=(4, 3, 20, 30))
    write(tmp_path, array + 1, meta)
    assert np.array_equal(open_array(str(tmp_path))[...], array + 1)
    with pytest.raises(ReadError, match="not there"):
        open_array(str(tmp_path / "other"))


class Remote:
    """Files that are asked for many parts at once, and count how often."""

    remote = True

    def __init__(self, files):
        self.files, self.root, self.asked = files, files.root, []

    def size(self, name):
        return self.files.size(name)

    def read(self, name, start=0, length=None):
        return self.files.read(name, start, length)

    def read_many(self, requests):
        self.asked.append(list(requests))
        return self.files.read_many(requests)


@pytest.mark.parametrize("codec", ["lz4", "none"])
def test_chunks_of_another_machine_are_asked_for_at_once(tmp_path, codec):
    files, array = samples(tmp_path, codec)
    remote = Remote(files)
    here = ShardedArray(remote, "")
    out = np.empty((6, 3, 20, 30), "uint16")
    here.read_many([9, 0, 5, 0, 1, 8], BLOCK, out)
    assert np.array_equal(out, array[[9, 0, 5, 0, 1, 8]])
    assert [len(asked) for asked in remote.asked] == [5]  # one of them is wanted twice
    assert np.array_equal(here[2:7, 1], array[2:7, 1]) and len(remote.asked) == 2
    (tmp_path / "c/1/0/0/0").unlink()
    with pytest.raises(ReadError, match="c/1/0/0/0"):
        ShardedArray(remote, "")[...]


def foreign(folder, codecs, shape=(6, 5, 4)):
    array = numbers(shape, "int32")
    made = zarr.create(
        store=str(folder), shape=shape, dtype="int32", chunk_shape=(2, 5, 4), codecs=codecs, fill_value=0, zarr_format=3
    )
    made[...] = array
    return array


def test_what_is_not_known_here_is_read_by_others(tmp_path):
    array = foreign(tmp_path, [zc.BytesCodec(endian="big"), zc.ZstdCodec()])
    with pytest.warns(ReadWarning, match="endian 'big'"):
        here = open_array(str(tmp_path))
    assert isinstance(here, ForeignArray) and here.reader == "tensorstore"
    assert "endian 'big'" in here.describe() and "tensorstore" in here.describe() and str(tmp_path) in here.describe()
    assert (here.shape, here.dtype, here.ndim, here.chunks) == ((6, 5, 4), np.dtype("int32"), 3, (2, 5, 4))
    assert np.array_equal(here.read((slice(1, 5), 2, slice(0, 3))), array[1:5, 2, :3])
    out = np.empty((3, 2, 4), "int64")
    here.read_many([5, 0, 5], (slice(1, 3), slice(0, 4)), out)
    assert np.array_equal(out, array[[5, 0, 5], 1:3]) and np.array_equal(here[3, ...], array[3])
    assert np.array_equal(pickle.loads(pickle.dumps(here)).read((slice(0, 6), 0, 0)), array[:, 0, 0])
    for block in [(slice(0, 7), 0, 0), (6, 0, 0), (0, 0)]:
        with pytest.raises(ReadError):
            here.read(block)
    os.unlink(tmp_path / "c/1/0/0")
    with pytest.raises(ReadError, match="c/1/0/0 is not there"):
        here.read((slice(0, 6), 0, 0))


def test_a_codec_that_only_zarr_knows(tmp_path, recwarn):
    array = foreign(tmp_path, [zc.BytesCodec(endian="big"), zc.Crc32cCodec(), zc.ZstdCodec()])
    found = json.loads((tmp_path / "zarr.json").read_text())
    assert open_array(str(tmp_path)).read((0, 0, slice(0, 4))).tolist() == array[0, 0].tolist()
    found["codecs"][1]["name"] = "nobody.knows"
    (tmp_path / "zarr.json").write_text(json.dumps(found))
    with pytest.raises(ReadError, match=r"endian 'big'.*and zarr does not know it"):
        open_array(str(tmp_path))


def test_a_forked_process_does_not_touch_tensorstore(tmp_path):
    array = foreign(tmp_path, [zc.BytesCodec(endian="big")])
    with pytest.warns(ReadWarning, match="read by tensorstore, slower than by geodata"):
        here = open_array(str(tmp_path))
    assert here.read((0, 0, slice(0, 4))).tolist() == array[0, 0].tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def child():
        queue.put((here.reader, here.read((5, 4, slice(0, 4))).tolist()))

    worker = context.Process(target=child)
    worker.start()
    assert queue.get(timeout=100) == ("zarr", array[5, 4].tolist())
    worker.join(100)
    assert worker.exitcode == 0


def test_folders_of_zarr_are_read_here_if_they_can_be(tmp_path):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    array = numbers((8, 6), "uint16")
    root.create_array("known", shape=(8, 6), chunks=(2, 3), shards=(4, 6), dtype="uint16", fill_value=3)[:6] = array[:6]
    root.create_array("big", data=array.astype(">u2"), chunks=(2, 3), serializer=zc.BytesCodec(endian="big"))
    zarr.create_array(str(tmp_path / "old.zarr"), data=array, zarr_format=2)
    folder = zarrays.open_zarr(str(tmp_path / "a.zarr"))
    assert isinstance(folder.array("known"), ShardedArray)
    with pytest.warns(ReadWarning, match="endian 'big'.*zarr reads it"):
        assert isinstance(folder.array("big"), zarr.Array)
    assert np.array_equal(folder.array("known")[:6], array[:6]) and (folder.array("known")[6:] == 3).all()
    assert np.array_equal(folder.array("big")[1:], array[1:])
    assert isinstance(zarrays.open_zarr(str(tmp_path / "old.zarr")).array(""), zarr.Array)
