"""Layers in memory, and which features lie on a grid and where."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from vectors import at_centres, moved, wrong_pixels

from geodata.crs import as_crs
from geodata.errors import CRSError, ReadError
from geodata.grid import Grid
from geodata.readers import vector
from geodata.readers.ogr import VectorInfo
from geodata.readers.rasterize import burn
from geodata.readers.vector import VectorLayer, features_on, open_layer


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(vector, "_cache", type(vector._cache)())


def write(path: Path, geometries, crs: int = 32633, **columns) -> Path:
    rows = [
        {
            "type": "Feature",
            "geometry": None if g is None else shapely.geometry.mapping(g),
            "properties": {k: v[i] for k, v in columns.items()},
        }
        for i, g in enumerate(geometries)
    ]
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{crs}"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": {"type": "name", **named}, "features": rows}))
    return path


def layer_of(*geometries, crs) -> VectorLayer:
    array = np.array(geometries, dtype=object)
    bounds = tuple(shapely.total_bounds(array).tolist())
    return VectorLayer(VectorInfo("made", "made", as_crs(crs), bounds, len(array), {}, 0, 0.0), array, {})


def numbered(layer: VectorLayer, grid: Grid) -> np.ndarray:
    """1 + row of the layer on top, 0 for none."""
    features = features_on(layer, grid)
    assert (np.diff(features.index) > 0).all()
    return burn(features, features.index + 1, grid, background=0)


def utm(x: float, y: float, size: int, res: float, zone: int = 33) -> Grid:
    return Grid((size, size), (res, 0, x, 0, -res, y), 32600 + zone)


# ------------------------------------------------------------------------------------------------------------- layers


def test_a_layer_is_read_once_until_the_file_changes(tmp_path):
    path = write(tmp_path / "a.geojson", [shapely.box(0, 0, 1, 1)], v=[1])
    first = open_layer(path, columns=["v"])
    assert open_layer(str(path), columns=("v",)) is first
    assert open_layer(path) is not first
    write(path, [shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)], v=[1, 2])
    again = open_layer(path, columns=["v"])
    assert len(again) == 2
    assert again.columns["v"].tolist() == [1, 2]
    assert first not in vector._cache.values()


def test_features_without_a_geometry_are_dropped_with_their_values(tmp_path):
    shapes = [None, shapely.box(0, 0, 1, 1), shapely.Polygon(), shapely.box(5, 5, 6, 6)]
    layer = open_layer(write(tmp_path / "a.geojson", shapes, v=[7, 8, 9, 10]), columns=["v"])
    assert layer.dropped == 2
    assert layer.columns["v"].tolist() == [8, 10]
    assert [g.bounds for g in layer.geometries] == [(0, 0, 1, 1), (5, 5, 6, 6)]
    with pytest.raises(ReadError, match="none of its features has a geometry"):
        open_layer(write(tmp_path / "b.geojson", [None]))


def test_what_is_shared_is_read_only(tmp_path):
    layer = open_layer(write(tmp_path / "a.geojson", [shapely.box(0, 0, 1, 1)], v=[1]), columns=["v"])
    with pytest.raises(ValueError, match="read-only"):
        layer.geometries[0] = None
    with pytest.raises(ValueError, match="read-only"):
        layer.columns["v"][0] = 5


def test_the_cache_is_bounded_and_keeps_the_last(tmp_path, monkeypatch):
    paths = [write(tmp_path / f"{i}.geojson", [shapely.Point(i, 0).buffer(1, 256)]) for i in range(5)]
    one = open_layer(paths[0]).nbytes
    assert one > 16 * 1025
    monkeypatch.setattr(vector, "CACHE_BYTES", 2 * one)
    for path in paths:
        open_layer(path)
    assert [key[0] for key in vector._cache] == [str(p) for p in paths[-2:]]
    monkeypatch.setattr(vector, "CACHE_BYTES", 1)
    open_layer(paths[0])
    assert [key[0] for key in vector._cache] == [str(paths[0])]


def test_threads_read_a_layer_once(tmp_path, monkeypatch):
    path = write(tmp_path / "a.geojson", [shapely.box(0, 0, 1, 1)])
    reads, got, read = [], [], vector.read_layer

    def slow(info, columns):
        reads.append(info)
        time.sleep(0.05)
        return read(info, columns)

    monkeypatch.setattr(vector, "read_layer", slow)
    threads = [threading.Thread(target=lambda: got.append(open_layer(path).tree)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(reads) == 1
    assert len({id(tree) for tree in got}) == 1


def _in_child(path, grid, queue):
    layer = open_layer(path)
    queue.put((vector.describe_layer is None, features_on(layer, grid).index.tolist()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_works_while_a_thread_of_the_parent_holds_the_lock(tmp_path, monkeypatch):
    path = write(tmp_path / "a.geojson", [shapely.box(0, 0, 50, 50), shapely.box(500, 0, 550, 50)])
    grid = utm(0, 100, 10, 10)
    assert features_on(open_layer(path), grid).index.tolist() == [0]
    held, done = threading.Event(), threading.Event()

    def hold():
        with vector._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    # A second read in the child would show as an error there: the layer came along in memory.
    monkeypatch.setattr(vector, "describe_layer", None)
    child = context.Process(target=_in_child, args=(path, grid, queue))
    child.start()
    assert queue.get(timeout=20) == (True, [0])
    child.join(20)
    done.set()
    thread.join()


def test_a_layer_survives_pickling(tmp_path):
    layer = open_layer(write(tmp_path / "a.geojson", [shapely.box(0, 0, 50, 50)], v=[3]), columns=["v"])
    assert len(layer.tree) == 1
    again = pickle.loads(pickle.dumps(layer))
    assert features_on(again, utm(0, 100, 10, 10)).index.tolist() == [0]
    assert again.columns["v"].tolist() == [3]


# ----------------------------------------------------------------------------------------------------------- same CRS


def test_search_on_a_grid_equals_brute_force(realdata):
    layer = open_layer(realdata / "eolearn_slovenia/LULC.gpkg")
    rng = np.random.default_rng(0)
    for _ in range(50):
        turn = Affine.rotation(rng.uniform(0, 360)) if rng.random() < 0.5 else Affine.identity()
        x, y = rng.uniform((464_500, 5_078_500), (467_500, 5_081_500))
        grid = Grid((20, 31), Affine.translation(x, y) @ turn @ Affine.scale(7, -7), layer.crs)
        around = shapely.Polygon(grid.xy(np.array([[-2, -2], [33, -2], [33, 22], [-2, 22]], dtype=float)))
        expected = [i for i, g in enumerate(layer.geometries) if g.intersects(around)]
        features = features_on(layer, grid)
        assert features.index.tolist() == expected
        whole = layer.geometries[expected]
        cut = shapely.get_num_coordinates(whole) > 1000
        assert (features.geometries[~cut] == whole[~cut]).all()
        lost = shapely.intersection(shapely.symmetric_difference(features.geometries[cut], whole[cut]), around)
        assert shapely.area(lost).sum() < 1e-6


def test_a_heavy_polygon_is_cut_and_burns_the_same():
    star = shapely.Polygon([(1000 * np.cos(a) * (1 + 0.3 * np.sin(40 * a)), 1000 * np.sin(a)) for a in
                            np.linspace(0, 2 * np.pi, 5000, endpoint=False)])  # fmt: skip
    layer, grid = layer_of(star, crs=32633), utm(700, 500, 64, 4)
    features = features_on(layer, grid)
    assert shapely.get_num_coordinates(features.geometries[0]) < 1500
    expected = at_centres([star], 32633, grid.shape, grid.transform, 32633)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(numbered(layer, grid), expected)


# -------------------------------------------------------------------------------------------------------- other CRSs


def test_no_crs_on_the_grid():
    with pytest.raises(CRSError, match=r"EPSG:32633 and Grid.* has no CRS"):
        features_on(layer_of(shapely.box(0, 0, 1, 1), crs=32633), Grid((5, 5), (1, 0, 0, 0, -1, 5)))


WORLD = [
    ("utm60 over the antimeridian", (120, 120), (12_500, 0, 0, 0, -12_500, 8_300_000), "EPSG:32660"),
    ("utm1 over the antimeridian", (120, 120), (12_500, 0, 0, 0, -12_500, 8_300_000), "EPSG:32601"),
    ("fiji", (100, 100), (6000, 0, 500_000, 0, -6000, 8_300_000), "EPSG:32760"),
    ("south pole", (100, 100), (80_000, 0, -4_000_000, 0, -80_000, 4_000_000), "EPSG:3031"),
    ("north pole", (100, 100), (80_000, 0, -4_000_000, 0, -80_000, 4_000_000), "EPSG:3413"),
    ("beside the north pole", (100, 100), (15_000, 0, 20_000, 0, -15_000, -20_000), "EPSG:3413"),
    ("north pole on an edge", (100, 100), (24_000, 0, 0, 0, -24_000, 1_200_000), "EPSG:3995"),
    ("web mercator", (64, 64), (8000, 0, 1_000_000, 0, -8000, 6_000_000), "EPSG:3857"),
    (
        "last tile of web mercator",
        (64, 64),
        (78271.516964, 0, 15028131.257, 0, -78271.516964, 15028131.257),
        "EPSG:3857",
    ),
    ("world in web mercator", (100, 100), (400_751, 0, -20_037_508.34, 0, -400_751, 20_037_508.34), "EPSG:3857"),
    ("world in mollweide", (80, 160), (226_000, 0, -18_080_000, 0, -226_000, 9_040_000), "ESRI:54009"),
    ("europe", (100, 100), (48_000, 0, 2_500_000, 0, -48_000, 5_500_000), "EPSG:3035"),
    ("world, same CRS", (90, 180), (2, 0, -180, 0, -2, 90), "EPSG:4326"),
    ("world, other datum", (90, 180), (2, 0, -180, 0, -2, 90), "EPSG:4258"),
    ("longitudes beyond 180", (80, 80), (0.25, 0, 170, 0, -0.25, 72), "EPSG:4258"),
    ("rotated", (80, 80), (20_000, 7500, 300_000, 7500, -20_000, 6_000_000), "EPSG:32633"),
    ("south up", (80, 80), (22_000, 0, 0, 0, 22_000, 4_500_000), "EPSG:32633"),
]


@pytest.mark.parametrize(("shape", "transform", "crs"), [w[1:] for w in WORLD], ids=[w[0] for w in WORLD])
def test_countries_lie_where_their_pixels_say(realdata, shape, transform, crs):
    layer = open_layer(realdata / "vectors/naturalearth_lowres.shp")
    grid = Grid(shape, transform, crs)
    got = numbered(layer, grid)
    assert got.any()
    assert wrong_pixels(got, layer.geometries, 4326, grid.transform, crs) == 0


def test_a_layer_with_longitudes_from_0_to_360():
    layer = layer_of(shapely.box(170, 60, 200, 70), shapely.box(350, 0, 365, 10), crs=4326)
    for x, y, zone in ((0, 8_300_000, 1), (-500_000, 1_500_000, 31)):
        grid = utm(x, y, 200, 8000, zone)
        got = numbered(layer, grid)
        assert got.any()
        assert wrong_pixels(got, layer.geometries, 4326, grid.transform, grid.crs) == 0


POLAR = [
    ("whole turn", (60, 720), (0.5, 0, -180, 0, -0.5, -60)),
    ("a sector", (60, 100), (0.5, 0, 10, 0, -0.5, -60)),
    ("away from the pole", (30, 720), (0.5, 0, -180, 0, -0.5, -60)),
    ("whole turn from Greenwich", (60, 720), (0.5, 0, 0, 0, -0.5, -60)),
]


@pytest.mark.parametrize(("shape", "transform"), [p[1:] for p in POLAR], ids=[p[0] for p in POLAR])
def test_a_polygon_that_holds_a_pole_on_a_grid_of_degrees(shape, transform):
    layer = layer_of(shapely.Point(0, 0).buffer(2e6, 256), shapely.box(1e6, 1e6, 4e6, 3e6), crs=3031)
    grid = Grid(shape, transform, 4326)
    got = numbered(layer, grid)
    assert set(np.unique(got)) == {0, 1, 2}
    assert wrong_pixels(got, layer.geometries, 3031, grid.transform, 4326) == 0


DATELINE = [
    ("east of it", (200, 300), (0.05, 0, 170, 0, -0.05, 76), 4326),
    ("west of it", (200, 200), (0.05, 0, -180, 0, -0.05, 76), 4326),
    ("over it", (200, 300), (0.05, 0, 175, 0, -0.05, 76), 4326),
    ("the world", (360, 720), (0.5, 0, -180, 0, -0.5, 90), 4326),
    ("the next zone", (200, 200), (5000, 0, 0, 0, -5000, 8_300_000), 32601),
]


@pytest.mark.parametrize(("shape", "transform", "crs"), [d[1:] for d in DATELINE], ids=[d[0] for d in DATELINE])
def test_a_utm_polygon_over_the_antimeridian(shape, transform, crs):
    layer = layer_of(shapely.box(600_000, 7_800_000, 900_000, 8_100_000), crs=32660)
    grid = Grid(shape, transform, crs)
    got = numbered(layer, grid)
    assert got.any()
    assert wrong_pixels(got, layer.geometries, 32660, grid.transform, crs) == 0


def test_a_ring_around_the_globe_on_a_polar_grid():
    circle = 20_037_508.342789244
    layer = layer_of(shapely.box(-circle, 7_800_000, circle, 10_018_754.17), crs=4087)
    grid = Grid((300, 300), (20_000, 0, -3_000_000, 0, -20_000, 3_000_000), 3413)
    assert wrong_pixels(numbered(layer, grid), layer.geometries, 4087, grid.transform, 3413) == 0


@pytest.mark.parametrize("target", [3857, 32633, 3035, 3413, 4326])
def test_long_edges_bend_as_they_should(target):
    """The outline, followed in steps of a thousandth of an edge, is never further than 0.1 px from the drawn one."""
    source = 3035 if target == 4326 else 4326
    shape = shapely.Polygon([(4, 46), (19, 45), (21, 56), (5, 57)])
    shape = moved([shape], 4326, source)[0]
    middle = moved([shape.centroid], source, target)[0]
    res = 0.02 if target == 4326 else 2500.0
    x, y = middle.x - 450 * res, middle.y + 450 * res
    grid = Grid((900, 900), (res, 0, x, 0, -res, y), target)
    (drawn,) = features_on(layer_of(shape, crs=source), grid).geometries
    fine = moved(shapely.segmentize([shape], shape.length / 4000), source, target)[0]
    here = shapely.Polygon(grid.corners)
    points = shapely.points(shapely.get_coordinates(fine))
    points = points[shapely.intersects(here, points)]
    assert len(points) > 1000
    assert shapely.distance(drawn.exterior, points).max() < 0.1 * res
    plain = moved([shape], source, target)[0]
    assert shapely.distance(plain.exterior, points).max() > 1 * res  # what vertices alone would give


def test_a_bow_tie_is_mended_before_it_is_cut():
    tie = shapely.Polygon([(-30, 40), (60, 60), (60, 40), (-30, 60)])
    grid = utm(400_000, 5_700_000, 80, 4000)
    layer = layer_of(tie, crs=4326)
    got = numbered(layer, grid)
    fixed = [shapely.make_valid(tie)]
    assert 0 < got.mean() < 1
    assert wrong_pixels(got, fixed, 4326, grid.transform, grid.crs) == 0
    assert layer.geometries[0] is tie


def test_lines_and_points_come_along():
    way = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    places = shapely.points(np.column_stack(way.transform([500_105, 500_905], [5_599_905, 5_599_105])))
    layer = layer_of(*places, shapely.LineString(places), shapely.MultiPoint(list(places)), crs=4326)
    features = features_on(layer, utm(500_000, 5_600_000, 50, 10))
    assert features.index.tolist() == [0, 2, 3]
    got = burn(features, np.array([1, 2, 3]), utm(500_000, 5_600_000, 50, 10), background=0)
    assert got[9, 10] == 3
    assert (np.diag(got[9:, 10:]) != 0).mean() > 0.9


def test_edges_that_cannot_be_followed_are_said(realdata):
    layer = open_layer(realdata / "vectors/naturalearth_lowres.shp")
    half_turned = Grid((400, 800), (45_200, 0, -18_080_000, 0, -45_200, 9_040_000), "+proj=moll +lon_0=10")
    with pytest.raises(CRSError, match="across a seam or a pole"):
        features_on(layer, half_turned)
    half_world = Grid((400, 400), (35_000, 0, -7_000_000, 0, -35_000, 7_000_000), "+proj=ortho +lat_0=40 +lon_0=0")
    with pytest.raises(CRSError, match="only in part where the target is defined"):
        features_on(layer, half_world)
    beyond = Grid((256, 256), (4000, 0, 19_600_000, 0, -4000, 10_700_000), 3857)
    with pytest.raises(CRSError, match="reaches over the edge of its CRS"):
        features_on(layer, beyond)
