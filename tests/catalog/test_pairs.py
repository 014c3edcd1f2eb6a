"""Joins by place and time, against all pairs tried one by one."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from affine import Affine
from brute import clear_meeting, times_meet
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up

from geodata.errors import CatalogError, CRSError

UTM = "EPSG:32633"

cells = st.tuples(*[st.integers(0, 10)] * 2, *[st.integers(1, 5)] * 2)
spans = st.tuples(st.integers(0, 4), st.integers(0, 3)).map(lambda p: (float(p[0]), float(p[0] + p[1])))
many = st.lists(st.tuples(cells, spans), min_size=1, max_size=6)


def pixels(cell):
    c, r, w, h = cell
    return {(x, y) for x in range(c, c + w) for y in range(r, r + h)}


def on_one_lattice(cells_and_times, prefix, res=10):
    """Footprints of whole cells of 10 m; with res=2.5 the pixels are finer but the places are the same."""
    k = int(10 / res)
    items = [
        (north_up(500000 + 10 * c, 5600000 - 10 * r, res), (h * k, w * k), UTM) for (c, r, w, h), _ in cells_and_times
    ]
    return catalog_of(*items, prefix=prefix, time=[t for _, t in cells_and_times])


@given(many, many)
@settings(deadline=None)
def test_pairs_are_those_with_a_pixel_and_a_moment_in_common(left, right):
    a, b = on_one_lattice(left, "a"), on_one_lattice(right, "b", 2.5)
    wanted = [
        (i, j)
        for (i, (p, s)), (j, (q, t)) in product(enumerate(left), enumerate(right))
        if pixels(p) & pixels(q) and times_meet(s, t)
    ]
    i, j = a.pairs(b)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == wanted
    assert i.dtype == j.dtype == np.int64


def exactly_shared(a, b):
    """How far two upright items overlap along x and y, in exact arithmetic, and the tolerance of a millionth pixel."""
    (one, (h1, w1), _), (two, (h2, w2), _) = a, b
    shared = []
    for start, step, n, start2, step2, n2 in (
        (one.c, one.a, w1, two.c, two.a, w2),
        (one.f, one.e, h1, two.f, two.e, h2),
    ):
        ends, ends2 = (start, start + step * n), (start2, start2 + step2 * n2)
        least = Fraction(1, 10**6) * min(abs(Fraction(step)), abs(Fraction(step2)))
        shared.append(
            (min(Fraction(max(ends)), Fraction(max(ends2))) - max(Fraction(min(ends)), Fraction(min(ends2))), least)
        )
    return shared


@pytest.mark.parametrize("other", [10.0, 2.5, 1e-3])
@pytest.mark.parametrize("res", [10.0, 2.5, 1e-3, 1e-5])
def test_neighbours_share_nothing_below_a_millionth_of_a_pixel(res, other):
    """The finer pixel of the two counts; at 1e-5 m a millionth of it is less than what float64 holds of a northing."""
    step = 1e-6 * min(res, other)
    near = [k * step for k in (-50, -2, -1.01, -0.5, 0, 0.5, 0.99, 1.01, 2, 50)]
    lefts = [(north_up(500000, 5600000, res), (4, 4), UTM), (north_up(500000 - 4 * res, 5600000, res), (4, 4), UTM)]
    rights = [(north_up(500000 + 4 * res - d, 5600000 - e, other), (6, 6), UTM) for d in near for e in near]
    i, j = catalog_of(*lefts).pairs(catalog_of(*rights))
    met = set(zip(i.tolist(), j.tolist(), strict=True))
    sure = 0
    for pair in product(range(len(lefts)), range(len(rights))):
        shared = exactly_shared(lefts[pair[0]], rights[pair[1]])
        if all(abs(found - least) > least / 1000 for found, least in shared):
            assert (pair in met) is all(found > least for found, least in shared), pair
            sure += 1
    assert sure > 100 and met and len(met) < 2 * len(rights)


@given(many, many)
@settings(deadline=None)
def test_a_join_keeps_the_rows_of_the_left_that_meet(left, right):
    a, b = on_one_lattice(left, "a"), on_one_lattice(right, "b", 2.5)
    wanted = [i for i, (p, s) in enumerate(left) if any(pixels(p) & pixels(q) and times_meet(s, t) for q, t in right)]
    joined = a.join(b)
    assert joined.key.tolist() == [f"a{i}" for i in wanted]
    assert np.array_equal(joined.affine, a.affine[wanted])
    assert np.array_equal(joined.time, a.time[wanted])


@given(many, many)
@settings(deadline=None)
def test_within_wants_every_pixel_covered_by_some_row(left, right):
    a, b = on_one_lattice(left, "a"), on_one_lattice(right, "b", 2.5)
    wanted = []
    for i, (p, s) in enumerate(left):
        covered = set().union(*[pixels(q) for q, t in right if times_meet(s, t)])
        if pixels(p) <= covered:
            wanted.append(i)
    assert a.join(b, how="within").key.tolist() == [f"a{i}" for i in wanted]


@given(many, many, many)
@settings(deadline=None, max_examples=30)
def test_joining_with_two_is_joining_with_one_and_then_the_other(left, middle, right):
    a, b, c = on_one_lattice(left, "a"), on_one_lattice(middle, "b"), on_one_lattice(right, "c")
    assert a.join(b).join(c).key.tolist() == a.join(c).join(b).key.tolist()


@pytest.mark.parametrize(
    ("lon_systems", "place"),
    [
        (("EPSG:32633", "EPSG:32632", "EPSG:4326"), (500000.0, 5600000.0)),
        (("EPSG:32737", "EPSG:4326", "EPSG:3857"), (500000.0, 9800000.0)),
    ],
)
def test_pairs_across_crss(lon_systems, place):
    from pyproj import Transformer

    rng = np.random.default_rng(5)
    lon, lat = Transformer.from_crs(lon_systems[0], "OGC:CRS84", always_xy=True).transform(*place)

    def some(n):
        items = []
        for _ in range(n):
            crs = lon_systems[rng.integers(len(lon_systems))]
            unit = 1 / 111e3 if crs == "EPSG:4326" else 1.0
            x, y = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(lon, lat)
            x, y = x + rng.uniform(-4e4, 4e4) * unit, y + rng.uniform(-4e4, 4e4) * unit
            transform = Affine(10 * unit, 0, x, 0, -10 * unit, y)
            if rng.random() < 0.2:
                transform = transform @ Affine.rotation(rng.uniform(0, 360))
            items.append((transform, tuple(int(v) for v in rng.integers(50, 4000, 2)), crs))
        return items

    left, right = some(14), some(14)
    i, j = catalog_of(*left).pairs(catalog_of(*right))
    found = set(zip(i.tolist(), j.tolist(), strict=True))
    assert len(found) == len(i)
    assert sorted(found) == list(zip(i.tolist(), j.tolist(), strict=True))
    sure = {(m, n): clear_meeting(left[m], right[n]) for m, n in product(range(14), range(14))}
    assert {p for p, meets in sure.items() if meets} <= found
    assert not found & {p for p, meets in sure.items() if meets is False}
    assert 10 < len(found) < 190


def test_within_across_crss():
    """A box in degrees that holds the scene by a margin, and one whose edge is bent into it."""
    scene = catalog_of((north_up(300000, 5600000), (5000, 5000), UTM))
    ring = np.array([[12.17, 50.01], [12.97, 50.53]])
    (west, south), (east, north) = ring

    def degrees(w, s, e, n):
        return catalog_of((north_up(w, n, e - w, n - s), (1, 1), "EPSG:4326"))

    assert len(scene.join(degrees(west - 0.05, south - 0.05, east + 0.05, north + 0.05), how="within")) == 1
    assert len(scene.join(degrees(west + 0.1, south - 0.05, east + 0.05, north + 0.05), how="within")) == 0
    halves = degrees(west - 0.05, south - 0.05, 12.5, north + 0.05).concat(
        catalog_of(
            (north_up(12.5, north + 0.05, east + 0.05 - 12.5, north - south + 0.1), (1, 1), "EPSG:4326"), prefix="m"
        )
    )
    assert len(scene.join(halves, how="within")) == 1


@pytest.mark.parametrize("crs", [UTM, "EPSG:25833"])
def test_a_row_of_pixels_that_is_missing_is_missed(crs):
    """One row of 5000, or 10 x 10 pixels of a corner, are not nothing."""
    scene = catalog_of((north_up(300000, 5600000), (5000, 5000), UTM))
    whole = catalog_of((north_up(300000, 5600000), (5000, 5000), crs), prefix="b")
    short = catalog_of((north_up(300000, 5600000), (4999, 5000), crs), prefix="b")
    left = catalog_of(
        (north_up(300000, 5600000), (5000, 4990), crs), (north_up(349900, 5599900), (4990, 10), crs), prefix="b"
    )
    assert [len(scene.join(b, how="within")) for b in (whole, short, left)] == [1, 0, 0]
    assert [len(scene.join(b)) for b in (whole, short, left)] == [1, 1, 1]


@pytest.mark.parametrize("degrees", [0, 30])
def test_what_two_cover_together_is_counted_once(degrees):
    """Three quarters, and the same three quarters again: a quarter is missing, though the sum is more than the whole."""
    whole = turned(degrees, 0, 0, 8, 8)
    most, rest = turned(degrees, 0, 0, 6, 8), turned(degrees, 5, 0, 3, 8)
    assert len(catalog_of(whole).join(catalog_of(most, most), how="within")) == 0
    assert len(catalog_of(whole).join(catalog_of(most, rest), how="within")) == 1


def turned(degrees, col, row, width, height):
    """A block of a lattice that is turned about its first corner."""
    lattice = north_up(500000, 5600000) @ Affine.rotation(degrees)
    return lattice @ Affine.translation(col, row), (height, width), UTM


def test_within_needs_the_time_too():
    one = on_one_lattice([((0, 0, 2, 2), (0.0, 10.0))], "a")
    early, late = (((0, 0, 2, 2), (0.0, 5.0)), ((0, 0, 2, 2), (10.0, 20.0)))
    assert len(one.join(on_one_lattice([early], "b"), how="within")) == 1
    assert len(one.join(on_one_lattice([late], "b"), how="within")) == 0


def test_time_open_on_both_sides_meets_everything():
    a = catalog_of((north_up(), (8, 8), UTM), time=[(-math.inf, math.inf)])
    b = catalog_of((north_up(), (8, 8), UTM), time=[(5.0, 5.0)], prefix="b")
    assert [v.tolist() for v in a.pairs(b)] == [[0], [0]]


def test_empty_sides_give_empty_joins():
    some = on_one_lattice([((0, 0, 2, 2), (0.0, 10.0))], "a")
    none = some.take([])
    for a, b in ((some, none), (none, some), (none, none)):
        assert [v.tolist() for v in a.pairs(b)] == [[], []]
        assert len(a.join(b)) == len(a.join(b, how="within")) == 0


def test_what_cannot_be_joined():
    some = on_one_lattice([((0, 0, 2, 2), (0.0, 10.0))], "a")
    with pytest.raises(CatalogError, match="'intersects' or 'within'"):
        some.join(some, how="contains")
    nowhere = catalog_of((north_up(0, 0, 1), (8, 8), None))
    for a, b in ((some, nowhere), (nowhere, some)):
        with pytest.raises(CRSError, match="no CRS"):
            a.join(b)


def test_a_join_of_many_is_quick_enough_to_be_used():
    """100 x 100 tiles with 50 x 50 others: every tile is found by its cell, none is paired with a stranger."""
    a = catalog_of((north_up(500000, 5600000), (2560, 2560), UTM)).tile(256 // 10)
    b = catalog_of((north_up(500000, 5600000, 20), (1280, 1280), UTM)).tile(25)
    i, j = a.pairs(b)
    (ra, ca), (rb, cb) = a.origin[i].T, b.origin[j].T
    assert (np.minimum(ra + 25, 2 * (rb + 25)) > np.maximum(ra, 2 * rb)).all()
    assert (np.minimum(ca + 25, 2 * (cb + 25)) > np.maximum(ca, 2 * cb)).all()
    per_side = sum(
        1 for r, s in product(range(0, 2560, 25), range(0, 1280, 25)) if min(r + 25, 2 * s + 50, 2560) > max(r, 2 * s)
    )
    assert len(i) == per_side**2
