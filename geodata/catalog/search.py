"""Which rows meet a query or each other: the tree proposes, the exact test decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog.footprint import Footprints, boxes84, distance_km
from geodata.catalog.overlap import covered_share, in_time, meet, overlap_in_time
from geodata.crs import as_crs, crs_text
from geodata.errors import CatalogError, CRSError, NoOverlapError
from geodata.grid import Grid
from geodata.interval import ALWAYS, Interval

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["joined_rows", "nearest_miss", "pairs", "search"]

Rows = NDArray[np.int64]


def search(catalog: Catalog, bounds: Any, crs: Any, when: Interval) -> Rows:
    """Return the rows that share area and time with a box; see `Catalog.search`."""
    _need_crs(catalog)
    system = bounds.crs if isinstance(bounds, Grid) else as_crs(crs)
    if system is None:
        raise CRSError("the query has no CRS; say in which CRS the bounds are, for example crs='EPSG:4326'")
    asked = Footprints.of(bounds if isinstance(bounds, Grid) else Grid.of_box(_with_area(bounds), system))
    try:
        box = boxes84(asked)
    except CRSError:
        raise CRSError(
            f"the query lies outside the domain of {crs_text(system)[:40]}; give its bounds in another CRS"
        ) from None
    rows = catalog.tree.candidates(box, (when.start, when.end))
    if len(rows):
        rows = rows[in_time(catalog.time[rows], when)]
    if len(rows):
        rows = rows[meet(catalog.footprints.take(rows), asked.take(np.zeros(len(rows), dtype=np.int64)))]
    return rows


def _with_area(bounds: Any) -> Any:
    """Give a point, or a line along an axis, the smallest extent to the right and downwards: items are half-open."""
    try:
        left, bottom, right, top = (float(v) for v in bounds)
    except (TypeError, ValueError):
        return bounds  # the check of bounds says what is wrong
    speck = 1e-9 * max(1.0, abs(left), abs(bottom), abs(right), abs(top))
    return left, bottom - speck if top == bottom else bottom, right + speck if right == left else right, top


def nearest_miss(catalog: Catalog, target: Grid, when: Interval = ALWAYS) -> NoOverlapError:
    """Return the error for a query that meets nothing: it names the nearest item and its distance."""
    left, _, _, top = target.bounds
    size = f"{target.width}x{target.height} at {crs_text(target.crs)[:40]}"
    found = f"query {size} ({left:.10g}, {top:.10g}) meets none of {len(catalog)} items"
    if not len(catalog):
        return NoOverlapError(f"{found}: the catalog is empty")
    in_place = search(catalog, target, None, ALWAYS)
    if len(in_place):
        first = catalog.interval(int(in_place[0]))
        return NoOverlapError(f"{found} in time {when!r}; in place there are {len(in_place)}, the first of {first!r}")
    distance = distance_km(catalog.box84, boxes84(Footprints.of(target))[0])
    row = int(np.nanargmin(distance))
    return NoOverlapError(f"{found}; nearest is {catalog.key[row]!r}, {distance[row]:.1f} km away")


def pairs(a: Catalog, b: Catalog) -> tuple[Rows, Rows]:
    """Return (i, j): row i of a meets row j of b in area and time; sorted."""
    _need_crs(a)
    _need_crs(b)
    i, j = b.tree.pairs(a.box84, a.time)
    keep = overlap_in_time(a.time[i], b.time[j])
    i, j = i[keep], j[keep]
    keep = meet(a.footprints.take(i), b.footprints.take(j))
    return i[keep], j[keep]


def joined_rows(a: Catalog, b: Catalog, how: str) -> Rows:
    """Return the rows of a that meet, or lie within, the rows of b; see `Catalog.join`."""
    if how not in ("intersects", "within"):
        raise CatalogError(f"how={how!r} must be 'intersects' or 'within'")
    i, j = pairs(a, b)
    rows, group = np.unique(i, return_inverse=True)
    if how == "within":
        share = covered_share(a.footprints.take(i), b.footprints.take(j), group, len(rows))
        rows = rows[share > 1 - 1e-6]
    return rows


def _need_crs(catalog: Catalog) -> None:
    if len(catalog) and not catalog.has_crs:
        raise CRSError(
            "these items have no CRS, so they cannot be searched by place; use row numbers, or join(on='key')"
        )
