"""Any folder of rasters: windows, dtypes, validity, masks, resolutions, bands, mosaics; and what is refused."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import north_up, rotated, write_tif
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.warp import transform_bounds

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import (
    BandsError,
    CatalogError,
    CRSError,
    DtypeError,
    GridError,
    NoOverlapError,
    QueryError,
    ReadError,
    SplitError,
    StaleCatalogError,
)

BANDS = r"(?P<item>\w+)_(?P<band>B\w+)\.tif$"
DATED = r"(?P<item>\w+?)_(?P<date>\d{8})\.tif$"


def noise(*shape, seed=0, dtype="uint16", low=1, high=5000):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def read_box(ds, left, top, height, width, **options):
    """Read pixels by place: row and column are counted from the corner of `north_up()`, 10 m each."""
    x, y = 500000 + 10 * left, 5600000 - 10 * top
    return ds.read((x, y - 10 * height, x + 10 * width, y), crs="EPSG:32633", **options)


# ---------------------------------------------------------------------- windows


@pytest.fixture(scope="module", params=["nearest", "bilinear"])
def pyramid(request, tmp_path_factory):
    """One item of bands of 10, 20 and 60 m with gaps, and its whole image."""
    folder = tmp_path_factory.mktemp("pyramid")
    for ratio, name in ((1, "B02"), (2, "B05"), (6, "B01")):
        pixels = noise(48 // ratio, 60 // ratio, seed=ratio)
        pixels[np.random.default_rng(ratio).random(pixels.shape) < 0.03] = 0
        write_tif(folder / f"a_{name}.tif", pixels, north_up(res=10 * ratio), nodata=0)
    ds = RasterDataset(folder, pattern=BANDS, resampling=request.param)
    return ds, ds[0]


def crop(whole, window, fill):
    """The part of (..., H, W) that a window shows, `fill` outside."""
    r, c, h, w = window
    out = torch.full((*whole.shape[:-2], h, w), fill, dtype=whole.dtype)
    rows = range(max(r, 0), min(r + h, whole.shape[-2]))
    cols = range(max(c, 0), min(c + w, whole.shape[-1]))
    for i in rows:
        for j in cols:
            out[..., i - r, j - c] = whole[..., i, j]
    return out


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(-9, 50), st.integers(-9, 62), st.integers(1, 25), st.integers(1, 25)))
def test_a_window_is_a_crop_of_the_whole_at_any_offset(pyramid, window):
    ds, whole = pyramid
    part = ds[gd.Query(row=0, window=window)]
    assert torch.equal(part["image"], crop(whole["image"], window, 0.0))
    assert torch.equal(part["valid"], crop(whole["valid"], window, False))
    assert part["grid"] == whole["grid"].window(*window)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 13), st.integers(0, 11), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9))
def test_a_window_of_a_tile_is_a_crop_of_the_tile(pyramid, size, nth, row, height, width):
    ds, _ = pyramid
    tiles = ds.tile((size, 7))
    nth %= len(tiles)
    whole, window = tiles[nth], (row - 2, -1, height, width)
    part = tiles[gd.Query(row=nth, window=window)]
    assert torch.equal(part["image"], crop(whole["image"], window, 0.0))
    assert torch.equal(part["valid"], crop(whole["valid"], window, False))


def test_tiles_put_back_together_are_the_whole(tmp_path):
    pixels = noise(2, 37, 53)
    ds = RasterDataset(write_tif(tmp_path / "a.tif", pixels, rotated(5e5, 5.6e6, 10, 33)), dtype=None)
    out = np.zeros_like(pixels)
    for sample in (tiles := ds.tile(16)):
        row, col = sample["grid"].offset_in(ds.catalog.grid(0))
        h, w = sample["grid"].shape
        assert (out[:, row : row + h, col : col + w] == 0).all()
        out[:, row : row + h, col : col + w] = sample["image"].numpy()
    assert len(tiles) == 12 and np.array_equal(out, pixels)


def test_integers_count_from_the_end_and_iteration_stops(tmp_path):
    for i in range(3):
        write_tif(tmp_path / f"{i}.tif", np.full((4, 4), i, np.uint8))
    ds = RasterDataset(tmp_path)
    assert [int(s["image"][0, 0, 0]) for s in ds] == [0, 1, 2]
    assert int(ds[-1]["image"][0, 0, 0]) == 2 and ds[np.int64(1)]["key"] == "1" and ds[torch.tensor(2)]["key"] == "2"
    with pytest.raises(IndexError, match="item 3 of a dataset with 3 items"):
        ds[3]


@pytest.mark.parametrize("index", ["a", 1.5, slice(0, 2), (1, 2), None])
def test_what_is_no_index_is_named(tmp_path, index):
    ds = RasterDataset(write_tif(tmp_path / "a.tif"))
    with pytest.raises(
        QueryError,
        match=r"is no index; use an integer, a Query, a tuple of queries \(views\), a Grid, or ds\[x0:x1, y0:y1, t0:t1\]",
    ):
        ds[index]


def test_a_window_of_parts_of_pixels_is_refused(tmp_path):
    write_tif(tmp_path / "a.tif")
    with pytest.raises(QueryError, match="whole pixels"):
        gd.Query(row=0, window=(0.5, 0, 2, 2))
    with pytest.raises(QueryError, match="row 7 of a dataset with 1 rows"):
        RasterDataset(tmp_path)[gd.Query(row=7)]


def test_what_a_sample_holds(tmp_path):
    write_tif(tmp_path / "a_20200503.tif", noise(2, 6, 5), descriptions=["red", "nir"])
    ds = RasterDataset(tmp_path, pattern=DATED, name="s2")
    sample = ds[gd.Query(row=0, window=(1, 2, 3, 2), epoch=4, index=9)]
    assert set(sample) == {"image_s2", "valid_s2", "bands_s2", "grid_s2", "grid", "time", "key", "query", "draw"}
    assert sample["bands_s2"].names == ("red", "nir") and sample["key"] == "a"
    assert sample["time"] == gd.Interval.parse("2020-05-03") and sample["draw"].tolist() == [4, 9]
    assert sample["query"] == gd.Query(row=0, window=(1, 2, 3, 2), epoch=4, index=9)
    assert sample["grid"].transform.c == 500020 and sample["grid"].transform.f == 5599990
    assert ds.keys == ("image_s2", "valid_s2", "bands_s2")


def test_transforms_see_every_sample_once(tmp_path):
    write_tif(tmp_path / "a.tif")
    ds = RasterDataset(tmp_path, transforms=lambda s: {**s, "twice": s["image"] * 2})
    assert torch.equal(ds[0]["twice"], ds[0]["image"] * 2)
    assert all("twice" in s for s in ds.tile(4))


# ---------------------------------------------------------------------- dtype and fill


@pytest.mark.parametrize("stored", ["int32", "uint32", "float64", "int64", "uint64"])
def test_the_default_refuses_what_float32_cannot_hold(tmp_path, stored):
    write_tif(tmp_path / "a.tif", np.ones((4, 4), stored))
    with pytest.raises(DtypeError, match=rf"stored {stored} does not fit float32 exactly; say dtype="):
        RasterDataset(tmp_path)
    assert RasterDataset(tmp_path, dtype=None)[0]["image"].numpy().dtype == stored
    assert RasterDataset(tmp_path, dtype=torch.float32)[0]["image"].dtype == torch.float32


@pytest.mark.parametrize("stored", ["uint8", "int8", "uint16", "int16", "float32"])
def test_the_default_takes_what_float32_holds_exactly(tmp_path, stored):
    kind = np.finfo(stored) if stored == "float32" else np.iinfo(stored)
    pixels = np.array([[kind.min, kind.max], [0, 1]], dtype=stored)
    write_tif(tmp_path / "a.tif", pixels)
    sample = RasterDataset(tmp_path)[0]
    assert sample["image"].dtype == torch.float32 and sample["valid"].all()
    assert np.array_equal(sample["image"].numpy()[0].astype(np.float64), pixels.astype(np.float64))


@pytest.mark.parametrize(
    ("stored", "value", "asked"),
    [
        ("uint16", 300, torch.uint8),
        ("int16", -1, torch.uint8),
        ("float32", 1.5, torch.int16),
        ("float32", 70000, torch.float16),
        ("int32", 40000, torch.int16),
        ("uint16", 2, torch.bool),
    ],
)
def test_a_cast_that_loses_a_value_raises(tmp_path, stored, value, asked):
    pixels = np.ones((4, 4), stored)
    write_tif(tmp_path / "fits.tif", pixels)
    pixels[2, 1] = value
    write_tif(tmp_path / "loses.tif", pixels)
    ds = RasterDataset(tmp_path, dtype=asked)
    assert ds[0]["image"].dtype == asked and (ds[0]["image"] == 1).all()
    with pytest.raises(DtypeError, match=rf"loses.tif: value {value}(\.0)? does not fit .*; choose a wider dtype"):
        ds[1]


def test_a_lost_value_that_is_not_observed_does_not_matter(tmp_path):
    pixels = np.ones((4, 4), np.uint16)
    pixels[0] = 65535
    write_tif(tmp_path / "a.tif", pixels, nodata=65535)
    sample = RasterDataset(tmp_path, dtype=torch.uint8)[0]
    assert sample["valid"].sum() == 12 and (sample["image"][0, 1:] == 1).all()
    nan = np.ones((4, 4), np.float32)
    nan[0] = np.nan
    write_tif(tmp_path / "nan" / "a.tif", nan, nodata=np.nan)
    assert (
        RasterDataset(tmp_path / "nan", dtype=torch.int16)[0]["valid"].sum(dim=1) == torch.tensor([0, 4, 4, 4])
    ).all()


def test_a_dtype_that_cannot_be_read_into_is_named(tmp_path):
    write_tif(tmp_path / "a.tif")
    with pytest.raises(DtypeError, match="bfloat16 cannot be read into; read float32 and cast the batch"):
        RasterDataset(tmp_path, dtype=torch.bfloat16)
    with pytest.raises(DtypeError, match="must be a torch dtype, or None"):
        RasterDataset(tmp_path, dtype="float32")


def test_bands_of_several_dtypes(tmp_path):
    write_tif(tmp_path / "a_B1.tif", np.full((4, 4), 7, np.uint8))
    write_tif(tmp_path / "a_B2.tif", np.full((4, 4), -5, np.int16))
    assert RasterDataset(tmp_path, pattern=BANDS)[0]["image"][:, 0, 0].tolist() == [7, -5]
    with pytest.raises(DtypeError, match="stored as int16, uint8; dtype=None needs one stored dtype"):
        RasterDataset(tmp_path, pattern=BANDS, dtype=None)
    assert RasterDataset(tmp_path, pattern=BANDS, dtype=None, bands=["B2"])[0]["image"].dtype == torch.int16


@pytest.mark.parametrize(
    ("stored", "nodata", "dtype", "fill"),
    [
        ("uint16", 9, None, 9),
        ("uint16", 9, torch.float32, 0),
        ("uint16", None, None, 0),
        ("float32", -9999, None, -9999),
        ("float32", -9999, torch.float32, 0),
        ("float32", np.nan, None, 0),
    ],
)
def test_unobserved_pixels_hold_the_fill(tmp_path, stored, nodata, dtype, fill):
    pixels = np.full((2, 4, 4), 5, stored)
    if nodata is not None:
        pixels[1, 0, 0] = nodata
    write_tif(tmp_path / "a.tif", pixels, nodata=nodata)
    ds = RasterDataset(tmp_path, dtype=dtype)
    sample = ds[gd.Query(row=0, window=(-1, 0, 5, 4))]
    assert (sample["image"][:, 0] == fill).all() and not sample["valid"][0].any()
    if nodata is not None:
        assert not sample["valid"][1, 0] and (sample["image"][:, 1, 0] == fill).all()
    far = ds[gd.Query(row=0, window=(50, 50, 2, 2))]
    assert (far["image"] == fill).all() and not far["valid"].any()


# ---------------------------------------------------------------------- validity


def test_nodata_of_any_band_makes_a_pixel_unobserved(tmp_path):
    pixels = noise(3, 9, 9)
    pixels[0, 1, 1] = pixels[2, 5, 6] = 0
    write_tif(tmp_path / "a.tif", pixels, nodata=0)
    valid = RasterDataset(tmp_path)[0]["valid"]
    assert (~valid).nonzero().tolist() == [[1, 1], [5, 6]]
    assert (~RasterDataset(tmp_path, bands=["2", "3"])[0]["valid"]).nonzero().tolist() == [[5, 6]]
    assert RasterDataset(tmp_path, bands=["2"])[0]["valid"].all()


def test_nan_is_never_observed_whatever_else_the_file_says(tmp_path):
    pixels = np.ones((2, 4, 4), np.float32)
    pixels[1, 2, 3] = np.nan
    mask = np.ones((4, 4), bool)
    mask[0, 0] = False
    pixels_nodata = pixels.copy()
    pixels_nodata[0, 1, 1] = -1
    write_tif(tmp_path / "plain.tif", pixels)
    write_tif(tmp_path / "nodata" / "a.tif", pixels_nodata, nodata=-1)
    write_tif(tmp_path / "mask" / "a.tif", pixels, mask=mask)
    wanted = {"plain.tif": {(2, 3)}, "nodata": {(2, 3), (1, 1)}, "mask": {(2, 3), (0, 0)}}
    for name, missing in wanted.items():
        for dtype in (torch.float32, None):
            sample = RasterDataset(tmp_path / name, dtype=dtype)[0]
            assert {tuple(p) for p in (~sample["valid"]).nonzero().tolist()} == missing
            assert torch.isfinite(sample["image"]).all()


def test_an_alpha_band_is_validity_and_no_band(tmp_path):
    alpha = np.full((5, 5), 255, np.uint8)
    alpha[3, 4] = 0
    alpha[0, 0] = 1
    pixels = np.stack([*noise(3, 5, 5, dtype="uint8", high=200), alpha])
    kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    write_tif(tmp_path / "a.tif", pixels, colorinterp=kinds)
    ds = RasterDataset(tmp_path)
    assert ds.bands.names == ("1", "2", "3")
    assert (~ds[0]["valid"]).nonzero().tolist() == [[3, 4]]
    with pytest.raises(BandsError, match="no band '4'; there are: 1, 2, 3"):
        RasterDataset(tmp_path, bands=["4"])


@pytest.mark.parametrize("asked", [torch.float32, torch.float64])
def test_a_nodata_value_that_float32_rounds_is_still_found(tmp_path, asked):
    pixels = np.ones((4, 4), np.float32)
    pixels[1, 2] = -9999.1
    write_tif(tmp_path / "own" / "a.tif", pixels, nodata=-9999.1)
    write_tif(tmp_path / "given" / "a.tif", pixels)
    for ds in (
        RasterDataset(tmp_path / "own", dtype=asked),
        RasterDataset(tmp_path / "given", dtype=asked, nodata=-9999.1),
    ):
        assert (~ds[0]["valid"]).nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("value", [-1, 300, 2.5, float("nan")])
def test_a_nodata_value_that_the_dtype_cannot_hold_matches_nothing(tmp_path, value):
    write_tif(tmp_path / "a.tif", np.arange(256, dtype=np.uint8).reshape(16, 16))
    try:
        ds = RasterDataset(tmp_path, nodata=value)
    except DtypeError:
        return
    assert ds[0]["valid"].all()


def test_nodata_overrides_what_the_file_says(tmp_path):
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    write_tif(tmp_path / "a.tif", pixels, nodata=3)
    assert (~RasterDataset(tmp_path, nodata=7)[0]["valid"]).nonzero().tolist() == [[1, 3]]


def test_files_that_differ_in_nodata_are_each_read_right(tmp_path):
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    write_tif(tmp_path / "a.tif", pixels, nodata=3)
    write_tif(tmp_path / "b.tif", pixels, north_up(x=600000), nodata=7)
    write_tif(tmp_path / "c.tif", pixels, north_up(x=700000))
    ds = RasterDataset(tmp_path)
    assert [(~s["valid"]).nonzero().tolist() for s in ds] == [[[0, 3]], [[1, 3]], []]


# ---------------------------------------------------------------------- masks


def classes_of(tmp_path, values, dtype="uint8", **options):
    write_tif(tmp_path / "a.tif", np.array(values).astype(dtype), nodata=options.pop("file_nodata", None))
    return RasterDataset(tmp_path, categorical=True, **options)


def test_a_mask_is_int64_with_ignore_outside_and_at_nodata(tmp_path):
    ds = classes_of(tmp_path, [[1, 2], [255, 0]], file_nodata=255)
    sample = ds[gd.Query(row=0, window=(0, -1, 2, 3))]
    assert sample["mask"].dtype == torch.int64 and sample["mask"].tolist() == [[-100, 1, 2], [-100, -100, 0]]
    assert "image" not in sample and "valid" not in sample and ds.bands is None and ds.keys == ("mask",)


def test_ignored_values_and_another_ignore_index(tmp_path):
    ds = classes_of(tmp_path, [[1, 2], [7, 0]], ignore=[7, 0], ignore_index=255, name="lc")
    assert ds[0]["mask_lc"].tolist() == [[1, 2], [255, 255]]


def test_class_numbers_that_are_not_whole(tmp_path):
    whole = classes_of(tmp_path / "whole", [[1, 2], [np.nan, 0]], "float32")
    assert whole[0]["mask"].tolist() == [[1, 2], [-100, 0]]
    with pytest.raises(DtypeError, match=r"item 'a': class numbers must be whole, got 1\.5"):
        classes_of(tmp_path / "parts", [[1, 1.5], [0, 0]], "float32")[0]


def test_an_unknown_class_is_named(tmp_path):
    table = {1: "water", 2: ("forest", "#00ff00")}
    ds = classes_of(tmp_path / "a", [[1, 2], [2, 1]], classes=table)
    assert ds.classes == ("", "water", "forest") and ds[0]["mask"].tolist() == [[1, 2], [2, 1]]
    for values in ([[1, 0], [2, 1]], [[1, 3], [2, 1]]):
        bad = classes_of(tmp_path / f"b{values[0][1]}", values, classes=table)
        with pytest.raises(
            CatalogError, match=rf"class {values[0][1]} is not in the table of classes; add it, or list"
        ):
            bad[0]
    assert classes_of(tmp_path / "c", [[1, 3]], classes=table, ignore=[3])[0]["mask"].tolist() == [[1, -100]]


def test_what_a_mask_cannot_be(tmp_path):
    write_tif(tmp_path / "a.tif", noise(2, 4, 4, dtype="uint8", high=5))
    with pytest.raises(BandsError, match=r"a mask is one band .* the files have 2.*choose it with bands="):
        RasterDataset(tmp_path, categorical=True)
    assert RasterDataset(tmp_path, categorical=True, bands=["2"])[0]["mask"].shape == (4, 4)
    with pytest.raises(GridError, match="resampling='bilinear' would mix class numbers; use 'nearest' or 'mode'"):
        RasterDataset(tmp_path, categorical=True, bands=["1"], resampling="bilinear")
    with pytest.raises(DtypeError, match="does not apply to a mask, which is int64"):
        RasterDataset(tmp_path, categorical=True, bands=["1"], dtype=torch.uint8)
    with pytest.raises(BandsError, match="a mask is one band of one resolution"):
        RasterDataset(tmp_path, categorical=True, bands=["1"], native=True)
    with pytest.raises(CatalogError, match="is one text; give a list of names"):
        RasterDataset(tmp_path, categorical=True, bands=["1"], classes="water")


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 40), st.floats(0.8, 4), st.floats(-2, 2))
def test_a_warped_mask_holds_only_classes_of_the_file(many_classes, size, scale, shift):
    ds, values = many_classes
    t = ds.catalog.grid(0).transform
    grid = gd.Grid((size, size), (t.a * scale, 0, t.c + shift * t.a, 0, t.e * scale, t.f + shift * t.e), "EPSG:32633")
    found = set(np.unique(ds[grid]["mask"].numpy()).tolist())
    assert found <= values | {-100}


@pytest.fixture(scope="module", params=["nearest", "mode"])
def many_classes(request, tmp_path_factory):
    values = np.random.default_rng(3).choice([2, 40, 200], (30, 30)).astype(np.uint8)
    path = write_tif(tmp_path_factory.mktemp("classes") / "a.tif", values)
    return RasterDataset(path, categorical=True, resampling=request.param), {2, 40, 200}


# ---------------------------------------------------------------------- native resolutions


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory):
    """Two 10 m, one 20 m and one 60 m band of one item, 120 pixels wide."""
    folder = tmp_path_factory.mktemp("sentinel")
    for i, (ratio, name) in enumerate(((1, "B02"), (1, "B04"), (2, "B05"), (6, "B01"))):
        write_tif(
            folder / f"t_{name}.tif", noise(120 // ratio, 120 // ratio, seed=i), north_up(res=10 * ratio), nodata=0
        )
    return folder


def stored(folder, name):
    ds = RasterDataset(folder / f"t_{name}.tif", dtype=None)
    return ds[0]["image"][0]


def test_native_keeps_each_resolution_on_its_own_lattice(sentinel):
    ds = RasterDataset(sentinel, pattern=BANDS, native=True, dtype=None, bands=["B05", "B04", "B01", "B02"])
    assert ds.step == 6 and ds.bands.names == ("B05", "B04", "B01", "B02")
    assert ds.keys == tuple(f"{k}_{r}m" for r in (10, 20, 60) for k in ("image", "valid", "bands"))
    sample = ds[gd.Query(row=0, window=(12, 18, 24, 30))]
    assert sample["bands_10m"].names == ("B04", "B02"), "the order asked for holds within a resolution"
    assert torch.equal(sample["image_10m"][0], stored(sentinel, "B04")[12:36, 18:48])
    assert torch.equal(sample["image_10m"][1], stored(sentinel, "B02")[12:36, 18:48])
    assert torch.equal(sample["image_20m"][0], stored(sentinel, "B05")[6:18, 9:24])
    assert torch.equal(sample["image_60m"][0], stored(sentinel, "B01")[2:6, 3:8])
    for ratio in (1, 2, 6):
        grid = sample[f"grid_{10 * ratio}m"]
        assert grid.bounds == sample["grid"].bounds and grid.res == (10.0 * ratio, 10.0 * ratio)
        assert sample[f"valid_{10 * ratio}m"].shape == grid.shape


def test_native_pads_outside(sentinel):
    ds = RasterDataset(sentinel, pattern=BANDS, native=True)
    sample = ds[gd.Query(row=0, window=(-6, 114, 12, 12))]
    assert sample["valid_10m"].nonzero().min(dim=0).values.tolist() == [6, 0] and sample["valid_10m"].sum() == 36
    assert sample["valid_20m"].sum() == 9 and sample["valid_60m"].tolist() == [[False, False], [True, False]]
    assert torch.equal(sample["image_60m"][0, 1, 0], stored(sentinel, "B01")[0, 19].float())


def test_native_windows_and_tiles_are_multiples_of_the_ratio(sentinel):
    ds = RasterDataset(sentinel, pattern=BANDS, native=True)
    for window in ((0, 0, 8, 8), (3, 0, 6, 6), (0, 2, 12, 12)):
        with pytest.raises(GridError, match="must be multiples of 6, the native ratio of the bands"):
            ds[gd.Query(row=0, window=window)]
    with pytest.raises(GridError, match="size 512 is no multiple of the native ratio 6; use 510 or 516"):
        ds.tile(512)
    with pytest.raises(GridError, match="stride 10 is no multiple of the native ratio 6; use 6 or 12"):
        ds.tile(12, stride=10)
    tiles = ds.tile(30)
    assert len(tiles) == 16 and tiles[5]["image_60m"].shape == (1, 5, 5)
    with pytest.raises(GridError, match="no multiple of 6"):
        ds.read((500000, 5599900, 500100, 5600000), crs="EPSG:32633", res=10)


def test_tiles_off_the_native_lattice_are_refused(sentinel):
    catalog = gd.Catalog.scan(sentinel, pattern=BANDS).tile(12, stride=3)
    with pytest.raises(GridError, match="multiples of 6"):
        RasterDataset(catalog, native=True)
    with pytest.raises((GridError, CatalogError), match="multiple"):
        RasterDataset(catalog, bands=["B05"])


def test_native_read_by_place_on_the_lattice_is_not_resampled(sentinel):
    ds = RasterDataset(sentinel, pattern=BANDS, native=True, dtype=None)
    window = (36, 24, 48, 60)
    by_place, by_row = ds[ds.catalog.grid(0).window(*window)], ds[gd.Query(row=0, window=window)]
    for key in ("image_10m", "image_20m", "image_60m", "valid_10m", "valid_20m", "valid_60m"):
        assert torch.equal(by_place[key], by_row[key]), key


def test_resolutions_without_a_metric_crs_are_named_by_ratio(tmp_path):
    for ratio, name in ((1, "B1"), (3, "B2")):
        write_tif(
            tmp_path / f"a_{name}.tif", noise(6 // ratio, 6 // ratio), north_up(10, 50, 0.01 * ratio), "EPSG:4326"
        )
    ds = RasterDataset(tmp_path, pattern=BANDS, native=True)
    assert ds.keys[0] == "image_x1" and ds.keys[3] == "image_x3"


def test_the_finest_band_asked_for_is_the_reference(sentinel):
    ds = RasterDataset(sentinel, pattern=BANDS, bands=["B05", "B01"], resampling="nearest")
    assert ds[0]["grid"].res == (20.0, 20.0) and ds[0]["image"].shape == (2, 60, 60)
    alone = RasterDataset(sentinel, pattern=BANDS, bands=["B01"], dtype=None)
    assert torch.equal(alone[0]["image"][0], stored(sentinel, "B01"))


def test_bands_that_share_no_lattice_are_refused(tmp_path):
    for ratio, name in ((1, "B1"), (2, "B2"), (3, "B3")):
        write_tif(tmp_path / f"a_{name}.tif", noise(6 // ratio, 6 // ratio), north_up(res=10 * ratio))
    catalog = gd.Catalog.scan(tmp_path, pattern=BANDS)
    with pytest.raises(GridError, match=r"\[2, 3\] reference pixels per pixel share no lattice; ask for a finer band"):
        RasterDataset(catalog, bands=["B2", "B3"])
    with pytest.raises(GridError, match="lattice"):
        RasterDataset(tmp_path, pattern=BANDS, bands=["B2", "B3"])
    assert len(RasterDataset(tmp_path, pattern=BANDS).bands) == 3


def test_items_that_lack_a_band_nobody_asked_for(tmp_path):
    for name in ("x_B1", "x_B2", "y_B1"):
        write_tif(tmp_path / f"{name}.tif")
    with pytest.raises(
        BandsError, match=r"1 of 2 items lack a file, first 'y' lacks B2; on_error='skip' leaves such items out"
    ):
        RasterDataset(tmp_path, pattern=BANDS)
    assert [s["key"] for s in RasterDataset(tmp_path, pattern=BANDS, on_error="skip")] == ["x"]
    assert [s["key"] for s in RasterDataset(tmp_path, pattern=BANDS, bands=["B1"])] == ["x", "y"]


def test_enlarging_is_by_nearest_or_bilinear(sentinel):
    with pytest.raises(GridError, match=r"enlarged by nearest or bilinear, not 'cubic'; or keep resolutions apart"):
        RasterDataset(sentinel, pattern=BANDS, resampling="cubic")
    assert RasterDataset(sentinel, pattern=BANDS, resampling="cubic", native=True).step == 6
    with pytest.raises(GridError, match="resampling='best' must be one of nearest, bilinear"):
        RasterDataset(sentinel, pattern=BANDS, resampling="best")


# ---------------------------------------------------------------------- bands


def test_bands_by_name_common_name_and_wavelength_in_any_order(tmp_path):
    names = ("B02", "B03", "B04", "B08")
    for i, name in enumerate(names):
        write_tif(tmp_path / f"a_{name}.tif", np.full((4, 4), i, np.uint8))
    for asked, wanted in (
        (None, (0, 1, 2, 3)),
        (["B08", "B02"], (3, 0)),
        (["red", "blue"], (2, 0)),
        ([560.0, "nir", "B02"], (1, 3, 0)),
    ):
        ds = RasterDataset(tmp_path, pattern=BANDS, bands=asked, sensor="sentinel-2")
        assert ds[0]["image"][:, 0, 0].tolist() == list(wanted)
        assert ds.bands.names == tuple(names[i] for i in wanted) == ds[0]["bands"].names


def test_bands_of_one_file_in_any_order(tmp_path):
    pixels = noise(5, 6, 7)
    write_tif(tmp_path / "a.tif", pixels, descriptions=["e", "d", "c", "b", "a"])
    for order in (["a", "e"], ["c", "d", "b"], ["e", "d"], ["d", "c"], ["b"]):
        ds = RasterDataset(tmp_path, bands=order)
        assert np.array_equal(ds[0]["image"].numpy(), pixels[["edcba".index(n) for n in order]])
    named = RasterDataset(tmp_path, band_names=list("vwxyz"), bands=["z", "v"])
    assert np.array_equal(named[0]["image"].numpy(), pixels[[4, 0]])


def test_bands_of_several_files_of_several_bands_in_any_order(tmp_path):
    first, second = noise(2, 4, 5), noise(3, 4, 5, seed=1)
    write_tif(tmp_path / "a_BX.tif", first, descriptions=["p", "q"])
    write_tif(tmp_path / "a_BY.tif", second)
    stored_bands = dict(zip(("BX_p", "BX_q", "BY_1", "BY_2", "BY_3"), [*first, *second], strict=True))
    for order in (["BX_p", "BY_2", "BX_q"], ["BY_3", "BX_q", "BY_1", "BX_p"], ["BX_q", "BX_p"], list(stored_bands)):
        ds = RasterDataset(tmp_path, pattern=BANDS, bands=order)
        for ask in (0, ds.catalog.grid(0).window(0, 0, 4, 5)):
            assert np.array_equal(ds[ask]["image"].numpy(), np.stack([stored_bands[n] for n in order]))
        assert ds.bands.names == tuple(order)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["B99"], r"no band 'B99'; there are: 1, 2"),
        ([], r"bands=\[\] asks for nothing"),
        ("1", r"bands='1' is one text; give a list of names, for example bands=\['1'\]"),
        (["1", "1"], r"band names must be unique, got \['1'\] twice"),
        ([800.0], "carry no wavelengths"),
    ],
)
def test_bands_that_cannot_be_chosen(tmp_path, asked, said):
    write_tif(tmp_path / "a.tif", noise(2, 4, 4))
    with pytest.raises(BandsError, match=said):
        RasterDataset(tmp_path, bands=asked)


def test_a_dot_in_a_band_name(tmp_path):
    write_tif(tmp_path / "a_B.1.tif", np.full((4, 4), 9, np.uint8))
    ds = RasterDataset(tmp_path, pattern=r"(?P<item>\w)_(?P<band>B\.\d)\.tif$")
    assert ds.bands.names == ("B.1",) and (ds[0]["image"] == 9).all()


# ---------------------------------------------------------------------- by place


def test_a_read_without_a_resolution_takes_the_items_lattice(tmp_path):
    pixels = noise(20, 20)
    ds = RasterDataset(write_tif(tmp_path / "a.tif", pixels), dtype=None)
    sample = ds.read((500031, 5599901, 500079, 5599968), crs=32633)
    assert sample["grid"].bounds == (500030, 5599900, 500080, 5599970)
    assert np.array_equal(sample["image"].numpy()[0], pixels[3:10, 3:8])
    assert torch.equal(ds[500031:500079, 5599901:5599968]["image"], sample["image"])


def test_without_a_resolution_the_lattice_is_of_an_item_in_the_querys_crs(tmp_path):
    x, y = Transformer.from_crs(32633, 32634, always_xy=True).transform(500000, 5600000)
    write_tif(tmp_path / "a.tif", np.full((300, 300), 1, np.uint8), north_up(x - 1500, y + 1500), "EPSG:32634")
    write_tif(tmp_path / "b.tif", np.full((8, 8), 2, np.uint8), north_up(500003))
    sample = RasterDataset(tmp_path).read((500020, 5599960, 500040, 5600000), crs="EPSG:32633")
    assert sample["grid"].transform.c == 500013 and (sample["image"] == 2).all()


def test_slices_use_the_shared_crs_the_step_and_the_time(tmp_path):
    for day in ("20200501", "20200601"):
        write_tif(tmp_path / f"a{day}_{day}.tif", np.full((8, 8), int(day[5]), np.uint8))
    ds = RasterDataset(tmp_path, pattern=DATED)
    assert ds.bounds == (500000, 5599920, 500080, 5600000)
    assert ds[:, :, "2020-05":"2020-05"]["image"].unique().tolist() == [5]
    assert ds[:, :]["image"].unique().tolist() == [6], "the newest is on top"
    coarse = ds[500000:500080:20, 5599920:5600000]
    assert coarse["image"].shape == (1, 4, 4) and coarse["grid"].res == (20.0, 20.0)
    assert ds[::20, ::40]["grid"].res == (20.0, 40.0)
    with pytest.raises(QueryError, match="has a step"):
        ds[:, :, "2020":"2021":2]


def test_slices_need_one_crs(tmp_path):
    write_tif(tmp_path / "a.tif")
    write_tif(tmp_path / "b.tif", crs="EPSG:32634")
    ds = RasterDataset(tmp_path)
    with pytest.raises(
        CRSError, match=r"rows are in 2 CRSs \(EPSG:3263[34], EPSG:3263[34]\); choose one .* ds\.to\(crs, res\)"
    ):
        ds[500000:500010, 5599990:5600000]
    there = ds.to("EPSG:32634", 20)
    sample = there[500000:500080, 5599920:5600000]
    assert sample["grid"].crs == gd.Grid((1, 1), (1, 0, 0, 0, -1, 0), "EPSG:32634").crs and sample["image"].shape == (
        1,
        4,
        4,
    )
    assert len(there) == 2 and there[0]["grid"] == ds[0]["grid"], "no row is touched"
    with pytest.raises(CRSError, match="needs a CRS"):
        ds.to(None)


def test_bounds_in_another_crs_follow_the_curved_outline(tmp_path):
    # 600 km across: the upper edge bulges north by kilometres between its corners.
    write_tif(tmp_path / "a.tif", noise(60, 60), north_up(200000, 6000000, 10000))
    ds = RasterDataset(tmp_path)
    wanted = transform_bounds("EPSG:32633", "EPSG:4326", 200000, 5400000, 800000, 6000000, densify_pts=500)
    assert ds.to("EPSG:4326").bounds == pytest.approx(wanted, abs=2e-3)
    assert ds.to("EPSG:4326").bounds[3] > 54.1


def test_a_query_that_meets_nothing_names_the_nearest_and_its_distance(tmp_path):
    write_tif(tmp_path / "far.tif", transform=north_up(x=900000))
    write_tif(tmp_path / "near.tif")
    ds = RasterDataset(tmp_path)
    # 100 km north along the central meridian, 0.9996 of it on the map.
    said = r"query 10x10 at EPSG:32633 \(500000, 5700080\) meets none of 2 items; nearest is 'near', (\d+\.\d) km away"
    with pytest.raises(NoOverlapError, match=said) as caught:
        ds.read((500000, 5699980, 500100, 5700080), crs="EPSG:32633", res=10)
    assert float(str(caught.value).split("'near', ")[1].split()[0]) == pytest.approx(99.98 / 0.9996, rel=0.01)
    with pytest.raises(NoOverlapError, match="nearest is 'near'"):
        ds.read((500000, 5699980, 500100, 5700080), crs="EPSG:32633")
    with pytest.raises(NoOverlapError, match="nearest is 'far'"):
        ds.read((950000, 5599980, 950100, 5600000), crs="EPSG:32633", res=10, stack="time")


def test_a_query_that_meets_nothing_in_time_says_when_there_is_something(tmp_path):
    write_tif(tmp_path / "a_20200501.tif")
    ds = RasterDataset(tmp_path, pattern=DATED)
    with pytest.raises(
        NoOverlapError, match=r"in place there are 1, the first of Interval\('2020-05-01', '2020-05-02'\)"
    ):
        read_box(ds, 0, 0, 4, 4, time="2021")


@pytest.mark.parametrize(
    ("bounds", "options", "error", "said"),
    [
        ((0, 0, 1, 1), {}, CRSError, "the query has no CRS; say in which CRS the bounds are"),
        ((0, 0, 1, 1), {"crs": ""}, CRSError, "the query has no CRS"),
        ((0, 0, float("nan"), 1), {"crs": 4326, "res": 1}, GridError, "must be finite numbers"),
        ((5, 0, 1, 1), {"crs": 4326, "res": 1}, GridError, "have no area; the order is left, bottom, right, top"),
        ((179, 0, -179, 1), {"crs": 4326, "res": 1}, GridError, "over the antimeridian"),
        ((0, 0, 1), {"crs": 4326, "res": 1}, GridError, "must be four numbers"),
        ((0, 0, 1, 1), {"crs": 4326, "res": 0}, GridError, "resolution 0 must be finite and above 0"),
        ((0, 0, 1, 1), {"crs": 4326, "res": -10}, GridError, "resolution -10 must be finite and above 0"),
        ((0, 0, 1, 1), {"crs": 4326, "res": (1, float("nan"))}, GridError, "must be finite and above 0"),
        ((0, 0, 1, 1), {"crs": 4326, "res": "big"}, GridError, "must be a number or a pair of numbers"),
        ((0, 0, 1, 1), {"crs": "EPSG:999999", "res": 1}, CRSError, "is not a CRS"),
        ((14, 50, 16, 51), {"crs": 4326}, GridError, "give res=, the pixel size in units of EPSG:4326"),
        ((14, 50, 16, 51), {"crs": 4326, "res": 1, "stack": "band"}, QueryError, "must be None or 'time'"),
        ((14, 50, 16, 51), {"crs": 4326, "res": 1, "time": "yesterday"}, QueryError, "is not a time"),
    ],
)
def test_bad_queries(tmp_path, bounds, options, error, said):
    ds = RasterDataset(write_tif(tmp_path / "a.tif"))
    with pytest.raises(error, match=said):
        ds.read(bounds, **options)


def test_items_without_a_crs_have_no_place(tmp_path):
    write_tif(tmp_path / "a.png", noise(3, 6, 8, dtype="uint8", high=255), crs=None, driver="PNG")
    ds = RasterDataset(tmp_path)
    assert ds[0]["grid"].crs is None and ds[gd.Query(row=0, window=(1, 1, 3, 3))]["image"].shape == (3, 3, 3)
    with pytest.raises(CRSError, match="these items have no CRS, so they cannot be searched by place"):
        ds.read((0, 0, 1, 1), crs="EPSG:4326", res=1)
    with pytest.raises(CRSError, match="no CRS"):
        ds[0:1, 0:1]
    assert len(ds.tile(4)) == 4


def test_an_item_over_the_antimeridian(tmp_path):
    # Zone 60 reaches over 180 degrees; 1 km pixels, 100 of them, centred on (180 E, 10 N).
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(180, 10)
    values = np.arange(1, 10001, dtype=np.uint16).reshape(100, 100)
    write_tif(tmp_path / "a.tif", values, north_up(x - 50000, y + 50000, 1000), "EPSG:32660")
    ds = RasterDataset(tmp_path, resampling="nearest")
    for left in (179.7, -180.3, 179.99, -179.9):
        sample = ds.read((left, 9.7, left + 0.3, 10.3), crs="EPSG:4326", res=0.01)
        lon, lat = np.meshgrid(left + 0.005 + 0.01 * np.arange(30), 10.295 - 0.01 * np.arange(60))
        px, py = Transformer.from_crs(4326, 32660, always_xy=True).transform(lon, lat)
        wanted = values[((y + 50000 - py) // 1000).astype(int), ((px - x + 50000) // 1000).astype(int)]
        assert sample["valid"].all() and (sample["image"][0].numpy() != wanted).mean() < 0.01


@pytest.mark.parametrize("zone", ["EPSG:32601", "EPSG:32660"])
def test_a_global_grid_read_across_its_seam(tmp_path, zone):
    values = np.arange(1, 180 * 360 + 1, dtype=np.int32).reshape(180, 360)
    write_tif(tmp_path / "a.tif", values, north_up(-180, 90, 1), "EPSG:4326")
    ds = RasterDataset(tmp_path, dtype=None, resampling="nearest")
    x, y = Transformer.from_crs(4326, zone, always_xy=True).transform(180, 0)
    grid = gd.Grid((30, 30), (20000, 0, x - 300000, 0, -20000, y + 300000), zone)
    col, row = np.meshgrid(np.arange(30) + 0.5, np.arange(30) + 0.5)
    lon, lat = Transformer.from_crs(zone, 4326, always_xy=True).transform(*(grid.transform @ (col, row)))
    wanted = values[np.floor(90 - lat).astype(int), np.floor((lon + 180) % 360).astype(int)]
    sample = ds[grid]
    assert sample["valid"].all() and (sample["image"][0].numpy() != wanted).mean() < 0.01


# ---------------------------------------------------------------------- mosaics


@pytest.fixture
def overlapping(tmp_path):
    """Items of one value each that share their place, apart from nodata."""
    days = {"old": "20190101", "new": "20210101", "mid": "20200101"}
    for value, (name, day) in enumerate(days.items(), 1):
        pixels = np.full((2, 8, 8), value, np.uint8)
        pixels[0, value] = 0
        write_tif(tmp_path / f"{name}_{day}.tif", pixels, nodata=0)
    return tmp_path


def test_mosaics_show_the_newest_and_whole_pixels(overlapping):
    sample = read_box(RasterDataset(overlapping, pattern=DATED), 0, 0, 8, 8)
    assert sample["valid"].all()
    assert (sample["image"][0] == sample["image"][1]).all(), "all bands of a pixel are of one item"
    assert sample["image"][0, :, 0].tolist() == [2, 2, 3, 2, 2, 2, 2, 2] and sample["key"] == "new"


ITEM = st.tuples(st.integers(-6, 12), st.integers(-6, 12), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(ITEM, min_size=1, max_size=6),
    st.tuples(st.integers(-3, 9), st.integers(-3, 9), st.integers(1, 12), st.integers(1, 12)),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_a_mosaic_is_the_plain_loop(tmp_path_factory, items, window, last_day, seed):
    """Items on one lattice, with gaps and days; newest first, then by key; days after the last do not count."""
    folder, rng = tmp_path_factory.mktemp("mosaic"), np.random.default_rng(seed)
    layers = []
    for i, (row, col, h, w, day) in enumerate(items):
        pixels = rng.integers(0, 3, (2, h, w)) * 50 + i + 1
        pixels[rng.random((2, h, w)) < 0.2] = 0
        place = north_up(500000 + 10 * col, 5600000 - 10 * row)
        write_tif(folder / f"{i}_2020010{day}.tif", pixels.astype(np.uint8), place, nodata=0)
        layers.append((-day, str(i), row, col, pixels))
    r0, c0, height, width = window
    wanted, seen = np.zeros((2, height, width)), np.zeros((height, width), bool)
    met = False
    for minus_day, _, row, col, pixels in sorted(layers, key=lambda v: v[:2]):
        for r in range(height) if -minus_day <= last_day else ():
            for c in range(width):
                i, j = r + r0 - row, c + c0 - col
                if 0 <= i < pixels.shape[1] and 0 <= j < pixels.shape[2]:
                    met = True
                    if not seen[r, c] and pixels[:, i, j].all():
                        wanted[:, r, c], seen[r, c] = pixels[:, i, j], True
    ds = RasterDataset(folder, pattern=r"(?P<item>\d)_(?P<date>\d{8})")
    grid = gd.Grid((height, width), north_up(500000 + 10 * c0, 5600000 - 10 * r0), "EPSG:32633")
    if not met:
        with pytest.raises(NoOverlapError):
            ds.read(grid, time=(None, f"2020-01-0{last_day}"))
        return
    sample = ds.read(grid, time=(None, f"2020-01-0{last_day}"))
    assert np.array_equal(sample["valid"].numpy(), seen) and np.array_equal(sample["image"].numpy(), wanted)


def test_mosaic_order_can_be_chosen(overlapping):
    def oldest(catalog, rows):
        return rows[np.argsort(catalog.time[rows, 0])]

    sample = read_box(RasterDataset(overlapping, pattern=DATED, order=oldest), 0, 0, 8, 8)
    assert sample["image"][0, :, 0].tolist() == [1, 3, 1, 1, 1, 1, 1, 1] and sample["key"] == "old"


def test_items_of_one_time_lie_in_the_order_of_their_keys(tmp_path):
    for value, name in ((1, "c"), (2, "a"), (3, "b")):
        write_tif(tmp_path / f"{name}.tif", np.full((4, 4), value, np.uint8))
    assert read_box(RasterDataset(tmp_path), 0, 0, 4, 4)["image"].unique().tolist() == [2]


def test_items_in_the_querys_own_crs_come_first(tmp_path):
    x, y = Transformer.from_crs(32633, 32634, always_xy=True).transform(500000, 5600000)
    write_tif(tmp_path / "a_20220101.tif", np.full((300, 300), 1, np.uint8), north_up(x - 1500, y + 1500), "EPSG:32634")
    write_tif(tmp_path / "b_20200101.tif", np.full((8, 8), 2, np.uint8))
    ds = RasterDataset(tmp_path, pattern=DATED)
    sample = read_box(ds, -2, -2, 12, 12, res=10)
    assert (sample["image"][0, 2:10, 2:10] == 2).all() and sample["valid"].all()
    sample["image"][0, 2:10, 2:10] = 1
    assert (sample["image"] == 1).all()


def test_two_rasters_of_one_value_stay_that_value(tmp_path):
    write_tif(tmp_path / "a" / "a.tif", np.full((16, 16), -12.5, np.float32))
    write_tif(tmp_path / "b" / "b.tif", np.full((16, 16), -12.5, np.float32), north_up(x=500083.7, res=9.1))
    both = RasterDataset(tmp_path / "a") | RasterDataset(tmp_path / "b")
    for how in (read_box(both, 0, 0, 10, 22, res=10), read_box(both, 0.3, 0.7, 9, 20, res=10)):
        assert how["valid"].all() and (how["image"] == -12.5).all()


# ---------------------------------------------------------------------- files that are not what they were


def test_a_file_written_anew_is_read_anew(tmp_path):
    path = write_tif(tmp_path / "a.tif", np.full((8, 8), 1, np.uint8))
    assert (RasterDataset(path)[0]["image"] == 1).all()
    write_tif(path, np.full((8, 8), 9, np.uint8))
    assert (RasterDataset(path)[0]["image"] == 9).all()


@pytest.mark.parametrize(
    "changed",
    [noise(1, 4, 4), noise(1, 8, 12)[:, :, :3], noise(1, 8, 8, dtype="float32"), noise(1, 8, 8).astype("uint8")],
    ids=["smaller", "narrower", "other dtype", "narrower dtype"],
)
@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_a_file_that_became_another_one_is_not_stretched_or_clipped(tmp_path, changed, dtype):
    path = write_tif(tmp_path / "a.tif", noise(1, 8, 8))
    ds = RasterDataset(path, dtype=dtype)
    write_tif(path, changed)
    with pytest.raises(StaleCatalogError, match=r"a\.tif is .* pixels.*the file changed, scan again"):
        ds[0]


def test_a_file_that_lost_a_band(tmp_path):
    path = write_tif(tmp_path / "a.tif", noise(3, 8, 8))
    ds = RasterDataset(path, bands=["3"])
    write_tif(path, noise(2, 8, 8))
    with pytest.raises(StaleCatalogError, match="2 bands"):
        ds[0]


def test_a_file_that_is_gone_or_cut_off(tmp_path):
    path = write_tif(tmp_path / "a.tif", noise(3, 64, 64), tiled=True, blockxsize=16, blockysize=16)
    ds = RasterDataset(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ReadError, match=r"a\.tif"):
        ds[0]
    path.unlink()
    with pytest.raises(ReadError, match=r"cannot open .*a\.tif"):
        ds[0]


def test_saved_catalogs_and_catalogs_are_paths_too(tmp_path):
    write_tif(tmp_path / "in" / "a.tif", noise(8, 8))
    catalog = gd.Catalog.scan(tmp_path / "in")
    saved = catalog.save(tmp_path / "c.parquet")
    for paths in (catalog, saved, str(saved), [tmp_path / "in" / "a.tif"], str(tmp_path / "in" / "*.tif")):
        assert torch.equal(RasterDataset(paths)[0]["image"], RasterDataset(tmp_path / "in")[0]["image"])
    with pytest.raises(CatalogError, match="names no raster files"):
        RasterDataset(gd.Catalog.from_columns(key=["a"], affine=[[1, 0, 0, 0, -1, 0]], shape=[[2, 2]], crs=None))


@pytest.mark.parametrize(
    "name", ["a b", "ä", "a#b", "a?b", "T10:31", "a{b}", "a%20b", "[x]", "a*b", "~a", "-a", "a'b", "a!b", "zip+a"]
)
def test_names_of_files_may_hold_anything(tmp_path, name):
    path = write_tif(tmp_path / "in" / f"{name}.tif", np.full((4, 4), 7, np.uint8))
    for paths in (tmp_path / "in", path, [str(path)]):
        ds = RasterDataset(paths)
        assert (ds[0]["image"] == 7).all() and ds[0]["key"] == name


def test_files_inside_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in (1, 2):
            archive.write(write_tif(tmp_path / f"{i}.tif", np.full((4, 4), i, np.uint8)), f"in/{i}.tif")
    ds = RasterDataset([f"/vsizip/{tmp_path}/x.zip/in/{i}.tif" for i in (1, 2)])
    assert [int(s["image"][0, 0, 0]) for s in ds] == [1, 2] and list(ds.catalog.key) == ["1", "2"]
    alone = RasterDataset(f"zip://{tmp_path}/x.zip!in/2.tif")
    assert (alone[0]["image"] == 2).all()


def test_a_south_up_file_by_place(tmp_path):
    pixels = noise(8, 8)
    ds = RasterDataset(write_tif(tmp_path / "a.tif", pixels, north_up(yres=-10)), dtype=None)
    box = (500000, 5600000, 500080, 5600080)
    own, upright = ds.read(box, crs=32633), ds.read(box, crs=32633, res=10)
    assert own["grid"].transform.e == 10 and np.array_equal(own["image"][0].numpy(), pixels)
    assert upright["grid"].transform.e == -10 and np.array_equal(upright["image"][0].numpy(), pixels[::-1])


def test_names_are_parts_of_keys(tmp_path):
    ds = RasterDataset(write_tif(tmp_path / "a.tif"))
    assert ds.named("s1").keys == ("image_s1", "valid_s1", "bands_s1") and ds.keys[0] == "image"
    for bad in ("s 1", "1s", "s-1"):
        with pytest.raises(QueryError, match="use letters, digits and underscores"):
            ds.named(bad)


def test_where_and_take_choose_rows_and_change_nothing(tmp_path):
    for i, day in enumerate(("20200101", "20200201", "20210101")):
        write_tif(tmp_path / f"i{i}_{day}.tif", np.full((4, 4), i, np.uint8))
    ds = RasterDataset(tmp_path, pattern=r"(?P<item>\w+?)_(?P<date>(?P<year>\d{4})\d{4})\.tif$")
    assert [s["key"] for s in ds.where(year="2020")] == ["i0", "i1"]
    assert [s["key"] for s in ds.where(year=["2021", "1999"])] == ["i2"]
    assert [s["key"] for s in ds.where(lambda c: c.time[:, 0] > c.time[0, 0])] == ["i1", "i2"]
    assert [s["key"] for s in ds.take([2, 0])] == ["i2", "i0"] and len(ds) == 3
    assert [s["key"] for s in ds.take(np.array([False, True, True]))] == ["i1", "i2"]
    with pytest.raises(CatalogError, match="no column 'country'; there are:"):
        ds.where(country="Austria")


def test_splits_are_matched_by_key(tmp_path):
    for i in range(4):
        write_tif(tmp_path / f"{i}.tif")
    ds = RasterDataset(tmp_path)
    parts = ds.split({"train": ["0", "3"], "test": ["1"], "dropped": ["2"]})
    assert {k: [s["key"] for s in v] for k, v in parts.items()} == {"train": ["0", "3"], "test": ["1"]}
    with pytest.raises(SplitError, match="1 of 4 rows are in no part, first '2'"):
        ds.split({"train": ["0", "3"], "test": ["1"]})
    with pytest.raises(SplitError, match="1 of 5 entries are no keys of the catalog, first 'x'"):
        ds.split({"train": ["0", "1", "2", "3", "x"]})
    with pytest.raises(SplitError, match="has '0' in 'test', but it is in 'train' too"):
        ds.split({"train": ["0", "1", "2", "3"], "test": ["0"]})


def test_a_dataset_says_what_it_is(tmp_path):
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        text = repr(RasterDataset(write_tif(Path(folder) / "a.tif")))
    assert "RasterDataset(" in text and "1 items" in text and "image" in text


def test_an_item_that_no_memory_holds_is_refused(tmp_path):
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="2147483647" rasterYSize="2147483647"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>5e5,10,0,5.6e6,0,-10</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(GridError, match=r"1 x 2147483647 x 2147483647 uint8 takes 4.295e\+09 GiB"):
        RasterDataset(tmp_path / "a.vrt", dtype=None)[0]
