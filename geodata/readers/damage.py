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
        If the file is empty, or shorter than it says.
    """
    size, suffix = os.path.getsize(name), os.path.splitext(name)[1].lower()
    with open(name, "rb") as file:
        head = file.read(100)
    if not size:
        raise ReadError(f"{name} is empty; fetch it again")
    declared = 0
    if suffix == ".shp":
        declared = max(100, 2 * int.from_bytes(head[24:28], "big"))
    elif suffix == ".gpkg" and head[24:28] == head[92:96]:  # else its writer did not keep the count of pages
        page = int.from_bytes(head[16:18], "big")
        declared = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    if size < declared:
        raise ReadError(f"{name} is cut short: {size} of {declared} bytes; fetch it again")


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
    records = np.delete(np.arange(len(index)), deleted(name))[features]
    data = np.memmap(name, dtype=np.uint8, mode="r")
    kinds = [data[2 * start + 8 : 2 * start + 12].any() for start in index[records].tolist()]
    return features[np.array(kinds, dtype=np.bool_)]
