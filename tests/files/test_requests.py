"""How many requests reading costs, counted on the line, and what is kept in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from s3 import put

from geodata.errors import ReadError
from geodata.files import LocalFiles, files_at
from geodata.files.objects import AT_ONCE, GAP, ObjectFiles

RNG = np.random.default_rng(3)


def test_near_ranges_share_a_request(line, bucket, server, tmp_path):
    data = {"a/c/0": RNG.bytes(4 << 20), "b/c/0": RNG.bytes(1 << 20)}
    for name, held in data.items():
        put(f"{server}/{bucket}", name, held)
        LocalFiles(str(tmp_path)).put(name, [held])
    files = files_at(f"s3://{bucket}")
    far = 100 + GAP
    wanted = [("a/c/0", 0, 100), ("b/c/0", 5, 7), ("a/c/0", far + 1, 50), ("a/c/0", 40, 70), ("b/c/0", 9, 0)]
    wanted += [("a/c/0", far + 1, 50), ("a/c/0", far + 40 + 2 * GAP, 1), ("a/c/0", 50, 10)]
    got = files.read_many(wanted)
    assert [bytes(part) for part in got] == [data[name][at : at + n] for name, at, n in wanted]
    assert [bytes(part) for part in LocalFiles(str(tmp_path)).read_many(wanted)] == [bytes(part) for part in got]
    assert sorted(line.gets()) == sorted(
        [
            (f"/{bucket}/a/c/0", f"bytes=0-{far + 50}"),
            (f"/{bucket}/a/c/0", f"bytes={far + 40 + 2 * GAP}-{far + 40 + 2 * GAP}"),
            (f"/{bucket}/b/c/0", "bytes=5-11"),
        ]
    )
    assert files.requests == {"gets": 3, "bytes": far + 51 + 1 + 7}
    assert files.read_many([]) == []


def test_a_gap_that_is_too_wide(line, bucket, server):
    put(f"{server}/{bucket}", "a", bytes(2 * GAP))
    files = files_at(f"s3://{bucket}")
    files.read_many([("a", 0, 1), ("a", GAP + 1, 1)])
    assert files.requests["gets"] == len(line.gets()) == 1
    files.read_many([("a", 0, 1), ("a", GAP + 2, 1)])
    assert files.requests["gets"] == len(line.gets()) == 3


def test_objects_are_fetched_side_by_side(line, bucket, server):
    names = [f"c/{n}" for n in range(AT_ONCE + 4)]
    for name in names:
        put(f"{server}/{bucket}", name, name.encode())
    line.slow = 0.2
    got = files_at(f"s3://{bucket}").read_many([(name, 0, len(name)) for name in names])
    assert [bytes(part).decode() for part in got] == names
    assert 1 < line.most <= AT_ONCE


def test_a_whole_object_costs_one_request(line, bucket, server):
    data = RNG.bytes(100_000)
    put(f"{server}/{bucket}", "c/0", data)
    files = ObjectFiles(f"s3://{bucket}", cache=1 << 20)
    line.slow = 0.1
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda at: bytes(files.read("c/0", at, 10)), range(0, 90_000, 1000)))
    assert parts == [data[at : at + 10] for at in range(0, 90_000, 1000)]
    assert bytes(files.read("c/0")) == data and bytes(files.read_many([("c/0", 7, 9)])[0]) == data[7:16]
    assert line.gets() == [(f"/{bucket}/c/0", None)]
    assert files.requests == {"gets": 1, "bytes": 100_000}
    one, two = memoryview(files.read("c/0", 0, 10)), memoryview(files.read("c/0", 0, 10))
    assert np.shares_memory(np.asarray(one), np.asarray(two)) and one.readonly


def test_the_longest_unused_goes_first(line, bucket, server):
    for name in "abcd":
        put(f"{server}/{bucket}", name, name.encode() * 100)
    put(f"{server}/{bucket}", "large", bytes(301))
    files = ObjectFiles(f"s3://{bucket}", cache=300)

    def asked(name):
        before = len(line.gets())
        assert bytes(files.read(name, 0, 3)) == name.encode() * 3 if name != "large" else True
        return len(line.gets()) - before

    assert [asked(name) for name in "abcabdcab"] == [1, 1, 1, 0, 0, 1, 1, 1, 1]
    assert bytes(files.read("large", 300, 1)) == b"\0"  # looked at once, then by ranges
    before = len(line.gets())
    files.read("large", 0, 1)
    assert line.gets()[before:] == [(f"/{bucket}/large", "bytes=0-0")]
    assert asked("b") == 0  # it made no room for what is never kept


def test_what_is_written_is_not_kept_as_it_was(bucket):
    files = ObjectFiles(f"s3://{bucket}", cache=1000)
    files.put("x", [b"old"])
    assert bytes(files.read("x")) == b"old"
    files.put("x", [b"new"])
    assert bytes(files.read("x")) == b"new"
    files.delete("x")
    with pytest.raises(ReadError, match="not there"):
        files.read("x")


def test_a_failed_download_is_asked_for_again(line, bucket, server):
    put(f"{server}/{bucket}", "x", b"abc")
    files = ObjectFiles(f"s3://{bucket}", cache=1000)
    line.faults, line.slow = {"GET": ["403"]}, 0.2
    with ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(files.read, "x") for _ in range(4)]
        assert all(isinstance(each.exception(), ReadError) for each in tries)
    assert len(line.gets()) == 1
    assert bytes(files.read("x")) == b"abc"


def test_cache_is_a_size():
    with pytest.raises(ReadError, match="cache is -1"):
        ObjectFiles("s3://b/x", -1)
