"""A look-alike of HySpecNet-11k."""

from __future__ import annotations

from pathlib import Path

from affine import Affine

from geodata.datasets.enmap_fake import scene, with_empty
from geodata.datasets.enmap_products_fake import write_quality
from geodata.datasets.enmap_table import NODATA, valid_bands
from geodata.datasets.fakes import write_raster

__all__ = ["write"]

TILES = (
    ("ENMAP01-____L2A-DT0000004950_20221103T162438Z_001_V010110_20221118T145147Z", 560_025, 4_475_985, 32618),
    ("ENMAP01-____L2A-DT0000004983_20221104T102305Z_003_V010110_20221121T101843Z", 399_855, 5_289_105, 32632),
)
"""Product, upper left corner, zone."""


def write(root: Path, items: int) -> None:
    """Write so many patches of two tiles, and both splits."""
    lines: list[list[str]] = [[], []]
    for i in range(items):
        tile, left, top, epsg = TILES[i % 2]
        row, col = 18 + 128 * (i // 2 % 7), 55 + 128 * (i // 14)
        patch = f"{tile}-Y{row:04d}{row + 127:04d}_X{col:04d}{col + 127:04d}"
        stem = root / "patches" / tile / patch / patch
        corner = Affine(30, 0, left + 30 * col, 0, -30, top - 30 * row)
        data = with_empty(scene(valid_bands(), 128, 200 + i))
        path = stem.with_name(f"{patch}-SPECTRAL_IMAGE.TIF")
        write_raster(path, data, corner, epsg, nodata=NODATA, compress="deflate", zlevel=1, interleave="band")
        write_quality(stem, corner, epsg, (128, 128), i)
        lines[i % 2].append(f"{tile}/{patch}/{patch}-DATA.npy")
    every = sorted(lines[0] + lines[1])
    easy = (every[2:], every[1:2], every[:1])
    hard = (lines[0], lines[1][:-1], lines[1][-1:])
    for name, parts in (("easy", easy), ("hard", hard)):
        for part, chosen in zip(("train", "val", "test"), parts, strict=True):
            path = root / "splits" / name / f"{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
