"""Windows in rows and columns, and whole items: cover, order, edges, length."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up

from geodata.errors import GridError, SamplerError
from geodata.samplers import GridPatchSampler, ItemSampler

UTM = "EPSG:32633"

SHAPES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4)
SIZES = st.tuples(st.integers(1, 17), st.integers(1, 17))


def rows(*shapes, res=10.0):
    return catalog_of(*((north_up(500000 + 1e4 * i, res=res), s, UTM) for i, s in enumerate(shapes)))


@settings(max_examples=120, deadline=None)
@given(SHAPES, SIZES, st.data(), st.sampled_from(["shift", "pad", "drop"]))
def test_cover_edges_order_and_length(shapes, size, data, edge):
    stride = tuple(data.draw(st.integers(1, s)) for s in size)
    options = {"size": size, "stride": stride, "edge": edge}
    if edge == "drop" and all(h < size[0] or w < size[1] for h, w in shapes):
        with pytest.raises(SamplerError, match=r"no window of .* fits into any of"):
            GridPatchSampler(rows(*shapes), **options)
        return
    sampler = GridPatchSampler(rows(*shapes), **options)
    queries = list(sampler)
    assert len(sampler) == len(queries) and [q.index for q in queries] == list(range(len(queries)))
    places = [(q.row, *q.window[:2]) for q in queries]
    assert places == sorted(set(places)), "row-major, each window once"
    for row, (height, width) in enumerate(shapes):
        count = np.zeros((height, width), int)
        for q in (q for q in queries if q.row == row):
            r, c, h, w = q.window
            assert (h, w) == size and r >= 0 and c >= 0 and r < height and c < width
            if edge == "drop":
                assert r % stride[0] == 0 and c % stride[1] == 0
            if edge == "drop" or (edge == "shift" and height >= h and width >= w):
                assert r + h <= height and c + w <= width
            if edge == "pad":
                assert r % stride[0] == 0 and c % stride[1] == 0
            count[r : r + h, c : c + w] += 1
        if edge == "drop":
            whole = [
                max((n - s) // t, -1) * t + s if n >= s else 0
                for n, s, t in zip((height, width), size, stride, strict=True)
            ]
            assert (count[: whole[0], : whole[1]] > 0).all() or 0 in whole
        else:
            assert (count > 0).all(), "every pixel is covered"
        if stride == size and edge != "shift":
            assert count.max(initial=0) <= 1


def test_no_window_is_there_for_nothing():
    """With pad, the last window of a row still has pixels that no other one has."""
    starts = lambda n, **o: [q.window[1] for q in GridPatchSampler(rows((8, n)), size=8, edge="pad", **o)]  # noqa: E731
    assert starts(16) == [0, 8] and starts(17) == [0, 8, 16] and starts(8) == [0] and starts(3) == [0]
    assert starts(16, stride=4) == [0, 4, 8] and starts(13, stride=4) == [0, 4, 8]


def test_the_last_window_is_moved_inside():
    places = [q.window for q in GridPatchSampler(rows((10, 21)), size=(10, 8), stride=(10, 8))]
    assert places == [(0, 0, 10, 8), (0, 8, 10, 8), (0, 13, 10, 8)]


def test_strides_and_ground_sizes():
    assert len(GridPatchSampler(rows((100, 100)), size="400m", stride="200m")) == 4 * 4
    assert GridPatchSampler(rows((100, 100)), size=(40, 20)).stride == (40, 20)
    with pytest.raises(
        SamplerError,
        match=r"stride \(41, 41\) is larger than size \(40, 40\) and would leave gaps; use a stride up to the size",
    ):
        GridPatchSampler(rows((100, 100)), size=40, stride=41)
    with pytest.raises(GridError, match="must be at least 1"):
        GridPatchSampler(rows((100, 100)), size=40, stride=0)
    with pytest.raises(SamplerError, match="edge='wrap' must be 'shift', 'pad' or 'drop'"):
        GridPatchSampler(rows((100, 100)), size=40, edge="wrap")
    with pytest.raises(SamplerError, match=r"no window of \(40, 40\) fits into any of 2 rows; use edge='pad'"):
        GridPatchSampler(rows((39, 100), (100, 39)), size=40, edge="drop")


class Native:
    def __init__(self, catalog, step):
        self.catalog, self.step = catalog, step


@pytest.mark.parametrize("edge", ["shift", "pad", "drop"])
def test_windows_on_a_native_lattice_are_multiples_of_the_ratio(edge):
    queries = list(GridPatchSampler(Native(rows((60, 42), (18, 6)), 6), size=24, stride=18, edge=edge))
    assert queries and all(n % 6 == 0 for q in queries for n in q.window)
    for options in ({"size": 20}, {"size": 24, "stride": 10}):
        with pytest.raises(SamplerError, match="is no multiple of the native ratio 6; use"):
            GridPatchSampler(Native(rows((60, 42)), 6), **options)


def test_two_thousand_sparse_items_cost_what_their_windows_cost():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 3e6, (2, 2000))
    catalog = catalog_of(*((north_up(a, b), (120, 120), "EPSG:3035") for a, b in zip(x, y, strict=True)))
    start = time.perf_counter()
    assert len(GridPatchSampler(catalog, size=64)) == 2000 * 4
    taken = time.perf_counter() - start
    print(f"len of a GridPatchSampler over 2,000 items: {1e3 * taken:.1f} ms")
    assert taken < 1


def test_mixed_resolutions_are_refused_and_no_crs_is_fine():
    mixed = catalog_of((north_up(), (64, 64), UTM), (north_up(x=600000, res=30), (64, 64), UTM))
    with pytest.raises(SamplerError, match="sample rows of one resolution apart"):
        GridPatchSampler(mixed, size=32)
    plain = catalog_of((north_up(0, 0, 1), (64, 64), None), (north_up(0, 0, 2), (32, 64), None))
    assert len(GridPatchSampler(plain, size=32)) == 6


@pytest.mark.parametrize("edge", ["shift", "pad", "drop"])
def test_each_row_in_windows_of_its_own_size(edge):
    two = catalog_of((north_up(), (64, 50), UTM), (north_up(x=600000, res=20), (64, 50), UTM))
    sampler = GridPatchSampler(two, size="400m", stride="300m", edge=edge, mixed=True)
    assert sampler.size is None and sampler.stride is None
    found = [(q.row, q.window) for q in sampler]
    alone = [GridPatchSampler(two.take([row]), size="400m", stride="300m", edge=edge) for row in (0, 1)]
    assert [s.size for s in alone] == [(40, 40), (20, 20)] and len(sampler) == len(found)
    assert found == [(row, q.window) for row in (0, 1) for q in alone[row]]
    assert sampler.digest != GridPatchSampler(two, size="400m", stride="400m", edge=edge, mixed=True).digest
    with pytest.raises(SamplerError, match=r"stride \(40, 40\) is larger than size \(30, 30\)"):
        GridPatchSampler(two, size="300m", stride="400m", mixed=True)
    with pytest.raises(SamplerError, match="size 15 x 15 is no multiple of the native ratio 2"):
        GridPatchSampler(Native(two, 2), size="300m", mixed=True)


# ---------------------------------------------------------------------- items


def test_items_in_order():
    sampler = ItemSampler(rows((3, 4), (5, 6), (7, 8)))
    assert [(q.row, q.window, q.index, q.epoch) for q in sampler] == [(0, None, 0, 0), (1, None, 1, 0), (2, None, 2, 0)]
    assert len(sampler) == 3


def test_items_shuffled_anew_each_epoch():
    catalog = rows(*[(4, 4)] * 50)
    sampler = ItemSampler(catalog, shuffle=True, seed=3)
    orders = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        orders.append([q.row for q in sampler])
        assert sorted(orders[-1]) == list(range(50)) and orders[-1] != list(range(50))
        again = ItemSampler(catalog, shuffle=True, seed=3)
        again.set_epoch(epoch)
        assert [q.row for q in again] == orders[-1]
    assert len({tuple(o) for o in orders}) == 4
    assert [q.row for q in ItemSampler(catalog, shuffle=True, seed=4)] != orders[0]


def test_a_shuffle_puts_every_item_everywhere():
    sampler = ItemSampler(rows(*[(4, 4)] * 6), shuffle=True, seed=0)
    counts = np.zeros((6, 6))
    for epoch in range(3000):
        sampler.set_epoch(epoch)
        counts[np.arange(6), [q.row for q in sampler]] += 1
    # Each cell is binomial(3000, 1/6) with a standard deviation of 20.
    assert np.abs(counts - 500).max() < 5 * 20.4


def test_items_of_any_size_and_resolution_are_items():
    mixed = catalog_of((north_up(), (64, 64), UTM), (north_up(x=600000, res=30), (4, 9), UTM))
    assert len(ItemSampler(mixed)) == 2
