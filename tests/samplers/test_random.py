"""Random windows: every admissible one equally likely, each draw a function of three integers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up
from scipy.stats import chisquare

from geodata.errors import GridError, SamplerError
from geodata.samplers import RandomPatchSampler

UTM = "EPSG:32633"


def rows(*shapes, crs=UTM, res=10.0):
    return catalog_of(*((north_up(500000 + 1e4 * i, res=res), s, crs) for i, s in enumerate(shapes)))


def windows(sampler):
    return [(q.row, *q.window) for q in sampler]


# ---------------------------------------------------------------------- uniform


def assert_uniform(counts, alpha=1e-4):
    assert len(counts) > 1 and chisquare(counts).pvalue > alpha


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_every_start_of_a_512_pixel_item_is_equally_likely(seed):
    sampler = RandomPatchSampler(rows((512, 512)), size=256, length=100_000, seed=seed)
    _, at = sampler.places(np.arange(100_000))
    assert at.min() == 0 and at.max() == 256
    # All 257 x 257 starts at once would be 1.5 draws each: blocks of 16 (the last one of 17) are, and rows and columns one by one.
    block = np.minimum(at // 16, 15)
    expected = np.where(np.arange(16) == 15, 17, 16) / 257
    counts = np.zeros((16, 16))
    np.add.at(counts, (block[:, 0], block[:, 1]), 1)
    assert chisquare(counts.ravel(), np.outer(expected, expected).ravel() * 100_000).pvalue > 1e-4
    for axis in (0, 1):
        assert_uniform(np.bincount(at[:, axis], minlength=257))


def test_every_single_window_of_small_items_corners_included():
    shapes = [(7, 9), (4, 4), (12, 5)]
    sampler = RandomPatchSampler(rows(*shapes), size=4, length=100_000, seed=3)
    per_row = [(h - 3) * (w - 3) for h, w in shapes]
    assert sampler.windows == sum(per_row) == 24 + 1 + 18
    found, counts = np.unique(windows(sampler), axis=0, return_counts=True)
    admissible = {(i, r, c, 4, 4) for i, (h, w) in enumerate(shapes) for r in range(h - 3) for c in range(w - 3)}
    assert {tuple(f) for f in found.tolist()} == admissible
    assert_uniform(counts)


def test_draws_are_independent_of_the_one_before():
    _, at = RandomPatchSampler(rows((40, 40)), size=31, length=100_000, seed=0).places(np.arange(100_000))
    start = at[:, 0] * 10 + at[:, 1]
    pairs = np.zeros((100, 100))
    np.add.at(pairs, (start[:-1], start[1:]), 1)
    assert_uniform(pairs.ravel())
    other = RandomPatchSampler(rows((40, 40)), size=31, length=100_000, seed=1).places(np.arange(100_000))[1]
    across = np.zeros((100, 100))
    np.add.at(across, (start, other[:, 0] * 10 + other[:, 1]), 1)
    assert_uniform(across.ravel())


# ---------------------------------------------------------------------- admissible


def test_an_item_as_large_as_the_patch_and_one_a_fifth_larger():
    exact = RandomPatchSampler(rows((64, 64)), size=64, length=10)
    assert len(exact) == len(windows(exact)) == 10 and set(windows(exact)) == {(0, 0, 0, 64, 64)}
    larger = RandomPatchSampler(rows((77, 77)), size=64, length=3000)
    assert len(list(larger)) == len(larger) == 3000 and larger.windows == 14 * 14
    assert len(set(windows(larger))) > 180


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 2**63),
)
def test_windows_lie_inside_unless_the_item_is_smaller(shapes, size, seed):
    sampler = RandomPatchSampler(rows(*shapes), size=size, length=64, seed=seed)
    for row, r, c, h, w in windows(sampler):
        assert (h, w) == size and r >= 0 and c >= 0
        assert r + h <= max(shapes[row][0], h) and c + w <= max(shapes[row][1], w)
    assert sampler.small_rows == sum(h < size[0] or w < size[1] for h, w in shapes)


def test_small_items_are_padded_dropped_or_refused():
    catalog = rows((40, 40), (10, 40), (10, 10))
    padded = RandomPatchSampler(catalog, size=32, length=5000)
    assert padded.small_rows == 2 and padded.windows == 81 + 9 + 1
    assert {q.window[:2] for q in padded if q.row == 2} == {(0, 0)}
    assert {q.window[:2] for q in padded if q.row == 1} == {(0, c) for c in range(9)}, (
        "it is moved along the side that is long enough"
    )
    dropped = RandomPatchSampler(catalog, size=32, length=500, small="drop")
    assert {q.row for q in dropped} == {0} and dropped.windows == 81
    with pytest.raises(
        SamplerError, match=r"2 of 3 rows are smaller than \(32, 32\), first 'k1'; small='pad' pads them"
    ):
        RandomPatchSampler(catalog, size=32, length=5, small="raise")
    with pytest.raises(SamplerError, match=r"all 3 rows are smaller than \(64, 64\), and small='drop' leaves them out"):
        RandomPatchSampler(catalog, size=64, length=5, small="drop")


class Native:
    """What a sampler looks at: a catalog and the native ratio of its bands."""

    def __init__(self, catalog, step):
        self.catalog, self.step = catalog, step


def test_starts_on_a_native_lattice_are_multiples_of_the_ratio():
    sampler = RandomPatchSampler(Native(rows((60, 48)), 6), size=(12, 18), length=4000)
    assert sampler.windows == 9 * 6
    found = {w[1:3] for w in windows(sampler)}
    assert found == {(6 * r, 6 * c) for r in range(9) for c in range(6)}
    with pytest.raises(SamplerError, match="size 512 x 512 is no multiple of the native ratio 6; use 510"):
        RandomPatchSampler(Native(rows((600, 600)), 6), size=512, length=4)


def test_ground_sizes_are_pixels_of_each_row():
    assert RandomPatchSampler(rows((400, 400)), size="2560m", length=1).size == (256, 256)
    assert RandomPatchSampler(rows((400, 400), res=20.0), size="2.56km", length=1).size == (128, 128)
    assert RandomPatchSampler(rows((400, 400)), size=(12, 30), length=1).size == (12, 30)


# ---------------------------------------------------------------------- pure


def test_a_draw_is_a_function_of_seed_epoch_and_number():
    catalog = rows((300, 200), (90, 400))
    sampler = RandomPatchSampler(catalog, size=32, length=10_000, seed=5)
    sampler.set_epoch(3)
    everything = list(sampler)
    assert [q.index for q in everything] == list(range(10_000)) and {q.epoch for q in everything} == {3}
    alone = RandomPatchSampler(catalog, size=32, length=3, seed=5)
    alone.set_epoch(3)
    for i in (0, 1, 2, 4095, 4096, 4097, 9999):
        assert next(alone.draw(np.array([i]))) == everything[i]
    backwards = [q.index for q in alone.draw(np.array([9, 2, 2, 7]))]
    assert backwards == [9, 2, 2, 7] and list(alone.draw(np.array([9, 2, 7])))[1] == everything[2]
    shorter = RandomPatchSampler(catalog, size=32, length=77, seed=5)
    shorter.set_epoch(3)
    assert list(shorter) == everything[:77]


def test_seeds_and_epochs_differ_and_repeat():
    def draws(seed, epoch):
        sampler = RandomPatchSampler(rows((300, 200)), size=32, length=50, seed=seed)
        sampler.set_epoch(epoch)
        return windows(sampler)

    seen = {tuple(draws(s, e)) for s in range(5) for e in range(5)}
    assert len(seen) == 25 and draws(2, 3) == draws(2, 3)
    assert draws(1, 2) != draws(2, 1)


def test_iterating_again_gives_the_same_epoch():
    sampler = RandomPatchSampler(rows((300, 200)), size=32, length=50)
    first = windows(sampler)
    assert windows(sampler) == first
    half = iter(sampler)
    [next(half) for _ in range(20)]
    assert windows(sampler) == first, "a pass that was broken off leaves nothing behind"
    sampler.set_epoch(1)
    assert windows(sampler) != first


def philox(key, counter):
    """First word of Philox4x64-10 (Salmon et al., 2011), from the paper."""
    mask = 2**64 - 1
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (high >> 64) ^ b ^ k0, high & mask, (low >> 64) ^ d ^ k1, low & mask
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return a


def test_these_windows_never_change():
    """A seed written down in a paper means the same windows for ever, on every platform."""
    sampler = RandomPatchSampler(rows((300, 200), (90, 400)), size=32, length=4, seed=42)
    sampler.set_epoch(1)
    counts = [269 * 169, 59 * 369]
    wanted = []
    for i in range(4):
        pick = philox((42, 1), (i + 1, 0, 0, 0)) % sum(counts)
        row, across = (0, 169) if pick < counts[0] else (1, 369)
        pick -= row * counts[0]
        wanted.append((row, pick // across, pick % across, 32, 32))
    assert windows(sampler) == wanted == PINNED


PINNED = [(1, 50, 159, 32, 32), (0, 57, 89, 32, 32), (1, 24, 333, 32, 32), (0, 183, 10, 32, 32)]


# ---------------------------------------------------------------------- cheap, and refused


def test_two_thousand_sparse_items_cost_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 3e6, (2, 2000))
    catalog = catalog_of(*((north_up(a, b), (120, 120), "EPSG:3035") for a, b in zip(x, y, strict=True)))
    start = time.perf_counter()
    sampler = RandomPatchSampler(catalog, size=64, length=100_000)
    assert len(sampler) == 100_000
    taken = time.perf_counter() - start
    print(f"RandomPatchSampler over 2,000 items: {1e3 * taken:.1f} ms")
    assert taken < 1


@pytest.mark.parametrize(
    ("shapes", "options", "error", "said"),
    [
        ([(64, 64)], {"size": 32, "length": 0}, SamplerError, "length=0 must be a whole number of at least 1"),
        (
            [(64, 64)],
            {"size": 32, "length": 5, "small": "skip"},
            SamplerError,
            "small='skip' must be 'pad', 'drop' or 'raise'",
        ),
        (
            [(64, 64)],
            {"size": 32, "length": 5, "seed": -1},
            SamplerError,
            "seed=-1 must be a whole number of at least 0",
        ),
        ([(64, 64)], {"size": 32, "length": 5, "seed": 2**64}, SamplerError, "seed"),
        ([(64, 64)], {"size": 0, "length": 5}, GridError, "size 0 gives 0 pixels; it must be at least 1"),
        ([(64, 64)], {"size": -3, "length": 5}, GridError, "must be at least 1"),
        ([(64, 64)], {"size": 32.5, "length": 5}, GridError, r"must be whole pixels.*or a ground size"),
        ([(64, 64)], {"size": "32px", "length": 5}, GridError, "must be a number of pixels, or a ground size"),
        ([(64, 64)], {"size": "3m", "length": 5}, GridError, "gives 0 pixels"),
        ([], {"size": 32, "length": 5}, SamplerError, "the catalog is empty; there is nothing to sample"),
    ],
)
def test_what_cannot_be_sampled(shapes, options, error, said):
    with pytest.raises(error, match=said):
        RandomPatchSampler(rows(*shapes), **options)


def test_rows_of_several_resolutions_do_not_share_a_batch():
    mixed = catalog_of((north_up(), (64, 64), UTM), (north_up(x=600000, res=30), (64, 64), UTM))
    with pytest.raises(
        SamplerError,
        match=r"pixels of 10 to 30 m: windows of 32 x 32 pixels would mix ground sizes.*sample rows of one resolution apart",
    ):
        RandomPatchSampler(mixed, size=32, length=5)
    with pytest.raises(SamplerError, match="in different rows, which cannot share a batch"):
        RandomPatchSampler(mixed, size="600m", length=5)
    with pytest.raises(GridError, match="a ground size needs rows in a metric CRS, got EPSG:4326"):
        RandomPatchSampler(catalog_of((north_up(10, 50, 0.001), (64, 64), "EPSG:4326")), size="600m", length=5)


def test_rows_without_pixels_are_not_sampled():
    layer = catalog_of((north_up(), (1, 1), UTM), lattice=False)
    with pytest.raises((SamplerError, GridError), match="join them to a raster, or give the dataset res="):
        RandomPatchSampler(layer, size=4, length=5)
    with pytest.raises(SamplerError, match="a sampler needs a dataset or a catalog, got list"):
        RandomPatchSampler([1, 2], size=4, length=5)


@pytest.mark.parametrize("epoch", [-1, -5])
def test_epochs_count_from_0(epoch):
    with pytest.raises(SamplerError, match=f"epoch={epoch} must be a whole number of at least 0"):
        RandomPatchSampler(rows((64, 64)), size=4, length=5).set_epoch(epoch)
