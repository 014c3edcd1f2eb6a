"""Headers of many TIFFs of one kind: GDAL explains the first, the others differ from it only in size and place.

What GDAL makes of a header (bands, units, CRS, nodata, masks) takes a millisecond, and the files of an archive say the
same words over and over. So the tags of a file, all but those of its size, place and blocks, are its kind; the first
file of each kind is described by GDAL, and for the rest only shape and transform are read. A kind is kept only if shape
and transform read that way agree with GDAL's for the first file, to the last bit.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from threading import Lock
from typing import Any

from geodata.grid import Grid
from geodata.readers.base import Header
from geodata.readers.files import LocalFile, unsettled
from geodata.readers.gdal import describe as describe_by_gdal
from geodata.readers.tags import DOUBLE, WHOLE, Tags, read_tags

__all__ = ["describe"]

WIDTH, HEIGHT, ROWS_PER_STRIP, DATE = 256, 257, 278, 306
BLOCKS = (273, 279, 324, 325)
SCALE, TIEPOINT, MATRIX, GEO_KEYS = 33550, 33922, 34264, 34735

_OWN = {WIDTH, HEIGHT, ROWS_PER_STRIP, DATE, *BLOCKS, SCALE, TIEPOINT, MATRIX}
"""Tags in which files of one kind differ."""

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


def _own_words(href: str) -> tuple[bytes, tuple[int, int], tuple[float, ...]] | None:
    """Return the kind of a file, its shape and its transform; None if it is not one to be told by its tags."""
    if not href.lower().endswith((".tif", ".tiff")) or _has_sidecar(href):
        return None
    try:
        file = LocalFile(href)
    except (OSError, ValueError):
        return None
    try:
        tags = read_tags(file, pixels=False)
    except OSError:
        return None
    finally:
        file.close()
    if tags is None or set(tags.others) - {OVERVIEW}:
        return None
    height, width, rows = tags.number(HEIGHT, 0), tags.number(WIDTH, 0), tags.number(ROWS_PER_STRIP, 1)
    transform = _transform(tags)
    tables = {tags.entries[tag][0] for tag in BLOCKS if tag in tags.entries} <= WHOLE.keys()
    if (
        transform is None
        or not tables
        or not rows
        or rows >= 2**32
        or not height
        or not width
        or max(height, width) >= 2**31
    ):
        return None
    return _mark(tags), (height, width), transform


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


def _transform(tags: Tags) -> tuple[float, ...] | None:
    """Return the six numbers of the transform as GDAL computes them, None for another kind of georeference."""
    scale, tie, matrix = (tags.numbers(tag, DOUBLE) for tag in (SCALE, TIEPOINT, MATRIX))
    there = [tag in tags.entries for tag in (SCALE, TIEPOINT, MATRIX)]
    if there == [True, True, False] and scale is not None and tie is not None:
        if len(scale) != 3 or len(tie) != 6 or not (scale[0] > 0 and scale[1] > 0):
            return None
        a, e = scale[0], -scale[1]
        numbers = (a, 0.0, tie[3] - tie[0] * a, 0.0, e, tie[4] - tie[1] * e)
    elif there == [False, False, True] and matrix is not None and len(matrix) == 16:
        numbers = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    else:
        return None
    if _is_point(tags):
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
            return not names.isdisjoint((first + end).lower() for first, end in ends)
        spelled = {n for first, end in ends for n in (first + end, first + end.upper(), (first + end).upper())}
        return any(os.path.exists(os.path.join(folder, n)) for n in spelled)
    except (OSError, ValueError):
        return True


def _names(folder: str) -> frozenset[str] | None:
    """Return the names in a folder, lower case; None while the folder is being written."""
    found = os.stat(folder)
    stamp = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns
    known = _folders.get(folder)
    if known is not None and known[0] == stamp:
        return known[1]
    if unsettled(found, RECENT):
        return None
    names = frozenset(n.lower() for n in os.listdir(folder))
    if len(_folders) >= MOST_KINDS:
        _folders.clear()
    _folders[folder] = stamp, names
    return names
