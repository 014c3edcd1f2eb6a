"""Whole items: in order, shuffled, and shuffled chunk by chunk."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from makers import catalog_of, north_up, write_tif
from sampler_laws import check_laws

from geodata.catalog import Catalog
from geodata.datasets import RasterDataset
from geodata.errors import CatalogError, SamplerError
from geodata.readers.base import Asset
from geodata.samplers.draws import uniform64
from geodata.samplers.items import ItemSampler

UTM = "EPSG:32633"


def rows(n, **columns):
    return catalog_of(*((north_up(500000 + 1e4 * i), (8, 8), UTM) for i in range(n)), **columns)


def order(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return [q.row for q in sampler]


def test_without_chunks_the_order_is_what_it_was():
    catalog = rows(50)
    assert order(ItemSampler(catalog)) == list(range(50))
    for seed, epoch in ((0, 0), (7, 3)):
        wanted = np.argsort(uniform64(seed, epoch, np.arange(50)), kind="stable").tolist()
        assert order(ItemSampler(catalog, shuffle=True, seed=seed), epoch) == wanted
    # Written down once: the first draws of this seed, and the state of runs that started before there were chunks.
    assert order(ItemSampler(catalog, shuffle=True, seed=7))[:8] == FIRST
    assert ItemSampler(catalog, shuffle=True, seed=7).digest == DIGEST


FIRST = [2, 19, 31, 30, 33, 41, 36, 12]
DIGEST = "e7ea9f0f8a0527d7"


@pytest.mark.parametrize("buffer", [1, 3, 4, 100])
@pytest.mark.parametrize("kind", ["column", "count"])
def test_a_buffer_of_chunks_is_emptied_before_the_next(kind, buffer):
    n = 60
    scene = np.random.default_rng(0).integers(0, 9, n) if kind == "column" else np.arange(n) // 7
    catalog = rows(n, columns={"scene": [f"s{s}" for s in scene]})
    sampler = ItemSampler(catalog, shuffle=True, chunks="scene" if kind == "column" else 7, buffer=buffer)
    visited = []
    for epoch in range(30):
        drawn = order(sampler, epoch)
        assert sorted(drawn) == list(range(n)), "every item once"
        left, groups = drawn, []
        while left:  # take rows as long as they belong to `buffer` chunks
            chunks = list(dict.fromkeys(scene[left].tolist()))[:buffer]
            part = [r for r in left if scene[r] in chunks]
            assert left[: len(part)] == part, "no chunk is opened again"
            groups.append(part)
            left = left[len(part) :]
        assert [len({*scene[g].tolist()}) for g in groups[:-1]] == [buffer] * (len(groups) - 1)
        visited.append([tuple(sorted(set(scene[g].tolist()))) for g in groups])
        assert sampler.reads_per_chunk == 1.0
    if buffer < 9:
        assert len(set(map(str, visited))) > 25, "chunks come in another order every epoch"


def test_rows_of_a_buffer_are_shuffled_among_each_other():
    sampler = ItemSampler(rows(80), shuffle=True, chunks=10, buffer=4)
    runs = []
    for epoch in range(50):
        first = np.array(order(sampler, epoch)[:40]) // 10
        runs.append(sum(1 for _ in groupby(first)))
    # 40 rows of 4 chunks in random order: 1 + 39 * 30 / 39 runs on average.
    assert abs(np.mean(runs) - 31) < 1.5


@pytest.mark.parametrize(("n", "size", "buffer"), [(60, 6, 2), (48, 4, 4), (40, 10, 4)])
def test_reads_are_counted_as_a_reader_would_make_them(n, size, buffer):
    sampler = ItemSampler(rows(n), shuffle=True, chunks=size, buffer=buffer)
    plain = order(ItemSampler(rows(n), shuffle=True))
    opened, held = 0, []
    for chunk in (r // size for r in plain):
        if chunk in held:
            held.remove(chunk)
        else:
            opened += 1
            held = held[-(buffer - 1) :] if buffer > 1 else []
        held.append(chunk)
    assert sampler.reads_if_shuffled == opened / (n // size)
    assert sampler.reads_per_chunk == 1.0
    assert (sampler.reads_if_shuffled > 1) == (buffer < n // size)
    assert ItemSampler(rows(n), shuffle=True).reads_per_chunk is None


def test_chunks_are_files(tmp_path):
    for k in range(5):
        write_tif(tmp_path / f"{k}.tif", np.zeros((1, 32, 16), np.uint8), north_up(500000 + 1000 * k))
    tiles = RasterDataset(tmp_path).tile(8)
    sampler = ItemSampler(tiles, shuffle=True, chunks="file", buffer=1)
    files = [tiles.catalog.href(tiles.catalog.assets[0], r) for r in order(sampler)]
    assert [len(list(g)) for _, g in groupby(files)] == [8] * 5
    assert files != sorted(files) and sampler.reads_per_chunk == 1 < sampler.reads_if_shuffled


def test_chunks_are_files_whose_names_are_made_of_columns():
    catalog = Catalog.from_columns(
        key=[f"k{i}" for i in range(12)],
        affine=[tuple(north_up())[:6]] * 12,
        shape=[(8, 8)] * 12,
        crs=UTM,
        columns={"tile": list("aabbaabbccdd"), "year": [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, None, 2]},
        assets=[Asset(href="{tile}/{year}.zarr", bands=("b",), indexes=(1,), dtype="uint8")],
    )
    drawn = order(ItemSampler(catalog, shuffle=True, chunks="file", buffer=1))
    files = [(catalog.column("tile")[r], catalog.table["year"][r].as_py()) for r in drawn]
    assert len([1 for _ in groupby(files)]) == len(set(files)) == 7


@pytest.mark.parametrize("chunks", [None, 5, "scene"])
def test_laws(chunks):
    catalog = rows(37, columns={"scene": np.arange(37) % 6})

    def make(**place):
        sampler = ItemSampler(catalog, shuffle=True, seed=2, chunks=chunks, buffer=2, **place)
        sampler.set_epoch(3)
        return sampler

    check_laws(make)


def test_a_state_of_another_plan_is_refused():
    def sampler(**options):
        return ItemSampler(rows(20), **{"shuffle": True, "chunks": 4, "buffer": 2} | options)

    state = sampler().state_dict()
    sampler().load_state_dict(state)
    for other in ({"chunks": 5}, {"chunks": None}, {"buffer": 3}, {"seed": 1}, {"chunks": None, "shuffle": False}):
        with pytest.raises(SamplerError, match="another sampler"):
            sampler(**other).load_state_dict(state)


def test_what_cannot_be_is_refused():
    with pytest.raises(SamplerError, match="chunks=4 says how to shuffle; give shuffle=True too"):
        ItemSampler(rows(9), chunks=4)
    for options in ({"chunks": 0}, {"chunks": True}, {"chunks": 3, "buffer": 0}):
        with pytest.raises(SamplerError, match=r"must be (at least 1 row|a whole number)"):
            ItemSampler(rows(9), shuffle=True, **options)
    with pytest.raises(SamplerError, match="these items have no files"):
        ItemSampler(rows(9), shuffle=True, chunks="file")
    with pytest.raises(CatalogError, match="no column 'scene'"):
        ItemSampler(rows(9), shuffle=True, chunks="scene")
