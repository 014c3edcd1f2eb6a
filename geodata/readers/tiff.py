"""Plain TIFFs: strips or tiles of whole numbers or floats, read without GDAL.

What is plain: classic or Big TIFF on a local disk; deflate, zstd, LZW or no compression; predictor 1 or 2; 8 to 64 bits.
Everything else, and everything that turns out to be other than its header says, is left to GDAL: each function here
returns None for it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.readers.base import PixelWindow
from geodata.readers.blocks import COMPRESSIONS, NONE, Block, Cache, Undecodable, cached, inflated, restored
from geodata.readers.files import LocalFile, unsettled
from geodata.readers.tags import SMALL, Tags, joined, read_tags

__all__ = ["Layout", "layout_of", "read_pixels"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, EXTRAS, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
DEPTHS = (32997, 32998)
DATA_TYPE = 32996
TILES, STRIPS = (TILE_OFFSETS, TILE_COUNTS, TILE_WIDTH, TILE_HEIGHT), (STRIP_OFFSETS, STRIP_COUNTS)

_KINDS = {1: "u", 2: "i", 3: "f"}
_PLAIN_COLOURS = (0, 1, 2, 3)
"""White is zero, black is zero, RGB, palette: GDAL hands out the stored values."""

LARGEST = 2**31 - 1

MOST_AT_ONCE = 1 << 24
"""Images up to so many bytes are decoded in one piece."""

LARGEST_BLOCK = 1 << 28
"""Bytes of a decoded block; a header may promise any number, and a few bytes may be packed so that they swell to it."""

LAYOUTS = 1 << 26
"""Bytes of the layouts that are remembered: numbers only, no file stays open."""


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
    offsets: array[int]
    counts: array[int]
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
        and _extras_fit(tags, samples)
    )
    predictor = 1 if one[COMPRESSION] == NONE else one[PREDICTOR]
    if not plain or dtype is None or predictor not in (1, 2) or (predictor == 2 and dtype.kind == "f"):
        return None
    found = _blocks(tags, height, width)
    if found is None:
        return None
    tiled, block, offsets, counts = found
    row = width * samples * dtype.itemsize
    if one[COMPRESSION] == NONE and not tiled and len(offsets) > 1 and row * height <= SMALL:
        block, offsets, counts = joined(block, offsets, counts, row, height)
    planar = one[PLANAR] == 2 and samples > 1
    layout = Layout(
        height, width, samples, dtype, block, planar, tiled, offsets, counts, one[COMPRESSION], predictor, dtype.name
    )
    size = block[0] * block[1] * (1 if planar else samples) * dtype.itemsize
    blocks = layout.across * layout.down * (samples if planar else 1)
    sound = len(offsets) == len(counts) == blocks and (one[COMPRESSION] == NONE or size <= LARGEST_BLOCK)
    return layout if sound else None


_SINGLE = {HEIGHT: 0, WIDTH: 0, SAMPLES: 1, COMPRESSION: 1, PHOTOMETRIC: -1, FILL_ORDER: 1, PLANAR: 1, PREDICTOR: 1}
_SINGLE |= dict.fromkeys(DEPTHS, 1)


def _dtype(tags: Tags, samples: int) -> np.dtype[Any] | None:
    bits = tags.numbers(BITS)
    formats = tags.numbers(SAMPLE_FORMAT) if SAMPLE_FORMAT in tags.entries else array("H", [1])
    for values in (bits, formats):
        if values is None or len(values) not in (1, samples) or len(set(values)) > 1:
            return None
    kind = _KINDS.get(formats[0])
    if kind is None or bits[0] not in ((32, 64) if kind == "f" else (8, 16, 32, 64)) or DATA_TYPE in tags.entries:
        return None
    return np.dtype(f"{tags.order}{kind}{bits[0] // 8}")


def _extras_fit(tags: Tags, samples: int) -> bool:
    """Whether GDAL opens a file in spite of what it says of its samples beyond the colours."""
    if EXTRAS not in tags.entries:
        return True
    extras = tags.numbers(EXTRAS)
    return extras is not None and len(extras) <= samples and max(extras) <= 2


def _blocks(tags: Tags, height: int, width: int) -> tuple[bool, tuple[int, int], array[int], array[int]] | None:
    """Return whether there are tiles, the rows and columns of a block, offsets and byte counts."""
    tiled = TILE_OFFSETS in tags.entries
    # GDAL takes the tags of strips for tiles where there is the size of a tile.
    if any(tag in tags.entries for tag in (STRIPS if tiled else TILES)):
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
    return tiled, (rows if tiled else min(rows, height), columns), offsets, counts


# ---------------------------------------------------------------------- files


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a file: its layout, None if it is not plain."""

    layout: Layout | None

    @property
    def nbytes(self) -> int:
        tables = (self.layout.offsets, self.layout.counts) if self.layout else ()
        return 1024 + sum(len(table) * table.itemsize for table in tables)


layouts: Cache[_Known] = Cache(LAYOUTS)


def _layout(file: LocalFile) -> tuple[Layout | None, bool]:
    """Return the layout of a file, and whether what is read of it may be remembered."""
    known = layouts.find(file.stamp)
    if known is not None:
        return known.layout, True
    tags = read_tags(file)
    layout = None if tags is None else layout_of(tags)
    if unsettled(file.found):
        return layout, False
    layouts.keep(file.stamp, _Known(layout))
    return layout, True


def read_pixels(
    href: str, window: PixelWindow, indexes: Sequence[int], dtype: str | None, out: NDArray[Any] | None
) -> NDArray[Any] | None:
    """Read a window of a plain TIFF.

    Parameters
    ----------
    href, window, indexes : as in `geodata.readers.raster.read`
    dtype : what the file must hold, or None
    out : (len(indexes), height, width) or None
        Filled in place; of a dtype that holds all values of the file's, or GDAL is left to fill it.

    Returns
    -------
    (len(indexes), height, width), or None
        None if the file is not a plain TIFF, is not what was expected, or is damaged: then GDAL has the word.
    """
    try:
        file = LocalFile(href)
    except (OSError, ValueError):
        return None  # a URL, a name that cannot be one, or a file that is gone: GDAL says so
    try:
        layout, settled = _layout(file)
        if layout is None or not _fits(layout, window, indexes, dtype, out):
            return None
        if out is None:
            out = np.empty((len(indexes), *window[2:]), layout.dtype.newbyteorder("="))
        _fill(file, layout, window, [i - 1 for i in indexes], out, settled)
        return out
    except (Undecodable, OSError):
        return None
    finally:
        file.close()


def _fits(
    layout: Layout, window: PixelWindow, indexes: Sequence[int], dtype: str | None, out: NDArray[Any] | None
) -> bool:
    row, col, height, width = window
    inside = row >= 0 and col >= 0 and row + height <= layout.height and col + width <= layout.width
    known = min(indexes) >= 1 and max(indexes) <= layout.samples and dtype in (None, layout.name)
    # GDAL rounds and clips where numpy wraps around, and resamples into another shape.
    room = out is None or (out.shape == (len(indexes), height, width) and np.can_cast(layout.dtype, out.dtype, "safe"))
    return inside and height > 0 and width > 0 and known and room


def _fill(
    file: LocalFile, layout: Layout, window: PixelWindow, bands: list[int], out: NDArray[Any], settled: bool
) -> None:
    groups = [(b, [0], out[k : k + 1]) for k, b in enumerate(bands)] if layout.planar else [(0, bands, out)]
    # Whole images pass through once; keeping them would push out what is asked for again.
    whole = window == (0, 0, layout.height, layout.width)
    size = layout.height * layout.width * (1 if layout.planar else layout.samples) * layout.dtype.itemsize
    for plane, samples, target in groups:
        if whole and not layout.tiled and layout.compression != NONE and size <= MOST_AT_ONCE:
            target[:] = _chosen(_strips(file, layout, plane), samples).transpose(2, 0, 1)
        else:
            _fill_plane(file, layout, window, (plane, samples), target, keep=settled and not whole)


def _bytes(file: LocalFile, offset: int, count: int) -> bytes:
    found = file.at(offset, count)
    if found is None:
        raise Undecodable(f"fewer than {count} bytes in the file")
    return found


def _strips(file: LocalFile, layout: Layout, plane: int) -> NDArray[Any]:
    """Return (rows, columns, samples): all strips of a plane, decoded one after the other and finished together."""
    first, last = plane * layout.down, (plane + 1) * layout.down
    offsets, counts = layout.offsets[first:last], layout.counts[first:last]
    start, end = min(offsets), max(o + n for o, n in zip(offsets, counts, strict=True))
    if not all(counts) or end - start > 2 * sum(counts):
        raise Undecodable("strips are missing or far apart")
    raw = memoryview(_bytes(file, start, end - start))
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
    file: LocalFile,
    layout: Layout,
    window: PixelWindow,
    source: tuple[int, list[int]],
    target: NDArray[Any],
    keep: bool,
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
    file: LocalFile, layout: Layout, index: int, rows: int, within: tuple[int, int, int, int], keep: bool
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
        there = rows * each <= count <= file.size - offset
        raw = file.borrow(offset + top * each, (end - top) * each) if there else None
        if raw is None:
            raise Undecodable(f"fewer than {rows * each} bytes of the block")
        return np.frombuffer(raw, layout.dtype).reshape(end - top, columns, samples)[:, left:right]
    key = file.stamp, index
    block = cached.find(key) if keep else None
    if block is None:
        raw_block = _bytes(file, offset, count)
        block = Block(raw_block, (rows, columns, samples), layout.dtype, layout.compression, layout.predictor)
        if keep:
            block = cached.keep(key, block)
    return block.rows(end)[top:end, left:right]
