"""Where pixels are: shape, affine transform and CRS as one immutable value."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from geodata.crs import CRS, as_crs, crs_text, same_crs, transformer
from geodata.errors import CRSError, GridError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

__all__ = ["Bounds", "Grid"]

Bounds = tuple[float, float, float, float]
"""left, bottom, right, top in the units of a CRS."""

PIXEL_TOLERANCE = 1e-6
"""Lattices whose pixels agree to this fraction of a pixel are the same lattice."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A rectangle of pixels and where it lies.

    Parameters
    ----------
    shape : (height, width), both >= 1, pixels
    transform : affine.Affine, or its six numbers (a, b, c, d, e, f)
        Maps (column, row) of pixel corners to x, y in the units of ``crs``; kept in float64.
    crs : anything that names a CRS, or None
        ``None`` is a grid without a place on earth: a JPEG or a laboratory cube.

    Raises
    ------
    GridError
        If a size is below one, a number is not finite, or the transform has no area.

    Examples
    --------
    >>> grid = Grid((256, 128), (10, 0, 500000, 0, -10, 5600000), "EPSG:32633")
    >>> grid.bounds
    (500000.0, 5597440.0, 501280.0, 5600000.0)
    >>> grid.window(10, 20, 64, 32).shape
    (64, 32)
    """

    shape: tuple[int, int]
    transform: Affine
    crs: CRS | None

    def __init__(self, shape: Any, transform: Any, crs: Any = None) -> None:
        try:
            height, width = map(operator.index, shape)
            numbers = tuple(map(float, transform))
        except (TypeError, ValueError):
            raise GridError(
                f"shape {shape!r} must be whole (height, width), and transform {transform!r} six numbers (a, b, c, d, e, f)"
            ) from None
        if height < 1 or width < 1:
            raise GridError(f"grid of {height} x {width} pixels; height and width must be at least 1")
        if len(numbers) == 9 and numbers[6:] == (0.0, 0.0, 1.0):
            numbers = numbers[:6]  # the matrix of an Affine
        if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
            raise GridError(f"transform {numbers} must be six finite numbers (a, b, c, d, e, f)")
        a, b, _, d, e, _ = numbers
        if a * e - b * d == 0:
            raise GridError(f"transform {numbers} gives pixels without area; check the resolution")
        object.__setattr__(self, "shape", (height, width))
        object.__setattr__(self, "transform", Affine(*numbers))
        object.__setattr__(self, "crs", as_crs(crs))

    @classmethod
    def known(cls, shape: tuple[int, int], numbers: tuple[float, ...], crs: CRS | None) -> Grid:
        """Make a grid of what was checked before, by the thousand: two int, six float, a CRS or None."""
        grid = object.__new__(cls)
        object.__setattr__(grid, "shape", shape)
        object.__setattr__(grid, "transform", Affine(*numbers))
        object.__setattr__(grid, "crs", crs)
        return grid

    @classmethod
    def from_bounds(cls, bounds: Any, crs: Any, res: Any) -> Grid:
        """Lay a north-up grid over bounds, anchored at their upper left corner.

        Parameters
        ----------
        bounds : (left, bottom, right, top) in units of ``crs``
        crs : anything that names a CRS
        res : float or (x, y), > 0, units of ``crs`` per pixel
            A side that is no multiple of the resolution is extended to the right and downwards.

        Raises
        ------
        GridError
            If bounds are not finite or are empty, or a resolution is not above 0.
        """
        left, bottom, right, top = check_bounds(bounds)
        xres, yres = check_res(res)
        height, width = (
            max(1, math.ceil((high - low) / step - PIXEL_TOLERANCE))
            for low, high, step in ((bottom, top, yres), (left, right, xres))
        )
        return cls((height, width), (xres, 0.0, left, 0.0, -yres, top), crs)

    @classmethod
    def of_box(cls, bounds: Any, crs: Any) -> Grid:
        """Return a box as a grid of one pixel: a place without a resolution."""
        left, bottom, right, top = check_bounds(bounds)
        return cls((1, 1), (right - left, 0.0, left, 0.0, bottom - top, top), crs)

    @classmethod
    def from_geobox(cls, geobox: GeoBox) -> Grid:
        """Take over an ``odc.geo.geobox.GeoBox``."""
        return cls(geobox.shape, geobox.affine, geobox.crs)

    @property
    def geobox(self) -> GeoBox:
        """The same grid as an ``odc.geo.geobox.GeoBox``, for all its algebra."""
        from odc.geo.geobox import GeoBox

        return GeoBox(self.shape, self.transform, crs_text(self.crs) or None)

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self.shape[1]

    @property
    def res(self) -> tuple[float, float]:
        """Pixel size along a row and along a column, both > 0, in units of the CRS."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top of the box around the four corners, units of the CRS."""
        xy = self.corners
        (left, bottom), (right, top) = xy.min(axis=0), xy.max(axis=0)
        return float(left), float(bottom), float(right), float(top)

    @property
    def corners(self) -> NDArray[np.float64]:
        """(4, 2) x, y of the corners: upper left, upper right, lower right, lower left."""
        h, w = self.shape
        return self.xy(np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float64))

    def xy(self, colrow: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (..., 2) column, row positions (0 = left or upper edge) to x, y of the CRS."""
        t = self.transform
        col, row = colrow[..., 0], colrow[..., 1]
        return np.stack([t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f], axis=-1)

    def colrow(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (..., 2) x, y of the CRS to column, row positions (0 = left or upper edge)."""
        t = self.transform
        det = t.determinant
        x, y = xy[..., 0] - t.c, xy[..., 1] - t.f
        return np.stack([(t.e * x - t.b * y) / det, (t.a * y - t.d * x) / det], axis=-1)

    def boundary(self, per_side: int = 16) -> NDArray[np.float64]:
        """(4 * per_side, 2) points in order along the outer edge, x, y of the CRS."""
        h, w = self.shape
        t = np.arange(per_side) / per_side
        zero, one = np.zeros_like(t), np.ones_like(t)
        unit = np.concatenate([np.stack(s, axis=-1) for s in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))])
        return self.xy(unit * (w, h))

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """Return the grid of a block of pixels; it may reach outside this grid."""
        t = self.transform
        corner = (t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f)
        return Grid((height, width), (t.a, t.b, corner[0], t.d, t.e, corner[1]), self.crs)

    def coarser(self, ratio: int) -> Grid:
        """Return the grid whose pixels are ``ratio`` x ``ratio`` of these, same upper left corner.

        Raises
        ------
        GridError
            If the shape is not a multiple of the ratio.
        """
        if not isinstance(ratio, int) or ratio < 1:
            raise GridError(f"ratio {ratio!r} must be a whole number of at least 1")
        if self.height % ratio or self.width % ratio:
            raise GridError(f"grid of {self.height} x {self.width} pixels is no multiple of the ratio {ratio}")
        t = self.transform
        numbers = (t.a * ratio, t.b * ratio, t.c, t.d * ratio, t.e * ratio, t.f)
        return Grid.known((self.height // ratio, self.width // ratio), numbers, self.crs)

    def offset_in(self, other: Grid) -> tuple[int, int] | None:
        """Row, column of this grid's first pixel on the lattice of another, or None if lattices differ.

        Same lattice means: equal CRS, and all corners on whole pixels of the other to 1e-6 px.
        """
        if not same_crs(self.crs, other.crs):
            return None
        pixels = other.colrow(self.corners)
        col, row = (float(v) for v in np.rint(pixels[0]))
        h, w = self.shape
        expected = np.array([[col, row], [col + w, row], [col + w, row + h], [col, row + h]])
        if np.abs(pixels - expected).max() > PIXEL_TOLERANCE:
            return None
        return int(row), int(col)

    def to_crs(self, crs: Any, res: Any = None) -> Grid:
        """Return a north-up grid in another CRS that covers this one.

        Parameters
        ----------
        crs : anything that names a CRS
        res : float, (x, y), or None
            Units of the new CRS per pixel; None keeps the pixel area about the same.
        """
        target = as_crs(crs)
        if self.crs is None or target is None:
            raise CRSError("to_crs needs a CRS on both sides; a grid without one has no place in another")
        edge = self.boundary(64)
        there = transformer(self.crs, target)
        xy = np.stack(there.transform(edge[:, 0], edge[:, 1]), axis=-1)
        if not np.isfinite(xy).all():
            raise CRSError(f"{self!r} reaches out of the domain of {crs_text(target)[:40]}; take a part of it")
        if target.is_geographic:
            xy[:, 0] = np.unwrap(xy[:, 0], period=360)
        steps = np.linalg.norm(np.diff(xy, axis=0, append=xy[:1]), axis=1)
        if steps.max() > 40 * np.median(steps):
            raise CRSError(
                f"{self!r} lies over a seam or a pole of {crs_text(target)[:40]}; take a CRS without one there"
            )
        # Between two points the outline bulges by up to an eighth of its second difference.
        bulge = np.abs(np.roll(xy, 1, axis=0) - 2 * xy + np.roll(xy, -1, axis=0))
        corner = np.arange(0, len(xy), 64)
        bulge[corner] = 0
        margin = bulge.max(axis=0) / 4
        (left, bottom), (right, top) = xy.min(axis=0) - margin, xy.max(axis=0) + margin
        if res is None:
            x, y = xy.T
            area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
            res = math.sqrt(area / (self.height * self.width))
        return Grid.from_bounds((left, bottom, right, top), target, res)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self.shape == other.shape and self.transform == other.transform and same_crs(self.crs, other.crs)

    def __hash__(self) -> int:
        return hash((self.shape, self.transform))

    def __reduce__(self) -> tuple[Any, ...]:
        return Grid, (self.shape, tuple(self.transform)[:6], crs_text(self.crs) or None)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{v:.17g}" for v in tuple(self.transform)[:6])
        return f"Grid({self.shape}, ({numbers}), {crs_text(self.crs)[:60] or None!r})"


def check_bounds(bounds: Any) -> Bounds:
    """Return left, bottom, right, top as finite floats with positive area, or raise GridError."""
    try:
        left, bottom, right, top = (float(v) for v in bounds)
    except (TypeError, ValueError):
        raise GridError(f"bounds {bounds!r} must be four numbers: left, bottom, right, top") from None
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise GridError(f"bounds ({left}, {bottom}, {right}, {top}) must be finite numbers")
    if right <= left or top <= bottom:
        raise GridError(
            f"bounds ({left}, {bottom}, {right}, {top}) have no area; the order is left, bottom, right, top. "
            "A box over the antimeridian is given in a CRS without that seam, or as two boxes"
        )
    return left, bottom, right, top


def check_res(res: Any) -> tuple[float, float]:
    """Return (x, y) resolution as floats above 0, or raise GridError."""
    try:
        xres, yres = (float(v) for v in res) if np.ndim(res) else (float(res), float(res))
    except (TypeError, ValueError):
        raise GridError(f"resolution {res!r} must be a number or a pair of numbers") from None
    if not (0 < xres < math.inf and 0 < yres < math.inf):
        raise GridError(f"resolution {res!r} must be finite and above 0, in units of the CRS per pixel")
    return xres, yres
