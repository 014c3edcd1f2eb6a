"""Tiny rasters and catalogs, made where a test needs them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geodata.catalog import Catalog

__all__ = ["catalog_of", "north_up", "rotated", "write_tif"]

UTM33 = "EPSG:32633"


def north_up(x: float = 500000.0, y: float = 5600000.0, res: float = 10.0, yres: float | None = None) -> Affine:
    """Transform of a grid whose upper left corner is at x, y; a negative `yres` gives a south-up grid."""
    return Affine(res, 0.0, x, 0.0, -(res if yres is None else yres), y)


def rotated(x: float, y: float, res: float, degrees: float) -> Affine:
    """Transform of a grid turned about its first corner, which is at x, y."""
    turn = math.radians(degrees)
    c, s = res * math.cos(turn), res * math.sin(turn)
    return Affine(c, s, x, s, -c, y)


def write_tif(
    path: Any,
    array: Any = None,
    transform: Affine | None = None,
    crs: Any = UTM33,
    nodata: float | None = None,
    descriptions: Sequence[str | None] | None = None,
    mask: Any = None,
    *,
    scales: Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    colorinterp: Sequence[Any] | None = None,
    band_tags: Sequence[dict[str, str]] | None = None,
    ns: str | None = None,
    **profile: Any,
) -> Path:
    """Write a GeoTIFF and return its path; folders are made.

    Parameters
    ----------
    path : where to
    array : (H, W) or (C, H, W), any dtype of GDAL; default (1, 8, 8) uint8 counting up
    transform : affine.Affine, default `north_up()`
    crs : anything rasterio takes; with None the transform is left out unless given
    mask : (H, W) bool or None, True = observed; written as an internal mask
    band_tags, ns : one dict of tags per band, and their GDAL domain
    profile : passed on to rasterio (``tiled=True``, ``driver="PNG"``...)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) if array is None else np.asarray(array)
    data = data[None] if data.ndim == 2 else data
    place = north_up() if transform is None and crs is not None else transform
    options = {"driver": "GTiff", "nodata": nodata, "crs": crs, "transform": place} | profile
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        shape = {"count": data.shape[0], "height": data.shape[1], "width": data.shape[2], "dtype": data.dtype}
        with rasterio.open(path, "w", **shape, **options) as dst:
            if colorinterp is not None:
                dst.colorinterp = colorinterp
            dst.write(data)
            for i, text in enumerate(descriptions or [], 1):
                dst.set_band_description(i, text or "")
            if scales is not None:
                dst.scales = scales
            if offsets is not None:
                dst.offsets = offsets
            for i, tags in enumerate(band_tags or [], 1):
                dst.update_tags(i, ns=ns, **tags)
            if mask is not None:
                dst.write_mask(np.asarray(mask, dtype=bool))
    return path


def catalog_of(*items: Any, prefix: str = "k", **columns: Any) -> Catalog:
    """Make a catalog of (transform, (height, width), crs) items with keys k0, k1...; the rest goes to `from_columns`."""
    return Catalog.from_columns(
        key=[f"{prefix}{i}" for i in range(len(items))],
        affine=[tuple(t)[:6] for t, _, _ in items],
        shape=[s for _, s, _ in items],
        crs=[c for _, _, c in items],
        **columns,
    )
