"""A look-alike of SSL4EO-S12."""

from __future__ import annotations

import json
from pathlib import Path

from affine import Affine

from geodata.datasets.fakes import pixels, write_raster
from geodata.datasets.ssl4eo_s12_table import BANDS, SIDE, file_of

__all__ = ["write"]

OPTICAL = ("20200604T054639_20200604T054831_T43RCP", "20200823T054639_20200823T055618_T43RCP")
RADAR = (
    "S1A_IW_GRDH_1SDV_20200607T010800_20200607T010825_032904_03CFBA_D457",
    "S1A_IW_GRDH_1SDV_20200903T131212_20200903T131237_034195_03F8F5_AC1C",
)
CORNER = (73.292595, 30.475529)
"""Upper left corner of the first place, degrees."""


def write(root: Path, items: int) -> None:
    """Write so many scenes of L1C, two of each place, and of the first place L2A and Sentinel-1 too."""
    for i in range(items):
        # Ids have gaps.
        location, corner = f"{200 + 3 * (i // 2):07d}", (CORNER[0] + 0.1 * (i // 2), CORNER[1])
        for product in ("s2c", "s2a", "s1") if i < 2 else ("s2c",):
            scene = (RADAR if product == "s1" else OPTICAL)[i % 2]
            _write(root / product / location / scene, product, corner, 100 * i)


def _write(folder: Path, product: str, corner: tuple[float, float], seed: int) -> None:
    pixel = (1.0217e-4, 8.83e-5) if product == "s1" else (1.0141e-4, 8.797e-5)
    for k, band in enumerate(BANDS[product]):
        ratio = int((band.gsd or 10) / 10)
        shape = (SIDE // ratio, SIDE // ratio)
        width, height = pixel[0] * ratio, pixel[1] * ratio
        # Half a pixel of each band itself, as the authors wrote them.
        transform = Affine(width, 0, corner[0] - width / 2, 0, -height, corner[1] + height / 2)
        if product == "s1":
            data = pixels(shape, "float32", -25 - 7 * k, 3 - 7 * k, seed + k)
        else:
            data = pixels(shape, "uint16", 5, 5000, seed + 10 + k)
        write_raster(folder / file_of(band.name), data, transform, "EPSG:4326")
    (folder / "metadata.json").write_text(json.dumps({"system:index": folder.name}), encoding="utf-8")
