"""Distances between footprints, against geodesics between all points of dense outlines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

from geodata.catalog import Catalog
from geodata.errors import SplitError
from geodata.splits.distance import centre_distance, metres, nearest

GEOD = Geod(ellps="WGS84")


def boxes(*items):
    """Upright footprints (crs, left, top, pixel size, height, width)."""
    return Catalog.from_columns(
        key=[f"k{i}" for i in range(len(items))],
        affine=[(res, 0, left, 0, -res, top) for _, left, top, res, _, _ in items],
        shape=[(height, width) for *_, height, width in items],
        crs=[crs for crs, *_ in items],
    )


def at(crs, lon, lat, res, size):
    """A square whose centre is near a place."""
    x, y = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(lon, lat)
    return crs, round(x / res) * res - size * res / 2, round(y / res) * res + size * res / 2, res, size, size


def outline(catalog, row, per_side):
    """Longitude and latitude of points along the outline of a row."""
    (a, _, c, _, e, f), (h, w) = catalog.affine[row], catalog.shape[row]
    t = np.arange(per_side) / per_side
    zero, one = np.zeros(per_side), np.ones(per_side)
    col = np.concatenate([t, one, 1 - t, zero]) * w
    line = np.concatenate([zero, t, one, 1 - t]) * h
    return Transformer.from_crs(catalog.crs[row], "OGC:CRS84", always_xy=True).transform(a * col + c, e * line + f)


def brute(catalog, i, j, per_side=24):
    """Least geodesic between points of two outlines, and how far that may exceed the distance of the outlines."""
    (lon, lat), (lon2, lat2) = outline(catalog, i, per_side), outline(catalog, j, per_side)
    p, q = (k.ravel() for k in np.meshgrid(np.arange(len(lon)), np.arange(len(lon2)), indexing="ij"))
    far = GEOD.inv(lon[p], lat[p], lon2[q], lat2[q])[2].min()
    step = max(GEOD.inv(x[:-1], y[:-1], x[1:], y[1:])[2].max() for x, y in ((lon, lat), (lon2, lat2)))
    return far, step**2 / (4 * max(far, 1.0)) + 0.001


def check_against_brute(catalog, rows, others):
    gap, which = nearest(catalog, rows, others)
    for i, one, best in zip(rows, gap, which, strict=True):
        found = {j: brute(catalog, i, j) for j in others}
        least, slack = min(found.values())
        assert 0 < one <= least + 0.002
        assert one >= least - slack
        assert found[best][0] <= least + slack


PLACES = {
    "three zones": ((17.9, 47.0), ("EPSG:32633", "EPSG:32634", "EPSG:32733"), 0.2),
    "degrees and mercator": ((5.0, 60.0), ("EPSG:4326", "EPSG:3857", "EPSG:32631"), 0.2),
    "antimeridian": ((180.0, -17.0), ("EPSG:32701", "EPSG:32760", "EPSG:4326", "EPSG:3832"), 0.3),
    "equator": ((12.0, 0.0), ("EPSG:32632", "EPSG:32733", "EPSG:32633"), 0.2),
}


@pytest.mark.parametrize("place", PLACES)
def test_gaps_of_patches_are_the_shortest_geodesics_between_their_outlines(place):
    (lon, lat), systems, spread = PLACES[place]
    rng = np.random.default_rng(7)
    items = []
    for k in range(9):
        crs, res = systems[k % len(systems)], 10.0
        far = lon + (1 if k % 2 else -1) * rng.uniform(spread / 2, 2 * spread)
        east = (far + 180) % 360 - 180
        items.append(at(crs, east, lat + rng.uniform(-spread, spread), 1e-4 if crs == "EPSG:4326" else res, 120))
    catalog = boxes(*items)
    check_against_brute(catalog, np.arange(0, 9, 2), np.arange(1, 9, 2))


def test_gaps_near_a_pole():
    rng = np.random.default_rng(3)
    items = [
        at("EPSG:3413" if k % 2 else "EPSG:3995", rng.uniform(-180, 180), rng.uniform(88.5, 89.9), 10.0, 150)
        for k in range(8)
    ]
    check_against_brute(boxes(*items), np.arange(0, 8, 2), np.arange(1, 8, 2))


def test_scenes_and_patches_together_in_metres_that_are_metres():
    scene = at("EPSG:32633", 13.0, 60.0, 30.0, 3660)
    patches = [at("EPSG:3857", lon, 60.3, 20.0, 120) for lon in (9.0, 10.7, 17.5)]
    catalog = boxes(scene, *patches)
    gap, which = nearest(catalog, [0], [1, 2, 3])
    assert which.tolist() == [2]
    least, slack = brute(catalog, 0, 2, 100)
    assert least - slack - 3.0 <= gap[0] <= least + 3.0
    back, who = nearest(catalog, [1, 2, 3], [0])
    assert back[1] == gap[0] and who.tolist() == [0, 0, 0]


def test_many_patches_of_several_sizes_agree_with_shapely_in_their_own_plane():
    rng = np.random.default_rng(5)
    n = 400
    size = rng.choice([60, 120, 900], n)
    left, top = 450_000 + 10 * rng.integers(0, 10_000, n), 5_600_000 + 10 * rng.integers(0, 10_000, n)
    catalog = boxes(*(("EPSG:32633", x, y, 10.0, s, s) for x, y, s in zip(left, top, size, strict=True)))
    shapes = shapely.box(left, top - 10 * size, left + 10 * size, top)
    rows, others = np.arange(0, 200), np.arange(200, n)
    wanted = shapely.distance(shapes[rows, None], shapes[None, others])
    gap, which = nearest(catalog, rows, others)
    # Metres of the plane are 0.9996 to 1.0002 metres of the ground here.
    np.testing.assert_allclose(gap, wanted.min(axis=1), rtol=5e-4, atol=0.002)
    np.testing.assert_array_equal(gap == 0, wanted.min(axis=1) == 0)
    chosen = shapely.distance(shapes[rows], shapes[which])
    np.testing.assert_allclose(chosen, wanted.min(axis=1), rtol=1e-3, atol=0.002)


@pytest.mark.parametrize(
    ("crs", "left", "top", "res"),
    [("EPSG:32633", 500_000, 5_600_000, 10), ("EPSG:4326", 179.98, 60.0, 0.0001), ("EPSG:3857", 0, 9_000_000, 25)],
)
def test_neighbours_of_a_lattice_touch_and_the_next_but_one_do_not(crs, left, top, res):
    width = 100 * res
    beside, beyond = left + width, left + 2 * width
    if crs == "EPSG:4326":
        beside, beyond = beside - 0.0, beyond - 360.0
    catalog = boxes(
        (crs, left, top, res, 100, 100),
        (crs, beside, top + width / 3, res, 100, 100),
        (crs, beyond, top, res, 100, 100),
    )
    gap, which = nearest(catalog, [0, 0, 1], [1])
    assert gap.tolist() == [0.0, 0.0, 0.0] and which.tolist() == [1, 1, 1]
    gap, _ = nearest(catalog, [0], [2])
    lon, lat = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform([left + width, beyond], [top, top])
    assert gap[0] == pytest.approx(GEOD.inv(lon[0], lat[0], lon[1], lat[1])[2], rel=0.01)
    assert nearest(catalog, [1], [2])[0][0] == 0.0


def test_neighbours_above_each_other_touch_over_the_antimeridian():
    above = ("EPSG:4326", 179.9, 60.0, 0.001, 100, 200)
    below = ("EPSG:4326", -180.06, 59.9, 0.001, 100, 50)  # its corners lie within the edge of the first
    lower = ("EPSG:4326", -180.06, 59.8, 0.001, 100, 50)
    gap, _ = nearest(boxes(above, below, lower), [1, 2], [0])
    assert gap[0] == 0.0 and gap[1] == pytest.approx(11_140, rel=0.01)


def test_a_large_footprint_wins_over_many_whose_centres_are_nearer():
    def centred(x, y, size):
        return "EPSG:32633", 500_000 + x - 5 * size, 5_600_000 + y + 5 * size, 10.0, size, size

    turn = np.arange(40) * 2 * np.pi / 40
    small = [centred(round(4_500 * math.cos(t)), round(4_500 * math.sin(t)), 100) for t in turn]
    catalog = boxes(centred(0, 0, 100), *small, centred(5_000, 0, 500))
    gap, which = nearest(catalog, [0], np.arange(1, 42))
    assert which.tolist() == [41] and gap[0] == pytest.approx(2_000, rel=1e-3)


def test_footprints_of_two_systems_that_share_area_are_not_apart():
    inner = at("EPSG:32633", 15.0, 50.0, 10.0, 100)
    outer = at("EPSG:4326", 15.0, 50.0, 0.01, 300)
    crossing = at("EPSG:32633", 16.5, 50.0, 10.0, 100)
    outside = at("EPSG:32633", 17.0, 50.0, 10.0, 100)
    gap, which = nearest(boxes(inner, crossing, outside, outer), [0, 1, 2], [3])
    assert gap[:2].tolist() == [0.0, 0.0] and gap[2] > 30_000
    assert which.tolist() == [3, 3, 3]


def test_footprints_as_large_as_the_earth():
    world = ("EPSG:4326", -180, 90, 0.1, 1800, 3600)
    cap = ("EPSG:4326", -180, 90, 0.1, 300, 3600)  # north of 60 degrees
    square = ("EPSG:3413", -3_000_000, 3_000_000, 1000.0, 6000, 6000)  # around the pole
    patches = [at(crs, lon, 50.0, 10.0, 100) for crs, lon in (("EPSG:32633", 15.0), ("EPSG:32601", -177.0))]
    catalog = boxes(world, cap, square, *patches)
    for one in (0, 1, 2):
        assert nearest(catalog, [0, 1, 2], [one])[0].tolist() == [0.0, 0.0, 0.0]
    assert nearest(catalog, [3, 4], [0])[0].tolist() == [0.0, 0.0]
    wanted = GEOD.inv(15.0, 60.0, 15.0, 50.0045)[2]
    for gap in (*nearest(catalog, [3, 4], [1])[0], nearest(catalog, [1], [3, 4])[0][0]):
        assert gap == pytest.approx(wanted, rel=0.005)


def test_a_limit_leaves_out_what_is_farther():
    items = [("EPSG:32633", 500_000 + x, 5_600_000, 10.0, 100, 100) for x in (0, 3_000, 20_000)]
    catalog = boxes(*items)
    gap, which = nearest(catalog, [0, 2], [1], limit=2_500)
    assert gap[0] == pytest.approx(2_000, rel=5e-4) and which.tolist() == [1, -1]
    assert gap[1] == math.inf
    gap, which = nearest(catalog, [0], [])
    assert gap.tolist() == [math.inf] and which.tolist() == [-1]
    assert nearest(catalog, [], [0])[0].shape == (0,)


def test_a_row_nowhere_on_earth_is_near_nothing():
    disk = "+proj=geos +h=35785831 +lon_0=0 +ellps=GRS80 +units=m"
    catalog = boxes((disk, 5_000_000, 5_400_000, 1000, 100, 100), ("EPSG:32633", 500_000, 5_600_000, 10, 9, 9))
    assert nearest(catalog, [0], [1])[1].tolist() == [-1]
    assert nearest(catalog, [1], [0])[0].tolist() == [math.inf]
    assert centre_distance(catalog, [0, 1], [0]).tolist() == [math.inf, math.inf]


def test_tiles_without_crs_are_apart_by_pixels_of_their_own_item():
    whole = Catalog.from_columns(key=["a", "b"], affine=[(1, 0, 0, 0, 1, 0)] * 2, shape=[(40, 60), (40, 60)], crs=None)
    tiles = whole.tile(20)
    place = {(k.split("#")[0], *o): i for i, (k, o) in enumerate(zip(tiles.key, tiles.origin.tolist(), strict=True))}
    rows = [place["a", 0, 0], place["a", 20, 20], place["b", 0, 0]]
    gap, which = nearest(tiles, rows, [place["a", 0, 40]])
    assert gap.tolist() == [20.0, 0.0, math.inf]
    assert which.tolist() == [place["a", 0, 40], place["a", 0, 40], -1]
    assert centre_distance(tiles, rows, [place["a", 0, 40]]).tolist() == [40.0, math.hypot(20, 20), math.inf]
    assert nearest(whole, [0], [1])[0].tolist() == [math.inf]
    assert nearest(whole, [0], [0])[0].tolist() == [0.0]


def test_centres_are_measured_by_geodesics():
    catalog = boxes(at("EPSG:32633", 15.0, 50.0, 10, 100), at("EPSG:32635", 27.0, 48.0, 10, 100))
    middle = [
        Transformer.from_crs(c, "OGC:CRS84", always_xy=True).transform(m[2] + 50 * m[0], m[5] + 50 * m[4])
        for c, m in zip(catalog.crs, catalog.affine, strict=True)
    ]
    wanted = GEOD.inv(*middle[0], *middle[1])[2]
    assert centre_distance(catalog, [0], [1])[0] == pytest.approx(wanted, abs=0.002)


@pytest.mark.parametrize(
    ("text", "wanted"), [("5km", 5000.0), ("500 m", 500.0), (" 1.5 km ", 1500.0), (5000, 5000.0), (0, 0.0)]
)
def test_lengths(text, wanted):
    assert metres(text) == wanted


@pytest.mark.parametrize("text", ["5", "five km", "-5km", -1, math.nan, math.inf, None, True, "5 miles", ""])
def test_what_is_no_length(text):
    with pytest.raises(SplitError, match="is no length"):
        metres(text)


def test_rows_at_the_same_place_have_one_distance():
    items = [("EPSG:32633", 500_000 + x, 5_600_000, 10.0, 100, 100) for x in (0, 3_000, 9_000)]
    once, often = boxes(*items), boxes(*(items * 300))
    place = np.arange(900) % 3
    gap, which = nearest(often, np.flatnonzero(place != 1), np.flatnonzero(place == 1))
    wanted, _ = nearest(once, [0, 2], [1])
    assert gap.tolist() == wanted.tolist() * 300 and set(place[which]) == {1}
