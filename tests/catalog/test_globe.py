"""The seams of the earth: the antimeridian, the poles, longitudes from 0 to 360, rasters of the whole globe."""

from __future__ import annotations

import numpy as np
import pytest
from brute import clear_meeting, held_points, lonlat, outline, shares_points
from makers import catalog_of, north_up
from pyproj import Transformer

from geodata.catalog import Catalog
from geodata.catalog.search import nearest_miss
from geodata.errors import GridError
from geodata.grid import Grid

WIDE = 40075016.685578486
"""Metres around the equator in EPSG:3857."""


def as_grid(item):
    return Grid(item[1], item[0], item[2])


def degrees(west, south, east, north, n=1, crs="EPSG:4326"):
    return north_up(west, north, (east - west) / n, (north - south) / n), (n, n), crs


def metres(left, bottom, right, top, crs, n=100):
    return north_up(left, top, (right - left) / n, (top - bottom) / n), (n, n), crs


# ---------------------------------------------------------------------- the antimeridian

UTM1 = metres(180000, 980000, 240000, 1010000, "EPSG:32601")
"""Lies wholly east of 180."""
UTM60 = metres(820000, 970000, 850000, 1000000, "EPSG:32660")
"""Crosses 180."""
ASKED = [
    degrees(179, 8, 180, 10),
    degrees(-180, 8, -179, 10),
    degrees(179, 8, 181, 10),
    degrees(-181, 8, -179, 10),
    degrees(539.95, 8.8, 540.05, 9.0),
    degrees(170, 8, 179.5, 10),
    degrees(-179.5, 8, -170, 10),
    degrees(-1, 8, 1, 10),
    degrees(-170, 8, 170, 10),
    degrees(179.95, 8.8, 179.99, 8.9, crs="OGC:CRS84"),
    metres(2.9e6, 5e5, 3.4e6, 1.5e6, "EPSG:3832"),
    metres(3.4e6, 9e5, 3.6e6, 1.1e6, "EPSG:3832"),
    metres(20030000, 990000, 20037508, 1000000, "EPSG:3857"),
    metres(19900000, 100000, 20037508, 4000000, "EPSG:3857"),
    metres(-20037508, 100000, -19900000, 4000000, "EPSG:3857"),
    metres(-20037508, 990000, -20030000, 1000000, "EPSG:3857"),
    metres(20000000, 950000, 20015000, 1050000, "EPSG:3857"),
    metres(19926000, 100000, 20028600, 4000000, "EPSG:3857"),
    metres(-20016500, 100000, -19900000, 4000000, "EPSG:3857"),
    metres(17.2e6, 1.0e6, 17.3675e6, 1.3e6, "EPSG:6933"),
    metres(-17.3675e6, 1.0e6, -17.2e6, 1.3e6, "EPSG:6933"),
    metres(150000, 900000, 300000, 1100000, "EPSG:32601"),
    metres(700000, 900000, 900000, 1100000, "EPSG:32660"),
    metres(700000, 900000, 800000, 1100000, "EPSG:32660"),
]


@pytest.mark.parametrize("item", [UTM1, UTM60], ids=["utm 1", "utm 60"])
@pytest.mark.parametrize("asked", ASKED, ids=lambda a: f"{a[2]} {a[0].c:.0f}")
def test_search_at_the_antimeridian(item, asked):
    catalog = catalog_of(item)
    wanted = shares_points(asked, item, 200)
    assert catalog.search(as_grid(asked)).tolist() == [0] * wanted
    i, j = catalog_of(asked).pairs(catalog)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 0)] * wanted


def test_items_over_the_antimeridian_have_west_above_east():
    for item in (
        UTM60,
        degrees(179, 8, 181, 10),
        degrees(-181, 8, -179, 10),
        metres(3.2e6, 0, 3.5e6, 1e6, "EPSG:3832"),
    ):
        west, _, east, _ = catalog_of(item).box84[0]
        assert -180 <= east < west < 180
        assert (west + east + 360) / 2 % 360 == pytest.approx(np.mean(lonlat(item, outline(item))[:, 0] % 360), abs=0.2)


def test_a_box_with_west_above_east_is_refused_with_a_way_out():
    with pytest.raises(GridError, match=r"over the antimeridian.*two boxes"):
        catalog_of(UTM60).search((179, 8, -179, 10), crs="EPSG:4326")


def test_neighbours_on_both_sides_of_the_antimeridian_only_touch():
    """x = 0 of EPSG:3832 is 150 E, so 180 lies at a whole number of metres of no lattice; in degrees it does."""
    east, west = degrees(-180, 0, -170, 10), degrees(170, 0, 180, 10)
    catalog = catalog_of(east, west, degrees(180, 0, 190, 10))
    assert catalog.search((170, 0, 180, 10), crs="EPSG:4326").tolist() == [1]
    assert catalog.search((180, 0, 190, 10), crs="EPSG:4326").tolist() == [0, 2]
    assert catalog.search((-180, 0, -170, 10), crs="OGC:CRS84").tolist() == [0, 2]


def test_time_is_not_lost_on_the_second_half():
    catalog = catalog_of(UTM60, UTM60, time=[(0, 10), (10, 20)])
    for box in ((179, 8, 180, 10), (-180, 8, -179, 10), (179, 8, 181, 10)):
        assert catalog.search(box, crs=4326, time=(0, 10)).tolist() == [0]
        assert catalog.search(box, crs=4326).tolist() == [0, 1]


def test_the_nearest_item_may_lie_over_the_antimeridian():
    catalog = catalog_of(degrees(170, 0, 171, 1), degrees(-175, 0, -174, 1))
    said = str(nearest_miss(catalog, as_grid(degrees(179, 0, 179.5, 1))))
    assert "'k1'" in said
    assert float(said.split(",")[-1].split(" km")[0]) == pytest.approx(5.5 * 111.2, rel=0.01)


# ---------------------------------------------------------------------- longitudes from 0 to 360


@pytest.mark.parametrize("crs", ["EPSG:4326", "OGC:CRS84", "EPSG:4258", "EPSG:4267"])
@pytest.mark.parametrize(
    ("west", "east"), [(0, 360), (-180, 180), (190, 200), (-170, -160), (350, 370), (170, 190), (-20, 340)]
)
def test_longitudes_of_any_turn_name_the_same_place(crs, west, east):
    catalog = catalog_of(degrees(west, 0, east, 40, 40, crs=crs))
    for left in (-179.5, -165.0, -100.0, -0.5, 5.0, 175.0, 180.5, 195.0, 260.0):
        asked = degrees(left, 30.2, left + 0.25, 30.3)
        wanted = any(west < left + turn + 0.2 and left + turn + 0.05 < east for turn in (-360, 0, 360))
        for system in ("EPSG:4326", "OGC:CRS84", "EPSG:4258"):
            box = asked[0].c, 30.2, asked[0].c + 0.25, 30.3
            assert catalog.search(box, crs=system).tolist() == [0] * wanted, (left, system)


def test_pairs_of_globes_that_start_at_0_and_at_180():
    around = catalog_of(degrees(0, -90, 360, 90, 36))
    from_180 = catalog_of(*[degrees(w, 10, w + 20, 20) for w in range(-180, 180, 20)])
    assert around.pairs(from_180)[1].tolist() == list(range(18))
    assert from_180.pairs(around)[0].tolist() == list(range(18))
    assert len(from_180.join(around, how="within")) == 18


# ---------------------------------------------------------------------- the whole globe

GLOBES = {
    "4326": degrees(-180, -90, 180, 90, 36),
    "0..360": degrees(0, -90, 360, 90, 36),
    "3857": metres(-WIDE / 2, -WIDE / 2, WIDE / 2, WIDE / 2, "EPSG:3857"),
    "ease2": metres(-17367530.45, -7314540.83, 17367530.45, 7314540.83, "EPSG:6933"),
    "sinusoidal": metres(-20015109, -10007554, 20015109, 10007554, "+proj=sinu +R=6371007.181 +units=m"),
}
STRIPS = {
    "3857": (north_up(-WIDE / 2, 10000, WIDE / 1000, 1000), (10, 1000), "EPSG:3857"),
    "ease2": (north_up(-17367530.45, 9008.055 * 2, 9008.055), (1, 3856), "EPSG:6933"),
    "4326": (north_up(-180, 0.2, 0.1), (2, 3600), "EPSG:4326"),
    "0..360": (north_up(0, 0.2, 0.1), (2, 3600), "EPSG:4326"),
}


@pytest.mark.parametrize("name", GLOBES)
def test_a_globe_is_found_from_everywhere(name):
    catalog = catalog_of(GLOBES[name])
    for lon in (-179.9, -120, -60, -0.1, 0.1, 45, 179.5):
        for lat in (-70, -10, 0.5, 30, 75):
            assert catalog.search((lon, lat, lon + 0.1, lat + 0.1), crs="EPSG:4326").tolist() == [0], (lon, lat)
    for item in (
        UTM1,
        UTM60,
        metres(500000, 5e6, 600000, 5.1e6, "EPSG:32633"),
        metres(-1e5, -1e5, 1e5, 1e5, "EPSG:3413"),
    ):
        if name not in ("3857", "ease2") or item[2] != "EPSG:3413":
            assert catalog.search(as_grid(item)).tolist() == [0], item[2]


@pytest.mark.parametrize("name", STRIPS)
def test_a_strip_around_the_earth_is_found_from_everywhere(name):
    """Both its ends lie at 180, so its corners alone make it look like nothing."""
    catalog = catalog_of(STRIPS[name])
    west, _, east, _ = catalog.box84[0]
    assert (west, east) == (-180, 180)
    for lon in (-179.9, -90, 0.1, 13, 100, 179.5):
        assert catalog.search((lon, 0.05, lon + 0.1, 0.15), crs="EPSG:4326").tolist() == [0]
        assert catalog.search((lon, 5, lon + 0.1, 6), crs="EPSG:4326").tolist() == []


def test_blocks_of_a_globe_meet_themselves_alone():
    for name in ("4326", "ease2"):
        tiles = catalog_of(GLOBES[name]).tile(20)
        i, j = tiles.pairs(tiles)
        assert (i == j).all() and len(i) == len(tiles)


def test_rows_of_a_globe_are_found_where_they_lie():
    """`tile` of a raster of the globe into rows gives strips around the earth."""
    for name in ("4326", "0..360", "ease2"):
        catalog = catalog_of(GLOBES[name])
        n = catalog.shape[0, 1]
        rows = catalog.tile((2, n))
        for lat in (-55.2, -3.1, 17.7, 66.6):
            lon = np.full(1, -77.7)
            wanted = [
                r
                for r in range(len(rows))
                if held_points((rows.grid(r).transform, (2, n), GLOBES[name][2]), lon, lat).any()
            ]
            assert len(wanted) == 1
            assert rows.search((-77.8, lat - 0.01, -77.6, lat + 0.01), crs=4326).tolist() == wanted


def test_tiles_in_the_empty_corners_of_a_world_map_are_never_found():
    """A world map in Mollweide's projection is an oval in a rectangle."""
    oval = metres(-18040000, -9020000, 18040000, 9020000, "ESRI:54009", 160)
    tiles = catalog_of(oval).tile(20)
    for lon, lat in ((15.3, 50.2), (-170.3, 3.3), (120.7, -60.4)):
        place = np.array([lon]), np.array([lat])
        wanted = [r for r in range(64) if held_points((tiles.grid(r).transform, (20, 20), oval[2]), *place).any()]
        assert len(wanted) == 1
        assert tiles.search((lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01), crs=4326).tolist() == wanted
    assert 0 not in tiles.search((-180, -90, 180, 90), crs=4326)


def test_tiles_in_the_empty_corners_of_a_world_map_are_never_joined():
    """Also by their place on the map, where the two sides share its CRS: nothing on earth lies there."""
    oval = metres(-18040000, -9020000, 18040000, 9020000, "ESRI:54009", 160)
    tiles = catalog_of(oval).tile(20)
    i, j = tiles.pairs(tiles)
    assert i.tolist() == j.tolist()
    assert i.tolist() == tiles.search((-180, -90, 180, 90), crs=4326).tolist()
    assert 0 not in i and len(i) > 40
    whole = tiles.take(i)
    assert [len(v) for v in whole.pairs(whole)] == [len(i)] * 2


def test_one_small_item_in_an_empty_corner_spoils_nothing():
    inside, outside = metres(0, 0, 20000, 20000, "ESRI:54009"), metres(-1.8e7, 8.9e6, -1.79e7, 9e6, "ESRI:54009")
    for items in ([inside, outside], [outside, inside]):
        catalog = catalog_of(*items)
        assert catalog.search((0.01, 0.01, 0.02, 0.02), crs=4326).tolist() == [items.index(inside)]


def test_a_torn_outline_is_followed_to_its_end():
    """The box reaches over 180, where Robinson's map ends; the two share half a degree of eighteen."""
    item = north_up(-14712618.134, 5373940.3598, 1032.361, 2369.4818), (50, 50), "ESRI:54030"
    asked = degrees(-180.39, 49.751, -162.3836, 49.9122)
    assert shares_points(asked, item)
    assert catalog_of(item).search(as_grid(asked)).tolist() == [0]


def test_a_full_disk_of_a_geostationary_satellite_has_a_place():
    """Its outline lies in space, its middle does not."""
    disk = metres(-5.57e6, -5.57e6, 5.57e6, 5.57e6, "+proj=geos +h=35785831 +lon_0=0 +datum=WGS84 +units=m +sweep=y")
    catalog = catalog_of(disk)
    assert catalog.search((10, 10, 11, 11), crs="EPSG:4326").tolist() == [0]
    assert catalog.search((170, 10, 171, 11), crs="EPSG:4326").tolist() == []
    assert catalog_of(metres(500000, 5e6, 600000, 5.1e6, "EPSG:32633")).pairs(catalog)[0].tolist() == [0]


# ---------------------------------------------------------------------- the poles

POLAR = {
    "holds the south pole": metres(-3e6, -3e6, 3e6, 3e6, "EPSG:3031"),
    "holds it off the middle": metres(-5e5, -2e6, 2e6, 4e5, "EPSG:3031"),
    "holds the north pole": metres(-3e6, -3e6, 3e6, 3e6, "EPSG:3413"),
    "beside the pole": metres(1e4, 1e4, 1e6, 1e6, "EPSG:3413"),
    "ups": metres(1.7e6, 1.7e6, 2.3e6, 2.3e6, "EPSG:32661"),
    "ease2 north": metres(-9e6, -9e6, 9e6, 9e6, "EPSG:6931"),
}
CAPS = [degrees(w, s, w + 45, s + 10) for w in range(-180, 180, 45) for s in (-90, -80, -65, 60, 70, 80)]
LOCAL = [
    metres(400000, 8e6, 500000, 8.1e6, "EPSG:32633"),
    metres(400000, 2e6, 500000, 2.1e6, "EPSG:32733"),
    metres(-2e5, -2e5, 2e5, 2e5, "EPSG:3976"),
    metres(-2e5, -2e5, 2e5, 2e5, "EPSG:3995"),
]


@pytest.mark.parametrize("name", POLAR)
def test_search_around_the_poles(name):
    item = POLAR[name]
    catalog = catalog_of(item)
    others = catalog_of(*CAPS, *LOCAL)
    wanted = [i for i, other in enumerate([*CAPS, *LOCAL]) if shares_points(other, item, 150)]
    assert 0 < len(wanted) < len(others)
    found = [i for i, other in enumerate([*CAPS, *LOCAL]) if len(catalog.search(as_grid(other)))]
    assert found == wanted
    assert others.pairs(catalog)[0].tolist() == wanted
    assert catalog.pairs(others)[1].tolist() == wanted


def test_an_item_that_holds_a_pole_is_boxed_up_to_it():
    for name in ("holds the south pole", "holds it off the middle", "holds the north pole", "ups", "ease2 north"):
        item = POLAR[name]
        west, south, east, north = catalog_of(item).box84[0]
        latitudes = lonlat(item, outline(item))[:, 1]
        assert (west, east) == (-180, 180)
        if "south" in name or "middle" in name:
            assert south == -90 and latitudes.max() <= north
        else:
            assert north == 90 and south <= latitudes.min()


@pytest.mark.parametrize("crs", ["EPSG:3031", "EPSG:3413"])
def test_tiles_with_a_corner_on_the_pole_stay_in_their_quarter(crs):
    """Every tiled polar grid has four of them."""
    tiles = catalog_of(metres(-1e6, -1e6, 1e6, 1e6, crs, 200)).tile(100)
    items = [(tiles.grid(r).transform, (100, 100), crs) for r in range(4)]
    pole = -90 if crs == "EPSG:3031" else 90
    sectors = [degrees(w, min(pole, 60), w + 15, max(pole, -60)) for w in range(-180, 180, 15)]
    for sector in sectors:
        wanted = [r for r in range(4) if shares_points(sector, items[r], 60)]
        assert len(wanted) == 1
        assert tiles.search(as_grid(sector)).tolist() == wanted
    assert len(tiles.pairs(catalog_of(*sectors))[0]) == 24
    own = tiles.pairs(tiles)
    assert (own[0] == own[1]).all()


@pytest.mark.parametrize("east", [-1e6, 0.0, 1.0, 5e5])
def test_an_edge_that_passes_the_pole(east):
    """The pole on the edge, a metre inside, far inside, and outside."""
    item = metres(-2e6, -7e5, east, 9e5, "EPSG:3031", 1000)
    catalog = catalog_of(item)
    for lon in range(-180, 180, 30):
        for south, north in ((-89.95, -89.5), (-85, -80), (-79, -72)):
            asked = degrees(lon + 3, south, lon + 27, north)
            meets = clear_meeting(asked, item)
            if meets is not None:
                assert catalog.search(as_grid(asked)).tolist() == [0] * meets, (lon, south)


# ---------------------------------------------------------------------- covered wholly

WITHIN = [
    pytest.param(
        degrees(-180, 8.9, -179.9, 9),
        metres(820000, 970000, 850000, 1000000, "EPSG:32660"),
        True,
        id="after the antimeridian",
    ),
    pytest.param(degrees(179.92, 8.9, 179.99, 9), UTM60, True, id="before the antimeridian"),
    pytest.param(degrees(179.95, 8.9, 180.05, 9), UTM60, True, id="over the antimeridian"),
    pytest.param(UTM60, degrees(170, 0, 190, 15), True, id="utm in 170..190"),
    pytest.param(UTM60, degrees(-190, 0, -170, 15), True, id="utm in -190..-170"),
    pytest.param(UTM60, degrees(170, 0, 180, 15), False, id="half of utm"),
    pytest.param(degrees(-100, 8.9, -99.9, 9), GLOBES["0..360"], True, id="0..360"),
    pytest.param(UTM60, GLOBES["4326"], True, id="utm in the globe"),
    pytest.param(UTM60, GLOBES["0..360"], True, id="utm in the globe from 0"),
    pytest.param(UTM60, GLOBES["3857"], True, id="utm in web mercator"),
    pytest.param(degrees(-100, -90, -90, -80), POLAR["holds the south pole"], True, id="a sector of the pole"),
    pytest.param(POLAR["holds it off the middle"], POLAR["holds the south pole"], True, id="pole in pole"),
    pytest.param(metres(-1e5, -1e5, 1e5, 1e5, "EPSG:3031"), degrees(-180, -90, 180, -60, 60), True, id="pole in a cap"),
    pytest.param(
        metres(-1e5, -1e5, 1e5, 1e5, "EPSG:3031"), degrees(-180, -90, 170, -60, 60), False, id="pole in an open cap"
    ),
    pytest.param(POLAR["holds the south pole"], degrees(-180, -80, 180, -60, 60), False, id="a ring has a hole"),
]


@pytest.mark.parametrize(("inner", "outer", "wanted"), WITHIN)
def test_within_at_the_seams(inner, outer, wanted):
    h, w = inner[1]
    t = (np.arange(40) + 0.5) / 40
    col, row = (v.ravel() for v in np.meshgrid(t * w, t * h))
    a = inner[0]
    places = lonlat(inner, np.column_stack([a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f]))
    assert held_points(outer, *places.T).all() == wanted
    assert len(catalog_of(inner).join(catalog_of(outer), how="within")) == wanted


# ---------------------------------------------------------------------- other units and meridians


@pytest.mark.parametrize(
    ("item", "crs"),
    [
        (degrees(-5, 50, -4, 54, crs="EPSG:4807"), "grads from Paris"),
        (degrees(-50, 50, -40, 54, crs="EPSG:4807"), "ten grads"),
        (metres(5500000, 100000, 5600000, 200000, "EPSG:2263"), "feet"),
    ],
)
def test_units_are_those_of_the_crs(item, crs):
    catalog = catalog_of(item)
    ring = lonlat(item, outline(item))
    (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    rng = np.random.default_rng(3)
    met = 0
    for _ in range(30):
        lon, lat = rng.uniform((west - 2, south - 1), (east + 2, north + 1))
        asked = degrees(lon, lat, lon + 0.7, lat + 0.5)
        meets = clear_meeting(asked, item)
        if meets is not None:
            met += meets
            assert catalog.search(as_grid(asked)).tolist() == [0] * meets
    assert met


def test_a_place_outside_its_projection_is_refused_by_name():
    """A footprint that is nowhere on earth cannot be found by place."""
    lost = catalog_of(metres(8e6, 8e6, 9e6, 9e6, "+proj=geos +h=35785831 +lon_0=0 +datum=WGS84 +units=m"))
    with pytest.raises(ValueError, match="no place on earth"):
        lost.search((0, 0, 1, 1), crs=4326)


def test_projections_agree_with_pyproj_at_the_far_ends():
    """What the other tests rest on: 180 E and 180 W are one line, and zone 60 crosses it."""
    way = Transformer.from_crs("EPSG:32660", "OGC:CRS84", always_xy=True)
    assert way.transform(820000, 985000)[0] > 179
    assert way.transform(850000, 985000)[0] < -179
    assert isinstance(catalog_of(UTM60), Catalog)
