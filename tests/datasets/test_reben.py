"""reBEN: its tables, geometry, labels and pixels, on the real tables and patches and on a look-alike."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import shapely
import torch

from geodata.datasets import BigEarthNetV2, ReBEN
from geodata.datasets.reben_table import LANDCOVER, S1, S2
from geodata.errors import BandsError, CatalogError, NoFilesError, ReadError
from geodata.mgrs import corner_of_tile

FIRST = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_05_03"


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    root = tmp_path_factory.mktemp("reben")
    ReBEN.fake(root, 6)
    return root


@pytest.fixture
def copy(fake, tmp_path):
    shutil.copytree(fake, tmp_path / "reben", ignore=shutil.ignore_patterns(".geodata"))
    return tmp_path / "reben"


@pytest.fixture(scope="module")
def real(realdata, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    for path in (realdata / "reben").iterdir():
        os.symlink(path, root / path.name)
    for path in (realdata / "reben" / "sample").iterdir():
        os.symlink(path, root / path.name)
    return root


def pixels_of(path):
    with rasterio.open(path) as file:
        return file.read(1)


# ---------------------------------------------------------------------- the real tables


@pytest.fixture(scope="module")
def whole(real):
    return ReBEN.index(real, on_error="raise", progress=False, excluded=True)


def test_all_rows_are_there(whole):
    parts = dict(zip(*np.unique(whole.column("split"), return_counts=True), strict=True))
    assert len(whole) == 549_488 and parts == {"train": 272_544, "validation": 139_577, "test": 137_367}
    flagged = whole.column("contains_seasonal_snow").sum(), whole.column("contains_cloud_or_shadow").sum()
    assert flagged == (60_773, 8_677)


@pytest.mark.parametrize("zone", [32632, 32633])
def test_geometry_is_that_of_the_published_outlines(realdata, whole, zone):
    table = pq.read_table(realdata / "reben" / f"bigearthnet_v1_spatial_{zone}.parquet")
    true = dict(zip(table["patch_name"].to_pylist(), table["geom"].to_pylist(), strict=True))
    names = whole.column("s2v1_name")
    rows = [i for i, name in enumerate(names) if name in true]
    a = whole.affine[rows]
    boxes = np.column_stack([a[:, 2], a[:, 5] - 1200, a[:, 2] + 1200, a[:, 5]])
    outlines = shapely.from_wkb([true[name] for name in names[rows]])
    assert len(rows) > 4_000 and set(whole.crs[rows]) == {f"EPSG:{zone}"}
    np.testing.assert_array_equal(boxes, shapely.bounds(outlines))


def test_split_follows_from_the_place(whole):
    places = np.array([key.rsplit("_", 2)[1:] for key in whole.key[::37]], dtype=int)
    inner, middle = (((places >= low) & (places <= high)).all(axis=1) for low, high in ((23, 68), (13, 77)))
    wanted = np.select([inner, middle], ["test", "validation"], "train")
    assert (whole.column("split")[::37] == wanted).all()


def test_counts_of_the_classes_are_those_of_the_table(realdata):
    labels = pq.read_table(realdata / "reben" / "metadata.parquet", columns=["labels"])["labels"].combine_chunks()
    names, counts = np.unique(labels.flatten().to_numpy(zero_copy_only=False), return_counts=True)
    assert dict(zip(LANDCOVER.names, LANDCOVER.counts, strict=True)) == dict(zip(names, counts, strict=True))


def test_opening_reads_no_image_and_opens_again_from_what_was_kept(real):
    trace = (
        "import sys\nopened = []\n"
        "sys.addaudithook(lambda what, with_: opened.append(str(with_[0])) if what == 'open' else None)\n"
        "from geodata.datasets import ReBEN\n"
        "sys.argv[1:] and ReBEN(sys.argv[1], bands=['B02'], on_error='skip')\n"
        "print([o for o in opened if o.endswith(('.tif', '.mdb'))])"
    )
    kept = []
    for _ in range(2):
        said = subprocess.run([sys.executable, "-c", trace, str(real)], capture_output=True, text=True, check=True)
        assert said.stdout.strip() == "[]"
        kept.append({path.name for path in (real / ".geodata").glob("reben-*.parquet")})
    assert kept[0] and kept[1] == kept[0]


# ---------------------------------------------------------------------- real pixels


def test_real_patch_is_read_as_it_is_stored(real):
    ds = ReBEN(real, keys=["image", "label"], on_error="skip", dtype=None, native=True)
    assert ds.catalog.key.tolist() == ["S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43"]
    assert len(ds.catalog.dropped) == 480_037
    sample = ds[0]
    folder = real / "BigEarthNet-S2" / "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP" / ds.catalog.key[0]
    for suffix, side in (("_10m", 120), ("_20m", 60), ("_60m", 20)):
        bands, image = sample[f"bands{suffix}"], sample[f"image{suffix}"]
        assert image.shape == (len(bands), side, side) and image.dtype == torch.uint16
        for band, data in zip(bands, image, strict=True):
            np.testing.assert_array_equal(data.numpy(), pixels_of(folder / f"{folder.name}_{band.name}.tif"))
    with rasterio.open(folder / f"{folder.name}_B02.tif") as file:
        assert sample["grid_10m"].transform == file.transform and sample["grid_10m"].crs.to_epsg() == file.crs.to_epsg()


def test_real_decibels_stay_decibels_in_the_order_of_the_bands(real):
    ds = ReBEN(real, keys=["image_s1"], on_error="skip")
    image, name = ds[0]["image_s1"], "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48"
    path = real / "BigEarthNet-S1" / name.rsplit("_", 3)[0] / name / name
    assert ds.bands.names == ("VV", "VH") and ds.bands.state == "dB"
    for data, band in zip(image.numpy(), ("VV", "VH"), strict=True):
        np.testing.assert_array_equal(data, pixels_of(f"{path}_{band}.tif"))
    assert image.min() < -20 and not torch.equal(image, image.round())


def test_real_map_becomes_classes_of_which_the_label_tells(real):
    sample = ReBEN(real, keys=["mask", "label"], on_error="skip")[0]
    found, counts = np.unique(sample["mask"].numpy(), return_counts=True)
    # 211 -> Arable land, 231 -> Pastures, 311 -> Broad-leaved, 313 -> Mixed forest
    assert dict(zip(found, counts, strict=True)) == {2: 7075, 4: 1154, 8: 4131, 10: 2040}
    assert sample["label"].nonzero().ravel().tolist() == [2, 4, 8, 10]


@pytest.mark.parametrize("keys", [["image"], ["image_s1"]])
def test_real_database_holds_the_same(real, keys):
    packed, plain = (
        ReBEN(real, keys=keys, on_error="skip", dtype=None, native=True, lmdb=d) for d in ("rico_lmdb", None)
    )
    a, b = packed[0], plain[0]
    assert a["key"] == b["key"] and all(torch.equal(a[k], b[k]) for k in b if k.startswith(("image", "valid")))


# ---------------------------------------------------------------------- the look-alike


def test_a_full_sample(fake):
    sample = ReBEN(fake)[0]
    assert (
        sample["key"] == FIRST and sample["image"].shape == (12, 120, 120) and sample["image_s1"].shape == (2, 120, 120)
    )
    assert sample["bands"].names == S2.names and sample["bands_s1"] == S1
    assert sample["mask"].shape == (120, 120) and sample["label"].shape == (19,)
    codes = pixels_of(fake / "Reference_Maps" / FIRST[:-6] / FIRST / f"{FIRST}_reference_map.tif")
    table = LANDCOVER.codes
    wanted = np.vectorize(lambda code: table[code] if table[code] >= 0 else -100)(codes)
    np.testing.assert_array_equal(sample["mask"].numpy(), wanted)
    assert (codes == 999).any() and (sample["mask"][torch.from_numpy(codes == 999)] == -100).all()


def test_orders_of_the_classes(fake):
    official, alphabetical = (
        ReBEN(fake, keys=["mask", "label"]),
        BigEarthNetV2(fake, keys=["mask", "label"], order="alphabetical"),
    )
    names = sorted(LANDCOVER.names)
    a, b = official[1], alphabetical[1]
    assert [official.classes[i] for i in a["label"].nonzero().ravel()] and set(names) == set(alphabetical.classes)
    assert {official.classes[i] for i in a["label"].nonzero().ravel()} == {
        names[i] for i in b["label"].nonzero().ravel()
    }
    seen = a["mask"] >= 0
    assert [official.classes[i] for i in a["mask"][seen]] == [names[i] for i in b["mask"][seen]]


def test_only_the_files_of_the_bands_asked_for_are_touched(fake):
    trace = (
        "import sys\nfrom geodata.datasets import ReBEN\nds = ReBEN(sys.argv[1], bands=['B04', 'VH', 'B8A'])\nopened = []\n"
        "sys.addaudithook(lambda what, with_: opened.append(str(with_[0])) if what == 'open' else None)\n"
        "ds[0]\nprint(sorted(o.rpartition('_')[2] for o in opened if o.endswith('.tif')))"
    )
    said = subprocess.run([sys.executable, "-c", trace, str(fake)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "['B04.tif', 'B8A.tif', 'VH.tif']"


def test_bands_choose_among_all_images(fake):
    ds = ReBEN(fake, bands=["red", "VH", 842.0])
    assert ds.keys == ("image", "valid", "bands", "image_s1", "valid_s1", "bands_s1", "label")
    assert ds.bands.names == ("B04", "B08") and ds[0]["bands_s1"].names == ("VH",)
    assert ReBEN(fake, bands=["B02", "reference_map"]).keys == ("image", "valid", "bands", "mask", "label")
    assert ReBEN(fake, bands=["B05"], keys=["image"])[0]["image"].shape == (1, 60, 60)


def test_the_patches_that_the_authors_leave_out(fake):
    assert len(ReBEN(fake)) == 6
    ds = ReBEN(fake, excluded=True)
    assert len(ds) == 7 and ds.where(contains_cloud_or_shadow=True)[0]["image"].shape == (12, 120, 120)


def test_splits(fake):
    parts = [set(ReBEN(fake, split=s).catalog.key) for s in ("train", "validation", "test")]
    assert [len(p) for p in parts] == [2, 2, 2] and len(set.union(*parts)) == 6
    assert len(ReBEN(fake, split=["train", "validation"])) == 4


def test_a_window_and_a_query_by_place(fake):
    ds = ReBEN(fake, keys=["image", "mask", "label"])
    tile = ds.tile(60)[3]
    assert torch.equal(tile["mask"], ds[0]["mask"][60:, 60:]) and torch.equal(tile["label"], ds[0]["label"])
    left, bottom, right, top = ds.catalog.grid(0).bounds
    sample = ds.read((left, bottom, right, top), crs=ds.catalog.crs[0])
    assert torch.equal(sample["image"], ds[0]["image"]) and torch.equal(sample["label"], ds[0]["label"])


# ---------------------------------------------------------------------- bad input


def test_a_wrong_root_is_told_where_the_right_one_is(fake, tmp_path):
    with pytest.raises(
        NoFilesError, match=r"does not hold metadata.parquet, .*reben\S* does: give that; .*Expected below"
    ):
        ReBEN(fake.parent if len(list(fake.parent.iterdir())) == 1 else fake / "BigEarthNet-S2")
    with pytest.raises(NoFilesError, match=r"is no folder"):
        ReBEN(tmp_path / "nothing")


def test_a_half_extracted_archive(copy):
    shutil.rmtree(next((copy / "BigEarthNet-S1").iterdir()))
    with pytest.raises(NoFilesError, match=r"1 of 2 folders of image_s1 are missing .* on_error='skip'"):
        ReBEN(copy)
    assert len(ReBEN(copy, keys=["image"])) == 6
    left = ReBEN(copy, on_error="skip")
    assert len(left) == 3 and len(left.catalog.dropped) == 3


def test_a_missing_band(copy):
    (copy / "BigEarthNet-S2" / FIRST[:-6] / FIRST / f"{FIRST}_B05.tif").unlink()
    with pytest.raises(ReadError, match=rf"item '{FIRST}', band B05: "):
        ReBEN(copy)[0]
    left = ReBEN(copy, on_error="skip")
    assert len(left) == 5 and left.catalog.dropped == (FIRST,)
    assert len(ReBEN(copy, on_error="skip", bands=["B02"])) == 6


def test_a_table_without_its_columns(copy):
    table = pq.read_table(copy / "metadata.parquet")
    pq.write_table(table.drop_columns(["s1_name", "labels"]), copy / "metadata.parquet")
    with pytest.raises(CatalogError, match="lacks the columns labels, s1_name; it has patch_id"):
        ReBEN(copy)


def test_a_table_that_is_none_and_one_with_other_names(copy):
    table = pq.read_table(copy / "metadata.parquet")
    odd = table.set_column(0, "patch_id", pa.array(["x"] * len(table)))
    pq.write_table(odd, copy / "metadata.parquet")
    with pytest.raises(CatalogError, match="a patch_id is not named as in S2A_"):
        ReBEN(copy)
    (copy / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(CatalogError, match="is no table of reBEN"):
        ReBEN(copy)


def test_a_code_that_is_not_in_the_table(copy):
    path = copy / "Reference_Maps" / FIRST[:-6] / FIRST / f"{FIRST}_reference_map.tif"
    with rasterio.open(path, "r+") as file:
        file.write(np.full((1, 120, 120), 777, np.uint16))
    with pytest.raises(CatalogError, match=f"item '{FIRST}': class 777 is not in the table"):
        ReBEN(copy, keys=["mask"])[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "val"}, CatalogError, "no split 'val'; it has train, validation, test"),
        ({"bands": ["B10"]}, BandsError, "no band 'B10'; there are image: B01, .*image_s1: VV, VH"),
        ({"bands": "B02"}, BandsError, "is one text; give a list"),
        ({"bands": []}, BandsError, "asks for nothing"),
        ({"keys": ["images"]}, CatalogError, "no key 'images'; .*image, image_s1, mask, label"),
        ({"keys": "image"}, CatalogError, "is one text"),
        ({"on_error": "ignore"}, CatalogError, "must be 'raise' or 'skip'"),
        ({"order": "random"}, CatalogError, "must be 'official', 'alphabetical'"),
        ({"order": ("a",) * 19}, CatalogError, "must hold each once"),
        ({"lmdb": "db"}, NoFilesError, "does not hold db"),
    ],
)
def test_bad_options(fake, options, error, message):
    with pytest.raises(error, match=message):
        ReBEN(fake, **options)


def test_squares_lie_in_their_zone_and_band(whole):
    tiles = sorted(set(whole.column("tile")))
    assert len(tiles) == 54
    for tile in [*tiles, "21HUB"]:
        epsg, x, y = corner_of_tile(tile)
        lon, lat = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True).transform(x + 5e4, y + 5e4)
        assert epsg % 100 == int(tile[:2]) and abs(lon - (6 * int(tile[:2]) - 183)) < 4
        south = 8 * ("CDEFGHJKLMNPQRSTUVWX".index(tile[2]) - 10)
        # A square may reach over the edge of its band by nearly its own height, 0.9 degrees.
        assert south - 0.5 < lat < south + (12.5 if tile[2] == "X" else 8.5), (tile, lat)
    assert corner_of_tile("33UUP") == (32633, 300_000, 5_300_000)


@pytest.mark.parametrize("tile", ["33UUI", "61UUP", "33UAP", "UUP33", "01CDH", ""])
def test_squares_that_are_none(tile):
    with pytest.raises(CatalogError, match="no 100 km square"):
        corner_of_tile(tile)
