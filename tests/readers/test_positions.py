"""Positions against pyproj at every pixel: the error is bounded everywhere, and a pixel lies where it lies in any window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from makers import north_up, rotated
from pyproj import Transformer

from geodata.grid import Grid
from geodata.readers import positions as module
from geodata.readers.positions import TOLERANCE, pixel_ratio, positions, touching

UTM = "EPSG:32633"

PAIRS = [
    # source, target, metres per pixel, where (longitude, latitude)
    ("EPSG:32633", "EPSG:32632", 10, (11.9, 48)),
    ("EPSG:32633", "EPSG:4326", 10, (15, 84)),
    ("EPSG:4326", "EPSG:32633", 10, (15, 84)),
    ("EPSG:3413", "EPSG:4326", 30, (-45, 80)),
    ("EPSG:4326", "EPSG:3413", 30, (-45, 89)),
    ("EPSG:4326", "EPSG:3413", 1000, (-45, 89.9)),
    ("EPSG:4326", "EPSG:3031", 500, (170, -88)),
    ("EPSG:3031", "EPSG:4326", 500, (170, -88)),
    ("EPSG:32601", "EPSG:32660", 10, (179.9, 65)),
    ("EPSG:4326", "EPSG:32660", 10, (179.95, -17)),
    ("EPSG:4326", "EPSG:3832", 100, (180, 10)),
    ("EPSG:3857", "EPSG:32601", 10, (-179, 60)),
    ("EPSG:32633", "EPSG:3857", 300, (15, 60)),
    ("EPSG:3035", "EPSG:4326", 1000, (20, 70)),
    ("EPSG:6933", "EPSG:3857", 1000, (20, 75)),
    ("EPSG:3857", "EPSG:4326", 5000, (0, 80)),
    ("EPSG:4326", "EPSG:3857", 5000, (0, 80)),
    ("EPSG:27700", "EPSG:32630", 10, (-2, 53)),
    ("EPSG:5070", "EPSG:4326", 1000, (-100, 45)),
    ("ESRI:54009", "EPSG:4326", 10000, (-20, 20)),
    ("EPSG:4326", "ESRI:54030", 5000, (150, 80)),
    ("EPSG:3995", "EPSG:32640", 100, (57, 82)),
    ("EPSG:32633", "EPSG:32633", 10, (15, 50)),
]


def grid_at(crs, place, metres, n, turn=0.0):
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*place)
    res = metres / (111320 if crs == "EPSG:4326" else 1)
    a, b = res * np.cos(turn), res * np.sin(turn)
    return Grid((n, n), (a, b, x - (a + b) * n / 2, b, -a, y + (a - b) * n / 2), crs)


def exactly(source, target):
    """By pyproj for every pixel, longitudes within half a turn of the middle of the source."""
    col, row = np.meshgrid(np.arange(target.width) + 0.5, np.arange(target.height) + 0.5)
    way = Transformer.from_crs(target.crs, source.crs, always_xy=True)
    x, y = way.transform(*(target.transform @ (col, row)))
    if source.crs.is_geographic:
        middle, _ = source.transform @ (source.width / 2, source.height / 2)
        with np.errstate(invalid="ignore"):
            x = (x - middle + 180) % 360 - 180 + middle
    with np.errstate(invalid="ignore"):
        return np.stack(~source.transform @ (x, y))


def apart(got, wanted):
    finite = np.isfinite(wanted).all(axis=0)
    assert np.array_equal(np.isfinite(got).all(axis=0), finite) and finite.any()
    return np.abs(got - wanted).sum(axis=0)[finite].max()


@pytest.mark.parametrize("turn", [0.0, 0.7])
@pytest.mark.parametrize(("source", "target", "metres", "place"), PAIRS)
def test_no_pixel_is_wrong_by_more_than_the_bound(source, target, metres, place, turn):
    a, b = grid_at(source, place, metres, 500), grid_at(target, place, metres, 300, turn)
    assert apart(positions(a, b), exactly(a, b)) < TOLERANCE / 10, "the bound, and the margin that is promised"


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.floats(-180, 180), st.floats(-89, 89)),
    st.sampled_from(["EPSG:4326", "EPSG:3857", "EPSG:32633", "EPSG:3035", "EPSG:3413", "EPSG:3031", "EPSG:6933"]),
    st.sampled_from(["EPSG:4326", "EPSG:3857", "EPSG:32601", "EPSG:3035", "EPSG:3413", "EPSG:3031", "ESRI:54009"]),
    st.sampled_from([1, 30, 1000, 20000]),
    st.floats(0, 6.28),
)
def test_the_bound_holds_anywhere(place, source, target, metres, turn):
    assume(
        all(
            np.isfinite(Transformer.from_crs(4326, crs, always_xy=True).transform(*place)).all()
            for crs in (source, target)
        )
    )
    a, b = grid_at(source, place, metres, 200), grid_at(target, place, metres, 140, turn)
    wanted = exactly(a, b)
    assume(np.isfinite(wanted).all(axis=0).any())
    # Far outside of a source nothing is read: there the seam of its longitudes, or of a projection, may lie.
    near = (np.abs(wanted - 100) < 400).all(axis=0)
    got = positions(a, b)
    assert np.array_equal(np.isfinite(got).all(axis=0), np.isfinite(wanted).all(axis=0))
    assert not near.any() or np.abs(got - wanted).sum(axis=0)[near].max() < TOLERANCE


def test_few_points_are_computed_where_the_map_is_smooth(monkeypatch):
    source, target = grid_at("EPSG:32633", (11.9, 48), 10, 500), grid_at("EPSG:32632", (11.9, 48), 10, 256)
    computed = []
    exact = module._exact
    monkeypatch.setattr(module, "_exact", lambda *a: (computed.append(out := exact(*a)), out)[1])
    positions(source, target)
    assert sum(c[0].size for c in computed) <= 13 * 13


@pytest.mark.parametrize(("source", "target", "metres", "place"), PAIRS[::2])
def test_a_pixel_lies_at_the_same_position_in_every_window(source, target, metres, place):
    a, b = grid_at(source, place, metres, 500), grid_at(target, place, metres, 300)
    whole = positions(a, b)
    for r, c, h, w in ((0, 0, 300, 300), (17, 100, 90, 1), (1, 250, 140, 50), (299, 299, 1, 1), (130, 3, 64, 256)):
        part = positions(a, b.window(r, c, h, w))
        assert np.array_equal(part, whole[:, r : r + h, c : c + w], equal_nan=True)


def test_a_source_of_longitudes_up_to_360():
    source = Grid((180, 360), (1, 0, 0, 0, -1, 90), "EPSG:4326")
    target = Grid((2, 4), (1, 0, -12, 0, -1, 11), "EPSG:4326")
    assert (
        np.abs(positions(source, target) - [[[348.5, 349.5, 350.5, 351.5]] * 2, [[79.5] * 4, [80.5] * 4]]).max() < 1e-5
    )


# ---------------------------------------------------------------------- touching


@settings(max_examples=30, deadline=None)
@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.3, 4), st.sampled_from([0.0, 20.0]), st.booleans())
def test_touching_is_that_of_nine_points(dx, dy, size, degrees, elsewhere):
    crs = "EPSG:32632" if elsewhere else UTM
    place = Transformer.from_crs(UTM, crs, always_xy=True).transform(500000 + 10 * dx, 5600000 + 10 * dy)
    inside = Grid((9, 12), rotated(*place, 10 * size, degrees), crs)
    source = Grid((14, 11), north_up(), UTM)
    way = Transformer.from_crs(UTM, crs, always_xy=True)
    wanted = np.zeros(source.shape, bool)
    doubtful = np.zeros(source.shape, bool)
    for row in range(source.height):
        for col in range(source.width):
            points = np.add([(x, y) for x in (0, 0.5, 1) for y in (0, 0.5, 1)], (col, row))
            c, r = ~inside.transform @ way.transform(*(source.transform @ (points[:, 0], points[:, 1])))
            edge = np.minimum(np.minimum(c, inside.width - c), np.minimum(r, inside.height - r))
            wanted[row, col] = (edge > 1e-6).any()
            doubtful[row, col] = (np.abs(edge) < 2e-6).any()
    assert np.array_equal(touching(source, inside)[~doubtful], wanted[~doubtful])


def test_touching_is_exact_where_positions_are_not(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(module, "positions", lambda *a: (p := positions(*a)) + rng.uniform(-0.12, 0.12, p.shape))
    inside = grid_at("EPSG:3413", (-45, 85), 20000, 60, 0.4)
    source = grid_at("EPSG:4326", (-45, 85), 9000, 150)
    col, row = np.meshgrid(np.arange(301) / 2, np.arange(301) / 2)
    way = Transformer.from_crs(4326, 3413, always_xy=True)
    with np.errstate(invalid="ignore"):
        c, r = ~inside.transform @ way.transform(*(source.transform @ (col, row)))
    lies = (c > 1e-6) & (r > 1e-6) & (c < 60 - 1e-6) & (r < 60 - 1e-6)
    wanted = np.zeros((150, 150), bool)
    for down in range(3):
        for across in range(3):
            wanted |= lies[down : down + 300 : 2, across : across + 300 : 2][:150, :150]
    assert 0 < wanted.sum() < wanted.size
    assert np.array_equal(touching(source, inside), wanted)


def test_pixels_that_share_an_edge_do_not_touch():
    source = Grid((9, 8), north_up(), UTM)
    wanted = np.zeros((9, 8), bool)
    wanted[2:5, 3:7] = True
    assert np.array_equal(touching(source, source.window(2, 3, 3, 4)), wanted)


# ---------------------------------------------------------------------- ratio


def shifted(grid, factor, dx, dy):
    t = grid.transform
    h, w = int(grid.height / factor), int(grid.width / factor)
    return Grid((h, w), (t.a * factor, 0, t.c + dx * t.a, 0, t.e * factor, t.f + dy * t.e), grid.crs)


SOURCE = Grid((24, 31), north_up(), UTM)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0, 7.5])
def test_the_kernel_widens_with_the_target_and_never_narrows(factor):
    assert pixel_ratio(SOURCE, shifted(SOURCE, factor, 0.2, 0.2)) == pytest.approx((max(1, factor), max(1, factor)))


def test_the_kernel_of_a_turned_grid_is_that_of_the_upright_one():
    t = 0.6
    turned = Grid((9, 9), (30 * np.cos(t), 30 * np.sin(t), 500100, 30 * np.sin(t), -30 * np.cos(t), 5599900), UTM)
    assert pixel_ratio(SOURCE, turned) == pytest.approx((3, 3))


def test_the_ratio_is_that_of_the_lattice_and_not_of_the_window():
    target = grid_at("EPSG:3035", (15, 50), 37, 300)
    assert len({pixel_ratio(SOURCE, target.window(r, c, 9, 7)) for r in (0, 11, 250) for c in (0, 13)}) == 1
