"""Which footprints meet, the slow and plain way: pyproj and shapely, nothing of geodata.

Outlines get 200 points per side and are compared in an azimuthal equal-area projection about the middle of one of them,
which has no seam and no pole problem near that middle. Footprints as large as a continent are compared point by point.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Transformer

__all__ = ["Item", "clear_meeting", "held_points", "lonlat", "outline", "shares_points", "times_meet"]

Item = tuple[Affine, tuple[int, int], str]
"""transform, (height, width), CRS."""

SIDES = 200


@cache
def _way(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _along(item: Item, col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t = item[0]
    return t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f


def outline(item: Item, sides: int = SIDES) -> np.ndarray:
    """(4 * sides, 2) x, y along the outline in the item's own CRS."""
    h, w = item[1]
    t = np.linspace(0, 1, sides, endpoint=False)
    o, i = np.zeros(sides), np.ones(sides)
    x, y = _along(item, np.concatenate([t, i, 1 - t, o]) * w, np.concatenate([o, t, i, 1 - t]) * h)
    return np.column_stack([x, y])


def lonlat(item: Item, xy: np.ndarray) -> np.ndarray:
    return np.column_stack(_way(item[2], "OGC:CRS84").transform(xy[:, 0], xy[:, 1]))


def _middle(item: Item) -> tuple[float, float]:
    h, w = item[1]
    x, y = _along(item, np.array([w / 2]), np.array([h / 2]))
    lon, lat = lonlat(item, np.column_stack([x, y]))[0]
    return float(lon), float(lat)


def _local(item: Item, lon: float, lat: float) -> shapely.Geometry:
    laea = CRS.from_proj4(f"+proj=laea +lat_0={lat:.9f} +lon_0={lon:.9f} +datum=WGS84 +units=m").to_wkt()
    xy = np.column_stack(_way("OGC:CRS84", laea).transform(*lonlat(item, outline(item)).T))
    return shapely.make_valid(shapely.Polygon(xy))


def clear_meeting(a: Item, b: Item) -> bool | None:
    """Whether a and b share area; None where they share less than a 10,000th of the smaller or almost touch."""
    lon, lat = _middle(a)
    one, two = _local(a, lon, lat), _local(b, lon, lat)
    least = min(one.area, two.area)
    if one.intersection(two).area > 1e-4 * least:
        return True
    return False if one.distance(two) > 1e-4 * least**0.5 else None


def held_points(item: Item, lon: Any, lat: Any) -> np.ndarray:
    """Which places lie in a footprint: by its inverse transform, longitudes of any turn."""
    t, (h, w), crs = item
    x, y = _way("OGC:CRS84", crs).transform(np.asarray(lon, dtype=float), np.asarray(lat, dtype=float))
    turns = (-360.0, 0.0, 360.0) if CRS.from_user_input(crs).is_geographic else (0.0,)
    inverse = ~t
    held = np.zeros(np.shape(x), dtype=bool)
    for turn in turns:
        with np.errstate(invalid="ignore"):
            col = inverse.a * (x + turn) + inverse.b * y + inverse.c
            row = inverse.d * (x + turn) + inverse.e * y + inverse.f
            held |= (col > 0) & (col < w) & (row > 0) & (row < h)
    return held


def shares_points(a: Item, b: Item, n: int = 120) -> bool:
    """Whether one of n x n places inside a lies in b, or the other way round."""
    for one, two in ((a, b), (b, a)):
        h, w = one[1]
        t = (np.arange(n) + 0.5) / n
        col, row = (v.ravel() for v in np.meshgrid(t * w, t * h))
        lon, lat = lonlat(one, np.column_stack(_along(one, col, row))).T
        fine = np.isfinite(lon) & np.isfinite(lat)
        if held_points(two, lon[fine], lat[fine]).any():
            return True
    return False


def times_meet(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether half-open [start, end) share a moment; start == end stands for that moment."""
    if a[0] == a[1] and b[0] == b[1]:
        return a[0] == b[0]
    if a[0] == a[1]:
        return b[0] <= a[0] < b[1]
    if b[0] == b[1]:
        return a[0] <= b[0] < a[1]
    return a[0] < b[1] and b[0] < a[1]
