"""Vector layers as datasets: masks, boxes and instances on the grids of rasters, or on a lattice of their own."""

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
from shapely.geometry import box, mapping, shape

import geodata as gd
from geodata.datasets import RasterDataset, VectorDataset
from geodata.errors import CatalogError, DtypeError, GridError, NoFilesError, ReadError
from geodata.samplers import GridPatchSampler

UTM = "EPSG:32633"
LEFT, TOP = 500000.0, 5600000.0


def write_layer(path, shapes, crs=UTM, left=LEFT, **columns):
    """Write shapes (in pixels of 10 m from LEFT, TOP: col0, row0, col1, row1) with columns."""
    kinds = {
        k: {int: "int", float: "float", str: "str"}[type(next(x for x in v if x is not None))]
        for k, v in columns.items()
    }
    with fiona.open(path, "w", driver="GPKG", crs=crs, schema={"geometry": "Polygon", "properties": kinds}) as layer:
        for i, (c0, r0, c1, r1) in enumerate(shapes):
            shape = box(left + 10 * c0, TOP - 10 * r1, left + 10 * c1, TOP - 10 * r0)
            layer.write({"geometry": mapping(shape), "properties": {k: v[i] for k, v in columns.items()}})
    return path


@pytest.fixture
def scene(tmp_path):
    pixels = np.arange(3 * 64 * 64, dtype=np.uint16).reshape(3, 64, 64)
    write_tif(tmp_path / "scene" / "s.tif", pixels, from_origin(LEFT, TOP, 10, 10), UTM)
    return RasterDataset(tmp_path / "scene")


SHAPES = [(0, 0, 64, 64), (4, 4, 20, 12), (10, 8, 30, 40)]


def test_text_is_numbered_and_later_covers_earlier(scene, tmp_path):
    fields = VectorDataset(write_layer(tmp_path / "f.gpkg", SHAPES, crop=["wheat", "barley", "maize"]), label="crop")
    assert fields.classes == ("background", "barley", "maize", "wheat")
    ds = scene & fields
    shapes = [
        (box(LEFT + 10 * a, TOP - 10 * d, LEFT + 10 * c, TOP - 10 * b), v)
        for (a, b, c, d), v in zip(SHAPES, (3, 1, 2), strict=True)
    ]
    wanted = rasterize(shapes, out_shape=(64, 64), transform=from_origin(LEFT, TOP, 10, 10))
    assert np.array_equal(ds[0]["mask"].numpy(), wanted)
    for query in GridPatchSampler(ds, size=24, stride=17):
        r, c, h, w = query.window
        assert np.array_equal(ds[query]["mask"].numpy(), wanted[r : r + h, c : c + w])


def test_numbers_stay_missing_and_outside_are_ignored(scene, tmp_path):
    path = write_layer(
        tmp_path / "f.gpkg", [(8, 8, 16, 16), (20, 20, 32, 32), (40, 40, 48, 48)], code=[7, None, 3301010000]
    )
    mask = (scene & VectorDataset(path, label="code"))[0]["mask"]
    assert mask[10, 10] == 7 and mask[25, 25] == -100 and mask[44, 44] == 3301010000
    assert mask[18, 18] == 0  # inside the layer's bounding box, no feature
    assert mask[0, 0] == -100 and mask[60, 60] == -100  # beyond it nothing is known
    unmapped = (scene & VectorDataset(path, label="code", background=None))[0]["mask"]
    assert unmapped[18, 18] == -100 and unmapped[10, 10] == 7


def test_boxes_and_instances(scene, tmp_path):
    path = write_layer(tmp_path / "f.gpkg", SHAPES[1:], crop=["a", "b"])
    query = gd.Query(row=0, window=(6, 8, 16, 16))
    boxes = (scene & VectorDataset(path, label="crop", task="boxes"))[query]
    assert boxes["boxes"].tolist() == [[0, 0, 12, 6], [2, 2, 16, 16]] and boxes["box_labels"].tolist() == [1, 2]
    sample = (scene & VectorDataset(path, label="crop", task="instances"))[query]
    assert sample["instances"].sum(dim=(1, 2)).tolist() == [72, 196] and sample["box_labels"].tolist() == [1, 2]
    empty = (scene & VectorDataset(path, label="crop", task="instances"))[gd.Query(row=0, window=(48, 48, 16, 16))]
    assert empty["instances"].shape == (0, 16, 16) and empty["boxes"].shape == (0, 4)


def test_a_layer_alone_needs_a_resolution(tmp_path):
    path = write_layer(tmp_path / "f.gpkg", SHAPES[1:], crop=["a", "b"])
    fields = VectorDataset(path, label="crop")
    with pytest.raises(GridError, match=r"footprint but no pixels.*join them to a raster.*res="):
        fields[0]
    drawn = VectorDataset(path, label="crop", res=10)
    assert drawn.catalog.grid(0) == gd.Grid((36, 26), (10, 0, LEFT + 40, 0, -10, TOP - 40), UTM)
    assert drawn[0]["mask"].shape == (36, 26) and drawn[0]["mask"][0, 0] == 1
    assert len(drawn.tile(13)) == 6


def test_regions_with_label_files_of_their_own_go_together(tmp_path):
    parts = []
    for i, crops in enumerate((["wheat", "barley"], ["barley", "maize"])):
        write_tif(
            tmp_path / f"s{i}" / f"s{i}.tif",
            np.ones((1, 64, 64), np.uint8),
            from_origin(LEFT + 1e4 * i, TOP, 10, 10),
            UTM,
        )
        write_layer(tmp_path / f"f{i}.gpkg", SHAPES[1:], left=LEFT + 1e4 * i, crop=crops)
        classes = ("background", "wheat", "barley", "maize")
        fields = VectorDataset(tmp_path / f"f{i}.gpkg", label="crop", classes=classes)
        parts.append(RasterDataset(tmp_path / f"s{i}").join(fields))
    both = parts[0] | parts[1]
    assert len(both) == 2 and both.classes == ("background", "wheat", "barley", "maize")
    for i, own in enumerate(parts):
        assert torch.equal(both[i]["mask"], own[0]["mask"]) and set(own[0]["mask"].unique().tolist()) == {
            -100,
            0,
            1 + i,
            2 + i,
        }
    unequal = [VectorDataset(tmp_path / f"f{i}.gpkg", label="crop") for i in (0, 1)]
    with pytest.raises(CatalogError, match=r"drawn differently.*classes="):
        unequal[0] | unequal[1]


def test_what_cannot_be_drawn(tmp_path):
    path = write_layer(tmp_path / "f.gpkg", SHAPES, crop=["a", "b", "c"], share=[0.5, 0.1, 0.2])
    with pytest.raises(CatalogError, match=r"task='masks' must be one of mask, boxes, instances"):
        VectorDataset(path, task="masks")
    with pytest.raises(ReadError, match=r"no (column|attribute|field).*crop|crop.*share"):
        VectorDataset(path, label="kind")
    with pytest.raises(DtypeError, match="must be whole numbers or text"):
        VectorDataset(path, label="share")
    with pytest.raises(CatalogError, match=r"1 labels of column 'crop' are not in classes, first 'c'"):
        VectorDataset(path, label="crop", classes=["background", "a", "b"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoFilesError, match=r"no vector file in .*empty: looked for \.gpkg"):
        VectorDataset(tmp_path / "empty")


def test_everest_masks_equal_a_brute_force(realdata):
    """Glaciers in longitude and latitude on a Landsat scene in UTM: every polygon transformed and drawn by rasterio."""
    path = realdata / "vectors" / "15_rgi60_glacier_outlines.gpkg"
    ds = RasterDataset(realdata / "rasters" / "everest_landsat7_RGB_utm45n.tif") & VectorDataset(path)
    grid = ds.catalog.grid(0)
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32645", always_xy=True)
    with fiona.open(path) as layer:
        outlines = [shapely.force_2d(shape(f["geometry"])) for f in layer]
    shapes = [shapely.transform(g, lambda xy: np.column_stack(to_utm.transform(*xy.T))) for g in outlines]
    wanted = rasterize([(s, 1) for s in shapes], out_shape=grid.shape, transform=grid.transform)
    assert torch.equal(ds[0]["mask"], torch.from_numpy(wanted.astype(np.int64)))
