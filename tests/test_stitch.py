"""Stitcher: what becomes of overlapping patches, against brute force; and what is on disk, against rasterio and GDAL."""

from __future__ import annotations

import gc
import json
import tracemalloc
from itertools import groupby, pairwise, product
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodata.crs import as_crs
from geodata.errors import (
    DtypeError,
    GridError,
    ModelOutputError,
    NoFilesError,
    NoOverlapError,
    QueryError,
    TransformError,
)
from geodata.grid import Grid
from geodata.query import Query
from geodata.stitch import Stitcher

UTM = (10.1, 0.0, 500000.123456789, 0.0, -9.87, 5600000.987654321)


def utm(height, width):
    return Grid((height, width), UTM, "EPSG:32633")


def starts(length, size, stride, edge):
    """First pixels of windows along one axis, by counting up."""
    found = [0]
    while found[-1] + size < length:
        found.append(found[-1] + stride)
    if edge == "shift" and length >= size:
        found[-1] = min(found[-1], length - size)
    return found


def windows(grid, size, stride, edge):
    rows, cols = (starts(grid.shape[k], size[k], stride[k], edge) for k in (0, 1))
    return [(r, c, *size) for r, c in product(rows, cols)]


def batch_of(grid, wins, valid=None):
    """Batch dict of windows; `valid` (H, W) is cut out, and False outside the grid."""
    batch = {"grid": [grid.window(*w) for w in wins]}
    if valid is not None:
        batch["valid"] = torch.stack([cut(torch.as_tensor(valid)[None], w, fill=False)[0] for w in wins])
    return batch


def cut(image, window, fill=0):
    """Crop (C, H, W) to a window that may reach outside."""
    row, col, h, w = window
    out = torch.full((len(image), h, w), fill, dtype=image.dtype)
    top, left = max(row, 0), max(col, 0)
    part = image[:, top : max(row + h, 0), left : max(col + w, 0)]
    out[:, top - row : top - row + part.shape[1], left - col : left - col + part.shape[2]] = part
    return out


def outputs_of(image, wins):
    return torch.stack([cut(image, w) for w in wins])


def ramp(grid):
    """(2, H, W) x and y of pixel centres in km from the grid's corner: what a model that knows coordinates says."""
    col, row = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    return np.stack([grid.res[0] * col, -grid.res[1] * row]) / 1000


@st.composite
def layouts(draw):
    """A grid and overlapping windows of one size that cover it."""
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    stride = tuple(draw(st.integers(1, n)) for n in size)
    edge = draw(st.sampled_from(["shift", "pad"]))
    grid = utm(draw(st.integers(1, 30)), draw(st.integers(1, 30)))
    wins = windows(grid, size, stride, edge)
    return grid, draw(st.permutations(wins)) if len(wins) < 40 else wins


def hann_oracle(grid, wins, outputs, valid):
    """Weighted mean by the textbook: sums in float64, weights from numpy's Hann window of twice the size."""
    total = np.zeros((outputs.shape[1], *grid.shape))
    weight = np.zeros(grid.shape)
    for (row, col, h, w), output in zip(wins, outputs.double().numpy(), strict=True):
        for r, c in product(range(h), range(w)):
            y, x = row + r, col + c
            if 0 <= y < grid.height and 0 <= x < grid.width and valid[y, x]:
                one = np.hanning(2 * h + 1)[2 * r + 1] * np.hanning(2 * w + 1)[2 * c + 1]
                weight[y, x] += one
                total[:, y, x] += one * output[:, r, c]
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)


def trim_oracle(grid, wins):
    """Number of the window that owns each pixel, when neighbours are cut midway between their centres."""
    owner = {}
    for axis in (0, 1):
        first = sorted({w[axis] for w in wins})
        middles = [(a + b + wins[0][2 + axis]) / 2 for a, b in pairwise(first)]
        owner[axis] = [first[np.searchsorted(middles, p + 0.5, side="left")] for p in range(grid.shape[axis])]
    number = {w[:2]: k for k, w in enumerate(wins)}
    return np.array([[number[r, c] for c in owner[1]] for r in owner[0]])


# --- blending ---------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(layouts())
def test_trim_takes_every_pixel_from_the_window_whose_centre_is_nearest(layout):
    grid, wins = layout
    numbers = torch.arange(len(wins), dtype=torch.float32)[:, None, None, None].expand(-1, 1, *wins[0][2:])
    got, valid = Stitcher(grid, channels=1, blend="trim").add(batch_of(grid, wins), numbers).array()
    assert valid.all()
    np.testing.assert_array_equal(got[0], trim_oracle(grid, wins))


def test_trim_cuts_half_of_the_overlap_and_nothing_at_the_border():
    grid = utm(1, 20)
    wins = [(0, 0, 1, 8), (0, 6, 1, 8), (0, 12, 1, 8)]
    numbers = torch.arange(3.0)[:, None, None, None].expand(-1, 1, 1, 8)
    got, _ = Stitcher(grid, channels=1).add(batch_of(grid, wins), numbers).array()
    assert got[0, 0].tolist() == [0] * 7 + [1] * 6 + [2] * 7


@settings(max_examples=100, deadline=None)
@given(layouts(), st.integers(0, 2**32 - 1))
def test_hann_equals_the_textbook_mean(layout, seed):
    grid, wins = layout
    rng = np.random.default_rng(seed)
    wins = wins[:40]
    outputs = torch.from_numpy(rng.normal(size=(len(wins), 2, *wins[0][2:])).astype(np.float32))
    valid = rng.random(grid.shape) > 0.2
    got, known = Stitcher(grid, channels=2, blend="hann").add(batch_of(grid, wins, valid), outputs).array()
    expected = hann_oracle(grid, wins, outputs, valid)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(known, ~np.isnan(expected[0]))


@settings(max_examples=100, deadline=None)
@given(layouts(), st.sampled_from(["trim", "hann"]))
def test_weights_are_above_zero_and_sum_to_one(layout, blend):
    grid, wins = layout
    wins = wins[:64]
    # Window k answers 1 in channel k and 0 elsewhere, so the map holds its share of each pixel.
    indicator = torch.eye(len(wins))[:, :, None, None].expand(-1, -1, *wins[0][2:])
    share, known = Stitcher(grid, channels=len(wins), blend=blend).add(batch_of(grid, wins), indicator).array()
    covers = np.stack([cut(torch.ones(1, *w[2:]), (-w[0], -w[1], *grid.shape))[0].numpy() > 0 for w in wins])
    np.testing.assert_array_equal(known, covers.any(0))
    np.testing.assert_allclose(share.sum(0)[known], 1, rtol=0, atol=1e-6)
    if blend == "hann":
        np.testing.assert_array_equal((share > 0) & known, covers)
    else:
        assert set(np.unique(share[:, known])) <= {0.0, 1.0}


@settings(max_examples=100, deadline=None)
@given(layouts(), st.sampled_from(["trim", "hann"]), st.floats(-1e6, 1e6, width=32))
def test_constant_in_constant_out(layout, blend, constant):
    grid, wins = layout
    output = torch.full((len(wins), 1, *wins[0][2:]), constant)
    got, known = Stitcher(grid, channels=1, blend=blend).add(batch_of(grid, wins), output).array()
    assert known.all()
    np.testing.assert_allclose(got, constant, rtol=1e-6, atol=0)


@settings(max_examples=100, deadline=None)
@given(layouts(), st.sampled_from(["trim", "hann"]))
def test_a_ramp_in_world_coordinates_comes_back(layout, blend):
    grid, wins = layout
    corner = np.array([grid.transform.c, grid.transform.f])
    answers = []
    for window in wins:
        col, row = np.meshgrid(np.arange(window[3]) + 0.5, np.arange(window[2]) + 0.5)
        xy = grid.window(*window).xy(np.stack([col, row], axis=-1)) - corner
        answers.append(torch.from_numpy(np.moveaxis(xy, -1, 0).astype(np.float32) / 1000))
    got, _ = Stitcher(grid, channels=2, blend=blend).add(batch_of(grid, wins), torch.stack(answers)).array()
    np.testing.assert_allclose(got, ramp(grid), rtol=0, atol=1e-6)


def test_order_of_patches_does_not_matter():
    grid = utm(23, 31)
    wins = windows(grid, (9, 7), (4, 4), "shift")
    outputs = torch.randn(len(wins), 2, 9, 7)
    order = torch.randperm(len(wins)).tolist()
    for blend, tolerance in (("trim", 0), ("hann", 1e-5)):
        one, _ = Stitcher(grid, channels=2, blend=blend).add(batch_of(grid, wins), outputs).array()
        shuffled = batch_of(grid, [wins[i] for i in order])
        other, _ = Stitcher(grid, channels=2, blend=blend).add(shuffled, outputs[order]).array()
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("blend", ["trim", "hann"])
def test_pixels_not_observed_are_nodata_and_lend_nothing_to_others(blend):
    grid = utm(6, 10)
    wins = [(0, 0, 6, 6), (0, 4, 6, 6)]
    outputs = torch.full((2, 1, 6, 6), 5.0)
    batch = batch_of(grid, wins) | {"valid": torch.ones(2, 6, 6, dtype=torch.bool)}
    batch["valid"][0, 0, :] = False
    outputs[0, 0, 0, :] = 1e9
    batch["valid"][1, 2, 5] = False
    got, known = Stitcher(grid, channels=1, blend=blend).add(batch, outputs).array()
    expected = np.full((6, 10), 5.0)
    expected[0, :4] = np.nan
    expected[2, 9] = np.nan
    np.testing.assert_array_equal(got[0], expected)
    np.testing.assert_array_equal(known, ~np.isnan(expected))


@pytest.mark.parametrize("blend", ["trim", "hann"])
def test_nan_is_no_answer_and_minus_infinity_is_one(blend):
    grid = utm(1, 6)
    outputs = torch.zeros(2, 2, 1, 4)
    outputs[0, 1] = -torch.inf
    outputs[0, 0, 0, 0] = torch.nan
    outputs[1, 0, 0, 0] = torch.nan
    batch = batch_of(grid, [(0, 0, 1, 4), (0, 2, 1, 4)])
    got, known = Stitcher(grid, channels=2, blend=blend).add(batch, outputs).array()
    assert known.tolist() == [[False] + [True] * 5]
    ruled_out = [True] * 3 if blend == "trim" else [True] * 4
    assert np.isneginf(got[1, 0]).tolist() == [False, *ruled_out[1:], *[False] * (6 - len(ruled_out))]
    labels, _ = Stitcher(grid, channels=2, blend=blend, classes=["a", "b"]).add(batch, outputs).array()
    assert labels[0, 0].tolist() == [255, 0, 0, 0, 0, 0]


def test_integer_half_and_boolean_outputs():
    grid = utm(2, 3)
    for dtype in (torch.int64, torch.uint8, torch.float16, torch.bfloat16, torch.float64, torch.bool):
        got, _ = Stitcher(grid, channels=1).add({"grid": [grid]}, torch.ones(1, 1, 2, 3, dtype=dtype)).array()
        assert got.dtype == np.float32
        assert (got == 1).all()


def test_repeats_are_dropped():
    grid = utm(2, 4)
    batch = {
        "grid": [grid.window(0, 0, 2, 2), grid.window(0, 0, 2, 2)],
        "query": [Query(row=0, window=(0, 0, 2, 2)), Query(row=0, window=(0, 0, 2, 2), repeat=True)],
        "valid": torch.ones(2, 2, 2, dtype=torch.bool),
    }
    outputs = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 9.0)])
    got, _ = Stitcher(grid, channels=1, blend="hann").add(batch, outputs).array()
    assert got[0, 0, :2].tolist() == [1, 1]
    assert np.isnan(got[0, 0, 2:]).all()


def test_named_and_multi_resolution_batches_find_their_grid_and_validity():
    fine = utm(8, 8)
    coarse = fine.coarser(2)
    batch = {
        "grid_20m": [coarse],
        "valid_20m": torch.zeros(1, 4, 4, dtype=torch.bool),
        "grid_10m": [fine],
        "valid_10m": torch.eye(8, dtype=torch.bool)[None],
    }
    for also in ({}, {"grid": [fine]}):
        got = Stitcher(fine, channels=1).add(batch | also, torch.ones(1, 1, 8, 8)).array()[1]
        np.testing.assert_array_equal(got, np.eye(8, dtype=bool))
        assert not Stitcher(coarse, channels=1).add(batch | also, torch.ones(1, 1, 4, 4)).array()[1].any()
    lead = {"valid": torch.ones(1, 8, 8, dtype=torch.bool)}
    assert Stitcher(fine, channels=1).add(batch | lead | {"grid": [fine]}, torch.ones(1, 1, 8, 8)).array()[1].all()


def test_a_series_is_observed_where_one_date_is():
    grid = utm(1, 3)
    valid = torch.tensor([[[[True, False, False]], [[False, False, True]]]])
    batch = {"grid": [grid], "valid": valid}
    assert Stitcher(grid, channels=1).add(batch, torch.ones(1, 1, 1, 3)).array()[1].tolist() == [[True, False, True]]


def test_a_smaller_map_takes_what_meets_it():
    whole = utm(20, 20)
    part = whole.window(5, 7, 6, 4)
    image = torch.arange(400.0).view(1, 20, 20)
    wins = windows(whole, (8, 8), (4, 4), "shift")
    for blend in ("trim", "hann"):
        got, known = Stitcher(part, channels=1, blend=blend).add(batch_of(whole, wins), outputs_of(image, wins)).array()
        assert known.all()
        np.testing.assert_allclose(got[0], image[0, 5:11, 7:11], rtol=1e-6)


# --- on disk ----------------------------------------------------------------------------------------------------------


def test_file_is_a_cog_with_the_exact_georeference(tmp_path):
    grid = utm(1100, 700)
    image = torch.rand(2, 1100, 700)
    valid = np.ones(grid.shape, bool)
    valid[:300, :300] = False
    wins = windows(grid, (256, 256), (192, 192), "shift")
    stitcher = Stitcher(grid, channels=2, names=["water", "land"])
    path = stitcher.add(batch_of(grid, wins, valid), outputs_of(image, wins)).write(tmp_path / "map.tif")
    assert path == tmp_path / "map.tif"
    with rasterio.open(path) as file:
        assert tuple(file.transform)[:6] == UTM
        assert as_crs(file.crs) == grid.crs
        assert file.descriptions == ("water", "land")
        assert np.isnan(file.nodata)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.profile["compress"] == "deflate"
        assert file.overviews(1) == [2, 4]
        np.testing.assert_array_equal(file.read(), np.where(valid, image.numpy(), np.nan))
    assert [p.name for p in tmp_path.iterdir()] == ["map.tif"]


@pytest.mark.parametrize(
    "grid",
    [
        Grid((9, 7), (10.0, 1.5, 5e5, 2.5, -10.0, 5e6), "EPSG:32633"),
        Grid((9, 7), (0.1, 0.0, 1 / 3, 0.0, 0.1, 2 / 3), "EPSG:4326"),
        Grid((9, 7), (30.0, 0.0, 1 / 7, 0.0, -30.0, 1e7 / 3), "EPSG:3031"),
        Grid((9, 7), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None),
        Grid((9, 7), (0.5, 0.0, 3.0, 0.0, -0.5, 4.0), None),
        Grid(
            (9, 7),
            (0.1, 0.0, 5.0, 0.0, -0.1, 6.0),
            "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180",
        ),
    ],
    ids=["rotated", "south-up", "polar", "no place", "lab scale", "rotated pole"],
)
def test_any_grid_survives_the_file(tmp_path, grid, recwarn):
    scores = torch.rand(1, 3, 9, 7)
    path = Stitcher(grid, channels=3, classes=["a", "b", "c"]).add({"grid": [grid]}, scores).write(tmp_path / "m.tif")
    assert not recwarn.list
    with rasterio.open(path) as file:
        assert file.transform == grid.transform
        crs = as_crs(file.crs)
        assert (crs is None) == (grid.crs is None)
        assert crs is None or rasterio.crs.CRS.from_user_input(grid.crs) == file.crs
        np.testing.assert_array_equal(file.read(1), scores[0].argmax(0))
    assert category_names(path) == ["a", "b", "c"]


def category_names(path):
    """Category names as GDAL understands them: it writes them into a VRT of the file."""
    vrt = path.with_suffix(".vrt")
    rasterio.shutil.copy(path, vrt, driver="VRT")
    return [node.text or "" for node in ElementTree.parse(vrt).iter("Category")]


@pytest.mark.parametrize("blend", ["trim", "hann"])
def test_class_map(tmp_path, blend):
    grid = utm(40, 50)
    scores = torch.rand(3, 40, 50)
    valid = np.ones(grid.shape, bool)
    valid[5:9, 6:11] = False
    wins = windows(grid, (16, 16), (10, 10), "shift")
    stitcher = Stitcher(grid, channels=3, blend=blend, classes=["water", ("forest & co", "#102030"), "<town>"])
    path = stitcher.add(batch_of(grid, wins, valid), outputs_of(scores, wins)).write(tmp_path / "map.tif")
    expected = np.where(valid, scores.argmax(0), 255)
    with rasterio.open(path) as file:
        assert file.dtypes == ("uint8",)
        assert file.nodata == 255
        np.testing.assert_array_equal(file.read(1), expected)
        colours = file.colormap(1)
        assert colours[1] == (16, 32, 48, 255)
        assert len({colours[k] for k in range(3)}) == 3
        assert json.loads(file.tags()["CLASSES"]) == {"0": "water", "1": "forest & co", "2": "<town>"}
        assert file.colorinterp == (rasterio.enums.ColorInterp.palette,)
    assert category_names(path) == ["water", "forest & co", "<town>"]
    assert stitcher.array()[0].dtype == np.uint8


def test_class_values_of_a_mapping(tmp_path):
    grid = utm(1, 3)
    scores = torch.eye(3)[None, :, None, :]
    path = (
        Stitcher(grid, channels=3, classes={10: "tree", 20: ("shrub", "#ffbb22"), 95: "mangrove"})
        .add({"grid": [grid]}, scores)
        .write(tmp_path / "map.tif")
    )
    with rasterio.open(path) as file:
        assert file.read(1).tolist() == [[10, 20, 95]]
        assert file.colormap(1)[20] == (255, 187, 34, 255)
    names = category_names(path)
    assert (names[10], names[20], names[95], len(names)) == ("tree", "shrub", "mangrove", 96)
    some = Stitcher(grid, channels=3, classes={2: "ice"}).add({"grid": [grid]}, scores)
    assert some.array()[0].tolist() == [[[0, 1, 2]]]


def test_more_than_255_classes_are_uint16(tmp_path):
    grid = utm(1, 300)
    scores = torch.eye(300)[None, :, None, :]
    path = (
        Stitcher(grid, channels=300, classes=[f"c{k}" for k in range(300)])
        .add({"grid": [grid]}, scores)
        .write(tmp_path / "map.tif")
    )
    with rasterio.open(path) as file:
        assert (file.dtypes[0], file.nodata) == ("uint16", 65535)
        np.testing.assert_array_equal(file.read(1)[0], np.arange(300))
        assert len(file.colormap(1)) >= 300
    assert category_names(path)[299] == "c299"
    assert Stitcher(grid, channels=255, classes=[str(k) for k in range(255)]).dtype == "uint8"
    assert Stitcher(grid, channels=256, classes=[str(k) for k in range(256)]).dtype == "uint16"


def test_integer_maps_round_and_refuse_what_does_not_fit(tmp_path):
    grid = utm(1, 4)
    batch = {"grid": [grid]}
    values = torch.tensor([[[[0.4, 1.5, 2.5, 254.2]]]])
    got, _ = Stitcher(grid, channels=1, dtype="uint8").add(batch, values).array()
    assert got.dtype == np.uint8
    assert got.tolist() == [[[0, 2, 2, 254]]]
    for bad, text in ((256.0, "do not fit uint8"), (-1.0, "do not fit uint8"), (255.0, "would read as nodata")):
        stitcher = Stitcher(grid, channels=1, dtype="uint8").add(batch, torch.full((1, 1, 1, 4), bad))
        with pytest.raises(DtypeError, match=text):
            stitcher.write(tmp_path / "map.tif")
        assert not list(tmp_path.iterdir())
    assert Stitcher(grid, channels=1, dtype="int16").nodata == -32768
    with pytest.raises(DtypeError, match="float64"):
        Stitcher(grid, channels=1, dtype="float64")
    with pytest.raises(DtypeError, match="does not fit"):
        Stitcher(grid, channels=1, dtype="uint8", nodata=-9999)


def test_writing_replaces_a_map_and_what_belonged_to_the_old_one(tmp_path):
    grid = utm(3, 3)
    target = tmp_path / "map.tif"
    Stitcher(grid, channels=2, classes=["old", "older"]).add({"grid": [grid]}, torch.zeros(1, 2, 3, 3)).write(target)
    (tmp_path / "map.tif.ovr").write_bytes(b"overviews of the old map")
    stitcher = Stitcher(grid, channels=1).add({"grid": [grid]}, torch.full((1, 1, 3, 3), 7.0))
    stitcher.write(target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.tif"]
    with rasterio.open(target) as file:
        assert (file.read() == 7).all()
    assert stitcher.write(tmp_path / "again.tif").exists()


# --- finished rows leave memory ---------------------------------------------------------------------------------------


def settle_all(stitcher, grid, wins, outputs, each=3):
    """Add windows in order, settling what no later window reaches."""
    for first in range(0, len(wins), each):
        part = slice(first, first + each)
        stitcher.add(batch_of(grid, wins[part]), outputs[part])
        stitcher.settle(max(0, min([w[0] for w in wins[part.stop :]], default=grid.height)))
    return stitcher


@pytest.mark.parametrize("blend", ["trim", "hann"])
def test_settling_changes_no_pixel(tmp_path, blend):
    grid = utm(700, 90)
    wins = [w for w in windows(grid, (50, 40), (35, 30), "shift") if not 300 <= w[0] < 600]
    outputs = torch.randn(len(wins), 2, 50, 40)
    expected, _ = Stitcher(grid, channels=2, blend=blend).add(batch_of(grid, wins), outputs).array()
    with Stitcher(grid, channels=2, blend=blend, path=tmp_path / "map.tif") as stitcher:
        settle_all(stitcher, grid, wins, outputs).write()
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(), expected)
    assert np.isnan(expected[:, 400:550]).all()
    assert [p.name for p in tmp_path.iterdir()] == ["map.tif"]


def test_memory_is_a_few_rows_of_a_long_map(tmp_path):
    grid = utm(20_000, 500)
    whole = 20_000 * 500 * 4
    wins = windows(grid, (100, 200), (75, 150), "shift")
    lines = {row: list(line) for row, line in groupby(wins, key=lambda w: w[0])}
    rows = list(lines)
    streaming(tmp_path).write()  # what is imported on first use would count, too
    tracemalloc.start()
    with Stitcher(grid, channels=1, blend="hann", path=tmp_path / "map.tif") as stitcher:
        for k, (row, line) in enumerate(lines.items()):
            stitcher.add(batch_of(grid, line), torch.full((len(line), 1, 100, 200), float(row)))
            stitcher.settle(rows[k + 1] if k + 1 < len(rows) else grid.height)
        stitcher.write()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Values and weights of at most two strips of 128 rows and one patch row, and what writing one strip takes.
    assert peak < 10 * 128 * 500 * 4 < whole / 15
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.read(1, window=((0, 1), (0, 500))).tolist() == [[0.0] * 500]
        assert (file.read(1, window=((19_999, 20_000), (0, 500))) == rows[-1]).all()


def test_settled_rows_take_no_more_patches(tmp_path):
    grid = utm(400, 20)
    output = torch.ones(1, 1, 100, 20)
    with Stitcher(grid, channels=1, path=tmp_path / "map.tif") as stitcher:
        stitcher.add({"grid": [grid.window(0, 0, 100, 20)]}, output).settle(200)
        with pytest.raises(GridError, match="settled"):
            stitcher.add({"grid": [grid.window(150, 0, 100, 20)]}, output)
        with pytest.raises(QueryError, match="settled"):
            stitcher.array()
        with pytest.raises(QueryError, match="cannot go to"):
            stitcher.write(tmp_path / "other.tif")
        stitcher.add({"grid": [grid.window(200, 0, 100, 20)]}, output).write()
        for use in (stitcher.write, stitcher.array, lambda: stitcher.add({"grid": [grid]}, torch.ones(1, 1, 400, 20))):
            with pytest.raises(QueryError, match="closed"):
                use()
    with pytest.raises(QueryError, match="path="):
        Stitcher(grid, channels=1).settle(3)


# --- nothing half-written ---------------------------------------------------------------------------------------------


def streaming(tmp_path, value=1.0, **options):
    grid = utm(400, 20)
    stitcher = Stitcher(grid, channels=1, path=tmp_path / "map.tif", **options)
    stitcher.add({"grid": [grid.window(0, 0, 200, 20)]}, torch.full((1, 1, 200, 20), value))
    return stitcher


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_loop_leaves_nothing(tmp_path, error):
    def loop():
        with streaming(tmp_path).settle(200):
            (hidden,) = tmp_path.iterdir()
            assert hidden.name.startswith(".map.tif.")
            assert [p.name for p in hidden.iterdir()] == ["rows.tif"]
            raise error

    with pytest.raises(error):
        loop()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["copy", "check", "write_rows"])
def test_an_error_while_writing_leaves_the_old_map(tmp_path, monkeypatch, step):
    (tmp_path / "map.tif").write_bytes(b"the old map")
    stitcher = streaming(tmp_path).settle(200)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    where = {"copy": "rasterio.shutil.copy", "check": "geodata.stitch.mapfile.MapFile._check"}
    monkeypatch.setattr(where.get(step, "geodata.stitch.mapfile.MapFile.write_rows"), interrupt)
    with pytest.raises(KeyboardInterrupt):
        stitcher.write()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("map.tif", b"the old map")]


def test_an_error_while_settling_leaves_nothing(tmp_path):
    stitcher = streaming(tmp_path, value=300.0, dtype="uint8")
    with pytest.raises(DtypeError):
        stitcher.settle(200)
    assert not list(tmp_path.iterdir())
    with pytest.raises(QueryError, match="closed"):
        stitcher.write()


def test_a_forgotten_stitcher_leaves_nothing(tmp_path):
    stitcher = streaming(tmp_path).settle(200)
    assert list(tmp_path.iterdir())
    del stitcher
    gc.collect()
    assert not list(tmp_path.iterdir())


# --- bad input --------------------------------------------------------------------------------------------------------


def test_patches_of_another_lattice_are_refused():
    grid = utm(8, 8)
    ones = torch.ones(1, 1, 8, 8)
    half = Grid((8, 8), (*UTM[:2], UTM[2] + 5, *UTM[3:]), "EPSG:32633")
    for other in (half, Grid((8, 8), UTM, "EPSG:32634"), Grid((8, 8), UTM, None), grid.coarser(8).window(0, 0, 8, 8)):
        with pytest.raises(GridError, match="not on the lattice"):
            Stitcher(grid, channels=1).add({"grid": [other]}, ones)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (torch.ones(2, 3, 4, 4), r"\(2, 3, 4, 4\).*2 patches of 8 x 8.*2 times coarser.*postprocess=.*size=\(8, 8\)"),
        (torch.ones(2, 3, 6, 6), r"\(2, 3, 6, 6\) for 2 patches of 8 x 8.*[Uu]psample or crop"),
        (torch.ones(1, 3, 8, 8), r"\(1, 3, 8, 8\) for 2 patches of 8 x 8"),
        (torch.ones(2, 4, 8, 8), "returned 4 channels; this map has 3"),
        (torch.ones(2, 8, 8), r"shape \(2, 8, 8\).*unsqueeze"),
        (torch.ones(2, 3, 8, 8, dtype=torch.complex64), "complex64"),
        ({"out": torch.ones(2, 3, 8, 8)}, 'returned dict; .*out\\["out"\\]'),
        (np.ones((2, 3, 8, 8)), "returned ndarray"),
    ],
)
def test_outputs_of_the_wrong_kind_or_size(output, text):
    grid = utm(8, 16)
    with pytest.raises(ModelOutputError, match=text):
        Stitcher(grid, channels=3).add(batch_of(grid, [(0, 0, 8, 8), (0, 8, 8, 8)]), output)


def test_nan_everywhere_and_nothing_at_all_are_no_maps(tmp_path):
    grid = utm(4, 4)
    with pytest.raises(ModelOutputError, match="NaN at every observed pixel"):
        Stitcher(grid, channels=1).add({"grid": [grid]}, torch.full((1, 1, 4, 4), torch.nan)).write(tmp_path / "m.tif")
    with pytest.raises(NoOverlapError, match="no patch"):
        Stitcher(grid, channels=1).write(tmp_path / "m.tif")
    assert not list(tmp_path.iterdir())
    dark = {"grid": [grid], "valid": torch.zeros(1, 4, 4, dtype=torch.bool)}
    path = Stitcher(grid, channels=1).add(dark, torch.ones(1, 1, 4, 4)).write(tmp_path / "m.tif")
    with rasterio.open(path) as file:
        assert np.isnan(file.read()).all()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"channels": 0}, ModelOutputError, "at least 1"),
        ({"blend": "mean"}, QueryError, "'trim', 'hann'"),
        ({"names": ["one"]}, ModelOutputError, "each of the 3 channels"),
        ({"classes": "abc"}, QueryError, "sequence of names"),
        ({"classes": ["a", "b"]}, ModelOutputError, "3 channels, classes name 2"),
        ({"classes": {10: "a", 20: "b"}}, ModelOutputError, "3 channels, classes name 2 values up to 20"),
        ({"classes": {30: "a", 10: "b", 20: "c"}}, ModelOutputError, "ascending"),
        ({"classes": {}}, ModelOutputError, "name 0 values"),
        ({"classes": {-1: "a", 0: "b", 1: "c"}}, DtypeError, "-1"),
        ({"classes": {0: "a", 1: "b", 65535: "c"}}, DtypeError, "65535"),
        ({"classes": ["a", "b", ("c", "red")]}, QueryError, "#rrggbb"),
        ({"classes": ["a", "b", 3]}, QueryError, "#rrggbb"),
        ({"channels": 1, "classes": ["a"]}, ModelOutputError, "binary"),
        ({"classes": ["a", "b", "c"], "dtype": "uint8"}, QueryError, "own dtype"),
        ({"path": "map.png"}, QueryError, "ends in .tif"),
        ({"path": "no/such/folder/map.tif"}, NoFilesError, "create it first"),
    ],
)
def test_options_that_contradict_each_other(options, error, text):
    with pytest.raises(error, match=text):
        Stitcher(utm(4, 4), **{"channels": 3} | options)


def test_a_batch_without_grids_and_a_map_without_a_place(tmp_path):
    grid = utm(4, 4)
    with pytest.raises(TransformError, match="holds image, key"):
        Stitcher(grid, channels=1).add({"image": 0, "key": []}, torch.ones(1, 1, 4, 4))
    stitcher = Stitcher(grid, channels=1).add({"grid": [grid]}, torch.ones(1, 1, 4, 4))
    with pytest.raises(QueryError, match="where the map goes"):
        stitcher.write()
    with pytest.raises(NoFilesError, match="create it first"):
        stitcher.write(tmp_path / "none" / "map.tif")
    with pytest.raises(QueryError, match=r"ends in \.tif"):
        stitcher.write(tmp_path)
