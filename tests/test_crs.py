"""CRSs: one object per system, text that gives it back, and longitude first."""

from __future__ import annotations

import math
import pickle
import threading

import numpy as np
import pytest
import rasterio.crs
from pyproj import CRS

from geodata.crs import CRS84, as_crs, crs_text, same_crs, transformer
from geodata.errors import CRSError, GeodataError

LOCAL = "+proj=tmerc +lat_0=3 +lon_0=7.123 +k=0.9999 +x_0=100 +y_0=7 +ellps=GRS80 +units=m +no_defs"
ESRI_UTM33 = (
    'PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",15.0],'
    'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
)
MOON = "IAU_2015:30100"


@pytest.mark.parametrize(
    "spelling",
    [
        "EPSG:32633",
        "epsg:32633",
        32633,
        np.int64(32633),
        CRS.from_epsg(32633),
        CRS.from_epsg(32633).to_wkt(),
        CRS.from_epsg(32633).to_wkt("WKT1_GDAL"),
        rasterio.crs.CRS.from_epsg(32633),
        "urn:ogc:def:crs:EPSG::32633",
    ],
    ids=lambda v: f"{type(v).__module__.split('.')[0]}-{str(v)[:12]}",
)
def test_one_system_is_one_object(spelling):
    assert as_crs(spelling) is as_crs("EPSG:32633")
    assert crs_text(as_crs(spelling)) == "EPSG:32633"


@pytest.mark.parametrize("spelling", [ESRI_UTM33, "+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs"])
def test_other_words_for_a_system_place_points_alike(spelling):
    crs = as_crs(spelling)
    assert same_crs(as_crs(crs_text(crs)), crs)
    there = transformer(CRS84, crs).transform(15.3, 50.2)
    assert there == pytest.approx(transformer(CRS84, as_crs(32633)).transform(15.3, 50.2), abs=1e-6)


@pytest.mark.parametrize("value", [None, "", "  ", rasterio.crs.CRS()])
def test_nothing_is_no_crs_and_never_a_default(value):
    assert as_crs(value) is None
    assert crs_text(as_crs(value)) == ""


@pytest.mark.parametrize("value", ["EPSG:999999", "nonsense", 0, -5, 3.5, True, {"proj": "utm"}, [32633], object()])
def test_what_names_no_system_is_refused_with_advice(value):
    with pytest.raises(CRSError, match="give an EPSG code, PROJ text") as caught:
        as_crs(value)
    assert isinstance(caught.value, GeodataError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "value", ["EPSG:32633", "EPSG:4326", "OGC:CRS84", "EPSG:3031", "ESRI:54009", LOCAL, "EPSG:31467", MOON]
)
def test_text_gives_the_system_back(value):
    crs = as_crs(value)
    assert same_crs(as_crs(crs_text(crs)), crs)
    assert crs_text(as_crs(crs_text(crs))) == crs_text(crs)
    assert pickle.loads(pickle.dumps(crs)) == crs


def test_text_is_short_where_there_is_a_code():
    assert [crs_text(as_crs(v)) for v in (4326, "OGC:CRS84", "ESRI:54009")] == ["EPSG:4326", "OGC:CRS84", "ESRI:54009"]


def test_a_towgs84_does_not_vanish():
    shifted = "+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000 +y_0=0 +ellps=bessel +towgs84=598,74,418,0.2,0.05,-2.4,6.7 +units=m"
    bare = "+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000 +y_0=0 +ellps=bessel +units=m"
    assert not same_crs(as_crs(shifted), as_crs(bare))
    one = transformer(CRS84, as_crs(shifted)).transform(9.0, 50.0)
    back = transformer(CRS84, as_crs(crs_text(as_crs(shifted)))).transform(9.0, 50.0)
    assert one == back
    assert math.dist(one, transformer(CRS84, as_crs(bare)).transform(9.0, 50.0)) > 10


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (32633, "EPSG:32633", True),
        (None, None, True),
        (32633, None, False),
        (None, 32633, False),
        (32633, 32634, False),
        (32633, 32733, False),
        (4326, 4258, False),
        (LOCAL, LOCAL.replace("+k=0.9999", "+k=0.9998"), False),
    ],
)
def test_same_crs(a, b, same):
    assert same_crs(as_crs(a), as_crs(b)) is same


# ---------------------------------------------------------------------- transforming


def test_longitude_comes_first_whatever_the_authority_says():
    radius = 6378137.0
    lon, lat = 24.0, 61.0
    wanted = radius * math.radians(lon), radius * math.log(math.tan(math.pi / 4 + math.radians(lat) / 2))
    for geographic in ("EPSG:4326", "OGC:CRS84"):
        assert transformer(as_crs(geographic), as_crs(3857)).transform(lon, lat) == pytest.approx(wanted, abs=1e-6)
    # The middle of UTM zone 33 is 15 E, where the easting is 500 km; EPSG:3035 declares northing first.
    assert transformer(CRS84, as_crs(32633)).transform(15.0, 0.0) == pytest.approx((500000, 0), abs=1e-6)
    assert transformer(CRS84, as_crs(3035)).transform(10.0, 52.0) == pytest.approx((4321000, 3210000), abs=1e-6)


def test_places_without_coordinates_come_back_as_infinity():
    geostationary = as_crs("+proj=geos +h=35785831 +lon_0=0 +datum=WGS84 +units=m")
    lon, lat = transformer(geostationary, CRS84).transform(np.array([5.5e6, 0.0]), np.array([5.5e6, 0.0]))
    assert np.isinf([lon[0], lat[0]]).all()
    assert (lon[1], lat[1]) == pytest.approx((0, 0), abs=1e-9)


def test_systems_of_two_bodies_have_no_way_between_them():
    with pytest.raises(CRSError, match="same celestial body"):
        transformer(as_crs(MOON), CRS84)


def test_each_thread_has_its_own_transformer():
    here = transformer(CRS84, as_crs(32633))
    assert transformer(CRS84, as_crs(32633)) is here
    there = []
    worker = threading.Thread(target=lambda: there.append(transformer(CRS84, as_crs(32633))))
    worker.start()
    worker.join()
    assert there[0] is not here


def test_many_threads_name_one_system_at_once():
    found = []
    wkts = [CRS.from_epsg(code).to_wkt() for code in range(32601, 32621)]

    def name_all():
        found.append([id(as_crs(w)) for w in wkts])

    threads = [threading.Thread(target=name_all) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    assert all(row == found[0] for row in found)
