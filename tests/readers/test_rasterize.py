"""Masks, boxes and instance masks against rasterio and shapely over all features."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import burned_by_rasterio, moved

from geodata.crs import as_crs
from geodata.errors import CatalogError, DtypeError
from geodata.grid import Grid
from geodata.readers.ogr import VectorInfo
from geodata.readers.rasterize import boxes_on, burn, instances_on
from geodata.readers.vector import Features, VectorLayer, features_on, open_layer

UTM = "EPSG:32633"


def layer_of(*geometries) -> VectorLayer:
    array = np.array(geometries, dtype=object)
    return VectorLayer(VectorInfo("made", "made", as_crs(UTM), (0, 0, 1, 1), len(array), {}, 0, 0.0), array, {})


def features_of(*geometries) -> Features:
    return Features(np.arange(len(geometries)), np.array(geometries, dtype=object))


def numbered(layer: VectorLayer, grid: Grid, **options) -> np.ndarray:
    features = features_on(layer, grid)
    return burn(features, features.index + 1, grid, background=0, **options)


GRID = Grid((20, 30), (10, 0, 500_000, 0, -10, 5_600_000), UTM)


def at(geometry) -> shapely.Geometry:
    """Bring a geometry from pixels of GRID to its CRS."""
    return shapely.transform(geometry, GRID.xy)


# ------------------------------------------------------------------------------------------------------ whole files


def everest(realdata) -> Grid:
    with rasterio.open(realdata / "rasters/everest_landsat7_RGB_utm45n.tif") as src:
        return Grid(src.shape, src.transform, src.crs)


REAL = [
    ("vectors/coutwildrnp.shp", (300, 250), (2000, 0, 300_000, 0, -2000, 4_600_000), 32613),
    ("vectors/coutwildrnp.shp", (200, 250), (800, 300, 300_000, 300, -800, 4_300_000), 32613),
    ("vectors/grenada.geojson", (300, 300), (300, 0, 610_000, 0, -300, 1_395_000), 32620),
    ("vectors/svn_border.geojson", (200, 300), (1000, 0, 360_000, 0, -1000, 5_200_000), 32633),
    ("eolearn_slovenia/LULC.gpkg", (220, 242), (10, 0, 464_970, 0, -10, 5_080_970), 32633),
    ("eolearn_slovenia/LULC.gpkg", (220, 242), (10, 0, 464_970, 0, 10, 5_078_770), 32633),
    ("vectors/nybb_16a.zip", (200, 200), (800, 0, 913_000, 0, -800, 273_000), 2263),
]


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize(("name", "shape", "transform", "crs"), REAL)
def test_masks_of_real_files_equal_rasterio(realdata, name, shape, transform, crs, all_touched):
    layer, grid = open_layer(realdata / name), Grid(shape, transform, crs)
    shapes = moved(layer.geometries, layer.crs, crs)
    expected = burned_by_rasterio(shapes, range(1, len(shapes) + 1), shape, grid.transform, all_touched)
    assert 0 < (expected > 0).mean() < 1
    np.testing.assert_array_equal(numbered(layer, grid, all_touched=all_touched), expected)


def test_glaciers_on_windows_of_a_scene_equal_rasterio_and_a_crop_of_the_whole(realdata):
    layer = open_layer(realdata / "vectors/15_rgi60_glacier_outlines.gpkg")
    scene = everest(realdata)
    shapes = moved(layer.geometries, 4326, scene.crs)
    whole = burned_by_rasterio(shapes, range(1, 87), scene.shape, scene.transform)
    assert 0.5 < (whole > 0).mean() < 0.6
    np.testing.assert_array_equal(numbered(layer, scene), whole)
    rng = np.random.default_rng(0)
    for _ in range(30):
        height, width = rng.integers(1, 257, 2).tolist()
        row, col = rng.integers(0, (scene.height - height, scene.width - width)).tolist()
        grid = scene.window(row, col, height, width)
        got = numbered(layer, grid)
        np.testing.assert_array_equal(got, burned_by_rasterio(shapes, range(1, 87), grid.shape, grid.transform))
        np.testing.assert_array_equal(got, whole[row : row + height, col : col + width])


# ------------------------------------------------------------------------------------------------------- what burns


def test_a_later_feature_covers_an_earlier_one():
    layer = layer_of(at(shapely.box(2, 2, 12, 12)), at(shapely.box(8, 8, 20, 16)))
    features = features_on(layer, GRID)
    mask = burn(features, np.array([5, 7]), GRID, background=-1)
    expected = np.full((20, 30), -1)
    expected[2:12, 2:12] = 5
    expected[8:16, 8:20] = 7
    assert mask.dtype == np.int64
    np.testing.assert_array_equal(mask, expected)
    swapped = Features(features.index, features.geometries[::-1])
    assert burn(swapped, np.array([7, 5]), GRID, background=-1)[9, 9] == 5


def test_values_beyond_32_bits_come_out_exactly():
    values = np.array([3_301_010_000, -(2**63), 2**63 - 1])
    features = features_of(*(at(shapely.box(5 * i, 0, 5 * i + 5, 5)) for i in range(3)))
    mask = burn(features, values, GRID, background=2**62 + 1)
    assert mask[0, [0, 5, 10, 15]].tolist() == [*values.tolist(), 2**62 + 1]
    assert burn(features, values.astype(object).astype(np.int64), GRID, background=0).dtype == np.int64
    assert burn(features, np.array([True, False, True]), GRID, background=9)[0, [0, 5, 15]].tolist() == [1, 0, 9]


def test_more_features_than_a_byte_counts():
    row, col = (v.ravel() for v in np.mgrid[:20, :30])
    features = features_of(*at(shapely.box(col, row, col + 1, row + 1)))
    expected = np.arange(600).reshape(20, 30)
    np.testing.assert_array_equal(burn(features, np.arange(600), GRID, background=-1), expected)


def test_a_line_that_just_misses_the_grid_burns_as_in_rasterio():
    """GDAL draws from the pixel of one vertex to the pixel of the next."""
    grid = GRID.window(0, 0, 8, 8)
    line = at(shapely.LineString([(-4, 14), (1, -6)]))
    assert not line.intersects(shapely.Polygon(grid.corners))
    expected = burned_by_rasterio([line], [1], grid.shape, grid.transform)
    assert expected.sum() == 1
    np.testing.assert_array_equal(numbered(layer_of(line), grid), expected)


def test_values_that_cannot_be_burned_are_refused():
    features = features_of(at(shapely.box(0, 0, 5, 5)))
    for values in (np.array([1.5]), np.array([None]), np.array(["a"]), np.array([2**63], dtype=np.uint64)):
        with pytest.raises(DtypeError, match="map them to integers within int64"):
            burn(features, values, GRID, background=0)
    for background in (0.0, None, 2**63):
        with pytest.raises(DtypeError, match="background"):
            burn(features, np.array([1]), GRID, background=background)
    with pytest.raises(CatalogError, match="2,\\) for 1 features"):
        burn(features, np.array([1, 2]), GRID, background=0)


def test_nothing_on_the_grid():
    features = features_on(layer_of(at(shapely.box(100, 100, 110, 110))), GRID)
    assert len(features) == 0
    assert (burn(features, np.empty(0, dtype=int), GRID, background=4) == 4).all()
    boxes, kept = boxes_on(features, GRID)
    assert (boxes.shape, boxes.dtype, kept.shape) == ((0, 4), np.float32, (0,))
    masks, kept = instances_on(features, GRID)
    assert (masks.shape, masks.dtype, kept.shape) == ((0, 20, 30), np.bool_, (0,))


def test_holes_parts_and_collections_burn_as_rasterio_does():
    ring = shapely.box(1, 1, 15, 15).difference(shapely.box(4, 4, 9, 9))
    parts = shapely.MultiPolygon([shapely.box(16, 1, 20, 5), shapely.box(18, 3, 24, 8)])  # overlapping
    mixed = shapely.GeometryCollection([shapely.box(25, 1, 28, 4), shapely.LineString([(2, 18), (27, 12)])])
    shapes = [at(g) for g in (ring, parts, mixed, shapely.MultiLineString([[(0, 0), (29, 19)], [(0, 19), (29, 0)]]))]
    shapes += [at(shapely.Point(3.5, 17.5)), at(shapely.MultiPoint([(7, 17), (9.9, 19.9)]))]
    expected = burned_by_rasterio(shapes, range(1, 7), GRID.shape, GRID.transform)
    assert set(np.unique(expected)) == set(range(7))
    np.testing.assert_array_equal(numbered(layer_of(*shapes), GRID), expected)


@st.composite
def scenes(draw):
    """Polygons (also crossing themselves), lines and points on and around a grid that may be turned or south-up."""
    unit = draw(st.sampled_from([1.0, 0.5, 0.37]))
    place = st.integers(-12, 32).map(lambda v: v * unit)
    shapes = []
    for _ in range(draw(st.integers(1, 8))):
        xy = draw(st.lists(st.tuples(place, place), min_size=3, max_size=8, unique=True))
        kind = draw(st.sampled_from([shapely.Polygon, shapely.Polygon, shapely.LineString, shapely.MultiPoint]))
        shapes.append(kind(xy))
    turn = Affine.rotation(draw(st.sampled_from([0, 0, 30, 137])))
    flip = Affine.scale(1, draw(st.sampled_from([1, -1])))
    transform = Affine.translation(500_000, 5_600_000) @ turn @ Affine.scale(10) @ flip
    grid = Grid(draw(st.tuples(st.integers(1, 20), st.integers(1, 20))), transform, UTM)
    return [shapely.transform(s, grid.xy) for s in shapes], grid


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_any_scene_equals_rasterio_over_all_features(scene):
    shapes, grid = scene
    layer = layer_of(*shapes)
    expected = burned_by_rasterio(shapes, range(1, len(shapes) + 1), grid.shape, grid.transform)
    np.testing.assert_array_equal(numbered(layer, grid), expected)
    features = features_on(layer, grid)
    masks, kept = instances_on(features, grid)
    alone = [burned_by_rasterio([s], [1], grid.shape, grid.transform) > 0 for s in shapes]
    assert features.index[kept].tolist() == [i for i, mask in enumerate(alone) if mask.any()]
    for mask, row in zip(masks, features.index[kept].tolist(), strict=True):
        np.testing.assert_array_equal(mask, alone[row])


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_all_touched_is_what_a_feature_touches(scene):
    """Surely where it reaches 0.02 px into a pixel, surely not where it keeps 0.02 px away."""
    shapes, grid = scene
    features = features_on(layer_of(*shapes), grid)
    masks, kept = instances_on(features, grid, all_touched=True)
    found = dict(zip(features.index[kept].tolist(), masks, strict=True))
    col, row = (v.ravel() for v in np.meshgrid(np.arange(grid.width), np.arange(grid.height)))
    for i, shape in enumerate(shapes):
        at_pixels = shapely.transform(shape, grid.colrow)
        whole = shapely.union_all([shapely.make_valid(at_pixels), shapely.boundary(at_pixels)])
        if shape.geom_type == "LineString":
            whole = at_pixels
        surely, maybe = (
            shapely.intersects(whole, shapely.box(col + e, row + e, col + 1 - e, row + 1 - e)).reshape(grid.shape)
            for e in (0.02, -0.02)
        )
        got = found.get(i, np.zeros(grid.shape, dtype=bool))
        assert not (surely & ~got).any()
        assert not (got & ~maybe).any()
    top = np.zeros(grid.shape, dtype=np.int64)
    for i, mask in found.items():
        top[mask] = i + 1
    np.testing.assert_array_equal(burn(features, features.index + 1, grid, background=0, all_touched=True), top)


# ------------------------------------------------------------------------------------------------------------ boxes


@settings(max_examples=100, deadline=None)
@given(scenes())
def test_boxes_hold_the_part_inside(scene):
    shapes, grid = scene
    features = features_on(layer_of(*shapes), grid)
    boxes, kept = boxes_on(features, grid)
    frame = shapely.box(0, 0, grid.width, grid.height)
    expected = {}
    for row, shape in enumerate(shapes):
        inside = shapely.transform(shape, grid.colrow)
        inside = [p for p in parts_of(shapely.make_valid(inside).intersection(frame)) if p.area > 0]
        box = shapely.total_bounds(inside) if inside else None
        if box is not None and (box[2:] - box[:2] > 1e-5).all():
            expected[row] = box
    got = dict(zip(features.index[kept].tolist(), boxes, strict=True))
    thin = [row for row, box in got.items() if (box[2:] - box[:2] <= 1.1e-5).any()]
    assert set(got) - set(thin) == set(expected)
    for row, box in expected.items():
        np.testing.assert_allclose(got[row], box, atol=2e-5)
    assert boxes.dtype == np.float32
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes <= (grid.width, grid.height) * 2).all()


def parts_of(geometry) -> list:
    return [p for g in shapely.get_parts(geometry) for p in shapely.get_parts(g) if p.geom_type == "Polygon"]


def test_boxes_of_real_fields(realdata):
    layer = open_layer(realdata / "eolearn_slovenia/LULC.gpkg")
    grid = Grid((100, 100), (10, 0, 465_500, 0, -10, 5_080_500), 32633)
    left, bottom, right, top = grid.bounds
    expected = {}
    for row, shape in enumerate(layer.geometries):
        inside = shapely.make_valid(shape).intersection(shapely.box(left, bottom, right, top))
        if inside.area > 0:
            x0, y0, x1, y1 = shapely.total_bounds(parts_of(inside))
            expected[row] = ((x0 - left) / 10, (top - y1) / 10, (x1 - left) / 10, (top - y0) / 10)
    features = features_on(layer, grid)
    boxes, kept = boxes_on(features, grid)
    assert features.index[kept].tolist() == list(expected)
    assert len(expected) > 10
    np.testing.assert_allclose(boxes, list(expected.values()), atol=1e-4)


def test_what_only_touches_or_has_no_area_gets_no_box():
    shapes = [
        shapely.box(-5, 3, 0, 8),  # along the left edge
        shapely.box(30, 20, 35, 25),  # at the corner
        shapely.box(-5, 3, 1e-7, 8),  # a tenth of a millionth of a pixel inside
        shapely.LineString([(2, 2), (9, 9)]),
        shapely.Point(5, 5),
        shapely.Polygon([(3, 3), (6, 6), (9, 9)]),
        shapely.box(2, 4, 6, 7),
        shapely.Polygon([(10, 10), (14, 14), (14, 10), (10, 14)]),  # a bow tie whose signed area is zero
        shapely.box(-9, -9, 99, 99),
    ]
    boxes, kept = boxes_on(features_of(*map(at, shapes)), GRID)
    assert kept.tolist() == [6, 7, 8]
    np.testing.assert_allclose(boxes, [[2, 4, 6, 7], [10, 10, 14, 14], [0, 0, 30, 20]], atol=1e-5)


def test_a_box_ends_where_the_part_inside_ends():
    """A triangle whose tip is outside: its box is the one of what is left, not the clipped box of the whole."""
    boxes, _ = boxes_on(features_of(at(shapely.Polygon([(20, 0), (40, 10), (20, 20)]))), GRID)
    np.testing.assert_allclose(boxes, [[20, 0, 30, 20]], atol=1e-5)
    boxes, _ = boxes_on(features_of(at(shapely.Polygon([(25, 10), (45, -10), (45, 30)]))), GRID)
    np.testing.assert_allclose(boxes, [[25, 5, 30, 15]], atol=1e-5)


# -------------------------------------------------------------------------------------------------------- instances


def test_instances_are_whole_even_where_others_cover_them():
    shapes = [at(shapely.box(2, 2, 12, 12)), at(shapely.box(8, 8, 20, 16)), at(shapely.box(5.6, 5.6, 6.4, 6.4))]
    masks, kept = instances_on(features_of(*shapes), GRID)
    assert kept.tolist() == [0, 1]  # the third holds no centre of a pixel
    expected = np.zeros((2, 20, 30), dtype=bool)
    expected[0, 2:12, 2:12] = True
    expected[1, 8:16, 8:20] = True
    np.testing.assert_array_equal(masks, expected)
    assert instances_on(features_of(*shapes), GRID, all_touched=True)[1].tolist() == [0, 1, 2]
