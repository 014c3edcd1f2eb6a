"""What once made a store differ from its source, or fail with an error that nobody understands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers import catalog_of, north_up, write_tif
from samples import assert_same_items

from geodata.datasets import RasterDataset
from geodata.errors import DtypeError, StoreError
from geodata.fields import LabelField
from geodata.spot import Spot
from geodata.store import convert, open_store


def _rasters(folder, *, count=3, first=0):
    for k in range(count):
        write_tif(folder / f"a{k}.tif", np.full((1, 4, 4), first + k, "int16"), transform=north_up(x=500000 + 200 * k))
    return RasterDataset([str(folder / f"a{k}.tif") for k in range(count)])


def test_rows_in_another_order_are_another_store(tmp_path):
    source = _rasters(tmp_path)
    convert(source, tmp_path / "o.zarr")
    with pytest.raises(StoreError, match="another source"):
        convert(source.take([2, 1, 0]), tmp_path / "o.zarr")


def test_files_that_changed_are_another_source(tmp_path):
    convert(_rasters(tmp_path), tmp_path / "o.zarr")
    changed = _rasters(tmp_path, first=50)
    with pytest.raises(StoreError, match="another source"):
        convert(changed, tmp_path / "o.zarr")


@pytest.mark.parametrize(
    ("value", "nodata", "stored", "dtype"),
    [
        (2**24 + 1, None, "int32", "float32"),
        (2**24 + 1, 2.0**24, "int32", "float32"),
        (2**31 - 1, None, "int32", "float32"),
        (2**63 - 1, None, "int64", "float64"),
        (-9999.0001, -9999.0, "float64", "float32"),
    ],
)
def test_a_cast_that_changes_a_whole_number_or_makes_it_nodata_is_refused(tmp_path, value, nodata, stored, dtype):
    data = np.full((1, 4, 4), 2, stored)
    data[0, 1, 1] = value
    write_tif(tmp_path / "a.tif", data, nodata=nodata)
    source = RasterDataset(str(tmp_path / "a.tif"), dtype=torch.float64)
    with pytest.raises(DtypeError, match="does not fit"):
        convert(source, tmp_path / "o.zarr", dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "bool", "complex64"])
def test_a_dtype_that_no_reader_knows_is_refused_at_once(tmp_path, dtype):
    with pytest.raises(StoreError, match="none that images are stored as"):
        convert(_rasters(tmp_path), tmp_path / "o.zarr", dtype=dtype)


def test_names_of_bands_are_no_templates_and_no_paths(tmp_path):
    for band, dtype in (("a", "uint8"), ("x{y}", "int16"), ("b z", "float32")):
        write_tif(tmp_path / f"i1_{band}.tif", np.full((1, 8, 8), 3, dtype))
    source = RasterDataset(str(tmp_path), pattern=r"(?P<item>i\d)_(?P<band>.+)\.tif")
    convert(source, tmp_path / "o.zarr")
    assert_same_items(source, open_store(tmp_path / "o.zarr"))


def test_bands_of_one_name_that_differ_otherwise_are_put_together(tmp_path):
    for k, scale in enumerate((0.1, 0.2)):
        data = np.full((1, 4, 4), k, "int16")
        write_tif(
            tmp_path / f"{k}.tif", data, descriptions=["B1"], scales=[scale], transform=north_up(x=500000 + 200 * k)
        )
    one, two = (RasterDataset(str(tmp_path / f"{k}.tif")) for k in (0, 1))
    source = one.union(two, reindex=True)
    convert(source, tmp_path / "o.zarr")
    assert_same_items(source, open_store(tmp_path / "o.zarr"))


def test_a_scale_that_is_no_number_is_refused(tmp_path):
    write_tif(tmp_path / "a.tif", scales=[float("nan")], offsets=[1.0])
    with pytest.raises(StoreError, match="not finite"):
        convert(RasterDataset(str(tmp_path / "a.tif")), tmp_path / "o.zarr")


@pytest.mark.parametrize("name", ["stored_at", "source_row", "shard"])
def test_columns_that_a_store_has_of_its_own_are_refused(tmp_path, name):
    catalog = _rasters(tmp_path).catalog
    named = RasterDataset(replace(catalog, table=catalog.table.append_column(name, pa.array([7, 8, 9]))))
    with pytest.raises(StoreError, match=f"column is called '{name}'"):
        convert(named, tmp_path / "o.zarr")


def test_labels_of_lists_with_values_below_a_null(tmp_path):
    lists = pa.ListArray.from_arrays(
        pa.array([0, 1, 2, 3], pa.int32()), pa.array(["x", "y", "z"]), mask=pa.array([False, True, False])
    )
    catalog = catalog_of(*[(north_up(x=500000 + 100 * k), (4, 4), "EPSG:32633") for k in range(3)])
    catalog = replace(catalog, table=catalog.table.append_column("l", lists))
    field = LabelField("label", "", ("l",), ("x", "y", "z"))
    spots = [Spot(catalog.grid(k), catalog.interval(k), k, (0, 0, 4, 4)) for k in (0, 2)]
    found = [rest["label"].tolist() for rest in field.fill_many(catalog, spots, {})]
    assert found == [[1, 0, 0], [0, 0, 1]]
