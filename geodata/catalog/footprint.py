"""Footprints of many items at once: outlines in any CRS, and boxes in longitude and latitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.crs import CRS, CRS84, transformer
from geodata.errors import CRSError
from geodata.grid import Grid

__all__ = ["Footprints", "boxes84", "distance_km", "lonlat_parts", "lonlat_polygons", "project", "rings", "unwrapped"]

SIMPLE = 1.0
"""Degrees: an outline smaller than this is boxed by its corners and a proven margin."""


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
        affine = np.array([tuple(grid.transform)[:6]], dtype=np.float64)
        return cls(affine, np.array([grid.shape], dtype=np.int64), np.zeros(1, dtype=np.int32), (grid.crs,))

    def __len__(self) -> int:
        return len(self.affine)

    def take(self, rows: NDArray[np.int64]) -> Footprints:
        """Return some rows, in the order given."""
        return Footprints(self.affine[rows], self.shape[rows], self.code[rows], self.crs)


def rings(fp: Footprints, per_side: int = 1) -> NDArray[np.float64]:
    """Return (N, 4 * per_side, 2) points in order along each outline, x, y in each row's CRS."""
    t = np.arange(per_side) / per_side
    zero, one = np.zeros_like(t), np.ones_like(t)
    unit = np.concatenate([np.stack(s, axis=-1) for s in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))])
    h, w = fp.shape[:, 0, None], fp.shape[:, 1, None]
    col, row = unit[:, 0] * w, unit[:, 1] * h
    a, b, c, d, e, f = (fp.affine[:, i, None] for i in range(6))
    return np.stack([a * col + b * row + c, d * col + e * row + f], axis=-1)


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
    out = np.full((len(fp), 4), math.nan)
    for code in np.unique(fp.code):
        crs = fp.crs[code]
        if crs is None:
            continue
        rows = np.flatnonzero(fp.code == code)
        part = fp.take(rows)
        # With the middles of the sides: the corners of a strip around the globe coincide.
        outline = rings(part, 2)
        corners = project(outline, crs, CRS84)
        with np.errstate(invalid="ignore"):
            span = np.ptp(outline if crs.is_geographic else unwrapped(corners), axis=1)
        with np.errstate(invalid="ignore"):
            simple = np.isfinite(corners).all(axis=(1, 2)) & (span < SIMPLE).all(axis=1)
            simple &= np.abs(corners[..., 1]).max(axis=1) < 85
        out[rows[simple]] = _boxes_of_rings(corners[simple], sides=2)
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


def _boxes_of_rings(lonlat: NDArray[np.float64], sides: int) -> NDArray[np.float64]:
    """Box each ring, with room for the curvature of its edges between the points."""
    if not len(lonlat):
        return np.empty((0, 4))
    ring = unwrapped(lonlat)
    low, high = ring.min(axis=1), ring.max(axis=1)
    # An edge of L degrees leaves its chord by at most about L^2 * tan(latitude) / 8 radians; twice that is kept.
    latitude = np.minimum(np.abs(ring[..., 1]).max(axis=1), 89.0)
    edge = (high - low).max(axis=1) / sides
    margin = 0.005 * edge**2 * (1 + np.tan(np.radians(latitude))) + 1e-9
    low, high = low - margin[:, None], high + margin[:, None]
    west, east = _wrap(low[:, 0], high[:, 0])
    return np.stack([west, np.maximum(low[:, 1], -90), east, np.minimum(high[:, 1], 90)], axis=-1)


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
    nowhere = ~finite.any(axis=1) & ~np.isfinite(_middles(fp, crs))
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


def _middles(fp: Footprints, crs: CRS) -> NDArray[np.float64]:
    """Return (N,) longitude of the middle pixel: the full disk of a geostationary satellite has no edge on earth."""
    half = Footprints(fp.affine, np.maximum(fp.shape // 2, 1), fp.code, fp.crs)
    longitudes: NDArray[np.float64] = project(rings(half)[:, 2], crs, CRS84)[:, 0]
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
