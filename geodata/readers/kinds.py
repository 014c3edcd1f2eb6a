"""Headers of many TIFFs of one kind: GDAL explains the first, the others differ from it only in size and place.

What GDAL makes of a header (bands, units, CRS, nodata, masks) takes a millisecond, and the files of an archive say the
same words over and over. So the tags of a file, all but those of its size, place and blocks, are its kind; the first
file of each kind is described by GDAL, and for the rest only shape and transform are read. A kind is kept only if shape
and transform read that way agree with GDAL's for the first file, to the last bit.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from threading import Lock
from typing import Any

from geodata.grid import Grid
from geodata.readers.base import Header
from geodata.readers.files import LocalFile, unsettled
from geodata.readers.gdal import describe as describe_by_gdal
from geodata.readers.tags import DOUBLE, HEAD, WHOLE, Tags, read_tags

__all__ = ["describe"]

WIDTH, HEIGHT, ROWS_PER_STRIP, DATE = 256, 257, 278, 306
BLOCKS = (273, 279, 324, 325)
SCALE, TIEPOINT, MATRIX, GEO_KEYS = 33550, 33922, 34264, 34735

_OWN = {WIDTH, HEIGHT, ROWS_PER_STRIP, DATE, *BLOCKS, SCALE, TIEPOINT, MATRIX}
"""Tags in which files of one kind differ."""

_NUMBERS = (HEIGHT, WIDTH, SCALE, TIEPOINT, MATRIX)

POINT_KEY, IS_POINT = 1025, 2

OVERVIEW = 1
"""Subfile type of the only further images that say nothing about the first: masks and pages may."""

SIDECARS = (".aux.xml", ".aux", ".msk", ".ovr")
"""After the whole name of a file, and..."""

SIDECARS_OF_STEM = (".aux.xml", ".aux", ".tfw", ".tifw", ".tiffw", ".wld", ".tab", ".rpb", ".imd", "_rpc.txt")
"""...in place of its ending: files beside a TIFF that GDAL reads with it."""

MOST_KINDS = 256

RECENT = 2_000_000_000
"""Nanoseconds in which a folder may change without its time of change saying so, on coarse file systems."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What GDAL said of the first file of a kind; None if its grid was not as expected."""

    header: Header | None


Words = tuple[bytes, tuple[int, int], tuple[float, ...]]
"""What a file says of itself: its kind, its shape, its transform."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A header whose bytes are known but for the numbers in which files of one kind differ.

    Headers that one program wrote in one go agree byte for byte outside of those, and need not be taken apart again.

    Parameters
    ----------
    mark : the kind
    size : bytes compared
    mask, text : int
        Which of their bits are compared, and with what: one long number each.
    numbers : tag -> (format of `struct`, first byte)
    tables : (first byte of the place of a table of blocks, bytes of the table)
    point : whether coordinates are those of pixel centres
    """

    mark: bytes
    size: int
    mask: int
    text: int
    numbers: dict[int, tuple[Struct, int]]
    tables: tuple[tuple[int, int], ...]
    point: bool

    @classmethod
    def of(cls, tags: Tags, mark: bytes, head: bytes) -> _Form | None:
        """Return the form of a header, None if it is a large one, or does not lie wholly in the first bytes."""
        start, end = tags.directory
        same, differ, numbers, tables = [(0, 8), (start, end)], [], {}, []
        for tag, (entry, value) in tags.places.items():
            kind, count, raw = tags.entries[tag]
            place, pointer = (value, value + len(raw)), (entry + 8, entry + 12)
            if tag not in _OWN or tag == ROWS_PER_STRIP:
                same.append(place)
            elif tag in BLOCKS:
                differ.append(pointer)
                if value != entry + 8:
                    tables.append((entry + 8, len(raw)))
            else:
                differ.append(place)
            if tag in _NUMBERS:
                numbers[tag] = Struct(f"<{count}{(WHOLE | DOUBLE)[kind]}"), value
        size = max(b for _, b in same + differ)
        apart = sorted([(0, 8), (start, end), *(p for p in same[2:] + differ if not start <= p[0] < end)])
        # Values that lie upon each other cannot be told apart in those that are compared and those that are not.
        upon = any(one[1] > other[0] for one, other in pairwise(apart))
        if tags.others or tags.big or tags.order != "<" or size > len(head) or upon:
            return None
        mask = bytearray(size)
        for bit, places in ((b"\xff", same), (b"\0", differ)):
            for a, b in places:
                mask[a:b] = bit * (b - a)
        bits = int.from_bytes(mask, "little")
        text = int.from_bytes(head[:size], "little") & bits
        return cls(mark, size, bits, text, numbers, tuple(tables), _is_point(tags))

    def read(self, head: bytes, size: int) -> Words | None:
        """Return what another file of this form says, given its first bytes and its size; None if it is of another form."""
        if len(head) < self.size or int.from_bytes(head[: self.size], "little") & self.mask != self.text:
            return None
        if any(int.from_bytes(head[at : at + 4], "little") + n > size for at, n in self.tables):
            return None
        values = {tag: form.unpack_from(head, at) for tag, (form, at) in self.numbers.items()}
        return _words(self.mark, values, point=self.point)


_form: _Form | None = None
"""The form of the last header that was taken apart."""

_kinds: dict[bytes, _Kind] = {}
_folders: dict[str, tuple[tuple[int, ...], frozenset[str]]] = {}
_lock = Lock()


def _renew() -> None:
    # A thread of the parent may have held the lock when this process was forked.
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_renew)


def describe(href: str) -> Header:
    """Read the header of a raster, no pixels; raises as `geodata.readers.gdal.describe`."""
    found = _own_words(href)
    if found is None:
        return describe_by_gdal(href)
    mark, shape, transform = found
    with _lock:
        kind = _kinds.get(mark)
    if kind is None:
        header = describe_by_gdal(href)
        same = header.grid.shape == shape and tuple(header.grid.transform)[:6] == transform
        # What GDAL explained must be the file that was looked at, still with nothing beside it.
        if _own_words(href) == found:
            with _lock:
                if len(_kinds) >= MOST_KINDS:
                    _kinds.clear()
                _kinds[mark] = _Kind(header if same else None)
        return header
    if kind.header is None:
        return describe_by_gdal(href)
    h = kind.header
    grid = Grid(shape, transform, h.grid.crs)
    return Header(grid, h.bands, h.indexes, h.dtype, h.nodata, h.validity, h.named)


def _own_words(href: str) -> Words | None:
    """Return the kind of a file, its shape and its transform; None if it is not one to be told by its tags."""
    global _form
    if not href.lower().endswith((".tif", ".tiff")) or _has_sidecar(href):
        return None
    try:
        file = LocalFile(href)
    except (OSError, ValueError):
        return None
    try:
        head, form = file.bring(HEAD), _form
        found = None if form is None else form.read(head, file.size)
        tags = read_tags(file, pixels=False) if found is None else None
    except OSError:
        return None
    finally:
        file.close()
    if tags is None or set(tags.others) - {OVERVIEW}:
        return found
    # Sizes of blocks are not asked for here, but must be such that GDAL takes the file.
    rows = tags.number(ROWS_PER_STRIP, 1)
    tables = {tags.entries[tag][0] for tag in BLOCKS if tag in tags.entries} <= WHOLE.keys()
    values = {
        tag: tags.numbers(tag, WHOLE if tag in (HEIGHT, WIDTH) else DOUBLE) for tag in _NUMBERS if tag in tags.entries
    }
    if not tables or not rows or rows >= 2**32 or None in values.values():
        return None
    found = _words(_mark(tags), values, point=_is_point(tags))
    if found is not None:
        _form = _Form.of(tags, found[0], head)
    return found


def _words(mark: bytes, values: Mapping[int, Any], *, point: bool) -> Words | None:
    height, width = values.get(HEIGHT, ()), values.get(WIDTH, ())
    transform = _transform(values, point=point)
    if transform is None or len(height) != 1 or len(width) != 1:
        return None
    shape = int(height[0]), int(width[0])
    return (mark, shape, transform) if min(shape) >= 1 and max(shape) < 2**31 else None


def _mark(tags: Tags) -> bytes:
    said: list[Any] = [tags.order, tags.others]
    values = []
    for tag, (kind, count, raw) in tags.entries.items():
        if tag in _OWN:
            said.append((tag, count if tag in (SCALE, TIEPOINT, MATRIX) else 0))
        else:
            said.append((tag, kind, count))
            values.append(raw)
    # Types and counts say how long each value is, so the values need nothing between them.
    return hashlib.blake2b(repr(said).encode() + b"".join(values), digest_size=16).digest()


def _transform(values: Mapping[int, Any], *, point: bool) -> tuple[float, ...] | None:
    """Return the six numbers of the transform as GDAL computes them, None for another kind of georeference."""
    scale, tie, matrix = (values.get(tag) for tag in (SCALE, TIEPOINT, MATRIX))
    if scale is not None and tie is not None and matrix is None:
        if len(scale) != 3 or len(tie) != 6 or not (scale[0] > 0 and scale[1] > 0):
            return None
        a, e = scale[0], -scale[1]
        numbers = (a, 0.0, tie[3] - tie[0] * a, 0.0, e, tie[4] - tie[1] * e)
    elif scale is None and tie is None and matrix is not None and len(matrix) == 16:
        numbers = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    else:
        return None
    if point:
        a, b, c, d, e, f = numbers
        numbers = (a, b, c - (a * 0.5 + b * 0.5), d, e, f - (d * 0.5 + e * 0.5))
    return None if numbers[0] * numbers[4] == numbers[1] * numbers[3] else numbers


def _is_point(tags: Tags) -> bool:
    keys = tags.numbers(GEO_KEYS) or []
    return any(keys[i] == POINT_KEY and keys[i + 3] == IS_POINT for i in range(4, len(keys) - 3, 4))


def _has_sidecar(href: str) -> bool:
    folder, name = os.path.split(href)
    ends = [(name, end) for end in SIDECARS]
    ends += [(os.path.splitext(name)[0], end) for end in SIDECARS_OF_STEM]
    try:
        names = _names(folder or ".")
        if names is not None:
            return bool(names) and not names.isdisjoint((first + end).lower() for first, end in ends)
        spelled = {n for first, end in ends for n in (first + end, first + end.upper(), (first + end).upper())}
        return any(os.path.exists(os.path.join(folder, n)) for n in spelled)
    except (OSError, ValueError):
        return True


def _names(folder: str) -> frozenset[str] | None:
    """Return the names in a folder that may be sidecars, lower case; None while the folder is being written."""
    found = os.stat(folder)
    stamp = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns
    known = _folders.get(folder)
    if known is not None and known[0] == stamp:
        return known[1]
    if unsettled(found, RECENT):
        return None
    ends = SIDECARS + SIDECARS_OF_STEM
    names = frozenset(n for n in map(str.lower, os.listdir(folder)) if n.endswith(ends))
    if len(_folders) >= MOST_KINDS:
        _folders.clear()
    _folders[folder] = stamp, names
    return names
