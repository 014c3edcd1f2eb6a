"""SpectralEarth and its benchmarks: bands against the published statistics, labels against codes read by rasterio."""

import csv
import json
import pickle
import shutil

import numpy as np
import pytest
import rasterio
import torch

from geodata.datasets import get
from geodata.datasets import spectral_earth_tasks as tasks
from geodata.datasets.enmap_table import EMPTY, bands, valid_bands
from geodata.datasets.spectral_earth import SpectralEarth
from geodata.datasets.spectral_hyperview import HyperView
from geodata.datasets.spectral_tasks_table import TASKS
from geodata.datasets.tables import table
from geodata.errors import BandsError, CatalogError, DtypeError, GridError, NoFilesError, ReadError
from geodata.sample import IGNORE

CLASSES = {
    "enmap_cdl": tasks.EnMAPCDL,
    "enmap_nlcd": tasks.EnMAPNLCD,
    "enmap_eurocrops": tasks.EnMAPEuroCrops,
    "enmap_bdforet": tasks.EnMAPBDForet,
    "enmap_treemap": tasks.EnMAPTreeMap,
    "enmap_bnetd": tasks.EnMAPBNETD,
    "enmap_corine": tasks.EnMAPCorine,
    "desis_cdl": tasks.DESISCDL,
    "eo1_cdl": tasks.EO1CDL,
}

PUBLISHED = {
    "enmap_cdl": "0 1 2 3 4 5 6 45 54 69 72 75 76 204 210",
    "enmap_nlcd": "0 11 21 22 23 24 31 41 42 43 52 71 81 82 90 95",
    "enmap_eurocrops": "0 3301090205 3301010600 3301090303 3301010800 3301090301 3303060000 3303030600 3303050000 3303030100 "
    "3301060500 3301060300 3303010000 3301020000 3301160000 3301029900",
    "enmap_bdforet": "0 1 2 3 4 5 7 9 10 11 12 14 16",
    "enmap_treemap": "0 184 185 221 924 105 503 520 706 801 201 264 266 281 301 901 406 923 142 161 602 607 608 267 371",
    "enmap_bnetd": "0 1 2 3 6 9 10 13 15 16 21",
    "desis_cdl": "0 1 2 3 5 42 43 49 54 56 68 69 75 76 204",
    "eo1_cdl": "0 1 2 3 4 5 6 41 42 43 54 69 75 76 204",
}
"""Lists of codes as in the configurations of the authors' code."""


def rewritten(path, change, **profile):
    """Write a raster again with other pixels."""
    with rasterio.open(path) as file:
        data, how = change(file.read()), file.profile
    count, height, width = data.shape
    how |= {"dtype": data.dtype, "count": count, "height": height, "width": width, **profile}
    with rasterio.open(path, "w", **how) as file:
        file.write(data)


# ---------------------------------------------------------------------- the archive for pre-training


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("spectral_earth")
    SpectralEarth.fake(root, 4)
    return root


def test_pixels_and_places_are_those_of_rasterio(archive):
    ds = SpectralEarth(archive, dtype=None)
    assert len(ds) == 4
    for i, key in enumerate(ds.catalog.key):
        with rasterio.open(archive / "enmap" / f"{key}.tif") as file:
            stored, transform, epsg = file.read(), file.transform, file.crs.to_epsg()
        sample = ds[i]
        assert sample["image"].dtype == torch.int16 and sample["image"].shape == (202, 128, 128)
        assert np.array_equal(sample["image"].numpy(), stored)
        assert np.array_equal(sample["valid"].numpy(), (stored != -32768).all(axis=0))
        assert sample["grid"].transform == transform and sample["grid"].crs.to_epsg() == epsg
    assert not ds[3]["valid"].all()


def test_dates_of_a_location_are_grouped(archive):
    ds = SpectralEarth(archive)
    by_place = {}
    for key in ds.catalog.key:
        by_place.setdefault(key.split("/")[0], []).append(key)
    assert ds.catalog.column("location").tolist() == [key.split("/")[0] for key in ds.catalog.key]
    for series in (ds.series(by="location"), ds.where(lambda c: c.column("location") != "").series(by="location")):
        assert sorted(series[i]["image"].shape[0] for i in range(len(series))) == sorted(map(len, by_place.values()))
    assert len(ds.series(by="scene")) == len(set(ds.catalog.column("scene")))


def test_series_by_a_column_refuses_two_grids(archive, tmp_path):
    shutil.copytree(archive / "enmap", tmp_path / "enmap")
    moved = next((tmp_path / "enmap").glob("0000649/00027.tif"))
    with rasterio.open(moved, "r+") as file:
        file.transform = file.transform @ file.transform.translation(5, 0)
    ds = SpectralEarth(tmp_path)
    assert len(ds.series(by="location")) == 4
    table_ = ds.catalog.table.append_column("place", [ds.catalog.column("location").tolist()])
    from dataclasses import replace

    ds.catalog = replace(ds.catalog, table=table_)
    with pytest.raises(GridError, match="0000649"):
        ds.series(by="place")


def test_red_is_the_band_that_enmap_shows_as_red(archive):
    ds = SpectralEarth(archive, bands=("red", 550, "B224"))
    found = ds[0]["bands"]
    assert found.names == ("B043", "B028", "B224")
    assert found.wavelengths == pytest.approx([634.919, 550.525, 2445.53])
    with rasterio.open(archive / "enmap" / f"{ds.catalog.key[0]}.tif") as file:
        assert np.array_equal(ds[0]["image"].numpy(), file.read([43, 28, 202]))


def test_other_roots_bands_and_splits_are_refused(archive, tmp_path):
    with pytest.raises(NoFilesError, match="does not hold enmap"):
        SpectralEarth(tmp_path)
    with pytest.raises(NoFilesError, match="does: give that"):
        SpectralEarth(archive / "enmap")
    with pytest.raises(CatalogError, match="no split of its own"):
        SpectralEarth(archive, split="train")
    with pytest.raises(BandsError, match="B130"):
        SpectralEarth(archive, bands=["B130"])


def test_patches_with_other_bands_are_refused(archive, tmp_path):
    shutil.copytree(archive / "enmap", tmp_path / "enmap")
    for path in (tmp_path / "enmap").glob("*/*.tif"):
        rewritten(path, lambda data: data[:7])
    with pytest.raises(BandsError, match="7 bands"):
        SpectralEarth(tmp_path)


# ---------------------------------------------------------------------- the real files of the authors' code


def steps(values):
    return np.abs(np.diff(np.log(values)))


def test_wavelengths_agree_with_the_published_means(realdata):
    """Means of bands jump where wavelengths do: ours jump at the same two places, those of the shipped table do not."""
    shipped = realdata / "spectral_earth" / "data"
    mu, sigma = SpectralEarth.statistics(shipped / "statistics")
    assert mu.dtype == sigma.dtype == np.float32 and mu.shape == sigma.shape == (202,)
    jumps = set(np.argsort(steps(mu))[-2:].tolist())
    ours = valid_bands().wavelengths
    assert set(np.flatnonzero(np.diff(ours) > 100).tolist()) == jumps == {125, 144}
    with (shipped / "enmap_bands_remapped.csv").open() as file:
        claimed = np.array([float(row["center_nm"]) for row in csv.DictReader(file)])
    assert set(np.flatnonzero(np.diff(claimed) > 80).tolist()) == {125, 129, 140} != jumps
    assert steps(mu)[[129, 140]].max() < 0.03
    # They differ in those 15 bands only, by seven bands.
    differ = np.flatnonzero(np.abs(ours - claimed) > 0.01)
    assert differ.tolist() == list(range(130, 145))
    everything = bands("wavelength").wavelengths
    shift = np.searchsorted(everything, claimed[differ]) - np.searchsorted(everything, ours[differ])
    assert set(shift.tolist()) == {7}


def test_nominal_bands_are_those_of_the_published_table(realdata):
    with (realdata / "enmap_potsdam" / "enmap.csv").open() as file:
        rows = [(float(row["wavelength"]), float(row["fwhm"])) for row in csv.DictReader(file)]
    assert [(b.wavelength, b.fwhm) for b in bands("wavelength")] == rows
    assert len(valid_bands()) == 202 and len(EMPTY) == 22
    assert valid_bands().names[125:127] == ("B126", "B142") and valid_bands().names[144:146] == ("B160", "B168")


def test_statistics_of_other_shape_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"mu\.npy"):
        SpectralEarth.statistics(tmp_path)
    np.save(tmp_path / "mu.npy", np.ones(235, "f4"))
    with pytest.raises(ReadError, match="202"):
        SpectralEarth.statistics(tmp_path)


@pytest.mark.parametrize("name", CLASSES)
def test_split_files_of_the_authors_have_as_many_lines_as_declared(name, realdata):
    folder = realdata / "spectral_earth" / "data" / "splits" / name
    lines = {part: (folder / f"{part}.txt").read_text().split() for part in ("train", "val", "test")}
    assert len({line for part in lines.values() for line in part}) == TASKS[name].items == CLASSES[name].spec.items


def test_hyperview_tables_of_the_authors(realdata, tmp_path):
    folder = realdata / "spectral_earth" / "data" / "splits" / "hyperview"
    with (folder / "train.csv").open() as file:
        rows = {row["sample_index"]: row for row in csv.DictReader(file)}
    (tmp_path / "images").mkdir()
    for key in ("1328", "599", "9999"):
        np.savez(tmp_path / "images" / f"{key}.npz", data=np.ones((150, 3, 4), "i2"), mask=np.zeros((150, 3, 4), bool))
    with pytest.raises(NoFilesError, match="1730 of 1732"):
        HyperView(tmp_path, splits=folder)
    ds = HyperView(tmp_path, splits=folder, on_error="skip")
    assert len(ds.catalog.dropped) == 1730
    assert ds.catalog.key.tolist() == ["599", "1328", "9999"]
    assert ds.catalog.column("split").tolist() == ["val", "train", None]
    want = [float(rows["1328"][name]) for name in ("P", "K", "Mg", "pH")]
    assert ds[1]["label"].tolist() == pytest.approx(want, rel=1e-6)
    with pytest.raises(CatalogError, match="'9999' has no value"):
        ds[2]


# ---------------------------------------------------------------------- benchmarks


@pytest.fixture(scope="module")
def fakes(tmp_path_factory):
    made = {}

    def of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            CLASSES[name].fake(made[name], 4)
        return made[name]

    return of


@pytest.fixture
def copy(fakes, tmp_path):
    def of(name):
        shutil.copytree(fakes(name), tmp_path / name, ignore=shutil.ignore_patterns(".geodata"))
        return tmp_path / name

    return of


def remapped(stored, codes):
    """The authors' rule by hand: the list without 0 in its order; all else is of no class."""
    out = np.full(stored.shape, IGNORE)
    for number, code in enumerate(c for c in codes if c):
        out[stored == code] = number
    return out


@pytest.mark.parametrize("name", PUBLISHED)
def test_masks_follow_the_published_lists(name, fakes):
    root, cls = fakes(name), CLASSES[name]
    assert get(name) is cls
    ds = cls(root)
    codes = [int(code) for code in PUBLISHED[name].split()]
    assert len(cls.spec.contents[1].classes.names) == len(codes) - 1
    for i in range(4):
        with rasterio.open(root / cls.spec.contents[1].needs / f"{ds.catalog.key[i]}.tif") as file:
            stored = file.read(1).astype(np.int64)
        assert 99 in stored and 0 in stored
        mask = ds[i]["mask"]
        assert mask.dtype == torch.int64
        assert np.array_equal(mask.numpy(), remapped(stored, codes))
    with rasterio.open(root / cls.spec.contents[0].needs / f"{ds.catalog.key[0]}.tif") as file:
        assert np.array_equal(ds[0]["image"].numpy(), file.read())
    assert {part: len(cls(root, split=part)) for part in ("train", "val", "test")} == {"train": 2, "val": 1, "test": 1}


def test_sensors_have_their_bands(fakes):
    found = {name: CLASSES[name](fakes(name))[0]["bands"] for name in ("enmap_cdl", "desis_cdl", "eo1_cdl")}
    assert {name: len(held) for name, held in found.items()} == {"enmap_cdl": 202, "desis_cdl": 235, "eo1_cdl": 198}
    assert found["enmap_cdl"] == valid_bands()
    assert np.isnan(found["desis_cdl"].wavelengths).all() and found["eo1_cdl"].names[-1] == "B198"


@pytest.mark.parametrize("dtype", ["float64", "uint32", "int64"])
def test_codes_beyond_32_bits_are_exact_in_any_stored_dtype(dtype, copy):
    root = copy("enmap_eurocrops")
    codes = [int(code) for code in PUBLISHED["enmap_eurocrops"].split()]
    near = np.array([*codes[1:], codes[1] + 1, codes[1] - 1, 0], dtype=np.int64)
    stored = near[np.arange(128 * 128).reshape(128, 128) % len(near)]
    for path in (root / "eurocrops").glob("*/*.tif"):
        rewritten(path, lambda _: stored[None].astype(dtype), dtype=dtype)
    assert np.array_equal(tasks.EnMAPEuroCrops(root)[0]["mask"].numpy(), remapped(stored, codes))


def test_fractions_of_a_class_are_refused(copy):
    root = copy("enmap_cdl")
    for path in (root / "cdl").glob("*/*.tif"):
        rewritten(path, lambda data: data + 0.5, dtype="float64")
    with pytest.raises(DtypeError, match="whole"):
        tasks.EnMAPCDL(root)[0]


def test_names_of_classes_belong_to_their_codes():
    crops = tasks.EnMAPCDL.spec.contents[1].classes
    assert dict(zip(crops.codes, crops.names, strict=True))[204] == "Pistachios"
    land = tasks.EnMAPNLCD.spec.contents[1].classes
    assert (land.codes[11], land.names[0], land.colours[0]) == (0, "Open Water", "#466b9f")
    hcat = tasks.EnMAPEuroCrops.spec.contents[1].classes
    assert hcat.names[hcat.codes[3301160000]] == "soy_soybeans"
    trees = tasks.EnMAPTreeMap.spec.contents[1].classes
    assert trees.names[trees.codes[281]] == "Lodgepole pine"
    assert tasks.EnMAPBNETD.spec.contents[1].classes.names[-1] == "BNETD 21"


def test_a_dataset_travels_to_workers_with_its_rule(fakes):
    ds = tasks.EnMAPCDL(fakes("enmap_cdl"), split="train", name="a")
    there = pickle.loads(pickle.dumps(ds))
    assert torch.equal(there[0]["mask_a"], ds[0]["mask_a"]) and (there[0]["mask_a"] == IGNORE).any()
    window = tasks.EnMAPCDL(fakes("enmap_cdl"), split="train").tile(64)
    assert torch.equal(window[0]["mask"], ds[0]["mask_a"][:64, :64])


def test_split_by_a_folder_elsewhere(copy, tmp_path):
    root = copy("enmap_cdl")
    shutil.move(root / "splits", tmp_path / "lists")
    assert len(tasks.EnMAPCDL(root)) == 4 and set(tasks.EnMAPCDL(root).catalog.column("split")) == {None}
    with pytest.raises(NoFilesError, match=r"(?s)does not hold splits/train.txt.*splits="):
        tasks.EnMAPCDL(root, split="train")
    given = tasks.EnMAPCDL(root, split="train", splits=tmp_path / "lists")
    assert given.catalog.key.tolist() == [
        line.removesuffix(".tif") for line in (tmp_path / "lists" / "train.txt").read_text().split()
    ]


def test_changed_split_files_are_read_again(copy):
    root = copy("enmap_cdl")
    assert len(tasks.EnMAPCDL(root, split="train")) == 2
    lines = (root / "splits" / "train.txt").read_text().split()
    (root / "splits" / "train.txt").write_text(lines[0] + "\n")
    assert len(tasks.EnMAPCDL(root, split="train")) == 1 and len(tasks.EnMAPCDL(root)) == 4


def test_split_files_that_name_what_is_not_there(copy):
    root = copy("enmap_cdl")
    with (root / "splits" / "val.txt").open("a") as file:
        file.write("0421303/11896.tif\r\n")
    with pytest.raises(NoFilesError, match=r"1 of 5.*0421303/11896"):
        tasks.EnMAPCDL(root)
    ds = tasks.EnMAPCDL(root, on_error="skip", split="val")
    assert len(ds) == 1 and ds.catalog.dropped == ("0421303/11896",)


def test_split_files_that_contradict_each_other(copy):
    root = copy("enmap_cdl")
    shutil.copy(root / "splits" / "train.txt", root / "splits" / "test.txt")
    with pytest.raises(CatalogError, match=r"for test, but it is in train"):
        tasks.EnMAPCDL(root)
    with pytest.raises(CatalogError, match=r"no split 'validation'.*train, val, test"):
        tasks.EnMAPNLCD(copy("enmap_nlcd"), split="validation")


def test_label_rasters_without_an_image(copy):
    root = copy("enmap_cdl")
    shutil.rmtree(root / "enmap" / "0000706")
    with pytest.raises(NoFilesError, match="1 of 4 label rasters have no image, first enmap/0000706"):
        tasks.EnMAPCDL(root)
    ds = tasks.EnMAPCDL(root, on_error="skip")
    assert len(ds) == 3 and ds.catalog.dropped == ("0000706/00034",)


def test_images_without_a_label_raster_are_no_items(copy):
    root = copy("enmap_cdl")
    shutil.copytree(root / "enmap" / "0000706", root / "enmap" / "0999999")
    assert len(tasks.EnMAPCDL(root)) == 4


@pytest.mark.parametrize("step", [(slice(None), slice(0, 100)), (slice(None, None, 2), slice(None, None, 2))])
def test_masks_of_another_size_are_refused(step, copy):
    root = copy("enmap_cdl")
    for path in (root / "cdl").glob("*/*.tif"):
        with rasterio.open(path) as file:
            scale = file.transform.scale(step[0].step or 1)
            transform = file.transform @ scale
        rewritten(path, lambda data: data[(slice(None), *step)], transform=transform)
    with pytest.raises(GridError):
        tasks.EnMAPCDL(root)


def test_images_of_another_sensor_are_refused(copy):
    root = copy("desis_cdl")
    (root / "desis").rename(root / "eo1")
    with pytest.raises(BandsError, match="235 bands; the sensor has 198"):
        tasks.EO1CDL(root)
    with pytest.raises(NoFilesError, match="does not hold enmap"):
        tasks.EnMAPCDL(root)


# ---------------------------------------------------------------------- CORINE


def test_corine_labels_are_the_codes_of_the_mask(fakes):
    root = fakes("enmap_corine")
    to_19 = dict(table("classes/clc19.json")["codes"])
    codes_43 = [code for code in to_19 if code not in (335, 999)]
    coarse, fine = tasks.EnMAPCorine(root), tasks.EnMAPCorine(root, nomenclature=43)
    assert len(codes_43) == 43 and fine.classes[41] == "Estuaries"
    for i, key in enumerate(coarse.catalog.key):
        with rasterio.open(root / "corine" / f"{key}.tif") as file:
            stored = file.read(1)
        found = set(np.unique(stored).tolist())
        want = np.zeros(19)
        want[[to_19[c] for c in found if to_19.get(c, -1) >= 0]] = 1
        assert coarse[i]["label"].tolist() == want.tolist() and 0 < want.sum() < 19
        assert fine[i]["label"].tolist() == [float(code in found) for code in codes_43]
        assert np.array_equal(fine[i]["mask"].numpy(), remapped(stored, codes_43))
        assert np.array_equal(
            coarse[i]["mask"].numpy(), np.vectorize(lambda c: to_19[c] if to_19.get(c, -1) >= 0 else IGNORE)(stored)
        )
    assert "label" not in tasks.EnMAPCorine(root, keys=["image"])[0]
    with pytest.raises(CatalogError, match="19 or 43"):
        tasks.EnMAPCorine(root, nomenclature=44)


# ---------------------------------------------------------------------- HyperView


@pytest.fixture
def fields(tmp_path):
    HyperView.fake(tmp_path, 4)
    return tmp_path


def test_hyperview_arrays_are_those_of_numpy(fields):
    ds = HyperView(fields, dtype=None)
    with (fields / "splits" / "train.csv").open() as file:
        rows = {row["sample_index"]: row for row in csv.DictReader(file)}
    assert get("hyperview") is HyperView and len(HyperView(fields, split="train")) == 3
    for i, key in enumerate(ds.catalog.key[:3]):
        with np.load(fields / "images" / f"{key}.npz") as held:
            data, outside = held["data"], held["mask"]
        sample = ds[i]
        assert np.array_equal(sample["image"].numpy(), data) and sample["image"].shape[0] == 150
        assert np.array_equal(sample["mask"].numpy() == 0, ~outside[0]) and outside.any()
        assert sample["label"].tolist() == pytest.approx(
            [float(rows[key][n]) for n in ("P", "K", "Mg", "pH")], rel=1e-5
        )
    assert len({ds[i]["image"].shape for i in range(4)}) > 1


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda root: (root / "splits/val.csv").write_text("a,b\n1,2\n"), CatalogError, "val.csv is no table"),
        (lambda root: shutil.copy(root / "splits/train.csv", root / "splits/val.csv"), CatalogError, "val.*but train"),
        (lambda root: (root / "images/2.npz").unlink(), NoFilesError, "1 of 4.*first 2;"),
        (lambda root: (root / "images/2.npz").write_bytes(b"PK"), ReadError, r"2\.npz"),
        (lambda root: np.savez(root / "images/2.npz", data=np.ones((9, 2, 2), "i2")), DtypeError, "9 bands"),
        (lambda root: shutil.rmtree(root / "images"), NoFilesError, "does not hold images"),
    ],
)
def test_hyperview_refuses(change, error, match, fields):
    change(fields)
    with pytest.raises(error, match=match):
        HyperView(fields)


def test_every_table_of_classes_says_where_it_is_from():
    for name in ("cdl", "nlcd", "eurocrops", "treemap", "clc43"):
        held = table(f"classes/{name}.json")
        assert held["source"] and json.dumps(held["codes"]) and len(held["codes"]) == len(held["names"])
