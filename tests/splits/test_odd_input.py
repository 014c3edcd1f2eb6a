"""Splits of odd rows, names and numbers: refused with a reason, or made as of any others."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shapely
from patches import loose, patches

from geodata import splits
from geodata.catalog import Catalog
from geodata.errors import SplitError, SplitWarning
from geodata.splits import Split
from geodata.splits.fractions import share_out
from geodata.splits.labels import labels_of
from geodata.splits.places import lonlat, squares

HALVES = {"train": 0.5, "test": 0.5}
THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def catalog():
    return patches()


def photos(keys):
    n = len(keys)
    return Catalog.from_columns(key=keys, affine=[[1, 0, 0, 0, 1, 0]] * n, shape=[[4, 4]] * n, crs=None)


def with_column(catalog, name, values):
    return replace(catalog, table=catalog.table.append_column(name, [values]))


def halves(catalog, *parts):
    return Split(catalog, (np.arange(len(catalog)) % 2).astype(np.int16), parts or ("train", "test"))


# ---------------------------------------------------------------------- keys

ODD_KEYS = [" a", "a", "b ", "c,d", 'e"f', "ü", "h\u2028i", "j\x0bk", "l\x85m", "n o.tif", "=1+1", "#p", "q.tif", "q"]


@pytest.mark.parametrize("name", ["s.csv", "{}.txt", "s.parquet"])
def test_odd_keys_go_there_and_back(tmp_path, name):
    catalog = photos(ODD_KEYS)
    split = halves(catalog)
    split.save(tmp_path / name)
    again = Split.load(tmp_path / name) if name == "s.parquet" else splits.predefined(catalog, tmp_path / name)
    assert again.digest == split.digest and list(again["train"]) == list(split["train"])


@pytest.mark.parametrize("key", ["a\tb", "a\nb", "a\rb"])
def test_keys_that_are_several_fields_are_refused(key):
    with pytest.raises(SplitError, match="holds a tab or a line break, so it fits no list of keys"):
        halves(photos([key, "z"]))


def test_one_reading_serves_all_entries_of_a_part(tmp_path):
    catalog = photos(["scene", "scene.v3", "other"])
    # "scene.v2" is not in the catalog: it must not pass as "scene" without extension.
    (tmp_path / "train.txt").write_text("scene.v2\nscene.v3\n")
    (tmp_path / "test.txt").write_text("other\n")
    with pytest.raises(SplitError, match=r"1 of 3 entries are no keys of the catalog, first 'scene\.v2'"):
        splits.predefined(catalog, tmp_path / "{}.txt", rest="drop")


def test_a_column_of_numbers_with_nulls(catalog):
    column = pa.array([0, 1, None, 1] * 100, pa.int64())
    split = splits.predefined(with_column(catalog, "fold", column), "fold", rest="drop")
    assert split.counts == {"0": 100, "1": 200, "dropped": 100}
    with pytest.raises(SplitError, match="100 of 400 rows are in no part"):
        splits.predefined(with_column(catalog, "fold", column), "fold")


def test_sources_of_the_wrong_kind(tmp_path, catalog):
    with pytest.raises(SplitError, match="'labels' holds list<item: string>, wanted one name"):
        splits.predefined(catalog, "labels")
    for source in (None, 3, ["train"]):
        with pytest.raises(SplitError, match="is no column, and no CSV file"):
            splits.predefined(catalog, source)
    with pytest.raises(SplitError, match="must give a list of keys for each part, not a text"):
        splits.predefined(catalog, {"train": "p00000"})
    (tmp_path / "s.csv").write_text("key,note,part\np00000,x,train\np00001,x\n")
    with pytest.raises(SplitError, match="has a line of 2 columns"):
        splits.predefined(catalog, tmp_path / "s.csv")


# ---------------------------------------------------------------------- names of parts


@pytest.mark.parametrize("name", ["", " train", "a\tb", "a\nb", "\x00"])
def test_names_that_no_line_can_hold(catalog, name):
    with pytest.raises(SplitError, match="is no name for a part"):
        halves(catalog, name, "test")


@pytest.mark.parametrize("names", [("../up", "b"), ("a/b", "c"), ("a\\b", "c"), ("Train", "train")])
def test_names_that_are_no_files(tmp_path, catalog, names):
    split = halves(catalog, *names)
    (tmp_path / "lists").mkdir()
    with pytest.raises(SplitError, match="parts cannot be names of files"):
        split.save(tmp_path / "lists" / "{}.txt")
    assert [p.name for p in tmp_path.rglob("*")] == ["lists"]
    split.save(tmp_path / "s.csv")
    assert splits.predefined(catalog, tmp_path / "s.csv").counts == split.counts


def test_braces_in_a_template_are_plain_text(tmp_path, catalog):
    halves(catalog).save(tmp_path / "{0}-{}{x}.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["{0}-test{x}.txt", "{0}-train{x}.txt"]


def test_more_parts_than_numbers():
    catalog = loose(40_000)
    with pytest.raises(SplitError, match="40000 parts, first '0'; there may be 32,767"):
        splits.leave_one_region_out(catalog, regions=np.arange(40_000), overlap="allow")
    with pytest.raises(SplitError, match=r"40000 parts, first 'photo000'"):
        splits.predefined(catalog, "key")


def test_regions_of_two_columns_have_names_to_print(catalog):
    split = splits.leave_one_region_out(catalog, regions=["country", "kind"], overlap="allow")
    assert "Austria, crops" in split.parts and split.recipe["regions"] == ["country", "kind"]


def test_a_split_is_a_mapping(catalog):
    split = splits.blocks(catalog, size="30km", fractions=THIRDS)
    assert "train" in split and "foo" not in split and split.get("foo") is None and len(split.get("val")) > 0
    assert "dropped" not in split and len(split.dropped) == 0
    same, other = (splits.blocks(catalog, size="30km", fractions=THIRDS, seed=seed) for seed in (0, 1))
    assert split == same and hash(split) == hash(same) and split != other and split != "train"


# ---------------------------------------------------------------------- numbers


def test_numbers_of_numpy_are_numbers(tmp_path, catalog):
    options = {"size": np.int64(30_000), "buffer": np.float32(2000)}
    split = splits.blocks(catalog, fractions={k: np.float64(v) for k, v in THIRDS.items()}, seed=np.uint8(3), **options)
    assert split.digest == splits.blocks(catalog, size=30_000, fractions=THIRDS, seed=3, buffer=2000).digest
    again = Split.load(split.save(tmp_path / "s.parquet"))
    assert again.recipe == split.recipe and split.recipe["seed"] == 3 and split.recipe["size"] == 30_000
    folds = splits.kfold(catalog, np.int64(3), splits.blocks, size="20km")
    assert folds.fold(np.int64(1)).digest == folds.fold(1).digest
    with pytest.raises(SplitError, match=r"no part 0\.5; there are 3"):
        folds.fold(0.5)


@pytest.mark.parametrize("seed", ["3", 1.5, None, -1, 2**64])
def test_seeds_that_are_none(catalog, seed):
    for make in (
        lambda: splits.blocks(catalog, size="30km", fractions=HALVES, seed=seed, stratify="kind"),
        lambda: splits.hash(catalog, fractions=HALVES, seed=seed),
    ):
        with pytest.raises(SplitError, match=r"seed .* must be a whole number, 0 or above and below 2\*\*64"):
            make()


def test_the_largest_seed(catalog):
    assert splits.blocks(catalog, size="20km", fractions=HALVES, seed=2**64 - 1, stratify="labels")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: splits.blocks(c, size="30km", fractions={"a": "x", "b": 0.5}), "must be numbers above 0"),
        (lambda c: splits.blocks(c, size="30km", fractions={"a": np.nan, "b": 0.5}), "must all be above 0"),
        (lambda c: splits.blocks(c, size="0km", fractions=HALVES), r"is 0 m; blocks may be of 1 m to 5,000 km"),
        (lambda c: splits.blocks(c, size=np.nan, fractions=HALVES), "nan is no length"),
        (lambda c: splits.blocks(c, size="9999999km", fractions=HALVES), "blocks may be of 1 m to 5,000 km"),
        (lambda c: splits.blocks(c, size="30km", fractions=HALVES, buffer=0), "buffer 0 must be above 0"),
        (lambda c: splits.blocks(c, size="30km", fractions=HALVES, buffer=-1), "-1 is no length"),
        (lambda c: splits.blocks(c, size="30km", fractions=HALVES, group="labels"), r"group holds .*wanted one value"),
        (lambda c: splits.cells(c, cell=None, fractions=HALVES), "cell=None must be 'h3:0' to"),
        (lambda c: splits.cells(c, cell=lambda p: p[:, 0] * np.nan, fractions=HALVES), "cell is missing in 400 of 400"),
        (lambda c: splits.checkerboard(c, size="20km", parts="ab"), "'ab' must be at least two names"),
        (lambda c: splits.checkerboard(c, size="20km", parts=[]), "must be at least two names"),
        (lambda c: splits.ring(c, rings={}), "must name parts, each with its first and last place"),
        (lambda c: splits.ring(c, rings={"a": (5, 2)}), "must name parts, each with its first and last place"),
        (lambda c: splits.ring(photos(["a_99999999999999999999_1"])), "do not end in column and row"),
        (lambda c: splits.kfold(c, 3, splits.checkerboard, size="20km"), "by='checkerboard' takes no fractions"),
        (
            lambda c: splits.knndm(c, domain=[[48.0, 112.0]], folds=2),
            "longitude and latitude in degrees, in this order",
        ),
        (lambda c: splits.blocks(loose().tile(50), size=50, fractions=HALVES), "must be in pixels, such as '64px'"),
    ],
)
def test_nonsense_is_named(catalog, make, message):
    with pytest.raises(SplitError, match=message):
        make(catalog)


# ---------------------------------------------------------------------- sharing out


def test_a_part_that_misses_its_fraction_is_named(catalog):
    with pytest.warns(SplitWarning, match=r"val has 3\.0% of the rows, wanted 5\.0%; test has .*; smaller blocks"):
        splits.blocks(catalog, size="100km", fractions={"train": 0.9, "val": 0.05, "test": 0.05}, overlap="allow")


def test_a_class_that_a_part_lacks_is_named():
    catalog = with_column(loose(30), "cover", ["rock" if k % 10 == 0 else "grass" for k in range(30)])
    with pytest.warns(SplitWarning, match="lacks 1 classes, first 'rock'"):
        splits.random(catalog, fractions={"train": 0.8, "val": 0.1, "test": 0.1}, stratify="cover")


def test_amounts_are_summed_in_an_order_of_their_own():
    rng = np.random.default_rng(0)
    amounts = rng.random((3000, 3)) * 10.0 ** rng.integers(-8, 8, (3000, 3))
    catalog, group = loose(3000), rng.integers(0, 7, 3000)
    there = labels_of(catalog, amounts).totals(group, 7)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(3000)
        assert (labels_of(catalog, amounts[order]).totals(group[order], 7) == there).all()


def test_very_many_rows_are_shared_out_in_balance():
    rng = np.random.default_rng(0)
    common = np.array([0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.1, 0.05, 0.01])
    held = (rng.random((70_000, 12)) < common * rng.random((70_000, 1))).astype(float)
    sizes = np.ones(len(held), dtype=np.int64)
    part = share_out(sizes, [f"u{k}" for k in range(len(held))], THIRDS, 0, held)
    for k, share in enumerate(THIRDS.values()):
        assert abs((part == k).mean() - share) < 1e-3
        assert np.abs(held[part == k].sum(axis=0) / held.sum(axis=0) - share).max() < 5e-3


def test_very_many_classes_stay_within_64_bits():
    held = np.zeros((12, 4000))
    held[:3] = 1.0  # three units hold a third of everything each
    part = share_out(np.full(12, 5), [f"u{k}" for k in range(12)], dict.fromkeys("abc", 1 / 3), 0, held)
    assert sorted(part[:3].tolist()) == [0, 1, 2] and np.bincount(part).tolist() == [4, 4, 4]


@pytest.mark.parametrize("stratify", ["equal", "none", "zero", "no"])
def test_labels_that_say_nothing(catalog, stratify):
    plain = {
        "equal": ["a"] * 400,
        "none": pa.array([None] * 400, pa.string()),
        "zero": np.zeros((400, 3)),
        "no": np.zeros((400, 0)),
    }[stratify]
    named = plain if isinstance(plain, np.ndarray) else "cover"
    given = catalog if isinstance(plain, np.ndarray) else with_column(catalog, "cover", plain)
    counts = splits.blocks(given, size="20km", fractions=HALVES, stratify=named).counts
    assert abs(counts["train"] - 200) <= 2


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows(n):
    few = patches(n)
    if n == 1:
        with pytest.raises(SplitError, match="1 blocks for 2 parts"):
            splits.blocks(few, size="1km", fractions=HALVES)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(splits.blocks(few, size="1km", fractions=HALVES).counts) == {"train", "test"}
        assert len(splits.kfold(few, 2, splits.blocks, size="1km", buffer="20m").fold(0)["test"]) > 0
        split = splits.cells(few, cell="h3:9", fractions=HALVES, group=["kind", "country"])
        assert split.recipe["group"] == ["kind", "country"]


def test_groups_that_link_all_blocks_are_named(catalog):
    with pytest.raises(SplitError, match=r"links \d+ blocks into 1: values of group='scene'.* take a finer group"):
        splits.blocks(catalog, size="30km", fractions=HALVES, group="scene")


# ---------------------------------------------------------------------- places


def series(dates=20, places=30, epsg="EPSG:32633", step=3000.0):
    """The same squares at many dates."""
    n = dates * places
    affine = np.tile([10.0, 0, 500_000, 0, -10, 5_600_000], (n, 1))
    affine[:, 2] += step * (np.arange(n) // dates)
    day = 86400.0 * (np.arange(n) % dates)
    return Catalog.from_columns(
        key=[f"k{k:04d}" for k in range(n)],
        affine=affine,
        shape=[[100, 100]] * n,
        crs=epsg,
        time=np.column_stack([day, day]),
    )


def test_all_dates_of_a_place_stay_together():
    catalog = series()
    place = np.arange(600) // 20
    with pytest.warns(SplitWarning, match="neighbours"):
        split = splits.random(catalog, fractions=HALVES)
    assert all(len(set(split.code[place == p])) == 1 for p in range(30)) and split.counts == {"train": 300, "test": 300}
    folds = splits.kfold(catalog, 3, splits.blocks, size="1km")
    assert all(len(set(folds.code[place == p])) == 1 for p in range(30))


def test_dates_of_a_place_that_lies_in_one_region_are_no_chain():
    catalog = series(dates=20, places=4)
    region = np.where(np.arange(80) < 20, "a", "b")
    assert splits.leave_one_region_out(catalog, regions=region).counts == {"a": 20, "b": 60}
    # One date of the second place is in a: it goes where the other 19 are.
    region[20] = "a"
    assert splits.leave_one_region_out(catalog, regions=region).counts == {"a": 20, "b": 60}
    dropped = splits.leave_one_region_out(catalog, regions=region, overlap="drop")
    assert dropped.counts == {"a": 21, "b": 40, "dropped": 19}
    region[:] = np.where(np.arange(80) < 20, "a", np.where(np.arange(80) < 28, "c", "b"))
    with pytest.raises(
        SplitError, match=r"20 of 80 rows overlap each other in a chain, from 'k0020' to 'k0039'.* of 8:"
    ):
        splits.leave_one_region_out(catalog, regions=region)


def test_longitudes_beyond_half_a_turn_are_turned():
    affine = [[1e-3, 0, west, 0, -1e-3, 10] for west in (179.9, -180.1, 181, 541)]
    catalog = Catalog.from_columns(key=list("abcd"), affine=affine, shape=[[10, 10]] * 4, crs="EPSG:4326")
    assert np.allclose(lonlat(catalog)[:, 0], [179.905, 179.905, -178.995, -178.995], atol=1e-9)
    assert len(set(squares(catalog, "1km")[:2])) == 1 == len(set(squares(catalog, "1km")[2:]))
    regions = {"west": shapely.box(-180, 0, -170, 20), "east": shapely.box(170, 0, 180, 20)}
    split = splits.leave_one_region_out(catalog, regions=regions, crs="EPSG:4326", overlap="allow")
    assert list(split["east"]) == ["a", "b"]


def test_a_middle_on_a_border_is_in_the_first_region_by_name():
    affine = [[0.5, 0, west, 0, -0.5, 10] for west in (13, 14.75, 16)]
    catalog = Catalog.from_columns(key=list("abc"), affine=affine, shape=[[1, 1]] * 3, crs="EPSG:4326")
    for names in (("v", "e"), ("e", "v")):
        west, east = names
        regions = {west: shapely.box(10, 0, 15, 20), east: shapely.box(15, 0, 20, 20)}
        split = splits.leave_one_region_out(catalog, regions=regions, crs="EPSG:4326")
        assert "b" in split["e"] and len(split["v"]) == 1


def test_rows_of_another_zone_are_other_rows():
    here = patches(9, epsg=(32632,))
    there = replace(here, footprints=replace(here.footprints, crs=patches(1, epsg=(32633,)).footprints.crs))
    with pytest.raises(SplitError, match="9 of 9 rows lie elsewhere"):
        halves(here).codes(there)


@pytest.mark.parametrize("kind", ["tiles", "photos", "globe"])
def test_a_split_that_was_loaded_is_the_one_saved(tmp_path, kind):
    if kind == "tiles":
        catalog, options = loose(12).tile(25), {"size": "50px", "buffer": "10px"}
    elif kind == "photos":
        catalog, options = loose(40), {}
    else:
        catalog, options = patches(120), {"size": "30km", "buffer": "3km"}
    by = splits.random if kind == "photos" else splits.blocks
    split = splits.kfold(catalog, 3, by, **options)
    again = Split.load(split.save(tmp_path / "s.parquet"))
    assert again == split and (again.codes(catalog) == split.code).all()
    one, other = split.fold(0, val=1), again.fold(0, val=1)
    assert one == other and one.recipe == other.recipe
    got, wanted = splits.audit(other.catalog, other), splits.audit(catalog, one)
    assert [p.gap for p in got.pairs] == [p.gap for p in wanted.pairs] and got.reasons == wanted.reasons
