"""How much of each footprint a set of others covers."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.catalog.footprint import Footprints, extents, lonlat_polygons, project, rings
from geodata.catalog.overlap import SIDES, by_systems, ground_area, sampled_in, shared_part, upright
from geodata.crs import CRS, same_crs

__all__ = ["covered_share", "pieces"]

Pieces = NDArray[np.object_]


def covered_share(a: Footprints, b: Footprints, group: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return (count,) which part of a's footprint the union of its b's covers.

    Parameters
    ----------
    a, b : (N,) pairs; ``group[i]`` says to which of ``count`` leading rows pair i belongs, in rising order
    """
    shared = pieces(a, b)
    start = np.searchsorted(group, np.arange(count + 1))
    covered = np.bincount(group, shapely.area(shared), minlength=count)
    for k in np.flatnonzero(np.diff(start) > 1).tolist():
        covered[k] = shapely.union_all(shared[start[k] : start[k + 1]]).area
    whole = np.ones(count)
    whole[group] = shapely.area(shapely.polygons(rings(a)))
    share: NDArray[np.float64] = covered / whole
    return share


def pieces(a: Footprints, b: Footprints) -> Pieces:
    """Return (N,) the part of a[i] that b[i] covers, in the CRS of a[i]; nothing if neither CRS can say."""
    out = np.full(len(a), shapely.Polygon(), dtype=object)
    for rows, crs_a, crs_b in by_systems(a, b):
        first, second = a.take(rows), b.take(rows)
        if not same_crs(crs_a, crs_b):
            out[rows] = _pieces_in_two(first, crs_a, second, crs_b)
        elif crs_a.is_geographic or not (upright(first) & upright(second)).all():
            out[rows] = _parts(first, crs_a, second, crs_b)
        else:
            (low_a, high_a), (low_b, high_b) = extents(first), extents(second)
            low, high = np.maximum(low_a, low_b), np.minimum(high_a, high_b)
            inside = (low < high).all(axis=1)
            out[rows[inside]] = shapely.box(*low[inside].T, *high[inside].T)
    return out


def _parts(a: Footprints, crs_a: CRS, b: Footprints, crs_b: CRS) -> Pieces:
    shared, _ = shared_part(a, crs_a, b, crs_b)
    shared[shared == None] = shapely.Polygon()  # noqa: E711  (elementwise)
    return shared


def _pieces_in_two(a: Footprints, crs_a: CRS, b: Footprints, crs_b: CRS) -> Pieces:
    """Cut in the CRS of the larger, as in `meet`, and bring back: what is shared lies within the first footprint."""
    out = np.full(len(a), None, dtype=object)
    rows = np.flatnonzero(ground_area(a, crs_a) < ground_area(b, crs_b))
    if len(rows):
        shared, extent = shared_part(b.take(rows), crs_b, a.take(rows), crs_a)
        unknown = shared == None  # noqa: E711  (elementwise)
        lost, kept = rows[unknown], rows[~unknown]
        within = lost[sampled_in(b.take(lost), crs_b, a.take(lost), crs_a).all(axis=1)]
        out[within] = shapely.polygons(rings(a.take(within)))
        out[kept] = _brought_back(a.take(kept), crs_a, crs_b, shared[~unknown], extent[~unknown])
    rows = np.flatnonzero(out == None)  # noqa: E711  (elementwise)
    if len(rows):
        out[rows] = _parts(a.take(rows), crs_a, b.take(rows), crs_b)
    return out


def _brought_back(fp: Footprints, crs: CRS, other: CRS, shared: Pieces, extent: NDArray[np.float64]) -> Pieces:
    """Return what was cut out of footprints in another CRS in their own."""
    if not len(fp):
        return shared
    ring = project(rings(fp, SIDES), crs, other)
    whole = lonlat_polygons(ring) if other.is_geographic else shapely.make_valid(shapely.polygons(ring))
    out: Pieces = shapely.polygons(rings(fp))
    cut = np.flatnonzero(shapely.area(shared) <= (1 - 1e-9) * shapely.area(whole))
    if len(cut):
        dense = shapely.segmentize(shared[cut], extent[cut] / SIDES)
        back = shapely.transform(dense, lambda xy: project(xy, other, crs))
        out[cut] = shapely.make_valid(_near(back, fp.take(cut)) if crs.is_geographic else back)
    return out


def _near(geometries: Pieces, fp: Footprints) -> Pieces:
    """Turn longitudes to those of each footprint."""
    xy, of = shapely.get_coordinates(geometries, return_index=True)
    middle = rings(fp)[:, :, 0].mean(axis=1)[of]
    xy[:, 0] = middle + (xy[:, 0] - middle + 180) % 360 - 180
    near: Pieces = shapely.set_coordinates(geometries, xy)
    return near
