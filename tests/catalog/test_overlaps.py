"""Rows of one catalog that lie upon each other, against shapely on all pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import shapely
from patches import loose, patches

from geodata.catalog import Catalog
from geodata.catalog.footprint import project, rings
from geodata.catalog.overlaps import items_of, overlaps, places
from geodata.crs import as_crs


def brute(catalog, least=0.01):
    """Shares of the smaller, of polygons in an equal-area projection about the middle of the data."""
    plane = as_crs("+proj=laea +lat_0=49 +lon_0=12 +datum=WGS84 +units=m +type=crs")
    outline = [
        shapely.Polygon(
            project(rings(catalog.footprints.take(np.array([k])), 16)[0], catalog.footprints.crs[code], plane)
        )
        for k, code in enumerate(catalog.footprints.code)
    ]
    found = {}
    for i, j in combinations(range(len(catalog)), 2):
        share = outline[i].intersection(outline[j]).area / min(outline[i].area, outline[j].area)
        if share > least:
            found[i, j] = share
    return found


def found_in(catalog, **options):
    i, j, share = overlaps(catalog, **options)
    return dict(zip(zip(i.tolist(), j.tolist(), strict=True), share.tolist(), strict=True))


@pytest.mark.parametrize("epsg", [(32632,), (32632, 32633), (4326,), (32633, 3857)])
def test_pairs_and_shares_are_those_of_polygons(epsg):
    catalog = patches(70, spread=12_000, seed=3, epsg=(32632, 32633)[: len(epsg)])
    if 4326 in epsg or 3857 in epsg:
        catalog = moved(catalog, epsg)
    wanted, got = brute(catalog), found_in(catalog)
    assert len(wanted) > 10 and got.keys() == wanted.keys()
    assert max(abs(got[pair] - wanted[pair]) for pair in wanted) < 2e-3


def moved(catalog, epsg):
    """The same middles, as squares of other systems."""
    from geodata.splits.places import lonlat

    places, systems = lonlat(catalog), [epsg[k % len(epsg)] for k in range(len(catalog))]
    affine = np.zeros((len(catalog), 6))
    for k, code in enumerate(systems):
        x, y = project(places[k], as_crs("OGC:CRS84"), as_crs(code))
        res = 1e-4 if code == 4326 else 15 if code == 3857 else 10
        affine[k] = res, 0, x - 60 * res, 0, -res, y + 60 * res
    return Catalog.from_columns(key=catalog.key.tolist(), affine=affine, shape=catalog.shape, crs=systems)


def test_touching_is_not_overlapping():
    scene = Catalog.from_columns(key=["a"], affine=[[10, 0, 5e5, 0, -10, 5e6]], shape=[[100, 100]], crs="EPSG:32633")
    assert not found_in(scene.tile(10))
    half = found_in(scene.tile(20, 10))
    assert set(np.round(list(half.values()), 6)) == {0.25, 0.5}


def test_small_shares_do_not_count():
    affine = np.tile([10.0, 0, 500_000, 0, -10, 5_600_000], (3, 1))
    affine[1, 2] += 990  # 1 % of 1000 m
    affine[2, 2] -= 980
    catalog = Catalog.from_columns(key=["a", "b", "c"], affine=affine, shape=[[100, 100]] * 3, crs="EPSG:32633")
    assert found_in(catalog).keys() == {(0, 2)}
    assert found_in(catalog, least=0.005).keys() == {(0, 1), (0, 2)}


def test_tiles_without_a_place_overlap_within_their_item():
    assert not found_in(loose())
    tiles = loose(2).tile(60, 40)
    got = found_in(tiles)
    origin, of = tiles.origin, items_of(tiles)
    for i, j in combinations(range(len(tiles)), 2):
        low = np.maximum(origin[i], origin[j])
        high = np.minimum(origin[i] + tiles.shape[i], origin[j] + tiles.shape[j])
        area = np.maximum(high - low, 0).prod() * (of[i] == of[j])
        assert ((i, j) in got) == (area > 0.01 * min(tiles.shape[i].prod(), tiles.shape[j].prod()))


def test_over_the_antimeridian_a_pair_comes_once():
    affine = [[0.01, 0, 179.5, 0, -0.01, 10], [0.01, 0, -180.3, 0, -0.01, 10]]
    catalog = Catalog.from_columns(key=["a", "b"], affine=affine, shape=[[100, 100]] * 2, crs="EPSG:4326")
    assert found_in(catalog).keys() == {(0, 1)}


def test_boxes_in_degrees_also_a_turn_away():
    affine = [[1, 0, west, 0, -1, 50] for west in (-180, 178, 181, 175, -180, 100)]
    shape = [[10, 10], [10, 4], [10, 10], [10, 10], [10, 360], [10, 100]]
    catalog = Catalog.from_columns(key=list("abcdef"), affine=affine, shape=shape, crs="EPSG:4326")
    # a 180-170 W, b 178 E-178 W, c 179-169 W, d 175 E-175 W, e all around, f 100 E-160 W
    wanted = {
        (0, 1): 0.5, (0, 2): 0.9, (0, 3): 0.5, (0, 4): 1, (0, 5): 1, (1, 2): 0.25, (1, 3): 1, (1, 4): 1, (1, 5): 1,
        (2, 3): 0.4, (2, 4): 1, (2, 5): 1, (3, 4): 1, (3, 5): 1, (4, 5): 1,
    }  # fmt: skip
    got = found_in(catalog)
    assert got.keys() == wanted.keys()
    assert {pair: round(share, 6) for pair, share in got.items()} == wanted


def test_small_footprints_upon_large_ones_of_other_systems():
    small = patches(60, spread=120_000, seed=5)
    zone, (west, north) = 32633, (230_000, 5_430_000)
    scene = Catalog.from_columns(
        key=["scene"], affine=[[60, 0, west, 0, -60, north]], shape=[[1830, 1830]], crs=f"EPSG:{zone}"
    )
    both = Catalog.from_columns(
        key=[*small.key, "scene"],
        affine=np.vstack([small.affine, scene.affine]),
        shape=np.vstack([small.shape, scene.shape]),
        crs=[*small.crs, *scene.crs],
    )
    assert found_in(both).keys() == brute(both).keys()
    assert sum(60 in pair for pair in found_in(both)) > 5


def test_turned_tiles_without_a_place_overlap_too():
    turned = Catalog.from_columns(key=["a"], affine=[[0, 1, 0, 1, 0, 0]], shape=[[40, 40]], crs=None)
    assert set(found_in(turned.tile(20, 10)).values()) == {0.25, 0.5}


@pytest.mark.parametrize("kind", ["globe", "tiles"])
def test_places_are_distinct_footprints(kind):
    once = patches(50, spread=8_000, seed=3) if kind == "globe" else loose(3).tile(60, 40)
    if kind == "globe":
        n = 4 * len(once)
        many = Catalog.from_columns(
            key=[f"{k}" for k in range(n)],
            affine=np.tile(once.affine, (4, 1)),
            shape=np.tile(once.shape, (4, 1)),
            crs=list(once.crs) * 4,
        )
    else:
        many, n = once, len(once)
    place, i, j = places(many)
    assert len(set(place)) == len(once) and place.max() == len(once) - 1
    pairs = {(min(p, q), max(p, q)) for p, q in zip(i.tolist(), j.tolist(), strict=True)}
    found, _, _ = overlaps(many)
    assert len(pairs) > 5
    for a, b in zip(*overlaps(many)[:2], strict=True):
        assert place[a] == place[b] or (min(place[a], place[b]), max(place[a], place[b])) in pairs
    assert len(found) == len(pairs) * (n // len(once)) ** 2 + n * (n // len(once) - 1) // 2


def test_long_series_have_few_pairs():
    n = 40_000
    affine = np.tile([10.0, 0, 500_000, 0, -10, 5_600_000], (n, 1))
    affine[:, 2] += 500.0 * (np.arange(n) % 4)
    catalog = Catalog.from_columns(
        key=[f"{k}" for k in range(n)], affine=affine, shape=[[100, 100]] * n, crs="EPSG:32633"
    )
    place, i, _ = places(catalog)
    assert np.bincount(place).tolist() == [10_000] * 4 and len(i) == 3
