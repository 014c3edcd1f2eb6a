"""A look-alike of reBEN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from affine import Affine

from geodata.datasets.fakes import blobs, pixels, write_raster
from geodata.datasets.reben_table import EXCLUDED
from geodata.datasets.tables import classes

__all__ = ["write"]

PRODUCTS = (
    ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP", "S1A_IW_GRDH_1SDV_20170613T165043", 32633, 300000, 5400000, "Austria"),
    ("S2B_MSIL2A_20180421T114349_N9999_R123_T29UPU", "S1B_IW_GRDH_1SDV_20180420T182437", 32629, 600000, 5900040, "Ireland"),
)  # fmt: skip
"""Product, Sentinel-1 scene, zone and upper left corner of the tile."""

PLACES = ((26, 57), (14, 40), (5, 3), (45, 45), (70, 75), (90, 0), (0, 90), (23, 68))
"""Column and row of patches in their tile: of all three parts of the split."""

CODES = ((211, 231, 311, 313, 999), (112, 242, 243, 332), (312, 324, 512, 523, 122), (244, 411, 331, 133))
SIZES = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"), 60: ("B01", "B09")}


def write(root: Path, items: int) -> None:
    """Write so many patches, and one more that the authors leave out, with both tables."""
    rows = [_patch(root, i) for i in range(items + 1)]
    rows[-1] |= {"contains_cloud_or_shadow": True}
    for file, part in (("metadata.parquet", rows[:-1]), (EXCLUDED, rows[-1:])):
        held = sorted(part, key=lambda row: str(row["patch_id"]))
        pq.write_table(pa.Table.from_pylist(held), root / file, compression="zstd")


def _patch(root: Path, i: int) -> dict[str, Any]:
    product, scene, epsg, left, top, country = PRODUCTS[i % 2]
    x, y = PLACES[i // 2 % len(PLACES)]
    x, y = (x + i // 16) % 91, y
    name = f"{product}_{x:02d}_{y:02d}"
    radar = f"{scene}_{product[-5:]}_{x}_{y}"
    corner = Affine(10, 0, left + 1200 * x, 0, -10, top - 1200 * y)
    for res, bands in SIZES.items():
        for k, band in enumerate(bands):
            data = pixels((1200 // res, 1200 // res), "uint16", 35, 4000, 1000 * i + 10 * k + res)
            _write(root / "BigEarthNet-S2" / product / name / f"{name}_{band}.tif", data, corner, epsg, res, nodata=0)
    for k, band in enumerate(("VH", "VV")):
        data = pixels((120, 120), "float32", -30 + 6 * k, -4 + 6 * k, 1000 * i + 500 + k)
        _write(root / "BigEarthNet-S1" / scene / radar / f"{radar}_{band}.tif", data, corner, epsg, 10)
    codes = CODES[i % len(CODES)]
    data = blobs((120, 120), codes, "uint16", i)
    path = root / "Reference_Maps" / product / name / f"{name}_reference_map.tif"
    _write(path, data, corner, epsg, 10, nodata=0, compress="deflate", predictor=2)
    table = classes("clc19")
    present = {(table.codes or {})[code] for code in codes}
    return {
        "patch_id": name,
        "labels": sorted(table.names[c] for c in present if c >= 0),
        "split": _part(x, y),
        "country": country,
        "s1_name": radar,
        "s2v1_name": f"{product[:26]}_{x}_{y}",
        "contains_seasonal_snow": False,
        "contains_cloud_or_shadow": False,
    }


def _part(x: int, y: int) -> str:
    """Which frame of its tile a patch is in."""
    if min(x, y) >= 23 and max(x, y) <= 68:
        return "test"
    return "validation" if min(x, y) >= 13 and max(x, y) <= 77 else "train"


def _write(path: Path, data: Any, corner: Affine, epsg: int, res: int, **tags: Any) -> None:
    write_raster(path, data, corner @ Affine.scale(res / 10), epsg, **tags)
