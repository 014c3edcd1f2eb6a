"""Where the 100 km squares of the Military Grid Reference System lie; Sentinel-2 tiles are named by them."""

from __future__ import annotations

import re

import pyproj

from geodata.errors import CatalogError

__all__ = ["corner_of_tile"]

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
    # Row letters repeat every 2,000 km, and a band is less high than that.
    to_utm = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    lowest, highest = (
        to_utm.transform(6 * zone - 183, 8 * (band - 10) + height)[1] for height in (0, 12 if band == 19 else 8)
    )
    y = row + -(-(lowest - SQUARE - row) // (20 * SQUARE)) * 20 * SQUARE
    if y > highest:
        raise CatalogError(
            f"no 100 km square is called {tile!r}: row {parts[4]} does not meet latitude band {parts[2]}"
        )
    return epsg, x, int(y)
