"""From features on a grid to what a model learns from: masks, boxes and instance masks."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from geodata.errors import CatalogError, DtypeError
from geodata.grid import PIXEL_TOLERANCE, Grid
from geodata.readers.base import quietly
from geodata.readers.fill import paint, runs_of
from geodata.readers.geometry import MARGIN, grown
from geodata.readers.vector import Features
from geodata.readers.way import Geometries, mend

__all__ = ["boxes_on", "burn", "instances_on"]

_POLYGON = 3


def burn(
    features: Features,
    values: NDArray[Any],
    grid: Grid,
    *,
    background: int,
    all_touched: bool = False,
    out: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Draw one value per feature; a later feature covers an earlier one.

    A pixel belongs to a polygon that holds its centre. Lines take the pixels of a line drawn from vertex to vertex,
    points the pixel they lie in. The result is that of ``rasterio.features.rasterize`` over all features of the layer,
    also for values that do not fit into 32 bits.

    Parameters
    ----------
    features : Features, from `features_on` the same grid
    values : (M,) integers or bool, within int64
    grid : Grid
    background : int, within int64
        Where there is no feature.
    all_touched : bool
        Take every pixel that a feature touches.
    out : (H, W) int64 or None
        Filled in place, every pixel of it.

    Returns
    -------
    (H, W) int64

    Raises
    ------
    DtypeError
        If values or background are no integers within int64.
    CatalogError
        If there is not one value per feature.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iub" or not _fits(values):
        raise DtypeError(
            f"values of dtype {values.dtype} cannot be burned; map them to integers within int64 first "
            "(missing values too: they need a number of their own)"
        )
    if not isinstance(background, int | np.integer) or not -(2**63) <= int(background) < 2**63:
        raise DtypeError(f"background {background!r} must be an integer within int64")
    if values.shape != (len(features),):
        raise CatalogError(f"values of shape {values.shape} for {len(features)} features; give one value per feature")
    drawn = np.empty(grid.shape, dtype=np.int64) if out is None else out
    runs = None if all_touched or not drawn.flags.c_contiguous else runs_of(features.geometries, grid)
    if runs is not None:
        drawn[:] = background
        paint(drawn, runs, values)
        return drawn
    # Numbers of features go through GDAL, not the values: it would turn those into floats.
    numbers = _draw(features.geometries, np.arange(1, len(features) + 1), grid, all_touched)
    table = np.empty(len(features) + 1, dtype=np.int64)
    table[0], table[1:] = background, values
    drawn[:] = table.take(numbers)
    return drawn


def boxes_on(features: Features, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put a box around the part of each feature that lies on the grid.

    Points and lines have no area and get no box; nor do polygons that only touch the grid, or reach into it by no more
    than 1e-6 px.

    Parameters
    ----------
    features : Features, from `features_on` the same grid
    grid : Grid

    Returns
    -------
    boxes : (K, 4) float32, x0, y0, x1, y1 in pixels: x from 0 to W, y from 0 to H, not rounded to whole pixels
    kept : (K,) int64, ascending
        The features that the boxes belong to, as rows of ``features``.
    """
    height, width = grid.shape
    parts, owner = _polygons(shapely.transform(features.geometries, grid.colrow))
    bounds = shapely.bounds(parts)
    met = (bounds[:, :2] < (width, height)).all(axis=1) & (bounds[:, 2:] > 0).all(axis=1)
    parts, owner, bounds = parts[met], owner[met], bounds[met]
    # The area of a polygon that crosses itself may cancel out, and GEOS does not cut such polygons.
    cut = (bounds[:, :2] < 0).any(axis=1) | (bounds[:, 2:] > (width, height)).any(axis=1)
    odd = np.flatnonzero(cut | (shapely.area(parts) == 0))
    for place in odd[~shapely.is_valid(parts[odd])].tolist():
        parts[place] = mend(parts[place])
    parts[odd] = shapely.intersection(parts[odd], shapely.box(0, 0, width, height))
    parts, place = _polygons(parts)
    owner = owner[place]
    solid = shapely.area(parts) > 0
    kept, group = np.unique(owner[solid], return_inverse=True)
    boxes = np.empty((len(kept), 4))
    boxes[:, :2], boxes[:, 2:] = np.inf, -np.inf
    bounds = shapely.bounds(parts[solid])
    np.minimum.at(boxes[:, :2], group, bounds[:, :2])
    np.maximum.at(boxes[:, 2:], group, bounds[:, 2:])
    out = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
    real = (boxes[:, 2:] - boxes[:, :2] > PIXEL_TOLERANCE).all(axis=1) & (out[:, 2:] > out[:, :2]).all(axis=1)
    return out[real], kept[real]


def instances_on(
    features: Features, grid: Grid, *, all_touched: bool = False
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Draw each feature by itself.

    Parameters
    ----------
    features : Features, from `features_on` the same grid
    grid : Grid
    all_touched : bool
        Take every pixel that a feature touches.

    Returns
    -------
    instances : (K, H, W) bool
    kept : (K,) int64, ascending
        The features that take at least one pixel, as rows of ``features``.
    """
    geometries = features.geometries
    masks = np.zeros((len(features), *grid.shape), dtype=np.bool_)
    runs = None if all_touched else runs_of(geometries, grid)
    if runs is not None:
        paint(masks, runs, np.ones(len(features), dtype=np.bool_), plane=grid.height * grid.width)
    else:
        _draw_each(geometries, grid, all_touched, masks)
    kept = np.flatnonzero(masks.any(axis=(1, 2)))
    return (masks if len(kept) == len(masks) else masks[kept]), kept


def _draw_each(geometries: Geometries, grid: Grid, all_touched: bool, masks: NDArray[np.bool_]) -> None:
    corner, opposite = _pixel_boxes(geometries, grid)
    # Features that keep apart are drawn in one go: a call of GDAL costs more than a polygon.
    for members in _apart(corner, opposite):
        numbers = _draw(geometries[members], np.arange(1, len(members) + 1), grid, all_touched)
        for number, member in enumerate(members.tolist(), start=1):
            (left, top), (right, bottom) = corner[member], opposite[member]
            masks[member, top:bottom, left:right] = numbers[top:bottom, left:right] == number


def _fits(values: NDArray[Any]) -> bool:
    return values.dtype != np.uint64 or not values.size or int(values.max()) < 2**63


def _simple(geometries: Geometries) -> tuple[Geometries, NDArray[np.int64]]:
    """Return all points, lines and polygons inside of geometries, and the geometry that each is part of."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    while (shapely.get_type_id(parts) > _POLYGON).any():
        parts, deeper = shapely.get_parts(parts, return_index=True)
        owner = owner[deeper]
    held = ~shapely.is_empty(parts)
    return parts[held], owner[held]


def _polygons(geometries: Geometries) -> tuple[Geometries, NDArray[np.int64]]:
    parts, owner = _simple(geometries)
    solid = shapely.get_type_id(parts) == _POLYGON
    return parts[solid], owner[solid]


def _draw(geometries: Geometries, numbers: NDArray[Any], grid: Grid, all_touched: bool) -> NDArray[np.int32]:
    """Draw ascending numbers, 0 where there is nothing."""
    if not all_touched:
        return _rasterize(geometries, numbers, grid, np.zeros(grid.shape, dtype=np.int32))
    # GDAL 3.10 writes outside of its memory where a touched outline leaves the raster. So areas are filled, and the
    # outlines drawn, cut off, on a raster that holds them whole; what is later in the file has the greater number.
    parts, owner = _simple(geometries)
    solid, line = (shapely.get_dimensions(parts) == n for n in (2, 1))
    rings, ring_of = shapely.get_rings(parts[solid], return_index=True)
    outlines, of = np.concatenate([parts[line], rings]), np.concatenate([owner[line], owner[solid][ring_of]])
    order, edge = np.argsort(of, kind="stable"), 2 * MARGIN
    cut, wide = _cropped(outlines[order], grown(grid, MARGIN)), grown(grid, edge)
    touched = _rasterize(cut, numbers[of[order]], wide, np.zeros(wide.shape, dtype=np.int32), all_touched=True)
    filled = _rasterize(parts[~line], numbers[owner[~line]], grid, np.zeros(grid.shape, dtype=np.int32))
    return np.maximum(touched[edge:-edge, edge:-edge], filled)


def _cropped(lines: Geometries, grid: Grid) -> Geometries:
    frame = shapely.Polygon(grid.corners)
    shapely.prepare(frame)
    out = lines.copy()
    leaving = ~shapely.contains_properly(frame, out)
    out[leaving] = shapely.intersection(out[leaving], frame)
    return out


def _rasterize(
    geometries: Geometries, numbers: NDArray[Any], grid: Grid, out: NDArray[np.int32], all_touched: bool = False
) -> NDArray[np.int32]:
    shapes = _mappings(geometries, numbers)
    if not shapes:
        return out
    with quietly():  # for the lock: rasterio changes the warning filters, which all threads share, while it draws
        rasterize(shapes, out=out, transform=grid.transform, all_touched=all_touched)
    return out


def _mappings(geometries: Geometries, numbers: NDArray[Any]) -> list[tuple[dict[str, Any], int]]:
    """Return what rasterio takes. Polygons are taken apart all at once: one by one costs more than drawing them."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    solid = shapely.get_type_id(parts) == _POLYGON
    rings, polygon = shapely.get_rings(parts[solid], return_index=True)
    outlines: list[list[Any]] = [[] for _ in range(int(solid.sum()))]
    vertices = shapely.get_coordinates(rings).tolist()
    ends = np.cumsum(shapely.get_num_coordinates(rings)).tolist()
    for start, end, place in zip([0, *ends], ends, polygon.tolist(), strict=False):
        outlines[place].append(vertices[start:end])
    polygons = iter(outlines)
    return [
        ({"type": "Polygon", "coordinates": next(polygons)} if filled else part.__geo_interface__, number)
        for part, filled, number in zip(parts, solid.tolist(), numbers[owner].tolist(), strict=True)
        if filled or not part.is_empty
    ]


def _pixel_boxes(geometries: Geometries, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (M, 2) first column, row and (M, 2) one past the last of all pixels that GDAL may give to a feature."""
    bounds = shapely.bounds(shapely.transform(geometries, grid.colrow)).reshape(-1, 4)
    most = (grid.width, grid.height)
    corner = np.clip(np.floor(bounds[:, :2]) - 1, 0, most).astype(np.int64)
    return corner, np.clip(np.ceil(bounds[:, 2:]) + 1, 0, most).astype(np.int64)


def _apart(corner: NDArray[np.int64], opposite: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Sort boxes into few groups within which none overlap; boxes without pixels are left out."""
    rows = np.flatnonzero((opposite > corner).all(axis=1))
    boxes = shapely.box(*(corner[rows] + 0.25).T, *(opposite[rows] - 0.25).T)  # touching is not overlapping
    one, other = shapely.STRtree(boxes).query(boxes)
    order = np.lexsort((other, one))
    neighbours = np.split(other[order], np.searchsorted(one[order], np.arange(1, len(rows))))
    group = [-1] * len(rows)
    for place, near in enumerate(neighbours[: len(rows)]):
        taken = {group[n] for n in near.tolist()}
        group[place] = next(number for number in count() if number not in taken)
    return [rows[np.array(group) == number] for number in range(max(group, default=-1) + 1)]
