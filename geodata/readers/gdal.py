"""Rasters of every format that GDAL knows: GeoTIFF, JPEG, PNG, JPEG 2000, VRT and the rest, through rasterio."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geodata.bands import Band, Bands
from geodata.crs import CRS, as_crs
from geodata.errors import CRSError, DtypeError, GeodataError, ReadError, StaleCatalogError
from geodata.grid import Grid
from geodata.readers.base import Header, PixelWindow, Raster, observed, quietly, stored_nodata
from geodata.readers.pool import handles
from geodata.readers.room import with_room

__all__ = ["EXTENSIONS", "describe", "read"]

EXTENSIONS = (".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png", ".bmp", ".vrt", ".img", ".gif")
"""What a folder is searched for; a glob or a list of files may name any format of GDAL."""

_UNIT_IN_NAME = re.compile(r"\s*\([\d.]+\s*(?:nanometers|micrometers|nm|um|µm)\)$", re.IGNORECASE)
_NANOMETERS = {"nanometers": 1.0, "nm": 1.0, "micrometers": 1000.0, "um": 1000.0, "µm": 1000.0}


def describe(href: str) -> Header:
    """Read the header of a raster, no pixels.

    Raises
    ------
    ReadError
        If it cannot be opened, or holds several images of which none is meant.
    CRSError
        If it is georeferenced only by ground control points or a sensor model: it has no lattice until it is warped. If
        its CRS has no place on earth.
    DtypeError
        If its bands differ in dtype or are complex.
    """
    handles.drop(href)
    return with_room(lambda: _describe(href))


def _describe(href: str) -> Header:
    with handles.take(href) as src, _telling(f"cannot read the header of {href}"):
        _check_single(src, href)
        dtypes = set(src.dtypes)
        if len(dtypes) > 1 or "complex" in src.dtypes[0]:
            raise DtypeError(
                f"{href}: bands of dtype {', '.join(sorted(dtypes))}; one real dtype per file is supported"
            )
        alpha = _alpha(src)
        indexes = tuple(i for i in src.indexes if i not in alpha) or tuple(src.indexes)
        bands, named = _bands(src, indexes)
        validity, nodata = _validity(src, indexes, src.dtypes[0])
        return Header(_grid(src, href), bands, indexes, src.dtypes[0], nodata, validity, named)


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Turn what rasterio and GDAL raise into a ReadError."""
    try:
        yield
    except GeodataError:
        raise
    except (RasterioError, CPLE_BaseError, OSError, ValueError) as error:
        raise ReadError(f"{what}: {error.__cause__ or error}") from None
    except MemoryError:
        raise ReadError(f"{what}: there is not enough memory; read less at once") from None


def _check_single(src: DatasetReader, href: str) -> None:
    """Refuse a container, and a TIFF whose pages are a stack: all but one of them would be lost without a word."""
    if not src.count:
        listed = ", ".join(src.subdatasets[:4]) or "none"
        raise ReadError(
            f"{href} holds no bands but {len(src.subdatasets)} datasets ({listed}); write the one you mean as a GeoTIFF "
            "(gdal_translate)"
        )
    if src.driver != "GTiff" or href.startswith("GTIFF_DIR:"):
        return
    like = src.shape, src.count, src.dtypes
    for page in src.subdatasets[1:]:
        with quietly(), rasterio.open(page, driver="GTiff") as other:
            if (other.shape, other.count, other.dtypes) == like:
                raise ReadError(
                    f"{href} is a stack of {len(src.subdatasets)} pages, of which a raster reader sees one; "
                    f"write each as a file (gdal_translate {page} ...), or all as bands of one file"
                )


def _alpha(src: DatasetReader) -> list[int]:
    return [i for i, c in enumerate(src.colorinterp, 1) if c == ColorInterp.alpha]


def _grid(src: DatasetReader, href: str) -> Grid:
    if src.transform.is_identity:
        by = ""
        if src.gcps[0]:
            by = f"{len(src.gcps[0])} ground control points"
        elif src.rpcs:
            by = "rational polynomial coefficients"
        elif src.tags(ns="GEOLOCATION"):
            by = "arrays of longitudes and latitudes"
        if by:
            raise CRSError(
                f"{href} is georeferenced only by {by}; warp it to a grid first (gdalwarp), then read the result"
            )
    return Grid(src.shape, src.transform, _horizontal(as_crs(src.crs), href))


def _horizontal(crs: CRS | None, href: str) -> CRS | None:
    """Return the CRS of the lattice: heights are what pixels hold, and their system has no say in where pixels are."""
    if crs is None:
        return None
    if not (crs.is_geographic or crs.is_projected):
        raise CRSError(
            f"{href} has the {'geocentric' if crs.is_geocentric else 'local'} CRS {crs.name!r}, in which pixels have "
            "no place on earth; assign a real CRS or none"
        )
    return as_crs(crs.to_2d()) if len(crs.axis_info) == 3 else crs


def _validity(src: DatasetReader, indexes: Sequence[int], dtype: str) -> tuple[str, float | None]:
    # Each of these properties asks GDAL about all bands.
    every, values = src.mask_flag_enums, src.nodatavals
    flags = [every[i - 1] for i in indexes]
    nodatas = {repr(values[i - 1]) for i in indexes}
    nodata = values[indexes[0] - 1] if len(nodatas) == 1 else None
    if any(MaskFlags.nodata in f for f in flags) and _inexact(nodata, dtype):
        return "mask", None  # rasterio says it as a float, which is another number
    if any(MaskFlags.per_dataset in f and MaskFlags.nodata in f for f in flags):
        return "mask", None  # only pixels that hold it in all bands are unobserved
    if len(indexes) < src.count or any(MaskFlags.alpha in f for f in flags):
        return "alpha", nodata
    if any(MaskFlags.per_dataset in f for f in flags) or len(nodatas) > 1:
        return "mask", nodata
    if nodata is not None and not np.isnan(nodata) and stored_nodata(nodata, dtype) is not None:
        return "nodata", float(nodata)
    return ("nan" if dtype.startswith("float") else "all"), nodata


def _inexact(nodata: float | None, dtype: str) -> bool:
    return dtype in ("int64", "uint64") and (nodata is None or abs(nodata) >= 2**53)


def _check_unchanged(
    src: DatasetReader, href: str, window: PixelWindow, indexes: Sequence[int], dtype: str | None
) -> None:
    """Refuse what GDAL would answer silently: windows outside are stretched, values of other dtypes clipped."""
    row, col, height, width = window
    inside = row >= 0 and col >= 0 and row + height <= src.height and col + width <= src.width
    if inside and max(indexes) <= src.count and dtype in (None, src.dtypes[0]):
        return
    raise StaleCatalogError(
        f"{href} is {src.height} x {src.width} pixels, {src.count} bands, {src.dtypes[0]}; wanted {height} x {width} pixels "
        f"at row {row}, column {col}, band {max(indexes)}, {dtype or 'any dtype'}: the file changed, scan again"
    )


def _bands(src: DatasetReader, indexes: Sequence[int]) -> tuple[Bands, bool]:
    descriptions, units, scales, offsets = src.descriptions, src.units, src.scales, src.offsets
    names = [_UNIT_IN_NAME.sub("", descriptions[i - 1] or "").strip() for i in indexes]
    named = all(names) and len(set(names)) == len(names)
    if not named:
        names = [str(i) for i in indexes]
    rows = []
    for name, i in zip(names, indexes, strict=True):
        wavelength, fwhm = _spectral(src, i)
        rows.append(
            Band(
                name,
                wavelength=wavelength,
                fwhm=fwhm,
                unit=units[i - 1] or None,
                scale=scales[i - 1],
                offset=offsets[i - 1],
            )
        )
    return Bands(rows), named


def _spectral(src: DatasetReader, index: int) -> tuple[float | None, float | None]:
    """Centre and width in nm from the band's tags (GDAL's IMAGERY domain, or ENVI's names)."""
    imagery = src.tags(index, ns="IMAGERY")
    if "CENTRAL_WAVELENGTH_UM" in imagery:
        return _number(imagery.get("CENTRAL_WAVELENGTH_UM"), 1000.0), _number(imagery.get("FWHM_UM"), 1000.0)
    tags = {k.lower(): v for k, v in src.tags(index).items()}
    if "wavelength" not in tags:
        return None, None
    unit = tags.get("wavelength_units", tags.get("wavelength_unit", "nanometers")).strip().lower()
    factor = _NANOMETERS.get(unit)
    if factor is None:
        return None, None
    return _number(tags["wavelength"], factor), _number(tags.get("fwhm"), factor)


def _number(text: str | None, factor: float) -> float | None:
    try:
        value = float(text) * factor if text else 0.0
    except ValueError:
        return None
    return value if 0 < value < np.inf else None


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
    validity, nodata, dtype : as in `Asset`
    out : (len(indexes), height, width) or None
        Filled in place; GDAL casts straight into its dtype.

    Raises
    ------
    ReadError
        If pixels cannot be decoded.
    StaleCatalogError
        If the file is not the one that was described: the window lies outside, bands are missing, the dtype differs.
    """
    return with_room(lambda: _read(href, window, indexes, validity, nodata, dtype, out))


def _read(
    href: str,
    window: PixelWindow,
    indexes: Sequence[int],
    validity: str,
    nodata: float | None,
    dtype: str | None,
    out: NDArray[Any] | None,
) -> Raster:
    row, col, height, width = window
    where = Window(col, row, width, height)
    with handles.take(href) as src:
        _check_unchanged(src, href, window, indexes, dtype)
        with _telling(f"cannot read {width} x {height} pixels at row {row}, column {col} of {href}"):
            if src.driver == "VRT":  # it may leave pixels as they are: those of memory that was never written to
                out = np.empty((len(indexes), height, width), src.dtypes[0]) if out is None else out
                out[:] = 0 if nodata is None else stored_nodata(nodata, out.dtype) or 0
            data = src.read(list(indexes), window=where, out=out)
            valid = np.True_
            if validity in ("mask", "alpha"):
                masks = np.zeros((len(indexes), height, width), np.uint8)
                valid = src.read_masks(list(indexes), window=where, out=masks).all(axis=0)
                # GDAL's mask leaves alpha out beside nodata, or if it is a float.
                for alpha in set(_alpha(src)) - set(indexes):
                    valid &= src.read(alpha, window=where) != 0
    return Raster(data, valid & observed(data, validity, nodata, dtype))
