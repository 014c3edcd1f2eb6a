"""Anybody's cubes as a dataset: rows by date, windows of all dates, labels beside them."""

import json
import pickle

import numpy as np
import pyproj
import pytest
import torch
import xarray as xr

from geodata import Query
from geodata.datasets import XarrayDataset
from geodata.errors import CatalogError, GridError, NoFilesError
from geodata.samplers import RandomPatchSampler

DATES = np.array(["2020-01-05", "2020-02-01", "2020-02-17"], dtype="datetime64[ns]")


def placed(data, crs=32633, **dims):
    """Give a dataset dates, places and a CRS."""
    sizes = data.sizes
    data = data.assign_coords(
        x=500_005 + 10 * np.arange(sizes["x"]), y=5_000_095 - 10 * np.arange(sizes["y"]), spatial_ref=0, **dims
    )
    data.spatial_ref.attrs["crs_wkt"] = pyproj.CRS(crs).to_wkt()
    for name in data.data_vars:
        data[name].attrs["grid_mapping"] = "spatial_ref"
    return data


def write(data, path):
    if path.suffix == ".zarr":
        data.to_zarr(path, consolidated=False)
    else:
        data.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def values():
    return np.arange(3 * 4 * 12 * 9, dtype=np.float32).reshape(3, 4, 12, 9)


@pytest.fixture(params=["cube.nc", "cube.zarr"])
def cube(request, tmp_path, values):
    data = xr.Dataset({"s": (("time", "band", "y", "x"), values)})
    data = placed(data, time=DATES, band=[11, 12, 13, 14])
    return write(data, tmp_path / request.param)


def test_rows_are_dates(cube, values):
    ds = XarrayDataset(cube)
    assert len(ds) == 3 and ds.bands.names == ("11", "12", "13", "14") and ds.catalog.crs[0] == "EPSG:32633"
    assert ds.catalog.interval(1).start == DATES[1].astype("datetime64[s]").astype(int)
    grid = ds.catalog.grid(0)
    assert tuple(grid.transform)[:6] == (10, 0, 500_000, 0, -10, 5_000_100) and grid.shape == (12, 9)
    np.testing.assert_array_equal(ds[1]["image"], values[1])


def test_series_windows_bands_and_dates(cube, values):
    ds = XarrayDataset(cube, bands=["13", "11"])
    sample = ds.series()[Query(row=0, window=(2, 3, 5, 4))]
    np.testing.assert_array_equal(sample["image"], values[:, [2, 0], 2:7, 3:7])
    assert sample["time"][:, 0].tolist() == DATES.astype("datetime64[s]").astype(int).tolist() and sample["valid"].all()
    late = ds.series(time=("2020-02", "2020-03"))[0]
    np.testing.assert_array_equal(late["image"], values[1:, [2, 0]])
    thin = ds.series(max_len=2)[0]
    np.testing.assert_array_equal(thin["image"], values[[0, 2]][:, [2, 0]])


def test_a_window_over_the_edge_is_read_date_by_date(cube, values):
    sample = XarrayDataset(cube).series()[Query(row=0, window=(-2, 6, 4, 5))]
    np.testing.assert_array_equal(sample["image"][:, :, 2:, :3], values[:, :, :2, 6:])
    assert sample["valid"][:, 2:, :3].all() and sample["valid"].sum() == 3 * 2 * 3


def test_tiles_of_a_series(cube, values):
    tile = XarrayDataset(cube).series().tile(6)[3]
    np.testing.assert_array_equal(tile["image"], values[:, :, 6:, 6:])


def test_samplers_and_pickles(cube):
    ds = pickle.loads(pickle.dumps(XarrayDataset(cube)))
    query = next(iter(RandomPatchSampler(ds, size=4, length=1, seed=0)))
    assert ds[query]["image"].shape == (4, 4, 4)


def test_nodata_scale_and_axes_in_another_order(tmp_path):
    stored = np.arange(2 * 5 * 6, dtype=np.int16).reshape(5, 6, 2)
    stored[0, 0, 1] = -9
    data = placed(xr.Dataset({"t": (("y", "x", "time"), stored)}), time=DATES[:2])
    data.t.attrs.update({"_FillValue": np.int16(-9), "scale_factor": 0.5, "units": "K"})
    data.to_zarr(tmp_path / "c.zarr", consolidated=False)
    ds = XarrayDataset(tmp_path / "c.zarr", dtype=None)
    band = ds.bands[0]
    assert (band.scale, band.unit) == (0.5, "K")
    sample = ds.series()[0]
    assert sample["valid"].sum() == 59 and not sample["valid"][1, 0, 0]
    np.testing.assert_array_equal(sample["image"][:, 0], np.moveaxis(stored, 2, 0))


def test_labels_without_dates_and_several_files(tmp_path, values):
    classes = np.arange(108).reshape(12, 9).astype(np.uint8) % 3
    data = xr.Dataset({"a": (("time", "y", "x"), values[:, 0]), "kind": (("y", "x"), classes)})
    write(placed(data, time=DATES), tmp_path / "one.nc")
    images, mask = (
        XarrayDataset(tmp_path, variables=["a"]),
        XarrayDataset(tmp_path, variables=["kind"], categorical=True),
    )
    assert len(images) == 3 and len(mask) == 1
    sample = (images.series() & mask)[0]
    assert sample["image"].shape == (3, 1, 12, 9)
    np.testing.assert_array_equal(sample["mask"], classes)
    both = XarrayDataset(tmp_path / "one.nc", dtype=torch.float32)
    assert both.bands.names == ("a", "kind") and len(both) == 3


def test_the_real_series_of_68_dates(realdata, tmp_path):
    folder = realdata / "eolearn_slovenia"
    ndvi, classes = np.load(folder / "NDVI.npy")[..., 0], np.load(folder / "LULC.npy")[..., 0]
    ring = np.array(json.loads((folder / "bbox.geojson").read_text())["coordinates"][0])
    (left, bottom), (right, top) = ring.min(axis=0), ring.max(axis=0)
    dates = np.array(json.loads((folder / "timestamps.json").read_text()), dtype="datetime64[ns]")
    height, width = classes.shape
    dx, dy = (right - left) / width, (top - bottom) / height
    data = xr.Dataset({"NDVI": (("time", "y", "x"), ndvi), "LULC": (("y", "x"), classes)})
    data = placed(data, time=dates)
    data = data.assign_coords(x=left + dx * (np.arange(width) + 0.5), y=top - dy * (np.arange(height) + 0.5))
    for path in (write(data, tmp_path / "s.nc"), write(data, tmp_path / "s.zarr")):
        series = XarrayDataset(path, variables=["NDVI"]).series()
        sample = (series & XarrayDataset(path, variables=["LULC"], categorical=True))[0]
        assert sample["image"].shape == (68, 1, 101, 100)
        np.testing.assert_array_equal(sample["image"][:, 0], ndvi)
        np.testing.assert_array_equal(sample["mask"], classes)
        assert sample["time"][:, 0].tolist() == dates.astype("datetime64[s]").astype(int).tolist()
        np.testing.assert_allclose(series.catalog.grid(0).bounds, (left, bottom, right, top), atol=1e-6)


def test_bad_input(tmp_path, values):
    with pytest.raises(NoFilesError, match="no cube in"):
        XarrayDataset(tmp_path)
    data = placed(xr.Dataset({"s": (("time", "level", "y", "x"), values)}), time=DATES)
    path = write(data, tmp_path / "c.nc")
    with pytest.raises(CatalogError, match="what the axis 'level' of s is"):
        XarrayDataset(path)
    with pytest.raises(CatalogError, match="no variable 'x9' with rows and columns; it has s"):
        XarrayDataset(path, variables=["x9"])
    with pytest.raises(CatalogError, match="is one text"):
        XarrayDataset(path, variables="s")
    with pytest.raises(CatalogError, match="pattern= is of folders of rasters"):
        XarrayDataset(path, pattern="x")
    bare = xr.Dataset({"s": (("time", "y", "x"), values[:, 0])})
    write(bare.assign_coords(time=DATES), tmp_path / "bare.nc")
    assert not XarrayDataset(tmp_path / "bare.nc").catalog.has_crs
    with pytest.raises(GridError, match="has no coordinates along rows and columns"):
        XarrayDataset(tmp_path / "bare.nc", crs=32633)
    write(bare, tmp_path / "dateless.nc")
    with pytest.raises(CatalogError, match="what the axis 'time' of s is; give it dates"):
        XarrayDataset(tmp_path / "dateless.nc")
