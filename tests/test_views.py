"""Queries that say more than where: views, weights, chosen pixels, dates, one row on another grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from makers import north_up, write_tif

import geodata as gd
from geodata.datasets import RasterDataset
from geodata.errors import QueryError
from geodata.query import Query

PATTERN = r"_(?P<date>\d{4}-\d{2}-\d{2})\.tif$"


@pytest.fixture
def images(tmp_path):
    pixels = np.arange(2 * 32 * 32, dtype=np.float32).reshape(2, 32, 32)
    write_tif(tmp_path / "a.tif", pixels, north_up(res=10))
    write_tif(tmp_path / "b.tif", pixels + 5000, north_up(res=10))  # the same place
    return RasterDataset(tmp_path)


def test_a_tuple_of_queries_is_one_sample_of_several_views(images):
    small, large = Query(row=0, window=(0, 0, 4, 4)), Query(row=1, window=(8, 8, 16, 16), index=1)
    first, second = images[small, large]
    assert torch.equal(first["image"], images[small]["image"])
    assert torch.equal(second["image"], images[large]["image"])


def test_views_are_collated_each_on_its_own_and_without_a_copy(images):
    pairs = [(Query(row=0, window=(k, k, 4, 4)), Query(row=1, window=(k, 0, 8, 8))) for k in range(3)]
    samples = images.__getitems__(pairs)
    one, other = gd.collate(samples)
    assert one["image"].shape == (3, 2, 4, 4) and other["image"].shape == (3, 2, 8, 8)
    for k, (a, b) in enumerate(pairs):
        assert torch.equal(one["image"][k], images[a]["image"])
        assert torch.equal(other["image"][k], images[b]["image"])
    for view, batch in ((0, one), (1, other)):
        held = samples[0][view]["image"].untyped_storage().data_ptr()
        assert batch["image"].untyped_storage().data_ptr() == held


def test_views_pass_through_the_loaders(images):
    pairs = [(Query(row=0, window=(k, k, 4, 4)), Query(row=1, window=(k, k, 8, 8))) for k in range(4)]
    for loader in (
        gd.Loader(images, sampler=pairs, batch_size=2),
        torch.utils.data.DataLoader(images, sampler=pairs, batch_size=2, collate_fn=gd.collate),
    ):
        batches = list(loader)
        assert [len(batch) for batch in batches] == [2, 2]
        assert batches[1][1]["image"].shape == (2, 2, 8, 8)


def test_transforms_of_the_dataset_see_each_view(images):
    marked = images.transformed(lambda s: s | {"image": s["image"] + 1})
    a, b = marked[Query(row=0), Query(row=1)]
    assert a["image"][0, 0, 0] == 1 and b["image"][0, 0, 0] == 5001


def test_unequal_numbers_of_views_are_refused(images):
    with pytest.raises(QueryError, match=r"have \[1, 2\] views"):
        images.__getitems__([(Query(row=0), Query(row=1)), Query(row=0)])


def test_weight_and_pixels_come_back(images):
    sample = images[Query(row=0, window=(0, 0, 4, 6), weight=0.25, pixels=((0, 5), (3, 0)))]
    assert sample["weight"].dtype == torch.float32 and sample["weight"] == 0.25
    assert sample["pixels"].shape == (4, 6) and sample["pixels"].nonzero().tolist() == [[0, 5], [3, 0]]
    assert not {"weight", "pixels"} & images[0].keys()
    batch = gd.collate(images.__getitems__([Query(row=0, weight=0.5), Query(row=1, weight=2.0)]))
    assert batch["weight"].tolist() == [0.5, 2.0]


def test_a_row_on_a_grid_is_this_row_alone(images):
    half = images.catalog.grid(1).coarser(2)
    sample = images[Query(row=1, grid=half)]
    assert sample["key"] == "b" and sample["image"].shape == (2, 16, 16)
    assert sample["image"].min() >= 5000, "the other row at this place must not show"
    assert images[Query(row=0, grid=half)]["image"].max() < 5000


def test_a_row_on_a_grid_ends_where_the_row_ends(images):
    tiles = images.tile(16)
    tile = tiles.catalog.grid(0)
    wide = gd.Grid((32, 32), tile.transform, tile.crs)
    sample = tiles[Query(row=0, grid=wide)]
    assert sample["valid"].sum() == 16 * 16 and sample["valid"][:16, :16].all()


def test_a_query_has_a_window_or_a_grid(images):
    with pytest.raises(QueryError, match="a window or a grid"):
        Query(row=0, window=(0, 0, 4, 4), grid=images.catalog.grid(0))
    with pytest.raises(QueryError, match="got neither"):
        Query()


# ---------------------------------------------------------------------- dates


@pytest.fixture
def dated(tmp_path):
    for day in range(1, 6):
        pixels = np.full((1, 8, 8), day, dtype=np.float32)
        write_tif(tmp_path / f"a_2020-01-0{day}.tif", pixels, north_up(res=10))
    return RasterDataset(tmp_path, pattern=PATTERN)


def test_some_dates_of_a_series(dated):
    series = dated.series()
    sample = series[Query(row=0, window=(0, 0, 4, 4), dates=(3, 0))]
    assert sample["image"].shape == (2, 1, 4, 4) and sample["image"][:, 0, 0, 0].tolist() == [4, 1]
    assert len(sample["time"]) == 2 and sample["time"][0, 0] > sample["time"][1, 0]


def test_dates_that_are_not_there(dated):
    with pytest.raises(QueryError, match="dates \\(5,\\) of a series with 5"):
        dated.series()[Query(row=0, dates=(5,))]
    with pytest.raises(QueryError, match="one each; make a series"):
        dated[Query(row=0, dates=(0,))]


def test_a_series_paired_by_column_follows_its_row(tmp_path):
    for name, corner in (("a", 0), ("b", 40)):
        for day in (1, 2):
            pixels = np.full((1, 8, 8), day + corner, dtype=np.float32)
            write_tif(tmp_path / f"{name}_2020-01-0{day}.tif", pixels, north_up(500000 + corner, res=10))
    series = RasterDataset(tmp_path, pattern=PATTERN).series()
    joined = series.join(series.named("again"), on="key")
    for row in range(2):
        sample = joined[row]
        assert torch.equal(sample["image"], sample["image_again"])
    # The places overlap, so that by place the other item would show too.
    part = joined[Query(row=1, grid=joined.catalog.grid(1))]
    assert torch.equal(part["image"], part["image_again"]) and part["image"].min() >= 41


# ---------------------------------------------------------------------- queries of other rows


def test_a_sampler_of_other_rows_is_refused(images):
    """The part of a split by mistake beside the whole: rows have the same numbers and are others."""
    from geodata.samplers import (
        GridPatchSampler,
        GroupedBatchSampler,
        HardExampleSampler,
        ItemSampler,
        MixedSampler,
        MultiCropSampler,
        RandomPatchSampler,
    )

    parts = images.tile(16).split({"train": images.tile(16).catalog.key[:4], "test": images.tile(16).catalog.key[4:]})
    train, test = parts["train"], parts["test"]
    makers = {
        "random": lambda ds: RandomPatchSampler(ds, size=8, length=8),
        "grid": lambda ds: GridPatchSampler(ds, size=8),
        "items": ItemSampler,
        "hard": lambda ds: HardExampleSampler(ds, length=8),
        "crops": lambda ds: MultiCropSampler(ds, parent=16, global_size=12, local_size=4, length=8),
    }
    for name, make in makers.items():
        assert len(list(gd.Loader(test, sampler=make(test), batch_size=4))), name
        assert len(list(gd.Loader(test, sampler=make(test.catalog), batch_size=4))), name
        for wrong in (train, images.tile(16)):
            with pytest.raises(QueryError, match="drawn from other rows than the 4 of this dataset"):
                list(gd.Loader(test, sampler=make(wrong), batch_size=4))
    grouped = GroupedBatchSampler(ItemSampler(train), 2, by="crs", data=train)
    with pytest.raises(QueryError, match="other rows"):
        list(torch.utils.data.DataLoader(test, batch_sampler=grouped, collate_fn=gd.collate))
    mixed = MixedSampler({"a": ItemSampler(train), "b": ItemSampler(test)})
    assert len(list(gd.Loader(gd.Mixture({"a": train, "b": test}), sampler=mixed, batch_size=2))) == 4
    with pytest.raises(QueryError, match="other rows"):
        list(gd.Loader(gd.Mixture({"a": test, "b": train}), sampler=mixed, batch_size=2))


def test_the_same_rows_with_other_fields_are_the_same(images):
    from geodata.samplers import RandomPatchSampler

    sampler = RandomPatchSampler(images, size=8, length=4)
    joined = images.join(images.named("again"), on="key")
    assert len(list(gd.Loader(joined, sampler=sampler, batch_size=2))) == 2
