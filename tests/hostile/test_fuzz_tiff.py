"""TIFFs that are broken on purpose: an error of geodata or the pixels that rasterio reads, in bounded memory and time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from fuzzing import broken_tiff, cases, verdicts, write_all
from makers import write_tif
from rasterio.enums import ColorInterp


def seeds(folder: Path) -> list[bytes]:
    """Small TIFFs of every layout, compression and kind of mask."""
    rng = np.random.default_rng(0)
    byte = rng.integers(0, 100, (1, 50, 70)).astype(np.uint8)
    three, deep = np.repeat(byte, 3, axis=0), byte.astype(np.uint16) * 37
    smooth = np.add.outer(np.arange(50), np.arange(70)).astype(np.float32)[None]
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 32}
    made = [
        write_tif(folder / "strips.tif", byte, nodata=0),
        write_tif(folder / "tiles.tif", deep, compress="deflate", predictor=2, **tiles),
        write_tif(folder / "planes.tif", three, compress="lzw", interleave="band", blockysize=7),
        write_tif(folder / "pixels.tif", three, compress="zstd", interleave="pixel", **tiles),
        write_tif(folder / "jpeg.tif", three, compress="jpeg", photometric="ycbcr", **tiles),
        write_tif(folder / "lerc.tif", smooth, compress="lerc"),
        write_tif(folder / "float.tif", smooth, compress="deflate", predictor=3, nodata=7, **tiles),
        write_tif(folder / "packbits.tif", byte, compress="packbits"),
        write_tif(folder / "big.tif", deep, bigtiff="yes", compress="deflate", **tiles),
        write_tif(folder / "endian.tif", deep, endianness="big", compress="deflate"),
        write_tif(folder / "mask.tif", byte, mask=byte[0] > 20, compress="deflate"),
        write_tif(folder / "alpha.tif", three[:2], colorinterp=[ColorInterp.gray, ColorInterp.alpha], nodata=3),
        write_tif(folder / "bits.tif", byte % 2, nbits=1, compress="ccittfax4"),
        write_tif(folder / "wide.tif", deep.astype(np.int64), nodata=2**53 + 1),
    ]
    tifffile.imwrite(folder / "pages.tif", np.stack([byte[0], byte[0][:, ::-1]]), photometric="minisblack")
    return [p.read_bytes() for p in (*made, folder / "pages.tif")]


@pytest.mark.parametrize("n", [250, pytest.param(5000, marks=pytest.mark.slow)])
def test_broken_tiffs(workers, tmp_path, n):
    folder = tmp_path / "cases"
    for start in range(0, n, 1000):
        made = cases(seeds(tmp_path / "seeds"), broken_tiff, min(n, 1000), start)
        said = verdicts(workers, "raster", folder, write_all(folder, made, ".tif"))
        assert said[""] and said["ReadError"]
