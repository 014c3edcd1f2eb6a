"""Overviews are read for averages alone, where GDAL recorded that they are averages of all pixels; else never."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from makers import north_up, write_tif
from rasterio.enums import Resampling

import geodata.assembly
from geodata.datasets import RasterDataset
from geodata.errors import StaleCatalogError
from geodata.grid import Grid
from geodata.readers.base import Raster
from geodata.readers.overviews import averages, read_average
from geodata.readers.warp import warp

UTM = "EPSG:32633"
SHAPE = (1023, 770)


def with_overviews(path, method=Resampling.average, factors=(2, 4, 8), nodata=None, dtype="uint16"):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 9000, (2, *SHAPE)).astype(dtype)
    write_tif(path, data, nodata=nodata, tiled=True, blockxsize=128, blockysize=128)
    with rasterio.open(path, "r+") as dst:
        dst.build_overviews(list(factors), method)
    return data


@pytest.fixture
def used(monkeypatch):
    """Levels that datasets read."""
    levels = []
    monkeypatch.setattr(
        geodata.assembly,
        "read_average",
        lambda href, level, *rest: (levels.append(level), read_average(href, level, *rest))[1],
    )
    return levels


def coarse(factor, pixels=6):
    return Grid((pixels, pixels), (10 * factor, 0, 500100, 0, -10 * factor, 5599900), UTM)


def test_recorded_averages_are_found_with_their_sizes(tmp_path):
    with_overviews(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif", overview_level=1) as src:
        quarter = src.shape
    found = averages(str(tmp_path / "a.tif"), SHAPE)
    assert len(found) == 3 and found[1] == quarter == (256, 193)


def test_what_is_not_said_to_be_an_average_is_none(tmp_path):
    with_overviews(tmp_path / "nearest.tif", Resampling.nearest)
    with_overviews(tmp_path / "mixed.tif", factors=(2,))
    with rasterio.open(tmp_path / "mixed.tif", "r+") as dst:
        dst.build_overviews([4], Resampling.nearest)
    with_overviews(tmp_path / "tags.tif", Resampling.nearest)
    with rasterio.open(tmp_path / "tags.tif", "r+") as dst:
        dst.update_tags(OVR_RESAMPLING_ALG="AVERAGE")
        dst.update_tags(ns="rio_overview", resampling="average")
    write_tif(tmp_path / "none.tif", np.ones(SHAPE, np.uint16))
    with_overviews(tmp_path / "other.tif")
    for name in ("nearest", "mixed", "tags", "none"):
        assert averages(str(tmp_path / f"{name}.tif"), SHAPE) == [], name
    assert averages(str(tmp_path / "other.tif"), (1000, 770)) == []


def test_no_real_file_says_so(realdata):
    """They are of NEAREST, or older than the record; one has AVERAGE in a tag of the file alone."""
    names = ["L7_ETMs_utm25s_6band", "cog_utm21n_uint16", "cogeo_epsg3857_overviews", "cog_nodata_nan_utm10n"]
    for name in names:
        path = realdata / "rasters" / f"{name}.tif"
        with rasterio.open(path) as src:
            assert src.overviews(1)
            assert averages(str(path), src.shape) == [], name


@pytest.mark.parametrize(("factor", "level"), [(7, None), (8, 0), (15, 0), (16, 1), (31, 1), (33, 2), (100, 2)])
def test_the_coarsest_of_a_quarter_of_a_target_pixel_is_read(tmp_path, used, factor, level):
    data = with_overviews(tmp_path / "a.tif")
    got = RasterDataset(tmp_path / "a.tif", resampling="average").read(coarse(factor))
    assert set(used) == ({level} if level is not None else set())
    assert got["valid"].any()

    def read(window, _level):
        r, c, h, w = window
        return Raster(data[:, r : r + h, c : c + w], np.ones((h, w), bool))

    full = np.zeros((2, 6, 6))
    valid = warp(read, Grid(SHAPE, north_up(), UTM), coarse(factor), "average", full)
    inside = valid & got["valid"].numpy()
    assert inside[:2, :2].all()
    # Edges off by an eighth of a pixel at most, of values that do not depend on each other; and one rounding per level.
    bound = 4 * 9000 / 3.4 / factor * np.sqrt(0.5) + 2
    assert np.abs(got["image"].numpy() - full)[:, inside].max() < bound
    aligned = Grid((3, 3), (10 * 32, 0, 500000, 0, -320, 5600000), UTM)
    blocks = data[:, :96, :96].reshape(2, 3, 32, 3, 32).mean(axis=(2, 4))
    got = RasterDataset(tmp_path / "a.tif", resampling="average").read(aligned)
    # 1023 and 770 are no multiples: an overview pixel is 0.1 % less than two, and pixels do not end where ours end.
    assert np.abs(got["image"].numpy() - blocks).max() < 9000 / 3.4 / 32


@pytest.mark.parametrize("how", ["nearest", "bilinear", "cubic", "mode"])
def test_other_methods_read_all_pixels(tmp_path, used, how):
    with_overviews(tmp_path / "a.tif")
    RasterDataset(tmp_path / "a.tif", resampling=how).read(coarse(16, 2))
    assert used == []


def test_files_with_gaps_and_parts_of_files_are_read_in_full(tmp_path, used):
    with_overviews(tmp_path / "gaps.tif", nodata=0)
    RasterDataset(tmp_path / "gaps.tif", resampling="average").read(coarse(16))
    with_overviews(tmp_path / "floats.tif", dtype="float32")
    RasterDataset(tmp_path / "floats.tif", resampling="average").read(coarse(16))
    with_overviews(tmp_path / "a.tif")
    whole = RasterDataset(tmp_path / "a.tif", resampling="average")
    whole.tile(256).read(coarse(16))
    assert used == []
    whole.read(coarse(16))
    assert used != []


def test_a_file_that_changed_is_said_to_have_changed(tmp_path):
    with_overviews(tmp_path / "a.tif")
    with pytest.raises(StaleCatalogError, match="scan again"):
        read_average(str(tmp_path / "a.tif"), 2, (0, 0, 200, 10), (1,), "uint16")
    with pytest.raises(StaleCatalogError, match="scan again"):
        read_average(str(tmp_path / "a.tif"), 2, (0, 0, 10, 10), (1,), "uint8")
