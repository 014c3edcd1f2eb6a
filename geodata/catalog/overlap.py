"""Which footprints really meet: the exact test behind the R-tree's candidates."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.catalog.footprint import Footprints, project, rings, unwrapped
from geodata.crs import CRS, same_crs
from geodata.grid import PIXEL_TOLERANCE
from geodata.interval import ALWAYS, Interval

__all__ = ["covered_share", "in_time", "meet", "overlap_in_time"]

SIDES = 32
"""Points per side when an outline goes into another CRS: its edge is then off by less than 1e-6 of its length."""
SLIVER = 2e-6
"""Outlines of different CRSs that share less than this part of the smaller one only touch."""


def meet(a: Footprints, b: Footprints) -> NDArray[np.bool_]:
    """Return (N,) whether footprint a[i] shares area with b[i]; touching is not meeting.

    With equal CRSs and upright pixels this is a box test in float64, half-open to 1e-6 px. Otherwise outlines are
    compared as polygons with 32 points per side, in the CRS of the larger of the two.
    """
    out = np.zeros(len(a), dtype=bool)
    combos = a.code.astype(np.int64) * len(b.crs) + b.code
    for combo in np.unique(combos):
        rows = np.flatnonzero(combos == combo)
        crs_a, crs_b = a.crs[combo // len(b.crs)], b.crs[combo % len(b.crs)]
        if crs_a is None or crs_b is None:
            continue
        first, second = a.take(rows), b.take(rows)
        if same_crs(crs_a, crs_b):
            out[rows] = _meet_in_one_crs(first, second)
        else:
            out[rows] = _shared(first, second, crs_a, crs_b) > SLIVER
    return out


def _meet_in_one_crs(a: Footprints, b: Footprints) -> NDArray[np.bool_]:
    upright = (a.affine[:, [1, 3]] == 0).all(axis=1) & (b.affine[:, [1, 3]] == 0).all(axis=1)
    out = np.empty(len(a), dtype=bool)
    tolerance = PIXEL_TOLERANCE * np.minimum(np.abs(a.affine[:, [0, 4]]), np.abs(b.affine[:, [0, 4]]))
    (low_a, high_a), (low_b, high_b) = _box(a), _box(b)
    overlap = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    out[:] = (overlap > tolerance).all(axis=1)
    turned = np.flatnonzero(~upright & out)
    if len(turned):
        first, second = a.take(turned), b.take(turned)
        area = shapely.area(shapely.intersection(shapely.polygons(rings(first)), shapely.polygons(rings(second))))
        out[turned] = area > PIXEL_TOLERANCE * np.minimum(_pixel_area(first), _pixel_area(second))
    return out


def _box(fp: Footprints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ring = rings(fp)
    return ring.min(axis=1), ring.max(axis=1)


def _pixel_area(fp: Footprints) -> NDArray[np.float64]:
    m = fp.affine
    area: NDArray[np.float64] = np.abs(m[:, 0] * m[:, 4] - m[:, 1] * m[:, 3])
    return area


def _shared(a: Footprints, b: Footprints, crs_a: CRS, crs_b: CRS) -> NDArray[np.float64]:
    """Return (N,) shared area as a part of the smaller footprint.

    The smaller footprint goes into the CRS of the larger, whose domain surely holds it; where that fails, the other
    way round. A pair that neither CRS can express counts as sharing everything: reading it will show what is there.
    """
    share = np.full(len(a), np.inf)
    a_is_larger = _ground(a, crs_a) >= _ground(b, crs_b)
    for usual in (True, False):
        for into_a in (True, False):
            rows = np.flatnonzero(np.isinf(share) & ((a_is_larger == into_a) == usual))
            if not len(rows):
                continue
            if into_a:
                share[rows] = _share_in(a.take(rows), crs_a, b.take(rows), crs_b)
            else:
                share[rows] = _share_in(b.take(rows), crs_b, a.take(rows), crs_a)
    return share


def _ground(fp: Footprints, crs: CRS) -> NDArray[np.float64]:
    area: NDArray[np.float64] = _pixel_area(fp) * fp.shape.prod(axis=1) * (111_320.0**2 if crs.is_geographic else 1.0)
    return area


def _share_in(home: Footprints, crs: CRS, guest: Footprints, guest_crs: CRS) -> NDArray[np.float64]:
    """Return (N,) area shared by home[i] and guest[i] over the smaller area; inf where guest does not transform."""
    outline = project(rings(guest, SIDES), guest_crs, crs)
    out = np.full(len(home), np.inf)
    good = np.flatnonzero(np.isfinite(outline).all(axis=(1, 2)))
    if not len(good):
        return out
    outline = outline[good]
    polygons = shapely.polygons(rings(home.take(good)))
    if crs.is_geographic:
        guests = shapely.make_valid(_lonlat_polygons(unwrapped(outline)))
        shared = np.zeros(len(good))
        for turn in (-720.0, -360.0, 0.0, 360.0, 720.0):
            moved = shapely.transform(guests, lambda xy, turn=turn: xy + np.array([turn, 0.0]))
            shared += shapely.area(shapely.intersection(polygons, moved))
    else:
        guests = shapely.make_valid(shapely.polygons(outline))
        shared = shapely.area(shapely.intersection(polygons, guests))
    out[good] = shared / np.minimum(shapely.area(polygons), shapely.area(guests))
    return out


def _lonlat_polygons(ring: NDArray[np.float64]) -> NDArray[np.object_]:
    """Make polygons of unwrapped rings; a ring around a pole is closed over that pole."""
    polygons: NDArray[np.object_] = shapely.polygons(ring)
    closing = ring[:, 0, 0] + np.round((ring[:, -1, 0] - ring[:, 0, 0]) / 360) * 360
    around = np.flatnonzero(np.abs(closing - ring[:, 0, 0]) > 1)
    for i in around:
        pole = 90.0 if ring[i, :, 1].mean() > 0 else -90.0
        points = np.concatenate([ring[i], [[closing[i], ring[i, 0, 1]], [closing[i], pole], [ring[i, 0, 0], pole]]])
        polygons[i] = shapely.Polygon(points)
    return polygons


def covered_share(a: Footprints, b: Footprints, group: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return (count,) which share of a's footprint the union of its b's covers.

    Parameters
    ----------
    a, b : (N,) pairs; ``group[i]`` says to which of ``count`` leading rows pair i belongs
    """
    pieces: list[list[shapely.Geometry]] = [[] for _ in range(count)]
    whole = np.ones(count)
    for i in range(len(a)):
        crs_a, crs_b = a.crs[a.code[i]], b.crs[b.code[i]]
        home = shapely.Polygon(rings(a.take(np.array([i])))[0])
        ring = rings(b.take(np.array([i])), SIDES)
        if crs_a is not None and crs_b is not None and not same_crs(crs_a, crs_b):
            ring = project(ring, crs_b, crs_a)
        guest = shapely.make_valid(shapely.Polygon(unwrapped(ring)[0] if crs_a and crs_a.is_geographic else ring[0]))
        whole[group[i]] = home.area
        pieces[group[i]].append(home.intersection(guest))
    return np.array([shapely.union_all(p).area if p else 0.0 for p in pieces]) / whole


def in_time(times: NDArray[np.float64], when: Interval) -> NDArray[np.bool_]:
    """Return (N,) whether each (start, end) shares a moment with an interval; touching ends do not."""
    if when == ALWAYS:
        return np.ones(len(times), dtype=bool)
    return overlap_in_time(times, np.broadcast_to([when.start, when.end], times.shape))


def overlap_in_time(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (N,) whether half-open intervals a[i] and b[i] share a moment; start == end is a point."""
    start, end = np.maximum(a[:, 0], b[:, 0]), np.minimum(a[:, 1], b[:, 1])
    point = (a[:, 0] == a[:, 1]) | (b[:, 0] == b[:, 1])
    # A point lies in [start, end) but not on an end, unless both are the same point.
    at_end = np.where(
        a[:, 0] == a[:, 1], (b[:, 1] == start) & (b[:, 0] < b[:, 1]), (a[:, 1] == start) & (a[:, 0] < a[:, 1])
    )
    out: NDArray[np.bool_] = np.where(point, (start <= end) & ~at_end, start < end)
    return out
