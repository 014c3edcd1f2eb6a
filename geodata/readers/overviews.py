"""Overviews that stand for their file: those that GDAL recorded as averages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geodata.errors import ReadError, StaleCatalogError
from geodata.readers.base import PixelWindow, Raster, quietly
from geodata.readers.pool import open_raster

__all__ = ["averages", "read_average"]


def averages(href: str, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (height, width) of a file's overviews, in its order, if all of them are averages of pixels.

    What counts is the item ``RESAMPLING`` of the first band of each overview, which GDAL writes for all bands when it makes
    the overview. Tags of the file (``OVR_RESAMPLING_ALG``, ``rio_overview``) do not: they outlive overviews that are made
    anew.

    Parameters
    ----------
    href : path or URL
    shape : (height, width) that the file must have; else nothing is returned

    Raises
    ------
    ReadError
        If the file cannot be opened.
    """
    found = []
    with open_raster(href) as src:
        count = len(src.overviews(1)) if src.shape == shape and src.driver == "GTiff" else 0
    for level in range(count):
        with _overview(href, level) as src:
            if src.tags(1).get("RESAMPLING") != "AVERAGE":
                return []
            found.append(src.shape)
    return found


def read_average(href: str, level: int, window: PixelWindow, indexes: Sequence[int], dtype: str) -> Raster:
    """Read a window of an overview, all of whose pixels are observed.

    Parameters
    ----------
    href : path or URL
    indexes : 1-based bands
    level : int, 0 = the finest overview
    window : (row, column, height, width), pixels of the overview
    dtype : of the file when it was described

    Raises
    ------
    ReadError
        If pixels cannot be decoded.
    StaleCatalogError
        If the file is not the one that was described.
    """
    row, col, height, width = window
    with _overview(href, level) as src:
        if row + height > src.height or col + width > src.width or src.dtypes[0] != dtype:
            raise StaleCatalogError(f"{href}: overview {level} is no longer what it was; the file changed, scan again")
        try:
            data = src.read(list(indexes), window=Window(col, row, width, height))
        except (RasterioError, OSError) as error:
            raise ReadError(f"cannot read overview {level} of {href}: {error}") from None
    return Raster(data, np.ones((height, width), dtype=bool))


def _overview(href: str, level: int) -> rasterio.io.DatasetReader:
    try:
        with quietly():
            return rasterio.open(href, driver="GTiff", overview_level=level)
    except (RasterioError, OSError) as error:
        raise ReadError(f"cannot open overview {level} of {href}: {error}") from None
