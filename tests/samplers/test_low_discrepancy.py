"""Sobol windows: each uniform, together more even than independent ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from makers import catalog_of, north_up
from scipy.stats import chisquare, qmc

from geodata.errors import SamplerError
from geodata.samplers.draws import uniform64
from geodata.samplers.random import RandomPatchSampler
from geodata.samplers.sobol import LowDiscrepancySampler

UTM = "EPSG:32633"


def rows(*shapes):
    return catalog_of(*((north_up(500000 + 1e5 * i), s, UTM) for i, s in enumerate(shapes)))


def sampler(length=1024, shapes=((300, 400), (200, 150)), size=32, **options):
    return LowDiscrepancySampler(rows(*shapes), size=size, length=length, **options)


def test_fewer_empty_cells_and_less_discrepancy_than_independent_draws():
    catalog = rows((1055, 1055))
    empty, rough = {}, {}
    for kind in (RandomPatchSampler, LowDiscrepancySampler):
        counts = []
        for epoch in range(8):
            s = kind(catalog, size=32, length=1024, seed=1)
            s.set_epoch(epoch)
            _, at = s.places(np.arange(1024))
            hit = np.zeros((32, 32), int)
            np.add.at(hit, tuple(at.T // 32), 1)
            counts.append(((hit == 0).sum(), qmc.discrepancy((at + 0.5) / 1024)))
        empty[kind], rough[kind] = np.mean(counts, axis=0)
    # Of 1024 cells and as many independent draws, 1/e stay empty.
    assert abs(empty[RandomPatchSampler] / 1024 - np.exp(-1)) < 0.02
    assert empty[LowDiscrepancySampler] < 0.6 * empty[RandomPatchSampler]
    assert rough[LowDiscrepancySampler] < 0.05 * rough[RandomPatchSampler]


def test_rows_get_their_share_to_a_draw_or_two():
    drawn, _ = sampler(length=1024).places(np.arange(1024))
    windows = np.array([269 * 369, 169 * 119])
    assert np.abs(np.bincount(drawn) - windows / windows.sum() * 1024).max() < 3


def test_each_draw_alone_is_uniform():
    s = sampler(shapes=((6, 5), (4, 7)), size=4)
    found = np.empty((250, 3), int)
    for epoch in range(250):
        s.set_epoch(epoch)
        row, at = s.places(np.array([5]))
        found[epoch] = row[0], *at[0]
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == s.windows == 3 * 2 + 4 and chisquare(counts).pvalue > 1e-4


def test_a_draw_is_a_function_of_seed_epoch_and_number():
    s = sampler(length=10_000, seed=3)
    s.set_epoch(2)
    whole = list(s)
    assert [q.index for q in whole] == list(range(10_000)) and len(s) == 10_000
    alone = sampler(length=10_000, seed=3)
    alone.set_epoch(2)
    for i in (9_999, 0, 4096, 4095, 17):
        assert next(alone.draw(np.array([i]))) == whole[i]
    other = sampler(length=10_000, seed=4)
    other.set_epoch(2)
    assert [q.window for q in other] != [q.window for q in whole]
    s.set_epoch(3)
    assert [q.window for q in s] != [q.window for q in whole]


def test_ranks_and_resume_are_the_single_sequence():
    whole = [(q.index, q.row, q.window) for q in sampler(length=101)]
    first = [list(sampler(length=101, rank=r, world=2))[:10] for r in range(2)]
    assert [(q.index, q.row, q.window) for pair in zip(*first, strict=True) for q in pair] == whole[:20]
    for world in (1, 4):
        rest = []
        for rank in range(world):
            again = sampler(length=101, rank=rank, world=world)
            again.load_state_dict(sampler(length=101).state_dict(consumed=20))
            assert len(again) == -(-81 // world)
            rest += [(q.index, q.row, q.window) for q in again]
        assert sorted(rest)[:81] == whole[20:]


def test_native_lattices_small_rows_and_mixed_sizes():
    class Native:
        catalog, step = rows((60, 48)), 6

    s = LowDiscrepancySampler(Native, size=12, length=512)
    assert {q.window[:2] for q in s} == {(6 * r, 6 * c) for r in range(9) for c in range(7)}
    small = sampler(shapes=((10, 40), (40, 40)), length=256)
    assert small.small_rows == 1 and {q.window[0] for q in small if q.row == 0} == {0}
    assert {q.row for q in sampler(shapes=((10, 40), (40, 40)), length=256, small="drop")} == {1}
    both = catalog_of((north_up(), (64, 64), UTM), (north_up(x=600000, res=30), (64, 64), UTM))
    s = LowDiscrepancySampler(both, size="600m", length=64, mixed=True)
    assert {(q.row, *q.window[2:]) for q in s} <= {(0, 60, 60), (1, 20, 20)} and s.size is None


def test_what_is_refused_and_which_plans_differ():
    for options, said in (
        ({"length": 0}, "length=0 must be a whole number of at least 1"),
        ({"size": 500, "small": "raise"}, r"2 of 2 rows are smaller than \(500, 500\)"),
        ({"size": 500, "small": "drop"}, "leaves them out"),
        ({"small": "skip"}, "small='skip'"),
    ):
        with pytest.raises(SamplerError, match=said):
            sampler(**options)
    plans = [sampler(), sampler(size=31), sampler(length=1023), sampler(seed=1), sampler(shapes=((300, 400),))]
    plans.append(RandomPatchSampler(rows((300, 400), (200, 150)), size=32, length=1024))
    assert len({s.digest for s in plans}) == len(plans)


def test_these_windows_never_change():
    """A seed written down in a paper means the same windows; torch's points are a part of that."""
    assert [(q.row, *q.window) for q in sampler(length=4, seed=42)] == PINNED


PINNED = [(0, 45, 270, 32, 32), (0, 163, 111, 32, 32), (0, 92, 281, 32, 32), (1, 153, 24, 32, 32)]


def test_any_points_of_the_sequence_at_once():
    s = sampler(length=5000, seed=3)
    s.set_epoch(2)
    shift, _ = s._scrambled()
    seed = int(uniform64(3, 2, np.zeros(1, dtype=np.int64), 40)[0] >> np.uint64(1))
    engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=seed)
    np.testing.assert_array_equal(shift, engine.shift.numpy())
    wanted = np.floor(engine.draw(5000, dtype=torch.float64).numpy() * 2**30)
    found = np.floor(s._points(np.arange(5000)) * 2**30)
    # torch rounds its first point, the shift itself, to single precision.
    np.testing.assert_array_equal(found[1:], wanted[1:])
    np.testing.assert_array_equal(found[0], shift)
    some = np.array([4000, 7, 2])
    np.testing.assert_array_equal(s._points(some), s._points(np.arange(5000))[some])
