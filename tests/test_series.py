"""Items of many dates: their order, their gaps, their length, and layers by date of a query by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from makers import north_up, write_tif

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import CatalogError, GeodataError, GridError, NoOverlapError, QueryError
from geodata.samplers import RandomPatchSampler

PLACED = r"(?P<place>\w+)_(?P<date>\d{8})\.tif$"
DAY = 86400.0


def seconds(text):
    return gd.Interval.parse(text).start


def scene(folder, place, date, value, col=0, size=8, **options):
    pixels = np.full((2, size, size), value, np.uint8) if np.ndim(value) == 0 else value
    return write_tif(folder / f"{place}_{date}.tif", pixels, north_up(500000 + 10 * col), **options)


@pytest.fixture
def archive(tmp_path):
    """Place a has three dates, b two (the last with a gap); written out of order."""
    gap = np.full((2, 8, 8), 5, np.uint8)
    gap[1, 2, 3] = 0
    scene(tmp_path, "b", "20200301", gap, col=20, nodata=0)
    for value, date in ((3, "20200901"), (1, "20200101"), (2, "20200501")):
        scene(tmp_path, "a", date, value, nodata=0)
    scene(tmp_path, "b", "20200101", 4, col=20, nodata=0)
    return RasterDataset(tmp_path, pattern=PLACED)


def test_dates_of_a_place_in_order(archive):
    ds = archive.series()
    assert len(ds) == 2 and ds.keys == ("image", "valid", "bands") and ds.bands == archive.bands
    first, second = ds[0], ds[1]
    assert first["image"].shape == (3, 2, 8, 8) and first["valid"].shape == (3, 8, 8) and first["time"].shape == (3, 2)
    assert first["image"][:, 0, 0, 0].tolist() == [1, 2, 3] and first["valid"].all()
    assert first["time"].dtype == torch.float64
    assert first["time"].tolist() == [
        [seconds(d), seconds(d) + DAY] for d in ("2020-01-01", "2020-05-01", "2020-09-01")
    ]
    assert second["image"][:, 0, 0, 0].tolist() == [4, 5]
    assert (~second["valid"]).nonzero().tolist() == [[1, 2, 3]] and (second["image"][1, :, 2, 3] == 0).all()
    assert first["grid"] == archive.catalog.grid(0) and second["grid"].bounds[0] == 500200


def test_dates_are_in_order_whatever_the_order_of_the_rows(archive):
    backwards = archive.take([4, 3, 2, 1, 0]).series()
    assert [s["image"][:, 0, 0, 0].tolist() for s in backwards] == [[4, 5], [1, 2, 3]], (
        "items come as their first rows do"
    )
    assert [s["image"][:, 0, 0, 0].tolist() for s in archive.take([2, 0, 1]).series()] == [[1, 2, 3]]


def test_a_window_of_a_series_is_a_crop_of_the_whole(archive):
    ds = archive.series()
    whole = ds[1]
    part = ds[gd.Query(row=1, window=(1, -2, 9, 7), epoch=3, index=5)]
    assert torch.equal(part["image"][:, :, :7, 2:], whole["image"][:, :, 1:, :5])
    assert torch.equal(part["valid"][:, :7, 2:], whole["valid"][:, 1:, :5])
    assert not part["valid"][:, 7:].any() and not part["valid"][:, :, :2].any() and part["draw"].tolist() == [3, 5]


def test_groups_by_a_column_share_a_grid(archive, tmp_path):
    assert [s["image"].shape[0] for s in archive.series(by="place")] == [3, 2]
    scene(tmp_path, "a", "20201201", 9, col=1)
    with pytest.raises(
        GridError,
        match=r"rows with place = 'a' lie on different grids \('a', 'a.*a series needs one grid|different grids",
    ):
        RasterDataset(tmp_path, pattern=PLACED).series(by="place")
    with pytest.raises(CatalogError, match="no column 'site'"):
        archive.series(by="site")


def test_some_of_the_dates(archive):
    assert archive.series(time=("2020-02", "2020-06"))[0]["image"][:, 0, 0, 0].tolist() == [2]
    assert archive.series(time=("2020-02", "2020-06"))[1]["image"][:, 0, 0, 0].tolist() == [5]
    assert len(archive.series(time="2020-09")) == 1
    with pytest.raises(NoOverlapError, match=r"no item lies in time Interval\('2021-01-01', '2022-01-01'\)"):
        archive.series(time="2021")


@pytest.mark.parametrize(("most", "wanted"), [(1, 1), (2, 2), (3, 3), (5, 5), (9, 7)])
def test_at_most_so_many_dates_evenly_spread(tmp_path, most, wanted):
    for month in range(1, 8):
        scene(tmp_path, "a", f"20200{month}01", month)
    got = RasterDataset(tmp_path, pattern=PLACED).series(max_len=most)[0]["image"][:, 0, 0, 0].tolist()
    assert len(got) == wanted and got == sorted(set(got))
    if most > 1:
        assert got[0] == 1 and got[-1] == 7 and max(np.diff(got)) - min(np.diff(got)) <= 1


@pytest.mark.parametrize("most", [0, -1])
def test_no_dates_at_all_is_no_series(archive, most):
    with pytest.raises(GeodataError):
        archive.series(max_len=most)


def test_ragged_series_are_padded_on_demand(archive):
    samples = archive.series().__getitems__([0, 1])
    with pytest.raises(
        GridError, match=r"image has shapes \[\(2, 2, 8, 8\), \(3, 2, 8, 8\)\] in one batch.*collate\(pad=0\)"
    ):
        gd.collate(samples)
    batch = gd.collate(samples, pad=-1)
    assert batch["image"].shape == (2, 3, 2, 8, 8) and batch["mask_time"].tolist() == [[True] * 3, [True, True, False]]
    assert (batch["image"][1, 2] == -1).all() and not batch["valid"][1, 2].any() and batch["time"].shape == (2, 3, 2)
    assert torch.equal(batch["image"][1, :2], samples[1]["image"]) and torch.equal(
        batch["image"][0], samples[0]["image"]
    )
    equal = gd.collate(archive.series(max_len=2).__getitems__([0, 1]))
    assert equal["image"].shape == (2, 2, 2, 8, 8)


def test_tiles_of_a_series_are_tiles_of_every_date(tmp_path):
    rng = np.random.default_rng(0)
    dates = {
        "20200101": rng.integers(1, 255, (2, 8, 8)).astype(np.uint8),
        "20200201": rng.integers(1, 255, (2, 8, 8)).astype(np.uint8),
    }
    for date, pixels in dates.items():
        scene(tmp_path, "a", date, pixels)
    tiles = RasterDataset(tmp_path, pattern=PLACED).series().tile(5).take([3, 1]).tile(2, edge="drop")
    assert tiles.catalog.key[0].endswith("#r5c5h3w3#r0c0h2w2") and len(tiles) == 1 + 2
    for sample, (r, c) in zip(tiles, ((5, 5), (0, 5), (2, 5)), strict=True):
        for t, pixels in enumerate(dates.values()):
            assert np.array_equal(sample["image"][t].numpy(), pixels[:, r : r + 2, c : c + 2].astype(np.float32))
        assert sample["grid"].transform.c == 500000 + 10 * c and sample["grid"].transform.f == 5600000 - 10 * r
    wide = tiles[gd.Query(row=0, window=(-1, -1, 4, 4))]
    assert wide["valid"].sum() == 2 * 4, "what lies around a tile stays out of it, on every date"


def test_samplers_and_where_work_on_series(archive):
    ds = archive.series().where(lambda c: c.shape[:, 0] == 8)
    queries = list(RandomPatchSampler(ds, size=4, length=6, seed=1))
    batch = gd.collate(ds.__getitems__(queries), pad=0)
    assert batch["image"].shape[:1] == (6,) and batch["image"].shape[2:] == (2, 4, 4)
    assert {s["image"].shape[0] for s in ds} == {2, 3}


def test_layers_by_date_of_a_place(tmp_path):
    # Two tiles side by side on the first date, only the left on the second.
    scene(tmp_path, "l", "20200101", 1, nodata=0)
    scene(tmp_path, "r", "20200101", 2, col=8, nodata=0)
    scene(tmp_path, "l", "20200201", 3, nodata=0)
    ds = RasterDataset(tmp_path, pattern=PLACED)
    box = (500060, 5599960, 500100, 5600000)
    sample = ds.read(box, crs="EPSG:32633", stack="time")
    assert sample["image"].shape == (2, 2, 4, 4) and sample["valid"].shape == (2, 4, 4)
    assert sample["image"][0, 0, 0].tolist() == [1, 1, 2, 2] and sample["image"][1, 0, 0].tolist() == [3, 3, 0, 0]
    assert sample["valid"][1, 0].tolist() == [True, True, False, False]
    assert sample["time"].tolist() == [[seconds(d), seconds(d) + DAY] for d in ("2020-01-01", "2020-02-01")]
    february = ds.read(box, crs="EPSG:32633", stack="time", time="2020-02")
    assert february["image"].shape[0] == 1 and torch.equal(february["image"][0], sample["image"][1])
    flat = ds.read(box, crs="EPSG:32633")
    assert flat["image"][0, 0].tolist() == [3, 3, 2, 2], "without stack the newest that is observed wins"


def test_layers_of_masks_named_images_and_joins(tmp_path):
    for value, date in ((1, "20200101"), (2, "20200201")):
        scene(tmp_path / "i", "a", date, value)
        write_tif(tmp_path / "m" / f"m_{date}.tif", np.full((8, 8), 10 + value, np.uint8))
    write_tif(tmp_path / "s" / "static.tif", np.full((8, 8), 7, np.uint8))
    images = RasterDataset(tmp_path / "i", pattern=PLACED, name="s2")
    masks = RasterDataset(tmp_path / "m", pattern=PLACED, categorical=True)
    static = RasterDataset(tmp_path / "s", categorical=True, name="dem")
    grid = images.catalog.grid(0).window(1, 1, 3, 3)
    assert masks.read(grid, stack="time")["mask"][:, 0, 0].tolist() == [11, 12]
    sample = images.read(grid, stack="time")
    assert sample["image_s2"].shape == (2, 2, 3, 3) and sample["valid_s2"].shape == (2, 3, 3)
    joined = (images & static).read(grid, stack="time")
    assert joined["image_s2"].shape == (2, 2, 3, 3) and joined["mask_dem"].shape == (3, 3)
    assert (joined["mask_dem"] == 7).all()


def test_native_resolutions_in_series(tmp_path):
    for i, date in enumerate(("20200101", "20200201")):
        write_tif(tmp_path / f"a_{date}_B2.tif", np.full((8, 8), i, np.uint8))
        write_tif(tmp_path / f"a_{date}_B5.tif", np.full((4, 4), 10 + i, np.uint8), north_up(res=20))
    ds = RasterDataset(tmp_path, pattern=r"(?P<date>\d{8})_(?P<band>B\d)\.tif$", native=True).series()
    sample = ds[gd.Query(row=0, window=(2, 4, 4, 2))]
    assert sample["image_10m"].shape == (2, 1, 4, 2) and sample["image_20m"].shape == (2, 1, 2, 1)
    assert sample["image_20m"].flatten().tolist() == [10, 10, 11, 11]
    assert sample["grid_20m"].shape == (2, 1) and ds.step == 2
    with pytest.raises(GridError, match="multiples of 2"):
        ds[gd.Query(row=0, window=(1, 0, 2, 2))]


def test_a_query_by_place_of_a_series_is_about_the_series_only(archive):
    grid = archive.catalog.grid(0)
    assert archive.series(time="2020-05").read(grid)["image"][:, 0, 0, 0].tolist() == [2]
    assert archive.series(max_len=2).read(grid)["image"][:, 0, 0, 0].tolist() == [1, 3]
    assert archive.series().read(grid)["image"][:, 0, 0, 0].tolist() == [1, 2, 3]
    with pytest.raises(QueryError, match="series"):
        archive.series().read(grid, stack="time")
    with pytest.raises(NoOverlapError):
        archive.series(time="2020-09").read(gd.Grid((4, 4), north_up(500200), "EPSG:32633"))


def test_series_of_a_join_keep_one_mask(tmp_path):
    for value, date in ((1, "20200101"), (2, "20200201")):
        scene(tmp_path / "i", "a", date, value)
    write_tif(tmp_path / "m" / "m.tif", np.full((8, 8), 7, np.uint8))
    joined = RasterDataset(tmp_path / "i", pattern=PLACED) & RasterDataset(tmp_path / "m", categorical=True)
    for ds in (
        joined.series(),
        RasterDataset(tmp_path / "i", pattern=PLACED).series() & RasterDataset(tmp_path / "m", categorical=True),
    ):
        assert len(ds) == 1
        sample = ds[gd.Query(row=0, window=(2, 2, 4, 5))]
        assert sample["image"].shape == (2, 2, 4, 5) and sample["mask"].shape == (4, 5) and (sample["mask"] == 7).all()


def test_two_series_in_one_sample(tmp_path):
    for value, date in ((1, "20200101"), (2, "20200201")):
        scene(tmp_path / "a", "a", date, value)
    for value, date in ((5, "20200115"), (6, "20200120"), (7, "20200125")):
        scene(tmp_path / "b", "b", date, value)
    a, b = (RasterDataset(tmp_path / n, pattern=PLACED).series() for n in "ab")
    named = b.named("s1")
    assert named.keys == ("image_s1", "valid_s1", "bands_s1")
    alone = named[0]
    assert set(alone) >= {"image_s1", "valid_s1", "bands_s1", "time_s1", "grid_s1"} and "image" not in alone
    sample = (a & named)[0]
    assert sample["image"].shape[0] == 2 and sample["image_s1"].shape[0] == 3
    assert sample["image_s1"][:, 0, 0, 0].tolist() == [5, 6, 7]
    assert sample["time"].shape == (2, 2) and sample["time_s1"].shape == (3, 2)


def test_transforms_see_the_whole_series_once(archive):
    seen = []

    def note(sample):
        seen.append(tuple(sample["image"].shape))
        return sample

    archive.transformed(note).series()[0]
    archive.series().transformed(note)[0]
    assert seen == [(3, 2, 8, 8)] * 2


def test_a_series_that_follows_may_have_no_date_under_a_window(tmp_path):
    write_tif(tmp_path / "a" / "large.tif", np.ones((40, 40), np.uint8))
    for value, date in ((1, "20200101"), (2, "20200201")):
        scene(tmp_path / "b", "b", date, value)
    joined = RasterDataset(tmp_path / "a") & RasterDataset(tmp_path / "b", pattern=PLACED).series().named("s")
    assert joined[gd.Query(row=0, window=(0, 0, 8, 8))]["image_s"].shape == (2, 2, 8, 8)
    sample = joined[gd.Query(row=0, window=(20, 20, 8, 8))]
    assert sample["image_s"].shape == (0, 2, 8, 8) and sample["valid_s"].shape == (0, 8, 8)
    assert sample["time_s"].shape == (0, 2) and sample["valid"].all()
    assert set(sample) == set(joined[0])
    batch = gd.collate(joined.__getitems__([gd.Query(row=0, window=(r, r, 8, 8)) for r in (0, 20)]), pad=0)
    assert batch["mask_time_s"].tolist() == [[True, True], [False, False]] and not batch["valid_s"][1].any()


def test_a_series_paired_by_column_keeps_its_pair_by_place(tmp_path):
    for k, place in enumerate("ab"):
        for day in (1, 2):
            scene(tmp_path / "s", place, f"2020010{day}", 10 * k + day, col=8 * k)
        write_tif(tmp_path / "c" / f"{place}.tif", np.full((8, 32), 100 + k, np.uint8))
    dates = RasterDataset(tmp_path / "s", pattern=PLACED)
    static = RasterDataset(tmp_path / "c", name="c", pattern=r"(?P<place>\w)\.tif$")
    for series, image in ((dates.series(time="2020-01-02"), [2]), (dates.series(), [1, 2])):
        joined = series.join(static, on="place")
        for k in range(2):
            by_row, by_place = joined[k], joined.read(joined.catalog.grid(k))
            assert by_row["image"][:, 0, 0, 0].tolist() == [10 * k + v for v in image]
            assert (by_row["image_c"] == 100 + k).all()
            for key in ("image", "image_c", "valid", "valid_c"):
                assert torch.equal(by_place[key], by_row[key]), key


def test_pairs_of_single_dates_do_not_become_a_series_in_silence(tmp_path):
    for i, date in enumerate(("20200101", "20200201")):
        scene(tmp_path / "a", "p", date, 1 + i)
        scene(tmp_path / "b", "p", date, 11 + i)
    a, b = (RasterDataset(tmp_path / n, pattern=r"(?P<date>\d{8})\.tif$", name=n) for n in "ab")
    joined = a.join(b, on="key")
    for make in (lambda: joined.series(), lambda: joined.read(a.catalog.grid(0), stack="time")):
        with pytest.raises(
            QueryError, match=r"paired one by one; make a series of each side first: a\.series\(\) & b\.series\(\)"
        ):
            make()
    sample = (a.series() & b.series())[0]
    assert sample["image_a"][:, 0, 0, 0].tolist() == [1, 2] and sample["image_b"][:, 0, 0, 0].tolist() == [11, 12]


def test_what_makes_no_series(archive):
    with pytest.raises((QueryError, CatalogError, GridError)):
        archive.series().series()
