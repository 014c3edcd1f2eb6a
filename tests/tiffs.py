"""TIFFs made byte by byte: also those that no library would write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import imagecodecs
import numpy as np

__all__ = ["CODES", "GEO", "packed", "tiff"]

CODES = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}

GEO: dict[int, Any] = {
    33550: (12, (10.0, 10.0, 0.0)),
    33922: (12, (0.0, 0.0, 0.0, 500000.0, 5600000.0, 0.0)),
    34735: (3, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)),
}
"""Tags of a place: pixels of 10 m in UTM zone 33."""


def packed(data: bytes, compression: int) -> bytes:
    """Compress as TIFF's number says."""
    if compression in (8, 32946):
        return zlib.compress(data)
    if compression == 5:
        return bytes(imagecodecs.lzw_encode(data))
    if compression == 50000:
        return bytes(imagecodecs.zstd_encode(data))
    return data


def _predicted(block: np.ndarray) -> np.ndarray:
    unsigned = block.view(f"u{block.dtype.itemsize}")
    found = unsigned.copy()
    found[:, 1:] -= unsigned[:, :-1]
    return found


def _blocks(array: np.ndarray, size: tuple[int, int], tiled: bool) -> list[np.ndarray]:
    rows, columns = size
    height, width, samples = array.shape
    found = []
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            part = array[top : top + rows, left : left + columns]
            if tiled:
                full = np.zeros((rows, columns, samples), array.dtype)
                full[: part.shape[0], : part.shape[1]] = part
                part = full
            found.append(np.ascontiguousarray(part))
    return found


def tiff(
    array: np.ndarray,
    *,
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    compression: int = 1,
    predictor: int = 1,
    planar: bool = False,
    order: str = "<",
    big: bool = False,
    tags: Mapping[int, Any] | None = None,
    extra: bytes = b"",
) -> bytes:
    """Return the bytes of a TIFF.

    Parameters
    ----------
    array : (C, H, W)
    tile : (rows, columns) or None for strips of ``rows`` rows, by default one strip
    planar : whether each band has blocks of its own
    order : {"<", ">"}, byte order of the file
    tags : tag -> (type, values), or None to leave it out; they win over what would be written
    extra : bytes appended
    """
    count, height, width = array.shape
    size = tile or (rows or height, width)
    planes = [array[i : i + 1] for i in range(count)] if planar else [array]
    blocks = [b for p in planes for b in _blocks(p.transpose(1, 2, 0), size, tile is not None)]
    data = []
    for block in blocks:
        coded = _predicted(block) if predictor == 2 and compression != 1 else block
        data.append(packed(coded.astype(coded.dtype.newbyteorder(order)).tobytes(), compression))
    kind = {"u": 1, "i": 2, "f": 3, "c": 6}[array.dtype.kind]
    found: dict[int, Any] = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (array.dtype.itemsize * 8,) * count),
        259: (3, (compression,)),
        262: (3, (1,)),
        277: (3, (count,)),
        284: (3, (2 if planar else 1,)),
        339: (3, (kind,) * count),
    }
    if count > 1:
        found[338] = (3, (0,) * (count - 1))
    if predictor != 1:
        found[317] = (3, (predictor,))
    if tile:
        found |= {322: (4, (size[1],)), 323: (4, (size[0],))}
    else:
        found[278] = (4, (size[0],))
    wide = 16 if big else 4
    found |= {324 if tile else 273: (wide, (0,) * len(data)), 325 if tile else 279: (wide, tuple(map(len, data)))}
    named = {324 if tile else 273} - set(tags or {})
    found |= dict(tags or {})
    found = {tag: entry for tag, entry in sorted(found.items()) if entry is not None}
    body = b""
    for tag in named:
        start = len(_file(found, order, big))
        offsets = []
        for part in data:
            offsets.append(start + len(body))
            body += part + b"\0" * (len(part) % 2)
        found[tag] = (wide, tuple(offsets))
    return _file(found, order, big) + (body or b"".join(data)) + extra


def _value(kind: int, values: Any, order: str) -> tuple[int, bytes]:
    if kind == 2:
        text = values if isinstance(values, bytes) else values.encode() + b"\0"
        return len(text), text
    return len(values), struct.pack(f"{order}{len(values)}{CODES[kind]}", *values)


def _file(tags: Mapping[int, Any], order: str, big: bool) -> bytes:
    """Return header, directory and the values that do not fit into it."""
    inline = 8 if big else 4
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(
        order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8))
    )
    directory = struct.pack(order + ("Q" if big else "H"), len(tags))
    start = len(head) + len(directory) + len(tags) * (20 if big else 12) + inline
    values = b""
    for tag, (kind, content) in tags.items():
        count, raw = _value(kind, content, order)
        if len(raw) <= inline:
            raw = raw.ljust(inline, b"\0")
        else:
            place = start + len(values)
            values += raw + b"\0" * (len(raw) % 2)
            raw = struct.pack(order + ("Q" if big else "I"), place)
        directory += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count) + raw
    return head + directory + b"\0" * inline + values
