"""Squares of the Military Grid Reference System: what a point lies in, and where that lies."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from pyproj import Transformer

from geodata.errors import CatalogError
from geodata.mgrs import SQUARE, corner_of_tile, squares_of

corner = lru_cache(maxsize=None)(corner_of_tile)
to_utm = lru_cache(maxsize=None)(lambda epsg: Transformer.from_crs(4326, epsg, always_xy=True))


def holds(lonlat):
    for (lon, lat), name in zip(lonlat.tolist(), squares_of(lonlat).tolist(), strict=True):
        epsg, x, y = corner(name)
        px, py = to_utm(epsg).transform(lon, lat)
        assert x <= px < x + SQUARE and y <= py < y + SQUARE, (name, lon, lat)


def places(n=150):
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-79.9)), np.sin(np.radians(83.9)), n)))
    return np.column_stack([rng.uniform(-180, 180, n), lat])


def test_a_point_lies_in_its_square():
    holds(places())


@pytest.mark.parametrize("zone", [1, 32, 36])
def test_corners_of_zones_and_bands(zone):
    """There a band reaches into squares that its middle does not meet: parallels bend away from the equator."""
    west = 6 * zone - 186
    lon = [west + 1e-6, west + 3, west + 6 - 1e-6]
    lat = [8 * k + step for k in range(-10, 10) for step in (0, 1e-4, 7.999)]
    holds(np.array([(x, y) for x in lon for y in lat]))


def test_wide_zones_of_norway_and_svalbard():
    holds(np.array([(x, y) for x in np.linspace(3, 11.9, 8) for y in (56, 60, 63.9999)]))
    holds(np.array([(x, y) for x in np.linspace(0, 41.9, 24) for y in (72, 80, 83.99)]))


@pytest.mark.parametrize(
    ("lonlat", "name"),
    # Published squares: Berlin, Bergen (wide zone 32), Longyearbyen (zone 33), Honolulu, Cape Town, Quito.
    [
        ((13.4, 52.5), "33UUU"),
        ((5.33, 60.39), "32VKN"),
        ((15.6, 78.2), "33XWG"),
        ((-157.86, 21.3), "04QFJ"),
        ((18.42, -33.92), "34HBH"),
        ((-78.5, -0.2), "17MQV"),
    ],
)
def test_squares_of_towns(lonlat, name):
    assert squares_of(np.array([lonlat])).tolist() == [name]


def test_longitudes_may_be_turned():
    lonlat = places(50)
    assert (squares_of(lonlat + np.array([360, 0])) == squares_of(lonlat)).all()


def test_beyond_the_squares():
    with pytest.raises(CatalogError, match=r"squares reach from -80 to 84 degrees"):
        squares_of(np.array([[0.0, 85.0]]))
    for name in ("61UUP", "33IUP", "33UAA", "33", "33UUW"):
        with pytest.raises(CatalogError, match="no 100 km square is called"):
            corner_of_tile(name)
