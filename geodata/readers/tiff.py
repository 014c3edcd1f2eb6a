"""Plain TIFFs: strips or tiles of whole numbers or floats, read without GDAL.

What is plain: classic or Big TIFF on a local disk; deflate, zstd, LZW or no compression; predictor 1 or 2; 8 to 64 bits.
Everything else, and everything that turns out to be other than its header says, is left to GDAL: each function here
returns None for it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from threading import Lock, local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.readers.base import PixelWindow
from geodata.readers.blocks import COMPRESSIONS, NONE, Block, Undecodable, cached, inflated, restored
from geodata.readers.tags import Tags, read_tags

__all__ = ["Layout", "layout_of", "read_pixels"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT = 322, 323, 324, 325, 339
DEPTHS = (32997, 32998)

_KINDS = {1: "u", 2: "i", 3: "f"}
_PLAIN_COLOURS = (0, 1, 2, 3)
"""White is zero, black is zero, RGB, palette: GDAL hands out the stored values."""

LARGEST = 2**31 - 1

MOST_AT_ONCE = 1 << 24
"""Images up to so many bytes are decoded in one piece."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the pixels of a plain TIFF are.

    Parameters
    ----------
    height, width, samples : int
    dtype : numpy dtype in the byte order of the file
    block : (rows, columns) of a strip or tile
    planar : bool
        True where each sample has blocks of its own.
    tiled : bool
        Tiles have all their rows in the file, the last strip only those of the image.
    offsets, counts : bytes of each block
    compression, predictor : TIFF's numbers
    name : str
        Of the dtype.
    """

    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    block: tuple[int, int]
    planar: bool
    tiled: bool
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    compression: int
    predictor: int
    name: str

    @property
    def across(self) -> int:
        """Blocks side by side."""
        return -(-self.width // self.block[1])

    @property
    def down(self) -> int:
        """Blocks one below the other."""
        return -(-self.height // self.block[0])


def layout_of(tags: Tags) -> Layout | None:
    """Return the layout of a TIFF, None if it is not plain."""
    one = {tag: n for tag, default in _SINGLE.items() if (n := tags.number(tag, default)) is not None}
    if len(one) < len(_SINGLE):
        return None
    height, width, samples = one[HEIGHT], one[WIDTH], one[SAMPLES]
    dtype = _dtype(tags, samples)
    plain = (
        dtype is not None
        and 1 <= height <= LARGEST
        and 1 <= width <= LARGEST
        and 1 <= samples <= 65535
        and one[COMPRESSION] in COMPRESSIONS
        and one[PHOTOMETRIC] in _PLAIN_COLOURS
        and one[FILL_ORDER] == 1
        and one[PLANAR] in (1, 2)
        and all(one[tag] == 1 for tag in DEPTHS)
    )
    predictor = 1 if one[COMPRESSION] == NONE else one[PREDICTOR]
    if not plain or dtype is None or predictor not in (1, 2) or (predictor == 2 and dtype.kind == "f"):
        return None
    found = _blocks(tags, height, width)
    if found is None:
        return None
    tiled, block, offsets, counts = found
    planar = one[PLANAR] == 2 and samples > 1
    layout = Layout(
        height, width, samples, dtype, block, planar, tiled, offsets, counts, one[COMPRESSION], predictor, dtype.name
    )
    blocks = layout.across * layout.down * (samples if planar else 1)
    return layout if len(offsets) == len(counts) == blocks else None


_SINGLE = {HEIGHT: 0, WIDTH: 0, SAMPLES: 1, COMPRESSION: 1, PHOTOMETRIC: -1, FILL_ORDER: 1, PLANAR: 1, PREDICTOR: 1}
_SINGLE |= dict.fromkeys(DEPTHS, 1)


def _dtype(tags: Tags, samples: Any) -> np.dtype[Any] | None:
    bits, formats = tags.numbers(BITS), tags.numbers(SAMPLE_FORMAT) or [1]
    if not bits or len(set(bits)) > 1 or len(set(formats)) > 1 or len(bits) not in (1, samples):
        return None
    kind = _KINDS.get(formats[0])
    if kind is None or bits[0] not in ((32, 64) if kind == "f" else (8, 16, 32, 64)):
        return None
    return np.dtype(f"{tags.order}{kind}{bits[0] // 8}")


def _blocks(
    tags: Tags, height: int, width: int
) -> tuple[bool, tuple[int, int], tuple[int, ...], tuple[int, ...]] | None:
    """Return whether there are tiles, the rows and columns of a block, offsets and byte counts."""
    tiled = TILE_OFFSETS in tags.entries
    if tiled == (STRIP_OFFSETS in tags.entries):
        return None
    if tiled:
        block = tags.number(TILE_HEIGHT, 0), tags.number(TILE_WIDTH, 0)
    else:
        block = tags.number(ROWS_PER_STRIP, height), width
    rows, columns = block
    if rows is None or columns is None or not (1 <= rows < 2**32 and 1 <= columns <= LARGEST):
        return None
    offsets = tags.numbers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    counts = tags.numbers(TILE_COUNTS if tiled else STRIP_COUNTS)
    if offsets is None or counts is None:
        return None
    return tiled, (rows if tiled else min(rows, height), columns), tuple(offsets), tuple(counts)


# ---------------------------------------------------------------------- files

Stamp = tuple[str, int, int, int]
"""Path, inode, time of change in ns, bytes: a file written anew is another file."""

MOST_LAYOUTS = 16384
"""Files whose layout is remembered; numbers only, no file stays open."""

_layouts: OrderedDict[Stamp, Layout | None] = OrderedDict()
_lock = Lock()
_scratch = local()


def _forget() -> None:
    # A thread of the parent may have held the lock when this process was forked.
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_forget)


class _Open:
    """A file open for one read, and its layout."""

    __slots__ = ("data", "layout", "raw", "stamp")

    def __init__(self, href: str) -> None:
        self.raw = FileIO(href)
        stat = os.fstat(self.raw.fileno())
        self.stamp: Stamp = href, stat.st_ino, stat.st_mtime_ns, stat.st_size
        self.data: bytes | None = None
        with _lock:
            known = self.stamp in _layouts
            self.layout = _layouts.get(self.stamp)
        if not known:
            tags = read_tags(self.raw, stat.st_size)
            self.layout = None if tags is None else layout_of(tags)
            self.data = None if tags is None else tags.data
            with _lock:
                _layouts[self.stamp] = self.layout
                if len(_layouts) > MOST_LAYOUTS:
                    _layouts.popitem(last=False)

    def bytes_at(self, offset: int, count: int) -> bytes:
        if self.data is not None:
            found = self.data[offset : offset + count]
        else:
            self.raw.seek(offset)
            found = self.raw.read(count)
        if len(found) != count:
            raise Undecodable(f"{len(found)} of {count} bytes in the file")
        return found

    def borrowed(self, offset: int, count: int) -> memoryview:
        """Return bytes that the next call in this thread overwrites: no new memory has to be brought in."""
        if self.data is not None:
            return memoryview(self.bytes_at(offset, count))
        room = getattr(_scratch, "room", None)
        if room is None or len(room) < count:
            room = _scratch.room = memoryview(bytearray(count))
        part: memoryview = room[:count]
        self.raw.seek(offset)
        if self.raw.readinto(part) != count:
            raise Undecodable(f"fewer than {count} bytes in the file")
        return part


def read_pixels(
    href: str, window: PixelWindow, indexes: Sequence[int], dtype: str | None, out: NDArray[Any] | None
) -> NDArray[Any] | None:
    """Read a window of a plain TIFF.

    Parameters
    ----------
    href, window, indexes : as in `geodata.readers.raster.read`
    dtype : what the file must hold, or None
    out : (len(indexes), height, width) or None
        Filled in place, cast to its dtype.

    Returns
    -------
    (len(indexes), height, width), or None
        None if the file is not a plain TIFF, is not what was expected, or is damaged: then GDAL has the word.
    """
    try:
        file = _Open(href)
    except (OSError, ValueError):
        return None  # a URL, a name that cannot be one, or a file that is gone: GDAL says so
    try:
        layout = file.layout
        if layout is None or not _fits(layout, window, indexes, dtype):
            return None
        if out is None:
            out = np.empty((len(indexes), *window[2:]), layout.dtype.newbyteorder("="))
        _fill(file, layout, window, [i - 1 for i in indexes], out)
        return out
    except (Undecodable, OSError):
        return None
    finally:
        file.raw.close()


def _fits(layout: Layout, window: PixelWindow, indexes: Sequence[int], dtype: str | None) -> bool:
    row, col, height, width = window
    inside = row >= 0 and col >= 0 and row + height <= layout.height and col + width <= layout.width
    return inside and min(indexes) >= 1 and max(indexes) <= layout.samples and dtype in (None, layout.name)


def _fill(file: _Open, layout: Layout, window: PixelWindow, bands: list[int], out: NDArray[Any]) -> None:
    groups = [(b, [0], out[k : k + 1]) for k, b in enumerate(bands)] if layout.planar else [(0, bands, out)]
    # Whole images pass through once; keeping them would push out what is asked for again.
    whole = window == (0, 0, layout.height, layout.width)
    for plane, samples, target in groups:
        if whole and not layout.tiled and layout.compression != NONE and out.nbytes <= MOST_AT_ONCE:
            target[:] = _chosen(_strips(file, layout, plane), samples).transpose(2, 0, 1)
        else:
            _fill_plane(file, layout, window, (plane, samples), target, keep=not whole)


def _strips(file: _Open, layout: Layout, plane: int) -> NDArray[Any]:
    """Return (rows, columns, samples): all strips of a plane, decoded one after the other and finished together."""
    first, last = plane * layout.down, (plane + 1) * layout.down
    offsets, counts = layout.offsets[first:last], layout.counts[first:last]
    start, end = min(offsets), max(o + n for o, n in zip(offsets, counts, strict=True))
    if not all(counts) or end - start > 2 * sum(counts):
        raise Undecodable("strips are missing or far apart")
    raw = memoryview(file.bytes_at(start, end - start))
    samples = 1 if layout.planar else layout.samples
    row = layout.width * samples * layout.dtype.itemsize
    found = bytearray()
    for i, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        rows = min(layout.block[0], layout.height - i * layout.block[0])
        found += inflated(raw[offset - start : offset - start + count], rows * row, layout.compression)
    pixels = np.empty((layout.height, layout.width, samples), layout.dtype.newbyteorder("="))
    restored(found, pixels, layout.predictor, not layout.dtype.isnative)
    return pixels


def _fill_plane(
    file: _Open, layout: Layout, window: PixelWindow, source: tuple[int, list[int]], target: NDArray[Any], *, keep: bool
) -> None:
    row, col, height, width = window
    rows, columns = layout.block
    plane, samples = source
    for down in range(row // rows, (row + height - 1) // rows + 1):
        top, end = max(row, down * rows), min(row + height, (down + 1) * rows)
        for across in range(col // columns, (col + width - 1) // columns + 1):
            left, right = max(col, across * columns), min(col + width, (across + 1) * columns)
            part = _part(
                file,
                layout,
                (plane * layout.down + down) * layout.across + across,
                rows if layout.tiled else min(rows, layout.height - down * rows),
                (top - down * rows, end - down * rows, left - across * columns, right - across * columns),
                keep,
            )
            place = target[:, top - row : end - row, left - col : right - col]
            place[:] = _chosen(part, samples).transpose(2, 0, 1)


def _chosen(part: NDArray[Any], samples: list[int]) -> NDArray[Any]:
    first, last = samples[0], samples[-1]
    if samples == list(range(first, last + 1)):
        return part[:, :, first : last + 1]
    return part[:, :, samples]


def _part(
    file: _Open, layout: Layout, index: int, rows: int, within: tuple[int, int, int, int], keep: bool
) -> NDArray[Any]:
    """Return (rows, columns, samples) of a block: the pixels from row to row and from column to column."""
    top, end, left, right = within
    columns = layout.block[1]
    samples = 1 if layout.planar else layout.samples
    offset, count = layout.offsets[index], layout.counts[index]
    if not count:
        raise Undecodable("the block is not in the file")
    if layout.compression == NONE:
        each = columns * samples * layout.dtype.itemsize
        if count < rows * each:
            raise Undecodable(f"{count} bytes of {rows * each}")
        raw = file.borrowed(offset + top * each, (end - top) * each)
        return np.frombuffer(raw, layout.dtype).reshape(end - top, columns, samples)[:, left:right]

    def make() -> Block:
        raw = file.bytes_at(offset, count)
        return Block(raw, (rows, columns, samples), layout.dtype, layout.compression, layout.predictor)

    block = cached.block((file.stamp, index), make) if keep else make()
    return block.rows(end)[top:end, left:right]
