"""From coarse pixels to a lattice that is finer by a whole number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import GridError
from geodata.readers.base import Raster

__all__ = ["enlarge"]


def enlarge(raster: Raster, ratio: int, offset: tuple[int, int], shape: tuple[int, int], how: str) -> Raster:
    """Bring coarse pixels onto a lattice that is finer by a whole number.

    Parameters
    ----------
    raster : (C, h, w) coarse pixels
    ratio : int >= 2, fine pixels per coarse pixel side
    offset : (row, column) of the first wanted fine pixel, counted from the first coarse pixel's corner
    shape : (height, width) of the wanted block, fine pixels; must lie within the coarse block
    how : {"nearest", "bilinear"}
        Bilinear weighs the up to four observed coarse neighbours; a pixel is valid if the coarse pixel that it lies in is.

    Returns
    -------
    Raster
        The dtype is kept. Integers of up to 32 bits are the exact mean, rounded, halves to even.

    Raises
    ------
    GridError
        If another method is asked for.
    """
    rows = (np.arange(shape[0]) + offset[0]) // ratio
    cols = (np.arange(shape[1]) + offset[1]) // ratio
    complete = bool(raster.valid.all())
    valid = np.ones(shape, dtype=bool) if complete else raster.valid[np.ix_(rows, cols)]
    if how == "nearest":
        return Raster(raster.data[:, rows[:, None], cols[None, :]], valid)
    if how != "bilinear":
        raise GridError(f"bands of a coarser grid can be enlarged by nearest or bilinear, not {how!r}")
    dtype = raster.data.dtype
    # Sums with whole weights are exact; a move from one neighbour towards the other keeps a constant of any float.
    whole = dtype.kind in "iu" and dtype.itemsize < 8
    work = _work(raster, ratio, whole and complete)
    data = _blend(
        raster.data if complete else np.where(raster.valid, raster.data, 0), ratio, offset, shape, work, whole
    )
    if not complete:
        weight = _blend(raster.valid[None], ratio, offset, shape, work, whole)
        data /= np.where(weight > 0, weight, 1)
    elif whole:
        data /= (2 * ratio) ** 2
    if dtype.kind in "iu":
        np.rint(data, out=data)
    return Raster(data.astype(dtype), valid)


def _work(raster: Raster, ratio: int, sums: bool) -> type[np.floating]:
    dtype = raster.data.dtype
    if dtype.kind == "f":
        return np.float32 if dtype.itemsize <= 4 else np.float64
    # Below 2**24 float32 holds every sum, and a quotient is never nearer to a half than it can tell.
    return np.float32 if sums and np.iinfo(dtype).max * (2 * ratio) ** 2 < 2**24 else np.float64


def _blend(
    data: NDArray[Any], ratio: int, offset: tuple[int, int], shape: tuple[int, int], work: Any, whole: bool
) -> NDArray[Any]:
    bands, h, w = data.shape
    # A frame that repeats the outermost pixels: beyond the edge they stand for what is not there.
    framed = np.empty((bands, h + 2, w + 2), dtype=work)
    framed[:, 1:-1, 1:-1] = data
    framed[:, 0], framed[:, -1] = framed[:, 1], framed[:, -2]
    framed[:, :, 0], framed[:, :, -1] = framed[:, :, 1], framed[:, :, -2]
    # Across first: that is the slow direction, and there are fewer rows now.
    across = np.empty((bands, h + 2, shape[1]), dtype=work)
    _spread(framed, ratio, offset[1], whole, across)
    out = np.empty((bands, *shape), dtype=work)
    _spread(across.swapaxes(1, 2), ratio, offset[0], whole, out.swapaxes(1, 2))
    return out


def _spread(data: NDArray[Any], ratio: int, offset: int, whole: bool, out: NDArray[Any]) -> None:
    """Interpolate along the last axis, one phase of the lattice after the other; times 2 ``ratio`` if ``whole``."""
    for phase in range(ratio):
        first = (phase - offset) % ratio
        into = out[..., first::ratio]
        count = into.shape[-1]
        part = 2 * phase + 1 - ratio
        # In the frame pixel p stands at p + 1.
        low = (offset + first) // ratio + (1 if part >= 0 else 0)
        start, end = data[..., low : low + count], data[..., low + 1 : low + 1 + count]
        part %= 2 * ratio
        if whole:
            np.multiply(start, 2 * ratio - part, out=into)
            into += end * into.dtype.type(part)
        else:
            np.subtract(end, start, out=into)
            into *= part / (2 * ratio)
            into += start
