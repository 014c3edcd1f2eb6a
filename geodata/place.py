"""Where a catalog lies as a whole, and grids laid over a part of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from geodata.catalog import Catalog
from geodata.catalog.footprint import project, rings
from geodata.catalog.search import nearest_miss
from geodata.crs import CRS, crs_text, same_crs
from geodata.errors import CRSError, GridError, QueryError
from geodata.grid import PIXEL_TOLERANCE, Bounds, Grid, check_bounds, check_res
from geodata.interval import ALWAYS, Interval

__all__ = ["bounds_in", "common_crs", "grid_of_slices", "grid_over"]


def common_crs(catalog: Catalog) -> CRS:
    """Return the CRS that all rows share.

    Raises
    ------
    CRSError
        If rows have several CRSs, or none; it lists them.
    """
    systems = catalog.crs_in_use
    if len(systems) == 1 and systems[0] is not None:
        return systems[0]
    names = ", ".join(crs_text(c)[:24] or "no CRS" for c in systems[:5])
    raise CRSError(f"rows are in {len(systems)} CRSs ({names}); choose one for slices with ds.to(crs, res)")


def bounds_in(catalog: Catalog, crs: CRS) -> Bounds:
    """Return left, bottom, right, top of all rows in a CRS, from outlines of 16 points a side."""
    fp = catalog.footprints
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for code in np.unique(fp.code):
        source = fp.crs[code]
        if source is None:
            raise CRSError("items without a CRS have no bounds in another one")
        own = same_crs(source, crs)
        outline = rings(fp.take(np.flatnonzero(fp.code == code)), 1 if own else 16)
        points = (outline if own else project(outline, source, crs)).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def grid_over(catalog: Catalog, bounds: Any, crs: CRS | None, res: Any, when: Interval = ALWAYS) -> Grid:
    """Return the grid for a box: of the given resolution, or on the lattice of the first item in that CRS.

    Raises
    ------
    NoOverlapError
        If no resolution is given and no item lies there.
    GridError
        If no resolution is given and the item is in another CRS.
    """
    if res is not None:
        return Grid.from_bounds(check_bounds(bounds), crs, check_res(res))
    box = Grid.of_box(bounds, crs)
    rows = catalog.search(box, time=when)
    if not len(rows):
        raise nearest_miss(catalog, box, when)
    own = [row for row in rows.tolist() if same_crs(catalog.footprints.crs[catalog.footprints.code[row]], crs)]
    lattice = catalog.grid(own[0] if own else int(rows[0]))
    if not own or not catalog.lattice:
        raise GridError(
            f"give res=, the pixel size in units of {crs_text(crs)}: the items found are in {crs_text(lattice.crs)}"
        )
    pixels = lattice.colrow(box.corners)
    c0, r0 = np.floor(pixels.min(axis=0) + PIXEL_TOLERANCE).astype(int).tolist()
    c1, r1 = np.ceil(pixels.max(axis=0) - PIXEL_TOLERANCE).astype(int).tolist()
    return lattice.window(r0, c0, max(r1 - r0, 1), max(c1 - c0, 1))


def grid_of_slices(catalog: Catalog, crs: CRS, x: slice, y: slice, t: slice, res: Any) -> tuple[Grid, Interval]:
    """Return the grid and time of ``ds[x0:x1:xres, y0:y1:yres, t0:t1]``; an open end is that of all rows.

    Raises
    ------
    QueryError
        If the time has a step.
    """
    if t.step is not None:
        raise QueryError(f"time slice {t} has a step; use ds.series(max_len=) to thin out dates")
    bounds: Any = (x.start, y.start, x.stop, y.stop)
    if None in bounds:
        bounds = tuple(whole if v is None else v for v, whole in zip(bounds, bounds_in(catalog, crs), strict=True))
    if x.step or y.step:
        res = (x.step or y.step, y.step or x.step)
    when = Interval.parse((t.start, t.stop))
    return grid_over(catalog, bounds, crs, res, when), when
