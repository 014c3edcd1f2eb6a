"""Which rows of one catalog lie upon each other, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.catalog.cover import pieces
from geodata.catalog.footprint import Footprints, extents, rings
from geodata.catalog.overlap import by_systems, upright
from geodata.catalog.search import touching_rows
from geodata.catalog.sweep import touching
from geodata.crs import same_crs

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["items_of", "overlaps"]

Rows = NDArray[np.int64]


def overlaps(catalog: Catalog, least: float = 0.01) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Return (i, j, share), i < j and sorted: rows whose exact footprints share more than ``least`` of the smaller.

    Time plays no part. Rows without a CRS lie upon each other if they are tiles of one item. A catalog keeps what was found, as
    it keeps its tree: a split and its audit both ask.
    """
    known: dict[float, tuple[Rows, Rows, NDArray[np.float64]]] = catalog.__dict__.setdefault("_overlaps", {})
    if least not in known:
        known[least] = _overlaps(catalog, least)
    return known[least]


def _overlaps(catalog: Catalog, least: float) -> tuple[Rows, Rows, NDArray[np.float64]]:
    found = [np.empty(0, dtype=np.int64)]
    shares = [np.empty(0)]
    n = max(len(catalog), 1)
    for i, j in touching_rows(catalog, catalog) if catalog.has_crs else _touching_tiles(catalog):
        i, j = i[i < j], j[i < j]
        share = _shares(catalog.footprints.take(i), catalog.footprints.take(j))
        keep = share > least
        found.append(i[keep] * n + j[keep])
        shares.append(share[keep])
    # Boxes that are cut at the antimeridian touch twice.
    numbers, first = np.unique(np.concatenate(found), return_index=True)
    return numbers // n, numbers % n, np.concatenate(shares)[first]


def items_of(catalog: Catalog) -> Rows:
    """Return (N,) numbers that are equal for tiles of one item."""
    if "tile_of" not in catalog.table.column_names:
        return np.arange(len(catalog))
    numbers: Rows = np.unique(catalog.column("tile_of").astype(str), return_inverse=True)[1]
    return numbers


def _touching_tiles(catalog: Catalog) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows whose pixels touch, of one item: items are laid out far apart from each other."""
    low = catalog.origin.astype(np.float64)
    high = low + catalog.shape
    aside = items_of(catalog) * (2.0 * high[:, 0].max(initial=1))
    yield from touching(*[np.column_stack([low[:, 1], low[:, 0] + aside, high[:, 1], high[:, 0] + aside])] * 2)


def _shares(a: Footprints, b: Footprints) -> NDArray[np.float64]:
    """Return (N,) how much of the smaller of a[i] and b[i] the other covers."""
    out = np.zeros(len(a))
    plain = np.flatnonzero(upright(a) & upright(b) & _in_one_plane(a, b))
    first, second = a.take(plain), b.take(plain)
    (low_a, high_a), (low_b, high_b) = extents(first), extents(second)
    shared = np.maximum(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0).prod(axis=1)
    out[plain] = shared / np.minimum((high_a - low_a).prod(axis=1), (high_b - low_b).prod(axis=1))
    for rows, _, _ in by_systems(a, b):
        rest = rows[~np.isin(rows, plain)]
        if len(rest):
            first, second = a.take(rest), b.take(rest)
            # Each against its own area: square metres of two projections differ.
            of_a = shapely.area(pieces(first, second)) / shapely.area(shapely.polygons(rings(first)))
            of_b = shapely.area(pieces(second, first)) / shapely.area(shapely.polygons(rings(second)))
            out[rest] = np.maximum(of_a, of_b)
    return out


def _in_one_plane(a: Footprints, b: Footprints) -> NDArray[np.bool_]:
    """Return (N,) whether both have the same projected CRS, or none."""
    same = np.zeros((len(a.crs), len(b.crs)), dtype=np.bool_)
    for k, first in enumerate(a.crs):
        for m, second in enumerate(b.crs):
            same[k, m] = same_crs(first, second) and (first is None or not first.is_geographic)
    flags: NDArray[np.bool_] = same[a.code, b.code]
    return flags
