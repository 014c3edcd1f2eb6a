"""The tags of a TIFF's first image, read strictly: what is in any way unusual is left to GDAL."""

from __future__ import annotations

import struct
from io import FileIO
from typing import Any

__all__ = ["Tags", "read_tags"]

HEAD = 4096
"""Bytes read at once; most headers lie within them."""

SMALL = 1 << 18
"""Files up to this size are read whole: one call brings header and pixels."""

LONGEST = 1 << 26
"""Largest value of a tag, bytes; a table of 8 million blocks."""

MOST_IMAGES = 64
"""Images of one file (overviews, masks) that are looked at."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q", 12: "d"}

SUBFILE = 254


class Tags:
    """Tags of the first image of a TIFF.

    Parameters
    ----------
    order : {"<", ">"}, byte order
    size : int, bytes of the file
    entries : tag -> (type, count, value bytes)
    others : subfile types of the images after the first: bit 0 an overview, bit 2 a mask
    data : the whole file if it is small, else None
    """

    __slots__ = ("data", "entries", "order", "others", "size")

    def __init__(self, order: str, size: int) -> None:
        self.order, self.size = order, size
        self.entries: dict[int, tuple[int, int, bytes]] = {}
        self.others: tuple[int, ...] = ()
        self.data: bytes | None = None

    def numbers(self, tag: int) -> Any:
        """Return the values of a tag as a list, None if it is absent or of another type than numbers."""
        entry = self.entries.get(tag)
        if entry is None:
            return None
        kind, count, raw = entry
        code = _CODES.get(kind)
        return None if code is None else list(struct.unpack(f"{self.order}{count}{code}", raw))

    def number(self, tag: int, default: int) -> int | None:
        """Return the one value of a tag, ``default`` if it is absent, None if it is no single whole number."""
        if tag not in self.entries:
            return default
        values = self.numbers(tag)
        return values[0] if values is not None and len(values) == 1 and isinstance(values[0], int) else None


class _File:
    """Bytes of an open file by place: what was read once is not read again."""

    __slots__ = ("head", "raw", "size")

    def __init__(self, raw: FileIO, size: int, first: int) -> None:
        self.raw, self.size = raw, size
        self.head = raw.read(first)

    def at(self, offset: int, count: int) -> bytes | None:
        """Return bytes, None if the file does not have them all."""
        if offset + count <= len(self.head):
            return self.head[offset : offset + count]
        if offset + count > self.size:
            return None
        self.raw.seek(offset)
        found = self.raw.read(count)
        return found if len(found) == count else None


def read_tags(raw: FileIO, size: int, *, pixels: bool = True) -> Tags | None:
    """Read the tags of the first image.

    Parameters
    ----------
    raw : file just opened for reading bytes, unbuffered
    size : int, bytes of the file
    pixels : bool
        Whether they will be read next: a small file is then brought in whole.

    Returns
    -------
    Tags or None
        None if this is no TIFF, or one whose directory is damaged, unsorted or of a kind that is not understood.
    """
    file = _File(raw, size, size if pixels and size <= SMALL else HEAD)
    head = file.head
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
    tags = Tags(order, size)
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
    tags.data = head if len(head) == size else None
    return tags


def _entries(file: _File, order: str, start: int, big: bool) -> tuple[list[Any], int] | None:
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


def _directory(file: _File, tags: Tags, start: int, big: bool) -> int | None:
    read = _entries(file, tags.order, start, big)
    if read is None:
        return None
    found, following = read
    last = 0
    inline, code = (8, "Q") if big else (4, "I")
    for tag, kind, count, value in found:
        size = _SIZES.get(kind, 0) * count
        # Readers differ in which of two equal tags they believe, and in whether they mind the order.
        if tag <= last or not 0 < size <= LONGEST:
            return None
        last = tag
        if size <= inline:
            tags.entries[tag] = kind, count, value[:size]
            continue
        (offset,) = struct.unpack(tags.order + code, value)
        raw = file.at(offset, size)
        if raw is None:
            return None
        tags.entries[tag] = kind, count, raw
    return int(following)


def _other(file: _File, order: str, start: int, big: bool) -> tuple[int, int] | None:
    """Return the subfile type of a later image, and the place of the next one."""
    read = _entries(file, order, start, big)
    if read is None:
        return None
    found, following = read
    tag, kind, count, value = found[0]
    subfile = 0
    if tag == SUBFILE:
        if (kind, count) != (4, 1):
            return None
        (subfile,) = struct.unpack(order + "I", value[:4])
    return subfile, following
