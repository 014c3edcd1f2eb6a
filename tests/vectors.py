"""What lies where, the plain way: rasterio over all features, or every pixel centre by itself. Nothing of geodata."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import rasterio.features
import shapely
from affine import Affine

__all__ = ["at_centres", "burned_by_rasterio", "moved", "wrong_pixels"]


def moved(geometries: Any, source: Any, target: Any) -> np.ndarray:
    """Transform every vertex; no vertex is added."""
    way = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return shapely.transform(np.asarray(geometries), lambda xy: np.column_stack(way.transform(xy[:, 0], xy[:, 1])))


def burned_by_rasterio(
    geometries: Any, numbers: Any, shape: tuple[int, int], transform: Any, all_touched: bool = False
) -> np.ndarray:
    """All features in file order, 0 where there is none.

    With ``all_touched`` on a raster that holds all features whole, then cropped: GDAL 3.10.3 corrupts memory where a
    touched line leaves the raster.
    """
    above = left = below = right = 0
    if all_touched:
        xy = shapely.get_coordinates(geometries)
        inverse = ~transform
        col = inverse.a * xy[:, 0] + inverse.b * xy[:, 1] + inverse.c
        row = inverse.d * xy[:, 0] + inverse.e * xy[:, 1] + inverse.f
        left, above = (max(0, int(np.ceil(3 - v.min()))) for v in (col, row))
        right, below = (max(0, int(np.ceil(v.max() + 3 - n))) for v, n in ((col, shape[1]), (row, shape[0])))
    drawn = rasterio.features.rasterize(
        list(zip(geometries, np.asarray(numbers).tolist(), strict=True)),
        out_shape=(above + shape[0] + below, left + shape[1] + right),
        transform=transform @ Affine.translation(-left, -above),
        dtype="int32",
        all_touched=all_touched,
    )
    return drawn[above : above + shape[0], left : left + shape[1]].astype(np.int64)


def at_centres(geometries: Any, source: Any, shape: tuple[int, int], transform: Any, target: Any) -> np.ndarray:
    """Bring pixel centres to the layer's CRS; 1 + the last polygon that holds each, or 0."""
    row, col = np.indices(shape) + 0.5
    return _held(geometries, source, col.ravel(), row.ravel(), transform, target).reshape(shape)


def _held(geometries: Any, source: Any, col: Any, row: Any, transform: Any, target: Any) -> np.ndarray:
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    x, y = pyproj.Transformer.from_crs(target, source, always_xy=True).transform(x, y)
    there = np.isfinite(x) & np.isfinite(y)
    out = np.zeros(len(col), dtype=np.int64)
    for turn in (0, 360, -360) if pyproj.CRS.from_user_input(source).is_geographic else (0,):
        points = shapely.STRtree(shapely.points(np.where(there, x + turn, 1e12), np.where(there, y, 1e12)))
        feature, point = points.query(np.asarray(geometries), predicate="contains")
        np.maximum.at(out, point, feature + 1)
    return out


def wrong_pixels(got: np.ndarray, geometries: Any, source: Any, transform: Any, target: Any, slack: float = 0.1) -> int:
    """Count pixels that differ from `at_centres`, but for those whose centre is within ``slack`` px of an edge."""
    row, col = np.nonzero(got != at_centres(geometries, source, got.shape, transform, target))
    wrong = np.ones(len(row), dtype=bool)
    for turn in np.arange(0, 2 * np.pi, np.pi / 8) if len(row) else ():
        x, y = col + 0.5 + slack * np.cos(turn), row + 0.5 + slack * np.sin(turn)
        wrong &= got[row, col] != _held(geometries, source, x, y, transform, target)
    return int(wrong.sum())
