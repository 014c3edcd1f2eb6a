"""Rasters: plain TIFFs by the library's own reader, everything else through GDAL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from geodata.readers import gdal, kinds
from geodata.readers.base import Header, PixelWindow, Raster, observed
from geodata.readers.gdal import EXTENSIONS
from geodata.readers.tiff import read_pixels

__all__ = ["EXTENSIONS", "describe", "read"]

PLAIN = os.environ.get("GEODATA_TIFF", "1") != "0"
"""GEODATA_TIFF=0 in the environment reads everything through GDAL, to compare."""


def describe(href: str) -> Header:
    """Read the header of a raster, no pixels.

    Raises
    ------
    ReadError
        If it cannot be opened.
    CRSError
        If it is georeferenced only by ground control points or a sensor model: it has no lattice until it is warped.
    DtypeError
        If its bands differ in dtype or are complex.
    """
    return kinds.describe(href) if PLAIN else gdal.describe(href)


def read(
    href: str,
    window: PixelWindow,
    indexes: Sequence[int],
    *,
    validity: str,
    nodata: float | None = None,
    dtype: str | None = None,
    out: NDArray[Any] | None = None,
) -> Raster:
    """Read a window of a raster.

    Parameters
    ----------
    href : str
        Path or URL; GDAL's virtual file systems work.
    window : (row, column, height, width), pixels, inside the file
    indexes : 1-based bands in the order wanted
    validity, nodata, dtype : as in `geodata.readers.base.Asset`
    out : (len(indexes), height, width) or None
        Filled in place, cast to its dtype.

    Raises
    ------
    ReadError
        If pixels cannot be decoded.
    StaleCatalogError
        If the file is not the one that was described: the window lies outside, bands are missing, the dtype differs.
    """
    if PLAIN and validity in ("all", "nodata", "nan"):
        data = read_pixels(href, window, indexes, dtype, out)
        if data is not None:
            return Raster(data, observed(data, validity, nodata, dtype))
    return gdal.read(href, window, indexes, validity=validity, nodata=nodata, dtype=dtype, out=out)
