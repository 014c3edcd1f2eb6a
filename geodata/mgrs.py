"""Where the 100 km squares of the Military Grid Reference System lie; Sentinel-2 tiles are named by them."""

from __future__ import annotations

import re

import numpy as np
import pyproj
from numpy.typing import NDArray

from geodata.errors import CatalogError

__all__ = ["SQUARE", "corner_of_tile", "squares_of"]

_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
SQUARE = 100_000


def corner_of_tile(tile: str) -> tuple[int, int, int]:
    """Return the EPSG code of the UTM zone, and x and y in m of the lower left corner of a 100 km square.

    Parameters
    ----------
    tile : str
        Zone, latitude band, column and row: ``"33UUP"``.

    Raises
    ------
    CatalogError
        If no square is called so.

    References
    ----------
    .. [1] NGA.STND.0037, Universal Grids and Grid Reference Systems, 2.0.0, section 3: column letters repeat every three
       zones, row letters every 2,000 km and start with F in even zones.
    """
    parts = re.fullmatch(rf"(\d\d?)([{_BANDS}])([A-HJ-NP-Z])([{_ROWS}])", tile)
    zone = int(parts[1]) if parts else 0
    columns = _COLUMNS[(zone - 1) % 3]
    if parts is None or not 1 <= zone <= 60 or parts[3] not in columns:
        raise CatalogError(
            f"no 100 km square is called {tile!r}; wanted zone, latitude band, column and row, as in 33UUP"
        )
    band = _BANDS.index(parts[2])
    epsg = (32600 if band >= 10 else 32700) + zone
    x = (columns.index(parts[3]) + 1) * SQUARE
    row = (_ROWS.index(parts[4]) - (5 if zone % 2 == 0 else 0)) % 20 * SQUARE
    # Row letters repeat every 2,000 km, and a band is less high than that. Its edges bend away from the equator.
    to_utm = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    aside = 6 if parts[2] == "X" or (parts[2] == "V" and zone == 32) else 3
    middle, south, north = 6 * zone - 183, 8 * (band - 10), 8 * (band - 10) + (12 if band == 19 else 8)
    ends = [to_utm.transform(middle + east, latitude)[1] for east in (0, aside) for latitude in (south, north)]
    lowest, highest = min(ends), max(ends)
    y = row + -(-(lowest - SQUARE - row) // (20 * SQUARE)) * 20 * SQUARE
    if y > highest:
        raise CatalogError(
            f"no 100 km square is called {tile!r}: row {parts[4]} does not meet latitude band {parts[2]}"
        )
    return epsg, x, int(y)


def squares_of(lonlat: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return (N,) the 100 km square that each point lies in, such as ``"33UUP"``.

    Parameters
    ----------
    lonlat : (N, 2) degrees

    Raises
    ------
    CatalogError
        If a point lies beyond 80 degrees south or 84 north, where the system has other squares.
    """
    lon, lat = (lonlat[:, 0] + 180) % 360 - 180, lonlat[:, 1]
    if len(lat) and not (lat.min() >= -80 and lat.max() < 84):
        raise CatalogError(f"latitudes from {lat.min():.4g} to {lat.max():.4g}; squares reach from -80 to 84 degrees")
    zone, band = _zones(lon, lat), np.minimum((lat + 80) // 8, 19).astype(np.int64)
    out = np.empty(len(lon), dtype=object)
    for number in np.unique(zone).tolist():
        for south in (True, False):
            rows = np.flatnonzero((zone == number) & ((lat < 0) == south))
            if not len(rows):
                continue
            to_utm = pyproj.Transformer.from_crs(4326, (32700 if south else 32600) + number, always_xy=True)
            x, y = to_utm.transform(lon[rows], lat[rows])
            column = np.clip(x // SQUARE - 1, 0, 7).astype(np.int64)
            row = (y // SQUARE + (5 if number % 2 == 0 else 0)).astype(np.int64) % 20
            letters = _COLUMNS[(number - 1) % 3]
            out[rows] = [
                f"{number:02d}{_BANDS[b]}{letters[c]}{_ROWS[r]}"
                for b, c, r in zip(band[rows].tolist(), column.tolist(), row.tolist(), strict=True)
            ]
    return out


def _zones(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.int64]:
    """UTM zones, with the wider ones of Norway and Svalbard."""
    zone = np.minimum((lon + 180) // 6 + 1, 60).astype(np.int64)
    zone[(lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12)] = 32
    svalbard = (lat >= 72) & (lon >= 0) & (lon < 42)
    zone[svalbard] = 31 + 2 * np.searchsorted([9, 21, 33], lon[svalbard], side="right")
    return zone
