"""Other libraries open a store and find the same numbers."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geodata.catalog import Catalog
from geodata.datasets import RasterDataset, ReBEN
from geodata.store import convert, open_store

CODECS = ("lz4", "none", "zstd", "blosc-zstd")


@pytest.fixture(scope="module", params=CODECS)
def patches(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("reben")
    ReBEN.fake(root, 10)
    source = ReBEN(root, split=None)
    convert(source, root / "out.zarr", codec=request.param, shard=4)
    return source, root / "out.zarr"


def numbers(source, array):
    """What an array must hold, from the source files by rasterio: {key: (C, H, W)}."""
    catalog = source.catalog
    found = {}
    for row, key in enumerate(catalog.key):
        layers = []
        for name in array.attrs["bands"]:
            asset = next(a for a in catalog.assets if a.bands.names == (name,))
            with rasterio.open(catalog.href(asset, row)) as file:
                layers.append(file.read(1))
        found[key] = np.stack(layers)
    return found


def keys_on_disk(out):
    import geopandas

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return geopandas.read_parquet(out / "catalog" / "c" / "0")["key"].tolist()


ARRAYS = ("image_10m", "image_20m", "image_60m", "image_s1", "mask")


def test_zarr_python_reads_the_same(patches):
    import zarr

    source, out = patches
    group = zarr.open_group(out, mode="r")
    assert {name for name, _ in group.arrays()} >= {*ARRAYS, "catalog", "sample_epsg", "sample_bounds", "split"}
    for name in ARRAYS:
        array = group[name]
        wanted = numbers(source, array)
        for place, key in enumerate(keys_on_disk(out)):
            assert np.array_equal(array[place], wanted[key])
    for name, _ in zarr.open_group(out, mode="r", use_consolidated=False).members():
        assert name in group


def test_tensorstore_reads_the_same(patches):
    import tensorstore

    source, out = patches
    keys = keys_on_disk(out)
    for name in ARRAYS:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{out / name}/"}}
        array = tensorstore.open(spec, read=True).result()
        attrs = json.loads((out / name / "zarr.json").read_text())["attributes"]
        wanted = numbers(source, type("A", (), {"attrs": attrs}))
        found = array.read().result()
        for place, key in enumerate(keys):
            assert np.array_equal(found[place], wanted[key])


def test_xarray_opens_it_without_a_warning(patches):
    import xarray

    source, out = patches
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(out, chunks=None)
    assert data["image_10m"].dims[0] == "sample" and data.sizes["sample"] == 10
    row = source.catalog.rows_of([keys_on_disk(out)[3]])[0]
    crs, bounds = source.catalog.grid(row).crs, source.catalog.grid(row).bounds
    assert data["sample_epsg"].values[3] == crs.to_epsg()
    assert data["sample_bounds"].values[3].tolist() == list(bounds)
    assert data["image_s1"].attrs["bands"] == ["VV", "VH"] and data["image_s1"].attrs["state"] == "dB"
    assert data["image_10m"].attrs["wavelength_nm"][0] == pytest.approx(492.4, abs=2)
    assert {"value", "class", "name"} <= set(data["mask"].attrs["classes"][0])


def test_the_embedded_catalog_is_a_catalog(patches, tmp_path):
    source, out = patches
    copy = tmp_path / "c.parquet"
    copy.write_bytes((out / "catalog" / "c" / "0").read_bytes())
    held = Catalog.load(copy)
    rows = source.catalog.rows_of(held.key.tolist())
    assert (held.affine == source.catalog.affine[rows]).all() and (held.crs == source.catalog.crs[rows]).all()
    assert (held.time == source.catalog.time[rows]).all()
    text = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix == ".json")
    assert str(out.parent).encode() not in text + (out / "catalog" / "c" / "0").read_bytes()


@pytest.fixture
def cube(tmp_path):
    rng = np.random.default_rng(0)
    for k, (date, at) in enumerate((("20200101", 0), ("20200101", 600), ("20200301", 0))):
        path = tmp_path / f"S{k}_{date}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=600, height=560, count=3, dtype="int16", crs="EPSG:32633", nodata=-1,
            transform=Affine(10, 0, 300000 + 10 * at, 0, -10, 5400000),
        ) as file:  # fmt: skip
            file.write(rng.integers(-1, 3000, (3, 560, 600)).astype("int16"))
    source = RasterDataset(str(tmp_path), pattern=r"(?P<item>S\d_(?P<date>\d{8}))\.tif", band_names=["r", "g", "b"])
    convert(source, tmp_path / "cube.zarr")
    return source, tmp_path / "cube.zarr"


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rioxarray
def test_xarray_knows_where_and_when_a_cube_is(cube):
    import rioxarray  # noqa: F401
    import xarray

    source, out = cube
    data = xarray.open_zarr(out, chunks=None, decode_coords="all")
    image = data["image"]
    assert image.dims == ("time", "band", "y", "x") and image.shape == (2, 3, 560, 1200)
    assert image.rio.crs.to_epsg() == 32633
    assert tuple(image.rio.transform())[:6] == (10, 0, 300000, 0, -10, 5400000)
    assert [str(t)[:10] for t in image.time.values] == ["2020-01-01", "2020-03-01"]
    assert image.attrs["proj:code"] == "EPSG:32633" and image.attrs["spatial:transform"][:3] == [10.0, 0.0, 300000.0]
    row = int(np.flatnonzero(source.catalog.affine[:, 2] == 306000)[0])
    with rasterio.open(source.catalog.href(source.catalog.assets[0], row)) as file:
        assert np.array_equal(image.values[0, :, :, 600:], file.read())
    # Where no scene lies there is nodata, to readers that do not know the catalog too.
    assert (image.values[1, :, :, 600:] == -1).all()


def test_a_store_is_a_cube_to_xarraydataset_as_well(cube):
    from geodata.datasets import XarrayDataset

    _, out = cube
    foreign = XarrayDataset(str(out), variables=["image"])
    assert len(foreign) == 2
    own = open_store(out)
    left = own.catalog.affine[:, 2] == 300000
    row = int(np.flatnonzero((own.catalog.column("stored_at") == 0) & left)[0])
    assert torch.equal(foreign[0]["image"][:, :, :600], own[row]["image"])
    assert foreign[0]["grid"].bounds[0] == 300000 and foreign[0]["time"].start == own[row]["time"].start
