"""Which block of the earth each row lies in, by the middle of its footprint."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.footprint import project
from geodata.catalog.overlaps import items_of
from geodata.crs import CRS84, as_crs, same_crs
from geodata.errors import MissingDependencyError, SplitError
from geodata.mgrs import squares_of
from geodata.splits.distance import metres
from geodata.splits.together import column_of

__all__ = ["cells_of", "lonlat", "need_places", "plane_squares", "squares"]

RADIUS = 6_371_007.181
"""Metres: the sphere with the surface of the WGS84 ellipsoid."""

Labels = NDArray[Any]


def need_places(catalog: Catalog, what: str) -> None:
    """Refuse rows that lie nowhere on earth."""
    if not catalog.has_crs:
        raise SplitError(
            f"{what} needs rows with a place on earth, and these have no CRS; use random, hash, time, kfold or "
            "leave_one_region_out of a column, or predefined"
        )


def lonlat(catalog: Catalog) -> NDArray[np.float64]:
    """Return (N, 2) longitude, -180 to 180, and latitude of the middles, degrees.

    Raises
    ------
    SplitError
        If the middle of a row lies nowhere on earth.
    """
    fp = catalog.footprints
    out = np.empty((len(fp), 2))
    height, width = fp.shape.T / 2
    a, b, c, d, e, f = fp.affine.T
    xy = np.column_stack([a * width + b * height + c, d * width + e * height + f])
    for code in np.unique(fp.code):
        crs = fp.crs[code]
        rows = np.flatnonzero(fp.code == code)
        out[rows] = xy[rows] if crs is None or same_crs(crs, CRS84) else project(xy[rows], crs, CRS84)
    lost = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(lost):
        raise SplitError(f"the middle of {catalog.key[lost[0]]!r} lies nowhere on earth; leave such rows out")
    beyond = np.abs(out[:, 0]) > 180
    out[beyond, 0] = (out[beyond, 0] + 180) % 360 - 180
    return out


def squares(catalog: Catalog, size: Any) -> Labels:
    """Return (N,) numbers of squares of a fixed grid.

    On earth: rows of latitude as high as ``size``, from the equator; each cut into as many equal parts, from 180 degrees
    west, as make them about square. So all have nearly the same area, also near the poles, and none moves when data are
    added. Pixels (``"64px"``) for rows without a CRS: squares of each item.
    """
    pixels = re.fullmatch(r"\s*(\d+)\s*px\s*", size) if isinstance(size, str) else None
    if not catalog.has_crs:
        if pixels is None and "tile_of" in catalog.table.column_names:
            raise SplitError(
                f"size {size!r} must be in pixels, such as '64px': these rows are tiles of items without a CRS"
            )
        if pixels is None:
            need_places(catalog, f"a block of {size!r}")
        return _pixel_squares(catalog, int(pixels[1]) if pixels else 0)
    if pixels is not None:
        raise SplitError(f"size {size!r} is in pixels, and these rows lie on earth; give metres, such as '20km'")
    side = _side(size)
    lon, lat = lonlat(catalog).T
    row = np.floor(np.radians(lat) * RADIUS / side).astype(np.int64)
    middle = np.clip((row + 0.5) * side / RADIUS, -np.pi / 2, np.pi / 2)
    count = np.maximum(np.rint(2 * np.pi * RADIUS * np.cos(middle) / side), 1).astype(np.int64)
    column = np.minimum(np.floor(((lon + 180) % 360) / 360 * count).astype(np.int64), count - 1)
    numbers: Labels = row * (1 << 32) + column
    return numbers


def _side(size: Any) -> float:
    side = metres(size)
    if not 1 <= side <= 5e6:
        raise SplitError(f"size {size!r} is {side:g} m; blocks may be of 1 m to 5,000 km")
    return side


def _pixel_squares(catalog: Catalog, size: int) -> Labels:
    if size < 1:
        raise SplitError(f"size {size} px must be at least 1")
    row, column = ((catalog.origin + catalog.shape // 2) // size).T
    across = int(column.max(initial=0)) + 1
    down = int(row.max(initial=0)) + 1
    numbers: Labels = (items_of(catalog) * down + row) * across + column
    return numbers


def plane_squares(catalog: Catalog, size: Any, crs: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (N,) rows and columns of squares of a plane, counted from its origin.

    Raises
    ------
    SplitError
        If the CRS is not a projected one in metres.
    """
    system = as_crs(crs)
    if system is None or system.is_geographic or system.axis_info[0].unit_conversion_factor != 1:
        raise SplitError(f"crs {crs!r} must be a projected one in metres, such as 'EPSG:6933' or 'EPSG:3035'")
    x, y = project(lonlat(catalog), CRS84, system).T
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SplitError(f"rows lie outside the domain of {crs}; give another crs")
    side = _side(size)
    return np.floor(y / side).astype(np.int64), np.floor(x / side).astype(np.int64)


def cells_of(catalog: Catalog, cell: str | Callable[[NDArray[np.float64]], Any]) -> Labels:
    """Return (N,) names of the cells that the middles lie in; see `geodata.splits.cells`."""
    places = lonlat(catalog)
    if callable(cell):
        found = np.asarray(cell(places))
        if found.shape != (len(catalog),):
            raise SplitError(
                f"the cell function gave an array of shape {found.shape}, wanted one name for each of {len(catalog)}"
            )
        return column_of(catalog, found, "the cell")
    h3 = re.fullmatch(r"h3:(\d+)", cell) if isinstance(cell, str) else None
    if h3 and int(h3[1]) <= 15:
        return _h3(places, int(h3[1]))
    if cell == "mgrs":
        return squares_of(places)
    raise SplitError(
        f"cell={cell!r} must be 'h3:0' to 'h3:15', 'mgrs' (100 km squares), or a function of (N, 2) lon, lat"
    )


def _h3(places: NDArray[np.float64], resolution: int) -> Labels:
    try:
        from h3.api import numpy_int as h3
    except ImportError:
        raise MissingDependencyError("H3 cells need h3; install it with: pip install 'geodata[splits]'") from None
    return np.array([h3.latlng_to_cell(lat, lon, resolution) for lon, lat in places.tolist()], dtype=np.int64)
