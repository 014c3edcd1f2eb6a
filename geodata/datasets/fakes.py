"""What look-alikes of archives are written with: made-up pixels that are the same each time, and files as others wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from geodata.readers.base import quietly

__all__ = ["blobs", "pixels", "write_image", "write_raster"]


def pixels(shape: Sequence[int], dtype: str, low: float, high: float, seed: int) -> NDArray[Any]:
    """Return an array of any shape that varies smoothly, with some noise, between two values.

    Parameters
    ----------
    shape : (..., H, W)
    """
    draw = np.random.default_rng(seed)
    height, width = shape[-2:]
    rows, cols = np.mgrid[:height, :width]
    planes = []
    for _ in range(int(np.prod(shape[:-2], dtype=int))):
        a, b, c = (*draw.uniform(0.02, 0.3, 2), draw.uniform(0, 6))
        wave = np.sin(a * rows + c) * np.cos(b * cols - c) + draw.normal(0, 0.15, (height, width))
        planes.append((wave - wave.min()) / max(float(np.ptp(wave)), 1e-9))
    field = low + (high - low) * np.stack(planes).reshape(shape)
    out: NDArray[Any] = (np.rint(field) if np.dtype(dtype).kind in "iu" else field).astype(dtype)
    return out


def blobs(shape: tuple[int, int], values: Sequence[int], dtype: str, seed: int) -> NDArray[Any]:
    """Return (H, W) class numbers in patches, each of the values at least once where there is room."""
    draw = np.random.default_rng(seed)
    height, width = shape
    seeds = draw.uniform(0, 1, (max(2 * len(values), 4), 2)) * (height, width)
    rows, cols = np.mgrid[:height, :width]
    nearest = np.argmin([(rows - r) ** 2 + (cols - c) ** 2 for r, c in seeds], axis=0)
    out: NDArray[Any] = np.asarray(values)[nearest % len(values)].astype(dtype)
    out.reshape(-1)[: len(values)] = np.asarray(values, dtype=dtype)[: out.size]
    return out


def write_raster(path: Path, data: NDArray[Any], transform: Any = None, crs: Any = None, **profile: Any) -> None:
    """Write (C, H, W) or (H, W) as a GeoTIFF.

    Parameters
    ----------
    transform : Affine, or its a, b, c, d, e, f
    profile : of rasterio; ``descriptions`` names the bands
    """
    data = data[None] if data.ndim == 2 else data
    descriptions = profile.pop("descriptions", ())
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = data.shape
    where = {} if transform is None else {"transform": Affine(*tuple(transform)[:6]), "crs": crs}
    with (
        quietly(),
        rasterio.open(
            path, "w", driver="GTiff", dtype=data.dtype, count=count, height=height, width=width, **where, **profile
        ) as file,
    ):
        file.write(data)
        for i, text in enumerate(descriptions, 1):
            file.set_band_description(i, text)


def write_image(path: Path, data: NDArray[np.uint8], driver: str = "JPEG") -> None:
    """Write (3, H, W) or (H, W) bytes as a JPEG, PNG or BMP without the side files of GDAL."""
    data = data[None] if data.ndim == 2 else data
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = data.shape
    with quietly(), MemoryFile() as held:
        with held.open(driver=driver, dtype="uint8", count=count, height=height, width=width) as file:
            file.write(data)
        path.write_bytes(held.read())
