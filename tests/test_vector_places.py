"""Which layers lie under a query, and what several layers, a part of one, or threads make of a mask."""

from __future__ import annotations

import fiona
import numpy as np
import pytest
import shapely
import torch
from makers import write_tif
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely.geometry import mapping

import geodata as gd
from geodata.datasets import RasterDataset, VectorDataset
from geodata.errors import NoOverlapError
from geodata.grid import Grid
from geodata.interval import Interval
from geodata.readers.vector import open_layer
from geodata.samplers import RandomPatchSampler
from geodata.spot import Spot

UTM = "EPSG:32633"
LEFT, TOP = 500000.0, 5600000.0


def write_fields(path, shapes, values, kind="Polygon"):
    """Write shapely shapes, in pixels of 10 m from LEFT, TOP, with a column ``crop``."""
    schema = {"geometry": kind, "properties": {"crop": "int"}}
    with fiona.open(path, "w", driver="GPKG", crs=UTM, schema=schema) as layer:
        for shape, value in zip(shapes, values, strict=True):
            placed = shapely.transform(shape, lambda xy: xy * (10, -10) + (LEFT, TOP))
            layer.write({"geometry": mapping(placed), "properties": {"crop": value}})
    return path


def pixels(row, col, height, width):
    return Grid((height, width), (10, 0, LEFT + 10 * col, 0, -10, TOP - 10 * row), UTM)


@pytest.fixture
def layers(tmp_path):
    """Three layers of 40 x 40 pixels: two side by side, one over the border between them."""
    paths = []
    for i, (col, row) in enumerate(((0, 0), (40, 0), (20, 10))):
        corners = [shapely.box(col + c, row + r, col + c + 9, row + r + 9) for c, r in ((0, 0), (31, 31), (12, 3))]
        paths.append(write_fields(tmp_path / f"{i}.gpkg", corners, [10 * i + 1, 10 * i + 2, 10 * i + 3]))
    return paths


GRIDS = [
    pixels(0, 0, 8, 8),
    pixels(5, 35, 10, 10),
    pixels(0, 80, 8, 8),  # touches the second on its right
    pixels(0, 79, 8, 8),
    pixels(-8, 0, 8, 8),
    pixels(-20, -20, 120, 120),
    pixels(60, 60, 5, 5),
    Grid((9, 9), (7, 7, LEFT + 300, 7, -7, TOP - 200), UTM),
    Grid((9, 9), (7, 7, LEFT - 200, 7, -7, TOP + 60), UTM),
    Grid((30, 30), (1e-4, 0, 15.0, 0, -1e-4, 50.55), "EPSG:4326"),
]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("copies", [1, 6])
def test_layers_under_a_query_are_those_that_the_search_finds(layers, tmp_path, grid, copies):
    for k in range(1, copies):
        for path in layers[:3]:
            (tmp_path / f"{k}_{path.name}").write_bytes(path.read_bytes())
    ds = VectorDataset(sorted(tmp_path.glob("*.gpkg")), label="crop")
    assert len(ds) == 3 * copies
    found = ds.catalog.search(grid)
    assert ds._under(Spot(grid, Interval())).tolist() == found.tolist()
    if not len(found):
        with pytest.raises(NoOverlapError):
            ds[gd.Query(grid=grid)]


def expected_mask(paths, grid):
    """Layers in order: what has a feature covers, and what has none is background within the box of its layer."""
    mask = np.full(grid.shape, -100)
    row, col = np.indices(grid.shape) + 0.5
    x, y = grid.transform.c + 10 * col, grid.transform.f - 10 * row
    for path in paths:
        with fiona.open(path) as layer:
            shapes = [(f["geometry"], f["properties"]["crop"]) for f in layer]
            left, bottom, right, top = layer.bounds
        drawn = rasterize(shapes, out_shape=grid.shape, transform=grid.transform, dtype="int32")
        inside = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        mask = np.where(inside & ((drawn != 0) | (mask == -100)), drawn, mask)
    return mask


@pytest.mark.parametrize(
    "window", [(0, 0, 8, 8), (5, 35, 10, 10), (-20, -20, 120, 120), (0, 79, 8, 8), (12, 22, 30, 30)]
)
def test_masks_of_several_layers(layers, window):
    grid = pixels(*window)
    for paths in (layers, layers[:1], layers[2:]):
        if not len(VectorDataset(paths).catalog.search(grid)):
            continue
        mask = VectorDataset(paths, label="crop")[gd.Query(grid=grid)]["mask"]
        np.testing.assert_array_equal(mask.numpy(), expected_mask(paths, grid))


def test_the_box_of_a_layer_is_compared_in_one_crs(layers):
    """The same numbers mean places some 200 m apart in ED50: within the layer's box by number, in part beyond it on earth."""
    there = Transformer.from_crs("EPSG:23033", UTM, always_xy=True)
    with fiona.open(layers[0]) as layer:
        left, bottom, right, top = layer.bounds
    for row, col in ((0, 0), (0, 10), (10, 0), (8, 8)):
        grid = Grid((30, 30), (10, 0, LEFT + 10 * col, 0, -10, TOP - 10 * row), "EPSG:23033")
        mask = VectorDataset(layers[:1])[gd.Query(grid=grid)]["mask"].numpy()
        r, c = np.indices((30, 30)) + 0.5
        x, y = there.transform(grid.transform.c + 10 * c, grid.transform.f - 10 * r)
        outside = (x < left) | (x > right) | (y < bottom) | (y > top)
        assert 0 < outside.sum() < 900
        np.testing.assert_array_equal(mask == -100, outside)


def test_a_join_keeps_to_its_leading_row(layers, tmp_path):
    data = np.ones((1, 30, 30), np.uint8)
    write_tif(tmp_path / "scene" / "s.tif", data, from_origin(LEFT + 100, TOP - 50, 10, 10), UTM)
    ds = RasterDataset(tmp_path / "scene") & VectorDataset(layers[:1], label="crop")
    np.testing.assert_array_equal(ds[0]["mask"].numpy(), expected_mask(layers[:1], pixels(5, 10, 30, 30)))
    wide = ds[gd.Query(grid=pixels(0, 0, 40, 40))]
    seen = np.zeros((40, 40), bool)
    seen[5:35, 10:40] = True
    assert torch.equal(wide["valid"], torch.from_numpy(seen))


def test_multipolygons_of_one_part_are_that_part(tmp_path):
    one, two = shapely.box(0, 0, 5, 5), shapely.box(10, 10, 20, 20)
    shapes = [shapely.MultiPolygon([one]), shapely.MultiPolygon([one, two])]
    layer = open_layer(write_fields(tmp_path / "f.gpkg", shapes, [1, 2], kind="MultiPolygon"))
    assert [g.geom_type for g in layer.geometries] == ["Polygon", "MultiPolygon"]
    assert layer.geometries[0].area == 2500 and layer.geometries[1].area == 12500


def test_threads_draw_what_one_thread_draws(layers, tmp_path):
    data = np.arange(100 * 100, dtype=np.uint16).reshape(1, 100, 100)
    write_tif(tmp_path / "scene" / "s.tif", data, from_origin(LEFT - 100, TOP + 100, 10, 10), UTM)
    image = RasterDataset(tmp_path / "scene", dtype=None)
    for task in ("mask", "instances"):
        ds = image & VectorDataset(layers[:1] if task == "instances" else layers, label="crop", task=task)
        sampler = RandomPatchSampler(ds, size=24, length=60, seed=4)
        plain = [ds[q] for q in sampler]
        threaded = [s for b in gd.Loader(ds, sampler=sampler, batch_size=1, threads=4, collate_fn=list) for s in b]
        assert len(plain) == len(threaded) == 60
        for one, other in zip(plain, threaded, strict=True):
            assert all(torch.equal(one[k], other[k]) for k in ds.keys if isinstance(one[k], torch.Tensor))
