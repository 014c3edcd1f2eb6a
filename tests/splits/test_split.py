"""A split as a value and as files."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from patches import loose, patches

from geodata import splits
from geodata.catalog import Catalog
from geodata.errors import CatalogError, ReadError, SplitError
from geodata.splits import Split

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def catalog():
    return patches()


@pytest.fixture(scope="module")
def split(catalog):
    return splits.blocks(catalog, size="30km", fractions=THIRDS, seed=3, buffer="2km")


def test_it_maps_parts_to_keys(catalog, split):
    assert split.parts == ("train", "val", "test") and list(split) == [*split.parts, "dropped"]
    held = {name: set(split[name]) for name in split}
    assert sum(map(len, held.values())) == len(catalog) == len(set().union(*held.values()))
    assert set(split.dropped) == held["dropped"] and split.counts == {k: len(v) for k, v in held.items()}
    with pytest.raises(SplitError, match="no part 'valid'; there are train, val, test"):
        split["valid"]


def test_digest_is_of_sorted_lines(split):
    lines = sorted(f"{key}\t{name}\n" for name in split for key in split[name])
    assert split.digest == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_rows_follow_the_catalog_that_is_given(catalog, split):
    turned = catalog.take(np.arange(len(catalog))[::-1])
    assert (split.codes(turned) == split.code[::-1]).all()
    rows = split.rows("val", turned)
    assert set(turned.key[rows]) == set(split["val"])


def test_parquet_holds_all(tmp_path, catalog, split):
    path = split.save(tmp_path / "s.parquet")
    again = Split.load(path)
    assert again.digest == split.digest and again.parts == split.parts and again.counts == split.counts
    assert again.recipe == split.recipe and (again.block == split.block).all()
    assert (again.codes(catalog) == split.code).all()
    assert again.save(tmp_path / "again.parquet") and Split.load(tmp_path / "again.parquet").digest == split.digest
    assert len(list(tmp_path.iterdir())) == 2, "nothing is left beside"


def test_parquet_opens_in_geopandas(tmp_path, catalog, split):
    import geopandas

    frame = geopandas.read_parquet(split.save(tmp_path / "s.parquet"))
    assert (list(frame["key"]) == list(catalog.key) and frame.crs.to_epsg() == 4326) or "CRS84" in str(frame.crs)
    names = np.array([*split.parts, "dropped"])[split.code]
    assert (frame["part"].astype(str) == names).all() and not frame.geometry.is_empty.any()


def test_folds_keep_what_is_near(tmp_path, catalog):
    split = splits.kfold(catalog, 4, splits.blocks, size="30km", buffer="3km")
    again = Split.load(split.save(tmp_path / "k.parquet"))
    assert len(split.near) and sorted(map(tuple, again.near)) == sorted(map(tuple, split.near))
    assert again.fold(2).digest == split.fold(2).digest


@pytest.mark.parametrize("name", ["s.csv", "{}.txt"])
def test_tables_and_lists_go_there_and_back(tmp_path, catalog, split, name):
    split.save(tmp_path / name)
    again = splits.predefined(catalog, tmp_path / name)
    assert again.digest == split.digest


def test_lists_hold_one_key_a_line(tmp_path, split):
    split.save(tmp_path / "{}.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dropped.txt", "test.txt", "train.txt", "val.txt"]
    assert (tmp_path / "val.txt").read_text().splitlines() == list(split["val"])


def test_rows_without_a_place_are_saved_too(tmp_path):
    catalog = loose()
    split = splits.random(catalog, fractions=THIRDS)
    assert Split.load(split.save(tmp_path / "s.parquet")).codes(catalog).tolist() == split.code.tolist()


# ---------------------------------------------------------------------- what is refused


def test_missing_and_unknown_keys_are_counted(catalog, split):
    with pytest.raises(SplitError, match=r"10 of 400 rows of the split are not in the catalog, first 'p00390'"):
        split.codes(catalog.take(np.arange(390)))
    other = patches(410)
    with pytest.raises(SplitError, match=r"10 of 410 rows of the catalog are not in the split, first 'p00400'"):
        split.codes(other)
    part = catalog.take(np.arange(395)).concat(patches(410).take([405]))
    with pytest.raises(SplitError, match=r"1 of 396 rows of the catalog .* 5 of 400 rows of the split"):
        split.codes(part)


def test_rows_that_moved_are_counted(split):
    with pytest.raises(SplitError, match=r"of 400 rows lie elsewhere than when the split was made"):
        split.codes(patches(seed=1))


def test_coarser_pixels_at_the_same_place_are_the_same(catalog, split):
    assert (split.codes(catalog.coarser(2)) == split.code).all()


def named(name, version):
    from dataclasses import replace

    return replace(patches(), dataset=(name, version))


def test_another_dataset_or_version_is_refused(tmp_path):
    split = splits.blocks(named("trees", "1"), size="30km", fractions=THIRDS)
    kept = Split.load(split.save(tmp_path / "s.parquet"))
    assert kept.codes(named("trees", "1")) is not None
    with pytest.raises(SplitError, match="of the dataset 'trees', the catalog of 'towns'"):
        kept.codes(named("towns", "1"))
    with pytest.raises(SplitError, match="of version 1 of 'trees', the catalog of version 2"):
        kept.codes(named("trees", "2"))


def test_a_changed_file_is_refused(tmp_path, split):
    path = split.save(tmp_path / "s.parquet")
    table = pq.read_table(path)
    parts = table["part"].to_pylist()
    parts[0] = "test" if parts[0] != "test" else "train"
    changed = table.set_column(table.column_names.index("part"), "part", [parts])
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(SplitError, match="was changed after it was written"):
        Split.load(path)


def test_what_is_no_split_is_refused(tmp_path, catalog):
    with pytest.raises(SplitError, match="is a catalog, not a split"):
        Split.load(catalog.save(tmp_path / "c.parquet"))
    with pytest.raises(ReadError, match="no catalog at"):
        Split.load(tmp_path / "none.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(ReadError):
        Split.load(tmp_path / "torn.parquet")


def test_where_it_cannot_be_written(tmp_path, split):
    with pytest.raises(SplitError, match=r"cannot write a split to .*s\.json; give split\.parquet"):
        split.save(tmp_path / "s.json")
    for name in ("s.csv", "s.parquet"):
        with pytest.raises((SplitError, CatalogError), match="does not exist"):
            split.save(tmp_path / "nowhere" / name)


def test_empty_parts_are_refused(catalog):
    code = np.zeros(len(catalog), dtype=np.int16)
    with pytest.raises(SplitError, match="no row is left in 'test': train 400, test 0"):
        Split(catalog, code, ("train", "test"))


# ---------------------------------------------------------------------- predefined


def test_a_column_that_is_there(catalog):
    split = splits.predefined(catalog, "country")
    assert split.parts == ("Austria", "Bavaria", "Czechia")
    assert set(split["Bavaria"]) == set(catalog.where(country="Bavaria").key)


def test_lists_with_extensions_and_columns_of_voc(tmp_path, catalog):
    half = len(catalog) // 2
    (tmp_path / "train.txt").write_text("".join(f"{k}.tif\n" for k in catalog.key[:half]))
    (tmp_path / "test.txt").write_text("".join(f"{k} -1\n" for k in catalog.key[half:]))
    split = splits.predefined(catalog, tmp_path / "{}.txt")
    assert split.parts == ("train", "test") and list(split["train"]) == list(catalog.key[:half])


def test_partial_and_double_lists_are_refused(tmp_path, catalog):
    keys = catalog.key.tolist()
    with pytest.raises(SplitError, match=r"5 of 400 rows are in no part, first 'p00395'.*rest='drop'"):
        splits.predefined(catalog, {"train": keys[:200], "test": keys[200:395]})
    dropped = splits.predefined(catalog, {"train": keys[:200], "test": keys[200:395]}, rest="drop")
    assert list(dropped.dropped) == keys[395:]
    with pytest.raises(SplitError, match="has 'p00199' in 'test', but it is in 'train' too"):
        splits.predefined(catalog, {"train": keys[:200], "test": keys[199:]})
    with pytest.raises(
        SplitError, match=r"1 of 401 entries are no keys of the catalog, first 'x'; its keys are like 'p00000'"
    ):
        splits.predefined(catalog, {"train": keys, "test": ["x"]})
    (tmp_path / "a.csv").write_text("key\nonly\n")
    with pytest.raises(SplitError, match="must have two columns"):
        splits.predefined(catalog, tmp_path / "a.csv")
    with pytest.raises(SplitError, match="no file matches"):
        splits.predefined(catalog, tmp_path / "{}.lst")
    with pytest.raises(SplitError, match="is no column, and no CSV file"):
        splits.predefined(catalog, "nothing")


def test_catalogs_remember_their_dataset(tmp_path):
    catalog = named("trees", "3")
    assert Catalog.load(catalog.save(tmp_path / "c.parquet")).dataset == ("trees", "3")
    assert catalog.tile(60).dataset == catalog.where(country="Austria").dataset == ("trees", "3")
    assert patches(3).dataset == ("", "")


def test_a_split_of_tiles_beside_their_scenes_says_so(catalog):
    tiles = catalog.tile(60)
    split = splits.blocks(tiles, size="30km", fractions=THIRDS)
    with pytest.raises(SplitError, match="cut the scenes into the same tiles first"):
        split.codes(catalog)


def test_tables_are_not_loaded_but_read(tmp_path, split):
    path = split.save(tmp_path / "s.csv")
    with pytest.raises(SplitError, match=r"s\.csv is a table or list of keys, not GeoParquet: splits\.predefined"):
        Split.load(path)


def test_the_pixels_of_a_part_of_a_scene(tmp_path):
    scene = Catalog.from_columns(key=["a", "b"], affine=[[1, 0, 0, 0, 1, 0]] * 2, shape=[[61, 47], [20, 30]], crs=None)
    split = splits.blocks(scene.tile(5), size="15px", fractions={"train": 0.5, "test": 0.5}, buffer="2px")
    for item, shape in (("a", (61, 47)), ("b", (20, 30))):
        masks = [split.mask(part, item) for part in split]
        assert {m.shape for m in masks} == {shape} and (np.sum(masks, axis=0) == 1).all()
    again = Split.load(split.save(tmp_path / "s.parquet"))
    assert (again.mask("test", "a") == split.mask("test", "a")).all() and split.mask("test", "a").any()
    with pytest.raises(SplitError, match="tiles of 2 items; name one, for example 'a'"):
        split.mask("train")
    with pytest.raises(SplitError, match="no tile is of 'c'"):
        split.mask("train", "c")
    with pytest.raises(SplitError, match="whole items has no pixels"):
        splits.random(loose(), fractions={"a": 0.5, "b": 0.5}).mask("a")
