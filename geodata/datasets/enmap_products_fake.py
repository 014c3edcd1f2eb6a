"""A look-alike of EnMAP level 2A products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine

from geodata.bands import Bands
from geodata.datasets.enmap_fake import scene
from geodata.datasets.enmap_table import NODATA, bands
from geodata.datasets.fakes import blobs, write_raster

__all__ = ["QUALITIES", "write", "write_quality"]

QUALITIES = {
    "CIRRUS": (0, 1, 2, 3), "CLASSES": (1, 2), "CLOUD": (0, 1), "CLOUDSHADOW": (0, 1), "HAZE": (0, 1), "SNOW": (0,),
    "TESTFLAGS": (0, 3, 12),
}  # fmt: skip

EMPTY = range(130, 136)
"""Numbers of bands without values in a scene."""


def write(root: Path, items: int) -> None:
    """Write so many scenes of 48 by 56 pixels, turned in their frame as real ones are; every fourth as COG."""
    for i in range(items):
        start = f"202211{2 + i % 28:02d}T10{i % 60:02d}26Z"
        name = f"ENMAP01-____L2A-DT{4950 + i:010d}_{start}_{1 + i % 9:03d}_V010303_20230922T131826Z"
        data = scene(bands("product"), 56, 300 + i)[:, :48]
        data[[number - 1 for number in EMPTY]] = NODATA
        outside = np.add.outer(np.arange(48), np.arange(56)) < 12
        data[:, outside] = NODATA
        corner, cog = Affine(30, 0, 390_015 + 45_000 * i, 0, -30, 5_520_015), "_COG" if i % 4 == 3 else ""
        folder = root / name
        write_raster(
            folder / f"{name}-SPECTRAL_IMAGE{cog}.TIF", data, corner, 32632, nodata=NODATA, compress="deflate", zlevel=1
        )
        write_quality(folder / name, corner, 32632, (48, 56), i, cog)
        (folder / f"{name}-METADATA.XML").write_text(_metadata(name, bands("product"), 0.02 * i), encoding="utf-8")


def write_quality(stem: Path, corner: Affine, epsg: int, shape: tuple[int, int], seed: int, cog: str = "") -> None:
    """Write the quality layers of a product."""
    for k, (layer, values) in enumerate(QUALITIES.items()):
        tags = {"nodata": 3} if layer == "CLASSES" else {}
        path = stem.with_name(f"{stem.name}-QL_QUALITY_{layer}{cog}.TIF")
        write_raster(path, blobs(shape, values, "uint8", 10 * seed + k), corner, epsg, compress="lzw", **tags)


def _metadata(name: str, known: Bands, drift: float) -> str:
    rows = "".join(
        f'<bandID number="{i}"><wavelengthCenterOfBand>{(band.wavelength or 0) + drift:.6g}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{band.fwhm}</FWHMOfBand><GainOfBand>0.0001</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>\n"
        for i, band in enumerate(known, 1)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<level_X><metadata><name>{name}-METADATA.XML</name></metadata>\n'
        f"<specific><numberOfVNIRBands>91</numberOfVNIRBands><bandCharacterisation>\n{rows}</bandCharacterisation></specific></level_X>\n"
    )
