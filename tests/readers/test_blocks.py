"""Blocks of plain TIFFs: decoded in steps, kept within a limit, shared by threads, left behind by a fork."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import zlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiffs import GEO, packed, tiff

from geodata.errors import ReadError
from geodata.readers import blocks
from geodata.readers.blocks import Block, Cache, Undecodable, inflated
from geodata.readers.tiff import read_pixels

CODECS = (5, 8, 32946, 50000)


def noise(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 99, shape).astype(dtype)


def predicted(array: np.ndarray) -> np.ndarray:
    found = array.copy()
    found[:, 1:] -= array[:, :-1]
    return found


# ---------------------------------------------------------------------- decoding


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=8), st.sampled_from(CODECS), st.booleans(), st.sampled_from("<>")
)
def test_rows_are_right_in_whatever_steps_they_are_asked_for(
    steps: list[int], compression: int, predictor: bool, order: str
) -> None:
    array = noise((200, 50, 9))
    stored = (predicted(array) if predictor else array).astype(f"{order}u2")
    raw = packed(stored.tobytes(), compression)
    block = Block(raw, array.shape, stored.dtype, compression, 2 if predictor else 1)
    for end in steps:
        assert np.array_equal(block.rows(end)[:end], array[:end])
        assert block.done >= end
    if compression == 8:
        assert block.done == max(steps), "a stream stops at the row that is needed"


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_every_dtype_comes_back_in_the_byte_order_of_the_machine(dtype: str) -> None:
    array = noise((100, 40, 50), dtype)
    for order in "<>":
        stored = array.astype(np.dtype(dtype).newbyteorder(order))
        block = Block(zlib.compress(stored.tobytes()), array.shape, stored.dtype, 8, 1)
        assert np.array_equal(block.rows(3)[:3], array[:3]) and np.array_equal(block.rows(100), array)
        assert block.pixels.dtype.isnative


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("shape", [(8, 8, 1), (256, 256, 1)])
def test_blocks_that_are_too_short(compression: int, shape: tuple[int, int, int]) -> None:
    array = noise(shape)
    raw = packed(array[:-1].tobytes(), compression)
    with pytest.raises(Undecodable):
        Block(raw, shape, array.dtype, compression, 1).rows(shape[0])
    whole = packed(array.tobytes(), compression)
    for cut in (0, 1, 2, len(whole) // 2):
        with pytest.raises(Undecodable):
            Block(whole[:cut], shape, array.dtype, compression, 1).rows(shape[0])


def test_a_stream_that_failed_does_not_go_on() -> None:
    """Fed once more, its first bytes would be taken for the ones after the damage."""
    array = noise((512, 256, 1))
    raw = zlib.compress(array.tobytes(), 0)  # stored: whatever follows is taken as it comes
    block = Block(raw[: len(raw) // 2], array.shape, array.dtype, 8, 1)
    assert np.array_equal(block.rows(100)[:100], array[:100])
    for _ in range(3):
        with pytest.raises(Undecodable):
            block.rows(400)
        with pytest.raises(Undecodable):
            block.rows(200)
        assert np.array_equal(block.rows(100)[:100], array[:100]), "what was right stays right"


def test_a_stream_that_was_broken_off_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were decoded and then lost, for want of memory: the next ones would take their place."""
    array = noise((512, 256, 1))
    block = Block(zlib.compress(array.tobytes()), array.shape, array.dtype, 8, 1)
    block.rows(100)

    def fail(*args: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(blocks, "restored", fail)
        with pytest.raises(MemoryError):
            block.rows(200)
    with pytest.raises(Undecodable):
        block.rows(200)
    assert np.array_equal(block.rows(100)[:100], array[:100])


@pytest.mark.parametrize("steps", [(512,), (100, 512), (1, 511, 512)])
def test_the_checksum_is_looked_at_once_the_end_is_reached(steps: tuple[int, ...]) -> None:
    array = noise((512, 256, 1))
    raw = bytearray(zlib.compress(array.tobytes()))
    raw[-1] ^= 1
    block = Block(bytes(raw), array.shape, array.dtype, 8, 1)
    for end in steps[:-1]:
        assert np.array_equal(block.rows(end)[:end], array[:end])
    with pytest.raises(Undecodable):
        block.rows(512)


@pytest.mark.parametrize("steps", [(512,), (100, 512)])
@pytest.mark.parametrize("more", ["rows", "nothing after all", "no end"])
def test_a_stream_ends_where_its_block_ends(steps: tuple[int, ...], more: str) -> None:
    """GDAL takes longer ones, so it is asked; an empty part at the end is no more than a writer's habit."""
    array = noise((512, 256, 1))
    data = array.tobytes()
    packer = zlib.compressobj()
    raw = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    if more == "rows":
        raw += packer.compress(b"more")
    if more != "no end":
        raw += packer.flush()
    block = Block(raw, array.shape, array.dtype, 8, 1)
    for end in steps[:-1]:
        block.rows(end)
    if more == "nothing after all":
        assert np.array_equal(block.rows(512), array)
    else:
        with pytest.raises(Undecodable):
            block.rows(512)


def test_small_blocks_are_always_decoded_to_their_checksum() -> None:
    """A stream delivers 64 KB at once, so stopping early in less than that saves nothing."""
    array = noise((128, 256, 1))
    raw = bytearray(zlib.compress(array.tobytes()))
    raw[-1] ^= 1
    with pytest.raises(Undecodable):
        Block(bytes(raw), array.shape, array.dtype, 8, 1).rows(1)


def test_lzw_of_the_oldest_kind_is_left_to_gdal() -> None:
    """Its bits run the other way, and its codes grow one later."""
    for first in range(256):
        data = bytes([first]) * 9
        bits = sum(code << 9 * i for i, code in enumerate([256, *data, 257]))
        with pytest.raises(Undecodable, match="oldest"):
            inflated(bits.to_bytes(13, "little"), len(data), 5)


def test_lzw_that_is_cut_off_within_its_last_code() -> None:
    """The decoder would make up the bits that are missing."""
    made_up = 0
    for seed in range(40):
        data = noise((300 + seed,), "u1", seed).tobytes()
        raw = packed(data, 5)
        assert bytes(inflated(raw, len(data), 5)) == data
        for end in range(len(raw) - 6, len(raw)):
            with contextlib.suppress(Undecodable):
                assert bytes(inflated(raw[:end], len(data), 5)) == data
            found = imagecodecs.lzw_decode(raw[:end], out=len(data))
            made_up += len(found) == len(data) and bytes(found) != data
    assert made_up


def test_views_of_bytes_are_decoded_too() -> None:
    data = noise((100,)).tobytes()
    for compression in CODECS:
        raw = b"before" + packed(data, compression) + b"after"
        assert bytes(inflated(memoryview(raw)[6:-5], len(data), compression)) == data


# ---------------------------------------------------------------------- the cache


class Weight:
    """Something of a size."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.booleans()), max_size=80))
def test_the_longest_unused_goes_first_and_the_limit_holds(steps: list[tuple[int, int, bool]]) -> None:
    cache: Cache[Weight] = Cache(100)
    model: OrderedDict[int, Weight] = OrderedDict()
    for key, size, find in steps:
        if find:
            assert cache.find(key) is model.get(key)
            if key in model:
                model.move_to_end(key)
            continue
        thing = Weight(size)
        wanted = model.setdefault(key, thing)
        assert cache.keep(key, thing) is wanted
        if wanted is thing:
            while sum(t.nbytes for t in model.values()) > 100 and len(model) > 1:
                model.popitem(last=False)
        assert len(cache) == len(model) and cache.nbytes == sum(t.nbytes for t in model.values())
        assert cache.nbytes <= 100 or len(cache) == 1
    cache.clear()
    assert len(cache) == cache.nbytes == 0


def test_one_thing_beyond_the_limit_is_kept_alone() -> None:
    cache: Cache[Weight] = Cache(100)
    cache.keep("a", Weight(30))
    cache.keep("b", Weight(1000))
    assert cache.find("a") is None and cache.find("b") is not None and cache.nbytes == 1000
    cache.keep("c", Weight(1))
    assert cache.find("b") is None and cache.nbytes == 1


def test_a_block_says_all_that_it_takes(tmp_path: Path) -> None:
    """A stream that waits takes more than many a block: thousands of half decoded ones must count."""
    array = noise((300, 120, 1))
    raw = zlib.compress(array.tobytes(), 1)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is read from /proc")
    kept = [Block(bytes(bytearray(raw)), array.shape, array.dtype, 8, 1) for _ in range(20)]
    before = resident()
    for _ in range(400):
        block = Block(bytes(bytearray(raw)), array.shape, array.dtype, 8, 1)
        block.rows(299)
        kept.append(block)
    taken = resident() - before
    said = sum(block.nbytes for block in kept[20:])
    assert taken < 1.2 * said, f"{taken / 400:.0f} bytes each, {said / 400:.0f} said"


def test_the_limit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, wanted in (("1", 1 << 20), ("0", 0)):
        monkeypatch.setenv("GEODATA_CACHEMAX", text)
        assert blocks._limit() == wanted
    for text in ("5%", "-1", "1.5", "64MB"):
        monkeypatch.setenv("GEODATA_CACHEMAX", text)
        with pytest.raises(ReadError, match=r"GEODATA_CACHEMAX=.* must be a whole number of megabytes"):
            blocks._limit()


# ---------------------------------------------------------------------- threads


def archive(folder: Path) -> list[tuple[str, np.ndarray]]:
    """Write a few files whose blocks together are many times a megabyte."""
    found = []
    for i, compression in enumerate((8, 50000, 5, 8)):
        array = np.cumsum(noise((3, 600, 500), seed=i), axis=2).astype(np.uint16)
        path = folder / f"{i}.tif"
        path.write_bytes(tiff(array, tile=(256, 256), compression=compression, predictor=2, planar=i == 3, tags=GEO))
        os.utime(path)
        found.append((str(path), array))
    return found


def check_windows(found: list[tuple[str, np.ndarray]], seed: int, count: int) -> int:
    """Read random windows and compare them; return how many were read."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        path, array = found[int(rng.integers(len(found)))]
        row, col = int(rng.integers(500)), int(rng.integers(400))
        height, width = int(rng.integers(1, 600 - row)), int(rng.integers(1, 500 - col))
        bands = [int(b) for b in rng.integers(1, 4, int(rng.integers(1, 4)))]
        got = read_pixels(path, (row, col, height, width), bands, "uint16", None)
        wanted = array[[b - 1 for b in bands], row : row + height, col : col + width]
        if got is None or not np.array_equal(got, wanted):
            raise AssertionError((path, row, col, height, width, bands))
    return count


@pytest.mark.parametrize("limit", [0, 1 << 20, 1 << 28])
def test_threads_share_blocks_and_get_their_own_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    found = archive(tmp_path)
    monkeypatch.setattr(blocks.cached, "limit", limit)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    blocks.cached.clear()
    try:
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda i: check_windows(found, i, 25), range(8))) == 200
    finally:
        sys.setswitchinterval(interval)
    largest = 256 * 256 * 3 * 2 * 3
    assert blocks.cached.nbytes <= limit + largest
    blocks.cached.clear()


def test_a_block_is_decoded_by_one_thread_and_waited_for_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    array = noise((512, 256, 1))
    block = Block(zlib.compress(array.tobytes()), array.shape, array.dtype, 8, 1)
    calls: list[int] = []
    decode = Block._decode
    barrier = threading.Barrier(6)

    def slow(self: Block, end: int) -> None:
        calls.append(end)
        threading.Event().wait(0.05)
        decode(self, end)

    monkeypatch.setattr(Block, "_decode", slow)

    def read(_: int) -> bool:
        barrier.wait()
        return bool(np.array_equal(block.rows(300)[:300], array[:300]))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(read, range(6)))
    assert calls == [300]


# ---------------------------------------------------------------------- fork

FORK = """
import os, sys, threading
import numpy as np
from geodata.readers import blocks, kinds, raster
from geodata.readers.tiff import layouts, read_pixels

path, copy, truth = sys.argv[1], sys.argv[2], np.load(sys.argv[3])

def read(name):
    got = read_pixels(name, (0, 0, 100, 256), [1], None, None)
    return got is not None and np.array_equal(got, truth[:, :100])

assert read(path)
kinds.describe(path)
(block,) = blocks.cached._things.values()
held, done = threading.Barrier(2), threading.Event()

def hold():
    with blocks.cached._lock, layouts._lock, kinds._lock, block._lock:
        held.wait()
        done.wait(60)

thread = threading.Thread(target=hold, daemon=True)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    import signal
    signal.alarm(20)
    fine = len(blocks.cached) == len(layouts) == 0 and read(path) and read(copy)
    kinds.describe(path)
    rest = read_pixels(path, (50, 0, 400, 256), [1], None, None)
    os._exit(0 if fine and np.array_equal(rest, truth[:, 50:450]) else 3)
status = os.waitpid(child, 0)[1]
done.set()
thread.join()
assert read(path) and len(blocks.cached) == 1
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_threads_hold_every_lock(tmp_path: Path) -> None:
    array = noise((1, 512, 256))
    data = tiff(array, tile=(512, 256), compression=8, tags=GEO)
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(data)
    np.save(tmp_path / "truth.npy", array)
    threading.Event().wait(0.05)  # the files are settled: younger ones are not remembered
    names = [str(tmp_path / name) for name in ("a.tif", "b.tif", "truth.npy")]
    ended = subprocess.run(
        [sys.executable, "-c", FORK, *names], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, (ended.returncode, ended.stderr[-2000:])


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the memory of the machine is read from /proc")
def test_the_limit_is_a_share_of_memory_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEODATA_CACHEMAX", raising=False)
    kilobytes = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    assert blocks._limit() == pytest.approx(max(256 << 20, 0.05 * 1024 * kilobytes), rel=0.02)
    monkeypatch.setattr(blocks, "_memory", lambda: 1 << 30)
    assert blocks._limit() == 256 << 20
