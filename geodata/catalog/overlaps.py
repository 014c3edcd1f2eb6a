"""Which rows of one catalog lie upon each other, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from geodata.catalog.arrow import values_of
from geodata.catalog.cover import pieces
from geodata.catalog.footprint import Footprints, extents, lonlat_parts, rings
from geodata.catalog.overlap import by_systems, upright
from geodata.catalog.sweep import touching
from geodata.crs import same_crs
from geodata.grid import PIXEL_TOLERANCE

if TYPE_CHECKING:
    from geodata.catalog.catalog import Catalog

__all__ = ["equal_rows", "items_of", "overlaps", "places"]

Rows = NDArray[np.int64]
Pairs = tuple[Rows, Rows, NDArray[np.float64]]

NARROW = 90.0
"""Degrees: boxes that are less wide lie beside each other in one way only."""


def overlaps(catalog: Catalog, least: float = 0.01) -> Pairs:
    """Return (i, j, share), i < j and sorted: rows whose exact footprints share more than ``least`` of the smaller.

    Time plays no part. Rows without a CRS lie upon each other if they are tiles of one item. A catalog keeps what was found, as
    it keeps its tree: splits with other seeds ask again.
    """
    known: dict[float, Pairs] = catalog.__dict__.setdefault("_overlaps", {})
    if least not in known:
        known[least] = _overlaps(catalog, least)
    return known[least]


def places(catalog: Catalog) -> tuple[Rows, Rows, Rows]:
    """Return (N,) which of P distinct footprints each row has, and the pairs (i, j) of those that overlap.

    A series of D dates has D (D - 1) / 2 pairs of rows at each place, and none of places.
    """
    found: tuple[Rows, Rows, Rows] | None = catalog.__dict__.get("_places")
    if found is None:
        place, first = _distinct(catalog)
        i, j, _ = overlaps(catalog if len(first) == len(catalog) else catalog.take(first))
        found = catalog.__dict__["_places"] = place, i, j
    return found


def _distinct(catalog: Catalog) -> tuple[Rows, Rows]:
    """Return (N,) numbers that are equal for equal footprints, and (P,) a row of each."""
    fp = catalog.footprints
    affine = np.ascontiguousarray(fp.affine) if catalog.has_crs else np.zeros_like(fp.affine)
    where = fp.code if catalog.has_crs else items_of(catalog)
    size = np.column_stack([fp.shape, catalog.origin * (not catalog.has_crs), where]).astype(np.int64)
    return equal_rows(np.hstack([affine.view(np.int64), size]))


def equal_rows(numbers: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Return (N,) numbers 0..P-1 that are equal for equal rows of an (N, K) array, and (P,) the first row of each."""
    rows = np.ascontiguousarray(numbers)
    kind = pa.binary(rows.itemsize * rows.shape[1])
    held = pa.Array.from_buffers(kind, len(rows), [None, pa.py_buffer(rows)])
    number = values_of(held.dictionary_encode().indices).astype(np.int64)
    first = np.full(int(number.max(initial=-1)) + 1, len(number))
    np.minimum.at(first, number, np.arange(len(number)))
    return number, first


def _overlaps(catalog: Catalog, least: float) -> Pairs:
    found = [np.empty(0, dtype=np.int64)]
    shares = [np.empty(0)]
    n = max(len(catalog), 1)
    boxes = _Boxes.of(catalog)
    for i, j in _candidates(catalog, boxes) if catalog.has_crs else _touching_tiles(catalog):
        i, j = i[i < j], j[i < j]
        share = _shares(catalog.footprints, boxes, i, j)
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


@dataclass(frozen=True, slots=True)
class _Boxes:
    """(N, 2) low and high corners in each row's system, and (N,) which system that is: -1 where a row is no upright box."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    system: NDArray[np.int64]
    turns: NDArray[np.bool_]
    """Per system, whether it has longitudes."""

    @classmethod
    def of(cls, catalog: Catalog) -> _Boxes:
        fp = catalog.footprints
        if not catalog.has_crs:
            low = catalog.origin.astype(np.float64)
            return cls(low, low + catalog.shape, np.zeros(len(low), dtype=np.int64), np.zeros(1, dtype=bool))
        low, high = extents(fp)
        alike = np.array([next(k for k, b in enumerate(fp.crs) if same_crs(a, b)) for a in fp.crs], dtype=np.int64)
        turns = np.array([crs is not None and crs.is_geographic for crs in fp.crs], dtype=bool)
        system = alike[fp.code]
        plain = upright(fp) & ~(turns[system] & (high - low > NARROW).any(axis=1))
        return cls(low, high, np.where(plain, system, -1), turns)

    def shared(self, i: Rows, j: Rows) -> NDArray[np.float64]:
        """Return how much of the smaller box the other covers; both are of one system."""
        turn = np.zeros((len(i), 2))
        if self.turns[self.system[i]].any():
            apart = (self.low + self.high)[i, 0] - (self.low + self.high)[j, 0]
            turn[:, 0] = np.where(self.turns[self.system[i]], 360.0 * np.round(apart / 720.0), 0.0)
        across = np.minimum(self.high[i], self.high[j] + turn) - np.maximum(self.low[i], self.low[j] + turn)
        area = (self.high - self.low).prod(axis=1)
        share: NDArray[np.float64] = np.maximum(across, 0).prod(axis=1) / np.minimum(area[i], area[j])
        return share


def _candidates(catalog: Catalog, boxes: _Boxes) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows that may overlap: boxes of one plane are compared in it, where neighbours only touch, others on the globe."""
    placed = ~np.isnan(catalog.box84[:, 0])
    flat = np.where(placed & ~boxes.turns[boxes.system], boxes.system, -1)
    slack = PIXEL_TOLERANCE / 8 * np.abs(catalog.affine[:, 0:5:4])
    for one in np.unique(flat[flat >= 0]).tolist():
        rows = np.flatnonzero(flat == one)
        low, high = boxes.low[rows] + slack[rows], boxes.high[rows] - slack[rows]
        for i, j in touching(*[np.hstack([low, high])] * 2):
            yield rows[i], rows[j]
    parts, owner = lonlat_parts(catalog.box84)
    kept = _near_others(parts, flat[owner])
    parts, owner = parts[kept], owner[kept]
    for i, j in touching(parts, parts):
        i, j = owner[i], owner[j]
        other = (flat[i] != flat[j]) | (flat[i] < 0)
        yield i[other], j[other]


def _near_others(parts: NDArray[np.float64], flat: Rows) -> Rows:
    """Return the boxes on the globe that touch what boxes of other planes span; all of those that are in no plane."""
    kinds, kind = np.unique(flat, return_inverse=True)
    span = np.array([[*parts[kind == k, :2].min(axis=0), *parts[kind == k, 2:].max(axis=0)] for k in range(len(kinds))])
    near = flat < 0
    for k in range(len(kinds)):
        beside = (parts[:, :2] <= span[k, 2:]).all(axis=1) & (parts[:, 2:] >= span[k, :2]).all(axis=1)
        near |= beside & (kind != k)
    return np.flatnonzero(near)


def _touching_tiles(catalog: Catalog) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows whose pixels touch, of one item: items are laid out far apart from each other."""
    low = catalog.origin.astype(np.float64)
    high = low + catalog.shape
    aside = items_of(catalog) * (2.0 * high[:, 0].max(initial=1))
    yield from touching(*[np.column_stack([low[:, 1], low[:, 0] + aside, high[:, 1], high[:, 0] + aside])] * 2)


def _shares(fp: Footprints, boxes: _Boxes, i: Rows, j: Rows) -> NDArray[np.float64]:
    """Return (P,) how much of the smaller of rows i[k] and j[k] the other covers."""
    out = np.zeros(len(i))
    plain = (boxes.system[i] == boxes.system[j]) & (boxes.system[i] >= 0)
    out[plain] = boxes.shared(i[plain], j[plain])
    others = np.flatnonzero(~plain)
    a, b = fp.take(i[others]), fp.take(j[others])
    for rows, _, _ in by_systems(a, b):
        first, second = a.take(rows), b.take(rows)
        # Each against its own area: square metres of two projections differ.
        of_a = shapely.area(pieces(first, second)) / shapely.area(shapely.polygons(rings(first)))
        of_b = shapely.area(pieces(second, first)) / shapely.area(shapely.polygons(rings(second)))
        out[others[rows]] = np.maximum(of_a, of_b)
    return out
