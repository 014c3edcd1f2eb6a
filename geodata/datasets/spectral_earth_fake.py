"""Look-alikes of SpectralEarth and its benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from affine import Affine

from geodata.bands import Bands
from geodata.datasets.enmap_fake import scene
from geodata.datasets.enmap_table import NODATA
from geodata.datasets.fakes import blobs, write_raster
from geodata.errors import CatalogError
from geodata.spec import DatasetSpec, Image, Mask

__all__ = ["SIZE", "names_of", "place_of", "write_masks", "write_patches", "write_splits", "write_task"]

SIZE = 128


def names_of(items: int) -> list[str]:
    """Return ``location/scene`` of so many patches: places of two dates and of one in turn."""
    return [f"{649 + 57 * (2 * i // 3):07d}/{20 + 7 * i:05d}" for i in range(items)]


def place_of(name: str) -> tuple[Affine, int]:
    """Return the transform and CRS of a patch, the same for all dates of its location."""
    number = int(name.split("/")[0])
    return Affine(30, 0, 399_960 + 3840 * (number % 91), 0, -30, 5_300_040 - 3840 * (number % 53)), 32632


def write_patches(folder: Path, bands: Bands, items: int) -> None:
    """Write so many patches; the last has a corner without values."""
    for i, name in enumerate(names_of(items)):
        data = scene(bands, SIZE, 100 + i)
        if i == items - 1:
            data[:, :16, :16] = NODATA
        write_raster(folder / f"{name}.tif", data, *place_of(name), compress="deflate", zlevel=1, interleave="pixel")


def write_masks(folder: Path, codes: Sequence[int], dtype: str, items: int, count: int = 1) -> None:
    """Write label rasters that hold up to 16 of the codes, one that is in no list, and 0."""
    for i, name in enumerate(names_of(items)):
        kept = [codes[(5 * i + k) % len(codes)] for k in range(min(len(codes), 16))]
        data = blobs((SIZE, SIZE), [*kept, 0, 99], dtype, i)
        layers = np.stack([data, *[np.zeros_like(data)] * (count - 1)])
        write_raster(folder / f"{name}.tif", layers, *place_of(name), compress="deflate")


def write_splits(folder: Path, lines: Sequence[str]) -> None:
    """Write the three parts; with four items or more none is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, chosen in (("train", lines[:-2]), ("val", lines[-2:-1]), ("test", lines[-1:])):
        (folder / f"{part}.txt").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")


def write_task(root: Path, spec: DatasetSpec, items: int) -> None:
    """Write images, label rasters and the three parts of a benchmark."""
    image, mask = (c for c in spec.contents if isinstance(c, (Image, Mask)))
    if not (isinstance(image, Image) and isinstance(mask, Mask)):
        raise CatalogError(f"{spec.title} is declared in another order than image and mask")
    codes = [code for code, number in (mask.classes.codes or {}).items() if number >= 0]
    dtype = "int64" if max(codes) > 2**31 else "uint16" if max(codes) > 255 else "uint8"
    write_patches(root / image.needs, image.bands, items)
    write_masks(root / mask.needs, codes, dtype, items, 3 if mask.band == "bnetd" else 1)
    write_splits(root / "splits", [f"{name}.tif" for name in names_of(items)])
