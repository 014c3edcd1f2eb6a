"""Which rows meet a query or each other: the tree proposes, the exact test decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geodata.catalog.cover import covered_share
from geodata.catalog.footprint import Footprints, boxes84, distance_km, extents, lonlat_parts, middles
from geodata.catalog.overlap import in_time, meet, overlap_in_time
from geodata.catalog.sweep import touching
from geodata.crs import CRS, as_crs, crs_text, same_crs
from geodata.errors import CatalogError, CRSError, NoOverlapError
from geodata.grid import PIXEL_TOLERANCE, Grid
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
    if len(rows) and when != ALWAYS:
        rows = rows[in_time(catalog.time[rows], when)]
    if len(rows):
        rows = rows[meet(catalog.footprints.take(rows), asked)]
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
    met = [np.empty(0, dtype=np.int64)]
    for i, j in _touching(a, b):
        keep = overlap_in_time(a.time[i], b.time[j])
        i, j = i[keep], j[keep]
        keep = meet(a.footprints.take(i), b.footprints.take(j))
        met.append(i[keep] * len(b) + j[keep])
    # Boxes that are cut at the antimeridian touch twice.
    i, j = np.divmod(_distinct(np.concatenate(met))[0], max(len(b), 1))
    return i, j


def _distinct(numbers: Rows) -> tuple[Rows, Rows]:
    """Return the distinct numbers, sorted, and where each of the sorted ones is among them; faster than `np.unique`."""
    numbers = np.sort(numbers)
    new = np.ones(len(numbers), dtype=bool)
    new[1:] = numbers[1:] != numbers[:-1]
    return numbers[new], np.cumsum(new) - 1


def _touching(a: Catalog, b: Catalog) -> Iterator[tuple[Rows, Rows]]:
    """Yield (i, j) of rows whose boxes touch: in the CRS that all share, else in longitude and latitude."""
    crs = _plane(a.footprints)
    if crs is not None and same_crs(crs, _plane(b.footprints)) and _placed(a, crs) and _placed(b, crs):
        # What overlaps by less than the tolerance of `meet` only touches: neighbours need not come up at all.
        least = min(np.abs(fp.affine[:, 0:5:4]).min() for fp in (a.footprints, b.footprints))
        slack = PIXEL_TOLERANCE / 8 * least
        (low, high), (low_b, high_b) = extents(a.footprints), extents(b.footprints)
        yield from touching(np.hstack([low + slack, high - slack]), np.hstack([low_b, high_b]))
        return
    parts, owner = lonlat_parts(a.box84)
    parts_b, owner_b = lonlat_parts(b.box84)
    for i, j in touching(parts, parts_b):
        yield owner[i], owner_b[j]


def _plane(fp: Footprints) -> CRS | None:
    """Return the CRS of all rows if it is one, and a projected one."""
    used = np.flatnonzero(np.bincount(fp.code))
    crs = fp.crs[used[0]] if len(used) == 1 else None
    return None if crs is None or crs.is_geographic else crs


def _placed(catalog: Catalog, crs: CRS) -> bool:
    """Whether all rows surely lie somewhere on earth, not in the empty corners of a world map."""
    return bool(np.isfinite(middles(catalog.footprints, crs)).all())


def joined_rows(a: Catalog, b: Catalog, how: str) -> Rows:
    """Return the rows of a that meet, or lie within, the rows of b; see `Catalog.join`."""
    if how not in ("intersects", "within"):
        raise CatalogError(f"how={how!r} must be 'intersects' or 'within'")
    i, j = pairs(a, b)
    rows, group = _distinct(i)
    if how == "within":
        share = covered_share(a.footprints.take(i), b.footprints.take(j), group, len(rows))
        rows = rows[share > 1 - 1e-6]
    return rows


def _need_crs(catalog: Catalog) -> None:
    if len(catalog) and not catalog.has_crs:
        raise CRSError(
            "these items have no CRS, so they cannot be searched by place; use row numbers, or join(on='key')"
        )
