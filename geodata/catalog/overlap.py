"""Which footprints really meet: the exact test behind the R-tree's candidates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.catalog.footprint import DEGREE, Footprints, extents, lonlat_polygons, project, rings
from geodata.crs import CRS, same_crs
from geodata.grid import PIXEL_TOLERANCE
from geodata.interval import ALWAYS, Interval

__all__ = [
    "SIDES",
    "by_systems",
    "ground_area",
    "in_time",
    "meet",
    "overlap_in_time",
    "sampled_in",
    "shared_part",
    "upright",
]

SIDES = 32
"""Points per side when an outline goes into another CRS."""
EDGE_ERROR = 5e-6
"""How far such an outline may then lie beside its true course, in parts of its extent (0.5 m on 110 km at 60 degrees)."""
TEAR = 20
"""A step so many times longer than the usual one between two points of an outline is a seam, not an edge."""
TURNS = (-360.0, 0.0, 360.0)
CELLS, CELL_DEPTH = 8, 2
"""How an outline that is torn in the other CRS is cut up, and how often."""


def meet(a: Footprints, b: Footprints) -> NDArray[np.bool_]:
    """Return (N,) whether footprint a[i] shares area with b[i], or with the only b; touching is not meeting.

    With equal CRSs and upright pixels this is a box test in float64, half-open to 1e-6 px. Otherwise outlines are
    compared as polygons with 32 points per side, in the CRS of the larger of the two; an overlap that is no wider than
    the error of such an outline counts as touching.
    """
    out = np.zeros(len(a), dtype=bool)
    for rows, crs_a, crs_b in by_systems(a, b):
        first = a if len(rows) == len(a) else a.take(rows)
        if same_crs(crs_a, crs_b):
            out[rows] = _meet_in_one_crs(first, b if len(b) == 1 else b.take(rows), crs_a)
        else:
            out[rows] = _meet_in_two(first, _beside(b, rows), crs_a, crs_b)
    return out


def by_systems(a: Footprints, b: Footprints) -> Iterator[tuple[NDArray[np.int64], CRS, CRS]]:
    """Yield the pairs of each two CRSs, and those; pairs that lack one are left out."""
    combos = a.code.astype(np.int64) * len(b.crs) + b.code
    few = len(a.crs) * len(b.crs) < 1024 + len(combos)
    kinds = (np.flatnonzero(np.bincount(combos)) if few else np.unique(combos)).tolist()
    for combo in kinds:
        crs_a, crs_b = a.crs[combo // len(b.crs)], b.crs[combo % len(b.crs)]
        if crs_a is not None and crs_b is not None:
            yield np.flatnonzero(combos == combo) if len(kinds) > 1 else np.arange(len(a)), crs_a, crs_b


def _beside(b: Footprints, rows: NDArray[np.int64]) -> Footprints:
    """Return the partners of some rows, of which there may be one for all."""
    return b.take(rows if len(b) > 1 else np.zeros(len(rows), dtype=np.int64))


def _meet_in_one_crs(a: Footprints, b: Footprints, crs: CRS) -> NDArray[np.bool_]:
    """Compare boxes, then turned outlines; longitudes also a full turn away."""
    out = np.zeros(len(a), dtype=bool)
    plain = upright(a) & upright(b)
    (low_a, high_a), (low_b, high_b) = extents(a), extents(b)
    tolerance = PIXEL_TOLERANCE * np.minimum(np.abs(a.affine[:, 0:5:4]), np.abs(b.affine[:, 0:5:4]))
    for turn in TURNS if crs.is_geographic else (0.0,):
        shift = np.array([turn, 0.0])
        overlap = np.minimum(high_a, high_b + shift) - np.maximum(low_a, low_b + shift)
        boxes = (overlap[:, 0] > tolerance[:, 0]) & (overlap[:, 1] > tolerance[:, 1])
        turned = np.flatnonzero(~plain & boxes)
        if len(turned):
            first, second = a.take(turned), _beside(b, turned)
            shared = shapely.intersection(shapely.polygons(rings(first)), shapely.polygons(rings(second) + shift))
            pixel = np.sqrt(np.minimum(_pixel_area(first), _pixel_area(second)))
            boxes[turned] = shapely.area(shared) > PIXEL_TOLERANCE * pixel * shapely.length(shared) / 2
        out |= boxes
    return out


def upright(fp: Footprints) -> NDArray[np.bool_]:
    """Return (N,) whether rows and columns of pixels run along the axes."""
    flags: NDArray[np.bool_] = (fp.affine[:, 1] == 0) & (fp.affine[:, 3] == 0)
    return flags


def _pixel_area(fp: Footprints) -> NDArray[np.float64]:
    m = fp.affine
    area: NDArray[np.float64] = np.abs(m[:, 0] * m[:, 4] - m[:, 1] * m[:, 3])
    return area


def _meet_in_two(a: Footprints, b: Footprints, crs_a: CRS, crs_b: CRS, depth: int = 0) -> NDArray[np.bool_]:
    """Compare outlines of two CRSs.

    The smaller footprint goes into the CRS of the larger, whose domain surely holds it; where that fails, the other
    way round. A pair that neither CRS can express counts as meeting: reading it will show what is there.
    """
    out = np.ones(len(a), dtype=bool)
    left = np.ones(len(a), dtype=bool)
    a_is_larger = ground_area(a, crs_a) >= ground_area(b, crs_b)
    for usual in (True, False):
        for into_a in (True, False):
            rows = np.flatnonzero(left & ((a_is_larger == into_a) == usual))
            if not len(rows):
                continue
            home, guest = (a, b) if into_a else (b, a)
            home_crs, guest_crs = (crs_a, crs_b) if into_a else (crs_b, crs_a)
            shared, extent = shared_part(home.take(rows), home_crs, guest.take(rows), guest_crs)
            known = shared != None  # noqa: E711  (elementwise)
            found = shared[known].astype(object)
            sliver = EDGE_ERROR * extent[known] * shapely.length(found) / 2
            out[rows[known]] = shapely.area(found) > sliver
            left[rows[known]] = False
            if usual:
                torn = np.flatnonzero(np.isnan(extent))
                left[rows[torn]] = False
                out[rows[torn]] = _meet_in_cells(
                    home.take(rows[torn]), home_crs, guest.take(rows[torn]), guest_crs, depth
                )
    return out


def ground_area(fp: Footprints, crs: CRS) -> NDArray[np.float64]:
    """Return (N,) about the area of each footprint in square units of its CRS, in square metres for degrees."""
    degree = DEGREE**2 if crs.is_geographic else 1.0
    area: NDArray[np.float64] = _pixel_area(fp) * fp.shape.prod(axis=1) * degree
    return area


def shared_part(
    home: Footprints, crs: CRS, guest: Footprints, guest_crs: CRS
) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return what home[i] and guest[i] share, in home's CRS, and guest's extent there.

    None where the guest cannot be expressed: it leaves the domain of the CRS, or reaches a pole in longitude and
    latitude, where an outline of points does not bound it. The extent is then NaN if the guest lies wholly outside the
    domain, is torn at a seam, or lies around the antipode, where its outline encloses what it does not hold.
    """
    outline = rings(guest, SIDES) if same_crs(crs, guest_crs) else project(rings(guest, SIDES), guest_crs, crs)
    good = np.isfinite(outline).all(axis=(1, 2))
    if crs.is_geographic and not guest_crs.is_geographic:
        with np.errstate(invalid="ignore"):
            good &= np.abs(outline[..., 1]).max(axis=1) < 89.9
    with np.errstate(invalid="ignore"):
        steps = np.linalg.norm(np.diff(outline, axis=1, append=outline[:, :1]), axis=2)
        torn = steps.max(axis=1) > TEAR * np.median(steps, axis=1)
    if not crs.is_geographic and not same_crs(crs, guest_crs):
        good &= ~torn
    out = np.full(len(home), None, dtype=object)
    lost = ~np.isfinite(outline[..., 0]).any(axis=1) | (torn & (not crs.is_geographic))
    extent = np.where(lost, np.nan, 0.0)
    rows = np.flatnonzero(good)
    if not len(rows):
        return out, extent
    outline = outline[rows]
    own = shapely.polygons(rings(home.take(rows)))
    if crs.is_geographic:
        guests = shapely.make_valid(lonlat_polygons(outline))
        out[rows] = _shared_around(own, guests)
    else:
        guests = shapely.make_valid(shapely.polygons(outline))
        out[rows] = shapely.intersection(own, guests)
    west, south, east, north = shapely.bounds(guests).T
    extent[rows] = np.maximum(east - west, north - south)
    inverted = rows[~_holds(guest.take(rows), guest_crs, out[rows], crs)]
    out[inverted], extent[inverted] = None, np.nan
    return out, extent


def _shared_around(own: NDArray[np.object_], guests: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return what own[i] and guests[i], in degrees, share, also whole turns of longitude away."""
    out = np.full(len(own), shapely.Polygon(), dtype=object)
    (left, _, right, _), (west, _, east, _) = shapely.bounds(own).T, shapely.bounds(guests).T
    for turn in (-720.0, *TURNS, 720.0):
        k = np.flatnonzero((west + turn <= right) & (left <= east + turn))
        if len(k):
            turned = (
                guests[k] if turn == 0 else shapely.transform(guests[k], lambda xy, t=turn: xy + np.array([t, 0.0]))
            )
            out[k] = shapely.union(out[k], shapely.intersection(own[k], turned))
    return out


def _holds(fp: Footprints, fp_crs: CRS, pieces: NDArray[np.object_], crs: CRS) -> NDArray[np.bool_]:
    """Return (N,) whether a point of each piece lies in its footprint; True for pieces without area."""
    out = np.ones(len(fp), dtype=bool)
    some = np.flatnonzero(shapely.area(pieces) > 0)
    if len(some) and not same_crs(crs, fp_crs):
        points = shapely.get_coordinates(shapely.point_on_surface(pieces[some]))
        out[some] = _inside(fp.take(some), project(points, crs, fp_crs)[:, None], fp_crs, slack=0.01)[:, 0]
    return out


def _meet_in_cells(home: Footprints, crs: CRS, guest: Footprints, guest_crs: CRS, depth: int) -> NDArray[np.bool_]:
    """Follow a torn outline: cut the guest into 8 x 8 cells, most of which are whole, and torn ones once more."""
    if depth == CELL_DEPTH or not len(home):
        sampled: NDArray[np.bool_] = sampled_in(home, crs, guest, guest_crs).max(axis=1, initial=False)
        return sampled
    k = np.arange(CELLS)
    row, col = (v.ravel() for v in np.meshgrid(k, k, indexing="ij"))
    m = np.repeat(guest.affine, CELLS**2, axis=0)
    size = np.repeat(guest.shape, CELLS**2, axis=0) / CELLS
    at = size * np.tile(np.column_stack([row, col]), (len(guest), 1))
    m[:, 2] += m[:, 0] * at[:, 1] + m[:, 1] * at[:, 0]
    m[:, 5] += m[:, 3] * at[:, 1] + m[:, 4] * at[:, 0]
    m[:, [0, 3]] *= size[:, 1:]
    m[:, [1, 4]] *= size[:, :1]
    cells = Footprints(m, np.ones((len(m), 2), dtype=np.int64), np.repeat(guest.code, CELLS**2), guest.crs)
    found = _meet_in_two(home.take(np.repeat(np.arange(len(home)), CELLS**2)), cells, crs, guest_crs, depth + 1)
    any_cell: NDArray[np.bool_] = found.reshape(len(guest), -1).max(axis=1)
    return any_cell


def sampled_in(home: Footprints, crs: CRS, guest: Footprints, guest_crs: CRS) -> NDArray[np.bool_]:
    """Return (N, 81) which of 9 x 9 points of the guest lie in home: for guests whose outline says nothing there.

    It has no point in the CRS of home, is torn at a seam of it, or lies around the antipode and encloses what it does
    not hold.
    """
    if not len(home):
        return np.empty((0, 81), dtype=bool)
    t = (np.arange(9) + 0.5) / 9
    unit = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2)
    m = guest.affine
    at = unit[None] * guest.shape[:, None, ::-1]
    x = m[:, 0, None] * at[..., 0] + m[:, 1, None] * at[..., 1] + m[:, 2, None]
    y = m[:, 3, None] * at[..., 0] + m[:, 4, None] * at[..., 1] + m[:, 5, None]
    return _inside(home, project(np.stack([x, y], axis=-1), guest_crs, crs), crs)


def _inside(fp: Footprints, xy: NDArray[np.float64], crs: CRS, slack: float = 0.0) -> NDArray[np.bool_]:
    """Return (N, P) which points (N, P, 2) lie in their footprint, also a turn of longitude away."""
    m = fp.affine.T[:, :, None]
    height, width = fp.shape[:, 0, None], fp.shape[:, 1, None]
    det = m[0] * m[4] - m[1] * m[3]
    out = np.zeros(xy.shape[:2], dtype=bool)
    for turn in TURNS if crs.is_geographic else (0.0,):
        with np.errstate(invalid="ignore"):
            x, y = xy[..., 0] + turn - m[2], xy[..., 1] - m[5]
            col, row = (m[4] * x - m[1] * y) / det, (m[0] * y - m[3] * x) / det
            out |= (
                (col > -slack * width)
                & (col < (1 + slack) * width)
                & (row > -slack * height)
                & (row < (1 + slack) * height)
            )
    return out


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
