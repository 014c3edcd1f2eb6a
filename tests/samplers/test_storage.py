"""Windows in the order of storage: together in the file, uniform over an epoch, still a function of three integers."""

from __future__ import annotations

import numpy as np
import pytest
from makers import catalog_of, north_up
from scipy.stats import chisquare

from geodata.datasets import RasterDataset
from geodata.errors import SamplerError
from geodata.readers import blocks
from geodata.samplers import RandomPatchSampler
from geodata.samplers.storage import CELL, VISIT

SHAPES = [(1500, 2100), (600, 300), (4096, 700)]


def rows(*shapes):
    return catalog_of(*((north_up(500000 + 1e5 * i), s, "EPSG:32633") for i, s in enumerate(shapes)))


def sampler(length=4096, size=256, shapes=SHAPES, **options):
    return RandomPatchSampler(rows(*shapes), size=size, length=length, order="storage", **options)


def starts(shapes, size):
    return np.array(shapes) - size + 1


EPOCHS = 3000


@pytest.fixture(scope="module")
def two_draws():
    """Rows (EPOCHS, 2) and start positions (EPOCHS, 2, 2) of the first draw of many epochs, and of one within a visit.

    Draws of one epoch are neighbours on purpose, epochs are independent.
    """
    s = sampler(length=512)
    found = []
    for epoch in range(EPOCHS):
        s.set_epoch(epoch)
        found.append(s.places(np.array([0, 100])))
    return tuple(map(np.stack, zip(*found, strict=True)))


@pytest.mark.parametrize("draw", [0, 1])
def test_each_draw_is_uniform_over_all_windows(two_draws, draw):
    rows, found = (held[:, draw] for held in two_draws)
    room = starts(SHAPES, 256)
    share = room.prod(axis=1) / room.prod(axis=1).sum()
    assert chisquare(np.bincount(rows, minlength=3), share * EPOCHS).pvalue > 1e-4
    for row in (0, 2):
        here = found[rows == row]
        assert (here >= 0).all() and (here < room[row]).all()
        for axis in (0, 1):
            bins = np.linspace(0, room[row, axis], 13).astype(int)
            counts, _ = np.histogram(here[:, axis], bins)
            assert chisquare(counts, np.diff(bins) / room[row, axis] * len(here)).pvalue > 1e-4


def test_a_buffer_longer_than_the_epoch_is_the_epoch():
    assert list(sampler(length=100, buffer=2**40)) == list(sampler(length=100, buffer=128))


def cells_of(row, at):
    """Regions found from the starts alone: cut at multiples of 512, what is left under half of that joins the last."""
    room = starts(SHAPES, 256)[row]
    last = np.maximum((room + CELL // 2) // CELL, 1) - 1
    return np.column_stack([row, np.minimum(at // CELL, last)])


@pytest.mark.parametrize("length", [4096, 4000, 64])
def test_an_epoch_visits_regions_evenly(length):
    s = sampler(length=length, seed=5)
    row, at = s.places(np.arange(-(-length // VISIT) * VISIT))
    found, draws = np.unique(cells_of(row, at), axis=0, return_counts=True)
    assert (draws % VISIT == 0).all()
    visits = -(-length // VISIT)
    room = starts(SHAPES, 256)
    for (r, down, across), n in zip(found.tolist(), draws.tolist(), strict=True):
        last = np.maximum((room[r] + CELL // 2) // CELL, 1) - 1
        sides = [room[r, k] - i * CELL if i == last[k] else CELL for k, i in enumerate((down, across))]
        expected = visits * sides[0] * sides[1] / room.prod(axis=1).sum()
        assert abs(n / VISIT - expected) < 1
    assert draws.sum() == visits * VISIT


def test_a_buffer_holds_a_few_regions_and_shuffles_their_draws():
    s = sampler(buffer=128)
    row, at = s.places(np.arange(4096))
    regions = cells_of(row, at)
    for start in range(0, 4096, 128):
        found, which, counts = np.unique(regions[start : start + 128], axis=0, return_inverse=True, return_counts=True)
        assert len(found) <= 4 and (counts % VISIT == 0).all()
        assert len(found) == 1 or (np.diff(which.ravel()) != 0).mean() > 0.3
    # The order of visits is not that of storage.
    visited = row[::128]
    assert (np.diff(visited) < 0).any()


def test_epochs_and_seeds_differ_and_repeat():
    def plan(epoch=0, **options):
        s = sampler(**options)
        s.set_epoch(epoch)
        return [(q.row, q.window, q.index) for q in s]

    assert plan() == plan()
    assert len({tuple(plan(e, seed=seed)) for e in (0, 1) for seed in (0, 1)}) == 4


@pytest.mark.parametrize("world", [2, 3, 7])
def test_ranks_share_out_one_sequence(world):
    whole = [(q.index, q.row, q.window) for q in sampler(length=1000)]
    parts = [(q.index, q.row, q.window) for r in range(world) for q in sampler(length=1000, rank=r, world=world)]
    assert sorted(parts)[:1000] == whole
    assert len(parts) == -(-1000 // world) * world


def test_it_resumes_and_knows_another_plan():
    s = sampler(length=1000)
    whole = list(s)
    again = sampler(length=1000)
    again.load_state_dict(s.state_dict(consumed=333))
    assert list(again) == whole[333:]
    for other in (sampler(length=1000, buffer=512), RandomPatchSampler(rows(*SHAPES), size=256, length=1000)):
        with pytest.raises(SamplerError, match="another sampler"):
            other.load_state_dict(s.state_dict())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"buffer": 100}, "multiple of 32"),
        ({"buffer": 0}, "buffer=0 must be a whole number of at least 32"),
        ({"shapes": [(256, 260)]}, "1 of 1 rows have fewer windows than the 32 draws .* with 5"),
        ({"shapes": [(600, 600), (256, 256)]}, "first 'item1' with 1|fewer windows"),
        ({"shapes": [(600, 600), (100, 100)]}, "fewer windows"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(SamplerError, match=said):
        sampler(**options)


def test_small_rows_can_be_left_out():
    s = sampler(shapes=[(600, 600), (100, 100)], small="drop", length=64)
    assert {q.row for q in s} == {0}
    with pytest.raises(SamplerError, match="'random' or 'storage'"):
        RandomPatchSampler(rows((600, 600)), size=256, length=1, order="file")


def test_blocks_are_decoded_once_and_pixels_are_those_of_random_order(tmp_path):
    import rasterio

    pixels = np.random.default_rng(0).integers(0, 9, (2, 2048, 2048), dtype=np.uint16)
    profile = {"driver": "GTiff", "count": 2, "height": 2048, "width": 2048, "dtype": "uint16", "crs": "EPSG:32633"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2}
    with rasterio.open(tmp_path / "a.tif", "w", transform=north_up(500000), **profile) as out:
        out.write(pixels)
    ds = RasterDataset(tmp_path, dtype=None)
    decoded = {}
    for order, draws in (("random", 64), ("storage", 512)):
        blocks.cached.clear()
        before, limit = blocks.cached.decoded, blocks.cached.limit
        blocks.cached.limit = (
            24 << 20
        )  # 8 regions of up to 3 x 3 tiles would be 72 MB of 1 MB tiles; all there is, is 16
        drawn = list(RandomPatchSampler(ds, size=256, length=512, order=order))
        for start in range(0, draws, 32):
            queries = drawn[start : start + 32]
            for q, sample in zip(queries, ds.__getitems__(queries), strict=True):
                r, c, h, w = q.window
                np.testing.assert_array_equal(sample["image"].numpy(), pixels[:, r : r + h, c : c + w])
        decoded[order] = blocks.cached.decoded - before
        blocks.cached.limit = limit
    assert decoded["storage"] <= 16


def test_fewer_blocks_are_decoded_than_in_random_order(tmp_path, monkeypatch):
    import rasterio

    profile = {"driver": "GTiff", "count": 1, "height": 4096, "width": 4096, "dtype": "uint8", "crs": "EPSG:32633"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=north_up(500000), **profile) as out:
        out.write(np.ones((1, 4096, 4096), np.uint8))
    ds = RasterDataset(tmp_path, dtype=None)
    monkeypatch.setattr(blocks.cached, "limit", 36 << 18)  # 36 of 64 tiles: the regions of one buffer
    decoded = {}
    for order in ("random", "storage"):
        blocks.cached.clear()
        before = blocks.cached.decoded
        queries = list(RandomPatchSampler(ds, size=256, length=1024, order=order))
        for start in range(0, 1024, 32):
            ds.__getitems__(queries[start : start + 32])
        decoded[order] = blocks.cached.decoded - before
    assert decoded["storage"] * 3 < decoded["random"]
