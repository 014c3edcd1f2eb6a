"""Real files read whole and in windows: every pixel and every bit of validity as rasterio has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import ColorInterp

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import CRSError

GEOREFERENCED = [
    "AST_L1T_SWIR_utm13n_6band.tif",
    "L7_ETMs_utm25s_6band.tif",
    "RGB.byte.tif",
    "RGBA.uint16.tif",
    "all-nodata_utm28n.tif",
    "au-3577-rotated.tif",
    "au-3577.tif",
    "cog_int16_nodata_utm21n.tif",
    "cog_nodata_nan_utm10n.tif",
    "cog_rgb_mask_epsg26913.tif",
    "cog_scale_offset_int16.tif",
    "cog_utm21n_uint16.tif",
    "cogeo_epsg3857_overviews.tif",
    "dem_3m_epsg26915_uint16.tif",
    "everest_landsat7_RGB_utm45n.tif",
    "float_raster_with_nodata_laea.tif",
    "geomatrix_rotated_utm11n.tif",
    "inverted_lat_southup_4326.tif",
    "landsat_greenland_utm24n/LC08_L2SP_005009_20150710_20200908_02_T2_QA_PIXEL.TIF",
    "landsat_greenland_utm24n/LC08_L2SP_005009_20150710_20200908_02_T2_SR_B2.TIF",
    "landsat_greenland_utm24n/LC08_L2SP_005009_20150710_20200908_02_T2_SR_B3.TIF",
    "landsat_greenland_utm24n/LC08_L2SP_005009_20150710_20200908_02_T2_SR_B4.TIF",
    "landsat_greenland_utm24n/LC08_L2SP_005009_20150710_20200908_02_T2_SR_B5.TIF",
    "mosaic_cog1_utm18n.tif",
    "mosaic_cog2_utm18n.tif",
    "mosaic_cog3_epsg4326.tif",
    "nlcd_lc_epsg5070.tif",
    "olinda_dem_utm25s.tif",
    "s2a_l2a_fishbourne_utm30n.tif",
    "scene_band1_utm29n.tif",
    "scene_band2_utm29n.tif",
    "shade_epsg3857.tif",
]
WITHOUT_A_LATTICE = ["RGB.byte.gcp.vrt", "rpcs_only.tif"]


def stored(path: Path) -> tuple[np.ndarray, np.ndarray, float | None]:
    """All bands but alpha, which pixels were observed in all of them, and the nodata value; by rasterio alone."""
    with rasterio.open(path) as src:
        indexes = [i for i, c in enumerate(src.colorinterp, 1) if c != ColorInterp.alpha]
        data = src.read(indexes)
        valid = np.ones(src.shape, dtype=bool)
        for i, band in zip(indexes, data, strict=True):
            valid &= src.read_masks(i) != 0
            if src.nodatavals[i - 1] is not None:
                valid &= band != np.array(src.nodatavals[i - 1]).astype(band.dtype)
            if band.dtype.kind == "f":
                valid &= ~np.isnan(band)
        if ColorInterp.alpha in src.colorinterp:
            valid &= src.read(src.colorinterp.index(ColorInterp.alpha) + 1) != 0
        return data, valid, src.nodata


def filled(data: np.ndarray, valid: np.ndarray, fill: float) -> np.ndarray:
    """The pixels with everything that was not observed set to the fill value."""
    return np.where(valid, data, np.array(fill).astype(data.dtype))


def cut(data: np.ndarray, window: tuple[int, int, int, int], fill: float | bool) -> np.ndarray:
    """A window of (..., H, W) that may reach outside, by plain indexing of a padded array."""
    r, c, h, w = window
    rows, cols = data.shape[-2:]
    out = np.full((*data.shape[:-2], h, w), fill, dtype=data.dtype)
    for i in range(max(r, 0), min(r + h, rows)):
        low, high = max(c, 0), min(c + w, cols)
        if high > low:
            out[..., i - r, low - c : high - c] = data[..., i, low:high]
    return out


def windows(shape: tuple[int, int], n: int, seed: int) -> list[tuple[int, int, int, int]]:
    """Windows inside, over every edge, and outside a raster."""
    rng = np.random.default_rng(seed)
    found = [(0, 0, 1, 1), (shape[0] - 1, shape[1] - 1, 1, 1), (-3, -5, 4, 6), (shape[0], 0, 2, 2)]
    while len(found) < n:
        h, w = (int(rng.integers(1, min(side, 200) + 10)) for side in shape)
        r, c = int(rng.integers(-h, shape[0] + 1)), int(rng.integers(-w, shape[1] + 1))
        found.append((r, c, h, w))
    return found


def test_every_real_raster_is_in_one_of_the_lists(realdata: Path) -> None:
    here = realdata / "rasters"
    found = {p.relative_to(here).as_posix() for p in here.rglob("*") if p.is_file() and p.suffix != ".txt"}
    assert found == {*GEOREFERENCED, *WITHOUT_A_LATTICE}


@pytest.mark.parametrize("name", GEOREFERENCED)
@pytest.mark.parametrize("dtype", [None, torch.float32], ids=["stored", "float32"])
def test_whole_and_in_windows_equals_rasterio_bit_for_bit(realdata: Path, name: str, dtype: torch.dtype | None) -> None:
    path = realdata / "rasters" / name
    data, valid, nodata = stored(path)
    fill = 0.0 if dtype is not None or nodata is None else nodata
    wanted = filled(data if dtype is None else data.astype(np.float32), valid, fill)
    ds = RasterDataset(path, dtype=dtype)
    sample = ds[0]
    assert sample["image"].numpy().dtype == wanted.dtype
    assert np.array_equal(sample["image"].numpy(), wanted)
    assert np.array_equal(sample["valid"].numpy(), valid)
    with rasterio.open(path) as src:
        assert sample["grid"].transform == src.transform
    for window in windows(valid.shape, 50, seed=len(name)):
        part = ds[gd.Query(row=0, window=window)]
        assert np.array_equal(part["image"].numpy(), cut(wanted, window, fill)), window
        assert np.array_equal(part["valid"].numpy(), cut(valid, window, False)), window
        assert part["grid"] == ds.catalog.grid(0).window(*window)


@pytest.mark.parametrize("name", ["au-3577-rotated.tif", "inverted_lat_southup_4326.tif", "scene_band1_utm29n.tif"])
def test_a_place_on_the_files_own_lattice_is_read_without_resampling(realdata: Path, name: str) -> None:
    path = realdata / "rasters" / name
    data, valid, _ = stored(path)
    ds = RasterDataset(path, resampling="cubic")
    window = (valid.shape[0] // 3, -4, 30, 41)
    sample = ds.read(ds.catalog.grid(0).window(*window))
    assert np.array_equal(sample["image"].numpy(), cut(filled(data.astype(np.float32), valid, 0), window, 0))
    assert np.array_equal(sample["valid"].numpy(), cut(valid, window, False))


@pytest.mark.parametrize(("name", "by"), [("RGB.byte.gcp.vrt", "ground control"), ("rpcs_only.tif", "polynomial")])
def test_what_has_no_lattice_says_so(realdata: Path, name: str, by: str) -> None:
    with pytest.raises(CRSError, match=rf"{name} is georeferenced only by .*{by}.*gdalwarp"):
        RasterDataset(realdata / "rasters" / name)


def test_one_file_per_band_is_one_item(realdata: Path) -> None:
    folder = realdata / "rasters" / "landsat_greenland_utm24n"
    ds = RasterDataset(
        folder,
        bands=["nir08", "B2", 560.0],
        sensor="landsat-8",
        pattern=r"(?P<item>.*)_(?P<date>\d{8})_\d{8}_02_T2_SR_(?P<band>B\d)\.TIF$",
    )
    assert len(ds) == 1 and ds.bands is not None and ds.bands.names == ("B5", "B2", "B3")
    sample = ds[0]
    want = [next(folder.glob(f"*SR_{b}.TIF")) for b in ("B5", "B2", "B3")]
    valid = np.logical_and.reduce([stored(p)[1] for p in want])
    image = np.concatenate([stored(p)[0] for p in want]).astype(np.float32)
    assert np.array_equal(sample["valid"].numpy(), valid)
    assert np.array_equal(sample["image"].numpy(), filled(image, valid, 0))
    assert sample["time"] == gd.Interval.parse("2015-07-10")


def test_a_hyperspectral_tile_has_its_bands_in_the_order_asked_for(realdata: Path) -> None:
    path = sorted((realdata / "enmap_potsdam" / "images").glob("*.tif"))[0]
    with rasterio.open(path) as src:
        data, names = src.read(), [d.split(" (")[0] for d in src.descriptions]
        missing = data == src.nodata
    every = RasterDataset(path, dtype=None)
    assert every.bands is not None and every.bands.names == tuple(names) and len(names) == 224
    assert missing.any(axis=0).all() and not every[0]["valid"].any(), (
        "in the water bands no pixel of any tile is observed"
    )
    good = np.flatnonzero(~missing.any(axis=(1, 2)))
    order = np.random.default_rng(0).permutation(good)[:40]
    picked = RasterDataset(path, dtype=None, bands=[names[i] for i in order])
    assert picked[0]["valid"].all() and np.array_equal(picked[0]["image"].numpy(), data[order])
    near = RasterDataset(path, dtype=None, bands=[860.0, 660.0])
    assert near.bands is not None and np.abs(near.bands.wavelengths - [860, 660]).max() < 4
