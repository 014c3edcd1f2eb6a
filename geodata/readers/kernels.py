"""Values from more than four pixels: smooth kernels of any width, and all pixels that lie under a larger one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.readers.base import Raster
from geodata.readers.gather import Positions, confined, framed, index_of, missing_in, work_dtype

__all__ = ["KERNELS", "area", "kernel"]

Floats = NDArray[np.float64]


def _tent(x: Floats) -> Floats:
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0)


def _cubic(x: Floats) -> Floats:
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _spline(x: Floats) -> Floats:
    x = np.abs(x)
    near, far = (0.5 * x - 1) * x * x + 2 / 3, (2 - x) ** 3 / 6
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: Floats) -> Floats:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


KERNELS: dict[str, tuple[int, Callable[[Floats], Floats]]] = {
    "bilinear": (1, _tent),
    "cubic": (2, _cubic),
    "cubic_spline": (2, _spline),
    "lanczos": (3, _lanczos),
}
"""How far each reaches, in pixels, and its weight at a distance; as in GDAL (cubic: Catmull-Rom)."""


def kernel(
    raster: Raster, at: Positions, how: str, ratio: Sequence[float], nodata: float | None, out: NDArray[Any]
) -> NDArray[np.bool_]:
    """Fill ``out`` with means of the observed pixels around positions, weighed by a kernel.

    Observed is where the pixel that a position lies in is. Beyond the edges there is nothing to weigh. Kernels with
    negative weights need all of their pixels: where one is missing, ``bilinear`` of the same width takes over.

    Parameters
    ----------
    raster : (C, h, w) real numbers; integers come back rounded, halves to even
    at : positions, which may lie outside
    how : one of `KERNELS`
    ratio : (x, y), >= 1, how much the kernel is widened
    nodata : as in `geodata.readers.gather.missing_in`
    out : (C, H, W), of the same dtype or one that holds it; anything where not observed
    """
    radius, weigh = KERNELS[how]
    taps = [int(np.ceil(radius * r)) for r in ratio]
    at, valid = confined(at, raster)
    at = at - 0.5
    low = np.floor(at)
    at -= low
    across, down = (
        [np.where((k >= -pixel) & (k < size - pixel), weigh((k - part) / r), 0) for k in range(1 - n, n + 1)]
        for n, pixel, part, size, r in zip(taps, low, at, raster.valid.shape[::-1], ratio, strict=True)
    )
    pad = max(taps)
    first = index_of(low + (pad + 1 - np.array(taps))[:, None, None], raster.valid.shape[1] + 2 * pad)
    missing = missing_in(raster, nodata)
    total = sum(across) * sum(down)
    for k, (band, into) in enumerate(zip(raster.data, out, strict=True)):
        gaps = missing if missing is None or missing.ndim == 2 else missing[k]
        mean, weight = _sums(band, gaps, pad, first, across, down)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean /= total if weight is None else weight
        if gaps is not None and how in ("cubic", "lanczos"):
            plane = framed(gaps, np.empty(np.add(gaps.shape, 2 * pad)), pad)
            lost = _sum(plane, first, [np.abs(w) for w in across], [np.abs(w) for w in down]) > 1e-9
            if lost.any():
                lone = Raster(band[None], ~gaps)
                other = np.empty((1, *mean.shape))
                kernel(lone, at + low + 0.5, "bilinear", ratio, None, other)
                np.copyto(mean, other[0], where=lost)
        valid &= _put(mean, raster, into)
    return valid


def area(raster: Raster, corners: Positions, how: str, nodata: float | None, out: NDArray[Any]) -> NDArray[np.bool_]:
    """Fill ``out`` with the mean or the most frequent value under each pixel, observed pixels weighed by area.

    A pixel is taken for the upright box with its middle and area. Where its sides are turned against those of the source,
    some of that area is beside it: 2.5 % at 3 degrees, 17 % at 45.

    Parameters
    ----------
    raster : (C, h, w) real numbers; means of integers come back rounded, halves to even
    corners : (2, H + 1, W + 1) positions of the pixels' corners, which may lie outside
    how : {"average", "mode"}
        Of values with equal areas the smallest is taken.
    nodata : as in `geodata.readers.gather.missing_in`
    out : (C, H, W), of the same dtype or one that holds it; anything where not observed
    """
    low, high, lies = _boxes(corners)
    whole = (high - low).prod(axis=0)
    size = np.array(raster.valid.shape[::-1], dtype=np.float64)[:, None, None]
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    start = np.floor(low)
    taps = [max(int(n), 1) for n in (np.ceil(high) - start).max(axis=(1, 2))]
    across, down = (
        [np.clip(np.minimum(b, s + k + 1) - np.maximum(a, s + k), 0, None) for k in range(n)]
        for a, b, s, n in zip(low, high, start, taps, strict=True)
    )
    pad = max(taps)
    first = index_of(start + pad, raster.valid.shape[1] + 2 * pad)
    missing = missing_in(raster, nodata)
    for k, (band, into) in enumerate(zip(raster.data, out, strict=True)):
        gaps = missing if missing is None or missing.ndim == 2 else missing[k]
        if how == "mode":
            found, weight = _mode(band, gaps, pad, first, across, down)
        else:
            found, some = _sums(band, gaps, pad, first, across, down)
            weight = sum(across) * sum(down) if some is None else some
            with np.errstate(invalid="ignore", divide="ignore"):
                found /= weight
        found[~(weight > 1e-6 * whole)] = np.nan
        lies &= _put(found, raster, into)
    return lies


def _boxes(corners: Positions) -> tuple[Positions, Positions, NDArray[np.bool_]]:
    """Return the least and greatest positions of upright boxes as large as quadrilaterals, and which are finite."""
    first, last = corners[:, :-1, :-1], corners[:, 1:, 1:]
    right, down = corners[:, :-1, 1:], corners[:, 1:, :-1]
    lies: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(corners))
    lies = lies[:-1, :-1] & lies[1:, 1:] & lies[:-1, 1:] & lies[1:, :-1]
    with np.errstate(invalid="ignore"):
        middle = (first + last + right + down) / 4
        half = np.hypot(last - first + right - down, last - first + down - right) / 4
    return np.where(lies, middle - half, 0), np.where(lies, middle + half, 0), lies


def _sums(
    band: NDArray[Any],
    gaps: NDArray[np.bool_] | None,
    pad: int,
    first: NDArray[np.intp],
    across: Sequence[Floats],
    down: Sequence[Floats],
) -> tuple[Floats, Floats | None]:
    """Return weighed sums of the pixels that are no gaps, and of the weights unless there is no gap."""
    work_dtype(band)
    plane = np.empty(np.add(band.shape, 2 * pad))
    if gaps is None:
        return _sum(framed(band, plane, pad), first, across, down), None
    weight = _sum(framed(~gaps, plane, pad), first, across, down)
    return _sum(framed(np.where(gaps, 0, band), plane, pad), first, across, down), weight


def _sum(plane: Floats, first: NDArray[np.intp], across: Sequence[Floats], down: Sequence[Floats]) -> Floats:
    flat, width = plane.reshape(-1), plane.shape[1]
    total, row, other = np.zeros(first.shape), np.empty(first.shape), np.empty(first.shape)
    for j, below in enumerate(down):
        row[:] = 0
        for i, beside in enumerate(across):
            flat[j * width + i :].take(first, out=other, mode="wrap")
            other *= beside
            row += other
        row *= below
        total += row
    return total


def _mode(
    band: NDArray[Any],
    gaps: NDArray[np.bool_] | None,
    pad: int,
    first: NDArray[np.intp],
    across: Sequence[Floats],
    down: Sequence[Floats],
) -> tuple[Floats, Floats]:
    """Return the value with the largest sum of weights, and the weights of all."""
    plane = framed(band, np.empty(np.add(band.shape, 2 * pad), dtype=work_dtype(band)), pad)
    seen = framed(np.ones(band.shape) if gaps is None else ~gaps, np.empty(plane.shape), pad)
    taps = (np.arange(len(down))[:, None] * plane.shape[1] + np.arange(len(across))).reshape(-1)
    at = first[..., None] + taps
    weights = (np.stack(down, axis=-1)[..., None] * np.stack(across, axis=-1)[..., None, :]).reshape(at.shape)
    weights *= seen.reshape(-1).take(at)
    values = plane.reshape(-1).take(at)
    order = np.argsort(values, axis=-1)
    values = np.take_along_axis(values, order, axis=-1)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=-1), axis=-1)
    last = np.ones(values.shape, dtype=bool)
    last[..., :-1] = values[..., 1:] != values[..., :-1]
    before = np.zeros_like(reached)
    before[..., 1:] = np.maximum.accumulate(np.where(last, reached, 0), axis=-1)[..., :-1]
    # Sums that are equal but for the order of adding count as equal.
    best = np.where(last, np.round(reached - before, 9), -1).argmax(axis=-1)[..., None]
    found: Floats = np.take_along_axis(values, best, axis=-1)[..., 0].astype(np.float64)
    return found, reached[..., -1]


def _put(found: Floats, raster: Raster, into: NDArray[Any]) -> NDArray[np.bool_]:
    """Write values in the range of a raster's dtype; return which there are."""
    seen = ~np.isnan(found)
    dtype = raster.data.dtype
    if dtype.kind in "iu":
        found = np.rint(np.where(seen, found, 0))
        if dtype.itemsize < 8:
            info = np.iinfo(dtype)
            found = np.clip(found, info.min, info.max)
    with np.errstate(over="ignore"):
        into[:] = found
    return seen
