"""Pixels of a raster at positions between them: the nearest, or the four around weighed by distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import DtypeError
from geodata.readers.base import Raster, stored_nodata

__all__ = ["Positions", "bilinear", "confined", "framed", "index_of", "missing_in", "nearest", "work_dtype"]

Positions = NDArray[np.float64]
"""(2, H, W) columns and rows, 0 = left or upper edge."""


def missing_in(raster: Raster, nodata: float | None) -> NDArray[np.bool_] | None:
    """Return which pixels have no value: (h, w) for all bands, (C, h, w) for each, or None where all have one.

    Parameters
    ----------
    raster : (C, h, w)
    nodata : float or None
        Where given, each band lacks its own pixels of this value; else all bands lack the invalid ones.
    """
    if raster.valid.all():
        return None
    value = stored_nodata(nodata, raster.data.dtype)
    if value is None:
        return ~raster.valid
    missing: NDArray[np.bool_] = raster.data == value
    if raster.data.dtype.kind == "f":
        missing |= np.isnan(raster.data)
    # What is not valid although no band says so was taken out for all of them.
    missing |= ~raster.valid & ~missing.any(axis=0)
    return missing[0] if (missing == missing[0]).all() else missing


def work_dtype(data: NDArray[Any]) -> type[np.floating]:
    """Return the float dtype that holds pixels exactly.

    Raises
    ------
    DtypeError
        If 64-bit integers are too large.
    """
    dtype = data.dtype
    if dtype.kind in "iu" and dtype.itemsize == 8 and data.size:
        largest = max(abs(int(data.max())), abs(int(data.min())))
        if largest > 2**53:
            raise DtypeError(
                f"64-bit integers up to {largest} cannot be warped exactly; above 2**53 take nearest, or read them on their own grid"
            )
    return np.float32 if dtype.itemsize < 4 or dtype == np.float32 else np.float64


def nearest(raster: Raster, at: Positions, out: NDArray[Any]) -> NDArray[np.bool_]:
    """Fill ``out`` with the pixels that positions lie in; return which are observed.

    Parameters
    ----------
    raster : (C, h, w), any dtype
    at : positions, which may lie outside
    out : (C, H, W), of the same dtype or one that holds it; anything where not observed
    """
    at, valid = confined(at, raster)
    index = index_of(np.floor(at), raster.data.shape[2])
    for band, into in zip(raster.data, out, strict=True):
        into[:] = band.reshape(-1).take(index, mode="wrap")
    return valid


def bilinear(raster: Raster, at: Positions, nodata: float | None, out: NDArray[Any]) -> NDArray[np.bool_]:
    """Fill ``out`` with means of the observed among the four pixels around positions, weighed by distance.

    Observed is where the pixel that a position lies in is. Beyond the edges there is nothing to weigh.

    Parameters
    ----------
    raster : (C, h, w) real numbers; integers come back rounded, halves to even
    at : positions, which may lie outside
    nodata : as in `missing_in`
    out : (C, H, W), of the same dtype or one that holds it; anything where not observed
    """
    data, missing, work = raster.data, missing_in(raster, nodata), work_dtype(raster.data)
    at, valid = confined(at, raster)
    at = at + 0.5
    low = np.floor(at)
    at -= low
    part, index = at.astype(work), index_of(low, data.shape[2] + 2)
    plane = np.empty((data.shape[1] + 2, data.shape[2] + 2), dtype=work)
    scratch = np.empty((3, *index.shape), dtype=work)
    weight: NDArray[Any] | None = None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for k, (band, into) in enumerate(zip(data, out, strict=True)):
            gaps = missing if missing is None or missing.ndim == 2 else missing[k]
            if gaps is not None and (weight is None or gaps is not missing):
                weight = _blend(framed(~gaps, plane), index, part, scratch).copy()
            mean = _blend(framed(band if gaps is None else np.where(gaps, 0, band), plane), index, part, scratch)
            if weight is not None:
                mean /= weight
            if data.dtype.kind in "iu":
                np.rint(mean, out=mean)
            else:
                valid &= ~np.isnan(mean)
            into[:] = mean
    return valid


def confined(at: Positions, raster: Raster) -> tuple[Positions, NDArray[np.bool_]]:
    """Return positions that all lie within a raster, and which of them did and are observed."""
    h, w = raster.valid.shape
    size = np.array([w, h], dtype=np.float64)
    if (at.min(axis=(1, 2)) >= 0).all() and (at.max(axis=(1, 2)) < size).all():
        valid = np.ones(at.shape[1:], dtype=bool)
    else:
        valid = np.logical_and.reduce((at >= 0) & (at < size[:, None, None]))
        at = np.where(valid, at, 0.0)
    if not raster.valid.all():
        valid &= raster.valid.reshape(-1).take(index_of(np.floor(at), w), mode="wrap")
    return at, valid


def index_of(whole: Positions, width: int) -> NDArray[np.intp]:
    """Return where pixels of whole (2, H, W) columns and rows stand in a flat plane of a width."""
    found: NDArray[np.intp] = (whole[1] * width + whole[0]).astype(np.intp)
    return found


def framed(band: NDArray[Any], out: NDArray[Any], width: int = 1) -> NDArray[Any]:
    """Fill ``out`` with a band in a frame that repeats its outermost pixels: taps beyond an edge get what is at it."""
    inner = slice(width, -width)
    out[inner, inner] = band
    out[:width, inner], out[-width:, inner] = out[width, inner], out[-width - 1, inner]
    out[:, :width], out[:, -width:] = out[:, width, None], out[:, -width - 1, None]
    return out


def _blend(plane: NDArray[Any], index: NDArray[np.intp], part: NDArray[Any], scratch: NDArray[Any]) -> NDArray[Any]:
    # Written so that a constant stays exactly that constant.
    flat, width = plane.reshape(-1), plane.shape[1]
    upper: NDArray[Any]
    upper, lower, other = scratch
    flat.take(index, out=upper, mode="wrap")
    flat[1:].take(index, out=other, mode="wrap")
    _towards(upper, other, part[0])
    flat[width:].take(index, out=lower, mode="wrap")
    flat[width + 1 :].take(index, out=other, mode="wrap")
    _towards(lower, other, part[0])
    _towards(upper, lower, part[1])
    return upper


def _towards(start: NDArray[Any], end: NDArray[Any], part: NDArray[Any]) -> None:
    """Move ``start`` by a part of the way to ``end``; both are changed."""
    end -= start
    end *= part
    start += end
