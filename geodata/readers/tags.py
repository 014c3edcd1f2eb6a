"""The tags of a TIFF's first image, read strictly: what is in any way unusual is left to GDAL."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

from geodata.readers.files import LocalFile

__all__ = ["DOUBLE", "HEAD", "SMALL", "WHOLE", "Tags", "joined", "read_tags"]

HEAD = 4096
"""Bytes read at once; most headers lie within them."""

SMALL = 1 << 18
"""Files up to this size are read whole: one call brings header and pixels."""

LONGEST = 1 << 26
"""Most bytes of all values; tables of 4 million blocks."""

MOST_IMAGES = 64
"""Images of one file (overviews, masks) that are looked at."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

WHOLE = {3: "H", 4: "I", 16: "Q"}
"""Types of whole numbers that say a size, a place or a choice, and how an array holds them."""

DOUBLE = {12: "d"}

_NATIVE = "<" if sys.byteorder == "little" else ">"

SUBFILE = 254


class Tags:
    """Tags of the first image of a TIFF.

    Parameters
    ----------
    order : {"<", ">"}, byte order
    entries : tag -> (type, count, value bytes)
    places : tag -> where in the file its entry of the directory and its value begin
    directory : first byte of the directory, and the byte after it
    big : bool, BigTIFF
    others : subfile types of the images after the first: bit 0 an overview, bit 2 a mask
    """

    __slots__ = ("big", "directory", "entries", "order", "others", "places")

    def __init__(self, order: str, *, big: bool) -> None:
        self.order, self.big = order, big
        self.entries: dict[int, tuple[int, int, bytes]] = {}
        self.places: dict[int, tuple[int, int]] = {}
        self.directory = 0, 0
        self.others: tuple[int, ...] = ()

    def numbers(self, tag: int, codes: dict[int, str] = WHOLE) -> Any:
        """Return the values of a tag as an array, None if it is absent or of a type that is not in ``codes``."""
        entry = self.entries.get(tag)
        code = None if entry is None else codes.get(entry[0])
        if entry is None or code is None:
            return None
        values = array(code, entry[2])
        if self.order != _NATIVE:
            values.byteswap()
        return values

    def number(self, tag: int, default: int) -> int | None:
        """Return the one value of a tag, ``default`` if it is absent, None if it is no single whole number."""
        if tag not in self.entries:
            return default
        values = self.numbers(tag)
        return int(values[0]) if values is not None and len(values) == 1 else None


def read_tags(file: LocalFile, *, pixels: bool = True) -> Tags | None:
    """Read the tags of the first image.

    Parameters
    ----------
    file : LocalFile
    pixels : bool
        Whether they will be read next: a small file is then brought in whole.

    Returns
    -------
    Tags or None
        None if this is no TIFF, or one whose directory is damaged, unsorted or of a kind that is not understood.
    """
    head = file.bring(SMALL if pixels and file.size <= SMALL else HEAD)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return None
    (magic,) = struct.unpack_from(order + "H", head, 2)
    big = magic == 43
    if big:
        width, zero, start = struct.unpack_from(order + "HHQ", head, 4)
        if (width, zero) != (8, 0):
            return None
    elif magic == 42:
        (start,) = struct.unpack_from(order + "I", head, 4)
    else:
        return None
    tags = Tags(order, big=big)
    following = _directory(file, tags, start, big)
    if following is None:
        return None
    others: list[int] = []
    seen = {start}
    while following:
        if following in seen or len(others) >= MOST_IMAGES:
            return None
        seen.add(following)
        step = _other(file, order, following, big)
        if step is None:
            return None
        subfile, following = step
        others.append(subfile)
    tags.others = tuple(others)
    return tags


def _entries(file: LocalFile, order: str, start: int, big: bool) -> tuple[list[Any], int] | None:
    """Return (tag, type, count, value bytes) of a directory and the place of the next one."""
    width, code = (8, "Q") if big else (2, "H")
    raw = file.at(start, width) if start >= 8 else None
    if raw is None:
        return None
    (count,) = struct.unpack(order + code, raw)
    each, tail = (20, 8) if big else (12, 4)
    if not 1 <= count <= 4096:
        return None
    body = file.at(start + width, count * each + tail)
    if body is None:
        return None
    form = order + ("HHQ8s" if big else "HHI4s")
    found = list(struct.iter_unpack(form, body[: count * each]))
    (following,) = struct.unpack(order + ("Q" if big else "I"), body[count * each :])
    return found, following


def _directory(file: LocalFile, tags: Tags, start: int, big: bool) -> int | None:
    read = _entries(file, tags.order, start, big)
    if read is None:
        return None
    found, following = read
    last = total = 0
    most = min(LONGEST, file.size)
    inline, code = (8, "Q") if big else (4, "I")
    first, each = (start + 8, 20) if big else (start + 2, 12)
    tags.directory = start, first + each * len(found) + inline
    for entry, (tag, kind, count, value) in enumerate(found):
        size = _SIZES.get(kind, 0) * count
        total += size
        # Readers differ in which of two equal tags they believe, and in whether they mind the order. Values that
        # together are longer than the file lie upon each other.
        if tag <= last or not size or total > most:
            return None
        last = tag
        if size <= inline:
            tags.entries[tag] = kind, count, value[:size]
            tags.places[tag] = first + entry * each, first + (entry + 1) * each - inline
            continue
        (offset,) = struct.unpack(tags.order + code, value)
        raw = file.at(offset, size)
        if raw is None:
            return None
        tags.entries[tag] = kind, count, raw
        tags.places[tag] = first + entry * each, offset
    return int(following)


def _other(file: LocalFile, order: str, start: int, big: bool) -> tuple[int, int] | None:
    """Return the subfile type of a later image, and the place of the next one."""
    read = _entries(file, order, start, big)
    if read is None:
        return None
    found, following = read
    subfile = 0
    for tag, kind, count, value in found:
        if tag == SUBFILE:
            if (kind, count) != (4, 1):
                return None
            (subfile,) = struct.unpack(order + "I", value[:4])
    return subfile, following


Strips = tuple[tuple[int, int], "array[int]", "array[int]"]
"""Rows and columns of a strip, offsets and byte counts."""


def joined(block: tuple[int, int], offsets: array[int], counts: array[int], row: int, height: int) -> Strips:
    """Return strips that are stored as they are, one right after the other, as a single one; others as they came.

    Parameters
    ----------
    row : bytes of a row of pixels
    height : rows of the image
    """
    rows, columns = block
    whole = [min(rows, height - first) * row for first in range(0, height, rows)]
    ends = [offset + count for offset, count in zip(offsets, whole, strict=False)]
    if counts.tolist() != whole or offsets.tolist()[1:] != ends[:-1]:
        return block, offsets, counts
    return (height, columns), offsets[:1], array(offsets.typecode, [height * row])
