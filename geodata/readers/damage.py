"""Signs of damage in shapefiles and GeoPackages that GDAL passes over in silence."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError

__all__ = ["check_length", "deleted", "is_shapefile", "sidecars", "undecoded"]


def is_shapefile(name: str) -> bool:
    """Whether a path is a shapefile on this machine, not one inside an archive or behind a URL."""
    return name.lower().endswith(".shp") and os.path.isfile(name)


def sidecars(name: str) -> tuple[str, ...]:
    """Return the files that hold the table, index, CRS and encoding of a shapefile; () for other files."""
    stem, suffix = os.path.splitext(name)
    return tuple(stem + end for end in (".dbf", ".shx", ".prj", ".cpg")) if suffix.lower() == ".shp" else ()


def check_length(name: str) -> None:
    """Compare the size of a shapefile or GeoPackage with the one in its header.

    GDAL reads a shortened shapefile without an error: its last shapes are then null. A shortened GeoPackage fails only
    once a missing page is read.

    Parameters
    ----------
    name : str
        Any local file; others are not looked at.

    Raises
    ------
    ReadError
        If the file is empty, or shorter than it says; if the table of a shapefile contradicts itself.
    """
    size, suffix = os.path.getsize(name), os.path.splitext(name)[1].lower()
    with open(name, "rb") as file:
        head = file.read(100)
    if not size:
        raise ReadError(f"{name} is empty; fetch it again")
    declared = 0
    if suffix == ".shp":
        declared = max(100, 2 * int.from_bytes(head[24:28], "big"))
        _check_table(os.path.splitext(name)[0] + ".dbf")
    elif suffix == ".gpkg" and head[24:28] == head[92:96]:  # else its writer did not keep the count of pages
        page = int.from_bytes(head[16:18], "big")
        declared = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    if size < declared:
        raise ReadError(f"{name} is cut short: {size} of {declared} bytes; fetch it again")


def _check_table(name: str) -> None:
    """Compare what the head of a table says of its records with what it says of its fields; readers differ in which they believe."""
    if not os.path.isfile(name):
        return
    with open(name, "rb") as file:
        head = file.read(65535)
    start, record = int.from_bytes(head[8:10], "little"), int.from_bytes(head[10:12], "little")
    fields = head[32:start]
    said = 1 + sum(fields[i + 16] for i in range(0, len(fields) - 31, 32) if fields[i] != _END)
    if len(head) < max(32, start) or record != said:
        raise ReadError(f"{name} is damaged: records of {record} bytes, fields of {said}; fetch it again")


_END = 0x0D


def deleted(name: str) -> NDArray[np.int64]:
    """Return the records that the table marks as deleted: they are in the count but are never read.

    Parameters
    ----------
    name : str
        Any path; the result is empty for what is no local shapefile.
    """
    table = os.path.splitext(name)[0] + ".dbf"
    if not is_shapefile(name) or not os.path.isfile(table):
        return np.empty(0, dtype=np.int64)
    data = np.memmap(table, dtype=np.uint8, mode="r")
    records, header, length = (int.from_bytes(data[a:b].tobytes(), "little") for a, b in ((4, 8), (8, 10), (10, 12)))
    return np.flatnonzero(data[header :: max(length, 1)][:records] == ord("*"))


def undecoded(name: str, features: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those features without a geometry that the file does have a shape for: GDAL could not decode it.

    Parameters
    ----------
    name : str
        Any path; the result is empty for what is no local shapefile.
    features : (M,) int64, positions in reading order
    """
    if not len(features) or not is_shapefile(name):
        return features[:0]
    index = np.fromfile(os.path.splitext(name)[0] + ".shx", dtype=">i4", offset=100)[::2]
    gone = deleted(name)
    records = np.delete(np.arange(len(index)), gone[gone < len(index)])
    if features[-1] >= len(records):
        return features  # its index is damaged too
    data = np.memmap(name, dtype=np.uint8, mode="r")
    # A place outside of the file is no null shape either.
    starts = [2 * start for start in index[records[features]].tolist()]
    kinds = [not 100 <= start <= len(data) - 12 or data[start + 8 : start + 12].any() for start in starts]
    return features[np.array(kinds, dtype=np.bool_)]
