"""Where the pixels of one grid lie in another: few exact positions, and between them interpolation of a bounded error."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geodata.crs import same_crs, transformer
from geodata.grid import Grid

__all__ = ["TOLERANCE", "pixel_ratio", "positions", "touching", "turn"]

TOLERANCE = 0.125
"""Largest error of an interpolated position, in pixels of the source."""

_MEASURED = TOLERANCE / 64
"""Largest error that is let pass where it is measured; it may be larger in between, but not so many times."""

_CELL, _FINE = 128, 16
_GRAIN = 2.0**20

_QUARTERS = np.array([[8, 0, 0], [3, 6, -1], [0, 8, 0], [-1, 6, 3], [0, 0, 8]]) / 8
"""Weights of what lies at 0, 1/2 and 1 for a parabola through them, at 0, 1/4, 1/2, 3/4 and 1."""

Floats = NDArray[np.float64]


def positions(source: Grid, target: Grid) -> Floats:
    """Return where the middles of a target's pixels lie in a source: (2, H, W) columns and rows, 0 = left or upper edge.

    In cells of 128 x 128 pixels, exact positions are taken at 5 x 5 points. Parabolas through 3 x 3 of them give all
    others, and the rest say how wrong those are. Where the error is too large, a cell is cut into cells of 16 x 16, and
    where it is too large even there, every pixel is computed.

    Cells lie on the target's lattice and not at its edges, and positions are kept in steps of 2**-20 pixels: any window
    of a target finds a pixel at the same position.

    Parameters
    ----------
    source, target : Grid, both with a CRS
        Longitudes are taken within half a turn of the middle of a geographic source.

    Returns
    -------
    (2, H, W) float64
        Wrong by less than `TOLERANCE`; not finite where there is no way.
    """
    out = np.empty((2, *target.shape))
    first = [-(n % _CELL) for n in _lattice_index(target)]
    down, across = (-(-(size - start) // _CELL) for size, start in zip(target.shape, first, strict=True))
    with np.errstate(invalid="ignore", over="ignore"):
        for cell in _interpolate(out, source, target, (first[0], first[1]), (down, across), _CELL):
            for small in _interpolate(out, source, target, cell, (_CELL // _FINE, _CELL // _FINE), _FINE):
                rows, cols = (_within(start, _FINE, size) for start, size in zip(small, target.shape, strict=True))
                middles = np.arange(cols.start, cols.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
                out[:, rows, cols] = _exact(source, target, *middles)
    return out


def _lattice_index(target: Grid) -> tuple[int, int]:
    """Return row and column of a grid's first pixel, counted from the origin of its CRS."""
    col, row = target.colrow(np.zeros(2))
    # Lattices often start at whole or half pixels from the origin: rounding keeps windows of one from parting there.
    return math.floor(round(-float(row), 3)), math.floor(round(-float(col), 3))


def _within(start: int, size: int, limit: int) -> slice:
    return slice(max(start, 0), max(min(start + size, limit), 0))


def _interpolate(
    out: Floats, source: Grid, target: Grid, corner: tuple[int, int], cells: tuple[int, int], size: int
) -> list[tuple[int, int]]:
    """Fill a block of cells of ``out``; return the corners of those that are too wrong."""
    nodes = [start + size // 4 * np.arange(4 * n + 1) for start, n in zip(corner, cells, strict=True)]
    at = _exact(source, target, nodes[1], nodes[0])
    rows = _within(corner[0], cells[0] * size, target.height)
    cell, pixel = np.divmod(np.arange(rows.start, rows.stop) - corner[0], size)
    along = (pixel + 0.5) / size
    value, slope, bend = (v[..., cell] for v in _parabolas(at[:, ::2, ::2].swapaxes(1, 2)))
    curves = np.stack(_parabolas(((bend * along + slope) * along + value).swapaxes(1, 2)), axis=-1)
    # One column more than a cell has: for a single one einsum would add in another order.
    powers = ((np.arange(size + 1) + 0.5) / size) ** np.arange(3)[:, None]
    for k in range(cells[1]):
        start = corner[1] + k * size
        span = _within(start, size, target.width)
        first, count = span.start - start, span.stop - span.start
        if count > 1:
            np.einsum("xrk,kc->xrc", curves[:, :, k], powers[:, first : first + count], out=out[:, rows, span])
        elif count == 1:
            out[:, rows, span] = np.einsum("xrk,kc->xrc", curves[:, :, k], powers[:, first : first + 2])[..., :1]
    wrong = np.argwhere(~(_error(at, cells) <= _MEASURED)).tolist()
    found = [(corner[0] + size * i, corner[1] + size * j) for i, j in wrong]
    height, width = target.shape
    return [(r, c) for r, c in found if r + size > 0 and c + size > 0 and r < height and c < width]


def _parabolas(at: Floats) -> tuple[Floats, Floats, Floats]:
    """Return value, slope and bend at the start of cells, from (..., 2 n + 1) points at their ends and middles."""
    start, middle, end = at[..., :-2:2], at[..., 1::2], at[..., 2::2]
    bend = 2 * (start - 2 * middle + end)
    return start, end - start - bend, bend


def _error(at: Floats, cells: tuple[int, int]) -> Floats:
    """Return the largest error of each cell's parabolas at its 5 x 5 exact points."""
    rows, cols = (4 * np.arange(n)[:, None] + np.arange(5) for n in cells)
    blocks = at[:, rows[:, None, :, None], cols[None, :, None, :]]
    guess = _QUARTERS @ blocks[..., ::2, ::2] @ _QUARTERS.T
    worst: Floats = np.abs(guess - blocks).sum(axis=0).max(axis=(-2, -1))
    return worst


def _exact(source: Grid, target: Grid, cols: NDArray[Any], rows: NDArray[Any]) -> Floats:
    """Return (2, rows, columns) positions in the source of a raster of points of the target, kept in steps of 2**-20."""
    points: Floats = np.stack(np.meshgrid(cols, rows), axis=-1).astype(np.float64)
    colrow = source.colrow(_carried(target.xy(points), target, source))
    return np.rint(np.moveaxis(colrow, -1, 0) * _GRAIN) / _GRAIN


def _carried(xy: Floats, target: Grid, source: Grid) -> Floats:
    if not same_crs(target.crs, source.crs):
        x, y = transformer(target.crs, source.crs).transform(xy[..., 0], xy[..., 1])  # type: ignore[arg-type]
        xy = np.stack([x, y], axis=-1)
    whole = turn(source)
    if whole is not None:
        middle = source.xy(np.array([source.width / 2, source.height / 2]))[0]
        xy[..., 0] -= whole * np.floor((xy[..., 0] - middle) / whole + 0.5)
    return xy


def turn(grid: Grid) -> float | None:
    """Return a full turn in the units of a geographic CRS, None for others."""
    crs = grid.crs
    if crs is None or not crs.is_geographic:
        return None
    return float(round(2 * math.pi / crs.axis_info[0].unit_conversion_factor, 9))


def pixel_ratio(source: Grid, target: Grid) -> tuple[float, float]:
    """Return how many source pixels lie under one target pixel along x and y, at least 1.

    Taken at the middle of the source, so that it is the same for every window of the target: a kernel that widened with
    the window would make a pixel's value depend on what else is read.
    """
    t = target.transform
    return _ratio(source, Grid((1, 1), (t.a, t.b, 0.0, t.d, t.e, 0.0), target.crs))


@lru_cache(maxsize=1024)
def _ratio(source: Grid, lattice: Grid) -> tuple[float, float]:
    middle = source.xy(np.array([[source.width / 2, source.height / 2]]))
    at = lattice.colrow(_carried(middle, source, lattice))
    probes = lattice.xy(at + np.array([[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]]))
    pixels = source.colrow(_carried(probes, lattice, source))
    x, y = np.hypot(pixels[1] - pixels[0], pixels[3] - pixels[2]).tolist()
    return (max(1.0, x), max(1.0, y)) if math.isfinite(x) and math.isfinite(y) else (1.0, 1.0)


def touching(source: Grid, inside: Grid) -> NDArray[np.bool_]:
    """Return (h, w) which pixels of a grid touch another one, by their corners, the middles of their sides and their own."""
    h, w = source.shape
    half = Grid(
        (2 * h + 1, 2 * w + 1), source.transform @ Affine.scale(0.5) @ Affine.translation(-0.5, -0.5), source.crs
    )
    at = positions(inside, half)
    size = np.array([inside.width, inside.height], dtype=np.float64)[:, None, None]
    with np.errstate(invalid="ignore"):
        doubtful = np.logical_or.reduce(np.minimum(np.abs(at), np.abs(at - size)) <= 2 * TOLERANCE)
    if doubtful.any():
        rows, cols = np.nonzero(doubtful)
        xy = half.xy(np.stack([cols, rows], axis=-1).astype(np.float64) + 0.5)
        at[:, rows, cols] = inside.colrow(_carried(xy, half, inside)).T
    with np.errstate(invalid="ignore"):
        lies = np.logical_and.reduce((at > 1e-6) & (at < size - 1e-6))
    out = np.zeros((h, w), dtype=bool)
    for down in range(3):
        for across in range(3):
            out |= lies[down : down + 2 * h : 2, across : across + 2 * w : 2][:h, :w]
    return out
