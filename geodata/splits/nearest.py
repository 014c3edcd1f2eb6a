"""Outlines of footprints as points in space, and the nearest outline of each.

Longitudes turn over, plane coordinates stretch and zones end; straight lines between earth-centred points know none of
that. Searching is done in them, and only what is found is measured along the ground.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Geod

from geodata.catalog import Catalog
from geodata.catalog.footprint import Footprints, extents, project, rings
from geodata.catalog.overlap import meet, upright
from geodata.catalog.overlaps import equal_rows, items_of
from geodata.crs import CRS84, as_crs, transformer
from geodata.errors import MissingDependencyError
from geodata.grid import PIXEL_TOLERANCE

__all__ = ["Outlines", "along_ground", "measured", "nearest_outline", "to_lonlat", "tree_of"]

_AXIS, _FLATTENING = 6_378_137.0, 1 / 298.257223563
_SIDES = ((8_000.0, 1), (40_000.0, 4), (160_000.0, 16), (math.inf, 64))
"""Points per side of footprints whose corners lie within so many metres of their centre: edges of 3 to 14 km."""
_STEP = 8.0
"""Footprints are searched by classes of size, so that one huge one does not widen the search for all small ones."""
_PAIRS, _FOUND = 1 << 18, 1 << 21
"""Point and edge pairs that are compared, and neighbours that are asked for, at a time."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """Outlines of N footprints as points in space.

    Parameters
    ----------
    centre : (N, 3) float64, metres from the centre of the earth; NaN where a footprint lies nowhere
    radius : (N,) float64, metres from the centre to the farthest point of the outline
    sides : (N,) int64, points per side
    start : (N,) int64, position of the first point of each outline in ``points``
    points : (P, 3) float64
    footprints : Footprints, of the same rows
    earth : bool
        False for footprints without CRS: then all lengths are pixels, and each origin item lies in a plane of its own.
    """

    centre: NDArray[np.float64]
    radius: NDArray[np.float64]
    sides: NDArray[np.int64]
    start: NDArray[np.int64]
    points: NDArray[np.float64]
    footprints: Footprints
    earth: bool

    @classmethod
    def of(cls, catalog: Catalog, rows: NDArray[np.int64] | None = None) -> Outlines:
        """Return the outlines of some rows of a catalog, or of all."""
        earth = catalog.has_crs or not len(catalog)
        fp = catalog.footprints if earth else _planes(catalog)
        fp = fp if rows is None else fp.take(rows)
        height = _heights(catalog, rows) if not earth else None
        corners = _in_space(fp, 1, height)
        centre = _centres(fp, corners, height)
        radius = _reach(centre, corners)
        sides = np.ones(len(fp), dtype=np.int64)
        if earth:
            for (least, _), (_, count) in pairwise(_SIDES):
                sides[radius > least] = count
        blocks, start, used = [], np.zeros(len(fp), dtype=np.int64), 0
        for count in np.unique(sides).tolist()[::-1]:  # the longest first, so that `ring` finds whole blocks
            members = np.flatnonzero(sides == count)
            block = corners[members] if count == 1 else _in_space(fp.take(members), count, None)
            if count > 1:
                radius[members] = _reach(centre[members], block)
            start[members] = used + np.arange(len(members)) * 4 * count
            used += block.shape[0] * block.shape[1]
            blocks.append(block.reshape(-1, 3))
        points = np.concatenate(blocks) if blocks else np.empty((0, 3))
        return cls(centre, radius, sides, start, points, fp, earth)

    def __len__(self) -> int:
        return len(self.centre)

    def take(self, rows: NDArray[np.int64]) -> Outlines:
        """Return some outlines, in the order given; the points are shared."""
        fp = self.footprints.take(rows)
        return Outlines(
            self.centre[rows], self.radius[rows], self.sides[rows], self.start[rows], self.points, fp, self.earth
        )

    def distinct(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (N,) which of P distinct outlines each is, and (P,) the first of each: a series repeats its places."""
        fp = self.footprints
        exact = [np.ascontiguousarray(values).view(np.int64) for values in (fp.affine, self.centre)]
        return equal_rows(np.hstack([*exact, fp.shape, fp.code[:, None]]))

    def ring(self, rows: NDArray[np.int64], sides: int) -> NDArray[np.float64]:
        """Return (n, 4 * sides, 3) points of rows that have so many per side."""
        long = 4 * sides
        whole = self.points[: len(self.points) // long * long].reshape(-1, long, 3)
        points: NDArray[np.float64] = whole[self.start[rows] // long]
        return points


def _planes(catalog: Catalog) -> Footprints:
    """Return footprints in pixels of the origin item, x = column and y = row."""
    n = len(catalog)
    affine = np.zeros((n, 6))
    affine[:, [0, 4]] = 1.0
    affine[:, 2], affine[:, 5] = catalog.origin[:, 1], catalog.origin[:, 0]
    return Footprints(affine, catalog.shape, np.zeros(n, dtype=np.int32), (None,))


def _heights(catalog: Catalog, rows: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Return (n,) a height for each origin item, so far apart that no two items are ever near each other."""
    heights: NDArray[np.float64] = np.float64(_apart(catalog)) * items_of(catalog)
    return heights if rows is None else heights[rows]


def _apart(catalog: Catalog) -> float:
    return float(2 ** math.ceil(math.log2(4 * (catalog.origin + catalog.shape).max() + 2)))


def _in_space(fp: Footprints, sides: int, height: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return (N, 4 * sides, 3) points along each outline; NaN where a CRS does not reach."""
    return _placed(fp, rings(fp, sides), height)


def _placed(fp: Footprints, xy: NDArray[np.float64], height: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return (N, P, 3) points in space of (N, P, 2) points in each row's CRS, or in a plane at its height."""
    if height is not None:
        return np.concatenate([xy, np.broadcast_to(height[:, None, None], (*xy.shape[:2], 1))], axis=2)
    out = np.full((*xy.shape[:2], 3), np.nan)
    for code in np.unique(fp.code).tolist():
        crs = fp.crs[code]
        if crs is not None:
            rows = np.flatnonzero(fp.code == code)
            out[rows] = _from_lonlat(project(xy[rows], crs, CRS84))
    return out


def _from_lonlat(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., 3) earth-centred metres of points on the WGS84 ellipsoid."""
    with np.errstate(invalid="ignore"):
        lon, lat = np.radians(lonlat[..., 0]), np.radians(lonlat[..., 1])
        squared = _FLATTENING * (2 - _FLATTENING)
        across = _AXIS / np.sqrt(1 - squared * np.sin(lat) ** 2)
        ring = across * np.cos(lat)
        return np.stack([ring * np.cos(lon), ring * np.sin(lon), across * (1 - squared) * np.sin(lat)], axis=-1)


def _centres(fp: Footprints, corners: NDArray[np.float64], height: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return (N, 3) the centre of each footprint; the mean of its corners where its CRS does not reach the centre."""
    half = fp.shape[:, ::-1] / 2
    a, b, c, d, e, f = fp.affine.T
    xy = np.stack([a * half[:, 0] + b * half[:, 1] + c, d * half[:, 0] + e * half[:, 1] + f], axis=-1)
    centre = _placed(fp, xy[:, None], height)[:, 0]
    lost = np.flatnonzero(np.isnan(centre[:, 0]) & ~np.isnan(corners[:, :, 0]).all(axis=1))
    centre[lost] = np.nanmean(corners[lost], axis=1) if len(lost) else centre[lost]
    return centre


def _reach(centre: NDArray[np.float64], ring: NDArray[np.float64]) -> NDArray[np.float64]:
    far: NDArray[np.float64] = np.fmax.reduce(np.linalg.norm(ring - centre[:, None], axis=2), axis=1, initial=0.0)
    return far


def tree_of(points: NDArray[np.float64]) -> Any:
    """Return a k-d tree of points.

    Raises
    ------
    MissingDependencyError
        If scipy is not installed.
    """
    try:
        from scipy.spatial import cKDTree
    except ImportError:
        raise MissingDependencyError(
            "distances between footprints need scipy; install it with: pip install 'geodata[splits]'"
        ) from None
    # Centres on a lattice make balancing slow, and searching no faster.
    return cKDTree(points, balanced_tree=False, compact_nodes=False)


def nearest_outline(a: Outlines, b: Outlines, limit: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (gap, which) of each of a: straight metres to the nearest of b, and its position; -1 beyond the limit."""
    best = np.full(len(a), np.nextafter(limit, math.inf))
    which = np.full(len(a), -1, dtype=np.int64)
    known = np.flatnonzero(~np.isnan(b.centre[:, 0]))
    size = np.floor(np.log(np.maximum(b.radius[known], 1e-6)) / math.log(_STEP))
    for one in np.unique(size):
        members = known[size == one]
        _search(a, b, members, best, which)
    return np.where(which < 0, math.inf, best), which


def _search(
    a: Outlines, b: Outlines, members: NDArray[np.int64], best: NDArray[np.float64], which: NDArray[np.int64]
) -> None:
    """Compare with outlines of about one size, nearest centres first, until no farther centre can win."""
    tree, widest = tree_of(b.centre[members]), float(b.radius[members].max())
    todo, seen, k = np.flatnonzero(~np.isnan(a.centre[:, 0]) & (best > 0)), 0, min(8, len(members))
    while len(todo):
        left = []
        step = max(1, _FOUND // k)
        for rows in (todo[i : i + step] for i in range(0, len(todo), step)):
            bound = float((best[rows] + a.radius[rows]).max()) + widest
            far, found = tree.query(a.centre[rows], k=np.arange(seen + 1, k + 1), distance_upper_bound=bound)
            for j in range(k - seen):
                wins = np.flatnonzero(far[:, j] - a.radius[rows] - widest < best[rows])
                pick = members[found[wins, j]]
                wins_row = rows[wins]
                open_ = far[wins, j] - a.radius[wins_row] - b.radius[pick] < best[wins_row]
                _improve(a, b, wins_row[open_], pick[open_], far[wins[open_], j], best, which)
            left.append(rows[(far[:, -1] - a.radius[rows] - widest < best[rows]) & (best[rows] > 0)])
        todo, seen, k = np.concatenate(left), k, min(4 * k, len(members))
        if seen == len(members):
            return


def _improve(
    a: Outlines,
    b: Outlines,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    far: NDArray[np.float64],
    best: NDArray[np.float64],
    which: NDArray[np.int64],
) -> None:
    """Compare a[i] with b[j], whose centres lie so far apart, and keep what is nearer than the best so far."""
    if not len(i):
        return
    gap = np.full(len(i), math.inf)
    close = np.flatnonzero(far <= a.radius[i] + b.radius[j])
    gap[close[_joined(a, b, i[close], j[close])]] = 0.0
    for k, first, second in _rings(a, b, i, j, np.flatnonzero(gap > 0)):
        to_first, to_second = (np.fmin.reduce(squared, axis=(0, 1)) for squared, _ in _squared(first, second))
        gap[k] = np.sqrt(np.maximum(np.fmin(to_first, to_second), 0.0))
    nearer = gap < best[i]
    best[i[nearer]], which[i[nearer]] = gap[nearer], j[nearer]


def _rings(
    a: Outlines, b: Outlines, i: NDArray[np.int64], j: NDArray[np.int64], pairs: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """Yield some pairs at a time, with their outlines (3, P, n), (3, E, n), counted from the first one's centre."""
    kind = a.sides[i[pairs]] * 128 + b.sides[j[pairs]]
    for one in np.unique(kind).tolist():
        members = pairs[kind == one]
        first, second = divmod(one, 128)
        step = max(1, _PAIRS // (16 * first * second))
        for k in (members[s : s + step] for s in range(0, len(members), step)):
            middle = a.centre[i[k], None]
            rings = a.ring(i[k], first) - middle, b.ring(j[k], second) - middle
            yield k, *(np.ascontiguousarray(ring.transpose(2, 1, 0)) for ring in rings)


def _squared(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield (points, edges, n) squared distances and where on the edge, 0 to 1: points of b to a, then of a to b.

    The pairs come last in all arrays, because numpy is slow where the last axis has four values.
    """
    off = a[:, None] - b[:, :, None]
    apart = off[0] ** 2 + off[1] ** 2 + off[2] ** 2
    yield _to_edges(-off, apart, a)
    yield _to_edges(off.swapaxes(1, 2), apart.swapaxes(0, 1), b)


def _to_edges(
    off: NDArray[np.float64], apart: NDArray[np.float64], ring: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return squared distances of points to the edges of a ring, from their offsets from where the edges start."""
    along = np.concatenate([ring[:, 1:], ring[:, :1]], axis=1) - ring
    length = along[0] ** 2 + along[1] ** 2 + along[2] ** 2
    ahead = off[0] * along[0] + off[1] * along[1] + off[2] * along[2]
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.clip(ahead / length, 0.0, 1.0)
    return apart - at * (2 * ahead - at * length), at


def _joined(a: Outlines, b: Outlines, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (n,) whether a[i] and b[j] share area, or touch as upright boxes of one CRS."""
    first, second = a.footprints.take(i), b.footprints.take(j)
    alike = (first.code == second.code) & upright(first) & upright(second)
    out = np.zeros(len(i), dtype=bool)
    (low, high), (low_b, high_b) = extents(first), extents(second)
    turning = np.array([c is not None and c.is_geographic for c in first.crs], dtype=bool)[first.code]
    turn = np.where(turning, 360.0 * np.round((low + high - low_b - high_b)[:, 0] / 720.0), 0.0)
    shift = np.stack([turn, np.zeros(len(i))], axis=1)
    room = np.minimum(high, high_b + shift) - np.maximum(low, low_b + shift)
    pixel = np.minimum(np.abs(first.affine[:, 0:5:4]), np.abs(second.affine[:, 0:5:4]))
    out[alike] = (room >= -PIXEL_TOLERANCE * pixel)[alike].all(axis=1)
    others = np.flatnonzero(~alike)
    if len(others) and a.earth:
        out[others] = meet(first.take(others), second.take(others))
    return out


def measured(a: Outlines, b: Outlines, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n,) the shortest way along the ground from a[i] to b[j], metres to the millimetre; they do not join."""
    start, end = np.empty((len(i), 3)), np.empty((len(i), 3))
    for k, first, second in _rings(a, b, i, j, np.arange(len(i))):
        to_first, to_second = _squared(first, second)
        p, on_first, least = _closest(second, first, *to_first)
        q, on_second, other = _closest(first, second, *to_second)
        nearer = least < other
        start[k] = np.where(nearer, on_first, q).T + a.centre[i[k]]
        end[k] = np.where(nearer, p, on_second).T + a.centre[i[k]]
    return along_ground(start, end) if a.earth else np.linalg.norm(start - end, axis=1)


def _closest(
    points: NDArray[np.float64], ring: NDArray[np.float64], squared: NDArray[np.float64], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (3, n) the point that is nearest to a ring, (3, n) where on the ring, and (n,) how far, squared."""
    squared = np.where(np.isnan(squared), math.inf, squared)
    n = np.arange(points.shape[2])
    p, e = np.divmod(squared.reshape(-1, len(n)).argmin(axis=0), ring.shape[1])
    begin, finish = ring[:, e, n], ring[:, (e + 1) % ring.shape[1], n]
    return points[:, p, n], begin + at[p, e, n] * (finish - begin), squared[p, e, n]


def along_ground(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) geodesic metres between points in space, each taken straight up or down to the ellipsoid."""
    lonlat = [to_lonlat(p) for p in (start, end)]
    _, _, length = Geod(a=_AXIS, f=_FLATTENING).inv(lonlat[0][0], lonlat[0][1], lonlat[1][0], lonlat[1][1])
    rounded: NDArray[np.float64] = np.round(length, 3)
    return rounded


def to_lonlat(points: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return (n,) longitude and (n,) latitude, degrees, of (n, 3) points in space."""
    space, ground = as_crs(4978), as_crs(4979)
    if space is None or ground is None or not len(points):
        return np.empty(0), np.empty(0)
    lon, lat, _ = transformer(space, ground).transform(points[:, 0], points[:, 1], points[:, 2])
    return lon, lat
