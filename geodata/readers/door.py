"""The door to all readers: one call reads a window of an item's file, whatever its format."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from geodata.readers import raster
from geodata.readers.base import Asset, PixelWindow, Raster

__all__ = ["Place", "read"]


class Place(NamedTuple):
    """Where one file of one row is.

    Parameters
    ----------
    href : path or URL
    inside, layout : as in `Asset`, with the values of the row
    """

    href: str
    inside: str = ""
    layout: str = ""


def read(asset: Asset, place: Place, window: PixelWindow, out: NDArray[Any] | None = None) -> Raster:
    """Read a window of an asset's bands; see `geodata.readers.raster.read`.

    Raises
    ------
    ReadError
        If the file cannot be opened or decoded.
    StaleCatalogError
        If it is not the one that was described.
    """
    how: dict[str, Any] = {"validity": asset.validity, "nodata": asset.nodata, "dtype": asset.dtype, "out": out}
    if asset.format == "raster":
        return raster.read(place.href, window, asset.indexes, **how)
    if asset.format == "store":
        from geodata.readers import stored

        return stored.read(place.href, place.inside, window, asset.indexes, rows=place.layout, **how)
    # The packages behind the other formats are optional, and not worth their import where no such file is read.
    from geodata.readers import arrays

    found: Raster = arrays.read(
        place.href, place.inside, place.layout, window, asset.indexes, format=asset.format, **how
    )
    return found
