"""Search: the rows that share area and time with a box, against brute force."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from affine import Affine
from brute import clear_meeting, lonlat, outline, times_meet
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import catalog_of, north_up, rotated
from pyproj import Transformer

from geodata.catalog import Catalog
from geodata.catalog.footprint import boxes84
from geodata.catalog.search import nearest_miss
from geodata.catalog.tree import Tree
from geodata.errors import CRSError, GridError, NoOverlapError, QueryError
from geodata.grid import Grid
from geodata.interval import Interval

UTM = "EPSG:32633"

REGIONS = {
    "central europe": (
        15.0,
        50.0,
        ("EPSG:32633", "EPSG:32632", "EPSG:4326", "EPSG:3857", "EPSG:3035", "EPSG:25833", "EPSG:4258"),
    ),
    "kenya": (37.0, -1.0, ("EPSG:32737", "EPSG:32637", "EPSG:4326", "EPSG:3857", "EPSG:32736")),
    "new zealand": (173.0, -41.0, ("EPSG:32760", "EPSG:2193", "EPSG:4326", "EPSG:3857", "EPSG:32759")),
    "spitsbergen": (16.0, 78.0, ("EPSG:32633", "EPSG:3413", "EPSG:4326", "EPSG:3575", "EPSG:32635")),
    "dronning maud land": (2.0, -72.0, ("EPSG:3031", "EPSG:32731", "EPSG:4326", "EPSG:3976")),
}
"""Name -> longitude, latitude, and CRSs that are used there."""


def item_near(rng, lon, lat, systems, spread=70e3):
    """A random footprint of 1 to 120 km near a place: any CRS, some turned, some south-up."""
    crs = systems[rng.integers(len(systems))]
    unit = 1 / 111e3 if crs in ("EPSG:4326", "EPSG:4258") else 1.0
    x, y = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(lon, lat)
    x, y = x + rng.uniform(-spread, spread) * unit, y + rng.uniform(-spread, spread) * unit
    side = 10 ** rng.uniform(3.5, 5.1, 2)
    h, w = (int(n) for n in rng.integers(1, 3000, 2))
    yres = side[0] / h * unit * (-1 if rng.random() < 0.2 else 1)
    transform = Affine(side[1] / w * unit, 0, x, 0, -yres, y)
    if rng.random() < 0.25:
        transform = transform @ Affine.rotation(rng.uniform(0, 360))
    return transform, (h, w), crs


def as_grid(item):
    return Grid(item[1], item[0], item[2])


@pytest.mark.parametrize("region", REGIONS)
def test_search_finds_what_brute_force_finds(region):
    lon, lat, systems = REGIONS[region]
    rng = np.random.default_rng(sum(map(ord, region)))
    items = [item_near(rng, lon, lat, systems) for _ in range(25)]
    catalog = catalog_of(*items)
    met = missed = 0
    for _ in range(12):
        query = item_near(rng, lon, lat, systems)
        found = set(catalog.search(as_grid(query)).tolist())
        for row, item in enumerate(items):
            wanted = clear_meeting(query, item)
            if wanted is not None:
                assert (row in found) is wanted, (region, query, item)
                met, missed = met + wanted, missed + (not wanted)
    assert met > 20 and missed > 20


boxes = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 6)] * 2)
moments = st.sampled_from([0, 10, 20, 30, math.inf, -math.inf])


@st.composite
def spans(draw):
    first, last = sorted((draw(moments), draw(moments)))
    return (-math.inf, math.inf) if math.isinf(first) and first == last else (float(first), float(last))


@given(st.lists(st.tuples(boxes, spans(), st.booleans()), min_size=1, max_size=8), boxes, spans())
@settings(deadline=None)
def test_in_one_crs_area_and_time_are_half_open(items, asked, when):
    """Boxes on whole pixels of one lattice meet if they have a pixel in common; touching is not meeting."""

    def pixels(box):
        c, r, w, h = box
        return {(x, y) for x in range(c, c + w) for y in range(r, r + h)}

    def grid(box, south_up):
        c, r, w, h = box
        top = 5600000 - 10 * r
        return (
            (north_up(500000 + 10 * c, top - 10 * h, yres=-10) if south_up else north_up(500000 + 10 * c, top)),
            (h, w),
            UTM,
        )

    catalog = catalog_of(*[grid(box, flip) for box, _, flip in items], time=[t for _, t, _ in items])
    wanted = [row for row, (box, span, _) in enumerate(items) if pixels(box) & pixels(asked) and times_meet(span, when)]
    c, r, w, h = asked
    bounds = (500000 + 10 * c, 5600000 - 10 * (r + h), 500000 + 10 * (c + w), 5600000 - 10 * r)
    found = catalog.search(bounds, crs=UTM, time=Interval(*when))
    assert found.tolist() == wanted
    assert found.dtype == np.int64


PLACES = [(15, 50), (-179.99, -17), (179.99, 65), (30, 84.9), (-60, -84.9), (10, 88), (0, -89.9)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3413", "EPSG:3031", "utm"])
def test_one_footprint_is_boxed_as_among_many(crs, place):
    """Queries go without numpy: the same box, to what float64 holds of degrees."""
    lon, lat = place
    system = f"EPSG:{32600 + int(lon + 180) // 6 + 1 + 100 * (lat < 0)}" if crs == "utm" else crs
    items = []
    rng = np.random.default_rng(7)
    x, y = Transformer.from_crs("OGC:CRS84", system, always_xy=True).transform(lon, lat)
    if not math.isfinite(x + y):
        pytest.skip(f"{system} does not reach {place}")
    for side in (1e-6, 1e-3, 0.02, 0.4, 0.9, 1.1, 3.0):
        scale = side if system == "EPSG:4326" else side * 1e5
        turn = Affine.rotation(float(rng.uniform(0, 360)))
        items += [
            (Affine(scale / 8, 0, x, 0, -scale / 8, y), (8, 8), system),
            (Affine(scale / 8, 0, x, 0, scale / 8, y) @ turn, (8, 8), system),
        ]
    footprints = catalog_of(*items).footprints
    try:
        many = boxes84(footprints)
    except CRSError:
        pytest.skip(f"nothing of {place} lies in {system}")
    for row in range(len(items)):
        if not np.isnan(many[row]).any():
            one = boxes84(footprints.take(np.array([row])))
            assert np.abs(one - many[row]).max() < 1e-12


def test_a_tree_of_one_time_knows_that_time():
    boxes = np.array([[10.0, 50.0, 11.0, 51.0], [179.0, 0.0, -179.0, 1.0]])
    for time in ((0.0, 86400.0), (5.0, 5.0), (-math.inf, math.inf)):
        tree = Tree(boxes, np.array([time, time]))
        mixed = Tree(boxes, np.array([time, (time[0], math.inf)]))
        for asked in (
            (-math.inf, math.inf),
            (-10.0, -1.0),
            (-10.0, 0.0),
            (5.0, 5.0),
            (86400.0, 86400.0),
            (86401.0, 1e9),
        ):
            touching = time[0] <= asked[1] and asked[0] <= time[1]
            for box, row in ((boxes[:1], 0), (boxes[1:], 1)):
                assert tree.candidates(box, asked).tolist() == ([row] if touching else [])
            assert (0 in mixed.candidates(boxes, asked)) is touching


@pytest.mark.parametrize("name", ["within one zone", "of two zones", "turned"])
def test_neighbouring_patches_do_not_meet(name):
    """Their boxes in longitude and latitude overlap, because north is not up there."""
    if name == "turned":
        place = rotated(500000.123, 5600000.456, 0.1, 29.7)
        items = [(place @ Affine.translation(c, r), (1000, 1000), UTM) for r in (0, 1000) for c in (0, 1000, 2000)]
    else:
        items = [(north_up(300000 + 2560 * c, 6900000 - 2560 * r), (256, 256), UTM) for r in range(2) for c in range(3)]
        if name == "of two zones":
            items = [(t, s, ("EPSG:32633", "EPSG:32634")[i % 2]) for i, (t, s, _) in enumerate(items)]
    catalog = catalog_of(*items)
    for row, item in enumerate(items):
        wanted = [
            i for i, other in enumerate(items) if i == row or (item[2] != other[2] and clear_meeting(item, other))
        ]
        assert catalog.search(as_grid(item)).tolist() == wanted
    if name != "of two zones":
        box = catalog.box84
        crossing = (box[0, 2] > box[1, 0]) & (box[0, 1] < box[1, 3])
        assert crossing


@pytest.mark.parametrize("degrees", [7.0, 29.7, 45.0, 90.0, 123.4])
@pytest.mark.parametrize("res", [0.05, 10.0])
def test_tiles_of_a_turned_scene_meet_only_themselves(degrees, res):
    scene = catalog_of((rotated(500000.123, 5600000.456, res, degrees), (3000, 3000), UTM))
    tiles = scene.tile(1000)
    i, j = tiles.pairs(tiles)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(k, k) for k in range(9)]


@pytest.mark.parametrize("edge", ["left", "right", "bottom", "top"])
@pytest.mark.parametrize(
    ("overlap", "meets"), [(-1.0, False), (-1e-7, False), (0.0, False), (1e-7, False), (1e-5, True), (1.0, True)]
)
def test_a_millionth_of_a_pixel_is_touching(edge, overlap, meets):
    catalog = catalog_of((north_up(500000, 5600000), (100, 100), UTM))
    left, bottom, right, top = 500000, 5599000, 501000, 5600000
    d = overlap * 10
    bounds = {
        "left": (left - 500, bottom, left + d, top),
        "right": (right - d, bottom, right + 500, top),
        "bottom": (left, bottom - 500, right, bottom + d),
        "top": (left, top - d, right, top + 500),
    }[edge]
    assert catalog.search(bounds, crs=UTM).tolist() == ([0] if meets else [])


@pytest.mark.parametrize("overlap", [12, 100])
def test_the_corner_of_a_scene_counts_across_zones(overlap):
    """A few pixels of a corner are a small part of a big scene, but they are pixels."""
    scene = (north_up(300000, 5600000), (10980, 10980), "EPSG:32633")
    corner = 300000 + 109800, 5600000 - 109800
    way = Transformer.from_crs("EPSG:32633", "EPSG:32632", always_xy=True)
    x, y = way.transform(corner[0] - 10 * overlap, corner[1] + 10 * overlap)
    catalog = catalog_of((north_up(x, y), (20000, 20000), "EPSG:32632"))
    inside = way.transform(corner[0] - 5, corner[1] + 5)
    assert x < inside[0] and y > inside[1]
    assert catalog.search(as_grid(scene)).tolist() == [0]


def test_touching_along_a_meridian_is_not_meeting_across_crss():
    """The central meridian of zone 33 is x = 500000 and 15 E."""
    catalog = catalog_of((north_up(500000, 5600000), (100, 100), UTM), (north_up(499000, 5600000), (100, 100), UTM))
    assert catalog.search((14, 50, 15, 51), crs="EPSG:4326").tolist() == [1]
    assert catalog.search((15, 50, 16, 51), crs="EPSG:4326").tolist() == [0]


def test_a_box_far_smaller_than_a_pixel_is_found():
    catalog = catalog_of((north_up(500000, 5600000), (100, 100), UTM))
    assert catalog.search((500500, 5599500, 500500.001, 5599500.001), crs=UTM).tolist() == [0]
    assert catalog.search((15.005, 50.55, 15.00500001, 50.55000001), crs=4326).tolist() == [0]


def test_a_point_lies_in_one_tile():
    """Also on the edge of several: a tile holds its left and upper edge."""
    tiles = catalog_of((north_up(500000, 5600000), (60, 90), UTM)).tile(30)
    for col in (0, 0.5, 29.999, 30, 60, 89.5, 90):
        for row in (0, 0.25, 30, 45, 59.9, 60):
            x, y = 500000 + 10 * col, 5600000 - 10 * row
            wanted = [] if col == 90 or row == 60 else [int(row // 30) * 3 + int(col // 30)]
            assert tiles.search((x, y, x, y), crs=UTM).tolist() == wanted, (col, row)


def test_a_line_lies_in_the_tiles_that_it_runs_through():
    tiles = catalog_of((north_up(500000, 5600000), (60, 90), UTM)).tile(30)
    assert tiles.search((500300, 5599400, 500300, 5600000), crs=UTM).tolist() == [1, 4]
    assert tiles.search((500000, 5599700, 500900, 5599700), crs=UTM).tolist() == [3, 4, 5]
    assert tiles.search((500250, 5599750, 500450, 5599750), crs=UTM).tolist() == [0, 1]


def test_a_point_in_another_crs():
    tiles = catalog_of((north_up(500000, 5600000), (60, 90), UTM)).tile(30)
    way = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    for row in range(6):
        r, c = tiles.origin[row].tolist()
        for dx, dy in ((0.001, 0.001), (15, 15), (29.999, 29.999)):
            lon, lat = way.transform(500000 + 10 * (c + dx), 5600000 - 10 * (r + dy))
            assert tiles.search((lon, lat, lon, lat), crs=4326).tolist() == [row]


def test_a_turned_box_is_not_its_bounding_box():
    catalog = catalog_of((north_up(500000, 5600000), (100, 100), UTM))
    near = Grid((100, 100), rotated(500900, 5600600, 10, 45), UTM)
    left, bottom, right, top = near.bounds
    assert left < 501000 and bottom < 5600000
    assert catalog.search((left, bottom, right, top), crs=UTM).tolist() == [0]
    assert clear_meeting((near.transform, near.shape, UTM), (north_up(500000, 5600000), (100, 100), UTM)) is False
    assert catalog.search(near).tolist() == []


@pytest.mark.parametrize("seed", [16, 11])
def test_boxes_hold_their_footprints(seed):
    """The boxes are what the tree sees: one that is too small loses rows without a word."""
    rng = np.random.default_rng(seed)
    for lon, lat, systems in REGIONS.values():
        items = [item_near(rng, lon, lat, systems) for _ in range(20)]
        boxes = catalog_of(*items).box84
        for box, item in zip(boxes, items, strict=True):
            places = lonlat(item, outline(item))
            if box[0] > box[2]:
                places[:, 0] %= 360
                box = np.array([box[0], box[1], box[2] + 360, box[3]])
            if box[2] - box[0] < 360:
                assert (places.min(axis=0) >= box[:2]).all() and (places.max(axis=0) <= box[2:]).all()


# ---------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("2020-05", [0, 1, 3, 4]),
        ("2020-06", [2, 3, 4]),
        (("2020-05", "2020-06"), [0, 1, 2, 3, 4]),
        ("2020-05-31", [0, 3, 4]),
        ("2020-05-03T10:00", [0, 1, 3, 4]),
        ("2020-05-03T10:00:01", [0, 3, 4]),
        ((None, "2020-04"), [3]),
        (("2020-07", None), [3, 4]),
    ],
)
def test_time(asked, rows):
    may = Interval.parse("2020-05")
    point = Interval.parse("2020-05-03T10:00")
    june = Interval.parse("2020-06")
    times = [may, point, june, Interval(), Interval(may.start, math.inf)]
    catalog = catalog_of(*[(north_up(), (10, 10), UTM)] * 5, time=[(t.start, t.end) for t in times])
    assert catalog.search((500000, 5599900, 500100, 5600000), crs=UTM, time=asked).tolist() == rows


@given(st.lists(spans(), min_size=1, max_size=6), spans())
@settings(deadline=None)
def test_catalogs_and_intervals_agree_on_time(times, when):
    catalog = catalog_of(*[(north_up(), (10, 10), UTM)] * len(times), time=times)
    found = catalog.search((500000, 5599900, 500100, 5600000), crs=UTM, time=Interval(*when))
    assert found.tolist() == [i for i, t in enumerate(times) if Interval(*t).overlaps(Interval(*when))]


# ---------------------------------------------------------------------- what cannot be asked


@pytest.mark.parametrize(
    "bounds", [(0, 0, math.nan, 1), (0, 0, math.inf, 1), (1, 0, 0, 1), (0, 1, 1, 0), (0, 0, 1), "abcd", None]
)
def test_bounds_must_be_a_box(bounds):
    with pytest.raises(GridError, match="bounds"):
        catalog_of((north_up(), (10, 10), UTM)).search(bounds, crs=UTM)


def test_a_query_needs_a_crs():
    catalog = catalog_of((north_up(), (10, 10), UTM))
    with pytest.raises(CRSError, match=r"no CRS.*crs='EPSG:4326'"):
        catalog.search((500000, 5599900, 500100, 5600000))
    with pytest.raises(CRSError, match="no CRS"):
        catalog.search(Grid((10, 10), north_up()))


def test_items_without_a_crs_are_not_searched_by_place():
    catalog = catalog_of((north_up(0, 0, 1), (10, 10), None))
    with pytest.raises(CRSError, match=r"row numbers.*on='key'"):
        catalog.search((0, 0, 1, 1), crs=UTM)
    with pytest.raises(CRSError, match="no CRS"):
        catalog.pairs(catalog)


def test_a_time_backwards_is_refused():
    with pytest.raises(QueryError, match="ends before it starts"):
        catalog_of((north_up(), (10, 10), UTM)).search((0, 0, 1, 1), crs=UTM, time=("2021", "2020"))


def test_an_empty_catalog_answers_with_nothing():
    empty = catalog_of((north_up(), (10, 10), UTM)).take([])
    assert empty.search((500000, 5599900, 500100, 5600000), crs=UTM).tolist() == []
    assert catalog_of().search((0, 0, 1, 1), crs=4326).tolist() == []


@pytest.mark.parametrize(
    ("lon", "lat", "km"),
    [(15.0, 51.0, 49.8), (15.0, 49.0, 171.6), (20.0, 50.54, 353.4), (165.0, 10.0, 12684)],
)
def test_a_miss_names_the_nearest_item_and_its_distance(lon, lat, km):
    """Wanted distances by hand: 111.2 km a degree along a meridian, and the haversine formula."""
    items = [(north_up(500000, 5600000), (100, 100), UTM), (north_up(500000, 9999000), (100, 100), "EPSG:32733")]
    catalog = catalog_of(*items)
    error = nearest_miss(catalog, Grid((1, 1), (1e-4, 0, lon, 0, -1e-4, lat), "EPSG:4326"))
    assert isinstance(error, NoOverlapError)
    said = str(error)
    assert "none of 2 items" in said and "'k0'" in said
    assert float(said.split(",")[-1].split(" km")[0]) == pytest.approx(km, rel=0.01, abs=1.5)


def test_a_miss_in_time_says_that_the_place_is_right():
    catalog = catalog_of((north_up(), (10, 10), UTM), time=[(0, 10)])
    error = nearest_miss(catalog, catalog.grid(0), Interval.parse("2020"))
    assert "in time" in str(error) and "1970-01-01" in str(error)


# ---------------------------------------------------------------------- the tree


def scattered(n=400):
    rng = np.random.default_rng(1)
    corners = rng.uniform((300000, 5400000), (700000, 5800000), (n, 2))
    return catalog_of(*[(north_up(x, y), (256, 256), UTM) for x, y in corners], time=[(i, i + 100.0) for i in range(n)])


BOX = (14.2, 50.1, 15.9, 50.9)


def expected(catalog, box=BOX):
    west, south, east, north = box
    asked = (Affine(east - west, 0, west, 0, south - north, north), (1, 1), "EPSG:4326")
    return [r for r in range(len(catalog)) if clear_meeting(asked, (catalog.grid(r).transform, (256, 256), UTM))]


def test_the_tree_is_built_when_first_asked():
    catalog = scattered()
    assert "tree" not in catalog.__dict__
    catalog.tile(100), catalog.take([1, 2]), catalog.grid(0), len(catalog), repr(catalog)
    assert "tree" not in catalog.__dict__
    catalog.search(BOX, crs=4326)
    first = catalog.__dict__["tree"]
    catalog.search(BOX, crs=4326)
    assert catalog.__dict__["tree"] is first


@pytest.mark.parametrize("searched", [False, True])
def test_a_pickled_catalog_searches_alike_and_carries_no_tree(searched):
    catalog = scattered()
    if searched:
        catalog.search(BOX, crs=4326)
    data = pickle.dumps(catalog)
    assert b"rtree" not in data
    back = pickle.loads(data)
    assert "tree" not in back.__dict__
    wanted = expected(catalog)
    assert 5 < len(wanted) < 300
    assert back.search(BOX, crs=4326).tolist() == catalog.search(BOX, crs=4326).tolist() == wanted


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_searching_in_another_process(method):
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("this platform cannot fork")
    catalog = scattered()
    here = catalog.search(BOX, crs=4326).tolist()
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        assert pool.submit(Catalog.search, catalog, BOX, crs=4326).result(timeout=120).tolist() == here
        assert pool.submit(Catalog.search, catalog, BOX, crs=4326, time=(0, 50)).result(timeout=120).tolist() == [
            r for r in here if r < 50
        ]


FORKED = """
import os, numpy as np
from geodata.catalog import Catalog
from geodata.catalog.search import nearest_miss
rng = np.random.default_rng(0)
at = rng.uniform((3e5, 5e6), (7e5, 6e6), (3000, 2))
c = Catalog.from_columns(key=[str(i) for i in range(3000)], affine=[(10, 0, x, 0, -10, y) for x, y in at], shape=[(256, 256)] * 3000, crs=32633)
boxes = rng.uniform((13, 46), (17, 53), (50, 2))
ask = lambda: [c.search((x, y, x + .3, y + .2), crs=4326).tolist() for x, y in boxes]
here = ask()
pid = os.fork()
if pid == 0:
    os._exit(0 if ask() == here else 7)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
raise SystemExit(code or ask() != here)
"""

THREADED = """
import threading, numpy as np
from geodata.catalog import Catalog
from geodata.catalog.search import nearest_miss
rng = np.random.default_rng(0)
n = 5000
at = rng.uniform((3e5, 5e6), (7e5, 6e6), (n, 2))
c = Catalog.from_columns(key=[str(i) for i in range(n)], affine=[(10, 0, x, 0, -10, y) for x, y in at], shape=[(256, 256)] * n, crs=32633)
boxes = rng.uniform((13, 46), (17, 53), (60, 2))
fresh = c.take(np.arange(n))
here = [c.search((x, y, x + .3, y + .2), crs=4326).tolist() for x, y in boxes]
wrong = []
def ask(seed):
    for i in np.random.default_rng(seed).permutation(np.repeat(np.arange(60), 4)):
        x, y = boxes[i]
        if fresh.search((x, y, x + .3, y + .2), crs=4326).tolist() != here[i]:
            wrong.append(i)
threads = [threading.Thread(target=ask, args=(k,)) for k in range(6)]
[t.start() for t in threads]
[t.join() for t in threads]
raise SystemExit(len(wrong))
"""


@pytest.mark.parametrize("script", [pytest.param(FORKED, id="fork"), pytest.param(THREADED, id="threads")])
def test_a_built_tree_survives_a_fork_and_many_threads(script):
    """In its own process, because a tree that is shared badly takes the process down with it."""
    if script is FORKED and not hasattr(os, "fork"):
        pytest.skip("this platform cannot fork")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
