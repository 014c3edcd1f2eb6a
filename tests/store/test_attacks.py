"""What once made a store differ from its source, or fail with an error that nobody understands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from makers import catalog_of, north_up, write_tif
from samples import assert_same, assert_same_items

from geodata.datasets import RasterDataset
from geodata.errors import CatalogError, DtypeError, StaleCatalogError, StoreError
from geodata.fields import LabelField
from geodata.spot import Spot
from geodata.store import convert, open_store, verify


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


# ---------------------------------------------------------------------- replaced, reordered, renamed


def _folder(tmp_path, count=4):
    for k in range(count):
        write_tif(tmp_path / f"p{k}.tif", np.full((1, 8, 8), k + 1, "uint16"), transform=north_up(x=500000 + 100 * k))
    return RasterDataset([str(tmp_path / f"p{k}.tif") for k in range(count)])


def test_a_store_that_took_the_place_of_another_is_not_read_by_the_old_catalog(tmp_path):
    import shutil

    source, out = _folder(tmp_path), tmp_path / "s.zarr"
    convert(source, out, order="source", layout="patches")
    store = open_store(out)
    first = store[0]["image"].clone()
    shutil.rmtree(out)
    convert(source, out, order="shuffled", layout="patches")
    with pytest.raises(StaleCatalogError, match=r"another store.*open it again"):
        store.__getitems__(range(4))
    with pytest.raises(StaleCatalogError, match="another store"):
        _ = store[0]
    assert torch.equal(open_store(out)[0]["image"], first)


def test_verify_compares_what_the_catalogs_say(tmp_path):
    source, out = _folder(tmp_path), tmp_path / "s.zarr"
    convert(source, out, layout="patches")
    assert verify(out, against=source).passed
    moved = source._with(replace(source.catalog, time=np.full((4, 2), [5.0, 6.0])), source.unnamed)
    assert any("times differ" in problem for problem in verify(out, against=moved).problems)


def test_what_decides_which_item_is_on_top_is_given_to_the_store(tmp_path):
    source, out = _folder(tmp_path), tmp_path / "s.zarr"
    turned = RasterDataset(source.catalog, order=lambda catalog, rows: rows[::-1])
    with pytest.raises(StoreError, match="order= is not stored"):
        convert(turned, out)
    convert(source, out)
    store = open_store(out, order=turned.order)
    box = turned.catalog.grid(0).bounds
    wide = (box[0], box[1], box[2] + 300, box[3])
    crs = turned.catalog.grid(0).crs
    assert_same(turned.read(wide, crs=crs, res=10), store.read(wide, crs=crs, res=10))


def test_the_digest_is_of_contents_not_of_ages_of_files(tmp_path):
    import os

    source = _folder(tmp_path)
    first = convert(source, tmp_path / "a.zarr")
    os.utime(tmp_path / "p1.tif", (1, 1))
    again = RasterDataset([str(tmp_path / f"p{k}.tif") for k in range(4)])
    assert convert(again, tmp_path / "b.zarr") == first
    with pytest.raises(StoreError, match="another source"):
        convert(again, tmp_path / "a.zarr")


def test_places_that_hold_something_else(tmp_path):
    source = _folder(tmp_path)
    convert(source, tmp_path / "s.zarr")
    with pytest.raises(StoreError, match=r"lies inside .*s\.zarr"):
        convert(source, tmp_path / "s.zarr" / "more.zarr")
    (tmp_path / "f.txt").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        convert(source, tmp_path / "f.txt")


def test_parts_that_are_numbers(tmp_path):
    source = _folder(tmp_path)
    table = source.catalog.table.append_column("split", pa.array([1, 2, None, 1]))
    numbered = source._with(replace(source.catalog, table=table), source.unnamed)
    convert(numbered, tmp_path / "s.zarr")
    assert len(open_store(tmp_path / "s.zarr", split="1")) == len(open_store(tmp_path / "s.zarr", split=1)) == 2
    assert len(open_store(tmp_path / "s.zarr", split=[1, "2"])) == 3
    with pytest.raises(CatalogError, match="no part 'x'; it has 1, 2"):
        open_store(tmp_path / "s.zarr", split="x")
    with pytest.raises(CatalogError, match="names no part"):
        open_store(tmp_path / "s.zarr", split=[])


def test_info_tells_of_a_store(tmp_path, capsys):
    import json

    from geodata.cli import run

    convert(_folder(tmp_path), tmp_path / "s.zarr")
    assert run(["info", str(tmp_path / "s.zarr"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (
        facts["samples"] == 4 and facts["makes"] == ["image", "valid", "bands"] and "uint16" in facts["arrays"]["image"]
    )
    assert run(["info", str(tmp_path / "s.zarr")]) == 0
    assert "samples" in capsys.readouterr().out
