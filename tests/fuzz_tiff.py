"""Damaged TIFFs, one after the other: what the plain reader answers is what GDAL answers, or an error.

A program, so that a crash or a memory that grows without bound ends it and not the tests::

    python fuzz_tiff.py FOLDER SEED FIRST COUNT

prints how the cases ended as JSON; a wrong answer ends it with status 1 and the number of the case, which alone
(``FIRST`` = that number, ``COUNT`` = 1) gives the same file again.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import struct
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from makers import write_tif
from tiffs import CODES, GEO, tiff

from geodata.errors import GeodataError
from geodata.readers import gdal, kinds, raster
from geodata.readers.base import Header

ROOM = 1 << 30
"""Bytes that may be asked for beyond what the process has after its imports."""

LONGEST = 60
"""Seconds after which a case hangs."""

WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
ODD = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 255, 256, 257, 32946, 50000, 65535, 65536)
ODD += (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1)
KNOWN = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 297, 317, 320, 322, 323, 324, 325, 330, 338)
KNOWN += (339, 32996, 32997, 32998, 33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 50844)


@dataclass(frozen=True)
class Base:
    """A good file: its bytes and pixels."""

    data: bytes
    pixels: np.ndarray


def _pixels(rng: np.random.Generator, dtype: str, count: int, shape: tuple[int, int] = (37, 45)) -> np.ndarray:
    return np.cumsum(rng.integers(0, 5, (count, *shape)), axis=2).astype(dtype)


def by_gdal(folder: Path, rng: np.random.Generator) -> Iterator[Base]:
    """Yield files as GDAL writes them, some with masks and overviews."""
    path = folder / "base.tif"
    written: tuple[dict[str, Any], ...] = (
        {"compress": "deflate", "predictor": 2},
        {"compress": "lzw", "predictor": 2, "blockysize": 8},
        {"compress": "zstd", "blockysize": 5, "interleave": "band"},
        {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 32, "BIGTIFF": "YES"},
        {"compress": "zstd", "tiled": True, "blockxsize": 32, "blockysize": 16, "predictor": 2, "ENDIANNESS": "BIG"},
        {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band"},
        {"compress": "none", "blockysize": 4, "ENDIANNESS": "BIG"},
        {"compress": "packbits"},
    )
    for i, profile in enumerate(written):
        for dtype, nodata in (("uint8", 0), ("int16", -1), ("float32", None)):
            if dtype == "float32" and profile.get("predictor"):
                profile = profile | {"predictor": 3}
            array = _pixels(rng, dtype, 1 + i % 3)
            names = ["a", "b", "c"][: len(array)]
            yield Base(write_tif(path, array, nodata=nodata, descriptions=names, **profile).read_bytes(), array)
    for profile in ({"compress": "deflate"}, {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw"}):
        for mask in (None, np.eye(37, 45, dtype=bool)):
            array = _pixels(rng, "uint8", 2)
            write_tif(path, array, mask=mask, **profile)
            with rasterio.open(path, "r+") as dst:
                dst.build_overviews([2])
            yield Base(path.read_bytes(), array)


def by_hand(rng: np.random.Generator) -> Iterator[Base]:
    """Yield every layout in every byte order."""
    layouts: tuple[dict[str, Any], ...] = ({"tile": (16, 16)}, {"rows": 7}, {"tile": (64, 48), "planar": True}, {})
    for big, order, layout, compression in product((False, True), "<>", layouts, (1, 5, 8, 50000)):
        array = _pixels(rng, str(rng.choice(["uint8", "uint16", "int32", "float64"])), 2)
        predictor = 1 if array.dtype.kind == "f" else int(rng.integers(1, 3))
        how = layout | {"compression": compression, "predictor": predictor, "big": big, "order": order}
        yield Base(tiff(array, tags=GEO, **how), array)
    # Blocks of more than 64 KB are decoded as far as they are needed.
    large: tuple[dict[str, Any], ...] = (
        {"tile": (256, 256), "predictor": 2},
        {"order": ">"},
        {"tile": (256, 192), "planar": True, "big": True},
    )
    for how in large:
        array = _pixels(rng, "uint16", 2, (230, 190))
        yield Base(tiff(array, compression=8, tags=GEO, **how), array)


class Directory:
    """Where the entries of the first image are, to damage them."""

    def __init__(self, data: bytes) -> None:
        self.order = "<" if data[:2] == b"II" else ">"
        (magic,) = struct.unpack_from(self.order + "H", data, 2)
        self.big = magic == 43
        self.start = struct.unpack_from(self.order + ("Q" if self.big else "I"), data, 8 if self.big else 4)[0]
        self.count = struct.unpack_from(self.order + ("Q" if self.big else "H"), data, self.start)[0]
        self.first = self.start + (8 if self.big else 2)
        self.each = 20 if self.big else 12
        self.end = self.first + self.count * self.each

    def entry(self, index: int) -> int:
        """Return where an entry begins."""
        return self.first + index * self.each

    def read(self, data: bytes, index: int) -> tuple[int, int, int, int]:
        """Return tag, type, count and where the values are."""
        at = self.entry(index)
        tag, kind, count = struct.unpack_from(self.order + ("HHQ" if self.big else "HHI"), data, at)
        place = at + (12 if self.big else 8)
        if WIDTHS.get(kind, 1) * count > (8 if self.big else 4):
            (place,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), data, place)
        return tag, kind, count, place

    def write(self, data: bytearray, at: int, code: str, value: int) -> None:
        """Write a number as far as its field holds it."""
        if at + struct.calcsize(code) <= len(data):
            struct.pack_into(self.order + code, data, at, value % (1 << 8 * struct.calcsize(code)))


def damaged(base: Base, rng: np.random.Generator) -> bytes:
    """Return a file with one to three damages of its header, or cut off."""
    data = bytearray(base.data)
    for _ in range(int(rng.choice([1, 1, 1, 1, 2, 3]))):
        DAMAGES[int(rng.integers(len(DAMAGES)))](data, Directory(base.data), rng)
    return bytes(data)


def _pick(d: Directory, rng: np.random.Generator) -> int:
    return int(rng.integers(d.count))


def _cut(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) if rng.random() < 0.5 else max(1, len(data) - int(rng.integers(1, 300))) :]


def _bit(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    end = min(d.end, len(data))
    data[int(rng.integers(end))] ^= 1 << int(rng.integers(8))


def _value(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    """Set one of the values of a tag to an odd number."""
    _, kind, count, place = d.read(bytes(data).ljust(d.end, b"\0"), _pick(d, rng))
    code = CODES.get(kind, "B").replace("s", "B")
    at = place + int(rng.integers(max(min(count, 64), 1))) * struct.calcsize(code)
    if code in "fd":
        if at + 8 <= len(data):
            struct.pack_into(d.order + code, data, at, float(rng.choice([0, -1, 1, 0.5, 1e30, np.nan, np.inf, -10])))
    else:
        d.write(data, at, code.upper(), int(rng.choice(np.array(ODD, dtype=object))))


def _near(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    """Move one of the values of a tag by a little."""
    _, kind, count, place = d.read(bytes(data).ljust(d.end, b"\0"), _pick(d, rng))
    code = CODES.get(kind, "B").replace("s", "B")
    at = place + int(rng.integers(max(min(count, 64), 1))) * struct.calcsize(code)
    if at + struct.calcsize(code) <= len(data) and code not in "fd":
        (old,) = struct.unpack_from(d.order + code.upper(), data, at)
        d.write(data, at, code.upper(), old + int(rng.integers(-3, 4)))


def _kind(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    d.write(data, d.entry(_pick(d, rng)) + 2, "H", int(rng.integers(20)))


def _count(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    d.write(data, d.entry(_pick(d, rng)) + 4, "Q" if d.big else "I", int(rng.choice(np.array(ODD, dtype=object))))


def _tag(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    d.write(data, d.entry(_pick(d, rng)), "H", int(rng.choice(KNOWN)))


def _same(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    """Write another tag, type, count and value over an entry, as readers would write it."""
    at = d.entry(_pick(d, rng))
    kind = int(rng.choice([1, 3, 3, 4, 4, 8, 9, 12, 13, 16]))
    d.write(data, at, "H", int(rng.choice(KNOWN)))
    d.write(data, at + 2, "H", kind)
    d.write(data, at + 4, "Q" if d.big else "I", 1)
    code = {1: "B", 3: "H", 4: "I", 8: "H", 9: "I", 13: "I"}.get(kind, "I")
    d.write(data, at + (12 if d.big else 8), code, int(rng.choice([0, 1, 2, 3, 4, 5, 8, 16, 32, 37, 45])))


def _sibling(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    """Give an entry another type of the same width: the same bytes, and GDAL may not take them."""
    at = d.entry(_pick(d, rng)) + 2
    if at + 2 <= len(data):
        (kind,) = struct.unpack_from(d.order + "H", data, at)
        like = [k for k, width in WIDTHS.items() if width == WIDTHS.get(kind) and k != kind]
        if like:
            d.write(data, at, "H", int(rng.choice(like)))


def _rewrite(data: bytearray, d: Directory, change: Callable[[list[bytes]], None]) -> None:
    """Write the directory once more at the end of the file, in order, with other entries."""
    if len(data) < d.end:
        return
    entries = [bytes(data[d.entry(i) : d.entry(i) + d.each]) for i in range(d.count)]
    change(entries)
    entries.sort(key=lambda entry: struct.unpack_from(d.order + "H", entry))
    d.write(data, 8 if d.big else 4, "Q" if d.big else "I", len(data))
    data += struct.pack(d.order + ("Q" if d.big else "H"), len(entries)) + b"".join(entries) + bytes(8 if d.big else 4)


def _insert(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    """Say one thing more, or something else instead."""
    tag, kind = int(rng.choice(KNOWN)), int(rng.choice([3, 3, 4]))
    count = int(rng.choice([1, 1, 2])) if kind == 3 else 1
    values = [int(v) for v in rng.choice([0, 1, 1, 2, 2, 3, 4, 5, 8, 16, 32, 37, 45], count)]
    value = struct.pack(f"{d.order}{count}{CODES[kind]}", *values).ljust(8 if d.big else 4, b"\0")
    entry = struct.pack(d.order + ("HHQ" if d.big else "HHI"), tag, kind, count) + value

    def change(entries: list[bytes]) -> None:
        entries[:] = [e for e in entries if struct.unpack_from(d.order + "H", e) != (tag,)]
        entries.append(entry)

    _rewrite(data, d, change)


def _drop(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    _rewrite(data, d, lambda entries: entries.__delitem__(_pick(d, rng)))


def _swap(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    a, b = d.entry(_pick(d, rng)), d.entry(_pick(d, rng))
    if max(a, b) + d.each <= len(data):
        data[a : a + d.each], data[b : b + d.each] = data[b : b + d.each], data[a : a + d.each]


def _next(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    d.write(
        data,
        d.end,
        "Q" if d.big else "I",
        int(rng.choice([d.start, 1, d.first, len(data), 2**31, rng.integers(len(data))])),
    )


def _head(data: bytearray, d: Directory, rng: np.random.Generator) -> None:
    at = int(rng.integers(min(16, len(data))))
    data[at] = int(rng.integers(256))


DAMAGES: tuple[Callable[[bytearray, Directory, np.random.Generator], None], ...] = (
    _cut, _bit, _value, _value, _near, _near, _near, _sibling, _sibling, _kind, _count, _tag, _same, _insert, _insert,
    _insert, _insert, _drop, _swap, _next, _head,
)  # fmt: skip


class WrongAnswerError(Exception):
    """The plain reader answered what it must not."""


def as_text(header: Any) -> str:
    """Return a header so that it can be compared: NaN is NaN."""
    place = header.grid.shape, tuple(header.grid.transform), str(header.grid.crs)
    said = header.indexes, header.dtype, header.nodata, header.validity, header.named
    return repr((place, header.bands.to_dict(), said))


def attempt(call: Callable[[], Any]) -> Any:
    """Return the answer, or the error if it is one of the library's."""
    try:
        return call()
    except GeodataError as error:
        return error


class Spy:
    """A function that counts its calls."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call, self.calls = call, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.call(*args, **kwargs)


def check_read(path: str, base: Base, rng: np.random.Generator, spy: Spy) -> str:
    """Read a random window both ways and return how it ended."""
    count, height, width = base.pixels.shape
    window = (0, 0, height, width)
    if rng.random() < 0.6:
        row, col = int(rng.integers(height)), int(rng.integers(width))
        window = row, col, int(rng.integers(1, height - row + 1)), int(rng.integers(1, width - col + 1))
    bands = [int(b) for b in rng.integers(1, count + 1, int(rng.integers(1, count + 2)))]
    before = spy.calls
    got = attempt(lambda: raster.read(path, window, bands, validity="all"))
    plain = spy.calls == before
    wanted = attempt(lambda: spy.call(path, window, bands, validity="all"))
    if isinstance(got, GeodataError):
        if isinstance(wanted, GeodataError):
            return "error"
        raise WrongAnswerError(f"{window} {bands}: {got!r}, but GDAL reads it")
    if not plain:
        return "aside"
    if isinstance(wanted, GeodataError):
        row, col, height, width = window
        pristine = base.pixels[[b - 1 for b in bands], row : row + height, col : col + width]
        if got.data.dtype == pristine.dtype and got.data.tobytes() == pristine.tobytes():
            return "bold"
        raise WrongAnswerError(f"{window} {bands}: an answer, but GDAL says {wanted}")
    same = got.data.dtype == wanted.data.dtype and got.data.tobytes() == wanted.data.tobytes()
    if not same or not np.array_equal(got.valid, wanted.valid):
        raise WrongAnswerError(f"{window} {bands}: other pixels than GDAL's, {got.data.dtype} and {wanted.data.dtype}")
    return "equal"


def check_header(path: str, spy: Spy) -> str:
    """Describe the file twice, the second time perhaps by its own example, and return how that ended."""
    wanted = attempt(lambda: spy.call(path))
    told = False
    for _ in range(2):
        before = spy.calls
        got = attempt(lambda: raster.describe(path))
        told = spy.calls == before
        if isinstance(got, GeodataError) != isinstance(wanted, GeodataError):
            raise WrongAnswerError(f"header {got}, but GDAL says {wanted}")
        if isinstance(got, Header) and as_text(got) != as_text(wanted):
            raise WrongAnswerError(f"header {as_text(got)}\n but GDAL says {as_text(wanted)}")
    if isinstance(wanted, GeodataError):
        return "header error"
    return "header told" if told else "header aside"


def main(folder: Path, seed: int, first: int, count: int, *, go_on: bool) -> None:
    """Run the cases."""
    warnings.simplefilter("error")
    rng = np.random.default_rng(1)
    good = [*by_gdal(folder, rng), *by_hand(rng)]
    gdal.read = reads = Spy(gdal.read)  # type: ignore[assignment]
    kinds.describe_by_gdal = headers = Spy(gdal.describe)
    for i, base in enumerate(good):
        (folder / f"good{i}.tif").write_bytes(base.data)
    path = folder / "case.tif"
    path.touch()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM,) * 2)
    ends: Counter[str] = Counter()
    for case in range(first, first + count):
        rng = np.random.default_rng((seed, case))
        number = int(rng.integers(len(good)))
        base = good[number]
        path.unlink()
        path = folder / f"case{case}.tif"  # never the name of another: GDAL's handles are remembered by name and time
        path.write_bytes(damaged(base, rng))
        (folder / "case").write_text(str(case))
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            ends[check_read(str(path), base, rng, reads)] += 1
            raster.describe(str(folder / f"good{number}.tif"))  # the one that an example is taken from
            ends[check_header(str(path), headers)] += 1
        except Exception as error:  # noqa: BLE001  (whatever it is, it is no error of the library)
            said = str(error) if isinstance(error, WrongAnswerError) else traceback.format_exc()
            print(f"case {case}: {said}", file=sys.stderr)
            if not go_on:
                sys.exit(1)
            ends["WRONG"] += 1
    print(json.dumps(ends))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), go_on=len(sys.argv) > 5)
