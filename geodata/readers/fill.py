"""The pixels of many polygons at once, by the rule of GDAL's rasterizer and to its last bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.grid import Grid
from geodata.readers.way import Geometries, Points

__all__ = ["Runs", "paint", "runs_of"]

_POLYGON, _MULTIPOLYGON = 3, 6
_MOST_CROSSINGS = 2_000_000
_AT_ONCE = 2**20  # pixels
_HALF = 0.5  # the centre of a pixel


@dataclass(frozen=True, eq=False, slots=True)
class Runs:
    """Stretches of pixels along the rows of a grid, in the order of the geometries that take them.

    Parameters
    ----------
    owner : (R,) int64, ascending
        The geometry that takes a run.
    start : (R,) int64
        First pixel: row * width + column.
    length : (R,) int64, >= 1
        Pixels, all in one row of the grid.
    """

    owner: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]


def runs_of(geometries: Geometries, grid: Grid) -> Runs | None:
    """Find the pixels whose centres polygons hold.

    GDAL draws one polygon after the other, each from Python objects made for it, under Python's lock. Here the rows that
    all edges cross are worked out together, with GDAL's own arithmetic: what lies on the centre of a pixel falls to the
    same side. Holes and crossings count even-odd within a polygon; the parts of a multipolygon are drawn one by one.

    Parameters
    ----------
    geometries : (M,) shapely geometries in the CRS of the grid
    grid : Grid

    Returns
    -------
    Runs, or None if GDAL has to draw: some geometry is no polygon, an edge lies along the middle of a row (GDAL may take
    its pixels, by the sense of its ring), or there are so many long edges that GDAL needs less memory
    """
    kinds = shapely.get_type_id(geometries)
    if not ((kinds == _POLYGON) | (kinds == _MULTIPOLYGON)).all():
        return None
    owner = None
    if (kinds == _MULTIPOLYGON).any():
        geometries, owner = shapely.get_parts(geometries, return_index=True)
    rings, polygon = geometries, None
    if shapely.get_num_interior_rings(geometries).any():
        rings, polygon = shapely.get_rings(geometries, return_index=True)
    x, y = _on_pixels(shapely.get_coordinates(rings), grid)
    found = _crossings(x, y, shapely.get_num_coordinates(rings), polygon, grid)
    if found is None or owner is None:
        return found
    return Runs(owner[found.owner], found.start, found.length)


def paint(out: NDArray[Any], runs: Runs, values: NDArray[Any], plane: int = 0) -> None:
    """Write the value of its owner into every pixel of every run; a later run covers an earlier one.

    Parameters
    ----------
    out : C-contiguous array, filled in place
    runs : Runs
    values : (M,) one per owner
    plane : int
        Pixels from one owner's part of ``out`` to the next one's; 0 if all draw on the same.
    """
    flat = out.reshape(-1)
    first = 0
    ends = np.cumsum(runs.length)
    while first < len(ends):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        part = slice(first, last)
        owner, length = runs.owner[part], runs.length[part]
        offset = runs.start[part] - (ends[part] - length - done)
        if plane:
            offset = offset + plane * owner
        pixels = np.repeat(offset, length)
        pixels += np.arange(len(pixels))
        flat[pixels] = np.repeat(values[owner], length)
        first = last


def _on_pixels(xy: Points, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return columns and rows of points, rounded as GDAL rounds them: it inverts the transform first."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    x, y = xy[:, 0], xy[:, 1]
    if b == 0 and d == 0:
        return -c / a + x * (1 / a), -f / e + y * (1 / e)
    scale = 1 / (a * e - b * d)
    col = (b * f - c * e) * scale + x * (e * scale) + y * (-b * scale)
    row = (-a * f + c * d) * scale + x * (-d * scale) + y * (a * scale)
    return col, row


def _crossings(
    x: NDArray[np.float64], y: NDArray[np.float64], sizes: NDArray[Any], polygon: NDArray[np.int64] | None, grid: Grid
) -> Runs | None:
    """Cross all edges with the middles of all rows; the runs lie between a crossing and the next of the same polygon."""
    height, width = grid.shape
    ends = np.cumsum(sizes)
    level = y[:-1] == y[1:]
    if level.any() and _in_the_middle(y[1:][level], height):
        return None
    low, high = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
    first = np.ceil(np.minimum(np.maximum(low - _HALF, 0), height))
    rows = np.ceil(np.minimum(np.maximum(high - _HALF, 0), height)) - first
    rows[ends[(ends > 0) & (ends < len(y))] - 1] = 0  # from one ring to the next there is no edge
    edge = np.flatnonzero(rows)
    count = rows[edge].astype(np.int64)
    past = np.cumsum(count)
    if len(past) and past[-1] > _MOST_CROSSINGS:
        return None
    low, high = low[edge], high[edge]
    rising = y[edge] == low
    foot, head = np.where(rising, x[edge], x[edge + 1]), np.where(rising, x[edge + 1], x[edge])
    ring = np.searchsorted(ends, edge, side="right")
    number = ring if polygon is None else polygon[ring]
    of = np.repeat(np.arange(len(edge)), count)
    row = np.arange(len(of)) + (first[edge] - (past - count))[of]
    col = np.floor((row + _HALF - low[of]) * (head - foot)[of] / (high - low)[of] + foot[of] + _HALF)
    key = ((number * height)[of] + row.astype(np.int64)) * (width + 1)
    key += np.minimum(np.maximum(col, 0), width).astype(np.int64)
    key.sort()
    start, length = key[::2], key[1::2] - key[::2]
    held = np.flatnonzero(length)
    line, column = np.divmod(start[held], width + 1)
    owner = line // height
    return Runs(owner, (line - owner * height) * width + column, length[held])


def _in_the_middle(y: NDArray[np.float64], height: int) -> bool:
    return bool(((y - np.floor(y) == _HALF) & (y > 0) & (y < height)).any())
