"""One window of all dates of an array, read at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.readers.base import Asset, PixelWindow, observed
from geodata.readers.door import Place

__all__ = ["read_dates"]

_DATE = re.compile(r"(?<!\S)t=(\d+)(?!\S)")
_AXES = {"t", "c", "h", "w", "1"}
SPARSE = 4
"""Dates that lie further apart than one in so many are read one by one."""


def read_dates(
    asset: Asset, places: Sequence[Place], window: PixelWindow, image: NDArray[Any], valid: NDArray[np.bool_]
) -> bool:
    """Read a window of many rows that are dates of one array.

    Parameters
    ----------
    places : T places, which differ in the date of their layout only
    image : (T, C, h, w), filled, cast to its dtype
    valid : (T, h, w) bool, made False where a band was not observed

    Returns
    -------
    bool
        False if they are not dates of one array, or lie far apart; nothing is filled then.

    Raises
    ------
    ReadError, StaleCatalogError
        As in `geodata.readers.door.read`.
    """
    layouts = [_DATE.sub("t", place.layout) for place in places]
    dates = [int(found[1]) for place in places if (found := _DATE.search(place.layout)) is not None]
    axes = layouts[0].split()
    one = len({(p.href, p.inside, layout) for p, layout in zip(places, layouts, strict=True)}) == 1
    if asset.format == "raster" or not one or len(dates) < len(places) or not set(axes) <= _AXES:
        return False
    first, last = min(dates), max(dates) + 1
    if last - first > SPARSE * len(dates):
        return False
    from geodata.readers import arrays

    row, col, height, width = window
    channels = [i - 1 for i in asset.indexes]
    part: dict[str, int | slice] = {
        "t": slice(first, last),
        "c": slice(min(channels), max(channels) + 1),
        "h": slice(row, row + height),
        "w": slice(col, col + width),
        "1": 0,
    }
    block = arrays.read_block(places[0].href, places[0].inside, [part[a] for a in axes], format=asset.format)
    left = [a for a in axes if a != "1"]
    if "c" not in left:
        block, left = block[..., None], [*left, "c"]
    block = block.transpose([left.index(a) for a in "tchw"])
    if dates != list(range(first, last)):
        block = block[[date - first for date in dates]]
    if channels != list(range(channels[0], channels[0] + len(channels))):
        block = block[:, [c - min(channels) for c in channels]]
    with np.errstate(invalid="ignore"):
        np.copyto(image, block, casting="unsafe")
    for seen, data in zip(valid, block, strict=True):
        seen &= observed(data, asset.validity, asset.nodata, asset.dtype)
    return True
