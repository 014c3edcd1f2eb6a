"""From one grid to another, once: only the pixels that matter are read, and none that was not observed is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geodata.errors import CRSError
from geodata.grid import Grid
from geodata.readers.base import PixelWindow, Raster
from geodata.readers.gather import Positions, bilinear, nearest
from geodata.readers.kernels import KERNELS, area, kernel
from geodata.readers.positions import pixel_ratio, positions, touching, turn

__all__ = ["RESAMPLING", "Read", "warp"]

RESAMPLING = ("nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode")

_WIDER = 1 / 0.95
"""A target pixel of more source pixels than this takes a wider kernel."""

_POSITIONS, _SAMPLES = 2**20, 2**24
"""The most positions or weights, and samples of a source, that are held at once."""

_SIDE = 4
"""Pixels of an overview along the side of a target pixel, at least."""


class Read(Protocol):
    """Reads a window of a source, or of its overview of that number, in pixels of the source or the overview."""

    def __call__(self, window: PixelWindow, level: int | None, /) -> Raster: ...  # noqa: D102


def warp(
    read: Read,
    source: Grid,
    target: Grid,
    how: str,
    out: NDArray[Any],
    *,
    nodata: float | None = None,
    inside: Grid | None = None,
    levels: Callable[[], Sequence[tuple[int, int]]] | None = None,
) -> NDArray[np.bool_]:
    """Resample a raster onto another grid, once, reading no more of it than matters.

    Parameters
    ----------
    read : gives windows of the source
    source, target : Grid, both with a CRS
    how : one of `RESAMPLING`
        Kernels other than ``nearest`` widen where target pixels are larger than the source's. ``average`` weighs the
        observed pixels under a target pixel by their area, ``mode`` takes the value with the largest one.
    out : (C, H, W)
        Filled in place; of the dtype that ``read`` gives, or one that holds it. Unobserved pixels hold anything.
    nodata : float or None
        Where given, each band leaves out its own pixels of this value; else all bands leave out invalid pixels.
    inside : Grid or None
        Source pixels that do not touch it count as unobserved.
    levels : function that gives (height, width) of overviews that are averages of all pixels, or None
        Asked by ``average`` alone, which takes the coarsest that has four pixels or more along the side of a target
        pixel.

    Returns
    -------
    (H, W) bool
        True = observed; for ``nearest`` and ``bilinear`` that is where the source pixel is that a position lies in.
        Unobserved pixels never contribute to a value. Positions are wrong by at most
        `geodata.readers.positions.TOLERANCE` source pixels.

    Raises
    ------
    CRSError
        If there is no way between the CRSs, or one is missing.
    DtypeError
        If 64-bit integers are too large to pass through floating point exactly.
    """
    if source.crs is None or target.crs is None:
        raise CRSError("pixels without a CRS cannot be brought onto another grid; read them by item or pixel window")
    ratio, level = pixel_ratio(source, target), None
    if how == "average" and levels is not None and inside is None and min(ratio) >= 2 * _SIDE:
        level, source = _reduced(source, levels(), ratio)
        ratio = pixel_ratio(source, target)
    method = _Method.of(how, ratio)
    valid = np.zeros(target.shape, dtype=bool)
    for rows, cols, at, windows in _pieces(source, target, len(out), method):
        into, seen = out[:, rows, cols], valid[rows, cols]
        for window in windows:
            raster = read(window, level)
            if inside is not None:
                raster = Raster(raster.data, raster.valid & touching(source.window(*window), inside))
            put = into if not seen.any() else np.empty_like(into)
            found = method.fill(raster, _beside(at, source, window), nodata, put)
            if put is not into:
                np.copyto(into, put, where=found & ~seen)
            seen |= found
    return valid


@dataclass(frozen=True, slots=True)
class _Method:
    """How pixels get their values.

    Parameters
    ----------
    how : one of `RESAMPLING`
    ratio : (x, y), how much a kernel is widened
    reach : source pixels (x, y) around a position that matter
    load : positions or weights that are held for each target pixel
    """

    how: str
    ratio: tuple[float, float]
    reach: tuple[float, float]
    load: int

    @classmethod
    def of(cls, how: str, ratio: tuple[float, float]) -> _Method:
        if how == "nearest":
            return cls(how, ratio, (0.0, 0.0), 1)
        if how in KERNELS:
            x, y = (r if r > _WIDER else 1.0 for r in ratio)
            taps = [math.ceil(KERNELS[how][0] * r) for r in (x, y)]
            return cls(how, (x, y), (taps[0] - 0.5, taps[1] - 0.5), 2 * sum(taps))
        taps = [math.ceil(r) + 1 for r in ratio]
        return cls(how, ratio, (float(taps[0]), float(taps[1])), sum(taps) if how == "average" else taps[0] * taps[1])

    @property
    def boxes(self) -> bool:
        """Whether values are those under a pixel, and not those around its middle."""
        return self.how in ("average", "mode")

    def probes(self, target: Grid) -> Grid:
        """Return the grid whose pixel middles are looked up in the source: the target's middles, or its corners."""
        if not self.boxes:
            return target
        shape = target.height + 1, target.width + 1
        return Grid(shape, target.transform @ Affine.translation(-0.5, -0.5), target.crs)

    def fill(self, raster: Raster, at: Positions, nodata: float | None, out: NDArray[Any]) -> NDArray[np.bool_]:
        """Fill ``out`` from a raster and positions in it; return what is observed."""
        if self.how == "nearest":
            return nearest(raster, at, out)
        if self.boxes:
            return area(raster, at, self.how, nodata, out)
        if self.how == "bilinear" and max(self.ratio) == 1:
            return bilinear(raster, at, nodata, out)
        return kernel(raster, at, self.how, self.ratio, nodata, out)


def _reduced(source: Grid, levels: Sequence[tuple[int, int]], ratio: tuple[float, float]) -> tuple[int | None, Grid]:
    """Return the number of the coarsest overview whose pixels are fine enough, and its grid."""
    factors = [(source.width / w, source.height / h) for h, w in levels]
    enough = [k for k, (x, y) in enumerate(factors) if x * _SIDE <= ratio[0] and y * _SIDE <= ratio[1]]
    if not enough:
        return None, source
    best = max(enough, key=lambda k: factors[k])
    return best, Grid(levels[best], source.transform @ Affine.scale(*factors[best]), source.crs)


Piece = tuple[slice, slice, Positions, list[PixelWindow]]
"""Rows and columns of a target; where their probes lie; what of the source they need."""


def _pieces(
    source: Grid, target: Grid, bands: int, method: _Method, corner: tuple[int, int] = (0, 0)
) -> Iterator[Piece]:
    """Cut a target until each part needs a bounded number of positions, weights and source pixels."""
    h, w = target.shape
    if h * w == 1 or h * w * method.load <= _POSITIONS:
        at = positions(source, method.probes(target))
        windows = _windows(at, source, method)
        if h * w == 1 or sum(rows * cols for _, _, rows, cols in windows) * bands <= _SAMPLES:
            rows, cols = _needed(at, source, method)
            if windows:
                near = at if method.boxes else at[:, rows, cols]
                yield _moved(rows, corner[0]), _moved(cols, corner[1]), near, windows
            return
    half = (h + 1) // 2 if h >= w else (w + 1) // 2
    parts = [(0, 0, half, w), (half, 0, h - half, w)] if h >= w else [(0, 0, h, half), (0, half, h, w - half)]
    for r, c, height, width in parts:
        yield from _pieces(source, target.window(r, c, height, width), bands, method, (corner[0] + r, corner[1] + c))


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def _needed(at: Positions, source: Grid, method: _Method) -> tuple[slice, slice]:
    """Return the rows and columns of a target outside of which nothing lies in the source."""
    height, width = at.shape[1] - method.boxes, at.shape[2] - method.boxes
    size = np.array([source.width, source.height], dtype=np.float64)
    if method.boxes or ((at.min(axis=(1, 2)) >= 0).all() and (at.max(axis=(1, 2)) < size).all()):
        return slice(0, height), slice(0, width)
    lies = np.logical_and.reduce((at >= 0) & (at < size[:, None, None]))
    down, across = np.flatnonzero(lies.any(axis=1)), np.flatnonzero(lies.any(axis=0))
    if not len(down):
        return slice(0, 0), slice(0, 0)
    return slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1)


def _windows(at: Positions, source: Grid, method: _Method) -> list[PixelWindow]:
    """Return the pixels of a source that positions need: windows inside it.

    Usually one; none where the two do not meet; two where the positions lie on both sides of the seam of a geographic
    source.
    """
    size = np.array([source.width, source.height], dtype=np.float64)
    low, high = at.min(axis=(1, 2)), at.max(axis=(1, 2))
    extents = [(low, high)]
    if not ((low >= 0).all() and (high < size).all()) or _over_a_seam(low, high, source):
        extents = []
        for part in _sides(at[:, np.logical_and.reduce(np.isfinite(at))], source):
            # Corners may lie outside although there are pixels between them; middles may not.
            inside = np.logical_and.reduce((part >= 0) & (part < size[:, None]))
            near = part if method.boxes else part[:, inside]
            if near.size and (near.min(axis=1) < size).all() and (near.max(axis=1) >= 0).all():
                near = near.clip(0, size[:, None])
                extents.append((near.min(axis=1), near.max(axis=1)))
    windows = []
    for low, high in extents:
        c0, r0 = np.clip(np.floor(low - method.reach), 0, size).astype(int).tolist()
        c1, r1 = np.clip(np.floor(high + method.reach) + 1, 0, size).astype(int).tolist()
        if c1 > c0 and r1 > r0:
            windows.append((r0, c0, r1 - r0, c1 - c0))
    return windows


def _over_a_seam(low: NDArray[np.float64], high: NDArray[np.float64], source: Grid) -> bool:
    whole = _turn_in_pixels(source)
    return whole is not None and bool(high[0] - low[0] > whole / 2)


def _sides(at: NDArray[np.float64], source: Grid) -> list[NDArray[np.float64]]:
    """Part (2, N) positions where there is a gap of more than half a turn between them."""
    if not at.size or not _over_a_seam(at.min(axis=1), at.max(axis=1), source):
        return [at]
    order = np.argsort(at[0])
    gaps = np.diff(at[0, order])
    cut = int(np.argmax(gaps)) + 1
    return [at[:, order[:cut]], at[:, order[cut:]]] if _over_a_seam(np.zeros(1), gaps[cut - 1 :], source) else [at]


def _turn_in_pixels(source: Grid) -> float | None:
    whole, t = turn(source), source.transform
    return None if whole is None or t.b or t.d else whole / abs(t.a)


def _beside(at: Positions, source: Grid, window: PixelWindow) -> Positions:
    """Return positions counted from a window, within half a turn of its middle if the source is geographic."""
    row, col, _, width = window
    at = at - np.array([col, row], dtype=np.float64)[:, None, None]
    whole = _turn_in_pixels(source)
    if whole is not None:
        with np.errstate(invalid="ignore"):
            at[0] -= whole * np.floor((at[0] - width / 2) / whole + 0.5)
    return at
