"""Exports: LMDB against the safetensors package and a database of rico-hdl; GeoTIFFs against rasterio; both read back."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from makers import catalog_of, north_up, rotated, write_tif
from rasterio.enums import ColorInterp, MaskFlags
from safetensors.numpy import load, save
from samples import assert_same_items

from geodata import cli
from geodata.bands import Bands
from geodata.catalog import Catalog
from geodata.datasets import SSL4EOS12, EuroSAT, HySpecNet11k, RasterDataset, ReBEN, registry
from geodata.errors import MissingDependencyError, StoreError
from geodata.fields import FieldDataset, LooseField
from geodata.fields.contents import Reading, chosen_of, fields_of
from geodata.readers.base import Asset, quietly
from geodata.store import convert, export_geotiff, export_lmdb, export_rasters, export_records, export_tiff, open_store
from geodata.store.contents import columns_of, contents_of, from_plain, to_plain
from geodata.store.export_tensors import pack_tensors
from geodata.store.source import arrays_of

lmdb = pytest.importorskip("lmdb")

WIDE = {"dtype": torch.float64}


def records_of(path):
    """Return all records of a database as bytes, with nothing but the lmdb package."""
    database = lmdb.open(str(path), readonly=True, lock=False, subdir=os.path.isdir(path))
    try:
        with database.begin() as view:
            return {key.decode(): bytes(value) for key, value in view.cursor()}
    finally:
        database.close()


def tensors_of(path):
    return {key: load(value) for key, value in records_of(path).items()}


def assert_tensors(found, expected):
    assert set(found) == set(expected)
    for name, data in expected.items():
        assert found[name].dtype == data.dtype and found[name].shape == data.shape
        assert found[name].tobytes() == data.tobytes(), name


@contextmanager
def opened(path):
    with quietly():
        file = rasterio.open(path)
    with file:
        yield file


@contextmanager
def no_file_longer_than(size):
    """Have the system refuse to write more, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    root = tmp_path_factory.mktemp("reben")
    ReBEN.fake(root, 6)
    return root


@pytest.fixture
def scenes(tmp_path):
    """Three scenes, of which one lies in another zone."""
    draw = np.random.default_rng(1)
    for i, crs in enumerate(("EPSG:32633", "EPSG:32633", "EPSG:3035")):
        data = draw.integers(0, 4000, (3, 12, 20), dtype=np.uint16)
        write_tif(
            tmp_path / "scenes" / f"s{i}_2020060{i + 1}.tif", data, north_up(5e5 + 1000 * i), crs, nodata=0,
            descriptions=["blue", "green", "red"],
        )  # fmt: skip
    return RasterDataset(tmp_path / "scenes", pattern=r"(?P<item>s\d)_(?P<date>\d{8})", dtype=None)


# ---------------------------------------------------------------------- safetensors


kinds = st.sampled_from(
    [np.dtype(n) for n in ["bool", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]]
    + [np.dtype(">u2"), np.dtype(">f4")]
)
some = kinds.flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(lambda n: n != "__metadata__")


@given(st.dictionaries(names, some, max_size=6))
def test_tensors_are_packed_as_the_package_packs_them(tensors):
    # The package takes the bytes of an array as they lie in memory, so it is given them in its order.
    plain = {name: np.array(data, data.dtype.newbyteorder("<"), order="C") for name, data in tensors.items()}
    assert pack_tensors(tensors) == save(plain)


def test_views_are_packed_by_their_values():
    data = np.arange(24, dtype=np.int16).reshape(4, 6)
    np.testing.assert_array_equal(load(pack_tensors({"x": data.T[::2]}))["x"], data.T[::2])


def test_what_safetensors_cannot_hold():
    with pytest.raises(StoreError, match="complex64"):
        pack_tensors({"x": np.zeros(2, np.complex64)})
    with pytest.raises(StoreError, match="__metadata__"):
        pack_tensors({"__metadata__": np.zeros(2)})


# ---------------------------------------------------------------------- reBEN as rico-hdl packs it


def test_real_records_of_rico_hdl_byte_for_byte(realdata, tmp_path):
    root = tmp_path / "reben"
    root.mkdir()
    for path in [*(realdata / "reben").glob("*.parquet"), *(realdata / "reben" / "sample").iterdir()]:
        os.symlink(path, root / path.name)
    found = {}
    for key in ("image", "image_s1"):
        found |= records_of(export_lmdb(ReBEN(root, keys=[key], on_error="skip"), tmp_path / key))
    theirs = records_of(realdata / "reben" / "rico_lmdb")
    assert len(theirs) == 2 and found == theirs


def test_reben_is_read_back_from_its_export(fake, tmp_path):
    root = tmp_path / "reben"
    shutil.copytree(fake, root)
    source = ReBEN(root, split=None, excluded=True)
    assert export_lmdb(source, root / "packed") == root / "packed"
    assert_same_items(source, ReBEN(root, split=None, excluded=True, lmdb="packed"))
    assert sorted(os.listdir(root / "packed")) == ["data.mdb", "lock.mdb"]


def test_tensors_are_the_published_files(fake, tmp_path):
    found = tensors_of(export_lmdb(ReBEN(fake, split=None), tmp_path / "packed"))
    table = pq.read_table(fake / "metadata.parquet").to_pylist()
    assert len(found) == 3 * len(table)
    for row in table:
        patch, scene = row["patch_id"], row["s1_name"]
        expected = {patch: {}, scene: {}, f"{patch}_reference_map": {}}
        for folder, name in (("BigEarthNet-S2", patch), ("BigEarthNet-S1", scene), ("Reference_Maps", patch)):
            for path in (fake / folder).glob(f"*/{name}/*.tif"):
                with opened(path) as file:
                    band = path.stem.removeprefix(f"{name}_")
                    record, tensor = (f"{name}_{band}", "Data") if band == "reference_map" else (name, band)
                    expected[record][tensor] = file.read(1)
        assert [len(t) for t in expected.values()] == [12, 2, 1]
        for record, tensors in expected.items():
            assert_tensors(found[record], tensors)


def test_a_store_gives_the_same_database(fake, tmp_path):
    convert(ReBEN(fake, split=None), tmp_path / "out.zarr", shard=4)
    again = records_of(export_lmdb(open_store(tmp_path / "out.zarr"), tmp_path / "again"))
    assert again == records_of(export_lmdb(ReBEN(fake, split=None), tmp_path / "direct"))
    train = open_store(tmp_path / "out.zarr", split="train", bands=["B02", "VV"])
    some = tensors_of(export_lmdb(train, tmp_path / "some"))
    keys = train.catalog.key.tolist()
    assert set(some) == {*keys, *train.catalog.column("s1_name").tolist()}
    assert all(set(some[key]) == {"B02"} for key in keys)


@pytest.mark.parametrize(
    ("cls", "record", "tensors"),
    [
        (EuroSAT, "AnnualCrop_1", {"B01", "B08", "B08A", "B12"}),
        (HySpecNet11k, "ENMAP01-____L2A-DT0000004950_20221103T162438Z_001_V010110_20221118T145147Z-Y00180145_X00550182", {"B1", "B10", "B224"}),
        (SSL4EOS12, "s2c_0000200_20200604T054639_20200604T054831_T43RCP", {"B1", "B8A", "B10"}),
    ],
)  # fmt: skip
def test_names_of_rico_hdl_for_other_archives(tmp_path, cls, record, tensors):
    cls.fake(tmp_path / "data")
    found = tensors_of(export_lmdb(cls(tmp_path / "data", split=None), tmp_path / "packed"))
    assert tensors <= set(found[record])
    assert not {"B8A", "B001", "B01"} & (set(found[record]) - tensors)


def test_a_store_of_ssl4eo_does_not_know_its_product(tmp_path):
    SSL4EOS12.fake(tmp_path / "data")
    source = SSL4EOS12(tmp_path / "data", split=None)
    convert(source, tmp_path / "out.zarr")
    store = open_store(tmp_path / "out.zarr")
    with pytest.raises(StoreError, match=r"key='s2c_\{location\}_\{scene\}'"):
        export_lmdb(store, tmp_path / "no")
    again = export_lmdb(store, tmp_path / "packed", key="s2c_{location}_{scene}")
    assert records_of(again) == records_of(export_lmdb(source, tmp_path / "direct"))


# ---------------------------------------------------------------------- LMDB of other datasets


@pytest.mark.parametrize(
    "name", sorted({*registry.list()} - {"reben", "eurosat", "hyspecnet11k", "ssl4eo_s12", "pcb_vision"})
)
def test_every_archive_is_read_back_from_its_tensors(tmp_path, name):
    registry.get(name).fake(tmp_path / "data")
    source = registry.get(name)(tmp_path / "data", split=None, **WIDE)
    export_lmdb(source, tmp_path / "packed")
    assets = [
        Asset(
            "packed",
            Bands([b], a.bands.state),
            (1,),
            a.ratio,
            a.dtype,
            a.nodata,
            a.validity,
            "lmdb",
            f"{{key}}/{b.name}",
            "h w",
        )
        for a in arrays_of(source.catalog, source.unnamed)
        for b in a.bands
    ]
    contents = contents_of(source, source.unnamed)
    held = columns_of(source.catalog, source.unnamed)
    catalog = replace(source.catalog, assets=tuple(assets), root=str(tmp_path))
    for column, values in held.items():
        catalog = replace(catalog, table=catalog.table.append_column(column, values))
    chosen = chosen_of(from_plain(to_plain(contents)), None, None)
    catalog, fields = fields_of(catalog, chosen, None, Reading(torch.float64, False, None, -100))
    assert_same_items(source, FieldDataset(catalog, fields))


def test_masked_files_have_tensors_that_say_so(tmp_path):
    data = np.arange(4 * 30, dtype=np.uint8).reshape(4, 5, 6)
    data[3] = np.where(data[3] % 3, 255, 0)
    rgba = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    write_tif(tmp_path / "a.tif", data, colorinterp=rgba, descriptions=["r", "g", "b", "a"])
    found = tensors_of(export_lmdb(RasterDataset(tmp_path / "a.tif"), tmp_path / "packed"))["a"]
    seen = data[3] == 255
    assert_tensors(
        found,
        {"r": data[0], "g": data[1], "b": data[2], "r_valid": seen, "g_valid": seen, "b_valid": seen},
    )


def two_parts(tmp_path, *, both=True):
    """Items with an image and a further file whose band has the same name, of which one item may lack one."""
    one, two = np.arange(64, dtype=np.uint8).reshape(8, 8), np.arange(100, 164, dtype=np.uint8).reshape(8, 8)
    paths = [
        write_tif(tmp_path / f"{n}.tif", d) for n, d in (("i0", one), ("i1", one + 1), ("m0", two), ("m1", two + 1))
    ]
    columns = {"path_i": [p.name for p in paths[:2]], "path_m": [paths[2].name, paths[3].name]}
    if not both:
        columns = {"path_i": [paths[0].name, None], "path_m": [None, paths[3].name]}
    assets = [Asset(f"{{path_{x}}}", one_band(x, both=both), (1,), 1, "uint8", None, "all") for x in "im"]
    place = (north_up(), (8, 8), "EPSG:32633")
    catalog = catalog_of(
        place, (north_up(6e5), (8, 8), "EPSG:32633"), columns=columns, assets=assets, root=str(tmp_path)
    )
    return catalog, one, two


def one_band(name, *, both):
    return Bands([name if both else "x"])


def test_an_item_that_lacks_a_file_lacks_its_tensors(tmp_path):
    catalog, one, two = two_parts(tmp_path, both=False)
    found = tensors_of(export_lmdb(RasterDataset(catalog), tmp_path / "packed"))
    # The two files have a band of one name, but no item has both of them.
    assert_tensors(found["k0"], {"x": one})
    assert_tensors(found["k1"], {"x": two + 1})


def test_names_of_records_from_columns(scenes, tmp_path):
    found = records_of(export_lmdb(scenes, tmp_path / "packed", key="scene-{key}.{size}"))
    assert sorted(found) == [f"scene-s{i}.{scenes.catalog.column('size')[i]}" for i in range(3)]


def test_tiles_are_records_of_their_own(scenes, tmp_path):
    tiles = scenes.tile(8)
    found = tensors_of(export_lmdb(tiles, tmp_path / "packed"))
    assert set(found) == set(tiles.catalog.key)
    for i in range(len(tiles)):
        for band, data in zip(("blue", "green", "red"), tiles[i]["image"].numpy(), strict=True):
            np.testing.assert_array_equal(found[tiles.catalog.key[i]][band], data)


def test_many_records_take_several_transactions(scenes, tmp_path, monkeypatch):
    tiles = scenes.tile(2)
    whole = records_of(export_lmdb(tiles, tmp_path / "whole"))
    calls = []
    put = export_records._put
    monkeypatch.setattr(export_records, "RECORDS", 7)
    monkeypatch.setattr(export_records, "_put", lambda *a: (calls.append(len(a[1])), put(*a)))
    assert records_of(export_lmdb(tiles, tmp_path / "packed")) == whole
    assert sum(calls) == len(tiles) == 180 and max(calls) == 7


# ---------------------------------------------------------------------- what goes wrong with LMDB


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"key": "one"}, "two records would be called 'one'"),
        ({"key": ""}, "0 bytes"),
        ({"key": "{key}" + "x" * 510}, "512 bytes"),
        ({"key": "{nothing}"}, "column 'nothing'"),
        ({"map_size": 0}, "map_size=0"),
        ({"map_size": 20_000}, "larger map_size="),
    ],
)
def test_refused_before_anything_is_there(scenes, tmp_path, options, match):
    with pytest.raises(StoreError, match=match):
        export_lmdb(scenes, tmp_path / "packed", **options)
    assert os.listdir(tmp_path) == ["scenes"]


def test_longest_name_of_a_record(scenes, tmp_path):
    found = records_of(export_lmdb(scenes, tmp_path / "packed", key="{key}" + "x" * 509))
    assert {len(name) for name in found} == {511}


def test_null_names(tmp_path):
    catalog, *_ = two_parts(tmp_path, both=False)
    with pytest.raises(StoreError, match="'k1' has no 'path_i'"):
        export_lmdb(RasterDataset(catalog), tmp_path / "packed", key="{path_i}")


def test_what_is_there_is_left_alone(scenes, tmp_path):
    export_lmdb(scenes, tmp_path / "packed")
    before = records_of(tmp_path / "packed")
    with pytest.raises(StoreError, match="is there already"):
        export_lmdb(scenes, tmp_path / "packed")
    assert records_of(tmp_path / "packed") == before


def test_reben_tiles_need_names_of_their_own(fake, tmp_path):
    tiles = ReBEN(fake, split=None, bands=["B02"]).tile(60)
    with pytest.raises(StoreError, match=r"key='\{key\}'"):
        export_lmdb(tiles, tmp_path / "packed")
    assert len(records_of(export_lmdb(tiles, tmp_path / "packed", key="{key}"))) == len(tiles) == 24


def test_lmdb_is_not_installed(scenes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingDependencyError, match=r"geodata\[formats\]"):
        export_lmdb(scenes, tmp_path / "packed")


@pytest.mark.parametrize("export", [export_lmdb, export_geotiff])
def test_only_files_are_exported(scenes, tmp_path, export):
    with pytest.raises(StoreError, match="made of other datasets"):
        export(scenes & scenes.named("b"), tmp_path / "out")
    with pytest.raises(StoreError, match="transforms"):
        export(scenes.transformed(lambda sample: sample), tmp_path / "out")
    with pytest.raises(StoreError, match="no items"):
        export(scenes.take([]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("export", [export_lmdb, export_geotiff])
def test_a_disk_that_takes_no_more(fake, tmp_path, export):
    with no_file_longer_than(30_000), pytest.raises(StoreError, match="cannot write"):
        export(ReBEN(fake, split=None), tmp_path / "out")
    left = list((tmp_path / "out").glob("*")) if export is export_geotiff else os.listdir(tmp_path)
    assert not [path for path in left if str(path).endswith((".tif", "out", ".partial"))]


def test_a_full_disk_is_said(scenes, tmp_path, monkeypatch):
    def full(*_):
        raise lmdb.DiskError("No space left on device")

    monkeypatch.setattr(export_records, "_write", full)
    with pytest.raises(StoreError, match="the disk is full"):
        export_lmdb(scenes, tmp_path / "packed")
    assert os.listdir(tmp_path) == ["scenes"]


class Stop(BaseException):
    """What ends an export in the middle."""


def stopping_at(monkeypatch, module, names, k):
    """Have the k-th of all calls of some functions fail; return the list of calls."""
    calls = []

    def watched(function):
        def call(*args, **kwargs):
            calls.append(function.__name__)
            if len(calls) == k:
                raise Stop
            return function(*args, **kwargs)

        return call

    for owner, name in [(module, name) for name in names] + [(os, "rename"), (os, "replace")]:
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    return calls


def test_interrupted_at_every_write_nothing_is_left(scenes, tmp_path):
    wanted = records_of(export_lmdb(scenes, tmp_path / "wanted"))
    shutil.rmtree(tmp_path / "wanted")
    for k in range(1, 50):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export_records, "RECORDS", 1)
            calls = stopping_at(patch, export_records, ["pack_tensors", "_put", "settle"], k)
            try:
                export_lmdb(scenes, tmp_path / "packed")
            except Stop:
                # All that may be left is a whole database: only what comes after the renaming was stopped.
                left = sorted(set(os.listdir(tmp_path)) - {"scenes"})
                assert left == [] or (left == ["packed"] and "rename" in calls[:-1])
                if left:
                    assert records_of(tmp_path / "packed") == wanted
                    shutil.rmtree(tmp_path / "packed")
                continue
        break
    assert k > 8 and records_of(tmp_path / "packed") == wanted


KILLED = """
import os, signal, sys
from geodata.datasets import RasterDataset
from geodata.store import export_geotiff, export_lmdb, export_records, export_rasters
module, export = {"lmdb": (export_records, export_lmdb), "geotiff": (export_rasters, export_geotiff)}[sys.argv[3]]
settle, calls = module.settle, []
def kill(path):
    settle(path)
    calls.append(path)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
module.settle = kill
export(RasterDataset(sys.argv[1]), sys.argv[2], progress=False)
"""


@pytest.mark.parametrize("to", ["lmdb", "geotiff"])
def test_killed(scenes, tmp_path, to):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "scenes", tmp_path / "out", to], check=False)
    assert done.returncode == -signal.SIGKILL
    source = RasterDataset(tmp_path / "scenes")
    if to == "lmdb":
        assert not (tmp_path / "out").exists()
        assert len(records_of(export_lmdb(source, tmp_path / "out"))) == 3
    else:
        assert len(list((tmp_path / "out").glob("*.tif"))) == 1 and not (tmp_path / "out" / "catalog.parquet").exists()
        assert_same_items(source, RasterDataset(export_geotiff(source, tmp_path / "out")))
        assert os.listdir(tmp_path / "out" / ".geodata") == ["export.json"]


# ---------------------------------------------------------------------- GeoTIFF


@pytest.mark.parametrize("name", registry.list())
def test_every_archive_is_read_back_from_its_files(tmp_path, name):
    cls = registry.get(name)
    cls.fake(tmp_path / "data")
    whole = cls(tmp_path / "data", split=None, **WIDE)
    path = export_geotiff(whole, tmp_path / "out")
    loose = {f.keys[0] for f in whole.unnamed if isinstance(f, LooseField)}
    assert loose == ({"image_rgb", "mask_rgb"} if name == "pcb_vision" else set())
    contents = [c for c in from_plain(to_plain(contents_of(whole, whole.unnamed))) if c.key not in loose]
    catalog = Catalog.load(path)
    catalog.check_files()
    catalog, fields = fields_of(
        catalog, chosen_of(contents, None, None), None, Reading(torch.float64, False, None, -100)
    )
    source = cls(tmp_path / "data", split=None, keys=[c.key for c in contents], **WIDE) if loose else whole
    back = FieldDataset(catalog, fields)
    assert_same_items(source, back)
    assert (catalog.time == source.catalog.time).all() and not catalog.origin.any()


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (north_up(1 / 3, 1e7 / 7, 10.000000001), "EPSG:32733"),
        (north_up(500000, 5600000, 10, -10), "EPSG:25832"),
        (rotated(4e6 + 0.1, 3e6, 9.99, 12.3), "EPSG:3035"),
        (Affine(1e-4, 0, 11.1, 0, -1e-4, 50.3), "EPSG:4326"),
        (north_up(-6e6, 4e6, 500), "ESRI:54009"),
        (north_up(10.5, 20.5, 3), "+proj=laea +lat_0=12 +lon_0=34 +ellps=GRS80 +units=m +type=crs"),
        (north_up(10.5, 20.5, 3), None),
    ],
)
def test_place_of_files_to_the_last_bit(tmp_path, transform, crs):
    data = np.arange(96, dtype=np.float32).reshape(1, 8, 12)
    write_tif(tmp_path / "a.tif", data, transform, crs)
    source = RasterDataset(tmp_path / "a.tif")
    path = export_geotiff(source, tmp_path / "out")
    with opened(tmp_path / "a.tif") as before, opened(tmp_path / "out" / "a_image.tif") as after:
        assert tuple(after.transform) == tuple(transform) == tuple(before.transform)
        assert after.crs == before.crs
        np.testing.assert_array_equal(after.read(), data)
    for back in (RasterDataset(path), RasterDataset(str(tmp_path / "out" / "*.tif"))):
        assert back[0]["grid"] == source[0]["grid"]
        assert torch.equal(back[0]["image"], source[0]["image"])


def test_an_item_without_a_place_is_a_plain_tiff(tmp_path):
    write_tif(tmp_path / "a.tif", crs=None)
    export_geotiff(RasterDataset(tmp_path / "a.tif"), tmp_path / "out")
    with opened(tmp_path / "out" / "a_image.tif") as file:
        assert file.crs is None and file.transform.is_identity
        assert not {"33550", "33922", "34264", "34735"} & set(file.tags(ns="TIFF"))


def test_bands_are_described(tmp_path):
    tags = [
        {"wavelength": "490.25", "wavelength_units": "nm", "fwhm": "65.5"},
        {"wavelength": "842", "wavelength_units": "nm"},
    ]
    write_tif(
        tmp_path / "a.tif", np.ones((2, 8, 8), np.int16), nodata=-7, descriptions=["blue", "nir"], scales=[0.1, 1e-4],
        offsets=[-1.5, 0.25], band_tags=tags,
    )  # fmt: skip
    source = RasterDataset(tmp_path / "a.tif")
    path = export_geotiff(source, tmp_path / "out")
    with opened(tmp_path / "out" / "a_image.tif") as file:
        assert file.descriptions == ("blue", "nir") and file.nodatavals == (-7, -7) and file.dtypes == ("int16",) * 2
        assert file.scales == (0.1, 1e-4) and file.offsets == (-1.5, 0.25)
        assert file.tags(1)["wavelength"] == "490.25" and file.tags(1)["fwhm"] == "65.5"
        assert file.tags(2)["wavelength"] == "842.0" and "fwhm" not in file.tags(2)
        assert file.compression.name == "deflate"
    assert RasterDataset(path).bands == source.bands == RasterDataset(tmp_path / "out" / "a_image.tif").bands


@pytest.mark.parametrize("compress", export_tiff.COMPRESSION)
@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_every_dtype_and_compression(tmp_path, dtype, compress):
    draw = np.random.default_rng(3)
    data = draw.integers(0, 256, (4, 9, 8 * np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)
    with np.errstate(invalid="ignore"):
        write_tif(tmp_path / "a.tif", data, photometric="minisblack", alpha="unspecified")
    export_geotiff(RasterDataset(tmp_path / "a.tif", dtype=None), tmp_path / "out", compress=compress)
    with opened(tmp_path / "out" / "a_image.tif") as file:
        assert file.dtypes == (dtype,) * 4 and ColorInterp.alpha not in file.colorinterp
        assert (file.compression.name if file.compression else "none") == compress
        assert file.read().tobytes() == data.tobytes()


def test_masks_have_names_and_colours_of_their_classes(tmp_path):
    codes = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3
    write_tif(tmp_path / "m.tif", codes, nodata=0)
    classes = {1: ("wood & <bush>", "#00ff10"), 2: ("Wälder", "#0000ff")}
    source = RasterDataset(tmp_path / "m.tif", categorical=True, classes=classes)
    path = export_geotiff(source, tmp_path / "out")
    with opened(tmp_path / "out" / "m_mask.tif") as file:
        np.testing.assert_array_equal(file.read(1), codes)
        assert file.nodata == 0
        assert json.loads(file.tags()["CLASSES"]) == {"1": "wood & <bush>", "2": "Wälder"}
    # GDAL's own reading of the names: it hands them on to a copy in another format.
    rasterio.shutil.copy(tmp_path / "out" / "m_mask.tif", tmp_path / "copy.png", driver="PNG")
    names = ElementTree.parse(tmp_path / "copy.png.aux.xml").findall(".//CategoryNames/Category")
    assert [n.text for n in names] == [None, "wood & <bush>", "Wälder"]
    back = RasterDataset(path, categorical=True, classes=classes)
    assert_same_items(source, back)


def test_classes_of_large_numbers_are_in_a_table(fake, tmp_path):
    export_geotiff(ReBEN(fake, split=None, keys=["mask"]), tmp_path / "out")
    path = next((tmp_path / "out").glob("*.tif"))
    rasterio.shutil.copy(path, tmp_path / "copy.png", driver="PNG")
    table = ElementTree.parse(tmp_path / "copy.png.aux.xml").find(".//GDALRasterAttributeTable")
    rows = [[cell.text for cell in row] for row in table.findall("Row")]
    assert ["111", "Urban fabric", "230", "0", "77"] in rows and ["312", "Coniferous forest"] in [r[:2] for r in rows]


def test_colours_of_a_mask_of_bytes(tmp_path):
    cls = registry.get("enmap_nlcd")
    cls.fake(tmp_path / "data")
    source = cls(tmp_path / "data", split=None, keys=["mask"])
    convert(source, tmp_path / "out.zarr")
    about = next(c for c in cls.spec.contents if c.key == "mask").classes
    for dataset in (source, open_store(tmp_path / "out.zarr")):
        folder = tmp_path / type(dataset).__name__
        export_geotiff(dataset, folder)
        with opened(next(folder.glob("*.tif"))) as file:
            table = file.colormap(1)
            found = {code: "#{:02x}{:02x}{:02x}".format(*table[code][:3]) for code in about.codes}
            assert found == {code: about.colours[number] for code, number in about.codes.items()}


def test_numbers_of_classes_beyond_32_bits(tmp_path):
    cls = registry.get("enmap_eurocrops")
    cls.fake(tmp_path / "data")
    export_geotiff(cls(tmp_path / "data", split=None, keys=["mask"]), tmp_path / "out")
    path = next((tmp_path / "out").glob("*.tif"))
    with quietly():
        rasterio.shutil.copy(path, tmp_path / "copy.tif", driver="GTiff")
    table = ElementTree.parse(tmp_path / "copy.tif.aux.xml").find(".//GDALRasterAttributeTable")
    values = {int(float(row[0].text)) for row in table.findall("Row")}
    codes = next(c for c in cls.spec.contents if c.key == "mask").classes.codes
    assert values == {code for code, number in codes.items() if number >= 0} and max(values) > 2**31


def test_masks_of_files_stay_masks(tmp_path):
    data = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    seen = data[0] % 5 != 0
    write_tif(tmp_path / "a.tif", data, mask=seen, descriptions=["r", "g", "b"])
    source = RasterDataset(tmp_path / "a.tif")
    path = export_geotiff(source, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".geodata", "a_image.tif", "catalog.parquet"]
    with opened(tmp_path / "out" / "a_image.tif") as file:
        assert file.mask_flag_enums[0] == [MaskFlags.per_dataset] and file.nodata is None
        np.testing.assert_array_equal(file.read(), data)
        np.testing.assert_array_equal(file.read_masks(2) == 255, seen)
    assert_same_items(source, RasterDataset(path))
    assert not source[0]["valid"].all() and source[0]["valid"].any()


def test_bands_with_masks_of_their_own_are_refused(tmp_path):
    for band, nodata in (("a", 1), ("b", 2)):
        write_tif(tmp_path / f"{band}.tif", nodata=nodata)
    vrt = f"""<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32633</SRS><GeoTransform>0,1,0,9,0,-1</GeoTransform>{
        "".join(
            f'<VRTRasterBand dataType="Byte" band="{i}"><NoDataValue>{i}</NoDataValue><SimpleSource><SourceFilename '
            f'relativeToVRT="1">{n}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
            for i, n in ((1, "a"), (2, "b"))
        )
    }</VRTDataset>"""
    (tmp_path / "both.vrt").write_text(vrt)
    source = RasterDataset(tmp_path / "both.vrt")
    with pytest.raises(StoreError, match="bands 1 and 2 mark different pixels"):
        export_geotiff(source, tmp_path / "out")
    one = RasterDataset(tmp_path / "both.vrt", bands=["2"])
    assert_same_items(one, RasterDataset(export_geotiff(one, tmp_path / "one")))


def test_resolutions_are_files_of_their_own(fake, tmp_path):
    source = ReBEN(fake, split=None, bands=["B02", "B05", "B01"])
    path = export_geotiff(source, tmp_path / "out")
    key = source.catalog.key[0]
    grid = source[0]["grid"]
    for tail, ratio in (("10m", 1), ("20m", 2), ("60m", 6)):
        with opened(tmp_path / "out" / f"{key}_image_{tail}.tif") as file:
            assert file.shape == (120 // ratio, 120 // ratio)
            assert tuple(file.transform) == tuple(grid.transform @ Affine.scale(ratio))
            assert file.crs.to_epsg() == grid.crs.to_epsg()
    native = RasterDataset(path, bands=["B02", "B05", "B01"], native=True, dtype=None)
    theirs = ReBEN(fake, split=None, keys=["image"], bands=["B02", "B05", "B01"], native=True, dtype=None)
    for a, b in ((native[i], theirs[i]) for i in range(len(theirs))):
        assert all(torch.equal(a[k], b[k]) for k in b if k.startswith(("image", "valid")))


def test_files_are_found_by_a_pattern_too(fake, tmp_path):
    source = ReBEN(fake, split=None, bands=["B02", "B08"])
    export_geotiff(source, tmp_path / "out")
    pattern = r"(?P<item>S2.*?_(?P<date>\d{8}T\d{6})_.*)_image\.tif$"
    back = RasterDataset(str(tmp_path / "out" / "*.tif"), pattern=pattern)
    order = [back.catalog.key.tolist().index(key) for key in source.catalog.key]
    assert (back.catalog.time[order, 0] == source.catalog.time[:, 0]).all()
    for i, j in enumerate(order):
        assert torch.equal(source[i]["image"], back[j]["image"]) and source[i]["grid"] == back[j]["grid"]
        assert torch.equal(source[i]["valid"], back[j]["valid"])


def test_labels_stay_in_the_catalog(fake, tmp_path):
    source = ReBEN(fake, split=None, keys=["mask", "label"])
    catalog = Catalog.load(export_geotiff(source, tmp_path / "out"))
    for name in ("labels", "split", "country", "s1_name"):
        assert catalog.table[name].to_pylist() == source.catalog.table[name].to_pylist()
    assert catalog.dataset == source.catalog.dataset
    shutil.move(tmp_path / "out", tmp_path / "moved")
    moved = RasterDataset(tmp_path / "moved" / "catalog.parquet", categorical=True)
    assert moved[0]["mask"].shape == (120, 120)


def test_a_store_gives_the_same_files(fake, tmp_path):
    convert(ReBEN(fake, split=None), tmp_path / "out.zarr", shard=4)
    export_geotiff(open_store(tmp_path / "out.zarr"), tmp_path / "a")
    export_geotiff(ReBEN(fake, split=None), tmp_path / "b")
    files = sorted(p.name for p in (tmp_path / "a").glob("*.tif*"))
    assert files == sorted(p.name for p in (tmp_path / "b").glob("*.tif*")) and len(files) == 36
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in files)
    assert not {"stored_at", "source_row"} & set(Catalog.load(tmp_path / "a" / "catalog.parquet").table.column_names)


def test_tiles_begin_at_their_own_first_pixel(scenes, tmp_path):
    tiles = scenes.tile((8, 8))
    back = RasterDataset(export_geotiff(tiles, tmp_path / "out"), dtype=None)
    assert_same_items(tiles, back)


@pytest.mark.parametrize("export", [export_lmdb, export_geotiff])
def test_tiles_between_coarse_pixels_are_refused(fake, tmp_path, export):
    with pytest.raises(StoreError, match="multiples of 6"):
        export(ReBEN(fake, split=None, bands=["B02", "B01"]).tile(32), tmp_path / "out")


@pytest.mark.parametrize("masked", [False, True])
def test_large_items_are_written_a_part_at_a_time(tmp_path, monkeypatch, masked):
    monkeypatch.setattr(export_tiff, "MOST", 1)
    draw = np.random.default_rng(5)
    data = draw.integers(0, 9999, (2, 700, 530), dtype=np.uint16)
    write_tif(tmp_path / "a.tif", data, mask=data[0] % 7 > 0 if masked else None)
    source = RasterDataset(tmp_path / "a.tif")
    rows = []
    read = export_tiff.Tiff._read
    monkeypatch.setattr(export_tiff.Tiff, "_read", lambda *a: (rows.append(a[3]), read(*a))[1])
    path = export_geotiff(source, tmp_path / "out")
    assert rows == [(0, 0, 256, 530), (256, 0, 256, 530), (512, 0, 188, 530)]
    with opened(tmp_path / "out" / "a_image.tif") as file:
        assert file.block_shapes == [(256, 256)] * 2
        np.testing.assert_array_equal(file.read(), data)
    assert_same_items(source, RasterDataset(path))


def test_keys_that_are_no_names_of_files(tmp_path):
    keys = [
        "a/b",
        "a-b",
        "A-B",
        "../x",
        "..",
        "/",
        "Ä ö#1",
        "n" * 300,
        "n" * 301,
        "x",
        "x_image",
        "ü" * 200,
        "c\\d:e\n",
    ]
    place = (north_up(), (8, 8), "EPSG:32633")
    catalog = catalog_of(*[place] * len(keys))
    write_tif(tmp_path / "a.tif")
    table = catalog.table.set_column(0, "key", [keys])
    source = RasterDataset(
        replace(catalog, table=table, assets=(Asset("a.tif", Bands(["v"]), (1,), 1, "uint8"),), root=str(tmp_path))
    )
    path = export_geotiff(source, tmp_path / "out")
    names = [p.name for p in (tmp_path / "out").glob("*.tif")]
    assert len({n.casefold() for n in names}) == len(keys)
    assert all(len(n.encode()) < 255 and not n.startswith(".") for n in names)
    assert {"Ä-ö-1_image.tif", "x_image_image.tif"} <= set(names)
    assert set(os.listdir(tmp_path)) == {"a.tif", "out"}
    assert_same_items(source, RasterDataset(path))


def test_arrays_whose_names_differ_in_capitals_only():
    assert export_rasters._distinct(["image_a", "image_B", "image_b"]) == ["image_a", "image_B-2", "image_b-3"]


# ---------------------------------------------------------------------- the folder of GeoTIFFs


def test_interrupted_at_every_step_it_goes_on(scenes, tmp_path):
    export_geotiff(scenes, tmp_path / "wanted")
    wanted = {p.name: p.read_bytes() for p in (tmp_path / "wanted").glob("*.tif")}
    for k in range(1, 50):
        out = tmp_path / f"out{k}"
        with pytest.MonkeyPatch.context() as patch:
            stopping_at(patch, export_rasters, ["settle", "_catalog"], k)
            patch.setattr(export_tiff.Tiff, "write", export_tiff.Tiff.write)
            try:
                export_geotiff(scenes, out)
            except Stop:
                pass
            else:
                break
        there = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.glob("*.tif")}
        assert all(data == wanted[name] for name, (data, _) in there.items())
        assert not (out / "catalog.parquet").exists() or len(there) == 3
        path = export_geotiff(scenes, out)
        assert {p.name: p.read_bytes() for p in out.glob("*.tif")} == wanted
        assert all((out / name).stat().st_mtime_ns == when for name, (_, when) in there.items())
        assert_same_items(scenes, RasterDataset(path, dtype=None))
        assert sorted(os.listdir(out)) == sorted([*wanted, ".geodata", "catalog.parquet"])
        assert os.listdir(out / ".geodata") == ["export.json"]
    assert k > 8


def test_a_finished_export_stays_as_it_is(scenes, tmp_path):
    path = export_geotiff(scenes, tmp_path / "out")
    before = {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (tmp_path / "out").glob("[!.]*")}
    assert export_geotiff(scenes, tmp_path / "out") == path
    assert {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (tmp_path / "out").glob("[!.]*")} == before


def test_other_exports_and_other_files_are_refused(scenes, tmp_path):
    export_geotiff(scenes, tmp_path / "out")
    for other in (scenes.take([0, 1]), RasterDataset(tmp_path / "scenes", bands=["red"], pattern=r"(?P<item>s\d)")):
        with pytest.raises(StoreError, match="another dataset"):
            export_geotiff(other, tmp_path / "out")
    with pytest.raises(StoreError, match="other parameters"):
        export_geotiff(scenes, tmp_path / "out", compress="zstd")
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(StoreError, match=r"'mine.txt', which is no part"):
        export_geotiff(scenes, tmp_path / "out")
    with pytest.raises(StoreError, match="choose a new or empty folder"):
        export_geotiff(scenes, tmp_path / "scenes")
    with pytest.raises(StoreError, match="compress='jpeg'"):
        export_geotiff(scenes, tmp_path / "new", compress="jpeg")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"):
        export_geotiff(scenes, tmp_path / "file")
    assert not (tmp_path / "new").exists()


def test_values_that_the_disk_does_not_give_back(scenes, tmp_path, monkeypatch):
    settled = export_tiff.Tiff._read_back

    def damaged(self, path, key, checks):
        with rasterio.open(path, "r+") as file:
            data = file.read()
            data[0, 0, 0] += 1
            file.write(data)
        settled(self, path, key, checks)

    monkeypatch.setattr(export_tiff.Tiff, "_read_back", damaged)
    with pytest.raises(StoreError, match="gives back other values"):
        export_geotiff(scenes, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))


# ---------------------------------------------------------------------- the command


def run(capsys, *arguments):
    code = cli.run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command(fake, tmp_path, capsys):
    source = ReBEN(fake, split=None)
    convert(source, tmp_path / "out.zarr")
    code, out, err = run(capsys, "export", tmp_path / "out.zarr", tmp_path / "lm", "--to", "lmdb")
    assert (code, err) == (0, "") and out == f"{tmp_path / 'lm'}: {len(source)} items\n"
    assert len(records_of(tmp_path / "lm")) == 18
    command = ["export", "reben", tmp_path / "gt", "--to", "geotiff", "--root", fake, "--bands", "B02", "--json"]
    code, out, err = run(capsys, *command, "--split", "train,test")
    train = source.where(split=["train", "test"])
    assert json.loads(out) == {"out": str(tmp_path / "gt" / "catalog.parquet"), "samples": len(train)} and err == ""
    back = RasterDataset(tmp_path / "gt" / "catalog.parquet")
    assert back.catalog.key.tolist() == train.catalog.key.tolist() and 0 < len(train) < len(source)
    code, out, err = run(
        capsys,
        "export",
        tmp_path / "out.zarr",
        tmp_path / "n",
        "--to",
        "lmdb",
        "--keys",
        "image",
        "--name",
        "{tile}-{key}",
    )
    assert code == 0
    tiles = source.catalog.column("tile")
    assert set(records_of(tmp_path / "n")) == {f"{t}-{k}" for t, k in zip(tiles, source.catalog.key, strict=True)}


@pytest.mark.parametrize(
    ("more", "code", "match"),
    [
        (["--to", "tar"], 2, "must be lmdb or geotiff"),
        (["--to", "geotiff", "--name", "x"], 2, "--name"),
        (["--to", "lmdb", "--split", "val"], 2, "no part is called 'val'; there are test, train, validation"),
        (["--to", "lmdb", "--name", "x"], 1, "two records"),
        ([], 2, "--to"),
    ],
)
def test_wrong_calls(fake, tmp_path, capsys, more, code, match):
    got, out, err = run(capsys, "export", "reben", tmp_path / "o", "--root", fake, *more)
    assert (got, out) == (code, "") and match in err and not (tmp_path / "o").exists()
