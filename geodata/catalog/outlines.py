"""Outlines of items in longitude and latitude, as a GeoParquet file holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.catalog.footprint import Footprints, lonlat_polygons, project, rings
from geodata.crs import CRS, CRS84

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["outlines"]

RECTANGLE = np.dtype([("order", "u1"), ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])
"""Well-known binary of a polygon with four corners, the first of which comes again."""


def outlines(catalog: Catalog) -> tuple[list[bytes | None], NDArray[np.float64], list[str]]:
    """Return outlines in CRS84, cut at the antimeridian and closed over a pole.

    Returns
    -------
    wkb : N well-known binaries, None without a CRS
    boxes : (N, 4) west, south, east, north of each, NaN without one
    kinds : names of the kinds of geometry that there are
    """
    fp, boxes = catalog.footprints, catalog.box84
    wkb = np.full(len(fp), None, dtype=object)
    bounds = np.full((len(fp), 4), np.nan)
    kinds: set[str] = set()
    for code in np.unique(fp.code):
        crs = fp.crs[code]
        if crs is None:
            continue
        rows = np.flatnonzero(fp.code == code)
        extent = np.where(boxes[rows, 0] > boxes[rows, 2], 360, boxes[rows, 2] - boxes[rows, 0])
        small, large = rows[extent < 1], rows[extent >= 1]
        ring = _rings(fp.take(small), crs, 1)
        plain = _plain(ring)
        wkb[small[plain]], bounds[small[plain]] = _rectangles(ring[plain])
        kinds |= {"Polygon"} if plain.any() else set()
        for part, per_side in ((small[~plain], 1), (large, 16)):
            if len(part):
                found = _polygons(fp.take(part), crs, boxes[part], per_side)
                wkb[part], bounds[part] = shapely.to_wkb(found), shapely.bounds(found)
                kinds |= {polygon.geom_type for polygon in found if polygon is not None}
    return wkb.tolist(), bounds, [name for name in ("Polygon", "MultiPolygon") if name in kinds]


def _rings(fp: Footprints, crs: CRS, per_side: int) -> NDArray[np.float64]:
    ring = rings(fp, per_side)
    return ring if crs.is_geographic else project(ring, crs, CRS84)


def _plain(ring: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (N,) which rings (N, 4, 2) below a degree need no cutting: nearly all, and without shapely much faster."""
    west, east = ring[:, :, 0].min(axis=1, initial=np.inf), ring[:, :, 0].max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        flags: NDArray[np.bool_] = (west >= -180) & (east <= 180) & np.isfinite(ring).all(axis=(1, 2))
    return flags


def _rectangles(ring: NDArray[np.float64]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return the well-known binary and the box of rings of four corners."""
    held = np.empty(len(ring), RECTANGLE)
    held["order"], held["kind"], held["rings"], held["points"] = 1, 3, 1, 5
    held["xy"][:, :4], held["xy"][:, 4:] = ring, ring[:, :1]
    wkb = np.empty(len(ring), dtype=object)
    wkb[:] = held.view(f"V{RECTANGLE.itemsize}").tolist()
    return wkb, np.hstack([ring.min(axis=1, initial=np.inf), ring.max(axis=1, initial=-np.inf)])


def _polygons(fp: Footprints, crs: CRS, boxes: NDArray[np.float64], per_side: int) -> NDArray[np.object_]:
    ring = _rings(fp, crs, per_side)
    finite = np.isfinite(ring).all(axis=(1, 2))
    polygons = np.full(len(fp), None, dtype=object)
    polygons[finite] = shapely.polygons(ring[finite]) if crs.is_geographic else lonlat_polygons(ring[finite])
    # An outline that leaves its projection's domain bounds nothing: its box is all that is known.
    placed = ~finite & ~np.isnan(boxes[:, 0])
    polygons[placed] = shapely.box(*boxes[placed].T)
    west, _, east, _ = shapely.bounds(polygons).T
    for row in np.flatnonzero((west < -180) | (east > 180)):
        polygons[row] = _cut(polygons[row])
    return polygons


def _cut(polygon: shapely.Geometry) -> shapely.Geometry:
    """Cut an outline at 180 degrees and bring every piece into [-180, 180]."""
    pieces = []
    for turn in (-720, -360, 0, 360, 720):
        moved = shapely.transform(polygon, lambda xy, turn=turn: xy + np.array([turn, 0.0]))
        pieces.append(shapely.intersection(shapely.make_valid(moved), shapely.box(-180, -90, 180, 90)))
    joined = shapely.get_parts(shapely.make_valid(shapely.union_all(pieces)))
    solid = [p for p in joined if p.geom_type == "Polygon" and p.area > 0]
    return solid[0] if len(solid) == 1 else shapely.MultiPolygon(solid)
