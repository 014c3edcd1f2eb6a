"""SSL4EO-S12: scenes, bands and where their pixels lie, on real scenes and on a look-alike."""

import os
import shutil

import numpy as np
import pytest
import rasterio
import torch
from scipy.ndimage import map_coordinates

from geodata.datasets.ssl4eo_s12 import SSL4EOS12
from geodata.datasets.ssl4eo_s12_table import BANDS, file_of
from geodata.errors import BandsError, CatalogError, GridError, NoFilesError, StaleCatalogError

SIDES = {10: 264, 20: 132, 60: 44}


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    root = tmp_path_factory.mktemp("ssl4eo")
    SSL4EOS12.fake(root, 3)
    return root


@pytest.fixture
def copy(fake, tmp_path):
    for product in ("s1", "s2a"):
        os.symlink(fake / product, tmp_path / product)
    shutil.copytree(fake / "s2c", tmp_path / "s2c")
    return tmp_path


@pytest.fixture(scope="module")
def real(realdata, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    for product in BANDS:
        os.symlink(realdata / "ssl4eo_s12" / product, root / product)
    return root


def opened(root, product, key, band):
    with rasterio.open(root / product / key / file_of(band)) as file:
        return file.read(1), file.transform, file.dtypes[0], file.nodata


def at_one_corner(data, gsd):
    """A band on the 10 m pixels, in floating point, where both start at one corner."""
    at = (np.arange(264) + 0.5) * 10 / gsd - 0.5
    return map_coordinates(data.astype(float), np.meshgrid(at, at, indexing="ij"), order=1, mode="nearest")


# ---------------------------------------------------------------------- real scenes


@pytest.mark.parametrize("product", list(BANDS))
def test_files_are_as_declared_and_headers_are_half_a_pixel_of_their_own_off(real, product):
    for asset in SSL4EOS12.index(real, product=product, on_error="raise", progress=False).assets:
        (band,) = asset.bands
        for key in SSL4EOS12(real, product).catalog.key:
            data, transform, dtype, nodata = opened(real, product, key, band.name)
            fine = opened(real, product, key, "VV" if product == "s1" else "B02")[1]
            assert data.shape == (SIDES[band.gsd],) * 2 and dtype == asset.dtype and nodata is None
            col, row = ~fine @ (transform.c, transform.f)
            half = (1 - asset.ratio) / 2
            assert max(abs(col - half), abs(row - half)) < 1e-3 and abs(transform.a / fine.a - asset.ratio) < 1e-6


@pytest.mark.parametrize("product", list(BANDS))
def test_every_band_of_both_dates_is_that_of_its_file(real, product):
    ds = SSL4EOS12(real, product)
    assert len(ds) == 2 and ds.bands.names == BANDS[product].names
    for sample in (ds[0], ds[1]):
        assert sample["valid"].all()
        for band, image in zip(sample["bands"], sample["image"].numpy(), strict=True):
            want = at_one_corner(opened(real, product, sample["key"], band.name)[0], band.gsd)
            assert np.abs(image - want).max() <= (0 if band.gsd == 10 else 0.51)


def test_pixels_of_20_m_match_those_of_10_m_at_one_corner(real):
    """Why the headers are not believed: bands that look alike match best where both start at one corner."""
    key = "0000200/20200604T054639_20200604T054831_T43RCP"
    near = opened(real, "s2c", key, "B08")[0].astype(float)
    coarse = opened(real, "s2c", key, "B8A")[0].astype(float)
    match = {}
    for name, shift in (("corner", 0.0), ("header", 0.5), ("beyond", -0.5)):
        at = (np.arange(264) + 0.5 + shift) / 2 - 0.5
        moved = map_coordinates(coarse, np.meshgrid(at, at, indexing="ij"), order=1, mode="nearest")
        match[name] = np.corrcoef(moved[8:-8, 8:-8].ravel(), near[8:-8, 8:-8].ravel())[0, 1]
    assert match["corner"] > max(match["header"], match["beyond"]) + 0.01


def test_dates_of_a_place_share_a_grid(real):
    for product in BANDS:
        ds = SSL4EOS12(real, product)
        grids = [ds.catalog.grid(row) for row in range(len(ds))]
        assert grids[0] == grids[1]
        series = ds.series("location")
        assert len(series) == 1 and series[0]["image"].shape == (2, len(BANDS[product]), 264, 264)
        assert torch.equal(series[0]["image"][1], ds[int(np.argmax(ds.catalog.time[:, 0]))]["image"])


def test_times_are_in_the_names(real):
    times = {p: SSL4EOS12(real, p).catalog.time.astype("int64").astype("datetime64[s]").astype(str) for p in BANDS}
    assert times["s2c"].tolist() == [["2020-06-04T05:46:39"] * 2, ["2020-08-23T05:46:39"] * 2]
    assert times["s1"].tolist()[0] == ["2020-06-07T01:08:00", "2020-06-07T01:08:25"]


def test_products_of_one_date_are_joined(real):
    both = SSL4EOS12(real, "s2c", bands=["B02"]).join(SSL4EOS12(real, "s2a", name="l2a", bands=["B02"]), on="key")
    (sample,) = [both[i] for i in range(len(both))]
    assert sample["key"] == "0000200/20200604T054639_20200604T054831_T43RCP"
    assert np.array_equal(sample["image"][0].numpy(), opened(real, "s2c", sample["key"], "B02")[0])
    assert np.array_equal(sample["image_l2a"][0].numpy(), opened(real, "s2a", sample["key"], "B02")[0])


# ---------------------------------------------------------------------- the look-alike


def test_rows_are_dates_of_places(fake):
    ds = SSL4EOS12(fake)
    assert ds.catalog.column("location").tolist() == ["0000200", "0000200", "0000203"]
    assert [f"{a}/{b}" for a, b in zip(ds.catalog.column("location"), ds.catalog.column("scene"), strict=True)] == list(
        ds.catalog.key
    )
    assert len(ds.series()) == 2 and not {"path", "size"} & set(ds.catalog.table.column_names)
    assert {p: len(SSL4EOS12(fake, p)) for p in BANDS} == {"s2c": 3, "s2a": 2, "s1": 2}
    radar = SSL4EOS12(fake, "s1")
    assert radar.bands.state == "dB" and [b.unit for b in radar.bands] == ["dB", "dB"]
    assert float(radar[0]["image"].min()) < -20 and radar[0]["valid"].all()


def test_zero_is_a_number(copy):
    key = SSL4EOS12(copy).catalog.key[0]
    with rasterio.open(copy / "s2c" / key / "B2.tif", "r+") as file:
        data = file.read()
        data[0, 5, 6] = 0
        file.write(data)
    sample = SSL4EOS12(copy)[0]
    assert sample["image"][1, 5, 6] == 0 and sample["valid"][5, 6]


def test_coarse_bands_alone_and_native_resolutions_are_the_stored_pixels(fake):
    alone = SSL4EOS12(fake, bands=["B12", "B05"])[0]
    for band, data in zip(("B12", "B05"), alone["image"].numpy(), strict=True):
        assert np.array_equal(data, opened(fake, "s2c", alone["key"], band)[0])
    assert SSL4EOS12(fake, bands=["swir22", 442.7]).bands.names == ("B12", "B01")
    sample = SSL4EOS12(fake, native=True)[0]
    assert [sample[f"image_x{n}"].shape for n in (1, 2, 6)] == [(4, 264, 264), (6, 132, 132), (3, 44, 44)]
    assert np.array_equal(sample["image_x6"][2].numpy(), opened(fake, "s2c", sample["key"], "B10")[0])


def test_tiles_and_windows_have_the_values_of_the_whole(fake):
    ds = SSL4EOS12(fake)
    whole = ds[0]
    for tile in (t for t in ds.tile(132) if t["key"].startswith(whole["key"])):
        r, c = tile["grid"].offset_in(whole["grid"])
        crop = (..., slice(r + 6, r + 126), slice(c + 6, c + 126))
        assert torch.equal(tile["image"][..., 6:126, 6:126], whole["image"][crop])
        assert torch.equal(tile["valid"], whole["valid"][r : r + 132, c : c + 132])


# ---------------------------------------------------------------------- what is refused


def test_a_place_without_scenes_is_named(copy):
    (copy / "s2c" / "0000999").mkdir()
    with pytest.raises(NoFilesError, match="0000999 holds no scene"):
        SSL4EOS12(copy)
    ds = SSL4EOS12(copy, on_error="skip")
    assert len(ds) == 3 and ds.catalog.dropped == ("0000999",)


def test_a_scene_without_a_band_is_named(copy):
    key = "0000200/20200604T054639_20200604T054831_T43RCP"
    for name in ("B2.tif", "B8A.tif"):
        (copy / "s2c" / key / name).unlink()
    with pytest.raises(BandsError, match=rf"{key} lacks B2.tif, B8A.tif; on_error='skip'"):
        SSL4EOS12(copy)
    ds = SSL4EOS12(copy, on_error="skip")
    assert ds.catalog.dropped == (key,) and ds[0]["image"].shape == (13, 264, 264)


def test_other_sizes_are_named(copy):
    path = copy / "s2c" / "0000203" / "20200604T054639_20200604T054831_T43RCP"
    with rasterio.open(path / "B2.tif") as file:
        data, profile = file.read(), file.profile
    with rasterio.open(path / "B2.tif", "w", **(profile | {"height": 263})) as file:
        file.write(data[:, :263])
    with pytest.raises(GridError, match=r"B2.tif has \(263, 264\) pixels, no multiple of 6"):
        SSL4EOS12(copy)
    assert len(SSL4EOS12(copy, on_error="skip")) == 2
    with rasterio.open(path / "B2.tif", "w", **profile) as file:
        file.write(data)
    with rasterio.open(path / "B5.tif") as file:
        data, profile = file.read(), file.profile
    with rasterio.open(path / "B5.tif", "w", **(profile | {"height": 131})) as file:
        file.write(data[:, :131])
    with pytest.raises(StaleCatalogError, match=r"B5.tif is 131 x 132 pixels, .* wanted 132 x 132"):
        SSL4EOS12(copy)[2]


def test_other_names_are_refused(copy):
    folder = copy / "s2c" / "0000203"
    (folder / "20200604T054639_20200604T054831_T43RCP").rename(folder / "summer")
    with pytest.raises(CatalogError, match="summer is not named as a scene of s2c"):
        SSL4EOS12(copy)
    with pytest.raises(CatalogError, match="product='s2' must be one of s2c, s2a, s1"):
        SSL4EOS12(copy, "s2")
    with pytest.raises(BandsError, match="no band 'B10'"):
        SSL4EOS12(copy, "s2a", bands=["B10"])
    shutil.rmtree(copy / "s2c")
    with pytest.raises(NoFilesError, match=r"(?s)does not hold s2c.*Expected below the root"):
        SSL4EOS12(copy)
    assert len(SSL4EOS12(copy, "s1")) == 2
