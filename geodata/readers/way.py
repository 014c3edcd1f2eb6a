"""From the CRS of a layer to the CRS of a grid and back, point by point."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray

from geodata.crs import CRS, as_crs, crs_text, transformer
from geodata.errors import CRSError
from geodata.grid import Grid

__all__ = ["Geometries", "Points", "Way", "mend"]

Points = NDArray[np.float64]
"""(N, 2) x, y"""

Geometries = NDArray[np.object_]
"""(N,) shapely geometries"""


class Way:
    """From the CRS of a layer to the CRS of a grid and back; longitudes come out within half a turn of the grid.

    Parameters
    ----------
    source : CRS
    grid : Grid, with a CRS
    """

    def __init__(self, source: CRS, grid: Grid) -> None:
        if grid.crs is None:
            raise CRSError("a grid without a CRS has no place on earth; features cannot be brought onto it")
        self.source, self.target = source, grid.crs
        self.turn, self._turn = _turn(source.srs), _turn(grid.crs.srs)
        self._there, self._back = transformer(source, grid.crs), transformer(grid.crs, source)
        self._centre = float(grid.corners[:, 0].mean())

    def forward(self, xy: Points) -> Points:
        """Bring (N, 2) points to the CRS of the grid; infinite where that is not possible."""
        x, y = self._there.transform(xy[:, 0], xy[:, 1])
        if self._turn:
            with np.errstate(invalid="ignore"):
                slack = 0.5005 if self.turn else 0.5 + 1e-12
                if self.turn:  # a shift of datum must not take a point at 180 degrees to the other end of the world
                    x = x + self._turn * np.rint((xy[:, 0] / self.turn * self._turn - x) / self._turn)
                away = (x - self._centre) / self._turn
                x = x - self._turn * np.where(np.abs(away) > slack, np.rint(away), 0)
        return np.stack([x, y], axis=-1)

    def back(self, xy: Points) -> Points:
        """Bring (N, 2) points of the grid's CRS to the CRS of the layer; infinite where that is not possible."""
        return np.stack(self._back.transform(xy[:, 0], xy[:, 1]), axis=-1)

    def at_pole(self, xy: Points) -> NDArray[np.bool_]:
        """Tell which (N, 2) points of the grid's CRS are a pole; nowhere if that is not geographic."""
        return (self._turn > 0) & (np.abs(xy[:, 1]) > self._turn / 4 * (1 - 1e-9))

    def cut_open(self, geometries: Geometries, grid: Grid) -> Geometries:
        """Cut geometries along the meridian where longitudes of the grid begin again, if they do."""
        if not self._turn or self.turn:
            return geometries
        gap, quarter = 1e-6 * grid.res[0], self._turn / 4
        y = np.linspace(-quarter, quarter, 18001)
        west, east = (self._centre + side * (self._turn / 2 - gap) for side in (-1, 1))
        sides = [self.back(np.stack([np.full_like(y, x), y], axis=-1)) for x in (west, east)]
        # Far from the layer its CRS may hold no meaning.
        reach = 2 * np.abs(shapely.total_bounds(geometries)).max()
        held = np.logical_and(*((np.abs(side) < reach).all(axis=1) for side in sides))
        if held.sum() < 2:
            return geometries
        sliver = shapely.make_valid(shapely.Polygon(np.concatenate([sides[0][held], sides[1][held][::-1]])))
        sound = zip(geometries, shapely.is_valid(geometries).tolist(), strict=True)
        whole = np.array([g if valid else mend(g) for g, valid in sound], dtype=object)
        return np.asarray(shapely.difference(whole, sliver), dtype=object)

    @property
    def poles(self) -> Points:
        """(2, 2) the poles of the layer's CRS, north and south, in the CRS of the grid."""
        return _poles(self.source.srs, self.target.srs)

    @property
    def stride(self) -> float:
        """The sixteenth part of a turn around the globe, units of the layer's CRS."""
        return _stride(self.source.srs)

    def __repr__(self) -> str:
        return f"{crs_text(self.source)[:40]} to {crs_text(self.target)[:40]}"


@lru_cache(maxsize=512)
def _turn(srs: str) -> float:
    """Return the length of a full turn in units of a geographic CRS (360 degrees, 400 gon); 0 for any other CRS."""
    crs = CRS.from_user_input(srs)
    return round(2 * np.pi / crs.axis_info[0].unit_conversion_factor, 6) if crs.is_geographic else 0.0


@lru_cache(maxsize=512)
def _stride(srs: str) -> float:
    crs = CRS.from_user_input(srs)
    if crs.is_geographic or crs.ellipsoid is None:
        return _turn(srs) / 16 or np.inf
    return float(np.pi / 8 * crs.ellipsoid.semi_major_metre / crs.axis_info[0].unit_conversion_factor)


@lru_cache(maxsize=512)
def _poles(source: str, target: str) -> Points:
    crs, grid_crs = as_crs(source), as_crs(target)
    base = crs if crs is None or crs.is_geographic else as_crs(crs.geodetic_crs)
    if base is None or grid_crs is None:
        return np.empty((0, 2))
    quarter = _turn(base.srs) / 4
    return np.stack(transformer(base, grid_crs).transform([0.0, 0.0], [quarter, -quarter]), axis=-1)


def mend(geometry: shapely.Geometry) -> shapely.Geometry:
    """Make a geometry valid by the even-odd rule, and keep only parts of its own dimension."""
    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(geometry)))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == shapely.get_dimensions(geometry)])
