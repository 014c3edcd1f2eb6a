"""Which pixels of a catalog's rows lie in a region: polygons with holes, in any CRS, decided at pixel centres."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
import shapely.errors
import shapely.geometry
from numpy.typing import NDArray

from geodata.catalog import Catalog
from geodata.catalog.footprint import project
from geodata.crs import as_crs, crs_text
from geodata.errors import SamplerError
from geodata.samplers.conditions.cells import Boxes, Cells

__all__ = ["Region"]

CELL = 32
"""Side in pixels of the cells in which the pixels of rows on the outline of a region are counted."""

_SIDES = (512, 128, CELL)
"""Blocks that the outline does not meet need no finer look."""

_BATCH = 1 << 20
"""Cells, or pixels, that are looked at together."""

_LINEAR, _MARGIN = 0.1, 0.25
"""A block whose middles stray by less than a tenth of its size lies within its box and a quarter around."""


class Region:
    """Polygons in one CRS.

    A pixel lies inside if its centre, transformed to that CRS, does: edges are straight lines there. On the outline is
    outside. In a geographic CRS longitudes that differ by 360 degrees are one place, so a region over the antimeridian may
    leave [-180, 180], or be given as two polygons.

    Parameters
    ----------
    within : shapely polygon, list of them (their union), GeoJSON mapping, or an object with ``__geo_interface__``
    crs : anything that names a CRS; no default

    Raises
    ------
    SamplerError
        If there is no CRS, or no valid polygon with an area.
    """

    def __init__(self, within: Any, crs: Any) -> None:
        system = as_crs(crs)
        if system is None:
            raise SamplerError("within= needs crs=, the CRS of its coordinates; there is no default")
        self.crs = system
        polygons = list(_polygons(within))
        for polygon in polygons:
            if polygon.geom_type not in ("Polygon", "MultiPolygon") or polygon.is_empty:
                raise SamplerError(
                    f"within= takes polygons with an area, got a {polygon.geom_type}: {str(polygon)[:60]}"
                )
            if not polygon.is_valid:
                raise SamplerError(
                    f"a polygon of within= is not valid: {shapely.is_valid_reason(polygon)}; repair it (shapely.make_valid) "
                    "and look whether the result is what you mean"
                )
        if not polygons:
            raise SamplerError("within= holds no polygon")
        self._area = shapely.union_all(polygons)
        self._edge = shapely.boundary(self._area)
        shapely.prepare([self._area, self._edge])
        low, _, high, _ = shapely.bounds(self._area).tolist()
        period = math.tau / system.axis_info[0].unit_conversion_factor if system.is_geographic else math.inf
        self._turns = [0.0] if math.isinf(period) else [-period, 0.0, period]
        self._reach = low, high

    @property
    def digest(self) -> str:
        """Fingerprint of the polygons and their CRS."""
        text = crs_text(self.crs).encode() + shapely.to_wkb(shapely.normalize(self._area), byte_order=1)
        return hashlib.sha256(text).hexdigest()[:16]

    def cells(self, catalog: Catalog) -> Cells:
        """Return how many pixels of each row lie inside, per cell, ready to answer for every window exactly.

        Raises
        ------
        SamplerError
            If rows have no CRS.
        """
        if not catalog.has_crs:
            raise SamplerError("rows without a CRS lie nowhere on earth; within= cannot place them")
        shape = np.array(catalog.shape, dtype=np.int64)
        rows = np.arange(len(shape))
        states = self._states(catalog, rows, np.column_stack([np.zeros_like(shape), shape]))
        mixed = np.flatnonzero(states < 0)
        side = shape.max(axis=1)
        side[mixed] = CELL
        grid = -(-shape // side[:, None])
        first = np.cumsum(grid.prod(axis=1)) - grid.prod(axis=1)
        count = np.zeros(int(grid.prod(axis=1).sum()), dtype=np.int64)
        inside = np.flatnonzero(states > 0)
        count[first[inside]] = shape[inside].prod(axis=1)
        cut: list[NDArray[np.int64]] = []
        bits: list[NDArray[np.uint8]] = []
        for some in _batches(mixed, grid[mixed].prod(axis=1), _BATCH):
            of, boxes, states = self._blocks(catalog, some)
            cells = first[of] + boxes[:, 0] // CELL * grid[of, 1] + boxes[:, 1] // CELL
            count[cells] = np.where(states > 0, (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 0)
            open_ = np.flatnonzero(states < 0)
            for few in _batches(open_, np.full(len(open_), CELL**2), _BATCH):
                seen = self._pixels(catalog, of[few], boxes[few])
                count[cells[few]] = seen.sum(axis=(1, 2))
                cut.append(cells[few])
                bits.append(np.packbits(seen.reshape(len(few), -1), axis=1))
        return Cells(shape, side, count, _Masks(cut, bits))

    def _blocks(self, catalog: Catalog, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Boxes, NDArray[np.int64]]:
        """Cut rows into cells; return the row of each, its pixels, and 1, 0 or -1: inside, outside, not known."""
        shape = catalog.shape[rows]
        boxes, states = np.column_stack([np.zeros_like(shape), shape]), np.full(len(rows), -1)
        for side in _SIDES:
            of, boxes = _divided(boxes, side)
            rows, states = rows[of], states[of]
            unknown = np.flatnonzero(states < 0)
            states[unknown] = self._states(catalog, rows[unknown], boxes[unknown])
        return rows, boxes, states

    def _states(self, catalog: Catalog, rows: NDArray[np.int64], boxes: Boxes) -> NDArray[np.int64]:
        """Return 1 where all pixels of a block are inside, 0 where none is, -1 where a closer look is needed."""
        third = np.array([0.0, 0.5, 1.0])
        size = boxes[:, 2:] - boxes[:, :2]
        r = boxes[:, 0, None, None] + size[:, 0, None, None] * third[:, None]
        c = boxes[:, 1, None, None] + size[:, 1, None, None] * third
        at = self._located(catalog, rows, *np.broadcast_arrays(r, c)).reshape(-1, 9, 2)
        with np.errstate(invalid="ignore"):
            low, high = at.min(axis=1), at.max(axis=1)
            extent = high - low
            ends = at[:, [[0, 2], [0, 6], [2, 8], [6, 8], [0, 8]]].mean(axis=2)
            strays = np.abs(at[:, [1, 3, 5, 7, 4]] - ends).max(axis=1)
            simple = (np.isfinite(extent) & (strays <= _LINEAR * extent.max(axis=1, keepdims=True))).all(axis=1)
        states = np.full(len(rows), -1, dtype=np.int64)
        low, high, middle = (v[simple] for v in (low - _MARGIN * extent, high + _MARGIN * extent, at[:, 4]))
        clear = np.ones(len(low), dtype=bool)
        for turn in self._turns:
            boxes_there = shapely.box(low[:, 0] + turn, low[:, 1], high[:, 0] + turn, high[:, 1])
            clear &= ~shapely.intersects(self._edge, boxes_there)
        states[simple] = np.where(clear, self._contains(middle[:, 0], middle[:, 1]), -1)
        return states

    def _pixels(self, catalog: Catalog, rows: NDArray[np.int64], boxes: Boxes) -> NDArray[np.bool_]:
        """Return (n, CELL, CELL), which pixels of cells are inside; False beyond the end of the row."""
        step = np.arange(CELL) + 0.5
        r, c = np.broadcast_arrays(boxes[:, 0, None, None] + step[:, None], boxes[:, 1, None, None] + step)
        at = self._located(catalog, rows, r, c)
        return self._contains(at[..., 0], at[..., 1]) & (r < boxes[:, 2, None, None]) & (c < boxes[:, 3, None, None])

    def _located(
        self, catalog: Catalog, rows: NDArray[np.int64], r: NDArray[np.float64], c: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return (n, h, w, 2) places of the region's CRS for (n, h, w) positions in rows."""
        m = catalog.affine[rows].T[:, :, None, None]
        xy = np.stack([m[0] * c + m[1] * r + m[2], m[3] * c + m[4] * r + m[5]], axis=-1)
        code = catalog.footprints.code[rows]
        for each in np.unique(code):
            system = catalog.footprints.crs[each]
            here = code == each
            if system is not None:
                xy[here] = project(xy[here], system, self.crs)
        return xy

    def _contains(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        inside = np.zeros(x.shape, dtype=bool)
        known = np.isfinite(x)
        for turn in self._turns:
            near = np.nonzero(known & (x + turn >= self._reach[0]) & (x + turn <= self._reach[1]))
            inside[near] |= shapely.contains_xy(self._area, x[near] + turn, y[near])
        return inside


class _Masks:
    """The pixels of the cells that the outline cuts."""

    def __init__(self, cells: Sequence[NDArray[np.int64]], bits: Sequence[NDArray[np.uint8]]) -> None:
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *cells])
        order = np.argsort(numbers)
        self._cells = numbers[order]
        self._bits = np.concatenate([np.empty((0, CELL**2 // 8), dtype=np.uint8), *bits])[order]

    def __call__(
        self, cells: NDArray[np.int64], count: NDArray[np.int64], area: NDArray[np.int64], boxes: Boxes
    ) -> NDArray[np.int64]:
        out = np.where(count == area, (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 0)
        mixed = np.flatnonzero((count > 0) & (count < area))
        step = np.arange(CELL)
        for some in _batches(mixed, np.full(len(mixed), CELL**2), _BATCH):
            seen = np.unpackbits(self._bits[np.searchsorted(self._cells, cells[some])], axis=1).reshape(-1, CELL, CELL)
            low, high = boxes[some, :2, None], boxes[some, 2:, None]
            down, across = (((step >= low[:, k]) & (step < high[:, k])).astype(np.int64) for k in (0, 1))
            out[some] = np.einsum("nrc,nr,nc->n", seen, down, across)
        return out


def _batches(values: NDArray[np.int64], costs: NDArray[np.int64], limit: int) -> Iterator[NDArray[np.int64]]:
    """Yield runs of values whose costs add up to about a limit."""
    turn = (np.cumsum(costs) - costs) // limit
    yield from (part for part in np.split(values, np.flatnonzero(np.diff(turn)) + 1) if len(part))


def _divided(boxes: Boxes, side: int) -> tuple[NDArray[np.int64], Boxes]:
    """Cut boxes into squares; return the box of each, and its pixels."""
    down, across = (-(-(boxes[:, 2:] - boxes[:, :2]) // side)).T
    of = np.repeat(np.arange(len(boxes)), down * across)
    nth = np.arange(len(of)) - np.repeat(np.cumsum(down * across) - down * across, down * across)
    low = boxes[of, :2] + np.column_stack([nth // across[of], nth % across[of]]) * side
    return of, np.column_stack([low, np.minimum(low + side, boxes[of, 2:])])


def _polygons(within: Any) -> Iterator[Any]:
    if isinstance(within, shapely.Geometry):
        yield within
    elif hasattr(within, "__geo_interface__"):
        yield from _polygons(within.__geo_interface__)
    elif isinstance(within, Mapping):
        try:
            yield from _polygons(_parsed(within))
        except (KeyError, TypeError, ValueError, IndexError, shapely.errors.ShapelyError) as error:
            if isinstance(error, SamplerError):
                raise
            raise SamplerError(f"within= is no GeoJSON of polygons: {type(error).__name__} {error}") from None
    elif isinstance(within, Sequence) and not isinstance(within, str):
        for each in within:
            yield from _polygons(each)
    else:
        raise SamplerError(f"within= takes shapely polygons or GeoJSON, got {type(within).__name__}")


def _parsed(geojson: Mapping[str, Any]) -> Any:
    """Return what a mapping of GeoJSON holds: a polygon, or more of them to look into."""
    kind = geojson.get("type")
    if kind == "FeatureCollection":
        return list(geojson["features"])
    if kind == "Feature":
        return geojson["geometry"]
    if kind in ("Polygon", "MultiPolygon"):
        return shapely.geometry.shape(geojson)
    raise SamplerError(f"within= is a mapping of type {kind!r}; give GeoJSON polygons")
