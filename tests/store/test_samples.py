"""A store gives the samples of its source, bit for bit, to everything that reads datasets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from makers import north_up, write_tif
from samples import assert_same, assert_same_items

import geodata as gd
from geodata import splits
from geodata.datasets import RasterDataset, ReBEN, VectorDataset, registry
from geodata.errors import CatalogError, GeodataError, StoreError
from geodata.samplers import GridPatchSampler, ItemSampler, RandomPatchSampler
from geodata.store import convert, open_store, verify

# Read as float64, which holds every stored number: so each archive can be asked in one way.
WIDE = {"dtype": torch.float64}


@pytest.mark.parametrize("name", registry.list())
def test_every_archive_is_the_same_from_a_store(tmp_path, name):
    cls = registry.get(name)
    root = tmp_path / name
    root.mkdir()
    cls.fake(root)
    source = cls(root, split=None, **WIDE)
    out = tmp_path / "out.zarr"
    unequal = name in {"hyperview", "pcb_vision", "vhr10"}
    if unequal:
        with pytest.raises(StoreError, match=r"has \d sizes: .* pad them"):
            convert(source, out)
    convert(source, out, pad=unequal)
    store = open_store(out, **WIDE)
    assert store.keys == source.keys
    assert store.bands == source.bands and store.classes == source.classes
    assert_same_items(source, store)
    batch, wanted = (gd.collate(ds.__getitems__(range(len(ds))), pad=0) for ds in (store, source))
    assert_same(batch, wanted)
    assert verify(out, against=source).problems == ()


@pytest.fixture(scope="module")
def reben(tmp_path_factory):
    root = tmp_path_factory.mktemp("reben")
    ReBEN.fake(root, 24)
    convert(ReBEN(root, split=None), root / "out.zarr", shard=8)
    return root, root / "out.zarr"


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"native": True, "dtype": None},
        {"bands": ["B05", "B11", "B01"]},
        {"bands": ["B11", "B02", "VV"], "dtype": torch.float64},
        {"bands": [665.0, 842.0], "resampling": "nearest"},
        {"keys": ["label"]},
        {"keys": ["mask", "image"], "ignore_index": 255},
        {"split": "train"},
        {"split": ["test", "validation"], "name": "a"},
        {"transforms": lambda sample: sample | {"twice": sample["image"] * 2}},
    ],
)
def test_every_option_of_an_archive_is_one_of_the_store(reben, how):
    root, out = reben
    source, store = ReBEN(root, **({"split": None} | how)), open_store(out, **how)
    assert_same_items(source, store)
    assert_same(gd.collate(store.__getitems__([3, 1, 2])), gd.collate(source.__getitems__([3, 1, 2])))


def test_windows_tiles_and_places_are_the_same(reben):
    root, out = reben
    source, store = ReBEN(root, split=None), open_store(out)
    windows = list(RandomPatchSampler(source, size=48, length=60, seed=3))
    for query in windows:
        assert_same(source[query], store[query])
    assert_same(gd.collate(source.__getitems__(windows[:16])), gd.collate(store.__getitems__(windows[:16])))
    assert_same_items(source.tile(60), store.tile(60), range(0, 96, 5))
    native = [ReBEN(root, split=None, native=True, dtype=None), open_store(out, native=True, dtype=None)]
    assert_same_items(native[0].tile(60), native[1].tile(60), range(0, 96, 5))
    left, bottom, right, top = source.catalog.grid(0).bounds
    crs = source.catalog.grid(0).crs
    for box in ((left + 95, bottom + 15, left + 605, top - 95), (left - 300, bottom - 300, right, top)):
        assert_same(source.read(box, crs=crs, res=10), store.read(box, crs=crs, res=10))
        assert_same(source.read(box, crs=crs, res=7), store.read(box, crs=crs, res=7))
    lonlat = source.catalog.grid(0).to_crs("EPSG:4326", 1e-4)
    assert_same(source[lonlat], store[lonlat])


def test_samplers_and_splits_of_the_source_serve_the_store(reben):
    root, out = reben
    source, store = ReBEN(root, split=None), open_store(out)
    assert store.catalog.key.tolist() == source.catalog.key.tolist()
    for make in (
        lambda ds: RandomPatchSampler(ds, size=64, length=40, seed=1),
        lambda ds: GridPatchSampler(ds, size=60),
        lambda ds: ItemSampler(ds, shuffle=True, seed=5),
    ):
        assert list(make(source)) == list(make(store))
    split = splits.hash(source.catalog, fractions={"train": 0.5, "test": 0.5}, seed=0)
    assert split == splits.hash(store.catalog, fractions={"train": 0.5, "test": 0.5}, seed=0)
    assert_same_items(source.split(split)["train"], store.split(split)["train"])


def test_a_split_is_kept_and_chosen_by_its_parts(reben, tmp_path):
    root, _ = reben
    source = ReBEN(root, split=None)
    split = splits.hash(source.catalog, fractions={"fit": 0.5, "hold": 0.5}, seed=1)
    out = tmp_path / "split.zarr"
    convert(source, out, split=split, shard=4)
    assert_same_items(source.split(split)["fit"], open_store(out, split="fit"))
    assert open_store(out).splitting == split
    # Part after part on disk.
    places = open_store(out).catalog.column("stored_at")
    first = set(places[split.rows("fit", source.catalog)].tolist())
    assert first in ({*range(len(first))}, {*range(24 - len(first), 24)})
    with pytest.raises(CatalogError, match="no part 'train'; it has fit, hold"):
        open_store(out, split="train")


@pytest.mark.parametrize("order", ["shuffled", "split", "spatial", "source"])
def test_the_order_on_disk_is_another_the_samples_are_not(reben, tmp_path, order):
    root, _ = reben
    source = ReBEN(root, split=None)
    convert(source, tmp_path / "out.zarr", order=order, shard=4)
    store = open_store(tmp_path / "out.zarr")
    assert_same_items(source, store, range(0, 24, 5))
    places = store.catalog.column("stored_at")
    assert sorted(places.tolist()) == list(range(24))
    parts = store.catalog.column("split")[np.argsort(places)].tolist()
    changes = sum(a != b for a, b in pairwise(parts))
    if order != "source":
        assert changes == len(set(parts)) - 1
    assert (places.tolist() == list(range(24))) == (order == "source")


# ---------------------------------------------------------------------- rasters


def _scene(path, at, size, res, seed, *, nodata=0, dtype="uint16"):
    data = np.random.default_rng(seed).integers(0, 4000, (1, size, size)).astype(dtype)
    data[0, :9, :7] = nodata
    x, y = at
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype=dtype, crs="EPSG:32633", nodata=nodata,
        transform=Affine(res, 0, 300000 + x, 0, -res, 5400000 - y), tiled=True, blockxsize=256, blockysize=256,
    ) as file:  # fmt: skip
        file.write(data)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """Two dates of three overlapping scenes of 10 m and 20 m bands on one lattice."""
    folder = tmp_path_factory.mktemp("scenes")
    for d, date in enumerate(("20200101", "20200201")):
        for k, at in enumerate(((0, 0), (5000, 0), (1200, 5400))):
            _scene(folder / f"S{k}_{date}_B02.tif", at, 600, 10, 10 * d + k)
            _scene(folder / f"S{k}_{date}_B05.tif", at, 300, 20, 100 + 10 * d + k)
    return RasterDataset(str(folder), pattern=r"(?P<item>S\d_(?P<date>\d{8}))_(?P<band>B\d\d)\.tif")


def test_scenes_of_one_lattice_become_a_cube(mosaic, tmp_path):
    out = tmp_path / "cube.zarr"
    convert(mosaic, out)
    store = open_store(out)
    from geodata.readers.shards import open_array

    fine, coarse = open_array(f"{out}/image_10m"), open_array(f"{out}/image_20m")
    # Two of the scenes of each date overlap, so each date takes more than one layer.
    assert fine.shape[1:] == (1, 1140, 1100) and coarse.shape[1:] == (1, 570, 550)
    assert_same_items(mosaic, store)
    assert_same_items(mosaic.tile(128), store.tile(128), range(0, 150, 11))
    box = (301000, 5393000, 306000, 5397000)
    assert_same(mosaic.read(box, crs="EPSG:32633", res=10), store.read(box, crs="EPSG:32633", res=10))
    assert_same(
        mosaic.read(box, crs="EPSG:32633", res=10, time="2020-02"),
        store.read(box, crs="EPSG:32633", res=10, time="2020-02"),
    )
    assert_same(mosaic.series(by="location")[0], store.series(by="location")[0])
    for query in RandomPatchSampler(mosaic, size=100, length=30, seed=1):
        assert_same(mosaic[query], store[query])
    assert verify(out, against=mosaic).problems == ()


def test_dates_of_one_place_become_a_cube_and_are_read_as_a_series(tmp_path):
    for k in range(5):
        _scene(tmp_path / f"A_2021010{k + 1}_B02.tif", (0, 0), 96, 10, k)
    dates = RasterDataset(str(tmp_path), pattern=r"(?P<item>A_(?P<date>\d{8}))_(?P<band>B\d\d)\.tif")
    convert(dates, tmp_path / "stack.zarr")
    store = open_store(tmp_path / "stack.zarr")
    assert_same(dates.series()[0], store.series()[0])
    assert store.series()[0]["image"].shape == (5, 1, 96, 96)
    tiles = [ds.tile(32).series() for ds in (dates, store)]
    assert_same_items(*tiles)


def test_scenes_of_several_lattices_are_padded_patches_in_chunks(tmp_path):
    write_tif(tmp_path / "a.tif", np.arange(700 * 650, dtype="uint16").reshape(1, 700, 650), transform=north_up())
    write_tif(tmp_path / "b.tif", np.ones((1, 300, 900), "uint16"), transform=north_up(x=777777.0))
    scenes = RasterDataset(str(tmp_path))
    with pytest.raises(StoreError, match=r"2 sizes: 300 x 900.*700 x 650"):
        convert(scenes, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    convert(scenes, tmp_path / "out.zarr", pad=True)
    store = open_store(tmp_path / "out.zarr")
    assert_same_items(scenes, store)
    assert_same_items(scenes.tile(200), store.tile(200))
    with pytest.raises(StoreError, match="one lattice"):
        convert(scenes, tmp_path / "cube.zarr", layout="cube")


def test_tiles_are_stored_as_patches_of_their_own(mosaic, tmp_path):
    tiles = mosaic.tile(100)
    convert(tiles, tmp_path / "tiles.zarr", layout="patches")
    store = open_store(tmp_path / "tiles.zarr")
    assert_same_items(tiles, store, range(0, len(tiles), 13))
    with pytest.raises(StoreError, match="multiples of 2"):
        convert(mosaic.tile(75), tmp_path / "odd.zarr", layout="patches")


def test_what_only_a_mask_band_or_nan_says_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(3):
        data = rng.integers(1, 99, (2, 40, 40)).astype("uint8")
        path = tmp_path / f"m{k}.tif"
        write_tif(path, data, transform=north_up(x=500000 + 400 * k))
        with rasterio.open(path, "r+") as file:
            file.write_mask(rng.random((40, 40)) > 0.3)
    masked = RasterDataset([str(tmp_path / f"m{k}.tif") for k in range(3)])
    assert not masked[0]["valid"].all()
    convert(masked, tmp_path / "masked.zarr", layout="patches")
    assert_same_items(masked, open_store(tmp_path / "masked.zarr"))
    assert (tmp_path / "masked.zarr" / "image_valid").is_dir()
    floats = rng.random((1, 30, 30)).astype("float32")
    floats[0, 3:9] = np.nan
    write_tif(tmp_path / "nan.tif", floats, transform=north_up())
    nan = RasterDataset(str(tmp_path / "nan.tif"))
    convert(nan, tmp_path / "nan.zarr")
    assert_same_items(nan, open_store(tmp_path / "nan.zarr"))
    assert not open_store(tmp_path / "nan.zarr")[0]["valid"][4].any()


def test_class_rasters_with_and_without_names(tmp_path):
    rng = np.random.default_rng(0)
    write_tif(tmp_path / "c.tif", rng.choice([0, 3, 7], (1, 30, 30)).astype("uint8"), transform=north_up())
    for k, how in enumerate(({}, {"classes": {0: "sea", 3: "wood", 7: "ice"}}, {"ignore": [3]}, {"ignore_index": 255})):
        source = RasterDataset(str(tmp_path / "c.tif"), categorical=True, **how)
        convert(source, tmp_path / f"{k}.zarr")
        store = open_store(tmp_path / f"{k}.zarr", ignore_index=how.get("ignore_index", -100))
        assert_same_items(source, store)
        assert store.classes == source.classes


def test_rows_that_lack_a_file_are_not_observed(tmp_path):
    for k in range(4):
        for band in ("B1", "B2"):
            if (k, band) != (2, "B2"):
                data = np.full((1, 20, 20), 10 * k + int(band[1]), "uint16")
                write_tif(tmp_path / f"s{k}_{band}.tif", data, transform=north_up(x=500000 + 300 * k))
    pattern = r"(?P<item>s\d)_(?P<band>B\d)\.tif"
    whole = RasterDataset(str(tmp_path), pattern=pattern, on_error="skip")
    assert len(whole) == 3
    one, two = (RasterDataset(str(tmp_path), pattern=pattern, bands=[b]) for b in ("B1", "B2"))
    rows = two.take([0, 1]).union(one.take([2]), reindex=True) if len(two) < len(one) else one.union(two, reindex=True)
    convert(rows, tmp_path / "out.zarr", layout="patches")
    assert_same_items(rows, open_store(tmp_path / "out.zarr"))


def test_stores_are_joined_as_their_sources_are(reben, tmp_path):
    root, out = reben
    source, store = ReBEN(root, split=None, bands=["B04"]), open_store(out, bands=["B04"])
    other = ReBEN(root, split=None, keys=["image_s1"])
    joined = [ds.named("a").join(other, on="key") for ds in (source, store)]
    assert_same_items(*joined, rows=[0, 7])
    assert_same_items(store.named("a") & open_store(out, keys=["image_s1"]), source.named("a") & other, rows=[3])


def test_a_store_of_a_store_is_the_same(reben, tmp_path):
    _, out = reben
    store = open_store(out)
    convert(store.take(range(10)), tmp_path / "again.zarr", codec="zstd", chunk_bands=2)
    assert_same_items(store.take(range(10)), open_store(tmp_path / "again.zarr"))


def test_statistics_are_kept_for_normalize(reben, tmp_path):
    from geodata import transforms as T

    root, out = reben
    source = ReBEN(root, split=None, keys=["image"])
    names = source.bands.names
    stats = {"mean": {name: 100.0 + k for k, name in enumerate(names)}, "std": dict.fromkeys(names, 3.0)}
    convert(source, tmp_path / "out.zarr", stats=stats)
    store = open_store(tmp_path / "out.zarr", bands=["B04", "B03"])
    assert store.stats == stats and open_store(out).stats is None
    wanted = T.Normalize(stats)(gd.collate([store[0]]))["image"]
    assert torch.equal(wanted, T.Normalize(store.stats)(gd.collate([store[0]]))["image"])
    import json

    attrs = json.loads((tmp_path / "out.zarr" / "image_20m" / "zarr.json").read_text())["attributes"]
    assert attrs["statistics"]["mean"] == [stats["mean"][name] for name in attrs["bands"]]
    for wrong in ({"mean": {}}, {"mean": {"B99": 1}, "std": {}}, {"mean": 3, "std": {}}):
        with pytest.raises(StoreError, match="stats must be"):
            convert(source, tmp_path / "w.zarr", stats=wrong)


# ---------------------------------------------------------------------- what is refused


def test_what_is_no_dataset_of_files_is_refused(reben, tmp_path):
    root, _ = reben
    source = ReBEN(root, split=None, bands=["B04"])
    with pytest.raises(StoreError, match=r"SeriesDataset.*convert each"):
        convert(source.series(), tmp_path / "o.zarr")
    with pytest.raises(StoreError, match="transforms"):
        convert(source.transformed(lambda s: s), tmp_path / "o.zarr")
    with pytest.raises(StoreError, match="neither images nor masks"):
        convert(ReBEN(root, split=None, keys=["label"]), tmp_path / "o.zarr")
    with pytest.raises(StoreError, match="no items"):
        convert(source.take([]), tmp_path / "o.zarr")
    for wrong in (
        {"order": "any"},
        {"layout": "heap"},
        {"codec": "rar"},
        {"chunk_bands": 0},
        {"shard": -1},
        {"workers": 0},
    ):
        with pytest.raises(GeodataError, match=next(iter(wrong)).split("_")[0]):
            convert(source, tmp_path / "o.zarr", **wrong)
    with pytest.raises(StoreError, match="not both"):
        convert(source, tmp_path / "o.zarr", workers=2, scheduler="tcp://127.0.0.1:1")
    assert not (tmp_path / "o.zarr").exists()


def test_a_cast_that_would_change_a_number_is_refused(reben, tmp_path):
    root, _ = reben
    source = ReBEN(root, split=None, keys=["image"])
    with pytest.raises(GeodataError, match=r"B02.*does not fit uint8|the value \d+ does not fit uint8"):
        convert(source, tmp_path / "o.zarr", dtype="uint8")
    with pytest.raises(StoreError, match="no dtype"):
        convert(source, tmp_path / "p.zarr", dtype="uint17")
    with pytest.raises(StoreError, match="NaN"):
        convert(ReBEN(root, split=None, keys=["image_s1"]), tmp_path / "p.zarr", dtype="int16")
    # Apart, as stored: what is enlarged is rounded in whole numbers, and not in fractions.
    convert(source, tmp_path / "f.zarr", dtype="float32")
    assert_same_items(
        ReBEN(root, split=None, keys=["image"], native=True), open_store(tmp_path / "f.zarr", native=True)
    )


def test_vector_layers_alone_are_refused(tmp_path):
    import json

    shape = {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]]}
    feature = {"type": "Feature", "geometry": shape, "properties": {"k": 1}}
    path = tmp_path / "v.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(StoreError, match="VectorDataset"):
        convert(VectorDataset(path, label="k"), tmp_path / "o.zarr")
