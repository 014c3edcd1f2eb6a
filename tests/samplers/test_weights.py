"""Rows drawn by their windows times a weight."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from makers import catalog_of, north_up
from scipy.stats import chisquare

from geodata.errors import SamplerError
from geodata.samplers.random import RandomPatchSampler

UTM = "EPSG:32633"
SHAPES = [(20, 20), (12, 30), (8, 8), (40, 9)]
WINDOWS = np.array([13 * 13, 5 * 23, 1, 33 * 2])
WEIGHT = [0.5, 2.0, 40.0, 0.0]


def rows(**columns):
    return catalog_of(*((north_up(500000 + 1e4 * i), s, UTM) for i, s in enumerate(SHAPES)), columns=columns)


def sampler(weights=WEIGHT, length=20_000, **options):
    return RandomPatchSampler(rows(cloud=WEIGHT), size=8, length=length, weights=weights, **options)


@pytest.mark.parametrize("weights", [WEIGHT, np.array(WEIGHT), "cloud"])
def test_a_row_is_drawn_by_windows_times_weight(weights):
    drawn, at = sampler(weights).places(np.arange(20_000))
    mass = WINDOWS * WEIGHT
    counts = np.bincount(drawn, minlength=4)
    assert counts[3] == 0 and chisquare(counts[:3], mass[:3] / mass.sum() * 20_000).pvalue > 1e-4
    starts = at[drawn == 1]
    every = np.bincount(starts[:, 0] * 23 + starts[:, 1], minlength=5 * 23)
    assert len(every) == 5 * 23 and chisquare(every).pvalue > 1e-4


def test_draws_are_pure_and_independent_of_each_other():
    s = sampler()
    drawn, at = s.places(np.arange(20_000))
    again, there = s.places(np.array([19_999, 3, 4096]))
    assert again.tolist() == drawn[[19_999, 3, 4096]].tolist() and there.tolist() == at[[19_999, 3, 4096]].tolist()
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (drawn[:-1], drawn[1:]), 1)
    share = WINDOWS[:3] * WEIGHT[:3] / (WINDOWS * WEIGHT).sum()
    assert chisquare(pairs.ravel(), (np.outer(share, share) * 19_999).ravel()).pvalue > 1e-4
    s.set_epoch(1)
    assert s.places(np.arange(50))[1].tolist() != at[:50].tolist()


def test_weights_and_a_region():
    # Half of row 0 and all of row 1: 13 x 3 windows of 13 x 13, and 5 x 23.
    region = shapely.box(499990.0, 5599790.0, 500101.0, 5600010.0).union(shapely.box(509990, 5599800, 511000, 5600010))
    drawn, at = sampler(within=region, crs=UTM).places(np.arange(20_000))
    mass = np.array([13 * 3 * 0.5, 5 * 23 * 2.0])
    assert chisquare(np.bincount(drawn, minlength=2), mass / mass.sum() * 20_000).pvalue > 1e-4
    assert at[drawn == 0, 1].max() == 2


def test_rows_that_are_left_out_have_no_weight():
    s = RandomPatchSampler(rows(), size=9, length=200, weights=[0, 0, 5, 1], small="drop")
    assert {q.row for q in s} == {3}
    with pytest.raises(SamplerError, match="no row has both a window and a weight above 0"):
        RandomPatchSampler(rows(), size=9, length=200, weights=[0, 0, 5, 0], small="drop")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, 2, 3], r"weights of shape \(3,\) for 4 rows"),
        ([1, 2, 3, -1], "must be finite and 0 or above; row 3 has -1"),
        ([1, np.nan, 3, 1], "must be finite and 0 or above; row 1 has nan"),
        ([0, 0, 0, 0], "are all 0; nothing could be drawn"),
        ("key", "weights='key' must be numbers"),
    ],
)
def test_what_is_refused(weights, said):
    with pytest.raises(SamplerError, match=said):
        sampler(weights)


def test_storage_order_knows_no_weights():
    with pytest.raises(SamplerError, match="need order='random'"):
        sampler(order="storage")


def test_equal_weights_draw_all_windows_alike():
    drawn, at = sampler([1, 1, 1, 1]).places(np.arange(20_000))
    _, counts = np.unique(np.column_stack([drawn, at]), axis=0, return_counts=True)
    assert len(counts) == WINDOWS.sum() and chisquare(counts).pvalue > 1e-4


def test_ranks_and_resume():
    whole = [(q.index, q.row, q.window) for q in sampler(length=30)]
    halves = [(q.index, q.row, q.window) for r in range(2) for q in sampler(length=30, rank=r, world=2)]
    assert sorted(halves) == whole
    for world in (1, 4):
        rest = []
        for rank in range(world):
            again = sampler(length=30, rank=rank, world=world)
            again.load_state_dict(sampler(length=30).state_dict(consumed=10))
            rest += [(q.index, q.row, q.window) for q in again]
        assert sorted(rest) == whole[10:]


# ---------------------------------------------------------------------- rows of different resolution


def mixed_rows():
    return catalog_of(*((north_up(500000 + 1e4 * i, res=r), (60, 60), UTM) for i, r in enumerate((10.0, 20.0, 30.0))))


def test_rows_of_several_resolutions_if_asked_for():
    with pytest.raises(SamplerError, match="or sample them mixed=True and batch them with GroupedBatchSampler"):
        RandomPatchSampler(mixed_rows(), size=16, length=9)
    same = RandomPatchSampler(mixed_rows(), size=16, length=900, mixed=True)
    assert same.size == (16, 16) and {q.row for q in same} == {0, 1, 2}
    ground = RandomPatchSampler(mixed_rows(), size="600m", length=3000, mixed=True)
    assert ground.size is None and ground.windows == 1 + 31**2 + 41**2
    assert {(q.row, *q.window[2:]) for q in ground if q.row} == {(1, 30, 30), (2, 20, 20)}
    assert all(q.window[k] + q.window[k + 2] <= 60 for q in ground for k in (0, 1))
    assert ground.digest != RandomPatchSampler(mixed_rows(), size="590m", length=3000, mixed=True).digest


def test_the_largest_weights_there_are():
    most = float(np.finfo(float).max)
    s = RandomPatchSampler(rows(), size=8, length=2000, weights=[most, most, 0, most])
    few = RandomPatchSampler(rows(), size=8, length=2000, weights=[1, 1, 0, 1])
    np.testing.assert_array_equal(s.places(np.arange(2000))[0], few.places(np.arange(2000))[0])
