"""Pixels of polygons worked out together against rasterio, which draws one polygon after the other."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from geodata.grid import Grid
from geodata.readers import fill
from geodata.readers.fill import paint, runs_of
from geodata.readers.rasterize import burn, instances_on
from geodata.readers.vector import Features, open_layer

UTM = "EPSG:32632"

TRANSFORMS = [
    Affine(10, 0, 399_960, 0, -10, 5_300_040),
    Affine(0.1, 0, 399_960, 0, -0.1, 47.123),
    Affine(1 / 3, 0, -13.37, 0, 2 / 3, 5_600_000),
    Affine(9, 3, 500_000, 2, -8, 5_600_000),
    Affine(0, 30, 500_000, 30, 0, 5_600_000),
    Affine.identity(),
    Affine(1, 0, 0, 0, -1, 0),
]


def drawn(geometries, grid) -> np.ndarray | None:
    geometries = np.asarray(geometries, dtype=object)
    runs = runs_of(geometries, grid)
    if runs is None:
        return None
    out = np.zeros(grid.shape, dtype=np.int64)
    paint(out, runs, np.arange(1, len(geometries) + 1))
    return out


def by_rasterio(geometries, grid) -> np.ndarray:
    shapes = [(g, i) for i, g in enumerate(geometries, 1) if not g.is_empty]
    return rasterize(shapes, out_shape=grid.shape, transform=grid.transform, dtype="int32") if shapes else None


@st.composite
def scenes(draw):
    """Rings through all of a grid and beyond, on pixel corners, pixel centres or anywhere; they cross themselves and each other."""
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    grid = Grid((height, width), draw(st.sampled_from(TRANSFORMS)), UTM)
    seed = np.random.default_rng(draw(st.integers(0, 2**32)))

    def ring(most):
        xy = seed.uniform(-10, 40, (seed.integers(3, most), 2))
        step = seed.choice([0.0, 1.0, 0.5, 0.25])
        return np.round(xy / step) * step if step else xy

    def polygon():
        shell = ring(12)
        holes = [np.clip(ring(6), shell.min(axis=0), shell.max(axis=0)) for _ in range(seed.choice([0, 0, 1, 2]))]
        return shapely.Polygon(shell, holes)

    def feature():
        parts = seed.choice([0, 1, 2, 3])
        return shapely.MultiPolygon([polygon() for _ in range(parts)]) if parts else polygon()

    return grid, [shapely.transform(feature(), grid.xy) for _ in range(draw(st.integers(1, 8)))]


@settings(max_examples=300)
@given(scenes())
def test_any_polygons_take_the_pixels_that_rasterio_gives_them(scene):
    grid, geometries = scene
    expected = by_rasterio(geometries, grid)
    got = drawn(geometries, grid)
    if got is not None:
        np.testing.assert_array_equal(got, expected)
    features = Features(np.arange(len(geometries)), np.array(geometries, dtype=object))
    np.testing.assert_array_equal(burn(features, features.index + 1, grid, background=0), expected)
    masks, kept = instances_on(features, grid)
    alone = np.array([by_rasterio([g], grid) > 0 for g in geometries])
    np.testing.assert_array_equal(kept, np.flatnonzero(alone.any(axis=(1, 2))))
    np.testing.assert_array_equal(masks, alone[kept])


def stars(count, seed=0, size=120):
    """Polygons with 5 to 20 vertices, none on the middle of a row, and a grid of 100 x 90 pixels under them."""
    rng = np.random.default_rng(seed)
    grid = Grid((100, 90), TRANSFORMS[0], UTM)
    shapes = []
    for _ in range(count):
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 20)))
        reach = rng.uniform(3, 20, len(angle))
        centre = rng.uniform(-10, size, 2)
        shapes.append(shapely.Polygon(grid.xy(centre + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1))))
    return grid, shapes


def test_usual_polygons_need_no_gdal(realdata, monkeypatch):
    monkeypatch.setattr("geodata.readers.rasterize.rasterize", None)  # calling it would fail
    grid, shapes = stars(40)
    got = burn(Features(np.arange(40), np.array(shapes)), np.arange(1, 41), grid, background=0)
    np.testing.assert_array_equal(got, by_rasterio(shapes, grid))
    layer = open_layer(realdata / "eolearn_slovenia/LULC.gpkg")
    grid = Grid((220, 242), (10, 0, 464_970, 0, -10, 5_080_970), 32633)
    everything = Features(np.arange(len(layer)), layer.geometries)
    got = burn(everything, everything.index + 1, grid, background=0)
    np.testing.assert_array_equal(got, by_rasterio(layer.geometries, grid))


@pytest.mark.parametrize("at_once", [1, 7, 64, 10_000])
def test_painting_in_pieces_gives_the_same(at_once, monkeypatch):
    grid, shapes = stars(30, seed=1)
    monkeypatch.setattr(fill, "_AT_ONCE", at_once)
    np.testing.assert_array_equal(drawn(shapes, grid), by_rasterio(shapes, grid))
    runs = runs_of(np.array(shapes), grid)
    masks = np.zeros((30, *grid.shape), dtype=bool)
    paint(masks, runs, np.ones(30, dtype=bool), plane=grid.height * grid.width)
    for mask, shape in zip(masks, shapes, strict=True):
        np.testing.assert_array_equal(mask, by_rasterio([shape], grid) > 0)


def test_an_edge_on_the_middle_of_a_row_is_left_to_gdal():
    grid = Grid((20, 30), (10, 0, 500_000, 0, -10, 5_600_000), UTM)
    for (top, bottom), own in {
        (2, 8): True,
        (2.5, 8): False,
        (2, 8.5): False,
        (-3.5, 8): True,
        (2, 40.5): True,
    }.items():
        shape = shapely.transform(shapely.box(3.5, top, 12.5, bottom), grid.xy)
        assert (drawn([shape], grid) is not None) == own
        features = Features(np.zeros(1, dtype=int), np.array([shape]))
        np.testing.assert_array_equal(
            burn(features, np.ones(1, dtype=int), grid, background=0), by_rasterio([shape], grid)
        )


def test_other_geometries_and_too_many_crossings_are_left_to_gdal(monkeypatch):
    grid, shapes = stars(5, seed=2)
    for other in (shapely.Point(0, 0), shapely.LineString([(0, 0), (9, 9)]), shapely.GeometryCollection(shapes)):
        assert drawn([shapes[0], other], grid) is None
    monkeypatch.setattr(fill, "_MOST_CROSSINGS", 10)
    assert drawn(shapes, grid) is None
    features = Features(np.arange(5), np.array(shapes))
    np.testing.assert_array_equal(burn(features, np.arange(1, 6), grid, background=0), by_rasterio(shapes, grid))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [0, 3]])
def test_empty_polygons_take_nothing_and_disturb_nobody(order):
    grid, (one, two) = stars(2, seed=3, size=60)
    all_four = [shapely.Polygon(), one, two, shapely.MultiPolygon()]
    chosen = [all_four[i] for i in order]
    expected = by_rasterio(chosen, grid)
    np.testing.assert_array_equal(drawn(chosen, grid), np.zeros(grid.shape) if expected is None else expected)


def test_no_polygons():
    grid = Grid((4, 5), TRANSFORMS[0], UTM)
    assert not drawn([], grid).any()


def test_an_array_with_gaps_is_filled_as_well():
    grid, shapes = stars(8, seed=4)
    features, whole = Features(np.arange(8), np.array(shapes)), np.zeros((100, 100), dtype=np.int64)
    burn(features, np.arange(1, 9), grid, background=-3, out=whole[:, 5:95])
    expected = by_rasterio(shapes, grid)
    np.testing.assert_array_equal(whole[:, 5:95], np.where(expected == 0, -3, expected))
    assert not whole[:, :5].any() and not whole[:, 95:].any()
