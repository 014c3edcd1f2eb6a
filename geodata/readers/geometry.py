"""Geometries on their way from one CRS to the pixels of a grid in another."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.crs import as_crs, transformer
from geodata.errors import CRSError
from geodata.grid import Grid
from geodata.readers.way import Geometries, Points, Way, mend

__all__ = ["MARGIN", "TOLERANCE", "frame", "grown", "move"]

MARGIN = 2
"""Pixels around a grid in which a geometry is kept: GDAL draws lines from the pixel of one vertex to the pixel of the
next, so a line that just misses the grid may still burn a pixel of it."""

TOLERANCE = 0.1
"""Pixels by which an edge may lie beside its true course, which is straight in the CRS of the layer."""

_PER_SIDE = 10
_ROUNDS = 12
_LONG = 32
_POLYGON = 3
_MOST_VERTICES = 4_000_000


def grown(grid: Grid, margin: int) -> Grid:
    """Return the grid with a margin of so many pixels on all sides."""
    return grid.window(-margin, -margin, grid.height + 2 * margin, grid.width + 2 * margin) if margin else grid


def frame(way: Way, grid: Grid) -> tuple[Points, Points] | None:
    """Find where a grid lies in the CRS of a layer, or None if its surroundings have no image there without a seam.

    Returns
    -------
    near, far : (K, 4) left, bottom, right, top
        Boxes around the grid, and around the grid with a wide margin: what is in none of the near ones does not meet
        the grid, and all that is in the far ones can be transformed. Several boxes stand for the same place at
        longitudes a whole turn apart, as data has -175, 185 or both.

    Raises
    ------
    CRSError
        If the grid reaches over the edge of its own CRS.
    """
    for margin in (max(grid.shape) // 2 + MARGIN, MARGIN, 0):
        inner, outer = grown(grid, min(margin, MARGIN)), grown(grid, margin)
        edges = np.concatenate([_outline(inner, way), _outline(outer, way)])
        xy = way.back(edges)
        if not np.isfinite(xy).all():
            continue
        again = way.forward(xy[len(xy) // 2 :])
        if not (np.abs(_pixels(outer, again) - _pixels(outer, edges[len(xy) // 2 :])) < 0.5).all():
            continue
        poles = _pixels(outer, way.poles)
        if not way.turn and ((poles >= 0) & (poles <= (outer.width, outer.height))).all(axis=1).any():
            continue
        near, far = (_boxes(part, way.turn) for part in np.split(xy, 2))
        return near, far
    _check_world(grid)
    return None


def _check_world(grid: Grid) -> None:
    crs = grid.crs
    base = None if crs is None or crs.is_geographic else as_crs(crs.geodetic_crs)
    if crs is None or base is None or min(grid.shape) < 3:
        return
    edge = grown(grid, -1).boundary(32)
    lonlat = transformer(crs, base).transform(edge[:, 0], edge[:, 1])
    again = np.stack(transformer(base, crs).transform(*lonlat), axis=-1)
    beyond = np.isfinite(again).all(axis=1) & (np.abs(_pixels(grid, again) - _pixels(grid, edge)) > 1).any(axis=1)
    if beyond.any():
        raise CRSError(
            f"{grid!r} reaches over the edge of its CRS, where the world begins again on the other side; "
            "take two grids, or one in a CRS without a seam there"
        )


def _outline(grid: Grid, way: Way) -> Points:
    """Return points along the edge of a grid, then the two points of the grid that are next to the poles."""
    poles = np.clip(np.nan_to_num(_pixels(grid, way.poles)), 0, (grid.width, grid.height))
    return np.concatenate([grid.boundary(_PER_SIDE), grid.xy(poles)])


def _boxes(xy: Points, turn: float) -> Points:
    (left, bottom), (right, top) = xy.min(axis=0), xy.max(axis=0)
    if turn:  # closed, so that a boundary around a pole comes to a whole turn
        x = np.unwrap(xy[np.arange(4 * _PER_SIDE + 1) % (4 * _PER_SIDE), 0], period=turn)
        left, right = x.min(), x.max()
    # Between two points of the boundary the true outline may bulge a little.
    dx, dy = (right - left) / 50, (top - bottom) / 50
    left, bottom, right, top = left - dx, bottom - dy, right + dx, top + dy
    if not turn:
        return np.array([[left, bottom, right, top]])
    if right - left >= turn:
        return np.array([[left - turn, bottom, right + turn, top]])
    first = -turn * np.rint((left + right) / 2 / turn)
    return np.array([[left + s, bottom, right + s, top] for s in (first - turn, first, first + turn)])


def move(geometries: Geometries, way: Way, grid: Grid) -> tuple[Geometries, NDArray[np.int64]]:
    """Transform geometries to the CRS of a grid, with vertices added where an edge would bend.

    Parameters
    ----------
    geometries : (M,) shapely geometries
    way : Way
    grid : Grid

    Returns
    -------
    moved : (K,) shapely geometries; edges that may meet the grid are true to `TOLERANCE`
    kept : (K,) int64, their rows in ``geometries``; left out is what has no place at all in the CRS of the grid

    Raises
    ------
    CRSError
        If a part of a geometry has no place there, or an edge near the grid is torn: it crosses a seam or a pole.
    """
    parts, kept = _strided(geometries, way.stride), np.arange(len(geometries))
    opened = False
    for _ in range(_ROUNDS):
        xy = shapely.get_coordinates(parts)
        out = way.forward(xy)
        if not np.isfinite(out).all():
            inside = _inside_domain(parts, way)
            parts, kept = parts[inside], kept[inside]
            continue
        steps, torn = _steps(parts, xy, out, way, grid)
        if torn.any():
            if opened:
                raise CRSError(
                    f"{way!r}: {torn.sum()} features, the first of them within {parts[torn][0].bounds}, have an edge "
                    f"across a seam or a pole and cannot be drawn on {grid!r}; cut them there, or take a grid that "
                    "keeps away from it"
                )
            parts[torn], opened = way.cut_open(parts[torn], grid), True
            continue
        bent = np.isfinite(steps)
        if not bent.any():
            return shapely.set_coordinates(parts, out), kept
        parts[bent] = shapely.segmentize(parts[bent], steps[bent])
        if shapely.get_num_coordinates(parts).sum() > _MOST_VERTICES:
            break
    raise CRSError(
        f"{way!r}: {len(parts)} features cannot be drawn on {grid!r} to {TOLERANCE} px; "
        "take a smaller grid, or one in another CRS"
    )


def _strided(geometries: Geometries, stride: float) -> Geometries:
    """Part edges so long that they may come back to where they started, as a circle of latitude does."""
    parts = geometries.copy()
    bounds = shapely.bounds(parts).reshape(-1, 4)
    wide = (bounds[:, 2:] - bounds[:, :2] > stride).any(axis=1)
    if wide.any():
        parts[wide] = shapely.segmentize(parts[wide], stride)
    return parts


def _inside_domain(parts: Geometries, way: Way) -> NDArray[np.int64]:
    """Return the rows of what can be transformed, after cutting poles off in place; what is lost as a whole is left."""
    lost = _lost(parts, way)
    partly = np.flatnonzero((lost > 0) & (lost < shapely.get_num_coordinates(parts)))
    if len(partly) and way.turn:
        # Many projections have no place for the pole itself, and world layers end there.
        end = way.turn / 4 * (1 - 1e-8)
        band = shapely.box(-2 * way.turn, -end, 2 * way.turn, end)
        parts[partly] = [shapely.intersection(mend(g), band) for g in parts[partly]]
        lost[partly] = _lost(parts[partly], way)
        partly = partly[(lost[partly] > 0) & (lost[partly] < shapely.get_num_coordinates(parts[partly]))]
    if len(partly):
        raise CRSError(
            f"{way!r}: {len(partly)} features, the first of them {parts[partly[0]].bounds}, lie only in part where the "
            "target is defined; cut them, or take a grid in another CRS"
        )
    return np.flatnonzero((lost == 0) & ~shapely.is_empty(parts))


def _lost(geometries: Geometries, way: Way) -> NDArray[np.int64]:
    """Count the vertices of each geometry that have no place in the target."""
    xy, owner = shapely.get_coordinates(geometries, return_index=True)
    gone = ~np.isfinite(way.forward(xy)).all(axis=1)
    return np.bincount(owner[gone], minlength=len(geometries))


@np.errstate(invalid="ignore")
def _steps(parts: Geometries, xy: Points, out: Points, way: Way, grid: Grid) -> tuple[Points, NDArray[np.bool_]]:
    """Return how long the edges of each geometry may be, infinite where all are good, and which have a torn edge."""
    steps, torn = np.full(len(parts), np.inf), np.zeros(len(parts), dtype=np.bool_)
    piece, owner = _pieces(parts)
    at = grid.colrow(out)
    chord = at[1:] - at[:-1]
    length = np.hypot(chord[:, 0], chord[:, 1])
    reach = 1 + length[:, None] / 2
    low, high = np.minimum(at[1:], at[:-1]) - reach, np.maximum(at[1:], at[:-1]) + reach
    near = (low[:, 0] < grid.width) & (low[:, 1] < grid.height) & (high[:, 0] > 0) & (high[:, 1] > 0)
    edge = np.flatnonzero((piece[1:] == piece[:-1]) & (length > 1) & near)
    if not len(edge):
        return steps, torn
    # Off the middle, where a curve may cross its chord; a long one is looked at in two places.
    share = np.repeat([[0.3], [0.7]], [len(edge), (length[edge] > _LONG).sum()], axis=0)
    edge = np.concatenate([edge, edge[length[edge] > _LONG]])
    true = way.forward(xy[edge] + share * (xy[edge + 1] - xy[edge]))
    off = _pixels(grid, true) - at[edge] - share * chord[edge]
    beside = np.abs(off[:, 0] * chord[edge, 1] - off[:, 1] * chord[edge, 0]) / length[edge]
    beside = np.where(np.isfinite(beside), beside, np.inf)
    # What runs unevenly along an edge may be a steep projection, or an edge that jumps to the other end of the world.
    uneven = edge[~(np.hypot(off[:, 0], off[:, 1]) <= 0.2 * length[edge] + 1)]
    torn[owner[uneven[_jumps(xy[uneven], xy[uneven + 1], way, grid)]]] = True
    # At 0.3 of an edge a parabola has 0.84 of its height.
    wrong = beside > 0.8 * TOLERANCE
    edge, beside = edge[wrong], beside[wrong]
    side = np.hypot(*(xy[edge + 1] - xy[edge]).T)
    np.minimum.at(steps, owner[edge], side * np.clip(np.sqrt(TOLERANCE / 2 / beside), 1 / 16, 1 / 2))
    return steps, torn


@np.errstate(invalid="ignore")
def _jumps(a: Points, b: Points, way: Way, grid: Grid) -> NDArray[np.bool_]:
    """Tell on which of the edges from a to b, (N, 2) each, a point's image jumps: halve towards the larger step."""
    if not len(a):
        return np.zeros(0, dtype=np.bool_)
    at, bt = _pixels(grid, way.forward(a)), _pixels(grid, way.forward(b))
    whole = np.hypot(*(bt - at).T)
    for _ in range(48):
        m = (a + b) / 2
        mt = _pixels(grid, way.forward(m))
        first = (np.hypot(*(mt - at).T) > np.hypot(*(bt - mt).T))[:, None]
        a, at, b, bt = (np.where(first, *pair) for pair in ((a, m), (at, mt), (m, b), (mt, bt)))
    jumps: NDArray[np.bool_] = ~(np.hypot(*(bt - at).T) < whole / 4)
    # In longitude and latitude the pole is a line: an edge through it may run along that line.
    return jumps & ~way.at_pole(grid.xy(at))


def _pixels(grid: Grid, xy: Points) -> Points:
    with np.errstate(invalid="ignore"):  # what has no place is infinite, and stays so
        return grid.colrow(xy)


def _pieces(geometries: Geometries) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each vertex the ring or line that it is part of, and the geometry."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    while (shapely.get_type_id(parts) > _POLYGON).any():
        parts, deeper = shapely.get_parts(parts, return_index=True)
        owner = owner[deeper]
    parts, owner = parts[~shapely.is_empty(parts)], owner[~shapely.is_empty(parts)]
    solid = shapely.get_type_id(parts) == _POLYGON
    rings = shapely.get_rings(parts[solid])
    part_of = np.repeat(np.arange(len(parts)), np.where(solid, 1 + shapely.get_num_interior_rings(parts), 1))
    lengths = shapely.get_num_coordinates(parts[part_of])
    lengths[solid[part_of]] = shapely.get_num_coordinates(rings)
    return np.repeat(np.arange(len(part_of)), lengths), np.repeat(owner[part_of], lengths)
