"""Rasters of every format that GDAL knows: GeoTIFF, JPEG, PNG, JPEG 2000, VRT and the rest, through rasterio."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geodata.bands import Band, Bands
from geodata.crs import as_crs
from geodata.errors import CRSError, DtypeError, ReadError, StaleCatalogError
from geodata.grid import Grid
from geodata.readers.base import Header, PixelWindow, Raster, observed, stored_nodata
from geodata.readers.pool import handles, open_raster

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
        If it cannot be opened.
    CRSError
        If it is georeferenced only by ground control points or a sensor model: it has no lattice until it is warped.
    DtypeError
        If its bands differ in dtype or are complex.
    """
    with open_raster(href) as src:
        dtypes = set(src.dtypes)
        if len(dtypes) > 1 or "complex" in src.dtypes[0]:
            raise DtypeError(
                f"{href}: bands of dtype {', '.join(sorted(dtypes))}; one real dtype per file is supported"
            )
        alpha = [i for i, c in enumerate(src.colorinterp, 1) if c == ColorInterp.alpha]
        indexes = tuple(i for i in src.indexes if i not in alpha) or tuple(src.indexes)
        bands, named = _bands(src, indexes)
        validity, nodata = _validity(src, indexes, src.dtypes[0])
        return Header(_grid(src, href), bands, indexes, src.dtypes[0], nodata, validity, named)


def _grid(src: DatasetReader, href: str) -> Grid:
    if src.transform.is_identity and (src.gcps[0] or src.rpcs):
        by = f"{len(src.gcps[0])} ground control points" if src.gcps[0] else "rational polynomial coefficients"
        raise CRSError(
            f"{href} is georeferenced only by {by}; warp it to a grid first (gdalwarp), then read the result"
        )
    crs = as_crs(src.crs)
    if crs is not None and (crs.is_engineering or crs.is_vertical):
        raise CRSError(f"{href} has the local CRS {crs.name!r}, which has no place on earth; assign a real CRS or none")
    return Grid(src.shape, src.transform, crs)


def _validity(src: DatasetReader, indexes: Sequence[int], dtype: str) -> tuple[str, float | None]:
    flags = [src.mask_flag_enums[i - 1] for i in indexes]
    nodatas = {repr(src.nodatavals[i - 1]) for i in indexes}
    nodata = src.nodatavals[indexes[0] - 1] if len(nodatas) == 1 else None
    if any(MaskFlags.alpha in f for f in flags):
        return "alpha", nodata
    if any(MaskFlags.per_dataset in f for f in flags) or len(nodatas) > 1:
        return "mask", nodata
    if nodata is not None and not np.isnan(nodata) and stored_nodata(nodata, dtype) is not None:
        return "nodata", float(nodata)
    return ("nan" if dtype.startswith("float") else "all"), nodata


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
    names = [_UNIT_IN_NAME.sub("", src.descriptions[i - 1] or "").strip() for i in indexes]
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
                unit=src.units[i - 1] or None,
                scale=src.scales[i - 1],
                offset=src.offsets[i - 1],
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
    row, col, height, width = window
    where = Window(col, row, width, height)
    with handles.take(href) as src:
        _check_unchanged(src, href, window, indexes, dtype)
        try:
            data = src.read(list(indexes), window=where, out=out)
            if validity in ("mask", "alpha"):
                valid = src.read_masks(list(indexes), window=where).all(axis=0)
            else:
                valid = np.True_
        except (RasterioError, OSError) as error:
            raise ReadError(
                f"cannot read {width} x {height} pixels at row {row}, column {col} of {href}: {error}"
            ) from None
    return Raster(data, valid & observed(data, validity, nodata, dtype))
