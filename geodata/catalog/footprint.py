"""Footprints of many items at once: outlines in any CRS, and boxes in longitude and latitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.crs import CRS, CRS84, transformer
from geodata.errors import CRSError
from geodata.grid import Grid

__all__ = [
    "DEGREE",
    "Footprints",
    "boxes84",
    "distance_km",
    "extents",
    "lonlat_parts",
    "lonlat_polygons",
    "middles",
    "pixel_metres",
    "project",
    "rings",
    "unwrapped",
]

DEGREE = 111_320.0
"""Metres of a degree along a meridian, about."""

SIMPLE = 1.0
"""Degrees: an outline smaller than this is boxed by its corners and a proven margin."""

_MARGIN, _LEAST = 0.005, 1e-9
"""An edge of L degrees leaves its chord by at most about L^2 * tan(latitude) / 8 radians; twice that is kept."""


@dataclass(frozen=True, slots=True)
class Footprints:
    """Rectangles of pixels, one per row.

    Parameters
    ----------
    affine : (N, 6) float64, a b c d e f
    shape : (N, 2) int64, height and width
    code : (N,) int, position in ``crs``
    crs : CRSs in use
    """

    affine: NDArray[np.float64]
    shape: NDArray[np.int64]
    code: NDArray[np.int32]
    crs: tuple[CRS | None, ...]

    @classmethod
    def of(cls, grid: Grid) -> Footprints:
        """Return the footprint of one grid."""
        t = grid.transform
        affine = np.array([(t.a, t.b, t.c, t.d, t.e, t.f)], dtype=np.float64)
        return cls(affine, np.array([grid.shape], dtype=np.int64), np.zeros(1, dtype=np.int32), (grid.crs,))

    def __len__(self) -> int:
        return len(self.affine)

    def take(self, rows: NDArray[np.int64]) -> Footprints:
        """Return some rows, in the order given."""
        return Footprints(self.affine[rows], self.shape[rows], self.code[rows], self.crs)


def rings(fp: Footprints, per_side: int = 1) -> NDArray[np.float64]:
    """Return (N, 4 * per_side, 2) points in order along each outline, x, y in each row's CRS."""
    unit = _unit(per_side)
    h, w = fp.shape[:, 0, None], fp.shape[:, 1, None]
    col, row = unit[:, 0] * w, unit[:, 1] * h
    a, b, c, d, e, f = (fp.affine[:, i, None] for i in range(6))
    return np.stack([a * col + b * row + c, d * col + e * row + f], axis=-1)


@lru_cache(maxsize=16)
def _unit(per_side: int) -> NDArray[np.float64]:
    t = np.arange(per_side) / per_side
    zero, one = np.zeros_like(t), np.ones_like(t)
    unit = np.concatenate([np.stack(s, axis=-1) for s in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))])
    unit.flags.writeable = False
    return unit


def extents(fp: Footprints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (N, 2) the smallest and the largest x, y of each footprint, in its own CRS."""
    # a and d, b and e, c and f: strides are views, lists of columns would be copies.
    across, down, corner = (
        fp.affine[:, 0::3] * fp.shape[:, 1:],
        fp.affine[:, 1::3] * fp.shape[:, :1],
        fp.affine[:, 2::3],
    )
    low = np.minimum(across, 0) + np.minimum(down, 0) + corner
    return low, np.maximum(across, 0) + np.maximum(down, 0) + corner


def pixel_metres(fp: Footprints) -> NDArray[np.float64]:
    """Return (N,) about the height of each row's pixels, metres: a degree is that of a meridian, 111.32 km."""
    unit = np.array([DEGREE if crs is not None and crs.is_geographic else 1.0 for crs in fp.crs])
    return np.asarray(np.hypot(fp.affine[:, 1], fp.affine[:, 4]) * unit[fp.code])


def project(xy: NDArray[np.float64], source: CRS, target: CRS) -> NDArray[np.float64]:
    """Transform (..., 2) points; what cannot be transformed comes back as infinity."""
    x, y = transformer(source, target).transform(xy[..., 0], xy[..., 1])
    out = np.stack([x, y], axis=-1)
    out[~np.isfinite(out).all(axis=-1)] = math.inf
    return out


def unwrapped(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take out the jumps of 360 degrees along each ring (..., P, 2)."""
    out = lonlat.copy()
    out[..., 0] = np.unwrap(lonlat[..., 0], period=360.0, axis=-1)
    return out


def boxes84(fp: Footprints) -> NDArray[np.float64]:
    """Return (N, 4) west, south, east, north in OGC:CRS84 that contain each footprint.

    West lies in [-180, 180). A footprint over the antimeridian has west > east. One that holds a pole is
    (-180, ..., 180, +-90). Boxes carry a small margin: they are candidates, not the exact outline. NaN where an item
    lies nowhere on earth: in the empty corner of a world map, or without a CRS.

    Raises
    ------
    CRSError
        If no item has a place on earth.
    """
    if len(fp) == 1 and (box := _small_box(fp)) is not None:
        return np.array([box])
    out = np.full((len(fp), 4), math.nan)
    for code in np.unique(fp.code):
        crs = fp.crs[code]
        if crs is None:
            continue
        rows = np.flatnonzero(fp.code == code)
        part = fp if len(rows) == len(fp) else fp.take(rows)
        boxes, simple = _simple_boxes(part, crs)
        out[rows[simple]] = boxes
        hard = np.flatnonzero(~simple)
        if len(hard):
            out[rows[hard]] = _hard_boxes(part.take(hard), crs)
    placed = np.array([crs is not None for crs in fp.crs], dtype=bool)[fp.code]
    if placed.any() and np.isnan(out[placed, 0]).all():
        row = int(np.argmax(placed))
        crs = fp.crs[fp.code[row]]
        raise CRSError(
            f"an item with transform {fp.affine[row].tolist()} in {crs.name if crs else None!r} has no place on earth"
        )
    return out


def _small_box(fp: Footprints) -> tuple[float, ...] | None:
    """Box one footprint as `_boxes_of_rings` does, without numpy, for queries; None if it is not a simple one."""
    crs = fp.crs[fp.code[0]]
    if crs is None:
        return None
    (a, b, c, d, e, f), (h, w) = fp.affine[0].tolist(), fp.shape[0].tolist()
    outline = ((0, 0), (w / 2, 0), (w, 0), (w, h / 2), (w, h), (w / 2, h), (0, h), (0, h / 2))
    x, y = [a * q + b * r + c for q, r in outline], [d * q + e * r + f for q, r in outline]
    lon, lat = transformer(crs, CRS84).transform(x, y)
    if not all(map(math.isfinite, (*lon, *lat))):
        return None
    west, south, east, north = min(lon), min(lat), max(lon), max(lat)
    edge, latitude = max(east - west, north - south), max(-south, north)
    if edge >= SIMPLE or latitude >= 85:
        return None
    if crs.is_geographic and max(max(x) - min(x), max(y) - min(y)) >= SIMPLE:
        return None
    margin = _MARGIN * (edge / 2) ** 2 * (1 + math.tan(math.radians(latitude))) + _LEAST
    start = (west - margin + 180) % 360 - 180
    end = start + (east - west) + 2 * margin
    return start, max(south - margin, -90.0), end - 360 if end > 180 else end, min(north + margin, 90.0)


def _simple_boxes(fp: Footprints, crs: CRS) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the boxes of simple footprints of one CRS, and (N,) which those are."""
    # With the middles of the sides: the corners of a strip around the globe coincide. Point by point, each of all rows:
    # numpy takes the smallest of 8 numbers for a million rows much faster than for rows of 8.
    unit = _unit(2).T[:, :, None]
    (a, b, c, d, e, f), (h, w) = fp.affine.T, fp.shape.T
    col, row = unit[0] * w, unit[1] * h
    x, y = a * col + b * row + c, d * col + e * row + f
    lon, lat = transformer(crs, CRS84).transform(x, y)
    with np.errstate(invalid="ignore"):
        box = np.stack([lon.min(axis=0), lat.min(axis=0), lon.max(axis=0), lat.max(axis=0)])
        across, down = (
            (np.ptp(x, axis=0), np.ptp(y, axis=0)) if crs.is_geographic else (box[2] - box[0], box[3] - box[1])
        )
        simple = np.isfinite(box).all(axis=0) & (across < SIMPLE) & (down < SIMPLE) & (np.maximum(-box[1], box[3]) < 85)
    return _boxed(box[:, simple], sides=2), simple


def _boxes_of_rings(lonlat: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
    """Box each ring, with room for the curvature of its edges between the points."""
    ring = unwrapped(lonlat)
    return _boxed(np.vstack([ring.min(axis=1).T, ring.max(axis=1).T]) if len(ring) else np.empty((4, 0)), sides)


def _boxed(box: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
    """Return (N, 4) boxes of (4, N) extents of points on outlines, with a margin."""
    west, south, east, north = box
    edge = np.maximum(east - west, north - south) / sides
    latitude = np.minimum(np.maximum(-south, north), 89.0)
    margin = _MARGIN * edge**2 * (1 + np.tan(np.radians(latitude))) + _LEAST
    west, east = _wrap(west - margin, east + margin)
    return np.stack([west, np.maximum(south - margin, -90), east, np.minimum(north + margin, 90)], axis=-1)


def _wrap(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    width = high - low
    west = (low + 180) % 360 - 180
    east = west + width
    full = width >= 360 - 1e-6
    return np.where(full, -180.0, west), np.where(full, 180.0, np.where(east > 180, east - 360, east))


def _hard_boxes(fp: Footprints, crs: CRS) -> NDArray[np.float64]:
    sides = 21
    lonlat = project(rings(fp, sides), crs, CRS84)
    finite = np.isfinite(lonlat[..., 0])
    nowhere = ~finite.any(axis=1) & ~np.isfinite(middles(fp, crs))
    out = np.empty((len(fp), 4))
    whole = finite.all(axis=1)
    out[whole] = _boxes_of_rings(lonlat[whole], sides)
    # An outline that leaves the domain of its projection bounds nothing on earth: the exact test decides later.
    out[~whole] = (-180.0, -90.0, 180.0, 90.0)
    # The empty corners of a world map: such tiles are never found by place.
    out[nowhere] = math.nan
    if not crs.is_geographic:
        for latitude in (-90.0, 90.0):
            holds = _holds(fp, crs, latitude)
            out[holds, 0], out[holds, 2] = -180.0, 180.0
            out[holds, 1 if latitude < 0 else 3] = latitude
    return out


def middles(fp: Footprints, crs: CRS) -> NDArray[np.float64]:
    """Return (N,) longitude of the middle pixel: the full disk of a geostationary satellite has no edge on earth."""
    row, col = np.maximum(fp.shape // 2, 1).T
    a, b, c, d, e, f = fp.affine.T
    xy = np.stack([a * col + b * row + c, d * col + e * row + f], axis=-1)
    longitudes: NDArray[np.float64] = project(xy, crs, CRS84)[:, 0]
    return longitudes


def _holds(fp: Footprints, crs: CRS, latitude: float) -> NDArray[np.bool_]:
    """Which footprints contain a pole."""
    x, y = project(np.array([0.0, latitude]), CRS84, crs)
    if not (math.isfinite(x) and math.isfinite(y)):
        return np.zeros(len(fp), dtype=bool)
    a, b, c, d, e, f = fp.affine.T
    det = a * e - b * d
    col, row = (e * (x - c) - b * (y - f)) / det, (a * (y - f) - d * (x - c)) / det
    inside: NDArray[np.bool_] = (col >= 0) & (col <= fp.shape[:, 1]) & (row >= 0) & (row <= fp.shape[:, 0])
    return inside


def lonlat_polygons(ring: NDArray[np.float64]) -> NDArray[np.object_]:
    """Make polygons of (N, P, 2) rings in longitude and latitude, which may leave [-180, 180].

    A ring around a pole is closed over that pole. A point on a pole has no longitude of its own: it takes those of its
    two neighbours.
    """
    turned = unwrapped(ring)
    polygons: NDArray[np.object_] = shapely.polygons(turned)
    closing = ring[:, 0, 0] + 360 * np.round((turned[:, -1, 0] - ring[:, 0, 0]) / 360)
    odd = (np.abs(closing - ring[:, 0, 0]) > 1) | (np.abs(ring[..., 1]) > 90 - 1e-9).any(axis=1)
    for i in np.flatnonzero(odd):
        polygons[i] = _around_pole(ring[i])
    return polygons


def _around_pole(ring: NDArray[np.float64]) -> shapely.Polygon:
    points: list[tuple[float, float]] = []
    n = len(ring)
    for k in range(n):
        lon, lat = ring[k].tolist()
        if abs(lat) > 90 - 1e-9:
            before, after = ring[k - 1, 0], ring[(k + 1) % n, 0]
            points += [(float(before), lat), (float(after), lat)]
        else:
            points.append((lon, lat))
    turned = unwrapped(np.array([[*points, points[0]]]))[0]
    if abs(turned[-1, 0] - turned[0, 0]) > 1:
        pole = 90.0 if turned[:, 1].mean() > 0 else -90.0
        turned = np.concatenate([turned, [[turned[-1, 0], pole], [turned[0, 0], pole]]])
    return shapely.make_valid(shapely.Polygon(turned))


def lonlat_parts(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Split boxes with west > east in two and leave out NaN; return (M, 4) plain boxes and the row of each."""
    known = np.flatnonzero(~np.isnan(boxes[:, 0]))
    crossing = np.flatnonzero(boxes[known, 0] > boxes[known, 2])
    rows = np.concatenate([known, known[crossing]]).astype(np.int64)
    parts = boxes[rows].copy()
    parts[crossing, 2] = 180.0
    parts[len(known) :, 0] = -180.0
    return parts, rows


def distance_km(boxes: NDArray[np.float64], box: Sequence[float]) -> NDArray[np.float64]:
    """Great-circle distance between lon/lat boxes (N, 4) and one box, km on a sphere; 0 where they meet."""
    gap_lat = np.maximum(0, np.maximum(boxes[:, 1] - box[3], box[1] - boxes[:, 3]))
    centre, half = _middle(boxes)
    other, other_half = _middle(np.asarray(box, dtype=float)[None])
    turn = np.abs((centre - other + 180) % 360 - 180)
    gap_lon = np.maximum(0, turn - half - other_half)
    south, north = np.maximum(boxes[:, 1], box[1]), np.minimum(boxes[:, 3], box[3])
    lat1 = np.where(gap_lat > 0, np.where(boxes[:, 1] > box[3], boxes[:, 1], boxes[:, 3]), (south + north) / 2)
    lat2 = np.where(gap_lat > 0, np.where(boxes[:, 1] > box[3], box[3], box[1]), lat1)
    p, q = np.radians(lat1), np.radians(lat2)
    h = np.sin((q - p) / 2) ** 2 + np.cos(p) * np.cos(q) * np.sin(np.radians(gap_lon) / 2) ** 2
    km: NDArray[np.float64] = 2 * 6371.0 * np.arcsin(np.sqrt(np.clip(h, 0, 1)))
    return km


def _middle(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    width = np.where(boxes[:, 0] > boxes[:, 2], boxes[:, 2] + 360 - boxes[:, 0], boxes[:, 2] - boxes[:, 0])
    return boxes[:, 0] + width / 2, width / 2
