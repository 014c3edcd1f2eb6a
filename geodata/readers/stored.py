"""Windows of arrays in a store: one row is one position on the first axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.errors import ReadError, StaleCatalogError
from geodata.readers.base import Asset, PixelWindow, Raster, gaps, observed
from geodata.readers.shards import open_array

__all__ = ["read", "read_rows"]


def read(
    href: str,
    inside: str,
    window: PixelWindow,
    indexes: Sequence[int],
    *,
    validity: str,
    rows: str = "",
    nodata: float | None = None,
    dtype: str | None = None,
    out: NDArray[Any] | None = None,
) -> Raster:
    """Read a window of a row; see `geodata.readers.raster.read`.

    Parameters
    ----------
    href : path or URL of the array
    inside : position on its first axis
    rows : what the array says of the rows that it was written for

    Raises
    ------
    ReadError
        If a shard is missing or damaged.
    StaleCatalogError
        If the array is not the one that was described.
    """
    array = open_array(href)
    row, column, height, width = window
    block = (slice(row, row + height), slice(column, column + width))
    at = _position(inside)
    _check(array, href, dtype, rows)
    channels = _channels(indexes)
    if isinstance(channels, slice):
        shape = (1, len(indexes), height, width)
        data = np.empty(shape, array.dtype) if out is None else out[None]
        array.read_many([at], (channels, *block), data)
        held = data[0]
    else:
        every = array.read((at, slice(min(channels), max(channels) + 1), *block))
        held = every[[c - min(channels) for c in channels]]
        if out is not None:
            out[...] = held
            held = out
    if validity != "mask":
        return Raster(held, observed(held, validity, nodata, dtype))
    low, high = min(indexes) - 1, max(indexes)
    seen = open_array(f"{href}_valid").read((at, slice(low, high), *block))
    return Raster(held, np.asarray(seen[[i - 1 - low for i in indexes]].all(axis=0)))


def read_rows(
    asset: Asset,
    href: str,
    positions: Sequence[int],
    windows: Sequence[PixelWindow],
    image: NDArray[Any],
    valid: NDArray[np.bool_],
) -> bool:
    """Read a window of each of many rows.

    Parameters
    ----------
    positions : B positions on the first axis
    windows : one for all, or B of one size
    image : (B, C, h, w), filled, cast to its dtype
    valid : (B, h, w) bool, made False where a band was not observed

    Returns
    -------
    bool
        False if they are read one by one: channels out of order, or a dtype that may not hold the numbers. Nothing is filled then.
    """
    channels = _channels(asset.indexes)
    if not isinstance(channels, slice) or asset.validity == "mask" or not np.can_cast(asset.dtype, image.dtype, "safe"):
        return False
    array = open_array(href)
    _check(array, href, asset.dtype, asset.layout)
    if len(windows) == 1:
        row, column, height, width = windows[0]
        array.read_many(positions, (channels, slice(row, row + height), slice(column, column + width)), image)
    else:
        for at, (row, column, height, width), out in zip(positions, windows, image, strict=True):
            array.read((at, channels, slice(row, row + height), slice(column, column + width)), out)
    if asset.validity != "all":
        # One at a time: its numbers are still at hand.
        for seen, data in zip(valid, image, strict=True):
            lacking = gaps(data, asset.validity, asset.nodata, asset.dtype)
            if lacking is not None:
                seen &= ~lacking
    return True


def _check(array: Any, href: str, dtype: str | None, rows: str) -> None:
    """Refuse an array that is not the one that the catalog was written with."""
    if rows and getattr(array, "meta", None) is not None and array.meta.attrs.get("rows") != rows:
        raise StaleCatalogError(f"{href} is of another store than the one that was opened; open it again")
    if array.ndim != 4 or (dtype is not None and array.dtype != np.dtype(dtype)):
        raise StaleCatalogError(
            f"{href} holds {array.dtype} {array.shape}, not [sample, band, y, x] of {dtype}; open it again"
        )


def _channels(indexes: Sequence[int]) -> slice | list[int]:
    """Return consecutive channels as a slice, others as a list."""
    first, last = indexes[0] - 1, indexes[-1]
    if tuple(indexes) == tuple(range(first + 1, last + 1)):
        return slice(first, last)
    return [i - 1 for i in indexes]


def _position(inside: str) -> int:
    """Return the position that a row names.

    Raises
    ------
    ReadError
        If it is no whole number.
    """
    if not inside.isdecimal():
        raise ReadError(f"a row of a store names position {inside!r}; wanted a whole number")
    return int(inside)
