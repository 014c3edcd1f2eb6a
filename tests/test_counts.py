"""Counts of valid pixels and classes per cell, against the pixels themselves."""

from __future__ import annotations

import numpy as np
import pytest
from makers import catalog_of, north_up, write_tif

from geodata.counts import PixelCounts, count_pixels
from geodata.datasets import RasterDataset
from geodata.errors import CatalogError, ReadError, SamplerError
from geodata.samplers.random import RandomPatchSampler

NAMES = {0: "field", 1: "forest", 2: "water"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two images with unobserved pixels, one larger than a block, and a mask for each; the pixels and the folders."""
    root = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(0)
    images, masks = [], []
    for i, shape in enumerate([(1100, 70), (45, 60)]):
        image = rng.integers(1, 9, shape, dtype=np.uint16)
        image[rng.random(shape) < 0.3] = 0
        mask = rng.choice([0, 1, 2, 255], p=[0.6, 0.2, 0.1, 0.1], size=shape).astype(np.uint8)
        place = north_up(500000 + 1e5 * i)
        write_tif(root / "images" / f"{i}.tif", image, place, nodata=0)
        write_tif(root / "masks" / f"{i}.tif", mask, place)
        images.append(image)
        masks.append(mask.astype(int))
    return root, images, masks


def images(scene):
    return RasterDataset(scene[0] / "images", dtype=None)


def both(scene, **options):
    mask = RasterDataset(scene[0] / "masks", categorical=True, ignore=[255], **({"classes": NAMES} | options))
    return images(scene) & mask


def by_cells(array, cell):
    return [
        [int(array[r : r + cell, c : c + cell].sum()) for c in range(0, array.shape[1], cell)]
        for r in range(0, array.shape[0], cell)
    ]


@pytest.mark.parametrize("cell", [1, 16, 33, 2000])
def test_every_cell_of_every_row(scene, cell):
    ds = both(scene)
    counts = count_pixels(ds, cell=cell)
    assert counts.names == ("field", "forest", "water") and len(counts) == 2
    for row in range(2):
        valid, classes = counts.of(row)
        assert valid.tolist() == by_cells(scene[1][row] > 0, cell)
        for k in range(3):
            assert classes[..., k].tolist() == by_cells(scene[2][row] == k, cell)
    every = np.array([[(m == k).sum() for k in range(3)] for m in scene[2]])
    assert counts.per_row.tolist() == every.tolist() and counts.totals.tolist() == every.sum(axis=0).tolist()
    assert counts.valid.dtype == counts.classes.dtype == np.int32


def test_images_without_a_mask_and_masks_without_an_image(scene):
    counts = count_pixels(images(scene))
    assert counts.of(1)[0].tolist() == by_cells(scene[1][1] > 0, 16) and counts.classes.shape[1] == 0
    assert counts.totals.tolist() == [] and counts.per_row.shape == (2, 0)
    alone = count_pixels(RasterDataset(scene[0] / "masks", categorical=True, classes=NAMES, ignore=[255]))
    assert alone.of(1)[0].tolist() == by_cells(scene[2][1] < 3, 16)


def test_the_number_of_classes(scene):
    mask = RasterDataset(scene[0] / "masks", categorical=True, ignore=[255])
    assert count_pixels(mask, classes=5).totals.tolist()[3:] == [0, 0]
    with pytest.raises(SamplerError, match="say how many there are: count_pixels"):
        count_pixels(mask)
    with pytest.raises(SamplerError, match="the mask of '0' holds class 2, but there are 2, 0 to 1"):
        count_pixels(mask, classes=2)
    with pytest.raises(SamplerError, match="classes=4, but the dataset names 3"):
        count_pixels(both(scene), classes=4)


def test_native_resolutions(tmp_path):
    coarse, fine = np.ones((18, 15), np.uint16), np.ones((36, 30), np.uint16)
    coarse[:7, 3], fine[5:9, 4:9] = 0, 0
    write_tif(tmp_path / "a_B02.tif", fine, north_up(), nodata=0)
    write_tif(tmp_path / "a_B05.tif", coarse, north_up(res=20.0), nodata=0)
    for bands, pixels in ((["B05", "B02"], fine), (["B05"], coarse)):
        ds = RasterDataset(
            tmp_path, pattern=r"(?P<item>\w+)_(?P<band>B\w+)\.tif$", bands=bands, native=True, dtype=None
        )
        assert count_pixels(ds, cell=5).of(0)[0].tolist() == by_cells(pixels > 0, 5), "the finest pixels are counted"


def test_a_series_is_valid_on_any_date(tmp_path):
    first, second = np.ones((20, 20), np.uint8), np.ones((20, 20), np.uint8)
    first[:9, :], second[5:, 3] = 0, 0
    write_tif(tmp_path / "a_20200101.tif", first, nodata=0)
    write_tif(tmp_path / "a_20200301.tif", second, nodata=0)
    ds = RasterDataset(tmp_path, pattern=r"(?P<place>\w+)_(?P<date>\d{8})\.tif$").series()
    assert count_pixels(ds, cell=6).of(0)[0].tolist() == by_cells((first | second) > 0, 6)


def test_parts_follow_their_rows(scene):
    ds = both(scene)
    counts = count_pixels(ds, cell=8)
    part = ds.split({"train": [ds.catalog.key[1]], "test": [ds.catalog.key[0]]})["train"]
    for taken in (counts.take([1]), counts.take(np.array([False, True])), counts.take(part), counts.take(part.catalog)):
        taken.check(part.catalog)
        assert taken.content == count_pixels(part, cell=8).content
    turned = counts.take([1, 0])
    assert turned.of(1)[1].tolist() == counts.of(0)[1].tolist() and turned.of(0)[0].tolist() == counts.of(1)[0].tolist()
    for other in (part, ds.take([1, 0]), ds.tile(20)):
        with pytest.raises(SamplerError, match="these counts are of other rows"):
            counts.check(other.catalog)
    with pytest.raises(SamplerError, match="rows were not counted, first '0#r0c0h20w20'"):
        counts.take(ds.tile(20))
    with pytest.raises(CatalogError, match="row 2 of 2 rows does not exist"):
        counts.take([2])


def test_saved_and_loaded(scene, tmp_path):
    counts = count_pixels(both(scene), cell=8)
    again = PixelCounts.load(counts.save(tmp_path / "counts.npz"))
    assert (again.content, again.names, again.cell) == (counts.content, counts.names, 8)
    again.check(both(scene).catalog)
    assert [p.name for p in tmp_path.iterdir()] == ["counts.npz"]
    with pytest.raises(SamplerError, match=r"counts are written as \.npz"):
        counts.save(tmp_path / "counts.parquet")


def test_files_that_are_no_counts(scene, tmp_path):
    path = count_pixels(images(scene)).save(tmp_path / "a.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match="holds no counts of pixels"):
        PixelCounts.load(path)
    np.savez(tmp_path / "b.npz", valid=np.ones(3))
    with pytest.raises(ReadError, match="holds no counts of pixels"):
        PixelCounts.load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", format="geodata pixel counts 2")
    with pytest.raises(ReadError, match="is of format 'geodata pixel counts 2'"):
        PixelCounts.load(tmp_path / "c.npz")
    with pytest.raises(ReadError, match="holds no counts of pixels"):
        PixelCounts.load(tmp_path / "none.npz")
    np.save(tmp_path / "d.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ReadError, match="holds no counts of pixels"):
        PixelCounts.load(tmp_path / "d.npy")


def test_what_cannot_be_counted(scene):
    with pytest.raises(SamplerError, match=r"count ds\.transformed\(None\)"):
        count_pixels(images(scene).transformed(lambda s: s))
    with pytest.raises(SamplerError, match="cell=0 must be a whole number of at least 1"):
        count_pixels(images(scene), cell=0)
    with pytest.raises(SamplerError, match="counting needs a dataset with rows of pixels, got list"):
        count_pixels([1])
    with pytest.raises(SamplerError, match="counting needs a dataset"):
        count_pixels(images(scene).take([]))

    class Bare:
        catalog = catalog_of((north_up(), (8, 8), "EPSG:32633"))

        def __getitem__(self, query):
            return {"image": np.zeros((1, *query.window[2:]))}

    with pytest.raises(SamplerError, match="neither 'valid' nor 'mask'"):
        count_pixels(Bare())
    with pytest.raises(SamplerError, match="make them with count_pixels"):
        PixelCounts(4, np.array(["a"], object), np.array([[8, 8]]), np.zeros(3, np.int32), np.zeros((3, 0), np.int32))


def test_windows_drawn_with_counts_are_as_valid_as_asked(scene):
    ds = images(scene)
    counts = count_pixels(ds, cell=1)
    sampler = RandomPatchSampler(ds, size=6, length=300, counts=counts, min_valid=0.8)
    shares = [ds[q]["valid"].float().mean().item() for q in sampler]
    assert min(shares) >= 0.8 and max(shares) > 0.85


@pytest.mark.parametrize("row", [2, 7])
def test_a_row_that_was_not_counted_has_no_cells(scene, row):
    with pytest.raises(CatalogError, match=f"row {row} of 2 rows does not exist"):
        count_pixels(both(scene)).of(row)


@pytest.mark.parametrize("options", [{"cell": 1.5}, {"cell": None}, {"cell": True}, {"classes": 0}, {"classes": 2.5}])
def test_sides_and_classes_are_whole_numbers(scene, options):
    with pytest.raises(SamplerError, match="must be a whole number of at least 1"):
        count_pixels(both(scene), **options)
