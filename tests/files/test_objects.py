"""Objects of S3 read and written as files are; the oracle is plain HTTP to the same server."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from s3 import call, get, put, read_twice

from geodata.errors import ReadError, StoreError
from geodata.files import LocalFiles, files_at
from geodata.files.client import reason
from geodata.files.objects import ObjectFiles

ODD = ["a b", "a%20b", "ü/é", "a#b?c&d=+e", "with:colon", "tilde~star*", "c/0/0/0/0", "it's", "[x]", "..x", "x.."]


@pytest.fixture(params=["", "/deep er/ü.zarr"])
def place(request, server, bucket):
    """Files below a root, and the URL of that root."""
    return files_at(f"s3://{bucket}{request.param}"), f"{server}/{bucket}{request.param.replace(' ', '%20')}".replace(
        "ü", "%C3%BC"
    )


def test_what_is_written_is_there(place):
    files, url = place
    files.put("s/c/0/0", [b"abc", b"", np.arange(3, dtype="<i2"), memoryview(b"z")])
    assert get(url, "s/c/0/0") == b"abc\0\0\1\0\2\0z"
    assert files.size("s/c/0/0") == 10
    files.put("s/c/0/0", [b"new"])
    assert get(url, "s/c/0/0") == b"new" == bytes(files.read("s/c/0/0"))
    files.delete("s/c/0/0")
    files.delete("s/c/0/0")
    assert get(url, "s/c/0/0") is None and files.size("s/c/0/0") is None


def test_parts_are_those_of_the_file(place):
    files, url = place
    data = np.random.default_rng(0).bytes(5000)
    put(url, "a/b", data)
    for start, length in [(0, 5000), (0, 1), (4999, 1), (17, 100), (0, 0), (5000, 0), (2500, 2500)]:
        assert bytes(files.read("a/b", start, length)) == data[start : start + length]
    assert bytes(files.read("a/b", 4000)) == data[4000:]
    assert bytes(files.read("a/b", 5000)) == b""
    outs = [bytearray(10), bytearray(0), bytearray(20)]
    files.read_into("a/b", 30, *map(memoryview, outs))
    assert b"".join(map(bytes, outs)) == data[30:60]


@pytest.mark.parametrize("cache", [0, 1 << 20])
@pytest.mark.parametrize(("start", "length"), [(5, 6), (10, 1), (11, 1), (11, 0), (-1, 2), (2, -1), (0, 11)])
def test_nothing_beyond_the_end(bucket, server, cache, start, length):
    put(f"{server}/{bucket}", "x", b"0123456789")
    with pytest.raises(ReadError, match=r"ends|has 10 bytes|0 or more"):
        ObjectFiles(f"s3://{bucket}", cache).read("x", start, length)


@pytest.mark.parametrize("cache", [0, 1 << 20])
def test_empty_objects(bucket, server, cache):
    files = ObjectFiles(f"s3://{bucket}", cache)
    files.put("empty", [])
    assert get(f"{server}/{bucket}", "empty") == b"" and files.size("empty") == 0
    assert bytes(files.read("empty")) == b"" == bytes(files.read("empty", 0, 0))
    with pytest.raises(ReadError, match="ends"):
        files.read("empty", 0, 1)


@pytest.mark.parametrize("cache", [0, 1 << 20])
def test_an_object_that_is_not_there(bucket, cache):
    files = ObjectFiles(f"s3://{bucket}/r", cache)
    asked = [
        lambda: files.read("no"),
        lambda: files.read("no", 1, 2),
        lambda: files.read("no", 0, 0),
        lambda: files.read_into("no", 0, memoryview(bytearray(2))),
        lambda: files.read_many([("no", 0, 1)]),
    ]
    for ask in asked:
        with pytest.raises(ReadError, match=f"s3://{bucket}/r/no is not there"):
            ask()


def test_odd_names(place):
    files, url = place
    for name in ODD:
        files.put(name, [name.encode()])
    assert sorted(files.names()) == sorted(ODD)
    for name in ODD:
        assert get(url, name) == name.encode() == bytes(files.read(name))


def test_names(place, tmp_path):
    files, _ = place
    local = LocalFiles(str(tmp_path))
    for name in ["a/b/c", "a/bc", "a/b/d/e", "ab", "b"]:
        files.put(name, [b"1"])
        local.put(name, [b"1"])
    for prefix in ["", "a", "a/", "a/b", "a/b/", "a/b/d", "ab", "x", "x/y"]:
        assert sorted(files.names(prefix)) == sorted(local.names(prefix)), prefix


def test_many_names(bucket, server):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: put(f"{server}/{bucket}", f"c/{n}", b""), range(1100)))
    assert sorted(files_at(f"s3://{bucket}").names()) == sorted(f"c/{n}" for n in range(1100))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//b", ".", "", "a/", "./a"])
def test_names_stay_below_the_root(bucket, name):
    files = files_at(f"s3://{bucket}/r")
    for ask in (files.read, files.size, lambda name: files.read_many([(name, 0, 1)])):
        with pytest.raises(ReadError, match="no name below"):
            ask(name)
    for write in (files.delete, lambda name: files.put(name, [b""])):
        with pytest.raises(StoreError, match="no name below"):
            write(name)


def test_names_of_a_folder_above(bucket):
    with pytest.raises(ReadError, match="no name below"):
        list(files_at(f"s3://{bucket}/r").names("../x"))


@pytest.mark.parametrize("root", ["s3://", "s3:///x", "http://host/x", "ftp://x/y", "s3://b/../c", "s3://b/a//c"])
def test_no_url_of_a_store(root):
    with pytest.raises(ReadError, match=r"no URL of an object store|no name below"):
        files_at(root)


def test_places_say_if_they_are_remote(tmp_path):
    assert files_at("s3://b/x").remote and not files_at(str(tmp_path)).remote


@pytest.mark.parametrize("cache", [0, 1 << 30])
def test_they_are_light_to_send(bucket, cache):
    files = ObjectFiles(f"s3://{bucket}/name.zarr", cache)
    files.put("x", [b"1"])
    files.read("x")
    sent = pickle.dumps(files)
    assert len(sent) < 300
    again = pickle.loads(sent)
    assert (again.root, again.cache) == (files.root, cache) and bytes(again.read("x")) == b"1"


def test_a_large_object_is_uploaded_in_pieces(line, bucket, server):
    data = np.random.default_rng(1).bytes(100 << 20)
    files = files_at(f"s3://{bucket}")
    files.put("big", [data[:7], data[7 : 1 << 20], data[1 << 20 :]])
    assert get(f"{server}/{bucket}", "big") == data
    assert sum(method == "PUT" and "partNumber" in path for method, path, _ in line.seen) == 7


def test_a_large_object_that_fails_leaves_nothing(line, bucket, server, monkeypatch):
    monkeypatch.setattr("geodata.files.objects.SINGLE", 1 << 20)
    files = files_at(f"s3://{bucket}")
    files.put("big", [b"old"])
    line.only, line.faults = "partNumber=2", {"PUT": ["403"] * 20}
    with pytest.raises(StoreError, match="access was refused"):
        files.put("big", [bytes(40 << 20)])
    assert get(f"{server}/{bucket}", "big") == b"old"
    assert b"<UploadId>" not in call(f"{server}/{bucket}?uploads")[1]
    line.faults = {}
    files.put("big", [b"new"])
    assert get(f"{server}/{bucket}", "big") == b"new"


def test_threads(bucket):
    files = files_at(f"s3://{bucket}")
    rng = np.random.default_rng(2)
    held = {f"c/{n}": rng.bytes(3000) for n in range(16)}

    def work(name):
        files.put(name, [held[name]])
        return [bytes(files.read(name, at, 100)) == held[name][at : at + 100] for at in range(0, 2900, 290)]

    with ThreadPoolExecutor(8) as pool:
        assert all(all(same) for same in pool.map(work, held))


@pytest.mark.parametrize(("method", "cache", "count"), [("fork", 0, 3), ("fork", 1000, 3), ("spawn", 1000, 1)])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_made_while_a_store_is_open(bucket, method, cache, count):
    context = multiprocessing.get_context(method)
    files = ObjectFiles(f"s3://{bucket}/r", cache)
    files.put("x", [b"hello"])
    files.read("x")
    for _ in range(2 if method == "fork" else 1):
        queue = context.Queue()
        children = [context.Process(target=read_twice, args=(files, queue)) for _ in range(count)]
        for child in children:
            child.start()
        got = [queue.get(timeout=120) for _ in range(2 * count)]
        for child in children:
            child.join(120)
        assert sorted(map(str, got)) == sorted(map(str, [[b"hello", 1], [b"h", b"e", b"l", b"l", b"o"]] * count))
        assert bytes(files.read("x")) == b"hello"  # the children did nothing to their parent


FORKS = """
import os, sys, signal, threading
{first}
from geodata.files import files_at

def child(files, deeper):
    signal.alarm(60)
    good = bytes(files.read("x")) == b"hello" and bytes(files_at(sys.argv[1]).read("x", 1, 2)) == b"el"
    if deeper:
        good = good and forked(files, deeper - 1)
    return good

def forked(files, deeper):
    number = os.fork()
    if not number:
        good = child(files, deeper)
        del files
        # An end that takes down every object, as multiprocessing's children do not.
        sys.exit(0 if good else 1)
    return os.waitpid(number, 0)[1] == 0

files = files_at(sys.argv[1])
{before}
stop = threading.Event()
def busy():
    while not stop.is_set():
        files.read("x")
thread = threading.Thread(target=busy)
{start}
good = all([forked(files, 1) for _ in range(3)])
stop.set()
print(good, bytes(files.read("x")))
"""


@pytest.mark.parametrize(
    ("first", "before", "start"),
    [
        ("", "", ""),
        ("", "files.read('x')", ""),
        ("", "files.read('x')", "thread.start()"),
        ("import obstore; from obstore.store import MemoryStore; obstore.put(MemoryStore(), 'x', b'')", "", ""),
    ],
    ids=["unused", "used", "in use", "used by others"],
)
def test_forks_of_forks(bucket, first, before, start):
    files_at(f"s3://{bucket}").put("x", [b"hello"])
    code = FORKS.format(first=first, before=before, start=start)
    run = subprocess.run(
        [sys.executable, "-c", code, f"s3://{bucket}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stdout.splitlines()[-1:] == ["True b'hello'"], run.stderr


def test_importing_geodata_does_not_import_the_client(tmp_path):
    code = "import sys, geodata, geodata.files; print('obstore' in sys.modules, 'geodata.files.objects' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["False", "False"], run.stderr


def test_without_obstore(monkeypatch):
    from geodata.errors import MissingDependencyError
    from geodata.files import client

    monkeypatch.setattr(client, "_HERE", client._Process())
    monkeypatch.setattr(client._HERE, "foreign", False)
    monkeypatch.setitem(sys.modules, "obstore._obstore", None)
    with pytest.raises(MissingDependencyError, match=r"geodata\[cloud\]"):
        files_at("s3://b/x").size("x")


def test_reasons_hold_no_secrets():
    said = "Error: 403 Forbidden: <Error><Code>A</Code><StringToSign>KEY</StringToSign></Error>\n\nDebug source: KEY"
    assert "KEY" not in reason(ValueError(said)) and "A" in reason(ValueError(said))
    assert os.linesep not in reason(ValueError(said))
